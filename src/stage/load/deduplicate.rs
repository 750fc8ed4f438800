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
use crate::table::read::Raw;
use crate::table::{Answer, near};

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
                format!("{threshold} is not from {} to 1", near::LOWEST),
                "write 0.9, which takes texts for the same that differ in a word of ten or so",
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
            let lessons = lessons(files);
            let other_label = first.iter().enumerate().filter(|&(row, first)| {
                first.is_some_and(|first| lessons.get(row) != lessons.get(first))
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
            let others: Vec<Row> = left.into_values().flatten().collect();
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

    /// For each row an earlier one that it is the same as.
    fn first_of_each(&self, rows: &[Row]) -> Vec<Option<usize>> {
        if self.by == Sameness::Near {
            let found = near::near_duplicates(&borrowed(&joined(rows)), self.threshold());
            return found.into_iter().map(|found| Some(found?.0)).collect();
        }
        let mut met = HashMap::new();
        let found = rows.iter().enumerate().map(|(number, row)| {
            let first = *met.entry(self.key(row)).or_insert(number);
            (first != number).then_some(first)
        });
        found.collect()
    }

    /// Whether each row is none of the others.
    fn not_among(&self, rows: &[Row], others: &[Row]) -> Vec<bool> {
        if self.by == Sameness::Near {
            let (rows, others) = (joined(rows), joined(others));
            let found = near::between(&borrowed(&others), &borrowed(&rows), self.threshold());
            return found.iter().map(Option::is_none).collect();
        }
        let others: HashSet<Row> = others.iter().map(|row| self.key(row)).collect();
        rows.iter()
            .map(|row| !others.contains(&self.key(row)))
            .collect()
    }

    fn threshold(&self) -> f64 {
        self.threshold.unwrap_or(THRESHOLD)
    }

    fn key(&self, (text, pair): &Row) -> Row {
        let form = |text: &String| match self.by {
            Sameness::Normalised => near::normalised(text),
            Sameness::Exact | Sameness::Near => text.clone(),
        };
        (form(text), pair.as_ref().map(form))
    }
}

/// A text, with its pair or context.
type Row = (String, Option<String>);

fn joined(rows: &[Row]) -> Vec<String> {
    let both = rows.iter().map(|(text, pair)| match pair {
        Some(pair) => format!("{text}\n{pair}"),
        None => text.clone(),
    });
    both.collect()
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn texts(files: &[Raw]) -> Vec<Row> {
    let mut all = Vec::new();
    for raw in files {
        let texts = raw.texts().map(str::to_owned);
        match raw.text_pairs() {
            Some(pairs) => all.extend(texts.zip(pairs.map(|pair| Some(pair.to_owned())))),
            None => all.extend(texts.zip(std::iter::repeat(None))),
        }
    }
    all
}

/// What a row teaches, as its file writes it.
#[derive(Debug, PartialEq)]
enum Lesson<'r> {
    Nothing,
    Label(&'r str),
    Labels(Vec<&'r str>),
    Target(&'r [f64]),
    Tags(Vec<&'r str>),
    Answers(Vec<Answer<&'r str>>),
}

fn lessons(files: &[Raw]) -> Vec<Lesson<'_>> {
    let mut all = Vec::new();
    for raw in files {
        if let Some(labels) = raw.labels() {
            all.extend(labels.map(Lesson::Label));
        } else if let Some(lists) = raw.label_lists() {
            all.extend(lists.map(|mut labels| {
                labels.sort_unstable();
                Lesson::Labels(labels)
            }));
        } else if let Some(targets) = raw.targets() {
            all.extend(targets.iter().map(|target| Lesson::Target(target)));
        } else if let Some(tags) = raw.tags() {
            all.extend(tags.map(Lesson::Tags));
        } else if let Some(answers) = raw.answers() {
            all.extend(answers.map(Lesson::Answers));
        } else {
            all.extend((0..raw.len()).map(|_| Lesson::Nothing));
        }
    }
    all
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
