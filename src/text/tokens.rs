//! The tokens artifact: token ids of every split, mapped into memory, and the tokenizer that made them.
//!
//! ```text
//! tokens.json            max_length, label names, vocabulary size, padding, and a summary of each split
//! SPLIT.safetensors      input_ids U32 [tokens], type_ids U8 [tokens], offsets U64 [rows + 1], id U64 [rows],
//!                        label U32 [rows] where the rows have labels
//! tokenizer/             what transformers' AutoTokenizer needs
//! ```
//!
//! Rows are stored one after the other without padding; `offsets` says where each begins. Everything that a reader
//! relies on is checked once, in [`Tokens::open`], so that a damaged file is an error there and nothing later.
//!
//! Deliberately absent: batches, and the texts themselves.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytemuck::Pod;
use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::files;
use super::{Encoded, TextError, Tokenizer};

const _: () = assert!(
    cfg!(target_endian = "little"),
    "safetensors files are mapped as they are, which is little-endian"
);

/// What `tokens.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensCard {
    /// No row is longer than this, in tokens.
    pub max_length: usize,
    pub label_names: Option<Vec<String>>,
    pub tokenizer_digest: String,
    pub vocab_size: usize,
    pub pad_id: u32,
    pub splits: BTreeMap<String, SplitCard>,
}

impl TokensCard {
    /// A card without splits for what `tokenizer` makes.
    pub fn new(tokenizer: &Tokenizer, max_length: usize, label_names: Option<Vec<String>>) -> Self {
        TokensCard {
            max_length,
            label_names,
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
    /// Stored tokens of all rows together.
    pub tokens: usize,
    /// Rows that lost tokens to `max_length`.
    pub truncated: usize,
    /// Lengths of rows before truncation, special tokens included: what one needs to choose `max_length`.
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
        let mut sorted = lengths.to_vec();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            rank.checked_sub(1)
                .and_then(|index| sorted.get(index))
                .copied()
                .unwrap_or_default()
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

/// Writes one split into `folder` and returns its summary. `id` and `label` have one entry for each row.
///
/// # Errors
/// The file cannot be written.
pub fn write_split(
    folder: &Path,
    name: &str,
    encoded: &Encoded,
    id: &[u64],
    label: Option<&[u32]>,
) -> Result<SplitCard, TextError> {
    let path = split_path(folder, name);
    let rows = encoded.rows();
    let columns: [(&str, Dtype, usize, Option<&[u8]>); 5] = [
        (
            "input_ids",
            Dtype::U32,
            encoded.ids.len(),
            Some(bytemuck::cast_slice(&encoded.ids)),
        ),
        (
            "type_ids",
            Dtype::U8,
            encoded.type_ids.len(),
            Some(&encoded.type_ids),
        ),
        (
            "offsets",
            Dtype::U64,
            rows + 1,
            Some(bytemuck::cast_slice(&encoded.offsets)),
        ),
        ("id", Dtype::U64, rows, Some(bytemuck::cast_slice(id))),
        ("label", Dtype::U32, rows, label.map(bytemuck::cast_slice)),
    ];
    let unwritten = |source: std::io::Error| TextError::Write {
        path: path.clone(),
        source,
    };
    let mut views = Vec::new();
    for (column, dtype, length, bytes) in columns {
        let Some(bytes) = bytes else { continue };
        let view = TensorView::new(dtype, vec![length], bytes).map_err(|e| {
            unwritten(std::io::Error::other(format!(
                "{column} does not have one entry for each row: {e}"
            )))
        })?;
        views.push((column, view));
    }
    safetensors::serialize_to_file(views, None, &path).map_err(|e| {
        unwritten(match e {
            safetensors::SafeTensorError::IoError(source) => source,
            other => std::io::Error::other(other.to_string()),
        })
    })?;
    Ok(SplitCard {
        rows,
        tokens: encoded.tokens(),
        truncated: encoded.truncated(),
        lengths: Lengths::of(encoded.full_lengths()),
    })
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
}

impl Tokens {
    /// Opens the artifact in `folder`. Splits are mapped into memory, read once to check them, and not copied.
    ///
    /// # Errors
    /// A file is missing or damaged: offsets that run backwards, columns of unequal length, ids outside the
    /// vocabulary, labels without a name, rows longer than `max_length`.
    pub fn open(folder: &Path) -> Result<Self, TextError> {
        let path = folder.join("tokens.json");
        let card: TokensCard =
            serde_json::from_slice(&files::read(&path)?).map_err(|e| TextError::Damaged {
                path,
                problem: e.to_string(),
            })?;
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

    /// The names of the labels, by their number.
    pub fn label_names(&self) -> Option<&[String]> {
        self.card.label_names.as_deref()
    }

    /// No row is longer than this, in tokens.
    pub fn max_length(&self) -> usize {
        self.card.max_length
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

    /// Everything that `tokens.json` says.
    pub fn card(&self) -> &TokensCard {
        &self.card
    }
}

/// The rows of one split, mapped into memory.
#[derive(Debug)]
pub struct TokenSplit {
    map: Mmap,
    // Each column's place in the map.
    ids: Range<usize>,
    type_ids: Range<usize>,
    offsets: Range<usize>,
    row_ids: Range<usize>,
    labels: Option<Range<usize>>,
}

impl TokenSplit {
    fn open(path: &Path, split: &SplitCard, card: &TokensCard) -> Result<Self, TextError> {
        let unreadable = |source| TextError::Read {
            path: path.to_owned(),
            source,
        };
        let damaged = |problem: String| TextError::Damaged {
            path: path.to_owned(),
            problem,
        };
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.len() == 0 {
            return Err(damaged("it is empty".to_owned()));
        }
        // SAFETY: artifacts are never written again once they are in the store.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        let tensors = SafeTensors::deserialize(&map).map_err(|e| damaged(e.to_string()))?;
        let place = |name: &str, dtype: Dtype, entries: usize| -> Result<Range<usize>, TextError> {
            let view = tensors.tensor(name).map_err(|e| damaged(e.to_string()))?;
            if view.dtype() != dtype || view.shape() != [entries] {
                return Err(damaged(format!(
                    "{name} is {:?} {:?}, expected {dtype:?} [{entries}]",
                    view.dtype(),
                    view.shape()
                )));
            }
            let start = view.data().as_ptr() as usize - map.as_ptr() as usize;
            if !view
                .data()
                .as_ptr()
                .addr()
                .is_multiple_of(dtype.bitsize() / 8)
            {
                return Err(damaged(format!("{name} is not aligned")));
            }
            Ok(start..start + view.data().len())
        };
        let ids = place("input_ids", Dtype::U32, split.tokens)?;
        let type_ids = place("type_ids", Dtype::U8, split.tokens)?;
        let offsets = place("offsets", Dtype::U64, split.rows.saturating_add(1))?;
        let row_ids = place("id", Dtype::U64, split.rows)?;
        let has_labels = tensors.names().contains(&"label");
        let labels = has_labels
            .then(|| place("label", Dtype::U32, split.rows))
            .transpose()?;
        let split = TokenSplit {
            map,
            ids,
            type_ids,
            offsets,
            row_ids,
            labels,
        };
        split.check(card).map_err(damaged)?;
        Ok(split)
    }

    fn check(&self, card: &TokensCard) -> Result<(), String> {
        let ids: &[u32] = self.column(&self.ids);
        let offsets: &[u64] = self.column(&self.offsets);
        if offsets.first() != Some(&0) || offsets.last() != Some(&(ids.len() as u64)) {
            return Err("offsets do not run from 0 to the number of tokens".to_owned());
        }
        for (row, bounds) in offsets.windows(2).enumerate() {
            match bounds[1].checked_sub(bounds[0]) {
                None => return Err(format!("offsets run backwards at row {row}")),
                Some(length) if length > card.max_length as u64 => {
                    return Err(format!(
                        "row {row} has {length} tokens, more than max_length = {}",
                        card.max_length
                    ));
                }
                Some(_) => {}
            }
        }
        if let Some(id) = ids
            .iter()
            .max()
            .filter(|id| **id as usize >= card.vocab_size)
        {
            return Err(format!(
                "the id {id} is outside the vocabulary of {}",
                card.vocab_size
            ));
        }
        if let (Some(labels), Some(names)) = (&self.labels, &card.label_names) {
            let labels: &[u32] = self.column(labels);
            if let Some(label) = labels
                .iter()
                .max()
                .filter(|label| **label as usize >= names.len())
            {
                return Err(format!(
                    "the label {label} has no name among {}",
                    names.len()
                ));
            }
        }
        Ok(())
    }

    fn column<T: Pod>(&self, place: &Range<usize>) -> &[T] {
        // `open` has checked place, type and alignment of every column.
        bytemuck::cast_slice(&self.map[place.clone()])
    }

    fn bounds(&self, row: usize) -> Range<usize> {
        let offsets: &[u64] = self.column(&self.offsets);
        offsets[row] as usize..offsets[row + 1] as usize
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.row_ids.len() / size_of::<u64>()
    }

    /// The number of tokens in all rows.
    pub fn tokens(&self) -> usize {
        self.type_ids.len()
    }

    /// The token ids of a row, special tokens included.
    ///
    /// # Panics
    /// `row` is not below [`TokenSplit::rows`]; so do the other accessors.
    pub fn ids(&self, row: usize) -> &[u32] {
        &self.column(&self.ids)[self.bounds(row)]
    }

    /// The segment of each token: 0 for the text, 1 for its pair.
    pub fn type_ids(&self, row: usize) -> &[u8] {
        &self.column(&self.type_ids)[self.bounds(row)]
    }

    /// The number of the row's label, where the split has labels.
    pub fn label(&self, row: usize) -> Option<u32> {
        let labels: &[u32] = self.column(self.labels.as_ref()?);
        Some(labels[row])
    }

    /// The row's id in the table that it comes from.
    pub fn id(&self, row: usize) -> u64 {
        let ids: &[u64] = self.column(&self.row_ids);
        ids[row]
    }

    /// How many segments the rows have: 1 without pairs, 2 with; never 0.
    pub fn token_types(&self) -> usize {
        let highest = (0..self.rows())
            .filter_map(|row| self.type_ids(row).iter().max())
            .max();
        highest.map_or(1, |&highest| usize::from(highest) + 1)
    }

    /// The number of tokens of the longest row.
    pub fn longest(&self) -> usize {
        (0..self.rows())
            .map(|row| self.length(row))
            .max()
            .unwrap_or(0)
    }

    /// The row's length in tokens.
    pub fn length(&self, row: usize) -> usize {
        self.bounds(row).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::train::tests::small_tokenizer;

    fn written(label: Option<&[u32]>) -> (tempfile::TempDir, Encoded) {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = small_tokenizer();
        let texts = [
            ("red fish", Some("blue fish")),
            ("", None),
            ("one fish two fish", None),
        ]
        .map(|(text, pair)| (text.to_owned(), pair.map(str::to_owned)));
        let encoded = tokenizer.encode(&texts, 5).unwrap();
        let names = vec!["no".to_owned(), "yes".to_owned()];
        let mut card = TokensCard::new(&tokenizer, 5, Some(names));
        card.splits.insert(
            "train".to_owned(),
            write_split(folder.path(), "train", &encoded, &[7, 8, 9], label).unwrap(),
        );
        write_card(folder.path(), &card, &tokenizer).unwrap();
        (folder, encoded)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (folder, encoded) = written(Some(&[0, 1, 0]));
        let tokens = Tokens::open(folder.path()).unwrap();
        let train = tokens.split("train").unwrap();
        assert_eq!(tokens.split_names().collect::<Vec<_>>(), ["train"]);
        assert_eq!(train.rows(), 3);
        for row in 0..3 {
            assert_eq!(train.ids(row), encoded.ids(row));
            assert_eq!(train.type_ids(row), encoded.type_ids(row));
            assert_eq!(train.length(row), encoded.ids(row).len());
            assert_eq!(train.id(row), 7 + row as u64);
        }
        assert_eq!(train.label(1), Some(1));
        assert_eq!(train.type_ids(0), [0, 0, 0, 1, 1]);
        assert_eq!(tokens.card().splits["train"].truncated, 2);
        let tokenizer = Tokenizer::open(tokens.tokenizer_folder()).unwrap();
        assert_eq!(tokenizer.digest(), tokens.tokenizer_digest());
    }

    #[test]
    fn rows_without_labels_have_none() {
        let (folder, _) = written(None);
        assert_eq!(
            Tokens::open(folder.path())
                .unwrap()
                .split("train")
                .unwrap()
                .label(0),
            None
        );
    }

    #[test]
    fn an_empty_split_can_be_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = small_tokenizer();
        let encoded = tokenizer.encode(&[], 8).unwrap();
        let mut card = TokensCard::new(&tokenizer, 8, None);
        card.splits.insert(
            "test".to_owned(),
            write_split(folder.path(), "test", &encoded, &[], None).unwrap(),
        );
        write_card(folder.path(), &card, &tokenizer).unwrap();
        assert_eq!(
            Tokens::open(folder.path())
                .unwrap()
                .split("test")
                .unwrap()
                .rows(),
            0
        );
    }

    #[test]
    fn damage_is_an_error_that_names_it() {
        type Harm = fn(&mut Encoded, &mut Vec<u64>, &mut Vec<u32>);
        let harms: [(&str, Harm); 7] = [
            ("offsets run backwards at row 1", |e, _, _| e.offsets[2] = 0),
            ("offsets do not run from 0", |e, _, _| e.offsets[0] = 1),
            ("offsets do not run from 0", |e, _, _| e.offsets[3] += 1),
            ("outside the vocabulary", |e, _, _| e.ids[2] = 1 << 30),
            ("the label 2 has no name", |_, _, labels| labels[0] = 2),
            ("type_ids is U8 [11], expected U8 [12]", |e, _, _| {
                e.type_ids.truncate(11)
            }),
            ("more than max_length = 5", |e, _, _| {
                e.offsets[1..3].copy_from_slice(&[5, 6])
            }),
        ];
        for (problem, harm) in harms {
            let (folder, mut encoded) = written(Some(&[0, 1, 0]));
            let (mut id, mut label) = (vec![7, 8, 9], vec![0, 1, 0]);
            harm(&mut encoded, &mut id, &mut label);
            write_split(folder.path(), "train", &encoded, &id, Some(&label)).unwrap();
            let error = Tokens::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(problem), "{error} does not say {problem}");
        }
    }

    #[test]
    fn a_cut_or_emptied_or_missing_file_is_an_error() {
        for keep in [Some(0), Some(7), Some(40), Some(300), None] {
            let (folder, _) = written(None);
            let path = folder.path().join("train.safetensors");
            match keep {
                Some(keep) => {
                    std::fs::write(&path, &std::fs::read(&path).unwrap()[..keep]).unwrap()
                }
                None => std::fs::remove_file(&path).unwrap(),
            }
            Tokens::open(folder.path()).unwrap_err();
        }
    }

    #[test]
    fn a_misaligned_column_is_an_error() {
        let (folder, _) = written(None);
        let path = folder.path().join("train.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let mut moved = (header + 1).to_le_bytes().to_vec();
        moved.extend_from_slice(&bytes[8..8 + header as usize]);
        moved.push(b' ');
        moved.extend_from_slice(&bytes[8 + header as usize..]);
        std::fs::write(&path, moved).unwrap();
        let error = Tokens::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not aligned"), "{error}");
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let lengths: Vec<u32> = (1..=200).rev().collect();
        assert_eq!(
            Lengths::of(&lengths),
            Lengths {
                p50: 100,
                p90: 180,
                p95: 190,
                p99: 198,
                max: 200
            }
        );
        assert_eq!(Lengths::of(&[]), Lengths::default());
        assert_eq!(
            Lengths::of(&[3]),
            Lengths {
                p50: 3,
                p90: 3,
                p95: 3,
                p99: 3,
                max: 3
            }
        );
    }
}
