//! Results as Parquet or CSV: columns of plain values, one entry a row; written, and read again where they are to be
//! scored.
//!
//! Deliberately absent: what the columns mean, which is for whoever fills them.

use std::fs::File;
use std::path::{Path, PathBuf};

use polars::prelude::{
    Column, CsvWriter, DataFrame, DataType, Field, Float32Type, IntoColumn, IntoSeries, NamedFrom,
    ParquetReader, PolarsError, PolarsResult, SerReader, SerWriter, Series, StringType,
    StructChunked,
};

use serde::Serialize;

use super::read::guarded;
use super::{ArrayOf, SplitWriter, TableError, frame, items};

/// The entries of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    Ids(Vec<u64>),
    Texts(Vec<Option<String>>),
    Numbers(Vec<Option<f64>>),
    /// Characters of a text, counted from 0.
    Places(Vec<Option<u32>>),
    /// Probabilities and the like, where single precision is all there is.
    Floats(Vec<f32>),
    TextLists(Vec<Option<Vec<String>>>),
    FloatLists(Vec<Vec<f32>>),
    /// Objects with the fields `label`, `start`, `end`, `text` and `score`.
    Spans(Vec<Vec<Span>>),
}

/// A stretch of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    /// What it is, where there are kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// In Unicode characters from the text's beginning.
    pub start: u32,
    /// The first character after it.
    pub end: u32,
    pub text: String,
    /// From 0 to 1.
    pub score: f32,
}

impl Cells {
    pub(super) fn len(&self) -> usize {
        match self {
            Cells::Ids(cells) => cells.len(),
            Cells::Texts(cells) => cells.len(),
            Cells::Numbers(cells) => cells.len(),
            Cells::Places(cells) => cells.len(),
            Cells::Floats(cells) => cells.len(),
            Cells::TextLists(cells) => cells.len(),
            Cells::FloatLists(cells) => cells.len(),
            Cells::Spans(cells) => cells.len(),
        }
    }

    fn column(self, name: &str) -> Result<Column, String> {
        let name = || name.into();
        let series = match self {
            Cells::Ids(cells) => Series::new(name(), cells),
            Cells::Texts(cells) => Series::new(name(), cells),
            Cells::Numbers(cells) => Series::new(name(), cells),
            Cells::Places(cells) => Series::new(name(), cells),
            Cells::Floats(cells) => Series::new(name(), cells),
            Cells::TextLists(cells) => {
                let list = |texts: Option<Vec<String>>| {
                    texts.map(|texts| Series::new(name(), texts.as_slice()))
                };
                lists(name(), cells.into_iter().map(list), DataType::String)
            }
            Cells::FloatLists(cells) => {
                let list = |floats: Vec<f32>| Some(Series::new(name(), floats));
                lists(name(), cells.into_iter().map(list), DataType::Float32)
            }
            Cells::Spans(cells) => {
                let list = cells
                    .into_iter()
                    .map(objects)
                    .collect::<Result<Vec<_>, _>>()?;
                lists(name(), list.into_iter().map(Some), span_type())
            }
        };
        Ok(series.into_column())
    }
}

fn lists(
    name: polars::prelude::PlSmallStr,
    cells: impl ExactSizeIterator<Item = Option<Series>>,
    inner: DataType,
) -> Series {
    if cells.len() == 0 {
        return Series::new_empty(name, &DataType::List(Box::new(inner)));
    }
    // A list's type is that of its first item; a null says none.
    let cells: Vec<Option<Series>> = cells.collect();
    if cells.iter().all(Option::is_none) {
        return Series::full_null(name, cells.len(), &DataType::List(Box::new(inner)));
    }
    Series::new(name, cells)
}

fn span_type() -> DataType {
    DataType::Struct(vec![
        Field::new("label".into(), DataType::String),
        Field::new("start".into(), DataType::UInt32),
        Field::new("end".into(), DataType::UInt32),
        Field::new("text".into(), DataType::String),
        Field::new("score".into(), DataType::Float32),
    ])
}

fn objects(spans: Vec<Span>) -> Result<Series, String> {
    let length = spans.len();
    let (mut labels, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let (mut texts, mut scores) = (Vec::new(), Vec::new());
    for span in spans {
        labels.push(span.label);
        starts.push(span.start);
        ends.push(span.end);
        texts.push(span.text);
        scores.push(span.score);
    }
    let fields = [
        Series::new("label".into(), labels),
        Series::new("start".into(), starts),
        Series::new("end".into(), ends),
        Series::new("text".into(), texts),
        Series::new("score".into(), scores),
    ];
    StructChunked::from_series(Default::default(), length, fields.iter())
        .map(IntoSeries::into_series)
        .map_err(|e| e.to_string())
}

/// Writes columns of equal length as Parquet, in their order.
///
/// # Errors
/// Columns of unequal length or with one name, or a file that cannot be written.
pub fn write_columns(path: &Path, columns: Vec<(String, Cells)>) -> Result<(), TableError> {
    let mut writer = ColumnsWriter::new(path);
    writer.add(columns)?;
    writer.finish()
}

/// Columns on their way into a Parquet file, piece by piece. The pieces are not in the bytes.
pub struct ColumnsWriter {
    path: PathBuf,
    writer: SplitWriter,
}

impl ColumnsWriter {
    /// The file is made with the first piece.
    pub fn new(path: &Path) -> Self {
        ColumnsWriter {
            path: path.to_owned(),
            writer: SplitWriter::at(path.to_owned(), RESULTS_AT_ONCE),
        }
    }

    /// Adds columns of equal length, the same as before.
    ///
    /// # Errors
    /// Columns of unequal length or with one name, or a file that cannot be written.
    pub fn add(&mut self, columns: Vec<(String, Cells)>) -> Result<(), TableError> {
        self.writer.add(whole(&self.path, columns)?)
    }

    /// # Errors
    /// A file that cannot be written, or no columns were ever added.
    pub fn finish(self) -> Result<(), TableError> {
        self.writer.finish().map(drop)
    }
}

/// Bytes of a row group.
pub(super) const RESULTS_AT_ONCE: usize = 2 << 20;

/// Writes columns of equal length as CSV with a header, in their order. Lists have no place in it.
///
/// # Errors
/// Columns of unequal length or with one name, or a file that cannot be written.
pub fn write_csv(path: &Path, columns: Vec<(String, Cells)>) -> Result<(), TableError> {
    let failed = |message: String| TableError::unwritable(path, message);
    let mut frame = whole(path, columns)?;
    let mut file = std::fs::File::create(path).map_err(|e| failed(e.to_string()))?;
    CsvWriter::new(&mut file)
        .finish(&mut frame)
        .map_err(|e| failed(e.to_string()))
}

pub(super) fn whole(path: &Path, columns: Vec<(String, Cells)>) -> Result<DataFrame, TableError> {
    let rows = columns.first().map_or(0, |(_, cells)| cells.len());
    let mut written = Vec::with_capacity(columns.len());
    for (name, cells) in columns {
        if cells.len() != rows {
            let message = format!("{} cells in `{name}` instead of {rows}", cells.len());
            return Err(TableError::unwritable(path, message));
        }
        let column = cells.column(&name);
        written.push(column.map_err(|message| TableError::unwritable(path, message))?);
    }
    frame(written)
}

/// Reads columns that [`write_columns`] wrote, those of them that are `wanted`, in their order. Spans are left out.
///
/// # Errors
/// A file that is missing, or is not as `write_columns` leaves it.
pub fn read_columns(
    path: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Cells)>, TableError> {
    let open = || File::open(path).map_err(|e| TableError::unreadable(path, e));
    let damaged = |message: String| TableError::damaged(path, message);
    let (file, again) = (open()?, open()?);
    let read = || {
        let schema = ParquetReader::new(file).schema()?;
        let names = schema.iter_names().map(|name| name.to_string());
        let names: Vec<String> = names.filter(|name| wanted(name)).collect();
        let frame = ParquetReader::new(again)
            .with_columns(Some(names.clone()))
            .set_rechunk(true)
            .finish()?;
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            if let Some(cells) = Cells::of(frame.column(&name)?)? {
                columns.push((name, cells));
            }
        }
        Ok(columns)
    };
    guarded(read).map_err(damaged)
}

impl Cells {
    fn of(column: &Column) -> PolarsResult<Option<Cells>> {
        let series = column.as_materialized_series();
        Ok(Some(match series.dtype() {
            DataType::UInt64 => Cells::Ids(
                series
                    .u64()?
                    .iter()
                    .map(Option::unwrap_or_default)
                    .collect(),
            ),
            DataType::String => {
                let texts = series.str()?.iter();
                Cells::Texts(texts.map(|text| text.map(str::to_owned)).collect())
            }
            DataType::UInt32 => Cells::Places(series.u32()?.iter().collect()),
            DataType::Float64 => Cells::Numbers(series.f64()?.iter().collect()),
            DataType::Float32 => Cells::Floats(
                series
                    .f32()?
                    .iter()
                    .map(Option::unwrap_or_default)
                    .collect(),
            ),
            DataType::List(inner) if **inner == DataType::String => {
                let text = |texts: &ArrayOf<StringType>, place| texts.value(place).to_owned();
                let lists = items(series.list()?, text);
                let lists =
                    lists.ok_or_else(|| PolarsError::ComputeError("a list lacks a text".into()))?;
                Cells::TextLists(lists.into_iter().map(Some).collect())
            }
            DataType::List(inner) if **inner == DataType::Float32 => {
                let float = |floats: &ArrayOf<Float32Type>, place| floats.value(place);
                let lists = items(series.list()?, float);
                let lists = lists
                    .ok_or_else(|| PolarsError::ComputeError("a list lacks a number".into()))?;
                Cells::FloatLists(lists)
            }
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_survive_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let own = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        let columns = vec![
            ("id".to_owned(), Cells::Ids(vec![3, 1 << 41])),
            (
                "label".to_owned(),
                Cells::Texts(vec![Some("ä".to_owned()), None]),
            ),
            ("target_x".to_owned(), Cells::Numbers(vec![Some(0.1), None])),
            ("p".to_owned(), Cells::Floats(vec![0.25, 1.0])),
            ("start".to_owned(), Cells::Places(vec![Some(7), None])),
            (
                "labels".to_owned(),
                Cells::TextLists(vec![own(&["a", "b"]), own(&[])]),
            ),
            (
                "probability".to_owned(),
                Cells::FloatLists(vec![vec![0.5, 0.25], vec![]]),
            ),
        ];
        write_columns(&path, columns.clone()).unwrap();
        assert_eq!(read_columns(&path, |_| true).unwrap(), columns);
        let some = read_columns(&path, |name| name == "p").unwrap();
        assert_eq!(some, columns[3..4]);
        std::fs::write(&path, "PAR1 no more").unwrap();
        assert!(read_columns(&path, |_| true).is_err());
        assert!(read_columns(&folder.path().join("b"), |_| true).is_err());
    }
}
