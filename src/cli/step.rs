//! `refit step FOLDER [INDEX]`: one job. Nobody types it; an executor starts it.
//!
//! It reads what it is to do, sees whether the spec and the data are those that were submitted and what it builds on is
//! there, and brings its step up to date as `refit run` would. Then it writes down how that ended.
//!
//! Deliberately absent: a decision about what else is to be done.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use miette::Diagnostic;

use super::progress::Terminal;
use super::remote::{RemoteArguments, finish};
use super::run::{INTERRUPTED, listen_for_interrupts};
use super::{Exit, Failure, drawn, git_commit, places, planned, remotes, tell, unusable};
use crate::executor::ExecutorError;
use crate::executor::graph::outlines;
use crate::executor::job::{Description, End, Folder, How, StepWork, Work};
use crate::executor::slurm::requeue;
use crate::fingerprint::Key;
use crate::hub;
use crate::outcome::{Outcome, Reason};
use crate::plan::{Plan, Step};
use crate::run::judge::{Foreseen, assess};
use crate::run::{self, Checkpointing, Options, Provenance, RunError};
use crate::spec::Pipeline;
use crate::stage::{Curves, Progress, Validation};
use crate::store::{StepRecord, Store};
use crate::track::Tracker;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder that describes the job.
    folder: PathBuf,
    /// Which of those that it describes.
    #[arg(default_value_t = 0)]
    index: usize,
}

/// Set when the time that the job may take is nearly up.
static TIME_IS_UP: AtomicBool = AtomicBool::new(false);

/// Why there was nothing to run.
struct Refusal {
    told: String,
    message: String,
}

impl<E: Diagnostic> From<E> for Refusal {
    fn from(error: E) -> Self {
        Refusal {
            told: drawn(&error),
            message: error.to_string(),
        }
    }
}

fn refused(failure: Failure) -> Refusal {
    let line = failure
        .text
        .lines()
        .find(|line| line.trim_start().starts_with('×'));
    let message = line.map_or("the spec cannot be used", |line| {
        line.trim_start().trim_start_matches('×').trim()
    });
    Refusal {
        message: message.to_owned(),
        told: failure.text.clone(),
    }
}

pub(super) fn answer(arguments: &Arguments) -> super::Answer {
    let folder = Folder::at(&arguments.folder);
    let index = arguments.index;
    let description = folder.description().map_err(Failure::failed)?;
    let task = folder.task(index).map_err(Failure::failed)?;
    folder.begin(index).map_err(Failure::failed)?;
    let _held = folder.hold(index);
    listen_for_interrupts();
    listen_for_the_time();
    let end = std::env::set_current_dir(&description.folder)
        .map_err(|source| {
            Refusal::from(ExecutorError::Undescribed {
                path: description.folder.clone(),
                source,
            })
        })
        .and_then(|()| match &task.work {
            Work::Step(work) => step(&description, work, &folder, index),
            Work::Summary => super::sweep::sum_up(&description)
                .map_err(refused)
                .map(|()| End::of(How::Done)),
        });
    let end = end.unwrap_or_else(|refusal| End {
        told: refusal.told,
        message: refusal.message,
        ..End::of(How::Refused)
    });
    folder.finish(index, &end).map_err(Failure::failed)?;
    if !end.told.is_empty() {
        tell(&end.told);
    }
    Ok(match end.how {
        How::Done => Exit::Done,
        How::Failed => Exit::Failed,
        How::Refused => Exit::Unusable,
        How::Stopped => {
            if TIME_IS_UP.load(Ordering::Relaxed) && description.executor == "slurm" {
                match requeue() {
                    Ok(()) => tell("a new job was asked for, which goes on from here\n"),
                    // The controller submits it again.
                    Err(said) => tell(&format!("no new job could be asked for: {said}\n")),
                }
            }
            Exit::Again
        }
    })
}

/// Slurm's signal before the time is up stops the work as Ctrl-C does.
fn listen_for_the_time() {
    #[cfg(unix)]
    std::thread::spawn(|| {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            if let Ok(mut signals) = signal(SignalKind::user_defined1()) {
                signals.recv().await;
                TIME_IS_UP.store(true, Ordering::Relaxed);
                INTERRUPTED.store(true, Ordering::Relaxed);
                tell("the time of this job is nearly up: stopping after this step\n");
                // Whatever comes again is heard and changes nothing.
                while signals.recv().await.is_some() {}
            }
        });
    });
}

fn step(
    description: &Description,
    work: &StepWork,
    folder: &Folder,
    index: usize,
) -> Result<End, Refusal> {
    let (pipeline, problems) = Pipeline::read(&description.spec, &description.set)?;
    let shared = RemoteArguments {
        remote: description.remote.clone(),
        no_remote: description.no_remote,
    };
    let store = Store::open(&description.store)?;
    let (store, remote) = shared.attach(store, Some(&pipeline)).map_err(refused)?;
    let place = super::StoreArguments {
        store: Some(description.store.clone()),
    };
    let changed = || ExecutorError::ChangedSince {
        stage: work.stage.clone(),
    };
    let plan = match &work.trial {
        None => {
            let environment = hub::Environment::of_process();
            let at_hand = hub::find(
                &environment,
                &remotes(&pipeline),
                &places(&pipeline, &place),
            )?;
            planned(&pipeline, problems, &at_hand, false).map_err(refused)?
        }
        Some(_) if !problems.is_empty() => {
            return Err(refused(unusable(&pipeline, problems, false)));
        }
        Some(trial) => {
            super::sweep::plan_of(&pipeline, &place, &store, &description.targets, trial)
                .map_err(refused)?
                .ok_or_else(changed)?
        }
    };
    let selected = plan
        .select(std::slice::from_ref(&work.stage))
        .map_err(|_| changed())?;
    let own = plan.index(&work.stage).ok_or_else(changed)?;
    as_submitted(&plan, &selected, work, &store)?;

    let forced: BTreeSet<usize> = work.forced.then_some(own).into_iter().collect();
    let assessed = assess(&plan, &selected, &forced, &store)?;
    let lacking = |one: &&run::judge::Assessment| {
        one.step != own && one.digest.is_none() && one.state != Foreseen::Fresh
    };
    if let Some(lacking) = assessed.iter().find(lacking) {
        return Err(ExecutorError::NotThere {
            stage: plan.steps[lacking.step].name.clone(),
            store: store.root().to_owned(),
        }
        .into());
    }
    let key = assessed
        .iter()
        .find(|one| one.step == own)
        .and_then(|one| one.key);
    if work.key.is_some() && key.is_some() && work.key != key {
        return Err(changed().into());
    }
    let before = key.and_then(|key| newest(&store.checkpoints(&key)));

    let terminal = Terminal::new(&plan, &INTERRUPTED);
    let commit = git_commit(pipeline.folder());
    let tracker = Tracker::start(&pipeline, commit.as_deref());
    let trial = work
        .trial
        .as_ref()
        .map(|trial| super::sweep::called(&pipeline, trial));
    let options = Options {
        selected,
        forced,
        jobs: 1,
        keep_going: false,
        device: description.device.clone(),
        allow_commands: description.allow_commands,
        recorded: false,
        interrupted: &INTERRUPTED,
        checkpoint: Checkpointing {
            every: description.checkpoint_every,
            keep: pipeline.run.checkpoint.keep as usize,
        },
        provenance: Provenance {
            arguments: description.arguments.clone(),
            commit,
            settings: serde_json::Value::Null,
            text: pipeline.text(),
        },
    };
    let tracked = tracker.observe(&terminal, &plan, &store, trial);
    let heard = Heard {
        inner: &tracked,
        scores: description.tells_scores.then_some((folder, index)),
        told: Mutex::default(),
    };
    let done = run::run(&plan, &store, &options, &heard)?;
    let told = heard.told.into_inner().unwrap_or_default();
    drop(tracked);
    finish(&store, remote.as_ref(), &|text| {
        run::Observer::warned(&terminal, text);
    });
    terminal.warn_of(tracker);
    let failed = done
        .steps
        .iter()
        .find(|one| one.outcome == Outcome::Failed && one.reason != Reason::Interrupted);
    let record = done
        .steps
        .iter()
        .find(|one| one.stage == work.stage)
        .cloned();
    let done_is = |record: &StepRecord| matches!(record.outcome, Outcome::Built | Outcome::Fresh);
    let end = match (&record, failed) {
        (Some(record), None) if done_is(record) => End {
            scores: done
                .scores
                .get(&work.stage)
                .and_then(|scores| scores.as_object())
                .cloned()
                .unwrap_or_default(),
            ..End::of(How::Done)
        },
        (_, Some(failed)) => End {
            told,
            message: failed.reason.to_string(),
            ..End::of(How::Failed)
        },
        _ if TIME_IS_UP.load(Ordering::Relaxed) && !further(key, before.as_deref(), &store) => {
            let error = ExecutorError::TooLittleTime {
                stage: work.stage.clone(),
            };
            let message = error.to_string();
            let record = record.map(|record| StepRecord {
                outcome: Outcome::Failed,
                reason: Reason::Error {
                    message: message.clone(),
                },
                ..record
            });
            return Ok(End {
                record,
                told: drawn(&error),
                message,
                ..End::of(How::Failed)
            });
        }
        _ => End::of(How::Stopped),
    };
    Ok(End { record, ..end })
}

/// Whether every step is what it was when the job was submitted.
fn as_submitted(
    plan: &Plan,
    selected: &BTreeSet<usize>,
    work: &StepWork,
    store: &Store,
) -> Result<(), ExecutorError> {
    for step in selected.iter().map(|&index| &plan.steps[index]) {
        if let Some(remote) = step.unfetched.first() {
            return Err(ExecutorError::NotFetched {
                stage: step.name.clone(),
                what: remote.to_string(),
            });
        }
    }
    let found = outlines(plan, selected, store)?;
    for (&index, outline) in &found {
        let stage = &plan.steps[index].name;
        if work.expected.get(stage) != Some(outline) {
            return Err(ExecutorError::ChangedSince {
                stage: stage.clone(),
            });
        }
    }
    Ok(())
}

/// The newest checkpoint's name.
fn newest(folder: &Path) -> Option<String> {
    let names = std::fs::read_dir(folder).ok()?.flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with("step-")).max()
}

/// Whether work on a key has a newer checkpoint than before.
fn further(key: Option<Key>, before: Option<&str>, store: &Store) -> bool {
    let now = key.and_then(|key| newest(&store.checkpoints(&key)));
    now.is_some() && now.as_deref() != before
}

/// Hears what a run says: the scores, for whoever waits for them, and why it failed.
struct Heard<'a, O> {
    inner: &'a O,
    scores: Option<(&'a Folder, usize)>,
    told: Mutex<String>,
}

impl<O: run::Observer> run::Observer for Heard<'_, O> {
    fn started<'a>(&'a self, step: &Step, key: Key, reason: &Reason) -> Box<dyn Progress + 'a> {
        Box::new(Voice {
            inner: self.inner.started(step, key, reason),
            scores: self.scores,
        })
    }

    fn waiting(&self, step: &Step) {
        self.inner.waiting(step);
    }

    fn waiting_for(&self, step: &Step, who: &str) {
        self.inner.waiting_for(step, who);
    }

    fn fetching<'a>(&'a self, step: &Step, place: &str) -> Box<dyn hub::Progress + Send + 'a> {
        self.inner.fetching(step, place)
    }

    fn finished(&self, step: &Step, record: &StepRecord) {
        self.inner.finished(step, record);
    }

    fn failed(&self, _: &Step, error: &RunError) {
        if let Ok(mut told) = self.told.lock() {
            told.push_str(&drawn(error));
        }
    }

    fn placed(&self, step: &Step, to: &Path) {
        self.inner.placed(step, to);
    }

    fn uploading<'a>(&'a self, step: &Step) -> Box<dyn hub::Progress + 'a> {
        self.inner.uploading(step)
    }

    fn published(&self, step: &Step, address: Option<&str>) {
        self.inner.published(step, address);
    }

    fn warned(&self, text: &str) {
        self.inner.warned(text);
    }
}

/// A step's voice, whose scores are written down.
struct Voice<'a> {
    inner: Box<dyn Progress + 'a>,
    scores: Option<(&'a Folder, usize)>,
}

impl Progress for Voice<'_> {
    fn start(&self, what: &str, total: u64, unit: &str) {
        self.inner.start(what, total, unit);
    }

    fn advance(&self, units: u64) {
        self.inner.advance(units);
    }

    fn state(&self, text: &str) {
        self.inner.state(text);
    }

    fn validated(&self, validation: &Validation) {
        self.inner.validated(validation);
        if let Some((folder, index)) = self.scores {
            folder.validated(index, validation);
        }
    }

    fn curves(&self) -> Option<&dyn Curves> {
        self.inner.curves()
    }

    fn say(&self, line: &str) {
        self.inner.say(line);
    }

    fn warn(&self, line: &str) {
        self.inner.warn(line);
    }
}
