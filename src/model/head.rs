//! The classification head: one vector per text, dropout, a linear layer, as `BertForSequenceClassification` has it.
//!
//! Deliberately absent: the pooler's dense layer. It belongs to the encoder, in checkpoints as in the reference; here
//! only the choice to use it is kept.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Bool, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bert::{Bert, linear};
use super::dropout::{Mode, Site, dropout};

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

    /// `[batch, hidden]` → logits `[batch, labels]`.
    pub(super) fn forward(&self, pooled: Tensor<2>, mode: &Mode) -> Tensor<2> {
        self.classifier
            .forward(dropout(pooled, self.dropout, mode, Site::Head))
    }

    /// One vector per text, `[batch, hidden]`, from hidden states `[batch, length, hidden]` and the mask of real tokens
    /// `[batch, length]`.
    pub(super) fn pool(
        &self,
        encoder: &Bert,
        hidden: Tensor<3>,
        mask: &Tensor<2, Bool>,
    ) -> Tensor<2> {
        let [batch, length, width] = hidden.dims();
        let first = |hidden: Tensor<3>| hidden.narrow(1, 0, 1).reshape([batch, width]); // [batch, hidden]
        let real = mask.clone().reshape([batch, length, 1]); // [batch, length, 1]
        match (self.pooling, &encoder.pooler) {
            (Pooling::Pooler, Some(pooler)) => pooler.forward(first(hidden)),
            (Pooling::Pooler | Pooling::Cls, _) => first(hidden),
            (Pooling::Mean, _) => {
                let real = real.float();
                let count = real.clone().sum_dim(1).clamp_min(1.0); // [batch, 1, 1]
                ((hidden * real).sum_dim(1) / count).reshape([batch, width]) // [batch, hidden]
            }
            (Pooling::Max, _) => {
                let padding = real.bool_not().expand([batch, length, width]); // [batch, length, hidden]
                hidden
                    .mask_fill(padding, f32::MIN)
                    .max_dim(1)
                    .reshape([batch, width]) // [batch, hidden]
            }
        }
    }
}
