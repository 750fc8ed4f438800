//! The cache of the hub's files on this machine, in the layout of Python's `huggingface_hub`.
//!
//! ```text
//! models--owner--name/refs/main                    the commit that a revision meant
//!                     blobs/ETAG                   contents, named by the hub's digest; or → ../../blobs/…
//!                     snapshots/COMMIT/config.json → ../../blobs/ETAG
//! blobs/12/1234…                                   contents that several repositories have (huggingface_hub 2 makes these)
//! .locks/models--owner--name/ETAG.lock             who is fetching
//! ```
//!
//! A blob appears whole, by a rename; a link of a snapshot is made after it. A link that leads neither into its repository's
//! folder nor to the shared contents is refused.
//!
//! Deliberately absent: the network; any removal; and adding to the shared contents, which are named by the hub's chunk store.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lock::{Content, is_commit, is_inside};
use super::{HubError, Progress, Repository, RepositoryKind};

/// One repository's folder in the cache.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    folder: PathBuf,
    shared: PathBuf,
    locks: PathBuf,
}

/// How often a lock that another process holds is tried again.
const PATIENCE: Duration = Duration::from_millis(100);

/// The repositories of a kind that the cache has something of, in order.
pub(super) fn names(cache: &Path, kind: RepositoryKind) -> Vec<String> {
    let beginning = format!("{}--", kind_name(kind));
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().join("snapshots").is_dir());
    let mut names: Vec<String> = folders
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            // A name has one slash at most; two dashes further on are its own.
            Some(name.strip_prefix(&beginning)?.replacen("--", "/", 1))
        })
        .collect();
    names.sort();
    names
}

fn kind_name(kind: RepositoryKind) -> &'static str {
    match kind {
        RepositoryKind::Model => "models",
        RepositoryKind::Dataset => "datasets",
    }
}

impl Cached {
    pub(super) fn of(cache: &Path, repository: &Repository) -> Cached {
        let kind = kind_name(repository.kind);
        let name = format!("{kind}--{}", repository.id.replace('/', "--"));
        Cached {
            folder: cache.join(&name),
            shared: cache.join("blobs"),
            locks: cache.join(".locks").join(name),
        }
    }

    /// The commit that a revision meant when it was last fetched; a commit means itself.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        if !is_inside(revision) {
            return None;
        }
        let text = std::fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// A file of a snapshot: with the given content, where that is known. The content is told by size and by the name of
    /// the blob, which nobody writes to once it has it.
    ///
    /// # Errors
    /// A link that leads out of the repository's folder.
    pub(super) fn file(
        &self,
        commit: &str,
        name: &str,
        wanted: Option<&Content>,
    ) -> Result<Option<PathBuf>, HubError> {
        let path = self.snapshot(commit).join(name);
        let Ok(metadata) = std::fs::metadata(&path) else {
            return Ok(None);
        };
        self.check_inside(&path)?;
        let etag = self.etag(commit, name);
        let is_wanted = |wanted: &Content| {
            metadata.len() == wanted.size
                && (etag.is_none() || wanted.etag().is_none() || etag.as_deref() == wanted.etag())
        };
        Ok((metadata.is_file() && wanted.is_none_or(is_wanted)).then_some(path))
    }

    /// The hub's digest of a snapshot's file: the name of the blob that its link leads to. None where it is no link.
    pub(super) fn etag(&self, commit: &str, name: &str) -> Option<String> {
        let blob = std::fs::read_link(self.snapshot(commit).join(name)).ok()?;
        let etag = blob.file_name()?.to_str()?.to_owned();
        let is_digest =
            [40, 64].contains(&etag.len()) && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then_some(etag)
    }

    fn check_inside(&self, path: &Path) -> Result<(), HubError> {
        let leads_to = path.canonicalize().ok();
        let may_lead_to = [&self.folder, &self.shared]
            .into_iter()
            .filter_map(|folder| folder.canonicalize().ok());
        match leads_to {
            Some(to) if may_lead_to.into_iter().any(|folder| to.starts_with(folder)) => Ok(()),
            _ => Err(HubError::LinkLeadsOut {
                path: path.to_owned(),
            }),
        }
    }

    /// The names of all files of a snapshot, in order.
    pub(super) fn names(&self, commit: &str) -> Vec<String> {
        let root = self.snapshot(commit);
        let (mut names, mut pending) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = pending.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                // A link to a folder is none of the hub's.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    pending.push(path);
                } else if let Ok(name) = path.strip_prefix(&root) {
                    names.push(name.to_string_lossy().replace('\\', "/"));
                }
            }
        }
        names.sort();
        names
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Whether a blob is there, whole.
    pub(super) fn has(&self, etag: &str, size: u64) -> bool {
        let blob = self.blob(etag);
        std::fs::metadata(&blob).is_ok_and(|file| file.is_file() && file.len() == size)
            && self.check_inside(&blob).is_ok()
    }

    /// Lets a snapshot's name lead to a blob.
    pub(super) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<PathBuf, HubError> {
        let path = self.snapshot(commit).join(name);
        let folder = path.parent().unwrap_or(&path);
        let up = "../".repeat(2 + name.matches('/').count());
        let target = format!("{up}blobs/{etag}");
        std::fs::create_dir_all(folder)
            .and_then(|()| place_link(Path::new(&target), &path, &self.blob(etag)))
            .map_err(|source| HubError::write(&path, source))?;
        self.check_inside(&path)?;
        Ok(path)
    }

    /// Writes down what a revision means now.
    pub(super) fn set_commit(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        // A cache that needs no change may be one that cannot be written.
        let means_itself = is_commit(revision) || !is_inside(revision);
        if means_itself || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        let written = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(&path);
            std::fs::create_dir_all(folder)?;
            let draft = tempfile::Builder::new().make_in(folder, |draft| {
                File::options().write(true).create_new(true).open(draft)
            })?;
            std::fs::write(draft.path(), commit)?;
            draft.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        written().map_err(|source| HubError::write(&path, source))
    }

    /// Waits until nobody else fetches this blob. It is let go when the file is closed.
    ///
    /// # Errors
    /// The lock file cannot be made; the user asked to stop.
    pub(super) fn hold(
        &self,
        etag: &str,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<File, HubError> {
        hold(&self.locks.join(format!("{etag}.lock")), what, progress)
    }
}

/// Waits until nobody else holds the lock file at `path`.
pub(super) fn hold(path: &Path, what: &str, progress: &dyn Progress) -> Result<File, HubError> {
    let failed = |source| HubError::write(path, source);
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    let mut said = false;
    loop {
        let file = File::options()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            // Python deletes the file when it is done: the lock of a deleted one keeps nobody away.
            Ok(()) if in_place(&file, path) => return Ok(file),
            Ok(()) => continue,
            Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
            Err(std::fs::TryLockError::WouldBlock) => {}
        }
        if progress.interrupted() {
            return Err(HubError::Interrupted);
        }
        if !std::mem::replace(&mut said, true) {
            progress.say(&format!("waiting for another process that fetches {what}"));
        }
        std::thread::sleep(PATIENCE);
    }
}

#[cfg(unix)]
fn in_place(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(placed)) => identity(held) == identity(placed),
        _ => false,
    }
}

#[cfg(not(unix))]
fn in_place(_: &File, _: &Path) -> bool {
    true
}

#[cfg(unix)]
fn place_link(target: &Path, path: &Path, _blob: &Path) -> io::Result<()> {
    if std::fs::read_link(path).is_ok_and(|there| there == target) {
        return Ok(());
    }
    // Beside it first: a link cannot be replaced, but a name can be taken over in one step.
    let folder = path.parent().unwrap_or(path);
    let draft = tempfile::Builder::new()
        .make_in(folder, |draft| std::os::unix::fs::symlink(target, draft))?;
    draft.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(not(unix))]
fn place_link(_target: &Path, path: &Path, blob: &Path) -> io::Result<()> {
    std::fs::copy(blob, path).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> Repository {
        Repository::parse(RepositoryKind::Model, "owner/name").unwrap()
    }

    fn content(size: u64, etag: &str) -> Content {
        Content::with_etag(size, etag)
    }

    #[test]
    #[cfg(unix)]
    fn a_link_leads_from_the_snapshot_to_the_blob_and_not_elsewhere() {
        let cache = tempfile::tempdir().unwrap();
        let cached = Cached::of(cache.path(), &repository());
        let (commit, etag) = ("1".repeat(40), "e".repeat(64));
        let name = "onnx/deep/model.bin";
        std::fs::create_dir_all(cached.blob("x").parent().unwrap()).unwrap();
        std::fs::write(cached.blob(&etag), "hello").unwrap();
        assert!(cached.has(&etag, 5) && !cached.has(&etag, 6));
        let path = cached.link(&commit, name, &etag).unwrap();
        cached.link(&commit, name, &etag).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello");
        let found = |wanted: Option<&Content>| cached.file(&commit, name, wanted).unwrap();
        assert_eq!(found(None), Some(path.clone()));
        assert_eq!(found(Some(&content(5, &etag))), Some(path));
        assert_eq!(found(Some(&content(6, &etag))), None);
        assert_eq!(found(Some(&content(5, &"f".repeat(64)))), None);
        assert_eq!(cached.names(&commit), [name]);

        let outside = cache.path().join("secret");
        std::fs::write(&outside, "hello").unwrap();
        std::os::unix::fs::symlink(&outside, cached.snapshot(&commit).join("evil")).unwrap();
        let error = cached.file(&commit, "evil", None).unwrap_err();
        assert!(matches!(error, HubError::LinkLeadsOut { .. }), "{error}");
        // A blob that is such a link is none.
        let evil = "a".repeat(64);
        std::os::unix::fs::symlink(&outside, cached.blob(&evil)).unwrap();
        assert!(!cached.has(&evil, 5));
        let error = cached.link(&commit, "evil2", &evil).unwrap_err();
        assert!(matches!(error, HubError::LinkLeadsOut { .. }), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn contents_that_python_shares_among_repositories_are_used_under_the_hubs_digest() {
        let cache = tempfile::tempdir().unwrap();
        let cached = Cached::of(cache.path(), &repository());
        let (commit, etag, xet) = ("1".repeat(40), "e".repeat(64), "12".repeat(32));
        let shared = cache.path().join("blobs/12");
        std::fs::create_dir_all(&shared).unwrap();
        std::fs::create_dir_all(cached.blob("x").parent().unwrap()).unwrap();
        std::fs::write(shared.join(&xet), "hello").unwrap();
        let target = format!("../../blobs/12/{xet}");
        std::os::unix::fs::symlink(target, cached.blob(&etag)).unwrap();
        cached.link(&commit, "model.safetensors", &etag).unwrap();
        let wanted = content(5, &etag);
        let found = cached.file(&commit, "model.safetensors", Some(&wanted));
        assert!(found.unwrap().is_some());
        assert_eq!(
            cached.etag(&commit, "model.safetensors").as_deref(),
            Some(etag.as_str())
        );
    }

    #[test]
    #[cfg(unix)]
    fn the_lock_of_a_file_that_its_holder_deleted_keeps_nobody_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etag.lock");
        let first = hold(&path, "x", &Quiet).unwrap();
        assert!(in_place(&first, &path));
        std::fs::remove_file(&path).unwrap();
        assert!(!in_place(&first, &path));
        let second = hold(&path, "x", &Quiet).unwrap();
        assert!(in_place(&second, &path));
        let error = hold(&path, "x", &Quiet).unwrap_err();
        assert!(matches!(error, HubError::Interrupted), "{error}");
    }

    struct Quiet;

    impl Progress for Quiet {
        fn start(&self, _: &str, _: u64) {}
        fn advance(&self, _: u64) {}
        fn say(&self, _: &str) {}
        fn interrupted(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_revision_means_what_was_written_down() {
        let cache = tempfile::tempdir().unwrap();
        let cached = Cached::of(cache.path(), &repository());
        let commit = "a1".repeat(20);
        assert_eq!(cached.commit("main"), None);
        cached.set_commit("main", &commit).unwrap();
        cached.set_commit("refs/convert/parquet", &commit).unwrap();
        assert_eq!(cached.commit("main").as_deref(), Some(commit.as_str()));
        assert_eq!(cached.commit("refs/convert/parquet"), Some(commit.clone()));
        assert_eq!(cached.commit(&commit), Some(commit));
        assert_eq!(cached.commit("../../secret"), None);
    }
}
