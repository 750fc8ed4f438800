//! Pipelines whose data and encoder lie on a hub: fetched once, pinned, published once.

use std::process::Command;

use crate::hub::server::{Fault, Hub};
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

/// A project that uploads its export, and how it is asked with a token that may write.
fn publishing() -> (Hub, Project) {
    let (hub, project) = setting();
    hub.state().token = Some("hf_write".to_owned());
    project.replace(
        "pipeline.toml",
        "to = \"dist/bundle\"",
        "to = \"dist/bundle\"\npush_to_hub = \"me/bundle\"",
    );
    (hub, project)
}

fn with_token(project: &Project, hub: &Hub, token: &str, arguments: &[&str]) -> Command {
    let mut command = online(project, hub, arguments);
    command.env("HF_TOKEN", token);
    command
}

#[test]
fn an_export_is_uploaded_once_and_a_failed_upload_is_tried_again() {
    let (hub, project) = publishing();
    let with_token =
        |token: &str, arguments: &[&str]| said(with_token(&project, &hub, token, arguments));
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

#[test]
fn an_upload_needs_no_object_and_is_of_one_hub() {
    let (hub, project) = publishing();
    let ask =
        |hub: &Hub, arguments: &[&str]| said(with_token(&project, hub, "hf_write", arguments));
    said(with_token(
        &project,
        &hub,
        "hf_wrong",
        &["run", "pipeline.toml"],
    ))
    .exits(1);
    project
        .refit(&["cache", "gc", "--older-than", "0s"])
        .success();
    let plan = ask(&hub, &["plan", "pipeline.toml"]).exits(3).stdout;
    assert!(plan.contains("not uploaded to me/bundle"), "{plan}");
    assert!(!plan.contains("needed by"), "{plan}");
    let run = ask(&hub, &["run", "pipeline.toml", "--json"])
        .success()
        .json();
    assert_eq!(built(&run), [""; 0]);
    assert_eq!(hub.asked("/commit/main"), 1);
    let beside = std::fs::read_dir(project.path("dist")).unwrap();
    assert_eq!(beside.count(), 1, "something lies beside the placed folder");
    // Another hub has none of it.
    let other = Hub::start();
    ask(&other, &["plan", "pipeline.toml"]).exits(3);
    ask(&other, &["run", "pipeline.toml"]).success();
    assert_eq!(
        (hub.asked("/commit/main"), other.asked("/commit/main")),
        (1, 1)
    );
    ask(&other, &["plan", "pipeline.toml"]).success();
}

#[cfg(unix)]
#[test]
fn an_upload_that_is_interrupted_is_shown_as_such_and_done_by_the_next_run() {
    let (hub, project) = publishing();
    hub.fail("/commit/main", [Fault::Silence]);
    // What does not wait for the upload is done meanwhile, with one job.
    let spec = project.read("pipeline.toml");
    let last = "\n[evaluate.scores]\nmodel = \"classifier\"\ninput = \"tokens\"\n";
    project.write("pipeline.toml", &format!("{spec}{last}"));
    let mut command = with_token(
        &project,
        &hub,
        "hf_write",
        &["run", "pipeline.toml", "--json"],
    );
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let is_waiting = || {
        let keys = std::fs::read_dir(project.path(".refit/keys"));
        hub.asked("/commit/main") == 1 && keys.is_ok_and(|keys| keys.count() == 5)
    };
    for _ in 0..1200 {
        if is_waiting() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(is_waiting());
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    let said_so = Said::from(child.wait_with_output().unwrap()).exits(130);
    let run = said_so.json();
    let step = |name: &str| {
        let steps = run["steps"].as_array().unwrap();
        steps
            .iter()
            .find(|step| step["stage"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(step("scores")["outcome"], "built");
    assert!(
        step("bundle")["reason"].to_string().contains("interrupted"),
        "{run}"
    );
    assert!(!said_so.stderr.contains("Error"), "{}", said_so.stderr);
    let again = said(with_token(
        &project,
        &hub,
        "hf_write",
        &["run", "pipeline.toml", "--json"],
    ));
    assert_eq!(built(&again.success().json()), [""; 0]);
    assert_eq!(hub.asked("/commit/main"), 2);
}

#[test]
fn a_test_split_whose_labels_are_secret_is_loaded_and_cannot_be_scored() {
    let (hub, project) = setting();
    let train = "text,label\ngood text,1\nbad text,0\nfine words,1\npoor words,0\n";
    let test = "text,label\nsome text,-1\nother words,-1\n";
    hub.commit(
        "datasets/owner/glue",
        &[
            ("train.csv", train.as_bytes()),
            ("dev.csv", train.as_bytes()),
            ("test.csv", test.as_bytes()),
        ],
    );
    let classes = serde_json::json!({ "class_label": { "names": ["bad", "fair", "good"] } });
    let card = serde_json::json!({ "dataset_info": { "features": [{ "name": "label", "dtype": classes }] } });
    hub.card("datasets/owner/glue", card);
    project.replace("pipeline.toml", "owner/messages", "owner/glue");
    let spec = project.read("pipeline.toml");
    let last = "\n[evaluate.scores]\nmodel = \"classifier\"\ninput = \"tokens\"\n";
    project.write("pipeline.toml", &format!("{spec}{last}"));
    let failed = said(online(
        &project,
        &hub,
        &["run", "pipeline.toml", "--json", "--keep-going"],
    ))
    .exits(1);
    assert_eq!(
        built(&failed.json()),
        ["messages", "tokens", "classifier", "bundle"]
    );
    assert!(
        failed.stderr.contains("nothing to compare answers with"),
        "{}",
        failed.stderr
    );
    let config = project.read("dist/bundle/config.json");
    assert!(config.contains("fair"), "{config}");
}

#[test]
fn what_is_cut_beside_a_split_of_the_data_set_and_an_unknown_scheme_are_faults_at_their_fields() {
    let (hub, project) = setting();
    let faulty = |from: &str, to: &str, marks: &[&str]| {
        let spec = project.read("pipeline.toml");
        project.replace("pipeline.toml", from, to);
        let refused = said(online(&project, &hub, &["run", "pipeline.toml"]));
        for mark in marks {
            assert!(
                refused.stderr.contains(mark),
                "no {mark} in {}",
                refused.stderr
            );
        }
        project.write("pipeline.toml", &spec);
    };
    let dataset = "dataset = \"owner/messages\"";
    faulty(
        dataset,
        "dataset = \"owner/messages\"\nsplit = { test = 0.5 }",
        &[
            "has the split \"test\" for that",
            "pipeline.toml:7",
            "splits = { train",
        ],
    );
    faulty(
        dataset,
        "train = [\"ftp://host/train.csv\"]",
        &[
            "nothing is fetched from ftp:// addresses",
            "pipeline.toml:6",
            "hf://",
        ],
    );
    faulty(
        dataset,
        "train = [\"hf://datasets/owner/messages\"]",
        &["no path follows OWNER/NAME", "pipeline.toml:6"],
    );
}
