//! What is wrong with a spec, at its place.
//!
//! Every check adds [`Problem`]s to a list, so that one reading of a file reports all of them. A problem knows its text
//! (the file, or one `--set` argument) and its span there; rendering is miette's.
//!
//! Deliberately absent: the checks themselves.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{LabeledSpan, NamedSource, SourceCode};
use serde::Serialize;

use crate::stage::Meant;

/// A place in one of the texts a pipeline was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Index into [`Sources`]: 0 is the file, then come those that it extends and one for each `--set`.
    pub source: usize,
    /// Bytes.
    pub span: Range<usize>,
}

/// The texts a pipeline was read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    texts: Vec<(String, Arc<str>)>,
}

impl Sources {
    /// Adds a text; the result is its index.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> usize {
        self.texts.push((name.into(), text.into()));
        self.texts.len() - 1
    }

    pub fn text(&self, source: usize) -> &str {
        self.texts.get(source).map_or("", |(_, text)| text)
    }

    pub fn name(&self, source: usize) -> &str {
        self.texts.get(source).map_or("", |(name, _)| name)
    }
}

/// One thing that is wrong, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// The whole sentence, for a reader who sees nothing else.
    pub message: String,
    /// A few words beside the caret: what was expected here.
    pub label: String,
    pub help: Option<String>,
    /// What was meant, where a slip of the fingers is likely.
    pub meant: Option<Meant>,
}

impl Problem {
    pub fn new(place: &Place, message: impl Into<String>, label: impl Into<String>) -> Self {
        Problem {
            place: place.clone(),
            message: message.into(),
            label: label.into(),
            help: None,
            meant: None,
        }
    }

    #[must_use]
    pub fn meant(mut self, meant: Option<Meant>) -> Self {
        self.meant = meant;
        self
    }

    /// Where the misspelt word stands, and the word to write there. It is looked for in the problem's place, then before and
    /// behind it on the same line: the place of a field may be its value, or its key.
    pub fn replacement(&self, sources: &Sources) -> Option<(Place, String)> {
        let Meant { found, meant } = self.meant.as_ref()?;
        let text = sources.text(self.place.source);
        let Range { start, end } = self.place.span;
        let place = |start: usize| Place {
            source: self.place.source,
            span: start..start + found.len(),
        };
        let inside = text.get(start..end)?;
        let line = text
            .get(..start)?
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let before = text.get(line..start)?;
        let behind = text.get(end..)?.lines().next().unwrap_or_default();
        let at = whole_word(inside, found)
            .next()
            .map(|at| start + at)
            .or_else(|| whole_word(before, found).last().map(|at| line + at))
            .or_else(|| whole_word(behind, found).next().map(|at| end + at))?;
        Some((place(at), meant.clone()))
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        let help = help.into();
        self.help = (!help.is_empty()).then_some(help);
        self
    }

    /// The problem as a diagnostic that miette can draw.
    pub fn draw(&self, sources: &Sources) -> Drawn {
        let text = sources.text(self.place.source);
        Drawn {
            problem: self.clone(),
            span: self.shown(sources),
            text: NamedSource::new(masked(sources.name(self.place.source)), masked(text)),
        }
    }

    /// What is underlined: bytes of the problem's text.
    pub fn shown(&self, sources: &Sources) -> Range<usize> {
        let text = sources.text(self.place.source);
        // At the end of the text there is nothing to point at, so the caret steps back to the last thing written.
        let last = text
            .trim_end()
            .char_indices()
            .next_back()
            .map_or(0, |(at, _)| at);
        let start = self.place.span.start.min(last);
        let end = self.place.span.end.min(text.len()).max(start);
        // A caret over several lines hides the text it points at, so it stops at the end of the first.
        let end = text[start..end].find('\n').map_or(end, |line| start + line);
        start..end
    }

    /// Line and column, both from 1, columns in characters.
    pub fn line_and_column(&self, sources: &Sources) -> (usize, usize) {
        let text = sources.text(self.place.source);
        let before = &text[..self.place.span.start.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    /// The problem as a line by which a GitHub workflow annotates a change
    /// (<https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>).
    pub fn annotation(&self, sources: &Sources) -> String {
        let escaped = |text: &str| {
            let text = text.replace('%', "%25");
            text.replace('\r', "%0D").replace('\n', "%0A")
        };
        let (line, column) = self.line_and_column(sources);
        let file = masked(sources.name(self.place.source));
        let file = escaped(&file).replace(':', "%3A").replace(',', "%2C");
        let mut message = masked(&self.message);
        if let Some(help) = &self.help {
            message.push_str(&format!("\nhelp: {help}"));
        }
        format!(
            "::error file={file},line={line},col={column},title=refit::{}\n",
            escaped(&message)
        )
    }

    /// The problem for programs.
    pub fn to_json(&self, sources: &Sources) -> ProblemJson {
        let (line, column) = self.line_and_column(sources);
        ProblemJson {
            file: masked(sources.name(self.place.source)),
            line,
            column,
            start: self.place.span.start,
            end: self.place.span.end,
            message: masked(&self.message),
            expected: self.label.clone(),
            help: self.help.clone(),
        }
    }
}

/// A problem as `refit check --json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct ProblemJson {
    /// The spec's path, or the `--set` argument.
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// Byte offsets of the span.
    pub start: usize,
    pub end: usize,
    pub message: String,
    pub expected: String,
    pub help: Option<String>,
}

/// A problem with its text, ready to be printed.
#[derive(Debug, thiserror::Error)]
pub struct Drawn {
    problem: Problem,
    span: Range<usize>,
    text: NamedSource<String>,
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl miette::Diagnostic for Drawn {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem
            .help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.text)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = (!self.problem.label.is_empty()).then(|| self.problem.label.clone());
        Some(Box::new(std::iter::once(LabeledSpan::new(
            label,
            self.span.start,
            self.span.len(),
        ))))
    }
}

/// Where `word` stands in `text`, and is no part of a longer word.
fn whole_word<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let alone = move |at: usize| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    };
    let all = text.match_indices(word).map(|(at, _)| at);
    all.filter(move |&at| !word.is_empty() && alone(at))
}

/// The text with the credentials of every URL in it blotted out, byte for byte, so that spans stay where they were.
pub fn masked(text: &str) -> String {
    let mut masked = text.to_owned();
    let mut from = 0;
    while let Some(found) = masked[from..].find("://") {
        let start = from + found + 3;
        let authority =
            masked[start..].find(|c: char| c == '/' || c == '"' || c == '\'' || c.is_whitespace());
        let end = authority.map_or(masked.len(), |length| start + length);
        if let Some(at) = masked[start..end].rfind('@') {
            masked.replace_range(start..start + at, &"*".repeat(at));
        }
        from = end;
    }
    masked
}

/// The name closest to `wanted`, when one is close enough to be a slip of the fingers.
pub fn did_you_mean<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    known
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&wanted, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, name)| *distance <= 1 + name.len().min(wanted.len()) / 4)
        .min()
        .map(|(_, name)| name)
}

/// `a`, `b` or `c`.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>, word: &str) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["learning_rate", "weight_decay", "epochs"];
        assert_eq!(did_you_mean("learnig_rate", known), Some("learning_rate"));
        assert_eq!(did_you_mean("epoch", known), Some("epochs"));
        assert_eq!(did_you_mean("dropout", known), None);
    }

    #[test]
    fn what_was_meant_replaces_the_whole_word_and_nothing_else() {
        let text = "inputs = { data = 1.0, dat = 0.5 }\ninput = \"dat\"\n";
        let mut sources = Sources::default();
        sources.add("a.toml", text);
        let replaced = |value: &str| {
            let start = text.rfind(value).unwrap();
            let place = Place {
                source: 0,
                span: start..start + value.len(),
            };
            let problem = Problem::new(&place, "m", "l").meant(Some(Meant::new("dat", "data")));
            let (place, word) = problem.replacement(&sources)?;
            let mut text = text.to_owned();
            text.replace_range(place.span, &word);
            Some(text)
        };
        assert_eq!(
            replaced("\"dat\"").unwrap(),
            "inputs = { data = 1.0, dat = 0.5 }\ninput = \"data\"\n"
        );
        assert_eq!(
            replaced("0.5").unwrap(),
            "inputs = { data = 1.0, data = 0.5 }\ninput = \"dat\"\n"
        );
        assert_eq!(
            replaced("inputs").unwrap(),
            "inputs = { data = 1.0, data = 0.5 }\ninput = \"dat\"\n"
        );
        assert_eq!(replaced("{ data = 1.0, "), replaced("inputs"));
    }

    #[test]
    fn credentials_are_never_drawn() {
        let text = "train = [\"https://user:geheim@host/x.csv\", \"s3://bucket/@x\"]";
        let masked = masked(text);
        assert!(!masked.contains("geheim") && masked.contains("s3://bucket/@x"));
        assert_eq!(masked.len(), text.len());
    }

    #[test]
    fn columns_count_characters() {
        let mut sources = Sources::default();
        sources.add("a.toml", "é = 1\nü = x");
        let problem = Problem::new(
            &Place {
                source: 0,
                span: 12..13,
            },
            "m",
            "l",
        );
        assert_eq!(problem.line_and_column(&sources), (2, 5));
    }
}
