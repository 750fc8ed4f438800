//! Paths and wildcards of the spec → files, each with the role it plays in the key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::{Load, Paths};
use crate::hub::{self, Fetched, Local, Remote, Repository, RepositoryKind};
use crate::stage::{Fault, Files, Meant};
use crate::table;
use crate::table::read::Format;

/// What lies elsewhere, by the field that names it.
pub(super) fn remotes(load: &Load, base: &Path) -> Vec<(String, Remote)> {
    let mut found = Vec::new();
    if let Some(dataset) = &load.dataset
        && !base.join(dataset).exists()
        && let Some(repository) = Repository::parse(RepositoryKind::Dataset, dataset)
    {
        let remote = Remote::Dataset {
            repository,
            config: load.config.clone(),
            splits: load.splits.values().cloned().collect(),
        };
        found.push(("dataset".to_owned(), remote));
    }
    for (split, paths) in splits(load) {
        let named = paths.with_fields(&split);
        found.extend(named.filter_map(|(field, path)| Some((field, elsewhere(path)?))));
    }
    found
}

/// What a path means that leads elsewhere. One that leads nowhere is a fault of the settings.
fn elsewhere(path: &str) -> Option<Remote> {
    hub::uri::locate(path).ok().flatten()
}

/// Addresses that lead nowhere.
pub(super) fn wrong_addresses(load: &Load) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (split, paths) in splits(load) {
        for (field, path) in paths.with_fields(&split) {
            if let Err(error) = hub::uri::locate(path) {
                let help = error.help().map(|help| help.to_string());
                faults.push(Fault::new(
                    field,
                    error.to_string(),
                    help.unwrap_or_default(),
                ));
            }
        }
    }
    faults
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
        let files = of_dataset(load, dataset, base, fetched);
        let files = files.and_then(|files| notes_agree(load, &files, fetched).map(|()| files));
        return files.map_err(|fault| vec![fault]);
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
        faults.extend(notes_agree(load, &files, fetched).err());
    }
    if faults.is_empty() {
        Ok(files)
    } else {
        Err(faults)
    }
}

/// The columns that the settings name and the headers of files lack: each setting once, for the first file that lacks it.
pub(super) fn missing_columns(load: &Load, files: &Files) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    for (role, file) in files {
        let split = role.rsplit_once('/').map_or("", |(split, _)| split);
        // A condition that cannot be read is told of where settings are checked.
        let Ok(beside) = load.read_beside(split) else {
            continue;
        };
        for missing in table::header::missing(file, &load.layout(file, beside)) {
            if faults.iter().any(|fault| fault.field == missing.field) {
                continue;
            }
            let help = miette::Diagnostic::help(&missing.error).map(|help| help.to_string());
            let meant = missing.meant;
            faults.push(
                Fault::new(
                    missing.field,
                    missing.error.to_string(),
                    help.unwrap_or_default(),
                )
                .meant(meant.map(|(found, meant)| Meant::new(found, meant))),
            );
        }
    }
    faults
}

/// The files of a data set: as the hub says, or by the same rules of a folder.
fn of_dataset(load: &Load, name: &str, base: &Path, fetched: &Fetched) -> Result<Files, Fault> {
    let folder;
    let local = match fetched.dataset() {
        Some(local) => local,
        None => {
            folder = beside(load, base)?.unwrap_or_default();
            &folder
        }
    };
    let splits = local.dataset.as_ref().map(|told| &told.splits);
    let none = BTreeMap::new();
    let splits = splits.unwrap_or(&none);
    let wanted: Vec<(String, &str)> = match load.splits.is_empty() {
        true => hub::dataset::roles(splits)
            .into_iter()
            .map(|(role, split)| (role.to_owned(), split))
            .collect(),
        false => load
            .splits
            .iter()
            .map(|(ours, theirs)| (role(ours), theirs.as_str()))
            .collect(),
    };
    let has = || {
        splits
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut files = Files::new();
    for (split, theirs) in &wanted {
        let Some(names) = splits.get(*theirs) else {
            return Err(Fault::new(
                "splits",
                format!("{name} has no split {theirs:?}; it has {}", has()),
                "name one of these",
            ));
        };
        for (number, path) in names
            .iter()
            .filter_map(|name| local.files.get(name))
            .enumerate()
        {
            if load.format.or_else(|| Format::of_ending(path)).is_none() {
                return Err(Fault::new(
                    "dataset",
                    format!("the ending of `{}` says no format", path.display()),
                    NO_FORMAT,
                ));
            }
            files.insert(format!("{split}/{number}"), path.clone());
        }
    }
    if !files.keys().any(|role| role.starts_with("train/")) {
        return Err(Fault::new(
            "dataset",
            format!("{name} has no split to train on; it has {}", has()),
            "say which one is: `splits = { train = \"…\" }`",
        ));
    }
    let cut = [
        ("validation", "fold", load.fold.is_some()),
        (
            "validation",
            "split.validation",
            load.split.validation > 0.0,
        ),
        ("test", "split.test", load.split.test > 0.0),
    ];
    for (split, field, _) in cut.into_iter().filter(|(.., given)| *given) {
        if let Some((_, theirs)) = wanted.iter().find(|(role, _)| role == split) {
            return Err(Fault::new(
                field,
                format!("{name} has the split {theirs:?} for that, so nothing is cut for it"),
                format!(
                    "remove `{field}`, or leave that split out by naming the others: `splits = {{ train = \"train\" }}`"
                ),
            ));
        }
    }
    Ok(files)
}

const NO_FORMAT: &str = "state `format`: csv, tsv, json, jsonl, parquet, text, conll or squad; a compressed file has the ending of \
                         its format before `.gz`, `.zst`, `.bz2` or `.xz`";

fn role(split: &str) -> String {
    match split {
        "train" | "validation" | "test" => split.to_owned(),
        further => format!("more.{further}"),
    }
}

/// A data set in a folder beside the spec: its splits by the rules of the hub, and what its card says.
///
/// # Errors
/// There is no such folder, and it is no name on the hub either; its card or its files cannot be made out.
pub(super) fn beside(load: &Load, base: &Path) -> Result<Option<Local>, Fault> {
    let Some(name) = &load.dataset else {
        return Ok(None);
    };
    let folder = base.join(name);
    if !folder.exists() && Repository::parse(RepositoryKind::Dataset, name).is_some() {
        return Ok(None);
    }
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
    let folder = &std::path::absolute(&folder).unwrap_or(folder);
    let pattern = format!("{}/**/*", glob::Pattern::escape(&folder.to_string_lossy()));
    let paths = glob::glob(&pattern)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let mut files = BTreeMap::new();
    for path in paths.filter(|path| path.is_file()) {
        if let Ok(name) = path.strip_prefix(folder) {
            let parts = name.iter().map(|part| part.to_string_lossy());
            files.insert(parts.collect::<Vec<_>>().join("/"), path);
        }
    }
    let names = files.keys().map(String::as_str).collect();
    let told = hub::card::of_folder(folder)
        .and_then(|card| hub::dataset::choose(&names, &card, load.config.as_deref(), false));
    let dataset =
        told.map_err(|error| Fault::new("dataset", format!("{name}: {error}"), error.help_text()))?;
    Ok(Some(Local {
        commit: None,
        files,
        dataset: Some(dataset),
    }))
}

/// What a data set says the classes of the label's column are called.
fn stated_names(load: &Load, fetched: &Fetched) -> Option<Vec<String>> {
    let told = fetched.dataset()?.dataset.as_ref()?;
    told.class_names.get(&load.columns.of_names()?).cloned()
}

/// The names of the classes where the user gives none: those that a data set says, or that the `datasets` library wrote into
/// the training files.
pub(super) fn class_names(load: &Load, files: &Files, fetched: &Fetched) -> Option<Vec<String>> {
    if load.label_names.is_some() {
        return None;
    }
    let stated = stated_names(load, fetched);
    stated.or_else(|| noted_names(load, files).next()?.1)
}

/// The Parquet files of train, each with the names that are noted in it.
fn noted_names<'f>(
    load: &Load,
    files: &'f Files,
) -> impl Iterator<Item = (&'f Path, Option<Vec<String>>)> {
    let column = load.columns.of_names();
    let train = files.iter().filter(|(role, _)| role.starts_with("train/"));
    let parquet = train.filter(|(_, file)| Format::of_ending(file) == Some(Format::Parquet));
    parquet.filter_map(move |(_, file)| {
        let names = table::class_names(file, column.as_ref()?);
        Some((file.as_path(), names))
    })
}

/// The notes of all training files must agree where they decide what the labels mean.
fn notes_agree(load: &Load, files: &Files, fetched: &Fetched) -> Result<(), Fault> {
    if load.label_names.is_some() || stated_names(load, fetched).is_some() {
        return Ok(());
    }
    let mut noted = noted_names(load, files);
    let Some((first, wanted)) = noted.next() else {
        return Ok(());
    };
    let says = |names: &Option<Vec<String>>| match names {
        Some(names) => format!("names the classes {}", names.join(", ")),
        None => "names no classes".to_owned(),
    };
    match noted.find(|(_, names)| *names != wanted) {
        None => Ok(()),
        Some((other, names)) => Err(Fault::new(
            if load.dataset.is_some() {
                "dataset"
            } else {
                "train"
            },
            format!(
                "`{}` {}, but `{}` {}",
                first.display(),
                says(&wanted),
                other.display(),
                says(&names)
            ),
            "train on files with the same classes, or say with `label_names` what the labels are called",
        )),
    }
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
            format!("`{split}` lists no files"),
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
                faults.push(Fault::new(&field, message, NO_FORMAT));
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
