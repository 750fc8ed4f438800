//! A spec with every default written out, everything else as it was written.
//!
//! What a default is says the JSON Schema, as editors show it. A default that would not be the same when it is stated (a
//! setting that excludes another, or does something only beside one) stays unstated, so the filled spec means what the spec
//! means: every stage has the key that it had.
//!
//! Deliberately absent: settings without a default, and those that a stage takes from elsewhere (the pipeline's seed).

use serde_json::{Map, Value};

use super::rewrite;
use super::schema::{self, properties, resolved};
use super::{Declared, Pipeline};
use crate::stage::{KINDS, KindOfStage};

const DEEPEST: usize = 6;

/// The spec's text with the defaults of every stage that can be read, and of what is not a stage.
pub fn filled(pipeline: &Pipeline) -> String {
    let mut laid = Vec::<(String, Value)>::new();
    let whole = schema::schema();
    let there = pipeline.document.to_json();
    for (field, property) in properties(whole, whole) {
        let of_stage = KINDS.iter().any(|kind| kind.name == field);
        if of_stage || ["vars", "sweep", "extends", "without"].contains(&field) {
            continue;
        }
        missing(whole, property, there.get(field), field, &mut laid);
    }
    for Declared { name, kind, .. } in &pipeline.declared {
        let (Some(kind), Some(settings)) = (
            KINDS.iter().find(|other| other.name == *kind),
            there.get(*kind).and_then(|stages| stages.get(name)),
        ) else {
            continue;
        };
        for (path, value) in of_stage(kind, settings) {
            laid.push((format!("{}.{name}.{path}", kind.name), value));
        }
    }
    rewrite::laid(
        pipeline.sources.text(0),
        laid.iter().map(|(path, value)| (path, value)),
    )
}

/// The defaults that a stage's settings do not state, by their paths.
fn of_stage(kind: &KindOfStage, settings: &Value) -> Vec<(String, Value)> {
    let schema = schema::of_kind(kind.name);
    let mut candidates = Vec::new();
    for (field, property) in properties(&schema, &schema) {
        missing(
            &schema,
            property,
            settings.get(field),
            field,
            &mut candidates,
        );
    }
    let Ok(before) = (kind.read)(settings.clone()) else {
        return Vec::new();
    };
    let with = |candidates: &[(String, Value)]| {
        let mut settings = settings.clone();
        for (path, value) in candidates {
            put(&mut settings, path, value);
        }
        (kind.read)(settings).ok()
    };
    let same = |candidate: &(String, Value)| {
        with(std::slice::from_ref(candidate))
            .is_some_and(|stage| stage.settings() == before.settings())
    };
    candidates.retain(same);
    loop {
        let Some(stage) = with(&candidates) else {
            return Vec::new();
        };
        let faults = stage.check();
        let known = before.check();
        let new = faults.iter().filter(|fault| !known.contains(fault));
        let fields: Vec<&str> = new.map(|fault| fault.field.as_str()).collect();
        let all = candidates.len();
        let concerns = |path: &str, field: &str| {
            let within = |inner: &str, outer: &str| {
                let rest = inner.strip_prefix(outer);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            within(path, field) || within(field, path)
        };
        candidates.retain(|(path, _)| !fields.iter().any(|field| concerns(path, field)));
        match (fields.is_empty(), candidates.len() == all) {
            (true, _) => return candidates,
            // A fault that names none of them.
            (false, true) => return Vec::new(),
            (false, false) => {}
        }
    }
}

/// The defaults below `path` that `stated` lacks.
fn missing(
    root: &Value,
    property: &Value,
    stated: Option<&Value>,
    path: &str,
    found: &mut Vec<(String, Value)>,
) {
    // No setting lies deeper; a definition may hold itself.
    if path.split('.').count() > DEEPEST {
        return;
    }
    let described = resolved(root, property);
    match stated {
        Some(Value::Object(stated)) => {
            for (field, property) in properties(root, described) {
                let path = format!("{path}.{field}");
                missing(root, property, stated.get(field), &path, found);
            }
        }
        Some(_) => {}
        None => {
            let default = property.get("default").or_else(|| described.get("default"));
            let fields = properties(root, described);
            let of_table = default.and_then(Value::as_object);
            for (field, property) in &fields {
                let path = format!("{path}.{field}");
                // A table's own defaults may say less than its fields'.
                match of_table.and_then(|table| table.get(*field)) {
                    Some(default) => found.push((path, default.clone())),
                    None => missing(root, property, None, &path, found),
                }
            }
            let value = default.filter(|default| !default.is_null());
            let empty = of_table.is_some_and(Map::is_empty);
            if let Some(value) = value.filter(|_| fields.is_empty() && !empty) {
                found.push((path.to_owned(), value.clone()));
            }
        }
    }
}

fn put(settings: &mut Value, path: &str, value: &Value) {
    let mut at = settings;
    let (way, last) = path.rsplit_once('.').unwrap_or(("", path));
    for key in way.split('.').filter(|key| !key.is_empty()) {
        let Value::Object(fields) = at else {
            return;
        };
        at = fields.entry(key).or_insert_with(|| Map::new().into());
    }
    if let Value::Object(fields) = at {
        fields.insert(last.to_owned(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Pipeline {
        let (pipeline, problems) = Pipeline::parse(Path::new("a.toml"), text, &[], &|_| None);
        assert!(problems.is_empty(), "{problems:#?}");
        pipeline
    }

    const SPEC: &str = "version = 1 # one\n\n[load.d]\ntrain = [\"a.csv\"]\n\n[tokenize.t]\ninput = \"d\"\ntokenizer = \"m\"\n\n\
        # The model.\n[train.c]\ninput = \"t\"\nencoder = \"${env:E:-m}\"\nmax_steps = 3\nbatch = { size = 8 } # small\n";

    #[test]
    fn every_default_is_stated_and_the_rest_stays() {
        let text = filled(&read(SPEC));
        for line in [
            "version = 1 # one\n",
            "seed = 0\n",
            "# The model.\n[train.c]\n",
            "max_steps = 3\n",
            "max_length = 128\n",
            "encoder = \"${env:E:-m}\"\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let value: toml::Table = text.parse().unwrap();
        let train = &value["train"]["c"];
        assert_eq!(train["batch"]["size"].as_integer(), Some(8));
        assert_eq!(train["batch"]["padding"].as_str(), Some("longest"));
        assert_eq!(train["optimizer"]["name"].as_str(), Some("adamw"));
        assert!(train.get("epochs").is_none(), "it excludes max_steps");
    }

    #[test]
    fn a_filled_spec_means_the_same_and_has_nothing_left_to_fill() {
        let pipeline = read(SPEC);
        let text = filled(&pipeline);
        let again = read(&text);
        for (before, after) in pipeline.stages.iter().zip(&again.stages) {
            assert_eq!(before.stage.settings(), after.stage.settings());
        }
        assert_eq!(filled(&again), text);
    }

    #[test]
    fn every_pipeline_means_the_same_when_it_is_filled() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut read = 0;
        for folder in ["pipelines", "tests/good_specs", "examples/augmentation"] {
            for file in std::fs::read_dir(root.join(folder)).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_none_or(|ending| ending != "toml") {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let parse = |text: &str| {
                    let (pipeline, problems) = Pipeline::parse(&path, text, &[], &|_| None);
                    assert!(
                        problems.is_empty(),
                        "{}: {problems:#?}\n{text}",
                        path.display()
                    );
                    pipeline
                };
                let before = parse(&text);
                let after = parse(&filled(&before));
                assert_eq!(before.stages.len(), after.stages.len());
                for (before, after) in before.stages.iter().zip(&after.stages) {
                    assert_eq!(
                        before.stage.settings(),
                        after.stage.settings(),
                        "{}",
                        path.display()
                    );
                }
                read += 1;
            }
        }
        assert!(read > 10, "{read} specs");
    }

    #[test]
    fn a_default_that_would_be_a_fault_stays_unstated() {
        let pipeline = read("version = 1\n[load.d]\ntrain = [\"a.csv\"]\ndeduplicate = {}\n");
        let value: toml::Table = filled(&pipeline).parse().unwrap();
        let deduplicate = &value["load"]["d"]["deduplicate"];
        assert_eq!(deduplicate["by"].as_str(), Some("exact"));
        assert!(deduplicate.get("threshold").is_none());
    }
}
