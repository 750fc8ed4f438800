//! Labels that stand in their own texts, so that a model reads the answer off instead of learning it.
//!
//! That a label's name turns up in its texts is natural: articles about business say "business", and most texts of `love` say
//! "love". It is a leak when it stands there as a field does (`label: positive`, `[spam] …`, `… #sports` at either end), or in
//! nearly every row of the class and hardly any other. Both need many times the rate of the other classes.
//!
//! Deliberately absent: leaks by anything but the name, targets, tags, and answers (which stand in their contexts by design).

use std::collections::HashMap;

use rayon::prelude::*;

use super::{Code, Facts, Finding, counted, percent, share};
use crate::table::Texts;

/// From this share of a class on, the name as a field is no accident of style.
const AS_FIELD: f64 = 0.2;
/// From this share of a class on, the name as a word is no matter of the topic: among GoEmotions, "love" stands in two thirds
/// of the rows of `love`, and no name of a topic or intent that people wrote about comes near nine tenths.
const AS_WORD: f64 = 0.9;
/// The rate in the class must be so many times that of all other rows.
const TIMES_OTHERS: f64 = 10.0;
/// Fewer rows of a class than this show no rate.
const FEWEST_ROWS: usize = 10;
/// What people call the column of labels.
const FIELDS: [&str; 18] = [
    "answer",
    "category",
    "class",
    "classification",
    "emotion",
    "gold",
    "intent",
    "is",
    "label",
    "labels",
    "output",
    "polarity",
    "prediction",
    "rating",
    "result",
    "sentiment",
    "tag",
    "topic",
];

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let splits = facts.splits.iter();
    splits
        .filter_map(|(name, texts)| of_split(facts, name, texts))
        .collect()
}

/// The label's name in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stands {
    AsWord,
    AsField,
}

/// How many rows of a class have its name in one of the forms or a stronger one, and how many others have.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    own: usize,
    other: usize,
}

fn of_split(facts: &Facts, name: &str, texts: &Texts<&str>) -> Option<Finding> {
    if texts.label.is_none() && texts.labels.is_none() {
        return None;
    }
    let labels = facts.label_names?;
    let of_row = |row: usize| super::labels(texts, row);
    let names = Names::of(labels);
    let found: Vec<Vec<(usize, Stands)>> = (0..texts.len())
        .into_par_iter()
        .map(|row| {
            let (text, pair) = texts.row(row).unwrap_or_default();
            let mut found = names.within(text);
            found.extend(pair.map(|pair| names.within(pair)).unwrap_or_default());
            // The strongest form of each name.
            found.sort_unstable_by_key(|(label, stands)| (*label, std::cmp::Reverse(*stands)));
            found.dedup_by_key(|(label, _)| *label);
            found
        })
        .collect();
    let belongs = |row: usize, label: usize| of_row(row).iter().any(|&own| own as usize == label);
    let mut sizes = vec![0; labels.len()];
    for label in (0..texts.len()).flat_map(of_row) {
        if let Some(size) = sizes.get_mut(*label as usize) {
            *size += 1;
        }
    }
    let mut fields = vec![Tally::default(); labels.len()];
    let mut words = fields.clone();
    for (row, found) in found.iter().enumerate() {
        for &(label, stands) in found {
            let forms = [(Stands::AsField, &mut fields), (Stands::AsWord, &mut words)];
            for (_, tallies) in forms.into_iter().filter(|(form, _)| stands >= *form) {
                if let Some(tally) = tallies.get_mut(label) {
                    let side = if belongs(row, label) {
                        &mut tally.own
                    } else {
                        &mut tally.other
                    };
                    *side += 1;
                }
            }
        }
    }
    let mut leaks: Vec<Option<Stands>> = Vec::new();
    let mut examples = Vec::new();
    for (((label, size), field), word) in labels.iter().zip(sizes).zip(fields).zip(words) {
        let others = texts.len() - size.min(texts.len());
        let leak = |tally: Tally, least: f64| {
            let (mine, theirs) = (share(tally.own, size), share(tally.other, others));
            let leaks =
                size >= FEWEST_ROWS && others > 0 && mine >= least && mine >= TIMES_OTHERS * theirs;
            leaks.then_some((mine, theirs))
        };
        // Digits and single letters stand in texts for many reasons.
        let telling = label.chars().filter(|c| c.is_alphabetic()).count() > 1;
        let found = leak(field, AS_FIELD).map(|rates| (Stands::AsField, rates));
        let found = found.or_else(|| {
            leak(word, AS_WORD)
                .filter(|_| telling)
                .map(|rates| (Stands::AsWord, rates))
        });
        if let Some((_, (mine, theirs))) = found {
            examples.push(format!(
                "{label}: in {} of its rows, {} of others",
                percent(mine),
                percent(theirs)
            ));
        }
        leaks.push(found.map(|(form, _)| form));
    }
    let leaking = |row: &usize| {
        let found = found.get(*row).into_iter().flatten();
        let mut own = found.filter(|(label, _)| belongs(*row, *label));
        own.any(|(label, stands)| {
            leaks
                .get(*label)
                .copied()
                .flatten()
                .is_some_and(|form| *stands >= form)
        })
    };
    let rows: Vec<usize> = (0..texts.len()).filter(leaking).collect();
    if rows.is_empty() {
        return None;
    }
    let message = format!(
        "{} with the name of their label in the text ({})",
        counted(rows.len(), "row", "rows"),
        counted(examples.len(), "label", "labels")
    );
    let advice = format!(
        "strip it from the texts in the file behind `load.{}`, or name another column as `text`: a model would read it off",
        facts.load
    );
    examples.truncate(super::EXAMPLES - 1);
    examples.extend(super::excerpts(texts, &rows).into_iter().take(1));
    Some(
        Finding::about(Code::LabelLeak, name, texts, &rows)
            .saying(message, advice)
            .showing(examples),
    )
}

/// The words of all names, by the first of each.
struct Names {
    by_first: HashMap<String, Vec<(usize, Vec<String>)>>,
}

impl Names {
    fn of(labels: &[String]) -> Names {
        let mut by_first: HashMap<String, Vec<(usize, Vec<String>)>> = HashMap::new();
        for (label, name) in labels.iter().enumerate() {
            let words = words(name);
            if let Some(first) = words.first() {
                by_first
                    .entry(first.clone())
                    .or_default()
                    .push((label, words));
            }
        }
        Names { by_first }
    }

    /// Every place of every name in a text.
    fn within(&self, text: &str) -> Vec<(usize, Stands)> {
        let text = Marked::of(text);
        let mut found = Vec::new();
        for (place, word) in text.words.iter().enumerate() {
            for (label, name) in self.by_first.get(word).into_iter().flatten() {
                if text
                    .words
                    .get(place..)
                    .is_some_and(|rest| rest.starts_with(name))
                {
                    let field = text.is_field(place, name.len());
                    found.push((
                        *label,
                        if field {
                            Stands::AsField
                        } else {
                            Stands::AsWord
                        },
                    ));
                }
            }
        }
        found
    }
}

/// Lower-case words of letters and digits.
fn words(text: &str) -> Vec<String> {
    let words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// A text in words, with the marks between them.
struct Marked {
    words: Vec<String>,
    /// What stands before each word, and behind the last.
    gaps: Vec<String>,
}

impl Marked {
    fn of(text: &str) -> Marked {
        let (mut words, mut gaps) = (Vec::new(), vec![String::new()]);
        let mut inside = false;
        for c in text.chars() {
            match (c.is_alphanumeric(), inside) {
                (true, true) => words
                    .last_mut()
                    .map_or((), |word: &mut String| word.extend(c.to_lowercase())),
                (true, false) => words.push(c.to_lowercase().collect()),
                (false, true) => gaps.push(c.to_string()),
                (false, false) => gaps.last_mut().map_or((), |gap| gap.push(c)),
            }
            inside = c.is_alphanumeric();
        }
        if inside {
            gaps.push(String::new());
        }
        Marked { words, gaps }
    }

    /// `label: NAME` anywhere; and at the beginning or end of the text `[NAME]`, `(NAME)`, `#NAME`, `NAME:`, `NAME |`.
    fn is_field(&self, place: usize, length: usize) -> bool {
        let gap = |place: usize| self.gaps.get(place).map_or("", String::as_str);
        let (before, after) = (gap(place), gap(place + length));
        let named = place.checked_sub(1).and_then(|place| self.words.get(place));
        if before.contains([':', '=']) && named.is_some_and(|word| FIELDS.contains(&word.as_str()))
        {
            return true;
        }
        let opens = |gap: &str| {
            gap.trim_end()
                .ends_with(['[', '(', '<', '{', '#', '_', '|'])
        };
        let closes = |gap: &str| gap.starts_with([']', ')', '>', '}', ':', '|', '\t', '_']);
        let first = place == 0
            && (opens(before) || closes(after.trim_start_matches(' ')) || after.starts_with('\t'));
        let last = place + length == self.words.len() && (opens(before) || before.contains('\t'));
        first || last
    }
}

#[cfg(test)]
mod tests;
