//! Broken specs, data and models: each a clear error, pinned by a snapshot. Nothing panics.
//!
//! `INSTA_UPDATE=always cargo test --release broken` renews the snapshots; read the difference before committing it.

use std::path::{Path, PathBuf};

use crate::project::{Project, repository};

/// The files of a folder under `tests/` with this ending, in order.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(repository().join("tests").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    found.sort();
    found
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Error text without what differs between machines and runs.
fn stable(text: &str, project: &Project) -> String {
    let root = project.path("");
    let canonical = root.canonicalize().unwrap();
    let mut text = text.replace("\r\n", "\n");
    for path in [canonical, root] {
        text = text
            .replace(&format!("{}/", path.display()).replace("//", "/"), "")
            .replace(path.to_str().unwrap(), ".");
    }
    // Of a run, the error alone: what led there tells times.
    let error = text
        .split_once("failed:\n")
        .map_or(&*text, |(_, error)| error);
    let lines = error
        .lines()
        .take_while(|line| !line.starts_with("  failed  "));
    lines.map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn settings(folder: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("../snapshots/{folder}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn every_broken_spec_gets_a_clear_error() {
    let specs = files("broken_specs", "toml");
    assert!(specs.len() >= 30, "{} broken specs", specs.len());
    let project = Project::empty();
    copy_folder(
        &repository().join("tests/broken_specs"),
        &project.path("specs"),
    );
    settings("broken_specs").bind(|| {
        for spec in specs {
            let name = spec.file_stem().unwrap().to_string_lossy().into_owned();
            let said = project.refit(&["check", &format!("specs/{name}.toml")]);
            assert_eq!(said.code, Some(2), "{name}: {}", said.stderr);
            assert!(!said.stderr.contains("panicked"), "{name}: {}", said.stderr);
            insta::assert_snapshot!(name, stable(&said.stderr, &project));
        }
    });
}

#[test]
fn every_good_spec_passes() {
    let project = Project::empty();
    copy_folder(
        &repository().join("tests/good_specs"),
        &project.path("specs"),
    );
    let specs = files("good_specs", "toml");
    assert!(specs.len() >= 5);
    for spec in specs {
        let name = spec.file_name().unwrap().to_string_lossy().into_owned();
        let said = project.refit(&["check", &format!("specs/{name}")]);
        assert_eq!(said.code, Some(0), "{name}: {}", said.stderr);
    }
}

#[test]
fn every_broken_data_file_gets_a_clear_error() {
    let specs = files("broken_data", "toml");
    assert!(specs.len() >= 12, "{} broken data files", specs.len());
    let project = Project::empty();
    copy_folder(
        &repository().join("tests/broken_data"),
        &project.path("data"),
    );
    settings("broken_data").bind(|| {
        for spec in specs {
            let name = spec.file_stem().unwrap().to_string_lossy().into_owned();
            let said = project.refit(&["run", &format!("data/{name}.toml")]);
            // A header is looked at before anything runs, the rows only then.
            assert!(matches!(said.code, Some(1 | 2)), "{name}: {}", said.stderr);
            assert!(
                !said.stderr.contains("panicked") && !said.stderr.contains("fault of refit"),
                "{name}: {}",
                said.stderr
            );
            insta::assert_snapshot!(name, stable(&said.stderr, &project));
        }
    });
}

#[test]
fn every_broken_model_or_tokenizer_gets_a_clear_error() {
    let specs = files("broken_models", "toml");
    assert!(specs.len() >= 8, "{} broken models", specs.len());
    let project = Project::tiny();
    copy_folder(
        &repository().join("tests/broken_models"),
        &project.path("models"),
    );
    settings("broken_models").bind(|| {
        for spec in specs {
            let name = spec.file_stem().unwrap().to_string_lossy().into_owned();
            let said = project.refit(&["run", &format!("models/{name}.toml")]);
            assert!(matches!(said.code, Some(1 | 2)), "{name}: {}", said.stderr);
            assert!(
                !said.stderr.contains("panicked") && !said.stderr.contains("fault of refit"),
                "{name}: {}",
                said.stderr
            );
            insta::assert_snapshot!(name, stable(&said.stderr, &project));
        }
    });
}

#[test]
fn a_broken_run_leaves_nothing_behind() {
    let project = Project::empty();
    copy_folder(
        &repository().join("tests/broken_data"),
        &project.path("data"),
    );
    for spec in files("broken_data", "toml") {
        let name = spec.file_name().unwrap().to_string_lossy().into_owned();
        let said = project.refit(&["run", &format!("data/{name}")]);
        assert!(matches!(said.code, Some(1 | 2)), "{name}: {}", said.stderr);
    }
    assert!(
        project
            .refit(&["cache", "list", "--json"])
            .success()
            .json()
            .as_array()
            .unwrap()
            .is_empty()
    );
}
