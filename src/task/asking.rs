//! Rows as a task asks for them: texts to be answered, before and after a tokenizer has seen them.
//!
//! Promise: whoever asks a model goes through here, so that equal texts become equal tokens wherever they come from.
//!
//! Deliberately absent: what the rows say themselves, which no answer may depend on.

use std::ops::ControlFlow;

use super::{Asked, Task, words_in};
use crate::model::ModelInfo;
use crate::table::Texts;
use crate::text::{Encoded, TextError, Tokenizer};

/// Rows as the task asks for them.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared<'t> {
    task: Task,
    texts: Texts<&'t str>,
    /// Where each word stands in its text, where the words were cut here.
    places: Option<Vec<Vec<(u32, u32)>>>,
}

impl<'t> Prepared<'t> {
    /// Plain texts whose words are to be tagged are cut into words. Contexts of questions are in `text_pair`.
    pub fn new(task: Task, mut texts: Texts<&'t str>) -> Self {
        texts.answers = None;
        let mut places = None;
        if task == Task::TokenClassification && texts.words.is_none() {
            let cut = texts.text.iter().map(|text| words_in(text));
            let (words, at) = cut.map(|words| words.into_iter().unzip()).unzip();
            texts.words = Some(words);
            places = Some(at);
        }
        Prepared {
            task,
            texts,
            places,
        }
    }

    /// The texts, without what they say themselves.
    pub fn texts(&self) -> &Texts<&'t str> {
        &self.texts
    }

    /// As tokens, cut to `max_length` or into windows of so many of which neighbours share `stride`. `on_rows` is told how
    /// many texts were done, and may stop the rest.
    ///
    /// # Errors
    /// As those of the tokenizer's own functions.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        max_length: usize,
        stride: usize,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Encoded, TextError> {
        let text = self.texts.text.as_slice();
        let pair = self.texts.text_pair.as_deref();
        match (self.task, &self.texts.words) {
            (Task::TokenClassification, Some(words)) => {
                tokenizer.encode_words(words, max_length, stride, on_rows)
            }
            (Task::QuestionAnswering, _) => {
                let contexts = pair.unwrap_or_default();
                tokenizer.encode_questions(text, contexts, max_length, stride, on_rows)
            }
            _ => tokenizer.encode_columns(text, pair, max_length, on_rows),
        }
    }

    /// What is asked, given the tokens that [`encode`](Self::encode) made.
    pub fn asked<'a>(&'a self, encoded: &'a Encoded) -> Asked<'a>
    where
        't: 'a,
    {
        Asked {
            rows: encoded,
            examples: Some(&self.texts),
            places: self.places.as_deref(),
        }
    }
}

/// The tokens that neighbouring windows share, which the model may not say.
pub fn stride_of(info: &ModelInfo) -> usize {
    info.stride.unwrap_or(info.max_length / 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Answer;

    #[test]
    fn what_rows_say_themselves_is_no_part_of_what_is_asked() {
        let answer = Answer {
            start: 0,
            text: "Rome",
        };
        let texts = Texts {
            id: vec![7],
            text: vec!["Where?"],
            text_pair: Some(vec!["Rome it is."]),
            answers: Some(vec![vec![answer]]),
            ..Texts::default()
        };
        let asked = Prepared::new(Task::QuestionAnswering, texts.clone());
        assert_eq!(asked.texts.answers, None);
        assert_eq!(asked.texts.text_pair, texts.text_pair);
    }

    #[test]
    fn a_text_is_cut_into_words_only_where_words_are_tagged() {
        let texts = || Texts {
            id: vec![0],
            text: vec!["Ada, Oslo"],
            ..Texts::default()
        };
        let tagged = Prepared::new(Task::TokenClassification, texts());
        assert_eq!(tagged.texts.words, Some(vec![vec!["Ada", ",", "Oslo"]]));
        assert_eq!(tagged.places, Some(vec![vec![(0, 3), (3, 4), (5, 9)]]));
        let whole = Prepared::new(Task::Classification, texts());
        assert_eq!((&whole.texts.words, &whole.places), (&None, &None));
    }
}
