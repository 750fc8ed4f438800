//! What is served: anything that answers questions. A bundle does.
//!
//! Deliberately absent: HTTP, and who asks.

use std::ops::ControlFlow;

use miette::Diagnostic;

use crate::bundle::{Bundle, BundleError};
use crate::task::Task;

pub use crate::bundle::{Entity, Question, Reply, SpanAnswer};

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

impl std::fmt::Display for ModelFault {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (ModelFault::Unanswerable { message, .. } | ModelFault::Failed { message }) = self;
        f.write_str(message)
    }
}

impl Model for Bundle {
    fn task(&self) -> Task {
        self.info().task
    }

    fn names(&self) -> &[String] {
        self.info().names()
    }

    fn max_length(&self) -> usize {
        Bundle::max_length(self)
    }

    fn tokens(&self, questions: &[Question]) -> Result<Vec<usize>, ModelFault> {
        Bundle::tokens(self, questions).map_err(fault)
    }

    fn answer(
        &self,
        questions: &[Question],
        batch_tokens: usize,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Reply>, ModelFault> {
        Bundle::answer(self, questions, batch_tokens, on_rows).map_err(fault)
    }
}

fn fault(error: BundleError) -> ModelFault {
    match error {
        // A question is what its request holds, and nothing else in it can be wrong.
        BundleError::Question { .. } | BundleError::Text(_) => ModelFault::Unanswerable {
            message: error.to_string(),
            help: error.help().map(|help| help.to_string()),
        },
        other => ModelFault::Failed {
            message: told(&other),
        },
    }
}

/// An error with what led to it.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// Lets a model answer once, so that the first request does not wait for what is made on first use.
///
/// # Errors
/// It does not answer.
pub fn warm_up(model: &dyn Model) -> Result<(), ModelFault> {
    let question = Question {
        text: "Is it warm?".to_owned(),
        pair: (model.task() == Task::QuestionAnswering).then(|| "It is warm now.".to_owned()),
    };
    let questions = vec![question; 8];
    model.tokens(&questions)?;
    let answered = model.answer(&questions, 4096, &mut |_| ControlFlow::Continue(()));
    answered.map(|_| ())
}
