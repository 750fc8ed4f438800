//! What a model is for, and the classes of transformers that do the same.
//!
//! Deliberately absent: how a task is learned (`learn::Objective`) and how its answers are read.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a model learns to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One label for each text or pair of texts.
    #[default]
    Classification,
    /// Any number of labels for each text or pair of texts.
    MultiLabel,
    /// One or several numbers for each text or pair of texts.
    Regression,
    /// A label for each word: names, parts of speech.
    TokenClassification,
    /// The part of a context that answers a question, or that there is none.
    QuestionAnswering,
}

impl Task {
    /// Every task, in the order in which they are told.
    pub const ALL: [Task; 5] = [
        Task::Classification,
        Task::MultiLabel,
        Task::Regression,
        Task::TokenClassification,
        Task::QuestionAnswering,
    ];

    /// The name in specs and in `model.json`.
    pub fn name(self) -> &'static str {
        match self {
            Task::Classification => "classification",
            Task::MultiLabel => "multi_label",
            Task::Regression => "regression",
            Task::TokenClassification => "token_classification",
            Task::QuestionAnswering => "question_answering",
        }
    }

    /// What the names of transformers' classes for it end with, after the family and `For`.
    pub fn class(self) -> &'static str {
        match self {
            Task::Classification | Task::MultiLabel | Task::Regression => "SequenceClassification",
            Task::TokenClassification => "TokenClassification",
            Task::QuestionAnswering => "QuestionAnswering",
        }
    }

    /// What `problem_type` of a `config.json` says, by which transformers chooses the loss; only for whole texts.
    pub fn problem_type(self) -> Option<&'static str> {
        match self {
            Task::Classification => Some("single_label_classification"),
            Task::MultiLabel => Some("multi_label_classification"),
            Task::Regression => Some("regression"),
            Task::TokenClassification | Task::QuestionAnswering => None,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tasks_name_is_what_serde_writes() {
        for task in Task::ALL {
            assert_eq!(serde_json::to_value(task).unwrap(), task.name());
        }
    }
}
