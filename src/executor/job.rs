//! Jobs as they lie in the store: what is to be done, by which spec, and how it ended.
//!
//! ```text
//! jobs/NAME/
//! ├── description.json     the spec, the store, the device: what all jobs of a submission share
//! ├── tasks.jsonl          one task a line, with its index
//! ├── submitted            the scheduler's id, once it gave one
//! ├── INDEX.started        a line for each time that the job began
//! ├── INDEX.lock           held by the job while it lives
//! ├── INDEX.scores.jsonl   validations of a training while it runs, where somebody waits for them
//! ├── INDEX.ended.json     how it ended; there once it has
//! └── INDEX.log            what it printed
//! ```
//!
//! The controller writes the first three, the job all others, each by itself, so that no two machines write one file.
//!
//! Deliberately absent: results, which are in the store like all others.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ExecutorError;
use crate::artifact::Digest;
use crate::fingerprint::Key;
use crate::spec::replace;
use crate::stage::Validation;
use crate::store::{StepRecord, Store};
use crate::sweep::trial::{Assignment, Replicate};

const DESCRIPTION: &str = "description.json";
const TASKS: &str = "tasks.jsonl";
const SUBMITTED: &str = "submitted";

/// What all jobs of a submission share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// [`super::Executor::name`].
    pub executor: String,
    /// Whose jobs they are.
    pub pipeline: String,
    /// The spec, as given.
    pub spec: PathBuf,
    /// The folder that it was given in.
    pub folder: PathBuf,
    /// What `--set` laid over it.
    pub set: Vec<String>,
    /// Further stages that every trial of a sweep brings up to date.
    pub targets: Vec<String>,
    pub store: PathBuf,
    /// The shared store behind it that was named beside the spec; the environment may name another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Whether there is none, whatever the spec and the environment say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_remote: bool,
    pub device: String,
    /// After how many steps a training writes down how far it is; never without.
    pub checkpoint_every: Option<u64>,
    pub allow_commands: bool,
    /// Whether validations are written down while a training runs.
    pub tells_scores: bool,
    /// The command line that asked for it.
    pub arguments: Vec<String>,
}

/// What one job is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub index: usize,
    /// The node that it works on; see [`super::graph`].
    pub node: String,
    pub work: Work,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    Step(Box<StepWork>),
    /// Writing down what became of a sweep's trials.
    Summary,
}

/// A step that is to be brought up to date.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepWork {
    pub stage: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialWork>,
    /// To be run even though its result is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Stage → its outline, of the step and all that it depends on.
    pub expected: BTreeMap<String, Digest>,
    /// The key, where it was known beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
}

/// The trial of a sweep that a step belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialWork {
    pub number: usize,
    pub assignment: Assignment,
    pub run: Replicate,
    /// Whether it is the best one, which is run under the pipeline's own name and with all its stages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub best: bool,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    pub how: How,
    /// What became of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<StepRecord>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub scores: Map<String, Value>,
    /// What a person would have read, had it happened before them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub told: String,
    /// The same in one line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl End {
    /// Of a job that has nothing more to tell.
    pub fn of(how: How) -> End {
        End {
            how,
            record: None,
            scores: Map::new(),
            told: String::new(),
            message: String::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Its result is in the store.
    Done,
    Failed,
    /// It was not begun, since it is not what was submitted.
    Refused,
    /// It was told to stop, and wrote down how far it is.
    Stopped,
}

/// The folder of one submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Of a path.
    pub fn at(path: &Path) -> Folder {
        Folder {
            path: path.to_owned(),
        }
    }

    /// Describes jobs in a new folder of the store. `name` is nobody else's.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn describe(
        store: &Store,
        name: &str,
        description: &Description,
        tasks: &[Task],
    ) -> Result<Folder, ExecutorError> {
        let folder = Folder {
            path: store.jobs().join(name),
        };
        fs::create_dir_all(&folder.path).map_err(|e| unwritable(&folder.path, e))?;
        let mut text = Vec::new();
        for task in tasks {
            serde_json::to_writer(&mut text, task)
                .map_err(|e| unwritable(&folder.path.join(TASKS), e.into()))?;
            text.push(b'\n');
        }
        folder.put(TASKS, &String::from_utf8_lossy(&text))?;
        // Last, because what has no description is no submission.
        folder.put_json(DESCRIPTION, description)?;
        Ok(folder)
    }

    /// All submissions of a store, those that cannot be read left out.
    pub fn all(store: &Store) -> Vec<Folder> {
        let entries = fs::read_dir(store.jobs()).into_iter().flatten().flatten();
        let mut found: Vec<Folder> = entries
            .map(|entry| Folder { path: entry.path() })
            .filter(|folder| folder.path.join(DESCRIPTION).is_file())
            .collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The submission's name.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// # Errors
    /// It is not there, or no description.
    pub fn description(&self) -> Result<Description, ExecutorError> {
        self.get(DESCRIPTION)
    }

    /// # Errors
    /// They are not there, or one of them cannot be read.
    pub fn tasks(&self) -> Result<Vec<Task>, ExecutorError> {
        let path = self.path.join(TASKS);
        let file = fs::File::open(&path).map_err(|e| undescribed(&path, e))?;
        let lines = BufReader::new(file).lines();
        let tasks = lines.map(|line| {
            let line = line.map_err(|e| undescribed(&path, e))?;
            serde_json::from_str(&line).map_err(|e| undescribed(&path, e.into()))
        });
        tasks.collect()
    }

    /// # Errors
    /// There is none of this index, or it cannot be read.
    pub fn task(&self, index: usize) -> Result<Task, ExecutorError> {
        let mut tasks = self.tasks()?.into_iter();
        tasks.find(|task| task.index == index).ok_or_else(|| {
            undescribed(
                &self.path.join(TASKS),
                std::io::Error::new(ErrorKind::NotFound, format!("it has no task {index}")),
            )
        })
    }

    /// The scheduler's id, once it gave one.
    pub fn submitted(&self) -> Option<String> {
        let text = fs::read_to_string(self.path.join(SUBMITTED)).ok()?;
        let id = text.trim();
        (!id.is_empty()).then(|| id.to_owned())
    }

    /// # Errors
    /// It cannot be written.
    pub fn keep_id(&self, id: &str) -> Result<(), ExecutorError> {
        self.put(SUBMITTED, &format!("{id}\n"))
    }

    /// Where a job's output goes.
    pub fn log(&self, index: usize) -> PathBuf {
        self.path.join(format!("{index}.log"))
    }

    /// Whether a job ever began.
    pub fn began(&self, index: usize) -> bool {
        self.path.join(format!("{index}.started")).is_file()
    }

    /// Writes down that a job begins.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(&self, index: usize) -> Result<(), ExecutorError> {
        match fs::remove_file(self.end_path(index)) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                return Err(unwritable(&self.end_path(index), e));
            }
            _ => {}
        }
        let path = self.path.join(format!("{index}.started"));
        let job = std::env::var("SLURM_JOB_ID").unwrap_or_default();
        let node = std::env::var("SLURMD_NODENAME").unwrap_or_default();
        let line = serde_json::json!({
            "time": jiff::Timestamp::now(), "process": std::process::id(), "job": job, "node": node,
        });
        let file = fs::OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{line}"))
            .map_err(|e| unwritable(&path, e))
    }

    fn end_path(&self, index: usize) -> PathBuf {
        self.path.join(format!("{index}.ended.json"))
    }

    /// How a job ended; none while it has not, or where it was killed.
    pub fn end(&self, index: usize) -> Option<End> {
        let text = fs::read(self.end_path(index)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes down how a job ended.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(&self, index: usize, end: &End) -> Result<(), ExecutorError> {
        self.put_json(&format!("{index}.ended.json"), end)
    }

    /// Holds a job for as long as the result lives, so that others on this machine see that its process does. Where the file
    /// system has no locks, nobody holds anything.
    pub fn hold(&self, index: usize) -> Option<fs::File> {
        const MOST_TRIES: usize = 20;
        let file = self.lock_file(index)?;
        for _ in 0..MOST_TRIES {
            match file.try_lock() {
                Ok(()) => return Some(file),
                // Somebody looks at this very moment.
                Err(fs::TryLockError::WouldBlock) => {
                    std::thread::sleep(std::time::Duration::from_millis(10))
                }
                Err(fs::TryLockError::Error(_)) => break,
            }
        }
        None
    }

    /// Whether a process of this machine holds a job.
    pub fn is_held(&self, index: usize) -> bool {
        self.lock_path(index).exists()
            && self
                .lock_file(index)
                .is_some_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
    }

    fn lock_path(&self, index: usize) -> PathBuf {
        self.path.join(format!("{index}.lock"))
    }

    fn lock_file(&self, index: usize) -> Option<fs::File> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.lock_path(index));
        file.ok()
    }

    fn scores_path(&self, index: usize) -> PathBuf {
        self.path.join(format!("{index}.scores.jsonl"))
    }

    /// Writes a validation down. Nothing depends on it but how early a training that falls behind is stopped.
    pub fn validated(&self, index: usize, validation: &Validation) {
        let path = self.scores_path(index);
        let file = fs::OpenOptions::new().append(true).create(true).open(&path);
        let written = file.and_then(|mut file| {
            let text = serde_json::to_string(validation)?;
            writeln!(file, "{text}")
        });
        if let Err(error) = written {
            tracing::warn!(%error, "a score is not told");
        }
    }

    /// The validations so far, from the `from`th on.
    pub fn validations(&self, index: usize, from: usize) -> Vec<Validation> {
        let text = fs::read_to_string(self.scores_path(index)).unwrap_or_default();
        // Half a line is not there yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().skip(from);
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Deletes the submission. What cannot be deleted is in nobody's way.
    pub fn forget(&self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, "a submission stays");
        }
    }

    fn put(&self, name: &str, text: &str) -> Result<(), ExecutorError> {
        let path = self.path.join(name);
        replace(&path, text).map_err(|e| unwritable(&path, e))
    }

    fn put_json(&self, name: &str, value: &impl Serialize) -> Result<(), ExecutorError> {
        let path = self.path.join(name);
        let text = serde_json::to_string(value).map_err(|e| unwritable(&path, e.into()))?;
        self.put(name, &text)
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, ExecutorError> {
        let path = self.path.join(name);
        let text = fs::read(&path).map_err(|e| undescribed(&path, e))?;
        serde_json::from_slice(&text).map_err(|e| undescribed(&path, e.into()))
    }
}

fn unwritable(path: &Path, source: std::io::Error) -> ExecutorError {
    ExecutorError::Unwritable {
        path: path.to_owned(),
        source,
    }
}

fn undescribed(path: &Path, source: std::io::Error) -> ExecutorError {
    ExecutorError::Undescribed {
        path: path.to_owned(),
        source,
    }
}
