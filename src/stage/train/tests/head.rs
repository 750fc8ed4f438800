//! The settings of a head: what is wrong with some, what is left out of the key, and that each does something.

use super::*;

fn fault_fields(more: &[(&str, Value)]) -> Vec<String> {
    let faults = tiny(more).check().into_iter();
    faults.map(|fault| fault.field).collect()
}

#[test]
fn what_a_head_cannot_have_or_says_for_nothing_is_a_fault_at_its_field() {
    let two = json!({ "layers": 2, "hidden": 16, "heads": 2 });
    for (task, head, fields) in [
        ("classification", json!({}), [].as_slice()),
        ("classification", json!({ "hidden_layers": [8] }), &[]),
        (
            "classification",
            json!({ "layers": 2, "pooling": "mean", "combine": "concat" }),
            &[],
        ),
        ("token_classification", json!({ "layers": 2 }), &[]),
        ("classification", json!({ "layers": 2 }), &["head.layers"]),
        (
            "regression",
            json!({ "layers": 3, "pooling": "cls" }),
            &["head.layers"],
        ),
        (
            "question_answering",
            json!({ "layers": 2, "hidden_layers": [8] }),
            &["head.layers", "head.hidden_layers"],
        ),
        (
            "multi_label",
            json!({ "combine": "concat" }),
            &["head.combine"],
        ),
        (
            "classification",
            json!({ "activation": "relu" }),
            &["head.activation"],
        ),
    ] {
        let found = fault_fields(&[
            ("task", json!(task)),
            ("scratch", two.clone()),
            ("head", head.clone()),
        ]);
        assert_eq!(found, fields, "{task}, {head}");
    }
}

#[test]
fn a_head_as_it_is_by_default_is_the_same_stated_or_not() {
    let stated = json!({
        "pooling": "pooler", "hidden_layers": [], "activation": "gelu", "layers": 1, "combine": "mean",
    });
    let bare = tiny(&[("head", json!({}))]).settings();
    assert_eq!(tiny(&[("head", stated)]).settings(), bare);
    assert_eq!(
        bare["head"].as_object().unwrap().len(),
        1,
        "only `pooling` was there before"
    );
}

#[test]
fn each_setting_of_a_head_changes_the_model_that_is_learned() {
    let tokens = tokens(&[("train", 24)], Some(&["good", "bad"]));
    let digest = |head: Value| {
        let two = json!({ "layers": 2, "hidden": 16, "heads": 2, "dropout": 0.0 });
        let stage = tiny(&[("scratch", two), ("head", head), ("epochs", json!(1))]);
        let (draft, _, result) = run(&stage, tokens.path(), false);
        result.unwrap();
        let device = device::choose("flex").unwrap().device;
        let (model, _, info) = model::open(draft.path(), &device).unwrap();
        assert_eq!(model.head.stack(), &info.stack);
        Manifest::of_folder(Kind::Model, draft.path(), &[])
            .unwrap()
            .digest()
    };
    let heads = [
        json!({ "pooling": "mean" }),
        json!({ "pooling": "mean", "hidden_layers": [8] }),
        json!({ "pooling": "mean", "hidden_layers": [8], "activation": "tanh" }),
        json!({ "pooling": "mean", "hidden_layers": [8], "activation": "tanh", "dropout": 0.5 }),
        json!({ "pooling": "mean", "layers": 2 }),
        json!({ "pooling": "mean", "layers": 2, "combine": "concat" }),
    ];
    let digests: std::collections::BTreeSet<String> = heads
        .iter()
        .map(|head| digest(head.clone()).to_string())
        .collect();
    assert_eq!(digests.len(), heads.len());
}
