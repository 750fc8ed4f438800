//! Executors: where steps do their work when not in this process.
//!
//! A job is *this program, this step, this store*: `refit step FOLDER INDEX` reads what it is to do from a folder of the
//! store, sees whether the spec and the data are still those that were submitted, and brings one step up to date by the code
//! of `refit run`. Its result is in the store under its key, like any other; how it ended is a file beside its description.
//!
//! In reading order: [`graph`] makes nodes of the steps that must run, each once, whatever number of trials need it;
//! [`job`] is what lies in the folder; [`control`] hands nodes over, watches them and says what became of each; [`local`]
//! and [`slurm`] are the two [`Executor`]s; [`steps`] makes the record of a run of it, or those of a sweep's trials.
//!
//! # Who knows what
//!
//! The store says what is done, the folder says what failed, and only then the scheduler is asked: a job that it does not
//! know and that left no end was killed. So a cluster without accounting will do, whose jobs are forgotten after minutes; and
//! a controller that dies loses nothing. Everything is submitted at once with its dependencies, so the cluster goes on alone,
//! and the next controller takes over what it finds in the folder and in the queue.
//!
//! Deliberately absent: a daemon, and a channel between jobs and the controller other than files of the store.

pub mod control;
pub mod graph;
pub mod job;
pub mod local;
pub mod slurm;
pub mod steps;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::artifact::Unreadable;
use crate::store::StoreError;

/// What a job waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct After {
    /// All of these must succeed.
    pub all: Vec<String>,
    /// Of this array, the job of the same index must succeed.
    pub same_index: Option<String>,
    /// All of these must have ended, however.
    pub ended: Vec<String>,
}

/// Jobs that are handed over together.
#[derive(Debug)]
pub struct Submission<'a> {
    /// Where they are described.
    pub folder: &'a Path,
    /// How the queue shows them, and how they are found there again.
    pub name: &'a str,
    /// The kind of stage, by which they get their resources.
    pub kind: &'a str,
    /// Where they stand in the description. One alone is no array.
    pub indexes: &'a [usize],
    pub after: &'a After,
}

impl Submission<'_> {
    /// The stage in the name, for messages.
    pub fn stage(&self) -> &str {
        let name = self.name.strip_prefix("refit-").unwrap_or(self.name);
        name.rsplit_once('-').map_or(name, |(stage, _)| stage)
    }
}

/// A job as the scheduler sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It waits, for this reason.
    Waiting(String),
    Running,
    /// It ended in this way, not long ago.
    Over(String),
}

/// What the scheduler knows: its jobs by their ids. What is not there is over, and forgotten.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    pub jobs: HashMap<String, Seen>,
    /// Name → the id under which the jobs of that name were submitted.
    pub names: HashMap<String, String>,
}

/// Who starts jobs.
pub trait Executor: Sync {
    /// What it is called in a description.
    fn name(&self) -> &'static str;

    /// Whether it waits by itself for what a job comes after. If not, it is given only jobs that can start.
    fn chains(&self) -> bool;

    /// The most jobs that one submission may have, and the highest index in it plus one.
    fn most_together(&self) -> usize;

    /// How many jobs may be under way at once; none where that is the executor's own business.
    fn most_at_once(&self) -> Option<usize>;

    /// Hands jobs over; the result is the id of the submission.
    ///
    /// # Errors
    /// [`ExecutorError::Unanswered`] when it is worth trying again, anything else when it is not.
    fn submit(&self, submission: &Submission<'_>) -> Result<String, ExecutorError>;

    /// What job `index` of a submission of several is called.
    fn job(&self, submission: &str, index: usize, several: bool) -> String;

    /// What is under way, in one question for all jobs. `known` are those that the caller believes to be.
    ///
    /// # Errors
    /// It does not answer.
    fn queue(&self, known: &[(PathBuf, usize, String)]) -> Result<Queue, ExecutorError>;

    /// Asks jobs to stop. Those that are over are passed over.
    ///
    /// # Errors
    /// It does not answer.
    fn cancel(&self, jobs: &[String]) -> Result<(), ExecutorError>;

    /// How a person stops jobs that a controller left alone; none where it leaves none alone.
    fn farewell(&self, jobs: &[String]) -> Option<String>;
}

/// Why steps could not be handed over.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ExecutorError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("cannot start `{program}`")]
    #[diagnostic(help(
        "jobs are submitted with Slurm's own programs: run refit on a machine that has them, or leave `executor = \"slurm\"` out"
    ))]
    Missing {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("`sbatch` refused the jobs of `{stage}`: {said}")]
    #[diagnostic(help(
        "`[run.slurm]` and `[run.slurm.KIND]` say what jobs ask for; `sinfo` and `scontrol show partition` tell what there is"
    ))]
    Refused { stage: String, said: String },
    #[error("`{program}` got no answer from the cluster: {said}")]
    #[diagnostic(help(
        "jobs that were submitted go on without the controller, and their results are in the store; run the same command again"
    ))]
    Unanswered { program: &'static str, said: String },
    #[error("cannot start a process for `{stage}`")]
    #[diagnostic(help("check how many processes and how much memory this machine allows"))]
    Start {
        stage: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the description of a job, {}", path.display())]
    #[diagnostic(help(
        "it lies in the store that the job was submitted with, which every node must see under the same path"
    ))]
    Undescribed {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("check the free space and the permissions of the store's folder"))]
    Unwritable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the spec or the data changed since the job was submitted: `{stage}` is not what it was"
    )]
    #[diagnostic(help(
        "nothing was run; run the same command again, and what changed is submitted anew"
    ))]
    ChangedSince { stage: String },
    #[error("the result of `{stage}`, on which the job builds, is not in the store {}", store.display())]
    #[diagnostic(help(
        "every node must see the store under the same path, on a file system that they share; else name such a folder with --store or REFIT_STORE"
    ))]
    NotThere { stage: String, store: PathBuf },
    #[error("`{stage}` reads what this machine has not fetched: {what}")]
    #[diagnostic(help(
        "what is fetched must lie where every node sees it, under the same path: the hub's cache (HF_HOME) and the store"
    ))]
    NotFetched { stage: String, what: String },
    #[error(
        "`{stage}` did not finish in the time that its job may take, and got no further than the last time"
    )]
    #[diagnostic(help(
        "give it more with `time` in `[run.slurm]` or `[run.slurm.KIND]`, or let a training write down how far it is more often: `[run] checkpoint = {{ every_steps = 100 }}`"
    ))]
    TooLittleTime { stage: String },
}
