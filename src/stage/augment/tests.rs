//! `augment` on made tables: what grows, what stays, and what a row's copies depend on.

mod balanced;
mod labelled;
mod mixed;
mod predicted;
mod worded;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use serde_json::json;

use super::passage::Tagging;
use super::*;
use crate::artifact::Digest;
use crate::hub::Fetched;
use crate::metrics::Scheme;
use crate::stage::{Checkpoints, Files, Input, Progress};
use crate::table::{Answer, TableError};

struct Quiet;

impl Progress for Quiet {
    fn start(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn state(&self, _: &str) {}
    fn say(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

fn texts(rows: &[(&str, u32)]) -> Texts {
    Texts {
        id: (0..rows.len() as u64).collect(),
        copy: vec![0; rows.len()],
        text: rows.iter().map(|(text, _)| text.to_string()).collect(),
        text_pair: None,
        label: Some(rows.iter().map(|(_, label)| *label).collect()),
        ..Texts::default()
    }
}

fn stage(mut settings: Value) -> Augment {
    settings["input"] = "data".into();
    serde_json::from_value(settings).unwrap()
}

fn run(settings: Value, input: &Path, draft: &Path) -> Result<(), StageError> {
    run_with(settings, &[("input", input)], Files::new(), draft)
}

fn run_with(
    settings: Value,
    inputs: &[(&'static str, &Path)],
    files: Files,
    draft: &Path,
) -> Result<(), StageError> {
    let stage = match inputs {
        [_] => stage(settings),
        _ => serde_json::from_value(settings).unwrap(),
    };
    let seed = stage.seed().unwrap_or(13);
    in_context(seed, inputs, files, draft, |context| stage.run(context))
}

fn in_context<T>(
    seed: u64,
    inputs: &[(&'static str, &Path)],
    files: Files,
    draft: &Path,
    work: impl FnOnce(&Context) -> T,
) -> T {
    let input = |(role, path): &(&'static str, &Path)| {
        let input = Input {
            path: path.to_path_buf(),
            digest: Digest::of(b""),
        };
        (*role, input)
    };
    work(&Context {
        stage: "richer",
        seed,
        inputs: inputs.iter().map(input).collect(),
        files,
        fetched: &Fetched::default(),
        draft,
        kept: PathBuf::new(),
        checkpoints: &Checkpoints::default(),
        folder: Path::new("."),
        device: "flex",
        progress: &Quiet,
        interrupted: &AtomicBool::new(false),
    })
}

fn grow(settings: Value, train: &Texts) -> Texts {
    let (input, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let splits = [
        ("train".to_owned(), train.to_frame().unwrap()),
        ("test".to_owned(), train.to_frame().unwrap()),
    ];
    Table {
        splits: splits.into(),
        ..Table::default()
    }
    .save(input.path())
    .unwrap();
    run(settings, input.path(), draft.path()).unwrap();
    let bytes =
        |folder: &tempfile::TempDir| std::fs::read(folder.path().join("test.parquet")).unwrap();
    assert!(bytes(&input) == bytes(&draft), "the test split changed");
    table::texts(&Table::open(draft.path()).unwrap().splits["train"]).unwrap()
}

fn words(text: &str) -> Vec<&str> {
    let mut words = text.split_whitespace().collect::<Vec<_>>();
    words.sort_unstable();
    words
}

const LONG: &str = "one two three four five six seven eight nine ten eleven twelve";

#[test]
fn originals_come_first_and_copies_are_marked() {
    let train = texts(&[(LONG, 0), ("single", 1), (LONG, 1)]);
    let grown = grow(
        json!({ "copies": 2, "word_shuffle": { "window": 4 } }),
        &train,
    );
    assert_eq!(grown.take(&[0, 1, 2]), train);
    assert_eq!(grown.copy, [0, 0, 0, 1, 1, 2, 2]);
    assert_eq!(
        grown.id[3..]
            .iter()
            .map(|&id| table::origin(id))
            .collect::<Vec<_>>(),
        [0, 2, 0, 2]
    );
    assert_eq!(grown.label, Some(vec![0, 1, 1, 0, 1, 0, 1]));
    assert_eq!(
        grown
            .id
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        7
    );
    assert!(
        grown.text[3..]
            .iter()
            .all(|text| text != LONG && words(text) == words(LONG))
    );
}

#[test]
fn operations_do_what_they_say() {
    let train = texts(&[(LONG, 0)]);
    let deleted = grow(json!({ "random_deletion": { "rate": 0.3 } }), &train);
    assert!(deleted.text[1].split(' ').count() < 12);
    let gone = grow(json!({ "random_deletion": { "rate": 1.0 } }), &train);
    assert_eq!(gone.text[1].split(' ').count(), 1);
    let swapped = grow(json!({ "random_swap": { "rate": 0.5 } }), &train);
    assert!(swapped.text[1] != LONG && words(&swapped.text[1]) == words(LONG));
}

#[test]
fn a_rate_of_zero_changes_nothing() {
    let train = texts(&[(LONG, 0), ("two  spaces", 1)]);
    assert_eq!(
        grow(
            json!({ "copies": 3, "random_deletion": { "rate": 0.0 }, "random_swap": { "rate": 0.0 } }),
            &train
        ),
        train
    );
}

#[test]
fn both_texts_of_a_pair_change_independently() {
    let mut train = texts(&[(LONG, 0), ("a", 0)]);
    train.text_pair = Some(vec![LONG.to_owned(), LONG.to_owned()]);
    let grown = grow(json!({ "random_swap": { "rate": 0.5 } }), &train);
    let pairs = grown.text_pair.unwrap();
    assert_eq!(grown.text.len(), 4);
    assert_ne!(grown.text[2], pairs[2]);
    assert_eq!(grown.text[3], "a");
    assert_ne!(pairs[3], LONG);
}

#[test]
fn oversampling_balances_or_lifts_to_a_ratio() {
    let rows = (0..10)
        .map(|n| (LONG, u32::from(n >= 7)))
        .collect::<Vec<_>>();
    let count = |texts: &Texts, label| {
        texts
            .label
            .iter()
            .flatten()
            .filter(|&&l| l == label)
            .count()
    };
    let balanced = grow(json!({ "oversample": {} }), &texts(&rows));
    assert_eq!((count(&balanced, 0), count(&balanced, 1)), (7, 7));
    assert_eq!(balanced.take(&(0..10).collect::<Vec<_>>()), texts(&rows));
    let mut copies = balanced.copy[10..].to_vec();
    copies.sort_unstable();
    assert_eq!(copies, [1, 1, 1, 2]);
    let lifted = grow(json!({ "oversample": { "ratio": 0.6 } }), &texts(&rows));
    assert_eq!((count(&lifted, 0), count(&lifted, 1)), (7, 4));
}

#[test]
fn oversampling_without_labels_is_an_error() {
    let (input, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bare = Texts {
        label: None,
        ..texts(&[("a", 0)])
    };
    Table {
        splits: [("train".to_owned(), bare.to_frame().unwrap())].into(),
        ..Table::default()
    }
    .save(input.path())
    .unwrap();
    let error = run(json!({ "oversample": {} }), input.path(), draft.path());
    assert!(matches!(
        error,
        Err(StageError::Table(TableError::NothingToBalance {
            operation: "oversample",
            found: "none"
        }))
    ));
}

fn refusal(settings: Value, train: &Texts) -> String {
    let (input, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Table {
        splits: [("train".to_owned(), train.to_frame().unwrap())].into(),
        ..Table::default()
    }
    .save(input.path())
    .unwrap();
    let error = run(settings, input.path(), draft.path()).unwrap_err();
    error.to_string()
}

#[test]
fn copies_keep_all_that_is_known_about_their_row() {
    let train = Texts {
        label: None,
        labels: Some(vec![vec![0, 3], vec![]]),
        target: Some(vec![vec![0.5, -1.0], vec![2.0, 3.0]]),
        name: Some(vec!["a".to_owned(), "b".to_owned()]),
        ..texts(&[(LONG, 0), (LONG, 0)])
    };
    let settings = json!({ "copies": 2, "word_shuffle": { "window": 4 } });
    let grown = grow(settings, &train);
    assert_eq!(grown.len(), 6);
    let mut copied = train.take(&[0, 1, 0, 1, 0, 1]);
    copied.id.clone_from(&grown.id);
    copied.copy.clone_from(&grown.copy);
    copied.text.clone_from(&grown.text);
    assert_eq!(grown, copied);
}

#[test]
fn balance_needs_one_label_a_row() {
    let tagged = Texts {
        label: None,
        words: Some(vec![vec!["one".to_owned(), "two".to_owned()]]),
        tags: Some(vec![vec![0, 1]]),
        ..texts(&[("one two", 0)])
    };
    let several = Texts {
        label: None,
        labels: Some(vec![vec![0, 1]]),
        ..texts(&[("one two", 0)])
    };
    for (rows, found) in [(&tagged, "tags instead"), (&several, "any number of them")] {
        for (operation, settings) in [
            ("oversample", json!({ "oversample": {} })),
            ("undersample", json!({ "undersample": {} })),
            (
                "minority_only",
                json!({ "random_swap": {}, "minority_only": true }),
            ),
            (
                "classes",
                json!({ "random_swap": {}, "classes": { "a": { "copies": 2 } } }),
            ),
        ] {
            let wanted =
                format!("`{operation}` needs one label a row, and the rows of train have {found}");
            assert_eq!(refusal(settings, rows), wanted);
        }
    }
}

#[test]
fn a_second_stage_draws_and_numbers_anew() {
    let once = grow(
        json!({ "random_swap": { "rate": 0.5 } }),
        &texts(&[(LONG, 0)]),
    );
    let twice = grow(json!({ "random_swap": { "rate": 0.5 } }), &once);
    assert_eq!(twice.copy, [0, 1, 2, 3]);
    assert_eq!(
        twice
            .text
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        4
    );
}

#[test]
fn stating_no_operation_is_a_fault() {
    let fields = |settings| {
        stage(settings)
            .check()
            .into_iter()
            .map(|fault| fault.field)
            .collect::<Vec<_>>()
    };
    assert_eq!(fields(json!({})), [""]);
    assert_eq!(
        fields(json!({ "random_swap": { "rate": 1.5 }, "copies": 0 })),
        ["random_swap.rate", "copies"]
    );
    assert_eq!(fields(json!({ "oversample": {} })), Vec::<String>::new());
}

#[test]
fn a_changed_seed_changes_the_copies() {
    let train = texts(&[(LONG, 0)]);
    let with = |seed: u64| {
        let settings = json!({ "random_swap": { "rate": 0.5 }, "seed": seed });
        grow(settings, &train)
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

proptest! {
    #[test]
    fn adding_a_row_changes_no_other_row(rows in prop::collection::vec("[a-e]{1,3}( [a-e]{1,3}){0,8}", 1..8), added in "[a-e]( [a-e]){0,5}") {
        let settings = json!({
            "copies": 2, "random_deletion": { "rate": 0.2 }, "random_swap": { "rate": 0.2 }, "word_shuffle": { "window": 2 },
        });
        let rows = rows.iter().map(|text| (text.as_str(), 0)).collect::<Vec<_>>();
        let more = rows.iter().copied().chain([(added.as_str(), 0)]).collect::<Vec<_>>();
        let by_id = |texts: Texts| texts.id.into_iter().zip(texts.text).collect::<BTreeMap<_, _>>();
        let (before, mut after) = (by_id(grow(settings.clone(), &texts(&rows))), by_id(grow(settings, &texts(&more))));
        after.retain(|id, _| table::origin(*id) < rows.len() as u64);
        prop_assert_eq!(before, after);
    }

    #[test]
    fn no_word_moves_further_than_the_window(count in 1_usize..40, window in 1_u32..6, seed in any::<u64>()) {
        let names = (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let line = names.join(" ");
        let mut units = passage::of_text(&line, &HashSet::new());
        let draw = Draw { seed, part: "text", id: 0, copy: 1 };
        words::shuffle(&mut units, window, &mut draw.generator("word_shuffle"));
        let text = passage::text(&units);
        for (place, word) in text.split(' ').enumerate() {
            prop_assert!(word.parse::<usize>().unwrap().abs_diff(place) <= window as usize);
        }
    }

    #[test]
    fn deletion_leaves_a_word_and_invents_none(text in "[a-c]( [a-c]){0,6}", rate in 0.0..=1.0, seed in any::<u64>()) {
        let before = text.split(' ').collect::<Vec<_>>();
        let mut units = passage::of_text(&text, &HashSet::new());
        let draw = Draw { seed, part: "text", id: 0, copy: 1 };
        words::delete(&mut units, rate, &mut draw.generator("random_deletion"));
        let left = passage::text(&units);
        let words = left.split_whitespace().collect::<Vec<_>>();
        prop_assert!(!words.is_empty());
        let mut rest = before.iter();
        prop_assert!(words.iter().all(|word| rest.any(|left| left == word)), "the order changed");
    }
}
