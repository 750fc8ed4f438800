//! BERT (Devlin et al., arXiv:1810.04805), in the order of `transformers/models/bert/modeling_bert.py`, and the families
//! that compute the same with small differences.
//!
//! These differences are all in the [`EncoderConfig`]: whether there are segments, where positions begin, whether narrow
//! embeddings are projected to the hidden width (ELECTRA, ALBERT), and which layers are shared (ALBERT).
//!
//! Each struct mirrors the reference's module, and so do the names of its fields: the way from a field's path to the
//! tensor's name in a checkpoint is a few substitutions, all in `names`. The modules hold weights; what they compute is in
//! `kernels`.
//!
//! Hidden states are `[tokens, hidden]` throughout: every token of every text is a row, and the batch's [`Spans`] say
//! which rows are whose. Only attention looks at them here.
//!
//! Promises the reference's numbers in float32 to rounding. Deliberately absent: decoders, cross-attention, caches of keys
//! and values, relative positions.

use std::ops::Range;

use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};

use super::config::{Activation, EncoderConfig};
use super::dropout::{Mode, Site};
use super::layers::{Intermediate, LayerNorm, Linear, Output, apply, linear, lookup, table};
use crate::kernels::{self, Lookup, Spans};

/// Texts as the encoder reads them. The tensors are `[tokens]`, on the device of the model.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Token ids.
    pub ids: Tensor<1, Int>,
    /// The segment of each token: 0, or 1 in the second text of a pair.
    pub type_ids: Tensor<1, Int>,
    /// Which tokens belong to which text; those to none are padding.
    pub spans: Spans,
    /// The token ids on the host: places are counted there.
    counted: Vec<i32>,
    /// What is known of them already.
    pub given: Given,
    /// The tokens of which a head over masked places is asked, as rows of the hidden states.
    asked: Vec<i32>,
}

/// What is known of a batch before the encoder has read it, computed by a part of it that does not change.
#[derive(Debug, Clone)]
pub enum Given {
    Nothing,
    /// The embedding of each token's word, `[tokens, embedding]`, in place of the one that its id has.
    Words(Tensor<2>),
    /// The hidden states after so many layers, `[tokens, hidden]`.
    Hidden {
        layers: usize,
        hidden: Tensor<2>,
    },
    /// The one vector per text that the head makes of the last hidden states, `[texts, hidden]`.
    Pooled(Tensor<2>),
}

impl Batch {
    /// A batch of texts that lie in `ids` and `type_ids` as `spans` say.
    ///
    /// # Panics
    /// When the lengths differ from `spans.rows()`.
    pub fn new(ids: Vec<i32>, type_ids: Vec<i32>, spans: Spans, device: &Device) -> Batch {
        assert_eq!((ids.len(), type_ids.len()), (spans.rows(), spans.rows()));
        Batch {
            ids: Tensor::from_data(ids.as_slice(), device),
            type_ids: Tensor::from_data(type_ids.as_slice(), device),
            spans,
            counted: ids,
            given: Given::Nothing,
            asked: Vec::new(),
        }
    }

    /// The same batch, of which a head over masked places is asked for these tokens, as rows of the hidden states.
    pub fn asking(self, asked: Vec<i32>) -> Batch {
        Batch { asked, ..self }
    }

    /// See [`asking`](Self::asking).
    pub fn asked(&self) -> &[i32] {
        &self.asked
    }

    /// The same batch, of which this is known already.
    pub fn with(self, given: Given) -> Batch {
        Batch { given, ..self }
    }

    /// The embedding of each token's word: the one that its id has in `embedding`, unless the batch knows another.
    pub(super) fn words(&self, embedding: &Embedding) -> Lookup {
        let Given::Words(words) = &self.given else {
            return lookup(embedding, self.ids.clone());
        };
        let own: Vec<i32> = (0..self.spans.rows() as i32).collect();
        Lookup {
            table: words.clone(),
            entries: Tensor::from_data(own.as_slice(), &self.ids.device()),
        }
    }

    /// The row of each token among position embeddings, `[tokens]`: its place in its text, counted from `first`.
    ///
    /// Where `first` is not 0, the row before it is that of the token with this id, padding. In a text, too, such a token
    /// has that row and no place of its own. Source: `create_position_ids_from_input_ids` of transformers' RoBERTa, which
    /// has it from fairseq.
    pub(super) fn positions(&self, first: usize) -> Tensor<1, Int> {
        let first = first as i32;
        let padding = (first > 0).then_some(first - 1);
        let mut positions = vec![padding.unwrap_or(0); self.spans.rows()];
        for text in self.spans.texts() {
            let mut next = first;
            for row in text.clone() {
                if Some(self.counted[row]) != padding {
                    positions[row] = next;
                    next += 1;
                }
            }
        }
        Tensor::from_data(positions.as_slice(), &self.ids.device())
    }
}

/// The encoder: `BertModel` in the reference.
#[derive(Module, Debug)]
pub struct Bert {
    pub(super) embeddings: Embeddings,
    /// From the width of the embeddings to that of the hidden states, where they differ.
    embeddings_project: Option<Linear>,
    encoder: Layers,
    pub(super) pooler: Option<Pooler>,
}

impl Bert {
    /// An encoder whose weights are not yet set: they cost nothing until they are.
    pub(super) fn unset(config: &EncoderConfig, with_pooler: bool, device: &Device) -> Bert {
        Bert {
            embeddings: Embeddings::unset(config, device),
            embeddings_project: config
                .projects
                .then(|| linear(config.embedding_size, config.hidden_size, true, device)),
            encoder: Layers {
                layer: (0..config.layers.held())
                    .map(|_| Layer::unset(config, device))
                    .collect(),
                order: config.layers.order(),
            },
            pooler: with_pooler.then(|| Pooler {
                dense: linear(config.hidden_size, config.hidden_size, true, device),
            }),
        }
    }

    pub(super) fn device(&self) -> Device {
        self.embeddings.word_embeddings.weight.lazy_device()
    }

    /// The embeddings of the vocabulary, `[vocab, embedding]`.
    pub(super) fn words(&self) -> Tensor<2> {
        self.embeddings.word_embeddings.weight.val()
    }

    /// Its linear layers, in an order that does not change.
    pub(super) fn linears(&mut self) -> Vec<&mut Linear> {
        let layers = self.encoder.layer.iter_mut().flat_map(Layer::linears);
        let pooler = self.pooler.as_mut().map(|pooler| &mut pooler.dense);
        let first = self.embeddings_project.as_mut();
        first.into_iter().chain(layers).chain(pooler).collect()
    }

    /// The number of its layers.
    pub(super) fn depth(&self) -> usize {
        self.encoder.order.len()
    }

    /// Which of the blocks that it holds computes a layer.
    pub(super) fn block(&self, layer: usize) -> Option<usize> {
        self.encoder.order.get(layer).copied()
    }

    /// What the first layer is given, `[tokens, hidden]`.
    pub(super) fn embed(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        let embedded = self.embeddings.forward(batch, mode); // [tokens, embedding]
        match &self.embeddings_project {
            Some(project) => apply(project, embedded, mode), // [tokens, hidden]
            None => embedded,
        }
    }

    /// What the layers of these numbers make of what the first of them is given, `[tokens, hidden]`.
    pub(super) fn layers(
        &self,
        layers: Range<usize>,
        hidden: Tensor<2>,
        batch: &Batch,
        mode: &Mode,
    ) -> Tensor<2> {
        layers
            .filter_map(|number| Some((number, self.encoder.at(number)?)))
            .fold(hidden, |hidden, (number, layer)| {
                layer.forward(hidden, &batch.spans, mode, number)
            })
    }

    /// The same up to the last layer, for each text's first token alone, `[texts, hidden]`. Of the last block, only what these
    /// tokens need is computed: keys and values of all tokens, everything else of the first ones.
    pub(super) fn first_after(
        &self,
        layers: usize,
        hidden: Tensor<2>,
        batch: &Batch,
        mode: &Mode,
    ) -> Tensor<2> {
        let below = self.depth().saturating_sub(1);
        let Some(last) = self.encoder.at(below).filter(|_| layers <= below) else {
            return first(hidden, &batch.spans);
        };
        let hidden = self.layers(layers..below, hidden, batch, mode);
        last.forward_first(hidden, &batch.spans, mode, below)
    }

    /// The attention weights of a layer (counted from 0) without dropout, of what it is given,
    /// `[texts, heads, length, length]`; `None` when there is no such layer.
    pub(super) fn attention(
        &self,
        hidden: Tensor<2>,
        batch: &Batch,
        layer: usize,
    ) -> Option<Tensor<4>> {
        let attention = &self.encoder.at(layer)?.attention.self_attention;
        let [query, key, _] = attention.project(hidden, &Mode::EVALUATE);
        Some(kernels::attention_weights(
            query,
            key,
            &batch.spans,
            attention.heads,
        ))
    }
}

/// Word, position and segment embeddings, summed, normalised and dropped out: `BertEmbeddings`.
#[derive(Module, Debug)]
pub(super) struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    /// Absent in families that do not tell the two texts of a pair apart.
    token_type_embeddings: Option<Embedding>,
    layer_norm: LayerNorm,
    dropout: f64,
    /// The row of the first token's position.
    first_position: usize,
}

impl Embeddings {
    fn unset(config: &EncoderConfig, device: &Device) -> Embeddings {
        let table = |rows| table(rows, config.embedding_size, device);
        Embeddings {
            word_embeddings: table(config.vocab_size),
            position_embeddings: table(config.max_position_embeddings),
            token_type_embeddings: (config.type_vocab_size > 0)
                .then(|| table(config.type_vocab_size)),
            layer_norm: LayerNorm::unset(
                config.embedding_size,
                config.layer_norm_eps,
                true,
                device,
            ),
            dropout: config.hidden_dropout_prob,
            first_position: config.first_position,
        }
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        let positions = batch.positions(self.first_position);
        kernels::embedding_layer_norm_dropout(
            batch.words(&self.word_embeddings),
            lookup(&self.position_embeddings, positions),
            self.segments(batch),
            self.layer_norm.norm(),
            mode.dropout(self.dropout, Site::Embeddings),
        )
    }

    /// The segments of the batch. Where the family knows no two of them, a pair's second text is in the first's.
    fn segments(&self, batch: &Batch) -> Lookup {
        let words = &self.word_embeddings.weight;
        let Some(segments) = &self.token_type_embeddings else {
            let width = words.lazy_shape().last().copied().unwrap_or_default();
            return Lookup {
                table: Tensor::zeros([1, width], &words.val().device()),
                entries: batch.type_ids.zeros_like(),
            };
        };
        let table = segments.weight.val();
        let entries = match table.dims() {
            [1, _] => batch.type_ids.zeros_like(),
            _ => batch.type_ids.clone(),
        };
        Lookup { table, entries }
    }
}

/// The blocks, one after the other: `BertEncoder`.
#[derive(Module, Debug)]
struct Layers {
    layer: Vec<Layer>,
    /// Which of them computes each layer: one may compute several.
    #[module(skip)]
    order: Vec<usize>,
}

impl Layers {
    /// What computes the layer of that number; `None` when there is no such layer.
    fn at(&self, number: usize) -> Option<&Layer> {
        self.layer.get(*self.order.get(number)?)
    }
}

/// One block: `BertLayer`.
#[derive(Module, Debug)]
struct Layer {
    attention: Attention,
    intermediate: Intermediate,
    output: Output,
}

impl Layer {
    fn linears(&mut self) -> [&mut Linear; 6] {
        let Attention {
            self_attention,
            output,
        } = &mut self.attention;
        [
            &mut self_attention.query,
            &mut self_attention.key,
            &mut self_attention.value,
            &mut output.dense,
            &mut self.intermediate.dense,
            &mut self.output.dense,
        ]
    }

    fn unset(config: &EncoderConfig, device: &Device) -> Layer {
        let (width, wide) = (config.hidden_size, config.intermediate_size);
        let output = |inputs, dropout| {
            Output::unset([inputs, width], config.layer_norm_eps, dropout, device)
        };
        Layer {
            attention: Attention {
                self_attention: SelfAttention::unset(config, device),
                output: output(width, config.hidden_dropout_prob),
            },
            intermediate: Intermediate::unset(width, wide, config.hidden_act, device),
            output: output(wide, config.output_dropout),
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
        self.after_attention(context, firsts, &mode.of_texts(), number)
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
        let wide = self.intermediate.forward(hidden.clone(), mode); // [rows, intermediate]
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
        let square = || linear(config.hidden_size, config.hidden_size, true, device);
        SelfAttention {
            query: square(),
            key: square(),
            value: square(),
            heads: config.num_attention_heads,
            dropout: config.attention_probs_dropout_prob,
        }
    }

    /// Queries, keys and values, each `[tokens, hidden]`.
    fn project(&self, hidden: Tensor<2>, mode: &Mode) -> [Tensor<2>; 3] {
        [&self.query, &self.key, &self.value]
            .map(|projection| apply(projection, hidden.clone(), mode))
    }

    fn forward(&self, hidden: Tensor<2>, spans: &Spans, mode: &Mode, number: usize) -> Tensor<2> {
        let inputs = self.project(hidden, mode);
        let dropout = mode.dropout(self.dropout, Site::Attention(number));
        kernels::attention(inputs, spans, self.heads, dropout, mode.precision())
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
        let (of_texts, precision) = (mode.of_texts(), mode.precision());
        let query = apply(&self.query, firsts, &of_texts); // [texts, hidden]
        let [key, value] =
            [&self.key, &self.value].map(|projection| apply(projection, hidden.clone(), mode));
        let dropout = of_texts.dropout(self.dropout, Site::Attention(number));
        kernels::attention_of_first([query, key, value], spans, self.heads, dropout, precision)
    }
}

/// tanh of a dense layer over the first token: `BertPooler`.
#[derive(Module, Debug)]
pub(super) struct Pooler {
    dense: Linear,
}

impl Pooler {
    /// `[texts, hidden]` → `[texts, hidden]`.
    pub(super) fn forward(&self, first: Tensor<2>, mode: &Mode) -> Tensor<2> {
        apply(&self.dense, first, mode).tanh()
    }
}

/// The first token of each text: `[tokens, hidden]` → `[texts, hidden]`.
pub(super) fn first(hidden: Tensor<2>, spans: &Spans) -> Tensor<2> {
    let starts: Vec<i32> = spans.texts().iter().map(|text| text.start as i32).collect();
    let starts =
        Tensor::<1, Int>::from_data(starts.as_slice(), &hidden.device().without_autodiff());
    hidden.select(0, starts)
}

impl Activation {
    /// Of each number.
    pub(super) fn of(self, input: Tensor<2>) -> Tensor<2> {
        match self {
            Activation::Gelu => kernels::gelu(input),
            Activation::GeluNew => gelu_new(input),
            Activation::Relu => relu(input),
            Activation::Tanh => input.tanh(),
        }
    }
}

/// The tanh approximation, with x³ as a product: a power of a negative number need not be defined on every device.
fn gelu_new(input: Tensor<2>) -> Tensor<2> {
    let cube = input.clone() * input.clone() * input.clone();
    let inner = (input.clone() + cube * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
    input * 0.5 * (inner.tanh() + 1.0)
}
