//! The stage from its settings to its artifact.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::*;
use crate::artifact::{Digest, Manifest};
use crate::hub::{Fetched, Remote};
use crate::stage::{Checkpoints, Input, Progress};
use crate::text::Tokenizer;
use crate::text::tokens::{Labelled, TokensCard, write_card, write_split};

fn train(settings: Value) -> Train {
    serde_json::from_value(settings).unwrap()
}

fn scratch() -> Value {
    json!({ "layers": 1, "hidden": 16, "heads": 2 })
}

fn tiny(more: &[(&str, Value)]) -> Train {
    let mut settings = json!({
        "input": "tokens", "scratch": scratch(), "epochs": 2, "seed": 5,
        "batch": { "size": 8 }, "optimizer": { "learning_rate": 5e-3 },
    });
    for (field, value) in more {
        settings[field] = value.clone();
    }
    train(settings)
}

/// Progress that remembers its lines.
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
        self.0.lock().unwrap().push(line.to_owned());
    }
}

/// A tokens artifact of good and bad reviews.
fn tokens(splits: &[(&str, usize)], label_names: Option<&[&str]>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "fine", "bad", "poor", "film", "book",
    ];
    let tokenizer = Tokenizer::from_vocabulary(&words.map(str::to_owned), true).unwrap();
    let names = label_names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
    let mut card = TokensCard::new(&tokenizer, 12, names);
    for &(split, rows) in splits {
        let text = |row: usize| {
            let word = [["good", "bad"], ["fine", "poor"]][row / 2 % 2][row % 2];
            (format!("{word} {}", "film book ".repeat(row % 3)), None)
        };
        let texts: Vec<_> = (0..rows).map(text).collect();
        let label: Vec<u32> = (0..rows as u32).map(|row| row % 2).collect();
        let encoded = tokenizer.encode(&texts, 12).unwrap();
        let id: Vec<u64> = (0..rows as u64).collect();
        let labelled = Labelled {
            label: label_names.map(|_| label.as_slice()),
            ..Labelled::default()
        };
        card.splits.insert(
            split.to_owned(),
            write_split(folder.path(), split, &encoded, &id, &labelled).unwrap(),
        );
    }
    write_card(folder.path(), &card, &tokenizer).unwrap();
    folder
}

fn run(
    stage: &Train,
    tokens: &Path,
    stop: bool,
) -> (tempfile::TempDir, Vec<String>, Result<(), StageError>) {
    let draft = tempfile::tempdir().unwrap();
    let heard = Heard::default();
    let interrupted = AtomicBool::new(stop);
    let context = Context {
        stage: "classifier",
        seed: 5,
        inputs: BTreeMap::from([(
            "input",
            Input {
                path: tokens.to_owned(),
                digest: Digest::of(b"tokens"),
            },
        )]),
        files: stage
            .files(Path::new(env!("CARGO_MANIFEST_DIR")), &Fetched::default())
            .unwrap(),
        fetched: &Fetched::default(),
        draft: draft.path(),
        kept: PathBuf::new(),
        checkpoints: &Checkpoints::default(),
        folder: Path::new("."),
        device: "flex",
        progress: &heard,
        interrupted: &interrupted,
    };
    let result = stage.run(&context);
    (draft, heard.0.into_inner().unwrap(), result)
}

#[test]
fn settings_left_out_have_the_documented_defaults_and_stay_out_of_the_json() {
    let stage = train(json!({ "input": "tokens", "encoder": "models/bert" }));
    assert_eq!(stage.stated().length(), crate::learn::Length::Epochs(3));
    assert_eq!(stage.batch.size, 32);
    assert_eq!(stage.settings().get("epochs"), None);
    assert!(stage.check().is_empty());
}

#[test]
fn what_the_task_has_anyway_is_the_same_stated_or_not() {
    let settings = |task: &str, more: &[(&str, Value)]| {
        let mut all = vec![("task", json!(task))];
        all.extend(more.iter().cloned());
        tiny(&all).settings()
    };
    for (task, field, same, other) in [
        (
            "classification",
            "loss",
            json!({ "name": "cross_entropy" }),
            json!({ "name": "crf" }),
        ),
        ("multi_label", "threshold", json!(0.5), json!("tuned")),
        ("question_answering", "threshold", json!(0), json!(0.5)),
        (
            "question_answering",
            "answers",
            json!({ "max_length": 30 }),
            json!({ "max_length": 29 }),
        ),
    ] {
        let bare = settings(task, &[]);
        assert_eq!(settings(task, &[(field, same)]), bare, "{task}.{field}");
        assert_ne!(settings(task, &[(field, other)]), bare, "{task}.{field}");
    }
}

#[test]
fn the_tasks_own_score_named_is_the_same_as_none_named() {
    let stopping = |metric: Option<&str>| {
        let mut stopping = json!({ "patience": 2 });
        if let Some(metric) = metric {
            stopping["metric"] = metric.into();
        }
        tiny(&[("early_stopping", stopping)])
    };
    assert_eq!(stopping(None).metric(), Metric::Accuracy);
    let settings = |metric| stopping(metric).settings();
    assert_eq!(settings(None), settings(Some("accuracy")));
    assert_ne!(settings(None), settings(Some("loss")));
}

#[test]
fn an_unknown_setting_is_refused() {
    let settings = json!({ "input": "tokens", "optimizer": { "learning_rat": 1e-5 } });
    assert!(
        serde_json::from_value::<Train>(settings)
            .unwrap_err()
            .to_string()
            .contains("learning_rat")
    );
}

#[test]
fn an_encoder_and_sizes_exclude_each_other_as_do_epochs_and_steps() {
    let fields = |settings| {
        train(settings)
            .check()
            .into_iter()
            .map(|fault| fault.field)
            .collect::<Vec<_>>()
    };
    assert_eq!(fields(json!({ "input": "t" })), [""]);
    assert_eq!(
        fields(json!({ "input": "t", "encoder": "e", "scratch": scratch() })),
        ["scratch"]
    );
    assert_eq!(
        fields(json!({ "input": "t", "encoder": "e", "epochs": 1, "max_steps": 9 })),
        ["max_steps"]
    );
    assert_eq!(
        fields(json!({ "input": "t", "scratch": scratch(), "dropout": 0.1 })),
        ["dropout"]
    );
    let uneven = json!({ "layers": 1, "hidden": 16, "heads": 3 });
    assert_eq!(
        fields(json!({ "input": "t", "scratch": uneven })),
        ["scratch.heads"]
    );
}

#[test]
fn every_missing_file_of_an_encoder_is_a_fault() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("bert")).unwrap();
    let stage = train(json!({ "input": "t", "encoder": "bert" }));
    assert_eq!(
        stage
            .files(base.path(), &Fetched::default())
            .unwrap_err()
            .len(),
        2
    );
    for file in ["config.json", "model.safetensors"] {
        fs::write(base.path().join("bert").join(file), "x").unwrap();
    }
    let roles: Vec<(String, PathBuf)> = stage
        .files(base.path(), &Fetched::default())
        .unwrap()
        .into_iter()
        .collect();
    assert_eq!(roles[0].0, "encoder/config.json");
    assert_eq!(
        roles[1],
        (
            "encoder/model.safetensors".to_owned(),
            base.path().join("bert/model.safetensors")
        )
    );
}

#[test]
fn encoders_elsewhere_are_to_be_fetched_and_what_is_nowhere_is_a_fault() {
    let base = tempfile::tempdir().unwrap();
    let stage = |encoder: &str| train(json!({ "input": "t", "encoder": encoder }));
    for id in [
        "sentence-transformers/all-MiniLM-L6-v2",
        "bert-base-uncased@main",
    ] {
        let remotes = stage(id).remotes(base.path());
        let [(field, Remote::Encoder(repository))] = &remotes[..] else {
            panic!("{remotes:?}")
        };
        assert_eq!(
            (field.as_str(), repository.to_string().as_str()),
            ("encoder", id)
        );
    }
    let fault = |encoder: &str| {
        assert_eq!(stage(encoder).remotes(base.path()), []);
        stage(encoder)
            .files(base.path(), &Fetched::default())
            .unwrap_err()
            .remove(0)
    };
    assert!(
        fault("../models/some/bert")
            .message
            .contains("no name on the hub")
    );
    let folder = base.path().join("old");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), "{}").unwrap();
    fs::write(folder.join("tf_model.h5"), "").unwrap();
    assert!(fault("old").message.contains("model.safetensors"));
    assert!(fault("old").help.contains("tf_model.h5"));
}

#[test]
fn every_file_that_holds_weights_has_a_role() {
    let base = tempfile::tempdir().unwrap();
    let stage = train(json!({ "input": "t", "encoder": "bert" }));
    let folder = base.path().join("bert");
    fs::create_dir(&folder).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let roles = || -> Vec<String> {
        let files = stage.files(base.path(), &Fetched::default()).unwrap();
        files.into_keys().collect()
    };
    write("config.json", "{}");
    write(
        "pytorch_model.bin.index.json",
        r#"{"weight_map": {"a": "one.bin", "b": "two.bin", "c": "one.bin"}}"#,
    );
    let faults = stage.files(base.path(), &Fetched::default()).unwrap_err();
    assert_eq!(faults.len(), 2);
    assert!(faults[1].message.contains("two.bin"), "{faults:?}");
    assert!(faults[1].help.contains("pytorch_model.bin.index.json"));
    write("one.bin", "");
    write("two.bin", "");
    assert_eq!(
        roles(),
        [
            "encoder/config.json",
            "encoder/one.bin",
            "encoder/pytorch_model.bin.index.json",
            "encoder/two.bin"
        ]
    );
    for preferred in [
        "pytorch_model.bin",
        "model.safetensors.index.json",
        "model.safetensors",
    ] {
        write(preferred, r#"{"weight_map": {"a": "one.bin"}}"#);
        assert!(roles().contains(&format!("encoder/{preferred}")));
    }
    assert_eq!(roles().len(), 2);
}

#[test]
fn the_artifact_is_whole_and_equal_runs_have_equal_digests() {
    let tokens = tokens(&[("train", 40), ("validation", 12)], Some(&["good", "bad"]));
    let digest = |stage: &Train| {
        let (draft, heard, result) = run(stage, tokens.path(), false);
        result.unwrap();
        let manifest = Manifest::of_folder(Kind::Model, draft.path(), &[]).unwrap();
        for file in [
            "model.safetensors",
            "config.json",
            "model.json",
            "metrics.jsonl",
            "scores.json",
            "tokenizer/tokenizer.json",
        ] {
            assert!(manifest.files.contains_key(file), "{file} is missing");
        }
        let log = fs::read_to_string(draft.path().join("metrics.jsonl")).unwrap();
        assert_eq!(log.lines().count(), 2 * 5 + 2);
        assert!(log.starts_with(r#"{"step":1,"epoch":1,"loss":"#));
        let scores: Value =
            serde_json::from_slice(&fs::read(draft.path().join("scores.json")).unwrap()).unwrap();
        assert!(scores["loss"].is_f64() && scores["accuracy"].is_f64());
        assert!(
            heard
                .iter()
                .any(|line| line.starts_with("epoch 2: validation loss"))
        );
        manifest.digest()
    };
    let first = digest(&tiny(&[]));
    assert_eq!(first, digest(&tiny(&[])));
    assert_ne!(
        first,
        digest(&tiny(&[("schedule", json!({ "warmup": 0.2 }))]))
    );
}

#[test]
fn the_written_model_opens_and_answers_as_its_scores_say() {
    let tokens = tokens(&[("train", 40), ("validation", 12)], Some(&["good", "bad"]));
    let (draft, _, result) = run(&tiny(&[]), tokens.path(), false);
    result.unwrap();
    let device = device::choose("flex").unwrap().device;
    let (model, _, info) = model::open(draft.path(), &device).unwrap();
    assert_eq!(
        (info.label_names.as_slice(), info.steps),
        (["good".to_owned(), "bad".to_owned()].as_slice(), 10)
    );
    let opened = Tokens::open(tokens.path()).unwrap();
    let rows = opened.split("validation").unwrap();
    let answers = learn::predict(&model, rows, 0, 64, &device, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    let labels: Vec<u32> = (0..12).map(|row| row % 2).collect();
    let scores: Value =
        serde_json::from_slice(&fs::read(draft.path().join("scores.json")).unwrap()).unwrap();
    assert!((scores["loss"].as_f64().unwrap() - answers.loss(&labels)).abs() < 1e-6);
}

#[test]
fn without_a_validation_split_one_warning_says_that_the_last_weights_are_kept() {
    let tokens = tokens(&[("train", 16)], Some(&["good", "bad"]));
    let (draft, heard, result) = run(&tiny(&[]), tokens.path(), false);
    result.unwrap();
    assert!(!draft.path().join("scores.json").exists());
    assert_eq!(
        heard
            .iter()
            .filter(|line| line.contains("no validation split"))
            .count(),
        1
    );
    let stopping = ("early_stopping", json!({ "patience": 1 }));
    assert!(matches!(
        run(&tiny(&[stopping]), tokens.path(), false).2,
        Err(StageError::Mismatch { .. })
    ));
}

#[test]
fn tokens_without_labels_or_with_one_are_refused() {
    for names in [None, Some(["good"].as_slice())] {
        let tokens = tokens(&[("train", if names.is_some() { 1 } else { 8 })], names);
        let (_, _, result) = run(&tiny(&[]), tokens.path(), false);
        assert!(
            matches!(result, Err(StageError::Mismatch { .. })),
            "{result:?}"
        );
    }
}

#[test]
fn a_weight_beyond_single_precision_is_a_fault() {
    let fields = |weight: f64| {
        let loss = json!({ "positive_weights": { "joy": 2.0, "grief": weight } });
        let stage = tiny(&[("task", json!("multi_label")), ("loss", loss)]);
        let faults = stage.check().into_iter();
        faults.map(|fault| fault.field).collect::<Vec<_>>()
    };
    assert!(fields(50.0).is_empty());
    for weight in [1e300, 1e-300] {
        assert_eq!(fields(weight), ["loss.positive_weights.grief"], "{weight}");
    }
}

#[test]
fn strict_scores_of_tags_that_mark_no_chunks_are_not_watched() {
    let rule = |scheme| Rule {
        task: Task::TokenClassification,
        names: vec!["NN".to_owned(), "VB".to_owned()],
        thresholds: None,
        scheme,
        answers: Default::default(),
    };
    let watching = |metric: &str| {
        tiny(&[
            ("task", json!("token_classification")),
            ("early_stopping", json!({ "metric": metric, "patience": 2 })),
        ])
    };
    let told = watching("strict_f1").check_watched(&rule(None));
    let told = told.unwrap_err().to_string();
    assert!(told.contains("watches strict_f1"), "{told}");
    let scheme = Some(crate::metrics::Scheme::Bio);
    assert!(watching("strict_f1").check_watched(&rule(scheme)).is_ok());
    assert!(watching("f1").check_watched(&rule(None)).is_ok());
}

#[test]
fn an_interrupted_training_says_so() {
    let tokens = tokens(&[("train", 16)], Some(&["good", "bad"]));
    assert!(matches!(
        run(&tiny(&[]), tokens.path(), true).2,
        Err(StageError::Interrupted)
    ));
}

#[test]
fn texts_longer_than_the_encoder_reads_are_refused_before_training() {
    let tokens = tokens(&[("train", 16)], Some(&["good", "bad"]));
    let small = json!({ "layers": 1, "hidden": 16, "heads": 2, "max_positions": 4 });
    let (_, _, result) = run(&tiny(&[("scratch", small)]), tokens.path(), false);
    assert!(matches!(result, Err(StageError::Model(_))), "{result:?}");
}

#[test]
fn the_schema_shows_defaults_and_ranges() {
    let schema = serde_json::to_value(schemars::schema_for!(Train)).unwrap();
    assert_eq!(schema["properties"]["epochs"]["default"], 3);
    assert_eq!(schema["properties"]["epochs"]["minimum"], 1);
    assert_eq!(schema["properties"]["encoder"].get("default"), None);
    assert_eq!(schema["required"], json!(["input"]));
    let learning_rate = &schema["$defs"]["OptimizerSettings"]["properties"]["learning_rate"];
    assert_eq!(
        (
            &learning_rate["default"],
            &learning_rate["exclusiveMinimum"]
        ),
        (&json!(5e-5), &json!(0.0))
    );
    assert_eq!(
        schema["$defs"]["EarlyStopping"]["required"],
        json!(["patience"])
    );
}

mod head;
mod lora;
mod recipe;
