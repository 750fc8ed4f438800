//! The store: finished results by content, and which key each belongs to.
//!
//! It promises that what it hands out as present is what was committed: a result exists once its manifest and its record
//! are in place, each appears whole or not at all, and files that were changed behind its back are noticed. Reading never
//! fails: whatever is missing, cut short or garbled counts as absent, with a warning, and is built again. Two processes, or
//! two threads, can share a store (see [`draft`] for building, [`gc`] for deleting).
//!
//! `layout` tells where everything lies, `memo` how files are known again without reading them.
//!
//! Deliberately absent: any knowledge of stages, plans and specs; and any decision about what is fresh.

mod beside;
pub mod draft;
mod error;
pub mod gc;
mod journal;
mod layout;
mod lock;
mod memo;
pub mod runs;
pub mod upstream;
pub mod verify;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::artifact::{
    Digest, FileEntry, Kind, Manifest, Unreadable, digest_bytes, digest_file, files_under,
    relative_name,
};
use crate::fingerprint::{Fingerprint, Key};

pub use beside::{Answers, Unfinished};
pub use draft::{Begun, Draft, Need};
pub use error::StoreError;
pub use gc::{Collected, Removed, Scope, Used};
pub use journal::{Claim, Deciding, Journal};
pub use lock::OnWait;
pub use runs::{RunRecord, StepRecord};
pub use upstream::{Arrived, Brought, Claimed, OnBytes, OnOther, Upstream};
pub use verify::{Damage, Verified};

use layout::Layout;
pub use layout::{FORMAT, MANIFEST};
use lock::{Lock, Mode, acquire, keeps_others_out};
use memo::{Memo, Stamp, settled_by_now};

/// The environment variable that names the store.
pub const VARIABLE: &str = "REFIT_STORE";
/// The store's folder where none is named.
pub const FOLDER: &str = ".refit";

/// A place for results. Threads share it by reference.
#[derive(Debug)]
pub struct Store {
    layout: Layout,
    memo: Memo,
    upstream: Option<Arc<dyn Upstream>>,
    /// What was asked of it already.
    asked: Mutex<BTreeMap<Key, Option<Record>>>,
}

/// A result: which content has this key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub key: Key,
    /// The kind of stage that made it.
    pub kind: String,
    pub artifact: Kind,
    /// What it came to.
    pub digest: Digest,
    /// The size of all its files.
    pub bytes: u64,
    pub created: Timestamp,
    /// How long the work took.
    pub seconds: f64,
    /// What the key was formed from, for `explain`.
    pub fingerprint: Fingerprint,
    /// The other place that this store has it from; none for what was built here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Whether an object can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectState {
    /// All its files are here, as they were written.
    Present(PathBuf),
    /// Collected, or never here.
    Absent,
    /// This file is not what it was, or is gone.
    Corrupted { file: String },
}

/// One line of `cache list`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    pub key: Key,
    /// The kind of stage that made it.
    pub kind: String,
    pub artifact: Kind,
    pub digest: Digest,
    pub bytes: u64,
    pub created: Timestamp,
    /// The record is here, the object is not.
    pub collected: bool,
}

/// Keeps `gc` away from the store until it is dropped. Any number of commands may hold it at once.
#[derive(Debug)]
pub struct Hold {
    _lock: Lock,
}

impl Store {
    /// Where the store is: named on the command line, else by the environment ([`VARIABLE`]), else `.refit` in the nearest
    /// folder from `folder` upwards that has one or is the root of a git checkout, else in `folder` itself.
    pub fn locate(explicit: Option<&Path>, environment: Option<&OsStr>, folder: &Path) -> PathBuf {
        let named = explicit.or(environment.filter(|name| !name.is_empty()).map(Path::new));
        if let Some(named) = named {
            return named.to_owned();
        }
        // Resolved, because what lies above `a/../b` is not what its text says.
        let absolute = || std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let folder = folder.canonicalize().unwrap_or_else(|_| absolute());
        let home = folder
            .ancestors()
            .find(|above| above.join(FOLDER).is_dir() || above.join(".git").exists());
        home.unwrap_or(&folder).join(FOLDER)
    }

    /// Opens the store at `root`, which need not exist yet. Nothing is written before there is something to keep.
    ///
    /// # Errors
    /// `root` is a file, holds other things, or is a store of another format.
    pub fn open(root: &Path) -> Result<Store, StoreError> {
        let root = std::path::absolute(root).map_err(|e| StoreError::read(root, e))?;
        let layout = Layout { root };
        layout.check()?;
        Ok(Store {
            memo: Memo::new(layout.memo()),
            layout,
            upstream: None,
            asked: Mutex::default(),
        })
    }

    /// The store's folder, absolute.
    pub fn root(&self) -> &Path {
        &self.layout.root
    }

    /// The folder for what stages asked of programs and services. It need not exist.
    pub fn kept(&self) -> PathBuf {
        self.layout.root.join("kept")
    }

    /// The folder for what is handed to other processes and to clusters to be done. It need not exist.
    pub fn jobs(&self) -> PathBuf {
        self.layout.root.join("jobs")
    }

    /// The folder in which the work on a key writes down how far it came. It need not exist.
    pub fn checkpoints(&self, key: &Key) -> PathBuf {
        self.layout.checkpoints().join(key.to_string())
    }

    /// Deletes what the work on a key wrote down. What cannot be deleted is in nobody's way: `gc` tries again.
    pub fn forget_checkpoints(&self, key: &Key) {
        let folder = self.checkpoints(key);
        if folder.exists()
            && let Err(error) = self.layout.discard(&folder)
        {
            tracing::warn!(%error, "checkpoints stay");
        }
    }

    /// What is recorded under a key, here or in the other place. A record that does not lead back to its key is none.
    pub fn record(&self, key: &Key) -> Option<Record> {
        self.record_here(key).or_else(|| self.record_there(key))
    }

    fn record_here(&self, key: &Key) -> Option<Record> {
        let path = self.layout.record(key);
        let text = read_if_there(&path)?;
        match serde_json::from_slice::<Record>(&text) {
            Ok(record) if record.key == *key && record.fingerprint.key() == *key => Some(record),
            Ok(_) => {
                tracing::warn!(
                    "the record {} is ignored: it belongs to another key",
                    path.display()
                );
                None
            }
            Err(error) => {
                tracing::warn!("the record {} is ignored: {error}", path.display());
                None
            }
        }
    }

    /// Every record that can be read, in the order of keys.
    fn records(&self) -> Result<Vec<Record>, StoreError> {
        let keys = self.keys()?;
        Ok(keys
            .iter()
            .filter_map(|key| self.record_here(key))
            .collect())
    }

    /// Where the object of this content lies, if it does.
    pub fn object_path(&self, digest: &Digest) -> PathBuf {
        self.layout.object(digest)
    }

    /// Whether an object is there with every file as it was written. Files whose stamp the memo knows are not read.
    pub fn object(&self, digest: &Digest) -> ObjectState {
        let path = self.layout.object(digest);
        if !path.exists() {
            return ObjectState::Absent;
        }
        let corrupted = |file: &str| ObjectState::Corrupted {
            file: file.to_owned(),
        };
        let Some(manifest) = self.manifest(digest) else {
            return corrupted(MANIFEST);
        };
        let names = files_under(&path).unwrap_or_default();
        let mut names = names.iter().map(|file| relative_name(&path, file));
        if let Some(foreign) =
            names.find(|name| name != MANIFEST && !manifest.files.contains_key(name))
        {
            return corrupted(&foreign);
        }
        let damaged = manifest
            .files
            .iter()
            .find(|(name, entry)| !self.is_intact(digest, &path, name, entry));
        match damaged {
            None => ObjectState::Present(path),
            Some((file, _)) => ObjectState::Corrupted { file: file.clone() },
        }
    }

    /// Whether an object is still in its place, whatever became of its files.
    pub fn is_there(&self, digest: &Digest) -> bool {
        self.layout.object(digest).join(MANIFEST).is_file()
    }

    fn manifest(&self, digest: &Digest) -> Option<Manifest> {
        let path = self.layout.object(digest).join(MANIFEST);
        let text = read_if_there(&path)?;
        match serde_json::from_slice::<Manifest>(&text) {
            Ok(manifest)
                if manifest.digest() == *digest
                    && manifest.files.keys().all(|name| stays_inside(name)) =>
            {
                Some(manifest)
            }
            Ok(_) => {
                tracing::warn!(
                    "{} is ignored: it belongs to another object",
                    path.display()
                );
                None
            }
            Err(error) => {
                tracing::warn!("{} is ignored: {error}", path.display());
                None
            }
        }
    }

    fn is_intact(&self, digest: &Digest, folder: &Path, name: &str, entry: &FileEntry) -> bool {
        let path = folder.join(name);
        let stamp = || {
            let metadata = fs::metadata(&path)
                .ok()
                .filter(|metadata| metadata.is_file() && metadata.len() == entry.bytes)?;
            Some(Stamp::of(&metadata))
        };
        let Some(before) = stamp() else { return false };
        let name = object_name(digest, name);
        if let Some(known) = before.and_then(|stamp| self.memo.recall(&name, &stamp)) {
            return known == entry.digest;
        }
        let settled = settled_by_now();
        let Ok(found) = digest_file(&path) else {
            return false;
        };
        if let (Some(before), Some(settled), true) = (before, settled, stamp() == Some(before)) {
            self.memo.learn(&name, before, found, settled);
        }
        found == entry.digest
    }

    /// The digest of a user's file, by its bytes; remembered, so that a file that stays is read once.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn digest_file(&self, path: &Path) -> Result<Digest, Unreadable> {
        let unreadable = |e| Unreadable::new(path, e);
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(unreadable(std::io::Error::new(
                ErrorKind::InvalidInput,
                "it is not a file",
            )));
        }
        // Opening first makes a network file system ask its server for the current stamp.
        let stamp = || File::open(path)?.metadata();
        let before = stamp().map_err(unreadable)?;
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let (Some(name), Some(before)) = (absolute.to_str(), Stamp::of(&before)) else {
            return digest_bytes(path);
        };
        if let Some(known) = self.memo.recall(name, &before) {
            return Ok(known);
        }
        let settled = settled_by_now();
        let digest = digest_bytes(path)?;
        let after = stamp().ok().and_then(|metadata| Stamp::of(&metadata));
        if let (Some(settled), true) = (settled, after == Some(before)) {
            self.memo.learn(name, before, digest, settled);
        }
        Ok(digest)
    }

    /// Whether [`digest_file`](Self::digest_file) knows a file without reading it.
    pub fn knows_file(&self, path: &Path) -> bool {
        let stamp = fs::metadata(path).ok().and_then(|found| Stamp::of(&found));
        let absolute = std::path::absolute(path).ok();
        let name = absolute.as_deref().and_then(Path::to_str);
        let known = name.zip(stamp);
        known.is_some_and(|(name, stamp)| self.memo.recall(name, &stamp).is_some())
    }

    /// Keeps what was learned about files for the next command. Where that cannot be, files are just hashed again.
    pub fn save_memo(&self) {
        if self.root().is_dir()
            && let Err(error) = self.memo.save()
        {
            tracing::debug!("the memo is not saved: {error}");
        }
    }

    /// Keeps `gc` away from the store, for as long as a command relies on objects it has found. `None` when `on_wait` gave
    /// up.
    ///
    /// # Errors
    /// The store cannot be written, or its file system knows no locks.
    pub fn hold(&self, on_wait: OnWait) -> Result<Option<Hold>, StoreError> {
        self.layout.prepare()?;
        let Some(lock) = acquire(&self.layout.lock(), Mode::Shared, on_wait)? else {
            return Ok(None);
        };
        keeps_others_out(&lock)?;
        Ok(Some(Hold { _lock: lock }))
    }

    /// Every result, newest first.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let mut records = self.records()?;
        records.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.key.cmp(&b.key)));
        let listed = records.into_iter().map(
            |Record {
                 key,
                 kind,
                 artifact,
                 digest,
                 bytes,
                 created,
                 ..
             }| {
                let collected = !self.is_there(&digest);
                Listed {
                    key,
                    kind,
                    artifact,
                    digest,
                    bytes,
                    created,
                    collected,
                }
            },
        );
        Ok(listed.collect())
    }
}

fn read_if_there(path: &Path) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(text) => Some(text),
        Err(error) => {
            if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                tracing::warn!("{} is ignored: {error}", path.display());
            }
            None
        }
    }
}

/// An object's file in the memo: relative to the store, so that a moved store remembers. (A user's file has an absolute
/// name.)
fn object_name(digest: &Digest, file: &str) -> String {
    format!("objects/{digest}/{file}")
}

/// A manifest from elsewhere must not lead out of its folder.
pub fn stays_inside(name: &str) -> bool {
    !name.is_empty()
        && Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests;
