//! Which columns hold what, as a user writes it: one set of fields for every task, of which some exclude others.
//!
//! Deliberately absent: whether a file has them; that is seen when it is read.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::stage::Fault;
use crate::table::read::{Column, Format, Gold, Kind, Rows};

/// Columns by name, or by number from 0.
///
/// A row is a text (`text`, or a pair with `text_pair`) with one `label`, any number of `labels`, or numbers as `target`; or
/// a sentence of `tokens` with their `tags`; or a `question` with its `context` and `answers`. Columns of one of these
/// exclude those of the others. Files in the formats `conll` and `squad` need none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// The text to classify, or to predict numbers for. Rows of `tokens` or of a `question` have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(default = "text")]
    pub text: Option<Column>,
    /// The second text of a pair (a hypothesis beside a premise, say). By default there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<Column>,
    /// The label: integers, names or booleans. Set `""` to read no labels; `text` files have none, and neither have rows with
    /// `labels`, `target`, `tokens` or a `question`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(default = "label")]
    pub label: Option<Column>,
    /// The labels of rows that have any number of them: a list of names or integers (json, jsonl, parquet), or a text with
    /// `label_separator` between them. An empty list or text is a row without labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Column>,
    /// The number to predict, or a list of columns for several numbers: `target = ["valence", "arousal"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Targets>,
    /// The words of a sentence, as a list of texts (json, jsonl, parquet).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Column>,
    /// A tag for each of the `tokens`: a list of names, or of integers with `label_names`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Column>,
    /// The question that a part of the `context` answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<Column>,
    /// The text in which the answer stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Column>,
    /// The answers: `{"text": ["…"], "answer_start": [0]}` or a list of `{"text": "…", "answer_start": 0}`, with starts in
    /// Unicode characters from the beginning of the context. Empty lists are a question that the context does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Column>,
    /// What the file itself calls its rows: texts or integers, kept for predictions. Questions of one split must differ in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Column>,
    /// Further columns that stay beside the row, as they are written: texts, numbers, true or false. Nothing is learned from
    /// them; a page of the evaluation says of which of their values the rows fail most often.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("uniqueItems" = true))]
    pub keep: Vec<Column>,
}

fn text() -> Option<Column> {
    Some(Column::Name("text".to_owned()))
}

fn label() -> Option<Column> {
    Some(Column::Name("label".to_owned()))
}

impl Columns {
    /// What the rows of a file in this format are made of.
    pub fn rows(&self, format: Format, separator: &str) -> Rows {
        let name = |name: &str| Column::Name(name.to_owned());
        let stated = match format {
            Format::Conll => Kind::Words,
            Format::Squad => Kind::Questions,
            _ => self.kind(),
        };
        let or = |column: &Option<Column>, default: &str| {
            let column = column.clone();
            column.unwrap_or_else(|| name(default))
        };
        match stated {
            Kind::Words => Rows::Words {
                tokens: or(&self.tokens, "tokens"),
                tags: self.tags.clone(),
            },
            Kind::Questions => Rows::Questions {
                question: or(&self.question, "question"),
                context: or(&self.context, "context"),
                answers: self.answers.clone(),
            },
            Kind::Texts => Rows::Texts {
                text: or(&self.text, "text"),
                text_pair: self.text_pair.clone(),
                gold: self.gold(separator),
            },
        }
    }

    /// The column whose numbers have names.
    pub(super) fn of_names(&self) -> Option<String> {
        let label = self.label.clone().or_else(label);
        let column = self.tags.clone().or(self.labels.clone()).or(label);
        match column {
            Some(Column::Name(name)) if !name.is_empty() => Some(name),
            _ => None,
        }
    }

    /// What rows are by the columns alone.
    fn kind(&self) -> Kind {
        if self.tokens.is_some() || self.tags.is_some() {
            Kind::Words
        } else if self.question.is_some() || self.context.is_some() || self.answers.is_some() {
            Kind::Questions
        } else {
            Kind::Texts
        }
    }

    fn gold(&self, separator: &str) -> Option<Gold> {
        if let Some(column) = &self.labels {
            return Some(Gold::Labels {
                column: column.clone(),
                separator: separator.to_owned(),
            });
        }
        if let Some(Targets(columns)) = &self.target {
            return Some(Gold::Target(columns.clone()));
        }
        let column = self.label.clone().or_else(label);
        column.filter(|column| !is_empty(column)).map(Gold::Label)
    }

    /// What the numbers of a target are called: by their columns' names.
    pub fn target_names(&self) -> Option<Vec<String>> {
        let Targets(columns) = self.target.as_ref()?;
        let name = |column: &Column| match column {
            Column::Name(name) => name.clone(),
            Column::Number(_) if columns.len() == 1 => "target".to_owned(),
            Column::Number(number) => number.to_string(),
        };
        Some(columns.iter().map(name).collect())
    }

    /// The fields that are stated, with what they are of. `label = ""` states that there is none.
    fn stated(&self) -> Vec<(&'static str, Kind, Vec<&Column>)> {
        let target = self.target.as_ref().map(|Targets(columns)| columns.iter());
        let target = target.map(Iterator::collect::<Vec<_>>);
        let one = |column| Option::as_ref(column).map(|column| vec![column]);
        let label = one(&self.label).filter(|columns| !columns.iter().any(|c| is_empty(c)));
        let all = [
            ("text", Kind::Texts, one(&self.text)),
            ("text_pair", Kind::Texts, one(&self.text_pair)),
            ("label", Kind::Texts, label),
            ("labels", Kind::Texts, one(&self.labels)),
            ("target", Kind::Texts, target),
            ("tokens", Kind::Words, one(&self.tokens)),
            ("tags", Kind::Words, one(&self.tags)),
            ("question", Kind::Questions, one(&self.question)),
            ("context", Kind::Questions, one(&self.context)),
            ("answers", Kind::Questions, one(&self.answers)),
        ];
        let all = all.into_iter();
        all.filter_map(|(field, kind, columns)| Some((field, kind, columns?)))
            .collect()
    }

    /// Why a file in this format cannot have the columns that are stated: what is wrong, and what to do.
    pub fn misfit(&self, format: Format) -> Option<(String, String)> {
        let kind = match format {
            Format::Conll => Kind::Words,
            Format::Squad => Kind::Questions,
            _ => return None,
        };
        let mut stated = self.stated().into_iter();
        let (field, ..) = stated.find(|(_, other, _)| *other != kind)?;
        Some((
            format!(
                "`{format}` files hold {}, so `columns.{field}` has no meaning for them",
                kind.plural()
            ),
            "load them in a stage of their own, without `columns`".to_owned(),
        ))
    }

    /// Fields that exclude or need each other, and columns that are named twice or not at all.
    pub fn faults(&self, format: Option<Format>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: String, help: String| {
            faults.push(Fault::new(format!("columns.{field}"), message, help));
        };
        let stated = self.stated();
        if let Some(format) = format.filter(|format| !format.has_columns()) {
            let fields = stated.iter().map(|(field, ..)| *field);
            let beside = [("id", self.id.is_some()), ("keep", !self.keep.is_empty())];
            let beside = beside.into_iter().filter(|(_, stated)| *stated);
            for field in fields.chain(beside.map(|(field, _)| field)) {
                let message = format!("a `{format}` file says itself where everything stands");
                fault(field, message, format!("remove `columns.{field}`"));
            }
            return faults;
        }
        let kind = self.kind();
        for (field, other, _) in stated.iter().filter(|(_, other, _)| *other != kind) {
            let message = format!(
                "`{field}` is for rows of {}, but these are {}",
                other.plural(),
                kind.plural()
            );
            let mut others = stated.iter().filter(|(_, other, _)| *other == kind);
            let first = others.next().map_or("the others", |(field, ..)| field);
            fault(
                field,
                message,
                format!("keep `{field}` or `{first}`, and load the rest in a stage of its own"),
            );
        }
        let golds = ["label", "labels", "target"];
        let mut golds = stated.iter().filter(|(field, ..)| golds.contains(field));
        if let Some((first, ..)) = golds.next() {
            for (field, ..) in golds {
                let message = format!("a row has `{first}` or `{field}`, not both");
                let help = "keep `label` for one class a row, `labels` for any number of them, `target` for numbers to predict";
                fault(field, message, help.to_owned());
            }
        }
        let has = |wanted: &str| {
            let mut own = stated.iter().filter(|(_, other, _)| *other == kind);
            own.any(|(field, ..)| *field == wanted)
        };
        for (field, needs, help) in [
            (
                "tags",
                "tokens",
                "name the column with the words that are tagged",
            ),
            (
                "question",
                "context",
                "name the column with the text that answers the question",
            ),
            ("context", "question", "name the column with the question"),
            ("answers", "question", "name the column with the question"),
        ] {
            if has(field) && !has(needs) {
                let message = format!("`{field}` without `{needs}`");
                fault(field, message, format!("{help}: `columns.{needs}`"));
            }
        }
        let default = Column::Name("text".to_owned());
        let mut taken = Vec::<(&str, &Column)>::new();
        if kind == Kind::Texts && self.text.is_none() {
            taken.push(("text", &default));
        }
        let id = self.id.as_ref().map(|id| ("id", Kind::Texts, vec![id]));
        for (field, _, columns) in stated.iter().chain(&id) {
            if columns.is_empty() {
                let help = "name at least one column, or remove the field";
                fault(
                    field,
                    format!("`columns.{field}` names no columns"),
                    help.to_owned(),
                );
            }
            for column in columns {
                if is_empty(column) {
                    let help = match *field {
                        "text" => "name the column that holds the text".to_owned(),
                        _ => format!("name the column, or remove `columns.{field}`"),
                    };
                    fault(field, "a column's name is empty".to_owned(), help);
                } else if let Some((of, _)) = taken.iter().find(|(_, other)| other == column) {
                    let message = format!("column {column} is already `columns.{of}`");
                    fault(field, message, "give each its own column".to_owned());
                }
                taken.push((field, column));
            }
        }
        let mut kept = Vec::new();
        for column in &self.keep {
            if is_empty(column) {
                let help = "name the column, or remove it from `columns.keep`".to_owned();
                fault("keep", "a column's name is empty".to_owned(), help);
            } else if kept.contains(&column) {
                let message = format!("column {column} is listed twice");
                fault("keep", message, "list each column once".to_owned());
            }
            kept.push(column);
        }
        faults
    }
}

fn is_empty(column: &Column) -> bool {
    *column == Column::Name(String::new())
}

/// The columns of the numbers to predict, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Targets(pub Vec<Column>);

impl Serialize for Targets {
    /// A list of one is written as the one, so that both ways to write it have one key.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Targets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a column's name like \"score\", its number from 0 like 1, or a list of columns like [\"valence\", \"arousal\"]",
                )
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Targets, E> {
                Ok(Targets(vec![Column::Name(name.to_owned())]))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Targets, E> {
                column_number(number).map(|column| Targets(vec![column]))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Targets, E> {
                column_number(number).map(|column| Targets(vec![column]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Targets, A::Error> {
                let mut columns = Vec::new();
                while let Some(column) = list.next_element()? {
                    columns.push(column);
                }
                Ok(Targets(columns))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for Targets {
    fn schema_name() -> Cow<'static, str> {
        "Targets".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let column = generator.subschema_for::<Column>();
        json_schema!({
            "description": "A column's name, its number from 0, or a list of columns.",
            "anyOf": [
                { "type": "string" },
                { "type": "integer", "minimum": 0 },
                { "type": "array", "items": column, "minItems": 1 },
            ],
        })
    }
}

fn column_number<E: de::Error>(number: impl TryInto<usize>) -> Result<Column, E> {
    let number = number.try_into().map(Column::Number);
    number.map_err(|_| E::custom("columns are numbered from 0"))
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
                column_number(number)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Column, E> {
                column_number(number)
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
mod tests;
