//! DistilBERT (Sanh et al., arXiv:1910.01108): no segments, and other names for nearly everything.
//!
//! Reference: `transformers/models/distilbert`. Whether its positions began as sines does not matter here: they are in the
//! checkpoint.

use std::path::Path;

use serde::Deserialize;

use super::super::ModelError;
use super::super::config::{Activation, DenseHead, EncoderConfig, Own, Sharing};
use super::fields::{fiftieth, given, parsed, tenth};
use super::{Description, Family, HeadNames};

pub(super) const DISTILBERT: Description = Description {
    model_type: "distilbert",
    class: "DistilBert",
    prefix: "distilbert",
    roots: &["embeddings.", "transformer."],
    layer: |number, _| format!("transformer.layer.{number}."),
    renames: &[
        ("attention.self.query.", "attention.q_lin."),
        ("attention.self.key.", "attention.k_lin."),
        ("attention.self.value.", "attention.v_lin."),
        ("attention.output.dense.", "attention.out_lin."),
        ("attention.output.LayerNorm.", "sa_layer_norm."),
        ("intermediate.dense.", "ffn.lin1."),
        ("output.dense.", "ffn.lin2."),
        ("output.LayerNorm.", "output_layer_norm."),
    ],
    fields: &[
        ("hidden_size", "dim"),
        ("num_hidden_layers", "n_layers"),
        ("num_attention_heads", "n_heads"),
        ("intermediate_size", "hidden_dim"),
        ("hidden_dropout_prob", "dropout"),
        ("attention_probs_dropout_prob", "attention_dropout"),
        ("classifier_dropout", "seq_classif_dropout"),
        ("answer_dropout", "qa_dropout"),
    ],
    read,
    head: Some(HeadNames {
        dense: "pre_classifier",
        answers: "classifier",
        norm: "",
        pretrained: false,
    }),
};

#[derive(Deserialize)]
struct Fields {
    vocab_size: usize,
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    hidden_dim: usize,
    max_position_embeddings: usize,
    #[serde(default)]
    activation: Activation,
    #[serde(default = "tenth")]
    dropout: f64,
    #[serde(default = "tenth")]
    attention_dropout: f64,
    #[serde(default = "fifth")]
    seq_classif_dropout: f64,
    #[serde(default = "tenth")]
    qa_dropout: f64,
    #[serde(default = "fiftieth")]
    initializer_range: f64,
    #[serde(default, deserialize_with = "given")]
    pad_token_id: Option<Option<u32>>,
}

fn fifth() -> f64 {
    0.2
}

fn read(path: &Path, bytes: &[u8]) -> Result<EncoderConfig, ModelError> {
    let fields: Fields = parsed(path, bytes)?;
    Ok(EncoderConfig {
        family: Family::DistilBert,
        vocab_size: fields.vocab_size,
        embedding_size: fields.dim,
        projects: false,
        hidden_size: fields.dim,
        layers: Sharing::none(fields.n_layers),
        num_attention_heads: fields.n_heads,
        intermediate_size: fields.hidden_dim,
        hidden_act: fields.activation,
        hidden_dropout_prob: fields.dropout,
        output_dropout: fields.dropout,
        attention_probs_dropout_prob: fields.attention_dropout,
        classifier_dropout: Some(fields.seq_classif_dropout),
        token_dropout: Some(fields.dropout),
        answer_dropout: fields.qa_dropout,
        max_position_embeddings: fields.max_position_embeddings,
        first_position: 0,
        type_vocab_size: 0,
        initializer_range: fields.initializer_range,
        layer_norm_eps: 1e-12,
        pad_token_id: fields.pad_token_id.unwrap_or(Some(0)),
        is_decoder: false,
        own: Own::Bert,
        dense: Some(DenseHead::of(Activation::Relu)),
        read: Default::default(),
    })
}
