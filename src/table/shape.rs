//! Delimited text → where its fields lie, once every line is known to have its fields.
//!
//! One pass over the bytes, which copies no field. Quoting is that of RFC 4180: a quote opens a field only as its first
//! byte, and is doubled inside it. A file that means two things is an error with its line, never a guess.
//!
//! Deliberately absent: values. What a field means is for others to say.

use std::ops::Range;
use std::path::Path;

use super::error::{Fields, Place, TableError, Way};

/// How to find the rows of a file again when one of them turns out to be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Places {
    /// Row n stands in the nth line from `first` on.
    Lines { first: usize },
    /// The line in which each row begins.
    Listed(Vec<usize>),
    /// The same for a nested file, with the way to each row.
    Nested(Vec<Way>),
    /// The file has no lines to speak of.
    Rows,
    /// The same of rows before which there are so many others.
    RowsAfter(usize),
}

impl Places {
    /// The place of a row counted from 0.
    pub(super) fn of(&self, file: &Path, row: usize) -> Place {
        match self {
            Places::Lines { first } => Place::line(file, first + row),
            Places::Listed(lines) => match lines.get(row) {
                Some(&line) => Place::line(file, line),
                None => Place::row(file, row + 1),
            },
            Places::Nested(ways) => match ways.get(row) {
                Some(way) => Place::within(file, way),
                None => Place::row(file, row + 1),
            },
            Places::Rows => Place::row(file, row + 1),
            Places::RowsAfter(before) => Place::row(file, before + row + 1),
        }
    }
}

/// The shape of a delimited file.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) width: usize,
    pub(super) places: Places,
    /// The fields of the wanted columns, by row.
    pub(super) columns: Vec<Vec<Field>>,
}

/// Where a field lies, without the quotes around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) place: Range<usize>,
    /// The quote that is doubled within.
    pub(super) doubled: Option<char>,
}

impl Field {
    /// The field's text, when it is not as it stands in the file.
    pub(super) fn undoubled(&self, text: &str) -> Option<String> {
        let quote = self.doubled?.to_string();
        let inner = text.get(self.place.clone()).unwrap_or_default();
        Some(inner.replace(&quote.repeat(2), &quote))
    }
}

/// The bytes as text, without a byte order mark.
pub(super) fn utf8(file: &Path, bytes: Vec<u8>) -> Result<String, TableError> {
    let mut text = decoded(file, bytes, 1)?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// The bytes of a file from this line on as text.
pub(super) fn decoded(file: &Path, bytes: Vec<u8>, line: usize) -> Result<String, TableError> {
    String::from_utf8(bytes).map_err(|e| {
        let (bytes, from) = (e.as_bytes(), e.utf8_error().valid_up_to());
        let good = bytes.get(..from).unwrap_or_default();
        let line = line + good.iter().filter(|&&byte| byte == b'\n').count();
        let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        let encoding = if marked { "UTF-16" } else { "ISO-8859-1" };
        TableError::NotUtf8 {
            place: Place::line(file, line),
            byte: bytes.get(from).copied().unwrap_or_default(),
            help: format!(
                "convert the file, for example `iconv -f {encoding} -t UTF-8`; or state its `format` if it is not text"
            ),
        }
    })
}

/// Checks that every record of a delimited file has as many fields as the first, and that its quotes pair up. `choose` is
/// shown the header's fields, where there is one, and the number of columns, and says which columns are wanted.
pub(super) fn delimited(
    file: &Path,
    text: &str,
    separator: u8,
    quote: Option<u8>,
    header: bool,
    choose: impl FnOnce(Option<Vec<String>>, usize) -> Result<Vec<usize>, TableError>,
) -> Result<Shape, TableError> {
    let mut records = Records::new(file, separator, quote);
    let empty = || TableError::Empty {
        file: file.to_owned(),
    };
    let first = records.first(text, header, true)?.ok_or_else(empty)?;
    // A broken line is the better news of two.
    let wanted = choose(first.names, first.width);
    let numbers = wanted.as_deref().unwrap_or_default();
    let part = records.part(text, first.read, numbers, true)?;
    let Some(places) = part.places else {
        return Err(TableError::HeaderOnly {
            file: file.to_owned(),
        });
    };
    wanted?;
    Ok(Shape {
        width: first.width,
        places,
        columns: part.columns,
    })
}

/// The records of a delimited file, which comes in one text or in several that follow each other.
#[derive(Debug, Clone)]
pub(super) struct Records<'a> {
    file: &'a Path,
    separator: u8,
    quote: Option<u8>,
    /// The line in which the next record begins.
    pub(super) line: usize,
    /// Once the first record is known.
    width: usize,
    /// Bytes after which a record that is still open is one that never ends.
    pub(super) longest: usize,
    /// The most records that are read at once.
    pub(super) most: usize,
}

/// What the first record says.
pub(super) struct First {
    /// Where it is a header.
    pub(super) names: Option<Vec<String>>,
    pub(super) width: usize,
    /// So many bytes of the text are done with.
    pub(super) read: usize,
}

/// Records that follow each other.
pub(super) struct Part {
    /// The fields of the wanted columns, by row.
    pub(super) columns: Vec<Vec<Field>>,
    /// Of the rows of this part, the first of which has number 0; nothing where there is no row.
    pub(super) places: Option<Places>,
    /// So many bytes of the text are done with.
    pub(super) read: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(file: &'a Path, separator: u8, quote: Option<u8>) -> Self {
        Records {
            file,
            separator,
            quote,
            line: 1,
            width: 0,
            longest: usize::MAX,
            most: usize::MAX,
        }
    }

    /// Whether a record that is open after so many bytes may go on in what follows.
    fn goes_on(&self, bytes: usize, last: bool) -> bool {
        !last && bytes <= self.longest
    }

    fn scan<'t>(&self, text: &'t str, at: usize, last: bool) -> Scan<'t>
    where
        'a: 't,
    {
        // Blank lines may end a file.
        let ends: &[char] = if last { &['\n', '\r'] } else { &[] };
        Scan {
            file: self.file,
            bytes: text.trim_end_matches(ends).as_bytes(),
            at,
            line: self.line,
            separator: self.separator,
            quote: self.quote,
        }
    }

    /// The first record of the file. Nothing where it is not whole in `text`, which is its beginning, all of it if `last`.
    pub(super) fn first(
        &mut self,
        text: &str,
        header: bool,
        last: bool,
    ) -> Result<Option<First>, TableError> {
        let mut scan = self.scan(text, 0, last);
        if scan.bytes.is_empty() {
            return Ok(None);
        }
        let mut fields = Vec::new();
        match scan.record(&mut fields) {
            Err(TableError::UnclosedQuote { .. }) if self.goes_on(text.len(), last) => {
                return Ok(None);
            }
            other => other?,
        }
        self.width = fields.len();
        let name = |field: &Field| {
            let as_written = || text.get(field.place.clone()).unwrap_or_default().to_owned();
            field.undoubled(text).unwrap_or_else(as_written)
        };
        if header {
            self.line = scan.line;
        }
        Ok(Some(First {
            names: header.then(|| fields.iter().map(name).collect()),
            width: self.width,
            read: if header { scan.at } else { 0 },
        }))
    }

    /// The records of `text` from byte `from` on, as many as are read at once. Unless it is the `last` text of the file, it
    /// ends with a line and something follows; of a record that does not end there nothing is read.
    pub(super) fn part(
        &mut self,
        text: &str,
        from: usize,
        numbers: &[usize],
        last: bool,
    ) -> Result<Part, TableError> {
        let mut scan = self.scan(text, from, last);
        let mut columns = vec![Vec::new(); numbers.len()];
        let (mut fields, mut lines) = (Vec::new(), Vec::new());
        let (mut several, mut read) = (false, from);
        while scan.at < scan.bytes.len() && lines.len() < self.most {
            let (line, start) = (scan.line, scan.at);
            fields.clear();
            match scan.record(&mut fields) {
                Err(TableError::UnclosedQuote { .. }) if self.goes_on(text.len() - start, last) => {
                    break;
                }
                other => other?,
            }
            if fields.len() != self.width {
                let place = Place::line(self.file, line);
                let (separator, quote) = (self.separator, self.quote);
                return Err(ragged(place, fields.len(), self.width, separator, quote));
            }
            for (column, &number) in columns.iter_mut().zip(numbers) {
                column.extend(fields.get(number).cloned());
            }
            lines.push(line);
            several |= scan.line > line + 1;
            (read, self.line) = (scan.at.min(text.len()), scan.line);
        }
        let places = lines.first().copied().map(|first| match several {
            true => Places::Listed(lines),
            false => Places::Lines { first },
        });
        Ok(Part {
            columns,
            places,
            read,
        })
    }
}

/// The records of a delimited text up to the first with which something is wrong, and what that is.
pub(super) fn records(
    file: &Path,
    text: &str,
    separator: u8,
    quote: Option<u8>,
) -> (Vec<Vec<Field>>, Option<TableError>) {
    let mut scan = Scan {
        file,
        bytes: text.trim_end_matches(['\n', '\r']).as_bytes(),
        at: 0,
        line: 1,
        separator,
        quote,
    };
    let mut records = Vec::<Vec<Field>>::new();
    while scan.at < scan.bytes.len() {
        let (line, mut fields) = (scan.line, Vec::new());
        if let Err(error) = scan.record(&mut fields) {
            return (records, Some(error));
        }
        let width = records.first().map_or(fields.len(), Vec::len);
        if fields.len() != width {
            let place = Place::line(file, line);
            let error = ragged(place, fields.len(), width, separator, quote);
            return (records, Some(error));
        }
        records.push(fields);
    }
    (records, None)
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

    /// Passes over one record and its line end, and adds its fields.
    fn record(&mut self, fields: &mut Vec<Field>) -> Result<(), TableError> {
        if self.at_end_of_line() {
            return Err(TableError::BlankLine {
                place: Place::line(self.file, self.line),
            });
        }
        loop {
            let field = match self.quote.filter(|_| self.peek() == self.quote) {
                Some(quote) => self.quoted(quote)?,
                None => self.plain(fields.len() + 1)?,
            };
            fields.push(field);
            if self.peek() == Some(self.separator) {
                self.at += 1;
            } else if self.at_end_of_line() {
                self.at += if self.peek() == Some(b'\r') { 2 } else { 1 };
                self.line += 1;
                return Ok(());
            } else {
                return Err(TableError::StrayQuote {
                    place: Place::line(self.file, self.line),
                    field: fields.len(),
                });
            }
        }
    }

    fn plain(&mut self, field: usize) -> Result<Field, TableError> {
        let from = self.at;
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
        Ok(Field {
            place: from..self.at,
            doubled: None,
        })
    }

    fn quoted(&mut self, quote: u8) -> Result<Field, TableError> {
        let opened = self.line;
        self.at += 1;
        let (from, mut doubled) = (self.at, None);
        loop {
            match self.peek() {
                None => {
                    return Err(TableError::UnclosedQuote {
                        place: Place::line(self.file, opened),
                    });
                }
                Some(byte) if byte == quote => {
                    self.at += 1;
                    if self.peek() != Some(quote) {
                        return Ok(Field {
                            place: from..self.at - 1,
                            doubled,
                        });
                    }
                    doubled = Some(char::from(quote));
                }
                Some(b'\n') => self.line += 1,
                Some(_) => {}
            }
            self.at += 1;
        }
    }
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

    fn scan(text: &str, quote: Option<u8>) -> Result<Shape, TableError> {
        let all = |_, width| Ok((0..width).collect());
        delimited(Path::new("data.csv"), text, b',', quote, true, all)
    }

    /// The rows of a file without a header.
    fn fields(text: &str, quote: Option<u8>) -> Result<Vec<Vec<String>>, TableError> {
        let all = |_, width| Ok((0..width).collect());
        let shape = delimited(Path::new("data.csv"), text, b',', quote, false, all)?;
        let field = |field: &Field| match field.undoubled(text) {
            Some(undoubled) => undoubled,
            None => text[field.place.clone()].to_owned(),
        };
        let row = |row: usize| {
            shape
                .columns
                .iter()
                .map(|column| field(&column[row]))
                .collect()
        };
        Ok((0..shape.columns[0].len()).map(row).collect())
    }

    fn message(text: &str, quote: Option<u8>) -> String {
        scan(text, quote).unwrap_err().to_string()
    }

    #[test]
    fn rows_are_found_across_quoted_line_breaks() {
        let text = "text,\"la\"\"bel\"\r\n\"two\nlines\",a\nthree,b\n\n";
        let names = |names: Option<Vec<String>>, _| {
            assert_eq!(names.unwrap(), ["text", "la\"bel"]);
            Ok(vec![1])
        };
        let file = Path::new("data.csv");
        let shape = delimited(file, text, b',', Some(b'"'), true, names).unwrap();
        assert_eq!(shape.width, 2);
        let labels = shape.columns[0]
            .iter()
            .map(|field| &text[field.place.clone()]);
        assert_eq!(labels.collect::<Vec<_>>(), ["a", "b"]);
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
        let shape = scan("a,b\n\"1,2\n1,2\" pipe\n", None).unwrap();
        assert_eq!(shape.columns[0].len(), 2);
    }

    #[test]
    fn bad_bytes_have_a_line() {
        let error = utf8(Path::new("data.csv"), b"text\nfine\ncaf\xe9\n".to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "data.csv, line 3: not UTF-8 (byte 0xe9)");
        assert_eq!(
            utf8(Path::new("data.csv"), b"\xef\xbb\xbftext".to_vec()).unwrap(),
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

    /// polars, which is no stricter, as the oracle. Its header line keeps it from guessing at the first record.
    fn fields_by_polars(text: &str, width: usize, quote: Option<u8>) -> Vec<Vec<String>> {
        use polars::prelude::{CsvReadOptions, DataType, Field, Schema, SerReader};
        let names = (0..width).map(|n| n.to_string()).collect::<Vec<_>>();
        let string = |name: &String| Field::new(name.as_str().into(), DataType::String);
        let body = text.trim_end_matches(['\n', '\r']);
        let input = format!("{}\n{body}\n", names.join(","));
        let frame = CsvReadOptions::default()
            .with_has_header(true)
            .with_schema(Some(std::sync::Arc::new(
                names.iter().map(string).collect::<Schema>(),
            )))
            .map_parse_options(|options| options.with_quote_char(quote).with_missing_is_null(false))
            .into_reader_with_file_handle(std::io::Cursor::new(input))
            .finish()
            .unwrap();
        let field = |name: &String, row| {
            let column = frame.column(name).unwrap().str().unwrap();
            column.get(row).unwrap().to_owned()
        };
        let row = |row| names.iter().map(|name| field(name, row)).collect();
        (0..frame.height()).map(row).collect()
    }

    proptest! {
        #[test]
        fn no_text_makes_the_scan_panic_or_hang(text in "[a\",\r\n\u{e9}]{0,40}", quote in any::<bool>(), header in any::<bool>()) {
            let all = |_, width| Ok((0..width).collect());
            let _ = delimited(Path::new("data.csv"), &text, b',', quote.then_some(b'"'), header, all);
        }

        #[test]
        fn fields_are_those_that_polars_finds(
            rows in prop::collection::vec(prop::collection::vec("[a \",\n\u{e9}]{0,6}", 3), 1..8),
            quote in any::<bool>(),
            crlf in any::<bool>(),
        ) {
            let quote = quote.then_some(b'"');
            let written = |field: &String| match quote {
                Some(_) if field.contains(['"', ',', '\n']) => format!("\"{}\"", field.replace('"', "\"\"")),
                Some(_) => field.clone(),
                None => field.replace([',', '\n'], ""),
            };
            let line = |row: &Vec<String>| row.iter().map(written).collect::<Vec<_>>().join(",");
            let text = rows.iter().map(line).collect::<Vec<_>>().join(if crlf { "\r\n" } else { "\n" });
            prop_assert_eq!(fields(&text, quote).unwrap(), fields_by_polars(&text, 3, quote));
        }
    }
}
