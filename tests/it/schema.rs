//! The JSON Schema: up to date, Draft-07, fit for the public catalogue, written beside specs, and understood by the TOML
//! linters. What editors show of it is in `editors`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};

use crate::project::{Project, TINY, repository, skipped};

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

fn kept() -> Value {
    serde_json::from_str(&std::fs::read_to_string(repository().join(FILE)).unwrap()).unwrap()
}

/// Keywords that hold for values of some types only, and these types. Ajv's strict mode wants the type beside them.
const TYPED: &[(&[&str], &[&str])] = &[
    (
        &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
        &["integer", "number"],
    ),
    (
        &["minLength", "maxLength", "pattern", "format"],
        &["string"],
    ),
    (
        &["items", "minItems", "maxItems", "uniqueItems"],
        &["array"],
    ),
    (
        &[
            "properties",
            "required",
            "additionalProperties",
            "minProperties",
            "maxProperties",
        ],
        &["object"],
    ),
];

/// Keywords without a type of their own: the catalogue's tests know these, and no others but those of `TYPED`.
const UNTYPED: &[&str] = &[
    "$schema",
    "$id",
    "title",
    "description",
    "type",
    "default",
    "enum",
    "anyOf",
    "writeOnly",
    "x-taplo",
    "x-tombi-additional-key-label",
];

/// Calls `visit` for a schema and every schema in it, with its path.
fn walk(schema: &Value, path: &str, visit: &mut dyn FnMut(&str, &Map<String, Value>)) {
    let Some(fields) = schema.as_object() else {
        return;
    };
    visit(path, fields);
    let within = fields.get("properties").and_then(Value::as_object);
    for (name, property) in within.into_iter().flatten() {
        walk(property, &format!("{path}/{name}"), visit);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get(key) {
            walk(inner, &format!("{path}/{key}"), visit);
        }
    }
    let forms = fields.get("anyOf").and_then(Value::as_array);
    for form in forms.into_iter().flatten() {
        walk(form, &format!("{path}/anyOf"), visit);
    }
}

/// SchemaStore's tests: its own checks of a file, and the strict mode of Ajv, which refuses what a validator would pass over.
#[test]
fn the_schema_meets_the_rules_of_the_public_catalogue() {
    let schema = kept();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(jsonschema::draft7::meta::is_valid(&schema));
    let mut count = 0;
    walk(&schema, "", &mut |path, fields| {
        count += 1;
        let kind = fields.get("type").and_then(Value::as_str);
        assert!(
            fields.get("type").is_none() || kind.is_some(),
            "{path} has a union of types"
        );
        for key in fields.keys().map(String::as_str) {
            let of_types = TYPED.iter().find(|(keys, _)| keys.contains(&key));
            match of_types {
                Some((_, types)) => assert!(
                    kind.is_some_and(|kind| types.contains(&kind)),
                    "{path}: `{key}` beside the type {kind:?}"
                ),
                None => assert!(UNTYPED.contains(&key), "{path}: the keyword `{key}`"),
            }
        }
        let text = fields.get("description").and_then(Value::as_str);
        if let Some(text) = text {
            assert!(
                !text.trim().is_empty() && !text.ends_with(':'),
                "{path}: {text:?}"
            );
        }
        if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
            assert_eq!(fields["additionalProperties"], false, "{path} is open");
            for (name, property) in properties {
                assert!(
                    property["description"].is_string(),
                    "{path}/{name}: no words"
                );
            }
            let required = fields.get("required").and_then(Value::as_array);
            for name in required.into_iter().flatten().filter_map(Value::as_str) {
                assert!(properties.contains_key(name), "{path} requires {name}");
            }
        }
        let values = fields.get("enum").and_then(Value::as_array);
        if let Some(values) = values {
            let distinct = values.iter().enumerate();
            let twice = distinct.filter(|(index, value)| values[..*index].contains(value));
            assert_eq!(twice.count(), 0, "{path}");
        }
    });
    assert!(count > 200, "{count} schemas");
}

#[test]
fn the_catalogue_entry_meets_the_rules_of_the_public_catalogue() {
    let text = std::fs::read_to_string(repository().join("schemas/schemastore.json")).unwrap();
    let entry: Value = serde_json::from_str(&text).unwrap();
    for field in ["name", "description"] {
        let text = entry[field].as_str().unwrap();
        assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
        assert!(!text.to_lowercase().contains("schema"), "{text:?}");
        assert!(!text.ends_with([',', '.', ' ', '\t', '-']), "{text:?}");
    }
    assert_eq!(entry["url"], kept()["$id"]);
    assert!(entry["url"].as_str().unwrap().starts_with("https://"));
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    for pattern in entry["fileMatch"].as_array().unwrap() {
        let pattern = pattern.as_str().unwrap();
        // One that would take files of other programs belongs to no one.
        assert!(
            pattern.contains("refit") && !pattern.contains('/'),
            "{pattern}"
        );
        assert!(readme.contains(&format!("`{pattern}`")), "{pattern}");
    }
}

#[test]
fn schema_write_puts_the_schema_beside_the_specs_once() {
    let project = Project::empty();
    let printed = project.refit(&["schema"]).success().stdout;
    let said = project.refit(&["schema", "--write"]).success();
    assert_eq!(said.stdout, "");
    assert!(
        said.stderr.contains("pipeline.schema.json: written"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr
            .contains("\n    #:schema pipeline.schema.json\n"),
        "{}",
        said.stderr
    );
    assert_eq!(project.read("pipeline.schema.json"), printed);

    let path = project.path("pipeline.schema.json");
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    let said = project.refit(&["schema", "--write", "."]).success();
    assert!(said.stderr.contains("up to date"), "{}", said.stderr);
    assert_eq!(
        std::fs::metadata(&path).unwrap().modified().unwrap(),
        before
    );

    project.write("pipeline.schema.json", "{}");
    let said = project.refit(&["schema", "--write"]).success();
    assert!(said.stderr.contains("renewed"), "{}", said.stderr);
    assert_eq!(project.read("pipeline.schema.json"), printed);
    let files = std::fs::read_dir(project.path("")).unwrap();
    let files: Vec<_> = files.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !files
            .iter()
            .any(|name| name.to_string_lossy().contains("tmp")),
        "{files:?}"
    );
}

#[test]
fn schema_write_names_the_path_from_here() {
    let project = Project::empty();
    project.write("pipelines/schemas/.keep", "");
    let said = project
        .refit(&["schema", "--write", "pipelines/schemas"])
        .success();
    let line = "#:schema pipelines/schemas/pipeline.schema.json\n";
    assert!(said.stderr.contains(line), "{}", said.stderr);
    let inside = project
        .command(&["schema", "--write", ".."])
        .current_dir(project.path("pipelines/schemas"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inside.stderr).into_owned();
    assert!(
        said.contains("#:schema ../pipeline.schema.json\n"),
        "{said}"
    );

    let said = project.refit(&["schema", "--write", "nowhere"]).exits(2);
    assert!(said.stderr.contains("nowhere"), "{}", said.stderr);
    assert!(
        said.stderr.contains("make the folder first"),
        "{}",
        said.stderr
    );
}

/// The line that `schema --write` tells is one that both linters understand: a good spec passes, a bad one does not.
#[test]
fn taplo_and_tombi_find_the_written_schema() {
    let project = Project::empty();
    project.refit(&["schema", "--write"]).success();
    for (name, body, good) in [
        ("good.toml", TINY.to_owned(), true),
        ("bad.toml", TINY.replace("epochs = 2", "epoch = 2"), false),
    ] {
        project.write(name, &format!("#:schema pipeline.schema.json\n{body}"));
        let spec = project.path(name);
        for (linter, said) in [("taplo", taplo(&spec)), ("tombi", tombi(&spec))] {
            if let Some((accepted, text)) = said {
                assert_eq!(accepted, good, "{linter} on {name}: {text}");
            }
        }
    }
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
        assert!(TINY.contains(from), "{from}");
        let text = TINY.replacen(from, to, 1);
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
