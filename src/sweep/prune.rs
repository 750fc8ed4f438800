//! Which trainings stop early: decisions from validation curves.
//!
//! A curve is a trial's score after its first, second, … validation. Both rules compare the best score so far, which is what
//! the trial would have to show if it ended here (a training keeps its best epoch), and both only ever stop: a stopped
//! trial does not come back. A score that is not a number counts as none; a trial without any is stopped as soon as the rule
//! would decide.
//!
//! Promise: functions of their arguments. Which rule is right depends on the curves: [`asha`] stops most trials early and
//! many wrongly where curves cross late; [`median`] stops half of them at most, and later.
//!
//! Deliberately absent: paused trials that go on later (the promoting variant of successive halving), for which
//! every trial's optimizer state would have to be kept.

use crate::spec::sweep::Direction;

/// Whether a trial goes on after its newest validation, by asynchronous successive halving (Li et al. 2020, "A System for
/// Massively Parallel Hyperparameter Tuning", <https://arxiv.org/abs/1810.05934>), in the variant that stops trials where the
/// paper's holds them back.
///
/// Rungs lie at `first`, `first · reduction`, `first · reduction²`, … validations; elsewhere a trial goes on. On a rung it
/// goes on if fewer than ⌊m / reduction⌋ of the m trials that have reached the rung so far, itself and those stopped there
/// included, are better. So equal ones go on; and the first `reduction − 1` trials of a rung, with whom there is too little to
/// compare, all go on. `others` are the curves of the other trials, whether they run, ended or were stopped.
///
/// A `first` of 0 is taken as 1, a `reduction` below 2 as 2.
pub fn asha(
    others: &[&[f64]],
    own: &[f64],
    reduction: u32,
    first: u32,
    direction: Direction,
) -> bool {
    let reduction = reduction.max(2) as usize;
    if !is_rung(own.len(), first.max(1) as usize, reduction) {
        return true;
    }
    let Some(own_best) = best(own, direction) else {
        return false;
    };
    let reached = others.iter().filter_map(|other| other.get(..own.len()));
    let (count, better) = reached.fold((1, 0), |(count, better), other| {
        let ahead =
            best(other, direction).is_some_and(|score| is_better(score, own_best, direction));
        (count + 1, better + usize::from(ahead))
    });
    let places = count / reduction;
    places == 0 || better < places
}

/// Whether a trial goes on after its newest validation, by the median stopping rule (Golovin et al. 2017, "Google Vizier") as
/// Optuna's `MedianPruner` has it: it stops if its best score so far is worse than the median of what the other trials scored
/// at this same validation.
///
/// Before validation `first`, and where fewer than `min_trials` others have come this far, it goes on. Optuna compares with
/// ended trials only; give those in `others` for the same decisions, or running ones too to decide sooner.
pub fn median(
    others: &[&[f64]],
    own: &[f64],
    min_trials: u32,
    first: u32,
    direction: Direction,
) -> bool {
    let Some(newest) = own.len().checked_sub(1) else {
        return true;
    };
    let mut scores: Vec<f64> = others
        .iter()
        .filter_map(|other| other.get(newest).copied())
        .collect();
    if own.len() < first as usize || scores.len() < min_trials.max(1) as usize {
        return true;
    }
    let Some(own_best) = best(own, direction) else {
        return false;
    };
    scores.retain(|score| !score.is_nan());
    scores.sort_by(f64::total_cmp);
    let middle = scores.len() / 2;
    let median = match scores.get(middle) {
        None => return true,
        Some(upper) if scores.len() % 2 == 1 => *upper,
        Some(upper) => scores[middle - 1] / 2.0 + upper / 2.0,
    };
    !is_better(median, own_best, direction)
}

fn is_rung(validations: usize, first: usize, reduction: usize) -> bool {
    let mut rung = first;
    while rung < validations {
        rung = rung.saturating_mul(reduction);
    }
    rung == validations
}

fn best(curve: &[f64], direction: Direction) -> Option<f64> {
    curve
        .iter()
        .copied()
        .filter(|score| !score.is_nan())
        .reduce(|best, score| {
            if is_better(score, best, direction) {
                score
            } else {
                best
            }
        })
}

fn is_better(score: f64, than: f64, direction: Direction) -> bool {
    match direction {
        Direction::Maximize => score > than,
        Direction::Minimize => score < than,
    }
}

#[cfg(test)]
mod tests;
