//! How many tokens rows have, and so where to cut them.
//!
//! The 99th percentile, rounded up to a multiple of eight, which is what matrices are multiplied in. Without the encoder's
//! tokenizer a word is taken for 1.4 tokens, as English is cut by BERT's vocabulary.
//!
//! Deliberately absent: what an encoder can read at most; most have 512 positions, and no more is guessed.

use std::ops::ControlFlow;

use super::profile::as_text;
use crate::table::Cell;
use crate::table::peek::Peek;
use crate::table::read::{Column, Rows};
use crate::text::{TextError, Tokenizer};

/// Rows that are counted, from all over those that were read.
const COUNTED: usize = 2000;
const PERCENTILE: f64 = 0.99;
const TOKENS_OF_WORD: f64 = 1.4;
/// What stands around and between texts.
const SPECIAL: usize = 3;
const SHORTEST: usize = 32;
const LONGEST: usize = 512;
/// As SQuAD is read since BERT; longer contexts are read in windows.
const LONGEST_QUESTION: usize = 384;
const STEP: usize = 8;
/// What no row reaches.
const WITHOUT_END: usize = 1 << 20;

/// How long rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lengths {
    /// So many tokens 99 of 100 rows have at most, special ones included.
    pub most: usize,
    /// Whether the encoder's tokenizer counted them.
    pub counted: bool,
    pub max_length: usize,
}

impl Lengths {
    pub(super) fn of(
        peek: &Peek,
        rows: &Rows,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Lengths, TextError> {
        let cells = |column: &Column| {
            let peeked = peek.columns.iter().find(|one| one.column == *column);
            peeked.map_or(&[][..], |peeked| peeked.cells.as_slice())
        };
        let step = peek.rows.div_ceil(COUNTED).max(1);
        let texts = |column: &Column| -> Vec<String> {
            let cells = cells(column).iter().step_by(step);
            cells
                .map(|cell| as_text(cell).unwrap_or_default().to_owned())
                .collect()
        };
        let on_rows = &mut |_| ControlFlow::Continue(());
        let (texts, pairs) = match rows {
            Rows::Words { tokens, .. } => {
                let words = cells(tokens).iter().step_by(step).map(words_of);
                let words: Vec<Vec<String>> = words.collect();
                if let Some(tokenizer) = tokenizer {
                    let encoded = tokenizer.encode_words(&words, WITHOUT_END, 0, on_rows)?;
                    return Ok(Lengths::at(encoded.full_lengths().to_vec(), true, LONGEST));
                }
                let lines = words.iter().map(|words| words.join(" "));
                (lines.collect(), None)
            }
            Rows::Texts {
                text, text_pair, ..
            } => (texts(text), text_pair.as_ref().map(texts)),
            Rows::Questions {
                question, context, ..
            } => (texts(question), Some(texts(context))),
        };
        let longest = match rows {
            Rows::Questions { .. } => LONGEST_QUESTION,
            _ => LONGEST,
        };
        if let Some(tokenizer) = tokenizer {
            let encoded =
                tokenizer.encode_columns(&texts, pairs.as_deref(), WITHOUT_END, on_rows)?;
            return Ok(Lengths::at(encoded.full_lengths().to_vec(), true, longest));
        }
        let count = |text: &String| text.split_whitespace().count();
        let lengths = texts.iter().enumerate().map(|(row, text)| {
            let pair = pairs.as_ref().and_then(|pairs| pairs.get(row));
            let words = count(text) + pair.map_or(0, count);
            (words as f64 * TOKENS_OF_WORD).ceil() as u32 + SPECIAL as u32
        });
        Ok(Lengths::at(lengths.collect(), false, longest))
    }

    fn at(mut lengths: Vec<u32>, counted: bool, longest: usize) -> Lengths {
        lengths.sort_unstable();
        let place = (lengths.len() as f64 * PERCENTILE).ceil() as usize;
        let most = lengths.get(place.saturating_sub(1)).copied();
        let most = most.unwrap_or_default() as usize;
        Lengths {
            most,
            counted,
            max_length: most.next_multiple_of(STEP).clamp(SHORTEST, longest),
        }
    }
}

fn words_of(cell: &Cell) -> Vec<String> {
    match cell {
        Cell::List(items) => items
            .iter()
            .filter_map(as_text)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_one_in_a_hundred_rows_fit() {
        let at = |lengths: Vec<u32>| {
            let lengths = Lengths::at(lengths, true, LONGEST);
            (lengths.most, lengths.max_length)
        };
        assert_eq!(at((1..=100).collect()), (99, 104));
        assert_eq!(at(vec![41; 300]), (41, 48));
        assert_eq!(at(vec![3, 4, 5]), (5, 32));
        assert_eq!(at(vec![4000; 3]), (4000, 512));
        assert_eq!(at(Vec::new()), (0, 32));
        let mut one_of_many = vec![40; 1000];
        one_of_many.push(900);
        assert_eq!(at(one_of_many), (40, 40));
    }
}
