//! A document against the JSON Schema: every violation becomes a [`Problem`] at the exact key or value.
//!
//! The schema is the one source of names, types, ranges and choices; validation is the `jsonschema` crate's. What this
//! module adds is the place and the wording, and what no pattern says: that a list names a device once.
//!
//! Deliberately absent: anything that needs two fields at once; stages say that in `Stage::check`, and edges are the plan's.

use std::sync::OnceLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::document::{Node, Step};
use super::problem::{Place, Problem, did_you_mean, listed};
use super::schema::schema;
use super::slurm;
use crate::device::{self, DeviceError};
use crate::stage::Meant;

/// Every violation of the schema, in the order of the text.
pub fn against_schema(root: &Node) -> Vec<Problem> {
    let instance = root.to_json();
    static VALIDATOR: OnceLock<Result<Validator, String>> = OnceLock::new();
    let compiled = VALIDATOR
        .get_or_init(|| jsonschema::draft7::new(schema()).map_err(|error| error.to_string()));
    let validator = match compiled {
        Ok(validator) => validator,
        Err(error) => {
            return vec![
                Problem::new(
                    &root.place,
                    format!("the schema of this program is broken: {error}"),
                    "not checked",
                )
                .help("this is a fault of refit itself: please report it"),
            ];
        }
    };
    let mut problems: Vec<Problem> = validator
        .iter_errors(&instance)
        .flat_map(|error| explain(&error, root))
        .collect();
    problems.extend(floats_for_integers(root));
    problems.extend(device_twice(root));
    let (nameless, places) = kinds_without_a_name(root);
    problems.retain(|problem| !places.contains(&problem.place));
    problems.extend(nameless);
    problems.sort_by_key(|problem| (problem.place.source, problem.place.span.start));
    problems.dedup();
    problems
}

fn explain(error: &ValidationError<'_>, root: &Node) -> Vec<Problem> {
    let path = instance_path(error, root);
    let node = find(root, &path);
    let place = root.locate(&path);
    let field = display(&path);
    let problem = |message: String, label: String| Problem::new(&place, message, label);
    let range = |word: &str, limit: &Value| {
        let limit = plain(limit);
        let label = format!("must be {word} {limit}");
        vec![
            problem(
                format!("`{field}` is {}, which is out of range", error.instance()),
                label.clone(),
            )
            .help(format!("give a value that is {word} {limit}")),
        ]
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = known_properties(error);
            unexpected
                .iter()
                .map(|name| unknown_key(name, node, &path, &known))
                .collect()
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let owner = if path.is_empty() {
                "the file".to_owned()
            } else {
                format!("`[{field}]`")
            };
            vec![
                problem(
                    format!("{owner} has no `{name}`"),
                    format!("needs `{name}`"),
                )
                .help(required_help(error, name)),
            ]
        }
        ValidationErrorKind::Type { kind } => {
            let found = node.map_or("another type", Node::type_name);
            let expected = types(kind);
            if let Some(number) = node.and_then(not_finite) {
                let message = format!("`{field}` is {number}, expected a finite number");
                return vec![
                    problem(message, "expected a number".to_owned()).help("write it with digits"),
                ];
            }
            vec![
                problem(
                    format!("`{field}` is {found}, expected {expected}"),
                    format!("expected {expected}"),
                )
                .help(type_help(&expected)),
            ]
        }
        ValidationErrorKind::Enum { options } => {
            vec![one_of(&field, error.instance(), options, &place)]
        }
        ValidationErrorKind::Constant { expected_value } => {
            let label = format!("must be {expected_value}");
            vec![
                problem(format!("`{field}` is {}", error.instance()), label)
                    .help(format!("write {expected_value}, or leave the key out")),
            ]
        }
        ValidationErrorKind::Minimum { limit } if field == "version" => {
            vec![version(&place, error.instance(), limit)]
        }
        ValidationErrorKind::Maximum { limit } if field == "version" => {
            vec![version(&place, error.instance(), limit)]
        }
        ValidationErrorKind::Minimum { limit } => range("at least", limit),
        ValidationErrorKind::Maximum { limit } => range("at most", limit),
        ValidationErrorKind::ExclusiveMinimum { limit } => range("greater than", limit),
        ValidationErrorKind::ExclusiveMaximum { limit } => range("less than", limit),
        ValidationErrorKind::MinItems { limit } => {
            vec![
                problem(
                    format!("`{field}` has too few items"),
                    format!("at least {limit}"),
                )
                .help(format!("list at least {limit}")),
            ]
        }
        ValidationErrorKind::MaxItems { limit } => {
            vec![
                problem(
                    format!("`{field}` has too many items"),
                    format!("at most {limit}"),
                )
                .help(format!("list at most {limit}")),
            ]
        }
        ValidationErrorKind::MaxLength { limit } => {
            let message = format!("`{field}` is {}, which is too long", error.instance());
            let help = format!(
                "write at most {limit} character{}",
                if *limit == 1 { "" } else { "s" }
            );
            vec![problem(message, help.clone()).help(help)]
        }
        ValidationErrorKind::MinLength { limit: 1 } => {
            vec![
                problem(
                    format!("`{field}` is empty"),
                    "must not be empty".to_owned(),
                )
                .help("write a value, or leave the key out"),
            ]
        }
        ValidationErrorKind::MinProperties { .. } => {
            vec![
                problem(
                    format!("`{field}` is empty"),
                    "needs at least one key".to_owned(),
                )
                .help("write one, or leave the table out"),
            ]
        }
        // The settings say it themselves, with the names of those that exclude each other.
        ValidationErrorKind::MaxProperties { .. } => Vec::new(),
        ValidationErrorKind::UniqueItems => {
            vec![
                problem(
                    format!("`{field}` lists a value twice"),
                    "must be distinct".to_owned(),
                )
                .help("remove the repetition"),
            ]
        }
        ValidationErrorKind::Pattern { .. } if field == "run.device" => {
            let message = format!("`{field}` is {}, which is no device", error.instance());
            vec![
                problem(message, "unknown device".to_owned())
                    .help("`auto`, or one or several of `flex`, `ndarray`, `cuda`, `cuda:0`, `cuda:all`, `ws://HOST:PORT` with commas between"),
            ]
        }
        ValidationErrorKind::Pattern { .. } if field == "run.track.mlflow.url" => {
            let message = format!("`{field}` is {}, which is no address", error.instance());
            vec![
                problem(message, "no address".to_owned())
                    .help("write the server's address without what follows a `#` or `?` in a browser: `http://127.0.0.1:5000`"),
            ]
        }
        ValidationErrorKind::Pattern { .. } if slurm::wanted(&field).is_some() => {
            let (not, wanted) = slurm::wanted(&field).unwrap_or_default();
            let message = format!("`{field}` is {}, which is {not}", error.instance());
            vec![problem(message, not.to_owned()).help(wanted)]
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            any_of(error, context, root, node, &place, &field)
        }
        _ => vec![
            problem(format!("`{field}`: {error}"), "not allowed here".to_owned())
                .help("see `refit schema` for what may stand here"),
        ],
    }
}

/// Of several forms, the one whose type matches says what is wrong inside it; when none matches, all are named.
fn any_of(
    error: &ValidationError<'_>,
    forms: &[Vec<ValidationError<'static>>],
    root: &Node,
    node: Option<&Node>,
    place: &Place,
    field: &str,
) -> Vec<Problem> {
    let depth = instance_path(error, root).len();
    let mut expected = Vec::new();
    for form in forms {
        let own_type = form.iter().find_map(|inner| match inner.kind() {
            ValidationErrorKind::Type { kind } if instance_path(inner, root).len() == depth => {
                Some(types(kind))
            }
            _ => None,
        });
        match own_type {
            Some(kind) => expected.push(kind),
            None => return form.iter().flat_map(|inner| explain(inner, root)).collect(),
        }
    }
    expected.dedup();
    let found = node.map_or("another type", Node::type_name);
    let expected = expected.join(" or ");
    vec![
        Problem::new(
            place,
            format!("`{field}` is {found}, expected {expected}"),
            format!("expected {expected}"),
        )
        .help(type_help(&expected)),
    ]
}

fn unknown_key(name: &str, table: Option<&Node>, path: &[Step], known: &[String]) -> Problem {
    let place = table
        .and_then(|table| table.get(name))
        .map(|entry| entry.key_place.clone());
    let place = place
        .or_else(|| table.map(|table| table.place.clone()))
        .unwrap_or(Place {
            source: 0,
            span: 0..0,
        });
    let known = || known.iter().map(String::as_str);
    let owner = display(path);
    let message = match path {
        [] => format!("`{name}` is neither a setting nor a kind of stage"),
        _ => format!("`{owner}` has no setting `{name}`"),
    };
    let near = did_you_mean(name, known());
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", listed(known(), "and")),
    };
    Problem::new(&place, message, "unknown key")
        .help(help)
        .meant(near.map(|near| Meant::new(name, near)))
}

fn one_of(field: &str, found: &Value, options: &Value, place: &Place) -> Problem {
    let options: Vec<&str> = options
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let near = found
        .as_str()
        .and_then(|text| did_you_mean(text, options.iter().copied()));
    let help = match near {
        Some(near) => format!(
            "did you mean `{near}`? It can be {}",
            listed(options.iter().copied(), "or")
        ),
        None => format!("it can be {}", listed(options.iter().copied(), "or")),
    };
    Problem::new(
        place,
        format!("`{field}` is {found}, which is not one of its values"),
        "unknown value",
    )
    .help(help)
    .meant(near.map(|near| Meant::new(found.as_str().unwrap_or_default(), near)))
}

fn version(place: &Place, found: &Value, known: &Value) -> Problem {
    Problem::new(
        place,
        format!("this program reads version {known} of the spec language, the file says {found}"),
        format!("must be {known}"),
    )
    .help(format!(
        "write `version = {known}`, or use a refit that knows version {found}"
    ))
}

fn required_help(error: &ValidationError<'_>, name: &str) -> String {
    if name == "version" && error.instance_path().as_str().is_empty() {
        return "write `version = 1` at the top".to_owned();
    }
    let description = schema_around(error)
        .and_then(|schema| schema.pointer(&format!("/properties/{name}/description")));
    match description
        .and_then(Value::as_str)
        .and_then(|text| text.lines().next())
    {
        Some(text) => format!("`{name}`: {text}"),
        None => format!("write `{name} = …`"),
    }
}

fn type_help(expected: &str) -> &'static str {
    if expected.contains("string") {
        "strings stand in quotes"
    } else if expected.contains("integer") {
        "write a whole number without quotes"
    } else if expected.contains("number") {
        "write a number without quotes"
    } else if expected.contains("boolean") {
        "write true or false without quotes"
    } else if expected.contains("array") {
        "lists stand in brackets: [\"a\", \"b\"]"
    } else {
        "tables are written `{ key = value }` or `[kind.name]`"
    }
}

fn types(kind: &TypeKind) -> String {
    let name = |kind: String| match kind.as_str() {
        "string" => "a string".to_owned(),
        "integer" => "an integer".to_owned(),
        "number" => "a number".to_owned(),
        "boolean" => "a boolean".to_owned(),
        "array" => "an array".to_owned(),
        "object" => "a table".to_owned(),
        other => other.to_owned(),
    };
    match kind {
        TypeKind::Single(kind) => name(kind.to_string()),
        TypeKind::Multiple(kinds) => kinds
            .iter()
            .map(|kind| name(kind.to_string()))
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

/// `[train]` in place of `[train.NAME]`: one problem instead of one for each of its settings. The second result is every
/// place inside such a table.
fn kinds_without_a_name(root: &Node) -> (Vec<Problem>, Vec<Place>) {
    let mut problems = Vec::new();
    let mut places = Vec::new();
    for kind in crate::stage::KINDS
        .iter()
        .filter_map(|kind| root.get(kind.name))
    {
        let is_table = |node: &Node| matches!(node.value, super::document::Value::Table(_));
        let settings = kind.node.entries();
        if settings.len() < 2 || settings.iter().all(|setting| is_table(&setting.node)) {
            continue;
        }
        problems.push(
            Problem::new(
                &kind.key_place,
                format!("`[{}]` has settings and no name", kind.key),
                "needs a name",
            )
            .help(format!(
                "write `[{}.NAME]`; other stages refer to it by that name",
                kind.key
            )),
        );
        collect_places(&kind.node, &mut places);
    }
    (problems, places)
}

fn collect_places(node: &Node, places: &mut Vec<Place>) {
    places.push(node.place.clone());
    for entry in node.entries() {
        places.push(entry.key_place.clone());
        collect_places(&entry.node, places);
    }
}

/// A limit as a person writes it: 0 and not 0.0.
fn plain(limit: &Value) -> String {
    let text = limit.to_string();
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A number that JSON cannot hold, as TOML writes it.
fn not_finite(node: &Node) -> Option<f64> {
    match node.value {
        super::document::Value::Float(number) if !number.is_finite() => Some(number),
        _ => None,
    }
}

/// JSON Schema takes 3.0 for an integer; TOML's users and serde do not.
fn floats_for_integers(root: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(
        root,
        &mut Vec::new(),
        schema(),
        &mut |node, path, schema| {
            let integer = schema.get("type").and_then(Value::as_str) == Some("integer");
            if let (true, super::document::Value::Float(number)) = (integer, &node.value)
                && number.fract() == 0.0
            {
                let field = display(path);
                problems.push(
                    Problem::new(
                        &node.place,
                        format!("`{field}` is a float, expected an integer"),
                        "expected an integer",
                    )
                    .help(format!("write {number:.0}")),
                );
            }
        },
    );
    problems
}

/// What a pattern cannot say of `run.device`.
fn device_twice(root: &Node) -> Option<Problem> {
    let node = &root.get("run")?.node.get("device")?.node;
    let super::document::Value::String(text) = &node.value else {
        return None;
    };
    let error = device::names(text).err()?;
    let DeviceError::Twice { device, .. } = &error else {
        return None;
    };
    Some(
        Problem::new(
            &node.place,
            format!("`run.device` names the device {device:?} twice"),
            "must be distinct",
        )
        .help("name each device once"),
    )
}

fn walk(
    node: &Node,
    path: &mut Vec<Step>,
    schema: &Value,
    visit: &mut dyn FnMut(&Node, &[Step], &Value),
) {
    let schema = follow(schema);
    visit(node, path, schema);
    for entry in node.entries() {
        let inner = schema
            .get("properties")
            .and_then(|all| all.get(&entry.key))
            .or_else(|| schema.get("additionalProperties"));
        if let Some(inner) = inner {
            path.push(Step::Key(entry.key.clone()));
            walk(&entry.node, path, inner, visit);
            path.pop();
        }
    }
}

/// Through `$ref` and single `allOf`s.
fn follow(mut at: &Value) -> &Value {
    while let Some(next) = at
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|path| schema().pointer(path.trim_start_matches('#')))
        .or_else(|| at.get("allOf").and_then(|all| all.get(0)))
    {
        at = next;
    }
    at
}

/// The object of the schema that holds the keyword which failed.
fn schema_around(error: &ValidationError<'_>) -> Option<&'static Value> {
    let mut at = schema();
    let path = error.schema_path().to_string();
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.pop();
    for part in parts {
        at = if part == "$ref" {
            follow(at)
        } else {
            at.get(part)
                .or_else(|| at.get(part.parse::<usize>().ok()?))?
        };
    }
    Some(at)
}

fn known_properties(error: &ValidationError<'_>) -> Vec<String> {
    let around = schema_around(error).map(follow);
    let properties = around
        .and_then(|schema| schema.get("properties"))
        .and_then(Value::as_object);
    properties
        .map(|all| all.keys().cloned().collect())
        .unwrap_or_default()
}

/// Where in the document the error is. A number is an index only in an array: a stage may be called `1`.
fn instance_path(error: &ValidationError<'_>, root: &Node) -> Vec<Step> {
    let mut at = Some(root);
    let path = error.instance_path().to_string();
    let steps = path.split('/').skip(1).map(|part| {
        let step = match (at.map(|node| &node.value), part.parse()) {
            (Some(super::document::Value::Array(_)), Ok(index)) => Step::Index(index),
            _ => Step::Key(part.replace("~1", "/").replace("~0", "~")),
        };
        at = at.and_then(|node| find(node, std::slice::from_ref(&step)));
        step
    });
    steps.collect()
}

fn find<'a>(root: &'a Node, path: &[Step]) -> Option<&'a Node> {
    path.iter()
        .try_fold(root, |node, step| match (step, &node.value) {
            (Step::Key(key), _) => node.get(key).map(|entry| &entry.node),
            (Step::Index(index), super::document::Value::Array(items)) => items.get(*index),
            (Step::Index(index), _) => node.get(&index.to_string()).map(|entry| &entry.node),
        })
}

/// `train.classifier.batch.size`, `load.news.train[0]`.
pub fn display(path: &[Step]) -> String {
    path.iter().fold(String::new(), |mut text, step| {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text = format!("{text}.{key}"),
            Step::Index(index) => text = format!("{text}[{index}]"),
        }
        text
    })
}
