//! A table in its folder, read piece by piece: no more of it is in memory than a row group or two.
//!
//! Promise: the pieces of a split are its rows in their order, and there is one at least, so that an empty split has columns.
//!
//! Deliberately absent: writing, and pieces that are smaller than the row groups of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use polars::io::parquet::metadata::FileMetadataRef;
use polars::prelude::{DataFrame, ParquetReader, SerReader};

use super::read::guarded;
use super::{Contents, TableError};

/// A table whose rows stay in its folder until they are asked for.
#[derive(Debug, Clone)]
pub struct StoredTable {
    folder: PathBuf,
    /// The names behind the numbers in `label`, `labels` and `tags`.
    pub label_names: Option<Vec<String>>,
    /// The names of the numbers in `target`.
    pub target_names: Option<Vec<String>>,
    splits: BTreeMap<String, StoredSplit>,
}

/// Rows of a split that follow each other.
pub type Piece = Result<DataFrame, TableError>;

/// A split whose rows stay in its file.
#[derive(Debug, Clone)]
pub struct StoredSplit {
    path: PathBuf,
    columns: Vec<String>,
    /// Read once: it grows with the row groups.
    metadata: FileMetadataRef,
    /// The rows of each row group.
    groups: Vec<Range<usize>>,
}

impl StoredTable {
    /// Opens what [`Table::save`](super::Table::save) wrote.
    ///
    /// # Errors
    /// A file that is missing, or does not begin and end as `save` leaves it.
    pub fn open(folder: &Path) -> Result<StoredTable, TableError> {
        let contents = Contents::read(folder)?;
        let mut splits = BTreeMap::new();
        for (name, rows) in contents.splits {
            let split = StoredSplit::open(folder.join(format!("{name}.parquet")), rows)?;
            splits.insert(name, split);
        }
        Ok(StoredTable {
            folder: folder.to_owned(),
            label_names: contents.label_names,
            target_names: contents.target_names,
            splits,
        })
    }

    pub fn split(&self, name: &str) -> Option<&StoredSplit> {
        self.splits.get(name)
    }

    /// The names of all splits, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.splits.keys().map(String::as_str)
    }

    /// Whether any split has this column.
    pub fn has(&self, column: &str) -> bool {
        self.splits.values().any(|split| split.has(column))
    }

    /// Copies the table's files into a folder that is there.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn copy_to(&self, folder: &Path) -> Result<(), TableError> {
        let files = self.splits.keys().map(|name| format!("{name}.parquet"));
        for name in files.chain(["table.json".to_owned()]) {
            let (from, to) = (self.folder.join(&name), folder.join(&name));
            let mut source = File::open(&from).map_err(|e| TableError::unreadable(&from, e))?;
            // Not `fs::copy`, which would copy permissions too.
            let copied = File::create(&to).and_then(|mut file| io::copy(&mut source, &mut file));
            copied.map_err(|e| TableError::unwritable(&to, e))?;
        }
        Ok(())
    }
}

impl StoredSplit {
    /// Opens a split's file, which has so many rows.
    ///
    /// # Errors
    /// It is missing, or does not begin and end as it was written.
    pub fn open(path: PathBuf, rows: usize) -> Result<StoredSplit, TableError> {
        let file = File::open(&path).map_err(|e| TableError::unreadable(&path, e))?;
        let read = guarded(|| {
            let mut reader = ParquetReader::new(file);
            let names = reader.schema()?;
            let names = names.iter_names().map(|name| name.to_string());
            let columns = names.collect::<Vec<_>>();
            Ok((columns, reader.get_metadata()?.clone()))
        });
        let (columns, metadata) = read.map_err(|message| TableError::damaged(&path, message))?;
        let (mut groups, mut end) = (Vec::new(), 0_usize);
        for group in &metadata.row_groups {
            let start = end;
            end = end.saturating_add(group.num_rows());
            groups.push(start..end);
        }
        if end != rows {
            let message = format!("{end} rows instead of {rows}");
            return Err(TableError::damaged(&path, message));
        }
        Ok(StoredSplit {
            path,
            columns,
            metadata,
            groups,
        })
    }

    pub fn rows(&self) -> usize {
        self.groups.last().map_or(0, |group| group.end)
    }

    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// The rows, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let none = self.groups.is_empty().then_some(0..0);
        let groups = self.groups.iter().cloned().chain(none);
        groups.map(|rows| self.read(rows, None))
    }

    /// The id and the text of each of the rows with these numbers.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn texts_of(&self, numbers: &[usize]) -> Result<Vec<(u64, String)>, TableError> {
        let row = |&number: &usize| {
            let frame = self.read(number..number + 1, Some(&["id", "text"]))?;
            let found = guarded(|| {
                let (ids, texts) = (frame.column("id")?.u64()?, frame.column("text")?.str()?);
                Ok(ids.get(0).zip(texts.get(0).map(str::to_owned)))
            });
            let none = || TableError::damaged(&self.path, format!("no row {number}"));
            let found = found.map_err(|message| TableError::damaged(&self.path, message))?;
            found.ok_or_else(none)
        };
        numbers.iter().map(row).collect()
    }

    fn read(&self, rows: Range<usize>, columns: Option<&[&str]>) -> Piece {
        let path = &self.path;
        let file = File::open(path).map_err(|e| TableError::unreadable(path, e))?;
        let owned = |name: &&str| (*name).to_owned();
        let frame = guarded(|| {
            let mut reader = ParquetReader::new(file);
            reader.set_metadata(self.metadata.clone());
            reader
                .with_columns(columns.map(|names| names.iter().map(owned).collect()))
                .with_slice(Some((rows.start, rows.len())))
                .set_rechunk(true)
                .finish()
        });
        let frame = frame.map_err(|message| TableError::damaged(path, message))?;
        if frame.height() != rows.len() {
            let message = format!("{} rows instead of {}", frame.height(), rows.len());
            return Err(TableError::damaged(path, message));
        }
        Ok(frame)
    }
}

/// What a row says: its text and, where there is one, the text pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowText {
    pub text: String,
    pub text_pair: Option<String>,
}

/// What the rows with these ids say, in a split of the table in `folder`; none where it has no such split. Ids that no row
/// has are passed over.
///
/// # Errors
/// The table is damaged.
pub fn texts_by_id(
    folder: &Path,
    split: &str,
    ids: &BTreeSet<u64>,
) -> Result<Option<BTreeMap<u64, RowText>>, TableError> {
    let table = StoredTable::open(folder)?;
    let Some(split) = table.split(split) else {
        return Ok(None);
    };
    let mut columns = vec!["id", "text"];
    columns.extend(split.has("text_pair").then_some("text_pair"));
    let mut found = BTreeMap::new();
    for rows in split.groups.iter().cloned() {
        if found.len() == ids.len() {
            break;
        }
        let frame = split.read(rows, Some(&columns))?;
        let read = guarded(|| {
            let (all, texts) = (frame.column("id")?.u64()?, frame.column("text")?.str()?);
            let pairs = columns.get(2).map(|name| frame.column(name)?.str());
            let pairs = pairs.transpose()?;
            for (row, id) in all.iter().enumerate() {
                let Some(id) = id.filter(|id| ids.contains(id)) else {
                    continue;
                };
                let said = RowText {
                    text: texts.get(row).unwrap_or_default().to_owned(),
                    text_pair: pairs.and_then(|pairs| pairs.get(row)).map(str::to_owned),
                };
                found.insert(id, said);
            }
            Ok(())
        });
        read.map_err(|message| TableError::damaged(&split.path, message))?;
    }
    Ok(Some(found))
}

/// The pieces of these splits, one split after the other, each with the number of its split. The next one is read while the
/// last is worked on. Where that ends early, the last piece is an error.
///
/// # Errors
/// No thread can be had.
pub fn ahead(splits: Vec<StoredSplit>) -> Result<impl Iterator<Item = (usize, Piece)>, TableError> {
    let (sender, receiver) = sync_channel(0);
    let first = splits.first().map(|split| split.path.clone());
    let pieces = splits.iter().map(|split| split.groups.len().max(1));
    let paths = splits.iter().map(|split| split.path.clone());
    let all = pieces.zip(paths).collect();
    let read = move || {
        for (number, split) in splits.iter().enumerate() {
            for piece in split.pieces() {
                if sender.send((number, piece)).is_err() {
                    return;
                }
            }
        }
    };
    let started = std::thread::Builder::new()
        .name("rows".to_owned())
        .spawn(read);
    started.map_err(|e| TableError::unreadable(&first.unwrap_or_default(), e))?;
    Ok(all_of(all, receiver.into_iter()))
}

/// The pieces of splits which have so many each, and an error once they end before all are there.
fn all_of(
    splits: Vec<(usize, PathBuf)>,
    mut pieces: impl Iterator<Item = (usize, Piece)>,
) -> impl Iterator<Item = (usize, Piece)> {
    let (mut number, mut met, mut ended) = (0, 0, false);
    std::iter::from_fn(move || {
        while splits.get(number).is_some_and(|(all, _)| met == *all) {
            (number, met) = (number + 1, 0);
        }
        let (_, path) = splits.get(number).filter(|_| !ended)?;
        met += 1;
        pieces.next().or_else(|| {
            ended = true;
            let message = "what reads it ended before its last row";
            Some((number, Err(TableError::damaged(path, message))))
        })
    })
}

#[cfg(test)]
mod tests;
