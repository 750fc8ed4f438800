//! `refit report`: one file that shows a pipeline's evaluations, and says what their artifacts say.

use std::io::Read;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::project::{Project, rows};
use crate::tasks::{COMMENTS, comments, delimited, questions, sentences, spec};

const SPEC: &str = "pipeline.toml";

/// The page that `refit report` writes.
fn page(project: &Project, arguments: &[&str]) -> String {
    let said = project.refit(&[&["report"], arguments].concat()).success();
    std::fs::read_to_string(project.path(said.stdout.trim_end())).unwrap()
}

/// What is embedded in a page.
fn data(html: &str) -> Value {
    let (_, rest) = html.split_once("id=\"data\">").unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(data).unwrap()
}

/// The rows of an evaluation.
fn unpacked(evaluation: &Value) -> Value {
    let packed = BASE64_STANDARD.decode(evaluation["packed"].as_str().unwrap());
    let mut text = String::new();
    GzDecoder::new(&packed.unwrap()[..])
        .read_to_string(&mut text)
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

fn scores(project: &Project, stage: &str) -> Value {
    let said = project.refit(&["path", SPEC, stage]).success();
    let path = project.path(said.stdout.trim_end()).join("scores.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn texts(rows: &Value) -> Vec<&str> {
    let places = rows["text"].as_array().unwrap().iter();
    places
        .map(|place| {
            rows["strings"][place.as_u64().unwrap() as usize]
                .as_str()
                .unwrap()
        })
        .collect()
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_u64().unwrap())
        .collect()
}

fn notes(evaluation: &Value) -> String {
    evaluation["notes"].to_string()
}

#[test]
fn a_run_leaves_a_page_with_its_scores_its_counts_and_its_wrong_rows() {
    let project = Project::tiny();
    project.write("data/test.csv", &rows(60, 1000));
    project.run(&[SPEC]);
    let said = project.refit(&["report", SPEC]).success();
    assert_eq!(
        std::path::Path::new(said.stdout.trim_end())
            .canonicalize()
            .unwrap(),
        project
            .path(".refit/reports/tiny.html")
            .canonicalize()
            .unwrap()
    );
    let data = data(&page(&project, &[SPEC]));
    let evaluation = &data["evaluations"][0];
    let written = scores(&project, "scores");
    assert_eq!(
        (&evaluation["task"], &evaluation["rows"]),
        (&json!("classification"), &json!(60))
    );
    let shown = evaluation["scores"].as_array().unwrap();
    assert_eq!(shown.len(), 12);
    assert_eq!(shown[0]["metric"], "accuracy");
    for score in shown {
        let name = score["metric"].as_str().unwrap();
        assert_eq!(score["value"], written[name], "{name}");
        if name == "loss" {
            assert_eq!(
                (&score["low"], &score["higher_is_better"]),
                (&Value::Null, &json!(false))
            );
        } else {
            let of = |field: &str| score[field].as_f64().unwrap();
            assert!(
                of("low") <= of("value") && of("value") <= of("high"),
                "{score}"
            );
        }
    }
    assert_eq!(evaluation["confusion"], written["confusion_matrix"]);
    assert_eq!(evaluation["labels"], written["labels"]);
    for field in ["precision", "recall", "f1", "support"] {
        let written = &written["per_class"][1][field];
        assert_eq!(&evaluation["per_label"][1][field], written, "{field}");
    }
    let rows = unpacked(evaluation);
    let wrong = rows["wrong"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|wrong| **wrong == true)
        .count();
    let right = 60 - wrong;
    let accuracy = written["accuracy"].as_f64().unwrap();
    assert!((accuracy - right as f64 / 60.0).abs() < 1e-12);
    let file = project.read("data/test.csv");
    let labels = evaluation["labels"].as_array().unwrap();
    for (line, (text, label)) in file
        .lines()
        .skip(1)
        .zip(texts(&rows).iter().zip(numbers(&rows["right"])))
    {
        assert_eq!(
            line,
            format!("{text},{}", labels[label as usize].as_str().unwrap())
        );
    }
    assert_eq!(numbers(&rows["confidence"]).len(), 60);
    assert_eq!(numbers(&rows["words"])[0], 9);
    let curves = evaluation["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 2);
    assert_eq!(curves[0]["roc"][0], json!([0.0, 0.0]));
    let counts = &evaluation["thresholds"][0]["counts"];
    assert_eq!(counts.as_array().unwrap().len(), 101);
    assert_eq!(
        counts[0][0].as_u64().unwrap() + counts[0][1].as_u64().unwrap(),
        60
    );
    assert!(
        notes(evaluation).contains("explain = { examples = 8 }"),
        "{evaluation}"
    );

    let training = &data["trainings"][0];
    assert_eq!(
        (&training["stage"], &training["log"][0]["step"]),
        (&json!("classifier"), &json!(1))
    );
    assert!(
        training["seconds"].as_f64().unwrap() > 0.0
            && training["parameters"].as_u64().unwrap() > 1000
    );
    let splits = data["data"][0]["splits"].as_array().unwrap();
    let names: Vec<&str> = splits
        .iter()
        .map(|split| split["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["train", "validation", "test"]);
    assert_eq!(splits[2]["labels"], json!([["bad", 30], ["good", 30]]));
    assert_eq!(data["tokens"][0]["splits"][2]["rows"], 60);
    let steps = data["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 6);
    assert!(
        steps
            .iter()
            .all(|step| step["outcome"] == "built" && step["key"].as_str().unwrap().len() == 64)
    );
    assert_eq!(steps[4]["reads"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&data["previous"], &data["text"]),
        (&Value::Null, &json!(project.read(SPEC)))
    );
}

/// Rows of two classes, told by their words; in every third row `not` stands where the others have `so`. Where `turned`, such
/// a row has the label that its words do not say.
fn said(count: usize, offset: usize, turned: bool) -> String {
    let (good, bad) = (
        ["bright", "warm", "kind", "calm", "fresh"],
        ["dull", "cold", "rude", "loud", "stale"],
    );
    let things = [
        "room", "train", "garden", "letter", "morning", "window", "street",
    ];
    let mut text = "text,label\n".to_owned();
    for row in offset..offset + count {
        let words = if row % 2 == 0 { good } else { bad };
        let negated = row % 3 == 0;
        let is_good = (row % 2 == 0) != (turned && negated);
        let word = if negated { "not" } else { "so" };
        let (first, second) = (words[row % 5], words[(row / 5 + 2) % 5]);
        let label = if is_good { "good" } else { "bad" };
        text += &format!(
            "the {} was {word} far and {first} and {second},{label}\n",
            things[row % 7]
        );
    }
    text
}

fn learned(test: &str) -> Project {
    let project = Project::tiny();
    project.write("data/train.csv", &said(210, 0, false));
    project.write("data/test.csv", test);
    project.replace(SPEC, "epochs = 2", "epochs = 12");
    project.replace(SPEC, "learning_rate = 1e-3", "learning_rate = 5e-3");
    project.run(&[SPEC]);
    project
}

#[test]
fn a_planted_failing_slice_comes_first_and_a_row_of_markup_stays_text() {
    let script = "</script><script>alert(1)</script><!-- & so far";
    let test = said(120, 1000, true) + &format!("{script},good\n");
    let project = learned(&test);
    let html = page(&project, &[SPEC]);
    assert_eq!(html.matches("<script").count(), 2);
    let data = data(&html);
    let evaluation = &data["evaluations"][0];
    let first = &evaluation["slices"][0];
    assert_eq!(
        (&first["by"], &first["value"]),
        (&json!("negation"), &json!("has one")),
        "{first}"
    );
    let of = |field: &str| first[field].as_f64().unwrap();
    assert_eq!(of("support"), 40.0);
    assert!(
        of("error") > 0.9 && of("low") > 0.7 && of("elsewhere") < 0.1,
        "{first}"
    );
    assert!(of("p_value") < 1e-6, "{first}");
    let rows = unpacked(evaluation);
    let all = texts(&rows);
    assert_eq!(all[120], script);
    let wrong = |row: &u64| rows["wrong"][*row as usize] == true;
    let of_slice = numbers(&first["rows"]);
    assert_eq!(of_slice.len(), 40);
    assert!(
        of_slice.iter().take(36).all(wrong)
            && of_slice
                .iter()
                .all(|row| all[*row as usize].contains("not"))
    );
    // The rows of the training are made by the same rule.
    let near = evaluation["near"].as_array().unwrap();
    assert!(!near.is_empty());
    for one in near {
        assert!(one["similarity"].as_f64().unwrap() >= 0.6, "{one}");
        assert!(project.read("data/train.csv").contains(&format!(
            "{},{}\n",
            one["text"].as_str().unwrap(),
            one["label"].as_str().unwrap()
        )));
    }
}

#[test]
fn ten_planted_label_errors_are_the_ten_most_doubtful_rows() {
    let turned = |line: &str| match line.strip_suffix(",good") {
        Some(text) => format!("{text},bad\n"),
        None => line.replace(",bad", ",good\n"),
    };
    let planted: Vec<u64> = (0..10).map(|number| number * 11 + 4).collect();
    let test = said(120, 1000, false);
    let lines = test
        .lines()
        .enumerate()
        .map(|(place, line)| match place.checked_sub(1) {
            Some(row) if planted.contains(&(row as u64)) => turned(line),
            _ => format!("{line}\n"),
        });
    let project = learned(&lines.collect::<String>());
    let data = data(&page(&project, &[SPEC]));
    let doubtful = data["evaluations"][0]["doubtful"].as_array().unwrap();
    let mut first: Vec<u64> = doubtful
        .iter()
        .take(10)
        .map(|one| one["row"].as_u64().unwrap())
        .collect();
    first.sort_unstable();
    assert_eq!(first, planted, "{doubtful:#?}");
    for one in doubtful.iter().take(10) {
        assert_ne!(one["given"], one["suggested"]);
        assert!(one["suggested_probability"].as_f64() > one["given_probability"].as_f64());
    }
}

#[test]
fn equal_results_give_an_equal_page_and_a_changed_spec_shows_its_lines() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    project.run(&[SPEC]);
    let before = page(&project, &[SPEC]);
    project.run(&[SPEC]);
    let elsewhere = project.path("page.html");
    let asked = [
        "report",
        SPEC,
        "--output",
        elsewhere.to_str().unwrap(),
        "--json",
    ];
    let said = project.refit(&asked).success().json();
    assert_eq!(
        said,
        json!({ "pipeline": "tiny", "report": elsewhere.to_str().unwrap(), "stages": ["scores"] })
    );
    assert!(
        std::fs::read_to_string(elsewhere).unwrap() == before,
        "the pages differ"
    );
    project.replace(SPEC, "epochs = 2", "epochs = 4");
    project.run(&[SPEC]);
    let data = data(&page(&project, &[SPEC]));
    let lines = data["previous"]["lines"].as_array().unwrap();
    let changed: Vec<&Value> = lines.iter().filter(|line| line[0] != "=").collect();
    assert_eq!(
        changed,
        [&json!(["-", "epochs = 2"]), &json!(["+", "epochs = 4"])]
    );
    assert!(data["previous"]["run"].as_str().unwrap().starts_with('@'));
    let step = &data["steps"][3];
    assert_eq!(
        (&step["outcome"], &step["reason"]),
        (&json!("built"), &json!("epochs: 2 → 4"))
    );
}

#[test]
fn what_is_not_evaluated_has_no_page_and_the_error_says_what_makes_it() {
    let project = Project::tiny();
    let said = project.refit(&["report", SPEC]).exits(3);
    assert!(
        said.stderr
            .contains("`refit run pipeline.toml scores` makes it"),
        "{}",
        said.stderr
    );
    assert!(!project.path(".refit/reports").exists());
    let said = project
        .refit(&["report", SPEC, "--stage", "classifier"])
        .exits(2);
    assert!(said.stderr.contains("evaluate: scores"), "{}", said.stderr);
    let without = project.read(SPEC);
    let (without, _) = without.split_once("[evaluate.scores]").unwrap();
    project.write("without.toml", without);
    let said = project.refit(&["report", "without.toml"]).exits(2);
    assert!(said.stderr.contains("[evaluate.scores]"), "{}", said.stderr);
}

#[test]
fn what_was_collected_is_a_note() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let forget = |stage: &str| {
        let said = project.refit(&["path", SPEC, stage]).success();
        std::fs::remove_dir_all(project.path(said.stdout.trim_end())).unwrap();
    };
    forget("more");
    let without_rows = data(&page(&project, &[SPEC]))["evaluations"][0].clone();
    assert!(
        notes(&without_rows).contains("refit run --force more"),
        "{}",
        without_rows["notes"]
    );
    assert!(notes(&without_rows).contains("what more gave is no longer in the store"));
    assert_eq!(without_rows["confusion"].as_array().unwrap().len(), 2);
    assert_eq!(unpacked(&without_rows)["strings"], json!([]));
    forget("scores");
    let only_scores = data(&page(&project, &[SPEC]))["evaluations"][0].clone();
    assert!(
        notes(&only_scores).contains("refit run --force scores"),
        "{}",
        only_scores["notes"]
    );
    assert_eq!(only_scores["scores"], {
        let mut scores = without_rows["scores"].clone();
        for score in scores.as_array_mut().unwrap() {
            score["low"] = Value::Null;
            score["high"] = Value::Null;
        }
        scores
    });
}

/// The evaluation of a pipeline that has run, and its rows.
fn evaluated(project: &Project) -> (Value, Value) {
    project.run(&[SPEC]);
    let data = data(&page(project, &[SPEC]));
    let evaluation = data["evaluations"][0].clone();
    let rows = unpacked(&evaluation);
    (evaluation, rows)
}

#[test]
fn several_labels_a_row_have_a_threshold_each() {
    let project = Project::empty();
    project.write("data/train.csv", &delimited(&comments(120, 0)));
    project.write("data/test.csv", &delimited(&comments(40, 3)));
    let train = "task = \"multi_label\"\nepochs = 4\nthreshold = \"tuned\"";
    project.write(SPEC, &spec(COMMENTS, "max_length = 16", train));
    let (evaluation, rows) = evaluated(&project);
    let written = scores(&project, "scores");
    assert_eq!(evaluation["task"], "multi_label");
    for label in 0..3 {
        let (shown, table) = (
            &evaluation["per_label"][label],
            &written["per_label"][label],
        );
        assert_eq!(
            (&shown["f1"], &shown["support"]),
            (&table["f1"], &table["support"])
        );
        let threshold = &evaluation["thresholds"][label];
        assert_eq!(threshold["chosen"], table["threshold"]);
        let right = numbers(&json!([threshold["counts"][0][0]]))[0];
        assert_eq!(right, table["support"].as_u64().unwrap());
        let force = numbers(&threshold["in_force"]);
        assert_eq!(force[0] + force[2], right);
        let precision = force[0] as f64 / ((force[0] + force[1]).max(1)) as f64;
        if force[0] > 0 {
            assert!((precision - table["precision"].as_f64().unwrap()).abs() < 1e-9);
        }
    }
    let wrong = rows["wrong"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|wrong| **wrong == true)
        .count();
    let exact = written["subset_accuracy"].as_f64().unwrap();
    assert!((exact - (40 - wrong) as f64 / 40.0).abs() < 1e-12);
    assert_eq!(rows["right_labels"].as_array().unwrap().len(), 40);
}

#[test]
fn entities_stand_in_their_text_with_what_became_of_them() {
    let project = Project::empty();
    project.write("data/train.conll", &sentences(60, 0, 0));
    project.write("data/test.conll", &sentences(30, 2, 0));
    let load = "train = \"data/train.conll\"\ntest = \"data/test.conll\"";
    let train = "task = \"token_classification\"\nepochs = 2";
    project.write(SPEC, &spec(load, "max_length = 16", train));
    let (evaluation, rows) = evaluated(&project);
    let written = scores(&project, "scores");
    let errors = &written["errors"];
    for (shown, name) in [
        ("correct", "correct"),
        ("type", "wrong_type"),
        ("boundary", "wrong_bounds"),
        ("both", "wrong_type_and_bounds"),
        ("missed", "missed"),
        ("spurious", "spurious"),
    ] {
        assert_eq!(evaluation["entity_errors"][shown], errors[name], "{errors}");
    }
    assert_eq!(evaluation["labels"], json!(["LOC", "PER"]));
    let text: Vec<char> = texts(&rows)[0].chars().collect();
    let entity = &rows["right_entities"][0][1];
    let (start, end) = (
        entity[0].as_u64().unwrap() as usize,
        entity[1].as_u64().unwrap() as usize,
    );
    assert_eq!(
        (text[start..end].iter().collect::<String>(), &entity[2]),
        ("Oslo".to_owned(), &json!(0))
    );
    let mut fates = std::collections::BTreeMap::<String, u64>::new();
    let both = rows["right_entities"]
        .as_array()
        .unwrap()
        .iter()
        .chain(rows["found_entities"].as_array().unwrap());
    for entity in both.flat_map(|row| row.as_array().unwrap()) {
        *fates
            .entry(entity[3].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    assert_eq!(
        fates.get("missed").copied().unwrap_or(0),
        errors["missed"].as_u64().unwrap()
    );
    assert_eq!(
        fates.get("correct").copied().unwrap_or(0),
        2 * errors["correct"].as_u64().unwrap()
    );
}

#[test]
fn answers_stand_in_their_context() {
    let project = Project::empty();
    project.write("data/train.jsonl", &questions(120, 0));
    project.write("data/test.jsonl", &questions(60, 7));
    let load = "train = \"data/train.jsonl\"\ntest = \"data/test.jsonl\"\n\
                columns = { question = \"question\", context = \"context\", answers = \"answers\", id = \"id\" }";
    let train = "task = \"question_answering\"\nepochs = 3";
    project.write(SPEC, &spec(load, "max_length = 32", train));
    let (evaluation, rows) = evaluated(&project);
    let written = scores(&project, "scores");
    assert_eq!(
        (&evaluation["task"], &rows["name"][0]),
        (&json!("question_answering"), &json!("7"))
    );
    for (name, values) in rows["row_scores"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one[0], &one[1]))
    {
        let values: Vec<f64> = values
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_f64().unwrap())
            .collect();
        let mean = values.iter().sum::<f64>() / 60.0;
        let wanted = written[name.as_str().unwrap()].as_f64().unwrap();
        assert!((mean - wanted).abs() < 1e-9, "{name}: {mean}, not {wanted}");
    }
    for row in 0..60 {
        let span = &rows["answer_span"][row];
        let answer = rows["answer"][row].as_str().unwrap();
        assert_eq!(span.is_null(), answer.is_empty());
        if !span.is_null() {
            let context = &rows["strings"][rows["pair"][row].as_u64().unwrap() as usize];
            let context: Vec<char> = context.as_str().unwrap().chars().collect();
            let (start, end) = (
                span[0].as_u64().unwrap() as usize,
                span[1].as_u64().unwrap() as usize,
            );
            assert_eq!(context[start..end].iter().collect::<String>(), answer);
        }
    }
    let kinds = evaluation["slices"].as_array().unwrap();
    assert!(
        kinds
            .iter()
            .any(|one| one["value"] == "has no answer" && one["support"] == 20)
    );
}

#[test]
fn rows_that_fail_by_a_column_which_load_kept_are_a_slice() {
    let with_columns = |text: &str, source: &dyn Fn(usize) -> &'static str| {
        let lines = text.lines().enumerate();
        let lines = lines.map(|(row, line)| match row {
            0 => format!("{line},source,year\n"),
            _ => format!("{line},{},{}\n", source(row), 1990 + row % 15),
        });
        lines.collect::<String>()
    };
    let (plain, turned) = (said(120, 1000, false), said(120, 1000, true));
    let differs = |row: usize| plain.lines().nth(row) != turned.lines().nth(row);
    let project = Project::tiny();
    let train = with_columns(&said(210, 0, false), &|_| "book");
    project.write("data/train.csv", &train);
    // Whose labels are turned shows in the column alone: in the text every third row, and so of the others, has `not`.
    let source = |row: usize| if differs(row) { "forum" } else { "book" };
    project.write("data/test.csv", &with_columns(&turned, &source));
    project.replace(
        SPEC,
        "test = \"data/test.csv\"",
        "test = \"data/test.csv\"\ncolumns = { keep = [\"source\", \"year\"] }",
    );
    project.replace(SPEC, "epochs = 2", "epochs = 12");
    project.replace(SPEC, "learning_rate = 1e-3", "learning_rate = 5e-3");
    let (evaluation, _) = evaluated(&project);
    let slices = evaluation["slices"].as_array().unwrap();
    let of = |by: &str, value: &str| {
        let found = slices
            .iter()
            .find(|one| one["by"] == by && one["value"] == value);
        found.unwrap_or_else(|| panic!("no {by} {value} in {slices:?}"))
    };
    let forum = of("column source", "forum");
    assert_eq!(forum["support"], 40);
    assert!(
        forum["error"].as_f64().unwrap() > 0.9 && forum["p_value"].as_f64().unwrap() < 1e-6,
        "{forum}"
    );
    assert!(
        slices.iter().any(
            |one| one["by"] == "column year" && one["value"].as_str().unwrap().contains(" to ")
        )
    );
    // What is kept teaches nothing: the model is the one that it would be without.
    let with = project.run(&[SPEC]);
    project.replace(SPEC, "\ncolumns = { keep = [\"source\", \"year\"] }", "");
    let without = project.run(&[SPEC]);
    let digest = |run: &Value, stage: &str| {
        let steps = run["steps"].as_array().unwrap().iter();
        let mut found = steps.filter(|step| step["stage"] == stage);
        found.next().unwrap()["digest"].clone()
    };
    assert_ne!(digest(&with, "data"), digest(&without, "data"));
    assert_eq!(digest(&with, "classifier"), digest(&without, "classifier"));
}

#[test]
fn numbers_and_generated_texts_have_their_scores_by_row() {
    let project = Project::empty();
    let line = |row: usize| format!("the {} row,{}\n", ["low", "high"][row % 2], row % 2);
    let file = |from: usize, rows: usize| {
        "text,score\n".to_owned() + &(from..from + rows).map(line).collect::<String>()
    };
    project.write("data/train.csv", &file(0, 60));
    project.write("data/test.csv", &file(0, 20));
    let load = "train = \"data/train.csv\"\ntest = \"data/test.csv\"\ncolumns = { text = \"text\", target = [\"score\"] }";
    project.write(
        SPEC,
        &spec(load, "max_length = 16", "task = \"regression\"\nepochs = 1"),
    );
    let (evaluation, rows) = evaluated(&project);
    assert_eq!(evaluation["task"], "regression");
    let off = &rows["row_scores"][0][1];
    let off: Vec<f64> = off
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_f64().unwrap())
        .collect();
    let mean = off.iter().sum::<f64>() / 20.0;
    let wanted = scores(&project, "scores")["mae"].as_f64().unwrap();
    assert!((mean - wanted).abs() < 1e-6, "{mean}, not {wanted}");

    let project = Project::empty();
    project.write(
        "data/train.csv",
        "prediction,reference,from\nthe cat sat,the cat sat down,a\nno,yes,b\nall of it,all of it,a\n",
    );
    let text = "version = 1\nname = \"texts\"\n\n[load.texts]\ntrain = \"data/train.csv\"\n\
        columns = { text = \"prediction\", text_pair = \"reference\", label = \"\" }\n\n\
        [evaluate.quality]\ninput = \"texts\"\nsplit = \"train\"\ntask = \"generation\"\n";
    project.write(SPEC, text);
    let (evaluation, rows) = evaluated(&project);
    assert_eq!(
        (&evaluation["task"], &evaluation["model"]),
        (&json!("generation"), &Value::Null)
    );
    assert_eq!(rows["wrong"], json!([false, true, false]));
    assert_eq!(rows["row_scores"].as_array().unwrap().len(), 9);
    assert_eq!(texts(&rows)[1], "no");
    let written = scores(&project, "quality");
    assert_eq!(evaluation["scores"].as_array().unwrap().len(), 9);
    for score in evaluation["scores"].as_array().unwrap() {
        assert_eq!(score["value"], written[score["metric"].as_str().unwrap()]);
    }
}
