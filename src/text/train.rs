//! Learning a vocabulary from texts: WordPiece here, the other kinds in the files below.
//!
//! The rule of WordPiece is that of Hugging Face's `WordPieceTrainer`: words become characters, and the most frequent adjacent pair of
//! pieces is merged until the vocabulary is full. It is written anew because theirs numbers the `##` characters, and
//! thereby breaks ties between equally frequent pairs, in the order of a hash map that differs from process to process.
//! Here ties go to the pair whose pieces came first, with characters in the order of their code points. Two more
//! differences: a character seen less often than `min_frequency` is left out, and a vocabulary too small for the
//! characters is an error instead of a larger vocabulary.
//!
//! Byte-level BPE is learned in the same way (`byte_level`), Unigram by tokenizers itself (`unigram`).
//!
//! Source: tokenizers 0.23, `models/bpe/trainer.rs`.

mod byte_level;
mod kinds;
mod unigram;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::ops::ControlFlow;

use rayon::prelude::*;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

pub use kinds::{Learned, VocabularyKind};

use super::TextError;
use super::tokenizer::ROWS_AT_A_TIME;

const SPECIALS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// WordPiece takes longer words for unknown.
const LONGEST_WORD: usize = 100;

/// Pieces between two calls of a progress callback.
const PIECES_AT_A_TIME: usize = 64;

/// How often each word occurs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WordCounts(HashMap<String, u64>);

impl WordCounts {
    /// Adds what was counted in other texts.
    pub fn add(&mut self, more: WordCounts) {
        if self.0.is_empty() {
            self.0 = more.0;
            return;
        }
        for (word, count) in more.0 {
            *self.0.entry(word).or_default() += count;
        }
    }
}

/// Counts the words of `texts`, as BERT's tokenizer separates and, when asked, lowercases them. After each piece of work
/// `on_texts` is told how many texts were done, and may stop the rest.
///
/// # Errors
/// [`TextError::Interrupted`] when `on_texts` said so; a text that cannot be normalized.
pub fn count_words(
    texts: &[&str],
    lowercase: bool,
    on_texts: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<WordCounts, TextError> {
    let normalizer = BertNormalizer::new(true, true, None, lowercase);
    counted(texts, Some(&normalizer), &BertPreTokenizer, on_texts)
}

/// The same for any normalizer and pre-tokenizer.
fn counted<N: Normalizer + Sync, P: PreTokenizer + Sync>(
    texts: &[&str],
    normalizer: Option<&N>,
    pre_tokenizer: &P,
    on_texts: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<WordCounts, TextError> {
    let count = |text: &str| -> Result<HashMap<String, u64>, tokenizers::Error> {
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = normalizer {
            normalizer.normalize(&mut normalized)?;
        }
        let mut words = PreTokenizedString::from(normalized);
        pre_tokenizer.pre_tokenize(&mut words)?;
        let mut counts = HashMap::new();
        for (word, ..) in words.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
        Ok(counts)
    };
    let mut all: HashMap<String, u64> = HashMap::new();
    for (piece, texts) in texts.chunks(ROWS_AT_A_TIME).enumerate() {
        let counted: Vec<_> = texts.par_iter().map(|text| count(text)).collect();
        for (row, counts) in counted.into_iter().enumerate() {
            let row = piece * ROWS_AT_A_TIME + row;
            for (word, count) in counts.map_err(|e| TextError::Row {
                row,
                message: e.to_string(),
            })? {
                *all.entry(word).or_default() += count;
            }
        }
        if on_texts(texts.len()).is_break() {
            return Err(TextError::Interrupted);
        }
    }
    Ok(WordCounts(all))
}

type Pair = (u32, u32);

/// An adjacent pair of pieces: how often it occurs, and the words that it was seen in (some may have lost it).
#[derive(Default)]
struct Seen {
    count: u64,
    words: Vec<u32>,
}

/// Learns a vocabulary of at most `vocab_size` tokens, in the order of their ids: `[PAD] [UNK] [CLS] [SEP] [MASK]`,
/// characters, then pieces from the most to the least frequent. Characters and pieces seen fewer than `min_frequency`
/// times are left out. `on_pieces` is told of new tokens, and may stop the rest.
///
/// # Errors
/// No words at all; a `vocab_size` too small for the characters; [`TextError::Interrupted`] when `on_pieces` said so.
pub fn learn_wordpiece(
    counts: &WordCounts,
    vocab_size: usize,
    min_frequency: u64,
    on_pieces: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Vec<String>, TextError> {
    let min_frequency = min_frequency.max(1);
    let words: BTreeMap<&str, u64> = counts
        .0
        .iter()
        .filter(|(word, _)| !word.is_empty() && word.chars().count() <= LONGEST_WORD)
        .map(|(word, count)| (word.as_str(), *count))
        .collect();
    if words.is_empty() {
        return Err(TextError::NothingToLearnFrom);
    }
    let alphabet = alphabet(&words, min_frequency);
    let words: Vec<(&str, u64)> = words
        .into_iter()
        .filter(|(word, _)| word.chars().all(|c| alphabet.contains(&c)))
        .collect();
    let inner: BTreeSet<char> = words
        .iter()
        .flat_map(|(word, _)| word.chars().skip(1))
        .collect();

    let mut vocabulary: Vec<String> = SPECIALS.map(str::to_owned).into();
    vocabulary.extend(alphabet.iter().map(char::to_string));
    vocabulary.extend(inner.iter().map(|c| format!("##{c}")));
    if vocabulary.len() > vocab_size {
        return Err(TextError::VocabularyTooSmall {
            vocab_size,
            needed: vocabulary.len(),
            characters: alphabet.len(),
        });
    }
    let ids: HashMap<String, u32> = vocabulary
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), id as u32))
        .collect();
    let pieces = words.iter().map(|(word, _)| characters(word, &ids));
    let begun = Begun {
        pieces: pieces.collect(),
        counts: words.iter().map(|(_, count)| *count).collect(),
        vocabulary,
        ids,
    };
    let join = |first: &str, second: &str| {
        format!("{first}{}", second.strip_prefix("##").unwrap_or(second))
    };
    let (vocabulary, _) = merged(begun, vocab_size, min_frequency, &join, on_pieces)?;
    Ok(vocabulary)
}

/// A vocabulary of single characters, and words cut into them.
struct Begun {
    vocabulary: Vec<String>,
    ids: HashMap<String, u32>,
    /// Of each word.
    pieces: Vec<Vec<u32>>,
    counts: Vec<u64>,
}

/// Merges the most frequent pair of pieces until the vocabulary is full; with it the pairs in the order in which they were
/// merged. `join` writes two pieces as one.
fn merged(
    begun: Begun,
    vocab_size: usize,
    min_frequency: u64,
    join: &dyn Fn(&str, &str) -> String,
    on_pieces: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<(Vec<String>, Vec<Pair>), TextError> {
    let Begun {
        mut vocabulary,
        mut ids,
        mut pieces,
        counts,
    } = begun;
    let mut merges = Vec::new();
    let mut pairs: HashMap<Pair, Seen> = HashMap::new();
    for (word, (pieces, count)) in pieces.iter().zip(&counts).enumerate() {
        for pair in pieces.windows(2) {
            let seen = pairs.entry((pair[0], pair[1])).or_default();
            seen.count += count;
            seen.words.push(word as u32);
        }
    }
    // An entry whose count is no longer true is corrected when it comes up; every rise pushes a new entry.
    let mut queue: BinaryHeap<(u64, Reverse<Pair>)> = pairs
        .iter()
        .map(|(pair, seen)| (seen.count, Reverse(*pair)))
        .collect();

    let mut reported = 0;
    while vocabulary.len() < vocab_size {
        let Some((count, Reverse(pair))) = queue.pop() else {
            break;
        };
        if count < min_frequency {
            break;
        }
        match pairs.get(&pair) {
            Some(seen) if seen.count == count => {}
            Some(seen) => {
                if seen.count < count {
                    queue.push((seen.count, Reverse(pair)));
                }
                continue;
            }
            None => continue,
        }
        let (first, second) = (&vocabulary[pair.0 as usize], &vocabulary[pair.1 as usize]);
        let token = join(first, second);
        merges.push(pair);
        // Two ways of cutting a word can end in the same token.
        let new = *ids.entry(token).or_insert_with_key(|token| {
            vocabulary.push(token.clone());
            vocabulary.len() as u32 - 1
        });

        let mut affected = pairs.remove(&pair).unwrap_or_default().words;
        affected.sort_unstable();
        affected.dedup();
        let mut changes: HashMap<Pair, i64> = HashMap::new();
        for word in affected {
            let (pieces, count) = (&mut pieces[word as usize], counts[word as usize] as i64);
            let merged = merge(pieces, pair, new);
            if merged.len() == pieces.len() {
                continue;
            }
            for old in pieces.windows(2) {
                *changes.entry((old[0], old[1])).or_default() -= count;
            }
            for now in merged.windows(2) {
                let now = (now[0], now[1]);
                *changes.entry(now).or_default() += count;
                if now.0 == new || now.1 == new {
                    pairs.entry(now).or_default().words.push(word);
                }
            }
            *pieces = merged;
        }
        for (changed, by) in changes {
            if changed == pair {
                continue;
            }
            if let Some(seen) = pairs.get_mut(&changed) {
                seen.count = seen.count.saturating_add_signed(by);
                if by > 0 {
                    queue.push((seen.count, Reverse(changed)));
                }
            }
        }
        if vocabulary.len() >= reported + PIECES_AT_A_TIME {
            if on_pieces(vocabulary.len() - reported).is_break() {
                return Err(TextError::Interrupted);
            }
            reported = vocabulary.len();
        }
    }
    if on_pieces(vocabulary.len() - reported).is_break() {
        return Err(TextError::Interrupted);
    }
    Ok((vocabulary, merges))
}

fn alphabet(words: &BTreeMap<&str, u64>, min_frequency: u64) -> BTreeSet<char> {
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in words {
        for c in word.chars() {
            *counts.entry(c).or_default() += count;
        }
    }
    counts
        .into_iter()
        .filter(|(_, count)| *count >= min_frequency)
        .map(|(c, _)| c)
        .collect()
}

fn characters(word: &str, ids: &HashMap<String, u32>) -> Vec<u32> {
    let token = |(place, c): (usize, char)| {
        if place == 0 {
            c.to_string()
        } else {
            format!("##{c}")
        }
    };
    word.chars()
        .enumerate()
        .filter_map(|character| ids.get(&token(character)).copied())
        .collect()
}

fn merge(pieces: &[u32], pair: Pair, new: u32) -> Vec<u32> {
    let mut merged = Vec::with_capacity(pieces.len());
    let mut rest = pieces;
    while let [first, after @ ..] = rest {
        rest = match after {
            [second, after @ ..] if (*first, *second) == pair => {
                merged.push(new);
                after
            }
            _ => {
                merged.push(*first);
                after
            }
        };
    }
    merged
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::text::Tokenizer;

    fn go_on(_: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn learn(
        texts: &[&str],
        vocab_size: usize,
        min_frequency: u64,
    ) -> Result<Vec<String>, TextError> {
        learn_wordpiece(
            &count_words(texts, true, &mut go_on)?,
            vocab_size,
            min_frequency,
            &mut go_on,
        )
    }

    pub(in crate::text) fn small_tokenizer() -> Tokenizer {
        let vocabulary = learn(&["one fish two fish", "red fish blue fish"], 40, 1).unwrap();
        Tokenizer::from_vocabulary(&vocabulary, true).unwrap()
    }

    #[test]
    fn the_most_frequent_pair_is_merged_first() {
        let vocabulary = learn(&["aab aab aab cd cd"], 12, 1).unwrap();
        assert_eq!(
            vocabulary,
            [
                "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "##a", "##b",
                "##d"
            ]
        );
        let vocabulary = learn(&["aab aab aab cd cd"], 15, 1).unwrap();
        assert_eq!(vocabulary[12..], ["aa", "aab", "cd"]);
    }

    #[test]
    fn pieces_below_the_minimum_frequency_are_left_out() {
        let vocabulary = learn(&["ab ab xy é"], 100, 2).unwrap();
        assert_eq!(vocabulary[5..], ["a", "b", "##b", "ab"]);
    }

    #[test]
    fn a_vocabulary_too_small_for_the_characters_is_an_error_that_says_how_many_are_needed() {
        let error = learn(&["the quick brown fox"], 10, 1).unwrap_err();
        assert!(
            matches!(error, TextError::VocabularyTooSmall { vocab_size: 10, needed, characters: 15 } if needed > 20)
        );
    }

    #[test]
    fn texts_without_words_are_an_error() {
        for texts in [&[][..], &["", "  \u{0}\t"]] {
            assert!(matches!(
                learn(texts, 100, 1),
                Err(TextError::NothingToLearnFrom)
            ));
        }
    }

    #[test]
    fn repeated_letters_are_counted_right() {
        // A wrong count would merge a pair that is not there, or never end.
        let vocabulary = learn(&["aaaa aaaaaaa aaaaaaaaaa banana bananana"], 200, 1).unwrap();
        for word in ["aaaa", "aaaaaaa", "aaaaaaaaaa", "banana", "bananana"] {
            assert!(
                vocabulary.contains(&word.to_owned()),
                "{word} is not in {vocabulary:?}"
            );
        }
    }

    #[test]
    fn counting_and_learning_stop_when_told_to() {
        let stop = &mut |_| ControlFlow::Break(());
        assert!(matches!(
            count_words(&["a"], true, stop),
            Err(TextError::Interrupted)
        ));
        let counts = count_words(&["a"], true, &mut go_on).unwrap();
        assert!(matches!(
            learn_wordpiece(&counts, 100, 1, stop),
            Err(TextError::Interrupted)
        ));
    }

    #[test]
    fn the_order_of_the_texts_does_not_matter() {
        let texts = [
            "der rote Fisch",
            "the red fish",
            "le poisson rouge",
            "红鱼 red",
        ];
        let reversed: Vec<&str> = texts.into_iter().rev().collect();
        assert_eq!(
            learn(&texts, 60, 1).unwrap(),
            learn(&reversed, 60, 1).unwrap()
        );
    }
}
