//! The texts of a WordNet database file (`data.noun`, `data.verb`, `data.adj`, `data.adv`): what words mean, examples of
//! their use, and which words are related.
//!
//! A synset gives a row of its words with what they mean, `dog, domestic dog: a member of the genus Canis …`, and a row for each
//! example. Or it gives a row of its words with those of the synsets of the same file that it points at as similar (`&`), as worth
//! seeing too (`^`), as of its group of verbs (`$`), or as more general (`@`): `dreadful, awful: bad`. Format: the manual page
//! wndb(5WN) of WordNet 3.0.
//!
//! Deliberately absent: everything else of the database, which `text::thesaurus` reads: senses, irregular forms. Of pointers,
//! those that say something else than likeness (antonyms, parts, domains), and those to less general synsets, which say the
//! same again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use super::error::{Place, TableError};
use super::raw::{Kind, Raw, Row};
use super::shape::Places;

/// Lines of the licence begin so.
const LICENCE: &str = "  ";
/// What stands before what a synset's words mean.
const GLOSS: &str = "| ";
/// What stands before an example.
const EXAMPLE: &str = "; \"";

/// The pointers to related synsets.
const RELATED: [&str; 4] = ["&", "^", "$", "@"];

/// A line of the file that is not of the licence.
struct Synset<'a> {
    /// Where in the file the line begins, by which others point at it.
    offset: &'a str,
    part_of_speech: &'a str,
    words: Vec<String>,
    /// What stands between the words and the gloss.
    rest: Vec<&'a str>,
    gloss: &'a str,
}

/// Reads the meanings and the examples of a file.
///
/// # Errors
/// A line that is none of the database's; a file without any.
pub(super) fn read(file: &Path, text: &str) -> Result<Raw, TableError> {
    let synsets = synsets(file, text)?;
    let texts = synsets
        .iter()
        .flat_map(|(line, synset)| synset.texts().into_iter().map(move |text| (*line, text)));
    rows(file, texts)
}

/// Reads which words of a file are related.
///
/// # Errors
/// As [`read`]; a pointer that is cut short, or to a synset that is not there; a file in which nothing is related.
pub(super) fn read_related(file: &Path, text: &str) -> Result<Raw, TableError> {
    let synsets = synsets(file, text)?;
    let words: HashMap<&str, &[String]> = synsets
        .iter()
        .map(|(_, synset)| (synset.offset, &synset.words[..]))
        .collect();
    let mut texts = Vec::new();
    for (line, synset) in &synsets {
        let text = synset
            .related(&words)
            .map_err(|message| wrong(file, *line, message))?;
        texts.extend(text.map(|text| (*line, text)));
    }
    rows(file, texts)
}

fn wrong(file: &Path, line: usize, message: String) -> TableError {
    TableError::NotWordnet {
        place: Place::line(file, line),
        message,
    }
}

/// The synsets of a file, each with the number of its line.
fn synsets<'a>(file: &Path, text: &'a str) -> Result<Vec<(usize, Synset<'a>)>, TableError> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.starts_with(LICENCE))
        .map(|(number, line)| match Synset::parse(line) {
            Ok(synset) => Ok((number, synset)),
            Err(message) => Err(wrong(file, number, message.to_owned())),
        })
        .collect()
}

/// Rows of texts, each with its line.
fn rows(file: &Path, texts: impl IntoIterator<Item = (usize, String)>) -> Result<Raw, TableError> {
    let mut raw = Raw::empty(file, Kind::Texts, Places::Rows);
    let mut lines = Vec::new();
    for (line, text) in texts {
        let row = Row {
            text: Cow::Owned(text),
            ..Row::default()
        };
        raw.add(lines.len(), Ok(row), false)?;
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(TableError::Empty {
            file: file.to_owned(),
        });
    }
    raw.places = Places::Listed(lines);
    Ok(raw)
}

impl<'a> Synset<'a> {
    fn parse(line: &'a str) -> Result<Synset<'a>, &'static str> {
        let (data, gloss) = line.split_once(GLOSS).ok_or("no gloss after `|`")?;
        let mut fields = data.split_whitespace();
        let cut = "the line ends before its words";
        let (Some(offset), Some(_), Some(part_of_speech), Some(count)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(cut);
        };
        let count =
            usize::from_str_radix(count, 16).map_err(|_| "no hexadecimal number of words")?;
        let rest: Vec<&str> = fields.collect();
        // Each word has a number that tells it from its namesakes.
        let pairs = rest.chunks_exact(2).take(count);
        let words: Vec<String> = pairs
            .map(|pair| {
                // An adjective may say where it stands: `afraid(p)`.
                let word = pair[0].split_once('(').map_or(pair[0], |(word, _)| word);
                word.replace('_', " ")
            })
            .collect();
        if words.is_empty() || words.len() < count {
            return Err("fewer words than the line says");
        }
        Ok(Synset {
            offset,
            part_of_speech,
            words,
            rest: rest[2 * count..].to_vec(),
            gloss: gloss.trim(),
        })
    }

    /// What its words mean, and examples of their use.
    fn texts(&self) -> Vec<String> {
        let (meaning, examples) = match self.gloss.strip_prefix('"') {
            Some(rest) => ("", Some(rest)),
            None => match self.gloss.split_once(EXAMPLE) {
                Some((meaning, rest)) => (meaning.trim(), Some(rest)),
                None => (self.gloss, None),
            },
        };
        let meaning =
            (!meaning.is_empty()).then(|| format!("{}: {meaning}", self.words.join(", ")));
        let examples = examples.into_iter().flat_map(|rest| rest.split(EXAMPLE));
        let examples = examples.filter_map(|example| {
            let example = example.split('"').next().unwrap_or_default().trim();
            (!example.is_empty()).then(|| example.to_owned())
        });
        meaning.into_iter().chain(examples).collect()
    }

    /// Its words and those of the synsets it points at; nothing where it points at none. `words` are those of the file.
    fn related(&self, words: &HashMap<&str, &[String]>) -> Result<Option<String>, String> {
        let cut = || "the line ends before its pointers".to_owned();
        let (count, pointers) = self.rest.split_first().ok_or_else(cut)?;
        let count: usize = count
            .parse()
            .map_err(|_| format!("`{count}` is no number of pointers"))?;
        if pointers.len() / 4 < count {
            return Err(cut());
        }
        let mut related: Vec<&str> = Vec::new();
        for pointer in pointers.chunks_exact(4).take(count) {
            let (kind, offset, part_of_speech) = (pointer[0], pointer[1], pointer[2]);
            if !RELATED.contains(&kind) || !same_file(part_of_speech, self.part_of_speech) {
                continue;
            }
            let others = words.get(offset);
            let others =
                others.ok_or_else(|| format!("it points at {offset}, where no synset begins"))?;
            related.extend(others.iter().map(String::as_str));
        }
        Ok((!related.is_empty())
            .then(|| format!("{}: {}", self.words.join(", "), related.join(", "))))
    }
}

/// Whether synsets of these parts of speech stand in the same file: satellites (`s`) are adjectives (`a`).
fn same_file(one: &str, other: &str) -> bool {
    let file = |part_of_speech| {
        if part_of_speech == "s" {
            "a"
        } else {
            part_of_speech
        }
    };
    file(one) == file(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "  1 This software and database is being provided to you\n";

    fn texts(text: &str) -> Result<Vec<String>, TableError> {
        let raw = read(Path::new("data.noun"), text)?;
        Ok(raw.texts().map(str::to_owned).collect())
    }

    #[test]
    fn a_synset_gives_its_meaning_and_its_examples() {
        let text = format!(
            "{HEAD}00001740 29 v 03 breathe 0 take_a_breath 1 respire(p) 0 001 * 00005041 v 0000 01 + 02 00 | draw air into, and expel out of, the lungs; \"I can breathe better when the air is clean\"; \"The patient is respiring\"  \n\
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

    fn related(text: &str) -> Result<Vec<String>, TableError> {
        let raw = read_related(Path::new("data.adj"), text)?;
        Ok(raw.texts().map(str::to_owned).collect())
    }

    #[test]
    fn words_stand_beside_those_of_synsets_alike() {
        let text = format!(
            "{HEAD}01125429 00 a 01 bad 0 003 & 01126291 a 0000 ! 01123148 a 0101 ^ 01067193 a 0000 | having undesirable qualities\n\
             01126291 00 s 02 dreadful(a) 0 so_awful 1 002 & 01125429 a 0000 + 04764412 n 0101 | exceptionally bad\n\
             01067193 00 a 01 bad_at 0 000 | not capable\n"
        );
        let wanted = ["bad: dreadful, so awful, bad at", "dreadful, so awful: bad"];
        assert_eq!(related(&text).unwrap(), wanted);
    }

    #[test]
    fn a_pointer_to_nothing_and_one_cut_short_are_errors_with_their_lines() {
        for (pointers, told) in [
            (
                "001 & 99999999 a 0000",
                "it points at 99999999, where no synset begins",
            ),
            ("002 & 01125429 a 0000", "the line ends before its pointers"),
            ("xyz", "`xyz` is no number of pointers"),
            ("", "the line ends before its pointers"),
        ] {
            let error =
                related(&format!("{HEAD}01125429 00 a 01 bad 0 {pointers} | ill\n")).unwrap_err();
            let TableError::NotWordnet { place, message } = error else {
                panic!("{error}");
            };
            assert_eq!(
                (place, &message[..]),
                (Place::line(Path::new("data.adj"), 2), told)
            );
        }
        let alone = format!("{HEAD}01125429 00 a 01 bad 0 000 | ill\n");
        assert!(matches!(related(&alone), Err(TableError::Empty { .. })));
    }

    #[test]
    fn a_line_of_another_file_is_an_error_with_its_number() {
        for line in [
            "entity n 1 3",
            "00001740 03 n zz entity 0 000 | that",
            "1 2 n 02 a 0 | b",
        ] {
            let error = texts(&format!("{HEAD}{line}\n")).unwrap_err();
            let TableError::NotWordnet { place, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(place, Place::line(Path::new("data.noun"), 2));
        }
        assert!(matches!(texts(HEAD), Err(TableError::Empty { .. })));
    }
}
