//! The drive through a sweep: judge what is known, propose what is missing, run it side by side, write down how it went.
//!
//! One thread decides and up to `jobs` threads run a trial each, all of its runs one after another. Every event goes through
//! the journal into the ledger, from which alone decisions are taken; so do the events of other processes, whose trials are
//! left to them while they live, and taken over when they die.
//!
//! Deliberately absent: any output; the [`Observer`] has the only voice. And running a pipeline, which is `run`'s.

mod elsewhere;
mod listen;
mod propose;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value};

pub use self::elsewhere::{Elsewhere, Ended, Open, close, open};
use self::listen::Listener;
use super::ledger::{End, Event, Ledger, StepResult};
use super::trial::{Prepared, Replicate, prepare, replicates};
use super::{Sweep, SweepError, all_known};
use crate::outcome::{Outcome, Reason};
use crate::plan::Plan;
use crate::run::judge::assess;
use crate::run::{self, Provenance};
use crate::spec::Problem;
use crate::store::{Claim, StepRecord};

/// How to drive.
pub struct Options<'a> {
    /// How many trials may run side by side.
    pub jobs: usize,
    /// Whether steps may start the programs, and ask the services, that they name.
    pub allow_commands: bool,
    /// The devices as asked for; the trials that run side by side are spread over them.
    pub devices: Vec<String>,
    /// Set when the user asked to stop.
    pub interrupted: &'a AtomicBool,
    pub checkpoint: run::Checkpointing,
    pub provenance: Provenance,
    /// Where trials run, when not in this process.
    pub elsewhere: Option<&'a dyn Elsewhere>,
}

/// Who is told what happens.
pub trait Observer: Sync {
    /// So many trials of so many have ended; `best` is the best of them with its score.
    fn counted(&self, ended: usize, all: usize, best: Option<(usize, f64)>);
    /// A run of a trial begins; what its steps say goes to the returned voice.
    fn began<'a>(
        &'a self,
        plan: &Plan,
        trial: usize,
        replicate: Option<Replicate>,
    ) -> Box<dyn run::Observer + 'a>;
    /// A trial has ended here, or is known to have.
    fn ended(&self, ledger: &Ledger, trial: usize, known: bool);
    /// Another process works on the trial.
    fn elsewhere(&self, trial: usize);
    fn warned(&self, text: &str);
}

/// What this drive saw of a run: what its steps were to it, and their scores.
#[derive(Debug, Clone)]
pub struct Seen {
    pub steps: Vec<StepResult>,
    pub scores: Map<String, Value>,
}

/// How it went.
#[derive(Debug)]
pub struct Driven {
    /// The numbers of the sweep's trials, in the order of the search.
    pub trials: Vec<usize>,
    pub ledger: Ledger,
    pub seen: BTreeMap<(usize, Replicate), Seen>,
}

/// How often the deciding thread looks at what other processes did, and whether the user asked to stop.
const PAUSE: Duration = Duration::from_millis(50);

/// Brings every trial of a sweep to its end, or to where the user stopped it.
///
/// # Errors
/// The store cannot be used, or a file that trials read. What befalls one trial is in the ledger.
pub fn drive(
    sweep: &Sweep<'_>,
    options: &Options<'_>,
    observer: &dyn Observer,
) -> Result<Driven, SweepError> {
    let drive = Drive::new(sweep, options, observer)?;
    let mut trials = propose::beforehand(&drive)?;
    let mut states = BTreeMap::new();
    for &trial in &trials {
        if options.interrupted.load(Ordering::Relaxed) {
            break;
        }
        let state = drive.settle(trial)?;
        if state == State::Ended {
            observer.ended(&drive.ledger(), trial, true);
        }
        states.insert(trial, state);
    }
    drive.go(&mut trials, &mut states)?;
    Ok(drive.into_driven(trials))
}

/// Where a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Running,
    /// Another process has it.
    Elsewhere,
    Ended,
}

pub(super) struct Drive<'a> {
    pub(super) sweep: &'a Sweep<'a>,
    pub(super) options: &'a Options<'a>,
    pub(super) observer: &'a dyn Observer,
    replicates: Vec<Replicate>,
    ledger: Mutex<Ledger>,
    seen: Mutex<BTreeMap<(usize, Replicate), Seen>>,
}

/// Tells a run to stop.
#[derive(Debug, Default)]
pub(super) struct Stop {
    pub(super) now: AtomicBool,
    /// It is stopped since others are better, not since the user wants it.
    pub(super) pruned: AtomicBool,
}

/// A trial that runs here.
struct Running {
    stop: Arc<Stop>,
    slot: usize,
}

impl<'a> Drive<'a> {
    fn new(
        sweep: &'a Sweep<'a>,
        options: &'a Options<'a>,
        observer: &'a dyn Observer,
    ) -> Result<Self, SweepError> {
        Ok(Drive {
            sweep,
            options,
            observer,
            replicates: replicates(sweep.settings),
            ledger: Mutex::new(Ledger::read(&sweep.journal)?),
            seen: Mutex::default(),
        })
    }

    fn into_driven(self, trials: Vec<usize>) -> Driven {
        let Drive { ledger, seen, .. } = self;
        Driven {
            trials,
            ledger: ledger.into_inner().unwrap_or_else(PoisonError::into_inner),
            seen: seen.into_inner().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl Drive<'_> {
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an event down, and reads what others wrote.
    pub(super) fn record(&self, event: Event) -> Result<(), SweepError> {
        self.record_all(&[event])
    }

    pub(super) fn record_all(&self, events: &[Event]) -> Result<(), SweepError> {
        let mut ledger = self.ledger();
        self.sweep.journal.append(events)?;
        ledger.refresh(&self.sweep.journal)?;
        Ok(())
    }

    fn go(
        &self,
        trials: &mut Vec<usize>,
        states: &mut BTreeMap<usize, State>,
    ) -> Result<(), SweepError> {
        let (sender, receiver) = mpsc::channel();
        let jobs = self.options.jobs.max(1);
        let mut running: BTreeMap<usize, Running> = BTreeMap::new();
        let mut failed = None;
        let mut counted = None;
        std::thread::scope(|scope| {
            loop {
                let stopping = failed.is_some() || self.options.interrupted.load(Ordering::Relaxed);
                while !stopping && failed.is_none() && running.len() < jobs {
                    match self.next(trials, states) {
                        Ok(Some((trial, claim))) => {
                            let taken: BTreeSet<usize> = running.values().map(|r| r.slot).collect();
                            let slot = (0..jobs).find(|slot| !taken.contains(slot)).unwrap_or(0);
                            let stop = Arc::new(Stop::default());
                            states.insert(trial, State::Running);
                            running.insert(
                                trial,
                                Running {
                                    stop: Arc::clone(&stop),
                                    slot,
                                },
                            );
                            let sender = sender.clone();
                            scope.spawn(move || {
                                let result = self.run(trial, slot, &stop, claim);
                                let _ = sender.send((trial, result));
                            });
                        }
                        Ok(None) => break,
                        Err(error) => failed = Some(error),
                    }
                }
                self.count(trials, states, &mut counted);
                if failed.is_some() || self.options.interrupted.load(Ordering::Relaxed) {
                    for one in running.values() {
                        one.stop.now.store(true, Ordering::Relaxed);
                    }
                    if running.is_empty() {
                        break;
                    }
                }
                let waits = states.values().any(|state| *state == State::Elsewhere);
                if running.is_empty() && !waits {
                    break;
                }
                match receiver.recv_timeout(PAUSE) {
                    Ok((trial, result)) => {
                        running.remove(&trial);
                        states.insert(trial, State::Ended);
                        match result {
                            Ok(()) => self.observer.ended(&self.ledger(), trial, false),
                            Err(error) => failed = Some(error),
                        }
                    }
                    Err(_) => {
                        if waits && let Err(error) = self.look_elsewhere(states) {
                            failed = Some(error);
                        }
                    }
                }
            }
        });
        failed.map_or(Ok(()), Err)
    }

    fn count(
        &self,
        trials: &[usize],
        states: &BTreeMap<usize, State>,
        counted: &mut Option<(usize, usize)>,
    ) {
        let ended = states
            .values()
            .filter(|state| **state == State::Ended)
            .count();
        let all = match self.sweep.settings.trials {
            Some(trials) => usize::try_from(trials).unwrap_or(usize::MAX),
            None => trials.len(),
        };
        if *counted != Some((ended, all)) {
            *counted = Some((ended, all));
            let ledger = self.ledger();
            let rows = super::results::rows(self.sweep, &ledger, trials);
            let best = super::results::best(&rows, self.sweep.goal.direction)
                .and_then(|row| Some((row.number, row.score?)));
            self.observer.counted(ended, all, best);
        }
    }

    /// The next trial that is nobody's, claimed.
    fn next(
        &self,
        trials: &mut Vec<usize>,
        states: &mut BTreeMap<usize, State>,
    ) -> Result<Option<(usize, Claim)>, SweepError> {
        loop {
            let open = trials
                .iter()
                .copied()
                .find(|trial| matches!(states.get(trial), None | Some(State::Open)));
            let trial = match open {
                Some(trial) => trial,
                None => match propose::next(self, trials)? {
                    Some(trial) => {
                        let state = self.settle(trial)?;
                        states.insert(trial, state);
                        if state == State::Ended {
                            self.observer.ended(&self.ledger(), trial, true);
                        }
                        continue;
                    }
                    None => return Ok(None),
                },
            };
            let id = self.ledger().trials()[trial].id.clone();
            match self.sweep.journal.claim(&id)? {
                Some(claim) => return Ok(Some((trial, claim))),
                None => {
                    states.insert(trial, State::Elsewhere);
                    self.observer.elsewhere(trial);
                }
            }
        }
    }

    /// Whether trials that other processes had are finished, or free again.
    fn look_elsewhere(&self, states: &mut BTreeMap<usize, State>) -> Result<(), SweepError> {
        let elsewhere: Vec<usize> = states
            .iter()
            .filter(|(_, state)| **state == State::Elsewhere)
            .map(|(trial, _)| *trial)
            .collect();
        for trial in elsewhere {
            let id = self.ledger().trials()[trial].id.clone();
            if self.sweep.journal.is_claimed(&id) {
                continue;
            }
            self.ledger().refresh(&self.sweep.journal)?;
            // A failure there is not tried again here.
            let failed = self.ledger().trials()[trial]
                .runs
                .values()
                .any(|run| matches!(run.end, Some(End::Failed(_))));
            let state = match failed {
                true => State::Ended,
                false => self.settle(trial)?,
            };
            if state == State::Ended {
                self.observer.ended(&self.ledger(), trial, true);
            }
            states.insert(trial, state);
        }
        Ok(())
    }

    /// Whether a trial's end is known, by the keys of its runs. What is known and was not written down is written down.
    fn settle(&self, trial: usize) -> Result<State, SweepError> {
        for &replicate in &self.replicates {
            let prepared = match self.prepare(trial, replicate) {
                Ok(prepared) => prepared,
                Err(message) => {
                    self.fail(trial, replicate, message, 0.0, Vec::new())?;
                    return Ok(State::Ended);
                }
            };
            match self.known(trial, replicate, &prepared, &Ended::default())? {
                Known::Finished => {}
                Known::Pruned => return Ok(State::Ended),
                Known::Not => return Ok(State::Open),
            }
        }
        Ok(State::Ended)
    }

    fn prepare(&self, trial: usize, replicate: Replicate) -> Result<Prepared, String> {
        let assignment = self.ledger().trials()[trial].assignment.clone();
        prepare(self.sweep, trial, &assignment, replicate).map_err(|problems| told(&problems))
    }

    /// Whether the result of a run is known. `ended` are steps that were made for it elsewhere.
    fn known(
        &self,
        trial: usize,
        replicate: Replicate,
        prepared: &Prepared,
        ended: &Ended,
    ) -> Result<Known, SweepError> {
        let Prepared { plan, selected } = prepared;
        let store = self.sweep.store;
        let assessments = assess(plan, selected, &BTreeSet::new(), store)?;
        let goal = plan.index(self.sweep.goal.stage);
        let of_goal = assessments.iter().find(|one| Some(one.step) == goal);
        let written = self.ledger().trials()[trial].runs.get(&replicate).cloned();
        if !all_known(&assessments) {
            let key = of_goal.and_then(|one| one.key);
            let pruned = written.is_some_and(|run| run.end == Some(End::Pruned(key)));
            return Ok(if pruned && key.is_some() {
                Known::Pruned
            } else {
                Known::Not
            });
        }
        let digest = of_goal.and_then(|one| one.digest);
        let same = written.filter(|run| {
            let step = run
                .steps
                .iter()
                .find(|step| step.stage == self.sweep.goal.stage);
            matches!(run.end, Some(End::Finished(_)))
                && step.is_some_and(|step| step.digest == digest)
        });
        let mut records = run::known(plan, &assessments);
        for record in &mut records {
            let made = ended.steps.iter().find(|made| made.stage == record.stage);
            if let Some(made) = made.filter(|made| made.digest == record.digest) {
                *record = made.clone();
            }
        }
        let seconds = records.iter().map(|record| record.seconds).sum();
        let steps: Vec<StepResult> = records.iter().map(StepResult::from).collect();
        let scores = match &same {
            Some(run) => run.scores.clone(),
            None => run::scores(plan, store, &records),
        };
        self.see(trial, replicate, &steps, &scores);
        if same.is_none() {
            let curve = self.curve(plan, &records)?;
            self.record_all(&self.began(trial, replicate, curve))?;
            self.finish(trial, replicate, seconds, steps, scores)?;
        }
        Ok(Known::Finished)
    }

    /// The validations of a training that this sweep did not see.
    fn curve(
        &self,
        plan: &Plan,
        records: &[StepRecord],
    ) -> Result<Vec<(u64, Option<f64>)>, SweepError> {
        let goal = self.sweep.goal;
        let step = plan.index(goal.stage).map(|index| &plan.steps[index]);
        let digest = records
            .iter()
            .find(|record| record.stage == goal.stage)
            .and_then(|record| record.digest);
        let Some((step, digest)) = step.zip(digest) else {
            return Ok(Vec::new());
        };
        let object = self.sweep.store.object_path(&digest);
        if !object.is_dir() {
            return Ok(Vec::new());
        }
        let validations = step.stage.validations(&object)?;
        let curve = validations
            .iter()
            .map(|one| (one.step, number(&one.scores, goal.metric)));
        Ok(curve.collect())
    }

    fn began(&self, trial: usize, run: Replicate, curve: Vec<(u64, Option<f64>)>) -> Vec<Event> {
        let started = Event::Started {
            trial,
            run,
            time: Timestamp::now(),
            process: std::process::id(),
        };
        let curve = curve.into_iter().map(|(step, value)| Event::Validated {
            trial,
            run,
            step,
            value,
        });
        std::iter::once(started).chain(curve).collect()
    }

    /// Runs what is not known of a trial.
    fn run(&self, trial: usize, slot: usize, stop: &Stop, claim: Claim) -> Result<(), SweepError> {
        for &replicate in &self.replicates {
            let prepared = match self.prepare(trial, replicate) {
                Ok(prepared) => prepared,
                Err(message) => return self.fail(trial, replicate, message, 0.0, Vec::new()),
            };
            // Another process may have done it since the trial was judged.
            match self.known(trial, replicate, &prepared, &Ended::default())? {
                Known::Finished => continue,
                Known::Pruned => break,
                Known::Not => {}
            }
            self.record_all(&self.began(trial, replicate, Vec::new()))?;
            let clock = Instant::now();
            let Prepared { plan, selected } = prepared;
            let shown = (self.replicates.len() > 1).then_some(replicate);
            let listener = Listener::new(self, trial, replicate, stop, &plan, shown);
            let options = run::Options {
                selected,
                forced: BTreeSet::new(),
                jobs: 1,
                keep_going: false,
                device: self.options.devices[slot % self.options.devices.len()].clone(),
                allow_commands: self.options.allow_commands,
                recorded: true,
                interrupted: &stop.now,
                checkpoint: self.options.checkpoint,
                provenance: self.options.provenance.clone(),
            };
            let record = match self.options.elsewhere {
                None => run::run(&plan, self.sweep.store, &options, &listener)?,
                Some(elsewhere) => {
                    let assignment = self.ledger().trials()[trial].assignment.clone();
                    let whose = (trial, &assignment, replicate);
                    elsewhere.run(&plan, &options.selected, whose, &stop.now, &listener)?
                }
            };
            drop(listener);
            let seconds = clock.elapsed().as_secs_f64();
            let steps: Vec<StepResult> = record.steps.iter().map(StepResult::from).collect();
            self.see(trial, replicate, &steps, &record.scores);
            if let Some(message) = failure(&record.steps) {
                return self.fail(trial, replicate, message, seconds, steps);
            }
            if record.steps.iter().any(|step| step.digest.is_none()) {
                if stop.pruned.load(Ordering::Relaxed) {
                    let of_goal = steps
                        .iter()
                        .find(|step| step.stage == self.sweep.goal.stage);
                    let key = of_goal.and_then(|step| step.key);
                    if let Some(key) = &key {
                        self.sweep.store.forget_checkpoints(key);
                    }
                    self.record(Event::Pruned {
                        trial,
                        run: replicate,
                        key,
                        seconds,
                        steps,
                    })?;
                }
                // Else the user stopped it: it is open at the next start.
                break;
            }
            self.finish(trial, replicate, seconds, steps, record.scores)?;
        }
        drop(claim);
        Ok(())
    }

    fn see(
        &self,
        trial: usize,
        replicate: Replicate,
        steps: &[StepResult],
        scores: &Map<String, Value>,
    ) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // What was built here is not forgotten when it is met again as known.
        seen.entry((trial, replicate)).or_insert_with(|| Seen {
            steps: steps.to_vec(),
            scores: scores.clone(),
        });
    }

    fn finish(
        &self,
        trial: usize,
        run: Replicate,
        seconds: f64,
        steps: Vec<StepResult>,
        scores: Map<String, Value>,
    ) -> Result<(), SweepError> {
        let goal = self.sweep.goal;
        let of_stage = scores.get(goal.stage).and_then(Value::as_object);
        let value = of_stage.and_then(|scores| number(scores, goal.metric));
        let Some(value) = value else {
            let message = match of_stage {
                Some(scores) if scores.contains_key(goal.metric) => {
                    format!("`{}.{}` is no finite number", goal.stage, goal.metric)
                }
                Some(_) => format!("`{}` has no score `{}`", goal.stage, goal.metric),
                None => format!(
                    "`{}` has no scores: a train stage has some when its input has a validation split",
                    goal.stage
                ),
            };
            return self.fail(trial, run, message, seconds, steps);
        };
        self.record(Event::Finished {
            trial,
            run,
            value,
            seconds,
            steps,
            scores,
        })
    }

    fn fail(
        &self,
        trial: usize,
        run: Replicate,
        message: String,
        seconds: f64,
        steps: Vec<StepResult>,
    ) -> Result<(), SweepError> {
        self.record(Event::Failed {
            trial,
            run,
            message,
            seconds,
            steps,
        })
    }

    /// Waits for the journal's lock, and no longer than the user wants to.
    pub(super) fn while_deciding<T>(
        &self,
        decide: impl FnOnce() -> Result<T, SweepError>,
    ) -> Result<Option<T>, SweepError> {
        let mut on_wait = |_| match self.options.interrupted.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let Some(_deciding) = self.sweep.journal.decide(&mut on_wait)? else {
            return Ok(None);
        };
        self.ledger().refresh(&self.sweep.journal)?;
        decide().map(Some)
    }
}

/// What is known of a run.
enum Known {
    Finished,
    Pruned,
    Not,
}

/// A metric's value, if it is a finite number.
pub(super) fn number(scores: &Map<String, Value>, metric: &str) -> Option<f64> {
    let value = scores.get(metric).and_then(Value::as_f64);
    value.filter(|value| value.is_finite())
}

fn failure(steps: &[StepRecord]) -> Option<String> {
    let failed = steps
        .iter()
        .find(|step| step.outcome == Outcome::Failed && step.reason != Reason::Interrupted)?;
    Some(format!("{}: {}", failed.stage, failed.reason))
}

fn told(problems: &[Problem]) -> String {
    let messages: Vec<&str> = problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    messages.join("; ")
}
