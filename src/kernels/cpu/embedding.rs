//! The sum of rows of three tables (words, positions, segments), normalised and dropped out.

use rayon::prelude::*;

use super::layer_norm::{Norm, normalize, row_back};
use super::memory::uninitialized;
use super::random::Dropout;
use super::simd::vectorized;
use super::sums::{self, ROWS};

/// A table of rows as wide as the hidden states, and which of its rows each token takes.
#[derive(Clone, Copy)]
pub(crate) struct Lookup<'a> {
    pub(crate) table: &'a [f32],
    pub(crate) indices: &'a [u32],
}

/// What the backward pass needs of the forward pass; see `layer_norm::Normalized`.
pub(crate) struct Embedded {
    pub(crate) output: Vec<f32>,
    pub(crate) normal: Vec<f32>,
    pub(crate) inverse_deviation: Vec<f32>,
}

/// dropout(LayerNorm(sum of the rows looked up)), `[tokens, columns]`.
pub(crate) fn forward(lookups: [Lookup; 3], norm: Norm, dropout: Dropout) -> Embedded {
    let columns = norm.gamma.len();
    let tokens = lookups[0].indices.len();
    assert_eq!(norm.beta.len(), columns, "equal sizes");
    assert!(
        lookups.iter().all(|lookup| lookup.indices.len() == tokens),
        "an entry a token"
    );
    // SAFETY: the loop below writes every row of all three.
    let (mut output, mut normal, mut inverse_deviation) = unsafe {
        let rows = || uninitialized(tokens * columns);
        (rows(), rows(), uninitialized(tokens))
    };
    let block = (ROWS * columns).max(1);
    (
        normal.par_chunks_mut(block),
        output.par_chunks_mut(block),
        inverse_deviation.par_chunks_mut(ROWS),
    )
        .into_par_iter()
        .enumerate()
        .for_each(|(number, (normal, output, inverse))| {
            vectorized(
                #[inline(always)]
                || {
                    let rows = normal
                        .chunks_exact_mut(columns)
                        .zip(output.chunks_exact_mut(columns))
                        .zip(inverse);
                    for (row, ((normal, output), inverse)) in rows.enumerate() {
                        let token = number * ROWS + row;
                        let [words, positions, types] = lookups.map(|lookup| {
                            let at = lookup.indices[token] as usize * columns;
                            &lookup.table[at..at + columns]
                        });
                        for (((x, word), position), kind) in
                            normal.iter_mut().zip(words).zip(positions).zip(types)
                        {
                            *x = word + kind + position;
                        }
                        *inverse = normalize(normal, output, norm);
                        if !dropout.is_none() {
                            let mask = dropout.row(token);
                            for (column, y) in output.iter_mut().enumerate() {
                                *y *= mask.factor(column);
                            }
                        }
                    }
                },
            );
        });
    Embedded {
        output,
        normal,
        inverse_deviation,
    }
}

/// The gradients by the looked-up sum `[tokens, columns]`, gamma and beta. The memory of `gradient` is used for the first.
pub(crate) fn back(
    mut gradient: Vec<f32>,
    normal: &[f32],
    inverse_deviation: &[f32],
    gamma: &[f32],
    dropout: Dropout,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let columns = gamma.len();
    let block = (ROWS * columns).max(1);
    assert_eq!(
        gradient.len(),
        inverse_deviation.len() * columns,
        "whole rows"
    );
    assert_eq!(normal.len(), gradient.len(), "equal sizes");
    let parts: Vec<Vec<f32>> = (
        gradient.par_chunks_mut(block),
        normal.par_chunks(block),
        inverse_deviation.par_chunks(ROWS),
    )
        .into_par_iter()
        .enumerate()
        .map(|(number, (gradient, normal, inverse))| {
            vectorized(
                #[inline(always)]
                || {
                    let mut sums = vec![0.0f32; 2 * columns];
                    let (by_gamma, by_beta) = sums.split_at_mut(columns);
                    let rows = gradient
                        .chunks_exact_mut(columns)
                        .zip(normal.chunks_exact(columns))
                        .zip(inverse);
                    for (row, ((gradient, normal), &inverse)) in rows.enumerate() {
                        if !dropout.is_none() {
                            let mask = dropout.row(number * ROWS + row);
                            for (column, g) in gradient.iter_mut().enumerate() {
                                *g *= mask.factor(column);
                            }
                        }
                        row_back(gradient, normal, inverse, gamma, by_gamma, by_beta);
                    }
                    sums
                },
            )
        })
        .collect();
    let mut by_gamma = sums::add_up(parts, 2 * columns);
    let by_beta = by_gamma.split_off(columns);
    (gradient, by_gamma, by_beta)
}

/// Adds each token's row of `gradient` to the row of a table of `rows` that it took: `[rows, columns]`.
pub(crate) fn scatter(gradient: &[f32], indices: &[u32], rows: usize, columns: usize) -> Vec<f32> {
    let mut table = vec![0.0f32; rows * columns];
    for (row, &index) in gradient.chunks_exact(columns.max(1)).zip(indices) {
        let at = index as usize * columns;
        vectorized(
            #[inline(always)]
            || {
                for (sum, x) in table[at..at + columns].iter_mut().zip(row) {
                    *sum += x;
                }
            },
        );
    }
    table
}
