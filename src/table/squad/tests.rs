//! SQuAD files as they should be, and as they should not.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn scan(text: &str, skip: bool) -> Result<Raw, TableError> {
    read(Path::new("qa.json"), text, skip)
}

fn question(id: &str, question: &str, answers: Value) -> Value {
    json!({ "id": id, "question": question, "answers": answers })
}

fn of(qas: &[Value]) -> Value {
    let paragraphs = [
        json!({ "context": "Der Café-Gast heißt Süß.", "qas": [] }),
        json!({ "qas": qas, "context": "Die Rhône fließt." }),
    ];
    json!({ "version": "v2.0", "data": [{ "title": "Fluss", "paragraphs": paragraphs }] })
}

fn message(qas: &[Value]) -> String {
    let error = scan(&of(qas).to_string(), false).unwrap_err();
    error.to_string()
}

#[test]
fn questions_are_read_with_their_answers() {
    let answers = json!([
        { "text": "Rhône", "answer_start": 4 },
        { "answer_start": 0, "text": "Die Rhône" },
    ]);
    let mut none = question("b", "Why?", json!([]));
    none["is_impossible"] = true.into();
    none["plausible_answers"] = json!([{ "text": "Die", "answer_start": 77 }]);
    let raw = scan(
        &of(&[question("a", "What?", answers), none]).to_string(),
        false,
    )
    .unwrap();
    assert_eq!(raw.texts().collect::<Vec<_>>(), ["What?", "Why?"]);
    assert_eq!(
        raw.text_pairs().unwrap().collect::<Vec<_>>(),
        ["Die Rhône fließt."; 2]
    );
    assert_eq!(raw.names().unwrap().collect::<Vec<_>>(), ["a", "b"]);
    let answers = raw.answers().unwrap().collect::<Vec<_>>();
    let starts = answers[0].iter().map(|answer| (answer.start, answer.text));
    assert_eq!(starts.collect::<Vec<_>>(), [(4, "Rhône"), (0, "Die Rhône")]);
    assert_eq!(answers[1], []);
    assert_eq!(
        raw.place(1).to_string(),
        "qa.json, line 1, data[0].paragraphs[1].qas[1]"
    );
}

#[test]
fn questions_without_answers_at_all_are_unlabelled() {
    let bare = json!({ "question": "What?" });
    let raw = scan(&of(&[bare]).to_string(), false).unwrap();
    assert!(raw.answers().is_none() && raw.names().is_none());
}

#[test]
fn a_question_has_the_line_of_its_text() {
    let qas = [
        question("a", "W\"[{ät?", json!([])),
        question("b", "Why?", json!([])),
    ];
    let text = serde_json::to_string_pretty(&of(&qas)).unwrap();
    let raw = scan(&text, false).unwrap();
    let place = |question: &str| {
        let line = text.lines().position(|line| line.contains(question));
        let path = format!("data[0].paragraphs[1].qas[{}]", (question == "Why") as u8);
        format!("qa.json, line {}, {path}", line.unwrap() + 1)
    };
    assert_eq!(raw.place(0).to_string(), place("ät?"));
    assert_eq!(raw.place(1).to_string(), place("Why"));
    let [articles, paragraphs, questions] = lines(&text);
    assert_eq!(
        (articles.len(), paragraphs.len(), questions.len()),
        (1, 2, 2)
    );
}

#[test]
fn another_form_is_named_with_the_way_to_it() {
    let fine = || question("a", "What?", json!([{ "text": "Die", "answer_start": 0 }]));
    let changed = |key: &str, value: Value| {
        let mut changed = fine();
        changed["id"] = "b".into();
        changed[key] = value;
        changed
    };
    let without = |key: &str| {
        let mut changed = changed("id", "b".into());
        changed.as_object_mut().unwrap().remove(key);
        changed
    };
    for (second, wanted) in [
        (without("question"), ": no `question`".to_owned()),
        (
            without("id"),
            ": no `id`, unlike the first question".to_owned(),
        ),
        (
            without("answers"),
            ": no `answers`, unlike the first question".to_owned(),
        ),
        (
            changed("question", 3.into()),
            ": `question` is the integer 3 instead of text".to_owned(),
        ),
        (
            changed("id", "".into()),
            ": `id` is text instead of a text that is not empty".to_owned(),
        ),
        (
            changed("answers", json!({})),
            ": `answers` is an object instead of a list".to_owned(),
        ),
        (
            changed("answers", json!(["Die"])),
            ".answers[0]: text instead of an object".to_owned(),
        ),
        (
            changed("answers", json!([{ "text": "Die" }])),
            ".answers[0]: no `answer_start`".to_owned(),
        ),
        (
            changed("is_impossible", true.into()),
            ": `is_impossible`, and still there are answers".to_owned(),
        ),
        (
            changed("answers", json!([{ "text": "fließt", "answer_start": 11 }])),
            ": the answer \"fließt\" should start at character 11, where \"ließt.\" stands"
                .to_owned(),
        ),
        (
            changed("answers", json!([{ "text": "Die", "answer_start": -1 }])),
            ": the answer \"Die\" should start at character -1 of a context of 17 characters"
                .to_owned(),
        ),
        (json!(null), ": nothing instead of an object".to_owned()),
    ] {
        let place = "qa.json, line 1, data[0].paragraphs[1].qas[1]";
        assert_eq!(message(&[fine(), second]), format!("{place}{wanted}"));
    }
    let mut open = question("a", "What?", json!([]));
    open["is_impossible"] = false.into();
    assert!(message(&[open]).ends_with("no answers, and still not `is_impossible`"));
    for (text, wanted) in [
        ("[]", "qa.json, line 1: a list instead of an object"),
        ("{}", "qa.json, line 1: no `data`"),
        (
            "{\"data\": {}}",
            "qa.json, line 1: `data` is an object instead of a list",
        ),
        (
            "{\"data\":\n[{}]}",
            "qa.json, line 2, data[0]: no `paragraphs`",
        ),
        (
            "{\"data\": [{\"paragraphs\":\n[\n{\"qas\": []}]}]}",
            "qa.json, line 3, data[0].paragraphs[0]: no `context`",
        ),
        ("{\"data\": []}", "qa.json is empty"),
        (
            "{\"data\":\n[}",
            "qa.json, line 2: not JSON: expected value",
        ),
        (
            "{\"data\": [],\n\"data\": []}",
            "qa.json, line 2: not JSON: the key `data` stands twice",
        ),
    ] {
        assert_eq!(scan(text, false).unwrap_err().to_string(), wanted);
    }
    let deep = format!("{{\"data\":\n{}", "[".repeat(100_000));
    let error = scan(&deep, false).unwrap_err().to_string();
    assert_eq!(error, "qa.json, line 2: nested deeper than questions are");
}

#[test]
fn misplaced_answers_can_be_left_out() {
    let at = |id: &str, start: i64| {
        question(
            id,
            "What?",
            json!([{ "text": "Rhône", "answer_start": start }]),
        )
    };
    let text = of(&[at("a", 3), at("b", 4), at("c", 5)]).to_string();
    let raw = scan(&text, true).unwrap();
    assert_eq!(raw.names().unwrap().collect::<Vec<_>>(), ["b"]);
    assert_eq!(raw.numbers().collect::<Vec<_>>(), [1]);
    assert_eq!(raw.left_out(), 2);
}

proptest! {
    #[test]
    fn no_json_makes_it_panic(text in "(\\{\"(data|qas|paragraphs)\": ?|[\\[\\]{}\",:\n]|null|\"a\"){0,30}") {
        let _ = (scan(&text, true), lines(&text));
    }
}
