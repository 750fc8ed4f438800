//! Parquet → rows, by polars' eager reader, which is never let take the process down.
//!
//! Deliberately absent: columns that nobody asked for: they are not decoded.

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use polars::io::mmap::MmapBytesReader;
use polars::prelude::{ParquetReader, SerReader};
use serde_json::Value;

use super::cell::Cell;
use super::columns::{Found, Present};
use super::compressed::{self, Compression};
use super::error::TableError;
use super::frame;
use super::raw::Raw;
use super::read::{Format, Layout, guarded};
use super::rows;
use super::shape::Places;

/// The names of a column's classes, as the `datasets` library writes them beside the schema (`{"info": {"features": …}}`
/// under the key `huggingface`). Nothing where there is no such note, or the file is none that can be read: then reading it
/// says so.
pub fn class_names(file: &Path, column: &str) -> Option<Vec<String>> {
    let opened = std::fs::File::open(file).ok()?;
    // Only the foot of a plain file is read; of a compressed one there is no foot without the rest.
    let source: Box<dyn MmapBytesReader> = match Compression::of_ending(file) {
        None => Box::new(opened),
        Some(_) => {
            let bytes = compressed::unpacked(file, std::fs::read(file).ok()?);
            Box::new(Cursor::new(bytes.ok()?))
        }
    };
    let note = guarded(|| {
        let mut reader = ParquetReader::new(source);
        let metadata = reader.get_metadata()?.clone();
        let pairs = metadata.key_value_metadata().clone().unwrap_or_default();
        Ok(pairs.into_iter().find(|pair| pair.key == "huggingface"))
    });
    let note: Value = serde_json::from_str(&note.ok()??.value?).ok()?;
    let feature = note.pointer("/info/features")?.get(column)?;
    names_of(feature, 0)
}

/// A class label, or one within a list.
fn names_of(feature: &Value, depth: usize) -> Option<Vec<String>> {
    const DEEPEST: usize = 4;
    if depth > DEEPEST {
        return None;
    }
    if let Some(names) = feature.get("names").and_then(Value::as_array) {
        let names = names.iter().map(|name| name.as_str().map(str::to_owned));
        return names.collect();
    }
    let inner = match feature {
        Value::Array(items) => items.first(),
        _ => feature.get("feature"),
    };
    names_of(inner?, depth + 1)
}

/// The mark at both ends of a file.
const MARK: &[u8; 4] = b"PAR1";

/// Whether bytes begin and end as those of a Parquet file do.
///
/// # Errors
/// They do not.
pub(super) fn check_marks(file: &Path, bytes: &[u8]) -> Result<(), TableError> {
    let not_parquet = |message: &str| TableError::NotParquet {
        file: file.to_owned(),
        message: message.to_owned(),
    };
    if !bytes.starts_with(MARK) {
        return Err(not_parquet("it does not begin with PAR1"));
    }
    if !bytes.ends_with(MARK) || bytes.len() < 12 {
        return Err(not_parquet("it does not end with PAR1"));
    }
    Ok(())
}

/// The same of a file that is not in memory.
///
/// # Errors
/// It cannot be read, is empty, or does not begin and end so.
pub(super) fn check_ends(file: &Path) -> Result<(), TableError> {
    let read = || {
        let mut opened = std::fs::File::open(file)?;
        let length = opened.metadata()?.len();
        let mut ends = Vec::new();
        (&mut opened).take(4).read_to_end(&mut ends)?;
        opened.seek(SeekFrom::Start(length.saturating_sub(8)))?;
        opened.take(8).read_to_end(&mut ends)?;
        Ok((length, ends))
    };
    match read().map_err(|e| TableError::unreadable(file, e))? {
        (0, _) => Err(TableError::Empty {
            file: file.to_owned(),
        }),
        (_, ends) => check_marks(file, &ends),
    }
}

pub(super) fn read(file: &Path, bytes: Vec<u8>, layout: &Layout) -> Result<Raw, TableError> {
    let not_parquet = |message: String| TableError::NotParquet {
        file: file.to_owned(),
        message,
    };
    let undecodable = |message: String| TableError::Undecodable {
        file: file.to_owned(),
        format: Format::Parquet.to_string(),
        message,
    };
    check_marks(file, &bytes)?;
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
    .map_err(undecodable)?;
    if let Some(plain) = wanted.plain().filter(|_| layout.is_plain()) {
        return frame::gather(file, &frame, Places::Rows, &plain, name);
    }
    if frame.height() == 0 {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    let raw = Raw::empty(file, layout.rows.kind(), Places::Rows);
    let cell = |row: usize, found: &Found| {
        let value = || {
            let values = frame.column(&name(found.number))?;
            Ok(Cell::of(values.get(row)?))
        };
        guarded(value).map_err(undecodable)
    };
    rows::gather(raw, frame.height(), &wanted, layout.skip_invalid, cell)
}
