//! The walk over a plan: settle what is known, run what is not, commit, tell the observer.
//!
//! One thread decides and up to `jobs` threads work. The deciding loop has three beats. *Settle*: judge every step whose
//! inputs are known; a step that must run demands the objects of its inputs, which may bring back a collected one. *Launch*:
//! start what is ready. *Wait* for one to finish. A key is computed only from the digests of finished inputs, so a step
//! that reran to the same content leaves everything after it fresh.
//!
//! Deliberately absent: any knowledge of what a stage does, and any output; the [`Observer`] has the only voice.

pub mod judge;
pub mod place;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use self::judge::{History, Judgement, judge};
use self::place::PlaceError;
use crate::artifact::{Digest, Kind, Unreadable};
use crate::fingerprint::{Fingerprint, Key};
use crate::outcome::{Outcome, Reason};
use crate::plan::{Plan, Step};
use crate::stage::{CardFacts, Context, Input, Progress, StageError};
use crate::store::{Begun, Need, ObjectState, Record, RunRecord, StepRecord, Store, StoreError};

/// How to walk.
pub struct Options<'a> {
    /// The steps to bring up to date.
    pub selected: BTreeSet<usize>,
    /// The steps to run even though their result is known.
    pub forced: BTreeSet<usize>,
    /// How many steps may run side by side.
    pub jobs: usize,
    /// After a failure, go on with what does not depend on it.
    pub keep_going: bool,
    /// The device as asked for.
    pub device: String,
    /// Set when the user asked to stop.
    pub interrupted: &'a AtomicBool,
    /// What goes into the record: the command line and the git commit.
    pub arguments: Vec<String>,
    pub commit: Option<String>,
}

/// Who is told what happens.
pub trait Observer: Sync {
    /// A step begins; what it says goes to the returned voice.
    fn started<'a>(&'a self, step: &Step, reason: &Reason) -> Box<dyn Progress + 'a>;
    /// Another process is building the same key.
    fn waiting(&self, step: &Step);
    fn finished(&self, step: &Step, record: &StepRecord);
    fn failed(&self, step: &Step, error: &RunError);
    fn placed(&self, step: &Step, to: &Path);
    fn warned(&self, text: &str);
}

/// Why a step has no result.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RunError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("a fault of refit itself: {0}")]
    #[diagnostic(help("nothing was stored. Please report this with the spec and the output of the same command with -vv"))]
    Internal(String),
}

enum State {
    /// Its inputs are not all known.
    Waiting,
    /// Its result is known.
    Known { record: Box<Record>, present: bool },
    /// It must run.
    Wanted { fingerprint: Box<Fingerprint>, reason: Reason, need: Need, before: Option<Digest> },
    Running { before: Option<Digest> },
    /// It failed, was interrupted, or cannot run any more.
    Ended,
}

struct Finished {
    index: usize,
    seconds: f64,
    key: Key,
    fingerprint: Box<Fingerprint>,
    reason: Reason,
    result: Result<(Record, bool), RunError>,
}

/// Brings the selected steps up to date. The record says what happened to each; it is saved in the store as well.
///
/// # Errors
/// Only when the store itself cannot be used. A failing step is in the record.
pub fn run(plan: &Plan, store: &Store, options: &Options<'_>, observer: &dyn Observer) -> Result<RunRecord, StoreError> {
    let started = jiff::Timestamp::now();
    let clock = Instant::now();
    let _hold = store.hold(&mut wait_politely(options.interrupted, &mut || {
        observer.warned("waiting for `refit cache gc` to finish on this store");
    }))?;
    store.sweep_drafts()?;
    let mut walk = Walk::new(plan, store, options, observer);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut running = 0;
        loop {
            walk.settle();
            while running < options.jobs
                && let Some(job) = walk.next_job()
            {
                let sender = sender.clone();
                running += 1;
                scope.spawn(move || sender.send(execute(job, plan, store, options, observer)));
            }
            if running == 0 {
                break;
            }
            let Ok(finished) = receiver.recv() else { break };
            running -= 1;
            walk.take(finished);
        }
    });
    let steps = walk.into_records();
    let record = RunRecord {
        pipeline: plan.pipeline.clone(),
        spec: plan.spec.display().to_string(),
        started,
        seconds: clock.elapsed().as_secs_f64(),
        commit: options.commit.clone(),
        arguments: options.arguments.clone(),
        scores: scores(plan, store, &steps),
        steps,
    };
    store.save_run(&record)?;
    store.save_memo();
    Ok(record)
}

struct Job {
    index: usize,
    fingerprint: Box<Fingerprint>,
    reason: Reason,
    need: Need,
    inputs: BTreeMap<&'static str, Input>,
}

struct Walk<'a> {
    plan: &'a Plan,
    store: &'a Store,
    options: &'a Options<'a>,
    observer: &'a dyn Observer,
    history: History<'a>,
    states: Vec<State>,
    records: BTreeMap<usize, StepRecord>,
    forced: BTreeSet<usize>,
    /// The step whose failure stopped the run.
    stopped_by: Option<String>,
}

impl<'a> Walk<'a> {
    fn new(plan: &'a Plan, store: &'a Store, options: &'a Options<'a>, observer: &'a dyn Observer) -> Self {
        Walk {
            plan,
            store,
            options,
            observer,
            history: History::new(store, &plan.pipeline),
            states: plan.steps.iter().map(|_| State::Waiting).collect(),
            records: BTreeMap::new(),
            forced: options.forced.clone(),
            stopped_by: None,
        }
    }

    fn stopping(&self) -> bool {
        self.options.interrupted.load(Ordering::Relaxed) || (self.stopped_by.is_some() && !self.options.keep_going)
    }

    /// Judges what can be judged, and demands the objects of what must run, until nothing changes.
    fn settle(&mut self) {
        let mut changed = true;
        while changed && !self.stopping() {
            changed = false;
            for &index in &self.options.selected {
                changed |= match &self.states[index] {
                    State::Waiting => self.settle_waiting(index),
                    State::Wanted { .. } => self.demand_inputs(index),
                    _ => false,
                };
            }
        }
    }

    fn settle_waiting(&mut self, index: usize) -> bool {
        let step = &self.plan.steps[index];
        if let Some(input) = step.inputs.values().find(|input| matches!(self.states[**input], State::Ended)) {
            let stage = self.plan.steps[*input].name.clone();
            self.end(index, Outcome::Skipped, Reason::UpstreamFailed { stage });
            return true;
        }
        let mut inputs = BTreeMap::new();
        for (field, input) in &step.inputs {
            let State::Known { record, .. } = &self.states[*input] else { return false };
            inputs.insert((*field).to_owned(), record.digest);
        }
        let forced = self.forced.contains(&index);
        match judge(step, inputs, forced, self.store, &self.history) {
            Ok(Judgement::Stale { fingerprint, reason }) => {
                let need = if forced { Need::Rebuild } else { Need::Result };
                self.states[index] = State::Wanted { fingerprint, reason, need, before: None };
            }
            Ok(Judgement::Fresh { record, present }) => self.know(index, record, present, None),
            Err(error) => self.fail(index, &error.into(), None),
        }
        true
    }

    fn demand_inputs(&mut self, index: usize) -> bool {
        let mut changed = false;
        let name = &self.plan.steps[index].name;
        for &input in self.plan.steps[index].inputs.values() {
            if let State::Known { record, present: false } = &self.states[input] {
                self.states[input] = State::Wanted {
                    fingerprint: Box::new(record.fingerprint.clone()),
                    reason: Reason::ObjectMissing { needed_by: vec![name.clone()] },
                    need: Need::Result,
                    before: Some(record.digest),
                };
                changed = true;
            }
        }
        changed
    }

    /// The next step that must run and whose inputs are all at hand.
    fn next_job(&mut self) -> Option<Job> {
        if self.stopping() {
            return None;
        }
        let ready = |index: &usize| {
            let at_hand = |input: &usize| matches!(self.states[*input], State::Known { present: true, .. });
            matches!(self.states[*index], State::Wanted { .. }) && self.plan.steps[*index].inputs.values().all(at_hand)
        };
        let index = self.options.selected.iter().copied().find(|index| ready(index))?;
        let mut inputs = BTreeMap::new();
        for (field, input) in &self.plan.steps[index].inputs {
            if let State::Known { record, .. } = &self.states[*input] {
                let path = self.store.object_path(&record.digest);
                inputs.insert(*field, Input { path, digest: record.digest });
            }
        }
        let State::Wanted { fingerprint, reason, need, before } = std::mem::replace(&mut self.states[index], State::Waiting) else {
            return None;
        };
        self.states[index] = State::Running { before };
        Some(Job { index, fingerprint, reason, need, inputs })
    }

    fn take(&mut self, finished: Finished) {
        let Finished { index, seconds, key, fingerprint, reason, result } = finished;
        let State::Running { before } = self.states[index] else { return };
        match result {
            Ok((record, built)) => {
                self.forced.remove(&index);
                if before.is_some_and(|before| before != record.digest) {
                    self.observer.warned(&format!(
                        "`{}` was rebuilt to other content than before; what depends on it is looked at again",
                        self.plan.steps[index].name
                    ));
                    self.forget_after(index);
                }
                let step = StepRecord {
                    stage: self.plan.steps[index].name.clone(),
                    kind: self.plan.steps[index].kind.to_owned(),
                    outcome: if built { Outcome::Built } else { Outcome::Fresh },
                    reason: if built { reason } else { Reason::BuiltElsewhere },
                    key: Some(key),
                    digest: Some(record.digest),
                    seconds,
                    fingerprint: Some(*fingerprint),
                };
                self.know(index, Box::new(record), true, Some(step));
            }
            Err(error) => {
                let (key, fingerprint) = (Some(key), Some(*fingerprint));
                let step = StepRecord {
                    stage: self.plan.steps[index].name.clone(),
                    kind: self.plan.steps[index].kind.to_owned(),
                    outcome: Outcome::Failed,
                    reason: Reason::Error { message: error.to_string() },
                    key,
                    digest: None,
                    seconds,
                    fingerprint,
                };
                self.fail(index, &error, Some(step));
            }
        }
    }

    /// Everything after a step whose content changed is judged anew.
    fn forget_after(&mut self, index: usize) {
        let mut after = BTreeSet::from([index]);
        for later in index + 1..self.plan.steps.len() {
            if self.plan.steps[later].inputs.values().any(|input| after.contains(input)) {
                after.insert(later);
                if matches!(self.states[later], State::Known { .. } | State::Wanted { .. }) {
                    self.states[later] = State::Waiting;
                }
            }
        }
    }

    fn know(&mut self, index: usize, record: Box<Record>, present: bool, step: Option<StepRecord>) {
        let reason = if present { Reason::UpToDate } else { Reason::Collected };
        let mut entry = step.unwrap_or_else(|| StepRecord {
            stage: self.plan.steps[index].name.clone(),
            kind: self.plan.steps[index].kind.to_owned(),
            outcome: Outcome::Fresh,
            reason,
            key: Some(record.key),
            digest: Some(record.digest),
            seconds: 0.0,
            fingerprint: Some(record.fingerprint.clone()),
        });
        match self.place(index, &record, present) {
            Ok(Some(reason)) if !present => {
                self.states[index] = State::Wanted {
                    fingerprint: Box::new(record.fingerprint.clone()),
                    reason,
                    need: Need::Result,
                    before: Some(record.digest),
                };
                return;
            }
            Ok(Some(reason)) if entry.outcome == Outcome::Fresh => entry.reason = reason,
            Ok(_) => {}
            Err(error) => {
                entry.outcome = Outcome::Failed;
                entry.reason = Reason::Error { message: error.to_string() };
                self.fail(index, &error, Some(entry));
                return;
            }
        }
        self.states[index] = State::Known { record, present };
        self.observer.finished(&self.plan.steps[index], &entry);
        self.records.insert(index, entry);
    }

    /// Places the artifact where that is asked for and not done yet. The reason says that it was (or, with the object
    /// absent, that it has to be).
    fn place(&self, index: usize, record: &Record, present: bool) -> Result<Option<Reason>, RunError> {
        let step = &self.plan.steps[index];
        let Some(to) = &step.placement else { return Ok(None) };
        let shown = to.display().to_string();
        let reason = match place::state(to, self.plan, step, record)? {
            place::Placement::Current => return Ok(None),
            place::Placement::Missing => Reason::PlacementMissing { to: shown },
            _ => Reason::PlacementStale { to: shown },
        };
        if present {
            let object = self.store.object_path(&record.digest);
            let card = step.stage.card(&self.card_facts(index, record));
            place::place(to, &object, card, self.plan, step, record, self.options.forced.contains(&index))?;
            self.observer.placed(step, to);
        }
        Ok(Some(reason))
    }

    fn card_facts(&self, index: usize, record: &Record) -> CardFacts {
        let mut facts = CardFacts {
            pipeline: self.plan.pipeline.clone(),
            stage: self.plan.steps[index].name.clone(),
            key: record.key.to_string(),
            digest: record.digest.to_string(),
            ..CardFacts::default()
        };
        let mut behind = BTreeSet::new();
        let mut pending = vec![index];
        while let Some(next) = pending.pop() {
            if behind.insert(next) {
                pending.extend(self.plan.steps[next].inputs.values());
            }
        }
        for &one in &behind {
            let step = &self.plan.steps[one];
            let known = match &self.states[one] {
                State::Known { record, .. } => Some(record.as_ref()),
                _ => (one == index).then_some(record),
            };
            facts.stages.push((step.name.clone(), step.kind.to_owned(), step.settings.clone()));
            for (role, digest) in known.iter().flat_map(|record| &record.fingerprint.files) {
                facts.files.insert(format!("{}/{role}", step.name), digest.to_string());
            }
        }
        let scores = self.plan.steps[index].inputs.get("scores").map(|&input| &self.states[input]);
        if let Some(State::Known { record, .. }) = scores {
            facts.scores = read_scores(&self.store.object_path(&record.digest));
        }
        facts
    }

    fn fail(&mut self, index: usize, error: &RunError, entry: Option<StepRecord>) {
        let step = &self.plan.steps[index];
        let interrupted = matches!(error, RunError::Stage(StageError::Interrupted));
        let mut entry = entry.unwrap_or_else(|| StepRecord {
            stage: step.name.clone(),
            kind: step.kind.to_owned(),
            outcome: Outcome::Failed,
            reason: Reason::Error { message: error.to_string() },
            key: None,
            digest: None,
            seconds: 0.0,
            fingerprint: None,
        });
        if interrupted {
            entry.reason = Reason::Interrupted;
        } else {
            self.stopped_by.get_or_insert_with(|| step.name.clone());
            self.observer.failed(step, error);
        }
        self.observer.finished(step, &entry);
        self.states[index] = State::Ended;
        self.records.insert(index, entry);
    }

    fn end(&mut self, index: usize, outcome: Outcome, reason: Reason) {
        let step = &self.plan.steps[index];
        let entry = StepRecord {
            stage: step.name.clone(),
            kind: step.kind.to_owned(),
            outcome,
            reason,
            key: None,
            digest: None,
            seconds: 0.0,
            fingerprint: None,
        };
        self.observer.finished(step, &entry);
        self.states[index] = State::Ended;
        self.records.insert(index, entry);
    }

    fn into_records(mut self) -> Vec<StepRecord> {
        for &index in &self.options.selected {
            if !self.records.contains_key(&index) || matches!(self.states[index], State::Waiting | State::Wanted { .. }) {
                let reason = match &self.stopped_by {
                    Some(stage) if !self.options.interrupted.load(Ordering::Relaxed) => Reason::Stopped { stage: stage.clone() },
                    _ => Reason::Interrupted,
                };
                self.end(index, Outcome::Skipped, reason);
            }
        }
        self.records.into_values().collect()
    }
}

fn execute(job: Job, plan: &Plan, store: &Store, options: &Options<'_>, observer: &dyn Observer) -> Finished {
    let clock = Instant::now();
    let Job { index, fingerprint, reason, need, inputs } = job;
    let step = &plan.steps[index];
    let key = fingerprint.key();
    let result = build(step, &fingerprint, &reason, need, inputs, store, options, observer);
    Finished { index, seconds: clock.elapsed().as_secs_f64(), key, fingerprint, reason, result }
}

#[expect(clippy::too_many_arguments, reason = "each is one thing the build of a step needs, and none belong together")]
fn build(
    step: &Step,
    fingerprint: &Fingerprint,
    reason: &Reason,
    need: Need,
    inputs: BTreeMap<&'static str, Input>,
    store: &Store,
    options: &Options<'_>,
    observer: &dyn Observer,
) -> Result<(Record, bool), RunError> {
    let begun = store.begin(fingerprint, need, &mut wait_politely(options.interrupted, &mut || observer.waiting(step)))?;
    let draft = match begun {
        Begun::Won(draft) => draft,
        Begun::Already(record) => return Ok((record, false)),
        Begun::GaveUp => return Err(StageError::Interrupted.into()),
    };
    let clock = Instant::now();
    let progress = observer.started(step, reason);
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
    catch_unwind(AssertUnwindSafe(|| step.stage.run(&context))).map_err(|panic| RunError::Internal(told(panic.as_ref())))??;
    drop(context);
    drop(progress);
    let record = draft.commit(step.stage.produces(), clock.elapsed().as_secs_f64())?;
    Ok((record, true))
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked without a message").to_owned()
}

/// Says once that it waits, and gives up when the user asked to stop.
fn wait_politely(interrupted: &AtomicBool, say: &mut dyn FnMut()) -> impl FnMut(Duration) -> ControlFlow<()> {
    let mut said = false;
    move |_waited| {
        if !std::mem::replace(&mut said, true) {
            say();
        }
        if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The scores that steps left: of every evaluation, and of every training that validated.
fn scores(plan: &Plan, store: &Store, steps: &[StepRecord]) -> Map<String, Value> {
    let mut scores = Map::new();
    for entry in steps {
        let scored = plan.index(&entry.stage).map(|index| plan.steps[index].stage.produces());
        let (Some(Kind::Scores | Kind::Model), Some(digest)) = (scored, entry.digest) else { continue };
        let found = match store.object(&digest) {
            ObjectState::Present(path) => read_scores(&path),
            // A collected object took its file along; the run that made it wrote the scores down.
            _ => earlier_scores(store, &plan.pipeline, &entry.stage, &digest),
        };
        if let Some(found) = found {
            scores.insert(entry.stage.clone(), found);
        }
    }
    scores
}

fn read_scores(object: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(object.join("scores.json")).ok()?).ok()
}

fn earlier_scores(store: &Store, pipeline: &str, stage: &str, digest: &Digest) -> Option<Value> {
    store.runs_of(pipeline).find_map(|run| {
        let made_it = run.steps.iter().any(|step| step.stage == stage && step.digest == Some(*digest));
        made_it.then(|| run.scores.get(stage).cloned()).flatten()
    })
}
