//! What a DeBERTa `config.json` may say, and the buckets of the reference.

use super::*;

const GOOD: &str = r#"{"model_type": "deberta-v2", "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 512, "use": null}"#;

fn parsed(text: &str) -> Result<DebertaConfig, ModelError> {
    DebertaConfig::parse(Path::new("config.json"), text.as_bytes())
}

fn with(field: &str) -> Result<DebertaConfig, ModelError> {
    parsed(&GOOD.replace(r#""use": null"#, field))
}

#[test]
fn defaults_are_those_of_transformers() {
    let config = parsed(GOOD).unwrap();
    assert_eq!((config.layer_norm_eps, config.type_vocab_size), (1e-7, 0));
    assert!(config.position_biased_input && !config.relative_attention);
    assert_eq!(config.pos_att_type, Terms::default());
    assert_eq!((config.max_length(), config.distances()), (512, None));
}

#[test]
fn the_terms_are_read_from_text_and_from_a_list() {
    let both = Terms {
        c2p: true,
        p2c: true,
    };
    for (written, wanted) in [
        (r#""p2c|c2p""#, both),
        (r#"["c2p", "p2c"]"#, both),
        (r#"" C2P ""#, Terms { p2c: false, ..both }),
        ("[]", Terms::default()),
        ("null", Terms::default()),
    ] {
        let config = with(&format!(r#""pos_att_type": {written}"#)).unwrap();
        assert_eq!(config.pos_att_type, wanted, "{written}");
    }
    let error = with(r#""pos_att_type": 2"#).unwrap_err().to_string();
    assert!(
        error.contains(r#""c2p|p2c", ["c2p", "p2c"] or null"#),
        "{error}"
    );
}

#[test]
fn what_no_encoder_here_computes_is_refused_with_the_reason() {
    for (field, reason) in [
        (r#""pos_att_type": "c2p|p2p""#, "p2p"),
        (
            r#""attention_head_size": 5"#,
            "attention_head_size is 5, wanted 4",
        ),
        (
            r#""pooler_hidden_size": 5"#,
            "pooler_hidden_size is 5, wanted 8",
        ),
        (r#""conv_kernel_size": 4"#, "an odd number"),
        (
            r#""conv_kernel_size": 3, "conv_groups": 2"#,
            "conv_groups is 2",
        ),
        (r#""conv_act": "swish""#, "unknown variant `swish`"),
        (r#""position_buckets": 1"#, "position_buckets is 1"),
        (
            r#""position_buckets": 8, "max_relative_positions": 5"#,
            "max_relative_positions is 5, wanted a number above 5",
        ),
        (r#""hidden_dropout_prob": 1"#, "below 1"),
        (r#""cls_dropout": -1"#, "cls_dropout"),
        (r#""layer_norm_eps": -1"#, "layer_norm_eps"),
        (r#""embedding_size": 99999999999"#, "embedding_size"),
        (
            r#""max_relative_positions": 9223372036854775807"#,
            "max_relative_positions",
        ),
    ] {
        let error = with(field).unwrap_err().to_string();
        assert!(error.contains(reason), "{field}\n{error}");
        assert!(error.contains("config.json"), "{error}");
    }
    let error = parsed(&GOOD.replace(r#""hidden_size": 8,"#, "")).unwrap_err();
    assert!(error.to_string().contains("missing field `hidden_size`"));
}

#[test]
fn far_distances_share_a_bucket_as_in_the_reference() {
    let text = include_str!("../../../../tests/fixtures/families/distances.json");
    let wanted: serde_json::Value = serde_json::from_str(text).unwrap();
    let from = wanted["from"].as_i64().unwrap();
    let cases = wanted["deberta"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let size = |name: &str| case[name].as_u64().unwrap() as usize;
        let rows = case["rows"].as_array().unwrap();
        for (distance, row) in (from..).zip(rows) {
            let (buckets, farthest) = (size("buckets"), size("farthest"));
            let found = log_bucket(distance, buckets, farthest);
            let what = format!("{distance} with {buckets} buckets up to {farthest}");
            assert_eq!(Some(found), row.as_i64(), "{what}");
        }
    }
}

#[test]
fn every_distance_has_an_embedding() {
    for (each, farthest) in [(None, 3), (Some(8), 20), (Some(7), 600), (Some(2), 3)] {
        let buckets = Buckets { each, farthest };
        let rows: Vec<usize> = (-700..=700).map(|distance| buckets.row(distance)).collect();
        assert!(rows.is_sorted() && rows.iter().all(|row| *row < 2 * buckets.span()));
        assert_eq!(buckets.row(0), buckets.span());
        for far in [i64::MIN + 1, i64::MAX] {
            assert!(buckets.row(far) < 2 * buckets.span());
        }
    }
}
