//! The state of a walk: what is known of each step, and what follows from it.
//!
//! Only the deciding thread touches it. A step goes from waiting to known, or through wanted and running to known or ended;
//! it goes back to waiting when something before it was rebuilt to other content.
//!
//! Deliberately absent: threads and the work of a step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use super::build::{Finished, How, Job, Made};
use super::judge::{History, Judgement, ask_ahead, judge, not_here};
use super::publish::{Upload, Uploaded};
use super::{Observer, Options, RunError, scores_of};
use super::{origin, place};
use crate::artifact::Digest;
use crate::fingerprint::Fingerprint;
use crate::hub::HubError;
use crate::outcome::{Outcome, Reason};
use crate::plan::{Plan, Step};
use crate::stage::{CardFacts, CardStep, Input, StageError};
use crate::store::{Need, Record, StepRecord, Store};

enum State {
    /// Its inputs are not all known.
    Waiting,
    /// Its result is known.
    Known {
        record: Box<Record>,
        present: bool,
    },
    /// It must run.
    Wanted {
        fingerprint: Box<Fingerprint>,
        reason: Reason,
        need: Need,
        before: Option<Digest>,
        /// Its result is recorded, and its object may be had from elsewhere.
        fetch: Option<Box<Record>>,
    },
    Running {
        before: Option<Digest>,
    },
    /// It failed, was interrupted, or cannot run any more.
    Ended,
}

pub(super) struct Walk<'a> {
    plan: &'a Plan,
    store: &'a Store,
    options: &'a Options<'a>,
    observer: &'a dyn Observer,
    history: History<'a>,
    states: Vec<State>,
    records: BTreeMap<usize, StepRecord>,
    forced: BTreeSet<usize>,
    /// What is placed and waits to be uploaded.
    uploads: Vec<Upload>,
    /// The step whose failure stopped the run.
    stopped_by: Option<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        store: &'a Store,
        options: &'a Options<'a>,
        observer: &'a dyn Observer,
    ) -> Self {
        Walk {
            plan,
            store,
            options,
            observer,
            history: History::new(store, &plan.pipeline),
            states: plan.steps.iter().map(|_| State::Waiting).collect(),
            records: BTreeMap::new(),
            forced: options.forced.clone(),
            uploads: Vec::new(),
            stopped_by: None,
        }
    }

    fn stopping(&self) -> bool {
        self.options.interrupted.load(Ordering::Relaxed)
            || (self.stopped_by.is_some() && !self.options.keep_going)
    }

    /// Judges what can be judged, and demands the objects of what must run, until nothing changes.
    pub(super) fn settle(&mut self) {
        let mut changed = true;
        while changed && !self.stopping() {
            changed = false;
            self.ask_ahead();
            for &index in &self.options.selected {
                changed |= match &self.states[index] {
                    State::Waiting => self.settle_waiting(index),
                    State::Wanted { fetch: Some(_), .. } => false,
                    State::Wanted { .. } => {
                        self.skip_behind_failure(index) || self.demand_inputs(index)
                    }
                    _ => false,
                };
            }
        }
    }

    fn ask_ahead(&self) {
        let known = |input: &usize| match &self.states[*input] {
            State::Known { record, .. } => Some(record.digest),
            _ => None,
        };
        let waiting = self.options.selected.iter().copied();
        let waiting = waiting.filter(|&index| matches!(self.states[index], State::Waiting));
        let ready = waiting.filter_map(|index| {
            let inputs = self.plan.steps[index].inputs.iter();
            let inputs = inputs.map(|(field, input)| Some(((*field).to_owned(), known(input)?)));
            Some((index, inputs.collect::<Option<_>>()?))
        });
        ask_ahead(self.plan, ready, self.store);
    }

    /// The record of an object that is not here and may be had from elsewhere.
    fn to_fetch(&self, record: &Record) -> Option<Box<Record>> {
        let there = self.store.can_bring(&record.digest);
        there.then(|| Box::new(record.clone()))
    }

    fn skip_behind_failure(&mut self, index: usize) -> bool {
        let inputs = self.plan.steps[index].inputs.values();
        let ended = inputs
            .copied()
            .find(|&input| matches!(self.states[input], State::Ended));
        if let Some(input) = ended {
            let stage = self.plan.steps[input].name.clone();
            self.end(index, Outcome::Skipped, Reason::UpstreamFailed { stage });
        }
        ended.is_some()
    }

    fn settle_waiting(&mut self, index: usize) -> bool {
        if self.skip_behind_failure(index) {
            return true;
        }
        let step = &self.plan.steps[index];
        let mut inputs = BTreeMap::new();
        for (field, input) in &step.inputs {
            let State::Known { record, .. } = &self.states[*input] else {
                return false;
            };
            inputs.insert((*field).to_owned(), record.digest);
        }
        let forced = self.forced.contains(&index);
        match judge(step, inputs, forced, self.store, &self.history) {
            Ok(Judgement::Stale {
                fingerprint,
                reason,
            }) => {
                let need = if forced { Need::Rebuild } else { Need::Result };
                self.states[index] = State::Wanted {
                    fingerprint,
                    reason,
                    need,
                    before: None,
                    fetch: None,
                };
            }
            Ok(Judgement::Fresh { record, present }) => {
                let reason = if present {
                    Reason::UpToDate
                } else {
                    not_here(&record)
                };
                let entry = known(step, &record, Outcome::Fresh, reason);
                self.know(index, record, present, entry);
            }
            Err(error) => {
                let entry = unknown(
                    step,
                    Outcome::Failed,
                    Reason::Error {
                        message: error.to_string(),
                    },
                );
                self.fail(index, &error.into(), entry);
            }
        }
        true
    }

    fn demand_inputs(&mut self, index: usize) -> bool {
        let mut changed = false;
        let name = &self.plan.steps[index].name;
        for &input in self.plan.steps[index].inputs.values() {
            if let State::Known {
                record,
                present: false,
            } = &self.states[input]
            {
                self.states[input] = State::Wanted {
                    fingerprint: Box::new(record.fingerprint.clone()),
                    reason: Reason::ObjectMissing {
                        needed_by: vec![name.clone()],
                    },
                    need: Need::Result,
                    before: Some(record.digest),
                    fetch: self.to_fetch(record),
                };
                changed = true;
            }
        }
        changed
    }

    /// The next step that must run and whose inputs are all at hand.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        if self.stopping() {
            return None;
        }
        let ready = |index: &usize| {
            let at_hand =
                |input: &usize| matches!(self.states[*input], State::Known { present: true, .. });
            matches!(self.states[*index], State::Wanted { fetch: Some(_), .. })
                || matches!(self.states[*index], State::Wanted { .. })
                    && self.plan.steps[*index].inputs.values().all(at_hand)
        };
        let index = self
            .options
            .selected
            .iter()
            .copied()
            .find(|index| ready(index))?;
        let mut inputs = BTreeMap::new();
        for (field, input) in &self.plan.steps[index].inputs {
            if let State::Known { record, .. } = &self.states[*input] {
                let path = self.store.object_path(&record.digest);
                inputs.insert(
                    *field,
                    Input {
                        path,
                        digest: record.digest,
                    },
                );
            }
        }
        let State::Wanted {
            fingerprint,
            reason,
            need,
            before,
            fetch,
        } = std::mem::replace(&mut self.states[index], State::Waiting)
        else {
            return None;
        };
        self.states[index] = State::Running { before };
        Some(Job {
            index,
            fingerprint,
            reason,
            need,
            fetch,
            inputs,
        })
    }

    pub(super) fn take(&mut self, finished: Finished) {
        let Finished {
            index,
            seconds,
            resumed_from_step,
            key,
            fingerprint,
            reason,
            made,
        } = finished;
        let State::Running { before } = self.states[index] else {
            return;
        };
        let made = match made {
            Ok(Made::Absent) => {
                self.states[index] = State::Wanted {
                    fingerprint,
                    reason,
                    need: Need::Result,
                    before,
                    fetch: None,
                };
                return;
            }
            Ok(Made::Result(record, how)) => Ok((record, how)),
            Err(error) => Err(error),
        };
        match made {
            Ok((record, how)) => {
                self.forced.remove(&index);
                if before.is_some_and(|before| before != record.digest) {
                    self.observer.warned(&format!(
                        "`{}` was rebuilt to other content than before; what depends on it is looked at again",
                        self.plan.steps[index].name
                    ));
                    self.forget_after(index);
                }
                let (outcome, reason) = match (how, self.store.upstream()) {
                    (How::Built, _) => (Outcome::Built, reason),
                    (How::Fetched, Some(upstream)) => {
                        let place = upstream.name().to_owned();
                        (Outcome::Fresh, Reason::Fetched { place })
                    }
                    _ => (Outcome::Fresh, Reason::BuiltElsewhere),
                };
                let entry = StepRecord {
                    seconds,
                    resumed_from_step,
                    ..known(&self.plan.steps[index], &record, outcome, reason)
                };
                self.know(index, record, true, entry);
            }
            Err(error) => {
                let reason = Reason::Error {
                    message: error.to_string(),
                };
                let entry = unknown(&self.plan.steps[index], Outcome::Failed, reason);
                self.fail(
                    index,
                    &error,
                    StepRecord {
                        key: Some(key),
                        seconds,
                        resumed_from_step,
                        fingerprint: Some(*fingerprint),
                        ..entry
                    },
                );
            }
        }
    }

    /// Everything after a step whose content changed is judged anew.
    fn forget_after(&mut self, index: usize) {
        let mut after = BTreeSet::from([index]);
        for later in index + 1..self.plan.steps.len() {
            if self.plan.steps[later]
                .inputs
                .values()
                .any(|input| after.contains(input))
            {
                after.insert(later);
                if matches!(
                    self.states[later],
                    State::Known { .. } | State::Wanted { .. }
                ) {
                    self.states[later] = State::Waiting;
                }
            }
        }
    }

    fn know(&mut self, index: usize, record: Box<Record>, present: bool, mut entry: StepRecord) {
        let step = &self.plan.steps[index];
        let mut to_upload = None;
        match self.place(index, &record, present) {
            // Nothing is rebuilt only to be refused afterwards.
            Ok(Some(reason @ Reason::PlacementRefused { .. })) if !present => {
                let message = reason.to_string();
                entry.outcome = Outcome::Failed;
                entry.reason = reason;
                self.fail(index, &RunError::Refused { message }, entry);
                return;
            }
            // Nor is anything that is placed already and only has to be uploaded.
            Ok(Some(reason)) if !present && !matches!(reason, Reason::NotPublished { .. }) => {
                self.states[index] = State::Wanted {
                    fingerprint: Box::new(record.fingerprint.clone()),
                    reason,
                    need: Need::Result,
                    before: Some(record.digest),
                    fetch: self.to_fetch(&record),
                };
                return;
            }
            Ok(Some(reason)) => {
                to_upload = step.placement.clone().zip(step.publication.clone());
                if entry.outcome == Outcome::Fresh {
                    entry.reason = reason;
                }
            }
            Ok(None) => {}
            Err(error) => {
                entry.outcome = Outcome::Failed;
                entry.reason = Reason::Error {
                    message: error.to_string(),
                };
                self.fail(index, &error, entry);
                return;
            }
        }
        self.states[index] = State::Known { record, present };
        match to_upload {
            Some((from, publication)) => self.uploads.push(Upload {
                index,
                from,
                publication,
                entry,
            }),
            None => {
                self.observer.finished(step, &entry);
                self.records.insert(index, entry);
            }
        }
    }

    /// Places the artifact where that is asked for and not done yet. The reason says that it was (or, with the object
    /// absent, that it has to be), or that it is placed and has to be uploaded.
    fn place(
        &self,
        index: usize,
        record: &Record,
        present: bool,
    ) -> Result<Option<Reason>, RunError> {
        let step = &self.plan.steps[index];
        let Some(to) = &step.placement else {
            return Ok(None);
        };
        let forced = self.options.forced.contains(&index);
        let Some(reason) = place::wanting(to, self.plan, step, record, self.store, forced)? else {
            return Ok(None);
        };
        if present && !matches!(reason, Reason::NotPublished { .. }) {
            let object = self.store.object_path(&record.digest);
            let beside = self.beside(index, record);
            place::place(
                to, &object, &beside, self.plan, step, record, self.store, forced,
            )?;
            self.observer.placed(step, to);
        }
        Ok(Some(reason))
    }

    /// The next upload of what is placed.
    pub(super) fn next_upload(&mut self) -> Option<Upload> {
        match self.stopping() {
            true => None,
            false => self.uploads.pop(),
        }
    }

    pub(super) fn take_uploaded(&mut self, uploaded: Uploaded) {
        let Uploaded {
            index,
            mut entry,
            result,
        } = uploaded;
        let step = &self.plan.steps[index];
        match result {
            Ok(page) => {
                self.observer.published(step, page.as_deref());
                self.observer.finished(step, &entry);
                self.records.insert(index, entry);
            }
            Err(error) => {
                entry.outcome = Outcome::Failed;
                entry.reason = Reason::Error {
                    message: error.to_string(),
                };
                self.fail(index, &error, entry);
            }
        }
    }

    /// What is laid beside an artifact that has a card: by name, its text.
    fn beside(&self, index: usize, record: &Record) -> Vec<(&'static str, String)> {
        let facts = self.card_facts(index, record);
        let Some(card) = self.plan.steps[index].stage.card(&facts) else {
            return Vec::new();
        };
        let behind = self.behind(index).into_iter();
        let licences = behind.filter_map(|one| origin::licence(&self.plan.steps[one]));
        let licences: BTreeSet<String> = licences.collect();
        let licences: Vec<String> = licences.into_iter().collect();
        let commit = self.options.provenance.commit.as_deref();
        let origin = origin::text(&facts, commit, &licences);
        vec![(place::CARD, card), (origin::ORIGIN, origin)]
    }

    /// The steps whose results flow into this one, and itself.
    fn behind(&self, index: usize) -> BTreeSet<usize> {
        let mut behind = BTreeSet::new();
        let mut pending = vec![index];
        while let Some(next) = pending.pop() {
            if behind.insert(next) {
                pending.extend(self.plan.steps[next].inputs.values());
            }
        }
        behind
    }

    fn card_facts(&self, index: usize, record: &Record) -> CardFacts {
        let behind = self.behind(index);
        let record_of = |one: usize| match &self.states[one] {
            State::Known { record, .. } => Some(record.as_ref()),
            _ => (one == index).then_some(record),
        };
        let steps = behind.iter().map(|&one| {
            let step = &self.plan.steps[one];
            let files = record_of(one)
                .into_iter()
                .flat_map(|record| &record.fingerprint.files);
            CardStep {
                stage: step.name.clone(),
                kind: step.kind.to_owned(),
                settings: step.settings.clone(),
                files: files
                    .map(|(role, digest)| (role.clone(), digest.to_string()))
                    .collect(),
            }
        });
        let scored = self.plan.steps[index].inputs.get("scores").copied();
        let scores = scored.and_then(|input| {
            let digest = record_of(input)?.digest;
            scores_of(
                self.store,
                &self.plan.pipeline,
                &self.plan.steps[input].name,
                &digest,
            )
        });
        CardFacts {
            pipeline: self.plan.pipeline.clone(),
            stage: self.plan.steps[index].name.clone(),
            key: record.key.to_string(),
            digest: record.digest.to_string(),
            artifact: self.store.object_path(&record.digest),
            steps: steps.collect(),
            scores,
        }
    }

    fn fail(&mut self, index: usize, error: &RunError, mut entry: StepRecord) {
        let step = &self.plan.steps[index];
        let interrupted = matches!(
            error,
            RunError::Stage(StageError::Interrupted) | RunError::Hub(HubError::Interrupted)
        );
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
        let entry = unknown(step, outcome, reason);
        self.observer.finished(step, &entry);
        self.states[index] = State::Ended;
        self.records.insert(index, entry);
    }

    pub(super) fn into_records(mut self) -> Vec<StepRecord> {
        for &index in &self.options.selected {
            if !self.records.contains_key(&index)
                || matches!(self.states[index], State::Waiting | State::Wanted { .. })
            {
                let reason = match &self.stopped_by {
                    Some(stage) if !self.options.interrupted.load(Ordering::Relaxed) => {
                        Reason::Stopped {
                            stage: stage.clone(),
                        }
                    }
                    _ => Reason::Interrupted,
                };
                self.end(index, Outcome::Skipped, reason);
            }
        }
        self.records.into_values().collect()
    }
}

fn unknown(step: &Step, outcome: Outcome, reason: Reason) -> StepRecord {
    StepRecord {
        stage: step.name.clone(),
        kind: step.kind.to_owned(),
        outcome,
        reason,
        key: None,
        digest: None,
        seconds: 0.0,
        resumed_from_step: None,
        fingerprint: None,
    }
}

fn known(step: &Step, record: &Record, outcome: Outcome, reason: Reason) -> StepRecord {
    StepRecord {
        key: Some(record.key),
        digest: Some(record.digest),
        fingerprint: Some(record.fingerprint.clone()),
        ..unknown(step, outcome, reason)
    }
}
