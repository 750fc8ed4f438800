//! Verifying: every object is read in full and compared with its manifest, whatever the memo believes.
//!
//! This finds what stamps cannot show: a disk that gives other bytes than were written. A damaged object stays where it
//! is; the memo forgets it, so that the next command that asks reads it in full, finds it corrupted, and builds it again.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::Serialize;

use crate::artifact::{Digest, digest_file, files_under};

use super::layout::MANIFEST;
use super::lock::{Mode, acquire};
use super::{Store, StoreError, object_name};

/// How long one waits for the store before it counts as being collected.
const PATIENCE: Duration = Duration::from_secs(1);

/// An object that is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    pub digest: Digest,
    /// A sentence for each file.
    pub problems: Vec<String>,
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
    /// Reads every object, calling `on_object` before each, and makes sure that the damaged ones are known as such.
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
        // A run that begins keeps everybody out for a moment, `gc` for longer.
        let mut patience = |waited| match waited < PATIENCE {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let together = acquire(&self.layout.lock(), Mode::Shared, &mut patience)?;
        let together = together.ok_or_else(busy)?;
        for digest in self.layout.digests()? {
            on_object(&digest);
            let (problems, bytes) = self.problems(&digest);
            verified.checked += 1;
            verified.bytes += bytes;
            if !problems.is_empty() {
                self.memo.forget(&object_name(&digest, ""));
                verified.bad.push(Damage { digest, problems });
            }
        }
        drop(together);
        self.save_memo();
        Ok(verified)
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
