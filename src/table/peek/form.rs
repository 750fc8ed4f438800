//! Which format a text is in, by what it looks like. Its ending decides where its content could be either.
//!
//! Deliberately absent: whether all of it is in that format.

use std::collections::{BTreeSet, HashMap};

use super::{TO_PARAGRAPH, blank_lines, objects};
use crate::table::read::Format;

/// Lines that are looked at. A form that they have, the rest has too.
const LINES: usize = 5000;
/// Of the lines of a form, the share that must be so: corpora have their slips.
const NEARLY_ALL: f64 = 0.95;
/// More tags than any scheme has.
const MANY_TAGS: usize = 500;

pub(super) fn of(text: &str, ending: Option<Format>) -> Format {
    match ending {
        Some(Format::Json | Format::Jsonl | Format::Squad) => {
            of_json(text).or(ending).unwrap_or(Format::Jsonl)
        }
        Some(Format::Conll) => Format::Conll,
        Some(Format::Csv) => match first_line(text) {
            line if !line.contains(',') && line.contains('\t') => Format::Tsv,
            _ => Format::Csv,
        },
        Some(Format::Tsv) => match first_line(text) {
            _ if is_conll(text) => Format::Conll,
            line if !line.contains('\t') && even_width(text, ',') => Format::Csv,
            _ => Format::Tsv,
        },
        Some(Format::SquadContexts | Format::Wordnet | Format::WordnetRelated) => {
            ending.unwrap_or(Format::Text)
        }
        Some(Format::Text | Format::Parquet) | None => {
            let json = of_json(text);
            if let Some(format) = json {
                return format;
            }
            match () {
                () if is_conll(text) => Format::Conll,
                () if even_width(text, '\t') => Format::Tsv,
                () if ending.is_none() && even_width(text, ',') => Format::Csv,
                () => Format::Text,
            }
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The form of a text that is JSON by its first row.
fn of_json(text: &str) -> Option<Format> {
    let start = text.trim_start();
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if start.starts_with('[') {
        let first = objects(text, 1).into_iter().next();
        let first = first.and_then(|place| text.get(place));
        return first.is_some_and(is_json).then_some(Format::Json);
    }
    if !start.starts_with('{') {
        return None;
    }
    let paragraph = objects(text, TO_PARAGRAPH).into_iter().next();
    let paragraph = paragraph.and_then(|place| text.get(place));
    let holds = |key: &str| paragraph.is_some_and(|paragraph| paragraph.contains(key));
    if holds("\"context\"") && holds("\"qas\"") {
        return Some(Format::Squad);
    }
    let line = start.lines().next().unwrap_or_default();
    is_json(line).then_some(Format::Jsonl)
}

/// Whether every line has the same number of fields, two or more. A quote may make it more.
fn even_width(text: &str, separator: char) -> bool {
    let lines: Vec<usize> = (text.lines().take(LINES))
        .map(|line| line.matches(separator).count())
        .collect();
    let first = lines.first().copied().unwrap_or_default();
    let same = lines.iter().filter(|count| **count == first).count();
    first > 0 && lines.len() > 1 && same as f64 >= NEARLY_ALL * lines.len() as f64
}

/// One token a line with its tag behind it: sentences end at blank lines, or tags are those of chunks.
fn is_conll(text: &str) -> bool {
    let skipped = |line: &&str| {
        !line.trim().is_empty() && !line.starts_with("-DOCSTART-") && !line.starts_with("# ")
    };
    let lines: Vec<&str> = text.lines().filter(skipped).take(LINES).collect();
    let Some(first) = lines.first() else {
        return false;
    };
    let tabs = first.contains('\t');
    let fields = |line: &str| -> Vec<String> {
        let own = |field: &str| field.to_owned();
        match tabs {
            true => line.split('\t').map(own).collect(),
            false => line.split_whitespace().map(own).collect(),
        }
    };
    let lines: Vec<Vec<String>> = lines.into_iter().map(fields).collect();
    let width = lines.first().map_or(0, Vec::len);
    if !(2..=12).contains(&width) || lines.iter().any(|fields| fields.len() != width) {
        return false;
    }
    let share = |is: &dyn Fn(&Vec<String>) -> bool| {
        let so = lines.iter().filter(|fields| is(fields)).count();
        so as f64 / lines.len() as f64
    };
    let word = |fields: &Vec<String>| fields.first().is_some_and(|word| !word.contains(' '));
    if share(&word) < NEARLY_ALL {
        return false;
    }
    let mut tags = HashMap::<&str, usize>::new();
    for tag in lines.iter().filter_map(|fields| fields.last()) {
        *tags.entry(tag.as_str()).or_default() += 1;
    }
    let of_chunks = |tag: &str| {
        let mut parts = tag.splitn(2, ['-', '_']);
        let prefix = parts.next().unwrap_or_default();
        tag == "O" || (parts.next().is_some() && "BIESLUM".contains(prefix) && prefix.len() == 1)
    };
    let chunked = share(&|fields| fields.last().is_some_and(|tag| of_chunks(tag)));
    let kinds: BTreeSet<&str> = tags.keys().copied().filter(|tag| *tag != "O").collect();
    if chunked >= NEARLY_ALL && tags.contains_key("O") && !kinds.is_empty() {
        return true;
    }
    // Other tags, of parts of speech say: few, and between blank lines.
    let content = text.trim();
    let sentences = 1 + blank_lines(content).count();
    sentences > 1
        && tags.len() <= MANY_TAGS
        && tags.len() * 2 <= lines.len()
        && lines.len() >= sentences * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_it_looks_like_whatever_its_ending() {
        let sentences = "EU\tB-ORG\nrejects\tO\n\nPeter\tB-PER\nsleeps\tO\n";
        let speech = "EU\tNN\nrejects\tVB\n\nPeter\tNN\nsleeps\tVB\n";
        let squad = r#"{"version": "1", "data": [{"paragraphs": [{"qas": [], "context": "a"}]}]}"#;
        let cases = [
            (sentences, Some(Format::Tsv), Format::Conll),
            (sentences, Some(Format::Text), Format::Conll),
            (speech, Some(Format::Tsv), Format::Conll),
            ("EU B-ORG\nrejects O\n", Some(Format::Text), Format::Conll),
            ("a text\t1\nanother\t0\n", Some(Format::Tsv), Format::Tsv),
            ("a\t1\n\nb\t0\n", Some(Format::Tsv), Format::Tsv),
            ("a text\t1\nanother\t0\n", Some(Format::Csv), Format::Tsv),
            ("a text\t1\nanother\t0\n", Some(Format::Text), Format::Tsv),
            ("a,b\n1,2\n", Some(Format::Tsv), Format::Csv),
            ("a,b\n1,2\n", None, Format::Csv),
            ("a,b\n1,2\n", Some(Format::Text), Format::Text),
            ("One line.\nTwo, say.\n", None, Format::Text),
            (
                "{\"a\": 1}\n{\"a\": 2}\n",
                Some(Format::Json),
                Format::Jsonl,
            ),
            ("[{\"a\": 1},\n{\"a\"", Some(Format::Jsonl), Format::Json),
            (squad, Some(Format::Json), Format::Squad),
            ("{\"a\": [", Some(Format::Json), Format::Json),
            ("{curly} text\n", None, Format::Text),
        ];
        for (text, ending, wanted) in cases {
            assert_eq!(of(text, ending), wanted, "{text:?} {ending:?}");
        }
    }
}
