//! A run whose steps do their work in jobs, and the runs of a sweep's trials.
//!
//! What comes out is what `run` gives: the record of a run, or of each trial's.
//!
//! Deliberately absent: which trials there are, and what their scores mean.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::control::{self, Options, control, record};
use super::graph::{Asked, Graph, Node};
use super::job::{Description, End, Folder, How, TrialWork, Work};
use super::{Executor, ExecutorError};
use crate::artifact::Digest;
use crate::fingerprint::Key;
use crate::outcome::{Outcome, Reason};
use crate::plan::Plan;
use crate::run::judge::assess;
use crate::run::{self, Observer, Provenance, RunError};
use crate::stage::{Progress, Validation};
use crate::store::{Hold, RunRecord, StepRecord, Store, StoreError};
use crate::sweep::drive::{Elsewhere, Ended, Open};
use crate::sweep::trial::{Assignment, Replicate};

/// Brings the selected steps of a plan up to date in jobs. The record says what happened to each.
///
/// # Errors
/// The store or the executor cannot be used. A failing step is in the record.
pub fn run(
    asked: Asked<'_>,
    options: &Options<'_>,
    provenance: Option<&Provenance>,
    observer: &dyn control::Observer,
) -> Result<RunRecord, ExecutorError> {
    let (started, clock) = (jiff::Timestamp::now(), Instant::now());
    let (plan, store) = (asked.plan, options.store);
    store.tidy();
    let _hold = hold(store, options.interrupted, observer)?;
    let assessed = assess(plan, asked.selected, asked.forced, store)?;
    let asked = [asked];
    let graph = Graph::of(&asked, store)?;
    let [asked] = asked;
    let mut steps = BTreeMap::new();
    for one in run::known(plan, &assessed) {
        let index = plan.index(&one.stage).unwrap_or_default();
        if !graph.of[0].contains_key(&index) {
            observer.known(&one);
        }
        steps.insert(index, one);
    }
    let fates = control(&graph, options, observer)?;
    for &index in asked.selected {
        if let Some(&node) = graph.of[0].get(&index) {
            let record = record(&graph, node, &fates[node]);
            steps.insert(index, named(record, &plan.steps[index].name));
        }
    }
    let steps: Vec<StepRecord> = steps.into_values().collect();
    let record = RunRecord {
        pipeline: plan.pipeline.clone(),
        spec: plan.spec.display().to_string(),
        started,
        seconds: clock.elapsed().as_secs_f64(),
        commit: provenance.and_then(|one| one.commit.clone()),
        arguments: provenance
            .map(|one| one.arguments.clone())
            .unwrap_or_default(),
        settings: provenance
            .map(|one| one.settings.clone())
            .unwrap_or_default(),
        text: provenance.map(|one| one.text.clone()).unwrap_or_default(),
        scores: run::scores(plan, store, &steps),
        steps,
    };
    if provenance.is_some()
        && let Err(error) = store.save_run(&record)
    {
        observer.warned(&format!("this run is not in `refit log`: {error}"));
    }
    store.save_memo();
    Ok(record)
}

fn hold(
    store: &Store,
    interrupted: &AtomicBool,
    observer: &dyn control::Observer,
) -> Result<Option<Hold>, StoreError> {
    let mut said = false;
    store.hold(&mut |waited| {
        if waited > Duration::from_millis(200) && !std::mem::replace(&mut said, true) {
            observer.warned("waiting for `refit cache gc` to finish on this store");
        }
        match interrupted.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })
}

/// A step that is another's as well, under its own name.
fn named(record: StepRecord, stage: &str) -> StepRecord {
    match record.stage == stage {
        true => record,
        false => StepRecord {
            stage: stage.to_owned(),
            outcome: match record.outcome {
                Outcome::Built => Outcome::Fresh,
                other => other,
            },
            reason: match record.outcome {
                Outcome::Built => Reason::BuiltElsewhere,
                _ => record.reason,
            },
            seconds: 0.0,
            ..record
        },
    }
}

/// What became of the runs of trials: trial and run → what happened to its steps.
pub type Runs = BTreeMap<(usize, Replicate), Ended>;

/// Brings the open runs of a sweep up to date in jobs: what they share once, then as arrays, and behind all a job that writes
/// down what became of them.
///
/// # Errors
/// The store or the executor cannot be used. What befalls one trial is in its run.
pub fn trials(
    open: &[Open],
    options: &Options<'_>,
    observer: &dyn control::Observer,
) -> Result<Runs, ExecutorError> {
    if open.is_empty() {
        return Ok(Runs::new());
    }
    let store = options.store;
    store.tidy();
    let _hold = hold(store, options.interrupted, observer)?;
    let none = BTreeSet::new();
    let asked = open.iter().map(|one| Asked {
        plan: &one.prepared.plan,
        selected: &one.prepared.selected,
        forced: &none,
        trial: Some(TrialWork {
            number: one.trial,
            assignment: one.assignment.clone(),
            run: one.run,
            best: false,
        }),
    });
    let asked: Vec<Asked<'_>> = asked.collect();
    let mut graph = Graph::of(&asked, store)?;
    drop(asked);
    graph.sum_up();
    let fates = control(&graph, options, observer)?;
    store.save_memo();
    let mut runs = Runs::new();
    for (one, nodes) in open.iter().zip(&graph.of) {
        let plan = &one.prepared.plan;
        let steps = nodes.iter().map(|(&index, &node)| {
            let record = named(record(&graph, node, &fates[node]), &plan.steps[index].name);
            match is_of(&graph.nodes[node], one) {
                true => record,
                // Another trial's job made it.
                false => as_shared(record),
            }
        });
        let ended = Ended {
            steps: steps.collect(),
        };
        runs.insert((one.trial, one.run), ended);
    }
    Ok(runs)
}

fn is_of(node: &Node, open: &Open) -> bool {
    node.trial()
        .is_some_and(|trial| (trial.number, trial.run) == (open.trial, open.run))
}

fn as_shared(record: StepRecord) -> StepRecord {
    match record.outcome {
        Outcome::Built => StepRecord {
            outcome: Outcome::Fresh,
            reason: Reason::UpToDate,
            seconds: 0.0,
            ..record
        },
        _ => record,
    }
}

/// What the folders of jobs say of the runs of trials, whoever submitted them.
pub fn told_of_trials(store: &Store, pipeline: &str) -> Runs {
    let mut runs = Runs::new();
    for folder in Folder::all(store) {
        let ours = |one: &Description| one.pipeline == pipeline;
        if !folder.description().is_ok_and(|one| ours(&one)) {
            continue;
        }
        for task in folder.tasks().unwrap_or_default() {
            let Work::Step(step) = task.work else {
                continue;
            };
            let (
                Some(trial),
                Some(End {
                    how,
                    record: Some(record),
                    ..
                }),
            ) = (step.trial, folder.end(task.index))
            else {
                continue;
            };
            if matches!(how, How::Done | How::Failed) {
                let run = runs
                    .entry((trial.number, trial.run))
                    .or_insert_with(|| Ended { steps: Vec::new() });
                run.steps.push(record);
            }
        }
    }
    runs
}

/// Runs trials one by one in jobs, as a search that learns from results wants them.
pub struct TrialsInJobs<'a> {
    pub executor: &'a dyn Executor,
    pub store: &'a Store,
    pub description: &'a Description,
    pub pause: Duration,
    pub interrupted: &'a AtomicBool,
}

impl Elsewhere for TrialsInJobs<'_> {
    fn run(
        &self,
        plan: &Plan,
        selected: &BTreeSet<usize>,
        trial: (usize, &Assignment, Replicate),
        stop: &AtomicBool,
        observer: &dyn Observer,
    ) -> Result<RunRecord, StoreError> {
        let none = BTreeSet::new();
        let (number, assignment, replicate) = trial;
        let asked = Asked {
            plan,
            selected,
            forced: &none,
            trial: Some(TrialWork {
                number,
                assignment: assignment.clone(),
                run: replicate,
                best: false,
            }),
        };
        // Whoever stops a trial and not the sweep wants it to end.
        let pruned = AtomicBool::new(false);
        let options = Options {
            executor: self.executor,
            store: self.store,
            description: self.description,
            keep_going: false,
            pause: self.pause,
            interrupted: self.interrupted,
            cancelled: Some(&pruned),
        };
        let heard = Heard {
            plan,
            observer,
            stop,
            interrupted: self.interrupted,
            pruned: &pruned,
            voices: Mutex::default(),
        };
        match run(asked, &options, None, &heard) {
            Ok(record) => Ok(record),
            Err(ExecutorError::Store(error)) => Err(error),
            Err(error) => Ok(failed(plan, selected, &error)),
        }
    }
}

/// The record of a run that could not be handed over.
fn failed(plan: &Plan, selected: &BTreeSet<usize>, error: &ExecutorError) -> RunRecord {
    let message = error.to_string();
    let steps = selected.iter().rev().take(1).map(|&index| StepRecord {
        stage: plan.steps[index].name.clone(),
        kind: plan.steps[index].kind.to_owned(),
        outcome: Outcome::Failed,
        reason: Reason::Error {
            message: message.clone(),
        },
        key: None,
        digest: None,
        seconds: 0.0,
        resumed_from_step: None,
        fingerprint: None,
    });
    RunRecord {
        pipeline: plan.pipeline.clone(),
        spec: plan.spec.display().to_string(),
        started: jiff::Timestamp::now(),
        seconds: 0.0,
        commit: None,
        arguments: Vec::new(),
        settings: serde_json::Value::Null,
        text: String::new(),
        steps: steps.collect(),
        scores: serde_json::Map::new(),
    }
}

/// What is heard of a trial's jobs, told to whoever observes its run.
struct Heard<'a> {
    plan: &'a Plan,
    observer: &'a dyn Observer,
    stop: &'a AtomicBool,
    interrupted: &'a AtomicBool,
    pruned: &'a AtomicBool,
    voices: Mutex<BTreeMap<String, Box<dyn Progress + 'a>>>,
}

impl Heard<'_> {
    fn step(&self, stage: &str) -> Option<&crate::plan::Step> {
        self.plan.index(stage).map(|index| &self.plan.steps[index])
    }

    fn check(&self) {
        if self.stop.load(Ordering::Relaxed) && !self.interrupted.load(Ordering::Relaxed) {
            self.pruned.store(true, Ordering::Relaxed);
        }
    }
}

impl control::Observer for Heard<'_> {
    fn known(&self, _: &StepRecord) {}

    fn submitted(&self, _: &str, _: usize, _: &str) {}

    fn found(&self, _: usize) {}

    fn counted(&self, _: &BTreeMap<String, usize>, _: usize, _: usize, _: usize) {
        self.check();
    }

    fn began(&self, _: &Node, _: &str) {}

    fn validated(&self, node: &Node, validation: &Validation) {
        let Some(step) = self.step(&node.stage) else {
            return;
        };
        // The key need not be known here, and whoever listens to scores asks for none.
        let key = match &node.work {
            Work::Step(work) => work.key,
            Work::Summary => None,
        };
        let stand_in = || {
            Digest::of(node.id.as_bytes())
                .to_string()
                .parse::<Key>()
                .ok()
        };
        if let (Some(key), Ok(mut voices)) = (key.or_else(stand_in), self.voices.lock()) {
            let voice = voices
                .entry(node.stage.clone())
                .or_insert_with(|| self.observer.started(step, key, &Reason::NeverBuilt));
            voice.validated(validation);
        }
        self.check();
    }

    fn ended(&self, node: &Node, record: &StepRecord, _: &str, log: Option<&Path>) {
        let Some(step) = self.step(&node.stage) else {
            return;
        };
        if let (Outcome::Failed, Reason::Error { message }) = (record.outcome, &record.reason) {
            let error = RunError::InJob {
                message: message.clone(),
                log: log.map(Path::to_owned).unwrap_or_default(),
            };
            self.observer.failed(step, &error);
        }
        self.observer.finished(step, record);
    }

    fn again(&self, node: &Node, how: &str) {
        self.observer
            .warned(&format!("`{}` is submitted again: {how}", node.stage));
    }

    fn left(&self, _: usize, farewell: &str) {
        self.observer
            .warned(&format!("its jobs go on; `{farewell}` stops them"));
    }

    fn warned(&self, text: &str) {
        self.observer.warned(text);
    }
}
