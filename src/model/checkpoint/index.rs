//! The index of a checkpoint in several files: `weight_map`, from a tensor's name to the file that holds it.
//!
//! Reference: `save_pretrained` of transformers, which writes all files into one folder. So a file's name is a plain name
//! here: an index that leads out of its folder is refused.
//!
//! Deliberately absent: the index's `metadata`, whose sizes nothing depends on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use serde::Deserialize;

use super::{CheckpointError, MOST_HEADER_BYTES, is_lfs_pointer, shown, unreadable};

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// What the index at `path` names: file → the tensors in it.
///
/// # Errors
/// A file that cannot be read or is no such index, or that names a file outside its folder.
pub(in crate::model) fn shards(
    path: &Path,
) -> Result<BTreeMap<String, Vec<String>>, CheckpointError> {
    let broken = |reason: String| CheckpointError::Index {
        path: path.to_owned(),
        reason,
    };
    let mut file = File::open(path).map_err(unreadable(path))?;
    let mut bytes = Vec::new();
    let most = MOST_HEADER_BYTES + 1;
    let read = (&mut file).take(most).read_to_end(&mut bytes);
    if read.map_err(unreadable(path))? as u64 == most {
        return Err(broken("it is too large".to_owned()));
    }
    let index: Index = serde_json::from_slice(&bytes).map_err(|e| {
        broken(match is_lfs_pointer(&mut file) {
            true => "it is a Git LFS pointer, not the file itself".to_owned(),
            false => e.to_string(),
        })
    })?;
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, shard) in index.weight_map {
        if !is_plain(&shard) {
            return Err(broken(format!(
                "it says that {} lies in `{}`, which is no file beside it",
                shown(&name),
                shown(&shard)
            )));
        }
        shards.entry(shard).or_default().push(name);
    }
    match shards.is_empty() {
        true => Err(broken("it names no tensors".to_owned())),
        false => Ok(shards),
    }
}

/// Whether it is the name of a file in the index's own folder, on every system.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    ) && !name.contains(['/', '\\', ':', '\0'])
}
