//! A user's own list of synonyms: tab separated, one word a line.
//!
//! Words are looked up in lower case as they stand, without a search for lemmas: a list that should find `cats` has a line
//! for `cats`. The list decides alone: it may hold stop words and numbers.

use std::collections::HashMap;
use std::path::Path;

use super::error::{ThesaurusError, read, shown};

pub(super) type List = HashMap<String, Vec<String>>;

/// Reads a list. Lines may end in CR LF, and the file may begin with a byte order mark.
///
/// # Errors
/// A file that cannot be read or is no UTF-8; a line of one word, with an empty field, or whose word holds white space (no
/// such word would ever be found).
pub(super) fn open(file: &Path) -> Result<List, ThesaurusError> {
    let bytes = read(file)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut list = List::new();
    for (place, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let wrong = |found: String, expected| ThesaurusError::List {
            file: file.to_owned(),
            line: place + 1,
            found,
            expected,
        };
        let line = std::str::from_utf8(line)
            .map_err(|_| wrong("bytes that are no UTF-8".to_owned(), "text"))?
            .trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fields = line.split('\t').map(str::trim);
        let word = fields.next().unwrap_or_default();
        if word.is_empty() || word.contains(char::is_whitespace) {
            return Err(wrong(shown(word), "a single word before the first tab"));
        }
        let synonyms: Vec<&str> = fields.collect();
        if synonyms.is_empty() {
            return Err(wrong(
                format!("{} alone", shown(word)),
                "at least one synonym after a tab",
            ));
        }
        if synonyms.contains(&"") {
            return Err(wrong(
                "an empty field".to_owned(),
                "a synonym after each tab",
            ));
        }
        let known = list.entry(word.to_lowercase()).or_default();
        for synonym in synonyms {
            if !known.iter().any(|other| other == synonym) {
                known.push(synonym.to_owned());
            }
        }
    }
    Ok(list)
}
