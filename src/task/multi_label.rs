//! Any number of labels for each text: each is given from its own probability on.
//!
//! The probability of a label is the sigmoid of its output. A threshold is 0.5 unless the spec says otherwise; `"tuned"`
//! chooses for each label the one with the best F1 on the validation rows (Lipton et al. 2014,
//! <https://arxiv.org/abs/1402.1892>, on why 0.5 is rarely the best for F1). Of equally good ones it takes the nearest to
//! 0.5, so that a label which validation says little about is decided in the usual way.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::changes::Judged;
use super::classification::probabilities;
use super::predictions::{Recalled, numbering, rows_of_floats};
use super::{Answers, Asked, Decisive, Outcome, Reply, Rule, Scored, TaskError, of_every_row};
use crate::learn::Predictions;
use crate::metrics;
use crate::table::{Cells, NamedColumns};

/// Where nothing is said.
const USUAL: f64 = 0.5;

/// From where on an answer is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    Fixed(f64),
    /// What scores best on the validation rows.
    Tuned,
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Threshold::Fixed(threshold) => serializer.serialize_f64(*threshold),
            Threshold::Tuned => serializer.serialize_str("tuned"),
        }
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = Threshold;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number like 0.5 or \"tuned\"")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Threshold, E> {
                match word {
                    "tuned" => Ok(Threshold::Tuned),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_f64<E: de::Error>(self, threshold: f64) -> Result<Threshold, E> {
                Ok(Threshold::Fixed(threshold))
            }

            fn visit_u64<E: de::Error>(self, threshold: u64) -> Result<Threshold, E> {
                Ok(Threshold::Fixed(threshold as f64))
            }

            fn visit_i64<E: de::Error>(self, threshold: i64) -> Result<Threshold, E> {
                Ok(Threshold::Fixed(threshold as f64))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl JsonSchema for Threshold {
    fn schema_name() -> Cow<'static, str> {
        "Threshold".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, or `tuned` for the one that scores best on the validation rows.",
            "anyOf": [{ "type": "number" }, { "type": "string", "enum": ["tuned"] }],
        })
    }
}

struct LabelSets {
    names: Vec<String>,
    thresholds: Vec<f64>,
    predicted: Vec<Vec<u32>>,
    /// `[rows][labels]`.
    probabilities: Vec<Vec<f32>>,
}

pub(super) fn decide(rule: &Rule, outputs: &Predictions) -> impl Answers + use<> {
    decided(rule, outputs)
}

fn decided(rule: &Rule, outputs: &Predictions) -> LabelSets {
    let usual = || vec![USUAL; rule.names.len()];
    let thresholds = rule.thresholds.clone().unwrap_or_else(usual);
    let probabilities = sigmoids(outputs);
    let given = |row: &Vec<f32>| {
        let labels = (0_u32..).zip(row.iter().zip(&thresholds));
        let given =
            labels.filter(|(_, (probability, threshold))| f64::from(**probability) >= **threshold);
        given.map(|(label, _)| label).collect()
    };
    LabelSets {
        names: rule.names.clone(),
        predicted: probabilities.iter().map(given).collect(),
        probabilities,
        thresholds,
    }
}

impl Answers for LabelSets {
    fn scores(&self, asked: &Asked, loss: f64) -> Result<Scored, TaskError> {
        let labels = label_sets(asked)?;
        let scored =
            metrics::multi_label(&labels, &self.predicted, &self.probabilities, &self.names);
        let mut scored = Scored {
            flat: scored.flat(loss),
            details: scored.details(),
        };
        let tables = scored
            .details
            .get_mut("per_label")
            .and_then(Value::as_array_mut);
        for (table, &threshold) in tables.into_iter().flatten().zip(&self.thresholds) {
            table["threshold"] = threshold.into();
        }
        Ok(scored)
    }

    fn columns(&self, asked: &Asked) -> Vec<(String, Cells)> {
        let names = |labels: &[u32]| {
            let names = labels
                .iter()
                .filter_map(|&label| self.names.get(label as usize));
            Some(names.cloned().collect::<Vec<String>>())
        };
        let mut columns = Vec::new();
        if let Ok(labels) = of_every_row(asked, "labels", |row| asked.rows.labels(row)) {
            let labels = labels.into_iter().map(names).collect();
            columns.push(("labels".to_owned(), Cells::TextLists(labels)));
        }
        let predicted = self.predicted.iter().map(|labels| names(labels)).collect();
        columns.push(("predicted".to_owned(), Cells::TextLists(predicted)));
        columns.extend(probabilities(&self.names, &self.probabilities));
        columns
    }

    fn replies(&self, _: &Asked) -> Vec<Reply> {
        let answers = self.predicted.iter().zip(&self.probabilities);
        let reply = |(given, probabilities): (&Vec<u32>, &Vec<f32>)| Reply::Labels {
            probabilities: probabilities.clone(),
            given: given.iter().map(|&label| label as usize).collect(),
        };
        answers.map(reply).collect()
    }

    /// The probability of a set of labels is that of each label's being there or not, were they independent.
    fn outcomes(&self, asked: &Asked) -> Result<Vec<Option<Outcome>>, TaskError> {
        let labels = label_sets(asked)?;
        let answers = self.predicted.iter().zip(&self.probabilities);
        let outcome = |(labels, (given, probabilities)): (&Vec<u32>, (&Vec<u32>, &Vec<f32>))| {
            let each = (0_u32..).zip(probabilities);
            let each = each.map(|(label, &probability)| match given.contains(&label) {
                true => probability,
                false => 1.0 - probability,
            });
            Some(Outcome {
                right: labels == given,
                sure: each.product(),
            })
        };
        Ok(labels.iter().zip(answers).map(outcome).collect())
    }

    fn decisive(&self, _: &Asked, outputs: &Predictions, example: usize) -> Option<Decisive> {
        // Of outputs far above 0 the probabilities are all 1.
        let outputs = outputs.logits.get(example)?.iter().enumerate();
        let likeliest = outputs.rev().max_by(|a, b| a.1.total_cmp(b.1));
        let (label, _) = likeliest?;
        Some(Decisive {
            row: example,
            output: vec![(0, label)],
            name: self.names.get(label)?.clone(),
        })
    }
}

/// Rows of predictions, to be scored again. An answer is right if it has just the right labels, and as sure as its least sure
/// label, be that one which is given or one which is not.
pub(super) fn recall(columns: &NamedColumns) -> Option<Recalled> {
    let names = columns.after("probability_");
    let number = numbering(&names);
    let of = |column: &str| -> Option<Vec<Vec<u32>>> {
        let rows = columns.lists(column)?.into_iter();
        Some(
            rows.map(|row| row.into_iter().map(&number).collect())
                .collect(),
        )
    };
    let (labels, predicted) = (of("labels")?, of("predicted")?);
    let scores = rows_of_floats(columns, "probability_", &names)?;
    let judge = |((labels, predicted), scores): ((&Vec<u32>, &Vec<u32>), &Vec<f32>)| {
        let (right, given): (BTreeSet<_>, BTreeSet<_>) =
            (labels.iter().collect(), predicted.iter().collect());
        let sure = |(label, &score): (u32, &f32)| match given.contains(&label) {
            true => score,
            false => 1.0 - score,
        };
        Judged {
            right: right == given && !given.contains(&u32::MAX),
            confidence: (0..).zip(scores).map(sure).reduce(f32::min),
        }
    };
    let judged = labels.iter().zip(&predicted).zip(&scores).map(judge);
    Some(Recalled {
        gold: vec!["labels".to_owned()],
        judged: Some(judged.collect()),
        sample: metrics::sample_of_label_sets(&labels, &predicted, &scores, names),
    })
}

/// For each label the threshold with the best F1 for these outputs; of equals, the nearest to 0.5.
///
/// # Errors
/// A row without labels to compare with.
pub fn tuned_thresholds(
    rule: &Rule,
    outputs: &Predictions,
    asked: &Asked,
) -> Result<Vec<f64>, TaskError> {
    let (labels, probabilities) = (label_sets(asked)?, sigmoids(outputs));
    let of_label = |label: usize| {
        let right = labels.iter().map(|labels| labels.contains(&(label as u32)));
        let pairs = probabilities.iter().zip(right);
        best_threshold(pairs.filter_map(|(row, right)| Some((f64::from(*row.get(label)?), right))))
    };
    Ok((0..rule.names.len()).map(of_label).collect())
}

/// Candidates are the middles between neighbouring probabilities, 0.5, and where all or none would be given.
fn best_threshold(rows: impl Iterator<Item = (f64, bool)>) -> f64 {
    let mut rows: Vec<(f64, bool)> = rows.collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = rows.iter().filter(|(_, right)| *right).count() as f64;
    let (mut best, mut best_f1) = (USUAL, f64::NEG_INFINITY);
    let mut hits = 0.0;
    for given in 0..=rows.len() {
        if let Some((_, right)) = given.checked_sub(1).and_then(|last| rows.get(last)) {
            hits += f64::from(u8::from(*right));
        }
        let above = given.checked_sub(1).and_then(|last| rows.get(last));
        let below = rows.get(given);
        let (low, high) = (
            below.map_or(0.0, |row| row.0),
            above.map_or(1.0, |row| row.0),
        );
        if low >= high && given > 0 && given < rows.len() {
            continue;
        }
        // The middle is as far as can be from rows on either side; 0.5 is what a reader expects, where it does as well.
        let threshold = if low < USUAL && USUAL <= high {
            USUAL
        } else {
            (low + high) / 2.0
        };
        let f1 = if positives + given as f64 > 0.0 {
            2.0 * hits / (positives + given as f64)
        } else {
            0.0
        };
        let nearer = (threshold - USUAL).abs() < (best - USUAL).abs();
        if f1 > best_f1 || (f1 == best_f1 && nearer) {
            (best, best_f1) = (threshold, f1);
        }
    }
    best
}

fn label_sets(asked: &Asked) -> Result<Vec<Vec<u32>>, TaskError> {
    let labels = of_every_row(asked, "labels", |row| asked.rows.labels(row))?;
    Ok(labels.into_iter().map(<[u32]>::to_vec).collect())
}

fn sigmoids(outputs: &Predictions) -> Vec<Vec<f32>> {
    let sigmoid = |&output: &f32| (1.0 / (1.0 + (-f64::from(output)).exp())) as f32;
    let rows = outputs.logits.iter();
    rows.map(|row| row.iter().map(sigmoid).collect()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn f1(rows: &[(f64, bool)], threshold: f64) -> f64 {
        let given = rows.iter().filter(|(p, _)| *p >= threshold);
        let hits = given.clone().filter(|(_, right)| *right).count() as f64;
        let right = rows.iter().filter(|(_, right)| *right).count();
        let both = (given.count() + right) as f64;
        if both > 0.0 { 2.0 * hits / both } else { 0.0 }
    }

    proptest! {
        #[test]
        fn no_threshold_scores_better_than_the_tuned_one(
            rows in prop::collection::vec((0_u8..=20, any::<bool>()), 0..30),
        ) {
            let rows: Vec<(f64, bool)> = rows.into_iter().map(|(p, right)| (f64::from(p) / 20.0, right)).collect();
            let tuned = best_threshold(rows.iter().copied());
            for tried in 0..=100 {
                let tried = f64::from(tried) / 100.0 + 0.001;
                prop_assert!(f1(&rows, tuned) >= f1(&rows, tried) - 1e-12, "{tuned} against {tried}");
            }
        }
    }

    #[test]
    fn of_equally_good_thresholds_the_nearest_to_a_half_is_taken() {
        assert_eq!(best_threshold([(0.9, true), (0.1, false)].into_iter()), 0.5);
        assert_eq!(best_threshold([].into_iter()), 0.5);
        assert_eq!(best_threshold([(0.3, true), (0.1, false)].into_iter()), 0.2);
        assert_eq!(
            best_threshold([(0.9, false), (0.95, true)].into_iter()),
            0.925
        );
    }

    #[test]
    fn a_label_is_given_from_its_own_threshold_on() {
        let rule = Rule {
            task: super::super::Task::MultiLabel,
            names: ["a", "b", "c"].map(str::to_owned).to_vec(),
            thresholds: None,
            scheme: None,
            answers: Default::default(),
        };
        let outputs = Predictions {
            logits: vec![vec![0.0, -1.0, 2.0], vec![-0.1, -3.0, -9.0]],
        };
        assert_eq!(label_sets_of(&rule, &outputs), [vec![0, 2], vec![]]);
        let rule = Rule {
            thresholds: Some(vec![0.6, 0.2, 1.0]),
            ..rule
        };
        assert_eq!(label_sets_of(&rule, &outputs), [vec![1], vec![]]);
    }

    /// A row that nobody looks at.
    struct Unread;

    impl crate::learn::Rows for Unread {
        fn rows(&self) -> usize {
            1
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
        fn id(&self, _: usize) -> u64 {
            0
        }
    }

    #[test]
    fn the_likeliest_label_is_told_where_all_are_as_good_as_certain() {
        let rule = Rule {
            task: super::super::Task::MultiLabel,
            names: ["a", "b", "c"].map(str::to_owned).to_vec(),
            thresholds: None,
            scheme: None,
            answers: Default::default(),
        };
        let outputs = Predictions {
            logits: vec![vec![40.0, 41.0, 30.0]],
        };
        let asked = Asked {
            rows: &Unread,
            examples: None,
            places: None,
        };
        let decisive = decided(&rule, &outputs).decisive(&asked, &outputs, 0);
        assert_eq!(decisive.unwrap().name, "b");
    }

    fn label_sets_of(rule: &Rule, outputs: &Predictions) -> Vec<Vec<u32>> {
        decided(rule, outputs).predicted
    }

    #[test]
    fn a_threshold_is_a_number_or_tuned() {
        let read = |text: &str| serde_json::from_str::<Threshold>(text);
        assert_eq!(read("0.25").unwrap(), Threshold::Fixed(0.25));
        assert_eq!(read("1").unwrap(), Threshold::Fixed(1.0));
        assert_eq!(read("\"tuned\"").unwrap(), Threshold::Tuned);
        let message = read("\"best\"").unwrap_err().to_string();
        assert!(
            message.contains("a number like 0.5 or \"tuned\""),
            "{message}"
        );
        assert_eq!(
            serde_json::to_string(&Threshold::Tuned).unwrap(),
            "\"tuned\""
        );
    }
}
