//! What stands between the encoder and the answers: dropout and a linear layer, over texts or over tokens.
//!
//! Names and numbers are those of transformers: `classifier` over one vector per text is `BertForSequenceClassification`,
//! over every token `BertForTokenClassification`; `qa_outputs` over every token, without dropout, is
//! `BertForQuestionAnswering`. Over texts, the classes of some families have a dense layer before the one that answers
//! (`RobertaClassificationHead`); `family` says which. A head over tokens may also carry a [`Crf`], which transformers does
//! not have.
//!
//! Deliberately absent: the dense layer of a pooler. It belongs to the encoder, in checkpoints as in the reference; here
//! only the choice to use it is kept. Nor does a head know what its numbers mean: see `learn::Objective`.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bert::{Batch, first};
use super::config::{Before, DenseHead, EncoderConfig};
use super::crf::Crf;
use super::dropout::{Mode, Site};
use super::encoder::Encoder;
use super::layers::{LayerNorm, apply, linear};
use crate::kernels::{self, Spans};

/// How the hidden states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The first token through a dense layer and an activation, as transformers' own class of the family does (BERT: the
    /// encoder's pooler).
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

impl HeadSettings {
    /// A head with `outputs` numbers for each text.
    pub fn over_texts(&self, outputs: usize) -> HeadKind {
        HeadKind::Texts {
            outputs,
            pooling: self.pooling,
            dropout: self.dropout,
        }
    }

    /// A head with `outputs` numbers for each token, for which `pooling` means nothing.
    pub fn over_tokens(&self, outputs: usize, crf: bool) -> HeadKind {
        HeadKind::Tokens {
            outputs,
            crf,
            dropout: self.dropout,
        }
    }
}

/// Which head to build. A `dropout` of `None` is what the encoder's configuration says (`classifier_dropout`, else
/// `hidden_dropout_prob`), as transformers chooses it.
#[derive(Debug, Clone, PartialEq)]
pub enum HeadKind {
    /// `outputs` numbers for each text: one for each label or target.
    Texts {
        outputs: usize,
        pooling: Pooling,
        dropout: Option<f64>,
    },
    /// `outputs` numbers for each token, one for each label; with `crf`, also how well one label follows another.
    Tokens {
        outputs: usize,
        crf: bool,
        dropout: Option<f64>,
    },
    /// Two numbers for each token: how well an answer starts there, and how well it ends there. No dropout but DistilBERT's.
    Spans,
}

impl HeadKind {
    /// The numbers for each text or token.
    pub fn outputs(&self) -> usize {
        match self {
            HeadKind::Texts { outputs, .. } | HeadKind::Tokens { outputs, .. } => *outputs,
            HeadKind::Spans => 2,
        }
    }

    pub(super) fn reads(&self) -> Reads {
        match self {
            HeadKind::Texts { pooling, .. } => Reads::Texts(*pooling),
            HeadKind::Tokens { .. } => Reads::Tokens,
            HeadKind::Spans => Reads::Spans,
        }
    }

    pub(super) fn dropout(&self, config: &EncoderConfig) -> f64 {
        let (own, otherwise) = match self {
            HeadKind::Texts { dropout, .. } => (*dropout, None),
            HeadKind::Tokens { dropout, .. } => (*dropout, config.token_dropout),
            HeadKind::Spans => (None, Some(config.answer_dropout)),
        };
        own.or(otherwise).unwrap_or(config.text_dropout())
    }

    /// The dense layer that stands before the one that answers, if any.
    fn dense(&self, config: &EncoderConfig) -> Option<DenseHead> {
        match self {
            HeadKind::Texts {
                pooling: Pooling::Pooler,
                ..
            } => config.dense,
            HeadKind::Tokens { crf: false, .. } | HeadKind::Spans => {
                config.dense.filter(|dense| dense.over_tokens)
            }
            _ => None,
        }
    }
}

/// What a head's numbers are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Whole texts, pooled.
    Texts(Pooling),
    /// Single tokens.
    Tokens,
    /// Single tokens, as start and end of an answer.
    Spans,
}

/// The head of a classifier.
#[derive(Module, Debug)]
pub struct Head {
    dense: Option<Linear>,
    norm: Option<LayerNorm>,
    /// One of the three is there; `answers` follows `dense`, and families differ in what they call the two.
    answers: Option<Linear>,
    classifier: Option<Linear>,
    qa_outputs: Option<Linear>,
    crf: Option<Crf>,
    dropout: f64,
    #[module(skip)]
    own: Option<DenseHead>,
    #[module(skip)]
    reads: Reads,
}

impl Head {
    /// A head whose weights are not yet set.
    pub(super) fn unset(kind: &HeadKind, config: &EncoderConfig, device: &Device) -> Head {
        let width = config.hidden_size;
        let layer = || linear(width, kind.outputs(), true, device);
        let spans = matches!(kind, HeadKind::Spans);
        let with_crf = matches!(kind, HeadKind::Tokens { crf: true, .. });
        let own = kind.dense(config);
        Head {
            dense: own.map(|own| linear(width, width, own.bias, device)),
            norm: own
                .and_then(|own| own.norm)
                .map(|norm| LayerNorm::unset(width, norm.epsilon, norm.shifts, device)),
            answers: own.map(|_| layer()),
            classifier: (!spans && own.is_none()).then(layer),
            qa_outputs: (spans && own.is_none()).then(layer),
            crf: with_crf.then(|| Crf::unset(kind.outputs(), device)),
            dropout: kind.dropout(config),
            own,
            reads: kind.reads(),
        }
    }

    /// What its numbers are about.
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// How a text becomes one vector; `None` for a head over tokens.
    pub fn pooling(&self) -> Option<Pooling> {
        match self.reads {
            Reads::Texts(pooling) => Some(pooling),
            Reads::Tokens | Reads::Spans => None,
        }
    }

    /// The probability with which values are dropped before the linear layer during training.
    pub fn dropout(&self) -> f64 {
        self.dropout
    }

    /// How well labels follow each other, for a head that learned it.
    pub fn crf(&self) -> Option<&Crf> {
        self.crf.as_ref()
    }

    /// Whether the head of transformers' own class reads the mean over tokens.
    fn reads_mean(&self) -> bool {
        self.own.is_some_and(|own| own.reads_mean)
    }

    /// The numbers for each text or token.
    pub fn outputs(&self) -> usize {
        self.linear()
            .weight
            .lazy_shape()
            .last()
            .copied()
            .unwrap_or_default()
    }

    fn linear(&self) -> &Linear {
        self.answers
            .as_ref()
            .or(self.classifier.as_ref())
            .or(self.qa_outputs.as_ref())
            .expect("a head is built with one of the three")
    }

    /// `[texts, hidden]` → `[texts, outputs]`, or the same with tokens.
    pub(super) fn forward(&self, read: Tensor<2>, mode: &Mode) -> Tensor<2> {
        let mode = match self.reads {
            Reads::Texts(_) => mode.of_texts(),
            Reads::Tokens | Reads::Spans => *mode,
        };
        let read = match (&self.dense, self.own) {
            (Some(dense), Some(own)) => {
                let before = match own.before {
                    Before::None => 0.0,
                    Before::Same => self.dropout,
                    Before::Other(probability) => probability,
                };
                let read = kernels::dropout(read, mode.dropout(before, Site::HeadInput));
                let read = own.activation.of(apply(dense, read)); // [texts, hidden]
                match &self.norm {
                    Some(norm) => norm.forward(read),
                    None => read,
                }
            }
            _ => read,
        };
        let kept = kernels::dropout(read, mode.dropout(self.dropout, Site::Head));
        apply(self.linear(), kept)
    }

    /// As [`pool`](Self::pool), for a batch that the encoder has yet to read: hidden states that the head would not look at
    /// are not computed.
    pub(super) fn read(&self, encoder: &Encoder, batch: &Batch, mode: &Mode) -> Tensor<2> {
        match (self.reads, encoder.pooler()) {
            (Reads::Texts(_), _) if self.reads_mean() => {
                self.pool(encoder, encoder.forward(batch, mode), &batch.spans)
            }
            (Reads::Texts(Pooling::Pooler), Some(pooler)) => {
                pooler.forward(encoder.first(batch, mode))
            }
            (Reads::Texts(Pooling::Pooler | Pooling::Cls), _) => encoder.first(batch, mode),
            _ => self.pool(encoder, encoder.forward(batch, mode), &batch.spans),
        }
    }

    /// What the head's layers see of hidden states `[tokens, hidden]`: one vector per text, `[texts, hidden]`,
    /// or every token's own.
    pub(super) fn pool(&self, encoder: &Encoder, hidden: Tensor<2>, spans: &Spans) -> Tensor<2> {
        match (self.reads, encoder.pooler()) {
            (Reads::Tokens | Reads::Spans, _) => hidden,
            (Reads::Texts(Pooling::Pooler), Some(pooler)) => pooler.forward(first(hidden, spans)),
            (Reads::Texts(Pooling::Pooler | Pooling::Cls), _) if !self.reads_mean() => {
                first(hidden, spans)
            }
            (Reads::Texts(Pooling::Pooler | Pooling::Cls | Pooling::Mean), _) => {
                let [_, width] = hidden.dims();
                let texts = spans.texts().len();
                let real = spans.padding(&hidden.device()).bool_not().float(); // [texts, length]
                let real = real.unsqueeze_dim::<3>(2); // [texts, length, 1]
                let count = real.clone().sum_dim(1).clamp_min(1.0); // [texts, 1, 1]
                let sum = (spans.spread(hidden) * real).sum_dim(1); // [texts, 1, hidden]
                (sum / count).reshape([texts, width]) // [texts, hidden]
            }
            (Reads::Texts(Pooling::Max), _) => {
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
