//! Whether one model answers more of the same rows rightly than another: McNemar's test.
//!
//! Rows that both answer rightly, or both wrongly, say nothing of which is better. Of the others, if neither is better, each
//! is as likely one that A alone has right as one that B alone has (McNemar, *Psychometrika* 12, 1947; Dietterich, *Neural
//! Computation* 10, 1998, on why of the usual tests this one suits two models that were trained once). Of fewer than 25 such
//! rows the p-value is that of the two-sided binomial test; of more, that of the chi-square with Edwards' continuity correction.
//!
//! Promise: the numbers of `statsmodels.stats.contingency_tables.mcnemar`, called with `exact=True` for fewer than 25 rows.
//! One corner differs: of two equal counts, from 13 on, the p-value is 1 as R has it, since a correction can be no larger
//! than the difference.
//!
//! Deliberately absent: the mid-p value, and which answers are right.

use std::f64::consts::PI;

use serde::Serialize;

/// Below so many rows the binomial distribution is summed up.
const EXACT_BELOW: u64 = 25;

/// What the test found. `statistic` is the smaller count, or the chi-square.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct McNemar {
    /// Rows that A alone answers rightly; `b` in the literature.
    pub only_a: u64,
    /// Rows that B alone answers rightly; `c` in the literature.
    pub only_b: u64,
    pub statistic: f64,
    /// How often counts at least as uneven come about where neither is better.
    pub p_value: f64,
    pub method: Method,
}

/// Where a p-value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    ExactBinomial,
    /// With continuity correction.
    ChiSquare,
}

/// The test of so many rows that A alone, and that B alone, answers rightly.
pub fn mcnemar(only_a: u64, only_b: u64) -> McNemar {
    let rows = only_a.saturating_add(only_b);
    let (statistic, p_value, method) = if rows < EXACT_BELOW {
        let fewer = only_a.min(only_b);
        (fewer as f64, binomial(fewer, rows), Method::ExactBinomial)
    } else {
        let difference = only_a.abs_diff(only_b).saturating_sub(1) as f64;
        let statistic = difference * difference / rows as f64;
        // The chi-square of one degree of freedom is the square of a normal variable.
        let p_value = erfc((statistic / 2.0).sqrt());
        (statistic, p_value, Method::ChiSquare)
    };
    McNemar {
        only_a,
        only_b,
        statistic,
        p_value,
        method,
    }
}

/// Twice the probability of at most `fewer` heads in fewer than 25 throws of a fair coin, no more than 1.
fn binomial(fewer: u64, throws: u64) -> f64 {
    let (mut ways, mut sum) = (1_u64, 0_u64);
    for heads in 0..=fewer {
        sum += ways;
        ways = ways * (throws - heads) / (heads + 1);
    }
    (2.0 * sum as f64 / (1_u64 << throws) as f64).min(1.0)
}

/// The complementary error function of a number that is not negative, to 12 digits or so: by its series (Abramowitz and
/// Stegun 7.1.6), and where that would cancel, by its continued fraction (7.1.14) from the far end.
fn erfc(x: f64) -> f64 {
    const SERIES_UP_TO: f64 = 2.0;
    const TERMS: u32 = 100;
    let scale = (-x * x).exp() / PI.sqrt();
    if x < SERIES_UP_TO {
        let (mut term, mut sum) = (x, x);
        for n in 1..TERMS {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return 1.0 - 2.0 * scale * sum;
    }
    let below = (1..=TERMS)
        .rev()
        .fold(x, |below, n| x + f64::from(n) / 2.0 / below);
    scale / below
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        /// b, c, statistic, p.
        cases: Vec<(u64, u64, f64, f64)>,
    }

    #[test]
    fn every_p_value_is_statsmodels() {
        let text = include_str!("../../tests/fixtures/mcnemar_statsmodels.json");
        let cases = serde_json::from_str::<Fixture>(text).unwrap().cases;
        let of = |method| {
            let tested = cases.iter().map(|&(b, c, ..)| mcnemar(b, c).method);
            tested.filter(|found| *found == method).count()
        };
        assert!(of(Method::ExactBinomial) >= 40 && of(Method::ChiSquare) >= 80);
        for (b, c, statistic, p) in cases {
            let found = mcnemar(b, c);
            let near = |ours: f64, theirs: f64| (ours - theirs).abs() <= 1e-10 * theirs;
            assert!(
                near(found.statistic, statistic) && near(found.p_value, p),
                "{found:?} is not {statistic}, {p}"
            );
        }
    }

    #[test]
    fn equal_counts_tell_nothing_apart() {
        for count in [0, 1, 12, 13, 4000] {
            assert_eq!(mcnemar(count, count).p_value, 1.0, "{count}");
        }
    }

    #[test]
    fn no_counts_are_too_many() {
        assert_eq!(mcnemar(u64::MAX, 0).p_value, 0.0);
        assert_eq!(mcnemar(u64::MAX, u64::MAX).p_value, 1.0);
    }

    /// Where neither of two models is better, no more than 5 % of tests say so, and not far fewer.
    #[test]
    fn the_test_keeps_its_level() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        for (rows, at_least) in [(20, 0.02), (400, 0.03)] {
            let mut found = 0;
            for _ in 0..2000 {
                let heads: u64 = (0..rows).map(|_| u64::from(random.random::<bool>())).sum();
                found += u32::from(mcnemar(heads, rows - heads).p_value < 0.05);
            }
            let share = f64::from(found) / 2000.0;
            assert!((at_least..=0.05).contains(&share), "{share} of {rows} rows");
        }
    }
}
