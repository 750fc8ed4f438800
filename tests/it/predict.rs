//! `refit predict` and `refit bundle inspect`: an exported model answers texts, lines and files as its pipeline does.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use refit::table::{Cells, read_columns};

use crate::project::{Project, Said};
use crate::tasks::{COMMENTS, comments, delimited, questions, sentences, spec};

/// A pipeline that also answers `rows` (a `[load.asked]`) by its model, and has run.
fn made(load: &str, train: &str, asked: &str) -> Project {
    let project = Project::empty();
    write_data(&project);
    let text = spec(load, "max_length = 16", train)
        + &format!(
            "\n[load.asked]\n{asked}\n\n[predict.answers]\nmodel = \"model\"\ninput = \"asked\"\n"
        );
    project.write("spec.toml", &text);
    project.run(&["spec.toml"]);
    project
}

fn write_data(project: &Project) {
    project.write("data/train.csv", &delimited(&comments(80, 0)));
    project.write("data/test.csv", &delimited(&comments(40, 3)));
    project.write(
        "data/one.csv",
        "text,label\nglad,joy\nmad,anger\nso glad,joy\nso mad,anger\n",
    );
    project.write(
        "data/scored.csv",
        "text,quality,length\nglad,1,0.5\nmad,-1,0.25\nwow,0,2\nso,0,1\n",
    );
    project.write("data/train.conll", &sentences(60, 0, 0));
    project.write(
        "data/notes.csv",
        "text,n\nEve  Kim saw  Oslo.,1\nso,2\n\"Bob Lee saw Bonn, Rome\",3\n",
    );
    project.write("data/train.jsonl", &questions(60, 0));
    project.write("data/test.jsonl", &questions(20, 5));
}

const FEW: &str = "max_steps = 12";

/// Task → the project, and the file to ask.
pub(crate) fn of(task: &str) -> (Project, &'static str) {
    let csv = |name: &str, columns: &str| {
        format!("train = \"data/{name}.csv\"\ntest = \"data/{name}.csv\"\ncolumns = {columns}")
    };
    let train = format!("task = \"{task}\"\n{FEW}");
    match task {
        "classification" => {
            let load = csv("one", "{ text = \"text\", label = \"label\" }");
            let asked = "train = \"data/test.csv\"\ncolumns = { text = \"text\", label = \"\" }";
            (made(&load, &train, asked), "data/test.csv")
        }
        "multi_label" => {
            let asked = "train = \"data/test.csv\"\ncolumns = { text = \"text\", label = \"\" }";
            (made(COMMENTS, &train, asked), "data/test.csv")
        }
        "regression" => {
            let load = csv(
                "scored",
                "{ text = \"text\", target = [\"quality\", \"length\"] }",
            );
            let asked = "train = \"data/test.csv\"\ncolumns = { text = \"text\", label = \"\" }";
            (made(&load, &train, asked), "data/test.csv")
        }
        "token_classification" => {
            let load = "train = \"data/train.conll\"\ntest = \"data/train.conll\"";
            let asked = "train = \"data/notes.csv\"\ncolumns = { text = \"text\", label = \"\" }";
            let train = "task = \"token_classification\"\nmax_steps = 40";
            (made(load, train, asked), "data/notes.csv")
        }
        _ => {
            let columns = "columns = { question = \"question\", context = \"context\", answers = \"answers\", id = \"id\" }";
            let load =
                format!("train = \"data/train.jsonl\"\ntest = \"data/test.jsonl\"\n{columns}");
            let asked = format!("train = \"data/test.jsonl\"\n{columns}");
            let train = format!("task = \"question_answering\"\n{FEW}");
            let project = Project::empty();
            write_data(&project);
            let text = spec(&load, "max_length = 24", &train)
                + &format!(
                    "\n[load.asked]\n{asked}\n\n[predict.answers]\nmodel = \"model\"\ninput = \"asked\"\n"
                );
            project.write("spec.toml", &text);
            project.run(&["spec.toml"]);
            (project, "data/test.jsonl")
        }
    }
}

pub(crate) const TASKS: [&str; 5] = [
    "classification",
    "multi_label",
    "regression",
    "token_classification",
    "question_answering",
];

fn columns(path: &Path) -> Vec<(String, Cells)> {
    read_columns(path, |_| true).unwrap()
}

/// What the predict stage answered, without what the rows say.
fn of_stage(project: &Project) -> Vec<(String, Cells)> {
    let folder = project
        .refit(&["path", "spec.toml", "answers"])
        .success()
        .stdout;
    let mut all = columns(&Path::new(folder.trim()).join("predictions.parquet"));
    all.retain(|(name, _)| !["id", "name", "text", "text_pair"].contains(&name.as_str()));
    all
}

pub(crate) fn lines(said: &Said) -> Vec<Value> {
    let lines = said.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// With lines on stdin.
fn piped(project: &Project, arguments: &[&str], input: &[u8]) -> Said {
    let mut command = project.command(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read all.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_bundle_answers_a_file_as_its_predict_stage_does() {
    for task in TASKS {
        let (project, file) = of(task);
        let said = project.refit(&["predict", "dist", "--input", file, "-o", "out.parquet"]);
        let said = said.success();
        assert!(
            said.stdout.is_empty() && said.stderr.contains("rows/s"),
            "{}",
            said.stderr
        );
        let wanted = of_stage(&project);
        assert!(wanted.len() > 1, "{task}");
        let found = columns(&project.path("out.parquet"));
        let answers = &found[found.len() - wanted.len()..];
        assert_eq!(answers, wanted, "{task}");
        // The same by the model in the store, which no export stage has placed.
        let model = project
            .refit(&["path", "spec.toml", "model"])
            .success()
            .stdout;
        project
            .refit(&["predict", model.trim(), "-i", file, "-o", "again.parquet"])
            .success();
        assert_eq!(columns(&project.path("again.parquet")), found, "{task}");
    }
}

#[test]
fn every_format_goes_in_and_out() {
    let (project, _) = of("multi_label");
    let rows = [("a, \"b\" glad", 7), ("mad\nwow", 8), ("Ünï", 9)];
    let objects: Vec<Value> = rows
        .iter()
        .map(|(text, n)| json!({"n": n, "text": text}))
        .collect();
    let line = |object: &Value| format!("{object}\n");
    project.write("in.json", &json!(objects).to_string());
    project.write("in.jsonl", &objects.iter().map(line).collect::<String>());
    let asked = |from: &str, to: &str| {
        project
            .refit(&["predict", "dist", "-i", from, "-o", to])
            .success();
    };
    for ending in ["csv", "tsv", "parquet", "json", "jsonl"] {
        asked("in.jsonl", &format!("first.{ending}"));
        // What was written goes in again, with its old answers, which give way to the new.
        asked(&format!("first.{ending}"), &format!("second.{ending}"));
        let (first, second) = (format!("first.{ending}"), format!("second.{ending}"));
        let bytes = |name: &str| std::fs::read(project.path(name)).unwrap();
        assert_eq!(bytes(&first), bytes(&second), "{ending}");
        asked(&first, "all.jsonl");
        let all = project.read("all.jsonl");
        let of_first: Value = serde_json::from_str(all.lines().nth(1).unwrap()).unwrap();
        assert_eq!(of_first["text"], "mad\nwow", "{ending}");
        let n = if ["csv", "tsv"].contains(&ending) {
            json!("8")
        } else {
            json!(8)
        };
        assert_eq!(of_first["n"], n, "{ending}");
        assert!(of_first["probability_joy"].is_number());
    }
    asked("in.json", "by.json");
    assert_eq!(project.read("by.json"), project.read("first.json"));
}

#[test]
fn a_text_and_lines_of_stdin_are_answered_in_their_order() {
    let (project, _) = of("multi_label");
    let said = piped(
        &project,
        &["predict", "dist"],
        "glad\n\nmad wow\r\nünï".as_bytes(),
    )
    .success();
    let answers = lines(&said);
    let texts: Vec<&str> = answers
        .iter()
        .map(|one| one["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["glad", "", "mad wow", "ünï"]);
    let alone = project
        .refit(&["predict", "dist", "mad wow", "--json"])
        .success()
        .json();
    assert_eq!(alone["predicted"], answers[2]["predicted"]);
    for label in ["joy", "anger", "surprise"] {
        let name = format!("probability_{label}");
        let (a, b) = (
            alone[&name].as_f64().unwrap(),
            answers[2][&name].as_f64().unwrap(),
        );
        assert!((a - b).abs() < 1e-5, "{name}: {a} {b}");
    }
    let array = piped(&project, &["predict", "dist", "--json"], b"glad\nmad\n")
        .success()
        .json();
    assert_eq!(array.as_array().unwrap().len(), 2);
    let none = piped(&project, &["predict", "dist", "--json"], b"")
        .success()
        .json();
    assert_eq!(none, json!([]));
    piped(&project, &["predict", "dist", "-o", "none.csv"], b"").success();
    assert_eq!(project.read("none.csv").lines().count(), 1);
}

#[test]
fn a_line_is_answered_while_the_next_one_is_waited_for() {
    let (project, _) = of("multi_label");
    let mut command = project.command(&["predict", "dist"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for text in ["glad", "mad"] {
        writeln!(stdin, "{text}").unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["text"], text);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_likeliest_labels_and_other_thresholds_can_be_asked_for() {
    let (project, _) = of("multi_label");
    let asked = |more: &[&str]| {
        let all = [&["predict", "dist", "glad", "--json"], more].concat();
        project.refit(&all).success().json()
    };
    let top = asked(&["--top-k", "2"]);
    assert_eq!(top["top_labels"].as_array().unwrap().len(), 2);
    let sure = top["top_probabilities"].as_array().unwrap();
    assert!(sure[0].as_f64() >= sure[1].as_f64());
    assert!(top.get("probability_joy").is_none());
    assert_eq!(
        asked(&["--threshold", "0"])["predicted"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(asked(&["--threshold", "1"])["predicted"], json!([]));
    let wrong = project
        .refit(&["predict", "dist", "glad", "--threshold", "2"])
        .exits(2);
    assert!(
        wrong.stderr.contains("is no probability"),
        "{}",
        wrong.stderr
    );
    let wrong = project
        .refit(&["predict", "dist", "glad", "--context", "x"])
        .exits(2);
    assert!(wrong.stderr.contains("--pair"), "{}", wrong.stderr);
}

#[test]
fn questions_are_asked_about_one_context_or_each_about_its_own() {
    let (project, file) = of("question_answering");
    let context = "the ball is red and the hat is blue";
    let said = piped(
        &project,
        &["predict", "dist", "--context", context],
        b"what colour is the ball\nwhat colour is the hat\n",
    );
    for answer in lines(&said.success()) {
        assert_eq!(answer["context"], context);
        let (start, end) = (answer["start"].as_u64(), answer["end"].as_u64());
        if let (Some(start), Some(end)) = (start, end) {
            let there: String = context
                .chars()
                .skip(start as usize)
                .take((end - start) as usize)
                .collect();
            assert_eq!(answer["predicted"], there);
        }
        assert!(answer["n_best"].as_array().unwrap().len() > 1);
    }
    let best = project.refit(&[
        "predict",
        "dist",
        "what",
        "--context",
        context,
        "--top-k",
        "1",
        "--json",
    ]);
    assert_eq!(best.success().json()["n_best"].as_array().unwrap().len(), 1);
    let never = project.refit(&[
        "predict",
        "dist",
        "-i",
        file,
        "--threshold",
        "-1e9",
        "--keep",
        "id",
    ]);
    for answer in lines(&never.success()) {
        assert_eq!(
            (&answer["predicted"], &answer["start"]),
            (&json!(""), &Value::Null)
        );
        assert!(answer["id"].is_string() && answer.get("context").is_none());
    }
    let alone = piped(&project, &["predict", "dist"], b"what\n").exits(2);
    assert!(alone.stderr.contains("--context"), "{}", alone.stderr);
}

#[test]
fn words_that_come_cut_are_tagged_as_they_are() {
    let (project, _) = of("token_classification");
    project.write(
        "cut.jsonl",
        "{\"tokens\": [\"Eve\", \"Kim\", \"saw\", \"Oslo.\"]}\n{\"tokens\": [\"so\"]}\n",
    );
    let answers = lines(
        &project
            .refit(&["predict", "dist", "-i", "cut.jsonl"])
            .success(),
    );
    assert_eq!(answers[0]["predicted"].as_array().unwrap().len(), 4);
    assert_eq!(answers[0]["tokens"][3], "Oslo.");
    let said = project
        .refit(&["predict", "dist", "Eve  Kim saw  Oslo.", "--json"])
        .success()
        .json();
    for entity in said["entities"].as_array().unwrap() {
        let (start, end) = (
            entity["start"].as_u64().unwrap(),
            entity["end"].as_u64().unwrap(),
        );
        let there: String = "Eve  Kim saw  Oslo."
            .chars()
            .skip(start as usize)
            .take((end - start) as usize)
            .collect();
        assert_eq!(entity["text"], there);
    }
    assert_eq!(said["words"], json!(["Eve", "Kim", "saw", "Oslo", "."]));
}

#[test]
fn many_rows_are_answered_some_at_a_time_and_come_out_in_their_order() {
    let (project, _) = of("multi_label");
    let said = comments(8, 0);
    // A kilobyte each, so that a megabyte, which is read at once, is a third of them.
    let padding = "x".repeat(1000);
    let row = |n: usize| format!("{n},{} {padding}\n", said[n % 8].0);
    let all: String = (0..3000).map(row).collect();
    project.write("many.csv", &format!("n,text\n{all}"));
    let told = project.refit(&[
        "predict",
        "dist",
        "-i",
        "many.csv",
        "-o",
        "many.jsonl",
        "--keep",
        "n",
        "--json",
    ]);
    let told = told.success();
    assert_eq!(told.json()["rows"], 3000);
    let text = project.read("many.jsonl");
    let answers: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 3000);
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer["n"], n.to_string());
        // Equal texts are answered alike, in whatever piece they come.
        let (a, b) = (
            &answer["probability_joy"],
            &answers[n % 8]["probability_joy"],
        );
        assert!(
            (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-4,
            "row {n}"
        );
    }
}

#[test]
fn a_text_longer_than_the_model_reads_is_cut_and_said_so() {
    let (project, _) = of("multi_label");
    let long = format!("{}\nglad\n", "glad ".repeat(100));
    let said = piped(&project, &["predict", "dist"], long.as_bytes()).success();
    assert!(
        said.stderr
            .contains("1 of 2 texts were longer than the 16 tokens"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_broken_row_is_named_before_anything_is_written() {
    let (project, _) = of("multi_label");
    project.write("out.jsonl", "old");
    let cases: [(&str, &[u8], &str); 5] = [
        (
            "a.csv",
            b"text,n\nglad,1\nmad\n",
            "a.csv, line 3: 1 field instead of 2",
        ),
        ("b.csv", b"text\nglad\n\xff\n", "b.csv, line 3: not UTF-8"),
        ("c.csv", b"body,n\nglad,1\n", "c.csv: no column `text`"),
        (
            "d.jsonl",
            b"{\"text\": \"glad\"}\n{\"text\": 7}\n",
            "d.jsonl, line 2, column `text`",
        ),
        (
            "e.json",
            b"[{\"text\": \"glad\"},\n{\"text\"}]",
            "e.json, row 2: not JSON",
        ),
    ];
    for (name, content, told) in cases {
        std::fs::write(project.path(name), content).unwrap();
        let said = project
            .refit(&["predict", "dist", "-i", name, "-o", "out.jsonl"])
            .exits(1);
        assert!(said.stderr.contains(told), "{name}: {}", said.stderr);
        assert_eq!(project.read("out.jsonl"), "old");
    }
    let said = piped(&project, &["predict", "dist"], b"glad\n\xff\xfe\n").exits(1);
    assert!(
        said.stderr.contains("stdin, line 2: not UTF-8"),
        "{}",
        said.stderr
    );
    let said = project
        .refit(&["predict", "dist", "-i", "data/test.csv", "--keep", "gone"])
        .exits(2);
    assert!(
        said.stderr.contains("`gone`") && said.stderr.contains("`labels`"),
        "{}",
        said.stderr
    );
    let said = project
        .refit(&["predict", "dist", "glad", "-o", "out.xlsx"])
        .exits(2);
    assert!(said.stderr.contains("out.xlsx"), "{}", said.stderr);
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_no_half_file() {
    let (project, _) = of("multi_label");
    project.write("out.csv", "old");
    let mut command = project.command(&["predict", "dist", "-o", "out.csv"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"glad\n").unwrap();
    let drafts = || {
        let entries = std::fs::read_dir(project.path(".")).unwrap();
        entries
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .ends_with(".part")
            })
            .count()
    };
    while drafts() == 0 {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: a signal to a child that was not waited for.
    unsafe { libc::kill(pid, libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!((project.read("out.csv").as_str(), drafts()), ("old", 0));
    drop(stdin);
}

#[test]
fn what_is_no_bundle_is_refused() {
    let (project, _) = of("multi_label");
    let refused = |folder: &str| project.refit(&["predict", folder, "glad"]).exits(2).stderr;
    assert!(refused("gone").contains("does not exist"));
    assert!(refused("data").contains("no config.json"));
    std::fs::write(project.path("dist/adapter_config.json"), "{}").unwrap();
    assert!(refused("dist").contains("an adapter alone"));
    std::fs::remove_file(project.path("dist/adapter_config.json")).unwrap();
    let weights = std::fs::read(project.path("dist/model.safetensors")).unwrap();
    std::fs::write(
        project.path("dist/model.safetensors"),
        &weights[..weights.len() / 2],
    )
    .unwrap();
    assert!(refused("dist").contains("model.safetensors"));
    let nothing = project.refit(&["predict"]).exits(2);
    assert!(nothing.stderr.contains("BUNDLE"), "{}", nothing.stderr);
}

#[test]
fn a_model_in_onnx_alone_can_be_looked_at_and_is_left_to_those_who_run_it() {
    let (project, _) = of("multi_label");
    let graph = "[export.graph]\nmodel = \"model\"\nformats = [\"onnx\"]\nto = \"graph\"\n";
    let spec = std::fs::read_to_string(project.path("spec.toml")).unwrap();
    std::fs::write(project.path("spec.toml"), spec + graph).unwrap();
    project.refit(&["run", "spec.toml"]).success();
    let told = project
        .refit(&["bundle", "inspect", "graph", "--json"])
        .success()
        .json();
    assert_eq!(told["graphs"], json!(["onnx/model.onnx"]));
    assert_eq!(told["model"]["task"], "multi_label");
    for command in ["predict", "serve"] {
        let refused = project.refit(&[command, "graph"]).exits(2).stderr;
        assert!(refused.contains("ONNX alone"), "{refused}");
        assert!(refused.contains("\"safetensors\", \"onnx\""), "{refused}");
    }
}

#[test]
fn a_bundle_says_what_is_in_it_and_where_it_came_from() {
    let (project, _) = of("multi_label");
    let told = project
        .refit(&["bundle", "inspect", "dist", "--json"])
        .success()
        .json();
    assert_eq!(told["model"]["task"], "multi_label");
    assert_eq!(
        told["model"]["label_names"],
        json!(["anger", "joy", "surprise"])
    );
    assert_eq!(
        (&told["encoder"]["layers"], &told["encoder"]["hidden"]),
        (&json!(2), &json!(64))
    );
    assert_eq!(told["weights"]["dtypes"], json!(["F32"]));
    assert_eq!(told["tokenizer"]["as_trained"], true);
    let origin = &told["origin"];
    assert_eq!(
        (&origin["pipeline"], &origin["stage"]),
        (&json!("tasks"), &json!("bundle"))
    );
    assert!(origin["scores"]["f1_micro"].is_number());
    let steps = origin["steps"].as_array().unwrap();
    let load = steps.iter().find(|step| step["stage"] == "rows").unwrap();
    assert_eq!(load["files"]["train/0"].as_str().unwrap().len(), 64);
    let names: Vec<&str> = told["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"model.json") && names.contains(&"provenance.json"));
    let text = project
        .refit(&["bundle", "inspect", "dist"])
        .success()
        .stdout;
    for part in [
        "multi_label",
        "anger, joy, surprise",
        "bert, 2 layers of 64",
        "pipeline tasks, stage bundle",
        "f1_micro",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let home = project.path(".");
    assert!(
        !project
            .read("dist/provenance.json")
            .contains(home.to_str().unwrap())
    );
    project.refit(&["plan", "spec.toml"]).success();
}
