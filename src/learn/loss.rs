//! How wrong the answers are: one number that gradients can follow.
//!
//! Deliberately absent: the predictions' own scores, which are in `metrics`.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};

/// The mean of -log softmax(logits) at the target: `logits [batch, labels]`, `targets [batch]` (label numbers) → `[1]`.
///
/// Source: `torch.nn.functional.cross_entropy` with `reduction="mean"`.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let [batch] = targets.dims();
    let chances = log_softmax(logits, 1); // [batch, labels]
    chances.gather(1, targets.reshape([batch, 1])).mean().neg() // [batch, 1] → [1]
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn loss(logits: [[f32; 3]; 2], targets: [i32; 2]) -> f32 {
        let device = Device::flex();
        cross_entropy(
            Tensor::from_data(logits, &device),
            Tensor::from_data(targets, &device),
        )
        .into_scalar()
    }

    #[test]
    fn it_is_what_torch_computes() {
        assert!((loss([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]], [2, 1]) - 1.419_961_8).abs() < 1e-6);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        assert_eq!(
            loss([[100.0, -100.0, 3.0], [-1000.0, 1000.0, 0.0]], [1, 1]),
            100.0
        );
    }
}
