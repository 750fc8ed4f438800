//! A user's file piece by piece, and what is left of it when the pieces are gone.
//!
//! A piece is the [`Raw`] of some rows that follow each other. Rows are numbered from 0 within it; their places are those in
//! the file. A [`Summary`] looks like the whole file to all who ask what labels it has, how many rows, and what was left out.
//!
//! Deliberately absent: formats in which a row does not end with its line, compressed files of [`Pieces`], and conditions, which may compare
//! rows with each other. [`read`](super::read::read) reads these as a whole.

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use super::columns::{Present, Rows, Wanted};
use super::compressed::{self, Compression};
use super::error::TableError;
use super::raw::{Kind, NUMBERS_KEPT, Raw, Skipped, append};
use super::read::{Format, Layout, of_fields};
use super::shape::{self, Places, Records, Shape};
use super::write::give_back;

/// The most rows of a piece: what is known of a row takes more room than a short row does.
const MOST_ROWS: usize = 1 << 16;
/// A quote that is not closed within so many bytes never is. Without a bound it would take the rest of the file into memory.
const LONGEST_RECORD: usize = 256 << 20;

/// A delimited file, read piece by piece.
pub struct Pieces<'a> {
    file: &'a Path,
    layout: &'a Layout,
    chunks: Chunks<'a>,
    /// Once the first record is known.
    wanted: Option<Wanted>,
}

impl<'a> Pieces<'a> {
    /// Whether files of this layout can be read so.
    pub fn can_read(file: &Path, layout: &Layout) -> bool {
        matches!(layout.format, Format::Csv | Format::Tsv)
            && Compression::of_ending(file).is_none()
            && matches!(layout.rows, Rows::Texts { .. })
            && layout.beside.is_empty()
    }

    /// Pieces of so many bytes, 65 536 rows at most, or of a single row where that is longer.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub fn open(file: &'a Path, layout: &'a Layout, at_once: usize) -> Result<Self, TableError> {
        let separator = match layout.format {
            Format::Tsv => b'\t',
            _ => b',',
        };
        Ok(Pieces {
            file,
            layout,
            chunks: Chunks::open(file, separator, layout.quote, layout.header, at_once)?,
            wanted: None,
        })
    }

    /// The next rows; nothing at the end of the file. There may be none in a piece, where all were left out.
    ///
    /// # Errors
    /// Whatever is wrong with the file up to where these rows end, with its line and its column.
    pub fn next_piece(&mut self) -> Result<Option<Raw>, TableError> {
        give_back();
        let (file, layout) = (self.file, self.layout);
        let wanted = &mut self.wanted;
        let next = self.chunks.next_chunk(MOST_ROWS, &mut |names, width| {
            let found = Present::new(file, names, width).find_all(layout)?;
            let numbers = found.numbers().collect();
            *wanted = Some(found);
            Ok(numbers)
        })?;
        match (next, &self.wanted) {
            (Some((text, shape)), Some(wanted)) => {
                of_fields(file, text, shape, wanted, layout).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Says which columns are wanted, by the names in the header, where there is one, and the number of columns.
pub(super) type Choose<'c> =
    dyn FnMut(Option<Vec<String>>, usize) -> Result<Vec<usize>, TableError> + 'c;

/// The text of a delimited file and where its fields lie, some rows at a time.
pub(super) struct Chunks<'a> {
    file: &'a Path,
    header: bool,
    source: Box<dyn Read + Send>,
    /// Read, but of no piece so far.
    held: Vec<u8>,
    /// Whether the source has no more.
    ended: bool,
    /// Bytes of a piece.
    at_once: usize,
    /// Bytes of the next piece: more while a longer record is read.
    room: usize,
    records: Records<'a>,
    /// The columns that are wanted and how many there are, once the first record is known.
    wanted: Option<(Vec<usize>, usize)>,
    any: bool,
}

impl<'a> Chunks<'a> {
    /// Of so many bytes, or of a single row where that is longer.
    pub(super) fn open(
        file: &'a Path,
        separator: u8,
        quote: Option<u8>,
        header: bool,
        at_once: usize,
    ) -> Result<Self, TableError> {
        let mut records = Records::new(file, separator, quote);
        records.longest = LONGEST_RECORD;
        Ok(Chunks {
            file,
            header,
            source: compressed::reader(file)?,
            held: Vec::new(),
            ended: false,
            at_once: at_once.max(1),
            room: at_once.max(1),
            records,
            wanted: None,
            any: false,
        })
    }

    /// The next rows, `most` at most; nothing at the end of the file.
    pub(super) fn next_chunk(
        &mut self,
        most: usize,
        choose: &mut Choose,
    ) -> Result<Option<(String, Shape)>, TableError> {
        self.records.most = most;
        loop {
            self.fill()?;
            let last = self.ended && self.held.len() <= self.room;
            if last && self.any && self.held.iter().all(is_line_end) {
                return Ok(None);
            }
            let end = match last {
                true => self.held.len(),
                false => before_last_line(&self.held[..self.held.len().min(self.room)]),
            };
            let rest = self.held.split_off(end);
            let text = std::mem::replace(&mut self.held, rest);
            if let Some(chunk) = self.chunk(text, last, choose)? {
                self.room = self.at_once;
                return Ok(Some(chunk));
            }
            // Not one record is whole. Nothing is read beyond what tells that it never will be.
            let enough = self.records.longest.saturating_add(self.at_once);
            let double = self.room.saturating_mul(2);
            self.room = match self.room < enough {
                true => double.min(enough),
                false => double,
            };
        }
    }

    fn fill(&mut self) -> Result<(), TableError> {
        while !self.ended && self.held.len() < self.room {
            let missing = (self.room - self.held.len()) as u64;
            let read = (&mut self.source).take(missing).read_to_end(&mut self.held);
            let read = read.map_err(|e| compressed::broken(self.file, e))?;
            self.ended = read == 0;
        }
        Ok(())
    }

    /// The rows in `text`. What is not of a whole record is held again; so is all of it where there is none.
    fn chunk(
        &mut self,
        text: Vec<u8>,
        last: bool,
        choose: &mut Choose,
    ) -> Result<Option<(String, Shape)>, TableError> {
        let mut text = match self.wanted {
            Some(_) => shape::decoded(self.file, text, self.records.line)?,
            None => shape::utf8(self.file, text)?,
        };
        let (before, mut from) = (self.records.clone(), 0);
        let mut found = Ok(());
        if self.wanted.is_none() {
            match self.records.first(&text, self.header, last)? {
                Some(first) => {
                    from = first.read;
                    // A broken line is the better news of two.
                    match choose(first.names, first.width) {
                        Ok(wanted) => self.wanted = Some((wanted, first.width)),
                        Err(error) => found = Err(error),
                    }
                }
                None if last => {
                    return Err(TableError::Empty {
                        file: self.file.to_owned(),
                    });
                }
                None => {
                    self.hold(text.into_bytes());
                    return Ok(None);
                }
            }
        }
        let numbers = self.wanted.as_ref().map(|(numbers, _)| numbers.as_slice());
        let numbers = numbers.unwrap_or_default();
        let part = self.records.part(&text, from, numbers, last)?;
        found?;
        let Some(places) = part.places else {
            if last && !self.any {
                return Err(TableError::HeaderOnly {
                    file: self.file.to_owned(),
                });
            }
            if !self.any {
                (self.records, self.wanted) = (before, None);
            }
            self.hold(text.into_bytes());
            return Ok(None);
        };
        self.any = true;
        let rest = text.get(part.read..).unwrap_or_default();
        self.hold(rest.as_bytes().to_vec());
        text.truncate(part.read);
        let width = self.wanted.as_ref().map_or(0, |(_, width)| *width);
        let shape = Shape {
            width,
            places,
            columns: part.columns,
        };
        Ok(Some((text, shape)))
    }

    /// Puts bytes before those that are held.
    fn hold(&mut self, mut bytes: Vec<u8>) {
        bytes.append(&mut self.held);
        self.held = bytes;
    }
}

fn is_line_end(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Where the last line begins that is not blank. What comes before is read as it would be with all that follows; the line
/// itself may be the last of the file, after which blank lines mean nothing.
fn before_last_line(held: &[u8]) -> usize {
    let filled = held.iter().rposition(|byte| !is_line_end(byte));
    let before = held.get(..filled.unwrap_or(0)).unwrap_or_default();
    let line_end = before.iter().rposition(|&byte| byte == b'\n');
    line_end.map_or(0, |newline| newline + 1)
}

/// What is left of a file: its first row and one row for every label, without texts, and the counts of all.
#[derive(Debug, Default)]
pub struct Summary {
    raw: Option<Raw>,
    /// The labels that were met, each with its number in the order in which they were.
    met: HashMap<String, u32>,
}

impl Summary {
    /// Adds the next piece of the file. Of rows with one label each it returns the number of the row's label in the order in
    /// which labels are met: that of the row which stands for it here.
    pub fn add(&mut self, mut piece: Raw) -> Vec<u32> {
        let before = self.raw.as_ref().map_or(0, Raw::rows_of_file);
        let rows = piece.rows_of_file();
        let mut stays = vec![false; piece.len()];
        let mut numbers = Vec::new();
        for (stays, label) in stays.iter_mut().zip(piece.labels().into_iter().flatten()) {
            let (number, new) = self.number(label);
            *stays |= new;
            numbers.push(number);
        }
        let lists = piece.label_lists().into_iter().flatten();
        for (stays, labels) in stays.iter_mut().zip(lists) {
            for label in labels {
                *stays |= self.number(label).1;
            }
        }
        let none = self.raw.as_ref().is_none_or(Raw::is_empty);
        if let Some(first) = stays.first_mut().filter(|_| none) {
            *first = true;
        }
        let skipped = std::mem::take(&mut piece.skipped);
        let unwanted = std::mem::take(&mut piece.unwanted);
        let left_out: usize = skipped.values().map(|skipped| skipped.rows).sum();
        piece.retain(&stays);
        let kept = without_texts(&piece);
        let raw = match &mut self.raw {
            // The columns are those of the first rows.
            Some(raw) if raw.is_empty() => {
                let before = std::mem::replace(raw, kept);
                raw.skipped = before.skipped;
                (raw.unwanted, raw.passed) = (before.unwanted, before.passed);
                raw
            }
            Some(raw) => {
                raw.join(kept);
                raw
            }
            none => none.insert(kept),
        };
        for (reason, more) in skipped {
            let left_out = more.numbers.iter().map(|number| before + number);
            match raw.skipped.get_mut(reason) {
                Some(known) => {
                    known.rows += more.rows;
                    known.numbers.extend(left_out);
                    known.numbers.truncate(NUMBERS_KEPT);
                }
                None => {
                    let numbers = left_out.collect();
                    raw.skipped.insert(reason, Skipped { numbers, ..more });
                }
            }
        }
        raw.unwanted += unwanted;
        raw.passed += rows - left_out - unwanted - piece.len();
        numbers
    }

    /// A label's number, and whether it is new.
    fn number(&mut self, label: &str) -> (u32, bool) {
        if let Some(number) = self.met.get(label) {
            return (*number, false);
        }
        let number = self.met.len() as u32;
        self.met.insert(label.to_owned(), number);
        (number, true)
    }

    /// Nothing where the file has no piece.
    pub fn into_raw(self) -> Option<Raw> {
        self.raw
    }
}

/// Rows that are all there is of a file, with their labels alone, each with a place of its own.
fn without_texts(piece: &Raw) -> Raw {
    let rows = piece.len();
    let lines = (0..rows).filter_map(|row| piece.place(row).in_line());
    let mut raw = Raw::empty(&piece.file, Kind::Texts, Places::Listed(lines.collect()));
    raw.unnamed_width = piece.unnamed_width;
    raw.label_column.clone_from(&piece.label_column);
    raw.text = vec![Range::default(); rows];
    raw.text_pair = piece
        .text_pair
        .as_ref()
        .map(|_| vec![Range::default(); rows]);
    raw.name = piece.name.as_ref().map(|_| vec![Range::default(); rows]);
    raw.target.clone_from(&piece.target);
    if let Some(labels) = piece.labels() {
        let labels = labels.map(|label| append(&mut raw.contents, label));
        raw.label = Some(labels.collect());
    }
    if let Some(lists) = piece.label_lists() {
        let all = raw.labels.get_or_insert_default();
        for labels in lists {
            let labels = labels.into_iter();
            all.push(labels.map(|label| append(&mut raw.contents, label)));
        }
    }
    raw
}

#[cfg(test)]
mod tests;
