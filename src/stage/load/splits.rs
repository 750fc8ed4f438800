//! Files → the rows of each split: what must fit together, and what is cut from `train`.
//!
//! Deliberately absent: the reading of files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::table::labels::Labels;
use crate::table::read::{Kind, Raw};
use crate::table::split;
use crate::table::{Place, TableError, Texts};

/// Files of one split must have the same columns.
pub(super) fn alike(files: &[Raw]) -> Result<(), TableError> {
    // What a file without rows would have had is not known.
    let mut files = files.iter().filter(|raw| !raw.is_empty());
    let Some(first) = files.next() else {
        return Ok(());
    };
    for raw in files {
        let mixed = |found: String, wanted: String| {
            Err(TableError::MixedFiles {
                file: raw.file.clone(),
                found,
                first: first.file.clone(),
                wanted,
            })
        };
        let there = |there: bool, what: &str| {
            format!("{} {what}", if there { "a column of" } else { "no" })
        };
        if let (Some(width), Some(wanted)) = (raw.unnamed_width, first.unnamed_width)
            && width != wanted
        {
            return mixed(format!("{width} columns"), wanted.to_string());
        }
        if raw.kind != first.kind {
            return mixed(raw.kind.plural().to_owned(), first.kind.plural().to_owned());
        }
        for ((what, found), (_, wanted)) in raw.has().into_iter().zip(first.has()) {
            if found != wanted {
                return mixed(there(found, what), there(wanted, what));
            }
        }
    }
    Ok(())
}

/// A split must have rows, also once the invalid ones are left out.
pub(super) fn none_empty(splits: &BTreeMap<String, Vec<Raw>>) -> Result<(), TableError> {
    for (split, files) in splits {
        let skipped = files.iter().flat_map(|raw| &raw.skipped);
        let most = skipped.max_by_key(|(_, skipped)| skipped.rows);
        if let Some((reason, most)) = most.filter(|_| files.iter().all(Raw::is_empty)) {
            return Err(TableError::NothingLeft {
                split: split.clone(),
                skipped: files.iter().map(Raw::left_out).sum(),
                reason,
                first: most.first.clone(),
            });
        }
    }
    Ok(())
}

/// All splits must be for the task of `train`, which must have the labels, tags or answers that others have.
pub(super) fn one_task(splits: &BTreeMap<String, Vec<Raw>>) -> Result<(), TableError> {
    let of = |files: &Vec<Raw>| {
        let first = files.iter().find(|raw| !raw.is_empty());
        first.map(|raw| (raw.kind, raw.has()))
    };
    let Some((kind, in_train)) = splits.get("train").and_then(of) else {
        return Ok(());
    };
    for (split, files) in splits {
        let Some((found, has)) = of(files) else {
            continue;
        };
        if found != kind {
            return Err(TableError::MixedSplits {
                split: split.clone(),
                found: found.plural(),
                wanted: kind.plural(),
            });
        }
        for ((what, has), (_, in_train)) in has.into_iter().zip(in_train) {
            let help = match what {
                "labels" => {
                    "load labelled training data, or set `columns.label = \"\"` to read none"
                }
                "lists of labels" | "tags" | "answers" => "load training data that has them too",
                _ => continue,
            };
            if has && !in_train {
                return Err(TableError::UnlabelledTraining {
                    split: split.clone(),
                    what,
                    help,
                });
            }
        }
    }
    Ok(())
}

/// The questions of a split must have ids of their own, where they have ids.
pub(super) fn ids_differ(splits: &BTreeMap<String, Vec<Raw>>) -> Result<(), TableError> {
    for files in splits.values() {
        let mut met = HashMap::<&str, (&Raw, usize)>::new();
        for raw in files.iter().filter(|raw| raw.kind == Kind::Questions) {
            for (row, name) in raw.names().into_iter().flatten().enumerate() {
                if let Some((other, first)) = met.insert(name, (raw, row)) {
                    return Err(TableError::RepeatedId {
                        place: raw.place(row),
                        id: name.to_owned(),
                        first: other.place(first),
                    });
                }
            }
        }
    }
    Ok(())
}

/// The rows of a split's files one after the other, with their numbers as ids.
///
/// # Errors
/// A label or a tag that the training files do not have.
pub(super) fn number<'r>(
    files: &'r [Raw],
    labels: Option<&Labels>,
    split: &str,
) -> Result<Texts<&'r str>, TableError> {
    fn add<T>(to: &mut Option<Vec<T>>, from: Option<impl IntoIterator<Item = T>>) {
        if let Some(from) = from {
            to.get_or_insert_default().extend(from);
        }
    }
    let mut texts = Texts::default();
    let mut before = 0;
    for raw in files {
        let ids = raw.numbers().map(|number| (before + number) as u64);
        texts.id.extend(ids);
        before += raw.len() + raw.left_out();
        texts.text.extend(raw.texts());
        add(&mut texts.text_pair, raw.text_pairs());
        add(&mut texts.target, raw.targets().map(<[_]>::to_vec));
        add(&mut texts.words, raw.words());
        add(&mut texts.answers, raw.answers());
        add(&mut texts.name, raw.names());
        if let Some(labels) = labels {
            add(&mut texts.label, labels.encode(raw, split)?);
            add(&mut texts.labels, labels.encode_lists(raw, split)?);
            add(&mut texts.tags, labels.encode_tags(raw, split)?);
        }
    }
    texts.copy = vec![0; texts.text.len()];
    Ok(texts)
}

/// What is to be cut from `train`.
pub(super) struct Cut {
    /// Split → share of the rows, none of them 0.
    pub(super) shares: Vec<(&'static str, f64)>,
    pub(super) stratify: bool,
    pub(super) seed: u64,
}

impl Cut {
    /// Divides the training rows among `train` and the splits that are cut from it, and adds them to `splits`.
    ///
    /// # Errors
    /// A share so small that a split would have no row, and a class that `train` would lose.
    pub(super) fn apply<'r>(
        &self,
        files: &[Raw],
        labels: Option<&Labels>,
        whole: Texts<&'r str>,
        splits: &mut BTreeMap<String, Texts<&'r str>>,
    ) -> Result<(), TableError> {
        if self.shares.is_empty() {
            splits.insert("train".to_owned(), whole);
            return Ok(());
        }
        let shares = self.shares.iter().map(|(_, share)| *share);
        let shares = shares.collect::<Vec<_>>();
        let questions = files.iter().any(|raw| raw.kind == Kind::Questions);
        let to = match (&whole.label, &whole.text_pair) {
            (_, Some(contexts)) if questions => {
                split::cut_groups(&alike_numbered(contexts), &shares, self.seed)
            }
            (Some(labels), _) if self.stratify => split::cut(labels, &shares, self.seed),
            _ => split::cut(&vec![0; whole.len()], &shares, self.seed),
        };
        let rows_of = |split: usize| {
            to.iter()
                .enumerate()
                .filter(|&(_, &t)| t == split)
                .map(|(row, _)| row)
                .collect::<Vec<_>>()
        };
        let train = whole.take(&rows_of(0));
        let learnt = train.label.iter().flatten().collect::<BTreeSet<_>>();
        for (number, &(split, share)) in self.shares.iter().enumerate() {
            let rows = rows_of(number + 1);
            if rows.is_empty() {
                return Err(TableError::EmptySplit {
                    split: split.to_owned(),
                    share,
                    rows: whole.len(),
                });
            }
            let cut = whole.take(&rows);
            let stranger = cut
                .label
                .iter()
                .flatten()
                .zip(&rows)
                .find(|(label, _)| !learnt.contains(label));
            if let (Some((_, &row)), Some(labels)) = (stranger, labels)
                && let Some((place, label)) = labelled(files, row)
            {
                return Err(unseen(labels, place, label, split));
            }
            splits.insert(split.to_owned(), cut);
        }
        splits.insert("train".to_owned(), train);
        Ok(())
    }
}

/// Equal texts get equal numbers, in the order in which they are met.
fn alike_numbered(texts: &[&str]) -> Vec<u32> {
    let mut numbers = HashMap::<&str, u32>::new();
    let mut alike = Vec::with_capacity(texts.len());
    for text in texts {
        let next = numbers.len() as u32;
        alike.push(*numbers.entry(text).or_insert(next));
    }
    alike
}

/// Where a row of a split's files stands, and its label.
fn labelled(files: &[Raw], mut row: usize) -> Option<(Place, &str)> {
    for raw in files {
        if let Some(label) = raw.labels().and_then(|mut labels| labels.nth(row)) {
            return Some((raw.place(row), label));
        }
        row = row.saturating_sub(raw.len());
    }
    None
}

/// The error for a row that was cut away with the only label of its kind.
fn unseen(labels: &Labels, place: Place, label: &str, split: &str) -> TableError {
    match labels.unseen(place, label, split) {
        TableError::UnseenLabel {
            place,
            label,
            split,
            ..
        } => TableError::UnseenLabel {
            place,
            label,
            split,
            help: "set `split.stratify = true`, or cut a smaller share".to_owned(),
        },
        other => other,
    }
}
