//! Beginning with a folder of data: what `refit init` writes passes `check` and runs.

use std::path::Path;

use crate::project::{Project, assets, rows};

const SPEC: &str = "pipeline.toml";

/// A spec without its comments.
fn settings(spec: &str) -> Vec<String> {
    let bare = |line: &str| {
        let (mut quoted, mut end) = (false, line.len());
        for (at, c) in line.char_indices() {
            match c {
                '"' => quoted = !quoted,
                '#' if !quoted => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        line[..end].trim_end().to_owned()
    };
    spec.lines()
        .map(bare)
        .filter(|line| !line.is_empty())
        .collect()
}

#[track_caller]
fn assert_says(spec: &str, wanted: &[&str]) {
    let settings = settings(spec);
    for line in wanted {
        let (no, line) = match line.strip_prefix("no ") {
            Some(field) => (true, field),
            None => (false, *line),
        };
        let found = settings.iter().any(|one| match no {
            true => one.starts_with(line),
            false => one == line,
        });
        assert!(found != no, "{line}, no: {no}\n{spec}");
    }
}

/// Begins with one of the data sets, and runs what comes out of it on a few rows.
fn begin_and_run(name: &str, wanted: &[&str]) -> Option<String> {
    let assets = assets(name)?;
    let project = Project::empty();
    let data = assets.join("data").join(name).display().to_string();
    let encoder = assets.join("models/paraphrase-MiniLM-L3-v2");
    let encoder = encoder.display().to_string();
    let said = project
        .refit(&["init", "--data", &data, "--encoder", &encoder])
        .success();
    assert!(said.stderr.contains("next: refit check"), "{}", said.stderr);
    let spec = project.read(SPEC);
    assert_says(&spec, wanted);
    let said = project.refit(&["check", SPEC]).success();
    assert!(!said.stderr.contains("warning"), "{}", said.stderr);
    let lines = spec
        .lines()
        .map(|line| match line.starts_with("epochs = ") {
            true => "max_steps = 2",
            false => line,
        });
    project.write(SPEC, &(lines.collect::<Vec<_>>().join("\n") + "\n"));
    let limit = "load.data.sample={ train = { limit = 32 }, validation = { limit = 16 }, test = { limit = 16 } }";
    let run = project.run(&[SPEC, "--set", limit]);
    assert!(run["scores"]["scores"].is_object(), "{run}");
    let folder = settings(&spec).into_iter().find_map(|line| {
        let to = line.strip_prefix("to = \"")?.strip_suffix('"')?;
        Some(project.path(to))
    });
    assert!(folder.unwrap().join("model.safetensors").is_file());
    Some(spec)
}

#[test]
fn begin_with_parquet_beside_csv() {
    begin_and_run(
        "ag_news",
        &[
            "name = \"ag_news\"",
            "split = { validation = 0.1, stratify = true }",
            "columns = { text = \"text\", label = \"label\" }",
            "task = \"classification\"",
            "no format =",
            "no header =",
            "no quote =",
            "no label_names =",
            "no loss =",
            "no validation =",
        ],
    );
}

#[test]
fn begin_with_csv_and_a_list_of_its_categories() {
    let spec = begin_and_run(
        "banking77",
        &[
            "columns = { text = \"text\", label = \"category\" }",
            "split = { validation = 0.1, stratify = true }",
            "label_names = [",
            "task = \"classification\"",
            "no header =",
            "no quote =",
        ],
    );
    if let Some(spec) = spec {
        assert!(spec.contains("# From categories.json."), "{spec}");
        assert!(spec.contains("77 classes"), "{spec}");
        assert!(
            spec.contains("  \"card_arrival\", \"card_linking\","),
            "{spec}"
        );
    }
}

#[test]
fn begin_with_sentences_of_tagged_words() {
    for name in ["btc", "wnut17"] {
        begin_and_run(
            name,
            &[
                "task = \"token_classification\"",
                "no format =",
                "no split = {",
                "no columns =",
            ],
        );
    }
    let spec = begin_and_run(
        "ncbi_disease",
        &[
            "task = \"token_classification\"",
            "format = \"conll\"",
            "no columns =",
            "no split = {",
            "no header =",
        ],
    );
    if let Some(spec) = spec {
        assert!(spec.contains("3 tags: O ("), "{spec}");
        assert!(spec.contains("devel.tsv"), "{spec}");
    }
}

#[test]
fn begin_with_several_labels_a_row() {
    let spec = begin_and_run(
        "go_emotions",
        &[
            "task = \"multi_label\"",
            "header = false",
            "no quote =",
            "columns = { text = 0, labels = 1 }",
            "label_names = [",
            "no split = {",
            "no label_separator =",
        ],
    );
    if let Some(spec) = spec {
        assert!(spec.contains("# From labels.txt."), "{spec}");
        assert!(spec.contains("\"surprise\", \"neutral\""), "{spec}");
    }
}

#[test]
fn begin_with_one_file_without_a_header() {
    begin_and_run(
        "sms_spam",
        &[
            "name = \"sms_spam\"",
            "header = false",
            "quote = \"\"",
            "columns = { text = 1, label = 0 }",
            "split = { validation = 0.1, test = 0.1, stratify = true }",
            "deduplicate = { by = \"exact\" }",
            "task = \"classification\"",
        ],
    );
}

#[test]
fn begin_with_a_table_whose_columns_are_named() {
    begin_and_run(
        "sst2",
        &[
            "columns = { text = \"sentence\", label = \"label\" }",
            "split = { test = 0.1, stratify = true }",
            "task = \"classification\"",
            "no header =",
            "no format =",
        ],
    );
}

#[test]
fn begin_with_questions() {
    let spec = begin_and_run(
        "squad_v2",
        &[
            "format = \"squad\"",
            "split = { test = 0.1 }",
            "task = \"question_answering\"",
            "no columns =",
        ],
    );
    if let Some(spec) = spec {
        assert!(spec.contains("validation = ["), "{spec}");
    }
    begin_and_run(
        "squadshifts_new_wiki",
        &[
            "format = \"squad\"",
            "split = { validation = 0.1, test = 0.1 }",
            "task = \"question_answering\"",
        ],
    );
}

#[test]
fn a_template_lacks_nothing_but_its_files() {
    for task in [
        "classification",
        "multi_label",
        "token_classification",
        "question_answering",
        "regression",
    ] {
        let project = Project::empty();
        project.refit(&["init", "--task", task]).success();
        let spec = project.read(SPEC);
        assert!(spec.contains(&format!("task = \"{task}\"")), "{spec}");
        let problems = project.refit(&["check", SPEC, "--json"]).exits(2).json();
        let problems = problems["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "{task}: {problems:?}");
        let message = problems[0]["message"].as_str().unwrap();
        assert!(message.starts_with("no file `data/train."), "{message}");
        // With what is offered in its comments, it still is a spec for that task.
        let offered = spec.lines().map(|line| match line.strip_prefix("# ") {
            Some(line) if line.starts_with("early_stopping") || line.starts_with("loss") => line,
            _ => line,
        });
        project.write(SPEC, &offered.collect::<Vec<_>>().join("\n"));
        let problems = project.refit(&["check", SPEC, "--json"]).exits(2).json();
        assert_eq!(
            problems["problems"].as_array().unwrap().len(),
            1,
            "{problems}"
        );
    }
}

#[test]
fn a_template_runs_once_its_files_are_there() {
    let project = Project::empty();
    project
        .refit(&["init", "--task", "classification"])
        .success();
    project.write("data/train.csv", &rows(60, 0));
    project.refit(&["check", SPEC]).success();
}

#[test]
fn paths_are_relative_to_the_spec_and_the_schema_is_found() {
    let project = Project::empty();
    project.write("data/train.csv", &rows(60, 0));
    project.write("schemas/pipeline.schema.json", "{}");
    project.write("specs/.keep", "");
    let said = project
        .refit(&["init", "--data", "data", "specs/mine.toml"])
        .success();
    assert!(
        said.stderr.contains("next: refit check specs/mine.toml"),
        "{}",
        said.stderr
    );
    let spec = project.read("specs/mine.toml");
    assert!(
        spec.starts_with("#:schema ../schemas/pipeline.schema.json\n"),
        "{spec}"
    );
    assert_says(&spec, &["train = [\"../data/train.csv\"]"]);
    project.refit(&["check", "specs/mine.toml"]).success();
    let printed = project
        .refit(&["init", "--data", "data/train.csv", "-"])
        .success();
    assert_says(
        &printed.stdout,
        &["train = [\"data/train.csv\"]", "name = \"data\""],
    );
    assert!(!project.path(SPEC).exists());
}

#[test]
fn a_project_without_a_schema_gets_the_one_of_this_version() {
    let project = Project::empty();
    project.refit(&["init", "--task", "regression"]).success();
    let first = "#:schema pipeline.schema.json\n";
    assert!(project.read(SPEC).starts_with(first));
    let of_this_version = project.refit(&["schema"]).success().stdout;
    assert_eq!(project.read("pipeline.schema.json"), of_this_version);
    project.write("pipeline.schema.json", "{}");
    project
        .refit(&["init", "--task", "regression", "--force"])
        .success();
    assert_eq!(project.read("pipeline.schema.json"), "{}");
    let printed = project
        .refit(&["init", "--task", "regression", "-"])
        .success();
    assert!(printed.stdout.starts_with(first), "{}", printed.stdout);
}

#[test]
fn a_spec_that_is_there_is_replaced_only_by_force() {
    let project = Project::empty();
    project.write("train.csv", &rows(60, 0));
    project.write(SPEC, "mine\n");
    let said = project.refit(&["init", "--data", "train.csv"]).exits(2);
    assert!(said.stderr.contains("is there already") && said.stderr.contains("--force"));
    assert_eq!(project.read(SPEC), "mine\n");
    project
        .refit(&["init", "--data", "train.csv", "--force"])
        .success();
    project.refit(&["check", SPEC]).success();
}

#[test]
fn files_named_on_the_command_line_come_before_those_of_the_folder() {
    let project = Project::empty();
    for (name, from) in [
        ("data/train.csv", 0),
        ("data/dev.csv", 60),
        ("other.csv", 120),
    ] {
        project.write(name, &rows(60, from));
    }
    project
        .refit(&[
            "init",
            "--data",
            "data",
            "--test",
            "other.csv",
            "--text",
            "text",
        ])
        .success();
    let wanted = [
        "validation = [\"data/dev.csv\"]",
        "test = [\"other.csv\"]",
        "no split = {",
    ];
    assert_says(&project.read(SPEC), &wanted);
}

#[test]
fn a_card_says_what_labels_are_called() {
    let project = Project::empty();
    let text: String = (0..60)
        .map(|n| format!("a message of number {n},{}\n", n % 2))
        .collect();
    project.write("data/train.csv", &format!("text,label\n{text}"));
    project.write(
        "data/README.md",
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': calm\n          '1': loud\n---\n",
    );
    project.refit(&["init", "--data", "data"]).success();
    assert_says(&project.read(SPEC), &["label_names = [\"calm\", \"loud\"]"]);
    project.refit(&["check", SPEC]).success();
}

#[test]
fn strange_names_are_written_so_that_they_mean_themselves() {
    let project = Project::empty();
    let folder = "d \"q\" ${x} [1]";
    let row = |n: usize| format!("a message of number {n},{}\n", n % 2);
    let rows: String = (0..60).map(row).collect();
    project.write(
        &format!("{folder}/train.csv"),
        &format!("\"t \"\"x\"\" ${{a}}\",label\n{rows}"),
    );
    project.refit(&["init", "--data", folder]).success();
    project.refit(&["check", SPEC]).success();
    let run = project
        .refit(&["run", SPEC, "data", "--json"])
        .success()
        .json();
    assert_eq!(run["steps"][0]["outcome"], "built");
}

#[test]
fn what_cannot_be_guessed_says_what_was_seen_and_what_to_give() {
    let project = Project::empty();
    let said = project.refit(&["init"]).exits(2);
    assert!(
        said.stderr.contains("--data") && said.stderr.contains("--task"),
        "{}",
        said.stderr
    );
    let said = project.refit(&["init", "--data", "nowhere"]).exits(2);
    assert!(
        said.stderr.contains("there is no nowhere"),
        "{}",
        said.stderr
    );
    project.write(
        "notes.csv",
        "written,note\nMay,it was a fine day\nJune,it rained all day\n",
    );
    let said = project.refit(&["init", "--data", "notes.csv"]).exits(2);
    for part in ["`note` (\"it was a fine day\")", "--label COLUMN"] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    assert!(!project.path(SPEC).exists());
    std::fs::create_dir(project.path("empty")).unwrap();
    let said = project.refit(&["init", "--data", "empty"]).exits(2);
    assert!(said.stderr.contains("nothing in"), "{}", said.stderr);
    let said = project
        .refit(&["init", "--data", "notes.csv", "--encoder", "./none"])
        .exits(2);
    assert!(said.stderr.contains("no folder"), "{}", said.stderr);
    assert!(Path::new(&project.path("notes.csv")).exists());
}
