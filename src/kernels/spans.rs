//! Which rows of `[rows, hidden]` belong to which text.

use std::ops::Range;
use std::sync::Arc;

/// The rows of each text, in the order of the texts. No two overlap; rows in between belong to no text and are padding.
///
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spans {
    texts: Arc<[Range<usize>]>,
    rows: usize,
}

impl Spans {
    /// Texts of the given lengths, one directly after the other: no padding.
    pub fn packed(lengths: impl IntoIterator<Item = usize>) -> Spans {
        let mut rows = 0;
        let texts = lengths
            .into_iter()
            .map(|length| {
                let start = rows;
                rows += length;
                start..rows
            })
            .collect();
        Spans { texts, rows }
    }

    /// Texts of the given lengths, a new one every `to` rows.
    ///
    /// # Panics
    /// When a text is longer than `to`.
    pub fn padded(lengths: impl IntoIterator<Item = usize>, to: usize) -> Spans {
        let texts: Arc<[Range<usize>]> = lengths
            .into_iter()
            .enumerate()
            .map(|(text, length)| {
                assert!(length <= to, "a text of {length} tokens, padded to {to}");
                text * to..text * to + length
            })
            .collect();
        let rows = texts.len() * to;
        Spans { texts, rows }
    }

    /// The rows of each text.
    pub fn texts(&self) -> &[Range<usize>] {
        &self.texts
    }

    /// All rows, with those of no text.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The length of the longest text; 0 for none.
    pub fn longest(&self) -> usize {
        self.texts
            .iter()
            .map(ExactSizeIterator::len)
            .max()
            .unwrap_or(0)
    }

    /// How many rows lie from one text's start to the next one's, where that is the same for all and leaves no row over.
    pub fn stride(&self) -> Option<usize> {
        let stride = self.rows.checked_div(self.texts.len())?;
        let regular = stride * self.texts.len() == self.rows
            && self
                .texts
                .iter()
                .enumerate()
                .all(|(text, rows)| rows.start == text * stride && rows.len() <= stride);
        regular.then_some(stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_texts_follow_each_other() {
        let spans = Spans::packed([3, 1, 2]);
        assert_eq!(spans.texts(), [0..3, 3..4, 4..6]);
        assert_eq!(
            (spans.rows(), spans.longest(), spans.stride()),
            (6, 3, None)
        );
    }

    #[test]
    fn padded_texts_start_at_multiples() {
        let spans = Spans::padded([3, 1], 4);
        assert_eq!(spans.texts(), [0..3, 4..5]);
        assert_eq!(
            (spans.rows(), spans.longest(), spans.stride()),
            (8, 3, Some(4))
        );
    }

    #[test]
    fn packed_texts_of_one_length_are_regular() {
        assert_eq!(Spans::packed([5, 5]).stride(), Some(5));
        assert_eq!(Spans::packed([]).stride(), None);
    }
}
