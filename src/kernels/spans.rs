//! Which rows of `[rows, hidden]` belong to which text, and the way to texts padded to one length and back.
//!
//! A head that needs a whole text at once, such as one that takes a mean, works on `[texts, length, hidden]`; all others on
//! rows. `length` is that of the longest text, or the stride of rows that lie padded already, which are then not moved.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

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

    /// To which length [`spread`](Self::spread) pads.
    pub fn length(&self) -> usize {
        self.stride().unwrap_or(self.longest())
    }

    /// `[rows, width]` → `[texts, length, width]`. What stands at padding is finite and has no meaning.
    pub fn spread(&self, rows: Tensor<2>) -> Tensor<3> {
        let [_, width] = rows.dims();
        let rows = if self.stride().is_some() {
            rows
        } else {
            let index: Vec<i32> = self.places().into_iter().map(|row| row as i32).collect();
            rows.clone().select(0, index_on(index, &rows.device())) // [texts * length, width]
        };
        rows.reshape([self.texts.len(), self.length(), width]) // [texts, length, width]
    }

    /// `[texts, length, width]` → `[rows, width]`: the way back from [`spread`](Self::spread).
    pub fn gather(&self, spread: Tensor<3>) -> Tensor<2> {
        let [texts, length, width] = spread.dims();
        let rows = spread.reshape([texts * length, width]); // [texts * length, width]
        if self.stride().is_some() {
            return rows;
        }
        let mut index = vec![0; self.rows];
        for (text, range) in self.texts.iter().enumerate() {
            for (place, row) in range.clone().enumerate() {
                index[row] = (text * length + place) as i32;
            }
        }
        rows.clone().select(0, index_on(index, &rows.device()))
    }

    /// Where [`spread`](Self::spread) puts padding: `[texts, length]`, true there.
    pub fn padding(&self, device: &Device) -> Tensor<2, Bool> {
        let length = self.length();
        let padding: Vec<bool> = self
            .texts
            .iter()
            .flat_map(|text| (0..length).map(|place| place >= text.len()))
            .collect();
        let padding = TensorData::new(padding, [self.texts.len(), length]);
        Tensor::from_data(padding, &device.clone().without_autodiff())
    }

    /// Whether [`spread`](Self::spread) pads any text.
    pub(super) fn pads(&self) -> bool {
        let length = self.length();
        self.texts.iter().any(|text| text.len() < length)
    }

    /// The row of each place of each text, text by text; at padding, some row.
    pub(super) fn places(&self) -> Vec<usize> {
        let (last, length) = (self.rows.saturating_sub(1), self.length());
        self.texts
            .iter()
            .flat_map(|text| (text.start..text.start + length).map(|row| row.min(last)))
            .collect()
    }
}

fn index_on(index: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(index.as_slice(), &device.clone().without_autodiff())
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
