//! DeBERTa v2 and v3 (He et al., arXiv:2006.03654 and arXiv:2111.09543): distances have embeddings of their own, and the
//! pooler is the head's.
//!
//! Reference: `transformers/models/deberta_v2`.

use std::path::Path;

use super::super::ModelError;
use super::super::config::{Before, DenseHead, EncoderConfig, Own, Sharing};
use super::super::deberta::DebertaConfig;
use super::bert::BERT;
use super::{Description, Family, HeadNames};

pub(super) const DEBERTA: Description = Description {
    model_type: "deberta-v2",
    class: "DebertaV2",
    prefix: "deberta",
    roots: &["embeddings.", "encoder."],
    fields: &[("classifier_dropout", "cls_dropout")],
    read,
    head: Some(HeadNames {
        dense: "pooler.dense",
        answers: "classifier",
        norm: "",
        pretrained: false,
    }),
    ..BERT
};

fn read(path: &Path, bytes: &[u8]) -> Result<EncoderConfig, ModelError> {
    let own = DebertaConfig::parse(path, bytes)?;
    Ok(EncoderConfig {
        family: Family::Deberta,
        vocab_size: own.vocab_size,
        embedding_size: own.embedding_size.unwrap_or(own.hidden_size),
        projects: own
            .embedding_size
            .is_some_and(|size| size != own.hidden_size),
        hidden_size: own.hidden_size,
        layers: Sharing::none(own.num_hidden_layers),
        num_attention_heads: own.num_attention_heads,
        intermediate_size: own.intermediate_size,
        hidden_act: own.hidden_act,
        hidden_dropout_prob: own.hidden_dropout_prob,
        output_dropout: own.hidden_dropout_prob,
        attention_probs_dropout_prob: own.attention_probs_dropout_prob,
        classifier_dropout: own.cls_dropout,
        token_dropout: Some(own.hidden_dropout_prob),
        answer_dropout: 0.0,
        max_position_embeddings: own.max_position_embeddings,
        first_position: 0,
        type_vocab_size: own.type_vocab_size,
        initializer_range: own.initializer_range,
        layer_norm_eps: own.layer_norm_eps,
        pad_token_id: own.pad_token_id,
        is_decoder: false,
        dense: Some(DenseHead {
            before: Before::Other(own.pooler_dropout),
            ..DenseHead::of(own.pooler_hidden_act)
        }),
        own: Own::Deberta(Box::new(own)),
        read: Default::default(),
    })
}
