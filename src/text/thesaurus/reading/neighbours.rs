//! What the words beside a word are, as far as they tell how it is read.

use super::super::shape::{is_clause_end, peel};
use super::super::stop;
use super::super::wordnet::{Pos, WordNet};
use super::{frequency, from_ending};

/// What stands to the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Start,
    Determiner(Number),
    /// `that` and `which`: a determiner, or the subject of a relative clause.
    Relative,
    Preposition,
    To,
    Modal,
    /// A pronoun, and whether its verb takes -s.
    Subject(bool),
    Be,
    Have,
    Degree,
    Content(Pos),
    /// A noun in -s.
    Nouns,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    One,
    Many,
    Any,
}

/// What stands to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    End,
    /// A determiner, possessive, or pronoun.
    Object,
    To,
    Of,
    By,
    Auxiliary,
    Preposition,
    Content(Pos),
    Other,
}

/// How many words are looked through.
const MOST_SKIPPED: usize = 2;

/// What the words before the word at `place` say of it.
pub(super) fn left(wordnet: &WordNet, words: &[&str], place: usize) -> Left {
    if words
        .get(place)
        .is_some_and(|word| peel(word).before.contains(is_clause_end))
    {
        return Left::Start;
    }
    let mut skipped = 0;
    for word in words.iter().take(place).rev() {
        let peeled = peel(word);
        if peeled.after.contains(is_clause_end)
            || (peeled.core.is_empty() && word.contains(is_clause_end))
        {
            return Left::Start;
        }
        let core = lower(peeled.core);
        let through =
            stop::contains(stop::SKIPPED, whole(&core, word)) || is_adverb(wordnet, &core);
        if through && skipped < MOST_SKIPPED {
            skipped += 1;
            continue;
        }
        if !peeled.ending.is_empty() && !stop::contains(stop::BE, &lower(word)) {
            return Left::Determiner(Number::Any);
        }
        let before = place
            .checked_sub(skipped + 2)
            .and_then(|place| words.get(place));
        let found = left_word(wordnet, whole(&core, word), before.copied());
        if peeled.before.contains(is_clause_end) && found == Left::Other {
            return Left::Start;
        }
        return found;
    }
    Left::Start
}

/// The word itself where it is a piece of a contraction (`'ll`, `n't`), else its core.
fn whole<'a>(core: &'a str, word: &'a str) -> &'a str {
    if word.starts_with('\'') && word.len() <= 3 {
        word
    } else {
        core
    }
}

fn lower(core: &str) -> String {
    core.to_lowercase().replace('’', "'")
}

fn is_adverb(wordnet: &WordNet, core: &str) -> bool {
    core.ends_with("ly") && usual(wordnet, core) == Some(Pos::Adverb)
}

/// `before` is the word before that, which tells `it 's` from `the film 's`.
fn left_word(wordnet: &WordNet, word: &str, before: Option<&str>) -> Left {
    use stop::contains;
    if word == "to" {
        Left::To
    } else if matches!(word, "that" | "which") {
        Left::Relative
    } else if word == "'s" && before.is_some_and(|before| stop::is_stop(&lower(before))) {
        Left::Be
    } else if word == "'s" || contains(stop::POSSESSIVES, word) {
        Left::Determiner(Number::Any)
    } else if contains(stop::DETERMINERS, word) {
        Left::Determiner(if contains(stop::SINGULAR, word) {
            Number::One
        } else if contains(stop::PLURAL, word) {
            Number::Many
        } else {
            Number::Any
        })
    } else if contains(stop::MODALS, word) {
        Left::Modal
    } else if contains(stop::BE, word) {
        Left::Be
    } else if contains(stop::HAVE, word) {
        Left::Have
    } else if contains(stop::THIRD, word) {
        Left::Subject(true)
    } else if contains(stop::OTHERS, word) {
        Left::Subject(false)
    } else if contains(stop::DEGREES, word) {
        Left::Degree
    } else if contains(stop::PREPOSITIONS, word) {
        Left::Preposition
    } else if stop::is_stop(word) {
        Left::Other
    } else {
        match usual(wordnet, word) {
            Some(Pos::Noun) if word.ends_with('s') && !word.ends_with("ss") => Left::Nouns,
            Some(pos) => Left::Content(pos),
            None => Left::Other,
        }
    }
}

/// What the next word is to the word at `place`, and whether it may be a noun.
pub(super) fn right(wordnet: &WordNet, words: &[&str], place: usize) -> Right {
    use stop::contains;
    let ended = words
        .get(place)
        .is_none_or(|word| peel(word).after.contains(is_clause_end));
    let Some(next) = words.get(place + 1).filter(|_| !ended) else {
        return Right::End;
    };
    let peeled = peel(next);
    if peeled.core.is_empty() || peeled.before.contains(is_clause_end) {
        return Right::End;
    }
    let core = lower(peeled.core);
    let word = whole(&core, next);
    if word == "of" {
        Right::Of
    } else if word == "to" {
        Right::To
    } else if matches!(word, "more" | "most" | "less" | "enough" | "much") {
        Right::Object
    } else if word == "by" {
        Right::By
    } else if word == "'s"
        || [stop::BE, stop::HAVE, stop::MODALS]
            .iter()
            .any(|list| contains(list, word))
    {
        Right::Auxiliary
    } else if [stop::DETERMINERS, stop::POSSESSIVES, stop::OBJECTS]
        .iter()
        .any(|list| contains(list, word))
        && !matches!(word, "that" | "which" | "what" | "whatever" | "whose")
    {
        Right::Object
    } else if contains(stop::PREPOSITIONS, word) {
        Right::Preposition
    } else if stop::is_stop(word) {
        Right::Other
    } else {
        usual(wordnet, word).map_or(Right::Other, Right::Content)
    }
}

/// The part of speech in which a word is used most, as far as WordNet's counts tell.
fn usual(wordnet: &WordNet, word: &str) -> Option<Pos> {
    let mut best: Option<(i32, u32, Pos)> = None;
    for pos in Pos::ALL {
        let Some(lemma) = wordnet
            .bases(word, pos)
            .into_iter()
            .max_by_key(|lemma| (lemma.name == word, lemma.tagged))
        else {
            continue;
        };
        let weight = frequency(lemma) + from_ending(word, pos);
        if best.is_none_or(|(most, tagged, _)| (weight, lemma.tagged) > (most, tagged)) {
            best = Some((weight, lemma.tagged, pos));
        }
    }
    best.map(|(_, _, pos)| pos)
}

/// Whether the next word goes on with the phrase and may be a noun, or describes one (`a good stepping stone`).
pub(super) fn may_continue(wordnet: &WordNet, words: &[&str], place: usize) -> bool {
    words.get(place + 1).is_some_and(|next| {
        let core = lower(peel(next).core);
        core.ends_with("ing")
            || core.ends_with("ed")
            || wordnet
                .bases(&core, Pos::Noun)
                .iter()
                .any(|lemma| lemma.tagged > 0)
    })
}
