//! The kinds of vocabulary that can be learnt, each with what comes before it: how text is normalized and cut into words. What
//! counts the words is what the finished tokenizer does, since it is read from the same description.
//!
//! WordPiece is BERT's. Byte-level BPE is RoBERTa's: text as it is, bytes as characters, `<s>` and `</s>` around texts. Unigram
//! is ALBERT's: SentencePiece's `▁` before each word, `[CLS]` and `[SEP]` around texts.

use std::ops::ControlFlow;

use serde_json::{Value, json};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;

use super::{WordCounts, byte_level, count_words, counted, learn_wordpiece, unigram};
use crate::text::{TextError, Tokenizer};

/// A kind of vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VocabularyKind {
    WordPiece,
    ByteLevelBpe,
    Unigram,
}

/// A tokenizer that was learnt.
#[derive(Debug)]
pub struct Learned {
    pub tokenizer: Tokenizer,
    /// The tokens of its vocabulary, special ones included.
    pub tokens: usize,
}

impl VocabularyKind {
    /// Counts the words of `texts` as the tokenizer will separate and, when asked, lowercase them. After each piece of work
    /// `on_texts` is told how many texts were done, and may stop the rest.
    ///
    /// # Errors
    /// [`TextError::Interrupted`] when `on_texts` said so; a text that cannot be normalized.
    pub fn count_words(
        self,
        texts: &[&str],
        lowercase: bool,
        on_texts: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<WordCounts, TextError> {
        let words = match self {
            VocabularyKind::WordPiece => return count_words(texts, lowercase, on_texts),
            VocabularyKind::ByteLevelBpe => byte_level::pre_tokenizer(),
            VocabularyKind::Unigram => unigram::pre_tokenizer(),
        };
        let refused = |e: serde_json::Error| TextError::Row {
            row: 0,
            message: e.to_string(),
        };
        let normalizer = match self.normalizer(lowercase) {
            Value::Null => None,
            normalizer => Some(read::<NormalizerWrapper>(&normalizer).map_err(refused)?),
        };
        let words: PreTokenizerWrapper = read(&words).map_err(refused)?;
        counted(texts, normalizer.as_ref(), &words, on_texts)
    }

    /// Learns a vocabulary of at most `vocab_size` tokens and builds its tokenizer. `on_pieces` is told of new tokens, and may
    /// stop the rest; Unigram is learnt in one go.
    ///
    /// # Errors
    /// No words at all; a `vocab_size` too small for the characters; [`TextError::Interrupted`] when `on_pieces` said so.
    pub fn learn(
        self,
        counts: &WordCounts,
        lowercase: bool,
        vocab_size: usize,
        min_frequency: u64,
        on_pieces: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Learned, TextError> {
        let tokenizer = match self {
            VocabularyKind::WordPiece => {
                let tokens = learn_wordpiece(counts, vocab_size, min_frequency, on_pieces)?;
                Tokenizer::from_vocabulary(&tokens, lowercase)?
            }
            VocabularyKind::ByteLevelBpe => {
                let normalizer = self.normalizer(lowercase);
                byte_level::learn(counts, vocab_size, min_frequency, normalizer, on_pieces)?
            }
            VocabularyKind::Unigram => {
                let normalizer = self.normalizer(lowercase);
                unigram::learn(counts, vocab_size, min_frequency, normalizer, on_pieces)?
            }
        };
        let tokens = tokenizer.vocab_size();
        Ok(Learned { tokenizer, tokens })
    }

    /// As it stands in a `tokenizer.json`.
    fn normalizer(self, lowercase: bool) -> Value {
        let folding = [
            json!({"type": "NFKD"}),
            json!({"type": "StripAccents"}),
            json!({"type": "Lowercase"}),
        ];
        let of = |normalizers: Vec<Value>| json!({"type": "Sequence", "normalizers": normalizers});
        match (self, lowercase) {
            (VocabularyKind::WordPiece, _) | (VocabularyKind::ByteLevelBpe, false) => Value::Null,
            (VocabularyKind::ByteLevelBpe, true) => of(folding.into()),
            (VocabularyKind::Unigram, lowercase) => {
                let quote = |quote: &str| json!({"type": "Replace", "pattern": {"String": quote}, "content": "\""});
                let mut all = vec![quote("``"), quote("''")];
                match lowercase {
                    true => all.extend(folding),
                    // What SentencePiece does by default, but for its own table.
                    false => all.push(json!({"type": "NFKC"})),
                }
                of(all)
            }
        }
    }
}

/// Of a part of a `tokenizer.json`; from text, since these enums do not read from a value.
fn read<T: serde::de::DeserializeOwned>(part: &Value) -> Result<T, serde_json::Error> {
    serde_json::from_str(&part.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go_on(_: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    const TEXTS: [&str; 4] = [
        "The quick brown fox jumps over the lazy dog.",
        "the dog sleeps, the fox doesn't; the dog sleeps again",
        "Der Fuchs läuft über die Straße, the fox too",
        "lowest lower low newest newer new widest wider wide",
    ];

    fn learned(kind: VocabularyKind, lowercase: bool, vocab_size: usize) -> Tokenizer {
        let counts = kind.count_words(&TEXTS, lowercase, &mut go_on).unwrap();
        let learned = kind.learn(&counts, lowercase, vocab_size, 1, &mut go_on);
        learned.unwrap().tokenizer
    }

    fn pieces(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        let encoded = tokenizer.encode(&[(text.to_owned(), None)], 200).unwrap();
        let piece = |&id: &u32| tokenizer.piece(id).unwrap();
        encoded.ids(0).iter().map(piece).collect()
    }

    const OTHERS: [VocabularyKind; 2] = [VocabularyKind::ByteLevelBpe, VocabularyKind::Unigram];

    #[test]
    fn a_learnt_tokenizer_is_the_same_when_opened_again() {
        for kind in OTHERS {
            for lowercase in [true, false] {
                let tokenizer = learned(kind, lowercase, 300);
                let folder = tempfile::tempdir().unwrap();
                let to = folder.path().join("tokenizer");
                tokenizer.save(&to, 64).unwrap();
                let again = Tokenizer::open(&to).unwrap();
                assert_eq!(again.digest(), tokenizer.digest(), "{kind:?}");
                assert_eq!(again.special_ids(), tokenizer.special_ids());
                for text in TEXTS {
                    assert_eq!(pieces(&again, text), pieces(&tokenizer, text), "{kind:?}");
                }
            }
        }
    }

    #[test]
    fn bytes_are_never_unknown_and_texts_stand_as_robertas() {
        let tokenizer = learned(VocabularyKind::ByteLevelBpe, false, 300);
        let special = tokenizer.special_ids();
        let id = |role: &str| special[role].1;
        let ids = ["cls", "pad", "sep", "unk", "mask"].map(id);
        assert_eq!(ids, [0, 1, 2, 3, 4]);
        let found = pieces(&tokenizer, "日本 naïve the dog");
        assert_eq!(found.first().unwrap(), "<s>");
        assert_eq!(found.last().unwrap(), "</s>");
        assert!(!found.contains(&"<unk>".to_owned()), "{found:?}");
        assert!(found.contains(&"Ġthe".to_owned()), "{found:?}");
        assert_eq!(tokenizer.token_types(true), 1);
        let encoded = tokenizer
            .encode(&[("日本 naïve the dog".to_owned(), None)], 200)
            .unwrap();
        let decoded = tokenizer.words.decode(encoded.ids(0), true).unwrap();
        assert_eq!(decoded, "日本 naïve the dog");
    }

    #[test]
    fn unigram_cuts_into_likely_pieces_and_knows_every_character_of_the_texts() {
        let tokenizer = learned(VocabularyKind::Unigram, true, 120);
        assert!(tokenizer.vocab_size() <= 120);
        let special = tokenizer.special_ids();
        let ids = ["pad", "unk", "cls", "sep", "mask"].map(|role| special[role].1);
        assert_eq!(ids, [0, 1, 2, 3, 4]);
        let found = pieces(&tokenizer, "The fox");
        assert_eq!(found.first().unwrap(), "[CLS]");
        assert!(found[1].starts_with('▁'), "{found:?}");
        for text in TEXTS {
            assert!(
                !pieces(&tokenizer, text).contains(&"<unk>".to_owned()),
                "{text}"
            );
        }
        assert!(pieces(&tokenizer, "日本").contains(&"<unk>".to_owned()));
    }

    #[test]
    fn the_order_of_texts_does_not_matter() {
        for kind in OTHERS {
            let mut texts = TEXTS;
            texts.reverse();
            let of = |texts: &[&str]| {
                let mut counts = WordCounts::default();
                for text in texts {
                    counts.add(kind.count_words(&[*text], true, &mut go_on).unwrap());
                }
                let learned = kind.learn(&counts, true, 280, 1, &mut go_on).unwrap();
                learned.tokenizer.digest()
            };
            assert_eq!(of(&TEXTS), of(&texts), "{kind:?}");
        }
    }

    #[test]
    fn a_vocabulary_too_small_for_the_alphabet_and_texts_without_words_are_errors() {
        for kind in OTHERS {
            let counts = kind.count_words(&TEXTS, true, &mut go_on).unwrap();
            let error = kind.learn(&counts, true, 20, 1, &mut go_on).unwrap_err();
            assert!(
                matches!(error, TextError::VocabularyTooSmall { .. }),
                "{kind:?}: {error}"
            );
            let nothing = kind.learn(&WordCounts::default(), true, 300, 1, &mut go_on);
            assert!(
                matches!(nothing, Err(TextError::NothingToLearnFrom)),
                "{kind:?}"
            );
        }
    }
}
