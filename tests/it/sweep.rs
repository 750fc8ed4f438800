//! Sweeps: what trials share runs once, what was done is known, and whatever is killed is made good.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::{Project, Said, assets, digests};

const SPEC: &str = "pipeline.toml";

const SWEEP: &str = r#"
[sweep]
goal = { maximize = "classifier.f1_macro" }

[sweep.parameters]
"train.classifier.optimizer.learning_rate" = [1e-3, 5e-3, 2e-2]
"train.classifier.epochs" = [1, 2]
"#;

/// The tiny pipeline with a sweep behind it.
fn with_sweep(sweep: &str) -> Project {
    let project = Project::tiny();
    let text = project.read(SPEC) + sweep;
    project.write(SPEC, &text);
    project
}

fn sweep(project: &Project, arguments: &[&str]) -> Value {
    let all: Vec<&str> = ["sweep", SPEC, "--json"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    project.refit(&all).success().json()
}

fn trials(swept: &Value) -> &[Value] {
    swept["trials"].as_array().expect("trials")
}

/// Every step of every run that this sweep built, by its stage.
fn built(swept: &Value) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for trial in trials(swept) {
        let runs = match trial["runs"].as_array() {
            Some(runs) => runs.clone(),
            None => vec![trial.clone()],
        };
        for step in runs.iter().flat_map(|run| run["steps"].as_array().unwrap()) {
            if step["outcome"] == "built" {
                let stage = step["stage"].as_str().unwrap().to_owned();
                *counts.entry(stage).or_default() += 1;
            }
        }
    }
    counts
}

/// What a table says, whoever ran it and whenever: parameters → state, score, digests.
fn essence(swept: &Value) -> BTreeMap<String, (String, String, Vec<String>)> {
    let rows = trials(swept).iter().map(|trial| {
        let digests = trial["steps"].as_array().unwrap().iter();
        (
            trial["parameters"].to_string(),
            (
                trial["state"].to_string(),
                trial["score"].to_string(),
                digests.map(|step| step["digest"].to_string()).collect(),
            ),
        )
    });
    rows.collect()
}

fn states(swept: &Value) -> Vec<&str> {
    let states = trials(swept).iter().map(|trial| trial["state"].as_str());
    states.map(|state| state.unwrap()).collect()
}

#[test]
fn what_trials_share_runs_once_and_a_second_start_does_nothing() {
    let project = with_sweep(SWEEP);
    let first = sweep(&project, &[]);
    assert_eq!(trials(&first).len(), 6);
    let counts = built(&first);
    for shared in ["data", "more", "tokens"] {
        assert_eq!(counts[shared], 1, "{counts:?}");
    }
    assert_eq!(counts["classifier"], 6);
    assert_eq!(counts.get("scores"), None, "the test split is for the best");
    assert_eq!(first["executions"]["needed"], 24);
    assert_eq!(first["executions"]["distinct"], 9);
    assert_eq!(first["executions"]["saved"], 15);
    assert_eq!(first["executions"]["built"], 9);

    let scores: Vec<f64> = trials(&first)
        .iter()
        .map(|trial| trial["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert_eq!(first["best"], trials(&first)[0]["trial"]);

    let second = sweep(&project, &[]);
    assert_eq!(second["executions"]["built"], 0);
    assert!(built(&second).is_empty());
    assert_eq!(essence(&first), essence(&second));
}

#[test]
fn the_best_trial_alone_is_exported_and_its_spec_is_plain() {
    let project = with_sweep(SWEEP);
    let swept = sweep(&project, &[]);
    let best = trials(&swept)
        .iter()
        .find(|trial| trial["trial"] == swept["best"])
        .unwrap();
    let text = project.read("pipeline.best.toml");
    assert!(!text.contains("[sweep"), "{text}");
    let run = project.run(&["pipeline.best.toml"]);
    // Its export is placed under this very spec already, by the sweep: only the pipeline's name differs.
    assert!(
        crate::project::built(&run).is_empty(),
        "{:?}",
        crate::project::built(&run)
    );
    let model = digests(&run)["classifier"].clone();
    let steps = best["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["digest"] == model.as_str()));
    assert!(project.path("dist/model.safetensors").is_file());
    let exports: Vec<String> = std::fs::read_dir(project.path("dist"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!exports.is_empty());
}

#[test]
fn a_file_that_no_sweep_wrote_is_not_overwritten() {
    let project = with_sweep(SWEEP);
    project.write("pipeline.best.toml", "mine = 1\n");
    let said = project.refit(&["sweep", SPEC]).exits(1);
    assert!(
        said.stderr.contains("is no spec that a sweep wrote"),
        "{}",
        said.stderr
    );
    assert_eq!(project.read("pipeline.best.toml"), "mine = 1\n");
    project.replace(SPEC, "[sweep]", "[sweep]\nbest = \"chosen.toml\"");
    project.refit(&["sweep", SPEC]).success();
    assert!(project.read("chosen.toml").contains("The best trial of"));
}

#[test]
fn one_value_more_runs_its_own_trials_alone_and_one_less_runs_none() {
    let project = with_sweep(SWEEP);
    sweep(&project, &[]);
    project.replace(SPEC, "[1e-3, 5e-3, 2e-2]", "[1e-3, 5e-3, 2e-2, 1e-2]");
    let more = sweep(&project, &[]);
    assert_eq!(trials(&more).len(), 8);
    assert_eq!(built(&more), BTreeMap::from([("classifier".to_owned(), 2)]));
    project.replace(SPEC, "[1e-3, 5e-3, 2e-2, 1e-2]", "[5e-3]");
    let less = sweep(&project, &[]);
    assert_eq!(trials(&less).len(), 2);
    assert!(built(&less).is_empty());
    let status = sweep(&project, &["--status"]);
    assert_eq!(trials(&status).len(), 2);
}

#[test]
fn data_tokens_and_variables_vary_too() {
    let project = with_sweep(
        r#"
[sweep]
goal = { minimize = "classifier.loss" }
[sweep.parameters]
"vars.vocabulary" = ["a", "b"]
"tokenize.tokens.max_length" = [12, 24]
"augment.more.copies" = [1, 2]
"#,
    );
    project.write("a/train.csv", &crate::project::rows(40, 0));
    project.write("b/train.csv", &crate::project::rows(40, 7));
    project.replace(SPEC, "seed = 5\n", "seed = 5\n[vars]\nvocabulary = \"a\"\n");
    project.replace(SPEC, "data/train.csv", "${vocabulary}/train.csv");
    let swept = sweep(&project, &[]);
    let counts = built(&swept);
    let expected = [("data", 2), ("more", 4), ("tokens", 8), ("classifier", 8)];
    for (stage, count) in expected {
        assert_eq!(counts[stage], count, "{counts:?}");
    }
    let scores: Vec<f64> = trials(&swept)
        .iter()
        .map(|trial| trial["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted(), "{scores:?}");
}

#[test]
fn a_parameter_with_a_condition_applies_where_it_holds() {
    let project = with_sweep(
        r#"
[sweep]
goal = { maximize = "classifier.accuracy" }
[sweep.parameters]
"train.classifier.schedule.name" = ["linear", "constant"]
"train.classifier.schedule.warmup" = { choice = [0.1, 0.2], when = { "train.classifier.schedule.name" = "linear" } }
size = { together = [
  { "train.classifier.epochs" = 1, "train.classifier.batch.size" = 4 },
  { "train.classifier.epochs" = 2, "train.classifier.batch.size" = 8 },
] }
"#,
    );
    let swept = sweep(&project, &[]);
    assert_eq!(trials(&swept).len(), 6);
    for trial in trials(&swept) {
        let parameters = trial["parameters"].as_object().unwrap();
        let linear = parameters["train.classifier.schedule.name"] == "linear";
        assert_eq!(
            parameters.contains_key("train.classifier.schedule.warmup"),
            linear
        );
        let epochs = parameters["train.classifier.epochs"].as_u64().unwrap();
        assert_eq!(
            parameters["train.classifier.batch.size"].as_u64(),
            Some(4 * epochs)
        );
    }
}

#[test]
fn repeats_change_the_seed_of_training_alone() {
    let project = with_sweep(
        r#"
[sweep]
goal = { minimize = "classifier.loss" }
repeat = 3
[sweep.parameters]
"train.classifier.epochs" = [1, 2]
"#,
    );
    let swept = sweep(&project, &[]);
    let counts = built(&swept);
    assert_eq!((counts["data"], counts["tokens"]), (1, 1));
    assert_eq!(counts["classifier"], 6);
    for trial in trials(&swept) {
        let losses: Vec<f64> = trial["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["scores"]["classifier"]["loss"].as_f64().unwrap())
            .collect();
        let mean = losses.iter().sum::<f64>() / 3.0;
        assert!((trial["score"].as_f64().unwrap() - mean).abs() < 1e-12);
        assert!(trial["spread"].as_f64().unwrap() > 0.0);
    }
    // The first run of each is the spec's own.
    let run = project.run(&[SPEC, "classifier", "--set", "train.classifier.epochs=1"]);
    assert!(crate::project::built(&run).is_empty());
}

#[test]
fn a_failed_trial_is_a_row_and_not_the_end() {
    let project = with_sweep(
        r#"
[sweep]
goal = { maximize = "classifier.f1_macro" }
[sweep.parameters]
"tokenize.tokens.max_length" = [12, 48, 24]
"#,
    );
    let said = project.refit(&["sweep", SPEC, "--json"]).exits(1);
    let swept = said.json();
    assert_eq!(states(&swept), ["done", "done", "failed"]);
    let failed = &trials(&swept)[2];
    assert_eq!(failed["parameters"]["tokenize.tokens.max_length"], 48);
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("24"), "{message}");
    assert!(project.path("dist/model.safetensors").is_file());
    // It is tried again, and nothing else is.
    let again = project.refit(&["sweep", SPEC, "--json"]).exits(1).json();
    assert!(built(&again).is_empty(), "{:?}", built(&again));
    project.replace(SPEC, "max_positions = 24", "max_positions = 48");
    assert_eq!(states(&sweep(&project, &[])), ["done", "done", "done"]);
}

fn start(project: &Project, arguments: &[&str]) -> Child {
    let all: Vec<&str> = ["sweep", SPEC, "--json"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    project
        .command(&all)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn state_of(project: &Project, trial: usize) -> Option<String> {
    let status = sweep(project, &["--status", "--sort", "trial"]);
    let state = trials(&status).get(trial)?["state"].as_str()?;
    Some(state.to_owned())
}

const LONG: &str = r#"
[sweep]
goal = { maximize = "classifier.f1_macro" }
[sweep.parameters]
"train.classifier.epochs" = [1000000]
"#;

#[test]
fn a_trial_whose_process_died_is_seen_as_dead_and_run_again() {
    let project = with_sweep(LONG);
    let mut child = start(&project, &[]);
    wait_for("a running trial", || {
        state_of(&project, 0).as_deref() == Some("running")
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state_of(&project, 0).as_deref(), Some("died"));
    project.replace(SPEC, "[1000000]", "[1]");
    assert_eq!(states(&sweep(&project, &[])), ["done"]);
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_130_and_the_next_start_goes_on() {
    let project = with_sweep(&LONG.replace("[1000000]", "[1, 1000000]"));
    let child = start(&project, &[]);
    wait_for("a running trial", || {
        state_of(&project, 1).as_deref() == Some("running")
    });
    let sent = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let said = Said::from(child.wait_with_output().unwrap()).exits(130);
    assert!(said.stderr.contains("to go on"), "{}", said.stderr);
    assert_eq!(states(&said.json()), ["done", "died"]);
    project.replace(SPEC, "[1, 1000000]", "[1, 2]");
    let swept = sweep(&project, &[]);
    assert_eq!(
        built(&swept),
        BTreeMap::from([("classifier".to_owned(), 1)])
    );
}

#[test]
fn trials_are_added_to_a_running_sweep_by_a_second_process() {
    let project = with_sweep(SWEEP);
    let first = start(&project, &[]);
    wait_for("a first trial", || state_of(&project, 0).is_some());
    let text = project.read(SPEC);
    project.write(
        SPEC,
        &text.replace("[1e-3, 5e-3, 2e-2]", "[1e-3, 5e-3, 2e-2, 1e-2]"),
    );
    let second = start(&project, &[]);
    let outputs = [first, second].map(|child| {
        Said::from(child.wait_with_output().unwrap())
            .success()
            .json()
    });
    assert_eq!(trials(&outputs[0]).len(), 6);
    assert_eq!(trials(&outputs[1]).len(), 8);
    let trained: usize = outputs.iter().map(|swept| built(swept)["classifier"]).sum();
    assert_eq!(trained, 8, "each trial ran once");
    assert!(built(&sweep(&project, &[])).is_empty());
}

#[test]
fn trials_side_by_side_come_to_the_same_table() {
    let one = with_sweep(SWEEP);
    let four = with_sweep(SWEEP);
    assert_eq!(
        essence(&sweep(&one, &[])),
        essence(&sweep(&four, &["--jobs", "4"]))
    );
}

/// Starts a sweep again and again, and kills it each time; then lets it end.
fn killed(project: &Project, times: u64, longest: Duration) -> Value {
    let mut killed = 0;
    for round in 0..times {
        let mut child = start(project, &[]);
        std::thread::sleep(longest.mul_f64((round * 7 % times + 1) as f64 / times as f64));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
    }
    assert!(killed > 0, "no sweep was long enough to be killed");
    sweep(project, &[])
}

#[test]
fn a_search_that_is_killed_proposes_what_it_would_have_proposed() {
    const LEARNING: &str = r#"
[sweep]
search = "tpe"
trials = 14
goal = { minimize = "classifier.loss" }
[sweep.parameters]
"train.classifier.optimizer.learning_rate" = { log_uniform = [1e-4, 1e-1] }
"train.classifier.head.dropout" = { uniform = [0.0, 0.5] }
"train.classifier.epochs" = { int = [1, 2] }
"#;
    let whole = essence(&sweep(&with_sweep(LEARNING), &[]));
    assert_eq!(whole.len(), 14);
    let project = with_sweep(LEARNING);
    assert_eq!(
        essence(&killed(&project, 6, Duration::from_millis(1500))),
        whole
    );
    assert!(built(&sweep(&project, &[])).is_empty());
    project.replace(SPEC, "trials = 14", "trials = 16");
    let more = sweep(&project, &[]);
    assert_eq!((trials(&more).len(), built(&more)["classifier"]), (16, 2));
}

#[test]
fn trainings_that_fall_behind_are_stopped_and_stay_so() {
    const HALVING: &str = r#"
[sweep]
goal = { minimize = "classifier.loss" }
prune = { name = "asha", reduction = 2 }
[sweep.parameters]
"train.classifier.optimizer.learning_rate" = [1e-2, 5e-3, 1e-6, 2e-6]
"train.classifier.epochs" = [8]
"#;
    let project = with_sweep(HALVING);
    let swept = sweep(&project, &["--sort", "trial"]);
    assert_eq!(states(&swept)[0], "done");
    let pruned: Vec<&Value> = trials(&swept)
        .iter()
        .filter(|trial| trial["state"] == "pruned")
        .collect();
    assert!(!pruned.is_empty(), "{:?}", states(&swept));
    for trial in pruned {
        assert!(trial["curve"].as_array().unwrap().len() < 8);
        assert_eq!(trial["score"], Value::Null);
    }
    let again = sweep(&project, &["--sort", "trial"]);
    assert!(built(&again).is_empty(), "{:?}", built(&again));
    assert_eq!(states(&again), states(&swept));
    // What was stopped under other settings is not known under these.
    project.replace(SPEC, "batch = { size = 8 }", "batch = { size = 4 }");
    assert!(built(&sweep(&project, &[]))["classifier"] >= 1);
}

#[test]
fn what_the_trials_of_a_sweep_left_is_used_by_it() {
    let project = with_sweep(SWEEP);
    sweep(&project, &[]);
    let collected = project
        .refit(&["cache", "gc", "--unused-by", SPEC, "--json"])
        .success()
        .json();
    assert_eq!(collected["removed"].as_array().unwrap().len(), 0);
    project.replace(SPEC, "[1e-3, 5e-3, 2e-2]", "[1e-3]");
    let collected = project
        .refit(&["cache", "gc", "--unused-by", SPEC, "--json"])
        .success()
        .json();
    assert!(!collected["removed"].as_array().unwrap().is_empty());
    let swept = sweep(&project, &[]);
    assert!(built(&swept).is_empty());
    // Results outlive their objects.
    project.replace(SPEC, "[1e-3]", "[1e-3, 5e-3, 2e-2]");
    let swept = sweep(&project, &[]);
    assert_eq!(trials(&swept).len(), 6);
    assert!(built(&swept).is_empty(), "{:?}", built(&swept));
}

#[test]
fn tables_are_written_by_their_ending() {
    let project = with_sweep(SWEEP);
    project
        .refit(&["sweep", SPEC, "--table", "t.csv", "--sort", "trial"])
        .success();
    let csv = project.read("t.csv");
    let header = csv.lines().next().unwrap();
    assert!(
        header.starts_with("trial,state,train.classifier.optimizer.learning_rate,train.classifier.epochs,score,spread,seconds,classifier."),
        "{header}"
    );
    assert_eq!(csv.lines().count(), 7);
    project
        .refit(&["sweep", SPEC, "--table", "t.json"])
        .success();
    let json: Value = serde_json::from_str(&project.read("t.json")).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 6);
    project
        .refit(&["sweep", SPEC, "--table", "t.parquet"])
        .success();
    assert!(project.path("t.parquet").metadata().unwrap().len() > 0);
    let said = project
        .refit(&["sweep", SPEC, "--table", "t.xlsx"])
        .exits(2);
    assert!(said.stderr.contains(".parquet"), "{}", said.stderr);
    let said = project.refit(&["sweep", SPEC, "--sort", "epoch"]).exits(2);
    assert!(said.stderr.contains("learning_rate"), "{}", said.stderr);
    let table = project.refit(&["sweep", SPEC]).success().stdout;
    assert!(table.contains("classifier.f1_macro"), "{table}");
    assert!(table.contains("Of 24 executions 15 were shared"), "{table}");
}

#[test]
fn two_trials_are_compared_and_a_page_shows_all() {
    let project = with_sweep(SWEEP);
    project
        .refit(&["sweep", SPEC, "--report", "page.html"])
        .success();
    let page = project.read("page.html");
    assert!(page.contains("train.classifier.optimizer.learning_rate"));
    let compared = project
        .refit(&["compare", "pipeline.toml#0", "pipeline.toml#5"])
        .success();
    for told in ["learning_rate: 0.001 → 0.02", "epochs: 1 → 2", "f1_macro"] {
        assert!(
            compared.stdout.contains(told),
            "{told}: {}",
            compared.stdout
        );
    }
    let said = project
        .refit(&["compare", "pipeline.toml#9", SPEC])
        .exits(2);
    assert!(said.stderr.contains("no trial 9"), "{}", said.stderr);
}

#[test]
fn folds_share_what_they_can_and_a_score_is_their_mean() {
    let project = with_sweep(
        r#"
[sweep]
goal = { minimize = "classifier.loss" }
fold = 3
[sweep.parameters]
"train.classifier.epochs" = [1, 2]
"#,
    );
    project.replace(SPEC, "split = { validation = 0.2, stratify = true }\n", "");
    let swept = sweep(&project, &[]);
    let counts = built(&swept);
    assert_eq!((counts["data"], counts["tokens"]), (3, 3));
    assert_eq!(counts["classifier"], 6);
    for trial in trials(&swept) {
        let runs = trial["runs"].as_array().unwrap();
        let folds: Vec<u64> = runs
            .iter()
            .map(|run| run["fold"].as_u64().unwrap())
            .collect();
        assert_eq!(folds, [0, 1, 2]);
        let losses = runs
            .iter()
            .map(|run| run["scores"]["classifier"]["loss"].as_f64().unwrap());
        let mean = losses.sum::<f64>() / 3.0;
        assert!((trial["score"].as_f64().unwrap() - mean).abs() < 1e-12);
    }
}

#[test]
fn a_goal_on_the_test_split_is_warned_of() {
    let project = with_sweep(&SWEEP.replace("classifier.f1_macro", "scores.f1_macro"));
    let said = project.refit(&["sweep", SPEC, "--json"]).success();
    assert!(
        said.stderr.contains("validation split leaves the test"),
        "{}",
        said.stderr
    );
    assert_eq!(built(&said.json())["scores"], 6);
}

#[test]
fn a_value_that_its_field_refuses_is_found_before_anything_runs() {
    let project = with_sweep(
        r#"
[sweep]
goal = { maximize = "classifier.f1_macro" }
[sweep.parameters]
"train.classifier.epochs" = [1, "two"]
"train.classifier.head.dropout" = { choice = [0.1, 2.0] }
"train.classifier.optimiser.learning_rate" = [1e-3]
"evaluate.scores.model" = ["classifier", "clasifier"]
"#,
    );
    for command in ["check", "sweep"] {
        let said = project.refit(&[command, SPEC]).exits(2);
        for told in [
            "an integer",
            "at most 0.99",
            "did you mean `optimizer`",
            "did you mean `classifier`",
            "4 problems",
        ] {
            assert!(
                said.stderr.contains(told),
                "{command}: {told}\n{}",
                said.stderr
            );
        }
        assert!(!project.path(".refit/keys").exists());
    }
}

/// 500 rows of AG News and a grid of 24 trials over training fields, with a pretrained encoder.
fn news(folder: &std::path::Path) -> Project {
    let project = Project::empty();
    let all = std::fs::read_to_string(folder.join("data/ag_news/test.csv")).unwrap();
    let rows: Vec<&str> = all.lines().take(500).collect();
    project.write("news.csv", &rows.join("\n"));
    let folder = folder.display();
    project.write(
        SPEC,
        &format!(
            r#"version = 1
name = "news"
seed = 3

[load.news]
train = "news.csv"
header = false
columns = {{ label = 0, text = 2 }}
split = {{ validation = 0.2 }}

[augment.richer]
input = "news"
random_swap = {{ rate = 0.1 }}

[tokenize.tokens]
input = "richer"
tokenizer = "{folder}/models/paraphrase-MiniLM-L3-v2"
max_length = 24

[train.classifier]
input = "tokens"
encoder = "{folder}/models/paraphrase-MiniLM-L3-v2"
max_steps = 3
batch = {{ size = 8 }}

[sweep]
goal = {{ maximize = "classifier.f1_macro" }}
[sweep.parameters]
"train.classifier.optimizer.learning_rate" = [1e-5, 5e-5, 2e-4, 1e-3]
"train.classifier.optimizer.layer_decay" = [0.8, 1.0]
"train.classifier.schedule.name" = ["linear", "constant", "cosine"]
"#
        ),
    );
    project
}

#[test]
fn a_grid_on_real_news_shares_its_data_and_survives_ten_kills() {
    let Some(folder) = assets("a_grid_on_real_news_shares_its_data_and_survives_ten_kills") else {
        return;
    };
    let undisturbed = news(&folder);
    let whole = sweep(&undisturbed, &[]);
    assert_eq!(trials(&whole).len(), 24);
    let counts = built(&whole);
    let stages: BTreeSet<&str> = counts.keys().map(String::as_str).collect();
    assert_eq!(
        stages,
        BTreeSet::from(["classifier", "news", "richer", "tokens"])
    );
    for shared in ["news", "richer", "tokens"] {
        assert_eq!(counts[shared], 1, "{counts:?}");
    }
    assert_eq!(counts["classifier"], 24);
    assert!(built(&sweep(&undisturbed, &[])).is_empty());
    let disturbed = killed(&news(&folder), 10, Duration::from_secs(6));
    assert_eq!(essence(&disturbed), essence(&whole));
}
