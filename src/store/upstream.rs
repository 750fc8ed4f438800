//! Another place that has results: one that this store asks for what it lacks, and offers what it gets.
//!
//! A record that is found there is kept here, so that it is asked for once; its object comes only when somebody must read it,
//! as a draft, and is hashed here before it is an object of this store. What is not what its record says is refused, told, and
//! counts as absent: the step is built, and what was built goes in the place of what was refused.
//!
//! Whatever becomes of the other place, this store does without it: nothing here fails because of it.
//!
//! Deliberately absent: how it is reached (`remote`), and what is worth fetching, which is the run's.

use std::fmt;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::artifact::{Digest, Manifest};
use crate::fingerprint::Key;

use super::draft::put_in_place;
use super::layout::{MANIFEST, names_in, sync_tree, write_whole};
use super::lock::{Mode, OnWait, acquire};
use super::{ObjectState, Record, Store, StoreError};

/// Told of bytes as they come. `Break` gives up.
pub type OnBytes<'a> = &'a (dyn Fn(u64) -> ControlFlow<()> + Sync);
/// Asked again and again while another machine builds, with who that is and how long it was waited for. `Break` gives up.
pub type OnOther<'a> = &'a mut dyn FnMut(&str, Duration) -> ControlFlow<()>;

/// Where results may lie too. Nothing of it fails: what cannot be had is not there, and is told by [`Upstream::news`].
pub trait Upstream: fmt::Debug + Send + Sync {
    /// As it is shown.
    fn name(&self) -> &str;
    /// What it has recorded under these keys, asked for side by side. Each record leads back to its key.
    fn records(&self, keys: &[Key]) -> Vec<Record>;
    /// Whether it seems to have an object.
    fn has(&self, digest: &Digest) -> bool;
    /// Lays an object's files into a folder, as many bytes as its manifest says, unhashed.
    ///
    /// # Errors
    /// The folder cannot be written. What the other place cannot give is no error.
    fn fetch(&self, record: &Record, into: &Path, on_bytes: OnBytes)
    -> Result<Arrived, StoreError>;
    /// One small file of an object, checked against its manifest.
    fn peek(&self, digest: &Digest, name: &str) -> Option<Vec<u8>>;
    /// What came for a record was not it, for this reason.
    fn refuse(&self, record: &Record, reason: &str);
    /// Asks for the right to build a key alone.
    fn claim(&self, key: &Key, on_other: OnOther) -> Claimed;
    /// Nothing was built under a key that was claimed.
    fn release(&self, key: &Key);
    /// Takes a result, whose object lies in a folder; its claim ends with that. Comes back at once.
    fn offer(&self, record: Record, object: PathBuf);
    /// What the user should know, once.
    fn news(&self) -> Vec<String>;
}

/// What came of fetching an object.
#[derive(Debug)]
pub enum Arrived {
    /// All files of this manifest.
    Whole(Manifest),
    Absent,
    GaveUp,
}

/// What came of claiming a key.
#[derive(Debug)]
pub enum Claimed {
    /// This caller builds; or nobody can be kept from it.
    Ours,
    /// Another has built it.
    Built(Box<Record>),
    GaveUp,
}

/// What came of bringing an object here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    Here,
    /// It cannot be had.
    Absent,
    GaveUp,
}

impl Store {
    /// The same store, which asks another place for what it lacks and offers it what it gets.
    #[must_use]
    pub fn with_upstream(self, upstream: Arc<dyn Upstream>) -> Store {
        Store {
            upstream: Some(upstream),
            ..self
        }
    }

    /// The other place that this store asks.
    pub fn upstream(&self) -> Option<&dyn Upstream> {
        self.upstream.as_deref()
    }

    /// Asks for what is not recorded here, all at once, so that [`Store::record`] need not ask for each.
    pub fn look_up(&self, keys: &[Key]) {
        let Some(upstream) = &self.upstream else {
            return;
        };
        let mut lacking: Vec<Key> = {
            let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let new = keys.iter().filter(|key| !asked.contains_key(*key));
            new.copied().collect()
        };
        lacking.retain(|key| self.record_here(key).is_none());
        lacking.sort();
        lacking.dedup();
        if lacking.is_empty() {
            return;
        }
        let found = upstream.records(&lacking);
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        for key in lacking {
            asked.entry(key).or_insert(None);
        }
        for record in found {
            let record = self.keep(record);
            asked.insert(record.key, Some(record));
        }
    }

    pub(super) fn record_there(&self, key: &Key) -> Option<Record> {
        self.upstream.as_ref()?;
        self.look_up(std::slice::from_ref(key));
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(key).cloned().flatten()
    }

    /// Keeps a record from elsewhere. Where nothing can be written it is asked for again.
    pub fn keep(&self, record: Record) -> Record {
        let record = Record {
            from: self.upstream().map(|upstream| upstream.name().to_owned()),
            ..record
        };
        let path = self.layout.record(&record.key);
        let written = self.layout.prepare().and_then(|()| {
            let text = serde_json::to_vec_pretty(&record)
                .map_err(|e| StoreError::write(&path, e.into()))?;
            self.layout.write_record(&record.key, &text)
        });
        if let Err(error) = written {
            tracing::debug!(%error, "a record from elsewhere is not kept");
        }
        record
    }

    /// Whether an object that is not here can, as far as one knows, be fetched.
    pub fn can_bring(&self, digest: &Digest) -> bool {
        self.upstream().is_some_and(|upstream| upstream.has(digest))
    }

    /// Brings an object here. What comes is hashed before it counts.
    ///
    /// # Errors
    /// This store cannot be written.
    pub fn bring(
        &self,
        record: &Record,
        on_bytes: OnBytes,
        on_wait: OnWait,
    ) -> Result<Brought, StoreError> {
        let Some(upstream) = self.upstream() else {
            return Ok(Brought::Absent);
        };
        self.layout.prepare()?;
        let Some(_hold) = acquire(&self.layout.lock(), Mode::Shared, on_wait)? else {
            return Ok(Brought::GaveUp);
        };
        let Some(lock) = acquire(&self.layout.draft_lock(&record.key), Mode::Alone, on_wait)?
        else {
            return Ok(Brought::GaveUp);
        };
        let brought = match self.object(&record.digest) {
            ObjectState::Present(_) => Ok(Brought::Here),
            _ => self.arrive(upstream, record, on_bytes),
        };
        lock.remove();
        brought
    }

    fn arrive(
        &self,
        upstream: &dyn Upstream,
        record: &Record,
        on_bytes: OnBytes,
    ) -> Result<Brought, StoreError> {
        for left in self.layout.drafts_of(&record.key)? {
            self.layout.discard(&left)?;
        }
        let draft = self.layout.draft(&record.key);
        fs::create_dir(&draft).map_err(|e| StoreError::write(&draft, e))?;
        let arrived = self.arrive_in(&draft, upstream, record, on_bytes);
        if draft.exists() {
            self.layout.discard(&draft)?;
        }
        arrived
    }

    fn arrive_in(
        &self,
        draft: &Path,
        upstream: &dyn Upstream,
        record: &Record,
        on_bytes: OnBytes,
    ) -> Result<Brought, StoreError> {
        let told = match upstream.fetch(record, draft, on_bytes)? {
            Arrived::Whole(manifest) => manifest,
            Arrived::Absent => return Ok(Brought::Absent),
            Arrived::GaveUp => return Ok(Brought::GaveUp),
        };
        let found = Manifest::of_folder(record.artifact, draft, &[])?;
        if found.digest() != record.digest {
            let wrong = told.files.iter().find(|(name, entry)| {
                let here = found.files.get(*name);
                here.is_none_or(|here| here.digest != entry.digest)
            });
            let reason = match wrong {
                Some((name, _)) => format!("{name} has other content than its manifest says"),
                None => "its manifest is of another object".to_owned(),
            };
            upstream.refuse(record, &reason);
            return Ok(Brought::Absent);
        }
        sync_tree(draft)?;
        let path = draft.join(MANIFEST);
        let text =
            serde_json::to_vec_pretty(&found).map_err(|e| StoreError::write(&path, e.into()))?;
        write_whole(&path, &text)?;
        put_in_place(self, draft, &found)?;
        Ok(Brought::Here)
    }

    /// A small file of an object that is not here.
    pub fn peek(&self, digest: &Digest, name: &str) -> Option<Vec<u8>> {
        self.upstream()?.peek(digest, name)
    }

    /// Offers a result of this store to the other place.
    pub fn offer(&self, record: &Record) {
        if let Some(upstream) = self.upstream() {
            let record = Record {
                from: None,
                ..record.clone()
            };
            let object = self.object_path(&record.digest);
            upstream.offer(record, object);
        }
    }

    /// What the user should know of the other place.
    pub fn news(&self) -> Vec<String> {
        self.upstream().map(Upstream::news).unwrap_or_default()
    }

    /// The folder for how far uploads have come. It need not exist.
    pub fn uploads(&self) -> PathBuf {
        self.layout.uploads()
    }

    /// Every key with a record here, sorted.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub fn keys(&self) -> Result<Vec<Key>, StoreError> {
        let mut keys: Vec<Key> = names_in(&self.layout.keys())?
            .iter()
            .filter_map(|name| name.strip_suffix(".json")?.parse().ok())
            .collect();
        keys.sort();
        Ok(keys)
    }
}
