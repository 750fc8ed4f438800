//! Where two models answer the same rows differently, and whether one of them is right more often.
//!
//! A row is *fixed* if A answers it wrongly and B rightly, *broken* the other way round, and *changed* if both are wrong in
//! different ways. What is right is the task's to say: the label; just the right labels; an exact match; all the tags of a
//! sentence. Another wording that matches as well changes nothing.
//!
//! Promise: rows are paired only where both files have the same ids in the same order, with the same answers for right. Whether
//! they are of one split is for who has their scores to say.
//!
//! Deliberately absent: the texts of the rows, which predictions do not keep, and answers that are numbers or texts, which
//! are nearer or farther and not right or wrong.

use serde::Serialize;
use serde_json::Value;

use super::predictions::Predictions;
use crate::metrics::mcnemar::{McNemar, mcnemar};
use crate::table::Cells;

/// What two models' answers to the same rows differ in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changes {
    pub test: McNemar,
    /// Broken rows, then fixed ones, then changed ones; of each, those first of which B is surer.
    pub rows: Vec<RowChange>,
}

/// A row that two models answer differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowChange {
    pub id: u64,
    /// What the file calls the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub change: Turn,
    /// The right answer: a label, labels, tags, or all answers that a question has.
    pub right: Value,
    pub a: Given,
    pub b: Given,
    /// Of rows whose words are tagged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Value>,
    /// What the row says; none until somebody who has the table fills it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
}

/// How the answer to a row turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// From right to wrong.
    Broken,
    /// From wrong to right.
    Fixed,
    /// From wrong to another wrong.
    Changed,
}

/// One model's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Given {
    pub answer: Value,
    /// From 0 to 1; of several labels or tags, that of the least sure.
    pub confidence: Option<f32>,
}

/// One answer beside what is right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Judged {
    pub right: bool,
    pub confidence: Option<f32>,
}

impl Predictions {
    /// How the answers of `other` differ from these.
    ///
    /// # Errors
    /// Why they cannot be set beside each other, in words.
    pub fn changes(&self, other: &Predictions) -> Result<Changes, String> {
        let names = |of: &Predictions| -> Vec<String> {
            of.gold.0.iter().map(|(name, _)| name.clone()).collect()
        };
        if names(self) != names(other) {
            return Err("A and B were asked for other things".to_owned());
        }
        let (Some(a), Some(b)) = (&self.judged, &other.judged) else {
            return Err(
                "answers that are numbers or texts are not simply right or wrong".to_owned(),
            );
        };
        if let Some(why) = self.why_other_rows(other) {
            return Err(why);
        }
        let (mut only_a, mut only_b, mut rows) = (0, 0, Vec::new());
        for (row, (a, b)) in a.iter().zip(b).enumerate() {
            let change = match (a.right, b.right) {
                (true, true) => continue,
                (true, false) => {
                    only_a += 1;
                    Turn::Broken
                }
                (false, true) => {
                    only_b += 1;
                    Turn::Fixed
                }
                (false, false) if self.answer(row) == other.answer(row) => continue,
                (false, false) => Turn::Changed,
            };
            let given = |of: &Predictions, judged: &Judged| Given {
                answer: of.answer(row),
                confidence: judged.confidence,
            };
            rows.push(RowChange {
                id: self.id(row),
                name: match self.told.get("name").map(|names| at(names, row)) {
                    Some(Value::String(name)) => Some(name),
                    _ => None,
                },
                change,
                right: self.right(row),
                a: given(self, a),
                b: given(other, b),
                words: self.told.get("words").map(|words| at(words, row)),
                text: None,
                text_pair: None,
            });
        }
        rows.sort_by(|a, b| {
            let sure = |row: &RowChange| row.b.confidence.unwrap_or(-1.0);
            let by_sureness = sure(b).total_cmp(&sure(a));
            a.change.cmp(&b.change).then(by_sureness)
        });
        Ok(Changes {
            test: mcnemar(only_a, only_b),
            rows,
        })
    }

    fn why_other_rows(&self, other: &Predictions) -> Option<String> {
        if self.same_rows(other) {
            return None;
        }
        let (in_a, in_b) = (self.sample.rows, other.sample.rows);
        if in_a != in_b {
            return Some(format!("A answered {in_a} rows and B {in_b}"));
        }
        let others = |differ: &dyn Fn(usize) -> bool| (0..in_a).filter(|&row| differ(row)).count();
        Some(match others(&|row| self.id(row) != other.id(row)) {
            0 => format!(
                "{} of the {in_a} rows have another right answer in B than in A",
                others(&|row| self.right(row) != other.right(row))
            ),
            ids => {
                format!("{ids} of the {in_a} rows have another id in B than in A, or another place")
            }
        })
    }

    fn id(&self, row: usize) -> u64 {
        match self.gold.get("id") {
            Some(Cells::Ids(ids)) => ids.get(row).copied().unwrap_or_default(),
            _ => row as u64,
        }
    }

    fn right(&self, row: usize) -> Value {
        let mut gold = self.gold.0.iter().filter(|(name, _)| name != "id");
        let found = gold.next().map(|(_, cells)| at(cells, row));
        found.unwrap_or_default()
    }

    fn answer(&self, row: usize) -> Value {
        let answers = self.told.get("predicted");
        answers.map(|cells| at(cells, row)).unwrap_or_default()
    }
}

/// One text, or list of texts; null for what is neither.
fn at(cells: &Cells, row: usize) -> Value {
    match cells {
        Cells::Texts(cells) => cells.get(row).cloned().flatten().into(),
        Cells::TextLists(cells) => cells.get(row).cloned().flatten().into(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests;
