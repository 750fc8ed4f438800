//! Doubtful labels: rows whose given label a model is confidently against.
//!
//! Confident learning (Northcutt, Jiang and Chuang 2021, <https://arxiv.org/abs/1911.00068>): a label is confidently held for a
//! row when its probability reaches that label's threshold, the mean probability that it has in the rows which are given it.
//! A row is doubtful when another label than its own is confidently held, and the likeliest label is another one too. First
//! come the rows with the smallest normalized margin, the probability of the given label less the largest of the others.
//!
//! Promise: the rows and the order of cleanlab's `find_label_issues(filter_by="confident_learning",
//! return_indices_ranked_by="normalized_margin")`. It means something only for probabilities of rows that the model did not
//! learn from.
//!
//! Deliberately absent: correction. Whether a label is wrong is for people to say.

/// A row with a doubtful label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Doubt {
    pub row: usize,
    pub given: usize,
    /// The likeliest of the labels that are confidently held.
    pub suggested: usize,
    /// The probabilities of both.
    pub given_probability: f64,
    pub suggested_probability: f64,
}

/// By how much a probability may miss its threshold, for rounding; cleanlab's.
const ROUNDING: f64 = 1e-6;

/// The doubtful rows, most doubtful first. `given` are labels by number, `probabilities` those of every label, row by row
/// (`[rows][labels]`). Rows without a label that has a probability are passed over.
pub fn doubtful(given: &[u32], probabilities: &[Vec<f64>]) -> Vec<Doubt> {
    let labels = probabilities.first().map_or(0, Vec::len);
    let rows = || {
        let rows = given.iter().zip(probabilities).enumerate();
        rows.filter_map(|(row, (&given, all))| {
            let given = given as usize;
            Some((row, given, *all.get(given)?, all))
        })
    };
    let mut sums = vec![(0.0, 0.0); labels];
    for (_, given, own, _) in rows() {
        if let Some((sum, count)) = sums.get_mut(given) {
            *sum += own;
            *count += 1.0;
        }
    }
    // What no row is given, no row is to be suspected of.
    let threshold = |&(sum, count): &(f64, f64)| {
        if count > 0.0 {
            sum / count
        } else {
            f64::INFINITY
        }
    };
    let thresholds: Vec<f64> = sums.iter().map(threshold).collect();
    let likeliest = |all: &[f64], held: &dyn Fn(usize, f64) -> bool| {
        let mut best: Option<(usize, f64)> = None;
        for (label, &probability) in all.iter().enumerate() {
            if held(label, probability) && best.is_none_or(|(_, most)| probability > most) {
                best = Some((label, probability));
            }
        }
        best
    };
    let mut found = Vec::new();
    for (row, given, own, all) in rows() {
        let held = |label: usize, probability: f64| {
            thresholds
                .get(label)
                .is_some_and(|least| probability >= least - ROUNDING)
        };
        let confident = all
            .iter()
            .enumerate()
            .filter(|(label, p)| held(*label, **p))
            .count();
        let top = likeliest(all, &|_, _| true);
        let guess = match confident {
            0 => None,
            // Of several, the likeliest of all labels, whether or not that one is confidently held.
            1 => likeliest(all, &held),
            _ => top,
        };
        let (Some((suggested, probability)), Some((top, _))) = (guess, top) else {
            continue;
        };
        if suggested != given && top != given {
            let others = all.iter().enumerate().filter(|(label, _)| *label != given);
            let margin = own - others.map(|(_, p)| *p).fold(f64::NEG_INFINITY, f64::max);
            let doubt = Doubt {
                row,
                given,
                suggested,
                given_probability: own,
                suggested_probability: probability,
            };
            found.push((margin, doubt));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    found.into_iter().map(|(_, doubt)| doubt).collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        given: Vec<u32>,
        probabilities: Vec<Vec<f64>>,
        issues: Vec<usize>,
    }

    #[test]
    fn the_rows_and_their_order_are_cleanlabs() {
        let text = include_str!("../../tests/fixtures/doubt_cleanlab.json");
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        assert!(fixture.cases.len() >= 4);
        for case in fixture.cases {
            let ours = doubtful(&case.given, &case.probabilities);
            let ours: Vec<usize> = ours.iter().map(|doubt| doubt.row).collect();
            assert!(!case.issues.is_empty());
            assert_eq!(ours, case.issues);
        }
    }

    /// A model that is right of itself, and ten rows of 300 that are given another label.
    #[test]
    fn ten_planted_errors_are_the_ten_most_doubtful() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let (mut given, mut probabilities) = (Vec::new(), Vec::new());
        for row in 0..300_u32 {
            let right = row % 3;
            let planted = row % 30 == 7;
            // Sure of what it says, as a model is that has learned.
            let least = if planted { 0.9 } else { 0.7 };
            let sure = least + 0.09 * random.random::<f64>();
            let mut all = vec![(1.0 - sure) / 2.0; 3];
            all[right as usize] = sure;
            probabilities.push(all);
            given.push(if planted { (right + 1) % 3 } else { right });
        }
        let found = doubtful(&given, &probabilities);
        let mut rows: Vec<usize> = found.iter().map(|doubt| doubt.row).collect();
        rows.sort_unstable();
        let planted: Vec<usize> = (0..10).map(|number| number * 30 + 7).collect();
        assert_eq!(rows, planted);
        for doubt in found {
            assert_eq!(doubt.suggested, doubt.row % 3);
            assert!(doubt.suggested_probability > doubt.given_probability);
        }
    }

    #[test]
    fn where_nothing_is_known_nothing_is_doubtful() {
        assert!(doubtful(&[], &[]).is_empty());
        assert!(doubtful(&[7], &[vec![0.1, 0.9]]).is_empty());
        assert!(doubtful(&[0], &[Vec::new()]).is_empty());
        // No row is given the second label, so nothing says how sure the model is when it is right.
        assert!(doubtful(&[0, 0], &[vec![0.1, 0.9], vec![0.9, 0.1]]).is_empty());
    }
}
