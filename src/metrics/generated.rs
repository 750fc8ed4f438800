//! Scores of generated text against a reference: summaries, translations, rewritten sentences.
//!
//! [`rouge`], [`bleu`], [`chrf`] and [`meteor`] are those of rouge-score, sacrebleu and NLTK, to which `tests/fixtures/
//! generated_metrics.json` holds them; `exact_match` and `f1` compare words as the answers to questions are compared (no case,
//! punctuation or articles). BLEU and chrF count over all rows at once and go from 0 to 100, as everybody states them; the
//! others are means of the rows, from 0 to 1.
//!
//! Deliberately absent: scores that a model gives (BERTScore, COMET), several references of a row.

mod bleu;
mod chrf;
mod meteor;
mod porter;
mod rouge;
mod segment;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use bleu::{Bleu, BleuSettings, Smoothing};
pub use chrf::ChrfSettings;
pub use meteor::Synonyms;
pub use rouge::{Rouge, Rouges};
pub use segment::Segmentation;

use super::Sample;
use super::answers::answers;

/// How generated text is scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GeneratedSettings {
    /// How BLEU is computed.
    pub bleu: BleuSettings,
    /// How chrF is computed.
    pub chrf: ChrfSettings,
    /// Whether ROUGE compares words by their stems, so that `runs` is `running`. Papers differ: say which. Default `false`.
    pub stemmed_rouge: bool,
}

/// What a row adds to the scores.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    rouge: Rouges,
    bleu: bleu::Counts,
    chrf: chrf::Counts,
    meteor: f64,
    exact_match: f64,
    f1: f64,
}

impl Row {
    fn of(
        prediction: &str,
        reference: &str,
        settings: &GeneratedSettings,
        synonyms: &Synonyms,
    ) -> Row {
        let words = answers(&[vec![reference]], &[prediction], None);
        Row {
            rouge: rouge::rouge(prediction, reference, settings.stemmed_rouge),
            bleu: bleu::Counts::of(prediction, reference, &settings.bleu),
            chrf: chrf::Counts::of(prediction, reference, &settings.chrf),
            meteor: meteor::meteor(prediction, reference, synonyms),
            exact_match: words.exact_match,
            f1: words.f1,
        }
    }
}

/// The scores of some rows, and of each by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    settings: GeneratedSettings,
    rows: Vec<Row>,
}

/// The scores that a row has by itself, by name.
pub const OF_ROWS: [&str; 9] = [
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeLsum",
    "bleu",
    "chrf",
    "meteor",
    "exact_match",
    "f1",
];

/// Scores each of `predictions` against the reference in the same place. `synonyms` are METEOR's; without any it matches words
/// and stems alone.
pub fn generated(
    predictions: &[&str],
    references: &[&str],
    settings: &GeneratedSettings,
    synonyms: &Synonyms,
) -> Generated {
    let pairs = predictions.par_iter().zip(references);
    let rows =
        pairs.map(|(prediction, reference)| Row::of(prediction, reference, settings, synonyms));
    Generated {
        settings: *settings,
        rows: rows.collect(),
    }
}

impl Generated {
    /// The scores of all rows, by the names of [`OF_ROWS`] and in their order; 0 without rows.
    pub fn flat(&self) -> Map<String, Value> {
        flat(&self.settings, self.rows.iter())
    }

    /// What BLEU is made of, and by which settings BLEU and chrF were computed.
    pub fn details(&self) -> Map<String, Value> {
        let mut all = bleu::Counts::default();
        self.rows.iter().for_each(|row| all.add(&row.bleu));
        let Bleu {
            precisions,
            brevity_penalty,
            length,
            reference_length,
            ..
        } = bleu::bleu(&all, self.settings.bleu.smooth, false);
        let details = json!({
            "bleu_precisions": precisions,
            "brevity_penalty": brevity_penalty,
            "length": length,
            "reference_length": reference_length,
            "bleu_signature": self.settings.bleu.signature(),
            "chrf_signature": self.settings.chrf.signature(),
        });
        match details {
            Value::Object(details) => details,
            _ => Map::new(),
        }
    }

    /// Each score of [`OF_ROWS`] of each row. The BLEU of a row counts the orders that it is long enough for.
    pub fn of_rows(&self) -> [(&'static str, Vec<f64>); OF_ROWS.len()] {
        let smooth = self.settings.bleu.smooth;
        let column = |of: &dyn Fn(&Row) -> f64| self.rows.iter().map(of).collect();
        let columns: [Vec<f64>; OF_ROWS.len()] = [
            column(&|row| row.rouge.one.f1),
            column(&|row| row.rouge.two.f1),
            column(&|row| row.rouge.longest.f1),
            column(&|row| row.rouge.summary.f1),
            column(&|row| bleu::bleu(&row.bleu, smooth, true).score),
            column(&|row| chrf::chrf(&row.chrf)),
            column(&|row| row.meteor),
            column(&|row| row.exact_match),
            column(&|row| row.f1),
        ];
        let mut columns = columns.into_iter();
        OF_ROWS.map(|name| (name, columns.next().unwrap_or_default()))
    }

    /// The same with METEOR as it was computed elsewhere, with other synonyms.
    #[must_use]
    pub fn with_meteor(mut self, of_rows: &[f64]) -> Generated {
        for (row, &meteor) in self.rows.iter_mut().zip(of_rows) {
            row.meteor = meteor;
        }
        self
    }

    /// The rows, to be scored in any selection.
    pub fn sample(self) -> Sample {
        let Generated { settings, rows } = self;
        Sample::new(rows.len(), move |selected| {
            flat(&settings, selected.iter().map(|&row| &rows[row]))
        })
    }
}

fn flat<'r>(
    settings: &GeneratedSettings,
    rows: impl ExactSizeIterator<Item = &'r Row> + Clone,
) -> Map<String, Value> {
    let count = rows.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Row) -> f64| rows.clone().map(of).sum::<f64>() / count;
    let (mut bleu, mut chrf) = (bleu::Counts::default(), chrf::Counts::default());
    for row in rows.clone() {
        bleu.add(&row.bleu);
        chrf.add(&row.chrf);
    }
    let values = [
        mean(&|row| row.rouge.one.f1),
        mean(&|row| row.rouge.two.f1),
        mean(&|row| row.rouge.longest.f1),
        mean(&|row| row.rouge.summary.f1),
        bleu::bleu(&bleu, settings.bleu.smooth, false).score,
        chrf::chrf(&chrf),
        mean(&|row| row.meteor),
        mean(&|row| row.exact_match),
        mean(&|row| row.f1),
    ];
    let pairs = OF_ROWS.into_iter().zip(values);
    pairs
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Deserialize)]
    pub(super) struct Fixture {
        pub(super) cases: Vec<Case>,
        pub(super) corpora: Vec<Corpus>,
        pub(super) chrf: Vec<ChrfCorpus>,
        pub(super) stems: BTreeMap<String, String>,
        pub(super) tokenized: Vec<Divided>,
    }

    #[derive(Debug, Deserialize)]
    pub(super) struct Case {
        pub(super) prediction: String,
        pub(super) reference: String,
        /// Precision, recall and F1.
        pub(super) rouge: BTreeMap<String, [f64; 3]>,
        pub(super) rouge_stemmed: BTreeMap<String, [f64; 3]>,
        /// By word order.
        pub(super) chrf: Vec<f64>,
        pub(super) bleu: BTreeMap<String, f64>,
        pub(super) meteor_without_synonyms: f64,
    }

    #[derive(Deserialize)]
    pub(super) struct Corpus {
        pub(super) rows: Vec<usize>,
        pub(super) tokenize: String,
        pub(super) smooth: String,
        pub(super) lowercase: bool,
        pub(super) bleu: f64,
        pub(super) precisions: Vec<f64>,
        pub(super) bp: f64,
        pub(super) lengths: [u64; 2],
        pub(super) signature: String,
    }

    #[derive(Deserialize)]
    pub(super) struct ChrfCorpus {
        pub(super) rows: Vec<usize>,
        pub(super) word_order: u8,
        pub(super) chrf: f64,
        pub(super) signature: String,
    }

    #[derive(Deserialize)]
    pub(super) struct Divided {
        pub(super) text: String,
        #[serde(rename = "13a")]
        pub(super) v13a: String,
        pub(super) intl: String,
        pub(super) zh: String,
    }

    /// What sacrebleu 2.6, rouge-score 0.1.2 and NLTK 3.10 say.
    pub(super) fn fixture() -> Fixture {
        let text = include_str!("../../tests/fixtures/generated_metrics.json");
        serde_json::from_str(text).unwrap()
    }

    #[track_caller]
    pub(super) fn close(ours: f64, theirs: f64, tolerance: f64, about: &str) {
        let near = (ours - theirs).abs() <= tolerance;
        assert!(near, "{ours}, not {theirs}: {about}");
    }

    fn none(_: &str) -> Vec<String> {
        Vec::new()
    }

    #[test]
    fn a_selection_of_rows_scores_as_these_alone() {
        let ours = ["a big car", "the cat sat", "", "x y z w v"];
        let theirs = ["the large car", "the cat sat down", "nothing", "x y z w v"];
        let settings = GeneratedSettings::default();
        let sample = generated(&ours, &theirs, &settings, &none).sample();
        for rows in [vec![0, 1, 2, 3], vec![3, 3, 1], vec![2], vec![]] {
            let of = |list: &[&'static str]| rows.iter().map(|&row| list[row]).collect::<Vec<_>>();
            let alone = generated(&of(&ours), &of(&theirs), &settings, &none);
            assert_eq!((sample.score)(&rows), alone.flat(), "{rows:?}");
        }
    }

    #[test]
    fn the_mean_of_the_rows_is_what_all_of_them_score_but_for_counts_over_all() {
        let ours = ["a big car", "the cat sat"];
        let theirs = ["the large car", "the cat sat down"];
        let scored = generated(&ours, &theirs, &GeneratedSettings::default(), &none);
        let flat = scored.flat();
        for (name, rows) in scored.of_rows() {
            let mean = rows.iter().sum::<f64>() / 2.0;
            let whole = flat[name].as_f64().unwrap();
            match name {
                "bleu" | "chrf" => assert_ne!(mean, whole, "{name}"),
                _ => close(mean, whole, 1e-12, name),
            }
        }
    }

    #[test]
    fn every_setting_changes_its_score() {
        let (ours, theirs) = (["The car, running"], ["the cars, run fast now"]);
        let usual = generated(&ours, &theirs, &GeneratedSettings::default(), &none).flat();
        let settings = [
            ("bleu", json!({ "bleu": { "tokenize": "none" } })),
            ("bleu", json!({ "bleu": { "lowercase": true } })),
            ("bleu", json!({ "bleu": { "smooth": "floor" } })),
            ("chrf", json!({ "chrf": { "word_order": 2 } })),
            ("rouge1", json!({ "stemmed_rouge": true })),
        ];
        for (name, settings) in settings {
            let settings = serde_json::from_value(settings).unwrap();
            let other = generated(&ours, &theirs, &settings, &none).flat();
            assert_ne!(usual[name], other[name], "{settings:?}");
        }
    }

    proptest! {
        #[test]
        fn any_texts_are_scored_within_their_range(a in "(\\PC|\\s){0,30}", b in "(\\PC|\\s){0,30}") {
            for tokenize in Segmentation::ALL {
                let settings = GeneratedSettings {
                    bleu: BleuSettings { tokenize, ..BleuSettings::default() },
                    chrf: ChrfSettings { word_order: 2 },
                    stemmed_rouge: true,
                };
                for (name, value) in generated(&[&a], &[&b], &settings, &none).flat() {
                    let value = value.as_f64().unwrap();
                    let most = if matches!(&*name, "bleu" | "chrf") { 100.0 } else { 1.0 };
                    prop_assert!((0.0..=most + 1e-9).contains(&value), "{name}: {value}");
                }
            }
        }
    }
}
