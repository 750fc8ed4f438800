//! The house keeps its layers: who may name whom, checked on the source text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::project::{repository, skipped};

/// Module → the modules of this crate that it may name (itself always).
const MAY_NAME: &[(&str, &[&str])] = &[
    ("artifact", &[]),
    ("fingerprint", &["artifact"]),
    // Above `outcome`, because the record of a run holds outcomes and reasons.
    ("outcome", &["fingerprint", "artifact"]),
    ("store", &["outcome", "fingerprint", "artifact"]),
    ("table", &[]),
    ("device", &[]),
    ("hub", &[]),
    ("text", &[]),
    ("translate", &[]),
    ("metrics", &[]),
    ("inspect", &["table", "metrics"]),
    ("kernels", &[]),
    ("watch", &[]),
    ("model", &["kernels", "device"]),
    ("learn", &["model", "kernels", "text", "metrics", "device"]),
    ("task", &["table", "text", "model", "learn", "metrics"]),
    (
        "stage",
        &[
            "artifact",
            "hub",
            "table",
            "text",
            "translate",
            "model",
            "learn",
            "metrics",
            "task",
            "device",
        ],
    ),
    // What a spec for some data would say; `cli` writes it.
    ("init", &["table", "text", "task"]),
    // The pages: what they show is handed to them as data.
    (
        "report",
        &[
            "artifact", "table", "text", "model", "learn", "metrics", "task", "device", "kernels",
        ],
    ),
    // An exported model in use.
    (
        "bundle",
        &[
            "artifact", "table", "text", "model", "learn", "metrics", "task", "device", "kernels",
        ],
    ),
    // Its page has the skeleton of the reports.
    (
        "serve",
        &[
            "bundle", "report", "artifact", "table", "text", "model", "learn", "metrics", "task",
            "device", "kernels",
        ],
    ),
    ("spec", &["artifact", "stage", "device"]),
    ("plan", &["spec", "stage", "hub", "fingerprint", "artifact"]),
    (
        "run",
        &[
            "plan",
            "store",
            "outcome",
            "stage",
            "hub",
            "fingerprint",
            "artifact",
        ],
    ),
    // Behind the store, which knows it by a trait.
    ("remote", &["store", "hub", "fingerprint", "artifact"]),
    (
        "track",
        &[
            "run",
            "plan",
            "spec",
            "store",
            "outcome",
            "stage",
            "hub",
            "fingerprint",
            "artifact",
        ],
    ),
    (
        "sweep",
        &[
            "run",
            "plan",
            "spec",
            "store",
            "outcome",
            "stage",
            "hub",
            "fingerprint",
            "artifact",
        ],
    ),
    // Where steps and trials do their work when not in this process.
    (
        "executor",
        &[
            "sweep",
            "run",
            "plan",
            "spec",
            "store",
            "outcome",
            "stage",
            "hub",
            "fingerprint",
            "artifact",
        ],
    ),
    (
        "lsp",
        &[
            "sweep",
            "run",
            "plan",
            "spec",
            "store",
            "outcome",
            "stage",
            "hub",
            "fingerprint",
            "artifact",
        ],
    ),
    (
        "compare",
        &[
            "run",
            "plan",
            "spec",
            "store",
            "outcome",
            "stage",
            "fingerprint",
            "artifact",
        ],
    ),
];

/// Crate → the modules that may name it.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("polars", &["table", "stage"]),
    ("polars_lazy", &["table"]),
    ("burn", &["device", "kernels", "model", "learn", "stage"]),
    ("tokenizers", &["text"]),
    ("toml", &["spec", "hub"]),
    ("toml_edit", &["spec"]),
    ("tpe", &["sweep"]),
    ("hf_hub", &["hub"]),
    ("saphyr_parser", &["hub"]),
    ("reqwest", &["hub", "translate", "track"]),
    ("object_store", &["hub", "remote"]),
    // The tests of `translate` play a service.
    ("axum", &["serve", "translate"]),
    ("hyper", &["serve"]),
    ("hyper_util", &["serve"]),
    ("tower_http", &["serve"]),
    ("prometheus_client", &["serve"]),
    ("clap", &["cli", "main"]),
    ("clap_complete", &["cli"]),
    ("notify", &["watch"]),
    ("lsp_server", &["lsp"]),
    ("lsp_types", &["lsp"]),
    ("tracing_subscriber", &["main"]),
];

struct Source {
    path: PathBuf,
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = repository().join("src");
    let mut found = Vec::new();
    let mut pending = vec![root.clone()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let first = path
                    .strip_prefix(&root)
                    .unwrap()
                    .components()
                    .next()
                    .unwrap();
                let module = Path::new(first.as_os_str())
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.push(Source {
                    text: std::fs::read_to_string(&path).unwrap(),
                    path,
                    module,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The lines of code, without comments and without the tests at the foot.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let code = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

/// The modules that a line names: `crate::table::…`, `use crate::{artifact, …}`.
fn named(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let word: String = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if !word.is_empty() {
            names.push(word);
        }
        assert!(
            !rest.starts_with('{'),
            "write one `use crate::…` per module, so that this test can read it: {line}"
        );
    }
    names
}

#[test]
fn every_module_names_only_those_below_it() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_NAME.iter().copied().collect();
    let mut broken = Vec::new();
    for source in sources() {
        let Some(allowed) = allowed.get(source.module.as_str()) else {
            continue;
        };
        for line in code(&source.text) {
            for name in named(line) {
                if name != source.module && !allowed.contains(&name.as_str()) {
                    broken.push(format!("{}: {}", source.path.display(), line.trim()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_module_has_a_place_in_the_layers() {
    let known: Vec<&str> = MAY_NAME
        .iter()
        .map(|(name, _)| *name)
        .chain(["lib", "main", "cli"])
        .collect();
    for source in sources() {
        assert!(
            known.contains(&source.module.as_str()),
            "{} is in no layer",
            source.path.display()
        );
    }
}

#[test]
fn every_crate_stays_where_it_belongs() {
    let mut broken = Vec::new();
    for source in sources() {
        for (name, modules) in ONLY_IN {
            let uses = |line: &str| {
                line.contains(&format!("{name}::")) || line.contains(&format!("use {name};"))
            };
            let inside = modules.contains(&source.module.as_str());
            broken.extend(
                code(&source.text)
                    .filter(|line| !inside && uses(line))
                    .map(|line| format!("{}: {line}", source.path.display())),
            );
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn backends_are_chosen_in_one_place() {
    for source in sources()
        .iter()
        .filter(|source| source.module != "device" && source.module != "kernels")
    {
        for line in source.text.lines() {
            assert!(
                !(line.contains("cfg(") && line.contains("feature")),
                "{}: {line}",
                source.path.display()
            );
        }
    }
}

#[test]
fn stage_files_never_import_each_other() {
    for source in sources().iter().filter(|source| source.module == "stage") {
        let own = source
            .path
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let folder = source
            .path
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        for kind in [
            "load", "augment", "tokenize", "pretrain", "train", "evaluate", "export",
        ]
        .iter()
        .filter(|kind| **kind != own && **kind != folder && own != "stage")
        {
            for line in code(&source.text) {
                assert!(
                    !line.contains(&format!("stage::{kind}::"))
                        && !line.contains(&format!("super::{kind}::")),
                    "{}: {line}",
                    source.path.display()
                );
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for source in sources() {
        assert!(
            source.text.starts_with("//! "),
            "{} has no module doc",
            source.path.display()
        );
    }
}

#[test]
fn the_top_level_is_fixed() {
    let allowed = [
        ".ci",
        ".gitignore",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "examples",
        "pipelines",
        "schemas",
        "src",
        "tests",
    ];
    // What git keeps: a user's own files may lie beside.
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached"])
        .current_dir(repository())
        .output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else {
        return skipped("this is no git checkout").unwrap_or_default();
    };
    for path in String::from_utf8_lossy(&listed.stdout).lines() {
        let name = path.split('/').next().unwrap_or_default();
        assert!(
            allowed.contains(&name),
            "{name} has no place at the top level"
        );
    }
}

#[test]
fn nothing_unfinished_is_in_the_source() {
    for source in sources() {
        for word in ["TODO", "FIXME", "XXX", "unimplemented!", "todo!", "dbg!"] {
            assert!(
                !source.text.contains(word),
                "{} holds {word}",
                source.path.display()
            );
        }
    }
}
