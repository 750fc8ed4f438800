//! The tokens artifact: token ids of every split, mapped into memory, and the tokenizer that made them.
//!
//! ```text
//! tokens.json            max_length, names of labels and targets, vocabulary size, padding, and a summary of each split
//! SPLIT.safetensors      input_ids U32 [tokens], type_ids U8 [tokens], offsets U64 [rows + 1], id U64 [rows], and of what
//!                        follows the columns that the split has:
//!                          label U32 [rows]
//!                          labels U32 [labels of all rows], label_offsets U64 [rows + 1]
//!                          target F64 [rows, targets]
//!                          example U32 [rows]            where rows are windows of examples
//!                          word U32 [tokens]             where examples are lists of words, with
//!                          tag U32 [tokens]              where these have tags
//!                          start, end U32 [tokens]       where examples are questions with a context, with
//!                          answer U32 [rows, 2]          where these have answers
//! tokenizer/             what transformers' AutoTokenizer needs
//! examples/              the table itself, where scores and predictions need its words or contexts
//! ```
//!
//! Rows are stored one after the other without padding; `offsets` says where each begins. Everything that a reader
//! relies on is checked once, in [`Tokens::open`], so that a damaged file is an error there and nothing later.
//!
//! Deliberately absent: batches, and reading `examples/`, which is a table.

mod split;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use super::{TextError, Tokenizer};

pub use split::TokenSplit;
pub use write::{Labelled, SplitWriter, write_split};

/// The folder of a tokens artifact that holds the table, where it has words or questions.
pub const EXAMPLES: &str = "examples";

const _: () = assert!(
    cfg!(target_endian = "little"),
    "safetensors files are mapped as they are, which is little-endian"
);

/// What `tokens.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensCard {
    /// No row is longer than this, in tokens.
    pub max_length: usize,
    /// Tokens that neighbouring windows share, where rows are windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// The names of classes or tags.
    pub label_names: Option<Vec<String>>,
    /// The names of the numbers in `target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_names: Option<Vec<String>>,
    pub tokenizer_digest: String,
    pub vocab_size: usize,
    pub pad_id: u32,
    pub splits: BTreeMap<String, SplitCard>,
}

impl TokensCard {
    /// Of the artifact in `folder`.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn read(folder: &Path) -> Result<Self, TextError> {
        let path = folder.join("tokens.json");
        let bytes = files::read(&path)?;
        serde_json::from_slice(&bytes).map_err(|e| TextError::Damaged {
            path,
            problem: e.to_string(),
        })
    }

    /// A card without splits for what `tokenizer` makes.
    pub fn new(tokenizer: &Tokenizer, max_length: usize, label_names: Option<Vec<String>>) -> Self {
        TokensCard {
            max_length,
            stride: None,
            label_names,
            target_names: None,
            tokenizer_digest: tokenizer.digest(),
            vocab_size: tokenizer.vocab_size(),
            pad_id: tokenizer.pad_id(),
            splits: BTreeMap::new(),
        }
    }
}

/// A summary of one split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCard {
    pub rows: usize,
    /// How many examples the rows are windows of; absent where each row is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// Stored tokens of all rows together.
    pub tokens: usize,
    /// Examples that lost tokens to `max_length`.
    pub truncated: usize,
    /// Lengths of examples before they were cut, special tokens included: what one needs to choose `max_length`.
    pub lengths: Lengths,
}

/// Percentiles (nearest rank) of row lengths in tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lengths {
    pub p50: u32,
    pub p90: u32,
    pub p95: u32,
    pub p99: u32,
    pub max: u32,
}

impl Lengths {
    pub fn of(lengths: &[u32]) -> Self {
        let mut counts = BTreeMap::new();
        for &length in lengths {
            *counts.entry(length).or_default() += 1;
        }
        Lengths::of_counts(&counts)
    }

    /// Of the lengths that occur, each with how often it does.
    pub fn of_counts(counts: &BTreeMap<u32, usize>) -> Self {
        let all: usize = counts.values().sum();
        let at = |percent: usize| {
            let rank = (all * percent).div_ceil(100);
            let mut passed = 0;
            let found = counts.iter().find(|(_, count)| {
                passed += *count;
                passed >= rank
            });
            found.map_or(0, |(length, _)| *length)
        };
        Lengths {
            p50: at(50),
            p90: at(90),
            p95: at(95),
            p99: at(99),
            max: at(100),
        }
    }
}

/// Writes `tokens.json` and `tokenizer/` beside the splits: with this, the artifact is whole.
///
/// # Errors
/// A file cannot be written.
pub fn write_card(
    folder: &Path,
    card: &TokensCard,
    tokenizer: &Tokenizer,
) -> Result<(), TextError> {
    tokenizer.save(&folder.join("tokenizer"), card.max_length)?;
    let path = folder.join("tokens.json");
    let mut text = serde_json::to_string_pretty(card).map_err(|e| TextError::Write {
        path: path.clone(),
        source: std::io::Error::other(e),
    })?;
    text.push('\n');
    files::write(&path, text.as_bytes())
}

fn split_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.safetensors"))
}

/// An opened tokens artifact.
#[derive(Debug)]
pub struct Tokens {
    card: TokensCard,
    splits: BTreeMap<String, TokenSplit>,
    tokenizer_folder: PathBuf,
    examples_folder: PathBuf,
}

impl Tokens {
    /// Opens the artifact in `folder`. Splits are mapped into memory, read once to check them, and not copied.
    ///
    /// # Errors
    /// A file is missing or damaged: offsets that run backwards, columns of unequal length, ids outside the
    /// vocabulary, labels without a name, rows longer than `max_length`, words out of order, answers outside their row.
    pub fn open(folder: &Path) -> Result<Self, TextError> {
        let card = TokensCard::read(folder)?;
        let splits = card
            .splits
            .iter()
            .map(|(name, split)| {
                Ok((
                    name.clone(),
                    TokenSplit::open(&split_path(folder, name), split, &card)?,
                ))
            })
            .collect::<Result<_, TextError>>()?;
        Ok(Tokens {
            card,
            splits,
            tokenizer_folder: folder.join("tokenizer"),
            examples_folder: folder.join(EXAMPLES),
        })
    }

    /// A split by its name: `train`, `validation`, `test`, `more.NAME`.
    pub fn split(&self, name: &str) -> Option<&TokenSplit> {
        self.splits.get(name)
    }

    /// The names of all splits, sorted.
    pub fn split_names(&self) -> impl Iterator<Item = &str> {
        self.splits.keys().map(String::as_str)
    }

    /// The names of the labels or tags, by their number.
    pub fn label_names(&self) -> Option<&[String]> {
        self.card.label_names.as_deref()
    }

    /// The names of the numbers to predict, in their order.
    pub fn target_names(&self) -> Option<&[String]> {
        self.card.target_names.as_deref()
    }

    /// No row is longer than this, in tokens.
    pub fn max_length(&self) -> usize {
        self.card.max_length
    }

    /// How many tokens neighbouring windows of an example share, where rows are windows.
    pub fn stride(&self) -> Option<usize> {
        self.card.stride
    }

    /// The id to fill shorter rows of a batch with.
    pub fn pad_id(&self) -> u32 {
        self.card.pad_id
    }

    /// The number of ids that the tokenizer can give; all ids here are below it.
    pub fn vocab_size(&self) -> usize {
        self.card.vocab_size
    }

    /// The blake3 hash of the tokenizer's content, as 64 hex digits.
    pub fn tokenizer_digest(&self) -> &str {
        &self.card.tokenizer_digest
    }

    /// The folder with the tokenizer's files.
    pub fn tokenizer_folder(&self) -> &Path {
        &self.tokenizer_folder
    }

    /// The folder with the table that the splits were made from; it is there when a split's rows are windows.
    pub fn examples_folder(&self) -> &Path {
        &self.examples_folder
    }

    /// Everything that `tokens.json` says.
    pub fn card(&self) -> &TokensCard {
        &self.card
    }
}

#[cfg(test)]
mod tests;
