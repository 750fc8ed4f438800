//! Rows that say what another row says: which of them stay.
//!
//! A row is its text, with its pair or context; its label does not count. The first of several stays, by the order of the
//! files. Rows of `train` that another split has too leave `train`, so that nothing is scored that was learnt by heart.
//!
//! Deliberately absent: the search for near duplicates, which is [`near`](crate::table::near)'s.

use std::collections::{BTreeMap, HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stage::Fault;
use crate::table::near;
use crate::table::read::Raw;

/// What to do about rows that occur more than once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deduplicate {
    /// When two rows are the same.
    #[serde(default)]
    pub by: Sameness,
    /// How much two texts share that are the same, for `by = "near"`: of all runs of five characters that either has, the share
    /// that both have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.1, max = 1.0), default = "nine_tenths")]
    pub threshold: Option<f64>,
    /// Whether rows of `train` leave it that stand in the files of another split too.
    #[serde(default = "yes")]
    pub across: bool,
}

fn yes() -> bool {
    true
}

fn nine_tenths() -> Option<f64> {
    Some(THRESHOLD)
}

const THRESHOLD: f64 = 0.9;

/// When two rows are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sameness {
    /// Letter for letter.
    #[default]
    Exact,
    /// Without regard to capitals, punctuation and white space.
    Normalised,
    /// When they share most of their characters in a row: typing errors and changed numbers apart.
    Near,
}

impl Deduplicate {
    pub(super) fn faults(&self) -> Vec<Fault> {
        match self.threshold {
            Some(_) if self.by != Sameness::Near => vec![Fault::new(
                "deduplicate.threshold",
                "only `by = \"near\"` has a threshold",
                "remove it, or set `by = \"near\"`",
            )],
            Some(threshold) if !(near::LOWEST..=1.0).contains(&threshold) => vec![Fault::new(
                "deduplicate.threshold",
                format!("not from {} to 1", near::LOWEST),
                "0.9 takes texts for the same that differ in a word of ten or so",
            )],
            _ => Vec::new(),
        }
    }

    /// Leaves rows out of every split, and says what was done, a line each.
    pub(super) fn apply(&self, splits: &mut BTreeMap<String, Vec<Raw>>) -> Vec<String> {
        let mut told = Vec::new();
        let mut left = BTreeMap::new();
        for (split, files) in splits.iter_mut() {
            let mut texts = texts(files);
            let first = self.first_of_each(&texts);
            let labels: Vec<&str> = labels(files);
            let other_label = first.iter().enumerate().filter(|&(row, first)| {
                first.is_some_and(|first| labels.get(row) != labels.get(first))
            });
            let other_label = other_label.count();
            let stays: Vec<bool> = first.iter().map(Option::is_none).collect();
            let gone = stays.iter().filter(|stays| !**stays).count();
            keep(files, &stays);
            let mut stays = stays.into_iter();
            texts.retain(|_| stays.next().unwrap_or(true));
            left.insert(split.clone(), texts);
            if gone > 0 {
                let mut line = format!("{split}: left out {gone} repeated rows");
                if other_label > 0 {
                    line.push_str(&format!(", {other_label} of them with another label"));
                }
                told.push(line);
            }
        }
        if self.across
            && let (Some(train), Some(files)) = (left.remove("train"), splits.get_mut("train"))
        {
            let others: Vec<String> = left.into_values().flatten().collect();
            let stays = self.not_among(&train, &others);
            let gone = stays.iter().filter(|stays| !**stays).count();
            keep(files, &stays);
            if gone > 0 {
                told.push(format!(
                    "train: left out {gone} rows that another split has too"
                ));
            }
        }
        told
    }

    /// For each text an earlier one that it is the same as.
    fn first_of_each(&self, texts: &[String]) -> Vec<Option<usize>> {
        if self.by == Sameness::Near {
            let found = near::near_duplicates(&borrowed(texts), self.threshold());
            return found.into_iter().map(|found| Some(found?.0)).collect();
        }
        let mut met = HashMap::new();
        let found = texts.iter().enumerate().map(|(row, text)| {
            let first = *met.entry(self.key(text)).or_insert(row);
            (first != row).then_some(first)
        });
        found.collect()
    }

    /// Whether each text is none of the others.
    fn not_among(&self, texts: &[String], others: &[String]) -> Vec<bool> {
        if self.by == Sameness::Near {
            let found = near::between(&borrowed(others), &borrowed(texts), self.threshold());
            return found.iter().map(Option::is_none).collect();
        }
        let others: HashSet<String> = others.iter().map(|text| self.key(text)).collect();
        texts
            .iter()
            .map(|text| !others.contains(&self.key(text)))
            .collect()
    }

    fn threshold(&self) -> f64 {
        self.threshold.unwrap_or(THRESHOLD)
    }

    fn key(&self, text: &str) -> String {
        match self.by {
            Sameness::Normalised => near::normalised(text),
            Sameness::Exact | Sameness::Near => text.to_owned(),
        }
    }
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// The texts of a split's rows, each with its pair.
fn texts(files: &[Raw]) -> Vec<String> {
    let mut all = Vec::new();
    for raw in files {
        match raw.text_pairs() {
            Some(pairs) => {
                let both = raw.texts().zip(pairs);
                all.extend(both.map(|(text, pair)| format!("{text}\n{pair}")));
            }
            None => all.extend(raw.texts().map(str::to_owned)),
        }
    }
    all
}

/// The one label of each row, where there is one.
fn labels(files: &[Raw]) -> Vec<&str> {
    let labels = files.iter().filter_map(Raw::labels);
    labels.flatten().collect()
}

fn keep(files: &mut [Raw], stays: &[bool]) {
    let mut rest = stays;
    for raw in files {
        let (own, others) = rest.split_at(raw.len().min(rest.len()));
        if own.contains(&false) {
            raw.keep(own);
        }
        rest = others;
    }
}
