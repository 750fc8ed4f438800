//! Cross entropy: answers of which one is right.
//!
//! Sources: `torch.nn.functional.cross_entropy` with `weight` and `label_smoothing` (Szegedy et al., 2016,
//! <https://arxiv.org/abs/1512.00567>), and the focal loss (Lin et al., 2017, <https://arxiv.org/abs/1708.02002>), whose mean is
//! taken over the weights as well.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

use crate::learn::predict::log_sum_exp;

/// How answers that exclude each other are judged. The default is the plain cross entropy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CrossEntropy {
    /// How much a row of each label counts, all above 0; the loss is a mean over the weights.
    pub class_weights: Option<Vec<f32>>,
    /// The share of each answer, at least 0 and below 1, that is spread over all labels alike. It has no part in a focal
    /// loss.
    pub label_smoothing: f64,
    /// With a number γ, the focal loss: a row of which the model is sure to the degree p counts (1 - p)^γ.
    pub focal: Option<f64>,
}

/// Below this, the share that a row counts in a focal loss has no derivative: the model is as sure as can be.
const SURE: f64 = 1e-12;

impl CrossEntropy {
    /// The weight of a row with this label.
    pub fn weight(&self, label: u32) -> f64 {
        match &self.class_weights {
            None => 1.0,
            Some(weights) => weights
                .get(label as usize)
                .map_or(1.0, |&weight| f64::from(weight)),
        }
    }

    /// The sum over rows of the loss times the weight of its label: `logits [rows, labels]`, `targets [rows]` (label numbers) →
    /// `[1]`.
    pub fn sum(&self, logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
        let [rows] = targets.dims();
        let chances = log_softmax(logits, 1); // [rows, labels]
        let device = chances.device().without_autodiff();
        let weights = self
            .class_weights
            .as_ref()
            .map(|weights| Tensor::<1>::from_data(weights.as_slice(), &device));
        let mut own = chances
            .clone()
            .gather(1, targets.clone().reshape([rows, 1])); // [rows, 1]
        if let Some(gamma) = self.focal {
            let unsure = (own.clone().exp().neg() + 1.0).clamp_min(SURE);
            own = own * unsure.powf_scalar(gamma);
        }
        if let Some(weights) = &weights {
            own = own * weights.clone().select(0, targets).reshape([rows, 1]); // [rows, 1]
        }
        let right = own.sum(); // [1]
        if self.label_smoothing == 0.0 || self.focal.is_some() {
            return right.neg();
        }
        let [_, labels] = chances.dims();
        let all = match weights {
            Some(weights) => chances * weights.unsqueeze::<2>(), // [rows, labels] * [1, labels]
            None => chances,
        };
        let spread = self.label_smoothing / labels as f64;
        (right * (1.0 - self.label_smoothing) + all.sum() * spread).neg()
    }

    /// What one row adds to that sum, in double precision; infinite for a label that there is not.
    pub fn of_row(&self, logits: &[f32], label: u32) -> f64 {
        let all = log_sum_exp(logits);
        let Some(own) = logits
            .get(label as usize)
            .map(|&logit| f64::from(logit) - all)
        else {
            return f64::INFINITY;
        };
        if let Some(gamma) = self.focal {
            return -self.weight(label) * own * (-own.exp_m1()).max(SURE).powf(gamma);
        }
        let right = self.weight(label) * own;
        if self.label_smoothing == 0.0 {
            return -right;
        }
        let weighted = (0_u32..)
            .zip(logits)
            .map(|(other, &logit)| self.weight(other) * (f64::from(logit) - all));
        let spread = self.label_smoothing / logits.len() as f64;
        -(right * (1.0 - self.label_smoothing) + weighted.sum::<f64>() * spread)
    }
}
