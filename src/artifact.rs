//! Artifacts: the kinds of finished result, and the digest of their content.
//!
//! An artifact is a folder. Its [`Digest`] is a hash of *canonical* content: for a safetensors file the tensors (sorted
//! name, dtype, shape, bytes), because the writer may order the header as it likes; for every other file its bytes. The
//! folder's digest covers the kind and the sorted relative paths with their digests, so equal content has an equal digest
//! wherever it lies and whenever it was made.
//!
//! Deliberately absent: any knowledge of who made an artifact or what is in its files.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a stage produces, and what an edge accepts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Rows in named splits (`load`, `augment`).
    Table,
    /// Token ids of every split, and the tokenizer that made them (`tokenize`).
    Tokens,
    /// What the frozen layers of an encoder give for every row of tokens (before a `train`).
    Activations,
    /// An encoder with the head that predicts masked words, and its tokenizer (`pretrain`).
    Encoder,
    /// A trained model with its tokenizer (`train`).
    Model,
    /// Metrics and predictions (`evaluate`).
    Scores,
    /// A model's answers to the rows of a table (`predict`).
    Predictions,
    /// A folder for use outside refit (`export`).
    Bundle,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Table => "table",
            Kind::Tokens => "tokens",
            Kind::Activations => "activations",
            Kind::Encoder => "encoder",
            Kind::Model => "model",
            Kind::Scores => "scores",
            Kind::Predictions => "predictions",
            Kind::Bundle => "bundle",
        })
    }
}

/// The blake3 hash of canonical content, written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes` as they are.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The first ten hex digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..10].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// Text that is not 64 lowercase hex digits.
#[derive(Debug, thiserror::Error)]
#[error("a digest is 64 hex digits, this is {0:?}")]
pub struct NotADigest(String);

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let wrong = || NotADigest(text.to_owned());
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(wrong()),
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return Err(wrong());
        };
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() {
            return Err(wrong());
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = (digit(*high)? << 4) | digit(*low)?;
        }
        Ok(Digest(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub bytes: u64,
    pub digest: Digest,
}

/// What is in an artifact's folder: everything its digest covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub kind: Kind,
    /// Relative path with `/` → its size and digest.
    pub files: BTreeMap<String, FileEntry>,
}

impl Manifest {
    /// Reads every file under `folder`, except those named in `without`, and digests it.
    ///
    /// # Errors
    /// Any file that cannot be read, with its path.
    pub fn of_folder(kind: Kind, folder: &Path, without: &[&str]) -> Result<Self, Unreadable> {
        let mut files = BTreeMap::new();
        for path in files_under(folder)? {
            let name = relative_name(folder, &path);
            if without.contains(&name.as_str()) {
                continue;
            }
            let bytes = path
                .metadata()
                .map_err(|e| Unreadable::new(&path, e))?
                .len();
            files.insert(
                name,
                FileEntry {
                    bytes,
                    digest: digest_file(&path)?,
                },
            );
        }
        Ok(Manifest { kind, files })
    }

    /// The artifact's digest.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("refit artifact 1\n{}\n", self.kind).as_bytes());
        for (name, file) in &self.files {
            hasher.update(format!("{name}\0{}\n", file.digest).as_bytes());
        }
        Digest(*hasher.finalize().as_bytes())
    }

    /// The size of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

/// A file or folder that could not be read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot read {}", path.display())]
#[diagnostic(help("check that it exists and that you may read it"))]
pub struct Unreadable {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl Unreadable {
    pub fn new(path: &Path, source: io::Error) -> Self {
        Unreadable {
            path: path.to_owned(),
            source,
        }
    }
}

/// The digest of a file's canonical content (module doc).
///
/// # Errors
/// The file cannot be read. A `.safetensors` file whose header is broken is digested as bytes.
pub fn digest_file(path: &Path) -> Result<Digest, Unreadable> {
    let unreadable = |e| Unreadable::new(path, e);
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if path
        .extension()
        .is_some_and(|ending| ending == "safetensors")
        && length > 0
    {
        // SAFETY: the map is read once, here; a file changed meanwhile gives a digest that no later check confirms.
        let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(unreadable)?;
        if let Some(digest) = digest_tensors(&bytes) {
            return Ok(digest);
        }
    }
    digest_reader(file).map_err(unreadable)
}

/// The digest of a file's bytes, whatever it is called.
///
/// # Errors
/// The file cannot be read.
pub fn digest_bytes(path: &Path) -> Result<Digest, Unreadable> {
    File::open(path)
        .and_then(digest_reader)
        .map_err(|e| Unreadable::new(path, e))
}

fn digest_reader(file: File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

fn digest_tensors(bytes: &[u8]) -> Option<Digest> {
    let tensors = safetensors::SafeTensors::deserialize(bytes).ok()?;
    let mut views = tensors.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"refit tensors 1\n");
    for (name, view) in views {
        hasher.update(format!("{name}\0{:?}\0{:?}\0", view.dtype(), view.shape()).as_bytes());
        hasher.update(view.data());
    }
    Some(Digest(*hasher.finalize().as_bytes()))
}

/// Every file below `folder`, in the order of its relative name.
///
/// # Errors
/// A folder that cannot be listed.
pub fn files_under(folder: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(next) = pending.pop() {
        let unreadable = |e| Unreadable::new(&next, e);
        for entry in std::fs::read_dir(&next).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if entry.file_type().map_err(unreadable)?.is_dir() {
                pending.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort_by_key(|path| relative_name(folder, path));
    Ok(found)
}

/// `path` below `folder` with `/` between its parts, on every system.
pub fn relative_name(folder: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(folder).unwrap_or(path);
    relative
        .iter()
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_survives_text() {
        let digest = Digest::of(b"refit");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        for wrong in [
            "",
            "xyz",
            &"0".repeat(63),
            &"0".repeat(65),
            &"A".repeat(64),
            &"é".repeat(32),
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_order_of_the_safetensors_header_is_not_in_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, metadata: &str| {
            let header = format!(
                r#"{{{metadata}"a":{{"dtype":"U8","shape":[2],"data_offsets":[0,2]}},"b":{{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}}}"#
            );
            let padded = format!("{header:<width$}", width = header.len().next_multiple_of(8));
            let mut bytes = (padded.len() as u64).to_le_bytes().to_vec();
            bytes.extend_from_slice(padded.as_bytes());
            bytes.extend_from_slice(&[1, 2, 3]);
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let plain = write("plain.safetensors", "");
        let with = write(
            "with.safetensors",
            r#""__metadata__":{"format":"pt","by":"x"},"#,
        );
        assert_eq!(digest_file(&plain).unwrap(), digest_file(&with).unwrap());
        assert_ne!(digest_bytes(&plain).unwrap(), digest_bytes(&with).unwrap());
    }

    #[test]
    fn a_renamed_file_is_another_artifact() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "1").unwrap();
        let before = Manifest::of_folder(Kind::Table, folder.path(), &[]).unwrap();
        std::fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        let after = Manifest::of_folder(Kind::Table, folder.path(), &[]).unwrap();
        assert_ne!(before.digest(), after.digest());
    }
}
