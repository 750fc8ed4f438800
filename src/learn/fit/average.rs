//! An exponential moving average of the weights.
//!
//! Source: `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn`: the first step's weights are taken as they are, and
//! each later step moves the average by 1 - decay of what it is off.
//!
//! Promise: nothing here waits for the device.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::Tensor;

use super::EmaSettings;
use crate::model::{self, Classifier, MapParameters, VisitParameters};

/// The average so far, by the parameter's Hugging Face name: `[elements]` each. Empty before the first step.
#[derive(Debug, Clone)]
pub(super) struct Average {
    decay: f64,
    pub(super) weights: BTreeMap<String, Tensor<1>>,
}

impl Average {
    pub(super) fn new(settings: EmaSettings) -> Self {
        Average {
            decay: settings.decay,
            weights: BTreeMap::new(),
        }
    }

    /// Takes in the weights after a step.
    pub(super) fn add(&mut self, model: &Classifier) {
        model::visit_parameters(model, self);
    }

    /// `model` (without autodiff) with the average as its weights.
    pub(super) fn put_into(&self, model: Classifier) -> Classifier {
        struct Put<'a>(&'a Average);
        impl MapParameters for Put<'_> {
            fn map<const D: usize>(
                &mut self,
                name: &str,
                parameter: Param<Tensor<D>>,
            ) -> Param<Tensor<D>> {
                let Some(average) = self.0.weights.get(name).cloned() else {
                    return parameter;
                };
                parameter.map(|weight| average.reshape(weight.shape())) // as it was
            }
        }
        model::map_parameters(model, &mut Put(self))
    }
}

impl VisitParameters for Average {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
        let weight = parameter.val().inner();
        let elements = weight.shape().num_elements();
        let weight = weight.reshape([elements]); // [elements]
        let average = match self.weights.remove(name) {
            Some(before) => (weight - before.clone()) * (1.0 - self.decay) + before,
            None => weight,
        };
        self.weights.insert(name.to_owned(), average);
    }
}
