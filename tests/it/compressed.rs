//! Compressed files in a pipeline: worth the same as what they hold, whoever compressed them.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::project::{Project, assets, digests, rows};

fn spec(load: &str) -> Project {
    let project = Project::empty();
    project.write(
        "pipeline.toml",
        &format!("version = 1\nname = \"packed\"\nseed = 5\n\n[load.data]\n{load}\n"),
    );
    project
}

/// Two members, by the library that Python has for it; zstd has none in older Pythons.
fn pack(kind: &str, from: &Path, to: &Path) {
    let bytes = std::fs::read(from).unwrap();
    let (head, tail) = bytes.split_at(bytes.len() / 3);
    if kind == "zst" {
        let packed = [head, tail].map(|half| zstd::encode_all(half, 3).unwrap());
        return std::fs::write(to, packed.concat()).unwrap();
    }
    let module = match kind {
        "gz" => "gzip",
        "bz2" => "bz2",
        _ => "lzma",
    };
    let script = format!(
        "import {module}, sys\nb = open(sys.argv[1], 'rb').read()\nn = len(b) // 3\n\
         open(sys.argv[2], 'wb').write({module}.compress(b[:n]) + {module}.compress(b[n:]))"
    );
    let mut python = Command::new("python3");
    python.args(["-c", &script]).arg(from).arg(to);
    let done = python.status().expect("python3");
    assert!(done.success(), "{module}");
}

const KINDS: [&str; 4] = ["gz", "zst", "bz2", "xz"];

fn load(project: &Project) -> Value {
    project.run(&["pipeline.toml"])
}

#[test]
fn every_format_in_every_compression_is_worth_the_file_it_holds() {
    let csv = rows(40, 0);
    let lines: Vec<(&str, &str)> = csv
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').unwrap())
        .collect();
    let object = |(text, label): &(&str, &str)| {
        serde_json::json!({ "text": text, "label": label }).to_string()
    };
    let objects: Vec<String> = lines.iter().map(object).collect();
    let squad = r#"{"data": [{"paragraphs": [{"context": "a warm room", "qas": [{"id": "1", "question": "how?", "answers": [{"text": "warm", "answer_start": 2}]}]}]}]}"#;
    let files = [
        ("csv", csv.clone(), ""),
        ("tsv", csv.replace(',', "\t"), ""),
        ("json", format!("[{}]", objects.join(",")), ""),
        ("jsonl", objects.join("\n"), ""),
        ("txt", csv.clone(), ""),
        ("conll", "a B-x\nb O\n\nc O\n".to_owned(), ""),
        ("squad", squad.to_owned(), "format = \"squad\""),
    ];
    for (ending, text, more) in files {
        let name = format!("train.{ending}");
        let plain = spec(&format!("train = \"{name}\"\n{more}"));
        plain.write(&name, &text);
        let wanted = load(&plain);
        for kind in KINDS {
            let packed = spec(&format!("train = \"*.{kind}\"\n{more}"));
            pack(
                kind,
                &plain.path(&name),
                &packed.path(&format!("{name}.{kind}")),
            );
            assert_eq!(digests(&load(&packed)), digests(&wanted), "{name}.{kind}");
        }
    }
}

#[test]
fn real_parquet_is_read_compressed_with_the_names_of_its_classes() {
    let Some(assets) = assets("compressed Parquet") else {
        return;
    };
    let file = assets.join("data/ag_news/test.parquet");
    let plain = spec(&format!("train = \"{}\"", file.display()));
    let wanted = load(&plain);
    for kind in KINDS {
        let packed = spec(&format!("train = \"ag.parquet.{kind}\""));
        pack(kind, &file, &packed.path(&format!("ag.parquet.{kind}")));
        assert_eq!(digests(&load(&packed)), digests(&wanted), "{kind}");
    }
}

#[test]
fn a_folder_of_compressed_splits_is_a_data_set() {
    let project = spec("dataset = \"set\"");
    for (split, offset) in [("train", 0), ("test", 1000)] {
        project.write(&format!("{split}.csv"), &rows(40, offset));
        std::fs::create_dir_all(project.path("set")).unwrap();
        let to = project.path(&format!("set/{split}.csv.gz"));
        pack("gz", &project.path(&format!("{split}.csv")), &to);
    }
    let plain = spec("train = \"train.csv\"\ntest = \"test.csv\"");
    plain.write("train.csv", &rows(40, 0));
    plain.write("test.csv", &rows(40, 1000));
    assert_eq!(digests(&load(&project)), digests(&load(&plain)));
}

#[test]
fn a_damaged_file_is_an_error_with_its_name_and_an_unknown_ending_says_which_are_known() {
    let project = spec("train = \"train.csv.gz\"");
    project.write("train.csv", &rows(40, 0));
    let packed = project.path("train.csv.gz");
    pack("gz", &project.path("train.csv"), &packed);
    let bytes = std::fs::read(&packed).unwrap();
    std::fs::File::create(&packed)
        .unwrap()
        .write_all(&bytes[..bytes.len() - 9])
        .unwrap();
    let said = project.refit(&["run", "pipeline.toml"]).exits(1);
    let text = said.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("cannot be unpacked as gzip: it ends too early"),
        "{}",
        said.stderr
    );
    assert!(text.contains("train.csv.gz"), "{}", said.stderr);
    let unknown = spec("train = \"train.csv.lz4\"");
    unknown.write("train.csv.lz4", "x");
    let said = unknown.refit(&["check", "pipeline.toml"]).exits(2);
    let text = said.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["says no format", "`.gz`", "`.xz`"] {
        assert!(text.contains(part), "{}", said.stderr);
    }
}
