//! Scores: how good a model's answers are, as numbers and as a table for people.
//!
//! One file for each family: [`classification`] and [`multi_label`] are scikit-learn's (with `zero_division=0` and with
//! *all* label names as `labels`: a class that a split lacks still counts in a macro mean), [`regression`] scikit-learn's
//! and scipy's, [`entities`] seqeval's, [`answers`] those of the official SQuAD 2.0 evaluation,
//! [`generated`] those of rouge-score, sacrebleu and NLTK. All are held to their
//! references by `tests/fixtures/*_metrics.json`. Shares are fractions from 0 to 1 throughout.
//!
//! What a family returns is written in two parts: `flat`, the numbers by name, which a metrics log holds and `scores.json`
//! begins with; and what stands behind them, each label, type or target.
//!
//! Each family also makes a [`Sample`] of its rows, of which [`bootstrap`] tells how sure its scores are; such scores are
//! computed by the same code, from parts that each row is reduced to once. [`mcnemar`] tells whether one of two models is right
//! more often.
//!
//! Besides, what a reader of scores asks next: [`curves`] over thresholds, the [`slices`] of the rows that fail most, and the
//! labels that a model [doubts](doubt).
//!
//! Deliberately absent: anything that knows a model or a file. The loss comes from whoever computed it.

mod answers;
pub mod bootstrap;
mod classification;
mod counts;
pub mod curves;
pub mod doubt;
mod entities;
pub mod generated;
pub mod mcnemar;
mod multi_label;
mod regression;
mod render;
pub mod slices;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use answers::{
    AnswerScores, Thresholds, answers, best_threshold, exact_match, sample_of_answers, thresholds,
};
pub use bootstrap::Sample;
pub use classification::{ClassScores, Classification, classification, sample_of_classes};
pub use entities::{
    Entity, EntityErrors, EntityMeans, EntityScores, Fate, Pairing, Scheme, TypeScores, entities,
    pairings, sample_of_tags,
};
pub use multi_label::{MultiLabel, multi_label, sample_of_label_sets};
pub use regression::{Regression, TargetScores, regression, sample_of_numbers};
pub use render::{grouped, render, table};

/// A single number that tells a better model from a worse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of rows (or tagged words) answered rightly.
    Accuracy,
    /// F1 over all decisions at once; with one label a row, the same as accuracy.
    F1Micro,
    /// Mean of the classes' F1, each class counted alike: for uneven classes that all matter.
    F1Macro,
    /// Mean of the classes' F1, each counted by its number of rows.
    F1Weighted,
    /// Precision over all decisions at once.
    PrecisionMicro,
    /// Mean of the classes' precision, each class counted alike.
    PrecisionMacro,
    /// Mean of the classes' precision, each counted by its number of rows.
    PrecisionWeighted,
    /// Recall over all decisions at once.
    RecallMicro,
    /// Mean of the classes' recall, each class counted alike.
    RecallMacro,
    /// Mean of the classes' recall, each counted by its number of rows; with one label a row, the same as accuracy.
    RecallWeighted,
    /// Matthews correlation, from -1 to 1; 0 is no better than chance.
    Matthews,
    /// The mean loss (of cross entropy, in nats); lower is better.
    Loss,
    /// Share of rows whose set of labels is exactly right.
    SubsetAccuracy,
    /// Share of single yes-or-no decisions that are wrong, over all rows and labels; lower is better.
    HammingLoss,
    /// Label ranking average precision: how far up a row's own labels stand among all, from 0 to 1.
    LabelRankingAveragePrecision,
    /// Mean of the rows' F1.
    F1Samples,
    /// Mean of the rows' precision.
    PrecisionSamples,
    /// Mean of the rows' recall.
    RecallSamples,
    /// Of entities, F1 over all of them; of answers, the mean F1 of their words.
    F1,
    /// Share of predicted entities that are right.
    Precision,
    /// Share of true entities that are found.
    Recall,
    /// F1 over all entities, where only those count that are tagged exactly as the scheme asks.
    StrictF1,
    /// Share of questions answered with the very words of an answer.
    ExactMatch,
    /// Mean squared error; lower is better.
    Mse,
    /// Root of the mean squared error; lower is better.
    Rmse,
    /// Mean absolute error; lower is better.
    Mae,
    /// R², the share of the variance that is explained: 1 at best, 0 for the mean as the answer, and below.
    R2,
    /// Of masked words e to the power of the mean loss: among how many words the model is as unsure as if it guessed; lower is better.
    Perplexity,
    /// Pearson's correlation, from -1 to 1.
    Pearson,
    /// Spearman's rank correlation, from -1 to 1.
    Spearman,
}

impl Metric {
    /// Every metric, the loss last.
    pub const ALL: [Metric; 30] = [
        Metric::Accuracy,
        Metric::F1Micro,
        Metric::F1Macro,
        Metric::F1Weighted,
        Metric::PrecisionMicro,
        Metric::PrecisionMacro,
        Metric::PrecisionWeighted,
        Metric::RecallMicro,
        Metric::RecallMacro,
        Metric::RecallWeighted,
        Metric::Matthews,
        Metric::SubsetAccuracy,
        Metric::HammingLoss,
        Metric::LabelRankingAveragePrecision,
        Metric::F1Samples,
        Metric::PrecisionSamples,
        Metric::RecallSamples,
        Metric::F1,
        Metric::Precision,
        Metric::Recall,
        Metric::StrictF1,
        Metric::ExactMatch,
        Metric::Mse,
        Metric::Rmse,
        Metric::Mae,
        Metric::R2,
        Metric::Pearson,
        Metric::Spearman,
        Metric::Perplexity,
        Metric::Loss,
    ];

    /// What rows with one label are scored by, in the order in which scores are written.
    pub const CLASSIFICATION: &'static [Metric] = &[
        Metric::Accuracy,
        Metric::F1Micro,
        Metric::F1Macro,
        Metric::F1Weighted,
        Metric::PrecisionMicro,
        Metric::PrecisionMacro,
        Metric::PrecisionWeighted,
        Metric::RecallMicro,
        Metric::RecallMacro,
        Metric::RecallWeighted,
        Metric::Matthews,
        Metric::Loss,
    ];

    /// What rows with any number of labels are scored by, in the order in which scores are written.
    pub const MULTI_LABEL: &'static [Metric] = &[
        Metric::SubsetAccuracy,
        Metric::F1Micro,
        Metric::F1Macro,
        Metric::F1Weighted,
        Metric::F1Samples,
        Metric::PrecisionMicro,
        Metric::PrecisionMacro,
        Metric::PrecisionWeighted,
        Metric::PrecisionSamples,
        Metric::RecallMicro,
        Metric::RecallMacro,
        Metric::RecallWeighted,
        Metric::RecallSamples,
        Metric::LabelRankingAveragePrecision,
        Metric::HammingLoss,
        Metric::Loss,
    ];

    /// What tagged words are scored by, in the order in which scores are written. Tags that are no chunk tags have no strict
    /// score.
    pub const TAGS: &'static [Metric] = &[
        Metric::F1,
        Metric::Precision,
        Metric::Recall,
        Metric::F1Macro,
        Metric::PrecisionMacro,
        Metric::RecallMacro,
        Metric::F1Weighted,
        Metric::PrecisionWeighted,
        Metric::RecallWeighted,
        Metric::StrictF1,
        Metric::Accuracy,
        Metric::Loss,
    ];

    /// What answers to questions are scored by, in the order in which scores are written.
    pub const ANSWERS: &'static [Metric] = &[Metric::ExactMatch, Metric::F1, Metric::Loss];

    /// What numbers are scored by, in the order in which scores are written.
    pub const REGRESSION: &'static [Metric] = &[
        Metric::Mse,
        Metric::Rmse,
        Metric::Mae,
        Metric::R2,
        Metric::Pearson,
        Metric::Spearman,
        Metric::Loss,
    ];

    /// What masked words are scored by.
    pub const MASKED: &'static [Metric] = &[Metric::Accuracy, Metric::Perplexity, Metric::Loss];

    /// The name in specs and in `scores.json`.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::F1Micro => "f1_micro",
            Metric::F1Macro => "f1_macro",
            Metric::F1Weighted => "f1_weighted",
            Metric::PrecisionMicro => "precision_micro",
            Metric::PrecisionMacro => "precision_macro",
            Metric::PrecisionWeighted => "precision_weighted",
            Metric::RecallMicro => "recall_micro",
            Metric::RecallMacro => "recall_macro",
            Metric::RecallWeighted => "recall_weighted",
            Metric::Matthews => "matthews",
            Metric::Loss => "loss",
            Metric::SubsetAccuracy => "subset_accuracy",
            Metric::HammingLoss => "hamming_loss",
            Metric::LabelRankingAveragePrecision => "label_ranking_average_precision",
            Metric::F1Samples => "f1_samples",
            Metric::PrecisionSamples => "precision_samples",
            Metric::RecallSamples => "recall_samples",
            Metric::F1 => "f1",
            Metric::Precision => "precision",
            Metric::Recall => "recall",
            Metric::StrictF1 => "strict_f1",
            Metric::ExactMatch => "exact_match",
            Metric::Mse => "mse",
            Metric::Rmse => "rmse",
            Metric::Mae => "mae",
            Metric::R2 => "r2",
            Metric::Perplexity => "perplexity",
            Metric::Pearson => "pearson",
            Metric::Spearman => "spearman",
        }
    }

    /// Whether more is better; of losses and errors, less is.
    pub fn higher_is_better(self) -> bool {
        !matches!(
            self,
            Metric::Loss
                | Metric::HammingLoss
                | Metric::Mse
                | Metric::Rmse
                | Metric::Mae
                | Metric::Perplexity
        )
    }

    /// Whether `candidate` beats `best`. Not a number never wins, and always loses.
    pub fn improves(self, candidate: f64, best: f64) -> bool {
        if candidate.is_nan() || best.is_nan() {
            return !candidate.is_nan();
        }
        if self.higher_is_better() {
            candidate > best
        } else {
            candidate < best
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metrics_name_is_what_serde_writes() {
        for metric in Metric::ALL {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
    }

    #[test]
    fn every_task_is_scored_by_its_loss_too_and_by_nothing_twice() {
        for list in [
            Metric::CLASSIFICATION,
            Metric::MULTI_LABEL,
            Metric::TAGS,
            Metric::ANSWERS,
            Metric::REGRESSION,
            Metric::MASKED,
        ] {
            assert_eq!(list.last(), Some(&Metric::Loss));
            let unique: std::collections::HashSet<_> = list.iter().collect();
            assert_eq!(unique.len(), list.len());
        }
    }

    #[test]
    fn every_metric_is_some_tasks_and_in_the_list_of_all() {
        let lists = [
            Metric::CLASSIFICATION,
            Metric::MULTI_LABEL,
            Metric::TAGS,
            Metric::ANSWERS,
            Metric::REGRESSION,
            Metric::MASKED,
        ];
        let of_tasks: std::collections::HashSet<_> = lists.concat().into_iter().collect();
        assert_eq!(of_tasks, Metric::ALL.into_iter().collect());
        let schema = serde_json::to_value(schemars::schema_for!(Metric)).unwrap();
        let text = schema.to_string();
        for metric in Metric::ALL {
            assert!(text.contains(&format!("{:?}", metric.name())), "{metric}");
        }
    }

    #[test]
    fn a_lower_loss_improves_and_a_lower_accuracy_does_not() {
        assert!(Metric::Loss.improves(0.1, 0.2));
        assert!(!Metric::Accuracy.improves(0.1, 0.2));
        assert!(!Metric::Accuracy.improves(0.2, 0.2));
        assert!(Metric::HammingLoss.improves(0.1, 0.2) && Metric::Mae.improves(0.1, 0.2));
        assert!(Metric::R2.improves(-0.1, -0.2));
    }

    #[test]
    fn not_a_number_never_improves() {
        assert!(!Metric::Loss.improves(f64::NAN, 0.2));
        assert!(Metric::Loss.improves(0.2, f64::NAN));
    }
}
