//! When one of the files that a pipeline reads changes.
//!
//! Folders are watched rather than files, since editors replace files, and patterns find new ones; of everything that
//! happens there nothing is filtered but reading, because looking again is cheap and the keys decide whether anything is to be
//! done. Every folder on the way from the spec's to a file is watched too, and where a folder is gone, the nearest one above
//! that is there, so that folders may be deleted, moved and made anew. What the file system does not tell (a network file
//! system, too many watches) is found by looking at the files every two seconds.
//!
//! Deliberately absent: what to do about a change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// A change is told when nothing more changed for so long,
const QUIET: Duration = Duration::from_millis(30);
/// or after so long, whatever goes on.
const LONGEST: Duration = Duration::from_millis(200);
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Something changed where the files are.
    Changed,
    /// [`Watcher::waker`] was used.
    Called,
    /// Time is over.
    Nothing,
}

/// Follows files.
pub struct Watcher {
    /// None where the file system cannot be asked.
    inner: Option<RecommendedWatcher>,
    sender: Sender<Wake>,
    receiver: Receiver<Wake>,
    folders: BTreeSet<PathBuf>,
    seen: BTreeMap<PathBuf, Option<Stamp>>,
    looked: Instant,
}

/// What tells two states of a file apart without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    node: u64,
}

impl Watcher {
    pub fn new() -> Watcher {
        let (sender, receiver) = channel();
        let changes = sender.clone();
        let inner = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // What could not be told of (an overflow, say) may have been anything.
            let matters = event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_)));
            if matters {
                let _ = changes.send(Wake::Changed);
            }
        });
        if let Err(error) = &inner {
            tracing::info!(%error, "the file system tells nothing, so files are looked at");
        }
        Watcher {
            inner: inner.ok(),
            sender,
            receiver,
            folders: BTreeSet::new(),
            seen: BTreeMap::new(),
            looked: Instant::now(),
        }
    }

    /// Follows these files from now on, and no others; `root` is the spec's folder. Whoever read the files before reads them
    /// again afterwards: what happened between was not seen.
    pub fn follow(&mut self, root: &Path, files: &BTreeSet<PathBuf>) {
        let root = absolute(root);
        let mut folders = BTreeSet::new();
        for file in files {
            let file = absolute(file);
            // Where a link leads counts as well.
            for file in [file.canonicalize().ok(), Some(file)].into_iter().flatten() {
                let ancestors = file.ancestors().skip(1);
                let mut above = ancestors.filter(|folder| folder.is_dir());
                let Some(nearest) = above.next() else {
                    continue;
                };
                folders.insert(nearest.to_owned());
                if nearest.starts_with(&root) {
                    let inside = above.take_while(|folder| folder.starts_with(&root));
                    folders.extend(inside.map(Path::to_owned));
                }
            }
        }
        if let Some(inner) = &mut self.inner {
            // A folder of the same name may be another one by now.
            for folder in &self.folders {
                let _ = inner.unwatch(folder);
            }
            for folder in &folders {
                if let Err(error) = inner.watch(folder, RecursiveMode::NonRecursive) {
                    tracing::info!(folder = %folder.display(), %error, "cannot be watched");
                }
            }
        }
        self.folders = folders;
        self.seen = files
            .iter()
            .map(|file| (file.clone(), stamp(file)))
            .collect();
        self.looked = Instant::now();
    }

    /// Ends the wait of whoever waits, as [`Wake::Called`].
    pub fn waker(&self) -> impl Fn() + Send + 'static {
        let sender = self.sender.clone();
        move || {
            let _ = sender.send(Wake::Called);
        }
    }

    /// Waits until something happens, and then until it is quiet again.
    pub fn wait(&mut self, most: Duration) -> Wake {
        let first = match self.receiver.recv_timeout(most) {
            Ok(wake) => wake,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return match self.looks_changed() {
                    true => Wake::Changed,
                    false => Wake::Nothing,
                };
            }
        };
        if first == Wake::Called {
            return Wake::Called;
        }
        let since = Instant::now();
        while since.elapsed() < LONGEST {
            match self.receiver.recv_timeout(QUIET) {
                Ok(Wake::Called) => {
                    // It is not forgotten.
                    let _ = self.sender.send(Wake::Called);
                    break;
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Wake::Changed
    }

    fn looks_changed(&mut self) -> bool {
        if self.looked.elapsed() < LOOK {
            return false;
        }
        self.looked = Instant::now();
        let mut changed = false;
        for (file, seen) in &mut self.seen {
            let now = stamp(file);
            changed |= now != *seen;
            *seen = now;
        }
        changed
    }
}

impl Default for Watcher {
    fn default() -> Self {
        Watcher::new()
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn stamp(file: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(file).ok()?;
    #[cfg(unix)]
    let node = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let node = 0;
    Some(Stamp {
        length: found.len(),
        modified: found.modified().ok(),
        node,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for a busy machine; nobody waits so long when something happens.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn wakes(watcher: &mut Watcher) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if watcher.wait(Duration::from_millis(100)) == Wake::Changed {
                return true;
            }
        }
        false
    }

    fn settle(watcher: &mut Watcher) {
        while watcher.wait(Duration::from_millis(60)) == Wake::Changed {}
    }

    #[test]
    fn a_file_may_be_written_replaced_and_deleted_with_its_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        let file = folder.join("data.csv");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&file, "1").unwrap();
        let files = [file.clone()].into();
        let mut watcher = Watcher::new();
        watcher.follow(root.path(), &files);
        let steps: [&dyn Fn(); 6] = [
            &|| std::fs::write(&file, "2").unwrap(),
            &|| {
                std::fs::write(folder.join("new"), "3").unwrap();
                std::fs::rename(folder.join("new"), &file).unwrap();
            },
            &|| std::fs::remove_dir_all(root.path().join("a")).unwrap(),
            &|| std::fs::create_dir_all(&folder).unwrap(),
            &|| std::fs::write(&file, "4").unwrap(),
            &|| {
                std::fs::rename(root.path().join("a"), root.path().join("old")).unwrap();
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&file, "5").unwrap();
            },
        ];
        for (number, step) in steps.iter().enumerate() {
            settle(&mut watcher);
            step();
            assert!(wakes(&mut watcher), "step {number}");
            watcher.follow(root.path(), &files);
        }
    }

    #[test]
    fn a_new_file_beside_the_others_is_seen() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("data")).unwrap();
        let file = root.path().join("data/a.csv");
        std::fs::write(&file, "1").unwrap();
        let mut watcher = Watcher::new();
        watcher.follow(root.path(), &[file].into());
        settle(&mut watcher);
        std::fs::write(root.path().join("data/b.csv"), "1").unwrap();
        assert!(wakes(&mut watcher));
    }

    #[test]
    fn what_the_file_system_does_not_tell_is_found_by_looking() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.csv");
        std::fs::write(&file, "1").unwrap();
        let mut watcher = Watcher {
            inner: None,
            ..Watcher::new()
        };
        watcher.follow(root.path(), &[file.clone()].into());
        assert_eq!(watcher.wait(Duration::from_millis(1)), Wake::Nothing);
        std::fs::write(&file, "12").unwrap();
        assert!(wakes(&mut watcher));
        std::fs::remove_file(&file).unwrap();
        assert!(wakes(&mut watcher));
    }

    #[test]
    fn a_call_ends_the_wait_and_is_not_lost_in_a_change() {
        let mut watcher = Watcher::new();
        let call = watcher.waker();
        call();
        assert_eq!(watcher.wait(PATIENCE), Wake::Called);
        watcher.sender.send(Wake::Changed).unwrap();
        call();
        assert_eq!(watcher.wait(PATIENCE), Wake::Changed);
        assert_eq!(watcher.wait(PATIENCE), Wake::Called);
    }
}
