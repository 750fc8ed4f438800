//! The stage from its settings to its artifact.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use miette::Diagnostic;
use serde_json::json;

use super::*;
use crate::artifact::{Digest, Manifest};
use crate::hub::Fetched;
use crate::metrics;
use crate::model::{Classifier, HeadSettings, Vocabulary};
use crate::stage::{Checkpoints, Files, Input, Progress};
use crate::text::Tokenizer;
use crate::text::tokens::{Labelled, TokensCard, write_card, write_split};

const WORDS: [&str; 8] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film",
];

/// Progress that counts.
#[derive(Default)]
struct Counted(Mutex<u64>);

impl Progress for Counted {
    fn start(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, units: u64) {
        *self.0.lock().unwrap() += units;
    }
    fn state(&self, _: &str) {}
    fn say(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

/// Ten reviews in the split `test`, of unequal lengths, and two without labels in `more.bare`.
fn tokens(words: &[&str], labels: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    let tokenizer = Tokenizer::from_vocabulary(&words, true).unwrap();
    let mut card = TokensCard::new(
        &tokenizer,
        12,
        Some(labels.iter().map(ToString::to_string).collect()),
    );
    for (name, rows) in [("test", 10), ("more.bare", 2)] {
        let texts: Vec<_> = (0..rows)
            .map(|row| {
                (
                    format!("{} {}", ["good", "bad"][row % 2], "film ".repeat(row)),
                    None,
                )
            })
            .collect();
        let encoded = tokenizer.encode(&texts, 12).unwrap();
        let id: Vec<u64> = (100..100 + rows as u64).collect();
        let label: Vec<u32> = (0..rows as u32).map(|row| row % 2).collect();
        let labelled = Labelled {
            label: (name == "test").then_some(label.as_slice()),
            ..Labelled::default()
        };
        card.splits.insert(
            name.to_owned(),
            write_split(folder.path(), name, &encoded, &id, &labelled).unwrap(),
        );
    }
    write_card(folder.path(), &card, &tokenizer).unwrap();
    folder
}

/// An untrained model for `tokens`.
fn trained_on(tokens: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tokens = Tokens::open(tokens).unwrap();
    let names = tokens.label_names().unwrap().to_vec();
    let sizes = serde_json::from_value(json!({"layers": 1, "hidden": 16, "heads": 2})).unwrap();
    let vocabulary = Vocabulary {
        size: tokens.vocab_size(),
        pad_id: tokens.pad_id(),
    };
    let head = HeadSettings::default().over_texts(names.len());
    let (classifier, config) =
        Classifier::scratch(&sizes, vocabulary, &head, 3, &Device::flex()).unwrap();
    let info = ModelInfo {
        task: model::Task::Classification,
        pooling: classifier.head.pooling(),
        head_dropout: 0.1,
        stack: model::Stack::default(),
        label_names: names,
        target_names: None,
        crf: false,
        scheme: None,
        thresholds: None,
        max_answer_length: None,
        n_best: None,
        max_length: tokens.max_length(),
        stride: None,
        tokenizer_digest: tokens.tokenizer_digest().to_owned(),
        best_epoch: 1,
        best_step: 1,
        steps: 1,
    };
    model::save(folder.path(), &classifier, &config, &info).unwrap();
    folder
}

fn run(
    settings: Value,
    model: &Path,
    tokens: &Path,
    stop: bool,
) -> Result<(tempfile::TempDir, u64), StageError> {
    let mut all = json!({"model": "m", "input": "t"});
    for (field, value) in settings.as_object().unwrap() {
        all[field] = value.clone();
    }
    let draft = tempfile::tempdir().unwrap();
    let counted = Counted::default();
    let input = |path: &Path| Input {
        path: path.to_owned(),
        digest: Digest::of(b""),
    };
    let context = Context {
        stage: "scores",
        seed: 0,
        inputs: BTreeMap::from([("model", input(model)), ("input", input(tokens))]),
        files: Files::new(),
        fetched: &Fetched::default(),
        draft: draft.path(),
        kept: PathBuf::new(),
        checkpoints: &Checkpoints::default(),
        folder: Path::new("."),
        device: "flex",
        progress: &counted,
        interrupted: &AtomicBool::new(stop),
    };
    evaluate(all).unwrap().run(&context)?;
    Ok((draft, counted.0.into_inner().unwrap()))
}

fn scores_in(draft: &tempfile::TempDir) -> Value {
    serde_json::from_slice(&std::fs::read(draft.path().join("scores.json")).unwrap()).unwrap()
}

/// The message and the help of an error.
fn told(error: &StageError) -> String {
    format!(
        "{error} / {}",
        error
            .help()
            .map(|help| help.to_string())
            .unwrap_or_default()
    )
}

#[test]
fn every_row_is_answered_and_scored() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let model = trained_on(tokens.path());
    let (draft, rows) = run(json!({"batch_size": 3}), model.path(), tokens.path(), false).unwrap();
    let scores = scores_in(&draft);
    assert_eq!(
        (rows, &scores["rows"], &scores["split"]),
        (10, &json!(10), &json!("test"))
    );
    assert_eq!(scores["labels"], json!(["yes", "no"]));
    let cells = scores["confusion_matrix"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap());
    assert_eq!(cells.map(|cell| cell.as_u64().unwrap()).sum::<u64>(), 10);
    // An untrained model of two labels is about as sure as a coin.
    assert!(
        (scores["loss"].as_f64().unwrap() - 2f64.ln()).abs() < 0.2,
        "{}",
        scores["loss"]
    );
    assert!(draft.path().join("predictions.parquet").is_file());
}

#[test]
fn two_evaluations_leave_the_same_digest() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let model = trained_on(tokens.path());
    let digest = || {
        let (draft, _) = run(json!({}), model.path(), tokens.path(), false).unwrap();
        Manifest::of_folder(Kind::Scores, draft.path(), &[])
            .unwrap()
            .digest()
    };
    assert_eq!(digest(), digest());
}

#[test]
fn the_batch_size_changes_no_score_beyond_rounding() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let model = trained_on(tokens.path());
    let loss = |size: usize| {
        let (draft, _) = run(
            json!({"batch_size": size}),
            model.path(),
            tokens.path(),
            false,
        )
        .unwrap();
        scores_in(&draft)["loss"].as_f64().unwrap()
    };
    assert!((loss(1) - loss(64)).abs() < 1e-5);
}

#[test]
fn tokens_of_another_tokenizer_are_refused() {
    let own = tokens(&WORDS, &["yes", "no"]);
    let mut words = WORDS;
    words.swap(5, 6);
    let other = tokens(&words, &["yes", "no"]);
    let error = run(
        json!({}),
        trained_on(own.path()).path(),
        other.path(),
        false,
    )
    .unwrap_err();
    assert!(
        told(&error).contains("different tokenizers"),
        "{}",
        told(&error)
    );
    for folder in [&own, &other] {
        let digest = Tokens::open(folder.path())
            .unwrap()
            .tokenizer_digest()
            .to_owned();
        assert!(told(&error).contains(short(&digest)), "{}", told(&error));
    }
}

#[test]
fn other_labels_are_refused_and_both_lists_shown() {
    let own = tokens(&WORDS, &["yes", "no"]);
    let other = tokens(&WORDS, &["no", "yes"]);
    let error = run(
        json!({}),
        trained_on(own.path()).path(),
        other.path(),
        false,
    )
    .unwrap_err();
    assert!(
        told(&error).contains(r#""yes", "no", the tokens have "no", "yes""#),
        "{}",
        told(&error)
    );
}

#[test]
fn a_split_that_is_not_there_lists_those_that_are() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let error = run(
        json!({"split": "validation"}),
        trained_on(tokens.path()).path(),
        tokens.path(),
        false,
    )
    .unwrap_err();
    assert!(
        told(&error).contains("there is more.bare, test"),
        "{}",
        told(&error)
    );
}

#[test]
fn a_split_without_labels_is_refused_as_one() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let error = run(
        json!({"split": "more.bare"}),
        trained_on(tokens.path()).path(),
        tokens.path(),
        false,
    )
    .unwrap_err();
    assert!(
        told(&error).contains("the split \"more.bare\" has nothing to compare answers with"),
        "{}",
        told(&error)
    );
}

#[test]
fn a_stopped_evaluation_is_interrupted_and_not_failed() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let result = run(
        json!({}),
        trained_on(tokens.path()).path(),
        tokens.path(),
        true,
    );
    assert!(matches!(result, Err(StageError::Interrupted)));
}

fn evaluate(settings: Value) -> Result<Evaluate, serde_json::Error> {
    serde_json::from_value(settings)
}

#[test]
fn the_test_split_is_the_default() {
    let stage = evaluate(json!({"model": "m", "input": "t"})).unwrap();
    assert_eq!((stage.split.as_str(), stage.batch_size), ("test", 64));
    assert!(stage.check().is_empty());
}

#[test]
fn a_split_that_no_table_can_have_is_a_fault_at_its_field() {
    for split in ["dev", "more.", "Test"] {
        let stage = evaluate(json!({"model": "m", "input": "t", "split": split})).unwrap();
        assert_eq!(stage.check()[0].field, "split", "{split}");
    }
    assert!(
        evaluate(json!({"model": "m", "input": "t", "split": "more.mismatched"}))
            .unwrap()
            .check()
            .is_empty()
    );
}

#[test]
fn an_unknown_field_is_refused() {
    assert!(evaluate(json!({"model": "m", "input": "t", "spilt": "test"})).is_err());
}

#[test]
fn settings_survive_their_own_json() {
    let stage =
        evaluate(json!({"model": "m", "input": "t", "split": "validation", "batch_size": 8}))
            .unwrap();
    assert_eq!(evaluate(stage.settings()).unwrap(), stage);
}

#[test]
fn scores_begin_flat_and_end_with_the_matrix() {
    let names = ["no".to_owned(), "yes".to_owned()];
    let scored = metrics::classification(&[0, 1], &[0, 0], &names);
    let scored = Scored {
        flat: scored.flat(0.7),
        details: scored.details(),
    };
    let written = scores(scored, 2, "test");
    let fields: Vec<&String> = written.keys().collect();
    assert_eq!(
        (fields[0].as_str(), fields[11].as_str(), fields[12].as_str()),
        ("accuracy", "loss", "rows")
    );
    assert_eq!(fields.last().unwrap().as_str(), "confusion_matrix");
    assert_eq!(written["confusion_matrix"], json!([[1, 0], [1, 0]]));
    assert!(metrics::render(&Value::Object(written)).contains("(test, 2 rows)"));
}
