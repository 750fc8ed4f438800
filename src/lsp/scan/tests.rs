//! Every word at its place, in whole texts as the spec's reader has it, and in broken ones at all.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::spec::document::{Node, Value, parse};

/// The strings of a tree with their paths and the bytes inside their quotes.
fn strings(
    text: &str,
    node: &Node,
    path: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, Range<usize>)>,
) {
    match &node.value {
        Value::String(_) => {
            let span = node.place.span.clone();
            let long = ["\"\"\"", "'''"]
                .iter()
                .any(|quotes| text[span.clone()].starts_with(quotes));
            let quotes = if long { 3 } else { 1 };
            found.push((path.clone(), span.start + quotes..span.end - quotes));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| strings(text, item, path, found)),
        _ => {}
    }
    for entry in node.entries() {
        path.push(entry.key.clone());
        strings(text, &entry.node, path, found);
        path.pop();
    }
}

fn specs() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["pipelines", "tests/good_specs"];
    let files = folders.iter().flat_map(|folder| {
        std::fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
    });
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
    files
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

#[test]
fn every_string_of_a_sound_spec_stands_where_its_reader_has_it() {
    let specs = specs();
    assert!(specs.len() >= 5);
    for text in specs {
        let mut problems = Vec::new();
        let mut wanted = Vec::new();
        let root = parse(&text, 0, &mut problems);
        strings(&text, &root, &mut Vec::new(), &mut wanted);
        let scanned = tokens(&text).into_iter();
        let mut found: Vec<_> = scanned
            .filter(|token| token.what == What::Text)
            .map(|token| (token.path, token.span))
            .collect();
        let order =
            |all: &mut Vec<(Vec<String>, Range<usize>)>| all.sort_by_key(|(_, span)| span.start);
        order(&mut found);
        order(&mut wanted);
        assert_eq!(found, wanted);
    }
}

fn path(keys: &str) -> Vec<String> {
    keys.split('.').map(str::to_owned).collect()
}

#[test]
fn a_half_written_text_says_what_it_waits_for() {
    let text = |text: &str, keys: &str, start: usize| {
        let path = path(keys);
        assert_eq!(expected(text), Expected::Text { path, start }, "{text}");
    };
    text("[train.a]\ninput = \"to", "train.a.input", 19);
    text("[load.a]\ncolumns = { text = \"", "load.a.columns.text", 29);
    text(
        "[load.a]\ncolumns = { target = [\"x\", \"",
        "load.a.columns.target",
        37,
    );
    text("x = [\n  \"a\n[load.a]\nwhere = \"", "load.a.where", 29);
    text("x = { a = 1\n[load.a]\nwhere = '", "load.a.where", 30);
    let value = expected("[train.a]\ninput = ");
    let (train, start) = (path("train.a.input"), 18);
    assert_eq!(value, Expected::Value { path: train, start });
    let key = expected("[augment.a]\ninputs = { dat");
    let inputs = path("augment.a.inputs");
    assert_eq!(
        key,
        Expected::Key {
            path: inputs,
            start: 23,
            quoted: false
        }
    );
    let key = expected("[sweep.parameters]\n\"train.c");
    let parameters = path("sweep.parameters");
    assert_eq!(
        key,
        Expected::Key {
            path: parameters,
            start: 20,
            quoted: true
        }
    );
    for done in [
        "[tra",
        "a = \"b\"",
        "# a = \"",
        "a = { b = \"c\"",
        "a = 1 # \"",
    ] {
        assert_eq!(expected(done), Expected::Nothing, "{done}");
    }
}

proptest! {
    #[test]
    fn any_text_is_scanned(text in "([\\[\\]{}=.,#\"'\\\\ \r\n]|\"\"\"|\\PC|[a-c]|😀){0,80}") {
        for token in tokens(&text) {
            prop_assert!(text.get(token.span).is_some());
        }
        for (at, _) in text.char_indices() {
            match expected(&text[..at]) {
                Expected::Nothing => {}
                Expected::Key { start, .. } | Expected::Value { start, .. } | Expected::Text { start, .. } => {
                    prop_assert!(text.get(start..at).is_some());
                }
            }
        }
    }
}

#[test]
fn a_deep_text_is_no_deep_stack() {
    tokens(&"[".repeat(100_000));
    tokens(&format!("a = {}", "[".repeat(100_000)));
    tokens(&format!("a = {}", "{a=".repeat(100_000)));
}
