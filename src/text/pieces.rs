//! What each id of a vocabulary is to whoever masks words: the beginning of a word, a piece within one, or no text at all.
//!
//! WordPiece marks the pieces within words (`##`), byte-level BPE and SentencePiece the beginnings (`Ġ`, `▁`). So a word is
//! what fairseq's and BERT's whole-word masking take for one: of the latter two kinds, punctuation belongs to the word that it
//! follows.
//!
//! Deliberately absent: which words are masked, and when.

use tokenizers::models::ModelWrapper;

use super::{TextError, Tokenizer};

/// What the marks of beginnings are: a space, as bytes are written, and SentencePiece's.
const BEGINNINGS: [char; 2] = ['Ġ', '▁'];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// Special, or not there at all.
    NoText,
    Begins,
    Within,
}

/// The pieces of a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces {
    by_id: Vec<Piece>,
    mask: u32,
    /// Those of text.
    ordinary: Vec<u32>,
}

impl Pieces {
    /// The id of the mask.
    pub fn mask(&self) -> u32 {
        self.mask
    }

    /// The ids that stand for text, ascending.
    pub fn ordinary(&self) -> &[u32] {
        &self.ordinary
    }

    /// Whether an id stands for text: special tokens, the unknown one among them, do not.
    pub fn is_text(&self, id: u32) -> bool {
        !matches!(self.of(id), Piece::NoText)
    }

    /// Whether a piece goes on with the word that the text before it began.
    pub fn is_within(&self, id: u32) -> bool {
        matches!(self.of(id), Piece::Within)
    }

    fn of(&self, id: u32) -> Piece {
        let piece = self.by_id.get(id as usize);
        piece.copied().unwrap_or(Piece::NoText)
    }
}

impl Tokenizer {
    /// What each id of its vocabulary is.
    ///
    /// # Errors
    /// It has no mask token.
    pub fn pieces(&self) -> Result<Pieces, TextError> {
        let special = self.special_ids();
        let &(_, mask) = special.get("mask").ok_or(TextError::NoMask)?;
        let added = self.words.get_added_tokens_decoder();
        let is_special = |id: u32| {
            special.values().any(|&(_, special)| special == id)
                || added.get(&id).is_some_and(|token| token.special)
        };
        let within = match self.words.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.continuing_subword_prefix.clone()),
            _ => None,
        };
        let of = |id: u32| match self.words.id_to_token(id) {
            _ if is_special(id) => Piece::NoText,
            None => Piece::NoText,
            Some(piece) => {
                let goes_on = match &within {
                    Some(prefix) => piece.starts_with(prefix),
                    None => !piece.starts_with(BEGINNINGS),
                };
                match goes_on {
                    true => Piece::Within,
                    false => Piece::Begins,
                }
            }
        };
        let by_id: Vec<Piece> = (0..=self.largest_id()).map(of).collect();
        let text = by_id.iter().zip(0..);
        let text = text.filter(|(piece, _)| **piece != Piece::NoText);
        Ok(Pieces {
            ordinary: text.map(|(_, id)| id).collect(),
            by_id,
            mask,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn special_tokens_are_no_text_and_marked_pieces_stand_within_words() {
        let words = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", ",",
        ];
        let words: Vec<String> = words.map(str::to_owned).into();
        let tokenizer = Tokenizer::from_vocabulary(&words, true).unwrap();
        let pieces = tokenizer.pieces().unwrap();
        assert_eq!(pieces.mask(), 4);
        assert_eq!(pieces.ordinary(), [5, 6, 7]);
        let within: Vec<u32> = (0..9).filter(|&id| pieces.is_within(id)).collect();
        assert_eq!(within, [6]);
        assert!(!pieces.is_text(1) && !pieces.is_text(8) && pieces.is_text(7));
    }

    #[test]
    fn a_space_or_sentencepieces_mark_begins_a_word() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers");
        let mut tried = 0;
        for folder in std::fs::read_dir(fixtures).unwrap().flatten() {
            let Ok(tokenizer) = Tokenizer::open(&folder.path()) else {
                continue;
            };
            let Ok(pieces) = tokenizer.pieces() else {
                continue;
            };
            let piece = |&id: &u32| (id, tokenizer.piece(id).unwrap());
            let all: Vec<(u32, String)> = pieces.ordinary().iter().map(piece).collect();
            let marks_inside = all.iter().any(|(_, piece)| piece.starts_with("##"));
            for (id, piece) in &all {
                let within = match marks_inside {
                    true => piece.starts_with("##"),
                    false => !piece.starts_with(BEGINNINGS),
                };
                assert_eq!(pieces.is_within(*id), within, "{piece}");
                tried += 1;
            }
        }
        assert!(tried > 100, "{tried}");
    }
}
