//! Forms of English words: which form a word is, and the same form of another.
//!
//! Irregular forms come from WordNet's exception lists, read backwards; regular ones from the rules of English spelling. A
//! list says that a form belongs to a lemma, but not which form it is, whether there is another form that is regular, or
//! that the form is out of use; what is needed to tell stands here as short lists and endings. A form that cannot be told
//! is `None`, and the caller drops that synonym: rather none than a wrong one.
//!
//! Phrases: a verb's first word takes the ending (`gave up`), a noun's last (`motion pictures`), and not even that where
//! the noun holds a preposition (`piece of cake`).
//!
//! Deliberately absent: agreement in number with other words of the sentence, and whether a noun can be counted where its
//! ending does not tell.

mod nouns;
mod verbs;

use super::wordnet::{Pos, WordNet};

/// What form a word is of its lemma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Base,
    /// A noun of many.
    Plural,
    /// A verb in -s.
    Third,
    Past,
    Participle,
    /// Past and participle are the same, and the text does not say which it is.
    PastOrParticiple,
    /// The base is the past too, and the text does not say which it is.
    BaseOrPast,
    Ing,
    Comparative,
    Superlative,
}

/// Which form of `lemma` the word is; `None` where it is none that is known here.
pub(super) fn form(wordnet: &WordNet, word: &str, lemma: &str, pos: Pos) -> Option<Form> {
    if word == lemma {
        return Some(Form::Base);
    }
    match pos {
        Pos::Noun => (!word.ends_with("ing")).then_some(Form::Plural),
        Pos::Verb => verbs::form(wordnet, word, lemma),
        Pos::Adjective | Pos::Adverb => degree(word),
    }
}

/// `lemma` (spaces between its words) in that form.
pub(super) fn inflected(wordnet: &WordNet, lemma: &str, pos: Pos, form: Form) -> Option<String> {
    match (pos, form) {
        (_, Form::Base) => Some(lemma.to_owned()),
        (Pos::Noun, Form::Plural) => nouns::plural(wordnet, lemma),
        (Pos::Verb, _) => verbs::inflected(wordnet, lemma, form),
        (Pos::Adjective | Pos::Adverb, Form::Comparative | Form::Superlative) => {
            compared(wordnet, lemma, pos, form)
        }
        _ => None,
    }
}

/// Whether a lemma of nouns is itself a plural: `works`, `spectacles`.
pub(super) fn is_plural_lemma(wordnet: &WordNet, lemma: &str) -> bool {
    nouns::is_plural_lemma(wordnet, lemma)
}

/// Whether a verb's base is its past and participle too: `put`.
pub(super) fn is_unchanged(verb: &str) -> bool {
    verbs::is_unchanged(verb)
}

fn degree(word: &str) -> Option<Form> {
    if matches!(word, "worse" | "less") || word.ends_with("er") || word.ends_with("more") {
        Some(Form::Comparative)
    } else if word.ends_with("st") {
        Some(Form::Superlative)
    } else {
        None
    }
}

/// Adjectives and adverbs that are not compared.
const UNCOMPARED: &[&str] = &[
    "chief", "dead", "due", "east", "fake", "fun", "ill", "just", "key", "like", "lone", "main",
    "male", "mere", "north", "off", "on", "out", "over", "own", "past", "prime", "real", "right",
    "sole", "solo", "south", "square", "top", "west", "wrong",
];

fn compared(wordnet: &WordNet, lemma: &str, pos: Pos, form: Form) -> Option<String> {
    if lemma.contains(' ')
        || !lemma
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    {
        return None;
    }
    if UNCOMPARED.contains(&lemma) {
        return None;
    }
    let (ending, word) = match form {
        Form::Comparative => ("er", "more"),
        _ => ("est", "most"),
    };
    let irregular = match (lemma, form) {
        ("good" | "well", Form::Comparative) => Some("better"),
        ("good" | "well", _) => Some("best"),
        ("bad" | "badly" | "ill", Form::Comparative) => Some("worse"),
        ("bad" | "badly" | "ill", _) => Some("worst"),
        ("far", Form::Comparative) => Some("farther"),
        ("far", _) => Some("farthest"),
        _ => None,
    };
    if let Some(irregular) = irregular {
        return Some(irregular.to_owned());
    }
    if let Some(known) = wordnet
        .forms_of(lemma, pos)
        .iter()
        .find(|known| known.ends_with(ending) && shares_start(known, lemma))
    {
        return Some(known.to_string());
    }
    // `later` and `former` are compared already.
    if wordnet.bases(lemma, pos).len() > 1 {
        return None;
    }
    let participle = lemma.ends_with("ed")
        || lemma.ends_with("ing")
        || !wordnet.lemmas_of(lemma, Pos::Verb).is_empty();
    let short = syllables(lemma) == 1 && pos == Pos::Adjective;
    if !short || participle {
        Some(format!("{word} {lemma}"))
    } else {
        let stem = consonant_y(lemma).map(|stem| format!("{stem}i"));
        let stem = stem.as_deref().or(lemma.strip_suffix('e')).unwrap_or(lemma);
        // The lists hold all adjectives that double their consonant; one that would and is not there is not compared. Nor is
        // one whose form they have as another word's: `after`, `forest`.
        let compared = format!("{stem}{ending}");
        let known = doubled(lemma) == lemma
            && wordnet
                .bases(&compared, pos)
                .iter()
                .any(|base| base.name == lemma);
        known.then_some(compared)
    }
}

/// How often the word is sounded, as far as its letters tell.
fn syllables(word: &str) -> usize {
    let mut count = 0;
    let mut before = false;
    let mut last = ' ';
    for (place, letter) in word.chars().enumerate() {
        let vowel = is_vowel(letter) || letter == 'y';
        // The `y` of `layer` and `kayak` begins a syllable.
        let anew = before && is_vowel(letter) && last == 'y' && place > 1;
        if vowel && (!before || anew) {
            count += 1;
        }
        before = vowel;
        last = letter;
    }
    let silent = word.ends_with('e') && !word.ends_with("le") && !word.ends_with("ee");
    if silent && count > 1 {
        count - 1
    } else {
        count.max(1)
    }
}

fn is_vowel(letter: char) -> bool {
    matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u')
}

/// The word without a last `y` that a consonant precedes.
fn consonant_y(word: &str) -> Option<&str> {
    let stem = word.strip_suffix('y')?;
    stem.ends_with(|letter: char| letter.is_ascii_lowercase() && !is_vowel(letter))
        .then_some(stem)
}

/// The word as it stands before a vowel: a single consonant after a single short vowel is doubled (`stop`, `stopp-`), in
/// words of one syllable; of longer ones the exception lists know.
fn doubled(word: &str) -> String {
    let mut letters = word.chars().rev();
    let (last, vowel, before) = (letters.next(), letters.next(), letters.next());
    let doubles = syllables(word) == 1
        && last.is_some_and(|letter| letter.is_ascii_lowercase() && !is_vowel(letter) && !matches!(letter, 'w' | 'x' | 'y'))
        && vowel.is_some_and(is_vowel)
        // The `u` of `quit` and `squat` is a consonant.
        && before.is_some_and(|letter| !is_vowel(letter) || (letter == 'u' && word.contains("qu")));
    match last {
        Some(last) if doubles => format!("{word}{last}"),
        _ => word.to_owned(),
    }
}

/// The word with its regular -s: `boxes`, `cries`, `days`.
fn with_s(word: &str) -> String {
    const HARD: &[&str] = &[
        "stomach",
        "epoch",
        "monarch",
        "patriarch",
        "matriarch",
        "eunuch",
        "loch",
        "oligarch",
        "hierarch",
        "tech",
    ];
    if let Some(stem) = consonant_y(word) {
        format!("{stem}ies")
    } else if ["s", "x", "z", "ch", "sh"]
        .iter()
        .any(|ending| word.ends_with(ending))
        && !HARD.contains(&word)
    {
        format!("{word}es")
    } else {
        format!("{word}s")
    }
}

/// Whether both begin with the same letter, so that one may be a form of the other and no other word's.
fn shares_start(form: &str, lemma: &str) -> bool {
    form.chars().next() == lemma.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_follows_the_rules() {
        for (word, expected) in [
            ("box", "boxes"),
            ("church", "churches"),
            ("stomach", "stomachs"),
            ("city", "cities"),
            ("day", "days"),
            ("buzz", "buzzes"),
            ("film", "films"),
        ] {
            assert_eq!(with_s(word), expected);
        }
        for (word, expected) in [
            ("stop", "stopp"),
            ("look", "look"),
            ("show", "show"),
            ("fix", "fix"),
            ("quit", "quitt"),
            ("open", "open"),
            ("big", "bigg"),
            ("end", "end"),
        ] {
            assert_eq!(doubled(word), expected);
        }
    }

    #[test]
    fn syllables_are_counted_from_letters() {
        for (word, count) in [
            ("big", 1),
            ("large", 1),
            ("happy", 2),
            ("simple", 2),
            ("beautiful", 3),
            ("free", 1),
            ("layer", 2),
            ("you", 1),
        ] {
            assert_eq!(syllables(word), count, "{word}");
        }
    }
}
