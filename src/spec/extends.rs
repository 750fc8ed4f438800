//! `extends = "base.toml"`: a spec that says only what is different from another.
//!
//! Rules: tables are merged key by key, however deep, and whatever else both have (numbers, texts, lists) is the extending
//! file's. What `without` lists of the base (`"train.classifier.epochs"`, `"augment.richer"`) is not taken over. The base's
//! `name` and `[sweep]` never are: two specs of one base are two pipelines. A base may extend another. Variables and `--set` are laid on the
//! merged whole, and paths are relative to the spec that is run, whichever file names them, as with `--set`.
//!
//! Deliberately absent: several bases, lists that grow, and bases from elsewhere.

use std::path::{Path, PathBuf};

use super::document::{self, Entry, Node, Value};
use super::problem::{Problem, Sources, did_you_mean, listed};
use super::{folder_of, text_of};

/// More files than anybody lays on each other.
const MOST: usize = 16;

/// A spec with all that it extends merged into it.
pub(super) struct Merged {
    pub(super) document: Node,
    /// The files that were laid below it, the nearest first. Those that could not be read are among them.
    pub(super) bases: Vec<PathBuf>,
}

/// Reads the text at `path`, and the files that it extends.
pub(super) fn read(
    path: &Path,
    text: &str,
    sources: &mut Sources,
    problems: &mut Vec<Problem>,
) -> Merged {
    let source = sources.add(path.display().to_string(), text);
    let document = document::parse(text, source, problems);
    let mut bases = vec![path.to_owned()];
    let document = extended(document, path, &mut bases, sources, problems);
    bases.remove(0);
    Merged { document, bases }
}

fn extended(
    mut document: Node,
    path: &Path,
    met: &mut Vec<PathBuf>,
    sources: &mut Sources,
    problems: &mut Vec<Problem>,
) -> Node {
    // What is of another type the schema refuses.
    let without = taken_out(&mut document, "without", &texts);
    let Some((place, file)) = taken_out(&mut document, "extends", &|node| match &node.value {
        Value::String(text) => Some((node.place.clone(), text.clone())),
        _ => None,
    }) else {
        if let Some([first, ..]) = without.as_deref() {
            problems.push(
                Problem::new(
                    &first.0,
                    "`without` leaves out what another file has, and there is no `extends`",
                    "of no file",
                )
                .help("name the file, `extends = \"base.toml\"`, or remove it"),
            );
        }
        return document;
    };
    let base = match folder_of(path) {
        here if here == Path::new(".") => PathBuf::from(&file),
        folder => folder.join(&file),
    };
    let wrong = |message: String, help: &str| {
        Problem::new(&place, message, "cannot be extended").help(help)
    };
    let same = |other: &PathBuf| canonical(other) == canonical(&base);
    if met.iter().any(same) {
        problems.push(wrong(
            format!("{} extends itself by way of {file}", base.display()),
            "let one of the files stand alone",
        ));
        return document;
    }
    if met.len() > MOST {
        problems.push(wrong(
            format!("more than {MOST} files extend each other"),
            "merge some of them",
        ));
        return document;
    }
    met.push(base.clone());
    let text = match text_of(&base) {
        Ok(text) => text,
        Err(error) => {
            problems.push(wrong(
                chain(&error),
                "name a spec, relative to this file: extends = \"base.toml\"",
            ));
            return document;
        }
    };
    let source = sources.add(base.display().to_string(), text.as_str());
    let below = document::parse(&text, source, problems);
    let mut below = extended(below, &base, met, sources, problems);
    if let Value::Table(entries) = &mut below.value {
        entries.retain(|entry| entry.key != "name" && entry.key != "sweep");
    }
    for (place, path) in without.into_iter().flatten() {
        if let Err(help) = leave_out(&mut below, &path) {
            let message = format!("{file} has no `{path}` to leave out");
            problems.push(Problem::new(&place, message, "not there").help(help));
        }
    }
    over(document, below)
}

/// An entry's value, taken out of the table, where it is as it must be.
fn taken_out<T>(document: &mut Node, key: &str, read: &dyn Fn(&Node) -> Option<T>) -> Option<T> {
    let value = read(&document.get(key)?.node)?;
    if let Value::Table(entries) = &mut document.value {
        entries.retain(|entry| entry.key != key);
    }
    Some(value)
}

fn texts(node: &Node) -> Option<Vec<(super::Place, String)>> {
    let Value::Array(items) = &node.value else {
        return None;
    };
    let text = |item: &Node| match &item.value {
        Value::String(text) => Some((item.place.clone(), text.clone())),
        _ => None,
    };
    items.iter().map(text).collect()
}

/// Removes what is at `path`; else what to do about it.
fn leave_out(root: &mut Node, path: &str) -> Result<(), String> {
    let (way, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut at = root;
    for key in way.split('.').filter(|key| !key.is_empty()) {
        if at.get(key).is_none() {
            return Err(known(at, key));
        }
        let Value::Table(entries) = &mut at.value else {
            return Err(String::new());
        };
        let Some(next) = entries.iter_mut().find(|entry| entry.key == key) else {
            return Err(String::new());
        };
        at = &mut next.node;
    }
    if at.get(last).is_none() {
        return Err(known(at, last));
    }
    if let Value::Table(entries) = &mut at.value {
        entries.retain(|entry| entry.key != last);
    }
    Ok(())
}

fn known(table: &Node, key: &str) -> String {
    let known = || table.entries().iter().map(|entry| entry.key.as_str());
    match did_you_mean(key, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there is {}", listed(known(), "and")),
    }
}

/// `upper` with what only `lower` has.
fn over(upper: Node, lower: Node) -> Node {
    let place = upper.place;
    let value = match (upper.value, lower.value) {
        (Value::Table(upper), Value::Table(mut entries)) => {
            for Entry {
                key,
                key_place,
                node,
            } in upper
            {
                let there = entries.iter().position(|entry| entry.key == key);
                let node = match there {
                    Some(there) => over(node, entries.remove(there).node),
                    None => node,
                };
                let entry = Entry {
                    key,
                    key_place,
                    node,
                };
                match there {
                    Some(there) => entries.insert(there, entry),
                    None => entries.push(entry),
                }
            }
            Value::Table(entries)
        }
        (upper, _) => upper,
    };
    Node { place, value }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The merged document of `leaf.toml`, and what is wrong.
    fn merged(files: &[(&str, &str)]) -> (serde_json::Value, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let (mut sources, mut problems) = (Sources::default(), Vec::new());
        let path = folder.path().join("leaf.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let merged = read(&path, &text, &mut sources, &mut problems);
        let messages = problems.iter().map(|problem| {
            let at = problem.place.span.clone();
            let text = sources.text(problem.place.source)[at].to_owned();
            let folder = format!("{}/", folder.path().display());
            format!("{text}: {}", problem.message.replace(&folder, ""))
        });
        (merged.document.to_json(), messages.collect())
    }

    #[test]
    fn tables_merge_and_everything_else_is_the_extending_files() {
        let (document, problems) = merged(&[
            (
                "leaf.toml",
                "version = 1\nextends = \"base.toml\"\n[train.a]\nepochs = 2\nbatch = { size = 8 }\n[load.d]\ntrain = [\"x\"]\n[vars]\ne = \"f\"\n",
            ),
            (
                "base.toml",
                "version = 1\nname = \"base\"\n[load.d]\ntrain = [\"a\", \"b\"]\ntest = [\"c\"]\n[train.a]\nbatch = { size = 4, micro_size = 2 }\n",
            ),
        ]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            document,
            serde_json::json!({
                "version": 1,
                "load": { "d": { "train": ["x"], "test": ["c"] } },
                "train": { "a": { "batch": { "size": 8, "micro_size": 2 }, "epochs": 2 } },
                "vars": { "e": "f" },
            })
        );
    }

    #[test]
    fn a_base_may_extend_another_and_paths_lead_from_each_file() {
        let (document, problems) = merged(&[
            ("leaf.toml", "extends = \"more/middle.toml\"\nc = 3"),
            (
                "more/middle.toml",
                "extends = \"../base.toml\"\nb = 2\nc = 2",
            ),
            ("base.toml", "a = 1\nb = 1\nc = 1"),
        ]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(document, serde_json::json!({ "a": 1, "b": 2, "c": 3 }));
    }

    #[test]
    fn what_is_left_out_is_not_taken_over() {
        let files = |without: &str| {
            merged(&[
                (
                    "leaf.toml",
                    &format!("extends = \"base.toml\"\nwithout = {without}"),
                ),
                (
                    "base.toml",
                    "[augment.richer]\ncopies = 1\n[train.a]\nepochs = 1\nseed = 2",
                ),
            ])
        };
        let (document, problems) = files("[\"augment\", \"train.a.epochs\"]");
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            document,
            serde_json::json!({ "train": { "a": { "seed": 2 } } })
        );
        let (_, problems) = files("[\"train.a.epoch\"]");
        assert_eq!(
            problems,
            ["\"train.a.epoch\": base.toml has no `train.a.epoch` to leave out"]
        );
        let (_, problems) = merged(&[("leaf.toml", "without = [\"a\"]")]);
        assert!(
            problems[0].ends_with("there is no `extends`"),
            "{problems:?}"
        );
    }

    #[test]
    fn what_cannot_be_extended_is_a_problem_at_its_place() {
        let of = |file: &str, text: &str| {
            let (_, problems) = merged(&[
                ("leaf.toml", &format!("extends = \"{file}\"")),
                ("b.toml", text),
            ]);
            problems
        };
        assert!(of("no.toml", "")[0].starts_with("\"no.toml\": cannot read the spec no.toml: "));
        assert_eq!(
            of("leaf.toml", ""),
            ["\"leaf.toml\": leaf.toml extends itself by way of leaf.toml"]
        );
        let around = of("b.toml", "extends = \"leaf.toml\"");
        assert_eq!(
            around,
            ["\"leaf.toml\": leaf.toml extends itself by way of leaf.toml"]
        );
        assert!(of("b.toml", "a = ")[0].contains("not valid TOML"));
    }
}
