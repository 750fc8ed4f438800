//! Which loss a task is trained with, and what it is trained to.
//!
//! The losses themselves are in `learn`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use super::{Task, TaskError};
use crate::learn::{BinaryCrossEntropy, CrossEntropy, Focal, Objective, Rows};
use crate::text::NONE;

/// What is minimised. Without it, the task's usual loss.
///
/// The loss of the validation rows during training is computed by the same formula, that of an evaluation is always the plain one,
/// so that evaluations of models that were trained in different ways compare.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LossSettings {
    /// The loss. Left out: `binary_cross_entropy` for several labels, `squared_error` for numbers, `cross_entropy` for all
    /// else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<LossName>,
    /// How much the rows that have a label count for it against those that have it not (`multi_label`): `"balanced"`, or by
    /// label, 1 for those not named. Use it where labels are rare and missing one is worse than giving one too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positive_weights: Option<PositiveWeights>,
    /// How much of each answer is spread over all labels alike (`cross_entropy`), so that the model does not become too sure of
    /// itself; 0.1 is usual. Use it where labels are noisy, or probabilities should be honest.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0, "default" = 0.0))]
    pub label_smoothing: f64,
    /// How much each label's rows (or words) count: `balanced` lets all labels count alike, however rare
    /// (`classification`, `token_classification`). Use it where the rare labels matter as much as the others; probabilities then
    /// are no longer those of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
    /// The same by label, in place of `class_weights`: `{ Sports = 2.0 }`, 1 for those not named. Use it where some mistakes
    /// cost more than others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("additionalProperties" = json!({ "type": "number", "exclusiveMinimum": 0.0 })))]
    pub weights: Option<BTreeMap<String, f64>>,
    /// `focal`: how fast an answer stops to count as the model becomes sure of it; 0 is the cross entropy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 20.0), extend("default" = GAMMA))]
    pub gamma: Option<f64>,
    /// `focal` of `multi_label`: the weight α of a label that a row has; one that it has not weighs 1 - α. The paper has 0.25.
    /// Left out: both weigh 1. Where labels exclude each other, `weights` are for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub alpha: Option<f64>,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// What is left of a row's loss where the model is sure, as in the paper.
const GAMMA: f64 = 2.0;

/// How much each label's rows count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// The number of rows over that of labels times that of rows with the label, as scikit-learn's `compute_class_weight` has
    /// it; 1 for a label that no row has.
    Balanced,
}

/// A loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossName {
    /// Minus the logarithm of the right answer's probability, for answers that exclude each other.
    CrossEntropy,
    /// The same for each label by itself, whatever the others are.
    BinaryCrossEntropy,
    /// Either of the two, in which an answer counts less the surer the model is of it (Lin et al., 2017): for many easy rows
    /// and few hard ones.
    Focal,
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
            LossName::Focal => "focal",
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
            Task::Classification => &[LossName::CrossEntropy, LossName::Focal],
            Task::QuestionAnswering => &[LossName::CrossEntropy],
            Task::MultiLabel => &[LossName::BinaryCrossEntropy, LossName::Focal],
            Task::TokenClassification => &[LossName::CrossEntropy, LossName::Crf, LossName::Focal],
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
        let focal = (loss.name == Some(LossName::Focal)).then(|| loss.gamma.unwrap_or(GAMMA));
        let classes = || -> Result<CrossEntropy, TaskError> {
            if loss.name == Some(LossName::Crf) {
                return Ok(CrossEntropy::default());
            }
            let class_weights = match (&loss.weights, loss.class_weights) {
                (Some(weights), _) => Some(by_label(weights, names, "loss.weights")?),
                (None, Some(ClassWeights::Balanced)) => {
                    Some(balanced_classes(&self.counts(rows, names.len())))
                }
                (None, None) => None,
            };
            Ok(CrossEntropy {
                class_weights,
                label_smoothing: loss.label_smoothing,
                focal,
            })
        };
        Ok(match self {
            Task::Classification => Objective::Label(classes()?),
            Task::MultiLabel => Objective::Labels(BinaryCrossEntropy {
                positive_weights: match &loss.positive_weights {
                    None => None,
                    Some(PositiveWeights::Balanced) => {
                        let with = self.counts(rows, names.len());
                        Some(balanced(&with, rows.rows()))
                    }
                    Some(PositiveWeights::ByLabel(weights)) => {
                        Some(by_label(weights, names, "loss.positive_weights")?)
                    }
                },
                focal: focal.map(|gamma| Focal {
                    gamma,
                    alpha: loss.alpha,
                }),
            }),
            Task::TokenClassification => Objective::Tags(classes()?),
            Task::QuestionAnswering => Objective::Answer,
            Task::Regression => Objective::Targets,
        })
    }

    /// How often each label stands in the rows, or each tag at a word.
    fn counts(self, rows: &dyn Rows, labels: usize) -> Vec<usize> {
        let mut counts = vec![0; labels];
        for row in 0..rows.rows() {
            let one: Vec<u32>;
            let found = match self {
                Task::TokenClassification => rows.tags(row).unwrap_or_default(),
                Task::MultiLabel => rows.labels(row).unwrap_or_default(),
                _ => {
                    one = rows.label(row).into_iter().collect();
                    &one
                }
            };
            for &label in found.iter().filter(|&&label| label != NONE) {
                if let Some(count) = counts.get_mut(label as usize) {
                    *count += 1;
                }
            }
        }
        counts
    }
}

/// How much a row of each label counts so that all labels count alike; 1 for one that no row has.
fn balanced_classes(counts: &[usize]) -> Vec<f32> {
    let all: usize = counts.iter().sum();
    let there = counts.iter().filter(|&&count| count > 0).count();
    let weight = |&count: &usize| match count {
        0 => 1.0,
        count => (all as f64 / (there * count) as f64) as f32,
    };
    counts.iter().map(weight).collect()
}

/// Rows without each label over rows with it; 1 for a label that no row has, or every row: 0 would be a loss that says
/// nothing about the label.
fn balanced(with: &[usize], rows: usize) -> Vec<f32> {
    let weight = |&with: &usize| match with {
        with if with == 0 || with == rows => 1.0,
        with => ((rows - with) as f64 / with as f64) as f32,
    };
    with.iter().map(weight).collect()
}

fn by_label(
    weights: &BTreeMap<String, f64>,
    names: &[String],
    field: &'static str,
) -> Result<Vec<f32>, TaskError> {
    if let Some(stranger) = weights.keys().find(|label| !names.contains(label)) {
        return Err(TaskError::UnknownLabel {
            label: stranger.clone(),
            field,
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
        assert_eq!(
            by_label(weights, &names, "loss.weights").unwrap(),
            [1.0, 5.0, 0.5]
        );
        assert!(by_label(weights, &names[..2], "loss.weights").is_err());
        let again = serde_json::to_string(&some).unwrap();
        assert_eq!(read(&again).unwrap(), some);
        let message = read("3").unwrap_err().to_string();
        assert!(
            message.contains("\"balanced\" or weights by label"),
            "{message}"
        );
    }

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
        fn label(&self, row: usize) -> Option<u32> {
            self.0[row].first().copied()
        }
        fn tags(&self, row: usize) -> Option<&[u32]> {
            Some(&self.0[row])
        }
        fn labels(&self, row: usize) -> Option<&[u32]> {
            Some(&self.0[row])
        }
        fn id(&self, row: usize) -> u64 {
            row as u64
        }
    }

    fn positive(rows: &Sets, labels: usize) -> Vec<f32> {
        balanced(&Task::MultiLabel.counts(rows, labels), rows.rows())
    }

    /// `compute_class_weight("balanced", classes=[0, 1, 2], y=[0, 0, 0, 1, 1, 2])` of scikit-learn 1.9.
    #[test]
    fn balanced_classes_weigh_what_scikit_learn_gives_them() {
        let rows = Sets([0, 1, 0, 2, 1, 0].map(|label| vec![label]).to_vec());
        let wanted = [2.0 / 3.0, 1.0, 2.0];
        let counts = Task::Classification.counts(&rows, 3);
        assert_eq!(balanced_classes(&counts), wanted);
        let words = Sets(vec![vec![NONE, 0, 1, NONE], vec![0, 2, 1, 0]]);
        let counts = Task::TokenClassification.counts(&words, 4);
        assert_eq!(balanced_classes(&counts), [wanted[0], 1.0, 2.0, 1.0]);
    }

    #[test]
    fn each_setting_of_a_loss_reaches_what_is_learned() {
        let rows = Sets(vec![vec![0], vec![1], vec![0]]);
        let names = ["a", "b"].map(str::to_owned);
        let of = |task: Task, settings: serde_json::Value| {
            let settings: LossSettings = serde_json::from_value(settings).unwrap();
            task.objective(&settings, &rows, &names)
        };
        for (task, settings) in [
            (Task::Classification, json!({ "label_smoothing": 0.1 })),
            (Task::Classification, json!({ "class_weights": "balanced" })),
            (Task::Classification, json!({ "weights": { "b": 2.0 } })),
            (Task::Classification, json!({ "name": "focal" })),
            (
                Task::TokenClassification,
                json!({ "name": "focal", "gamma": 1.0 }),
            ),
            (
                Task::TokenClassification,
                json!({ "weights": { "b": 2.0 } }),
            ),
            (Task::MultiLabel, json!({ "positive_weights": "balanced" })),
            (Task::MultiLabel, json!({ "name": "focal", "alpha": 0.25 })),
        ] {
            let plain = of(task, json!({})).unwrap();
            assert_ne!(of(task, settings.clone()).unwrap(), plain, "{settings}");
        }
        let gamma = |gamma: f64| {
            let settings = json!({ "name": "focal", "gamma": gamma });
            of(Task::MultiLabel, settings).unwrap()
        };
        assert_ne!(gamma(1.0), gamma(2.0));
        let stranger = of(Task::Classification, json!({ "weights": { "c": 2.0 } }));
        let told = stranger.unwrap_err().to_string();
        assert!(
            told.contains("loss.weights") && told.contains("`c`"),
            "{told}"
        );
    }

    #[test]
    fn a_balanced_weight_makes_both_sides_count_alike() {
        let rows = Sets(vec![vec![0], vec![0, 1], vec![0], vec![]]);
        assert_eq!(positive(&rows, 3), [1.0 / 3.0, 3.0, 1.0]);
        let rows = Sets(vec![vec![0], vec![0]]);
        assert_eq!(
            positive(&rows, 1),
            [1.0],
            "what every row has is learned too"
        );
    }
}
