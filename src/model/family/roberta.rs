//! RoBERTa (Liu et al., arXiv:1907.11692): positions begin after the padding token's id, and the head has a dense layer of
//! its own.
//!
//! Reference: `transformers/models/roberta`. Its encoder's pooler is in many checkpoints and in none of the classes here.

use super::super::config::{Activation, Before, DenseHead, EncoderConfig};
use super::bert::BERT;
use super::fields::Fields;
use super::{Description, Family, HeadNames};

pub(super) const ROBERTA: Description = Description {
    model_type: "roberta",
    class: "Roberta",
    prefix: "roberta",
    read: |path, bytes| Ok(after_padding(Fields::read(path, bytes)?, Family::Roberta)),
    head: Some(HeadNames {
        dense: "classifier.dense",
        answers: "classifier.out_proj",
        norm: "",
        pretrained: false,
    }),
    ..BERT
};

/// What BERT makes of the fields, but for the positions, which follow the padding token's id: 1 unless said otherwise.
pub(super) fn after_padding(fields: Fields, family: Family) -> EncoderConfig {
    let pad_token_id = fields.pad_token_id.unwrap_or(Some(1));
    let config = fields.config(family);
    EncoderConfig {
        first_position: pad_token_id.map_or(0, |pad| pad as usize + 1),
        pad_token_id,
        dense: Some(DenseHead {
            before: Before::Same,
            ..DenseHead::of(Activation::Tanh)
        }),
        ..config
    }
}
