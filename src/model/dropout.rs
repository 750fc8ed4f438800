//! Dropout whose masks are a pure function of seed, step and place.
//!
//! burn's generators are one process-wide static per backend: a second training run beside this one, or another number
//! of threads, would change what they give. Here each mask is drawn on the host from a ChaCha8 stream keyed by
//! (seed, step, site), so equal seeds give equal masks on every device, whatever else the process does. The price is
//! 16 random bits and one multiplication per activation, and on an accelerator the upload of the mask: about ten
//! million elements in a step of MiniLM-L6 on 16 texts of 64 tokens.
//!
//! Srivastava et al., <https://jmlr.org/papers/v15/srivastava14a.html>; kept values are scaled up during training.

use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

/// Whether a forward pass is part of training, which alone drops anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is dropped.
    Evaluate,
    /// Masks are drawn for (`seed`, `step`); every forward pass of a run needs a `step` of its own.
    Train { seed: u64, step: u64 },
}

/// A place in the network that drops values; no two share a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    Embeddings,
    Attention(usize),
    AttentionOutput(usize),
    Output(usize),
    Head,
}

impl Site {
    fn number(self) -> u64 {
        match self {
            Site::Embeddings => 0,
            Site::Head => 1,
            Site::Attention(layer) => 2 + 3 * layer as u64,
            Site::AttentionOutput(layer) => 3 + 3 * layer as u64,
            Site::Output(layer) => 4 + 3 * layer as u64,
        }
    }
}

/// Elements per ChaCha stream. Part of the definition of a mask: another number gives other masks.
const CHUNK: usize = 1 << 16;

/// Sets each element to 0 with `probability` (to the nearest 2⁻¹⁶) and scales the rest, when `mode` is training.
pub(super) fn dropout<const D: usize>(
    input: Tensor<D>,
    probability: f64,
    mode: &Mode,
    site: Site,
) -> Tensor<D> {
    let Mode::Train { seed, step } = *mode else {
        return input;
    };
    let threshold = (probability * 65536.0).round() as u32;
    if threshold == 0 {
        return input;
    }
    let shape = input.dims();
    let mask = mask(shape.iter().product(), threshold, seed, step, site);
    let mask = Tensor::from_data(
        TensorData::new(mask, shape),
        (&input.device(), input.dtype()),
    );
    input * mask
}

/// `length` factors: 0 with probability `threshold` / 2¹⁶, else the inverse of the probability of being kept.
fn mask(length: usize, threshold: u32, seed: u64, step: u64, site: Site) -> Vec<f32> {
    let mut key = blake3::Hasher::new();
    key.update(b"refit dropout 1\0");
    for part in [seed, step, site.number()] {
        key.update(&part.to_le_bytes());
    }
    let key = *key.finalize().as_bytes();
    let scale = (65536.0 / (65536.0 - f64::from(threshold))) as f32;
    let mut mask = vec![0.0; length];
    mask.par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(stream, factors)| {
            let mut generator = ChaCha8Rng::from_seed(key);
            generator.set_stream(stream as u64);
            let mut bits = [0; 1024];
            for factors in factors.chunks_mut(bits.len() / 2) {
                generator.fill_bytes(&mut bits);
                for (factor, pair) in factors.iter_mut().zip(bits.chunks_exact(2)) {
                    let drawn = u32::from(u16::from_le_bytes([pair[0], pair[1]]));
                    *factor = if drawn < threshold { 0.0 } else { scale };
                }
            }
        });
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, step: u64, site: Site) -> Vec<f32> {
        mask(3 * CHUNK + 17, 6554, seed, step, site)
    }

    #[test]
    fn a_mask_drops_its_share_and_keeps_the_mean() {
        let mask = drawn(1, 0, Site::Embeddings);
        let dropped =
            mask.iter().filter(|&&factor| factor == 0.0).count() as f64 / mask.len() as f64;
        let mean = mask.iter().map(|&factor| f64::from(factor)).sum::<f64>() / mask.len() as f64;
        assert!((dropped - 0.1).abs() < 0.003, "{dropped}");
        assert!((mean - 1.0).abs() < 0.003, "{mean}");
    }

    #[test]
    fn seed_step_and_site_each_change_the_mask_and_nothing_else_does() {
        let mask = drawn(1, 2, Site::Attention(0));
        assert_eq!(mask, drawn(1, 2, Site::Attention(0)));
        for other in [
            drawn(2, 2, Site::Attention(0)),
            drawn(1, 3, Site::Attention(0)),
            drawn(1, 2, Site::Output(0)),
        ] {
            assert_ne!(mask, other);
        }
    }

    #[test]
    fn the_number_of_threads_does_not_change_the_mask() {
        let one = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let three = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        assert_eq!(
            one.install(|| drawn(5, 6, Site::Head)),
            three.install(|| drawn(5, 6, Site::Head))
        );
    }

    #[test]
    fn chunks_differ_from_each_other() {
        let mask = drawn(1, 2, Site::Head);
        assert_ne!(mask[..CHUNK], mask[CHUNK..2 * CHUNK]);
    }
}
