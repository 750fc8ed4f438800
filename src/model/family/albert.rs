//! ALBERT (Lan et al., arXiv:1909.11942): layers share their weights in groups, and narrow embeddings are projected.
//!
//! Reference: `transformers/models/albert`, which drops nothing after the second dense layer of a block.

use std::path::Path;

use serde::Deserialize;

use super::super::ModelError;
use super::super::config::{Activation, EncoderConfig, Sharing};
use super::fields::{Fields, parsed};
use super::{Description, Family};

pub(super) const ALBERT: Description = Description {
    model_type: "albert",
    class: "Albert",
    prefix: "albert",
    roots: &["embeddings.", "encoder.", "pooler."],
    layer: |number, inner| {
        let (group, layer) = (number / inner.max(1), number % inner.max(1));
        format!("encoder.albert_layer_groups.{group}.albert_layers.{layer}.")
    },
    renames: &[
        ("attention.self.", "attention."),
        ("attention.output.", "attention."),
        ("intermediate.dense.", "ffn."),
        ("output.dense.", "ffn_output."),
        ("output.LayerNorm.", "full_layer_layer_norm."),
        (
            "embeddings_project.",
            "encoder.embedding_hidden_mapping_in.",
        ),
        ("pooler.dense.", "pooler."),
    ],
    fields: &[("classifier_dropout", "classifier_dropout_prob")],
    read,
    head: None,
};

/// The fields that only ALBERT has.
#[derive(Deserialize)]
struct Own {
    #[serde(default = "one")]
    num_hidden_groups: usize,
    #[serde(default = "one")]
    inner_group_num: usize,
    classifier_dropout_prob: Option<f64>,
}

fn one() -> usize {
    1
}

fn read(path: &Path, bytes: &[u8]) -> Result<EncoderConfig, ModelError> {
    let mut fields = Fields::read(path, bytes)?;
    let own: Own = parsed(path, bytes)?;
    fields.hidden_act.get_or_insert(Activation::GeluNew);
    fields.hidden_dropout_prob.get_or_insert(0.0);
    fields.attention_probs_dropout_prob.get_or_insert(0.0);
    let embedding_size = fields.embedding_size.unwrap_or(128);
    let config = fields.config(Family::Albert);
    Ok(EncoderConfig {
        embedding_size,
        projects: true,
        layers: Sharing {
            layers: config.layers.layers,
            groups: own.num_hidden_groups,
            inner: own.inner_group_num,
        },
        output_dropout: 0.0,
        classifier_dropout: own.classifier_dropout_prob.or(Some(0.1)),
        ..config
    })
}
