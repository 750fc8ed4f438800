//! Labels as written → numbers, in an order that is the same every time.
//!
//! The classes are those of the training files. Their order is `label_names` if given; else integers go by value and
//! everything else by its bytes. A column is one of integers when each of its values is an integer as Rust prints it, so
//! `01` and `1` stay two labels.
//!
//! Deliberately absent: several labels a row, and numbers as targets.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::error::{TableError, did_you_mean, list};
use super::read::Raw;

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
    /// Labels that are numbers with a fraction, files that differ in the kind of label, and names that do not fit.
    pub fn of_training(
        files: &[Raw],
        names: Option<&[String]>,
    ) -> Result<Option<Labels>, TableError> {
        let different = files.iter().map(different).collect::<Vec<_>>();
        let written = different.iter().flatten().map(|(_, label)| *label);
        let written = written.collect::<BTreeSet<_>>();
        let Some(first) = files.first().filter(|_| !written.is_empty()) else {
            return Ok(None);
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

    /// The number of each row's label.
    ///
    /// # Errors
    /// A label that the training files do not have.
    pub fn encode(&self, raw: &Raw, split: &str) -> Result<Option<Vec<u32>>, TableError> {
        let number = |(row, label): (usize, &str)| {
            self.numbers
                .get(label)
                .copied()
                .ok_or_else(|| self.unseen(raw, row, label, split))
        };
        raw.labels()
            .map(|labels| labels.enumerate().map(number).collect())
            .transpose()
    }

    /// The error for a label that the training split lacks.
    pub fn unseen(&self, raw: &Raw, row: usize, label: &str, split: &str) -> TableError {
        let known = list(self.names.iter().map(String::as_str), 20);
        let meant = did_you_mean(label, self.names.iter().map(String::as_str));
        TableError::UnseenLabel {
            place: raw.places.of(&raw.file, row),
            label: label.to_owned(),
            split: split.to_owned(),
            help: format!(
                "a model only learns labels it is shown; the known ones are {known}{meant}"
            ),
        }
    }
}

/// The labels of a file, each once, with the first row that has it, in the order of these rows.
fn different(raw: &Raw) -> Vec<(usize, &str)> {
    let mut seen = HashSet::new();
    let labels = raw.labels().into_iter().flatten().enumerate();
    labels.filter(|(_, label)| seen.insert(*label)).collect()
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

fn unnamed(files: &[Raw], different: &[Vec<(usize, &str)>], names: &[String]) -> TableError {
    let known = |label: &str| names.iter().any(|name| name == label);
    let stranger = files.iter().zip(different).find_map(|(raw, labels)| {
        let stranger = labels.iter().find(|(_, label)| !known(label));
        stranger.map(|(row, label)| (raw, *row, *label))
    });
    match stranger {
        Some((raw, row, label)) => TableError::UnnamedLabel {
            place: raw.places.of(&raw.file, row),
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
fn no_fractions(files: &[Raw], different: &[Vec<(usize, &str)>]) -> Result<(), TableError> {
    let mut fraction = None;
    for (raw, labels) in files.iter().zip(different) {
        for &(row, label) in labels {
            if !label.parse::<f64>().is_ok_and(f64::is_finite) {
                return Ok(());
            }
            if fraction.is_none() && integer(label).is_none() && label.contains(['.', 'e', 'E']) {
                fraction = Some((raw, row, label));
            }
        }
    }
    match fraction {
        Some((raw, row, value)) => Err(TableError::FloatLabel {
            place: raw.places.of(&raw.file, row),
            column: raw.label_column.clone(),
            value: value.to_owned(),
        }),
        None => Ok(()),
    }
}

/// One file of integers beside one of names is almost surely a mistake.
fn one_kind(files: &[Raw], different: &[Vec<(usize, &str)>]) -> Result<(), TableError> {
    let mut kinds = BTreeMap::new();
    for (raw, labels) in files.iter().zip(different) {
        let mut labels = labels
            .iter()
            .map(|(_, label)| integer(label).is_some())
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
    use super::super::read::Raw;
    use super::*;
    use crate::table::shape::Places;

    fn raw(labels: &[&str]) -> Raw {
        let mut contents = String::new();
        let place = |label: &&str| {
            contents.push_str(label);
            contents.len() - label.len()..contents.len()
        };
        Raw {
            file: "data.csv".into(),
            places: Places::Lines { first: 2 },
            unnamed_width: None,
            label_column: "`label`".to_owned(),
            text: vec![0..0; labels.len()],
            text_pair: None,
            label: Some(labels.iter().map(place).collect()),
            contents,
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
