//! Dropout (Srivastava et al., 2014, <https://jmlr.org/papers/v15/srivastava14a.html>): each element is 0, or scaled up.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use super::cpu::random::{self, Dropout};
use super::cpu::simd::vectorized;
use super::flex::{self, Fused, Numbers};

/// `input [rows, columns]` with dropped elements at 0 and the others scaled, so that the mean stays.
pub fn dropout(input: Tensor<2>, dropout: Dropout) -> Tensor<2> {
    if dropout.is_none() {
        input
    } else if flex::fits(&input) {
        flex::apply(Masked(dropout), [flex::input(input)])
    } else {
        composed(input, dropout)
    }
}

pub(super) fn composed(input: Tensor<2>, dropout: Dropout) -> Tensor<2> {
    if dropout.is_none() {
        return input;
    }
    let [rows, columns] = input.dims();
    let rows: Vec<usize> = (0..rows).collect();
    let factors = factors(dropout, &rows, columns, &input.device()).cast(input.dtype());
    input * factors
}

/// The factor of each column of the given rows, `[rows, columns]`, computed on `device` without autodiff.
///
/// The same bits as [`random`] computes. Tensors of 32-bit numbers need not wrap around, so 64-bit ones hold what a
/// product of 16 with 32 bits needs.
pub(super) fn factors(
    dropout: Dropout,
    rows: &[usize],
    columns: usize,
    device: &Device,
) -> Tensor<2> {
    const ALL: i64 = 0xffff_ffff;
    let device = &device.clone().without_autodiff();
    let word = |which: usize| {
        let words: Vec<i64> = rows
            .iter()
            .map(|&row| i64::from(dropout.row(row).words[which]))
            .collect();
        Tensor::<2, Int>::from_data(
            TensorData::new(words, [rows.len(), 1]),
            (device, DType::I64),
        ) // [rows, 1]
    };
    let multiplied = |bits: Tensor<2, Int>, by: u32| {
        let by = i64::from(by);
        let low = bits.clone().bitwise_and_scalar(0xffff) * by;
        let high = (bits.bitwise_right_shift_scalar(16) * by).bitwise_and_scalar(0xffff);
        (low + high.bitwise_left_shift_scalar(16)).bitwise_and_scalar(ALL)
    };
    let shifted = |bits: Tensor<2, Int>, by: i64| {
        bits.clone()
            .bitwise_xor(bits.bitwise_right_shift_scalar(by))
    };
    let places: Vec<i64> = (0..columns as u32)
        .map(|column| i64::from(column.wrapping_mul(random::GOLDEN)))
        .collect();
    let places =
        Tensor::<2, Int>::from_data(TensorData::new(places, [1, columns]), (device, DType::I64)); // [1, columns]
    let shape = [rows.len(), columns];
    let bits = places.expand(shape).bitwise_xor(word(0).expand(shape)); // [rows, columns]
    let bits = multiplied(shifted(bits, 16), random::FIRST);
    let bits = (shifted(bits, 15) + word(1)).bitwise_and_scalar(ALL);
    let bits = shifted(multiplied(bits, random::SECOND), 16);
    bits.greater_equal_elem(i64::from(dropout.threshold()))
        .float()
        * dropout.scale()
}

#[derive(Debug, Clone)]
struct Masked(Dropout);

impl Fused<1> for Masked {
    type Saved = ();

    fn forward(&self, [input]: [Numbers; 1]) -> (Numbers, ()) {
        (self.masked(input), ())
    }

    fn backward(&self, (): (), gradient: Numbers, _wanted: [bool; 1]) -> [Option<Numbers>; 1] {
        [Some(self.masked(gradient))]
    }
}

impl Masked {
    fn masked(&self, numbers: Numbers) -> Numbers {
        let shape = numbers.dims();
        let mut values = numbers.into_vec();
        values
            .par_chunks_mut(shape[1].max(1))
            .enumerate()
            .for_each(|(row, values)| {
                vectorized(
                    #[inline(always)]
                    || {
                        let mask = self.0.row(row);
                        for (column, x) in values.iter_mut().enumerate() {
                            *x *= mask.factor(column);
                        }
                    },
                );
            });
        Numbers::new(values, &shape)
    }
}
