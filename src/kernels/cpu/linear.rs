//! Matrix products as a linear layer needs them, forward and backward, through the `gemm` crate.

use gemm::Parallelism;
use rayon::prelude::*;

use super::memory::uninitialized;
use super::sums;

/// Multiply-adds from which on a product is worth sharing among threads.
const PARALLEL: usize = 1 << 18;

/// A matrix in row-major order, or the transpose of one.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    strides: (isize, isize),
}

impl<'a> Matrix<'a> {
    /// `values` as `[rows, columns]`.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(
            values.len(),
            rows * columns,
            "a matrix of {rows} × {columns}"
        );
        Matrix {
            values,
            rows,
            columns,
            strides: (columns as isize, 1),
        }
    }

    /// `[columns, rows]`, without moving anything.
    pub(crate) fn transposed(self) -> Self {
        Matrix {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            strides: (self.strides.1, self.strides.0),
        }
    }
}

/// `a · b` → `[a.rows, b.columns]` in row-major order; added to what `result` holds when `add` says so.
///
/// # Panics
/// When the shapes do not fit.
pub(crate) fn multiply(a: Matrix, b: Matrix, add: bool, result: &mut [f32]) {
    assert_eq!(a.columns, b.rows, "the inner sizes of a product");
    assert_eq!(result.len(), a.rows * b.columns, "the size of a product");
    if result.is_empty() {
        return;
    }
    let work = a.rows * b.columns * a.columns;
    // A thread of the pool has fellows with work of their own.
    let alone = rayon::current_thread_index().is_none();
    let parallelism = if work >= PARALLEL && alone {
        Parallelism::Rayon(0)
    } else {
        Parallelism::None
    };
    // SAFETY: the three matrices lie within their slices, as `Matrix::new` and the assertions above make sure, and the
    // borrow checker keeps `result` apart from the other two.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            result.as_mut_ptr(),
            1,
            b.columns as isize,
            add,
            a.values.as_ptr(),
            a.strides.1,
            a.strides.0,
            b.values.as_ptr(),
            b.strides.1,
            b.strides.0,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// The sizes of a linear layer's input and output: `[rows, inputs]` → `[rows, outputs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

/// `input · weight + bias`, with `weight` `[inputs, outputs]`.
pub(crate) fn forward(input: &[f32], weight: &[f32], bias: &[f32], sizes: Sizes) -> Vec<f32> {
    let Sizes {
        rows,
        inputs,
        outputs,
    } = sizes;
    // SAFETY: every row is set to the bias.
    let mut output = unsafe { uninitialized(rows * outputs) };
    output
        .par_chunks_mut((outputs * sums::ROWS).max(1))
        .for_each(|block| {
            block
                .chunks_exact_mut(outputs)
                .for_each(|row| row.copy_from_slice(bias))
        });
    multiply(
        Matrix::new(input, rows, inputs),
        Matrix::new(weight, inputs, outputs),
        true,
        &mut output,
    );
    output
}

/// The gradient by the input: `gradient · weightᵀ`.
pub(crate) fn by_input(gradient: &[f32], weight: &[f32], sizes: Sizes) -> Vec<f32> {
    let Sizes {
        rows,
        inputs,
        outputs,
    } = sizes;
    // SAFETY: the product overwrites all of it.
    let mut result = unsafe { uninitialized(rows * inputs) };
    let weight = Matrix::new(weight, inputs, outputs).transposed();
    multiply(
        Matrix::new(gradient, rows, outputs),
        weight,
        false,
        &mut result,
    );
    result
}

/// The gradient by the weight: `inputᵀ · gradient`.
pub(crate) fn by_weight(input: &[f32], gradient: &[f32], sizes: Sizes) -> Vec<f32> {
    let Sizes {
        rows,
        inputs,
        outputs,
    } = sizes;
    // SAFETY: as above.
    let mut result = unsafe { uninitialized(inputs * outputs) };
    let input = Matrix::new(input, rows, inputs).transposed();
    multiply(
        input,
        Matrix::new(gradient, rows, outputs),
        false,
        &mut result,
    );
    result
}
