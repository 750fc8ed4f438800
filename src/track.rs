//! Following a run: the numbers of its trainings and evaluations, for TensorBoard and MLflow.
//!
//! What is followed is a *training*: it is known by its stage, its key and, in a sweep, its trial, and what evaluates its model
//! belongs to it. A [`Tracked`] observer hears what the terminal hears and hands it to a thread for each of those who follow.
//!
//! Promise: no training fails or waits because of them. What is told waits in a queue of bounded length; what finds no place
//! in it, or never arrives, is counted, and told of in one warning at the end ([`Tracker::finish`]). A training that goes on from a
//! checkpoint goes on in the curve that it had; what is not run tells nothing.
//!
//! Deliberately absent: what there is to tell of a training, which the stage says, and what a token is.

mod event_file;
mod mlflow;
mod origin;
mod queue;
mod tensorboard;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value};

use self::mlflow::Mlflow;
use self::queue::Worker;
use self::tensorboard::TensorBoard;
use crate::artifact::Kind;
use crate::fingerprint::Key;
use crate::hub;
use crate::outcome::{Outcome, Reason};
use crate::plan::{Plan, Step};
use crate::run::{Observer, RunError, scores_of};
use crate::spec::Pipeline;
use crate::stage::{Curves, Progress, Validation};
use crate::store::{StepRecord, Store};

/// All who follow.
pub struct Tracker {
    workers: Vec<Worker>,
    spec: Arc<Spec>,
}

/// What is known of a spec.
#[derive(Debug)]
struct Spec {
    pipeline: String,
    text: String,
    /// The git commit of its folder.
    commit: Option<String>,
}

/// A training that is followed.
#[derive(Debug)]
struct Training {
    spec: Arc<Spec>,
    stage: String,
    key: Key,
    trial: Option<String>,
    /// Those that are in the key.
    settings: Value,
    /// What only its store is called.
    store: String,
}

impl Training {
    /// `STAGE/KEY` with the first digits of the key, in a sweep `STAGE/trial-N-KEY`.
    fn name(&self) -> String {
        let key = self.key.short();
        match &self.trial {
            Some(trial) => format!("{}/{trial}-{key}", self.stage),
            None => format!("{}/{key}", self.stage),
        }
    }
}

/// Something that was told of a training.
#[derive(Debug)]
struct Entry {
    training: Arc<Training>,
    time: SystemTime,
    told: Told,
}

#[derive(Debug)]
enum Told {
    /// It begins after so many steps.
    Begun {
        after: u64,
    },
    Drawn {
        step: u64,
        numbers: Vec<(String, f64)>,
    },
    /// A stage scored its model.
    Evaluated {
        stage: String,
        numbers: Vec<(String, f64)>,
    },
    Ended(End),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Finished,
    Failed,
    Stopped,
}

impl Entry {
    /// How much it counts among what did not arrive.
    fn weight(&self) -> usize {
        match &self.told {
            Told::Drawn { numbers, .. } | Told::Evaluated { numbers, .. } => numbers.len(),
            Told::Begun { .. } | Told::Ended(_) => 0,
        }
    }
}

/// Where entries go.
trait Sink {
    /// Takes what was told of one training, as long as `goes_on` says so. It is told the same again after [`Trouble::ForNow`].
    fn take(
        &mut self,
        training: &Training,
        entries: &[Entry],
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), Trouble>;

    /// Whether it answers other things than those that it was in trouble with.
    fn is_well(&mut self) -> bool;

    /// How long it likes to be left alone between two helpings.
    fn pause(&self) -> Duration;
}

/// Why a sink did not take something, in words.
#[derive(Debug)]
enum Trouble {
    /// It is worth another attempt.
    ForNow(String),
    /// So many numbers of it will never be taken; where there are none, something else.
    ForGood { reason: String, lost: usize },
}

impl Tracker {
    /// Those who follow the runs of a pipeline; mostly nobody.
    pub fn start(pipeline: &Pipeline, commit: Option<&str>) -> Tracker {
        let mut workers = Vec::new();
        let settings = &pipeline.run.track;
        if let Some(folder) = &settings.tensorboard {
            let sink = TensorBoard::new(pipeline.folder().join(folder));
            workers.push(Worker::start(
                format!("TensorBoard's folder {folder}"),
                sink,
            ));
        }
        if let Some(mlflow) = &settings.mlflow {
            let sink = Mlflow::new(mlflow, &pipeline.name);
            workers.push(Worker::start(format!("MLflow at {}", mlflow.url), sink));
        }
        Tracker {
            workers,
            spec: Arc::new(Spec {
                pipeline: pipeline.name.clone(),
                text: pipeline.text(),
                commit: commit.map(str::to_owned),
            }),
        }
    }

    /// An observer of a run that passes everything on to `inner`. `trial` names what the run is in a sweep.
    pub fn observe<'a, P>(
        &'a self,
        inner: P,
        plan: &Plan,
        store: &'a Store,
        trial: Option<String>,
    ) -> Tracked<'a, P> {
        let makes = |step: &&Step, kind: Kind| step.stage.produces() == kind;
        let trainings = plan.steps.iter();
        let trainings =
            trainings.filter(|step| makes(step, Kind::Model) || makes(step, Kind::Encoder));
        let scored = |step: &Step| {
            let mut inputs = step.inputs.values().map(|&index| &plan.steps[index]);
            let model = inputs.find(|step| makes(step, Kind::Model))?;
            Some((step.name.clone(), model.name.clone()))
        };
        let evaluations = plan.steps.iter().filter(|step| makes(step, Kind::Scores));
        Tracked {
            inner,
            tracker: self,
            store,
            trial,
            settings: trainings
                .map(|step| (step.name.clone(), step.settings.clone()))
                .collect(),
            models: evaluations.filter_map(scored).collect(),
            trainings: Mutex::default(),
            origin: OnceLock::new(),
        }
    }

    fn tell(&self, training: &Arc<Training>, told: impl Fn() -> Told) {
        for worker in &self.workers {
            worker.put(Entry {
                training: Arc::clone(training),
                time: SystemTime::now(),
                told: told(),
            });
        }
    }

    /// Waits, within reason, until everything has arrived. What did not is in the warnings, one for each who follows.
    #[must_use]
    pub fn finish(mut self) -> Vec<String> {
        self.close()
    }

    fn close(&mut self) -> Vec<String> {
        for worker in &self.workers {
            worker.close();
        }
        let closed = Instant::now();
        let closing = self.workers.drain(..);
        closing.filter_map(|worker| worker.end(closed)).collect()
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.close();
    }
}

/// An observer that hears for those who follow.
pub struct Tracked<'a, P> {
    inner: P,
    tracker: &'a Tracker,
    store: &'a Store,
    trial: Option<String>,
    /// The settings of each stage that trains.
    settings: BTreeMap<String, Value>,
    /// Stage that evaluates → stage that trains.
    models: BTreeMap<String, String>,
    /// Those whose key is known, by their stage.
    trainings: Mutex<BTreeMap<String, Arc<Training>>>,
    /// What only the store is called, once asked for.
    origin: OnceLock<String>,
}

impl<P> Tracked<'_, P> {
    /// The training of a step, if it is one.
    fn training(&self, step: &Step, key: Key) -> Option<Arc<Training>> {
        let settings = self.settings.get(&step.name)?.clone();
        let new = Training {
            spec: Arc::clone(&self.tracker.spec),
            stage: step.name.clone(),
            key,
            trial: self.trial.clone(),
            settings,
            store: self.origin.get_or_init(|| origin::of(self.store)).clone(),
        };
        let mut known = self
            .trainings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let training = known
            .entry(step.name.clone())
            .or_insert_with(|| Arc::new(new));
        Some(Arc::clone(training))
    }

    fn ended(&self, step: &Step, record: &StepRecord) {
        let Some(key) = record.key else { return };
        if let Some(training) = self.training(step, key) {
            let end = match (record.outcome, &record.reason) {
                (Outcome::Built, _) => End::Finished,
                (Outcome::Failed, Reason::Interrupted) => End::Stopped,
                (Outcome::Failed, _) => End::Failed,
                _ => return,
            };
            self.tracker.tell(&training, || Told::Ended(end));
        }
        let model = self.models.get(&step.name);
        let known = self
            .trainings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let training = model.and_then(|model| known.get(model));
        if let (Some(training), Outcome::Built, Some(digest)) =
            (training, record.outcome, record.digest)
        {
            let pipeline = &self.tracker.spec.pipeline;
            let scores = scores_of(self.store, pipeline, &step.name, &digest);
            let numbers = numbers(scores.as_ref().and_then(Value::as_object));
            self.tracker.tell(training, || Told::Evaluated {
                stage: step.name.clone(),
                numbers: numbers.clone(),
            });
        }
    }
}

/// The metrics among what an evaluation says.
fn numbers(scores: Option<&Map<String, Value>>) -> Vec<(String, f64)> {
    let scores = scores.into_iter().flatten();
    let metrics = scores.filter(|(name, _)| *name != "rows");
    let numbers = metrics.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
    numbers.collect()
}

impl<P> Observer for Tracked<'_, P>
where
    P: Deref + Sync,
    P::Target: Observer,
{
    fn started<'a>(&'a self, step: &Step, key: Key, reason: &Reason) -> Box<dyn Progress + 'a> {
        let inner = self.inner.started(step, key, reason);
        if self.tracker.workers.is_empty() {
            return inner;
        }
        match self.training(step, key) {
            Some(training) => Box::new(Voice {
                inner,
                tracker: self.tracker,
                training,
            }),
            None => inner,
        }
    }

    fn waiting(&self, step: &Step) {
        self.inner.waiting(step);
    }

    fn waiting_for(&self, step: &Step, who: &str) {
        self.inner.waiting_for(step, who);
    }

    fn fetching<'a>(&'a self, step: &Step, place: &str) -> Box<dyn hub::Progress + Send + 'a> {
        self.inner.fetching(step, place)
    }

    fn finished(&self, step: &Step, record: &StepRecord) {
        if !self.tracker.workers.is_empty() {
            self.ended(step, record);
        }
        self.inner.finished(step, record);
    }

    fn failed(&self, step: &Step, error: &RunError) {
        self.inner.failed(step, error);
    }

    fn placed(&self, step: &Step, to: &Path) {
        self.inner.placed(step, to);
    }

    fn uploading<'a>(&'a self, step: &Step) -> Box<dyn hub::Progress + 'a> {
        self.inner.uploading(step)
    }

    fn published(&self, step: &Step, address: Option<&str>) {
        self.inner.published(step, address);
    }

    fn warned(&self, text: &str) {
        self.inner.warned(text);
    }
}

/// The voice of a training.
struct Voice<'a> {
    inner: Box<dyn Progress + 'a>,
    tracker: &'a Tracker,
    training: Arc<Training>,
}

impl Curves for Voice<'_> {
    fn begins(&self, after: u64) {
        let told = || Told::Begun { after };
        self.tracker.tell(&self.training, told);
    }

    fn drawn(&self, step: u64, mut numbers: Vec<(String, f64)>) {
        // What is not finite has no place in a curve.
        numbers.retain(|(_, number)| number.is_finite());
        if numbers.is_empty() {
            return;
        }
        self.tracker.tell(&self.training, || Told::Drawn {
            step,
            numbers: numbers.clone(),
        });
        for news in self.tracker.workers.iter().filter_map(Worker::news) {
            self.inner.say(&news);
        }
    }
}

impl Progress for Voice<'_> {
    fn start(&self, what: &str, total: u64, unit: &str) {
        self.inner.start(what, total, unit);
    }

    fn advance(&self, units: u64) {
        self.inner.advance(units);
    }

    fn state(&self, text: &str) {
        self.inner.state(text);
    }

    fn validated(&self, validation: &Validation) {
        self.inner.validated(validation);
    }

    fn curves(&self) -> Option<&dyn Curves> {
        Some(self)
    }

    fn say(&self, line: &str) {
        self.inner.say(line);
    }

    fn warn(&self, line: &str) {
        self.inner.warn(line);
    }
}

/// What the tests of those who follow are told.
#[cfg(test)]
mod sample {
    use super::{Arc, End, Entry, Spec, SystemTime, Told, Training, Value};
    use crate::fingerprint::{FORMAT, Fingerprint};

    pub(super) fn training(stage: &str) -> Arc<Training> {
        let spec = Spec {
            pipeline: "p".to_owned(),
            text: "version = 1\n".to_owned(),
            commit: None,
        };
        let fingerprint = Fingerprint {
            format: FORMAT,
            kind: "train".to_owned(),
            version: 1,
            settings: Value::Null,
            files: Default::default(),
            inputs: Default::default(),
        };
        Arc::new(Training {
            spec: Arc::new(spec),
            stage: stage.to_owned(),
            key: fingerprint.key(),
            trial: None,
            settings: serde_json::json!({ "epochs": 3 }),
            store: "here".to_owned(),
        })
    }

    pub(super) fn entry(training: &Arc<Training>, told: Told) -> Entry {
        Entry {
            training: Arc::clone(training),
            time: SystemTime::now(),
            told,
        }
    }

    pub(super) fn begun(training: &Arc<Training>) -> Entry {
        entry(training, Told::Begun { after: 0 })
    }

    /// Two numbers.
    pub(super) fn drawn(training: &Arc<Training>, step: u64) -> Entry {
        let numbers = vec![("a".to_owned(), 0.5), ("b".to_owned(), 1.5)];
        entry(training, Told::Drawn { step, numbers })
    }

    /// One number.
    pub(super) fn evaluated(training: &Arc<Training>) -> Entry {
        let (stage, numbers) = ("scores".to_owned(), vec![("f1".to_owned(), 0.5)]);
        entry(training, Told::Evaluated { stage, numbers })
    }

    pub(super) fn finished(training: &Arc<Training>) -> Entry {
        entry(training, Told::Ended(End::Finished))
    }
}
