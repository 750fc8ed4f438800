//! The printed schema: the same rules as the plain one, and what editors show of it.

use std::path::Path;

use jsonschema::Validator;
use serde_json::json;

use super::super::{schema, text};
use super::*;
use crate::spec::document::parse;

fn printed() -> Value {
    serde_json::from_str(&text()).unwrap()
}

fn validator(schema: &Value) -> Validator {
    jsonschema::draft7::new(schema).unwrap()
}

/// Every spec of the tests that is TOML at all.
fn documents() -> Vec<(String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "pipelines",
        "tests/good_specs",
        "tests/broken_specs",
        "tests/editor_faults",
    ];
    let files = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap());
    let paths = files.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .filter_map(|path| {
            let text = std::fs::read_to_string(&path).ok()?;
            let mut problems = Vec::new();
            let node = parse(&text, 0, &mut problems);
            let name = path.display().to_string();
            problems.is_empty().then(|| (name, node.to_json()))
        })
        .collect()
}

#[test]
fn the_printed_schema_accepts_what_the_plain_one_accepts() {
    let (plain, printed) = (validator(schema()), validator(&printed()));
    let documents = documents();
    let mut counts = [0, 0];
    for (name, document) in &documents {
        let accepted = plain.is_valid(document);
        assert_eq!(printed.is_valid(document), accepted, "{name}");
        counts[usize::from(accepted)] += 1;
    }
    assert!(counts[0] >= 50 && counts[1] >= 50, "{counts:?}");
}

#[test]
fn nothing_is_referred_to() {
    let text = text();
    for word in ["\"$ref\"", "\"allOf\"", "\"definitions\""] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn a_field_keeps_its_own_words_and_gains_the_values_of_its_type() {
    let train = &printed()["properties"]["train"]["additionalProperties"]["properties"];
    let said = |field: &Value| field["description"].as_str().unwrap().to_owned();
    let padding = said(&train["batch"]["properties"]["padding"]);
    assert!(
        padding.starts_with(
            "To which length the rows of a training batch are padded.\n\n- `longest`: "
        )
    );
    assert!(padding.contains("\n- `max_length`: "));
    let micro_size = said(&train["batch"]["properties"]["micro_size"]);
    assert!(micro_size.starts_with("How many rows of a batch go through"));
    assert!(micro_size.ends_with("\n\nA number of rows, or `auto`."));
    // One line that says the same in other words is left out.
    assert_eq!(said(&train["head"]), "What stands on top of the encoder.");
    assert_eq!(train["batch"]["default"]["size"], 32);
}

#[test]
fn each_value_of_an_enum_has_its_text() {
    let task = &printed()["properties"]["train"]["additionalProperties"]["properties"]["task"];
    let texts = task["x-taplo"]["docs"]["enumValues"].as_array().unwrap();
    assert_eq!(texts.len(), task["enum"].as_array().unwrap().len());
    assert_eq!(texts[0], "One label for each text or pair of texts.");
}

#[test]
fn a_definition_that_refers_to_itself_comes_to_an_end() {
    let turning = json!({
        "properties": { "a": { "$ref": "#/definitions/a" } },
        "definitions": { "a": { "properties": { "a": { "$ref": "#/definitions/a" } } } },
    });
    assert!(published(&turning).is_object());
}
