//! How wrong the answers are: one number that gradients can follow.
//!
//! Each is a mean, so that the size of a batch does not change its scale, and each is PyTorch's where PyTorch has it. A mean
//! is a sum over a count (or over weights), and the sums are here by themselves, so that the parts of a batch can be divided by
//! the count of the whole.
//!
//! `classes` judges answers that exclude each other, `labels` those that do not.
//!
//! Deliberately absent: which rows are compared with what ([`Objective`](super::Objective)), and the predictions' own
//! scores, which are in `metrics`.

mod classes;
mod labels;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

pub use classes::CrossEntropy;
pub use labels::{BinaryCrossEntropy, Focal};

use crate::kernels::Spans;
use crate::model::Crf;

/// The mean of -log softmax(logits) at the target: `logits [batch, labels]`, `targets [batch]` (label numbers) → `[1]`.
///
/// Source: `torch.nn.functional.cross_entropy` with `reduction="mean"`.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let [batch] = targets.dims();
    CrossEntropy::default()
        .sum(logits, targets)
        .div_scalar(batch as f64)
}

/// The mean over texts and labels of how wrong each yes or no is: `logits [texts, labels]`, `wanted [texts, labels]` (1 for
/// yes, 0 for no), `positive_weights [labels]` (by how much a missed yes counts more than a false one) → `[1]`.
///
/// Source: `torch.nn.BCEWithLogitsLoss` with `pos_weight`.
pub fn binary_cross_entropy(
    logits: Tensor<2>,
    wanted: Tensor<2>,
    positive_weights: Option<Tensor<1>>,
) -> Tensor<1> {
    let count = logits.shape().num_elements();
    labels::binary(logits, wanted, positive_weights)
        .sum()
        .div_scalar(count as f64)
}

/// The mean of the squared differences over texts and targets: `answers [texts, targets]`, `wanted [texts, targets]` → `[1]`.
///
/// Source: `torch.nn.MSELoss`.
pub fn squared_error(answers: Tensor<2>, wanted: Tensor<2>) -> Tensor<1> {
    let count = answers.shape().num_elements();
    sum_of_squared_errors(answers, wanted).div_scalar(count as f64)
}

/// The numerator of [`squared_error`], whose denominator is the number of texts times that of targets.
pub(super) fn sum_of_squared_errors(answers: Tensor<2>, wanted: Tensor<2>) -> Tensor<1> {
    (answers - wanted).square().sum()
}

/// The mean over texts of the cross entropies of start and end, halved: `logits [rows, 2]`, whose rows belong to texts as
/// `spans` say, and the first and last token of each text's answer, counted in the text → `[1]`.
///
/// The softmax is over the text's own tokens. Source: `BertForQuestionAnswering`, which counts padding among them, so that
/// its loss depends on the longest text of the batch; the two agree where nothing is padded.
///
/// # Panics
/// When there are not as many answers as texts.
pub fn span_cross_entropy(logits: Tensor<2>, spans: &Spans, answers: &[(u32, u32)]) -> Tensor<1> {
    sum_of_span_cross_entropies(logits, spans, answers).div_scalar(2.0 * answers.len() as f64)
}

/// The numerator of [`span_cross_entropy`], whose denominator is twice the number of texts.
pub(super) fn sum_of_span_cross_entropies(
    logits: Tensor<2>,
    spans: &Spans,
    answers: &[(u32, u32)],
) -> Tensor<1> {
    let texts = spans.texts().len();
    assert_eq!(texts, answers.len());
    let device = logits.device().without_autodiff();
    let padding = spans.padding(&device).unsqueeze_dim::<3>(2); // [texts, length, 1]
    let spread = spans.spread(logits); // [texts, length, 2]
    let shape = spread.dims();
    // Low enough for an exponential of 0, and finite: infinities cancel to what is no number.
    let real = spread.mask_fill(padding.expand(shape), PADDING);
    let chances = log_softmax(real, 1); // [texts, length, 2]
    let places: Vec<i32> = answers
        .iter()
        .flat_map(|&(start, end)| [start as i32, end as i32])
        .collect();
    let places = Tensor::<3, Int>::from_data(TensorData::new(places, [texts, 1, 2]), &device);
    chances.gather(1, places).sum().neg() // [texts, 1, 2] → [1]
}

const PADDING: f32 = -1e9;

/// The negative log-likelihood of each text's labels, divided by the number of words, so that it compares with a word's cross
/// entropy: `emissions [texts, words, labels]`, and for each text the labels of its words, of which it has at least one
/// → `[1]`.
pub fn crf_loss(crf: &Crf, emissions: Tensor<3>, labels: &[Vec<u32>]) -> Tensor<1> {
    let words: usize = labels.iter().map(Vec::len).sum();
    sum_of_crf_losses(crf, emissions, labels).div_scalar(words as f64)
}

/// The numerator of [`crf_loss`], whose denominator is the number of words.
pub(super) fn sum_of_crf_losses(crf: &Crf, emissions: Tensor<3>, labels: &[Vec<u32>]) -> Tensor<1> {
    crf.log_likelihood(emissions, labels).sum().neg()
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

    /// The loss of `input` by `of`, and its gradient.
    fn both<const ROWS: usize, const COLUMNS: usize>(
        input: [[f32; COLUMNS]; ROWS],
        of: impl Fn(Tensor<2>) -> Tensor<1>,
    ) -> (f32, Vec<f32>) {
        let input = Tensor::<2>::from_data(input, &Device::flex().autodiff()).require_grad();
        let loss = of(input.clone());
        let gradient = input.grad(&loss.backward()).unwrap();
        (loss.into_scalar(), gradient.try_into_vec_as().unwrap())
    }

    #[track_caller]
    fn assert_close((loss, gradient): (f32, Vec<f32>), wanted: f32, gradients: &[f32]) {
        assert!(
            (loss - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
            "{loss} is not {wanted}"
        );
        assert_eq!(gradient.len(), gradients.len());
        for (found, wanted) in gradient.iter().zip(gradients) {
            assert!(
                (found - wanted).abs() < 1e-6,
                "{gradient:?} is not {gradients:?}"
            );
        }
    }

    // The numbers are those of PyTorch 2.15.

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

    const YES_OR_NO: [[f32; 3]; 2] = [[2.0, -1.0, 0.5], [0.0, -30.0, 40.0]];

    fn of_several(weights: Option<[f32; 3]>) -> (f32, Vec<f32>) {
        let device = Device::flex();
        both(YES_OR_NO, |logits| {
            let wanted = Tensor::from_data([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], &device);
            let weights = weights.map(|weights| Tensor::from_data(weights, &device));
            binary_cross_entropy(logits, wanted, weights)
        })
    }

    #[test]
    fn yes_or_no_for_each_label_is_judged_as_in_torch() {
        let gradient = [
            -0.019_867_161,
            0.044_823_572,
            -0.062_923_44,
            0.083_333_336,
            -0.166_666_67,
            0.0,
        ];
        assert_close(of_several(None), 5.267_902_4, &gradient);
    }

    #[test]
    fn a_positive_weight_counts_what_is_missed_as_in_torch() {
        let gradient = [
            -0.019_867_161,
            0.044_823_572,
            -0.015_730_86,
            0.083_333_336,
            -0.416_666_66,
            0.0,
        ];
        assert_close(of_several(Some([1.0, 2.5, 0.25])), 12.708_644, &gradient);
    }

    #[test]
    fn squared_errors_are_those_of_torch() {
        let found = both([[1.5, -2.0], [0.25, 3.0], [-1.0, 0.125]], |answers| {
            let wanted = [[1.0, -1.0], [0.5, 2.0], [2.0, 0.0]];
            squared_error(answers, Tensor::from_data(wanted, &Device::flex()))
        });
        let gradient = [
            0.166_666_67,
            -0.333_333_34,
            -0.083_333_336,
            0.333_333_34,
            -1.0,
            0.041_666_668,
        ];
        assert_close(found, 1.888_020_9, &gradient);
    }

    /// In torch each window was computed alone.
    #[test]
    fn starts_and_ends_are_judged_among_a_windows_own_tokens() {
        let (a, b) = (
            [[0.2, 1.0], [-0.5, 0.3], [2.0, -1.0]],
            [[0.7, 0.1], [1.1, -0.4]],
        );
        let answers = [(1, 2), (0, 0)];
        let gradient = [
            0.033_129_113,
            0.153_193_73,
            -0.233_548_57,
            0.076_073_75,
            0.200_419_46,
            -0.229_267_48,
            -0.149_671_92,
            -0.094_385_17,
            0.149_671_92,
            0.094_385_17,
        ];
        let packed = both([a[0], a[1], a[2], b[0], b[1]], |logits| {
            span_cross_entropy(logits, &Spans::packed([3, 2]), &answers)
        });
        assert_close(packed, 1.649_474_6, &gradient);

        let padding = [50.0, -50.0];
        let padded = both(
            [a[0], a[1], a[2], padding, b[0], b[1], padding, padding],
            |logits| span_cross_entropy(logits, &Spans::padded([3, 2], 4), &answers),
        );
        let (of_a, of_b) = gradient.split_at(6);
        let gradient = [of_a, &[0.0; 2], of_b, &[0.0; 4]].concat();
        assert_close(padded, 1.649_474_6, &gradient);
    }

    /// What a loss is made of, and what PyTorch 2.15 makes of it.
    #[derive(serde::Deserialize)]
    struct Case {
        kind: String,
        settings: Settings,
        loss: f32,
        gradient: Vec<f32>,
    }

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(default)]
    struct Settings {
        class_weights: Option<Vec<f32>>,
        label_smoothing: f64,
        focal: Option<f64>,
        positive_weights: Option<Vec<f32>>,
        gamma: Option<f64>,
        alpha: Option<f64>,
    }

    const LOGITS: [[f32; 3]; 5] = [
        [2.0, -1.0, 0.5],
        [0.25, 0.75, -0.5],
        [-3.0, 1.5, 6.0],
        [0.0, 0.0, 0.0],
        [30.0, -30.0, 4.0],
    ];
    const CLASSES: [u32; 5] = [0, 2, 1, 1, 0];
    const LABELS: [[f32; 3]; 5] = [
        [1.0, 0.0, 1.0],
        [0.0, 1.0, 1.0],
        [0.0, 0.0, 0.0],
        [1.0, 1.0, 0.0],
        [0.0, 1.0, 0.0],
    ];

    #[test]
    fn every_loss_its_gradient_and_its_twin_on_the_host_are_those_of_torch() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/fixtures/losses_torch.json")).unwrap();
        assert_eq!(cases.len(), 12);
        for case in cases {
            let device = Device::flex();
            let (found, on_host) = if case.kind == "classes" {
                let loss = CrossEntropy {
                    class_weights: case.settings.class_weights.clone(),
                    label_smoothing: case.settings.label_smoothing,
                    focal: case.settings.focal,
                };
                let weight: f64 = CLASSES.iter().map(|&label| loss.weight(label)).sum();
                let rows = LOGITS.iter().zip(CLASSES);
                let sum: f64 = rows.map(|(logits, label)| loss.of_row(logits, label)).sum();
                let targets = CLASSES.map(|label| label as i32);
                let found = both(LOGITS, |logits| {
                    let targets = Tensor::from_data(targets, &device);
                    loss.sum(logits, targets).div_scalar(weight)
                });
                (found, sum / weight)
            } else {
                let loss = BinaryCrossEntropy {
                    positive_weights: case.settings.positive_weights.clone(),
                    focal: case.settings.gamma.map(|gamma| Focal {
                        gamma,
                        alpha: case.settings.alpha,
                    }),
                };
                let answers = LOGITS.iter().zip(&LABELS).flat_map(|(logits, wanted)| {
                    logits
                        .iter()
                        .zip(wanted)
                        .enumerate()
                        .map(|(label, (&logit, &wanted))| {
                            loss.of_answer(label, logit, wanted == 1.0)
                        })
                });
                let sum: f64 = answers.sum();
                let found = both(LOGITS, |logits| {
                    let wanted = Tensor::from_data(LABELS, &device);
                    loss.sum(logits, wanted).div_scalar(15.0)
                });
                (found, sum / 15.0)
            };
            let wanted = f64::from(case.loss);
            assert!(
                (on_host - wanted).abs() < 1e-6 * wanted.abs().max(1.0),
                "{:?}: {on_host} is not {wanted}",
                case.settings
            );
            assert_close(found, case.loss, &case.gradient);
        }
    }

    #[test]
    fn a_focal_loss_of_what_is_sure_is_finite_with_a_finite_gradient() {
        for gamma in [0.0, 0.5, 2.0] {
            let loss = CrossEntropy {
                focal: Some(gamma),
                ..CrossEntropy::default()
            };
            let (value, gradient) = both([[500.0, -500.0], [-500.0, 500.0]], |logits| {
                loss.sum(logits, Tensor::from_data([0, 0], &Device::flex()))
            });
            assert!((value - 1000.0).abs() < 1e-3, "{value}");
            assert!(gradient.iter().all(|x| x.is_finite()), "{gradient:?}");
        }
    }
}
