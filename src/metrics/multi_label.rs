//! Scores of rows that have any number of labels.
//!
//! Promise: the numbers of scikit-learn 1.9 on indicator matrices with a column for every label name and `zero_division=0`,
//! to rounding: `accuracy_score`, `hamming_loss`, `precision_recall_fscore_support` and
//! `label_ranking_average_precision_score`. So a row without labels for which none is predicted counts as 0 in the means
//! over rows (`samples`), although it is right; `subset_accuracy` counts it as 1.
//!
//! Deliberately absent: thresholds. Whoever decides which labels a score means also writes down how.

use std::borrow::Borrow;

use serde_json::{Map, Value};

use super::bootstrap::{Sample, without_loss};
use super::counts::{Counts, macro_mean, quotient, total, weighted_mean};
use super::{ClassScores, Metric};

/// Scores of one split.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiLabel {
    /// Share of rows whose set of labels is exactly right.
    pub subset_accuracy: f64,
    pub f1_micro: f64,
    pub f1_macro: f64,
    pub f1_weighted: f64,
    pub f1_samples: f64,
    pub precision_micro: f64,
    pub precision_macro: f64,
    pub precision_weighted: f64,
    pub precision_samples: f64,
    pub recall_micro: f64,
    pub recall_macro: f64,
    pub recall_weighted: f64,
    pub recall_samples: f64,
    /// Mean over rows of: the mean over the row's labels of the share of true labels among those with at least its score.
    /// A row with no label, or with all, counts as 1.
    pub label_ranking_average_precision: f64,
    /// Share of wrong decisions among rows × labels.
    pub hamming_loss: f64,
    /// One entry for each label name, in that order.
    pub per_label: Vec<ClassScores>,
}

/// Scores the sets of labels in `predicted` against those in `truth`, indices into `names`, row by row; and `scores`, one
/// for each label name, higher for likelier labels, by how they rank the labels.
///
/// A mean over no rows, and any quotient with nothing below the line, is 0. Indices that are none into `names` are not
/// looked at, nor are rows that one side lacks. A score that is missing or not a number ranks last.
pub fn multi_label(
    truth: &[Vec<u32>],
    predicted: &[Vec<u32>],
    scores: &[Vec<f32>],
    names: &[String],
) -> MultiLabel {
    scored(&parts(truth, predicted, scores, names.len()), names)
}

/// The rows as [`multi_label`] takes them, to be scored in any selection.
pub fn sample_of_label_sets(
    truth: &[Vec<u32>],
    predicted: &[Vec<u32>],
    scores: &[Vec<f32>],
    names: Vec<String>,
) -> Sample {
    let parts = parts(truth, predicted, scores, names.len());
    Sample::new(parts.len(), move |rows| {
        let drawn: Vec<&Part> = rows.iter().map(|&row| &parts[row]).collect();
        without_loss(scored(&drawn, &names).flat(0.0))
    })
}

/// What of a row its scores are made of.
struct Part {
    /// `[labels]`.
    truth: Vec<bool>,
    /// `[labels]`.
    predicted: Vec<bool>,
    ranking: f64,
}

fn parts(
    truth: &[Vec<u32>],
    predicted: &[Vec<u32>],
    scores: &[Vec<f32>],
    labels: usize,
) -> Vec<Part> {
    let rows = truth.iter().zip(predicted).zip(scores);
    rows.map(|((truth, predicted), scores)| {
        let truth = indicator(truth, labels);
        Part {
            predicted: indicator(predicted, labels),
            ranking: ranking_precision(&truth, scores),
            truth,
        }
    })
    .collect()
}

fn scored<P: Borrow<Part>>(parts: &[P], names: &[String]) -> MultiLabel {
    let mut labels = vec![Counts::default(); names.len()];
    let mut rows = Vec::with_capacity(parts.len());
    let mut ranking = 0.0;
    for part in parts.iter().map(Borrow::borrow) {
        let mut row = Counts::default();
        let decisions = part.truth.iter().zip(&part.predicted);
        for (label, (&is, &said)) in labels.iter_mut().zip(decisions) {
            label.add(is, said);
            row.add(is, said);
        }
        rows.push(row);
        ranking += part.ranking;
    }
    let number = rows.len() as f64;
    let wrong = |row: &Counts| row.support + row.predicted - 2.0 * row.hits;
    let total = total(&labels);

    MultiLabel {
        subset_accuracy: quotient(
            rows.iter().filter(|row| wrong(row) == 0.0).count() as f64,
            number,
        ),
        f1_micro: total.f1(),
        f1_macro: macro_mean(&labels, Counts::f1),
        f1_weighted: weighted_mean(&labels, Counts::f1),
        f1_samples: macro_mean(&rows, Counts::f1),
        precision_micro: total.precision(),
        precision_macro: macro_mean(&labels, Counts::precision),
        precision_weighted: weighted_mean(&labels, Counts::precision),
        precision_samples: macro_mean(&rows, Counts::precision),
        recall_micro: total.recall(),
        recall_macro: macro_mean(&labels, Counts::recall),
        recall_weighted: weighted_mean(&labels, Counts::recall),
        recall_samples: macro_mean(&rows, Counts::recall),
        label_ranking_average_precision: quotient(ranking, number),
        hamming_loss: quotient(wrong(&total), number * names.len() as f64),
        per_label: names
            .iter()
            .zip(&labels)
            .map(|(label, counts)| ClassScores {
                label: label.clone(),
                precision: counts.precision(),
                recall: counts.recall(),
                f1: counts.f1(),
                support: counts.support as u64,
            })
            .collect(),
    }
}

impl MultiLabel {
    /// The value of `metric`; none for the loss, and for what rows with several labels are not scored by.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        Some(match metric {
            Metric::SubsetAccuracy => self.subset_accuracy,
            Metric::F1Micro => self.f1_micro,
            Metric::F1Macro => self.f1_macro,
            Metric::F1Weighted => self.f1_weighted,
            Metric::F1Samples => self.f1_samples,
            Metric::PrecisionMicro => self.precision_micro,
            Metric::PrecisionMacro => self.precision_macro,
            Metric::PrecisionWeighted => self.precision_weighted,
            Metric::PrecisionSamples => self.precision_samples,
            Metric::RecallMicro => self.recall_micro,
            Metric::RecallMacro => self.recall_macro,
            Metric::RecallWeighted => self.recall_weighted,
            Metric::RecallSamples => self.recall_samples,
            Metric::LabelRankingAveragePrecision => self.label_ranking_average_precision,
            Metric::HammingLoss => self.hamming_loss,
            _ => return None,
        })
    }

    /// Every metric of [`Metric::MULTI_LABEL`] by its name, `loss` last.
    pub fn flat(&self, loss: f64) -> Map<String, Value> {
        Metric::MULTI_LABEL
            .iter()
            .map(|&metric| {
                (
                    metric.name().to_owned(),
                    self.value(metric).unwrap_or(loss).into(),
                )
            })
            .collect()
    }

    /// What stands behind the flat metrics: `per_label`, an object for each label.
    pub fn details(&self) -> Map<String, Value> {
        let per_label = serde_json::to_value(&self.per_label);
        let per_label = per_label.expect("strings and numbers are JSON");
        [("per_label".to_owned(), per_label)].into_iter().collect()
    }
}

/// Whether each of `labels` labels is set.
fn indicator(set: &[u32], labels: usize) -> Vec<bool> {
    let mut row = vec![false; labels];
    for &label in set {
        if let Some(place) = row.get_mut(label as usize) {
            *place = true;
        }
    }
    row
}

/// One row's share in the label ranking average precision: labels with tied scores all have the lowest of their ranks.
fn ranking_precision(truth: &[bool], scores: &[f32]) -> f64 {
    let set = truth.iter().filter(|is| **is).count();
    if set == 0 || set == truth.len() {
        return 1.0;
    }
    let mut sum = 0.0;
    for (_, score) in truth.iter().zip(scores).filter(|(is, _)| **is) {
        let (mut rank, mut hits) = (0.0, 0.0);
        for (&is, other) in truth.iter().zip(scores) {
            if other >= score {
                rank += 1.0;
                hits += f64::from(is);
            }
        }
        sum += quotient(hits, rank);
    }
    sum / set as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        about: String,
        labels: usize,
        truth: Vec<Vec<u32>>,
        predicted: Vec<Vec<u32>>,
        scores: Vec<Vec<f32>>,
        expected: BTreeMap<String, f64>,
        precision: Vec<f64>,
        recall: Vec<f64>,
        f1: Vec<f64>,
        support: Vec<u64>,
    }

    fn names(labels: usize) -> Vec<String> {
        (0..labels).map(|label| format!("label {label}")).collect()
    }

    #[test]
    fn every_number_is_scikit_learns() {
        let text = include_str!("../../tests/fixtures/multi_label_metrics.json");
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        assert!(fixture.cases.len() >= 50);
        for (number, case) in fixture.cases.iter().enumerate() {
            let ours = multi_label(
                &case.truth,
                &case.predicted,
                &case.scores,
                &names(case.labels),
            );
            let near = |what: &str, ours: f64, theirs: f64| {
                assert!(
                    (ours - theirs).abs() < 1e-6,
                    "case {number} ({}): {what} is {ours}, not {theirs}",
                    case.about
                );
            };
            assert_eq!(case.expected.len(), Metric::MULTI_LABEL.len() - 1);
            let flat = ours.flat(0.5);
            for (name, value) in &case.expected {
                near(name, flat[name].as_f64().unwrap(), *value);
            }
            assert_eq!(ours.per_label.len(), case.labels);
            for (label, scores) in ours.per_label.iter().enumerate() {
                near("precision", scores.precision, case.precision[label]);
                near("recall", scores.recall, case.recall[label]);
                near("f1", scores.f1, case.f1[label]);
                assert_eq!(scores.support, case.support[label]);
            }
        }
    }

    #[test]
    fn a_selection_of_rows_scores_as_these_rows_alone() {
        let truth = [vec![0, 2], vec![], vec![1], vec![2]];
        let predicted = [vec![0], vec![1], vec![1], vec![0, 2]];
        let scores: Vec<Vec<f32>> = vec![
            vec![0.9, 0.2, 0.4],
            vec![0.1, 0.6, 0.3],
            vec![0.2, 0.7, 0.9],
            vec![0.8, 0.1, 0.6],
        ];
        let sample = sample_of_label_sets(&truth, &predicted, &scores, names(3));
        for rows in [vec![0, 1, 2, 3], vec![3, 3, 0, 1], vec![2]] {
            fn of<T: Clone>(all: &[T], rows: &[usize]) -> Vec<T> {
                rows.iter().map(|&row| all[row].clone()).collect()
            }
            let alone = multi_label(
                &of(&truth, &rows),
                &of(&predicted, &rows),
                &of(&scores, &rows),
                &names(3),
            );
            let mut wanted = alone.flat(0.0);
            wanted.remove("loss");
            assert_eq!((sample.score)(&rows), wanted, "{rows:?}");
        }
    }

    #[test]
    fn no_rows_score_zero_and_not_nan() {
        for labels in [0, 3] {
            let scores = multi_label(&[], &[], &[], &names(labels));
            for &metric in Metric::MULTI_LABEL {
                assert_eq!(scores.value(metric).unwrap_or(0.0), 0.0, "{metric}");
            }
        }
    }

    #[test]
    fn one_label_alone_is_scored_as_yes_or_no() {
        let truth = [vec![0], vec![], vec![0], vec![]];
        let predicted = [vec![0], vec![0], vec![], vec![]];
        let scores = vec![vec![0.5]; 4];
        let scored = multi_label(&truth, &predicted, &scores, &names(1));
        assert_eq!((scored.f1_micro, scored.f1_macro), (0.5, 0.5));
        assert_eq!((scored.subset_accuracy, scored.hamming_loss), (0.5, 0.5));
        assert_eq!(scored.f1_samples, 0.25);
    }

    #[test]
    fn a_label_without_a_name_and_a_missing_score_are_borne() {
        let scored = multi_label(&[vec![0, 9]], &[vec![0, 7]], &[vec![]], &names(2));
        assert_eq!(scored.subset_accuracy, 1.0);
        assert_eq!(scored.label_ranking_average_precision, 0.0);
        let scored = multi_label(&[vec![1]], &[vec![]], &[vec![0.5, f32::NAN]], &names(2));
        assert_eq!(scored.label_ranking_average_precision, 0.0);
    }

    #[test]
    fn the_flat_metrics_come_first_and_the_labels_behind_them() {
        let scored = multi_label(&[vec![0]], &[vec![1]], &[vec![0.1, 0.9]], &names(2));
        let flat = scored.flat(0.25);
        assert_eq!(flat.keys().next().unwrap(), "subset_accuracy");
        assert_eq!(flat["loss"], 0.25);
        assert_eq!(flat.len(), Metric::MULTI_LABEL.len());
        assert_eq!(scored.details()["per_label"][1]["label"], "label 1");
    }
}
