//! Where an encoder's files are: `config.json`, and its weights in one of four forms.
//!
//! Deliberately absent: what is in them (see `config` and `checkpoint`), and tokenizers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ModelError;
use super::checkpoint;

const CONFIG: &str = "config.json";

/// How a folder has its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightsForm {
    Safetensors,
    /// Several safetensors files, and an index that says which tensor is where.
    SafetensorsIndex,
    /// What `torch.save` writes.
    Pytorch,
    PytorchIndex,
}

impl WeightsForm {
    /// In the order in which transformers looks for them (`modeling_utils.py`).
    pub const ALL: [WeightsForm; 4] = [
        WeightsForm::Safetensors,
        WeightsForm::SafetensorsIndex,
        WeightsForm::Pytorch,
        WeightsForm::PytorchIndex,
    ];

    /// The name of the weights, or of their index.
    pub fn name(self) -> &'static str {
        match self {
            WeightsForm::Safetensors => "model.safetensors",
            WeightsForm::SafetensorsIndex => "model.safetensors.index.json",
            WeightsForm::Pytorch => "pytorch_model.bin",
            WeightsForm::PytorchIndex => "pytorch_model.bin.index.json",
        }
    }

    fn is_index(self) -> bool {
        matches!(
            self,
            WeightsForm::SafetensorsIndex | WeightsForm::PytorchIndex
        )
    }
}

/// The files of an encoder in the Hugging Face layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderFiles {
    /// `config.json`.
    pub config: PathBuf,
    /// The weights, or the index of them.
    pub weights: PathBuf,
    pub form: WeightsForm,
    /// Of an index: the name of each shard → where it is. Those that are not here lie beside the index.
    pub shards: BTreeMap<String, PathBuf>,
}

impl EncoderFiles {
    /// The files where a folder in the Hugging Face layout has them, whether or not they are there.
    pub fn in_folder(folder: &Path) -> EncoderFiles {
        let weights = |form: &WeightsForm| folder.join(form.name());
        let form = WeightsForm::ALL
            .into_iter()
            .find(|form| weights(form).is_file())
            .unwrap_or(WeightsForm::Safetensors);
        EncoderFiles {
            config: folder.join(CONFIG),
            weights: weights(&form),
            form,
            shards: BTreeMap::new(),
        }
    }

    /// The files of a folder, all of which are there.
    ///
    /// # Errors
    /// Every file that is missing, or an index that names no files beside it.
    pub fn find(folder: &Path) -> Result<EncoderFiles, Vec<ModelError>> {
        let files = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        gather(files, folder)
    }

    /// The same among files by the names that they have in their folder, wherever they lie.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn among(files: &BTreeMap<String, PathBuf>) -> Result<EncoderFiles, Vec<ModelError>> {
        gather(|name| files.get(name).cloned(), Path::new(""))
    }

    /// All files, by the names that they have in their folder.
    pub fn named(&self) -> Vec<(String, PathBuf)> {
        let first = [
            (CONFIG.to_owned(), self.config.clone()),
            (self.form.name().to_owned(), self.weights.clone()),
        ];
        let shards = self
            .shards
            .iter()
            .map(|(name, path)| (name.clone(), path.clone()));
        first.into_iter().chain(shards).collect()
    }
}

/// `files` has the path of each file that is there.
fn gather(
    files: impl Fn(&str) -> Option<PathBuf>,
    folder: &Path,
) -> Result<EncoderFiles, Vec<ModelError>> {
    let missing = |name: &str, help: String| ModelError::NoFile {
        path: folder.join(name),
        help,
    };
    let layout = "an encoder's folder holds config.json and model.safetensors or pytorch_model.bin, as `save_pretrained` of transformers writes them";
    let config = files(CONFIG).ok_or_else(|| missing(CONFIG, layout.to_owned()));
    let weights = WeightsForm::ALL
        .into_iter()
        .find_map(|form| Some((form, files(form.name())?)))
        .ok_or_else(|| {
            let foreign = ["tf_model.h5", "flax_model.msgpack", "model.onnx"];
            let help = match foreign.into_iter().find(|name| files(name).is_some()) {
                Some(foreign) => format!(
                    "it has {foreign}, which refit does not read: take a version of the model with model.safetensors, or convert it with transformers"
                ),
                None => layout.to_owned(),
            };
            missing(WeightsForm::Safetensors.name(), help)
        });
    let (config, (form, weights)) = match (config, weights) {
        (Ok(config), Ok(weights)) => (config, weights),
        (config, weights) => {
            return Err(config.err().into_iter().chain(weights.err()).collect());
        }
    };
    let named = match form.is_index() {
        true => checkpoint::shards(&weights).map_err(|error| vec![error.into()])?,
        false => BTreeMap::new(),
    };
    let mut shards = BTreeMap::new();
    let mut errors = Vec::new();
    for name in named.into_keys() {
        match files(&name) {
            Some(path) => _ = shards.insert(name, path),
            None => {
                let help = format!(
                    "{} names it as one of the files that hold the weights; fetch the whole folder again",
                    form.name()
                );
                errors.push(missing(&name, help));
            }
        }
    }
    match errors.is_empty() {
        true => Ok(EncoderFiles {
            config,
            weights,
            form,
            shards,
        }),
        false => Err(errors),
    }
}
