//! Which files of a repository are needed: of an encoder's, and of a tokenizer's.
//!
//! The order is that of transformers: safetensors before PyTorch's files, one file before shards, `tokenizer.json` before
//! the older files.
//!
//! Deliberately absent: data sets, whose rules stand in [`dataset`](super::dataset).

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::HubError;
use super::lock::is_inside;

/// What an encoder is made of beside its weights.
const CONFIG: &str = "config.json";

/// The weights, the best first; an index names the shards beside it.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// What a tokenizer can be read from where `tokenizer.json` is there.
const WITH_TOKENIZER_JSON: [&str; 3] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// What a tokenizer can be read from otherwise: vocabularies, and what is said of them.
const VOCABULARIES: [&str; 6] = [
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
];
const BESIDE_VOCABULARIES: [&str; 4] = [
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];

/// The files of an encoder that must be there before the shards are known: its configuration, and its weights or their index.
///
/// # Errors
/// What is missing, as a phrase.
pub(super) fn encoder(names: &BTreeSet<&str>) -> Result<Vec<&'static str>, &'static str> {
    if !names.contains(CONFIG) {
        return Err("no config.json");
    }
    match WEIGHTS.iter().find(|weights| names.contains(**weights)) {
        Some(weights) => Ok(vec![CONFIG, weights]),
        None => Err("no weights (model.safetensors or pytorch_model.bin, whole or in shards)"),
    }
}

pub(super) fn is_index(name: &str) -> bool {
    name.ends_with(".index.json")
}

/// The shards that the index at `path` names, each once and in order.
///
/// # Errors
/// A file that is no index, or one that names files elsewhere.
pub(super) fn shards(path: &Path) -> Result<Vec<String>, HubError> {
    let broken = |reason: String| HubError::BrokenIndex {
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(|error| broken(error.to_string()))?;
    let index: Value = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    let Some(map) = index.get("weight_map").and_then(Value::as_object) else {
        return Err(broken("it has no weight_map".to_owned()));
    };
    let mut shards = BTreeSet::new();
    for (tensor, shard) in map {
        match shard.as_str().filter(|shard| is_inside(shard)) {
            Some(shard) => shards.insert(shard.to_owned()),
            None => return Err(broken(format!("it puts {tensor} into {shard}"))),
        };
    }
    match shards.is_empty() {
        true => Err(broken("it names no file".to_owned())),
        false => Ok(shards.into_iter().collect()),
    }
}

/// The files of a tokenizer.
///
/// # Errors
/// What is missing, as a phrase.
pub(super) fn tokenizer(names: &BTreeSet<&str>) -> Result<Vec<&'static str>, &'static str> {
    let there = |candidates: &[&'static str]| -> Vec<&'static str> {
        let there = candidates.iter().filter(|name| names.contains(**name));
        there.copied().collect()
    };
    if names.contains(WITH_TOKENIZER_JSON[0]) {
        return Ok(there(&WITH_TOKENIZER_JSON));
    }
    match there(&VOCABULARIES) {
        vocabularies if vocabularies.is_empty() => {
            Err("no tokenizer (tokenizer.json, or a vocabulary such as vocab.txt)")
        }
        vocabularies => Ok([vocabularies, there(&BESIDE_VOCABULARIES)].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
        names.iter().copied().collect()
    }

    #[test]
    fn safetensors_come_before_pickles_and_whole_files_before_shards() {
        let all = [
            "config.json",
            "pytorch_model.bin",
            "model.safetensors",
            "model.safetensors.index.json",
            "tf_model.h5",
        ];
        let choice = |left_out: &[&str]| {
            let kept: Vec<&str> = all
                .into_iter()
                .filter(|name| !left_out.contains(name))
                .collect();
            encoder(&names(&kept)).map(|files| files[1])
        };
        assert_eq!(choice(&[]), Ok("model.safetensors"));
        assert_eq!(
            choice(&["model.safetensors"]),
            Ok("model.safetensors.index.json")
        );
        let safetensors = ["model.safetensors", "model.safetensors.index.json"];
        assert_eq!(choice(&safetensors), Ok("pytorch_model.bin"));
        assert!(encoder(&names(&["config.json", "tf_model.h5"])).is_err());
        assert!(encoder(&names(&["model.safetensors"])).is_err());
    }

    #[test]
    fn a_tokenizer_json_makes_vocabularies_superfluous() {
        let bert = [
            "tokenizer.json",
            "vocab.txt",
            "tokenizer_config.json",
            "README.md",
        ];
        assert_eq!(
            tokenizer(&names(&bert)).unwrap(),
            ["tokenizer.json", "tokenizer_config.json"]
        );
        let roberta = ["vocab.json", "merges.txt", "model.safetensors"];
        assert_eq!(
            tokenizer(&names(&roberta)).unwrap(),
            ["vocab.json", "merges.txt"]
        );
        assert!(tokenizer(&names(&["model.safetensors"])).is_err());
    }

    #[test]
    fn an_index_that_leads_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors.index.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            shards(&path)
        };
        let good = r#"{"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-1.safetensors"}}"#;
        assert_eq!(
            read(good).unwrap(),
            ["model-1.safetensors", "model-2.safetensors"]
        );
        for bad in [
            "",
            "{}",
            r#"{"weight_map": {}}"#,
            r#"{"weight_map": {"a": 3}}"#,
            r#"{"weight_map": {"a": "../../etc/passwd"}}"#,
            r#"{"weight_map": {"a": "/etc/passwd"}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&deep).is_err());
    }
}
