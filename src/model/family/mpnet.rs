//! MPNet (Song et al., arXiv:2004.09297): RoBERTa's positions and head, no segments, and a bias by distance.
//!
//! Reference: `transformers/models/mpnet`.

use std::path::Path;

use super::super::ModelError;
use super::super::config::{Activation, Before, DenseHead, EncoderConfig, Own, Sharing};
use super::super::mpnet::MpNetConfig;
use super::bert::BERT;
use super::{Description, Family, HeadNames};

pub(super) const MPNET: Description = Description {
    model_type: "mpnet",
    class: "MPNet",
    prefix: "mpnet",
    fields: &[("classifier_dropout", "hidden_dropout_prob")],
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
    let own = MpNetConfig::parse(path, bytes)?;
    Ok(EncoderConfig {
        family: Family::MpNet,
        vocab_size: own.vocab_size,
        embedding_size: own.hidden_size,
        projects: false,
        hidden_size: own.hidden_size,
        layers: Sharing::none(own.num_hidden_layers),
        num_attention_heads: own.num_attention_heads,
        intermediate_size: own.intermediate_size,
        hidden_act: own.hidden_act,
        hidden_dropout_prob: own.hidden_dropout_prob,
        output_dropout: own.hidden_dropout_prob,
        attention_probs_dropout_prob: own.attention_probs_dropout_prob,
        classifier_dropout: None,
        token_dropout: None,
        answer_dropout: 0.0,
        max_position_embeddings: own.max_position_embeddings,
        first_position: own.max_position_embeddings - own.max_length(),
        type_vocab_size: 0,
        initializer_range: own.initializer_range,
        layer_norm_eps: own.layer_norm_eps,
        pad_token_id: own.pad_token_id,
        is_decoder: false,
        dense: Some(DenseHead {
            before: Before::Same,
            ..DenseHead::of(Activation::Tanh)
        }),
        own: Own::MpNet(Box::new(own)),
        read: Default::default(),
    })
}
