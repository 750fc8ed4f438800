//! One label for each text.
//!
//! The likeliest label is given; of equals, the first.

use super::predictions::{Columns, Recalled, numbering};
use super::{Answers, Asked, Rule, Scored, TaskError, of_every_row};
use crate::learn::Predictions;
use crate::metrics;
use crate::table::Cells;

struct Labelled {
    names: Vec<String>,
    predicted: Vec<u32>,
    /// `[rows][labels]`.
    probabilities: Vec<Vec<f32>>,
}

pub(super) fn decide(rule: &Rule, outputs: &Predictions) -> impl Answers + use<> {
    Labelled {
        names: rule.names.clone(),
        predicted: outputs.labels(),
        probabilities: outputs.probabilities(),
    }
}

impl Answers for Labelled {
    fn scores(&self, asked: &Asked, loss: f64) -> Result<Scored, TaskError> {
        let labels = of_every_row(asked, "label", |row| asked.rows.label(row))?;
        let scored = metrics::classification(&labels, &self.predicted, &self.names);
        Ok(Scored {
            flat: scored.flat(loss),
            details: scored.details(),
        })
    }

    fn columns(&self, asked: &Asked) -> Vec<(String, Cells)> {
        let name = |label: u32| self.names.get(label as usize).cloned();
        let mut columns = Vec::new();
        if let Ok(labels) = of_every_row(asked, "label", |row| asked.rows.label(row)) {
            let labels = labels.into_iter().map(name).collect();
            columns.push(("label".to_owned(), Cells::Texts(labels)));
        }
        let predicted = self.predicted.iter().map(|&label| name(label)).collect();
        columns.push(("predicted".to_owned(), Cells::Texts(predicted)));
        columns.extend(probabilities(&self.names, &self.probabilities));
        columns
    }
}

/// The labels that were given to the rows so far: what scores need, four bytes for each.
pub(super) struct Given {
    names: Vec<String>,
    predicted: Vec<u32>,
}

impl Given {
    pub(super) fn new(rule: &Rule) -> Self {
        Given {
            names: rule.names.clone(),
            predicted: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, outputs: &Predictions) {
        self.predicted.extend(outputs.labels());
    }

    /// The answers to all these rows, without probabilities.
    pub(super) fn all(self) -> impl Answers + use<> {
        Labelled {
            names: self.names,
            predicted: self.predicted,
            probabilities: Vec::new(),
        }
    }
}

/// Rows of predictions, to be scored again.
pub(super) fn recall(columns: &Columns) -> Option<Recalled> {
    let names = columns.after("probability_");
    let number = numbering(&names);
    let of = |column: &str| -> Option<Vec<u32>> {
        Some(columns.texts(column)?.into_iter().map(&number).collect())
    };
    let (labels, predicted) = (of("label")?, of("predicted")?);
    let sample = metrics::sample_of_classes(labels, predicted, names.clone());
    Some((vec!["label".to_owned()], sample))
}

/// A column `probability_NAME` for each name.
pub(super) fn probabilities(
    names: &[String],
    rows: &[Vec<f32>],
) -> impl Iterator<Item = (String, Cells)> {
    names.iter().enumerate().map(|(number, name)| {
        let column = rows.iter().map(|row| row.get(number).copied());
        let column = column.map(Option::unwrap_or_default).collect();
        (format!("probability_{name}"), Cells::Floats(column))
    })
}
