//! Sending results: the files of an object, then its manifest, then the record, each whole or not at all.
//!
//! What is there is not sent again: an object with its manifest, a file of a half-sent object, a part of a file that was cut
//! off. How far a large file has come is written down beside the drafts, with the name that the server gave to the upload; the
//! server looks at the parts when they are put together, and where it has forgotten them the file goes out from the start.
//!
//! A record is put there on the condition that there is none, so that of two results under one key the first stays. Only what
//! was found to be wrong is written over.
//!
//! Deliberately absent: which results are worth sending.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use object_store::multipart::PartId;
use object_store::path::Path as Address;
use object_store::{Error, PutMode, PutMultipartOptions, PutPayload};
use serde::{Deserialize, Serialize};

use super::heard::{self, LARGEST_MANIFEST, LARGEST_RECORD};
use super::{Failed, Remote, Shared};
use crate::artifact::{Digest, Manifest};
use crate::fingerprint::Key;
use crate::store::{FORMAT, MANIFEST, Record};

/// Larger files go in parts of at least so many bytes. (S3 takes none below 5 MiB.)
const PART: u64 = 8 << 20;
/// More parts than that no service takes.
const MOST_PARTS: u64 = 10_000;
/// Parts, or small files, of one object side by side.
const TOGETHER: usize = 3;

/// A result that was to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub key: Key,
    pub kind: String,
    pub digest: Digest,
    pub bytes: u64,
    pub outcome: Outcome,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Sent,
    /// All of it was there.
    Already,
    /// Another result has this key there, and stays.
    Other,
    /// It was not sent, or not all of it.
    Failed,
}

/// Why a file did not go out.
enum Unsent {
    Failed(Failed),
    /// It cannot be read here.
    Local(std::io::Error),
}

impl From<Failed> for Unsent {
    fn from(failed: Failed) -> Self {
        Unsent::Failed(failed)
    }
}

impl From<std::io::Error> for Unsent {
    fn from(error: std::io::Error) -> Self {
        Unsent::Local(error)
    }
}

/// Sends a result in the background.
pub(super) fn begin(
    shared: &Arc<Shared>,
    runtime: &tokio::runtime::Runtime,
    record: Record,
    object: PathBuf,
) {
    if !shared.state().pending.insert(record.key) {
        return;
    }
    shared.bytes.all.fetch_add(record.bytes, Ordering::Relaxed);
    let shared = Arc::clone(shared);
    runtime.spawn(async move {
        let turn = shared.sending.acquire().await;
        let outcome = shared.send(&record, &object).await;
        drop(turn);
        shared.release(&record.key).await;
        let mut state = shared.state();
        state.pending.remove(&record.key);
        state.ended.push(Sent {
            key: record.key,
            kind: record.kind,
            digest: record.digest,
            bytes: record.bytes,
            outcome,
        });
    });
}

impl Remote {
    /// How many results are still on their way, and how many bytes went out of all that are to.
    pub fn sending(&self) -> (usize, u64, u64) {
        let Shared { bytes, state, .. } = &*self.shared;
        let pending = state.lock().map_or(0, |state| state.pending.len());
        let done = bytes.done.load(Ordering::Relaxed);
        (pending, done, bytes.all.load(Ordering::Relaxed))
    }

    /// What became of the results since this was last asked.
    pub fn ended(&self) -> Vec<Sent> {
        std::mem::take(&mut self.shared.state().ended)
    }

    /// Tells the server to forget the parts of uploads that were begun here, and whose object is not kept any more.
    pub fn forget_uploads(&self, is_kept: &dyn Fn(&Digest) -> bool) {
        self.wait(self.shared.forget_uploads(is_kept));
    }
}

impl Shared {
    fn may_send(&self) -> bool {
        let state = self.state();
        state.gone.is_none() && state.closed.is_none()
    }

    async fn send(&self, record: &Record, object: &Path) -> Outcome {
        self.contact().await;
        if !self.may_send() {
            return Outcome::Failed;
        }
        match self.send_all(record, object).await {
            Ok(outcome) => outcome,
            Err(Unsent::Local(error)) => {
                self.tell(format!(
                    "the result {} of a {} stage is not sent to {}: {error}",
                    record.digest.short(),
                    record.kind,
                    self.name
                ));
                Outcome::Failed
            }
            Err(Unsent::Failed(failed)) => {
                match failed {
                    Failed::Denied(reason) => self.close(&reason),
                    Failed::Absent | Failed::Changed | Failed::Taken | Failed::Unable => {
                        self.close("it does not keep what is put there");
                    }
                    Failed::Gone => {}
                }
                Outcome::Failed
            }
        }
    }

    async fn send_all(&self, record: &Record, object: &Path) -> Result<Outcome, Unsent> {
        let text = std::fs::read(object.join(MANIFEST))?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(std::io::Error::from)?;
        if manifest.digest() != record.digest {
            return Err(std::io::Error::other("its manifest is of another object").into());
        }
        // Whoever claimed the key knows that it has no record.
        let claimed = self.state().held.contains_key(&record.key);
        if !claimed && let Some(other) = self.other(record).await? {
            self.tell_of_other(record, &other);
            return Ok(Outcome::Other);
        }
        let wrong = self.is_refused(&record.digest);
        let there = match wrong {
            true => None,
            false => self.manifest_now(&record.digest).await?,
        };
        let sizes = match wrong {
            true => BTreeMap::new(),
            false => self.sizes(&record.digest).await?,
        };
        let is_whole = |manifest: &Manifest| {
            let mut files = manifest.files.iter();
            files.all(|(name, entry)| sizes.get(name) == Some(&entry.bytes))
        };
        let complete = there.is_some_and(|manifest| is_whole(&manifest));
        if complete {
            self.bytes.done.fetch_add(record.bytes, Ordering::Relaxed);
        } else {
            self.put_format().await?;
            let lacking: Vec<(&String, u64)> = manifest
                .files
                .iter()
                .map(|(name, entry)| (name, entry.bytes))
                .filter(|(name, bytes)| {
                    let there = sizes.get(*name) == Some(bytes);
                    if there {
                        self.bytes.done.fetch_add(*bytes, Ordering::Relaxed);
                    }
                    !there
                })
                .collect();
            let files = lacking.into_iter();
            let files =
                files.map(|(name, bytes)| self.send_file(&record.digest, name, bytes, object));
            let files: Vec<_> = files.collect();
            let mut files = futures_util::stream::iter(files).buffer_unordered(TOGETHER);
            while let Some(sent) = files.next().await {
                sent?;
            }
            let at = self.file_at(&record.digest, MANIFEST);
            self.put(&at, &text, PutMode::Overwrite).await?;
        }
        let outcome = self.put_record(record).await?;
        let mut state = self.state();
        if outcome != Outcome::Other {
            state.refused.remove(&record.digest);
            state.refused_keys.remove(&record.key);
            state.there.insert(record.digest);
        }
        Ok(match (outcome, complete) {
            (Outcome::Already, false) => Outcome::Sent,
            (outcome, _) => outcome,
        })
    }

    /// The manifest of an object, if it is there and one.
    async fn manifest_now(&self, digest: &Digest) -> Result<Option<Manifest>, Failed> {
        match self
            .read(&self.file_at(digest, MANIFEST), LARGEST_MANIFEST)
            .await
        {
            Ok(Some((bytes, _))) => Ok(heard::manifest(&bytes, digest).ok()),
            Ok(None) | Err(Failed::Absent) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Another result that has the same key there, and that nothing is wrong with.
    async fn other(&self, record: &Record) -> Result<Option<Record>, Failed> {
        let there = match self
            .read(&self.record_at(&record.key), LARGEST_RECORD)
            .await
        {
            Ok(Some((bytes, _))) => heard::record(&bytes, &record.key).ok(),
            Ok(None) | Err(Failed::Absent) => None,
            Err(failed) => return Err(failed),
        };
        let other =
            |there: &Record| there.digest != record.digest && !self.is_refused(&there.digest);
        Ok(there.filter(other))
    }

    fn tell_of_other(&self, record: &Record, other: &Record) {
        self.tell(format!(
            "{} has another result of the {} stage with the key {} ({} instead of {}), from another program or kind of device; \
             it stays there, and yours stays here",
            self.name,
            record.kind,
            record.key.short(),
            other.digest.short(),
            record.digest.short()
        ));
    }

    async fn put_format(&self) -> Result<(), Failed> {
        let text = format!("{FORMAT}\n");
        let at = self.root.clone().join("format");
        match self.put(&at, text.as_bytes(), PutMode::Create).await {
            Ok(_) | Err(Failed::Taken) => Ok(()),
            Err(Failed::Unable) => self
                .put(&at, text.as_bytes(), PutMode::Overwrite)
                .await
                .map(drop),
            Err(failed) => Err(failed),
        }
    }

    /// The files of an object that are there, with their sizes.
    async fn sizes(&self, digest: &Digest) -> Result<BTreeMap<String, u64>, Failed> {
        let folder = self.at("objects", &digest.to_string());
        let start = format!("{folder}/");
        self.ask(1 << 20, || async {
            let mut names = self.whole.list(Some(&folder));
            let mut sizes = BTreeMap::new();
            while let Some(one) = names.next().await {
                let one = match one {
                    Err(Error::NotFound { .. }) => continue,
                    other => other?,
                };
                let name = one
                    .location
                    .as_ref()
                    .strip_prefix(&start)
                    .map(str::to_owned);
                sizes.extend(name.map(|name| (name, one.size)));
            }
            Ok(sizes)
        })
        .await
    }

    async fn put_record(&self, record: &Record) -> Result<Outcome, Failed> {
        let at = self.record_at(&record.key);
        let text = serde_json::to_vec_pretty(record).unwrap_or_default();
        let wrong = self.state().refused_keys.contains(&record.key);
        let mode = match wrong {
            true => PutMode::Overwrite,
            false => PutMode::Create,
        };
        let put = match self.put(&at, &text, mode).await {
            // Without conditions one asks first; two that ask at once have equal content, or the later one stays.
            Err(Failed::Unable) => match self.read(&at, LARGEST_RECORD).await {
                Err(Failed::Absent) => self.put(&at, &text, PutMode::Overwrite).await,
                Err(failed) => Err(failed),
                Ok(_) => Err(Failed::Taken),
            },
            put => put,
        };
        match put {
            Ok(_) => return Ok(Outcome::Sent),
            Err(Failed::Taken) => {}
            Err(failed) => return Err(failed),
        }
        if let Some(other) = self.other(record).await? {
            self.tell_of_other(record, &other);
            return Ok(Outcome::Other);
        }
        let same = match self.read(&at, LARGEST_RECORD).await? {
            Some((bytes, _)) => heard::record(&bytes, &record.key).ok(),
            None => None,
        };
        if same.is_some_and(|there| there.digest == record.digest) {
            return Ok(Outcome::Already);
        }
        self.put(&at, &text, PutMode::Overwrite).await?;
        Ok(Outcome::Sent)
    }

    async fn send_file(
        &self,
        digest: &Digest,
        name: &str,
        bytes: u64,
        object: &Path,
    ) -> Result<(), Unsent> {
        let path = object.join(name);
        let at = self.file_at(digest, name);
        if bytes <= PART {
            let content = tokio::task::spawn_blocking(move || std::fs::read(path));
            let content = content.await.map_err(std::io::Error::other)??;
            self.put(&at, &content, PutMode::Overwrite).await?;
            self.bytes.done.fetch_add(bytes, Ordering::Relaxed);
            return Ok(());
        }
        match &self.parts {
            None => self.copy(&at, &path, bytes).await,
            Some(_) => {
                let state = self
                    .uploads
                    .join(format!("{}.json", Digest::of(at.as_ref().as_bytes())));
                if self.go_on(&at, &path, bytes, &state).await? {
                    return Ok(());
                }
                // The server has forgotten it, or has other parts than were sent.
                let _ = std::fs::remove_file(&state);
                match self.go_on(&at, &path, bytes, &state).await? {
                    true => Ok(()),
                    false => Err(Failed::Absent.into()),
                }
            }
        }
    }

    /// A large file for a folder, which has it whole or not at all.
    async fn copy(&self, at: &Address, path: &Path, bytes: u64) -> Result<(), Unsent> {
        let begun = self.ask(0, || {
            self.whole
                .put_multipart_opts(at, PutMultipartOptions::default())
        });
        let mut upload = begun.await?;
        for part in 0..bytes.div_ceil(PART) {
            let content = read_part(path, part * PART, PART).await?;
            let length = content.len() as u64;
            let sent = upload.put_part(PutPayload::from(content)).await;
            if let Err(error) = sent {
                let _ = upload.abort().await;
                return Err(self.broke_off(error));
            }
            self.bytes.done.fetch_add(length, Ordering::Relaxed);
        }
        let done = upload.complete().await;
        done.map_err(|error| self.broke_off(error))?;
        Ok(())
    }

    fn broke_off(&self, error: Error) -> Unsent {
        let failed = self.meaning(error).unwrap_or_else(|reason| {
            self.lose(&reason);
            Failed::Gone
        });
        failed.into()
    }

    /// Sends a large file in parts, going on with what an earlier process sent; false when that cannot be gone on with.
    async fn go_on(
        &self,
        at: &Address,
        path: &Path,
        bytes: u64,
        state: &Path,
    ) -> Result<bool, Unsent> {
        let Some(parts) = &self.parts else {
            return Ok(false);
        };
        let modified = modified(path)?;
        let left = Upload::read(state).filter(|left| {
            left.place == self.name
                && left.at == at.as_ref()
                && left.bytes == bytes
                && left.modified == modified
                && left.part >= PART
        });
        let resumed = left.is_some();
        let mut upload = match left {
            Some(upload) => upload,
            None => {
                if let Some(old) = Upload::read(state) {
                    self.forget(&old).await;
                }
                let id = self.ask(0, || parts.create_multipart(at)).await?;
                Upload {
                    place: self.name.clone(),
                    at: at.to_string(),
                    id,
                    bytes,
                    modified,
                    part: PART.max(bytes.div_ceil(MOST_PARTS)),
                    sent: BTreeMap::new(),
                }
            }
        };
        upload.write(state)?;
        let count = bytes.div_ceil(upload.part);
        let there: BTreeSet<u64> = upload
            .sent
            .keys()
            .copied()
            .filter(|part| *part < count)
            .collect();
        let part_size = upload.part;
        let length = |part: u64| part_size.min(bytes - part * part_size);
        let already: u64 = there.iter().map(|part| length(*part)).sum();
        self.bytes.done.fetch_add(already, Ordering::Relaxed);
        let lacking = (0..count).filter(|part| !there.contains(part));
        let (id, part_bytes) = (upload.id.clone(), upload.part);
        let send = |part: u64| {
            let (id, length) = (&id, length(part));
            async move {
                let content = read_part(path, part * part_bytes, length).await?;
                let content = PutPayload::from(content);
                let index = usize::try_from(part).unwrap_or(usize::MAX);
                let put = self.ask(length, || parts.put_part(at, id, index, content.clone()));
                let put = put.await?;
                self.bytes.done.fetch_add(length, Ordering::Relaxed);
                Ok::<_, Unsent>((part, put.content_id))
            }
        };
        let sent: Vec<_> = lacking.map(send).collect();
        let mut sent = futures_util::stream::iter(sent).buffer_unordered(TOGETHER);
        while let Some(part) = sent.next().await {
            match part {
                Ok((part, name)) => {
                    upload.sent.insert(part, name);
                    upload.write(state)?;
                }
                Err(Unsent::Failed(Failed::Absent)) if resumed => {
                    self.take_back(already, &upload, &there, bytes);
                    return Ok(false);
                }
                Err(unsent) => return Err(unsent),
            }
        }
        if modified_now(path) != Some(upload.modified) {
            return Err(std::io::Error::other("it changed while it was sent").into());
        }
        let names: Vec<PartId> = upload
            .sent
            .range(0..count)
            .map(|(_, name)| PartId {
                content_id: name.clone(),
            })
            .collect();
        match self.complete(at, &upload.id, names, resumed).await? {
            true => {
                let _ = std::fs::remove_file(state);
                Ok(true)
            }
            false => {
                self.take_back(0, &upload, &BTreeSet::new(), bytes);
                Ok(false)
            }
        }
    }

    /// What was counted as sent goes out once more.
    fn take_back(&self, already: u64, upload: &Upload, there: &BTreeSet<u64>, bytes: u64) {
        let length = |part: &u64| upload.part.min(bytes.saturating_sub(part * upload.part));
        let new = upload.sent.keys().filter(|part| !there.contains(*part));
        let counted = already + new.map(length).sum::<u64>();
        self.bytes.done.fetch_sub(counted, Ordering::Relaxed);
    }

    /// Puts the parts of an upload together; false when the server has other parts than were sent.
    async fn complete(
        &self,
        at: &Address,
        id: &String,
        names: Vec<PartId>,
        resumed: bool,
    ) -> Result<bool, Unsent> {
        let Some(parts) = &self.parts else {
            return Ok(false);
        };
        // An answer may be lost whose question was not: then the upload is gone, and the file is there.
        const TRIES: u32 = 5;
        let mut wait = Duration::from_millis(200);
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match parts.complete_multipart(at, id, names.clone()).await {
                Ok(_) => return Ok(true),
                Err(error) => error,
            };
            let text = error.to_string();
            let refused = ["InvalidPart", "NoSuchUpload", "EntityTooSmall"];
            if refused.iter().any(|code| text.contains(code))
                || matches!(error, Error::NotFound { .. })
            {
                let there = tried > 1 && self.head(at).await.is_ok();
                return match (there, resumed) {
                    (true, _) => Ok(true),
                    (false, true) => Ok(false),
                    (false, false) => Err(self.broke_off(error)),
                };
            }
            if tried == TRIES {
                return Err(self.broke_off(error));
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    async fn forget(&self, upload: &Upload) {
        if let (Some(parts), Ok(at)) = (&self.parts, Address::parse(&upload.at)) {
            let _ = self.ask(0, || parts.abort_multipart(&at, &upload.id)).await;
        }
    }

    async fn forget_uploads(&self, is_kept: &dyn Fn(&Digest) -> bool) {
        let Ok(files) = std::fs::read_dir(&self.uploads) else {
            return;
        };
        for file in files.flatten() {
            let Some(upload) = Upload::read(&file.path()).filter(|one| one.place == self.name)
            else {
                continue;
            };
            let digest = upload
                .at
                .split('/')
                .rev()
                .find_map(|part| part.parse().ok());
            if digest.is_none_or(|digest: Digest| !is_kept(&digest)) {
                self.forget(&upload).await;
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

/// How far the upload of a file has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Upload {
    /// The shared store.
    place: String,
    /// The file in there.
    at: String,
    /// What the server calls the upload.
    id: String,
    /// The file's size and time here: another file of the same content may have other bytes.
    bytes: u64,
    modified: u64,
    /// The size of each part but the last.
    part: u64,
    /// Part → what the server calls it.
    sent: BTreeMap<u64, String>,
}

impl Upload {
    fn read(path: &Path) -> Option<Upload> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// So that it is there whole or as it was.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, self)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

async fn read_part(path: &Path, from: u64, most: u64) -> std::io::Result<Vec<u8>> {
    let path = path.to_owned();
    let read = move || {
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut content = Vec::new();
        file.take(most).read_to_end(&mut content)?;
        Ok(content)
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(std::io::Error::other)?
}

fn modified(path: &Path) -> std::io::Result<u64> {
    let modified = std::fs::metadata(path)?.modified()?;
    let since = modified.duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }))
}

fn modified_now(path: &Path) -> Option<u64> {
    modified(path).ok()
}
