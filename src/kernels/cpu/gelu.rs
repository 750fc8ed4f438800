//! x Φ(x), where Φ is the normal distribution's cumulative function, and its derivative.
//!
//! Φ comes from the tail Q(t) = φ(t) R(t), t ≥ 0, with Mills' ratio R fitted as a polynomial in 1 / (1 + 0.3 t) to a
//! relative error of 1.5e-7. So the tail, and with it GELU of negative numbers, is exact relatively: to 7e-7 down to -4,
//! to 5e-6 down to -13, where 32-bit numbers end. The derivative Φ(x) + x φ(x) gets both parts from one exponential.

use rayon::prelude::*;

use super::memory::uninitialized;
use super::simd::{exp, vectorized};

const CHUNK: usize = 1 << 13;
/// From here on the density times the number is 0 as far as 32 bits can tell.
const END: f32 = 14.0;

/// Φ(x) and φ(x).
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    const FRAC_1_SQRT_TAU: f32 = 0.398_942_3;
    let t = x.abs();
    let density = exp(-0.5 * t * t) * FRAC_1_SQRT_TAU;
    let k = 1.0 / t.mul_add(0.3, 1.0);
    let p = 8.942_431e-2_f32;
    let p = p.mul_add(k, -3.940_538e-1);
    let p = p.mul_add(k, 5.172_59e-1);
    let p = p.mul_add(k, -1.345_720_5e-1);
    let p = p.mul_add(k, 3.222_600_2e-1);
    let p = p.mul_add(k, 2.504_448_4e-1);
    let p = p.mul_add(k, 3.026_854_6e-1);
    let p = p.mul_add(k, 2.998_661_7e-1);
    let tail = density * p * k;
    (if x > 0.0 { 1.0 - tail } else { tail }, density)
}

/// x Φ(x) of each element.
pub(crate) fn forward(input: &[f32]) -> Vec<f32> {
    // SAFETY: the loop writes every element.
    let mut output = unsafe { uninitialized(input.len()) };
    (output.par_chunks_mut(CHUNK), input.par_chunks(CHUNK))
        .into_par_iter()
        .for_each(|(output, input)| {
            vectorized(
                #[inline(always)]
                || {
                    for (y, &x) in output.iter_mut().zip(input) {
                        *y = x * normal(x).0;
                    }
                },
            );
        });
    output
}

/// Turns the gradient by the output into that by the input.
pub(crate) fn backward(input: &[f32], gradient: &mut [f32]) {
    (gradient.par_chunks_mut(CHUNK), input.par_chunks(CHUNK))
        .into_par_iter()
        .for_each(|(gradient, input)| {
            vectorized(
                #[inline(always)]
                || {
                    for (g, &x) in gradient.iter_mut().zip(input) {
                        let (cumulative, density) = normal(x);
                        // `exp` never reaches 0, so that a huge factor would bring the density back.
                        *g *= x.clamp(-END, END).mul_add(density, cumulative);
                    }
                },
            );
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Φ and φ in 64 bits. Φ is 1/2 plus the series φ(x) (x + x³/3 + x⁵/15 + …), or the tail φ(t) / (t + 1/(t + 2/(t +
    /// 3/(…)))) where the series would cancel (Abramowitz and Stegun, 1964, 26.2.11 and 26.2.14).
    fn reference(x: f64) -> (f64, f64) {
        let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        if x.abs() < 2.0 {
            let (mut sum, mut term) = (0.0, x);
            for odd in (3..120).step_by(2) {
                sum += term;
                term *= x * x / f64::from(odd);
            }
            return (0.5 + density * sum, density);
        }
        let t = x.abs();
        let tail = density / (1..300).rev().fold(t, |below, k| t + f64::from(k) / below);
        (if x > 0.0 { 1.0 - tail } else { tail }, density)
    }

    fn both(x: f32) -> (f32, f32) {
        let mut slope = [1.0];
        backward(&[x], &mut slope);
        (forward(&[x])[0], slope[0])
    }

    #[test]
    fn gelu_and_its_slope_are_exact_relatively_down_to_where_numbers_end() {
        for i in -130_000..=130_000 {
            let x = i as f32 * 1e-4;
            let wide = f64::from(x);
            let (cumulative, density) = reference(wide);
            let (found, slope) = both(x);
            // The exponential's argument is rounded, which far from 0 counts most.
            let allowed = 8e-7 + 4e-8 * wide * wide;
            let wanted = wide * cumulative;
            let error = (f64::from(found) - wanted).abs();
            assert!(
                error <= allowed * wanted.abs(),
                "gelu({x}) is {found}, not {wanted}"
            );
            // Near -0.75 the two parts of the slope cancel.
            let parts = cumulative + (wide * density).abs();
            let wanted = cumulative + wide * density;
            let error = (f64::from(slope) - wanted).abs();
            assert!(
                error <= allowed * parts,
                "the slope at {x} is {slope}, not {wanted}"
            );
        }
    }

    #[test]
    fn gelu_of_extreme_numbers_is_zero_or_the_number_itself() {
        for x in [13.5, 40.0, 1e4, 1e30, 1e38, f32::MAX] {
            let (positive, slope) = both(x);
            assert_eq!((positive, slope), (x, 1.0), "at {x}");
            let (negative, slope) = both(-x);
            assert!(negative <= 0.0 && negative > -1e-36, "{negative} at -{x}");
            assert!(slope.abs() < 1e-35, "{slope} at -{x}");
        }
        for x in [0.0, 1e-30, 1e-38, f32::from_bits(1)] {
            for x in [x, -x] {
                let (found, slope) = both(x);
                assert!((found - 0.5 * x).abs() <= 1e-6 * x.abs(), "{found} at {x}");
                assert!((slope - 0.5).abs() < 1e-6, "{slope} at {x}");
            }
        }
        assert_eq!(both(f32::INFINITY).0, f32::INFINITY);
        assert!(both(f32::NAN).0.is_nan() && both(f32::NAN).1.is_nan());
    }
}
