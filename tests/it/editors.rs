//! What an editor shows: the schema in the language servers taplo and tombi, and what refit's own server says, spoken to as an
//! editor speaks to them.
//!
//! `tests/editor_faults` holds specs with one fault each, at the line that ends in `# here`. Some faults no schema can know;
//! of those the servers must say nothing, and `refit check` must know all.
//!
//! `INSTA_UPDATE=always cargo test --release editors` renews the transcripts; read the difference before committing it.

pub(crate) mod client;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use client::{Client, address, marked};
use serde_json::{Value, json};

use crate::project::{Project, repository, skipped};

/// Faults that only refit can know: they are not in the schema's power.
const BEYOND_THE_SCHEMA: &[&str] = &[
    "cycle",
    "edge_to_an_unknown_stage",
    "missing_file",
    "two_sources_of_a_tokenizer",
    "unknown_column",
    "unknown_variable",
];

struct Server {
    name: &'static str,
    /// By which it is started.
    program: &'static str,
    arguments: &'static [&'static str],
    /// What it is told when it asks for settings; tombi does not ask.
    settings: Option<Value>,
    /// Whether these publications of one file are all that will come.
    complete: fn(&[Vec<Value>]) -> bool,
    /// What to do where it is missing.
    install: &'static str,
    /// Faults that it marks at another line than theirs: at the table that has the key.
    marks_the_table: &'static [&'static str],
    /// Faults that it cannot know, and must say nothing of.
    silent_about: &'static [&'static str],
}

/// taplo publishes three times, after syntax, keys and schema, and stops where there is something to say.
fn taplo() -> Server {
    Server {
        name: "taplo",
        program: "taplo",
        arguments: &["lsp", "--no-auto-config", "stdio"],
        settings: Some(json!({
            "taplo": { "configFile": { "enabled": false } },
            "schema": { "enabled": true, "catalogs": [] },
        })),
        complete: |all| all.len() >= 3 || all.iter().any(|list| !list.is_empty()),
        install: "cargo install --locked taplo-cli --version 0.9.3 --features lsp",
        marks_the_table: &["unknown_key_in_a_stage"],
        silent_about: BEYOND_THE_SCHEMA,
    }
}

fn tombi() -> Server {
    Server {
        name: "tombi",
        program: "tombi",
        arguments: &["lsp", "--offline"],
        settings: None,
        complete: |all| !all.is_empty(),
        install: "pip install tombi==1.9.6",
        marks_the_table: &[],
        silent_about: BEYOND_THE_SCHEMA,
    }
}

fn refit() -> Server {
    Server {
        name: "refit",
        program: env!("CARGO_BIN_EXE_refit"),
        arguments: &["lsp"],
        settings: None,
        complete: |all| !all.is_empty(),
        install: "it is built with the tests",
        marks_the_table: &[],
        silent_about: &[],
    }
}

/// A running server, in a home of its own and with a network that leads nowhere.
struct Running {
    client: Client,
    network: TcpListener,
    _home: tempfile::TempDir,
}

impl Running {
    /// Nothing, loudly, where the server is not installed.
    fn start(server: &Server) -> Option<Running> {
        let home = tempfile::tempdir().unwrap();
        let network = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", network.local_addr().unwrap());
        let mut command = Command::new(server.program);
        command
            .args(server.arguments)
            .current_dir(home.path())
            .env("HOME", home.path())
            .env("NO_COLOR", "1");
        for variable in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
            command.env(variable, home.path());
        }
        for variable in ["http_proxy", "https_proxy", "all_proxy"] {
            command
                .env(variable, &proxy)
                .env(variable.to_uppercase(), &proxy);
        }
        command.env_remove("no_proxy").env_remove("NO_PROXY");
        let settings = server.settings.clone();
        match Client::start(server.name, &mut command, settings.unwrap_or_default()) {
            Ok(mut client) => {
                if server.settings.is_some() {
                    client.give_settings();
                }
                Some(Running {
                    client,
                    network,
                    _home: home,
                })
            }
            // pip's taplo is built without its language server, and ends at once.
            Err(error) => skipped(&format!("{}: {error}", server.install)),
        }
    }

    /// Fails where the server asked the network for anything.
    fn asked_no_one(&self) {
        self.network.set_nonblocking(true).unwrap();
        let asked = self.network.accept();
        assert!(asked.is_err(), "the server went to the network");
    }
}

/// The specs with one fault: their names and paths, in order.
pub(crate) fn faults() -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(repository().join("tests/editor_faults")).unwrap();
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .map(|path| {
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                path,
            )
        })
        .collect();
    found.sort();
    found
}

/// The line of a spec's fault, from 1.
pub(crate) fn fault_line(text: &str) -> u64 {
    let line = text.lines().position(|line| line.ends_with("# here"));
    line.expect("a line that ends in `# here`") as u64 + 1
}

/// `3:1-3:9`, counted from 1.
fn place(diagnostic: &Value) -> String {
    let point = |end: &str| {
        let point = &diagnostic["range"][end];
        let number = |name: &str| point[name].as_u64().unwrap() + 1;
        format!("{}:{}", number("line"), number("character"))
    };
    format!("{}-{}", point("start"), point("end"))
}

/// Everything said of one file, each message once, with the first place and how many more there are.
fn told(diagnostics: &[Value]) -> String {
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    for diagnostic in diagnostics {
        let severity = match diagnostic["severity"].as_u64() {
            Some(1) | None => "error",
            Some(2) => "warning",
            Some(3) => "information",
            _ => "hint",
        };
        let message = diagnostic["message"].as_str().unwrap();
        let message = message.replace(repository().to_str().unwrap(), "REPOSITORY");
        let line = format!("{severity}: {message}");
        let place = place(diagnostic);
        match said.iter_mut().find(|(known, _)| *known == line) {
            Some((_, places)) => places.push(place),
            None => said.push((line, vec![place])),
        }
    }
    if said.is_empty() {
        return "  nothing\n".to_owned();
    }
    let lines = said.iter().map(|(line, places)| match places.len() - 1 {
        0 => format!("  {} {line}\n", places[0]),
        more => format!("  {} (and {more} more places) {line}\n", places[0]),
    });
    lines.collect()
}

/// Whether any of these marks the line (from 1), and not just the file as a whole.
fn marks(diagnostics: &[Value], line: u64) -> bool {
    diagnostics
        .iter()
        .any(|diagnostic| diagnostic["range"]["start"]["line"] == line - 1)
}

fn transcript_of(server: &Server) {
    let Some(mut running) = Running::start(server) else {
        return;
    };
    let faults = faults();
    assert!(faults.len() >= 20, "{} specs with a fault", faults.len());
    let mut transcript = String::new();
    for (name, path) in faults {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = address(&path);
        running.client.open(&file, &text);
        let mut diagnostics = running.client.diagnostics(&file, server.complete);
        diagnostics.sort_by_key(|one| {
            let at = |end: &str, name: &str| one["range"][end][name].as_u64();
            let message = one["message"].as_str().unwrap_or_default().to_owned();
            let start = (at("start", "line"), at("start", "character"));
            (start, at("end", "line"), at("end", "character"), message)
        });
        if server.silent_about.contains(&&*name) {
            assert!(diagnostics.is_empty(), "{name}: {diagnostics:?}");
        } else if !server.marks_the_table.contains(&&*name) {
            let line = fault_line(&text);
            assert!(
                marks(&diagnostics, line),
                "{} does not mark line {line} of {name}: {diagnostics:?}",
                server.name
            );
        }
        transcript.push_str(&format!("{name}\n{}", told(&diagnostics)));
    }
    running.asked_no_one();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/editors");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(server.name, transcript));
}

#[test]
fn taplo_marks_every_fault_that_the_schema_knows() {
    transcript_of(&taplo());
}

#[test]
fn tombi_marks_every_fault_that_the_schema_knows() {
    transcript_of(&tombi());
}

#[test]
fn refit_marks_every_fault() {
    transcript_of(&refit());
}

#[test]
fn check_knows_every_fault_at_its_line() {
    let project = Project::empty();
    for (name, path) in faults() {
        let said = project.refit(&["check", "--json", path.to_str().unwrap()]);
        let problems = said.exits(2).json()["problems"].clone();
        let text = std::fs::read_to_string(&path).unwrap();
        let problems = problems.as_array().unwrap();
        let line = fault_line(&text);
        let at_it = problems.iter().filter(|problem| problem["line"] == line);
        assert!(at_it.count() >= 1, "{name}, line {line}: {problems:?}");
    }
}

/// A field of the schema by its path through `properties`; a stage's name is `*`.
fn description(path: &str) -> String {
    let text = std::fs::read_to_string(repository().join("schemas/pipeline.schema.json")).unwrap();
    let mut schema: Value = serde_json::from_str(&text).unwrap();
    for part in path.split('.') {
        schema = match part {
            "*" => schema["additionalProperties"].take(),
            name => schema["properties"][name].take(),
        };
    }
    schema["description"].as_str().expect(path).to_owned()
}

/// Words alone: servers break lines where they like.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Documentation, of whatever form.
fn shown(value: &Value) -> String {
    let text = value.as_str().or_else(|| value["value"].as_str());
    words(text.unwrap_or_default())
}

/// A spec as someone types it; one line is given.
fn typing(stage: &str) -> String {
    format!(
        "#:schema ../../schemas/pipeline.schema.json\nversion = 1\n\n[load.messages]\ntrain = [\"train.csv\"]\ncolumns = {{ text = 0 }}\n\n[train.classifier]\ninput = \"tokens\"\n{stage}\n"
    )
}

fn complete(server: &Server) {
    let Some(mut running) = Running::start(server) else {
        return;
    };
    // What is typed, what is offered there, and which field it is of.
    let keys = |field: &str| (field.to_owned(), description(&format!("train.*.{field}")));
    let values = |value: &str, text: &str| (format!("\"{value}\""), text.to_owned());
    let of_optimizer = |field: &str| {
        (
            field.to_owned(),
            description(&format!("train.*.optimizer.{field}")),
        )
    };
    let cases = [
        (
            "‸\n",
            vec![
                keys("encoder"),
                keys("scratch"),
                keys("epochs"),
                keys("task"),
                keys("loss"),
                keys("early_stopping"),
            ],
        ),
        (
            "task = \"‸\"",
            vec![
                values(
                    "classification",
                    "One label for each text or pair of texts.",
                ),
                values(
                    "token_classification",
                    "A label for each word: names, parts of speech.",
                ),
            ],
        ),
        (
            "optimizer = { ‸ }",
            vec![
                of_optimizer("name"),
                of_optimizer("learning_rate"),
                of_optimizer("weight_decay"),
                of_optimizer("layer_decay"),
            ],
        ),
    ];
    for (index, (typed, expected)) in cases.iter().enumerate() {
        let (text, position) = marked(&typing(typed));
        let path = format!("tests/editor_faults/typing{index}.toml");
        let file = address(&repository().join(path));
        running.client.open(&file, &text);
        running.client.diagnostics(&file, server.complete);
        let place = json!({ "textDocument": { "uri": file }, "position": position });
        let answer = running.client.ask("textDocument/completion", place);
        let items = answer.get("items").unwrap_or(&answer).as_array().cloned();
        let items = items.unwrap_or_default();
        let offered: Vec<&str> = items
            .iter()
            .filter_map(|item| item["label"].as_str())
            .collect();
        for (label, text) in expected {
            let found = items.iter().filter(|item| item["label"] == **label);
            let documented =
                found.filter(|item| shown(&item["documentation"]).contains(&words(text)));
            assert!(
                documented.count() == 1,
                "{} at {typed:?}: {label} with its description is not once among {offered:?}",
                server.name
            );
        }
    }
    running.asked_no_one();
}

#[test]
fn taplo_offers_keys_and_values_with_their_descriptions() {
    complete(&taplo());
}

#[test]
fn tombi_offers_keys_and_values_with_their_descriptions() {
    complete(&tombi());
}

fn hover(server: &Server) {
    let Some(mut running) = Running::start(server) else {
        return;
    };
    let text = typing(
        "epochs = 2\nbatch = { micro_size = 4 }\noptimizer = { learning_rate = 1e-4 }\nthreshold = 0.3\ntask = \"multi_label\"",
    );
    let file = address(&repository().join("tests/editor_faults/reading.toml"));
    running.client.open(&file, &text);
    running.client.diagnostics(&file, server.complete);
    for (key, field) in [
        ("columns =", "load.*.columns"),
        ("text =", "load.*.columns.text"),
        ("epochs =", "train.*.epochs"),
        ("micro_size =", "train.*.batch.micro_size"),
        ("optimizer =", "train.*.optimizer"),
        ("learning_rate =", "train.*.optimizer.learning_rate"),
        ("threshold =", "train.*.threshold"),
        ("task =", "train.*.task"),
        ("classifier]", "train.*"),
    ] {
        let (_, position) = marked(&text.replacen(key, &format!("{}‸{}", &key[..1], &key[1..]), 1));
        let place = json!({ "textDocument": { "uri": file }, "position": position });
        let answer = running.client.ask("textDocument/hover", place);
        let shown = shown(&answer["contents"]);
        assert!(
            shown.contains(&words(&description(field))),
            "{} on {key}: {shown:?}",
            server.name
        );
    }
    running.asked_no_one();
}

#[test]
fn taplo_shows_the_description_of_what_is_pointed_at() {
    hover(&taplo());
}

#[test]
fn tombi_shows_the_description_of_what_is_pointed_at() {
    hover(&tombi());
}
