//! LayerNorm of a sum, one of whose parts may be dropped out: the end of every block of an encoder.
//!
//! Ba et al., 2016, <https://arxiv.org/abs/1607.06450>; the variance is that of the population, as in PyTorch.

use rayon::prelude::*;

use super::memory::uninitialized;
use super::random::Dropout;
use super::simd::{dot, sum, sum_of_squares, vectorized};
use super::sums::{self, ROWS};

/// What normalising needs besides the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
    pub(crate) epsilon: f32,
}

/// What the backward pass needs of the forward pass.
pub(crate) struct Normalized {
    /// `[rows, columns]`: scaled and shifted.
    pub(crate) output: Vec<f32>,
    /// `[rows, columns]`: mean 0 and variance 1.
    pub(crate) normal: Vec<f32>,
    /// `[rows]`: one over the standard deviation.
    pub(crate) inverse_deviation: Vec<f32>,
}

/// LayerNorm(dropout(`input`) + `residual`), over rows of `norm.gamma.len()`. The memory of `input` is used for the
/// normalised rows.
pub(crate) fn add_norm(
    input: Vec<f32>,
    residual: &[f32],
    norm: Norm,
    dropout: Dropout,
) -> Normalized {
    normalized(input, Some(residual), norm, dropout)
}

/// LayerNorm(`input`), as [`add_norm`].
pub(crate) fn norm(input: Vec<f32>, norm: Norm) -> Normalized {
    normalized(input, None, norm, Dropout::NONE)
}

fn normalized(
    mut input: Vec<f32>,
    residual: Option<&[f32]>,
    norm: Norm,
    dropout: Dropout,
) -> Normalized {
    let columns = norm.gamma.len();
    let rows = input.len() / columns.max(1);
    assert_eq!(input.len(), rows * columns, "whole rows");
    assert_eq!(
        (residual.map_or(input.len(), <[f32]>::len), norm.beta.len()),
        (input.len(), columns),
        "equal sizes"
    );
    // SAFETY: the sizes agree, so that the loop below writes every row of both.
    let (mut output, mut inverse_deviation) =
        unsafe { (uninitialized(input.len()), uninitialized(rows)) };
    let block = (ROWS * columns).max(1);
    (
        input.par_chunks_mut(block),
        output.par_chunks_mut(block),
        inverse_deviation.par_chunks_mut(ROWS),
    )
        .into_par_iter()
        .enumerate()
        .for_each(|(number, (input, output, inverse))| {
            vectorized(
                #[inline(always)]
                || {
                    let rows = input
                        .chunks_exact_mut(columns)
                        .zip(output.chunks_exact_mut(columns))
                        .zip(inverse);
                    for (row, ((input, output), inverse)) in rows.enumerate() {
                        let row = number * ROWS + row;
                        if let Some(residual) = residual {
                            let residual = &residual[row * columns..][..columns];
                            add_dropped(input, residual, row, dropout);
                        }
                        *inverse = normalize(input, output, norm);
                    }
                },
            );
        });
    Normalized {
        output,
        normal: input,
        inverse_deviation,
    }
}

#[inline(always)]
fn add_dropped(input: &mut [f32], residual: &[f32], row: usize, dropout: Dropout) {
    if dropout.is_none() {
        for (x, r) in input.iter_mut().zip(residual) {
            *x += r;
        }
    } else {
        let mask = dropout.row(row);
        for (column, (x, r)) in input.iter_mut().zip(residual).enumerate() {
            *x = x.mul_add(mask.factor(column), *r);
        }
    }
}

/// Normalises `row` in place, writes it scaled and shifted to `output`, and gives the inverse of the deviation.
#[inline(always)]
pub(crate) fn normalize(row: &mut [f32], output: &mut [f32], norm: Norm) -> f32 {
    let width = row.len() as f32;
    let mean = sum(row) / width;
    let inverse = 1.0 / (sum_of_squares(row, mean) / width + norm.epsilon).sqrt();
    for (((x, y), gamma), beta) in row.iter_mut().zip(output).zip(norm.gamma).zip(norm.beta) {
        *x = (*x - mean) * inverse;
        *y = x.mul_add(*gamma, *beta);
    }
    inverse
}

/// The gradients by what was normalised.
pub(crate) struct Back {
    /// By the sum, and so by the residual: `[rows, columns]`.
    pub(crate) by_sum: Vec<f32>,
    /// By the part that was dropped out: `[rows, columns]`; `None` when nothing was, and it is `by_sum`.
    pub(crate) by_input: Option<Vec<f32>>,
    pub(crate) by_gamma: Vec<f32>,
    pub(crate) by_beta: Vec<f32>,
}

/// Goes back through [`add_norm`]. The memory of `gradient` (by the output) is used for the result.
pub(crate) fn back(
    mut gradient: Vec<f32>,
    normal: &[f32],
    inverse_deviation: &[f32],
    gamma: &[f32],
    dropout: Dropout,
) -> Back {
    let columns = gamma.len();
    let block = (ROWS * columns).max(1);
    assert_eq!(
        gradient.len(),
        inverse_deviation.len() * columns,
        "whole rows"
    );
    assert_eq!(normal.len(), gradient.len(), "equal sizes");
    let mut by_input = if dropout.is_none() {
        Vec::new()
    } else {
        // SAFETY: the sizes agree, so that every row is written below.
        unsafe { uninitialized(gradient.len()) }
    };
    let work = |number: usize,
                gradient: &mut [f32],
                normal: &[f32],
                inverse: &[f32],
                mut by_input: Option<&mut [f32]>| {
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
                    row_back(gradient, normal, inverse, gamma, by_gamma, by_beta);
                    if let Some(by_input) = &mut by_input {
                        let mask = dropout.row(number * ROWS + row);
                        let by_input = &mut by_input[row * columns..(row + 1) * columns];
                        for (column, (dropped, x)) in by_input.iter_mut().zip(gradient).enumerate()
                        {
                            *dropped = *x * mask.factor(column);
                        }
                    }
                }
                sums
            },
        )
    };
    let blocks = (
        gradient.par_chunks_mut(block),
        normal.par_chunks(block),
        inverse_deviation.par_chunks(ROWS),
    );
    let parts: Vec<Vec<f32>> = if by_input.is_empty() {
        blocks
            .into_par_iter()
            .enumerate()
            .map(|(number, (gradient, normal, inverse))| {
                work(number, gradient, normal, inverse, None)
            })
            .collect()
    } else {
        (blocks.0, blocks.1, blocks.2, by_input.par_chunks_mut(block))
            .into_par_iter()
            .enumerate()
            .map(|(number, (gradient, normal, inverse, by_input))| {
                work(number, gradient, normal, inverse, Some(by_input))
            })
            .collect()
    };
    let mut by_gamma = sums::add_up(parts, 2 * columns);
    let by_beta = by_gamma.split_off(columns);
    Back {
        by_sum: gradient,
        by_input: (!dropout.is_none()).then_some(by_input),
        by_gamma,
        by_beta,
    }
}

/// Turns the gradient by a row of the output into that by the row that was normalised, and adds to the sums.
#[inline(always)]
pub(crate) fn row_back(
    gradient: &mut [f32],
    normal: &[f32],
    inverse_deviation: f32,
    gamma: &[f32],
    by_gamma: &mut [f32],
    by_beta: &mut [f32],
) {
    let width = gradient.len() as f32;
    for ((((g, x), gamma), by_gamma), by_beta) in gradient
        .iter_mut()
        .zip(normal)
        .zip(gamma)
        .zip(by_gamma)
        .zip(by_beta)
    {
        *by_gamma = g.mul_add(*x, *by_gamma);
        *by_beta += *g;
        *g *= gamma;
    }
    let mean = sum(gradient) / width;
    let slope = dot(gradient, normal) / width;
    for (g, x) in gradient.iter_mut().zip(normal) {
        *g = (*g - mean - x * slope) * inverse_deviation;
    }
}
