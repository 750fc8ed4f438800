//! A word taken out of its text, for whoever can tell what may stand there, and what is told put into the word's shape.
//!
//! Left alone are the words that WordNet leaves alone: English function words, words of mixed capitals, and what is not
//! written in letters. Letters may be of any script.
//!
//! Deliberately absent: who tells, and the choice among what is told.

use super::shape::{Case, Peeled, case, cased, peel};
use super::stop;

/// How many words are seen on either side.
const SIDE: usize = 128;

/// The place of a word, with its punctuation left where it is.
#[derive(Debug)]
pub struct Hole<'w> {
    words: &'w [&'w str],
    place: usize,
    peeled: Peeled<'w>,
    case: Case,
}

impl<'w> Hole<'w> {
    /// The place of `words[place]`, where `words` are what white space separates in a text; none for a word to be left alone,
    /// and past the end.
    pub fn of(words: &'w [&'w str], place: usize) -> Option<Hole<'w>> {
        let peeled = peel(words.get(place)?);
        let case = case(peeled.core);
        let core = peeled.core.to_lowercase();
        (case != Case::Mixed && is_word(&core)).then_some(Hole {
            words,
            place,
            peeled,
            case,
        })
    }

    /// The word that was there, without punctuation.
    pub fn word(&self) -> &'w str {
        self.peeled.core
    }

    /// The text up to the place.
    pub fn before(&self) -> String {
        let from = self.place.saturating_sub(SIDE);
        let words = self.words.get(from..self.place).unwrap_or_default();
        let mut before = words.join(" ");
        if !words.is_empty() {
            before.push(' ');
        }
        before.push_str(self.peeled.before);
        before
    }

    /// The text from the place on.
    pub fn after(&self) -> String {
        let words = self.words.get(self.place + 1..).unwrap_or_default();
        let words = words.get(..SIDE).unwrap_or(words);
        let mut after = format!("{}{}", self.peeled.ending, self.peeled.after);
        for word in words {
            after.push(' ');
            after.push_str(word);
        }
        after
    }

    /// What a word at the place comes after, for a tokenizer: it need not be the text itself.
    pub fn lead(&self) -> String {
        match self.place {
            0 => self.peeled.before.to_owned(),
            _ => format!("a {}", self.peeled.before),
        }
    }

    /// The first `most` of the words told that can stand here, in the shape of the word that was here: never that word
    /// itself, each once, and capitals only where it had some. Names may come to stand for other names.
    pub fn filled(&self, told: impl IntoIterator<Item = String>, most: usize) -> Vec<String> {
        let own = self.peeled.core.to_lowercase();
        let mut met = vec![own];
        let mut filled = Vec::new();
        for word in told {
            let lower = word.to_lowercase();
            let small = self.case == Case::Lower && word != lower;
            if filled.len() == most || small || !is_word(&lower) || met.contains(&lower) {
                continue;
            }
            let Peeled {
                before,
                ending,
                after,
                ..
            } = self.peeled;
            let word = cased(&word, self.case);
            filled.push(format!("{before}{word}{ending}{after}"));
            met.push(lower);
        }
        filled
    }
}

/// At least two letters, hyphens apart, and not a word that only joins others.
fn is_word(lower: &str) -> bool {
    let letters = lower.chars().filter(|char| char.is_alphabetic()).count();
    letters >= 2
        && lower
            .chars()
            .all(|char| char.is_alphabetic() || char == '-')
        && !stop::is_stop(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn a_word_is_taken_out_with_its_punctuation_left() {
        let words = ["A", "very", "(good)", "film’s", "end", "."];
        let hole = Hole::of(&words, 2).unwrap();
        assert_eq!((hole.word(), hole.lead().as_str()), ("good", "a ("));
        assert_eq!(
            (hole.before().as_str(), hole.after().as_str()),
            ("A very (", ") film’s end .")
        );
        let hole = Hole::of(&words, 3).unwrap();
        assert_eq!(hole.word(), "film");
        assert_eq!(hole.after(), "’s end .");
        let first = Hole::of(&["Good", "film"], 0).unwrap();
        assert_eq!(
            (first.before(), first.lead()),
            (String::new(), String::new())
        );
    }

    #[test]
    fn function_words_numbers_and_names_of_mixed_capitals_are_left_alone() {
        for word in [
            "the", "Not", "3pm", "iPhone", "@ann", ":-)", "x", "", "don't",
        ] {
            assert!(Hole::of(&[word], 0).is_none(), "{word}");
        }
        assert!(Hole::of(&["film"], 1).is_none());
        for word in ["film", "größer", "кино", "well-made"] {
            assert!(Hole::of(&[word], 0).is_some(), "{word}");
        }
    }

    #[test]
    fn what_is_told_takes_the_shape_of_the_word() {
        let hole = |word| Hole::of(Box::leak(Box::new([word])), 0).unwrap();
        let all = told(&[
            "film", "movie", "the", "Paris", "movie", "2", "picture", "plot",
        ]);
        assert_eq!(
            hole("(film,").filled(all.clone(), 2),
            ["(movie,", "(picture,"]
        );
        assert_eq!(
            hole("FILM!").filled(all.clone(), 9),
            ["MOVIE!", "PARIS!", "PICTURE!", "PLOT!"]
        );
        assert_eq!(hole("Film’s").filled(all, 1), ["Movie’s"]);
    }

    proptest::proptest! {
        #[test]
        fn any_words_have_holes_that_give_the_text_back(text in ".{0,60}", place in 0_usize..8) {
            let words: Vec<&str> = text.split_whitespace().collect();
            if let Some(hole) = Hole::of(&words, place) {
                let whole = format!("{}{}{}", hole.before(), hole.word(), hole.after());
                proptest::prop_assert_eq!(whole, words.join(" "));
            }
        }
    }
}
