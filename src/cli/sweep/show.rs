//! A sweep's trials as a table for the terminal, as JSON, as a file, and as what its page shows.
//!
//! Deliberately absent: the page itself.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Failure, SweepUse, print, seconds_of, table};
use crate::outcome::Outcome;
use crate::report;
use crate::report::sweep::{PageParameter, PageTrial, Scale, SweepPage, sweep_page};
use crate::spec::sweep::{Domain, Parameter};
use crate::sweep::Sweep;
use crate::sweep::drive::Seen;
use crate::sweep::importance::importance;
use crate::sweep::ledger::StepResult;
use crate::sweep::results::{Row, State, best, executions};
use crate::sweep::trial::Replicate;
use crate::table::{Cells, write_columns, write_csv};

/// What a drive saw of each run.
pub(super) type SeenRuns = BTreeMap<(usize, Replicate), Seen>;

/// Short names of the paths that vary: as much of each path's end as tells it from the others.
pub(super) struct Names {
    paths: Vec<(String, String)>,
}

impl Names {
    pub(super) fn of(parameters: &[Parameter]) -> Names {
        let mut paths: Vec<&str> = Vec::new();
        for path in parameters.iter().flat_map(Parameter::paths) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        let end = |path: &str, parts: usize| -> String {
            let all: Vec<&str> = path.split('.').collect();
            all[all.len().saturating_sub(parts)..].join(".")
        };
        let short = |path: &str| {
            let longest = path.split('.').count();
            let distinct = (1..=longest).find(|&parts| {
                let name = end(path, parts);
                let mut others = paths.iter().filter(|other| **other != path);
                !others.any(|other| end(other, parts) == name)
            });
            end(path, distinct.unwrap_or(longest))
        };
        let named = paths.iter().map(|path| (short(path), (*path).to_owned()));
        Names {
            paths: named.collect(),
        }
    }

    /// The path of a column: its short name, or the path itself.
    pub(super) fn path(&self, name: &str) -> Option<&str> {
        let found = self
            .paths
            .iter()
            .find(|(short, path)| short == name || path == name);
        found.map(|(_, path)| path.as_str())
    }

    pub(super) fn all(&self) -> Vec<&str> {
        self.paths.iter().map(|(short, _)| short.as_str()).collect()
    }

    /// `learning_rate 2e-5, epochs 3`.
    pub(super) fn told(&self, assignment: &Map<String, Value>) -> String {
        let told = self.paths.iter().filter_map(|(short, path)| {
            let value = assignment.get(path)?;
            Some(format!("{short} {}", plain(value)))
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// A value as a person writes it: strings without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A score with as many digits as tell scores apart.
pub(super) fn score(row: &Row) -> String {
    match (row.score, row.spread) {
        (Some(score), Some(spread)) => format!("{score:.4} ± {spread:.4}"),
        (Some(score), None) => format!("{score:.4}"),
        _ => String::new(),
    }
}

/// Prints the table, and how much was shared.
pub(super) fn print_rows(sweep: &Sweep<'_>, names: &Names, rows: &[Row], all: usize) {
    let goal = format!("{}.{}", sweep.goal.stage, sweep.goal.metric);
    let mut header = vec!["trial", ""];
    header.extend(names.all());
    header.extend([goal.as_str(), "took"]);
    let mut shown = table(&header);
    let best = best(rows, sweep.goal.direction).map(|row| row.number);
    for row in rows {
        let state = match (row.state, Some(row.number) == best) {
            (State::Done, true) => "best",
            (state, _) => state.name(),
        };
        let mut cells = vec![row.number.to_string(), state.to_owned()];
        cells.extend(names.paths.iter().map(|(_, path)| {
            let value = row.assignment.get(path);
            value.map(plain).unwrap_or_default()
        }));
        let took = match row.seconds {
            seconds if seconds > 0.0 => seconds_of(seconds),
            _ => String::new(),
        };
        cells.extend([score(row), took]);
        shown.add_row(cells);
    }
    let mut text = String::new();
    if !rows.is_empty() {
        text.push_str(&format!("{}\n\n", shown.trim_fmt()));
    }
    let count = |state: State| rows.iter().filter(|row| row.state == state).count();
    let pending = all.saturating_sub(rows.len()) + count(State::Pending);
    let states = [
        State::Done,
        State::Pruned,
        State::Failed,
        State::Running,
        State::Died,
    ];
    let mut counts: Vec<String> = states
        .into_iter()
        .filter(|state| count(*state) > 0)
        .map(|state| format!("{} {}", count(state), state.name()))
        .collect();
    if pending > 0 {
        counts.push(format!("{pending} pending"));
    }
    let shared = executions(rows);
    text.push_str(&format!(
        "{all} trials: {}. Of {} executions {} were shared.\n",
        counts.join(", "),
        shared.needed,
        shared.saved
    ));
    for row in rows.iter().filter(|row| row.state == State::Failed) {
        if let Some(message) = &row.message {
            text.push_str(&format!("trial {}: {message}\n", row.number));
        }
    }
    print(&text);
}

/// The whole sweep for programs.
pub(super) fn as_json(
    sweep: &Sweep<'_>,
    rows: &[Row],
    all: usize,
    seen: Option<&SeenRuns>,
) -> Value {
    let trials: Vec<Value> = rows.iter().map(|row| trial(row, seen)).collect();
    let built = seen.map(|seen| {
        let steps = seen.values().flat_map(|seen| &seen.steps);
        steps.filter(|step| step.outcome == Outcome::Built).count()
    });
    let shared = executions(rows);
    json!({
        "pipeline": sweep.pipeline.name,
        "goal": format!("{}.{}", sweep.goal.stage, sweep.goal.metric),
        "direction": sweep.goal.direction,
        "search": sweep.settings.search,
        "planned": all,
        "best": best(rows, sweep.goal.direction).map(|row| row.number),
        "executions": {
            "needed": shared.needed,
            "distinct": shared.distinct,
            "saved": shared.saved,
            "built": built,
        },
        "trials": trials,
    })
}

fn trial(row: &Row, seen: Option<&SeenRuns>) -> Value {
    let runs: Vec<Value> = row
        .runs
        .iter()
        .map(|(replicate, run)| {
            // What this command did, where it did anything; else what was written down.
            let here = seen.and_then(|seen| seen.get(&(row.number, *replicate)));
            let (steps, scores) = match here {
                Some(here) => (&here.steps, &here.scores),
                None => (&run.steps, &run.scores),
            };
            json!({
                "repeat": replicate.repeat,
                "fold": replicate.fold,
                "steps": steps.iter().map(step).collect::<Vec<_>>(),
                "scores": scores,
                "curve": run.curve,
                "seconds": run.seconds,
            })
        })
        .collect();
    let first = runs.first().cloned().unwrap_or_default();
    let of_first = |field: &str| first.get(field).cloned().unwrap_or(Value::Null);
    let mut trial = json!({
        "trial": row.number,
        "state": row.state,
        "parameters": row.assignment,
        "score": row.score,
        "spread": row.spread,
        "seconds": row.seconds,
        "message": row.message,
        "steps": of_first("steps"),
        "scores": of_first("scores"),
        "curve": of_first("curve"),
    });
    if let (true, Some(fields)) = (runs.len() > 1, trial.as_object_mut()) {
        fields.insert("runs".to_owned(), runs.into());
    }
    trial
}

fn step(step: &StepResult) -> Value {
    json!({
        "stage": step.stage,
        "kind": step.kind,
        "outcome": step.outcome,
        "reason": step.reason,
        "key": step.key,
        "digest": step.digest,
        "seconds": step.seconds,
        "resumed_from_step": null,
    })
}

/// The ending of a table's file, if it is one of those that can be written.
pub(super) fn ending(path: &Path) -> Result<&str, Failure> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    match ending {
        Some(ending @ ("csv" | "parquet" | "json")) => Ok(ending),
        _ => Err(Failure::unusable(SweepUse::Ending {
            path: path.to_owned(),
        })),
    }
}

/// Writes one row a trial: its number and state, its parameters by their paths, its score, and all scores of the goal's stage.
pub(super) fn write_table(path: &Path, sweep: &Sweep<'_>, rows: &[Row]) -> Result<(), Failure> {
    let columns = columns(sweep, rows);
    match ending(path)? {
        "json" => {
            let records: Vec<Value> = (0..rows.len())
                .map(|at| {
                    let cells = columns
                        .iter()
                        .map(|(name, cells)| (name.clone(), cells[at].clone()));
                    Value::Object(cells.collect())
                })
                .collect();
            std::fs::write(path, format!("{:#}\n", Value::Array(records))).map_err(|source| {
                Failure::failed(SweepUse::Write {
                    path: path.to_owned(),
                    source,
                })
            })
        }
        ending => {
            let typed = columns
                .into_iter()
                .map(|(name, cells)| (name, typed(cells)));
            let write = match ending {
                "csv" => write_csv,
                _ => write_columns,
            };
            write(path, typed.collect()).map_err(Failure::failed)
        }
    }
}

fn columns(sweep: &Sweep<'_>, rows: &[Row]) -> Vec<(String, Vec<Value>)> {
    let column = |name: &str, cell: &dyn Fn(&Row) -> Value| {
        (name.to_owned(), rows.iter().map(cell).collect::<Vec<_>>())
    };
    let mut columns = vec![
        column("trial", &|row| row.number.into()),
        column("state", &|row| row.state.name().into()),
    ];
    for (_, path) in Names::of(&sweep.settings.parameters.0).paths {
        columns.push(column(&path, &|row| {
            row.assignment.get(&path).cloned().unwrap_or_default()
        }));
    }
    columns.push(column("score", &|row| row.score.into()));
    columns.push(column("spread", &|row| row.spread.into()));
    columns.push(column("seconds", &|row| row.seconds.into()));
    let scores = |row: &Row| -> Option<Map<String, Value>> {
        let (_, run) = row.runs.first()?;
        run.scores.get(sweep.goal.stage)?.as_object().cloned()
    };
    let mut metrics: Vec<String> = Vec::new();
    for (metric, value) in rows.iter().filter_map(scores).flatten() {
        if value.is_number() && !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    for metric in metrics {
        let name = format!("{}.{metric}", sweep.goal.stage);
        columns.push(column(&name, &|row| {
            let scores = scores(row);
            let value = scores.and_then(|scores| scores.get(&metric).cloned());
            value.unwrap_or_default()
        }));
    }
    columns.push(column("message", &|row| row.message.clone().into()));
    columns
}

/// Numbers where all of a column are, text elsewhere.
fn typed(cells: Vec<Value>) -> Cells {
    if cells.iter().all(|cell| cell.is_number() || cell.is_null()) {
        Cells::Numbers(cells.iter().map(Value::as_f64).collect())
    } else {
        let text = |cell: &Value| (!cell.is_null()).then(|| plain(cell));
        Cells::Texts(cells.iter().map(text).collect())
    }
}

/// The page that shows the sweep.
pub(super) fn page(sweep: &Sweep<'_>, rows: &[Row]) -> String {
    let parameters = &sweep.settings.parameters.0;
    let scored: Vec<(&Map<String, Value>, f64)> = rows
        .iter()
        .filter_map(|row| Some((row.assignment, row.score?)))
        .collect();
    let shared = executions(rows);
    let spec = sweep.pipeline.path.file_name().unwrap_or_default();
    let laid = sweep.pipeline.overrides().iter();
    let laid: String = laid
        .map(|(path, value)| format!(" --set {path}={}", plain(value)))
        .collect();
    sweep_page(&SweepPage {
        pipeline: sweep.pipeline.name.clone(),
        goal: format!("{}.{}", sweep.goal.stage, sweep.goal.metric),
        direction: sweep.goal.direction.name().to_owned(),
        search: sweep.settings.search.name().to_owned(),
        parameters: parameters.iter().flat_map(axes).collect(),
        trials: rows.iter().map(page_trial).collect(),
        best: best(rows, sweep.goal.direction).map(|row| row.number),
        executions: report::sweep::Executions {
            needed: shared.needed as u64,
            ran: shared.distinct as u64,
            saved: shared.saved as u64,
        },
        importance: importance(parameters, &scored),
        command: format!("refit sweep {}{laid}", spec.to_string_lossy()),
    })
}

fn axes(parameter: &Parameter) -> Vec<PageParameter> {
    let scale = || match parameter.domain {
        Domain::Choice(_) | Domain::Together(_) => Scale::Choice,
        Domain::Uniform { .. } => Scale::Linear,
        Domain::LogUniform { .. } => Scale::Log,
        Domain::Int { .. } => Scale::Integer,
    };
    let axis = |path: &str| PageParameter {
        name: path.to_owned(),
        scale: scale(),
    };
    parameter.paths().into_iter().map(axis).collect()
}

fn page_trial(row: &Row) -> PageTrial {
    let curves = row.runs.iter().map(|(_, run)| {
        let points = run.curve.iter();
        points
            .filter_map(|(step, value)| Some((*step, (*value)?)))
            .collect()
    });
    PageTrial {
        number: row.number,
        state: row.state.name().to_owned(),
        parameters: row.assignment.clone(),
        score: row.score,
        spread: row.spread,
        seconds: row.seconds,
        curves: curves.collect(),
        built: row.built as u64,
        fresh: row.fresh as u64,
        message: row.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_they_can_be() {
        let parameter = |name: &str| Parameter {
            name: name.to_owned(),
            domain: Domain::Choice(vec![1.into()]),
            when: Vec::new(),
        };
        let names = Names::of(&[
            parameter("train.a.optimizer.learning_rate"),
            parameter("train.a.epochs"),
            parameter("train.b.epochs"),
        ]);
        assert_eq!(names.all(), ["learning_rate", "a.epochs", "b.epochs"]);
        assert_eq!(names.path("a.epochs"), Some("train.a.epochs"));
        assert_eq!(names.path("train.b.epochs"), Some("train.b.epochs"));
        assert_eq!(names.path("epochs"), None);
        let assignment = json!({ "train.b.epochs": 3, "train.a.optimizer.learning_rate": 2e-5 });
        assert_eq!(
            names.told(assignment.as_object().unwrap()),
            "learning_rate 0.00002, b.epochs 3"
        );
    }
}
