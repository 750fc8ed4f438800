//! The ledger: what the journal says of each trial.
//!
//! Events are written when something happens and never changed; the ledger is what they come to, read from the file and from
//! nowhere else, so that two processes on one sweep and a look at it from outside see the same.
//!
//! Deliberately absent: whether a result is still the spec's. That is judged by its keys.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::trial::{Assignment, Replicate, id};
use crate::artifact::Digest;
use crate::fingerprint::Key;
use crate::outcome::Outcome;
use crate::store::{Journal, StepRecord, StoreError};

/// Something that happened in a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// There is a trial with this assignment.
    Proposed {
        trial: usize,
        assignment: Assignment,
    },
    /// One of a trial's runs began.
    Started {
        trial: usize,
        run: Replicate,
        time: Timestamp,
        process: u32,
    },
    /// Its training was scored on the validation split.
    Validated {
        trial: usize,
        run: Replicate,
        step: u64,
        /// The goal's score; none when it was no finite number.
        value: Option<f64>,
    },
    /// All its steps have results.
    Finished {
        trial: usize,
        run: Replicate,
        value: f64,
        seconds: f64,
        steps: Vec<StepResult>,
        /// Stage → metric → value.
        scores: Map<String, Value>,
    },
    /// Its training was stopped, since others were better.
    Pruned {
        trial: usize,
        run: Replicate,
        /// What the training's key was.
        key: Option<Key>,
        seconds: f64,
        steps: Vec<StepResult>,
    },
    Failed {
        trial: usize,
        run: Replicate,
        message: String,
        seconds: f64,
        steps: Vec<StepResult>,
    },
}

/// What became of one step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    pub stage: String,
    pub kind: String,
    pub outcome: Outcome,
    pub reason: String,
    pub key: Option<Key>,
    pub digest: Option<Digest>,
    pub seconds: f64,
}

impl From<&StepRecord> for StepResult {
    fn from(record: &StepRecord) -> Self {
        StepResult {
            stage: record.stage.clone(),
            kind: record.kind.clone(),
            outcome: record.outcome,
            reason: record.reason.to_string(),
            key: record.key,
            digest: record.digest,
            seconds: record.seconds,
        }
    }
}

/// All trials that were ever proposed.
#[derive(Debug, Default)]
pub struct Ledger {
    trials: Vec<Entry>,
    by_id: HashMap<String, usize>,
    /// Up to where the journal was read.
    place: u64,
}

/// One trial.
#[derive(Debug, Clone)]
pub struct Entry {
    pub assignment: Assignment,
    pub id: String,
    pub runs: BTreeMap<Replicate, RunEntry>,
}

/// One of its runs.
#[derive(Debug, Clone, Default)]
pub struct RunEntry {
    /// How it ended; none while it runs, or since it was killed.
    pub end: Option<End>,
    pub started: Option<Timestamp>,
    /// (step, score) on the validation split while it trained.
    pub curve: Vec<(u64, Option<f64>)>,
    pub seconds: f64,
    pub steps: Vec<StepResult>,
    pub scores: Map<String, Value>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    Finished(f64),
    Pruned(Option<Key>),
    Failed(String),
}

impl Ledger {
    /// What the journal says so far.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(journal: &Journal) -> Result<Ledger, StoreError> {
        let mut ledger = Ledger::default();
        ledger.refresh(journal)?;
        Ok(ledger)
    }

    /// Takes in what was written since.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn refresh(&mut self, journal: &Journal) -> Result<(), StoreError> {
        let (events, place) = journal.read(self.place)?;
        self.place = place;
        for event in events {
            self.take(event);
        }
        Ok(())
    }

    /// The trials by their numbers.
    pub fn trials(&self) -> &[Entry] {
        &self.trials
    }

    /// The number of the trial with this assignment.
    pub fn number(&self, assignment: &Assignment) -> Option<usize> {
        self.by_id.get(&id(assignment)).copied()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Proposed { trial, assignment } => {
                // Numbers are given under the journal's lock; one out of turn is no event of ours.
                if trial == self.trials.len() {
                    let id = id(&assignment);
                    self.by_id.insert(id.clone(), trial);
                    self.trials.push(Entry {
                        assignment,
                        id,
                        runs: BTreeMap::new(),
                    });
                }
            }
            Event::Started {
                trial, run, time, ..
            } => {
                if let Some(entry) = self.trials.get_mut(trial) {
                    let started = RunEntry {
                        started: Some(time),
                        ..RunEntry::default()
                    };
                    entry.runs.insert(run, started);
                }
            }
            Event::Validated {
                trial,
                run,
                step,
                value,
            } => {
                if let Some(entry) = self.run(trial, run) {
                    entry.curve.push((step, value));
                }
            }
            Event::Finished {
                trial,
                run,
                value,
                seconds,
                steps,
                scores,
            } => self.end(trial, run, End::Finished(value), seconds, steps, scores),
            Event::Pruned {
                trial,
                run,
                key,
                seconds,
                steps,
            } => self.end(trial, run, End::Pruned(key), seconds, steps, Map::new()),
            Event::Failed {
                trial,
                run,
                message,
                seconds,
                steps,
            } => self.end(trial, run, End::Failed(message), seconds, steps, Map::new()),
        }
    }

    fn run(&mut self, trial: usize, run: Replicate) -> Option<&mut RunEntry> {
        let entry = self.trials.get_mut(trial)?;
        Some(entry.runs.entry(run).or_default())
    }

    fn end(
        &mut self,
        trial: usize,
        run: Replicate,
        end: End,
        seconds: f64,
        steps: Vec<StepResult>,
        scores: Map<String, Value>,
    ) {
        if let Some(entry) = self.run(trial, run) {
            entry.end = Some(end);
            entry.seconds = seconds;
            entry.steps = steps;
            entry.scores = scores;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use serde_json::json;

    const RUN: Replicate = Replicate::PLAIN;

    fn proposed(trial: usize, value: u32) -> Event {
        let assignment = json!({ "train.a.epochs": value });
        Event::Proposed {
            trial,
            assignment: assignment.as_object().unwrap().clone(),
        }
    }

    fn finished(trial: usize, value: f64) -> Event {
        Event::Finished {
            trial,
            run: RUN,
            value,
            seconds: 1.5,
            steps: Vec::new(),
            scores: Map::new(),
        }
    }

    fn started(trial: usize) -> Event {
        Event::Started {
            trial,
            run: RUN,
            time: Timestamp::UNIX_EPOCH,
            process: 1,
        }
    }

    fn validated(trial: usize, step: u64, value: f64) -> Event {
        Event::Validated {
            trial,
            run: RUN,
            step,
            value: Some(value),
        }
    }

    #[test]
    fn a_ledger_read_in_pieces_is_the_ledger_read_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Store::open(&folder.path().join("store"))
            .unwrap()
            .journal("a");
        let mut pieces = Ledger::default();
        let events = [
            proposed(0, 1),
            proposed(1, 2),
            started(0),
            validated(0, 5, 0.5),
            finished(0, 0.75),
            started(1),
        ];
        for event in &events {
            journal.append(std::slice::from_ref(event)).unwrap();
            pieces.refresh(&journal).unwrap();
        }
        let whole = Ledger::read(&journal).unwrap();
        for ledger in [&pieces, &whole] {
            assert_eq!(ledger.trials().len(), 2);
            let run = &ledger.trials()[0].runs[&RUN];
            assert_eq!(run.end, Some(End::Finished(0.75)));
            assert_eq!(run.curve, [(5, Some(0.5))]);
            assert_eq!(ledger.trials()[1].runs[&RUN].end, None);
            let assignment = ledger.trials()[1].assignment.clone();
            assert_eq!(ledger.number(&assignment), Some(1));
        }
    }

    #[test]
    fn a_run_that_begins_again_forgets_its_curve_and_its_end() {
        let mut ledger = Ledger::default();
        let events = [
            proposed(0, 1),
            started(0),
            validated(0, 5, 0.5),
            finished(0, 0.5),
        ];
        events.into_iter().for_each(|event| ledger.take(event));
        ledger.take(started(0));
        let run = &ledger.trials()[0].runs[&RUN];
        assert_eq!((run.end.as_ref(), run.curve.len()), (None, 0));
    }

    #[test]
    fn events_of_trials_that_nobody_proposed_are_passed_over() {
        let mut ledger = Ledger::default();
        for event in [
            started(3),
            validated(3, 1, 0.1),
            finished(3, 0.1),
            proposed(7, 1),
        ] {
            ledger.take(event);
        }
        assert!(ledger.trials().is_empty());
    }
}
