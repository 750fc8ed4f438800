//! The JSON Schema of a spec, from the same types that read it.
//!
//! Draft-07, because editors' TOML servers misread later drafts. Stage tables are keyed by kind and name, so every field
//! has one exact schema and no `oneOf` over stages is needed. Three rewrites make schemars' output read well in an
//! editor: enums of documented values become plain `enum`s, TOML's missing null leaves the schema, and integer formats
//! that no validator knows go. `published` turns the result into what is printed.
//!
//! Deliberately absent: hand-written descriptions of fields; those are the doc comments of the settings.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::remote::RemoteSettings;
use super::slurm::{SlurmSettings, Where};
use super::sweep::SweepSettings;
use super::track::TrackSettings;
use crate::stage::KINDS;

mod published;

/// The parts of a spec that are not stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preamble {
    /// The version of the spec language. This program reads version 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// Another spec, relative to this file, of which this one says only what is different: tables are merged key by key, anything
    /// else that both have is this file's, and the other's `name` and `[sweep]` are not taken over. Paths in both are relative to
    /// the spec that is run.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub extends: Option<String>,
    /// What is not taken over from the spec that this one `extends`: paths of tables or fields, like `"augment.richer"` or
    /// `"train.classifier.epochs"`.
    #[serde(default)]
    pub without: Vec<String>,
    /// The pipeline's name, under which its runs are recorded. Default: the file's name.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub name: Option<String>,
    /// The seed of every stage that draws random numbers and states none of its own.
    #[serde(default)]
    pub seed: u64,
    /// Variables: `${name}` in any string of the file stands for the value given here.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// How to run: what cannot change a result. Each has a flag on the command line, which wins.
    #[serde(default)]
    pub run: RunSettings,
    /// What `refit sweep` varies. Every other command leaves it out.
    #[serde(default)]
    pub sweep: Option<SweepSettings>,
}

/// How to run: what cannot change a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSettings {
    /// Where tensors live: `auto` (CUDA when it is there, else `flex`), `flex`, `ndarray`, `cuda`, `cuda:N`,
    /// `cuda:all` (every GPU), `ws://HOST:PORT` (a `refit worker`). Several with commas between (`cuda:0,1`) share the batches of a
    /// training.
    #[serde(default = "auto")]
    #[schemars(regex(
        pattern = "^(auto|(flex|ndarray|cuda(:(all|[0-9]+(,[0-9]+)*))?|ws://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5})(,(flex|ndarray|cuda(:(all|[0-9]+(,[0-9]+)*))?|ws://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}))*)$"
    ))]
    pub device: String,
    /// How many independent stages may run side by side.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub jobs: usize,
    /// How often a training writes down all that it is, so that it goes on from there when the process is killed.
    #[serde(default)]
    pub checkpoint: CheckpointSettings,
    /// Where results are shared with other machines: `s3://BUCKET/FOLDER`, `gs://…`, `az://…`, or a folder. What is known there
    /// is not computed here, and what is computed here is sent there. `{ url = "…", write = false }` only fetches. Default:
    /// REFIT_REMOTE, which wins over what stands here; on the command line `--remote` and `--no-remote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteSettings>,
    /// Who follows the numbers of a run while it goes on; nobody by default. On the command line
    /// `--set run.track.tensorboard=FOLDER`.
    #[serde(default)]
    pub track: TrackSettings,
    /// Where steps and trials do their work.
    #[serde(default)]
    pub executor: Where,
    /// What steps ask of a cluster, where `executor` is `slurm`.
    #[serde(default)]
    pub slurm: SlurmSettings,
}

/// How often a training writes down all that it is. One that goes on from there ends in the same bits as one that was never
/// stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointSettings {
    /// After every so many optimizer steps; 0 never does. One checkpoint is about four times as large as the model (its weights,
    /// the best ones so far, and two numbers a weight that the optimizer remembers), and is written while the training goes on.
    pub every_steps: u32,
    /// How many of the last ones stay until the training is done. With more than one a damaged one has another behind it.
    #[schemars(range(min = 1, max = 100))]
    pub keep: u32,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        CheckpointSettings {
            every_steps: 500,
            keep: 1,
        }
    }
}

fn auto() -> String {
    "auto".to_owned()
}

fn one() -> usize {
    1
}

impl Default for RunSettings {
    fn default() -> Self {
        RunSettings {
            device: auto(),
            jobs: one(),
            checkpoint: CheckpointSettings::default(),
            remote: None,
            track: TrackSettings::default(),
            executor: Where::default(),
            slurm: SlurmSettings::default(),
        }
    }
}

/// The schema of a whole spec.
pub fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(build)
}

/// The schema as it lies in `schemas/pipeline.schema.json`: the same rules in the form that editors show best.
pub fn text() -> String {
    format!("{:#}\n", published::published(schema()))
}

/// The schema of one kind's settings, as a document of its own (references resolve inside it).
pub fn of_kind(kind: &str) -> Value {
    let whole = schema();
    let mut stage = whole
        .pointer(&format!("/properties/{kind}/additionalProperties"))
        .cloned()
        .unwrap_or_else(|| json!({}));
    if let (Some(stage), Some(definitions)) = (stage.as_object_mut(), whole.get("definitions")) {
        stage.insert("definitions".to_owned(), definitions.clone());
    }
    stage
}

/// The `$ref` of a schema, also the only one in its `allOf`.
pub(super) fn reference(schema: &Value) -> Option<&str> {
    let only = schema.get("allOf").and_then(Value::as_array);
    let schema = match only.map(Vec::as_slice) {
        Some([only]) => only,
        _ => schema,
    };
    schema.get("$ref").and_then(Value::as_str)
}

/// The schema behind a reference; `root` has the definitions.
pub(super) fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let target = reference(schema).and_then(|target| root.pointer(target.strip_prefix('#')?));
    target.unwrap_or(schema)
}

/// A schema's properties, in the order of the settings.
pub(super) fn properties<'s>(root: &'s Value, schema: &'s Value) -> Vec<(&'s str, &'s Value)> {
    let properties = resolved(root, schema).get("properties");
    let properties = properties.and_then(Value::as_object).into_iter().flatten();
    properties
        .map(|(name, property)| (name.as_str(), property))
        .collect()
}

fn build() -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let mut stages = Map::new();
    for kind in &KINDS {
        let settings = (kind.schema)(&mut generator);
        let description = settings_description(&mut generator, &settings);
        stages.insert(
            kind.name.to_owned(),
            json!({
                "description": format!("`[{}.NAME]`: {description}", kind.name),
                "type": "object",
                "additionalProperties": settings,
            }),
        );
    }
    let mut root = generator.into_root_schema_for::<Preamble>();
    root.insert("title".to_owned(), "refit pipeline".into());
    root.insert(
        "description".to_owned(),
        "A pipeline of refit: stages as tables keyed by kind, then name.".into(),
    );
    if let Some(Value::Object(properties)) = root.get_mut("properties") {
        properties.extend(stages);
    }
    RecursiveTransform(rewrite).transform(&mut root);
    root.to_value()
}

fn settings_description(generator: &mut schemars::SchemaGenerator, settings: &Schema) -> String {
    let name = settings
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|path| path.rsplit('/').next())
        .unwrap_or_default();
    let definition = generator.definitions().get(name);
    let text = definition
        .and_then(|definition| definition.get("description"))
        .and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn rewrite(schema: &mut Schema) {
    enumerate(schema);
    forget_null(schema);
    if schema
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| !matches!(format, "uri" | "date-time"))
    {
        schema.remove("format");
    }
}

/// `oneOf` of documented constants → `enum`, with the constants' texts in the description.
fn enumerate(schema: &mut Schema) {
    let Some(Value::Array(variants)) = schema.get("oneOf") else {
        return;
    };
    let mut values = Vec::new();
    let mut texts = Vec::new();
    let mut lines = Vec::new();
    for variant in variants {
        let described = variant.get("description").and_then(Value::as_str);
        match (variant.get("const"), variant.get("enum")) {
            (Some(value), _) => {
                if let (Some(name), Some(text)) = (value.as_str(), described) {
                    lines.push(format!("- `{name}`: {}", text.replace('\n', " ")));
                }
                values.push(value.clone());
                texts.push(described.map(str::to_owned));
            }
            (None, Some(Value::Array(plain))) => {
                values.extend(plain.iter().cloned());
                texts.resize(values.len(), None);
            }
            _ => return,
        }
    }
    let own = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let description = [own.to_owned(), lines.join("\n")]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n");
    schema.remove("oneOf");
    if values.iter().all(Value::is_string) {
        schema.insert("type".to_owned(), "string".into());
    }
    schema.insert("enum".to_owned(), values.into());
    if texts.iter().any(Option::is_some) {
        schema.insert("x-taplo".to_owned(), published::of_values(texts));
    }
    if !description.is_empty() {
        schema.insert("description".to_owned(), description.into());
    }
}

/// TOML has no null: `Option` is a key that may be left out, and nothing more.
fn forget_null(schema: &mut Schema) {
    let is_null = |value: &Value| value.get("type").and_then(Value::as_str) == Some("null");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(forms)) = schema.get_mut("anyOf") {
        forms.retain(|form| !is_null(form));
        if let [only] = forms.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            // Draft-07 ignores what stands beside a `$ref`, so the reference goes one level down.
            schema.insert("allOf".to_owned(), json!([only]));
        }
    }
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;

    #[test]
    fn the_schema_is_draft_07_without_one_of_or_null() {
        let text = text();
        assert!(text.contains("http://json-schema.org/draft-07/schema#"));
        assert!(
            !text.contains("\"oneOf\""),
            "a oneOf makes editors point at the whole table"
        );
        assert!(!text.contains("\"null\""));
        assert!(!text.contains("\"uint"));
    }

    #[test]
    fn every_field_of_every_kind_is_described() {
        for kind in &KINDS {
            let schema = of_kind(kind.name);
            let name = schema["$ref"]
                .as_str()
                .and_then(|path| path.rsplit('/').next())
                .unwrap()
                .to_owned();
            let properties = schema["definitions"][&name]["properties"]
                .as_object()
                .unwrap();
            for (field, property) in properties {
                assert!(
                    property.get("description").is_some(),
                    "{}.{field} has no doc comment",
                    kind.name
                );
            }
        }
    }

    #[test]
    fn the_pattern_of_devices_lets_through_what_can_be_named() {
        let pattern = &schema()["definitions"]["RunSettings"]["properties"]["device"]["pattern"];
        let validator = jsonschema::draft7::new(&json!({ "pattern": pattern })).unwrap();
        for text in [
            "auto",
            "flex",
            "ndarray",
            "cuda",
            "cuda:0",
            "cuda:12",
            "cuda:",
            "cuda:x",
            "tpu",
            "",
            "xflex",
            "cuda:all",
            "cuda:0,1",
            "cuda:0,1,2",
            "cuda:0,",
            "cuda:all,1",
            "flex,1",
            "flex,cuda:1,2",
            "auto,flex",
            "flex,auto",
            "cuda:0,x",
            "ws://host:4000",
            "ws://[::1]:4000,ws://10.0.0.7:1",
            "ws://host",
            "ws://:4",
            "ws://h/x:1",
            "ws://a:b:1",
            "ws://a:00080",
            "ws://a:123456",
            "ws://name:word@a:1",
            "ws://a b:1",
            "WS://a:1",
            "ws://[::1]:4000,flex,cuda:0,1",
            "ws://host:4000,1",
            "ws://host:4000,flex",
            "http://host:4000",
            ",",
        ] {
            assert_eq!(
                validator.is_valid(&json!(text)),
                device::names(text).is_ok(),
                "{text}"
            );
        }
    }
}
