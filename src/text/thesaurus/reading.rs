//! How a word is read in its context: of which part of speech, of which lemma, in which form.
//!
//! This is a small guess and no tagger. Each reading that morphy finds has a weight of its own, which grows with how many
//! senses of the lemma occur in WordNet's tagged texts; to that the neighbours add:
//!
//! - On the left, the nearest word that tells something: a determiner, possessive or preposition (a noun follows, or an
//!   adjective and then a noun), `to` or a modal (a bare verb), a pronoun (a verb that agrees with it), a form of `be` or
//!   `have` (an adjective, or the form of the verb that fits), a degree word such as `very` (an adjective or adverb), or a
//!   content word by its own most frequent part of speech. `not`, `also`, `never` and adverbs in -ly are looked through.
//! - On the right, the next word: a noun speaks for an adjective, a determiner or object for a verb, `of` and auxiliaries
//!   for a noun.
//! - An adverb in -ly is one.
//!
//! The heaviest reading is taken; of equals the more frequent, then noun, verb, adjective, adverb. Punctuation that ends a
//! clause hides what is beyond it.
//!
//! Deliberately absent: a model, statistics of word pairs, and any choice between the senses of one lemma.

mod neighbours;

use neighbours::{Left, Number, Right};

use super::inflect::{self, Form};
use super::wordnet::{Lemma, Pos, WordNet};

#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) lemma: Lemma<'a>,
    pub(super) form: Form,
    /// Whether a noun stands to the right, which an adjective would describe.
    pub(super) before_noun: bool,
}

/// The likeliest reading of `core` (lower case), which stands at `place` of `words`. `possessive` says that 's follows it.
pub(super) fn reading<'a>(
    wordnet: &'a WordNet,
    core: &str,
    possessive: bool,
    words: &[&str],
    place: usize,
) -> Option<Reading<'a>> {
    let left = neighbours::left(wordnet, words, place);
    let right = neighbours::right(wordnet, words, place);
    let in_phrase = matches!(
        left,
        Left::Determiner(_) | Left::Preposition | Left::Start | Left::Content(Pos::Adjective)
    );
    let before_noun = match right {
        Right::Content(Pos::Noun | Pos::Adjective) => true,
        Right::Content(Pos::Verb) if in_phrase => neighbours::may_continue(wordnet, words, place),
        _ => false,
    };
    let mut best: Option<(i32, Reading<'a>)> = None;
    for pos in Pos::ALL {
        if possessive && pos != Pos::Noun {
            continue;
        }
        for lemma in wordnet.bases(core, pos) {
            let Some(form) = inflect::form(wordnet, core, lemma.name, pos) else {
                continue;
            };
            // `wining` is a form of `wine`, though the rules of detachment offer `win` too.
            let misspelt = form != Form::Base
                && inflect::inflected(wordnet, lemma.name, pos, form).as_deref() != Some(core);
            let form = settled(form, lemma, left, right);
            let weight = frequency(lemma) - either(misspelt, MISSPELT, 0)
                + from_left(left, pos, form, before_noun, right)
                + from_right(right, pos, form)
                + from_ending(core, pos);
            let better = best
                .as_ref()
                .is_none_or(|(most, known)| (weight, lemma.tagged) > (*most, known.lemma.tagged));
            if better {
                best = Some((
                    weight,
                    Reading {
                        lemma,
                        form,
                        before_noun,
                    },
                ));
            }
        }
    }
    best.map(|(_, reading)| reading)
}

/// What a reading loses whose own form is spelt otherwise.
const MISSPELT: i32 = 4;

/// Twice the binary logarithm of one more than how many senses are in use.
fn frequency(lemma: Lemma<'_>) -> i32 {
    let doublings = (lemma.tagged + 1).ilog2();
    i32::try_from(2 * doublings).unwrap_or(i32::MAX)
}

/// The form as its context tells it, where the word alone does not.
fn either(condition: bool, yes: i32, no: i32) -> i32 {
    if condition { yes } else { no }
}

fn settled(form: Form, lemma: Lemma<'_>, left: Left, right: Right) -> Form {
    let after_auxiliary = matches!(left, Left::Be | Left::Have);
    match form {
        Form::PastOrParticiple if after_auxiliary || right == Right::By => Form::Participle,
        Form::PastOrParticiple if matches!(left, Left::Determiner(_) | Left::Degree) => {
            Form::Participle
        }
        Form::PastOrParticiple if matches!(left, Left::Subject(_) | Left::Relative) => Form::Past,
        Form::Base if lemma.pos == Pos::Verb && inflect::is_unchanged(lemma.name) => match left {
            Left::To | Left::Modal => Form::Base,
            Left::Be | Left::Have => Form::Participle,
            Left::Subject(true) => Form::Past,
            _ => Form::BaseOrPast,
        },
        _ => form,
    }
}

fn from_left(left: Left, pos: Pos, form: Form, before_noun: bool, right: Right) -> i32 {
    let agreeing = |number: Number| match (number, form) {
        (Number::One, Form::Plural) | (Number::Many, Form::Base) => -6,
        _ => 8,
    };
    let noun_next = |yes, no| either(before_noun, yes, no);
    let adverb_before = |no| either(right == Right::Content(Pos::Adjective), 6, no);
    let describing = matches!(form, Form::Ing | Form::Participle | Form::PastOrParticiple);
    match (left, pos) {
        (Left::Determiner(number), Pos::Noun) => agreeing(number),
        (Left::Determiner(_), Pos::Adjective) => noun_next(8, 3),
        (Left::Determiner(_), Pos::Adverb) => adverb_before(0),
        (Left::Determiner(_), Pos::Verb) => either(describing && before_noun, 0, -6),

        (Left::Relative, Pos::Verb) => match form {
            Form::Base | Form::Ing | Form::Participle => -2,
            _ => 5,
        },
        (Left::Relative, Pos::Noun) => either(form == Form::Plural, -4, 4),
        (Left::Relative, Pos::Adjective) => noun_next(4, 0),
        (Left::Relative, Pos::Adverb) => adverb_before(1),

        (Left::Preposition, Pos::Noun) => 6,
        (Left::Preposition, Pos::Adjective) => noun_next(6, 1),
        (Left::Preposition, Pos::Adverb) => adverb_before(0),
        (Left::Preposition, Pos::Verb) => either(form == Form::Ing, 5, -6),

        (Left::To, Pos::Verb) => either(form == Form::Base, 8, -6),
        (Left::To, Pos::Noun) => 2,
        (Left::To, Pos::Adjective) => noun_next(2, 0),
        (Left::Modal, Pos::Verb) => either(form == Form::Base, 9, 0),
        (Left::Modal, Pos::Adverb) => 2,

        (Left::Subject(third), Pos::Verb) => match form {
            Form::Past | Form::PastOrParticiple | Form::BaseOrPast => 8,
            Form::Third if third => 8,
            Form::Base if !third => 8,
            _ => -2,
        },
        (Left::Subject(_), Pos::Adverb) => 2,
        (Left::Subject(_), Pos::Noun) => -4,
        (Left::Subject(_), Pos::Adjective) => -2,

        (Left::Be, Pos::Verb) => either(describing, 5, -6),
        (Left::Be, Pos::Adjective) => 6,
        (Left::Be, Pos::Noun) => 1,
        (Left::Be, Pos::Adverb) => adverb_before(1),

        (Left::Have, Pos::Verb) => match form {
            Form::Participle | Form::PastOrParticiple => 6,
            _ => -4,
        },
        (Left::Have, Pos::Noun) => 3,
        (Left::Have, Pos::Adjective) => noun_next(4, 1),

        (Left::Degree, Pos::Adjective) => 6,
        (Left::Degree, Pos::Adverb) => 5,
        // `enough flourishes`, `more jokes`.
        (Left::Degree, Pos::Noun) => either(form == Form::Plural, 5, -4),
        (Left::Degree, Pos::Verb) => -4,

        (Left::Content(Pos::Adjective), Pos::Noun) => 6,
        (Left::Content(Pos::Adjective), Pos::Adjective) => noun_next(4, 0),
        (Left::Content(Pos::Adjective), Pos::Verb) => -4,
        (Left::Content(Pos::Noun), Pos::Verb) => match form {
            Form::Past | Form::PastOrParticiple => 3,
            Form::Third => 1,
            Form::Base => -3,
            _ => 0,
        },
        (Left::Nouns, Pos::Verb) => match form {
            Form::Past | Form::PastOrParticiple => 3,
            Form::Base => 1,
            Form::Third => -3,
            _ => 0,
        },
        (Left::Content(Pos::Noun), Pos::Noun) => 1,
        (Left::Content(Pos::Verb), Pos::Noun | Pos::Adverb) => 2,
        (Left::Content(Pos::Verb), Pos::Adjective) => noun_next(3, 1),
        (Left::Content(Pos::Verb), Pos::Verb) => -3,
        (Left::Content(Pos::Adverb), Pos::Adjective) => 3,

        (Left::Start, Pos::Noun) => 1,
        (Left::Start, Pos::Verb) => i32::from(form == Form::Base),
        (Left::Start, Pos::Adjective) => noun_next(2, 0),
        _ => 0,
    }
}

fn from_right(right: Right, pos: Pos, form: Form) -> i32 {
    match (right, pos) {
        (Right::Object, Pos::Verb) => 4,
        (Right::Object, Pos::Adjective) => -1,
        (Right::To, Pos::Verb) => 2,
        (Right::Of, Pos::Noun) => 4,
        (Right::Of, Pos::Verb) => -2,
        (Right::By, Pos::Verb) if matches!(form, Form::Participle | Form::PastOrParticiple) => 4,
        (Right::Auxiliary, Pos::Noun) => 4,
        (Right::Auxiliary, Pos::Verb) => -3,
        (Right::Content(Pos::Noun), Pos::Adjective) => 3,
        (Right::Content(Pos::Adjective), Pos::Adverb | Pos::Verb) => 2,
        (Right::Content(Pos::Adjective), Pos::Noun) => -1,
        (Right::End, Pos::Noun | Pos::Adjective) => 1,
        _ => 0,
    }
}

fn from_ending(core: &str, pos: Pos) -> i32 {
    if pos == Pos::Adverb && core.ends_with("ly") {
        8
    } else {
        0
    }
}
