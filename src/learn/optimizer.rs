//! AdamW: how a gradient becomes a step.
//!
//! Source: `torch.optim.AdamW` (Loshchilov and Hutter, 2019, <https://arxiv.org/abs/1711.05101>): decay decoupled from the
//! gradient, both moments bias-corrected, epsilon outside the root. As in transformers' `Trainer`, biases and LayerNorm's
//! parameters do not decay.
//!
//! Deliberately absent: parameter groups, and rates per layer.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Gradients;
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
    /// How strongly weights are pulled towards zero at each step, in proportion to the learning rate. Biases and
    /// LayerNorm's parameters are left out.
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

/// What is remembered of one parameter's gradients; both `[elements]`, on the parameter's device.
#[derive(Debug)]
struct Moments {
    steps: i32,
    mean: Tensor<1>,
    square: Tensor<1>,
}

impl AdamW {
    pub fn new(settings: &OptimizerSettings) -> Self {
        AdamW {
            settings: settings.clone(),
            moments: BTreeMap::new(),
        }
    }

    /// Takes one step. A parameter without a gradient (frozen, or unused by the head) stays as it is.
    pub fn step(
        &mut self,
        model: Classifier,
        gradients: Gradients,
        learning_rate: f64,
    ) -> Classifier {
        struct Update<'a> {
            optimizer: &'a mut AdamW,
            gradients: Gradients,
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
                    let updated =
                        self.optimizer
                            .updated(name, tensor.inner(), gradient, self.learning_rate);
                    Tensor::from_inner(updated).require_grad()
                })
            }
        }
        model::map_parameters(
            model,
            &mut Update {
                optimizer: self,
                gradients,
                learning_rate,
            },
        )
    }

    fn updated<const D: usize>(
        &mut self,
        name: &str,
        tensor: Tensor<D>,
        gradient: Tensor<1>,
        learning_rate: f64,
    ) -> Tensor<D> {
        let OptimizerSettings {
            weight_decay,
            beta1,
            beta2,
            epsilon,
            ..
        } = self.settings;
        let before = self.moments.remove(name).unwrap_or_else(|| Moments {
            steps: 0,
            mean: gradient.zeros_like(),
            square: gradient.zeros_like(),
        });
        let steps = before.steps + 1;
        let step = Step {
            decay: if model::decays(name) {
                1.0 - learning_rate * weight_decay
            } else {
                1.0
            },
            rate: learning_rate / (1.0 - beta1.powi(steps)),
            root: (1.0 - beta2.powi(steps)).sqrt(),
            beta1,
            beta2,
            epsilon,
        };
        let shape = tensor.shape();
        let flat = tensor.reshape([shape.num_elements()]); // [elements]
        let take = if flat.device() == Device::flex() {
            Step::in_one_pass
        } else {
            Step::in_tensors
        };
        let [flat, mean, square] = take(&step, [flat, before.mean, before.square], gradient);
        self.moments.insert(
            name.to_owned(),
            Moments {
                steps,
                mean,
                square,
            },
        );
        flat.reshape(shape)
    }
}

/// The numbers of one step of one parameter.
struct Step {
    /// What is left of the weight.
    decay: f64,
    /// The learning rate over the correction of the mean.
    rate: f64,
    /// The root of the correction of the square.
    root: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
}

impl Step {
    /// Weight, mean and square after the step, all `[elements]` as is the gradient, for any device.
    fn in_tensors(
        &self,
        [weight, mean, square]: [Tensor<1>; 3],
        gradient: Tensor<1>,
    ) -> [Tensor<1>; 3] {
        let mean = mean.mul_scalar(self.beta1) + gradient.clone().mul_scalar(1.0 - self.beta1);
        let square = square.mul_scalar(self.beta2) + gradient.square().mul_scalar(1.0 - self.beta2);
        let divisor = square
            .clone()
            .sqrt()
            .div_scalar(self.root)
            .add_scalar(self.epsilon);
        let change = (mean.clone() / divisor).mul_scalar(self.rate);
        [weight.mul_scalar(self.decay) - change, mean, square]
    }

    /// The same numbers, bit for bit, in one pass over memory and on every core. On a CPU the tensor operations above
    /// walk a dozen times through all weights, on one core: for MiniLM, a tenth of the whole time of training.
    fn in_one_pass(&self, tensors: [Tensor<1>; 3], gradient: Tensor<1>) -> [Tensor<1>; 3] {
        const CHUNK: usize = 1 << 15;
        let device = gradient.device();
        let [beta1, beta2, rest1, rest2] =
            [self.beta1, self.beta2, 1.0 - self.beta1, 1.0 - self.beta2].map(|n| n as f32);
        let [decay, rate, root, epsilon] =
            [self.decay, self.rate, self.root, self.epsilon].map(|n| n as f32);
        let mut data = tensors.map(Tensor::into_data);
        let gradient = gradient.into_data();
        let [weights, means, squares] = data
            .each_mut()
            .map(|data| data.as_mut_slice::<f32>().expect("parameters are F32"));
        let gradients = gradient
            .as_slice::<f32>()
            .expect("a gradient has its parameter's type");
        let chunks = (
            weights.par_chunks_mut(CHUNK),
            means.par_chunks_mut(CHUNK),
            squares.par_chunks_mut(CHUNK),
            gradients.par_chunks(CHUNK),
        );
        chunks
            .into_par_iter()
            .for_each(|(weights, means, squares, gradients)| {
                for (((weight, mean), square), &gradient) in
                    weights.iter_mut().zip(means).zip(squares).zip(gradients)
                {
                    *mean = *mean * beta1 + gradient * rest1;
                    *square = *square * beta2 + gradient * gradient * rest2;
                    let change = *mean / (square.sqrt() / root + epsilon) * rate;
                    *weight = *weight * decay - change;
                }
            });
        data.map(|data| Tensor::from_data(data, &device))
    }
}

#[cfg(test)]
mod tests {
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
                rate,
            );
            let gradient = Tensor::<1>::from_data([1e-9, 0.5, -0.5], &device) / times;
            bias = optimizer.updated("encoder.layer.0.output.dense.bias", bias, gradient, rate);
            assert_close(&weight.clone().try_into_vec_as().unwrap(), &expected_weight);
            assert_close(&bias.clone().try_into_vec_as().unwrap(), &expected_bias);
        }
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
                .updated(name, one.clone(), one.zeros_like(), 0.1)
                .into_scalar::<f32>()
        };
        assert_eq!(after("bert.encoder.layer.0.output.LayerNorm.weight"), 1.0);
        assert_eq!(after("classifier.bias"), 1.0);
        assert_eq!(after("classifier.weight"), 0.95);
    }

    #[test]
    fn the_fast_path_on_a_cpu_computes_the_same_bits() {
        let device = Device::flex();
        let vector = |from: f32| {
            let values: Vec<f32> = (0..70_000)
                .map(|i| ((i * 37 % 1_001) as f32 - 500.0) * from)
                .collect();
            Tensor::<1>::from_data(values.as_slice(), &device)
        };
        let step = Step {
            decay: 0.999,
            rate: 3e-4,
            root: 0.05,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        };
        let before = || [vector(1e-3), vector(1e-4), vector(1e-3).abs()];
        let slow = step.in_tensors(before(), vector(1e-2));
        let fast = step.in_one_pass(before(), vector(1e-2));
        for (slow, fast) in slow.into_iter().zip(fast) {
            assert_eq!(
                slow.try_into_vec_as::<f32>().unwrap(),
                fast.try_into_vec_as::<f32>().unwrap()
            );
        }
    }
}
