//! AdamW and Adam.
//!
//! Sources: `torch.optim.AdamW` (Loshchilov and Hutter, 2019, <https://arxiv.org/abs/1711.05101>): decay decoupled from the
//! gradient, both moments bias-corrected, epsilon outside the root; `torch.optim.Adam` (Kingma and Ba, 2015,
//! <https://arxiv.org/abs/1412.6980>), where the decay is part of the gradient, and so of the moments.
//!
//! Deliberately absent: AMSGrad.

use burn::tensor::Tensor;

use super::{Step, scaled};
use crate::kernels::{self, AdamWStep, Moments};

impl Step<'_> {
    pub(super) fn adamw(
        &self,
        weight: Tensor<1>,
        moments: &mut Moments,
        gradient: Tensor<1>,
        share: Option<Tensor<1>>,
    ) -> Tensor<1> {
        let step = self.decaying_by(self.weight_decay);
        kernels::adamw(weight, moments, gradient, share, step)
    }

    pub(super) fn adam(
        &self,
        weight: Tensor<1>,
        moments: &mut Moments,
        gradient: Tensor<1>,
        share: Option<Tensor<1>>,
    ) -> Tensor<1> {
        let step = self.decaying_by(0.0);
        if self.weight_decay == 0.0 {
            return kernels::adamw(weight, moments, gradient, share, step);
        }
        let gradient = scaled(gradient, share) + weight.clone() * self.weight_decay;
        kernels::adamw(weight, moments, gradient, None, step)
    }

    fn decaying_by(&self, weight_decay: f64) -> AdamWStep {
        AdamWStep {
            learning_rate: self.learning_rate,
            weight_decay,
            beta1: self.settings.beta1,
            beta2: self.settings.beta2,
            epsilon: self.settings.epsilon,
        }
    }
}
