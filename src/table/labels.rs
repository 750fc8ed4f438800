//! Labels as written → numbers, in an order that is the same every time.
//!
//! The classes are those of the training files: one label a row, several, or a tag for each word. Their order is
//! `label_names` if given; else integers go by value and everything else by its bytes. A column is one of integers when each
//! of its values is an integer as Rust prints it, so `01` and `1` stay two labels.
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
mod tests {
    use std::path::Path;

    use super::super::raw::{Kind, Lists, append};
    use super::*;
    use crate::table::shape::Places;

    fn bare() -> Raw {
        Raw {
            label_column: "`label`".to_owned(),
            ..Raw::empty(
                Path::new("data.csv"),
                Kind::Texts,
                Places::Lines { first: 2 },
            )
        }
    }

    fn raw(labels: &[&str]) -> Raw {
        let mut contents = String::new();
        let place = |label: &&str| append(&mut contents, label);
        let label = Some(labels.iter().map(place).collect());
        Raw {
            text: vec![0..0; labels.len()],
            label,
            contents,
            ..bare()
        }
    }

    fn raw_lists(rows: &[&[&str]], tags: bool) -> Raw {
        let (mut contents, mut lists) = (String::new(), Lists::default());
        for labels in rows {
            lists.push(labels.iter().map(|label| append(&mut contents, label)));
        }
        Raw {
            text: vec![0..0; rows.len()],
            labels: (!tags).then(|| lists.clone()),
            tags: tags.then_some(lists),
            word_lines: tags,
            contents,
            ..bare()
        }
    }

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn of(labels: &[&str], names: Option<&[&str]>) -> Result<(Vec<String>, Vec<u32>), TableError> {
        let names = names.map(strings);
        let raw = raw(labels);
        let labels = Labels::of_training(std::slice::from_ref(&raw), names.as_deref())?.unwrap();
        Ok((labels.names.clone(), labels.encode(&raw, "train")?.unwrap()))
    }

    #[test]
    fn integers_go_by_value_and_names_by_bytes() {
        assert_eq!(
            of(&["10", "9", "-1"], None).unwrap(),
            (strings(&["-1", "9", "10"]), vec![2, 1, 0])
        );
        assert_eq!(
            of(&["b", "a", "B"], None).unwrap(),
            (strings(&["B", "a", "b"]), vec![2, 1, 0])
        );
        assert_eq!(
            of(&["01", "1"], None).unwrap(),
            (strings(&["01", "1"]), vec![0, 1])
        );
    }

    #[test]
    fn label_names_give_order_to_names_and_names_to_integers() {
        assert_eq!(
            of(&["b", "a"], Some(&["b", "a", "c"])).unwrap(),
            (strings(&["b", "a", "c"]), vec![0, 1])
        );
        assert_eq!(
            of(&["2", "0"], Some(&["x", "y", "z"])).unwrap(),
            (strings(&["x", "y", "z"]), vec![2, 0])
        );
        assert_eq!(
            of(&["3", "1", "2"], Some(&["x", "y", "z"])).unwrap(),
            (strings(&["x", "y", "z"]), vec![2, 0, 1])
        );
        assert_eq!(
            of(&["1", "0"], Some(&["1", "0"])).unwrap(),
            (strings(&["1", "0"]), vec![0, 1])
        );
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert!(matches!(
            of(&["1", "2", "5"], Some(&["x", "y"])),
            Err(TableError::MiscountedNames { count: 3, .. })
        ));
        let error = of(&["pos", "neq"], Some(&["pos", "neg"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "data.csv, line 3: the label `neq` is not in `label_names`"
        );
    }

    #[test]
    fn fractions_are_no_classes() {
        assert!(matches!(
            of(&["1", "2.5"], None),
            Err(TableError::FloatLabel { .. })
        ));
        assert!(of(&["1.x", "2.5"], None).is_ok());
    }

    #[test]
    fn files_of_integers_and_files_of_names_do_not_mix() {
        assert!(matches!(
            Labels::of_training(&[raw(&["0", "1"]), raw(&["yes", "no"])], None),
            Err(TableError::MixedFiles { .. })
        ));
        assert!(Labels::of_training(&[raw(&["0", "x"]), raw(&["yes", "no"])], None).is_ok());
    }

    #[test]
    fn several_labels_a_row_come_out_ascending_and_once() {
        let raw = raw_lists(&[&["b", "a", "b"], &[], &["c"]], false);
        let labels = Labels::of_training(std::slice::from_ref(&raw), None);
        let labels = labels.unwrap().unwrap();
        assert_eq!(labels.names, ["a", "b", "c"]);
        let numbers = labels.encode_lists(&raw, "train").unwrap().unwrap();
        assert_eq!(numbers, [vec![0, 1], vec![], vec![2]]);
        let error = labels.encode_lists(&raw_lists(&[&[], &["a", "d"]], false), "test");
        assert_eq!(
            error.unwrap_err().to_string(),
            "data.csv, line 3: the label `d` is in test but never in train"
        );
    }

    #[test]
    fn tags_keep_their_order_and_may_be_numbers_with_names() {
        let raw = raw_lists(&[&["2", "0", "2"], &["1"]], true);
        let names = strings(&["O", "B-X", "I-X"]);
        let labels = Labels::of_training(std::slice::from_ref(&raw), Some(&names));
        let labels = labels.unwrap().unwrap();
        assert_eq!(labels.name("2"), Some("I-X"));
        let numbers = labels.encode_tags(&raw, "train").unwrap().unwrap();
        assert_eq!(numbers, [vec![2, 0, 2], vec![1]]);
        // A tag has a line of its own here.
        let error = labels.encode_tags(&raw_lists(&[&["0", "1", "7"]], true), "test");
        assert_eq!(
            error.unwrap_err().to_string(),
            "data.csv, line 4: the label `7` is in test but never in train"
        );
    }

    #[test]
    fn names_that_are_added_take_their_place_by_bytes() {
        let raw = raw_lists(&[&["O", "B-Y", "B-X"]], true);
        let labels = Labels::of_training(std::slice::from_ref(&raw), None);
        let mut labels = labels.unwrap().unwrap();
        let added = labels.add(strings(&["O", "I-Y", "B-Z", "B-X"]));
        assert!(added.iter().eq(["B-Z", "I-Y"]));
        assert_eq!(labels.names, ["B-X", "B-Y", "B-Z", "I-Y", "O"]);
        let numbers = labels.encode_tags(&raw, "train").unwrap().unwrap();
        assert_eq!(numbers, [vec![4, 1, 0]]);
        let before = labels.clone();
        assert!(labels.add(strings(&["O"])).is_empty());
        assert_eq!(labels, before);
    }

    #[test]
    fn a_column_of_labels_without_any_is_an_error_unless_they_are_named() {
        let raw = raw_lists(&[&[], &[]], false);
        let of = |names| Labels::of_training(std::slice::from_ref(&raw), names);
        assert!(matches!(of(None), Err(TableError::NoLabels)));
        let names = strings(&["a"]);
        assert_eq!(of(Some(&names)).unwrap().unwrap().names, ["a"]);
        assert_eq!(Labels::of_training(&[bare()], None).unwrap(), None);
    }

    #[test]
    fn a_label_that_training_lacks_is_named_with_its_row() {
        let labels = Labels::of_training(&[raw(&["ham", "spam"])], None)
            .unwrap()
            .unwrap();
        let error = labels.encode(&raw(&["ham", "spams"]), "test").unwrap_err();
        assert_eq!(
            error.to_string(),
            "data.csv, line 3: the label `spams` is in test but never in train"
        );
    }
}
