//! Building one step: a draft, the stage's work in it, a commit.
//!
//! Runs on a thread of its own. A panic inside a stage is an error of that step, and its draft is gone.
//!
//! Deliberately absent: the decision to build.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::{Observer, Options, RunError, go_on, wait_politely};
use crate::fingerprint::{Fingerprint, Key};
use crate::outcome::Reason;
use crate::plan::{Plan, Step};
use crate::stage::{Checkpoints, Context, Files, Input, StageError};
use crate::store::{Begun, Brought, Need, Record, Store, Upstream};

/// A step to build.
pub(super) struct Job {
    pub(super) index: usize,
    pub(super) fingerprint: Box<Fingerprint>,
    pub(super) reason: Reason,
    pub(super) need: Need,
    /// The result whose object is only to be fetched.
    pub(super) fetch: Option<Box<Record>>,
    pub(super) inputs: BTreeMap<&'static str, Input>,
}

/// What became of it.
pub(super) struct Finished {
    pub(super) index: usize,
    pub(super) seconds: f64,
    /// See [`Checkpoints::resumed_from`].
    pub(super) resumed_from_step: Option<u64>,
    pub(super) key: Key,
    pub(super) fingerprint: Box<Fingerprint>,
    pub(super) reason: Reason,
    pub(super) made: Result<Made, RunError>,
}

/// What came of a job.
pub(super) enum Made {
    Result(Box<Record>, How),
    /// It was to be fetched, and cannot be had.
    Absent,
}

/// Where a result comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It was built now.
    Built,
    /// It was here once it was this job's turn.
    Found,
    /// It was built elsewhere, and fetched from there.
    Fetched,
}

/// Builds the step, or takes what another process built meanwhile. Always comes back, whatever panics.
pub(super) fn build(
    job: Job,
    plan: &Plan,
    store: &Store,
    options: &Options<'_>,
    observer: &dyn Observer,
) -> Finished {
    let clock = Instant::now();
    let checkpoints = Checkpoints {
        folder: store.checkpoints(&job.fingerprint.key()),
        every: options.checkpoint.every,
        keep: options.checkpoint.keep,
        resumed_from: AtomicU64::new(0),
    };
    let attempt = || attempt(&job, plan, store, options, &checkpoints, observer);
    let made = catch_unwind(AssertUnwindSafe(attempt))
        .unwrap_or_else(|panic| Err(RunError::Internal(told(panic.as_ref()))));
    Finished {
        index: job.index,
        seconds: clock.elapsed().as_secs_f64(),
        resumed_from_step: checkpoints.resumed(),
        key: job.fingerprint.key(),
        fingerprint: job.fingerprint,
        reason: job.reason,
        made,
    }
}

fn attempt(
    job: &Job,
    plan: &Plan,
    store: &Store,
    options: &Options<'_>,
    checkpoints: &Checkpoints,
    observer: &dyn Observer,
) -> Result<Made, RunError> {
    let step = &plan.steps[job.index];
    if let Some(record) = &job.fetch {
        let brought = fetch(record, step, store, options, observer)?;
        return Ok(match brought {
            true => Made::Result(record.clone(), How::Fetched),
            false => Made::Absent,
        });
    }
    if let Some(deed) = (step.stage.needs_leave()).filter(|_| !options.allow_commands) {
        return Err(RunError::NotAllowed { deed });
    }
    let mut on_wait = || observer.waiting(step);
    let mut on_wait = wait_politely(options.interrupted, &mut on_wait);
    let mut said = false;
    let mut on_other = |who: &str, _waited| {
        if !std::mem::replace(&mut said, true) {
            observer.waiting_for(step, who);
        }
        go_on(options.interrupted)
    };
    let draft = loop {
        match store.begin(&job.fingerprint, job.need, &mut on_wait, &mut on_other)? {
            Begun::Won(draft) => break draft,
            Begun::Already(record) => return Ok(Made::Result(Box::new(record), How::Found)),
            Begun::Elsewhere(record) => {
                // What cannot be had there, or is not what it should be, counts as absent from now on.
                if fetch(&record, step, store, options, observer)? {
                    return Ok(Made::Result(Box::new(record), How::Fetched));
                }
            }
            Begun::GaveUp => return Err(StageError::Interrupted.into()),
        }
    };
    tracing::info!(stage = step.name, key = %job.fingerprint.key(), reason = %job.reason, "building");
    let clock = Instant::now();
    let progress = observer.started(step, job.fingerprint.key(), &job.reason);
    step.stage.run(&Context {
        stage: &step.name,
        seed: step.seed,
        inputs: job.inputs.clone(),
        files: step.files.clone(),
        fetched: &step.fetched,
        folder: plan.folder(),
        draft: draft.path(),
        kept: store.kept(),
        checkpoints,
        device: &options.device,
        progress: progress.as_ref(),
        interrupted: options.interrupted,
    })?;
    drop(progress);
    still_as_judged(&step.files, &job.fingerprint, store)?;
    still_there(&job.inputs, store)?;
    let record = draft.commit(step.stage.produces(), clock.elapsed().as_secs_f64())?;
    store.forget_checkpoints(&record.key);
    tracing::info!(stage = step.name, digest = %record.digest, bytes = record.bytes, "committed");
    Ok(Made::Result(Box::new(record), How::Built))
}

/// Brings the object of a result from elsewhere; whether it is here now.
fn fetch(
    record: &Record,
    step: &Step,
    store: &Store,
    options: &Options<'_>,
    observer: &dyn Observer,
) -> Result<bool, RunError> {
    let place = store.upstream().map_or("", Upstream::name);
    let voice = Mutex::new(observer.fetching(step, place));
    let told = AtomicBool::new(false);
    let on_bytes = |bytes: u64| {
        if bytes > 0
            && let Ok(voice) = voice.lock()
        {
            if !told.swap(true, Ordering::Relaxed) {
                voice.start(&step.name, record.bytes);
            }
            voice.advance(bytes);
        }
        go_on(options.interrupted)
    };
    let mut on_wait = || observer.waiting(step);
    let mut on_wait = wait_politely(options.interrupted, &mut on_wait);
    match store.bring(record, &on_bytes, &mut on_wait)? {
        Brought::Here => Ok(true),
        Brought::Absent => Ok(false),
        Brought::GaveUp => Err(StageError::Interrupted.into()),
    }
}

/// A file that was edited while it was read must not be recorded under the key of its old content.
fn still_as_judged(
    files: &Files,
    fingerprint: &Fingerprint,
    store: &Store,
) -> Result<(), RunError> {
    for (role, path) in files {
        if fingerprint.files.get(role) != Some(&store.digest_file(path)?) {
            return Err(RunError::ChangedMeanwhile { path: path.clone() });
        }
    }
    Ok(())
}

/// What a stage did not find it may have done without.
fn still_there(inputs: &BTreeMap<&'static str, Input>, store: &Store) -> Result<(), RunError> {
    match inputs.values().find(|input| !store.is_there(&input.digest)) {
        Some(input) => Err(RunError::CollectedMeanwhile {
            path: input.path.clone(),
        }),
        None => Ok(()),
    }
}

pub(super) fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked without a message").to_owned()
}
