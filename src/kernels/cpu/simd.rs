//! Run-time choice of the instruction set, and the mathematical functions that vectorise.
//!
//! A closure given to [`vectorized`] is compiled once for AVX-512, once for AVX2 with FMA, once for NEON and once for the
//! target's baseline; the `pulp` crate picks at run time. What is called from such a closure must be inlined into it,
//! hence `#[inline(always)]` on everything below. Without FMA the results are the same and take far longer.
//!
//! Deliberately absent: intrinsics. Loops over arrays of [`LANES`] numbers compile to full vectors.

/// Numbers in one AVX-512 vector; loops over arrays of this length fill the vectors of any instruction set.
pub(crate) const LANES: usize = 16;

/// Runs `work` with the widest vectors that this processor has.
#[inline(always)]
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Whether vectors have 16 lanes and 32 registers.
pub(crate) fn has_wide_vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512f")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// eˣ, to 2 units in the last place; below -87 the smallest normal number instead of a denormal one.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // eʳ = 1 + r + r² p(r), with p fitted for the least relative error.
    // x = n ln 2 + r with |r| ≤ ln 2 / 2; adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, the first exact in few bits.
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.979_031_8e-4_f32;
    let p = p.mul_add(r, 1.394_469e-3);
    let p = p.mul_add(r, 8.333_497e-3);
    let p = p.mul_add(r, 4.166_629_5e-2);
    let p = p.mul_add(r, 1.666_666_6e-1);
    let p = p.mul_add(r, 0.5);
    let p = (p * r).mul_add(r, r) + 1.0;
    let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32) << 23;
    let scaled = f32::from_bits((p.to_bits() as i32).wrapping_add(exponent) as u32);
    if x.is_nan() { x } else { scaled }
}

/// The sum of `values`, in an order that depends on their number alone.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    fold(values, |total, x| total + x)
}

/// The sum of the squared distances from `centre`.
#[inline(always)]
pub(crate) fn sum_of_squares(values: &[f32], centre: f32) -> f32 {
    fold(values, |total, x| {
        let x = x - centre;
        x.mul_add(x, total)
    })
}

/// The sum of the products of two slices of one length.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for lane in 0..LANES {
            lanes[lane] = a[lane].mul_add(b[lane], lanes[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    total(lanes) + rest
}

/// The largest of `values`; minus infinity for none.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] {
                chunk[lane]
            } else {
                lanes[lane]
            };
        }
    }
    lanes
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max)
}

#[inline(always)]
fn fold(values: &[f32], step: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for lane in 0..LANES {
            lanes[lane] = step(lanes[lane], chunk[lane]);
        }
    }
    total(lanes) + rest.iter().fold(0.0, |total, &x| step(total, x))
}

#[inline(always)]
pub(crate) fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_two_units_in_the_last_place() {
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let wanted = f64::from(x).exp();
            let error = (f64::from(exp(x)) - wanted).abs() / wanted;
            assert!(error < 2.4e-7, "exp({x}) is off by {error}");
        }
    }

    #[test]
    fn exp_of_a_very_negative_number_is_nearly_zero_and_of_a_large_one_finite() {
        assert!(exp(f32::MIN) < 1e-37);
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(1e9).is_finite());
        assert!(exp(f32::INFINITY).is_finite());
        assert_eq!([exp(0.0), exp(-0.0), exp(1e-30), exp(-1e-30)], [1.0; 4]);
    }

    #[test]
    fn exp_of_what_is_no_number_is_none() {
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::INFINITY - f32::INFINITY).is_nan());
    }

    #[test]
    fn sums_reach_every_number_of_any_length() {
        for length in [0, 1, 15, 16, 17, 63, 384] {
            let values: Vec<f32> = (0..length).map(|i| (i % 7) as f32).collect();
            assert_eq!(sum(&values), values.iter().sum::<f32>());
            assert_eq!(
                dot(&values, &values),
                values.iter().map(|x| x * x).sum::<f32>()
            );
            assert_eq!(sum_of_squares(&values, 0.0), dot(&values, &values));
            let largest_value = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(largest(&values), largest_value);
        }
    }
}
