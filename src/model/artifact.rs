//! A trained model on disk: `model.safetensors`, `config.json`, `model.json`.
//!
//! The first two are what transformers reads; `model.json` is what only this program needs. Equal models give equal
//! bytes. The other files of a model artifact (tokenizer, metrics) are the train stage's.

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::config::EncoderConfig;
use super::head::Pooling;
use super::weights::{self, Rest};
use super::{Classifier, ModelError};

/// What a model was made for and how: `model.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `classification`.
    pub task: String,
    pub pooling: Pooling,
    pub head_dropout: f64,
    /// In the order of the logits.
    pub label_names: Vec<String>,
    /// The length in tokens to which texts were cut.
    pub max_length: usize,
    /// The tokens that it was trained on came from this tokenizer.
    pub tokenizer_digest: String,
    /// The epoch, counted from 1, after which the kept weights were reached.
    pub best_epoch: u64,
    /// The optimizer steps after which the kept weights were reached.
    pub best_step: u64,
    /// The optimizer steps of the whole training.
    pub steps: u64,
}

impl ModelInfo {
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
    write("model.safetensors", &weights::serialise(classifier)?)?;
    write(
        "config.json",
        json(config.for_classification(&info.label_names, info.head_dropout)).as_bytes(),
    )?;
    write("model.json", json(serde_json::json!(info)).as_bytes())
}

/// Reads a model artifact onto `device`.
///
/// # Errors
/// As for an encoder's files; the weights must have every tensor of the classifier.
pub fn open(
    folder: &Path,
    device: &Device,
) -> Result<(Classifier, EncoderConfig, ModelInfo), ModelError> {
    let info = ModelInfo::read(folder)?;
    let config = EncoderConfig::read(&folder.join("config.json"))?;
    let unset = Classifier::unset(
        &config,
        info.pooling,
        info.head_dropout,
        info.label_names.len(),
        device,
    )?;
    let (classifier, _) = weights::load(unset, &folder.join("model.safetensors"), Rest::None)?;
    Ok((classifier, config, info))
}
