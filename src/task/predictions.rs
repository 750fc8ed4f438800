//! Predictions read back, to be scored again in any selection of their rows.
//!
//! Each task's file says which of its columns its scores come from; here is how they become rows, and whether two models
//! answered the same.
//!
//! Promise: the scores of all rows are those that the evaluation wrote, but for the loss and what needs outputs that no
//! column keeps.
//!
//! Deliberately absent: drawing, which is for [`metrics::bootstrap`](crate::metrics::bootstrap).

use std::collections::HashMap;
use std::path::Path;

use super::changes::Judged;
use super::{classification, multi_label, question_answering, regression, token_classification};
use crate::metrics::generated::{GeneratedSettings, generated};
use crate::metrics::{Sample, Scheme};
use crate::table::{Cells, NamedColumns, TableError};

/// Answers beside what the rows say.
pub struct Predictions {
    /// The columns that say which rows these are and what is right: the id, and what the task compares with.
    pub(super) gold: NamedColumns,
    /// The columns that say what was answered, and what else is known of the rows.
    pub(super) told: NamedColumns,
    /// Whether each answer is right; none where answers are neither right nor wrong.
    pub(super) judged: Option<Vec<Judged>>,
    pub sample: Sample,
}

impl Predictions {
    /// Reads `predictions.parquet`; `scheme` is that of the tags, where there is one. None where the rows do not say what is
    /// right.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn read(file: &Path, scheme: Option<Scheme>) -> Result<Option<Predictions>, TableError> {
        let needed = |name: &str| {
            let whole = [
                "id",
                "label",
                "labels",
                "tags",
                "answers",
                "predicted",
                "probability",
                "name",
                "words",
            ];
            let beginnings = ["probability_", "target_", "predicted_"];
            whole.contains(&name) || beginnings.iter().any(|start| name.starts_with(start))
        };
        let columns = NamedColumns::read(file, needed)?;
        let found = token_classification::recall(&columns, scheme)
            .or_else(|| question_answering::recall(&columns))
            .or_else(|| multi_label::recall(&columns))
            .or_else(|| classification::recall(&columns))
            .or_else(|| regression::recall(&columns));
        Ok(found.map(|found| {
            let is_gold = |name: &str| name == "id" || found.gold.iter().any(|gold| gold == name);
            let (gold, mut told): (Vec<_>, Vec<_>) =
                columns.0.into_iter().partition(|(name, _)| is_gold(name));
            told.retain(|(name, _)| ["predicted", "name", "words"].contains(&name.as_str()));
            let (mut gold, mut told) = (NamedColumns(gold), NamedColumns(told));
            if gold.get("labels").is_some() {
                sort_lists(&mut gold);
                sort_lists(&mut told);
            }
            Predictions {
                gold,
                told,
                judged: found.judged,
                sample: found.sample,
            }
        }))
    }

    /// Reads the predictions of an evaluation of generated texts, which was done with these settings. None where the file is
    /// of another kind.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn of_generated(
        file: &Path,
        settings: &GeneratedSettings,
    ) -> Result<Option<Predictions>, TableError> {
        let needed = |name: &str| ["id", "generated", "reference", "meteor"].contains(&name);
        let columns = NamedColumns::read(file, needed)?;
        let meteor = rows_of_numbers(&columns, "meteor", &[String::new()]);
        let texts = (columns.texts("generated"), columns.texts("reference"));
        let ((Some(texts), Some(references)), Some(meteor)) = (texts, meteor) else {
            return Ok(None);
        };
        // Synonyms show in METEOR alone, and that is there.
        let scored = generated(&texts, &references, settings, &|_| Vec::new());
        let sample = scored.with_meteor(&meteor.concat()).sample();
        let is_gold = |name: &str| ["id", "reference"].contains(&name);
        let gold = columns.0.into_iter().filter(|(name, _)| is_gold(name));
        Ok(Some(Predictions {
            gold: NamedColumns(gold.collect()),
            told: NamedColumns(Vec::new()),
            judged: None,
            sample,
        }))
    }

    /// Whether row for row both have the same id and the same right answer. Which split they are of is not known here.
    pub fn same_rows(&self, other: &Predictions) -> bool {
        self.gold == other.gold
    }
}

/// What a task reads out of its columns.
pub(super) struct Recalled {
    /// The names of the columns that say what is right.
    pub gold: Vec<String>,
    pub judged: Option<Vec<Judged>>,
    pub sample: Sample,
}

/// Sets of labels are written in the order that the labels have, and that may be another in another file.
fn sort_lists(columns: &mut NamedColumns) {
    for (_, cells) in &mut columns.0 {
        if let Cells::TextLists(lists) = cells {
            lists.iter_mut().flatten().for_each(|list| list.sort());
        }
    }
}

/// The rows of the columns `PREFIX…NAME`, with an entry for each of `names`.
pub(super) fn rows_of_floats(
    columns: &NamedColumns,
    prefix: &str,
    names: &[String],
) -> Option<Vec<Vec<f32>>> {
    let column = |name: &String| Some(columns.floats(&format!("{prefix}{name}"))?.to_vec());
    rows(names.iter().map(column).collect::<Option<Vec<_>>>()?)
}

/// As [`rows_of_floats`]; what is missing is not a number.
pub(super) fn rows_of_numbers(
    columns: &NamedColumns,
    prefix: &str,
    names: &[String],
) -> Option<Vec<Vec<f64>>> {
    let column = |name: &String| {
        let cells = columns.numbers(&format!("{prefix}{name}"))?;
        Some(cells.iter().map(|cell| cell.unwrap_or(f64::NAN)).collect())
    };
    rows(names.iter().map(column).collect::<Option<Vec<_>>>()?)
}

/// Columns → rows.
fn rows<T: Copy>(columns: Vec<Vec<T>>) -> Option<Vec<Vec<T>>> {
    let count = columns.first()?.len();
    let row = |row: usize| {
        columns
            .iter()
            .map(|column| column.get(row).copied())
            .collect()
    };
    (0..count).map(row).collect()
}

/// The number of a name; one that is no label's is counted as wrong.
pub fn numbering(names: &[String]) -> impl Fn(&str) -> u32 + use<> {
    let numbers: HashMap<String, u32> = names.iter().cloned().zip(0..).collect();
    move |name| numbers.get(name).copied().unwrap_or(u32::MAX)
}
