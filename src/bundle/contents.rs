//! What is in a bundle and where it came from, without a device: files, sizes, labels, tokenizer, and what was laid beside
//! them when they were placed.
//!
//! Promise: an adapter, and a model in ONNX alone, of which nothing can be asked, can be looked at.
//!
//! Deliberately absent: whether the weights are any good.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{BundleError, Found, name_of};
use crate::artifact;
use crate::model::{Checkpoint, EncoderConfig, EncoderFiles, ModelError, ModelInfo};

/// What is laid beside a bundle where it was placed, by the names of its files there.
const ORIGIN: &str = "provenance.json";
const MARKER: &str = ".refit.json";

/// What is in a bundle.
#[derive(Debug, Serialize)]
pub struct Contents {
    pub name: String,
    /// What it was made for.
    pub model: ModelInfo,
    pub encoder: EncoderSizes,
    /// None where the model is there in ONNX alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// The files of ONNX that are there in place of weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub graphs: Vec<String>,
    pub tokenizer: TokenizerFacts,
    /// Every file but hidden ones.
    pub files: Vec<FileSize>,
    /// Of all files together.
    pub bytes: u64,
    /// `provenance.json`: pipeline, stage, digests of data, settings, scores; none where no refit placed it, or an older one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Value>,
    /// The hub's page that it was uploaded to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
}

/// The sizes of an encoder.
#[derive(Debug, Serialize)]
pub struct EncoderSizes {
    pub family: String,
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub intermediate: usize,
    /// Rows of the word embeddings.
    pub vocabulary: usize,
    /// The longest text in tokens that it has positions for.
    pub positions: usize,
}

#[derive(Debug, Serialize)]
pub struct Weights {
    /// Whether they are an adapter alone, without the encoder that it was learned on.
    pub adapter: bool,
    pub tensors: usize,
    pub parameters: u64,
    /// The types of their values.
    pub dtypes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct TokenizerFacts {
    /// Of its model: WordPiece, BPE, Unigram.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Ids, added tokens included.
    pub vocabulary: usize,
    pub digest: String,
    /// Whether it is the one that the model learned from, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_trained: Option<bool>,
}

#[derive(Debug, Serialize)]
pub struct FileSize {
    pub name: String,
    pub bytes: u64,
}

impl Contents {
    /// Of the bundle in `folder`.
    ///
    /// # Errors
    /// As [`Bundle::open`](super::Bundle::open), but that an adapter is one too, and a model in ONNX alone.
    pub fn read(folder: &Path) -> Result<Contents, BundleError> {
        let found = Found::in_folder(folder)?;
        let (info, tokenizer) = found.info()?;
        let config = EncoderConfig::read(&folder.join("config.json"))?;
        let weights = match found.graphs.is_empty() {
            true => Some(Weights::read(&found)?),
            false => None,
        };
        let mut files = Vec::new();
        for path in artifact::files_under(folder)? {
            let name = artifact::relative_name(folder, &path);
            if !name.starts_with('.') {
                let bytes = std::fs::metadata(&path).map_or(0, |found| found.len());
                files.push(FileSize { name, bytes });
            }
        }
        let digest = tokenizer.digest();
        let of_tokenizer = json(&found.tokenizer.join("tokenizer.json"));
        let published = json(&folder.join(MARKER));
        let published = published.and_then(|marker| marker.get("published").cloned());
        Ok(Contents {
            name: name_of(folder),
            encoder: EncoderSizes {
                family: config.family.to_string(),
                layers: config.layers.layers,
                hidden: config.hidden_size,
                heads: config.num_attention_heads,
                intermediate: config.intermediate_size,
                vocabulary: config.vocab_size,
                positions: config.longest(),
            },
            weights,
            graphs: found.graphs,
            tokenizer: TokenizerFacts {
                kind: of_tokenizer
                    .and_then(|file| Some(file.pointer("/model/type")?.as_str()?.to_owned())),
                vocabulary: tokenizer.vocab_size(),
                as_trained: found.own.then(|| digest == info.tokenizer_digest),
                digest,
            },
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
            origin: json(&folder.join(ORIGIN)),
            published: published.and_then(|page| Some(page.as_str()?.to_owned())),
            model: info,
        })
    }

    /// Each label's threshold, where it has one of its own.
    pub fn thresholds(&self) -> BTreeMap<&str, f64> {
        let thresholds = self.model.thresholds.iter().flatten().copied();
        let names = self.model.names().iter().map(String::as_str);
        names.zip(thresholds).collect()
    }
}

impl Weights {
    fn read(found: &Found<'_>) -> Result<Weights, BundleError> {
        let checkpoint = match found.adapter {
            true => Checkpoint::safetensors(&found.folder.join("adapter_model.safetensors")),
            false => Checkpoint::open(&EncoderFiles::in_folder(found.folder)),
        };
        let checkpoint = checkpoint.map_err(ModelError::from)?;
        let tensors = checkpoint.tensors();
        let dtypes: BTreeSet<String> = tensors.iter().map(|one| one.dtype.to_string()).collect();
        let parameters = tensors.iter().map(|tensor| {
            let sizes = tensor.shape.iter().map(|&size| size as u64);
            sizes.fold(1, u64::saturating_mul)
        });
        Ok(Weights {
            adapter: found.adapter,
            tensors: tensors.len(),
            parameters: parameters.fold(0, u64::saturating_add),
            dtypes: dtypes.into_iter().collect(),
        })
    }
}

/// A file that is worth telling of, and no loss where it is damaged or not there.
fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
