//! The shape of a DeBERTa encoder: its `config.json`, and which embedding a distance has.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use crate::model::ModelError;
use crate::model::checks::{self, MOST, MOST_LAYERS};
use crate::model::config::Activation;

/// The fields of a DeBERTa-v2 `config.json` (v3 has the same type) that decide what is computed.
///
/// Reference: `transformers/models/deberta_v2/configuration_deberta_v2.py` and the attributes that its modules ask for,
/// whose defaults these are. The sizes have none here: a file without them is broken more often than meant.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DebertaConfig {
    /// Rows of the word embeddings.
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// The width between the two dense layers of a block.
    pub intermediate_size: usize,
    /// Rows of the position embeddings, where there are any; see [`max_length`](Self::max_length).
    pub max_position_embeddings: usize,
    #[serde(default)]
    pub hidden_act: Activation,
    #[serde(default = "checks::tenth")]
    pub hidden_dropout_prob: f64,
    #[serde(default = "checks::tenth")]
    pub attention_probs_dropout_prob: f64,
    /// Rows of the segment embeddings; 0 for none.
    #[serde(default)]
    pub type_vocab_size: usize,
    /// The standard deviation of new weights.
    #[serde(default = "checks::fiftieth")]
    pub initializer_range: f64,
    #[serde(default = "small")]
    pub layer_norm_eps: f64,
    /// The width of the embeddings; `None`: that of the hidden states.
    #[serde(default)]
    pub embedding_size: Option<usize>,
    /// The width of all heads together is that of the hidden states; another size of a head is refused.
    #[serde(default)]
    pub attention_head_size: Option<usize>,
    /// Whether positions have embeddings that are added to the words'.
    #[serde(default = "checks::yes")]
    pub position_biased_input: bool,
    /// Whether distances have embeddings.
    #[serde(default)]
    pub relative_attention: bool,
    /// The terms that a score has beside content with content.
    #[serde(default)]
    pub pos_att_type: Terms,
    /// Whether content and distances share the layers that make keys and queries of them.
    #[serde(default)]
    pub share_att_key: bool,
    /// How many embeddings each direction has for distances; below 1: one for each distance.
    #[serde(default = "none")]
    pub position_buckets: i64,
    /// Distances from this one on share an embedding; below 1: `max_position_embeddings`.
    #[serde(default = "none")]
    pub max_relative_positions: i64,
    /// How the embeddings of distances are normalised: `none` or `layer_norm`.
    #[serde(default = "not_normalised")]
    pub norm_rel_ebd: String,
    /// How many tokens the convolution beside the first layer sees; 0 where there is none.
    #[serde(default)]
    pub conv_kernel_size: usize,
    /// More than one group is refused.
    #[serde(default = "one")]
    pub conv_groups: usize,
    #[serde(default = "tanh")]
    pub conv_act: Activation,
    #[serde(default = "padding")]
    pub pad_token_id: Option<u32>,
    /// The dropout before the pooler's dense layer.
    #[serde(default)]
    pub pooler_dropout: f64,
    #[serde(default)]
    pub pooler_hidden_act: Activation,
    /// Must be the hidden size.
    #[serde(default)]
    pub pooler_hidden_size: Option<usize>,
    /// The dropout before the head; `None` means `hidden_dropout_prob`.
    #[serde(default)]
    pub cls_dropout: Option<f64>,
}

/// The terms that a score has beside content with content, written as `"c2p|p2c"`, `["c2p", "p2c"]` or `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// The query's content with the key's distance.
    pub c2p: bool,
    /// The key's content with the query's distance.
    pub p2c: bool,
}

impl Terms {
    fn with<E: de::Error>(mut self, name: &str) -> Result<Terms, E> {
        match name.trim().to_lowercase().as_str() {
            "c2p" => self.c2p = true,
            "p2c" => self.p2c = true,
            "" | "none" => {}
            other => {
                let other = de::Unexpected::Str(other);
                return Err(E::invalid_value(other, &"c2p or p2c in pos_att_type"));
            }
        }
        Ok(self)
    }

    pub(in crate::model) fn count(self) -> usize {
        usize::from(self.c2p) + usize::from(self.p2c)
    }
}

impl<'de> Deserialize<'de> for Terms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Terms, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Terms;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str(r#""c2p|p2c", ["c2p", "p2c"] or null"#)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Terms, E> {
                Ok(Terms::default())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Terms, E> {
                text.split('|').try_fold(Terms::default(), Terms::with)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Terms, A::Error> {
                let mut terms = Terms::default();
                while let Some(name) = names.next_element::<String>()? {
                    terms = terms.with(&name)?;
                }
                Ok(terms)
            }
        }
        deserializer.deserialize_any(Written)
    }
}

fn small() -> f64 {
    1e-7
}

fn none() -> i64 {
    -1
}

fn not_normalised() -> String {
    "none".to_owned()
}

fn one() -> usize {
    1
}

fn tanh() -> Activation {
    Activation::Tanh
}

fn padding() -> Option<u32> {
    Some(0)
}

impl DebertaConfig {
    /// Reads the bytes of the `config.json` at `path`.
    ///
    /// # Errors
    /// No JSON, a missing or mistyped field, and values that no encoder can have, or none that is computed here.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<DebertaConfig, ModelError> {
        let config: DebertaConfig = checks::parse(path, bytes)?;
        config.check(&path.display().to_string())?;
        Ok(config)
    }

    /// The longest text, in tokens, that the model is made for.
    pub fn max_length(&self) -> usize {
        self.max_position_embeddings
    }

    pub(in crate::model) fn embedding_size(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    /// From this distance on, all share an embedding.
    fn farthest(&self) -> usize {
        match usize::try_from(self.max_relative_positions) {
            Ok(farthest) if farthest > 0 => farthest,
            _ => self.max_position_embeddings,
        }
    }

    fn buckets(&self) -> Option<usize> {
        let buckets = usize::try_from(self.position_buckets).ok();
        buckets.filter(|buckets| *buckets > 0)
    }

    /// How distances are told apart; `None` where they have no embeddings.
    pub(in crate::model) fn distances(&self) -> Option<Buckets> {
        self.relative_attention.then(|| Buckets {
            each: self.buckets(),
            farthest: self.farthest(),
        })
    }

    pub(in crate::model) fn normalises_distances(&self) -> bool {
        let norms = self.norm_rel_ebd.to_lowercase();
        norms.split('|').any(|norm| norm.trim() == "layer_norm")
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
            ("type_vocab_size", self.type_vocab_size, 0..=MOST),
            ("embedding_size", self.embedding_size(), 1..=MOST),
            ("max_relative_positions", self.farthest(), 1..=MOST),
            ("position_buckets", self.buckets().unwrap_or(2), 2..=MOST),
        ];
        checks::sizes(origin, sizes)?;
        checks::heads(origin, self.hidden_size, self.num_attention_heads)?;
        checks::probabilities(
            origin,
            [
                ("hidden_dropout_prob", self.hidden_dropout_prob),
                (
                    "attention_probs_dropout_prob",
                    self.attention_probs_dropout_prob,
                ),
                ("pooler_dropout", self.pooler_dropout),
                ("cls_dropout", self.cls_dropout.unwrap_or(0.0)),
            ],
        )?;
        checks::not_negative(
            origin,
            [
                ("initializer_range", self.initializer_range),
                ("layer_norm_eps", self.layer_norm_eps),
            ],
        )?;
        let width = self.hidden_size;
        let size = width / self.num_attention_heads;
        for (field, found, only) in [
            ("attention_head_size", self.attention_head_size, size),
            ("pooler_hidden_size", self.pooler_hidden_size, width),
        ] {
            if let Some(found) = found.filter(|found| *found != only) {
                let wanted = format!("{only}, as the hidden size, {width}, says");
                return Err(checks::wrong(origin, field, found, wanted));
            }
        }
        if let Some(buckets) = self.buckets()
            && self.farthest() < buckets / 2 + 2
        {
            let wanted = format!("a number above {}, half of the buckets", buckets / 2 + 1);
            let found = self.farthest();
            return Err(checks::wrong(
                origin,
                "max_relative_positions",
                found,
                wanted,
            ));
        }
        self.check_convolution(origin)
    }

    fn check_convolution(&self, origin: &str) -> Result<(), ModelError> {
        if self.conv_kernel_size == 0 {
            return Ok(());
        }
        if self.conv_kernel_size > 63 || self.conv_kernel_size.is_multiple_of(2) {
            let (found, wanted) = (self.conv_kernel_size, "0 or an odd number below 64");
            return Err(checks::wrong(origin, "conv_kernel_size", found, wanted));
        }
        if self.conv_groups != 1 {
            let (found, wanted) = (
                self.conv_groups,
                "1: only whole convolutions are computed here",
            );
            return Err(checks::wrong(origin, "conv_groups", found, wanted));
        }
        Ok(())
    }
}

/// How distances are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct Buckets {
    /// How many each direction has; `None`: one for each distance.
    each: Option<usize>,
    farthest: usize,
}

impl Buckets {
    /// How many embeddings each direction has.
    pub(in crate::model) fn span(self) -> usize {
        self.each.unwrap_or(self.farthest)
    }

    /// The embedding of a distance: the query's place minus the key's. It grows with the distance.
    pub(in crate::model) fn row(self, distance: i64) -> usize {
        let span = self.span() as i64;
        let bucket = match self.each {
            Some(each) => log_bucket(distance, each, self.farthest),
            None => distance,
        };
        bucket.saturating_add(span).clamp(0, 2 * span - 1) as usize
    }
}

/// Near distances as they are, farther ones on a logarithmic scale.
///
/// Source: `make_log_bucket_position`, in the same 32-bit numbers, since some distances lie where one bucket ends.
fn log_bucket(distance: i64, buckets: usize, farthest: usize) -> i64 {
    let half = (buckets / 2) as i64;
    let far = distance.abs();
    if far <= half {
        return distance;
    }
    let whole = ((farthest as f64 - 1.0) / half as f64) as f32;
    let growth = (far as f32 / half as f32).ln() / whole.ln() * (half - 1) as f32;
    (growth.ceil() as i64).saturating_add(half) * distance.signum()
}

#[cfg(test)]
mod tests;
