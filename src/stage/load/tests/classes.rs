//! Data sets that say themselves what their classes and splits are: in a card, or in notes of Parquet files.
//!
//! `fixtures/class_notes` was written by `datasets` 5.2.0 (`Dataset.to_parquet`).

use super::*;

/// The notes say `poor`, `fair`, `good`.
const NOTES: &str = "tests/fixtures/class_notes";

fn notes() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(NOTES)
}

/// A data set's folder with a card of the classes and these files.
fn with_card(classes: &[&str], files: &[(&str, &str)]) -> tempfile::TempDir {
    let names: String = (classes.iter().enumerate())
        .map(|(number, name)| format!("          '{number}': {name}\n"))
        .collect();
    let card = format!(
        "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n{names}---\n"
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("set")).unwrap();
    for (name, text) in files.iter().chain([&("README.md", card.as_str())]) {
        std::fs::write(folder.path().join("set").join(name), text).unwrap();
    }
    folder
}

#[track_caller]
fn fails(base: &Path, settings: Value) -> StageError {
    match load(base, settings) {
        Ok(_) => panic!("it should have failed"),
        Err(error) => error,
    }
}

fn faults(base: &Path, settings: Value) -> Vec<Fault> {
    let load = stage(settings);
    load.files(base, &Fetched::default()).unwrap_err()
}

#[test]
fn integers_of_named_classes_are_indices_whichever_of_them_occur() {
    let loaded = load(&notes(), json!({ "train": "train.parquet" })).unwrap();
    assert_eq!(loaded.names(), ["poor", "fair", "good"]);
    assert_eq!(loaded.texts("train").label, Some(vec![0, 2, 2, 0]));
    // As many names as different labels, and still the last is the third.
    let files = [("train.csv", "text,label\na,1\nb,2\n")];
    let folder = with_card(&["x", "y", "z"], &files);
    let loaded = load(folder.path(), json!({ "dataset": "set" })).unwrap();
    assert_eq!(loaded.names(), ["x", "y", "z"]);
    assert_eq!(loaded.texts("train").label, Some(vec![1, 2]));
    let folder = with_card(&["3", "2"], &[("train.csv", "text,label\na,0\nb,1\nc,3\n")]);
    let loaded = load(folder.path(), json!({ "dataset": "set" })).unwrap();
    assert_eq!(loaded.texts("train").label, Some(vec![0, 1, 0]));
    let listed = json!({ "dataset": "set", "label_names": ["low", "mid", "high"] });
    let loaded = load(folder.path(), listed).unwrap();
    assert_eq!(loaded.texts("train").label, Some(vec![0, 1, 2]));
}

#[test]
fn a_label_beyond_the_named_classes_is_an_error_with_its_row() {
    let folder = with_card(&["x", "y"], &[("train.csv", "text,label\na,0\nb,2\n")]);
    let error = fails(folder.path(), json!({ "dataset": "set" })).to_string();
    assert!(
        error.contains("train.csv, line 3: the label `2` is none of the classes"),
        "{error}"
    );
}

#[test]
fn a_split_whose_labels_are_secret_is_loaded_without_them() {
    let settings = json!({ "train": "train.parquet", "test": "secret.parquet" });
    let loaded = load(&notes(), settings).unwrap();
    assert_eq!(loaded.texts("test").label, None);
    assert_eq!(loaded.texts("test").text, ["some film", "other film"]);
    assert_eq!(loaded.texts("train").label, Some(vec![0, 2, 2, 0]));
    // Where nobody named the classes, -1 is a label like any other.
    let files = folder(&[("a.csv", "text,label\na,-1\nb,1\n")]);
    let loaded = load(files.path(), json!({ "train": "a.csv" })).unwrap();
    assert_eq!(loaded.names(), ["-1", "1"]);
    let error = fails(
        &notes(),
        json!({ "train": "secret.parquet", "test": "train.parquet" }),
    );
    assert!(
        error
            .to_string()
            .contains("test has labels, train has none"),
        "{error}"
    );
}

#[test]
fn a_split_of_which_some_labels_are_secret_is_an_error_unless_these_rows_are_left_out() {
    for settings in [
        json!({ "train": "mixed.parquet" }),
        json!({ "train": "train.parquet", "test": "mixed.parquet" }),
    ] {
        let error = fails(&notes(), settings.clone()).to_string();
        assert!(
            error.contains("mixed.parquet, row 2: the label -1"),
            "{error}"
        );
        let mut skipping = settings;
        skipping["skip_invalid"] = true.into();
        let loaded = load(&notes(), skipping).unwrap();
        let split = if loaded.table.splits.contains_key("test") {
            "test"
        } else {
            "train"
        };
        let texts = loaded.texts(split);
        assert_eq!((texts.label, texts.id), (Some(vec![1, 0]), vec![0, 2]));
    }
}

#[test]
fn training_files_with_other_classes_are_a_fault_that_names_both() {
    for (other, says) in [
        ("other_names.parquet", "names the classes poor, good, fair"),
        ("no_names.parquet", "names no classes"),
    ] {
        let train = json!(["train.parquet", other]);
        let faults = faults(&notes(), json!({ "train": train }));
        let [fault] = &faults[..] else {
            panic!("{faults:?}")
        };
        assert_eq!(fault.field, "train");
        for part in ["train.parquet`", other, "poor, fair, good", says] {
            assert!(
                fault.message.contains(part),
                "no {part} in {}",
                fault.message
            );
        }
        let names = ["poor", "fair", "good"];
        load(&notes(), json!({ "train": train, "label_names": names })).unwrap();
    }
    let error = fails(
        &notes(),
        json!({ "train": ["train.parquet", "secret.parquet"] }),
    );
    assert!(error.to_string().contains("the label -1"), "{error}");
    // What other splits say does not matter: their labels are those of train.
    load(
        &notes(),
        json!({ "train": "train.parquet", "test": "no_names.parquet" }),
    )
    .unwrap();
}

#[test]
fn the_names_that_a_card_says_are_in_the_key() {
    let implied = |classes: &[&str]| {
        let folder = with_card(classes, &[("train.csv", "text,label\na,0\nb,1\n")]);
        let load = stage(json!({ "dataset": "set" }));
        let mut fetched = Fetched::default();
        fetched.keep_beside(load.beside(folder.path()).unwrap().unwrap());
        load.implied(&load.files(folder.path(), &fetched).unwrap(), &fetched)
    };
    assert_eq!(implied(&["a", "b"]), implied(&["a", "b"]));
    assert_ne!(implied(&["a", "b"]), implied(&["b", "a"]));
}

#[test]
fn a_folders_card_says_its_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set");
    std::fs::create_dir(&set).unwrap();
    let card = "---\nconfigs:\n- config_name: one\n  data_files:\n  - {split: train, path: a.csv}\n  - {split: dev, path: b.csv}\n\
                - config_name: two\n  data_files: b.csv\n---\n";
    for (name, text) in [
        ("README.md", card),
        ("a.csv", "text,label\na,x\n"),
        ("b.csv", "text,label\nb,x\n"),
    ] {
        std::fs::write(set.join(name), text).unwrap();
    }
    let one = load(folder.path(), json!({ "dataset": "set", "config": "one" })).unwrap();
    assert_eq!(
        one.table.splits.keys().collect::<Vec<_>>(),
        ["train", "validation"]
    );
    let two = load(folder.path(), json!({ "dataset": "set", "config": "two" })).unwrap();
    assert_eq!(two.texts("train").text, ["b"]);
    let none = faults(folder.path(), json!({ "dataset": "set" }));
    assert!(
        none[0].message.contains("one, two") && none[0].field == "dataset",
        "{none:?}"
    );
    std::fs::write(set.join("README.md"), "---\nconfigs: [\n---\n").unwrap();
    let broken = faults(folder.path(), json!({ "dataset": "set" }));
    assert!(broken[0].message.contains("README.md: line"), "{broken:?}");
}

#[test]
fn nothing_is_cut_for_a_split_that_the_data_set_has() {
    let rows = "text,label\na,x\nb,y\nc,x\nd,y\n";
    let folder = with_card(
        &["x", "y"],
        &[("train.csv", rows), ("dev.csv", rows), ("test.csv", rows)],
    );
    for split in ["validation", "test"] {
        let faults = faults(
            folder.path(),
            json!({ "dataset": "set", "split": { split: 0.5 } }),
        );
        assert_eq!(faults[0].field, format!("split.{split}"), "{faults:?}");
    }
    let fold = json!({ "of": 2, "index": 0 });
    let faults_of_fold = faults(folder.path(), json!({ "dataset": "set", "fold": fold }));
    assert_eq!(faults_of_fold[0].field, "fold", "{faults_of_fold:?}");
    let splits = json!({ "train": "train" });
    let settings = json!({ "dataset": "set", "splits": splits, "fold": fold });
    let loaded = load(folder.path(), settings).unwrap();
    assert_eq!(loaded.texts("validation").text.len(), 2);
    let settings = json!({ "dataset": "set", "splits": splits, "split": { "test": 0.5 } });
    let loaded = load(folder.path(), settings).unwrap();
    assert_eq!(loaded.texts("test").text.len(), 2);
    let named = json!({ "dataset": "set", "splits": { "train": "train", "test": "validation" }, "split": { "test": 0.5 } });
    assert_eq!(faults(folder.path(), named)[0].field, "split.test");
}
