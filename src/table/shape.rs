//! Is this text, and does every line have its fields? Asked before polars decodes a file, because polars fills short rows
//! with nulls, joins lines at a stray quote, and says at best a byte offset.
//!
//! One pass over the bytes. Quoting is that of RFC 4180: a quote opens a field only as its first byte, and is doubled
//! inside it. What passes here means one thing only, so polars can read it on any number of threads.
//!
//! Deliberately absent: values. Only places are found here, no field is kept but the header's.

use std::path::Path;

use super::error::{Fields, Place, TableError};

/// How to find the rows of a file again when one of them turns out to be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Places {
    /// Row n stands in the nth line from `first` on.
    Lines { first: usize },
    /// The line in which each row begins.
    Listed(Vec<usize>),
    /// The file has no lines to speak of.
    Rows,
}

impl Places {
    /// The place of a row counted from 0.
    pub fn of(&self, file: &Path, row: usize) -> Place {
        match self {
            Places::Lines { first } => Place::line(file, first + row),
            Places::Listed(lines) => match lines.get(row) {
                Some(&line) => Place::line(file, line),
                None => Place::row(file, row + 1),
            },
            Places::Rows => Place::row(file, row + 1),
        }
    }
}

/// The shape of a delimited file.
#[derive(Debug)]
pub(super) struct Shape<'a> {
    pub(super) header: Option<Vec<String>>,
    pub(super) width: usize,
    pub(super) rows: usize,
    pub(super) places: Places,
    /// The rows without header and trailing blank lines.
    pub(super) body: &'a [u8],
}

/// The bytes as text, without a byte order mark.
pub(super) fn utf8<'a>(file: &Path, bytes: &'a [u8]) -> Result<&'a str, TableError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let good = bytes.get(..e.valid_up_to()).unwrap_or_default();
        let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
        let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        let from = if marked { "UTF-16" } else { "ISO-8859-1" };
        TableError::NotUtf8 {
            place: Place::line(file, line),
            byte: bytes.get(e.valid_up_to()).copied().unwrap_or_default(),
            help: format!(
                "convert the file, for example `iconv -f {from} -t UTF-8`; or state its `format` if it is not text"
            ),
        }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Checks that every record of a delimited file has as many fields as the first, and that its quotes pair up.
pub(super) fn delimited<'a>(
    file: &Path,
    text: &'a str,
    separator: u8,
    quote: Option<u8>,
    header: bool,
) -> Result<Shape<'a>, TableError> {
    let bytes = text.trim_end_matches(['\n', '\r']).as_bytes();
    if bytes.is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    let mut scan = Scan {
        file,
        bytes,
        at: 0,
        line: 1,
        separator,
        quote,
    };
    let (mut lines, mut width, mut names, mut start, mut several) = (Vec::new(), 0, None, 0, false);
    while scan.at < bytes.len() {
        let first = width == 0;
        let line = scan.line;
        let fields = scan.record(first && header)?;
        if first {
            width = fields.count;
        } else if fields.count != width {
            return Err(ragged(
                Place::line(file, line),
                fields.count,
                width,
                separator,
                quote,
            ));
        }
        if first && header {
            names = Some(fields.values);
            start = scan.at;
        } else {
            lines.push(line);
        }
        several |= scan.line > line + 1;
    }
    let rows = lines.len();
    if rows == 0 {
        return Err(TableError::HeaderOnly {
            file: file.to_owned(),
        });
    }
    let places = if several {
        Places::Listed(lines)
    } else {
        Places::Lines {
            first: 1 + usize::from(header),
        }
    };
    Ok(Shape {
        header: names,
        width,
        rows,
        places,
        body: bytes.get(start..).unwrap_or_default(),
    })
}

fn ragged(
    place: Place,
    found: usize,
    wanted: usize,
    separator: u8,
    quote: Option<u8>,
) -> TableError {
    let between = if separator == b'\t' { "tab" } else { "comma" };
    let help = match (found > wanted, quote.map(char::from)) {
        (true, Some(quote)) => {
            format!("a field that holds a {between} must be enclosed in {quote}…{quote}")
        }
        (true, None) => format!(
            "without quoting no field can hold a {between}: remove it, or set `quote = \"\\\"\"`"
        ),
        (false, _) => format!(
            "every row needs a {between} between its {wanted} fields, also around empty ones"
        ),
    };
    TableError::Ragged {
        place,
        found: Fields(found),
        wanted: Fields(wanted),
        help,
    }
}

struct Scan<'a> {
    file: &'a Path,
    bytes: &'a [u8],
    at: usize,
    line: usize,
    separator: u8,
    quote: Option<u8>,
}

struct Record {
    count: usize,
    /// The decoded fields, where they were asked for.
    values: Vec<String>,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Whether a line ends here.
    fn at_end_of_line(&self) -> bool {
        match self.peek() {
            None | Some(b'\n') => true,
            Some(b'\r') => matches!(self.bytes.get(self.at + 1), None | Some(b'\n')),
            Some(_) => false,
        }
    }

    /// Passes over one record and its line end.
    fn record(&mut self, keep: bool) -> Result<Record, TableError> {
        let mut record = Record {
            count: 0,
            values: Vec::new(),
        };
        if self.at_end_of_line() {
            return Err(TableError::BlankLine {
                place: Place::line(self.file, self.line),
            });
        }
        loop {
            record.count += 1;
            let from = self.at;
            let quoted = self.quote.is_some() && self.peek() == self.quote;
            if quoted {
                self.quoted()?;
            } else {
                self.plain(record.count)?;
            }
            if keep {
                let field = self.bytes.get(from..self.at).unwrap_or_default();
                record
                    .values
                    .push(decode(field, self.quote.filter(|_| quoted)));
            }
            if self.peek() == Some(self.separator) {
                self.at += 1;
            } else if self.at_end_of_line() {
                self.at += if self.peek() == Some(b'\r') { 2 } else { 1 };
                self.line += 1;
                return Ok(record);
            } else {
                return Err(TableError::StrayQuote {
                    place: Place::line(self.file, self.line),
                    field: record.count,
                });
            }
        }
    }

    fn plain(&mut self, field: usize) -> Result<(), TableError> {
        while let Some(byte) = self.peek() {
            if byte == self.separator || ((byte == b'\n' || byte == b'\r') && self.at_end_of_line())
            {
                break;
            }
            if Some(byte) == self.quote {
                return Err(TableError::StrayQuote {
                    place: Place::line(self.file, self.line),
                    field,
                });
            }
            self.at += 1;
        }
        Ok(())
    }

    fn quoted(&mut self) -> Result<(), TableError> {
        let opened = self.line;
        self.at += 1;
        loop {
            match self.peek() {
                None => {
                    return Err(TableError::UnclosedQuote {
                        place: Place::line(self.file, opened),
                    });
                }
                Some(byte) if Some(byte) == self.quote => {
                    self.at += 1;
                    if self.peek() != self.quote {
                        return Ok(());
                    }
                }
                Some(b'\n') => self.line += 1,
                Some(_) => {}
            }
            self.at += 1;
        }
    }
}

/// A field without its quotes. The bytes are part of checked UTF-8, cut at ASCII bytes.
fn decode(field: &[u8], quote: Option<u8>) -> String {
    let text = String::from_utf8_lossy(field);
    let Some(quote) = quote.map(char::from) else {
        return text.into_owned();
    };
    let inner = text
        .strip_prefix(quote)
        .and_then(|text| text.strip_suffix(quote))
        .unwrap_or(&text);
    inner.replace(&format!("{quote}{quote}"), &quote.to_string())
}

/// The line on which JSON nests deeper than any table does, where a recursive parser could run out of stack.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    const DEEPEST: usize = 64;
    let (mut depth, mut line, mut quoted, mut escaped) = (0_usize, 1, false, false);
    for byte in text.bytes() {
        match byte {
            b'\n' => line += 1,
            _ if escaped => {
                escaped = false;
                continue;
            }
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Some(line);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(text: &str, quote: Option<u8>) -> Result<Shape<'_>, TableError> {
        delimited(Path::new("data.csv"), text, b',', quote, true)
    }

    fn message(text: &str, quote: Option<u8>) -> String {
        scan(text, quote).unwrap_err().to_string()
    }

    #[test]
    fn rows_are_found_across_quoted_line_breaks() {
        let shape = scan(
            "text,\"la\"\"bel\"\r\n\"two\nlines\",a\nthree,b\n\n",
            Some(b'"'),
        )
        .unwrap();
        assert_eq!(shape.header.unwrap(), ["text", "la\"bel"]);
        assert_eq!((shape.width, shape.rows), (2, 2));
        assert_eq!(
            shape.places.of(Path::new("data.csv"), 1).to_string(),
            "data.csv, line 4"
        );
    }

    #[test]
    fn a_broken_line_is_named() {
        let quote = Some(b'"');
        assert_eq!(
            message("a,b\n1,2\n1,2,3\n", quote),
            "data.csv, line 3: 3 fields instead of 2 fields"
        );
        assert_eq!(
            message("a,b\n1\n", quote),
            "data.csv, line 2: 1 field instead of 2 fields"
        );
        assert_eq!(
            message("a,b\n1,2\n\n1,2\n", quote),
            "data.csv, line 3: blank line"
        );
        assert_eq!(
            message("a,b\n1,\"2\n1,2\n", quote),
            "data.csv, line 2: the quote that opens here is never closed"
        );
        assert_eq!(
            message("a,b\n1,2\" pipe\n", quote),
            "data.csv, line 2, field 2: a quote inside a field"
        );
        assert_eq!(
            message("a,b\n1,\"2\"x\n", quote),
            "data.csv, line 2, field 2: a quote inside a field"
        );
        assert_eq!(message("a,b\n", quote), "data.csv has a header and no rows");
        assert_eq!(message("\n", quote), "data.csv is empty");
    }

    #[test]
    fn without_quoting_a_quote_is_a_letter() {
        assert_eq!(scan("a,b\n\"1,2\n1,2\" pipe\n", None).unwrap().rows, 2);
    }

    #[test]
    fn bad_bytes_have_a_line() {
        let error = utf8(Path::new("data.csv"), b"text\nfine\ncaf\xe9\n").unwrap_err();
        assert_eq!(error.to_string(), "data.csv, line 3: not UTF-8 (byte 0xe9)");
        assert_eq!(
            utf8(Path::new("data.csv"), b"\xef\xbb\xbftext").unwrap(),
            "text"
        );
    }

    #[test]
    fn nesting_is_counted_outside_strings_only() {
        assert_eq!(too_deep(&"[".repeat(64)), None);
        assert_eq!(too_deep(&format!("\n{}", "[".repeat(65))), Some(2));
        assert_eq!(
            too_deep(&format!(r#"{{"a\"": "{}"}}"#, "[".repeat(100))),
            None
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_scan_panic_or_hang(text in "[a\",\r\n\u{e9}]{0,40}", quote in any::<bool>(), header in any::<bool>()) {
            let _ = delimited(Path::new("data.csv"), &text, b',', quote.then_some(b'"'), header);
        }
    }
}
