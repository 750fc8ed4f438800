//! The files of a folder: which are train, validation and test, and which list the names of labels.
//!
//! Words of a file's name say its split, else those of the folders above it. Of files that differ in their ending alone one is
//! read. A folder without any such word holds one file, which is cut.
//!
//! Deliberately absent: the hub's rules for data sets, which `dataset = "FOLDER"` in a spec follows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{InitError, names};
use crate::table::read::Format;

/// How deep below the folder files are looked for.
const DEEPEST: usize = 3;
/// More files are not looked at.
const MOST: usize = 10_000;
/// A list of names is no longer. Bytes.
const LONGEST_LIST: u64 = 1 << 20;

/// The files of each split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    pub train: Vec<PathBuf>,
    pub validation: Vec<PathBuf>,
    pub test: Vec<PathBuf>,
}

/// The files in `folder` by the split that they are for.
///
/// # Errors
/// A folder that cannot be read; one in which nothing can be read, or nothing says what is for training.
pub fn of_folder(folder: &Path) -> Result<Files, InitError> {
    let unreadable = |source| InitError::Unreadable {
        path: folder.to_owned(),
        source,
    };
    let (mut found, mut pending) = (Vec::new(), vec![(folder.to_owned(), 0)]);
    while let Some((below, depth)) = pending.pop() {
        let entries = match std::fs::read_dir(&below) {
            Ok(entries) => entries,
            Err(error) if depth == 0 => return Err(unreadable(error)),
            Err(_) => continue,
        };
        for entry in entries.flatten().take(MOST) {
            let path = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if hidden {
                continue;
            }
            if path.is_dir() && depth < DEEPEST {
                pending.push((path, depth + 1));
            } else if path.is_file() && Format::of_ending(&path).is_some() && !lists_labels(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    by_split(folder, &found)
}

fn by_split(folder: &Path, found: &[PathBuf]) -> Result<Files, InitError> {
    let mut splits = BTreeMap::<&str, Vec<PathBuf>>::new();
    let mut without = Vec::new();
    for path in one_of_twins(found) {
        match split_of(folder, &path) {
            Some(split) => splits.entry(split).or_default().push(path),
            None => without.push(path),
        }
    }
    let mut of = |split| splits.remove(split).unwrap_or_default();
    let mut files = Files {
        train: of("train"),
        validation: of("validation"),
        test: of("test"),
    };
    let known = |path: &PathBuf| Format::of_ending(path) != Some(Format::Text);
    if files.train.is_empty() {
        // Plain text is data where there is nothing else.
        let tables: Vec<PathBuf> = without.iter().filter(|path| known(path)).cloned().collect();
        files.train = match tables.is_empty() {
            true => without,
            false => tables,
        };
    }
    let relative = |path: &PathBuf| {
        let path = path.strip_prefix(folder).unwrap_or(path);
        path.display().to_string()
    };
    match (files.train.as_slice(), found) {
        ([], []) => Err(InitError::NoFiles {
            folder: folder.to_owned(),
        }),
        ([], _) => Err(InitError::NoTraining {
            folder: folder.to_owned(),
            found: listed(found.iter().map(relative)),
        }),
        ([_], _) => Ok(files),
        (several, _) if several.iter().any(|path| split_of(folder, path).is_none()) => {
            Err(InitError::SeveralFiles {
                folder: folder.to_owned(),
                found: listed(several.iter().map(relative)),
            })
        }
        _ => Ok(files),
    }
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(12);
    let mut all: Vec<String> = names.take(12).collect();
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all.join(", ")
}

/// The files without those of which another form lies beside them, and with one format for all.
fn one_of_twins(found: &[PathBuf]) -> Vec<PathBuf> {
    let rank = |path: &Path| match Format::of_ending(path) {
        Some(Format::Parquet) => 0,
        Some(Format::Jsonl) => 1,
        Some(Format::Json | Format::Squad | Format::SquadContexts) => 2,
        Some(Format::Csv) => 3,
        Some(Format::Tsv) => 4,
        Some(Format::Conll) => 5,
        Some(Format::Text | Format::Wordnet | Format::WordnetRelated) => 6,
        None => 7,
    };
    let mut best = BTreeMap::<(PathBuf, String), PathBuf>::new();
    for path in found {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = name.split('.').next().unwrap_or_default().to_owned();
        // `v1.0` is no ending.
        let stem = match name.matches('.').count() {
            0 | 1 => stem,
            _ => name
                .rsplit_once('.')
                .map_or(stem, |(stem, _)| stem.to_owned()),
        };
        let key = (path.parent().unwrap_or(Path::new("")).to_owned(), stem);
        let better = best.get(&key).is_none_or(|other| rank(path) < rank(other));
        if better {
            best.insert(key, path.clone());
        }
    }
    best.into_values().collect()
}

/// The split that the words of a file's name say, or those of the folders above it.
pub(super) fn split_of(folder: &Path, path: &Path) -> Option<&'static str> {
    let below = path.strip_prefix(folder).unwrap_or(path);
    let parts: Vec<String> = below
        .iter()
        .map(|part| part.to_string_lossy().to_lowercase())
        .collect();
    parts.iter().rev().find_map(|part| {
        let words = part.split(|c: char| !c.is_alphabetic());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let says = |(split, names): &(&'static str, &[&str])| {
            let said = words.iter().any(|word| names.contains(word));
            said.then_some(*split)
        };
        names::SPLITS.iter().find_map(says)
    })
}

/// Whether a file's name says that it lists the names of labels.
fn lists_labels(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    names::OF_LABELS.contains(&stem.to_lowercase().as_str())
        && ["txt", "json"].contains(&ending.to_lowercase().as_str())
}

/// The names of labels that a file in `folder` lists, one a line or as JSON: a list, or an object from numbers to names or
/// from names to numbers.
pub fn label_names(folder: &Path) -> Option<(PathBuf, Vec<String>)> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().take(MOST);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| lists_labels(path) && path.is_file());
    paths.sort_by_key(|path| {
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        names::OF_LABELS.iter().position(|name| *name == stem)
    });
    paths.into_iter().find_map(|path| {
        let length = std::fs::metadata(&path).ok()?.len();
        let text = (length <= LONGEST_LIST).then(|| std::fs::read_to_string(&path).ok())??;
        let names = names_in(&text)?;
        Some((path, names))
    })
}

fn names_in(text: &str) -> Option<Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let names: Vec<String> = match text.trim_start().as_bytes() {
        [b'[' | b'{', ..] => of_json(serde_json::from_str(text).ok()?)?,
        _ => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(str::to_owned).collect()
        }
    };
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    let sound = distinct.len() == names.len() && !names.iter().any(String::is_empty);
    (sound && names.len() > 1).then_some(names)
}

fn of_json(value: Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        Value::Object(fields) => {
            let pair = |(key, value): (&String, &Value)| match (value, key.parse::<u64>()) {
                (Value::String(name), Ok(number)) => Some((number, name.clone())),
                (number, _) => Some((number.as_u64()?, key.clone())),
            };
            let numbered: BTreeMap<u64, String> = fields.iter().map(pair).collect::<Option<_>>()?;
            let in_order = numbered.keys().copied().eq(0..numbered.len() as u64);
            let all = numbered.len() == fields.len() && in_order;
            all.then(|| numbered.into_values().collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        folder
    }

    fn shown(names: &[&str]) -> Result<[Vec<String>; 3], String> {
        let folder = folder(names);
        let files = of_folder(folder.path()).map_err(|error| error.to_string())?;
        let relative = |paths: Vec<PathBuf>| {
            let paths = paths.into_iter();
            let paths = paths.map(|path| {
                let path = path.strip_prefix(folder.path()).unwrap();
                path.to_str().unwrap().replace('\\', "/")
            });
            paths.collect()
        };
        Ok([files.train, files.validation, files.test].map(relative))
    }

    #[test]
    fn words_of_names_say_the_split() {
        let none = Vec::<String>::new;
        let cases: &[(&[&str], [Vec<String>; 3])] = &[
            (
                &[
                    "train.tsv",
                    "devel.tsv",
                    "test.tsv",
                    "LICENSE",
                    "labels.txt",
                ],
                [
                    vec!["train.tsv".into()],
                    vec!["devel.tsv".into()],
                    vec!["test.tsv".into()],
                ],
            ),
            (
                &["train.parquet", "test.csv", "test.parquet"],
                [
                    vec!["train.parquet".into()],
                    none(),
                    vec!["test.parquet".into()],
                ],
            ),
            (
                &[
                    "train/a.jsonl",
                    "train/b.jsonl",
                    "val/a.jsonl",
                    ".git/x.csv",
                ],
                [
                    vec!["train/a.jsonl".into(), "train/b.jsonl".into()],
                    vec!["val/a.jsonl".into()],
                    none(),
                ],
            ),
            (
                &[
                    "data/train-00000-of-00002.parquet",
                    "data/train-00001-of-00002.parquet",
                ],
                [
                    vec![
                        "data/train-00000-of-00002.parquet".into(),
                        "data/train-00001-of-00002.parquet".into(),
                    ],
                    none(),
                    none(),
                ],
            ),
            (
                &["SMSSpamCollection.tsv", "readme.txt"],
                [vec!["SMSSpamCollection.tsv".into()], none(), none()],
            ),
            (
                &["devices.csv", "my_test_2.csv"],
                [
                    vec!["devices.csv".into()],
                    none(),
                    vec!["my_test_2.csv".into()],
                ],
            ),
        ];
        for (names, wanted) in cases {
            assert_eq!(shown(names).as_ref(), Ok(wanted), "{names:?}");
        }
    }

    #[test]
    fn a_folder_in_which_nothing_says_what_to_train_on_is_an_error() {
        let said = shown(&["a.csv", "b.csv"]).unwrap_err();
        assert!(said.contains("a.csv, b.csv"), "{said}");
        let said = shown(&["test.csv"]).unwrap_err();
        assert!(said.contains("test.csv"), "{said}");
        assert!(shown(&["a.pdf"]).unwrap_err().contains("nothing"));
    }

    #[test]
    fn names_of_labels_are_read_in_their_usual_forms() {
        let wanted = Some(vec!["b".to_owned(), "a".to_owned()]);
        for text in [
            "b\na\n",
            "[\"b\", \"a\"]",
            "{\"0\": \"b\", \"1\": \"a\"}",
            "{\"a\": 1, \"b\": 0}",
        ] {
            assert_eq!(names_in(text), wanted, "{text}");
        }
        for text in [
            "",
            "a",
            "a\na",
            "[1, 2]",
            "{\"a\": 1, \"b\": 5}",
            "{\"a\": ",
        ] {
            assert_eq!(names_in(text), None, "{text}");
        }
        let folder = folder(&["train.csv"]);
        std::fs::write(folder.path().join("categories.json"), "[\"b\", \"a\"]").unwrap();
        let (path, names) = label_names(folder.path()).unwrap();
        assert!(path.ends_with("categories.json"));
        assert_eq!(Some(names), wanted);
    }
}
