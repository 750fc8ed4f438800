//! What an exported folder holds.

mod families;

use self::families::{exported, info};

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::*;
use crate::artifact::{Digest, Manifest};
use crate::hub::Fetched;
use crate::model::{Classifier, EncoderConfig, EncoderFiles};
use crate::stage::{Checkpoints, Input, Progress};

struct Silent;

impl Progress for Silent {
    fn start(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn state(&self, _: &str) {}
    fn say(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

const LABELS: [&str; 3] = ["World", "Sports", "Sci/Tech"];

/// A model artifact with weights of one value each, and the tokenizer's files as `tokenize` leaves them.
fn model(pooling: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: Value| {
        std::fs::write(folder.path().join(name), value.to_string()).unwrap()
    };
    write(
        "model.json",
        json!({
            "task": "classification", "pooling": pooling, "head_dropout": 0.25, "label_names": LABELS, "max_length": 64,
            "tokenizer_digest": "00".repeat(32), "best_epoch": 1, "best_step": 10, "steps": 10,
        }),
    );
    let fields = json!({
        "model_type": "bert", "vocab_size": 30, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 8, "max_position_embeddings": 16,
    });
    let encoder =
        EncoderConfig::parse(Path::new("config.json"), fields.to_string().as_bytes()).unwrap();
    let labels = LABELS.map(str::to_owned);
    write(
        "config.json",
        encoder.for_task(Task::Classification, &labels, 0.25),
    );
    std::fs::create_dir(folder.path().join("tokenizer")).unwrap();
    write("tokenizer/tokenizer.json", json!({"truncation": null}));
    write(
        "tokenizer/tokenizer_config.json",
        json!({"tokenizer_class": "BertTokenizer", "model_max_length": 512}),
    );
    let value = 1f32.to_le_bytes();
    let view = || TensorView::new(Dtype::F32, vec![1], &value).unwrap();
    let names = ["bert.pooler.dense.weight", "classifier.weight", "bert.a"];
    let tensors: Vec<_> = names.into_iter().map(|name| (name, view())).collect();
    safetensors::serialize_to_file(tensors, None, &folder.path().join("model.safetensors"))
        .unwrap();
    folder
}

fn stage() -> Export {
    serde_json::from_value(json!({"model": "m", "to": "dist/m"})).unwrap()
}

fn export(pooling: &str) -> tempfile::TempDir {
    let (from, draft) = (model(pooling), tempfile::tempdir().unwrap());
    run(from.path(), draft.path());
    draft
}

fn run(from: &Path, draft: &Path) {
    run_stage(&stage(), from, draft).unwrap();
}

fn run_stage(stage: &Export, from: &Path, draft: &Path) -> Result<(), StageError> {
    let input = Input {
        path: from.to_owned(),
        digest: Digest::of(b"model"),
    };
    let context = Context {
        stage: "bundle",
        seed: 0,
        inputs: BTreeMap::from([("model", input)]),
        files: BTreeMap::new(),
        fetched: &Fetched::default(),
        draft,
        kept: std::path::PathBuf::new(),
        checkpoints: &Checkpoints::default(),
        folder: Path::new("."),
        device: "auto",
        progress: &Silent,
        interrupted: &AtomicBool::new(false),
    };
    stage.run(&context)
}

fn json_of(folder: &tempfile::TempDir, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.path().join(name)).unwrap()).unwrap()
}

fn tensor_names(folder: &tempfile::TempDir) -> Vec<String> {
    let bytes = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let mut names: Vec<String> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .names()
        .into_iter()
        .map(ToString::to_string)
        .collect();
    names.sort();
    names
}

#[test]
fn every_label_is_in_the_config_both_ways() {
    let config = json_of(&export("pooler"), "config.json");
    for (id, name) in LABELS.iter().enumerate() {
        assert_eq!(config["id2label"][id.to_string()], *name);
        assert_eq!(config["label2id"][*name], id);
    }
    assert_eq!(config["id2label"].as_object().unwrap().len(), LABELS.len());
    assert_eq!(config["problem_type"], "single_label_classification");
    assert_eq!(config["classifier_dropout"], 0.25);
}

#[test]
fn a_pooler_head_is_transformers_own_class() {
    let bundle = export("pooler");
    let config = json_of(&bundle, "config.json");
    assert_eq!(
        config["architectures"],
        json!(["BertForSequenceClassification"])
    );
    assert_eq!(config["model_type"], "bert");
    assert!(config.get("auto_map").is_none());
    assert!(!bundle.path().join(modelling::FILE).exists());
    assert_eq!(
        tensor_names(&bundle),
        ["bert.a", "bert.pooler.dense.weight", "classifier.weight"]
    );
}

#[test]
fn a_mean_pooling_head_brings_its_class_and_leaves_the_pooler() {
    for pooling in ["cls", "mean", "max"] {
        let bundle = export(pooling);
        let config = json_of(&bundle, "config.json");
        let class = config["auto_map"]["AutoModelForSequenceClassification"]
            .as_str()
            .unwrap()
            .to_owned();
        let name = class.strip_prefix("modeling_refit.").unwrap();
        let modelling = std::fs::read_to_string(bundle.path().join(modelling::FILE)).unwrap();
        assert!(modelling.contains(&format!("class {name}(")), "{name}");
        assert_eq!(config["refit_pooling"], pooling);
        assert_eq!(tensor_names(&bundle), ["bert.a", "classifier.weight"]);
    }
}

#[test]
fn a_stack_is_a_class_of_ours_for_every_family_and_task_that_may_have_one() {
    let stack =
        json!({ "layers": 2, "combine": "concat", "hidden_layers": [5], "activation": "tanh" });
    for name in ["bert", "roberta", "albert", "modernbert"] {
        for (task, pooling) in [
            (Task::Classification, Some(Pooling::Mean)),
            (Task::TokenClassification, None),
        ] {
            let plain = info(task, pooling, false);
            let mut info = plain.clone();
            info.stack = serde_json::from_value(stack.clone()).unwrap();
            let (_, bundle) = exported(name, &info);
            let config = json_of(&bundle, "config.json");
            let class = format!("RefitFor{}", task.class());
            assert_eq!(config["architectures"], json!([class]));
            assert_eq!(config["model_type"], "refit_encoder");
            for (field, value) in stack.as_object().unwrap() {
                assert_eq!(&config[format!("refit_{field}")], value);
            }
            let names = tensor_names(&bundle);
            assert!(names.contains(&"mlp.0.weight".to_owned()), "{names:?}");
            let read = EncoderConfig::read(&bundle.path().join("config.json")).unwrap();
            assert_eq!(read.family.model_type(), name);
        }
    }
}

#[test]
fn a_stack_on_a_pooler_keeps_the_pooler() {
    for (name, kept) in [("bert", true), ("albert", true), ("roberta", false)] {
        let mut info = info(Task::Classification, Some(Pooling::Pooler), false);
        info.stack.hidden_layers = vec![6];
        let names = tensor_names(&exported(name, &info).1);
        let pooler = names.iter().any(|name| name.contains("pooler"));
        assert_eq!(pooler, kept, "{name}: {names:?}");
    }
}

/// A model of the family that LoRA adapted, exported as an adapter.
fn adapter_of(name: &str, info: &ModelInfo, adapts: bool) -> Result<tempfile::TempDir, StageError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/families")
        .join(name);
    let (from, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = EncoderFiles::in_folder(&folder);
    let (mut classifier, config, report) =
        Classifier::pretrained(&files, &info.head(), 7, &Device::flex()).unwrap();
    if adapts {
        let settings = crate::model::LoraSettings::default();
        let fresh = &report.initialised;
        classifier = crate::model::adapt(classifier, &config, &settings, fresh, 7).unwrap();
    }
    crate::model::write_adapter(&classifier, info.task, &from.path().join(ADAPTER)).unwrap();
    let classifier = crate::model::merged(classifier);
    crate::model::save(from.path(), &classifier, &config, info).unwrap();
    std::fs::create_dir(from.path().join("tokenizer")).unwrap();
    std::fs::write(from.path().join("tokenizer/tokenizer_config.json"), "{}").unwrap();
    let adapter = Export {
        adapter: true,
        ..stage()
    };
    run_stage(&adapter, from.path(), draft.path())?;
    Ok(draft)
}

#[test]
fn an_adapter_is_what_lora_learned_and_no_more() {
    let info = info(Task::Classification, Some(Pooling::Pooler), false);
    let bundle = adapter_of("bert", &info, true).unwrap();
    assert!(!bundle.path().join("model.safetensors").exists());
    let config = json_of(&bundle, "adapter_config.json");
    assert_eq!(config["target_modules"], json!(["query", "value"]));
    assert_eq!(config["modules_to_save"], json!(["classifier"]));
    assert_eq!(config["task_type"], "SEQ_CLS");
    let labels = &json_of(&bundle, "config.json")["id2label"];
    assert_eq!(labels["1"], "Sports");
    let bytes = std::fs::read(bundle.path().join("adapter_model.safetensors")).unwrap();
    let names = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(names.names().len(), 2 * 2 * 2 + 2);
}

#[test]
fn an_adapter_of_a_model_that_has_none_or_of_a_head_of_ours_is_refused() {
    let pooler = info(Task::Classification, Some(Pooling::Pooler), false);
    let refused = adapter_of("bert", &pooler, false).unwrap_err().to_string();
    assert!(refused.contains("without LoRA"), "{refused}");
    let mean = info(Task::Classification, Some(Pooling::Mean), false);
    let refused = adapter_of("bert", &mean, true).unwrap_err().to_string();
    assert!(refused.contains("none of transformers' own"), "{refused}");
}

#[test]
fn two_exports_have_the_same_bytes() {
    let bundles = [export("mean"), export("mean")];
    let [first, second] = bundles.each_ref().map(|bundle| {
        let files = crate::artifact::files_under(bundle.path()).unwrap();
        files
            .iter()
            .map(|file| std::fs::read(file).unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(first, second);
    let [first, second] = bundles.map(|bundle| {
        Manifest::of_folder(Kind::Bundle, bundle.path(), &[])
            .unwrap()
            .digest()
    });
    assert_eq!(first, second);
}

#[test]
fn the_weights_say_that_they_are_pytorchs() {
    let bytes = std::fs::read(export("pooler").path().join("model.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
}

#[test]
fn the_tokenizer_truncates_where_training_did() {
    let config = json_of(&export("pooler"), "tokenizer_config.json");
    assert_eq!(config["model_max_length"], 64);
    assert_eq!(config["tokenizer_class"], "BertTokenizer");
}

#[test]
fn neither_the_place_nor_the_scores_are_in_the_key() {
    let left_out = ["model", "scores", "to", "push_to_hub", "private"];
    assert_eq!(stage().not_in_key(), left_out);
    assert_eq!(stage().placement(), Some("dist/m"));
    assert_eq!(stage().edges().len(), 1);
}

#[test]
fn an_empty_place_is_a_fault_at_its_field() {
    assert_eq!(
        Export {
            to: " ".into(),
            ..stage()
        }
        .check()[0]
            .field,
        "to"
    );
}

#[test]
fn the_schema_wants_at_least_one_format_and_none_twice() {
    let schema = serde_json::to_value(schemars::schema_for!(Export)).unwrap();
    let formats = &schema["properties"]["formats"];
    assert_eq!(
        (
            formats["minItems"].as_u64(),
            formats["uniqueItems"].as_bool()
        ),
        (Some(1), Some(true))
    );
    assert_eq!(formats["default"], json!(["safetensors"]));
}
