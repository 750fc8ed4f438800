//! What each of transformers' tokenizer classes makes of a vocabulary, as a `tokenizer.json`.
//!
//! A class keeps of a `tokenizer.json` only the vocabulary, the added tokens and the normalization table, and builds the
//! rest itself; so does [`rebuilt`]. From the older files it builds the same, so that both forms of a folder
//! end in one value.
//!
//! Source: transformers 5.23: `tokenization_utils_tokenizers.py`, `convert_slow_tokenizer.py`, and for each class its
//! `models/…/tokenization_….py`.
//!
//! Deliberately absent: the scores that ALBERT's converter of transformers 4 changed, and normalization by DeBERTa's own
//! table, which version 5 does not apply.

use std::collections::HashMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::TextError;
use super::class::Class;
use super::files::{self, Added, Config};
use super::sentencepiece::{Kind, SentencePiece};

/// A vocabulary, as one of the forms that files have.
pub(super) enum Vocabulary {
    /// WordPiece: tokens in the order of their ids.
    Words(Vec<String>),
    /// Byte-level BPE: ids by token, and pairs from the first to be merged to the last.
    Merges {
        ids: Map<String, Value>,
        merges: Vec<Value>,
    },
    /// Unigram: pieces with their scores in the order of their ids, and the normalization table in base64.
    Pieces {
        pieces: Vec<(String, f64)>,
        charsmap: Option<String>,
        unk_id: Option<usize>,
    },
}

/// The model of a `tokenizer.json` and what comes before it, without added tokens.
struct Parts {
    model: Value,
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
}

/// The `tokenizer.json` that `class` builds from a `vocab.json` with its `merges.txt`, a `vocab.txt` or a SentencePiece model
/// at `path`.
///
/// # Errors
/// A file that cannot be read or is broken, a special token that is missing, a class that is not built here.
pub(super) fn from_vocabulary(
    class: &Class,
    path: &Path,
    merges: Option<&Path>,
    config: &Config,
) -> Result<Value, TextError> {
    let other_class = || TextError::OtherClass {
        path: path.to_owned(),
        class: class.name().to_owned(),
    };
    let name = path.file_name().and_then(|name| name.to_str());
    if name.is_none() || class.vocabulary() != name {
        return Err(other_class());
    }
    let (vocabulary, marked) = match class {
        Class::Other(_) => return Err(other_class()),
        Class::Bert | Class::DistilBert | Class::MpNet => {
            (Vocabulary::Words(files::read_vocabulary(path)?), Vec::new())
        }
        Class::Roberta => {
            let Some(merges) = merges else {
                return Err(TextError::NoMerges {
                    path: path.to_owned(),
                });
            };
            let vocabulary = Vocabulary::Merges {
                ids: files::read_ids(path)?,
                merges: files::read_merges(merges)?,
            };
            (vocabulary, Vec::new())
        }
        Class::XlmRoberta | Class::Albert | Class::DebertaV2 | Class::Plain => {
            let broken = |problem: String| TextError::NotSentencePiece {
                path: path.to_owned(),
                problem,
            };
            let model = SentencePiece::read(&files::read(path)?).map_err(broken)?;
            if *class == Class::Plain {
                return Ok(plain(model, config));
            }
            if model.kind == Kind::Bpe {
                return Err(broken(format!(
                    "it is of the kind BPE, and {} reads every model as unigram",
                    class.name()
                )));
            }
            let marked = model.marked.iter().map(marked_token).collect();
            let charsmap = model.charsmap.as_ref().map(|bytes| STANDARD.encode(bytes));
            let pieces = match class {
                Class::XlmRoberta => with_fairseq_ids(model.pieces, config),
                _ => model.pieces,
            };
            let vocabulary = Vocabulary::Pieces {
                pieces,
                charsmap,
                unk_id: Some(model.unk_id),
            };
            (vocabulary, marked)
        }
    };
    check_specials(class, &vocabulary, path, config)?;
    let added = Additions {
        saved: config.added(path)?,
        marked,
    };
    Ok(compose(class, vocabulary, added, config))
}

/// BERT's tokenizer over `tokens`, in the order of their ids.
pub(super) fn from_words(tokens: &[String], config: &Config) -> Value {
    from_learnt(&Class::Bert, Vocabulary::Words(tokens.to_vec()), config)
}

/// The tokenizer of `class` over a vocabulary that was learnt.
pub(super) fn from_learnt(class: &Class, vocabulary: Vocabulary, config: &Config) -> Value {
    let nothing = Additions {
        saved: Vec::new(),
        marked: Vec::new(),
    };
    compose(class, vocabulary, nothing, config)
}

/// The `tokenizer.json` that `class` makes of another, of which it keeps the vocabulary. None where the class takes what it
/// finds, or its vocabulary is of another kind than the one there.
///
/// # Errors
/// Added tokens in the tokenizer's configuration that are none.
pub(super) fn rebuilt(
    class: &Class,
    saved: &Value,
    path: &Path,
    config: &Config,
) -> Result<Option<Value>, TextError> {
    let model = &saved["model"];
    let vocabulary = match class {
        Class::MpNet => words_of(model),
        Class::Roberta => merges_of(model),
        Class::XlmRoberta | Class::Albert | Class::DebertaV2 => pieces_of(saved),
        Class::Bert | Class::DistilBert | Class::Plain | Class::Other(_) => None,
    };
    let Some(vocabulary) = vocabulary else {
        return Ok(None);
    };
    check_specials(class, &vocabulary, path, config)?;
    let mut added = config.added(path)?;
    if !config.lists_added() {
        let there = saved["added_tokens"].as_array();
        let there = there.into_iter().flatten();
        added.extend(there.filter_map(|token| Some((Added::id_of(token)?, Added::of(token)?))));
        added.sort_by_key(|(id, _)| *id);
        added.dedup_by_key(|(id, _)| *id);
    }
    let added = Additions {
        saved: added,
        marked: Vec::new(),
    };
    let mut value = compose(class, vocabulary, added, config);
    // Of all classes this one lets the saved template stand.
    if *class == Class::Albert && !saved["post_processor"].is_null() {
        value["post_processor"] = saved["post_processor"].clone();
    }
    Ok(Some(value))
}

/// Control pieces are special, user defined ones are not.
fn marked_token((piece, control): &(String, bool)) -> Added {
    Added {
        normalized: Some(false),
        special: *control,
        ..Added::plain(piece)
    }
}

/// fairseq numbers its own four special tokens first, and leaves out SentencePiece's three.
fn with_fairseq_ids(pieces: Vec<(String, f64)>, config: &Config) -> Vec<(String, f64)> {
    let names = config.specials(Some(&Class::XlmRoberta), None, &|_| true);
    let (bos, eos) = config.bounds(&Class::XlmRoberta);
    let first = [
        bos.unwrap_or_default(),
        names.pad,
        eos.unwrap_or_default(),
        names.unk,
    ];
    let first = first.into_iter().map(|name| (name, 0.0));
    let last = (names.mask, 0.0);
    first
        .chain(pieces.into_iter().skip(3))
        .chain([last])
        .collect()
}

fn words_of(model: &Value) -> Option<Vocabulary> {
    let ids = model["vocab"].as_object()?;
    if model.get("merges").is_some() || model["type"].as_str().is_some_and(|t| t != "WordPiece") {
        return None;
    }
    let mut tokens = vec![None; ids.len()];
    for (token, id) in ids {
        *tokens.get_mut(usize::try_from(id.as_u64()?).ok()?)? = Some(token.clone());
    }
    Some(Vocabulary::Words(
        tokens.into_iter().collect::<Option<_>>()?,
    ))
}

fn merges_of(model: &Value) -> Option<Vocabulary> {
    Some(Vocabulary::Merges {
        ids: model["vocab"].as_object()?.clone(),
        merges: model["merges"].as_array()?.clone(),
    })
}

fn pieces_of(saved: &Value) -> Option<Vocabulary> {
    let piece = |piece: &Value| Some((piece.get(0)?.as_str()?.to_owned(), piece.get(1)?.as_f64()?));
    let pieces = saved["model"]["vocab"].as_array()?.iter().map(piece);
    let pieces = pieces.collect::<Option<Vec<_>>>()?;
    let normalizer = &saved["normalizer"];
    let sequence = normalizer["normalizers"].as_array();
    let mut normalizers = sequence.into_iter().flatten().chain([normalizer]);
    let charsmap = normalizers.find_map(|one| one["precompiled_charsmap"].as_str());
    Some(Vocabulary::Pieces {
        pieces,
        charsmap: charsmap.map(str::to_owned),
        unk_id: None,
    })
}

/// What a text becomes must have its ids in the vocabulary; a mask may be added.
fn check_specials(
    class: &Class,
    vocabulary: &Vocabulary,
    path: &Path,
    config: &Config,
) -> Result<(), TextError> {
    let names = config.specials(Some(class), None, &|_| true);
    // Bytes are never unknown.
    let unk = (!matches!(vocabulary, Vocabulary::Merges { .. })).then_some(names.unk);
    let mut missing = Vec::new();
    for name in unk.into_iter().chain([names.cls, names.sep, names.pad]) {
        let there = match vocabulary {
            Vocabulary::Words(tokens) => tokens.contains(&name),
            Vocabulary::Merges { ids, .. } => ids.contains_key(&name),
            Vocabulary::Pieces { pieces, .. } => pieces.iter().any(|(piece, _)| *piece == name),
        };
        if !there && !missing.contains(&name) {
            missing.push(name);
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(TextError::TokensMissing {
            path: path.to_owned(),
            tokens: missing,
        }),
    }
}

/// Tokens that are added to a vocabulary, or marked in it.
struct Additions {
    /// What files list, with ids that only say in which order.
    saved: Vec<(u32, Added)>,
    /// What the SentencePiece model lists.
    marked: Vec<Added>,
}

fn compose(class: &Class, vocabulary: Vocabulary, added: Additions, config: &Config) -> Value {
    let ids = ids_of(&vocabulary);
    let (added, ids) = numbered(class, added, ids, config);
    let names = config.specials(Some(class), None, &|_| true);
    let id = |name: &str| ids.get(name).copied().unwrap_or_default();
    let (cls, sep) = (names.cls.as_str(), names.sep.as_str());
    let prefix = config.add_prefix_space;
    let parts = match (class, vocabulary) {
        (Class::Roberta, vocabulary) => roberta(vocabulary, prefix.unwrap_or(false)),
        (Class::XlmRoberta, vocabulary) => xlm_roberta(vocabulary, prefix.unwrap_or(true)),
        (Class::Albert, vocabulary) => albert(vocabulary, prefix.unwrap_or(true), config),
        (Class::DebertaV2, vocabulary) => {
            deberta(vocabulary, prefix.unwrap_or(true), &names.unk, config)
        }
        (_, vocabulary) => bert(vocabulary, &names.unk, config),
    };
    let post_processor = match class {
        Class::Roberta => json!({
            "type": "RobertaProcessing",
            "sep": [sep, id(sep)],
            "cls": [cls, id(cls)],
            "trim_offsets": config.trim_offsets.unwrap_or(true),
            "add_prefix_space": prefix.unwrap_or(false),
        }),
        Class::MpNet => json!({
            "type": "RobertaProcessing",
            "sep": [sep, id(sep)],
            "cls": [cls, id(cls)],
            "trim_offsets": true,
            "add_prefix_space": false,
        }),
        Class::XlmRoberta => {
            let (bos, eos) = config.bounds(class);
            let (bos, eos) = (bos.unwrap_or_default(), eos.unwrap_or_default());
            roberta_template(&bos, id(&bos), &eos, id(&eos))
        }
        _ => files::bert_template(cls, id(cls), sep, id(sep)),
    };
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "post_processor": post_processor,
        "decoder": parts.decoder,
        "model": parts.model,
    })
}

fn ids_of(vocabulary: &Vocabulary) -> HashMap<String, usize> {
    match vocabulary {
        Vocabulary::Words(tokens) => tokens.iter().cloned().zip(0..).collect(),
        Vocabulary::Merges { ids, .. } => {
            let id = |(token, id): (&String, &Value)| Some((token.clone(), id.as_u64()? as usize));
            ids.iter().filter_map(id).collect()
        }
        Vocabulary::Pieces { pieces, .. } => {
            let names = pieces.iter().map(|(piece, _)| piece.clone());
            names.zip(0..).collect()
        }
    }
}

/// The added tokens with their ids, and the ids of all tokens: what files list, then the special tokens that these leave
/// out, then what the vocabulary itself lists. What is not in the vocabulary is numbered on from its end.
fn numbered(
    class: &Class,
    added: Additions,
    mut ids: HashMap<String, usize>,
    config: &Config,
) -> (Vec<Value>, HashMap<String, usize>) {
    let named = config.named(class);
    let mut tokens: Vec<Added> = added.saved.into_iter().map(|(_, token)| token).collect();
    let extra = config.extra();
    // What the configuration lists takes the place of what the vocabulary does.
    let more = match extra.is_empty() {
        true => added.marked,
        false => extra,
    };
    for token in named.iter().chain(&more) {
        // transformers' BertTokenizer adds these too, where the model has no embedding for them.
        if class.is_bert() && !ids.contains_key(&token.content) {
            continue;
        }
        if !tokens.iter().any(|there| there.content == token.content) {
            tokens.push(token.clone());
        }
    }
    let mut next = ids.len();
    let mut values: Vec<(usize, Value)> = Vec::new();
    for token in &tokens {
        let id = *ids.entry(token.content.clone()).or_insert_with(|| {
            next += 1;
            next - 1
        });
        let special = token.special || named.iter().any(|name| name.content == token.content);
        values.push((id, token.to_json(id, special)));
    }
    values.sort_by_key(|(id, _)| *id);
    values.dedup_by_key(|(id, _)| *id);
    (values.into_iter().map(|(_, value)| value).collect(), ids)
}

fn bert(vocabulary: Vocabulary, unk: &str, config: &Config) -> Parts {
    let tokens = match vocabulary {
        Vocabulary::Words(tokens) => tokens,
        _ => Vec::new(),
    };
    Parts {
        model: json!({
            "type": "WordPiece",
            "unk_token": unk,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": tokens.into_iter().zip(0..).map(|(token, id)| (token, json!(id))).collect::<Map<_, _>>(),
        }),
        normalizer: json!({
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": config.tokenize_chinese_chars.unwrap_or(true),
            "strip_accents": config.strip_accents,
            "lowercase": config.do_lower_case.unwrap_or(true),
        }),
        pre_tokenizer: json!({"type": "BertPreTokenizer"}),
        decoder: json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
    }
}

fn roberta(vocabulary: Vocabulary, add_prefix_space: bool) -> Parts {
    let (ids, merges) = match vocabulary {
        Vocabulary::Merges { ids, merges } => (ids, merges),
        _ => Default::default(),
    };
    let byte_level = |add_prefix_space: bool| json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true, "use_regex": true});
    Parts {
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": ids,
            "merges": merges,
        }),
        normalizer: Value::Null,
        pre_tokenizer: byte_level(add_prefix_space),
        decoder: byte_level(true),
    }
}

fn unigram(pieces: &[(String, f64)], unk_id: usize) -> Value {
    json!({"type": "Unigram", "unk_id": unk_id, "vocab": pieces, "byte_fallback": false})
}

fn metaspace(scheme: &str) -> Value {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true})
}

fn precompiled(charsmap: &str) -> Value {
    json!({"type": "Precompiled", "precompiled_charsmap": charsmap})
}

fn pieces(vocabulary: Vocabulary) -> (Vec<(String, f64)>, Option<String>, Option<usize>) {
    match vocabulary {
        Vocabulary::Pieces {
            pieces,
            charsmap,
            unk_id,
        } => (pieces, charsmap, unk_id),
        _ => Default::default(),
    }
}

fn spaces(add_prefix_space: bool) -> (Value, Value) {
    let metaspace = metaspace(if add_prefix_space { "always" } else { "never" });
    let pre_tokenizer = json!({
        "type": "Sequence",
        "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace],
    });
    (pre_tokenizer, metaspace)
}

fn xlm_roberta(vocabulary: Vocabulary, add_prefix_space: bool) -> Parts {
    let (pieces, charsmap, _) = pieces(vocabulary);
    let (pre_tokenizer, decoder) = spaces(add_prefix_space);
    Parts {
        model: unigram(&pieces, 3),
        normalizer: charsmap.as_deref().map_or(Value::Null, precompiled),
        pre_tokenizer,
        decoder,
    }
}

fn albert(vocabulary: Vocabulary, add_prefix_space: bool, config: &Config) -> Parts {
    let (pieces, charsmap, _) = pieces(vocabulary);
    let quote =
        |quote: &str| json!({"type": "Replace", "pattern": {"String": quote}, "content": "\""});
    let mut normalizers = vec![quote("``"), quote("''")];
    if !config.keep_accents.unwrap_or(false) {
        normalizers.extend([json!({"type": "NFKD"}), json!({"type": "StripAccents"})]);
    }
    if config.do_lower_case.unwrap_or(true) {
        normalizers.push(json!({"type": "Lowercase"}));
    }
    normalizers.extend(charsmap.as_deref().map(precompiled));
    let (pre_tokenizer, decoder) = spaces(add_prefix_space);
    Parts {
        model: unigram(&pieces, 1),
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer,
        decoder,
    }
}

fn deberta(vocabulary: Vocabulary, add_prefix_space: bool, unk: &str, config: &Config) -> Parts {
    let (pieces, _, unk_id) = pieces(vocabulary);
    let is_unk = |(piece, score): &(String, f64)| piece == unk && *score == 0.0;
    let unk_id = pieces.iter().position(is_unk).or(unk_id).unwrap_or(1);
    let mut normalizers = Vec::new();
    if config.do_lower_case.unwrap_or(false) {
        normalizers.push(json!({"type": "Lowercase"}));
    }
    normalizers.extend([
        json!({"type": "Replace", "pattern": {"Regex": r"\s{2,}|[\n\r\t]"}, "content": " "}),
        json!({"type": "NFC"}),
        json!({"type": "Strip", "strip_left": false, "strip_right": true}),
    ]);
    let metaspace = metaspace(if add_prefix_space { "always" } else { "first" });
    let mut pre_tokenizers = Vec::new();
    if config.split_by_punct.unwrap_or(false) {
        pre_tokenizers.push(json!({"type": "Punctuation", "behavior": "Isolated"}));
    }
    pre_tokenizers.push(metaspace.clone());
    Parts {
        model: unigram(&pieces, unk_id),
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer: json!({"type": "Sequence", "pretokenizers": pre_tokenizers}),
        decoder: metaspace,
    }
}

/// `<s> A </s>` and `<s> A </s></s> B </s>`, all of type 0.
fn roberta_template(bos: &str, bos_id: usize, eos: &str, eos_id: usize) -> Value {
    let special = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
    json!({
        "type": "TemplateProcessing",
        "single": [special(bos), text("A"), special(eos)],
        "pair": [special(bos), text("A"), special(eos), special(eos), text("B"), special(eos)],
        "special_tokens": {
            bos: {"id": bos, "ids": [bos_id], "tokens": [bos]},
            eos: {"id": eos, "ids": [eos_id], "tokens": [eos]},
        },
    })
}

/// A SentencePiece model without a class: as it was trained, with spaces as `▁` and nothing around the texts.
fn plain(model: SentencePiece, config: &Config) -> Value {
    let unk = Some(model.unk.clone());
    let config = config.with_defaults([model.bos.clone(), model.eos.clone(), unk]);
    let mut normalizers = Vec::new();
    if let Some(charsmap) = &model.charsmap {
        normalizers.push(precompiled(&STANDARD.encode(charsmap)));
    }
    normalizers.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}));
    let ids: HashMap<String, usize> = model
        .pieces
        .iter()
        .map(|(piece, _)| piece.clone())
        .zip(0..)
        .collect();
    let model_json = match model.kind {
        Kind::Bpe => json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": model.unk,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": model.byte_fallback,
            "ignore_merges": false,
            "vocab": ids,
            "merges": model.merges(),
        }),
        Kind::Unigram => json!({
            "type": "Unigram",
            "unk_id": model.unk_id,
            "vocab": model.pieces,
            "byte_fallback": model.byte_fallback,
        }),
    };
    let mut decoders = vec![json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "})];
    if model.byte_fallback {
        decoders.extend([json!({"type": "ByteFallback"}), json!({"type": "Fuse"})]);
    }
    let additions = Additions {
        saved: Vec::new(),
        marked: model.marked.iter().map(marked_token).collect(),
    };
    let (added, _) = numbered(&Class::Plain, additions, ids, &config);
    let text = |name: &str, type_id: u8| json!({"Sequence": {"id": name, "type_id": type_id}});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [text("A", 0)],
            "pair": [text("A", 0), text("B", 1)],
            "special_tokens": {},
        },
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": model_json,
    })
}
