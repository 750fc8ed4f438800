//! The learning rate of each step.
//!
//! Sources: `transformers.get_scheduler`, with the warm-up's length as its `Trainer` rounds it; `step` and
//! `reduce_on_plateau` are `StepLR`, `MultiStepLR` and `ReduceLROnPlateau` of PyTorch, after the same warm-up.
//!
//! A rate is a function of the step's number, so that a run can begin anywhere. The one exception follows the validation
//! scores it is told of ([`Schedule::observe`]); what it remembers can be taken out and put back ([`Plateau`]).

use std::f64::consts::PI;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metrics::Metric;

/// Where neither `warmup` nor `warmup_steps` is stated.
const WARMUP: f64 = 0.1;
const CYCLES: u32 = 2;
const POWER: f64 = 1.0;
const END: f64 = 1e-7;
const GAMMA: f64 = 0.1;
const FACTOR: f64 = 0.1;
const PATIENCE: u32 = 2;

/// How the learning rate changes over the training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSettings {
    /// What follows the warm-up.
    pub name: ScheduleName,
    /// Share of all steps during which the rate rises from 0 to `optimizer.learning_rate`; the count is rounded up. It
    /// protects pretrained weights from the first, badly scaled steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0), extend("default" = WARMUP))]
    pub warmup: Option<f64>,
    /// The same as a number of steps, in place of `warmup`: where the length of the training should not change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u32>,
    /// `cosine_with_restarts`: how often the rate falls, each time from the top (1 is `cosine`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000), extend("default" = CYCLES))]
    pub cycles: Option<u32>,
    /// `polynomial`: above 1 the rate falls early, below 1 late (1 is a straight line).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "default" = POWER), range(max = 100.0))]
    pub power: Option<f64>,
    /// `polynomial`: the rate that is reached at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 10.0), extend("default" = END))]
    pub end_learning_rate: Option<f64>,
    /// `step`: the rate falls each time so many steps are done, those of the warm-up among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub every: Option<u32>,
    /// `step`: in place of `every`, the shares of all steps after which the rate falls, such as `[0.5, 0.75]`; a count that
    /// is not whole is rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), inner(range(min = 0.0, max = 1.0)))]
    pub at: Option<Vec<f64>>,
    /// `step`: by what the rate is multiplied each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0, "default" = GAMMA))]
    pub gamma: Option<f64>,
    /// `reduce_on_plateau`: by what the rate is multiplied each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0, "default" = FACTOR))]
    pub factor: Option<f64>,
    /// `reduce_on_plateau`: how many evaluations in a row may bring no better score before the rate falls (PyTorch's
    /// default is 10, for trainings of many epochs).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = PATIENCE))]
    pub patience: Option<u32>,
    /// `reduce_on_plateau`: the rate does not fall below this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 10.0), extend("default" = 0.0))]
    pub minimum: Option<f64>,
}

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleName {
    /// Falls in a straight line and would reach 0 one step after the last.
    #[default]
    Linear,
    /// Stays: to compare steps with each other, or for a run whose length is not known.
    Constant,
    /// Falls as half a wave: slowly, then fast, then slowly; it stays high longer than `linear`.
    Cosine,
    /// Falls as half a wave `cycles` times, each time from the top: to leave a poor minimum.
    CosineWithRestarts,
    /// Falls to `end_learning_rate` along a `power` of the time that is left.
    Polynomial,
    /// Falls with the root of the step's number: for long trainings whose end is open.
    InverseSqrt,
    /// Falls by `gamma` `every` so many steps, or `at` shares of the whole.
    Step,
    /// Falls by `factor` when the validation score has not become better for `patience` evaluations; the score is the one
    /// by which the best weights are chosen, and better means by a ten-thousandth of itself.
    ReduceOnPlateau,
}

impl ScheduleName {
    /// In specs.
    pub fn name(self) -> &'static str {
        match self {
            ScheduleName::Linear => "linear",
            ScheduleName::Constant => "constant",
            ScheduleName::Cosine => "cosine",
            ScheduleName::CosineWithRestarts => "cosine_with_restarts",
            ScheduleName::Polynomial => "polynomial",
            ScheduleName::InverseSqrt => "inverse_sqrt",
            ScheduleName::Step => "step",
            ScheduleName::ReduceOnPlateau => "reduce_on_plateau",
        }
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What `reduce_on_plateau` remembers: all that there is to save of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// The rate after the warm-up.
    pub rate: f64,
    /// The best score so far.
    pub best: Option<f64>,
    /// Evaluations since then.
    pub without_gain: u32,
}

/// The learning rate as a function of the step.
#[derive(Debug, Clone)]
pub struct Schedule {
    settings: ScheduleSettings,
    peak: f64,
    warmup: u64,
    total: u64,
    plateau: Plateau,
}

/// PyTorch's: a score counts as better from this share of itself on, and a rate as lower from this on.
const GAIN: f64 = 1e-4;
const LOWER: f64 = 1e-8;
/// transformers': after how many steps `inverse_sqrt` begins to fall where there is no warm-up.
const TIMESCALE: u64 = 10_000;

impl Schedule {
    /// The schedule of `total` steps whose highest rate is `peak`.
    pub fn new(settings: &ScheduleSettings, peak: f64, total: u64) -> Self {
        let warmup = match settings.warmup_steps {
            Some(steps) => u64::from(steps),
            None => (total as f64 * settings.warmup.unwrap_or(WARMUP)).ceil() as u64,
        };
        Schedule {
            settings: settings.clone(),
            peak,
            warmup,
            total,
            plateau: Plateau {
                rate: peak,
                best: None,
                without_gain: 0,
            },
        }
    }

    /// As one that had this memory left it; see [`plateau`](Self::plateau).
    pub fn with_plateau(self, plateau: Plateau) -> Self {
        Schedule { plateau, ..self }
    }

    /// What it remembers of the scores.
    pub fn plateau(&self) -> Plateau {
        self.plateau
    }

    /// Hears a validation score, to which only `reduce_on_plateau` listens: the rates of later steps may fall.
    ///
    /// Source: `torch.optim.lr_scheduler.ReduceLROnPlateau` with a relative threshold and no cool-down.
    pub fn observe(&mut self, score: f64, metric: Metric) {
        if self.settings.name != ScheduleName::ReduceOnPlateau {
            return;
        }
        let rises = metric.improves(1.0, 0.0);
        let better = self.plateau.best.is_none_or(|best| match rises {
            true => score > best * (1.0 + GAIN),
            false => score < best * (1.0 - GAIN),
        });
        if better && !score.is_nan() {
            self.plateau.best = Some(score);
            self.plateau.without_gain = 0;
        } else {
            self.plateau.without_gain += 1;
        }
        if self.plateau.without_gain > self.settings.patience.unwrap_or(PATIENCE) {
            let factor = self.settings.factor.unwrap_or(FACTOR);
            let minimum = self.settings.minimum.unwrap_or(0.0);
            let lower = (self.plateau.rate * factor).max(minimum);
            if self.plateau.rate - lower > LOWER {
                self.plateau.rate = lower;
            }
            self.plateau.without_gain = 0;
        }
    }

    /// The rate for a step, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        let settings = &self.settings;
        if step < self.warmup {
            // A plateau may come before the warm-up's end.
            let peak = match settings.name {
                ScheduleName::ReduceOnPlateau => self.plateau.rate,
                _ => self.peak,
            };
            return peak * (step as f64 / self.warmup as f64);
        }
        let length = self.total.saturating_sub(self.warmup).max(1) as f64;
        let progress = (step - self.warmup) as f64 / length;
        let share = match settings.name {
            ScheduleName::Linear => {
                let left = self.total.saturating_sub(step) as f64;
                left / length
            }
            ScheduleName::Constant => 1.0,
            ScheduleName::Cosine => 0.5 * (1.0 + (PI * progress.min(1.0)).cos()),
            ScheduleName::CosineWithRestarts if progress >= 1.0 => 0.0,
            ScheduleName::CosineWithRestarts => {
                let cycles = f64::from(settings.cycles.unwrap_or(CYCLES));
                0.5 * (1.0 + (PI * (cycles * progress % 1.0)).cos())
            }
            ScheduleName::Polynomial => {
                let end = settings.end_learning_rate.unwrap_or(END);
                let left = (1.0 - progress).max(0.0);
                let power = settings.power.unwrap_or(POWER);
                return (self.peak - end) * left.powf(power) + end;
            }
            ScheduleName::InverseSqrt => {
                let timescale = match self.warmup {
                    0 => TIMESCALE,
                    warmup => warmup,
                };
                let since = (step - self.warmup + timescale) as f64;
                1.0 / (since / timescale as f64).sqrt()
            }
            ScheduleName::Step => {
                let falls = match (settings.every, &settings.at) {
                    (Some(every), _) => step / u64::from(every.max(1)),
                    (None, Some(at)) => {
                        let places = at.iter().map(|share| self.place(*share));
                        places.filter(|&place| step >= place).count() as u64
                    }
                    (None, None) => 0,
                };
                let gamma = settings.gamma.unwrap_or(GAMMA);
                gamma.powi(i32::try_from(falls).unwrap_or(i32::MAX))
            }
            ScheduleName::ReduceOnPlateau => return self.plateau.rate,
        };
        self.peak * share
    }

    /// The step after which a share of all is done.
    fn place(&self, share: f64) -> u64 {
        (self.total as f64 * share).ceil() as u64
    }
}

/// How many points a curve has at most between its corners.
const POINTS: u64 = 100;

/// The rate at some steps, counted from 0, in their order: all of them, or where they are many, evenly chosen ones and those
/// where the curve has corners. What follows validation scores is shown as if these never stopped to improve.
pub fn curve(settings: &ScheduleSettings, peak: f64, total: u64) -> Vec<(u64, f64)> {
    let schedule = Schedule::new(settings, peak, total);
    let Some(last) = total.checked_sub(1) else {
        return Vec::new();
    };
    let mut steps: Vec<u64> = (0..=POINTS.min(last))
        .map(|point| {
            (u128::from(point) * u128::from(last) / u128::from(POINTS.min(last).max(1))) as u64
        })
        .collect();
    let mut corners = vec![schedule.warmup];
    if let (ScheduleName::Step, None, Some(at)) = (settings.name, settings.every, &settings.at) {
        corners.extend(at.iter().map(|&share| schedule.place(share)));
    }
    for corner in corners.into_iter().filter(|&corner| corner <= last) {
        steps.extend([corner.saturating_sub(1), corner]);
    }
    steps.sort_unstable();
    steps.dedup();
    steps
        .into_iter()
        .map(|step| (step, schedule.rate(step)))
        .collect()
}

#[cfg(test)]
mod tests;
