//! An encoder of any family: one variant for each way to compute.
//!
//! Hidden states are `[tokens, hidden]`, and a batch's spans say which rows are whose (see `bert`). Deliberately absent:
//! which family is computed how; the configuration knows, see `family`.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::bert::{Batch, Bert, Given, Pooler, first};
use super::config::{EncoderConfig, Own};
use super::deberta::Deberta;
use super::dropout::Mode;
use super::layers::Linear;
use super::modern_bert::ModernBert;
use super::mpnet::MpNet;

/// The encoder of a classifier.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Encoder {
    /// BERT and the families that compute the same with small differences.
    Bert(Bert),
    MpNet(MpNet),
    Deberta(Deberta),
    ModernBert(ModernBert),
}

impl Encoder {
    /// An encoder whose weights are not yet set: they cost nothing until they are.
    pub(super) fn unset(config: &EncoderConfig, with_pooler: bool, device: &Device) -> Encoder {
        match &config.own {
            Own::Bert => Encoder::Bert(Bert::unset(config, with_pooler, device)),
            Own::MpNet(own) => Encoder::MpNet(MpNet::unset(own, device)),
            Own::Deberta(own) => Encoder::Deberta(Deberta::unset(own, device)),
            Own::ModernBert(own) => Encoder::ModernBert(ModernBert::unset(own, device)),
        }
    }

    pub(super) fn device(&self) -> Device {
        match self {
            Encoder::Bert(encoder) => encoder.device(),
            Encoder::MpNet(encoder) => encoder.device(),
            Encoder::Deberta(encoder) => encoder.device(),
            Encoder::ModernBert(encoder) => encoder.device(),
        }
    }

    /// The embeddings of the vocabulary, `[vocab, embedding]`.
    pub fn words(&self) -> Tensor<2> {
        match self {
            Encoder::Bert(encoder) => encoder.words(),
            Encoder::MpNet(encoder) => encoder.words(),
            Encoder::Deberta(encoder) => encoder.words(),
            Encoder::ModernBert(encoder) => encoder.words(),
        }
    }

    /// Its linear layers, in an order that does not change.
    pub(super) fn linears(&mut self) -> Vec<&mut Linear> {
        match self {
            Encoder::Bert(encoder) => encoder.linears(),
            Encoder::MpNet(encoder) => encoder.linears(),
            Encoder::Deberta(encoder) => encoder.linears(),
            Encoder::ModernBert(encoder) => encoder.linears(),
        }
    }

    /// The number of its layers.
    pub fn depth(&self) -> usize {
        match self {
            Encoder::Bert(encoder) => encoder.depth(),
            Encoder::MpNet(encoder) => encoder.depth(),
            Encoder::Deberta(encoder) => encoder.depth(),
            Encoder::ModernBert(encoder) => encoder.depth(),
        }
    }

    /// Which of the blocks of weights that it holds computes a layer (both counted from 0); `None` when there is no such
    /// layer. Where layers share their weights, several have the same.
    pub fn block(&self, layer: usize) -> Option<usize> {
        match self {
            Encoder::Bert(encoder) => encoder.block(layer),
            _ => (layer < self.depth()).then_some(layer),
        }
    }

    /// What the first layer is given, `[tokens, hidden]`.
    pub fn embed(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        match self {
            Encoder::Bert(encoder) => encoder.embed(batch, mode),
            Encoder::MpNet(encoder) => encoder.embed(batch, mode),
            Encoder::Deberta(encoder) => encoder.embed(batch, mode),
            Encoder::ModernBert(encoder) => encoder.embed(batch, mode),
        }
    }

    /// What the layers of these numbers make of what the first of them is given, `[tokens, hidden]`.
    pub fn layers(
        &self,
        layers: Range<usize>,
        hidden: Tensor<2>,
        batch: &Batch,
        mode: &Mode,
    ) -> Tensor<2> {
        match self {
            Encoder::Bert(encoder) => encoder.layers(layers, hidden, batch, mode),
            Encoder::MpNet(encoder) => encoder.layers(layers, hidden, batch, mode),
            Encoder::Deberta(encoder) => encoder.layers(layers, hidden, batch, mode),
            Encoder::ModernBert(encoder) => encoder.layers(layers, hidden, batch, mode),
        }
    }

    /// What the last layer gives → the last hidden states, of the same rows.
    fn finish(&self, hidden: Tensor<2>) -> Tensor<2> {
        match self {
            Encoder::ModernBert(encoder) => encoder.finish(hidden),
            _ => hidden,
        }
    }

    /// What the first `layers` layers give, `[tokens, hidden]`; with 0, what the first of them is given.
    pub fn below(&self, layers: usize, batch: &Batch, mode: &Mode) -> Tensor<2> {
        let embedded = self.embed(batch, mode);
        self.layers(0..layers, embedded, batch, mode)
    }

    /// Where a pass begins: after how many layers, and with which hidden states, `[tokens, hidden]`. These are the batch's where
    /// it has some; of `frozen` layers they are computed, and nothing is dropped on the way.
    pub(super) fn begin(
        &self,
        batch: &Batch,
        frozen: Option<usize>,
        mode: &Mode,
    ) -> (usize, Tensor<2>) {
        match (&batch.given, frozen) {
            (Given::Hidden { layers, hidden }, _) => (*layers, hidden.clone()),
            (_, Some(frozen)) => (frozen, self.below(frozen, batch, &mode.undropped())),
            (_, None) => (0, self.embed(batch, mode)),
        }
    }

    /// The last hidden state, `[tokens, hidden]`; of no meaning at padding. In the first `frozen` layers, and in what is below
    /// them, nothing is dropped.
    pub fn forward(&self, batch: &Batch, frozen: Option<usize>, mode: &Mode) -> Tensor<2> {
        let (done, hidden) = self.begin(batch, frozen, mode);
        self.finish(self.layers(done..self.depth(), hidden, batch, mode))
    }

    /// The same of each text's first token, `[texts, hidden]`.
    pub fn first(&self, batch: &Batch, frozen: Option<usize>, mode: &Mode) -> Tensor<2> {
        // A last layer that drops nothing need not compute the other tokens either.
        let (frozen, mode) = match frozen {
            Some(frozen) if frozen >= self.depth() => (None, mode.undropped()),
            frozen => (frozen, *mode),
        };
        let (done, hidden) = self.begin(batch, frozen, &mode);
        let firsts = match self {
            Encoder::Bert(encoder) => encoder.first_after(done, hidden, batch, &mode),
            _ => {
                let hidden = self.layers(done..self.depth(), hidden, batch, &mode);
                first(hidden, &batch.spans)
            }
        };
        self.finish(firsts)
    }

    /// What each of the last `count` layers gives, the lowest first, `[tokens, hidden]` each: of at least one layer and at most
    /// all that there are. These are the last `hidden_states` of transformers, so the last of them is
    /// [`forward`](Self::forward). Hidden states that the batch has must be those of the lowest of these layers, or of one below.
    pub fn last(
        &self,
        count: usize,
        batch: &Batch,
        frozen: Option<usize>,
        mode: &Mode,
    ) -> Vec<Tensor<2>> {
        let depth = self.depth();
        let lowest = self.lowest_of(count);
        let (done, hidden) = self.begin(batch, frozen.map(|frozen| frozen.min(lowest)), mode);
        let mut hidden = self.layers(done..lowest, hidden, batch, mode);
        let mut states = Vec::with_capacity(count);
        for layer in lowest..depth {
            states.push(hidden.clone());
            let mode = match frozen {
                Some(frozen) if layer < frozen => &Mode::EVALUATE,
                _ => mode,
            };
            hidden = self.layers(layer..layer + 1, hidden, batch, mode);
        }
        states.push(self.finish(hidden));
        states
    }

    /// After how many layers the first of the last `count` hidden states comes.
    pub(super) fn lowest_of(&self, count: usize) -> usize {
        self.depth().saturating_sub(count.saturating_sub(1))
    }

    /// The attention weights of a layer (counted from 0) without dropout, `[texts, heads, length, length]`; `None` when
    /// there is no such layer.
    pub fn attention(&self, batch: &Batch, layer: usize) -> Option<Tensor<4>> {
        if layer >= self.depth() {
            return None;
        }
        let hidden = self.below(layer, batch, &Mode::EVALUATE);
        match self {
            Encoder::Bert(encoder) => encoder.attention(hidden, batch, layer),
            Encoder::MpNet(encoder) => encoder.attention(hidden, batch, layer),
            Encoder::Deberta(encoder) => encoder.attention(hidden, batch, layer),
            Encoder::ModernBert(encoder) => encoder.attention(hidden, batch, layer),
        }
    }

    /// The pooler, of a family whose encoder has one, where the head reads it.
    pub(super) fn pooler(&self) -> Option<&Pooler> {
        match self {
            Encoder::Bert(encoder) => encoder.pooler.as_ref(),
            Encoder::MpNet(_) | Encoder::Deberta(_) | Encoder::ModernBert(_) => None,
        }
    }
}
