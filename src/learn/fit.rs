//! The training loop.
//!
//! Order, forward, loss, backward, clip, step; after each epoch (and after the last step) the validation rows are asked,
//! and the weights that answer best so far are kept. Without validation rows the last weights are kept. Memory: the weights
//! that are kept cost a second copy.
//!
//! Promise: the loop draws no random number itself. The order of rows and the dropout masks are functions of the seed and
//! of the epoch or step.
//!
//! Deliberately absent: files, bars, clocks. What happens is told through [`Event`]s.

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::batch::{self, BatchSettings, Padding, Rows, padded};
use super::gradients::{Gradients, read};
use super::optimizer::{AdamW, OptimizerSettings};
use super::schedule::{Schedule, ScheduleSettings};
use super::{LearnError, cross_entropy, predict};
use crate::metrics::{self, Metric};
use crate::model::{Classifier, Mode};

/// What there is to learn from.
pub struct Material<'a> {
    pub train: &'a dyn Rows,
    pub validation: Option<&'a dyn Rows>,
    pub label_names: &'a [String],
    pub pad_id: u32,
    /// To which length `padding = "max_length"` pads.
    pub max_length: usize,
}

/// How to learn.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    pub length: Length,
    pub batch: BatchSettings,
    pub optimizer: OptimizerSettings,
    pub schedule: ScheduleSettings,
    pub early_stopping: Option<EarlyStopping>,
    pub seed: u64,
}

/// How long to learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many passes over the training rows.
    Epochs(u64),
    /// So many optimizer steps, over as many epochs as that takes.
    Steps(u64),
}

impl Length {
    /// The number of optimizer steps for `rows` training rows in batches of `batch_size`.
    pub fn steps(self, rows: usize, batch_size: u32) -> u64 {
        match self {
            Length::Epochs(epochs) => {
                epochs.saturating_mul(rows.div_ceil(batch_size.max(1) as usize) as u64)
            }
            Length::Steps(steps) => steps,
        }
    }
}

/// When to stop before the end, and by which score the best weights are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// The validation score to watch. It also decides which epoch's weights are kept; without `early_stopping`, accuracy
    /// does.
    #[serde(default = "accuracy")]
    pub metric: Metric,
    /// Training stops after so many epochs in a row without a better score.
    #[schemars(range(min = 1))]
    pub patience: u32,
    /// By how much a score must improve on the best one to count as better here. Weights are kept for any improvement.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub minimum_gain: f64,
}

fn accuracy() -> Metric {
    Metric::Accuracy
}

/// Something that the loop tells; the answer says whether to go on.
#[derive(Debug)]
pub enum Event<'a> {
    /// An optimizer step was taken.
    Step(&'a StepRecord),
    /// So many validation rows were answered.
    Rows(usize),
    /// All validation rows were answered and scored.
    Validation(&'a ValidationRecord),
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
    /// The L2 norm of all gradients before clipping.
    pub gradient_norm: f32,
}

/// The validation scores after an epoch, as they stand in the metrics log.
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
    /// Steps taken in all.
    pub steps: u64,
    /// Whether early stopping ended it.
    pub stopped_early: bool,
}

/// Trains `model` (built on `device`, without autodiff).
///
/// # Errors
/// Rows or labels that cannot be learned from; a loss or gradient that is not finite; a failing device;
/// [`LearnError::Interrupted`] once `on` answers [`ControlFlow::Break`].
pub fn fit(
    model: Classifier,
    material: &Material,
    recipe: &Recipe,
    device: &Device,
    on: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> Result<Fitted, LearnError> {
    let rows = material.train;
    let labels = training_labels(material)?;
    let validation = validation_labels(material)?;
    let total = recipe.length.steps(rows.rows(), recipe.batch.size);
    let schedule = Schedule::new(&recipe.schedule, recipe.optimizer.learning_rate, total);
    let mut optimizer = AdamW::new(&recipe.optimizer);
    let pad_to = (recipe.batch.padding == Padding::MaxLength).then_some(material.max_length);
    let metric = recipe
        .early_stopping
        .as_ref()
        .map_or(Metric::Accuracy, |stopping| stopping.metric);

    let mut model = model.train();
    let mut best: Option<Fitted> = None;
    let (mut step, mut epoch, mut epochs_without_gain) = (0, 0, 0);
    let mut stopped_early = false;

    while step < total && !stopped_early {
        epoch += 1;
        for chosen in batch::epoch(rows, &recipe.batch, recipe.seed, epoch) {
            if step == total {
                break;
            }
            let learning_rate = schedule.rate(step);
            let batch = padded(rows, &chosen, material.pad_id, pad_to, device);
            let targets: Vec<i32> = chosen.iter().map(|&row| labels[row] as i32).collect();
            let targets = Tensor::from_data(targets.as_slice(), device); // [batch]

            let logits = model.forward(
                &batch,
                &Mode::Train {
                    seed: recipe.seed,
                    step,
                },
            ); // [batch, labels]
            let loss = cross_entropy(logits, targets); // [1]
            let (gradients, norm) =
                Gradients::of(&loss, &model).clip(recipe.optimizer.max_grad_norm);
            model = optimizer.step(model, gradients, learning_rate);

            step += 1;
            let (loss, gradient_norm) = finite(loss, norm, step, learning_rate)?;
            tell(
                on,
                Event::Step(&StepRecord {
                    step,
                    epoch,
                    loss,
                    learning_rate,
                    gradient_norm,
                }),
            )?;
        }

        let (Some(rows), Some(labels)) = (material.validation, &validation) else {
            continue;
        };
        let candidate = model.valid();
        let size = recipe.batch.evaluation_size as usize;
        let answers = predict(
            &candidate,
            rows,
            material.pad_id,
            size,
            device,
            &mut |rows| on(Event::Rows(rows)),
        )?;
        let scores = metrics::classification(labels, &answers.labels(), material.label_names)
            .flat(answers.loss(labels));
        let record = ValidationRecord {
            step,
            epoch,
            validation: scores,
        };
        tell(on, Event::Validation(&record))?;

        let score = score(&record.validation, metric);
        let before = best
            .as_ref()
            .and_then(|best| best.scores.as_ref())
            .map(|scores| self::score(scores, metric));
        let better = before.is_none_or(|before| metric.improves(score, before));
        if let Some(stopping) = &recipe.early_stopping {
            let gained = better
                && before.is_none_or(|before| (score - before).abs() > stopping.minimum_gain);
            epochs_without_gain = if gained { 0 } else { epochs_without_gain + 1 };
            stopped_early = epochs_without_gain >= stopping.patience && step < total;
        }
        if better {
            let scores = Some(record.validation);
            best = Some(Fitted {
                model: candidate,
                best_epoch: epoch,
                best_step: step,
                scores,
                steps: step,
                stopped_early,
            });
        }
    }

    Ok(match best {
        Some(best) => Fitted {
            steps: step,
            stopped_early,
            ..best
        },
        None => Fitted {
            model: model.valid(),
            best_epoch: epoch,
            best_step: step,
            scores: None,
            steps: step,
            stopped_early,
        },
    })
}

fn training_labels(material: &Material) -> Result<Vec<u32>, LearnError> {
    let labels = batch::labels(material.train, "train", material.label_names.len())?;
    match labels.first() {
        None => Err(LearnError::NoRows { split: "train" }),
        Some(first) if labels.iter().all(|label| label == first) => Err(LearnError::OneLabel {
            split: "train",
            label: material
                .label_names
                .get(*first as usize)
                .cloned()
                .unwrap_or_default(),
        }),
        Some(_) => Ok(labels),
    }
}

fn validation_labels(material: &Material) -> Result<Option<Vec<u32>>, LearnError> {
    let Some(rows) = material.validation else {
        return Ok(None);
    };
    if rows.rows() == 0 {
        return Err(LearnError::NoRows {
            split: "validation",
        });
    }
    batch::labels(rows, "validation", material.label_names.len()).map(Some)
}

/// Brings loss and gradient norm to the host, together: the one place where a step waits for the device.
fn finite(
    loss: Tensor<1>,
    norm: Option<Tensor<1>>,
    step: u64,
    learning_rate: f64,
) -> Result<(f32, f32), LearnError> {
    let both = std::iter::once(loss.inner()).chain(norm).collect();
    let read = read(Tensor::cat(both, 0), "training")?; // [1 or 2]
    let (loss, norm) = (
        read.first().copied().unwrap_or(f32::NAN),
        read.get(1).copied().unwrap_or(0.0),
    );
    for (what, value) in [("loss", loss), ("gradient norm", norm)] {
        if !value.is_finite() {
            return Err(LearnError::Diverged {
                step,
                what,
                value,
                learning_rate,
            });
        }
    }
    Ok((loss, norm))
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
