//! A unigram language model of pieces (Kudo, arXiv:1804.10959), as SentencePiece and the tokenizers library learn it: from many
//! substrings, those are taken away that the likelihood of the texts misses least.
//!
//! The work is that of tokenizers' `UnigramTrainer`. It is given words in an order of their own, on a single thread: sums over
//! pieces of work would otherwise depend on the number of threads. Of its answer two things depend on the order of a hash set, and
//! are put in order here: equally likely pieces (by their text), and the scores of characters that are in the vocabulary only so
//! that every text can be written.
//!
//! Ids are those of ALBERT: `<pad> <unk> [CLS] [SEP] [MASK]`, then pieces from the likeliest.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::{Value, json};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};

use super::{WordCounts, alphabet};
use crate::text::check::caught;
use crate::text::class::Class;
use crate::text::compose::Vocabulary;
use crate::text::{TextError, Tokenizer};

const SPECIALS: [&str; 5] = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"];

/// By how much the trainer tells characters apart that it must keep.
const APART: f64 = 0.0001;

/// Longer ones are mostly no words, and their number of cuts grows with the length.
const LONGEST_WORD: usize = 200;

pub(super) fn pre_tokenizer() -> Value {
    json!({
        "type": "Sequence",
        "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        ],
    })
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
    let known = alphabet(&words, min_frequency.max(1));
    let mut sentences: Vec<(String, u32)> = words
        .into_iter()
        .filter(|(word, _)| word.chars().all(|c| known.contains(&c)))
        .map(|(word, count)| (word.to_owned(), u32::try_from(count).unwrap_or(u32::MAX)))
        .collect();
    if sentences.is_empty() {
        return Err(TextError::NothingToLearnFrom);
    }
    // The trainer adds the counts up in 32 bits.
    let all: u64 = sentences.iter().map(|(_, count)| u64::from(*count)).sum();
    let share = all.div_ceil(u64::from(u32::MAX)).max(1);
    for (_, count) in &mut sentences {
        *count = (u64::from(*count) / share).max(1) as u32;
    }
    // One more than characters, because a score that is none must be somebody's.
    let needed = SPECIALS.len() + known.len() + 1;
    if vocab_size < needed {
        return Err(TextError::VocabularyTooSmall {
            vocab_size,
            needed,
            characters: known.len(),
        });
    }
    if on_pieces(0).is_break() {
        return Err(TextError::Interrupted);
    }
    let refused = |message: String| TextError::NotLearnt { message };
    let wanted = u32::try_from(vocab_size - SPECIALS.len()).unwrap_or(u32::MAX);
    let mut trainer = UnigramTrainer::default();
    trainer.show_progress = false;
    trainer.vocab_size = wanted;
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let alone = alone.map_err(|e| refused(e.to_string()))?;
    let model = alone.install(|| {
        caught(|| {
            let mut model = Unigram::default();
            trainer.do_train(sentences, &mut model)?;
            Ok(model)
        })
    });
    let model = model.map_err(|e| refused(e.to_string()))?;
    let mut pieces: Vec<(String, f64)> = model.iter().cloned().collect();
    settle(&mut pieces);
    let specials = SPECIALS.map(|name| (name.to_owned(), 0.0));
    let vocabulary = Vocabulary::Pieces {
        pieces: specials.into_iter().chain(pieces).collect(),
        charsmap: None,
        unk_id: Some(1),
    };
    let tokenizer = Tokenizer::learnt(Class::Albert, vocabulary, Some(normalizer))?;
    match on_pieces(tokenizer.vocab_size()) {
        ControlFlow::Continue(()) => Ok(tokenizer),
        ControlFlow::Break(()) => Err(TextError::Interrupted),
    }
}

/// Orders what the trainer leaves to chance: see above.
fn settle(pieces: &mut [(String, f64)]) {
    let lowest = pieces.iter().map(|(_, score)| *score);
    let lowest = lowest.fold(f64::INFINITY, f64::min);
    let is_kept = |(piece, score): &(String, f64), wanted: f64| {
        *score == wanted && piece.chars().count() == 1
    };
    let mut scores = Vec::new();
    let mut kept: Vec<usize> = Vec::new();
    let mut penalty = 0.0;
    while let Some(place) = pieces
        .iter()
        .position(|piece| is_kept(piece, lowest + penalty))
    {
        scores.push(lowest + penalty);
        kept.push(place);
        penalty += APART;
    }
    let mut names: Vec<String> = kept.iter().map(|&place| pieces[place].0.clone()).collect();
    names.sort_unstable();
    for ((&place, name), score) in kept.iter().zip(names).zip(scores) {
        pieces[place] = (name, score);
    }
    pieces.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
}
