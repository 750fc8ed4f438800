//! `refit run SPEC [STAGE…]`: bring a pipeline, or the named stages and what they need, up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use serde_json::{Value, json};

use super::cache::share::bring;
use super::jobs::{self, ExecutorName, OnJobs, Told};
use super::progress::Terminal;
use super::remote::{RemoteArguments, finish};
use super::{
    Answer, Exit, Failure, Resolved, SpecArguments, StoreArguments, fetch, git_commit, print,
    print_json, resolve, seconds, store_of_spec, tell,
};
use crate::artifact::Kind;
use crate::device::{self, DeviceError};
use crate::executor::graph::Asked;
use crate::executor::{control, steps};
use crate::hub::{self, OtherResult, StageResult};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::run::judge::assess;
use crate::run::{Checkpointing, Observer, Options, Provenance, run};
use crate::spec::Pipeline;
use crate::stage::{KINDS, StageError};
use crate::store::{Brought, ObjectState, RunRecord, StepRecord, Store};
use crate::track::Tracker;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Only these stages, and what they depend on.
    stages: Vec<String>,
    /// Run this stage even though its result is known. May be given several times.
    #[arg(long, value_name = "STAGE")]
    force: Vec<String>,
    /// After a failure, go on with the stages that do not depend on it.
    #[arg(long)]
    keep_going: bool,
    /// How many independent stages may run side by side. Default: `[run] jobs`.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Where tensors live: auto, or one or several of flex, ndarray, cuda, cuda:N, cuda:all, ws://HOST:PORT (a worker) with commas
    /// between. Default: `[run] device`.
    #[arg(long, value_parser = device)]
    device: Option<String>,
    /// After how many steps a training writes down how far it is; 0 never does. Default: `[run] checkpoint`.
    #[arg(long, value_name = "STEPS")]
    checkpoint_every: Option<u32>,
    /// Where stages do their work. Default: `[run] executor`.
    #[arg(long, value_enum)]
    executor: Option<ExecutorName>,
    /// Let stages start the programs, and send rows to the services, that the spec names (`back_translation`). Without it such
    /// a stage fails, so that a stranger's spec is only data.
    #[arg(long)]
    allow_commands: bool,
    /// Ask anew what the revisions and addresses in the spec mean, and write that to refit.lock.
    #[arg(long)]
    update: bool,
    /// Write down in refit.lock what the data and the results came to; later runs then keep that up to date, and say where a
    /// result is another one. `--update` takes these.
    #[arg(long)]
    lock: bool,
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(flatten)]
    store: StoreArguments,
    /// Print what happened as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn device(text: &str) -> Result<String, String> {
    match device::names(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(twice @ DeviceError::Twice { .. }) => Err(twice.to_string()),
        Err(_) => Err("expected auto, or one or several of flex, ndarray, cuda, cuda:N, cuda:all and ws://HOST:PORT with commas between".to_owned()),
    }
}

pub(super) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let resolved = resolve(&arguments.spec, &arguments.store, arguments.json)?;
    let (selected, forced) = resolved
        .plan
        .selection(&arguments.stages, &arguments.force)
        .map_err(Failure::unusable)?;
    let store = store_of_spec(&arguments.store, &resolved.pipeline)?;
    let (store, remote) = arguments.remote.attach(store, Some(&resolved.pipeline))?;
    listen_for_interrupts();
    let Resolved { pipeline, plan, .. } = fetch::everything(
        resolved,
        &selected,
        arguments.update,
        &INTERRUPTED,
        arguments.json,
    )?;
    let terminal = Terminal::new(&plan, &INTERRUPTED);
    let jobs = arguments.jobs.map_or(pipeline.run.jobs, usize::from);
    let device = arguments
        .device
        .clone()
        .unwrap_or(pipeline.run.device.clone());
    let options = Options {
        selected,
        forced,
        jobs,
        keep_going: arguments.keep_going,
        interrupted: &INTERRUPTED,
        checkpoint: checkpoints(&pipeline, arguments.checkpoint_every),
        provenance: provenance(&pipeline, &device, jobs),
        device,
        allow_commands: arguments.allow_commands,
        recorded: true,
    };
    let place = jobs::place(arguments.executor, &pipeline);
    let record = match jobs::executor(place, &pipeline, jobs)? {
        None => followed(&pipeline, &plan, &store, &options, &terminal)?,
        Some((executor, pause)) => {
            let told = Told {
                pipeline: &pipeline,
                spec: &arguments.spec,
                targets: &[],
                store: &store,
                remote: &arguments.remote,
                device: &options.device,
                checkpoint: options.checkpoint,
                allow_commands: options.allow_commands,
                tells_scores: false,
            };
            let control = control::Options {
                executor: executor.as_ref(),
                store: &store,
                description: &told.description(executor.as_ref())?,
                keep_going: options.keep_going,
                pause,
                interrupted: &INTERRUPTED,
                cancelled: None,
            };
            let asked = Asked {
                plan: &plan,
                selected: &options.selected,
                forced: &options.forced,
                trial: None,
            };
            let shown = OnJobs::new(&terminal, Some(&plan));
            steps::run(asked, &control, Some(&options.provenance), &shown)
                .map_err(Failure::failed)?
        }
    };
    let exit = ended(&record);
    finish(&store, remote.as_ref(), &|text| terminal.warned(text));
    if exit == Exit::Done {
        lock_results(arguments, &pipeline, &plan, &options, &record, &|text| {
            terminal.line(text);
        })?;
    }
    terminal.line(&summary(&record, exit == Exit::Interrupted));
    if arguments.json {
        print_json(&as_json(&record));
    } else {
        for (stage, scores) in record
            .scores
            .iter()
            .filter(|(_, scores)| scores.get("split").is_some())
        {
            print(&format!("\n{stage}\n{}\n", crate::metrics::render(scores)));
        }
    }
    Ok(exit)
}

/// Writes down what a run came to, where that is asked for, and says what is another result than before.
fn lock_results(
    arguments: &Arguments,
    pipeline: &Pipeline,
    plan: &Plan,
    options: &Options<'_>,
    record: &RunRecord,
    say: &dyn Fn(&str),
) -> Result<(), Failure> {
    let lock = pipeline.folder().join(hub::LOCK);
    let kind = || device::choose(&options.device).map_or_else(|_| String::new(), |one| one.kind);
    let kind = std::cell::LazyCell::new(kind);
    let result = |step: &StepRecord| {
        let of = plan
            .index(&step.stage)
            .map(|index| &plan.steps[index].stage);
        // Where no tensor was computed, no device can make a difference.
        let device = match of?.produces() {
            Kind::Table | Kind::Tokens => "any".to_owned(),
            _ => kind.clone(),
        };
        let fingerprint = step.fingerprint.as_ref()?;
        let files = fingerprint.files.iter();
        Some(StageResult {
            pipeline: plan.pipeline.clone(),
            stage: step.stage.clone(),
            key: step.key?.to_string(),
            files: files
                .map(|(role, digest)| (role.clone(), digest.to_string()))
                .collect(),
            digests: BTreeMap::from([(device, step.digest?.to_string())]),
        })
    };
    let asked = arguments.lock;
    if !asked && !lock.exists() {
        return Ok(());
    }
    let results: Vec<StageResult> = record.steps.iter().filter_map(result).collect();
    let whole = arguments.stages.is_empty();
    let others = hub::write_results(&lock, asked, arguments.update, whole, &results);
    for other in others.map_err(Failure::failed)? {
        let OtherResult {
            stage,
            device,
            locked,
            found,
        } = other;
        say(&format!(
            "   other  {stage} came to {}, and in refit.lock is {} ({device}); `--update` takes it",
            found.chars().take(10).collect::<String>(),
            locked.chars().take(10).collect::<String>()
        ));
    }
    Ok(())
}

/// Runs, with all who follow the runs of the pipeline.
fn followed(
    pipeline: &Pipeline,
    plan: &Plan,
    store: &Store,
    options: &Options<'_>,
    terminal: &Terminal<'_>,
) -> Result<RunRecord, Failure> {
    let tracker = Tracker::start(pipeline, options.provenance.commit.as_deref());
    let tracked = tracker.observe(terminal, plan, store, None);
    let record = run(plan, store, options, &tracked).map_err(Failure::failed);
    drop(tracked);
    terminal.warn_of(tracker);
    record
}

/// How a run ended.
fn ended(record: &RunRecord) -> Exit {
    let mut steps = record.steps.iter();
    if INTERRUPTED.load(Ordering::Relaxed) {
        Exit::Interrupted
    } else if steps.any(|step| step.outcome == Outcome::Failed) {
        Exit::Failed
    } else {
        Exit::Done
    }
}

/// How often trainings write down how far they are.
pub(super) fn checkpoints(pipeline: &Pipeline, every: Option<u32>) -> Checkpointing {
    let stated = &pipeline.run.checkpoint;
    let every = u64::from(every.unwrap_or(stated.every_steps));
    Checkpointing {
        every: (every > 0).then_some(every),
        keep: stated.keep as usize,
    }
}

/// What the record of a run keeps beside its results.
pub(super) fn provenance(pipeline: &Pipeline, device: &str, jobs: usize) -> Provenance {
    Provenance {
        arguments: std::env::args().skip(1).collect(),
        commit: git_commit(pipeline.folder()),
        settings: json!({ "device": device, "jobs": jobs }),
        text: pipeline.text(),
    }
}

/// From now on Ctrl-C sets [`INTERRUPTED`].
pub(super) fn listen_for_interrupts() {
    if let Err(error) = ctrlc::set_handler(interrupt) {
        tell(&format!(
            "warning: Ctrl-C will end the program at once: {error}\n"
        ));
    }
}

/// A second Ctrl-C does not wait for the step to finish.
fn interrupt() {
    if INTERRUPTED.swap(true, Ordering::Relaxed) {
        std::process::exit(130);
    }
    tell("\ninterrupted: stopping after this step (press again to stop at once)\n");
}

/// A stage that was brought up to date.
pub(super) struct Made {
    pub(super) plan: Plan,
    /// Its step in the plan.
    pub(super) step: usize,
    /// Its artifact in the store.
    pub(super) artifact: PathBuf,
}

impl Made {
    /// How many rows each split has, where the stage tells.
    pub(super) fn rows_of(&self) -> Result<BTreeMap<String, usize>, StageError> {
        let kind = self.plan.steps[self.step].kind;
        let kind = KINDS.iter().find(|other| other.name == kind);
        kind.map_or_else(
            || Ok(BTreeMap::new()),
            |kind| (kind.rows_of)(&self.artifact),
        )
    }
}

/// Whether steps may start programs, and whether it counts as a run of the pipeline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leave {
    pub(super) allow_commands: bool,
    pub(super) recorded: bool,
}

/// Brings one stage and what it needs up to date, as `run` would, and says on stderr what it does.
///
/// # Errors
/// All that can be wrong with a spec and a run.
pub(super) fn bring_up_to_date(
    spec: &SpecArguments,
    at: &StoreArguments,
    stage: &str,
    leave: Leave,
    as_json: bool,
) -> Result<Made, Failure> {
    let resolved = resolve(spec, at, as_json)?;
    let targets = [stage.to_owned()];
    let (selected, _) = (resolved.plan.selection(&targets, &[])).map_err(Failure::unusable)?;
    let store = store_of_spec(at, &resolved.pipeline)?;
    let (store, remote) = RemoteArguments::default().attach(store, Some(&resolved.pipeline))?;
    static LISTENING: std::sync::Once = std::sync::Once::new();
    LISTENING.call_once(listen_for_interrupts);
    let Resolved { pipeline, plan, .. } =
        fetch::everything(resolved, &selected, false, &INTERRUPTED, as_json)?;
    let step = plan.named(&targets).map_err(Failure::unusable)?[0];
    let mut options = Options {
        selected,
        forced: BTreeSet::new(),
        jobs: pipeline.run.jobs,
        keep_going: false,
        device: pipeline.run.device.clone(),
        allow_commands: leave.allow_commands,
        recorded: leave.recorded,
        interrupted: &INTERRUPTED,
        checkpoint: checkpoints(&pipeline, None),
        provenance: provenance(&pipeline, &pipeline.run.device, pipeline.run.jobs),
    };
    loop {
        let assessed =
            assess(&plan, &options.selected, &options.forced, &store).map_err(Failure::failed)?;
        let known = assessed.iter().find(|one| one.step == step);
        if options.forced.is_empty()
            && let Some(digest) = known.and_then(|one| one.digest)
        {
            if let ObjectState::Present(artifact) = store.object(&digest) {
                store.save_memo();
                return Ok(Made {
                    plan,
                    step,
                    artifact,
                });
            }
            let record = known.and_then(|one| store.record(&one.key?));
            if let Some(record) = record.filter(|_| store.can_bring(&digest))
                && bring(&store, &record)? == Brought::Here
            {
                continue;
            }
            // The result is known, but was collected.
            options.forced.insert(step);
        }
        let terminal = Terminal::new(&plan, &INTERRUPTED);
        let record = followed(&pipeline, &plan, &store, &options, &terminal)?;
        let exit = ended(&record);
        finish(&store, remote.as_ref(), &|text| terminal.warned(text));
        if exit != Exit::Done {
            terminal.line(&summary(&record, exit == Exit::Interrupted));
            return Err(Failure {
                exit,
                text: String::new(),
            });
        }
        options.forced.clear();
    }
}

pub(super) fn summary(record: &RunRecord, interrupted: bool) -> String {
    let count = |wanted: Outcome| {
        record
            .steps
            .iter()
            .filter(|step| step.outcome == wanted)
            .count()
    };
    let parts: Vec<String> = [
        Outcome::Fresh,
        Outcome::Built,
        Outcome::Failed,
        Outcome::Skipped,
    ]
    .into_iter()
    .filter(|outcome| count(*outcome) > 0)
    .map(|outcome| format!("{} {outcome}", count(outcome)))
    .collect();
    let head = if interrupted {
        "interrupted; run the same command to go on"
    } else {
        record.pipeline.as_str()
    };
    format!(
        "{head}: {} in {}",
        parts.join(", "),
        seconds(record.seconds)
    )
}

fn as_json(record: &RunRecord) -> Value {
    let steps: Vec<Value> = record
        .steps
        .iter()
        .map(|step| {
            json!({
                "stage": step.stage,
                "kind": step.kind,
                "outcome": step.outcome,
                "reason": step.reason.to_string(),
                "key": step.key,
                "digest": step.digest,
                "seconds": step.seconds,
                "resumed_from_step": step.resumed_from_step,
            })
        })
        .collect();
    json!({ "pipeline": record.pipeline, "steps": steps, "scores": record.scores })
}
