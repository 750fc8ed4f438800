//! JSON and JSON Lines → rows.
//!
//! Texts with at most one label go through polars; rows with lists or numbers are read one by one, because polars would
//! quietly turn a value that does not fit its column into a null. What polars cannot decode is looked up again in the file
//! to say the line.
//!
//! Deliberately absent: SQuAD's nested form ([`squad`](super::squad)).

use std::collections::HashSet;
use std::io::Cursor;
use std::path::Path;

use polars::prelude::{JsonFormat, JsonReader, SerReader};

use super::cell::Cell;
use super::columns::{Present, Rows};
use super::error::{Place, TableError};
use super::frame;
use super::raw::Raw;
use super::read::{Format, Layout, guarded};
use super::rows;
use super::shape::{self, Places};
use super::squad;

pub(super) fn read(
    file: &Path,
    bytes: Vec<u8>,
    layout: &Layout,
    lines: bool,
) -> Result<Raw, TableError> {
    let text = &shape::utf8(file, bytes)?;
    if text.trim().is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    if let Some(line) = shape::too_deep(text) {
        return Err(TableError::NotJson {
            place: Place::line(file, line),
            message: "nested deeper than a table".to_owned(),
            help: "a row is an object whose values are texts, numbers and booleans".to_owned(),
        });
    }
    let questions = matches!(layout.rows, Rows::Questions { .. });
    if questions && !lines && text.trim_start().starts_with('{') {
        layout.no_columns(file, Format::Squad)?;
        return squad::read(file, text, layout.skip_invalid);
    }
    let places = if lines {
        json_places(text)
    } else {
        Places::Rows
    };
    if layout.is_plain() {
        columns(file, text, layout, lines, places)
    } else {
        one_by_one(file, text, layout, lines, places)
    }
}

fn columns(
    file: &Path,
    text: &str,
    layout: &Layout,
    lines: bool,
    places: Places,
) -> Result<Raw, TableError> {
    let format = || {
        if lines {
            JsonFormat::JsonLines
        } else {
            JsonFormat::Json
        }
    };
    let frame = guarded(|| {
        JsonReader::new(Cursor::new(text.as_bytes()))
            .with_json_format(format())
            .infer_schema_len(None)
            .finish()
    });
    let frame = match frame {
        Ok(frame) if frame.width() > 0 && (lines || text.trim_start().starts_with('[')) => frame,
        Ok(_) => {
            return Err(not_json(
                file,
                text,
                lines,
                &places,
                String::from("no columns"),
            ));
        }
        Err(message) => return Err(not_json(file, text, lines, &places, message)),
    };
    let names = frame
        .get_column_names()
        .iter()
        .map(|name| name.to_string())
        .collect::<Vec<_>>();
    let width = names.len();
    let wanted = Present::new(file, Some(names.clone()), width).find_all(layout)?;
    let name = |number: usize| names.get(number).cloned().unwrap_or_default();
    match wanted.plain() {
        Some(plain) => frame::gather(file, &frame, places, &plain, name),
        None => one_by_one(file, text, layout, lines, places),
    }
}

fn one_by_one(
    file: &Path,
    text: &str,
    layout: &Layout,
    lines: bool,
    places: Places,
) -> Result<Raw, TableError> {
    let broken = |line: usize, error: serde_json::Error| match error.is_data() {
        true => TableError::NotJson {
            place: Place::line(file, line),
            message: short(&error),
            help: "correct the file: every key may stand once in its object".to_owned(),
        },
        false => not_json(file, text, lines, &places, error.to_string()),
    };
    let mut objects = Vec::new();
    if lines {
        for (number, line) in text.lines().enumerate() {
            if !line.trim().is_empty() {
                let object = serde_json::from_str::<Cell>(line);
                objects.push(object.map_err(|error| broken(number + 1, error))?);
            }
        }
    } else {
        match serde_json::from_str::<Cell>(text) {
            Ok(Cell::List(items)) => objects = items,
            Ok(_) => return Err(not_json(file, text, lines, &places, String::new())),
            Err(error) => return Err(broken(error.line(), error)),
        }
    }
    // In the order in which they are first met, as polars numbers them.
    let (mut names, mut known) = (Vec::new(), HashSet::new());
    for object in &objects {
        let Cell::Object(fields) = object else {
            return Err(not_json(file, text, lines, &places, String::new()));
        };
        for (name, _) in fields {
            if !known.contains(&**name) {
                known.insert(name.to_string());
                names.push(name.to_string());
            }
        }
    }
    if objects.is_empty() {
        return Err(not_json(file, text, lines, &places, String::new()));
    }
    let width = names.len();
    let wanted = Present::new(file, Some(names.clone()), width).find_all(layout)?;
    let rows = objects.len();
    let raw = Raw::empty(file, layout.rows.kind(), places);
    let shared = wanted.shared();
    rows::gather(raw, rows, &wanted, layout.skip_invalid, |row, found| {
        let object = objects.get_mut(row);
        let name = names.get(found.number);
        let cell = object
            .zip(name)
            .map(|(object, name)| match shared.contains(&found.number) {
                true => object.get(name).cloned().unwrap_or_default(),
                false => object.take(name),
            });
        Ok(cell.unwrap_or_default())
    })
}

/// The lines of a JSON Lines file that hold a row: blank ones do not.
fn json_places(text: &str) -> Places {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(n, _)| n + 1);
    let lines = lines.collect::<Vec<_>>();
    if lines.last() == Some(&lines.len()) {
        Places::Lines { first: 1 }
    } else {
        Places::Listed(lines)
    }
}

/// What serde says, without the place.
pub(super) fn short(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.split(" at line ").next();
    message.unwrap_or_default().to_owned()
}

/// Looks for the first row that is no JSON object; polars only said that there is one.
fn not_json(file: &Path, text: &str, lines: bool, places: &Places, message: String) -> TableError {
    let at = |line: usize, message: String, help: &str| TableError::NotJson {
        place: Place::line(file, line.max(1)),
        message,
        help: help.to_owned(),
    };
    let object = "write every row as an object, as in {\"text\": \"…\", \"label\": \"…\"}";
    let short = |error: serde_json::Error| format!("not JSON: {}", short(&error));
    if lines {
        for (number, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            match serde_json::from_str::<serde_json::Value>(line) {
                Ok(serde_json::Value::Object(_)) => {}
                Ok(serde_json::Value::Array(_)) if number == 0 => {
                    return at(
                        1,
                        "an array where an object was expected".to_owned(),
                        "for one array of objects set `format = \"json\"`",
                    );
                }
                Ok(_) => return at(number + 1, "not an object".to_owned(), object),
                Err(error) => {
                    let help = "each line holds one whole object; for one array of objects set `format = \"json\"`";
                    return at(number + 1, short(error), help);
                }
            }
        }
    } else {
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(serde_json::Value::Array(rows)) => {
                match rows.iter().position(|row| !row.is_object()) {
                    Some(row) => {
                        let place = places.of(file, row);
                        return TableError::NotJson {
                            place,
                            message: "not an object".to_owned(),
                            help: object.to_owned(),
                        };
                    }
                    None if rows.is_empty() => {
                        return TableError::Empty {
                            file: file.to_owned(),
                        };
                    }
                    None => {}
                }
            }
            Ok(_) => {
                return at(
                    1,
                    "not an array".to_owned(),
                    "`json` is one array of objects; for one object a line set `format = \"jsonl\"`",
                );
            }
            Err(error) => {
                let line = error.line();
                let help = if text.trim_start().starts_with('{') {
                    "`json` is one array of objects; for one object a line set `format = \"jsonl\"`"
                } else {
                    "mend the file; `python -m json.tool` shows the place too"
                };
                return at(line, short(error), help);
            }
        }
    }
    let format = if lines { Format::Jsonl } else { Format::Json };
    TableError::Undecodable {
        file: file.to_owned(),
        format: format.to_string(),
        message,
    }
}
