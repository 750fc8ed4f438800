//! The beginning of a file → how it is written and its first rows: what [`read`](super::read) must be told, found out.
//!
//! A file is known by its content more than by its ending: a `.json` may hold JSON Lines, a `.tsv` one token a line. Of text at
//! most [`BYTES`] are read (unpacked ones, of a compressed file), cut behind its last whole row; of Parquet a few stretches
//! of rows from all over the file, since files are often sorted by label. What is stated ([`Ask`]) is not looked for.
//!
//! Deliberately absent: what the columns are for, and a promise that the rest of the file is like its beginning.

mod delimited;
mod form;

use std::borrow::Cow;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use polars::prelude::{ParquetReader, PolarsResult, SerReader};

use super::cell::Cell;
use super::columns::Column;
use super::error::{Place, TableError};
use super::json::short;
use super::raw::Raw;
use super::read::{Format, guarded};
use super::{compressed, conll, shape, squad};

/// How much of a text is read. Bytes.
pub const BYTES: u64 = 4 << 20;
/// How many lines of it are read at most.
const LINES: usize = 100_000;
/// How many stretches of a Parquet file are read, and how many rows each has.
const STRETCHES: usize = 8;
const STRETCH: usize = 500;

/// What is known of a file beforehand.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    pub format: Option<Format>,
    /// csv, tsv: whether the first record names the columns.
    pub header: Option<bool>,
    /// csv, tsv: the byte that encloses fields, or none.
    pub quote: Option<Option<u8>>,
}

/// The beginning of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Peek {
    pub format: Format,
    /// csv, tsv: whether the first record names the columns.
    pub header: bool,
    /// csv, tsv: the byte that encloses fields.
    pub quote: Option<u8>,
    /// In the file's order, all of the same length. CoNLL has `tokens` and, where there are any, `tags`; SQuAD `question`,
    /// `context` and, where there are any, `answers`; lines of text are the column `text`.
    pub columns: Vec<Peeked>,
    /// How many rows the columns have.
    pub rows: usize,
    /// Rows among those read that are broken in themselves, such as an answer that is not at its start. They are in no column.
    pub broken: usize,
    /// Whether these are all rows of the file.
    pub whole: bool,
    /// How many rows the file has, broken ones included; an estimate by its size where not all of it was read.
    pub about: usize,
}

/// A column and its first values.
#[derive(Debug, Clone, PartialEq)]
pub struct Peeked {
    /// The number where the file names no columns.
    pub column: Column,
    pub cells: Vec<Cell<'static>>,
}

impl Peek {
    /// The column that is called so: by its name, or by its number from 0.
    pub fn column(&self, called: &str) -> Option<&Peeked> {
        self.columns.iter().find(|peeked| match &peeked.column {
            Column::Name(name) => name == called,
            Column::Number(number) => number.to_string() == called,
        })
    }
}

/// Looks at the beginning of `file`.
///
/// # Errors
/// A file that cannot be read, is empty, or of which no form can be made out; what is wrong with the rows that were read, where
/// [`read`](super::read::read) would refuse them too.
pub fn peek(file: &Path, ask: &Ask) -> Result<Peek, TableError> {
    let ending = ask.format.or_else(|| Format::of_ending(file));
    if ending == Some(Format::Parquet) {
        return parquet(file);
    }
    let (mut bytes, mut whole) = compressed::beginning(file, BYTES)?;
    if ask.format.is_none() && bytes.starts_with(b"PAR1") {
        return parquet(file);
    }
    if !whole {
        cut(&mut bytes);
    }
    let mut text = shape::utf8(file, bytes)?;
    if let Some((end, _)) = text.match_indices('\n').nth(LINES - 1)
        && end + 1 < text.len()
    {
        text.truncate(end + 1);
        whole = false;
    }
    if text.trim().is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    if let Some(line) = shape::too_deep(&text)
        && matches!(text.trim_start().as_bytes(), [b'{' | b'[', ..])
    {
        return Err(TableError::NotJson {
            place: Place::line(file, line),
            message: "nested deeper than a table".to_owned(),
            help: "a row is an object whose values are texts, numbers and lists of these"
                .to_owned(),
        });
    }
    let format = ask.format.unwrap_or_else(|| form::of(&text, ending));
    let mut peek = match format {
        Format::Csv => delimited::peek(file, &text, b',', whole, ask)?,
        Format::Tsv => delimited::peek(file, &text, b'\t', whole, ask)?,
        Format::Jsonl => lines_of_json(file, &text)?,
        Format::Json => array(file, &text, whole)?,
        Format::Squad => questions(file, &text, whole)?,
        Format::Conll => sentences(file, &text, whole)?,
        Format::Text
        | Format::Parquet
        | Format::SquadContexts
        | Format::Wordnet
        | Format::WordnetRelated => lines(&text),
    };
    peek.format = format;
    peek.whole = whole;
    let rows = peek.rows + peek.broken;
    peek.about = match (peek.whole, std::fs::metadata(file)) {
        // Packed bytes say nothing of rows.
        (false, Ok(metadata)) if compressed::unpacked_name(file) == file => {
            let times = metadata.len() as f64 / text.len().max(1) as f64;
            (rows as f64 * times.max(1.0)).round() as usize
        }
        _ => rows,
    };
    Ok(peek)
}

/// Leaves what follows the last line break; where lines are so long that much would go, what follows the last whole character.
fn cut(bytes: &mut Vec<u8>) {
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    let whole = match end.filter(|end| end * 2 > bytes.len()) {
        Some(end) => end + 1,
        None => match std::str::from_utf8(bytes) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => bytes.len(),
        },
    };
    bytes.truncate(whole);
}

fn of_columns(columns: Vec<(Column, Vec<Cell<'static>>)>) -> Peek {
    let rows = columns.first().map_or(0, |(_, cells)| cells.len());
    let columns = columns.into_iter();
    Peek {
        format: Format::Text,
        header: true,
        quote: Some(b'"'),
        columns: columns
            .map(|(column, cells)| Peeked { column, cells })
            .collect(),
        rows,
        broken: 0,
        whole: true,
        about: rows,
    }
}

fn named(name: &str) -> Column {
    Column::Name(name.to_owned())
}

fn text(text: &str) -> Cell<'static> {
    Cell::Text(Cow::Owned(text.to_owned()))
}

fn texts(all: &[&str]) -> Cell<'static> {
    Cell::List(all.iter().map(|one| text(one)).collect())
}

fn lines(all: &str) -> Peek {
    of_columns(vec![(named("text"), all.lines().map(text).collect())])
}

fn lines_of_json(file: &Path, text: &str) -> Result<Peek, TableError> {
    let mut rows = Vec::new();
    let lines = text.lines().zip(1..);
    for (line, number) in lines.filter(|(line, _)| !line.trim().is_empty()) {
        rows.push(object(file, line, number)?);
    }
    table(file, rows)
}

/// The objects of a JSON array, of which the end may be missing.
fn array(file: &Path, text: &str, whole: bool) -> Result<Peek, TableError> {
    if !text.trim_start().starts_with('[') {
        return Err(TableError::NotJson {
            place: Place::line(file, 1),
            message: "not an array of objects".to_owned(),
            help: "write the rows as one array, [{\"text\": \"…\", \"label\": \"…\"}, …], or an object a line".to_owned(),
        });
    }
    if whole && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        return Err(not_json(file, error.line(), &error));
    }
    let (mut rows, mut line, mut counted) = (Vec::new(), 1, 0);
    for place in objects(text, 1) {
        let before = text.get(counted..place.start).unwrap_or_default();
        line += before.matches('\n').count();
        counted = place.start;
        let written = text.get(place).unwrap_or_default();
        rows.push(object(file, written, line)?);
    }
    table(file, rows)
}

fn object(file: &Path, text: &str, line: usize) -> Result<Cell<'static>, TableError> {
    match serde_json::from_str::<Cell>(text) {
        Ok(cell @ Cell::Object(_)) => Ok(cell.into_owned()),
        Ok(other) => Err(TableError::NotJson {
            place: Place::line(file, line),
            message: format!("{} instead of an object", other.describe()),
            help: "write every row as an object, as in {\"text\": \"…\", \"label\": \"…\"}"
                .to_owned(),
        }),
        Err(error) => Err(not_json(
            file,
            line + error.line().saturating_sub(1),
            &error,
        )),
    }
}

fn not_json(file: &Path, line: usize, error: &serde_json::Error) -> TableError {
    TableError::NotJson {
        place: Place::line(file, line.max(1)),
        message: format!("not JSON: {}", short(error)),
        help: "mend the file; `python -m json.tool` shows the place too".to_owned(),
    }
}

/// Rows of objects as columns, in the order in which their names are first met.
fn table(file: &Path, rows: Vec<Cell<'static>>) -> Result<Peek, TableError> {
    let mut columns = Vec::<(Column, Vec<Cell<'static>>)>::new();
    let mut places = std::collections::HashMap::<String, usize>::new();
    for (number, row) in rows.iter().enumerate() {
        let Cell::Object(fields) = row else {
            continue;
        };
        for (name, cell) in fields {
            let place = *places.entry(name.to_string()).or_insert(columns.len());
            if place == columns.len() {
                columns.push((named(name), Vec::new()));
            }
            if let Some((_, cells)) = columns.get_mut(place) {
                cells.resize(number, Cell::Null);
                cells.push(cell.clone());
            }
        }
    }
    if columns.is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    for (_, cells) in &mut columns {
        cells.resize(rows.len(), Cell::Null);
    }
    Ok(of_columns(columns))
}

/// Where the objects lie that stand in so many lists and objects, those that end. Text that is no JSON has some or none.
fn objects(text: &str, within: usize) -> Vec<Range<usize>> {
    let (mut depth, mut start, mut quoted, mut escaped) = (0_usize, None, false, false);
    let mut found = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                if byte == b'{' && depth == within {
                    start = Some(at);
                }
                depth += 1;
            }
            b'}' | b']' if !quoted => {
                depth = depth.saturating_sub(1);
                if depth == within
                    && byte == b'}'
                    && let Some(start) = start.take()
                {
                    found.push(start..at + 1);
                }
            }
            _ => {}
        }
    }
    found
}

/// How many lists and objects lead to a paragraph of SQuAD's form.
const TO_PARAGRAPH: usize = 4;

fn questions(file: &Path, text: &str, whole: bool) -> Result<Peek, TableError> {
    let raw = match whole {
        true => squad::read(file, text, true)?,
        // The paragraphs that are there in full, as if they were all.
        false => {
            let paragraphs = objects(text, TO_PARAGRAPH).into_iter();
            let paragraphs = paragraphs.filter_map(|place| text.get(place));
            let paragraphs = paragraphs.collect::<Vec<_>>().join(",\n");
            let text = format!("{{\"data\": [{{\"paragraphs\": [{paragraphs}]}}]}}");
            squad::read(file, &text, true)?
        }
    };
    let pairs = raw.text_pairs().into_iter().flatten();
    let mut columns = vec![
        (named("question"), raw.texts().map(self::text).collect()),
        (named("context"), pairs.map(self::text).collect()),
    ];
    if let Some(answers) = raw.answers() {
        let answer = |answer: super::Answer<&str>| {
            let field = |name: &'static str, cell| (Cow::Borrowed(name), cell);
            Cell::Object(vec![
                field("text", self::text(answer.text)),
                field("answer_start", Cell::Integer(i64::from(answer.start))),
            ])
        };
        let cells = answers.map(|row| Cell::List(row.into_iter().map(answer).collect()));
        columns.push((named("answers"), cells.collect()));
    }
    Ok(with_broken(of_columns(columns), &raw))
}

fn sentences(file: &Path, text: &str, whole: bool) -> Result<Peek, TableError> {
    let text = match whole {
        true => text,
        false => {
            let end = blank_lines(text).last();
            text.get(..end.unwrap_or(text.len())).unwrap_or_default()
        }
    };
    let raw = conll::read(file, text, true)?;
    let words = raw.words().into_iter().flatten();
    let mut columns = vec![(named("tokens"), words.map(|words| texts(&words)).collect())];
    if let Some(tags) = raw.tags() {
        columns.push((named("tags"), tags.map(|tags| texts(&tags)).collect()));
    }
    Ok(with_broken(of_columns(columns), &raw))
}

/// Where lines begin that hold nothing.
fn blank_lines(text: &str) -> impl Iterator<Item = usize> {
    let mut at = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = at;
        at += line.len();
        line.trim().is_empty().then_some(start)
    })
}

fn with_broken(peek: Peek, raw: &Raw) -> Peek {
    Peek {
        broken: raw.left_out(),
        ..peek
    }
}

fn parquet(file: &Path) -> Result<Peek, TableError> {
    let undecodable = |message: String| TableError::Undecodable {
        file: file.to_owned(),
        format: Format::Parquet.to_string(),
        message,
    };
    // A packed file is unpacked whole: its foot says where everything is.
    let unpacked = match compressed::unpacked_name(file) == file {
        true => None,
        false => {
            let bytes = std::fs::read(file).map_err(|e| TableError::unreadable(file, e))?;
            Some(compressed::unpacked(file, bytes)?)
        }
    };
    let opened = || File::open(file).map_err(|e| TableError::unreadable(file, e));
    let rows = match &unpacked {
        Some(bytes) => rows_of(std::io::Cursor::new(bytes.as_slice())),
        None => rows_of(opened()?),
    };
    let rows = rows.map_err(undecodable)?;
    if rows == 0 {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    let whole = rows <= STRETCHES * STRETCH;
    let stretches: Vec<(usize, usize)> = match whole {
        true => vec![(0, rows)],
        false => (0..STRETCHES)
            .map(|number| (number * (rows - STRETCH) / (STRETCHES - 1), STRETCH))
            .collect(),
    };
    let mut columns = Vec::<(Column, Vec<Cell<'static>>)>::new();
    for stretch in stretches {
        let read = match &unpacked {
            Some(bytes) => stretch_of(std::io::Cursor::new(bytes.as_slice()), stretch),
            None => stretch_of(opened()?, stretch),
        };
        let read = read.map_err(undecodable)?;
        if columns.is_empty() {
            columns = read;
        } else {
            for ((_, cells), (_, more)) in columns.iter_mut().zip(read) {
                cells.extend(more);
            }
        }
    }
    Ok(Peek {
        format: Format::Parquet,
        about: rows,
        whole,
        ..of_columns(columns)
    })
}

fn rows_of(source: impl polars::io::mmap::MmapBytesReader) -> Result<usize, String> {
    guarded(|| ParquetReader::new(source).num_rows())
}

fn stretch_of(
    source: impl polars::io::mmap::MmapBytesReader,
    stretch: (usize, usize),
) -> Result<Vec<(Column, Vec<Cell<'static>>)>, String> {
    guarded(|| {
        let reader = ParquetReader::new(source).with_slice(Some(stretch));
        let frame = reader.set_rechunk(true).finish()?;
        let columns = frame.columns().iter().map(|column| {
            let cells = (0..column.len()).map(|row| Ok(Cell::of(column.get(row)?).into_owned()));
            let cells = cells.collect::<PolarsResult<Vec<_>>>()?;
            Ok((Column::Name(column.name().to_string()), cells))
        });
        columns.collect()
    })
}

#[cfg(test)]
mod tests;
