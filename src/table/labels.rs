//! Labels as written → numbers, in an order that is the same every time.
//!
//! The classes are those of the training files: one label a row, several, or a tag for each word. Their order is
//! `label_names` if given; else integers go by value and everything else by its bytes. A column is one of integers when each
//! of its values is an integer as Rust prints it, so `01` and `1` stay two labels. Where the data set itself says what its
//! classes are called, its integers are indices into these names, and -1 is no label ([`withheld`]).
//!
//! Deliberately absent: numbers as targets, and what tags mean. Whoever knows [adds](Labels::add) those that training misses.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::error::{Place, TableError, did_you_mean, list};
use super::raw::Raw;

/// The classes of a table: their names in order, and the number of each label as it is written in the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    pub names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Labels {
    /// The classes of the training files; none when these have no labels.
    ///
    /// # Errors
    /// Labels that are numbers with a fraction, files that differ in the kind of label, names that do not fit, and a column
    /// of labels in which there is none.
    pub fn of_training(
        files: &[Raw],
        names: Option<&[String]>,
    ) -> Result<Option<Labels>, TableError> {
        let different = files.iter().map(different).collect::<Vec<_>>();
        let written = different.iter().flatten().map(|(.., label)| *label);
        let written = written.collect::<BTreeSet<_>>();
        let Some(first) = files.first().filter(|_| !written.is_empty()) else {
            let labelled = files.iter().any(|raw| raw.labels.is_some());
            return match names {
                Some(names) if labelled => Ok(Some(Labels::new(names.to_vec(), names.to_vec()))),
                None if labelled => Err(TableError::NoLabels),
                _ => Ok(None),
            };
        };
        one_kind(files, &different)?;
        let integers = written
            .iter()
            .map(|label| integer(label))
            .collect::<Option<BTreeSet<i64>>>();
        if integers.is_none() {
            no_fractions(files, &different)?;
        }
        let ordered = match (&integers, names) {
            (_, Some(names))
                if written
                    .iter()
                    .all(|label| names.iter().any(|name| name == label)) =>
            {
                return Ok(Some(Labels::new(names.to_vec(), names.to_vec())));
            }
            (Some(integers), Some(names)) => return by_name(first, integers, names).map(Some),
            (None, Some(names)) => return Err(unnamed(files, &different, names)),
            (Some(integers), None) => integers.iter().map(i64::to_string).collect::<Vec<_>>(),
            (None, None) => written.into_iter().map(str::to_owned).collect(),
        };
        Ok(Some(Labels::new(ordered.clone(), ordered)))
    }

    /// The classes that a data set names itself. An integer is an index into the names, whichever of them the training files
    /// show; a name that is no integer stands for itself. None when the training files have no labels.
    ///
    /// # Errors
    /// The first label that is neither.
    pub fn of_classes(files: &[Raw], names: &[String]) -> Result<Option<Labels>, TableError> {
        let labelled =
            |raw: &Raw| raw.label.is_some() || raw.labels.is_some() || raw.tags.is_some();
        if !files.iter().any(labelled) {
            return Ok(None);
        }
        let indices = (0..names.len()).map(|number| number.to_string());
        let written = names.iter().cloned().chain(indices);
        let labels = Labels {
            names: names.to_vec(),
            numbers: written.zip((0..).take(names.len()).chain(0..)).collect(),
        };
        for raw in files {
            let stranger = different(raw)
                .into_iter()
                .find(|(.., label)| !labels.numbers.contains_key(*label));
            if let Some((row, item, label)) = stranger {
                return Err(TableError::NoClass {
                    place: raw.place_of(row, item),
                    label: label.to_owned(),
                    help: format!(
                        "labels are numbers from 0 to {} or names of its {} classes, {}; state `label_names` if these are others",
                        names.len().saturating_sub(1),
                        names.len(),
                        list(names.iter().map(String::as_str), 20),
                    ),
                });
            }
        }
        Ok(Some(labels))
    }

    fn new(names: Vec<String>, written: Vec<String>) -> Self {
        Labels {
            names,
            numbers: written.into_iter().zip(0..).collect(),
        }
    }

    /// Adds classes that no training file shows; then all go by their bytes. For labels that are written as they are named.
    /// Returns the names that are new.
    pub fn add(&mut self, names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
        let known = self.names.iter().cloned().collect::<BTreeSet<_>>();
        let added = names.into_iter().filter(|name| !known.contains(name));
        let added = added.collect::<BTreeSet<_>>();
        let all = known.union(&added).cloned().collect::<Vec<_>>();
        *self = Labels::new(all.clone(), all);
        added
    }

    /// The number of each row's label.
    ///
    /// # Errors
    /// A label that the training files do not have.
    pub fn encode(&self, raw: &Raw, split: &str) -> Result<Option<Vec<u32>>, TableError> {
        let number = |(row, label): (usize, &str)| {
            let known = self.numbers.get(label).copied();
            known.ok_or_else(|| self.unseen(raw.place(row), label, split))
        };
        raw.labels()
            .map(|labels| labels.enumerate().map(number).collect())
            .transpose()
    }

    /// The numbers of each row's labels, ascending and each once.
    ///
    /// # Errors
    /// As [`Labels::encode`].
    pub fn encode_lists(
        &self,
        raw: &Raw,
        split: &str,
    ) -> Result<Option<Vec<Vec<u32>>>, TableError> {
        let lists = raw.label_lists();
        let mut lists = lists
            .map(|lists| self.encode_each(raw, lists, split))
            .transpose()?;
        for numbers in lists.iter_mut().flatten() {
            numbers.sort_unstable();
            numbers.dedup();
        }
        Ok(lists)
    }

    /// The numbers of each row's tags.
    ///
    /// # Errors
    /// As [`Labels::encode`].
    pub fn encode_tags(&self, raw: &Raw, split: &str) -> Result<Option<Vec<Vec<u32>>>, TableError> {
        let tags = raw.tags();
        tags.map(|tags| self.encode_each(raw, tags, split))
            .transpose()
    }

    fn encode_each<'r>(
        &self,
        raw: &Raw,
        lists: impl Iterator<Item = Vec<&'r str>>,
        split: &str,
    ) -> Result<Vec<Vec<u32>>, TableError> {
        let row = |(row, list): (usize, Vec<&str>)| {
            let number = |(item, label): (usize, &str)| {
                let known = self.numbers.get(label).copied();
                known.ok_or_else(|| self.unseen_among(raw.place_of(row, item), label, split))
            };
            list.into_iter().enumerate().map(number).collect()
        };
        lists.enumerate().map(row).collect()
    }

    /// The name of a label as it is written in the files; nothing for one that the training files do not have.
    pub fn name(&self, written: &str) -> Option<&str> {
        let number = self.numbers.get(written)?;
        self.names.get(*number as usize).map(String::as_str)
    }

    /// Rare ones of many labels easily miss from train.
    fn unseen_among(&self, place: Place, label: &str, split: &str) -> TableError {
        let mut error = self.unseen(place, label, split);
        if let TableError::UnseenLabel { help, .. } = &mut error {
            help.push_str("; to load it all the same, list every label in `label_names`");
        }
        error
    }

    /// The error for a label that the training split lacks.
    pub fn unseen(&self, place: Place, label: &str, split: &str) -> TableError {
        let known = list(self.names.iter().map(String::as_str), 20);
        let meant = did_you_mean(label, self.names.iter().map(String::as_str));
        TableError::UnseenLabel {
            place,
            label: label.to_owned(),
            split: split.to_owned(),
            help: format!(
                "a model only learns labels it is shown; the known ones are {known}{meant}"
            ),
        }
    }
}

/// What stands in the place of a class label that is kept secret, as in the test splits of GLUE.
const NO_LABEL: &str = "-1";

/// Takes -1 for no label, as the `datasets` library writes it. The files of a split in which every label is -1 lose their
/// labels; of a split in which only some are, these rows are left out with `skip`.
///
/// # Errors
/// Without `skip`, the first row with -1 among rows that have a label.
pub fn withheld(files: &mut [Raw], split: &str, skip: bool) -> Result<(), TableError> {
    let found = files.iter().map(without_label).collect::<Vec<_>>();
    if found.iter().all(|(rows, _)| rows.is_empty()) {
        return Ok(());
    }
    if found.iter().all(|(_, others)| !others) {
        for raw in files {
            (raw.label, raw.labels, raw.tags) = (None, None, None);
        }
        return Ok(());
    }
    for (raw, (rows, _)) in files.iter_mut().zip(found) {
        let error = |&row: &usize| TableError::Withheld {
            place: raw.place(row),
            split: split.to_owned(),
        };
        let broken = rows.iter().map(|row| (*row, error(row)));
        let broken = broken.collect::<Vec<_>>();
        if skip && !broken.is_empty() {
            raw.leave_out(broken)?;
        } else if let Some((_, error)) = broken.into_iter().next() {
            return Err(error);
        }
    }
    Ok(())
}

/// The rows with the label -1, and whether there is any other label.
fn without_label(raw: &Raw) -> (Vec<usize>, bool) {
    let (mut rows, mut others) = (Vec::new(), false);
    let mut look = |row: usize, label: &str| {
        if label != NO_LABEL {
            others = true;
        } else if rows.last() != Some(&row) {
            rows.push(row);
        }
    };
    for (row, label) in raw.labels().into_iter().flatten().enumerate() {
        look(row, label);
    }
    let lists = raw.label_lists().into_iter().flatten().enumerate();
    let tags = raw.tags().into_iter().flatten().enumerate();
    for (row, list) in lists.chain(tags) {
        list.into_iter().for_each(|label| look(row, label));
    }
    (rows, others)
}

/// A label where it is met first: its row, its number within the row, the label itself.
type Met<'a> = (usize, usize, &'a str);

/// The labels of a file, each once, in the order in which they are met.
fn different(raw: &Raw) -> Vec<Met<'_>> {
    let mut seen = HashSet::new();
    if let Some(labels) = raw.labels() {
        let labels = labels.enumerate().map(|(row, label)| (row, 0, label));
        return labels.filter(|(.., label)| seen.insert(*label)).collect();
    }
    let mut met = Vec::new();
    let lists = raw.label_lists().into_iter().flatten();
    let lists = lists.enumerate();
    let tags = raw.tags().into_iter().flatten().enumerate();
    for (row, list) in lists.chain(tags) {
        for (item, label) in list.into_iter().enumerate() {
            if seen.insert(label) {
                met.push((row, item, label));
            }
        }
    }
    met
}

fn integer(label: &str) -> Option<i64> {
    label
        .parse::<i64>()
        .ok()
        .filter(|value| value.to_string() == label)
}

fn by_name(first: &Raw, integers: &BTreeSet<i64>, names: &[String]) -> Result<Labels, TableError> {
    let within = integers
        .iter()
        .all(|&value| usize::try_from(value).is_ok_and(|value| value < names.len()));
    let written = if within {
        (0..names.len()).map(|number| number.to_string()).collect()
    } else if integers.len() == names.len() {
        integers.iter().map(i64::to_string).collect()
    } else {
        let shown = integers
            .iter()
            .take(20)
            .map(i64::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let labels = if integers.len() > 20 {
            format!("{shown}, …")
        } else {
            shown
        };
        let (file, names, count) = (first.file.clone(), names.len(), integers.len());
        return Err(TableError::MiscountedNames {
            file,
            names,
            count,
            labels,
        });
    };
    Ok(Labels::new(names.to_vec(), written))
}

fn unnamed(files: &[Raw], different: &[Vec<Met>], names: &[String]) -> TableError {
    let known = |label: &str| names.iter().any(|name| name == label);
    let stranger = files.iter().zip(different).find_map(|(raw, labels)| {
        let stranger = labels.iter().find(|(.., label)| !known(label));
        stranger.map(|(row, item, label)| (raw.place_of(*row, *item), *label))
    });
    match stranger {
        Some((place, label)) => TableError::UnnamedLabel {
            place,
            label: label.to_owned(),
            help: format!(
                "`label_names` has {}: add it or correct the row{}",
                list(names.iter().map(String::as_str), 20),
                did_you_mean(label, names.iter().map(String::as_str))
            ),
        },
        // Reached only if every label had a name, which the caller has excluded.
        None => TableError::MiscountedNames {
            file: Default::default(),
            names: names.len(),
            count: 0,
            labels: String::new(),
        },
    }
}

/// A column whose labels are all numbers, some with a fraction, is a target to predict and not a class.
fn no_fractions(files: &[Raw], different: &[Vec<Met>]) -> Result<(), TableError> {
    let mut fraction = None;
    for (raw, labels) in files.iter().zip(different) {
        for &(row, item, label) in labels {
            if !label.parse::<f64>().is_ok_and(f64::is_finite) {
                return Ok(());
            }
            if fraction.is_none() && integer(label).is_none() && label.contains(['.', 'e', 'E']) {
                fraction = Some((raw, row, item, label));
            }
        }
    }
    match fraction {
        Some((raw, row, item, value)) => Err(TableError::FloatLabel {
            place: raw.place_of(row, item),
            column: raw.label_column.clone(),
            value: value.to_owned(),
        }),
        None => Ok(()),
    }
}

/// One file of integers beside one of names is almost surely a mistake.
fn one_kind(files: &[Raw], different: &[Vec<Met>]) -> Result<(), TableError> {
    let mut kinds = BTreeMap::new();
    for (raw, labels) in files.iter().zip(different) {
        let mut labels = labels
            .iter()
            .map(|(.., label)| integer(label).is_some())
            .collect::<BTreeSet<_>>()
            .into_iter();
        if let (Some(integers), None) = (labels.next(), labels.next()) {
            kinds.entry(integers).or_insert(raw);
        }
    }
    match (kinds.get(&true), kinds.get(&false)) {
        (Some(integers), Some(names)) => Err(TableError::MixedFiles {
            file: names.file.clone(),
            found: "names as labels".to_owned(),
            first: integers.file.clone(),
            wanted: "integers".to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
