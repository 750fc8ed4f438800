//! The training loop.
//!
//! Order, forward, loss, backward, clip, step; after each epoch, or as often as the recipe says, and after the last step the
//! validation rows are asked, and the weights that answer best so far are kept. Without validation rows the last weights are
//! kept. Memory: the weights that are kept cost a second copy, an average of weights a third.
//!
//! The loop itself is in `training`, all that it is between two steps in `state`. How a batch that is too large for the device
//! goes through in parts is in `accumulate`, the average of weights in `average`, what a recipe says in `settings`, how losses
//! are scaled in `fp16` in `scaling`.
//!
//! In half precision the validation rows are asked in it as well, as transformers' `Trainer` does: it is the model as it is
//! trained, and as fast. Weights are 32-bit numbers throughout, and whoever asks the finished model does so in them.
//!
//! Batches are prepared ahead on another thread. Loss and gradient norm are brought to the host at once on a CPU and in `fp16`,
//! and every [`TOGETHER`] steps elsewhere, because asking a device for a number waits until it has done all that came before.
//!
//! Promise: the loop draws no random number itself. The order of rows and the dropout masks are functions of the seed and
//! of the epoch or step. So a training that goes on from a [`State`] ends in the same bits as one that never stopped.
//!
//! Deliberately absent: files, bars, clocks. What happens is told through [`Event`]s.

mod accumulate;
mod average;
mod checkpointing;
mod reduce;
mod replicas;
mod scaling;
mod settings;
mod state;
mod training;

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::Device;
use serde::Serialize;
use serde_json::{Map, Value};

pub use scaling::LossScale;
pub use settings::{EarlyStopping, EmaSettings, EvaluateEvery, Keep, Length, Recipe};
pub use state::{Held, Kept, Numbers, State};

use self::accumulate::{Accumulation, Work};
use self::reduce::AllReduce;
use self::replicas::Replicas;
use self::training::{Training, tell};
use super::batch::{self, Cut, Layout, Rows};
use super::{LearnError, Objective, Predictions};
use crate::device;
use crate::kernels::Precision;
use crate::metrics::Metric;
use crate::model::Classifier;

/// Steps whose losses are read together from a device that computes beside the host.
const TOGETHER: usize = 10;

/// What there is to learn from.
pub struct Material<'a> {
    pub train: &'a dyn Rows,
    pub validation: Option<&'a dyn Rows>,
    pub objective: &'a Objective,
    /// Scores what a model answered for the validation rows.
    pub judge: &'a dyn Fn(&Classifier, &Predictions) -> Result<Judgement, LearnError>,
    /// By which score the best weights are kept, where the recipe does not say.
    pub metric: Metric,
    /// The names of labels, for messages; none where there are no labels.
    pub label_names: &'a [String],
    pub pad_id: u32,
    /// To which length `padding = "max_length"` pads.
    pub max_length: usize,
}

/// How good a model's answers are.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Metric name → value, the loss among them.
    pub scores: Map<String, Value>,
    /// What was tuned on the answers to turn them into decisions, to be kept with the weights.
    pub thresholds: Option<Vec<f64>>,
}

/// Something that the loop tells; the answer says whether to go on.
#[derive(Debug)]
pub enum Event<'a> {
    /// An optimizer step was taken, or left out.
    Step(&'a StepRecord),
    /// So many validation rows were answered.
    Rows(usize),
    /// All validation rows were answered and scored.
    Validation(&'a ValidationRecord),
    /// The device ran out of memory, and from now on so many rows go through it at once.
    Halved(usize),
    /// The devices cannot add up among themselves, for this reason, and do it by way of the host.
    ByTheHost(&'a LearnError),
    /// All that the training is now, where [`Course::every`] asks for it; also when the answer to another event was to stop, and
    /// when a worker beside the training's own device is lost, as the last that is told.
    State(Box<Held>),
}

/// Where a training begins, how often it tells all that it is, and what computes beside its own device.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// Where it goes on; with the first step without. It must be a state of a training with the same material and recipe.
    pub from: Option<State>,
    /// After every so many steps its state is told; never without.
    pub every: Option<u64>,
    /// Further devices, each of which computes a share of every batch.
    pub beside: Vec<Device>,
}

/// One optimizer step, as it stands in the metrics log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRecord {
    /// Counted from 1.
    pub step: u64,
    /// Counted from 1.
    pub epoch: u64,
    /// Of the batch, before the step.
    pub loss: f32,
    pub learning_rate: f64,
    /// The L2 norm of all gradients before clipping; in JSON `null` where it is not finite.
    pub gradient_norm: f32,
    /// In `fp16`, by what the loss was multiplied before it went back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// In `fp16`, whether the gradients were not finite at this scale, so that no weight was changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// Rows of the batch, and their tokens without padding; not in the log.
    #[serde(skip)]
    pub rows: usize,
    #[serde(skip)]
    pub tokens: usize,
    /// Whether it was read from the device together with the next one, which is told at once, whenever it was taken; not in the log.
    #[serde(skip)]
    pub more: bool,
    /// Which parameters learn at a rate of their own, and that rate over `learning_rate`; see [`groups`](super::Optimizer::groups). Not in the
    /// log.
    #[serde(skip)]
    pub groups: Arc<[(String, f64)]>,
}

/// The validation scores after an epoch or a step, as they stand in the metrics log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValidationRecord {
    pub step: u64,
    pub epoch: u64,
    /// Metric name → value, the loss among them.
    pub validation: Map<String, Value>,
}

/// What came out.
#[derive(Debug)]
pub struct Fitted {
    /// With the weights that were kept, without autodiff.
    pub model: Classifier,
    /// Where the kept weights come from; where there was validation, its scores.
    pub best_epoch: u64,
    pub best_step: u64,
    pub scores: Option<Map<String, Value>>,
    /// Its thresholds, where some were tuned.
    pub thresholds: Option<Vec<f64>>,
    /// Steps taken in all.
    pub steps: u64,
    /// How many of them were left out; see [`StepRecord::skipped`].
    pub skipped: u64,
    /// Whether early stopping ended it.
    pub stopped_early: bool,
    /// The weights at the last times that validation was due, as many as the recipe says, the oldest first.
    pub last: Vec<Snapshot>,
}

/// A model in the midst of its training, without autodiff.
#[derive(Debug)]
pub struct Snapshot {
    pub model: Classifier,
    pub step: u64,
    pub epoch: u64,
}

/// Trains `model` (built on `device`, without autodiff). Devices beside that one share each batch with it, and change nothing but
/// the rounding of sums; it alone validates and takes the steps.
///
/// On a device that computes beside the host, steps are told [`TOGETHER`] at a time, so that a break is noticed up to as many
/// steps late.
///
/// # Errors
/// Rows that cannot be learned from; a head that does not fit the objective; a loss or gradient that is not finite; a
/// failing device or judge; a state of another training; [`LearnError::Interrupted`] once `on` answers [`ControlFlow::Break`].
pub fn fit(
    model: Classifier,
    material: &Material,
    recipe: &Recipe,
    device: &Device,
    course: Course,
    on: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<Fitted, LearnError> {
    let pace = Pace {
        // One layout for all: that of a device that is no CPU, where there is one.
        layout: Layout::on(
            std::iter::once(device)
                .chain(&course.beside)
                .find(|device| !device::is_cpu(device))
                .unwrap_or(device),
            recipe.batch.padding,
            material.max_length,
        ),
        // In fp16 every step waits to hear whether its gradients overflowed.
        together: match recipe.precision {
            _ if device::is_cpu(device) => 1,
            Precision::Fp16 => 1,
            _ => TOGETHER,
        },
        fits: None,
        scale: LossScale::BEGIN,
        all: None,
    };
    fit_at(pace, model, material, recipe, device, course, on)
}

/// What suits a device.
#[derive(Clone, Copy)]
struct Pace<'a> {
    layout: Layout,
    /// Steps whose losses are read at once.
    together: usize,
    /// Whether a part of so many rows fits into the memory; `None` asks the device alone.
    fits: Option<&'a dyn Fn(usize) -> bool>,
    /// By what losses are multiplied at first, in `fp16`.
    scale: LossScale,
    /// How devices add up among themselves; `None` for their collectives, where they have some.
    all: Option<&'a AllReduce>,
}

fn fit_at(
    pace: Pace,
    model: Classifier,
    material: &Material,
    recipe: &Recipe,
    device: &Device,
    course: Course,
    on: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<Fitted, LearnError> {
    let Course {
        from,
        every,
        beside,
    } = course;
    let devices = || std::iter::once(device).chain(&beside);
    if let Some(device) = devices().find(|device| !recipe.precision.runs_on(device)) {
        return Err(LearnError::Precision {
            device: device::name(device),
            precision: recipe.precision,
        });
    }
    check(&model, material)?;
    let train = material.train;
    let cut = Cut {
        layout: pace.layout,
        pad_id: material.pad_id,
        max_length: material.max_length,
        devices: devices().count(),
    };
    let all_devices: Vec<Device> = devices().cloned().collect();
    let mut all = match pace.all {
        Some(all) => Some(Arc::clone(all)),
        None => device::have_collectives(&all_devices).then(reduce::of_devices),
    };
    let mut turn = all.is_some().then(replicas::turn);
    if let Some(Err(error)) = all.as_ref().map(|all| reduce::try_out(all, &all_devices)) {
        tell(on, Event::ByTheHost(&error))?;
        (all, turn) = (None, None);
    }
    let _turn = turn;
    let at_once = recipe.batch.at_once();
    let lay_out = move |epoch: u64, chosen: &[usize]| cut.parts(train, epoch, chosen, at_once);
    let taken = from.as_ref().map_or(0, |state| state.numbers.step);
    let learn = || {
        std::thread::scope(|scope| {
            let batches = batch::ahead(scope, train, &recipe.batch, recipe.seed, taken, lay_out)?;
            let replicas = Replicas::begin(
                scope,
                Work::new(material, recipe),
                recipe.frozen.as_ref(),
                &model,
                device,
                beside,
                all,
            )?;
            let accumulation = Accumulation::new(cut, pace, material, recipe, device, replicas);
            let scale = (recipe.precision == Precision::Fp16).then_some(pace.scale);
            let training =
                Training::begin(model, from, (accumulation, scale), material, recipe, device)?;
            let (mut training, outcome) = training.go(&batches, every, on);
            let whole = match &outcome {
                Err(LearnError::Interrupted) => true,
                // The step that another device did not do has changed nothing on this one.
                Err(LearnError::Worker { worker, .. }) => {
                    device::worker(device).as_ref() != Some(worker) && training.tells_the_rest(on)
                }
                _ => false,
            };
            if whole && every.is_some() && training.step > taken {
                // Its answer cannot be another one.
                let _ = on(Event::State(Box::new(training.held())));
            }
            outcome?;
            Ok(training.fitted())
        })
    };
    match device::worker(device) {
        // What is asked of one that is gone panics where nobody waits for an answer.
        Some(_) => reduce::guarded(device, learn),
        None => learn(),
    }
}

/// Whether the material can be learned from by this model, before anything is computed.
fn check(model: &Classifier, material: &Material) -> Result<(), LearnError> {
    let Material {
        train, objective, ..
    } = *material;
    objective.check_head(&model.head)?;
    let splits = [
        Some(("train", train)),
        material.validation.map(|rows| ("validation", rows)),
    ];
    for (split, rows) in splits.into_iter().flatten() {
        if rows.rows() == 0 {
            return Err(LearnError::NoRows {
                split: split.to_owned(),
            });
        }
        objective.check(rows, split, model.outputs())?;
    }
    if matches!(objective, Objective::Label(_))
        && let Some(first) = train.label(0)
        && (1..train.rows()).all(|row| train.label(row) == Some(first))
    {
        return Err(LearnError::OneLabel {
            split: "train".to_owned(),
            label: material
                .label_names
                .get(first as usize)
                .cloned()
                .unwrap_or_default(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
