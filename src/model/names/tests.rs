//! Names of tensors, by the checkpoints of transformers.

use super::*;

fn names(family: Family, inner: usize) -> Names {
    let config = crate::model::family::reference::config_of(family);
    Names {
        inner,
        ..Names::of(&config)
    }
}

#[test]
fn paths_become_the_names_of_transformers() {
    let pairs = [
        (
            "encoder.Bert.embeddings.layer_norm.gamma",
            "bert.embeddings.LayerNorm.weight",
        ),
        (
            "encoder.Bert.encoder.layer.0.attention.self_attention.query.weight",
            "bert.encoder.layer.0.attention.self.query.weight",
        ),
        (
            "encoder.Bert.encoder.layer.11.output.layer_norm.beta",
            "bert.encoder.layer.11.output.LayerNorm.bias",
        ),
        ("encoder.Bert.pooler.dense.bias", "bert.pooler.dense.bias"),
        ("head.classifier.weight", "classifier.weight"),
        ("head.qa_outputs.bias", "qa_outputs.bias"),
        ("head.crf.start_transitions", "crf.start_transitions"),
    ];
    for (path, name) in pairs {
        assert_eq!(names(Family::Bert, 1).of_path(path), name);
    }
}

#[test]
fn families_have_words_of_their_own() {
    let query = "encoder.Bert.encoder.layer.3.attention.self_attention.query.weight";
    let norm = "encoder.Bert.encoder.layer.3.output.layer_norm.gamma";
    let pairs = [
        (
            Family::Roberta,
            query,
            "roberta.encoder.layer.3.attention.self.query.weight",
        ),
        (
            Family::DistilBert,
            query,
            "distilbert.transformer.layer.3.attention.q_lin.weight",
        ),
        (
            Family::DistilBert,
            norm,
            "distilbert.transformer.layer.3.output_layer_norm.weight",
        ),
        (
            Family::Albert,
            query,
            "albert.encoder.albert_layer_groups.1.albert_layers.1.attention.query.weight",
        ),
        (
            Family::Albert,
            norm,
            "albert.encoder.albert_layer_groups.1.albert_layers.1.full_layer_layer_norm.weight",
        ),
        (
            Family::Albert,
            "encoder.Bert.embeddings_project.bias",
            "albert.encoder.embedding_hidden_mapping_in.bias",
        ),
        (
            Family::Albert,
            "encoder.Bert.pooler.dense.weight",
            "albert.pooler.weight",
        ),
        (
            Family::XlmRoberta,
            "head.answers.weight",
            "classifier.out_proj.weight",
        ),
        (Family::DistilBert, "head.dense.bias", "pre_classifier.bias"),
    ];
    for (family, path, name) in pairs {
        assert_eq!(names(family, 2).of_path(path), name);
    }
}

#[test]
fn a_checkpoint_of_the_encoder_alone_names_the_same_tensors() {
    for (family, name, whole) in [
        (
            Family::Bert,
            "embeddings.LayerNorm.gamma",
            "bert.embeddings.LayerNorm.weight",
        ),
        (
            Family::XlmRoberta,
            "pooler.dense.bias",
            "roberta.pooler.dense.bias",
        ),
        (
            Family::DistilBert,
            "transformer.layer.0.ffn.lin1.bias",
            "distilbert.transformer.layer.0.ffn.lin1.bias",
        ),
        (
            Family::Electra,
            "embeddings_project.weight",
            "electra.embeddings_project.weight",
        ),
        (
            Family::Electra,
            "discriminator_predictions.dense.bias",
            "discriminator_predictions.dense.bias",
        ),
    ] {
        assert_eq!(canonical(family, name), whole);
        assert_eq!(canonical(family, whole), whole);
    }
}

#[test]
fn encoder_pooler_and_heads_are_told_apart() {
    assert!(belongs(Family::Roberta, "roberta.pooler.dense.bias"));
    assert!(is_pooler(Family::Albert, "albert.pooler.weight"));
    assert!(!is_pooler(Family::Albert, "albert.poolers.weight"));
    assert!(!belongs(Family::Bert, "bertier.embeddings.weight"));
    assert!(is_head(Family::DistilBert, "pre_classifier.weight"));
    assert!(!is_head(Family::Bert, "pre_classifier.weight"));
    assert!(is_head(Family::Electra, "classifier.dense.weight"));
    assert!(is_head(Family::Electra, "crf.transitions"));
}

#[test]
fn only_linear_weights_lie_transposed() {
    for name in [
        "classifier.weight",
        "bert.encoder.layer.0.output.dense.weight",
        "albert.encoder.embedding_hidden_mapping_in.weight",
        "electra.embeddings_project.weight",
    ] {
        assert!(transposed(name), "{name}");
    }
    for name in [
        "bert.embeddings.word_embeddings.weight",
        "classifier.bias",
        "bert.embeddings.LayerNorm.weight",
        "crf.transitions",
    ] {
        assert!(!transposed(name), "{name}");
    }
}

#[test]
fn biases_layer_norms_and_crfs_do_not_decay() {
    assert!(decays("bert.embeddings.word_embeddings.weight") && decays("qa_outputs.weight"));
    for name in [
        "crf.transitions",
        "crf.end_transitions",
        "bert.embeddings.LayerNorm.weight",
        "classifier.bias",
        "distilbert.transformer.layer.0.sa_layer_norm.weight",
        "albert.encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm.weight",
    ] {
        assert!(!decays(name), "{name}");
    }
}
