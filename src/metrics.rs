//! Scores: how good a model's answers are, as numbers and as a table for people.
//!
//! Every definition is scikit-learn's (`precision_recall_fscore_support`, `matthews_corrcoef`, `confusion_matrix`), with
//! `zero_division=0` and with *all* label names as `labels`: a class that a split lacks still counts in a macro mean. The
//! numbers are held to scikit-learn's by `tests/fixtures/classification_metrics.json`.
//!
//! Deliberately absent: anything that knows a model or a file. The loss comes from whoever computed it.

mod classification;
mod render;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use classification::{ClassScores, Classification, classification};
pub use render::render;

/// A single number that tells a better model from a worse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of rows answered rightly.
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
    /// Mean of the classes' recall, each counted by its number of rows; the same as accuracy.
    RecallWeighted,
    /// Matthews correlation, from -1 to 1; 0 is no better than chance.
    Matthews,
    /// Mean cross entropy, in nats; lower is better.
    Loss,
}

impl Metric {
    /// Every metric, in the order in which scores are written.
    pub const ALL: [Metric; 12] = [
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
        }
    }

    /// Whether more is better; only of the loss, less is.
    pub fn higher_is_better(self) -> bool {
        self != Metric::Loss
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
    fn a_lower_loss_improves_and_a_lower_accuracy_does_not() {
        assert!(Metric::Loss.improves(0.1, 0.2));
        assert!(!Metric::Accuracy.improves(0.1, 0.2));
        assert!(!Metric::Accuracy.improves(0.2, 0.2));
    }

    #[test]
    fn not_a_number_never_improves() {
        assert!(!Metric::Loss.improves(f64::NAN, 0.2));
        assert!(Metric::Loss.improves(0.2, f64::NAN));
    }
}
