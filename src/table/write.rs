//! Rows → Parquet, row group by row group.
//!
//! The split of a table is read again piece by piece, so its row groups are bounded in bytes as well as in rows. Where one
//! ends is decided row by row: the bytes of the file depend on the rows alone, not on the pieces in which they came, nor on
//! the number of threads.
//!
//! Deliberately absent: `table.json`, which is written once all rows are known.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use polars::io::parquet::write::BatchedWriter;
use polars::prelude::{Column, DataFrame, DataType, ParquetWriter, PolarsResult, StringType};

use super::read::guarded;
use super::{ArrayOf, TableError};

/// The most rows of a row group.
const MOST_ROWS: usize = 1 << 18;
/// A row group ends with the row that brings its texts and numbers to so many bytes.
const MOST_BYTES: usize = 8 << 20;

/// A split of a table on its way into its file. It has one piece of rows at least.
pub struct SplitWriter {
    path: PathBuf,
    /// Bytes of a row group.
    most: usize,
    writer: Option<BatchedWriter<BufWriter<Noting>>>,
    failure: Failure,
    pending: Option<DataFrame>,
    /// Of what is pending.
    group: Group,
    rows: usize,
}

/// How much a row group has.
#[derive(Default)]
struct Group {
    rows: usize,
    bytes: usize,
}

impl SplitWriter {
    /// The file is made in `folder` with the first rows.
    pub fn new(folder: &Path, split: &str) -> Self {
        SplitWriter::at(folder.join(format!("{split}.parquet")), MOST_BYTES)
    }

    /// With row groups of so many bytes.
    pub(super) fn at(path: PathBuf, most: usize) -> Self {
        SplitWriter {
            path,
            most,
            writer: None,
            failure: Failure::default(),
            pending: None,
            group: Group::default(),
            rows: 0,
        }
    }

    /// Adds rows with the columns of those before.
    ///
    /// # Errors
    /// A file that cannot be written, or other columns.
    pub fn add(&mut self, frame: DataFrame) -> Result<(), TableError> {
        if self.writer.is_none() {
            let path = &self.path;
            let file = File::create(path).map_err(|e| TableError::unwritable(path, e))?;
            // polars writes a footer number by number.
            let file = BufWriter::new(Noting {
                file,
                failure: Arc::clone(&self.failure),
            });
            let begun = guarded(|| writer_of(file).batched(frame.schema()));
            self.writer = Some(begun.map_err(|message| self.unwritable(message))?);
        }
        let sizes = guarded(|| sizes(&frame));
        let sizes = sizes.map_err(|message| self.unwritable(message))?;
        self.rows += sizes.len();
        let mut start = 0;
        for (row, size) in sizes.into_iter().enumerate() {
            if self.group.rows >= MOST_ROWS || self.group.bytes >= self.most {
                self.hold(frame.slice(start as i64, row - start))?;
                self.put_away()?;
                start = row;
            }
            self.group.rows += 1;
            self.group.bytes += size;
        }
        self.hold(frame.slice(start as i64, frame.height() - start))
    }

    fn hold(&mut self, frame: DataFrame) -> Result<(), TableError> {
        let held = match &mut self.pending {
            Some(pending) => guarded(|| pending.vstack_mut_owned(frame).map(drop)),
            None => {
                self.pending = Some(frame);
                Ok(())
            }
        };
        held.map_err(|message| self.unwritable(message))
    }

    fn put_away(&mut self) -> Result<(), TableError> {
        self.group = Group::default();
        let (Some(mut group), Some(writer)) = (self.pending.take(), &mut self.writer) else {
            return Ok(());
        };
        let written = guarded(|| {
            group.rechunk_mut();
            writer.write_batch(&trimmed(group)?)
        });
        written.map_err(|message| self.unwritable(message))?;
        give_back();
        Ok(())
    }

    /// Ends the file, and returns how many rows it has.
    ///
    /// # Errors
    /// A file that cannot be written, or no rows were ever added.
    pub fn finish(mut self) -> Result<usize, TableError> {
        self.put_away()?;
        let Some(writer) = &self.writer else {
            return Err(TableError::unwritable(&self.path, "it has no columns"));
        };
        let ended = guarded(|| writer.finish());
        ended.map_err(|message| self.unwritable(message))?;
        Ok(self.rows)
    }

    fn unwritable(&self, message: String) -> TableError {
        let failure = self.failure.get();
        TableError::unwritable(&self.path, failure.unwrap_or(&message))
    }
}

/// What the system said when a file could first not be written.
type Failure = Arc<OnceLock<String>>;

/// A file that notes its first failure: polars passes on that something failed, and not always what.
struct Noting {
    file: File,
    failure: Failure,
}

impl Noting {
    fn noted<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failure.get_or_init(|| error.to_string());
            }
        })
    }
}

impl Write for Noting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.noted(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        self.noted(flushed)
    }
}

/// Without the items of other rows, which a slice of a list column holds on to: how many rows come to a page of the file is
/// reckoned from all that a column holds.
fn trimmed(group: DataFrame) -> PolarsResult<DataFrame> {
    let trimmed = |column: Column| {
        let series = column.as_materialized_series();
        match series.trim_lists_to_normalized_offsets() {
            Some(series) => series.into(),
            None => column,
        }
    };
    let height = group.height();
    DataFrame::new(
        height,
        group.into_columns().into_iter().map(trimmed).collect(),
    )
}

/// Returns to the system what pieces took that are gone. glibc keeps it for later, for each thread apart, and that adds up to
/// several times what is ever needed at once.
pub(super) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number, and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// One column after the other: the bytes do not depend on the number of threads.
fn writer_of<W: Write>(file: W) -> ParquetWriter<W> {
    ParquetWriter::new(file)
        .with_row_group_size(Some(MOST_ROWS))
        .set_parallel(false)
}

/// The bytes of each row: of texts their lengths, of anything else a word.
fn sizes(frame: &DataFrame) -> PolarsResult<Vec<usize>> {
    let mut sizes = vec![0; frame.height()];
    for column in frame.columns() {
        match column.dtype() {
            DataType::String => {
                for (size, text) in sizes.iter_mut().zip(column.str()?.iter()) {
                    *size += text.map_or(0, str::len);
                }
            }
            DataType::List(_) => {
                let mut sizes = sizes.iter_mut();
                for lists in column.list()?.downcast_iter() {
                    let texts = lists.values().as_any();
                    let texts = texts.downcast_ref::<ArrayOf<StringType>>();
                    let of_item = |item| texts.map_or(8, |texts| texts.value(item).len());
                    let bounds = lists.offsets().windows(2);
                    for (bounds, size) in bounds.zip(sizes.by_ref()) {
                        let items = bounds[0] as usize..bounds[1] as usize;
                        *size += items.map(of_item).sum::<usize>();
                    }
                }
            }
            _ => sizes.iter_mut().for_each(|size| *size += 8),
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Table, Texts};

    fn texts(rows: usize, length: usize) -> Texts {
        let text = |row: usize| format!("{row:>length$} é");
        Texts {
            id: (0..rows as u64).collect(),
            copy: vec![0; rows],
            text: (0..rows).map(text).collect(),
            words: Some((0..rows).map(|row| vec![text(row); row % 3]).collect()),
            label: Some((0..rows as u32).map(|row| row % 4).collect()),
            ..Texts::default()
        }
    }

    fn groups(path: &Path) -> Vec<usize> {
        use polars::prelude::{ParquetReader, SerReader};
        let mut reader = ParquetReader::new(File::open(path).unwrap());
        let groups = reader.get_metadata().unwrap().row_groups.iter();
        groups.map(|group| group.num_rows()).collect()
    }

    #[test]
    fn the_pieces_in_which_rows_come_are_not_in_the_bytes() {
        let all = texts(20_000, 600);
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        for (folder, by) in folders.iter().zip([20_000, 7, 3_001]) {
            let mut writer = SplitWriter::new(folder.path(), "train");
            let rows: Vec<usize> = (0..all.len()).collect();
            for rows in rows.chunks(by) {
                writer.add(all.take(rows).to_frame().unwrap()).unwrap();
            }
            assert_eq!(writer.finish().unwrap(), all.len());
        }
        let read = |number: usize| std::fs::read(folders[number].path().join("train.parquet"));
        let whole = read(0).unwrap();
        assert!(groups(&folders[0].path().join("train.parquet")).len() > 2);
        assert!(read(1).unwrap() == whole && read(2).unwrap() == whole);
        let saved = tempfile::tempdir().unwrap();
        let splits = [("train".to_owned(), all.to_frame().unwrap())].into();
        let table = Table {
            splits,
            ..Table::default()
        };
        table.save(saved.path()).unwrap();
        assert!(std::fs::read(saved.path().join("train.parquet")).unwrap() == whole);
    }

    #[test]
    fn a_small_table_has_the_bytes_of_a_single_row_group() {
        let (folder, all) = (tempfile::tempdir().unwrap(), texts(5_000, 20));
        let mut writer = SplitWriter::new(folder.path(), "train");
        writer.add(all.to_frame().unwrap()).unwrap();
        writer.finish().unwrap();
        let other = folder.path().join("other.parquet");
        let file = File::create(&other).unwrap();
        writer_of(file)
            .finish(&mut all.to_frame().unwrap())
            .unwrap();
        let written = std::fs::read(folder.path().join("train.parquet")).unwrap();
        assert!(written == std::fs::read(other).unwrap());
        assert_eq!(groups(&folder.path().join("train.parquet")), [5_000]);
    }

    #[test]
    fn a_row_group_is_bounded_in_bytes_and_in_rows() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = SplitWriter::new(folder.path(), "train");
        let row = |id: u64, length: usize| Texts {
            id: vec![id],
            copy: vec![0],
            text: vec!["x".repeat(length)],
            ..Texts::default()
        };
        for (id, length) in [5 << 20, 4 << 20, 9 << 20, 1, 2].into_iter().enumerate() {
            let row = row(id as u64, length).to_frame().unwrap();
            writer.add(row).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(groups(&folder.path().join("train.parquet")), [2, 1, 2]);
        let many = Texts {
            words: None,
            ..texts(MOST_ROWS + 3, 1)
        };
        let path = folder.path().join("many.parquet");
        let mut writer = SplitWriter::at(path.clone(), usize::MAX);
        writer.add(many.to_frame().unwrap()).unwrap();
        writer.finish().unwrap();
        assert_eq!(groups(&path), [MOST_ROWS, 3]);
    }
}
