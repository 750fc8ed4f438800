//! An encoder of any family: one variant for each way to compute.
//!
//! Hidden states are `[tokens, hidden]`, and a batch's spans say which rows are whose (see `bert`). Deliberately absent:
//! which family is computed how; the configuration knows, see `family`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::bert::{Batch, Bert, Pooler};
use super::config::{EncoderConfig, Own};
use super::deberta::Deberta;
use super::dropout::Mode;
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

    /// The last hidden state, `[tokens, hidden]`; of no meaning at padding.
    pub fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        match self {
            Encoder::Bert(encoder) => encoder.forward(batch, mode),
            Encoder::MpNet(encoder) => encoder.forward(batch, mode),
            Encoder::Deberta(encoder) => encoder.forward(batch, mode),
            Encoder::ModernBert(encoder) => encoder.forward(batch, mode),
        }
    }

    /// The last hidden state of each text's first token, `[texts, hidden]`.
    pub fn first(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        match self {
            Encoder::Bert(encoder) => encoder.first(batch, mode),
            Encoder::MpNet(encoder) => encoder.first(batch, mode),
            Encoder::Deberta(encoder) => encoder.first(batch, mode),
            Encoder::ModernBert(encoder) => encoder.first(batch, mode),
        }
    }

    /// The attention weights of a layer (counted from 0) without dropout, `[texts, heads, length, length]`; `None` when
    /// there is no such layer.
    pub fn attention(&self, batch: &Batch, layer: usize) -> Option<Tensor<4>> {
        match self {
            Encoder::Bert(encoder) => encoder.attention(batch, layer),
            Encoder::MpNet(encoder) => encoder.attention(batch, layer),
            Encoder::Deberta(encoder) => encoder.attention(batch, layer),
            Encoder::ModernBert(encoder) => encoder.attention(batch, layer),
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
