//! How much each parameter mattered: the share of the scores' variance that it explains alone.
//!
//! The trials are put into groups by the parameter's value, and the share is Kelley's epsilon squared (1935, "An unbiased
//! correlation ratio measure"), the correlation ratio without its bias. With n trials in k groups,
//!
//! ```text
//! ε² = (S_between − (k − 1) · S_within / (n − k)) / S_total
//! ```
//!
//! where S_total is the sum of squared distances from the mean of all, S_within that from the means of the groups, and
//! S_between the rest. A parameter without effect has ε² = 0 on average (below 0 half of the time, which is shown as 0),
//! whereas its plain share S_between / S_total would be (k − 1) / (n − 1).
//!
//! The groups: a listed value is one, and so are the trials in which the parameter was inactive. A range is cut into groups
//! of as many trials each, one group for every four trials and eight at most: enough to see a peak in the middle. Equal
//! numbers stay together.
//!
//! Promise: between 0 and 1 for any scores. The shares need not add up to 1: parameters that act only together explain little
//! alone, and a search that follows good values, as TPE does, makes parameters go together.
//!
//! Deliberately absent: interactions (functional ANOVA), which would need a model of the scores and more trials than most
//! sweeps have.

use std::collections::BTreeMap;

use crate::spec::sweep::{Domain, Parameter};

use super::search::place;
use super::trial::Assignment;

const TRIALS_IN_A_GROUP: usize = 4;
const GROUPS_AT_MOST: usize = 8;

/// Each parameter's name and the share of the scores' variance that it explains alone, the largest first, equal ones as in
/// the file. Scores that are not finite are left out. Where nothing can be said (no more trials than groups, or all scores
/// equal), the share is 0.
pub fn importance(parameters: &[Parameter], trials: &[(&Assignment, f64)]) -> Vec<(String, f64)> {
    let trials: Vec<(&Assignment, f64)> = trials
        .iter()
        .copied()
        .filter(|(_, score)| score.is_finite())
        .collect();
    let scores: Vec<f64> = trials.iter().map(|(_, score)| *score).collect();
    let mut shares: Vec<(String, f64)> = parameters
        .iter()
        .map(|parameter| {
            let places: Vec<Option<f64>> = trials
                .iter()
                .map(|(assignment, _)| place(parameter, assignment))
                .collect();
            let groups = match parameter.domain {
                Domain::Choice(_) | Domain::Together(_) => by_value(&places),
                Domain::Uniform { .. } | Domain::LogUniform { .. } | Domain::Int { .. } => {
                    by_quantile(&places)
                }
            };
            (parameter.name.clone(), epsilon_squared(&groups, &scores))
        })
        .collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

/// Each trial's group; equal places are one.
fn by_value(places: &[Option<f64>]) -> Vec<usize> {
    let mut known: Vec<Option<f64>> = Vec::new();
    places
        .iter()
        .map(|place| {
            known
                .iter()
                .position(|other| other == place)
                .unwrap_or_else(|| {
                    known.push(*place);
                    known.len() - 1
                })
        })
        .collect()
}

/// Each trial's group: 0 without a place, else 1 and up by rank.
fn by_quantile(places: &[Option<f64>]) -> Vec<usize> {
    let mut sorted: Vec<f64> = places.iter().copied().flatten().collect();
    sorted.sort_by(f64::total_cmp);
    let groups = (sorted.len() / TRIALS_IN_A_GROUP).clamp(1, GROUPS_AT_MOST);
    places
        .iter()
        .map(|place| {
            place.map_or(0, |place| {
                let rank = sorted.partition_point(|other| *other < place);
                1 + rank * groups / sorted.len()
            })
        })
        .collect()
}

fn epsilon_squared(groups: &[usize], scores: &[f64]) -> f64 {
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
    let squares = |scores: &[f64]| {
        let mean = mean(scores);
        scores
            .iter()
            .map(|score| (score - mean).powi(2))
            .sum::<f64>()
    };
    let mut members: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (group, score) in groups.iter().zip(scores) {
        members.entry(*group).or_default().push(*score);
    }
    let (trials, groups) = (scores.len(), members.len());
    if groups < 2 || trials <= groups {
        return 0.0;
    }
    let total = squares(scores);
    let within: f64 = members.values().map(|scores| squares(scores)).sum();
    let noise = within / (trials - groups) as f64;
    let share = (total - within - (groups - 1) as f64 * noise) / total;
    if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use serde_json::{Value, json};

    fn parameter(name: &str, domain: Domain) -> Parameter {
        Parameter {
            name: name.to_string(),
            domain,
            when: Vec::new(),
        }
    }

    fn shares(parameters: &[Parameter], trials: &[(Value, f64)]) -> BTreeMap<String, f64> {
        let trials: Vec<(Assignment, f64)> = trials
            .iter()
            .map(|(fields, score)| (fields.as_object().unwrap().clone(), *score))
            .collect();
        let trials: Vec<(&Assignment, f64)> = trials.iter().map(|(a, s)| (a, *s)).collect();
        let found = importance(parameters, &trials);
        assert!(found.is_sorted_by(|a, b| a.1 >= b.1));
        assert!(found.iter().all(|(_, share)| (0.0..=1.0).contains(share)));
        found.into_iter().collect()
    }

    fn letters() -> Parameter {
        parameter(
            "x",
            Domain::Choice(vec![json!("a"), json!("b"), json!("c")]),
        )
    }

    #[test]
    fn a_choice_explains_what_was_worked_out_by_hand() {
        let trials = [
            (json!({"x": "a"}), 1.0),
            (json!({"x": "a"}), 2.0),
            (json!({"x": "b"}), 3.0),
            (json!({"x": "b"}), 4.0),
            (json!({"x": "c"}), 7.0),
            (json!({"x": "c"}), 9.0),
        ];
        // Mean 26/6; S_total = 160 − 26²/6 = 142/3; S_within = 1/2 + 1/2 + 2 = 3; S_between = 133/3;
        // ε² = (133/3 − 2 · 3/3) / (142/3) = 127/142.
        let share = shares(&[letters()], &trials)["x"];
        assert!((share - 127.0 / 142.0).abs() < 1e-12, "{share}");
    }

    #[test]
    fn inactive_trials_are_a_group_of_their_own() {
        // Active only where the score is 1: groups {1, 1}, {5, 7}. Mean 3.5; S_total = 27; S_within = 2;
        // ε² = (25 − 1 · 2/2) / 27 = 24/27.
        let trials = [
            (json!({"x": 0.5}), 1.0),
            (json!({"x": 0.25}), 1.0),
            (json!({}), 5.0),
            (json!({}), 7.0),
        ];
        let range = parameter(
            "x",
            Domain::Uniform {
                low: 0.0,
                high: 1.0,
            },
        );
        let share = shares(&[range], &trials)["x"];
        assert!((share - 24.0 / 27.0).abs() < 1e-12, "{share}");
    }

    #[test]
    fn fields_set_together_are_one_parameter() {
        let sets = [json!({"e": "s", "l": 1}), json!({"e": "t", "l": 2})];
        let together = parameter(
            "size",
            Domain::Together(
                sets.iter()
                    .map(|set| set.as_object().unwrap().clone())
                    .collect(),
            ),
        );
        let trials: Vec<(Value, f64)> = (0..8)
            .map(|n| (sets[n % 2].clone(), (n % 2) as f64))
            .collect();
        assert_eq!(shares(&[together], &trials)["size"], 1.0);
    }

    #[test]
    fn three_hundred_noise_trials_explain_nothing_and_one_that_matters_is_found() {
        let parameters = [
            parameter(
                "noise",
                Domain::Uniform {
                    low: 0.0,
                    high: 1.0,
                },
            ),
            letters(),
            parameter("peak", Domain::Int { low: 0, high: 100 }),
        ];
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let trials: Vec<(Value, f64)> = (0..300)
            .map(|_| {
                let letter = ["a", "b", "c"][generator.random_range(0..3)];
                let peak = generator.random_range(0..=100);
                // A peak in the middle, which no straight line sees, and as much noise: the squared distance from
                // the middle has variance 1/180, and uniform noise of width w has w²/12.
                let width = (12.0_f64 / 180.0).sqrt();
                let score =
                    -(peak as f64 / 100.0 - 0.5).powi(2) + width * generator.random::<f64>();
                let noise: f64 = generator.random();
                (json!({"noise": noise, "x": letter, "peak": peak}), score)
            })
            .collect();
        let shares = shares(&parameters, &trials);
        assert!(shares["noise"] < 0.03, "{shares:?}");
        assert!(shares["x"] < 0.03, "{shares:?}");
        assert!((shares["peak"] - 0.5).abs() < 0.1, "{shares:?}");
    }

    /// Without the correction, eight groups of forty noise trials would explain 7/39 = 0.18 on average.
    #[test]
    fn noise_explains_little_on_average_in_few_trials_too() {
        let range = parameter(
            "x",
            Domain::Uniform {
                low: 0.0,
                high: 1.0,
            },
        );
        let mut generator = ChaCha8Rng::seed_from_u64(2);
        let mean = (0..200)
            .map(|_| {
                let trials: Vec<(Value, f64)> = (0..40)
                    .map(|_| (json!({"x": generator.random::<f64>()}), generator.random()))
                    .collect();
                shares(std::slice::from_ref(&range), &trials)["x"]
            })
            .sum::<f64>()
            / 200.0;
        assert!(mean < 0.08, "{mean}");
    }

    #[test]
    fn few_equal_or_broken_scores_are_no_trouble() {
        let parameters = [letters(), parameter("n", Domain::Int { low: 1, high: 9 })];
        let three = [
            (json!({"x": "a", "n": 1}), 0.1),
            (json!({"x": "b", "n": 5}), 0.2),
            (json!({"x": "b", "n": 9}), 0.4),
        ];
        for count in 0..=3 {
            shares(&parameters, &three[..count]);
        }
        let equal: Vec<(Value, f64)> = (0..9)
            .map(|n| (json!({"x": "a", "n": n + 1}), 0.5))
            .collect();
        assert!(
            shares(&parameters, &equal)
                .values()
                .all(|share| *share == 0.0)
        );
        let broken = [
            (json!({"x": "a"}), f64::NAN),
            (json!({"x": "b"}), f64::INFINITY),
            (json!({"x": "a"}), f64::MAX),
            (json!({"x": "b"}), f64::MIN),
            (json!({"x": 7}), f64::MAX),
        ];
        shares(&parameters, &broken);
    }
}
