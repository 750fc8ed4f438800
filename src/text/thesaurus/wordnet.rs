//! The WordNet 3.x database: which words are lemmas of which part of speech, and which synsets they are in.
//!
//! Promise: the first of [`WordNet::bases`] is NLTK's `wordnet.morphy(word, pos)`, and the words of their
//! [`WordNet::synsets`] are the lemma names of `wordnet.synsets(word, pos)`, on the same folder. Of the 21 MB of `data.*`
//! only the words stay in memory (some 15 MB
//! in all). A file that is damaged or cut short is an error with its line: a synset must stand where its offset says, an
//! index may name only synsets that are there, and each word of a synset must have its line in the index. (Lines that are
//! missing from the end of an exception list are not noticed: nothing in the database tells.)
//!
//! Formats: the manual pages wndb(5WN) and morphy(7WN) of WordNet 3.0.
//!
//! Deliberately absent: glosses, pointers between synsets, verb frames, and the counts of `index.sense`. How often a lemma
//! is used in a part of speech is told by how many of its senses occur in the tagged texts (`tagsense_cnt`).

mod read;

use std::collections::HashMap;
use std::path::Path;

use super::error::ThesaurusError;

/// A part of speech. Adjective satellites are adjectives, as in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pos {
    Noun,
    Verb,
    Adjective,
    Adverb,
}

impl Pos {
    pub(crate) const ALL: [Pos; 4] = [Pos::Noun, Pos::Verb, Pos::Adjective, Pos::Adverb];

    /// WordNet's rules of detachment: what an ending may be replaced by to find the lemma.
    fn detachments(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Pos::Noun => &[
                ("s", ""),
                ("ses", "s"),
                ("ves", "f"),
                ("xes", "x"),
                ("zes", "z"),
                ("ches", "ch"),
                ("shes", "sh"),
                ("men", "man"),
                ("ies", "y"),
            ],
            Pos::Verb => &[
                ("s", ""),
                ("ies", "y"),
                ("es", "e"),
                ("es", ""),
                ("ed", "e"),
                ("ed", ""),
                ("ing", "e"),
                ("ing", ""),
            ],
            Pos::Adjective => &[("er", ""), ("est", ""), ("er", "e"), ("est", "e")],
            Pos::Adverb => &[],
        }
    }
}

/// The database.
#[derive(Debug)]
pub(crate) struct WordNet {
    noun: Part,
    verb: Part,
    adjective: Part,
    adverb: Part,
}

/// One part of speech.
#[derive(Debug, Default)]
struct Part {
    /// All names of `entries`, one after the other.
    names: String,
    entries: Vec<Entry>,
    /// A hash table of `entries` by name, with open addresses: one more than the number of the entry, or 0 where there is
    /// none. Its length is a power of two, or 0.
    slots: Vec<u32>,
    /// Numbers of synsets; an entry's stand together, its most frequent sense first.
    senses: Vec<u32>,
    /// The words of all synsets, a space between two.
    words: String,
    /// Where in `words` the synsets end; each begins where the one before it ends.
    ends: Vec<u32>,
    /// The lemmas of irregular forms.
    lemmas_of: HashMap<Box<str>, Vec<Box<str>>>,
    /// The irregular forms of lemmas.
    forms_of: HashMap<Box<str>, Vec<Box<str>>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    name: u32,
    name_bytes: u32,
    first_sense: u32,
    senses: u32,
    /// How many of the senses occur in the tagged texts.
    tagged: u32,
}

/// A lemma: a word of the index in one part of speech.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lemma<'a> {
    pub(super) name: &'a str,
    pub(super) pos: Pos,
    pub(super) tagged: u32,
    senses: &'a [u32],
}

impl WordNet {
    /// Reads the files of `WORDNET_FILES` from `folder`.
    ///
    /// # Errors
    /// A file that cannot be read, or is not as wndb(5WN) says; with its line.
    pub(crate) fn open(folder: &Path) -> Result<Self, ThesaurusError> {
        Ok(WordNet {
            noun: read::part(folder, "noun", &["n"])?,
            verb: read::part(folder, "verb", &["v"])?,
            adjective: read::part(folder, "adj", &["a", "s"])?,
            adverb: read::part(folder, "adv", &["r"])?,
        })
    }

    fn part(&self, pos: Pos) -> &Part {
        match pos {
            Pos::Noun => &self.noun,
            Pos::Verb => &self.verb,
            Pos::Adjective => &self.adjective,
            Pos::Adverb => &self.adverb,
        }
    }

    /// The entry of exactly this name (lower case, underscores for spaces).
    pub(super) fn lemma(&self, name: &str, pos: Pos) -> Option<Lemma<'_>> {
        self.part(pos).lemma(name, pos)
    }

    /// The lemmas that `form` may be a form of: itself first, then those of the exception list, or else those that the rules
    /// of detachment give, in the order of the rules. Each once.
    pub(super) fn bases(&self, form: &str, pos: Pos) -> Vec<Lemma<'_>> {
        let part = self.part(pos);
        let mut found: Vec<Lemma<'_>> = part.lemma(form, pos).into_iter().collect();
        let mut add = |name: &str| {
            if let Some(lemma) = part.lemma(name, pos)
                && found.iter().all(|known| known.name != name)
            {
                found.push(lemma);
            }
        };
        if let Some(lemmas) = part.lemmas_of.get(form) {
            lemmas.iter().for_each(|name| add(name));
            return found;
        }
        let mut name = String::new();
        for (ending, instead) in pos.detachments() {
            if let Some(stem) = form.strip_suffix(ending) {
                name.clear();
                name.push_str(stem);
                name.push_str(instead);
                add(&name);
            }
        }
        found
    }

    /// All lemmas of a part of speech.
    #[cfg(test)]
    pub(super) fn all(&self, pos: Pos) -> impl Iterator<Item = Lemma<'_>> {
        let part = self.part(pos);
        part.entries
            .iter()
            .filter_map(move |entry| part.lemma(part.name(entry), pos))
    }

    /// The lemma of `form`, as NLTK's `wordnet.morphy(form, pos)`: capitals are not looked through.
    #[cfg(test)]
    pub(crate) fn morphy(&self, form: &str, pos: Pos) -> Option<&str> {
        self.bases(form, pos).first().map(|lemma| lemma.name)
    }

    /// The lemma names of all synsets of `word`, as NLTK's
    /// `[s.lemma_names() for s in wordnet.synsets(word, pos)]`: underscores for spaces, capitals as in the database.
    pub(crate) fn lemmas(&self, word: &str, pos: Pos) -> Vec<Vec<&str>> {
        self.bases(&word.to_lowercase(), pos)
            .iter()
            .flat_map(|&lemma| self.synsets(lemma))
            .map(|synset| synset.map(|(name, _)| name).collect())
            .collect()
    }

    /// The synsets of a lemma, its most frequent sense first; each as its words, with where the word may stand.
    pub(super) fn synsets<'a>(
        &'a self,
        lemma: Lemma<'a>,
    ) -> impl Iterator<Item = impl Iterator<Item = (&'a str, Position)>> {
        let part = self.part(lemma.pos);
        lemma
            .senses
            .iter()
            .map(|&number| part.synset(number).split(' ').map(positioned))
    }

    /// The lemmas of an irregular form, as the exception list has them.
    pub(super) fn lemmas_of(&self, form: &str, pos: Pos) -> &[Box<str>] {
        self.part(pos)
            .lemmas_of
            .get(form)
            .map_or(&[], Vec::as_slice)
    }

    /// The irregular forms of a lemma, in the order of the exception list.
    pub(super) fn forms_of(&self, lemma: &str, pos: Pos) -> &[Box<str>] {
        self.part(pos)
            .forms_of
            .get(lemma)
            .map_or(&[], Vec::as_slice)
    }
}

/// Where an adjective may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Anywhere,
    /// Before its noun only: `former`.
    Before,
    /// Not before its noun: `afraid`, `galore`.
    After,
}

/// A word of a synset and its marker, as in `afraid(p)`.
fn positioned(word: &str) -> (&str, Position) {
    if let Some(name) = word.strip_suffix("(a)") {
        (name, Position::Before)
    } else if let Some(name) = word.strip_suffix("(p)").or(word.strip_suffix("(ip)")) {
        (name, Position::After)
    } else {
        (word, Position::Anywhere)
    }
}

impl Part {
    fn name(&self, entry: &Entry) -> &str {
        let start = entry.name as usize;
        let end = start + entry.name_bytes as usize;
        self.names.get(start..end).unwrap_or("")
    }

    fn lemma(&self, name: &str, pos: Pos) -> Option<Lemma<'_>> {
        let entry = self.entries.get(self.find(name)?)?;
        let first = entry.first_sense as usize;
        Some(Lemma {
            name: self.name(entry),
            pos,
            tagged: entry.tagged,
            senses: self.senses.get(first..first + entry.senses as usize)?,
        })
    }

    /// The number of the entry of that name.
    fn find(&self, name: &str) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = hash(name) & mask;
        loop {
            let number = (*self.slots.get(slot)? as usize).checked_sub(1)?;
            if self.name(self.entries.get(number)?) == name {
                return Some(number);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Builds `slots`. Of two entries of one name the later is found, as in NLTK.
    fn index(&mut self) {
        self.slots = vec![0; (2 * self.entries.len()).next_power_of_two()];
        let mask = self.slots.len() - 1;
        for (number, entry) in (1..).zip(&self.entries) {
            let name = self.name(entry);
            let mut slot = hash(name) & mask;
            while let Some(&taken) = self.slots.get(slot).filter(|taken| **taken != 0) {
                let known = self.entries.get(taken as usize - 1);
                if known.is_some_and(|known| self.name(known) == name) {
                    break;
                }
                slot = (slot + 1) & mask;
            }
            if let Some(place) = self.slots.get_mut(slot) {
                *place = number;
            }
        }
    }

    fn synset(&self, number: u32) -> &str {
        let number = number as usize;
        let end = self.ends.get(number).copied().unwrap_or(0) as usize;
        let start = match number.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(0) as usize,
            None => 0,
        };
        self.words.get(start..end).unwrap_or("")
    }
}

/// FNV-1a, folded.
fn hash(name: &str) -> usize {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash ^ (hash >> 15)) as usize
}
