//! One training on several devices, through the real program: the two backends of this machine's processor as two devices.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::{Project, digests};

const SPEC: &str = "pipeline.toml";
const BOTH: &[&str] = &[SPEC, "--device", "flex,ndarray"];

/// The tiny pipeline with a training of so many steps.
fn project(steps: u32) -> Project {
    let project = Project::tiny();
    project.replace(SPEC, "epochs = 2", &format!("max_steps = {steps}"));
    project.replace(
        SPEC,
        "[load.data]",
        "[run]\ncheckpoint = { every_steps = 5, keep = 2 }\n\n[load.data]",
    );
    project
}

fn losses(project: &Project) -> Vec<f64> {
    project.losses(SPEC, "classifier")
}

/// With dropout, since what is dropped follows a row's place in the batch and not its device.
#[test]
fn thirty_steps_of_two_devices_have_the_losses_of_one() {
    let (alone, shared) = (project(30), project(30));
    alone.run(&[SPEC, "--device", "flex"]);
    let said = shared.refit(&[&["run"], BOTH].concat()).success();
    assert!(
        said.stderr.contains("training on flex, ndarray"),
        "{}",
        said.stderr
    );
    let (alone, shared) = (losses(&alone), losses(&shared));
    assert_eq!((alone.len(), shared.len()), (30, 30));
    let off = alone.iter().zip(&shared).map(|(a, b)| (a - b).abs() / a);
    let largest = off.fold(0.0, f64::max);
    println!("the largest difference is {largest:e} of a loss");
    assert!(largest < 1e-5, "a loss is off by {largest:e} of itself");
    assert_ne!(alone, shared, "one device did it all");
}

#[test]
fn a_training_on_two_devices_that_is_killed_goes_on_to_the_same_digest() {
    let whole = project(200);
    let wanted = digests(&whole.run(BOTH));
    let project = project(200);
    killed(&project);
    let run = project.run(BOTH);
    let steps = run["steps"].as_array().unwrap();
    let of = steps.iter().find(|step| step["stage"] == "classifier");
    assert!(of.unwrap()["resumed_from_step"].as_u64() > Some(0), "{run}");
    assert_eq!(digests(&run), wanted);
}

#[test]
fn a_checkpoint_of_another_number_of_devices_is_passed_over() {
    let whole = project(200);
    let wanted = digests(&whole.run(&[SPEC, "--device", "flex"]));
    let project = project(200);
    killed(&project);
    let said = project
        .refit(&["run", SPEC, "--device", "flex", "--json"])
        .success();
    assert!(
        said.stderr
            .contains("it is of a training on flex + ndarray, and this one is on flex"),
        "{}",
        said.stderr
    );
    let run: Value = serde_json::from_str(&said.stdout).unwrap();
    let steps = run["steps"].as_array().unwrap();
    let of = steps.iter().find(|step| step["stage"] == "classifier");
    assert_eq!(of.unwrap()["resumed_from_step"], Value::Null, "{run}");
    assert_eq!(digests(&run), wanted);
}

/// Begins a run on both devices and kills it once it has written a checkpoint.
fn killed(project: &Project) {
    let mut child = project
        .command(&[&["run"], BOTH].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    let written = || {
        let folders = std::fs::read_dir(project.path(".refit/checkpoints"));
        let folders = folders.into_iter().flatten().flatten();
        let inside = folders.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten());
        let names = inside.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("step-")).count()
    };
    while written() == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it was too quick");
        assert!(Instant::now() < until, "it writes no checkpoint");
        std::thread::sleep(Duration::from_millis(3));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn devices_that_cannot_be_shared_are_told_before_anything_runs() {
    let project = project(5);
    let said = project
        .refit(&["run", SPEC, "--device", "flex,tpu"])
        .exits(2);
    assert!(
        said.stderr.contains("with commas between"),
        "{}",
        said.stderr
    );
    let said = project
        .refit(&["run", SPEC, "--device", "flex,flex"])
        .exits(2);
    assert!(said.stderr.contains("asked for twice"), "{}", said.stderr);
    let device = "run.device=\"cuda:0,1,0\"";
    let said = project.refit(&["check", SPEC, "--set", device]).exits(2);
    assert!(
        said.stderr
            .contains("`run.device` names the device \"cuda:0\" twice"),
        "{}",
        said.stderr
    );
}
