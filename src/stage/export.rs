//! `export`: a folder for use without refit, as transformers reads it.
//!
//! Leaves `model.safetensors`, `config.json` and the tokenizer's files: what `from_pretrained` of the task's Auto class and of
//! `AutoTokenizer` loads. A head that transformers' classes cannot express comes with `modeling_refit.py` and a model type
//! of its own. What transformers has no place for at all (thresholds, how long an answer may be) is in `model.json`. Two
//! exports of one model have the same bytes, not only the same digest.
//!
//! The `scores` edge and the model card ([`card`]) are no part of the result: the card is written where the bundle is placed.
//!
//! Deliberately absent: placing, and the marker that guards a placed folder. The engine does both.

mod card;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use safetensors::SafeTensors;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::artifact::{Kind, Unreadable};
use crate::model::{ModelInfo, Pooling};
use crate::task::{Rule, Task};

use super::{CardFacts, Context, Edge, Fault, Stage, StageError};

use card::card;

/// The modelling file that goes with a head of ours, by the name that `auto_map` refers to.
const MODELLING_FILE: &str = "modeling_refit.py";
const MODELLING: &str = include_str!("export/modeling_refit.py");

/// Turns a trained model into a folder that transformers loads, with labels, tokenizer and model card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The `train` stage whose model is exported.
    pub model: String,
    /// An `evaluate` stage whose scores the model card shows.
    #[serde(default)]
    pub scores: Option<String>,
    /// The formats of the weights. Default `["safetensors"]`.
    #[serde(default = "safetensors_alone")]
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub formats: Vec<Format>,
    /// The folder to place the result in, relative to the spec. A folder that something else wrote, or that was edited since,
    /// is left alone unless forced.
    pub to: String,
}

/// A format of exported weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// What transformers, Candle and most other libraries load.
    Safetensors,
}

fn safetensors_alone() -> Vec<Format> {
    vec![Format::Safetensors]
}

impl Stage for Export {
    fn kind(&self) -> &'static str {
        "export"
    }

    fn version(&self) -> u32 {
        1
    }

    fn produces(&self) -> Kind {
        Kind::Bundle
    }

    fn edges(&self) -> Vec<Edge> {
        let model = Edge {
            field: "model",
            stage: self.model.clone(),
            accepts: Kind::Model,
        };
        let scores = self.scores.iter().map(|stage| Edge {
            field: "scores",
            stage: stage.clone(),
            accepts: Kind::Scores,
        });
        std::iter::once(model).chain(scores).collect()
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self).expect("strings and names are JSON")
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["model", "scores", "to"]
    }

    fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.to.trim().is_empty() {
            faults.push(Fault::new(
                "to",
                "this names no folder",
                "write where the exported folder shall lie, such as \"dist/model\"",
            ));
        }
        faults
    }

    fn placement(&self) -> Option<&str> {
        Some(&self.to)
    }

    fn card(&self, facts: &CardFacts) -> Option<String> {
        Some(card(facts))
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let model = context.input("model");
        let info = ModelInfo::read(model)?;
        let rule = Rule::of_model(&info)?;
        let own = own_class(&info, &rule);
        write_weights(
            &model.join("model.safetensors"),
            &context.draft.join("model.safetensors"),
            own.is_some(),
        )?;
        context.checkpoint()?;
        let mut config = read_object(&model.join("config.json"))?;
        if let Some(own) = own {
            config.extend(own);
            write(&context.draft.join(MODELLING_FILE), MODELLING.as_bytes())?;
        }
        write_json(&context.draft.join("config.json"), &Value::Object(config))?;
        if info.thresholds.is_some() || rule.task == Task::QuestionAnswering {
            copy(&model.join("model.json"), &context.draft.join("model.json"))?;
        }
        copy_tokenizer(&model.join("tokenizer"), context.draft, info.max_length)?;
        Ok(())
    }
}

/// What to add to the model's `config.json`, which is complete for transformers' own classes, where these cannot express the
/// head: they know no pooling but the pooler, and no CRF.
fn own_class(info: &ModelInfo, rule: &Rule) -> Option<Map<String, Value>> {
    let (auto, class, field, value) = match rule.task {
        Task::TokenClassification if info.crf => (
            "AutoModelForTokenClassification",
            "RefitBertForTokenClassification",
            "refit_allowed",
            json!(allowed_transitions(rule)),
        ),
        Task::Classification | Task::MultiLabel | Task::Regression
            if info.pooling != Some(Pooling::Pooler) =>
        {
            (
                "AutoModelForSequenceClassification",
                "RefitBertForSequenceClassification",
                "refit_pooling",
                json!(info.pooling),
            )
        }
        _ => return None,
    };
    let fields = [
        ("model_type", json!("refit_bert")),
        ("architectures", json!([class])),
        (field, value),
        (
            "auto_map",
            json!({
                "AutoConfig": "modeling_refit.RefitBertConfig",
                auto: format!("modeling_refit.{class}"),
            }),
        ),
    ];
    Some(
        fields
            .map(|(field, value)| (field.to_owned(), value))
            .into_iter()
            .collect(),
    )
}

/// Which tag may follow which, `[from][to]`, 1 where it may: the last row is a sentence's start, the last column its end.
fn allowed_transitions(rule: &Rule) -> Vec<Vec<u8>> {
    let tags = rule.names.len();
    let Some(forbidden) = rule.forbidden() else {
        return vec![vec![1; tags + 1]; tags + 1];
    };
    let may = |forbidden: &bool| u8::from(!forbidden);
    let inner = forbidden
        .transitions
        .chunks(tags.max(1))
        .zip(&forbidden.ends);
    let inner = inner.map(|(to, end)| to.iter().chain([end]).map(may).collect());
    let starts = forbidden.starts.iter().map(may).chain([1]).collect();
    inner.chain([starts]).collect()
}

/// Writes the weights anew: with the one metadata field that transformers looks for, and without a pooler that the class
/// which loads them has no place for.
fn write_weights(from: &Path, to: &Path, own_class: bool) -> Result<(), StageError> {
    let unreadable = |source| Unreadable::new(from, source);
    let file = File::open(from).map_err(unreadable)?;
    // SAFETY: a finished artifact is not written to; a file changed all the same gives weights that the digest exposes.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(unreadable)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(from, error))?;
    let mut views = tensors.tensors();
    views.retain(|(name, _)| !(own_class && name.starts_with("bert.pooler.")));
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    // `serialize_to_file` would leave a file that only its owner may read.
    let bytes =
        safetensors::serialize(views, Some(metadata)).map_err(|error| damaged(from, error))?;
    write(to, &bytes)
}

/// Copies the tokenizer's files, and tells transformers to truncate where training did.
fn copy_tokenizer(from: &Path, to: &Path, max_length: usize) -> Result<(), StageError> {
    for path in crate::artifact::files_under(from)? {
        let name = path.file_name().unwrap_or_default();
        if name != "tokenizer_config.json" {
            copy(&path, &to.join(name))?;
        }
    }
    let mut config = read_object(&from.join("tokenizer_config.json"))?;
    config.insert("model_max_length".to_owned(), max_length.into());
    write_json(&to.join("tokenizer_config.json"), &Value::Object(config))
}

fn read_object(path: &Path) -> Result<Map<String, Value>, StageError> {
    let bytes = std::fs::read(path).map_err(|source| Unreadable::new(path, source))?;
    serde_json::from_slice(&bytes).map_err(|error| damaged(path, error))
}

/// A file of an upstream artifact that is not what its stage wrote.
fn damaged(path: &Path, error: impl std::fmt::Display) -> StageError {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    StageError::Mismatch {
        message: format!("{name} of the model to export is damaged: {error}"),
        help:
            "`refit cache verify` lists what is damaged in the store; the next run builds it again"
                .to_owned(),
    }
}

fn write_json(path: &Path, value: &Value) -> Result<(), StageError> {
    let mut json = serde_json::to_vec_pretty(value).expect("maps with string keys are JSON");
    json.push(b'\n');
    write(path, &json)
}

fn copy(from: &Path, to: &Path) -> Result<(), StageError> {
    let bytes = std::fs::read(from).map_err(|source| Unreadable::new(from, source))?;
    write(to, &bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StageError> {
    std::fs::write(path, bytes).map_err(|source| StageError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicBool;

    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::super::{Input, Progress};
    use super::*;
    use crate::artifact::{Digest, Manifest};
    use crate::model::EncoderConfig;

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
        let encoder: EncoderConfig = serde_json::from_value(json!({
            "model_type": "bert", "vocab_size": 30, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
            "intermediate_size": 8, "max_position_embeddings": 16,
        }))
        .unwrap();
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
        let input = Input {
            path: from.path().to_owned(),
            digest: Digest::of(b"model"),
        };
        let context = Context {
            stage: "bundle",
            seed: 0,
            inputs: BTreeMap::from([("model", input)]),
            files: BTreeMap::new(),
            draft: draft.path(),
            device: "auto",
            progress: &Silent,
            interrupted: &AtomicBool::new(false),
        };
        stage().run(&context).unwrap();
        draft
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
        assert!(!bundle.path().join(MODELLING_FILE).exists());
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
            let modelling = std::fs::read_to_string(bundle.path().join(MODELLING_FILE)).unwrap();
            assert!(modelling.contains(&format!("class {name}(")), "{name}");
            assert_eq!(config["refit_pooling"], pooling);
            assert_eq!(tensor_names(&bundle), ["bert.a", "classifier.weight"]);
        }
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
        assert_eq!(stage().not_in_key(), ["model", "scores", "to"]);
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
}
