//! How many rows are learned from at a time, and how they are put together, as a user says it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// How many rows go through the model at once, and how they are put together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    /// Rows in one training step. More rows make a smoother gradient and need more memory; the last batch of an epoch may
    /// be smaller.
    #[schemars(range(min = 1, max = 65536))]
    pub size: u32,
    /// How many rows of a batch go through the model at once, where a whole batch does not fit into the device's memory. Gradients
    /// are summed up over the parts, and results are those of the whole batch (beyond the rounding of floats). `"auto"` begins
    /// with the whole batch and halves when the memory runs out; a run then may differ from another in the last digits.
    /// Left out: `size`. What validation takes is `evaluation_size`'s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_size: Option<MicroSize>,
    /// Rows of full length at once when validating; of shorter rows as many as have the same number of tokens. It changes
    /// speed and memory, not results (beyond the rounding of floats).
    #[schemars(range(min = 1, max = 65536))]
    pub evaluation_size: u32,
    /// To which length the rows of a training batch are padded.
    pub padding: Padding,
    /// Put rows of similar length into the same batch (in a seeded, partly random order), so that little time goes into
    /// padding; on a CPU, where nothing is padded, it only changes the order. Without it, rows are shuffled plainly.
    pub group_by_length: bool,
}

impl Default for BatchSettings {
    fn default() -> Self {
        BatchSettings {
            size: 32,
            micro_size: None,
            evaluation_size: 64,
            padding: Padding::Longest,
            group_by_length: true,
        }
    }
}

impl BatchSettings {
    /// The rows that go through the model at once, to begin with.
    pub(in crate::learn) fn at_once(&self) -> usize {
        match self.micro_size {
            Some(MicroSize::Rows(rows)) => rows.clamp(1, self.size.max(1)) as usize,
            Some(MicroSize::Auto) | None => self.size.max(1) as usize,
        }
    }
}

/// How many rows go through the model at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MicroSize {
    Rows(u32),
    /// As many as fit.
    Auto,
}

impl Serialize for MicroSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            MicroSize::Rows(rows) => serializer.serialize_u32(*rows),
            MicroSize::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for MicroSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = MicroSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of rows like 8, or \"auto\"")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<MicroSize, E> {
                match word {
                    "auto" => Ok(MicroSize::Auto),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, rows: u64) -> Result<MicroSize, E> {
                match u32::try_from(rows) {
                    Ok(rows) if rows > 0 => Ok(MicroSize::Rows(rows)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(rows), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, rows: i64) -> Result<MicroSize, E> {
                match u64::try_from(rows) {
                    Ok(rows) => self.visit_u64(rows),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(rows), &self)),
                }
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for MicroSize {
    fn schema_name() -> Cow<'static, str> {
        "MicroSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of rows, or `auto`.",
            "anyOf": [
                { "type": "integer", "minimum": 1, "maximum": 65536 },
                { "type": "string", "enum": ["auto"] },
            ],
        })
    }
}

/// To which length the rows of a batch are padded. On a CPU nothing is: results are the same, and come sooner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The longest row of the batch, rounded up to a multiple of 16: fastest.
    #[default]
    Longest,
    /// The tokenize stage's `max_length`, always: every batch has one shape, which suits kernels that are tuned for each shape.
    MaxLength,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_micro_size_is_a_number_or_auto() {
        let read = |text: &str| serde_json::from_str::<MicroSize>(text);
        for (text, size) in [("8", MicroSize::Rows(8)), ("\"auto\"", MicroSize::Auto)] {
            assert_eq!(read(text).unwrap(), size);
            assert_eq!(serde_json::to_string(&size).unwrap(), text);
        }
        for wrong in ["0", "-1", "\"all\"", "1.5", "4294967296"] {
            let message = read(wrong).unwrap_err().to_string();
            assert!(
                message.contains("a number of rows like 8, or \"auto\""),
                "{message}"
            );
        }
    }
}
