//! Which columns go together, what they stand for, and how they are written.

use serde_json::{Value, json};

use super::*;

fn columns(settings: Value) -> Columns {
    serde_json::from_value(settings).unwrap()
}

fn faults(settings: Value) -> Vec<String> {
    let faults = columns(settings).faults(None).into_iter();
    faults.map(|fault| fault.field).collect()
}

#[test]
fn the_first_task_needs_no_columns_and_the_others_take_its_defaults_away() {
    let rows = |settings: Value| columns(settings).rows(Format::Jsonl, ",");
    let name = |name: &str| Column::Name(name.to_owned());
    let texts = |gold| Rows::Texts {
        text: name("text"),
        text_pair: None,
        gold,
    };
    assert_eq!(rows(json!({})), texts(Some(Gold::Label(name("label")))));
    assert_eq!(rows(json!({ "label": "" })), texts(None));
    let labels = Gold::Labels {
        column: name("topics"),
        separator: ",".to_owned(),
    };
    assert_eq!(rows(json!({ "labels": "topics" })), texts(Some(labels)));
    let target = Gold::Target(vec![name("a"), Column::Number(3)]);
    assert_eq!(rows(json!({ "target": ["a", 3] })), texts(Some(target)));
    assert_eq!(
        rows(json!({ "tokens": "words" })),
        Rows::Words {
            tokens: name("words"),
            tags: None
        }
    );
    assert_eq!(
        rows(json!({ "question": "q", "context": 1, "answers": "a" })),
        Rows::Questions {
            question: name("q"),
            context: Column::Number(1),
            answers: Some(name("a"))
        }
    );
}

#[test]
fn columns_of_two_tasks_are_faults() {
    assert_eq!(
        faults(json!({ "label": "a", "labels": "b" })),
        ["columns.labels"]
    );
    assert_eq!(
        faults(json!({ "labels": "a", "target": "b" })),
        ["columns.target"]
    );
    assert_eq!(faults(json!({ "label": "", "labels": "b" })), [""; 0]);
    assert_eq!(
        faults(json!({ "text": "a", "tokens": "b" })),
        ["columns.text"]
    );
    assert_eq!(
        faults(json!({ "tokens": "a", "tags": "b", "label": "c", "answers": "d" })),
        ["columns.label", "columns.answers"]
    );
    assert_eq!(
        faults(json!({ "question": "q", "context": "c", "text_pair": "t", "id": "i" })),
        ["columns.text_pair"]
    );
}

#[test]
fn columns_that_need_others_are_faults_without_them() {
    assert_eq!(faults(json!({ "tags": "a" })), ["columns.tags"]);
    assert_eq!(faults(json!({ "question": "a" })), ["columns.question"]);
    assert_eq!(faults(json!({ "context": "a" })), ["columns.context"]);
    assert_eq!(
        faults(json!({ "answers": "a", "context": "b" })),
        ["columns.context", "columns.answers"]
    );
}

#[test]
fn a_column_is_named_once() {
    assert_eq!(faults(json!({ "labels": "text" })), ["columns.labels"]);
    assert_eq!(
        faults(json!({ "target": ["a", "b", "a"] })),
        ["columns.target"]
    );
    assert_eq!(faults(json!({ "target": [] })), ["columns.target"]);
    assert_eq!(
        faults(json!({ "tokens": "a", "tags": "a", "id": "a" })),
        ["columns.tags", "columns.id"]
    );
    assert_eq!(
        faults(json!({ "text": "", "labels": "", "id": "" })),
        ["columns.text", "columns.labels", "columns.id"]
    );
    assert_eq!(
        faults(json!({ "question": "text", "context": "label" })),
        [""; 0]
    );
}

#[test]
fn formats_with_a_form_of_their_own_take_no_columns() {
    let faults = |settings: Value, format| {
        let faults = columns(settings).faults(Some(format)).into_iter();
        faults.map(|fault| fault.field).collect::<Vec<_>>()
    };
    assert_eq!(faults(json!({}), Format::Conll), [""; 0]);
    assert_eq!(faults(json!({ "label": "" }), Format::Squad), [""; 0]);
    assert_eq!(
        faults(json!({ "tokens": "a" }), Format::Conll),
        ["columns.tokens"]
    );
    assert_eq!(faults(json!({ "id": "a" }), Format::Squad), ["columns.id"]);
    let misfit = |settings: Value| columns(settings).misfit(Format::Conll).is_some();
    assert!(misfit(json!({ "text": "a" })) && misfit(json!({ "question": "a", "context": "b" })));
    assert!(!misfit(json!({ "tokens": "a", "tags": "b" })) && !misfit(json!({})));
}

#[test]
fn targets_are_called_by_their_columns() {
    let names = |settings: Value| columns(settings).target_names();
    let strings = |names: &[&str]| Some(names.iter().map(|name| name.to_string()).collect());
    assert_eq!(names(json!({ "target": "score" })), strings(&["score"]));
    assert_eq!(names(json!({ "target": 4 })), strings(&["target"]));
    assert_eq!(names(json!({ "target": [4, "b"] })), strings(&["4", "b"]));
    assert_eq!(names(json!({})), None);
}

#[test]
fn a_target_may_stand_for_a_list_of_one() {
    let written = |settings: Value| serde_json::to_value(columns(settings)).unwrap();
    assert_eq!(
        written(json!({ "target": ["a"] })),
        json!({ "target": "a" })
    );
    assert_eq!(
        written(json!({ "target": ["a", 1] })),
        json!({ "target": ["a", 1] })
    );
    let error = serde_json::from_value::<Columns>(json!({ "target": true }));
    let message = error.unwrap_err().to_string();
    assert!(message.contains("a list of columns"), "{message}");
    assert!(serde_json::from_value::<Columns>(json!({ "target": -1 })).is_err());
}
