//! What families promise of their files.

use std::path::Path;

use super::*;
use crate::model::{Activation, ModelError, check_fits};

fn parsed(text: &str) -> Result<EncoderConfig, ModelError> {
    EncoderConfig::parse(Path::new("config.json"), text.as_bytes())
}

const SIZES: &str = r#""vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 12"#;

const DISTILBERT: &str = r#"{"model_type": "distilbert", "vocab_size": 30, "dim": 8, "n_layers": 4, "n_heads": 2,
    "hidden_dim": 16, "max_position_embeddings": 12, "dropout": 0.3}"#;

fn of(model_type: &str, more: &str) -> String {
    format!(r#"{{"model_type": "{model_type}", {SIZES}{more}}}"#)
}

#[test]
fn every_family_is_found_by_its_model_type_and_no_other_is() {
    for family in Family::ALL {
        assert_eq!(Family::of(family.model_type()), Some(family));
    }
    let error = parsed(&of("gpt2", "")).unwrap_err();
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(error.to_string().contains("gpt2"), "{error}");
    for family in Family::ALL {
        assert!(help.contains(family.model_type()), "{help}");
    }
}

#[test]
fn positions_after_the_padding_token_leave_room_for_fewer_tokens() {
    for model_type in ["roberta", "xlm-roberta"] {
        let config = parsed(&of(model_type, r#", "type_vocab_size": 1"#)).unwrap();
        assert_eq!((config.first_position, config.longest()), (2, 10));
        assert!(check_fits(&config, 30, 10, 1).is_ok());
        let error = check_fits(&config, 30, 11, 1).unwrap_err().to_string();
        assert!(error.contains("11 positions"), "{error}");
        assert!(check_fits(&config, 30, 10, 2).is_err());
    }
    let error = parsed(&of("roberta", r#", "pad_token_id": 11"#)).unwrap_err();
    assert!(error.to_string().contains("more than 12"), "{error}");
    let error = parsed(&of("roberta", r#", "pad_token_id": null"#)).unwrap_err();
    assert!(error.to_string().contains("pad_token_id"), "{error}");
}

#[test]
fn a_family_without_segments_takes_any() {
    let config = parsed(DISTILBERT).unwrap();
    assert_eq!(config.type_vocab_size, 0);
    assert!(check_fits(&config, 30, 12, 2).is_ok());
}

#[test]
fn distilberts_own_names_are_read_and_named_in_faults() {
    let config = parsed(DISTILBERT).unwrap();
    assert_eq!((config.hidden_size, config.layers.layers), (8, 4));
    assert_eq!(config.classifier_dropout, Some(0.2));
    assert_eq!(config.token_dropout, Some(0.3));
    let error = parsed(&DISTILBERT.replace(r#""n_heads": 2"#, r#""n_heads": 3"#)).unwrap_err();
    assert!(error.to_string().contains("n_heads is 3"), "{error}");
    let error = parsed(&DISTILBERT.replace(r#""dim": 8,"#, "")).unwrap_err();
    assert!(error.to_string().contains("`dim`"), "{error}");
}

#[test]
fn alberts_layers_are_the_blocks_of_their_groups() {
    let shared = r#", "embedding_size": 4, "num_hidden_groups": 2, "inner_group_num": 2"#;
    let config = parsed(&of("albert", shared)).unwrap();
    assert_eq!(config.layers.held(), 4);
    assert_eq!(config.layers.order(), [0, 1, 0, 1, 2, 3, 2, 3]);
    assert_eq!(config.hidden_act, Activation::GeluNew);
    let many = parsed(&of("albert", r#", "num_hidden_groups": 5"#)).unwrap_err();
    assert!(many.to_string().contains("num_hidden_groups"), "{many}");
}

#[test]
fn a_task_changes_only_its_fields_of_the_file() {
    let names = ["a", "b"].map(str::to_owned);
    let text = of(
        "roberta",
        r#", "type_vocab_size": 1, "bos_token_id": 7, "torch_dtype": "float16", "id2label": {"0": "x"}"#,
    );
    let config = parsed(&text).unwrap();
    let written = config.for_task(Task::Classification, &names, 0.25);
    assert_eq!(written["bos_token_id"], 7);
    assert_eq!(written["id2label"]["1"], "b");
    assert_eq!(written["classifier_dropout"], 0.25);
    assert_eq!(
        written["architectures"][0],
        "RobertaForSequenceClassification"
    );
    assert!(written.get("torch_dtype").is_none());
    let answers = config.for_task(Task::QuestionAnswering, &[], 0.0);
    assert!(answers.get("id2label").is_none() && answers.get("classifier_dropout").is_none());
    let config = parsed(DISTILBERT).unwrap();
    let texts = config.for_task(Task::MultiLabel, &names, 0.25);
    assert_eq!(texts["seq_classif_dropout"], 0.25);
    let tokens = config.for_task(Task::TokenClassification, &names, 0.25);
    assert_eq!(tokens["dropout"], 0.3);
}
