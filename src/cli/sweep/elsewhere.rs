//! Sweeps whose trials run in jobs: how they are handed over, and what a job of one has to know.
//!
//! Deliberately absent: how a job comes to run.

use super::show::{Names, print_rows};
use super::voice::{self, Voice};
use super::{Needs, shown};
use crate::cli::jobs::OnJobs;
use crate::cli::progress::Terminal;
use crate::cli::run::{INTERRUPTED, checkpoints};
use crate::cli::{Failure, StoreArguments, planned, unusable};
use crate::executor::control;
use crate::executor::job::{Description, TrialWork};
use crate::executor::steps::{self, TrialsInJobs};
use crate::plan::Plan;
use crate::run;
use crate::spec::Pipeline;
use crate::spec::sweep::SweepSettings;
use crate::store::Store;
use crate::sweep::drive::{self, Driven, Options};
use crate::sweep::ledger::Ledger;
use crate::sweep::results::{self, Row, State};
use crate::sweep::trial::{pipeline as pipeline_of, prepare, replicates};
use crate::sweep::{Goal, Sweep, best, id};
use crate::track::Tracker;

pub(super) fn control_of<'a>(in_jobs: &TrialsInJobs<'a>, keep_going: bool) -> control::Options<'a> {
    control::Options {
        executor: in_jobs.executor,
        store: in_jobs.store,
        description: in_jobs.description,
        keep_going,
        pause: in_jobs.pause,
        interrupted: in_jobs.interrupted,
        cancelled: None,
    }
}

/// Runs the trials of a search that knows them beforehand, each stage of all of them together.
pub(super) fn as_arrays(
    sweep: &Sweep<'_>,
    options: &Options<'_>,
    in_jobs: &TrialsInJobs<'_>,
    voice: &Voice<'_, '_>,
    terminal: &Terminal<'_>,
) -> Result<Driven, Failure> {
    let (trials, open) = drive::open(sweep, options, voice).map_err(Failure::failed)?;
    let shown = OnJobs::new(terminal, None);
    let ended =
        steps::trials(&open, &control_of(in_jobs, true), &shown).map_err(Failure::failed)?;
    drop(shown);
    drive::close(sweep, options, voice, trials, &ended).map_err(Failure::failed)
}

/// A sweep that a job belongs to, and what it needs.
struct OfJob<'a> {
    needs: Needs,
    settings: &'a SweepSettings,
    goal: Goal<'a>,
}

impl<'a> OfJob<'a> {
    /// None when the spec has no sweep any more.
    fn new(pipeline: &'a Pipeline, place: &StoreArguments) -> Result<Option<OfJob<'a>>, Failure> {
        let settings = pipeline.sweep.as_ref();
        let Some((settings, (stage, metric, direction))) =
            settings.and_then(|settings| Some((settings, settings.goal.parts()?)))
        else {
            return Ok(None);
        };
        Ok(Some(OfJob {
            needs: Needs::of(pipeline, settings, place)?,
            settings,
            goal: Goal {
                stage,
                metric,
                direction,
            },
        }))
    }

    fn sweep<'s>(
        &'s self,
        pipeline: &'s Pipeline,
        store: &'s Store,
        targets: &'s [String],
    ) -> Sweep<'s> {
        Sweep {
            pipeline,
            settings: self.settings,
            at_hand: &self.needs.at_hand,
            store,
            journal: store.journal(&id(pipeline)),
            goal: self.goal,
            targets,
        }
    }
}

/// The plan that a job of a trial works on; none when the spec has no such trial any more.
pub(in crate::cli) fn plan_of(
    pipeline: &Pipeline,
    place: &StoreArguments,
    store: &Store,
    targets: &[String],
    trial: &TrialWork,
) -> Result<Option<Plan>, Failure> {
    let Some(of_job) = OfJob::new(pipeline, place)? else {
        return Ok(None);
    };
    let sweep = of_job.sweep(pipeline, store, targets);
    let plan = match trial.best {
        true => pipeline_of(&sweep, &trial.assignment, trial.run)
            .and_then(|varied| Plan::resolve(&varied, sweep.at_hand)),
        false => prepare(&sweep, trial.number, &trial.assignment, trial.run)
            .map(|prepared| prepared.plan),
    };
    plan.map(Some)
        .map_err(|found| unusable(pipeline, found, false))
}

/// What those who follow call a job's run.
pub(in crate::cli) fn called(pipeline: &Pipeline, trial: &TrialWork) -> String {
    let runs = pipeline
        .sweep
        .as_ref()
        .map_or(0, |settings| replicates(settings).len());
    voice::trial(trial.number, (runs > 1 && !trial.best).then_some(trial.run))
}

/// Writes down, from what lies in the store, what became of the trials of the sweep that a job belongs to.
pub(in crate::cli) fn sum_up(description: &Description) -> Result<(), Failure> {
    let (pipeline, found) =
        Pipeline::read(&description.spec, &description.set).map_err(Failure::unusable)?;
    if !found.is_empty() {
        return Err(unusable(&pipeline, found, false));
    }
    let store = Store::open(&description.store).map_err(Failure::failed)?;
    let place = StoreArguments {
        store: Some(description.store.clone()),
    };
    let Some(of_job) = OfJob::new(&pipeline, &place)? else {
        return Ok(());
    };
    let sweep = of_job.sweep(&pipeline, &store, &description.targets);
    let ledger = Ledger::read(&sweep.journal).map_err(Failure::failed)?;
    let trials = shown(&sweep, &ledger);
    let names = Names::of(&of_job.settings.parameters.0);
    let plan = planned(&pipeline, Vec::new(), sweep.at_hand, false)?;
    let terminal = Terminal::new(&plan, &INTERRUPTED);
    let tracker = Tracker::start(&pipeline, None);
    let voice = Voice::new(&terminal, &sweep, &names, &tracker);
    let options = Options {
        jobs: 1,
        checkpoint: checkpoints(&pipeline, None),
        devices: vec![description.device.clone()],
        allow_commands: description.allow_commands,
        interrupted: &INTERRUPTED,
        provenance: run::Provenance::default(),
        elsewhere: None,
    };
    let ended = steps::told_of_trials(&store, &description.pipeline);
    let driven = drive::close(&sweep, &options, &voice, trials, &ended).map_err(Failure::failed)?;
    drop(voice);
    let rows = results::rows(&sweep, &driven.ledger, &driven.trials);
    let over = |row: &Row<'_>| matches!(row.state, State::Done | State::Pruned | State::Failed);
    if rows.iter().all(over)
        && let Some(row) = results::best(&rows, sweep.goal.direction)
    {
        best::write(&sweep, row.assignment).map_err(Failure::failed)?;
    }
    print_rows(&sweep, &names, &rows, rows.len());
    Ok(())
}
