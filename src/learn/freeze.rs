//! Which parameters do not learn, and until when.
//!
//! A frozen beginning of the encoder (its embeddings and first layers) computes the same in every epoch: it drops nothing,
//! and nothing is gone back through it. What it gives can be stored (see `activations`).
//!
//! Gradual unfreezing is that of ULMFiT (Howard and Ruder, 2018, <https://arxiv.org/abs/1801.06146>, 3.3): first what stands
//! on the frozen layers learns alone, then from time to time the topmost of them joins in, at last the embeddings.
//!
//! Deliberately absent: learning rates of their own, which `optimizer.groups` gives; a parameter with a rate of 0 has a
//! gradient all the same.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LearnError;
use super::optimizer::{Place, check_patterns, fits, places};
use crate::model::{self, Classifier};

/// What stays as it was before the training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeSettings {
    /// The embeddings, and what all layers share (tables of distances): most of the weights of a model with a large
    /// vocabulary, of which a small data set touches few.
    #[serde(default)]
    pub embeddings: bool,
    /// The first layers, so many, and the embeddings below them. They know language as such, which a small data set can
    /// only spoil. What they give is stored once, and later trainings begin from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub layers: Option<u32>,
    /// The whole encoder, so that only the head learns: for few examples, or many heads on one encoder. What a checkpoint
    /// lacks (a pooler) learns nevertheless. The encoder then runs once, and another head trains in seconds.
    #[serde(default)]
    pub encoder: bool,
    /// Further parameters by their names in a checkpoint, such as `*.bias`; `*` stands for any characters, `?` for one. A
    /// name must fit as a whole.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub patterns: Vec<String>,
    /// Gradual unfreezing: each time so many epochs have passed, the topmost frozen layer begins to learn, at last the
    /// embeddings. For a new head whose first, wild gradients should not reach the encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub unfreeze_every: Option<u32>,
    /// How many GiB of what frozen layers give may be stored, all splits together. What would be more is not stored: then the
    /// frozen layers run again in every epoch. 0 stores nothing. It changes time and space, not what is learned but for
    /// the rounding of floats.
    #[serde(default = "four", skip_serializing_if = "is_four")]
    #[schemars(range(min = 0.0))]
    pub store_limit: f64,
}

fn four() -> f64 {
    4.0
}

fn is_four(limit: &f64) -> bool {
    *limit == four()
}

impl Default for FreezeSettings {
    fn default() -> Self {
        FreezeSettings {
            embeddings: false,
            layers: None,
            encoder: false,
            patterns: Vec::new(),
            unfreeze_every: None,
            store_limit: four(),
        }
    }
}

/// How much of an encoder, from its embeddings on, is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// So many layers and what is below them.
    Layers(u32),
    /// All of it.
    Encoder,
}

impl FreezeSettings {
    /// The frozen beginning; `None` where the embeddings learn.
    pub fn beginning(&self) -> Option<Beginning> {
        match self {
            FreezeSettings { encoder: true, .. } => Some(Beginning::Encoder),
            FreezeSettings {
                layers: Some(layers),
                ..
            } => Some(Beginning::Layers(*layers)),
            FreezeSettings {
                embeddings: true, ..
            } => Some(Beginning::Layers(0)),
            _ => None,
        }
    }
}

/// What is frozen of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Frozen {
    /// How many layers are, and whether what stands above them in the encoder is too; `None` where the embeddings learn.
    beginning: Option<(usize, bool)>,
    /// By name, for good.
    named: BTreeSet<String>,
    /// Not in the checkpoint, so that there is nothing to keep.
    fresh: BTreeSet<String>,
    every: Option<u64>,
}

impl Frozen {
    /// What `settings` mean for `model`, of which the parameters `fresh` were drawn at random.
    ///
    /// # Errors
    /// More layers than there are; a pattern that fits no parameter; nothing that is left to learn.
    pub fn of(
        settings: &FreezeSettings,
        model: &Classifier,
        fresh: &[String],
    ) -> Result<Frozen, LearnError> {
        let names: Vec<String> = model::named_parameters(model)
            .into_iter()
            .map(|parameter| parameter.name)
            .collect();
        check_patterns("freeze.match", &settings.patterns, &names)?;
        let depth = model.encoder.depth();
        let beginning = match settings.beginning() {
            None => None,
            Some(Beginning::Encoder) => Some((depth, true)),
            Some(Beginning::Layers(layers)) if layers as usize > depth => {
                return Err(LearnError::FewerLayers {
                    wanted: layers as usize,
                    there: depth,
                });
            }
            Some(Beginning::Layers(layers)) => Some((layers as usize, false)),
        };
        let is_named = |name: &&String| settings.patterns.iter().any(|pattern| fits(pattern, name));
        let frozen = Frozen {
            beginning,
            named: names.iter().filter(is_named).cloned().collect(),
            fresh: fresh.iter().cloned().collect(),
            every: settings.unfreeze_every.map(u64::from),
        };
        match frozen.names(model, 1).len() < names.len() {
            true => Ok(frozen),
            false => Err(LearnError::AllFrozen),
        }
    }

    /// The frozen beginning in an epoch, counted from 1.
    fn beginning_in(&self, epoch: u64) -> Option<(usize, bool)> {
        let (layers, above) = self.beginning?;
        let thawed = match self.every {
            Some(every) => epoch.saturating_sub(1) / every.max(1),
            None => 0,
        };
        let layers = layers.checked_sub(usize::try_from(thawed).unwrap_or(usize::MAX))?;
        Some((layers, above && thawed == 0))
    }

    /// Whether something begins to learn in an epoch that did not before.
    pub fn changes_in(&self, epoch: u64) -> bool {
        epoch > 1 && self.beginning_in(epoch) != self.beginning_in(epoch - 1)
    }

    /// The names of what does not learn in an epoch.
    pub fn names(&self, model: &Classifier, epoch: u64) -> BTreeSet<String> {
        let names: Vec<String> = model::named_parameters(model)
            .into_iter()
            .map(|parameter| parameter.name)
            .collect();
        let mut frozen = self.named.clone();
        let Some((layers, above)) = self.beginning_in(epoch) else {
            return frozen;
        };
        let blocks: BTreeSet<usize> = (0..layers)
            .filter_map(|layer| model.encoder.block(layer))
            .collect();
        let in_beginning = places(&names)
            .into_iter()
            .filter(|(name, place)| match place {
                Place::Embeddings => true,
                Place::Layer(block) => blocks.contains(block),
                // A table of distances, a norm of it, a convolution: what layers share stands beside them.
                Place::Above => above || name.contains(".encoder."),
                Place::Head => false,
            });
        let old = in_beginning.filter(|(name, _)| !self.fresh.contains(*name));
        frozen.extend(old.map(|(name, _)| name.to_owned()));
        frozen
    }

    /// The model as it learns in an epoch.
    pub fn apply(&self, model: Classifier, epoch: u64) -> Classifier {
        let names = self.names(&model, epoch);
        let layers = self.beginning_in(epoch).map(|(layers, _)| layers);
        model::freeze(model, &|name| names.contains(name)).with_frozen(layers)
    }
}

#[cfg(test)]
mod tests;
