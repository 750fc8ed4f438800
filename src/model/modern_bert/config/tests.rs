//! What a ModernBERT `config.json` may say, as transformers 4 and 5 write it.

use super::LayerType::{Full, Sliding};
use super::*;

const GOOD: &str = r#"{"model_type": "modernbert", "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 5,
    "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 8192, "use": null}"#;

fn with(field: &str) -> Result<ModernBertConfig, ModelError> {
    let text = GOOD.replace(r#""use": null"#, field);
    ModernBertConfig::parse(Path::new("config.json"), text.as_bytes())
}

fn thetas(config: &ModernBertConfig) -> [f64; 2] {
    [Full, Sliding].map(|of| config.theta(of))
}

fn types(config: &ModernBertConfig) -> Vec<LayerType> {
    (0..5).map(|number| config.layer_type(number)).collect()
}

#[test]
fn defaults_are_those_of_transformers() {
    let config = with(r#""use": null"#).unwrap();
    assert_eq!((config.norm_eps, config.local_attention), (1e-5, 128));
    assert_eq!(thetas(&config), [160_000.0, 10_000.0]);
    assert_eq!(types(&config), [Full, Sliding, Sliding, Full, Sliding]);
    assert_eq!(config.max_length(), 8192);
}

#[test]
fn old_and_new_files_say_the_same_in_their_own_fields() {
    let old =
        r#""global_attn_every_n_layers": 2, "global_rope_theta": 500, "local_rope_theta": 50.0"#;
    let old = with(old).unwrap();
    assert_eq!(types(&old), [Full, Sliding, Full, Sliding, Full]);
    assert_eq!(thetas(&old), [500.0, 50.0]);
    let new = r#""layer_types": ["sliding_attention", "sliding_attention", "full_attention", "full_attention",
        "full_attention"], "global_rope_theta": 1, "rope_parameters": {"full_attention": {"rope_theta": 500.0,
        "rope_type": "default"}, "sliding_attention": {"rope_theta": 50.0}}"#;
    let new = with(new).unwrap();
    assert_eq!(types(&new), [Sliding, Sliding, Full, Full, Full]);
    assert_eq!(thetas(&new), [500.0, 50.0]);
    let one = with(r#""local_rope_theta": null, "global_rope_theta": 500.0"#).unwrap();
    assert_eq!(thetas(&one), [500.0, 500.0]);
}

#[test]
fn what_no_encoder_here_computes_is_refused_with_the_reason() {
    for (field, reason) in [
        (
            r#""global_attn_every_n_layers": 0"#,
            "global_attn_every_n_layers is 0",
        ),
        (
            r#""layer_types": ["full_attention"]"#,
            "layer_types is of length 1, wanted one for each of the 5 layers",
        ),
        (r#""layer_types": ["full"]"#, "unknown variant `full`"),
        (r#""rope_scaling": {"type": "yarn"}"#, "rope_scaling"),
        (
            r#""rope_parameters": {"full_attention": {"type": "linear", "factor": 2}}"#,
            "rope_type is linear",
        ),
        (r#""local_rope_theta": 0"#, "rope_theta is 0"),
        (r#""hidden_activation": "silu""#, "unknown variant `silu`"),
        (r#""classifier_pooling": "max""#, "unknown variant `max`"),
        (r#""attention_dropout": 1"#, "below 1"),
        (r#""norm_eps": -1"#, "norm_eps"),
    ] {
        let error = with(field).unwrap_err().to_string();
        assert!(error.contains(reason), "{field}\n{error}");
        assert!(error.contains("config.json"), "{error}");
    }
    let odd = GOOD.replace(r#""num_attention_heads": 2"#, r#""num_attention_heads": 8"#);
    let error = ModernBertConfig::parse(Path::new("config.json"), odd.as_bytes()).unwrap_err();
    assert!(
        error.to_string().contains("half the hidden size"),
        "{error}"
    );
}
