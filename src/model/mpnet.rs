//! MPNet (Song et al., arXiv:2004.09297), in the order of `transformers/models/mpnet/modeling_mpnet.py`.
//!
//! It is BERT without segments, with a bias by distance in every layer's attention. All layers have one table of it, with
//! a row for each bucket of distances: near ones have a bucket each, far ones share it, the more the farther they are
//! (Raffel et al., arXiv:1910.10683).
//!
//! Promises the reference's numbers in float32 to rounding.

use std::ops::Range;
use std::path::Path;

use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Device, Int, Tensor};
use serde::Deserialize;

use super::ModelError;
use super::bert::Batch;
use super::checks::{self, MOST, MOST_LAYERS};
use super::config::Activation;
use super::dropout::{Mode, Site};
use super::layers::{Intermediate, LayerNorm, Linear, Output, apply, linear, lookup, table};
use crate::kernels::{self, Distance, Lookup, Spans};

/// The fields of an MPNet `config.json` that decide what is computed.
///
/// Reference: `transformers/models/mpnet/configuration_mpnet.py`, whose defaults these are. The sizes have none here: a
/// file without them is broken more often than meant.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MpNetConfig {
    /// Rows of the word embeddings.
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    /// The width between the two dense layers of a block.
    pub intermediate_size: usize,
    /// Rows of the position embeddings; see [`max_length`](Self::max_length).
    pub max_position_embeddings: usize,
    #[serde(default)]
    pub hidden_act: Activation,
    #[serde(default = "checks::tenth")]
    pub hidden_dropout_prob: f64,
    #[serde(default = "checks::tenth")]
    pub attention_probs_dropout_prob: f64,
    /// The standard deviation of new weights.
    #[serde(default = "checks::fiftieth")]
    pub initializer_range: f64,
    #[serde(default = "tiny")]
    pub layer_norm_eps: f64,
    /// Rows of the table of biases. The reference finds the same 32 buckets whatever this says.
    #[serde(default = "buckets")]
    pub relative_attention_num_buckets: usize,
    #[serde(default = "one")]
    pub pad_token_id: Option<u32>,
}

fn tiny() -> f64 {
    1e-12
}

fn buckets() -> usize {
    BUCKETS
}

fn one() -> Option<u32> {
    Some(1)
}

/// The row of the first token's position: those before belong to padding.
pub(super) const FIRST_POSITION: usize = 2;

/// How many buckets of distances there are.
const BUCKETS: usize = 32;

/// From this distance on, all have the last bucket of their direction.
const FARTHEST: usize = 128;

impl MpNetConfig {
    /// Reads the bytes of the `config.json` at `path`.
    ///
    /// # Errors
    /// No JSON, a missing or mistyped field, and values that no encoder can have.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<MpNetConfig, ModelError> {
        let config: MpNetConfig = checks::parse(path, bytes)?;
        config.check(&path.display().to_string())?;
        Ok(config)
    }

    /// The longest text, in tokens, that has positions.
    pub fn max_length(&self) -> usize {
        self.max_position_embeddings.saturating_sub(FIRST_POSITION)
    }

    pub(super) fn check(&self, origin: &str) -> Result<(), ModelError> {
        let positions = FIRST_POSITION + 1..=MOST;
        let sizes = [
            ("vocab_size", self.vocab_size, 1..=MOST),
            ("hidden_size", self.hidden_size, 1..=MOST),
            ("num_hidden_layers", self.num_hidden_layers, 1..=MOST_LAYERS),
            ("num_attention_heads", self.num_attention_heads, 1..=MOST),
            ("intermediate_size", self.intermediate_size, 1..=MOST),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                positions,
            ),
            (
                "relative_attention_num_buckets",
                self.relative_attention_num_buckets,
                BUCKETS..=MOST,
            ),
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
            ],
        )?;
        checks::not_negative(
            origin,
            [
                ("initializer_range", self.initializer_range),
                ("layer_norm_eps", self.layer_norm_eps),
            ],
        )
    }
}

/// The encoder: `MPNetModel` in the reference, without its pooler.
#[derive(Module, Debug)]
pub struct MpNet {
    embeddings: Embeddings,
    encoder: Encoder,
}

impl MpNet {
    /// An encoder whose weights are not yet set: they cost nothing until they are.
    pub fn unset(config: &MpNetConfig, device: &Device) -> MpNet {
        MpNet {
            embeddings: Embeddings::unset(config, device),
            encoder: Encoder {
                layer: (0..config.num_hidden_layers)
                    .map(|_| Layer::unset(config, device))
                    .collect(),
                relative_attention_bias: table(
                    config.relative_attention_num_buckets,
                    config.num_attention_heads,
                    device,
                ),
            },
        }
    }

    /// The device that the weights are on, with or without autodiff as they are.
    pub fn device(&self) -> Device {
        self.embeddings.word_embeddings.weight.lazy_device()
    }

    /// The embeddings of the vocabulary, `[vocab, embedding]`.
    pub(super) fn words(&self) -> Tensor<2> {
        self.embeddings.word_embeddings.weight.val()
    }

    /// Its linear layers, in an order that does not change.
    pub(super) fn linears(&mut self) -> Vec<&mut Linear> {
        self.encoder
            .layer
            .iter_mut()
            .flat_map(Layer::linears)
            .collect()
    }

    /// The number of its layers.
    pub(super) fn depth(&self) -> usize {
        self.encoder.layer.len()
    }

    /// What the first layer is given, `[tokens, hidden]`.
    pub(super) fn embed(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        self.embeddings.forward(batch, mode)
    }

    /// What the layers of these numbers make of what the first of them is given, `[tokens, hidden]`.
    pub(super) fn layers(
        &self,
        layers: Range<usize>,
        hidden: Tensor<2>,
        batch: &Batch,
        mode: &Mode,
    ) -> Tensor<2> {
        let bias = self.encoder.bias(&batch.spans);
        let numbered = self.encoder.layer.iter().enumerate();
        let chosen = numbered.skip(layers.start).take(layers.len());
        chosen.fold(hidden, |hidden, (number, layer)| {
            layer.forward(hidden, &bias, &batch.spans, mode, number)
        })
    }

    /// The attention weights of a layer (counted from 0) without dropout, of what it is given,
    /// `[texts, heads, length, length]`; `None` when there is no such layer.
    pub(super) fn attention(
        &self,
        hidden: Tensor<2>,
        batch: &Batch,
        layer: usize,
    ) -> Option<Tensor<4>> {
        let attention = &self.encoder.layer.get(layer)?.attention.attn;
        let bias = self.encoder.bias(&batch.spans);
        let [query, key, _] = attention.project(hidden, &Mode::EVALUATE);
        Some(kernels::attention_weights_by_distance(
            query,
            key,
            &bias,
            &batch.spans,
            attention.heads,
        ))
    }
}

/// Word and position embeddings, summed, normalised and dropped out: `MPNetEmbeddings`.
#[derive(Module, Debug)]
struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    layer_norm: LayerNorm,
    dropout: f64,
    width: usize,
}

impl Embeddings {
    fn unset(config: &MpNetConfig, device: &Device) -> Embeddings {
        let width = config.hidden_size;
        Embeddings {
            word_embeddings: table(config.vocab_size, width, device),
            position_embeddings: table(config.max_position_embeddings, width, device),
            layer_norm: LayerNorm::unset(width, config.layer_norm_eps, true, device),
            dropout: config.hidden_dropout_prob,
            width,
        }
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        let positions = batch.positions(FIRST_POSITION);
        kernels::embedding_layer_norm_dropout(
            batch.words(&self.word_embeddings),
            lookup(&self.position_embeddings, positions),
            Lookup::zeros(batch.spans.rows(), self.width, &batch.ids.device()),
            self.layer_norm.norm(),
            mode.dropout(self.dropout, Site::Embeddings),
        )
    }
}

/// The blocks, one after the other, and the bias that they share: `MPNetEncoder`.
#[derive(Module, Debug)]
struct Encoder {
    layer: Vec<Layer>,
    relative_attention_bias: Embedding,
}

impl Encoder {
    fn bias(&self, spans: &Spans) -> Distance {
        let table = self.relative_attention_bias.weight.val(); // [buckets, heads]
        let buckets: Vec<i32> = distances(spans.length())
            .map(|distance| bucket(distance) as i32)
            .collect();
        let device = table.device().without_autodiff();
        let buckets = Tensor::<1, Int>::from_data(buckets.as_slice(), &device);
        let by_distance = table.select(0, buckets); // [2 * length - 1, heads]
        Distance::Bias(by_distance.swap_dims(0, 1)) // [heads, 2 * length - 1]
    }
}

/// From `1 - length` to `length - 1`.
fn distances(length: usize) -> impl Iterator<Item = i64> {
    let last = length as i64;
    1 - last..last
}

/// The bucket of a distance: the key's place minus the query's.
///
/// Source: `MPNetEncoder.relative_position_bucket`, in the same 32-bit numbers, since some distances lie where one bucket
/// ends.
pub(super) fn bucket(distance: i64) -> usize {
    let half = BUCKETS / 2;
    let exact = half / 2;
    let direction = if distance > 0 { half } else { 0 };
    let far = distance.unsigned_abs() as usize;
    if far < exact {
        return direction + far;
    }
    let farthest = (FARTHEST as f64 / exact as f64).ln() as f32;
    let growth = (far as f32 / exact as f32).ln() / farthest * (half - exact) as f32;
    direction + (exact + growth as usize).min(half - 1)
}

/// One block: `MPNetLayer`.
#[derive(Module, Debug)]
struct Layer {
    attention: Attention,
    intermediate: Intermediate,
    output: Output,
}

impl Layer {
    fn linears(&mut self) -> [&mut Linear; 6] {
        let SelfAttention { q, k, v, o, .. } = &mut self.attention.attn;
        let (wide, narrow) = (&mut self.intermediate.dense, &mut self.output.dense);
        [q, k, v, o, wide, narrow]
    }

    fn unset(config: &MpNetConfig, device: &Device) -> Layer {
        let (width, epsilon) = (config.hidden_size, config.layer_norm_eps);
        let square = || linear(width, width, true, device);
        Layer {
            attention: Attention {
                attn: SelfAttention {
                    q: square(),
                    k: square(),
                    v: square(),
                    o: square(),
                    heads: config.num_attention_heads,
                    dropout: config.attention_probs_dropout_prob,
                },
                layer_norm: LayerNorm::unset(width, epsilon, true, device),
                dropout: config.hidden_dropout_prob,
            },
            intermediate: Intermediate::unset(
                width,
                config.intermediate_size,
                config.hidden_act,
                device,
            ),
            output: Output::unset(
                [config.intermediate_size, width],
                epsilon,
                config.hidden_dropout_prob,
                device,
            ),
        }
    }

    fn forward(
        &self,
        hidden: Tensor<2>,
        bias: &Distance,
        spans: &Spans,
        mode: &Mode,
        number: usize,
    ) -> Tensor<2> {
        let hidden = self.attention.forward(hidden, bias, spans, mode, number);
        let wide = self.intermediate.forward(hidden.clone(), mode); // [tokens, intermediate]
        self.output
            .forward(wide, hidden, mode, Site::Output(number))
    }
}

/// Self-attention, dropout, residual, LayerNorm: `MPNetAttention`.
#[derive(Module, Debug)]
struct Attention {
    attn: SelfAttention,
    layer_norm: LayerNorm,
    dropout: f64,
}

impl Attention {
    fn forward(
        &self,
        hidden: Tensor<2>,
        bias: &Distance,
        spans: &Spans,
        mode: &Mode,
        number: usize,
    ) -> Tensor<2> {
        let context = self.attn.forward(hidden.clone(), bias, spans, mode, number);
        let dropout = mode.dropout(self.dropout, Site::AttentionOutput(number));
        kernels::dropout_add_layer_norm(context, hidden, self.layer_norm.norm(), dropout)
    }
}

/// `MPNetSelfAttention`.
#[derive(Module, Debug)]
struct SelfAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    heads: usize,
    dropout: f64,
}

impl SelfAttention {
    /// Queries, keys and values, each `[tokens, hidden]`.
    fn project(&self, hidden: Tensor<2>, mode: &Mode) -> [Tensor<2>; 3] {
        [&self.q, &self.k, &self.v].map(|projection| apply(projection, hidden.clone(), mode))
    }

    fn forward(
        &self,
        hidden: Tensor<2>,
        bias: &Distance,
        spans: &Spans,
        mode: &Mode,
        number: usize,
    ) -> Tensor<2> {
        let inputs = self.project(hidden, mode);
        let precision = mode.precision();
        let dropout = mode.dropout(self.dropout, Site::Attention(number));
        let context =
            kernels::attention_by_distance(inputs, bias, spans, self.heads, dropout, precision);
        apply(&self.o, context, mode) // [tokens, hidden]
    }
}

#[cfg(test)]
mod tests;
