//! What a spec names that does not lie beside it: models and data sets of the Hugging Face hub, single files by address, and
//! objects of stores (`s3://`, `gs://`, `az://`).
//!
//! ```text
//!  a spec's fields ── Remote ── find (lock and cache, no network) ──┐
//!                        └───── fetch (network, writes the lock) ───┴── Fetched: Remote → Local (files on this machine)
//! ```
//!
//! Files of the hub lie in the cache that Python's `huggingface_hub` uses, in its layout, so that neither fetches what the
//! other has. What a revision meant when it was first used is written to `refit.lock`; from then on the same commit is used,
//! and nothing is asked of the network while its files are in the cache.
//!
//! Deliberately absent: what the files mean. An encoder's weights are read by `model`, a data set's rows by `table`.

mod address;
mod cache;
pub mod card;
mod choose;
mod client;
pub mod dataset;
mod environment;
mod fetch;
mod lock;
mod objects;
mod pattern;
mod push;
mod results;
mod transfer;
pub mod uri;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub use self::dataset::DatasetError;
pub use self::environment::Environment;
pub use self::fetch::{fetch, find};
pub use self::lock::LOCK;
pub use self::objects::{OpenBucket, locate_folder, open_bucket};
pub use self::push::push;
pub use self::results::{OtherResult, StageResult, write_results};

/// A kind of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepositoryKind {
    Model,
    Dataset,
}

/// A repository of the hub, as a spec names it: `owner/name`, or a bare `name`, either with `@revision`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    pub kind: RepositoryKind,
    /// Without the revision.
    pub id: String,
    /// A branch, a tag or a commit; by default the branch `main`.
    pub revision: Option<String>,
}

/// Something that must be fetched before it can be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remote {
    /// The configuration and the weights of a model.
    Encoder(Repository),
    /// The files that make a tokenizer.
    Tokenizer(Repository),
    /// The files of a data set's splits: of its only configuration, or of the one named. Without names in `splits` those that
    /// [play a role](dataset::roles); nothing of other splits is fetched.
    Dataset {
        repository: Repository,
        config: Option<String>,
        splits: BTreeSet<String>,
    },
    /// One file of a repository: `hf://datasets/owner/name@revision/path`.
    File {
        repository: Repository,
        path: String,
    },
    /// The files of a repository that fit a pattern: `hf://datasets/owner/name/data/*.parquet`.
    Files {
        repository: Repository,
        pattern: String,
    },
    /// One file behind an address: `https://…`.
    Url(String),
    /// An object of a store, or all that fit a pattern: `s3://bucket/key`.
    Objects(Objects),
}

/// What a path of the form `SCHEME://BUCKET/KEY` names, as the spec has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Objects {
    pub scheme: String,
    /// Of Azure a container, also with its account: `container@account.dfs.core.windows.net`.
    pub bucket: String,
    /// A key, or a pattern of keys.
    pub key: String,
}

impl Objects {
    fn bucket_name(&self) -> String {
        format!("{}://{}", self.scheme, self.bucket)
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Objects {
            scheme,
            bucket,
            key,
        } = self;
        write!(f, "{scheme}://{bucket}/{key}")
    }
}

/// What became of a [`Remote`]: files on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Local {
    /// The commit that the revision meant; none for an address.
    pub commit: Option<String>,
    /// Path within the repository (an address's last part) → where it lies here.
    pub files: BTreeMap<String, PathBuf>,
    /// What a data set says of itself.
    pub dataset: Option<Dataset>,
}

/// What is known of a data set beside its rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dataset {
    /// Split (`train`, `validation`, `test`, or any other name) → its files, by their paths within the repository, in order.
    pub splits: BTreeMap<String, Vec<String>>,
    /// Column → the names of its classes, in the order of their numbers.
    pub class_names: BTreeMap<String, Vec<String>>,
}

/// What is at hand of the things that a pipeline names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetched {
    remotes: BTreeMap<Remote, Local>,
    beside: Option<Box<Local>>,
}

impl Fetched {
    pub fn get(&self, remote: &Remote) -> Option<&Local> {
        self.remotes.get(remote)
    }

    /// Everything that was fetched.
    pub fn remotes(&self) -> impl Iterator<Item = &Remote> {
        self.remotes.keys()
    }

    pub fn insert(&mut self, remote: Remote, local: Local) {
        self.remotes.insert(remote, local);
    }

    /// Keeps a data set that needed no fetching, because it lies beside the spec.
    pub fn keep_beside(&mut self, local: Local) {
        self.beside = Some(Box::new(local));
    }

    /// The data set, from wherever it is.
    pub fn dataset(&self) -> Option<&Local> {
        let is_dataset = |(remote, local): (&Remote, _)| {
            matches!(remote, Remote::Dataset { .. }).then_some(local)
        };
        self.beside
            .as_deref()
            .or_else(|| self.remotes.iter().find_map(is_dataset))
    }
}

impl Repository {
    /// Reads `owner/name`, `name`, either with `@revision`; the revision may be `~parquet`, or have `%2F` for a slash.
    pub fn parse(kind: RepositoryKind, text: &str) -> Option<Repository> {
        let (id, revision) = text
            .split_once('@')
            .map_or((text, None), |(id, revision)| (id, Some(revision)));
        let is_name = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let sound = id.split('/').count() <= 2
            && id.split('/').all(is_name)
            && revision.is_none_or(|revision| !revision.is_empty());
        sound.then(|| Repository {
            kind,
            id: id.to_owned(),
            revision: revision.map(uri::revision),
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |repository: &Repository| match repository.kind {
            RepositoryKind::Model => "model",
            RepositoryKind::Dataset => "data set",
        };
        match self {
            Remote::Encoder(repository) | Remote::Tokenizer(repository) => {
                write!(f, "{} {repository}", kind(repository))
            }
            Remote::Dataset {
                repository,
                config: None,
                ..
            } => write!(f, "data set {repository}"),
            Remote::Dataset {
                repository,
                config: Some(config),
                ..
            } => write!(f, "data set {repository} ({config})"),
            Remote::File { repository, path } => {
                write!(f, "{path} of the {} {repository}", kind(repository))
            }
            Remote::Files {
                repository,
                pattern,
            } => write!(f, "{pattern} of the {} {repository}", kind(repository)),
            Remote::Url(address) => f.write_str(address),
            Remote::Objects(objects) => objects.fmt(f),
        }
    }
}

/// What the cache of this machine has of the hub's models or data sets, by name.
pub fn cached(environment: &Environment, kind: RepositoryKind) -> Vec<String> {
    cache::names(&environment.cache, kind)
}

/// Where what was resolved and fetched is kept, beside the hub's own cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// `refit.lock`, beside the spec.
    pub lock: PathBuf,
    /// The folder for files behind addresses.
    pub downloads: PathBuf,
}

/// How fetching shows itself.
pub trait Progress {
    /// A file of so many bytes (0: unknown) begins.
    fn start(&self, what: &str, bytes: u64);
    fn advance(&self, bytes: u64);
    /// A line worth reading.
    fn say(&self, line: &str);
    /// Whether the user asked to stop.
    fn interrupted(&self) -> bool;
}

/// What was looked for and could not be had.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HubError {
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("check the permissions, or remove the file: the next run writes it anew"))]
    LockUnreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is broken: {reason}", path.display())]
    #[diagnostic(help(
        "restore it from version control, or remove it: the next run asks anew what the names in the spec mean"
    ))]
    LockBroken { path: PathBuf, reason: String },
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("{}", remedy(source)))]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("check the permissions and the disk"))]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is no plain file, so it is not uploaded", path.display())]
    #[diagnostic(help("replace it by a copy of what it leads to, or remove it"))]
    NoPlainFile { path: PathBuf },
    #[error("{} is a link that leads out of its repository's folder", path.display())]
    #[diagnostic(help("no program of the hub makes such links; remove it from the cache"))]
    LinkLeadsOut { path: PathBuf },
    #[error("interrupted")]
    #[diagnostic(help("run the same command again to go on"))]
    Interrupted,
    #[error("{what} is not at hand, and HF_HUB_OFFLINE forbids to fetch it; looked in {}", looked.display())]
    #[diagnostic(help(
        "run once without HF_HUB_OFFLINE, or give a folder that holds the files, relative to the spec"
    ))]
    Offline { what: String, looked: PathBuf },
    #[error("{what} cannot be uploaded: HF_HUB_OFFLINE forbids it")]
    #[diagnostic(help("run without HF_HUB_OFFLINE, or export to a folder alone"))]
    OfflineUpload { what: String },
    #[error("{endpoint} has no {} {id:?}, and no folder of that name lies beside the spec", kind_of(*kind))]
    #[diagnostic(help(
        "check the name on the hub, or give a folder, relative to the spec; a private repository needs HF_TOKEN"
    ))]
    NoRepository {
        kind: RepositoryKind,
        id: String,
        endpoint: String,
    },
    #[error("{id} has no revision {revision:?}")]
    #[diagnostic(help(
        "a revision is a branch, a tag or a commit; its page on the hub lists them"
    ))]
    NoRevision { id: String, revision: String },
    #[error("there is no file {what}")]
    #[diagnostic(help("check the name on the repository's page"))]
    NoFile { what: String },
    #[error("{repository} has {lacks}; there is {there}")]
    #[diagnostic(help("take another revision, or a repository that transformers loads"))]
    Lacks {
        repository: String,
        lacks: String,
        there: String,
    },
    #[error("{what} {}, or does not exist", unauthorised(*with_token))]
    #[diagnostic(help(
        "check the name; for what is not public set HF_TOKEN to a token that may see it (hf.co/settings/tokens), or log in \
         with `hf auth login`"
    ))]
    Unauthorised { what: String, with_token: bool },
    #[error("{what} may not be seen: {message}")]
    #[diagnostic(help(
        "open its page on the hub and accept the conditions there; then set HF_TOKEN to a token of that account, or log in \
         with `hf auth login`"
    ))]
    Forbidden { what: String, message: String },
    #[error("{what} may not be written: {message}")]
    #[diagnostic(help("set HF_TOKEN to a token with the right to write there"))]
    ReadOnly { what: String, message: String },
    #[error("{address} does not answer as the hub does: {reason}")]
    #[diagnostic(help("check HF_ENDPOINT, and whether the service has trouble"))]
    Refused { address: String, reason: String },
    #[error("{address} cannot be reached: {reason}")]
    #[diagnostic(help(
        "check the network and run again: what was fetched is kept. Or give a folder that holds the files"
    ))]
    Unreachable { address: String, reason: String },
    #[error("{what} is not what it should be: {found}, expected {wanted}")]
    #[diagnostic(help(
        "nothing of it was kept; run again, and if it stays so, ask whoever runs the server"
    ))]
    OtherContent {
        what: String,
        found: String,
        wanted: String,
    },
    #[error("{what} is not what {} says: {found}, expected {wanted}", lock.display())]
    #[diagnostic(help(
        "somebody changed it since; `refit run --update` takes what is there now and writes that down"
    ))]
    ChangedSince {
        what: String,
        lock: PathBuf,
        found: String,
        wanted: String,
    },
    #[error("{} is no index of weights: {reason}", path.display())]
    #[diagnostic(help("take another revision, or a repository with whole files"))]
    BrokenIndex { path: PathBuf, reason: String },
    #[error("{repository}: {fault}")]
    #[diagnostic(help("{}", fault.help_text()))]
    Dataset {
        repository: String,
        fault: DatasetError,
    },
    #[error("there is no {bucket}")]
    #[diagnostic(help(
        "check the name, and the variables that say where it is: AWS_REGION and AWS_ENDPOINT_URL, GOOGLE_BASE_URL, or \
         AZURE_STORAGE_ACCOUNT_NAME"
    ))]
    NoBucket { bucket: String },
    #[error("there is no {address}")]
    #[diagnostic(help(
        "a key is a whole path, with its case and its ending; `*` stands for names within a folder, `**` for folders{near}"
    ))]
    NoObject { address: String, near: String },
    #[error("{what} may not be read {}: {said}", signature(*signed))]
    #[diagnostic(help(
        "check the name (a store that may not be listed says the same of what is not there); for what is not public set \
         {credentials}"
    ))]
    ObjectDenied {
        what: String,
        said: String,
        signed: bool,
        credentials: &'static str,
    },
    #[error("{bucket} lies in another region: {region}")]
    #[diagnostic(help("set AWS_REGION to the region of the bucket"))]
    OtherRegion { bucket: String, region: String },
    #[error("nothing can be asked of {bucket}: {reason}")]
    #[diagnostic(help(
        "correct the variables of the environment: AWS_…, GOOGLE_… or AZURE_…; for az:// AZURE_STORAGE_ACCOUNT_NAME says \
         whose container it is"
    ))]
    StoreSettings { bucket: String, reason: String },
    #[error("{what} cannot be fetched: {reason}")]
    #[diagnostic(help(
        "check the name, and the variables of the environment that say how the store is reached: AWS_…, GOOGLE_… or AZURE_…"
    ))]
    StoreRefused { what: String, reason: String },
    #[error("{address} is no address that can be fetched: {reason}")]
    #[diagnostic(help("write https://HOST/PATH"))]
    Address { address: String, reason: String },
}

impl HubError {
    fn write(path: &Path, source: io::Error) -> Self {
        HubError::Write {
            path: path.to_owned(),
            source,
        }
    }

    fn read(path: &Path, source: io::Error) -> Self {
        HubError::Read {
            path: path.to_owned(),
            source,
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space, or name a folder on another disk with HF_HUB_CACHE (files of the hub) or --store (files behind \
             addresses); what was fetched is kept, and the next run goes on with it"
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "check the folder's owner and permissions, or name another with HF_HUB_CACHE (files of the hub) or --store (files \
             behind addresses)"
        }
        _ => "check the disk and the folder",
    }
}

fn signature(signed: bool) -> &'static str {
    match signed {
        true => "with these credentials",
        false => "without credentials",
    }
}

fn unauthorised(with_token: bool) -> &'static str {
    match with_token {
        true => "may not be used with this token",
        false => "may not be used without a token",
    }
}

fn kind_of(kind: RepositoryKind) -> &'static str {
    match kind {
        RepositoryKind::Model => "model",
        RepositoryKind::Dataset => "data set",
    }
}
