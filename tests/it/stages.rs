//! What the stages promise together, seen through the binary.

use crate::project::{Project, rows, skipped};

const SPEC: &str = "pipeline.toml";

#[test]
fn a_tiny_model_learns_what_the_words_say() {
    let project = Project::tiny();
    project.write("data/train.csv", &rows(200, 0));
    project.replace(SPEC, "epochs = 2", "epochs = 12");
    project.replace(SPEC, "learning_rate = 1e-3", "learning_rate = 5e-3");
    let run = project.run(&[SPEC]);
    let accuracy = run["scores"]["scores"]["accuracy"].as_f64().unwrap();
    assert!(accuracy >= 0.9, "{accuracy}");
}

#[test]
fn sentence_pairs_go_from_load_to_export() {
    let project = Project::tiny();
    let mut text = "first,second,label\n".to_owned();
    for index in 0..40 {
        let other = if index % 2 == 0 { index } else { index + 1 };
        text.push_str(&format!(
            "number {index} is here,number {other} is there,{}\n",
            index % 2
        ));
    }
    project.write("data/train.csv", &text);
    project.replace(SPEC, "test = \"data/test.csv\"\n", "");
    project.replace(SPEC, "split = { validation = 0.2, stratify = true }", "split = { validation = 0.2, test = 0.2, stratify = true }\ncolumns = { text = \"first\", text_pair = \"second\" }\nlabel_names = [\"same\", \"other\"]");
    let run = project.run(&[SPEC]);
    assert_eq!(
        run["scores"]["scores"]["labels"],
        serde_json::json!(["same", "other"])
    );
    let config: serde_json::Value =
        serde_json::from_str(&project.read("dist/config.json")).unwrap();
    assert_eq!(config["id2label"]["1"], "other");
}

#[test]
fn a_head_that_transformers_has_not_brings_its_own_modelling_file() {
    let project = Project::tiny();
    project.replace(
        SPEC,
        "epochs = 2",
        "epochs = 1\nhead = { pooling = \"mean\" }",
    );
    project.run(&[SPEC]);
    assert!(project.read("dist/config.json").contains("auto_map"));
    assert!(project.read("dist/modeling_refit.py").contains("class "));
    project.replace(SPEC, "head = { pooling = \"mean\" }", "");
    project.run(&[SPEC]);
    assert!(
        !project.path("dist/modeling_refit.py").exists(),
        "the old file went with the old folder"
    );
}

#[test]
fn the_card_tells_data_settings_metrics_and_key() {
    let project = Project::tiny();
    let run = project.run(&[SPEC]);
    let card = project.read("dist/README.md");
    let accuracy = run["scores"]["scores"]["accuracy"].as_f64().unwrap();
    for part in [
        run["steps"][5]["key"].as_str().unwrap(),
        "learning_rate",
        "train/0",
        &format!("{accuracy:.4}"),
    ] {
        assert!(card.contains(part), "{part} in {card}");
    }
    assert!(
        !card.contains(project.path("").to_str().unwrap()),
        "no path of this machine"
    );
}

#[test]
fn tokens_of_another_tokenizer_are_refused() {
    let project = Project::tiny();
    let other = "\n[tokenize.others]\ninput = \"data\"\ntrain_tokenizer = { vocab_size = 120, min_frequency = 1 }\nmax_length = 24\n";
    project.write(SPEC, &(project.read(SPEC) + other));
    project.replace(
        SPEC,
        "[evaluate.scores]\nmodel = \"classifier\"\ninput = \"tokens\"",
        "[evaluate.scores]\nmodel = \"classifier\"\ninput = \"others\"",
    );
    let said = project.refit(&["run", SPEC]).exits(1);
    assert!(said.stderr.contains("tokenizer"), "{}", said.stderr);
}

#[test]
fn a_split_that_is_not_there_is_named_with_those_that_are() {
    let project = Project::tiny();
    project.replace(
        SPEC,
        "[evaluate.scores]\n",
        "[evaluate.scores]\nsplit = \"more.mismatched\"\n",
    );
    let said = project.refit(&["run", SPEC]).exits(1);
    for word in ["more.mismatched", "test", "validation", "train"] {
        assert!(said.stderr.contains(word), "{word} in {}", said.stderr);
    }
}

#[test]
fn further_test_sets_are_evaluated_by_name() {
    let project = Project::tiny();
    project.write("data/more.csv", &rows(10, 5000));
    project.replace(
        SPEC,
        "test = \"data/test.csv\"",
        "test = \"data/test.csv\"\nmore = { later = \"data/more.csv\" }",
    );
    project.replace(
        SPEC,
        "[evaluate.scores]\n",
        "[evaluate.scores]\nsplit = \"more.later\"\n",
    );
    let run = project.run(&[SPEC]);
    assert_eq!(run["scores"]["scores"]["rows"], 10);
}

#[test]
fn rows_in_both_training_and_test_are_warned_of() {
    let project = Project::tiny();
    project.write("data/test.csv", &rows(12, 0));
    let said = project.refit(&["run", SPEC, "data"]).success();
    assert!(
        said.stderr.contains("warning") && said.stderr.contains("12"),
        "{}",
        said.stderr
    );
}

#[test]
fn the_training_log_has_every_step_and_evaluation_and_no_clock() {
    let project = Project::tiny();
    project.run(&[SPEC]);
    let model = project
        .refit(&["path", SPEC, "classifier"])
        .success()
        .stdout;
    let log =
        std::fs::read_to_string(std::path::Path::new(model.trim()).join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let steps = lines
        .iter()
        .filter(|line| line.get("loss").is_some())
        .count();
    let evaluations = lines
        .iter()
        .filter(|line| line.get("validation").is_some())
        .count();
    assert!(steps > 0);
    assert_eq!(evaluations, 2);
    assert!(!log.contains("seconds") && !log.contains("time"));
}

#[test]
fn the_cpu_backends_agree() {
    let project = Project::tiny();
    let flex = project.run(&[SPEC, "--device", "flex"]);
    let said = project.refit(&[
        "run", SPEC, "--device", "ndarray", "--store", "other", "--json",
    ]);
    if said.stderr.contains("built without the device") {
        return skipped("this program was built without ndarray").unwrap_or_default();
    }
    let ndarray = said.success().json();
    let loss = |run: &serde_json::Value| run["scores"]["scores"]["loss"].as_f64().unwrap();
    assert!(
        (loss(&flex) - loss(&ndarray)).abs() < 1e-4,
        "{} {}",
        loss(&flex),
        loss(&ndarray)
    );
}

#[test]
fn tokens_longer_than_the_model_can_read_are_refused() {
    let project = Project::tiny();
    let long = "\n[tokenize.long]\ninput = \"more\"\ntrain_tokenizer = { model = \"wordpiece\", vocab_size = 150, min_frequency = 1 }\nmax_length = 64\n";
    project.write(SPEC, &(project.read(SPEC) + long));
    let words = "the room was bright and the garden warm ".repeat(8);
    project.write("data/test.csv", &format!("text,label\n{words},good\n"));
    project.replace(
        SPEC,
        "[evaluate.scores]\nmodel = \"classifier\"\ninput = \"tokens\"",
        "[evaluate.scores]\nmodel = \"classifier\"\ninput = \"long\"",
    );
    let said = project.refit(&["run", SPEC]).exits(1);
    assert!(said.stderr.contains("positions"), "{}", said.stderr);
}

#[test]
fn generated_texts_are_scored_from_a_file_alone() {
    let project = Project::empty();
    project.write(
        "summaries.csv",
        "summary,reference\nthe cat sat,the cat sat down\nit rains a lot here,it rains a lot here\n",
    );
    let spec = "version = 1\n[load.texts]\ntrain = \"summaries.csv\"\n\
        columns = { text = \"summary\", text_pair = \"reference\", label = \"\" }\n\
        [evaluate.quality]\ninput = \"texts\"\nsplit = \"train\"\ntask = \"generation\"\n";
    project.write(SPEC, spec);
    let run = project.run(&[SPEC]);
    let of = |run: &serde_json::Value, name: &str| run["scores"]["quality"][name].as_f64().unwrap();
    assert!(
        (of(&run, "rouge1") - (6.0 / 7.0 + 1.0) / 2.0).abs() < 1e-9,
        "{run}"
    );
    assert_eq!(of(&run, "exact_match"), 0.5);
    assert!((80.0..100.0).contains(&of(&run, "bleu")), "{run}");
    assert!(crate::project::built(&project.run(&[SPEC])).is_empty());
    project.write(
        SPEC,
        &format!("{spec}generation = {{ chrf = {{ word_order = 2 }} }}\n"),
    );
    let again = project.run(&[SPEC]);
    assert_eq!(crate::project::built(&again), ["quality"]);
    assert_ne!(of(&run, "chrf"), of(&again, "chrf"));
    let said = project.refit(&["compare", "@3", "@1"]).success();
    assert!(said.stdout.contains("rougeLsum"), "{}", said.stdout);
}

#[test]
fn an_export_has_its_onnx_files_where_others_look_for_them() {
    let project = Project::tiny();
    let formats = |formats: &str| format!("to = \"dist\"\nformats = [{formats}]");
    project.replace(
        SPEC,
        "epochs = 2",
        "epochs = 1\nhead = { pooling = \"mean\" }",
    );
    project.replace(
        SPEC,
        "to = \"dist\"",
        &formats(r#""safetensors", "onnx", "onnx_fp16""#),
    );
    project.run(&[SPEC]);
    let bytes = |name: &str| std::fs::read(project.path(name)).unwrap();
    let (whole, half) = (
        bytes("dist/onnx/model.onnx"),
        bytes("dist/onnx/model_fp16.onnx"),
    );
    let weights = bytes("dist/model.safetensors").len();
    assert!(whole.len() > weights / 2 && half.len() < whole.len());
    assert!(project.read("dist/config.json").contains("auto_map"));
    assert!(project.read("dist/README.md").contains("## ONNX"));
    assert!(project.built(&[SPEC]).is_empty());

    let all = formats(r#""safetensors", "onnx", "onnx_fp16""#);
    project.replace(SPEC, &all, &formats(r#""onnx""#));
    assert_eq!(project.built(&[SPEC]), ["bundle"]);
    assert!(bytes("dist/onnx/model.onnx") == whole);
    for gone in [
        "onnx/model_fp16.onnx",
        "model.safetensors",
        "modeling_refit.py",
    ] {
        assert!(!project.path("dist").join(gone).exists(), "{gone}");
    }
    let config: serde_json::Value =
        serde_json::from_str(&project.read("dist/config.json")).unwrap();
    assert_eq!(config["model_type"], "bert");
    assert_eq!(config["architectures"][0], "BertForSequenceClassification");
    assert_eq!(config["refit_pooling"], "mean");
    let card = project.read("dist/README.md");
    assert!(card.contains("library_name: onnx") && !card.contains("import torch"));
}

#[test]
fn an_adapter_has_no_onnx_file() {
    let project = Project::tiny();
    let wanted = "adapter = true\nformats = [\"safetensors\", \"onnx\"]\nto = \"dist\"";
    project.replace(SPEC, "to = \"dist\"", wanted);
    let said = project.refit(&["check", SPEC]).exits(2);
    for part in ["an adapter has no ONNX file", "formats", "drop `adapter`"] {
        assert!(
            said.stderr.contains(part),
            "{part} is not in\n{}",
            said.stderr
        );
    }
}
