//! Locks on files, between the threads of one process as well as between processes.
//!
//! The operating system ties a lock to one opening of a file: a second opening in the same process waits like one in
//! another, and a killed process gives its locks back. A lock file may be deleted by its holder; whoever got the lock of a
//! file that is not in its place any more opens the new one and tries again.
//!
//! Deliberately absent: what is protected. See [`super::draft`] and [`super::gc`].

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::StoreError;
use super::memo::Stamp;

/// Asked again and again while a lock is waited for, with the time spent so far (zero at first: the moment to say whom one
/// waits for). `Break` gives up.
pub type OnWait<'a> = &'a mut dyn FnMut(Duration) -> ControlFlow<()>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Shared,
    Alone,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

/// Takes the lock at `path`, or says `None` when others hold it.
pub(super) fn attempt(path: &Path, mode: Mode) -> Result<Option<Lock>, StoreError> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .or_else(|error| match (mode, error.kind()) {
                // Whoever only reads may do so where nothing can be written.
                (Mode::Shared, ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                    File::open(path).map_err(|_| error)
                }
                _ => Err(error),
            })
            .map_err(|e| StoreError::write(path, e))?;
        let tried = match mode {
            Mode::Shared => file.try_lock_shared(),
            Mode::Alone => file.try_lock(),
        };
        match tried {
            Ok(()) if in_place(&file, path) => {
                return Ok(Some(Lock {
                    file,
                    path: path.to_owned(),
                }));
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => {
                return Err(StoreError::Lock {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    }
}

/// Whether the file system's locks keep others out: while `held` is held, nobody else may get the same one alone. (A file
/// system without locks of its own may give every lock that it is asked for.)
pub(super) fn keeps_others_out(held: &Lock) -> Result<(), StoreError> {
    match attempt(&held.path, Mode::Alone) {
        Ok(Some(_)) => Err(StoreError::Lock {
            path: held.path.clone(),
            source: io::Error::new(
                ErrorKind::Unsupported,
                "the file system gives one lock to two at once",
            ),
        }),
        // Where it cannot be asked for, it was not given either.
        _ => Ok(()),
    }
}

/// Waits for the lock at `path`; `None` when `on_wait` gave up.
pub(super) fn acquire(
    path: &Path,
    mode: Mode,
    on_wait: OnWait,
) -> Result<Option<Lock>, StoreError> {
    const LONGEST_PAUSE: Duration = Duration::from_millis(50);
    let began = Instant::now();
    let (mut waited, mut pause) = (Duration::ZERO, Duration::from_millis(2));
    loop {
        if let Some(lock) = attempt(path, mode)? {
            return Ok(Some(lock));
        }
        if on_wait(waited).is_break() {
            return Ok(None);
        }
        // Polling instead of blocking, so that an interrupted user is heard.
        std::thread::sleep(pause);
        waited = began.elapsed();
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Lock {
    /// Writes who holds the lock, and returns the file system's own time of that, in nanoseconds: whatever is written to a
    /// file on the same file system from now on is stamped with this time or a later one.
    pub(super) fn tick(&self) -> io::Result<Option<i64>> {
        self.file.set_len(0)?;
        (&self.file).write_all(format!("process {}\n", std::process::id()).as_bytes())?;
        Ok(Stamp::of(&self.file.metadata()?).map(|stamp| stamp.modified))
    }

    /// Deletes the lock's file and gives the lock back.
    pub(super) fn remove(self) {
        if cfg!(unix) {
            // One that stays is empty, and taken again by whoever needs it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether an open file or folder is the one at `path`.
#[cfg(unix)]
pub(super) fn in_place(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(placed)) => identity(held) == identity(placed),
        _ => false,
    }
}

#[cfg(not(unix))]
pub(super) fn in_place(_: &File, _: &Path) -> bool {
    true
}
