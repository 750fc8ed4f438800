//! Killed at any moment, or raced by a second process: the next run is right, and nothing half-written is trusted.

use std::process::Stdio;
use std::time::Duration;

use crate::project::{Project, Said, built, digests, with_outcome};

const SPEC: &str = "pipeline.toml";

#[test]
fn a_run_killed_at_any_moment_is_made_good_by_the_next() {
    let whole = digests(&Project::tiny().run(&[SPEC]));
    let project = Project::tiny();
    let mut killed = 0;
    for round in 0..12_u64 {
        let mut child = project
            .command(&["run", SPEC, "--json"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(30 + 67 * round));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
    }
    assert!(killed > 0, "no run was long enough to be killed");
    let run = project.run(&[SPEC]);
    assert_eq!(digests(&run), whole);
    project.refit(&["cache", "verify"]).success();
    let drafts = std::fs::read_dir(project.path(".refit/drafts")).unwrap();
    let left: Vec<_> = drafts
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn two_runs_at_once_build_each_key_once() {
    let project = Project::tiny();
    let start = || {
        project
            .command(&["run", SPEC, "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let (first, second) = (start(), start());
    let outputs = [first, second].map(|child| {
        Said::from(child.wait_with_output().unwrap())
            .success()
            .json()
    });
    let mut stages: Vec<String> = outputs.iter().flat_map(built).collect();
    stages.sort();
    assert_eq!(
        stages,
        ["bundle", "classifier", "data", "more", "scores", "tokens"]
    );
    assert_eq!(digests(&outputs[0]), digests(&outputs[1]));
    project.refit(&["cache", "verify"]).success();
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_130_and_the_next_run_goes_on() {
    let project = Project::tiny();
    project.replace(SPEC, "epochs = 2", "epochs = 2000");
    let child = project
        .command(&["run", SPEC, "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let store = project.path(".refit/drafts");
    let training = || {
        std::fs::read_dir(project.path(".refit/keys")).is_ok_and(|keys| keys.count() >= 3)
            && store.is_dir()
    };
    for _ in 0..600 {
        if training() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(300));
    let sent = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let said = Said::from(child.wait_with_output().unwrap()).exits(130);
    assert!(
        said.stderr.contains("run the same command to go on"),
        "{}",
        said.stderr
    );
    assert_eq!(
        with_outcome(&said.json(), "built"),
        ["data", "more", "tokens"]
    );
    let run = project.run(&[SPEC, "--set", "train.classifier.epochs=1"]);
    assert_eq!(built(&run), ["classifier", "scores", "bundle"]);
}

#[test]
fn a_read_only_store_is_a_clear_error() {
    let project = Project::tiny();
    project.write("file", "");
    let said = project
        .refit(&["run", SPEC, "--store", "file/inside"])
        .exits(1);
    assert!(said.stderr.contains("file/inside"), "{}", said.stderr);
}
