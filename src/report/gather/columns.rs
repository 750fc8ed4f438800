//! The columns of `predictions.parquet`, by name.
//!
//! Deliberately absent: what they mean.

use std::collections::HashMap;
use std::path::Path;

use crate::table::{self, Cells, TableError};

/// Columns of equal length.
pub(super) struct Columns(Vec<(String, Cells)>);

impl Columns {
    #[cfg(test)]
    pub(super) fn of(columns: Vec<(String, Cells)>) -> Columns {
        Columns(columns)
    }

    pub(super) fn read(file: &Path) -> Result<Columns, TableError> {
        table::read_columns(file, |_| true).map(Columns)
    }

    fn get(&self, name: &str) -> Option<&Cells> {
        let mut all = self.0.iter();
        all.find(|(found, _)| found == name).map(|(_, cells)| cells)
    }

    pub(super) fn ids(&self) -> &[u64] {
        match self.get("id") {
            Some(Cells::Ids(ids)) => ids,
            _ => &[],
        }
    }

    pub(super) fn texts(&self, name: &str) -> Option<Vec<&str>> {
        let Cells::Texts(cells) = self.get(name)? else {
            return None;
        };
        let texts = cells.iter();
        Some(
            texts
                .map(|text| text.as_deref().unwrap_or_default())
                .collect(),
        )
    }

    pub(super) fn lists(&self, name: &str) -> Option<Vec<Vec<&str>>> {
        let Cells::TextLists(cells) = self.get(name)? else {
            return None;
        };
        fn own(list: &Option<Vec<String>>) -> Vec<&str> {
            list.iter().flatten().map(String::as_str).collect()
        }
        Some(cells.iter().map(own).collect())
    }

    pub(super) fn floats(&self, name: &str) -> Option<&[f32]> {
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

    pub(super) fn numbers(&self, name: &str) -> Option<&[Option<f64>]> {
        match self.get(name)? {
            Cells::Numbers(cells) => Some(cells),
            _ => None,
        }
    }

    pub(super) fn places(&self, name: &str) -> Option<&[Option<u32>]> {
        match self.get(name)? {
            Cells::Places(cells) => Some(cells),
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

    /// The columns of numbers, by name.
    pub(super) fn all_numbers(&self) -> impl Iterator<Item = (&str, &[Option<f64>])> {
        self.0.iter().filter_map(|(name, cells)| match cells {
            Cells::Numbers(numbers) => Some((&**name, &**numbers)),
            _ => None,
        })
    }

    /// The columns `probability_NAME`: `[labels][rows]`.
    pub(super) fn probabilities(&self, names: &[String]) -> Option<Vec<Vec<f64>>> {
        let column = |name: &String| {
            let floats = self.floats(&format!("probability_{name}"))?;
            Some(floats.iter().copied().map(f64::from).collect())
        };
        names.iter().map(column).collect()
    }
}

/// The number of a name; one that is no label's has a number that no label has.
pub(super) fn numbering(names: &[String]) -> impl Fn(&str) -> u32 + use<> {
    let numbers: HashMap<String, u32> = names.iter().cloned().zip(0..).collect();
    move |name| numbers.get(name).copied().unwrap_or(u32::MAX)
}
