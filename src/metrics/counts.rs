//! Hits, truths and predictions of one class, and the quotients and means made of them.
//!
//! Promise: scikit-learn's `zero_division=0`: a quotient with nothing below the line is 0.
//!
//! Deliberately absent: what is counted. A class may be a label, a row, or a type of entity.

/// How often a class was right, true, and predicted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) hits: f64,
    pub(super) support: f64,
    pub(super) predicted: f64,
}

impl Counts {
    /// One decision: whether the class is `true`, and whether it was predicted.
    pub(super) fn add(&mut self, truth: bool, predicted: bool) {
        self.hits += f64::from(truth && predicted);
        self.support += f64::from(truth);
        self.predicted += f64::from(predicted);
    }

    pub(super) fn precision(&self) -> f64 {
        quotient(self.hits, self.predicted)
    }

    pub(super) fn recall(&self) -> f64 {
        quotient(self.hits, self.support)
    }

    pub(super) fn f1(&self) -> f64 {
        quotient(2.0 * self.hits, self.support + self.predicted)
    }
}

pub(super) fn total(counts: &[Counts]) -> Counts {
    counts.iter().fold(Counts::default(), |sum, one| Counts {
        hits: sum.hits + one.hits,
        support: sum.support + one.support,
        predicted: sum.predicted + one.predicted,
    })
}

/// The mean in which each class counts alike.
pub(super) fn macro_mean(counts: &[Counts], value: fn(&Counts) -> f64) -> f64 {
    quotient(counts.iter().map(value).sum(), counts.len() as f64)
}

/// The mean in which each class counts as often as it is true.
pub(super) fn weighted_mean(counts: &[Counts], value: fn(&Counts) -> f64) -> f64 {
    quotient(
        counts.iter().map(|one| value(one) * one.support).sum(),
        total(counts).support,
    )
}

pub(super) fn quotient(above: f64, below: f64) -> f64 {
    if below == 0.0 { 0.0 } else { above / below }
}
