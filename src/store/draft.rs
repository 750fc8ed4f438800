//! Drafts: artifacts that are being built, and how they become objects.
//!
//! One process, and one thread of it, builds a key at a time: it holds `drafts/KEY.lock`. Whoever comes second waits, looks
//! again, and usually finds the result. The order of a commit is what makes a crash harmless at any point:
//!
//! 1. the draft's files go onto the disk, and are hashed;
//! 2. the manifest is written into the draft, and goes onto the disk;
//! 3. the folder is renamed to `objects/DIGEST` (a name that says its content, so that it does not matter who was first);
//! 4. the record is put into `keys/`.
//!
//! Killed before 3, it leaves a folder in `drafts/` that nobody reads and the next holder of the lock empties; killed before
//! 4, an object that no key names yet, which the next run finds in place when it has built the same.
//!
//! Where locks do not hold, as between machines whose file system keeps them to itself, two may build one key at once. Each
//! has a folder of its own, and a draft that was taken away under its builder is never committed: it is an error, and
//! nothing was stored.
//!
//! Deliberately absent: what a stage writes, and the decision to build.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::artifact::{Kind, Manifest, files_under};
use crate::fingerprint::{Fingerprint, Key};

use super::layout::{MANIFEST, key_in, names_in, remove, sync_folder, sync_tree, write_whole};
use super::lock::{Lock, Mode, OnWait, acquire, attempt, in_place};
use super::memo::Stamp;
use super::{Claimed, ObjectState, OnOther, Record, Store, StoreError, object_name};

/// Which results will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// One that is recorded and intact.
    Result,
    /// Only one that is built now (`--force`).
    Rebuild,
}

/// What came of wanting to build.
#[derive(Debug)]
pub enum Begun<'s> {
    /// This caller builds.
    Won(Draft<'s>),
    /// It is there, with its object intact; most likely another process has just built it.
    Already(Record),
    /// Another machine has built it, and its object is not here.
    Elsewhere(Record),
    /// The caller did not want to wait any longer.
    GaveUp,
}

/// A folder to be filled. Dropped without [`Draft::commit`], it leaves nothing.
#[derive(Debug)]
pub struct Draft<'s> {
    store: &'s Store,
    fingerprint: Fingerprint,
    key: Key,
    path: PathBuf,
    /// That folder, whatever is put in its place. Open, since another one could get the number of one that is gone. None where
    /// the system opens no folders.
    folder: Option<File>,
    lock: Option<Lock>,
    /// Whether other machines wait for it.
    claimed: bool,
    /// Keeps `gc` away.
    _hold: Lock,
}

impl Store {
    /// Wins the right to build what has this fingerprint, and an empty folder for it; or finds that it is built. First it is
    /// waited for other processes of this store, then for other machines.
    ///
    /// # Errors
    /// The store cannot be written, or its file system knows no locks.
    pub fn begin(
        &self,
        fingerprint: &Fingerprint,
        need: Need,
        on_wait: OnWait,
        on_other: OnOther,
    ) -> Result<Begun<'_>, StoreError> {
        self.layout.prepare()?;
        let key = fingerprint.key();
        let Some(hold) = acquire(&self.layout.lock(), Mode::Shared, on_wait)? else {
            return Ok(Begun::GaveUp);
        };
        let Some(lock) = acquire(&self.layout.draft_lock(&key), Mode::Alone, on_wait)? else {
            return Ok(Begun::GaveUp);
        };
        if need == Need::Result
            && let Some(record) = self.record_here(&key)
            && let ObjectState::Present(_) = self.object(&record.digest)
        {
            lock.remove();
            return Ok(Begun::Already(record));
        }
        let mut claimed = false;
        if need == Need::Result
            && let Some(upstream) = self.upstream()
        {
            match upstream.claim(&key, on_other) {
                Claimed::Ours => claimed = true,
                Claimed::Built(record) => {
                    lock.remove();
                    return Ok(Begun::Elsewhere(self.keep(*record)));
                }
                Claimed::GaveUp => {
                    lock.remove();
                    return Ok(Begun::GaveUp);
                }
            }
        }
        for left in self.layout.drafts_of(&key)? {
            self.layout.discard(&left)?;
        }
        let path = self.layout.draft(&key);
        fs::create_dir(&path).map_err(|e| StoreError::write(&path, e))?;
        Ok(Begun::Won(Draft {
            claimed,
            store: self,
            fingerprint: fingerprint.clone(),
            key,
            folder: opened(&path)?,
            path,
            lock: Some(lock),
            _hold: hold,
        }))
    }

    /// Deletes the drafts of processes that are gone, and returns how many there were.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn sweep_drafts(&self) -> Result<usize, StoreError> {
        let names = names_in(&self.layout.drafts())?;
        let keys: BTreeSet<Key> = names.iter().filter_map(|name| key_in(name)).collect();
        let mut swept = 0;
        for key in keys {
            if let Some(lock) = attempt(&self.layout.draft_lock(&key), Mode::Alone)? {
                for left in self.layout.drafts_of(&key)? {
                    self.layout.discard(&left)?;
                    swept += 1;
                }
                lock.remove();
            }
        }
        Ok(swept)
    }

    /// Deletes whatever killed commands left half done, as far as nobody is at work on it. Nothing depends on that, so that
    /// what cannot be deleted is only told in the log.
    pub fn tidy(&self) {
        if !self.root().exists() {
            return;
        }
        let tidied = attempt(&self.layout.lock(), Mode::Alone).and_then(|alone| {
            self.sweep_drafts()?;
            if alone.is_some() {
                self.layout.sweep_rubbish()?;
                for one in self.unfinished()?.iter().filter(|one| one.done) {
                    self.layout.discard(&self.checkpoints(&one.key))?;
                }
            }
            Ok(())
        });
        if let Err(error) = tidied {
            tracing::debug!(%error, "what killed commands left stays");
        }
    }
}

impl Draft<'_> {
    /// The folder to fill.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the draft's content an object, and records it under its key.
    ///
    /// # Errors
    /// A file cannot be read or written. The draft is then gone, and the key has the record it had before.
    pub fn commit(mut self, artifact: Kind, seconds: f64) -> Result<Record, StoreError> {
        let layout = &self.store.layout;
        let manifest_path = self.path.join(MANIFEST);
        if manifest_path.exists() {
            return Err(StoreError::Reserved {
                path: manifest_path,
            });
        }
        sync_tree(&self.path)?;
        let settled = match &self.lock {
            Some(lock) => lock
                .tick()
                .map_err(|e| StoreError::write(&layout.draft_lock(&self.key), e))?,
            None => None,
        };
        let stamps = self.stamps()?;
        let manifest = Manifest::of_folder(artifact, &self.path, &[])?;
        let digest = manifest.digest();
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| StoreError::write(&manifest_path, e.into()))?;
        write_whole(&manifest_path, &text)?;
        // Closed with the check: some network file systems rename no open folder.
        if let Some(folder) = self.folder.take()
            && !in_place(&folder, &self.path)
        {
            return Err(StoreError::Taken {
                path: self.path.clone(),
            });
        }

        let object = put_in_place(self.store, &self.path, &manifest)?;
        for (name, before) in stamps {
            let after = fs::metadata(object.join(&name))
                .ok()
                .and_then(|metadata| Stamp::of(&metadata));
            if let (Some(entry), Some(settled), true) =
                (manifest.files.get(&name), settled, Some(before) == after)
            {
                self.store
                    .memo
                    .learn(&object_name(&digest, &name), before, entry.digest, settled);
            }
        }

        let record = Record {
            key: self.key,
            kind: self.fingerprint.kind.clone(),
            artifact,
            digest,
            bytes: manifest.bytes(),
            created: Timestamp::now(),
            seconds,
            fingerprint: self.fingerprint.clone(),
            from: None,
        };
        let path = layout.record(&self.key);
        let text =
            serde_json::to_vec_pretty(&record).map_err(|e| StoreError::write(&path, e.into()))?;
        layout.write_record(&self.key, &text)?;
        self.claimed = false;
        self.store.offer(&record);
        Ok(record)
    }

    fn stamps(&self) -> Result<Vec<(String, Stamp)>, StoreError> {
        let files = files_under(&self.path)?;
        Ok(files
            .iter()
            .filter_map(|path| {
                let name = path.strip_prefix(&self.path).ok()?.to_str()?.to_owned();
                Some((name, Stamp::of(&fs::metadata(path).ok()?)?))
            })
            .collect())
    }
}

/// Renames a finished draft to its object, unless the same content lies there intact; where it lies then.
pub(super) fn put_in_place(
    store: &Store,
    draft: &Path,
    manifest: &Manifest,
) -> Result<PathBuf, StoreError> {
    // Others may put the same content there at any moment, but each of them either succeeds or leaves it to us.
    const MOST_TRIES: usize = 16;
    let digest = manifest.digest();
    let object = store.layout.object(&digest);
    let mut last = None;
    for _ in 0..MOST_TRIES {
        if fs::symlink_metadata(&object).is_ok() {
            if let ObjectState::Present(_) = store.object(&digest) {
                return Ok(object);
            }
            store.layout.discard(&object)?;
        }
        match fs::rename(draft, &object) {
            Ok(()) => {
                sync_folder(&store.layout.objects())?;
                return Ok(object);
            }
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) =>
            {
                last = Some(e)
            }
            Err(e) => return Err(StoreError::write(&object, e)),
        }
    }
    Err(StoreError::write(
        &object,
        last.unwrap_or_else(|| ErrorKind::AlreadyExists.into()),
    ))
}

#[cfg(unix)]
fn opened(folder: &Path) -> Result<Option<File>, StoreError> {
    match File::open(folder) {
        Ok(opened) => Ok(Some(opened)),
        Err(error) => Err(StoreError::read(folder, error)),
    }
}

#[cfg(not(unix))]
fn opened(_: &Path) -> Result<Option<File>, StoreError> {
    Ok(None)
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let (true, Some(upstream)) = (self.claimed, self.store.upstream()) {
            upstream.release(&self.key);
        }
        self.folder = None;
        if let Err(error) = remove(&self.path) {
            tracing::warn!("a draft stays until the next run: {error}");
        }
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
    }
}
