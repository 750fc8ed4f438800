//! Synonyms for the words of running English text, as "synonym replacement" needs them (EDA; Wei and Zou 2019,
//! "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks").
//!
//! A [`Thesaurus`] is WordNet's database (`wordnet`) or a user's list (`list`). With WordNet a word is read in its
//! context (`reading`: part of speech, lemma, form), the lemmas of the synsets of that reading are taken, the most
//! frequent sense first, and each is put into the form of the word (`inflect`), its capitals and its punctuation
//! (`shape`). Function words (`stop`) are left alone. The answer depends on nothing but the files and the arguments.
//!
//! Choices, with what EDA does: synonyms of more than one word are given, as in EDA; all senses count, as in EDA; but a
//! noun is not replaced by a verb, nor `ran` by `function`, which EDA does. Names (synonyms with capitals) are given for
//! words that are written as the name is, in the middle of a sentence. After `a` only what begins with a consonant is
//! given, after `an` only what begins with a vowel.
//!
//! A [`Hole`] is a word's place, for a language model to say what may stand there.
//!
//! Deliberately absent: the choice among the synonyms and the words to protect, which are the caller's; a choice between
//! the senses of one reading; and languages other than English.

mod error;
mod hole;
mod inflect;
mod list;
mod reading;
mod shape;
mod stop;
mod wordnet;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use error::ThesaurusError;
pub use hole::Hole;

use list::List;
use reading::Reading;
use shape::{Case, Peeled, case, cased, peel};
use wordnet::{Pos, Position, WordNet};

/// Where synonyms come from.
#[derive(Debug)]
pub struct Thesaurus(Source);

#[derive(Debug)]
enum Source {
    WordNet(Box<WordNet>),
    List(List),
}

impl Thesaurus {
    /// The names of the files that [`Thesaurus::wordnet`] reads, in order.
    pub const WORDNET_FILES: [&str; 12] = [
        "adj.exc",
        "adv.exc",
        "data.adj",
        "data.adv",
        "data.noun",
        "data.verb",
        "index.adj",
        "index.adv",
        "index.noun",
        "index.verb",
        "noun.exc",
        "verb.exc",
    ];

    /// The files of a WordNet database in `folder`, by their names; the first that is missing otherwise.
    pub fn wordnet_files(
        folder: &Path,
    ) -> Result<[(&'static str, PathBuf); Self::WORDNET_FILES.len()], &'static str> {
        let files = Self::WORDNET_FILES.map(|name| (name, folder.join(name)));
        match files.iter().find(|(_, path)| !path.is_file()) {
            Some((name, _)) => Err(name),
            None => Ok(files),
        }
    }

    /// Reads a folder of the WordNet 3.x database.
    ///
    /// # Errors
    /// A file that cannot be read, or that is damaged or cut short; with its line.
    pub fn wordnet(folder: &Path) -> Result<Self, ThesaurusError> {
        Ok(Thesaurus(Source::WordNet(Box::new(WordNet::open(folder)?))))
    }

    /// Reads a list of synonyms: on each line a word and then its synonyms, with a tab between. A word may have several
    /// lines; blank lines and lines that begin with `#` are skipped. Words are found in lower case as they stand, whatever
    /// their form, and the list alone decides: stop words and numbers in it are replaced too.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that is not like that.
    pub fn tsv(path: &Path) -> Result<Self, ThesaurusError> {
        Ok(Thesaurus(Source::List(list::open(path)?)))
    }

    /// What may stand for `words[place]`, where `words` are what white space separates in a text: in the word's form,
    /// capitals and punctuation, in a fixed order (the most frequent sense first), each once, never the word itself. A
    /// synonym of several words holds single spaces.
    ///
    /// Empty for function words (and `going` or `used` before `to`), numbers, words of mixed capitals (`iPhone`), words
    /// that are not known or have no synonym, and a `place` past the end. (A list decides by itself which words it holds.)
    pub fn synonyms(&self, words: &[&str], place: usize) -> Vec<String> {
        let Some(&word) = words.get(place) else {
            return Vec::new();
        };
        let peeled = peel(word);
        let case = case(peeled.core);
        if peeled.core.is_empty() || case == Case::Mixed {
            return Vec::new();
        }
        let found = match &self.0 {
            Source::WordNet(wordnet) => from_wordnet(wordnet, peeled, case, words, place),
            Source::List(list) => from_list(list, peeled, case),
        };
        let mut synonyms: Vec<String> = Vec::new();
        let own = peeled.core.to_lowercase();
        for synonym in found {
            if synonym.to_lowercase() == own {
                continue;
            }
            let Peeled {
                before,
                ending,
                after,
                ..
            } = peeled;
            let whole = format!("{before}{synonym}{ending}{after}");
            if !synonyms.contains(&whole) {
                synonyms.push(whole);
            }
        }
        synonyms
    }
}

impl Thesaurus {
    /// The words that mean the same as `word` in any of its senses and parts of speech, whatever stands around it: of
    /// WordNet the names of single words in its synsets, `word`'s own lemma among them.
    pub fn of_any_sense(&self, word: &str) -> Vec<String> {
        match &self.0 {
            Source::WordNet(wordnet) => {
                let synsets = Pos::ALL
                    .into_iter()
                    .flat_map(|pos| wordnet.lemmas(word, pos));
                let names = synsets.flatten().filter(|name| !name.contains('_'));
                names.map(str::to_owned).collect()
            }
            Source::List(list) => list.get(&word.to_lowercase()).cloned().unwrap_or_default(),
        }
    }
}

fn from_list(list: &List, peeled: Peeled<'_>, case: Case) -> Vec<String> {
    list.get(&peeled.core.to_lowercase())
        .into_iter()
        .flatten()
        .map(|synonym| cased(synonym, case))
        .collect()
}

/// A word is replaced if it is at least that long, in letters.
const SHORTEST: usize = 2;

fn from_wordnet(
    wordnet: &WordNet,
    peeled: Peeled<'_>,
    case: Case,
    words: &[&str],
    place: usize,
) -> Vec<String> {
    let core = peeled.core.to_lowercase();
    let is_word = core.len() >= SHORTEST
        && core
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if !is_word || stop::is_stop(&core) {
        return Vec::new();
    }
    let next = words.get(place + 1).map(|word| word.to_lowercase());
    if next.as_deref() == Some("to") && stop::contains(stop::BEFORE_TO, &core) {
        return Vec::new();
    }
    let possessive = !peeled.ending.is_empty();
    let Some(reading) = reading::reading(wordnet, &core, possessive, words, place) else {
        return Vec::new();
    };
    let named = match case {
        // In a text of capitals only, capitals say nothing.
        Case::Upper => words.iter().any(|word| word.contains(char::is_lowercase)),
        _ => case == Case::Capitalised && !begins_sentence(words, place),
    };
    let article = place.checked_sub(1).and_then(|before| words.get(before));
    let vowel = match article.map(|word| word.to_lowercase()).as_deref() {
        Some("a") => Some(false),
        Some("an") => Some(true),
        _ => None,
    };
    candidates(wordnet, &reading, case, named)
        .into_iter()
        .filter(|synonym| vowel.is_none_or(|vowel| shape::begins_with_vowel(synonym) == vowel))
        .collect()
}

fn begins_sentence(words: &[&str], place: usize) -> bool {
    let before = place.checked_sub(1).and_then(|before| words.get(before));
    before.is_none_or(|word| word.contains(shape::is_sentence_end) || peel(word).core.is_empty())
}

/// The other words of the reading's synsets, in its form and case. `named` says that a name may be meant.
fn candidates(wordnet: &WordNet, reading: &Reading<'_>, case: Case, named: bool) -> Vec<String> {
    let lemma = reading.lemma;
    let mut is_named = false;
    let mut names = Vec::new();
    let mut words = Vec::new();
    for synset in wordnet.synsets(lemma) {
        let synset: Vec<(&str, Position)> = synset.collect();
        let own = synset
            .iter()
            .map(|(name, _)| *name)
            .find(|name| name.eq_ignore_ascii_case(lemma.name));
        let own_case = own.map_or(Case::Lower, shape::case);
        let is_name = own_case != Case::Lower;
        if is_name && !(named && own_case == case) {
            continue;
        }
        is_named |= is_name;
        for &(name, position) in &synset {
            let fits = match position {
                Position::Anywhere => true,
                // Such adjectives are not compared: `former`, `main`.
                Position::Before => reading.before_noun && reading.form == inflect::Form::Base,
                Position::After => !reading.before_noun,
            };
            if fits && !name.eq_ignore_ascii_case(lemma.name) {
                candidate(
                    wordnet,
                    reading,
                    name,
                    is_name,
                    case,
                    if is_name { &mut names } else { &mut words },
                );
            }
        }
    }
    // A word that is written as a name is one.
    if is_named { names } else { words }
}

fn candidate(
    wordnet: &WordNet,
    reading: &Reading<'_>,
    name: &str,
    is_name: bool,
    case: Case,
    into: &mut Vec<String>,
) {
    let Reading { lemma, form, .. } = *reading;
    let phrase = name.replace('_', " ");
    if is_name {
        // `Robert Brown` for `Brown` would double what stands beside it.
        let own = phrase
            .split(' ')
            .any(|word| word.eq_ignore_ascii_case(lemma.name));
        if own {
            return;
        }
    } else if phrase.contains(char::is_uppercase) {
        return;
    }
    // Roman numerals and symbols.
    if phrase.len() < SHORTEST && !phrase.bytes().all(|byte| byte.is_ascii_digit()) {
        return;
    }
    let lower = phrase.to_lowercase();
    let base_noun = lemma.pos == Pos::Noun && form == inflect::Form::Base;
    if base_noun
        && inflect::is_plural_lemma(wordnet, &lower)
            != inflect::is_plural_lemma(wordnet, lemma.name)
    {
        return;
    }
    if let Some(synonym) = inflect::inflected(wordnet, &phrase, lemma.pos, form) {
        into.push(if is_name {
            synonym
        } else {
            cased(&synonym, case)
        });
    }
}
