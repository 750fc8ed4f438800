//! LayerNorm, alone and as the end of a block: dropout, residual sum, LayerNorm.

use burn::tensor::Tensor;

use super::cpu;
use super::cpu::random::Dropout;
use super::dropout;
use super::flex::{self, Fused, Numbers};

/// LayerNorm's parameters: scale and shift, both `[hidden]`, and what is added to the variance.
#[derive(Debug, Clone)]
pub struct Norm {
    pub gamma: Tensor<1>,
    pub beta: Tensor<1>,
    pub epsilon: f64,
}

/// LayerNorm(dropout(`input`) + `residual`), all `[rows, hidden]`.
///
/// Source: Ba et al., 2016, <https://arxiv.org/abs/1607.06450>; the variance is that of the population.
pub fn dropout_add_layer_norm(
    input: Tensor<2>,
    residual: Tensor<2>,
    norm: Norm,
    dropout: Dropout,
) -> Tensor<2> {
    if flex::fits(&input) {
        let operation = AddNorm {
            epsilon: norm.epsilon as f32,
            dropout,
        };
        let inputs = [
            flex::input(input),
            flex::input(residual),
            flex::input(norm.gamma),
            flex::input(norm.beta),
        ];
        flex::apply(operation, inputs)
    } else {
        composed(input, residual, norm, dropout)
    }
}

pub(super) fn composed(
    input: Tensor<2>,
    residual: Tensor<2>,
    norm: Norm,
    dropout: Dropout,
) -> Tensor<2> {
    normalized(dropout::composed(input, dropout) + residual, norm)
}

/// LayerNorm(`input`), `[rows, hidden]`; source and variance as in [`dropout_add_layer_norm`].
pub fn layer_norm(input: Tensor<2>, norm: Norm) -> Tensor<2> {
    if flex::fits(&input) {
        let operation = Alone {
            epsilon: norm.epsilon as f32,
        };
        let inputs = [
            flex::input(input),
            flex::input(norm.gamma),
            flex::input(norm.beta),
        ];
        flex::apply(operation, inputs)
    } else {
        normalized(input, norm)
    }
}

/// LayerNorm of `[rows, hidden]`.
pub(super) fn normalized(input: Tensor<2>, norm: Norm) -> Tensor<2> {
    let mean = input.clone().mean_dim(1); // [rows, 1]
    let centred = input - mean;
    let variance = centred.clone().square().mean_dim(1); // [rows, 1]
    let normal = centred / (variance + norm.epsilon).sqrt();
    normal * norm.gamma.unsqueeze::<2>() + norm.beta.unsqueeze::<2>()
}

#[derive(Debug, Clone)]
struct AddNorm {
    epsilon: f32,
    dropout: Dropout,
}

/// What going back through a LayerNorm needs.
#[derive(Debug, Clone)]
pub(super) struct Saved {
    pub(super) normal: Numbers,
    pub(super) inverse_deviation: Numbers,
    pub(super) gamma: Numbers,
}

impl Fused<4> for AddNorm {
    type Saved = Saved;

    fn forward(&self, [input, residual, gamma, beta]: [Numbers; 4]) -> (Numbers, Saved) {
        let shape = input.dims();
        let norm = cpu::layer_norm::Norm {
            gamma: &gamma,
            beta: &beta,
            epsilon: self.epsilon,
        };
        let done = cpu::layer_norm::add_norm(input.into_vec(), &residual, norm, self.dropout);
        let saved = Saved {
            normal: Numbers::new(done.normal, &shape),
            inverse_deviation: Numbers::new(done.inverse_deviation, &shape[..1]),
            gamma,
        };
        (Numbers::new(done.output, &shape), saved)
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: Numbers,
        _wanted: [bool; 4],
    ) -> [Option<Numbers>; 4] {
        let shape = gradient.dims();
        let Saved {
            normal,
            inverse_deviation,
            gamma,
        } = saved;
        let back = cpu::layer_norm::back(
            gradient.into_vec(),
            &normal,
            &inverse_deviation,
            &gamma,
            self.dropout,
        );
        let by_sum = Numbers::new(back.by_sum, &shape);
        let by_input = match back.by_input {
            Some(by_input) => Numbers::new(by_input, &shape),
            None => by_sum.clone(),
        };
        [
            Some(by_input),
            Some(by_sum),
            Some(Numbers::new(back.by_gamma, &shape[1..])),
            Some(Numbers::new(back.by_beta, &shape[1..])),
        ]
    }
}

/// A LayerNorm that no residual enters.
#[derive(Debug, Clone)]
struct Alone {
    epsilon: f32,
}

impl Fused<3> for Alone {
    type Saved = Saved;

    fn forward(&self, [input, gamma, beta]: [Numbers; 3]) -> (Numbers, Saved) {
        let shape = input.dims();
        let norm = cpu::layer_norm::Norm {
            gamma: &gamma,
            beta: &beta,
            epsilon: self.epsilon,
        };
        let done = cpu::layer_norm::norm(input.into_vec(), norm);
        let saved = Saved {
            normal: Numbers::new(done.normal, &shape),
            inverse_deviation: Numbers::new(done.inverse_deviation, &shape[..1]),
            gamma,
        };
        (Numbers::new(done.output, &shape), saved)
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: Numbers,
        _wanted: [bool; 3],
    ) -> [Option<Numbers>; 3] {
        let shape = gradient.dims();
        let back = cpu::layer_norm::back(
            gradient.into_vec(),
            &saved.normal,
            &saved.inverse_deviation,
            &saved.gamma,
            Dropout::NONE,
        );
        [
            Some(Numbers::new(back.by_sum, &shape)),
            Some(Numbers::new(back.by_gamma, &shape[1..])),
            Some(Numbers::new(back.by_beta, &shape[1..])),
        ]
    }
}
