//! LoRA: low-rank adaptation (Hu et al., arXiv:2106.09685).
//!
//! A linear layer of the encoder with weight W keeps it, and gives x W + s (drop(x) A) B beside its bias, where A is
//! `[inputs, rank]`, B `[rank, outputs]`, and s is alpha / rank. A begins as PEFT draws it (uniform, as deep as 1 / √inputs), B
//! at 0, so that the first step begins with the encoder as it was. Only A, B and what the encoder's checkpoint does not have,
//! the head, learn: what [`freeze`](super::freeze) freezes is all else.
//!
//! Names are those of PEFT: the factors of `bert.encoder.layer.0.attention.self.query` are `….query.lora_A.weight` and
//! `….query.lora_B.weight`, and a [written](write) adapter is a folder that PEFT reads. [`merged`] gives the model that
//! computes the same without them.
//!
//! A layer that computes several times in one pass (ALBERT's, and DeBERTa's keys of distances) drops the same places of its
//! input each time. Deliberately absent: adapted embeddings and convolutions, a bias beside the factors, ranks that differ
//! from layer to layer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::{Module, Param, ParamId};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::dropout::{Mode, Site};
use super::freeze::freeze;
use super::names::fits;
use super::parameters::named_parameters;
use super::{Classifier, EncoderConfig, ModelError, Task, initial, weights};
use crate::kernels::{self, Precision};

/// Which linear layers of the encoder learn by factors, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoraSettings {
    /// How many columns A and rows B have (PEFT: `r`): 4 to 16 for most tasks. A higher one learns more, and costs more.
    #[schemars(range(min = 1, max = 1024))]
    pub rank: usize,
    /// What the factors add is multiplied by `alpha / rank` (PEFT: `lora_alpha`). One or two times the rank is usual.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 65536.0))]
    pub alpha: f64,
    /// Probability with which values of A's input are dropped during training (PEFT: `lora_dropout`); 0.05 to 0.1 where
    /// rows are few.
    #[schemars(range(min = 0.0, max = 0.99))]
    pub dropout: f64,
    /// Which linear layers of the encoder have factors (PEFT: `target_modules`), by the names that transformers gives modules
    /// of the family, or by what these end with: `query`, `attention.output.dense`; `*` stands for any characters, `?` for
    /// one. Left out: those that make queries and values (`query` and `value`; DistilBERT `q_lin` and `v_lin`, MPNet `q` and
    /// `v`, DeBERTa `query_proj` and `value_proj`, ModernBERT `Wqkv`). `["*"]` is every one.
    #[schemars(inner(length(min = 1)))]
    pub target: Vec<String>,
}

impl Default for LoraSettings {
    fn default() -> Self {
        LoraSettings {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            target: Vec::new(),
        }
    }
}

/// What modules that make queries and values are called, in all families.
const QUERIES_AND_VALUES: [&str; 9] = [
    "query",
    "value",
    "q_lin",
    "v_lin",
    "query_proj",
    "value_proj",
    "q",
    "v",
    "Wqkv",
];

/// What is added to a linear layer.
#[derive(Module, Debug)]
pub(super) struct LowRank {
    a: Factor,
    b: Factor,
    scale: f64,
    dropout: f64,
    /// Its place among all linear layers of the encoder.
    place: usize,
}

#[derive(Module, Debug)]
struct Factor {
    weight: Param<Tensor<2>>,
}

impl Factor {
    fn unset(shape: [usize; 2], device: &Device) -> Factor {
        Factor {
            weight: Initializer::Zeros.init(shape, device),
        }
    }
}

impl LowRank {
    fn unset(
        [inputs, outputs]: [usize; 2],
        settings: &LoraSettings,
        place: usize,
        device: &Device,
    ) -> LowRank {
        LowRank {
            a: Factor::unset([inputs, settings.rank], device),
            b: Factor::unset([settings.rank, outputs], device),
            scale: settings.alpha / settings.rank as f64,
            dropout: settings.dropout,
            place,
        }
    }

    /// `[rows, inputs]` → `[rows, outputs]`.
    pub(super) fn forward(&self, input: Tensor<2>, mode: &Mode) -> Tensor<2> {
        let kept = kernels::dropout(input, mode.dropout(self.dropout, Site::Lora(self.place)));
        let precision = mode.precision();
        let low = without_bias(kept, self.a.weight.val(), precision); // [rows, rank]
        without_bias(low * self.scale, self.b.weight.val(), precision) // [rows, outputs]
    }

    /// What it adds to the layer's weight, `[inputs, outputs]`.
    fn product(&self) -> Tensor<2> {
        without_bias(self.a.weight.val(), self.b.weight.val(), Precision::Fp32) * self.scale
    }
}

fn without_bias(input: Tensor<2>, weight: Tensor<2>, precision: Precision) -> Tensor<2> {
    let [_, outputs] = weight.dims();
    let none = Tensor::zeros([outputs], &weight.device().without_autodiff());
    kernels::linear(input, weight, none, precision)
}

/// What of a classifier learns by factors, and what as a whole.
#[derive(Debug, Clone)]
pub(super) struct Adapted {
    settings: LoraSettings,
    /// The modules with factors, by their names in transformers.
    modules: Vec<String>,
    /// As PEFT is to be told of them: the settings' own words where these mean the same modules and no others.
    targets: Vec<String>,
    /// The parameters that learn as a whole.
    whole: BTreeSet<String>,
}

/// Gives the linear layers that `settings` name their factors, and freezes all but these and the parameters named in `whole`,
/// which the encoder's checkpoint did not have.
///
/// # Errors
/// [`ModelError::NoSuchModule`] for a pattern that fits no linear layer of the encoder.
pub fn adapt(
    mut classifier: Classifier,
    config: &EncoderConfig,
    settings: &LoraSettings,
    whole: &[String],
    seed: u64,
) -> Result<Classifier, ModelError> {
    let whole: BTreeSet<String> = whole.iter().cloned().collect();
    let modules = modules(&classifier);
    let encoder: Vec<ParamId> = classifier
        .encoder
        .linears()
        .into_iter()
        .map(|linear| linear.weight.id)
        .collect();
    let learn_whole = |name: &str| whole.contains(&format!("{name}.weight"));
    let candidates: Vec<&String> = encoder
        .iter()
        .filter_map(|id| modules.get(id))
        .filter(|name| !learn_whole(name))
        .collect();

    let named =
        |pattern: &str, name: &str| fits(pattern, name) || fits(&format!("*.{pattern}"), name);
    let any = |pattern: &str| candidates.iter().any(|name| named(pattern, name));
    let targets: Vec<String> = match settings.target.is_empty() {
        true => QUERIES_AND_VALUES
            .into_iter()
            .filter(|word| any(word))
            .map(str::to_owned)
            .collect(),
        false => settings.target.clone(),
    };
    if let Some(pattern) = targets.iter().find(|pattern| !any(pattern)) {
        return Err(ModelError::NoSuchModule {
            pattern: pattern.clone(),
            known: kinds(&candidates),
        });
    }
    let targeted = |name: &str| targets.iter().any(|pattern| named(pattern, name));
    let adapted: Vec<String> = candidates
        .iter()
        .filter(|name| targeted(name))
        .map(|&name| name.clone())
        .collect();

    let device = classifier.encoder.device();
    for (place, linear) in classifier.encoder.linears().into_iter().enumerate() {
        let name = modules.get(&linear.weight.id);
        if name.is_some_and(|name| adapted.contains(name))
            && let [inputs, outputs] = linear.weight.lazy_shape().to_vec()[..]
        {
            linear.lora = Some(LowRank::unset([inputs, outputs], settings, place, &device));
        }
    }
    let classifier = weights::set_each(classifier, |name, shape| {
        Ok(is_factor(name).then(|| initial::draw(name, shape, config, seed)))
    })?;

    let says_the_same = targets.iter().all(|pattern| !pattern.contains(['*', '?']))
        && modules
            .values()
            .all(|name| adapted.contains(name) || !targeted(name));
    let classifier = Classifier {
        adapted: Some(Adapted {
            settings: settings.clone(),
            targets: if says_the_same {
                targets
            } else {
                adapted.clone()
            },
            modules: adapted,
            whole: whole.clone(),
        }),
        ..classifier
    };
    Ok(freeze(classifier, &|name| {
        !is_factor(name) && !whole.contains(name)
    }))
}

/// The names of the linear layers that have factors, as transformers calls them; none without LoRA.
pub fn adapted_modules(classifier: &Classifier) -> &[String] {
    let adapted = classifier.adapted.as_ref();
    adapted.map_or(&[], |adapted| &adapted.modules)
}

/// How many numbers of a classifier learn, and how many it has.
pub fn learning(classifier: &Classifier) -> (usize, usize) {
    let learns = |name: &str| match &classifier.adapted {
        Some(adapted) => is_factor(name) || adapted.whole.contains(name),
        None => true,
    };
    let parameters = named_parameters(classifier);
    let sizes = parameters.iter().map(|parameter| {
        let size: usize = parameter.shape.iter().product();
        (if learns(&parameter.name) { size } else { 0 }, size)
    });
    sizes.fold((0, 0), |(learn, all), (learns, size)| {
        (learn + learns, all + size)
    })
}

/// Whether a parameter of that name is a factor.
fn is_factor(name: &str) -> bool {
    name.ends_with(".lora_A.weight") || name.ends_with(".lora_B.weight")
}

/// Every linear layer's name, by the identity of its weight.
fn modules(classifier: &Classifier) -> BTreeMap<ParamId, String> {
    let named = named_parameters(classifier).into_iter();
    named
        .filter_map(|parameter| {
            let name = parameter.name.strip_suffix(".weight")?.to_owned();
            (parameter.shape.len() == 2).then_some((parameter.id, name))
        })
        .collect()
}

/// The names without the numbers of layers, each once, in their order.
fn kinds(names: &[&String]) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for name in names {
        let word = |word: &str| match word.parse::<usize>() {
            Ok(_) => "*".to_owned(),
            Err(_) => word.to_owned(),
        };
        let kind = name.split('.').map(word).collect::<Vec<_>>().join(".");
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// The classifier that computes the same without factors: what they add is added to the weights.
pub fn merged(mut classifier: Classifier) -> Classifier {
    for linear in classifier.encoder.linears() {
        if let Some(lora) = linear.lora.take() {
            let weight = linear.weight.clone();
            linear.weight = weight.map(|weight| weight + lora.product()); // [inputs, outputs]
        }
    }
    classifier.adapted = None;
    classifier
}

/// Writes what `classifier` learned beside its encoder into `folder`, as PEFT does: `adapter_config.json`, and in
/// `adapter_model.safetensors` the factors and what learned as a whole. A classifier without factors leaves nothing.
///
/// The encoder's name stays open (`null`): a model is what is in its files.
///
/// # Errors
/// A file that cannot be written, or values that the device could not hand over.
pub fn write(classifier: &Classifier, task: Task, folder: &Path) -> Result<(), ModelError> {
    let Some(adapted) = &classifier.adapted else {
        return Ok(());
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ModelError::Write { path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let name = |name: &str| {
        let learned = is_factor(name) || adapted.whole.contains(name);
        let called = learned.then(|| format!("base_model.model.{name}"));
        called.into_iter().collect()
    };
    weights::write_some(classifier, &name, &folder.join("adapter_model.safetensors"))?;
    let path = folder.join("adapter_config.json");
    let config = format!("{:#}\n", adapted.config(classifier, task));
    std::fs::write(&path, config).map_err(failed(&path))
}

impl Adapted {
    /// What PEFT's `LoraConfig` says, in the fields that it has had for long.
    fn config(&self, classifier: &Classifier, task: Task) -> Value {
        let prefix = classifier.family().prefix();
        let whole: BTreeSet<String> = self
            .whole
            .iter()
            .map(|name| {
                let depth = if name.split('.').next() == Some(prefix) {
                    2
                } else {
                    1
                };
                name.split('.').take(depth).collect::<Vec<_>>().join(".")
            })
            .collect();
        json!({
            "alpha_pattern": {},
            "auto_mapping": null,
            "base_model_name_or_path": null,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_pattern": null,
            "layers_to_transform": null,
            "lora_alpha": self.settings.alpha,
            "lora_dropout": self.settings.dropout,
            "modules_to_save": whole,
            "peft_type": "LORA",
            "r": self.settings.rank,
            "rank_pattern": {},
            "revision": null,
            "target_modules": self.targets,
            "task_type": match task {
                Task::Classification | Task::MultiLabel | Task::Regression => "SEQ_CLS",
                Task::TokenClassification => "TOKEN_CLS",
                Task::QuestionAnswering => "QUESTION_ANS",
            },
            "use_dora": false,
            "use_rslora": false,
        })
    }
}

#[cfg(test)]
mod tests;
