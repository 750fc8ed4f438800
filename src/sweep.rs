//! Sweeps: the same pipeline with other values in some of its fields, and the best of them.
//!
//! A [`trial::Assignment`] gives each parameter that applies a value; laid over the spec it makes an ordinary pipeline, and a
//! run of that pipeline is all that a trial is. Therefore nothing about a result is new here: each stage has the key it would
//! have if somebody had written that spec by hand, what two trials share runs once, and what was done before is known.
//!
//! In reading order: [`search`] proposes assignments, [`trial`] makes pipelines of them, [`drive`] runs them side by side,
//! [`prune`] stops trainings that fall behind, [`ledger`] is what the journal says happened, [`results`] makes rows of it,
//! [`importance`] says which parameter mattered, [`best`] writes the best trial down as a spec.
//!
//! # What survives what
//!
//! Results are in the store under their keys; the journal only says which assignments were proposed, what their trainings
//! scored on the way, and how they ended. At every start each trial is judged by its keys, so an entry that the spec, the
//! data or the program has left behind is run again, and a killed process costs what it had not stored. A trial that was
//! pruned stays so as long as its training's key is the same. A trial that failed is tried again at the next start.
//!
//! Any number of processes work on one sweep: each claims a trial before it runs it, and a claim dies with its process.
//!
//! Deliberately absent: scores of its own, and any knowledge of what a stage does.

pub mod best;
pub mod drive;
pub mod importance;
pub mod ledger;
pub mod prune;
pub mod results;
pub mod search;
pub mod trial;

use std::path::PathBuf;

use self::ledger::Ledger;
use self::results::State;
use self::trial::fits;
use crate::artifact::Unreadable;
use crate::fingerprint::canonical;
use crate::hub::Fetched;
use crate::plan::Plan;
use crate::run::judge::{Assessment, recorded};
use crate::spec::sweep::{Direction, SweepSettings};
use crate::spec::{Pipeline, Problem};
use crate::stage::StageError;
use crate::store::{Journal, Store, StoreError, Used};

/// A sweep that can be run: a spec that has one, and what its trials need.
pub struct Sweep<'a> {
    pub pipeline: &'a Pipeline,
    pub settings: &'a SweepSettings,
    /// What the trials name elsewhere and is at hand.
    pub at_hand: &'a Fetched,
    pub store: &'a Store,
    pub journal: Journal,
    /// The stage and the metric that trials are compared by.
    pub goal: Goal<'a>,
    /// Further stages that every trial brings up to date.
    pub targets: &'a [String],
}

/// What trials are compared by.
#[derive(Debug, Clone, Copy)]
pub struct Goal<'a> {
    pub stage: &'a str,
    pub metric: &'a str,
    pub direction: Direction,
}

/// Why a sweep cannot go on. What befalls one trial is in its row.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SweepError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Spec(#[from] crate::spec::SpecError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Stage(#[from] StageError),
    #[error("the grid has {size} trials or more, and a sweep takes up to {most}")]
    #[diagnostic(help(
        "list fewer values, or let `search` be \"random\" and say how many `trials` it makes"
    ))]
    Large { size: u64, most: u64 },
    #[error("{} is no spec that a sweep wrote, so the best trial's is not written over it", path.display())]
    #[diagnostic(help("name another file as `best` in `[sweep]`, or move that one away"))]
    Foreign { path: PathBuf },
}

/// The most trials that a grid may have.
pub const MOST_TRIALS: u64 = 100_000;

/// Which sweep a spec's is: the same for all that differ in nothing but what varies.
pub fn id(pipeline: &Pipeline) -> String {
    let base = serde_json::json!([pipeline.name, pipeline.base()]);
    let digest = crate::artifact::Digest::of(canonical(&base).as_bytes());
    digest.to_string().chars().take(16).collect()
}

/// Everything that is wrong with a single value of a sweep, at the place where the value is listed.
/// `varied` are the pipelines of [`SweepSettings::samples`], each with its own problems.
pub fn problems(
    pipeline: &Pipeline,
    varied: &[(Pipeline, Vec<Problem>)],
    at_hand: &Fetched,
) -> Vec<Problem> {
    let mut found: Vec<Problem> = Vec::new();
    for (varied, problems) in varied {
        let mut problems = problems.clone();
        if problems.is_empty() {
            problems.extend(Plan::resolve(varied, at_hand).err().unwrap_or_default());
        }
        // What a sweep cannot help is wrong with the spec itself, and told there.
        problems.retain(|problem| pipeline.is_in_sweep(&problem.place) && !found.contains(problem));
        found.extend(problems);
    }
    found
}

/// The results of a spec's trials as far as the sweep has come, of all stages of the best of them, and what those that were
/// begun would go on with.
///
/// # Errors
/// The journal cannot be read, or a file of the best trial.
pub fn used(pipeline: &Pipeline, at_hand: &Fetched, store: &Store) -> Result<Used, SweepError> {
    let goal = pipeline
        .sweep
        .as_ref()
        .and_then(|settings| Some((settings, settings.goal.parts()?)));
    let Some((settings, (stage, metric, direction))) = goal else {
        return Ok(Used::default());
    };
    let sweep = Sweep {
        pipeline,
        settings,
        at_hand,
        store,
        journal: store.journal(&id(pipeline)),
        goal: Goal {
            stage,
            metric,
            direction,
        },
        targets: &[],
    };
    let ledger = Ledger::read(&sweep.journal)?;
    let trials = ledger.trials().iter().enumerate();
    let trials = trials.filter(|(_, trial)| fits(&settings.parameters.0, &trial.assignment));
    let trials: Vec<usize> = trials.map(|(number, _)| number).collect();
    let rows = results::rows(&sweep, &ledger, &trials);
    let runs = rows.iter().flat_map(|row| &row.runs);
    let steps = runs.flat_map(|(_, run)| &run.steps);
    let mut used = Used {
        objects: steps.filter_map(|step| step.digest).collect(),
        ..Used::default()
    };
    let going_on = |row: &&results::Row| !matches!(row.state, State::Done | State::Pruned);
    for row in rows.iter().filter(going_on) {
        for replicate in trial::replicates(settings) {
            match trial::prepare(&sweep, row.number, row.assignment, replicate) {
                Ok(prepared) => used.extend(recorded(&prepared.plan, store)?),
                // What fails so early has no checkpoint.
                Err(_) => used.unknown |= row.state != State::Failed,
            }
        }
    }
    if let Some(best) = results::best(&rows, direction) {
        match Plan::resolve(&pipeline.with(best.assignment).0, at_hand) {
            Ok(plan) => used.extend(recorded(&plan, store)?),
            Err(_) => used.unknown = true,
        }
    }
    Ok(used)
}

/// Whether nothing of what was judged has to run.
fn all_known(assessments: &[Assessment]) -> bool {
    let fresh = |one: &Assessment| one.state == crate::run::judge::Foreseen::Fresh;
    assessments.iter().all(fresh)
}
