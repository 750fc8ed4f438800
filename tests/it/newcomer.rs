//! What a newcomer meets: the README's blocks, the pipelines, the examples.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::project::{Project, repository, rows};

fn readme() -> String {
    std::fs::read_to_string(repository().join("README.md")).unwrap()
}

/// The fenced blocks of a Markdown text: (info string, body).
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let body: Vec<&str> = lines
                .by_ref()
                .take_while(|line| !line.starts_with("```"))
                .collect();
            found.push((info.trim().to_owned(), body.join("\n")));
        }
    }
    found
}

/// The encoder in the box.
const TINY: &str = "examples/refit-tiny/model";

/// A folder with whatever a README block may read.
fn furnished() -> Project {
    let project = Project::empty();
    for name in [
        "reviews.csv",
        "train.csv",
        "data/train.csv",
        "data/reviews.csv",
    ] {
        project.write(name, &rows(60, 0));
    }
    for name in ["test.csv", "data/test.csv"] {
        project.write(name, &rows(20, 1000));
    }
    for name in [
        "examples/quickstart/train.csv",
        "examples/quickstart/test.csv",
    ] {
        project.write(
            name,
            &std::fs::read_to_string(repository().join(name)).unwrap(),
        );
    }
    for file in std::fs::read_dir(repository().join(TINY)).unwrap() {
        let file = file.unwrap();
        let to = project.path(TINY).join(file.file_name());
        std::fs::create_dir_all(project.path(TINY)).unwrap();
        std::fs::copy(file.path(), to).unwrap();
    }
    project.write(
        "summaries.csv",
        "summary,reference\na cat sat,the cat sat down\nit rains,rain falls\n",
    );
    let base = std::fs::read_to_string(repository().join("pipelines/quickstart.toml")).unwrap();
    project.write("quickstart.toml", &base.replace("../examples", "examples"));
    project
}

#[test]
fn every_toml_block_of_the_readme_passes_check() {
    let mut checked = 0;
    for (info, body) in blocks(&readme()) {
        if info != "toml" {
            continue;
        }
        let project = furnished();
        // A block may be a table of a spec that the text before it speaks of.
        let body = match body.starts_with('[') {
            true => format!("version = 1\n\n[load.data]\ntrain = \"train.csv\"\n\n{body}"),
            false => body,
        };
        project.write("pipeline.toml", &body);
        let said = project.refit(&["check", "pipeline.toml"]);
        assert_eq!(said.code, Some(0), "{body}\n{}", said.stderr);
        checked += 1;
    }
    assert!(checked > 0, "the README shows a pipeline");
}

#[test]
fn the_first_toml_block_of_the_readme_runs() {
    let body = blocks(&readme())
        .into_iter()
        .find(|(info, _)| info == "toml")
        .unwrap()
        .1;
    let project = furnished();
    project.write("pipeline.toml", &body);
    project.run(&["pipeline.toml"]);
}

#[test]
fn every_command_of_the_readme_is_one_that_exists() {
    let mut seen = 0;
    for (info, body) in blocks(&readme()) {
        if !matches!(info.as_str(), "console" | "sh" | "bash") {
            continue;
        }
        for line in body.lines().map(|line| line.trim_start_matches("$ ")) {
            let line = line.split(" #").next().unwrap_or_default();
            let words = line.strip_prefix("refit ").or_else(|| {
                line.split_once("cargo run --release -- ")
                    .map(|(_, rest)| rest)
            });
            let Some(command) = words.and_then(|words| words.split_whitespace().next()) else {
                continue;
            };
            let said = Project::empty().refit(&[command, "--help"]);
            assert_eq!(said.code, Some(0), "{line}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen} commands");
}

#[test]
fn the_readme_names_only_files_that_exist() {
    for part in readme().split(['`', '(', ')', ' ', '\n']) {
        let here = ["pipelines/", "examples/", "schemas/", "tests/", "src/"]
            .iter()
            .any(|folder| part.starts_with(folder));
        if here && !part.contains(['*', '…', '$', '<']) {
            let path = part.trim_end_matches(['.', ',', ':', ';']);
            assert!(repository().join(path).exists(), "the README names {path}");
        }
    }
}

#[test]
fn the_quickstart_needs_no_network_and_beats_chance_clearly() {
    let project = Project::empty();
    let spec = repository().join("pipelines/quickstart.toml");
    let to = format!(
        "export.{}.to={}",
        export_of(&spec),
        project.path("dist").display()
    );
    let spec = spec.display().to_string();
    let store = project.path("store").display().to_string();
    let run = project.run(&[&spec, "--set", &to, "--store", &store]);
    let scores = run["scores"]
        .as_object()
        .unwrap()
        .values()
        .find(|scores| scores.get("per_class").is_some())
        .unwrap();
    let accuracy = scores["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.6, "four classes, accuracy {accuracy}");
    assert!(project.path("dist/config.json").is_file());
    assert!(
        project
            .built(&[&spec, "--set", &to, "--store", &store])
            .is_empty()
    );
}

#[test]
fn the_encoder_in_the_box_is_what_its_pipeline_and_its_page_say() {
    let folder = repository().join(TINY);
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let files = std::fs::read_dir(&folder).unwrap();
    let bytes: u64 = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes <= 4_000_000, "{bytes} bytes");

    let provenance: Value = serde_json::from_str(&read(&folder.join("provenance.json"))).unwrap();
    let page = read(&folder.join("../README.md"));
    let digest = provenance["digest"].as_str().unwrap();
    assert!(page.contains(digest), "the page names {digest}");
    let card = read(&folder.join("README.md"));
    assert!(card.contains("\nlicense: cc-by-sa-4.0\n") && card.contains(digest));

    let spec: toml::Table = read(&repository().join("pipelines/pretrain-tiny.toml"))
        .parse()
        .unwrap();
    let stated = serde_json::to_value(&spec["pretrain"]["encoder"]).unwrap();
    let steps = provenance["steps"].as_array().unwrap();
    let made = steps
        .iter()
        .find(|step| step["stage"] == "encoder")
        .unwrap();
    for name in [
        "scratch",
        "masking",
        "max_steps",
        "batch",
        "optimizer",
        "schedule",
    ] {
        let made = &made["settings"][name];
        for (field, stated) in stated[name].as_object().into_iter().flatten() {
            assert_eq!(&made[field], stated, "{name}.{field}");
        }
        assert!(
            stated[name].is_object() || made == &stated[name],
            "{name}: {made}"
        );
    }
}

/// The name of a spec's export stage.
fn export_of(spec: &Path) -> String {
    let text = std::fs::read_to_string(spec).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("[export."))
        .unwrap();
    line.trim_end_matches(']').to_owned()
}

/// The program of an example. Cargo builds examples beside the binary when it builds the tests.
fn example(name: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_refit"))
        .parent()
        .unwrap()
        .join("examples")
        .join(name);
    assert!(
        program.is_file(),
        "{} is built by `cargo test`",
        program.display()
    );
    Command::new(program)
}

/// What a program prints when it ends well.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_library_example_classifies_with_a_trained_model() {
    let project = Project::tiny();
    project.run(&["pipeline.toml", "classifier"]);
    let model = project
        .refit(&["path", "pipeline.toml", "classifier"])
        .success()
        .stdout;
    let text = printed(
        example("classify")
            .arg(model.trim())
            .args(["the room was bright", "the train was cold"]),
    );
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.lines()
            .all(|line| line.contains("good") || line.contains("bad")),
        "{text}"
    );
}

#[test]
fn the_benchmark_times_every_step_and_every_text() {
    let project = Project::tiny();
    project.run(&["pipeline.toml", "classifier"]);
    let model = project
        .refit(&["path", "pipeline.toml", "classifier"])
        .success()
        .stdout;
    let rows = project.path("rows");
    std::fs::write(&rows, "0 5 6 7\n1 6 5\n2 7 7 7 7\n3 5\n1 8 9\n").unwrap();
    let steps = printed(
        example("measure")
            .args(["step", model.trim()])
            .arg(&rows)
            .args(["2", "--device", "flex"]),
    );
    let steps: serde_json::Value = serde_json::from_str(&steps).unwrap();
    assert_eq!(steps["seconds"].as_array().unwrap().len(), 3, "{steps}");

    let texts = project.path("texts.json");
    std::fs::write(&texts, r#"["the room was bright", "the train was cold"]"#).unwrap();
    let answers = printed(
        example("measure")
            .args(["predict", model.trim()])
            .arg(&texts)
            .args(["--device", "flex"]),
    );
    let answers: serde_json::Value = serde_json::from_str(&answers).unwrap();
    assert_eq!(answers["labels"].as_array().unwrap().len(), 2, "{answers}");
}

#[test]
fn the_comparison_says_what_it_lacks() {
    let output = Command::new(repository().join("examples/benchmark/compare"))
        .arg("step")
        .env_remove("REFIT_PY")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("REFIT_PY"));
}

#[test]
fn every_pipeline_starts_with_its_schema() {
    for entry in std::fs::read_dir(repository().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("#:schema ../schemas/pipeline.schema.json\n"),
            "{}",
            path.display()
        );
    }
}
