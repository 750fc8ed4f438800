//! GELU (Hendrycks and Gimpel, 2016, <https://arxiv.org/abs/1606.08415>) with the exact error function.

use burn::tensor::Tensor;

use super::cpu;
use super::flex::{self, Fused, Numbers};

/// x Φ(x) of each element.
pub fn gelu(input: Tensor<2>) -> Tensor<2> {
    if flex::fits(&input) {
        flex::apply(Gelu, [flex::input(input)])
    } else {
        composed(input)
    }
}

/// Spelled out: burn 0.22's own `gelu` is exact forward, but on most backends its gradient is that of the tanh
/// approximation.
pub(super) fn composed(input: Tensor<2>) -> Tensor<2> {
    let twice_phi = (input.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0;
    input * 0.5 * twice_phi
}

#[derive(Debug, Clone)]
struct Gelu;

impl Fused<1> for Gelu {
    type Saved = Numbers;

    fn forward(&self, [input]: [Numbers; 1]) -> (Numbers, Numbers) {
        (
            Numbers::new(cpu::gelu::forward(&input), &input.shape()),
            input,
        )
    }

    fn backward(
        &self,
        input: Numbers,
        gradient: Numbers,
        _wanted: [bool; 1],
    ) -> [Option<Numbers>; 1] {
        let mut gradient = gradient.into_vec();
        cpu::gelu::backward(&input, &mut gradient);
        [Some(Numbers::new(gradient, &input.shape()))]
    }
}
