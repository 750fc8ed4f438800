//! What lies in a store beside its results: how far unfinished work came, and what programs and services answered.
//!
//! Checkpoints can be made again, so `gc` takes those that nobody goes on from: of a key that has its result (which every run
//! that begins takes as well: somebody was killed before they went), and of a key that no spec has any more, or that nobody
//! worked on for long, as its scope says. Answers may have been paid for and are asked for
//! again by every stage whose settings change, so `gc` tells their size and takes none: whoever wants everything asked anew
//! deletes the folder.
//!
//! Deliberately absent: what is in a checkpoint, and which answer belongs to which question.

use std::fs::{self, Metadata};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use crate::artifact::files_under;
use crate::fingerprint::Key;

use super::layout::names_in;
use super::{Store, StoreError};

/// How far the work on a key came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    pub key: Key,
    pub bytes: u64,
    /// When the last of its files was written.
    pub written: Timestamp,
    /// The key got its result since, and the object is there: nobody goes on from here. (A result that is older is being built
    /// anew, by force, and one that was collected may be, since something needs it.)
    pub done: bool,
}

/// What programs and services answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answers {
    pub files: usize,
    pub bytes: u64,
    /// When the last of the files was written.
    pub written: Timestamp,
}

impl Store {
    /// The checkpoints of every key that has some, in the order of keys.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, StoreError> {
        let folder = self.layout.checkpoints();
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let names = names_in(&folder)?;
        let mut keys: Vec<Key> = names.iter().filter_map(|name| name.parse().ok()).collect();
        keys.sort();
        let unfinished = keys.into_iter().map(|key| {
            let (_, bytes, written) = measure(&self.checkpoints(&key));
            let record = self.record(&key);
            Unfinished {
                key,
                bytes,
                written,
                done: record.is_some_and(|record| {
                    record.created >= written && self.is_there(&record.digest)
                }),
            }
        });
        Ok(unfinished.collect())
    }

    /// What is kept of programs and services; nothing where none was asked.
    pub fn answers(&self) -> Option<Answers> {
        let (files, bytes, written) = measure(&self.kept());
        (bytes > 0).then_some(Answers {
            files,
            bytes,
            written,
        })
    }
}

/// How many files with something in them there are under a folder, their bytes, and the newest time of any, or of the folder
/// where it has none. What cannot be read counts as not there.
fn measure(folder: &Path) -> (usize, u64, Timestamp) {
    let files = files_under(folder).unwrap_or_default();
    let sizes = files.iter().filter_map(|path| fs::metadata(path).ok());
    let found: Vec<Metadata> = sizes.filter(|found| found.len() > 0).collect();
    let bytes = found.iter().map(Metadata::len).sum();
    let times = found.iter().map(modified);
    let itself = || fs::metadata(folder).map_or(Timestamp::UNIX_EPOCH, |found| modified(&found));
    let written = times.max().unwrap_or_else(itself);
    (found.len(), bytes, written)
}

/// When a file was written, as far as the file system knows.
pub(super) fn modified(metadata: &Metadata) -> Timestamp {
    let time = metadata.modified().ok();
    time.and_then(|time| Timestamp::try_from(time).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}
