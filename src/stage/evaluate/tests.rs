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
use crate::stage::{Checkpoints, Input, Progress};
use crate::table::{Table, Texts};
use crate::text::Tokenizer;
use crate::text::tokens::{Labelled, TokensCard, write_card, write_split};

pub(super) const WORDS: [&str; 8] = [
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
pub(super) fn tokens(words: &[&str], labels: &[&str]) -> tempfile::TempDir {
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
pub(super) fn trained_on(tokens: &Path) -> tempfile::TempDir {
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

pub(super) fn run(
    settings: Value,
    model: &Path,
    tokens: &Path,
    stop: bool,
) -> Result<(tempfile::TempDir, u64), StageError> {
    let mut all = json!({"model": "m", "input": "t"});
    for (field, value) in settings.as_object().unwrap() {
        all[field] = value.clone();
    }
    let counted = Counted::default();
    let draft = run_told(all, [model, tokens], &counted, &AtomicBool::new(stop))?;
    Ok((draft, counted.0.into_inner().unwrap()))
}

/// The same with all settings given, with progress and a wish to stop from outside.
pub(super) fn run_told(
    settings: Value,
    [model, tokens]: [&Path; 2],
    progress: &dyn Progress,
    interrupted: &AtomicBool,
) -> Result<tempfile::TempDir, StageError> {
    let draft = tempfile::tempdir().unwrap();
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
        progress,
        interrupted,
    };
    evaluate(settings).unwrap().run(&context)?;
    Ok(draft)
}

pub(super) fn scores_in(draft: &tempfile::TempDir) -> Value {
    serde_json::from_slice(&std::fs::read(draft.path().join("scores.json")).unwrap()).unwrap()
}

/// The message and the help of an error.
pub(super) fn told(error: &StageError) -> String {
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
fn rows_are_paired_only_within_one_split() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let model = trained_on(tokens.path());
    let (a, _) = run(json!({}), model.path(), tokens.path(), false).unwrap();
    let (b, _) = run(json!({}), model.path(), tokens.path(), false).unwrap();
    let same = Evaluate::compare(a.path(), b.path()).unwrap().unwrap();
    assert!(same.paired && same.changes.is_ok());
    // Ids and right answers are the same, as those of two splits may well be.
    let mut scores = scores_in(&b);
    scores["split"] = json!("validation");
    std::fs::write(b.path().join("scores.json"), scores.to_string()).unwrap();
    let other = Evaluate::compare(a.path(), b.path()).unwrap().unwrap();
    assert!(!other.paired);
    assert_eq!(other.changes.unwrap_err(), "A and B answered other splits");
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

pub(super) fn evaluate(settings: Value) -> Result<Evaluate, serde_json::Error> {
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

/// A table of generated texts, evaluated.
fn generated(settings: Value, files: Files, rows: &Texts) -> Result<tempfile::TempDir, StageError> {
    let (table, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let splits = BTreeMap::from([("test".to_owned(), rows.to_frame().unwrap())]);
    let saved = Table {
        splits,
        ..Table::default()
    };
    saved.save(table.path()).unwrap();
    let mut all = json!({"task": "generation", "input": "t"});
    for (field, value) in settings.as_object().unwrap() {
        all[field] = value.clone();
    }
    let input = Input {
        path: table.path().to_owned(),
        digest: Digest::of(b""),
    };
    let context = Context {
        stage: "scores",
        seed: 0,
        inputs: BTreeMap::from([("input", input)]),
        files,
        fetched: &Fetched::default(),
        draft: draft.path(),
        kept: PathBuf::new(),
        checkpoints: &Checkpoints::default(),
        folder: Path::new("."),
        device: "flex",
        progress: &Counted::default(),
        interrupted: &AtomicBool::new(false),
    };
    evaluate(all).unwrap().run(&context)?;
    Ok(draft)
}

fn texts(pairs: &[(&str, &str)]) -> Texts {
    let own = |of: &dyn Fn(&(&str, &str)) -> String| pairs.iter().map(of).collect::<Vec<_>>();
    Texts {
        id: (0..pairs.len() as u64).collect(),
        copy: vec![0; pairs.len()],
        text: own(&|pair| pair.0.to_owned()),
        text_pair: Some(own(&|pair| pair.1.to_owned())),
        ..Texts::default()
    }
}

const SUMMARIES: [(&str, &str); 3] = [
    ("the cat sat", "the cat sat down"),
    ("a big car", "a large automobile"),
    ("it rains", "the sun shines"),
];

#[test]
fn generated_texts_are_scored_without_a_model_and_each_row_keeps_its_scores() {
    let draft = generated(json!({}), Files::new(), &texts(&SUMMARIES)).unwrap();
    let scores = written(draft.path());
    let first: Vec<&str> = scores.keys().take(9).map(String::as_str).collect();
    assert_eq!(first, metrics::generated::OF_ROWS);
    assert_eq!(scores["rows"], 3);
    assert_eq!(scores["meteor_synonyms"], false);
    let columns = table::read_columns(&draft.path().join("predictions.parquet"), |_| true).unwrap();
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["id", "generated", "reference"]);
    assert_eq!(names[3..], metrics::generated::OF_ROWS);
    assert!(metrics::render(&Value::Object(scores)).contains("(test, 3 rows)"));
}

#[test]
fn two_evaluations_of_generated_texts_have_intervals_for_every_score() {
    let ours = generated(json!({}), Files::new(), &texts(&SUMMARIES)).unwrap();
    let others = SUMMARIES.map(|(_, reference)| (reference, reference));
    let best = generated(json!({}), Files::new(), &texts(&others)).unwrap();
    let found = Evaluate::compare(ours.path(), best.path())
        .unwrap()
        .unwrap();
    assert!(found.paired);
    let scored: Vec<&str> = found.intervals.keys().map(String::as_str).collect();
    let mut all = metrics::generated::OF_ROWS;
    all.sort_unstable();
    assert_eq!(scored, all);
    assert!(found.intervals["f1"].difference.unwrap().low > 0.0);
}

#[test]
fn with_a_wordnet_meteor_is_nltks() {
    let Some(assets) = std::env::var_os("REFIT_TEST_ASSETS") else {
        eprintln!("SKIPPED: REFIT_TEST_ASSETS names no folder with data/wordnet-3.0");
        return;
    };
    let folder = Path::new(&assets).join("data/wordnet-3.0");
    let settings = json!({"task": "generation", "input": "t", "wordnet": folder});
    let files = evaluate(settings)
        .unwrap()
        .files(Path::new("."), &Fetched::default())
        .unwrap();
    assert_eq!(files.len(), 12);
    let fixture = include_str!("../../../tests/fixtures/generated_metrics.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    let text = |case: &Value, field: &str| case[field].as_str().unwrap().to_owned();
    let rows = Texts {
        id: (0..cases.len() as u64).collect(),
        copy: vec![0; cases.len()],
        text: cases.iter().map(|case| text(case, "prediction")).collect(),
        text_pair: Some(cases.iter().map(|case| text(case, "reference")).collect()),
        ..Texts::default()
    };
    let draft = generated(json!({}), files, &rows).unwrap();
    assert_eq!(written(draft.path())["meteor_synonyms"], true);
    let file = draft.path().join("predictions.parquet");
    let columns = table::read_columns(&file, |name| name == "meteor").unwrap();
    let [(_, Cells::Numbers(ours))] = &columns[..] else {
        panic!("{columns:?}")
    };
    assert!(cases.len() >= 100 && ours.len() == cases.len());
    let mut by_synonyms = 0;
    for (ours, case) in ours.iter().zip(cases) {
        let of = |field: &str| case[field].as_f64().unwrap();
        let difference = (ours.unwrap() - of("meteor")).abs();
        assert!(difference < 1e-9, "{ours:?}: {case}");
        by_synonyms += usize::from(of("meteor") != of("meteor_without_synonyms"));
    }
    assert!(by_synonyms >= 20, "{by_synonyms}");
}

#[test]
fn what_belongs_to_a_model_and_to_texts_is_kept_apart() {
    for (settings, field) in [
        (json!({"input": "t"}), ""),
        (
            json!({"input": "t", "model": "m", "task": "generation"}),
            "model",
        ),
        (
            json!({"input": "t", "model": "m", "generation": {"stemmed_rouge": true}}),
            "generation",
        ),
        (
            json!({"input": "t", "model": "m", "wordnet": "w"}),
            "wordnet",
        ),
    ] {
        let faults = evaluate(settings.clone()).unwrap().check();
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, [field], "{settings}");
    }
    let mut bare = texts(&SUMMARIES);
    bare.text_pair = None;
    let error = generated(json!({}), Files::new(), &bare).unwrap_err();
    assert!(error.to_string().contains("no second text"), "{error}");
    let settings = json!({"task": "generation", "input": "t", "wordnet": "nowhere"});
    let stage = evaluate(settings).unwrap();
    let faults = stage
        .files(Path::new("."), &Fetched::default())
        .unwrap_err();
    assert_eq!(faults[0].field, "wordnet");
}

fn written(artifact: &Path) -> Map<String, Value> {
    let text = std::fs::read(artifact.join("scores.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}
