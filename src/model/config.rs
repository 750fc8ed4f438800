//! The shape of an encoder: Hugging Face's `config.json` of any family, and the sizes of one built from scratch.
//!
//! What this program computes with has a field; the rest is kept only to be written again. What would change the
//! computation in a way that is not implemented (another model type, relative positions, a decoder) is refused. How a
//! family's file reads is in `family`.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::deberta::DebertaConfig;
use super::family::Family;
use super::modern_bert::ModernBertConfig;
use super::mpnet::MpNetConfig;
use super::{ModelError, Task};

/// What of a `config.json` decides what is computed, by BERT's names.
///
/// Reference: `transformers/models/bert/configuration_bert.py`, and the files of the other families beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    pub family: Family,
    /// Rows of the word embeddings.
    pub vocab_size: usize,
    /// The width of the embeddings.
    pub embedding_size: usize,
    /// Whether a linear layer makes hidden states of the embeddings.
    pub projects: bool,
    pub hidden_size: usize,
    pub layers: Sharing,
    pub num_attention_heads: usize,
    /// The width between the two dense layers of a block.
    pub intermediate_size: usize,
    pub hidden_act: Activation,
    pub hidden_dropout_prob: f64,
    /// The dropout after the second dense layer of a block.
    pub output_dropout: f64,
    pub attention_probs_dropout_prob: f64,
    /// The dropout before the head; `None` means `hidden_dropout_prob`.
    pub classifier_dropout: Option<f64>,
    /// The dropout before a head over tokens, where it is not the one over texts.
    pub token_dropout: Option<f64>,
    /// The dropout before a head that finds answers.
    pub answer_dropout: f64,
    /// Rows of the position embeddings.
    pub max_position_embeddings: usize,
    /// The row of a text's first token among them.
    pub first_position: usize,
    /// How many segments are told apart; 0 where there are no embeddings for them.
    pub type_vocab_size: usize,
    /// The standard deviation of new weights.
    pub initializer_range: f64,
    pub layer_norm_eps: f64,
    pub pad_token_id: Option<u32>,
    pub is_decoder: bool,
    /// What only one way of computing has fields for.
    pub own: Own,
    /// The dense layer that the head over texts of transformers' own class begins with; none where it reads the pooler.
    pub dense: Option<DenseHead>,
    /// The whole file, from which that of a trained model is made; of BERT, whose file has only the fields here, nothing.
    pub(super) read: Map<String, Value>,
}

/// The whole configuration of an encoder that is not computed as BERT is.
#[derive(Debug, Clone, PartialEq)]
pub enum Own {
    /// Its fields are those of [`EncoderConfig`].
    Bert,
    MpNet(Box<MpNetConfig>),
    Deberta(Box<DebertaConfig>),
    ModernBert(Box<ModernBertConfig>),
}

/// What a head with a dense layer computes before the linear layer that answers: dropout, the dense layer, an activation,
/// LayerNorm where there is one, and dropout again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DenseHead {
    /// Whether it reads the mean over a text's tokens instead of the first token.
    pub reads_mean: bool,
    /// Whether heads over tokens have it as well.
    pub over_tokens: bool,
    pub before: Before,
    pub bias: bool,
    pub activation: Activation,
    pub norm: Option<HeadNorm>,
}

/// The dropout before the dense layer of a head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Before {
    None,
    /// The same as before the layer that answers.
    Same,
    Other(f64),
}

/// The LayerNorm of a head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadNorm {
    pub epsilon: f64,
    pub shifts: bool,
}

impl DenseHead {
    /// The first token through the dense layer and the activation, and no more.
    pub(super) fn of(activation: Activation) -> DenseHead {
        DenseHead {
            reads_mean: false,
            over_tokens: false,
            before: Before::None,
            bias: true,
            activation,
            norm: None,
        }
    }
}

/// Which layers have their weights in common: `layers` of them in equal runs, a run for each of `groups`, whose `inner`
/// blocks compute each of its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    pub layers: usize,
    pub groups: usize,
    pub inner: usize,
}

impl Sharing {
    /// Every layer has its own weights.
    pub fn none(layers: usize) -> Sharing {
        Sharing {
            layers,
            groups: layers,
            inner: 1,
        }
    }

    /// The blocks that have weights of their own.
    pub(super) fn held(self) -> usize {
        self.groups * self.inner
    }

    /// The blocks in the order in which they compute. Source: `AlbertTransformer`, whose division this is.
    pub(super) fn order(self) -> Vec<usize> {
        let run = self.layers as f64 / self.groups as f64;
        (0..self.layers)
            .map(|layer| (layer as f64 / run) as usize)
            .flat_map(|group| (0..self.inner).map(move |block| group * self.inner + block))
            .collect()
    }
}

/// The activation after a dense layer, as `hidden_act` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x Φ(x), with the exact error function (Hendrycks and Gimpel, arXiv:1606.08415).
    #[default]
    #[serde(alias = "gelu_python")]
    Gelu,
    /// The same approximated with tanh.
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluNew,
    /// x where it is positive, else 0.
    Relu,
    /// The hyperbolic tangent, as in BERT's pooler.
    Tanh,
}

/// How positions enter. Only absolute embeddings are implemented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionEmbedding {
    #[default]
    Absolute,
}

fn tenth() -> f64 {
    0.1
}

fn default_positions() -> usize {
    512
}

/// Sizes of an encoder that starts from random weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScratchSettings {
    /// Transformer blocks. Two to four are enough for small data sets on a CPU.
    #[schemars(range(min = 1, max = 96))]
    pub layers: usize,
    /// Width of the hidden states; a multiple of `heads`.
    #[schemars(range(min = 1, max = 16384))]
    pub hidden: usize,
    /// Attention heads in each block; must divide `hidden`.
    #[schemars(range(min = 1, max = 256))]
    pub heads: usize,
    /// Width between the two dense layers of a block. Left out: four times `hidden`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub intermediate: Option<usize>,
    /// Probability with which hidden states and attention weights are dropped during training.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0.0, max = 0.99))]
    pub dropout: f64,
    /// Longest text in tokens that the encoder can ever read; at least the `max_length` of the tokens.
    #[serde(default = "default_positions")]
    #[schemars(range(min = 1, max = 65536))]
    pub max_positions: usize,
}

/// What an encoder from scratch must know of the tokens that it will read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    pub size: usize,
    pub pad_id: u32,
}

impl ScratchSettings {
    /// The configuration of such an encoder over `vocabulary`.
    ///
    /// # Errors
    /// Sizes that no encoder can have, each with what was expected.
    pub fn config(&self, vocabulary: Vocabulary) -> Result<EncoderConfig, ModelError> {
        let config = EncoderConfig {
            family: Family::Bert,
            vocab_size: vocabulary.size,
            embedding_size: self.hidden,
            projects: false,
            hidden_size: self.hidden,
            layers: Sharing::none(self.layers),
            num_attention_heads: self.heads,
            intermediate_size: self.intermediate.unwrap_or(self.hidden.saturating_mul(4)),
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: self.dropout,
            output_dropout: self.dropout,
            attention_probs_dropout_prob: self.dropout,
            classifier_dropout: None,
            token_dropout: None,
            answer_dropout: 0.0,
            max_position_embeddings: self.max_positions,
            first_position: 0,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: Some(vocabulary.pad_id),
            is_decoder: false,
            own: Own::Bert,
            dense: None,
            read: Map::new(),
        };
        config.check("an encoder from scratch")?;
        Ok(config)
    }
}

/// What exports call a BERT whose head transformers' own class does not have. The encoder in it is a plain one.
const REFIT_BERT: &str = "refit_bert";

/// What they call an encoder of any other family with such a head; `refit_family` says which.
const REFIT_ENCODER: &str = "refit_encoder";

impl EncoderConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// A file that is missing or no JSON, a missing or mistyped field, a model type of no known family, and values that no
    /// encoder can have.
    pub fn read(path: &Path) -> Result<EncoderConfig, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        EncoderConfig::parse(path, &bytes)
    }

    /// Reads the bytes of the `config.json` at `path`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<EncoderConfig, ModelError> {
        let broken = |reason: String| ModelError::Config {
            path: path.to_owned(),
            reason,
        };
        // The model type comes first: another type's file has other fields, and naming those would mislead.
        let value: Value = serde_json::from_slice(bytes).map_err(|e| broken(e.to_string()))?;
        let Value::Object(read) = value else {
            return Err(broken("it is not a JSON object".to_owned()));
        };
        let family = family_of(&read).map_err(|reason| match reason {
            Unknown::Said(found) => ModelError::ModelType {
                path: path.to_owned(),
                found,
            },
            Unknown::Unsaid => broken("missing field `model_type`".to_owned()),
        })?;
        let config = (family.description().read)(path, bytes)?;
        config.check(&path.display().to_string())?;
        let read = match family {
            Family::Bert => Map::new(),
            _ => read,
        };
        Ok(EncoderConfig { read, ..config })
    }

    /// The `config.json` of a model with this encoder, as the task's class of transformers reads it. `names` are those of
    /// labels or targets, in the order of the head's numbers; none where these are start and end of an answer, whose head
    /// has no dropout either, so that the encoder's own stays.
    ///
    /// Of BERT the file has the fields that are computed with; of any other family all that were read, changed where the
    /// task asks for it.
    pub fn for_task(&self, task: Task, names: &[String], head_dropout: f64) -> Value {
        let names = || names.iter().enumerate();
        let id2label: Map<String, Value> = names()
            .map(|(id, name)| (id.to_string(), json!(name)))
            .collect();
        let label2id: Map<String, Value> = names()
            .map(|(id, name)| (name.clone(), json!(id)))
            .collect();
        let dropout = match task {
            Task::QuestionAnswering => self.classifier_dropout,
            _ => Some(head_dropout),
        };
        if self.family != Family::Bert {
            return Value::Object(self.as_read_for(task, id2label, label2id, head_dropout));
        }
        let mut config = json!({
            "architectures": [self.family.architecture(task)],
            "model_type": self.family.model_type(),
            "problem_type": task.problem_type(),
            "id2label": id2label,
            "label2id": label2id,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.layers.layers,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": self.intermediate_size,
            "hidden_act": self.hidden_act,
            "hidden_dropout_prob": self.hidden_dropout_prob,
            "attention_probs_dropout_prob": self.attention_probs_dropout_prob,
            "classifier_dropout": dropout,
            "max_position_embeddings": self.max_position_embeddings,
            "type_vocab_size": self.type_vocab_size,
            "initializer_range": self.initializer_range,
            "layer_norm_eps": self.layer_norm_eps,
            "pad_token_id": self.pad_token_id,
            "position_embedding_type": PositionEmbedding::Absolute,
            "dtype": "float32",
        });
        if let Value::Object(fields) = &mut config {
            let says_nothing = |field: &str, value: &Value| match field {
                "problem_type" => value.is_null(),
                "id2label" | "label2id" => value.as_object().is_some_and(Map::is_empty),
                _ => false,
            };
            fields.retain(|field, value| !says_nothing(field, value));
        }
        config
    }

    /// The `config.json` of a model with this encoder, as the family's class for masked language modelling reads it, whose matrix
    /// over the vocabulary is the embeddings or its own.
    pub fn for_masked(&self, own_matrix: bool) -> Value {
        // Of all tasks the one whose head adds nothing to the file.
        let mut config = self.for_task(Task::QuestionAnswering, &[], 0.0);
        if let Value::Object(fields) = &mut config {
            let class = json!([self.family.masked_architecture()]);
            fields.insert("architectures".to_owned(), class);
            fields.remove("tie_word_embeddings");
            if own_matrix {
                fields.insert("tie_word_embeddings".to_owned(), json!(false));
            }
        }
        config
    }

    /// The fields as they were read, with those of the task.
    fn as_read_for(
        &self,
        task: Task,
        id2label: Map<String, Value>,
        label2id: Map<String, Value>,
        head_dropout: f64,
    ) -> Map<String, Value> {
        let mut fields = self.read.clone();
        // What described the model that was read, or how it was loaded.
        for stale in STALE {
            fields.remove(stale);
        }
        fields.retain(|name, _| !name.starts_with("refit_"));
        let mut set = |name: &str, value: Value| _ = fields.insert(name.to_owned(), value);
        set("architectures", json!([self.family.architecture(task)]));
        set("model_type", json!(self.family.model_type()));
        set("dtype", json!("float32"));
        if let Some(problem) = task.problem_type() {
            set("problem_type", json!(problem));
        }
        if !id2label.is_empty() {
            set("id2label", Value::Object(id2label));
            set("label2id", Value::Object(label2id));
        }
        let dropout = self.family.field("classifier_dropout");
        match task {
            Task::QuestionAnswering => {}
            Task::TokenClassification if self.token_dropout.is_some() => {}
            // MPNet's has no field of its own.
            _ if dropout == "hidden_dropout_prob" => {}
            _ => set(dropout, json!(head_dropout)),
        }
        fields
    }

    /// The longest text in tokens that it has positions for.
    pub fn longest(&self) -> usize {
        match &self.own {
            Own::Bert => self
                .max_position_embeddings
                .saturating_sub(self.first_position),
            Own::MpNet(own) => own.max_length(),
            Own::Deberta(own) => own.max_length(),
            Own::ModernBert(own) => own.max_length(),
        }
    }

    /// The dropout before a head over texts, unless its settings say otherwise.
    pub(super) fn text_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// Refuses values that no encoder can have, so that nothing below has to expect them.
    pub(super) fn check(&self, origin: &str) -> Result<(), ModelError> {
        match &self.own {
            Own::Bert => self.check_bert(origin),
            Own::MpNet(own) => own.check(origin),
            Own::Deberta(own) => own.check(origin),
            Own::ModernBert(own) => own.check(origin),
        }
    }

    fn check_bert(&self, origin: &str) -> Result<(), ModelError> {
        let wrong = |field: &'static str, found: String, wanted: String| {
            Err(ModelError::ConfigValue {
                origin: origin.to_owned(),
                field: self.family.field(field),
                found,
                wanted,
            })
        };
        // Far above any encoder, and low enough that no product of two sizes overflows.
        let most = 1 << 24;
        let with_types = self
            .type_vocab_size
            .max(self.family.without_types() as usize);
        let sizes = [
            ("vocab_size", self.vocab_size, most),
            ("embedding_size", self.embedding_size, most),
            ("hidden_size", self.hidden_size, most),
            ("num_hidden_layers", self.layers.layers, 1024),
            ("num_hidden_groups", self.layers.groups, 1024),
            ("inner_group_num", self.layers.inner, 16),
            ("num_attention_heads", self.num_attention_heads, most),
            ("intermediate_size", self.intermediate_size, most),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                most,
            ),
            ("type_vocab_size", with_types, most),
        ];
        for (field, found, most) in sizes {
            if !(1..=most).contains(&found) {
                return wrong(
                    field,
                    found.to_string(),
                    format!("a whole number from 1 to {most}"),
                );
            }
        }
        if self.layers.groups > self.layers.layers {
            let wanted = format!(
                "at most one group for each of {} layers",
                self.layers.layers
            );
            return wrong("num_hidden_groups", self.layers.groups.to_string(), wanted);
        }
        if self.family.counts_from_padding() && self.pad_token_id.is_none() {
            let wanted = "the padding token's id, after which positions begin".to_owned();
            return wrong("pad_token_id", "null".to_owned(), wanted);
        }
        if self.longest() == 0 {
            return wrong(
                "max_position_embeddings",
                self.max_position_embeddings.to_string(),
                format!("more than {}, where positions begin", self.first_position),
            );
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let wanted = format!(
                "a number that divides the hidden size, {}",
                self.hidden_size
            );
            return wrong(
                "num_attention_heads",
                self.num_attention_heads.to_string(),
                wanted,
            );
        }
        let probabilities = [
            ("hidden_dropout_prob", Some(self.hidden_dropout_prob)),
            (
                "attention_probs_dropout_prob",
                Some(self.attention_probs_dropout_prob),
            ),
            ("classifier_dropout", self.classifier_dropout),
            ("answer_dropout", Some(self.answer_dropout)),
        ];
        for (field, found) in probabilities {
            if let Some(found) = found.filter(|p| !(0.0..1.0).contains(p)) {
                return wrong(
                    field,
                    found.to_string(),
                    "a probability of at least 0 and below 1".to_owned(),
                );
            }
        }
        for (field, found) in [
            ("initializer_range", self.initializer_range),
            ("layer_norm_eps", self.layer_norm_eps),
        ] {
            if !(found.is_finite() && found >= 0.0) {
                return wrong(
                    field,
                    found.to_string(),
                    "a number of at least 0".to_owned(),
                );
            }
        }
        if self.is_decoder {
            return wrong(
                "is_decoder",
                "true".to_owned(),
                "false: only encoders are computed here".to_owned(),
            );
        }
        Ok(())
    }
}

/// The fields of a `config.json` that a trained model does not take over.
const STALE: [&str; 9] = [
    "_name_or_path",
    "auto_map",
    "finetuning_task",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "torch_dtype",
    "transformers_version",
];

/// Why a file names no family.
enum Unknown {
    Said(String),
    Unsaid,
}

fn family_of(fields: &Map<String, Value>) -> Result<Family, Unknown> {
    let said = |field| fields.get(field).and_then(Value::as_str);
    let found = match said("model_type").ok_or(Unknown::Unsaid)? {
        REFIT_BERT => Family::Bert.model_type(),
        REFIT_ENCODER => said("refit_family").unwrap_or(REFIT_ENCODER),
        found => found,
    };
    Family::of(found).ok_or_else(|| Unknown::Said(found.to_owned()))
}

/// Checks, before training, that the tokens stay within what the encoder has embeddings for: `vocab_size` token ids,
/// `max_length` positions, `token_types` segments (1 without text pairs, 2 with). A family that tells no segments apart takes
/// any number of them.
///
/// # Errors
/// The first of the three that the encoder lacks, with both numbers.
pub fn check_fits(
    config: &EncoderConfig,
    vocab_size: usize,
    max_length: usize,
    token_types: usize,
) -> Result<(), ModelError> {
    let types = match config.type_vocab_size {
        0 => token_types,
        types => types,
    };
    let pairs = [
        ("token ids", vocab_size, config.vocab_size),
        ("positions", max_length, config.longest()),
        ("token types", token_types, types),
    ];
    match pairs.into_iter().find(|(_, needed, there)| needed > there) {
        Some((what, needed, there)) => Err(ModelError::TooSmall {
            what,
            needed,
            there,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<EncoderConfig, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        EncoderConfig::read(&path)
    }

    const GOOD: &str = r#"{"model_type": "bert", "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 12, "use_cache": true,
        "pad_token_id": null}"#;

    #[test]
    fn fields_it_does_not_know_are_ignored_and_defaults_are_those_of_transformers() {
        let config = written(GOOD).unwrap();
        assert_eq!(config.hidden_dropout_prob, 0.1);
        assert_eq!(config.layer_norm_eps, 1e-12);
        assert_eq!(config.hidden_act, Activation::Gelu);
        assert_eq!(config.pad_token_id, None);
    }

    #[test]
    fn a_broken_config_is_refused_with_the_reason() {
        let cases = [
            ("", "EOF"),
            ("[1]", "not a JSON object"),
            (
                &GOOD.replace(r#""hidden_size": 8,"#, ""),
                "missing field `hidden_size`",
            ),
            (
                &GOOD.replace(r#""hidden_size": 8"#, r#""hidden_size": "8""#),
                "invalid type: string \"8\"",
            ),
            (
                &GOOD.replace(r#""hidden_size": 8"#, r#""hidden_size": -8"#),
                "-8",
            ),
            (
                &GOOD.replace(r#""model_type": "bert","#, ""),
                "missing field `model_type`",
            ),
            (&GOOD.replace(r#""bert""#, r#""gpt2""#), "gpt2"),
            (
                &GOOD.replace(r#""num_attention_heads": 2"#, r#""num_attention_heads": 3"#),
                "divides the hidden size, 8",
            ),
            (
                &GOOD.replace(r#""num_attention_heads": 2"#, r#""num_attention_heads": 0"#),
                "from 1 to",
            ),
            (
                &GOOD.replace(
                    r#""num_hidden_layers": 1"#,
                    r#""num_hidden_layers": 4000000000"#,
                ),
                "from 1 to 1024",
            ),
            (
                &GOOD.replace(r#""use_cache": true"#, r#""hidden_act": "silu""#),
                "unknown variant `silu`",
            ),
            (
                &GOOD.replace(r#""use_cache": true"#, r#""hidden_dropout_prob": 1.0"#),
                "below 1",
            ),
            (&GOOD.replace("use_cache", "is_decoder"), "is_decoder"),
            (
                &GOOD.replace(
                    r#""use_cache": true"#,
                    r#""position_embedding_type": "relative_key""#,
                ),
                "unknown variant `relative_key`",
            ),
        ];
        for (text, reason) in cases {
            let error = written(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}\n{error}");
            assert!(error.contains("config.json"), "{error}");
        }
    }

    #[test]
    fn tokens_beyond_the_embeddings_are_refused() {
        let config = written(GOOD).unwrap();
        assert!(check_fits(&config, 30, 12, 2).is_ok());
        for (vocabulary, length, types, what) in [
            (31, 12, 2, "token ids"),
            (30, 13, 2, "positions"),
            (30, 12, 3, "token types"),
        ] {
            let error = check_fits(&config, vocabulary, length, types)
                .unwrap_err()
                .to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn an_encoder_from_scratch_is_four_times_as_wide_inside_unless_said_otherwise() {
        let settings: ScratchSettings =
            serde_json::from_str(r#"{"layers": 2, "hidden": 128, "heads": 2}"#).unwrap();
        let config = settings
            .config(Vocabulary {
                size: 100,
                pad_id: 3,
            })
            .unwrap();
        assert_eq!(
            (config.intermediate_size, config.max_position_embeddings),
            (512, 512)
        );
        assert_eq!(config.pad_token_id, Some(3));
        let odd = ScratchSettings {
            heads: 3,
            ..settings
        };
        assert!(
            odd.config(Vocabulary {
                size: 100,
                pad_id: 3
            })
            .is_err()
        );
    }
}
