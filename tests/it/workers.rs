//! Workers on the loopback interface, each a process of the real program, as the devices of a training.
#![cfg(feature = "remote")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::{Project, digests};

const SPEC: &str = "pipeline.toml";
const TOKEN: &str = "REFIT_WORKER_TOKEN";
const SECRET: &str = "a token of this test";

/// A worker, gone when dropped.
struct Worker {
    child: Child,
    address: String,
}

impl Worker {
    fn start(project: &Project) -> Worker {
        let mut child = project
            .command(&["worker", "--bind", "127.0.0.1:0", "--device", "flex"])
            .env(TOKEN, SECRET)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        assert!(address.starts_with("ws://127.0.0.1:"), "{address:?}");
        Worker { child, address }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The tiny pipeline with a training of so many steps, without dropout.
fn project(steps: u32) -> Project {
    let project = Project::tiny();
    let settings = format!("max_steps = {steps}\nhead = {{ dropout = 0.0 }}");
    project.replace(SPEC, "epochs = 2", &settings);
    project.replace(
        SPEC,
        "max_positions = 24",
        "max_positions = 24, dropout = 0.0",
    );
    project.replace(
        SPEC,
        "[load.data]",
        "[run]\ncheckpoint = { every_steps = 5, keep = 2 }\n\n[load.data]",
    );
    project
}

fn losses(project: &Project) -> Vec<f64> {
    let folder = project
        .refit(&["path", SPEC, "classifier"])
        .success()
        .stdout;
    let log = std::fs::read_to_string(format!("{}/metrics.jsonl", folder.trim())).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter_map(|line: Value| line["loss"].as_f64())
        .collect()
}

fn run_on(project: &Project, devices: &str) -> crate::project::Said {
    let mut command = project.command(&["run", SPEC, "--device", devices, "--json"]);
    command.env(TOKEN, SECRET).output().unwrap().into()
}

#[test]
fn thirty_steps_on_two_workers_have_the_losses_of_one_device() {
    let (alone, shared) = (project(30), project(30));
    alone.run(&[SPEC, "--device", "flex"]);
    let workers = [Worker::start(&shared), Worker::start(&shared)];
    let devices = workers.each_ref().map(|worker| worker.address.as_str());
    run_on(&shared, &devices.join(",")).success();
    let (alone, shared) = (losses(&alone), losses(&shared));
    assert_eq!((alone.len(), shared.len()), (30, 30));
    let off = alone.iter().zip(&shared).map(|(a, b)| (a - b).abs() / a);
    let largest = off.fold(0.0, f64::max);
    assert!(largest < 1e-4, "a loss is off by {largest:e} of itself");
}

#[test]
fn a_worker_that_dies_ends_the_run_with_an_error_and_the_next_run_goes_on() {
    let whole = project(200);
    let workers = [Worker::start(&whole), Worker::start(&whole)];
    let both = |workers: &[Worker; 2]| {
        let devices = workers.each_ref().map(|worker| worker.address.clone());
        devices.join(",")
    };
    let wanted = digests(&run_on(&whole, &both(&workers)).success().json());
    for dies in 0..2 {
        let project = project(200);
        let mut workers = [Worker::start(&project), Worker::start(&project)];
        let mut child = project
            .command(&["run", SPEC, "--device", &both(&workers)])
            .env(TOKEN, SECRET)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(180);
        let written = || {
            let folders = std::fs::read_dir(project.path(".refit/checkpoints"));
            let folders = folders.into_iter().flatten().flatten();
            let inside =
                folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
            let names = inside.map(|entry| entry.file_name().into_string().unwrap());
            names.filter(|name| name.starts_with("step-")).count()
        };
        while written() == 0 {
            assert!(child.try_wait().unwrap().is_none(), "it was too quick");
            assert!(Instant::now() < until, "it writes no checkpoint");
            std::thread::sleep(Duration::from_millis(5));
        }
        workers[dies].child.kill().unwrap();
        let said: crate::project::Said = child.wait_with_output().unwrap().into();
        let said = said.exits(1);
        let lost = format!("the worker {} was lost", workers[dies].address);
        assert!(said.stderr.contains(&lost), "{}", said.stderr);
        workers[dies] = Worker::start(&project);
        let run = run_on(&project, &both(&workers)).success().json();
        let steps = run["steps"].as_array().unwrap();
        let of = steps.iter().find(|step| step["stage"] == "classifier");
        assert!(of.unwrap()["resumed_from_step"].as_u64() > Some(0), "{run}");
        assert_eq!(digests(&run), wanted);
    }
}

#[test]
fn a_worker_needs_a_token_and_takes_no_other() {
    let project = project(2);
    let bare = project.command(&["worker"]).env_remove(TOKEN).output();
    let said = crate::project::Said::from(bare.unwrap()).exits(2);
    assert!(said.stderr.contains(TOKEN), "{}", said.stderr);
    let worker = Worker::start(&project);
    let run = || project.command(&["run", SPEC, "--device", &worker.address]);
    let without = run().env_remove(TOKEN).output().unwrap();
    let said = crate::project::Said::from(without).exits(1);
    assert!(said.stderr.contains("there is no token"), "{}", said.stderr);
    let wrong = run().env(TOKEN, "another").output().unwrap();
    let said = crate::project::Said::from(wrong).exits(1);
    assert!(said.stderr.contains("refused the token"), "{}", said.stderr);
    assert!(!said.stderr.contains("another"));
}

#[test]
fn a_worker_ends_when_it_is_asked_to() {
    let project = project(2);
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut worker = Worker::start(&project);
        let pid = i32::try_from(worker.child.id()).unwrap();
        // SAFETY: it is a child of ours that nobody has waited for.
        unsafe { libc::kill(pid, signal) };
        assert_eq!(worker.child.wait().unwrap().code(), Some(0));
    }
}
