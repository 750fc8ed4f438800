//! Claims about loading piece by piece: nothing differs from loading files as a whole.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::*;
use crate::hub::Fetched;
use crate::stage::{Checkpoints, Progress, Stage};
use crate::table::stored::StoredSplit;

const SMALL: Sizes = Sizes {
    whole: 0,
    piece: 200,
};

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn start(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn state(&self, _: &str) {}
    fn say(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn warn(&self, line: &str) {
        self.0.lock().unwrap().push(format!("warning: {line}"));
    }
}

/// The files of the table, what was said, and the error if there was one.
#[derive(Debug, PartialEq)]
struct Done {
    files: BTreeMap<String, Vec<u8>>,
    heard: Vec<String>,
    error: Option<String>,
}

fn loaded(base: &Path, settings: &Value, streamed: Option<Sizes>) -> Done {
    let load: Load = serde_json::from_value(settings.clone()).unwrap();
    assert_eq!(load.check(), []);
    let fetched = Fetched::default();
    let draft = tempfile::tempdir().unwrap();
    let (heard, interrupted) = (Heard::default(), AtomicBool::new(false));
    let context = Context {
        stage: "data",
        seed: load.seed.unwrap_or(13),
        inputs: BTreeMap::new(),
        files: load.files(base, &fetched).unwrap(),
        fetched: &fetched,
        draft: draft.path(),
        kept: PathBuf::new(),
        checkpoints: &Checkpoints::default(),
        folder: Path::new("."),
        device: "flex",
        progress: &heard,
        interrupted: &interrupted,
    };
    assert!(suits(&load, &context, SMALL));
    let done = match streamed {
        Some(sizes) => run(&load, &context, sizes),
        None => load.run(&context),
    };
    let mut files = BTreeMap::new();
    if done.is_ok() {
        for entry in std::fs::read_dir(draft.path()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    Done {
        files,
        heard: heard.0.into_inner().unwrap(),
        error: done.err().map(|error| error.to_string()),
    }
}

/// Loads in both ways, and returns what both lead to.
fn both(files: &[(&str, &str)], settings: &Value) -> Done {
    both_in(files, settings, SMALL)
}

fn both_in(files: &[(&str, &str)], settings: &Value, sizes: Sizes) -> Done {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let whole = loaded(folder.path(), settings, None);
    let streamed = loaded(folder.path(), settings, Some(sizes));
    assert!(whole == streamed, "{whole:?}\n{streamed:?}");
    whole
}

fn rows(from: usize, to: usize, label: impl Fn(usize) -> String) -> String {
    let row = |row: usize| format!("text number {row},{}\n", label(row));
    let rows = (from..to).map(row);
    format!("text,label\n{}", rows.collect::<String>())
}

fn class(row: usize) -> String {
    ["sad", "glad", "mad"][row * row % 7 % 3].to_owned()
}

#[test]
fn given_splits_are_the_same_with_what_is_said_of_them() {
    let train = rows(0, 300, class);
    let test = rows(280, 420, class) + "text number 281,sad\n,mad\n";
    let files = [
        ("train.csv", &*train),
        ("more.csv", &*test),
        ("test.csv", &*test),
    ];
    let settings = json!({ "train": ["train.csv", "more.csv"], "test": "test.csv" });
    let done = both(&files, &settings);
    assert_eq!(done.error, None);
    let said = done.heard.join("\n");
    for wanted in [
        "rows: test 142, train 442; 3 labels",
        "of test occur in train too",
        "of train repeat an earlier text",
        "has an empty text",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let names: Vec<&String> = done.files.keys().collect();
    assert_eq!(names, ["table.json", "test.parquet", "train.parquet"]);
}

#[test]
fn splits_that_are_cut_or_sampled_are_the_same() {
    let train = rows(0, 500, class);
    let test = rows(500, 600, class);
    let files = [("train.csv", &*train), ("test.csv", &*test)];
    let given = [
        json!({ "train": "train.csv", "split": { "validation": 0.2, "test": 0.1, "stratify": true } }),
        json!({ "train": "train.csv", "split": { "validation": 0.25, "stratify": false }, "test": "test.csv" }),
        json!({ "train": "train.csv", "test": "test.csv", "sample": { "train": { "per_class": 7 }, "test": { "fraction": 0.3 } } }),
        json!({ "train": "train.csv", "fold": { "index": 1, "of": 4 }, "sample": { "train": { "limit": 100 } } }),
    ];
    for settings in given {
        let done = both(&files, &settings);
        assert_eq!(done.error, None, "{settings}");
        assert!(done.files.len() > 2, "{settings}");
    }
}

#[test]
fn rows_of_any_kind_of_gold_are_the_same() {
    let lists = rows(0, 200, |row| format!("{}; {}", class(row), class(row + 1)));
    let numbers = rows(0, 200, |row| format!("{}.5", row % 11));
    let integers = rows(0, 200, |row| (row * 5 % 12).to_string());
    let gaps = rows(0, 200, |row| match row % 17 {
        3 => String::new(),
        _ => class(row),
    });
    let files = [
        ("lists.csv", &*lists),
        ("numbers.csv", &*numbers),
        ("integers.csv", &*integers),
        ("gaps.csv", &*gaps),
    ];
    let columns = |field: &str| json!({ "text": "text", field: "label" });
    let given = [
        json!({ "train": "lists.csv", "columns": columns("labels"), "label_separator": ";" }),
        json!({ "train": "numbers.csv", "columns": columns("target") }),
        json!({ "train": "integers.csv" }),
        json!({ "train": "gaps.csv", "skip_invalid": true, "split": { "validation": 0.2 } }),
        json!({ "train": "integers.csv", "map": { "3": "4", "11": "new" } }),
        json!({ "train": "integers.csv", "columns": { "text": "text", "label": "" } }),
    ];
    for settings in given {
        let done = both(&files, &settings);
        assert_eq!(done.error, None, "{settings}");
    }
    let done = both(
        &files,
        &json!({ "train": "gaps.csv", "skip_invalid": true }),
    );
    let said = done.heard.join("\n");
    assert!(said.contains("left out 12 rows of train"), "{said}");
    assert!(done.files["table.json"].len() > 200);
}

#[test]
fn lists_of_several_row_groups_are_the_same() {
    let filler = "word ".repeat(150);
    let file = |gold: &dyn Fn(usize) -> String| {
        let row = |row: usize| format!("{filler}{row},{}\n", gold(row));
        "text,label\n".to_owned() + &(0..13_000).map(row).collect::<String>()
    };
    let labels = |row: usize| (0..row % 4).map(|label| format!("label {label}"));
    let lists = file(&|row| labels(row).collect::<Vec<_>>().join(";"));
    let numbers = file(&|row| format!("{}.5", row % 11));
    let files = [("lists.csv", &*lists), ("numbers.csv", &*numbers)];
    let sizes = Sizes {
        whole: 0,
        piece: 100_000,
    };
    let columns = |field: &str| json!({ "text": "text", field: "label" });
    for settings in [
        json!({ "train": "lists.csv", "columns": columns("labels"), "label_separator": ";" }),
        json!({ "train": "numbers.csv", "columns": columns("target") }),
    ] {
        let done = both_in(&files, &settings, sizes);
        assert_eq!(done.error, None, "{settings}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.parquet");
        std::fs::write(&path, &done.files["train.parquet"]).unwrap();
        let split = StoredSplit::open(path, 13_000).unwrap();
        assert!(split.pieces().count() > 1, "{settings}");
    }
}

#[test]
fn errors_are_the_same_and_name_the_same_place() {
    let train = rows(0, 300, class);
    let rare = rows(0, 300, |row| match row {
        250 => "rare".to_owned(),
        _ => class(row),
    });
    let ragged = rows(0, 300, class) + "one,two,three\n";
    let mixed = rows(0, 20, |row| row.to_string());
    let files = [
        ("train.csv", &*train),
        ("rare.csv", &*rare),
        ("ragged.csv", &*ragged),
        ("mixed.csv", &*mixed),
    ];
    let given = [
        (
            json!({ "train": "train.csv", "test": "rare.csv" }),
            "line 252",
        ),
        (json!({ "train": "ragged.csv" }), "line 302"),
        (json!({ "train": ["train.csv", "mixed.csv"] }), "mixed.csv"),
        (
            json!({ "train": "train.csv", "map": { "no": "yes" } }),
            "`no`",
        ),
        (
            json!({ "train": "train.csv", "label_names": ["sad", "glad"] }),
            "mad",
        ),
        (
            json!({ "train": "train.csv", "split": { "test": 0.0001 } }),
            "test",
        ),
    ];
    for (settings, wanted) in given {
        let error = both(&files, &settings).error.unwrap();
        assert!(error.contains(wanted), "{error}");
    }
    // Some seed leaves the only row of a class out of `train`.
    let unstratified = |seed: u64| json!({ "train": "rare.csv", "seed": seed, "split": { "validation": 0.4, "stratify": false } });
    let errors = (0..20).filter_map(|seed| both(&files, &unstratified(seed)).error);
    assert!(errors.take(1).any(|error| error.contains("line 252")));
}

#[test]
fn what_needs_more_than_a_row_at_a_time_is_read_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), rows(0, 20, class)).unwrap();
    std::fs::write(
        folder.path().join("a.jsonl"),
        "{\"text\":\"a\",\"label\":1}\n",
    )
    .unwrap();
    let suits = |settings: Value, sizes: Sizes| {
        let load: Load = serde_json::from_value(settings).unwrap();
        let fetched = Fetched::default();
        let (heard, interrupted) = (Heard::default(), AtomicBool::new(false));
        let context = Context {
            stage: "data",
            seed: 13,
            inputs: BTreeMap::new(),
            files: load.files(folder.path(), &fetched).unwrap(),
            fetched: &fetched,
            draft: folder.path(),
            kept: PathBuf::new(),
            checkpoints: &Checkpoints::default(),
            folder: Path::new("."),
            device: "flex",
            progress: &heard,
            interrupted: &interrupted,
        };
        super::suits(&load, &context, sizes)
    };
    assert!(suits(json!({ "train": "a.csv" }), SMALL));
    assert!(!suits(json!({ "train": "a.csv" }), Sizes::default()));
    for settings in [
        json!({ "train": "a.csv", "where": "label = 'sad'" }),
        json!({ "train": "a.csv", "deduplicate": {} }),
        json!({ "train": "a.csv", "split": { "validation": 0.1, "group": "label" } }),
        json!({ "train": "a.jsonl" }),
        json!({ "train": ["a.csv", "a.jsonl"] }),
    ] {
        assert!(!suits(settings.clone(), SMALL), "{settings}");
    }
}
