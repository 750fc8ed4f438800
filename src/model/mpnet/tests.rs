//! What an MPNet `config.json` may say, and the buckets of the reference.

use super::*;

const GOOD: &str = r#"{"model_type": "mpnet", "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 514, "use": null}"#;

fn parsed(text: &str) -> Result<MpNetConfig, ModelError> {
    MpNetConfig::parse(Path::new("config.json"), text.as_bytes())
}

#[test]
fn defaults_are_those_of_transformers_and_two_positions_belong_to_padding() {
    let config = parsed(GOOD).unwrap();
    assert_eq!(
        (config.layer_norm_eps, config.pad_token_id),
        (1e-12, Some(1))
    );
    assert_eq!(config.relative_attention_num_buckets, 32);
    assert_eq!(config.max_length(), 512);
}

#[test]
fn what_no_encoder_has_is_refused_with_the_reason() {
    for (old, new, reason) in [
        (
            "514",
            "2",
            "max_position_embeddings is 2, wanted a whole number from 3",
        ),
        (
            r#""use": null"#,
            r#""relative_attention_num_buckets": 8"#,
            "from 32",
        ),
        (
            r#""num_attention_heads": 2"#,
            r#""num_attention_heads": 3"#,
            "divides",
        ),
        (r#""hidden_size": 8,"#, "", "missing field `hidden_size`"),
        (r#""use": null"#, r#""hidden_dropout_prob": 1"#, "below 1"),
    ] {
        let error = parsed(&GOOD.replace(old, new)).unwrap_err().to_string();
        assert!(error.contains(reason), "{new}\n{error}");
        assert!(error.contains("config.json"), "{error}");
    }
}

#[test]
fn distances_have_the_buckets_of_the_reference() {
    let text = include_str!("../../../tests/fixtures/families/distances.json");
    let wanted: serde_json::Value = serde_json::from_str(text).unwrap();
    let from = wanted["from"].as_i64().unwrap();
    for (distance, wanted) in (from..).zip(wanted["mpnet"].as_array().unwrap()) {
        assert_eq!(Some(bucket(distance) as u64), wanted.as_u64(), "{distance}");
    }
    assert!(bucket(i64::MIN + 1) < BUCKETS && bucket(i64::MAX) < BUCKETS);
}
