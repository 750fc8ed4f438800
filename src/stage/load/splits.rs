//! Files → the rows of each split: what must fit together, and what is cut from `train`.
//!
//! Deliberately absent: the reading of files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Fold;
use crate::table::labels::Labels;
use crate::table::moment::{self, Moment};
use crate::table::read::{Kind, Raw};
use crate::table::split;
use crate::table::{LeftOut, Place, TableError, Texts};

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

/// The broken rows that were left out, by split and reason.
pub(super) fn left_out(splits: &BTreeMap<String, Vec<Raw>>) -> Vec<LeftOut> {
    let mut all = Vec::<LeftOut>::new();
    for (split, files) in splits {
        let mut before = 0;
        for raw in files {
            for (reason, skipped) in &raw.skipped {
                let ids = skipped
                    .numbers
                    .iter()
                    .map(|number| (before + number) as u64);
                let known = all
                    .iter_mut()
                    .find(|other| other.split == *split && other.reason == *reason);
                match known {
                    Some(known) => {
                        known.rows += skipped.rows;
                        known.first.extend(ids);
                    }
                    None => all.push(LeftOut {
                        split: split.clone(),
                        reason: (*reason).to_owned(),
                        rows: skipped.rows,
                        first: ids.collect(),
                    }),
                }
            }
            before += raw.rows_of_file();
        }
    }
    all
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

/// The rows of a split's files one after the other, with their numbers as ids, counted from `before`.
///
/// # Errors
/// A label or a tag that the training files do not have.
pub(super) fn number<'r>(
    files: &'r [Raw],
    labels: Option<&Labels>,
    split: &str,
    mut before: usize,
) -> Result<Texts<&'r str>, TableError> {
    fn add<T>(to: &mut Option<Vec<T>>, from: Option<impl IntoIterator<Item = T>>) {
        if let Some(from) = from {
            to.get_or_insert_default().extend(from);
        }
    }
    let mut texts = Texts::default();
    for raw in files {
        let ids = raw.numbers().map(|number| (before + number) as u64);
        texts.id.extend(ids);
        before += raw.rows_of_file();
        texts.text.extend(raw.texts());
        add(&mut texts.text_pair, raw.text_pairs());
        add(&mut texts.target, raw.targets().map(<[_]>::to_vec));
        add(&mut texts.words, raw.words());
        add(&mut texts.answers, raw.answers());
        add(&mut texts.name, raw.names());
        for (name, values) in raw.further() {
            let column = texts.further.entry(name.to_owned()).or_default();
            column.extend(values);
        }
        if let Some(labels) = labels {
            add(&mut texts.label, labels.encode(raw, split)?);
            add(&mut texts.labels, labels.encode_lists(raw, split)?);
            add(&mut texts.tags, labels.encode_tags(raw, split)?);
        }
    }
    texts.copy = vec![0; texts.text.len()];
    Ok(texts)
}

/// Finds the place and the label of a row of `train`.
pub(super) type Find<'a> = dyn Fn(usize) -> Result<Option<(Place, String)>, TableError> + 'a;

/// What is to be cut from `train`.
pub(super) struct Cut {
    /// Split → share of the rows, none of them 0.
    pub(super) shares: Vec<(&'static str, f64)>,
    /// What of the rest becomes `validation`.
    pub(super) fold: Option<Fold>,
    pub(super) stratify: bool,
    /// Whether the rows have groups that stay together.
    pub(super) grouped: bool,
    /// Whether the newest rows are cut off.
    pub(super) timed: bool,
    pub(super) seed: u64,
}

impl Cut {
    pub(super) fn cuts_nothing(&self) -> bool {
        self.shares.is_empty() && self.fold.is_none()
    }

    /// Divides the training rows among `train` and the splits that are cut from it, and adds them to `splits`. `labelled`
    /// finds the place and the label of a row again, for an error.
    ///
    /// # Errors
    /// A share so small that a split would have no row, more folds than there are rows, and a class that `train` would lose
    /// to a share. Folds take from a class that is too small for them what they must: the report warns of it.
    pub(super) fn apply<T: AsRef<str> + Clone>(
        &self,
        files: &[Raw],
        labels: Option<&Labels>,
        whole: Texts<T>,
        splits: &mut BTreeMap<String, Texts<T>>,
        labelled: &Find,
    ) -> Result<(), TableError> {
        if self.cuts_nothing() {
            splits.insert("train".to_owned(), whole);
            return Ok(());
        }
        let together = self.kept_together(files, &whole)?;
        let shares = self.shares.iter().map(|(_, share)| *share);
        let shares = shares.collect::<Vec<_>>();
        let to = match &together {
            Together::Groups(groups, _) => split::cut_groups(groups, &shares, self.seed),
            Together::Times(ranks) => split::cut_time(ranks, &shares),
            Together::Classes(classes) => split::cut(classes, &shares, self.seed),
        };
        let rows_of = |split: usize| {
            let rows = to.iter().enumerate().filter(|&(_, &t)| t == split);
            rows.map(|(row, _)| row).collect::<Vec<_>>()
        };
        let mut rest = rows_of(0);
        let label = |row: &usize| Some(*whole.label.as_ref()?.get(*row)?);
        let learnt = rest.iter().filter_map(label).collect::<BTreeSet<_>>();
        for (number, &(split, share)) in self.shares.iter().enumerate() {
            let rows = rows_of(number + 1);
            if rows.is_empty() {
                return Err(TableError::EmptySplit {
                    split: split.to_owned(),
                    share,
                    rows: whole.len(),
                });
            }
            let strange = |row: &&usize| label(row).is_some_and(|label| !learnt.contains(&label));
            if let (Some(&row), Some(labels)) = (rows.iter().find(strange), labels)
                && let Some((place, label)) = labelled(row)?
            {
                let help = match &together {
                    Together::Classes(_) => "set `split.stratify = true`, or cut a smaller share",
                    Together::Groups(..) => {
                        "cut a smaller share, or draw groups with another `seed`: whole groups are drawn, whatever their labels"
                    }
                    Together::Times(_) => {
                        "cut a smaller share, or leave the label out with `where`: it comes up only in the newest rows"
                    }
                };
                return Err(unseen(labels, place, &label, split, help));
            }
            splits.insert(split.to_owned(), whole.take(&rows));
        }
        if let Some(fold) = self.fold {
            let (held_out, kept) = self.held_out(fold, &together, rest)?;
            splits.insert("validation".to_owned(), whole.take(&held_out));
            rest = kept;
        }
        splits.insert("train".to_owned(), whole.take(&rest));
        Ok(())
    }

    /// What decides where a row goes: its group or its time, and all questions about one context go to one split; else each
    /// class gives its share.
    ///
    /// # Errors
    /// Times of several kinds.
    fn kept_together<T: AsRef<str>>(
        &self,
        files: &[Raw],
        whole: &Texts<T>,
    ) -> Result<Together, TableError> {
        let questions = files.iter().any(|raw| raw.kind == Kind::Questions);
        let contexts = whole.text_pair.as_ref().filter(|_| questions);
        let contexts = contexts.map(|contexts| alike_numbered(contexts));
        if self.timed {
            let times = times(files)?;
            return Ok(Together::Times(match contexts {
                Some(contexts) => split::latest(&times, &contexts),
                None => times,
            }));
        }
        if self.grouped {
            let groups = files.iter().filter_map(Raw::groups).flatten();
            let groups = alike_numbered(&groups.collect::<Vec<_>>());
            return Ok(match contexts {
                Some(contexts) => Together::Groups(split::linked(&groups, &contexts), "groups"),
                None => Together::Groups(groups, "groups"),
            });
        }
        Ok(match (&whole.label, contexts) {
            (_, Some(contexts)) => Together::Groups(contexts, "contexts"),
            (Some(labels), _) if self.stratify => Together::Classes(labels.clone()),
            _ => Together::Classes(vec![0; whole.id.len()]),
        })
    }

    /// The rows of the fold, and those of the others.
    ///
    /// # Errors
    /// There are fewer rows, or groups of them, than folds.
    fn held_out(
        &self,
        fold: Fold,
        together: &Together,
        rows: Vec<usize>,
    ) -> Result<(Vec<usize>, Vec<usize>), TableError> {
        let of_rows = |numbers: &[u32]| {
            let number = |&row: &usize| numbers.get(row).copied().unwrap_or_default();
            rows.iter().map(number).collect::<Vec<_>>()
        };
        let (folds, parts, what) = match together {
            Together::Groups(groups, what) => {
                let groups = of_rows(groups);
                let folds = split::fold_groups(&groups, fold.of as usize, self.seed);
                let parts = groups.iter().collect::<BTreeSet<_>>().len();
                (folds, parts, *what)
            }
            Together::Times(classes) | Together::Classes(classes) => {
                let folds = split::folds(&of_rows(classes), fold.of as usize, self.seed);
                (folds, rows.len(), "rows")
            }
        };
        if parts < fold.of as usize {
            return Err(TableError::TooManyFolds {
                folds: fold.of,
                found: parts,
                what,
            });
        }
        let (mut held_out, mut kept) = (Vec::new(), Vec::new());
        for (row, number) in rows.into_iter().zip(folds) {
            match number == fold.index as usize {
                true => held_out.push(row),
                false => kept.push(row),
            }
        }
        Ok((held_out, kept))
    }
}

/// A number for each row, by which it is drawn.
enum Together {
    /// Rows of one group are never divided. With what groups are, for messages.
    Groups(Vec<u32>, &'static str),
    /// The newest rows go first. Folds are never cut so.
    Times(Vec<u32>),
    /// Rows of one class are divided evenly.
    Classes(Vec<u32>),
}

/// The place of each row in the order of time.
fn times(files: &[Raw]) -> Result<Vec<u32>, TableError> {
    let all = files.iter().filter_map(Raw::times).flatten().copied();
    let all: Vec<Moment> = all.collect();
    if let (Some(strange), Some(first)) = (moment::stranger(all.iter().copied()), all.first())
        && let Some(found) = all.get(strange)
        && let (Some(place), Some(first_place)) = (place_of(files, strange), place_of(files, 0))
    {
        return Err(TableError::MixedTimes {
            place,
            found: found.kind(),
            first: first_place,
            wanted: first.kind(),
        });
    }
    Ok(moment::ranks(&all))
}

/// The file of a row of a split, and the row's number in what was read of it.
fn found(files: &[Raw], mut row: usize) -> Option<(&Raw, usize)> {
    for raw in files {
        if row < raw.len() {
            return Some((raw, row));
        }
        row -= raw.len();
    }
    None
}

/// Where a row of a split's files stands.
fn place_of(files: &[Raw], row: usize) -> Option<Place> {
    found(files, row).map(|(raw, row)| raw.place(row))
}

/// For each split with files of its own: how many of its rows belong to groups that `train` has too.
pub(super) fn shared_groups(splits: &BTreeMap<String, Vec<Raw>>) -> Vec<(String, usize)> {
    let groups = |files: &'_ [Raw]| -> Vec<String> {
        let groups = files.iter().filter_map(Raw::groups).flatten();
        groups.map(str::to_owned).collect()
    };
    let train = splits.get("train").map(|files| groups(files));
    let train: BTreeSet<String> = train.unwrap_or_default().into_iter().collect();
    let others = splits.iter().filter(|(split, _)| *split != "train");
    let shared = others.map(|(split, files)| {
        let shared = groups(files).into_iter();
        (
            split.clone(),
            shared
                .filter(|group| !group.is_empty() && train.contains(group))
                .count(),
        )
    });
    shared.filter(|(_, shared)| *shared > 0).collect()
}

/// Equal texts get equal numbers, in the order in which they are met.
fn alike_numbered<T: AsRef<str>>(texts: &[T]) -> Vec<u32> {
    let mut numbers = HashMap::<&str, u32>::new();
    let mut alike = Vec::with_capacity(texts.len());
    for text in texts {
        let next = numbers.len() as u32;
        alike.push(*numbers.entry(text.as_ref()).or_insert(next));
    }
    alike
}

/// Where a row of a split's files stands, and its label.
pub(super) fn labelled(files: &[Raw], row: usize) -> Option<(Place, &str)> {
    let (raw, row) = found(files, row)?;
    Some((raw.place(row), raw.labels()?.nth(row)?))
}

/// The error for a row that was cut away with the only label of its kind.
fn unseen(labels: &Labels, place: Place, label: &str, split: &str, help: &str) -> TableError {
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
            help: help.to_owned(),
        },
        other => other,
    }
}
