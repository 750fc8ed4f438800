//! The shape of a ModernBERT encoder: its `config.json`.

use std::path::Path;

use serde::Deserialize;

use crate::model::ModelError;
use crate::model::checks::{self, MOST, MOST_LAYERS};
use crate::model::config::Activation;

/// The fields of a ModernBERT `config.json` that decide what is computed.
///
/// Reference: `transformers/models/modernbert/configuration_modernbert.py`, whose defaults these are. The sizes have none
/// here: a file without them is broken more often than meant.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ModernBertConfig {
    /// Rows of the word embeddings.
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// Half the width between the two dense layers of a block.
    pub intermediate_size: usize,
    /// The longest text that the model is made for. Nothing in it has this size.
    pub max_position_embeddings: usize,
    #[serde(default)]
    pub hidden_activation: Activation,
    /// The standard deviation of new weights.
    #[serde(default = "checks::fiftieth")]
    pub initializer_range: f64,
    #[serde(default = "norm_eps")]
    pub norm_eps: f64,
    #[serde(default)]
    pub norm_bias: bool,
    #[serde(default)]
    pub attention_bias: bool,
    #[serde(default)]
    pub mlp_bias: bool,
    /// Of attention weights, and of what attention gives.
    #[serde(default)]
    pub attention_dropout: f64,
    #[serde(default)]
    pub embedding_dropout: f64,
    #[serde(default)]
    pub mlp_dropout: f64,
    /// What each layer looks at; `None`: as `global_attn_every_n_layers` says.
    #[serde(default)]
    pub layer_types: Option<Vec<LayerType>>,
    /// Of so many layers the first looks at all tokens, the others at near ones.
    #[serde(default = "three")]
    pub global_attn_every_n_layers: usize,
    /// The width of a window, to both sides together.
    #[serde(default = "window")]
    pub local_attention: usize,
    /// The base of the rotary frequencies, where `rope_parameters` has none.
    #[serde(default = "global_theta")]
    pub global_rope_theta: f64,
    /// The same of layers with a window; `null`: that of the others.
    #[serde(default = "local_theta")]
    pub local_rope_theta: Option<f64>,
    /// The rotary embeddings as transformers 5 writes them.
    #[serde(default)]
    pub rope_parameters: Option<RopeParameters>,
    /// Another way to say that frequencies are scaled, which is refused.
    #[serde(default)]
    pub rope_scaling: Option<serde_json::Value>,
    #[serde(default = "padding")]
    pub pad_token_id: Option<u32>,
    /// What a head over texts reads: `cls` or `mean`.
    #[serde(default)]
    pub classifier_pooling: ClassifierPooling,
    /// The dropout before the head.
    #[serde(default)]
    pub classifier_dropout: f64,
    /// Whether the dense layer of the head has a bias.
    #[serde(default)]
    pub classifier_bias: bool,
    #[serde(default)]
    pub classifier_activation: Activation,
}

/// What a layer looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum LayerType {
    /// All tokens of the text.
    #[serde(rename = "full_attention")]
    Full,
    /// Those in the window around each token.
    #[serde(rename = "sliding_attention")]
    Sliding,
}

/// Which vector of a text a head reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassifierPooling {
    #[default]
    Cls,
    Mean,
}

/// The rotary embeddings of both types of layers.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct RopeParameters {
    #[serde(default)]
    pub full_attention: Option<Rope>,
    #[serde(default)]
    pub sliding_attention: Option<Rope>,
}

/// A rotary embedding.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Rope {
    #[serde(default)]
    pub rope_theta: Option<f64>,
    #[serde(default, alias = "type")]
    pub rope_type: Option<String>,
}

fn norm_eps() -> f64 {
    1e-5
}

fn three() -> usize {
    3
}

fn window() -> usize {
    128
}

fn global_theta() -> f64 {
    160_000.0
}

fn local_theta() -> Option<f64> {
    Some(10_000.0)
}

fn padding() -> Option<u32> {
    Some(50_283)
}

impl ModernBertConfig {
    /// Reads the bytes of the `config.json` at `path`.
    ///
    /// # Errors
    /// No JSON, a missing or mistyped field, and values that no encoder can have.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<ModernBertConfig, ModelError> {
        let config: ModernBertConfig = checks::parse(path, bytes)?;
        config.check(&path.display().to_string())?;
        Ok(config)
    }

    /// The longest text, in tokens, that the model is made for.
    pub fn max_length(&self) -> usize {
        self.max_position_embeddings
    }

    /// What the layer of that number looks at.
    pub fn layer_type(&self, number: usize) -> LayerType {
        let listed = self.layer_types.as_ref();
        match listed.and_then(|types| types.get(number)) {
            Some(listed) => *listed,
            None if number.is_multiple_of(self.global_attn_every_n_layers) => LayerType::Full,
            None => LayerType::Sliding,
        }
    }

    /// The base of the rotary frequencies in layers of a type.
    pub fn theta(&self, of: LayerType) -> f64 {
        let (given, otherwise) = match of {
            LayerType::Full => (self.rope(of), self.global_rope_theta),
            LayerType::Sliding => {
                let otherwise = self.local_rope_theta.unwrap_or(self.global_rope_theta);
                (self.rope(of), otherwise)
            }
        };
        given.and_then(|rope| rope.rope_theta).unwrap_or(otherwise)
    }

    fn rope(&self, of: LayerType) -> Option<&Rope> {
        let both = self.rope_parameters.as_ref()?;
        match of {
            LayerType::Full => both.full_attention.as_ref(),
            LayerType::Sliding => both.sliding_attention.as_ref(),
        }
    }

    pub(in crate::model) fn check(&self, origin: &str) -> Result<(), ModelError> {
        let sizes = [
            ("vocab_size", self.vocab_size, 1..=MOST),
            ("hidden_size", self.hidden_size, 1..=MOST),
            ("num_hidden_layers", self.num_hidden_layers, 1..=MOST_LAYERS),
            ("num_attention_heads", self.num_attention_heads, 1..=MOST),
            ("intermediate_size", self.intermediate_size, 1..=MOST),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                1..=MOST,
            ),
            (
                "global_attn_every_n_layers",
                self.global_attn_every_n_layers,
                1..=MOST,
            ),
            ("local_attention", self.local_attention, 0..=MOST),
        ];
        checks::sizes(origin, sizes)?;
        checks::heads(origin, self.hidden_size, self.num_attention_heads)?;
        let size = self.hidden_size / self.num_attention_heads;
        if !size.is_multiple_of(2) {
            let wanted = format!(
                "a number that divides half the hidden size, {}: pairs of numbers are turned",
                self.hidden_size
            );
            let found = self.num_attention_heads;
            return Err(checks::wrong(origin, "num_attention_heads", found, wanted));
        }
        checks::probabilities(
            origin,
            [
                ("attention_dropout", self.attention_dropout),
                ("embedding_dropout", self.embedding_dropout),
                ("mlp_dropout", self.mlp_dropout),
                ("classifier_dropout", self.classifier_dropout),
            ],
        )?;
        checks::not_negative(
            origin,
            [
                ("initializer_range", self.initializer_range),
                ("norm_eps", self.norm_eps),
            ],
        )?;
        if let Some(types) = &self.layer_types
            && types.len() != self.num_hidden_layers
        {
            let found = format!("of length {}", types.len());
            let wanted = format!("one for each of the {} layers", self.num_hidden_layers);
            return Err(checks::wrong(origin, "layer_types", found, wanted));
        }
        self.check_rotary(origin)
    }

    fn check_rotary(&self, origin: &str) -> Result<(), ModelError> {
        if let Some(scaling) = &self.rope_scaling {
            let wanted = "null: only frequencies that are not scaled are computed here";
            return Err(checks::wrong(origin, "rope_scaling", scaling, wanted));
        }
        for of in [LayerType::Full, LayerType::Sliding] {
            let named = self.rope(of).and_then(|rope| rope.rope_type.as_deref());
            if let Some(other) = named.filter(|named| *named != "default") {
                let wanted = "\"default\": only frequencies that are not scaled are computed here";
                return Err(checks::wrong(origin, "rope_type", other, wanted));
            }
            let theta = self.theta(of);
            if !(theta.is_finite() && theta > 0.0) {
                let wanted = "a number above 0";
                return Err(checks::wrong(origin, "rope_theta", theta, wanted));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
