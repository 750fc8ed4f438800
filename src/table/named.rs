//! The columns of a file of results, by name.
//!
//! Deliberately absent: what they mean.

use std::path::Path;

use super::{Cells, TableError, read_columns};

/// Columns of equal length, in the order of their file.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedColumns(pub Vec<(String, Cells)>);

impl NamedColumns {
    /// Reads the columns that are `wanted`, as [`read_columns`] does.
    ///
    /// # Errors
    /// As there.
    pub fn read(file: &Path, wanted: impl Fn(&str) -> bool) -> Result<Self, TableError> {
        read_columns(file, wanted).map(NamedColumns)
    }

    pub fn get(&self, name: &str) -> Option<&Cells> {
        let mut all = self.0.iter();
        all.find(|(found, _)| found == name).map(|(_, cells)| cells)
    }

    /// The rows' ids; none where there are no such.
    pub fn ids(&self) -> &[u64] {
        match self.get("id") {
            Some(Cells::Ids(ids)) => ids,
            _ => &[],
        }
    }

    /// A missing text is an empty one.
    pub fn texts(&self, name: &str) -> Option<Vec<&str>> {
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

    /// A missing list is an empty one.
    pub fn lists(&self, name: &str) -> Option<Vec<Vec<&str>>> {
        fn own(list: &Option<Vec<String>>) -> Vec<&str> {
            list.iter().flatten().map(String::as_str).collect()
        }
        match self.get(name)? {
            Cells::TextLists(cells) => Some(cells.iter().map(own).collect()),
            _ => None,
        }
    }

    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        match self.get(name)? {
            Cells::Floats(cells) => Some(cells),
            _ => None,
        }
    }

    pub fn float_lists(&self, name: &str) -> Option<&[Vec<f32>]> {
        match self.get(name)? {
            Cells::FloatLists(cells) => Some(cells),
            _ => None,
        }
    }

    pub fn numbers(&self, name: &str) -> Option<&[Option<f64>]> {
        match self.get(name)? {
            Cells::Numbers(cells) => Some(cells),
            _ => None,
        }
    }

    pub fn places(&self, name: &str) -> Option<&[Option<u32>]> {
        match self.get(name)? {
            Cells::Places(cells) => Some(cells),
            _ => None,
        }
    }

    /// What follows `prefix` in the names of columns, in their order.
    pub fn after(&self, prefix: &str) -> Vec<String> {
        let names = self
            .0
            .iter()
            .filter_map(|(name, _)| name.strip_prefix(prefix));
        names.map(str::to_owned).collect()
    }

    /// The columns of numbers, by name.
    pub fn all_numbers(&self) -> impl Iterator<Item = (&str, &[Option<f64>])> {
        self.0.iter().filter_map(|(name, cells)| match cells {
            Cells::Numbers(numbers) => Some((&**name, &**numbers)),
            _ => None,
        })
    }
}
