//! Pipelines whose data and encoder lie on a hub: fetched once, pinned, published once.

use std::process::Command;

use crate::hub::server::Hub;
use crate::project::{Project, Said, built};

const SPEC: &str = r#"
version = 1
name = "elsewhere"

[load.messages]
dataset = "owner/messages"

[tokenize.tokens]
input = "messages"
tokenizer = "owner/tiny"
max_length = 16

[train.classifier]
input = "tokens"
encoder = "owner/tiny"
epochs = 1

[export.bundle]
model = "classifier"
to = "dist/bundle"
"#;

/// A hub with a data set and a small encoder, which refit itself trained, and a project that names both.
fn setting() -> (Hub, Project) {
    let made = Project::tiny();
    made.run(&["pipeline.toml"]);
    let hub = Hub::start();
    let read = |name: &str| std::fs::read(made.path(name)).unwrap();
    let bundle = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let files: Vec<(&str, Vec<u8>)> = bundle
        .iter()
        .map(|name| (*name, read(&format!("{}/{name}", exported(&made)))))
        .collect();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (*name, &bytes[..]))
        .collect();
    hub.commit("models/owner/tiny", &files);
    let (train, test) = (read("data/train.csv"), read("data/test.csv"));
    hub.commit(
        "datasets/owner/messages",
        &[
            ("train.csv", &train),
            ("test.csv", &test),
            ("README.md", b""),
        ],
    );
    let project = Project::empty();
    project.write("pipeline.toml", SPEC);
    (hub, project)
}

/// Where the tiny pipeline's bundle lies.
fn exported(project: &Project) -> String {
    let spec = project.read("pipeline.toml");
    let to = spec.lines().find_map(|line| line.strip_prefix("to = "));
    to.expect("the tiny pipeline exports")
        .trim_matches('"')
        .to_owned()
}

fn online(project: &Project, hub: &Hub, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    command
        .env("HF_ENDPOINT", &hub.endpoint)
        .env_remove("HF_HUB_OFFLINE");
    command
}

fn said(mut command: Command) -> Said {
    command.output().unwrap().into()
}

#[test]
fn what_is_elsewhere_is_fetched_once_and_pinned() {
    let (hub, project) = setting();
    let ask = |arguments: &[&str]| said(online(&project, &hub, arguments));
    let check = ask(&["check", "pipeline.toml"]).success();
    assert!(
        check.stderr.contains("to be fetched: model owner/tiny"),
        "{}",
        check.stderr
    );
    let plan = ask(&["plan", "pipeline.toml"]).exits(3);
    assert!(
        plan.stdout
            .contains("not fetched yet: data set owner/messages"),
        "{}",
        plan.stdout
    );
    assert_eq!(
        hub.state().requests.len(),
        0,
        "`check` and `plan` use no network"
    );

    let run = ask(&["run", "pipeline.toml", "--json"]).success().json();
    assert_eq!(built(&run), ["messages", "tokens", "classifier", "bundle"]);
    let lock = project.read("refit.lock");
    for part in [
        "owner/tiny",
        "owner/messages",
        "sha256",
        "model.safetensors",
        "train.csv",
    ] {
        assert!(lock.contains(part), "no {part} in {lock}");
    }
    let requests = hub.state().requests.len();
    let again = ask(&["run", "pipeline.toml", "--json"]).success().json();
    assert_eq!(built(&again), [""; 0]);
    ask(&["plan", "pipeline.toml"]).success();
    assert_eq!(
        hub.state().requests.len(),
        requests,
        "what is pinned and cached is not asked again"
    );

    let (train, test) = (
        "text,label\nnew text,a\nother text,b\nnew words,a\n",
        "text,label\nnew,a\n",
    );
    hub.commit(
        "datasets/owner/messages",
        &[
            ("train.csv", train.as_bytes()),
            ("test.csv", test.as_bytes()),
        ],
    );
    let unchanged = ask(&["run", "pipeline.toml", "--json"]).success().json();
    assert_eq!(built(&unchanged), [""; 0]);
    let updated = ask(&["run", "pipeline.toml", "--update", "--json"])
        .success()
        .json();
    assert_eq!(
        built(&updated),
        ["messages", "tokens", "classifier", "bundle"]
    );
}

#[test]
fn offline_with_nothing_cached_says_so_at_the_field() {
    let (_, project) = setting();
    let run = project.refit(&["run", "pipeline.toml"]).exits(1);
    for part in [
        "HF_HUB_OFFLINE",
        "pipeline.toml:6",
        "dataset",
        "encoder",
        "3 problems",
    ] {
        assert!(run.stderr.contains(part), "no {part} in {}", run.stderr);
    }
    assert!(!project.path("refit.lock").exists());
}

#[test]
fn a_folder_beside_the_spec_comes_before_the_hub() {
    let (hub, project) = setting();
    project.write(
        "owner/messages/train.csv",
        "text,label\none text,a\nother text,b\n",
    );
    project.write("owner/messages/dev.csv", "text,label\nthird text,a\n");
    let run = said(online(
        &project,
        &hub,
        &["run", "pipeline.toml", "messages", "--json"],
    ));
    assert_eq!(built(&run.success().json()), ["messages"]);
    assert_eq!(hub.state().requests.len(), 0);
}

#[test]
fn an_export_is_uploaded_once_and_a_failed_upload_is_tried_again() {
    let (hub, project) = setting();
    hub.state().token = Some("hf_write".to_owned());
    project.replace(
        "pipeline.toml",
        "to = \"dist/bundle\"",
        "to = \"dist/bundle\"\npush_to_hub = \"me/bundle\"",
    );
    let with_token = |token: &str, arguments: &[&str]| {
        let mut command = online(&project, &hub, arguments);
        command.env("HF_TOKEN", token);
        said(command)
    };
    let failed = with_token("hf_wrong", &["run", "pipeline.toml"]).exits(1);
    assert!(failed.stderr.contains("me/bundle"), "{}", failed.stderr);
    assert!(!failed.stderr.contains("hf_wrong"));
    assert!(project.path("dist/bundle/model.safetensors").exists());
    let plan = with_token("hf_write", &["plan", "pipeline.toml"]).exits(3);
    assert!(
        plan.stdout.contains("not uploaded to me/bundle"),
        "{}",
        plan.stdout
    );

    with_token("hf_write", &["run", "pipeline.toml"]).success();
    assert_eq!(hub.asked("/commit/main"), 1);
    with_token("hf_write", &["run", "pipeline.toml"]).success();
    with_token("hf_write", &["plan", "pipeline.toml"]).success();
    assert_eq!(hub.asked("/commit/main"), 1);
}
