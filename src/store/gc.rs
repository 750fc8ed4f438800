//! Collecting: objects and forgotten checkpoints leave, records stay.
//!
//! What was built once can be built again, so an object may go at any time; its key's record stays, and a step with a record
//! stays fresh until a consumer must read the object. Which objects may go is never guessed: a [`Scope`] says it.
//!
//! A run reads objects long after it has found them. Therefore every run holds the store's lock together with others, from
//! before it plans until it is done, and `gc` takes it alone or does nothing. An object is renamed out of its place before
//! it is deleted, so that a killed `gc` leaves no half-deleted object behind.
//!
//! Deliberately absent: which objects a spec needs. The plan knows that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use jiff::Timestamp;
use serde::Serialize;

use crate::artifact::{Digest, files_under};
use crate::fingerprint::Key;

use super::beside::{Unfinished, modified};
use super::lock::{Mode, attempt};
use super::{Record, Store, StoreError};

/// Which objects and checkpoints are to go. With both parts given, one goes only if both say so. The checkpoints of a key
/// that has its result go in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// All but these may go (`--unused-by`).
    pub keep: Option<Used>,
    /// Objects that were neither built nor named by a run since then, and checkpoints that are older, may go (`--older-than`).
    pub older_than: Option<Timestamp>,
}

/// What is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    pub objects: BTreeSet<Digest>,
    /// Keys that may be worked on, and so go on from a checkpoint.
    pub keys: BTreeSet<Key>,
    /// Something in use has a key that cannot be known now, as before its model is fetched. It may be any, so that every
    /// checkpoint of unfinished work is in use.
    pub unknown: bool,
}

impl Used {
    pub fn extend(&mut self, other: Used) {
        self.objects.extend(other.objects);
        self.keys.extend(other.keys);
        self.unknown |= other.unknown;
    }
}

/// An object that went, or would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    pub digest: Digest,
    /// The kinds of stage that made it. None for an object without a record.
    pub kinds: BTreeSet<String>,
    pub bytes: u64,
    /// When it was last built or named by a run.
    pub used: Timestamp,
}

/// What `gc` did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    pub objects: Vec<Removed>,
    pub checkpoints: Vec<Unfinished>,
    /// The sizes of `objects` and `checkpoints` together.
    pub bytes: u64,
    /// How many objects stay.
    pub kept: usize,
    /// The checkpoints that stay.
    pub kept_checkpoints: Vec<Unfinished>,
}

impl Store {
    /// Deletes the objects in `scope`, or only tells which they are.
    ///
    /// # Errors
    /// No scope; another command works with the store; something cannot be read or deleted.
    pub fn gc(&self, scope: &Scope, dry_run: bool) -> Result<Collected, StoreError> {
        if scope.keep.is_none() && scope.older_than.is_none() {
            return Err(StoreError::NoScope);
        }
        if !self.root().exists() {
            return Ok(Collected::default());
        }
        let mut alone = None;
        if !dry_run {
            self.layout.prepare()?;
            let lock = attempt(&self.layout.lock(), Mode::Alone)?;
            alone = Some(lock.ok_or_else(|| StoreError::Busy {
                path: self.root().to_owned(),
            })?);
        }

        // Which checkpoints are done is seen while the objects are there.
        let unfinished = self.unfinished()?;
        let mut collected = Collected::default();
        let past = Past::of(self)?;
        for digest in self.layout.digests()? {
            let used = past
                .used
                .get(&digest)
                .copied()
                .unwrap_or_else(|| self.stamped(&digest));
            let kept = scope
                .keep
                .as_ref()
                .is_some_and(|keep| keep.objects.contains(&digest));
            if kept || scope.older_than.is_some_and(|limit| used >= limit) {
                collected.kept += 1;
                continue;
            }
            let path = self.layout.object(&digest);
            let sizes = files_under(&path)
                .unwrap_or_default()
                .into_iter()
                .filter_map(|file| Some(file.symlink_metadata().ok()?.len()));
            let bytes = sizes.sum();
            if alone.is_some() {
                self.layout.discard(&path)?;
            }
            collected.bytes += bytes;
            let kinds = past.kinds.get(&digest).cloned().unwrap_or_default();
            collected.objects.push(Removed {
                digest,
                kinds,
                bytes,
                used,
            });
        }
        for one in unfinished {
            let in_use = |keep: &Used| keep.unknown || keep.keys.contains(&one.key);
            let kept = scope.keep.as_ref().is_some_and(in_use)
                || scope.older_than.is_some_and(|limit| one.written >= limit);
            if kept && !one.done {
                collected.kept_checkpoints.push(one);
                continue;
            }
            if alone.is_some() {
                self.layout.discard(&self.checkpoints(&one.key))?;
            }
            collected.bytes += one.bytes;
            collected.checkpoints.push(one);
        }
        if alone.is_some() {
            self.sweep_drafts()?;
            self.layout.sweep_rubbish()?;
            self.layout.sweep_rubbish_of_keys()?;
        }
        Ok(collected)
    }

    /// When an object without a record was written, as far as its folder knows.
    fn stamped(&self, digest: &Digest) -> Timestamp {
        let found = fs::metadata(self.layout.object(digest));
        found.map_or(Timestamp::UNIX_EPOCH, |found| modified(&found))
    }
}

/// What records and runs tell about objects.
struct Past {
    used: BTreeMap<Digest, Timestamp>,
    kinds: BTreeMap<Digest, BTreeSet<String>>,
}

impl Past {
    fn of(store: &Store) -> Result<Self, StoreError> {
        let mut past = Past {
            used: BTreeMap::new(),
            kinds: BTreeMap::new(),
        };
        for Record {
            digest,
            created,
            kind,
            ..
        } in store.records()?
        {
            past.name(digest, created);
            past.kinds.entry(digest).or_default().insert(kind);
        }
        for run in store.runs() {
            for digest in run.steps.iter().filter_map(|step| step.digest) {
                past.name(digest, run.started);
            }
        }
        Ok(past)
    }

    fn name(&mut self, digest: Digest, when: Timestamp) {
        let used = self.used.entry(digest).or_insert(when);
        *used = when.max(*used);
    }
}
