//! Byte-level BPE (Radford et al., 2019; RoBERTa's): words of bytes, whose most frequent pairs are merged.
//!
//! The alphabet is all 256 bytes, whether the texts have them or not, so that no text is unknown. Ids are those of Hugging Face's
//! own recipe for RoBERTa: `<s> <pad> </s> <unk> <mask>`, bytes, then merges from the most to the least frequent.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use serde_json::{Map, Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::{Begun, WordCounts, merged};
use crate::text::class::Class;
use crate::text::compose::Vocabulary;
use crate::text::{TextError, Tokenizer};

const SPECIALS: [&str; 5] = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];

/// Longer stretches without a space are mostly no words, and cost much.
const LONGEST_WORD: usize = 400;

pub(super) fn pre_tokenizer() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})
}

pub(super) fn learn(
    counts: &WordCounts,
    vocab_size: usize,
    min_frequency: u64,
    normalizer: Value,
    on_pieces: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Tokenizer, TextError> {
    let words: BTreeMap<&str, u64> = counts
        .0
        .iter()
        .filter(|(word, _)| !word.is_empty() && word.chars().count() <= LONGEST_WORD)
        .map(|(word, count)| (word.as_str(), *count))
        .collect();
    if words.is_empty() {
        return Err(TextError::NothingToLearnFrom);
    }
    let mut bytes: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    bytes.sort_unstable();
    let bytes = bytes.iter().map(char::to_string);
    let vocabulary: Vec<String> = SPECIALS
        .map(str::to_owned)
        .into_iter()
        .chain(bytes)
        .collect();
    if vocabulary.len() > vocab_size {
        return Err(TextError::VocabularyTooSmall {
            vocab_size,
            needed: vocabulary.len(),
            characters: vocabulary.len() - SPECIALS.len(),
        });
    }
    let ids = vocabulary.iter().cloned().zip(0..);
    let ids: HashMap<String, u32> = ids.collect();
    let pieces = words.keys().map(|word| {
        let of_byte = |byte: char| ids.get(&byte.to_string()).copied();
        word.chars().filter_map(of_byte).collect()
    });
    let begun = Begun {
        pieces: pieces.collect(),
        counts: words.values().copied().collect(),
        vocabulary,
        ids: ids.clone(),
    };
    let join = |first: &str, second: &str| format!("{first}{second}");
    let min_frequency = min_frequency.max(1);
    let (vocabulary, merges) = merged(begun, vocab_size, min_frequency, &join, on_pieces)?;
    let piece = |id: u32| vocabulary.get(id as usize).cloned().unwrap_or_default();
    let merges = merges
        .iter()
        .map(|&(first, second)| json!([piece(first), piece(second)]));
    let merges = merges.collect();
    let ids: Map<String, Value> = vocabulary
        .iter()
        .zip(0_u32..)
        .map(|(token, id)| (token.clone(), json!(id)))
        .collect();
    let vocabulary = Vocabulary::Merges { ids, merges };
    Tokenizer::learnt(Class::Roberta, vocabulary, Some(normalizer))
}
