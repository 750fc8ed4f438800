//! ModernBERT (Warner et al., arXiv:2412.13663): every head has the dense layer and the LayerNorm that the pretrained model
//! predicts words with.
//!
//! Reference: `transformers/models/modernbert`.

use std::path::Path;

use super::super::ModelError;
use super::super::config::{Before, DenseHead, EncoderConfig, HeadNorm, Own, Sharing};
use super::super::modern_bert::{ClassifierPooling, ModernBertConfig};
use super::bert::BERT;
use super::{Description, Family, HeadNames};

pub(super) const MODERN_BERT: Description = Description {
    model_type: "modernbert",
    class: "ModernBert",
    prefix: "model",
    roots: &["embeddings.", "layers.", "final_norm."],
    read,
    head: Some(HeadNames {
        dense: "head.dense",
        answers: "classifier",
        norm: "head.norm",
        pretrained: true,
    }),
    ..BERT
};

fn read(path: &Path, bytes: &[u8]) -> Result<EncoderConfig, ModelError> {
    let own = ModernBertConfig::parse(path, bytes)?;
    Ok(EncoderConfig {
        family: Family::ModernBert,
        vocab_size: own.vocab_size,
        embedding_size: own.hidden_size,
        projects: false,
        hidden_size: own.hidden_size,
        layers: Sharing::none(own.num_hidden_layers),
        num_attention_heads: own.num_attention_heads,
        intermediate_size: own.intermediate_size,
        hidden_act: own.hidden_activation,
        hidden_dropout_prob: own.mlp_dropout,
        output_dropout: own.mlp_dropout,
        attention_probs_dropout_prob: own.attention_dropout,
        classifier_dropout: Some(own.classifier_dropout),
        token_dropout: None,
        answer_dropout: own.classifier_dropout,
        max_position_embeddings: own.max_position_embeddings,
        first_position: 0,
        type_vocab_size: 0,
        initializer_range: own.initializer_range,
        layer_norm_eps: own.norm_eps,
        pad_token_id: own.pad_token_id,
        is_decoder: false,
        dense: Some(DenseHead {
            reads_mean: own.classifier_pooling == ClassifierPooling::Mean,
            over_tokens: true,
            before: Before::None,
            bias: own.classifier_bias,
            activation: own.classifier_activation,
            norm: Some(HeadNorm {
                epsilon: own.norm_eps,
                shifts: own.norm_bias,
            }),
        }),
        own: Own::ModernBert(Box::new(own)),
        read: Default::default(),
    })
}
