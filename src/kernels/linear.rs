//! The linear layer: `x W + b`.

use burn::tensor::Tensor;

use super::cpu;
use super::cpu::linear::Sizes;
use super::flex::{self, Fused, Numbers};
use super::precision::Precision;

/// `input [rows, inputs]` · `weight [inputs, outputs]` + `bias [outputs]` → `[rows, outputs]`, with all four of them rounded to
/// `precision`.
pub fn linear(
    input: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
) -> Tensor<2> {
    if !flex::fits(&input) {
        return composed(input, weight, bias, precision);
    }
    let output = flex::apply(
        Linear,
        [
            flex::input(precision.rounded(input)),
            flex::input(precision.rounded(weight)),
            flex::input(precision.rounded(bias)),
        ],
    );
    precision.rounded(output)
}

pub(super) fn composed(
    input: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    precision: Precision,
) -> Tensor<2> {
    let product = precision.product(input, weight);
    precision.rounded(product + precision.rounded(bias).unsqueeze::<2>())
}

#[derive(Debug, Clone)]
struct Linear;

impl Fused<3> for Linear {
    type Saved = [Numbers; 2];

    fn forward(&self, [input, weight, bias]: [Numbers; 3]) -> (Numbers, [Numbers; 2]) {
        let sizes = sizes(&input, &weight);
        let output = cpu::linear::forward(&input, &weight, &bias, sizes);
        (
            Numbers::new(output, &[sizes.rows, sizes.outputs]),
            [input, weight],
        )
    }

    fn backward(
        &self,
        [input, weight]: [Numbers; 2],
        gradient: Numbers,
        wanted: [bool; 3],
    ) -> [Option<Numbers>; 3] {
        let sizes = sizes(&input, &weight);
        [
            wanted[0].then(|| {
                Numbers::new(
                    cpu::linear::by_input(&gradient, &weight, sizes),
                    &input.dims(),
                )
            }),
            wanted[1].then(|| {
                Numbers::new(
                    cpu::linear::by_weight(&input, &gradient, sizes),
                    &weight.dims(),
                )
            }),
            wanted[2].then(|| {
                Numbers::new(
                    cpu::sums::columns(&gradient, sizes.outputs),
                    &[sizes.outputs],
                )
            }),
        ]
    }
}

fn sizes(input: &Numbers, weight: &Numbers) -> Sizes {
    let [rows, inputs] = input.dims();
    let [_, outputs] = weight.dims();
    Sizes {
        rows,
        inputs,
        outputs,
    }
}
