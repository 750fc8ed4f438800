//! The rules on small curves worked out by hand, and on the recorded curves of a grid of 24 trainings.

use super::*;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const HIGH: Direction = Direction::Maximize;
const LOW: Direction = Direction::Minimize;

/// `tests/fixtures/sweep/curves.json`, which says how it was recorded.
#[derive(Deserialize)]
struct Recorded {
    /// A grid of which the best trial is clear.
    trials: Vec<Trial>,
    /// A grid of which ten are about equal.
    close: Vec<Trial>,
    /// Replays of Optuna's `MedianPruner`: for each `n_min_trials`, at how many validations each trial ended.
    median_optuna: Vec<Replay>,
}

#[derive(Deserialize)]
struct Trial {
    assignment: Map<String, Value>,
    f1_macro: Vec<f64>,
    loss: Vec<f64>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Debug)]
#[serde(rename_all = "snake_case")]
enum Curve {
    F1Macro,
    Loss,
}

impl Curve {
    fn of(self, trials: &[Trial]) -> Vec<&[f64]> {
        trials
            .iter()
            .map(|trial| match self {
                Curve::F1Macro => trial.f1_macro.as_slice(),
                Curve::Loss => trial.loss.as_slice(),
            })
            .collect()
    }

    fn direction(self) -> Direction {
        match self {
            Curve::F1Macro => HIGH,
            Curve::Loss => LOW,
        }
    }
}

#[derive(Deserialize)]
struct Replay {
    curve: Curve,
    min_trials: u32,
    first: u32,
    validations: Vec<usize>,
}

fn recorded() -> Recorded {
    serde_json::from_str(include_str!("../../../tests/fixtures/sweep/curves.json")).unwrap()
}

/// How long one validation of a trial takes, training in between included: as many rows in smaller batches take longer.
fn duration(trial: &Trial) -> u64 {
    match trial.assignment["train.classifier.batch.size"]
        .as_u64()
        .unwrap()
    {
        8 => 5,
        16 => 4,
        _ => 3,
    }
}

/// Runs the trials in their order, so many side by side, each to the validation after which `goes_on` says no; the number of
/// validations of each.
fn replay(
    curves: &[&[f64]],
    durations: &[u64],
    side_by_side: usize,
    goes_on: impl Fn(&[&[f64]], &[f64]) -> bool,
) -> Vec<usize> {
    let mut validations = vec![0; curves.len()];
    // When the next validation of a running trial ends.
    let mut running = BTreeMap::new();
    let mut waiting = 0..curves.len();
    let mut now = 0;
    loop {
        while running.len() < side_by_side
            && let Some(trial) = waiting.next()
        {
            running.insert(trial, now + durations[trial]);
        }
        let Some((&trial, &end)) = running.iter().min_by_key(|(trial, end)| (**end, **trial))
        else {
            return validations;
        };
        now = end;
        validations[trial] += 1;
        let others: Vec<&[f64]> = (0..curves.len())
            .filter(|other| *other != trial)
            .map(|other| &curves[other][..validations[other]])
            .collect();
        let own = &curves[trial][..validations[trial]];
        if own.len() == curves[trial].len() || !goes_on(&others, own) {
            running.remove(&trial);
        } else {
            running.insert(trial, now + durations[trial]);
        }
    }
}

/// The trial with the best score among the first validations of each.
fn winner(curves: &[&[f64]], validations: &[usize], direction: Direction) -> usize {
    let mut winner = (0, None);
    for (trial, (curve, count)) in curves.iter().zip(validations).enumerate() {
        let score = best(&curve[..*count], direction).unwrap();
        if winner
            .1
            .is_none_or(|than| is_better(score, than, direction))
        {
            winner = (trial, Some(score));
        }
    }
    winner.0
}

/// Reduction 3, first rung at the first validation: rungs at 1, 3 and 9.
#[test]
fn asha_decides_on_rungs_alone() {
    let ahead: Vec<f64> = vec![0.9; 9];
    let others: Vec<&[f64]> = vec![&ahead; 5];
    let own = [0.1; 9];
    let goes_on: Vec<bool> = (1..=9)
        .map(|count| asha(&others, &own[..count], 3, 1, HIGH))
        .collect();
    assert_eq!(
        goes_on,
        [false, true, false, true, true, true, true, true, false]
    );
    let from_two: Vec<bool> = (1..=9)
        .map(|count| asha(&others, &own[..count], 2, 2, HIGH))
        .collect();
    assert_eq!(
        from_two,
        [true, false, true, false, true, true, true, false, true]
    );
    assert!(asha(&others, &[], 3, 1, HIGH));
}

#[test]
fn asha_keeps_the_best_of_each_reduction_on_a_rung() {
    let curves: [&[f64]; 5] = [&[0.5], &[0.6], &[0.7], &[0.8], &[0.2]];
    // Six have come: two may go on.
    assert!(asha(&curves, &[0.75], 3, 1, HIGH));
    assert!(!asha(&curves, &[0.65], 3, 1, HIGH));
    assert!(asha(&curves, &[0.45], 3, 1, LOW));
    assert!(!asha(&curves, &[0.55], 3, 1, LOW));
    // Five have come: one may, and equal ones may too.
    assert!(!asha(&curves[..4], &[0.75], 3, 1, HIGH));
    assert!(asha(&curves[..4], &[0.8], 3, 1, HIGH));
}

#[test]
fn asha_lets_the_first_trials_go_on() {
    let curves: [&[f64]; 2] = [&[0.8, 0.8, 0.8], &[0.9]];
    assert!(asha(&curves[..1], &[0.1], 3, 1, HIGH));
    assert!(!asha(&curves, &[0.1], 3, 1, HIGH));
    // Only one of them has come as far as the second rung.
    assert!(asha(&curves, &[0.1, 0.1, 0.1], 3, 1, HIGH));
}

#[test]
fn a_trial_is_judged_by_its_best_validation() {
    let curves: [&[f64]; 2] = [&[0.6, 0.7, 0.1], &[0.6, 0.5, 0.5]];
    assert!(asha(&curves, &[0.1, 0.75, 0.2], 3, 3, HIGH));
    assert!(!asha(&curves, &[0.1, 0.65, 0.2], 3, 3, HIGH));
    let curves: [&[f64]; 2] = [&[0.5, 0.5], &[0.5, 0.6]];
    assert!(median(&curves, &[0.55, 0.1], 1, 1, HIGH));
}

#[test]
fn scores_that_are_no_numbers_stop_a_trial_where_the_rule_decides() {
    let nan = f64::NAN;
    let curves: [&[f64]; 3] = [&[0.5, 0.5], &[nan, nan], &[nan, 0.4]];
    assert!(!asha(&curves, &[nan], 2, 1, HIGH));
    assert!(asha(&curves, &[nan], 2, 2, HIGH));
    assert!(asha(&curves, &[0.3], 2, 1, HIGH));
    assert!(!median(&curves, &[nan, nan], 1, 1, HIGH));
    // The median of 0.5 and 0.4.
    assert!(median(&curves, &[nan, 0.46], 1, 1, HIGH));
    assert!(!median(&curves, &[nan, 0.44], 1, 1, HIGH));
    assert!(median(&[&[nan], &[nan]], &[0.1], 1, 1, HIGH));
    for odd in [f64::INFINITY, f64::NEG_INFINITY, f64::MAX, nan] {
        asha(&[&[odd]], &[odd, odd], 0, 0, LOW);
        median(&[&[odd], &[-odd]], &[odd], 0, 0, LOW);
    }
    asha(&curves, &[0.1; 7], u32::MAX, u32::MAX, HIGH);
}

#[test]
fn the_median_rule_waits_for_enough_trials_and_validations() {
    let curves: [&[f64]; 3] = [&[0.5, 0.6], &[0.6, 0.7], &[0.7, 0.8]];
    assert!(!median(&curves, &[0.59], 3, 1, HIGH));
    assert!(median(&curves, &[0.6], 3, 1, HIGH));
    assert!(!median(&curves, &[0.61], 3, 1, LOW));
    assert!(median(&curves, &[0.1], 4, 1, HIGH));
    assert!(median(&curves, &[0.1], 3, 2, HIGH));
    assert!(!median(&curves, &[0.1, 0.1], 3, 2, HIGH));
    // Nobody else has come this far.
    assert!(median(&curves, &[0.1, 0.1, 0.1], 1, 1, HIGH));
    assert!(median(&[], &[0.1], 0, 0, HIGH));
    assert!(median(&curves, &[], 0, 0, HIGH));
}

/// By ASHA with reduction 4 and the first rung at the first validation, the trials started in this order, so many side by
/// side: the trial with the best score, and how many validations all of them took.
fn by_asha(trials: &[Trial], order: &[usize], curve: Curve, side_by_side: usize) -> (usize, usize) {
    let (all, direction) = (curve.of(trials), curve.direction());
    let curves: Vec<&[f64]> = order.iter().map(|trial| all[*trial]).collect();
    let durations: Vec<u64> = order
        .iter()
        .map(|trial| duration(&trials[*trial]))
        .collect();
    let validations = replay(&curves, &durations, side_by_side, |others, own| {
        asha(others, own, 4, 1, direction)
    });
    let found = order[winner(&curves, &validations, direction)];
    (found, validations.iter().sum())
}

#[test]
fn asha_finds_the_best_of_a_recorded_grid_at_less_than_half_the_cost() {
    let recorded = recorded();
    let file_order: Vec<usize> = (0..24).collect();
    for curve in [Curve::F1Macro, Curve::Loss] {
        let curves = curve.of(&recorded.trials);
        let full = winner(&curves, &[9; 24], curve.direction());
        for side_by_side in [1, 4] {
            let (found, cost) = by_asha(&recorded.trials, &file_order, curve, side_by_side);
            println!("{curve:?}, {side_by_side} side by side: {cost} of 216 validations");
            assert_eq!(found, full);
            assert!(2 * cost < 216, "{cost}");
        }
    }
}

/// The order matters: what starts late is compared with more. A random order costs about a third.
#[test]
fn asha_finds_the_best_in_nearly_every_order() {
    let recorded = recorded();
    for curve in [Curve::F1Macro, Curve::Loss] {
        let full = winner(&curve.of(&recorded.trials), &[9; 24], curve.direction());
        for side_by_side in [1, 4] {
            let (mut right, mut sum) = (0, 0);
            for seed in 0..20 {
                let mut order: Vec<usize> = (0..24).collect();
                order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
                let (found, cost) = by_asha(&recorded.trials, &order, curve, side_by_side);
                assert!(2 * cost < 216, "{cost}");
                right += usize::from(found == full);
                sum += cost;
            }
            println!(
                "{curve:?}, {side_by_side} side by side: {right} of 20, {sum} validations in all"
            );
            assert!(right >= 18, "{right}");
            assert!(sum < 20 * 216 * 2 / 5, "{sum}");
        }
    }
}

/// Ten trials end so close that the best of them is chance. What ASHA finds is worse by less than one of the 123 validation
/// rows weighs.
#[test]
fn asha_finds_one_of_the_best_where_several_are_about_equal() {
    let recorded = recorded();
    let file_order: Vec<usize> = (0..24).collect();
    let curves = Curve::F1Macro.of(&recorded.close);
    let full = best(curves[winner(&curves, &[9; 24], HIGH)], HIGH).unwrap();
    for side_by_side in [1, 4] {
        let (found, cost) = by_asha(&recorded.close, &file_order, Curve::F1Macro, side_by_side);
        let found = best(curves[found], HIGH).unwrap();
        println!("{side_by_side} side by side: {found} of {full}, {cost} of 216 validations");
        assert!(full - found < 1.0 / 123.0, "{found} {full}");
        assert!(2 * cost < 216, "{cost}");
    }
}

#[test]
fn the_median_rule_decides_as_optuna_does() {
    let recorded = recorded();
    assert_eq!(recorded.median_optuna.len(), 6);
    for expected in &recorded.median_optuna {
        let curves = expected.curve.of(&recorded.trials);
        let validations = replay(&curves, &[1; 24], 1, |others, own| {
            let ended: Vec<&[f64]> = others
                .iter()
                .copied()
                .filter(|other| other.len() == 9)
                .collect();
            median(
                &ended,
                own,
                expected.min_trials,
                expected.first,
                expected.curve.direction(),
            )
        });
        assert_eq!(
            validations, expected.validations,
            "{:?}, {}, {}",
            expected.curve, expected.min_trials, expected.first
        );
    }
}
