//! Which trials a sweep has, and which it gets: the search's assignments, numbered in the journal.
//!
//! Numbers are given under the journal's lock, so that two processes never give one twice. What the journal has and the
//! parameters could no longer make is none of the sweep's trials any more, and keeps its number.
//!
//! Deliberately absent: how an assignment is chosen.

use super::{Drive, SweepError};
use crate::spec::sweep::{Direction, Parameter, Search};
use crate::sweep::ledger::{End, Event, Ledger};
use crate::sweep::search::{Known, grid, grid_size, random, tpe};
use crate::sweep::trial::{Assignment, fits};
use crate::sweep::{MOST_TRIALS, results};

/// How often a search may come upon assignments that are there already before it is taken to have seen them all.
const MOST_TRIES: u64 = 1000;

fn parameters<'a>(drive: &'a Drive<'_>) -> &'a [Parameter] {
    &drive.sweep.settings.parameters.0
}

fn wanted(drive: &Drive<'_>) -> usize {
    let trials = drive.sweep.settings.trials.unwrap_or_default();
    usize::try_from(trials).unwrap_or(usize::MAX)
}

fn seed(drive: &Drive<'_>) -> u64 {
    let own = drive.sweep.settings.seed;
    own.unwrap_or(drive.sweep.pipeline.seed)
}

/// The trials that are there already and fit, in the order in which they were proposed.
fn there(drive: &Drive<'_>) -> Vec<usize> {
    let ledger = drive.ledger();
    let fitting = |(number, entry): (usize, &crate::sweep::ledger::Entry)| {
        fits(parameters(drive), &entry.assignment).then_some(number)
    };
    let all = ledger.trials().iter().enumerate();
    all.filter_map(fitting).collect()
}

/// The trials that need no result of another: all of a grid, all of a random search; of a search that learns, those that were
/// proposed before.
pub(super) fn beforehand(drive: &Drive<'_>) -> Result<Vec<usize>, SweepError> {
    match drive.sweep.settings.search {
        Search::Grid => {
            let size = grid_size(parameters(drive));
            if size > MOST_TRIALS {
                return Err(SweepError::Large {
                    size,
                    most: MOST_TRIALS,
                });
            }
            number(drive, grid(parameters(drive)))
        }
        Search::Random => {
            let mut trials = there(drive);
            trials.truncate(wanted(drive));
            while trials.len() < wanted(drive) {
                match another(drive, &mut trials)? {
                    Some(_) => {}
                    None => break,
                }
            }
            Ok(trials)
        }
        Search::Tpe => {
            let mut trials = there(drive);
            trials.truncate(wanted(drive));
            Ok(trials)
        }
    }
}

/// The number of one more trial, when the search has one.
pub(super) fn next(
    drive: &Drive<'_>,
    trials: &mut Vec<usize>,
) -> Result<Option<usize>, SweepError> {
    match drive.sweep.settings.search {
        Search::Tpe if trials.len() < wanted(drive) => another(drive, trials),
        _ => Ok(None),
    }
}

/// Numbers for assignments: those that they have, and new ones.
fn number(drive: &Drive<'_>, assignments: Vec<Assignment>) -> Result<Vec<usize>, SweepError> {
    let known = |ledger: &Ledger| -> Option<Vec<usize>> {
        assignments
            .iter()
            .map(|assignment| ledger.number(assignment))
            .collect()
    };
    if let Some(numbers) = known(&drive.ledger()) {
        return Ok(numbers);
    }
    let numbers = drive.while_deciding(|| {
        let first = drive.ledger().trials().len();
        let new = {
            let ledger = drive.ledger();
            let new = assignments
                .iter()
                .filter(|assignment| ledger.number(assignment).is_none());
            let events = new.enumerate().map(|(n, assignment)| Event::Proposed {
                trial: first + n,
                assignment: assignment.clone(),
            });
            events.collect::<Vec<_>>()
        };
        drive.record_all(&new)?;
        Ok(known(&drive.ledger()).unwrap_or_default())
    })?;
    Ok(numbers.unwrap_or_default())
}

/// One more trial of a search that draws: one that another process proposed, or a new one. None when the search has seen all
/// there is.
fn another(drive: &Drive<'_>, trials: &mut Vec<usize>) -> Result<Option<usize>, SweepError> {
    let found = drive.while_deciding(|| {
        let there = there(drive);
        if let Some(&other) = there.iter().find(|number| !trials.contains(number)) {
            return Ok(Some(other));
        }
        let first = drive.ledger().trials().len();
        for attempt in 0..MOST_TRIES {
            let assignment = draw(drive, first, attempt, &there);
            if drive.ledger().number(&assignment).is_none() {
                drive.record(Event::Proposed {
                    trial: first,
                    assignment,
                })?;
                return Ok(Some(first));
            }
        }
        Ok(None)
    })?;
    let Some(found) = found else {
        // The user asked to stop.
        return Ok(None);
    };
    match found {
        Some(number) => trials.push(number),
        None => drive.observer.warned(&format!(
            "the parameters allow no more than {} different trials",
            trials.len()
        )),
    }
    Ok(found)
}

fn draw(drive: &Drive<'_>, number: usize, attempt: u64, there: &[usize]) -> Assignment {
    // A draw that was there already is followed by another, which must not be the next trial's.
    let number = number as u64 + attempt * MOST_TRIALS * 10;
    let parameters = parameters(drive);
    // A search that keeps proposing what it knows has to be sent elsewhere.
    if drive.sweep.settings.search == Search::Random || attempt > 0 {
        return random(parameters, seed(drive), number);
    }
    let ledger = drive.ledger();
    let history = history(drive, &ledger, there);
    let history: Vec<Known<'_>> = history
        .iter()
        .map(|(trial, score)| Known {
            assignment: &ledger.trials()[*trial].assignment,
            score: *score,
        })
        .collect();
    let direction = drive.sweep.goal.direction;
    tpe(parameters, seed(drive), number, direction, &history)
}

/// Trials with their scores; none of those that still run. A training that was stopped counts as it was then, and a trial
/// that failed like the worst.
fn history(drive: &Drive<'_>, ledger: &Ledger, there: &[usize]) -> Vec<(usize, Option<f64>)> {
    let rows = results::rows(drive.sweep, ledger, there);
    let direction = drive.sweep.goal.direction;
    let worst = rows
        .iter()
        .filter_map(|row| row.score)
        .reduce(|worst, score| match direction {
            Direction::Maximize => worst.min(score),
            Direction::Minimize => worst.max(score),
        });
    let score = |row: &results::Row| match row.state {
        results::State::Failed => worst.or(Some(0.0)),
        _ => row.score.or_else(|| {
            let runs = ledger.trials()[row.number].runs.values();
            let mut stopped = runs.filter(|run| matches!(run.end, Some(End::Pruned(_))));
            stopped.find_map(|run| run.curve.last().and_then(|(_, value)| *value))
        }),
    };
    rows.iter().map(|row| (row.number, score(row))).collect()
}
