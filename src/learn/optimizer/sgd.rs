//! Stochastic gradient descent.
//!
//! Source: `torch.optim.SGD` without dampening (Sutskever et al., 2013, <https://proceedings.mlr.press/v28/sutskever13.html>):
//! the learning rate multiplies the whole step, momentum and all, and the first step's momentum is its gradient.

use burn::tensor::Tensor;

use super::{Step, scaled};

impl Step<'_> {
    pub(super) fn sgd(
        &self,
        weight: Tensor<1>,
        sum: &mut Option<Box<Tensor<1>>>,
        gradient: Tensor<1>,
        share: Option<Tensor<1>>,
    ) -> Tensor<1> {
        let mut change = scaled(gradient, share);
        if self.weight_decay != 0.0 {
            change = change + weight.clone() * self.weight_decay;
        }
        if let Some(momentum) = self.settings.momentum.filter(|&momentum| momentum != 0.0) {
            let moving = match sum.take() {
                Some(before) => *before * momentum + change.clone(),
                None => change.clone(),
            };
            *sum = Some(Box::new(moving.clone()));
            change = match self.settings.nesterov {
                true => change + moving * momentum,
                false => moving,
            };
        }
        weight - change * self.learning_rate
    }
}
