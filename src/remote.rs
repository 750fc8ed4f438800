//! A shared store: results of this machine for others, and theirs for this one, in a bucket or a folder.
//!
//! ```text
//! s3://bucket/folder/
//! ├── format             the layout's version, as in every store
//! ├── keys/KEY.json      a record, written last: what has none does not exist
//! ├── objects/DIGEST/    an artifact's files, and then `manifest.json`
//! └── claims/KEY         who builds what has this key, as long as somebody does
//! ```
//!
//! It promises to be in nobody's way. A question that is not answered is asked again a few times, further and further apart;
//! after that the place counts as gone for this process, which is said once, and everything goes on without it. What comes
//! from it is a stranger's word ([`heard`]): it is checked, and what does not fit counts as absent. Nothing there is ever
//! written over, but for what was found to be wrong.
//!
//! Several machines may work with one place. A record is put there on the condition that there is none; a key is claimed
//! before it is built, so that others wait for it ([`claims`]). Where a server knows no conditions, two may build one key,
//! and equal content has an equal name.
//!
//! Deliberately absent: deleting. Whoever owns the place decides how long results stay; what is gone is built again.

mod bring;
mod claims;
mod heard;
mod place;
mod send;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::path::Path as Address;
use object_store::{Error, GetOptions, ObjectStore, PutMode, PutOptions, PutPayload, PutResult};
use tokio::sync::{OnceCell, Semaphore};

use self::claims::Held;
use crate::artifact::Digest;
use crate::fingerprint::Key;
use crate::hub::{self, Environment, HubError};
use crate::store::{
    Arrived, Claimed, FORMAT, MANIFEST, OnBytes, OnOther, Record, Store, StoreError, Upstream,
};

pub use self::place::Place;
pub use self::send::{Outcome, Sent};

/// The environment variable that names the shared store.
pub const VARIABLE: &str = "REFIT_REMOTE";

/// Attempts before a question counts as not answered.
const ATTEMPTS: u32 = 5;
/// How long to wait after the first failed one; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// After the first failure no more attempts begin later than this.
const PATIENCE: Duration = Duration::from_secs(10);
/// A small answer takes no longer.
const ANSWER: Duration = Duration::from_secs(30);
/// Slower than so many bytes in a second is no line.
const SLOWEST: u64 = 16 << 10;
/// Questions and files side by side.
const SIDE_BY_SIDE: usize = 16;
/// Objects that are sent side by side.
const SENT_TOGETHER: usize = 2;

/// Why there is no shared store to work with.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RemoteError {
    #[error("no shared store is named")]
    #[diagnostic(help(
        "give `--remote URL`, set REFIT_REMOTE, or write `remote = \"s3://BUCKET/FOLDER\"` under `[run]`"
    ))]
    NoPlace,
    #[error("results are not shared by {scheme}:// addresses")]
    #[diagnostic(help("known are s3://, gs://, az://, file:// and the path of a folder"))]
    Scheme { scheme: String },
    #[error("{scheme}:// leads to no place for results: {reason}")]
    #[diagnostic(help(
        "write {scheme}://BUCKET or {scheme}://BUCKET/FOLDER, or file:///FOLDER; credentials come from variables of the \
         environment"
    ))]
    Address {
        scheme: String,
        reason: &'static str,
    },
    #[error("{} cannot be a place for results", path.display())]
    #[diagnostic(help("name a folder that you may write to"))]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Hub(#[from] HubError),
    #[error("the shared store cannot be asked: {reason}")]
    #[diagnostic(help(
        "this is a fault of this machine: too many open files or threads. Run with --no-remote to go on without it"
    ))]
    NoThreads { reason: String },
    #[error("{name} cannot be used: {reason}")]
    #[diagnostic(help(
        "check the network, the address and the variables with credentials; nothing was changed there that is not whole"
    ))]
    Lost { name: String, reason: String },
    #[error("{name} is only read here")]
    #[diagnostic(help("leave `write = false` out of `[run] remote`, or name it with --remote"))]
    ReadOnly { name: String },
}

/// A shared store, for one local store.
pub struct Remote {
    shared: Arc<Shared>,
    /// Taken when it ends.
    runtime: Option<tokio::runtime::Runtime>,
}

struct Shared {
    /// As it is shown.
    name: String,
    whole: Arc<dyn ObjectStore>,
    /// None of a folder, where copying is quick.
    parts: Option<Arc<dyn MultipartStore>>,
    /// The folder in there.
    root: Address,
    bucket: Option<hub::OpenBucket>,
    may_write: bool,
    /// Where it is written down how far uploads have come.
    uploads: PathBuf,
    pace: claims::Pace,
    contact: OnceCell<()>,
    sending: Semaphore,
    /// Held while a claim is renewed or ended.
    claiming: tokio::sync::Mutex<()>,
    bytes: Bytes,
    state: Mutex<State>,
}

/// What goes out.
#[derive(Debug, Default)]
struct Bytes {
    done: AtomicU64,
    all: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Why nothing is asked any more.
    gone: Option<String>,
    /// Why nothing is sent any more.
    closed: Option<String>,
    /// It knows no conditions, so that nobody is kept from building.
    claimless: bool,
    news: Vec<String>,
    told: BTreeSet<String>,
    /// Records and objects that are not what they should be.
    refused_keys: BTreeSet<Key>,
    refused: BTreeSet<Digest>,
    /// Objects that are there.
    there: BTreeSet<Digest>,
    held: BTreeMap<Key, Held>,
    renewing: bool,
    pending: BTreeSet<Key>,
    ended: Vec<Sent>,
}

/// Why a question has no answer.
#[derive(Debug)]
enum Failed {
    /// The place is not asked any more.
    Gone,
    Absent,
    /// There is one already.
    Taken,
    /// It is not what it was.
    Changed,
    /// The server does not know how.
    Unable,
    /// Not by these credentials.
    Denied(String),
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.shared.name)
    }
}

impl Remote {
    /// The shared store at `place`; nothing is asked of it yet.
    ///
    /// # Errors
    /// The environment does not say how to reach it.
    pub fn open(
        place: &Place,
        may_write: bool,
        store: &Store,
        environment: &Environment,
    ) -> Result<Remote, RemoteError> {
        Self::with_pace(
            place,
            may_write,
            store,
            environment,
            claims::Pace::default(),
        )
    }

    fn with_pace(
        place: &Place,
        may_write: bool,
        store: &Store,
        environment: &Environment,
        pace: claims::Pace,
    ) -> Result<Remote, RemoteError> {
        let (whole, parts, root, bucket) = match place {
            Place::Folder(path) => {
                let folder = |reason: Error| RemoteError::Folder {
                    path: path.clone(),
                    source: std::io::Error::other(reason.to_string()),
                };
                let whole = LocalFileSystem::new().with_fsync(true);
                let root = Address::from_absolute_path(path).map_err(|e| folder(e.into()))?;
                (Arc::new(whole) as Arc<dyn ObjectStore>, None, root, None)
            }
            Place::Bucket(objects) => {
                let bucket = hub::open_bucket(environment, objects)?;
                let root = objects.key.split('/').filter(|part| !part.is_empty());
                let root = root.fold(Address::default(), Address::join);
                let parts = Some(Arc::clone(&bucket.parts));
                (Arc::clone(&bucket.whole), parts, root, Some(bucket))
            }
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("refit-remote")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| RemoteError::NoThreads {
            reason: error.to_string(),
        })?;
        let shared = Shared {
            name: place.to_string(),
            whole,
            parts,
            root,
            bucket,
            may_write,
            uploads: store.uploads(),
            pace,
            contact: OnceCell::new(),
            sending: Semaphore::new(SENT_TOGETHER),
            claiming: tokio::sync::Mutex::default(),
            bytes: Bytes::default(),
            state: Mutex::default(),
        };
        Ok(Remote {
            shared: Arc::new(shared),
            runtime: Some(runtime),
        })
    }

    /// Whether results may be sent.
    pub fn may_write(&self) -> bool {
        self.shared.may_write
    }

    /// Why it cannot be used any more, once that was found.
    pub fn lost(&self) -> Option<RemoteError> {
        let state = self.shared.state();
        let reason = state.gone.as_ref().or(state.closed.as_ref())?;
        Some(RemoteError::Lost {
            name: self.shared.name.clone(),
            reason: reason.clone(),
        })
    }

    /// Waits for an answer.
    fn wait<T: Default>(&self, question: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref();
        runtime.map_or_else(T::default, |runtime| runtime.block_on(question))
    }

    /// Ends what this process claims, where it does not wait for what is sent.
    pub fn let_go(&self) {
        self.wait(self.shared.release_all());
    }

    /// The keys of every record there; none where it cannot be asked.
    pub fn keys(&self) -> Option<BTreeSet<Key>> {
        self.wait(self.shared.keys())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Upstream for Remote {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn records(&self, keys: &[Key]) -> Vec<Record> {
        let asked = futures_util::stream::iter(keys.iter().copied())
            .map(|key| self.shared.sound_record(key))
            .buffer_unordered(SIDE_BY_SIDE)
            .collect::<Vec<_>>();
        self.wait(asked).into_iter().flatten().collect()
    }

    fn has(&self, digest: &Digest) -> bool {
        self.wait(self.shared.has(digest))
    }

    fn fetch(
        &self,
        record: &Record,
        into: &Path,
        on_bytes: OnBytes,
    ) -> Result<Arrived, StoreError> {
        let Some(runtime) = &self.runtime else {
            return Ok(Arrived::Absent);
        };
        runtime.block_on(self.shared.fetch(record, into, on_bytes))
    }

    fn peek(&self, digest: &Digest, name: &str) -> Option<Vec<u8>> {
        self.wait(self.shared.peek(digest, name))
    }

    fn refuse(&self, record: &Record, reason: &str) {
        self.shared.refuse(&record.digest, reason);
    }

    fn claim(&self, key: &Key, on_other: OnOther) -> Claimed {
        match &self.runtime {
            Some(runtime) => claims::claim(&self.shared, runtime, key, on_other),
            None => Claimed::Ours,
        }
    }

    fn release(&self, key: &Key) {
        self.wait(self.shared.release(key));
    }

    fn offer(&self, record: Record, object: PathBuf) {
        let (true, Some(runtime)) = (self.shared.may_write, &self.runtime) else {
            return;
        };
        send::begin(&self.shared, runtime, record, object);
    }

    fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().news)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, folder: &str, name: &str) -> Address {
        name.split('/')
            .fold(self.root.clone().join(folder), Address::join)
    }

    fn record_at(&self, key: &Key) -> Address {
        self.at("keys", &format!("{key}.json"))
    }

    fn file_at(&self, digest: &Digest, name: &str) -> Address {
        self.at("objects", &format!("{digest}/{name}"))
    }

    /// Tells something once.
    fn tell(&self, text: String) {
        tracing::debug!("{text}");
        let mut state = self.state();
        if state.told.insert(text.clone()) {
            state.news.push(text);
        }
    }

    /// From now on everything goes on without it.
    fn lose(&self, reason: &str) {
        let first = self.state().gone.replace(reason.to_owned()).is_none();
        if first {
            self.tell(format!(
                "the shared store {} cannot be used: {reason}; going on without it",
                self.name
            ));
        }
    }

    /// From now on nothing is sent.
    fn close(&self, reason: &str) {
        let first = self.state().closed.replace(reason.to_owned()).is_none();
        if first {
            self.tell(format!(
                "the shared store {} takes no results: {reason}; nothing is sent to it",
                self.name
            ));
        }
    }

    fn refuse(&self, digest: &Digest, reason: &str) {
        {
            let mut state = self.state();
            state.refused.insert(*digest);
            state.there.remove(digest);
        }
        let repaired = match self.may_write {
            true => "it is built again, and put right there",
            false => "it is built again",
        };
        self.tell(format!(
            "the object {} of {} is refused: {reason}; {repaired}",
            digest.short(),
            self.name
        ));
    }

    fn is_refused(&self, digest: &Digest) -> bool {
        self.state().refused.contains(digest)
    }

    /// Asks until there is an answer, or until the place counts as gone.
    async fn ask<T, F>(&self, bytes: u64, question: impl Fn() -> F) -> Result<T, Failed>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        if self.state().gone.is_some() {
            return Err(Failed::Gone);
        }
        let limit = ANSWER + Duration::from_secs(bytes / SLOWEST);
        let (mut wait, mut failing) = (FIRST_WAIT, None);
        let mut attempt = 1;
        loop {
            let reason = match tokio::time::timeout(limit, question()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => match self.meaning(error) {
                    Ok(definite) => return Err(definite),
                    Err(reason) => reason,
                },
                Err(_) => format!("no answer in {} s", limit.as_secs()),
            };
            let since = *failing.get_or_insert_with(Instant::now);
            tracing::debug!(attempt, reason, "the shared store is asked again");
            if attempt >= ATTEMPTS || since.elapsed() >= PATIENCE {
                self.lose(&reason);
                return Err(Failed::Gone);
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
            attempt += 1;
        }
    }

    /// What an error says for good; or why it may be another answer next time.
    fn meaning(&self, error: Error) -> Result<Failed, String> {
        let text = self.worded(&error);
        let is = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match &error {
            _ if is(&["NoSuchBucket", "ContainerNotFound", "bucket does not exist"]) => {
                self.lose("there is no such bucket");
                Ok(Failed::Gone)
            }
            Error::NotFound { .. } => Ok(Failed::Absent),
            Error::AlreadyExists { .. } => Ok(Failed::Taken),
            Error::Precondition { .. } | Error::NotModified { .. } => Ok(Failed::Changed),
            Error::NotImplemented { .. } | Error::NotSupported { .. } => Ok(Failed::Unable),
            _ if is(&["status code: 501", "<Code>NotImplemented</Code>"]) => Ok(Failed::Unable),
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                Ok(Failed::Denied(self.denied(&text)))
            }
            _ if is(&["status code: 401", "status code: 403"]) => {
                Ok(Failed::Denied(self.denied(&text)))
            }
            _ => Err(text),
        }
    }

    /// An error and what is behind it, without what is nobody's business.
    fn worded(&self, error: &Error) -> String {
        let deepest =
            std::iter::successors(std::error::Error::source(error), |e| e.source()).last();
        let text = deepest.map_or_else(|| error.to_string(), ToString::to_string);
        let text = match &self.bucket {
            Some(bucket) => bucket.without_secrets(text),
            None => text,
        };
        let text: Vec<&str> = text.split_whitespace().collect();
        text.join(" ").chars().take(300).collect()
    }

    fn denied(&self, text: &str) -> String {
        match &self.bucket {
            Some(bucket) => format!("access is denied ({text}); set {}", bucket.credentials),
            None => format!("access is denied ({text})"),
        }
    }

    /// Makes sure, once, that a store of this format is there or may be made.
    async fn contact(&self) {
        let first = || async {
            let format = self.root.clone().join("format");
            match self.read(&format, 4096).await {
                Ok(Some((found, _))) if found.trim_ascii() == FORMAT.as_bytes() => {}
                Ok(Some((found, _))) => {
                    let found: String = String::from_utf8_lossy(found.trim_ascii())
                        .chars()
                        .filter(|c| !c.is_control())
                        .take(40)
                        .collect();
                    self.lose(&format!(
                        "it is of format {found:?}, and this program reads format {FORMAT:?}"
                    ));
                }
                Ok(None) => self.lose("its file `format` is none"),
                Err(Failed::Denied(reason)) => self.lose(&reason),
                Err(_) => {}
            }
        };
        self.contact.get_or_init(first).await;
    }

    /// All of a small file, with the tag by which it is known; none for one that is larger.
    async fn read(
        &self,
        at: &Address,
        largest: u64,
    ) -> Result<Option<(Vec<u8>, Option<String>)>, Failed> {
        self.ask(largest.min(1 << 20), || async {
            let answer = self.whole.get_opts(at, GetOptions::default()).await?;
            if answer.meta.size > largest {
                return Ok(None);
            }
            let tag = answer.meta.e_tag.clone();
            Ok(Some((answer.bytes().await?.to_vec(), tag)))
        })
        .await
    }

    async fn put(&self, at: &Address, bytes: &[u8], mode: PutMode) -> Result<PutResult, Failed> {
        self.ask(bytes.len() as u64, || {
            let options = PutOptions {
                mode: mode.clone(),
                ..PutOptions::default()
            };
            self.whole
                .put_opts(at, PutPayload::from(bytes.to_vec()), options)
        })
        .await
    }

    async fn head(&self, at: &Address) -> Result<(), Failed> {
        let options = || GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let answer = self.ask(0, || self.whole.get_opts(at, options()));
        answer.await.map(drop)
    }

    async fn delete(&self, at: &Address) -> Result<(), Failed> {
        self.ask(0, || async {
            let one = futures_util::stream::iter([Ok(at.clone())]).boxed();
            let deleted = self.whole.delete_stream(one).next().await;
            deleted.unwrap_or(Ok(at.clone())).map(drop)
        })
        .await
    }

    /// What is recorded under a key, and can be relied on.
    async fn sound_record(&self, key: Key) -> Option<Record> {
        self.contact().await;
        let read = match self
            .read(&self.record_at(&key), heard::LARGEST_RECORD)
            .await
        {
            Ok(read) => read,
            Err(Failed::Denied(reason)) => {
                self.lose(&reason);
                return None;
            }
            Err(_) => return None,
        };
        let checked = match read {
            Some((bytes, _)) => heard::record(&bytes, &key),
            None => Err("it is too large".to_owned()),
        };
        match checked {
            Ok(record) => (!self.is_refused(&record.digest)).then_some(record),
            Err(reason) => {
                self.state().refused_keys.insert(key);
                self.tell(format!(
                    "the record {} of {} is refused: {reason}; it counts as absent",
                    key.short(),
                    self.name
                ));
                None
            }
        }
    }

    async fn has(&self, digest: &Digest) -> bool {
        {
            let state = self.state();
            if state.there.contains(digest) || state.refused.contains(digest) {
                return !state.refused.contains(digest);
            }
        }
        self.contact().await;
        match self.head(&self.file_at(digest, MANIFEST)).await {
            Ok(()) => {
                self.state().there.insert(*digest);
                true
            }
            Err(Failed::Denied(reason)) => {
                self.lose(&reason);
                false
            }
            Err(_) => false,
        }
    }

    async fn keys(&self) -> Option<BTreeSet<Key>> {
        self.contact().await;
        let folder = self.root.clone().join("keys");
        let listed = self.ask(64 << 20, || async {
            let mut names = self.whole.list(Some(&folder));
            let mut keys = BTreeSet::new();
            while let Some(one) = names.next().await {
                let one = match one {
                    // A folder that is not there has none.
                    Err(Error::NotFound { .. }) => continue,
                    other => other?,
                };
                let name = one
                    .location
                    .filename()
                    .and_then(|name| name.strip_suffix(".json"));
                keys.extend(name.and_then(|name| name.parse::<Key>().ok()));
            }
            Ok(keys)
        });
        match listed.await {
            Ok(keys) => Some(keys),
            Err(Failed::Denied(reason)) => {
                self.lose(&reason);
                None
            }
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
