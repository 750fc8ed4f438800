//! A text with a mask in the place of a word, and what a piece of the vocabulary would be as a word there: what asking a
//! masked language model for substitutes needs of a tokenizer.
//!
//! Ids are those that transformers gives for the text with the mask token written into it.
//!
//! Deliberately absent: which words to mask, and the model.

use super::check::caught;
use super::words::Frame;
use super::{TextError, Tokenizer};

/// Tokens with one mask among them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaskedRow {
    pub ids: Vec<u32>,
    pub type_ids: Vec<u8>,
    /// Where the mask is, counted from 0.
    pub place: usize,
}

impl Tokenizer {
    /// The tokens of `before`, the mask and `after` with what the model wants around them: at most `most`, of which those
    /// nearest to the mask stay. None where the text has the mask token in it already.
    ///
    /// # Errors
    /// The tokenizer has no mask token, `most` leaves no room for it, or the text is refused.
    pub fn encode_masked(
        &self,
        before: &str,
        after: &str,
        most: usize,
    ) -> Result<Option<MaskedRow>, TextError> {
        let special = self.special_ids();
        let &(mask, id) = special.get("mask").ok_or(TextError::NoMask)?;
        let frame = Frame::of(self.template.as_ref(), false).ok_or(TextError::NoWindows)?;
        let added = frame.length();
        if most <= added {
            let max_length = most;
            return Err(TextError::NoRoom { max_length, added });
        }
        let encoding = self.encode_alone(&format!("{before}{mask}{after}"));
        let encoding = encoding.map_err(|e| TextError::Row {
            row: 0,
            message: e.to_string(),
        })?;
        let ids = encoding.get_ids();
        let mut places = ids.iter().enumerate().filter(|(_, found)| **found == id);
        let (Some((place, _)), None) = (places.next(), places.next()) else {
            return Ok(None);
        };
        let room = (most - added).min(ids.len());
        let start = place.saturating_sub(room / 2).min(ids.len() - room);
        let kept = ids.get(start..start + room).unwrap_or_default();
        let text = kept.iter().map(|&id| (id, frame.types[0]));
        let around = |part: &Vec<(u32, u8)>| part.clone();
        let tokens = around(&frame.before).into_iter().chain(text);
        let (ids, type_ids) = tokens.chain(around(&frame.after)).unzip();
        Ok(Some(MaskedRow {
            ids,
            type_ids,
            place: frame.before.len() + place - start,
        }))
    }

    /// The word that a piece of the vocabulary is after `lead`: none for the middles of words, for special tokens, and for
    /// pieces that would be written with a space, or without one, after others than this.
    pub fn whole_word(&self, id: u32, lead: &str) -> Option<String> {
        let decoded = caught(|| self.words.decode(&[id], true)).ok()?;
        let word = decoded.trim();
        if word.is_empty() || word.contains(char::is_whitespace) {
            return None;
        }
        let before = self.encode_alone(lead.trim_end()).ok()?;
        let with = self.encode_alone(&format!("{lead}{word}")).ok()?;
        let (last, rest) = with.get_ids().split_last()?;
        (*last == id && rest == before.get_ids()).then(|| word.to_owned())
    }

    /// How many tokens a text has, with nothing around it.
    ///
    /// # Errors
    /// The tokenizer refuses it.
    pub fn pieces_of(&self, text: &str) -> Result<usize, TextError> {
        let encoding = self.encode_alone(text);
        let refused = |e: tokenizers::Error| TextError::Row {
            row: 0,
            message: e.to_string(),
        };
        Ok(encoding.map_err(refused)?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer(words: &[&str]) -> Tokenizer {
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        let all = special.iter().chain(words).map(|word| word.to_string());
        Tokenizer::from_vocabulary(&all.collect::<Vec<_>>(), true).unwrap()
    }

    #[test]
    fn the_mask_stands_among_the_tokens_nearest_to_it() {
        let words = ["a", "b", "c", "d", "e", ".", "##b"];
        let tokenizer = tokenizer(&words);
        let row = |before, after, most| {
            let found = tokenizer.encode_masked(before, after, most);
            found.unwrap().map(|row| (row.ids, row.place))
        };
        // a b [MASK] . c, between [CLS] and [SEP]
        let whole = vec![2, 5, 6, 4, 10, 7, 3];
        assert_eq!(row("a b ", ". c", 100), Some((whole, 3)));
        assert_eq!(row("a b ", ". c", 5), Some((vec![2, 6, 4, 10, 3], 2)));
        assert_eq!(row("a b ", ". c", 3), Some((vec![2, 4, 3], 1)));
        assert_eq!(row("", " b c d e", 5), Some((vec![2, 4, 6, 7, 3], 1)));
        assert_eq!(row("b c d e ", "", 5), Some((vec![2, 8, 9, 4, 3], 3)));
        assert_eq!(row("a [MASK] ", "", 100), None);
        let error = tokenizer.encode_masked("", "", 2).unwrap_err();
        assert!(matches!(error, TextError::NoRoom { .. }), "{error}");
    }

    #[test]
    fn only_a_piece_that_is_written_as_a_word_is_one() {
        let tokenizer = tokenizer(&["a", "film", "##film", "##s", "(", "é", "[unused]"]);
        let word = |id, lead| tokenizer.whole_word(id, lead);
        assert_eq!(word(6, "a ").as_deref(), Some("film"));
        assert_eq!(word(6, "").as_deref(), Some("film"));
        assert_eq!(word(6, "a (").as_deref(), Some("film"));
        assert_eq!(word(7, "a "), None);
        assert_eq!(word(8, "a "), None);
        assert_eq!(word(4, "a "), None);
        assert_eq!(word(10, "a "), None);
        assert_eq!(word(99, "a "), None);
        assert_eq!(tokenizer.pieces_of("films film").unwrap(), 3);
    }
}
