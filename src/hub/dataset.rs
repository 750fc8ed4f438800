//! The splits of a data set, from the names of its files and what its card tells programs.
//!
//! The rules are those of Hugging Face's `datasets` library (`data_files.py`; "Structure your repository" and "Manual
//! configuration" in the hub's documentation): what the card's `configs` say comes first; then shards named
//! `data/SPLIT-00000-of-00003.parquet`; then `train`, `validation`, `test` and their usual synonyms as words in the names of
//! files, then in the names of folders; and where there is nothing of all that, every file is for training. Class names are
//! those of the card's `dataset_info`.
//!
//! Deliberately absent: loading scripts, which are programs, and files that `load` cannot read.

use std::collections::{BTreeMap, BTreeSet};

use glob::{MatchOptions, Pattern};
use serde_json::Value;

use super::Dataset;

/// A data set whose splits cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    #[error("there is no file that could be read: no {}", ENDINGS.join(", "))]
    NoFiles,
    #[error("it has the configurations {}", known.join(", "))]
    SeveralConfigs { known: Vec<String> },
    #[error("it has no configuration {asked:?}; there is {}", known.join(", "))]
    NoConfig { asked: String, known: Vec<String> },
    #[error("its card names files for the split {split} that are not there: {patterns}")]
    NoMatch { split: String, patterns: String },
}

impl DatasetError {
    /// What to do.
    pub(super) fn help_text(&self) -> &'static str {
        match self {
            DatasetError::NoFiles | DatasetError::NoMatch { .. } => {
                "name its files yourself: `train = \"hf://datasets/OWNER/NAME/PATH\"`"
            }
            DatasetError::SeveralConfigs { .. } => "choose one: `config = \"NAME\"`",
            DatasetError::NoConfig { .. } => "set `config` to one of these",
        }
    }
}

/// The endings of files that `load` reads, the ones preferred first where a data set has equally many of two.
const ENDINGS: [&str; 7] = ["parquet", "csv", "tsv", "jsonl", "ndjson", "json", "txt"];

/// Files that describe a data set and hold none of it.
const NO_DATA: [&str; 7] = [
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "requirements.txt",
    "license.txt",
    "readme.txt",
];

/// What the splits are called.
const SPLITS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "val", "dev"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// `*` stops at a folder's end, `**` does not.
const BY_FOLDER: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The splits of a data set with files of these `names`, in the configuration asked for. `converted` says that they are the
/// hub's own Parquet files, `CONFIG/SPLIT/0000.parquet`.
///
/// # Errors
/// Nothing to read; several configurations and none asked for; one that is not there.
pub fn choose(
    names: &BTreeSet<&str>,
    card: &Value,
    config: Option<&str>,
    converted: bool,
) -> Result<Dataset, DatasetError> {
    let (splits, config) = if converted {
        converted_splits(names, config)?
    } else {
        let configs = card.get("configs").and_then(Value::as_array);
        match configs.filter(|configs| !configs.is_empty()) {
            Some(configs) => configured_splits(names, configs, config)?,
            None => {
                let splits = named_splits(&readable(names.iter().copied()))?;
                if let Some(asked) = config.filter(|asked| *asked != DEFAULT) {
                    return Err(DatasetError::NoConfig {
                        asked: asked.to_owned(),
                        known: vec![DEFAULT.to_owned()],
                    });
                }
                (splits, None)
            }
        }
    };
    Ok(Dataset {
        splits,
        class_names: class_names(card, config.as_deref()),
    })
}

/// What the only configuration of a data set is called that names none.
const DEFAULT: &str = "default";

type Splits = BTreeMap<String, Vec<String>>;

fn converted_splits(
    names: &BTreeSet<&str>,
    asked: Option<&str>,
) -> Result<(Splits, Option<String>), DatasetError> {
    let mut configs: BTreeMap<String, Splits> = BTreeMap::new();
    for name in names.iter().filter(|name| name.ends_with(".parquet")) {
        if let [config, split, _] = name.split('/').collect::<Vec<_>>()[..] {
            let split = split.strip_prefix("partial-").unwrap_or(split);
            let splits = configs.entry(config.to_owned()).or_default();
            splits
                .entry(split.to_owned())
                .or_default()
                .push((*name).to_owned());
        }
    }
    let known: Vec<String> = configs.keys().cloned().collect();
    let chosen = pick(&known, None, asked)?;
    let splits = configs.remove(&chosen).unwrap_or_default();
    Ok((splits, Some(chosen)))
}

/// The configuration asked for; else the one marked as default, the one of that name, or the only one.
fn pick(
    known: &[String],
    marked: Option<String>,
    asked: Option<&str>,
) -> Result<String, DatasetError> {
    let has = |name: &str| known.iter().any(|one| one == name);
    match (asked, marked, known) {
        (_, _, []) => Err(DatasetError::NoFiles),
        (Some(asked), _, _) if has(asked) => Ok(asked.to_owned()),
        (Some(asked), _, _) => Err(DatasetError::NoConfig {
            asked: asked.to_owned(),
            known: known.to_vec(),
        }),
        (None, Some(marked), _) => Ok(marked),
        (None, None, [only]) => Ok(only.clone()),
        (None, None, _) if has(DEFAULT) => Ok(DEFAULT.to_owned()),
        _ => Err(DatasetError::SeveralConfigs {
            known: known.to_vec(),
        }),
    }
}

fn configured_splits(
    names: &BTreeSet<&str>,
    configs: &[Value],
    asked: Option<&str>,
) -> Result<(Splits, Option<String>), DatasetError> {
    let name_of = |config: &Value| {
        let name = config.get("config_name").and_then(Value::as_str);
        name.unwrap_or(DEFAULT).to_owned()
    };
    let known: Vec<String> = configs.iter().map(name_of).collect();
    let marked = configs
        .iter()
        .find(|config| config.get("default").and_then(Value::as_bool) == Some(true));
    let chosen = pick(&known, marked.map(name_of), asked)?;
    let config = configs.iter().find(|config| name_of(config) == chosen);
    let config = config.unwrap_or(&Value::Null);
    let folder = config.get("data_dir").and_then(Value::as_str).unwrap_or("");
    let folder = folder.trim_start_matches("./").trim_matches('/');
    let inside = |name: &str| -> Option<String> {
        match folder {
            "" => Some(name.to_owned()),
            folder => Some(name.strip_prefix(folder)?.strip_prefix('/')?.to_owned()),
        }
    };
    let splits = match config.get("data_files") {
        Some(files) => {
            let mut splits = Splits::new();
            for (split, patterns) in patterns(files) {
                let found = matching(names, &patterns, &inside);
                if found.is_empty() {
                    return Err(DatasetError::NoMatch {
                        split,
                        patterns: patterns.join(", "),
                    });
                }
                splits.entry(split).or_default().extend(found);
            }
            splits
        }
        None => {
            let there = names.iter().copied().filter(|name| inside(name).is_some());
            named_splits(&readable(there))?
        }
    };
    if splits.is_empty() {
        return Err(DatasetError::NoFiles);
    }
    Ok((splits, Some(chosen)))
}

/// Split → patterns of the names of its files. What names no split is for training.
fn patterns(files: &Value) -> Vec<(String, Vec<String>)> {
    let texts = |value: &Value| -> Vec<String> {
        match value {
            Value::String(text) => vec![text.clone()],
            Value::Array(items) => {
                let texts = items.iter().filter_map(Value::as_str);
                texts.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    };
    let train = || SPLITS[0].0.to_owned();
    match files {
        Value::Array(items) if items.iter().all(Value::is_object) => items
            .iter()
            .map(|item| {
                let split = item.get("split").and_then(Value::as_str);
                let paths = item.get("path").map(&texts).unwrap_or_default();
                (split.map_or_else(train, str::to_owned), paths)
            })
            .collect(),
        Value::Object(splits) => splits
            .iter()
            .map(|(split, paths)| (split.clone(), texts(paths)))
            .collect(),
        other => vec![(train(), texts(other))],
    }
}

fn matching(
    names: &BTreeSet<&str>,
    patterns: &[String],
    inside: &dyn Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for pattern in patterns {
        let pattern = pattern.trim_start_matches("./");
        let compiled = Pattern::new(pattern).ok();
        let fits = |name: &str| {
            inside(name).is_some_and(|inner| {
                let by_pattern = compiled.as_ref();
                inner == pattern
                    || by_pattern.is_some_and(|one| one.matches_with(&inner, BY_FOLDER))
            })
        };
        for name in readable(names.iter().copied().filter(|name| fits(name))) {
            if !found.iter().any(|one| one == name) {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// The files that hold data, of the ending that most of them have.
fn readable<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let ending = |name: &str| {
        let (_, ending) = name.rsplit_once('.')?;
        ENDINGS
            .iter()
            .position(|known| ending.eq_ignore_ascii_case(known))
    };
    let hidden = |part: &str| part.starts_with('.') || part.starts_with("__");
    let holds_data = |name: &&str| {
        let file = name.rsplit('/').next().unwrap_or(name).to_lowercase();
        ending(name).is_some() && !name.split('/').any(hidden) && !NO_DATA.contains(&file.as_str())
    };
    let names: Vec<&str> = names.filter(holds_data).collect();
    let mut counts = [0; ENDINGS.len()];
    for place in names.iter().filter_map(|name| ending(name)) {
        counts[place] += 1;
    }
    let most = counts.iter().max().copied().unwrap_or(0);
    let chosen = counts.iter().position(|count| *count == most);
    names
        .into_iter()
        .filter(|name| ending(name) == chosen)
        .collect()
}

fn named_splits(names: &[&str]) -> Result<Splits, DatasetError> {
    if names.is_empty() {
        return Err(DatasetError::NoFiles);
    }
    let collected = |split_of: &dyn Fn(&str) -> Option<String>| {
        let mut splits = Splits::new();
        for name in names {
            if let Some(split) = split_of(name) {
                splits.entry(split).or_default().push((*name).to_owned());
            }
        }
        splits
    };
    let in_file = |name: &str| split_in(name.rsplit('/').next().unwrap_or(name));
    let in_folders =
        |name: &str| split_in(name.rsplit_once('/').map_or("", |(folders, _)| folders));
    type Rule<'a> = &'a dyn Fn(&str) -> Option<String>;
    let rules: [Rule; 4] = [&shard, &in_file, &in_folders, &|_: &str| {
        Some(SPLITS[0].0.to_owned())
    }];
    let splits = rules
        .into_iter()
        .map(collected)
        .find(|splits| !splits.is_empty());
    Ok(splits.unwrap_or_default())
}

/// The split of `data/SPLIT-00000-of-00003….parquet`.
fn shard(name: &str) -> Option<String> {
    let file = name
        .strip_prefix("data/")
        .filter(|file| !file.contains('/'))?;
    let (before, after) = file.split_once("-of-")?;
    let (split, number) = before.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let of = after.get(..5)?;
    let is_name = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let sound = digits(number) && digits(of) && split.split('.').all(is_name);
    sound.then(|| split.to_owned())
}

/// The split that a name's words say, words being what stands between characters that are no letters.
fn split_in(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphabetic()).collect();
    let said = SPLITS
        .iter()
        .find(|(_, synonyms)| words.iter().any(|word| synonyms.contains(word)));
    said.map(|(split, _)| (*split).to_owned())
}

/// Column → names of its classes, of the card's `dataset_info`.
fn class_names(card: &Value, config: Option<&str>) -> BTreeMap<String, Vec<String>> {
    let info = match card.get("dataset_info") {
        Some(Value::Array(infos)) => {
            let of_config = |info: &&Value| {
                let name = info.get("config_name").and_then(Value::as_str);
                name.unwrap_or(DEFAULT) == config.unwrap_or(DEFAULT)
            };
            match infos.as_slice() {
                [only] => Some(only),
                several => several.iter().find(of_config),
            }
        }
        other => other,
    };
    let features = info
        .and_then(|info| info.get("features"))
        .and_then(Value::as_array);
    let mut found = BTreeMap::new();
    for feature in features.into_iter().flatten() {
        let name = feature.get("name").and_then(Value::as_str);
        if let (Some(name), Some(names)) = (name, label_names(feature, 0)) {
            found.insert(name.to_owned(), names);
        }
    }
    found
}

/// A class label is the column's type, or that of the items of its lists.
fn label_names(feature: &Value, depth: usize) -> Option<Vec<String>> {
    const DEEPEST: usize = 4;
    if depth > DEEPEST {
        return None;
    }
    if let Some(label) = feature.get("class_label") {
        return ordered(label.get("names")?);
    }
    ["dtype", "sequence", "list", "feature"]
        .iter()
        .filter_map(|inner| feature.get(inner))
        .find_map(|inner| label_names(inner, depth + 1))
}

/// Names are a list, or a table with the numbers as keys.
fn ordered(names: &Value) -> Option<Vec<String>> {
    match names {
        Value::Array(names) => names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect(),
        Value::Object(numbered) => (0..numbered.len())
            .map(|number| {
                let name = numbered.get(&number.to_string())?;
                name.as_str().map(str::to_owned)
            })
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
