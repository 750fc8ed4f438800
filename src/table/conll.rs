//! CoNLL files: a token a line with its tag in the last column, blank lines between sentences.
//!
//! The shared tasks of CoNLL and their heirs agree on that much and no more, so what differs is found out and held to: the
//! first line with a token says whether tabs or spaces separate the columns, and how many there are. Between the first
//! column and the last there may be others, which are passed over; a file of one column is tokens without tags. `-DOCSTART-`
//! lines divide documents and hold no token. A line that begins with `# ` before the first token of a sentence is a comment,
//! if it has not as many columns as a token.
//!
//! Deliberately absent: what tags mean, and CoNLL-U, whose first column is a number.

use std::borrow::Cow;
use std::path::Path;

use super::error::{Fields, Place, TableError};
use super::raw::{Kind, Raw, Row};
use super::shape::Places;

/// How the lines of a file are divided.
#[derive(Debug, Clone, Copy)]
struct Columns {
    /// Else runs of spaces and tabs.
    tabs: bool,
    count: usize,
    /// The line that says so.
    line: usize,
}

impl Columns {
    fn of(line: usize, text: &str) -> Self {
        let tabs = text.contains('\t');
        let count = fields(text, tabs).count();
        Columns { tabs, count, line }
    }

    fn fit(&self, text: &str) -> bool {
        fields(text, self.tabs).count() == self.count
    }

    /// The token and the tag of a line; the tag only where the file has tags.
    fn divide<'c>(
        &self,
        text: &'c str,
        place: impl Fn() -> Place,
    ) -> Result<(&'c str, Option<&'c str>), TableError> {
        let found = fields(text, self.tabs).count();
        if found != self.count {
            let between = if self.tabs { "tab" } else { "space" };
            return Err(TableError::Ragged {
                place: place(),
                found: Fields(found),
                wanted: Fields(self.count),
                help: format!(
                    "as on line {}, every line with a token needs a {between} between its {}; a blank line ends a sentence",
                    self.line,
                    Fields(self.count)
                ),
            });
        }
        let mut all = fields(text, self.tabs);
        Ok((all.next().unwrap_or_default(), all.next_back()))
    }
}

fn fields(text: &str, tabs: bool) -> impl DoubleEndedIterator<Item = &str> {
    let separator = move |c: char| c == '\t' || (!tabs && c == ' ');
    let fields = text.split(separator);
    fields.filter(move |field| tabs || !field.is_empty())
}

fn is_comment(text: &str) -> bool {
    text == "#" || text.starts_with("# ")
}

fn divides_documents(text: &str) -> bool {
    text.split_whitespace().next() == Some("-DOCSTART-")
}

/// Reads the sentences of a file. With `skip`, sentences with half a line are left out.
///
/// # Errors
/// A line with more columns or fewer than the others, a tag without a token or a token without a tag, no sentence at all.
pub(super) fn read(file: &Path, text: &str, skip: bool) -> Result<Raw, TableError> {
    let lines = || text.lines().zip(1_usize..);
    let mut tokens =
        lines().filter(|(text, _)| !text.trim().is_empty() && !divides_documents(text));
    let first = tokens.clone().find(|(text, _)| !is_comment(text));
    // Without such a line, what looks like comments are tokens: `#` with a tag each.
    let Some((first, line)) = first.or_else(|| tokens.next()) else {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    };
    let columns = Columns::of(line, first);

    let mut starts = Vec::new();
    let mut sentences = Vec::new();
    let mut sentence = Sentence::default();
    for (text, line) in lines() {
        let begins = sentence.words.is_empty();
        if text.trim().is_empty() || divides_documents(text) {
            end(&mut sentence, &mut sentences);
            continue;
        }
        if begins && is_comment(text) && !columns.fit(text) {
            continue;
        }
        if begins {
            starts.push(line);
        }
        let place = || Place::line(file, line);
        let (word, tag) = columns.divide(text, place)?;
        sentence.add(word, tag, place);
    }
    end(&mut sentence, &mut sentences);
    if sentences.is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }

    let mut raw = Raw::empty(file, Kind::Words, Places::Listed(starts));
    raw.word_lines = true;
    raw.label_column = columns.count.saturating_sub(1).to_string();
    for (number, sentence) in sentences.into_iter().enumerate() {
        raw.add(number, sentence.into_row(), skip)?;
    }
    Ok(raw)
}

fn end<'c>(sentence: &mut Sentence<'c>, sentences: &mut Vec<Sentence<'c>>) {
    if !sentence.words.is_empty() {
        sentences.push(std::mem::take(sentence));
    }
}

#[derive(Default)]
struct Sentence<'c> {
    words: Vec<Cow<'c, str>>,
    tags: Vec<Cow<'c, str>>,
    broken: Option<TableError>,
}

impl<'c> Sentence<'c> {
    fn add(&mut self, word: &'c str, tag: Option<&'c str>, place: impl Fn() -> Place) {
        let found = match (word, tag) {
            ("", Some(tag)) => Some(format!("the tag `{tag}` has no token")),
            (word, Some("")) => Some(format!("the token `{word}` has no tag")),
            _ => None,
        };
        if let (Some(found), None) = (found, &self.broken) {
            let place = place();
            self.broken = Some(TableError::HalfALine { place, found });
        }
        self.words.push(Cow::Borrowed(word));
        self.tags.extend(tag.map(Cow::Borrowed));
    }

    fn into_row(self) -> Result<Row<'c>, TableError> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        Ok(Row {
            tags: (!self.tags.is_empty()).then_some(self.tags),
            words: Some(self.words),
            ..Row::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(text: &str, skip: bool) -> Result<Raw, TableError> {
        read(Path::new("data.conll"), text, skip)
    }

    /// Words and tags of each sentence, and the line that it begins on.
    fn sentences(text: &str) -> Vec<(String, String, String)> {
        let raw = scan(text, false).unwrap();
        let tags = match raw.tags() {
            Some(tags) => tags.map(|tags| tags.join(" ")).collect(),
            None => vec![String::new(); raw.len()],
        };
        let texts = raw.texts().map(str::to_owned).zip(tags);
        let row = |(row, (text, tags))| (text, tags, raw.place(row).to_string());
        texts.enumerate().map(row).collect()
    }

    fn row(text: &str, tags: &str, line: usize) -> (String, String, String) {
        let place = format!("data.conll, line {line}");
        (text.to_owned(), tags.to_owned(), place)
    }

    fn message(text: &str) -> String {
        scan(text, false).unwrap_err().to_string()
    }

    #[test]
    fn two_columns_and_four_are_read_alike() {
        let wanted = [
            row("EU rejects", "B-ORG O", 3),
            row("Peter", "B-PER", 6),
            row("# 5", "O O", 8),
        ];
        let two = "-DOCSTART- O\n\nEU B-ORG\nrejects O\n\nPeter B-PER\n\n# O\n5 O\n";
        let four = "-DOCSTART- -X- -X- O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n\t\nPeter NNP I-NP B-PER\n \n# SYM O O\n5 CD O O\n\n\n";
        assert_eq!(sentences(two), wanted);
        assert_eq!(sentences(four), wanted);
        assert_eq!(sentences(&two.replace(' ', "\t")), wanted);
        assert_eq!(sentences(&four.replace(' ', "  ")), wanted);
        assert_eq!(sentences(&two.replace('\n', "\r\n")), wanted);
    }

    #[test]
    fn with_tabs_a_token_may_hold_spaces() {
        let wanted = [row("New York is   big", "B-LOC O O O", 1)];
        assert_eq!(sentences("New York\tB-LOC\nis\tO\n \tO\nbig\tO"), wanted);
    }

    #[test]
    fn comments_stand_before_the_first_token() {
        let text = "# id = 1\n# text = a b\na\tO\nb\tO\n\n# O\n#\tO\n# c\tB-X\n";
        let wanted = [row("a b", "O O", 3), row("# # c", "O B-X", 7)];
        assert_eq!(sentences(text), wanted);
        assert_eq!(
            message("a\tO\n# not here\nb\tO\n"),
            "data.conll, line 2: 1 field instead of 2 fields"
        );
        // Three columns like a token, so it is one.
        assert_eq!(
            sentences("a X O\n\n# b O\n"),
            [row("a", "O", 1), row("#", "O", 3)]
        );
        assert_eq!(sentences("# O\n# B-X\n"), [row("# #", "O B-X", 1)]);
    }

    #[test]
    fn one_column_is_tokens_without_tags() {
        assert_eq!(
            sentences("a\nb\n\nc\n"),
            [row("a b", "", 1), row("c", "", 4)]
        );
        assert!(scan("a\n", false).unwrap().tags().is_none());
    }

    #[test]
    fn every_token_has_a_line_of_its_own() {
        let raw = scan("# a comment\n\na O\nb B-X\n", false).unwrap();
        assert_eq!(raw.place_of(0, 1).to_string(), "data.conll, line 4");
    }

    #[test]
    fn a_broken_line_is_named() {
        assert_eq!(
            message("a\tO\n\nb\tO\tO\n"),
            "data.conll, line 3: 3 fields instead of 2 fields"
        );
        assert_eq!(
            message("a O\nB-PER\n"),
            "data.conll, line 2: 1 field instead of 2 fields"
        );
        assert_eq!(
            message("a\tO\n\tB-PER\n"),
            "data.conll, line 2: the tag `B-PER` has no token"
        );
        assert_eq!(
            message("a\tO\nb\t\n"),
            "data.conll, line 2: the token `b` has no tag"
        );
        for nothing in ["\n", " \n\t\n", "-DOCSTART- -X- O O\n\n"] {
            assert_eq!(message(nothing), "data.conll is empty");
        }
    }

    #[test]
    fn sentences_with_half_a_line_can_be_left_out() {
        let text = "a\tO\n\nb\tO\n\tB-PER\n\t\nc\tO\nd\t\n\ne\tO\n";
        let raw = scan(text, true).unwrap();
        assert_eq!(raw.texts().collect::<Vec<_>>(), ["a", "e"]);
        assert_eq!(raw.numbers().collect::<Vec<_>>(), [0, 3]);
        let skipped = raw.skipped.values().next().unwrap();
        assert_eq!(skipped.rows, 2);
        assert_eq!(skipped.first.to_string(), "data.conll, line 4");
        assert!(scan("a\tO\nb\n", true).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_scan_panic(text in "[a#\t \n\r\u{a0}-]{0,40}", skip in any::<bool>()) {
            let _ = scan(&text, skip);
        }

        #[test]
        fn what_was_written_is_read(
            written in prop::collection::vec(
                prop::collection::vec(("[a-c\u{e9}#]{1,3}", "O|[BI]-X"), 1..5), 1..6),
            tabs in any::<bool>(),
            middle in any::<bool>(),
        ) {
            let separator = if tabs { "\t" } else { " " };
            let middle = if middle { format!("_{separator}") } else { String::new() };
            let line = |(word, tag): &(String, String)| format!("{word}{separator}{middle}{tag}\n");
            let sentence = |tokens: &Vec<_>| tokens.iter().map(line).collect::<String>();
            let text = written.iter().map(sentence).collect::<Vec<_>>().join("\n");
            let raw = scan(&text, false).unwrap();
            let tags = raw.tags().unwrap();
            let read = raw.words().unwrap().zip(tags).map(|(words, tags)| {
                let own = |text: &str| text.to_owned();
                let pair = |(word, tag)| (own(word), own(tag));
                words.into_iter().zip(tags).map(pair).collect::<Vec<_>>()
            });
            prop_assert_eq!(read.collect::<Vec<_>>(), written);
        }
    }
}
