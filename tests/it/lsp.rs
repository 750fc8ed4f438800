//! `refit lsp` as editors use it: the real program over its pipes.

mod client;

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use self::client::{Client, address, marked};
use crate::project::{Project, TINY, repository};

const UTF16: &[&str] = &["utf-16"];

/// A tiny project with its spec open, and the spec's address.
fn opened(project: &Project, text: &str) -> (Client, String) {
    let uri = address(&project.path("pipeline.toml"));
    let mut client = Client::greeted(project, UTF16);
    client.open(&uri, 1, text);
    (client, uri)
}

fn at(uri: &str, position: &Value) -> Value {
    json!({ "textDocument": { "uri": uri }, "position": position })
}

/// What is offered at the mark `|` of a text.
fn offered(client: &mut Client, uri: &str, text: &str) -> Vec<String> {
    let (text, position) = marked(text);
    client.change(uri, 2, &text);
    let items = client.result("textDocument/completion", at(uri, &position));
    let items = items.as_array().expect("a list").iter();
    items
        .map(|item| {
            item["textEdit"]["newText"]
                .as_str()
                .expect("a text")
                .to_owned()
        })
        .collect()
}

fn edited(text: &str, edits: &Value) -> String {
    let mut edits: Vec<&Value> = edits.as_array().expect("a list").iter().collect();
    edits.sort_by_key(|edit| {
        let start = &edit["range"]["start"];
        std::cmp::Reverse((start["line"].as_u64(), start["character"].as_u64()))
    });
    let offset = |position: &Value| {
        let number = |name: &str| position[name].as_u64().expect("a number") as usize;
        let before: usize = text
            .split_inclusive('\n')
            .take(number("line"))
            .map(str::len)
            .sum();
        before + number("character")
    };
    let mut text = text.to_owned();
    for edit in edits {
        let range = offset(&edit["range"]["start"])..offset(&edit["range"]["end"]);
        text.replace_range(range, edit["newText"].as_str().expect("a text"));
    }
    text
}

#[test]
fn an_editor_is_told_exactly_what_check_says() {
    for folder in ["broken_specs", "good_specs", "editor_faults"] {
        let folder = repository().join("tests").join(folder);
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        let mut client = Client::greeted(&Project::empty(), &["utf-16", "utf-8"]);
        let mut seen = 0;
        for entry in entries {
            let path = entry.unwrap().path();
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            if path.extension().is_none_or(|ending| ending != "toml") || text.trim().is_empty() {
                continue;
            }
            seen += 1;
            let project = Project::empty();
            let said = project
                .refit(&["check", path.to_str().unwrap(), "--json"])
                .json();
            let wanted = said["problems"].as_array().unwrap().clone();
            let uri = address(&path);
            client.open(&uri, 1, &text);
            let mut told = client.problems(&uri, 1);
            // The values of a sweep are looked at when the rest is told.
            if told.is_empty() && !wanted.is_empty() {
                told = client.problems(&uri, 1);
            }
            let message = |problem: &Value| {
                let message = problem["message"].as_str().unwrap();
                match problem["help"].as_str() {
                    Some(help) => format!("{message}\n{help}"),
                    None => message.to_owned(),
                }
            };
            let messages: Vec<String> = wanted.iter().map(message).collect();
            let found: Vec<&str> = told
                .iter()
                .map(|one| one["message"].as_str().unwrap())
                .collect();
            assert_eq!(found, messages, "{}", path.display());
            for (told, wanted) in told.iter().zip(&wanted) {
                let start = &told["range"]["start"];
                let line = start["line"].as_u64().unwrap() as usize;
                let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
                let offset = before as u64 + start["character"].as_u64().unwrap();
                let end = text.trim_end().len() as u64;
                let place = wanted["start"].as_u64().unwrap();
                assert!(
                    offset == place || place >= end,
                    "{}: {told} {wanted}",
                    path.display()
                );
            }
        }
        assert!(seen >= 5, "{seen} in {}", folder.display());
        assert_eq!(client.leave(), Some(0));
    }
}

#[test]
fn problems_follow_the_unsaved_text_and_go_when_it_is_closed() {
    let project = Project::tiny();
    let (mut client, uri) = opened(&project, TINY);
    assert!(client.problems(&uri, 1).is_empty());
    let broken = TINY.replace("input = \"more\"", "input = \"mor\"");
    client.change(&uri, 2, &broken);
    let told = client.problems(&uri, 2);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["source"], "refit");
    assert_eq!(
        told[0]["message"],
        "there is no stage `mor`\ndid you mean `more`?"
    );
    assert_eq!(project.read("pipeline.toml"), TINY, "nothing was saved");
    client.change(&uri, 3, "version = 1\n[train.\n\u{0}");
    assert!(!client.problems(&uri, 3).is_empty());
    client.change(&uri, 4, TINY);
    assert!(client.problems(&uri, 4).is_empty());
    client.change(&uri, 5, &broken);
    assert_eq!(client.problems(&uri, 5).len(), 1);
    client.tell(
        "textDocument/didClose",
        json!({ "textDocument": { "uri": uri } }),
    );
    let gone = client.wait(|message| {
        message["method"] == "textDocument/publishDiagnostics"
            && message["params"].get("version").is_none()
    });
    assert_eq!(gone["params"]["diagnostics"], json!([]));
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn of_many_changes_the_newest_is_checked() {
    let project = Project::tiny();
    let (mut client, uri) = opened(&project, TINY);
    for version in 2..200 {
        client.change(&uri, version, &TINY.replace("epochs = 2", "epochs = 0"));
    }
    client.change(&uri, 200, TINY);
    assert!(client.problems(&uri, 200).is_empty());
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn columns_are_counted_as_the_client_counts_them() {
    let project = Project::tiny();
    let text = TINY.replace(
        "epochs = 2",
        "early_stopping = { metric = \"😀é\", patience = 0 }",
    );
    let column = |encodings: &[&str]| {
        let mut client = Client::greeted(&project, encodings);
        let uri = address(&project.path("pipeline.toml"));
        client.open(&uri, 1, &text);
        let told = client.problems(&uri, 1);
        let told = told.iter().find(|one| {
            let message = one["message"].as_str().unwrap();
            message.contains("patience")
        });
        told.expect("the number is out of range")["range"]["start"]["character"].clone()
    };
    let before = "early_stopping = { metric = \"😀é\", patience = ";
    assert_eq!(column(UTF16), before.encode_utf16().count());
    assert_eq!(column(&["utf-8", "utf-16"]), before.len());
}

#[test]
fn what_is_no_spec_and_what_is_in_no_file_disturbs_nothing() {
    let project = Project::tiny();
    let mut client = Client::greeted(&project, UTF16);
    let other = address(&project.path("Cargo.toml"));
    client.open(&other, 1, "[package]\nname = 3\nversion = \"1\"\n[package");
    assert!(client.problems(&other, 1).is_empty());
    let position = json!({ "line": 0, "character": 1 });
    assert!(
        client
            .result("textDocument/hover", at(&other, &position))
            .is_null()
    );
    assert!(
        client
            .result("textDocument/completion", at(&other, &position))
            .is_null()
    );
    // Its paths lead from the folder that the server was started in.
    client.open("untitled:Untitled-1", 1, TINY);
    assert!(client.problems("untitled:Untitled-1", 1).is_empty());
    let new = address(&project.path("no%20folder/yet.toml"));
    client.open(&new, 1, "version = 1\n[load.x]\ntrain = \"nowhere.csv\"\n");
    assert_eq!(client.problems(&new, 1).len(), 1);
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn a_name_leads_to_its_table_and_back() {
    let project = Project::tiny();
    let (mut client, uri) = opened(&project, TINY);
    let (_, position) = marked(&TINY.replace("scores = \"scores\"", "scores = \"sco|res\""));
    let found = client.result("textDocument/definition", at(&uri, &position));
    let line = TINY
        .lines()
        .position(|line| line == "[evaluate.scores]")
        .unwrap();
    assert_eq!(
        found["range"]["start"],
        json!({ "line": line, "character": 10 })
    );

    let (_, position) = marked(&TINY.replace("[train.classifier]", "[train.class|ifier]"));
    let mut params = at(&uri, &position);
    params["context"] = json!({ "includeDeclaration": false });
    let found = client.result("textDocument/references", params);
    assert_eq!(found.as_array().unwrap().len(), 2, "{found}");

    let found = client.result(
        "textDocument/documentSymbol",
        json!({ "textDocument": { "uri": uri } }),
    );
    let outline = found
        .as_array()
        .unwrap()
        .iter()
        .fold(String::new(), |mut text, one| {
            let word = |name: &str| one[name].as_str().unwrap();
            let _ = write!(text, "{} {}, ", word("detail"), word("name"));
            text
        });
    assert_eq!(
        outline,
        "load data, augment more, tokenize tokens, train classifier, evaluate scores, export bundle, "
    );
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn a_renamed_stage_is_the_same_pipeline() {
    let project = Project::tiny();
    let text = format!(
        "{TINY}\n[sweep]\ngoal = {{ maximize = \"classifier.accuracy\" }}\n[sweep.parameters]\n\"train.classifier.epochs\" = [1, 2]\n"
    );
    let (mut client, uri) = opened(&project, &text);
    let (_, position) = marked(&text.replace("[train.classifier]", "[train.class|ifier]"));
    assert!(
        !client
            .result("textDocument/prepareRename", at(&uri, &position))
            .is_null()
    );
    let mut params = at(&uri, &position);
    params["newName"] = "tokens".into();
    let refused = client.ask("textDocument/rename", params.clone());
    assert_eq!(
        refused["error"]["message"],
        "there is a stage `tokens` already"
    );
    params["newName"] = "a name".into();
    assert!(
        client
            .ask("textDocument/rename", params.clone())
            .get("error")
            .is_some()
    );
    params["newName"] = "router".into();
    let edits = client.result("textDocument/rename", params);
    let renamed = edited(&text, &edits["changes"][&uri]);
    assert_eq!(renamed, text.replace("classifier", "router"));
    client.change(&uri, 2, &renamed);
    assert!(client.problems(&uri, 2).is_empty());
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn what_fits_is_offered() {
    let project = Project::tiny();
    let text = format!(
        "{TINY}\n[vars]\nbase = \"models\"\n[sweep]\ngoal = {{ maximize = \"classifier.accuracy\" }}\n[sweep.parameters]\n\"train.classifier.epochs\" = [1, 2]\n"
    );
    std::fs::create_dir_all(project.path(".hub/hub/models--owner--name/snapshots")).unwrap();
    std::fs::create_dir_all(project.path(".hub/hub/datasets--owner--rows/snapshots")).unwrap();
    let (mut client, uri) = opened(&project, &text);
    let mut offers = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        offered(&mut client, &uri, &text.replacen(from, to, 1))
    };
    // Edges know what they take, also while the string is open.
    assert_eq!(
        offers("input = \"more\"", "input = \"|\""),
        ["data", "more"]
    );
    assert_eq!(offers("input = \"more\"", "input = \"m|"), ["data", "more"]);
    assert_eq!(
        offers("input = \"more\"", "input = |"),
        ["\"data\"", "\"more\""]
    );
    assert_eq!(offers("input = \"data\"", "inputs = { | }"), ["data"]);
    assert_eq!(offers("scores = \"scores\"", "scores = \"|\""), ["scores"]);
    // Columns are those of the file.
    let load = "split = { validation = 0.2, stratify = true }";
    assert_eq!(
        offers(load, "columns = { text = \"|\" }"),
        ["text", "label"]
    );
    assert_eq!(
        offers(load, "split = { test = 0.1, group = \"|\" }"),
        ["text", "label"]
    );
    assert_eq!(offers(load, "where = \"length(te|\""), ["text", "label"]);
    // The hub's cache.
    assert_eq!(offers("scratch = {", "encoder = \"|\" # {"), ["owner/name"]);
    assert_eq!(
        offers("test = \"data/test.csv\"", "dataset = \"|\""),
        ["owner/rows"]
    );
    // Variables, closed where they are not.
    assert_eq!(offers("max_length = 24", "tokenizer = \"${|\""), ["base}"]);
    assert_eq!(offers("max_length = 24", "tokenizer = \"${b|}\""), ["base"]);
    // Scores of the task.
    let metrics = offers("epochs = 2", "early_stopping = { metric = \"|\" }");
    assert!(metrics.contains(&"f1_macro".to_owned()), "{metrics:?}");
    let goals = offers("\"classifier.accuracy\"", "\"|\"");
    assert_eq!(goals, ["classifier.", "scores."]);
    let goals = offers("\"classifier.accuracy\"", "\"scores.|\"");
    assert!(goals.contains(&"scores.accuracy".to_owned()), "{goals:?}");
    let paths = offers("\"train.classifier.epochs\"", "\"tr|\"");
    assert!(paths.contains(&"train.classifier.".to_owned()), "{paths:?}");
    // Where a schema knows better, nothing is said.
    assert!(offers("epochs = 2", "task = \"|\"").is_empty());
    assert!(offers("epochs = 2", "# \"|").is_empty());
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn labels_are_those_that_the_store_has() {
    let project = Project::tiny();
    let (mut client, uri) = opened(&project, TINY);
    let text = TINY.replace("epochs = 2", "loss = { weights = { | } }");
    assert!(offered(&mut client, &uri, &text).is_empty());
    let listed = text.replace("[load.data]", "[load.data]\nlabel_names = [\"x\", \"y z\"]");
    assert_eq!(offered(&mut client, &uri, &listed), ["x", "\"y z\""]);
    project.run(&["pipeline.toml", "tokens"]);
    assert_eq!(offered(&mut client, &uri, &text), ["bad", "good"]);
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn a_hover_says_what_became_of_a_stage_and_what_would() {
    let project = Project::tiny();
    let (mut client, uri) = opened(&project, TINY);
    let (_, position) = marked(&TINY.replace("scores = \"scores\"", "scores = \"sco|res\""));
    let mut hover = |text: &str| {
        client.change(&uri, 2, text);
        let found = client.result("textDocument/hover", at(&uri, &position));
        found["contents"]["value"]
            .as_str()
            .unwrap_or_else(|| panic!("{found}"))
            .to_owned()
    };
    let text = hover(TINY);
    assert!(
        text.contains("**scores**, a stage of the kind `evaluate`, gives scores"),
        "{text}"
    );
    assert!(
        text.contains("Never run in this store.") && text.contains("Pending: behind"),
        "{text}"
    );
    project.run(&["pipeline.toml"]);
    let text = hover(TINY);
    assert!(
        text.contains("built (never built)") && text.contains("accuracy"),
        "{text}"
    );
    assert!(text.contains("Now fresh: up to date"), "{text}");
    let text = hover(&TINY.replace("epochs = 2", "epochs = 3"));
    assert!(text.contains("Pending: behind classifier"), "{text}");
    let text = hover(&TINY.replace("epochs = 2", "epochs = 0"));
    assert!(text.contains("The spec has a problem"), "{text}");
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn what_was_meant_is_written_by_one_key() {
    let project = Project::tiny();
    let slips = [
        ("input = \"more\"", "input = \"mor\""),
        ("max_length = 24", "max_lenth = 24"),
        ("epochs = 2", "epochs = 2\nprecision = \"fp23\""),
        ("\"classifier.accuracy\"", "\"clasifier.accuracy\""),
        ("\"classifier.accuracy\"", "\"classifier.acuracy\""),
        ("input = \"data\"", "inputs = { daat = 1.0 }"),
        ("\"${rows}/train.csv\"", "\"${row}/train.csv\""),
    ];
    let sound = format!(
        "{}\n[vars]\nrows = \"data\"\n[sweep]\ngoal = {{ maximize = \"classifier.accuracy\" }}\n[sweep.parameters]\n\"train.classifier.epochs\" = [1, 2]\n",
        TINY.replace("\"data/train.csv\"", "\"${rows}/train.csv\"")
    );
    let (mut client, uri) = opened(&project, &sound);
    assert!(client.problems(&uri, 1).is_empty());
    for (number, (right, wrong)) in slips.into_iter().enumerate() {
        let version = number as i64 + 2;
        assert!(sound.contains(right), "{right}");
        let text = sound.replacen(right, wrong, 1);
        client.change(&uri, version, &text);
        let told = client.problems(&uri, version);
        let fixed = told.iter().find_map(|problem| {
            let found = client.result(
                "textDocument/codeAction",
                json!({
                    "textDocument": { "uri": uri },
                    "range": problem["range"],
                    "context": { "diagnostics": [problem] },
                }),
            );
            let action = found.as_array()?.first()?.clone();
            assert_eq!(action["kind"], "quickfix");
            assert_eq!(action["diagnostics"], json!([problem]));
            Some(edited(&text, &action["edit"]["changes"][&uri]))
        });
        let wanted = match wrong {
            "epochs = 2\nprecision = \"fp23\"" => text.replace("fp23", "fp32"),
            "inputs = { daat = 1.0 }" => text.replace("daat", "data"),
            _ => sound.clone(),
        };
        assert_eq!(fixed.as_deref(), Some(wanted.as_str()), "{wrong}: {told:?}");
    }
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn the_end_is_orderly_only_after_shutdown() {
    let project = Project::tiny();
    assert_eq!(Client::greeted(&project, UTF16).leave(), Some(0));
    let mut client = Client::greeted(&project, UTF16);
    client.tell("exit", Value::Null);
    assert_eq!(client.code(), Some(1));
    assert_eq!(Client::greeted(&project, UTF16).hang_up(), Some(1));
    let mut client = Client::greeted(&project, UTF16);
    client.result("shutdown", Value::Null);
    let late = client.ask("textDocument/hover", json!({}));
    assert_eq!(late["error"]["code"], -32600);
    assert_eq!(client.hang_up(), Some(0));
}

#[test]
fn malformed_messages_are_refused_and_the_rest_is_answered() {
    let project = Project::tiny();
    let mut client = Client::silent(&project);
    let early = client.ask("textDocument/hover", json!({}));
    assert_eq!(early["error"]["code"], -32002);
    client.result("initialize", json!({ "capabilities": {} }));
    client.write(b"Content-Length: 5\r\n\r\n{\"a\":");
    assert_eq!(
        client.wait(|one| one["id"].is_null())["error"]["code"],
        -32700
    );
    client.write(b"Content-Length: 2\r\n\r\n[]");
    assert_eq!(
        client.wait(|one| one["id"].is_null())["error"]["code"],
        -32600
    );
    let unknown = client.ask("textDocument/formatting", json!({}));
    assert_eq!(unknown["error"]["code"], -32601);
    let wrong = client.ask("textDocument/hover", json!({ "position": 3 }));
    assert_eq!(wrong["error"]["code"], -32602);
    client.tell("textDocument/didChange", json!([1]));
    client.tell("$/setTrace", json!({ "value": "off" }));
    let nowhere = at(
        "file:///nowhere.toml",
        &json!({ "line": 9, "character": 9 }),
    );
    assert!(client.result("textDocument/hover", nowhere).is_null());
    client.write(b"this is no header\r\n\r\n");
    assert_eq!(client.code(), Some(1));
}

#[test]
fn a_request_that_is_taken_back_is_answered_as_such_or_in_full() {
    let project = Project::tiny();
    let (mut client, uri) = opened(&project, TINY);
    let params = at(&uri, &json!({ "line": 5, "character": 8 }));
    for id in 1000..1050 {
        let method = "textDocument/hover";
        client.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
    }
    for id in 1000..1050 {
        client.tell("$/cancelRequest", json!({ "id": id }));
    }
    for id in 1000..1050 {
        let answer = client.wait(|message| message["id"] == id);
        let code = &answer["error"]["code"];
        assert!(code.is_null() || *code == -32800, "{answer}");
    }
    assert_eq!(client.leave(), Some(0));
}

/// Two hundred stages: a load and as many tokenizations and trainings as fit.
fn large() -> String {
    let mut text = "version = 1\nname = \"large\"\n[vars]\nrows = \"data\"\n\n[load.data]\ntrain = \"${rows}/train.csv\"\nsplit = { validation = 0.2, test = 0.2 }\n".to_owned();
    for number in 0..66 {
        let _ = write!(
            text,
            "\n[tokenize.tokens{number}]\ninput = \"data\"\ntrain_tokenizer = {{ model = \"wordpiece\", vocab_size = 150, min_frequency = 1 }}\nmax_length = {}\n\n[train.classifier{number}]\ninput = \"tokens{number}\"\nscratch = {{ layers = 1, hidden = 16, heads = 2, max_positions = 128 }}\nepochs = 2\nbatch = {{ size = 8 }}\noptimizer = {{ learning_rate = 1e-3 }}\n\n[evaluate.scores{number}]\nmodel = \"classifier{number}\"\ninput = \"tokens{number}\"\n",
            16 + number
        );
    }
    text
}

/// Prints how long answers take; the machine decides that, so nothing is claimed.
#[test]
fn a_spec_of_two_hundred_stages_is_served() {
    const TIMES: u32 = 20;
    let project = Project::tiny();
    let text = large();
    let (mut client, uri) = opened(&project, &text);
    assert!(client.problems(&uri, 1).is_empty());
    let mut lines = format!(
        "\n{} lines, 199 stages; mean of {TIMES}:\n",
        text.lines().count()
    );
    let mut version = 1;
    let (_, edge) = marked(&text.replacen("input = \"tokens65\"", "input = \"tok|ens65\"", 1));
    let requests = [
        ("textDocument/completion", at(&uri, &edge)),
        ("textDocument/definition", at(&uri, &edge)),
        ("textDocument/hover", at(&uri, &edge)),
        (
            "textDocument/documentSymbol",
            json!({ "textDocument": { "uri": uri } }),
        ),
    ];
    for (method, params) in &requests {
        let mut spent = 0.0;
        for _ in 0..TIMES {
            version += 1;
            client.change(&uri, version, &text);
            let before = Instant::now();
            assert!(!client.result(method, params.clone()).is_null());
            spent += before.elapsed().as_secs_f64();
        }
        let _ = writeln!(
            lines,
            "  {method} {:.1} ms",
            spent * 1000.0 / f64::from(TIMES)
        );
    }
    let mut spent = 0.0;
    for _ in 0..TIMES {
        version += 1;
        let before = Instant::now();
        client.change(&uri, version, &text);
        assert!(client.problems(&uri, version).is_empty());
        spent += before.elapsed().as_secs_f64();
    }
    let _ = writeln!(
        lines,
        "  problems {:.1} ms, of which 30 ms are waited for more changes",
        spent * 1000.0 / f64::from(TIMES)
    );
    let _ = std::io::stderr().write_all(lines.as_bytes());
    assert_eq!(client.leave(), Some(0));
}
