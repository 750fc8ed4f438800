//! One file → its rows: which reader a format has, and the readers of delimited and of plain text.
//!
//! Text stays text: delimited files are read as strings throughout, so `001` and `nan` are never numbers; labels are
//! made numbers in [`labels`](super::labels). The rows of a text file are places in it, so that its text is in memory once.
//! The other formats have a file each beside this one: JSON, Parquet, CoNLL, SQuAD, WordNet. Compressed files are unpacked first.
//!
//! Texts with at most one label each are read a whole column at a time. Rows with lists, numbers or answers are read one by
//! one, and so are rows of which the broken ones may be left out. polars never takes the process down: a panic inside it
//! becomes an error.
//!
//! Deliberately absent: splits, several files, and the meaning of labels.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::PolarsResult;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cell::Cell;
pub use super::columns::{Beside, Column, Gold, Rows};
use super::columns::{Found, KEEP, Present, Wanted};
use super::error::TableError;
use super::raw::append;
pub use super::raw::{Kind, Raw, Skipped};
use super::shape::{self, Places, Shape};
use super::{compressed, conll, frame, json, parquet, rows, squad, wordnet};

/// How rows are written in a file. A further ending, `.gz`, `.zst`, `.bz2` or `.xz`, says that the file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "DataFormat")]
pub enum Format {
    /// Comma-separated values (`.csv`).
    Csv,
    /// Tab-separated values (`.tsv`, `.tab`).
    Tsv,
    /// One JSON array of objects (`.json`).
    Json,
    /// One JSON object a line (`.jsonl`, `.ndjson`).
    Jsonl,
    /// Apache Parquet (`.parquet`).
    Parquet,
    /// One text a line, without labels (`.txt`, `.text`).
    Text,
    /// One token a line with its tag in the last column, columns separated by a tab or by spaces, sentences by blank lines
    /// (`.conll`, `.bio`, `.iob`, `.iob2`, `.iobes`). Needs no `columns`.
    Conll,
    /// The JSON of SQuAD 1.1 and 2.0: questions with contexts and answers. Needs no `columns`; a `.json` file of this form is
    /// also known by its content when `columns` ask for questions.
    Squad,
    /// The same files as plain texts: their contexts, each once, without the questions. For `pretrain`.
    SquadContexts,
    /// A file of the WordNet database (`data.noun`, `data.verb`, `data.adj`, `data.adv`) as plain texts: what words mean, and examples
    /// of their use. For `pretrain`.
    Wordnet,
    /// The same files as lists of words that are alike: those of a synset, and those of the synsets of the same file that it points
    /// at as similar or more general. For `pretrain`.
    WordnetRelated,
}

impl Format {
    /// Whether rows are made of columns that settings can name.
    pub fn has_columns(self) -> bool {
        !matches!(
            self,
            Format::Conll
                | Format::Squad
                | Format::SquadContexts
                | Format::Wordnet
                | Format::WordnetRelated
        )
    }

    /// The format that a file's ending stands for: of a compressed file, the ending before that of the compression.
    pub fn of_ending(file: &Path) -> Option<Format> {
        let ending = compressed::unpacked_name(file)
            .extension()?
            .to_str()?
            .to_ascii_lowercase();
        Some(match ending.as_str() {
            "csv" => Format::Csv,
            "tsv" | "tab" => Format::Tsv,
            "json" => Format::Json,
            "jsonl" | "ndjson" => Format::Jsonl,
            "parquet" => Format::Parquet,
            "txt" | "text" => Format::Text,
            "conll" | "bio" | "iob" | "iob2" | "iobes" => Format::Conll,
            _ => return None,
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Json => "json",
            Format::Jsonl => "jsonl",
            Format::Parquet => "parquet",
            Format::Text => "text",
            Format::Conll => "conll",
            Format::Squad => "squad",
            Format::SquadContexts => "squad_contexts",
            Format::Wordnet => "wordnet",
            Format::WordnetRelated => "wordnet_related",
        })
    }
}

/// What to read from a file, and how.
#[derive(Debug, Clone)]
pub struct Layout {
    pub format: Format,
    /// Whether the first record names the columns (csv, tsv).
    pub header: bool,
    /// The byte that encloses fields (csv, tsv).
    pub quote: Option<u8>,
    /// What rows are made of. CoNLL and SQuAD files say it themselves.
    pub rows: Rows,
    /// The column of what the file calls its rows.
    pub id: Option<Column>,
    /// Further columns, as they are written.
    pub keep: Vec<Column>,
    /// Whether rows that are broken in themselves are left out and counted, instead of being errors.
    pub skip_invalid: bool,
    /// What else is read of each row.
    pub beside: Beside,
}

impl Layout {
    /// For files that have no columns.
    ///
    /// # Errors
    /// The settings need some.
    pub(super) fn no_columns(&self, file: &Path, format: Format) -> Result<(), TableError> {
        let setting = match self.beside.needs_columns() {
            true => self.beside.setting(),
            false if !self.keep.is_empty() => KEEP,
            false => return Ok(()),
        };
        Err(TableError::NoColumns {
            file: file.to_owned(),
            format: format.to_string(),
            setting,
        })
    }

    /// For files of texts that nothing is said of.
    ///
    /// # Errors
    /// The settings want more of them.
    fn texts_alone(&self, file: &Path) -> Result<(), TableError> {
        let wanted = match &self.rows {
            Rows::Texts {
                gold: None | Some(Gold::Label(_)),
                ..
            } => return Ok(()),
            Rows::Texts { .. } => "labels or numbers",
            Rows::Words { .. } | Rows::Questions { .. } => self.rows.kind().plural(),
        };
        Err(TableError::WrongFormat {
            file: file.to_owned(),
            format: self.format.to_string(),
            wanted,
        })
    }

    /// Whether whole columns can be read at a time.
    pub(super) fn is_plain(&self) -> bool {
        let one_label = matches!(
            self.rows,
            Rows::Texts {
                gold: None | Some(Gold::Label(_)),
                ..
            }
        );
        let alone = self.id.is_none() && self.keep.is_empty() && self.beside.is_empty();
        one_label && alone && !self.skip_invalid
    }
}

/// Reads the rows of `file`.
///
/// # Errors
/// Whatever is wrong with the file, with its line or row, and its column.
pub fn read(file: &Path, layout: &Layout) -> Result<Raw, TableError> {
    let empty = || TableError::Empty {
        file: file.to_owned(),
    };
    let bytes = std::fs::read(file).map_err(|e| TableError::unreadable(file, e))?;
    if bytes.is_empty() {
        return Err(empty());
    }
    let bytes = compressed::unpacked(file, bytes)?;
    if bytes.is_empty() {
        return Err(empty());
    }
    if !layout.format.has_columns() {
        layout.no_columns(file, layout.format)?;
    }
    if let Format::Text | Format::SquadContexts | Format::Wordnet | Format::WordnetRelated =
        layout.format
    {
        layout.texts_alone(file)?;
    }
    match layout.format {
        Format::Csv => delimited(file, bytes, layout, b','),
        Format::Tsv => delimited(file, bytes, layout, b'\t'),
        Format::Json => json::read(file, bytes, layout, false),
        Format::Jsonl => json::read(file, bytes, layout, true),
        Format::Parquet => parquet::read(file, bytes, layout),
        Format::Text => lines(file, bytes, layout),
        Format::Conll => conll::read(file, &shape::utf8(file, bytes)?, layout.skip_invalid),
        Format::Squad => squad::read(file, &shape::utf8(file, bytes)?, layout.skip_invalid),
        Format::SquadContexts => squad::contexts(file, &shape::utf8(file, bytes)?),
        Format::Wordnet => wordnet::read(file, &shape::utf8(file, bytes)?),
        Format::WordnetRelated => wordnet::read_related(file, &shape::utf8(file, bytes)?),
    }
}

fn lines(file: &Path, bytes: Vec<u8>, layout: &Layout) -> Result<Raw, TableError> {
    let contents = shape::utf8(file, bytes)?;
    if !layout.beside.is_empty() || !layout.keep.is_empty() {
        return lines_one_by_one(file, &contents, layout);
    }
    let start_of = |line: &str| line.as_ptr().addr() - contents.as_ptr().addr();
    let place = |line: &str| start_of(line)..start_of(line) + line.len();
    let text: Vec<Range<usize>> = contents.lines().map(place).collect();
    if text.is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    Ok(Raw {
        contents,
        text,
        ..Raw::empty(file, Kind::Texts, Places::Lines { first: 1 })
    })
}

/// The lines as rows of the one column `text`.
fn lines_one_by_one(file: &Path, contents: &str, layout: &Layout) -> Result<Raw, TableError> {
    let lines = contents.lines().collect::<Vec<_>>();
    if lines.is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    let rows = Rows::Texts {
        text: Found {
            number: 0,
            shown: "`text`".to_owned(),
        },
        text_pair: None,
        gold: None,
    };
    let names = Some(vec!["text".to_owned()]);
    let wanted = Present::new(file, names, 1).find_beside(rows, layout)?;
    let raw = Raw::empty(file, Kind::Texts, Places::Lines { first: 1 });
    rows::gather(raw, lines.len(), &wanted, layout.skip_invalid, |row, _| {
        let line = lines.get(row).copied().map(Cow::Borrowed);
        Ok(line.map_or(Cell::Null, Cell::Text))
    })
}

/// Runs polars; its errors and its panics as text.
pub(super) fn guarded<T>(work: impl FnOnce() -> PolarsResult<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()),
        Err(panic) => Err(panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("the decoder gave up")
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()),
    }
}

fn delimited(
    file: &Path,
    bytes: Vec<u8>,
    layout: &Layout,
    separator: u8,
) -> Result<Raw, TableError> {
    let contents = shape::utf8(file, bytes)?;
    let mut wanted = None;
    let choose = |names: Option<Vec<String>>, width| {
        let present = Present::new(file, names, width);
        let found = present.find_all(layout)?;
        let numbers = found.numbers().collect::<Vec<_>>();
        wanted = Some(found);
        Ok(numbers)
    };
    let (quote, header) = (layout.quote, layout.header);
    let shape = shape::delimited(file, &contents, separator, quote, header, choose)?;
    let Some(wanted) = wanted else {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    };
    of_fields(file, contents, shape, &wanted, layout)
}

/// The rows whose fields lie in `contents`, those of the wanted columns.
pub(super) fn of_fields(
    file: &Path,
    mut contents: String,
    shape: Shape,
    wanted: &Wanted,
    layout: &Layout,
) -> Result<Raw, TableError> {
    let unnamed_width = (!layout.header).then_some(shape.width);
    let Some(plain) = wanted.plain().filter(|_| layout.is_plain()) else {
        let rows = shape.columns.first().map_or(0, Vec::len);
        let columns = wanted.numbers().zip(shape.columns);
        let columns = columns.collect::<BTreeMap<_, _>>();
        let cell = |row: usize, found: &Found| {
            let field = columns.get(&found.number).and_then(|all| all.get(row));
            let text = field.map(|field| match field.undoubled(&contents) {
                Some(text) => Cow::Owned(text),
                None => Cow::Borrowed(contents.get(field.place.clone()).unwrap_or_default()),
            });
            Ok(text.map_or(Cell::Null, Cell::Text))
        };
        let raw = Raw {
            unnamed_width,
            ..Raw::empty(file, layout.rows.kind(), shape.places)
        };
        return rows::gather(raw, rows, wanted, layout.skip_invalid, cell);
    };
    let mut columns = Vec::new();
    for fields in shape.columns {
        let mut column = Vec::with_capacity(fields.len());
        for field in fields {
            match field.undoubled(&contents) {
                Some(text) => column.push(append(&mut contents, &text)),
                None => column.push(field.place),
            }
        }
        columns.push(column);
    }
    let mut columns = wanted.numbers().zip(columns).collect::<BTreeMap<_, _>>();
    let mut taken = |found: &Found| columns.remove(&found.number).unwrap_or_default();
    // No two of them are one column: the settings were checked.
    let raw = Raw {
        unnamed_width,
        text: taken(plain.text),
        text_pair: plain.text_pair.map(&mut taken),
        label: plain.label.map(&mut taken),
        contents,
        ..Raw::empty(file, Kind::Texts, shape.places)
    };
    frame::labelled(raw, plain.label)
}
