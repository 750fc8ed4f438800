//! From rows of tokens to batches: in which order, and how laid out.
//!
//! On a CPU the tokens of a batch simply follow each other, and no work is spent on padding. Elsewhere every row is padded
//! to one length, because kernels there are compiled and tuned for each shape that they meet; lengths are rounded up, so
//! that there are few.
//!
//! Grouping by length is that of transformers (`trainer_pt_utils.get_length_grouped_indices`): the rows are shuffled, cut
//! into mega-batches of up to 50 batches, and each of these is sorted by length, so that little is padded while chance still
//! decides who meets whom. The last, partial batch is kept.
//!
//! The orders of epochs and the rows of batches are prepared ahead on a thread of their own ([`ahead`]).
//!
//! Deliberately absent: tensors prepared ahead. Rows are mapped from disk, a batch of ids is copied in microseconds, and a
//! device may bind what is made to the thread that made it.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use burn::tensor::Device;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LearnError;
use crate::device;
use crate::kernels::Spans;
use crate::model::Batch;
use crate::text::{Encoded, TokenSplit};

/// Rows of token ids, however they are stored.
pub trait Rows: Sync {
    fn rows(&self) -> usize;
    fn ids(&self, row: usize) -> &[u32];
    fn type_ids(&self, row: usize) -> &[u8];
    /// The label's number, for a row that has one.
    fn label(&self, row: usize) -> Option<u32>;
    /// What the row is called in messages.
    fn id(&self, row: usize) -> u64;

    /// The labels' numbers, ascending, for a row that has any number of them.
    fn labels(&self, _row: usize) -> Option<&[u32]> {
        None
    }

    /// The numbers to predict, all finite, for a row that has some.
    fn targets(&self, _row: usize) -> Option<&[f64]> {
        None
    }

    /// For a row of words, the word that each token begins, where this row is the one to say what it is; elsewhere
    /// [`NONE`](crate::text::NONE). `[tokens]`
    fn words(&self, _row: usize) -> Option<&[u32]> {
        None
    }

    /// The tag of each of [`Rows::words`], elsewhere [`NONE`](crate::text::NONE). `[tokens]`
    fn tags(&self, _row: usize) -> Option<&[u32]> {
        None
    }

    /// For a row with a context, where each of its tokens begins and ends there, in Unicode characters, the end
    /// exclusive; [`NONE`](crate::text::NONE) for other tokens. `[tokens]` each
    fn characters(&self, _row: usize) -> Option<(&[u32], &[u32])> {
        None
    }

    /// First and last token of the answer, both inclusive; (0, 0) in a row that does not hold it whole.
    fn answer(&self, _row: usize) -> Option<(u32, u32)> {
        None
    }

    /// The number of the example that the row is a window of: ascending, none left out.
    fn example(&self, row: usize) -> usize {
        row
    }

    /// How many examples the rows are windows of.
    fn examples(&self) -> usize {
        self.rows()
    }

    /// The number of tokens in a row.
    fn length(&self, row: usize) -> usize {
        self.ids(row).len()
    }
}

impl Rows for TokenSplit {
    fn rows(&self) -> usize {
        TokenSplit::rows(self)
    }

    fn ids(&self, row: usize) -> &[u32] {
        TokenSplit::ids(self, row)
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        TokenSplit::type_ids(self, row)
    }

    fn label(&self, row: usize) -> Option<u32> {
        TokenSplit::label(self, row)
    }

    fn id(&self, row: usize) -> u64 {
        TokenSplit::id(self, row)
    }

    fn labels(&self, row: usize) -> Option<&[u32]> {
        TokenSplit::labels(self, row)
    }

    fn targets(&self, row: usize) -> Option<&[f64]> {
        TokenSplit::targets(self, row)
    }

    fn words(&self, row: usize) -> Option<&[u32]> {
        TokenSplit::words(self, row)
    }

    fn tags(&self, row: usize) -> Option<&[u32]> {
        TokenSplit::tags(self, row)
    }

    fn characters(&self, row: usize) -> Option<(&[u32], &[u32])> {
        TokenSplit::characters(self, row)
    }

    fn answer(&self, row: usize) -> Option<(u32, u32)> {
        TokenSplit::answer(self, row)
    }

    fn example(&self, row: usize) -> usize {
        TokenSplit::example(self, row)
    }

    fn examples(&self) -> usize {
        TokenSplit::examples(self)
    }

    fn length(&self, row: usize) -> usize {
        TokenSplit::length(self, row)
    }
}

impl Rows for Encoded {
    fn rows(&self) -> usize {
        Encoded::rows(self)
    }

    fn ids(&self, row: usize) -> &[u32] {
        Encoded::ids(self, row)
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        Encoded::type_ids(self, row)
    }

    /// None: these rows were never labelled.
    fn label(&self, _row: usize) -> Option<u32> {
        None
    }

    fn id(&self, row: usize) -> u64 {
        Encoded::example(self, row) as u64
    }

    fn words(&self, row: usize) -> Option<&[u32]> {
        Encoded::words(self, row)
    }

    fn characters(&self, row: usize) -> Option<(&[u32], &[u32])> {
        Encoded::characters(self, row)
    }

    fn example(&self, row: usize) -> usize {
        Encoded::example(self, row)
    }

    fn examples(&self) -> usize {
        Encoded::examples(self)
    }
}

/// How many rows go through the model at once, and how they are put together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    /// Rows in one training step. More rows make a smoother gradient and need more memory; the last batch of an epoch may
    /// be smaller.
    #[schemars(range(min = 1, max = 65536))]
    pub size: u32,
    /// Rows of full length at once when validating; of shorter rows as many as have the same number of tokens. It changes
    /// speed and memory, not results (beyond the rounding of floats).
    #[schemars(range(min = 1, max = 65536))]
    pub evaluation_size: u32,
    /// To which length the rows of a training batch are padded.
    pub padding: Padding,
    /// Put rows of similar length into the same batch (in a seeded, partly random order), so that little time goes into
    /// padding; on a CPU, where nothing is padded, it only changes the order. Without it, rows are shuffled plainly.
    pub group_by_length: bool,
}

impl Default for BatchSettings {
    fn default() -> Self {
        BatchSettings {
            size: 32,
            evaluation_size: 64,
            padding: Padding::Longest,
            group_by_length: true,
        }
    }
}

/// To which length the rows of a batch are padded. On a CPU nothing is: results are the same, and come sooner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The longest row of the batch, rounded up to a multiple of 16: fastest.
    #[default]
    Longest,
    /// The tokenize stage's `max_length`, always: every batch has one shape, which suits kernels that are tuned for each shape.
    MaxLength,
}

/// The batches of one epoch, as row numbers.
pub(super) fn epoch(
    rows: &dyn Rows,
    settings: &BatchSettings,
    seed: u64,
    epoch: u64,
) -> Vec<Vec<usize>> {
    let size = settings.size.max(1) as usize;
    let order = if settings.group_by_length {
        let lengths: Vec<usize> = (0..rows.rows()).map(|row| rows.length(row)).collect();
        length_grouped(&lengths, size, seed, epoch)
    } else {
        shuffled(rows.rows(), seed, epoch)
    };
    order.chunks(size).map(<[usize]>::to_vec).collect()
}

/// The numbers below `rows` in an order that `seed` and `epoch` decide.
pub fn shuffled(rows: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut generator(seed, epoch));
    order
}

/// The numbers below `lengths.len()`, so ordered that `batch_size` consecutive ones belong to rows of similar length.
///
/// The longest row of all comes first: should memory not suffice, that shows at once.
///
/// Source: `get_length_grouped_indices` in transformers' `trainer_pt_utils.py`, with another random generator.
pub fn length_grouped(lengths: &[usize], batch_size: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order = shuffled(lengths.len(), seed, epoch);
    let mega = mega_batch(lengths.len(), batch_size);
    for batch in order.chunks_mut(mega) {
        batch.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
    }
    let firsts = (0..order.len()).step_by(mega);
    // The first of equals, as argmax has it; `max_by_key` would take the last.
    if let Some(longest) = firsts.rev().max_by_key(|&first| lengths[order[first]]) {
        order.swap(0, longest);
    }
    order
}

/// Rows in a mega-batch: 50 batches, or fewer where that would not give four mega-batches.
fn mega_batch(rows: usize, batch_size: usize) -> usize {
    let size = batch_size.max(1);
    size * (rows / (size * 4)).clamp(1, 50)
}

fn generator(seed: u64, epoch: u64) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"refit batch order 1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&epoch.to_le_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// Lengths are rounded up to a multiple of this where batches are padded: few shapes, little padding.
const ROUND: usize = 16;

/// Tokens in a batch on a CPU: enough to keep its cores busy, few enough for what a layer computes to stay in the caches.
/// 4096 took 9 % longer for MiniLM-L6 on two cores.
const CACHED: usize = 1024;

/// How the rows of a batch are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One row after the other.
    Packed,
    /// Every row is padded to the longest one, rounded up, or to the length given.
    Padded { to: Option<usize> },
}

impl Layout {
    /// The faster one on `device`; where that is a padded one, to `padding`, given the longest that a row may be.
    pub fn on(device: &Device, padding: Padding, max_length: usize) -> Layout {
        if device::is_cpu(device) {
            Layout::Packed
        } else {
            Layout::Padded {
                to: (padding == Padding::MaxLength).then_some(max_length),
            }
        }
    }

    /// How many rows, none longer than `length`, have at most `tokens` tokens together; at least one.
    ///
    /// Where rows are padded, a power of two, so that batches have few shapes.
    pub(super) fn fitting(self, tokens: usize, length: usize) -> usize {
        match self {
            Layout::Packed => (tokens.min(CACHED) / length.max(1)).max(1),
            Layout::Padded { to } => {
                let padded = to.unwrap_or(0).max(length.max(1).next_multiple_of(ROUND));
                1 << (tokens / padded).max(1).ilog2()
            }
        }
    }

    fn spans(self, lengths: impl Iterator<Item = usize> + Clone, max_length: usize) -> Spans {
        match self {
            Layout::Packed => Spans::packed(lengths),
            Layout::Padded { to } => {
                let longest = lengths.clone().max().unwrap_or(0);
                let rounded = longest.next_multiple_of(ROUND).min(max_length);
                Spans::padded(lengths, to.unwrap_or(rounded).max(longest))
            }
        }
    }
}

/// The token ids of some rows, on the host. All three are as long as the spans have rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Laid {
    pub ids: Vec<i32>,
    pub type_ids: Vec<i32>,
    pub spans: Spans,
}

impl Laid {
    /// The rows numbered `chosen`, with `pad_id` as padding, none of it beyond `max_length` tokens.
    pub fn out(
        rows: &dyn Rows,
        chosen: &[usize],
        layout: Layout,
        pad_id: u32,
        max_length: usize,
    ) -> Laid {
        // A row without a token gets one of padding: there is no first token of nothing, and no mean.
        let lengths = chosen.iter().map(|&row| rows.length(row).max(1));
        let spans = layout.spans(lengths, max_length);
        let mut ids = vec![pad_id as i32; spans.rows()];
        let mut type_ids = vec![0; spans.rows()];
        for (&row, text) in chosen.iter().zip(spans.texts()) {
            for (to, &id) in ids[text.clone()].iter_mut().zip(rows.ids(row)) {
                *to = id as i32;
            }
            for (to, &id) in type_ids[text.clone()].iter_mut().zip(rows.type_ids(row)) {
                *to = i32::from(id);
            }
        }
        Laid {
            ids,
            type_ids,
            spans,
        }
    }

    /// As tensors.
    pub fn on(self, device: &Device) -> Batch {
        Batch::new(self.ids, self.type_ids, self.spans, device)
    }
}

/// A training batch, ready on the host.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Counted from 1.
    pub(super) epoch: u64,
    pub(super) rows: Vec<usize>,
    pub(super) laid: Laid,
    pub(super) ends_epoch: bool,
}

/// The batches of epoch after epoch, two of them prepared ahead. The thread ends when the receiver is dropped.
///
/// # Errors
/// [`LearnError::Device`] when no thread can be had.
pub(super) fn ahead<'scope, 'rows: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    rows: &'rows dyn Rows,
    settings: &'rows BatchSettings,
    seed: u64,
    lay_out: impl Fn(&[usize]) -> Laid + Send + 'scope,
) -> Result<Receiver<Prepared>, LearnError> {
    let (sender, receiver) = sync_channel(2);
    let work = move || {
        for epoch in 1.. {
            let batches = self::epoch(rows, settings, seed, epoch);
            let Some(last) = batches.len().checked_sub(1) else {
                return;
            };
            for (number, rows) in batches.into_iter().enumerate() {
                let laid = lay_out(&rows);
                let ends_epoch = number == last;
                let prepared = Prepared {
                    epoch,
                    rows,
                    laid,
                    ends_epoch,
                };
                if sender.send(prepared).is_err() {
                    return;
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("batches".to_owned())
        .spawn_scoped(scope, work)
        .map_err(|cause| LearnError::Device {
            doing: "starting a thread for batches",
            cause: cause.to_string(),
        })?;
    Ok(receiver)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows in memory: ids and label.
    pub(in crate::learn) struct Listed(pub(in crate::learn) Vec<(Vec<u32>, Option<u32>)>);

    impl Rows for Listed {
        fn rows(&self) -> usize {
            self.0.len()
        }

        fn ids(&self, row: usize) -> &[u32] {
            &self.0[row].0
        }

        fn type_ids(&self, row: usize) -> &[u8] {
            static ZEROS: [u8; 64] = [0; 64];
            &ZEROS[..self.0[row].0.len()]
        }

        fn label(&self, row: usize) -> Option<u32> {
            self.0[row].1
        }

        fn id(&self, row: usize) -> u64 {
            row as u64
        }
    }

    proptest! {
        #[test]
        fn grouping_is_a_permutation_sorted_within_mega_batches_with_the_longest_row_first(
            lengths in prop::collection::vec(1_usize..40, 1..600),
            batch_size in 1_usize..17,
            seed: u64,
        ) {
            let order = length_grouped(&lengths, batch_size, seed, 0);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..lengths.len()).collect::<Vec<_>>());
            prop_assert_eq!(Some(&lengths[order[0]]), lengths.iter().max());
            for mega in order.chunks(mega_batch(lengths.len(), batch_size)) {
                // The first place of two mega-batches was swapped, so order holds from the second on.
                prop_assert!(mega[1..].is_sorted_by(|&a, &b| lengths[a] >= lengths[b]));
            }
        }

        #[test]
        fn a_shuffle_is_a_permutation(rows in 0_usize..500, seed: u64, epoch in 0_u64..5) {
            let mut order = shuffled(rows, seed, epoch);
            order.sort_unstable();
            prop_assert_eq!(order, (0..rows).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_mega_batch_is_as_large_as_in_transformers() {
        assert_eq!(mega_batch(10_000, 16), 16 * 50);
        assert_eq!(mega_batch(1_000, 32), 32 * 7);
        assert_eq!(mega_batch(10, 32), 32);
    }

    #[test]
    fn a_changed_seed_or_epoch_changes_the_order() {
        let lengths: Vec<usize> = (0..200).map(|row| row % 7 + 1).collect();
        let plain = |seed, epoch| shuffled(200, seed, epoch);
        let grouped = |seed, epoch| length_grouped(&lengths, 8, seed, epoch);
        let orders: [&dyn Fn(u64, u64) -> Vec<usize>; 2] = [&plain, &grouped];
        for order in orders {
            assert_eq!(order(1, 1), order(1, 1));
            assert_ne!(order(1, 1), order(2, 1));
            assert_ne!(order(1, 1), order(1, 2));
        }
    }

    #[test]
    fn every_row_is_in_exactly_one_batch_and_the_last_partial_batch_is_kept() {
        let rows = Listed((0..10).map(|row| (vec![1; row % 3 + 1], Some(0))).collect());
        for group_by_length in [false, true] {
            let settings = BatchSettings {
                size: 4,
                group_by_length,
                ..BatchSettings::default()
            };
            let batches = epoch(&rows, &settings, 13, 1);
            assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
            let mut all: Vec<usize> = batches.concat();
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn rows_follow_each_other_without_padding_or_are_padded_to_few_lengths() {
        let rows = Listed(vec![(vec![5, 6, 7], None), (vec![8], None)]);
        let laid = |layout, max_length| Laid::out(&rows, &[1, 0], layout, 9, max_length);
        assert_eq!(laid(Layout::Packed, 64).ids, [8, 5, 6, 7]);
        let padded = laid(Layout::Padded { to: None }, 64);
        assert_eq!(padded.spans.stride(), Some(ROUND));
        assert_eq!(padded.ids[..3], [8, 9, 9]);
        assert_eq!(padded.ids[ROUND..ROUND + 4], [5, 6, 7, 9]);
        let narrow = laid(Layout::Padded { to: None }, 4);
        assert_eq!(
            narrow.spans.stride(),
            Some(4),
            "no longer than a row may be"
        );
        let fixed = laid(Layout::Padded { to: Some(5) }, 64);
        assert_eq!(fixed.ids, [8, 9, 9, 9, 9, 5, 6, 7, 9, 9]);
    }

    #[test]
    fn a_row_without_a_token_gets_one_of_padding() {
        let rows = Listed(vec![(vec![], None), (vec![8], None)]);
        for chosen in [[0, 1], [1, 0]] {
            let laid = Laid::out(&rows, &chosen, Layout::Packed, 9, 64);
            assert_eq!(laid.spans.texts(), [0..1, 1..2]);
            assert_eq!(laid.ids, if chosen[0] == 0 { [9, 8] } else { [8, 9] });
        }
    }

    #[test]
    fn as_many_rows_fit_as_have_the_tokens_with_their_padding() {
        assert_eq!(Layout::Packed.fitting(1000, 30), 33);
        assert_eq!(Layout::Packed.fitting(usize::MAX, 64), CACHED / 64);
        assert_eq!(Layout::Packed.fitting(10, 30), 1);
        let padded = Layout::Padded { to: None };
        assert_eq!(padded.fitting(1000, 3), 32, "62 rows of 16, rounded down");
        assert_eq!(padded.fitting(10, 30), 1);
    }

    #[test]
    fn a_cpu_packs() {
        let layout = Layout::on(&Device::flex().autodiff(), Padding::MaxLength, 64);
        assert_eq!(layout, Layout::Packed);
    }

    #[test]
    fn batches_prepared_ahead_are_those_of_epoch_after_epoch() {
        let rows = Listed((0..10).map(|row| (vec![1; row % 3 + 1], Some(0))).collect());
        let settings = BatchSettings {
            size: 4,
            ..BatchSettings::default()
        };
        let lay_out = |chosen: &[usize]| Laid::out(&rows, chosen, Layout::Packed, 0, 8);
        std::thread::scope(|scope| {
            let batches = ahead(scope, &rows, &settings, 13, lay_out).unwrap();
            for number in 1..=3 {
                let wanted = epoch(&rows, &settings, 13, number);
                for (index, chosen) in wanted.iter().enumerate() {
                    let found = batches.recv().unwrap();
                    assert_eq!((found.epoch, &found.rows), (number, chosen));
                    assert_eq!(found.laid, lay_out(chosen));
                    assert_eq!(found.ends_epoch, index + 1 == wanted.len());
                }
            }
        });
    }
}
