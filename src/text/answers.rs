//! Where an answer lies among the tokens of a window, given where it lies in the context.
//!
//! The rule is that of transformers' `run_qa.py` (`prepare_train_features`): from the last token that begins at or before
//! the answer's beginning to the first that ends at or after its end, so that the tokens hold the answer whole, and a
//! little more where it begins or ends within a token. Where the context of the window does not hold it whole, the window
//! does not answer the question. In one thing it is otherwise: `run_qa.py` may run past the last token of the context,
//! since special tokens say that they begin at 0; here only tokens of the context count.
//!
//! Deliberately absent: the way back, from tokens to the text of an answer, which is a matter of scores.

use std::ops::Range;

use super::{Encoded, NONE};

/// In a row without the answer: the first token, `[CLS]`, twice.
pub const NO_ANSWER: (u32, u32) = (0, 0);

/// First and last token, both inclusive, of the answer at these characters of the context, the end exclusive. `start` and
/// `end` have an entry for each token of the row, as [`Encoded::characters`]. [`NO_ANSWER`] where the row does not hold
/// the answer whole, or the answer is empty.
pub fn tokens_of(answer: &Range<u32>, start: &[u32], end: &[u32]) -> (u32, u32) {
    let in_context = |token: &u32| *token != NONE;
    let (Some(first), Some(last)) = (
        start.iter().position(in_context),
        end.iter().rposition(in_context),
    ) else {
        return NO_ANSWER;
    };
    if answer.is_empty() || start[first] > answer.start || end[last] < answer.end {
        return NO_ANSWER;
    }
    let begins_later = |token: &u32| *token > answer.start;
    let from = start[first..=last]
        .iter()
        .position(begins_later)
        .map_or(last, |later| first + later - 1);
    let ends_earlier = |token: &u32| *token < answer.end;
    let to = end[first..=last]
        .iter()
        .rposition(ends_earlier)
        .map_or(first, |earlier| first + earlier + 1);
    match from <= to {
        true => (from as u32, to as u32),
        false => NO_ANSWER,
    }
}

/// [`tokens_of`] for each row, given the answer of each example; `None` is a question without one. Nothing where the rows
/// have no context, or the answers are not as many as the examples.
pub fn in_rows(encoded: &Encoded, answers: &[Option<Range<u32>>]) -> Option<Vec<[u32; 2]>> {
    if encoded.characters.is_none() || answers.len() != encoded.examples() {
        return None;
    }
    let in_row = |row: usize| {
        let (start, end) = encoded.characters(row)?;
        let (first, last) = match &answers[encoded.example(row)] {
            Some(answer) => tokens_of(answer, start, end),
            None => NO_ANSWER,
        };
        Some([first, last])
    };
    (0..encoded.rows()).map(in_row).collect()
}

/// How many examples have an answer that none of their rows holds whole.
pub fn torn(encoded: &Encoded, answers: &[Option<Range<u32>>]) -> usize {
    let mut whole: Vec<bool> = answers.iter().map(Option::is_none).collect();
    for (row, answer) in in_rows(encoded, answers).into_iter().flatten().enumerate() {
        let whole = &mut whole[encoded.example(row)];
        *whole = *whole || answer != <[u32; 2]>::from(NO_ANSWER);
    }
    whole.into_iter().filter(|whole| !whole).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    // "[CLS] q [SEP] Red fish, blue [SEP]"
    const START: [u32; 8] = [NONE, NONE, NONE, 0, 4, 8, 10, NONE];
    const END: [u32; 8] = [NONE, NONE, NONE, 3, 8, 9, 14, NONE];

    #[test]
    fn an_answer_on_the_bounds_of_tokens_is_these_tokens() {
        assert_eq!(tokens_of(&(0..3), &START, &END), (3, 3));
        assert_eq!(tokens_of(&(4..8), &START, &END), (4, 4));
        assert_eq!(tokens_of(&(4..14), &START, &END), (4, 6));
        assert_eq!(tokens_of(&(0..14), &START, &END), (3, 6));
        assert_eq!(
            tokens_of(&(10..14), &START, &END),
            (6, 6),
            "in the last token"
        );
    }

    #[test]
    fn an_answer_within_tokens_takes_them_whole() {
        assert_eq!(tokens_of(&(1..2), &START, &END), (3, 3));
        assert_eq!(tokens_of(&(5..9), &START, &END), (4, 5));
        assert_eq!(tokens_of(&(9..11), &START, &END), (5, 6), "from a space on");
        assert_eq!(
            tokens_of(&(3..4), &START, &END),
            (3, 4),
            "the space between two tokens"
        );
    }

    #[test]
    fn an_answer_that_the_row_does_not_hold_whole_is_none() {
        assert_eq!(tokens_of(&(4..15), &START, &END), NO_ANSWER);
        let (start, end) = (&START[4..], &END[4..]);
        assert_eq!(tokens_of(&(0..8), start, end), NO_ANSWER);
        assert_eq!(tokens_of(&(8..9), start, end), (1, 1));
        assert_eq!(tokens_of(&(0..3), &[NONE; 3], &[NONE; 3]), NO_ANSWER);
        assert_eq!(tokens_of(&(0..3), &[], &[]), NO_ANSWER);
    }

    #[test]
    fn an_empty_answer_is_none() {
        let (from, to) = (8, 5);
        for answer in [4..4, 9..9, from..to] {
            assert_eq!(tokens_of(&answer, &START, &END), NO_ANSWER, "{answer:?}");
        }
    }
}
