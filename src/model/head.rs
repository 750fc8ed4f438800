//! The classification head: one vector per text, dropout, a linear layer, as `BertForSequenceClassification` has it.
//!
//! Deliberately absent: the pooler's dense layer. It belongs to the encoder, in checkpoints as in the reference; here
//! only the choice to use it is kept.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bert::{Batch, Bert, apply, first, linear};
use super::dropout::{Mode, Site};
use crate::kernels::{self, Spans};

/// How the hidden states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The first token through the encoder's pooler (dense layer and tanh), as transformers' classes do.
    #[default]
    Pooler,
    /// The first token as it is.
    Cls,
    /// The mean over all real tokens. Suits sentence encoders, which were trained that way.
    Mean,
    /// The largest value over all real tokens, for each dimension.
    Max,
}

/// What stands between the encoder and the logits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadSettings {
    /// How the hidden states of a text become one vector.
    #[serde(default)]
    pub pooling: Pooling,
    /// Probability with which the pooled vector's values are dropped during training. Left out: what the encoder's
    /// config.json says (`classifier_dropout`, else `hidden_dropout_prob`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.99))]
    pub dropout: Option<f64>,
}

/// The head of a classifier.
#[derive(Module, Debug)]
pub struct Head {
    classifier: Linear,
    dropout: f64,
    #[module(skip)]
    pooling: Pooling,
}

impl Head {
    /// A head whose weights are not yet set.
    pub(super) fn unset(
        pooling: Pooling,
        dropout: f64,
        hidden: usize,
        labels: usize,
        device: &burn::tensor::Device,
    ) -> Head {
        Head {
            classifier: linear(hidden, labels, device),
            dropout,
            pooling,
        }
    }

    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// The probability with which the pooled vector's values are dropped during training.
    pub fn dropout(&self) -> f64 {
        self.dropout
    }

    pub(super) fn labels(&self) -> usize {
        self.classifier
            .weight
            .lazy_shape()
            .last()
            .copied()
            .unwrap_or_default()
    }

    /// `[texts, hidden]` → logits `[texts, labels]`.
    pub(super) fn forward(&self, pooled: Tensor<2>, mode: &Mode) -> Tensor<2> {
        let kept = kernels::dropout(pooled, mode.dropout(self.dropout, Site::Head));
        apply(&self.classifier, kept)
    }

    /// One vector per text, `[texts, hidden]`, for a batch that the encoder has yet to read. As [`pool`](Self::pool), but
    /// hidden states that it would not look at are not computed.
    pub(super) fn read(&self, encoder: &Bert, batch: &Batch, mode: &Mode) -> Tensor<2> {
        match (self.pooling, &encoder.pooler) {
            (Pooling::Pooler, Some(pooler)) => pooler.forward(encoder.first(batch, mode)),
            (Pooling::Pooler | Pooling::Cls, _) => encoder.first(batch, mode),
            _ => self.pool(encoder, encoder.forward(batch, mode), &batch.spans),
        }
    }

    /// One vector per text, `[texts, hidden]`, from hidden states `[tokens, hidden]`.
    pub(super) fn pool(&self, encoder: &Bert, hidden: Tensor<2>, spans: &Spans) -> Tensor<2> {
        match (self.pooling, &encoder.pooler) {
            (Pooling::Pooler, Some(pooler)) => pooler.forward(first(hidden, spans)),
            (Pooling::Pooler | Pooling::Cls, _) => first(hidden, spans),
            (Pooling::Mean, _) => {
                let [_, width] = hidden.dims();
                let texts = spans.texts().len();
                let real = spans.padding(&hidden.device()).bool_not().float(); // [texts, length]
                let real = real.unsqueeze_dim::<3>(2); // [texts, length, 1]
                let count = real.clone().sum_dim(1).clamp_min(1.0); // [texts, 1, 1]
                let sum = (spans.spread(hidden) * real).sum_dim(1); // [texts, 1, hidden]
                (sum / count).reshape([texts, width]) // [texts, hidden]
            }
            (Pooling::Max, _) => {
                let [_, width] = hidden.dims();
                let texts = spans.texts().len();
                let padding = spans.padding(&hidden.device()).unsqueeze_dim::<3>(2); // [texts, length, 1]
                let spread = spans.spread(hidden); // [texts, length, hidden]
                let shape = spread.dims();
                spread
                    .mask_fill(padding.expand(shape), f32::MIN)
                    .max_dim(1)
                    .reshape([texts, width]) // [texts, hidden]
            }
        }
    }
}
