//! How long to learn, how often to look, when to stop, and what to keep.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernels::Precision;
use crate::learn::{BatchSettings, Frozen, OptimizerSettings, ScheduleSettings};
use crate::metrics::Metric;

/// How to learn.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    pub length: Length,
    pub batch: BatchSettings,
    pub optimizer: OptimizerSettings,
    pub schedule: ScheduleSettings,
    pub evaluate_every: EvaluateEvery,
    pub early_stopping: Option<EarlyStopping>,
    pub keep: Keep,
    /// Of how many evaluations the weights are handed out beside those.
    pub keep_last: usize,
    pub ema: Option<EmaSettings>,
    pub frozen: Option<Frozen>,
    /// Whether layers run a second time on the way back in place of being remembered.
    pub gradient_checkpointing: bool,
    pub precision: Precision,
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
    /// The validation score to watch. It also decides which weights are kept. Left out, as without
    /// `early_stopping`: the one that is usual for the task, such as accuracy for classification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// Training stops after so many evaluations in a row (see `evaluate_every`) without a better score.
    #[schemars(range(min = 1))]
    pub patience: u32,
    /// By how much a score must improve on the best one to count as better here. Weights are kept for any improvement.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub minimum_gain: f64,
}

/// How often the validation rows are asked. After the last step they always are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateEvery {
    /// After so many optimizer steps: where an epoch is long, and the best weights may lie within it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub steps: Option<u32>,
    /// After so many epochs: where an epoch is short beside the validation rows. Left out, as `steps`: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub epochs: Option<u32>,
}

impl EvaluateEvery {
    /// Whether it is time after a step of an epoch, both counted from 1.
    pub fn is_due(self, step: u64, epoch: u64, ends_epoch: bool) -> bool {
        match self.steps {
            Some(steps) => step.is_multiple_of(u64::from(steps.max(1))),
            None => ends_epoch && epoch.is_multiple_of(u64::from(self.epochs.unwrap_or(1).max(1))),
        }
    }
}

/// Which weights come out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Those of the evaluation with the best validation score; without validation rows, the last.
    #[default]
    Best,
    /// Those of the last step, whatever the scores: for validation rows too few to choose by, or to compare lengths of training.
    Last,
}

/// An exponential moving average of the weights, which takes their place in evaluations and in what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmaSettings {
    /// What stays of the average at each step. The average is over about 1 / (1 - decay) steps, which should be a small part of
    /// all: 0.99 for some hundred steps, 0.999 for many thousands.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub decay: f64,
}
