//! What `load` tells about the rows it read: how many there are of what, and what would make scores lie.
//!
//! Deliberately absent: errors. Nothing here stops a run.

use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::Scheme;
use crate::stage::Progress;
use crate::table::read::{Raw, Skipped};
use crate::table::{self, Texts};

/// What is known about the whole table.
pub(super) struct Facts<'a> {
    pub(super) labels: Option<&'a [String]>,
    pub(super) targets: Option<&'a [String]>,
    /// Those of the labels that no training file has.
    pub(super) added: &'a BTreeSet<String>,
    /// The scheme that the tags follow.
    pub(super) scheme: Option<Scheme>,
}

/// Says how many rows were left out of each split, and why.
pub(super) fn skipped(progress: &dyn Progress, splits: &BTreeMap<String, Vec<Raw>>) {
    for (split, files) in splits {
        let mut reasons = BTreeMap::<&str, Skipped>::new();
        for (reason, skipped) in files.iter().flat_map(|raw| &raw.skipped) {
            let first = || Skipped {
                rows: 0,
                first: skipped.first.clone(),
                numbers: Vec::new(),
            };
            reasons.entry(reason).or_insert_with(first).rows += skipped.rows;
        }
        for (reason, skipped) in reasons {
            let (count, first) = (rows(skipped.rows), skipped.first);
            progress.say(&format!(
                "left out {count} of {split} {reason}; the first: {first}"
            ));
        }
    }
}

/// Says what was loaded, and warns of what would make scores lie.
pub(super) fn loaded(
    progress: &dyn Progress,
    facts: &Facts,
    splits: &BTreeMap<String, Texts<&str>>,
) {
    let sizes = splits
        .iter()
        .map(|(name, texts)| format!("{name} {}", texts.len()))
        .collect::<Vec<_>>()
        .join(", ");
    let Some(train) = splits.get("train") else {
        return;
    };
    progress.say(&format!("rows: {sizes}; {}", gold(facts, train)));

    for (name, texts) in splits {
        let blank = |row: &usize| {
            texts.row(*row).is_some_and(|(text, pair)| {
                text.trim().is_empty() || pair.is_some_and(|pair| pair.trim().is_empty())
            })
        };
        let empty = (0..texts.len()).filter(blank).collect::<Vec<_>>();
        if !empty.is_empty() {
            progress.warn(&format!(
                "{} of {name} ha{} an empty text: {}",
                rows(empty.len()),
                ve(empty.len()),
                first(texts, &empty)
            ));
        }
        let repeated = table::repeated(texts);
        if repeated > 0 {
            progress.say(&format!(
                "{} of {name} repeat{} an earlier text",
                rows(repeated),
                s(repeated)
            ));
        }
        if name != "train" {
            let twins = table::overlap(train, texts);
            if !twins.is_empty() {
                let found = twins.iter().map(|(row, _)| *row).collect::<Vec<_>>();
                let count = found.len();
                progress.warn(&format!(
                    "{} of {name} occur{} in train too, so scores on it are too good: {}",
                    rows(count),
                    s(count),
                    first(texts, &found)
                ));
            }
        }
    }
    if let Some(names) = facts.labels {
        let one = train.label.iter().flatten();
        let lists = train
            .labels
            .iter()
            .flatten()
            .chain(train.tags.iter().flatten());
        let seen = one.chain(lists.flatten()).collect::<BTreeSet<_>>();
        let absent = names
            .iter()
            .zip(0_u32..)
            .filter(|(name, number)| !seen.contains(number) && !facts.added.contains(*name))
            .map(|(name, _)| name.as_str());
        let absent = absent.collect::<Vec<_>>();
        if !absent.is_empty() {
            progress.warn(&format!(
                "no row of train has the label {}, so it cannot be learned",
                absent.join(", ")
            ));
        }
        if train.label.is_some() && seen.len() == 1 {
            progress.warn("every row of train has the same label, so there is nothing to tell apart: check `columns.label`");
        }
    }
    for (number, name) in facts.targets.into_iter().flatten().enumerate() {
        let mut values = train.target.iter().flatten().map(|row| row.get(number));
        let first = values.next();
        if values.all(|value| Some(value) == first) {
            progress.warn(&format!(
                "every row of train has the same number as `{name}`, so there is nothing to learn: check `columns.target`"
            ));
        }
    }
}

/// What there is to learn.
fn gold(facts: &Facts, train: &Texts<&str>) -> String {
    let labels = facts.labels.unwrap_or_default().len();
    if let Some(words) = &train.words {
        let words = words.iter().map(Vec::len).sum::<usize>();
        let tags = match (&train.tags, facts.scheme) {
            (None, _) => "no tags".to_owned(),
            (_, None) => format!("{labels} tags"),
            (_, Some(scheme)) => format!("{labels} tags in the scheme {scheme}"),
        };
        return format!("{words} tokens to train on, {tags}");
    }
    if let Some(answers) = &train.answers {
        let without = answers.iter().filter(|answers| answers.is_empty()).count();
        let contexts = train.text_pair.iter().flatten().collect::<BTreeSet<_>>();
        return format!(
            "train asks about {} contexts, {without} of its questions without an answer",
            contexts.len()
        );
    }
    if let Some(lists) = &train.labels {
        let all = lists.iter().map(Vec::len).sum::<usize>();
        let each = all as f64 / lists.len().max(1) as f64;
        return format!("{labels} labels, {each:.2} a row of train");
    }
    if let Some(names) = facts.targets {
        return format!("to predict: {}", names.join(", "));
    }
    match facts.labels {
        Some(names) => format!("{} labels", names.len()),
        None => "no labels".to_owned(),
    }
}

fn rows(count: usize) -> String {
    if count == 1 {
        "1 row".to_owned()
    } else {
        format!("{count} rows")
    }
}

fn ve(count: usize) -> &'static str {
    if count == 1 { "s" } else { "ve" }
}

fn s(count: usize) -> &'static str {
    if count == 1 { "s" } else { "" }
}

/// The first three rows by id, with the beginning of their text.
fn first(texts: &Texts<&str>, found: &[usize]) -> String {
    let show = |&row: &usize| {
        let id = texts.id.get(row)?;
        let text = texts.text.get(row)?;
        let start = text.chars().take(40).collect::<String>();
        Some(if start.len() < text.len() {
            format!("row {id} {start:?}…")
        } else {
            format!("row {id} {start:?}")
        })
    };
    let shown = found
        .iter()
        .take(3)
        .filter_map(show)
        .collect::<Vec<_>>()
        .join(", ");
    if found.len() > 3 {
        format!("{shown}, …")
    } else {
        shown
    }
}
