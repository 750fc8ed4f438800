//! Results as Parquet: columns of plain values, one entry a row.
//!
//! Deliberately absent: what the columns mean, which is for whoever fills them.

use std::path::Path;

use polars::prelude::{
    Column, DataType, Field, IntoColumn, IntoSeries, NamedFrom, Series, StructChunked,
};

use super::{TableError, frame, write_parquet};

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
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What it is, where there are kinds.
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
    fn len(&self) -> usize {
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

/// Writes columns of equal length, in their order.
///
/// # Errors
/// Columns of unequal length or with one name, or a file that cannot be written.
pub fn write_columns(path: &Path, columns: Vec<(String, Cells)>) -> Result<(), TableError> {
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
    write_parquet(path, frame(written)?)
}
