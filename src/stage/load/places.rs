//! Paths and wildcards of the spec → files, each with the role it plays in the key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Load, Paths};
use crate::stage::{Fault, Files};
use crate::table::read::Format;

/// Every file of every split: `train/0`, `more.NAME/1`, ….
///
/// # Errors
/// Each path that leads to no file, leads to one a second time, or whose ending says no format.
pub(super) fn files(load: &Load, base: &Path) -> Result<Files, Vec<Fault>> {
    let (mut files, mut faults) = (Files::new(), Vec::new());
    let splits = [
        ("train", Some(&load.train)),
        ("validation", load.validation.as_ref()),
        ("test", load.test.as_ref()),
    ];
    for (split, paths) in splits {
        if let Some(paths) = paths {
            add(load, base, split, paths, &mut files, &mut faults);
        }
    }
    for (name, paths) in &load.more {
        add(
            load,
            base,
            &format!("more.{name}"),
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

fn add(
    load: &Load,
    base: &Path,
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
        let found = match find(base, path) {
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
