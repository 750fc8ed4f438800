//! Fingerprints: everything a result depends on, and the key that follows from it.
//!
//! This page is the design document of refit's cache. The store keeps the bytes, and `outcome` says what happened to a
//! step; decided here is the one question *may this finished result stand for the one that was asked for?*
//!
//! # Fresh and stale
//!
//! A step is *fresh* when the store holds a record under the [`Key`] of its [`Fingerprint`]. There is no other test: no
//! time stamp is compared, no "dirty" flag is kept, and nothing is ever invalidated. A changed input gives another key,
//! the other key has no record yet, and the step runs. Going back to the old settings gives back the old key, and the
//! old result with it.
//!
//! A fingerprint speaks of a step's inputs by the [`Digest`] of their *content*, so the fingerprints of a plan are found
//! in the order of its edges: a step's key is known as soon as every upstream step has a record, and *pending behind* the
//! first upstream step that has none.
//!
//! # What is in the key
//!
//! | value | in the key | how, or why not |
//! | --- | --- | --- |
//! | settings that differ from their default | yes | by value; `1`, `1.0` and `1e0` are one number |
//! | settings equal to their default | no | a new option must not invalidate what was built before it existed |
//! | the stage's kind | yes | by name |
//! | the stage's version | yes | raised by hand when equal settings would give other results |
//! | the layout of this structure | yes | [`FORMAT`] |
//! | data files, tokenizer files, weights | yes | by role (`train/0`) and the digest of their bytes |
//! | artifacts that flow in | yes | by edge field (`input`) and the digest of their canonical content |
//! | what a path implies (the format told by a file's ending) | yes | stated by the stage, placed among the settings |
//! | the seed | if the step draws random numbers | placed among the settings, the pipeline's when the stage has none |
//! | paths, URLs, hub ids and their revisions | no | what they point at enters by content |
//! | the names of stages, and of the pipeline | no | renaming is not work |
//! | comments, order of keys, the spec's folder, `[vars]` | no | only what they resolve to is seen |
//! | `[run]`: device, checkpoints, jobs | no | cannot change a result, apart from rounding between kinds of device |
//! | where an export is placed (`to`) | no | the placed folder is compared with its marker on every run instead |
//! | the release of refit, of burn, of the compiler | no | see *Considerations* |
//! | times, owner and mode of files, host name | no | see *Considerations* |
//! | environment variables | no | `${env:NAME}` is resolved first; secrets live in fields that never enter |
//!
//! The key is the blake3 hash of the fingerprint's canonical JSON ([`canonical`]). The whole fingerprint is stored beside
//! the result, and only so that [`differences`] can say what changed: equality of keys decides, never the comparison.
//!
//! # Early cut-off
//!
//! An input is a digest of content and not the key of the step that made it. A step that had to run again (a comment in a
//! data file, say, or a raised version) but came to the same content gives its consumers the same fingerprint as before, and
//! the rerun ends there. It also means that two pipelines that reach the same table by different roads share what follows.
//!
//! # Considerations
//!
//! Kept here so that nobody has to find them out again.
//!
//! - **No times in keys.** A checkout, a copy or `touch` changes them, and an edit within one tick of the clock does
//!   not. They serve only the store's memo, which saves re-hashing and has its own rules about ticks.
//! - **No absolute paths in keys.** Else a moved folder is a changed result, and a store cannot be shared.
//! - **Settings as values, not as text.** What is hashed is what serde read, so spelling, order and white space are gone
//!   before the key is formed, and a value that the stage ignores cannot be there (unknown keys are errors).
//! - **A changed default needs a raised version.** Leaving defaults out has this price: a spec that is silent on a
//!   setting has the same key before and after its default changes. Whoever changes one raises the stage's version.
//! - **The program's version stays out.** Most releases change no result, and would throw away days of training. In
//!   exchange a stage's version is a promise, and a test holds a tiny run's digest against (kind, version). A new
//!   release of burn, polars or tokenizers has to pass the same test.
//! - **Devices stay out.** Results of a CPU and a GPU differ in the last bits. A result is taken for valid wherever it was
//!   made; whoever needs the other device's bits uses another store or `--force`.
//! - **Order matters in lists, not in tables.** `train = ["b", "a"]` is another order of rows; `{b = 1, a = 2}` is not.
//! - **Names of labels and columns are settings.** They look like names, but change what is in the artifact.
//! - **A new optional setting must be skippable.** Its default must say "as before", and stand in the schema:
//!   [`without_defaults`] reads it there. An optional setting without a default counts as absent when it is `null`.
//!
//! Deliberately absent: any knowledge of single stages, of the disk, and of time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::artifact::{Digest, NotADigest};

/// The layout of [`Fingerprint`]. Raised when the structure or [`canonical`] changes, which makes every step stale.
pub const FORMAT: u32 = 1;

/// The hash of a [`Fingerprint`], written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Digest);

impl Key {
    /// The first ten hex digits, for people.
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.short())
    }
}

impl FromStr for Key {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        text.parse().map(Key)
    }
}

/// Everything a step's result depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// [`FORMAT`] of the program that made it.
    pub format: u32,
    /// The stage's kind: `load`, `train`, ….
    pub kind: String,
    /// The kind's version.
    pub version: u32,
    /// Settings without defaults, names and paths; with the seed and implied facts where they matter.
    pub settings: Value,
    /// Role → digest of a file's bytes.
    pub files: BTreeMap<String, Digest>,
    /// Edge field → digest of the artifact that flows in.
    pub inputs: BTreeMap<String, Digest>,
}

impl Fingerprint {
    /// The key under which the result is recorded.
    pub fn key(&self) -> Key {
        let digests = |of: &BTreeMap<String, Digest>| -> Value {
            of.iter()
                .map(|(name, digest)| (name.clone(), Value::from(digest.to_string())))
                .collect()
        };
        let whole = Map::from_iter([
            ("format".to_owned(), Value::from(self.format)),
            ("kind".to_owned(), Value::from(self.kind.as_str())),
            ("version".to_owned(), Value::from(self.version)),
            ("settings".to_owned(), self.settings.clone()),
            ("files".to_owned(), digests(&self.files)),
            ("inputs".to_owned(), digests(&self.inputs)),
        ]);
        Key(Digest::of(canonical(&Value::Object(whole)).as_bytes()))
    }
}

/// The one JSON text of a value: keys sorted by their bytes, no white space, every number in one form (whole numbers
/// without point or exponent, negative zero as `0`, all others as the shortest text that reads back the same).
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            text.push('{');
            for (place, (name, value)) in sorted.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_canonical(value, text);
            }
            text.push(']');
        }
        Value::Number(number) => text.push_str(&canonical_number(number)),
        Value::Null | Value::Bool(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
}

fn canonical_number(number: &Number) -> String {
    const BEYOND_U64: f64 = 18_446_744_073_709_551_616.0;
    const LEAST_I64: f64 = -9_223_372_036_854_775_808.0;
    match number.as_f64() {
        Some(float) if number.is_f64() => {
            if float.trunc() != float || !(LEAST_I64..BEYOND_U64).contains(&float) {
                format!("{float:e}")
            } else if float < 0.0 {
                (float as i64).to_string()
            } else {
                (float as u64).to_string()
            }
        }
        _ => number.to_string(),
    }
}

/// `settings` without every property that says what its absence would say.
///
/// `schema` is the JSON Schema of the settings with everything it refers to (`#/definitions/…` or `#/$defs/…` from its
/// root). A property is dropped when it equals the schema's `default`, both taken without their own defaults; or when it
/// is `null` and there is no default. Required properties stay. Objects behind `$ref`, `allOf` and in arrays are entered;
/// of `anyOf` and `oneOf` the alternative that fits, if exactly one does. What the schema does not speak of stays as it is.
pub fn without_defaults(settings: &Value, schema: &Value) -> Value {
    Schemas { root: schema }.strip(settings, schema)
}

/// Deeper than any schema of settings; a guard against definitions that refer to themselves.
const MOST_REFERENCES: usize = 64;

struct Schemas<'a> {
    root: &'a Value,
}

impl<'a> Schemas<'a> {
    fn strip(&self, value: &Value, schema: &'a Value) -> Value {
        let mut shapes = Vec::new();
        self.shapes(value, schema, 0, &mut shapes);
        match value {
            Value::Object(fields) => {
                let kept = fields.iter().filter_map(|(name, value)| {
                    Some((name.clone(), self.strip_field(name, value, &shapes)?))
                });
                Value::Object(kept.collect())
            }
            Value::Array(values) => {
                match shapes
                    .iter()
                    .find_map(|shape| shape.get("items").filter(|items| items.is_object()))
                {
                    Some(items) => values
                        .iter()
                        .map(|value| self.strip(value, items))
                        .collect(),
                    None => value.clone(),
                }
            }
            _ => value.clone(),
        }
    }

    fn strip_field(
        &self,
        name: &str,
        value: &Value,
        shapes: &[&'a Map<String, Value>],
    ) -> Option<Value> {
        let Some(schema) = shapes
            .iter()
            .find_map(|shape| shape.get("properties")?.get(name))
        else {
            let further = shapes.iter().find_map(|shape| {
                shape
                    .get("additionalProperties")
                    .filter(|schema| schema.is_object())
            });
            return Some(further.map_or_else(|| value.clone(), |schema| self.strip(value, schema)));
        };
        let stripped = self.strip(value, schema);
        if shapes.iter().any(|shape| requires(shape, name)) {
            return Some(stripped);
        }
        let as_if_absent = match schema.get("default") {
            Some(default) => canonical(&stripped) == canonical(&self.strip(default, schema)),
            None => value.is_null(),
        };
        (!as_if_absent).then_some(stripped)
    }

    /// The plain schemas that speak of `value`: `schema` itself, what it refers to, and the alternatives that fit.
    fn shapes(
        &self,
        value: &Value,
        schema: &'a Value,
        depth: usize,
        found: &mut Vec<&'a Map<String, Value>>,
    ) {
        let Some(fields) = schema.as_object().filter(|_| depth < MOST_REFERENCES) else {
            return;
        };
        found.push(fields);
        if let Some(target) = self.target(fields) {
            self.shapes(value, target, depth + 1, found);
        }
        for part in members(fields, "allOf") {
            self.shapes(value, part, depth + 1, found);
        }
        for word in ["anyOf", "oneOf"] {
            let mut fitting = members(fields, word)
                .filter(|alternative| self.fits(value, alternative, depth + 1));
            if let (Some(only), None) = (fitting.next(), fitting.next()) {
                self.shapes(value, only, depth + 1, found);
            }
        }
    }

    fn target(&self, fields: &'a Map<String, Value>) -> Option<&'a Value> {
        self.root
            .pointer(fields.get("$ref")?.as_str()?.strip_prefix('#')?)
    }

    /// Whether `value` could be meant by `schema`: enough validation to tell alternatives apart.
    fn fits(&self, value: &Value, schema: &'a Value, depth: usize) -> bool {
        let Some(fields) = schema.as_object().filter(|_| depth < MOST_REFERENCES) else {
            return schema.as_bool().unwrap_or(false);
        };
        let same = |other: &Value| canonical(other) == canonical(value);
        let alternatives = |word| {
            let mut all = members(fields, word).peekable();
            all.peek().is_none() || all.any(|alternative| self.fits(value, alternative, depth + 1))
        };
        fields.get("type").is_none_or(|kind| has_type(value, kind))
            && fields.get("const").is_none_or(same)
            && fields
                .get("enum")
                .and_then(Value::as_array)
                .is_none_or(|all| all.iter().any(same))
            && self.fits_fields(value, fields, depth)
            && self
                .target(fields)
                .is_none_or(|target| self.fits(value, target, depth + 1))
            && members(fields, "allOf").all(|part| self.fits(value, part, depth + 1))
            && alternatives("anyOf")
            && alternatives("oneOf")
    }

    fn fits_fields(&self, value: &Value, schema: &'a Map<String, Value>, depth: usize) -> bool {
        let Some(fields) = value.as_object() else {
            return true;
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let closed = schema.get("additionalProperties").and_then(Value::as_bool) == Some(false);
        let present = members(schema, "required")
            .all(|name| name.as_str().is_none_or(|name| fields.contains_key(name)));
        present
            && fields.iter().all(
                |(name, value)| match properties.and_then(|all| all.get(name)) {
                    Some(property) => self.fits(value, property, depth + 1),
                    None => !closed,
                },
            )
    }
}

fn members<'a>(schema: &'a Map<String, Value>, word: &str) -> impl Iterator<Item = &'a Value> {
    schema
        .get(word)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn requires(schema: &Map<String, Value>, name: &str) -> bool {
    members(schema, "required").any(|required| required == name)
}

fn has_type(value: &Value, kind: &Value) -> bool {
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value
            .as_f64()
            .is_some_and(|number| number.trunc() == number),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    match kind {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

/// One thing in which two fingerprints differ. What one of them lacks is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    /// Another layout of fingerprints: the older was made by another release of refit.
    Format { old: u32, new: u32 },
    /// The stage of this name is of another kind now.
    Kind { old: String, new: String },
    /// The kind gives other results than it did.
    Version { old: u32, new: u32 },
    /// A setting by its path (`optimizer.learning_rate`). `None` is the default.
    Setting {
        path: String,
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "present"
        )]
        old: Option<Value>,
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "present"
        )]
        new: Option<Value>,
    },
    /// The content of a file by its role (`train/0`).
    File {
        role: String,
        old: Option<Digest>,
        new: Option<Digest>,
    },
    /// The content of an upstream artifact by the field that names it (`input`).
    Input {
        field: String,
        old: Option<Digest>,
        new: Option<Digest>,
    },
}

/// A setting of `null` is not an absent one.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Format { old, new } => write!(f, "fingerprint format: {old} → {new}"),
            Change::Kind { old, new } => write!(f, "kind: {old} → {new}"),
            Change::Version { old, new } => write!(f, "stage version: {old} → {new}"),
            Change::Setting { path, old, new } => {
                write!(f, "{path}: {} → {}", Shown(old), Shown(new))
            }
            Change::File { role, old, new } => write_content(f, "file", role, old, new),
            Change::Input { field, old, new } => write_content(f, "input", field, old, new),
        }
    }
}

/// Room for a value in a line that people read.
const LONGEST_SHOWN: usize = 60;

struct Shown<'a>(&'a Option<Value>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = self.0 else {
            return f.write_str("default");
        };
        let text = shown(value);
        match text.char_indices().nth(LONGEST_SHOWN) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}

/// Numbers as one writes them in a spec (`5e-5`, not `0.00005`).
fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .map_or_else(String::new, |float| format!("{float:?}")),
        Value::Array(values) => format!(
            "[{}]",
            values.iter().map(shown).collect::<Vec<_>>().join(", ")
        ),
        _ => value.to_string(),
    }
}

fn write_content(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    name: &str,
    old: &Option<Digest>,
    new: &Option<Digest>,
) -> fmt::Result {
    match (old, new) {
        (Some(old), Some(new)) => write!(f, "{what} {name}: {} → {}", old.short(), new.short()),
        (None, _) => write!(f, "{what} {name}: added"),
        (_, None) => write!(f, "{what} {name}: removed"),
    }
}

/// What makes `new` another fingerprint than `old`, in a stable order. Empty exactly when their keys are equal.
pub fn differences(old: &Fingerprint, new: &Fingerprint) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.format != new.format {
        changes.push(Change::Format {
            old: old.format,
            new: new.format,
        });
    }
    if old.kind != new.kind {
        changes.push(Change::Kind {
            old: old.kind.clone(),
            new: new.kind.clone(),
        });
    }
    if old.version != new.version {
        changes.push(Change::Version {
            old: old.version,
            new: new.version,
        });
    }
    compare_settings(
        String::new(),
        Some(&old.settings),
        Some(&new.settings),
        &mut changes,
    );
    compare_digests(
        &old.files,
        &new.files,
        |role, old, new| Change::File { role, old, new },
        &mut changes,
    );
    compare_digests(
        &old.inputs,
        &new.inputs,
        |field, old, new| Change::Input { field, old, new },
        &mut changes,
    );
    changes
}

fn compare_settings(
    path: String,
    old: Option<&Value>,
    new: Option<&Value>,
    changes: &mut Vec<Change>,
) {
    if old.map(canonical) == new.map(canonical) {
        return;
    }
    let (old_fields, new_fields) = (
        old.and_then(Value::as_object),
        new.and_then(Value::as_object),
    );
    let names: BTreeSet<&String> = [old_fields, new_fields]
        .into_iter()
        .flatten()
        .flat_map(Map::keys)
        .collect();
    let both_tables = [(old, old_fields), (new, new_fields)]
        .iter()
        .all(|(value, fields)| value.is_none() || fields.is_some());
    if !both_tables || names.is_empty() {
        changes.push(Change::Setting {
            path,
            old: old.cloned(),
            new: new.cloned(),
        });
        return;
    }
    for name in names {
        let (old, new) = (
            old_fields.and_then(|all| all.get(name)),
            new_fields.and_then(|all| all.get(name)),
        );
        compare_settings(joined(&path, name), old, new, changes);
    }
}

/// A path as `--set` reads it: parts that are no bare TOML keys are quoted.
fn joined(path: &str, name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let name = if bare {
        name.to_owned()
    } else {
        format!("{name:?}")
    };
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}

fn compare_digests(
    old: &BTreeMap<String, Digest>,
    new: &BTreeMap<String, Digest>,
    change: impl Fn(String, Option<Digest>, Option<Digest>) -> Change,
    changes: &mut Vec<Change>,
) {
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (old.get(name).copied(), new.get(name).copied());
        if old != new {
            changes.push(change(name.clone(), old, new));
        }
    }
}

#[cfg(test)]
mod tests;
