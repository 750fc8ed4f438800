//! The stage's settings; its work is tested with the whole program.

use serde_json::json;

use super::*;

fn pretrain(settings: Value) -> Pretrain {
    serde_json::from_value(settings).unwrap()
}

fn fields(stage: &Pretrain) -> Vec<String> {
    stage.check().into_iter().map(|fault| fault.field).collect()
}

#[test]
fn settings_left_out_have_the_documented_defaults_and_stay_out_of_the_json() {
    let stage = pretrain(json!({ "input": "tokens", "encoder": "models/bert" }));
    assert_eq!(stage.stated().length(), crate::learn::Length::Epochs(1));
    assert_eq!(stage.masking.rate, 0.15);
    assert_eq!(stage.settings().get("masking"), None);
    assert_eq!(fields(&stage), [""; 0]);
    let stated = json!({
        "input": "tokens", "encoder": "models/bert",
        "masking": { "rate": 0.15, "mask": 0.8, "random": 0.1, "whole_words": false },
        "early_stopping": { "patience": 2, "metric": "loss" },
        "optimizer": { "weight_decay": 0.01 }, "evaluate_every": { "epochs": 1 },
    });
    let unstated = json!({
        "input": "tokens", "encoder": "models/bert", "early_stopping": { "patience": 2 },
    });
    assert_eq!(pretrain(stated).settings(), pretrain(unstated).settings());
}

#[test]
fn faults_stand_at_their_fields() {
    let cases = [
        (json!({ "input": "t" }), ""),
        (
            json!({ "input": "t", "encoder": "a", "encoder_stage": "b" }),
            "encoder_stage",
        ),
        (
            json!({ "input": "t", "scratch": { "layers": 1, "hidden": 15, "heads": 2 } }),
            "scratch.heads",
        ),
        (
            json!({ "input": "t", "encoder": "a", "masking": { "mask": 0.8, "random": 0.3 } }),
            "masking",
        ),
        (
            json!({ "input": "t", "encoder": "a", "cooccurrence": {} }),
            "cooccurrence",
        ),
        (
            json!({ "input": "t", "encoder": "a", "freeze": { "encoder": true } }),
            "freeze.encoder",
        ),
        (
            json!({ "input": "t", "encoder": "a", "early_stopping": { "patience": 1, "metric": "f1_macro" } }),
            "early_stopping.metric",
        ),
        (
            json!({ "input": "t", "encoder": "a", "epochs": 1, "max_steps": 1 }),
            "max_steps",
        ),
        (
            json!({ "input": "t", "encoder": "a", "optimizer": { "momentum": 0.9 } }),
            "optimizer.momentum",
        ),
    ];
    for (settings, field) in cases {
        assert_eq!(fields(&pretrain(settings.clone())), [field], "{settings}");
    }
}
