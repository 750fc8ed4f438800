//! Scores of predicted numbers, one or several to a row.
//!
//! Promise: the numbers of scikit-learn 1.9 (`mean_squared_error`, `root_mean_squared_error`, `mean_absolute_error`,
//! `r2_score` with `uniform_average`) and scipy 1.17 (`pearsonr`, `spearmanr`), to rounding. What these leave undefined (a
//! correlation with a constant, R² of fewer than two rows) is none, and null in JSON, never not-a-number.
//!
//! One thing is decided more strictly than there: R² of a constant truth, 1 if all is predicted exactly and else 0, asks
//! whether all values are *equal*. scikit-learn asks whether their variance is 0, which rounding can hide.
//!
//! Deliberately absent: any scale. Errors are in the units of the target, as they came.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Metric;
use super::bootstrap::{Sample, without_loss};

/// Scores of one split: means over the targets, each target counted alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Regression {
    /// Mean squared error, in squared units of the targets.
    pub mse: f64,
    /// Root of the mean squared error of each target, in its units.
    pub rmse: f64,
    /// Mean absolute error, in units of the targets.
    pub mae: f64,
    /// None if any target has none; so too the correlations.
    pub r2: Option<f64>,
    pub pearson: Option<f64>,
    pub spearman: Option<f64>,
    /// One entry for each target name, in that order.
    pub targets: Vec<TargetScores>,
}

/// Scores of one target. Fields are written in this order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetScores {
    pub target: String,
    pub mse: f64,
    pub rmse: f64,
    pub mae: f64,
    pub r2: Option<f64>,
    pub pearson: Option<f64>,
    pub spearman: Option<f64>,
}

/// Scores `predicted` against `truth`, row by row, each row with one number for each of `names`.
///
/// Rows and numbers that one side lacks are not looked at. The errors of no rows, and of numbers that are not finite, are
/// not numbers, and are written as null.
pub fn regression(truth: &[Vec<f64>], predicted: &[Vec<f64>], names: &[String]) -> Regression {
    let mut targets = Vec::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        let pairs = truth.iter().zip(predicted);
        let (truth, predicted): (Vec<f64>, Vec<f64>) = pairs
            .filter_map(|(truth, predicted)| Some((truth.get(place)?, predicted.get(place)?)))
            .unzip();
        targets.push(target(name, &truth, &predicted));
    }
    let mean = |value: fn(&TargetScores) -> f64| mean(targets.iter().map(value));
    let defined = |value: fn(&TargetScores) -> Option<f64>| {
        let values: Option<Vec<f64>> = targets.iter().map(value).collect();
        finite(self::mean(values?.into_iter()))
    };
    Regression {
        mse: mean(|target| target.mse),
        rmse: mean(|target| target.rmse),
        mae: mean(|target| target.mae),
        r2: defined(|target| target.r2),
        pearson: defined(|target| target.pearson),
        spearman: defined(|target| target.spearman),
        targets,
    }
}

/// The rows as [`regression`] takes them, to be scored in any selection.
pub fn sample_of_numbers(
    truth: Vec<Vec<f64>>,
    predicted: Vec<Vec<f64>>,
    names: Vec<String>,
) -> Sample {
    Sample::new(truth.len().min(predicted.len()), move |rows| {
        let of = |all: &[Vec<f64>]| -> Vec<Vec<f64>> {
            rows.iter().map(|&row| all[row].clone()).collect()
        };
        without_loss(regression(&of(&truth), &of(&predicted), &names).flat(0.0))
    })
}

impl Regression {
    /// The value of `metric`; none where it is undefined, for the loss, and for what numbers are not scored by.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Mse => Some(self.mse),
            Metric::Rmse => Some(self.rmse),
            Metric::Mae => Some(self.mae),
            Metric::R2 => self.r2,
            Metric::Pearson => self.pearson,
            Metric::Spearman => self.spearman,
            _ => None,
        }
    }

    /// Every metric of [`Metric::REGRESSION`] by its name, null where it is undefined, `loss` last.
    pub fn flat(&self, loss: f64) -> Map<String, Value> {
        Metric::REGRESSION
            .iter()
            .map(|&metric| {
                let value = match metric {
                    Metric::Loss => Some(loss),
                    metric => self.value(metric),
                };
                (metric.name().to_owned(), value.into())
            })
            .collect()
    }

    /// What stands behind the flat metrics: `targets`, an object for each target.
    pub fn details(&self) -> Map<String, Value> {
        let targets = serde_json::to_value(&self.targets);
        let targets = targets.expect("strings and numbers are JSON");
        [("targets".to_owned(), targets)].into_iter().collect()
    }
}

/// `truth` and `predicted` are equally long.
fn target(name: &str, truth: &[f64], predicted: &[f64]) -> TargetScores {
    let errors = || {
        let pairs = truth.iter().zip(predicted);
        pairs.map(|(truth, predicted)| truth - predicted)
    };
    let mse = mean(errors().map(|error| error * error));
    TargetScores {
        target: name.to_owned(),
        mse,
        rmse: mse.sqrt(),
        mae: mean(errors().map(f64::abs)),
        r2: r2(truth, errors().map(|error| error * error).sum()),
        pearson: pearson(truth, predicted),
        spearman: spearman(truth, predicted),
    }
}

fn r2(truth: &[f64], unexplained: f64) -> Option<f64> {
    if truth.len() < 2 || !unexplained.is_finite() {
        return None;
    }
    if is_constant(truth) {
        return Some(f64::from(unexplained == 0.0));
    }
    let centre = mean(truth.iter().copied());
    let variance: f64 = truth.iter().map(|value| (value - centre).powi(2)).sum();
    finite(1.0 - unexplained / variance)
}

fn pearson(left: &[f64], right: &[f64]) -> Option<f64> {
    if left.len() < 2 || is_constant(left) || is_constant(right) {
        return None;
    }
    let (left, right) = (direction(left), direction(right));
    let r: f64 = left.iter().zip(&right).map(|(a, b)| a * b).sum();
    // Two points lie on a line, whatever rounding says.
    let r = if left.len() == 2 { r.round() } else { r };
    finite(r.clamp(-1.0, 1.0))
}

/// The values about their mean, at length 1. Scaled by the largest first, so that no square overflows.
fn direction(values: &[f64]) -> Vec<f64> {
    let centre = mean(values.iter().copied());
    let largest = values
        .iter()
        .map(|value| (value - centre).abs())
        .fold(0.0, f64::max);
    let scaled: Vec<f64> = values
        .iter()
        .map(|value| (value - centre) / largest)
        .collect();
    let length = scaled.iter().map(|value| value * value).sum::<f64>().sqrt();
    scaled.into_iter().map(|value| value / length).collect()
}

fn spearman(left: &[f64], right: &[f64]) -> Option<f64> {
    if left.iter().chain(right).any(|value| value.is_nan()) {
        return None;
    }
    pearson(&ranks(left), &ranks(right))
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    // Adding 0 makes one zero of the two.
    order.sort_by(|&a, &b| (values[a] + 0.0).total_cmp(&(values[b] + 0.0)));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = before as f64 + (equal.len() as f64 + 1.0) / 2.0;
        for &place in equal {
            ranks[place] = rank;
        }
        before += equal.len();
    }
    ranks
}

fn is_constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

/// Not a number, of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, number) = values.fold((0.0, 0.0), |(sum, number), value| {
        (sum + value, number + 1.0)
    });
    sum / number
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        about: String,
        truth: Vec<Vec<f64>>,
        predicted: Vec<Vec<f64>>,
        expected: BTreeMap<String, Option<f64>>,
        targets: Vec<BTreeMap<String, Option<f64>>>,
    }

    fn names(targets: usize) -> Vec<String> {
        (0..targets)
            .map(|place| format!("target {place}"))
            .collect()
    }

    #[test]
    fn every_number_is_scikit_learns_and_scipys() {
        let text = include_str!("../../tests/fixtures/regression_metrics.json");
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        assert!(fixture.cases.len() >= 50);
        for (number, case) in fixture.cases.iter().enumerate() {
            let ours = regression(&case.truth, &case.predicted, &names(case.targets.len()));
            let near = |ours: &Value, theirs: &BTreeMap<String, Option<f64>>| {
                assert_eq!(theirs.len(), Metric::REGRESSION.len() - 1);
                for (name, &theirs) in theirs {
                    let ours = ours[name].as_f64();
                    let equal = match (ours, theirs) {
                        (Some(ours), Some(theirs)) => {
                            (ours - theirs).abs() <= 1e-6 * theirs.abs().max(1e-8)
                        }
                        (ours, theirs) => ours == theirs,
                    };
                    assert!(
                        equal,
                        "case {number} ({}): {name} is {ours:?}, not {theirs:?}",
                        case.about
                    );
                }
            };
            near(&Value::Object(ours.flat(0.5)), &case.expected);
            let details = ours.details();
            for (place, theirs) in case.targets.iter().enumerate() {
                near(&details["targets"][place], theirs);
            }
        }
    }

    #[test]
    fn a_constant_truth_has_no_correlation_and_stays_out_of_the_json() {
        let rows = [vec![0.1], vec![0.1], vec![0.1]];
        let scores = regression(&rows, &[vec![0.1], vec![0.2], vec![0.3]], &names(1));
        assert_eq!((scores.r2, scores.pearson), (Some(0.0), None));
        assert_eq!(regression(&rows, &rows, &names(1)).r2, Some(1.0));
        let flat = scores.flat(0.0);
        assert!(flat["pearson"].is_null() && flat["spearman"].is_null());
    }

    #[test]
    fn one_undefined_target_leaves_the_mean_undefined() {
        let truth = [vec![1.0, 2.0], vec![1.0, 3.0], vec![1.0, 5.0]];
        let predicted = [vec![1.0, 2.0], vec![2.0, 3.0], vec![3.0, 5.0]];
        let scores = regression(&truth, &predicted, &names(2));
        assert_eq!(scores.pearson, None);
        assert!(scores.targets[1].pearson.is_some_and(|r| r > 0.999_999));
    }

    #[test]
    fn what_is_not_finite_is_written_as_null() {
        for rows in [vec![], vec![vec![f64::NAN], vec![1.0], vec![f64::INFINITY]]] {
            let flat = regression(&rows, &rows, &names(1)).flat(f64::NAN);
            assert!(flat["mse"].is_null() && flat["loss"].is_null() && flat["r2"].is_null());
        }
    }

    #[test]
    fn rows_that_are_too_short_are_borne() {
        let scores = regression(&[vec![1.0], vec![]], &[vec![2.0, 3.0]], &names(2));
        assert_eq!(scores.targets[0].mse, 1.0);
        assert!(scores.targets[1].mse.is_nan());
    }

    proptest! {
        #[test]
        fn a_correlation_is_between_minus_one_and_one(
            pairs in prop::collection::vec((any::<f64>(), any::<f64>()), 0..12)
        ) {
            let (left, right): (Vec<_>, Vec<_>) = pairs.into_iter().map(|(a, b)| (vec![a], vec![b])).unzip();
            let scores = regression(&left, &right, &names(1));
            for r in [scores.pearson, scores.spearman].into_iter().flatten() {
                prop_assert!((-1.0..=1.0).contains(&r));
            }
        }

        #[test]
        fn ranks_sum_to_those_of_different_values(values in prop::collection::vec(-3i8..3, 0..20)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let number = values.len() as f64;
            prop_assert_eq!(ranks(&values).iter().sum::<f64>(), number * (number + 1.0) / 2.0);
        }
    }
}
