//! Tasks: what a model is asked, how its outputs become answers, and how answers are scored.
//!
//! One file for each task, and in it all that is its own: which rows it can learn from, how its outputs are decided, its
//! scores, and the columns of its predictions. [`Rule`] is what a decision needs beside the outputs; a model keeps it.
//! The network and its losses are in `model` and `learn`, the definitions of scores in `metrics`.
//!
//! Promise: training, evaluation and prediction decide by the same code, so a score is that of the answers a user gets.
//!
//! Deliberately absent: files, progress, devices, and any knowledge of stages.

mod asking;
pub mod changes;
mod classification;
pub mod explanations;
mod loss;
mod multi_label;
pub mod predictions;
mod question_answering;
mod regression;
mod reply;
mod token_classification;

use std::path::PathBuf;

use serde_json::{Map, Value};

pub use asking::{Prepared, stride_of};
pub use loss::{ClassWeights, LossName, LossSettings, PositiveWeights};
pub use multi_label::{Threshold, tuned_thresholds};
pub use question_answering::AnswerSettings;
pub use reply::{Entity, Reply, SpanAnswer};
pub use token_classification::{scheme_of, words_in};

pub use crate::model::Task;

use crate::learn::{LearnError, Predictions, Rows};
use crate::metrics::{Metric, Scheme};
use crate::model::{Classifier, ModelError, ModelInfo};
use crate::table::{Cells, Texts};

impl Task {
    /// The numbers that its scores begin with, the loss last.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Task::Classification => Metric::CLASSIFICATION,
            Task::MultiLabel => Metric::MULTI_LABEL,
            Task::TokenClassification => Metric::TAGS,
            Task::QuestionAnswering => Metric::ANSWERS,
            Task::Regression => Metric::REGRESSION,
        }
    }

    /// By which validation score the best weights are chosen where nothing else is said.
    pub fn metric(self) -> Metric {
        match self {
            Task::Classification => Metric::Accuracy,
            Task::MultiLabel => Metric::F1Micro,
            Task::TokenClassification | Task::QuestionAnswering => Metric::F1,
            Task::Regression => Metric::Loss,
        }
    }

    /// From where on an answer is given where nothing is said.
    pub fn threshold(self) -> Threshold {
        Threshold::Fixed(match self {
            Task::MultiLabel => 0.5,
            _ => 0.0,
        })
    }

    /// Whether it looks at a text as a whole, so that its head pools.
    pub fn pools(self) -> bool {
        !matches!(self, Task::TokenClassification | Task::QuestionAnswering)
    }
}

/// How outputs become answers, beside the model's weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub task: Task,
    /// Of labels, tags or targets, in the order of the outputs; none for questions.
    pub names: Vec<String>,
    /// Of several labels: from which probability on each is given. Of questions: one number, by how much "no answer" must
    /// be ahead to be given; none where every question has an answer.
    pub thresholds: Option<Vec<f64>>,
    /// Of tags that mark chunks.
    pub scheme: Option<Scheme>,
    /// Of questions.
    pub answers: AnswerSettings,
}

/// What was asked: rows of tokens, and the table's rows that they come from, where the task must see texts.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub rows: &'a dyn Rows,
    pub examples: Option<&'a Texts<&'a str>>,
    /// Where each word begins and ends in its example's text, in Unicode characters; without it, words have one space
    /// between them.
    pub places: Option<&'a [Vec<(u32, u32)>]>,
}

impl Asked<'_> {
    /// The id of each example.
    pub fn ids(&self) -> Vec<u64> {
        let mut ids = vec![0; self.rows.examples()];
        for row in 0..self.rows.rows() {
            if let Some(id) = ids.get_mut(self.rows.example(row)) {
                *id = self.rows.id(row);
            }
        }
        ids
    }
}

/// The answers to all rows that were asked.
pub trait Answers {
    /// How well they agree with what the rows say, given the mean `loss`.
    ///
    /// # Errors
    /// A row that does not say what the right answer is.
    fn scores(&self, asked: &Asked, loss: f64) -> Result<Scored, TaskError>;

    /// What was answered and how surely, as columns with an entry for each example; before it what the rows say, where they
    /// do.
    fn columns(&self, asked: &Asked) -> Vec<(String, Cells)>;

    /// What was answered to each example.
    fn replies(&self, asked: &Asked) -> Vec<Reply>;

    /// Of each example whether it is answered right, and how surely; none where nothing in it could be answered, such as a
    /// sentence without words.
    ///
    /// # Errors
    /// A row that does not say what the right answer is.
    fn outcomes(&self, asked: &Asked) -> Result<Vec<Option<Outcome>>, TaskError>;

    /// The number that decided the answer to an example, given the `outputs` that the answers were made of; one label for
    /// each text needs none. None where nothing decided, since there was nothing to decide.
    fn decisive(&self, asked: &Asked, outputs: &Predictions, example: usize) -> Option<Decisive>;
}

/// How an example was answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Whether all of the answer is right. Of numbers: whether it is no further off than that of the median example.
    pub right: bool,
    /// The probability of the answer; of tags that of the least sure word. Of numbers how far the first one is off, below 0
    /// where that is `right`.
    pub sure: f32,
}

/// A number that the model answers, and that its answer to an example hangs on.
#[derive(Debug, Clone, PartialEq)]
pub struct Decisive {
    /// The row that it is answered to: a window of the example.
    pub row: usize,
    /// Of which numbers of the head it is the sum: token (0 where a whole text is answered) and column of each.
    pub output: Vec<(usize, usize)>,
    /// Of the label, tag or target; or the text that it speaks for.
    pub name: String,
}

/// Scores of one split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scored {
    /// Metric → value, in the order of [`Task::metrics`].
    pub flat: Map<String, Value>,
    /// What does not fit into one number: tables by label, counts of errors.
    pub details: Map<String, Value>,
}

/// The answers to rows that come piece by piece, of which only what scores need is kept.
pub struct Tally(classification::Given);

impl Tally {
    /// Takes up the answers to the next rows.
    ///
    /// # Errors
    /// Outputs that are not finite.
    pub fn add(&mut self, outputs: &Predictions) -> Result<(), TaskError> {
        check_finite(outputs)?;
        self.0.add(outputs);
        Ok(())
    }

    /// The answers to all rows, of which the labels are kept: what [`Answers::scores`] and [`Answers::decisive`] need.
    pub fn answers(self) -> Box<dyn Answers> {
        Box::new(self.0.all())
    }
}

impl Rule {
    /// For a task whose rows are answered one by one and scored by little of the answers: one label for each text.
    pub fn tally(&self) -> Option<Tally> {
        let tallied = self.task == Task::Classification;
        tallied.then(|| Tally(classification::Given::new(self)))
    }

    /// The rule that a model was saved with.
    ///
    /// # Errors
    /// A tagging scheme that this program does not know.
    pub fn of_model(info: &ModelInfo) -> Result<Rule, TaskError> {
        let scheme = info.scheme.as_ref().map(|name| {
            Scheme::of_name(name).ok_or_else(|| TaskError::Unknown {
                what: format!("tags in the scheme {name}"),
            })
        });
        let usual = AnswerSettings::default();
        Ok(Rule {
            task: info.task,
            names: info.names().to_vec(),
            thresholds: info.thresholds.clone(),
            scheme: scheme.transpose()?,
            answers: AnswerSettings {
                max_length: info.max_answer_length.unwrap_or(usual.max_length),
                n_best: info.n_best.unwrap_or(usual.n_best),
            },
        })
    }

    /// What the model's outputs for these rows mean.
    ///
    /// # Errors
    /// Outputs that are not finite, or do not fit the rows; a device that fails.
    pub fn decide(
        &self,
        model: &Classifier,
        outputs: &Predictions,
        asked: &Asked,
    ) -> Result<Box<dyn Answers>, TaskError> {
        check_finite(outputs)?;
        Ok(match self.task {
            Task::Classification => Box::new(classification::decide(self, outputs)),
            Task::MultiLabel => Box::new(multi_label::decide(self, outputs)),
            Task::TokenClassification => {
                Box::new(token_classification::decide(self, model, outputs, asked)?)
            }
            Task::QuestionAnswering => Box::new(question_answering::decide(self, outputs, asked)?),
            Task::Regression => Box::new(regression::decide(self, outputs)),
        })
    }

    /// The scores of these outputs, without the answers that only columns keep.
    ///
    /// # Errors
    /// As [`decide`](Self::decide) and [`Answers::scores`].
    pub fn scores(
        &self,
        model: &Classifier,
        outputs: &Predictions,
        asked: &Asked,
        loss: f64,
    ) -> Result<Scored, TaskError> {
        match self.tally() {
            Some(mut tally) => {
                tally.add(outputs)?;
                tally.answers().scores(asked, loss)
            }
            None => self.decide(model, outputs, asked)?.scores(asked, loss),
        }
    }

    /// The rule with the thresholds that suit these outputs best. Where every question has an answer there is none to tune:
    /// the model has learned nothing about "no answer", and would keep silent where it is merely wrong.
    ///
    /// # Errors
    /// As [`Answers::scores`].
    pub fn tuned(&self, outputs: &Predictions, asked: &Asked) -> Result<Rule, TaskError> {
        let thresholds = match self.task {
            Task::MultiLabel => Some(multi_label::tuned_thresholds(self, outputs, asked)?),
            // Where every question has an answer, there is nothing to decide.
            Task::QuestionAnswering if self.thresholds.is_some() => {
                Some(vec![question_answering::tuned_threshold(
                    self, outputs, asked,
                )?])
            }
            _ => None,
        };
        Ok(Rule {
            thresholds,
            ..self.clone()
        })
    }
}

/// Scores of a diverged model would be numbers without meaning.
fn check_finite(outputs: &Predictions) -> Result<(), TaskError> {
    let broken = |row: &&Vec<f32>| !row.iter().all(|output| output.is_finite());
    match outputs.logits.iter().filter(broken).count() {
        0 => Ok(()),
        broken => Err(TaskError::NotFinite {
            broken,
            rows: outputs.logits.len(),
        }),
    }
}

/// What every row says in a column of the load stage.
fn of_every_row<'a, T>(
    asked: &Asked<'a>,
    column: &'static str,
    says: impl Fn(usize) -> Option<T>,
) -> Result<Vec<T>, TaskError> {
    let nothing = |row| TaskError::NothingToCompare {
        row: asked.rows.id(row),
        column,
    };
    (0..asked.rows.rows())
        .map(|row| says(row).ok_or_else(|| nothing(row)))
        .collect()
}

/// The characters of `text` from `start` to before `end`.
fn characters(text: &str, start: u32, end: u32) -> &str {
    let byte = |place: u32| {
        let found = text.char_indices().nth(place as usize);
        found.map_or(text.len(), |(byte, _)| byte)
    };
    let (start, end) = (byte(start), byte(end));
    text.get(start..end.max(start)).unwrap_or_default()
}

/// Why there are no answers, or no scores of them.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TaskError {
    #[error("the model was made for {what}, which this program does not know")]
    #[diagnostic(help("a newer refit may know it; train the model again, or use that program"))]
    Unknown { what: String },

    #[error("the model answers {broken} of {rows} rows with numbers that are not finite")]
    #[diagnostic(help(
        "its training diverged: lower `optimizer.learning_rate`, or raise `schedule.warmup`, of the train stage"
    ))]
    NotFinite { broken: usize, rows: usize },

    #[error("row {row} does not say what the right answer is: it has no `{column}`")]
    #[diagnostic(help(
        "name the column in `columns` of the load stage, or take a split that has it"
    ))]
    NothingToCompare { row: u64, column: &'static str },

    #[error("`{field}` names the label `{label}`, which the rows do not have")]
    #[diagnostic(help("the labels are {}", known.join(", ")))]
    UnknownLabel {
        label: String,
        field: &'static str,
        known: Vec<String>,
    },

    #[error("the tokens are not made for this task: there is {what}")]
    #[diagnostic(help("run again with --force for the tokenize stage"))]
    Misfit { what: &'static str },

    #[error("{} is broken: {reason}", path.display())]
    #[diagnostic(help("run again with --force for the evaluate stage"))]
    Explanations { path: PathBuf, reason: String },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Learn(#[from] LearnError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] ModelError),
}

impl TaskError {
    fn misfit(what: &'static str) -> TaskError {
        TaskError::Misfit { what }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::Encoded;

    #[test]
    fn outputs_that_are_not_finite_are_an_error_and_not_a_score() {
        let logits = vec![vec![0.0, f32::NAN], vec![1.0, 2.0]];
        let told = check_finite(&Predictions { logits })
            .unwrap_err()
            .to_string();
        assert!(told.contains("1 of 2 rows"), "{told}");
    }

    #[test]
    fn where_every_question_has_an_answer_no_threshold_is_tuned() {
        let asked = Asked {
            rows: &Encoded::default(),
            examples: Some(&Texts {
                text_pair: Some(Vec::new()),
                answers: Some(Vec::new()),
                ..Texts::default()
            }),
            places: None,
        };
        let outputs = Predictions { logits: Vec::new() };
        let tuned = |thresholds: Option<Vec<f64>>| {
            let rule = Rule {
                task: Task::QuestionAnswering,
                names: Vec::new(),
                thresholds,
                scheme: None,
                answers: AnswerSettings::default(),
            };
            rule.tuned(&outputs, &asked).unwrap().thresholds
        };
        assert_eq!(tuned(None), None);
        assert_eq!(tuned(Some(vec![3.0])), Some(vec![0.0]));
    }

    #[test]
    fn a_task_can_be_judged_by_the_metric_that_it_is_judged_by() {
        for task in Task::ALL {
            assert!(task.metrics().contains(&task.metric()), "{task}");
            assert_eq!(task.metrics().last(), Some(&Metric::Loss), "{task}");
        }
    }

    proptest! {
        #[test]
        fn characters_are_those_that_python_would_slice(
            text in "\\PC{0,40}",
            start in 0_u32..45,
            length in 0_u32..45,
        ) {
            let wanted: String = text.chars().skip(start as usize).take(length as usize).collect();
            prop_assert_eq!(characters(&text, start, start + length), wanted);
        }
    }
}
