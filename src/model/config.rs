//! The shape of an encoder: Hugging Face's `config.json` for BERT, and the sizes of one built from scratch.
//!
//! Only what this program computes with is kept; other fields of a `config.json` are ignored, and what would change the
//! computation in a way that is not implemented (another model type, relative positions, a decoder) is refused.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ModelError, Task};

/// The fields of a BERT `config.json` that decide what is computed.
///
/// Reference: `transformers/models/bert/configuration_bert.py`, whose defaults these are. The sizes have none here: a
/// file without them is broken more often than meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    pub model_type: String,
    /// Rows of the word embeddings.
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// The width between the two dense layers of a block.
    pub intermediate_size: usize,
    #[serde(default)]
    pub hidden_act: Activation,
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    /// The dropout before the head; `None` means `hidden_dropout_prob`.
    #[serde(default)]
    pub classifier_dropout: Option<f64>,
    /// Rows of the position embeddings: the longest text in tokens.
    pub max_position_embeddings: usize,
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    /// The standard deviation of new weights.
    #[serde(default = "fiftieth")]
    pub initializer_range: f64,
    #[serde(default = "tiny")]
    pub layer_norm_eps: f64,
    #[serde(default = "zero")]
    pub pad_token_id: Option<u32>,
    #[serde(default)]
    pub position_embedding_type: PositionEmbedding,
    #[serde(default)]
    pub is_decoder: bool,
}

/// The activation between the dense layers of a block, as `hidden_act` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x Φ(x), with the exact error function (Hendrycks and Gimpel, arXiv:1606.08415).
    #[default]
    Gelu,
    /// The same approximated with tanh.
    GeluNew,
    Relu,
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

fn fiftieth() -> f64 {
    0.02
}

fn tiny() -> f64 {
    1e-12
}

fn two() -> usize {
    2
}

fn zero() -> Option<u32> {
    Some(0)
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
            model_type: "bert".to_owned(),
            vocab_size: vocabulary.size,
            hidden_size: self.hidden,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            intermediate_size: self.intermediate.unwrap_or(self.hidden.saturating_mul(4)),
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: self.dropout,
            attention_probs_dropout_prob: self.dropout,
            classifier_dropout: None,
            max_position_embeddings: self.max_positions,
            type_vocab_size: 2,
            initializer_range: fiftieth(),
            layer_norm_eps: tiny(),
            pad_token_id: Some(vocabulary.pad_id),
            position_embedding_type: PositionEmbedding::Absolute,
            is_decoder: false,
        };
        config.check("an encoder from scratch")?;
        Ok(config)
    }
}

/// The model types that this program computes.
const MODEL_TYPES: [&str; 2] = ["bert", REFIT_BERT];

/// What exports call a BERT whose head transformers' own class does not have. The encoder in it is a plain one.
const REFIT_BERT: &str = "refit_bert";

impl EncoderConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// A file that is missing or no JSON, a missing or mistyped field, a model type other than `bert`, and values that
    /// no encoder can have.
    pub fn read(path: &Path) -> Result<EncoderConfig, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let broken = |e: serde_json::Error| ModelError::Config {
            path: path.to_owned(),
            reason: e.to_string(),
        };
        // The model type comes first: another type's file has other fields, and naming those would mislead.
        let value: Value = serde_json::from_slice(&bytes).map_err(broken)?;
        if !value.is_object() {
            return Err(ModelError::Config {
                path: path.to_owned(),
                reason: "it is not a JSON object".to_owned(),
            });
        }
        if let Some(found) = value.get("model_type").and_then(Value::as_str)
            && !MODEL_TYPES.contains(&found)
        {
            return Err(ModelError::ModelType {
                path: path.to_owned(),
                found: found.to_owned(),
            });
        }
        let mut config: EncoderConfig = serde_json::from_slice(&bytes).map_err(broken)?;
        if config.model_type == REFIT_BERT {
            "bert".clone_into(&mut config.model_type);
        }
        config.check(&path.display().to_string())?;
        Ok(config)
    }

    /// The `config.json` of a model with this encoder, as the task's class of transformers reads it. `names` are those of
    /// labels or targets, in the order of the head's numbers; none where these are start and end of an answer, whose head
    /// has no dropout either, so that the encoder's own stays.
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
        let mut config = json!({
            "architectures": [task.architecture()],
            "model_type": self.model_type,
            "problem_type": task.problem_type(),
            "id2label": id2label,
            "label2id": label2id,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
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
            "position_embedding_type": self.position_embedding_type,
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

    /// Refuses values that no encoder can have, so that nothing below has to expect them.
    pub(super) fn check(&self, origin: &str) -> Result<(), ModelError> {
        let wrong = |field: &'static str, found: String, wanted: String| {
            Err(ModelError::ConfigValue {
                origin: origin.to_owned(),
                field,
                found,
                wanted,
            })
        };
        // Far above any BERT, and low enough that no product of two sizes overflows.
        let most = 1 << 24;
        let sizes = [
            ("vocab_size", self.vocab_size, most),
            ("hidden_size", self.hidden_size, most),
            ("num_hidden_layers", self.num_hidden_layers, 1024),
            ("num_attention_heads", self.num_attention_heads, most),
            ("intermediate_size", self.intermediate_size, most),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                most,
            ),
            ("type_vocab_size", self.type_vocab_size, most),
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

/// The two files of an encoder in the Hugging Face layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderFiles {
    /// `config.json`.
    pub config: PathBuf,
    /// `model.safetensors`.
    pub weights: PathBuf,
}

impl EncoderFiles {
    /// The files where a folder in the Hugging Face layout has them.
    pub fn in_folder(folder: &Path) -> EncoderFiles {
        EncoderFiles {
            config: folder.join("config.json"),
            weights: folder.join("model.safetensors"),
        }
    }
}

/// Checks, before training, that the tokens stay within what the encoder has embeddings for: `vocab_size` token ids,
/// `max_length` positions, `token_types` segments (1 without text pairs, 2 with).
///
/// # Errors
/// The first of the three that the encoder lacks, with both numbers.
pub fn check_fits(
    config: &EncoderConfig,
    vocab_size: usize,
    max_length: usize,
    token_types: usize,
) -> Result<(), ModelError> {
    let pairs = [
        ("token ids", vocab_size, config.vocab_size),
        ("positions", max_length, config.max_position_embeddings),
        ("token types", token_types, config.type_vocab_size),
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
            (&GOOD.replace(r#""bert""#, r#""roberta""#), "roberta"),
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
