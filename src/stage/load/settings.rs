//! The settings of `load` as a user writes them, with the forms that may be a text or a list, a name or a number.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::table::read::{Column, Format};

/// Reads files into rows of text with labels, in named splits.
///
/// Use one `load` stage per data set. Paths are relative to the spec's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The files to train on: a path or a list of paths, with `*`, `?`, `[…]` and `**` as wildcards (their matches are
    /// taken in the order of their names).
    pub train: Paths,
    /// The files to choose the best weights by, after each epoch. Without them, `split.validation` can cut a share from
    /// `train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Paths>,
    /// The files to score the finished model on. Without them, `split.test` can cut a share from `train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Paths>,
    /// Further test sets by name: `more = { mismatched = ["…"] }` is the split `more.mismatched`. A name is of letters,
    /// digits, `_` and `-`.
    #[serde(default)]
    pub more: BTreeMap<String, Paths>,
    /// What to cut from `train` for the splits that have no files of their own.
    #[serde(default)]
    pub split: Split,
    /// How the files are written. By default each file's ending says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Whether the first line names the columns (csv, tsv). Without a header, `columns` are numbers from 0.
    #[serde(default = "yes")]
    pub header: bool,
    /// The character that encloses fields holding separators or line breaks (csv, tsv); inside a field it is doubled.
    /// Set `""` for files that do not quote, as most TSV files do not.
    #[serde(default = "quote")]
    #[schemars(length(max = 1))]
    pub quote: String,
    /// Which columns hold what.
    #[serde(default)]
    pub columns: Columns,
    /// The labels in their order. For integer labels: the name of each integer from 0 on, or of exactly those that occur,
    /// in ascending order. By default integers go by value and names by their bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub label_names: Option<Vec<String>>,
    /// The seed that `split` draws rows with. By default the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

fn yes() -> bool {
    true
}

fn quote() -> String {
    "\"".to_owned()
}

/// What to cut from `train`. Rows keep their order and their ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The share of all training rows that becomes the validation split; 0 cuts none.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub validation: f64,
    /// The share of all training rows that becomes the test split; 0 cuts none.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub test: f64,
    /// Whether each class gives the same share. Turn it off to draw rows regardless of their labels.
    #[serde(default = "yes")]
    pub stratify: bool,
}

impl Default for Split {
    fn default() -> Self {
        Split {
            validation: 0.0,
            test: 0.0,
            stratify: true,
        }
    }
}

/// Columns by name, or by number from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// The text to classify.
    #[serde(default = "text")]
    pub text: Column,
    /// The second text of a pair (a hypothesis beside a premise, say). By default there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<Column>,
    /// The label: integers, names or booleans. Set `""` to read no labels; `text` files have none.
    #[serde(default = "label")]
    pub label: Column,
}

fn text() -> Column {
    Column::Name("text".to_owned())
}

fn label() -> Column {
    Column::Name("label".to_owned())
}

impl Default for Columns {
    fn default() -> Self {
        Columns {
            text: text(),
            text_pair: None,
            label: label(),
        }
    }
}

impl Columns {
    /// The label column, unless it is `""`.
    pub fn label(&self) -> Option<&Column> {
        Some(&self.label).filter(|label| **label != Column::Name(String::new()))
    }
}

/// A path or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paths {
    One(String),
    Several(Vec<String>),
}

impl Paths {
    /// Each path with its field's path within the stage: `train`, or `train[0]`, `train[1]`, ….
    pub fn with_fields<'a>(&'a self, field: &'a str) -> impl Iterator<Item = (String, &'a str)> {
        let (one, several) = match self {
            Paths::One(path) => (Some((field.to_owned(), path.as_str())), [].as_slice()),
            Paths::Several(paths) => (None, paths.as_slice()),
        };
        let several = several
            .iter()
            .enumerate()
            .map(move |(n, path)| (format!("{field}[{n}]"), path.as_str()));
        one.into_iter().chain(several)
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Paths::Several(paths) if paths.is_empty())
    }
}

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Paths::One(path) => serializer.serialize_str(path),
            Paths::Several(paths) => paths.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Paths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a path like \"data/train.csv\" or a list of paths like [\"a.csv\", \"b.csv\"]",
                )
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Paths, E> {
                Ok(Paths::One(path.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Paths, A::Error> {
                let mut paths = Vec::new();
                while let Some(path) = list.next_element()? {
                    paths.push(path);
                }
                Ok(Paths::Several(paths))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for Paths {
    fn schema_name() -> Cow<'static, str> {
        "Paths".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A path, or a list of paths; `*`, `?`, `[…]` and `**` are wildcards.",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1 },
            ],
        })
    }
}

impl Serialize for Column {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Column::Name(name) => serializer.serialize_str(name),
            Column::Number(number) => serializer.serialize_u64(*number as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = Column;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name like \"text\" or its number from 0 like 1")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Column, E> {
                Ok(Column::Name(name.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Column, E> {
                usize::try_from(number)
                    .map(Column::Number)
                    .map_err(|_| E::custom("no file has so many columns"))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Column, E> {
                let number = usize::try_from(number);
                number
                    .map(Column::Number)
                    .map_err(|_| E::custom("columns are numbered from 0"))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for Column {
    fn schema_name() -> Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A column's name, or its number from 0.",
            "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 0 }],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<Load, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn a_path_may_stand_for_a_list_of_one() {
        let load =
            read(json!({ "train": "a.csv", "test": ["b.csv", "c.csv"], "columns": { "text": 1, "label": "y" } }))
                .unwrap();
        assert_eq!(load.train, Paths::One("a.csv".into()));
        assert_eq!(
            load.test.as_ref().unwrap().with_fields("test").last(),
            Some(("test[1]".into(), "c.csv"))
        );
        assert_eq!(load.columns.text, Column::Number(1));
        assert_eq!(serde_json::to_value(&load).unwrap()["train"], "a.csv");
    }

    #[test]
    fn a_wrong_form_shows_both_right_ones() {
        let message = read(json!({ "train": 3 })).unwrap_err().to_string();
        assert!(
            message.contains("a path like") && message.contains("a list of paths"),
            "{message}"
        );
        let message = read(json!({ "train": "a", "columns": { "text": -1 } }))
            .unwrap_err()
            .to_string();
        assert!(message.contains("from 0"), "{message}");
        assert!(read(json!({ "train": "a", "colums": {} })).is_err());
    }

    #[test]
    fn settings_survive_json() {
        let load = read(
            json!({ "train": ["a"], "split": { "test": 0.2 }, "format": "jsonl", "quote": "" }),
        )
        .unwrap();
        assert_eq!(read(serde_json::to_value(&load).unwrap()).unwrap(), load);
    }
}
