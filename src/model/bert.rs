//! BERT (Devlin et al., arXiv:1810.04805), in the order of `transformers/models/bert/modeling_bert.py`.
//!
//! Each struct mirrors the reference's module, and so do the names of its fields: the way from a field's path to the
//! tensor's name in a checkpoint is a few substitutions, all in `parameters`. The modules hold weights; what they
//! compute stands in plain functions ([`attention_weights`], [`gelu`]), which a fused kernel can take the place of.
//!
//! Promises the reference's numbers in float32 to rounding. Deliberately absent: decoders, cross-attention, caches of keys
//! and values, relative positions.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Bool, Device, Int, Tensor};

use super::config::{Activation, EncoderConfig};
use super::dropout::{Mode, Site, dropout};

/// Texts as the encoder reads them, padded to one length. All three are `[batch, length]`.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Token ids.
    pub ids: Tensor<2, Int>,
    /// The segment of each token: 0, or 1 in the second text of a pair.
    pub type_ids: Tensor<2, Int>,
    /// True at real tokens, false at padding.
    pub mask: Tensor<2, Bool>,
}

impl Batch {
    /// A batch from row-major values, each `rows * length` long, on the device of the model that will read it.
    ///
    /// # Panics
    /// When the lengths differ from `rows * length`.
    pub fn new(
        ids: Vec<i32>,
        type_ids: Vec<i32>,
        mask: Vec<bool>,
        rows: usize,
        length: usize,
        device: &Device,
    ) -> Batch {
        use burn::tensor::TensorData;
        let shape = [rows, length];
        Batch {
            ids: Tensor::from_data(TensorData::new(ids, shape), device),
            type_ids: Tensor::from_data(TensorData::new(type_ids, shape), device),
            mask: Tensor::from_data(TensorData::new(mask, shape), device),
        }
    }
}

/// The encoder: `BertModel` in the reference.
#[derive(Module, Debug)]
pub struct Bert {
    pub(super) embeddings: Embeddings,
    pub(super) encoder: Encoder,
    pub(super) pooler: Option<Pooler>,
}

impl Bert {
    /// An encoder whose weights are not yet set: they cost nothing until they are.
    pub(super) fn unset(config: &EncoderConfig, with_pooler: bool, device: &Device) -> Bert {
        Bert {
            embeddings: Embeddings::unset(config, device),
            encoder: Encoder {
                layer: (0..config.num_hidden_layers)
                    .map(|_| Layer::unset(config, device))
                    .collect(),
            },
            pooler: with_pooler.then(|| Pooler {
                dense: linear(config.hidden_size, config.hidden_size, device),
            }),
        }
    }

    pub(super) fn device(&self) -> Device {
        self.embeddings.word_embeddings.weight.lazy_device()
    }

    /// The last hidden state, `[batch, length, hidden]`.
    pub fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<3> {
        let bias = padding_bias(&batch.mask);
        let embedded = self.embeddings.forward(batch, mode);
        self.encoder
            .layer
            .iter()
            .enumerate()
            .fold(embedded, |hidden, (number, layer)| {
                layer.forward(hidden, bias.clone(), mode, number)
            })
    }

    /// The attention weights of a layer (counted from 0) without dropout, `[batch, heads, length, length]`; `None` when
    /// there is no such layer.
    pub fn attention(&self, batch: &Batch, layer: usize) -> Option<Tensor<4>> {
        let (wanted, below) = self.encoder.layer.get(..=layer)?.split_last()?;
        let bias = padding_bias(&batch.mask);
        let embedded = self.embeddings.forward(batch, &Mode::Evaluate);
        let hidden = below
            .iter()
            .enumerate()
            .fold(embedded, |hidden, (number, layer)| {
                layer.forward(hidden, bias.clone(), &Mode::Evaluate, number)
            });
        let attention = &wanted.attention.self_attention;
        let [query, key, _] = attention.project(hidden);
        Some(attention_weights(query, key, bias))
    }
}

/// Word, position and segment embeddings, summed, normalised and dropped out: `BertEmbeddings`.
#[derive(Module, Debug)]
pub(super) struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Embedding,
    layer_norm: LayerNorm,
    dropout: f64,
}

impl Embeddings {
    fn unset(config: &EncoderConfig, device: &Device) -> Embeddings {
        let table = |rows| EmbeddingConfig::new(rows, config.hidden_size).init(device);
        Embeddings {
            word_embeddings: table(config.vocab_size),
            position_embeddings: table(config.max_position_embeddings),
            token_type_embeddings: table(config.type_vocab_size),
            layer_norm: layer_norm(config, device),
            dropout: config.hidden_dropout_prob,
        }
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<3> {
        let [_, length] = batch.ids.dims();
        let words = self.word_embeddings.forward(batch.ids.clone()); // [batch, length, hidden]
        let types = self.token_type_embeddings.forward(batch.type_ids.clone()); // [batch, length, hidden]
        let positions = self
            .position_embeddings
            .weight
            .val()
            .narrow(0, 0, length)
            .unsqueeze::<3>(); // [1, length, hidden]
        let summed = self.layer_norm.forward(words + types + positions);
        dropout(summed, self.dropout, mode, Site::Embeddings)
    }
}

/// The blocks, one after the other: `BertEncoder`.
#[derive(Module, Debug)]
pub(super) struct Encoder {
    layer: Vec<Layer>,
}

/// One block: `BertLayer`.
#[derive(Module, Debug)]
struct Layer {
    attention: Attention,
    intermediate: Intermediate,
    output: Output,
}

impl Layer {
    fn unset(config: &EncoderConfig, device: &Device) -> Layer {
        Layer {
            attention: Attention {
                self_attention: SelfAttention::unset(config, device),
                output: Output::unset(config.hidden_size, config, device),
            },
            intermediate: Intermediate {
                dense: linear(config.hidden_size, config.intermediate_size, device),
                activation: config.hidden_act,
            },
            output: Output::unset(config.intermediate_size, config, device),
        }
    }

    fn forward(&self, hidden: Tensor<3>, bias: Tensor<4>, mode: &Mode, number: usize) -> Tensor<3> {
        let context = self
            .attention
            .self_attention
            .forward(hidden.clone(), bias, mode, number);
        let hidden =
            self.attention
                .output
                .forward(context, hidden, mode, Site::AttentionOutput(number));
        let wide = self.intermediate.forward(hidden.clone()); // [batch, length, intermediate]
        self.output
            .forward(wide, hidden, mode, Site::Output(number))
    }
}

/// Self-attention and what follows it up to the first LayerNorm: `BertAttention`.
#[derive(Module, Debug)]
struct Attention {
    self_attention: SelfAttention,
    output: Output,
}

/// `BertSelfAttention`.
#[derive(Module, Debug)]
struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: usize,
    dropout: f64,
}

impl SelfAttention {
    fn unset(config: &EncoderConfig, device: &Device) -> SelfAttention {
        let square = || linear(config.hidden_size, config.hidden_size, device);
        SelfAttention {
            query: square(),
            key: square(),
            value: square(),
            heads: config.num_attention_heads,
            dropout: config.attention_probs_dropout_prob,
        }
    }

    /// Queries, keys and values by head, each `[batch, heads, length, size]`.
    fn project(&self, hidden: Tensor<3>) -> [Tensor<4>; 3] {
        let [batch, length, width] = hidden.dims();
        [&self.query, &self.key, &self.value].map(|projection| {
            projection
                .forward(hidden.clone())
                .reshape([batch, length, self.heads, width / self.heads]) // [batch, length, heads, size]
                .swap_dims(1, 2) // [batch, heads, length, size]
        })
    }

    fn forward(&self, hidden: Tensor<3>, bias: Tensor<4>, mode: &Mode, number: usize) -> Tensor<3> {
        let shape = hidden.dims();
        let [query, key, value] = self.project(hidden);
        let weights = attention_weights(query, key, bias);
        let weights = dropout(weights, self.dropout, mode, Site::Attention(number));
        weights
            .matmul(value) // [batch, heads, length, size]
            .swap_dims(1, 2) // [batch, length, heads, size]
            .reshape(shape) // [batch, length, hidden]
    }
}

/// The dense layer that widens, and its activation: `BertIntermediate`.
#[derive(Module, Debug)]
struct Intermediate {
    dense: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Intermediate {
    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let wide = self.dense.forward(hidden); // [batch, length, intermediate]
        match self.activation {
            Activation::Gelu => gelu(wide),
            Activation::GeluNew => gelu_new(wide),
            Activation::Relu => relu(wide),
        }
    }
}

/// Dense, dropout, residual, LayerNorm: `BertSelfOutput` and `BertOutput`.
#[derive(Module, Debug)]
struct Output {
    dense: Linear,
    layer_norm: LayerNorm,
    dropout: f64,
}

impl Output {
    fn unset(inputs: usize, config: &EncoderConfig, device: &Device) -> Output {
        Output {
            dense: linear(inputs, config.hidden_size, device),
            layer_norm: layer_norm(config, device),
            dropout: config.hidden_dropout_prob,
        }
    }

    fn forward(&self, input: Tensor<3>, residual: Tensor<3>, mode: &Mode, site: Site) -> Tensor<3> {
        let dense = dropout(self.dense.forward(input), self.dropout, mode, site); // [batch, length, hidden]
        self.layer_norm.forward(dense + residual)
    }
}

/// tanh of a dense layer over the first token: `BertPooler`.
#[derive(Module, Debug)]
pub(super) struct Pooler {
    dense: Linear,
}

impl Pooler {
    /// `[batch, hidden]` → `[batch, hidden]`.
    pub(super) fn forward(&self, first: Tensor<2>) -> Tensor<2> {
        self.dense.forward(first).tanh()
    }
}

/// Scaled dot-product attention weights, `[batch, heads, length, length]`, from queries and keys
/// `[batch, heads, length, size]` and a bias `[batch, 1, 1, length]`.
fn attention_weights(query: Tensor<4>, key: Tensor<4>, bias: Tensor<4>) -> Tensor<4> {
    let [_, _, _, size] = query.dims();
    let query = query / (size as f64).sqrt();
    let scores = query.matmul(key.swap_dims(2, 3)); // [batch, heads, length, length]
    softmax(scores + bias, 3)
}

/// What is added to attention scores: 0 at real tokens, the lowest float32 at padding; `[batch, 1, 1, length]`.
fn padding_bias(mask: &Tensor<2, Bool>) -> Tensor<4> {
    let [batch, length] = mask.dims();
    Tensor::<2>::zeros([batch, length], &mask.device())
        .mask_fill(mask.clone().bool_not(), f32::MIN)
        .reshape([batch, 1, 1, length]) // [batch, 1, 1, length]
}

/// x Φ(x) with the exact error function, spelled out: burn 0.22's own `gelu` is exact forward, but on most backends its
/// gradient is that of the tanh approximation.
fn gelu(input: Tensor<3>) -> Tensor<3> {
    let twice_phi = (input.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0;
    input * 0.5 * twice_phi
}

/// The tanh approximation, with x³ as a product: a power of a negative number need not be defined on every device.
fn gelu_new(input: Tensor<3>) -> Tensor<3> {
    let cube = input.clone() * input.clone() * input.clone();
    let inner = (input.clone() + cube * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
    input * 0.5 * (inner.tanh() + 1.0)
}

pub(super) fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs).init(device)
}

fn layer_norm(config: &EncoderConfig, device: &Device) -> LayerNorm {
    LayerNormConfig::new(config.hidden_size)
        .with_epsilon(config.layer_norm_eps)
        .init(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_and_its_gradient_are_exact() {
        let device = Device::flex().autodiff();
        let points = [-3.0f32, -1.0, -0.1, 0.0, 0.5, 2.0];
        let input = Tensor::<1>::from_floats(points, &device)
            .reshape([1, 1, 6])
            .require_grad();
        let output = gelu(input.clone());
        let gradients = output.sum().backward();
        let gradient = input
            .grad(&gradients)
            .unwrap()
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        let phi = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        // Φ at the points, from tables.
        let cumulative = [
            0.001_349_898,
            0.158_655_25,
            0.460_172_16,
            0.5,
            0.691_462_46,
            0.977_249_87,
        ];
        for ((x, found), cumulative) in points
            .into_iter()
            .map(f64::from)
            .zip(gradient)
            .zip(cumulative)
        {
            let wanted = cumulative + x * phi(x);
            assert!(
                (f64::from(found) - wanted).abs() < 1e-6,
                "at {x}: {found}, wanted {wanted}"
            );
        }
    }

    #[test]
    fn padding_takes_no_attention() {
        let device = Device::flex();
        let mask = Tensor::<2, Bool>::from_data([[true, true, false]], &device);
        let ones = Tensor::<4>::ones([1, 1, 3, 2], &device);
        let weights = attention_weights(ones.clone(), ones, padding_bias(&mask));
        let weights = weights.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(weights, [0.5, 0.5, 0.0].repeat(3));
    }
}
