//! The page of a server in a real browser: a reader asks each model, and what the page then shows.

use serde_json::{Value, json};

use super::{SECRET, Server};
use crate::page::browser::Browser;
use crate::predict::TASKS;

const HOSTILE: &str =
    "<script>window.broken = 1</script><img src=x onerror='window.broken = 1'> Ann Lee saw Rome .";

/// What a reader does on this page.
const READER: &str = include_str!("reader.js");

fn open(server: &Server, scheme: &str) -> Option<Browser> {
    Browser::at(&format!("http://{}/", server.address), scheme)
}

#[track_caller]
fn silent(browser: &mut Browser, server: &Server) {
    browser.settle();
    assert_eq!(browser.console, Vec::<Value>::new());
    let own = format!("http://{}/", server.address);
    let foreign = |address: &&String| !address.starts_with(&own) && !address.starts_with("data:");
    assert_eq!(browser.asked.iter().find(foreign), None);
}

#[test]
fn a_reader_asks_each_task_and_sees_its_answer() {
    let server = Server::start(&TASKS, &[]);
    let Some(mut browser) = open(&server, "light") else {
        return;
    };
    let mut act = |script: &str| browser.evaluate(&format!("{READER}\n{script}"));
    let labels = act(
        "await choose('classification'); write('text', 'so mad'); await send(); return { ...seen(), bars: all('#drawn .bars li').length, given: texts('#drawn .is-given .what') }",
    );
    assert_eq!(labels["bars"], 2);
    assert!(
        labels["given"][0].as_str().unwrap().starts_with('✓'),
        "{labels}"
    );
    let many = act(
        "await choose('multi_label'); write('text', 'glad wow'); await send(); return { ...seen(), bars: all('#drawn .bars li').length }",
    );
    assert_eq!(many["bars"], 3, "{many}");
    let numbers = act(
        "await choose('regression'); write('text', 'glad'); await send(); return texts('#drawn dt')",
    );
    assert_eq!(numbers, json!(["quality", "length"]));
    let script = format!(
        "await choose('token_classification'); write('text', {}); await send(); return {{ ...seen(), marks: texts('#drawn mark'), text: one('.read').cloneNode(true), read: [...one('.read').childNodes].filter((node) => !(node.classList?.contains('tag'))).map((node) => node.textContent).join(''), rows: texts('#drawn tbody th'), broken: window.broken === 1, images: all('#drawn img').length }}",
        json!(HOSTILE)
    );
    let entities = act(&script);
    assert_eq!(entities["read"], HOSTILE);
    assert_eq!(entities["broken"], false);
    assert_eq!(entities["images"], 0);
    assert!(
        !entities["marks"].as_array().unwrap().is_empty(),
        "{entities}"
    );
    assert_eq!(entities["marks"], entities["rows"]);
    let answer = act(
        "await choose('question_answering'); write('text', 'where is it ?'); write('pair', 'it is in the box there'); await send(); return { ...seen(), marks: texts('#drawn mark'), rows: texts('#drawn tbody th') }",
    );
    assert!(!answer["rows"].as_array().unwrap().is_empty(), "{answer}");
    let command = act("return one('#command').textContent");
    assert!(
        command
            .as_str()
            .unwrap()
            .contains("/models/question_answering/predict")
    );
    silent(&mut browser, &server);
}

#[test]
fn the_page_is_used_by_the_keyboard_and_named_for_those_who_do_not_see_it() {
    let server = Server::start(&["classification"], &[]);
    let Some(mut browser) = open(&server, "dark") else {
        return;
    };
    browser.evaluate(&format!("{READER} await until(() => document.activeElement === one('#text')); write('text', 'so mad');"));
    browser.press("Tab");
    browser.press("Tab");
    let on = browser.evaluate("return document.activeElement.id");
    assert_eq!(on, "send");
    browser.press("Enter");
    browser.evaluate(&format!(
        "{READER} await until(() => one('#said').textContent)"
    ));
    let unnamed = browser.evaluate("return all('input, select, textarea').filter((field) => !field.labels?.length).map((field) => field.id)");
    assert_eq!(unnamed, json!([]));
    // Nothing is wider than a narrow window.
    browser.resize(360, 700);
    let wide = browser.evaluate("await frame(); return document.documentElement.scrollWidth");
    assert!(wide.as_u64().unwrap() <= 360, "{wide}");
    silent(&mut browser, &server);
}

#[test]
fn a_reader_without_the_token_is_asked_for_it_and_told_what_is_wrong() {
    let server = Server::start(&["classification"], &["--token-env", "TEST_TOKEN"]);
    let Some(mut browser) = open(&server, "light") else {
        return;
    };
    let asked = browser.evaluate(&format!("{READER} await until(() => !one('#token-line').hidden); return {{ ...seen(), asking: !one('#asking').hidden }}"));
    assert_eq!(asked["asking"], false);
    assert!(
        asked["problem"].as_str().unwrap().contains("token"),
        "{asked}"
    );
    let script = format!(
        "{READER} write('token', {}); one('#unlock').click(); await until(() => !one('#asking').hidden); write('text', 'so mad'); await send(); return seen()",
        json!(SECRET)
    );
    let answered = browser.evaluate(&script);
    assert_eq!(answered["problem"], Value::Null);
    let command = browser.evaluate("return one('#command').textContent");
    let command = command.as_str().unwrap();
    assert!(
        command.contains("$TOKEN") && !command.contains(SECRET),
        "{command}"
    );
    // The browser's own note of the 401 is the one thing on the console.
    browser.settle();
    assert!(browser.console.len() <= 1, "{:?}", browser.console);
}
