//! How long to train, and in which batches, by the number of rows.
//!
//! Devlin et al. (2019) fine-tune for two to four epochs in batches of 16 or 32; with few rows more epochs are needed (Mosbach
//! et al. 2021, Zhang et al. 2021), and the validation split says when it was enough.
//!
//! Deliberately absent: the learning rate, whose default is sound for every encoder here, and a search: that is a sweep's.

use crate::task::Task;

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    pub epochs: u32,
    pub batch: usize,
    /// Evaluations without a better score until training stops; none where it is short anyway.
    pub patience: Option<u32>,
    /// Whether the best weights are those with the best macro F1, to which rare classes count as much as others.
    pub by_f1: bool,
}

/// From so many training rows on, so many epochs.
const EPOCHS: [(usize, u32); 4] = [(50_000, 2), (5_000, 3), (1_000, 5), (0, 10)];
/// So many epochs may be too many.
const LONG: u32 = 5;
const PATIENCE: u32 = 2;
/// From so many rows on batches are large, where rows are short. Rows, tokens.
const MANY_ROWS: usize = 5_000;
const SHORT: usize = 256;

impl Recipe {
    pub(super) fn of(task: Task, rows: usize, max_length: usize, imbalanced: bool) -> Recipe {
        let epochs = EPOCHS.into_iter().find(|(least, _)| rows >= *least);
        let epochs = epochs.map_or(LONG, |(_, epochs)| epochs);
        // A question brings a long context, and models of them overfit early.
        let epochs = match task {
            Task::QuestionAnswering => epochs.min(3),
            _ => epochs,
        };
        let large = rows >= MANY_ROWS && max_length <= SHORT;
        Recipe {
            epochs,
            batch: if large { 32 } else { 16 },
            patience: (epochs >= LONG || imbalanced).then_some(PATIENCE),
            by_f1: imbalanced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_are_seen_more_often_and_training_may_stop() {
        let of = |rows| Recipe::of(Task::Classification, rows, 64, false);
        assert_eq!((of(200).epochs, of(200).patience), (10, Some(2)));
        assert_eq!((of(2_000).epochs, of(2_000).batch), (5, 16));
        assert_eq!((of(9_000).epochs, of(9_000).batch), (3, 32));
        assert_eq!((of(90_000).epochs, of(90_000).patience), (2, None));
        let long = Recipe::of(Task::QuestionAnswering, 200, 384, false);
        assert_eq!((long.epochs, long.batch, long.patience), (3, 16, None));
        let rare = Recipe::of(Task::Classification, 90_000, 64, true);
        assert!(rare.by_f1 && rare.patience.is_some());
    }
}
