//! Which files belong to which split where no card says it, and of which kind they are.
//!
//! The rules are those of `datasets` 5.2.0 (`data_files.py`, `packaged_modules/__init__.py`): `tests/fixtures/dataset_splits.json`
//! holds what its own functions answer.
//!
//! Deliberately absent: files of kinds that are no tables of text. They are told from those that are, and left alone. Of
//! files in `.md` and `.toml`, which 5.2.0 takes for tasks of agents, none is data here.

use std::collections::{BTreeMap, BTreeSet};

use super::DatasetError;
use crate::hub::pattern::Pattern;

/// Split → its files or patterns, in the order of the splits.
pub(super) type Splits = Vec<(String, Vec<String>)>;

/// What the splits are called by those who do not call them so; the first keyword is the split's own name.
pub(super) const KEYWORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

const SHARD: &str = "-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*";
const IN_FOLDERS: [&str; 4] = [
    "**/{}/**",
    "**/{}[-._ 0-9]*/**",
    "**/*[-._ 0-9]{}/**",
    "**/*[-._ 0-9]{}[-._ 0-9]*/**",
];
const IN_FILES: [&str; 2] = ["**/{}[-._ 0-9]*", "**/*[-._ 0-9]{}[-._ 0-9]*"];

/// Files that describe a data set and hold none of it, unless a pattern names them.
const NO_DATA: [&str; 6] = [
    "README.md",
    "config.json",
    "dataset_info.json",
    "dataset_infos.json",
    "dummy_data.zip",
    "dataset_dict.json",
];

/// Files that describe pictures and sounds beside them.
const DESCRIPTIONS: [&str; 3] = ["metadata.csv", "metadata.jsonl", "metadata.parquet"];

/// A kind of file: all files of a split, and all splits, are of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Csv,
    Tsv,
    Json,
    Parquet,
    Text,
    Conll,
    /// What the library loads, and this program does not.
    Other,
}

/// Endings and their kinds. Of `Other` those that stand beside texts most often.
const ENDINGS: [(&str, Kind); 40] = [
    ("csv", Kind::Csv),
    ("tsv", Kind::Tsv),
    ("json", Kind::Json),
    ("jsonl", Kind::Json),
    ("ndjson", Kind::Json),
    ("parquet", Kind::Parquet),
    ("txt", Kind::Text),
    ("conll", Kind::Conll),
    ("arrow", Kind::Other),
    ("conllu", Kind::Other),
    ("geoparquet", Kind::Other),
    ("gpq", Kind::Other),
    ("tar", Kind::Other),
    ("zip", Kind::Other),
    ("xml", Kind::Other),
    ("hdf5", Kind::Other),
    ("h5", Kind::Other),
    ("eval", Kind::Other),
    ("lance", Kind::Other),
    ("tsfile", Kind::Other),
    ("vortex", Kind::Other),
    ("fasta", Kind::Other),
    ("fastq", Kind::Other),
    ("pdb", Kind::Other),
    ("pdf", Kind::Other),
    ("png", Kind::Other),
    ("jpg", Kind::Other),
    ("jpeg", Kind::Other),
    ("gif", Kind::Other),
    ("bmp", Kind::Other),
    ("webp", Kind::Other),
    ("tiff", Kind::Other),
    ("wav", Kind::Other),
    ("mp3", Kind::Other),
    ("flac", Kind::Other),
    ("ogg", Kind::Other),
    ("opus", Kind::Other),
    ("mp4", Kind::Other),
    ("mkv", Kind::Other),
    ("avi", Kind::Other),
];

impl Kind {
    fn of(ending: &str) -> Option<Kind> {
        let known = ENDINGS.iter().find(|(known, _)| *known == ending);
        known.map(|(_, kind)| *kind)
    }

    /// The library reads both with one module.
    fn is_like(self, other: Kind) -> bool {
        let tables = [Kind::Csv, Kind::Tsv];
        self == other || (tables.contains(&self) && tables.contains(&other))
    }

    /// The endings that this program reads, for messages.
    pub(super) fn readable() -> String {
        let read = ENDINGS.iter().filter(|(_, kind)| *kind != Kind::Other);
        read.map(|(ending, _)| *ending)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The endings of a file: `csv` and `gz` of `a.csv.gz`.
fn endings(name: &str) -> impl Iterator<Item = &str> {
    file_of(name).split('.').skip(1)
}

fn file_of(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The files that a pattern means, in the order of their names: of any ending, or with `data` of one that a kind has.
pub(super) fn matching<'n>(names: &BTreeSet<&'n str>, pattern: &str, data: bool) -> Vec<&'n str> {
    let Some(compiled) = Pattern::new(pattern) else {
        return Vec::new();
    };
    let is_wanted = |name: &&str| {
        let file = file_of(name);
        compiled.matches(name)
            && (!NO_DATA.contains(&file) || file == file_of(pattern))
            && (!data || endings(name).any(|ending| Kind::of(ending).is_some()))
    };
    names.iter().copied().filter(is_wanted).collect()
}

/// The files of a split, pattern by pattern. A file that two of them mean is in the split once; the library has it twice.
///
/// # Errors
/// A plain name of which there is no file.
pub(super) fn resolve(
    names: &BTreeSet<&str>,
    split: &str,
    patterns: &[String],
) -> Result<Vec<String>, DatasetError> {
    let mut found: Vec<String> = Vec::new();
    for pattern in patterns {
        let files = matching(names, pattern, true);
        let has_wildcards = Pattern::new(pattern).is_some_and(|pattern| pattern.has_wildcards);
        if files.is_empty() && !has_wildcards {
            return Err(DatasetError::NoMatch {
                split: split.to_owned(),
                patterns: pattern.clone(),
            });
        }
        for file in files {
            if !found.iter().any(|one| one == file) {
                found.push(file.to_owned());
            }
        }
    }
    Ok(found)
}

/// Split → patterns, by the first rule that any file follows.
///
/// # Errors
/// There is no file at all; a shard whose split has an impossible name.
pub(super) fn named_patterns(names: &BTreeSet<&str>) -> Result<Splits, DatasetError> {
    let shards = matching(names, &format!("data/*{SHARD}"), false);
    if !shards.is_empty() {
        return sharded(&shards);
    }
    let exists = |pattern: &String| !matching(names, pattern, false).is_empty();
    let filled = |rules: &[&str]| -> Splits {
        let patterns = KEYWORDS.iter().map(|(split, keywords)| {
            let of_keyword = |keyword: &&str| {
                let keyword = (*keyword).to_owned();
                rules.iter().map(move |rule| rule.replace("{}", &keyword))
            };
            let patterns = keywords.iter().flat_map(of_keyword).collect::<Vec<_>>();
            ((*split).to_owned(), patterns)
        });
        patterns
            .filter(|(_, patterns)| patterns.iter().any(exists))
            .collect()
    };
    let logs = vec!["**/*.eval".to_owned()];
    if logs.iter().any(exists) {
        return Ok(vec![("logs".to_owned(), logs)]);
    }
    for rules in [&IN_FOLDERS[..], &IN_FILES[..]] {
        let splits = filled(rules);
        if !splits.is_empty() {
            return Ok(splits);
        }
    }
    let all = vec!["**".to_owned()];
    match all.iter().any(exists) {
        true => Ok(vec![(KEYWORDS[0].0.to_owned(), all)]),
        false => Err(DatasetError::NoFiles),
    }
}

fn sharded(shards: &[&str]) -> Result<Splits, DatasetError> {
    let splits = shards.iter().map(|name| split_of_shard(file_of(name)));
    let splits: BTreeSet<&str> = splits.collect();
    if let Some(wrong) = splits.iter().find(|split| !is_split_name(split)) {
        return Err(DatasetError::NoSplitName {
            name: (*wrong).to_owned(),
        });
    }
    let usual = KEYWORDS.map(|(split, _)| split);
    let first = usual.iter().copied().filter(|split| splits.contains(split));
    let then = splits
        .iter()
        .copied()
        .filter(|split| !usual.contains(split));
    let pattern = |split: &str| (split.to_owned(), vec![format!("data/{split}{SHARD}")]);
    Ok(first.chain(then).map(pattern).collect())
}

/// What stands before the last `-00000-of-0000` of a shard's name.
fn split_of_shard(file: &str) -> &str {
    let is_number = |at: usize| {
        let text = file.get(at..at + "-00000-of-0000".len());
        text.is_some_and(|text| {
            let shape = text.bytes().zip("-00000-of-0000".bytes());
            shape.into_iter().all(|(found, wanted)| match wanted {
                b'0' => found.is_ascii_digit(),
                other => found == other,
            })
        })
    };
    let at = (1..file.len()).rev().find(|at| is_number(*at));
    at.and_then(|at| file.get(..at)).unwrap_or(file)
}

/// Whether a split may be called so: words, with points between them.
pub(super) fn is_split_name(name: &str) -> bool {
    let is_word =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    name.split('.').all(is_word)
}

/// The kind of the most frequent ending; none of files that have none.
fn kind_of(files: &[String]) -> Option<Kind> {
    let mut counts: BTreeMap<(String, bool), usize> = BTreeMap::new();
    for file in files {
        let describes = DESCRIPTIONS.contains(&file_of(file));
        for ending in endings(file) {
            *counts
                .entry((ending.to_lowercase(), describes))
                .or_default() += 1;
        }
    }
    const FAVOURITES: [&str; 7] = [
        "parquet", "lance", "vortex", "arrow", "jsonl", "json", "csv",
    ];
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|((ending, describes), count)| {
        let favourite = FAVOURITES.iter().rev().position(|one| one == ending);
        (
            !describes,
            *count,
            favourite.map(|place| place + 1),
            ending.clone(),
        )
    });
    let mut endings = counts.iter().rev().map(|((ending, _), _)| ending);
    endings.find_map(|ending| Kind::of(ending))
}

/// The kind of all files, which must be one.
///
/// # Errors
/// Splits of different kinds; of a kind that is not read, or none.
pub(super) fn one_kind(splits: &Splits) -> Result<Kind, DatasetError> {
    let kinds = splits.iter().map(|(split, files)| (split, kind_of(files)));
    let kinds: Vec<_> = kinds.collect();
    let Some((first, kind)) = kinds.first() else {
        return Err(DatasetError::NoFiles);
    };
    if let Some((other, _)) = kinds.iter().find(|(_, other)| other != kind) {
        return Err(DatasetError::SeveralKinds {
            first: (*first).clone(),
            other: (*other).clone(),
        });
    }
    kind.filter(|kind| *kind != Kind::Other)
        .ok_or(DatasetError::NoFiles)
}

/// The files of a kind.
pub(super) fn of_kind(splits: Splits, kind: Kind) -> Splits {
    let fits = |file: &String| {
        endings(file).any(|ending| Kind::of(ending).is_some_and(|found| found.is_like(kind)))
    };
    let kept =
        |(split, files): (String, Vec<String>)| (split, files.into_iter().filter(fits).collect());
    splits.into_iter().map(kept).collect()
}
