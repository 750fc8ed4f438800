//! Encoders and heads: BERT and its relatives, their weights in the Hugging Face layout, and classifiers built on them.
//!
//! Read `bert`, `mpnet`, `deberta` and `modern_bert` for what is computed, `family` for what sets a family apart, `head` and `crf` for what stands on top (`lora` beside it, `stack` for what is beyond transformers' own heads),
//! `config` for the sizes, `task` for what a model is for, `names` and `parameters` for how tensors are called, `files`,
//! `checkpoint`, `weights` and `artifact` for files, `onnx` for what onnxruntime reads. A [`Classifier`] computes what the family's `…ForSequenceClassification`,
//! `…ForTokenClassification` or `…ForQuestionAnswering` of transformers computes, to float32 rounding, and draws its random numbers (new weights in `initial`, masks through `dropout`) from the seed alone:
//! never from a generator that the process shares.
//!
//! Deliberately absent: losses, optimizers and the training loop (see `learn`), and any choice of device.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

pub use crate::kernels::Spans;
#[cfg(test)]
pub(crate) use family::reference::{MODELS as REFERENCE_MODELS, whole as reference_model};

use names::Names;

mod artifact;
mod bert;
mod checkpoint;
mod checks;
mod config;
mod crf;
mod deberta;
mod dropout;
mod encoder;
mod family;
mod files;
mod foreign;
mod freeze;
mod head;
mod initial;
mod layers;
mod lora;
mod masked;
mod modern_bert;
mod mpnet;
mod names;
mod onnx;
mod parameters;
mod stack;
mod task;
#[cfg(test)]
mod tests;
mod weights;

pub use artifact::{ModelInfo, PretrainingInfo, open, open_as, save, save_masked};
pub use bert::{Batch, Bert, Given};
pub use checkpoint::{Checkpoint, CheckpointError, StoredTensor};
pub use config::{
    Activation, Before, DenseHead, EncoderConfig, HeadNorm, Own, PositionEmbedding,
    ScratchSettings, Sharing, Vocabulary, check_fits,
};
pub use crf::{Crf, CrfValues, Forbidden};
pub use deberta::{Deberta, DebertaConfig, Terms};
pub use dropout::Mode;
pub use encoder::Encoder;
pub use family::Family;
pub use files::{EncoderFiles, WeightsForm};
pub use freeze::freeze;
pub use head::{Head, HeadKind, HeadSettings, Pooling, Reads, Summary, summarise};
pub use lora::{LoraSettings, adapt, adapted_modules, learning, merged, write as write_adapter};
pub use masked::{Masked, MaskedHead};
pub use modern_bert::{
    ClassifierPooling, LayerType, ModernBert, ModernBertConfig, Rope, RopeParameters,
};
pub use mpnet::{MpNet, MpNetConfig};
pub use names::{decays, fits};
pub use onnx::{OnnxPrecision, write_onnx};
pub use parameters::{
    MapParameters, Parameter, VisitParameters, map_parameters, named_parameters, visit_parameters,
};
pub use stack::{Combine, Stack};
pub use task::Task;
pub use weights::{LoadReport, Misfit, Misfits, set_tensors};

/// An encoder and a head: one of the `…For…` classes in the reference.
///
/// It lives on the device it was built on. burn's `train()` gives a copy that records gradients, `valid()` one that
/// does not; dropout follows the [`Mode`] of each call and nothing else.
#[derive(Module, Debug)]
pub struct Classifier {
    pub encoder: Encoder,
    pub head: Head,
    #[module(skip)]
    names: Names,
    /// So many layers, and what is below them, drop nothing in training; see [`with_frozen`](Self::with_frozen).
    #[module(skip)]
    frozen: Option<usize>,
    #[module(skip)]
    adapted: Option<lora::Adapted>,
}

impl Classifier {
    /// The encoder in `files` with a new head, drawn from `seed`.
    ///
    /// # Errors
    /// A `config.json` or weights that are missing, broken, or do not fit each other; see [`ModelError`].
    pub fn pretrained(
        files: &EncoderFiles,
        head: &HeadKind,
        seed: u64,
        device: &Device,
    ) -> Result<(Classifier, EncoderConfig, LoadReport), ModelError> {
        Classifier::pretrained_dropping(files, head, None, seed, device)
    }

    /// The same with another dropout than the one in `config.json`, where `dropout` says one.
    ///
    /// # Errors
    /// As [`pretrained`](Self::pretrained).
    pub fn pretrained_dropping(
        files: &EncoderFiles,
        head: &HeadKind,
        dropout: Option<f64>,
        seed: u64,
        device: &Device,
    ) -> Result<(Classifier, EncoderConfig, LoadReport), ModelError> {
        let mut config = EncoderConfig::read(&files.config)?;
        if let Some(dropout) = dropout {
            config.hidden_dropout_prob = dropout;
            config.output_dropout = dropout;
            config.attention_probs_dropout_prob = dropout;
        }
        let unset = Classifier::unset(&config, head, device)?;
        let draw = |name: &str, shape: &[usize]| initial::draw(name, shape, &config, seed);
        let checkpoint = Checkpoint::open(files)?;
        let (classifier, report) = weights::load(unset, &checkpoint, weights::Rest::Drawn(&draw))?;
        Ok((classifier, config, report))
    }

    /// An encoder of the given sizes over `vocabulary`, with a head, every weight drawn from `seed`.
    ///
    /// # Errors
    /// Sizes that no encoder can have.
    pub fn scratch(
        settings: &ScratchSettings,
        vocabulary: Vocabulary,
        head: &HeadKind,
        seed: u64,
        device: &Device,
    ) -> Result<(Classifier, EncoderConfig), ModelError> {
        let config = settings.config(vocabulary)?;
        let classifier = Classifier::initialised(&config, head, seed, device)?;
        Ok((classifier, config))
    }

    /// A classifier of any configuration, every weight drawn from `seed`.
    ///
    /// # Errors
    /// A configuration that no encoder can have.
    pub fn initialised(
        config: &EncoderConfig,
        head: &HeadKind,
        seed: u64,
        device: &Device,
    ) -> Result<Classifier, ModelError> {
        let unset = Classifier::unset(config, head, device)?;
        weights::set_each(unset, |name, shape| {
            Ok(Some(initial::draw(name, shape, config, seed)))
        })
    }

    /// What the head answers: `[texts, outputs]`, or `[tokens, outputs]` for a head over tokens, whose numbers at padding
    /// have no meaning. Of a head over masked places `[asked, pieces]` for the tokens that the batch asks for; where it asks for
    /// none, of its first.
    pub fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        if self.head.masked().is_some() {
            return self.logits_at(self.hidden(batch, mode), batch.asked(), mode);
        }
        let pooled = self
            .head
            .read(&self.encoder, batch, self.frozen_in(mode), mode);
        self.head.forward(pooled, mode)
    }

    /// The encoder's last hidden state, `[tokens, hidden]`.
    pub fn hidden(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        self.encoder.forward(batch, self.frozen_in(mode), mode)
    }

    /// Where a pass begins: after how many layers, and with which hidden states, `[tokens, hidden]`: the batch's where it has
    /// some, those of the frozen layers that are below what the head reads, else what the first layer is given.
    pub fn begin(&self, batch: &Batch, mode: &Mode) -> (usize, Tensor<2>) {
        let lowest = self.encoder.lowest_of(self.head.stack().layers);
        let frozen = self.frozen_in(mode).map(|frozen| frozen.min(lowest));
        self.encoder.begin(batch, frozen, mode)
    }

    /// Where nothing is dropped anyway, no layer need be told apart.
    fn frozen_in(&self, mode: &Mode) -> Option<usize> {
        self.frozen.filter(|_| mode.trains())
    }

    /// Whether its embeddings, at least, drop nothing in training.
    pub fn begins_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// With embeddings and so many first layers that drop nothing in training: what they give is then the same in every epoch.
    pub fn with_frozen(self, layers: Option<usize>) -> Classifier {
        Classifier {
            frozen: layers,
            ..self
        }
    }

    /// What the head's layers see of [`hidden`](Self::hidden): one vector per text, `[texts, hidden]`;
    /// for a head over tokens, the hidden states as they are. In 32 bits, and only for a head that reads no layer but the last.
    pub fn pooled(&self, hidden: Tensor<2>, spans: &Spans) -> Tensor<2> {
        self.head.pool(&self.encoder, hidden, spans)
    }

    /// The attention weights of a layer (counted from 0) without dropout, `[texts, heads, length, length]`; `None` when
    /// there is no such layer.
    pub fn attention(&self, batch: &Batch, layer: usize) -> Option<Tensor<4>> {
        self.encoder.attention(batch, layer)
    }

    /// The family of its encoder.
    pub fn family(&self) -> Family {
        self.names.family
    }

    /// How many numbers it answers for each text or token.
    pub fn outputs(&self) -> usize {
        self.head.outputs()
    }

    fn unset(
        config: &EncoderConfig,
        head: &HeadKind,
        device: &Device,
    ) -> Result<Classifier, ModelError> {
        config.check("this encoder")?;
        head.check(config)?;
        let with_pooler = head.reads_pooler(config);
        Ok(Classifier {
            encoder: Encoder::unset(config, with_pooler, device),
            head: Head::unset(head, config, device),
            names: Names::of(config),
            frozen: None,
            adapted: None,
        })
    }
}

/// The device that a classifier's weights are on, with or without autodiff as they are.
pub fn device_of(classifier: &Classifier) -> Device {
    classifier.encoder.device()
}

/// A model that cannot be read, built, or written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ModelError {
    #[error("cannot read {}", path.display())]
    #[diagnostic(help(
        "an encoder is a folder with config.json and its weights; check that both are there"
    ))]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("check the free space and the permissions"))]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is broken: {reason}", path.display())]
    #[diagnostic(help("compare it with the model's page on the hub, or fetch it again"))]
    Config { path: PathBuf, reason: String },
    #[error("{} describes a model of type {found:?}", path.display())]
    #[diagnostic(help("model types that can be trained here: {}", Family::known()))]
    ModelType { path: PathBuf, found: String },
    #[error("{origin}: {field} is {found}, wanted {wanted}")]
    #[diagnostic(help("correct the value; an encoder cannot be built from it"))]
    ConfigValue {
        origin: String,
        field: &'static str,
        found: String,
        wanted: String,
    },
    #[error("there is no file `{}`", path.display())]
    #[diagnostic(help("{help}"))]
    NoFile { path: PathBuf, help: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("{} does not fit its config.json:{misfits}", path.display())]
    #[diagnostic(help("the two files must come from one model: fetch both of them again"))]
    WeightsDoNotFit { path: PathBuf, misfits: Misfits },
    #[error(
        "{} cannot say which words are likely in a place: it has no {}",
        path.display(),
        missing.join(", no ")
    )]
    #[diagnostic(help(
        "these belong to the head for masked language modelling, which sentence encoders, discriminators and fine-tuned models were saved without; take the model they were made from, such as google-bert/bert-base-uncased, or for ELECTRA the generator"
    ))]
    NoMaskedHead { path: PathBuf, missing: Vec<String> },
    #[error("the tokens need {needed} {what}, the encoder has {there}")]
    #[diagnostic(help(
        "tokenize with this encoder's own tokenizer, and with a max_length that it can hold"
    ))]
    TooSmall {
        what: &'static str,
        needed: usize,
        there: usize,
    },
    #[error("{} describes {}, which answers nothing", path.display(), class_or_none(class))]
    #[diagnostic(help(
        "give a model that was fine-tuned, such as one that an export stage placed: its class ends with ForSequenceClassification, ForTokenClassification or ForQuestionAnswering"
    ))]
    NoHead { path: PathBuf, class: String },
    #[error("there is no {}, and the model decides its tags together (CRF), by rules that stand there alone", path.display())]
    #[diagnostic(help(
        "export the model again: `refit run` writes a model.json into every bundle"
    ))]
    NoInfo { path: PathBuf },
    #[error("a model needs at least one label or target to answer with")]
    #[diagnostic(help("train on a table with a column of labels, tags or targets"))]
    NoOutputs,
    #[error("no linear layer of the encoder is called {pattern}")]
    #[diagnostic(help(
        "names are those of transformers' modules, or how these end; there are {}",
        known.join(", ")
    ))]
    NoSuchModule { pattern: String, known: Vec<String> },
    #[error("the classifier has no tensor {name}")]
    #[diagnostic(help("names are those of transformers' classes, and of pytorch-crf for a CRF"))]
    NoSuchTensor { name: String },
    #[error("{found} values for {name}, wanted shape {wanted:?}")]
    #[diagnostic(help("values lie as in a checkpoint, row by row"))]
    WrongLength {
        name: String,
        found: usize,
        wanted: Vec<usize>,
    },
    #[error("cannot read the values of {name} back from the device: {reason}")]
    #[diagnostic(help(
        "the device may be out of memory: set `batch.micro_size` below `batch.size`"
    ))]
    ReadBack { name: String, reason: String },
}

fn class_or_none(class: &str) -> &str {
    match class {
        "" => "an encoder of no class",
        class => class,
    }
}
