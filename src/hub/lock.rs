//! `refit.lock`: what names and addresses meant when they were first used.
//!
//! One file beside the specs of a folder, in TOML, for version control. A revision is resolved once; from then on its commit,
//! its files, their sizes and digests stand here, and a file that does not match is refused. Entries of other specs in the
//! folder stay as they are; so do [results](super::results), which decide nothing. It is written whole, under a new name first, and only when something changed.
//!
//! Deliberately absent: where files lie on this machine, and anything that differs from one machine to the next.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::address::without_query;
use super::results::StageResult;
use super::{HubError, Remote, RepositoryKind};

/// The file's name, beside the spec.
pub const LOCK: &str = "refit.lock";

const HEADER: &str = "\
# What the pipelines of this folder fetched, and in which state: written by `refit run`, for version control.
# `refit run --update` asks anew.
";

/// The version of the file's form.
const VERSION: u32 = 1;

/// Everything that was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    version: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) model: Vec<Pinned>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) dataset: Vec<Pinned>,
    /// Single files of repositories.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) file: Vec<Pinned>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) url: Vec<PinnedUrl>,
    /// Objects of stores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) object: Vec<PinnedObjects>,
    /// What stages came to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) result: Vec<StageResult>,
}

/// Under which name a repository stands in the lock. What a data set's splits are made of may come from another branch than
/// its single files, so these have entries of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    section: Section,
    id: String,
    revision: Option<String>,
    config: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Model,
    Dataset,
    File,
}

impl Entry {
    /// That of a remote; an address has none.
    pub(super) fn of(remote: &Remote) -> Option<Entry> {
        let (section, repository, config) = match remote {
            Remote::Encoder(repository) | Remote::Tokenizer(repository) => {
                (Section::Model, repository, None)
            }
            Remote::Dataset {
                repository, config, ..
            } => (Section::Dataset, repository, config.clone()),
            Remote::File { repository, .. } | Remote::Files { repository, .. } => {
                (Section::File, repository, None)
            }
            Remote::Url(_) | Remote::Objects(_) => return None,
        };
        let id = match (section, repository.kind) {
            (Section::File, RepositoryKind::Dataset) => format!("datasets/{}", repository.id),
            _ => repository.id.clone(),
        };
        Some(Entry {
            section,
            id,
            revision: repository.revision.clone(),
            config,
        })
    }

    fn is(&self, pinned: &Pinned) -> bool {
        pinned.id == self.id && pinned.revision == self.revision && pinned.config == self.config
    }

    /// What it says of a commit before anything is known of its files.
    pub(super) fn pinned(&self, commit: &str) -> Pinned {
        Pinned {
            id: self.id.clone(),
            revision: self.revision.clone(),
            config: self.config.clone(),
            commit: commit.to_owned(),
            encoder: Vec::new(),
            tokenizer: Vec::new(),
            splits: BTreeMap::new(),
            patterns: BTreeMap::new(),
            class_names: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }
}

/// A repository in the state that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pinned {
    pub(super) id: String,
    /// As the spec has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
    /// The configuration of a data set that the spec asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<String>,
    pub(super) commit: String,
    /// The files that make the encoder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) encoder: Vec<String>,
    /// The files that make the tokenizer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tokenizer: Vec<String>,
    /// Split → its files, also of splits that were never asked for; these have no entries in `files`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) splits: BTreeMap<String, Vec<String>>,
    /// Pattern → the files that fitted it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) patterns: BTreeMap<String, Vec<String>>,
    /// Column → the names of its classes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) class_names: BTreeMap<String, Vec<String>>,
    /// Path in the repository → what the file is.
    #[serde(default)]
    pub(super) files: BTreeMap<String, Content>,
}

/// A file behind an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinnedUrl {
    pub(super) address: String,
    pub(super) content: Content,
}

/// What a path meant that leads to objects of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinnedObjects {
    /// As the spec has it.
    pub(super) address: String,
    /// Key → what the object is.
    pub(super) files: BTreeMap<String, PinnedObject>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinnedObject {
    /// Bytes.
    pub(super) size: u64,
    pub(super) sha256: String,
    /// By which the store knows these bytes: what still has it need not be fetched again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
}

impl PinnedObject {
    pub(super) fn content(&self) -> Content {
        Content {
            size: self.size,
            sha256: Some(self.sha256.clone()),
            git: None,
        }
    }
}

/// What a file holds. One of the digests is there: the hub knows large files by their SHA-256 and small ones as git does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    /// Bytes.
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    /// SHA-1 over git's header and the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) git: Option<String>,
}

impl Content {
    /// Of so many bytes, with the digest by which the hub names it.
    pub(super) fn with_etag(size: u64, etag: &str) -> Content {
        let is_git = etag.len() == 40;
        Content {
            size,
            sha256: (!is_git).then(|| etag.to_owned()),
            git: is_git.then(|| etag.to_owned()),
        }
    }

    /// Whether it has a digest, and one that can be one.
    fn is_sound(&self) -> bool {
        let is_hex = |digest: &Option<String>, digits: usize| {
            digest
                .as_deref()
                .is_none_or(|digest| is_hex(digest, digits))
        };
        self.etag().is_some() && is_hex(&self.sha256, 64) && is_hex(&self.git, 40)
    }

    /// The name by which the cache keeps it.
    pub(super) fn etag(&self) -> Option<&str> {
        self.sha256.as_deref().or(self.git.as_deref())
    }
}

impl Default for Lock {
    fn default() -> Self {
        Lock {
            version: VERSION,
            model: Vec::new(),
            dataset: Vec::new(),
            file: Vec::new(),
            url: Vec::new(),
            object: Vec::new(),
            result: Vec::new(),
        }
    }
}

impl Lock {
    /// The lock at `path`; an empty one where there is none.
    ///
    /// # Errors
    /// A file that cannot be read, is no such lock, or is of a newer version.
    pub(super) fn read(path: &Path) -> Result<Lock, HubError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Lock::default());
            }
            Err(source) => {
                return Err(HubError::LockUnreadable {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let broken = |reason: String| HubError::LockBroken {
            path: path.to_owned(),
            reason,
        };
        let lock: Lock = toml::from_str(&text).map_err(|error| broken(error.to_string()))?;
        if lock.version != VERSION {
            return Err(broken(format!(
                "it is of version {}, and this program reads version {VERSION}",
                lock.version
            )));
        }
        // Hand-written or from a stranger, it says which files of this machine are read.
        let wrong_at = |needle: &str, reason: String| {
            let line = text.lines().position(|line| line.contains(needle));
            broken(format!("line {}: {reason}", line.unwrap_or_default() + 1))
        };
        for pinned in lock.model.iter().chain(&lock.dataset).chain(&lock.file) {
            let Pinned { id, commit, .. } = pinned;
            if !is_commit(commit) {
                return Err(wrong_at(commit, format!("{commit:?} is no commit ({id})")));
            }
            for (name, content) in &pinned.files {
                if !is_inside(name) {
                    let reason = format!("{name:?} leads out of {id}");
                    return Err(wrong_at(name, reason));
                }
                if !content.is_sound() {
                    return Err(wrong_at(name, format!("{name} of {id} has no digest")));
                }
            }
        }
        for PinnedUrl { address, content } in &lock.url {
            if content.git.is_some() || !content.is_sound() {
                let reason = format!("{} has no SHA-256", without_query(address));
                return Err(wrong_at(address, reason));
            }
        }
        for PinnedObjects { address, files } in &lock.object {
            if files.is_empty() {
                return Err(wrong_at(address, format!("{address} has no file")));
            }
            for (name, object) in files {
                if !is_hex(&object.sha256, 64) {
                    let reason = format!("{name} of {address} has no SHA-256");
                    return Err(wrong_at(name, reason));
                }
            }
        }
        Ok(lock)
    }

    /// Writes it to `path`, unless that is there already.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), HubError> {
        let mut sorted = self.clone();
        let place = |pinned: &Pinned| {
            let Pinned {
                id,
                revision,
                config,
                ..
            } = pinned;
            (id.clone(), revision.clone(), config.clone())
        };
        sorted.model.sort_by_key(place);
        sorted.dataset.sort_by_key(place);
        sorted.file.sort_by_key(place);
        sorted.url.sort_by(|a, b| a.address.cmp(&b.address));
        sorted.object.sort_by(|a, b| a.address.cmp(&b.address));
        let stage = |one: &StageResult| (one.pipeline.clone(), one.stage.clone());
        sorted.result.sort_by_key(stage);
        let failed = |source| HubError::write(path, source);
        let text = toml::to_string(&sorted)
            .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let text = format!("{HEADER}{text}");
        if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let mut file =
            tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
        readable_by_all(file.path()).map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    pub(super) fn get(&self, entry: &Entry) -> Option<&Pinned> {
        let entries = match entry.section {
            Section::Model => &self.model,
            Section::Dataset => &self.dataset,
            Section::File => &self.file,
        };
        entries.iter().find(|pinned| entry.is(pinned))
    }

    /// Puts what is now known in the place of what was.
    pub(super) fn put(&mut self, entry: &Entry, pinned: Pinned) {
        let entries = match entry.section {
            Section::Model => &mut self.model,
            Section::Dataset => &mut self.dataset,
            Section::File => &mut self.file,
        };
        entries.retain(|one| !entry.is(one));
        entries.push(pinned);
    }

    pub(super) fn url(&self, address: &str) -> Option<&PinnedUrl> {
        self.url.iter().find(|pinned| pinned.address == address)
    }

    pub(super) fn objects(&self, address: &str) -> Option<&PinnedObjects> {
        self.object.iter().find(|pinned| pinned.address == address)
    }

    pub(super) fn put_objects(&mut self, pinned: PinnedObjects) {
        self.object.retain(|one| one.address != pinned.address);
        self.object.push(pinned);
    }

    pub(super) fn put_url(&mut self, pinned: PinnedUrl) {
        self.url.retain(|one| one.address != pinned.address);
        self.url.push(pinned);
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a revision names a commit, and so means itself.
pub(super) fn is_commit(revision: &str) -> bool {
    is_hex(revision, 40)
}

/// Whether a path of a repository stays within a folder that it is laid into.
pub(super) fn is_inside(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.split('/').all(part) && !path.contains(['\\', '\0']) && !path.contains(':')
}

#[cfg(unix)]
pub(super) fn readable_by_all(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
pub(super) fn readable_by_all(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Repository;

    fn entry(id: &str) -> Entry {
        let repository = Repository::parse(RepositoryKind::Model, id).unwrap();
        Entry::of(&Remote::Encoder(repository)).unwrap()
    }

    fn pinned(id: &str) -> Pinned {
        let config = Content {
            size: 3,
            sha256: None,
            git: Some("b".repeat(40)),
        };
        let mut pinned = entry(id).pinned(&"a".repeat(40));
        pinned.encoder.push("config.json".to_owned());
        pinned.files.insert("config.json".to_owned(), config);
        pinned
    }

    #[test]
    fn what_is_written_reads_back_whatever_the_order_of_writing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        let mut one = Lock::default();
        one.put(&entry("x/one"), pinned("x/one"));
        one.put(&entry("x/two"), pinned("x/two"));
        one.write(&path).unwrap();
        let first = std::fs::read(&path).unwrap();
        let mut other = Lock::default();
        other.put(&entry("x/two"), pinned("x/two"));
        other.put(&entry("x/one"), pinned("x/one"));
        other.write(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        let read = Lock::read(&path).unwrap();
        assert_eq!(read.get(&entry("x/two")), Some(&pinned("x/two")));
        assert_eq!(read.get(&entry("x/two@v2")), None);
    }

    #[test]
    fn a_broken_lock_is_an_error_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        let good = "version = 1\n[[model]]\nid = \"a/b\"\ncommit = \"COMMIT\"\n[model.files]\n";
        let good = good.replace("COMMIT", &"0".repeat(40));
        std::fs::write(&path, &good).unwrap();
        assert!(Lock::read(&path).is_ok());
        for (text, said) in [
            ("version = 2\n".to_owned(), "version 2"),
            ("version = ".to_owned(), "line 1"),
            (good.replace("id =", "ident ="), "line 3"),
            (good.replace(&"0".repeat(40), "main"), "line 4: \"main\" is no commit"),
            (
                format!(
                    "{good}\"../x\" = {{ size = 1, git = \"{}\" }}\n",
                    "0".repeat(40)
                ),
                "../x",
            ),
            (format!("{good}\"x\" = {{ size = 1 }}\n"), "line 6: x of a/b"),
            (
                "version = 1\n[[url]]\naddress = \"https://x/y\"\ncontent = { size = 1, sha256 = \"../../../üü\" }\n"
                    .to_owned(),
                "line 3: https://x/y has no SHA-256",
            ),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = Lock::read(&path).unwrap_err().to_string();
            assert!(error.contains(said), "{text}\n{error}");
            assert!(error.contains(LOCK), "{error}");
        }
    }

    #[test]
    fn paths_that_lead_outside_are_no_paths_of_a_repository() {
        for path in ["a", "a/b.json", "data/train-00000-of-00001.parquet", "..a"] {
            assert!(is_inside(path), "{path}");
        }
        for path in [
            "", "/a", "../a", "a/../b", "a//b", "./a", "a\\b", "C:a", "a/..",
        ] {
            assert!(!is_inside(path), "{path}");
        }
    }
}
