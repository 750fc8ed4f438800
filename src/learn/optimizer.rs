//! AdamW: how a gradient becomes a step.
//!
//! Source: `torch.optim.AdamW` (Loshchilov and Hutter, 2019, <https://arxiv.org/abs/1711.05101>): decay decoupled from the
//! gradient, both moments bias-corrected, epsilon outside the root. As in transformers' `Trainer`, biases and LayerNorm's
//! parameters do not decay; nor do a CRF's.
//!
//! Deliberately absent: parameter groups, and rates per layer.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Gradients;
use crate::kernels::{self, AdamWStep, Moments};
use crate::model::{self, Classifier, MapParameters};

/// How weights are updated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSettings {
    /// The method.
    pub name: OptimizerName,
    /// The highest learning rate, which the schedule reaches after its warm-up. For fine-tuning a pretrained encoder, 2e-5
    /// to 5e-5 is usual; a small encoder from scratch wants 1e-4 to 1e-3.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 10.0))]
    pub learning_rate: f64,
    /// How strongly weights are pulled towards zero at each step, in proportion to the learning rate. Biases, LayerNorm's
    /// parameters and a CRF's are left out.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub weight_decay: f64,
    /// How slowly the mean of the gradients forgets.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub beta1: f64,
    /// How slowly the mean of the squared gradients forgets.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub beta2: f64,
    /// Added to the divisor, so that it is never zero.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
    pub epsilon: f64,
    /// Gradients are scaled down so that their common L2 norm is at most this; 0 leaves them alone.
    #[schemars(range(min = 0.0))]
    pub max_grad_norm: f64,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        OptimizerSettings {
            name: OptimizerName::Adamw,
            learning_rate: 5e-5,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            max_grad_norm: 1.0,
        }
    }
}

/// A method of updating weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerName {
    /// Adam with decoupled weight decay, as in PyTorch.
    #[default]
    Adamw,
}

/// The optimizer with its memory of past gradients, by the parameter's Hugging Face name.
#[derive(Debug)]
pub struct AdamW {
    settings: OptimizerSettings,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    pub fn new(settings: &OptimizerSettings) -> Self {
        AdamW {
            settings: settings.clone(),
            moments: BTreeMap::new(),
        }
    }

    /// As an optimizer that had these moments left it; see [`moments`](Self::moments).
    pub fn with_moments(settings: &OptimizerSettings, moments: BTreeMap<String, Moments>) -> Self {
        AdamW {
            settings: settings.clone(),
            moments,
        }
    }

    /// All that it remembers, by the parameter's Hugging Face name: what there is to save.
    pub fn moments(&self) -> &BTreeMap<String, Moments> {
        &self.moments
    }

    /// Takes one step with `share` (`[1]`) of the gradients, or all of them. A parameter without a gradient (frozen, or
    /// unused by the head) stays as it is.
    pub fn step(
        &mut self,
        model: Classifier,
        gradients: Gradients,
        share: Option<Tensor<1>>,
        learning_rate: f64,
    ) -> Classifier {
        struct Update<'a> {
            optimizer: &'a mut AdamW,
            gradients: Gradients,
            share: Option<Tensor<1>>,
            learning_rate: f64,
        }
        impl MapParameters for Update<'_> {
            fn map<const D: usize>(
                &mut self,
                name: &str,
                parameter: Param<Tensor<D>>,
            ) -> Param<Tensor<D>> {
                let Some(gradient) = self.gradients.remove(name) else {
                    return parameter;
                };
                parameter.map(|tensor| {
                    let share = self.share.clone();
                    let updated = self.optimizer.updated(
                        name,
                        tensor.inner(),
                        gradient,
                        share,
                        self.learning_rate,
                    );
                    Tensor::from_inner(updated).require_grad()
                })
            }
        }
        model::map_parameters(
            model,
            &mut Update {
                optimizer: self,
                gradients,
                share,
                learning_rate,
            },
        )
    }

    fn updated<const D: usize>(
        &mut self,
        name: &str,
        tensor: Tensor<D>,
        gradient: Tensor<1>,
        share: Option<Tensor<1>>,
        learning_rate: f64,
    ) -> Tensor<D> {
        let decays = model::decays(name);
        let step = AdamWStep {
            learning_rate,
            weight_decay: if decays {
                self.settings.weight_decay
            } else {
                0.0
            },
            beta1: self.settings.beta1,
            beta2: self.settings.beta2,
            epsilon: self.settings.epsilon,
        };
        if !self.moments.contains_key(name) {
            self.moments
                .insert(name.to_owned(), Moments::zero(&gradient));
        }
        let moments = self.moments.get_mut(name).expect("it was just put there");
        let shape = tensor.shape();
        let flat = tensor.reshape([shape.num_elements()]); // [elements]
        kernels::adamw(flat, moments, gradient, share, step).reshape(shape) // as it was
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 3e-7, "{found} is not {expected}");
        }
    }

    /// The expected numbers are those of `torch.optim.AdamW` in PyTorch 2.15: three steps at rates 0.1, 0.05 and 0.02 with a
    /// weight decay of 0.01 on the weight and none on the bias.
    #[test]
    fn three_steps_are_those_of_torch() {
        let device = Device::flex();
        let mut optimizer = AdamW::new(&OptimizerSettings::default());
        let mut weight = Tensor::<2>::from_data([[0.5, -1.0, 2.0], [0.25, 0.0, -0.75]], &device);
        let mut bias = Tensor::<1>::from_data([0.1, -0.2, 0.3], &device);
        let expected = [
            (
                [
                    0.399_5,
                    -0.899_000_05,
                    1.898,
                    0.249_75,
                    -0.099_999_99,
                    -0.649_250_03,
                ],
                [0.090_909_09, -0.3, 0.4],
            ),
            (
                [
                    0.351_041_14,
                    -0.850_291_43,
                    1.848_791_8,
                    0.249_625_12,
                    -0.148_209_08,
                    -0.600_666_3,
                ],
                [0.087_494_77, -0.346_608_97, 0.446_609],
            ),
            (
                [
                    0.331_810_92,
                    -0.830_961_35,
                    1.829_262_1,
                    0.249_575_2,
                    -0.167_339_47,
                    -0.581_386_15,
                ],
                [0.086_393_06, -0.364_072_14, 0.464_072_17],
            ),
        ];
        for (step, (rate, (expected_weight, expected_bias))) in
            [0.1, 0.05, 0.02].into_iter().zip(expected).enumerate()
        {
            let times = (step + 1) as f32;
            let gradient =
                Tensor::<1>::from_data([0.1, -0.2, 0.3, 0.0, 1.0, -4.0], &device) * times;
            weight = optimizer.updated(
                "encoder.layer.0.output.dense.weight",
                weight,
                gradient,
                None,
                rate,
            );
            let gradient = Tensor::<1>::from_data([1e-9, 0.5, -0.5], &device) / times;
            bias = optimizer.updated(
                "encoder.layer.0.output.dense.bias",
                bias,
                gradient,
                None,
                rate,
            );
            assert_close(&weight.clone().try_into_vec_as().unwrap(), &expected_weight);
            assert_close(&bias.clone().try_into_vec_as().unwrap(), &expected_bias);
        }
    }

    #[test]
    fn restored_moments_go_on_as_if_never_stopped() {
        let device = Device::flex();
        let settings = OptimizerSettings::default();
        let name = "classifier.weight";
        let gradient = Tensor::<1>::from_data([0.5, -0.25, 0.0], &device);
        let weight = Tensor::<1>::from_data([1.0, 2.0, 3.0], &device);
        let mut optimizer = AdamW::new(&settings);
        let weight = optimizer.updated(name, weight, gradient.clone(), None, 0.1);
        let saved = optimizer.moments().iter().map(|(name, moments)| {
            let (steps, mean, square) = moments.parts();
            (name.clone(), Moments::from_parts(steps, mean, square))
        });
        let mut restored = AdamW::with_moments(&settings, saved.collect());
        let next = |optimizer: &mut AdamW| {
            let after = optimizer.updated(name, weight.clone(), gradient.clone(), None, 0.1);
            after.try_into_vec_as::<f32>().unwrap()
        };
        assert_eq!(next(&mut restored), next(&mut optimizer));
    }

    #[test]
    fn layer_norm_and_biases_do_not_decay() {
        let device = Device::flex();
        let mut optimizer = AdamW::new(&OptimizerSettings {
            weight_decay: 0.5,
            ..OptimizerSettings::default()
        });
        let mut after = |name| {
            let one = Tensor::<1>::from_data([1.0], &device);
            optimizer
                .updated(name, one.clone(), one.zeros_like(), None, 0.1)
                .into_scalar::<f32>()
        };
        assert_eq!(after("bert.encoder.layer.0.output.LayerNorm.weight"), 1.0);
        assert_eq!(after("classifier.bias"), 1.0);
        assert_eq!(after("classifier.weight"), 0.95);
    }
}
