//! Checkpoints: all that a training is, on the disk, and the way back.
//!
//! Each is a folder `step-000000500` with `state.safetensors` (weights and what the optimizer remembers) and `state.json` (everything else,
//! and the hash of the other file), written beside and renamed into place, so that it is there whole or not at all. A thread
//! of its own brings the numbers from the device and writes them; the training waits only where the last one is not written
//! yet. The newest that is sound is taken; a damaged one, or one of another program, device or format, is passed over with a
//! warning.
//!
//! Promise: a training that goes on from here ends in the same digest as one that was never stopped. What cannot be written
//! (a full disk) is a warning and no end of the training.
//!
//! Deliberately absent: when to write, which `learn` says, and who may write into the folder, which the store sees to.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::learn::{Held, LearnError, Numbers, State};
use crate::stage::{Checkpoints, Context};

/// Raised when the layout changes.
const FORMAT: u32 = 1;
const TENSORS: &str = "state.safetensors";
const NUMBERS: &str = "state.json";
const STEP: &str = "step-";
const WRITING: &str = "writing-";

/// `state.json`.
#[derive(Serialize, Deserialize)]
struct Card {
    format: u32,
    /// The version of the program.
    program: String,
    /// The kind of the device: `flex`, `cuda`, ….
    device: String,
    /// blake3 of `state.safetensors`.
    tensors: String,
    numbers: Numbers,
    /// The lines of the log up to here.
    log: String,
}

/// Where a training goes on.
pub(super) struct Resumed {
    pub(super) state: State,
    pub(super) log: String,
}

/// The newest checkpoint that is sound. What is passed over is told.
pub(super) fn newest(context: &Context, device: &str) -> Option<Resumed> {
    let folder = &context.checkpoints.folder;
    for path in written(folder).into_iter().rev() {
        match open(&path, device) {
            Ok(resumed) => {
                let step = resumed.state.numbers.step;
                let checkpoints = context.checkpoints;
                checkpoints.resumed_from.store(step, Ordering::Relaxed);
                context
                    .progress
                    .say(&format!("going on after step {step}, where it was stopped"));
                return Some(resumed);
            }
            Err(reason) => context.progress.warn(&format!(
                "the checkpoint {} cannot be used: {reason}; the training goes back to the one before it, or begins anew",
                path.display()
            )),
        }
    }
    None
}

/// All checkpoints in a folder, the oldest first.
fn written(folder: &Path) -> Vec<PathBuf> {
    let mut found = beginning(folder, STEP);
    found.sort();
    found
}

/// What in a folder has a name that begins so.
fn beginning(folder: &Path, with: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_one = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(with))
    };
    entries.map(|entry| entry.path()).filter(is_one).collect()
}

/// # Errors
/// Why it cannot be used, in words.
fn open(folder: &Path, device: &str) -> Result<Resumed, String> {
    let read = |name: &str| {
        fs::read(folder.join(name)).map_err(|error| format!("{name} cannot be read: {error}"))
    };
    let card = read(NUMBERS)?;
    let card: Card =
        serde_json::from_slice(&card).map_err(|error| format!("{NUMBERS} is damaged: {error}"))?;
    if card.format != FORMAT || card.program != env!("CARGO_PKG_VERSION") {
        return Err(format!("refit {} wrote it", card.program));
    }
    if card.device != device {
        return Err(format!(
            "it is of a training on {}, and this one is on {device}, which rounds in another way",
            card.device
        ));
    }
    let bytes = read(TENSORS)?;
    if blake3::hash(&bytes).to_hex().as_str() != card.tensors {
        return Err(format!("{TENSORS} is not what was written"));
    }
    let tensors = SafeTensors::deserialize(&bytes);
    let tensors = tensors.map_err(|error| format!("{TENSORS} is damaged: {error}"))?;
    let values = |view: &TensorView| {
        let (numbers, _) = view.data().as_chunks::<4>();
        numbers
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect()
    };
    let tensors = tensors
        .iter()
        .map(|(name, view)| (name.to_owned(), values(&view)));
    Ok(Resumed {
        state: State {
            numbers: card.numbers,
            tensors: tensors.collect(),
        },
        log: card.log,
    })
}

/// Writes checkpoints on a thread of its own.
pub(super) struct Writer {
    sender: Option<SyncSender<(Held, String)>>,
    thread: Option<JoinHandle<()>>,
    failed: Arc<Mutex<Option<String>>>,
    /// Whether the device hands its numbers to another thread.
    elsewhere: bool,
}

impl Writer {
    /// `device` is its kind; `cpu` says whether it computes on the host.
    pub(super) fn start(checkpoints: &Checkpoints, device: &str, cpu: bool) -> Writer {
        // Where one is written and another waits, the training waits.
        let (sender, receiver) = sync_channel(0);
        let failed = Arc::new(Mutex::new(None));
        let work = {
            let (folder, device) = (checkpoints.folder.clone(), device.to_owned());
            let (keep, failed) = (checkpoints.keep.max(1), Arc::clone(&failed));
            move || write_all(&receiver, &folder, &device, keep, &failed)
        };
        let thread = std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(work);
        if let Err(error) = &thread {
            note(&failed, error.to_string());
        }
        Writer {
            sender: Some(sender),
            thread: thread.ok(),
            failed,
            elsewhere: cpu,
        }
    }

    /// Hands a state over. On a device beside the host its numbers are brought here first.
    ///
    /// # Errors
    /// The device fails.
    pub(super) fn take(&self, held: Held, log: &[u8]) -> Result<(), LearnError> {
        let held = match self.elsewhere {
            true => held,
            false => held.settled()?,
        };
        let log = String::from_utf8_lossy(log).into_owned();
        if let Some(sender) = &self.sender {
            // A thread that could not be begun was told of.
            let _ = sender.send((held, log));
        }
        Ok(())
    }

    /// What went wrong since this was last asked.
    pub(super) fn fault(&self) -> Option<String> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take()
    }

    /// Waits until all is written.
    pub(super) fn finish(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish();
    }
}

fn note(failed: &Mutex<Option<String>>, message: String) {
    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
    *failed = Some(message);
}

fn write_all(
    receiver: &Receiver<(Held, String)>,
    folder: &Path,
    device: &str,
    keep: usize,
    failed: &Mutex<Option<String>>,
) {
    while let Ok((held, log)) = receiver.recv() {
        let step = held.numbers.step;
        let written = held
            .read()
            .map_err(|error| io::Error::other(error.to_string()))
            .and_then(|state| write(folder, device, state, log))
            .and_then(|()| prune(folder, step, keep));
        if let Err(error) = written {
            let place = folder.display();
            note(
                failed,
                format!("step {step} has no checkpoint in {place}: {error}"),
            );
        }
    }
}

fn write(folder: &Path, device: &str, state: State, log: String) -> io::Result<()> {
    let State { numbers, tensors } = state;
    let name = name_of(numbers.step);
    let draft = folder.join(format!("{WRITING}{name}"));
    remove(&draft)?;
    fs::create_dir_all(&draft)?;
    let path = draft.join(TENSORS);
    let digest = write_tensors(&path, &tensors)?;
    let card = Card {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        device: device.to_owned(),
        tensors: digest,
        numbers,
        log,
    };
    let card_path = draft.join(NUMBERS);
    fs::write(&card_path, serde_json::to_vec(&card)?)?;
    // On the disk before the name says so.
    for path in [&path, &card_path] {
        fs::File::open(path)?.sync_all()?;
    }
    sync_folder(&draft)?;
    let place = folder.join(name);
    remove(&place)?;
    fs::rename(&draft, &place)?;
    sync_folder(folder)
}

/// Writes values by their names; the hash of the file.
fn write_tensors(path: &Path, tensors: &BTreeMap<String, Vec<f32>>) -> io::Result<String> {
    let bytes: BTreeMap<&str, Vec<u8>> = tensors
        .iter()
        .map(|(name, values)| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name.as_str(), bytes.collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, bytes)| {
        let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
        view.map(|view| (*name, view))
    });
    let views: BTreeMap<&str, TensorView> =
        views.collect::<Result<_, _>>().map_err(io::Error::other)?;
    safetensors::serialize_to_file(&views, None, path).map_err(io::Error::other)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn name_of(step: u64) -> String {
    format!("{STEP}{step:012}")
}

/// Leaves the newest `keep` of those up to this step, and nothing half-written. Those of later steps cannot be used, or the
/// training would have gone on from them; they must not stand in the way of those that can.
fn prune(folder: &Path, step: u64, keep: usize) -> io::Result<()> {
    let all = written(folder);
    let own = folder.join(name_of(step));
    let (usable, later) = all.split_at(all.partition_point(|path| *path <= own));
    let old = &usable[..usable.len().saturating_sub(keep)];
    let half = beginning(folder, WRITING);
    let mut all = old.iter().chain(later).chain(&half);
    all.try_for_each(|path| remove(path))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
