//! Is a step's result known? The one answer that `plan` prints and `run` acts on.
//!
//! A step can be judged once the digests of its inputs are known. Its key then either has a record in the store (fresh)
//! or not (stale, with the reason: what differs from the last time this stage ran). A fresh step whose object was
//! collected stays fresh until something that must run needs it.
//!
//! Deliberately absent: doing anything about it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::place;
use crate::artifact::{Digest, Unreadable};
use crate::fingerprint::{Fingerprint, Key, differences};
use crate::outcome::Reason;
use crate::plan::{Plan, Step};
use crate::store::{ObjectState, Record, RunRecord, StepRecord, Store, Used};

/// What is known about a step whose inputs are known.
#[derive(Debug, Clone)]
pub enum Judgement {
    /// The result is recorded; `present` says whether its object is still in the store.
    Fresh { record: Box<Record>, present: bool },
    Stale {
        fingerprint: Box<Fingerprint>,
        reason: Reason,
    },
}

/// The fingerprints of earlier runs, read only when a reason is asked for.
pub struct History<'a> {
    store: &'a Store,
    pipeline: &'a str,
    runs: OnceCell<Vec<RunRecord>>,
}

/// How many past runs are searched for a stage that targeted runs left out.
const RUNS_SEARCHED: usize = 100;

impl<'a> History<'a> {
    pub fn new(store: &'a Store, pipeline: &'a str) -> Self {
        History {
            store,
            pipeline,
            runs: OnceCell::new(),
        }
    }

    /// The pipeline's newest runs, newest first.
    pub fn runs(&self) -> &[RunRecord] {
        self.runs.get_or_init(|| {
            self.store
                .runs_of(self.pipeline)
                .take(RUNS_SEARCHED)
                .collect()
        })
    }

    /// What a stage's result depended on when it last had one.
    pub fn fingerprint(&self, stage: &str) -> Option<&Fingerprint> {
        let mut steps = self.with_result(stage);
        steps.find_map(|step| step.fingerprint.as_ref())
    }

    /// A stage's last result.
    pub fn digest(&self, stage: &str) -> Option<Digest> {
        self.with_result(stage).find_map(|step| step.digest)
    }

    fn with_result(&self, stage: &str) -> impl Iterator<Item = &StepRecord> {
        let steps = self.runs().iter().flat_map(|run| &run.steps);
        steps.filter(move |step| step.stage == stage && step.digest.is_some())
    }
}

/// Judges a step from the digests of its inputs.
///
/// # Errors
/// A file of the step that cannot be read.
pub fn judge(
    step: &Step,
    inputs: BTreeMap<String, Digest>,
    forced: bool,
    store: &Store,
    history: &History<'_>,
) -> Result<Judgement, Unreadable> {
    let fingerprint = Box::new(fingerprint_of(step, inputs, store)?);
    tracing::debug!(stage = step.name, key = %fingerprint.key(), "judging");
    if forced {
        return Ok(Judgement::Stale {
            fingerprint,
            reason: Reason::Forced,
        });
    }
    // A record may come from elsewhere, and name what this stage does not make.
    let made = |record: &Record| record.artifact == step.stage.produces();
    if let Some(record) = store.record(&fingerprint.key()).filter(made) {
        let record = Box::new(record);
        return Ok(match store.object(&record.digest) {
            ObjectState::Present(_) => Judgement::Fresh {
                record,
                present: true,
            },
            ObjectState::Absent => Judgement::Fresh {
                record,
                present: false,
            },
            ObjectState::Corrupted { file } => Judgement::Stale {
                fingerprint,
                reason: Reason::Corrupted { file },
            },
        });
    }
    let changes = history
        .fingerprint(&step.name)
        .map(|old| differences(old, &fingerprint))
        .unwrap_or_default();
    let reason = if changes.is_empty() {
        Reason::NeverBuilt
    } else {
        Reason::Changed { changes }
    };
    Ok(Judgement::Stale {
        fingerprint,
        reason,
    })
}

fn fingerprint_of(
    step: &Step,
    inputs: BTreeMap<String, Digest>,
    store: &Store,
) -> Result<Fingerprint, Unreadable> {
    let mut files = BTreeMap::new();
    for (role, path) in &step.files {
        files.insert(role.clone(), store.digest_file(path)?);
    }
    Ok(step.fingerprint(files, inputs))
}

/// Why a step is fresh whose object is not here.
pub(super) fn not_here(record: &Record) -> Reason {
    match &record.from {
        Some(place) => Reason::KnownElsewhere {
            place: place.clone(),
        },
        None => Reason::Collected,
    }
}

/// Asks for the records of steps whose inputs are known all at once, where records may lie elsewhere.
pub(super) fn ask_ahead(
    plan: &Plan,
    steps: impl Iterator<Item = (usize, BTreeMap<String, Digest>)>,
    store: &Store,
) {
    if store.upstream().is_none() {
        return;
    }
    // What cannot be read is told when its step is judged.
    let key = |(index, inputs): (usize, BTreeMap<String, Digest>)| {
        let step: &Step = &plan.steps[index];
        let known = step.unfetched.is_empty();
        let fingerprint = known.then(|| fingerprint_of(step, inputs, store).ok())?;
        Some(fingerprint?.key())
    };
    let keys: Vec<Key> = steps.filter_map(key).collect();
    store.look_up(&keys);
}

fn not_fetched(step: &Step) -> Reason {
    Reason::NotFetched {
        what: step.unfetched.iter().map(ToString::to_string).collect(),
    }
}

/// The recorded results of a plan as it is now, whether or not their objects are there and whole, and the keys of its steps. A
/// step behind one that never had a result has no key yet, and so was never begun.
///
/// # Errors
/// A file that cannot be read.
pub fn recorded(plan: &Plan, store: &Store) -> Result<Used, Unreadable> {
    let history = History::new(store, &plan.pipeline);
    let mut digests: BTreeMap<usize, Digest> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    let mut unknown = false;
    for (index, step) in plan.steps.iter().enumerate() {
        let known =
            |(field, input): (&&str, &usize)| Some(((*field).to_owned(), *digests.get(input)?));
        let inputs: BTreeMap<String, Digest> = step.inputs.iter().filter_map(known).collect();
        if inputs.len() < step.inputs.len() {
            continue;
        }
        if !step.unfetched.is_empty() {
            // Its key cannot be known now, nor those behind it, and its last result is the likeliest.
            unknown = true;
            digests.extend(history.digest(&step.name).map(|digest| (index, digest)));
            continue;
        }
        let key = fingerprint_of(step, inputs, store)?.key();
        keys.insert(key);
        if let Some(record) = store.record(&key) {
            digests.insert(index, record.digest);
        }
    }
    Ok(Used {
        objects: digests.into_values().collect(),
        keys,
        unknown,
    })
}

/// What `refit plan` says of a step.
#[derive(Debug, Clone)]
pub struct Assessment {
    pub step: usize,
    pub state: Foreseen,
    pub reason: Reason,
    pub key: Option<Key>,
    pub digest: Option<Digest>,
    pub fingerprint: Option<Fingerprint>,
}

/// What would happen to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreseen {
    /// Nothing.
    Fresh,
    /// It would run (or be placed).
    Run,
    /// It depends on what a step before it gives.
    Pending,
}

/// Judges the selected steps without running any.
///
/// # Errors
/// A file that cannot be read.
pub fn assess(
    plan: &Plan,
    selected: &BTreeSet<usize>,
    forced: &BTreeSet<usize>,
    store: &Store,
) -> Result<Vec<Assessment>, Unreadable> {
    let history = History::new(store, &plan.pipeline);
    let mut assessed: BTreeMap<usize, Assessment> = BTreeMap::new();
    let mut absent = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for &index in selected {
        if asked.insert(index) {
            let known = ready(plan, selected, &assessed);
            let known = known.filter(|(one, _)| *one == index || asked.insert(*one));
            ask_ahead(plan, known.collect::<Vec<_>>().into_iter(), store);
        }
        let step = &plan.steps[index];
        let behind = step
            .inputs
            .values()
            .find(|input| assessed[input].state != Foreseen::Fresh);
        let assessment = if let Some(&behind) = behind {
            let reason = Reason::Behind {
                stage: plan.steps[behind].name.clone(),
            };
            Assessment {
                step: index,
                state: Foreseen::Pending,
                reason,
                key: None,
                digest: None,
                fingerprint: None,
            }
        } else if !step.unfetched.is_empty() {
            Assessment {
                step: index,
                state: Foreseen::Run,
                reason: not_fetched(step),
                key: None,
                digest: None,
                fingerprint: None,
            }
        } else {
            let inputs = step
                .inputs
                .iter()
                .filter_map(|(field, input)| Some(((*field).to_owned(), assessed[input].digest?)));
            match judge(
                step,
                inputs.collect(),
                forced.contains(&index),
                store,
                &history,
            )? {
                Judgement::Stale {
                    fingerprint,
                    reason,
                } => Assessment {
                    step: index,
                    state: Foreseen::Run,
                    reason,
                    key: Some(fingerprint.key()),
                    digest: None,
                    fingerprint: Some(*fingerprint),
                },
                Judgement::Fresh { record, present } => {
                    if !present {
                        absent.insert(index);
                    }
                    let unplaced = match &step.placement {
                        Some(to) => {
                            let forced = forced.contains(&index);
                            place::wanting(to, plan, step, &record, store, forced)?
                        }
                        None => None,
                    };
                    let (state, reason) = match unplaced {
                        Some(reason) => (Foreseen::Run, reason),
                        None if present => (Foreseen::Fresh, Reason::UpToDate),
                        None => (Foreseen::Fresh, not_here(&record)),
                    };
                    Assessment {
                        step: index,
                        state,
                        reason,
                        key: Some(record.key),
                        digest: Some(record.digest),
                        fingerprint: Some(record.fingerprint),
                    }
                }
            }
        };
        assessed.insert(index, assessment);
    }
    demand(plan, &mut assessed, &absent, store);
    Ok(assessed.into_values().collect())
}

/// The steps that are not judged yet and whose inputs are fresh, with the digests of these.
fn ready<'p>(
    plan: &'p Plan,
    selected: &'p BTreeSet<usize>,
    assessed: &'p BTreeMap<usize, Assessment>,
) -> impl Iterator<Item = (usize, BTreeMap<String, Digest>)> + 'p {
    let fresh = |input: &usize| {
        let known = assessed.get(input)?;
        known.digest.filter(|_| known.state == Foreseen::Fresh)
    };
    let new = selected
        .iter()
        .filter(|index| !assessed.contains_key(*index));
    new.filter_map(move |&index| {
        let inputs = plan.steps[index].inputs.iter();
        let inputs = inputs.map(|(field, input)| Some(((*field).to_owned(), fresh(input)?)));
        Some((index, inputs.collect::<Option<_>>()?))
    })
}

/// A collected object comes back when a step that must run needs it, and so do the objects behind it. One that can be had
/// from elsewhere does not.
fn demand(
    plan: &Plan,
    assessed: &mut BTreeMap<usize, Assessment>,
    absent: &BTreeSet<usize>,
    store: &Store,
) {
    let lacking = |index: usize, digest: Option<Digest>| {
        absent.contains(&index) && !digest.is_some_and(|digest| store.can_bring(&digest))
    };
    let order: Vec<usize> = assessed.keys().rev().copied().collect();
    for index in order {
        // What is placed already is uploaded from there.
        let uploads = matches!(assessed[&index].reason, Reason::NotPublished { .. });
        let runs = assessed[&index].state == Foreseen::Run
            && !uploads
            && (assessed[&index].digest.is_none() || lacking(index, assessed[&index].digest));
        if !runs {
            continue;
        }
        for input in plan.steps[index].inputs.values() {
            if !lacking(*input, assessed.get(input).and_then(|one| one.digest)) {
                continue;
            }
            let name = plan.steps[index].name.clone();
            if let Some(needed) = assessed.get_mut(input) {
                needed.state = Foreseen::Run;
                match &mut needed.reason {
                    Reason::ObjectMissing { needed_by } => needed_by.push(name),
                    reason => {
                        *reason = Reason::ObjectMissing {
                            needed_by: vec![name],
                        }
                    }
                }
            }
        }
    }
}
