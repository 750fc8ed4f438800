//! The memo: which digest a file had when it was last hashed.
//!
//! It saves re-hashing gigabytes on every run, and nothing else depends on it: it may be deleted, and of two processes that
//! save it at once the later one wins. No time that it holds ever enters a key.
//!
//! An entry is believed when the file's [`Stamp`] (size, modification time, change time, inode) is what it was. Times tick
//! coarsely: two writes within one tick leave the same stamp if the size stays. So an entry is only *made* when the stamp
//! could not survive another write, git's rule against "racily clean" files: both times must be earlier than the moment
//! from which the hash was taken, as the file system that stamps the file would tell it.
//!
//! - For a user's file that moment is this machine's clock less [`MARGIN`], which covers the coarsest stamps in use (two
//!   seconds on FAT) and a server's clock that lags a little. A file edited within the last seconds is simply hashed again
//!   next time.
//! - For a file that the store has just written, it is the stamp of a probe written to the same file system before hashing,
//!   so that what a run has built need not be hashed again by the next run.
//!
//! The modification time alone would not do, since `touch` and `rsync` set it at will; nobody sets the change time. A
//! stamp that differs before and after hashing makes no entry either. Without these stamps (outside Unix) every file is
//! hashed every time.
//!
//! The memo is one text file, a line per entry, with a checksum in its head: one that lies is worse than none. An entry
//! that no command touched while [`MOST_SAVES`] newer memos were saved is dropped.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::artifact::Digest;

use super::StoreError;
use super::layout::write_whole;

/// How much older than its hash a user's file must be (module doc).
const MARGIN: Duration = Duration::from_secs(3);
/// How many saves an unused entry survives.
const MOST_SAVES: u32 = 64;
const HEAD: &str = "refit memo 1";

/// What the file system says of a file without reading it. Times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    pub(super) modified: i64,
    pub(super) changed: i64,
    pub(super) inode: u64,
}

impl Stamp {
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let nanoseconds =
            |seconds: i64, more: i64| seconds.checked_mul(1_000_000_000)?.checked_add(more);
        Some(Stamp {
            bytes: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec())?,
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec())?,
            inode: metadata.ino(),
        })
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &Metadata) -> Option<Self> {
        None
    }
}

/// The moment before which a user's file must have been changed, for a hash taken from now on to be remembered.
pub(super) fn settled_by_now() -> Option<i64> {
    let now = SystemTime::now()
        .checked_sub(MARGIN)?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    i64::try_from(now.as_nanos()).ok()
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    stamp: Stamp,
    digest: Digest,
    /// The number of the save before which it was last used.
    used: u32,
}

#[derive(Debug, Default)]
struct Entries {
    by_name: HashMap<String, Entry>,
    saves: u32,
    changed: bool,
}

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Memo {
    path: PathBuf,
    /// Read when first asked.
    entries: Mutex<Option<Entries>>,
}

impl Memo {
    pub(super) fn new(path: PathBuf) -> Self {
        Memo {
            path,
            entries: Mutex::new(None),
        }
    }

    /// The digest of the file called `name`, if it was remembered under this very stamp.
    pub(super) fn recall(&self, name: &str, stamp: &Stamp) -> Option<Digest> {
        self.with(|entries| {
            let saves = entries.saves;
            let entry = entries
                .by_name
                .get_mut(name)
                .filter(|entry| entry.stamp == *stamp)?;
            entry.used = saves;
            Some(entry.digest)
        })
    }

    /// Remembers a digest that was taken at or after `settled`, unless the file was changed at or after that moment.
    pub(super) fn learn(&self, name: &str, stamp: Stamp, digest: Digest, settled: i64) {
        if stamp.modified >= settled || stamp.changed >= settled || name.contains('\n') {
            return;
        }
        self.with(|entries| {
            let entry = Entry {
                stamp,
                digest,
                used: entries.saves,
            };
            entries.by_name.insert(name.to_owned(), entry);
            entries.changed = true;
        });
    }

    /// Forgets every file whose name begins so.
    pub(super) fn forget(&self, beginning: &str) {
        self.with(|entries| {
            let before = entries.by_name.len();
            entries
                .by_name
                .retain(|name, _| !name.starts_with(beginning));
            entries.changed |= entries.by_name.len() != before;
        });
    }

    /// Writes the memo if it says anything new.
    pub(super) fn save(&self) -> Result<(), StoreError> {
        let mut guard = self.lock();
        let Some(entries) = guard.as_mut().filter(|entries| entries.changed) else {
            return Ok(());
        };
        entries.saves += 1;
        let saves = entries.saves;
        entries
            .by_name
            .retain(|_, entry| saves.saturating_sub(entry.used) <= MOST_SAVES);
        write_whole(&self.path, entries.to_string().as_bytes())?;
        entries.changed = false;
        Ok(())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Entries) -> T) -> T {
        work(self.lock().get_or_insert_with(|| self.read()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Entries>> {
        // Each change is a single insertion, so a thread that panicked left nothing half done.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Entries {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) => {
                if e.kind() != ErrorKind::NotFound {
                    tracing::warn!(
                        "the memo {} cannot be read, so files are hashed again: {e}",
                        self.path.display()
                    );
                }
                return Entries::default();
            }
        };
        text.parse().unwrap_or_else(|NotAMemo| {
            tracing::warn!(
                "the memo {} is damaged, so files are hashed again",
                self.path.display()
            );
            Entries::default()
        })
    }
}

impl std::fmt::Display for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut lines = String::with_capacity(self.by_name.len() * 256);
        for (
            name,
            Entry {
                stamp:
                    Stamp {
                        bytes,
                        modified,
                        changed,
                        inode,
                    },
                digest,
                used,
            },
        ) in &self.by_name
        {
            writeln!(
                lines,
                "{digest} {bytes} {modified} {changed} {inode} {used} {name}"
            )?;
        }
        write!(
            f,
            "{HEAD} {} {}\n{lines}",
            self.saves,
            Digest::of(lines.as_bytes())
        )
    }
}

struct NotAMemo;

impl FromStr for Entries {
    type Err = NotAMemo;

    fn from_str(text: &str) -> Result<Self, NotAMemo> {
        let (head, lines) = text.split_once('\n').ok_or(NotAMemo)?;
        let (saves, sum) = head
            .strip_prefix(HEAD)
            .and_then(|rest| rest.trim_start().split_once(' '))
            .ok_or(NotAMemo)?;
        if sum.parse().ok() != Some(Digest::of(lines.as_bytes())) {
            return Err(NotAMemo);
        }
        let by_name = lines
            .lines()
            .map(|line| read_line(line).ok_or(NotAMemo))
            .collect::<Result<_, _>>()?;
        Ok(Entries {
            by_name,
            saves: saves.parse().map_err(|_| NotAMemo)?,
            changed: false,
        })
    }
}

fn read_line(line: &str) -> Option<(String, Entry)> {
    let mut parts = line.splitn(7, ' ');
    let digest = parts.next()?.parse().ok()?;
    let stamp = Stamp {
        bytes: parts.next()?.parse().ok()?,
        modified: parts.next()?.parse().ok()?,
        changed: parts.next()?.parse().ok()?,
        inode: parts.next()?.parse().ok()?,
    };
    let used = parts.next()?.parse().ok()?;
    Some((
        parts.next()?.to_owned(),
        Entry {
            stamp,
            digest,
            used,
        },
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const OLD: Stamp = Stamp {
        bytes: 5,
        modified: 100,
        changed: 200,
        inode: 7,
    };

    fn memo(folder: &tempfile::TempDir) -> Memo {
        Memo::new(folder.path().join("memo"))
    }

    #[test]
    fn only_the_very_same_stamp_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let memo = memo(&folder);
        memo.learn("a", OLD, Digest::of(b"a"), 201);
        assert_eq!(memo.recall("a", &OLD), Some(Digest::of(b"a")));
        for other in [
            Stamp { bytes: 6, ..OLD },
            Stamp {
                modified: 101,
                ..OLD
            },
            Stamp {
                changed: 201,
                ..OLD
            },
            Stamp { inode: 8, ..OLD },
        ] {
            assert_eq!(memo.recall("a", &other), None);
        }
    }

    #[test]
    fn a_file_changed_at_or_after_the_moment_of_hashing_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let memo = memo(&folder);
        memo.learn("changed", OLD, Digest::of(b"a"), 200);
        memo.learn(
            "touched ahead",
            Stamp {
                modified: 300,
                ..OLD
            },
            Digest::of(b"a"),
            250,
        );
        assert_eq!(memo.recall("changed", &OLD), None);
        assert_eq!(
            memo.recall(
                "touched ahead",
                &Stamp {
                    modified: 300,
                    ..OLD
                }
            ),
            None
        );
    }

    #[test]
    fn what_was_saved_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let first = memo(&folder);
        first.learn("/data/with space.csv", OLD, Digest::of(b"a"), 201);
        first.learn("not\nthis", OLD, Digest::of(b"b"), 201);
        first.save().unwrap();
        let second = memo(&folder);
        assert_eq!(
            second.recall("/data/with space.csv", &OLD),
            Some(Digest::of(b"a"))
        );
        second.forget("/data/");
        second.save().unwrap();
        assert_eq!(memo(&folder).recall("/data/with space.csv", &OLD), None);
    }

    #[test]
    fn a_damaged_memo_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let first = memo(&folder);
        first.learn("a", OLD, Digest::of(b"a"), 201);
        first.learn("b", OLD, Digest::of(b"b"), 201);
        first.save().unwrap();
        let whole = fs::read(folder.path().join("memo")).unwrap();
        for cut in 0..whole.len() {
            fs::write(folder.path().join("memo"), &whole[..cut]).unwrap();
            assert_eq!(memo(&folder).recall("a", &OLD), None, "cut at {cut}");
        }
        for place in 0..whole.len() {
            let mut bent = whole.clone();
            bent[place] ^= 1;
            fs::write(folder.path().join("memo"), &bent).unwrap();
            let told = memo(&folder).recall("a", &OLD);
            assert!(
                told.is_none() || told == Some(Digest::of(b"a")),
                "bent at {place}"
            );
        }
    }

    #[test]
    fn entries_that_nobody_uses_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let memo = memo(&folder);
        memo.learn("idle", OLD, Digest::of(b"a"), 201);
        memo.learn("used", OLD, Digest::of(b"a"), 201);
        for round in 0..=MOST_SAVES {
            assert!(memo.recall("used", &OLD).is_some());
            memo.learn(&format!("new {round}"), OLD, Digest::of(b"a"), 201);
            memo.save().unwrap();
        }
        assert!(memo.recall("idle", &OLD).is_none());
        assert!(memo.recall("used", &OLD).is_some());
    }

    #[test]
    #[ignore = "a measurement"]
    fn a_hundred_thousand_entries_load_fast() {
        let folder = tempfile::tempdir().unwrap();
        let first = memo(&folder);
        for number in 0..100_000u32 {
            let digest = Digest::of(&number.to_le_bytes());
            first.learn(&format!("objects/{digest}/train.parquet"), OLD, digest, 201);
        }
        let began = Instant::now();
        first.save().unwrap();
        eprintln!("saved in {:?}", began.elapsed());
        let began = Instant::now();
        assert!(memo(&folder).recall("none", &OLD).is_none());
        eprintln!("loaded in {:?}", began.elapsed());
    }
}
