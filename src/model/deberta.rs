//! DeBERTa v2 and v3 (He et al., arXiv:2006.03654 and arXiv:2111.09543), in the order of
//! `transformers/models/deberta_v2/modeling_deberta_v2.py`.
//!
//! Against BERT: distances between tokens have embeddings of their own, of which every layer makes keys and queries. The
//! score of a pair of tokens has up to three terms: content with content, the query's content with the key's distance
//! (`c2p`), and the key's content with the query's distance (`p2c`). Far distances share an embedding where
//! `position_buckets` is given. v2-xlarge has a convolution beside its first layer.
//!
//! Promises the reference's numbers in float32 to rounding. Deliberately absent: DeBERTa v1, whose attention has other
//! biases, and the enhanced mask decoder.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::nn::{Embedding, Initializer};
use burn::tensor::{Device, Int, Tensor};

use super::bert::Batch;
use super::config::Activation;
use super::dropout::{Mode, Site};
use super::layers::{Intermediate, LayerNorm, Linear, Output, apply, linear, lookup, table};
use crate::kernels::{self, Distance, Lookup, Spans, Vectors};

mod config;

use config::Buckets;
pub use config::{DebertaConfig, Terms};

/// The encoder: `DebertaV2Model` in the reference.
#[derive(Module, Debug)]
pub struct Deberta {
    embeddings: Embeddings,
    encoder: Encoder,
}

impl Deberta {
    /// An encoder whose weights are not yet set: they cost nothing until they are.
    pub fn unset(config: &DebertaConfig, device: &Device) -> Deberta {
        Deberta {
            embeddings: Embeddings::unset(config, device),
            encoder: Encoder::unset(config, device),
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
        let layers = self.encoder.layer.iter_mut().flat_map(Layer::linears);
        let first = self.embeddings.embed_proj.as_mut();
        first.into_iter().chain(layers).collect()
    }

    /// The number of its layers.
    pub(super) fn depth(&self) -> usize {
        self.encoder.layer.len()
    }

    /// What the first layer is given, `[tokens, hidden]`.
    pub(super) fn embed(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        self.embeddings.forward(batch, mode)
    }

    /// What the layers of these numbers make of what the first of them is given, `[tokens, hidden]`. The convolution is part
    /// of the first layer.
    pub(super) fn layers(
        &self,
        layers: Range<usize>,
        given: Tensor<2>,
        batch: &Batch,
        mode: &Mode,
    ) -> Tensor<2> {
        let distances = self.encoder.distances(&batch.spans);
        let numbered = self.encoder.layer.iter().enumerate();
        let mut hidden = given.clone();
        for (number, layer) in numbered.skip(layers.start).take(layers.len()) {
            hidden = layer.forward(hidden, distances.as_ref(), &batch.spans, mode, number);
            if number == 0
                && let Some(conv) = &self.encoder.conv
            {
                hidden = conv.forward(given.clone(), hidden, &batch.spans, mode);
            }
        }
        hidden
    }

    /// The attention weights of a layer (counted from 0) without dropout, of what it is given,
    /// `[texts, heads, length, length]`; `None` when there is no such layer.
    pub(super) fn attention(
        &self,
        hidden: Tensor<2>,
        batch: &Batch,
        layer: usize,
    ) -> Option<Tensor<4>> {
        let attention = &self.encoder.layer.get(layer)?.attention.self_attention;
        let distances = self.encoder.distances(&batch.spans);
        let distance = attention.distance(distances.as_ref(), &Mode::EVALUATE, layer);
        let [query, key] = attention.query_and_key(hidden, &distance, &Mode::EVALUATE);
        Some(kernels::attention_weights_by_distance(
            query,
            key,
            &distance,
            &batch.spans,
            attention.heads,
        ))
    }
}

/// Words, and positions and segments where they have embeddings, summed, projected where they are narrower than the hidden
/// states, normalised and dropped out: `DebertaV2Embeddings`.
#[derive(Module, Debug)]
struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Option<Embedding>,
    token_type_embeddings: Option<Embedding>,
    embed_proj: Option<Linear>,
    layer_norm: LayerNorm,
    dropout: f64,
    width: usize,
}

impl Embeddings {
    fn unset(config: &DebertaConfig, device: &Device) -> Embeddings {
        let (width, hidden) = (config.embedding_size(), config.hidden_size);
        let table = |rows| table(rows, width, device);
        Embeddings {
            word_embeddings: table(config.vocab_size),
            position_embeddings: config
                .position_biased_input
                .then(|| table(config.max_position_embeddings)),
            token_type_embeddings: (config.type_vocab_size > 0)
                .then(|| table(config.type_vocab_size)),
            embed_proj: (width != hidden).then(|| linear(width, hidden, false, device)),
            layer_norm: LayerNorm::unset(hidden, config.layer_norm_eps, true, device),
            dropout: config.hidden_dropout_prob,
            width,
        }
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        let none = || Lookup::zeros(batch.spans.rows(), self.width, &batch.ids.device());
        let optional = |embedding: &Option<Embedding>, entries: &dyn Fn() -> Tensor<1, Int>| {
            let embedding = embedding.as_ref();
            embedding.map_or_else(none, |embedding| lookup(embedding, entries()))
        };
        let words = batch.words(&self.word_embeddings);
        let positions = optional(&self.position_embeddings, &|| batch.positions(0));
        let segments = optional(&self.token_type_embeddings, &|| batch.type_ids.clone());
        let dropout = mode.dropout(self.dropout, Site::Embeddings);
        let norm = self.layer_norm.norm();
        let Some(projection) = &self.embed_proj else {
            return kernels::embedding_layer_norm_dropout(
                words, positions, segments, norm, dropout,
            );
        };
        let [words, positions, segments] =
            [words, positions, segments].map(|lookup| lookup.table.select(0, lookup.entries)); // [tokens, embedding]
        let hidden = apply(projection, words + positions + segments, mode); // [tokens, hidden]
        kernels::dropout(kernels::layer_norm(hidden, norm), dropout)
    }
}

/// The blocks, the embeddings of distances, and the convolution: `DebertaV2Encoder`.
#[derive(Module, Debug)]
struct Encoder {
    layer: Vec<Layer>,
    rel_embeddings: Option<Embedding>,
    layer_norm: Option<LayerNorm>,
    conv: Option<Convolution>,
    #[module(skip)]
    buckets: Option<Buckets>,
}

/// The embeddings of distances, and which of them the distances within a batch's texts have.
struct Distances {
    /// `[2 * span, hidden]`.
    embeddings: Tensor<2>,
    /// The rows in use, all from the first to the last of them.
    rows: std::ops::Range<usize>,
    /// Counted from the first one in use, by distance: `[2 * length - 1]`.
    by_distance: Tensor<1, Int>,
}

impl Encoder {
    fn unset(config: &DebertaConfig, device: &Device) -> Encoder {
        let (width, epsilon) = (config.hidden_size, config.layer_norm_eps);
        let buckets = config.distances();
        Encoder {
            layer: (0..config.num_hidden_layers)
                .map(|_| Layer::unset(config, device))
                .collect(),
            rel_embeddings: buckets.map(|buckets| table(2 * buckets.span(), width, device)),
            layer_norm: config
                .normalises_distances()
                .then(|| LayerNorm::unset(width, epsilon, true, device)),
            conv: (config.conv_kernel_size > 0).then(|| Convolution::unset(config, device)),
            buckets,
        }
    }

    fn distances(&self, spans: &Spans) -> Option<Distances> {
        let (buckets, embeddings) = (self.buckets?, self.rel_embeddings.as_ref()?);
        let embeddings = embeddings.weight.val(); // [2 * span, hidden]
        let embeddings = match &self.layer_norm {
            Some(norm) => norm.forward(embeddings),
            None => embeddings,
        };
        let length = spans.length() as i64;
        // The kernel's distances are those of the key from the query, the reference's the other way round.
        let rows: Vec<usize> = (1 - length..length)
            .map(|distance| buckets.row(-distance))
            .collect();
        let (first, last) = (
            rows.iter().min().copied().unwrap_or(0),
            rows.iter().max().copied().unwrap_or(0),
        );
        let by_distance: Vec<i32> = rows.iter().map(|row| (row - first) as i32).collect();
        let device = embeddings.device().without_autodiff();
        Some(Distances {
            embeddings,
            rows: first..last + 1,
            by_distance: Tensor::from_data(by_distance.as_slice(), &device),
        })
    }
}

/// One block: `DebertaV2Layer`.
#[derive(Module, Debug)]
struct Layer {
    attention: Attention,
    intermediate: Intermediate,
    output: Output,
}

impl Layer {
    fn linears(&mut self) -> Vec<&mut Linear> {
        let Attention {
            self_attention,
            output,
        } = &mut self.attention;
        let content = [
            &mut self_attention.query_proj,
            &mut self_attention.key_proj,
            &mut self_attention.value_proj,
        ];
        let (key, query) = (
            &mut self_attention.pos_key_proj,
            &mut self_attention.pos_query_proj,
        );
        let dense = [
            &mut output.dense,
            &mut self.intermediate.dense,
            &mut self.output.dense,
        ];
        let content = content.into_iter().chain(key).chain(query);
        content.chain(dense).collect()
    }

    fn unset(config: &DebertaConfig, device: &Device) -> Layer {
        let (width, wide) = (config.hidden_size, config.intermediate_size);
        let output = |inputs| {
            let dropout = config.hidden_dropout_prob;
            Output::unset([inputs, width], config.layer_norm_eps, dropout, device)
        };
        Layer {
            attention: Attention {
                self_attention: SelfAttention::unset(config, device),
                output: output(width),
            },
            intermediate: Intermediate::unset(width, wide, config.hidden_act, device),
            output: output(wide),
        }
    }

    fn forward(
        &self,
        hidden: Tensor<2>,
        distances: Option<&Distances>,
        spans: &Spans,
        mode: &Mode,
        number: usize,
    ) -> Tensor<2> {
        let attention = &self.attention.self_attention;
        let context = attention.forward(hidden.clone(), distances, spans, mode, number);
        let site = Site::AttentionOutput(number);
        let hidden = self.attention.output.forward(context, hidden, mode, site);
        let wide = self.intermediate.forward(hidden.clone(), mode); // [tokens, intermediate]
        self.output
            .forward(wide, hidden, mode, Site::Output(number))
    }
}

/// Self-attention and what follows it up to the first LayerNorm: `DebertaV2Attention`.
#[derive(Module, Debug)]
struct Attention {
    self_attention: SelfAttention,
    output: Output,
}

/// `DisentangledSelfAttention`.
#[derive(Module, Debug)]
struct SelfAttention {
    query_proj: Linear,
    key_proj: Linear,
    value_proj: Linear,
    /// Make keys and queries of distances where those of content do not.
    pos_key_proj: Option<Linear>,
    pos_query_proj: Option<Linear>,
    heads: usize,
    dropout: f64,
    /// Of the embeddings of distances.
    pos_dropout: f64,
    #[module(skip)]
    terms: Terms,
}

impl SelfAttention {
    fn unset(config: &DebertaConfig, device: &Device) -> SelfAttention {
        let square = || linear(config.hidden_size, config.hidden_size, true, device);
        let (terms, own) = (
            config.pos_att_type,
            config.relative_attention && !config.share_att_key,
        );
        SelfAttention {
            query_proj: square(),
            key_proj: square(),
            value_proj: square(),
            pos_key_proj: (own && terms.c2p).then(square),
            pos_query_proj: (own && terms.p2c).then(square),
            heads: config.num_attention_heads,
            dropout: config.attention_probs_dropout_prob,
            pos_dropout: config.hidden_dropout_prob,
            terms,
        }
    }

    /// The vectors of the distances within the batch's texts.
    fn distance(&self, distances: Option<&Distances>, mode: &Mode, number: usize) -> Distance {
        let Some(distances) = distances.filter(|_| self.terms.count() > 0) else {
            return Distance::Ignored;
        };
        // The rows are distances, not tokens.
        let mode = &mode.of_batch();
        let dropout = mode.dropout(self.pos_dropout, Site::Distances(number));
        let embeddings = kernels::dropout(distances.embeddings.clone(), dropout) // [2 * span, hidden]
            .narrow(0, distances.rows.start, distances.rows.len()); // [rows in use, hidden]
        let vectors = |own: &Option<Linear>, shared: &Linear| {
            let projection = own.as_ref().unwrap_or(shared);
            apply(projection, embeddings.clone(), mode).select(0, distances.by_distance.clone()) // [2 * length - 1, hidden]
        };
        Distance::Disentangled(Vectors {
            keys: (self.terms.c2p).then(|| vectors(&self.pos_key_proj, &self.key_proj)),
            queries: (self.terms.p2c).then(|| vectors(&self.pos_query_proj, &self.query_proj)),
        })
    }

    /// Queries and keys, each `[tokens, hidden]`. The reference divides scores by the number of the configured terms, and
    /// does so as well where distances have no embeddings.
    fn query_and_key(&self, hidden: Tensor<2>, distance: &Distance, mode: &Mode) -> [Tensor<2>; 2] {
        let query = apply(&self.query_proj, hidden.clone(), mode);
        let query = match distance {
            Distance::Ignored if self.terms.count() > 0 => {
                query / ((1 + self.terms.count()) as f64).sqrt()
            }
            _ => query,
        };
        [query, apply(&self.key_proj, hidden, mode)]
    }

    fn forward(
        &self,
        hidden: Tensor<2>,
        distances: Option<&Distances>,
        spans: &Spans,
        mode: &Mode,
        number: usize,
    ) -> Tensor<2> {
        let distance = self.distance(distances, mode, number);
        let precision = mode.precision();
        let value = apply(&self.value_proj, hidden.clone(), mode);
        let [query, key] = self.query_and_key(hidden, &distance, mode);
        let dropout = mode.dropout(self.dropout, Site::Attention(number));
        let inputs = [query, key, value];
        kernels::attention_by_distance(inputs, &distance, spans, self.heads, dropout, precision)
    }
}

/// A convolution over the embedded tokens, whose result is added to the first layer's: `ConvLayer`.
#[derive(Module, Debug)]
struct Convolution {
    conv: Kernel,
    layer_norm: LayerNorm,
    dropout: f64,
    #[module(skip)]
    activation: Activation,
}

/// What each token takes of itself and its neighbours: `nn.Conv1d`.
#[derive(Module, Debug)]
struct Kernel {
    /// `[outputs, inputs, neighbours]`, as in a checkpoint.
    weight: Param<Tensor<3>>,
    bias: Param<Tensor<1>>,
}

impl Convolution {
    fn unset(config: &DebertaConfig, device: &Device) -> Convolution {
        let width = config.hidden_size;
        Convolution {
            conv: Kernel {
                weight: Initializer::Zeros.init([width, width, config.conv_kernel_size], device),
                bias: Initializer::Zeros.init([width], device),
            },
            layer_norm: LayerNorm::unset(width, config.layer_norm_eps, true, device),
            dropout: config.hidden_dropout_prob,
            activation: config.conv_act,
        }
    }

    /// Of `embedded` and what the first layer made of it, both `[tokens, hidden]`.
    fn forward(
        &self,
        embedded: Tensor<2>,
        hidden: Tensor<2>,
        spans: &Spans,
        mode: &Mode,
    ) -> Tensor<2> {
        let weight = self.conv.weight.val(); // [outputs, inputs, neighbours]
        let [outputs, inputs, neighbours] = weight.dims();
        let weight = weight
            .permute([2, 1, 0]) // [neighbours, inputs, outputs]
            .reshape([neighbours * inputs, outputs]); // [neighbours * inputs, outputs]
        let seen = beside(embedded, neighbours, spans); // [tokens, neighbours * inputs]
        let mixed = kernels::linear(seen, weight, self.conv.bias.val(), mode.precision()); // [tokens, hidden]
        let dropped = kernels::dropout(mixed, mode.dropout(self.dropout, Site::Convolution));
        kernels::dropout_add_layer_norm(
            self.activation.of(dropped),
            hidden,
            self.layer_norm.norm(),
            kernels::Dropout::NONE,
        )
    }
}

/// Each token beside its neighbours in the same text, zeros beyond its ends:
/// `[tokens, width]` → `[tokens, neighbours * width]`.
fn beside(hidden: Tensor<2>, neighbours: usize, spans: &Spans) -> Tensor<2> {
    let [rows, width] = hidden.dims();
    let zeros = Tensor::zeros([1, width], &hidden.device());
    let padded = Tensor::cat(vec![hidden, zeros], 0); // [tokens + 1, width]
    let device = padded.device().without_autodiff();
    let before = neighbours / 2;
    let columns = (0..neighbours).map(|neighbour| {
        let mut from = vec![rows as i32; rows];
        for text in spans.texts() {
            for row in text.clone() {
                let there = (row + neighbour).checked_sub(before);
                if let Some(there) = there.filter(|there| text.contains(there)) {
                    from[row] = there as i32;
                }
            }
        }
        let from = Tensor::<1, Int>::from_data(from.as_slice(), &device);
        padded.clone().select(0, from) // [tokens, width]
    });
    Tensor::cat(columns.collect(), 1) // [tokens, neighbours * width]
}
