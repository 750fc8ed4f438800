//! What the commands share that hand their work over to other processes or a cluster: which executor, what its jobs are
//! told, and how it shows itself.
//!
//! Deliberately absent: what a job does, which is `step`'s.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::ProgressBar;
use miette::Diagnostic;

use super::progress::Terminal;
use super::remote::RemoteArguments;
use super::{Failure, SpecArguments, seconds};
use crate::executor::Executor;
use crate::executor::control::Observer;
use crate::executor::graph::Node;
use crate::executor::job::Description;
use crate::executor::local::Processes;
use crate::executor::slurm::Slurm;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::run;
use crate::spec::Pipeline;
use crate::spec::slurm::Where;
use crate::stage::Validation;
use crate::store::{StepRecord, Store};

/// Where steps and trials do their work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExecutorName {
    /// In this process.
    Local,
    /// In a process of its own each, on this machine.
    Process,
    /// In jobs of a Slurm cluster, as `[run.slurm]` says.
    Slurm,
}

/// Where the work is done: the flag, else the spec.
pub(super) fn place(flag: Option<ExecutorName>, pipeline: &Pipeline) -> Where {
    match flag {
        None => pipeline.run.executor,
        Some(ExecutorName::Local) => Where::Local,
        Some(ExecutorName::Process) => Where::Process,
        Some(ExecutorName::Slurm) => Where::Slurm,
    }
}

/// Something that every job must know is unknown here.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot tell where {what} is")]
#[diagnostic(help("start refit by its whole path, in a folder that is there"))]
pub(super) struct Nowhere {
    pub(super) what: &'static str,
    #[source]
    pub(super) source: std::io::Error,
}

fn nowhere(what: &'static str) -> impl FnOnce(std::io::Error) -> Failure {
    move |source| Failure::failed(Nowhere { what, source })
}

/// How often other processes are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// An executor, and how long between two looks at its jobs.
pub(super) type Chosen<'a> = (Box<dyn Executor + 'a>, Duration);

/// The executor of a place; none for this process itself.
pub(super) fn executor(
    place: Where,
    pipeline: &Pipeline,
    jobs: usize,
) -> Result<Option<Chosen<'_>>, Failure> {
    let program = std::env::current_exe().map_err(nowhere("this program"))?;
    let settings = &pipeline.run.slurm;
    let executor: Box<dyn Executor + '_> = match place {
        Where::Local => return Ok(None),
        Where::Process => return Ok(Some((Box::new(Processes::new(program, jobs)), LOOK))),
        Where::Slurm => {
            let folder = std::env::current_dir().map_err(nowhere("the current folder"))?;
            Box::new(Slurm::new(settings, program, folder))
        }
    };
    let look = Duration::from_secs(u64::from(settings.look_every));
    Ok(Some((executor, look)))
}

/// What every job is told.
pub(super) struct Told<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) spec: &'a SpecArguments,
    pub(super) targets: &'a [String],
    pub(super) store: &'a Store,
    pub(super) remote: &'a RemoteArguments,
    pub(super) device: &'a str,
    pub(super) checkpoint: run::Checkpointing,
    pub(super) allow_commands: bool,
    pub(super) tells_scores: bool,
}

impl Told<'_> {
    pub(super) fn description(&self, executor: &dyn Executor) -> Result<Description, Failure> {
        Ok(Description {
            executor: executor.name().to_owned(),
            pipeline: self.pipeline.name.clone(),
            spec: self.spec.spec.clone(),
            folder: std::env::current_dir().map_err(nowhere("the current folder"))?,
            set: self.spec.set.clone(),
            targets: self.targets.to_vec(),
            store: self.store.root().to_owned(),
            remote: self.remote.remote.clone(),
            no_remote: self.remote.no_remote,
            device: self.device.to_owned(),
            checkpoint_every: self.checkpoint.every,
            allow_commands: self.allow_commands,
            tells_scores: self.tells_scores,
            arguments: std::env::args().skip(1).collect(),
        })
    }
}

/// How jobs show themselves: a bar of all of them on a terminal, and lines.
pub(super) struct OnJobs<'a, 'i> {
    terminal: &'a Terminal<'i>,
    /// The plan whose steps they do; none when they are many trials'.
    plan: Option<&'a Plan>,
    bar: Option<ProgressBar>,
    shown: Mutex<(String, Option<Instant>)>,
}

/// How often a line is printed where no bar can be drawn.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

impl<'a, 'i> OnJobs<'a, 'i> {
    pub(super) fn new(terminal: &'a Terminal<'i>, plan: Option<&'a Plan>) -> Self {
        let bar = terminal.bar("          {wide_bar} {pos}/{len} jobs  {msg}", 0);
        OnJobs {
            terminal,
            plan,
            bar,
            shown: Mutex::default(),
        }
    }

    fn line(&self, word: &str, text: &str) {
        self.terminal.line(format!("{word:>8}  {text}").trim_end());
    }
}

impl Drop for OnJobs<'_, '_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn of_trial(node: &Node) -> String {
    match node.trial() {
        Some(trial) => format!("{} of trial {}", node.stage, trial.number),
        None => node.stage.clone(),
    }
}

impl Observer for OnJobs<'_, '_> {
    fn known(&self, record: &StepRecord) {
        let step = self
            .plan
            .and_then(|plan| Some(&plan.steps[plan.index(&record.stage)?]));
        if let Some(step) = step {
            run::Observer::finished(self.terminal, step, record);
        }
    }

    fn submitted(&self, stage: &str, jobs: usize, id: &str) {
        match jobs {
            1 => self.line("submit", &format!("{stage}  as job {id}")),
            _ => self.line("submit", &format!("{stage}  {jobs} jobs as {id}")),
        }
    }

    fn found(&self, jobs: usize) {
        let jobs = match jobs {
            1 => "1 job that was submitted before is".to_owned(),
            many => format!("{many} jobs that were submitted before are"),
        };
        self.line("found", &format!("{jobs} under way"));
    }

    fn counted(&self, waiting: &BTreeMap<String, usize>, running: usize, ended: usize, all: usize) {
        let mut parts = Vec::new();
        if running > 0 {
            parts.push(format!("{running} running"));
        }
        if !waiting.is_empty() {
            let reasons = waiting.iter().map(|(why, count)| format!("{count} {why}"));
            let reasons: Vec<String> = reasons.collect();
            let count: usize = waiting.values().sum();
            parts.push(format!("{count} waiting ({})", reasons.join(", ")));
        }
        let text = parts.join(", ");
        if let Some(bar) = &self.bar {
            bar.set_length(all as u64);
            bar.set_position(ended as u64);
            bar.set_message(text);
            return;
        }
        let Ok(mut shown) = self.shown.lock() else {
            return;
        };
        let due = shown.1.is_none_or(|then| then.elapsed() >= PLAIN_INTERVAL);
        let text = format!("{text}, {ended}/{all} ended");
        if due && !parts.is_empty() && shown.0 != text {
            self.line("jobs", &text);
            *shown = (text, Some(Instant::now()));
        }
    }

    fn began(&self, node: &Node, job: &str) {
        if self.plan.is_some() {
            self.line("run", &format!("{}  job {job}", node.stage));
        }
    }

    fn validated(&self, _: &Node, _: &Validation) {}

    fn ended(&self, node: &Node, record: &StepRecord, told: &str, log: Option<&Path>) {
        if record.outcome == Outcome::Failed {
            let told = match told.trim_end() {
                "" => record.reason.to_string(),
                told => told.to_owned(),
            };
            self.terminal
                .line(&format!("\n`{}` failed:\n{told}", of_trial(node)));
            if let Some(log) = log.filter(|log| log.is_file()) {
                self.line("log", &log.display().to_string());
            }
        }
        let step = self
            .plan
            .and_then(|plan| Some(&plan.steps[plan.index(&node.stage)?]));
        match step {
            Some(step) => run::Observer::finished(self.terminal, step, record),
            None if record.outcome == Outcome::Built && !node.sums_up() => {
                self.line(
                    "built",
                    &format!("{}  {}", of_trial(node), seconds(record.seconds)),
                );
            }
            None => {}
        }
    }

    fn again(&self, node: &Node, how: &str) {
        self.line(
            "again",
            &format!("{}  its job did not end by itself: {how}", of_trial(node)),
        );
    }

    fn left(&self, jobs: usize, farewell: &str) {
        let jobs = match jobs {
            1 => "1 job goes on".to_owned(),
            many => format!("{many} jobs go on"),
        };
        self.line(
            "left",
            &format!("{jobs}; the same command takes them up again, and `{farewell}` stops them"),
        );
    }

    fn warned(&self, text: &str) {
        run::Observer::warned(self.terminal, text);
    }
}
