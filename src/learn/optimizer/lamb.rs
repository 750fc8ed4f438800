//! LAMB: Adam's step, as long as the weights that it changes.
//!
//! Source: algorithm 2 of You et al., 2020, <https://arxiv.org/abs/1904.00962>, with φ the identity. Parameters that do not decay
//! by their kind (biases, LayerNorm) take Adam's own step, as in the authors' program, apex and timm; the numbers are
//! held to those of timm's `Lamb` without its own clipping.

use burn::tensor::Tensor;

use super::{Step, scaled};
use crate::kernels::{self, Moments};

impl Step<'_> {
    pub(super) fn lamb(
        &self,
        weight: Tensor<1>,
        moments: &mut Moments,
        gradient: Tensor<1>,
        share: Option<Tensor<1>>,
    ) -> Tensor<1> {
        let (beta1, beta2) = (self.settings.beta1, self.settings.beta2);
        let gradient = scaled(gradient, share);
        let (steps, mean, square) = moments.parts();
        let steps = steps.saturating_add(1);
        let mean = mean * beta1 + gradient.clone() * (1.0 - beta1);
        let square = square * beta2 + gradient.square() * (1.0 - beta2);
        *moments = Moments::from_parts(steps, mean.clone(), square.clone());

        let root = (1.0 - beta2.powi(steps)).sqrt();
        let divisor = square.sqrt() / root + self.settings.epsilon;
        let mut change = mean / (1.0 - beta1.powi(steps)) / divisor;
        if self.weight_decay != 0.0 {
            change = change + weight.clone() * self.weight_decay;
        }
        if self.adapts {
            let ratio = ratio(&weight, &change);
            change = change * ratio; // [elements] * [1]
        }
        weight - change * self.learning_rate
    }
}

/// ‖weight‖ / ‖change‖, `[1]`; 1 where one of them is zero, so that a weight of zeros can begin to move.
fn ratio(weight: &Tensor<1>, change: &Tensor<1>) -> Tensor<1> {
    let [weight, change] =
        [weight, change].map(|tensor| kernels::sum_of_squares(tensor.clone()).sqrt());
    let none = weight
        .clone()
        .equal_elem(0.0)
        .bool_or(change.clone().equal_elem(0.0));
    (weight / change).mask_fill(none, 1.0)
}
