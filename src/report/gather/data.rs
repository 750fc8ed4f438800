//! What tables and tokens are like: rows, labels, lengths.
//!
//! Deliberately absent: what is wrong with data, which `refit inspect` tells.

use std::path::Path;

use super::super::evaluation::{PageData, PageLengths, PageSplit, PageTokens};
use super::{ReportError, histogram};
use crate::metrics::slices::word_count;
use crate::table::{self, stored::StoredTable};
use crate::text::tokens::{SplitCard, TokensCard};
use crate::text::{TokenSplit, Tokenizer, Tokens};

pub(super) fn of_table(stage: &str, folder: &Path) -> Result<PageData, ReportError> {
    let stored = StoredTable::open(folder)?;
    let names = stored.label_names.clone().unwrap_or_default();
    let mut splits = Vec::new();
    for name in stored.names() {
        let Some(split) = stored.split(name) else {
            continue;
        };
        let mut counts = vec![0_u64; names.len()];
        let mut words = Vec::with_capacity(split.rows());
        for piece in split.pieces() {
            let piece = piece?;
            let rows = table::borrowed(&piece)?;
            words.extend(rows.text.iter().map(|text| word_count(text)));
            let one = rows.label.iter().flatten();
            let several = rows.labels.iter().flatten().flatten();
            let tags = rows.tags.iter().flatten().flatten();
            for &label in one.chain(several).chain(tags) {
                if let Some(count) = counts.get_mut(label as usize) {
                    *count += 1;
                }
            }
        }
        splits.push(PageSplit {
            name: name.to_owned(),
            rows: split.rows(),
            labels: names.iter().cloned().zip(counts).collect(),
            words: histogram(&words),
        });
    }
    Ok(PageData {
        stage: stage.to_owned(),
        splits: in_order(splits, |split| &split.name),
    })
}

pub(super) fn of_tokens(stage: &str, folder: &Path) -> Result<PageTokens, ReportError> {
    let tokens = Tokens::open(folder)?;
    let card: &TokensCard = tokens.card();
    let tokenizer = Tokenizer::open(tokens.tokenizer_folder())?;
    let unknown = (0..u32::try_from(card.vocab_size).unwrap_or(u32::MAX)).find(|&id| {
        let piece = tokenizer.piece(id);
        piece.is_some_and(|piece| ["[UNK]", "<unk>"].contains(&&*piece))
    });
    let of_split = |name: &str, split: &TokenSplit, card: Option<&SplitCard>| {
        let rows = 0..split.rows();
        let lengths: Vec<u32> = rows.clone().map(|row| split.length(row) as u32).collect();
        let all: u64 = lengths.iter().copied().map(u64::from).sum();
        let ids = rows.flat_map(|row| split.ids(row));
        let missed = ids.filter(|id| Some(**id) == unknown).count();
        PageLengths {
            name: name.to_owned(),
            rows: split.rows(),
            lengths: histogram(&lengths),
            mean: all as f64 / lengths.len().max(1) as f64,
            longest: lengths.iter().copied().max().unwrap_or_default(),
            cut: card.map_or(0, |card| card.truncated as u64),
            unknown: missed as f64 / all.max(1) as f64,
        }
    };
    let names = tokens.split_names();
    let splits = names.filter_map(|name| {
        let split = tokens.split(name)?;
        Some(of_split(name, split, card.splits.get(name)))
    });
    Ok(PageTokens {
        stage: stage.to_owned(),
        max_length: card.max_length,
        vocab_size: card.vocab_size,
        splits: in_order(splits.collect(), |split| &split.name),
    })
}

/// As people read splits: the training first.
fn in_order<S>(mut splits: Vec<S>, name: impl Fn(&S) -> &String) -> Vec<S> {
    const USUAL: [&str; 3] = ["train", "validation", "test"];
    let rank = |name: &str| {
        USUAL
            .iter()
            .position(|usual| *usual == name)
            .unwrap_or(USUAL.len())
    };
    splits.sort_by_key(|split| (rank(name(split)), name(split).clone()));
    splits
}
