//! One step of AdamW, in place, in one pass over memory.
//!
//! A step is bound by memory: it reads four numbers and writes three for each weight. Where neither a gradient nor a
//! moment has ever been other than zero, as in the rows of an embedding table that no batch has touched, the step is
//! plain decay, and [`Touched`] remembers where that is.

use rayon::prelude::*;

use super::simd::vectorized;

const CHUNK: usize = 1 << 14;
/// Weights that are touched or not together.
const GROUP: usize = 1 << 7;

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// What is left of the weight.
    pub(crate) decay: f32,
    /// By what gradients are multiplied first.
    pub(crate) share: f32,
    /// The learning rate over the correction of the mean.
    pub(crate) rate: f32,
    /// The root of the correction of the square.
    pub(crate) root: f32,
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    /// 1 - beta1 and 1 - beta2, rounded once.
    pub(crate) rest1: f32,
    pub(crate) rest2: f32,
    pub(crate) epsilon: f32,
}

/// Which groups of weights have moments other than zero.
#[derive(Debug, Clone, Default)]
pub(crate) struct Touched(Vec<bool>);

impl Touched {
    /// For weights whose moments are all zero.
    pub(crate) fn nowhere(weights: usize) -> Self {
        Touched(vec![false; weights.div_ceil(GROUP)])
    }

    /// For weights whose moments may be anything.
    pub(crate) fn everywhere(weights: usize) -> Self {
        Touched(vec![true; weights.div_ceil(GROUP)])
    }
}

/// Weights and their moments after the step; all four slices are of one length.
pub(crate) fn step(
    weights: &mut [f32],
    means: &mut [f32],
    squares: &mut [f32],
    gradients: &[f32],
    touched: &mut Touched,
    step: Step,
) {
    let sizes = [means.len(), squares.len(), gradients.len()];
    assert_eq!(sizes, [weights.len(); 3], "equal sizes");
    (
        weights.par_chunks_mut(CHUNK),
        means.par_chunks_mut(CHUNK),
        squares.par_chunks_mut(CHUNK),
        gradients.par_chunks(CHUNK),
        touched.0.par_chunks_mut(CHUNK / GROUP),
    )
        .into_par_iter()
        .for_each(|(weights, means, squares, gradients, touched)| {
            vectorized(
                #[inline(always)]
                || {
                    let groups = weights
                        .chunks_mut(GROUP)
                        .zip(means.chunks_mut(GROUP))
                        .zip(squares.chunks_mut(GROUP))
                        .zip(gradients.chunks(GROUP))
                        .zip(touched);
                    for ((((weights, means), squares), gradients), touched) in groups {
                        *touched = *touched || any(gradients);
                        if *touched {
                            update(weights, means, squares, gradients, step);
                        } else if step.decay != 1.0 {
                            weights.iter_mut().for_each(|weight| *weight *= step.decay);
                        }
                    }
                },
            );
        });
}

/// Whether any number is other than zero.
#[inline(always)]
fn any(values: &[f32]) -> bool {
    let bits = values.iter().fold(0, |bits, x| bits | (x.to_bits() << 1));
    bits != 0
}

#[inline(always)]
fn update(
    weights: &mut [f32],
    means: &mut [f32],
    squares: &mut [f32],
    gradients: &[f32],
    step: Step,
) {
    let numbers = weights.iter_mut().zip(means).zip(squares).zip(gradients);
    for (((weight, mean), square), &gradient) in numbers {
        let gradient = gradient * step.share;
        *mean = *mean * step.beta1 + gradient * step.rest1;
        *square = *square * step.beta2 + gradient * gradient * step.rest2;
        let change = *mean / (square.sqrt() / step.root + step.epsilon) * step.rate;
        *weight = *weight * step.decay - change;
    }
}
