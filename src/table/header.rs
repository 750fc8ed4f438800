//! What the columns of a file are called, from its beginning alone: for editors, which ask while one types.
//!
//! Never more than [`MOST`] bytes of the content are read, unpacked ones of a compressed file included; of Parquet the foot,
//! where that is no longer.
//!
//! Deliberately absent: errors. A file that cannot be read so has no columns to offer; reading it says what is wrong.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use polars::prelude::{ParquetReader, SerReader};
use serde_json::{Map, Value};

use super::columns::Present;
use super::compressed::{self, Compression};
use super::error::{TableError, nearest};
use super::read::{Format, Layout, guarded};
use super::shape;

/// How much of a file is read. Bytes.
pub const MOST: u64 = 64 * 1024;

/// The names of a file's columns in their order; `column_0`, … where they have none; nothing where its beginning does not
/// say them.
pub fn columns(
    file: &Path,
    format: Format,
    quote: Option<u8>,
    header: bool,
) -> Option<Vec<String>> {
    let (names, width) = match format {
        Format::Csv => delimited(file, b',', quote, header)?,
        Format::Tsv => delimited(file, b'\t', quote, header)?,
        Format::Jsonl => {
            let text = beginning(file)?;
            let line = text.lines().find(|line| !line.trim().is_empty())?;
            return names(serde_json::from_str(line).ok()?);
        }
        Format::Json => return names(first_object(&beginning(file)?)?),
        Format::Parquet => return parquet(file),
        Format::Text => return Some(vec!["text".to_owned()]),
        Format::Conll
        | Format::Squad
        | Format::SquadContexts
        | Format::Wordnet
        | Format::WordnetRelated => return None,
    };
    let numbered = || (0..width).map(|number| format!("column_{number}"));
    Some(names.unwrap_or_else(|| numbered().collect()))
}

/// A column that a file does not have.
#[derive(Debug)]
pub struct Missing {
    /// The setting that names it.
    pub field: String,
    /// As reading the file would say it.
    pub error: TableError,
    /// What it is called, and the column that was probably meant by it.
    pub meant: Option<(String, String)>,
}

/// What is wanted of a file and is not in its header. Of JSON nothing is known so: what the first row lacks, another may have.
pub fn missing(file: &Path, layout: &Layout) -> Vec<Missing> {
    let found = match layout.format {
        Format::Csv => delimited(file, b',', layout.quote, layout.header),
        Format::Tsv => delimited(file, b'\t', layout.quote, layout.header),
        Format::Parquet => parquet(file).map(|names| {
            let width = names.len();
            (Some(names), width)
        }),
        _ => None,
    };
    let Some((names, width)) = found else {
        return Vec::new();
    };
    let present = Present::new(file, names.clone(), width);
    let missing = present.missing(layout).into_iter();
    missing
        .map(|(field, error)| {
            let meant = match &error {
                TableError::MissingColumn { column, .. } => {
                    let called = column.trim_matches('`').to_owned();
                    let names = names.iter().flatten().map(String::as_str);
                    let meant = nearest(&called, names).map(str::to_owned);
                    meant.map(|meant| (called, meant))
                }
                _ => None,
            };
            Missing {
                field,
                error,
                meant,
            }
        })
        .collect()
}

fn names(row: Map<String, Value>) -> Option<Vec<String>> {
    Some(row.into_iter().map(|(name, _)| name).collect())
}

/// The first object of an array that may be cut off behind it.
fn first_object(text: &str) -> Option<Map<String, Value>> {
    let inside = text.trim_start().strip_prefix('[')?;
    serde_json::Deserializer::from_str(inside)
        .into_iter()
        .next()?
        .ok()
}

/// The names in the first record, if it has them, and how many fields it has.
fn delimited(
    file: &Path,
    separator: u8,
    quote: Option<u8>,
    header: bool,
) -> Option<(Option<Vec<String>>, usize)> {
    let text = beginning(file)?;
    let mut found = None;
    let choose = |names: Option<Vec<String>>, width: usize| {
        found = Some((names, width));
        Ok(Vec::new())
    };
    // The first record is told of before a fault in a later one, such as where the text is cut off.
    let _ = shape::delimited(file, &text, separator, quote, header, choose);
    found
}

fn parquet(file: &Path) -> Option<Vec<String>> {
    // Of a compressed one there is no foot without the rest.
    if Compression::of_ending(file).is_some() {
        return None;
    }
    let mut opened = File::open(file).ok()?;
    let length = opened.metadata().ok()?.len();
    let mut foot = [0; 8];
    opened.seek(SeekFrom::Start(length.checked_sub(8)?)).ok()?;
    opened.read_exact(&mut foot).ok()?;
    let [a, b, c, d, magic @ ..] = foot;
    if &magic != b"PAR1" || u64::from(u32::from_le_bytes([a, b, c, d])) > MOST {
        return None;
    }
    let schema = guarded(|| ParquetReader::new(opened).schema()).ok()?;
    Some(schema.iter_names().map(|name| name.to_string()).collect())
}

/// The first bytes of a file's content, up to the last that make whole characters.
fn beginning(file: &Path) -> Option<String> {
    let (bytes, _) = compressed::beginning(file, MOST).ok()?;
    let whole = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?,
    };
    Some(whole.trim_start_matches('\u{feff}').to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::table::condition::Condition;
    use crate::table::read::{Beside, Column, Gold, Rows};

    fn of(name: &str, content: &[u8], format: Format, header: bool) -> Option<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        columns(&file, format, Some(b'"'), header)
    }

    #[test]
    fn a_header_is_read_as_the_whole_file_would_be() {
        let csv = "\u{feff}\"a \"\"b\"\"\",\"c\nd\",é\n1,2,3\n";
        assert_eq!(
            of("x.csv", csv.as_bytes(), Format::Csv, true).unwrap(),
            ["a \"b\"", "c\nd", "é"]
        );
        assert_eq!(
            of("x.tsv", b"1\t2\n3\t4\n", Format::Tsv, false).unwrap(),
            ["column_0", "column_1"]
        );
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"text,label\nx,1\n").unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(
            of("x.csv.gz", &packed, Format::Csv, true).unwrap(),
            ["text", "label"]
        );
    }

    #[test]
    fn the_first_object_names_the_columns_of_json() {
        let lines = b"\n{\"text\": \"a\", \"label\": {\"x\": 1}}\n{\"other\": 1}\n";
        assert_eq!(
            of("x.jsonl", lines, Format::Jsonl, true).unwrap(),
            ["text", "label"]
        );
        let array = b"[ {\"a\": [1, 2], \"b\": null}, {\"cut o";
        assert_eq!(of("x.json", array, Format::Json, true).unwrap(), ["a", "b"]);
    }

    fn lacking(name: &str, content: &str, format: Format, header: bool) -> Vec<Missing> {
        let column = |name: &str| Column::Name(name.to_owned());
        let layout = Layout {
            format,
            header,
            quote: Some(b'"'),
            rows: Rows::Texts {
                text: column("text"),
                text_pair: Some(Column::Number(1)),
                gold: Some(Gold::Label(column("lable"))),
            },
            id: None,
            keep: Vec::new(),
            skip_invalid: false,
            beside: Beside {
                condition: Some(Condition::parse("stars > 3 AND text <> ''").unwrap()),
                group: Some(column("author")),
                ..Beside::default()
            },
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        missing(&file, &layout)
    }

    #[test]
    fn what_a_header_lacks_is_told_with_the_setting_that_names_it() {
        let found = lacking("x.csv", "text,label\na,1\n", Format::Csv, true);
        let fields: Vec<&str> = found.iter().map(|missing| missing.field.as_str()).collect();
        assert_eq!(fields, ["columns.label", "split.group", "where"]);
        let [label, ..] = &found[..] else {
            unreachable!()
        };
        let meant = ("lable".to_owned(), "label".to_owned());
        assert_eq!(label.meant, Some(meant));
        assert!(label.error.to_string().ends_with("no column `lable`"));
        let found = lacking("x.csv", "a,1\n", Format::Csv, false);
        let fields: Vec<&str> = found.iter().map(|missing| missing.field.as_str()).collect();
        let all = [
            "columns.text",
            "columns.label",
            "split.group",
            "where",
            "where",
        ];
        assert_eq!(fields, all);
    }

    #[test]
    fn what_the_first_row_of_json_lacks_another_may_have() {
        let row = "{\"text\": \"a\"}\n";
        assert!(lacking("x.jsonl", row, Format::Jsonl, true).is_empty());
        assert!(lacking("x.csv", "", Format::Csv, true).is_empty());
    }

    #[test]
    fn no_more_than_a_header_is_read() {
        let mut far = vec![b' '; MOST as usize];
        far.extend(b"\n{\"text\": 1}\n");
        assert_eq!(of("x.jsonl", &far, Format::Jsonl, true), None);
        let mut long = b"text,label\n".to_vec();
        long.extend(vec![b'\"'; 10 * MOST as usize]);
        assert_eq!(
            of("x.csv", &long, Format::Csv, true).unwrap(),
            ["text", "label"]
        );
    }

    #[test]
    fn a_broken_file_has_no_columns_and_breaks_nothing() {
        for content in [
            &b""[..],
            b"PAR1",
            b"\xff\xff\xff\xff",
            b"[",
            b"{",
            b"\"",
            b"\x00\x00\x00\x00PAR1",
        ] {
            for format in [Format::Parquet, Format::Json, Format::Jsonl] {
                assert_eq!(of("x", content, format, true), None, "{content:?} {format}");
            }
        }
        assert_eq!(
            columns(Path::new("/nowhere"), Format::Csv, None, true),
            None
        );
    }
}
