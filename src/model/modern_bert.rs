//! ModernBERT (Warner et al., arXiv:2412.13663), in the order of `transformers/models/modernbert/modeling_modernbert.py`.
//!
//! Against BERT: positions turn queries and keys instead of being added to the words; most layers look only at near
//! tokens, every third at all; LayerNorm comes before attention and before the dense part instead of after; the dense part
//! multiplies one half of the wide vector with the activated other (GeGLU); and as a rule nothing has a bias.
//!
//! Promises the reference's numbers in float32 to rounding. Deliberately absent: scaled rotary frequencies.

use std::ops::Range;

use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Device, Tensor};

use super::bert::Batch;
use super::config::Activation;
use super::dropout::{Mode, Site};
use super::layers::{LayerNorm, Linear, apply, linear, table};
use crate::kernels::{self, Distance, Lookup, Rotary, Spans};

mod config;

pub use config::{ClassifierPooling, LayerType, ModernBertConfig, Rope, RopeParameters};

/// The encoder: `ModernBertModel` in the reference.
#[derive(Module, Debug)]
pub struct ModernBert {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    #[module(skip)]
    thetas: Thetas,
}

/// The bases of the rotary frequencies in layers of either type, and the size of a head.
#[derive(Debug, Clone, Copy)]
struct Thetas {
    full: f64,
    sliding: f64,
    size: usize,
}

/// By which angles the rows of a batch are turned in layers of either type.
struct Turns {
    full: Rotary,
    sliding: Rotary,
}

impl ModernBert {
    /// An encoder whose weights are not yet set: they cost nothing until they are.
    pub fn unset(config: &ModernBertConfig, device: &Device) -> ModernBert {
        ModernBert {
            embeddings: Embeddings {
                tok_embeddings: table(config.vocab_size, config.hidden_size, device),
                norm: norm(config, device),
                dropout: config.embedding_dropout,
                width: config.hidden_size,
            },
            layers: (0..config.num_hidden_layers)
                .map(|number| Layer::unset(config, number, device))
                .collect(),
            final_norm: norm(config, device),
            thetas: Thetas {
                full: config.theta(LayerType::Full),
                sliding: config.theta(LayerType::Sliding),
                size: config.hidden_size / config.num_attention_heads,
            },
        }
    }

    /// The device that the weights are on, with or without autodiff as they are.
    pub fn device(&self) -> Device {
        self.embeddings.tok_embeddings.weight.lazy_device()
    }

    /// The embeddings of the vocabulary, `[vocab, embedding]`.
    pub(super) fn words(&self) -> Tensor<2> {
        self.embeddings.tok_embeddings.weight.val()
    }

    /// Its linear layers, in an order that does not change.
    pub(super) fn linears(&mut self) -> Vec<&mut Linear> {
        self.layers.iter_mut().flat_map(Layer::linears).collect()
    }

    /// The number of its layers.
    pub(super) fn depth(&self) -> usize {
        self.layers.len()
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
        let turns = self.turns(&batch.spans);
        let numbered = self.layers.iter().enumerate();
        let chosen = numbered.skip(layers.start).take(layers.len());
        chosen.fold(hidden, |hidden, (number, layer)| {
            layer.forward(hidden, &turns, &batch.spans, mode, number)
        })
    }

    /// What the last layer gives → the last hidden states, of the same rows.
    pub(super) fn finish(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.final_norm.forward(hidden)
    }

    /// The attention weights of a layer (counted from 0) without dropout, of what it is given,
    /// `[texts, heads, length, length]`; `None` when there is no such layer.
    pub(super) fn attention(
        &self,
        hidden: Tensor<2>,
        batch: &Batch,
        layer: usize,
    ) -> Option<Tensor<4>> {
        let of = self.layers.get(layer)?;
        let turns = self.turns(&batch.spans);
        let [query, key, _] = of
            .attn
            .project(of.before_attention(hidden), &turns, &Mode::EVALUATE);
        Some(kernels::attention_weights_by_distance(
            query,
            key,
            &of.attn.distance(),
            &batch.spans,
            of.attn.heads,
        ))
    }

    fn turns(&self, spans: &Spans) -> Turns {
        let Thetas {
            full,
            sliding,
            size,
        } = self.thetas;
        Turns {
            full: Rotary::new(spans, size, full),
            sliding: Rotary::new(spans, size, sliding),
        }
    }
}

fn norm(config: &ModernBertConfig, device: &Device) -> LayerNorm {
    LayerNorm::unset(
        config.hidden_size,
        config.norm_eps,
        config.norm_bias,
        device,
    )
}

/// Word embeddings, normalised and dropped out: `ModernBertEmbeddings`.
#[derive(Module, Debug)]
struct Embeddings {
    tok_embeddings: Embedding,
    norm: LayerNorm,
    dropout: f64,
    width: usize,
}

impl Embeddings {
    fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        let none = Lookup::zeros(batch.spans.rows(), self.width, &batch.ids.device());
        kernels::embedding_layer_norm_dropout(
            batch.words(&self.tok_embeddings),
            none.clone(),
            none,
            self.norm.norm(),
            mode.dropout(self.dropout, Site::Embeddings),
        )
    }
}

/// One block: `ModernBertEncoderLayer`.
#[derive(Module, Debug)]
struct Layer {
    /// Absent in the first layer, which is given what the embeddings normalised.
    attn_norm: Option<LayerNorm>,
    attn: Attention,
    mlp_norm: LayerNorm,
    mlp: Mlp,
}

impl Layer {
    fn linears(&mut self) -> [&mut Linear; 4] {
        let (attention, mlp) = (&mut self.attn, &mut self.mlp);
        [
            &mut attention.wqkv,
            &mut attention.wo,
            &mut mlp.wi,
            &mut mlp.wo,
        ]
    }

    fn unset(config: &ModernBertConfig, number: usize, device: &Device) -> Layer {
        let (width, wide) = (config.hidden_size, config.intermediate_size);
        let layer_type = config.layer_type(number);
        Layer {
            attn_norm: (number > 0).then(|| norm(config, device)),
            attn: Attention {
                wqkv: linear(width, 3 * width, config.attention_bias, device),
                wo: linear(width, width, config.attention_bias, device),
                heads: config.num_attention_heads,
                dropout: config.attention_dropout,
                window: match layer_type {
                    LayerType::Full => None,
                    LayerType::Sliding => Some(config.local_attention / 2),
                },
            },
            mlp_norm: norm(config, device),
            mlp: Mlp {
                wi: linear(width, 2 * wide, config.mlp_bias, device),
                wo: linear(wide, width, config.mlp_bias, device),
                activation: config.hidden_activation,
                dropout: config.mlp_dropout,
            },
        }
    }

    fn before_attention(&self, hidden: Tensor<2>) -> Tensor<2> {
        match &self.attn_norm {
            Some(norm) => norm.forward(hidden),
            None => hidden,
        }
    }

    fn forward(
        &self,
        hidden: Tensor<2>,
        turns: &Turns,
        spans: &Spans,
        mode: &Mode,
        number: usize,
    ) -> Tensor<2> {
        let normal = self.before_attention(hidden.clone());
        let hidden = hidden + self.attn.forward(normal, turns, spans, mode, number);
        let normal = self.mlp_norm.forward(hidden.clone());
        hidden + self.mlp.forward(normal, mode, number)
    }
}

/// Self-attention over turned queries and keys: `ModernBertAttention`.
#[derive(Module, Debug)]
struct Attention {
    wqkv: Linear,
    wo: Linear,
    heads: usize,
    dropout: f64,
    /// How many places away a token still looks; `None` for any number.
    window: Option<usize>,
}

impl Attention {
    fn distance(&self) -> Distance {
        match self.window {
            Some(window) => Distance::Window(window),
            None => Distance::Ignored,
        }
    }

    /// Turned queries, turned keys and values, each `[tokens, hidden]`.
    fn project(&self, hidden: Tensor<2>, turns: &Turns, mode: &Mode) -> [Tensor<2>; 3] {
        let [_, width] = hidden.dims();
        let all = apply(&self.wqkv, hidden, mode); // [tokens, 3 * hidden]
        let [query, key, value] = [0, 1, 2].map(|part| all.clone().narrow(1, part * width, width)); // [tokens, hidden]
        let turns = match self.window {
            Some(_) => &turns.sliding,
            None => &turns.full,
        };
        [
            kernels::rotated(query, turns),
            kernels::rotated(key, turns),
            value,
        ]
    }

    fn forward(
        &self,
        hidden: Tensor<2>,
        turns: &Turns,
        spans: &Spans,
        mode: &Mode,
        number: usize,
    ) -> Tensor<2> {
        let precision = mode.precision();
        let context = kernels::attention_by_distance(
            self.project(hidden, turns, mode),
            &self.distance(),
            spans,
            self.heads,
            mode.dropout(self.dropout, Site::Attention(number)),
            precision,
        );
        let output = apply(&self.wo, context, mode); // [tokens, hidden]
        let dropout = mode.dropout(self.dropout, Site::AttentionOutput(number));
        kernels::dropout(output, dropout)
    }
}

/// The dense part with a gate: `ModernBertMLP` (Shazeer, arXiv:2002.05202).
#[derive(Module, Debug)]
struct Mlp {
    wi: Linear,
    wo: Linear,
    #[module(skip)]
    activation: Activation,
    dropout: f64,
}

impl Mlp {
    fn forward(&self, hidden: Tensor<2>, mode: &Mode, number: usize) -> Tensor<2> {
        let both = apply(&self.wi, hidden, mode); // [tokens, 2 * intermediate]
        let wide = both.dims()[1] / 2;
        let [input, gate] = [0, wide].map(|from| both.clone().narrow(1, from, wide)); // [tokens, intermediate]
        let gated = self.activation.of(input) * gate;
        let dropout = mode.dropout(self.dropout, Site::Intermediate(number));
        apply(&self.wo, kernels::dropout(gated, dropout), mode) // [tokens, hidden]
    }
}
