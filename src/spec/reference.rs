//! The reference of specs as a page of Markdown, from the JSON Schema and so from the settings' own doc comments.
//!
//! Deliberately absent: anything that is not in the schema.

use std::fmt::Write as _;

use serde_json::Value;

use super::schema::{self, properties, reference, resolved};
use crate::stage::KINDS;

/// The page that lies in `schemas/reference.md`.
pub fn page() -> String {
    let root = schema::schema();
    let mut page = String::from(
        "# Reference\n\nEvery setting of a spec. This page is made from the JSON Schema (`refit schema --reference`). Required settings are bold; a \
         setting without a default does nothing, or is chosen as its text says, where it is left out.\n",
    );
    let _ = writeln!(page, "\n## Top level\n");
    let is_kind = |field: &str| KINDS.iter().any(|kind| kind.name == field);
    let fields = properties(root, root).into_iter();
    let fields = fields.filter(|(field, _)| !is_kind(field));
    table(&mut page, root, root, fields);
    for kind in &KINDS {
        let Some(settings) =
            root.pointer(&format!("/properties/{}/additionalProperties", kind.name))
        else {
            continue;
        };
        let settings = resolved(root, settings);
        let _ = writeln!(page, "\n## `[{}.NAME]`\n", kind.name);
        if let Some(text) = settings.get("description").and_then(Value::as_str) {
            let _ = writeln!(page, "{}\n", paragraphs(text));
        }
        let fields = properties(root, settings).into_iter();
        table(&mut page, root, settings, fields);
    }
    page
}

fn table<'s>(
    page: &mut String,
    root: &Value,
    owner: &Value,
    fields: impl Iterator<Item = (&'s str, &'s Value)>,
) {
    page.push_str("| setting | type | default | |\n| --- | --- | --- | --- |\n");
    for (field, property) in fields {
        rows(page, root, owner, field, field, property, &mut Vec::new());
    }
}

/// A field's row, and those of the fields in it. `within` has the definitions that it is in.
fn rows(
    page: &mut String,
    root: &Value,
    owner: &Value,
    field: &str,
    path: &str,
    property: &Value,
    within: &mut Vec<String>,
) {
    let described = resolved(root, property);
    let required = owner.get("required").and_then(Value::as_array);
    let required = required.is_some_and(|fields| fields.iter().any(|other| other == field));
    let name = match required {
        true => format!("**`{path}`**"),
        false => format!("`{path}`"),
    };
    let inner = properties(root, described);
    let default = property.get("default").or_else(|| described.get("default"));
    let default = default.filter(|default| !default.is_object() || inner.is_empty());
    let default = default.map_or(String::new(), |default| format!("`{}`", toml(default)));
    let text = property
        .get("description")
        .or_else(|| described.get("description"));
    let text = text.and_then(Value::as_str).unwrap_or_default();
    let _ = writeln!(
        page,
        "| {name} | {} | {} | {} |",
        cell(&type_of(root, property)),
        cell(&default),
        cell(text)
    );
    let definition = reference(property).unwrap_or(path).to_owned();
    if within.contains(&definition) {
        return;
    }
    within.push(definition);
    for (field, property) in inner {
        let path = format!("{path}.{field}");
        // The fields of a definition are named as long as their field lives.
        rows(page, root, described, field, &path, property, within);
    }
    within.pop();
}

fn type_of(root: &Value, property: &Value) -> String {
    let schema = resolved(root, property);
    if let Some(forms) = schema.get("anyOf").and_then(Value::as_array) {
        let forms: Vec<String> = forms.iter().map(|form| type_of(root, form)).collect();
        return forms.join(" or ");
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let values: Vec<String> = values
            .iter()
            .map(|value| format!("`{}`", toml(value)))
            .collect();
        return values.join(", ");
    }
    let one = |name: &str| match name {
        "array" => match schema.get("items") {
            Some(items) if !items.is_boolean() => format!("list of {}", type_of(root, items)),
            _ => "list".to_owned(),
        },
        "object" => match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("table of {}", type_of(root, values)),
            _ => "table".to_owned(),
        },
        "string" => "text".to_owned(),
        "boolean" => "`true`, `false`".to_owned(),
        other => format!("{other}{}", range(schema)),
    };
    match schema.get("type") {
        Some(Value::String(name)) => one(name),
        Some(Value::Array(names)) => {
            let names: Vec<String> = names.iter().filter_map(Value::as_str).map(one).collect();
            names.join(" or ")
        }
        _ => String::new(),
    }
}

fn range(schema: &Value) -> String {
    let bound = |key: &str| schema.get(key).filter(|bound| bound.is_number());
    let low = bound("minimum").map(|low| format!("≥ {low}"));
    let low = low.or_else(|| bound("exclusiveMinimum").map(|low| format!("> {low}")));
    let high = bound("maximum").map(|high| format!("≤ {high}"));
    let high = high.or_else(|| bound("exclusiveMaximum").map(|high| format!("< {high}")));
    let bounds: Vec<String> = low.into_iter().chain(high).collect();
    match bounds.is_empty() {
        true => String::new(),
        false => format!(" {}", bounds.join(", ")),
    }
}

/// A default as a spec would write it.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| format!("{key} = {}", toml(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// Text for one cell of a table: lists keep their lines, everything else is one.
fn cell(text: &str) -> String {
    let text = text.replace('|', "\\|");
    let text = text.replace("\n- ", "\u{0}").replace("\n\n", "\u{0}");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace('\u{0}', "<br>")
}

fn paragraphs(text: &str) -> String {
    let paragraphs = text.split("\n\n");
    let joined = paragraphs.map(|paragraph| paragraph.replace('\n', " "));
    joined.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_row_with_its_type_default_and_text() {
        let page = page();
        for row in [
            "| **`version`** | integer ≥ 1, ≤ 1 |  |",
            "| `max_length` | integer ≥ 5, ≤ 8192 | `128` |",
            "| `optimizer.learning_rate` |",
            "| **`input`** | text |  |",
            "`\"linear\"`",
        ] {
            assert!(page.contains(row), "{row} is not in\n{page}");
        }
        let lines = page.lines().filter(|line| line.starts_with("| "));
        for line in lines {
            let cells = line.replace("\\|", "").matches('|').count();
            assert_eq!(cells, 5, "{line}");
        }
    }

    #[test]
    fn no_row_is_without_a_text() {
        for line in page()
            .lines()
            .filter(|line| line.starts_with("| `") || line.starts_with("| **"))
        {
            assert!(!line.ends_with("|  |"), "{line}");
        }
    }
}
