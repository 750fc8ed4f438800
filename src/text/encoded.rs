//! Token ids of many rows, in memory: what a tokenizer makes of texts.
//!
//! A row is what a model reads at once. Of rows that are cut into windows several belong to one example, the text as it
//! came; otherwise a row is an example.
//!
//! Deliberately absent: what the examples are labelled with, and padding.

use std::ops::Range;

/// Token ids of many rows, one after the other, without padding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    pub(super) ids: Vec<u32>,
    pub(super) type_ids: Vec<u8>,
    /// Where each row begins, and at the end where the last one ends: `rows + 1` numbers.
    pub(super) offsets: Vec<u64>,
    /// Each example's length before it was cut, special tokens included.
    pub(super) full_lengths: Vec<u32>,
    pub(super) truncated: usize,
    pub(super) unknown: usize,
    /// Of which example each row is a window, ascending.
    pub(super) example: Option<Vec<u32>>,
    /// For each token the word that it begins, or [`NONE`](super::NONE).
    pub(super) words: Option<Vec<u32>>,
    /// For each token where it begins and ends in the context, or [`NONE`](super::NONE).
    pub(super) characters: Option<(Vec<u32>, Vec<u32>)>,
}

impl Encoded {
    pub fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The number of texts that the rows came from.
    pub fn examples(&self) -> usize {
        self.full_lengths.len()
    }

    /// The number of the example that a row is a window of; of rows that are not windows their own number.
    ///
    /// # Panics
    /// `row` is not below [`Encoded::rows`]; so do the other accessors.
    pub fn example(&self, row: usize) -> usize {
        self.example
            .as_ref()
            .map_or(row, |examples| examples[row] as usize)
    }

    /// The number of tokens of the longest row.
    pub fn longest(&self) -> usize {
        let lengths = self.offsets.windows(2).map(|bounds| bounds[1] - bounds[0]);
        lengths.max().unwrap_or(0) as usize
    }

    /// How many segments the rows have: 1 without pairs, 2 with; never 0.
    pub fn token_types(&self) -> usize {
        let highest = self.type_ids.iter().max();
        highest.map_or(1, |&highest| usize::from(highest) + 1)
    }

    /// The ids of one row.
    pub fn ids(&self, row: usize) -> &[u32] {
        &self.ids[self.bounds(row)]
    }

    /// The segment of each token of one row: 0 for the text, 1 for its pair.
    pub fn type_ids(&self, row: usize) -> &[u8] {
        &self.type_ids[self.bounds(row)]
    }

    /// For each token of a row of words: the number (in its example) of the word whose first token it is, where this row
    /// owns that word; elsewhere [`NONE`](super::NONE). Each word of an example is owned by one of its rows.
    pub fn words(&self, row: usize) -> Option<&[u32]> {
        Some(&self.words.as_ref()?[self.bounds(row)])
    }

    /// For each token of a row with a context: where it begins and ends there, in Unicode characters, the end exclusive;
    /// [`NONE`](super::NONE) for tokens of the question and special ones.
    pub fn characters(&self, row: usize) -> Option<(&[u32], &[u32])> {
        let (start, end) = self.characters.as_ref()?;
        Some((&start[self.bounds(row)], &end[self.bounds(row)]))
    }

    /// Each example's length in tokens before it was cut, special tokens included.
    pub fn full_lengths(&self) -> &[u32] {
        &self.full_lengths
    }

    /// How many tokens there are in all rows.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// How many examples lost tokens to `max_length`. Those of words never do, those of questions only where the
    /// question itself was too long.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// How many tokens are the unknown token.
    pub fn unknown(&self) -> usize {
        self.unknown
    }

    fn bounds(&self, row: usize) -> Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }

    /// Adds the rows of `more`, whose offsets lack the leading 0.
    pub(super) fn append(&mut self, more: Encoded) {
        fn join(to: &mut Option<Vec<u32>>, more: Option<Vec<u32>>) {
            if let (Some(to), Some(more)) = (to, more) {
                to.extend_from_slice(&more);
            }
        }
        let so_far = self.ids.len() as u64;
        self.offsets
            .extend(more.offsets.iter().map(|end| so_far + end));
        self.ids.extend_from_slice(&more.ids);
        self.type_ids.extend_from_slice(&more.type_ids);
        self.full_lengths.extend_from_slice(&more.full_lengths);
        self.truncated += more.truncated;
        self.unknown += more.unknown;
        join(&mut self.example, more.example);
        join(&mut self.words, more.words);
        if let (Some(to), Some(more)) = (&mut self.characters, more.characters) {
            to.0.extend_from_slice(&more.0);
            to.1.extend_from_slice(&more.1);
        }
    }
}
