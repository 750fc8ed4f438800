//! Building one step: a draft, the stage's work in it, a commit.
//!
//! Runs on a thread of its own. A panic inside a stage is an error of that step, and its draft is gone.
//!
//! Deliberately absent: the decision to build.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::{Observer, Options, RunError, wait_politely};
use crate::fingerprint::{Fingerprint, Key};
use crate::outcome::Reason;
use crate::plan::Plan;
use crate::stage::{Context, Files, Input, StageError};
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
    pub(super) key: Key,
    pub(super) fingerprint: Box<Fingerprint>,
    pub(super) reason: Reason,
    /// The record, and whether it was built here.
    pub(super) result: Result<(Record, bool), RunError>,
}

/// Builds the step, or takes what another process built meanwhile.
pub(super) fn build(
    job: Job,
    plan: &Plan,
    store: &Store,
    options: &Options<'_>,
    observer: &dyn Observer,
) -> Finished {
    let clock = Instant::now();
    let Job {
        index,
        fingerprint,
        reason,
        need,
        inputs,
    } = job;
    let step = &plan.steps[index];
    let result = || -> Result<(Record, bool), RunError> {
        let mut on_wait = || observer.waiting(step);
        let draft = match store.begin(
            &fingerprint,
            need,
            &mut wait_politely(options.interrupted, &mut on_wait),
        )? {
            Begun::Won(draft) => draft,
            Begun::Already(record) => return Ok((record, false)),
            Begun::GaveUp => return Err(StageError::Interrupted.into()),
        };
        tracing::info!(stage = step.name, key = %fingerprint.key(), %reason, "building");
        let clock = Instant::now();
        let progress = observer.started(step, &reason);
        let context = Context {
            stage: &step.name,
            seed: step.seed,
            inputs,
            files: step.files.clone(),
            draft: draft.path(),
            device: &options.device,
            progress: progress.as_ref(),
            interrupted: options.interrupted,
        };
        let done = catch_unwind(AssertUnwindSafe(|| step.stage.run(&context)));
        done.map_err(|panic| RunError::Internal(told(panic.as_ref())))??;
        drop(context);
        drop(progress);
        still_as_judged(&step.files, &fingerprint, store)?;
        let record = draft.commit(step.stage.produces(), clock.elapsed().as_secs_f64())?;
        tracing::info!(stage = step.name, digest = %record.digest, bytes = record.bytes, "committed");
        Ok((record, true))
    }();
    Finished {
        index,
        seconds: clock.elapsed().as_secs_f64(),
        key: fingerprint.key(),
        fingerprint,
        reason,
        result,
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

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked without a message").to_owned()
}
