//! What stands between the encoder and the answers: dropout and a linear layer, over texts or over tokens.
//!
//! Names and numbers are those of transformers: `classifier` over one vector per text is `BertForSequenceClassification`,
//! over every token `BertForTokenClassification`; `qa_outputs` over every token, without dropout, is
//! `BertForQuestionAnswering`. Over texts, the classes of some families have a dense layer before the one that answers
//! (`RobertaClassificationHead`); `family` says which. A head over tokens may also carry a [`Crf`], which transformers does
//! not have, and any head but that for answers a [`Stack`]. What predicts masked words (`masked`) is a head of another make, and stands
//! in the same place.
//!
//! Deliberately absent: the dense layer of a pooler. It belongs to the encoder, in checkpoints as in the reference; here
//! only the choice to use it is kept. Nor does a head know what its numbers mean: see `learn::Objective`.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ModelError;
use super::bert::{Batch, Given, first};
use super::config::{Activation, Before, DenseHead, EncoderConfig};
use super::crf::Crf;
use super::dropout::{Mode, Site};
use super::encoder::Encoder;
use super::layers::{LayerNorm, Linear, apply, linear};
use super::masked::MaskedHead;
use super::stack::{self, Combine, Stack};
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// The widths of dense layers between the pooled vector (or each token's) and the layer that answers, such as
    /// `[256]`; before each of them values are dropped as before the layer that answers. With `pooling = "pooler"` they
    /// stand in place of the dense layer that the heads of most families have; BERT's and ALBERT's pooler stays. Use
    /// them where the encoder learns little (frozen, or by a low rate), or the answer is no simple function of the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(range(min = 1, max = 16384)), extend("default" = []))]
    pub hidden_layers: Vec<usize>,
    /// What follows each of the `hidden_layers`.
    #[serde(default, skip_serializing_if = "is_gelu")]
    #[schemars(extend("default" = "gelu"))]
    pub activation: Activation,
    /// How many of the encoder's layers are read, counted from the last one; 4 is usual. More than the last help where the
    /// encoder learns little, and for words, whose form lower layers know better. Not with `pooling = "pooler"`.
    #[serde(default = "stack::one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 96), extend("default" = 1))]
    pub layers: usize,
    /// How the hidden states of these `layers` become one, before anything is pooled.
    #[serde(default, skip_serializing_if = "is_mean")]
    #[schemars(extend("default" = "mean"))]
    pub combine: Combine,
}

fn is_gelu(activation: &Activation) -> bool {
    *activation == Activation::default()
}

fn is_one(layers: &usize) -> bool {
    *layers == stack::one()
}

fn is_mean(combine: &Combine) -> bool {
    *combine == Combine::default()
}

impl Default for HeadSettings {
    fn default() -> Self {
        HeadSettings {
            pooling: Pooling::default(),
            dropout: None,
            hidden_layers: Vec::new(),
            activation: Activation::default(),
            layers: stack::one(),
            combine: Combine::default(),
        }
    }
}

impl HeadSettings {
    /// What is beyond the heads of transformers' own classes.
    pub fn stack(&self) -> Stack {
        Stack {
            layers: self.layers,
            combine: self.combine,
            hidden_layers: self.hidden_layers.clone(),
            activation: self.activation,
        }
    }

    /// A head with `outputs` numbers for each text.
    pub fn over_texts(&self, outputs: usize) -> HeadKind {
        HeadKind::Texts {
            outputs,
            pooling: self.pooling,
            dropout: self.dropout,
            stack: self.stack(),
        }
    }

    /// A head with `outputs` numbers for each token, for which `pooling` means nothing.
    pub fn over_tokens(&self, outputs: usize, crf: bool) -> HeadKind {
        HeadKind::Tokens {
            outputs,
            crf,
            dropout: self.dropout,
            stack: self.stack(),
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
        stack: Stack,
    },
    /// `outputs` numbers for each token, one for each label; with `crf`, also how well one label follows another.
    Tokens {
        outputs: usize,
        crf: bool,
        dropout: Option<f64>,
        stack: Stack,
    },
    /// Two numbers for each token: how well an answer starts there, and how well it ends there. No dropout but DistilBERT's.
    Spans,
    /// For each token that is asked for, one number for each piece of the vocabulary.
    Masked {
        /// Whether it has a matrix over the vocabulary of its own, in place of the embeddings.
        own_matrix: bool,
    },
}

impl HeadKind {
    /// The numbers for each text or token; none where the encoder's vocabulary says how many.
    pub fn outputs(&self) -> Option<usize> {
        match self {
            HeadKind::Texts { outputs, .. } | HeadKind::Tokens { outputs, .. } => Some(*outputs),
            HeadKind::Spans => Some(2),
            HeadKind::Masked { .. } => None,
        }
    }

    /// What it has beyond a head of transformers' own class.
    pub(super) fn stack(&self) -> Option<&Stack> {
        match self {
            HeadKind::Texts { stack, .. } | HeadKind::Tokens { stack, .. } => Some(stack),
            HeadKind::Spans | HeadKind::Masked { .. } => None,
        }
    }

    /// Where dense layers of its own take the place of those that the family's head has, it reads what these would.
    pub(super) fn reads(&self, config: &EncoderConfig) -> Reads {
        match self {
            HeadKind::Texts {
                pooling: Pooling::Pooler,
                stack,
                ..
            } if !stack.is_plain() && (config.dense.is_some() || stack.layers > 1) => {
                Reads::Texts(match config.dense {
                    Some(own) if own.reads_mean => Pooling::Mean,
                    _ => Pooling::Cls,
                })
            }
            HeadKind::Texts { pooling, .. } => Reads::Texts(*pooling),
            HeadKind::Tokens { .. } => Reads::Tokens,
            HeadKind::Spans => Reads::Spans,
            HeadKind::Masked { .. } => Reads::Masked,
        }
    }

    pub(super) fn dropout(&self, config: &EncoderConfig) -> f64 {
        let (own, otherwise) = match self {
            HeadKind::Texts { dropout, .. } => (*dropout, None),
            HeadKind::Tokens { dropout, .. } => (*dropout, config.token_dropout),
            HeadKind::Spans => (None, Some(config.answer_dropout)),
            HeadKind::Masked { .. } => (None, Some(0.0)),
        };
        own.or(otherwise).unwrap_or(config.text_dropout())
    }

    /// Whether the encoder's pooler makes of the first token what the head is given.
    pub(super) fn reads_pooler(&self, config: &EncoderConfig) -> bool {
        self.reads(config) == Reads::Texts(Pooling::Pooler) && config.dense.is_none()
    }

    /// Refuses what no head over this encoder can have.
    ///
    /// # Errors
    /// The first such value, or a head without outputs.
    pub(super) fn check(&self, config: &EncoderConfig) -> Result<(), ModelError> {
        let wrong = |field, found: String, wanted: String| {
            Err(ModelError::ConfigValue {
                origin: "this head".to_owned(),
                field,
                found,
                wanted,
            })
        };
        let dropout = self.dropout(config);
        if !(0.0..1.0).contains(&dropout) {
            let wanted = "a probability of at least 0 and below 1";
            return wrong("dropout", dropout.to_string(), wanted.to_owned());
        }
        if self.outputs() == Some(0) {
            return Err(ModelError::NoOutputs);
        }
        if let Some(stack) = self.stack() {
            let there = config.layers.order().len();
            if !(1..=there).contains(&stack.layers) {
                let wanted = format!("from 1 to {there}: the encoder has no more layers");
                return wrong("layers", stack.layers.to_string(), wanted);
            }
            if stack.hidden_layers.contains(&0) {
                let wanted = "widths of at least 1".to_owned();
                return wrong("hidden_layers", "0".to_owned(), wanted);
            }
        }
        Ok(())
    }

    /// The dense layer that stands before the one that answers, if any.
    pub(super) fn dense(&self, config: &EncoderConfig) -> Option<DenseHead> {
        match self {
            _ if self.stack().is_some_and(|stack| !stack.is_plain()) => None,
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
    /// Single tokens, where the batch asks for them.
    Masked,
}

impl Reads {
    /// How the hidden states of a text become one vector, before any layer with weights, for a head that begins with the dense
    /// layer `own` or none; `None` for a head over tokens.
    pub(super) fn summary(self, own: Option<DenseHead>) -> Option<Summary> {
        let means = own.is_some_and(|own| own.reads_mean);
        match self {
            Reads::Tokens | Reads::Spans | Reads::Masked => None,
            Reads::Texts(Pooling::Max) => Some(Summary::Max),
            Reads::Texts(Pooling::Mean) => Some(Summary::Mean),
            Reads::Texts(Pooling::Pooler | Pooling::Cls) if means => Some(Summary::Mean),
            Reads::Texts(Pooling::Pooler | Pooling::Cls) => Some(Summary::First),
        }
    }
}

/// The head of a classifier.
#[derive(Module, Debug)]
pub struct Head {
    dense: Option<Linear>,
    norm: Option<LayerNorm>,
    /// The dense layers of the stack.
    mlp: Vec<Linear>,
    /// One of the three is there, but in a head over masked places; `answers` follows `dense`, and families differ in what they call the two.
    answers: Option<Linear>,
    classifier: Option<Linear>,
    qa_outputs: Option<Linear>,
    crf: Option<Crf>,
    /// In place of all the others.
    masked: Option<MaskedHead>,
    dropout: f64,
    #[module(skip)]
    own: Option<DenseHead>,
    #[module(skip)]
    reads: Reads,
    #[module(skip)]
    stack: Stack,
}

impl Head {
    /// A head whose weights are not yet set.
    pub(super) fn unset(kind: &HeadKind, config: &EncoderConfig, device: &Device) -> Head {
        let width = config.hidden_size;
        let stack = kind.stack().cloned().unwrap_or_default();
        let dense = stack.dense(stack.combined_width(width));
        let last = dense.last().map(|&[_, outputs]| outputs);
        let last = last.unwrap_or(stack.combined_width(width));
        let outputs = kind.outputs().unwrap_or_default();
        let layer = || linear(last, outputs, true, device);
        let spans = matches!(kind, HeadKind::Spans);
        let masked = match kind {
            HeadKind::Masked { own_matrix } => Some(MaskedHead::unset(config, *own_matrix, device)),
            _ => None,
        };
        let with_crf = matches!(kind, HeadKind::Tokens { crf: true, .. });
        let own = kind.dense(config);
        Head {
            dense: own.map(|own| linear(width, width, own.bias, device)),
            norm: own
                .and_then(|own| own.norm)
                .map(|norm| LayerNorm::unset(width, norm.epsilon, norm.shifts, device)),
            mlp: dense
                .into_iter()
                .map(|[inputs, outputs]| linear(inputs, outputs, true, device))
                .collect(),
            answers: own.map(|_| layer()),
            classifier: (!spans && own.is_none() && masked.is_none()).then(layer),
            qa_outputs: (spans && own.is_none()).then(layer),
            crf: with_crf.then(|| Crf::unset(outputs, device)),
            masked,
            dropout: kind.dropout(config),
            own,
            reads: kind.reads(config),
            stack,
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
            Reads::Tokens | Reads::Spans | Reads::Masked => None,
        }
    }

    /// The probability with which values are dropped before the linear layer during training.
    pub fn dropout(&self) -> f64 {
        self.dropout
    }

    /// What it has beyond a head of transformers' own class.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// How well labels follow each other, for a head that learned it.
    pub fn crf(&self) -> Option<&Crf> {
        self.crf.as_ref()
    }

    /// What it is where it predicts masked words.
    pub fn masked(&self) -> Option<&MaskedHead> {
        self.masked.as_ref()
    }

    /// The numbers for each text or token.
    pub fn outputs(&self) -> usize {
        if let Some(masked) = &self.masked {
            return masked.pieces();
        }
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

    /// `[texts, read]` → `[texts, outputs]`, or the same with tokens.
    pub(super) fn forward(&self, read: Tensor<2>, mode: &Mode) -> Tensor<2> {
        let mode = match self.reads {
            Reads::Texts(_) => mode.of_texts(),
            Reads::Tokens | Reads::Spans | Reads::Masked => *mode,
        };
        let read = match (&self.dense, self.own) {
            (Some(dense), Some(own)) => {
                let before = match own.before {
                    Before::None => 0.0,
                    Before::Same => self.dropout,
                    Before::Other(probability) => probability,
                };
                let read = kernels::dropout(read, mode.dropout(before, Site::HeadInput));
                let read = own.activation.of(apply(dense, read, &mode)); // [texts, hidden]
                match &self.norm {
                    Some(norm) => norm.forward(read),
                    None => read,
                }
            }
            _ => read,
        };
        let read = self
            .mlp
            .iter()
            .enumerate()
            .fold(read, |read, (number, layer)| {
                let dropout = mode.dropout(self.dropout, Site::HeadLayer(number));
                let kept = kernels::dropout(read, dropout);
                self.stack.activation.of(apply(layer, kept, &mode)) // [rows, width of the layer]
            });
        let kept = kernels::dropout(read, mode.dropout(self.dropout, Site::Head));
        apply(self.linear(), kept, &mode)
    }

    /// As [`pool`](Self::pool), for a batch that the encoder has yet to read: hidden states that the head would not look at
    /// are not computed.
    pub(super) fn read(
        &self,
        encoder: &Encoder,
        batch: &Batch,
        frozen: Option<usize>,
        mode: &Mode,
    ) -> Tensor<2> {
        let one = match (&batch.given, self.summary()) {
            (Given::Pooled(pooled), _) => pooled.clone(),
            (_, summary) if self.stack.layers > 1 => {
                let states = encoder.last(self.stack.layers, batch, frozen, mode);
                match summary {
                    Some(Summary::First) => {
                        let firsts = states.into_iter().map(|state| first(state, &batch.spans));
                        self.stack.combined(firsts.collect())
                    }
                    _ => summarise(self.stack.combined(states), summary, &batch.spans),
                }
            }
            (_, Some(Summary::First)) => encoder.first(batch, frozen, mode),
            (_, summary) => summarise(encoder.forward(batch, frozen, mode), summary, &batch.spans),
        };
        self.after_pooling(encoder, one, &mode.of_texts())
    }

    /// What the head's layers see of hidden states `[tokens, hidden]`: one vector per text, `[texts, hidden]`,
    /// or every token's own.
    pub(super) fn pool(&self, encoder: &Encoder, hidden: Tensor<2>, spans: &Spans) -> Tensor<2> {
        let one = summarise(hidden, self.summary(), spans);
        self.after_pooling(encoder, one, &Mode::EVALUATE)
    }

    /// How the hidden states of a text become one vector, before any layer with weights; `None` for a head over tokens.
    pub fn summary(&self) -> Option<Summary> {
        self.reads.summary(self.own)
    }

    fn after_pooling(&self, encoder: &Encoder, one: Tensor<2>, mode: &Mode) -> Tensor<2> {
        match (self.reads, encoder.pooler()) {
            (Reads::Texts(Pooling::Pooler), Some(pooler)) => pooler.forward(one, mode),
            _ => one,
        }
    }
}

/// How the hidden states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Summary {
    /// The first token's.
    First,
    /// Their mean.
    Mean,
    /// Of each dimension the largest.
    Max,
}

/// Hidden states `[tokens, hidden]` → one vector per text, `[texts, hidden]`; with `None` they stay as they are.
pub fn summarise(hidden: Tensor<2>, summary: Option<Summary>, spans: &Spans) -> Tensor<2> {
    match summary {
        None => hidden,
        Some(Summary::First) => first(hidden, spans),
        Some(Summary::Mean) => {
            let [_, width] = hidden.dims();
            let texts = spans.texts().len();
            let real = spans.padding(&hidden.device()).bool_not().float(); // [texts, length]
            let real = real.unsqueeze_dim::<3>(2); // [texts, length, 1]
            let count = real.clone().sum_dim(1).clamp_min(1.0); // [texts, 1, 1]
            let sum = (spans.spread(hidden) * real).sum_dim(1); // [texts, 1, hidden]
            (sum / count).reshape([texts, width]) // [texts, hidden]
        }
        Some(Summary::Max) => {
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
