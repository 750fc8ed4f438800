//! Encoders and heads: BERT and its relatives, their weights in the Hugging Face layout, and classifiers built on them.
//!
//! Read `bert`, `mpnet`, `deberta` and `modern_bert` for what is computed, `family` for what sets a family apart, `head` and `crf` for what stands on top,
//! `config` for the sizes, `task` for what a model is for, `names` and `parameters` for how tensors are called, `files`,
//! `checkpoint`, `weights` and `artifact` for files. A [`Classifier`] computes what the family's `…ForSequenceClassification`,
//! `…ForTokenClassification` or `…ForQuestionAnswering` of transformers computes, to float32 rounding, and draws its random numbers (new weights in `initial`, masks through `dropout`) from the seed alone:
//! never from a generator that the process shares.
//!
//! Deliberately absent: losses, optimizers and the training loop (see `learn`), and any choice of device.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::kernels::Spans;

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
mod head;
mod initial;
mod layers;
mod modern_bert;
mod mpnet;
mod names;
mod parameters;
#[cfg(test)]
mod reference;
mod task;
#[cfg(test)]
mod tests;
mod weights;

pub use artifact::{ModelInfo, open, save};
pub use bert::{Batch, Bert};
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
pub use head::{Head, HeadKind, HeadSettings, Pooling, Reads};
pub use modern_bert::{
    ClassifierPooling, LayerType, ModernBert, ModernBertConfig, Rope, RopeParameters,
};
pub use mpnet::{MpNet, MpNetConfig};
pub use names::decays;
pub use parameters::{
    MapParameters, Parameter, VisitParameters, map_parameters, named_parameters, visit_parameters,
};
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
        let config = EncoderConfig::read(&files.config)?;
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
    /// have no meaning.
    pub fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        let pooled = self.head.read(&self.encoder, batch, mode);
        self.head.forward(pooled, mode)
    }

    /// The encoder's last hidden state, `[tokens, hidden]`.
    pub fn hidden(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        self.encoder.forward(batch, mode)
    }

    /// What the head's layers see of [`hidden`](Self::hidden): one vector per text, `[texts, hidden]`;
    /// for a head over tokens, the hidden states as they are.
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
        let dropout = head.dropout(config);
        if !(0.0..1.0).contains(&dropout) {
            return Err(ModelError::ConfigValue {
                origin: "this head".to_owned(),
                field: "dropout",
                found: dropout.to_string(),
                wanted: "a probability of at least 0 and below 1".to_owned(),
            });
        }
        if head.outputs() == 0 {
            return Err(ModelError::NoOutputs);
        }
        let with_pooler = head.reads() == Reads::Texts(Pooling::Pooler) && config.dense.is_none();
        Ok(Classifier {
            encoder: Encoder::unset(config, with_pooler, device),
            head: Head::unset(head, config, device),
            names: Names::of(config),
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
    #[diagnostic(help("the two files must come from one model"))]
    WeightsDoNotFit { path: PathBuf, misfits: Misfits },
    #[error("the tokens need {needed} {what}, the encoder has {there}")]
    #[diagnostic(help(
        "tokenize with this encoder's own tokenizer, and with a max_length that it can hold"
    ))]
    TooSmall {
        what: &'static str,
        needed: usize,
        there: usize,
    },
    #[error("a model needs at least one label or target to answer with")]
    #[diagnostic(help("train on a table with a column of labels, tags or targets"))]
    NoOutputs,
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
    #[diagnostic(help("the device may be out of memory; a smaller batch helps"))]
    ReadBack { name: String, reason: String },
}
