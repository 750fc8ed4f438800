//! chrF: the F-score of character n-grams, with word n-grams beside them chrF++.
//!
//! Popović, *chrF: character n-gram F-score for automatic MT evaluation* (WMT 2015) and *chrF++: words helping character
//! n-grams* (WMT 2017), as sacrebleu computes it: over all rows at once, recall counting twice, from 0 to 100. White space does
//! not count.
//!
//! Deliberately absent: several references, other orders of characters, other weights of recall.

use std::collections::HashMap;
use std::hash::Hash;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::segment::split;

/// The longest n-gram of characters.
const CHARACTERS: usize = 6;
/// The longest n-gram of words that may be asked for.
const MOST_WORDS: usize = 2;
const ORDERS: usize = CHARACTERS + MOST_WORDS;
/// How many times recall counts as much as precision.
const BETA: f64 = 2.0;

/// How chrF is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChrfSettings {
    /// Up to how many words stand together in the n-grams of words: 0 for chrF, 1 for chrF+, 2 for chrF++. Default 0.
    #[schemars(range(max = 2))]
    pub word_order: u8,
}

impl ChrfSettings {
    /// The signature that sacrebleu gives for such a score, with this program's version in place of its own.
    pub fn signature(&self) -> String {
        format!(
            "nrefs:1|case:mixed|eff:yes|nc:{CHARACTERS}|nw:{}|space:no|version:refit-{}",
            self.word_order,
            env!("CARGO_PKG_VERSION")
        )
    }
}

/// What a row adds to chrF: of each order the n-grams predicted, in the reference, and in both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts([[u64; 3]; ORDERS]);

impl Counts {
    pub(super) fn of(prediction: &str, reference: &str, settings: &ChrfSettings) -> Counts {
        let characters = |text: &str| -> Vec<char> {
            split(text).iter().flat_map(|word| word.chars()).collect()
        };
        let mut counts = Counts::default();
        let (ours, theirs) = (characters(prediction), characters(reference));
        for order in 1..=CHARACTERS {
            counts.0[order - 1] = shared(&ours, &theirs, order);
        }
        let words = usize::from(settings.word_order).min(MOST_WORDS);
        if words > 0 {
            let (ours, theirs) = (bare(prediction), bare(reference));
            for order in 1..=words {
                counts.0[CHARACTERS + order - 1] = shared(&ours, &theirs, order);
            }
        }
        counts
    }

    pub(super) fn add(&mut self, other: &Counts) {
        for (ours, theirs) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *ours += theirs;
        }
    }
}

/// The n-grams of one order in both. Without any in the reference none counts as predicted.
fn shared<T: Hash + Eq>(prediction: &[T], reference: &[T], order: usize) -> [u64; 3] {
    let mut there = HashMap::<&[T], u64>::new();
    for gram in reference.windows(order) {
        *there.entry(gram).or_default() += 1;
    }
    let count = |list: &[T]| (list.len() + 1).saturating_sub(order) as u64;
    let mut both = 0;
    for gram in prediction.windows(order) {
        if let Some(left) = there.get_mut(gram).filter(|left| **left > 0) {
            *left -= 1;
            both += 1;
        }
    }
    match count(reference) {
        0 => [0, 0, 0],
        of_reference => [count(prediction), of_reference, both],
    }
}

/// Words with the mark at their end, or else at their beginning, apart.
fn bare(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in split(text) {
        let (first, last) = (word.chars().next(), word.chars().next_back());
        let mark = |c: Option<char>| c.filter(char::is_ascii_punctuation).map(char::len_utf8);
        let at = match (word.chars().nth(1), mark(last), mark(first)) {
            (Some(_), Some(bytes), _) => word.len() - bytes,
            (Some(_), None, Some(bytes)) => bytes,
            _ => {
                words.push(word);
                continue;
            }
        };
        let (head, tail) = word.split_at(at);
        words.extend([head.to_owned(), tail.to_owned()]);
    }
    words
}

/// chrF of the rows that were added up, from 0 to 100: the mean over the orders that both sides have.
pub(super) fn chrf(counts: &Counts) -> f64 {
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for [predicted, there, both] in counts.0 {
        if predicted > 0 && there > 0 {
            precision += both as f64 / predicted as f64;
            recall += both as f64 / there as f64;
            orders += 1.0;
        }
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / orders, recall / orders);
    let weight = BETA * BETA;
    100.0 * (1.0 + weight) * precision * recall / (weight * precision + recall)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{close, fixture};
    use super::*;

    #[test]
    fn the_chrf_of_one_row_is_sacrebleus() {
        for case in fixture().cases {
            for (word_order, theirs) in case.chrf.iter().enumerate() {
                let settings = ChrfSettings {
                    word_order: word_order as u8,
                };
                let counts = Counts::of(&case.prediction, &case.reference, &settings);
                close(
                    chrf(&counts),
                    *theirs,
                    1e-6,
                    &format!("{word_order} of {case:?}"),
                );
            }
        }
    }

    #[test]
    fn the_chrf_of_many_rows_is_sacrebleus() {
        let fixture = fixture();
        for corpus in &fixture.chrf {
            let settings = ChrfSettings {
                word_order: corpus.word_order,
            };
            let mut all = Counts::default();
            for &row in &corpus.rows {
                let case = &fixture.cases[row];
                all.add(&Counts::of(&case.prediction, &case.reference, &settings));
            }
            close(chrf(&all), corpus.chrf, 1e-6, "of many");
            let unversioned = |text: &str| text.split("|version").next().unwrap().to_owned();
            let ours = settings.signature();
            assert_eq!(unversioned(&ours), unversioned(&corpus.signature));
        }
    }
}
