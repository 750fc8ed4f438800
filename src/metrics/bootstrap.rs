//! How sure scores are, and their difference: bootstrap intervals.
//!
//! Rows are drawn with replacement, as many as there are, again and again; the scores of these resamples spread as the
//! scores of other test sets of that size would (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapters 13
//! and 16.4). An interval is that of the percentiles, interpolated linearly as numpy does, so it is what
//! `scipy.stats.bootstrap(method="percentile")` gives, to the noise of drawing. Where two models answered the *same* rows,
//! both are scored on the same draws (`paired=True` there): what makes a row hard for both then cancels, and a smaller
//! difference can be told from none.
//!
//! Promise: equal input gives equal intervals, whatever the number of threads.
//!
//! Deliberately absent: tests and p-values, of which [`mcnemar`](super::mcnemar) has one, and any spread but that of the rows: a model trained with another seed differs
//! by more than an interval here says.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::Serialize;
use serde_json::{Map, Value};

/// Rows, and what any selection of them scores.
pub struct Sample {
    /// How many rows there are.
    pub rows: usize,
    /// The scores by name of the rows with these numbers, each as often as it is named. What is undefined is null or left
    /// out.
    pub score: Box<Score>,
}

pub type Score = dyn Fn(&[usize]) -> Map<String, Value> + Send + Sync;

impl Sample {
    pub fn new(
        rows: usize,
        score: impl Fn(&[usize]) -> Map<String, Value> + Send + Sync + 'static,
    ) -> Sample {
        Sample {
            rows,
            score: Box::new(score),
        }
    }

    /// The scores of every row once.
    pub fn whole(&self) -> Map<String, Value> {
        (self.score)(&(0..self.rows).collect::<Vec<_>>())
    }
}

/// Flat scores but the loss, which no answer tells.
pub(super) fn without_loss(mut flat: Map<String, Value>) -> Map<String, Value> {
    flat.remove("loss");
    flat
}

/// How resamples are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawing {
    pub resamples: usize,
    /// The share of intervals that are to hold the true value, less than 1.
    pub level: f64,
    pub seed: u64,
}

impl Default for Drawing {
    fn default() -> Self {
        Drawing {
            resamples: 2000,
            level: 0.95,
            seed: 0,
        }
    }
}

/// Where a value lies, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// The intervals of one score; none where it is undefined for most resamples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Intervals {
    pub a: Option<Interval>,
    pub b: Option<Interval>,
    /// Of `b` less `a`.
    pub difference: Option<Interval>,
}

/// The intervals of every score that both samples have, by name. `paired` says that row for row both samples answer the same;
/// then they have equally many. Without rows, or with one alone, there is nothing to draw, and no interval.
pub fn intervals(
    a: &Sample,
    b: &Sample,
    paired: bool,
    drawing: &Drawing,
) -> BTreeMap<String, Intervals> {
    if a.rows.min(b.rows) < 2 {
        return BTreeMap::new();
    }
    let paired = paired && a.rows == b.rows;
    let draw = |number: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(drawing.seed);
        random.set_stream(number as u64);
        let mut rows_of = |sample: &Sample| -> Vec<usize> {
            let rows = 0..sample.rows;
            rows.map(|_| random.random_range(0..sample.rows)).collect()
        };
        let rows = rows_of(a);
        let scores_of_a = (a.score)(&rows);
        let rows = if paired { rows } else { rows_of(b) };
        (scores_of_a, (b.score)(&rows))
    };
    let drawn: Vec<_> = (0..drawing.resamples).into_par_iter().map(draw).collect();
    let (whole_a, whole_b) = (a.whole(), b.whole());
    let common = whole_a.keys().filter(|name| whole_b.contains_key(*name));
    let number = |scores: &Map<String, Value>, name: &str| scores.get(name)?.as_f64();
    common
        .map(|name| {
            let of = |value: &dyn Fn(&(Map<_, _>, Map<_, _>)) -> Option<f64>| {
                percentiles(drawn.iter().filter_map(value).collect(), drawing)
            };
            let intervals = Intervals {
                a: of(&|(a, _)| number(a, name)),
                b: of(&|(_, b)| number(b, name)),
                difference: of(&|(a, b)| Some(number(b, name)? - number(a, name)?)),
            };
            (name.clone(), intervals)
        })
        .collect()
}

/// The interval of every score of one sample, by name; as [`intervals`] has it.
pub fn intervals_of(sample: &Sample, drawing: &Drawing) -> BTreeMap<String, Interval> {
    if sample.rows < 2 {
        return BTreeMap::new();
    }
    let draw = |number: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(drawing.seed);
        random.set_stream(number as u64);
        let rows = 0..sample.rows;
        let rows: Vec<usize> = rows.map(|_| random.random_range(0..sample.rows)).collect();
        (sample.score)(&rows)
    };
    let drawn: Vec<_> = (0..drawing.resamples).into_par_iter().map(draw).collect();
    let of = |name: String| {
        let values = drawn
            .iter()
            .filter_map(|scores| scores.get(&name)?.as_f64());
        let found = percentiles(values.collect(), drawing)?;
        Some((name, found))
    };
    sample
        .whole()
        .into_iter()
        .filter_map(|(name, _)| of(name))
        .collect()
}

fn percentiles(mut values: Vec<f64>, drawing: &Drawing) -> Option<Interval> {
    values.retain(|value| value.is_finite());
    if values.is_empty() || values.len() * 2 < drawing.resamples {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (values.len() - 1) as f64;
        let (below, above) = (
            values[place.floor() as usize],
            values[place.ceil() as usize],
        );
        below + (above - below) * place.fract()
    };
    let outside = (1.0 - drawing.level.clamp(0.0, 1.0)) / 2.0;
    Some(Interval {
        low: at(outside),
        high: at(1.0 - outside),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(values: Vec<f64>) -> Sample {
        Sample::new(values.len(), move |rows| {
            let sum: f64 = rows.iter().map(|&row| values[row]).sum();
            let mean = sum / rows.len() as f64;
            [("mean".to_owned(), mean.into())].into_iter().collect()
        })
    }

    fn drawing(resamples: usize, seed: u64) -> Drawing {
        Drawing {
            resamples,
            seed,
            ..Drawing::default()
        }
    }

    /// How well two models do on 120 rows, made by a rule: what makes a row hard for one does for the other.
    fn right(model: u64) -> Vec<f64> {
        let share = |number: u64, of: u64| (number % of) as f64 / of as f64;
        let hard = |row: u64| share(row * 7919 + row * row * 31, 101);
        let own = |row: u64| share(row * 104_729 + model * 1299 * (row + 1), 37);
        (0..120)
            .map(|row| hard(row) + 0.3 * own(row) + 0.02 * model as f64)
            .collect()
    }

    /// `scipy.stats.bootstrap((a, b), …, method="percentile", n_resamples=400000)` of scipy 1.17.
    #[test]
    fn intervals_are_scipys() {
        let (a, b) = (mean_of(right(0)), mean_of(right(1)));
        let of = |paired| intervals(&a, &b, paired, &drawing(20_000, 3))["mean"];
        let (paired, independent) = (of(true), of(false));
        for (ours, low, high) in [
            (paired.difference, 0.0053, 0.0441),
            (independent.difference, -0.0541, 0.1034),
            (paired.a, 0.5745, 0.6862),
        ] {
            let ours = ours.unwrap();
            let near = |ours: f64, theirs: f64| (ours - theirs).abs() < 0.002;
            assert!(near(ours.low, low) && near(ours.high, high), "{ours:?}");
        }
    }

    #[test]
    fn a_pair_that_errs_alike_has_a_narrower_interval_than_independent_samples() {
        let (a, b) = (mean_of(right(0)), mean_of(right(1)));
        let width = |paired| {
            let found = intervals(&a, &b, paired, &Drawing::default())["mean"]
                .difference
                .unwrap();
            found.high - found.low
        };
        assert!(
            width(true) < 0.7 * width(false),
            "{} {}",
            width(true),
            width(false)
        );
    }

    /// Of 400 intervals for a true difference of 0.3, about 95 % hold it, of pairs and of independent samples.
    #[test]
    fn intervals_cover_at_their_level() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut noise = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        for paired in [true, false] {
            let mut covered = 0;
            for trial in 0..400 {
                let hardness: Vec<f64> = (0..80).map(|_| noise()).collect();
                let other: Vec<f64> = (0..80).map(|_| noise()).collect();
                let of_b = if paired { &hardness } else { &other };
                let a = mean_of(hardness.iter().map(|hard| hard + 0.5 * noise()).collect());
                let b = mean_of(of_b.iter().map(|hard| 0.3 + hard + 0.5 * noise()).collect());
                let found = intervals(&a, &b, paired, &drawing(400, trial))["mean"]
                    .difference
                    .unwrap();
                covered += u32::from(found.low <= 0.3 && 0.3 <= found.high);
            }
            // Two standard deviations of a share of 400 are 9 in 400; percentiles of 80 rows cover a little too rarely.
            assert!((364..=394).contains(&covered), "{covered} of 400");
        }
    }

    /// Of 400 test sets of 150 rows, whose answers are drawn so that the true accuracy and the true F1 are known, about 95 %
    /// have an interval that holds them.
    #[test]
    fn intervals_of_accuracy_and_f1_cover_at_their_level() {
        use crate::metrics::sample_of_classes;
        let mut random = ChaCha8Rng::seed_from_u64(19);
        let names = ["no".to_owned(), "yes".to_owned()];
        // Of 100 rows 40 are `yes`; of these 30 are found, and of the 60 others 9 are taken for it.
        let (accuracy, f1) = (0.81, 2.0 * 0.30 / (0.40 + 0.39));
        let f1_of_no = 2.0 * 0.51 / (0.60 + 0.61);
        let (mut covered, mut covered_f1) = (0, 0);
        for trial in 0..400 {
            let (mut labels, mut predicted) = (Vec::new(), Vec::new());
            for _ in 0..150 {
                let label = u32::from(random.random::<f64>() < 0.4);
                let share = if label == 1 { 0.75 } else { 0.15 };
                labels.push(label);
                predicted.push(u32::from(random.random::<f64>() < share));
            }
            let sample = sample_of_classes(labels, predicted, names.to_vec());
            let found = intervals_of(&sample, &drawing(400, trial));
            let holds = |name: &str, truth: f64| {
                let Interval { low, high } = found[name];
                u32::from(low <= truth && truth <= high)
            };
            covered += holds("accuracy", accuracy);
            covered_f1 += holds("f1_macro", (f1 + f1_of_no) / 2.0);
        }
        assert!((372..=388).contains(&covered), "{covered} of 400");
        assert!((372..=388).contains(&covered_f1), "{covered_f1} of 400");
    }

    #[test]
    fn the_interval_of_one_sample_is_its_interval_beside_another() {
        let sample = || mean_of(right(0));
        let both = intervals(&sample(), &mean_of(right(1)), true, &drawing(500, 4));
        let alone = intervals_of(&sample(), &drawing(500, 4));
        assert_eq!(alone.get("mean").copied(), both["mean"].a);
        assert!(intervals_of(&mean_of(vec![1.0]), &Drawing::default()).is_empty());
    }

    #[test]
    fn equal_samples_differ_by_nothing_and_seeds_draw_differently() {
        let (a, b) = (mean_of(right(0)), mean_of(right(0)));
        let found = intervals(&a, &b, true, &Drawing::default())["mean"];
        assert_eq!(
            found.difference,
            Some(Interval {
                low: 0.0,
                high: 0.0
            })
        );
        assert_eq!(found.a, found.b);
        let b = mean_of(right(1));
        let with = |seed| intervals(&a, &b, true, &drawing(99, seed));
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn what_cannot_be_drawn_or_is_undefined_has_no_interval() {
        let empty = || mean_of(Vec::new());
        assert!(intervals(&empty(), &empty(), true, &Drawing::default()).is_empty());
        let one = || mean_of(vec![1.0]);
        assert!(intervals(&one(), &one(), true, &Drawing::default()).is_empty());
        let undefined = || {
            Sample::new(5, |_| {
                [("r2".to_owned(), Value::Null)].into_iter().collect()
            })
        };
        let found = intervals(&undefined(), &undefined(), true, &Drawing::default());
        assert_eq!(found["r2"].difference, None);
    }

    #[test]
    fn percentiles_are_interpolated_as_numpy_does() {
        let values = vec![3.0, 1.0, 2.0, 10.0];
        let half = Drawing {
            resamples: 4,
            level: 0.5,
            seed: 0,
        };
        assert_eq!(
            percentiles(values, &half),
            Some(Interval {
                low: 1.75,
                high: 4.75
            })
        );
    }
}
