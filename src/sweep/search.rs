//! What to try next: every point of a grid, points at random, or points where good trials lie (TPE).
//!
//! An assignment says what one trial sets: path → value, in the file's order. Parameters set together are spread out into
//! their paths; a parameter whose condition does not hold is left out. Conditions may name parameters that come later in the
//! file: values are chosen in the order of dependency. Parameters whose conditions go round in a circle, or name what nothing
//! sets, are never active.
//!
//! TPE is that of Bergstra et al. (2011, "Algorithms for Hyper-Parameter Optimization"), with the estimators of the `tpe`
//! crate, one per parameter, and the numbers of Optuna's `TPESampler`: the first ten trials are random; the best tenth of the
//! finished trials, 25 at most, are the good ones; of 24 values drawn from the density of the good ones, that is taken which
//! is likeliest under it beside the density of the others. Running trials count among the others, whatever they will turn out
//! to be (a "constant liar"), so trials side by side keep apart. A conditional parameter learns from the trials in which it
//! was active.
//!
//! Promise: what is tried next is a function of the arguments alone, so a search that was killed goes on as one that never
//! was. Each parameter has a random stream of its own, so one that is added leaves the random draws of the others as they are.
//!
//! Deliberately absent: dependence between parameters beyond conditions (a multivariate estimator), and the refusal of a
//! point that was tried before: its result is known, so to try it again costs nothing.

use std::collections::HashSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::trial::{Assignment, applies, same};
use crate::spec::sweep::{Direction, Domain, Parameter};

/// A trial that a search may learn from.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What it set.
    pub assignment: &'a Assignment,
    /// How good it was; none while it runs. One that is not finite counts as the worst.
    pub score: Option<f64>,
}

/// As many finished trials are random before TPE takes over, as in Optuna.
const RANDOM_FIRST: usize = 10;
/// No more than this many trials are good ones, as in Optuna: so an old search still narrows.
const GOOD_AT_MOST: usize = 25;
/// Into how many cases [`grid_size`] follows conditions.
const CASES_AT_MOST: u64 = 1 << 16;

/// Every combination of the listed values, the last parameter varying fastest; equal assignments once. Conditional parameters
/// vary only where their conditions hold. A range has no values to list, and is left out.
///
/// Ask [`grid_size`] first.
pub fn grid(parameters: &[Parameter]) -> Vec<Assignment> {
    let walk = Walk::new(parameters);
    let mut points = Vec::new();
    walk.points(
        0,
        &Assignment::new(),
        &mut vec![None; parameters.len()],
        &mut points,
    );
    points.sort();
    let mut seen = HashSet::new();
    points
        .iter()
        .map(|point| walk.assignment(point))
        .filter(|assignment| seen.insert(identity(assignment)))
        .collect()
}

/// How many assignments [`grid`] gives, before it removes equal ones that come of parameters which set the same path. Exact
/// where conditions split the grid into fewer than 65,536 cases, and at least this many beyond; `u64::MAX` at most.
pub fn grid_size(parameters: &[Parameter]) -> u64 {
    Walk::new(parameters).size(0, &Assignment::new(), 1, &mut 0)
}

/// Trial `number` of a random search: each parameter evenly over its domain, or over its logarithm. Numbers from ranges have
/// four significant digits, or more where the range is narrow.
pub fn random(parameters: &[Parameter], seed: u64, number: u64) -> Assignment {
    draw(parameters, |parameter| uniform(parameter, seed, number))
}

/// Trial `number` of a TPE search that knows of `history`, whose order matters only between equal scores.
pub fn tpe(
    parameters: &[Parameter],
    seed: u64,
    number: u64,
    direction: Direction,
    history: &[Known],
) -> Assignment {
    let finished = history.iter().filter(|known| known.score.is_some()).count();
    if finished < RANDOM_FIRST {
        return random(parameters, seed, number);
    }
    draw(parameters, |parameter| {
        likely(parameter, seed, number, direction, history)
            .unwrap_or_else(|| uniform(parameter, seed, number))
    })
}

/// A place between 0 and 1 in the parameter's domain, evenly at random.
fn uniform(parameter: &Parameter, seed: u64, number: u64) -> f64 {
    generator("random", &parameter.name, seed, number).random()
}

/// The place between 0 and 1 that TPE prefers; none where nothing finite is known of the parameter.
fn likely(
    parameter: &Parameter,
    seed: u64,
    number: u64,
    direction: Direction,
    history: &[Known],
) -> Option<f64> {
    // Those without a score are as bad as can be, so that none of them is a good one.
    let active: Vec<(f64, f64)> = history
        .iter()
        .filter_map(|known| {
            let cost = match (known.score.filter(|score| score.is_finite()), direction) {
                (None, _) => f64::INFINITY,
                (Some(score), Direction::Maximize) => -score,
                (Some(score), Direction::Minimize) => score,
            };
            Some((place(parameter, known.assignment)?, cost))
        })
        .collect();
    let finite = active.iter().filter(|(_, cost)| cost.is_finite()).count();
    let good = active.len().div_ceil(10).min(GOOD_AT_MOST).min(finite);
    if good == 0 {
        return None;
    }
    let listed = match &parameter.domain {
        Domain::Choice(values) => Some(values.len()),
        Domain::Together(sets) => Some(sets.len()),
        _ => None,
    };
    let (estimator, width) = match listed {
        Some(count) => (tpe::histogram_estimator(), count as f64),
        None => (tpe::parzen_estimator(), 1.0),
    };
    let mut optimizer = tpe::TpeOptimizerBuilder::new()
        // Half a trial less, lest rounding make it one more.
        .gamma((good as f64 - 0.5) / active.len() as f64)
        .build(estimator, tpe::range(0.0, width).ok()?)
        .ok()?;
    for (place, cost) in active {
        // The range is open above.
        optimizer
            .tell((place * width).min(width.next_down()), cost)
            .ok()?;
    }
    let asked = optimizer
        .ask(&mut generator("tpe", &parameter.name, seed, number))
        .ok()?;
    // The middle of a listed value's share, lest rounding give its neighbour.
    Some(listed.map_or(asked, |count| (asked + 0.5) / count as f64))
}

fn generator(purpose: &str, name: &str, seed: u64, number: u64) -> ChaCha8Rng {
    let mut key = blake3::Hasher::new_derive_key("refit sweep search 1");
    key.update(&seed.to_le_bytes());
    key.update(&number.to_le_bytes());
    key.update(purpose.as_bytes());
    key.update(&[0]);
    key.update(name.as_bytes());
    ChaCha8Rng::from_seed(*key.finalize().as_bytes())
}

/// The assignment of which `pick` says, for each parameter that is active, at which place between 0 and 1 in its domain it lies.
fn draw(parameters: &[Parameter], mut pick: impl FnMut(&Parameter) -> f64) -> Assignment {
    let mut chosen = vec![None; parameters.len()];
    let mut so_far = Assignment::new();
    for at in order(parameters) {
        let parameter = &parameters[at];
        if applies(parameter, &so_far) {
            let fields = fields_at(parameter, pick(parameter));
            so_far.extend(fields.clone());
            chosen[at] = Some(fields);
        }
    }
    chosen.into_iter().flatten().flatten().collect()
}

/// The fields that the parameter sets at a place between 0 and 1 in its domain.
fn fields_at(parameter: &Parameter, place: f64) -> Assignment {
    let index = |count: usize| ((place * count as f64) as usize).min(count.saturating_sub(1));
    let value = match &parameter.domain {
        Domain::Together(sets) => return sets.get(index(sets.len())).cloned().unwrap_or_default(),
        Domain::Choice(values) => match values.get(index(values.len())) {
            Some(value) => value.clone(),
            None => return Assignment::new(),
        },
        Domain::Uniform { low, high } => {
            Value::from(plain(low * (1.0 - place) + high * place, *low, *high))
        }
        Domain::LogUniform { low, high } => {
            let exponent = low.ln() * (1.0 - place) + high.ln() * place;
            Value::from(plain(exponent.exp(), *low, *high))
        }
        Domain::Int { low, high } => {
            let steps = (place * (*high as f64 - *low as f64 + 1.0)) as i64;
            Value::from(low.saturating_add(steps).min(*high))
        }
    };
    Assignment::from_iter([(parameter.name.clone(), value)])
}

/// Where between 0 and 1 in the parameter's domain the assignment's value lies; none where the parameter is inactive, or its
/// domain has changed since.
pub(super) fn place(parameter: &Parameter, assignment: &Assignment) -> Option<f64> {
    let middle = |index: usize, count: usize| (index as f64 + 0.5) / count as f64;
    let share = |value: f64, low: f64, high: f64| {
        if value == low && low == high {
            return Some(0.5);
        }
        let share = (value - low) / (high - low);
        (0.0..=1.0).contains(&share).then_some(share)
    };
    let value = assignment.get(&parameter.name);
    match &parameter.domain {
        Domain::Choice(values) => {
            let value = value?;
            let index = values.iter().position(|listed| same(listed, value))?;
            Some(middle(index, values.len()))
        }
        Domain::Together(sets) => {
            let (index, _) = sets
                .iter()
                .enumerate()
                .filter(|(_, set)| {
                    set.iter()
                        .all(|(path, listed)| assignment.get(path).is_some_and(|v| same(listed, v)))
                })
                .rev()
                // A set may be part of another one.
                .max_by_key(|(_, set)| set.len())?;
            Some(middle(index, sets.len()))
        }
        Domain::Uniform { low, high } => share(value?.as_f64()?, *low, *high),
        Domain::LogUniform { low, high } => share(value?.as_f64()?.ln(), low.ln(), high.ln()),
        Domain::Int { low, high } => {
            // Each number has an equal share, and lies in its middle.
            share(
                value?.as_i64()? as f64,
                *low as f64 - 0.5,
                *high as f64 + 0.5,
            )
        }
    }
}

/// The number with four significant digits, or with as many more as tell a thousand numbers of the range apart.
fn plain(number: f64, low: f64, high: f64) -> f64 {
    (3..17)
        .filter_map(|digits| format!("{number:.digits$e}").parse::<f64>().ok())
        .find(|rounded| {
            (low..=high).contains(rounded) && (rounded - number).abs() <= (high - low) / 1000.0
        })
        .unwrap_or(number)
        .max(low)
        .min(high)
}

/// The parameters in an order in which each comes after those that its conditions name, else as in the file; without those
/// that wait for each other.
fn order(parameters: &[Parameter]) -> Vec<usize> {
    let mut pending: Vec<usize> = (0..parameters.len()).collect();
    let mut order = Vec::new();
    while let Some(next) = pending.iter().position(|&at| {
        !parameters[at]
            .when
            .iter()
            .any(|(path, _)| pending.iter().any(|&other| sets(&parameters[other], path)))
    }) {
        order.push(pending.remove(next));
    }
    order
}

fn sets(parameter: &Parameter, path: &str) -> bool {
    match &parameter.domain {
        Domain::Together(sets) => sets.iter().any(|set| set.contains_key(path)),
        _ => parameter.name == path,
    }
}

/// What a parameter may set, each once. One that lists nothing, as a range does, sets nothing.
fn listed(parameter: &Parameter) -> Vec<Assignment> {
    let mut all: Vec<Assignment> = match &parameter.domain {
        Domain::Choice(values) => values
            .iter()
            .map(|value| Assignment::from_iter([(parameter.name.clone(), value.clone())]))
            .collect(),
        Domain::Together(sets) => sets.clone(),
        Domain::Uniform { .. } | Domain::LogUniform { .. } | Domain::Int { .. } => Vec::new(),
    };
    if all.is_empty() {
        all.push(Assignment::new());
    }
    let mut seen = HashSet::new();
    all.retain(|fields| seen.insert(identity(fields)));
    all
}

/// Equal for equal assignments, whatever the order of their paths.
fn identity(assignment: &Assignment) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = assignment
        .iter()
        .map(|(path, value)| (path.clone(), value.to_string()))
        .collect();
    fields.sort();
    fields
}

/// For each parameter, which of its listed values; none while it is inactive.
type Point = Vec<Option<usize>>;

/// What a grid is made of.
struct Walk<'a> {
    parameters: &'a [Parameter],
    listed: Vec<Vec<Assignment>>,
    order: Vec<usize>,
}

impl<'a> Walk<'a> {
    fn new(parameters: &'a [Parameter]) -> Self {
        Walk {
            parameters,
            listed: parameters.iter().map(listed).collect(),
            order: order(parameters),
        }
    }

    fn assignment(&self, point: &[Option<usize>]) -> Assignment {
        let fields = self.listed.iter().zip(point);
        fields
            .filter_map(|(listed, place)| listed.get((*place)?))
            .flat_map(Assignment::clone)
            .collect()
    }

    /// The points below a choice of the first `depth` parameters in order.
    fn points(&self, depth: usize, so_far: &Assignment, point: &mut Point, found: &mut Vec<Point>) {
        let Some(&at) = self.order.get(depth) else {
            found.push(point.clone());
            return;
        };
        if !applies(&self.parameters[at], so_far) {
            return self.points(depth + 1, so_far, point, found);
        }
        for (place, fields) in self.listed[at].iter().enumerate() {
            point[at] = Some(place);
            self.points(depth + 1, &joined(so_far, fields), point, found);
        }
        point[at] = None;
    }

    /// How many points lie below, times `factor`. Splits only at values that conditions ask for.
    fn size(&self, depth: usize, so_far: &Assignment, factor: u64, cases: &mut u64) -> u64 {
        if *cases >= CASES_AT_MOST {
            return 0;
        }
        let Some(&at) = self.order.get(depth) else {
            *cases += 1;
            return factor;
        };
        let parameter = &self.parameters[at];
        if !applies(parameter, so_far) {
            return self.size(depth + 1, so_far, factor, cases);
        }
        let asked_for = self
            .parameters
            .iter()
            .any(|other| other.when.iter().any(|(path, _)| sets(parameter, path)));
        if !asked_for {
            let factor = factor.saturating_mul(self.listed[at].len() as u64);
            return self.size(depth + 1, so_far, factor, cases);
        }
        self.listed[at].iter().fold(0, |sum: u64, fields| {
            sum.saturating_add(self.size(depth + 1, &joined(so_far, fields), factor, cases))
        })
    }
}

fn joined(so_far: &Assignment, fields: &Assignment) -> Assignment {
    let mut joined = so_far.clone();
    joined.extend(fields.clone());
    joined
}

#[cfg(test)]
mod tests;
