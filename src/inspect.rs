//! A look at a data set before a model learns from it: what is in it, and what is wrong with it.
//!
//! [`inspect`] takes the rows of all splits and the facts that other work knows about them, and gives numbers for each split
//! and a list of [`Finding`]s, each with the rows it is about and what to write into the spec. Each group of checks is a file:
//! [`appearance`] (what is in the texts), [`duplicates`], [`classes`], [`leak`], [`lengths`], [`spans`] (tags and answers).
//!
//! Promise: a finding is true when its rows are read, and equal rows give an equal inspection, whatever the number of threads.
//! Thresholds are constants with a reason beside each. Nothing is changed.
//!
//! Deliberately absent: files, specs, and tokenizers; the caller brings their facts.

mod appearance;
mod classes;
mod duplicates;
mod leak;
mod lengths;
mod render;
mod spans;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::table::Texts;

pub use lengths::Lengths;
pub use render::render;

/// How many ids of rows a finding names.
pub const ROWS_NAMED: usize = 20;
/// How many examples a finding shows.
const EXAMPLES: usize = 5;
/// Characters of a text that an example shows.
const EXAMPLE_CHARACTERS: usize = 80;
/// The split that a model learns from.
const TRAIN: &str = "train";

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The name of the stage that loads the rows, for the advice.
    pub load: &'a str,
    pub splits: &'a BTreeMap<String, Texts<&'a str>>,
    /// The names behind `label`, `labels` and `tags`.
    pub label_names: Option<&'a [String]>,
    pub target_names: Option<&'a [String]>,
    /// Of each split the tokens in each row before anything is cut. Empty where there is no tokenizer.
    pub tokens: &'a BTreeMap<String, Vec<u32>>,
    /// How many tokens of a row a model sees.
    pub max_length: Option<usize>,
    /// The rows that loading left out because they are broken.
    pub left_out: &'a [LeftOut],
}

/// Rows that loading left out for one reason.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    pub split: String,
    /// [`Code::TagMisalignment`], [`Code::AnswerMismatch`] or [`Code::InvalidRow`].
    pub code: Code,
    pub reason: String,
    pub count: usize,
    /// The numbers of some of them in the file.
    pub rows: Vec<u64>,
}

/// The kinds of flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    EmptyText,
    DuplicateRow,
    ConflictingLabel,
    SplitOverlap,
    NearOverlap,
    RareLabel,
    Imbalance,
    Truncation,
    SuspiciousEncoding,
    Markup,
    TagMisalignment,
    AnswerMismatch,
    ConstantColumn,
    LabelLeak,
    LengthShift,
    /// Loading left the row out, because it lacks a value or has one of the wrong sort.
    InvalidRow,
}

impl Code {
    pub const ALL: [Code; 16] = [
        Code::EmptyText,
        Code::DuplicateRow,
        Code::ConflictingLabel,
        Code::SplitOverlap,
        Code::NearOverlap,
        Code::RareLabel,
        Code::Imbalance,
        Code::Truncation,
        Code::SuspiciousEncoding,
        Code::Markup,
        Code::TagMisalignment,
        Code::AnswerMismatch,
        Code::ConstantColumn,
        Code::LabelLeak,
        Code::LengthShift,
        Code::InvalidRow,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Code::EmptyText => "empty_text",
            Code::DuplicateRow => "duplicate_row",
            Code::ConflictingLabel => "conflicting_label",
            Code::SplitOverlap => "split_overlap",
            Code::NearOverlap => "near_overlap",
            Code::RareLabel => "rare_label",
            Code::Imbalance => "imbalance",
            Code::Truncation => "truncation",
            Code::SuspiciousEncoding => "suspicious_encoding",
            Code::Markup => "markup",
            Code::TagMisalignment => "tag_misalignment",
            Code::AnswerMismatch => "answer_mismatch",
            Code::ConstantColumn => "constant_column",
            Code::LabelLeak => "label_leak",
            Code::LengthShift => "length_shift",
            Code::InvalidRow => "invalid_row",
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    pub splits: BTreeMap<String, Summary>,
    /// By code, then by split.
    pub findings: Vec<Finding>,
}

/// One split in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    pub rows: usize,
    /// How many rows have each label or tag; of questions, how many have an answer (`answerable`) or none (`unanswerable`).
    pub classes: BTreeMap<String, usize>,
    /// Words in a row, its text and its pair together: what stands between white space.
    pub words: Lengths,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
}

/// Tokens in a row, before anything is cut.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tokens {
    #[serde(flatten)]
    pub lengths: Lengths,
    /// How many of all rows are longer than a model sees, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated_share: Option<f64>,
}

/// One flaw of one split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    pub code: Code,
    pub split: String,
    /// The split that `split` is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
    /// How many rows are concerned; of `rare_label`, how many labels.
    pub count: usize,
    /// The ids of the first rows concerned, at most [`ROWS_NAMED`]. Of rows that were left out, their numbers in the file.
    pub rows: Vec<u64>,
    /// What was found, in a sentence.
    pub message: String,
    /// What to do, in the words of the spec.
    pub advice: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
    /// The numbers that the finding rests on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<&'static str, f64>,
}

impl Finding {
    /// A finding about these rows of a split.
    fn about(code: Code, split: &str, texts: &Texts<&str>, rows: &[usize]) -> Finding {
        Finding {
            code,
            split: split.to_owned(),
            against: None,
            count: rows.len(),
            rows: ids(texts, rows),
            message: String::new(),
            advice: String::new(),
            examples: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }

    fn saying(mut self, message: impl Into<String>, advice: impl Into<String>) -> Finding {
        (self.message, self.advice) = (message.into(), advice.into());
        self
    }

    fn against(mut self, split: &str) -> Finding {
        self.against = Some(split.to_owned());
        self
    }

    fn showing(mut self, examples: impl IntoIterator<Item = String>) -> Finding {
        self.examples = examples.into_iter().take(EXAMPLES).collect();
        self
    }

    fn with(mut self, name: &'static str, number: f64) -> Finding {
        self.numbers.insert(name, number);
        self
    }
}

/// Looks at a data set. Takes about a second for 100,000 short rows.
pub fn inspect(facts: &Facts) -> Inspection {
    let checks = [
        appearance::findings,
        duplicates::findings,
        classes::findings,
        leak::findings,
        lengths::findings,
        spans::findings,
    ];
    let mut findings: Vec<Finding> = checks.iter().flat_map(|check| check(facts)).collect();
    findings.sort_by(|a, b| (a.code, order(&a.split)).cmp(&(b.code, order(&b.split))));
    let summary = |(name, texts): (&String, &Texts<&str>)| {
        let summary = Summary {
            rows: texts.len(),
            classes: classes::named_counts(facts, texts),
            words: Lengths::of(&lengths::words(texts)),
            tokens: facts
                .tokens
                .get(name)
                .map(|tokens| lengths::tokens(tokens, facts.max_length)),
        };
        (name.clone(), summary)
    };
    Inspection {
        splits: facts.splits.iter().map(summary).collect(),
        findings,
    }
}

/// `train` first.
fn order(split: &str) -> (bool, &str) {
    (split != TRAIN, split)
}

fn ids(texts: &Texts<&str>, rows: &[usize]) -> Vec<u64> {
    let ids = rows.iter().filter_map(|&row| texts.id.get(row).copied());
    ids.take(ROWS_NAMED).collect()
}

/// The numbers of the rows that are not copies made by augmentation.
fn originals<'a>(texts: &'a Texts<&str>) -> impl Iterator<Item = usize> + 'a {
    (0..texts.len()).filter(|&row| texts.copy.get(row).is_none_or(|&copy| copy == 0))
}

/// The label or labels of a row; none of tagged words.
fn labels<'a>(texts: &'a Texts<&str>, row: usize) -> &'a [u32] {
    let one = texts.label.as_ref().and_then(|labels| labels.get(row));
    let several = texts.labels.as_ref().and_then(|labels| labels.get(row));
    match (one, several) {
        (Some(one), _) => std::slice::from_ref(one),
        (None, several) => several.map_or(&[], Vec::as_slice),
    }
}

/// The beginning of a text, on one line.
fn excerpt(text: &str) -> String {
    let line = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c => c,
    };
    let mut shown: String = text.chars().take(EXAMPLE_CHARACTERS).map(line).collect();
    if text.chars().nth(EXAMPLE_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

/// The beginnings of some rows' texts.
fn excerpts(texts: &Texts<&str>, rows: &[usize]) -> Vec<String> {
    let rows = rows.iter().filter_map(|&row| texts.text.get(row));
    rows.take(EXAMPLES).map(|text| excerpt(text)).collect()
}

/// `1 row`, `2 rows`.
fn counted(number: usize, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

/// 0.0123 → `1.2 %`.
fn percent(share: f64) -> String {
    let digits = if share < 0.001 { 2 } else { 1 };
    format!("{:.digits$} %", 100.0 * share)
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests;
