//! Building one step: a draft, the stage's work in it, a commit.
//!
//! Runs on a thread of its own. A panic inside a stage is an error of that step, and its draft is gone.
//!
//! Deliberately absent: the decision to build.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::{Observer, Options, RunError, wait_politely};
use crate::fingerprint::{Fingerprint, Key};
use crate::outcome::Reason;
use crate::plan::Plan;
use crate::stage::{Checkpoints, Context, Files, Input, StageError};
use crate::store::{Begun, Need, Record, Store};

/// A step to build.
pub(super) struct Job {
    pub(super) index: usize,
    pub(super) fingerprint: Box<Fingerprint>,
    pub(super) reason: Reason,
    pub(super) need: Need,
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
    /// The record, and whether it was built here.
    pub(super) result: Result<(Record, bool), RunError>,
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
    let result = catch_unwind(AssertUnwindSafe(attempt))
        .unwrap_or_else(|panic| Err(RunError::Internal(told(panic.as_ref()))));
    Finished {
        index: job.index,
        seconds: clock.elapsed().as_secs_f64(),
        resumed_from_step: checkpoints.resumed(),
        key: job.fingerprint.key(),
        fingerprint: job.fingerprint,
        reason: job.reason,
        result,
    }
}

/// The record, and whether it was built here.
fn attempt(
    job: &Job,
    plan: &Plan,
    store: &Store,
    options: &Options<'_>,
    checkpoints: &Checkpoints,
    observer: &dyn Observer,
) -> Result<(Record, bool), RunError> {
    let step = &plan.steps[job.index];
    if let Some(deed) = (step.stage.needs_leave()).filter(|_| !options.allow_commands) {
        return Err(RunError::NotAllowed { deed });
    }
    let mut on_wait = || observer.waiting(step);
    let mut on_wait = wait_politely(options.interrupted, &mut on_wait);
    let draft = match store.begin(&job.fingerprint, job.need, &mut on_wait)? {
        Begun::Won(draft) => draft,
        Begun::Already(record) => return Ok((record, false)),
        Begun::GaveUp => return Err(StageError::Interrupted.into()),
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
    Ok((record, true))
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
