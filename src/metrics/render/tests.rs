//! Tests of rendered scores: what is shown, what is left out, and that nothing breaks it.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::super::{Scheme, answers, classification, entities, multi_label, regression};
use super::*;

fn scores(classes: u32) -> Value {
    let names: Vec<String> = (0..classes).map(|class| format!("label {class}")).collect();
    let labels: Vec<u32> = (0..1200).map(|row| row % classes).collect();
    let predicted: Vec<u32> = labels
        .iter()
        .enumerate()
        .map(|(row, label)| if row % 7 == 0 { 1 } else { *label })
        .collect();
    let scored = classification(&labels, &predicted, &names);
    let mut scores = scored.flat(0.25);
    scores.extend(
        serde_json::to_value(&scored)
            .unwrap()
            .as_object()
            .unwrap()
            .clone(),
    );
    scores.insert("rows".to_owned(), 1200.into());
    scores.insert("split".to_owned(), "test".into());
    Value::Object(scores)
}

#[test]
fn few_classes_show_the_whole_matrix() {
    let text = render(&scores(3));
    assert!(text.starts_with("accuracy 0.90"), "{text}");
    assert!(text.contains("(test, 1,200 rows)"), "{text}");
    assert!(text.contains("true \\ predicted"), "{text}");
    assert!(!text.contains("most confused"), "{text}");
}

#[test]
fn many_classes_show_the_weakest_and_the_most_confused() {
    let text = render(&scores(40));
    assert!(
        text.contains("the 15 of 40 labels with the lowest F1"),
        "{text}"
    );
    assert!(text.contains("most confused"), "{text}");
    assert!(text.lines().count() < 45, "{text}");
}

fn whole(mut flat: Map<String, Value>, details: Map<String, Value>) -> Value {
    flat.extend(details);
    flat.insert("rows".to_owned(), 2.into());
    Value::Object(flat)
}

#[test]
fn several_labels_show_their_thresholds_and_all_means() {
    let names = ["joy".to_owned(), "anger".to_owned()];
    let scored = multi_label(
        &[vec![0], vec![1]],
        &[vec![0], vec![0]],
        &[vec![0.9, 0.1], vec![0.8, 0.2]],
        &names,
    );
    let mut scores = whole(scored.flat(0.5), scored.details());
    let text = render(&scores);
    assert!(text.starts_with("subset_accuracy 0.5000"), "{text}");
    assert!(
        text.contains("(samples)") && !text.contains("threshold"),
        "{text}"
    );
    scores["per_label"][0]["threshold"] = 0.35.into();
    let text = render(&scores);
    assert!(
        text.contains("threshold") && text.contains("0.3500"),
        "{text}"
    );
}

#[test]
fn entities_show_types_and_errors() {
    let scored = entities(
        &[vec!["B-PER", "O"], vec!["B-LOC", "I-LOC"]],
        &[vec!["B-PER", "O"], vec!["B-LOC", "O"]],
        Some(Scheme::Bio),
    );
    let text = render(&whole(scored.flat(0.5), scored.details()));
    assert!(text.starts_with("f1 0.5000"), "{text}");
    for part in ["strict_f1", "PER", "(all)", "wrong bounds", "spurious"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn tags_of_no_scheme_show_what_was_taken_for_what() {
    let scored = entities(&[vec!["DT", "NN"]], &[vec!["DT", "DT"]], None);
    let text = render(&whole(scored.flat(0.5), scored.details()));
    assert!(text.starts_with("accuracy 0.5000"), "{text}");
    assert!(
        text.contains("true \\ predicted") && text.contains("words"),
        "{text}"
    );
    assert!(!text.contains("spurious"), "{text}");
}

#[test]
fn answers_show_both_kinds_of_question_and_the_best_threshold() {
    let golds = [vec!["cat"], vec![]];
    let scored = answers(&golds, &["cat", "dog"], Some(&[0.1, 0.9]));
    let text = render(&whole(scored.flat(0.5), scored.details()));
    assert!(text.starts_with("exact_match 0.5000   f1 0.5000"), "{text}");
    assert!(text.contains("with an answer"), "{text}");
    assert!(
        text.contains("best f1 1.0000, at a no-answer threshold of 0.1000"),
        "{text}"
    );
}

#[test]
fn several_targets_have_a_line_each_and_one_has_none() {
    let rows = [vec![1.0, 2e-9], vec![2.0, 1e-9]];
    let other = [vec![1.0, 3e-9], vec![1.5, 1e-9]];
    let names = ["stars".to_owned(), "price".to_owned()];
    let scored = regression(&rows, &other, &names);
    let text = render(&whole(scored.flat(0.5), scored.details()));
    assert!(
        text.contains("stars") && text.contains("(mean)") && text.contains("e-"),
        "{text}"
    );
    let scored = regression(&rows, &other, &names[..1]);
    let text = render(&whole(scored.flat(0.5), scored.details()));
    assert!(!text.contains("stars"), "{text}");
}

#[test]
fn a_label_cannot_steer_the_terminal() {
    let text = render(&json!({
        "split": "\u{1b}[2J",
        "per_class": [{"label": "\u{1b}[31mred\nline", "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}],
    }));
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.contains("\\nline"), "{text}");
}

#[test]
fn any_json_is_rendered() {
    for odd in [
        json!(null),
        json!([1]),
        json!({"per_class": 3}),
        json!({"labels": ["a"], "confusion_matrix": [[1, 2], "x"]}),
        json!({"loss": null}),
        json!({"types": [1], "errors": 2}),
        json!({"types": {"A": 1, "B": {"f1": "x"}}, "errors": {"missed": -1}}),
        json!({"per_label": [{"threshold": []}, 7]}),
        json!({"targets": [1, {"target": 2, "mse": null}], "mse": "x"}),
        json!({"has_answer": "x", "no_answer": 3, "best_f1": {}, "best_f1_threshold": []}),
    ] {
        render(&odd);
    }
}

#[test]
fn numbers_are_grouped_by_thousands() {
    assert_eq!(
        [grouped(7), grouped(999), grouped(1000), grouped(1_234_567)],
        ["7", "999", "1,000", "1,234,567"]
    );
}

/// Values of every type under the names that are looked for, a few levels deep.
fn json() -> impl Strategy<Value = Value> {
    const NAMES: [&str; 22] = [
        "per_class",
        "per_label",
        "types",
        "errors",
        "targets",
        "has_answer",
        "no_answer",
        "labels",
        "confusion_matrix",
        "label",
        "target",
        "f1",
        "precision",
        "support",
        "threshold",
        "missed",
        "r2",
        "mse",
        "best_f1",
        "best_f1_threshold",
        "split",
        "rows",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let named = (prop::sample::select(NAMES.to_vec()), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            prop::collection::vec(named, 0..6).prop_map(|fields| {
                let fields = fields.into_iter();
                Value::Object(
                    fields
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_json_is_rendered_without_fault(scores in json()) {
        let text = render(&scores);
        prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{:?}", text);
    }
}
