//! How a forward pass is computed: in which precision, and what it drops where.
//!
//! What is dropped is a function of seed, step and place (see `kernels::Dropout`), whatever else the process does. Part of
//! the place is the token's row in the batch, so that a device with another layout of batches drops other elements.

use crate::kernels::{Dropout, Precision};

/// Whether a forward pass is part of training, which alone drops anything, and in which precision it multiplies matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    masks: Option<Masks>,
    precision: Precision,
}

/// What masks are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Masks {
    seed: u64,
    step: u64,
    /// What comes before in the whole batch.
    tokens: usize,
    texts: usize,
}

impl Mode {
    /// Nothing is dropped.
    pub const EVALUATE: Mode = Mode {
        masks: None,
        precision: Precision::Fp32,
    };

    /// Masks are drawn for (`seed`, `step`); every forward pass of a run needs a `step` of its own.
    pub const fn train(seed: u64, step: u64) -> Mode {
        let masks = Masks {
            seed,
            step,
            tokens: 0,
            texts: 0,
        };
        Mode {
            masks: Some(masks),
            ..Mode::EVALUATE
        }
    }

    /// The same for a part of a batch, before which come so many `tokens` (rows of them, padding among them) and `texts` of
    /// the whole: what is dropped is what would be, were the batch not cut.
    pub fn after(self, tokens: usize, texts: usize) -> Mode {
        let masks = self.masks.map(|masks| Masks {
            tokens,
            texts,
            ..masks
        });
        Mode { masks, ..self }
    }

    /// The same without dropping anything.
    pub fn undropped(self) -> Mode {
        Mode {
            masks: None,
            ..self
        }
    }

    /// The same in another precision.
    pub fn in_precision(self, precision: Precision) -> Mode {
        Mode { precision, ..self }
    }

    /// Whether it is part of training.
    pub fn trains(&self) -> bool {
        self.masks.is_some()
    }

    /// In which numbers matrices are multiplied.
    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// What is dropped at `site`, with `probability` in training.
    pub(super) fn dropout(&self, probability: f64, site: Site) -> Dropout {
        self.masks.map_or(Dropout::NONE, |masks| {
            Dropout::new(probability, masks.seed, masks.step, site.number()).after(masks.tokens)
        })
    }

    /// For what the whole batch shares, whatever part of it is computed.
    pub(super) fn of_batch(self) -> Mode {
        self.after(0, 0)
    }

    /// For what has a row for each text, not for each token.
    pub(super) fn of_texts(self) -> Mode {
        match self.masks {
            None => self,
            Some(Masks { texts, .. }) => self.after(texts, texts),
        }
    }
}

/// A place in the network that drops values; no two share a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    Embeddings,
    Attention(usize),
    AttentionOutput(usize),
    Output(usize),
    Head,
    /// Before the dense layer of a head that has one.
    HeadInput,
    /// Before each of the dense layers that a head has beyond that.
    HeadLayer(usize),
    /// The embeddings of distances, in a layer that reads them.
    Distances(usize),
    /// Between the dense layers of a block.
    Intermediate(usize),
    Convolution,
    /// The input of a linear layer's factors, by the place of the layer among all; see `lora`.
    Lora(usize),
}

/// Above the numbers of every place that BERT has in any layer.
const FURTHER: u64 = 1 << 32;

impl Site {
    fn number(self) -> u64 {
        match self {
            Site::Embeddings => 0,
            Site::Head => 1,
            // Beyond all layers: their numbers are pinned by what was trained with them.
            Site::HeadInput => u64::MAX,
            Site::HeadLayer(layer) => u64::MAX - 1 - layer as u64,
            Site::Attention(layer) => 2 + 3 * layer as u64,
            Site::AttentionOutput(layer) => 3 + 3 * layer as u64,
            Site::Output(layer) => 4 + 3 * layer as u64,
            Site::Convolution => FURTHER,
            Site::Lora(place) => 2 * FURTHER + place as u64,
            Site::Distances(layer) => FURTHER + 1 + 2 * layer as u64,
            Site::Intermediate(layer) => FURTHER + 2 + 2 * layer as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_places_drop_the_same() {
        let mode = Mode::train(1, 2);
        let mut sites = vec![
            Site::Embeddings,
            Site::Head,
            Site::HeadInput,
            Site::Convolution,
        ];
        for layer in 0..24 {
            sites.extend([
                Site::Attention(layer),
                Site::AttentionOutput(layer),
                Site::Output(layer),
                Site::Distances(layer),
                Site::Intermediate(layer),
                Site::HeadLayer(layer),
                Site::Lora(layer),
            ]);
        }
        for (index, &site) in sites.iter().enumerate() {
            for &other in &sites[..index] {
                assert_ne!(
                    mode.dropout(0.1, site),
                    mode.dropout(0.1, other),
                    "{site:?} and {other:?}"
                );
            }
        }
    }

    #[test]
    fn evaluation_drops_nothing() {
        assert!(Mode::EVALUATE.dropout(0.5, Site::Head).is_none());
    }
}
