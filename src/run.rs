//! The walk over a plan: settle what is known, run what is not, commit, tell the observer.
//!
//! One thread decides and up to `jobs` threads work. The deciding loop has three beats. *Settle*: judge every step whose
//! inputs are known; a step that must run demands the objects of its inputs, which may bring back a collected one. *Launch*:
//! start what is ready, and upload what is placed. *Wait* for one to finish. A key is computed only from the digests of finished inputs, so a step
//! that reran to the same content leaves everything after it fresh.
//!
//! Deliberately absent: any knowledge of what a stage does, and any output; the [`Observer`] has the only voice.

mod build;
pub mod judge;
pub mod origin;
pub mod place;
mod publish;
mod walk;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use self::build::{Finished, build};
use self::place::PlaceError;
use self::publish::{Uploaded, upload};
use self::walk::Walk;
use crate::artifact::{Digest, Kind, Unreadable};
use crate::fingerprint::Key;
use crate::hub::{self, HubError};
use crate::outcome::{Outcome, Reason};
use crate::plan::{Plan, Step};
use crate::stage::{Progress, StageError};
use crate::store::{ObjectState, RunRecord, StepRecord, Store, StoreError};

/// How to walk.
pub struct Options<'a> {
    /// The steps to bring up to date.
    pub selected: BTreeSet<usize>,
    /// The steps to run even though their result is known.
    pub forced: BTreeSet<usize>,
    /// How many steps may run side by side.
    pub jobs: usize,
    /// After a failure, go on with what does not depend on it.
    pub keep_going: bool,
    /// The device as asked for.
    pub device: String,
    /// Whether steps may start the programs, and ask the services, that they name.
    pub allow_commands: bool,
    /// Whether this is a run of the pipeline, to be told from later ones by its settings.
    pub recorded: bool,
    /// Set when the user asked to stop.
    pub interrupted: &'a AtomicBool,
    pub checkpoint: Checkpointing,
    pub provenance: Provenance,
}

/// How often long work writes down how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpointing {
    /// After so many steps; never without.
    pub every: Option<u64>,
    /// How many of the last ones stay.
    pub keep: usize,
}

/// What goes into the record of a run and into nothing else.
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    /// The command line, without the program.
    pub arguments: Vec<String>,
    /// The git commit of the spec's folder.
    pub commit: Option<String>,
    /// `[run]` as it was in force.
    pub settings: Value,
    /// The spec's text.
    pub text: String,
}

/// Who is told what happens.
pub trait Observer: Sync {
    /// A step begins; what it says goes to the returned voice.
    fn started<'a>(&'a self, step: &Step, key: Key, reason: &Reason) -> Box<dyn Progress + 'a>;
    /// Another process is building the same key.
    fn waiting(&self, step: &Step);
    /// Another machine is building the same key: this process of it.
    fn waiting_for(&self, step: &Step, who: &str);
    /// A result is fetched from this place; how it comes goes to the returned voice.
    fn fetching<'a>(&'a self, step: &Step, place: &str) -> Box<dyn hub::Progress + Send + 'a>;
    fn finished(&self, step: &Step, record: &StepRecord);
    fn failed(&self, step: &Step, error: &RunError);
    fn placed(&self, step: &Step, to: &Path);
    /// An upload begins; what it says goes to the returned voice.
    fn uploading<'a>(&'a self, step: &Step) -> Box<dyn hub::Progress + 'a>;
    /// What is placed was uploaded, in the commit at this address; none when the hub had all of it.
    fn published(&self, step: &Step, address: Option<&str>);
    fn warned(&self, text: &str);
}

/// Why a step has no result.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RunError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("{message}")]
    #[diagnostic(help("move your changes elsewhere, or give `to` another folder"))]
    Refused { message: String },
    #[error("this stage would {deed}")]
    #[diagnostic(help("if that is what you want, run again with --allow-commands"))]
    NotAllowed { deed: String },
    #[error("{} changed while the stage read it", path.display())]
    #[diagnostic(help("run again once the file is as it should be; nothing was stored"))]
    ChangedMeanwhile { path: PathBuf },
    #[error("{} was taken away while the stage read it", path.display())]
    #[diagnostic(help(
        "another refit collected it, so the locks of this file system do not reach from one machine to the other; nothing was \
         stored. Run again, and run `refit cache gc` only while no other machine works with the store"
    ))]
    CollectedMeanwhile { path: PathBuf },
    #[error("{message}")]
    #[diagnostic(help("it happened in a job, whose output is in {}", log.display()))]
    InJob { message: String, log: PathBuf },
    #[error("a fault of refit itself: {0}")]
    #[diagnostic(help(
        "nothing was stored. Please report this with the spec and the output of the same command with -vv"
    ))]
    Internal(String),
}

/// Brings the selected steps up to date. The record says what happened to each; it is saved in the store as well.
///
/// # Errors
/// Only when the store itself cannot be used. A failing step is in the record.
pub fn run(
    plan: &Plan,
    store: &Store,
    options: &Options<'_>,
    observer: &dyn Observer,
) -> Result<RunRecord, StoreError> {
    let started = jiff::Timestamp::now();
    let clock = Instant::now();
    store.tidy();
    // Another run that begins has the store to itself for a moment, which is not worth a word.
    let mut said = false;
    let _hold = store.hold(&mut |waited| {
        if waited > Duration::from_millis(200) && !std::mem::replace(&mut said, true) {
            observer.warned("waiting for `refit cache gc` to finish on this store");
        }
        go_on(options.interrupted)
    })?;
    place::tidy(plan);
    let mut walk = Walk::new(plan, store, options, observer);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        let (mut running, mut uploading) = (0, 0);
        loop {
            walk.settle();
            store.news().iter().for_each(|text| observer.warned(text));
            // The receiver outlives every job, so there is always somebody to tell.
            while running < options.jobs
                && let Some(job) = walk.next_job()
            {
                let sender = sender.clone();
                running += 1;
                scope.spawn(move || {
                    let finished = build(job, plan, store, options, observer);
                    let _ = sender.send(Done::Built(Box::new(finished)));
                });
            }
            while let Some(next) = walk.next_upload() {
                let sender = sender.clone();
                uploading += 1;
                scope.spawn(move || {
                    let uploaded = upload(next, plan, observer);
                    let _ = sender.send(Done::Uploaded(Box::new(uploaded)));
                });
            }
            if running + uploading == 0 {
                break;
            }
            match receiver.recv() {
                Ok(Done::Built(finished)) => {
                    running -= 1;
                    walk.take(*finished);
                }
                Ok(Done::Uploaded(uploaded)) => {
                    uploading -= 1;
                    walk.take_uploaded(*uploaded);
                }
                Err(_) => break,
            }
        }
    });
    let steps = walk.into_records();
    let record = RunRecord {
        pipeline: plan.pipeline.clone(),
        spec: plan.spec.display().to_string(),
        started,
        seconds: clock.elapsed().as_secs_f64(),
        commit: options.provenance.commit.clone(),
        arguments: options.provenance.arguments.clone(),
        settings: options.provenance.settings.clone(),
        text: options.provenance.text.clone(),
        scores: scores(plan, store, &steps),
        steps,
    };
    // All results are in the store: what is missing without a record is a line of the log.
    if options.recorded
        && let Err(error) = store.save_run(&record)
    {
        observer.warned(&format!(
            "this run is not in `refit log`: {}",
            with_causes(&error)
        ));
    }
    store.save_memo();
    store.news().iter().for_each(|text| observer.warned(text));
    Ok(record)
}

/// What a thread comes back with.
enum Done {
    Built(Box<Finished>),
    Uploaded(Box<Uploaded>),
}

/// Says once that it waits, and gives up when the user asked to stop.
fn wait_politely(
    interrupted: &AtomicBool,
    say: &mut dyn FnMut(),
) -> impl FnMut(Duration) -> ControlFlow<()> {
    let mut said = false;
    move |_waited| {
        if !std::mem::replace(&mut said, true) {
            say();
        }
        go_on(interrupted)
    }
}

fn go_on(interrupted: &AtomicBool) -> ControlFlow<()> {
    if interrupted.load(Ordering::Relaxed) {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// An error and what is behind it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// What the records of steps would say in a run that has nothing to do, from what was judged of them.
pub fn known(plan: &Plan, assessments: &[judge::Assessment]) -> Vec<StepRecord> {
    let record = |one: &judge::Assessment| StepRecord {
        stage: plan.steps[one.step].name.clone(),
        kind: plan.steps[one.step].kind.to_owned(),
        outcome: Outcome::Fresh,
        reason: one.reason.clone(),
        key: one.key,
        digest: one.digest,
        seconds: 0.0,
        resumed_from_step: None,
        fingerprint: one.fingerprint.clone(),
    };
    assessments.iter().map(record).collect()
}

/// The scores that steps left: of every evaluation, and of every training that validated.
pub fn scores(plan: &Plan, store: &Store, steps: &[StepRecord]) -> Map<String, Value> {
    let mut scores = Map::new();
    for entry in steps {
        let scored = plan
            .index(&entry.stage)
            .map(|index| plan.steps[index].stage.produces());
        let (Some(Kind::Scores | Kind::Model | Kind::Encoder), Some(digest)) =
            (scored, entry.digest)
        else {
            continue;
        };
        let found = scores_of(store, &plan.pipeline, &entry.stage, &digest);
        if let Some(found) = found {
            scores.insert(entry.stage.clone(), found);
        }
    }
    scores
}

/// A stage's scores, from its artifact; a collected one took its file along, but the run that made it wrote them down.
pub fn scores_of(store: &Store, pipeline: &str, stage: &str, digest: &Digest) -> Option<Value> {
    match store.object(digest) {
        ObjectState::Present(path) => read_scores(&path),
        // What lies elsewhere is asked for once: the run that does so writes it down.
        _ => earlier_scores(store, pipeline, stage, digest)
            .or_else(|| serde_json::from_slice(&store.peek(digest, SCORES)?).ok()),
    }
}

/// The file of an artifact with its scores.
const SCORES: &str = "scores.json";

fn read_scores(object: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(object.join(SCORES)).ok()?).ok()
}

fn earlier_scores(store: &Store, pipeline: &str, stage: &str, digest: &Digest) -> Option<Value> {
    store.runs_of(pipeline).find_map(|run| {
        let made_it = run
            .steps
            .iter()
            .any(|step| step.stage == stage && step.digest == Some(*digest));
        made_it.then(|| run.scores.get(stage).cloned()).flatten()
    })
}
