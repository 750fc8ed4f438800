//! The files of a tokenizer folder, read and written.
//!
//! Reading ends in one JSON value in the format of `tokenizer.json`, whether it came from that file or was composed from
//! `vocab.txt` and `tokenizer_config.json` as transformers' `BertTokenizer` does. Where both are present,
//! `tokenizer.json` is used, with the normalization that `tokenizer_config.json` states, as transformers also does.
//!
//! Deliberately absent: `added_tokens.json` and the sentencepiece formats, which BERT encoders do not use.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::TextError;

/// The files that can decide ids, in the order in which they are looked for.
pub const TOKENIZER_FILES: [&str; 4] = [
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// transformers' classes that read a `vocab.txt` just as BERT's does.
const BERT_CLASSES: [&str; 5] = ["Bert", "DistilBert", "Electra", "MobileBert", "ConvBert"];

/// The files of a tokenizer folder that matter, by name. `vocab.txt` is left out where `tokenizer.json` is present,
/// since nothing is read from it then.
///
/// # Errors
/// The folder cannot be listed, or holds neither `tokenizer.json` nor `vocab.txt`; the error lists what is there.
pub fn tokenizer_files(folder: &Path) -> Result<BTreeMap<String, PathBuf>, TextError> {
    let unreadable = |source| TextError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut there: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        there.push(
            entry
                .map_err(unreadable)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    there.sort();
    let has = |name: &str| folder.join(name).is_file();
    if !has("tokenizer.json") && !has("vocab.txt") {
        return Err(TextError::NoTokenizer {
            folder: folder.to_owned(),
            found: there,
        });
    }
    Ok(TOKENIZER_FILES
        .into_iter()
        .filter(|name| has(name) && !(*name == "vocab.txt" && has("tokenizer.json")))
        .map(|name| (name.to_owned(), folder.join(name)))
        .collect())
}

/// The names of the special tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Specials {
    pub(super) unk: String,
    pub(super) sep: String,
    pub(super) pad: String,
    pub(super) cls: String,
    pub(super) mask: String,
}

impl Default for Specials {
    fn default() -> Self {
        let [pad, unk, cls, sep, mask] =
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
        Specials {
            unk,
            sep,
            pad,
            cls,
            mask,
        }
    }
}

/// What `tokenizer_config.json` and `special_tokens_map.json` say.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Config {
    pub(super) tokenizer_class: Option<String>,
    pub(super) do_lower_case: Option<bool>,
    pub(super) strip_accents: Option<bool>,
    pub(super) tokenize_chinese_chars: Option<bool>,
    pub(super) truncation_side: Option<String>,
    // Older files write "no limit" as 10^30, which fits no integer.
    model_max_length: Option<f64>,
    unk_token: Option<Value>,
    sep_token: Option<Value>,
    pad_token: Option<Value>,
    cls_token: Option<Value>,
    mask_token: Option<Value>,
}

impl Config {
    pub(super) fn of_case(lowercase: bool) -> Self {
        Config {
            do_lower_case: Some(lowercase),
            ..Config::default()
        }
    }

    pub(super) fn read(files: &BTreeMap<String, PathBuf>) -> Result<Self, TextError> {
        let mut config: Config = read_json(files.get("tokenizer_config.json"))?;
        let map: Config = read_json(files.get("special_tokens_map.json"))?;
        config.unk_token = config.unk_token.or(map.unk_token);
        config.sep_token = config.sep_token.or(map.sep_token);
        config.pad_token = config.pad_token.or(map.pad_token);
        config.cls_token = config.cls_token.or(map.cls_token);
        config.mask_token = config.mask_token.or(map.mask_token);
        Ok(config)
    }

    /// Longest input that the model was made for, in tokens.
    pub(super) fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
            .filter(|length| (1.0..1e9).contains(length))
            .map(|length| length as usize)
    }

    /// The special tokens, `padding` being the padding token that `tokenizer.json` names.
    pub(super) fn specials(&self, padding: Option<String>) -> Specials {
        let usual = Specials::default();
        Specials {
            unk: name_of(&self.unk_token).unwrap_or(usual.unk),
            sep: name_of(&self.sep_token).unwrap_or(usual.sep),
            pad: name_of(&self.pad_token).or(padding).unwrap_or(usual.pad),
            cls: name_of(&self.cls_token).unwrap_or(usual.cls),
            mask: name_of(&self.mask_token).unwrap_or(usual.mask),
        }
    }

    /// Whether transformers would build this tokenizer with a class that behaves as `BertTokenizer` does.
    pub(super) fn is_bert(&self) -> bool {
        self.tokenizer_class.as_deref().is_none_or(|class| {
            let class = class.strip_suffix("Fast").unwrap_or(class);
            class
                .strip_suffix("Tokenizer")
                .is_some_and(|family| BERT_CLASSES.contains(&family))
        })
    }
}

/// A special token is written as its text or as an object with `content`.
fn name_of(token: &Option<Value>) -> Option<String> {
    match token.as_ref()? {
        Value::String(name) => Some(name.clone()),
        Value::Object(token) => token.get("content")?.as_str().map(str::to_owned),
        _ => None,
    }
}

fn read_json<T: DeserializeOwned + Default>(path: Option<&PathBuf>) -> Result<T, TextError> {
    let Some(path) = path else {
        return Ok(T::default());
    };
    let bytes = read(path)?;
    serde_json::from_slice(&bytes).map_err(|e| TextError::NotJson {
        path: path.clone(),
        message: e.to_string(),
    })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TextError> {
    std::fs::read(path).map_err(|source| TextError::Read {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), TextError> {
    std::fs::write(path, bytes).map_err(|source| TextError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Reads a `vocab.txt`: one token a line, its id the line's number from 0.
pub(super) fn read_vocabulary(path: &Path) -> Result<Vec<String>, TextError> {
    let bytes = read(path)?;
    let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let mut tokens = Vec::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let token = std::str::from_utf8(line).map_err(|_| TextError::VocabularyNotUtf8 {
            path: path.to_owned(),
            line: index + 1,
        })?;
        if let Some(first) = seen.insert(token, index) {
            return Err(TextError::TokenTwice {
                path: path.to_owned(),
                token: token.to_owned(),
                first: first + 1,
                again: index + 1,
            });
        }
        tokens.push(token.to_owned());
    }
    Ok(tokens)
}

/// The `tokenizer.json` that a `vocab.txt` stands for.
pub(super) fn from_vocab_txt(path: &Path, config: &Config) -> Result<Value, TextError> {
    if let Some(class) = config
        .tokenizer_class
        .as_ref()
        .filter(|_| !config.is_bert())
    {
        return Err(TextError::OtherClass {
            path: path.to_owned(),
            class: class.clone(),
        });
    }
    let tokens = read_vocabulary(path)?;
    let specials = config.specials(None);
    let missing: Vec<String> = [&specials.unk, &specials.cls, &specials.sep, &specials.pad]
        .into_iter()
        .filter(|name| !tokens.contains(name))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(TextError::TokensMissing {
            path: path.to_owned(),
            tokens: missing,
        });
    }
    Ok(compose_bert(&tokens, &specials, config))
}

/// BERT's tokenizer over `tokens`, as a `tokenizer.json`.
///
/// Source: transformers 5, `models/bert/tokenization_bert.py`.
pub(super) fn compose_bert(tokens: &[String], specials: &Specials, config: &Config) -> Value {
    let ids: HashMap<&str, usize> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.as_str(), id))
        .collect();
    let mut added: Vec<(usize, &String)> = [
        &specials.unk,
        &specials.sep,
        &specials.pad,
        &specials.cls,
        &specials.mask,
    ]
    .into_iter()
    .filter_map(|name| Some((*ids.get(name.as_str())?, name)))
    .collect();
    added.sort_unstable();
    added.dedup();
    let added: Vec<Value> = added
        .into_iter()
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    let id_of = |name: &str| ids.get(name).copied().unwrap_or_default();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": config.tokenize_chinese_chars.unwrap_or(true),
            "strip_accents": config.strip_accents,
            "lowercase": config.do_lower_case.unwrap_or(true),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": bert_template(&specials.cls, id_of(&specials.cls), &specials.sep, id_of(&specials.sep)),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece",
            "unk_token": specials.unk,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect::<serde_json::Map<_, _>>(),
        },
    })
}

/// `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`, with type 1 for `B` and what follows it.
pub(super) fn bert_template(cls: &str, cls_id: usize, sep: &str, sep_id: usize) -> Value {
    let special =
        |name: &str, type_id: u8| json!({"SpecialToken": {"id": name, "type_id": type_id}});
    let text = |name: &str, type_id: u8| json!({"Sequence": {"id": name, "type_id": type_id}});
    json!({
        "type": "TemplateProcessing",
        "single": [special(cls, 0), text("A", 0), special(sep, 0)],
        "pair": [special(cls, 0), text("A", 0), special(sep, 0), text("B", 1), special(sep, 1)],
        "special_tokens": {
            cls: {"id": cls, "ids": [cls_id], "tokens": [cls]},
            sep: {"id": sep, "ids": [sep_id], "tokens": [sep]},
        },
    })
}
