//! What each command prints, and its exit code.

use serde_json::Value;

use crate::project::{Project, with_outcome};

const SPEC: &str = "pipeline.toml";

#[test]
fn run_json_is_one_object_with_everything_promised() {
    let project = Project::tiny();
    let run = project.run(&[SPEC]);
    assert_eq!(run["pipeline"], "tiny");
    for step in run["steps"].as_array().unwrap() {
        for field in [
            "stage",
            "kind",
            "outcome",
            "reason",
            "key",
            "digest",
            "seconds",
            "resumed_from_step",
        ] {
            assert!(step.get(field).is_some(), "{field} in {step}");
        }
        assert_eq!(step["digest"].as_str().unwrap().len(), 64);
    }
    let scores = &run["scores"]["scores"];
    for metric in [
        "accuracy",
        "f1_macro",
        "f1_micro",
        "f1_weighted",
        "precision_macro",
        "recall_macro",
        "matthews",
        "loss",
    ] {
        assert!(scores[metric].is_number(), "{metric} in {scores}");
    }
    assert_eq!(scores["per_class"].as_array().unwrap().len(), 2);
    assert!(
        run["scores"]["classifier"]["f1_macro"].is_number(),
        "a train stage's validation scores"
    );
}

#[test]
fn a_fresh_run_still_gives_the_scores() {
    let project = Project::tiny();
    let first = project.run(&[SPEC]);
    assert_eq!(first["scores"], project.run(&[SPEC])["scores"]);
    project
        .refit(&["cache", "gc", "--older-than", "0s"])
        .success();
    assert_eq!(
        first["scores"],
        project.run(&[SPEC])["scores"],
        "also when the objects were collected"
    );
}

#[test]
fn without_json_stdout_holds_the_scores_and_stderr_the_rest() {
    let project = Project::tiny();
    let said = project.refit(&["run", SPEC]).success();
    assert!(said.stdout.contains("accuracy"), "{}", said.stdout);
    assert!(!said.stdout.contains("built"));
    assert!(
        said.stderr.contains("built") && said.stderr.contains("classifier"),
        "{}",
        said.stderr
    );
}

#[test]
fn plan_says_why_and_what_waits() {
    let project = Project::tiny();
    let plan = project.refit(&["plan", SPEC]).exits(3).stdout;
    assert!(
        plan.lines().any(|line| line.starts_with("more")
            && line.contains("pending")
            && line.contains("data")),
        "{plan}"
    );
    project.run(&[SPEC]);
    project.refit(&["plan", SPEC]).success();
    let plan = project
        .refit(&[
            "plan",
            SPEC,
            "--set",
            "train.classifier.optimizer.learning_rate=2e-3",
            "--json",
        ])
        .exits(3)
        .json();
    let states: Vec<&str> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["state"].as_str().unwrap())
        .collect();
    assert_eq!(
        states,
        ["fresh", "fresh", "fresh", "run", "pending", "pending"]
    );
    let reason = plan["steps"][3]["reason"].as_str().unwrap();
    assert!(
        reason.contains("learning_rate") && reason.contains("0.001") && reason.contains("0.002"),
        "{reason}"
    );
}

#[test]
fn plan_changes_nothing() {
    let project = Project::tiny();
    project.refit(&["plan", SPEC]).exits(3);
    assert!(
        project
            .refit(&["cache", "list", "--json"])
            .success()
            .json()
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert!(!project.path("dist").exists());
}

#[test]
fn explain_prints_old_and_new_of_every_changed_field() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.replace(SPEC, "learning_rate = 1e-3", "learning_rate = 2e-3");
    project.replace(SPEC, "epochs = 2", "epochs = 1");
    let text = project
        .refit(&["explain", SPEC, "classifier"])
        .success()
        .stdout;
    assert!(text.contains("epochs: 2 → 1"), "{text}");
    assert!(
        text.contains("optimizer.learning_rate: 0.001 → 0.002"),
        "{text}"
    );
    project.replace("data/train.csv", "garden", "gardex");
    let text = project.refit(&["explain", SPEC, "data"]).success().stdout;
    assert!(text.contains("train/0"), "{text}");
    let text = project
        .refit(&["explain", SPEC, "classifier"])
        .success()
        .stdout;
    assert!(
        text.contains("pending") && text.contains("epochs: 2 → 1"),
        "its own changes show while it waits: {text}"
    );
}

#[test]
fn log_lists_runs_with_outcomes_and_scores() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.run(&[SPEC]);
    let log = project.refit(&["log"]).success().stdout;
    assert_eq!(log.lines().count(), 3, "{log}");
    assert!(
        log.contains("6 fresh") && log.contains("6 built") && log.contains("accuracy"),
        "{log}"
    );
    let runs = project
        .refit(&["log", "--json", "-n", "1"])
        .success()
        .json();
    assert_eq!(runs.as_array().unwrap().len(), 1);
    assert_eq!(runs[0]["steps"][0]["outcome"], "fresh");
    assert!(runs[0]["steps"][0]["fingerprint"]["kind"] == "load");
}

#[test]
fn path_prints_where_an_artifact_lies() {
    let project = Project::tiny();
    project.refit(&["path", SPEC, "classifier"]).exits(3);
    project.run(&[SPEC]);
    let path = project
        .refit(&["path", SPEC, "classifier"])
        .success()
        .stdout;
    assert!(
        std::path::Path::new(path.trim())
            .join("model.safetensors")
            .is_file()
    );
    let wrong = project.refit(&["path", SPEC, "clasifier"]).exits(2);
    assert!(
        wrong.stderr.contains("did you mean `classifier`"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn graph_draws_every_stage_and_edge() {
    let project = Project::tiny();
    let text = project.refit(&["graph", SPEC]).success().stdout;
    assert!(
        text.contains("scores      evaluate  ← input = tokens, model = classifier"),
        "{text}"
    );
    let mermaid = project
        .refit(&["graph", SPEC, "--format", "mermaid"])
        .success()
        .stdout;
    assert!(
        mermaid.starts_with("flowchart") && mermaid.contains("tokens -- tokens --> classifier"),
        "{mermaid}"
    );
    let dot = project
        .refit(&["graph", SPEC, "--format", "dot"])
        .success()
        .stdout;
    assert!(
        dot.starts_with("digraph") && dot.contains("\"classifier\" -> \"bundle\""),
        "{dot}"
    );
}

#[test]
fn cache_list_names_key_kind_digest_bytes_and_time() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let list = project.refit(&["cache", "list", "--json"]).success().json();
    let rows = list.as_array().unwrap();
    assert_eq!(rows.len(), 6);
    for row in rows {
        assert_eq!(row["key"].as_str().unwrap().len(), 64);
        assert_eq!(row["digest"].as_str().unwrap().len(), 64);
        assert!(
            row["bytes"].as_u64().unwrap() > 0
                && row["created"].is_string()
                && row["kind"].is_string()
        );
    }
    assert_eq!(
        project
            .refit(&["cache", "list"])
            .success()
            .stdout
            .lines()
            .count(),
        7
    );
}

#[test]
fn set_changes_any_field_and_a_wrong_one_is_shown_in_the_argument() {
    let project = Project::tiny();
    let run = project.run(&[
        SPEC,
        "--set",
        "train.classifier.epochs=1",
        "--set",
        "name=other",
    ]);
    assert_eq!(run["pipeline"], "other");
    let wrong = project
        .refit(&["check", SPEC, "--set", "train.classifier.epoch=1"])
        .exits(2);
    assert!(
        wrong.stderr.contains("--set train.classifier.epoch=1")
            && wrong.stderr.contains("did you mean `epochs`"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn check_reports_every_problem_for_people_and_programs() {
    let project = Project::tiny();
    project.refit(&["check", SPEC]).success();
    project.replace(SPEC, "input = \"more\"", "input = \"mor\"");
    project.replace(SPEC, "epochs = 2", "epochs = 0");
    let said = project.refit(&["check", SPEC, "--json"]).exits(2);
    let problems = said.json()["problems"].as_array().unwrap().clone();
    assert_eq!(problems.len(), 2, "{problems:?}");
    let lines: Vec<&str> = TINY_LINES.to_vec();
    for (problem, wanted) in problems.iter().zip(lines) {
        let line = problem["line"].as_u64().unwrap() as usize;
        assert!(
            project
                .read(SPEC)
                .lines()
                .nth(line - 1)
                .unwrap()
                .contains(wanted),
            "{problem}"
        );
    }
    project.refit(&["run", SPEC]).exits(2);
}

const TINY_LINES: [&str; 2] = ["input = \"mor\"", "epochs = 0"];

#[test]
fn a_failing_stage_stops_the_run_and_keep_going_finishes_the_rest() {
    let project = Project::tiny();
    let broken = "\n[load.broken]\ntrain = \"data/broken.csv\"\n\n[tokenize.after]\ninput = \"broken\"\ntrain_tokenizer = { vocab_size = 100 }\n";
    project.write(
        SPEC,
        &project.read(SPEC).replace(
            "[load.data]",
            &format!("{}\n[load.data]", broken.trim_start()),
        ),
    );
    project.write("data/broken.csv", "text,label\nx,y\nz\n");
    let said = project
        .refit(&["run", SPEC, "--json", "--jobs", "1"])
        .exits(1);
    let run: Value = said.json();
    assert_eq!(with_outcome(&run, "failed"), ["broken"]);
    assert!(with_outcome(&run, "skipped").contains(&"after".to_owned()));
    assert!(
        said.stderr.contains("broken.csv, line 3"),
        "{}",
        said.stderr
    );
    let run = project
        .refit(&["run", SPEC, "--json", "--keep-going"])
        .exits(1)
        .json();
    assert_eq!(with_outcome(&run, "failed"), ["broken"]);
    assert_eq!(with_outcome(&run, "skipped"), ["after"]);
    assert!(project.path("dist/config.json").is_file());
}

#[test]
fn the_store_is_found_as_promised() {
    let project = Project::tiny();
    std::fs::remove_dir_all(project.path(".refit")).unwrap();
    std::fs::create_dir(project.path(".git")).unwrap();
    project.write(
        "deep/er/pipeline.toml",
        &project.read(SPEC).replace("\"data/", "\"../../data/"),
    );
    project.run(&["deep/er/pipeline.toml", "data"]);
    assert!(
        project.path(".refit/keys").is_dir(),
        "the nearest folder with a .git"
    );
    assert_eq!(project.read(".refit/.gitignore").trim(), "*");
    project.run(&[SPEC, "data", "--store", "elsewhere"]);
    assert!(project.path("elsewhere/keys").is_dir(), "--store wins");
    let mut command = project.command(&["run", SPEC, "data"]);
    assert!(
        command
            .env("REFIT_STORE", project.path("third"))
            .status()
            .unwrap()
            .success()
    );
    assert!(project.path("third/keys").is_dir(), "then REFIT_STORE");
}

#[test]
fn json_logs_are_json_lines_on_stderr() {
    let project = Project::tiny();
    let said = project
        .refit(&["check", SPEC, "-vvv", "--log-format", "json"])
        .success();
    for line in said.stderr.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<Value>(line).unwrap();
    }
    assert!(said.stdout.is_empty());
}

#[test]
fn an_absent_device_is_an_error_that_names_those_present() {
    let project = Project::tiny();
    let said = project.refit(&["run", SPEC, "--device", "cuda:7"]).exits(1);
    assert!(said.stderr.contains("flex"), "{}", said.stderr);
    let said = project
        .refit(&["check", SPEC, "--set", "run.device=tpu"])
        .exits(2);
    assert!(said.stderr.contains("no device"), "{}", said.stderr);
}

#[test]
fn a_reader_that_goes_away_changes_nothing() {
    let project = Project::tiny();
    let mut child = project
        .command(&["run", SPEC])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(project.built(&[SPEC]).is_empty());
}

#[test]
fn a_failed_run_does_not_hide_what_changed() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.replace(SPEC, "epochs = 2", "epochs = 1");
    project.refit(&["run", SPEC, "--device", "cuda:7"]).exits(1);
    let text = project.refit(&["explain", SPEC, "classifier"]).success();
    assert!(text.stdout.contains("epochs: 2 → 1"), "{}", text.stdout);
}

#[test]
fn plan_and_run_mean_the_same_stages() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let arguments = [SPEC, "data", "--force", "classifier"];
    let plan = project
        .refit(&[&["plan"], &arguments[..]].concat())
        .exits(3);
    assert!(plan.stdout.contains("classifier"), "{}", plan.stdout);
    assert_eq!(project.built(&arguments), ["classifier"]);
}

#[test]
fn an_unknown_device_is_refused_before_anything_runs() {
    Project::tiny()
        .refit(&["run", SPEC, "--device", "banana"])
        .exits(2);
}
