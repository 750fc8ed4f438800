//! Texts one after the other in rows that are all full, so that a model that learns from text as such wastes nothing on short
//! rows and loses nothing of long ones.
//!
//! A row is what stands around a single text, `[CLS]` and `[SEP]` say, with text between; where one text ends and the next begins
//! stands what ends a text, unless the row ends there. A text that does not fit goes on in the next row. Of the last texts the row is as long as they are.
//! It is the "full sentences" of RoBERTa (Liu et al., arXiv:1907.11692, section 4.2) that do not stop at documents.
//!
//! Promise: the rows depend on the texts and their order alone, not on the pieces in which they come.
//!
//! Deliberately absent: pairs, labels, and texts that must stay whole.

use std::ops::ControlFlow;

use super::words::Frame;
use super::{Encoded, TextError, Tokenizer};

/// No text is longer, so that none is cut.
const LONGEST: usize = 1 << 24;

/// Texts on their way into rows.
#[derive(Debug)]
pub struct Packer<'a> {
    tokenizer: &'a Tokenizer,
    frame: Frame,
    /// Tokens of text in a row.
    room: usize,
    rest: Vec<u32>,
}

impl<'a> Packer<'a> {
    /// For rows of `max_length` tokens.
    ///
    /// # Errors
    /// It leaves no room for text; a tokenizer that does more than put tokens around a text.
    pub fn new(tokenizer: &'a Tokenizer, max_length: usize) -> Result<Packer<'a>, TextError> {
        let frame = Frame::of(tokenizer.template.as_ref(), false).ok_or(TextError::NoWindows)?;
        let added = frame.length();
        if max_length <= added {
            return Err(TextError::NoRoom { max_length, added });
        }
        Ok(Packer {
            tokenizer,
            frame,
            room: max_length - added,
            rest: Vec::new(),
        })
    }

    /// The rows that these texts fill. After each piece of work `on_texts` is told how many were done, and may stop the rest.
    ///
    /// # Errors
    /// A text that the tokenizer refuses; [`TextError::Interrupted`] when `on_texts` said so.
    pub fn add<T: AsRef<str> + Sync>(
        &mut self,
        texts: &[T],
        on_texts: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Encoded, TextError> {
        let encoded = self
            .tokenizer
            .encode_columns(texts, None, LONGEST, on_texts)?;
        let (before, after) = (self.frame.before.len(), self.frame.after.len());
        let mut rows = self.none();
        for row in 0..encoded.rows() {
            let framed = encoded.ids(row);
            let text = framed.get(before..framed.len().saturating_sub(after));
            let text = text.unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            if !self.rest.is_empty() {
                self.rest.extend(self.frame.after.iter().map(|&(id, _)| id));
            }
            self.rest.extend_from_slice(text);
            let full = self.rest.len() - self.rest.len() % self.room;
            for part in self.rest[..full].chunks(self.room) {
                self.push(&mut rows, part);
            }
            self.rest.drain(..full);
        }
        Ok(rows)
    }

    /// The last row, which need not be full; none where nothing is left.
    pub fn finish(mut self) -> Encoded {
        let mut rows = self.none();
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.push(&mut rows, &rest);
        }
        rows
    }

    fn none(&self) -> Encoded {
        Encoded {
            offsets: vec![0],
            ..Encoded::default()
        }
    }

    fn push(&self, rows: &mut Encoded, text: &[u32]) {
        let text_type = self.frame.types[0];
        let around = |part: &[(u32, u8)]| part.to_vec();
        let text = text.iter().map(|&id| (id, text_type));
        let tokens = around(&self.frame.before).into_iter().chain(text);
        let before = rows.ids.len();
        for (id, type_id) in tokens.chain(around(&self.frame.after)) {
            rows.ids.push(id);
            rows.type_ids.push(type_id);
            rows.unknown += usize::from(Some(id) == self.tokenizer.unknown_id);
        }
        rows.full_lengths.push((rows.ids.len() - before) as u32);
        rows.offsets.push(rows.ids.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go_on(_: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn tokenizer() -> Tokenizer {
        let words = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e",
        ];
        Tokenizer::from_vocabulary(&words.map(str::to_owned), true).unwrap()
    }

    fn packed(pieces: &[&[&str]], max_length: usize) -> Vec<Vec<u32>> {
        let tokenizer = tokenizer();
        let mut packer = Packer::new(&tokenizer, max_length).unwrap();
        let mut all = Vec::new();
        for texts in pieces {
            let rows = packer.add(texts, &mut go_on).unwrap();
            all.extend((0..rows.rows()).map(|row| rows.ids(row).to_vec()));
        }
        let rows = packer.finish();
        all.extend((0..rows.rows()).map(|row| rows.ids(row).to_vec()));
        all
    }

    #[test]
    fn rows_are_full_no_token_is_lost_and_texts_are_told_apart() {
        let rows = packed(&[&["a b", "c", "", "d e a b c d e"]], 6);
        let wanted = [
            vec![2, 5, 6, 3, 7, 3],
            vec![2, 8, 9, 5, 6, 3],
            vec![2, 7, 8, 9, 3],
        ];
        assert_eq!(rows, wanted);
    }

    #[test]
    fn the_pieces_in_which_texts_come_do_not_matter() {
        let whole = packed(&[&["a b", "c d e", "a", "b c"]], 5);
        assert_eq!(
            whole,
            packed(&[&["a b"], &["c d e", "a"], &[], &["b c"]], 5)
        );
        assert_eq!(whole.last().unwrap(), &vec![2, 7, 3]);
    }

    #[test]
    fn a_row_without_room_for_text_is_refused() {
        let error = Packer::new(&tokenizer(), 2).unwrap_err();
        assert!(
            matches!(error, TextError::NoRoom { added: 2, .. }),
            "{error}"
        );
    }
}
