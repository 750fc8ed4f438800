//! In which numbers matrices are multiplied.
//!
//! Weights, hidden states, LayerNorm, softmax, activations, losses and gradients are 32-bit floats in every precision. In half
//! precision the products of matrices, forward and backward, take operands that are rounded to 16 bits, sum in 32, and give
//! a result that is rounded in turn: the arithmetic of `torch.autocast` (Micikevicius et al., 2018,
//! <https://arxiv.org/abs/1710.03740>).
//!
//! Two functions are all that an operation needs for that. [`Precision::product`] multiplies in 16 bits, which a GPU does on
//! its tensor cores. [`Precision::rounded`] rounds a tensor, and on the way back its gradient: around a fused operation of the
//! CPU, which computes in 32 bits, it gives the same numbers, and no speed. Both leave everything as it is in `fp32`.
//!
//! Deliberately absent: a cache of rounded weights, and the scaling of losses, which is the training loop's.

use burn::tensor::{DType, Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cpu;
use super::flex::{self, Fused, Numbers};

/// In which numbers matrices are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats: 24 bits of accuracy.
    #[default]
    Fp32,
    /// 16-bit floats with the range of 32-bit ones and 8 bits of accuracy ("brain floats").
    Bf16,
    /// 16-bit floats with 11 bits of accuracy, and nothing beyond 65504 or below 6e-8.
    Fp16,
}

impl Precision {
    /// In specs.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Bf16 => "bf16",
            Precision::Fp16 => "fp16",
        }
    }

    /// Whether `device` computes in these numbers.
    pub fn runs_on(self, device: &Device) -> bool {
        self.half().is_none_or(|half| device.supports_dtype(half))
    }

    /// The type of operands and results; `None` for what they are anyway.
    fn half(self) -> Option<DType> {
        match self {
            Precision::Fp32 => None,
            Precision::Bf16 => Some(DType::BF16),
            Precision::Fp16 => Some(DType::F16),
        }
    }

    /// Whether operands and results are rounded.
    pub(super) fn is_half(self) -> bool {
        self.half().is_some()
    }

    /// Each number rounded to this precision, to the nearest, and of two to the even one; so is the gradient on its way
    /// back. The tensor's type stays as it is. What lies beyond the range becomes infinite.
    pub(super) fn rounded<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        let Some(half) = self.half() else {
            return tensor;
        };
        if flex::fits(&tensor) {
            return flex::apply(Rounded(self), [flex::input(tensor)]);
        }
        let whole = tensor.dtype();
        tensor.cast(half).cast(whole)
    }

    /// The product of matrices, `[…, rows, inner]` · `[…, inner, columns]` → `[…, rows, columns]`, of rounded operands and
    /// itself rounded, as a tensor of the operands' own type.
    pub(super) fn product<const D: usize>(self, left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
        let Some(half) = self.half() else {
            return left.matmul(right);
        };
        let whole = left.dtype();
        left.cast(half).matmul(right.cast(half)).cast(whole)
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone)]
struct Rounded(Precision);

impl Rounded {
    fn of(&self, numbers: Numbers) -> Numbers {
        let shape = numbers.shape();
        let mut values = numbers.into_vec();
        cpu::half::round_all(&mut values, self.0);
        Numbers::new(values, &shape)
    }
}

impl Fused<1> for Rounded {
    type Saved = ();

    fn forward(&self, [input]: [Numbers; 1]) -> (Numbers, ()) {
        (self.of(input), ())
    }

    fn backward(&self, (): (), gradient: Numbers, _wanted: [bool; 1]) -> [Option<Numbers>; 1] {
        [Some(self.of(gradient))]
    }
}
