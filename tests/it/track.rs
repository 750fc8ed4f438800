//! Following a run: what TensorBoard and MLflow are told is what happened, once, and no trouble of theirs is the run's.
//!
//! Event files are read back by a reader of this test's own, and by TensorBoard's two where it is installed; MLflow is a
//! server of its own where that is installed (`pip install tensorboard mlflow`, and their folder on the path).

mod reader;
mod servers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::reader::{Curves, curves, files, texts};
use self::servers::{Mlflow, Played, TensorBoard};
use crate::project::{Project, Said, digests};

const SPEC: &str = "pipeline.toml";

/// The tiny pipeline, with these settings of `[run]`.
fn project(run: &str) -> Project {
    let project = Project::tiny();
    project.replace(SPEC, "[load.data]", &format!("[run]\n{run}\n\n[load.data]"));
    project
}

fn followed() -> Project {
    project("track = { tensorboard = \"runs\" }")
}

/// The one folder of a stage below `runs`.
fn folder_of(project: &Project, stage: &str) -> PathBuf {
    let mut found = folders(&project.path("runs").join(stage));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn path_of(project: &Project, stage: &str) -> PathBuf {
    let said = project.refit(&["path", SPEC, stage]).success();
    PathBuf::from(said.stdout.trim())
}

/// What a stage's log holds: tag → (step, value).
fn logged(project: &Project) -> Curves {
    let mut curves = Curves::new();
    for line in project.log(SPEC, "classifier") {
        let step = line["step"].as_i64().unwrap();
        let mut add = |tag: String, value: &Value| {
            #[expect(clippy::cast_possible_truncation, reason = "event files hold floats")]
            let value = value.as_f64().unwrap() as f32;
            curves.entry(tag).or_default().push((step, value));
        };
        match line["validation"].as_object() {
            Some(scores) => {
                for (metric, value) in scores {
                    add(format!("validation/{metric}"), value);
                }
            }
            None => {
                for name in ["loss", "learning_rate", "gradient_norm"] {
                    add(format!("train/{name}"), &line[name]);
                }
            }
        }
    }
    curves
}

/// What is told once a second, or before a validation.
fn is_measured(tag: &str) -> bool {
    tag.ends_with("_per_second") || tag.starts_with("memory/")
}

#[test]
fn tensorboard_is_told_every_number_of_a_training_and_its_scores() {
    let project = followed();
    project.replace(
        SPEC,
        "optimizer = { learning_rate = 1e-3 }",
        "optimizer = { learning_rate = 1e-3, head_learning_rate = 1e-2 }",
    );
    project.run(&[SPEC]);
    let folder = folder_of(&project, "classifier");
    let mut told = curves(&folder);

    let scores = std::fs::read(path_of(&project, "scores").join("scores.json")).unwrap();
    let scores: Value = serde_json::from_slice(&scores).unwrap();
    for metric in ["accuracy", "f1_macro", "loss"] {
        #[expect(clippy::cast_possible_truncation, reason = "event files hold floats")]
        let wanted = scores[metric].as_f64().unwrap() as f32;
        let tag = format!("evaluate/scores/{metric}");
        assert_eq!(told.get(&tag), Some(&vec![(0, wanted)]), "{tag}");
    }
    assert!(!told.contains_key("evaluate/scores/rows"));
    told.retain(|tag, _| !tag.starts_with("evaluate/"));

    let measured: BTreeMap<_, _> = told.iter().filter(|(tag, _)| is_measured(tag)).collect();
    let names: Vec<&str> = measured.keys().map(|tag| tag.as_str()).collect();
    assert_eq!(
        names,
        [
            "memory/process_mib",
            "train/examples_per_second",
            "train/tokens_per_second"
        ]
    );
    for (tag, points) in measured {
        let sound = |(step, value): &(i64, f32)| (1..=14).contains(step) && *value > 1.0;
        assert!(points.iter().all(sound), "{tag}: {points:?}");
    }
    told.retain(|tag, _| !is_measured(tag));

    let rate = told["train/learning_rate"].clone();
    let head = told.remove("train/learning_rate_head").unwrap();
    assert_eq!(head.len(), rate.len());
    for ((_, head), (_, rate)) in head.iter().zip(rate) {
        assert!((head - rate * 10.0).abs() <= 1e-6 * rate, "{head} {rate}");
    }
    let wanted = logged(&project);
    assert!(wanted["train/loss"].len() >= 14 && wanted["validation/f1_macro"].len() == 2);
    assert_eq!(told, wanted);

    let texts = texts(&folder);
    assert_eq!(texts.keys().collect::<Vec<_>>(), ["settings", "spec"]);
    assert!(texts["spec"].contains(project.read(SPEC).trim()));
    assert!(texts["settings"].contains("\"head_learning_rate\": 0.01"));
}

#[test]
fn what_is_not_run_tells_nothing_and_following_reruns_nothing() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let track = ["--set", "run.track.tensorboard=runs"];
    assert!(project.built(&[SPEC, track[0], track[1]]).is_empty());
    assert!(!project.path("runs").exists());

    // Another evaluation of the same training belongs to it.
    project.replace(
        SPEC,
        "input = \"tokens\"\n\n[export",
        "input = \"tokens\"\nsplit = \"validation\"\n\n[export",
    );
    assert!(
        project
            .built(&[SPEC, track[0], track[1]])
            .contains(&"scores".to_owned())
    );
    let folder = folder_of(&project, "classifier");
    let validation = curves(&folder);
    assert!(
        validation
            .keys()
            .all(|tag| tag.starts_with("evaluate/scores/"))
    );
    // The next one takes its place.
    project.replace(
        SPEC,
        "split = \"validation\"\n\n[export",
        "split = \"train\"\n\n[export",
    );
    project.run(&[SPEC, track[0], track[1]]);
    assert_eq!(files(&folder).len(), 1);
    assert_ne!(curves(&folder), validation);
}

#[test]
fn a_changed_training_lies_beside_the_one_before_and_a_repeated_one_in_its_place() {
    let project = followed();
    project.run(&[SPEC]);
    let first = folder_of(&project, "classifier");
    let once = curves(&first);
    project.run(&[SPEC, "--force", "classifier"]);
    assert_eq!(folder_of(&project, "classifier"), first);
    let mut twice = curves(&first);
    twice.retain(|tag, _| !is_measured(tag));
    let mut once = once;
    once.retain(|tag, _| !is_measured(tag));
    assert_eq!(twice, once);
    project.replace(SPEC, "learning_rate = 1e-3", "learning_rate = 2e-3");
    project.run(&[SPEC]);
    assert_eq!(folders(&project.path("runs/classifier")).len(), 2);
}

/// A long training that is killed behind its second checkpoint, and gone on with.
fn killed_and_resumed(project: &Project, command: &dyn Fn(&[&str]) -> std::process::Command) {
    project.replace(SPEC, "epochs = 2", "epochs = 60");
    let mut child = command(&["run", SPEC])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    let second = |entry: &PathBuf| {
        folders(entry).iter().any(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let step = name
                .strip_prefix("step-")
                .and_then(|step| step.parse::<u64>().ok());
            step.is_some_and(|step| step >= 20)
        })
    };
    while !folders(&project.path(".refit/checkpoints"))
        .iter()
        .any(second)
    {
        assert!(Instant::now() < until, "there is no checkpoint");
        assert_eq!(child.try_wait().unwrap(), None, "it was too quick");
        std::thread::sleep(Duration::from_millis(3));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let said: Said = command(&["run", SPEC, "--json"]).output().unwrap().into();
    let run = said.success().json();
    let steps = run["steps"].as_array().unwrap();
    let training = steps.iter().find(|step| step["stage"] == "classifier");
    assert!(
        training.unwrap()["resumed_from_step"].as_u64() >= Some(20),
        "{run}"
    );
}

#[test]
fn a_training_that_was_killed_and_goes_on_has_one_curve() {
    let project = project("checkpoint = { every_steps = 10 }\ntrack = { tensorboard = \"runs\" }");
    killed_and_resumed(&project, &|arguments| project.command(arguments));
    let folder = folder_of(&project, "classifier");
    let mut told = curves(&folder);
    told.retain(|tag, _| !is_measured(tag) && !tag.starts_with("evaluate/"));
    assert_eq!(told, logged(&project));
    assert_eq!(texts(&folder).len(), 2);

    // And to TensorBoard's own readers.
    let wanted = &told["train/loss"];
    for fast in [false, true] {
        let Some(board) = TensorBoard::start(&project.path("runs"), fast) else {
            return;
        };
        let key = folder.file_name().unwrap().to_str().unwrap();
        let points = board.scalars(&format!("classifier/{key}"), "train/loss", wanted.len());
        let read: Vec<(i64, f32)> = points
            .iter()
            .map(|point| {
                #[expect(clippy::cast_possible_truncation, reason = "event files hold floats")]
                let value = point[2].as_f64().unwrap() as f32;
                (point[1].as_i64().unwrap(), value)
            })
            .collect();
        assert_eq!(&read, wanted, "fast: {fast}");
        let spec = board.text(&format!("classifier/{key}"), "spec");
        assert!(spec.contains("scratch = { layers = 1"), "{spec}");
    }
}

#[test]
fn trials_of_a_sweep_lie_beside_each_other() {
    let project = followed();
    let text = project.read(SPEC)
        + "\n[sweep]\ngoal = { maximize = \"classifier.f1_macro\" }\n[sweep.parameters]\n\"train.classifier.optimizer.learning_rate\" = [1e-3, 2e-2]\n";
    project.write(SPEC, &text);
    let said = project.refit(&["sweep", SPEC, "--json"]).success().json();
    let found = folders(&project.path("runs/classifier"));
    assert_eq!(found.len(), 2, "{found:?}");
    for (trial, folder) in found.iter().enumerate() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with(&format!("trial-{trial}-")), "{name}");
        let told = curves(folder);
        assert!(told["train/loss"].len() >= 14, "{told:?}");
        // All stages run for the best one alone.
        let evaluated = told.contains_key("evaluate/scores/accuracy");
        assert_eq!(evaluated, said["best"] == json!(trial), "{trial}");
    }
}

#[test]
fn a_watched_pipeline_is_followed() {
    let project = followed();
    let mut child = project
        .command(&["watch", SPEC])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    let evaluated = || {
        let folders = folders(&project.path("runs/classifier"));
        let name = |path: &PathBuf| path.to_string_lossy().ends_with(".scores.evaluate");
        folders.iter().any(|folder| files(folder).iter().any(name))
    };
    while !evaluated() {
        assert!(Instant::now() < until, "nothing is told");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(curves(&folder_of(&project, "classifier"))["train/loss"].len() >= 14);
}

/// The warnings of a run about those who follow.
fn warnings(said: &Said) -> Vec<&str> {
    let lines = said.stderr.lines();
    lines.filter(|line| line.contains("did not take")).collect()
}

/// The warning counts every number of the run as lost.
fn assert_all_are_lost(warning: &str) {
    let (_, rest) = warning.split_once("did not take ").unwrap();
    let (lost, rest) = rest.split_once(" of the ").unwrap();
    let all = rest.split(' ').next().unwrap();
    assert_eq!(lost, all, "{warning}");
    assert!(all.parse::<usize>().unwrap() > 42, "{warning}");
}

#[test]
fn a_folder_that_cannot_be_written_is_one_warning() {
    let project = followed();
    project.write("runs", "no folder");
    let said = project.refit(&["run", SPEC, "--json"]).success();
    let [warning] = warnings(&said)[..] else {
        panic!("{}", said.stderr)
    };
    assert!(warning.contains("TensorBoard's folder runs"), "{warning}");
    assert_all_are_lost(warning);
    assert_eq!(
        digests(&said.json()),
        digests(&Project::tiny().run(&[SPEC]))
    );
}

fn mlflow(url: &str) -> String {
    format!("track = {{ mlflow = {{ url = \"{url}\", token = \"${{env:TOKEN:-}}\" }} }}")
}

#[test]
fn a_server_that_is_gone_fails_or_stalls_ends_no_training() {
    let token = "sesame-open-thyself";
    let wanted = digests(&Project::tiny().run(&[SPEC]));
    for played in [Played::Gone, Played::Fails, Played::Stalls, Played::Refuses] {
        let server = played.start(token);
        let project = project(&mlflow(&server.url));
        let mut command = project.command(&["run", SPEC, "--json"]);
        let said: Said = command.env("TOKEN", token).output().unwrap().into();
        let said = said.success();
        assert_eq!(digests(&said.json()), wanted, "{played:?}");
        let [warning] = warnings(&said)[..] else {
            panic!("{played:?}: {}", said.stderr)
        };
        assert!(warning.contains(&server.url), "{warning}");
        assert_all_are_lost(warning);
        let why = match played {
            Played::Gone => "refused",
            Played::Fails => "500",
            Played::Stalls => "",
            Played::Refuses => "403 Forbidden: no entry for [token]",
        };
        assert!(warning.contains(why), "{played:?}: {warning}");
        assert!(!said.stderr.contains(token), "{}", said.stderr);
        if !matches!(played, Played::Gone) {
            let asked = server.asked();
            assert!(
                asked.contains(&format!("authorization: Bearer {token}").to_lowercase()),
                "{asked}"
            );
        }
        for file in reader::all_files(&project.path(".refit")) {
            let bytes = std::fs::read(&file).unwrap();
            let holds = bytes
                .windows(token.len())
                .any(|some| some == token.as_bytes());
            assert!(!holds, "{} holds the token", file.display());
        }
    }
}

#[test]
fn mlflow_has_every_training_as_a_run() {
    let Some(server) = Mlflow::start() else {
        return;
    };
    let project = project(&format!(
        "checkpoint = {{ every_steps = 10 }}\ntrack = {{ mlflow = {{ url = \"{}\", experiment = \"news\" }} }}",
        server.url
    ));
    let command = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        // Proxies are not for this machine.
        command.env("NO_PROXY", "127.0.0.1");
        command
    };
    // Killed and gone on with, it is one run with each step once.
    killed_and_resumed(&project, &command);
    let runs = server.runs("news");
    let [run] = &runs[..] else {
        panic!("{runs:#?}")
    };
    assert_eq!(run["info"]["status"], "FINISHED", "{run:#}");
    let of = |list: &str, key: &str| {
        let all = run["data"][list].as_array().unwrap();
        let found = all.iter().find(|one| one["key"] == key);
        found.unwrap_or_else(|| panic!("{key}: {run:#}"))["value"].clone()
    };
    assert_eq!(of("params", "epochs"), "60");
    assert_eq!(of("params", "optimizer.learning_rate"), "0.001");
    assert_eq!(of("tags", "refit.stage"), "classifier");
    let scores = std::fs::read(path_of(&project, "scores").join("scores.json")).unwrap();
    let scores: Value = serde_json::from_slice(&scores).unwrap();
    assert_eq!(
        of("metrics", "evaluate/scores/accuracy"),
        scores["accuracy"]
    );

    let id = run["info"]["run_id"].as_str().unwrap();
    for (tag, wanted) in logged(&project) {
        let mut told = server.history(id, &tag);
        told.sort_by_key(|(step, _)| *step);
        let steps = |curve: &[(i64, f32)]| curve.iter().map(|(step, _)| *step).collect::<Vec<_>>();
        let mut once = steps(&told);
        once.dedup();
        assert_eq!(once.len(), told.len(), "{tag}: a step is there twice");
        // What was on its way when the process was killed may be missing.
        let missing = wanted.len() - told.len();
        assert!(
            missing < wanted.len() / 2,
            "{tag}: {missing} of {} are missing",
            wanted.len()
        );
        for point in &told {
            assert!(wanted.contains(point), "{tag}: {point:?}");
        }
        assert_eq!(told.last(), wanted.last(), "{tag}");
    }
    let spec = server.artifact(run, "spec.toml");
    assert_eq!(spec.trim(), project.read(SPEC).trim());

    // What evaluates the same model later on belongs to its run.
    project.replace(
        SPEC,
        "input = \"tokens\"\n\n[export",
        "input = \"tokens\"\nsplit = \"validation\"\n\n[export",
    );
    let said: Said = command(&["run", SPEC, "--json"]).output().unwrap().into();
    assert!(warnings(&said.success()).is_empty());
    let again = server.runs("news");
    assert_eq!(again.len(), 1);
    assert_eq!(again[0]["info"]["status"], "FINISHED");
    assert_eq!(server.history(id, "evaluate/scores/accuracy").len(), 2);

    // Run again from its beginning, it is another run.
    let said: Said = command(&["run", SPEC, "--force", "classifier"])
        .output()
        .unwrap()
        .into();
    assert!(warnings(&said.success()).is_empty());
    assert_eq!(server.runs("news").len(), 2);
}
