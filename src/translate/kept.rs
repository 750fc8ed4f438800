//! Results that are kept, so that nothing is asked twice.
//!
//! One file for each identity of a service, one result a line, that only grows:
//! `{"text": DIGEST, "copy": 1, "result": "…"}`, where the digest is the text's BLAKE3. Lines are appended whole and put onto
//! the disk before anybody relies on them. A process that is killed in the middle of that leaves half a line, which the next
//! writer ends and every reader passes over, as it does with any line that is no result. Of two results for one question the
//! first counts.
//!
//! Whoever asks a service holds the file's lock (a file of its own beside it, which stays) from looking what is missing until
//! the answers are written.
//!
//! Deliberately absent: the texts themselves, removal of single results (delete the file to ask everything again), and what an
//! identity means.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TranslateError;

/// What a result is the result of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    text: [u8; 32],
    copy: u32,
}

impl Key {
    pub(super) fn of(text: &str, copy: u32) -> Key {
        Key {
            text: *blake3::hash(text.as_bytes()).as_bytes(),
            copy,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    text: &'a str,
    copy: u32,
    #[serde(borrow)]
    result: std::borrow::Cow<'a, str>,
}

/// The kept results of one service. Threads may share it, and processes may open the same.
#[derive(Debug)]
pub struct Kept {
    file: PathBuf,
    lock: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Key, String>,
    /// Where in the file the first line begins that was not read yet.
    read: u64,
}

/// The right to ask, until it is dropped.
pub(super) struct Claim<'a> {
    kept: &'a Kept,
    lock: File,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Closing the file does it too, unless a process that is just being started has it open.
        let _ = self.lock.unlock();
    }
}

impl Kept {
    /// Opens what is kept in `folder`, which is made when it is missing, for a service of this identity: whatever its answers
    /// depend on, as [`Service::identity`](super::Service::identity) says it.
    ///
    /// # Errors
    /// The folder cannot be made, or the file in it cannot be read.
    pub fn open(folder: &Path, identity: &str) -> Result<Kept, TranslateError> {
        fs::create_dir_all(folder).map_err(|source| TranslateError::Write {
            file: folder.to_owned(),
            source,
        })?;
        let name = blake3::hash(identity.as_bytes()).to_hex();
        let kept = Kept {
            file: folder.join(format!("{name}.jsonl")),
            lock: folder.join(format!("{name}.lock")),
            state: Mutex::default(),
        };
        kept.refresh()?;
        Ok(kept)
    }

    /// How many results are known.
    pub fn len(&self) -> usize {
        self.state().known.len()
    }

    /// Whether no result is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &Key) -> Option<String> {
        self.state().known.get(key).cloned()
    }

    /// Reads what was written since the last time, by whomever.
    pub(super) fn refresh(&self) -> Result<(), TranslateError> {
        let failed = |source| TranslateError::Read {
            file: self.file.clone(),
            source,
        };
        let mut file = match File::open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let mut state = self.state();
        let length = file.metadata().map_err(failed)?.len();
        if length < state.read {
            // Somebody began the file anew.
            state.read = 0;
        }
        file.seek(SeekFrom::Start(state.read)).map_err(failed)?;
        let mut lines = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        let mut passed_over = 0_usize;
        loop {
            line.clear();
            let count = lines.read_until(b'\n', &mut line).map_err(failed)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            state.read = state.read.saturating_add(count as u64);
            match parse(&line) {
                Some((key, result)) => {
                    state.known.entry(key).or_insert(result);
                }
                None => passed_over += usize::from(line.len() > 1),
            }
        }
        if passed_over > 0 {
            tracing::warn!(
                file = %self.file.display(),
                "{passed_over} lines that are no results are passed over"
            );
        }
        Ok(())
    }

    /// Waits until nobody else asks; `heard` is called again and again meanwhile, and its error ends the wait.
    pub(super) fn claim(
        &self,
        heard: &mut dyn FnMut() -> Result<(), TranslateError>,
    ) -> Result<Claim<'_>, TranslateError> {
        const LONGEST_PAUSE: Duration = Duration::from_millis(50);
        let failed = |source| TranslateError::Lock {
            file: self.lock.clone(),
            source,
        };
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.lock)
            .map_err(failed)?;
        let mut pause = Duration::from_millis(1);
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Claim { kept: self, lock }),
                Err(TryLockError::WouldBlock) => heard()?,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            // Polling instead of blocking, so that an interrupted user is heard.
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Claim<'_> {
    /// Writes results at the file's end, and onto the disk.
    pub(super) fn append<'a>(
        &self,
        results: impl Iterator<Item = (&'a Key, &'a str)>,
    ) -> Result<(), TranslateError> {
        let file = &self.kept.file;
        let failed = |source| TranslateError::Write {
            file: file.clone(),
            source,
        };
        let mut text = Vec::new();
        for (key, result) in results {
            let line = Line {
                text: &blake3::Hash::from_bytes(key.text).to_hex(),
                copy: key.copy,
                result: result.into(),
            };
            serde_json::to_writer(&mut text, &line).map_err(|error| failed(error.into()))?;
            text.push(b'\n');
        }
        if text.is_empty() {
            return Ok(());
        }
        let mut open = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(file)
            .map_err(failed)?;
        if ends_in_half_a_line(&mut open).map_err(failed)? {
            text.insert(0, b'\n');
        }
        open.write_all(&text)
            .and_then(|()| open.sync_data())
            .map_err(failed)?;
        self.kept.refresh()
    }
}

fn parse(line: &[u8]) -> Option<(Key, String)> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let text = blake3::Hash::from_hex(line.text).ok()?;
    let key = Key {
        text: *text.as_bytes(),
        copy: line.copy,
    };
    Some((key, line.result.into_owned()))
}

fn ends_in_half_a_line(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}
