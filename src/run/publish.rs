//! Uploading what is placed, on a thread of its own: a slow line keeps no other step from being decided or built.
//!
//! What is uploaded is the placed folder, so that a collected object need not be built again for it. What the hub has already
//! is not sent. Success is written into the folder's marker.
//!
//! Deliberately absent: the decision to upload.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::build::told;
use super::{Observer, RunError, place};
use crate::hub::{self, Environment};
use crate::plan::Plan;
use crate::stage::Publication;
use crate::store::StepRecord;

/// A placed folder to upload.
pub(super) struct Upload {
    pub(super) index: usize,
    pub(super) from: PathBuf,
    pub(super) publication: Publication,
    /// The step's record, should it succeed.
    pub(super) entry: StepRecord,
}

/// What became of it.
pub(super) struct Uploaded {
    pub(super) index: usize,
    pub(super) entry: StepRecord,
    /// The commit's page; none when the hub had everything.
    pub(super) result: Result<Option<String>, RunError>,
}

/// Uploads. Always comes back, whatever panics.
pub(super) fn upload(upload: Upload, plan: &Plan, observer: &dyn Observer) -> Uploaded {
    let attempt = || attempt(&upload, plan, observer);
    let result = catch_unwind(AssertUnwindSafe(attempt))
        .unwrap_or_else(|panic| Err(RunError::Internal(told(panic.as_ref()))));
    Uploaded {
        index: upload.index,
        entry: upload.entry,
        result,
    }
}

fn attempt(
    upload: &Upload,
    plan: &Plan,
    observer: &dyn Observer,
) -> Result<Option<String>, RunError> {
    let step = &plan.steps[upload.index];
    let repository = &upload.publication.repository;
    let message = format!("{} of {}, by refit", step.name, plan.pipeline);
    let environment = Environment::of_process();
    let progress = observer.uploading(step);
    let page = hub::push(
        &environment,
        repository,
        &upload.from,
        &message,
        upload.publication.private,
        progress.as_ref(),
    )?;
    drop(progress);
    place::note_published(&upload.from, &environment, repository)?;
    Ok(page)
}
