//! `load` on made files and on the real data sets. Rows of other tasks than classification have their tests in
//! `tests/tasks.rs`, the broken files under `tests/broken_data` in `tests/broken.rs`, and data sets that say themselves what their
//! classes and splits are in `tests/classes.rs`; which rows are wanted, in `tests/wanted.rs`.

mod broken;
mod classes;
mod tasks;
mod wanted;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::*;
use crate::hub::Fetched;
use crate::stage::{Checkpoints, Progress};
use crate::table::{self, Texts};

#[derive(Default)]
struct Heard {
    said: Mutex<Vec<String>>,
    warned: Mutex<Vec<String>>,
}

impl Progress for Heard {
    fn start(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn state(&self, _: &str) {}
    fn say(&self, line: &str) {
        self.said.lock().unwrap().push(line.to_owned());
    }
    fn warn(&self, line: &str) {
        self.warned.lock().unwrap().push(line.to_owned());
    }
}

struct Loaded {
    table: Table,
    warned: Vec<String>,
    said: Vec<String>,
}

impl Loaded {
    fn texts(&self, split: &str) -> Texts {
        table::texts(&self.table.splits[split]).unwrap()
    }

    fn names(&self) -> Vec<&str> {
        self.table
            .label_names
            .iter()
            .flatten()
            .map(String::as_str)
            .collect()
    }

    /// Rows of each label, in label order.
    fn counts(&self, split: &str) -> Vec<usize> {
        let labels = self.texts(split).label.unwrap();
        (0..self.names().len() as u32)
            .map(|label| labels.iter().filter(|&&l| l == label).count())
            .collect()
    }
}

fn stage(settings: Value) -> Load {
    serde_json::from_value(settings).unwrap()
}

fn load_with(base: &Path, settings: Value, seed: u64) -> Result<Loaded, StageError> {
    let load = stage(settings);
    assert_eq!(load.check(), []);
    let mut fetched = Fetched::default();
    if let Some(local) = load.beside(base).unwrap() {
        fetched.keep_beside(local);
    }
    let files = load.files(base, &fetched).unwrap();
    let (draft, heard, interrupted) = (
        tempfile::tempdir().unwrap(),
        Heard::default(),
        AtomicBool::new(false),
    );
    let context = Context {
        stage: "data",
        seed,
        inputs: BTreeMap::new(),
        files,
        fetched: &fetched,
        draft: draft.path(),
        kept: PathBuf::new(),
        checkpoints: &Checkpoints::default(),
        folder: Path::new("."),
        device: "flex",
        progress: &heard,
        interrupted: &interrupted,
    };
    load.run(&context)?;
    let table = Table::open(draft.path())?;
    Ok(Loaded {
        table,
        warned: heard.warned.into_inner().unwrap(),
        said: heard.said.into_inner().unwrap(),
    })
}

fn load(base: &Path, settings: Value) -> Result<Loaded, StageError> {
    load_with(base, settings, 13)
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// The shared data sets; says so when they are not there.
fn assets() -> Option<PathBuf> {
    let found = std::env::var_os("REFIT_TEST_ASSETS").map(|root| PathBuf::from(root).join("data"));
    if found.is_none() {
        // The test harness captures `eprintln!` of tests that pass; this gets through.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: set REFIT_TEST_ASSETS to the folder with `data` to run this test"
        );
    }
    found
}

#[test]
fn ag_news_is_read_from_parquet_and_from_its_original_csv() {
    let Some(data) = assets() else { return };
    let names = ["World", "Sports", "Business", "Sci/Tech"];
    let parquet =
        load(&data, json!({ "train": "ag_news/train.parquet", "test": "ag_news/test.parquet", "label_names": names }))
            .unwrap();
    assert_eq!(parquet.names(), names);
    assert_eq!(parquet.counts("train"), [2506, 2456, 2485, 2530]);
    assert_eq!(parquet.counts("test"), [1900; 4]);
    assert_eq!(parquet.warned, Vec::<String>::new());

    let csv = load(
        &data,
        json!({
            "train": "ag_news/test.csv", "header": false, "label_names": names,
            "columns": { "text": 2, "text_pair": 1, "label": 0 },
        }),
    )
    .unwrap();
    assert_eq!(csv.counts("train"), [1900; 4]);
    let (csv, parquet) = (csv.texts("train"), parquet.texts("test"));
    assert_eq!(csv.label, parquet.label);
    assert_eq!(
        csv.text_pair.unwrap()[0],
        "Fears for T N pension after talks"
    );
    let same = csv
        .text
        .iter()
        .zip(&parquet.text)
        .filter(|(csv, parquet)| csv == parquet)
        .count();
    assert_eq!(same, 7600);
}

#[test]
fn sst2_is_read_without_quoting() {
    let Some(data) = assets() else { return };
    let settings = json!({
        "train": "sst2/train.tsv", "validation": "sst2/dev.tsv", "quote": "", "columns": { "text": "sentence" },
    });
    let loaded = load(&data, settings).unwrap();
    assert_eq!(loaded.names(), ["0", "1"]);
    assert_eq!(loaded.counts("train"), [29780, 37569]);
    assert_eq!(loaded.counts("validation"), [428, 444]);
    assert_eq!(
        loaded.texts("train").text[0],
        "hide new secretions from the parental units "
    );
}

#[test]
fn sms_spam_has_no_header_and_no_quotes() {
    let Some(data) = assets() else { return };
    let settings = |quote: &str| {
        json!({
            "train": ["sms_spam/*.tsv"], "header": false, "quote": quote, "columns": { "text": 1, "label": 0 },
            "split": { "test": 0.2, "validation": 0.1 },
        })
    };
    let loaded = load(&data, settings("")).unwrap();
    assert_eq!(loaded.names(), ["ham", "spam"]);
    let count = |split| loaded.counts(split);
    assert_eq!(
        count("train")[0] + count("test")[0] + count("validation")[0],
        4827
    );
    assert_eq!(
        count("train")[1] + count("test")[1] + count("validation")[1],
        747
    );
    assert_eq!(loaded.texts("test").len(), 1115);
    assert_eq!(loaded.texts("validation").len(), 557);
    assert!(
        loaded
            .warned
            .iter()
            .any(|line| line.contains("of test occur in train too")),
        "{:?}",
        loaded.warned
    );

    let error = load(&data, settings("\"")).err().unwrap().to_string();
    assert!(error.contains("a quote inside a field"), "{error}");
}

#[test]
fn banking77_is_read_with_its_quoted_line_breaks() {
    let Some(data) = assets() else { return };
    let settings = json!({ "train": "banking77/train.csv", "test": "banking77/test.csv", "columns": { "label": "category" } });
    let loaded = load(&data, settings).unwrap();
    assert_eq!(
        (
            loaded.texts("train").len(),
            loaded.texts("test").len(),
            loaded.names().len()
        ),
        (10_003, 3_080, 77)
    );
    assert_eq!(loaded.counts("test"), [40; 77]);
    assert!(
        loaded
            .texts("train")
            .text
            .iter()
            .any(|text| text.contains('\n'))
    );
}

#[test]
fn go_emotions_is_read_as_plain_columns() {
    let Some(data) = assets() else { return };
    let settings = json!({
        "train": "go_emotions/train.tsv", "header": false, "quote": "\"", "columns": { "text": 0, "label": 1 },
    });
    let loaded = load(&data, settings).unwrap();
    let texts = loaded.texts("train");
    assert_eq!(texts.len(), 43_410);
    assert_eq!(
        texts.text[0],
        "My favourite food is anything I didn't have to cook myself."
    );
    let several = texts
        .label
        .unwrap()
        .iter()
        .filter(|&&label| loaded.names()[label as usize].contains(','))
        .count();
    assert_eq!(several, 7_102);
}

#[test]
fn every_format_reads_to_the_same_rows() {
    let csv = "text,label\n\"a, b\",1\n\"say \"\"x\"\"\",0\nx^2,1\n";
    let tsv = "text\tlabel\r\na, b\t1\r\n\"say \"\"x\"\"\"\t0\r\nx^2\t1\r\n";
    let jsonl = "{\"text\": \"a, b\", \"label\": 1}\n\n{\"label\": 0, \"text\": \"say \\\"x\\\"\"}\n{\"text\": \"x^2\", \"label\": 1}\n";
    let json = "[{\"text\": \"a, b\", \"label\": 1}, {\"label\": 0, \"text\": \"say \\\"x\\\"\"}, {\"text\": \"x^2\", \"label\": 1, \"more\": [1]}]";
    let folder = folder(&[
        ("a.csv", csv),
        ("a.tsv", tsv),
        ("a.jsonl", jsonl),
        ("a.ndjson", jsonl),
        ("a.json", json),
    ]);
    let expected = load(folder.path(), json!({ "train": "a.csv" })).unwrap();
    assert_eq!(expected.texts("train").text, ["a, b", "say \"x\"", "x^2"]);
    assert_eq!(expected.texts("train").label.unwrap(), [1, 0, 1]);
    for file in ["a.tsv", "a.jsonl", "a.ndjson", "a.json"] {
        assert_eq!(
            load(folder.path(), json!({ "train": file })).unwrap().table,
            expected.table,
            "{file}"
        );
    }
}

#[test]
fn text_that_looks_like_numbers_stays_text() {
    let folder = folder(&[("a.csv", "text,label\n001,x\nnan,y\n,x\n1e5,y\ntrue,x\n")]);
    let loaded = load(folder.path(), json!({ "train": "a.csv" })).unwrap();
    assert_eq!(
        loaded.texts("train").text,
        ["001", "nan", "", "1e5", "true"]
    );
    assert_eq!(
        loaded.warned,
        ["1 row of train has an empty text: row 2 \"\""]
    );
}

#[test]
fn a_body_that_looks_compressed_is_text() {
    let folder = folder(&[("a.csv", "x^2 is a square,math\nno,other\n")]);
    let settings =
        json!({ "train": "a.csv", "header": false, "columns": { "text": 0, "label": 1 } });
    assert_eq!(
        load(folder.path(), settings).unwrap().texts("train").text[0],
        "x^2 is a square"
    );
}

#[test]
fn booleans_are_labels_in_the_order_false_true() {
    let folder = folder(&[(
        "a.jsonl",
        "{\"text\": \"a\", \"label\": true}\n{\"text\": \"b\", \"label\": false}\n",
    )]);
    let loaded = load(folder.path(), json!({ "train": "a.jsonl" })).unwrap();
    assert_eq!(
        (loaded.names(), loaded.texts("train").label.unwrap()),
        (vec!["false", "true"], vec![1, 0])
    );
}

#[test]
fn plain_text_is_one_row_a_line_without_labels() {
    let folder = folder(&[("a.txt", "first \"line\n\nthird, line\n")]);
    let loaded = load(
        folder.path(),
        json!({ "train": "a.txt", "split": { "validation": 0.34 } }),
    )
    .unwrap();
    assert_eq!(loaded.table.label_names, None);
    assert_eq!(
        (
            loaded.texts("train").len(),
            loaded.texts("validation").len()
        ),
        (2, 1)
    );
    assert_eq!(loaded.texts("train").label, None);
}

#[test]
fn files_follow_the_order_of_the_list_past_the_tenth() {
    let names = (0..12)
        .map(|n| format!("part{n:02}.csv"))
        .collect::<Vec<_>>();
    let contents = (0..12)
        .map(|n| format!("text,label\nrow {n},x\n"))
        .collect::<Vec<_>>();
    let files = names
        .iter()
        .zip(&contents)
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect::<Vec<_>>();
    let folder = folder(&files);
    for train in [json!("part*.csv"), json!(names)] {
        let texts = load(folder.path(), json!({ "train": train }))
            .unwrap()
            .texts("train");
        assert_eq!(
            texts.text,
            (0..12).map(|n| format!("row {n}")).collect::<Vec<_>>()
        );
        assert_eq!(texts.id, (0..12).collect::<Vec<u64>>());
    }
}

#[test]
fn cut_rows_keep_their_ids_and_their_order() {
    let rows = (0..100)
        .map(|n| format!("row {n},{}\n", if n % 4 == 0 { "rare" } else { "common" }))
        .collect::<String>();
    let folder = folder(&[("a.csv", &format!("text,label\n{rows}"))]);
    let settings =
        json!({ "train": "a.csv", "split": { "validation": 0.1, "test": 0.2, "stratify": true } });
    let loaded = load(folder.path(), settings.clone()).unwrap();
    assert_eq!(
        (
            loaded.counts("train"),
            loaded.counts("validation"),
            loaded.counts("test")
        ),
        (vec![52, 18], vec![8, 2], vec![15, 5])
    );
    for split in ["train", "validation", "test"] {
        let texts = loaded.texts(split);
        assert!(texts.id.is_sorted());
        assert!(
            texts
                .id
                .iter()
                .zip(&texts.text)
                .all(|(id, text)| text == &format!("row {id}"))
        );
    }
    assert_eq!(
        load(folder.path(), settings.clone()).unwrap().table,
        loaded.table
    );
    assert_ne!(
        load_with(folder.path(), settings, 14).unwrap().table,
        loaded.table
    );
}

#[test]
fn the_folds_of_one_seed_are_disjoint_and_cover_all_rows() {
    let rows = (0..103)
        .map(|n| format!("row {n},{}\n", if n % 4 == 0 { "rare" } else { "common" }))
        .collect::<String>();
    let folder = folder(&[("a.csv", &format!("text,label\n{rows}"))]);
    let with = |split: Value, index: u32, seed: u64| {
        let fold = json!({ "of": 4, "index": index });
        let settings = json!({ "train": "a.csv", "split": split, "fold": fold });
        load_with(folder.path(), settings, seed).unwrap()
    };
    for (split, tested) in [(json!({}), 0), (json!({ "test": 0.2 }), 21)] {
        let folds = (0..4).map(|index| with(split.clone(), index, 13));
        let folds = folds.collect::<Vec<_>>();
        let test = |loaded: &Loaded| match loaded.table.splits.contains_key("test") {
            true => loaded.texts("test").id,
            false => Vec::new(),
        };
        assert_eq!(test(&folds[0]).len(), tested);
        let mut validated = test(&folds[0]);
        for loaded in &folds {
            assert_eq!(test(loaded), test(&folds[0]));
            let (train, held_out) = (loaded.texts("train"), loaded.texts("validation"));
            assert!(train.id.is_sorted() && held_out.id.is_sorted());
            let mut all = [train.id.clone(), held_out.id.clone(), test(loaded)].concat();
            all.sort_unstable();
            assert_eq!(all, (0..103).collect::<Vec<u64>>());
            let mut rows = held_out.id.iter().zip(&held_out.text);
            assert!(rows.all(|(id, text)| text == &format!("row {id}")));
            validated.extend(held_out.id);
        }
        validated.sort_unstable();
        assert_eq!(validated, (0..103).collect::<Vec<u64>>());
    }
    let one = with(json!({}), 1, 13);
    assert!(
        one.counts("validation")[1].abs_diff(6) <= 1,
        "{:?}",
        one.counts("validation")
    );
    assert_ne!(with(json!({}), 1, 14).table, one.table);
    assert_ne!(with(json!({ "stratify": false }), 1, 13).table, one.table);
}

#[test]
fn more_folds_than_rows_are_an_error_and_a_class_too_small_for_them_a_warning() {
    let folder = folder(&[("a.csv", "text,label\na,x\nb,x\nc,y\nd,x\n")]);
    let with = |of: u32, index: u32| {
        let fold = json!({ "of": of, "index": index });
        load(folder.path(), json!({ "train": "a.csv", "fold": fold }))
    };
    let error = with(5, 0).map(|_| ()).unwrap_err();
    let said = format!("{error}; {}", miette::Diagnostic::help(&error).unwrap());
    assert!(said.contains("5 folds cannot be cut of 4 rows"), "{said}");
    assert!(said.contains("4 at most"), "{said}");
    let warned = (0..4).flat_map(|index| with(4, index).unwrap().warned);
    let warned = warned.collect::<Vec<_>>();
    let without = "no row of train has the label y, so it cannot be learned".to_owned();
    assert!(warned.contains(&without), "{warned:?}");
}

#[test]
fn without_a_fold_the_key_is_as_before() {
    let settings = stage(json!({ "train": "a.csv" })).settings();
    assert_eq!(settings.get("fold"), None);
    assert!(!stage(json!({ "train": "a.csv" })).draws_random_numbers());
    let fold = stage(json!({ "train": "a.csv", "fold": { "of": 5, "index": 0 } }));
    assert!(fold.draws_random_numbers() && !fold.not_in_key().contains(&"fold"));
}

#[test]
fn rows_on_both_sides_are_warned_of() {
    let train = "text,label\nsame,a\nother,b\nother,b\n";
    let folder = folder(&[
        ("train.csv", train),
        ("test.csv", "text,label\nnew,a\nsame,b\n"),
    ]);
    let loaded = load(
        folder.path(),
        json!({ "train": "train.csv", "more": { "odd": "test.csv" } }),
    )
    .unwrap();
    assert_eq!(
        loaded.warned,
        ["1 row of more.odd occurs in train too, so scores on it are too good: row 1 \"same\""]
    );
    assert_eq!(
        loaded.said,
        [
            "rows: more.odd 2, train 3; 2 labels",
            "1 row of train repeats an earlier text"
        ]
    );
}

#[test]
fn a_path_that_leads_nowhere_is_a_fault_at_its_field() {
    let folder = folder(&[("a.csv", "text,label\nx,y\n"), ("a.data", "x")]);
    let load = stage(json!({
        "train": ["a.csv", "b.csv", "*.tsv", "a.csv", "a.data"], "test": "none.csv", "more": { "x": ["gone.csv"] }, "validation": [],
    }));
    let faults = load.files(folder.path(), &Fetched::default()).unwrap_err();
    let fields = faults
        .iter()
        .map(|fault| fault.field.as_str())
        .collect::<Vec<_>>();
    assert_eq!(
        fields,
        [
            "train[1]",
            "train[2]",
            "train[3]",
            "train[4]",
            "validation",
            "test",
            "more.x[0]"
        ]
    );
}

#[test]
fn settings_that_exclude_each_other_are_faults() {
    let fields = |settings: Value| {
        stage(settings)
            .check()
            .into_iter()
            .map(|fault| fault.field)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        fields(json!({ "train": "a.csv", "test": "b.csv", "split": { "test": 0.1 } })),
        ["split.test"]
    );
    assert_eq!(
        fields(json!({ "train": "a.csv", "split": { "test": 0.5, "validation": 0.5 } })),
        ["split"]
    );
    assert_eq!(
        fields(json!({ "train": "a.csv", "split": { "test": 1.5 } })),
        ["split.test", "split"]
    );
    let fold = json!({ "of": 3, "index": 3 });
    assert_eq!(
        fields(json!({ "train": "a.csv", "fold": fold })),
        ["fold.index"]
    );
    let fold = json!({ "of": 3, "index": 2 });
    assert_eq!(
        fields(json!({ "train": "a.csv", "validation": "b.csv", "fold": fold })),
        ["fold"]
    );
    assert_eq!(
        fields(json!({ "train": "a.csv", "split": { "validation": 0.1 }, "fold": fold })),
        ["fold"]
    );
    assert_eq!(fields(json!({ "train": "a.csv", "quote": "«" })), ["quote"]);
    assert_eq!(
        fields(json!({ "train": "a.csv", "label_names": ["a", "b", "a"] })),
        ["label_names"]
    );
    assert_eq!(
        fields(json!({ "train": "a.csv", "columns": { "text": "t", "text_pair": "t" } })),
        ["columns.text_pair"]
    );
    assert_eq!(
        fields(json!({ "train": "a.csv", "more": { "a/b": "x.csv" } })),
        ["more.a/b"]
    );
    assert_eq!(
        fields(json!({ "train": "a.csv", "label_separator": "", "columns": { "labels": "l" } })),
        ["label_separator"]
    );
    assert_eq!(
        fields(json!({ "train": "a.csv", "label_separator": ";" })),
        ["label_separator"]
    );
    assert_eq!(
        fields(json!({ "train": "a.conll", "format": "conll", "columns": { "tokens": 0 } })),
        ["columns.tokens"]
    );
    assert_eq!(fields(json!({ "train": "a.csv" })), Vec::<String>::new());
}

#[test]
fn a_stated_format_and_an_implied_one_give_the_same_key() {
    let folder = folder(&[("a.csv", "text,label\nx,y\n")]);
    let implied = |settings: Value| {
        let load = stage(settings);
        load.implied(
            &load.files(folder.path(), &Fetched::default()).unwrap(),
            &Fetched::default(),
        )
    };
    assert_eq!(
        implied(json!({ "train": "a.csv" })),
        implied(json!({ "train": "a.csv", "format": "csv" }))
    );
    assert_ne!(
        implied(json!({ "train": "a.csv" })),
        implied(json!({ "train": "a.csv", "format": "tsv" }))
    );
}

fn whole_parquet() -> Vec<u8> {
    let texts = Texts {
        id: (0..50).collect(),
        copy: vec![0; 50],
        text: (0..50).map(|n| format!("text {n}")).collect(),
        text_pair: None,
        label: Some((0..50).map(|n| n % 3).collect()),
        ..Texts::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let splits = [("whole".to_owned(), texts.to_frame().unwrap())].into();
    Table {
        splits,
        ..Table::default()
    }
    .save(folder.path())
    .unwrap();
    std::fs::read(folder.path().join("whole.parquet")).unwrap()
}

#[test]
fn a_parquet_file_cut_anywhere_is_an_error() {
    let (folder, whole) = (tempfile::tempdir().unwrap(), whole_parquet());
    for length in (0..whole.len()).step_by(97) {
        std::fs::write(folder.path().join("cut.parquet"), &whole[..length]).unwrap();
        let loaded = load(folder.path(), json!({ "train": "cut.parquet" }));
        assert!(
            matches!(loaded, Err(StageError::Table(_))),
            "{length} bytes"
        );
    }
}

#[test]
fn a_parquet_file_with_a_changed_byte_never_takes_the_process_down() {
    let (folder, whole) = (tempfile::tempdir().unwrap(), whole_parquet());
    for place in 4..whole.len() - 4 {
        let mut changed = whole.clone();
        changed[place] ^= 0xff;
        std::fs::write(folder.path().join("changed.parquet"), changed).unwrap();
        let _ = load(folder.path(), json!({ "train": "changed.parquet" }));
    }
}
