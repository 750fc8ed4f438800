//! Where an encoder drops values, and when.
//!
//! What is dropped is a function of seed, step and place (see `kernels::Dropout`), whatever else the process does. Part of
//! the place is the token's row in the batch, so that a device with another layout of batches drops other elements.

use crate::kernels::Dropout;

/// Whether a forward pass is part of training, which alone drops anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is dropped.
    Evaluate,
    /// Masks are drawn for (`seed`, `step`); every forward pass of a run needs a `step` of its own.
    Train { seed: u64, step: u64 },
    /// The same for a part of a batch, before which come so many `tokens` (rows of them, padding among them) and `texts` of the
    /// whole: what is dropped is what would be, were the batch not cut.
    TrainPart {
        seed: u64,
        step: u64,
        tokens: usize,
        texts: usize,
    },
}

impl Mode {
    /// What is dropped at `site`, with `probability` in training.
    pub(super) fn dropout(&self, probability: f64, site: Site) -> Dropout {
        match *self {
            Mode::Evaluate => Dropout::NONE,
            Mode::Train { seed, step } => Dropout::new(probability, seed, step, site.number()),
            Mode::TrainPart {
                seed, step, tokens, ..
            } => Dropout::new(probability, seed, step, site.number()).after(tokens),
        }
    }

    /// For what the whole batch shares, whatever part of it is computed.
    pub(super) fn of_batch(self) -> Mode {
        match self {
            Mode::Evaluate | Mode::Train { .. } => self,
            Mode::TrainPart { seed, step, .. } => Mode::Train { seed, step },
        }
    }

    /// For what has a row for each text, not for each token.
    pub(super) fn of_texts(self) -> Mode {
        match self {
            Mode::Evaluate | Mode::Train { .. } => self,
            Mode::TrainPart {
                seed, step, texts, ..
            } => Mode::TrainPart {
                seed,
                step,
                tokens: texts,
                texts,
            },
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
    /// The embeddings of distances, in a layer that reads them.
    Distances(usize),
    /// Between the dense layers of a block.
    Intermediate(usize),
    Convolution,
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
            Site::Attention(layer) => 2 + 3 * layer as u64,
            Site::AttentionOutput(layer) => 3 + 3 * layer as u64,
            Site::Output(layer) => 4 + 3 * layer as u64,
            Site::Convolution => FURTHER,
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
        let mode = Mode::Train { seed: 1, step: 2 };
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
        assert!(Mode::Evaluate.dropout(0.5, Site::Head).is_none());
    }
}
