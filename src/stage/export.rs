//! `export`: a folder for use without refit, as transformers reads it.
//!
//! Leaves `model.safetensors`, `config.json` and the tokenizer's files: what `from_pretrained` of the task's Auto class and of
//! `AutoTokenizer` loads; and `onnx/model.onnx`, as onnxruntime does. In place of the weights it may be what LoRA learned, as
//! PEFT's `from_pretrained` loads it. A head that transformers' classes cannot express comes with `modeling_refit.py` and a
//! model type of its own. What transformers has no place for at all (thresholds, how long an answer may be, by which tokenizer it learned)
//! is in `model.json`, from which `refit predict` knows the model. Of a pretrained encoder it is what `AutoModelForMaskedLM` loads (`pretrained`). Two
//! exports of one model have the same bytes, not only the same digest.
//!
//! The `scores` edge and the model card ([`card`]) are no part of the result: the card is written where the bundle is placed.
//!
//! Deliberately absent: placing, and the marker that guards a placed folder. The engine does both.

mod card;
mod modelling;
mod pretrained;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::artifact::{Kind, Unreadable};
use crate::hub::{Repository, RepositoryKind};
use crate::model::{Family, ModelInfo, OnnxPrecision, Pooling, PretrainingInfo, write_onnx};
use crate::task::{Rule, Task};

use super::{ADAPTER, CardFacts, Context, Edge, Fault, Publication, Stage, StageError};

use card::card;

/// Turns a trained model, or a pretrained encoder, into a folder that transformers loads, with labels, tokenizer and model card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The `train` stage whose model is exported; or a `pretrain` stage, whose encoder is, with the head that predicts masked words
    /// (as `safetensors` alone).
    pub model: String,
    /// An `evaluate` stage whose scores the model card shows.
    #[serde(default)]
    pub scores: Option<String>,
    /// The formats of the weights. Default `["safetensors"]`.
    #[serde(default = "safetensors_alone")]
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub formats: Vec<Format>,
    /// Gives what LoRA learned alone, as an adapter that PEFT loads onto the encoder, in place of a whole model: a few
    /// hundred kilobytes, for many tasks on one encoder. Only of a model that was trained with `lora`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub adapter: bool,
    /// The licence that the model card names, by its identifier on the hub: `apache-2.0`, `cc-by-sa-4.0`. Left out: `unknown`,
    /// since what the licences of data and encoder allow is for you to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z0-9.-]+$"))]
    pub license: Option<String>,
    /// The folder to place the result in, relative to the spec. A folder that something else wrote, or that was edited since,
    /// is left alone unless forced.
    pub to: String,
    /// A model of the hub, `owner/name` or `owner/name@branch`, to which the folder is uploaded once it is placed. It is made
    /// where there is none, and nothing is uploaded twice. Needs `HF_TOKEN`, or `hf auth login`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_to_hub: Option<String>,
    /// Whether a repository that `push_to_hub` makes is private.
    #[serde(default)]
    pub private: bool,
}

/// A format of exported weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// What transformers, Candle and most other libraries load.
    Safetensors,
    /// The same with weights of 16 bits, in half the space: to hand a model on. Whoever loads it computes in 32 bits again (refit), or
    /// may (transformers: `dtype="float32"`). In place of `safetensors`.
    SafetensorsFp16,
    /// What onnxruntime computes without Python or torch, and optimum and transformers.js through it: `onnx/model.onnx`.
    /// Alone, without `safetensors`, it comes with the `config.json` of transformers' own class, whatever the head.
    Onnx,
    /// The same with weights and computation in 16 bits, in half the space: `onnx/model_fp16.onnx`. For GPUs and browsers;
    /// on a CPU it is not faster.
    OnnxFp16,
}

impl Format {
    const ALL: [Format; 4] = [
        Format::Safetensors,
        Format::SafetensorsFp16,
        Format::Onnx,
        Format::OnnxFp16,
    ];

    /// The folder in which transformers.js, optimum and the hub look for ONNX files.
    const ONNX: &str = "onnx";

    /// The precision of an ONNX file, and its name.
    fn onnx(self) -> Option<(OnnxPrecision, &'static str)> {
        match self {
            Format::Safetensors | Format::SafetensorsFp16 => None,
            Format::Onnx => Some((OnnxPrecision::Fp32, "model.onnx")),
            Format::OnnxFp16 => Some((OnnxPrecision::Fp16, "model_fp16.onnx")),
        }
    }
}

fn safetensors_alone() -> Vec<Format> {
    vec![Format::Safetensors]
}

impl Stage for Export {
    fn kind(&self) -> &'static str {
        "export"
    }

    fn version(&self) -> u32 {
        2
    }

    fn produces(&self) -> Kind {
        Kind::Bundle
    }

    fn edges(&self) -> Vec<Edge> {
        const MODELS: &[Kind] = &[Kind::Model, Kind::Encoder];
        let model = Edge::any("model", self.model.clone(), MODELS);
        let scores = self
            .scores
            .iter()
            .map(|stage| Edge::new("scores", stage.clone(), Kind::Scores));
        std::iter::once(model).chain(scores).collect()
    }

    fn edge_fields() -> &'static [(&'static str, Kind)] {
        &[
            ("model", Kind::Model),
            ("model", Kind::Encoder),
            ("scores", Kind::Scores),
        ]
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self).expect("strings and names are JSON")
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["model", "scores", "to", "push_to_hub", "private"]
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
        if self.adapter && self.formats.iter().any(|format| format.onnx().is_some()) {
            faults.push(Fault::new(
                "formats",
                "an adapter has no ONNX file: this is a whole model",
                "drop `adapter` to export the model with the adapter in its weights, or leave only \"safetensors\" here",
            ));
        }
        let half = self.formats.contains(&Format::SafetensorsFp16);
        if half && self.formats.contains(&Format::Safetensors) {
            faults.push(Fault::new(
                "formats",
                "the weights of `safetensors` and `safetensors_fp16` are one file",
                "keep one of the two",
            ));
        }
        if half && self.adapter {
            faults.push(Fault::new(
                "formats",
                "an adapter is written in 32 bits: it is small",
                "write \"safetensors\", or drop `adapter`",
            ));
        }
        if let Some(named) = &self.push_to_hub {
            let repository = Repository::parse(RepositoryKind::Model, named);
            if !repository.is_some_and(|repository| repository.id.contains('/')) {
                faults.push(Fault::new(
                    "push_to_hub",
                    format!("{named:?} is no name of a model on the hub"),
                    "write `owner/name`, with your own name or an organisation's before the slash",
                ));
            }
        } else if self.private {
            faults.push(Fault::new(
                "private",
                "without `push_to_hub`, `private` says nothing",
                "remove it, or name a repository",
            ));
        }
        faults
    }

    fn publication(&self) -> Option<Publication> {
        let named = self.push_to_hub.as_ref()?;
        Some(Publication {
            repository: Repository::parse(RepositoryKind::Model, named)?,
            private: self.private,
        })
    }

    fn placement(&self) -> Option<&str> {
        Some(&self.to)
    }

    fn card(&self, facts: &CardFacts) -> Option<String> {
        Some(card(facts))
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let model = context.input("model");
        if model.join(PretrainingInfo::FILE).is_file() {
            return self.run_pretrained(context);
        }
        let info = ModelInfo::read(model)?;
        let rule = Rule::of_model(&info)?;
        let path = model.join("config.json");
        let mut config = read_object(&path)?;
        let family = family_of(&config).ok_or_else(|| damaged(&path, "it names no model type"))?;
        let own = own_class(&info, &rule, family);
        if self.adapter {
            copy_adapter(&model.join(ADAPTER), context.draft, own.is_some())?;
            write_json(&context.draft.join("config.json"), &Value::Object(config))?;
            return write_rest(context, &info);
        }
        let half = self.formats.contains(&Format::SafetensorsFp16);
        let for_transformers = half || self.formats.contains(&Format::Safetensors);
        if for_transformers {
            write_weights(
                &model.join("model.safetensors"),
                &context.draft.join("model.safetensors"),
                own.is_some().then_some(Own {
                    family,
                    pooler: info.pooling == Some(Pooling::Pooler),
                }),
                half,
            )?;
        }
        context.checkpoint()?;
        self.write_onnx(context)?;
        match own {
            Some(own) if for_transformers => {
                config.extend(own);
                let path = context.draft.join(modelling::FILE);
                write(&path, modelling::source(is_bert(&info, family)).as_bytes())?;
            }
            // What reads ONNX knows the model types of transformers alone, and asks for no code.
            Some(own) => {
                let said = |(name, _): &(String, Value)| name.starts_with("refit_");
                config.extend(own.into_iter().filter(said));
            }
            None => {}
        }
        if half {
            config.insert("dtype".to_owned(), json!("float16"));
        }
        write_json(&context.draft.join("config.json"), &Value::Object(config))?;
        write_rest(context, &info)
    }
}

impl Export {
    /// The ONNX files that are asked for.
    fn write_onnx(&self, context: &Context) -> Result<(), StageError> {
        let folder = context.draft.join(Format::ONNX);
        for (precision, name) in self.formats.iter().filter_map(|format| format.onnx()) {
            std::fs::create_dir_all(&folder).map_err(|source| StageError::Write {
                path: folder.clone(),
                source,
            })?;
            write_onnx(context.input("model"), &folder.join(name), precision)?;
            context.checkpoint()?;
        }
        Ok(())
    }
}

/// What goes with the weights, whatever form these have.
fn write_rest(context: &Context, info: &ModelInfo) -> Result<(), StageError> {
    let model = context.input("model");
    copy(&model.join("model.json"), &context.draft.join("model.json"))?;
    copy_tokenizer(&model.join("tokenizer"), context.draft, info.max_length)
}

/// Copies the adapter of a model whose head is one of transformers' own, onto which alone PEFT can put it.
fn copy_adapter(from: &Path, to: &Path, own_class: bool) -> Result<(), StageError> {
    let mismatch = |message: &str, help: &str| {
        Err(StageError::Mismatch {
            message: message.to_owned(),
            help: help.to_owned(),
        })
    };
    if !from.is_dir() {
        return mismatch(
            "the model was trained without LoRA, so there is no adapter to export",
            "drop `adapter`, or train with `lora = { rank = 8, alpha = 16 }`",
        );
    }
    if own_class {
        return mismatch(
            "the model's head is none of transformers' own, so PEFT has nothing to put the adapter on",
            "drop `adapter` to export the whole model, or train with the usual head: `pooling = \"pooler\"`, no CRF, one layer",
        );
    }
    for path in crate::artifact::files_under(from)? {
        copy(&path, &to.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// Whether a head of ours is in the file for BERT alone.
fn is_bert(info: &ModelInfo, family: Family) -> bool {
    family == Family::Bert && info.stack.is_plain()
}

/// What to add to the model's `config.json`, which is complete for transformers' own classes, where these cannot express the
/// head: they know no pooling but the pooler, no CRF, and no stack.
fn own_class(info: &ModelInfo, rule: &Rule, family: Family) -> Option<Map<String, Value>> {
    let stack = &info.stack;
    let (field, value) = match rule.task {
        Task::TokenClassification if info.crf => {
            ("refit_allowed", json!(allowed_transitions(rule)))
        }
        Task::TokenClassification if !stack.is_plain() => ("refit_allowed", Value::Null),
        Task::Classification | Task::MultiLabel | Task::Regression
            if info.pooling != Some(Pooling::Pooler) || !stack.is_plain() =>
        {
            ("refit_pooling", json!(info.pooling))
        }
        _ => return None,
    };
    let (stem, model_type) = match is_bert(info, family) {
        true => ("RefitBert", "refit_bert"),
        false => ("Refit", "refit_encoder"),
    };
    let class = format!("{stem}For{}", rule.task.class());
    let auto = format!("AutoModelFor{}", rule.task.class());
    let mut fields = Map::from_iter([
        ("model_type".to_owned(), json!(model_type)),
        ("architectures".to_owned(), json!([class])),
        (field.to_owned(), value),
        (
            "auto_map".to_owned(),
            json!({
                "AutoConfig": format!("modeling_refit.{stem}Config"),
                auto: format!("modeling_refit.{class}"),
            }),
        ),
    ]);
    if !is_bert(info, family) {
        fields.extend([
            ("refit_family".to_owned(), json!(family.model_type())),
            ("refit_prefix".to_owned(), json!(family.prefix())),
            ("refit_dropout".to_owned(), json!(info.head_dropout)),
        ]);
    }
    if !stack.is_plain() {
        fields.extend([
            ("refit_layers".to_owned(), json!(stack.layers)),
            ("refit_combine".to_owned(), json!(stack.combine)),
            ("refit_hidden_layers".to_owned(), json!(stack.hidden_layers)),
            ("refit_activation".to_owned(), json!(stack.activation)),
        ]);
    }
    Some(fields)
}

fn family_of(config: &Map<String, Value>) -> Option<Family> {
    Family::of(config.get("model_type")?.as_str()?)
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

/// A class of our own over an encoder of `family`, and whether it reads the pooler.
#[derive(Clone, Copy)]
struct Own {
    family: Family,
    pooler: bool,
}

/// Writes the weights anew: with the one metadata field that transformers looks for, and for a class of our own that does
/// not read the pooler of its family without that, which it has no place for. Where `half` is set, in 16 bits.
fn write_weights(
    from: &Path,
    to: &Path,
    own_class: Option<Own>,
    half: bool,
) -> Result<(), StageError> {
    let unreadable = |source| Unreadable::new(from, source);
    let file = File::open(from).map_err(unreadable)?;
    // SAFETY: a finished artifact is not written to; a file changed all the same gives weights that the digest exposes.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(unreadable)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(from, error))?;
    let mut views = tensors.tensors();
    let unread = own_class.filter(|own| !own.pooler).map(|own| own.family);
    views.retain(|(name, _)| !unread.is_some_and(|family| family.is_pooler(name)));
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    // `serialize_to_file` would leave a file that only its owner may read.
    let bytes = match half {
        false => safetensors::serialize(views, Some(metadata)),
        true => {
            let halved: Vec<(String, Vec<usize>, Vec<u8>)> = views
                .iter()
                .map(|(name, view)| (name.clone(), view.shape().to_vec(), halved(view.data())))
                .collect();
            let views = halved.iter().map(|(name, shape, bytes)| {
                let view = TensorView::new(Dtype::F16, shape.clone(), bytes);
                view.map(|view| (name.as_str(), view))
            });
            let views: Result<Vec<_>, SafeTensorError> = views.collect();
            views.and_then(|views| safetensors::serialize(views, Some(metadata)))
        }
    };
    write(to, &bytes.map_err(|error| damaged(from, error))?)
}

/// Numbers of 32 bits as the nearest of 16. What is beyond their range becomes the largest.
fn halved(bytes: &[u8]) -> Vec<u8> {
    let most = half::f16::MAX.to_f32();
    let (values, _) = bytes.as_chunks::<4>();
    let values = values.iter().map(|value| f32::from_le_bytes(*value));
    values
        .flat_map(|value| half::f16::from_f32(value.clamp(-most, most)).to_le_bytes())
        .collect()
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
        help: "`refit cache verify` finds what is damaged; the next run builds it again".to_owned(),
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
mod tests;
