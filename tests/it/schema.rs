//! The JSON Schema: up to date, Draft-07, and understood by the TOML servers that editors use.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::project::{Project, repository, skipped};

const FILE: &str = "schemas/pipeline.schema.json";

#[test]
fn the_schema_file_is_what_the_program_prints() {
    let printed = Project::empty().refit(&["schema"]).success().stdout;
    let kept = std::fs::read_to_string(repository().join(FILE)).unwrap_or_default();
    assert!(
        printed == kept,
        "{FILE} is stale; renew it with\n\n    cargo run --release -- schema > {FILE}\n"
    );
}

/// A linter from the PATH, or a loud skip.
fn linter(name: &str) -> Option<Command> {
    match Command::new(name).arg("--version").output() {
        Ok(_) => Some(Command::new(name)),
        Err(_) => skipped(&format!("{name} is not installed: pip install {name}")),
    }
}

fn specs(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository().join(folder)).unwrap();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    found.sort();
    found
}

/// The spec with a `#:schema` line, in a folder of its own.
fn with_schema(spec: &Path, folder: &Path) -> PathBuf {
    let text = std::fs::read_to_string(spec).unwrap();
    let body = text
        .trim_start_matches('\u{feff}')
        .lines()
        .filter(|line| !line.starts_with("#:schema"))
        .collect::<Vec<_>>()
        .join("\n");
    let schema = repository().join(FILE);
    let path = folder.join(spec.file_name().unwrap());
    std::fs::write(&path, format!("#:schema {}\n{body}\n", schema.display())).unwrap();
    path
}

fn taplo(spec: &Path) -> Option<(bool, String)> {
    let mut command = linter("taplo")?;
    let output = command
        .args(["lint", "--no-auto-config", "--colors", "never"])
        .arg(spec)
        .output()
        .unwrap();
    Some((
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

fn tombi(spec: &Path) -> Option<(bool, String)> {
    let mut command = linter("tombi")?;
    let output = command
        .args(["lint", "--offline"])
        .arg(spec)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), text))
}

#[test]
fn taplo_and_tombi_accept_every_pipeline_and_good_spec() {
    let folder = tempfile::tempdir().unwrap();
    for spec in specs("pipelines")
        .into_iter()
        .chain(specs("tests/good_specs"))
    {
        let spec = with_schema(&spec, folder.path());
        for (linter, said) in [("taplo", taplo(&spec)), ("tombi", tombi(&spec))] {
            if let Some((accepted, text)) = said {
                assert!(accepted, "{linter} on {}: {text}", spec.display());
            }
        }
    }
}

/// A spec with one fault, and a word that the linter's message must hold.
const FAULTS: &[(&str, &str, &str)] = &[
    ("epochs = 2", "epochs = \"two\"", "two"),
    ("epochs = 2", "epoch = 2", "epoch"),
    ("max_length = 24", "max_length = -1", "-1"),
    (
        "batch = { size = 8 }",
        "batch = { size = 8, padding = \"longst\" }",
        "longst",
    ),
    ("[train.classifier]", "[trian.classifier]", "trian"),
    (
        "random_swap = { rate = 0.2 }",
        "random_swap = { rate = 1.5 }",
        "1.5",
    ),
];

#[test]
fn taplo_and_tombi_refuse_bad_specs_at_the_right_line() {
    let folder = tempfile::tempdir().unwrap();
    for (index, (from, to, word)) in FAULTS.iter().enumerate() {
        assert!(crate::project::TINY.contains(from), "{from}");
        let text = crate::project::TINY.replacen(from, to, 1);
        let path = folder.path().join(format!("{index}.toml"));
        std::fs::write(&path, text).unwrap();
        let spec_folder = tempfile::tempdir().unwrap();
        let spec = with_schema(&path, spec_folder.path());
        let line = std::fs::read_to_string(&spec)
            .unwrap()
            .lines()
            .position(|line| line.contains(word))
            .unwrap()
            + 1;
        for (linter, said) in [("taplo", taplo(&spec)), ("tombi", tombi(&spec))] {
            if let Some((accepted, text)) = said {
                assert!(!accepted, "{linter} accepts {to}");
                assert!(
                    text.contains(&format!(":{line}:")),
                    "{linter} on {to}, line {line}: {text}"
                );
            }
        }
    }
}
