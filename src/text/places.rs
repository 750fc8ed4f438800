//! Tokens as a reader sees them: where they stand in a text, and what is written there.
//!
//! Promise: places are Unicode characters of the text as it was given, whatever the tokenizer made of it, and hold no white
//! space at either end.
//!
//! Deliberately absent: the tokens that stand around a text, which are in no place of it.

use tokenizers::Decoder;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::check::caught;
use super::{TextError, Tokenizer};

impl Tokenizer {
    /// The id of each token of a text, with nothing around it, and where it begins and ends there, in Unicode characters,
    /// the end exclusive.
    ///
    /// # Errors
    /// The tokenizer refuses the text.
    pub fn places_in(&self, text: &str) -> Result<Vec<(u32, [u32; 2])>, TextError> {
        let encoding = caught(|| self.words.encode_char_offsets(text, false));
        let encoding = encoding.map_err(|error| TextError::Row {
            row: 0,
            message: error.to_string(),
        })?;
        let characters: Vec<char> = text.chars().collect();
        let is_space = |place: usize| characters.get(place).is_none_or(|c| c.is_whitespace());
        let trimmed = |&(start, end): &(usize, usize)| {
            let (mut start, mut end) = (start, end.min(characters.len()));
            while start < end && is_space(start) {
                start += 1;
            }
            while start < end && is_space(end - 1) {
                end -= 1;
            }
            [start, end].map(|place| u32::try_from(place).unwrap_or(u32::MAX))
        };
        let places = encoding.get_offsets().iter().map(trimmed);
        Ok(encoding.get_ids().iter().copied().zip(places).collect())
    }

    /// What each of these tokens is called: as the vocabulary writes it, or where that writes bytes, the characters that
    /// they make; `�` for a part of one.
    pub fn readable(&self, ids: &[u32]) -> Vec<String> {
        let pre_tokenizer = serde_json::to_string(&self.words.get_pre_tokenizer());
        let of_bytes = pre_tokenizer.is_ok_and(|json| json.contains("\"ByteLevel\""));
        let name = |&id: &u32| {
            let piece = self.piece(id).unwrap_or_else(|| format!("[{id}]"));
            let decoded = of_bytes.then(|| ByteLevel::default().decode_chain(vec![piece.clone()]));
            decoded
                .and_then(Result::ok)
                .map_or(piece, |decoded| decoded.concat())
        };
        ids.iter().map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn places_are_characters_of_the_text_as_it_was_given() {
        let words = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "zoe", "##s", "film",
        ];
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let tokenizer = Tokenizer::from_vocabulary(&words, true).unwrap();
        let text = "Zoës  Film 好";
        let found = tokenizer.places_in(text).unwrap();
        let wanted = [(5, [0, 3]), (6, [3, 4]), (7, [6, 10]), (1, [11, 12])];
        assert_eq!(found, wanted);
        assert_eq!(
            tokenizer.readable(&[2, 5, 6, 99]),
            ["[CLS]", "zoe", "##s", "[99]"]
        );
    }

    #[test]
    fn bytes_are_read_as_characters_and_places_leave_out_the_space_before() {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers/roberta");
        let tokenizer = Tokenizer::open(&folder).unwrap();
        let text = "a naïve  café";
        let places = tokenizer.places_in(text).unwrap();
        let ids: Vec<u32> = places.iter().map(|(id, _)| *id).collect();
        let joined = tokenizer.readable(&ids).concat();
        assert!(!joined.contains('Ġ'), "{joined}");
        let characters: Vec<char> = text.chars().collect();
        for (token, (_, [start, end])) in tokenizer.readable(&ids).iter().zip(&places) {
            let there: String = characters[*start as usize..*end as usize].iter().collect();
            let token = token.trim();
            assert!(
                there == token || token.contains('\u{fffd}'),
                "{token} is not {there}"
            );
        }
    }
}
