//! Slices: rows that have something in common, and whether they fail more often than the others.
//!
//! A [`Slice`] is a set of rows with a name; [`ranked`] says of each how often its rows are wrong, between which bounds that
//! share lies (Wilson 1927, the interval of `scipy.stats.binomtest(…).proportion_ci(method="wilson")`), and how probable such
//! a difference from the other rows would be by chance (Fisher's exact test, two-sided, as `scipy.stats.fisher_exact` has
//! it; adjusted over all slices as Holm 1979 does). The worst come first: those of which one can be surest that they fail
//! much more often, by the lower bound of their share less the share of the others, so that three unlucky rows do not
//! outrank three hundred.
//!
//! [`traits`] makes the slices that a text's looks give: length, rare words, negation, numerals, capitals, of questions
//! the question word, and what stands in a column beside it. The words are English ones.
//!
//! Deliberately absent: combinations of slices, and any knowledge of what wrong means.

mod traits;

pub use traits::{Rare, answer_kind, of_column, question_word, traits, word_count, words};

/// Rows that have something in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice {
    /// `length`
    pub by: String,
    /// `41 to 60 words`
    pub value: String,
    /// Places of rows, ascending.
    pub rows: Vec<u32>,
}

/// How a slice does.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    pub slice: Slice,
    /// The share of its rows that is wrong.
    pub error: f64,
    pub low: f64,
    pub high: f64,
    /// The share of all other rows that is wrong.
    pub elsewhere: f64,
    /// Adjusted for the number of slices.
    pub p_value: f64,
}

/// Slices of fewer rows say nothing.
pub const FEWEST: usize = 5;

/// The slices of at least [`FEWEST`] rows that are not all rows, worst first. `wrong` says of each row whether its answer is.
/// `level` is that of the intervals.
pub fn ranked(wrong: &[bool], slices: Vec<Slice>, level: f64) -> Vec<Ranked> {
    let rows = wrong.len();
    let failures = wrong.iter().filter(|wrong| **wrong).count();
    let chances = Chances::new(rows);
    let judge = |slice: Slice| {
        let support = slice.rows.len();
        if support < FEWEST || support >= rows {
            return None;
        }
        let is_wrong = |row: &&u32| wrong.get(**row as usize).copied().unwrap_or_default();
        let hits = slice.rows.iter().filter(is_wrong).count();
        let (low, high) = wilson(hits, support, level);
        Some(Ranked {
            error: hits as f64 / support as f64,
            low,
            high,
            elsewhere: failures.saturating_sub(hits) as f64 / (rows - support) as f64,
            p_value: chances.fisher(hits, support, failures, rows),
            slice,
        })
    };
    let mut judged: Vec<Ranked> = slices.into_iter().filter_map(judge).collect();
    let mut p_values: Vec<f64> = judged.iter().map(|one| one.p_value).collect();
    holm(&mut p_values);
    for (one, p_value) in judged.iter_mut().zip(p_values) {
        one.p_value = p_value;
    }
    let surplus = |one: &Ranked| one.low - one.elsewhere;
    judged.sort_by(|a, b| surplus(b).total_cmp(&surplus(a)));
    judged
}

/// The interval of a share of `hits` in `rows`: of no rows, all from 0 to 1.
pub fn wilson(hits: usize, rows: usize, level: f64) -> (f64, f64) {
    if rows == 0 {
        return (0.0, 1.0);
    }
    let z = normal_quantile(0.5 + level / 2.0);
    let (n, share) = (rows as f64, hits as f64 / rows as f64);
    let below = 1.0 + z * z / n;
    let centre = (share + z * z / (2.0 * n)) / below;
    let half = z / below * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let low = if hits == 0 { 0.0 } else { centre - half };
    let high = if hits == rows { 1.0 } else { centre + half };
    (low.max(0.0), high.min(1.0))
}

/// The value below which this share of a standard normal distribution lies, by bisection of its distribution function.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-10.0, 10.0);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if normal_share(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// The share of a standard normal distribution below `z`: Φ(z) = ½ + φ(z) · (z + z³/3 + z⁵/15 + …), and beyond 8 what 64 bits
/// make of it.
fn normal_share(z: f64) -> f64 {
    if z.abs() > 8.0 {
        return f64::from(z > 0.0);
    }
    let (mut term, mut sum, mut odd) = (z, z, 3.0);
    while term.abs() > 1e-17 * sum.abs() && odd < 1000.0 {
        term *= z * z / odd;
        sum += term;
        odd += 2.0;
    }
    0.5 + sum * (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

/// The logarithms of factorials, from which chances are made.
struct Chances(Vec<f64>);

impl Chances {
    fn new(most: usize) -> Chances {
        let mut sum = 0.0;
        let logarithms = (0..=most).map(|number| {
            sum += (number.max(1) as f64).ln();
            sum
        });
        Chances(logarithms.collect())
    }

    fn factorial(&self, number: usize) -> f64 {
        self.0.get(number).copied().unwrap_or(f64::INFINITY)
    }

    fn choose(&self, of: usize, number: usize) -> f64 {
        self.factorial(of) - self.factorial(number) - self.factorial(of - number)
    }

    /// How probable `hits` of `failures` fall among `support` of `rows`, or what is no likelier, if chance alone decides.
    fn fisher(&self, hits: usize, support: usize, failures: usize, rows: usize) -> f64 {
        if support > rows || failures > rows || hits > support.min(failures) {
            return 1.0;
        }
        let (least, most) = (
            (support + failures).saturating_sub(rows),
            support.min(failures),
        );
        let all = self.choose(rows, failures);
        let chance = |hits: usize| {
            let inside = self.choose(support, hits);
            (inside + self.choose(rows - support, failures - hits) - all).exp()
        };
        // As scipy does, what differs by rounding counts as equal.
        let limit = chance(hits) * (1.0 + 1e-7);
        let sum: f64 = (least..=most).map(chance).filter(|one| *one <= limit).sum();
        sum.min(1.0)
    }
}

/// Adjusts p-values for their number, so that with this many tests one is as rarely small by chance as it says.
pub fn holm(p_values: &mut [f64]) {
    let tests = p_values.len();
    let mut order: Vec<usize> = (0..tests).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut largest: f64 = 0.0;
    for (rank, place) in order.into_iter().enumerate() {
        largest = largest.max((p_values[place] * (tests - rank) as f64).min(1.0));
        p_values[place] = largest;
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        /// Wrong and right in the slice, wrong and right elsewhere; and the p-value.
        fisher: Vec<([usize; 4], f64)>,
        /// Hits, rows, and the ends of the interval.
        wilson: Vec<(usize, usize, f64, f64)>,
    }

    fn fixture() -> Fixture {
        let text = include_str!("../../tests/fixtures/slices_scipy.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_test_and_the_interval_are_scipys() {
        let fixture = fixture();
        assert!(fixture.fisher.len() >= 40 && fixture.wilson.len() >= 6);
        for ([a, b, c, d], wanted) in fixture.fisher {
            let chances = Chances::new(a + b + c + d);
            let ours = chances.fisher(a, a + b, a + c, a + b + c + d);
            let near = (ours - wanted).abs() <= 1e-7 * wanted.max(1e-3);
            assert!(near, "{a} {b} {c} {d}: {ours}, not {wanted}");
        }
        for (hits, rows, low, high) in fixture.wilson {
            let ours = wilson(hits, rows, 0.95);
            let near = (ours.0 - low).abs() < 1e-9 && (ours.1 - high).abs() < 1e-9;
            assert!(near, "{hits} of {rows}: {ours:?}, not {low} {high}");
        }
        assert_eq!(wilson(0, 0, 0.95), (0.0, 1.0));
    }

    /// The example of statsmodels' `multipletests(…, method="holm")`, worked by hand: 0.01 · 4, 0.02 · 3, then no less.
    #[test]
    fn many_tests_are_each_harder_to_pass() {
        let mut p_values = [0.04, 0.01, 0.03, 0.02];
        holm(&mut p_values);
        let wanted = [0.06, 0.04, 0.06, 0.06];
        let near = p_values.iter().zip(wanted);
        assert!(
            near.clone().all(|(a, b)| (a - b).abs() < 1e-12),
            "{p_values:?}"
        );
        let mut large = [0.6, 0.7];
        holm(&mut large);
        assert_eq!(large, [1.0, 1.0]);
    }

    fn slice(value: &str, rows: impl Iterator<Item = u32>) -> Slice {
        Slice {
            by: "test".to_owned(),
            value: value.to_owned(),
            rows: rows.collect(),
        }
    }

    #[test]
    fn the_slice_that_surely_fails_most_comes_first() {
        // Every tenth row is wrong, and of rows 500 to 599 every second one.
        let wrong: Vec<bool> = (0..1000)
            .map(|row| row % 10 == 0 || (500..600).contains(&row) && row % 2 == 0)
            .collect();
        let slices = vec![
            slice("even", (0..1000).filter(|row| row % 2 == 0)),
            slice("few", [0, 10, 20, 31, 41].into_iter()),
            slice("planted", 500..600),
            slice("three", 0..3),
            slice("all", 0..1000),
        ];
        let ranked = ranked(&wrong, slices, 0.95);
        let order: Vec<&str> = ranked.iter().map(|one| &*one.slice.value).collect();
        assert_eq!(order, ["planted", "even", "few"]);
        let planted = &ranked[0];
        assert_eq!((planted.error, planted.elsewhere), (0.5, 0.1));
        assert!(planted.low > 0.4 && planted.high < 0.6 && planted.p_value < 1e-10);
    }

    #[test]
    fn no_rows_and_no_slices_are_borne() {
        assert!(ranked(&[], vec![slice("a", 0..9)], 0.95).is_empty());
        assert!(ranked(&[true; 20], Vec::new(), 0.95).is_empty());
        let all_right = ranked(&[false; 20], vec![slice("a", 0..9)], 0.95);
        assert_eq!((all_right[0].error, all_right[0].p_value), (0.0, 1.0));
    }
}
