//! Trials that are run elsewhere: by one that is asked for each of them, or all together between [`open`] and [`close`].
//!
//! Deliberately absent: where that is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Map;

use super::{Drive, Driven, Known, Observer, Options, failure, propose};
use crate::plan::Plan;
use crate::run;
use crate::store::{RunRecord, StepRecord, StoreError};
use crate::sweep::ledger::StepResult;
use crate::sweep::trial::{Assignment, Prepared, Replicate};
use crate::sweep::{Sweep, SweepError};

/// A place where trials run that is not this process.
pub trait Elsewhere: Sync {
    /// Brings one run of a trial up to date, or to where it was told to stop.
    ///
    /// # Errors
    /// The store cannot be used. A failing step is in the record.
    fn run(
        &self,
        plan: &Plan,
        selected: &BTreeSet<usize>,
        trial: (usize, &Assignment, Replicate),
        stop: &AtomicBool,
        observer: &dyn run::Observer,
    ) -> Result<RunRecord, StoreError>;
}

/// A run of a trial whose result is not known.
pub struct Open {
    pub trial: usize,
    pub assignment: Assignment,
    pub run: Replicate,
    pub prepared: Prepared,
}

/// What became of a run that was not done here: the records of the steps that had to run.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    pub steps: Vec<StepRecord>,
}

/// The trials that need no result of another, and those of their runs whose results are not known. What is known and was not
/// written down is written down.
///
/// # Errors
/// The store cannot be used, or a file that trials read.
pub fn open(
    sweep: &Sweep<'_>,
    options: &Options<'_>,
    observer: &dyn Observer,
) -> Result<(Vec<usize>, Vec<Open>), SweepError> {
    let drive = Drive::new(sweep, options, observer)?;
    let trials = propose::beforehand(&drive)?;
    let mut open = Vec::new();
    for &trial in &trials {
        for &run in &drive.replicates {
            if options.interrupted.load(Ordering::Relaxed) {
                return Ok((trials, Vec::new()));
            }
            // What cannot be prepared fails when the sweep is closed.
            let Ok(prepared) = drive.prepare(trial, run) else {
                continue;
            };
            if let Known::Not = drive.known(trial, run, &prepared, &Ended::default())? {
                let assignment = drive.ledger().trials()[trial].assignment.clone();
                open.push(Open {
                    trial,
                    assignment,
                    run,
                    prepared,
                });
            }
        }
    }
    Ok((trials, open))
}

/// Writes down what became of the trials of a sweep whose runs were done elsewhere.
///
/// # Errors
/// The store cannot be used, or a file that trials read.
pub fn close(
    sweep: &Sweep<'_>,
    options: &Options<'_>,
    observer: &dyn Observer,
    trials: Vec<usize>,
    ended: &BTreeMap<(usize, Replicate), Ended>,
) -> Result<Driven, SweepError> {
    let drive = Drive::new(sweep, options, observer)?;
    let none = Ended::default();
    let mut over = 0;
    for &trial in &trials {
        let mut open = false;
        let mut made = false;
        for &run in &drive.replicates {
            let prepared = match drive.prepare(trial, run) {
                Ok(prepared) => prepared,
                Err(message) => {
                    drive.fail(trial, run, message, 0.0, Vec::new())?;
                    break;
                }
            };
            let of_run = ended.get(&(trial, run)).unwrap_or(&none);
            made |= !of_run.steps.is_empty();
            match drive.known(trial, run, &prepared, of_run)? {
                Known::Finished => {}
                Known::Pruned => break,
                Known::Not => {
                    open = true;
                    if let Some(message) = failure(&of_run.steps) {
                        let seconds = of_run.steps.iter().map(|step| step.seconds).sum();
                        let steps: Vec<StepResult> =
                            of_run.steps.iter().map(StepResult::from).collect();
                        drive.see(trial, run, &steps, &Map::new());
                        drive.record_all(&drive.began(trial, run, Vec::new()))?;
                        drive.fail(trial, run, message, seconds, steps)?;
                        open = false;
                        break;
                    }
                }
            }
        }
        if !open {
            observer.counted(over, trials.len(), None);
            over += 1;
            observer.ended(&drive.ledger(), trial, !made);
        }
    }
    Ok(drive.into_driven(trials))
}
