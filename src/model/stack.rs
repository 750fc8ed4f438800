//! What a head may have that transformers' own classes do not: several layers of the encoder to read, and dense layers of
//! its own before the one that answers.
//!
//! Reading the last layers, averaged or side by side, is what BERT's authors tried for features (Devlin et al.,
//! arXiv:1810.04805, section 5.3). Hidden states are counted as `output_hidden_states` of transformers counts them.
//!
//! Deliberately absent: weights of the layers that are learned (ELMo's scalar mix).

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::Activation;

/// How the hidden states of several layers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Their mean, as wide as one of them.
    #[default]
    Mean,
    /// Side by side, the lowest layer first: as many times as wide. BERT's authors found this best for fixed encoders.
    Concat,
}

/// Which layers a head reads, and the dense layers that it has before the one that answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// How many of the encoder's layers are read, counted from the last one.
    #[serde(default = "one")]
    pub layers: usize,
    #[serde(default)]
    pub combine: Combine,
    /// The widths of the dense layers, in the order in which they compute.
    #[serde(default)]
    pub hidden_layers: Vec<usize>,
    /// What follows each of them.
    #[serde(default)]
    pub activation: Activation,
}

pub(super) fn one() -> usize {
    1
}

impl Default for Stack {
    fn default() -> Self {
        Stack {
            layers: one(),
            combine: Combine::default(),
            hidden_layers: Vec::new(),
            activation: Activation::default(),
        }
    }
}

impl Stack {
    /// Whether a head of transformers' own class has the same: the last layer, and nothing before the layer that answers.
    pub fn is_plain(&self) -> bool {
        self.layers == 1 && self.hidden_layers.is_empty()
    }

    /// How wide hidden states of `width` are once they are combined.
    pub(super) fn combined_width(&self, width: usize) -> usize {
        match self.combine {
            Combine::Mean => width,
            Combine::Concat => self.layers * width,
        }
    }

    /// The inputs and outputs of each dense layer over vectors of `width`.
    pub(super) fn dense(&self, width: usize) -> Vec<[usize; 2]> {
        let inputs = [width].into_iter().chain(self.hidden_layers.clone());
        let each = inputs.zip(&self.hidden_layers);
        each.map(|(inputs, &outputs)| [inputs, outputs]).collect()
    }

    /// Hidden states of the layers that are read, `[rows, width]` each, as one: `[rows, combined width]`.
    pub(super) fn combined(&self, states: Vec<Tensor<2>>) -> Tensor<2> {
        let count = states.len() as f64;
        match self.combine {
            Combine::Concat => Tensor::cat(states, 1),
            Combine::Mean => {
                let sum = states.into_iter().reduce(|sum, state| sum + state);
                sum.expect("at least one layer is read") / count
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn states_are_averaged_or_laid_side_by_side() {
        let states = || {
            [[[1.0, 2.0]], [[3.0, -6.0]]]
                .map(|state| Tensor::<2>::from_data(state, &Device::flex()))
                .to_vec()
        };
        let of = |combine| {
            let stack = Stack {
                layers: 2,
                combine,
                ..Stack::default()
            };
            let combined = stack.combined(states());
            assert_eq!(combined.dims()[1], stack.combined_width(2));
            combined.try_into_vec_as::<f32>().unwrap()
        };
        assert_eq!(of(Combine::Mean), [2.0, -2.0]);
        assert_eq!(of(Combine::Concat), [1.0, 2.0, 3.0, -6.0]);
    }

    #[test]
    fn each_dense_layer_reads_what_the_one_before_gives() {
        let stack = Stack {
            hidden_layers: vec![256, 128],
            ..Stack::default()
        };
        assert_eq!(stack.dense(768), [[768, 256], [256, 128]]);
        assert!(Stack::default().dense(768).is_empty());
    }
}
