//! Sums over rows, and over everything, in one order for any number of threads.

use rayon::prelude::*;

use super::simd::{sum_of_squares, vectorized};

/// Rows whose sums are formed together.
pub(crate) const ROWS: usize = 64;
/// Numbers whose squares are summed together.
const CHUNK: usize = 1 << 15;

/// The sum of the squares of all numbers, rounded once per chunk.
pub(crate) fn squares(values: &[f32]) -> f32 {
    let parts: Vec<f64> = values
        .par_chunks(CHUNK)
        .map(|chunk| {
            vectorized(
                #[inline(always)]
                || f64::from(sum_of_squares(chunk, 0.0)),
            )
        })
        .collect();
    parts.iter().sum::<f64>() as f32
}

/// The sum of the rows of `values`, `[rows, columns]` → `[columns]`.
pub(crate) fn columns(values: &[f32], columns: usize) -> Vec<f32> {
    let parts: Vec<Vec<f32>> = values
        .par_chunks((ROWS * columns).max(1))
        .map(|block| {
            vectorized(
                #[inline(always)]
                || {
                    let mut sums = vec![0.0f32; columns];
                    for row in block.chunks_exact(columns) {
                        for (sum, x) in sums.iter_mut().zip(row) {
                            *sum += x;
                        }
                    }
                    sums
                },
            )
        })
        .collect();
    add_up(parts, columns)
}

/// The sum of equally long parts, in their order; zeros for none.
pub(crate) fn add_up(parts: Vec<Vec<f32>>, length: usize) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut sums = parts.next().unwrap_or_else(|| vec![0.0; length]);
    for part in parts {
        for (sum, x) in sums.iter_mut().zip(part) {
            *sum += x;
        }
    }
    sums
}
