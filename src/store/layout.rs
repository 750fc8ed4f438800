//! Where things lie in a store, and how a file comes to lie there whole or not at all.
//!
//! ```text
//! .refit/
//! ├── format               the layout's version
//! ├── .gitignore           `*`: a store is nobody's source
//! ├── lock                 shared by every run, alone with `gc`
//! ├── memo                 file → digest, as long as its stamp stays the same
//! ├── keys/KEY.json        fingerprint → digest: small, and kept
//! ├── objects/DIGEST/      an artifact's files, and `manifest.json`, written last
//! ├── runs/TIME-….json     what each run did
//! ├── sweeps/ID/           a sweep's journal, and who works on which of its trials
//! ├── checkpoints/KEY/     how far the training for a key has come
//! ├── kept/…               what stages asked of programs and services, by stage; what the store is called there
//! ├── uploads/…            how far the uploads of large files to another place have come
//! ├── claims/KEY           in another store's place: who builds what has this key
//! ├── jobs/NAME/           what was handed to other processes or a cluster to be done, and how it ended
//! ├── drafts/KEY-…/        an artifact that is being built
//! ├── drafts/KEY.lock      held by whoever builds it
//! └── drafts/discarded-…   on its way out
//! ```
//!
//! `keys`, `objects` and `runs` are the store proper: content under fixed names, the same on a disk and on a remote place.
//! Everything else is local and can be deleted while nothing runs.
//!
//! Deliberately absent: the meaning of any file's content.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::artifact::{Digest, files_under};
use crate::fingerprint::Key;

use super::StoreError;

/// The version of this layout.
pub const FORMAT: &str = "1";
/// The list of an object's files. A folder without it is no object.
pub const MANIFEST: &str = "manifest.json";
const WRITING: &str = ".writing-";
const LOCK: &str = ".lock";
const DISCARDED: &str = "discarded-";
const OURS: [&str; 15] = [
    "format",
    ".gitignore",
    "lock",
    "memo",
    "keys",
    "objects",
    "runs",
    "sweeps",
    "checkpoints",
    "kept",
    "drafts",
    "uploads",
    // Another store may keep its results here, and who builds what (`remote`).
    "claims",
    "jobs",
    // Fetching comes before anything is built: where it fails, this is all that there is.
    "downloads",
];

/// The places of one store.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
}

impl Layout {
    pub(super) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    pub(super) fn record(&self, key: &Key) -> PathBuf {
        self.keys().join(format!("{key}.json"))
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub(super) fn object(&self, digest: &Digest) -> PathBuf {
        self.objects().join(digest.to_string())
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    pub(super) fn drafts(&self) -> PathBuf {
        self.root.join("drafts")
    }

    /// A folder for building what has this key, under a name that nobody else takes.
    pub(super) fn draft(&self, key: &Key) -> PathBuf {
        self.drafts().join(format!("{key}-{}", unique()))
    }

    /// What was begun under a key.
    pub(super) fn drafts_of(&self, key: &Key) -> Result<Vec<PathBuf>, StoreError> {
        let names = names_in(&self.drafts())?.into_iter();
        let drafts = names.filter(|name| !name.ends_with(LOCK) && key_in(name) == Some(*key));
        Ok(drafts.map(|name| self.drafts().join(name)).collect())
    }

    pub(super) fn draft_lock(&self, key: &Key) -> PathBuf {
        self.drafts().join(format!("{key}{LOCK}"))
    }

    pub(super) fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    pub(super) fn sweeps(&self) -> PathBuf {
        self.root.join("sweeps")
    }

    pub(super) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn memo(&self) -> PathBuf {
        self.root.join("memo")
    }

    /// Whether there is a store, or may be one: nothing is written.
    ///
    /// # Errors
    /// A file in the folder's place, a folder with other things in it, or a store of another format.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let path = self.root.clone();
        match fs::metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(StoreError::read(&path, e)),
            Ok(metadata) if !metadata.is_dir() => return Err(StoreError::NotAFolder { path }),
            Ok(_) => {}
        }
        let format = path.join("format");
        match fs::read(&format) {
            Ok(found) if found.trim_ascii() == FORMAT.as_bytes() => Ok(()),
            Ok(found) => {
                let found = String::from_utf8_lossy(found.trim_ascii())
                    .chars()
                    .take(40)
                    .collect();
                Err(StoreError::Format {
                    path,
                    found,
                    expected: FORMAT,
                })
            }
            // A process that died while it made the store leaves some of our names and no format.
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let all_ours = names_in(&path)?
                    .iter()
                    .all(|name| OURS.contains(&name.as_str()) || name.starts_with(WRITING));
                if all_ours {
                    Ok(())
                } else {
                    Err(StoreError::NotAStore { path })
                }
            }
            Err(e) => Err(StoreError::read(&format, e)),
        }
    }

    /// Makes the folders, so that things can be written.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        for folder in [
            &self.root,
            &self.keys(),
            &self.objects(),
            &self.runs(),
            &self.drafts(),
        ] {
            fs::create_dir_all(folder).map_err(|e| StoreError::write(folder, e))?;
        }
        for (name, content) in [(".gitignore", "*"), ("format", FORMAT)] {
            let path = self.root.join(name);
            if !path.exists() {
                write_whole(&path, format!("{content}\n").as_bytes())?;
            }
        }
        Ok(())
    }

    /// Every object's digest, sorted.
    pub(super) fn digests(&self) -> Result<Vec<Digest>, StoreError> {
        let mut digests: Vec<Digest> = names_in(&self.objects())?
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        digests.sort();
        Ok(digests)
    }

    /// Takes a file or folder out of its place at once, then deletes it. Killed in between, it leaves only rubbish.
    pub(super) fn discard(&self, path: &Path) -> Result<(), StoreError> {
        let away = self.drafts().join(format!("{DISCARDED}{}", unique()));
        match fs::rename(path, &away) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(StoreError::write(path, e)),
            Ok(()) => {}
        }
        remove(&away)
    }

    /// Puts a record into its place. What a killed process leaves of it lies among the drafts, so that nobody need look through
    /// all keys for it.
    pub(super) fn write_record(&self, key: &Key, content: &[u8]) -> Result<(), StoreError> {
        write_whole_from(&self.drafts(), &self.record(key), content)
    }

    /// Deletes what [`Layout::discard`] and [`write_whole`] left when they were killed. Only while nobody else works here.
    pub(super) fn sweep_rubbish(&self) -> Result<(), StoreError> {
        for name in names_in(&self.drafts())?
            .iter()
            .filter(|name| name.starts_with(DISCARDED))
        {
            remove(&self.drafts().join(name))?;
        }
        let places = [&self.root, &self.drafts(), &self.runs()];
        places
            .into_iter()
            .try_for_each(|folder| sweep_writing(folder))
    }

    /// The same among the keys, where only an earlier release leaves any, and there are very many names to look through.
    pub(super) fn sweep_rubbish_of_keys(&self) -> Result<(), StoreError> {
        sweep_writing(&self.keys())
    }
}

fn sweep_writing(folder: &Path) -> Result<(), StoreError> {
    let names = names_in(folder)?;
    let mut left = names.iter().filter(|name| name.starts_with(WRITING));
    left.try_for_each(|name| remove(&folder.join(name)))
}

/// The key that a name in `drafts` begins with.
pub(super) fn key_in(name: &str) -> Option<Key> {
    let end = name.find(['-', '.']).unwrap_or(name.len());
    name[..end].parse().ok()
}

/// The names in a folder that are text, in no order. A folder that is not there has none.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| StoreError::read(folder, e))?,
    };
    let names =
        entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names
        .collect::<io::Result<_>>()
        .map_err(|e| StoreError::read(folder, e))
}

/// Deletes a file or a folder with all that is in it; nothing there is fine.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(StoreError::write(path, e)),
        _ => Ok(()),
    }
}

/// Puts a file into its place with all of `content`, on the disk, or leaves what was there.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    write_whole_from(folder, path, content)
}

/// The same, by way of another folder.
fn write_whole_from(drafts: &Path, path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let mut written = write_and_rename(drafts, path, content);
    for _ in 0..TAKEN_FOR_RUBBISH {
        match written {
            Err(ref e) if e.kind() == ErrorKind::NotFound => {
                written = write_and_rename(drafts, path, content);
            }
            _ => break,
        }
    }
    written.map_err(|e| StoreError::write(path, e))?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// How often a draft may be gone before it is in its place: whoever tidies takes it for what a killed command left.
const TAKEN_FOR_RUBBISH: usize = 10;

fn write_and_rename(folder: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{WRITING}{}", unique()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // What stays is rubbish that a later run clears.
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Brings every file and folder below `folder` onto the disk.
pub(super) fn sync_tree(folder: &Path) -> Result<(), StoreError> {
    let mut folders = std::collections::BTreeSet::from([folder.to_owned()]);
    for path in files_under(folder)? {
        File::open(&path)
            .and_then(|file| file.sync_all())
            .map_err(|e| StoreError::write(&path, e))?;
        folders.extend(
            path.ancestors()
                .skip(1)
                .take_while(|above| *above != folder)
                .map(Path::to_owned),
        );
    }
    folders.iter().try_for_each(|folder| sync_folder(folder))
}

/// Brings a folder's list of names onto the disk, where the system knows how to.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder).and_then(|file| file.sync_all()) {
        Err(e) if !matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) => {
            Err(StoreError::write(folder, e))
        }
        _ => Ok(()),
    }
}

/// Eight hex digits that no other process or thread has at this moment.
pub(super) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = jiff::Timestamp::now().as_nanosecond();
    let digest = Digest::of(format!("{} {now} {count}", std::process::id()).as_bytes());
    digest.to_string().chars().take(8).collect()
}
