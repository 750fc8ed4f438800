//! The rows of a user's file with whatever else stands in them, some at a time: for who answers rows and hands them back.
//!
//! A [`Records`] is a few rows that follow each other: what is asked of a model as [`Raw`], and every column that is kept,
//! value by value, as it was written. Errors are those of [`read`](super::read), with file, row and column.
//!
//! Promise: however long the file, no more of it is in memory than some rows; of a Parquet file no more than a row group, and
//! of a compressed one of these all of it. What two readings of an unchanged file give is the same.
//!
//! Deliberately absent: labels and answers that a file may hold, which are columns like any other; files without columns
//! (CoNLL, SQuAD), and rows that may be left out. [`answered`](super::answered) writes what is kept.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use polars::io::mmap::MmapBytesReader;
use polars::prelude::{DataFrame, ParquetReader, SerReader};

use super::cell::Cell;
use super::columns::{Found, Rows, Wanted};
use super::compressed::{self, Compression};
use super::error::{Place, TableError, did_you_mean, list};
use super::json::short;
use super::pieces::Chunks;
use super::raw::Raw;
use super::read::{Format, guarded};
use super::shape::{self, Places};
use super::write::give_back;
use super::{Texts, parquet, rows};

/// The most bytes of text that are read at once.
const AT_ONCE: usize = 1 << 20;
/// What does not end within so many bytes never does. Without a bound it would take the rest of the file into memory.
const LONGEST: usize = 256 << 20;

/// A file of rows.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    pub file: &'a Path,
    pub format: Format,
    /// Whether the first record names the columns (csv, tsv); without, they are called by their numbers from 0.
    pub header: bool,
}

/// Rows that follow each other.
#[derive(Debug, Clone)]
pub struct Records {
    /// The rows as they are to be asked.
    pub raw: Raw,
    /// The columns that are kept, in the file's order, one value for each row.
    pub kept: Vec<(String, Vec<Cell<'static>>)>,
}

impl Records {
    /// What is asked, numbered from 0.
    pub fn texts(&self) -> Texts<&str> {
        Texts {
            id: (0..self.raw.len() as u64).collect(),
            text: self.raw.texts().collect(),
            text_pair: self.raw.text_pairs().map(Iterator::collect),
            words: self.raw.words().map(Iterator::collect),
            ..Texts::default()
        }
    }
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    pub rows: usize,
    /// The names of all columns, in the order in which they are first met, each with what its values are.
    pub columns: Vec<(String, ValueKind)>,
}

/// What the values of a column are, so that all of them fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ValueKind {
    /// No value at all.
    #[default]
    Nothing,
    Boolean,
    Integer,
    Float,
    Text,
    /// Lists, objects, or values of several kinds.
    Mixed,
    /// What no other file has a place for, such as bytes.
    Opaque,
}

impl ValueKind {
    fn of(cell: &Cell) -> ValueKind {
        match cell {
            Cell::Null => ValueKind::Nothing,
            Cell::Boolean(_) => ValueKind::Boolean,
            Cell::Integer(_) => ValueKind::Integer,
            Cell::Float(_) => ValueKind::Float,
            Cell::Text(_) | Cell::Time(_) => ValueKind::Text,
            Cell::List(_) | Cell::Object(_) => ValueKind::Mixed,
            Cell::Other(_) => ValueKind::Opaque,
        }
    }

    /// The kind that has room for both.
    #[must_use]
    pub fn with(self, other: ValueKind) -> ValueKind {
        use ValueKind::{Float, Integer, Mixed, Nothing, Opaque};
        match (self, other) {
            (a, b) if a == b => a,
            (Nothing, other) | (other, Nothing) => other,
            (Opaque, _) | (_, Opaque) => Opaque,
            (Integer, Float) | (Float, Integer) => Float,
            _ => Mixed,
        }
    }
}

/// Of what columns the rows are made that are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanting {
    /// A text, and the second text of a pair.
    Texts {
        text: Option<String>,
        pair: Option<String>,
    },
    /// As before, where a column of words may stand in place of the text.
    Words {
        text: Option<String>,
        words: Option<String>,
    },
    Questions {
        question: Option<String>,
        context: Option<String>,
    },
}

impl Wanting {
    /// The columns to read of a file that has these: those that were named, else those that have the usual names.
    ///
    /// # Errors
    /// A column that was named and is not there, or must be named.
    pub fn among(&self, file: &Path, there: &[String]) -> Result<Rows<String>, TableError> {
        let has = |name: &str| there.iter().any(|one| one == name);
        let usual = |named: &Option<String>, names: &[&str]| {
            let usual = names.iter().find(|name| has(name));
            named.clone().or_else(|| usual.map(|&name| name.to_owned()))
        };
        let need = |named: Option<String>, usual: &str, option: &str| {
            let only = match there {
                [only] if option == "--text" => Some(only.clone()),
                _ => None,
            };
            let named = named.or(only).unwrap_or_else(|| usual.to_owned());
            match has(&named) {
                true => Ok(named),
                false => Err(absent(file, &named, there, option)),
            }
        };
        let optional = |named: Option<String>, option: &str| match named {
            Some(named) if !has(&named) => Err(absent(file, &named, there, option)),
            other => Ok(other),
        };
        Ok(match self {
            Wanting::Texts { text, pair } => Rows::Texts {
                text: need(usual(text, &["text"]), "text", "--text")?,
                text_pair: optional(usual(pair, &["text_pair"]), "--pair")?,
                gold: None,
            },
            Wanting::Words { text, words } => {
                let words = match text {
                    Some(_) => words.clone(),
                    None => usual(
                        words,
                        if has("text") {
                            &[]
                        } else {
                            &["words", "tokens"]
                        },
                    ),
                };
                match optional(words, "--words")? {
                    Some(tokens) => Rows::Words { tokens, tags: None },
                    None => Rows::Texts {
                        text: need(usual(text, &["text"]), "text", "--text")?,
                        text_pair: None,
                        gold: None,
                    },
                }
            }
            Wanting::Questions { question, context } => Rows::Questions {
                question: need(
                    usual(question, &["question", "text"]),
                    "question",
                    "--question",
                )?,
                context: need(
                    usual(context, &["context", "text_pair"]),
                    "context",
                    "--context",
                )?,
                answers: None,
            },
        })
    }
}

/// A column that is not there, with those that are and the option that names it.
fn absent(file: &Path, column: &str, there: &[String], option: &str) -> TableError {
    let present = list(there.iter().map(String::as_str), 20);
    let meant = did_you_mean(column, there.iter().map(String::as_str));
    TableError::MissingColumn {
        file: file.to_owned(),
        column: format!("`{column}`"),
        help: format!("it has {present}: give one of them as `{option}`{meant}"),
    }
}

/// Reads a file to its end: what it holds, and whether every row can be asked.
///
/// # Errors
/// Whatever is wrong with it, with its line or row, and its column. `go_on` said stop: then there is no survey.
pub fn survey(
    source: &Source,
    wanting: &Wanting,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Survey>, TableError> {
    let mut columns: Vec<(String, ValueKind)> = Vec::new();
    let mut place: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = 0;
    // Only a late row of JSON may show that a column is there, or how it is called.
    let late = matches!(source.format, Format::Json | Format::Jsonl);
    let mut rows = None;
    let mut reader = Reader::open(source)?;
    while let Some(table) = reader.next_table(MOST_SURVEYED)? {
        if !go_on() {
            return Ok(None);
        }
        found += table.height;
        for (name, cells) in &table.columns {
            let kind = cells.iter().map(ValueKind::of);
            let kind = kind.fold(ValueKind::Nothing, ValueKind::with);
            match place.get(name) {
                Some(&at) => columns[at].1 = columns[at].1.with(kind),
                None => {
                    place.insert(name.clone(), columns.len());
                    columns.push((name.clone(), kind));
                }
            }
        }
        if !late {
            let rows = match &rows {
                Some(rows) => rows,
                None => rows.insert(wanting.among(source.file, &names_of(&table))?),
            };
            asked(source, rows, &table)?;
        }
    }
    if found == 0 {
        return Err(TableError::Empty {
            file: source.file.to_owned(),
        });
    }
    if late {
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let rows = wanting.among(source.file, &names)?;
        let mut reader = Reader::open(source)?;
        while let Some(table) = reader.next_table(MOST_SURVEYED)? {
            if !go_on() {
                return Ok(None);
            }
            asked(source, &rows, &table)?;
        }
    }
    Ok(Some(Survey {
        rows: found,
        columns,
    }))
}

/// Rows at a time where nothing is kept of them.
const MOST_SURVEYED: usize = 1 << 13;

/// A file on its way into [`Records`].
pub struct RecordReader<'a> {
    source: Source<'a>,
    reader: Reader<'a>,
    rows: Rows<String>,
    kept: Vec<String>,
}

impl<'a> RecordReader<'a> {
    /// For rows that are made of the columns `rows`, with those that are `kept`; where a file lacks one of the latter, it has
    /// no values.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(
        source: &Source<'a>,
        rows: Rows<String>,
        kept: Vec<String>,
    ) -> Result<Self, TableError> {
        Ok(RecordReader {
            reader: Reader::open(source)?,
            source: source.clone(),
            rows,
            kept,
        })
    }

    /// The next rows, `most` at most; nothing at the end of the file.
    ///
    /// # Errors
    /// Whatever is wrong with the file up to where these rows end.
    pub fn next_records(&mut self, most: usize) -> Result<Option<Records>, TableError> {
        let Some(table) = self.reader.next_table(most)? else {
            return Ok(None);
        };
        give_back();
        let raw = asked(&self.source, &self.rows, &table)?;
        let height = table.height;
        let mut there: BTreeMap<String, Vec<Cell<'static>>> = table.columns.into_iter().collect();
        let kept = self.kept.iter().map(|name| {
            let cells = there.remove(name);
            let cells = cells.unwrap_or_else(|| vec![Cell::Null; height]);
            (name.clone(), cells)
        });
        let kept = kept.collect();
        Ok(Some(Records { raw, kept }))
    }
}

fn names_of(table: &Rectangle) -> Vec<String> {
    table.columns.iter().map(|(name, _)| name.clone()).collect()
}

/// The rows as they are to be asked.
fn asked(source: &Source, rows: &Rows<String>, table: &Rectangle) -> Result<Raw, TableError> {
    let names = names_of(table);
    // A row of JSON without the key has no value there, and a few rows may all be so.
    let found = rows.try_map(|name, _| {
        Ok::<_, TableError>(Found {
            number: names
                .iter()
                .position(|one| one == name)
                .unwrap_or(usize::MAX),
            shown: format!("`{name}`"),
        })
    })?;
    let wanted = Wanted::of_rows(found);
    let raw = Raw::empty(source.file, rows.kind(), table.places.clone());
    rows::gather(raw, table.height, &wanted, false, |row, found| {
        let column = table.columns.get(found.number);
        let cell = column.and_then(|(_, cells)| cells.get(row));
        Ok(cell.cloned().unwrap_or_default())
    })
}

/// Some rows of a file with all their columns.
struct Rectangle {
    height: usize,
    columns: Vec<(String, Vec<Cell<'static>>)>,
    places: Places,
}

/// What reads each format.
enum Reader<'a> {
    Delimited {
        file: &'a Path,
        chunks: Box<Chunks<'a>>,
        names: Vec<String>,
    },
    Lines(Lines<'a>),
    Objects(Lines<'a>),
    Array(Array<'a>),
    Parquet(Groups<'a>),
}

impl<'a> Reader<'a> {
    fn open(source: &Source<'a>) -> Result<Self, TableError> {
        let file = source.file;
        let delimited = |separator| {
            Ok(Reader::Delimited {
                file,
                chunks: Box::new(Chunks::open(
                    file,
                    separator,
                    Some(b'"'),
                    source.header,
                    AT_ONCE,
                )?),
                names: Vec::new(),
            })
        };
        match source.format {
            Format::Csv => delimited(b','),
            Format::Tsv => delimited(b'\t'),
            Format::Text => Lines::open(file).map(Reader::Lines),
            Format::Jsonl => Lines::open(file).map(Reader::Objects),
            Format::Json => Array::open(file).map(Reader::Array),
            Format::Parquet => Groups::open(file).map(Reader::Parquet),
            format @ (Format::Conll
            | Format::Squad
            | Format::SquadContexts
            | Format::Wordnet
            | Format::WordnetRelated) => Err(TableError::WrongFormat {
                file: file.to_owned(),
                format: format.to_string(),
                wanted: "columns that could be kept beside answers",
            }),
        }
    }

    /// The next rows, `most` at most, and at least one; nothing at the end of the file.
    fn next_table(&mut self, most: usize) -> Result<Option<Rectangle>, TableError> {
        match self {
            Reader::Delimited {
                file,
                chunks,
                names,
            } => delimited(file, chunks, names, most),
            Reader::Lines(lines) => lines.texts(most),
            Reader::Objects(lines) => lines.objects(most),
            Reader::Array(array) => array.objects(most),
            Reader::Parquet(groups) => groups.rows(most),
        }
    }
}

fn delimited(
    file: &Path,
    chunks: &mut Chunks,
    names: &mut Vec<String>,
    most: usize,
) -> Result<Option<Rectangle>, TableError> {
    let next = chunks.next_chunk(most, &mut |header, width| {
        *names = header.unwrap_or_else(|| (0..width).map(|number| number.to_string()).collect());
        let twice = |(place, name): (usize, &String)| names[..place].contains(name);
        match names.iter().enumerate().find(|&named| twice(named)) {
            Some((_, name)) => Err(TableError::AmbiguousColumn {
                file: file.to_owned(),
                column: name.clone(),
            }),
            None => Ok((0..width).collect()),
        }
    })?;
    let Some((text, shape)) = next else {
        return Ok(None);
    };
    let height = shape.columns.first().map_or(0, Vec::len);
    let columns = names.iter().zip(shape.columns).map(|(name, fields)| {
        let cell = |field: shape::Field| {
            let as_written = || text.get(field.place.clone()).unwrap_or_default().to_owned();
            Cell::Text(Cow::Owned(
                field.undoubled(&text).unwrap_or_else(as_written),
            ))
        };
        (name.clone(), fields.into_iter().map(cell).collect())
    });
    Ok(Some(Rectangle {
        height,
        columns: columns.collect(),
        places: shape.places,
    }))
}

/// A file, or a stream that is none, line by line.
pub struct Lines<'a> {
    file: &'a Path,
    source: BufReader<Box<dyn Read + Send>>,
    /// The number of the last line.
    line: usize,
}

impl<'a> Lines<'a> {
    fn open(file: &'a Path) -> Result<Self, TableError> {
        compressed::reader(file).map(|source| Lines::of_stream(source, file))
    }

    /// Of a stream that `file` calls in messages.
    pub fn of_stream(stream: Box<dyn Read + Send>, file: &'a Path) -> Self {
        Lines {
            file,
            source: BufReader::with_capacity(1 << 16, stream),
            line: 0,
        }
    }

    /// The next line without its end; nothing at the end.
    ///
    /// # Errors
    /// What cannot be read, or is not UTF-8, with the number of the line.
    pub fn next_line(&mut self) -> Result<Option<String>, TableError> {
        let mut bytes = Vec::new();
        let read = (&mut self.source)
            .take(LONGEST as u64)
            .read_until(b'\n', &mut bytes)
            .map_err(|e| compressed::broken(self.file, e))?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        } else if read == LONGEST {
            return Err(TableError::NotJson {
                place: Place::line(self.file, self.line),
                message: format!("a line of more than {LONGEST} bytes"),
                help: "write one row a line".to_owned(),
            });
        }
        let text = match self.line {
            1 => shape::utf8(self.file, bytes)?,
            line => shape::decoded(self.file, bytes, line)?,
        };
        Ok(Some(text))
    }

    fn texts(&mut self, most: usize) -> Result<Option<Rectangle>, TableError> {
        let first = self.line + 1;
        let (mut texts, mut bytes) = (Vec::new(), 0);
        while texts.len() < most && bytes < AT_ONCE {
            let Some(line) = self.next_line()? else { break };
            bytes += line.len();
            texts.push(Cell::Text(Cow::Owned(line)));
        }
        Ok((!texts.is_empty()).then(|| Rectangle {
            height: texts.len(),
            columns: vec![("text".to_owned(), texts)],
            places: Places::Lines { first },
        }))
    }

    fn objects(&mut self, most: usize) -> Result<Option<Rectangle>, TableError> {
        let (mut objects, mut lines, mut bytes) = (Vec::new(), Vec::new(), 0);
        while objects.len() < most && bytes < AT_ONCE {
            let Some(line) = self.next_line()? else { break };
            if line.trim().is_empty() {
                continue;
            }
            bytes += line.len();
            let place = || Place::line(self.file, self.line);
            let whole =
                "each line holds one whole object; for one array of objects give the format `json`";
            objects.push(object(&line, &place, whole)?);
            lines.push(self.line);
        }
        Ok((!objects.is_empty()).then(|| of_objects(objects, Places::Listed(lines))))
    }
}

/// A JSON object with what it holds.
fn object(
    text: &str,
    place: &dyn Fn() -> Place,
    help: &str,
) -> Result<Vec<(String, Cell<'static>)>, TableError> {
    let wrong = |message: String, help: &str| TableError::NotJson {
        place: place(),
        message,
        help: help.to_owned(),
    };
    match serde_json::from_str::<Cell>(text) {
        Ok(Cell::Object(fields)) => Ok(fields
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()),
        Ok(_) => Err(wrong(
            "not an object".to_owned(),
            "write every row as an object, as in {\"text\": \"…\"}",
        )),
        Err(error) if error.is_data() => Err(wrong(
            short(&error),
            "correct the file: every key may stand once in its object",
        )),
        Err(error) => Err(wrong(format!("not JSON: {}", short(&error)), help)),
    }
}

/// With columns in the order in which they are first met.
fn of_objects(objects: Vec<Vec<(String, Cell<'static>)>>, places: Places) -> Rectangle {
    let height = objects.len();
    let mut columns: Vec<(String, Vec<Cell<'static>>)> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (row, object) in objects.into_iter().enumerate() {
        for (name, cell) in object {
            let at = match known.get(&name) {
                Some(&at) => at,
                None => {
                    known.insert(name.clone(), columns.len());
                    columns.push((name, vec![Cell::Null; height]));
                    columns.len() - 1
                }
            };
            columns[at].1[row] = cell;
        }
    }
    Rectangle {
        height,
        columns,
        places,
    }
}

/// One JSON array, item by item.
struct Array<'a> {
    file: &'a Path,
    source: BufReader<Box<dyn Read + Send>>,
    /// Of the byte that is read next.
    line: usize,
    rows: usize,
    state: Within,
}

/// Where in the array the next byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Before,
    /// After the bracket, or after a comma.
    Item {
        first: bool,
    },
    /// After an item.
    Between,
    After,
}

impl<'a> Array<'a> {
    fn open(file: &'a Path) -> Result<Self, TableError> {
        Ok(Array {
            file,
            source: BufReader::with_capacity(1 << 16, compressed::reader(file)?),
            line: 1,
            rows: 0,
            state: Within::Before,
        })
    }

    fn peek(&mut self) -> Result<Option<u8>, TableError> {
        let buffer = self.source.fill_buf();
        let buffer = buffer.map_err(|e| compressed::broken(self.file, e))?;
        Ok(buffer.first().copied())
    }

    fn pass(&mut self, byte: u8) {
        self.line += usize::from(byte == b'\n');
        self.source.consume(1);
    }

    /// The next byte that is no white space, nor of a byte order mark before everything.
    fn next_mark(&mut self) -> Result<Option<u8>, TableError> {
        while let Some(byte) = self.peek()? {
            let marks_order = self.state == Within::Before && matches!(byte, 0xef | 0xbb | 0xbf);
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') && !marks_order {
                return Ok(Some(byte));
            }
            self.pass(byte);
        }
        Ok(None)
    }

    fn wrong(&self, message: &str) -> TableError {
        TableError::NotJson {
            place: Place::line(self.file, self.line),
            message: message.to_owned(),
            help: "`json` is one array of objects; for one object a line give the format `jsonl`"
                .to_owned(),
        }
    }

    /// The text of the next item; nothing at the end of the array.
    fn next_item(&mut self) -> Result<Option<String>, TableError> {
        loop {
            let byte = self.next_mark()?;
            match (self.state, byte) {
                (Within::Before, None) => {
                    return Err(TableError::Empty {
                        file: self.file.to_owned(),
                    });
                }
                (Within::Before, Some(b'[')) => {
                    self.pass(b'[');
                    self.state = Within::Item { first: true };
                }
                (Within::Before, Some(_)) => return Err(self.wrong("not an array")),
                (Within::Between, Some(b',')) => {
                    self.pass(b',');
                    self.state = Within::Item { first: false };
                }
                (Within::Between | Within::Item { first: true }, Some(b']')) => {
                    self.pass(b']');
                    self.state = Within::After;
                }
                (Within::Between, Some(_)) => {
                    return Err(self.wrong("not JSON: no comma between two items"));
                }
                (Within::Item { .. }, Some(_)) => {
                    let item = self.item()?;
                    self.state = Within::Between;
                    return Ok(Some(item));
                }
                (Within::After, None) => return Ok(None),
                (Within::After, Some(_)) => {
                    return Err(self.wrong("not JSON: something follows the array"));
                }
                (_, None) => return Err(self.wrong("not JSON: the array is never closed")),
            }
        }
    }

    /// What stands up to the comma or bracket that ends an item.
    fn item(&mut self) -> Result<String, TableError> {
        let (mut bytes, mut depth, line) = (Vec::new(), 0_usize, self.line);
        let (mut quoted, mut escaped) = (false, false);
        while let Some(byte) = self.peek()? {
            match (quoted, byte) {
                (true, _) if escaped => escaped = false,
                (true, b'\\') => escaped = true,
                (true, b'"') => quoted = false,
                (true, _) => {}
                (false, b',' | b']' | b'}') if depth == 0 => break,
                (false, b'"') => quoted = true,
                (false, b'{' | b'[') => depth += 1,
                (false, b'}' | b']') => depth -= 1,
                (false, _) => {}
            }
            if bytes.len() >= LONGEST {
                return Err(self.wrong("an item that never ends"));
            }
            bytes.push(byte);
            self.pass(byte);
        }
        shape::decoded(self.file, bytes, line)
    }

    fn objects(&mut self, most: usize) -> Result<Option<Rectangle>, TableError> {
        let (before, mut objects, mut bytes) = (self.rows, Vec::new(), 0);
        while objects.len() < most && bytes < AT_ONCE {
            let Some(item) = self.next_item()? else { break };
            bytes += item.len();
            let place = || Place::row(self.file, self.rows + 1);
            let mend = "mend the file; `python -m json.tool` shows the place too";
            objects.push(object(&item, &place, mend)?);
            self.rows += 1;
        }
        match objects.is_empty() {
            true if self.rows == 0 => Err(TableError::Empty {
                file: self.file.to_owned(),
            }),
            true => Ok(None),
            false => Ok(Some(of_objects(objects, Places::RowsAfter(before)))),
        }
    }
}

/// A Parquet file, row group by row group.
struct Groups<'a> {
    file: &'a Path,
    /// Of a compressed file.
    bytes: Option<Vec<u8>>,
    rows: usize,
    read: usize,
    /// So many rows have a few megabytes.
    at_once: usize,
}

impl<'a> Groups<'a> {
    fn open(file: &'a Path) -> Result<Self, TableError> {
        let bytes = match Compression::of_ending(file) {
            None => {
                parquet::check_ends(file)?;
                None
            }
            Some(_) => {
                let bytes = std::fs::read(file).map_err(|e| TableError::unreadable(file, e))?;
                let bytes = compressed::unpacked(file, bytes)?;
                parquet::check_marks(file, &bytes)?;
                Some(bytes)
            }
        };
        let mut groups = Groups {
            file,
            bytes,
            rows: 0,
            read: 0,
            at_once: 1,
        };
        let mut reader = groups.reader()?;
        let found = guarded(|| {
            let metadata = reader.get_metadata()?;
            let bytes = metadata.row_groups.iter();
            let bytes: usize = bytes.map(|group| group.total_byte_size()).sum();
            Ok((metadata.num_rows, bytes))
        });
        let (rows, bytes) = found.map_err(|message| TableError::NotParquet {
            file: file.to_owned(),
            message,
        })?;
        groups.rows = rows;
        let of_a_row = (bytes / rows.max(1)).max(1);
        groups.at_once = (8 * AT_ONCE / of_a_row).max(1);
        match groups.rows {
            0 => Err(TableError::Empty {
                file: file.to_owned(),
            }),
            _ => Ok(groups),
        }
    }

    fn reader(&self) -> Result<ParquetReader<Box<dyn MmapBytesReader>>, TableError> {
        let source: Box<dyn MmapBytesReader> = match &self.bytes {
            Some(bytes) => Box::new(Cursor::new(bytes.clone())),
            None => {
                let opened = File::open(self.file);
                Box::new(opened.map_err(|e| TableError::unreadable(self.file, e))?)
            }
        };
        Ok(ParquetReader::new(source))
    }

    fn rows(&mut self, most: usize) -> Result<Option<Rectangle>, TableError> {
        let most = most.min(self.at_once);
        let (start, end) = (self.read, self.rows.min(self.read.saturating_add(most)));
        if start == end {
            return Ok(None);
        }
        let undecodable = |message: String| TableError::Undecodable {
            file: self.file.to_owned(),
            format: Format::Parquet.to_string(),
            message,
        };
        let reader = self.reader()?;
        let read = guarded(|| {
            let frame = reader.with_slice(Some((start, end - start))).finish()?;
            columns_of(&frame)
        });
        let columns = read.map_err(undecodable)?;
        let height = columns.first().map_or(0, |(_, cells)| cells.len());
        if height != end - start {
            return Err(undecodable(format!(
                "{height} rows instead of {}",
                end - start
            )));
        }
        self.read = end;
        Ok(Some(Rectangle {
            height,
            columns,
            places: Places::RowsAfter(start),
        }))
    }
}

fn columns_of(
    frame: &DataFrame,
) -> polars::prelude::PolarsResult<Vec<(String, Vec<Cell<'static>>)>> {
    let column = |name: &polars::prelude::PlSmallStr| {
        let values = frame.column(name)?;
        let cells = (0..frame.height()).map(|row| Ok(Cell::of(values.get(row)?).into_owned()));
        let cells = cells.collect::<polars::prelude::PolarsResult<Vec<_>>>()?;
        Ok((name.to_string(), cells))
    };
    frame.get_column_names().into_iter().map(column).collect()
}

#[cfg(test)]
mod tests;
