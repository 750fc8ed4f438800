//! Optimizers: how a gradient becomes a step.
//!
//! One file for each method, which computes the step of one parameter and says where its formula comes from: `adam` (AdamW
//! and Adam), `sgd`, `lamb`. What a parameter's own rate and decay are is in `rates`. As in transformers' `Trainer`,
//! biases and LayerNorm's parameters do not decay, nor do a CRF's, unless a group says so.
//!
//! Promise: what an optimizer remembers can be taken out ([`Memory::parts`]) and put back, and it goes on to the same bits.
//!
//! Deliberately absent: the learning rate of a step, which is the [`Schedule`](super::Schedule)'s, and clipping, which is that
//! of [`Gradients`].

mod adam;
mod lamb;
mod rates;
mod sgd;

use std::collections::BTreeMap;
use std::fmt;

use burn::module::Param;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use rates::{ParameterGroup, Place, places};
pub(super) use rates::{check_patterns, fits};

use self::rates::Rate;
use super::{Gradients, LearnError};
use crate::kernels::Moments;
use crate::model::{self, Classifier, MapParameters};

/// How weights are updated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSettings {
    /// The method.
    pub name: OptimizerName,
    /// The highest learning rate, which the schedule reaches after its warm-up. For fine-tuning a pretrained encoder, 2e-5
    /// to 5e-5 is usual; a small encoder from scratch wants 1e-4 to 1e-3, and `sgd` ten to a thousand times as much.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 10.0))]
    pub learning_rate: f64,
    /// How strongly weights are pulled towards zero at each step, in proportion to the learning rate. Biases, LayerNorm's
    /// parameters and a CRF's are left out. With `adam` and `sgd` it is added to the gradient, as in PyTorch (an L2 penalty).
    /// Left out: 0.01 for `adamw` and `lamb`, 0 for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 10.0))]
    pub weight_decay: Option<f64>,
    /// How slowly the mean of the gradients forgets (not `sgd`).
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub beta1: f64,
    /// How slowly the mean of the squared gradients forgets (not `sgd`). Lower it, to 0.98 or 0.95, where the loss jumps
    /// from time to time.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub beta2: f64,
    /// Added to the divisor, so that it is never zero (not `sgd`). LAMB's authors have 1e-6.
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
    pub epsilon: f64,
    /// `sgd`: how much of the last step the next one keeps; 0.9 is usual. Left out: 0, plain gradient descent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "default" = 0.0))]
    pub momentum: Option<f64>,
    /// `sgd`: looks ahead by the momentum before it steps (Nesterov), which often settles sooner; needs `momentum`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub nesterov: bool,
    /// Gradients are scaled down so that their common L2 norm is at most this; 0 leaves them alone.
    #[schemars(range(min = 0.0))]
    pub max_grad_norm: f64,
    /// By how much the learning rate shrinks from each layer to the one below it: the head, the pooler and all else above the
    /// layers have the full rate, the top layer this share of it, the next this share of that, and the embeddings the
    /// least. Use it, with 0.8 to 0.95, where rows are few and the encoder's general knowledge must not be lost; 1 is off.
    #[serde(skip_serializing_if = "is_one")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "default" = 1.0), range(max = 1.0))]
    pub layer_decay: f64,
    /// The highest learning rate of the head (all that the encoder's checkpoint does not have; a pooler is the encoder's).
    /// A new head begins with random weights and can take 10 to 100 times the encoder's rate. Left out: `learning_rate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 10.0))]
    pub head_learning_rate: Option<f64>,
    /// Parameters with a rate or a decay of their own, by their names in a checkpoint; of several groups that match a name
    /// the first counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("default" = []))]
    pub groups: Vec<ParameterGroup>,
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        OptimizerSettings {
            name: OptimizerName::Adamw,
            learning_rate: 5e-5,
            weight_decay: None,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            momentum: None,
            nesterov: false,
            max_grad_norm: 1.0,
            layer_decay: 1.0,
            head_learning_rate: None,
            groups: Vec::new(),
        }
    }
}

impl OptimizerSettings {
    /// The decay of weights where no group says otherwise.
    pub fn decay(&self) -> f64 {
        self.weight_decay.unwrap_or(self.name.weight_decay())
    }
}

/// A method of updating weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerName {
    /// Adam with decoupled weight decay, as in PyTorch: for nearly everything.
    #[default]
    Adamw,
    /// Adam as in PyTorch, where decay is an L2 penalty in the gradient: to repeat older recipes.
    Adam,
    /// Stochastic gradient descent as in PyTorch, with or without momentum: half of Adam's memory or less, for a head on a
    /// fixed encoder, or where Adam overfits. It wants a far higher learning rate.
    Sgd,
    /// Layer-wise adaptive moments: each parameter's step is as long as its weights are, so that batches of thousands of rows
    /// can be learned from at high rates.
    Lamb,
}

impl OptimizerName {
    /// In specs.
    pub fn name(self) -> &'static str {
        match self {
            OptimizerName::Adamw => "adamw",
            OptimizerName::Adam => "adam",
            OptimizerName::Sgd => "sgd",
            OptimizerName::Lamb => "lamb",
        }
    }

    /// PyTorch's default; of LAMB that of its authors.
    pub fn weight_decay(self) -> f64 {
        match self {
            OptimizerName::Adamw | OptimizerName::Lamb => 0.01,
            OptimizerName::Adam | OptimizerName::Sgd => 0.0,
        }
    }
}

impl fmt::Display for OptimizerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an optimizer remembers of one parameter's gradients.
#[derive(Debug, Clone)]
pub enum Memory {
    /// Of AdamW, Adam and LAMB.
    Moments(Box<Moments>),
    /// Of SGD: the running sum of gradients, `[elements]`; nothing without momentum.
    Momentum(Option<Box<Tensor<1>>>),
}

impl Memory {
    /// All that there is to save: the number of steps taken (0 where it does not matter), and tensors, each `[elements]`.
    pub fn parts(&self) -> (i32, Vec<Tensor<1>>) {
        match self {
            Memory::Moments(moments) => {
                let (steps, mean, square) = moments.parts();
                (steps, vec![mean, square])
            }
            Memory::Momentum(sum) => (0, sum.iter().map(|sum| sum.as_ref().clone()).collect()),
        }
    }

    /// As [`parts`](Self::parts) gave it; `None` when the parts are not those of the method `name`.
    pub fn from_parts(name: OptimizerName, steps: i32, parts: Vec<Tensor<1>>) -> Option<Memory> {
        let mut parts = parts.into_iter();
        let given = (parts.next(), parts.next(), parts.next());
        match (name, given) {
            (OptimizerName::Sgd, (sum, None, None)) => Some(Memory::Momentum(sum.map(Box::new))),
            (OptimizerName::Sgd, _) => None,
            (_, (Some(mean), Some(square), None)) if mean.dims() == square.dims() => {
                let moments = Moments::from_parts(steps, mean, square);
                Some(Memory::Moments(Box::new(moments)))
            }
            _ => None,
        }
    }
}

/// An optimizer with its memory of past gradients, by the parameter's Hugging Face name.
#[derive(Debug)]
pub struct Optimizer {
    settings: OptimizerSettings,
    rates: BTreeMap<String, Rate>,
    memory: BTreeMap<String, Memory>,
}

impl Optimizer {
    /// The optimizer of all parameters of `model`.
    ///
    /// # Errors
    /// [`LearnError::NoSuchParameter`] for a group's pattern that fits no parameter.
    pub fn new(settings: &OptimizerSettings, model: &Classifier) -> Result<Self, LearnError> {
        let names: Vec<String> = model::named_parameters(model)
            .into_iter()
            .map(|parameter| parameter.name)
            .collect();
        Self::of(settings, &names)
    }

    fn of(settings: &OptimizerSettings, names: &[String]) -> Result<Self, LearnError> {
        Ok(Optimizer {
            settings: settings.clone(),
            rates: rates::rates(settings, names)?,
            memory: BTreeMap::new(),
        })
    }

    /// As one that had this memory left it; see [`memory`](Self::memory).
    pub fn with_memory(self, memory: BTreeMap<String, Memory>) -> Self {
        Optimizer { memory, ..self }
    }

    /// All that it remembers, by the parameter's Hugging Face name: what there is to save.
    pub fn memory(&self) -> &BTreeMap<String, Memory> {
        &self.memory
    }

    /// The learning rate and the weight decay of a parameter in a step at `learning_rate`.
    pub fn rate_of(&self, name: &str, learning_rate: f64) -> (f64, f64) {
        let rate = self.rate(name);
        (learning_rate * rate.factor, rate.weight_decay)
    }

    /// Which parameters learn at a rate of their own, from the ground up, and that rate over the settings': `embeddings`,
    /// `layer_00`, …, `head`, and `group_0`, … for the settings' groups. None where all learn at one rate.
    pub fn groups(&self) -> Vec<(String, f64)> {
        rates::groups(&self.settings, &self.rates)
    }

    fn rate(&self, name: &str) -> Rate {
        let plain = || rates::plain(&self.settings, name);
        self.rates.get(name).copied().unwrap_or_else(plain)
    }

    /// Takes one step with `share` (`[1]`) of the gradients, or all of them, at `learning_rate`: what the schedule makes of the
    /// settings' rate; rates of groups, layers and the head move with it. A parameter without a gradient (frozen, or unused
    /// by the head) stays as it is.
    pub fn step(
        &mut self,
        model: Classifier,
        gradients: Gradients,
        share: Option<Tensor<1>>,
        learning_rate: f64,
    ) -> Classifier {
        struct Update<'a> {
            optimizer: &'a mut Optimizer,
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
        let rate = self.rate(name);
        let step = Step {
            learning_rate: learning_rate * rate.factor,
            weight_decay: rate.weight_decay,
            adapts: model::decays(name),
            settings: &self.settings,
        };
        let memory =
            self.memory
                .entry(name.to_owned())
                .or_insert_with(|| match self.settings.name {
                    OptimizerName::Sgd => Memory::Momentum(None),
                    _ => Memory::Moments(Box::new(Moments::zero(&gradient))),
                });
        let shape = tensor.shape();
        let flat = tensor.reshape([shape.num_elements()]); // [elements]
        step.take(flat, memory, gradient, share).reshape(shape) // as it was
    }
}

/// One step of one parameter.
struct Step<'a> {
    /// The parameter's own.
    learning_rate: f64,
    /// The parameter's own.
    weight_decay: f64,
    /// Whether LAMB gives the step the length of the weights.
    adapts: bool,
    settings: &'a OptimizerSettings,
}

impl Step<'_> {
    /// The weight afterwards; `weight` and `gradient` are `[elements]`, `share` is `[1]`.
    fn take(
        &self,
        weight: Tensor<1>,
        memory: &mut Memory,
        gradient: Tensor<1>,
        share: Option<Tensor<1>>,
    ) -> Tensor<1> {
        match (self.settings.name, memory) {
            (OptimizerName::Sgd, Memory::Momentum(sum)) => self.sgd(weight, sum, gradient, share),
            (OptimizerName::Adamw, Memory::Moments(moments)) => {
                self.adamw(weight, moments, gradient, share)
            }
            (OptimizerName::Adam, Memory::Moments(moments)) => {
                self.adam(weight, moments, gradient, share)
            }
            (OptimizerName::Lamb, Memory::Moments(moments)) => {
                self.lamb(weight, moments, gradient, share)
            }
            // Another method's memory tells nothing about this one's.
            (_, memory) => {
                *memory = match self.settings.name {
                    OptimizerName::Sgd => Memory::Momentum(None),
                    _ => Memory::Moments(Box::new(Moments::zero(&gradient))),
                };
                self.take(weight, memory, gradient, share)
            }
        }
    }
}

/// The part of a gradient that counts: `gradient [elements]`, `share [1]`.
fn scaled(gradient: Tensor<1>, share: Option<Tensor<1>>) -> Tensor<1> {
    match share {
        Some(share) => gradient * share, // [elements] * [1]
        None => gradient,
    }
}

#[cfg(test)]
mod tests;
