//! Rows handed back with answers beside them: CSV, TSV, JSON, JSON Lines or Parquet, some rows at a time.
//!
//! What was kept of a row stands first, as it was written, and then what was answered. Lists and objects, for which CSV has
//! no place, stand there as JSON; in Parquet so do the values of a column that are of several kinds.
//!
//! Promise: a file appears whole, by a rename, or not at all.
//!
//! Deliberately absent: what the columns mean.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use polars::prelude::{
    Column, CsvWriter, DataFrame, IntoColumn, NamedFrom, PlSmallStr, SerWriter, Series,
};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use tempfile::NamedTempFile;

use super::cell::Cell;
use super::read::{Format, guarded};
use super::records::ValueKind;
use super::results::{RESULTS_AT_ONCE, whole};
use super::{Cells, SplitWriter, TableError};

/// Where answered rows go.
pub struct AnsweredWriter<'w> {
    format: Format,
    kept: Vec<(String, ValueKind)>,
    /// What messages call it.
    name: PathBuf,
    target: Target<'w>,
    /// The rows so far.
    rows: usize,
    begun: bool,
}

enum Target<'w> {
    Stream(Box<dyn Write + 'w>),
    File {
        draft: NamedTempFile,
        to: PathBuf,
    },
    /// Its writer opens the draft by its name.
    Parquet {
        draft: NamedTempFile,
        to: PathBuf,
        writer: Box<SplitWriter>,
    },
}

impl<'w> AnsweredWriter<'w> {
    /// Into a stream, which `name` calls in messages. Of Parquet there are only files.
    pub fn to_stream(
        stream: impl Write + 'w,
        name: &Path,
        format: Format,
        kept: Vec<(String, ValueKind)>,
    ) -> Self {
        AnsweredWriter {
            format,
            kept,
            name: name.to_owned(),
            target: Target::Stream(Box::new(BufWriter::new(stream))),
            rows: 0,
            begun: false,
        }
    }

    /// Into a file, which stays what it was until all is written.
    ///
    /// # Errors
    /// There can be no file in its folder.
    pub fn to_file(
        path: &Path,
        format: Format,
        kept: Vec<(String, ValueKind)>,
    ) -> Result<Self, TableError> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".refit-").suffix(".part");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Less what the user's mask takes away, as of any file.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let draft = builder
            .tempfile_in(folder)
            .map_err(|e| TableError::unwritable(path, e))?;
        let to = path.to_owned();
        Ok(AnsweredWriter {
            format,
            kept,
            name: to.clone(),
            target: match format {
                Format::Parquet => Target::Parquet {
                    writer: Box::new(SplitWriter::at(draft.path().to_owned(), RESULTS_AT_ONCE)),
                    draft,
                    to,
                },
                _ => Target::File { draft, to },
            },
            rows: 0,
            begun: false,
        })
    }

    /// Adds rows: the columns that are kept, in their order, and the answers.
    ///
    /// # Errors
    /// What cannot be written; columns of unequal length.
    pub fn add(
        &mut self,
        kept: Vec<(String, Vec<Cell>)>,
        answers: Vec<(String, Cells)>,
    ) -> Result<(), TableError> {
        let height = answers.first().map_or(0, |(_, cells)| cells.len());
        match self.format {
            Format::Json | Format::Jsonl => self.add_objects(&kept, &answers, height)?,
            Format::Parquet => {
                let frame = self.frame(kept, answers)?;
                if let Target::Parquet { writer, .. } = &mut self.target {
                    writer.add(frame)?;
                }
            }
            _ => {
                let answers = answers.into_iter();
                let flat = answers.map(|(name, cells)| (name, flat(cells))).collect();
                let mut frame = self.frame(kept, flat)?;
                self.add_fields(&mut frame)?;
            }
        }
        self.rows += height;
        self.begun = true;
        Ok(())
    }

    /// Passes on what was added, to who reads it while more is answered.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn flush(&mut self) -> Result<(), TableError> {
        let flushed = match &mut self.target {
            Target::Stream(stream) => stream.flush(),
            Target::File { .. } | Target::Parquet { .. } => Ok(()),
        };
        flushed.map_err(|e| TableError::unwritable(&self.name, e))
    }

    /// Ends it; a file is in its place only now.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn finish(mut self) -> Result<(), TableError> {
        if self.format == Format::Json {
            let end: &[u8] = if self.rows == 0 { b"[]\n" } else { b"\n]\n" };
            self.write(end)?;
        }
        self.flush()?;
        let (draft, to) = match self.target {
            Target::Stream(_) => return Ok(()),
            Target::File { draft, to } => (draft, to),
            Target::Parquet { draft, to, writer } => {
                writer.finish()?;
                (draft, to)
            }
        };
        let unwritable = |error: std::io::Error| TableError::unwritable(&to, error);
        draft.as_file().sync_all().map_err(unwritable)?;
        draft
            .persist(&to)
            .map_err(|error| unwritable(error.error))?;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TableError> {
        let written = match &mut self.target {
            Target::Stream(stream) => stream.write_all(bytes),
            Target::File { draft, .. } => draft.as_file_mut().write_all(bytes),
            Target::Parquet { .. } => Ok(()),
        };
        written.map_err(|e| TableError::unwritable(&self.name, e))
    }

    fn add_objects(
        &mut self,
        kept: &[(String, Vec<Cell>)],
        answers: &[(String, Cells)],
        height: usize,
    ) -> Result<(), TableError> {
        let failed = |error: serde_json::Error| TableError::unwritable(&self.name, error);
        let mut text = Vec::new();
        let array = self.format == Format::Json;
        for row in 0..height {
            if array {
                let first = self.rows + row == 0;
                text.extend_from_slice(if first { b"[\n" } else { b",\n" });
            }
            let object = Row { kept, answers, row };
            serde_json::to_writer(&mut text, &object).map_err(failed)?;
            if !array {
                text.push(b'\n');
            }
        }
        self.write(&text)
    }

    fn add_fields(&mut self, frame: &mut DataFrame) -> Result<(), TableError> {
        let mut text = Vec::new();
        let separator = if self.format == Format::Tsv {
            b'\t'
        } else {
            b','
        };
        let written = guarded(|| {
            CsvWriter::new(&mut text)
                .include_header(!self.begun)
                .with_separator(separator)
                .finish(frame)
        });
        written.map_err(|message| TableError::unwritable(&self.name, message))?;
        self.write(&text)
    }

    fn frame(
        &self,
        kept: Vec<(String, Vec<Cell>)>,
        answers: Vec<(String, Cells)>,
    ) -> Result<DataFrame, TableError> {
        let failed = |message: String| TableError::unwritable(&self.name, message);
        let answers = whole(&self.name, answers)?;
        let kinds = self.kept.iter().map(|(_, kind)| *kind);
        let kept = kept.iter().zip(kinds);
        let mut columns: Vec<Column> = kept
            .map(|((name, cells), kind)| column(name.as_str().into(), cells, kind))
            .collect();
        columns.extend(answers.into_columns());
        let height = columns.first().map_or(0, Column::len);
        guarded(|| DataFrame::new(height, columns)).map_err(failed)
    }
}

/// A column of values of this kind.
fn column(name: PlSmallStr, cells: &[Cell], kind: ValueKind) -> Column {
    let series = match kind {
        ValueKind::Boolean => {
            let value = |cell: &Cell| match cell {
                Cell::Boolean(value) => Some(*value),
                _ => None,
            };
            Series::new(name, cells.iter().map(value).collect::<Vec<_>>())
        }
        ValueKind::Integer => {
            let value = |cell: &Cell| match cell {
                Cell::Integer(value) => Some(*value),
                _ => None,
            };
            Series::new(name, cells.iter().map(value).collect::<Vec<_>>())
        }
        ValueKind::Float => {
            let value = |cell: &Cell| match cell {
                Cell::Float(value) => Some(*value),
                Cell::Integer(value) => Some(*value as f64),
                _ => None,
            };
            Series::new(name, cells.iter().map(value).collect::<Vec<_>>())
        }
        ValueKind::Nothing | ValueKind::Text | ValueKind::Mixed | ValueKind::Opaque => {
            Series::new(name, cells.iter().map(as_text).collect::<Vec<_>>())
        }
    };
    series.into_column()
}

/// A text as it is, anything else as JSON.
fn as_text(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Null => None,
        Cell::Text(text) => Some(text.clone().into_owned()),
        Cell::Time(moment) => Some(moment.to_string()),
        other => Some(json_of(other)),
    }
}

fn json_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What a field of CSV can hold.
fn flat(cells: Cells) -> Cells {
    match cells {
        Cells::TextLists(cells) => {
            let text = |list: Option<Vec<String>>| Some(json_of(&list?));
            Cells::Texts(cells.into_iter().map(text).collect())
        }
        Cells::FloatLists(cells) => Cells::Texts(cells.iter().map(json_of).map(Some).collect()),
        Cells::Spans(cells) => Cells::Texts(cells.iter().map(json_of).map(Some).collect()),
        other => other,
    }
}

/// One row as an object.
struct Row<'r> {
    kept: &'r [(String, Vec<Cell<'r>>)],
    answers: &'r [(String, Cells)],
    row: usize,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, cells) in self.kept {
            map.serialize_entry(name, &cells.get(self.row))?;
        }
        let row = self.row;
        for (name, cells) in self.answers {
            match cells {
                Cells::Ids(cells) => map.serialize_entry(name, &cells.get(row))?,
                Cells::Texts(cells) => map.serialize_entry(name, &cells.get(row))?,
                Cells::Numbers(cells) => map.serialize_entry(name, &cells.get(row))?,
                Cells::Places(cells) => map.serialize_entry(name, &cells.get(row))?,
                Cells::Floats(cells) => map.serialize_entry(name, &cells.get(row))?,
                Cells::TextLists(cells) => map.serialize_entry(name, &cells.get(row))?,
                Cells::FloatLists(cells) => map.serialize_entry(name, &cells.get(row))?,
                Cells::Spans(cells) => map.serialize_entry(name, &cells.get(row))?,
            }
        }
        map.end()
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Null => serializer.serialize_unit(),
            Cell::Boolean(value) => serializer.serialize_bool(*value),
            Cell::Integer(value) => serializer.serialize_i64(*value),
            Cell::Float(value) => serializer.serialize_f64(*value),
            Cell::Text(text) => serializer.serialize_str(text),
            Cell::Time(moment) => serializer.collect_str(moment),
            Cell::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Cell::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
            Cell::Other(name) => serializer.serialize_str(name),
        }
    }
}

#[cfg(test)]
mod tests;
