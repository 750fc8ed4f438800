//! Reads the three files of one part of speech: `data.X`, `index.X` and `X.exc`.

use std::collections::HashMap;
use std::path::Path;

use super::super::error::{ThesaurusError, read, shown};
use super::{Entry, Part, positioned};

/// One line of a file of the database, for messages.
#[derive(Clone, Copy)]
struct Line<'a> {
    file: &'a Path,
    number: usize,
}

impl Line<'_> {
    fn wrong(self, found: impl Into<String>, expected: &'static str) -> ThesaurusError {
        ThesaurusError::Database {
            file: self.file.to_owned(),
            line: self.number,
            found: found.into(),
            expected,
        }
    }

    /// The next field, which the format says is there.
    fn next<'a>(
        self,
        fields: &mut impl Iterator<Item = &'a str>,
        expected: &'static str,
    ) -> Result<&'a str, ThesaurusError> {
        fields
            .next()
            .ok_or_else(|| self.wrong("the line ends", expected))
    }

    fn number<'a>(
        self,
        fields: &mut impl Iterator<Item = &'a str>,
        radix: u32,
        expected: &'static str,
    ) -> Result<u32, ThesaurusError> {
        let field = self.next(fields, expected)?;
        u32::from_str_radix(field, radix).map_err(|_| self.wrong(shown(field), expected))
    }

    /// A place in memory as the tables hold it.
    fn place(self, place: usize) -> Result<u32, ThesaurusError> {
        u32::try_from(place)
            .map_err(|_| self.wrong(format!("byte {place}"), "a file of less than 4 GiB"))
    }
}

/// Reads one part of speech. `types` are the synset types that its data may have.
pub(super) fn part(folder: &Path, suffix: &str, types: &[&str]) -> Result<Part, ThesaurusError> {
    let mut part = Part::default();
    let data = folder.join(format!("data.{suffix}"));
    let index = folder.join(format!("index.{suffix}"));
    let exceptions = folder.join(format!("{suffix}.exc"));
    let synsets = read_data(&data, types, &mut part)?;
    read_index(&index, types, &data, &synsets, &mut part)?;
    read_exceptions(&exceptions, &mut part)?;
    Ok(part)
}

/// Calls `take` with each line, its number, and the byte it begins at.
fn each_line(
    file: &Path,
    mut take: impl FnMut(Line<'_>, usize, &str) -> Result<(), ThesaurusError>,
) -> Result<(), ThesaurusError> {
    let bytes = read(file)?;
    let mut offset = 0;
    for (place, piece) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let line = Line {
            file,
            number: place + 1,
        };
        let text = std::str::from_utf8(piece)
            .map_err(|_| line.wrong("bytes that are no UTF-8", "text"))?;
        take(line, offset, text)?;
        offset += piece.len();
    }
    Ok(())
}

/// Where a synset stands in its file.
struct Synset {
    offset: u32,
    line: usize,
    /// How many lines of the index name it: one for each word, whatever its capitals.
    names: u32,
}

/// How many words of a synset are different when neither capitals nor markers count.
fn names(synset: &str) -> u32 {
    let mut names = 0;
    let words = || synset.split(' ').map(|word| positioned(word).0);
    for (place, word) in words().enumerate() {
        let known = words()
            .take(place)
            .any(|other| other.eq_ignore_ascii_case(word));
        names += u32::from(!known);
    }
    names
}

fn read_data(file: &Path, types: &[&str], part: &mut Part) -> Result<Vec<Synset>, ThesaurusError> {
    let mut synsets: Vec<Synset> = Vec::new();
    each_line(file, |line, start, text| {
        // The licence.
        if text.starts_with(' ') {
            return Ok(());
        }
        let mut fields = text.split_whitespace();
        let offset = line.number(&mut fields, 10, "the offset of a synset")?;
        if offset as usize != start {
            return Err(line.wrong(
                format!("a synset of offset {offset} at byte {start}"),
                "each synset at the byte that its offset says",
            ));
        }
        line.number(&mut fields, 10, "the number of a lexicographer file")?;
        let kind = line.next(&mut fields, "a synset type")?;
        if !types.contains(&kind) {
            return Err(line.wrong(shown(kind), "a synset type of this file's part of speech"));
        }
        let count = line.number(&mut fields, 16, "the number of words in hexadecimal")?;
        if count == 0 {
            return Err(line.wrong("no words", "a synset with at least one word"));
        }
        let first = part.words.len();
        for place in 0..count {
            let word = line.next(&mut fields, "as many words as the line says")?;
            line.number(&mut fields, 16, "a hexadecimal number after each word")?;
            if place > 0 {
                part.words.push(' ');
            }
            part.words.push_str(word);
        }
        line.number(&mut fields, 10, "the number of pointers after the words")?;
        if !fields.any(|field| field == "|") {
            return Err(line.wrong("the line ends", "a gloss after `|`"));
        }
        part.ends.push(line.place(part.words.len())?);
        synsets.push(Synset {
            offset,
            line: line.number,
            names: names(part.words.get(first..).unwrap_or("")),
        });
        Ok(())
    })?;
    Ok(synsets)
}

fn read_index(
    file: &Path,
    types: &[&str],
    data: &Path,
    synsets: &[Synset],
    part: &mut Part,
) -> Result<(), ThesaurusError> {
    let mut named = vec![0_u32; synsets.len()];
    each_line(file, |line, _, text| {
        if text.starts_with(' ') {
            return Ok(());
        }
        let mut fields = text.split_whitespace();
        let name = line.next(&mut fields, "a lemma")?;
        let pos = line.next(&mut fields, "a part of speech")?;
        if types.first() != Some(&pos) {
            return Err(line.wrong(shown(pos), "this file's part of speech"));
        }
        let senses = line.number(&mut fields, 10, "the number of synsets")?;
        if senses == 0 {
            return Err(line.wrong("no synsets", "a lemma with at least one synset"));
        }
        let pointers = line.number(&mut fields, 10, "the number of pointer symbols")?;
        for _ in 0..pointers {
            line.next(&mut fields, "as many pointer symbols as the line says")?;
        }
        let again = line.number(&mut fields, 10, "the number of senses")?;
        if again != senses {
            return Err(line.wrong(
                format!("{senses} synsets and {again} senses"),
                "as many synsets as senses",
            ));
        }
        let tagged = line.number(&mut fields, 10, "the number of tagged senses")?;
        if tagged > senses {
            return Err(line.wrong(
                format!("{tagged} tagged senses of {senses}"),
                "no more tagged senses than senses",
            ));
        }
        let first_sense = line.place(part.senses.len())?;
        for _ in 0..senses {
            let offset = line.number(&mut fields, 10, "as many offsets as the line says")?;
            let place = synsets
                .binary_search_by_key(&offset, |synset| synset.offset)
                .map_err(|_| {
                    line.wrong(
                        format!("offset {offset}, where no synset begins"),
                        "offsets of synsets in the data file beside it",
                    )
                })?;
            if let Some(seen) = named.get_mut(place) {
                *seen += 1;
            }
            part.senses.push(line.place(place)?);
        }
        if let Some(more) = fields.next() {
            return Err(line.wrong(shown(more), "the end of the line after the offsets"));
        }
        let start = line.place(part.names.len())?;
        part.names.push_str(name);
        part.entries.push(Entry {
            name: start,
            name_bytes: line.place(name.len())?,
            first_sense,
            senses,
            tagged,
        });
        Ok(())
    })?;
    let amiss = synsets
        .iter()
        .zip(named)
        .find(|(synset, named)| synset.names != *named);
    if let Some((synset, named)) = amiss {
        let line = Line {
            file: data,
            number: synset.line,
        };
        return Err(line.wrong(
            format!(
                "a synset of {} words that {named} lines of the index name",
                synset.names
            ),
            "an index that is whole, with a line for each word",
        ));
    }
    part.index();
    part.entries.shrink_to_fit();
    part.names.shrink_to_fit();
    part.senses.shrink_to_fit();
    part.words.shrink_to_fit();
    part.ends.shrink_to_fit();
    Ok(())
}

fn read_exceptions(file: &Path, part: &mut Part) -> Result<(), ThesaurusError> {
    let mut lemmas_of: HashMap<Box<str>, Vec<Box<str>>> = HashMap::new();
    let mut forms_of: HashMap<Box<str>, Vec<Box<str>>> = HashMap::new();
    each_line(file, |line, _, text| {
        let mut fields = text.split_whitespace();
        let form = line.next(&mut fields, "an irregular form")?;
        let lemmas: Vec<Box<str>> = fields.map(Box::from).collect();
        if lemmas.is_empty() {
            return Err(line.wrong("the line ends", "the lemma of the irregular form"));
        }
        for lemma in &lemmas {
            let forms = forms_of.entry(lemma.clone()).or_default();
            if !forms.iter().any(|known| **known == *form) {
                forms.push(form.into());
            }
        }
        lemmas_of.insert(form.into(), lemmas);
        Ok(())
    })?;
    part.lemmas_of = lemmas_of;
    part.forms_of = forms_of;
    Ok(())
}
