//! Results: a row for each trial, made of what the ledger says.
//!
//! Deliberately absent: layout. Tables, pages and JSON are made of rows elsewhere.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Sweep;
use super::ledger::{End, Entry, Ledger, RunEntry};
use super::trial::{Assignment, Replicate, replicates};
use crate::outcome::Outcome;
use crate::spec::sweep::Direction;
use crate::store::Journal;

/// Where a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Done,
    /// Stopped, since others were better.
    Pruned,
    Failed,
    Running,
    /// Begun by a process that was stopped or has died; the next start goes on with it.
    Died,
    Pending,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Done => "done",
            State::Pruned => "pruned",
            State::Failed => "failed",
            State::Running => "running",
            State::Died => "died",
            State::Pending => "pending",
        }
    }
}

/// One trial.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    pub number: usize,
    pub assignment: &'a Assignment,
    pub state: State,
    /// The mean over its runs.
    pub score: Option<f64>,
    /// The sample standard deviation over its runs, where there are several.
    pub spread: Option<f64>,
    /// How long its runs took, where they were not known beforehand.
    pub seconds: f64,
    /// How many of its steps ran, and how many were known.
    pub built: usize,
    pub fresh: usize,
    /// Why it failed.
    pub message: Option<String>,
    pub runs: Vec<(Replicate, &'a RunEntry)>,
}

/// The rows of these trials, in their order.
pub fn rows<'a>(sweep: &Sweep<'_>, ledger: &'a Ledger, trials: &[usize]) -> Vec<Row<'a>> {
    let replicates = replicates(sweep.settings);
    let known = trials
        .iter()
        .filter_map(|&number| Some((number, ledger.trials().get(number)?)));
    known
        .map(|(number, entry)| row(number, entry, &replicates, &sweep.journal))
        .collect()
}

fn row<'a>(
    number: usize,
    entry: &'a Entry,
    replicates: &[Replicate],
    journal: &Journal,
) -> Row<'a> {
    let runs: Vec<(Replicate, &RunEntry)> = replicates
        .iter()
        .filter_map(|replicate| Some((*replicate, entry.runs.get(replicate)?)))
        .collect();
    let ends = || runs.iter().filter_map(|(_, run)| run.end.as_ref());
    let values: Vec<f64> = ends()
        .filter_map(|end| match end {
            End::Finished(value) => Some(*value),
            _ => None,
        })
        .collect();
    let message = ends().find_map(|end| match end {
        End::Failed(message) => Some(message.clone()),
        _ => None,
    });
    let begun = runs.iter().any(|(_, run)| run.end.is_none()) || !values.is_empty();
    let state = if message.is_some() {
        State::Failed
    } else if ends().any(|end| matches!(end, End::Pruned(_))) {
        State::Pruned
    } else if values.len() == replicates.len() {
        State::Done
    } else if journal.is_claimed(&entry.id) {
        State::Running
    } else if begun {
        State::Died
    } else {
        State::Pending
    };
    let done = state == State::Done;
    let steps = || runs.iter().flat_map(|(_, run)| &run.steps);
    let count = |outcome: Outcome| steps().filter(|step| step.outcome == outcome).count();
    Row {
        number,
        assignment: &entry.assignment,
        state,
        score: done.then(|| mean(&values)),
        spread: (done && values.len() > 1).then(|| deviation(&values)),
        seconds: runs.iter().map(|(_, run)| run.seconds).sum(),
        built: count(Outcome::Built),
        fresh: count(Outcome::Fresh),
        message,
        runs,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few runs")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample standard deviation, with one degree of freedom less than there are values.
#[expect(clippy::cast_precision_loss, reason = "a few runs")]
fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// The best of the trials that are done; of equals the one that was proposed first.
pub fn best<'r, 'a>(rows: &'r [Row<'a>], direction: Direction) -> Option<&'r Row<'a>> {
    let done = rows
        .iter()
        .filter(|row| row.state == State::Done)
        .filter_map(|row| Some((row, row.score?)));
    let best = done.reduce(|best, other| {
        let better = direction.improves(other.1, best.1);
        let first = other.1 == best.1 && other.0.number < best.0.number;
        if better || first { other } else { best }
    });
    best.map(|(row, _)| row)
}

/// By what rows are put in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The best first; then those without a score, by state and number.
    Score,
    Number,
    Seconds,
    /// By the value of a parameter.
    Parameter(String),
}

/// Puts rows in order.
pub fn sort(rows: &mut [Row<'_>], order: &Order, direction: Direction) {
    rows.sort_by(|a, b| {
        let by_number = a.number.cmp(&b.number);
        match order {
            Order::Number => by_number,
            Order::Seconds => b.seconds.total_cmp(&a.seconds).then(by_number),
            Order::Score => match (a.score, b.score) {
                (Some(a), Some(b)) => match direction {
                    Direction::Maximize => b.total_cmp(&a),
                    Direction::Minimize => a.total_cmp(&b),
                },
                (a_score, b_score) => b_score
                    .is_some()
                    .cmp(&a_score.is_some())
                    .then(a.state.cmp(&b.state)),
            }
            .then(by_number),
            Order::Parameter(path) => {
                let (a, b) = (a.assignment.get(path), b.assignment.get(path));
                let number = |value: Option<&serde_json::Value>| value.and_then(|v| v.as_f64());
                let text = |value: Option<&serde_json::Value>| {
                    value.map(serde_json::Value::to_string).unwrap_or_default()
                };
                match (number(a), number(b)) {
                    (Some(a), Some(b)) => a.total_cmp(&b),
                    _ => text(a).cmp(&text(b)),
                }
                .then(by_number)
            }
        }
    });
}

/// What sharing saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Executions {
    /// The steps that all runs of all trials need.
    pub needed: usize,
    /// How many of these are different: as many executions as the whole sweep takes.
    pub distinct: usize,
    /// How many were spared, since another run had the same.
    pub saved: usize,
}

/// Counts the steps of all runs that ended.
pub fn executions(rows: &[Row<'_>]) -> Executions {
    let runs = || rows.iter().flat_map(|row| &row.runs);
    let keys = || {
        let steps = runs().flat_map(|(_, run)| &run.steps);
        steps.filter_map(|step| step.key)
    };
    let needed = keys().count();
    let distinct = keys().collect::<BTreeSet<_>>().len();
    Executions {
        needed,
        distinct,
        saved: needed - distinct,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::store::Store;

    fn entry(ends: &[(u32, Option<End>)]) -> Entry {
        let runs = ends.iter().map(|(repeat, end)| {
            let replicate = Replicate {
                repeat: *repeat,
                fold: None,
            };
            let run = RunEntry {
                end: end.clone(),
                ..RunEntry::default()
            };
            (replicate, run)
        });
        Entry {
            assignment: Assignment::new(),
            id: "a1".to_owned(),
            runs: runs.collect::<BTreeMap<_, _>>(),
        }
    }

    fn row_of(ends: &[(u32, Option<End>)], repeats: u32) -> Row<'static> {
        let folder = tempfile::tempdir().unwrap();
        let journal = Store::open(&folder.path().join("store"))
            .unwrap()
            .journal("a");
        let replicates: Vec<Replicate> = (0..repeats)
            .map(|repeat| Replicate { repeat, fold: None })
            .collect();
        row(0, Box::leak(Box::new(entry(ends))), &replicates, &journal)
    }

    #[test]
    fn a_score_is_the_mean_of_all_runs_with_their_deviation() {
        let ends: Vec<(u32, Option<End>)> = [1.0, 2.0, 4.0]
            .iter()
            .enumerate()
            .map(|(n, value)| (u32::try_from(n).unwrap(), Some(End::Finished(*value))))
            .collect();
        let row = row_of(&ends, 3);
        assert_eq!(row.state, State::Done);
        assert!((row.score.unwrap() - 7.0 / 3.0).abs() < 1e-12);
        // numpy.std([1, 2, 4], ddof=1)
        assert!((row.spread.unwrap() - 1.527_525_231_651_946_7).abs() < 1e-12);
        assert_eq!(row_of(&ends[..1], 1).spread, None);
    }

    #[test]
    fn a_trial_is_what_its_runs_are() {
        let done = Some(End::Finished(1.0));
        let state = |ends: &[(u32, Option<End>)]| row_of(ends, 2).state;
        assert_eq!(state(&[]), State::Pending);
        assert_eq!(state(&[(0, None)]), State::Died);
        assert_eq!(state(&[(0, done.clone())]), State::Died);
        assert_eq!(state(&[(0, done.clone()), (1, done.clone())]), State::Done);
        let pruned = Some(End::Pruned(None));
        assert_eq!(state(&[(0, done.clone()), (1, pruned)]), State::Pruned);
        let failed = Some(End::Failed("no".to_owned()));
        assert_eq!(state(&[(0, done), (1, failed)]), State::Failed);
    }

    #[test]
    fn a_trial_with_a_claim_runs() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Store::open(&folder.path().join("store"))
            .unwrap()
            .journal("a");
        let replicates = [Replicate::PLAIN];
        let _claim = journal.claim("a1").unwrap().unwrap();
        assert_eq!(
            row(0, &entry(&[(0, None)]), &replicates, &journal).state,
            State::Running
        );
    }

    fn rows_with(scores: &[(Option<f64>, serde_json::Value)]) -> Vec<Row<'static>> {
        let rows = scores
            .iter()
            .enumerate()
            .map(|(number, (score, value))| Row {
                number,
                score: *score,
                state: match score {
                    Some(_) => State::Done,
                    None => State::Pending,
                },
                assignment: Box::leak(Box::new(
                    json!({ "a.b": value }).as_object().unwrap().clone(),
                )),
                ..row_of(&[], 1)
            });
        rows.collect()
    }

    #[test]
    fn rows_are_ordered_by_score_number_or_parameter() {
        let mut rows = rows_with(&[
            (Some(0.5), json!(10)),
            (None, json!(9)),
            (Some(0.75), json!("x")),
            (Some(0.5), json!(2)),
        ]);
        let order = |rows: &[Row]| rows.iter().map(|row| row.number).collect::<Vec<_>>();
        sort(&mut rows, &Order::Score, Direction::Maximize);
        assert_eq!(order(&rows), [2, 0, 3, 1]);
        sort(&mut rows, &Order::Score, Direction::Minimize);
        assert_eq!(order(&rows), [0, 3, 2, 1]);
        sort(&mut rows, &Order::Number, Direction::Minimize);
        assert_eq!(order(&rows), [0, 1, 2, 3]);
        assert_eq!(best(&rows, Direction::Maximize).unwrap().number, 2);
        assert_eq!(best(&rows, Direction::Minimize).unwrap().number, 0);
        rows.retain(|row| row.number != 2);
        sort(
            &mut rows,
            &Order::Parameter("a.b".to_owned()),
            Direction::Maximize,
        );
        assert_eq!(order(&rows), [3, 1, 0]);
    }
}
