//! How the rows are divided among labels, and columns that say nothing.
//!
//! Deliberately absent: imbalance of tags (most words are outside of every entity, and entities are scored by themselves) and
//! of questions.

use std::collections::{BTreeMap, BTreeSet};

use super::{Code, Facts, Finding, TRAIN, counted, percent, share};
use crate::table::Texts;

/// A label with fewer rows in train is not learnt: few-shot work begins at eight (Tunstall et al. 2022), and fine-tuning needs
/// more.
const FEW_TO_LEARN: usize = 10;
/// A label with fewer rows in another split is not scored: with ten, one row moves its recall by ten points.
const FEW_TO_SCORE: usize = 10;
/// The most frequent label with so many times the rows of the rarest: of two classes, the rarer then has at most a fifth, where
/// Google's "Machine Learning Crash Course" begins to speak of moderate imbalance.
const IMBALANCE: f64 = 4.0;
/// A split with fewer rows may have the same label throughout by chance.
const FEW_TO_BE_CONSTANT: usize = 10;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let trained = facts.splits.get(TRAIN).map(|train| counts(train));
    for (name, texts) in facts.splits {
        let counts = counts(texts);
        findings.extend(rare(facts, name, texts, &counts, trained.as_ref()));
        if name == TRAIN {
            findings.extend(imbalance(facts, name, texts, &counts));
        }
        findings.extend(constants(facts, name, texts));
    }
    findings
}

/// The labels of a row: one, several, or those of its words, each once.
fn numbers(texts: &Texts<&str>, row: usize) -> Vec<u32> {
    let tags = texts.tags.as_ref().and_then(|tags| tags.get(row));
    let own = super::labels(texts, row).iter();
    let mut numbers: Vec<u32> = own.chain(tags.into_iter().flatten()).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn name_of(facts: &Facts, number: u32) -> String {
    let names = facts.label_names.unwrap_or_default();
    let name = usize::try_from(number)
        .ok()
        .and_then(|place| names.get(place));
    name.cloned().unwrap_or_else(|| number.to_string())
}

/// The names of a row's labels.
pub(super) fn of_row(facts: &Facts, texts: &Texts<&str>, row: usize) -> Vec<String> {
    numbers(texts, row)
        .into_iter()
        .map(|number| name_of(facts, number))
        .collect()
}

/// How many rows have each label.
fn counts(texts: &Texts<&str>) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for row in 0..texts.len() {
        for number in numbers(texts, row) {
            *counts.entry(number).or_insert(0) += 1;
        }
    }
    counts
}

/// How many rows have each label, by name; of questions, how many have an answer.
pub(super) fn named_counts(facts: &Facts, texts: &Texts<&str>) -> BTreeMap<String, usize> {
    if let Some(answers) = &texts.answers {
        let answerable = answers.iter().filter(|answers| !answers.is_empty()).count();
        let both = [
            ("answerable", answerable),
            ("unanswerable", answers.len() - answerable),
        ];
        return both
            .into_iter()
            .map(|(name, rows)| (name.to_owned(), rows))
            .collect();
    }
    let counts = counts(texts).into_iter();
    counts
        .map(|(number, rows)| (name_of(facts, number), rows))
        .collect()
}

/// Labels with too few rows to learn or to score, that never occur in train, or that another split has and train has not.
fn rare(
    facts: &Facts,
    name: &str,
    texts: &Texts<&str>,
    counts: &BTreeMap<u32, usize>,
    trained: Option<&BTreeMap<u32, usize>>,
) -> Option<Finding> {
    if texts.label.is_none() && texts.labels.is_none() && texts.tags.is_none() {
        return None;
    }
    let (few, for_what) = match name == TRAIN {
        true => (FEW_TO_LEARN, "learn"),
        false => (FEW_TO_SCORE, "score"),
    };
    let mut rare: BTreeSet<u32> = counts
        .iter()
        .filter(|(_, rows)| **rows < few)
        .map(|(number, _)| *number)
        .collect();
    let known = facts.label_names.unwrap_or_default().len();
    let named = || {
        (0..u32::try_from(known).unwrap_or(u32::MAX)).filter(|number| !counts.contains_key(number))
    };
    let mut unlearnt = BTreeSet::new();
    match trained {
        _ if name == TRAIN => rare.extend(named()),
        Some(trained) => {
            unlearnt.extend(counts.keys().filter(|number| !trained.contains_key(number)));
            rare.extend(&unlearnt);
            // What train lacks is a finding of train; what train has and nothing can be scored by is one of this split.
            rare.extend(named().filter(|number| trained.contains_key(number)));
        }
        None => {}
    }
    if rare.is_empty() || texts.is_empty() {
        return None;
    }
    let rows: Vec<usize> = (0..texts.len())
        .filter(|&row| {
            numbers(texts, row)
                .iter()
                .any(|number| rare.contains(number))
        })
        .collect();
    let mut rarest: Vec<(usize, u32)> = rare
        .iter()
        .map(|number| (counts.get(number).copied().unwrap_or(0), *number))
        .collect();
    rarest.sort_unstable();
    let examples = rarest.into_iter().map(|(rows, number)| {
        let untaught = if unlearnt.contains(&number) {
            ", none in train"
        } else {
            ""
        };
        format!(
            "{}: {}{untaught}",
            name_of(facts, number),
            counted(rows, "row", "rows")
        )
    });
    let what = if texts.tags.is_some() {
        ("tag", "tags")
    } else {
        ("label", "labels")
    };
    let mut message = format!(
        "{} with fewer than {few} rows: too few to {for_what}",
        counted(rare.len(), what.0, what.1)
    );
    if !unlearnt.is_empty() {
        message.push_str(&format!(
            "; {} not in train",
            counted(unlearnt.len(), what.0, what.1)
        ));
    }
    let load = facts.load;
    let advice = match name == TRAIN {
        true => format!(
            "collect rows, merge such labels with `load.{load}.map`, or leave them out with `load.{load}.where`"
        ),
        false => format!(
            "merge such labels with `load.{load}.map`, or cut a larger split in `load.{load}.split`; do not read their scores one by one"
        ),
    };
    let mut finding = Finding::about(Code::RareLabel, name, texts, &rows)
        .saying(message, advice)
        .showing(examples);
    finding.count = rare.len();
    Some(finding)
}

fn imbalance(
    facts: &Facts,
    name: &str,
    texts: &Texts<&str>,
    counts: &BTreeMap<u32, usize>,
) -> Option<Finding> {
    if texts.label.is_none() && texts.labels.is_none() {
        return None;
    }
    let (most, major) = counts
        .iter()
        .map(|(number, rows)| (*rows, *number))
        .max_by_key(|(rows, number)| (*rows, std::cmp::Reverse(*number)))?;
    let (least, minor) = counts.iter().map(|(number, rows)| (*rows, *number)).min()?;
    let ratio = most as f64 / least.max(1) as f64;
    if ratio < IMBALANCE || major == minor {
        return None;
    }
    let rows: Vec<usize> = (0..texts.len())
        .filter(|&row| numbers(texts, row).contains(&minor))
        .collect();
    let baseline = match &texts.labels {
        // Always answering the most frequent set of labels.
        Some(labels) => {
            let mut sets: BTreeMap<&[u32], usize> = BTreeMap::new();
            for set in labels {
                *sets.entry(set).or_insert(0) += 1;
            }
            share(sets.into_values().max().unwrap_or(0), texts.len())
        }
        None => share(most, texts.len()),
    };
    let message = format!(
        "`{}` has {ratio:.1} times the rows of `{}` ({most} to {least}); always answering the most frequent gives an accuracy of {}",
        name_of(facts, major),
        name_of(facts, minor),
        percent(baseline)
    );
    let advice = "judge by `f1_macro` rather than accuracy; set the train stage's `loss.class_weights = \"balanced\"`, or use `oversample` or `undersample` in an augment stage";
    let finding = Finding::about(Code::Imbalance, name, texts, &rows).saying(message, advice);
    Some(
        finding
            .with("ratio", ratio)
            .with("baseline_accuracy", baseline),
    )
}

/// Columns that are the same in every row.
fn constants(facts: &Facts, name: &str, texts: &Texts<&str>) -> Vec<Finding> {
    if texts.len() < FEW_TO_BE_CONSTANT {
        return Vec::new();
    }
    fn same<T: PartialEq>(column: &[T]) -> bool {
        column
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a == b))
    }
    let is = |column: Option<bool>| column.unwrap_or(false);
    let tags = texts.tags.as_ref().map(|tags| {
        let mut tags = tags.iter().flatten();
        let first = tags.next();
        first.is_some() && tags.all(|tag| Some(tag) == first)
    });
    let columns = [
        ("text", texts.answers.is_none() && same(&texts.text)),
        (
            "text_pair",
            texts.answers.is_none() && is(texts.text_pair.as_deref().map(same)),
        ),
        ("label", is(texts.label.as_deref().map(same))),
        ("labels", is(texts.labels.as_deref().map(same))),
        ("tags", is(tags)),
    ];
    let mut constant: Vec<String> = columns
        .into_iter()
        .filter(|(_, same)| *same)
        .map(|(column, _)| column.to_owned())
        .collect();
    if let Some(targets) = &texts.target {
        let width = targets.first().map_or(0, Vec::len);
        for target in 0..width {
            let values: Vec<Option<&f64>> = targets.iter().map(|row| row.get(target)).collect();
            if same(&values) {
                let named = facts.target_names.and_then(|names| names.get(target));
                constant.push(
                    named.map_or_else(|| "target".to_owned(), |name| format!("target {name}")),
                );
            }
        }
    }
    let rows: Vec<usize> = (0..texts.len()).collect();
    let found = constant.into_iter().map(|column| {
        let message = format!("`{column}` is the same in every row");
        let load = facts.load;
        let advice = match column.as_str() {
            "text" | "text_pair" => format!("check the columns that `load.{load}` names; leave a pair that says nothing out"),
            _ => format!("nothing can be learnt or scored from it: check the columns of `load.{load}`, its `where`, and whether the file was cut while sorted by label"),
        };
        Finding::about(Code::ConstantColumn, name, texts, &rows).saying(message, advice).showing([column])
    });
    found.collect()
}
