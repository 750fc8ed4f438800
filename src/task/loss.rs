//! Which loss a task is trained with, and what it is trained to.
//!
//! The losses themselves are in `learn`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{Task, TaskError};
use crate::learn::{Objective, Rows};

/// What is minimised. Without it, the task's usual loss.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LossSettings {
    /// The loss. Left out: `binary_cross_entropy` for several labels, `squared_error` for numbers, `cross_entropy` for all
    /// else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<LossName>,
    /// How much the rows that have a label count for it against those that have it not (`multi_label`): `"balanced"`, or by
    /// label, 1 for those not named. Use it where labels are rare and missing one is worse than giving one too many. The loss of
    /// the validation rows has these weights too, that of an evaluation has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positive_weights: Option<PositiveWeights>,
}

/// A loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossName {
    /// Minus the logarithm of the right answer's probability, for answers that exclude each other.
    CrossEntropy,
    /// The same for each label by itself, whatever the others are.
    BinaryCrossEntropy,
    /// Minus the logarithm of the probability of a sentence's tags as a whole: a linear-chain conditional random field
    /// (`token_classification`). Use it where tags depend on each other, as those of entities do; training takes a little
    /// longer.
    Crf,
    /// The mean of the squared differences.
    SquaredError,
}

impl LossName {
    /// The name in specs.
    fn name(self) -> &'static str {
        match self {
            LossName::CrossEntropy => "cross_entropy",
            LossName::BinaryCrossEntropy => "binary_cross_entropy",
            LossName::Crf => "crf",
            LossName::SquaredError => "squared_error",
        }
    }
}

impl fmt::Display for LossName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much positive rows count, by label.
#[derive(Debug, Clone, PartialEq)]
pub enum PositiveWeights {
    /// For each label the number of rows without it over that of rows with it: both sides then count alike. 1 for a label
    /// that no row has, or every row.
    Balanced,
    ByLabel(BTreeMap<String, f64>),
}

impl Serialize for PositiveWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            PositiveWeights::Balanced => serializer.serialize_str("balanced"),
            PositiveWeights::ByLabel(weights) => weights.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for PositiveWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = PositiveWeights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"balanced\" or weights by label like { grief = 5.0 }")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<PositiveWeights, E> {
                match word {
                    "balanced" => Ok(PositiveWeights::Balanced),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PositiveWeights, A::Error> {
                let mut weights = BTreeMap::new();
                while let Some((label, weight)) = map.next_entry::<String, f64>()? {
                    weights.insert(label, weight);
                }
                Ok(PositiveWeights::ByLabel(weights))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for PositiveWeights {
    fn schema_name() -> Cow<'static, str> {
        "PositiveWeights".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "`balanced`, or a weight for each label.",
            "anyOf": [
                { "type": "string", "enum": ["balanced"] },
                {
                    "type": "object",
                    "additionalProperties": { "type": "number", "exclusiveMinimum": 0.0 },
                },
            ],
        })
    }
}

impl Task {
    /// The losses that it can be trained with, the usual one first.
    pub fn losses(self) -> &'static [LossName] {
        match self {
            Task::Classification | Task::QuestionAnswering => &[LossName::CrossEntropy],
            Task::MultiLabel => &[LossName::BinaryCrossEntropy],
            Task::TokenClassification => &[LossName::CrossEntropy, LossName::Crf],
            Task::Regression => &[LossName::SquaredError],
        }
    }

    /// What is learned from `rows`, whose labels have these names.
    ///
    /// # Errors
    /// A weight for a label that there is not.
    pub fn objective(
        self,
        loss: &LossSettings,
        rows: &dyn Rows,
        names: &[String],
    ) -> Result<Objective, TaskError> {
        Ok(match self {
            Task::Classification => Objective::Label,
            Task::MultiLabel => Objective::Labels {
                positive_weights: match &loss.positive_weights {
                    None => None,
                    Some(PositiveWeights::Balanced) => Some(balanced(rows, names.len())),
                    Some(PositiveWeights::ByLabel(weights)) => Some(by_label(weights, names)?),
                },
            },
            Task::TokenClassification => Objective::Tags,
            Task::QuestionAnswering => Objective::Answer,
            Task::Regression => Objective::Targets,
        })
    }
}

/// Rows without each label over rows with it; 1 for a label that no row has, or every row: 0 would be a loss that says
/// nothing about the label.
fn balanced(rows: &dyn Rows, labels: usize) -> Vec<f32> {
    let mut with = vec![0_usize; labels];
    for row in 0..rows.rows() {
        for &label in rows.labels(row).unwrap_or_default() {
            if let Some(with) = with.get_mut(label as usize) {
                *with += 1;
            }
        }
    }
    let weight = |with: usize| match with {
        with if with == 0 || with == rows.rows() => 1.0,
        with => ((rows.rows() - with) as f64 / with as f64) as f32,
    };
    with.into_iter().map(weight).collect()
}

fn by_label(weights: &BTreeMap<String, f64>, names: &[String]) -> Result<Vec<f32>, TaskError> {
    if let Some(stranger) = weights.keys().find(|label| !names.contains(label)) {
        return Err(TaskError::UnknownLabel {
            label: stranger.clone(),
            field: "loss.positive_weights",
            known: names.to_vec(),
        });
    }
    let weight = |name: &String| weights.get(name).map_or(1.0, |&weight| weight as f32);
    Ok(names.iter().map(weight).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_balanced_or_given_by_label() {
        let read = |text: &str| serde_json::from_str::<PositiveWeights>(text);
        assert_eq!(read("\"balanced\"").unwrap(), PositiveWeights::Balanced);
        let some = read("{\"grief\": 5, \"joy\": 0.5}").unwrap();
        let names = ["anger", "grief", "joy"].map(str::to_owned);
        let PositiveWeights::ByLabel(weights) = &some else {
            panic!("{some:?}");
        };
        assert_eq!(by_label(weights, &names).unwrap(), [1.0, 5.0, 0.5]);
        assert!(by_label(weights, &names[..2]).is_err());
        let again = serde_json::to_string(&some).unwrap();
        assert_eq!(read(&again).unwrap(), some);
        let message = read("3").unwrap_err().to_string();
        assert!(
            message.contains("\"balanced\" or weights by label"),
            "{message}"
        );
    }

    #[test]
    fn a_balanced_weight_makes_both_sides_count_alike() {
        struct Sets(Vec<Vec<u32>>);
        impl Rows for Sets {
            fn rows(&self) -> usize {
                self.0.len()
            }
            fn ids(&self, _: usize) -> &[u32] {
                &[]
            }
            fn type_ids(&self, _: usize) -> &[u8] {
                &[]
            }
            fn label(&self, _: usize) -> Option<u32> {
                None
            }
            fn labels(&self, row: usize) -> Option<&[u32]> {
                Some(&self.0[row])
            }
            fn id(&self, row: usize) -> u64 {
                row as u64
            }
        }
        let rows = Sets(vec![vec![0], vec![0, 1], vec![0], vec![]]);
        assert_eq!(balanced(&rows, 3), [1.0 / 3.0, 3.0, 1.0]);
        let rows = Sets(vec![vec![0], vec![0]]);
        assert_eq!(
            balanced(&rows, 1),
            [1.0],
            "what every row has is learned too"
        );
    }
}
