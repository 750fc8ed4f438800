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
}

impl Mode {
    /// What is dropped at `site`, with `probability` in training.
    pub(super) fn dropout(&self, probability: f64, site: Site) -> Dropout {
        match *self {
            Mode::Evaluate => Dropout::NONE,
            Mode::Train { seed, step } => Dropout::new(probability, seed, step, site.number()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_places_drop_the_same() {
        let mode = Mode::Train { seed: 1, step: 2 };
        let mut sites = vec![Site::Embeddings, Site::Head];
        for layer in 0..24 {
            sites.extend([
                Site::Attention(layer),
                Site::AttentionOutput(layer),
                Site::Output(layer),
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
