//! The answers of an evaluation, whatever the task: what all tasks have for the page, and what only some have.
//!
//! Deliberately absent: texts that the predictions do not hold, which are joined later.

use serde_json::{Map, Value};

use super::super::evaluation::{
    PageBin, PageConfused, PageCurves, PageDoubt, PageLabel, PageRows, PageThresholds,
};
use super::{classes, entities, others};
use crate::metrics::Scheme;
use crate::metrics::curves::{Bin, calibration, calibration_error};
use crate::metrics::slices::Slice;
use crate::table::NamedColumns;

/// Into how many bins answers are put by how sure they are.
const BINS: usize = 10;

/// What is known of the answers to all rows.
#[derive(Default)]
pub(super) struct Answered {
    pub(super) task: &'static str,
    pub(super) labels: Vec<String>,
    /// All but ids, names, texts and words.
    pub(super) rows: PageRows,
    /// From 0 to 1; empty where it is not known.
    pub(super) sure: Vec<f64>,
    /// What the rows say, where the predictions tell: the text, and the one beside it.
    pub(super) texts: Option<Vec<String>>,
    pub(super) pairs: Option<Vec<String>>,
    /// Of what rows say besides their looks: their labels, the kind of their answers.
    pub(super) slices: Vec<Slice>,
    pub(super) per_label: Vec<PageLabel>,
    pub(super) confusion: Vec<Vec<u64>>,
    pub(super) curves: Vec<PageCurves>,
    pub(super) calibration: Vec<PageBin>,
    pub(super) calibration_error: Option<f64>,
    pub(super) thresholds: Vec<PageThresholds>,
    pub(super) confused: Vec<PageConfused>,
    pub(super) doubtful: Vec<PageDoubt>,
    pub(super) entity_errors: Map<String, Value>,
    pub(super) notes: Vec<String>,
}

impl Answered {
    /// What the columns tell; none where they are of no task that is known.
    pub(super) fn of(columns: &NamedColumns, scores: &Map<String, Value>) -> Option<Answered> {
        if scores.contains_key("generation") {
            return others::generation(columns);
        }
        let scheme = scores.get("scheme").and_then(Value::as_str);
        let scheme = scheme.and_then(Scheme::of_name);
        entities::token_classification(columns, scheme)
            .or_else(|| others::question_answering(columns))
            .or_else(|| classes::multi_label(columns, scores))
            .or_else(|| classes::classification(columns))
            .or_else(|| others::regression(columns))
    }

    /// Takes up how often decisions of this sureness are right.
    pub(super) fn calibrate(&mut self, right: &[bool], sure: &[f64]) {
        let bins = calibration(right, sure, BINS);
        self.calibration_error = calibration_error(&bins);
        let shown = |bin: &Bin| PageBin {
            low: bin.low,
            high: bin.high,
            confidence: bin.confidence,
            accuracy: bin.accuracy,
            rows: bin.rows,
        };
        self.calibration = bins.iter().map(shown).collect();
    }
}

/// The pairs of labels that are confused most, most frequent first: `counts` as `[right][answered]`, and how many there are of
/// each right one.
pub(super) fn confused(counts: &[Vec<u64>], support: &[u64]) -> Vec<PageConfused> {
    const MOST: usize = 50;
    let mut pairs = Vec::new();
    for (right, row) in counts.iter().enumerate() {
        let all = support.get(right).copied().unwrap_or_default();
        for (answered, &count) in row.iter().enumerate() {
            if answered != right && count > 0 {
                pairs.push(PageConfused {
                    right,
                    answered,
                    count,
                    share: count as f64 / all.max(1) as f64,
                });
            }
        }
    }
    pairs.sort_by_key(|pair| (std::cmp::Reverse(pair.count), pair.right, pair.answered));
    pairs.truncate(MOST);
    pairs
}

/// One slice for each label, of the rows that have it.
pub(super) fn by_label<'r>(labels: &[String], rows: impl Iterator<Item = &'r [u16]>) -> Vec<Slice> {
    let mut slices: Vec<Slice> = labels
        .iter()
        .map(|label| Slice {
            by: "label".to_owned(),
            value: label.clone(),
            rows: Vec::new(),
        })
        .collect();
    for (row, of_row) in (0..).zip(rows) {
        for &label in of_row {
            if let Some(slice) = slices.get_mut(usize::from(label))
                && slice.rows.last() != Some(&row)
            {
                slice.rows.push(row);
            }
        }
    }
    slices
}

/// One slice for each value.
pub(super) fn by_value(by: &str, values: impl Iterator<Item = String>) -> Vec<Slice> {
    let mut slices: Vec<Slice> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (row, value) in (0..).zip(values) {
        let place = *places.entry(value).or_insert_with_key(|value| {
            slices.push(Slice {
                by: by.to_owned(),
                value: value.clone(),
                rows: Vec::new(),
            });
            slices.len() - 1
        });
        if let Some(slice) = slices.get_mut(place) {
            slice.rows.push(row);
        }
    }
    slices
}

/// A number of a label as rows hold it.
pub(super) fn short(label: u32) -> u16 {
    u16::try_from(label).unwrap_or(u16::MAX)
}
