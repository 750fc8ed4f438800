//! The loop: batch after batch, and between them the validation rows.
//!
//! Between a step and the evaluation behind it, and between that and the next step, all that it is can be told as a [`Held`]
//! state. What stops the loop stops it only there, so that no step and no line of a log is lost or done twice.
//!
//! Deliberately absent: how gradients come about, which is `accumulate`'s.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde_json::{Map, Value};

use super::accumulate::Accumulation;
use super::average::Average;
use super::state::{self, Held, Kept, Numbers, State};
use super::{
    Event, Fitted, Keep, LossScale, Material, Recipe, Snapshot, StepRecord, ValidationRecord,
};
use crate::learn::batch::Prepared;
use crate::learn::gradients::{Clip, read};
use crate::learn::predict::predict_as;
use crate::learn::{Frozen, Gradients, LearnError, Optimizer, Schedule};
use crate::metrics::Metric;
use crate::model::{Classifier, Mode};

/// A training at a step.
pub(super) struct Training<'a> {
    /// With autodiff.
    model: Classifier,
    accumulation: Accumulation<'a>,
    optimizer: Optimizer,
    schedule: Schedule,
    scale: Option<LossScale>,
    average: Option<Average>,
    /// Steps taken, and how many of them were left out.
    pub(super) step: u64,
    skipped: u64,
    epoch: u64,
    /// Whether the last step was the last of its epoch.
    ends_epoch: bool,
    /// Whether the validation rows are to be asked before the next step.
    evaluates: bool,
    best: Option<f64>,
    without_gain: u32,
    stopped_early: bool,
    kept: Option<Fitted>,
    /// The newest first.
    last: VecDeque<Snapshot>,
    unread: Vec<Unread>,
    /// See [`StepRecord::groups`].
    groups: Arc<[(String, f64)]>,
    total: u64,
    metric: Metric,
    material: &'a Material<'a>,
    recipe: &'a Recipe,
    device: &'a Device,
}

impl<'a> Training<'a> {
    /// At its first step, or where `from` left it. `model` is without autodiff.
    ///
    /// # Errors
    /// A group's pattern that fits no parameter; a state of another training.
    pub(super) fn begin(
        model: Classifier,
        from: Option<State>,
        (mut accumulation, scale): (Accumulation<'a>, Option<LossScale>),
        material: &'a Material<'a>,
        recipe: &'a Recipe,
        device: &'a Device,
    ) -> Result<Self, LearnError> {
        let total = recipe
            .length
            .steps(material.train.rows(), recipe.batch.size);
        let mut schedule = Schedule::new(&recipe.schedule, recipe.optimizer.learning_rate, total);
        let mut optimizer = Optimizer::new(&recipe.optimizer, &model)?;
        let groups = optimizer.groups().into();
        let mut average = recipe.ema.map(Average::new);
        let metric = recipe
            .early_stopping
            .as_ref()
            .and_then(|stopping| stopping.metric)
            .unwrap_or(material.metric);
        let learning = |model, epoch| learning(model, recipe.frozen.as_ref(), epoch);
        let Some(state) = from else {
            return Ok(Training {
                model: learning(model, 1),
                accumulation,
                optimizer,
                schedule,
                scale,
                average,
                step: 0,
                skipped: 0,
                epoch: 0,
                ends_epoch: false,
                evaluates: false,
                best: None,
                without_gain: 0,
                stopped_early: false,
                kept: None,
                last: VecDeque::new(),
                unread: Vec::new(),
                groups,
                total,
                metric,
                material,
                recipe,
                device,
            });
        };
        let numbers = &state.numbers;
        schedule = schedule.with_plateau(numbers.plateau);
        optimizer = optimizer.with_memory(state.memory(recipe.optimizer.name, device)?);
        if let Some(average) = &mut average {
            average.weights = state.average(device);
        }
        accumulation.at_once = numbers.at_once.min(accumulation.at_once);
        let kept = numbers.kept.clone().map(|kept| {
            Ok::<_, LearnError>(Fitted {
                model: state.put(state::KEPT, model.clone(), device)?,
                best_epoch: kept.epoch,
                best_step: kept.step,
                scores: kept.scores,
                thresholds: kept.thresholds,
                steps: numbers.step,
                skipped: numbers.skipped,
                stopped_early: numbers.stopped_early,
                last: Vec::new(),
            })
        });
        let last = state.snapshots(&model, device)?;
        Ok(Training {
            kept: kept.transpose()?,
            last: last.into_iter().rev().collect(),
            model: learning(
                state.put(state::MODEL, model, device)?,
                numbers.epoch.max(1),
            ),
            accumulation,
            optimizer,
            schedule,
            scale: numbers.scale.or(scale),
            average,
            step: numbers.step,
            skipped: numbers.skipped,
            epoch: numbers.epoch,
            ends_epoch: false,
            evaluates: numbers.evaluates,
            best: numbers.best.map(f64::from_bits),
            without_gain: numbers.without_gain,
            stopped_early: numbers.stopped_early,
            unread: Vec::new(),
            groups,
            total,
            metric,
            material,
            recipe,
            device,
        })
    }

    /// Goes on to the end, or to where it is stopped. `batches` begins with the batch of the next step.
    pub(super) fn go(
        mut self,
        batches: &Receiver<Prepared>,
        every: Option<u64>,
        on: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> (Self, Result<(), LearnError>) {
        let is_due = |step: u64| every.is_some_and(|every| step.is_multiple_of(every.max(1)));
        while self.evaluates || (self.step < self.total && !self.stopped_early) {
            if !self.evaluates {
                let Ok(batch) = batches.recv() else {
                    break;
                };
                self = match self.look_back(batch, on) {
                    Ok(back) => self.step(back),
                    Err(error) => return (self, Err(error)),
                };
                if let Err(error) = self.tell_steps(is_due(self.step), on) {
                    return (self, Err(error));
                }
            }
            if self.evaluates
                && let Err(error) = self.evaluate(on)
            {
                return (self, Err(error));
            }
            if is_due(self.step)
                && self.step < self.total
                && let Err(error) = tell(on, Event::State(Box::new(self.held())))
            {
                return (self, Err(error));
            }
        }
        (self, Ok(()))
    }

    /// Forward and back through the next batch.
    fn look_back(
        &mut self,
        batch: Prepared,
        on: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Back, LearnError> {
        let (epoch, ends_epoch) = (batch.epoch, batch.ends_epoch);
        if let Some(frozen) = &self.recipe.frozen
            && epoch > self.epoch
            && frozen.changes_in(epoch)
        {
            self.model = frozen.apply(self.model.clone(), epoch);
        }
        let rows = batch.rows.len();
        let lengths = batch
            .rows
            .iter()
            .map(|&row| self.material.train.length(row));
        let tokens = lengths.sum();
        let learning_rate = self.schedule.rate(self.step - self.skipped);
        let loss_scale = self.scale.map(|scale| scale.factor());
        let factor = loss_scale.unwrap_or(1.0);
        let (loss, gradients) =
            self.accumulation
                .gradients(&self.model, batch, self.step, factor, on)?;
        let clip = gradients.clip(self.recipe.optimizer.max_grad_norm);
        let skipped = match (&mut self.scale, &clip) {
            (Some(scale), Some(clip)) => {
                let finite = clip.is_finite()?;
                scale.observe(finite);
                !finite
            }
            _ => false,
        };
        Ok(Back {
            gradients,
            ends_epoch,
            unread: Unread {
                step: self.step + 1,
                epoch,
                learning_rate,
                loss,
                clip,
                loss_scale,
                skipped,
                rows,
                tokens,
            },
        })
    }

    /// Takes the step. The model is handed through whole, so that nobody else holds its weights and they change in place.
    fn step(mut self, back: Back) -> Self {
        let Back {
            gradients,
            ends_epoch,
            unread,
        } = back;
        let Unread {
            step,
            epoch,
            learning_rate,
            skipped,
            ..
        } = unread;
        if skipped {
            self.skipped += 1;
        } else {
            let share = unread.clip.as_ref().and_then(|clip| clip.share.clone());
            self.model = self
                .optimizer
                .step(self.model, gradients, share, learning_rate);
            if let Some(average) = &mut self.average {
                average.add(&self.model);
            }
        }
        (self.step, self.epoch, self.ends_epoch) = (step, epoch, ends_epoch);
        let evaluate_every = self.recipe.evaluate_every;
        self.evaluates = step == self.total || evaluate_every.is_due(step, epoch, ends_epoch);
        self.unread.push(unread);
        self
    }

    /// Tells the steps that were not told yet, once it is worth waiting for the device: all of them, whatever the answers.
    fn tell_steps(
        &mut self,
        at_once: bool,
        on: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<(), LearnError> {
        let many = self.unread.len() >= self.accumulation.together();
        let mut heard = ControlFlow::Continue(());
        if many || self.evaluates || self.ends_epoch || at_once {
            let (records, end) = read_all(&mut self.unread, &self.groups)?;
            for record in records {
                if on(Event::Step(&record)).is_break() {
                    heard = ControlFlow::Break(());
                }
            }
            end?;
        }
        if let Some(scale) = self.scale.filter(LossScale::is_exhausted) {
            return Err(LearnError::Overflow {
                step: self.step,
                scale: scale.factor(),
            });
        }
        stop(heard)
    }

    /// Tells the steps that were not told yet, whatever the answers; whether all of them were good.
    pub(super) fn tells_the_rest(&mut self, on: &mut dyn FnMut(Event) -> ControlFlow<()>) -> bool {
        if self.unread.is_empty() {
            return true;
        }
        let told = self.tell_steps(true, on);
        matches!(told, Ok(()) | Err(LearnError::Interrupted))
    }

    /// Asks the validation rows, and keeps the weights that answer best.
    fn evaluate(&mut self, on: &mut dyn FnMut(Event) -> ControlFlow<()>) -> Result<(), LearnError> {
        let (recipe, material) = (self.recipe, self.material);
        let (step, epoch) = (self.step, self.epoch);
        let candidate = weights_to_judge(&self.model, self.average.as_ref());
        let judgement = match material.validation {
            None => None,
            Some(rows) => {
                let size = recipe.batch.evaluation_size as usize;
                let answers = predict_as(
                    &Mode::EVALUATE.in_precision(recipe.precision),
                    &candidate,
                    rows,
                    material.pad_id,
                    size.saturating_mul(material.max_length),
                    self.device,
                    &mut |rows| on(Event::Rows(rows)),
                )?;
                Some((material.judge)(&candidate, &answers)?)
            }
        };
        // From here on it is done whole, whatever the answers.
        self.evaluates = false;
        if recipe.keep_last > 0 {
            self.last.truncate(recipe.keep_last - 1);
            self.last.push_front(Snapshot {
                model: candidate.clone(),
                step,
                epoch,
            });
        }
        let Some(judgement) = judgement else {
            return Ok(());
        };
        let record = ValidationRecord {
            step,
            epoch,
            validation: judgement.scores,
        };
        let heard = on(Event::Validation(&record));
        let metric = self.metric;
        let score = score(&record.validation, metric);
        self.schedule.observe(score, metric);
        let best = self.best;
        let better = best.is_none_or(|best| metric.improves(score, best));
        if let Some(stopping) = &recipe.early_stopping {
            let gained =
                better && best.is_none_or(|best| (score - best).abs() > stopping.minimum_gain);
            self.without_gain = if gained { 0 } else { self.without_gain + 1 };
            self.stopped_early = self.without_gain >= stopping.patience && step < self.total;
        }
        if better {
            self.best = Some(score);
        }
        if better || recipe.keep == Keep::Last {
            self.kept = Some(Fitted {
                model: candidate,
                best_epoch: epoch,
                best_step: step,
                scores: Some(record.validation),
                thresholds: judgement.thresholds,
                steps: step,
                skipped: self.skipped,
                stopped_early: self.stopped_early,
                last: Vec::new(),
            });
        }
        stop(heard)
    }

    /// All that it is now. There must be no step that was not told.
    pub(super) fn held(&self) -> Held {
        let mut tensors = BTreeMap::new();
        let mut memory_steps = BTreeMap::new();
        state::hold(&mut tensors, state::MODEL, &self.model.valid());
        state::hold_memory(&mut tensors, &mut memory_steps, self.optimizer.memory());
        for (name, weight) in self.average.iter().flat_map(|average| &average.weights) {
            tensors.insert(format!("{}{name}", state::AVERAGE), weight.clone());
        }
        if let Some(kept) = &self.kept {
            state::hold(&mut tensors, state::KEPT, &kept.model);
        }
        let oldest_first = || self.last.iter().rev();
        for (number, snapshot) in oldest_first().enumerate() {
            state::hold(&mut tensors, &state::last(number), &snapshot.model);
        }
        let kept = self.kept.as_ref().map(|kept| Kept {
            epoch: kept.best_epoch,
            step: kept.best_step,
            scores: kept.scores.clone(),
            thresholds: kept.thresholds.clone(),
        });
        Held {
            numbers: Numbers {
                step: self.step,
                skipped: self.skipped,
                epoch: self.epoch,
                evaluates: self.evaluates,
                stopped_early: self.stopped_early,
                without_gain: self.without_gain,
                best: self.best.map(f64::to_bits),
                plateau: self.schedule.plateau(),
                scale: self.scale,
                at_once: self.accumulation.at_once,
                memory_steps,
                kept,
                last: oldest_first().map(|last| (last.step, last.epoch)).collect(),
            },
            tensors,
        }
    }

    pub(super) fn fitted(self) -> Fitted {
        let kept = match self.kept {
            Some(kept) => kept,
            None => Fitted {
                model: weights_to_judge(&self.model, self.average.as_ref()),
                best_epoch: self.epoch,
                best_step: self.step,
                scores: None,
                thresholds: None,
                steps: self.step,
                skipped: self.skipped,
                stopped_early: self.stopped_early,
                last: Vec::new(),
            },
        };
        Fitted {
            steps: self.step,
            skipped: self.skipped,
            stopped_early: self.stopped_early,
            last: self.last.into_iter().rev().collect(),
            ..kept
        }
    }
}

/// `model` (without autodiff) as it learns in an epoch, with autodiff.
pub(super) fn learning(model: Classifier, frozen: Option<&Frozen>, epoch: u64) -> Classifier {
    let model = match frozen {
        Some(frozen) => frozen.apply(model, epoch),
        None => model,
    };
    model.train()
}

/// The model without autodiff, with the average of its weights where there is one.
fn weights_to_judge(model: &Classifier, average: Option<&Average>) -> Classifier {
    let plain = model.valid();
    match average {
        Some(average) => average.put_into(plain),
        None => plain,
    }
}

/// What a batch gave.
struct Back {
    gradients: Gradients,
    ends_epoch: bool,
    unread: Unread,
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
    rows: usize,
    tokens: usize,
}

/// Brings losses and gradient norms to the host, all at once: the one place where the loop waits for the device. The
/// records end before the first step with a number that is not finite, and that is the error beside them.
fn read_all(
    unread: &mut Vec<Unread>,
    groups: &Arc<[(String, f64)]>,
) -> Result<(Vec<StepRecord>, Result<(), LearnError>), LearnError> {
    let both = |step: &Unread| {
        let norm = step.clip.as_ref().map(|clip| clip.norm.clone());
        [step.loss.clone(), norm.unwrap_or(step.loss.zeros_like())]
    };
    let numbers = Tensor::cat(unread.iter().flat_map(both).collect(), 0); // [2 * steps]
    let numbers = read(numbers, "training")?;
    let (pairs, _) = numbers.as_chunks::<2>();
    let mut records = Vec::with_capacity(unread.len());
    let mut left = unread.len();
    for (unread, &[loss, gradient_norm]) in unread.drain(..).zip(pairs) {
        let Unread {
            step,
            epoch,
            learning_rate,
            loss_scale,
            skipped,
            rows,
            tokens,
            ..
        } = unread;
        left -= 1;
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
            rows,
            tokens,
            more: left > 0,
            groups: Arc::clone(groups),
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

pub(super) fn tell(
    on: &mut dyn FnMut(Event) -> ControlFlow<()>,
    event: Event,
) -> Result<(), LearnError> {
    stop(on(event))
}

fn stop(heard: ControlFlow<()>) -> Result<(), LearnError> {
    match heard {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(LearnError::Interrupted),
    }
}
