//! Columns of a polars frame → texts with at most one label each.
//!
//! The way of most data sets, and the fast one: no value is looked at twice.
//!
//! Deliberately absent: lists and numbers, whose rows are read one by one ([`rows`](super::rows)).

use std::ops::Range;
use std::path::Path;

use polars::prelude::{Column as Values, DataFrame, DataType};

use super::columns::{Found, Plain};
use super::error::TableError;
use super::raw::{Kind, Raw, append};
use super::read::guarded;
use super::shape::Places;

pub(super) fn gather(
    file: &Path,
    frame: &DataFrame,
    places: Places,
    wanted: &Plain,
    name: impl Fn(usize) -> String,
) -> Result<Raw, TableError> {
    if frame.height() == 0 {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    let values = |found: &Found| {
        let values = frame.column(&name(found.number));
        values.map_err(|e| TableError::Undecodable {
            file: file.to_owned(),
            format: "a table".to_owned(),
            message: e.to_string(),
        })
    };
    let mut contents = String::new();
    let mut texts =
        |found: &Found| strings(file, &places, values(found)?, &found.shown, &mut contents);
    let text = texts(wanted.text)?;
    let text_pair = wanted.text_pair.map(&mut texts).transpose()?;
    let label = match wanted.label {
        Some(found) => {
            let values = values(found)?;
            Some(labels(file, &places, values, &found.shown, &mut contents)?)
        }
        None => None,
    };
    let raw = Raw {
        contents,
        text,
        text_pair,
        label,
        ..Raw::empty(file, Kind::Texts, places)
    };
    labelled(raw, wanted.label)
}

/// With the name of its label column, once none of its labels is empty.
pub(super) fn labelled(mut raw: Raw, found: Option<&Found>) -> Result<Raw, TableError> {
    let Some(found) = found else {
        return Ok(raw);
    };
    let empty = raw.labels().and_then(|mut all| all.position(str::is_empty));
    if let Some(row) = empty {
        return Err(TableError::Null {
            place: raw.place(row),
            column: found.shown.clone(),
        });
    }
    raw.label_column.clone_from(&found.shown);
    Ok(raw)
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
    let wrong = || {
        TableError::WrongType {
        file: file.to_owned(),
        column: column.to_owned(),
        found: describe(dtype),
        wanted: "text, integers or booleans",
        help:
            "name the column that holds one label a row, or set `columns.label = \"\"` to read none; lists of labels are `columns.labels`"
                .to_owned(),
    }
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
