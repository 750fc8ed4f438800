//! The files of a tokenizer folder, and what its configuration says.
//!
//! Two forms are read: `tokenizer.json`, and the older files: `vocab.txt`, `vocab.json` with `merges.txt`, or a SentencePiece
//! model. Where both are present `tokenizer.json` is used, and nothing is read from the older ones.
//! `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` say what either lacks.
//!
//! Deliberately absent: what becomes of it all, which is up to the tokenizer's [class](super::class).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::TextError;
use super::class::Class;

/// The files that can decide ids: those of a vocabulary in the order in which they are looked for, then those that say how it
/// is used. The first that is there is read, `vocab.json` with `merges.txt`; see [`tokenizer_files`] and [`tokenizer_names`].
pub const TOKENIZER_FILES: [&str; 12] = [
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "config.json",
];

/// The vocabularies of the older forms.
const VOCABULARIES: [&str; 6] = [
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
];

/// The name, where it is that of a vocabulary in one of the older forms.
pub(super) fn is_vocabulary(name: &str) -> Option<&'static str> {
    VOCABULARIES.into_iter().find(|known| *known == name)
}

/// What to fetch for a tokenizer from a place of which only the names of its files are known: of [`TOKENIZER_FILES`] those
/// that are there, without older forms beside a `tokenizer.json`.
pub fn tokenizer_names(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let older = |name: &str| {
        VOCABULARIES.contains(&name) || name == "merges.txt" || name == "added_tokens.json"
    };
    let whole = has("tokenizer.json");
    let wanted = |name: &&str| has(name) && !(whole && older(name));
    TOKENIZER_FILES.into_iter().filter(wanted).collect()
}

/// The files of a tokenizer folder from which something is read, by name.
///
/// `config.json` is among them where only its `model_type` says which class the tokenizer is of, and that is not BERT's.
///
/// # Errors
/// The folder cannot be listed, or holds no vocabulary; the error lists what is there.
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
    let class = class_in(folder);
    let vocabulary = match has("tokenizer.json") {
        true => Some("tokenizer.json"),
        false => {
            let of_class = class.as_ref().and_then(Class::vocabulary);
            let mut wanted = of_class.into_iter().chain(VOCABULARIES);
            wanted.find(|name| has(name))
        }
    };
    let Some(vocabulary) = vocabulary else {
        return Err(TextError::NoTokenizer {
            folder: folder.to_owned(),
            found: there,
        });
    };
    let mut names = vec![
        vocabulary,
        "tokenizer_config.json",
        "special_tokens_map.json",
    ];
    match vocabulary {
        "tokenizer.json" => {}
        "vocab.json" => names.extend(["merges.txt", "added_tokens.json"]),
        _ => names.push("added_tokens.json"),
    }
    if class.is_some() && stated_class(&folder.join("tokenizer_config.json")).is_none() {
        names.push("config.json");
    }
    Ok(names
        .into_iter()
        .filter(|name| has(name))
        .map(|name| (name.to_owned(), folder.join(name)))
        .collect())
}

/// The class that a folder's files state. A file that cannot be read here is an error when the tokenizer is opened.
fn class_in(folder: &Path) -> Option<Class> {
    let stated = stated_class(&folder.join("tokenizer_config.json"));
    stated.or_else(|| class_of_encoder(&folder.join("config.json")))
}

fn stated_class(path: &Path) -> Option<Class> {
    let value: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    value["tokenizer_class"].as_str().map(Class::named)
}

/// What an encoder's `config.json` says; nothing where that is BERT's tokenizer.
fn class_of_encoder(path: &Path) -> Option<Class> {
    let value: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let stated = value["tokenizer_class"].as_str().map(Class::named);
    let class = stated.or_else(|| value["model_type"].as_str().and_then(Class::of_model));
    class.filter(|class| *class != Class::Bert)
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

/// What `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` say, and the class.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Config {
    tokenizer_class: Option<String>,
    pub(super) do_lower_case: Option<bool>,
    pub(super) strip_accents: Option<bool>,
    pub(super) tokenize_chinese_chars: Option<bool>,
    pub(super) keep_accents: Option<bool>,
    pub(super) split_by_punct: Option<bool>,
    pub(super) add_prefix_space: Option<bool>,
    pub(super) trim_offsets: Option<bool>,
    pub(super) truncation_side: Option<String>,
    // Older files write "no limit" as 10^30, which fits no integer.
    model_max_length: Option<f64>,
    model_input_names: Option<Value>,
    added_tokens_decoder: Option<Map<String, Value>>,
    extra_special_tokens: Option<Value>,
    additional_special_tokens: Option<Value>,
    bos_token: Option<Value>,
    eos_token: Option<Value>,
    unk_token: Option<Value>,
    sep_token: Option<Value>,
    pad_token: Option<Value>,
    cls_token: Option<Value>,
    mask_token: Option<Value>,
    /// Of `added_tokens.json`: ids by token.
    #[serde(skip)]
    added: Map<String, Value>,
    /// Of an encoder's `config.json`.
    #[serde(skip)]
    encoder: Option<Class>,
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
        if !config.lists_added() {
            // As in transformers: the map says more, where the configuration does not list the tokens themselves.
            let merge =
                |ours: &mut Option<Value>, more: Option<Value>| *ours = more.or(ours.take());
            merge(&mut config.bos_token, map.bos_token);
            merge(&mut config.eos_token, map.eos_token);
            merge(&mut config.unk_token, map.unk_token);
            merge(&mut config.sep_token, map.sep_token);
            merge(&mut config.pad_token, map.pad_token);
            merge(&mut config.cls_token, map.cls_token);
            merge(&mut config.mask_token, map.mask_token);
            merge(
                &mut config.additional_special_tokens,
                map.additional_special_tokens,
            );
            config.added = read_json(files.get("added_tokens.json"))?;
        }
        config.encoder = files
            .get("config.json")
            .and_then(|path| class_of_encoder(path));
        Ok(config)
    }

    /// The class of the tokenizer, where the files state it.
    pub(super) fn class(&self) -> Option<Class> {
        let stated = self.tokenizer_class.as_deref().map(Class::named);
        stated.or_else(|| self.encoder.clone())
    }

    /// Longest input that the model was made for, in tokens.
    pub(super) fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
            .filter(|length| (1.0..1e9).contains(length))
            .map(|length| length as usize)
    }

    /// Whether the model is told the texts of a pair apart, where the configuration says what it is given.
    pub(super) fn has_types(&self) -> Option<bool> {
        let names = self.model_input_names.as_ref()?.as_array()?;
        Some(names.iter().any(|name| name == "token_type_ids"))
    }

    /// The special tokens of `class`, `padding` being the padding token that `tokenizer.json` names. Where nothing names one
    /// and the class is none that has its own, it is the usual one that is `known`.
    pub(super) fn specials(
        &self,
        class: Option<&Class>,
        padding: Option<String>,
        known: &dyn Fn(&str) -> bool,
    ) -> Specials {
        let own = class.unwrap_or(&Class::Bert).specials();
        let any = matches!(class, None | Some(Class::Plain | Class::Other(_)));
        let other = Class::Roberta.specials();
        let usual = |own: String, other: String| match any && !known(&own) && known(&other) {
            true => other,
            false => own,
        };
        Specials {
            unk: name_of(&self.unk_token).unwrap_or_else(|| usual(own.unk, other.unk)),
            sep: name_of(&self.sep_token).unwrap_or_else(|| usual(own.sep, other.sep)),
            pad: name_of(&self.pad_token)
                .or(padding)
                .unwrap_or_else(|| usual(own.pad, other.pad)),
            cls: name_of(&self.cls_token).unwrap_or_else(|| usual(own.cls, other.cls)),
            mask: name_of(&self.mask_token).unwrap_or_else(|| usual(own.mask, other.mask)),
        }
    }

    /// The tokens at the beginning and the end of a text.
    pub(super) fn bounds(&self, class: &Class) -> (Option<String>, Option<String>) {
        let usual = class.bounds();
        let or = |token: &Option<Value>, usual: Option<&str>| {
            name_of(token).or(usual.map(str::to_owned))
        };
        (
            or(&self.bos_token, usual.bos),
            or(&self.eos_token, usual.eos),
        )
    }

    /// All special tokens that have a role, in the order in which transformers adds them.
    pub(super) fn named(&self, class: &Class) -> Vec<Added> {
        let has_own = !matches!(class, Class::Plain | Class::Other(_));
        let own = class.specials();
        let bounds = class.bounds();
        let roles = [
            (&self.bos_token, bounds.bos),
            (&self.eos_token, bounds.eos),
            (&self.unk_token, Some(own.unk.as_str())),
            (&self.sep_token, Some(own.sep.as_str())),
            (&self.pad_token, Some(own.pad.as_str())),
            (&self.cls_token, Some(own.cls.as_str())),
            (&self.mask_token, Some(own.mask.as_str())),
        ];
        let mut tokens: Vec<Added> = Vec::new();
        for (place, (stated, usual)) in roles.into_iter().enumerate() {
            let by_name = |name: &str| Added {
                special: true,
                // The mask stands for a word with the space before it.
                lstrip: *class == Class::MpNet && place == 6,
                ..Added::plain(name)
            };
            let token = match stated {
                Some(Value::String(name)) => Some(by_name(name)),
                Some(object @ Value::Object(_)) => Added::of(object),
                _ => usual.filter(|_| has_own).map(by_name),
            };
            let token = token.filter(|token| !tokens.iter().any(|t| t.content == token.content));
            tokens.extend(token.map(|token| Added {
                special: true,
                ..token
            }));
        }
        tokens
    }

    /// Further special tokens, without a role.
    pub(super) fn extra(&self) -> Vec<Added> {
        let listed = self.extra_special_tokens.as_ref();
        let listed = listed.filter(|value| !value.as_array().is_some_and(Vec::is_empty));
        let listed = listed.or(self.additional_special_tokens.as_ref());
        let listed = listed.and_then(Value::as_array).into_iter().flatten();
        let token = |value: &Value| match value {
            Value::String(name) => Some(Added {
                special: true,
                ..Added::plain(name)
            }),
            object => Added::of(object),
        };
        listed.filter_map(token).collect()
    }

    /// Whether the configuration lists the added tokens; then no other file does.
    pub(super) fn lists_added(&self) -> bool {
        self.added_tokens_decoder.is_some()
    }

    /// The added tokens that files list, by id.
    ///
    /// # Errors
    /// An entry that is no token with an id; `path` is named as where the tokenizer lies.
    pub(super) fn added(&self, path: &Path) -> Result<Vec<(u32, Added)>, TextError> {
        let broken = |file: &str, entry: &str| TextError::NotJson {
            path: path.with_file_name(file),
            message: format!("the added token {entry:?} is not a token with an id"),
        };
        let mut tokens = Vec::new();
        for (id, token) in self.added_tokens_decoder.iter().flatten() {
            match (id.parse(), Added::of(token)) {
                (Ok(id), Some(token)) => tokens.push((id, token)),
                _ => return Err(broken("tokenizer_config.json", id)),
            }
        }
        let is_named = |name: &str| {
            let roles = [
                &self.bos_token,
                &self.eos_token,
                &self.unk_token,
                &self.sep_token,
                &self.pad_token,
                &self.cls_token,
                &self.mask_token,
            ];
            let mut roles = roles.into_iter().filter_map(name_of);
            roles.any(|role| role == name) || self.extra().iter().any(|token| token.content == name)
        };
        for (name, id) in &self.added {
            let Some(id) = id.as_u64().and_then(|id| u32::try_from(id).ok()) else {
                return Err(broken("added_tokens.json", name));
            };
            let special = is_named(name);
            let token = Added {
                normalized: Some(!special),
                special,
                ..Added::plain(name)
            };
            tokens.push((id, token));
        }
        tokens.sort_by_key(|(id, _)| *id);
        Ok(tokens)
    }

    /// With these names for the beginning, the end and the unknown where none is stated.
    pub(super) fn with_defaults(&self, names: [Option<String>; 3]) -> Config {
        let [bos, eos, unk] = names.map(|name| name.map(Value::String));
        Config {
            bos_token: self.bos_token.clone().or(bos),
            eos_token: self.eos_token.clone().or(eos),
            unk_token: self.unk_token.clone().or(unk),
            ..self.clone()
        }
    }
}

/// A token that is found in the text as it stands, before anything else is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) content: String,
    pub(super) single_word: bool,
    pub(super) lstrip: bool,
    pub(super) rstrip: bool,
    /// By default special tokens are not normalized, and others are.
    pub(super) normalized: Option<bool>,
    pub(super) special: bool,
}

impl Added {
    pub(super) fn plain(content: &str) -> Self {
        Added {
            content: content.to_owned(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: None,
            special: false,
        }
    }

    /// From an object with at least `content`.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let flag = |name: &str| value[name].as_bool().unwrap_or(false);
        Some(Added {
            content: value.get("content")?.as_str()?.to_owned(),
            single_word: flag("single_word"),
            lstrip: flag("lstrip"),
            rstrip: flag("rstrip"),
            normalized: value["normalized"].as_bool(),
            special: flag("special"),
        })
    }

    pub(super) fn id_of(value: &Value) -> Option<u32> {
        u32::try_from(value.get("id")?.as_u64()?).ok()
    }

    /// As `tokenizer.json` has it.
    pub(super) fn to_json(&self, id: usize, special: bool) -> Value {
        json!({
            "id": id,
            "content": self.content,
            "single_word": self.single_word,
            "lstrip": self.lstrip,
            "rstrip": self.rstrip,
            "normalized": self.normalized.unwrap_or(!special),
            "special": special,
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

/// Reads a `vocab.json`: ids by token.
pub(super) fn read_ids(path: &Path) -> Result<Map<String, Value>, TextError> {
    let ids: Map<String, Value> = read_json(Some(&path.to_owned()))?;
    for (token, id) in &ids {
        if id.as_u64().is_none_or(|id| id > u64::from(u32::MAX)) {
            return Err(TextError::NotJson {
                path: path.to_owned(),
                message: format!("the token {token:?} has the id {id}, which is no id"),
            });
        }
    }
    Ok(ids)
}

/// Reads a `merges.txt`: on each line two pieces with a space between them, from the first to be merged to the last. Lines
/// that begin with `#version` are none.
pub(super) fn read_merges(path: &Path) -> Result<Vec<Value>, TextError> {
    let bytes = read(path)?;
    let mut merges = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| TextError::VocabularyNotUtf8 {
            path: path.to_owned(),
            line: index + 1,
        })?;
        if line.is_empty() || line.starts_with("#version") {
            continue;
        }
        match line.split(' ').collect::<Vec<_>>()[..] {
            [first, second] => merges.push(json!([first, second])),
            _ => {
                return Err(TextError::NotAMerge {
                    path: path.to_owned(),
                    line: index + 1,
                });
            }
        }
    }
    Ok(merges)
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

/// `A` and `A B`, all of type 0.
pub(super) fn untyped_pair() -> Value {
    let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    json!({
        "type": "TemplateProcessing",
        "single": [text("A")],
        "pair": [text("A"), text("B")],
        "special_tokens": {},
    })
}
