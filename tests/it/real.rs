//! The pipelines of `pipelines/` on real encoders and real data, cut to a few rows so that they take seconds.

use std::path::Path;

use polars::prelude::{ParquetReader, ParquetWriter, SerReader};

use crate::project::{Project, assets, repository};

/// The first rows of a Parquet file.
fn head_of_parquet(from: &Path, to: &Path, rows: usize) {
    let mut frame = ParquetReader::new(std::fs::File::open(from).unwrap())
        .finish()
        .unwrap()
        .head(Some(rows));
    ParquetWriter::new(std::fs::File::create(to).unwrap())
        .finish(&mut frame)
        .unwrap();
}

fn head_of_text(from: &Path, to: &Path, lines: usize) {
    let text = std::fs::read_to_string(from).unwrap();
    std::fs::write(
        to,
        text.lines()
            .take(lines)
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    )
    .unwrap();
}

/// The first paragraphs of the first articles of a SQuAD file.
fn head_of_squad(from: &Path, to: &Path, articles: usize, paragraphs: usize) {
    let mut whole: serde_json::Value =
        serde_json::from_slice(&std::fs::read(from).unwrap()).unwrap();
    let data = whole["data"].as_array_mut().unwrap();
    data.truncate(articles);
    for article in data {
        let list = article["paragraphs"].as_array_mut().unwrap();
        list.truncate(paragraphs);
    }
    std::fs::write(to, whole.to_string()).unwrap();
}

/// Runs a pipeline of the repository with its data and encoder in place, twice.
fn run_twice(project: &Project, pipeline: &str, data: &str, encoder: &Path) -> serde_json::Value {
    std::fs::create_dir_all(project.path("pipelines")).unwrap();
    std::fs::copy(
        repository().join("pipelines").join(pipeline),
        project.path("pipelines").join(pipeline),
    )
    .unwrap();
    let spec = format!("pipelines/{pipeline}");
    let data = format!("vars.data={}", project.path(data).display());
    let encoder = format!("vars.encoder={}", encoder.display());
    let arguments = [spec.as_str(), "--set", &data, "--set", &encoder];
    let run = project.run(&arguments);
    assert!(
        project.built(&arguments).is_empty(),
        "the second run does nothing"
    );
    run
}

#[test]
fn ag_news_goes_from_parquet_to_an_exported_folder() {
    let Some(assets) = assets("ag_news_goes_from_parquet_to_an_exported_folder") else {
        return;
    };
    let project = Project::empty();
    std::fs::create_dir(project.path("news")).unwrap();
    for (file, rows) in [("train.parquet", 64), ("test.parquet", 32)] {
        head_of_parquet(
            &assets.join("data/ag_news").join(file),
            &project.path("news").join(file),
            rows,
        );
    }
    let run = run_twice(
        &project,
        "ag-news.toml",
        "news",
        &assets.join("models/all-MiniLM-L6-v2"),
    );
    assert_eq!(
        run["scores"]["scores"]["labels"].as_array().unwrap().len(),
        4
    );
    let config: serde_json::Value =
        serde_json::from_str(&project.read("dist/ag-news/config.json")).unwrap();
    assert_eq!(config["model_type"], "bert");
    assert_eq!(config["id2label"].as_object().unwrap().len(), 4);
}

#[test]
fn sst2_trains_an_encoder_without_a_pooler_and_says_so() {
    let Some(assets) = assets("sst2_trains_an_encoder_without_a_pooler_and_says_so") else {
        return;
    };
    let project = Project::empty();
    std::fs::create_dir(project.path("sst2")).unwrap();
    for (file, lines) in [("train.tsv", 65), ("dev.tsv", 33)] {
        head_of_text(
            &assets.join("data/sst2").join(file),
            &project.path("sst2").join(file),
            lines,
        );
    }
    let run = run_twice(
        &project,
        "sst2.toml",
        "sst2",
        &assets.join("models/paraphrase-MiniLM-L3-v2"),
    );
    assert_eq!(
        run["scores"]["scores"]["labels"],
        serde_json::json!(["negative", "positive"])
    );
    let spec = "pipelines/sst2.toml";
    let data = format!("vars.data={}", project.path("sst2").display());
    let encoder = format!(
        "vars.encoder={}",
        assets.join("models/paraphrase-MiniLM-L3-v2").display()
    );
    let train = run["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["kind"] == "train")
        .unwrap()["stage"]
        .as_str()
        .unwrap()
        .to_owned();
    let said = project
        .refit(&[
            "run", spec, &train, "--force", &train, "--set", &data, "--set", &encoder,
        ])
        .success();
    assert!(said.stderr.contains("pooler"), "{}", said.stderr);
}

#[test]
fn sms_spam_reads_a_headerless_unquoted_file() {
    let Some(assets) = assets("sms_spam_reads_a_headerless_unquoted_file") else {
        return;
    };
    let project = Project::empty();
    std::fs::create_dir(project.path("sms")).unwrap();
    head_of_text(
        &assets.join("data/sms_spam/SMSSpamCollection.tsv"),
        &project.path("sms/SMSSpamCollection.tsv"),
        120,
    );
    let run = run_twice(
        &project,
        "sms-spam.toml",
        "sms",
        &assets.join("models/paraphrase-MiniLM-L3-v2"),
    );
    assert_eq!(
        run["scores"]["scores"]["labels"],
        serde_json::json!(["ham", "spam"])
    );
}

#[test]
fn go_emotions_gives_each_comment_any_number_of_labels() {
    let Some(assets) = assets("go_emotions_gives_each_comment_any_number_of_labels") else {
        return;
    };
    let project = Project::empty();
    std::fs::create_dir(project.path("emotions")).unwrap();
    for (file, lines) in [("train.tsv", 96), ("dev.tsv", 48), ("test.tsv", 32)] {
        head_of_text(
            &assets.join("data/go_emotions").join(file),
            &project.path("emotions").join(file),
            lines,
        );
    }
    let run = run_twice(
        &project,
        "go-emotions.toml",
        "emotions",
        &assets.join("models/paraphrase-MiniLM-L3-v2"),
    );
    let scores = &run["scores"]["scores"];
    assert_eq!(scores["per_label"].as_array().unwrap().len(), 28);
    assert_eq!(scores["rows"], 32);
    for number in ["f1_micro", "f1_samples", "subset_accuracy", "hamming_loss"] {
        assert!(scores[number].is_f64(), "{number} of {scores}");
    }
    let config: serde_json::Value =
        serde_json::from_str(&project.read("dist/go-emotions/config.json")).unwrap();
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(config["id2label"]["27"], "neutral");
    let model: serde_json::Value =
        serde_json::from_str(&project.read("dist/go-emotions/model.json")).unwrap();
    assert_eq!(model["thresholds"].as_array().unwrap().len(), 28);
}

#[test]
fn wnut17_tags_words_and_predicts_entities() {
    let Some(assets) = assets("wnut17_tags_words_and_predicts_entities") else {
        return;
    };
    let project = Project::empty();
    std::fs::create_dir(project.path("wnut")).unwrap();
    for (file, lines) in [
        ("train.conll", 900),
        ("dev.conll", 300),
        ("test.conll", 300),
    ] {
        head_of_text(
            &assets.join("data/wnut17").join(file),
            &project.path("wnut").join(file),
            lines,
        );
    }
    let run = run_twice(
        &project,
        "wnut17.toml",
        "wnut",
        &assets.join("models/paraphrase-MiniLM-L3-v2"),
    );
    let scores = &run["scores"]["scores"];
    for number in ["f1", "accuracy", "strict_f1"] {
        assert!(scores[number].is_f64(), "{number} of {scores}");
    }
    let config: serde_json::Value =
        serde_json::from_str(&project.read("dist/wnut17/config.json")).unwrap();
    assert_eq!(
        config["architectures"],
        serde_json::json!(["BertForTokenClassification"])
    );
    let entities = run["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["kind"] == "predict")
        .unwrap();
    assert_eq!(entities["outcome"], "built");
}

#[test]
fn ncbi_disease_is_tagged_word_by_word_and_by_a_crf() {
    let Some(assets) = assets("ncbi_disease_is_tagged_word_by_word_and_by_a_crf") else {
        return;
    };
    let project = Project::empty();
    std::fs::create_dir(project.path("ncbi")).unwrap();
    for (file, lines) in [("train.tsv", 900), ("devel.tsv", 300), ("test.tsv", 300)] {
        head_of_text(
            &assets.join("data/ncbi_disease").join(file),
            &project.path("ncbi").join(file),
            lines,
        );
    }
    let run = run_twice(
        &project,
        "ncbi-disease.toml",
        "ncbi",
        &assets.join("models/paraphrase-MiniLM-L3-v2"),
    );
    for stage in ["of_words", "of_sentences"] {
        assert!(run["scores"][stage]["f1"].is_f64(), "{stage}");
    }
    let config: serde_json::Value =
        serde_json::from_str(&project.read("dist/ncbi-disease/config.json")).unwrap();
    assert_eq!(
        config["architectures"],
        serde_json::json!(["RefitBertForTokenClassification"])
    );
    assert!(
        project
            .read("dist/ncbi-disease/modeling_refit.py")
            .contains("class RefitBertForTokenClassification")
    );
}

#[test]
fn squad_answers_questions_or_gives_none() {
    let Some(assets) = assets("squad_answers_questions_or_gives_none") else {
        return;
    };
    let project = Project::empty();
    std::fs::create_dir(project.path("squad")).unwrap();
    for (file, articles, paragraphs) in [("train.json", 2, 3), ("dev.json", 1, 2)] {
        head_of_squad(
            &assets.join("data/squad_v2").join(file),
            &project.path("squad").join(file),
            articles,
            paragraphs,
        );
    }
    head_of_squad(
        &assets.join("data/squadshifts_new_wiki/new_wiki_v1.0.json"),
        &project.path("squad/new_wiki_v1.0.json"),
        1,
        2,
    );
    std::fs::create_dir_all(project.path("pipelines")).unwrap();
    let pipeline = "pipelines/squad-v2.toml";
    std::fs::copy(repository().join(pipeline), project.path(pipeline)).unwrap();
    let encoder = assets.join("models/paraphrase-MiniLM-L3-v2");
    let run = project.run(&[
        pipeline,
        "--set",
        &format!("vars.data={}", project.path("squad").display()),
        "--set",
        &format!("vars.shifts={}", project.path("squad").display()),
        "--set",
        &format!("vars.encoder={}", encoder.display()),
    ]);
    let scores = &run["scores"]["scores"];
    for number in [
        "exact_match",
        "f1",
        "has_answer_f1",
        "no_answer_f1",
        "best_f1",
    ] {
        assert!(scores[number].is_f64(), "{number} of {scores}");
    }
    assert!(run["scores"]["elsewhere"]["f1"].is_f64());
    let config: serde_json::Value =
        serde_json::from_str(&project.read("dist/squad-v2/config.json")).unwrap();
    assert_eq!(
        config["architectures"],
        serde_json::json!(["BertForQuestionAnswering"])
    );
}
