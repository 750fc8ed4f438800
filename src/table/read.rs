//! One file → its rows: delimited text by [`shape`](super::shape), JSON and Parquet by polars' eager readers.
//!
//! Text stays text: delimited files are read as strings throughout, so `001` and `nan` are never numbers; labels are
//! made numbers in [`labels`](super::labels). The rows of a text file are places in it, so that its text is in memory once.
//! What polars cannot decode, or would quietly turn into nulls, is looked up again in the file to say the line and the
//! column. polars never takes the process down: a panic inside it becomes an error.
//!
//! Deliberately absent: splits, several files, and the meaning of labels.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Cursor;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use polars::prelude::{
    Column as Values, DataFrame, DataType, JsonFormat, JsonReader, ParquetReader, PolarsResult,
    SerReader,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{Place, TableError, did_you_mean, list};
use super::shape::{self, Places};

/// How rows are written in a file.
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
}

impl Format {
    /// The format that a file's ending stands for.
    pub fn of_ending(file: &Path) -> Option<Format> {
        let ending = file.extension()?.to_str()?.to_ascii_lowercase();
        Some(match ending.as_str() {
            "csv" => Format::Csv,
            "tsv" | "tab" => Format::Tsv,
            "json" => Format::Json,
            "jsonl" | "ndjson" => Format::Jsonl,
            "parquet" => Format::Parquet,
            "txt" | "text" => Format::Text,
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
        })
    }
}

/// A column of a file: its name, or its number from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    Name(String),
    Number(usize),
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Column::Name(name) => write!(f, "`{name}`"),
            Column::Number(number) => write!(f, "{number}"),
        }
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
    pub text: Column,
    pub text_pair: Option<Column>,
    pub label: Option<Column>,
}

/// The rows of one file, labels as written.
#[derive(Debug, Clone)]
pub struct Raw {
    pub file: PathBuf,
    pub places: Places,
    /// How many columns the file has, where they have no names.
    pub unnamed_width: Option<usize>,
    /// The label column as messages name it.
    pub label_column: String,
    /// What the places below are in.
    pub(super) contents: String,
    pub(super) text: Vec<Range<usize>>,
    pub(super) text_pair: Option<Vec<Range<usize>>>,
    pub(super) label: Option<Vec<Range<usize>>>,
}

impl Raw {
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.at(&self.text)
    }

    pub fn text_pairs(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        self.text_pair.as_ref().map(|places| self.at(places))
    }

    /// Integers in decimal, `true` and `false` for booleans.
    pub fn labels(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        self.label.as_ref().map(|places| self.at(places))
    }

    fn at<'a>(&'a self, places: &'a [Range<usize>]) -> impl ExactSizeIterator<Item = &'a str> {
        let text = |place: &Range<usize>| self.contents.get(place.clone()).unwrap_or_default();
        places.iter().map(text)
    }
}

/// Reads the rows of `file`.
///
/// # Errors
/// Whatever is wrong with the file, with its line or row, and its column.
pub fn read(file: &Path, layout: &Layout) -> Result<Raw, TableError> {
    let bytes = std::fs::read(file).map_err(|e| TableError::unreadable(file, e))?;
    if bytes.is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    match layout.format {
        Format::Csv => delimited(file, bytes, layout, b','),
        Format::Tsv => delimited(file, bytes, layout, b'\t'),
        Format::Json => json(file, bytes, layout, false),
        Format::Jsonl => json(file, bytes, layout, true),
        Format::Parquet => parquet(file, bytes, layout),
        Format::Text => lines(file, bytes),
    }
}

fn lines(file: &Path, bytes: Vec<u8>) -> Result<Raw, TableError> {
    let contents = shape::utf8(file, bytes)?;
    let start_of = |line: &str| line.as_ptr().addr() - contents.as_ptr().addr();
    let place = |line: &str| start_of(line)..start_of(line) + line.len();
    let text: Vec<Range<usize>> = contents.lines().map(place).collect();
    if text.is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    Ok(Raw {
        file: file.to_owned(),
        places: Places::Lines { first: 1 },
        unnamed_width: None,
        label_column: String::new(),
        contents,
        text,
        text_pair: None,
        label: None,
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
    let mut contents = shape::utf8(file, bytes)?;
    let mut wanted = None;
    let choose = |names: Option<Vec<String>>, width| {
        let found = Present::new(file, names, width).find_all(layout)?;
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
    let mut taken = |(number, _): &(usize, String)| columns.remove(number).unwrap_or_default();
    // No two of them are one column: the settings were checked.
    let raw = Raw {
        file: file.to_owned(),
        places: shape.places,
        unnamed_width: (!header).then_some(shape.width),
        label_column: wanted.label_column(),
        text: taken(&wanted.text),
        text_pair: wanted.text_pair.as_ref().map(&mut taken),
        label: wanted.label.as_ref().map(&mut taken),
        contents,
    };
    match &wanted.label {
        Some((_, shown)) => no_empty_label(raw, shown),
        None => Ok(raw),
    }
}

/// Puts a text behind the others, and says where it is.
fn append(contents: &mut String, text: &str) -> Range<usize> {
    let start = contents.len();
    contents.push_str(text);
    start..contents.len()
}

fn json(file: &Path, bytes: Vec<u8>, layout: &Layout, lines: bool) -> Result<Raw, TableError> {
    let text = &shape::utf8(file, bytes)?;
    if text.trim().is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    if let Some(line) = shape::too_deep(text) {
        return Err(TableError::NotJson {
            place: Place::line(file, line),
            message: "nested deeper than a table".to_owned(),
            help: "a row is an object whose values are texts, numbers and booleans".to_owned(),
        });
    }
    let format = || {
        if lines {
            JsonFormat::JsonLines
        } else {
            JsonFormat::Json
        }
    };
    let frame = guarded(|| {
        JsonReader::new(Cursor::new(text.as_bytes()))
            .with_json_format(format())
            .infer_schema_len(None)
            .finish()
    });
    let places = if lines {
        json_places(text)
    } else {
        Places::Rows
    };
    let frame = match frame {
        Ok(frame) if frame.width() > 0 && (lines || text.trim_start().starts_with('[')) => frame,
        Ok(_) => {
            return Err(not_json(
                file,
                text,
                lines,
                &places,
                String::from("no columns"),
            ));
        }
        Err(message) => return Err(not_json(file, text, lines, &places, message)),
    };
    let names = frame
        .get_column_names()
        .iter()
        .map(|name| name.to_string())
        .collect::<Vec<_>>();
    let width = names.len();
    let wanted = Present::new(file, Some(names.clone()), width).find_all(layout)?;
    gather(file, &frame, places, &wanted, |number| {
        names.get(number).cloned().unwrap_or_default()
    })
}

/// The lines of a JSON Lines file that hold a row: blank ones do not.
fn json_places(text: &str) -> Places {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(n, _)| n + 1);
    let lines = lines.collect::<Vec<_>>();
    if lines.last() == Some(&lines.len()) {
        Places::Lines { first: 1 }
    } else {
        Places::Listed(lines)
    }
}

/// Looks for the first row that is no JSON object; polars only said that there is one.
fn not_json(file: &Path, text: &str, lines: bool, places: &Places, message: String) -> TableError {
    let at = |line: usize, message: String, help: &str| TableError::NotJson {
        place: Place::line(file, line.max(1)),
        message,
        help: help.to_owned(),
    };
    let object = "write every row as an object, as in {\"text\": \"…\", \"label\": \"…\"}";
    let short = |error: serde_json::Error| {
        let text = error.to_string();
        format!(
            "not JSON: {}",
            text.split(" at line ").next().unwrap_or_default()
        )
    };
    if lines {
        for (number, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            match serde_json::from_str::<serde_json::Value>(line) {
                Ok(serde_json::Value::Object(_)) => {}
                Ok(serde_json::Value::Array(_)) if number == 0 => {
                    return at(
                        1,
                        "an array where an object was expected".to_owned(),
                        "for one array of objects set `format = \"json\"`",
                    );
                }
                Ok(_) => return at(number + 1, "not an object".to_owned(), object),
                Err(error) => {
                    let help = "each line holds one whole object; for one array of objects set `format = \"json\"`";
                    return at(number + 1, short(error), help);
                }
            }
        }
    } else {
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(serde_json::Value::Array(rows)) => {
                match rows.iter().position(|row| !row.is_object()) {
                    Some(row) => {
                        let place = places.of(file, row);
                        return TableError::NotJson {
                            place,
                            message: "not an object".to_owned(),
                            help: object.to_owned(),
                        };
                    }
                    None if rows.is_empty() => {
                        return TableError::Empty {
                            file: file.to_owned(),
                        };
                    }
                    None => {}
                }
            }
            Ok(_) => {
                return at(
                    1,
                    "not an array".to_owned(),
                    "`json` is one array of objects; for one object a line set `format = \"jsonl\"`",
                );
            }
            Err(error) => {
                let line = error.line();
                let help = if text.trim_start().starts_with('{') {
                    "`json` is one array of objects; for one object a line set `format = \"jsonl\"`"
                } else {
                    "mend the file; `python -m json.tool` shows the place too"
                };
                return at(line, short(error), help);
            }
        }
    }
    let format = if lines { Format::Jsonl } else { Format::Json };
    TableError::Undecodable {
        file: file.to_owned(),
        format: format.to_string(),
        message,
    }
}

fn parquet(file: &Path, bytes: Vec<u8>, layout: &Layout) -> Result<Raw, TableError> {
    let not_parquet = |message: String| TableError::NotParquet {
        file: file.to_owned(),
        message,
    };
    if !bytes.starts_with(b"PAR1") {
        return Err(not_parquet("it does not begin with PAR1".to_owned()));
    }
    if !bytes.ends_with(b"PAR1") || bytes.len() < 12 {
        return Err(not_parquet("it does not end with PAR1".to_owned()));
    }
    let cursor = Cursor::new(bytes);
    let schema = guarded(|| ParquetReader::new(cursor.clone()).schema()).map_err(not_parquet)?;
    let names = schema
        .iter_names()
        .map(|name| name.to_string())
        .collect::<Vec<_>>();
    let width = names.len();
    let wanted = Present::new(file, Some(names.clone()), width).find_all(layout)?;
    let name = |number: usize| names.get(number).cloned().unwrap_or_default();
    let columns = wanted.numbers().map(name).collect::<Vec<_>>();
    let frame = guarded(|| {
        ParquetReader::new(cursor)
            .with_columns(Some(columns))
            .set_rechunk(true)
            .finish()
    })
    .map_err(|message| TableError::Undecodable {
        file: file.to_owned(),
        format: Format::Parquet.to_string(),
        message,
    })?;
    gather(file, &frame, Places::Rows, &wanted, name)
}

/// The columns that a file has.
struct Present<'a> {
    file: &'a Path,
    names: Option<Vec<String>>,
    width: usize,
}

/// Where the wanted columns are, by number, and what to call them in messages.
struct Wanted {
    text: (usize, String),
    text_pair: Option<(usize, String)>,
    label: Option<(usize, String)>,
}

impl Wanted {
    /// Each once, ascending.
    fn numbers(&self) -> impl Iterator<Item = usize> {
        let all = [
            Some(&self.text),
            self.text_pair.as_ref(),
            self.label.as_ref(),
        ];
        all.into_iter()
            .flatten()
            .map(|(number, _)| *number)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
    }

    fn label_column(&self) -> String {
        let shown = self.label.as_ref().map(|(_, shown)| shown.clone());
        shown.unwrap_or_default()
    }
}

impl<'a> Present<'a> {
    fn new(file: &'a Path, names: Option<Vec<String>>, width: usize) -> Self {
        Present { file, names, width }
    }

    fn find_all(&self, layout: &Layout) -> Result<Wanted, TableError> {
        Ok(Wanted {
            text: self.find(&layout.text, "text")?,
            text_pair: layout
                .text_pair
                .as_ref()
                .map(|column| self.find(column, "text_pair"))
                .transpose()?,
            label: layout
                .label
                .as_ref()
                .map(|column| self.find(column, "label"))
                .transpose()?,
        })
    }

    /// The number of a column, and its name in messages.
    fn find(&self, column: &Column, field: &str) -> Result<(usize, String), TableError> {
        let missing = |help: String| TableError::MissingColumn {
            file: self.file.to_owned(),
            column: column.to_string(),
            help,
        };
        match (column, &self.names) {
            (Column::Number(number), names) if *number < self.width => {
                let name = names.as_ref().and_then(|names| names.get(*number));
                Ok((
                    *number,
                    name.map_or_else(|| number.to_string(), |name| format!("`{name}`")),
                ))
            }
            (Column::Number(_), _) => Err(missing(format!(
                "it has {} columns, numbered from 0: set `columns.{field}` to one of them",
                self.width
            ))),
            (Column::Name(_), None) => Err(missing(format!(
                "without a header columns have numbers: set `columns.{field}` to one from 0 to {}",
                self.width.saturating_sub(1)
            ))),
            (Column::Name(name), Some(names)) => {
                let mut found = names
                    .iter()
                    .enumerate()
                    .filter(|(_, present)| *present == name);
                match (found.next(), found.next()) {
                    (Some((number, _)), None) => Ok((number, column.to_string())),
                    (Some(_), Some(_)) => Err(TableError::AmbiguousColumn {
                        file: self.file.to_owned(),
                        column: name.clone(),
                    }),
                    (None, _) => {
                        let present = list(names.iter().map(String::as_str), 20);
                        let meant = did_you_mean(name, names.iter().map(String::as_str));
                        Err(missing(format!(
                            "it has {present}: set `columns.{field}` to one of them{meant}"
                        )))
                    }
                }
            }
        }
    }
}

fn gather(
    file: &Path,
    frame: &DataFrame,
    places: Places,
    wanted: &Wanted,
    name: impl Fn(usize) -> String,
) -> Result<Raw, TableError> {
    if frame.height() == 0 {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    let values = |number: usize| {
        frame
            .column(&name(number))
            .map_err(|e| TableError::Undecodable {
                file: file.to_owned(),
                format: "a table".to_owned(),
                message: e.to_string(),
            })
    };
    let mut contents = String::new();
    let mut texts = |(number, shown): &(usize, String)| {
        strings(file, &places, values(*number)?, shown, &mut contents)
    };
    let text = texts(&wanted.text)?;
    let text_pair = wanted.text_pair.as_ref().map(&mut texts).transpose()?;
    let label = match &wanted.label {
        Some((number, shown)) => {
            let values = values(*number)?;
            Some(labels(file, &places, values, shown, &mut contents)?)
        }
        None => None,
    };
    let raw = Raw {
        file: file.to_owned(),
        places,
        unnamed_width: None,
        label_column: wanted.label_column(),
        contents,
        text,
        text_pair,
        label,
    };
    match &wanted.label {
        Some((_, shown)) => no_empty_label(raw, shown),
        None => Ok(raw),
    }
}

fn no_empty_label(raw: Raw, column: &str) -> Result<Raw, TableError> {
    let empty = raw.labels().and_then(|mut all| all.position(str::is_empty));
    match empty {
        Some(row) => Err(TableError::Null {
            place: raw.places.of(&raw.file, row),
            column: column.to_owned(),
        }),
        None => Ok(raw),
    }
}

fn strings(
    file: &Path,
    places: &Places,
    values: &Values,
    column: &str,
    contents: &mut String,
) -> Result<Vec<Range<usize>>, TableError> {
    let null = |row| TableError::Null {
        place: places.of(file, row),
        column: column.to_owned(),
    };
    if values.dtype().is_null() {
        return Err(null(0));
    }
    let strings = values.str().map_err(|_| TableError::WrongType {
        file: file.to_owned(),
        column: column.to_owned(),
        found: describe(values.dtype()),
        wanted: "text",
        help: "name the column that holds the text, or write its values as text".to_owned(),
    })?;
    strings
        .iter()
        .enumerate()
        .map(|(row, text)| Ok(append(contents, text.ok_or_else(|| null(row))?)))
        .collect()
}

fn labels(
    file: &Path,
    places: &Places,
    values: &Values,
    column: &str,
    contents: &mut String,
) -> Result<Vec<Range<usize>>, TableError> {
    let dtype = values.dtype();
    if dtype.is_float() {
        let numbers = guarded(|| values.cast(&DataType::Float64)?.f64().cloned());
        let numbers = numbers
            .map(|numbers| {
                numbers
                    .iter()
                    .map(Option::unwrap_or_default)
                    .collect::<Vec<_>>()
            })
            .unwrap_or_default();
        let row = numbers
            .iter()
            .position(|number| number.fract() != 0.0)
            .unwrap_or(0);
        let value = numbers
            .get(row)
            .map(|number| format!("{number:?}"))
            .unwrap_or_default();
        return Err(TableError::FloatLabel {
            place: places.of(file, row),
            column: column.to_owned(),
            value,
        });
    }
    let wrong = || TableError::WrongType {
        file: file.to_owned(),
        column: column.to_owned(),
        found: describe(dtype),
        wanted: "text, integers or booleans",
        help:
            "name the column that holds one label a row, or set `columns.label = \"\"` to read none"
                .to_owned(),
    };
    if !(dtype.is_string() || dtype.is_integer() || dtype.is_bool() || dtype.is_null()) {
        return Err(wrong());
    }
    let as_text = if dtype.is_string() || dtype.is_null() {
        values.clone()
    } else {
        guarded(|| values.cast(&DataType::String)).map_err(|_| wrong())?
    };
    strings(file, places, &as_text, column, contents)
}

fn describe(dtype: &DataType) -> String {
    match dtype {
        dtype if dtype.is_integer() => "integers".to_owned(),
        dtype if dtype.is_float() => "numbers with a fraction".to_owned(),
        DataType::Boolean => "booleans".to_owned(),
        DataType::List(_) => "lists".to_owned(),
        DataType::Struct(_) => "objects".to_owned(),
        DataType::Binary => "bytes".to_owned(),
        other => other.to_string(),
    }
}
