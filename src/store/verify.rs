//! Verifying: every object is read in full and compared with its manifest, whatever the memo believes.
//!
//! This finds what stamps cannot show: a disk that gives other bytes than were written. A damaged object is moved to
//! `damaged/`, so that its step's artifact counts as missing and the next run that needs it builds it again. While runs
//! hold the store it stays where it is, and only the memo forgets it, so that the next command that asks reads it in full.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::artifact::{Digest, digest_file, files_under};

use super::layout::{MANIFEST, sync_folder, unique};
use super::lock::{Mode, attempt};
use super::{Store, StoreError, object_name};

/// An object that is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    pub digest: Digest,
    /// A sentence for each file.
    pub problems: Vec<String>,
    /// Where it lies now; none while other commands hold the store.
    pub moved_to: Option<PathBuf>,
}

/// What `verify` found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many objects were read.
    pub checked: usize,
    /// The size of all files that were read.
    pub bytes: u64,
    pub bad: Vec<Damage>,
}

impl Store {
    /// Reads every object, calling `on_object` before each, and takes those out of use that are damaged.
    ///
    /// # Errors
    /// The store cannot be listed or written, or is being collected. A file that cannot be read is damage, not an error.
    pub fn verify(&self, on_object: &mut dyn FnMut(&Digest)) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        if !self.root().exists() {
            return Ok(verified);
        }
        self.layout.prepare()?;
        let busy = || StoreError::Busy {
            path: self.root().to_owned(),
        };
        let together = attempt(&self.layout.lock(), Mode::Shared)?.ok_or_else(busy)?;
        for digest in self.layout.digests()? {
            on_object(&digest);
            let (problems, bytes) = self.problems(&digest);
            verified.checked += 1;
            verified.bytes += bytes;
            if !problems.is_empty() {
                self.memo.forget(&object_name(&digest, ""));
                verified.bad.push(Damage {
                    digest,
                    problems,
                    moved_to: None,
                });
            }
        }
        drop(together);
        if !verified.bad.is_empty()
            && let Some(_alone) = attempt(&self.layout.lock(), Mode::Alone)?
        {
            for damage in &mut verified.bad {
                damage.moved_to = self.move_away(&damage.digest)?;
            }
        }
        self.save_memo();
        Ok(verified)
    }

    /// Moves an object to `damaged/`, if it still is: a run may have replaced it since.
    fn move_away(&self, digest: &Digest) -> Result<Option<PathBuf>, StoreError> {
        if self.problems(digest).0.is_empty() {
            return Ok(None);
        }
        let folder = self.layout.damaged();
        fs::create_dir_all(&folder).map_err(|e| StoreError::write(&folder, e))?;
        let to = folder.join(format!("{digest}-{}", unique()));
        fs::rename(self.layout.object(digest), &to).map_err(|e| StoreError::write(&to, e))?;
        sync_folder(&self.layout.objects())?;
        Ok(Some(to))
    }

    fn problems(&self, digest: &Digest) -> (Vec<String>, u64) {
        let path = self.layout.object(digest);
        let Some(manifest) = self.manifest(digest) else {
            return (
                vec![format!(
                    "{MANIFEST} is missing or is not the one of this object"
                )],
                0,
            );
        };
        let mut problems = Vec::new();
        let mut bytes = 0;
        for (name, entry) in &manifest.files {
            let file = path.join(name);
            let found = match file.metadata() {
                Ok(metadata) => metadata.len(),
                Err(e) => {
                    problems.push(format!("{name} cannot be read: {e}"));
                    continue;
                }
            };
            bytes += found;
            if found != entry.bytes {
                problems.push(format!(
                    "{name} has {found} bytes instead of {}",
                    entry.bytes
                ));
                continue;
            }
            match digest_file(&file) {
                Ok(digest) if digest == entry.digest => {}
                Ok(_) => problems.push(format!("{name} has other content than was recorded")),
                Err(e) => problems.push(format!("{name} cannot be read: {}", e.source)),
            }
        }
        let others = files_under(&path).unwrap_or_default();
        let names = others
            .iter()
            .filter_map(|file| file.strip_prefix(&path).ok()?.to_str());
        let foreign = names.filter(|name| *name != MANIFEST && !manifest.files.contains_key(*name));
        problems.extend(foreign.map(|name| format!("{name} does not belong to this object")));
        (problems, bytes)
    }
}
