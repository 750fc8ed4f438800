//! The families of encoders, by the `model_type` of a `config.json`.
//!
//! A family has one file here, with all that sets it apart: how its `config.json` reads, what its tensors are called, and
//! what the head over texts of transformers' own class computes. What is computed below the head is in `bert`, `mpnet`,
//! `deberta` and `modern_bert`, by the fields of [`EncoderConfig`](super::EncoderConfig).
//!
//! Deliberately absent: decoders, and families that load only with code from the hub.

use std::fmt;
use std::path::Path;

use super::config::EncoderConfig;
use super::{ModelError, Task, names};

mod albert;
mod bert;
mod deberta;
mod distilbert;
mod electra;
mod fields;
mod modern_bert;
mod mpnet;
mod roberta;
mod xlm_roberta;

/// A family of encoders that transformers has classes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    #[default]
    Bert,
    Roberta,
    XlmRoberta,
    Electra,
    DistilBert,
    Albert,
    MpNet,
    /// Version 2 and 3.
    Deberta,
    ModernBert,
}

/// What sets a family apart.
pub(super) struct Description {
    /// As in `config.json`.
    pub(super) model_type: &'static str,
    /// What the names of its classes in transformers begin with.
    pub(super) class: &'static str,
    /// What the names of the encoder's tensors begin with in a checkpoint that also has a head.
    pub(super) prefix: &'static str,
    /// What follows the prefix; in a checkpoint of the encoder alone, names begin with these.
    pub(super) roots: &'static [&'static str],
    /// What the names of a layer's tensors begin with, by the layer's number and the layers in a group.
    pub(super) layer: fn(usize, usize) -> String,
    /// BERT's names and the family's, for how a name within a layer or outside of all layers begins.
    pub(super) renames: &'static [(&'static str, &'static str)],
    /// The fields of `config.json` that have another name than BERT's: BERT's and the family's.
    pub(super) fields: &'static [(&'static str, &'static str)],
    pub(super) read: fn(&Path, &[u8]) -> Result<EncoderConfig, ModelError>,
    /// What the head calls its layers, where transformers' own class has a dense one that is the head's.
    pub(super) head: Option<HeadNames>,
}

/// The names in a checkpoint of a head with a dense layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadNames {
    pub(super) dense: &'static str,
    /// The linear layer that answers.
    pub(super) answers: &'static str,
    /// The LayerNorm after the dense layer, and whether a pretrained model has them both, under these names.
    pub(super) norm: &'static str,
    pub(super) pretrained: bool,
}

impl Family {
    /// Every family, in the order in which they are told.
    pub const ALL: [Family; 9] = [
        Family::Bert,
        Family::Roberta,
        Family::XlmRoberta,
        Family::Electra,
        Family::DistilBert,
        Family::Albert,
        Family::MpNet,
        Family::Deberta,
        Family::ModernBert,
    ];

    pub(super) fn description(self) -> &'static Description {
        match self {
            Family::Bert => &bert::BERT,
            Family::Roberta => &roberta::ROBERTA,
            Family::XlmRoberta => &xlm_roberta::XLM_ROBERTA,
            Family::Electra => &electra::ELECTRA,
            Family::DistilBert => &distilbert::DISTILBERT,
            Family::Albert => &albert::ALBERT,
            Family::MpNet => &mpnet::MPNET,
            Family::Deberta => &deberta::DEBERTA,
            Family::ModernBert => &modern_bert::MODERN_BERT,
        }
    }

    /// The family of that `model_type`.
    pub fn of(model_type: &str) -> Option<Family> {
        Family::ALL
            .into_iter()
            .find(|family| family.model_type() == model_type)
    }

    /// As in `config.json`.
    pub fn model_type(self) -> &'static str {
        self.description().model_type
    }

    /// What the names of the encoder's tensors begin with, up to the first dot.
    pub fn prefix(self) -> &'static str {
        self.description().prefix
    }

    /// Whether a tensor of that name is the pooler's.
    pub fn is_pooler(self, name: &str) -> bool {
        names::is_pooler(self, name)
    }

    /// The class of transformers for a task.
    pub fn architecture(self, task: Task) -> String {
        format!("{}For{}", self.description().class, task.class())
    }

    /// The class of transformers for masked language modelling.
    pub fn masked_architecture(self) -> String {
        format!("{}ForMaskedLM", self.description().class)
    }

    /// The model types of all families, for messages.
    pub fn known() -> String {
        Family::ALL.map(Family::model_type).join(", ")
    }

    /// What `config.json` calls the field that BERT's calls so.
    pub(super) fn field(self, ours: &'static str) -> &'static str {
        let renamed = self.description().fields.iter();
        renamed
            .clone()
            .find(|(name, _)| *name == ours)
            .map_or(ours, |(_, theirs)| theirs)
    }

    /// Whether it has no embeddings that tell segments apart.
    pub(super) fn without_types(self) -> bool {
        matches!(self, Family::DistilBert)
    }

    /// Whether positions begin after the padding token's id.
    pub(super) fn counts_from_padding(self) -> bool {
        matches!(self, Family::Roberta | Family::XlmRoberta)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model_type())
    }
}

#[cfg(test)]
mod checkpoints;
#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod tests;
