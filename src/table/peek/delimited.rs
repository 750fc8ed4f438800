//! Delimited text of which neither header nor quoting is known.
//!
//! Quotes enclose fields where every record then has the same number of them; where a quote stands inside a field, or is never
//! closed, it is a character like others. The first record names the columns where it does not look like the others.
//!
//! Deliberately absent: other separators than comma and tab, other quotes than `"`.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::{Ask, Peek, of_columns};
use crate::table::cell::Cell;
use crate::table::columns::Column;
use crate::table::error::TableError;
use crate::table::shape::{self, Field};

/// Rows that are compared with the first.
const COMPARED: usize = 1000;
/// A name is no longer. Characters, and words.
const LONGEST_NAME: usize = 40;
const MOST_WORDS: usize = 4;
/// A column with so many times as many rows as different values repeats them.
const REPEATED: usize = 3;

type Records = (Vec<Vec<Field>>, Option<TableError>);

pub(super) fn peek(
    file: &Path,
    text: &str,
    separator: u8,
    whole: bool,
    ask: &Ask,
) -> Result<Peek, TableError> {
    let read = |quote| shape::records(file, text, separator, quote);
    let (quote, (records, error)) = match ask.quote {
        Some(quote) => (quote, read(quote)),
        None => quoting(text, separator, whole, &read),
    };
    if let Some(error) = error
        && !(cut_off(&error, whole) && records.len() > 1)
    {
        return Err(error);
    }
    let rows = records.iter().take(COMPARED + 1).map(|record| {
        let fields = record.iter().map(|field| own(text, field));
        fields.collect::<Vec<_>>()
    });
    let rows = rows.collect::<Vec<_>>();
    let header = ask.header.unwrap_or_else(|| match rows.split_first() {
        Some((first, rest)) => names_columns(first, rest),
        None => false,
    });
    let first = usize::from(header);
    if records.len() <= first {
        return Err(TableError::HeaderOnly {
            file: file.to_owned(),
        });
    }
    let width = records.first().map_or(0, Vec::len);
    let column = |number: usize| {
        let name = rows.first().and_then(|names| names.get(number));
        let column = match name.filter(|_| header) {
            Some(name) => Column::Name(name.clone()),
            None => Column::Number(number),
        };
        let fields = records.iter().skip(first);
        let fields = fields.filter_map(|record| record.get(number));
        let cells = fields.map(|field| Cell::Text(Cow::Owned(own(text, field))));
        (column, cells.collect())
    };
    let columns = (0..width).map(column).collect();
    Ok(Peek {
        header,
        quote,
        ..of_columns(columns)
    })
}

fn own(text: &str, field: &Field) -> String {
    let as_written = || text.get(field.place.clone()).unwrap_or_default().to_owned();
    field.undoubled(text).unwrap_or_else(as_written)
}

/// Whether the error is only that the text ends before the file does.
fn cut_off(error: &TableError, whole: bool) -> bool {
    !whole && matches!(error, TableError::UnclosedQuote { .. })
}

/// Whether `"` encloses fields, and the records as they are then.
fn quoting(
    text: &str,
    separator: u8,
    whole: bool,
    read: &dyn Fn(Option<u8>) -> Records,
) -> (Option<u8>, Records) {
    let quote = Some(b'"');
    if !text.contains('"') {
        // What is not seen of a .tsv most likely does not quote.
        let quote = quote.filter(|_| whole || separator == b',');
        return (quote, read(quote));
    }
    let quoted = read(quote);
    if quoted.1.is_none() {
        return (quote, quoted);
    }
    let plain = read(None);
    let half_quoted = quoted.1.as_ref().is_some_and(|error| cut_off(error, whole));
    match (plain.1.is_none(), half_quoted, separator) {
        (true, ..) => (None, plain),
        (false, true, _) | (false, false, b',') => (quote, quoted),
        (false, false, _) => (None, plain),
    }
}

/// Whether a record names the columns of the `rest`.
fn names_columns(first: &[String], rest: &[Vec<String>]) -> bool {
    let is_number = |text: &str| text.trim().parse::<f64>().is_ok();
    let is_name = |name: &String| {
        let words = name.split_whitespace().count();
        name.chars().count() <= LONGEST_NAME && words <= MOST_WORDS && !is_number(name)
    };
    let different = first.iter().collect::<BTreeSet<_>>().len() == first.len();
    // An index that pandas wrote has no name.
    let nameless = first.iter().filter(|name| name.trim().is_empty()).count();
    if !different || nameless > 1 || first.len() == nameless || !first.iter().all(is_name) {
        return false;
    }
    for (number, name) in first.iter().enumerate() {
        let mut values = HashMap::<&str, usize>::new();
        for value in rest.iter().filter_map(|row| row.get(number)) {
            *values.entry(value).or_default() += 1;
        }
        // One of the labels, not what they are called.
        let repeats = values.len() * REPEATED <= rest.len();
        if repeats && values.contains_key(name.as_str()) {
            return false;
        }
    }
    true
}
