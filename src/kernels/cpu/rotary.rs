//! Pairs of numbers turned by angles that depend on the row's place and the pair's number.

use rayon::prelude::*;

use super::simd::vectorized;

/// The angles, and which rows turn by which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turns<'a> {
    /// `[places, half]` each.
    pub(crate) cosines: &'a [f32],
    pub(crate) sines: &'a [f32],
    /// Half the size of a head: element i turns with element half + i.
    pub(crate) half: usize,
    /// `[rows]`.
    pub(crate) places: &'a [usize],
}

/// Turns each head of each row of `values` `[rows, width]`; the other `way` round when that is -1.
pub(crate) fn turn(values: &mut [f32], width: usize, turns: Turns, way: f32) {
    let half = turns.half;
    if width == 0 || half == 0 {
        return;
    }
    values
        .par_chunks_exact_mut(width)
        .zip(turns.places)
        .with_min_len(16)
        .for_each(|(row, place)| {
            vectorized(
                #[inline(always)]
                || {
                    let cosines = &turns.cosines[place * half..][..half];
                    let sines = &turns.sines[place * half..][..half];
                    for head in row.chunks_exact_mut(2 * half) {
                        let (one, other) = head.split_at_mut(half);
                        let pairs = one.iter_mut().zip(other).zip(cosines.iter().zip(sines));
                        for ((x, y), (cosine, sine)) in pairs {
                            let sine = way * sine;
                            (*x, *y) = (*x * cosine - *y * sine, *y * cosine + *x * sine);
                        }
                    }
                },
            );
        });
}
