//! What `load` tells about the rows it read: how many there are of what, and what would make scores lie.
//!
//! Rows are looked at once and not kept; those that are shown are read again from the table.
//!
//! Deliberately absent: errors. Nothing here stops a run.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use crate::metrics::Scheme;
use crate::stage::Progress;
use crate::table::read::{Raw, Skipped};
use crate::table::stored::StoredSplit;
use crate::table::twins::{Met, Twins, hash};
use crate::table::{TableError, Texts};

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

/// What the rows of each split are, as they go by.
pub(super) struct Report {
    /// In the order in which they were met, `train` before all.
    names: Vec<String>,
    splits: BTreeMap<String, Seen>,
    twins: Twins,
}

/// What was seen of a split.
#[derive(Default)]
struct Seen {
    rows: usize,
    /// Rows with an empty text, and the first of them.
    blank: usize,
    first_blank: Vec<(u64, String)>,
    /// Of all rows together.
    words: Option<usize>,
    tagged: bool,
    /// Of questions.
    unanswered: Option<usize>,
    /// Hashes of the contexts that `train` asks about.
    contexts: HashSet<[u64; 2]>,
    /// Labels of rows with any number of them.
    in_lists: Option<usize>,
    one_label: bool,
    labels: BTreeSet<u32>,
    /// For each target the first value, while it is the only one.
    targets: Option<Vec<Option<f64>>>,
}

/// Rows that are shown of many.
const SHOWN: usize = 3;

impl Seen {
    fn add(&mut self, texts: &Texts<&str>, is_train: bool) {
        self.rows += texts.len();
        for row in 0..texts.len() {
            let blank = texts.row(row).is_some_and(|(text, pair)| {
                text.trim().is_empty() || pair.is_some_and(|pair| pair.trim().is_empty())
            });
            self.blank += usize::from(blank);
            if blank && self.first_blank.len() < SHOWN {
                let id = texts.id.get(row).copied().unwrap_or_default();
                let text = texts.text.get(row).copied().unwrap_or_default();
                self.first_blank.push((id, text.to_owned()));
            }
        }
        if let Some(words) = &texts.words {
            *self.words.get_or_insert(0) += words.iter().map(Vec::len).sum::<usize>();
        }
        self.tagged |= texts.tags.is_some();
        if let Some(answers) = &texts.answers {
            let without = answers.iter().filter(|answers| answers.is_empty()).count();
            *self.unanswered.get_or_insert(0) += without;
            if is_train {
                let contexts = texts.text_pair.iter().flatten();
                self.contexts
                    .extend(contexts.map(|context| hash(Some((context, None)))));
            }
        }
        if let Some(lists) = &texts.labels {
            *self.in_lists.get_or_insert(0) += lists.iter().map(Vec::len).sum::<usize>();
        }
        self.one_label |= texts.label.is_some();
        let lists = texts.labels.iter().flatten();
        let lists = lists.chain(texts.tags.iter().flatten()).flatten();
        self.labels
            .extend(texts.label.iter().flatten().chain(lists));
        for row in texts.target.iter().flatten() {
            match &mut self.targets {
                None => self.targets = Some(row.iter().copied().map(Some).collect()),
                Some(targets) => {
                    for (only, value) in targets.iter_mut().zip(row) {
                        *only = only.filter(|only| only == value);
                    }
                }
            }
        }
    }
}

impl Report {
    /// What does not stay in memory goes to files without names in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Report {
            names: vec!["train".to_owned()],
            splits: BTreeMap::new(),
            twins: Twins::new(folder),
        }
    }

    /// Looks at the next rows of a split.
    ///
    /// # Errors
    /// What does not stay in memory cannot be written.
    pub(super) fn add(&mut self, split: &str, texts: &Texts<&str>) -> Result<(), TableError> {
        let known = self.names.iter().position(|name| name == split);
        let number = known.unwrap_or_else(|| {
            self.names.push(split.to_owned());
            self.names.len() - 1
        });
        let seen = self.splits.entry(split.to_owned()).or_default();
        seen.add(texts, number == 0);
        self.twins.add(number, texts)
    }

    /// Says what was loaded, and warns of what would make scores lie. The table's splits are in `folder`.
    ///
    /// # Errors
    /// What was written cannot be read again.
    pub(super) fn tell(
        self,
        progress: &dyn Progress,
        facts: &Facts,
        folder: &Path,
    ) -> Result<(), TableError> {
        let met = self.twins.met()?;
        let mut met: BTreeMap<String, Met> = self.names.into_iter().zip(met).collect();
        let sizes = self.splits.iter();
        let sizes = sizes.map(|(name, seen)| format!("{name} {}", seen.rows));
        let sizes = sizes.collect::<Vec<_>>().join(", ");
        let Some(train) = self.splits.get("train") else {
            return Ok(());
        };
        progress.say(&format!("rows: {sizes}; {}", gold(facts, train)));

        for (name, seen) in &self.splits {
            if seen.blank > 0 {
                progress.warn(&format!(
                    "{} of {name} ha{} an empty text: {}",
                    rows(seen.blank),
                    ve(seen.blank),
                    shown(&seen.first_blank, seen.blank)
                ));
            }
            let met = met.remove(name).unwrap_or_default();
            if met.repeated > 0 {
                progress.say(&format!(
                    "{} of {name} repeat{} an earlier text",
                    rows(met.repeated),
                    s(met.repeated)
                ));
            }
            if met.in_train > 0 {
                let split = StoredSplit::open(folder.join(format!("{name}.parquet")), seen.rows)?;
                let first = split.texts_of(&met.first)?;
                progress.warn(&format!(
                    "{} of {name} occur{} in train too, so scores on it are too good: {}",
                    rows(met.in_train),
                    s(met.in_train),
                    shown(&first, met.in_train)
                ));
            }
        }
        warn_of_labels(progress, facts, train);
        Ok(())
    }
}

fn warn_of_labels(progress: &dyn Progress, facts: &Facts, train: &Seen) {
    if let Some(names) = facts.labels {
        let absent = names
            .iter()
            .zip(0_u32..)
            .filter(|(name, number)| !train.labels.contains(number) && !facts.added.contains(*name))
            .map(|(name, _)| name.as_str());
        let absent = absent.collect::<Vec<_>>();
        if !absent.is_empty() {
            progress.warn(&format!(
                "no row of train has the label {}, so it cannot be learned",
                absent.join(", ")
            ));
        }
        if train.one_label && train.labels.len() == 1 {
            progress.warn("every row of train has the same label, so there is nothing to tell apart: check `columns.label`");
        }
    }
    for (number, name) in facts.targets.into_iter().flatten().enumerate() {
        let targets = train.targets.as_ref();
        if targets.is_none_or(|targets| targets.get(number).is_none_or(Option::is_some)) {
            progress.warn(&format!(
                "every row of train has the same number as `{name}`, so there is nothing to learn: check `columns.target`"
            ));
        }
    }
}

/// What there is to learn.
fn gold(facts: &Facts, train: &Seen) -> String {
    let labels = facts.labels.unwrap_or_default().len();
    if let Some(words) = train.words {
        let tags = match (train.tagged, facts.scheme) {
            (false, _) => "no tags".to_owned(),
            (true, None) => format!("{labels} tags"),
            (true, Some(scheme)) => format!("{labels} tags in the scheme {scheme}"),
        };
        return format!("{words} tokens to train on, {tags}");
    }
    if let Some(without) = train.unanswered {
        return format!(
            "train asks about {} contexts, {without} of its questions without an answer",
            train.contexts.len()
        );
    }
    if let Some(all) = train.in_lists {
        let each = all as f64 / train.rows.max(1) as f64;
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

/// The first of so many rows by id, with the beginning of their text.
fn shown(first: &[(u64, String)], all: usize) -> String {
    let show = |(id, text): &(u64, String)| {
        let start = text.chars().take(40).collect::<String>();
        if start.len() < text.len() {
            format!("row {id} {start:?}…")
        } else {
            format!("row {id} {start:?}")
        }
    };
    let shown = first.iter().map(show).collect::<Vec<_>>().join(", ");
    if all > first.len() {
        format!("{shown}, …")
    } else {
        shown
    }
}
