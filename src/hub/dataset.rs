//! The splits of a data set, from the names of its files and what its card tells programs.
//!
//! As Hugging Face's `datasets` library finds them ([`rules`]; "Structure your repository" and "Manual configuration" in the
//! hub's documentation): what the card's `configs` say comes first; then shards named `data/SPLIT-00000-of-00003.parquet`;
//! then `train`, `validation`, `test` and their usual synonyms as words in the names of folders, then in those of files; and
//! where there is nothing of all that, every file is for training. Class names are those of the card's `dataset_info`.
//!
//! Deliberately absent: loading scripts, which are programs, and files that `load` cannot read.

mod rules;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use self::rules::{KEYWORDS, Kind, Splits};
use super::Dataset;

/// A data set whose splits cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    #[error(
        "there is no file that could be read, or most of its files are of other kinds than {}",
        Kind::readable()
    )]
    NoFiles,
    #[error("it has several configurations, and none is chosen: {}", known.join(", "))]
    SeveralConfigs { known: Vec<String> },
    #[error("its card marks both {first} and {second} as its default configuration")]
    SeveralDefaults { first: String, second: String },
    #[error("it has no configuration {asked:?}; there is {}", known.join(", "))]
    NoConfig { asked: String, known: Vec<String> },
    #[error("its card names files for the split {split} that are not there: {patterns}")]
    NoMatch { split: String, patterns: String },
    #[error("the files of {first} and those of {other} are of different kinds")]
    SeveralKinds { first: String, other: String },
    #[error(
        "{name:?} is no name for a split: letters, digits, `_`, and points between words are allowed"
    )]
    NoSplitName { name: String },
    #[error("its card is wrong: {reason}")]
    WrongCard { reason: String },
}

impl DatasetError {
    /// What to do.
    pub fn help_text(&self) -> &'static str {
        match self {
            DatasetError::SeveralConfigs { .. } | DatasetError::SeveralDefaults { .. } => {
                "choose one: `config = \"NAME\"`"
            }
            DatasetError::NoConfig { .. } => "set `config` to one of these",
            DatasetError::NoFiles
            | DatasetError::NoMatch { .. }
            | DatasetError::SeveralKinds { .. }
            | DatasetError::NoSplitName { .. }
            | DatasetError::WrongCard { .. } => {
                "name its files yourself: `train = [\"…\"]`, and `hf://datasets/OWNER/NAME/PATH` for those of the hub"
            }
        }
    }
}

/// The splits of a data set with files of these `names`, in the configuration asked for. `converted` says that they are the
/// hub's own Parquet files, `CONFIG/SPLIT/0000.parquet`.
///
/// # Errors
/// Nothing to read; several configurations and none asked for; one that is not there; a card that cannot be followed.
pub fn choose(
    names: &BTreeSet<&str>,
    card: &Value,
    config: Option<&str>,
    converted: bool,
) -> Result<Dataset, DatasetError> {
    let (splits, config) = if converted {
        converted_splits(names, config)?
    } else {
        let configs = card.get("configs").filter(|configs| !configs.is_null());
        let configs = match configs {
            None => &[][..],
            Some(Value::Array(configs)) => configs,
            Some(_) => return Err(wrong_card("`configs` is no list")),
        };
        if configs.is_empty() {
            // Where there are no files, that is what there is to say: the hub may have them as Parquet.
            let splits = named_splits(names)?;
            let told = info_names(card);
            let known = |asked: &&str| *asked != DEFAULT && !told.iter().any(|one| one == asked);
            if let Some(asked) = config.filter(known) {
                let mut known = vec![DEFAULT.to_owned()];
                known.extend(told);
                return Err(DatasetError::NoConfig {
                    asked: asked.to_owned(),
                    known,
                });
            }
            let asked = config.filter(|asked| *asked != DEFAULT || told.len() > 1);
            (splits, asked.map(str::to_owned))
        } else {
            configured_splits(names, configs, config)?
        }
    };
    Ok(Dataset {
        splits: splits.into_iter().collect(),
        class_names: class_names(card, config.as_deref()),
    })
}

/// Role → the split that plays it, of those that a data set has: the one of that name, else one that is called by a synonym
/// (`dev`, `valid`, `val` for `validation`; `testing`, `eval`, `evaluation` for `test`; `training` for `train`).
pub fn roles(has: &BTreeMap<String, Vec<String>>) -> Vec<(&'static str, &'static str)> {
    let played = KEYWORDS.into_iter().filter_map(|(role, keywords)| {
        let split = keywords
            .iter()
            .find(|keyword| has.contains_key(**keyword))?;
        Some((role, *split))
    });
    played.collect()
}

/// The files that fit a pattern, without those that describe a data set, unless the pattern names them.
pub(super) fn matching(names: &BTreeSet<&str>, pattern: &str) -> Vec<String> {
    let found = rules::matching(names, pattern, false);
    found.into_iter().map(str::to_owned).collect()
}

fn wrong_card(reason: impl Into<String>) -> DatasetError {
    DatasetError::WrongCard {
        reason: reason.into(),
    }
}

/// What the only configuration of a data set is called that names none.
const DEFAULT: &str = "default";

fn converted_splits(
    names: &BTreeSet<&str>,
    asked: Option<&str>,
) -> Result<(Splits, Option<String>), DatasetError> {
    let mut configs: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
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
    Ok((splits.into_iter().collect(), Some(chosen)))
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
    let name_of = |config: &Value| match config.get("config_name") {
        Some(Value::String(name)) => Ok(name.clone()),
        Some(Value::Number(name)) => Ok(name.to_string()),
        _ => Err(wrong_card("an entry of `configs` has no `config_name`")),
    };
    let known = configs.iter().map(name_of).collect::<Result<Vec<_>, _>>()?;
    let is_default = |(config, name): &(&Value, &String)| {
        *name == DEFAULT || config.get("default").and_then(Value::as_bool) == Some(true)
    };
    let mut defaults = configs.iter().zip(&known).filter(is_default);
    let marked = defaults.next().map(|(_, name)| name.clone());
    if let (None, Some(first), Some((_, second))) = (asked, &marked, defaults.next()) {
        return Err(DatasetError::SeveralDefaults {
            first: first.clone(),
            second: second.clone(),
        });
    }
    let chosen = pick(&known, marked, asked)?;
    let place = known.iter().position(|name| *name == chosen);
    let config = place
        .and_then(|place| configs.get(place))
        .unwrap_or(&Value::Null);
    let folder = config.get("data_dir").and_then(Value::as_str).unwrap_or("");
    let folder = folder.trim_start_matches("./").trim_matches('/');
    let below = |name: &'_ str| match folder {
        "" | "." => Some(name.len()),
        folder => Some(name.strip_prefix(folder)?.strip_prefix('/')?.len()),
    };
    let within: BTreeSet<&str> = names
        .iter()
        .filter_map(|name| name.get(name.len() - below(name)?..))
        .collect();
    let splits = match config.get("data_files").filter(|files| !files.is_null()) {
        Some(files) => {
            let patterns = stated_patterns(files)?;
            let resolved = patterns.into_iter().map(|(split, patterns)| {
                let found = rules::resolve(&within, &split, &patterns)?;
                match found.is_empty() {
                    true => Err(DatasetError::NoMatch {
                        split,
                        patterns: patterns.join(", "),
                    }),
                    false => Ok((split, found)),
                }
            });
            let splits = resolved.collect::<Result<Splits, _>>()?;
            rules::one_kind(&splits)?;
            splits
        }
        None => named_splits(&within)?,
    };
    let whole = |name: String| match folder {
        "" | "." => name,
        folder => format!("{folder}/{name}"),
    };
    let splits = splits.into_iter().map(|(split, files)| {
        let files = files.into_iter().map(whole);
        (split, files.collect())
    });
    Ok((splits.collect(), Some(chosen)))
}

/// Split → patterns, as a card states them. What names no split is for training.
fn stated_patterns(files: &Value) -> Result<Splits, DatasetError> {
    let text = |value: &Value| {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| wrong_card("`data_files` holds something that is no path"))
    };
    let texts = |value: &Value| match value {
        Value::Array(items) => items.iter().map(text).collect::<Result<Vec<_>, _>>(),
        one => Ok(vec![text(one)?]),
    };
    let train = || KEYWORDS[0].0.to_owned();
    match files {
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let mut splits = Splits::new();
            for item in items {
                let fields = item.as_object().filter(|fields| fields.len() == 2);
                let (split, path) = fields
                    .and_then(|fields| Some((fields.get("split")?.as_str()?, fields.get("path")?)))
                    .ok_or_else(|| {
                        wrong_card(
                            "an entry of `data_files` has something other than `split` and `path`",
                        )
                    })?;
                if !rules::is_split_name(split) {
                    let name = split.to_owned();
                    return Err(DatasetError::NoSplitName { name });
                }
                if splits.iter().any(|(known, _)| known == split) {
                    return Err(wrong_card(format!("it names files for {split} twice")));
                }
                splits.push((split.to_owned(), texts(path)?));
            }
            Ok(splits)
        }
        Value::Array(_) | Value::String(_) => Ok(vec![(train(), texts(files)?)]),
        _ => Err(wrong_card(
            "`data_files` is neither a path, nor a list of paths, nor a list of `split` and `path`",
        )),
    }
}

fn named_splits(names: &BTreeSet<&str>) -> Result<Splits, DatasetError> {
    let mut splits = Splits::new();
    for (split, patterns) in rules::named_patterns(names)? {
        let files = rules::resolve(names, &split, &patterns)?;
        splits.push((split, files));
    }
    let kind = rules::one_kind(&splits)?;
    Ok(rules::of_kind(splits, kind))
}

/// The configurations of which the card's `dataset_info` tells.
fn info_names(card: &Value) -> Vec<String> {
    let infos = match card.get("dataset_info") {
        Some(Value::Array(infos)) => &infos[..],
        Some(info @ Value::Object(_)) => std::slice::from_ref(info),
        _ => &[],
    };
    infos.iter().map(info_name).collect()
}

fn info_name(info: &Value) -> String {
    let name = info.get("config_name").and_then(Value::as_str);
    name.unwrap_or(DEFAULT).to_owned()
}

/// Column → names of its classes, of the card's `dataset_info` of a configuration. Where none has a name, an only one is meant.
fn class_names(card: &Value, config: Option<&str>) -> BTreeMap<String, Vec<String>> {
    let infos = match card.get("dataset_info") {
        Some(Value::Array(infos)) => &infos[..],
        Some(info) => std::slice::from_ref(info),
        None => &[],
    };
    let info = match (config, infos) {
        (None, [only]) => Some(only),
        (config, infos) => infos
            .iter()
            .find(|info| info_name(info) == config.unwrap_or(DEFAULT)),
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
        Value::Array(names) => names.iter().map(name_of_class).collect(),
        Value::Object(numbered) => (0..numbered.len())
            .map(|number| name_of_class(numbered.get(&number.to_string())?))
            .collect(),
        _ => None,
    }
}

/// A name that was written without quotes may be a number.
fn name_of_class(name: &Value) -> Option<String> {
    match name {
        Value::String(name) => Some(name.clone()),
        Value::Number(name) => Some(name.to_string()),
        // As Python writes it.
        Value::Bool(true) => Some("True".to_owned()),
        Value::Bool(false) => Some("False".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
