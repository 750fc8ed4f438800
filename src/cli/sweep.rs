//! `refit sweep SPEC [STAGE…]`: run the trials of a spec's `[sweep]`, show them, and keep the best.
//!
//! Deliberately absent: what a trial is and when it runs, which is the sweep's own.

mod elsewhere;
mod show;
mod voice;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;

use self::elsewhere::{as_arrays, control_of};
pub(super) use self::elsewhere::{called, plan_of, sum_up};
use self::show::{Names, as_json, print_rows};
use self::voice::Voice;
use super::jobs::{self, ExecutorName, OnJobs, Told};
use super::progress::Terminal;
use super::remote::{RemoteArguments, finish as finish_sending};
use super::run::{INTERRUPTED, checkpoints, listen_for_interrupts, provenance};
use super::{
    Answer, Exit, Failure, ProblemFormat, SpecArguments, StoreArguments, places, planned, print,
    print_json, remotes, seconds as seconds_of, store_of_spec, table, unusable,
};
use crate::device;
use crate::executor::graph::Asked;
use crate::executor::job::TrialWork;
use crate::executor::steps::{self, TrialsInJobs};
use crate::hub;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::run;
use crate::run::judge::{Foreseen, assess};
use crate::spec::slurm::Where;
use crate::spec::sweep::{Search, SweepSettings};
use crate::spec::{Pipeline, Problem};
use crate::store::{RunRecord, Store, Used};
use crate::sweep::drive::{Elsewhere, Options, drive};
use crate::sweep::ledger::Ledger;
use crate::sweep::results::{self, Order, Row, State};
use crate::sweep::trial::{Replicate, fits, pipeline as pipeline_of};
use crate::sweep::{Goal, Sweep, best, id, problems};
use crate::track::Tracker;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Further stages that every trial brings up to date. By default the stage of the goal and what it depends on; the best
    /// trial gets all stages.
    stages: Vec<String>,
    /// How many trials may run side by side. Default: `[run] jobs`.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Where tensors live: auto, or one or several of flex, ndarray, cuda, cuda:N, cuda:all, ws://HOST:PORT (a worker) with commas
    /// between. Of several each trial has one, and those that run side by side are spread over them. Default: `[run] device`.
    #[arg(long, value_parser = super::run::device)]
    device: Option<String>,
    /// Where trials do their work. Default: `[run] executor`.
    #[arg(long, value_enum)]
    executor: Option<ExecutorName>,
    /// Let stages start the programs, and send rows to the services, that the spec names (`back_translation`). Without it such
    /// a stage fails, so that a stranger's spec is only data.
    #[arg(long)]
    allow_commands: bool,
    /// Only show the trials as they are, of a sweep that runs or has run.
    #[arg(long)]
    status: bool,
    /// By what the table is ordered: score, trial, seconds, or a parameter.
    #[arg(long, value_name = "COLUMN", default_value = "score")]
    sort: String,
    /// Also write the table to a file, by its ending .csv, .parquet or .json.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// Also write a page that shows the sweep, for a browser.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(flatten)]
    store: StoreArguments,
    /// Print the trials as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum SweepUse {
    #[error("{} has no sweep", spec.display())]
    #[diagnostic(help(
        "add a table such as\n[sweep]\ngoal = {{ maximize = \"STAGE.METRIC\" }}\n[sweep.parameters]\n\"train.STAGE.optimizer.learning_rate\" = [2e-5, 5e-5]"
    ))]
    None { spec: PathBuf },
    #[error("the sweep of {} has no trial {number}", spec.display())]
    #[diagnostic(help("`refit sweep SPEC --status` shows its trials; {known} were proposed"))]
    NoTrial {
        spec: PathBuf,
        number: usize,
        known: usize,
    },
    #[error("trials have no column `{column}` to be ordered by")]
    #[diagnostic(help("order by score, trial, seconds or a parameter of the sweep: {known}"))]
    NoColumn { column: String, known: String },
    #[error("{} ends in none of .csv, .parquet and .json, which say the kind of table", path.display())]
    #[diagnostic(help("give the file one of these endings"))]
    Ending { path: PathBuf },
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("check that the folder is there, its permissions and the free space"))]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let (pipeline, found) =
        Pipeline::read(&arguments.spec.spec, &arguments.spec.set).map_err(Failure::unusable)?;
    if pipeline.sweep.is_none() && found.is_empty() {
        let spec = arguments.spec.spec.clone();
        return Err(Failure::unusable(SweepUse::None { spec }));
    }
    let settings = pipeline.sweep.clone();
    let goal = settings
        .as_ref()
        .and_then(|settings| settings.goal.parts())
        .map(|(stage, metric, direction)| Goal {
            stage,
            metric,
            direction,
        });
    let (Some(settings), Some(goal), true) = (&settings, goal, found.is_empty()) else {
        return Err(unusable(&pipeline, found, arguments.json));
    };
    let names = Names::of(&settings.parameters.0);
    let order = order(&arguments.sort, &names)?;
    if let Some(path) = &arguments.table {
        show::ending(path)?;
    }
    let store = store_of_spec(&arguments.store, &pipeline)?;
    let (store, remote) = match arguments.status {
        true => (store, None),
        false => arguments.remote.attach(store, Some(&pipeline))?,
    };
    let journal = store.journal(&id(&pipeline));
    let mut sweep = Sweep {
        pipeline: &pipeline,
        settings,
        at_hand: &hub::Fetched::default(),
        store: &store,
        journal,
        goal,
        targets: &arguments.stages,
    };
    if arguments.status {
        let ledger = Ledger::read(&sweep.journal).map_err(Failure::failed)?;
        let trials = shown(&sweep, &ledger);
        let rows = results::rows(&sweep, &ledger, &trials);
        let all = total(settings, trials.len());
        return finish(arguments, &sweep, &names, &order, rows, all, None);
    }

    let mut needs = Needs::of(&pipeline, settings, &arguments.store)?;
    needs.fetch(&pipeline, arguments.json)?;
    let plan = planned(&pipeline, Vec::new(), &needs.at_hand, arguments.json)?;
    plan.select(&arguments.stages).map_err(Failure::unusable)?;
    let faults = problems(&pipeline, &needs.varied, &needs.at_hand);
    if !faults.is_empty() {
        return Err(unusable(&pipeline, faults, arguments.json));
    }
    sweep.at_hand = &needs.at_hand;
    listen_for_interrupts();
    let terminal = Terminal::new(&plan, &INTERRUPTED);
    warn_of_the_test_split(&sweep, &terminal);
    let asked = arguments.device.as_ref().unwrap_or(&pipeline.run.device);
    let devices = device::apart(asked).map_err(Failure::unusable)?;
    let jobs = arguments.jobs.map_or(pipeline.run.jobs, usize::from);
    let place = jobs::place(arguments.executor, &pipeline);
    let executor = jobs::executor(place, &pipeline, jobs)?;
    let learns = settings.search == Search::Tpe || settings.prune.is_some();
    let checkpoint = checkpoints(&pipeline, None);
    let handed = match &executor {
        None => None,
        Some((executor, pause)) => {
            let told = Told {
                pipeline: &pipeline,
                spec: &arguments.spec,
                targets: &arguments.stages,
                store: &store,
                remote: &arguments.remote,
                device: asked,
                checkpoint,
                allow_commands: arguments.allow_commands,
                tells_scores: learns,
            };
            let description = told.description(executor.as_ref())?;
            Some((executor.as_ref(), *pause, description))
        }
    };
    let in_jobs = handed
        .as_ref()
        .map(|(executor, pause, description)| TrialsInJobs {
            executor: *executor,
            store: &store,
            description,
            pause: *pause,
            interrupted: &INTERRUPTED,
        });
    let at_once = match place {
        Where::Slurm => pipeline
            .run
            .slurm
            .max_running
            .map_or(jobs, |most| most as usize),
        Where::Local | Where::Process => jobs,
    };
    let options = Options {
        jobs: at_once,
        checkpoint,
        devices: devices.clone(),
        allow_commands: arguments.allow_commands,
        interrupted: &INTERRUPTED,
        provenance: provenance(&pipeline, &devices.join(","), jobs),
        elsewhere: in_jobs.as_ref().map(|one| one as &dyn Elsewhere),
    };
    let tracker = Tracker::start(&pipeline, options.provenance.commit.as_deref());
    let voice = Voice::new(&terminal, &sweep, &names, &tracker);
    let driven = match &in_jobs {
        Some(in_jobs) if !learns => as_arrays(&sweep, &options, in_jobs, &voice, &terminal)?,
        _ => drive(&sweep, &options, &voice).map_err(Failure::failed)?,
    };
    drop(voice);
    let rows = results::rows(&sweep, &driven.ledger, &driven.trials);
    store.save_memo();

    let interrupted = || INTERRUPTED.load(Ordering::Relaxed);
    let ended = rows
        .iter()
        .all(|row| matches!(row.state, State::Done | State::Pruned | State::Failed));
    let mut exit = Exit::Done;
    if !interrupted()
        && ended
        && let Some(row) = results::best(&rows, goal.direction)
    {
        let written = best::write(&sweep, row.assignment).map_err(Failure::failed)?;
        terminal.line(&format!(
            "    best  trial {}, written to {}",
            row.number,
            written.display()
        ));
        exit = bring_up_to_date(&sweep, row, &options, in_jobs.as_ref(), &terminal, &tracker)?;
    }
    terminal.warn_of(tracker);
    finish_sending(&store, remote.as_ref(), &|text| {
        run::Observer::warned(&terminal, text);
    });
    let failed = rows.iter().any(|row| row.state == State::Failed);
    let all = rows.len();
    finish(
        arguments,
        &sweep,
        &names,
        &order,
        rows,
        all,
        Some(&driven.seen),
    )?;
    Ok(match (interrupted(), failed) {
        (true, _) => {
            terminal.line("interrupted; run the same command to go on");
            Exit::Interrupted
        }
        (false, true) => Exit::Failed,
        (false, false) => exit,
    })
}

/// What is wrong with the values of a spec's sweep, of what can be told without a network.
pub(super) fn check(
    pipeline: &Pipeline,
    store: &StoreArguments,
    format: ProblemFormat,
) -> Result<(), Failure> {
    let Some(settings) = &pipeline.sweep else {
        return Ok(());
    };
    let needs = Needs::of(pipeline, settings, store)?;
    let faults = problems(pipeline, &needs.varied, &needs.at_hand);
    match faults.is_empty() {
        true => Ok(()),
        false => Err(unusable(pipeline, faults, format)),
    }
}

/// The results of a spec's trials, and of all stages of the best of them, and the keys that they may go on with.
pub(super) fn used(
    pipeline: &Pipeline,
    place: &StoreArguments,
    store: &Store,
) -> Result<Used, Failure> {
    let Some(settings) = &pipeline.sweep else {
        return Ok(Used::default());
    };
    let needs = Needs::of(pipeline, settings, place)?;
    crate::sweep::used(pipeline, &needs.at_hand, store).map_err(Failure::failed)
}

/// The plan of one trial of a spec's sweep, as its first run has it.
pub(super) fn trial(
    spec: &SpecArguments,
    store: &StoreArguments,
    number: usize,
    as_json: bool,
) -> Result<(Plan, Store), Failure> {
    let (pipeline, found) = Pipeline::read(&spec.spec, &spec.set).map_err(Failure::unusable)?;
    let (Some(settings), true) = (&pipeline.sweep, found.is_empty()) else {
        return Err(match found.is_empty() {
            true => Failure::unusable(SweepUse::None {
                spec: spec.spec.clone(),
            }),
            false => unusable(&pipeline, found, as_json),
        });
    };
    let opened = store_of_spec(store, &pipeline)?;
    let ledger = Ledger::read(&opened.journal(&id(&pipeline))).map_err(Failure::failed)?;
    let Some(entry) = ledger.trials().get(number) else {
        return Err(Failure::unusable(SweepUse::NoTrial {
            spec: spec.spec.clone(),
            number,
            known: ledger.trials().len(),
        }));
    };
    let needs = Needs::of(&pipeline, settings, store)?;
    let (varied, found) = pipeline.with(&entry.assignment);
    let plan = planned(&varied, found, &needs.at_hand, as_json)?;
    Ok((plan, opened))
}

fn order(text: &str, names: &Names) -> Result<Order, Failure> {
    match text {
        "score" => Ok(Order::Score),
        "trial" => Ok(Order::Number),
        "seconds" => Ok(Order::Seconds),
        _ => match names.path(text) {
            Some(path) => Ok(Order::Parameter(path.to_owned())),
            None => Err(Failure::unusable(SweepUse::NoColumn {
                column: text.to_owned(),
                known: names.all().join(", "),
            })),
        },
    }
}

/// The trials of the journal that the sweep could have.
fn shown(sweep: &Sweep<'_>, ledger: &Ledger) -> Vec<usize> {
    let parameters = &sweep.settings.parameters.0;
    let fitting = ledger
        .trials()
        .iter()
        .enumerate()
        .filter(|(_, entry)| fits(parameters, &entry.assignment))
        .map(|(number, _)| number);
    fitting.collect()
}

fn total(settings: &SweepSettings, proposed: usize) -> usize {
    match settings.trials {
        Some(trials) => usize::try_from(trials).unwrap_or(usize::MAX).max(proposed),
        None => {
            let size = crate::sweep::search::grid_size(&settings.parameters.0);
            usize::try_from(size).map_or(proposed, |size| size.max(proposed))
        }
    }
}

/// The pipelines in which each value of a sweep stands at least once, and what they name elsewhere.
struct Needs {
    varied: Vec<(Pipeline, Vec<Problem>)>,
    named: Vec<hub::Remote>,
    places: hub::Places,
    at_hand: hub::Fetched,
}

impl Needs {
    /// What can be told without a network.
    fn of(
        pipeline: &Pipeline,
        settings: &SweepSettings,
        store: &StoreArguments,
    ) -> Result<Needs, Failure> {
        let samples = settings.samples();
        let varied: Vec<_> = samples.iter().map(|sample| pipeline.with(sample)).collect();
        let mut named = remotes(pipeline);
        for remote in varied.iter().flat_map(|(varied, _)| remotes(varied)) {
            if !named.contains(&remote) {
                named.push(remote);
            }
        }
        let places = places(pipeline, store);
        let environment = hub::Environment::of_process();
        let at_hand = hub::find(&environment, &named, &places).map_err(Failure::unusable)?;
        Ok(Needs {
            varied,
            named,
            places,
            at_hand,
        })
    }

    /// Fetches what is not at hand.
    fn fetch(&mut self, pipeline: &Pipeline, as_json: bool) -> Result<(), Failure> {
        let missing = |remote: &&hub::Remote| self.at_hand.get(remote).is_none();
        let missing: Vec<_> = self.named.iter().filter(missing).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let places = &self.places;
        let fetched = super::fetch::all(pipeline, &missing, places, false, &INTERRUPTED, as_json)?;
        for remote in missing {
            if let Some(local) = fetched.get(&remote) {
                self.at_hand.insert(remote.clone(), local.clone());
            }
        }
        Ok(())
    }
}

fn warn_of_the_test_split(sweep: &Sweep<'_>, terminal: &Terminal<'_>) {
    let scored = sweep
        .pipeline
        .stages
        .iter()
        .find(|stage| stage.name == sweep.goal.stage);
    let split = scored.and_then(|scored| scored.stage.scoring());
    let split = split.map(|scoring| scoring.split).unwrap_or_default();
    if split == "test" || split.starts_with("more.") {
        run::Observer::warned(
            terminal,
            &format!(
                "the goal is a score on the split {split:?}: the best of many trials looks better there than it will on new rows; a train stage's score on the validation split leaves the test split for the end"
            ),
        );
    }
}

/// Runs every stage of the best trial, exports among them.
fn bring_up_to_date(
    sweep: &Sweep<'_>,
    row: &Row,
    options: &Options<'_>,
    in_jobs: Option<&TrialsInJobs<'_>>,
    terminal: &Terminal<'_>,
    tracker: &Tracker,
) -> Answer {
    let problems = |found: Vec<Problem>| unusable(sweep.pipeline, found, false);
    let pipeline = pipeline_of(sweep, row.assignment, Replicate::PLAIN).map_err(problems)?;
    let plan = Plan::resolve(&pipeline, sweep.at_hand).map_err(problems)?;
    let selected = plan.select(&[]).map_err(Failure::unusable)?;
    let none = Default::default();
    let assessed = assess(&plan, &selected, &none, sweep.store).map_err(Failure::failed)?;
    if assessed.iter().all(|one| one.state == Foreseen::Fresh) {
        return Ok(Exit::Done);
    }
    if let Some(in_jobs) = in_jobs {
        let trial = TrialWork {
            number: row.number,
            assignment: row.assignment.clone(),
            run: Replicate::PLAIN,
            best: true,
        };
        let asked = Asked {
            plan: &plan,
            selected: &selected,
            forced: &none,
            trial: Some(trial),
        };
        let shown = OnJobs::new(terminal, Some(&plan));
        let control = control_of(in_jobs, false);
        let record = steps::run(asked, &control, Some(&options.provenance), &shown);
        return Ok(exit_of(&record.map_err(Failure::failed)?));
    }
    let options = run::Options {
        selected,
        forced: none,
        jobs: options.jobs,
        keep_going: false,
        device: options.devices[0].clone(),
        allow_commands: options.allow_commands,
        recorded: true,
        interrupted: options.interrupted,
        checkpoint: options.checkpoint,
        provenance: options.provenance.clone(),
    };
    let trial = Some(voice::trial(row.number, None));
    let tracked = tracker.observe(terminal, &plan, sweep.store, trial);
    let record = run::run(&plan, sweep.store, &options, &tracked).map_err(Failure::failed)?;
    Ok(exit_of(&record))
}

fn exit_of(record: &RunRecord) -> Exit {
    let mut steps = record.steps.iter();
    match steps.any(|step| step.outcome == Outcome::Failed) {
        true => Exit::Failed,
        false => Exit::Done,
    }
}

fn finish(
    arguments: &Arguments,
    sweep: &Sweep<'_>,
    names: &Names,
    order: &Order,
    mut rows: Vec<Row>,
    all: usize,
    seen: Option<&show::SeenRuns>,
) -> Answer {
    results::sort(&mut rows, order, sweep.goal.direction);
    if let Some(path) = &arguments.table {
        show::write_table(path, sweep, &rows)?;
    }
    if let Some(path) = &arguments.report {
        let page = show::page(sweep, &rows);
        std::fs::write(path, page).map_err(|source| {
            Failure::failed(SweepUse::Write {
                path: path.clone(),
                source,
            })
        })?;
    }
    match arguments.json {
        true => print_json(&as_json(sweep, &rows, all, seen)),
        false => print_rows(sweep, names, &rows, all),
    }
    Ok(Exit::Done)
}
