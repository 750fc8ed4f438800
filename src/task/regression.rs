//! Numbers for each text.
//!
//! The outputs are the answers: nothing is scaled, in training or after it, so a target far from 0 and 1 takes a while to
//! be reached.

use super::predictions::{Recalled, rows_of_numbers};
use super::{Answers, Asked, Decisive, Outcome, Reply, Rule, Scored, TaskError, of_every_row};
use crate::learn::Predictions;
use crate::metrics;
use crate::table::{Cells, NamedColumns};

struct Numbers {
    names: Vec<String>,
    /// `[rows][targets]`.
    predicted: Vec<Vec<f64>>,
}

pub(super) fn decide(rule: &Rule, outputs: &Predictions) -> impl Answers + use<> {
    let numbers = |row: &Vec<f32>| row.iter().copied().map(f64::from).collect();
    Numbers {
        names: rule.names.clone(),
        predicted: outputs.logits.iter().map(numbers).collect(),
    }
}

/// Rows of predictions, to be scored again.
pub(super) fn recall(columns: &NamedColumns) -> Option<Recalled> {
    let names = columns.after("target_");
    let targets = rows_of_numbers(columns, "target_", &names)?;
    let predicted = rows_of_numbers(columns, "predicted_", &names)?;
    let gold = names.iter().map(|name| format!("target_{name}")).collect();
    Some(Recalled {
        gold,
        judged: None,
        sample: metrics::sample_of_numbers(targets, predicted, names),
    })
}

impl Answers for Numbers {
    fn scores(&self, asked: &Asked, loss: f64) -> Result<Scored, TaskError> {
        let targets = of_every_row(asked, "target", |row| asked.rows.targets(row))?;
        let targets: Vec<Vec<f64>> = targets.into_iter().map(<[f64]>::to_vec).collect();
        let scored = metrics::regression(&targets, &self.predicted, &self.names);
        Ok(Scored {
            flat: scored.flat(loss),
            details: scored.details(),
        })
    }

    fn columns(&self, asked: &Asked) -> Vec<(String, Cells)> {
        let targets = of_every_row(asked, "target", |row| asked.rows.targets(row));
        let mut columns = Vec::new();
        for (number, name) in self.names.iter().enumerate() {
            let Ok(targets) = &targets else { break };
            let targets = targets.iter().map(|row| row.get(number).copied()).collect();
            columns.push((format!("target_{name}"), Cells::Numbers(targets)));
        }
        for (number, name) in self.names.iter().enumerate() {
            let predicted = self.predicted.iter().map(|row| row.get(number).copied());
            let predicted = Cells::Numbers(predicted.collect());
            columns.push((format!("predicted_{name}"), predicted));
        }
        columns
    }

    fn replies(&self, _: &Asked) -> Vec<Reply> {
        // They came as single precision.
        let numbers = |row: &Vec<f64>| row.iter().map(|&number| number as f32).collect();
        let rows = self.predicted.iter().map(numbers);
        rows.map(Reply::Numbers).collect()
    }

    fn outcomes(&self, asked: &Asked) -> Result<Vec<Option<Outcome>>, TaskError> {
        let targets = of_every_row(asked, "target", |row| asked.rows.targets(row))?;
        let first = |row: &[f64]| row.first().copied().unwrap_or_default();
        let pairs = targets.iter().zip(&self.predicted);
        let errors = pairs.map(|(target, predicted)| (first(target) - first(predicted)).abs());
        let errors: Vec<f64> = errors.collect();
        let mut sorted = errors.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(errors.len().saturating_sub(1) / 2).copied();
        let outcome = |error: f64| {
            let right = median.is_some_and(|median| error <= median);
            let sure = if right { -error } else { error };
            Some(Outcome {
                right,
                sure: sure as f32,
            })
        };
        Ok(errors.into_iter().map(outcome).collect())
    }

    fn decisive(&self, _: &Asked, _: &Predictions, example: usize) -> Option<Decisive> {
        Some(Decisive {
            row: example,
            output: vec![(0, 0)],
            name: self.names.first()?.clone(),
        })
    }
}
