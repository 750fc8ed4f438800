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

mod settings;

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

pub use settings::{BatchSettings, MicroSize, Padding};

use super::LearnError;
use super::activations::{Given, Known};
use crate::device;
use crate::kernels::Spans;
use crate::model::{self, Batch};
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

    /// What is known of the row before the model has read it.
    fn known(&self, _row: usize) -> Option<Known<'_>> {
        None
    }

    /// The row with masks in the places of some of its tokens, as it is in an epoch (counted from 1; 0 outside of a training),
    /// for rows of which such tokens are to be predicted.
    fn masked(&self, _row: usize, _epoch: u64) -> Option<MaskedTokens> {
        None
    }
}

/// A row with masks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskedTokens {
    /// All of the row's tokens, with what stands in the places of those that are to be predicted.
    pub ids: Vec<u32>,
    /// These places, ascending, counted from 0.
    pub places: Vec<usize>,
    /// The tokens that stood there.
    pub wanted: Vec<u32>,
}

/// Some of the rows of a split that follow each other, each of which is an example.
pub struct Window<'a> {
    rows: &'a dyn Rows,
    place: Range<usize>,
}

impl<'a> Window<'a> {
    /// The rows at this place, or what of it there is.
    pub fn new(rows: &'a dyn Rows, place: Range<usize>) -> Self {
        let end = place.end.min(rows.rows());
        let place = place.start.min(end)..end;
        Window { rows, place }
    }

    fn row(&self, row: usize) -> usize {
        self.place.start + row
    }
}

impl Rows for Window<'_> {
    fn rows(&self) -> usize {
        self.place.len()
    }

    fn ids(&self, row: usize) -> &[u32] {
        self.rows.ids(self.row(row))
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        self.rows.type_ids(self.row(row))
    }

    fn label(&self, row: usize) -> Option<u32> {
        self.rows.label(self.row(row))
    }

    fn id(&self, row: usize) -> u64 {
        self.rows.id(self.row(row))
    }

    fn labels(&self, row: usize) -> Option<&[u32]> {
        self.rows.labels(self.row(row))
    }

    fn targets(&self, row: usize) -> Option<&[f64]> {
        self.rows.targets(self.row(row))
    }

    fn words(&self, row: usize) -> Option<&[u32]> {
        self.rows.words(self.row(row))
    }

    fn tags(&self, row: usize) -> Option<&[u32]> {
        self.rows.tags(self.row(row))
    }

    fn characters(&self, row: usize) -> Option<(&[u32], &[u32])> {
        self.rows.characters(self.row(row))
    }

    fn answer(&self, row: usize) -> Option<(u32, u32)> {
        self.rows.answer(self.row(row))
    }

    fn length(&self, row: usize) -> usize {
        self.rows.length(self.row(row))
    }

    fn known(&self, row: usize) -> Option<Known<'_>> {
        self.rows.known(self.row(row))
    }

    fn masked(&self, row: usize, epoch: u64) -> Option<MaskedTokens> {
        self.rows.masked(self.row(row), epoch)
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

/// The order of one epoch: four bytes for each row.
pub(super) struct Epoch {
    order: Vec<u32>,
    size: usize,
}

impl Epoch {
    /// The batches, as row numbers.
    pub(super) fn batches(&self) -> impl ExactSizeIterator<Item = Vec<usize>> + '_ {
        self.order.chunks(self.size).map(numbers)
    }
}

/// The order in which an epoch shows rows: of 2^32 or more the first ones ([`all`]).
pub(super) fn epoch(rows: &dyn Rows, settings: &BatchSettings, seed: u64, epoch: u64) -> Epoch {
    let size = settings.size.max(1) as usize;
    let order = if settings.group_by_length {
        length_grouped(&|row| rows.length(row), rows.rows(), size, seed, epoch)
    } else {
        shuffled(rows.rows(), seed, epoch)
    };
    Epoch { order, size }
}

fn numbers(rows: &[u32]) -> Vec<usize> {
    rows.iter().map(|&row| row as usize).collect()
}

/// The first 2^32 - 1 rows are numbered; later ones are neither trained on nor scored.
fn all(rows: usize) -> Vec<u32> {
    (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect()
}

/// The numbers below `rows` in an order that `seed` and `epoch` decide.
pub fn shuffled(rows: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut order = all(rows);
    order.shuffle(&mut generator(seed, epoch));
    order
}

/// The numbers below `rows`, so ordered that `batch_size` consecutive ones belong to rows of similar length.
///
/// The longest row of all comes first: should memory not suffice, that shows at once.
///
/// Source: `get_length_grouped_indices` in transformers' `trainer_pt_utils.py`, with another random generator.
pub fn length_grouped(
    length: &dyn Fn(usize) -> usize,
    rows: usize,
    batch_size: usize,
    seed: u64,
    epoch: u64,
) -> Vec<u32> {
    let mut order = shuffled(rows, seed, epoch);
    let mega = mega_batch(rows, batch_size);
    let length = |row: u32| length(row as usize);
    for batch in order.chunks_mut(mega) {
        batch.sort_by_key(|&row| Reverse(length(row)));
    }
    let firsts = (0..order.len()).step_by(mega);
    // The first of equals, as argmax has it; `max_by_key` would take the last.
    if let Some(longest) = firsts.rev().max_by_key(|&first| length(order[first])) {
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

/// All rows (of 2^32 or more the first ones, see [`all`]) in batches of at most `tokens` tokens with their padding (on a CPU at most about a thousand), and at least one row:
/// the longest first, so that little is padded and a lack of memory shows at once. With them how they are to be laid out, and
/// the length of the longest row.
pub(super) fn by_length(
    rows: &dyn Rows,
    tokens: usize,
    device: &Device,
) -> (Vec<Vec<usize>>, Layout, usize) {
    let mut order = all(rows.rows());
    order.sort_by_key(|&row| Reverse(rows.length(row as usize)));
    let longest = order.first().map_or(0, |&row| rows.length(row as usize));
    let layout = Layout::on(device, Padding::Longest, longest);
    let mut batches = Vec::new();
    let mut rest = order.as_slice();
    while let Some(&first) = rest.first() {
        let fitting = layout.fitting(tokens, rows.length(first as usize));
        let (chosen, later) = rest.split_at(fitting.min(rest.len()));
        rest = later;
        batches.push(numbers(chosen));
    }
    (batches, layout, longest)
}

/// The token ids of some rows, on the host. All three are as long as the spans have rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Laid {
    pub ids: Vec<i32>,
    pub type_ids: Vec<i32>,
    pub spans: Spans,
    /// What is known of them already.
    given: Given,
    /// The tokens that are to be predicted, as rows of the spans, and what each was.
    asked: Vec<i32>,
    pub wanted: Vec<i32>,
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
        Laid::out_in(0, rows, chosen, layout, pad_id, max_length)
    }

    /// The same as they are in an epoch.
    pub(super) fn out_in(
        epoch: u64,
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
        let (mut asked, mut wanted) = (Vec::new(), Vec::new());
        for (&row, text) in chosen.iter().zip(spans.texts()) {
            let masked = rows.masked(row, epoch);
            let own = masked.as_ref().map_or(rows.ids(row), |masked| &masked.ids);
            for (to, &id) in ids[text.clone()].iter_mut().zip(own) {
                *to = id as i32;
            }
            if let Some(masked) = masked {
                let places = masked.places.iter();
                asked.extend(places.map(|place| (text.start + place) as i32));
                wanted.extend(masked.wanted.iter().map(|&id| id as i32));
            }
            for (to, &id) in type_ids[text.clone()].iter_mut().zip(rows.type_ids(row)) {
                *to = i32::from(id);
            }
        }
        let given = Given::of(rows, chosen, &spans);
        Laid {
            ids,
            type_ids,
            spans,
            given,
            asked,
            wanted,
        }
    }

    /// As tensors.
    pub fn on(self, device: &Device) -> Batch {
        let matrix = |values: Vec<f32>, rows: usize| {
            let width = values.len() / rows.max(1);
            Tensor::from_data(TensorData::new(values, [rows, width]), device)
        };
        let given = match self.given {
            Given::Nothing => model::Given::Nothing,
            Given::Hidden { layers, values } => model::Given::Hidden {
                layers,
                hidden: matrix(values, self.spans.rows()),
            },
            Given::Pooled(values) => model::Given::Pooled(matrix(values, self.spans.texts().len())),
        };
        let batch = Batch::new(self.ids, self.type_ids, self.spans, device);
        batch.with(given).asking(self.asked)
    }
}

/// Rows that go through the model at once, ready on the host.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// The number of the device that computes it.
    pub(super) device: usize,
    /// Which of the batch's rows.
    pub(super) rows: Range<usize>,
    pub(super) laid: Laid,
    /// Rows of tokens, padding among them, that come before in the batch.
    pub(super) tokens_before: usize,
}

/// How batches are cut and laid out.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub(super) layout: Layout,
    pub(super) pad_id: u32,
    pub(super) max_length: usize,
    /// Among how many devices a batch is shared out.
    pub(super) devices: usize,
}

/// What falls to each of `devices` of so many rows: consecutive rows, the first of them one more where it does not come out
/// even, the last nothing where there are too few.
pub(super) fn shares(rows: usize, devices: usize) -> impl Iterator<Item = Range<usize>> {
    let devices = devices.max(1);
    (0..devices).scan(0, move |first, device| {
        let share = rows / devices + usize::from(device < rows % devices);
        let range = *first..*first + share;
        *first = range.end;
        Some(range)
    })
}

impl Cut {
    /// Each device's share of the rows `chosen`, in parts of `at_once` rows, the last one smaller where it does not come out
    /// even. Every part has the shape that it has within the whole.
    pub(super) fn parts(
        self,
        rows: &dyn Rows,
        epoch: u64,
        chosen: &[usize],
        at_once: usize,
    ) -> Vec<Part> {
        let at_once = at_once.max(1);
        let layout = match self.layout {
            Layout::Padded { to: None } if chosen.len() > at_once || self.devices > 1 => {
                let lengths = chosen.iter().map(|&row| rows.length(row).max(1));
                let to = self.layout.spans(lengths, self.max_length).stride();
                Layout::Padded { to }
            }
            layout => layout,
        };
        let mut tokens_before = 0;
        let mut parts = Vec::new();
        for (device, share) in shares(chosen.len(), self.devices).enumerate() {
            for first in share.clone().step_by(at_once) {
                let of_batch = first..(first + at_once).min(share.end);
                let chosen = &chosen[of_batch.clone()];
                let (pad_id, longest) = (self.pad_id, self.max_length);
                let laid = Laid::out_in(epoch, rows, chosen, layout, pad_id, longest);
                let tokens = laid.spans.rows();
                parts.push(Part {
                    device,
                    rows: of_batch,
                    laid,
                    tokens_before,
                });
                tokens_before += tokens;
            }
        }
        parts
    }
}

/// A training batch, ready on the host.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Counted from 1.
    pub(super) epoch: u64,
    pub(super) rows: Vec<usize>,
    pub(super) parts: Vec<Part>,
    pub(super) ends_epoch: bool,
}

/// The batches of epoch after epoch from the one numbered `from` (counted from 0) on, two of them prepared ahead. The thread
/// ends when the receiver is dropped.
///
/// # Errors
/// [`LearnError::Thread`] when none can be had.
pub(super) fn ahead<'scope, 'rows: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    rows: &'rows dyn Rows,
    settings: &'rows BatchSettings,
    seed: u64,
    from: u64,
    lay_out: impl Fn(u64, &[usize]) -> Vec<Part> + Send + 'scope,
) -> Result<Receiver<Prepared>, LearnError> {
    let (sender, receiver) = sync_channel(2);
    let work = move || {
        let mut passed = 0_u64;
        for epoch in 1.. {
            let order = self::epoch(rows, settings, seed, epoch);
            let batches = order.batches();
            let Some(last) = batches.len().checked_sub(1) else {
                return;
            };
            for (number, rows) in batches.enumerate() {
                passed += 1;
                if passed <= from {
                    continue;
                }
                let parts = lay_out(epoch, &rows);
                let ends_epoch = number == last;
                let prepared = Prepared {
                    epoch,
                    rows,
                    parts,
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
        .map_err(|source| LearnError::Thread { source })?;
    Ok(receiver)
}

#[cfg(test)]
pub(super) mod tests;
