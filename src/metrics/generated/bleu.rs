//! BLEU: how many of a text's n-grams are in the reference too, and whether it is long enough.
//!
//! Papineni, Roukos, Ward and Zhu, *BLEU: a Method for Automatic Evaluation of Machine Translation* (ACL 2002), with the
//! smoothing of Chen and Cherry (WMT 2014), as sacrebleu computes it (Post, WMT 2018): over all rows at once, from 0 to 100.
//!
//! Deliberately absent: several references, orders other than 4.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::segment::Segmentation;

/// The longest n-gram.
const ORDER: usize = 4;

/// What stands for the precision of an order of which nothing is right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Smoothing {
    /// Half as much for each such order: `mteval-v13a.pl`'s, and the usual one.
    #[default]
    Exp,
    /// A tenth of a match.
    Floor,
    /// One match more in every order above the first.
    AddK,
    /// Nothing: without a single right 4-gram BLEU is 0.
    None,
}

impl Smoothing {
    /// As a signature of sacrebleu has it.
    fn signature(self) -> &'static str {
        match self {
            Smoothing::Exp => "exp",
            Smoothing::Floor => "floor[0.10]",
            Smoothing::AddK => "add-k[1.00]",
            Smoothing::None => "none",
        }
    }
}

/// How BLEU is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BleuSettings {
    /// How texts are divided into words: `13a`, `intl`, `zh`, `char` or `none`. Scores of different divisions cannot be
    /// compared. Default `13a`.
    pub tokenize: Segmentation,
    /// What stands for the precision of an order of which nothing is right: `exp`, `floor`, `add-k` or `none`. Default `exp`.
    pub smooth: Smoothing,
    /// Takes capitals for small letters. Default `false`.
    pub lowercase: bool,
}

impl BleuSettings {
    /// The signature that sacrebleu gives for such a score, with this program's version in place of its own.
    pub fn signature(&self) -> String {
        format!(
            "nrefs:1|case:{}|eff:no|tok:{}|smooth:{}|version:refit-{}",
            if self.lowercase { "lc" } else { "mixed" },
            self.tokenize.name(),
            self.smooth.signature(),
            env!("CARGO_PKG_VERSION")
        )
    }
}

/// What a row adds to BLEU: n-grams by their order less 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    right: [u64; ORDER],
    all: [u64; ORDER],
    length: u64,
    reference_length: u64,
}

impl Counts {
    pub(super) fn of(prediction: &str, reference: &str, settings: &BleuSettings) -> Counts {
        let words = |text: &str| match settings.lowercase {
            true => settings.tokenize.words(&text.to_lowercase()),
            false => settings.tokenize.words(text),
        };
        let (prediction, reference) = (words(prediction), words(reference));
        let mut counts = Counts {
            length: prediction.len() as u64,
            reference_length: reference.len() as u64,
            ..Counts::default()
        };
        for order in 1..=ORDER {
            let mut there = HashMap::<&[String], u64>::new();
            for gram in reference.windows(order) {
                *there.entry(gram).or_default() += 1;
            }
            for gram in prediction.windows(order) {
                counts.all[order - 1] += 1;
                if let Some(left) = there.get_mut(gram).filter(|left| **left > 0) {
                    *left -= 1;
                    counts.right[order - 1] += 1;
                }
            }
        }
        counts
    }

    pub(super) fn add(&mut self, other: &Counts) {
        for order in 0..ORDER {
            self.right[order] += other.right[order];
            self.all[order] += other.all[order];
        }
        self.length += other.length;
        self.reference_length += other.reference_length;
    }
}

/// BLEU and its parts, of rows together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bleu {
    /// From 0 to 100.
    pub score: f64,
    /// Of the orders 1 to 4, smoothed; from 0 to 100.
    pub precisions: [f64; ORDER],
    /// What is left of the score for being shorter than the references: from 0 to 1.
    pub brevity_penalty: f64,
    /// Words predicted, and in the references.
    pub length: u64,
    pub reference_length: u64,
}

/// BLEU of the rows that were added up. `effective` leaves out the orders that are longer than the texts, as one does for a
/// single row.
pub(super) fn bleu(counts: &Counts, smoothing: Smoothing, effective: bool) -> Bleu {
    let (length, reference) = (counts.length as f64, counts.reference_length as f64);
    let brevity_penalty = match counts.length < counts.reference_length {
        true if counts.length == 0 => 0.0,
        true => (1.0 - reference / length).exp(),
        false => 1.0,
    };
    let mut bleu = Bleu {
        score: 0.0,
        precisions: [0.0; ORDER],
        brevity_penalty,
        length: counts.length,
        reference_length: counts.reference_length,
    };
    if counts.right.iter().all(|&right| right == 0) {
        return bleu;
    }
    let (mut halved, mut orders) = (1.0, ORDER);
    for order in 0..ORDER {
        let more = f64::from(u8::from(smoothing == Smoothing::AddK && order > 0));
        let (right, all) = (
            counts.right[order] as f64 + more,
            counts.all[order] as f64 + more,
        );
        if all == 0.0 {
            break;
        }
        if effective {
            orders = order + 1;
        }
        bleu.precisions[order] = match smoothing {
            _ if right > 0.0 => 100.0 * right / all,
            Smoothing::Exp => {
                halved *= 2.0;
                100.0 / (halved * all)
            }
            Smoothing::Floor => 100.0 * 0.1 / all,
            Smoothing::AddK | Smoothing::None => 0.0,
        };
    }
    let logarithms = bleu.precisions[..orders].iter().map(|p| p.ln());
    bleu.score = brevity_penalty * (logarithms.sum::<f64>() / orders as f64).exp();
    bleu
}

#[cfg(test)]
mod tests {
    use super::super::tests::{close, fixture};
    use super::*;

    fn segmentation(name: &str) -> Segmentation {
        serde_json::from_value(name.into()).unwrap()
    }

    #[test]
    fn the_bleu_of_many_rows_is_sacrebleus_with_every_division_and_smoothing() {
        let fixture = fixture();
        assert!(fixture.corpora.len() >= 100);
        for (number, corpus) in fixture.corpora.iter().enumerate() {
            let settings = BleuSettings {
                tokenize: segmentation(&corpus.tokenize),
                smooth: serde_json::from_value(corpus.smooth.as_str().into()).unwrap(),
                lowercase: corpus.lowercase,
            };
            let mut all = Counts::default();
            for &row in &corpus.rows {
                let case = &fixture.cases[row];
                all.add(&Counts::of(&case.prediction, &case.reference, &settings));
            }
            let ours = bleu(&all, settings.smooth, false);
            close(ours.score, corpus.bleu, 1e-6, &format!("corpus {number}"));
            close(ours.brevity_penalty, corpus.bp, 1e-9, "brevity penalty");
            for (ours, theirs) in ours.precisions.into_iter().zip(&corpus.precisions) {
                close(ours, *theirs, 1e-9, &format!("precision of {number}"));
            }
            assert_eq!([ours.length, ours.reference_length], corpus.lengths);
            let (ours, theirs) = (settings.signature(), &corpus.signature);
            let unversioned = |text: &str| text.split("|version").next().unwrap().to_owned();
            assert_eq!(unversioned(&ours), unversioned(theirs));
        }
    }

    #[test]
    fn the_bleu_of_one_row_is_sacrebleus() {
        let cases = fixture().cases;
        assert!(cases.len() >= 100);
        for case in &cases {
            for (name, theirs) in &case.bleu {
                let settings = BleuSettings {
                    tokenize: segmentation(name),
                    ..BleuSettings::default()
                };
                let counts = Counts::of(&case.prediction, &case.reference, &settings);
                let ours = bleu(&counts, Smoothing::Exp, true).score;
                close(ours, *theirs, 1e-6, &format!("{name} of {case:?}"));
            }
        }
    }
}
