//! Requests that are read and refused, and responses, as a client sees them.

use super::*;
use crate::serve::model::{Entity, Reply, SpanAnswer};
use axum::http::StatusCode;
use serde_json::json;

fn asked(task: Task, body: serde_json::Value) -> Result<Wanted, Refusal> {
    read(task, body.to_string().as_bytes())
}

fn shown(task: Task, names: &[&str], reply: Reply, shown: Shown) -> serde_json::Value {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let written = written("m", task, &names, &[reply], shown);
    let response: serde_json::Value = serde_json::from_slice(&written).unwrap();
    response["predictions"][0].clone()
}

#[test]
fn one_text_a_pair_and_several_are_read() {
    let task = Task::Classification;
    let wanted = asked(task, json!({ "text": "a", "pair": "b", "top_k": 2.0 })).unwrap();
    assert_eq!(wanted.questions[0].pair.as_deref(), Some("b"));
    assert_eq!(wanted.shown.top_k, Some(2));
    let several = json!({ "texts": ["a", { "text": "b", "pair": "c" }, { "text": "d" }] });
    let wanted = asked(task, several).unwrap();
    let texts: Vec<&str> = wanted.questions.iter().map(|one| &*one.text).collect();
    assert_eq!(texts, ["a", "b", "d"]);
    let question = json!({ "question": "who?", "context": "me" });
    let wanted = asked(Task::QuestionAnswering, question).unwrap();
    assert_eq!(wanted.questions[0].pair.as_deref(), Some("me"));
}

#[test]
fn what_does_not_fit_is_refused_at_its_place() {
    let invalid = [
        (Task::Classification, json!({}), "neither"),
        (
            Task::Classification,
            json!({ "text": "a", "texts": [] }),
            "both",
        ),
        (Task::Classification, json!({ "text": null }), "text: "),
        (Task::Classification, json!({ "text": 7 }), "text: "),
        (
            Task::Classification,
            json!({ "texts": ["a", 7] }),
            "texts[1]: ",
        ),
        (
            Task::Classification,
            json!({ "texts": ["a"], "pair": "b" }),
            "`pair`",
        ),
        (
            Task::Classification,
            json!({ "text": "a", "top_k": 0 }),
            "top_k: ",
        ),
        (
            Task::Classification,
            json!({ "text": "a", "top_k": 1.5 }),
            "top_k: ",
        ),
        (
            Task::Classification,
            json!({ "text": "a", "top_k": -1 }),
            "top_k: ",
        ),
        (
            Task::Classification,
            json!({ "text": "a", "threshold": 0.5 }),
            "threshold",
        ),
        (Task::Classification, json!({ "question": "a" }), "question"),
        (Task::Classification, json!(["a"]), "expected"),
        (
            Task::MultiLabel,
            json!({ "text": "a", "threshold": 1.5 }),
            "`threshold`",
        ),
        (
            Task::TokenClassification,
            json!({ "text": "a", "pair": "b" }),
            "pair",
        ),
        (
            Task::QuestionAnswering,
            json!({ "question": "a" }),
            "`context`",
        ),
        (
            Task::QuestionAnswering,
            json!({ "texts": ["a"] }),
            "texts[0]",
        ),
    ];
    for (task, body, part) in invalid {
        let refused = asked(task, body.clone()).unwrap_err();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(format!("{refused:?}").contains(part), "{body}: {refused:?}");
    }
}

#[test]
fn what_is_no_json_is_another_fault_than_what_does_not_fit() {
    let deep = "[".repeat(100_000);
    for body in [
        "",
        "{",
        "{\"text\": \"a\"} x",
        "{\"text\": \"\\ud800\"}",
        &deep,
    ] {
        let refused = read(Task::Classification, body.as_bytes()).unwrap_err();
        assert!(
            [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY].contains(&refused.status()),
            "{refused:?}"
        );
    }
    let refused = read(Task::Classification, b"{\"text\": \"\xff\"}").unwrap_err();
    assert_eq!(refused.code(), "invalid_utf8");
}

#[test]
fn labels_are_shown_by_probability_and_given_by_threshold() {
    let reply = || Reply::Labels {
        probabilities: vec![0.25, 0.5, 0.25],
        given: vec![1],
    };
    let names = ["a", "b", "c"];
    let top = Shown {
        top_k: Some(2),
        threshold: None,
    };
    assert_eq!(
        shown(Task::Classification, &names, reply(), top),
        json!({ "label": "b", "probability": 0.5, "probabilities": [
            { "label": "b", "probability": 0.5 }, { "label": "a", "probability": 0.25 }] })
    );
    let low = Shown {
        top_k: Some(1),
        threshold: Some(0.25),
    };
    assert_eq!(
        shown(Task::MultiLabel, &names, reply(), low),
        json!({ "labels": ["a", "b", "c"], "probabilities": [{ "label": "b", "probability": 0.5 }] })
    );
    let own = shown(Task::MultiLabel, &names, reply(), Shown::default());
    assert_eq!(own["labels"], json!(["b"]));
}

#[test]
fn no_answer_is_null_and_stays_among_the_answers() {
    let span = |text: &str, end, score| SpanAnswer {
        text: text.to_owned(),
        start: 0,
        end,
        score,
    };
    let answers = Reply::Answers(vec![span("", 0, 0.75), span("me", 2, 0.25)]);
    let found = shown(Task::QuestionAnswering, &[], answers, Shown::default());
    assert_eq!(found["answer"], json!(null));
    assert_eq!(found["answers"][1]["text"], "me");
}

#[test]
fn unsure_entities_can_be_left_out() {
    let entity = |label: &str, score| Entity {
        label: label.to_owned(),
        start: 0,
        end: 3,
        text: "Ann".to_owned(),
        score,
    };
    let reply = Reply::Entities(vec![entity("PER", 0.75), entity("LOC", 0.25)]);
    let sure = Shown {
        top_k: None,
        threshold: Some(0.5),
    };
    assert_eq!(
        shown(Task::TokenClassification, &[], reply, sure),
        json!({ "entities": [{ "label": "PER", "start": 0, "end": 3, "text": "Ann", "score": 0.75 }] })
    );
}
