//! Weights before training, drawn as transformers' `_init_weights` does: normal for matrices, zeros for biases and for
//! the padding token's row (of RoBERTa's positions too), ones for LayerNorm. A CRF's are uniform between -0.1 and 0.1, as pytorch-crf draws them.
//! LoRA's are PEFT's: A as torch draws a linear layer (Kaiming, uniform), B 0. ModernBERT's are cut off, and those of a head have deviations of their own.
//!
//! Each tensor has a ChaCha8 stream of its own, keyed by seed and name, so equal seeds give equal weights on every
//! device and in whatever order they are asked for.

use std::f64::consts::TAU;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::config::EncoderConfig;
use super::family::Family;
use super::names::{CRF, is_norm};

/// The first values of the parameter `name`, of `shape` in a checkpoint's layout.
pub(super) fn draw(name: &str, shape: &[usize], config: &EncoderConfig, seed: u64) -> Vec<f32> {
    let length = shape.iter().product();
    if name.ends_with("bias") || name.ends_with(".lora_B.weight") {
        return vec![0.0; length];
    }
    if is_norm(name) {
        return vec![1.0; length];
    }
    let mut key = blake3::Hasher::new();
    key.update(b"refit initial weights 1\0");
    key.update(&seed.to_le_bytes());
    key.update(name.as_bytes());
    let mut generator = ChaCha8Rng::from_seed(*key.finalize().as_bytes());
    let range = match shape {
        _ if name.starts_with(CRF) => Some(CRF_RANGE),
        [_, inputs] if name.ends_with(".lora_A.weight") => Some((*inputs as f64).powf(-0.5)),
        _ => None,
    };
    if let Some(range) = range {
        return (0..length)
            .map(|_| ((2.0 * uniform(&mut generator) - 1.0) * range) as f32)
            .collect();
    }
    let mut values = match config.family {
        Family::ModernBert => {
            let deviation = match name {
                _ if name.starts_with("classifier.") => (config.hidden_size as f64).powf(-0.5),
                _ if name.starts_with("head.") => {
                    config.initializer_range / (2.0 * config.layers.layers as f64).sqrt()
                }
                _ => config.initializer_range,
            };
            truncated(&mut generator, deviation, cutoff(config), length)
        }
        _ => normal(&mut generator, config.initializer_range, length),
    };
    let knows_padding = name.ends_with("word_embeddings.weight")
        || (config.family.counts_from_padding() && name.ends_with("position_embeddings.weight"));
    if knows_padding
        && let (&[_, width], Some(pad)) = (shape, config.pad_token_id)
        && let Some(row) = values.chunks_mut(width).nth(pad as usize)
    {
        row.fill(0.0);
    }
    values
}

/// How far from 0 the first values of a CRF lie at most.
const CRF_RANGE: f64 = 0.1;

/// A number in (0, 1]: the logarithm of 0 would be infinite.
fn uniform(generator: &mut ChaCha8Rng) -> f64 {
    ((generator.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}

/// `length` values of mean 0 and the given standard deviation (Box and Muller, 1958).
fn normal(generator: &mut ChaCha8Rng, deviation: f64, length: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(length + 1);
    while values.len() < length {
        let radius = deviation * (-2.0 * uniform(generator).ln()).sqrt();
        let (sine, cosine) = (TAU * uniform(generator)).sin_cos();
        values.extend([(radius * cosine) as f32, (radius * sine) as f32]);
    }
    values.truncate(length);
    values
}

/// The same without the values that lie further than `cutoff` deviations from 0.
fn truncated(generator: &mut ChaCha8Rng, deviation: f64, cutoff: f64, length: usize) -> Vec<f32> {
    let bound = (cutoff * deviation) as f32;
    let mut values = Vec::with_capacity(length);
    while values.len() < length {
        let drawn = normal(generator, deviation, length - values.len());
        values.extend(drawn.into_iter().filter(|value| value.abs() <= bound));
    }
    values
}

/// What ModernBERT's `initializer_cutoff_factor` says; never so little that drawing would not end.
fn cutoff(config: &EncoderConfig) -> f64 {
    let said = config.read.get("initializer_cutoff_factor");
    let said = said.map_or(2.0, |said| said.as_f64().unwrap_or(3.0));
    said.max(0.5)
}

#[cfg(test)]
mod tests {
    use super::super::config::{ScratchSettings, Vocabulary};
    use super::*;

    fn config() -> EncoderConfig {
        let settings: ScratchSettings =
            serde_json::from_str(r#"{"layers": 1, "hidden": 64, "heads": 2}"#).unwrap();
        settings
            .config(Vocabulary {
                size: 1000,
                pad_id: 3,
            })
            .unwrap()
    }

    #[test]
    fn matrices_are_normal_with_the_deviation_of_the_config() {
        let values = draw("bert.pooler.dense.weight", &[300, 301], &config(), 7);
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64;
        let variance =
            values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64;
        let beyond = values.iter().filter(|x| x.abs() > 0.04).count() as f64 / values.len() as f64;
        assert!(mean.abs() < 2e-4, "{mean}");
        assert!((variance.sqrt() - 0.02).abs() < 2e-4, "{variance}");
        assert!((beyond - 0.0455).abs() < 0.003, "{beyond}");
    }

    #[test]
    fn a_crf_is_uniform_between_its_bounds() {
        let values = draw("crf.transitions", &[60, 60], &config(), 7);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let squares = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
        assert!(values.iter().all(|x| x.abs() <= 0.1));
        assert!(mean.abs() < 4e-3, "{mean}");
        assert!((squares - 0.01 / 3.0).abs() < 3e-4, "{squares}");
    }

    #[test]
    fn seed_and_name_each_change_the_weights() {
        let one = draw("classifier.weight", &[4, 64], &config(), 1);
        assert_eq!(one, draw("classifier.weight", &[4, 64], &config(), 1));
        assert_ne!(one, draw("classifier.weight", &[4, 64], &config(), 2));
        assert_ne!(
            one,
            draw("bert.pooler.dense.weight", &[4, 64], &config(), 1)
        );
    }

    #[test]
    fn the_padding_row_is_zero_and_no_other() {
        let values = draw(
            "bert.embeddings.word_embeddings.weight",
            &[1000, 64],
            &config(),
            1,
        );
        let zero = |row: &[f32]| row.iter().all(|&x| x == 0.0);
        let zeros: Vec<usize> = values
            .chunks(64)
            .enumerate()
            .filter(|(_, row)| zero(row))
            .map(|(i, _)| i)
            .collect();
        assert_eq!(zeros, [3]);
    }

    #[test]
    fn biases_start_at_zero_and_layer_norms_at_one() {
        assert_eq!(draw("classifier.bias", &[2], &config(), 1), [0.0, 0.0]);
        assert_eq!(
            draw("bert.embeddings.LayerNorm.weight", &[2], &config(), 1),
            [1.0, 1.0]
        );
        assert_eq!(
            draw("bert.embeddings.LayerNorm.bias", &[2], &config(), 1),
            [0.0, 0.0]
        );
    }
}
