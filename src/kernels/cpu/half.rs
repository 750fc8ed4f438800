//! Rounding to what 16 bits can hold, in 32-bit numbers: to the nearest, and of two equally near ones to the even one.

use rayon::prelude::*;

use super::simd::vectorized;
use crate::kernels::Precision;

/// Numbers that a thread rounds at a time.
const BLOCK: usize = 1 << 14;

/// Rounds every number, on all threads.
pub(crate) fn round_all(values: &mut [f32], precision: Precision) {
    if values.len() <= BLOCK {
        return vectorized(
            #[inline(always)]
            || round(values, precision),
        );
    }
    values.par_chunks_mut(BLOCK).for_each(|block| {
        vectorized(
            #[inline(always)]
            || round(block, precision),
        );
    });
}

/// Rounds every number; in `fp32` that is no work.
#[inline(always)]
pub(crate) fn round(values: &mut [f32], precision: Precision) {
    match precision {
        Precision::Fp32 => {}
        Precision::Bf16 => values.iter_mut().for_each(|x| *x = to_bf16(*x)),
        Precision::Fp16 => values.iter_mut().for_each(|x| *x = to_fp16(*x)),
    }
}

/// The nearest number with 8 bits of accuracy.
#[inline(always)]
fn to_bf16(x: f32) -> f32 {
    let rounded = nearest(x, 16);
    if x.is_nan() { x } else { rounded }
}

/// The nearest number of IEEE 754's binary16; infinite from 65520 on.
#[inline(always)]
fn to_fp16(x: f32) -> f32 {
    /// The smallest number with all 11 bits; below it, numbers are multiples of 2⁻²⁴.
    const NORMAL: f32 = 1.0 / 16_384.0;
    /// Has a last bit worth 2⁻²⁴, and so has its sum with anything small.
    const SHIFT: f32 = 0.75;
    const LARGEST: f32 = 65_504.0;
    let small = ((x + SHIFT) - SHIFT).copysign(x);
    let normal = nearest(x, 13);
    let rounded = if x.abs() < NORMAL { small } else { normal };
    let rounded = if rounded.abs() > LARGEST {
        f32::INFINITY.copysign(x)
    } else {
        rounded
    };
    if x.is_nan() { x } else { rounded }
}

/// The nearest number whose last `bits` bits are zero. A carry goes on into the exponent, as it should.
#[inline(always)]
fn nearest(x: f32, bits: u32) -> f32 {
    let number = x.to_bits();
    let odd = (number >> bits) & 1;
    let half = (1 << (bits - 1)) - 1 + odd;
    f32::from_bits(number.wrapping_add(half) >> bits << bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every exponent, either sign, and mantissas around every place where rounding turns.
    fn numbers() -> Vec<f32> {
        let mantissas = (0..1 << 10).flat_map(|high: u32| {
            [0, 1, 0xfff, 0x1000, 0x1001, 0x1fff].map(|low| high << 13 | low)
        });
        let mantissas: Vec<u32> = mantissas.collect();
        (0..=u32::from(u16::MAX >> 7))
            .flat_map(|sign_and_exponent| {
                mantissas
                    .iter()
                    .map(move |mantissa| f32::from_bits(sign_and_exponent << 23 | mantissa))
            })
            .collect()
    }

    type Oracle = fn(f32) -> f32;

    /// The `half` crate is the oracle, bit by bit.
    #[test]
    fn every_number_is_rounded_as_ieee_says() {
        let all = numbers();
        let oracles: [(Precision, Oracle); 2] = [
            (Precision::Bf16, |x| half::bf16::from_f32(x).to_f32()),
            (Precision::Fp16, |x| half::f16::from_f32(x).to_f32()),
        ];
        for (precision, oracle) in oracles {
            let mut rounded = all.clone();
            round_all(&mut rounded, precision);
            for (&x, found) in all.iter().zip(rounded) {
                let wanted = oracle(x);
                let same = found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan();
                assert!(same, "{x:e} in {precision}: {found:e}, not {wanted:e}");
            }
        }
    }

    #[test]
    fn in_fp32_nothing_is_rounded() {
        let all = [1.0 + f32::EPSILON, 1e-40, 1e38];
        let mut rounded = all;
        round_all(&mut rounded, Precision::Fp32);
        assert_eq!(rounded, all);
    }
}
