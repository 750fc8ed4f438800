//! ELECTRA's discriminator (Clark et al., arXiv:2003.10555): embeddings may be narrower than the hidden states, and the
//! head has a dense layer of its own.
//!
//! Reference: `transformers/models/electra`.

use std::path::Path;

use super::super::ModelError;
use super::super::config::{Activation, Before, DenseHead, EncoderConfig};
use super::bert::BERT;
use super::fields::Fields;
use super::{Description, Family, HeadNames};

pub(super) const ELECTRA: Description = Description {
    model_type: "electra",
    class: "Electra",
    prefix: "electra",
    roots: &["embeddings.", "embeddings_project.", "encoder."],
    read,
    head: Some(HeadNames {
        dense: "classifier.dense",
        answers: "classifier.out_proj",
        norm: "",
        pretrained: false,
    }),
    ..BERT
};

fn read(path: &Path, bytes: &[u8]) -> Result<EncoderConfig, ModelError> {
    let fields = Fields::read(path, bytes)?;
    let embedding_size = fields.embedding_size.unwrap_or(128);
    let config = fields.config(Family::Electra);
    Ok(EncoderConfig {
        embedding_size,
        projects: embedding_size != config.hidden_size,
        dense: Some(DenseHead {
            before: Before::Same,
            ..DenseHead::of(Activation::Gelu)
        }),
        ..config
    })
}
