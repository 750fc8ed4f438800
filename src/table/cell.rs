//! One value of a row, wherever it comes from: a field of delimited text, a JSON value, a value of a polars column.
//!
//! Deliberately absent: what a value is for.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use polars::prelude::{AnyValue, TimeUnit};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::moment::Moment;

/// A value as written: nothing is converted, so that what reads it can say what it found.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Cell<'c> {
    #[default]
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(Cow<'c, str>),
    Time(Moment),
    List(Vec<Cell<'c>>),
    /// Fields in their order, each name once.
    Object(Vec<(Cow<'c, str>, Cell<'c>)>),
    /// A type that no column of a table has, by its name.
    Other(String),
}

impl<'c> Cell<'c> {
    /// What it is, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Cell::Null => "nothing".to_owned(),
            Cell::Boolean(value) => format!("{value}"),
            Cell::Integer(value) => format!("the integer {value}"),
            Cell::Float(value) => format!("the number {value:?}"),
            Cell::Text(_) => "text".to_owned(),
            Cell::Time(moment) => moment.kind().to_owned(),
            Cell::List(_) => "a list".to_owned(),
            Cell::Object(_) => "an object".to_owned(),
            Cell::Other(name) => name.clone(),
        }
    }

    /// Takes a field out of an object; null where there is none.
    pub(super) fn take(&mut self, field: &str) -> Cell<'c> {
        let Cell::Object(fields) = self else {
            return Cell::Null;
        };
        let mut fields = fields.iter_mut();
        let found = fields.find(|(name, _)| name == field);
        found.map_or(Cell::Null, |(_, value)| std::mem::take(value))
    }

    pub(super) fn get(&self, field: &str) -> Option<&Cell<'c>> {
        let Cell::Object(fields) = self else {
            return None;
        };
        let mut fields = fields.iter();
        fields
            .find(|(name, _)| name == field)
            .map(|(_, value)| value)
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    pub(super) fn into_owned(self) -> Cell<'static> {
        match self {
            Cell::Null => Cell::Null,
            Cell::Boolean(value) => Cell::Boolean(value),
            Cell::Integer(value) => Cell::Integer(value),
            Cell::Float(value) => Cell::Float(value),
            Cell::Text(text) => Cell::Text(Cow::Owned(text.into_owned())),
            Cell::Time(moment) => Cell::Time(moment),
            Cell::List(items) => Cell::List(items.into_iter().map(Cell::into_owned).collect()),
            Cell::Object(fields) => Cell::Object(
                fields
                    .into_iter()
                    .map(|(name, value)| (Cow::Owned(name.into_owned()), value.into_owned()))
                    .collect(),
            ),
            Cell::Other(name) => Cell::Other(name),
        }
    }

    /// A value of a polars column.
    pub(super) fn of(value: AnyValue<'c>) -> Cell<'c> {
        match value {
            AnyValue::Null => Cell::Null,
            AnyValue::Boolean(value) => Cell::Boolean(value),
            AnyValue::String(text) => Cell::Text(Cow::Borrowed(text)),
            AnyValue::StringOwned(text) => Cell::Text(Cow::Owned(text.to_string())),
            AnyValue::Float32(value) => Cell::Float(f64::from(value)),
            AnyValue::Float64(value) => Cell::Float(value),
            AnyValue::Date(days) => Cell::Time(Moment::Date(i64::from(days))),
            AnyValue::Datetime(value, unit, zone) => {
                let nanoseconds = i128::from(value)
                    * match unit {
                        TimeUnit::Nanoseconds => 1,
                        TimeUnit::Microseconds => 1_000,
                        TimeUnit::Milliseconds => 1_000_000,
                    };
                Cell::Time(match zone {
                    Some(_) => Moment::Instant(nanoseconds),
                    None => Moment::DateTime(nanoseconds),
                })
            }
            AnyValue::List(series) => Cell::List(
                series
                    .iter()
                    .map(|value| Cell::of(value).into_owned())
                    .collect(),
            ),
            AnyValue::Struct(_, _, fields) => {
                let names = fields.iter().map(|field| field.name().to_string());
                let values = value._iter_struct_av();
                let field = |(name, value)| (Cow::Owned(name), Cell::of(value).into_owned());
                Cell::Object(names.zip(values).map(field).collect())
            }
            value if value.is_integer() => match value.extract::<i64>() {
                Some(value) => Cell::Integer(value),
                None => Cell::Other("an integer beyond 64 bits".to_owned()),
            },
            AnyValue::Binary(_) | AnyValue::BinaryOwned(_) => Cell::Other("bytes".to_owned()),
            other => Cell::Other(format!("a value of type {}", other.dtype())),
        }
    }
}

impl<'de: 'c, 'c> Deserialize<'de> for Cell<'c> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Cell<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E: Error>(self) -> Result<Cell<'de>, E> {
                Ok(Cell::Null)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Cell<'de>, E> {
                Ok(Cell::Boolean(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Cell<'de>, E> {
                Ok(Cell::Integer(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Cell<'de>, E> {
                Ok(i64::try_from(value).map_or(Cell::Float(value as f64), Cell::Integer))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Cell<'de>, E> {
                Ok(Cell::Float(value))
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cell<'de>, E> {
                Ok(Cell::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Cell<'de>, E> {
                Ok(Cell::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Cell<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Cell::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Cell<'de>, A::Error> {
                let mut fields = Vec::<(Cow<str>, Cell)>::new();
                while let Some(Name(name)) = object.next_key()? {
                    fields.push((name, object.next_value()?));
                }
                let mut seen = HashSet::with_capacity(fields.len());
                match fields.iter().find(|(name, _)| !seen.insert(name)) {
                    Some((name, _)) => {
                        Err(A::Error::custom(format!("the key `{name}` stands twice")))
                    }
                    None => Ok(Cell::Object(fields)),
                }
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A key, borrowed where it has no escapes: serde's own `Cow` is always owned.
struct Name<'c>(Cow<'c, str>);

impl<'de: 'c, 'c> Deserialize<'de> for Name<'c> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Cell::deserialize(deserializer)? {
            Cell::Text(name) => Ok(Name(name)),
            other => Err(D::Error::custom(format!(
                "{} instead of a key",
                other.describe()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{IntoSeries, NamedFrom, Series, StructChunked};
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Cell<'_>, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn json_keeps_the_order_of_its_keys_and_the_types_of_its_values() {
        let cell = parse(
            r#"{"b": [1, -2, 2.5, true, null], "a": {"é": "x\n"}, "c": 18446744073709551615}"#,
        );
        let text = |text: &'static str| Cow::Borrowed(text);
        let list = vec![
            Cell::Integer(1),
            Cell::Integer(-2),
            Cell::Float(2.5),
            Cell::Boolean(true),
            Cell::Null,
        ];
        assert_eq!(
            cell.unwrap(),
            Cell::Object(vec![
                (text("b"), Cell::List(list)),
                (
                    text("a"),
                    Cell::Object(vec![(text("é"), Cell::Text(text("x\n")))])
                ),
                (text("c"), Cell::Float(18_446_744_073_709_551_615.0)),
            ])
        );
    }

    #[test]
    fn a_key_that_stands_twice_is_an_error() {
        let error = parse(r#"{"a": 1, "\u0061": 2}"#).unwrap_err().to_string();
        assert!(error.starts_with("the key `a` stands twice"), "{error}");
    }

    #[test]
    fn polars_values_and_json_are_the_same_cells() {
        let starts = Series::new("answer_start".into(), [3_i32, 7]).implode();
        let texts = Series::new("text".into(), ["a", "é"]).implode();
        let fields = [texts.unwrap().into_series(), starts.unwrap().into_series()];
        let answers = StructChunked::from_series("answers".into(), 1, fields.iter()).unwrap();
        let series = answers.into_series();
        assert_eq!(
            Cell::of(series.get(0).unwrap()),
            parse(r#"{"text": ["a", "é"], "answer_start": [3, 7]}"#).unwrap()
        );
        let numbers = Series::new("n".into(), [Some(2_u8), None]);
        assert_eq!(Cell::of(numbers.get(0).unwrap()), Cell::Integer(2));
        assert_eq!(Cell::of(numbers.get(1).unwrap()), Cell::Null);
    }

    proptest! {
        #[test]
        fn whatever_serde_json_reads_is_a_cell(text in "[\\[\\]{}\",:0-9a-e\\\\ .-]{0,60}") {
            let value = serde_json::from_str::<serde_json::Value>(&text);
            let twice = |error: &serde_json::Error| error.to_string().contains("stands twice");
            match parse(&text) {
                Ok(_) => prop_assert!(value.is_ok()),
                Err(error) => prop_assert!(value.is_err() || twice(&error)),
            }
        }
    }
}
