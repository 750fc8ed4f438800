//! Answers one by one, for whoever asks for a few and shows them, where columns are for many.
//!
//! Promise: a reply says what the columns say of the same row.
//!
//! Deliberately absent: names of labels and targets, which are the model's.

/// What a model answers to one text.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Of one label for each text: the probability of each label, in the model's order, and the one that is given. Of any
    /// number of labels: those that are given, ascending.
    Labels {
        probabilities: Vec<f32>,
        given: Vec<usize>,
    },
    /// The entities of a text in their order; of tags that mark none, every word with its tag.
    Entities(Vec<Entity>),
    /// The best answer first. Where `text` is empty and `start` and `end` are 0, it is that the context holds no answer; it
    /// is in the list where the model may give it.
    Answers(Vec<SpanAnswer>),
    /// A number for each target, in the model's order.
    Numbers(Vec<f32>),
}

/// A stretch of a text that is something.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// Its type; of a word that is tagged alone, the tag.
    pub label: String,
    /// In Unicode characters from the text's beginning.
    pub start: u32,
    /// The first character after it.
    pub end: u32,
    pub text: String,
    /// The probability of its least sure word.
    pub score: f32,
}

/// A stretch of a context that answers a question.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanAnswer {
    pub text: String,
    /// In Unicode characters from the context's beginning.
    pub start: u32,
    /// The first character after it.
    pub end: u32,
    /// Its probability among the answers that were considered.
    pub score: f32,
}
