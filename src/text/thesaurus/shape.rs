//! How a word is written: the punctuation around it, and its capitals.
//!
//! Deliberately absent: hyphens and apostrophes within a word, which belong to it; and words of mixed capitals (`iPhone`),
//! mentions, tags and addresses (`@ann`, `#fail`, `&amp;`), which have no core and so no synonyms.

/// A word taken apart: `("good", "!\")")` of `(good!")`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peeled<'a> {
    pub(super) before: &'a str,
    pub(super) core: &'a str,
    /// A possessive ending, or nothing.
    pub(super) ending: &'a str,
    pub(super) after: &'a str,
}

/// Which letters are capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Lower,
    /// The first letter only.
    Capitalised,
    /// All letters, of which there are at least two.
    Upper,
    Mixed,
}

fn is_mark(char: char) -> bool {
    is_clause_end(char)
        || matches!(
            char,
            '\'' | '`' | '‘' | '’' | '«' | '»' | '¿' | '¡' | '{' | '}' | '*' | '_' | '~' | '-'
        )
}

/// Whether the mark ends a clause, so that what stands on its other side tells nothing of the word.
pub(super) fn is_clause_end(char: char) -> bool {
    matches!(
        char,
        '.' | ','
            | ';'
            | ':'
            | '!'
            | '?'
            | '…'
            | '('
            | ')'
            | '['
            | ']'
            | '–'
            | '—'
            | '"'
            | '“'
            | '”'
    )
}

pub(super) fn is_sentence_end(char: char) -> bool {
    matches!(char, '.' | '!' | '?' | '…' | ':')
}

/// Takes the punctuation off. The core of a word of marks only is empty.
pub(super) fn peel(word: &str) -> Peeled<'_> {
    let started = word.trim_start_matches(is_mark);
    let (before, _) = word.split_at(word.len() - started.len());
    let ended = started.trim_end_matches(is_mark);
    let (_, after) = started.split_at(ended.len());
    let core = ["'s", "’s", "'S", "’S"]
        .iter()
        .find_map(|ending| ended.strip_suffix(ending))
        .unwrap_or(ended);
    let (core, ending) = ended.split_at(core.len());
    Peeled {
        before,
        core,
        ending,
        after,
    }
}

/// The case of a core.
pub(super) fn case(core: &str) -> Case {
    let mut letters = core.chars().filter(|char| char.is_alphabetic());
    let Some(first) = letters.next() else {
        return Case::Lower;
    };
    let rest: Vec<char> = letters.collect();
    let capital = first.is_uppercase();
    if rest.iter().all(|letter| !letter.is_uppercase()) {
        if capital {
            Case::Capitalised
        } else {
            Case::Lower
        }
    } else if capital && rest.iter().all(|letter| letter.is_uppercase()) {
        Case::Upper
    } else {
        Case::Mixed
    }
}

/// Gives `synonym` the capitals of a word of this case.
pub(super) fn cased(synonym: &str, case: Case) -> String {
    match case {
        Case::Lower | Case::Mixed => synonym.to_owned(),
        Case::Upper => synonym.to_uppercase(),
        Case::Capitalised => {
            let mut chars = synonym.chars();
            match chars.next() {
                Some(first) => first.to_uppercase().chain(chars).collect(),
                None => String::new(),
            }
        }
    }
}

/// Whether the word is said with a vowel first, as far as its letters tell.
pub(super) fn begins_with_vowel(word: &str) -> bool {
    let word = word.to_lowercase();
    let silent = ["hour", "honest", "honor", "honour", "heir"];
    let glide = [
        "uni", "use", "usu", "uti", "ufo", "eu", "one", "once", "ubiq", "ura", "ute",
    ];
    // `unimportant` and its like begin with `un-`.
    let negated = ["unim", "unin", "unid"];
    if silent.iter().any(|start| word.starts_with(start)) {
        return true;
    }
    if glide.iter().any(|start| word.starts_with(start))
        && !negated.iter().any(|start| word.starts_with(start))
    {
        return false;
    }
    word.starts_with(['a', 'e', 'i', 'o', 'u'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn punctuation_and_possessives_come_off() {
        for (word, parts) in [
            ("good", ["", "good", "", ""]),
            ("(cats", ["(", "cats", "", ""]),
            ("good,\"", ["", "good", "", ",\""]),
            ("“film’s”", ["“", "film", "’s", "”"]),
            ("don't", ["", "don't", "", ""]),
            ("well-made.", ["", "well-made", "", "."]),
            ("actors'", ["", "actors", "", "'"]),
            ("--", ["--", "", "", ""]),
            ("'s", ["'", "s", "", ""]),
            ("", ["", "", "", ""]),
            ("@ann", ["", "@ann", "", ""]),
        ] {
            let peeled = peel(word);
            let found = [peeled.before, peeled.core, peeled.ending, peeled.after];
            assert_eq!(found, parts, "{word}");
        }
    }

    #[test]
    fn capitals_are_told_apart_and_carried_over() {
        for (word, expected, synonym) in [
            ("film", Case::Lower, "motion picture"),
            ("Film", Case::Capitalised, "Motion picture"),
            ("FILM", Case::Upper, "MOTION PICTURE"),
            ("iPhone", Case::Mixed, "motion picture"),
            ("McDonald", Case::Mixed, "motion picture"),
            ("A", Case::Capitalised, "Motion picture"),
            ("Well-made", Case::Capitalised, "Motion picture"),
            ("Éclair", Case::Capitalised, "Motion picture"),
            ("42", Case::Lower, "motion picture"),
        ] {
            assert_eq!(case(word), expected, "{word}");
            assert_eq!(cased("motion picture", expected), synonym, "{word}");
        }
    }

    #[test]
    fn a_and_an_follow_the_sound() {
        for word in [
            "apple",
            "hour",
            "honest",
            "unimportant",
            "ugly",
            "umbrella",
            "heir",
        ] {
            assert!(begins_with_vowel(word), "{word}");
        }
        for word in [
            "film",
            "university",
            "usual",
            "European",
            "one-sided",
            "house",
            "useful",
        ] {
            assert!(!begins_with_vowel(word), "{word}");
        }
    }

    proptest! {
        #[test]
        fn a_word_taken_apart_is_whole_again(word in "\\PC{0,12}") {
            let Peeled { before, core, ending, after } = peel(&word);
            prop_assert_eq!(format!("{before}{core}{ending}{after}"), word);
        }

        #[test]
        fn capitals_never_change_the_letters(word in "[a-z ]{0,12}") {
            for case in [Case::Lower, Case::Capitalised, Case::Upper, Case::Mixed] {
                prop_assert_eq!(cased(&word, case).to_lowercase(), word.clone());
            }
        }
    }
}
