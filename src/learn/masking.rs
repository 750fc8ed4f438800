//! Which tokens of a row are to be predicted, and what stands in their places: BERT's masking (Devlin et al., arXiv:1810.04805,
//! section 3.1), drawn anew in every epoch as RoBERTa does it (Liu et al., arXiv:1907.11692, section 4.1).
//!
//! Each token of text is chosen by itself with the same probability, as `DataCollatorForLanguageModeling` of transformers does it;
//! with whole words, each word. Of the chosen tokens most become the mask, some another piece of the vocabulary, and some stay.
//!
//! Promise: what is drawn is a function of seed, epoch and row alone, so that a training that goes on draws what one that never
//! stopped would have. Special tokens and padding are never chosen, and never stand in another token's place.
//!
//! Deliberately absent: n-grams, and rates that change over a training.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::activations::Known;
use super::batch::{MaskedTokens, Rows};
use crate::text::Pieces;

/// Which tokens are to be predicted, and what stands in their places meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MaskingSettings {
    /// The share of the tokens of text that are to be predicted. More of them teach more in each step, and leave less to
    /// predict them by; 0.15 is BERT's, up to 0.4 is in use.
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = 0.9))]
    pub rate: f64,
    /// In the places of which share of these stands the mask.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub mask: f64,
    /// In the places of which share stands some other piece of the vocabulary. The rest stays as it is, so that a model must
    /// not trust any token; later it will see no masks.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub random: f64,
    /// Chooses words and not pieces: a word of several pieces is predicted as a whole, which is harder, since its other pieces do
    /// not give it away.
    pub whole_words: bool,
}

impl Default for MaskingSettings {
    fn default() -> Self {
        MaskingSettings {
            rate: 0.15,
            mask: 0.8,
            random: 0.1,
            whole_words: false,
        }
    }
}

/// Rows of which some tokens are to be predicted.
pub struct MaskedRows<'a> {
    rows: &'a dyn Rows,
    pieces: &'a Pieces,
    settings: MaskingSettings,
    seed: u64,
}

impl<'a> MaskedRows<'a> {
    pub fn new(
        rows: &'a dyn Rows,
        pieces: &'a Pieces,
        settings: MaskingSettings,
        seed: u64,
    ) -> Self {
        MaskedRows {
            rows,
            pieces,
            settings,
            seed,
        }
    }

    fn draw(&self, row: usize, epoch: u64) -> MaskedTokens {
        let own = self.rows.ids(row);
        let mut masked = MaskedTokens {
            ids: own.to_vec(),
            ..MaskedTokens::default()
        };
        let mut generator = generator(self.seed, epoch, row);
        let mut chosen = false;
        let mut after_text = false;
        for (place, &id) in own.iter().enumerate() {
            let is_text = self.pieces.is_text(id);
            let goes_on = self.settings.whole_words && after_text && self.pieces.is_within(id);
            after_text = is_text;
            if !is_text {
                continue;
            }
            if !goes_on {
                chosen = uniform(&mut generator) < self.settings.rate;
            }
            if !chosen {
                continue;
            }
            masked.places.push(place);
            masked.wanted.push(id);
            let kind = uniform(&mut generator);
            if kind < self.settings.mask {
                masked.ids[place] = self.pieces.mask();
            } else if kind < self.settings.mask + self.settings.random {
                let ordinary = self.pieces.ordinary();
                let drawn = (uniform(&mut generator) * ordinary.len() as f64) as usize;
                masked.ids[place] = ordinary.get(drawn).copied().unwrap_or(id);
            }
        }
        masked
    }
}

fn generator(seed: u64, epoch: u64, row: usize) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"refit masks 1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&epoch.to_le_bytes());
    hasher.update(&(row as u64).to_le_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// A number from 0 on and below 1.
fn uniform(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

impl Rows for MaskedRows<'_> {
    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn ids(&self, row: usize) -> &[u32] {
        self.rows.ids(row)
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        self.rows.type_ids(row)
    }

    fn label(&self, row: usize) -> Option<u32> {
        self.rows.label(row)
    }

    fn id(&self, row: usize) -> u64 {
        self.rows.id(row)
    }

    fn length(&self, row: usize) -> usize {
        self.rows.length(row)
    }

    fn known(&self, row: usize) -> Option<Known<'_>> {
        self.rows.known(row)
    }

    fn masked(&self, row: usize, epoch: u64) -> Option<MaskedTokens> {
        Some(self.draw(row, epoch))
    }
}

#[cfg(test)]
mod tests;
