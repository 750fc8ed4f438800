//! The same text more than once: in a split, with another label, and on both sides of a split.
//!
//! A row is what a model is given: the text and, where there is one, the text pair. Several questions about one context are
//! therefore no duplicates. Across splits it is the context that counts, because an answer learnt there is known. Copies made
//! by augmentation are left out of all of it.
//!
//! Deliberately absent: which of the rows is right.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;

use super::{Code, Facts, Finding, TRAIN, counted, excerpts, originals, percent, share};
use crate::table::{Answer, Texts, near};

/// From this similarity on two texts are nearly the same: about one word in twenty differs.
const NEAR: f64 = 0.9;
/// Two numbers for one text contradict each other when they are further apart than so many standard deviations of the
/// column: less is the scatter of any rating.
const TARGET_CONFLICT: f64 = 1.0;

/// So many different labels of one text are compared with another: a text with more is hardly a text.
const COMPARED: usize = 1000;

type Key<'a> = (&'a str, Option<&'a str>);

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let seen: BTreeMap<&str, HashMap<Key, Vec<usize>>> = facts
        .splits
        .iter()
        .map(|(name, texts)| (name.as_str(), by_key(texts)))
        .collect();
    let train = facts.splits.get(TRAIN).zip(seen.get(TRAIN));
    for (name, texts) in facts.splits {
        let Some(groups) = seen.get(name.as_str()) else {
            continue;
        };
        findings.extend(duplicates(facts, name, texts, groups));
        findings.extend(conflicts(facts, name, texts, groups));
        if let Some((train, trained)) = train.filter(|_| name != TRAIN) {
            findings.extend(conflicts_across(facts, name, texts, (train, trained)));
            findings.extend(overlaps(facts, name, texts, train));
        }
    }
    findings
}

fn key<'a>(texts: &Texts<&'a str>, row: usize) -> Option<Key<'a>> {
    let pair = texts
        .text_pair
        .as_ref()
        .and_then(|pairs| pairs.get(row).copied());
    texts.text.get(row).map(|text| (*text, pair))
}

/// The rows of each text, blank ones left out: they are another finding.
fn by_key<'a>(texts: &Texts<&'a str>) -> HashMap<Key<'a>, Vec<usize>> {
    let mut groups: HashMap<Key, Vec<usize>> = HashMap::with_capacity(texts.len());
    for row in originals(texts) {
        if let Some(key) = key(texts, row).filter(|(text, _)| !super::appearance::is_blank(text)) {
            groups.entry(key).or_default().push(row);
        }
    }
    groups
}

/// What a row is to be answered with, in any of the forms it comes in.
#[derive(PartialEq)]
struct Truth<'a> {
    label: Option<u32>,
    labels: Option<&'a [u32]>,
    target: Option<&'a [f64]>,
    tags: Option<&'a [u32]>,
    answers: Option<&'a [Answer<&'a str>]>,
}

fn truth<'a>(texts: &'a Texts<&'a str>, row: usize) -> Truth<'a> {
    fn list<T>(lists: &Option<Vec<Vec<T>>>, row: usize) -> Option<&[T]> {
        lists.as_ref()?.get(row).map(Vec::as_slice)
    }
    Truth {
        label: texts
            .label
            .as_ref()
            .and_then(|labels| labels.get(row).copied()),
        labels: list(&texts.labels, row),
        target: list(&texts.target, row),
        tags: list(&texts.tags, row),
        answers: list(&texts.answers, row),
    }
}

impl<'a> Truth<'a> {
    /// The same for equal truths only.
    fn identity(&self) -> impl Hash + Eq + use<'a> {
        let bits: Vec<u64> = self
            .target
            .unwrap_or_default()
            .iter()
            .map(|value| value.to_bits())
            .collect();
        let answers: Vec<(u32, &str)> = self
            .answers
            .unwrap_or_default()
            .iter()
            .map(|answer| (answer.start, answer.text))
            .collect();
        (self.label, self.labels, self.tags, bits, answers)
    }

    /// Whether both cannot be right. `spread`: the standard deviation of each target.
    fn contradicts(&self, other: &Truth, spread: &[f64]) -> bool {
        let (mine, theirs) = (
            self.target.unwrap_or_default(),
            other.target.unwrap_or_default(),
        );
        let apart =
            |((a, b), spread): ((&f64, &f64), &f64)| (a - b).abs() > TARGET_CONFLICT * spread;
        let (answers, others) = (
            self.answers.unwrap_or_default(),
            other.answers.unwrap_or_default(),
        );
        // Readers mark the same answer with more words or fewer.
        let touch = |a: &Answer<&str>, b: &Answer<&str>| {
            let end = |answer: &Answer<&str>| {
                u64::from(answer.start) + answer.text.chars().count() as u64
            };
            u64::from(a.start) < end(b) && u64::from(b.start) < end(a)
        };
        let agree = answers.iter().any(|a| others.iter().any(|b| touch(a, b)));
        self.label != other.label
            || self.labels != other.labels
            || self.tags != other.tags
            || mine.iter().zip(theirs).zip(spread).any(apart)
            || !(agree || answers.is_empty() && others.is_empty())
    }
}

/// The standard deviation of each target.
fn spread(texts: &Texts<&str>) -> Vec<f64> {
    let rows = texts.target.as_deref().unwrap_or_default();
    let targets = rows.first().map_or(0, Vec::len);
    let deviation = |target: usize| {
        let values: Vec<f64> = rows
            .iter()
            .filter_map(|row| row.get(target).copied())
            .collect();
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let squares = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>();
        (squares / values.len().max(1) as f64).sqrt()
    };
    (0..targets).map(deviation).collect()
}

/// Rows that say what an earlier row says, label and all.
fn duplicates(
    facts: &Facts,
    name: &str,
    texts: &Texts<&str>,
    groups: &HashMap<Key, Vec<usize>>,
) -> Option<Finding> {
    let mut rows = Vec::new();
    for group in groups.values().filter(|group| group.len() > 1) {
        let mut known = HashSet::new();
        rows.extend(
            group
                .iter()
                .filter(|&&row| !known.insert(truth(texts, row).identity())),
        );
    }
    rows.sort_unstable();
    if rows.is_empty() {
        return None;
    }
    let message = format!(
        "{} ({}) that say what an earlier row says, label and all",
        counted(rows.len(), "row", "rows"),
        percent(share(rows.len(), texts.len()))
    );
    let advice = format!(
        "set `load.{}.deduplicate = {{ by = \"exact\" }}`",
        facts.load
    );
    let finding = Finding::about(Code::DuplicateRow, name, texts, &rows).saying(message, advice);
    Some(finding.showing(excerpts(texts, &rows)))
}

/// Rows whose text stands in the split with another label too.
fn conflicts(
    facts: &Facts,
    name: &str,
    texts: &Texts<&str>,
    groups: &HashMap<Key, Vec<usize>>,
) -> Option<Finding> {
    let spread = spread(texts);
    let mut rows = Vec::new();
    for group in groups.values().filter(|group| group.len() > 1) {
        let mut kinds: Vec<Truth> = Vec::new();
        for &row in group {
            let truth = truth(texts, row);
            if kinds.len() < COMPARED && !kinds.contains(&truth) {
                kinds.push(truth);
            }
        }
        let contradicted = |row: &&usize| {
            let truth = truth(texts, **row);
            kinds.iter().any(|other| truth.contradicts(other, &spread))
        };
        rows.extend(group.iter().filter(contradicted));
    }
    rows.sort_unstable();
    if rows.is_empty() {
        return None;
    }
    let message = format!(
        "{} ({}) with the text of another row but not its label",
        counted(rows.len(), "row", "rows"),
        percent(share(rows.len(), texts.len()))
    );
    let finding =
        Finding::about(Code::ConflictingLabel, name, texts, &rows).saying(message, decide(facts));
    Some(finding.showing(labelled(facts, texts, &rows)))
}

fn decide(facts: &Facts) -> String {
    format!(
        "read them and correct their labels; `load.{load}.deduplicate = {{ by = \"exact\" }}` keeps the first of each, `load.{load}.where` leaves out what cannot be decided",
        load = facts.load
    )
}

/// Excerpts of conflicting rows, those of one text together and with their labels.
fn labelled(facts: &Facts, texts: &Texts<&str>, rows: &[usize]) -> Vec<String> {
    let Some(first) = rows.first().and_then(|&row| key(texts, row)) else {
        return Vec::new();
    };
    let (mut shown, others): (Vec<usize>, Vec<usize>) = rows
        .iter()
        .partition(|&&row| key(texts, row) == Some(first));
    shown.extend(others);
    let shown = shown.into_iter().take(super::EXAMPLES).map(|row| {
        let names = super::classes::of_row(facts, texts, row).join(", ");
        let text = texts
            .text
            .get(row)
            .map(|text| super::excerpt(text))
            .unwrap_or_default();
        match names.is_empty() {
            true => text,
            false => format!("{names}: {text}"),
        }
    });
    shown.collect()
}

/// Rows whose text stands in `train` with another label.
fn conflicts_across(
    facts: &Facts,
    name: &str,
    texts: &Texts<&str>,
    (train, trained): (&Texts<&str>, &HashMap<Key, Vec<usize>>),
) -> Option<Finding> {
    let spread = spread(train);
    let contradicted = |&row: &usize| {
        let known = key(texts, row).and_then(|key| trained.get(&key));
        let mine = truth(texts, row);
        // A row that agrees with one of several in train is a conflict of train.
        known.is_some_and(|known| {
            known
                .iter()
                .take(COMPARED)
                .all(|&known| mine.contradicts(&truth(train, known), &spread))
        })
    };
    let rows: Vec<usize> = originals(texts).filter(contradicted).collect();
    if rows.is_empty() {
        return None;
    }
    let message = format!(
        "{} with a text of train but not its label",
        counted(rows.len(), "row", "rows")
    );
    let advice = format!(
        "{}; with `across = true` no text stays on both sides",
        decide(facts)
    );
    let finding =
        Finding::about(Code::ConflictingLabel, name, texts, &rows).saying(message, advice);
    Some(
        finding
            .against(TRAIN)
            .showing(labelled(facts, texts, &rows)),
    )
}

/// Rows whose text stands in `train`, or nearly.
fn overlaps(facts: &Facts, name: &str, texts: &Texts<&str>, train: &Texts<&str>) -> Vec<Finding> {
    let load = facts.load;
    let contexts = texts.answers.is_some();
    let side = |texts: &Texts<&str>| -> Vec<(usize, String)> {
        let whole = |row: usize| {
            let (text, pair) = key(texts, row)?;
            let whole = match pair {
                Some(context) if contexts => context.to_owned(),
                // A character that stays, so that words do not pass from one side to the other.
                Some(pair) => format!("{text} = {pair}"),
                None => text.to_owned(),
            };
            (!super::appearance::is_blank(&whole)).then_some((row, whole))
        };
        originals(texts).filter_map(whole).collect()
    };
    let (trained, asked) = (side(train), side(texts));
    let known: HashSet<&str> = trained.iter().map(|(_, text)| text.as_str()).collect();
    let (same, other): (Vec<_>, Vec<_>) = asked
        .iter()
        .partition(|(_, text)| known.contains(text.as_str()));
    let what = if contexts { "context" } else { "text" };
    let apart = match contexts {
        true => format!(
            "set `load.{load}.split.group` to the column that names the document, so that a context stays on one side"
        ),
        false => format!("set `load.{load}.deduplicate = {{ by = \"exact\", across = true }}`"),
    };
    let mut findings = Vec::new();
    if !same.is_empty() {
        let rows: Vec<usize> = same.iter().map(|(row, _)| *row).collect();
        let message = format!(
            "{} ({}) with a {what} that is in train too: scores will flatter",
            counted(rows.len(), "row", "rows"),
            percent(share(rows.len(), texts.len()))
        );
        let finding =
            Finding::about(Code::SplitOverlap, name, texts, &rows).saying(message, apart.clone());
        findings.push(
            finding
                .against(TRAIN)
                .showing(excerpts(texts, &rows))
                .with("share", share(rows.len(), texts.len())),
        );
    }
    let learnt: Vec<&str> = trained.iter().map(|(_, text)| text.as_str()).collect();
    let compared: Vec<&str> = other.iter().map(|(_, text)| text.as_str()).collect();
    let near = near::between(&learnt, &compared, NEAR);
    let found: Vec<(usize, usize, f64)> = other
        .iter()
        .zip(near)
        .filter_map(|((row, _), near)| near.map(|(place, alike)| (*row, place, alike)))
        .collect();
    if !found.is_empty() {
        let rows: Vec<usize> = found.iter().map(|(row, _, _)| *row).collect();
        let message = format!(
            "{} ({}) with nearly a {what} of train: scores will flatter",
            counted(rows.len(), "row", "rows"),
            percent(share(rows.len(), texts.len()))
        );
        let advice = match contexts {
            true => apart,
            false => format!(
                "set `load.{load}.deduplicate = {{ by = \"near\", threshold = {NEAR}, across = true }}`"
            ),
        };
        let examples = found
            .iter()
            .take(super::EXAMPLES)
            .map(|(row, place, alike)| {
                let mine = asked
                    .iter()
                    .find(|(asked, _)| asked == row)
                    .map_or("", |(_, text)| text);
                let theirs = learnt.get(*place).copied().unwrap_or_default();
                format!(
                    "{alike:.2}: {} ~ {}",
                    super::excerpt(mine),
                    super::excerpt(theirs)
                )
            });
        let finding = Finding::about(Code::NearOverlap, name, texts, &rows)
            .saying(message, advice)
            .showing(examples);
        findings.push(
            finding
                .against(TRAIN)
                .with("threshold", NEAR)
                .with("share", share(rows.len(), texts.len())),
        );
    }
    findings
}
