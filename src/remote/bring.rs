//! Bringing objects here: the files that a manifest names, as large as it says, into a folder.
//!
//! A file that breaks off is gone on with where it broke off. What is not there, or not so large, makes the whole object
//! refused; whether the content is right is seen by whoever hashes it.
//!
//! Deliberately absent: hashing large files, and putting anything into the store.

use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use object_store::{GetOptions, GetRange};

use super::heard::{self, LARGEST_MANIFEST};
use super::{ATTEMPTS, FIRST_WAIT, Failed, PATIENCE, Shared};
use crate::artifact::{Digest, FileEntry, Manifest};
use crate::store::{Arrived, MANIFEST, OnBytes, Record, StoreError};

/// Files side by side.
const TOGETHER: usize = 4;
/// How often it is asked whether to stop.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// The largest file that is read without being brought.
const LARGEST_PEEK: u64 = 16 << 20;

/// Why a file did not come.
enum Missed {
    /// It is not what it should be, for this reason.
    Wrong(String),
    /// The place cannot be asked.
    Gone,
    GaveUp,
    Local(StoreError),
}

impl Shared {
    /// The manifest of an object; none when it cannot be had, or is refused.
    async fn manifest(&self, digest: &Digest) -> Option<Manifest> {
        if self.is_refused(digest) {
            return None;
        }
        self.contact().await;
        let refused = match self
            .read(&self.file_at(digest, MANIFEST), LARGEST_MANIFEST)
            .await
        {
            Ok(Some((bytes, _))) => match heard::manifest(&bytes, digest) {
                Ok(manifest) => return Some(manifest),
                Err(reason) => format!("{MANIFEST}: {reason}"),
            },
            Ok(None) => format!("{MANIFEST} is too large"),
            Err(Failed::Absent) => format!("{MANIFEST} is missing"),
            Err(Failed::Denied(reason)) => {
                self.lose(&reason);
                return None;
            }
            Err(Failed::Gone) => return None,
            Err(_) => format!("{MANIFEST} cannot be read"),
        };
        self.refuse(digest, &refused);
        None
    }

    pub(super) async fn fetch(
        &self,
        record: &Record,
        into: &Path,
        on_bytes: OnBytes<'_>,
    ) -> Result<Arrived, StoreError> {
        let Some(manifest) = self.manifest(&record.digest).await else {
            return Ok(Arrived::Absent);
        };
        if manifest.kind != record.artifact {
            self.refuse(
                &record.digest,
                "its manifest is of another kind than its record",
            );
            return Ok(Arrived::Absent);
        }
        let named = manifest.files.clone();
        let files = futures_util::stream::iter(&named)
            .map(|(name, entry)| self.file(&record.digest, name, entry, into, on_bytes))
            .buffer_unordered(TOGETHER);
        let mut files = std::pin::pin!(files);
        while let Some(file) = files.next().await {
            match file {
                Ok(()) => {}
                Err(Missed::Wrong(reason)) => {
                    self.refuse(&record.digest, &reason);
                    return Ok(Arrived::Absent);
                }
                Err(Missed::Gone) => return Ok(Arrived::Absent),
                Err(Missed::GaveUp) => return Ok(Arrived::GaveUp),
                Err(Missed::Local(error)) => return Err(error),
            }
        }
        Ok(Arrived::Whole(manifest))
    }

    async fn file(
        &self,
        digest: &Digest,
        name: &str,
        entry: &FileEntry,
        into: &Path,
        on_bytes: OnBytes<'_>,
    ) -> Result<(), Missed> {
        let path = into.join(name);
        let local = |error| Missed::Local(StoreError::write(&path, error));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(local)?;
        }
        let mut file = File::create_new(&path).map_err(local)?;
        let (mut have, mut tag) = (0, None);
        let (mut attempt, mut wait, mut failing) = (1, FIRST_WAIT, None);
        loop {
            let before = have;
            let come = self.some_of(
                digest,
                (name, entry),
                &mut file,
                &mut have,
                &mut tag,
                on_bytes,
            );
            let reason = match unless_stopped(come, on_bytes).await {
                None => return Err(Missed::GaveUp),
                Some(Ok(Some(reason))) => reason,
                Some(Ok(None)) if have == entry.bytes => return Ok(()),
                Some(Ok(None)) => format!("{have} of {} bytes came", entry.bytes),
                Some(Err(missed)) => return Err(missed),
            };
            if have > before {
                (attempt, wait, failing) = (1, FIRST_WAIT, None);
            }
            let since = *failing.get_or_insert_with(Instant::now);
            if attempt >= ATTEMPTS || since.elapsed() >= PATIENCE {
                self.lose(&reason);
                return Err(Missed::Gone);
            }
            tokio::time::sleep(wait).await;
            (attempt, wait) = (attempt + 1, wait * 2);
        }
    }

    /// One attempt at what is lacking of a file; why it is worth another, where it is.
    async fn some_of(
        &self,
        digest: &Digest,
        (name, entry): (&str, &FileEntry),
        file: &mut File,
        have: &mut u64,
        tag: &mut Option<String>,
        on_bytes: OnBytes<'_>,
    ) -> Result<Option<String>, Missed> {
        if self.state().gone.is_some() {
            return Err(Missed::Gone);
        }
        let options = GetOptions {
            range: (*have > 0).then_some(GetRange::Offset(*have)),
            if_match: tag.clone().filter(|_| *have > 0),
            ..GetOptions::default()
        };
        let answer = match self
            .whole
            .get_opts(&self.file_at(digest, name), options)
            .await
        {
            Ok(answer) => answer,
            Err(error) => {
                return match self.meaning(error) {
                    Ok(Failed::Absent) => Err(Missed::Wrong(format!("{name} is missing"))),
                    Ok(Failed::Changed) => Err(Missed::Wrong(format!(
                        "{name} changed while it was fetched"
                    ))),
                    Ok(Failed::Denied(reason)) => {
                        self.lose(&reason);
                        Err(Missed::Gone)
                    }
                    Ok(Failed::Gone) => Err(Missed::Gone),
                    Ok(_) => Err(Missed::Wrong(format!("{name} cannot be read"))),
                    Err(reason) => Ok(Some(reason)),
                };
            }
        };
        if answer.meta.size != entry.bytes {
            return Err(Missed::Wrong(format!(
                "{name} has {} bytes instead of {}",
                answer.meta.size, entry.bytes
            )));
        }
        *tag = answer
            .meta
            .e_tag
            .clone()
            .filter(|tag| !tag.starts_with("W/"));
        let mut stream = answer.into_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => return Ok(Some(self.worded(&error))),
            };
            *have += chunk.len() as u64;
            if *have > entry.bytes {
                return Err(Missed::Wrong(format!(
                    "{name} has more bytes than it should"
                )));
            }
            file.write_all(&chunk)
                .map_err(|error| Missed::Local(StoreError::write(Path::new(name), error)))?;
            if on_bytes(chunk.len() as u64).is_break() {
                return Err(Missed::GaveUp);
            }
        }
        Ok(None)
    }

    /// One small file of an object, if it is what the manifest says.
    pub(super) async fn peek(&self, digest: &Digest, name: &str) -> Option<Vec<u8>> {
        let manifest = self.manifest(digest).await?;
        let entry = manifest.files.get(name)?;
        if entry.bytes > LARGEST_PEEK {
            return None;
        }
        let refused = match self.read(&self.file_at(digest, name), entry.bytes).await {
            Ok(Some((bytes, _))) if Digest::of(&bytes) == entry.digest => return Some(bytes),
            Ok(_) => format!("{name} has other content than its manifest says"),
            Err(Failed::Absent) => format!("{name} is missing"),
            Err(_) => return None,
        };
        self.refuse(digest, &refused);
        None
    }
}

/// Waits for work, and asks meanwhile whether to stop; none when it was stopped.
async fn unless_stopped<T>(work: impl Future<Output = T>, on_bytes: OnBytes<'_>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(HEARTBEAT, &mut work).await {
            Ok(done) => return Some(done),
            Err(_) if on_bytes(0).is_break() => return None,
            Err(_) => {}
        }
    }
}
