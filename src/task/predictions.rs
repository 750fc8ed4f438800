//! Predictions read back, to be scored again in any selection of their rows.
//!
//! Each task's file says which of its columns its scores come from; here is how columns are found, and whether two models
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
use crate::table::{self, Cells, TableError};

/// Answers beside what the rows say.
pub struct Predictions {
    /// The columns that say which rows these are and what is right: the id, and what the task compares with.
    pub(super) gold: Columns,
    /// The columns that say what was answered, and what else is known of the rows.
    pub(super) told: Columns,
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
        let columns = Columns(table::read_columns(file, needed)?);
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
            let (mut gold, mut told) = (Columns(gold), Columns(told));
            if gold.get("labels").is_some() {
                gold.sort_lists();
                told.sort_lists();
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
        let columns = Columns(table::read_columns(file, needed)?);
        let meteor = columns.numbers("meteor", &[String::new()]);
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
            gold: Columns(gold.collect()),
            told: Columns(Vec::new()),
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

/// Columns by name.
#[derive(PartialEq)]
pub(super) struct Columns(pub Vec<(String, Cells)>);

impl Columns {
    pub(super) fn get(&self, name: &str) -> Option<&Cells> {
        let mut all = self.0.iter();
        all.find(|(found, _)| found == name).map(|(_, cells)| cells)
    }

    /// Sets of labels are written in the order that the labels have, and that may be another in another file.
    fn sort_lists(&mut self) {
        for (_, cells) in &mut self.0 {
            if let Cells::TextLists(lists) = cells {
                lists.iter_mut().flatten().for_each(|list| list.sort());
            }
        }
    }

    pub(super) fn texts(&self, name: &str) -> Option<Vec<&str>> {
        match self.get(name)? {
            Cells::Texts(cells) => Some(
                cells
                    .iter()
                    .map(|text| text.as_deref().unwrap_or_default())
                    .collect(),
            ),
            _ => None,
        }
    }

    pub(super) fn lists(&self, name: &str) -> Option<Vec<Vec<&str>>> {
        fn own(list: &Option<Vec<String>>) -> Vec<&str> {
            list.iter().flatten().map(String::as_str).collect()
        }
        match self.get(name)? {
            Cells::TextLists(cells) => Some(cells.iter().map(own).collect()),
            _ => None,
        }
    }

    pub(super) fn float(&self, name: &str) -> Option<&[f32]> {
        match self.get(name)? {
            Cells::Floats(cells) => Some(cells),
            _ => None,
        }
    }

    pub(super) fn float_lists(&self, name: &str) -> Option<&[Vec<f32>]> {
        match self.get(name)? {
            Cells::FloatLists(cells) => Some(cells),
            _ => None,
        }
    }

    /// What follows `prefix` in the names of columns, in their order.
    pub(super) fn after(&self, prefix: &str) -> Vec<String> {
        let names = self
            .0
            .iter()
            .filter_map(|(name, _)| name.strip_prefix(prefix));
        names.map(str::to_owned).collect()
    }

    /// The rows of the columns `PREFIX…NAME`, with an entry for each of `names`.
    pub(super) fn floats(&self, prefix: &str, names: &[String]) -> Option<Vec<Vec<f32>>> {
        let column = |name: &String| match self.get(&format!("{prefix}{name}"))? {
            Cells::Floats(cells) => Some(cells.clone()),
            _ => None,
        };
        rows(names.iter().map(column).collect::<Option<Vec<_>>>()?)
    }

    /// As [`floats`](Self::floats); what is missing is not a number.
    pub(super) fn numbers(&self, prefix: &str, names: &[String]) -> Option<Vec<Vec<f64>>> {
        let column = |name: &String| match self.get(&format!("{prefix}{name}"))? {
            Cells::Numbers(cells) => {
                Some(cells.iter().map(|cell| cell.unwrap_or(f64::NAN)).collect())
            }
            _ => None,
        };
        rows(names.iter().map(column).collect::<Option<Vec<_>>>()?)
    }
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
pub(super) fn numbering(names: &[String]) -> impl Fn(&str) -> u32 + use<> {
    let numbers: HashMap<String, u32> = names.iter().cloned().zip(0..).collect();
    move |name| numbers.get(name).copied().unwrap_or(u32::MAX)
}
