//! One head of one text in `[rows, heads * size]`: where it lies, and the buffers that a thread works on it with.

use std::marker::PhantomData;
use std::ops::Range;

use super::Shape;
use crate::kernels::cpu::simd::LANES;
use crate::kernels::cpu::small::{Rows, Scattered};

/// A slice in which several threads write to parts that do not overlap.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    start: *mut f32,
    length: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: what is written through it is kept apart by the promise of `part`.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(super) fn new(slice: &'a mut [f32]) -> Self {
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
    pub(super) unsafe fn part(&self, from: usize, length: usize) -> &mut [f32] {
        assert!(from + length <= self.length);
        // SAFETY: within the slice, and apart from others by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), length) }
    }
}

/// Buffers that a thread keeps from one text and head to the next.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) keys_across: Vec<f32>,
    pub(super) values_across: Vec<f32>,
    pub(super) queries: Vec<f32>,
    pub(super) gradients: Vec<f32>,
    pub(super) scores: Vec<f32>,
    pub(super) changes: Vec<f32>,
    pub(super) result: Vec<f32>,
    pub(super) by_keys: Vec<f32>,
    pub(super) by_values: Vec<f32>,
}

/// `length` numbers of `buffer`, whatever they are.
pub(super) fn room(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

/// One head of one text in `[rows, width]`.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) start: usize,
    pub(super) length: usize,
    pub(super) width: usize,
    pub(super) offset: usize,
    pub(super) size: usize,
    /// `size`, rounded up to whole vectors.
    pub(super) padded: usize,
}

impl Head {
    pub(super) fn new(shape: &Shape, rows: &Range<usize>, head: usize) -> Head {
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
    pub(super) fn at(&self, row: usize) -> usize {
        (self.start + row) * self.width + self.offset
    }

    /// Read in place.
    #[inline(always)]
    pub(super) fn scattered<'a>(&self, from: &'a [f32], first: usize) -> Scattered<'a> {
        Scattered {
            values: &from[self.at(first)..],
            by_row: self.width,
            by_column: 1,
        }
    }

    /// Copied to `[length, padded]`, with zeros beyond `size`.
    #[inline(always)]
    pub(super) fn packed<'a>(&self, from: &[f32], to: &'a mut Vec<f32>) -> Rows<'a> {
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
    pub(super) fn across<'a>(&self, from: &[f32], long: usize, to: &'a mut Vec<f32>) -> Rows<'a> {
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
    pub(super) unsafe fn unpack(
        &self,
        from: &[f32],
        first: usize,
        to: Shared,
        factor: impl Fn(usize) -> f32,
    ) {
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
