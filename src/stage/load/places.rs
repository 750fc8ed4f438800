//! Paths and wildcards of the spec → files, each with the role it plays in the key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Load, Paths};
use crate::hub::{self, Dataset, Fetched, Remote, Repository, RepositoryKind};
use crate::stage::{Fault, Files};
use crate::table::read::Format;

/// What lies elsewhere, by the field that names it.
pub(super) fn remotes(load: &Load, base: &Path) -> Vec<(String, Remote)> {
    let mut found = Vec::new();
    if let Some(dataset) = &load.dataset
        && !base.join(dataset).exists()
        && let Some(repository) = Repository::parse(RepositoryKind::Dataset, dataset)
    {
        let config = load.config.clone();
        found.push(("dataset".to_owned(), Remote::Dataset { repository, config }));
    }
    for (split, paths) in splits(load) {
        let named = paths.with_fields(&split);
        found.extend(named.filter_map(|(field, path)| Some((field, elsewhere(path)?))));
    }
    found
}

/// The file elsewhere that a path means, if it means one.
fn elsewhere(path: &str) -> Option<Remote> {
    if path.starts_with("https://") || path.starts_with("http://") {
        return Some(Remote::Url(path.to_owned()));
    }
    let rest = path.strip_prefix("hf://")?;
    let (kind, rest) = match rest.strip_prefix("datasets/") {
        Some(rest) => (RepositoryKind::Dataset, rest),
        None => (
            RepositoryKind::Model,
            rest.strip_prefix("models/").unwrap_or(rest),
        ),
    };
    let mut parts = rest.splitn(3, '/');
    let (owner, name, path) = (parts.next()?, parts.next()?, parts.next()?);
    let repository = Repository::parse(kind, &format!("{owner}/{name}"))?;
    let path = path.to_owned();
    Some(Remote::File { repository, path })
}

/// Every split that has files of its own: `train`, `more.NAME`, ….
fn splits(load: &Load) -> impl Iterator<Item = (String, &Paths)> {
    let usual = [
        ("train", load.train.as_ref()),
        ("validation", load.validation.as_ref()),
        ("test", load.test.as_ref()),
    ];
    let usual = usual
        .into_iter()
        .filter_map(|(split, paths)| Some((split.to_owned(), paths?)));
    usual.chain(
        load.more
            .iter()
            .map(|(name, paths)| (format!("more.{name}"), paths)),
    )
}

/// Every file of every split: `train/0`, `more.NAME/1`, ….
///
/// # Errors
/// Each path that leads to no file, leads to one a second time, or whose ending says no format.
pub(super) fn files(load: &Load, base: &Path, fetched: &Fetched) -> Result<Files, Vec<Fault>> {
    if let Some(dataset) = &load.dataset {
        return of_dataset(load, dataset, base, fetched).map_err(|fault| vec![fault]);
    }
    let (mut files, mut faults) = (Files::new(), Vec::new());
    for (split, paths) in splits(load) {
        add(
            load,
            (base, fetched),
            &split,
            paths,
            &mut files,
            &mut faults,
        );
    }
    if faults.is_empty() {
        Ok(files)
    } else {
        Err(faults)
    }
}

/// The files of a data set: as the hub says, or by the same rules of a folder.
fn of_dataset(load: &Load, name: &str, base: &Path, fetched: &Fetched) -> Result<Files, Fault> {
    let local = fetched.remotes().find_map(|remote| fetched.get(remote));
    type Located<'a> = Box<dyn Fn(&str) -> Option<PathBuf> + 'a>;
    let (told, path_of): (Dataset, Located) = match local {
        Some(local) => {
            let path_of = |name: &str| local.files.get(name).cloned();
            (local.dataset.clone().unwrap_or_default(), Box::new(path_of))
        }
        None => {
            let folder = base.join(name);
            let told = of_folder(load, name, &folder)?;
            (told, Box::new(move |name: &str| Some(folder.join(name))))
        }
    };
    let wanted: Vec<(String, &str)> = match load.splits.is_empty() {
        true => ["train", "validation", "test"]
            .into_iter()
            .filter(|split| told.splits.contains_key(*split))
            .map(|split| (split.to_owned(), split))
            .collect(),
        false => load
            .splits
            .iter()
            .map(|(ours, theirs)| (role(ours), theirs.as_str()))
            .collect(),
    };
    let has = || {
        told.splits
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut files = Files::new();
    for (split, theirs) in wanted {
        let Some(names) = told.splits.get(theirs) else {
            return Err(Fault::new(
                "splits",
                format!("{name} has no split {theirs:?}; it has {}", has()),
                "name one of these",
            ));
        };
        for (number, path) in names.iter().filter_map(|name| path_of(name)).enumerate() {
            if load.format.or_else(|| Format::of_ending(&path)).is_none() {
                return Err(Fault::new(
                    "dataset",
                    format!("the ending of `{}` says no format", path.display()),
                    "state `format`: csv, tsv, json, jsonl, parquet, text, conll or squad",
                ));
            }
            files.insert(format!("{split}/{number}"), path);
        }
    }
    if !files.keys().any(|role| role.starts_with("train/")) {
        return Err(Fault::new(
            "dataset",
            format!("{name} has no split to train on; it has {}", has()),
            "say which one is: `splits = { train = \"…\" }`",
        ));
    }
    Ok(files)
}

fn role(split: &str) -> String {
    match split {
        "train" | "validation" | "test" => split.to_owned(),
        further => format!("more.{further}"),
    }
}

fn of_folder(load: &Load, name: &str, folder: &Path) -> Result<Dataset, Fault> {
    if !folder.is_dir() {
        return Err(Fault::new(
            "dataset",
            format!(
                "there is no folder `{}`, and {name:?} is no name on the hub either",
                folder.display()
            ),
            "write \"owner/name\", or name a folder relative to the spec",
        ));
    }
    // Matches come back without a leading `./`.
    let folder = &std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let pattern = format!("{}/**/*", glob::Pattern::escape(&folder.to_string_lossy()));
    let names: Vec<String> = glob::glob(&pattern)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|path| path.is_file())
        .filter_map(|path| {
            Some(
                path.strip_prefix(folder)
                    .ok()?
                    .to_string_lossy()
                    .into_owned(),
            )
        })
        .collect();
    let names = names.iter().map(String::as_str).collect();
    let card = serde_json::Value::Null;
    hub::dataset::choose(&names, &card, load.config.as_deref(), false).map_err(|error| {
        let help = "name its files: `train = [\"…\"]`, `test = [\"…\"]`";
        Fault::new("dataset", format!("{name}: {error}"), help)
    })
}

/// What a data set says the classes of the label's column are called.
pub(super) fn class_names(load: &Load, fetched: &Fetched) -> Option<Vec<String>> {
    let local = fetched.remotes().find_map(|remote| fetched.get(remote))?;
    let column = load.columns.of_names()?;
    local.dataset.as_ref()?.class_names.get(&column).cloned()
}

fn add(
    load: &Load,
    (base, fetched): (&Path, &Fetched),
    split: &str,
    paths: &Paths,
    files: &mut Files,
    faults: &mut Vec<Fault>,
) {
    if paths.is_empty() {
        faults.push(Fault::new(
            split,
            "no files",
            "list at least one path, or remove the field",
        ));
    }
    let mut taken = BTreeSet::new();
    for (field, path) in paths.with_fields(split) {
        let fetched = elsewhere(path).and_then(|remote| fetched.get(&remote));
        let found = match fetched {
            Some(local) => Ok(local.files.values().cloned().collect()),
            None => find(base, path),
        };
        let found = match found {
            Ok(found) => found,
            Err((message, help)) => {
                faults.push(Fault::new(field, message, help));
                continue;
            }
        };
        for file in found {
            let format = load.format.or_else(|| Format::of_ending(&file));
            if format.is_none() {
                let message = format!("the ending of `{}` says no format", file.display());
                faults.push(Fault::new(
                    &field,
                    message,
                    "state `format`: csv, tsv, json, jsonl, parquet, text, conll or squad",
                ));
            } else if let Some((message, help)) = format
                .filter(|_| load.format.is_none())
                .and_then(|format| load.columns.misfit(format))
            {
                faults.push(Fault::new(&field, message, help));
            } else if !taken.insert(file.clone()) {
                let message = format!("`{}` is in this split already", file.display());
                faults.push(Fault::new(
                    &field,
                    message,
                    "list each file once; wildcards may overlap",
                ));
            } else {
                files.insert(format!("{split}/{}", taken.len() - 1), file);
            }
        }
    }
}

/// The file at `path`, or those that match it. A message and a help text where there is none.
fn find(base: &Path, path: &str) -> Result<Vec<PathBuf>, (String, String)> {
    let plain = base.join(path);
    if plain.is_file() {
        return Ok(vec![plain]);
    }
    if plain.is_dir() {
        return Err((
            format!("`{path}` is a folder"),
            format!(
                "name its files: \"{}/*.csv\", say",
                path.trim_end_matches('/')
            ),
        ));
    }
    if !path.contains(['*', '?', '[']) {
        let help = format!(
            "paths are relative to the spec's folder: looked for {}",
            plain.display()
        );
        return Err((format!("no file `{path}`"), help));
    }
    let pattern = if Path::new(path).is_absolute() {
        path.to_owned()
    } else {
        format!("{}/{path}", glob::Pattern::escape(&base.to_string_lossy()))
    };
    let matches = glob::glob(&pattern).map_err(|e| {
        (
            format!("`{path}` is no pattern: {}", e.msg),
            "check its brackets and stars".to_owned(),
        )
    })?;
    let mut found = matches
        .filter_map(Result::ok)
        .filter(|path| path.is_file())
        .collect::<Vec<_>>();
    found.sort();
    if found.is_empty() {
        let help = format!("patterns are relative to the spec's folder: looked for {pattern}");
        return Err((format!("no file matches `{path}`"), help));
    }
    Ok(found)
}
