//! What is served: anything that answers questions. A bundle does.
//!
//! Deliberately absent: HTTP, and who asks.

use std::ops::ControlFlow;

use crate::task::Task;

/// What is asked of a model: a text, and the second text of a pair (the context of a question).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub text: String,
    pub pair: Option<String>,
}

/// What a model answers to one question.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Labels {
        probabilities: Vec<f32>,
        given: Vec<usize>,
    },
    Entities(Vec<Entity>),
    Answers(Vec<SpanAnswer>),
    Numbers(Vec<f32>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    pub label: String,
    pub start: usize,
    pub end: usize,
    pub text: String,
    pub score: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SpanAnswer {
    pub text: String,
    pub start: usize,
    pub end: usize,
    pub score: f32,
}

/// Something that answers questions, one batch after the other.
pub trait Model: Send + Sync + 'static {
    fn task(&self) -> Task;

    /// The names of labels, tags or targets, in the order of its numbers; none for questions.
    fn names(&self) -> &[String];

    /// The length in tokens to which texts are cut, or of the windows into which they are.
    fn max_length(&self) -> usize;

    /// How many tokens each of these is to the model.
    ///
    /// # Errors
    /// A text that it cannot read.
    fn tokens(&self, questions: &[Question]) -> Result<Vec<usize>, ModelFault>;

    /// The answers, in order, computed in passes of at most so many tokens. `on_rows` is told of rows that are done, and may
    /// stop the rest.
    ///
    /// # Errors
    /// A text that it cannot answer; a device that fails; `on_rows` stopped it.
    fn answer(
        &self,
        questions: &[Question],
        batch_tokens: usize,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Reply>, ModelFault>;
}

/// Why a model does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFault {
    /// It cannot be asked that.
    Unanswerable {
        message: String,
        help: Option<String>,
    },
    /// It failed.
    Failed { message: String },
}
