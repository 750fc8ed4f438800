//! The factor by which a loss grows before going back in `fp16`, so that small gradients do not vanish.
//!
//! Source: `torch.amp.GradScaler` with its defaults. The factor begins at 2¹⁶. A step whose gradients are not finite is left
//! out and halves it; 2000 steps in a row with finite gradients double it. It is a power of two throughout, so that scaling
//! rounds nothing. As in transformers' `Trainer`, a step that is left out counts as a step, but the schedule stands still.
//!
//! Unlike torch, the loop ends with an error below a lowest factor: where none helps, the forward pass itself overflows, and
//! training would go on to its end without a single step.

use serde::{Deserialize, Serialize};

/// Steps in a row with finite gradients after which the factor grows.
const INTERVAL: u32 = 2000;

/// Below it, something other than the factor is too large: the gradients would have to be beyond 10⁹ by themselves.
const LEAST: f64 = 1.0 / 16_384.0;

/// The factor, and how long it has held: all that there is to save.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    factor: f64,
    /// Steps since it last changed.
    steps: u32,
}

impl LossScale {
    /// Before the first step.
    pub const BEGIN: LossScale = LossScale::of(65_536.0);

    pub(super) const fn of(factor: f64) -> Self {
        LossScale { factor, steps: 0 }
    }

    /// By what the loss of the next step is multiplied.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Learns whether the gradients of a step were finite.
    pub(super) fn observe(&mut self, finite: bool) {
        if !finite {
            *self = LossScale::of(self.factor / 2.0);
            return;
        }
        self.steps += 1;
        if self.steps >= INTERVAL {
            let doubled = self.factor * 2.0;
            // In torch the factor is a 32-bit number, and stays where it is when doubling would make it infinite.
            let factor = if (doubled as f32).is_finite() {
                doubled
            } else {
                self.factor
            };
            *self = LossScale::of(factor);
        }
    }

    /// Whether no factor helps.
    pub(super) fn is_exhausted(&self) -> bool {
        self.factor < LEAST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.amp.GradScaler("cpu")` of PyTorch 2.15, asked after each `update()` whose step had, or had not, a gradient that
    /// is not finite: (steps, finite, factor after the last of them).
    const TORCH: [(u32, bool, f64); 9] = [
        (1, false, 32_768.0),
        (1_999, true, 32_768.0),
        (1, true, 65_536.0),
        (1_999, true, 65_536.0),
        (1, false, 32_768.0),
        (1_999, true, 32_768.0),
        (1, true, 65_536.0),
        (2, false, 16_384.0),
        (4_000, true, 65_536.0),
    ];

    #[test]
    fn the_factor_moves_as_torchs_does() {
        let mut scale = LossScale::BEGIN;
        assert_eq!(scale.factor(), 65_536.0);
        for (steps, finite, factor) in TORCH {
            (0..steps).for_each(|_| scale.observe(finite));
            assert_eq!(scale.factor(), factor, "after {steps} × {finite}");
        }
    }

    #[test]
    fn a_factor_stays_finite_in_32_bits_and_is_exhausted_only_far_below_one() {
        let mut scale = LossScale::of(2.0_f64.powi(127));
        (0..INTERVAL).for_each(|_| scale.observe(true));
        assert_eq!(scale.factor(), 2.0_f64.powi(127));
        let mut scale = LossScale::BEGIN;
        let halvings = std::iter::repeat_with(|| {
            scale.observe(false);
            scale.is_exhausted()
        });
        assert_eq!(halvings.take_while(|exhausted| !exhausted).count(), 30);
    }
}
