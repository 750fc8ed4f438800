//! Placing a finished artifact outside the store, and never over somebody else's work.
//!
//! A placed folder holds the artifact's files, a card, where it came from ([`origin`](super::origin)), and a marker (`.refit.json`) that names the pipeline, the stage, the
//! key and the digest of every file. The marker decides what a later run may do: a folder that is as it was placed may be
//! replaced; one that was edited since, or that refit did not place, is refused unless forced.
//!
//! The folder appears whole, by a rename; while it is replaced there is a moment without one. Whoever is killed in that
//! moment leaves the old one beside it; the next run puts that one back, and then places the new one. What lies beside for a
//! moment is locked by whoever made it, so that the next run knows what the killed left, and deletes it.
//!
//! Deliberately absent: keys. Where an artifact is placed changes no result.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::artifact::{Digest, Unreadable, files_under, relative_name};
use crate::fingerprint::Key;
use crate::hub::{Environment, Repository};
use crate::outcome::Reason;
use crate::plan::{Plan, Step};
use crate::store::{Record, Store};

/// The marker's file name.
pub const MARKER: &str = ".refit.json";
/// The card's file name.
pub const CARD: &str = "README.md";
/// How names begin of what lies beside a placed folder for a moment.
const DRAFT: &str = ".refit-placing-";
/// The folder in there with what was replaced, under the name of its place.
const OLD: &str = "old";
/// How names begin of what could not be put back. It belongs to the user.
const KEPT: &str = ".refit-kept-";
/// The store's own file inside an object, which is no part of the artifact.
const MANIFEST: &str = "manifest.json";

/// What stands where an artifact is to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// This artifact, as it was placed.
    Current,
    /// Nothing, or an empty folder.
    Missing,
    /// An older artifact of the same stage, as it was placed.
    Stale,
    /// A placed artifact that was changed by hand.
    Edited { file: String },
    /// Something that refit did not place, or placed for another stage.
    Foreign,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    /// Who placed this, for a reader who finds the file.
    placed_by: String,
    pipeline: String,
    stage: String,
    key: Key,
    digest: Digest,
    files: BTreeMap<String, Digest>,
    /// Where it was uploaded to as it is: the hub's address and the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published: Option<String>,
}

/// Why an artifact could not be placed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PlaceError {
    #[error("{} was edited since refit placed it: {file}", to.display())]
    #[diagnostic(help(
        "move your changes elsewhere, or replace the folder with `--force {stage}`"
    ))]
    Edited {
        to: PathBuf,
        file: String,
        stage: String,
    },
    #[error("{} holds files that refit did not place for this stage", to.display())]
    #[diagnostic(help(
        "give `to` a folder of its own, or replace this one with `--force {stage}`"
    ))]
    Foreign { to: PathBuf, stage: String },
    #[error("{} holds the store, or lies in it", to.display())]
    #[diagnostic(help(
        "give `to` a folder of its own, such as \"dist/model\"; `--force` does not help here"
    ))]
    Store { to: PathBuf },
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("check the free space and the permissions of the folder that `to` names"))]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {}, nor put back what was there, which is in {} now", path.display(), kept.display())]
    #[diagnostic(help(
        "check the disk and the permissions of the folder that `to` names, and move the old folder back if you need it; the next \
         run places the new one"
    ))]
    Stranded {
        path: PathBuf,
        kept: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Looks at what stands at `to`.
///
/// # Errors
/// A file there that cannot be read.
pub fn state(
    to: &Path,
    plan: &Plan,
    step: &Step,
    record: &Record,
    store: &Store,
) -> Result<Placement, Unreadable> {
    let unreadable = |error| Unreadable::new(to, error);
    match fs::symlink_metadata(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Placement::Missing),
        Err(error) => return Err(unreadable(error)),
        Ok(metadata) if !metadata.is_dir() => return Ok(Placement::Foreign),
        Ok(_) => {}
    }
    let Some(marker) = read_marker(to) else {
        let empty = fs::read_dir(to).map_err(unreadable)?.next().is_none();
        return Ok(if empty {
            Placement::Missing
        } else {
            Placement::Foreign
        });
    };
    if marker.pipeline != plan.pipeline || marker.stage != step.name {
        // A renamed pipeline or stage placed the very same artifact: nothing to lose by taking it over.
        if marker.digest != record.digest {
            return Ok(Placement::Foreign);
        }
    }
    let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    if let Some(other) = files_under(to)?.iter().find(|path| !is_file(path)) {
        let file = relative_name(to, other);
        return Ok(Placement::Edited { file });
    }
    let found = files(to, store)?;
    let differs = |name: &&String| found.get(*name) != marker.files.get(*name);
    if let Some(file) = marker.files.keys().chain(found.keys()).find(differs) {
        return Ok(Placement::Edited { file: file.clone() });
    }
    let same = marker.digest == record.digest
        && marker.key == record.key
        && marker.stage == step.name
        && marker.pipeline == plan.pipeline;
    Ok(if same {
        Placement::Current
    } else {
        Placement::Stale
    })
}

/// Why something must be placed at `to`; nothing when it is there. Without `forced`, what refit may not replace is said.
///
/// # Errors
/// A file there that cannot be read.
pub fn wanting(
    to: &Path,
    plan: &Plan,
    step: &Step,
    record: &Record,
    store: &Store,
    forced: bool,
) -> Result<Option<Reason>, Unreadable> {
    let shown = to.display().to_string();
    Ok(match state(to, plan, step, record, store)? {
        Placement::Current => unpublished(to, step),
        Placement::Missing => Some(Reason::PlacementMissing { to: shown }),
        Placement::Edited { .. } | Placement::Foreign if !forced => {
            Some(Reason::PlacementRefused { to: shown })
        }
        _ => Some(Reason::PlacementStale { to: shown }),
    })
}

/// Whether what is placed at `to` still has to be uploaded to the hub that this process talks to.
fn unpublished(to: &Path, step: &Step) -> Option<Reason> {
    let repository = &step.publication.as_ref()?.repository;
    let wanted = page(&Environment::of_process(), repository);
    let published = read_marker(to).and_then(|marker| marker.published);
    (published != Some(wanted)).then(|| Reason::NotPublished {
        to: repository.to_string(),
    })
}

fn page(environment: &Environment, repository: &Repository) -> String {
    format!("{}/{repository}", environment.endpoint)
}

/// Writes into the marker of what is placed at `to` that it was uploaded.
///
/// # Errors
/// The marker cannot be written.
pub fn note_published(
    to: &Path,
    environment: &Environment,
    repository: &Repository,
) -> Result<(), PlaceError> {
    let Some(mut marker) = read_marker(to) else {
        return Ok(());
    };
    marker.published = Some(page(environment, repository));
    let path = to.join(MARKER);
    let failed = |source| PlaceError::Write {
        path: path.clone(),
        source,
    };
    // Beside the folder: whoever is killed here must leave nothing in it that was not placed.
    let beside = Beside::new(to.parent().unwrap_or(to)).map_err(failed)?;
    let draft = beside.path().join(MARKER);
    let text = serde_json::to_vec_pretty(&marker).map_err(|error| failed(error.into()))?;
    write_whole(&draft, &text).map_err(failed)?;
    fs::rename(&draft, &path).map_err(failed)
}

/// A folder for what is not in its place yet, or not any more. Gone when dropped.
struct Beside {
    folder: TempDir,
    /// None where folders cannot be locked: nobody tidies there.
    _lock: Option<fs::File>,
}

impl Beside {
    fn new(parent: &Path) -> io::Result<Beside> {
        loop {
            let folder = tempfile::Builder::new().prefix(DRAFT).tempdir_in(parent)?;
            let lock = fs::File::open(folder.path()).ok();
            match lock.as_ref().map(fs::File::try_lock) {
                // Somebody tidied it away before it was locked.
                Some(Err(TryLockError::WouldBlock)) => {}
                Some(Ok(())) if !folder.path().exists() => {}
                tried => {
                    return Ok(Beside {
                        folder,
                        _lock: lock.filter(|_| matches!(tried, Some(Ok(())))),
                    });
                }
            }
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder, under a name that nobody tidies if it can be had; where it is then.
    fn keep(self) -> PathBuf {
        let folder = self.folder.keep();
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let kept = folder.with_file_name(name.replacen(DRAFT, KEPT, 1));
        match fs::rename(&folder, &kept) {
            Ok(()) => kept,
            Err(_) => folder,
        }
    }
}

/// Deletes what killed runs left beside the places of this plan, and puts back what they took out of a place that is empty
/// since. Nothing depends on that, so that what cannot be deleted is only told in the log.
pub fn tidy(plan: &Plan) {
    let places = plan.steps.iter().filter_map(|step| step.placement.as_ref());
    let parents: BTreeSet<&Path> = places.filter_map(|to| to.parent()).collect();
    for parent in parents {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(DRAFT));
        for entry in ours {
            let path = entry.path();
            let Ok(folder) = fs::File::open(&path) else {
                continue;
            };
            if folder.try_lock().is_ok()
                && let Err(error) =
                    put_back(&path.join(OLD), parent).and_then(|()| fs::remove_dir_all(&path))
            {
                tracing::debug!(%error, "{} stays", path.display());
            }
        }
    }
}

/// Puts what was replaced back where there is nothing now.
fn put_back(old: &Path, parent: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(old) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let to = parent.join(entry.file_name());
        match fs::symlink_metadata(&to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::rename(entry.path(), &to)?;
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// The digest of every file but the marker, by its bytes; the store remembers those that stay.
fn files(folder: &Path, store: &Store) -> Result<BTreeMap<String, Digest>, Unreadable> {
    let mut found = BTreeMap::new();
    for path in files_under(folder)? {
        let name = relative_name(folder, &path);
        if name != MARKER {
            found.insert(name, store.digest_file(&path)?);
        }
    }
    Ok(found)
}

fn read_marker(to: &Path) -> Option<Marker> {
    serde_json::from_slice(&fs::read(to.join(MARKER)).ok()?).ok()
}

/// Places the object at `to`, with what is laid `beside` it by name, and its marker.
///
/// # Errors
/// A folder that refit may not replace (unless `forced`), or that cannot be written.
#[expect(
    clippy::too_many_arguments,
    reason = "a placement is where, what, for whom, and whether by force"
)]
pub fn place(
    to: &Path,
    object: &Path,
    beside: &[(&str, String)],
    plan: &Plan,
    step: &Step,
    record: &Record,
    store: &Store,
    forced: bool,
) -> Result<(), PlaceError> {
    if store.root().starts_with(to) || to.starts_with(store.root()) {
        return Err(PlaceError::Store { to: to.to_owned() });
    }
    match state(to, plan, step, record, store)? {
        Placement::Current => return Ok(()),
        Placement::Edited { file } if !forced => {
            return Err(PlaceError::Edited {
                to: to.to_owned(),
                file,
                stage: step.name.clone(),
            });
        }
        Placement::Foreign if !forced => {
            return Err(PlaceError::Foreign {
                to: to.to_owned(),
                stage: step.name.clone(),
            });
        }
        _ => {}
    }
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| PlaceError::Write { path, source }
    };
    let parent = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(write(parent))?;
    let aside = Beside::new(parent).map_err(write(parent))?;
    let draft = aside.path().join("new");
    fs::create_dir(&draft).map_err(write(&draft))?;
    for file in files_under(object)? {
        let name = file.strip_prefix(object).unwrap_or(&file);
        if name == Path::new(MANIFEST) {
            continue;
        }
        let target = draft.join(name);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(write(folder))?;
        }
        fs::copy(&file, &target).map_err(write(&target))?;
        fs::File::open(&target)
            .and_then(|file| file.sync_all())
            .map_err(write(&target))?;
    }
    for (name, text) in beside {
        let target = draft.join(name);
        write_whole(&target, text.as_bytes()).map_err(write(&target))?;
    }
    let marker = Marker {
        placed_by: "refit".to_owned(),
        pipeline: plan.pipeline.clone(),
        stage: step.name.clone(),
        key: record.key,
        digest: record.digest,
        files: files(&draft, store)?,
        published: None,
    };
    let target = draft.join(MARKER);
    let text =
        serde_json::to_string_pretty(&marker).map_err(|error| write(&target)(error.into()))?;
    write_whole(&target, text.as_bytes()).map_err(write(&target))?;
    sync_folders(&draft).map_err(write(&draft))?;
    let old = aside.path().join(OLD);
    fs::create_dir(&old).map_err(write(&old))?;
    let old = old.join(to.file_name().unwrap_or_default());
    match swap(&draft, to, &old) {
        Ok(()) => {}
        Err(Unswapped::AsItWas(source)) => return Err(write(to)(source)),
        Err(Unswapped::OutOfPlace(source)) => {
            let inside = old.strip_prefix(aside.path()).map(Path::to_owned);
            // Only the old one is worth keeping.
            let _ = fs::remove_dir_all(&draft);
            let kept = aside.keep();
            return Err(PlaceError::Stranded {
                path: to.to_owned(),
                kept: inside.map_or(kept.clone(), |inside| kept.join(inside)),
                source,
            });
        }
    }
    fs::File::open(parent)
        .and_then(|parent| parent.sync_all())
        .map_err(write(to))
}

/// Brings the lists of names below a folder onto the disk: a folder without its marker would be a stranger's.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    fs::File::open(folder)?.sync_all()
}

/// On the disk before it is renamed: an empty marker would make the folder a stranger's.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()
}

/// Why a folder did not get into its place.
enum Unswapped {
    AsItWas(io::Error),
    /// What was there could not be put back.
    OutOfPlace(io::Error),
}

/// Puts `draft` at `to`, and what was there at `old`.
fn swap(draft: &Path, to: &Path, old: &Path) -> Result<(), Unswapped> {
    let replaced = match fs::rename(to, old) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(Unswapped::AsItWas(error)),
    };
    match fs::rename(draft, to) {
        Ok(()) => Ok(()),
        Err(error) if replaced && fs::rename(old, to).is_err() => Err(Unswapped::OutOfPlace(error)),
        Err(error) => Err(Unswapped::AsItWas(error)),
    }
}
