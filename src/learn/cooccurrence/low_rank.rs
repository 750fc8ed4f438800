//! A large matrix of which most is 0, cut to the few dimensions that say most of it: its left singular vectors of the greatest
//! singular values, each times the root of its value, by subspace iteration (Halko, Martinsson and Tropp 2011, "Finding
//! Structure with Randomness", algorithm 4.4).
//!
//! Promise: the result depends on the matrix, the width and the random numbers alone, not on the number of threads: each sum is
//! of one thread, in one order.
//!
//! Deliberately absent: linear algebra for other uses. The dense matrices here are tall and as narrow as an encoder is wide.

use std::f64::consts::TAU;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use rayon::prelude::*;

use crate::learn::LearnError;

/// Dimensions beside those asked for, so that the last ones are found as well.
const BESIDE: usize = 10;
/// How often the matrix is applied to and fro.
const ITERATIONS: usize = 3;
/// Singular values below this share of the first are noise of rounding.
const NOTHING: f64 = 1e-9;

/// A matrix of which most is 0, row by row.
pub(super) struct Sparse {
    /// Where in `entries` the rows end; each begins where the one before it ends.
    ends: Vec<usize>,
    /// Column and value, by column within a row.
    entries: Vec<(u32, f32)>,
}

impl Sparse {
    /// Of the columns and values of each row, by column.
    pub(super) fn of(rows: impl ExactSizeIterator<Item = Vec<(u32, f32)>>) -> Sparse {
        let mut matrix = Sparse {
            ends: Vec::with_capacity(rows.len()),
            entries: Vec::new(),
        };
        for row in rows {
            matrix.entries.extend(row);
            matrix.ends.push(matrix.entries.len());
        }
        matrix
    }

    fn row(&self, row: usize) -> &[(u32, f32)] {
        let begin = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.entries[begin..self.ends[row]]
    }

    fn transposed(&self, columns: usize) -> Sparse {
        let mut ends = vec![0_usize; columns];
        for &(column, _) in &self.entries {
            ends[column as usize] += 1;
        }
        let mut begins = Vec::with_capacity(columns);
        let mut all = 0;
        for end in &mut ends {
            begins.push(all);
            all += *end;
            *end = all;
        }
        let mut entries = vec![(0, 0.0); self.entries.len()];
        for row in 0..self.ends.len() {
            for &(column, value) in self.row(row) {
                let place = &mut begins[column as usize];
                entries[*place] = (row as u32, value);
                *place += 1;
            }
        }
        Sparse { ends, entries }
    }

    /// `[rows, columns]` and `[columns, width]` → `[rows, width]`.
    fn times(&self, dense: &[f64], width: usize) -> Vec<f64> {
        let mut result = vec![0.0; self.ends.len() * width];
        let rows = result.par_chunks_mut(width).enumerate();
        rows.for_each(|(row, sums)| {
            for &(column, value) in self.row(row) {
                let other = &dense[column as usize * width..][..width];
                for (sum, other) in sums.iter_mut().zip(other) {
                    *sum += f64::from(value) * other;
                }
            }
        });
        result
    }
}

/// The left singular vectors of the greatest singular values of a matrix of `columns`, each times the root of its value: `[rows,
/// width]`. Columns that the matrix has no more of are 0.
///
/// # Errors
/// That of `going`, which is asked between the parts of the work.
pub(super) fn factors(
    matrix: &Sparse,
    columns: usize,
    width: usize,
    generator: &mut ChaCha8Rng,
    going: &dyn Fn() -> Result<(), LearnError>,
) -> Result<Vec<f64>, LearnError> {
    let transposed = matrix.transposed(columns);
    let rows = matrix.ends.len();
    let tried = (width + BESIDE).min(rows);
    let start = normal(generator, transposed.ends.len() * tried);
    let mut basis = orthonormal(matrix.times(&start, tried), tried); // [rows, tried]
    for _ in 0..ITERATIONS {
        going()?;
        let other = orthonormal(transposed.times(&basis, tried), tried); // [columns, tried]
        basis = orthonormal(matrix.times(&other, tried), tried);
    }
    going()?;
    let other = transposed.times(&basis, tried); // [columns, tried]
    let (values, vectors) = eigen(gram(&other, tried), tried);
    let mut order: Vec<usize> = (0..tried).collect();
    order.sort_by(|&one, &other| values[other].total_cmp(&values[one]));
    let greatest = order.first().map_or(0.0, |&first| values[first].max(0.0));
    // The values are the squares of the singular ones.
    let mut turn = vec![0.0; tried * width]; // [tried, width]
    for (column, &from) in order.iter().take(width).enumerate() {
        if values[from] <= greatest * NOTHING * NOTHING {
            continue;
        }
        let root = values[from].powf(0.25);
        for row in 0..tried {
            turn[row * width + column] = vectors[row * tried + from] * root;
        }
    }
    Ok(product(&basis, &turn, width))
}

/// The rows, `[rows, width]`, all turned the same way, which is drawn: lengths and angles stay.
pub(super) fn rotated(dense: &[f64], width: usize, generator: &mut ChaCha8Rng) -> Vec<f64> {
    let rotation = orthonormal(normal(generator, width * width), width); // [width, width]
    product(dense, &rotation, width)
}

/// `[rows, inner]` and `[inner, width]` → `[rows, width]`.
fn product(one: &[f64], other: &[f64], width: usize) -> Vec<f64> {
    let inner = other.len() / width;
    let mut result = vec![0.0; one.len() / inner * width];
    let rows = result.par_chunks_mut(width).zip(one.par_chunks(inner));
    rows.for_each(|(sums, row)| {
        for (&value, other) in row.iter().zip(other.chunks_exact(width)) {
            for (sum, other) in sums.iter_mut().zip(other) {
                *sum += value * other;
            }
        }
    });
    result
}

/// The products of the columns with each other: `[rows, width]` → `[width, width]`.
fn gram(dense: &[f64], width: usize) -> Vec<f64> {
    let columns = columns(dense, width);
    let mut result = vec![0.0; width * width];
    let rows = result.par_chunks_mut(width).zip(&columns);
    rows.for_each(|(sums, one)| {
        for (sum, other) in sums.iter_mut().zip(&columns) {
            *sum = dot(one, other);
        }
    });
    result
}

fn columns(dense: &[f64], width: usize) -> Vec<Vec<f64>> {
    let column = |column: usize| dense.iter().skip(column).step_by(width).copied().collect();
    (0..width).into_par_iter().map(column).collect()
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// An orthonormal basis of the columns, by Gram and Schmidt's method, twice for the sake of rounding. A column that the ones before it
/// can make becomes 0. `[rows, width]` → `[rows, width]`
fn orthonormal(dense: Vec<f64>, width: usize) -> Vec<f64> {
    let mut columns = columns(&dense, width);
    for place in 0..width {
        let (done, rest) = columns.split_at_mut(place);
        let own = &mut rest[0];
        let before = dot(own, own).sqrt();
        for _ in 0..2 {
            let shares: Vec<f64> = done.par_iter().map(|other| dot(own, other)).collect();
            own.par_chunks_mut(PART)
                .enumerate()
                .for_each(|(part, own)| {
                    for (other, share) in done.iter().zip(&shares) {
                        let other = &other[part * PART..];
                        for (value, other) in own.iter_mut().zip(other) {
                            *value -= share * other;
                        }
                    }
                });
        }
        let norm = dot(own, own).sqrt();
        let scale = if norm > before * 1e-10 {
            norm.recip()
        } else {
            0.0
        };
        own.iter_mut().for_each(|value| *value *= scale);
    }
    let mut result = vec![0.0; dense.len()];
    for (place, column) in columns.iter().enumerate() {
        let places = result.iter_mut().skip(place).step_by(width);
        places
            .zip(column)
            .for_each(|(result, value)| *result = *value);
    }
    result
}

/// How much of a column a thread does at once.
const PART: usize = 4096;

/// Eigenvalues of a symmetric matrix, and its eigenvectors in columns, by Jacobi's rotations (Golub and Van Loan, "Matrix
/// Computations", section 8.5).
fn eigen(mut matrix: Vec<f64>, size: usize) -> (Vec<f64>, Vec<f64>) {
    const SWEEPS: usize = 60;
    let mut vectors = vec![0.0; size * size];
    vectors
        .iter_mut()
        .step_by(size + 1)
        .for_each(|value| *value = 1.0);
    for _ in 0..SWEEPS {
        let whole: f64 = dot(&matrix, &matrix);
        let diagonal: f64 = matrix
            .iter()
            .step_by(size + 1)
            .map(|value| value * value)
            .sum();
        if whole - diagonal <= 1e-26 * whole {
            break;
        }
        for one in 0..size {
            for other in one + 1..size {
                let off = matrix[one * size + other];
                if off == 0.0 {
                    continue;
                }
                let (first, second) = (matrix[one * size + one], matrix[other * size + other]);
                let ratio = (second - first) / (2.0 * off);
                let tangent = ratio.signum() / (ratio.abs() + (ratio * ratio + 1.0).sqrt());
                let cosine = (tangent * tangent + 1.0).sqrt().recip();
                let sine = tangent * cosine;
                let turn = |values: &mut [f64], first: usize, second: usize| {
                    let (a, b) = (values[first], values[second]);
                    values[first] = cosine * a - sine * b;
                    values[second] = sine * a + cosine * b;
                };
                for at in 0..size {
                    turn(&mut matrix, at * size + one, at * size + other);
                    turn(&mut vectors, at * size + one, at * size + other);
                }
                for at in 0..size {
                    turn(&mut matrix, one * size + at, other * size + at);
                }
            }
        }
    }
    (matrix.iter().step_by(size + 1).copied().collect(), vectors)
}

/// Numbers of mean 0 and deviation 1 (Box and Muller, 1958).
fn normal(generator: &mut ChaCha8Rng, length: usize) -> Vec<f64> {
    let mut uniform = || ((generator.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    let one = |_| (-2.0 * uniform().ln()).sqrt() * (TAU * uniform()).cos();
    (0..length).map(one).collect()
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn generator(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// A matrix with every number written.
    fn sparse(rows: &[&[f64]]) -> Sparse {
        let written = |row: &&[f64]| {
            let entries = row.iter().zip(0..).filter(|(value, _)| **value != 0.0);
            entries
                .map(|(&value, column)| (column, value as f32))
                .collect()
        };
        Sparse::of(rows.iter().map(written))
    }

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-6, "{found} for {wanted}");
    }

    #[test]
    fn factors_are_the_singular_vectors_times_the_roots_of_their_values() {
        // 4 · u₁v₁ᵀ + 1 · u₂v₂ᵀ with u₁ = (0.6, 0.8, 0), u₂ = (0, 0, 1), v₁ = (1, 0), v₂ = (0, 1).
        let matrix = sparse(&[&[2.4, 0.0], &[3.2, 0.0], &[0.0, 1.0]]);
        let going = || Ok(());
        let found = factors(&matrix, 2, 3, &mut generator(1), &going).unwrap();
        let found = columns(&found, 3);
        let sign = found[0][0].signum();
        for (found, wanted) in found[0].iter().zip([1.2, 1.6, 0.0]) {
            close(found * sign, wanted);
        }
        close(found[1][2].abs(), 1.0);
        // There is no third.
        assert!(found[2].iter().all(|value| value.abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn eigenvectors_make_the_matrix_again() {
        const SIZE: usize = 7;
        let random = normal(&mut generator(3), SIZE * SIZE);
        let matrix = gram(&random, SIZE);
        let (values, vectors) = eigen(matrix.clone(), SIZE);
        for row in 0..SIZE {
            for column in 0..SIZE {
                let again: f64 = (0..SIZE)
                    .map(|at| vectors[row * SIZE + at] * values[at] * vectors[column * SIZE + at])
                    .sum();
                close(again, matrix[row * SIZE + column]);
            }
        }
    }
}
