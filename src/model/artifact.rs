//! A trained model on disk: `model.safetensors`, `config.json`, `model.json`; or, of a model that predicts masked words, the first
//! two and `pretraining.json`.
//!
//! The first two are what transformers reads; the third is what only this program needs. Equal models give equal
//! bytes. The other files of a model artifact (tokenizer, metrics) are the train stage's.

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::config::EncoderConfig;
use super::head::{HeadKind, Pooling};
use super::masked::MaskedHead;
use super::stack::Stack;
use super::weights::{self, Rest};
use super::{Checkpoint, Classifier, EncoderFiles, ModelError, Task};

/// What a model was made for and how: `model.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    pub task: Task,
    /// Of a head over whole texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<Pooling>,
    pub head_dropout: f64,
    /// What the head has beyond one of transformers' own class.
    #[serde(default, skip_serializing_if = "Stack::is_plain")]
    pub stack: Stack,
    /// In the order of the head's numbers; none for numbers and answers.
    pub label_names: Vec<String>,
    /// The same for a model that answers with numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_names: Option<Vec<String>>,
    /// Whether the head learned how well labels follow each other.
    #[serde(default, skip_serializing_if = "is_false")]
    pub crf: bool,
    /// The tagging scheme that the labels of words follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// From which probability on each label is given, in the order of the labels. Of questions one number: by how much the
    /// score of no answer must exceed that of the best one for there to be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Vec<f64>>,
    /// The most tokens that an answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_answer_length: Option<usize>,
    /// How many answers are kept for each question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_best: Option<usize>,
    /// The length in tokens to which texts were cut, or of the windows into which they were.
    pub max_length: usize,
    /// The tokens that neighbouring windows of one text share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// The tokens that it was trained on came from this tokenizer.
    pub tokenizer_digest: String,
    /// The epoch, counted from 1, after which the kept weights were reached.
    pub best_epoch: u64,
    /// The optimizer steps after which the kept weights were reached.
    pub best_step: u64,
    /// The optimizer steps of the whole training.
    pub steps: u64,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl ModelInfo {
    /// The names of what the head's numbers are about; none for start and end of an answer.
    pub fn names(&self) -> &[String] {
        match self.task {
            Task::Regression => self.target_names.as_deref().unwrap_or_default(),
            _ => &self.label_names,
        }
    }

    /// The head that the model has.
    pub fn head(&self) -> HeadKind {
        let (outputs, dropout) = (self.names().len(), Some(self.head_dropout));
        match self.task {
            Task::Classification | Task::MultiLabel | Task::Regression => HeadKind::Texts {
                outputs,
                pooling: self.pooling.unwrap_or_default(),
                dropout,
                stack: self.stack.clone(),
            },
            Task::TokenClassification => HeadKind::Tokens {
                outputs,
                crf: self.crf,
                dropout,
                stack: self.stack.clone(),
            },
            Task::QuestionAnswering => HeadKind::Spans,
        }
    }

    /// Reads the `model.json` of a model artifact.
    ///
    /// # Errors
    /// The file is missing or is no `model.json`.
    pub fn read(folder: &Path) -> Result<ModelInfo, ModelError> {
        let path = folder.join("model.json");
        let bytes = std::fs::read(&path).map_err(|source| ModelError::Unreadable {
            path: path.clone(),
            source,
        })?;
        serde_json::from_slice(&bytes).map_err(|e| ModelError::Config {
            path,
            reason: e.to_string(),
        })
    }
}

/// Writes `classifier` into `folder`.
///
/// # Errors
/// A file that cannot be written, or values that the device could not hand over.
pub fn save(
    folder: &Path,
    classifier: &Classifier,
    config: &EncoderConfig,
    info: &ModelInfo,
) -> Result<(), ModelError> {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(|source| ModelError::Write { path, source })
    };
    let json = |value: serde_json::Value| format!("{value:#}\n");
    weights::write(classifier, &folder.join("model.safetensors"))?;
    write(
        "config.json",
        json(config.for_task(info.task, info.names(), info.head_dropout)).as_bytes(),
    )?;
    write("model.json", json(serde_json::json!(info)).as_bytes())
}

/// How a model that predicts masked words was made: `pretraining.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PretrainingInfo {
    /// The most tokens of the rows that it learned from.
    pub max_length: usize,
    /// They came from this tokenizer.
    pub tokenizer_digest: String,
    /// The epoch, counted from 1, after which the kept weights were reached.
    pub best_epoch: u64,
    /// The optimizer steps after which the kept weights were reached.
    pub best_step: u64,
    /// The optimizer steps of the whole training.
    pub steps: u64,
}

impl PretrainingInfo {
    /// Its file in a folder.
    pub const FILE: &str = "pretraining.json";

    /// Reads the file of a pretrained encoder.
    ///
    /// # Errors
    /// It is missing or is another.
    pub fn read(folder: &Path) -> Result<PretrainingInfo, ModelError> {
        let path = folder.join(PretrainingInfo::FILE);
        let bytes = std::fs::read(&path).map_err(|source| ModelError::Unreadable {
            path: path.clone(),
            source,
        })?;
        serde_json::from_slice(&bytes).map_err(|e| ModelError::Config {
            path,
            reason: e.to_string(),
        })
    }
}

/// Writes a model that predicts masked words into `folder`.
///
/// # Errors
/// A file that cannot be written, or values that the device could not hand over.
pub fn save_masked(
    folder: &Path,
    classifier: &Classifier,
    config: &EncoderConfig,
    info: &PretrainingInfo,
) -> Result<(), ModelError> {
    let own_matrix = classifier
        .head
        .masked()
        .is_some_and(MaskedHead::has_own_matrix);
    weights::write(classifier, &folder.join("model.safetensors"))?;
    for (name, value) in [
        ("config.json", config.for_masked(own_matrix)),
        (PretrainingInfo::FILE, serde_json::json!(info)),
    ] {
        let path = folder.join(name);
        let text = format!("{value:#}\n");
        std::fs::write(&path, text).map_err(|source| ModelError::Write { path, source })?;
    }
    Ok(())
}

/// Reads a model artifact onto `device`.
///
/// # Errors
/// As for an encoder's files; the weights must have every tensor of the model.
pub fn open(
    folder: &Path,
    device: &Device,
) -> Result<(Classifier, EncoderConfig, ModelInfo), ModelError> {
    let info = ModelInfo::read(folder)?;
    let (classifier, config) = open_as(&info, folder, device)?;
    Ok((classifier, config, info))
}

/// Reads the model in `folder` onto `device`, which was made for what `info` says; its weights may have any form that
/// transformers writes.
///
/// # Errors
/// As [`open`].
pub fn open_as(
    info: &ModelInfo,
    folder: &Path,
    device: &Device,
) -> Result<(Classifier, EncoderConfig), ModelError> {
    let files = EncoderFiles::in_folder(folder);
    let config = EncoderConfig::read(&files.config)?;
    let unset = Classifier::unset(&config, &info.head(), device)?;
    let checkpoint = Checkpoint::open(&files)?;
    let (classifier, _) = weights::load(unset, &checkpoint, Rest::None)?;
    Ok((classifier, config))
}
