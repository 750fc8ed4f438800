//! BERT (Devlin et al., arXiv:1810.04805), in the order of `transformers/models/bert/modeling_bert.py`.
//!
//! Each struct mirrors the reference's module, and so do the names of its fields: the way from a field's path to the
//! tensor's name in a checkpoint is a few substitutions, all in `parameters`. The modules hold weights; what they
//! compute is in `kernels`.
//!
//! Hidden states are `[tokens, hidden]` throughout: every token of every text is a row, and the batch's [`Spans`] say
//! which rows are whose. Only attention looks at them here.
//!
//! Promises the reference's numbers in float32 to rounding. Deliberately absent: decoders, cross-attention, caches of keys
//! and values, relative positions.

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};

use super::config::{Activation, EncoderConfig};
use super::dropout::{Mode, Site};
use crate::kernels::{self, Lookup, Norm, Spans};

/// Texts as the encoder reads them. The tensors are `[tokens]`, on the device of the model.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Token ids.
    pub ids: Tensor<1, Int>,
    /// The segment of each token: 0, or 1 in the second text of a pair.
    pub type_ids: Tensor<1, Int>,
    /// The place of each token in its text, from 0.
    pub positions: Tensor<1, Int>,
    /// Which tokens belong to which text; those to none are padding.
    pub spans: Spans,
}

impl Batch {
    /// A batch of texts that lie in `ids` and `type_ids` as `spans` say.
    ///
    /// # Panics
    /// When the lengths differ from `spans.rows()`.
    pub fn new(ids: Vec<i32>, type_ids: Vec<i32>, spans: Spans, device: &Device) -> Batch {
        assert_eq!((ids.len(), type_ids.len()), (spans.rows(), spans.rows()));
        let mut positions = vec![0; spans.rows()];
        for text in spans.texts() {
            for (place, position) in positions[text.clone()].iter_mut().enumerate() {
                *position = place as i32;
            }
        }
        let tensor = |values: Vec<i32>| Tensor::from_data(values.as_slice(), device);
        Batch {
            ids: tensor(ids),
            type_ids: tensor(type_ids),
            positions: tensor(positions),
            spans,
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

    /// The last hidden state, `[tokens, hidden]`; of no meaning at padding.
    pub fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        self.below(self.encoder.layer.len(), batch, mode)
    }

    /// The last hidden state of each text's first token, `[texts, hidden]`. Of the last block, only what these tokens need
    /// is computed: keys and values of all tokens, everything else of the first ones.
    pub fn first(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        let Some((last, below)) = self.encoder.layer.split_last() else {
            return first(self.forward(batch, mode), &batch.spans);
        };
        let hidden = self.below(below.len(), batch, mode);
        last.forward_first(hidden, &batch.spans, mode, below.len())
    }

    /// The attention weights of a layer (counted from 0) without dropout, `[texts, heads, length, length]`; `None` when
    /// there is no such layer.
    pub fn attention(&self, batch: &Batch, layer: usize) -> Option<Tensor<4>> {
        let attention = &self.encoder.layer.get(layer)?.attention.self_attention;
        let hidden = self.below(layer, batch, &Mode::Evaluate);
        let [query, key, _] = attention.project(hidden);
        Some(kernels::attention_weights(
            query,
            key,
            &batch.spans,
            attention.heads,
        ))
    }

    /// What the first `layers` layers give, `[tokens, hidden]`.
    fn below(&self, layers: usize, batch: &Batch, mode: &Mode) -> Tensor<2> {
        let embedded = self.embeddings.forward(batch, mode);
        self.encoder.layer[..layers]
            .iter()
            .enumerate()
            .fold(embedded, |hidden, (number, layer)| {
                layer.forward(hidden, &batch.spans, mode, number)
            })
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
            layer_norm: LayerNorm::unset(config, device),
            dropout: config.hidden_dropout_prob,
        }
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        let lookup = |embedding: &Embedding, entries: &Tensor<1, Int>| Lookup {
            table: embedding.weight.val(),
            entries: entries.clone(),
        };
        kernels::embedding_layer_norm_dropout(
            lookup(&self.word_embeddings, &batch.ids),
            lookup(&self.position_embeddings, &batch.positions),
            lookup(&self.token_type_embeddings, &batch.type_ids),
            self.layer_norm.norm(),
            mode.dropout(self.dropout, Site::Embeddings),
        )
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

    fn forward(&self, hidden: Tensor<2>, spans: &Spans, mode: &Mode, number: usize) -> Tensor<2> {
        let context = self
            .attention
            .self_attention
            .forward(hidden.clone(), spans, mode, number);
        self.after_attention(context, hidden, mode, number)
    }

    /// What [`forward`](Self::forward) gives for the first token of each text, `[texts, hidden]`.
    fn forward_first(
        &self,
        hidden: Tensor<2>,
        spans: &Spans,
        mode: &Mode,
        number: usize,
    ) -> Tensor<2> {
        let firsts = first(hidden.clone(), spans);
        let attention = &self.attention.self_attention;
        let context = attention.forward_first(firsts.clone(), hidden, spans, mode, number);
        self.after_attention(context, firsts, mode, number)
    }

    /// From what attention gave and what it was given, of the same rows.
    fn after_attention(
        &self,
        context: Tensor<2>,
        hidden: Tensor<2>,
        mode: &Mode,
        number: usize,
    ) -> Tensor<2> {
        let hidden =
            self.attention
                .output
                .forward(context, hidden, mode, Site::AttentionOutput(number));
        let wide = self.intermediate.forward(hidden.clone()); // [rows, intermediate]
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

    /// Queries, keys and values, each `[tokens, hidden]`.
    fn project(&self, hidden: Tensor<2>) -> [Tensor<2>; 3] {
        [&self.query, &self.key, &self.value].map(|projection| apply(projection, hidden.clone()))
    }

    fn forward(&self, hidden: Tensor<2>, spans: &Spans, mode: &Mode, number: usize) -> Tensor<2> {
        let [query, key, value] = self.project(hidden);
        let dropout = mode.dropout(self.dropout, Site::Attention(number));
        kernels::attention(query, key, value, spans, self.heads, dropout)
    }

    /// What each text's first token attends to: `firsts` `[texts, hidden]` over `hidden` `[tokens, hidden]`.
    fn forward_first(
        &self,
        firsts: Tensor<2>,
        hidden: Tensor<2>,
        spans: &Spans,
        mode: &Mode,
        number: usize,
    ) -> Tensor<2> {
        let query = apply(&self.query, firsts); // [texts, hidden]
        let [key, value] =
            [&self.key, &self.value].map(|projection| apply(projection, hidden.clone()));
        let dropout = mode.dropout(self.dropout, Site::Attention(number));
        kernels::attention_of_first(query, key, value, spans, self.heads, dropout)
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
    fn forward(&self, hidden: Tensor<2>) -> Tensor<2> {
        let wide = apply(&self.dense, hidden); // [tokens, intermediate]
        match self.activation {
            Activation::Gelu => kernels::gelu(wide),
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
            layer_norm: LayerNorm::unset(config, device),
            dropout: config.hidden_dropout_prob,
        }
    }

    fn forward(&self, input: Tensor<2>, residual: Tensor<2>, mode: &Mode, site: Site) -> Tensor<2> {
        let dense = apply(&self.dense, input); // [tokens, hidden]
        let dropout = mode.dropout(self.dropout, site);
        kernels::dropout_add_layer_norm(dense, residual, self.layer_norm.norm(), dropout)
    }
}

/// Scale and shift over the hidden dimension, `[hidden]` each.
#[derive(Module, Debug)]
struct LayerNorm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    fn unset(config: &EncoderConfig, device: &Device) -> LayerNorm {
        LayerNorm {
            gamma: Initializer::Ones.init([config.hidden_size], device),
            beta: Initializer::Zeros.init([config.hidden_size], device),
            epsilon: config.layer_norm_eps,
        }
    }

    fn norm(&self) -> Norm {
        Norm {
            gamma: self.gamma.val(),
            beta: self.beta.val(),
            epsilon: self.epsilon,
        }
    }
}

/// tanh of a dense layer over the first token: `BertPooler`.
#[derive(Module, Debug)]
pub(super) struct Pooler {
    dense: Linear,
}

impl Pooler {
    /// `[texts, hidden]` → `[texts, hidden]`.
    pub(super) fn forward(&self, first: Tensor<2>) -> Tensor<2> {
        apply(&self.dense, first).tanh()
    }
}

/// The first token of each text: `[tokens, hidden]` → `[texts, hidden]`.
pub(super) fn first(hidden: Tensor<2>, spans: &Spans) -> Tensor<2> {
    let starts: Vec<i32> = spans.texts().iter().map(|text| text.start as i32).collect();
    let starts =
        Tensor::<1, Int>::from_data(starts.as_slice(), &hidden.device().without_autodiff());
    hidden.select(0, starts)
}

/// The tanh approximation, with x³ as a product: a power of a negative number need not be defined on every device.
fn gelu_new(input: Tensor<2>) -> Tensor<2> {
    let cube = input.clone() * input.clone() * input.clone();
    let inner = (input.clone() + cube * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
    input * 0.5 * (inner.tanh() + 1.0)
}

pub(super) fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs).init(device)
}

/// `[rows, inputs]` → `[rows, outputs]`.
pub(super) fn apply(layer: &Linear, input: Tensor<2>) -> Tensor<2> {
    let bias = layer
        .bias
        .as_ref()
        .expect("every linear layer here has a bias");
    kernels::linear(input, layer.weight.val(), bias.val())
}
