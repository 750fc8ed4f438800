//! The training loop.
//!
//! Order, forward, loss, backward, clip, step; after each epoch, or as often as the recipe says, and after the last step the
//! validation rows are asked, and the weights that answer best so far are kept. Without validation rows the last weights are
//! kept. Memory: the weights that are kept cost a second copy, an average of weights a third.
//!
//! How a batch that is too large for the device goes through in parts is in `accumulate`, the average of weights in `average`,
//! what a recipe says in `settings`, how losses are scaled in `fp16` in `scaling`.
//!
//! In half precision the validation rows are asked in it as well, as transformers' `Trainer` does: it is the model as it is
//! trained, and as fast. Weights are 32-bit numbers throughout, and whoever asks the finished model does so in them.
//!
//! Batches are prepared ahead on another thread. Loss and gradient norm are brought to the host at once on a CPU and in `fp16`,
//! and every [`TOGETHER`] steps elsewhere, because asking a device for a number waits until it has done all that came before.
//!
//! Promise: the loop draws no random number itself. The order of rows and the dropout masks are functions of the seed and
//! of the epoch or step.
//!
//! Deliberately absent: files, bars, clocks. What happens is told through [`Event`]s.

mod accumulate;
mod average;
mod checkpointing;
mod scaling;
mod settings;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::mpsc::Receiver;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::Serialize;
use serde_json::{Map, Value};

pub use scaling::LossScale;
pub use settings::{EarlyStopping, EmaSettings, EvaluateEvery, Keep, Length, Recipe};

use self::accumulate::Accumulation;
use self::average::Average;
use super::batch::{self, Cut, Layout, Prepared, Rows};
use super::gradients::{Clip, read};
use super::optimizer::Optimizer;
use super::predict::predict_as;
use super::schedule::Schedule;
use super::{LearnError, Objective, Predictions};
use crate::device;
use crate::kernels::Precision;
use crate::metrics::Metric;
use crate::model::{Classifier, Mode};

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

/// Trains `model` (built on `device`, without autodiff).
///
/// On a device that computes beside the host, steps are told [`TOGETHER`] at a time, so that a break is noticed up to as many
/// steps late.
///
/// # Errors
/// Rows that cannot be learned from; a head that does not fit the objective; a loss or gradient that is not finite; a
/// failing device or judge; [`LearnError::Interrupted`] once `on` answers [`ControlFlow::Break`].
pub fn fit(
    model: Classifier,
    material: &Material,
    recipe: &Recipe,
    device: &Device,
    on: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<Fitted, LearnError> {
    let pace = Pace {
        layout: Layout::on(device, recipe.batch.padding, material.max_length),
        // In fp16 every step waits to hear whether its gradients overflowed.
        together: match recipe.precision {
            _ if device::is_cpu(device) => 1,
            Precision::Fp16 => 1,
            _ => TOGETHER,
        },
        fits: None,
        scale: LossScale::BEGIN,
    };
    fit_at(pace, model, material, recipe, device, on)
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
}

fn fit_at(
    pace: Pace,
    model: Classifier,
    material: &Material,
    recipe: &Recipe,
    device: &Device,
    on: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<Fitted, LearnError> {
    if !recipe.precision.runs_on(device) {
        return Err(LearnError::Precision {
            precision: recipe.precision,
        });
    }
    check(&model, material)?;
    let train = material.train;
    let cut = Cut {
        layout: pace.layout,
        pad_id: material.pad_id,
        max_length: material.max_length,
    };
    let at_once = recipe.batch.at_once();
    let lay_out = move |chosen: &[usize]| cut.parts(train, chosen, at_once);
    std::thread::scope(|scope| {
        let batches = batch::ahead(scope, train, &recipe.batch, recipe.seed, lay_out)?;
        let accumulation = Accumulation::new(cut, pace, material, recipe, device);
        let scale = (recipe.precision == Precision::Fp16).then_some(pace.scale);
        follow(
            model,
            &batches,
            (accumulation, scale),
            material,
            recipe,
            device,
            on,
        )
    })
}

/// The loop itself, over batches.
fn follow(
    model: Classifier,
    batches: &Receiver<Prepared>,
    (mut accumulation, mut scale): (Accumulation, Option<LossScale>),
    material: &Material,
    recipe: &Recipe,
    device: &Device,
    on: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<Fitted, LearnError> {
    let total = recipe
        .length
        .steps(material.train.rows(), recipe.batch.size);
    let mut schedule = Schedule::new(&recipe.schedule, recipe.optimizer.learning_rate, total);
    let mut optimizer = Optimizer::new(&recipe.optimizer, &model)?;
    let model = match &recipe.frozen {
        Some(frozen) => frozen.apply(model, 1),
        None => model,
    };
    let mut average = recipe.ema.map(Average::new);
    let metric = recipe
        .early_stopping
        .as_ref()
        .and_then(|stopping| stopping.metric)
        .unwrap_or(material.metric);

    let mut model = model.train();
    let mut kept: Option<Fitted> = None;
    let mut best: Option<f64> = None;
    let (mut step, mut skipped_steps, mut epoch, mut without_gain) = (0, 0, 0, 0);
    let mut stopped_early = false;
    let mut unread = Vec::new();
    let mut last = VecDeque::new();

    while step < total && !stopped_early {
        let Ok(batch) = batches.recv() else {
            break;
        };
        if let Some(frozen) = &recipe.frozen
            && batch.epoch > epoch
            && frozen.changes_in(batch.epoch)
        {
            model = frozen.apply(model, batch.epoch);
        }
        epoch = batch.epoch;
        let learning_rate = schedule.rate(step - skipped_steps);
        let ends_epoch = batch.ends_epoch;
        let loss_scale = scale.map(|scale| scale.factor());
        let factor = loss_scale.unwrap_or(1.0);
        let (loss, gradients) = accumulation.gradients(&model, batch, step, factor, on)?;
        let clip = gradients.clip(recipe.optimizer.max_grad_norm);
        let skipped = match (&mut scale, &clip) {
            (Some(scale), Some(clip)) => {
                let finite = clip.is_finite()?;
                scale.observe(finite);
                !finite
            }
            _ => false,
        };
        if skipped {
            skipped_steps += 1;
        } else {
            let share = clip.as_ref().and_then(|clip| clip.share.clone());
            model = optimizer.step(model, gradients, share, learning_rate);
            if let Some(average) = &mut average {
                average.add(&model);
            }
        }

        step += 1;
        unread.push(Unread {
            step,
            epoch,
            learning_rate,
            loss,
            clip,
            loss_scale,
            skipped,
        });
        let evaluates = step == total || recipe.evaluate_every.is_due(step, epoch, ends_epoch);
        if unread.len() >= accumulation.together() || evaluates || ends_epoch {
            let (records, end) = read_all(&mut unread)?;
            for record in records {
                tell(on, Event::Step(&record))?;
            }
            end?;
        }
        if let Some(scale) = scale.filter(LossScale::is_exhausted) {
            return Err(LearnError::Overflow {
                step,
                scale: scale.factor(),
            });
        }
        if !evaluates {
            continue;
        }
        let candidate = weights_to_judge(&model, average.as_ref());
        if recipe.keep_last > 0 {
            last.truncate(recipe.keep_last - 1);
            last.push_front(Snapshot {
                model: candidate.clone(),
                step,
                epoch,
            });
        }
        let Some(rows) = material.validation else {
            continue;
        };
        let tokens = (recipe.batch.evaluation_size as usize).saturating_mul(material.max_length);
        let answers = predict_as(
            &Mode::EVALUATE.in_precision(recipe.precision),
            &candidate,
            rows,
            material.pad_id,
            tokens,
            device,
            &mut |rows| on(Event::Rows(rows)),
        )?;
        let judgement = (material.judge)(&candidate, &answers)?;
        let record = ValidationRecord {
            step,
            epoch,
            validation: judgement.scores,
        };
        tell(on, Event::Validation(&record))?;

        let score = score(&record.validation, metric);
        schedule.observe(score, metric);
        let better = best.is_none_or(|best| metric.improves(score, best));
        if let Some(stopping) = &recipe.early_stopping {
            let gained =
                better && best.is_none_or(|best| (score - best).abs() > stopping.minimum_gain);
            without_gain = if gained { 0 } else { without_gain + 1 };
            stopped_early = without_gain >= stopping.patience && step < total;
        }
        if better {
            best = Some(score);
        }
        if better || recipe.keep == Keep::Last {
            let scores = Some(record.validation);
            kept = Some(Fitted {
                model: candidate,
                best_epoch: epoch,
                best_step: step,
                scores,
                thresholds: judgement.thresholds,
                steps: step,
                skipped: skipped_steps,
                stopped_early,
                last: Vec::new(),
            });
        }
    }

    let last = last.into_iter().rev().collect();
    Ok(match kept {
        Some(kept) => Fitted {
            steps: step,
            skipped: skipped_steps,
            stopped_early,
            last,
            ..kept
        },
        None => Fitted {
            model: weights_to_judge(&model, average.as_ref()),
            best_epoch: epoch,
            best_step: step,
            scores: None,
            thresholds: None,
            steps: step,
            skipped: skipped_steps,
            stopped_early,
            last,
        },
    })
}

/// The model without autodiff, with the average of its weights where there is one.
fn weights_to_judge(model: &Classifier, average: Option<&Average>) -> Classifier {
    let plain = model.valid();
    match average {
        Some(average) => average.put_into(plain),
        None => plain,
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

/// A step whose loss is still on the device.
struct Unread {
    step: u64,
    epoch: u64,
    learning_rate: f64,
    /// `[1]`.
    loss: Tensor<1>,
    clip: Option<Clip>,
    loss_scale: Option<f64>,
    skipped: bool,
}

/// Brings losses and gradient norms to the host, all at once: the one place where the loop waits for the device. The
/// records end before the first step with a number that is not finite, and that is the error beside them.
fn read_all(
    unread: &mut Vec<Unread>,
) -> Result<(Vec<StepRecord>, Result<(), LearnError>), LearnError> {
    let both = |step: &Unread| {
        let norm = step.clip.as_ref().map(|clip| clip.norm.clone());
        [step.loss.clone(), norm.unwrap_or(step.loss.zeros_like())]
    };
    let numbers = Tensor::cat(unread.iter().flat_map(both).collect(), 0); // [2 * steps]
    let numbers = read(numbers, "training")?;
    let (pairs, _) = numbers.as_chunks::<2>();
    let mut records = Vec::with_capacity(unread.len());
    for (unread, &[loss, gradient_norm]) in unread.drain(..).zip(pairs) {
        let Unread {
            step,
            epoch,
            learning_rate,
            loss_scale,
            skipped,
            ..
        } = unread;
        for (what, value) in [("loss", loss), ("gradient norm", gradient_norm)] {
            if !value.is_finite() && !skipped {
                let diverged = LearnError::Diverged {
                    step,
                    what,
                    value,
                    learning_rate,
                };
                return Ok((records, Err(diverged)));
            }
        }
        records.push(StepRecord {
            step,
            epoch,
            loss,
            learning_rate,
            gradient_norm,
            loss_scale,
            skipped,
        });
    }
    Ok((records, Ok(())))
}

fn score(scores: &Map<String, Value>, metric: Metric) -> f64 {
    scores
        .get(metric.name())
        .and_then(Value::as_f64)
        .unwrap_or(f64::NAN)
}

fn tell(on: &mut dyn FnMut(Event) -> ControlFlow<()>, event: Event) -> Result<(), LearnError> {
    match on(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(LearnError::Interrupted),
    }
}

#[cfg(test)]
mod tests;
