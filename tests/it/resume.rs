//! A training that is stopped at any moment goes on where it was, and ends in the digest of one that never was.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::project::{Project, Said, digests};

const SPEC: &str = "pipeline.toml";
const EVERY: u64 = 5;

/// The tiny pipeline with a training long enough to be stopped, and checkpoints every few steps.
fn project(settings: &str) -> Project {
    let project = Project::tiny();
    project.replace(SPEC, "epochs = 2", &format!("epochs = 60\n{settings}"));
    project.replace(
        SPEC,
        "[load.data]",
        &format!("[run]\ncheckpoint = {{ every_steps = {EVERY}, keep = 2 }}\n\n[load.data]"),
    );
    project
}

/// The checkpoints that there are, the oldest first.
fn checkpoints(project: &Project) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(project.path(".refit/checkpoints"));
    let folders = folders.into_iter().flatten().flatten();
    let inside = folders.flat_map(|folder| {
        std::fs::read_dir(folder.path())
            .into_iter()
            .flatten()
            .flatten()
    });
    let mut found: Vec<PathBuf> = inside.map(|entry| entry.path()).collect();
    found.retain(|path| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("step-")
    });
    found.sort();
    found
}

fn step_of(checkpoint: &std::path::Path) -> u64 {
    let name = checkpoint.file_name().unwrap().to_str().unwrap();
    name.trim_start_matches("step-").parse().unwrap()
}

/// Runs until `ripe` says so, and stops it by this signal. False when it ended before.
fn stopped(project: &Project, signal: i32, ripe: &mut dyn FnMut() -> bool) -> bool {
    let mut child = project
        .command(&["run", SPEC, "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "it neither ripens nor ends");
        if ripe() {
            let pid = i32::try_from(child.id()).unwrap();
            // SAFETY: it is a child of ours that nobody has waited for.
            unsafe { libc::kill(pid, signal) };
            let status = child.wait().unwrap();
            if signal == libc::SIGINT {
                assert!(matches!(status.code(), Some(0 | 130)), "{status}");
            }
            return status.code() != Some(0);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    false
}

fn resumed_from(run: &Value) -> Option<u64> {
    let steps = run["steps"].as_array().unwrap();
    let of = steps
        .iter()
        .find(|step| step["stage"] == "classifier")
        .unwrap();
    of["resumed_from_step"].as_u64()
}

fn undisturbed(settings: &str) -> std::collections::BTreeMap<String, String> {
    let project = project(settings);
    let run = project.run(&[SPEC]);
    assert_eq!(resumed_from(&run), None);
    assert!(checkpoints(&project).is_empty(), "they stay behind");
    digests(&run)
}

#[test]
fn a_training_killed_ten_times_ends_as_one_that_was_not() {
    const KILLS: usize = 10;
    let long = || {
        let project = project("");
        project.replace(SPEC, "epochs = 60", "epochs = 120");
        project
    };
    let wanted = digests(&long().run(&[SPEC]));
    let project = long();
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let newest = || checkpoints(&project).last().map_or(0, |path| step_of(path));
    let mut last = 0;
    for kill in 0..KILLS {
        let more = EVERY * random.random_range(1..=3);
        let mut seen = None;
        let pause = Duration::from_micros(random.random_range(0..10_000));
        let ripe = &mut || {
            if seen.is_none() && newest() >= last + more {
                seen = Some(Instant::now());
            }
            seen.is_some_and(|seen| seen.elapsed() >= pause)
        };
        let stopped = stopped(&project, libc::SIGKILL, ripe);
        assert!(stopped, "seed {seed}: it ended before kill {kill}");
        let now = newest();
        assert!(
            now >= last + more && now.is_multiple_of(EVERY),
            "seed {seed}"
        );
        last = now;
    }
    let run = project.run(&[SPEC]);
    assert_eq!(resumed_from(&run), Some(last), "seed {seed}: {run}");
    assert_eq!(digests(&run), wanted, "seed {seed}");
    assert!(checkpoints(&project).is_empty(), "they stay behind");
    project.refit(&["cache", "verify"]).success();
}

#[test]
fn ctrl_c_finishes_the_step_and_writes_it_down() {
    for settings in [
        "",
        "gradient_checkpointing = true",
        "ema = { decay = 0.9 }",
        "schedule = { name = \"cosine\" }",
    ] {
        let wanted = undisturbed(settings);
        let project = project(settings);
        let ripe = &mut || !checkpoints(&project).is_empty();
        assert!(
            stopped(&project, libc::SIGINT, ripe),
            "{settings}: it was too quick"
        );
        let newest = step_of(checkpoints(&project).last().unwrap());
        let run = project.run(&[SPEC]);
        assert_eq!(resumed_from(&run), Some(newest), "{settings}");
        assert_eq!(digests(&run), wanted, "{settings}");
    }
}

/// What a training may consist of besides weights: settings, and the line of the tiny spec that gives way to another.
const TRAININGS: [(&str, &str, &str); 8] = [
    ("batch = { size = 8, micro_size = 3 }", BATCH, ""),
    ("precision = \"fp16\"", "", ""),
    ("freeze = { embeddings = true }", SCRATCH, TRAINED),
    ("freeze = { layers = 1 }", SCRATCH, TRAINED),
    (
        "optimizer = { name = \"adamw\", learning_rate = 1e-3, weight_decay = 0.1 }",
        OPTIMIZER,
        "",
    ),
    (
        "optimizer = { name = \"adam\", learning_rate = 1e-3 }",
        OPTIMIZER,
        "",
    ),
    (
        "optimizer = { name = \"sgd\", learning_rate = 0.1, momentum = 0.9 }",
        OPTIMIZER,
        "",
    ),
    (
        "optimizer = { name = \"lamb\", learning_rate = 1e-3 }",
        OPTIMIZER,
        "",
    ),
];
const BATCH: &str = "batch = { size = 8 }\n";
const OPTIMIZER: &str = "optimizer = { learning_rate = 1e-3 }\n";
const SCRATCH: &str = "scratch = { layers = 1, hidden = 16, heads = 2, max_positions = 24 }\n";
const LEARNT: &str =
    "train_tokenizer = { model = \"wordpiece\", vocab_size = 150, min_frequency = 1 }";
/// Only what has learned something may be frozen: the model of an earlier run.
const TRAINED: &str = "encoder = \"encoder\"\n";

/// A folder `encoder` with what another project's run placed.
fn give_encoder(project: &Project) {
    let other = Project::tiny();
    other.replace(SPEC, "layers = 1,", "layers = 2,");
    other.run(&[SPEC]);
    std::fs::rename(other.path("dist"), project.path("encoder")).unwrap();
    project.replace(SPEC, LEARNT, "tokenizer = \"encoder\"");
}

#[test]
fn every_kind_of_training_goes_on_after_a_kill_and_after_ctrl_c() {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((settings, line, other)) =
            TRAININGS.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let project = || {
                let project = project(settings);
                project.replace(SPEC, line, other);
                if *other == TRAINED {
                    give_encoder(&project);
                }
                project.replace(SPEC, "epochs = 60", "epochs = 30");
                project
            };
            let wanted = digests(&project().run(&[SPEC]));
            let project = project();
            let newest = || checkpoints(&project).last().map_or(0, |path| step_of(path));
            let mut last = 0;
            for signal in [libc::SIGKILL, libc::SIGINT] {
                let ripe = &mut || newest() > last;
                assert!(
                    stopped(&project, signal, ripe),
                    "{settings}: it was too quick"
                );
                last = newest();
            }
            let run = project.run(&[SPEC]);
            assert_eq!(resumed_from(&run), Some(last), "{settings}: {run}");
            assert_eq!(digests(&run), wanted, "{settings}");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
}

/// The checkpoints that are being written, or were when somebody was killed.
fn half_written(project: &Project) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(project.path(".refit/checkpoints"));
    let folders = folders.into_iter().flatten().flatten();
    let inside = folders.flat_map(|folder| std::fs::read_dir(folder.path()));
    let paths = inside.flatten().flatten().map(|entry| entry.path());
    let is_half = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("writing-")
    };
    paths.filter(is_half).collect()
}

/// Runs until a checkpoint is being written while another is whole, and kills it there. False when it ended before.
fn killed_while_writing(project: &Project) -> bool {
    let mut child = project
        .command(&["run", SPEC, "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        // Without a pause: a checkpoint is written within milliseconds.
        if !half_written(project).is_empty() && !checkpoints(project).is_empty() {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < until, "it neither writes nor ends");
    }
}

#[test]
fn a_kill_inside_the_writing_of_a_checkpoint_leaves_the_one_before() {
    const MOST_TRIES: usize = 40;
    let wanted = undisturbed("");
    let mut project = project("");
    let mut found = None;
    for _ in 0..MOST_TRIES {
        if !killed_while_writing(&project) {
            project = self::project("");
        } else if let Some(half) = half_written(&project).pop() {
            found = Some(half);
            break;
        }
    }
    let half = found.expect("no kill came while a checkpoint was written");
    let whole = checkpoints(&project);
    let newest = step_of(whole.last().unwrap());
    let name = half.file_name().unwrap().to_str().unwrap();
    let begun = step_of(std::path::Path::new(name.trim_start_matches("writing-")));
    assert!(newest >= EVERY && begun > newest, "{half:?}, {whole:?}");

    // Stopped once more: the half is gone as soon as another one, of another step, is written.
    project.replace(SPEC, "every_steps = 5", "every_steps = 7");
    let child = project
        .command(&["run", SPEC, "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    while step_of(checkpoints(&project).last().unwrap()) == newest {
        assert!(Instant::now() < until, "it writes no checkpoint");
        std::thread::sleep(Duration::from_millis(3));
    }
    // SAFETY: it is a child of ours that nobody has waited for.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGINT) };
    let said = Said::from(child.wait_with_output().unwrap()).exits(130);
    assert_eq!(resumed_from(&said.json()), Some(newest));
    assert_eq!(half_written(&project), Vec::<PathBuf>::new());
    let newest = step_of(checkpoints(&project).last().unwrap());
    let run = project.run(&[SPEC]);
    assert_eq!(resumed_from(&run), Some(newest));
    assert_eq!(digests(&run), wanted);
    assert!(checkpoints(&project).is_empty(), "they stay behind");
    project.refit(&["cache", "verify"]).success();
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let wanted = undisturbed("");
    let project = project("");
    let ripe = &mut || checkpoints(&project).len() >= 2;
    assert!(stopped(&project, libc::SIGKILL, ripe), "it was too quick");
    let all = checkpoints(&project);
    let newest = all.last().unwrap().join("state.safetensors");
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let said = project.refit(&["run", SPEC, "--json"]).success();
    assert!(
        said.stderr.contains("is not what was written"),
        "{}",
        said.stderr
    );
    let run = said.json();
    assert_eq!(resumed_from(&run), Some(step_of(&all[all.len() - 2])));
    assert_eq!(digests(&run), wanted);
}

#[test]
fn checkpoints_of_another_version_do_not_crowd_out_the_new() {
    let wanted = undisturbed("");
    let project = project("");
    project.replace(SPEC, "keep = 2", "keep = 1");
    let ripe = &mut || !checkpoints(&project).is_empty();
    assert!(stopped(&project, libc::SIGKILL, ripe), "it was too quick");
    // Later than whatever this training writes.
    let written = checkpoints(&project).pop().unwrap();
    let other = written.with_file_name("step-000000009000");
    std::fs::rename(written, &other).unwrap();
    let card = std::fs::read_to_string(other.join("state.json")).unwrap();
    let version = format!("\"program\":\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(card.contains(&version), "{card}");
    let card = card.replacen(&version, "\"program\":\"0.0.0\"", 1);
    std::fs::write(other.join("state.json"), card).unwrap();

    let ripe = &mut || {
        checkpoints(&project)
            .iter()
            .any(|one| step_of(one) < step_of(&other))
    };
    assert!(stopped(&project, libc::SIGINT, ripe), "it was too quick");
    let left = checkpoints(&project);
    assert!(left.len() == 1 && left[0] != other, "{left:?}");
    let newest = step_of(&left[0]);
    let run = project.run(&[SPEC]);
    assert_eq!(resumed_from(&run), Some(newest));
    assert_eq!(digests(&run), wanted);
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_no_training() {
    let wanted = undisturbed("");
    let project = project("");
    project.write(".refit/checkpoints", "no folder");
    let said = project.refit(&["run", SPEC, "--json"]).success();
    assert!(
        said.stderr.contains("has no checkpoint in"),
        "{}",
        said.stderr
    );
    assert_eq!(digests(&said.json()), wanted);
}

#[test]
fn how_often_a_training_is_written_down_reruns_nothing() {
    let project = project("");
    project.run(&[SPEC]);
    project.replace(SPEC, "every_steps = 5", "every_steps = 0");
    assert!(project.built(&[SPEC]).is_empty());
}

#[test]
fn checkpoints_are_listed_and_collected_when_no_spec_goes_on_from_them() {
    let project = project("");
    let ripe = &mut || !checkpoints(&project).is_empty();
    assert!(stopped(&project, libc::SIGKILL, ripe), "it was too quick");
    let listed = project.refit(&["cache", "list"]).success().stdout;
    assert!(
        listed.contains("checkpoints") && listed.contains("unfinished"),
        "{listed}"
    );
    let gc = |more: &[&str]| {
        let all = [
            ["cache", "gc", "--unused-by", SPEC, "--json"].as_slice(),
            more,
        ]
        .concat();
        project.refit(&all).success().json()
    };
    let count = |told: &Value, what: &str| told[what].as_array().unwrap().len();
    let told = gc(&[]);
    assert_eq!(
        (
            count(&told, "checkpoints"),
            count(&told, "kept_checkpoints")
        ),
        (0, 1),
        "the spec goes on from it"
    );
    project.replace(SPEC, "epochs = 60", "epochs = 61");
    let told = gc(&["--dry-run"]);
    assert_eq!(count(&told, "checkpoints"), 1);
    assert!(told["checkpoints"][0]["bytes"].as_u64() > Some(0), "{told}");
    assert!(!checkpoints(&project).is_empty(), "a dry run takes nothing");
    let said = project.refit(&["cache", "gc", "--unused-by", SPEC, "--dry-run"]);
    assert!(said.stdout.contains("checkpoints of"), "{said:?}");
    gc(&[]);
    assert!(checkpoints(&project).is_empty());
}

#[test]
fn checkpoints_stay_while_a_model_that_is_not_fetched_hides_who_goes_on_from_them() {
    let project = project("");
    let ripe = &mut || !checkpoints(&project).is_empty();
    assert!(stopped(&project, libc::SIGKILL, ripe), "it was too quick");
    project.write("other.toml", &project.read(SPEC));
    project.replace("other.toml", SCRATCH, "encoder = \"nobody/nothing\"\n");
    project.replace("other.toml", LEARNT, "tokenizer = \"nobody/nothing\"");
    let said = project
        .refit(&["cache", "gc", "--unused-by", "other.toml"])
        .success();
    assert!(said.stderr.contains("not every step"), "{said:?}");
    let gc = ["cache", "gc", "--unused-by", "other.toml", "--json"];
    let told = project.refit(&gc).success().json();
    assert_eq!(told["unknown_keys"], true);
    assert_eq!(
        told["kept_checkpoints"].as_array().unwrap().len(),
        1,
        "{told}"
    );
    assert!(!checkpoints(&project).is_empty());
}
