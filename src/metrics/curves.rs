//! Curves over thresholds: ROC, precision against recall, what each threshold would do; and calibration.
//!
//! Promise: the numbers of scikit-learn 1.9 (`roc_curve` with `drop_intermediate=False`, `roc_auc_score`,
//! `precision_recall_curve`, `average_precision_score`, `calibration_curve` with `strategy="uniform"`), to rounding; what is
//! undefined there, or 0 with a warning, is none here. The expected calibration error is that of Guo et al. 2017,
//! <https://arxiv.org/abs/1706.04599>.
//!
//! [`thinned`] leaves of a curve what the eye can tell apart; areas are those of the whole curve.
//!
//! Deliberately absent: several classes at once. Each is looked at against all others.

/// The curves of one class against all others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curves {
    /// (share of the others at or above a threshold, share of its own), by falling threshold: from (0, 0) to (1, 1). Empty
    /// where one of both kinds is missing.
    pub roc: Vec<(f64, f64)>,
    /// The area under it.
    pub roc_auc: Option<f64>,
    /// (recall, precision) by rising threshold, so by falling recall; (0, 1) last. Empty without any of its own.
    pub precision_recall: Vec<(f64, f64)>,
    /// The mean of precision, weighted by how much recall each threshold adds.
    pub average_precision: Option<f64>,
}

/// Of rows that belong to the class (`truth`) or not, and how surely each was said to.
///
/// Rows that one side lacks, and scores that are not a number, are not looked at.
pub fn curves(truth: &[bool], scores: &[f64]) -> Curves {
    let mut rows: Vec<(f64, bool)> = scores.iter().copied().zip(truth.iter().copied()).collect();
    rows.retain(|(score, _)| !score.is_nan());
    // Adding 0 makes one zero of the two.
    rows.sort_by(|(a, _), (b, _)| (b + 0.0).total_cmp(&(a + 0.0)));
    let (mut own, mut others) = (0.0, 0.0);
    let mut counted = Vec::new();
    for equal in rows.chunk_by(|(a, _), (b, _)| a == b) {
        let positive = equal.iter().filter(|(_, is)| *is).count();
        own += positive as f64;
        others += (equal.len() - positive) as f64;
        counted.push((others, own));
    }
    let mut curves = Curves::default();
    if own > 0.0 && others > 0.0 {
        let share = |&(false_ones, true_ones): &(f64, f64)| (false_ones / others, true_ones / own);
        curves.roc = [(0.0, 0.0)]
            .into_iter()
            .chain(counted.iter().map(share))
            .collect();
        curves.roc_auc = Some(area(&curves.roc));
    }
    if own > 0.0 {
        let point = |&(false_ones, true_ones): &(f64, f64)| {
            (true_ones / own, true_ones / (true_ones + false_ones))
        };
        let mut points: Vec<(f64, f64)> = counted.iter().map(point).collect();
        points.reverse();
        points.push((0.0, 1.0));
        let gained = points.windows(2).map(|pair| match pair {
            [(recall, precision), (next, _)] => (recall - next) * precision,
            _ => 0.0,
        });
        curves.average_precision = Some(gained.sum());
        curves.precision_recall = points;
    }
    curves
}

/// The area under a curve, by trapezia.
fn area(curve: &[(f64, f64)]) -> f64 {
    let pieces = curve.windows(2).map(|pair| match pair {
        [(x, y), (next_x, next_y)] => (next_x - x) * (y + next_y) / 2.0,
        _ => 0.0,
    });
    pieces.sum()
}

/// The curve with fewer points: no point of either is farther than `distance` (|Δx| + |Δy|) from the other. First and last
/// stay.
pub fn thinned(curve: &[(f64, f64)], distance: f64) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for (place, &(x, y)) in curve.iter().enumerate() {
        let far = kept
            .last()
            .is_none_or(|(at_x, at_y)| (x - at_x).abs() + (y - at_y).abs() > distance);
        if far || place + 1 == curve.len() {
            kept.push((x, y));
        }
    }
    kept
}

/// How many thresholds [`threshold_counts`] looks at: 0, 0.01, … 1.
pub const THRESHOLDS: usize = 101;

/// For each threshold: true positives, false positives, false negatives, true negatives, where a row counts as positive from
/// its threshold on.
pub fn threshold_counts(truth: &[bool], scores: &[f64]) -> Vec<[u64; 4]> {
    let thresholds = (0..THRESHOLDS).map(|number| number as f64 / (THRESHOLDS - 1) as f64);
    let thresholds: Vec<f64> = thresholds.collect();
    // How many rows reach so many thresholds: others, own.
    let mut reaching = [[0_u64; 2]; THRESHOLDS + 1];
    for (&is, &score) in truth.iter().zip(scores) {
        let reached = thresholds.partition_point(|&threshold| score >= threshold);
        if let Some(rows) = reaching.get_mut(reached) {
            rows[usize::from(is)] += 1;
        }
    }
    let sum = |rows: &[[u64; 2]], kind: usize| rows.iter().map(|both| both[kind]).sum::<u64>();
    let count = |number: usize| {
        let (below, above) = reaching.split_at(number + 1);
        [sum(above, 1), sum(above, 0), sum(below, 1), sum(below, 0)]
    };
    (0..THRESHOLDS).map(count).collect()
}

/// Answers that were given about equally surely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Above `low`, up to and with `high`; the first holds 0 too.
    pub low: f64,
    pub high: f64,
    /// Means over the answers.
    pub confidence: f64,
    pub accuracy: f64,
    pub rows: u64,
}

/// Whether answers are as often right as they are sure: `bins` bins of equal width from 0 to 1, without those that have no
/// answer.
///
/// A confidence outside of that range falls into the nearest bin; one that is not a number is not looked at.
pub fn calibration(right: &[bool], confidence: &[f64], bins: usize) -> Vec<Bin> {
    let bins = bins.max(1);
    let edge = |number: usize| number as f64 * (1.0 / bins as f64);
    let mut sums = vec![(0.0, 0.0, 0_u64); bins];
    for (&right, &confidence) in right.iter().zip(confidence) {
        if confidence.is_nan() {
            continue;
        }
        let bin = (1..bins)
            .take_while(|&inner| edge(inner) < confidence)
            .count();
        if let Some((sure, hits, rows)) = sums.get_mut(bin) {
            *sure += confidence;
            *hits += f64::from(right);
            *rows += 1;
        }
    }
    let bin = |(number, (sure, hits, rows)): (usize, (f64, f64, u64))| Bin {
        low: edge(number),
        high: edge(number + 1),
        confidence: sure / rows as f64,
        accuracy: hits / rows as f64,
        rows,
    };
    let filled = sums.into_iter().enumerate();
    filled
        .filter(|(_, (_, _, rows))| *rows > 0)
        .map(bin)
        .collect()
}

/// The expected calibration error: by how much sureness and accuracy differ in a bin, each bin weighted by its answers. None
/// without any.
pub fn calibration_error(bins: &[Bin]) -> Option<f64> {
    let rows: u64 = bins.iter().map(|bin| bin.rows).sum();
    let off = |bin: &Bin| (bin.accuracy - bin.confidence).abs() * bin.rows as f64;
    (rows > 0).then(|| bins.iter().map(off).sum::<f64>() / rows as f64)
}

#[cfg(test)]
mod tests {
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
        truth: Vec<bool>,
        scores: Vec<f64>,
        roc: Option<Vec<(f64, f64)>>,
        roc_auc: Option<f64>,
        precision_recall: Option<Vec<(f64, f64)>>,
        average_precision: Option<f64>,
        bins: usize,
        /// (confidence, accuracy)
        calibration: Vec<(f64, f64)>,
        /// By index of the threshold.
        counts: Vec<(usize, [u64; 4])>,
    }

    fn near(ours: f64, theirs: f64, about: &str) {
        assert!(
            (ours - theirs).abs() < 1e-9,
            "{about}: {ours}, not {theirs}"
        );
    }

    fn all_near(ours: &[(f64, f64)], theirs: &[(f64, f64)], about: &str) {
        assert_eq!(ours.len(), theirs.len(), "{about}");
        for (ours, theirs) in ours.iter().zip(theirs) {
            near(ours.0, theirs.0, about);
            near(ours.1, theirs.1, about);
        }
    }

    #[test]
    fn every_number_is_scikit_learns() {
        let text = include_str!("../../tests/fixtures/curves_sklearn.json");
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        assert!(fixture.cases.len() >= 20);
        for case in &fixture.cases {
            let about = &case.about;
            let ours = curves(&case.truth, &case.scores);
            all_near(&ours.roc, case.roc.as_deref().unwrap_or_default(), about);
            let recall = case.precision_recall.as_deref().unwrap_or_default();
            all_near(&ours.precision_recall, recall, about);
            assert_eq!(ours.roc_auc.is_some(), case.roc_auc.is_some(), "{about}");
            near(
                ours.roc_auc.unwrap_or(0.0),
                case.roc_auc.unwrap_or(0.0),
                about,
            );
            let (ours, theirs) = (ours.average_precision, case.average_precision);
            assert_eq!(ours.is_some(), theirs.is_some(), "{about}");
            near(ours.unwrap_or(0.0), theirs.unwrap_or(0.0), about);
            let bins = calibration(&case.truth, &case.scores, case.bins);
            let means: Vec<(f64, f64)> = bins
                .iter()
                .map(|bin| (bin.confidence, bin.accuracy))
                .collect();
            all_near(&means, &case.calibration, about);
            let counts = threshold_counts(&case.truth, &case.scores);
            for (threshold, wanted) in &case.counts {
                assert_eq!(counts[*threshold], *wanted, "{about}: {threshold}");
            }
        }
    }

    #[test]
    fn what_is_undefined_is_none_and_not_a_number() {
        assert_eq!(curves(&[], &[]), Curves::default());
        let none_of_it = curves(&[false, false], &[0.1, 0.9]);
        assert_eq!(none_of_it, Curves::default());
        let all_of_it = curves(&[true, true], &[0.1, 0.9]);
        assert_eq!(
            (all_of_it.roc_auc, all_of_it.average_precision),
            (None, Some(1.0))
        );
        assert_eq!(curves(&[true], &[f64::NAN]), Curves::default());
        assert_eq!(calibration_error(&calibration(&[], &[], 10)), None);
        assert!(calibration(&[true], &[f64::NAN], 10).is_empty());
    }

    #[test]
    fn answers_that_are_right_as_often_as_they_are_sure_have_no_error() {
        let right: Vec<bool> = (0..100).map(|row| row % 4 != 0).collect();
        let bins = calibration(&right, &[0.75; 100], 10);
        assert_eq!(calibration_error(&bins), Some(0.0));
        let bins = calibration(&right, &[0.95; 100], 10);
        near(calibration_error(&bins).unwrap(), 0.2, "too sure");
    }

    proptest! {
        #[test]
        fn a_thinned_curve_stays_by_its_curve_and_is_short(
            rows in prop::collection::vec((any::<bool>(), 0_u32..500), 2..400),
        ) {
            let (truth, scores): (Vec<bool>, Vec<f64>) =
                rows.into_iter().map(|(is, score)| (is, f64::from(score) / 500.0)).unzip();
            let curve = curves(&truth, &scores).roc;
            let kept = thinned(&curve, 0.02);
            prop_assert_eq!(kept.first(), curve.first());
            prop_assert_eq!(kept.last(), curve.last());
            prop_assert!(kept.len() <= 102);
            for (x, y) in &curve {
                let near = kept.iter().any(|(a, b)| (x - a).abs() + (y - b).abs() <= 0.02);
                prop_assert!(near, "{} {}", x, y);
            }
        }
    }
}
