//! Binary cross entropy: answers that are each right or not, whatever the others are.
//!
//! Sources: `torch.nn.BCEWithLogitsLoss` with `pos_weight`; `torchvision.ops.sigmoid_focal_loss` (Lin et al., 2017,
//! <https://arxiv.org/abs/1708.02002>) with its mean.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;

/// How answers that are each right or not are judged. The default is the plain binary cross entropy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BinaryCrossEntropy {
    /// By how much a missed label counts more than one too many, for each label. It has no part in a focal loss.
    pub positive_weights: Option<Vec<f32>>,
    /// In place of weights, how sure the model is decides what counts.
    pub focal: Option<Focal>,
}

/// The focal loss of single answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Focal {
    /// An answer of which the model is sure to the degree p counts (1 - p)^γ.
    pub gamma: f64,
    /// The weight α of a label that is there; one that is not weighs 1 - α. `None`: both weigh 1.
    pub alpha: Option<f64>,
}

impl BinaryCrossEntropy {
    /// The sum over texts and labels of how wrong each answer is: `logits [texts, labels]`, `wanted [texts, labels]` (1 for
    /// yes, 0 for no) → `[1]`.
    pub fn sum(&self, logits: Tensor<2>, wanted: Tensor<2>) -> Tensor<1> {
        match self.focal {
            Some(focal) => focal.of_each(logits, wanted).sum(),
            None => {
                let device = logits.device().without_autodiff();
                let weights = self
                    .positive_weights
                    .as_ref()
                    .map(|weights| Tensor::from_data(weights.as_slice(), &device));
                binary(logits, wanted, weights).sum()
            }
        }
    }

    /// What one answer adds to that sum, in double precision.
    pub fn of_answer(&self, label: usize, logit: f32, wanted: bool) -> f64 {
        let logit = f64::from(logit);
        let wrong = if wanted { -logit } else { logit };
        if let Some(Focal { gamma, alpha }) = self.focal {
            let weight = match (alpha, wanted) {
                (None, _) => 1.0,
                (Some(alpha), true) => alpha,
                (Some(alpha), false) => 1.0 - alpha,
            };
            return weight * softplus(wrong) * (-gamma * softplus(-wrong)).exp();
        }
        let weight = match (&self.positive_weights, wanted) {
            (Some(weights), true) => weights.get(label).map_or(1.0, |&weight| f64::from(weight)),
            _ => 1.0,
        };
        weight * softplus(wrong)
    }
}

/// How wrong each answer is, `[texts, labels]`, with `positive_weights [labels]`.
pub(super) fn binary(
    logits: Tensor<2>,
    wanted: Tensor<2>,
    positive_weights: Option<Tensor<1>>,
) -> Tensor<2> {
    let chances = log_sigmoid(logits.clone()); // [texts, labels]
    let chances = match positive_weights {
        None => chances,
        Some(weights) => chances * ((weights - 1.0).unsqueeze::<2>() * wanted.clone() + 1.0),
    };
    // log(1 - σ(x)) is log σ(x) - x.
    let no = wanted.neg() + 1.0; // [texts, labels]
    no * logits - chances
}

impl Focal {
    /// How wrong each answer is, `[texts, labels]`.
    fn of_each(&self, logits: Tensor<2>, wanted: Tensor<2>) -> Tensor<2> {
        let yes = log_sigmoid(logits.clone()); // [texts, labels]
        let no = yes.clone() - logits;
        let unwanted = wanted.clone().neg() + 1.0;
        let right = wanted.clone() * yes.clone() + unwanted.clone() * no.clone();
        let wrong = wanted.clone() * no + unwanted * yes;
        let each = right.neg() * (wrong * self.gamma).exp();
        match self.alpha {
            None => each,
            Some(alpha) => each * (wanted * (2.0 * alpha - 1.0) + (1.0 - alpha)),
        }
    }
}

/// log(1 + eˣ), without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
