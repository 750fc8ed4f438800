//! The schema as it is printed: the same rules, in the form that editors' TOML servers and the public catalogue want.
//!
//! - Nothing is referred to; every field holds all that is said of it. taplo hides a field's own description behind that of
//!   what it refers to, and the build of it that VS Code runs overflows its stack when it completes through references.
//! - Each value of an `enum` has its text (`x-taplo`), and a name that the user chooses has a label (`x-tombi-…`).
//! - It says what it is: `$schema`, `$id`, `title`, `description`, before all else.
//!
//! It accepts the documents that the plain schema accepts, and no others; a test compares them.
//!
//! Deliberately absent: rules of its own. What a spec may hold is said by the types of the settings.

use serde_json::{Map, Value, json};

use crate::stage::KINDS;

/// Where the schema will be found, once the catalogue has it. Nothing is fetched from there: the address is its name.
const ID: &str = "https://www.schemastore.org/refit.json";

/// What opens the document, in this order.
const OPENING: [&str; 4] = ["$schema", "$id", "title", "description"];

/// Deeper than any settings; a guard against definitions that refer to themselves.
const MOST_REFERENCES: usize = 32;

/// `plain`, the schema of a whole spec, as it is printed.
pub(super) fn published(plain: &Value) -> Value {
    let definitions = plain.get("definitions").and_then(Value::as_object);
    let mut whole = match plain {
        Value::Object(fields) => fields.clone(),
        _ => Map::new(),
    };
    whole.remove("definitions");
    whole.insert("$id".to_owned(), ID.into());
    let nothing = Map::new();
    let Value::Object(mut whole) = inlined(
        &Value::Object(whole),
        definitions.unwrap_or(&nothing),
        MOST_REFERENCES,
    ) else {
        return Value::Null;
    };
    for name in KINDS.iter().map(|kind| kind.name).chain(["vars"]) {
        if let Some(Value::Object(table)) = whole
            .get_mut("properties")
            .and_then(|properties| properties.get_mut(name))
        {
            table.insert("x-tombi-additional-key-label".to_owned(), "NAME".into());
        }
    }
    let mut ordered: Map<String, Value> = OPENING
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), whole.remove(*key)?)))
        .collect();
    ordered.extend(whole);
    Value::Object(ordered)
}

/// A schema with everything that it refers to in its place.
fn inlined(schema: &Value, definitions: &Map<String, Value>, depth: usize) -> Value {
    let inside = |schema: &Value| inlined(schema, definitions, depth);
    match schema {
        Value::Array(parts) => parts.iter().map(inside).collect(),
        Value::Object(fields) => {
            let Some(target) = target(fields, definitions).filter(|_| depth > 0) else {
                let fields = fields.iter().map(|(key, value)| match key.as_str() {
                    // Values of the language, in which a `$ref` would be a plain key.
                    "default" | "enum" | "const" => (key.clone(), value.clone()),
                    _ => (key.clone(), inside(value)),
                });
                return Value::Object(fields.collect());
            };
            match inlined(target, definitions, depth - 1) {
                Value::Object(target) => Value::Object(laid_over(fields, target)),
                other => other,
            }
        }
        other => other.clone(),
    }
}

/// What a schema refers to, plainly or as the only part of an `allOf`.
fn target<'a>(
    fields: &'a Map<String, Value>,
    definitions: &'a Map<String, Value>,
) -> Option<&'a Value> {
    if let Some(Value::Array(parts)) = fields.get("allOf") {
        return parts.first().filter(|_| parts.len() == 1);
    }
    let name = fields
        .get("$ref")?
        .as_str()?
        .strip_prefix("#/definitions/")?;
    definitions.get(name)
}

/// A field's own words over the schema of its type.
fn laid_over(field: &Map<String, Value>, mut of_type: Map<String, Value>) -> Map<String, Value> {
    let own = field.get("description").and_then(Value::as_str);
    let typed = of_type.get("description").and_then(Value::as_str);
    let description = match (own, typed) {
        (Some(own), Some(typed)) => Some(described(own, typed, &of_type)),
        (own, typed) => own.or(typed).map(str::to_owned),
    };
    let kept = field
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "$ref" | "allOf"));
    of_type.extend(kept.map(|(key, value)| (key.clone(), value.clone())));
    if let Some(description) = description {
        of_type.insert("description".to_owned(), description.into());
    }
    of_type
}

/// What a field says, and below it what its type adds: the values of an `enum`, the forms of an `anyOf`, or an explanation
/// of more than a line. A single line only says the same in other words.
fn described(own: &str, typed: &str, of_type: &Map<String, Value>) -> String {
    let more = match of_type.get("enum") {
        Some(_) => typed.find("\n\n- `").map_or("", |list| &typed[list + 2..]),
        None if of_type.contains_key("anyOf") || typed.contains('\n') => typed,
        None => "",
    };
    if more.is_empty() || own == more {
        own.to_owned()
    } else {
        format!("{own}\n\n{more}")
    }
}

/// The texts of an `enum`'s values, for completion and hover.
pub(super) fn of_values(texts: Vec<Option<String>>) -> Value {
    json!({ "docs": { "enumValues": texts } })
}

#[cfg(test)]
mod tests;
