//! What a cell of each column may hold, and how its errors read.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::table::raw::Kind;
use crate::table::shape::Places;

fn found(name: &str, number: usize) -> Found {
    Found {
        number,
        shown: format!("`{name}`"),
    }
}

/// One row of the given JSON values.
fn read(rows: Rows<Found>, cells: &[&str]) -> Result<Raw, TableError> {
    let wanted = Wanted {
        rows,
        keep: Vec::new(),
        id: None,
        condition: None,
        group: None,
        time: None,
        optional: false,
        of_text: false,
    };
    let raw = Raw::empty(
        Path::new("a.jsonl"),
        Kind::Texts,
        Places::Lines { first: 1 },
    );
    let cell = |_, found: &Found| Ok(serde_json::from_str(cells[found.number]).unwrap());
    gather(raw, 1, &wanted, false, cell)
}

fn labels(cell: &str, separator: &str) -> Result<Vec<String>, TableError> {
    let rows = Rows::Texts {
        text: found("text", 0),
        text_pair: None,
        gold: Some(Gold::Labels {
            column: found("labels", 1),
            separator: separator.to_owned(),
        }),
    };
    let raw = read(rows, &["\"x\"", cell])?;
    let row = raw.label_lists().unwrap().next().unwrap();
    Ok(row.into_iter().map(str::to_owned).collect())
}

#[test]
fn labels_are_a_list_or_text_with_separators() {
    assert_eq!(
        labels(r#"["a", "b c", 3]"#, ",").unwrap(),
        ["a", "b c", "3"]
    );
    assert_eq!(labels(r#"" a ,b c""#, ",").unwrap(), ["a", "b c"]);
    assert_eq!(labels(r#""a,b; \"q\"""#, ";").unwrap(), ["a,b", "\"q\""]);
    assert_eq!(labels("7", ",").unwrap(), ["7"]);
    for empty in ["[]", "\"\"", "\"  \""] {
        assert_eq!(labels(empty, ",").unwrap(), Vec::<String>::new());
    }
}

#[test]
fn labels_that_are_none_have_a_place() {
    let said = |cell: &str| labels(cell, ",").unwrap_err().to_string();
    assert_eq!(
        said("\"a,,b\""),
        "a.jsonl, line 1, column `labels`: an empty label beside a separator"
    );
    assert_eq!(
        said("[\"a\", null]"),
        "a.jsonl, line 1, column `labels`, item 2: no value"
    );
    assert_eq!(
        said("[1.5]"),
        "a.jsonl, line 1, column `labels`, item 1: the label 1.5 is not a whole number"
    );
    assert_eq!(
        said("[[\"a\"]]"),
        "a.jsonl, line 1, column `labels`, item 1: a list instead of a label"
    );
    assert_eq!(
        said("{}"),
        "a.jsonl, line 1, column `labels`: an object instead of labels"
    );
    assert_eq!(said("null"), "a.jsonl, line 1, column `labels`: no value");
}

fn target(cell: &str) -> Result<f64, String> {
    let rows = Rows::Texts {
        text: found("text", 0),
        text_pair: None,
        gold: Some(Gold::Target(vec![found("score", 1)])),
    };
    let raw = read(rows, &["\"x\"", cell]).map_err(|error| error.to_string())?;
    Ok(raw.targets().unwrap()[0][0])
}

#[test]
fn targets_are_finite_numbers() {
    assert_eq!(target("3").unwrap(), 3.0);
    assert_eq!(target("-2.5e-3").unwrap(), -2.5e-3);
    assert_eq!(target("\"1e-3\"").unwrap(), 1e-3);
    for (cell, wanted) in [
        ("\"\"", "no value"),
        ("null", "no value"),
        ("\" 1\"", "` 1` is not a number"),
        ("\"1,5\"", "`1,5` is not a number"),
        ("\"inf\"", "inf is not finite"),
        ("\"NaN\"", "NaN is not finite"),
        ("\"1e999\"", "inf is not finite"),
        ("true", "true instead of a number"),
        ("[1]", "a list instead of a number"),
    ] {
        let place = "a.jsonl, line 1, column `score`: ";
        assert_eq!(target(cell).unwrap_err(), format!("{place}{wanted}"));
    }
}

fn tagged(tokens: &str, tags: &str) -> Result<Raw, String> {
    let rows = Rows::Words {
        tokens: found("tokens", 0),
        tags: Some(found("tags", 1)),
    };
    read(rows, &[tokens, tags]).map_err(|error| error.to_string())
}

#[test]
fn every_token_has_a_tag() {
    let raw = tagged(r#"["Die", "", "Rhône"]"#, r#"["O", 3, "B-LOC"]"#).unwrap();
    assert_eq!(raw.texts().next(), Some("Die  Rhône"));
    assert_eq!(raw.tags().unwrap().next().unwrap(), ["O", "3", "B-LOC"]);
    for (tokens, tags, wanted) in [
        ("[\"a\", \"b\"]", "[\"O\"]", ": 2 tokens, but 1 tag"),
        ("[]", "[\"O\"]", ": 0 tokens, but 1 tag"),
        ("[]", "[]", ": a sentence without tokens"),
        ("null", "[\"O\"]", ", column `tokens`: no value"),
        ("[\"a\"]", "null", ", column `tags`: no value"),
        ("[null]", "[\"O\"]", ", column `tokens`, item 1: no value"),
        ("[\"a\"]", "[\"\"]", ", column `tags`, item 1: no value"),
        (
            "\"a\"",
            "[\"O\"]",
            ", column `tokens`: text instead of a list of tokens",
        ),
        (
            "[7]",
            "[\"O\"]",
            ", column `tokens`, item 1: the integer 7 instead of a token",
        ),
    ] {
        let said = tagged(tokens, tags).unwrap_err();
        assert_eq!(said, format!("a.jsonl, line 1{wanted}"));
    }
}

fn answered(answers: &str) -> Result<Vec<(u32, String)>, String> {
    let rows = Rows::Questions {
        question: found("question", 0),
        context: found("context", 1),
        answers: Some(found("answers", 2)),
    };
    let raw = read(rows, &["\"Where?\"", "\"im Café Süd\"", answers]);
    let raw = raw.map_err(|error| error.to_string())?;
    let row = raw.answers().unwrap().next().unwrap();
    let own = |answer: Answer<&str>| (answer.start, answer.text.to_owned());
    Ok(row.into_iter().map(own).collect())
}

#[test]
fn answers_are_lists_in_an_object_or_objects_in_a_list() {
    let both = [(3, "Café".to_owned()), (8, "Süd".to_owned())];
    let lists = r#"{"text": ["Café", "Süd"], "answer_start": [3, 8]}"#;
    let objects =
        r#"[{"text": "Café", "answer_start": 3}, {"answer_start": 8, "text": "Süd", "id": 1}]"#;
    assert_eq!(answered(lists).unwrap(), both);
    assert_eq!(answered(objects).unwrap(), both);
    for none in ["[]", r#"{"text": [], "answer_start": []}"#] {
        assert_eq!(answered(none).unwrap(), []);
    }
}

#[test]
fn answers_that_are_none_have_a_place() {
    for (answers, wanted) in [
        ("null", ", column `answers`: no value"),
        ("\"Café\"", ", column `answers`: text instead of answers"),
        (
            r#"{"text": ["Café"]}"#,
            ", column `answers`: an object without `answer_start` instead of answers",
        ),
        (
            r#"{"text": ["Café"], "answer_start": [3, 4]}"#,
            ": 1 text of answers, but 2 starts",
        ),
        (
            r#"{"text": [null], "answer_start": [3]}"#,
            ", column `answers`, field `text`: no value",
        ),
        (
            r#"[{"text": "Café", "answer_start": 3.5}]"#,
            ", column `answers`, field `answer_start`: the number 3.5 instead of an integer",
        ),
        (
            "[3]",
            ", column `answers`, item 1: the integer 3 instead of an answer",
        ),
        (
            r#"[{"text": "Süd", "answer_start": 9}]"#,
            ": the answer \"Süd\" should start at character 9 of a context of 11 characters",
        ),
        (
            r#"[{"text": "Sü", "answer_start": 9}]"#,
            ": the answer \"Sü\" should start at character 9, where \"üd\" stands",
        ),
    ] {
        let said = answered(answers).unwrap_err();
        assert_eq!(said, format!("a.jsonl, line 1{wanted}"));
    }
}

proptest! {
    #[test]
    fn no_value_makes_a_column_panic(value in "[\\[\\]{}\",:0-9a-e ]{0,30}") {
        if serde_json::from_str::<serde_json::Value>(&value).is_ok() {
            let _ = (labels(&value, ","), target(&value), tagged(&value, &value));
            let _ = answered(&value);
        }
    }
}
