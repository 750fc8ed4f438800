//! A spec's text with other values in it, everything else as it was written: comments, order, spacing.
//!
//! Deliberately absent: whether the result is a sound spec. Whoever gives the values has read it with them.

use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table};

/// The text without its sweep, with `values` (path → value) laid over it, and `mark` as a line at its top (behind a
/// `#:schema` line, which editors look for there).
pub fn plain<'a>(
    text: &str,
    mark: &str,
    values: impl Iterator<Item = (&'a String, &'a Value)>,
) -> String {
    // A spec with values to lay over it was parsed before.
    let Ok(mut document) = text.parse::<DocumentMut>() else {
        return text.to_owned();
    };
    document.remove("sweep");
    for (path, value) in values {
        lay(document.as_item_mut(), path, value);
    }
    let text = document.to_string();
    let text = text.trim_end();
    match text.strip_prefix("#:schema") {
        Some(rest) => {
            let (schema, rest) = rest.split_once('\n').unwrap_or((rest, ""));
            format!("#:schema{schema}\n{mark}\n{rest}\n")
        }
        None => format!("{mark}\n{text}\n"),
    }
}

/// The text with `values` (path → value) laid over it.
pub fn laid<'a>(text: &str, values: impl Iterator<Item = (&'a String, &'a Value)>) -> String {
    let Ok(mut document) = text.parse::<DocumentMut>() else {
        return text.to_owned();
    };
    for (path, value) in values {
        lay(document.as_item_mut(), path, value);
    }
    document.to_string()
}

fn lay(root: &mut Item, path: &str, value: &Value) {
    let keys: Vec<&str> = path.split('.').collect();
    let Some((last, way)) = keys.split_last() else {
        return;
    };
    let mut at = root;
    for (depth, key) in way.iter().enumerate() {
        let Some(table) = at.as_table_like_mut() else {
            return;
        };
        if table.get(key).is_none() {
            // `[kind.name]` is a table of its own, what is in it stands on one line.
            let new = match depth {
                0 | 1 => {
                    let mut new = Table::new();
                    new.set_implicit(depth == 0);
                    Item::Table(new)
                }
                _ => toml_edit::value(InlineTable::new()),
            };
            table.insert(key, new);
        }
        let Some(next) = table.get_mut(key) else {
            return;
        };
        at = next;
    }
    let Some(table) = at.as_table_like_mut() else {
        return;
    };
    let value = of_json(value);
    match table.get_mut(last).and_then(Item::as_value_mut) {
        Some(there) => {
            // A comment behind the value stays, and so does the space before it.
            let decor = there.decor().clone();
            *there = value;
            *there.decor_mut() = decor;
        }
        None => {
            table.insert(last, toml_edit::value(value));
        }
    }
    if let Some(inline) = at.as_inline_table_mut() {
        // The space before the bracket belongs to what was last.
        inline.fmt();
    }
}

fn of_json(value: &Value) -> toml_edit::Value {
    match value {
        // TOML has no null, and no value of a spec is one.
        Value::Null => "".into(),
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(of_json).collect::<Array>().into(),
        Value::Object(fields) => table(fields).into(),
    }
}

/// Small and large ones with an exponent, as people write them.
fn float(number: f64) -> toml_edit::Value {
    let usual = number == 0.0 || (1e-3..1e9).contains(&number.abs());
    let written = format!("{number:e}").parse();
    match written {
        Ok(written) if !usual => written,
        _ => number.into(),
    }
}

fn table(fields: &Map<String, Value>) -> InlineTable {
    fields
        .iter()
        .map(|(key, value)| (key.as_str(), of_json(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(text: &str, values: &Value) -> String {
        plain(text, "# mark", values.as_object().unwrap().iter())
    }

    #[test]
    fn values_change_and_everything_else_stays() {
        let text = "#:schema s.json\n\n# A comment.\nversion = 1\n\n[train.a]   # here\nepochs = 3     # three\noptimizer = { learning_rate = 5e-5, weight_decay = 0.01 }\n\n[sweep]\ngoal = { maximize = \"a.f1\" }\n[sweep.parameters]\n\"train.a.epochs\" = [1, 2]\n\n[evaluate.s]\nmodel = \"a\"\n";
        let values = json!({
            "train.a.epochs": 2,
            "train.a.optimizer.learning_rate": 2e-5,
            "train.a.schedule.warmup": 0.1,
            "train.a.batch.size": 8,
            "vars.encoder": "b",
            "seed": 7,
        });
        let written = with(text, &values);
        assert!(
            written.starts_with("#:schema s.json\n# mark\n\n# A comment.\n"),
            "{written}"
        );
        assert!(
            written.contains("[train.a]   # here\nepochs = 2     # three\n"),
            "{written}"
        );
        assert!(
            written.contains("optimizer = { learning_rate = 2e-5, weight_decay = 0.01 }")
                || written.contains("optimizer = { learning_rate = 0.00002, weight_decay = 0.01 }"),
            "{written}"
        );
        assert!(!written.contains("sweep"), "{written}");
        let read: toml::Table = written.parse().unwrap();
        assert_eq!(
            read["train"]["a"]["schedule"]["warmup"].as_float(),
            Some(0.1)
        );
        assert_eq!(read["train"]["a"]["batch"]["size"].as_integer(), Some(8));
        assert_eq!(read["vars"]["encoder"].as_str(), Some("b"));
        assert_eq!(read["seed"].as_integer(), Some(7));
        assert_eq!(read["evaluate"]["s"]["model"].as_str(), Some("a"));
    }

    #[test]
    fn values_of_every_type_are_written() {
        let values =
            json!({ "train.a.x": [1, 2.5, "c"], "train.a.y": { "z": true }, "train.a.w": 1.0 });
        let read: toml::Table = with("version = 1\n", &values).parse().unwrap();
        assert_eq!(read["train"]["a"]["x"].as_array().unwrap().len(), 3);
        assert_eq!(read["train"]["a"]["y"]["z"].as_bool(), Some(true));
        assert!(read["train"]["a"]["w"].is_float());
    }
}
