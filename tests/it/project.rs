//! A folder with a spec and data, and the real binary run on it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A project of its own, gone when dropped.
pub(crate) struct Project {
    folder: TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Project {
    pub(crate) fn empty() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("refit-test-")
            .tempdir()
            .expect("a temporary folder");
        std::fs::create_dir(folder.path().join(".refit")).expect("a store");
        Project { folder }
    }

    /// Forty short rows in two classes, and a pipeline with one stage of every kind. Trains in about a second.
    pub(crate) fn tiny() -> Self {
        let project = Project::empty();
        project.write("data/train.csv", &rows(40, 0));
        project.write("data/test.csv", &rows(12, 1000));
        project.write("pipeline.toml", TINY);
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Replaces text in a file; it must be there.
    pub(crate) fn replace(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, &text.replacen(from, to, 1));
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_refit"));
        command
            .current_dir(self.folder.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
            .env_remove("REFIT_STORE")
            .env_remove("REFIT_REMOTE")
            .env_remove("REFIT_LOG")
            .env_remove("HF_HUB_CACHE")
            .env_remove("HF_TOKEN")
            .env("HF_HOME", self.folder.path().join(".hub"))
            .env("HF_HUB_OFFLINE", "1")
            .env("NO_COLOR", "1");
        command
    }

    pub(crate) fn refit(&self, arguments: &[&str]) -> Said {
        self.command(arguments)
            .output()
            .expect("the binary starts")
            .into()
    }

    /// Runs a pipeline, which must succeed; the result is its JSON.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        let all: Vec<&str> = ["run"]
            .into_iter()
            .chain(arguments.iter().copied())
            .chain(["--json"])
            .collect();
        self.refit(&all).success().json()
    }

    /// The lines of a training's log.
    pub(crate) fn log(&self, spec: &str, stage: &str) -> Vec<Value> {
        let folder = self.refit(&["path", spec, stage]).success().stdout;
        let log = std::fs::read_to_string(Path::new(folder.trim()).join("metrics.jsonl")).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    /// The losses in it.
    pub(crate) fn losses(&self, spec: &str, stage: &str) -> Vec<f64> {
        let lines = self.log(spec, stage).into_iter();
        lines.filter_map(|line| line["loss"].as_f64()).collect()
    }

    /// The stages that `run` built now, in order.
    pub(crate) fn built(&self, arguments: &[&str]) -> Vec<String> {
        built(&self.run(arguments))
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// The stages with outcome `built`.
pub(crate) fn built(run: &Value) -> Vec<String> {
    with_outcome(run, "built")
}

pub(crate) fn with_outcome(run: &Value, outcome: &str) -> Vec<String> {
    let steps = run["steps"].as_array().expect("steps");
    let wanted = steps.iter().filter(|step| step["outcome"] == outcome);
    wanted
        .map(|step| step["stage"].as_str().expect("a name").to_owned())
        .collect()
}

/// Stage → digest.
pub(crate) fn digests(run: &Value) -> BTreeMap<String, String> {
    let steps = run["steps"].as_array().expect("steps");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    steps
        .iter()
        .map(|step| (text(&step["stage"]), text(&step["digest"])))
        .collect()
}

/// Where the real models and data are. Says so, loudly, when they are nowhere.
pub(crate) fn assets(test: &str) -> Option<PathBuf> {
    match std::env::var_os("REFIT_TEST_ASSETS") {
        Some(folder) if Path::new(&folder).join("models").is_dir() => {
            Some(PathBuf::from(folder).canonicalize().expect("a folder"))
        }
        _ => skipped(&format!(
            "{test} needs REFIT_TEST_ASSETS, a folder with `models` and `data`"
        )),
    }
}

/// Says why a test does not run; where tests must not skip (`REFIT_TEST_ALL`), that is a failure.
pub(crate) fn skipped<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os("REFIT_TEST_ALL").is_none(), "{why}");
    // The test harness captures `eprintln!` of tests that pass; this gets through.
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {why} ***\n");
    None
}

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rows of two classes that share half their words. `offset` makes rows of two files differ.
pub(crate) fn rows(count: usize, offset: usize) -> String {
    let (good, bad) = (
        ["bright", "warm", "kind", "calm", "fresh"],
        ["dull", "cold", "rude", "loud", "stale"],
    );
    let common = [
        "room", "train", "garden", "letter", "morning", "window", "street",
    ];
    let mut text = "text,label\n".to_owned();
    for index in 0..count {
        let number = index + offset;
        let (words, label) = if index % 2 == 0 {
            (good, "good")
        } else {
            (bad, "bad")
        };
        let (first, second) = (words[number % 5], words[(number / 5 + 2) % 5]);
        let (third, fourth) = (common[number % 7], common[(number / 7 + 3) % 7]);
        text.push_str(&format!(
            "the {third} was {first} and the {fourth} {second} {number},{label}\n"
        ));
    }
    text
}

/// One stage of every kind.
pub(crate) const TINY: &str = r#"version = 1
name = "tiny"
seed = 5

[load.data]
train = "data/train.csv"
test = "data/test.csv"
split = { validation = 0.2, stratify = true }

[augment.more]
input = "data"
copies = 1
random_swap = { rate = 0.2 }

[tokenize.tokens]
input = "more"
train_tokenizer = { model = "wordpiece", vocab_size = 150, min_frequency = 1 }
max_length = 24

[train.classifier]
input = "tokens"
scratch = { layers = 1, hidden = 16, heads = 2, max_positions = 24 }
epochs = 2
batch = { size = 8 }
optimizer = { learning_rate = 1e-3 }

[evaluate.scores]
model = "classifier"
input = "tokens"

[export.bundle]
model = "classifier"
scores = "scores"
to = "dist"
"#;
