//! Scaled dot-product attention of each text and head by itself, forward and backward.
//!
//! Scores are formed for a block of queries at a time and never stored: the backward pass forms them again from queries,
//! keys and the logarithm of each row's sum (Dao et al., 2022, <https://arxiv.org/abs/2205.14135>). Tokens of other texts,
//! and padding, are never looked at.
//!
//! Deliberately absent: causal masks and biases by position.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::memory::uninitialized;
use super::random::Dropout;
use super::simd::{LANES, dot, exp, has_wide_vectors, largest, sum, vectorized};
use super::small::{Rows, Scattered, multiply};

/// Queries whose scores are formed together.
const BLOCK: usize = 64;

/// How the rows of `[rows, heads * size]` are cut into texts and heads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    /// The rows of each text; no two overlap.
    pub(crate) texts: &'a [Range<usize>],
    pub(crate) rows: usize,
    pub(crate) heads: usize,
    pub(crate) size: usize,
}

impl Shape<'_> {
    fn width(&self) -> usize {
        self.heads * self.size
    }

    fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    /// Each text with each head, as (rows, head).
    fn parts(&self) -> impl IndexedParallelIterator<Item = (Range<usize>, usize)> {
        let Shape { texts, heads, .. } = *self;
        (0..texts.len() * heads)
            .into_par_iter()
            .map(move |part| (texts[part / heads].clone(), part % heads))
    }

    /// Zeros for the rows that belong to no text, and room for the others.
    fn result(&self) -> Vec<f32> {
        let covered: usize = self.texts.iter().map(ExactSizeIterator::len).sum();
        if covered == self.rows {
            // SAFETY: every row belongs to a text, and every head of a text is written.
            unsafe { uninitialized(self.rows * self.width()) }
        } else {
            vec![0.0; self.rows * self.width()]
        }
    }
}

/// A slice in which several threads write to parts that do not overlap.
#[derive(Clone, Copy)]
struct Shared<'a> {
    start: *mut f32,
    length: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: what is written through it is kept apart by the promise of `part`.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    fn new(slice: &'a mut [f32]) -> Self {
        Shared {
            start: slice.as_mut_ptr(),
            length: slice.len(),
            slice: PhantomData,
        }
    }

    /// # Safety
    /// No other thread may use an overlapping part at the same time.
    #[expect(
        clippy::mut_from_ref,
        reason = "parts that do not overlap are kept apart by the caller"
    )]
    #[inline(always)]
    unsafe fn part(&self, from: usize, length: usize) -> &mut [f32] {
        assert!(from + length <= self.length);
        // SAFETY: within the slice, and apart from others by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), length) }
    }
}

/// Buffers that a thread keeps from one text and head to the next.
#[derive(Default)]
struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    keys_across: Vec<f32>,
    values_across: Vec<f32>,
    queries: Vec<f32>,
    gradients: Vec<f32>,
    scores: Vec<f32>,
    changes: Vec<f32>,
    result: Vec<f32>,
    by_keys: Vec<f32>,
    by_values: Vec<f32>,
}

/// `length` numbers of `buffer`, whatever they are.
fn room(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

/// One head of one text in `[rows, width]`.
#[derive(Clone, Copy)]
struct Head {
    start: usize,
    length: usize,
    width: usize,
    offset: usize,
    size: usize,
    /// `size`, rounded up to whole vectors.
    padded: usize,
}

impl Head {
    fn new(shape: &Shape, rows: &Range<usize>, head: usize) -> Head {
        Head {
            start: rows.start,
            length: rows.len(),
            width: shape.width(),
            offset: head * shape.size,
            size: shape.size,
            padded: shape.size.next_multiple_of(LANES),
        }
    }

    #[inline(always)]
    fn at(&self, row: usize) -> usize {
        (self.start + row) * self.width + self.offset
    }

    /// Read in place.
    #[inline(always)]
    fn scattered<'a>(&self, from: &'a [f32], first: usize) -> Scattered<'a> {
        Scattered {
            values: &from[self.at(first)..],
            by_row: self.width,
            by_column: 1,
        }
    }

    /// Copied to `[length, padded]`, with zeros beyond `size`.
    #[inline(always)]
    fn packed<'a>(&self, from: &[f32], to: &'a mut Vec<f32>) -> Rows<'a> {
        let to = room(to, self.length * self.padded);
        for (row, to) in to.chunks_exact_mut(self.padded).enumerate() {
            let at = self.at(row);
            to[..self.size].copy_from_slice(&from[at..at + self.size]);
            to[self.size..].fill(0.0);
        }
        Rows {
            values: to,
            width: self.padded,
        }
    }

    /// Copied to `[size, long]`, with zeros beyond `length`.
    #[inline(always)]
    fn across<'a>(&self, from: &[f32], long: usize, to: &'a mut Vec<f32>) -> Rows<'a> {
        let to = room(to, self.size * long);
        // Sixteen rows at a time, so that whole vectors are written.
        for first in (0..self.length).step_by(LANES) {
            let count = LANES.min(self.length - first);
            let rows: [&[f32]; LANES] = std::array::from_fn(|i| {
                let at = self.at(first + i.min(count - 1));
                &from[at..at + self.size]
            });
            for of in 0..self.size {
                let column: [f32; LANES] =
                    std::array::from_fn(|i| if i < count { rows[i][of] } else { 0.0 });
                to[of * long + first..][..LANES].copy_from_slice(&column);
            }
        }
        Rows {
            values: to,
            width: long,
        }
    }

    /// Writes `[rows, padded]` back to rows from `first` on, each times its factor.
    ///
    /// # Safety
    /// No other thread may use this head of this text in `to`.
    #[inline(always)]
    unsafe fn unpack(&self, from: &[f32], first: usize, to: Shared, factor: impl Fn(usize) -> f32) {
        for (row, from) in from.chunks_exact(self.padded).enumerate() {
            // SAFETY: the caller's promise.
            let to = unsafe { to.part(self.at(first + row), self.size) };
            let factor = factor(row);
            for (y, x) in to.iter_mut().zip(from) {
                *y = x * factor;
            }
        }
    }
}

/// What attention gives.
pub(crate) struct Attended {
    /// `[rows, heads * size]`; 0 in rows that belong to no text.
    pub(crate) output: Vec<f32>,
    /// The logarithm of the sum of each row's exponentials, `[rows, heads]`.
    pub(crate) log_sums: Vec<f32>,
}

/// dropout(softmax(q kᵀ / √size)) v for each text and head; all three inputs are `[rows, heads * size]`.
///
/// The mask's row of a query is its row times heads plus the head, the column is the key's place in its text.
pub(crate) fn forward(inputs: [&[f32]; 3], shape: Shape, dropout: Dropout) -> Attended {
    forward_in_tiles(has_wide_vectors(), inputs, shape, dropout)
}

/// Either size of tiles gives the same bits.
fn forward_in_tiles(wide: bool, inputs: [&[f32]; 3], shape: Shape, dropout: Dropout) -> Attended {
    let mut output = shape.result();
    let mut log_sums = vec![0.0; shape.rows * shape.heads];
    {
        let results = [Shared::new(&mut output), Shared::new(&mut log_sums)];
        shape
            .parts()
            .for_each_init(Scratch::default, |scratch, (rows, head)| {
                vectorized(
                    #[inline(always)]
                    || {
                        let at = (shape, head, Head::new(&shape, &rows, head));
                        if wide {
                            forward_head::<true>(inputs, at, dropout, scratch, results);
                        } else {
                            forward_head::<false>(inputs, at, dropout, scratch, results);
                        }
                    },
                );
            });
    }
    Attended { output, log_sums }
}

#[inline(always)]
fn forward_head<const WIDE: bool>(
    [q, k, v]: [&[f32]; 3],
    (shape, head, place): (Shape, usize, Head),
    dropout: Dropout,
    scratch: &mut Scratch,
    [output, log_sums]: [Shared; 2],
) {
    let Head {
        length,
        size,
        padded,
        ..
    } = place;
    let long = length.next_multiple_of(LANES);
    let keys = place.across(k, long, &mut scratch.keys_across);
    let values = place.packed(v, &mut scratch.values);
    let scale = shape.scale();
    for first in (0..length).step_by(BLOCK) {
        let block = BLOCK.min(length - first);
        let scores = room(&mut scratch.scores, block * long);
        multiply::<WIDE, false>(
            place.scattered(q, first),
            keys,
            scores,
            long,
            [block, size, long],
        );
        let mut inverses = [0.0; BLOCK];
        for (row, scores) in scores.chunks_exact_mut(long).enumerate() {
            let scores = &mut scores[..length];
            let top = largest(scores) * scale;
            for score in scores.iter_mut() {
                *score = exp(score.mul_add(scale, -top));
            }
            let total = sum(scores);
            let of = (place.start + first + row) * shape.heads + head;
            // SAFETY: this row and head belong to this thread.
            unsafe { log_sums.part(of, 1)[0] = top + total.ln() };
            inverses[row] = 1.0 / total;
            if !dropout.is_none() {
                let mask = dropout.row(of);
                for (column, score) in scores.iter_mut().enumerate() {
                    *score *= mask.factor(column);
                }
            }
        }
        let chances = Scattered {
            values: scores,
            by_row: long,
            by_column: 1,
        };
        let result = room(&mut scratch.result, block * padded);
        multiply::<WIDE, false>(chances, values, result, padded, [block, length, padded]);
        // SAFETY: this text and head belong to this thread.
        unsafe { place.unpack(result, first, output, |row| inverses[row]) };
    }
}

/// The gradients by queries, keys and values, from that by the output; all are `[rows, heads * size]`.
pub(crate) fn back(
    inputs: [&[f32]; 3],
    attended: (&[f32], &[f32]),
    gradient: &[f32],
    shape: Shape,
    dropout: Dropout,
) -> [Vec<f32>; 3] {
    back_in_tiles(
        has_wide_vectors(),
        inputs,
        attended,
        gradient,
        shape,
        dropout,
    )
}

/// As [`forward_in_tiles`].
fn back_in_tiles(
    wide: bool,
    inputs: [&[f32]; 3],
    attended: (&[f32], &[f32]),
    gradient: &[f32],
    shape: Shape,
    dropout: Dropout,
) -> [Vec<f32>; 3] {
    let mut results = [(); 3].map(|()| shape.result());
    {
        let results = results.each_mut().map(|result| Shared::new(result));
        shape
            .parts()
            .for_each_init(Scratch::default, |scratch, (rows, head)| {
                vectorized(
                    #[inline(always)]
                    || {
                        let place = Head::new(&shape, &rows, head);
                        let at = (shape, head, place);
                        if wide {
                            back_head::<true>(
                                inputs, attended, gradient, at, dropout, scratch, results,
                            );
                        } else {
                            back_head::<false>(
                                inputs, attended, gradient, at, dropout, scratch, results,
                            );
                        }
                    },
                );
            });
    }
    results
}

#[inline(always)]
fn back_head<const WIDE: bool>(
    [q, k, v]: [&[f32]; 3],
    (output, log_sums): (&[f32], &[f32]),
    gradient: &[f32],
    (shape, head, place): (Shape, usize, Head),
    dropout: Dropout,
    scratch: &mut Scratch,
    [by_q, by_k, by_v]: [Shared; 3],
) {
    let Head {
        length,
        size,
        padded,
        ..
    } = place;
    let long = length.next_multiple_of(LANES);
    let keys_across = place.across(k, long, &mut scratch.keys_across);
    let values_across = place.across(v, long, &mut scratch.values_across);
    let keys = place.packed(k, &mut scratch.keys);
    let queries = place.packed(q, &mut scratch.queries);
    let gradients = place.packed(gradient, &mut scratch.gradients);
    let by_keys = room(&mut scratch.by_keys, length * padded);
    let by_values = room(&mut scratch.by_values, length * padded);
    by_keys.fill(0.0);
    by_values.fill(0.0);
    let scale = shape.scale();
    for first in (0..length).step_by(BLOCK) {
        let block = BLOCK.min(length - first);
        // Scores become what the values were weighted with; `changes`, the gradients by the scores.
        let scores = room(&mut scratch.scores, block * long);
        multiply::<WIDE, false>(
            place.scattered(q, first),
            keys_across,
            scores,
            long,
            [block, size, long],
        );
        let changes = room(&mut scratch.changes, block * long);
        multiply::<WIDE, false>(
            place.scattered(gradient, first),
            values_across,
            changes,
            long,
            [block, size, long],
        );
        let pairs = scores
            .chunks_exact_mut(long)
            .zip(changes.chunks_exact_mut(long));
        for (row, (scores, changes)) in pairs.enumerate() {
            let at = place.at(first + row);
            let flow = dot(&gradient[at..at + size], &output[at..at + size]);
            let of = (place.start + first + row) * shape.heads + head;
            let log_sum = log_sums[of];
            let mask = dropout.row(of);
            let pairs = scores[..length].iter_mut().zip(&mut changes[..length]);
            if dropout.is_none() {
                for (score, change) in pairs {
                    let chance = exp(score.mul_add(scale, -log_sum));
                    *change = (*change - flow) * chance * scale;
                    *score = chance;
                }
            } else {
                for (column, (score, change)) in pairs.enumerate() {
                    let chance = exp(score.mul_add(scale, -log_sum));
                    let factor = mask.factor(column);
                    *change = change.mul_add(factor, -flow) * chance * scale;
                    *score = chance * factor;
                }
            }
        }
        let across = |values| Scattered {
            values,
            by_row: 1,
            by_column: long,
        };
        let gradient_rows = gradients.from(first);
        let query_rows = queries.from(first);
        multiply::<WIDE, true>(
            across(scores),
            gradient_rows,
            by_values,
            padded,
            [length, block, padded],
        );
        multiply::<WIDE, true>(
            across(changes),
            query_rows,
            by_keys,
            padded,
            [length, block, padded],
        );
        let changes = Scattered {
            values: changes,
            by_row: long,
            by_column: 1,
        };
        let result = room(&mut scratch.result, block * padded);
        multiply::<WIDE, false>(changes, keys, result, padded, [block, length, padded]);
        // SAFETY: this text and head belong to this thread.
        unsafe { place.unpack(result, first, by_q, |_| 1.0) };
    }
    // SAFETY: as above.
    unsafe {
        place.unpack(by_keys, 0, by_k, |_| 1.0);
        place.unpack(by_values, 0, by_v, |_| 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(length: usize, salt: usize) -> Vec<f32> {
        (0..length)
            .map(|i| ((i * 31 + salt * 17) % 97) as f32 / 24.0 - 2.0)
            .collect()
    }

    #[test]
    fn wide_and_narrow_tiles_give_the_same_bits() {
        let dropouts = [Dropout::NONE, Dropout::new(0.2, 1, 2, 3)];
        let lengths = [1, 2, 7, 16, 33, 64, 65, 130];
        for ((length, size), dropout) in lengths
            .into_iter()
            .zip([1, 4, 5, 16, 32, 40, 64, 33])
            .flat_map(|shape| dropouts.map(|dropout| (shape, dropout)))
        {
            // A text before and padding after, so that nothing begins or ends with memory.
            let texts = [0..3, 3..3 + length];
            let shape = Shape {
                texts: &texts,
                rows: length + 5,
                heads: 2,
                size,
            };
            let all = shape.rows * shape.width();
            let [q, k, v, gradient] = [1, 2, 3, 4].map(|salt| numbers(all, salt));
            let inputs = [&q[..], &k, &v];
            let [wide, narrow] = [true, false].map(|wide| {
                let done = forward_in_tiles(wide, inputs, shape, dropout);
                let attended = (&done.output[..], &done.log_sums[..]);
                let back = back_in_tiles(wide, inputs, attended, &gradient, shape, dropout);
                (done.output, done.log_sums, back)
            });
            assert!(wide == narrow, "{length} × {size}, {dropout:?}");
        }
    }
}
