//! Scaled dot-product attention of each text and head by itself, forward and backward.
//!
//! Scores are formed for a block of queries at a time and never stored: the backward pass forms them again from queries,
//! keys and the logarithm of each row's sum (Dao et al., 2022, <https://arxiv.org/abs/2205.14135>). Tokens of other texts,
//! padding, and tokens outside a window are never looked at.
//!
//! Deliberately absent: causal masks, and biases that differ from text to text.

use std::ops::Range;

use rayon::prelude::*;

use super::half::round;
use super::memory::uninitialized;
use super::random::Dropout;
use super::simd::{LANES, dot, exp, has_wide_vectors, largest, sum, vectorized};
use super::small::{Scattered, multiply};

mod parts;

use crate::kernels::Precision;

use parts::{Head, Scratch, Shared, room};

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
    /// How many places a key may be away from its query; `None` for any number.
    pub(crate) window: Option<usize>,
    /// To what scores and weights are rounded, and on the way back the gradients by them. The inputs are rounded already.
    pub(crate) precision: Precision,
}

/// What is added to the scaled scores of each head, by how many places a key lies after its query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bias<'a> {
    /// `[heads, 2 * length - 1]`, from `length - 1` places before to as many after.
    pub(crate) values: &'a [f32],
    /// At least that of the longest text.
    pub(crate) length: usize,
}

impl Bias<'_> {
    fn distances(&self) -> usize {
        (2 * self.length).saturating_sub(1)
    }

    /// Where in a head's row the keys from `key` on have their values for `query`.
    #[inline(always)]
    fn at(&self, query: usize, key: usize) -> usize {
        self.length - 1 + key - query
    }

    /// What `keys` of a head have for `query`.
    #[inline(always)]
    fn of(&self, head: usize, query: usize, keys: &Range<usize>) -> &[f32] {
        let from = head * self.distances() + self.at(query, keys.start);
        &self.values[from..][..keys.len()]
    }
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

    /// The keys of a text of `length` tokens that a query looks at.
    #[inline(always)]
    fn seen(&self, query: usize, length: usize) -> Range<usize> {
        match self.window {
            None => 0..length,
            Some(window) => {
                let end = query.saturating_add(window).saturating_add(1);
                query.saturating_sub(window)..length.min(end)
            }
        }
    }

    /// The keys that any of `block` queries from `first` on looks at, from the start of a vector on.
    #[inline(always)]
    fn seen_by(&self, first: usize, block: usize, length: usize) -> Range<usize> {
        let (from, to) = (
            self.seen(first, length),
            self.seen(first + block - 1, length),
        );
        from.start / LANES * LANES..to.end
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

/// What attention gives.
pub(crate) struct Attended {
    /// `[rows, heads * size]`; 0 in rows that belong to no text.
    pub(crate) output: Vec<f32>,
    /// The logarithm of the sum of each row's exponentials, `[rows, heads]`.
    pub(crate) log_sums: Vec<f32>,
}

/// dropout(softmax(q kᵀ / √size + bias)) v for each text and head; all three inputs are `[rows, heads * size]`.
///
/// The mask's row of a query is its row times heads plus the head, the column is the key's place in its text.
pub(crate) fn forward(
    inputs: [&[f32]; 3],
    bias: Option<Bias>,
    shape: Shape,
    dropout: Dropout,
) -> Attended {
    forward_in_tiles(has_wide_vectors(), inputs, bias, shape, dropout)
}

/// Either size of tiles gives the same bits.
fn forward_in_tiles(
    wide: bool,
    inputs: [&[f32]; 3],
    bias: Option<Bias>,
    shape: Shape,
    dropout: Dropout,
) -> Attended {
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
                            forward_head::<true>(inputs, bias, at, dropout, scratch, results);
                        } else {
                            forward_head::<false>(inputs, bias, at, dropout, scratch, results);
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
    bias: Option<Bias>,
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
    for first in (0..length).step_by(BLOCK) {
        let block = BLOCK.min(length - first);
        let near = shape.seen_by(first, block, length);
        let across = near.len().next_multiple_of(LANES);
        let scores = room(&mut scratch.scores, block * across);
        multiply::<WIDE, false>(
            place.scattered(q, first),
            keys.columns_from(near.start),
            scores,
            across,
            [block, size, across],
        );
        round(scores, shape.precision);
        let mut inverses = [0.0; BLOCK];
        for (row, scores) in scores.chunks_exact_mut(across).enumerate() {
            let seen = shape.seen(first + row, length);
            let (before, after) = (seen.start - near.start, seen.end - near.start);
            scores[..before].fill(0.0);
            scores[after..].fill(0.0);
            let scores = &mut scores[before..after];
            let scale = biased(scores, shape.scale(), bias, head, first + row, &seen);
            let top = largest(scores) * scale;
            for score in scores.iter_mut() {
                *score = exp(score.mul_add(scale, -top));
            }
            let total = sum(scores);
            let of = (place.start + first + row) * shape.heads + head;
            // SAFETY: this row and head belong to this thread.
            unsafe { log_sums.part(of, 1)[0] = top + total.ln() };
            inverses[row] = 1.0 / total;
            if shape.precision.is_half() {
                // What is rounded is what the softmax gives.
                let inverse = std::mem::replace(&mut inverses[row], 1.0);
                scores.iter_mut().for_each(|score| *score *= inverse);
            }
            if !dropout.is_none() {
                let mask = dropout.row(of);
                for (column, score) in scores.iter_mut().enumerate() {
                    *score *= mask.factor(seen.start + column);
                }
            }
        }
        round(scores, shape.precision);
        let chances = Scattered {
            values: scores,
            by_row: across,
            by_column: 1,
        };
        let result = room(&mut scratch.result, block * padded);
        multiply::<WIDE, false>(
            chances,
            values.from(near.start),
            result,
            padded,
            [block, near.len(), padded],
        );
        // SAFETY: this text and head belong to this thread.
        unsafe { place.unpack(result, first, output, |row| inverses[row]) };
    }
}

/// Scales the scores of a query and adds the bias, where there is one. Gives what is left to scale them by.
#[inline(always)]
fn biased(
    scores: &mut [f32],
    scale: f32,
    bias: Option<Bias>,
    head: usize,
    query: usize,
    seen: &Range<usize>,
) -> f32 {
    let Some(bias) = bias else { return scale };
    for (score, more) in scores.iter_mut().zip(bias.of(head, query, seen)) {
        *score = score.mul_add(scale, *more);
    }
    1.0
}

/// The gradients by what attention was given, from that by its output.
pub(crate) struct Back {
    /// By queries, keys and values, all `[rows, heads * size]`.
    pub(crate) by_inputs: [Vec<f32>; 3],
    /// By the bias, `[heads, 2 * length - 1]`; empty without one.
    pub(crate) by_bias: Vec<f32>,
}

/// The way back through [`forward`]; `attended` are its output and its logarithms.
pub(crate) fn back(
    inputs: [&[f32]; 3],
    bias: Option<Bias>,
    attended: (&[f32], &[f32]),
    gradient: &[f32],
    shape: Shape,
    dropout: Dropout,
) -> Back {
    back_in_tiles(
        has_wide_vectors(),
        inputs,
        bias,
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
    bias: Option<Bias>,
    attended: (&[f32], &[f32]),
    gradient: &[f32],
    shape: Shape,
    dropout: Dropout,
) -> Back {
    let mut by_inputs = [(); 3].map(|()| shape.result());
    let distances = bias.map_or(0, |bias| bias.distances());
    // Each text adds up its own, so that the order of the sums does not depend on the threads.
    let mut by_distance = vec![0.0; shape.texts.len() * shape.heads * distances];
    {
        let results = by_inputs.each_mut().map(|result| Shared::new(result));
        let by_distance = Shared::new(&mut by_distance);
        shape.parts().enumerate().for_each_init(
            Scratch::default,
            |scratch, (part, (rows, head))| {
                // SAFETY: no other part has this number.
                let by_distance = unsafe { by_distance.part(part * distances, distances) };
                vectorized(
                    #[inline(always)]
                    || {
                        let place = Head::new(&shape, &rows, head);
                        let at = (shape, head, place);
                        let by = (bias, by_distance);
                        if wide {
                            back_head::<true>(
                                inputs, by, attended, gradient, at, dropout, scratch, results,
                            );
                        } else {
                            back_head::<false>(
                                inputs, by, attended, gradient, at, dropout, scratch, results,
                            );
                        }
                    },
                );
            },
        );
    }
    let mut by_bias = vec![0.0; shape.heads * distances];
    for text in by_distance.chunks_exact(by_bias.len().max(1)) {
        for (sum, x) in by_bias.iter_mut().zip(text) {
            *sum += x;
        }
    }
    Back { by_inputs, by_bias }
}

#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "one head's share of everything that a pass over all heads is given"
)]
fn back_head<const WIDE: bool>(
    [q, k, v]: [&[f32]; 3],
    (bias, by_distance): (Option<Bias>, &mut [f32]),
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
        let near = shape.seen_by(first, block, length);
        let across = near.len().next_multiple_of(LANES);
        // Scores become what the values were weighted with; `changes`, the gradients by the scores.
        let scores = room(&mut scratch.scores, block * across);
        multiply::<WIDE, false>(
            place.scattered(q, first),
            keys_across.columns_from(near.start),
            scores,
            across,
            [block, size, across],
        );
        let changes = room(&mut scratch.changes, block * across);
        multiply::<WIDE, false>(
            place.scattered(gradient, first),
            values_across.columns_from(near.start),
            changes,
            across,
            [block, size, across],
        );
        round(scores, shape.precision);
        round(changes, shape.precision);
        let pairs = scores
            .chunks_exact_mut(across)
            .zip(changes.chunks_exact_mut(across));
        for (row, (scores, changes)) in pairs.enumerate() {
            let seen = shape.seen(first + row, length);
            let (before, after) = (seen.start - near.start, seen.end - near.start);
            for values in [&mut *scores, &mut *changes] {
                values[..before].fill(0.0);
                values[after..].fill(0.0);
            }
            let (scores, changes) = (&mut scores[before..after], &mut changes[before..after]);
            let at = place.at(first + row);
            let flow = dot(&gradient[at..at + size], &output[at..at + size]);
            let of = (place.start + first + row) * shape.heads + head;
            let log_sum = log_sums[of];
            let mask = dropout.row(of);
            let left = biased(scores, scale, bias, head, first + row, &seen);
            let pairs = scores.iter_mut().zip(&mut *changes);
            if dropout.is_none() {
                for (score, change) in pairs {
                    let chance = exp(score.mul_add(left, -log_sum));
                    *change = (*change - flow) * chance * left;
                    *score = chance;
                }
            } else {
                for (column, (score, change)) in pairs.enumerate() {
                    let chance = exp(score.mul_add(left, -log_sum));
                    let factor = mask.factor(seen.start + column);
                    *change = change.mul_add(factor, -flow) * chance * left;
                    *score = chance * factor;
                }
            }
            if let Some(bias) = bias {
                let sums = &mut by_distance[bias.at(first + row, seen.start)..];
                for (sum, change) in sums.iter_mut().zip(changes) {
                    *sum += *change;
                    *change *= scale;
                }
            }
        }
        round(scores, shape.precision);
        round(changes, shape.precision);
        let across_rows = |values| Scattered {
            values,
            by_row: 1,
            by_column: across,
        };
        multiply::<WIDE, true>(
            across_rows(scores),
            gradients.from(first),
            &mut by_values[near.start * padded..],
            padded,
            [near.len(), block, padded],
        );
        multiply::<WIDE, true>(
            across_rows(changes),
            queries.from(first),
            &mut by_keys[near.start * padded..],
            padded,
            [near.len(), block, padded],
        );
        let changes = Scattered {
            values: changes,
            by_row: across,
            by_column: 1,
        };
        let result = room(&mut scratch.result, block * padded);
        multiply::<WIDE, false>(
            changes,
            keys.from(near.start),
            result,
            padded,
            [block, near.len(), padded],
        );
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
mod tests;
