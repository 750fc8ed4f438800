//! Journals: what happened in a sweep, one JSON value a line, in a file that only grows.
//!
//! Any number of processes append to one journal, each event in one write at the file's end. A process that is killed in the
//! middle of that leaves half a line, which the next writer ends and every reader passes over. Whoever decides something
//! from what was written so far holds the journal's lock while it reads, decides and writes. A claim is a lock on a name: its
//! holder works on what the name stands for, and a holder that dies loses it.
//!
//! Deliberately absent: what the events mean.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lock::{Lock, Mode, OnWait, acquire, attempt};
use super::{Store, StoreError};

/// The place of one journal, which may not be there yet.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
}

/// The journal's lock, until it is dropped.
#[derive(Debug)]
pub struct Deciding {
    _lock: Lock,
}

/// A name that is this process's alone, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    lock: Option<Lock>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
    }
}

impl Store {
    /// The journal of this id: letters and digits.
    pub fn journal(&self, id: &str) -> Journal {
        Journal {
            folder: self.layout.sweeps().join(id),
        }
    }
}

impl Journal {
    fn events(&self) -> PathBuf {
        self.folder.join("journal.jsonl")
    }

    fn claim_of(&self, name: &str) -> PathBuf {
        self.folder.join("claims").join(format!("{name}.lock"))
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let claims = self.folder.join("claims");
        fs::create_dir_all(&claims).map_err(|e| StoreError::write(&claims, e))
    }

    /// The events from a place in the file on, and the place behind them. A line that is no event is passed over.
    ///
    /// # Errors
    /// The journal is there and cannot be read.
    pub fn read<E: DeserializeOwned>(&self, from: u64) -> Result<(Vec<E>, u64), StoreError> {
        let path = self.events();
        let failed = |e| StoreError::read(&path, e);
        let mut file = match File::open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok((Vec::new(), from)),
            other => other.map_err(failed)?,
        };
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(from))
            .and_then(|_| file.read_to_end(&mut text))
            .map_err(failed)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let lines = text[..whole].split(|byte| *byte == b'\n');
        let events = lines.filter(|line| !line.is_empty()).filter_map(|line| {
            serde_json::from_slice(line)
                .map_err(|error| {
                    tracing::warn!("a line of {} is left out: {error}", path.display());
                })
                .ok()
        });
        Ok((events.collect(), from + whole as u64))
    }

    /// Writes events at the journal's end, and onto the disk.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn append<E: Serialize>(&self, events: &[E]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        self.prepare()?;
        let path = self.events();
        let failed = |e| StoreError::write(&path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(failed)?;
        let mut text = Vec::new();
        if ends_in_half_a_line(&mut file).map_err(failed)? {
            text.push(b'\n');
        }
        for event in events {
            serde_json::to_writer(&mut text, event).map_err(|e| failed(e.into()))?;
            text.push(b'\n');
        }
        file.write_all(&text)
            .and_then(|()| file.sync_data())
            .map_err(failed)
    }

    /// Waits for the journal's lock; none when `on_wait` gave up.
    ///
    /// # Errors
    /// The store cannot be written, or its file system knows no locks.
    pub fn decide(&self, on_wait: OnWait) -> Result<Option<Deciding>, StoreError> {
        self.prepare()?;
        let lock = acquire(&self.folder.join("lock"), Mode::Alone, on_wait)?;
        Ok(lock.map(|lock| Deciding { _lock: lock }))
    }

    /// Claims a name of letters and digits; none when somebody has it.
    ///
    /// # Errors
    /// The store cannot be written, or its file system knows no locks.
    pub fn claim(&self, name: &str) -> Result<Option<Claim>, StoreError> {
        self.prepare()?;
        let lock = attempt(&self.claim_of(name), Mode::Alone)?;
        Ok(lock.map(|lock| Claim { lock: Some(lock) }))
    }

    /// Whether somebody has claimed the name and is alive.
    pub fn is_claimed(&self, name: &str) -> bool {
        let path = self.claim_of(name);
        // Nobody can hold what is not there, and a look must not make it.
        path.exists() && matches!(attempt(&path, Mode::Alone), Ok(None))
    }
}

fn ends_in_half_a_line(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0] != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let journal = store.journal("a1");
        (folder, journal)
    }

    #[test]
    fn events_come_back_in_their_order_from_any_place() {
        let (_folder, journal) = journal();
        assert_eq!(journal.read::<Value>(0).unwrap(), (Vec::new(), 0));
        journal.append(&[json!(1), json!({ "b": "ü\n" })]).unwrap();
        let (events, place) = journal.read::<Value>(0).unwrap();
        assert_eq!(events, [json!(1), json!({ "b": "ü\n" })]);
        journal.append(&[json!(3)]).unwrap();
        assert_eq!(journal.read::<Value>(place).unwrap().0, [json!(3)]);
    }

    #[test]
    fn half_a_line_costs_no_other_event() {
        let (_folder, journal) = journal();
        journal.append(&[json!(1)]).unwrap();
        let mut file = OpenOptions::new()
            .append(true)
            .open(journal.events())
            .unwrap();
        file.write_all(br#"{"killed":"he"#).unwrap();
        let (events, place) = journal.read::<Value>(0).unwrap();
        assert_eq!(events, [json!(1)]);
        journal.append(&[json!(2)]).unwrap();
        assert_eq!(journal.read::<Value>(place).unwrap().0, [json!(2)]);
        assert_eq!(journal.read::<Value>(0).unwrap().0, [json!(1), json!(2)]);
    }

    #[test]
    fn events_of_many_threads_are_all_kept() {
        let (_folder, journal) = journal();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let journal = &journal;
                scope.spawn(move || {
                    for event in 0..50 {
                        journal.append(&[json!([thread, event])]).unwrap();
                    }
                });
            }
        });
        let (mut events, _) = journal.read::<(u32, u32)>(0).unwrap();
        events.sort_unstable();
        let all: Vec<(u32, u32)> = (0..8).flat_map(|t| (0..50).map(move |e| (t, e))).collect();
        assert_eq!(events, all);
    }

    #[test]
    fn a_claim_is_its_holders_alone_until_it_is_dropped() {
        let (_folder, journal) = journal();
        assert!(!journal.is_claimed("t"));
        let claim = journal.claim("t").unwrap().unwrap();
        assert!(journal.is_claimed("t"));
        assert!(journal.claim("t").unwrap().is_none());
        assert!(journal.claim("u").unwrap().is_some());
        drop(claim);
        assert!(!journal.is_claimed("t"));
        assert!(journal.claim("t").unwrap().is_some());
    }
}
