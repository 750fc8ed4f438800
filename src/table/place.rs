//! Where a row of a file is, for messages.
//!
//! Deliberately absent: how a place is found, which is for the readers of each format.

use std::fmt;
use std::path::Path;

/// A row of a file: by its line where the file has lines, else by its number. Both count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Box<Path>,
    pub spot: Spot,
}

/// Where in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    Line(usize),
    Row(usize),
    /// In a box, so that errors stay small.
    Within(Box<Way>),
}

/// A line of a nested file, and the way through it: `data[3].paragraphs[2].qas[5]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub line: usize,
    pub path: String,
}

impl Place {
    pub fn line(file: &Path, line: usize) -> Self {
        Place {
            file: file.into(),
            spot: Spot::Line(line),
        }
    }

    pub fn row(file: &Path, row: usize) -> Self {
        Place {
            file: file.into(),
            spot: Spot::Row(row),
        }
    }

    pub fn within(file: &Path, way: &Way) -> Self {
        if way.path.is_empty() {
            return Place::line(file, way.line);
        }
        Place {
            file: file.into(),
            spot: Spot::Within(Box::new(way.clone())),
        }
    }
}

impl Place {
    /// The line, for a row that has one.
    pub(super) fn in_line(&self) -> Option<usize> {
        match &self.spot {
            Spot::Line(line) => Some(*line),
            Spot::Row(_) | Spot::Within(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.spot {
            Spot::Line(line) => write!(f, "{}, line {line}", self.file.display()),
            Spot::Row(row) => write!(f, "{}, row {row}", self.file.display()),
            Spot::Within(way) => {
                let Way { line, path } = &**way;
                write!(f, "{}, line {line}, {path}", self.file.display())
            }
        }
    }
}
