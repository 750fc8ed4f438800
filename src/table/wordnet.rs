//! The texts of a WordNet database file (`data.noun`, `data.verb`, `data.adj`, `data.adv`): what words mean, and examples of
//! their use.
//!
//! A synset gives a row of its words with what they mean, `dog, domestic dog: a member of the genus Canis …`, and a row for each
//! example. Format: the manual page wndb(5WN) of WordNet 3.0.
//!
//! Deliberately absent: everything else of the database, which `text::thesaurus` reads: senses, pointers, irregular forms.

use std::borrow::Cow;
use std::path::Path;

use super::error::{Place, TableError};
use super::raw::{Kind, Raw, Row};
use super::shape::Places;

/// What stands before what a synset's words mean.
const GLOSS: &str = "| ";
/// What stands before an example.
const EXAMPLE: &str = "; \"";

/// Reads the meanings and the examples of a file.
///
/// # Errors
/// A line that is none of the database's; a file without any.
pub(super) fn read(file: &Path, text: &str) -> Result<Raw, TableError> {
    let mut raw = Raw::empty(file, Kind::Texts, Places::Rows);
    let mut lines = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        // The licence.
        if line.starts_with("  ") {
            continue;
        }
        let wrong = |message: &str| TableError::NotWordnet {
            place: Place::line(file, number),
            message: message.to_owned(),
        };
        let row = |text: String| Row {
            text: Cow::Owned(text),
            ..Row::default()
        };
        for text in synset(line).map_err(wrong)? {
            raw.add(lines.len(), Ok(row(text)), false)?;
            lines.push(number);
        }
    }
    if lines.is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    raw.places = Places::Listed(lines);
    Ok(raw)
}

/// The texts of a line.
fn synset(line: &str) -> Result<Vec<String>, &'static str> {
    let (data, gloss) = line.split_once(GLOSS).ok_or("no gloss after `|`")?;
    let mut fields = data.split_whitespace().skip(3);
    let count = fields.next().ok_or("the line ends before its words")?;
    let count = usize::from_str_radix(count, 16).map_err(|_| "no hexadecimal number of words")?;
    let words: Vec<String> = fields
        .step_by(2)
        .take(count)
        .map(|word| {
            // An adjective may say where it stands: `afraid(p)`.
            let word = word.split_once('(').map_or(word, |(word, _)| word);
            word.replace('_', " ")
        })
        .collect();
    if words.is_empty() || words.len() < count {
        return Err("fewer words than the line says");
    }
    let gloss = gloss.trim();
    let (meaning, examples) = match gloss.strip_prefix('"') {
        Some(rest) => ("", Some(rest)),
        None => match gloss.split_once(EXAMPLE) {
            Some((meaning, rest)) => (meaning.trim(), Some(rest)),
            None => (gloss, None),
        },
    };
    let meaning = (!meaning.is_empty()).then(|| format!("{}: {meaning}", words.join(", ")));
    let examples = examples.into_iter().flat_map(|rest| rest.split(EXAMPLE));
    let examples = examples.filter_map(|example| {
        let example = example.split('"').next().unwrap_or_default().trim();
        (!example.is_empty()).then(|| example.to_owned())
    });
    Ok(meaning.into_iter().chain(examples).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LICENCE: &str = "  1 This software and database is being provided to you\n";

    fn texts(text: &str) -> Result<Vec<String>, TableError> {
        let raw = read(Path::new("data.noun"), text)?;
        Ok(raw.texts().map(str::to_owned).collect())
    }

    #[test]
    fn a_synset_gives_its_meaning_and_its_examples() {
        let text = format!(
            "{LICENCE}00001740 29 v 03 breathe 0 take_a_breath 1 respire(p) 0 001 * 00005041 v 0000 01 + 02 00 | draw air into, and expel out of, the lungs; \"I can breathe better when the air is clean\"; \"The patient is respiring\"  \n\
             00002098 00 a 01 unable 0 000 | (usually followed by `to') not having the means; also with a \"quote\" in it  \n\
             00002312 00 a 01 dorsal 0 000 | \"the dorsal fin\"  \n"
        );
        let wanted = [
            "breathe, take a breath, respire: draw air into, and expel out of, the lungs",
            "I can breathe better when the air is clean",
            "The patient is respiring",
            "unable: (usually followed by `to') not having the means; also with a \"quote\" in it",
            "the dorsal fin",
        ];
        assert_eq!(texts(&text).unwrap(), wanted);
    }

    #[test]
    fn a_line_of_another_file_is_an_error_with_its_number() {
        for line in [
            "entity n 1 3",
            "00001740 03 n zz entity 0 000 | that",
            "1 2 n 02 a 0 | b",
        ] {
            let error = texts(&format!("{LICENCE}{line}\n")).unwrap_err();
            let TableError::NotWordnet { place, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(place, Place::line(Path::new("data.noun"), 2));
        }
        assert!(matches!(texts(LICENCE), Err(TableError::Empty { .. })));
    }
}
