//! The learning rate of each step.
//!
//! Source: `transformers.get_scheduler`, with the warm-up's length as its `Trainer` rounds it.
//!
//! Deliberately absent: any state. A rate is a function of the step's number, so that a run can begin anywhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate changes over the training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSettings {
    /// What follows the warm-up.
    pub name: ScheduleName,
    /// Share of all steps during which the rate rises from 0 to `optimizer.learning_rate`; the count is rounded up. It
    /// protects pretrained weights from the first, badly scaled steps.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub warmup: f64,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        ScheduleSettings {
            name: ScheduleName::Linear,
            warmup: 0.1,
        }
    }
}

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleName {
    /// Falls in a straight line and would reach 0 one step after the last.
    #[default]
    Linear,
    /// Stays.
    Constant,
}

/// The learning rate as a function of the step.
#[derive(Debug, Clone)]
pub struct Schedule {
    name: ScheduleName,
    peak: f64,
    warmup: u64,
    total: u64,
}

impl Schedule {
    /// The schedule of `total` steps whose highest rate is `peak`.
    pub fn new(settings: &ScheduleSettings, peak: f64, total: u64) -> Self {
        let warmup = (total as f64 * settings.warmup).ceil() as u64;
        Schedule {
            name: settings.name,
            peak,
            warmup,
            total,
        }
    }

    /// The rate for a step, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        let share = if step < self.warmup {
            step as f64 / self.warmup as f64
        } else {
            match self.name {
                ScheduleName::Linear => {
                    let left = self.total.saturating_sub(step) as f64;
                    left / self.total.saturating_sub(self.warmup).max(1) as f64
                }
                ScheduleName::Constant => 1.0,
            }
        };
        self.peak * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(name: ScheduleName, warmup: f64, total: u64) -> Vec<f64> {
        let schedule = Schedule::new(&ScheduleSettings { name, warmup }, 5e-5, total);
        (0..=total).map(|step| schedule.rate(step)).collect()
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-18,
                "{found} is not {expected}"
            );
        }
    }

    // The numbers are `get_scheduler(...).get_last_lr()` of transformers 5.23 before each step.

    #[test]
    fn linear_with_warm_up_is_that_of_transformers() {
        let thirty = rates(ScheduleName::Linear, 0.1, 30);
        assert_close(
            &thirty[..7],
            &[
                0.0,
                1.6666666666666667e-05,
                3.3333333333333335e-05,
                5e-05,
                4.814814814814815e-05,
                4.62962962962963e-05,
                4.4444444444444447e-05,
            ],
        );
        assert_close(&thirty[29..], &[1.8518518518518519e-06, 0.0]);
    }

    #[test]
    fn the_warm_up_is_rounded_up() {
        let expected = [
            0.0,
            5e-05,
            4.166666666666667e-05,
            3.3333333333333335e-05,
            2.5e-05,
            1.6666666666666667e-05,
            8.333333333333334e-06,
            0.0,
        ];
        assert_close(&rates(ScheduleName::Linear, 0.1, 7), &expected);
    }

    #[test]
    fn without_warm_up_the_first_step_has_the_full_rate() {
        assert_close(
            &rates(ScheduleName::Linear, 0.0, 4),
            &[5e-05, 3.7500000000000003e-05, 2.5e-05, 1.25e-05, 0.0],
        );
    }

    #[test]
    fn a_warm_up_of_the_whole_length_never_divides_by_zero() {
        let expected = [0.0, 1.6666666666666667e-05, 3.3333333333333335e-05, 0.0];
        assert_close(&rates(ScheduleName::Linear, 1.0, 3), &expected);
    }

    #[test]
    fn a_constant_rate_stays_after_its_warm_up() {
        assert_close(
            &rates(ScheduleName::Constant, 0.25, 5),
            &[0.0, 2.5e-05, 5e-05, 5e-05, 5e-05, 5e-05],
        );
    }
}
