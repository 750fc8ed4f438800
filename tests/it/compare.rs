//! `refit compare`: what two results differ in, and how sure the difference of their scores is.

use serde_json::{Value, json};

use crate::project::{Project, rows};
use crate::tasks::{COMMENTS, comments, delimited, questions, sentences, spec};

const SPEC: &str = "pipeline.toml";

/// The tiny pipeline, and beside it `longer.toml`, which trains for longer; both have run, the longer one last.
fn two() -> Project {
    let project = Project::tiny();
    project.write("data/test.csv", &rows(60, 1000));
    let tiny = project
        .read(SPEC)
        .replace("to = \"dist\"", "to = \"other\"");
    project.write("longer.toml", &tiny.replace("epochs = 2", "epochs = 30"));
    project.run(&[SPEC]);
    project.run(&["longer.toml"]);
    project
}

fn compared(project: &Project, arguments: &[&str]) -> Value {
    let all = [&["compare"], arguments, &["--json"]].concat();
    project.refit(&all).success().json()
}

fn of_stage<'v>(found: &'v Value, part: &str, stage: &str) -> &'v Value {
    let all = found[part].as_array().unwrap();
    let one = all.iter().find(|one| one["stage"]["b"] == stage);
    one.unwrap_or_else(|| panic!("no {stage} in {part}: {found:#}"))
}

/// Every metric of the evaluation, but those that its answers alone do not tell, has an interval around its difference. A
/// score has one only if the predictions give it to 1e-9.
fn all_are_sure(found: &Value, without: &[&str]) {
    let scores = of_stage(found, "scores", "scores");
    let metrics = scores["metrics"].as_array().unwrap();
    assert!(metrics.len() > without.len() + 1, "{scores:#}");
    for metric in metrics {
        let name = metric["metric"].as_str().unwrap();
        assert_eq!(
            metric["interval"].is_null(),
            without.contains(&name),
            "{name} in {scores:#}"
        );
    }
}

#[test]
fn two_specs_differ_in_a_setting_and_in_scores_with_intervals() {
    let project = two();
    let found = compared(&project, &[SPEC, "longer.toml"]);
    assert_eq!(found["settings"].as_array().unwrap().len(), 1, "{found:#}");
    let change = &of_stage(&found, "settings", "classifier")["changes"][0];
    assert_eq!(
        (&change["path"], &change["old"], &change["new"]),
        (&json!("epochs"), &json!(2), &json!(30))
    );
    let data = of_stage(&found, "data", "data");
    assert_eq!(data["rows"]["test"], json!({ "a": 60, "b": 60 }));
    assert_eq!(data["rows"]["train"]["a"], 32);
    assert_eq!(data["files"], json!([]));
    assert_eq!(data["digest"]["a"], data["digest"]["b"]);
    all_are_sure(&found, &["loss"]);
    let scores = of_stage(&found, "scores", "scores");
    assert_eq!(scores["resampled"]["paired"], true);
    let accuracy = &scores["metrics"][0];
    let number = |value: &Value| value.as_f64().unwrap();
    let difference = number(&accuracy["difference"]);
    assert_eq!(difference, number(&accuracy["b"]) - number(&accuracy["a"]));
    assert!(difference > 0.2, "{accuracy}");
    let (low, high) = (
        number(&accuracy["interval"]["low"]),
        number(&accuracy["interval"]["high"]),
    );
    assert!(
        0.0 < low && low < difference && difference < high,
        "{accuracy}"
    );
    let validation = of_stage(&found, "scores", "classifier");
    assert!(validation["metrics"][0]["interval"].is_null());
    assert!(validation["metrics"][0]["a"].is_number());

    let text = project
        .refit(&["compare", SPEC, "longer.toml"])
        .success()
        .stdout;
    for part in [
        "epochs: 2 → 30",
        "rows: test 60, train 32, validation 8",
        "95 % interval",
        "2000 resamples of the rows, the same for A and B",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(
        !text.contains("input "),
        "what flows in is not repeated: {text}"
    );
    let one = compared(&project, &[SPEC, "longer.toml", "--metric", "f1_macro"]);
    assert_eq!(
        of_stage(&one, "scores", "scores")["metrics"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

/// The rows that changed, which are as many as their counts say, and whose counts say by how much the share of right answers,
/// `metric`, differs.
fn changed_rows<'v>(found: &'v Value, metric: &str) -> &'v [Value] {
    let scores = of_stage(found, "scores", "scores");
    let (test, changed) = (&scores["mcnemar"], &scores["changed"]);
    let rows = changed["rows"].as_array().unwrap();
    let count = |turn: &str| {
        let of = rows.iter().filter(|row| row["change"] == turn).count();
        assert_eq!(changed[turn], of, "{turn} in {changed:#}");
        of
    };
    assert_eq!(test["only_a"], count("broken"), "{test}");
    assert_eq!(test["only_b"], count("fixed"), "{test}");
    assert_eq!(
        rows.len(),
        count("broken") + count("fixed") + count("changed")
    );
    let mut metrics = scores["metrics"].as_array().unwrap().iter();
    if let Some(score) = metrics.find(|one| one["metric"] == metric) {
        let gained = count("fixed") as f64 - count("broken") as f64;
        let share = gained / scores["rows"]["a"].as_f64().unwrap();
        let difference = score["difference"].as_f64().unwrap();
        assert!((difference - share).abs() < 1e-9, "{share} in {score}");
    }
    rows
}

#[test]
fn the_rows_that_changed_are_told_with_both_answers_and_what_they_say() {
    let project = two();
    let found = compared(&project, &[SPEC, "longer.toml"]);
    let test = &of_stage(&found, "scores", "scores")["mcnemar"];
    let p = test["p_value"].as_f64().unwrap();
    assert!(p < 0.05, "as its interval, it tells them apart: {test}");
    let changed = changed_rows(&found, "accuracy");
    let file = project.read("data/test.csv");
    let lines: Vec<&str> = file.lines().skip(1).collect();
    for row in changed {
        let line = lines[row["id"].as_u64().unwrap() as usize];
        let (text, label) = line.rsplit_once(',').unwrap();
        assert_eq!((&row["text"], &row["right"]), (&json!(text), &json!(label)));
        let (a, b) = (&row["a"], &row["b"]);
        let (right, wrong) = match row["change"].as_str().unwrap() {
            "broken" => (a, b),
            "fixed" => (b, a),
            other => panic!("of two labels one is right: {other}"),
        };
        assert_eq!(right["answer"], row["right"]);
        assert_ne!(wrong["answer"], row["right"]);
        assert!(a["confidence"].as_f64().unwrap() >= 0.5, "{row}");
    }
    let back = compared(&project, &["longer.toml", SPEC]);
    let broken = changed_rows(&back, "accuracy");
    let broken: Vec<&Value> = broken
        .iter()
        .filter(|row| row["change"] == "broken")
        .collect();
    let sure = |row: &Value| row["b"]["confidence"].as_f64().unwrap();
    assert!(broken.len() > 10, "{back:#}");
    assert!(
        broken.is_sorted_by(|a, b| sure(a) >= sure(b)),
        "{broken:#?}"
    );

    let said = |more: &[&str]| {
        let arguments = [&["compare", "longer.toml", SPEC], more].concat();
        project.refit(&arguments).success().stdout
    };
    let text = said(&[]);
    let count = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with("    broken "))
            .count()
    };
    assert_eq!(count(&text), 10, "{text}");
    let surest = broken[0]["text"].as_str().unwrap();
    assert!(text.contains(surest), "{surest} in {text}");
    assert!(
        text.contains("McNemar's test: A alone is right on"),
        "{text}"
    );
    assert!(text.contains(&format!("{} broken", broken.len())), "{text}");
    assert_eq!(count(&said(&["--rows", "3"])), 3);
    assert_eq!(count(&said(&["--rows", "0"])), 0);
    assert_eq!(count(&said(&["--rows", "1000"])), broken.len());
    // What a score is called does not narrow what is told of rows.
    let one = compared(&project, &["longer.toml", SPEC, "--metric", "f1_macro"]);
    assert_eq!(changed_rows(&one, "accuracy").len(), changed.len());
}

#[test]
fn rows_whose_texts_are_gone_are_told_by_their_ids() {
    let project = two();
    for stage in project.run(&[SPEC])["steps"].as_array().unwrap() {
        if ["load", "augment"].contains(&stage["kind"].as_str().unwrap()) {
            let stage = stage["stage"].as_str().unwrap();
            let folder = project.refit(&["path", SPEC, stage]).success().stdout;
            let _ = std::fs::remove_dir_all(folder.trim());
        }
    }
    let found = compared(&project, &[SPEC, "longer.toml"]);
    let changed = changed_rows(&found, "accuracy");
    assert!(changed.len() > 10, "{found:#}");
    for row in changed {
        assert!(row["id"].is_u64() && row.get("text").is_none(), "{row}");
    }
    let text = project
        .refit(&["compare", SPEC, "longer.toml"])
        .success()
        .stdout;
    assert!(text.contains("    fixed "), "{text}");
}

#[test]
fn runs_are_compared_by_the_addresses_that_log_prints() {
    let project = two();
    let log = project.refit(&["log"]).success().stdout;
    let address = |line: usize| {
        let line = log.lines().nth(line).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    let (newest, before) = (address(1), address(2));
    assert!(newest.starts_with('@') && newest.len() == 8, "{log}");
    let logged = project.refit(&["log", "--json"]).success().json();
    assert_eq!(logged[0]["run"], newest.as_str());
    let by_hash = compared(&project, &[&before, &newest]);
    let by_place = compared(&project, &["@2", "@1"]);
    assert_eq!(by_hash, by_place);
    let by_spec = compared(&project, &[SPEC, "longer.toml"]);
    for part in ["settings", "data", "scores"] {
        assert_eq!(by_hash[part], by_spec[part], "{part}");
    }
    let mixed = compared(&project, &["@2", "longer.toml"]);
    assert_eq!(mixed["scores"], by_spec["scores"]);
    let same = compared(&project, &["@1", "longer.toml"]);
    assert_eq!(same["settings"], json!([]));
    let accuracy = &of_stage(&same, "scores", "scores")["metrics"][0];
    assert_eq!(accuracy["interval"], json!({ "low": 0.0, "high": 0.0 }));
    assert!(changed_rows(&same, "accuracy").is_empty());
    assert_eq!(
        of_stage(&same, "scores", "scores")["mcnemar"]["p_value"],
        1.0
    );
}

#[test]
fn what_is_not_built_is_named_and_its_settings_are_compared() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.replace(SPEC, "epochs = 2", "epochs = 4");
    let said = project.refit(&["compare", "@1", SPEC]).success().stdout;
    for part in [
        "B: classifier: epochs: 2 → 4",
        "B: scores: behind classifier",
        "    epochs: 2 → 4",
        "scores (evaluate), test, 12 rows",
        "accuracy",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("flows into"), "{said}");
    let found = compared(&project, &["@1", SPEC]);
    assert_eq!(found["settings"].as_array().unwrap().len(), 1, "{found:#}");
    let accuracy = &of_stage(&found, "scores", "scores")["metrics"][0];
    assert!(
        accuracy["a"].is_number() && accuracy["b"].is_null(),
        "{accuracy}"
    );
}

#[test]
fn other_rows_are_compared_as_independent_samples() {
    let project = two();
    project.write("data/other.csv", &rows(50, 3000));
    project.replace("longer.toml", "data/test.csv", "data/other.csv");
    project.run(&["longer.toml"]);
    let found = compared(&project, &[SPEC, "longer.toml"]);
    let scores = of_stage(&found, "scores", "scores");
    assert_eq!(scores["resampled"]["paired"], false);
    assert_eq!(scores["rows"], json!({ "a": 60, "b": 50 }));
    assert_eq!(scores["no_test"], "A answered 60 rows and B 50");
    assert!(scores["mcnemar"].is_null() && scores["changed"].is_null());
    all_are_sure(&found, &["loss"]);
    let data = of_stage(&found, "data", "data");
    assert_eq!(data["files"][0]["role"], "test/0");
    assert_eq!(data["rows"]["test"], json!({ "a": 60, "b": 50 }));
    let text = project
        .refit(&["compare", SPEC, "longer.toml"])
        .success()
        .stdout;
    assert!(text.contains("answered different rows"), "{text}");
    assert!(
        text.contains("no test of which is right more often: A answered 60 rows and B 50"),
        "{text}"
    );
    assert!(text.contains("test 60 → 50"), "{text}");
}

#[test]
fn without_predictions_scores_are_told_without_intervals() {
    let project = two();
    project
        .refit(&["cache", "gc", "--older-than", "0s"])
        .success();
    let found = compared(&project, &["@2", "@1"]);
    let scores = of_stage(&found, "scores", "scores");
    assert_eq!(scores["collected"], json!({ "a": true, "b": true }));
    assert!(scores["metrics"][0]["difference"].is_number());
    assert!(scores["metrics"][0]["interval"].is_null());
    assert!(scores["mcnemar"].is_null() && scores["no_test"].is_null());
    let text = project
        .refit(&["compare", SPEC, "longer.toml"])
        .success()
        .stdout;
    assert!(
        text.contains("the predictions of A and B are no longer in the store"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_compared_is_a_clear_error() {
    let project = two();
    let error = |arguments: &[&str]| {
        let said = project.refit(&[&["compare"], arguments].concat()).exits(2);
        assert_eq!(said.stdout, "");
        said.stderr
    };
    let unknown = error(&["@9", "@1"]);
    assert!(
        unknown.contains("no run in") && unknown.contains("refit log"),
        "{unknown}"
    );
    assert!(error(&["@0", "@1"]).contains("no run in"));
    assert!(error(&["@", "@1"]).contains("no run in"));
    assert!(error(&["@ffffffffff", "@1"]).contains("no run in"));
    assert!(error(&["missing.toml", "@1"]).contains("missing.toml"));
    let metric = error(&["@1", "@2", "--metric", "acuracy"]);
    assert!(
        metric.contains("acuracy") && metric.contains("f1_macro"),
        "{metric}"
    );
    project.write("bad.toml", "version = 1\n[load.x]\ntrain = \"none.csv\"\n");
    assert!(error(&["bad.toml", "@1"]).contains("no file `none.csv`"));
}

/// Runs a pipeline for one epoch, so that there are errors to resample, and compares it with itself.
fn with_itself(project: &Project) -> Value {
    project.run(&["spec.toml"]);
    let found = compared(project, &["@1", "spec.toml"]);
    assert_eq!(
        of_stage(&found, "scores", "scores")["resampled"]["paired"],
        true
    );
    found
}

/// Trains with `after` in place of `before`, and compares the run before with this one.
fn with_other(project: &Project, before: &str, after: &str) -> Value {
    project.replace("spec.toml", before, after);
    project.run(&["spec.toml"]);
    compared(project, &["@2", "@1"])
}

#[test]
fn scores_of_several_labels_are_those_of_their_predictions() {
    let project = Project::empty();
    project.write("data/train.csv", &delimited(&comments(80, 0)));
    project.write("data/test.csv", &delimited(&comments(40, 3)));
    let train = "task = \"multi_label\"\nepochs = 2";
    project.write("spec.toml", &spec(COMMENTS, "max_length = 16", train));
    all_are_sure(&with_itself(&project), &["loss"]);
    let found = with_other(&project, "epochs = 2", "epochs = 12");
    let changed = changed_rows(&found, "subset_accuracy");
    let asked = comments(40, 3);
    let fixed = changed.iter().find(|row| row["change"] == "fixed");
    let fixed = fixed.unwrap_or_else(|| panic!("it learned something: {found:#}"));
    let (text, labels) = &asked[fixed["id"].as_u64().unwrap() as usize];
    assert_eq!(fixed["text"], text.as_str());
    for answer in [&fixed["right"], &fixed["b"]["answer"]] {
        let mut names: Vec<&str> = answer
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let mut wanted = labels.clone();
        names.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(names, wanted);
    }
}

#[test]
fn scores_of_numbers_are_those_of_their_predictions() {
    let project = Project::empty();
    let rows = |rows: usize, from: usize| {
        let line = |row: usize| {
            format!(
                "{} number {},{},{}\n",
                ["bad", "fair", "good"][row % 3],
                row % 5,
                row % 3,
                row % 5
            )
        };
        "text,quality,length\n".to_owned() + &(from..from + rows).map(line).collect::<String>()
    };
    project.write("data/train.csv", &rows(80, 0));
    project.write("data/test.csv", &rows(40, 1));
    let load = "train = \"data/train.csv\"\ntest = \"data/test.csv\"\n\
                columns = { text = \"text\", target = [\"quality\", \"length\"] }";
    let train = "task = \"regression\"\nepochs = 2";
    project.write("spec.toml", &spec(load, "max_length = 16", train));
    let found = with_itself(&project);
    all_are_sure(&found, &["loss"]);
    let scores = of_stage(&found, "scores", "scores");
    assert!(scores["mcnemar"].is_null(), "{scores:#}");
    assert_eq!(
        scores["no_test"],
        "answers that are numbers or texts are not simply right or wrong"
    );
}

#[test]
fn scores_of_tags_are_those_of_their_predictions() {
    for bare in [false, true] {
        let project = Project::empty();
        // Tags that mark no chunks are scored word by word.
        let tags = |text: String| match bare {
            true => text.replace("B-", "").replace("I-", ""),
            false => text,
        };
        project.write("data/train.conll", &tags(sentences(60, 0, 0)));
        project.write("data/test.conll", &tags(sentences(30, 2, 0)));
        let load = "train = \"data/train.conll\"\ntest = \"data/test.conll\"";
        let train = "task = \"token_classification\"\nepochs = 1";
        project.write("spec.toml", &spec(load, "max_length = 16", train));
        all_are_sure(&with_itself(&project), &["loss"]);
        let found = with_other(&project, "= 3e-3", "= 1e-7");
        let changed = changed_rows(&found, "none that is of whole sentences");
        let broken = changed.iter().find(|row| row["change"] == "broken");
        let broken = broken.unwrap_or_else(|| panic!("it learned nothing: {found:#}"));
        let words: Vec<&str> = broken["words"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(broken["text"], words.join(" "));
        assert_eq!(broken["right"].as_array().unwrap().len(), words.len());
        assert_eq!(broken["a"]["answer"], broken["right"]);
        let text = project.refit(&["compare", "@2", "@1"]).success().stdout;
        let mut wrong = broken["b"]["answer"]
            .as_array()
            .unwrap()
            .iter()
            .zip(broken["right"].as_array().unwrap());
        let place = wrong.position(|(b, right)| b != right).unwrap();
        let tagged = format!(
            "{}/{}",
            words[place],
            broken["right"][place].as_str().unwrap()
        );
        assert!(text.contains(&tagged), "{tagged} in {text}");
    }
}

#[test]
fn scores_of_answers_are_those_of_their_predictions() {
    let project = Project::empty();
    project.write("data/train.jsonl", &questions(120, 0));
    project.write("data/test.jsonl", &questions(60, 7));
    let load = "train = \"data/train.jsonl\"\ntest = \"data/test.jsonl\"\n\
                columns = { question = \"question\", context = \"context\", answers = \"answers\", id = \"id\" }";
    let train = "task = \"question_answering\"\nepochs = 2";
    project.write("spec.toml", &spec(load, "max_length = 32", train));
    let without = [
        "loss",
        "best_exact_match",
        "best_exact_match_threshold",
        "best_f1",
        "best_f1_threshold",
    ];
    all_are_sure(&with_itself(&project), &without);
    let found = with_other(&project, "= 3e-3", "= 1e-7");
    let changed = changed_rows(&found, "exact_match");
    assert!(!changed.is_empty(), "it learned nothing: {found:#}");
    let asked: Vec<Value> = questions(60, 7)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for row in changed {
        let question = &asked[row["id"].as_u64().unwrap() as usize];
        assert_eq!(row["name"], question["id"]);
        assert_eq!(row["text"], question["question"]);
        assert_eq!(row["text_pair"], question["context"]);
        assert_eq!(row["right"], question["answers"]["text"]);
    }
}
