//! Scores of single-label classification, from one confusion matrix.
//!
//! Promise: the numbers of scikit-learn 1.9 with `labels` = every label name and `zero_division=0`, to rounding.
//!
//! Deliberately absent: probabilities (thresholds, calibration, AUC) and the loss.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Metric;
use super::bootstrap::{Sample, without_loss};
use super::counts::{Counts, macro_mean, quotient, total, weighted_mean};

/// Scores of one split. Fields are written in this order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Classification {
    pub accuracy: f64,
    pub f1_micro: f64,
    pub f1_macro: f64,
    pub f1_weighted: f64,
    pub precision_micro: f64,
    pub precision_macro: f64,
    pub precision_weighted: f64,
    pub recall_micro: f64,
    pub recall_macro: f64,
    pub recall_weighted: f64,
    /// Multi-class Matthews correlation (Gorodkin 2004), as scikit-learn computes it.
    pub matthews: f64,
    /// One entry for each label name, in that order.
    pub per_class: Vec<ClassScores>,
    /// `[true label][predicted label]`, in rows.
    pub confusion_matrix: Vec<Vec<u64>>,
    pub labels: Vec<String>,
}

/// Scores of one class against all others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScores {
    pub label: String,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// Rows that have this label.
    pub support: u64,
}

/// Scores `predicted` against `labels`, both indices into `names`, row by row.
///
/// A mean over no rows, and any quotient with nothing below the line, is 0. A row whose label or prediction is no index
/// into `names` counts as answered wrongly and belongs to no class; rows that only one side has are not looked at.
pub fn classification(labels: &[u32], predicted: &[u32], names: &[String]) -> Classification {
    let classes = names.len();
    let mut confusion_matrix = vec![vec![0u64; classes]; classes]; // [true, predicted]
    for (&label, &answer) in labels.iter().zip(predicted) {
        if let Some(cell) = confusion_matrix
            .get_mut(label as usize)
            .and_then(|row| row.get_mut(answer as usize))
        {
            *cell += 1;
        }
    }
    let rows = labels.len().min(predicted.len()) as f64;
    let counts: Vec<Counts> = (0..classes)
        .map(|class| Counts {
            hits: confusion_matrix[class][class] as f64,
            support: confusion_matrix[class].iter().sum::<u64>() as f64,
            predicted: confusion_matrix.iter().map(|row| row[class]).sum::<u64>() as f64,
        })
        .collect();
    let total = total(&counts);
    let macro_mean = |value| macro_mean(&counts, value);
    let weighted_mean = |value| weighted_mean(&counts, value);

    Classification {
        accuracy: quotient(total.hits, rows),
        f1_micro: total.f1(),
        f1_macro: macro_mean(Counts::f1),
        f1_weighted: weighted_mean(Counts::f1),
        precision_micro: total.precision(),
        precision_macro: macro_mean(Counts::precision),
        precision_weighted: weighted_mean(Counts::precision),
        recall_micro: total.recall(),
        recall_macro: macro_mean(Counts::recall),
        recall_weighted: weighted_mean(Counts::recall),
        matthews: matthews(&counts, &total),
        per_class: names
            .iter()
            .zip(&counts)
            .map(|(label, counts)| ClassScores {
                label: label.clone(),
                precision: counts.precision(),
                recall: counts.recall(),
                f1: counts.f1(),
                support: counts.support as u64,
            })
            .collect(),
        confusion_matrix,
        labels: names.to_vec(),
    }
}

/// The rows as [`classification`] takes them, to be scored in any selection.
pub fn sample_of_classes(labels: Vec<u32>, predicted: Vec<u32>, names: Vec<String>) -> Sample {
    Sample::new(labels.len().min(predicted.len()), move |rows| {
        let of = |all: &[u32]| rows.iter().map(|&row| all[row]).collect::<Vec<u32>>();
        without_loss(classification(&of(&labels), &of(&predicted), &names).flat(0.0))
    })
}

impl Classification {
    /// The value of `metric`; none for what no confusion matrix knows, the loss among them.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        Some(match metric {
            Metric::Accuracy => self.accuracy,
            Metric::F1Micro => self.f1_micro,
            Metric::F1Macro => self.f1_macro,
            Metric::F1Weighted => self.f1_weighted,
            Metric::PrecisionMicro => self.precision_micro,
            Metric::PrecisionMacro => self.precision_macro,
            Metric::PrecisionWeighted => self.precision_weighted,
            Metric::RecallMicro => self.recall_micro,
            Metric::RecallMacro => self.recall_macro,
            Metric::RecallWeighted => self.recall_weighted,
            Metric::Matthews => self.matthews,
            _ => return None,
        })
    }

    /// What stands behind the flat metrics: `per_class`, `labels` and `confusion_matrix`.
    pub fn details(&self) -> Map<String, Value> {
        let whole = serde_json::to_value(self).expect("maps with string keys are JSON");
        let field = |name: &str| whole.get(name).cloned().unwrap_or_default();
        ["per_class", "labels", "confusion_matrix"]
            .map(|name| (name.to_owned(), field(name)))
            .into_iter()
            .collect()
    }

    /// Every metric by its name, `loss` last: what `scores.json` begins with and a metrics log holds.
    pub fn flat(&self, loss: f64) -> Map<String, Value> {
        Metric::CLASSIFICATION
            .iter()
            .map(|&metric| {
                (
                    metric.name().to_owned(),
                    self.value(metric).unwrap_or(loss).into(),
                )
            })
            .collect()
    }
}

/// `sklearn.metrics.matthews_corrcoef`: the correlation of the two indicator matrices.
fn matthews(counts: &[Counts], total: &Counts) -> f64 {
    let square = total.support * total.support;
    let sum = |product: fn(&Counts) -> f64| counts.iter().map(product).sum::<f64>();
    let both = total.hits * total.support - sum(|one| one.support * one.predicted);
    let of_predicted = square - sum(|one| one.predicted * one.predicted);
    let of_labels = square - sum(|one| one.support * one.support);
    quotient(both, (of_predicted * of_labels).sqrt())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        about: String,
        classes: usize,
        labels: Vec<u32>,
        predicted: Vec<u32>,
        expected: std::collections::BTreeMap<String, f64>,
        precision: Vec<f64>,
        recall: Vec<f64>,
        f1: Vec<f64>,
        support: Vec<u64>,
        confusion_matrix: Option<Vec<Vec<u64>>>,
    }

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| format!("label {class}")).collect()
    }

    #[test]
    fn every_number_is_scikit_learns() {
        let text = include_str!("../../tests/fixtures/classification_metrics.json");
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        assert!(fixture.cases.len() >= 50);
        for (number, case) in fixture.cases.iter().enumerate() {
            let ours = classification(&case.labels, &case.predicted, &names(case.classes));
            let near = |what: &str, ours: f64, theirs: f64| {
                assert!(
                    (ours - theirs).abs() < 1e-6,
                    "case {number} ({}): {what} is {ours}, not {theirs}",
                    case.about
                );
            };
            assert_eq!(case.expected.len(), Metric::CLASSIFICATION.len() - 1);
            for &metric in Metric::CLASSIFICATION
                .iter()
                .filter(|metric| **metric != Metric::Loss)
            {
                near(
                    metric.name(),
                    ours.value(metric).unwrap(),
                    case.expected[metric.name()],
                );
            }
            for (class, scores) in ours.per_class.iter().enumerate() {
                near("precision", scores.precision, case.precision[class]);
                near("recall", scores.recall, case.recall[class]);
                near("f1", scores.f1, case.f1[class]);
                assert_eq!(scores.support, case.support[class]);
            }
            if let Some(matrix) = &case.confusion_matrix {
                assert_eq!(&ours.confusion_matrix, matrix, "case {number}");
            }
        }
    }

    #[test]
    fn no_rows_score_zero_and_not_nan() {
        let scores = classification(&[], &[], &names(3));
        for &metric in Metric::CLASSIFICATION {
            assert_eq!(scores.value(metric).unwrap_or(0.0), 0.0, "{metric}");
        }
    }

    #[test]
    fn a_label_without_a_name_is_a_wrong_answer() {
        let scores = classification(&[0, 7], &[0, 0], &names(2));
        assert_eq!(scores.accuracy, 0.5);
        assert_eq!(scores.per_class[0].support, 1);
    }

    #[test]
    fn written_scores_begin_with_the_flat_metrics() {
        let scores = classification(&[0, 1], &[0, 0], &names(2));
        let written = serde_json::to_value(&scores).unwrap();
        let fields: Vec<&str> = written
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let flat: Vec<&str> = Metric::CLASSIFICATION
            .iter()
            .map(|metric| metric.name())
            .filter(|name| *name != "loss")
            .collect();
        assert_eq!(fields[..11], flat);
        assert_eq!(scores.flat(0.5)["loss"], 0.5);
    }
}
