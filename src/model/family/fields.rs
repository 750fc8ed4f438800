//! The fields of `config.json` as BERT names them, for the families that share these names.
//!
//! Defaults are those of transformers' configuration classes. The sizes have none here: a file without them is broken more
//! often than meant.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::super::ModelError;
use super::super::config::{Activation, EncoderConfig, Own, PositionEmbedding, Sharing};
use super::Family;

#[derive(Deserialize)]
pub(super) struct Fields {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) embedding_size: Option<usize>,
    pub(super) hidden_act: Option<Activation>,
    pub(super) hidden_dropout_prob: Option<f64>,
    pub(super) attention_probs_dropout_prob: Option<f64>,
    pub(super) classifier_dropout: Option<f64>,
    #[serde(default = "two")]
    pub(super) type_vocab_size: usize,
    #[serde(default = "fiftieth")]
    pub(super) initializer_range: f64,
    #[serde(default = "tiny")]
    pub(super) layer_norm_eps: f64,
    #[serde(default, deserialize_with = "given")]
    pub(super) pad_token_id: Option<Option<u32>>,
    /// Read to be refused where it is another.
    #[serde(default, rename = "position_embedding_type")]
    _position_embedding_type: PositionEmbedding,
    #[serde(default)]
    pub(super) is_decoder: bool,
}

impl Fields {
    /// # Errors
    /// A missing field, or one of another type.
    pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Fields, ModelError> {
        parsed(path, bytes)
    }

    /// What BERT makes of them.
    pub(super) fn config(self, family: Family) -> EncoderConfig {
        let hidden_dropout_prob = self.hidden_dropout_prob.unwrap_or(tenth());
        EncoderConfig {
            family,
            vocab_size: self.vocab_size,
            embedding_size: self.hidden_size,
            projects: false,
            hidden_size: self.hidden_size,
            layers: Sharing::none(self.num_hidden_layers),
            num_attention_heads: self.num_attention_heads,
            intermediate_size: self.intermediate_size,
            hidden_act: self.hidden_act.unwrap_or_default(),
            hidden_dropout_prob,
            output_dropout: hidden_dropout_prob,
            attention_probs_dropout_prob: self.attention_probs_dropout_prob.unwrap_or(tenth()),
            classifier_dropout: self.classifier_dropout,
            token_dropout: None,
            answer_dropout: 0.0,
            max_position_embeddings: self.max_position_embeddings,
            first_position: 0,
            type_vocab_size: self.type_vocab_size,
            initializer_range: self.initializer_range,
            layer_norm_eps: self.layer_norm_eps,
            pad_token_id: self.pad_token_id.unwrap_or(Some(0)),
            is_decoder: self.is_decoder,
            own: Own::Bert,
            dense: None,
            read: Default::default(),
        }
    }
}

/// The fields of the `config.json` at `path`.
///
/// # Errors
/// A missing field, or one of another type.
pub(super) fn parsed<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, ModelError> {
    serde_json::from_slice(bytes).map_err(|error| ModelError::Config {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Whether a field is there, and what it says: `null` is not the same as nothing.
pub(super) fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<u32>>, D::Error> {
    Option::<u32>::deserialize(deserializer).map(Some)
}

pub(super) fn tenth() -> f64 {
    0.1
}

pub(super) fn fiftieth() -> f64 {
    0.02
}

fn tiny() -> f64 {
    1e-12
}

fn two() -> usize {
    2
}
