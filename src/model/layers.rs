//! Layers that several encoders are built of: linear layers and LayerNorms with or without what they add, and the dense parts
//! of a block.
//!
//! Hidden states are `[tokens, hidden]` throughout. Deliberately absent: attention, in which the encoders differ.

use burn::module::{Module, Param};
use burn::nn::{self, Embedding, EmbeddingConfig, Initializer, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

use super::config::Activation;
use super::dropout::{Mode, Site};
use super::lora::LowRank;
use crate::kernels::{self, Lookup, Norm};

/// Scale and, where there is one, shift over the hidden dimension, `[hidden]` each.
#[derive(Module, Debug)]
pub(super) struct LayerNorm {
    gamma: Param<Tensor<1>>,
    beta: Option<Param<Tensor<1>>>,
    epsilon: f64,
}

impl LayerNorm {
    pub(super) fn unset(width: usize, epsilon: f64, shifts: bool, device: &Device) -> LayerNorm {
        LayerNorm {
            gamma: Initializer::Ones.init([width], device),
            beta: shifts.then(|| Initializer::Zeros.init([width], device)),
            epsilon,
        }
    }

    pub(super) fn norm(&self) -> Norm {
        let gamma = self.gamma.val();
        let beta = match &self.beta {
            Some(beta) => beta.val(),
            None => Tensor::zeros(gamma.dims(), &gamma.device().without_autodiff()),
        };
        Norm {
            gamma,
            beta,
            epsilon: self.epsilon,
        }
    }

    /// `[rows, hidden]` → `[rows, hidden]`.
    pub(super) fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        kernels::layer_norm(input, self.norm())
    }
}

/// A matrix `[inputs, outputs]`, a shift `[outputs]`, and what LoRA adds to the matrix, where there is one.
#[derive(Module, Debug)]
pub(super) struct Linear {
    pub(super) weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
    pub(super) lora: Option<LowRank>,
}

pub(super) fn linear(inputs: usize, outputs: usize, bias: bool, device: &Device) -> Linear {
    let config = LinearConfig::new(inputs, outputs).with_bias(bias);
    let nn::Linear { weight, bias } = config.init(device);
    Linear {
        weight,
        bias,
        lora: None,
    }
}

/// `[rows, inputs]` → `[rows, outputs]`.
pub(super) fn apply(layer: &Linear, input: Tensor<2>, mode: &Mode) -> Tensor<2> {
    let weight = layer.weight.val();
    let bias = match &layer.bias {
        Some(bias) => bias.val(),
        None => {
            let [_, outputs] = weight.dims();
            Tensor::zeros([outputs], &weight.device().without_autodiff())
        }
    };
    let product = kernels::linear(input.clone(), weight, bias, mode.precision()); // [rows, outputs]
    match &layer.lora {
        None => product,
        Some(lora) => product + lora.forward(input, mode), // [rows, outputs]
    }
}

/// A table `[rows, width]`.
pub(super) fn table(rows: usize, width: usize, device: &Device) -> Embedding {
    EmbeddingConfig::new(rows, width).init(device)
}

pub(super) fn lookup(embedding: &Embedding, entries: Tensor<1, Int>) -> Lookup {
    Lookup {
        table: embedding.weight.val(),
        entries,
    }
}

/// The dense layer that widens, and its activation: `BertIntermediate` and its equals.
#[derive(Module, Debug)]
pub(super) struct Intermediate {
    pub(super) dense: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Intermediate {
    pub(super) fn unset(
        width: usize,
        intermediate: usize,
        activation: Activation,
        device: &Device,
    ) -> Intermediate {
        Intermediate {
            dense: linear(width, intermediate, true, device),
            activation,
        }
    }

    /// `[rows, width]` → `[rows, intermediate]`.
    pub(super) fn forward(&self, hidden: Tensor<2>, mode: &Mode) -> Tensor<2> {
        self.activation.of(apply(&self.dense, hidden, mode))
    }
}

/// Dense, dropout, residual, LayerNorm: `BertOutput` and its equals.
#[derive(Module, Debug)]
pub(super) struct Output {
    pub(super) dense: Linear,
    layer_norm: LayerNorm,
    dropout: f64,
}

impl Output {
    pub(super) fn unset(
        [inputs, width]: [usize; 2],
        epsilon: f64,
        dropout: f64,
        device: &Device,
    ) -> Output {
        Output {
            dense: linear(inputs, width, true, device),
            layer_norm: LayerNorm::unset(width, epsilon, true, device),
            dropout,
        }
    }

    /// `[rows, inputs]` and the residual `[rows, width]` → `[rows, width]`.
    pub(super) fn forward(
        &self,
        input: Tensor<2>,
        residual: Tensor<2>,
        mode: &Mode,
        site: Site,
    ) -> Tensor<2> {
        let dropout = mode.dropout(self.dropout, site);
        let dense = apply(&self.dense, input, mode); // [rows, width]
        kernels::dropout_add_layer_norm(dense, residual, self.layer_norm.norm(), dropout)
    }
}
