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
fn a_hub_id_without_its_folder_says_how_to_give_one() {
    let project = Project::empty();
    std::fs::create_dir_all(project.path("pipelines")).unwrap();
    std::fs::copy(
        repository().join("pipelines/sst2.toml"),
        project.path("pipelines/sst2.toml"),
    )
    .unwrap();
    let said = project.refit(&["check", "pipelines/sst2.toml"]).exits(2);
    assert!(
        said.stderr
            .contains("sentence-transformers/paraphrase-MiniLM-L3-v2")
            && said.stderr.contains("folder"),
        "{}",
        said.stderr
    );
}
