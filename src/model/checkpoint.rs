//! Checkpoints: the tensors of an encoder's folder, in whichever of the four forms it has them.
//!
//! ```text
//!  model.safetensors ───────────────── safetensors ┐
//!  model.safetensors.index.json ─ index ─ shards ──┤
//!  pytorch_model.bin ── archive, pickle, pytorch ──┼── Checkpoint: names, types, shapes; values one tensor at a time
//!  pytorch_model.bin.index.json ─ index ─ shards ──┘
//! ```
//!
//! [`Checkpoint::open`] reads headers only. [`Checkpoint::read`] reads the values of one tensor, at their place in the file
//! and into memory of its own: no file is mapped, so what was read and used is gone from memory.
//!
//! Promise: a file from a stranger is refused with a reason or gives tensors. No code in it is ever run, every offset and
//! product is checked before it is used, and what it can make this program allocate is bounded by its own size and by
//! [`MOST_HEADER_BYTES`].
//!
//! Deliberately absent: what the names mean (see `weights`), checksums (the store digests whole files), writing, and the
//! formats of TensorFlow, Flax and ONNX.

mod archive;
mod index;
mod pickle;
mod pytorch;
mod safetensors;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ::safetensors::Dtype;

use super::files::{EncoderFiles, WeightsForm};

pub(super) use index::shards;

/// The most that a header, an index, a pickle or a zip file's directory may have: hundreds of times what the largest
/// encoders need, and little enough to be read whole.
const MOST_HEADER_BYTES: u64 = 16 << 20;
/// The most that a tensor's name may have.
const MOST_NAME_BYTES: usize = 1024;
/// What is read at once while values are converted; a multiple of every type's size.
const CHUNK_BYTES: usize = 1 << 20;

/// The tensors of one file, or of the shards that one index names. Their values stay on disk.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<PathBuf>,
    tensors: Vec<StoredTensor>,
}

/// A tensor in a file, without its values.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTensor {
    /// As the file has it.
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    file: usize,
    place: Place,
}

/// Where a tensor's values lie in its file: checked to be inside it.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    /// Of the first value, in bytes from the file's start.
    start: u64,
    /// How many values lie from one to the next along each dimension; none for row by row, without gaps.
    strides: Option<Vec<usize>>,
}

impl StoredTensor {
    /// Whether its type is one that weights have: F16, BF16, F32 or F64.
    pub fn is_float(&self) -> bool {
        matches!(
            self.dtype,
            Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64
        )
    }
}

impl Checkpoint {
    /// Lists the tensors of an encoder's weights.
    ///
    /// # Errors
    /// A file that cannot be read, is not what its name says, or was made to do harm; an index that names what is not there.
    pub fn open(files: &EncoderFiles) -> Result<Checkpoint, CheckpointError> {
        match files.form {
            WeightsForm::Safetensors | WeightsForm::Pytorch => {
                let mut tensors = list(files.form, &files.weights)?;
                tensors.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(Checkpoint {
                    path: files.weights.clone(),
                    files: vec![files.weights.clone()],
                    tensors,
                })
            }
            WeightsForm::SafetensorsIndex => Checkpoint::sharded(files, WeightsForm::Safetensors),
            WeightsForm::PytorchIndex => Checkpoint::sharded(files, WeightsForm::Pytorch),
        }
    }

    /// Lists the tensors of a single safetensors file.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn safetensors(path: &Path) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::open(&EncoderFiles {
            config: PathBuf::new(),
            weights: path.to_owned(),
            form: WeightsForm::Safetensors,
            shards: BTreeMap::new(),
        })
    }

    /// The index says which shard has which tensor; what a shard has beyond that is not part of the checkpoint.
    fn sharded(files: &EncoderFiles, form: WeightsForm) -> Result<Checkpoint, CheckpointError> {
        let mut checkpoint = Checkpoint {
            path: files.weights.clone(),
            files: Vec::new(),
            tensors: Vec::new(),
        };
        for (shard, names) in shards(&files.weights)? {
            let path = match files.shards.get(&shard) {
                Some(path) => path.clone(),
                None => files.weights.with_file_name(&shard),
            };
            let mut there: BTreeMap<String, StoredTensor> = list(form, &path)?
                .into_iter()
                .map(|tensor| (tensor.name.clone(), tensor))
                .collect();
            for name in names {
                let Some(tensor) = there.remove(&name) else {
                    return Err(CheckpointError::NotInShard {
                        index: files.weights.clone(),
                        shard,
                        name,
                    });
                };
                checkpoint.tensors.push(StoredTensor {
                    file: checkpoint.files.len(),
                    ..tensor
                });
            }
            checkpoint.files.push(path);
        }
        checkpoint.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(checkpoint)
    }

    /// The file that was opened: the weights, or the index of them.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its tensors, in the order of their names, each of which is there once.
    pub fn tensors(&self) -> &[StoredTensor] {
        &self.tensors
    }

    /// The file that has the values of one of its tensors.
    pub fn file(&self, tensor: &StoredTensor) -> &Path {
        self.files.get(tensor.file).unwrap_or(&self.path)
    }

    /// The values of one of its tensors, row by row, as many as its shape says.
    ///
    /// # Errors
    /// Values of a type that weights do not have, a file that changed since it was opened, or too little memory.
    pub fn read(&self, tensor: &StoredTensor) -> Result<Vec<f32>, CheckpointError> {
        let path = self.file(tensor);
        if !tensor.is_float() {
            return Err(CheckpointError::NoWeights {
                path: path.to_owned(),
                name: tensor.name.clone(),
                found: tensor.dtype,
            });
        }
        let read = || -> io::Result<Vec<f32>> {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(tensor.place.start))?;
            let Some(strides) = &tensor.place.strides else {
                let count = tensor.shape.iter().product();
                return floats(&mut file, tensor.dtype, count);
            };
            let span = 1 + furthest(&tensor.shape, strides).ok_or(ErrorKind::InvalidData)?;
            gather(
                &floats(&mut file, tensor.dtype, span)?,
                &tensor.shape,
                strides,
            )
        };
        read().map_err(unreadable(path))
    }
}

fn list(form: WeightsForm, path: &Path) -> Result<Vec<StoredTensor>, CheckpointError> {
    let mut file = File::open(path).map_err(unreadable(path))?;
    let metadata = file.metadata().map_err(unreadable(path))?;
    if metadata.is_dir() {
        return Err(unreadable(path)(ErrorKind::IsADirectory.into()));
    }
    let bytes = metadata.len();
    let listed = match form {
        WeightsForm::Safetensors | WeightsForm::SafetensorsIndex => {
            safetensors::list(&mut file, bytes)
        }
        WeightsForm::Pytorch | WeightsForm::PytorchIndex => pytorch::list(&mut file, bytes),
    };
    let broken = |reason: String| {
        let path = path.to_owned();
        match form {
            WeightsForm::Safetensors | WeightsForm::SafetensorsIndex => {
                CheckpointError::NotSafetensors {
                    path,
                    bytes,
                    reason,
                }
            }
            WeightsForm::Pytorch | WeightsForm::PytorchIndex => CheckpointError::NotPytorch {
                path,
                bytes,
                reason,
            },
        }
    };
    let listed = match listed {
        Err(Flaw::Broken(_)) if is_lfs_pointer(&mut file) => Err(Flaw::Broken(
            "it is a Git LFS pointer, not the file itself".to_owned(),
        )),
        other => other,
    };
    let tensors = listed.map_err(|flaw| match flaw {
        Flaw::Unreadable(source) => unreadable(path)(source),
        Flaw::Broken(reason) => broken(reason),
        Flaw::Asks(what) => CheckpointError::Code {
            path: path.to_owned(),
            what,
        },
    })?;
    let nameless = |name: &str| name.len() > MOST_NAME_BYTES || name.chars().any(char::is_control);
    match tensors.iter().find(|tensor| nameless(&tensor.name)) {
        Some(tensor) => Err(broken(format!(
            "{} is no tensor's name",
            shown(&tensor.name)
        ))),
        None => Ok(tensors),
    }
}

/// What keeps a file from being listed.
#[derive(Debug)]
enum Flaw {
    Unreadable(io::Error),
    /// It is not what it should be, and why.
    Broken(String),
    /// It wants something done that no weights need: the name of it.
    Asks(String),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Flaw {
        Flaw::Unreadable(error)
    }
}

fn broken<T>(reason: impl Into<String>) -> Result<T, Flaw> {
    Err(Flaw::Broken(reason.into()))
}

/// A word from a stranger's file, fit to be shown: short, and without control characters.
fn shown(word: &str) -> String {
    const SHOWN: usize = 80;
    let start: String = word.chars().take(SHOWN).collect();
    let more = if word.chars().nth(SHOWN).is_some() {
        "…"
    } else {
        ""
    };
    format!("{}{more}", start.escape_debug())
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> CheckpointError {
    |source| CheckpointError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

fn is_lfs_pointer(file: &mut File) -> bool {
    const POINTER: &[u8] = b"version https://git-lfs";
    bytes_at(file, 0, POINTER.len()).is_ok_and(|start| start == POINTER)
}

/// `length` bytes from `start`; the caller has checked `length` against the file's size or a bound.
fn bytes_at(file: &mut File, start: u64, length: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The next `count` values as F32.
fn floats(file: &mut impl Read, dtype: Dtype, count: usize) -> io::Result<Vec<f32>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(count)
        .map_err(|_| ErrorKind::OutOfMemory)?;
    let size = dtype.bitsize() / 8;
    let mut chunk = vec![0; CHUNK_BYTES.min(count.saturating_mul(size))];
    while values.len() < count {
        let bytes = chunk.len().min((count - values.len()).saturating_mul(size));
        let bytes = chunk.get_mut(..bytes).unwrap_or_default();
        file.read_exact(bytes)?;
        match dtype {
            Dtype::F32 => each(bytes, f32::from_le_bytes, &mut values),
            Dtype::F16 => each(
                bytes,
                |value| half::f16::from_le_bytes(value).to_f32(),
                &mut values,
            ),
            Dtype::BF16 => each(
                bytes,
                |value| half::bf16::from_le_bytes(value).to_f32(),
                &mut values,
            ),
            Dtype::F64 => each(bytes, |value| f64::from_le_bytes(value) as f32, &mut values),
            _ => return Err(ErrorKind::Unsupported.into()),
        }
    }
    Ok(values)
}

fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32, values: &mut Vec<f32>) {
    values.extend(bytes.as_chunks::<N>().0.iter().map(|&value| read(value)));
}

/// The values of a tensor of `shape` that lie `strides` apart, row by row.
fn gather(values: &[f32], shape: &[usize], strides: &[usize]) -> io::Result<Vec<f32>> {
    let count = shape.iter().product();
    let mut gathered = Vec::new();
    gathered
        .try_reserve_exact(count)
        .map_err(|_| ErrorKind::OutOfMemory)?;
    let mut place = vec![0; shape.len()];
    let mut at = 0;
    while gathered.len() < count {
        gathered.push(*values.get(at).ok_or(ErrorKind::InvalidData)?);
        for ((step, &size), &stride) in place.iter_mut().zip(shape).zip(strides).rev() {
            *step += 1;
            at += stride;
            if *step < size {
                break;
            }
            at -= size * stride;
            *step = 0;
        }
    }
    Ok(gathered)
}

/// How far the last value lies from the first; `None` without values, and for what no memory can hold.
fn furthest(shape: &[usize], strides: &[usize]) -> Option<usize> {
    shape
        .iter()
        .zip(strides)
        .try_fold(0usize, |sum, (&size, &stride)| {
            sum.checked_add(size.checked_sub(1)?.checked_mul(stride)?)
        })
}

/// Weights that cannot be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CheckpointError {
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("check that the file is there and can be read"))]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} ({bytes} bytes) is not a whole safetensors file: {reason}", path.display())]
    #[diagnostic(help(
        "fetch it again; a file in another format can be converted with transformers' save_pretrained"
    ))]
    NotSafetensors {
        path: PathBuf,
        bytes: u64,
        reason: String,
    },
    #[error("{} ({bytes} bytes) is not a whole PyTorch checkpoint: {reason}", path.display())]
    #[diagnostic(help(
        "fetch it again; if it is whole, load it in transformers and `save_pretrained` it, which writes model.safetensors"
    ))]
    NotPytorch {
        path: PathBuf,
        bytes: u64,
        reason: String,
    },
    #[error("{} asks for {what}, which no weights need", path.display())]
    #[diagnostic(help(
        "nothing in it was run: only tensors are read from a PyTorch checkpoint; take model.safetensors from whoever made it, and do not open this file elsewhere unless you trust them"
    ))]
    Code { path: PathBuf, what: String },
    #[error("{} is not an index of weights: {reason}", path.display())]
    #[diagnostic(help(
        "it holds a `weight_map` from each tensor's name to a file beside it; fetch it again"
    ))]
    Index { path: PathBuf, reason: String },
    #[error("{} says that {shard} holds {name}, and it does not", index.display())]
    #[diagnostic(help("index and shards must come from one model; fetch all of them again"))]
    NotInShard {
        index: PathBuf,
        shard: String,
        name: String,
    },
    #[error("{name} in {} holds {found}, wanted F32, F16, BF16 or F64", path.display())]
    #[diagnostic(help(
        "weights are floating-point numbers: take the model as it was before it was quantised"
    ))]
    NoWeights {
        path: PathBuf,
        name: String,
        found: Dtype,
    },
}
