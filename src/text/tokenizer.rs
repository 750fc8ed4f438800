//! A tokenizer in use: text and text pairs in, ids out.
//!
//! Truncation to `max_length` is longest-first, keeps the beginning, and is set at each call; rows are never padded.
//! Rows are encoded in parallel and come back in their order.
//!
//! Deliberately absent: offsets into the text, and rows of which no token may be lost; see [`windows`](super::windows).

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::utils::truncation::{
    TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings,
};
use tokenizers::{Model, PostProcessor};

use super::check::{self, caught};
use super::class::Class;
use super::compose;
use super::files::{self, Config, Specials};
use super::words::{Frame, Memo, Words};
use super::{Encoded, TextError};

/// Rows between two calls of a progress callback.
pub(super) const ROWS_AT_A_TIME: usize = 4096;
/// Rows that a thread takes at once.
const ROWS_A_JOB: usize = 64;

/// A tokenizer that gives the ids which transformers gives for the same files.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// Without truncation, padding and template: those are applied here, row by row.
    pub(super) words: tokenizers::Tokenizer,
    pub(super) template: Option<PostProcessorWrapper>,
    /// The short way to the same ids, where there is one.
    pub(super) by_words: Option<Words>,
    /// Where its files state it.
    class: Option<Class>,
    pub(super) specials: Specials,
    pub(super) pad_id: u32,
    pub(super) unknown_id: Option<u32>,
    pub(super) vocab_size: usize,
    pub(super) model_max_length: Option<usize>,
    notes: Vec<String>,
    /// See [`Tokenizer::to_json`].
    pub(super) json: OnceLock<String>,
}

/// The parts of a `tokenizer.json` that tokenizers keeps to itself or takes lightly.
#[derive(Deserialize)]
struct Saved {
    #[serde(default)]
    added_tokens: Vec<SavedToken>,
}

#[derive(Deserialize)]
struct SavedToken {
    id: u32,
    content: String,
}

impl Tokenizer {
    /// Opens the tokenizer in `folder`: `tokenizer.json`, or one of the older forms of
    /// [`TOKENIZER_FILES`](super::TOKENIZER_FILES).
    ///
    /// # Errors
    /// No tokenizer there, a file that cannot be read or is broken, a special token that is missing.
    pub fn open(folder: &Path) -> Result<Self, TextError> {
        Self::from_files(&files::tokenizer_files(folder)?)
    }

    /// Opens a tokenizer from its files by name, as [`tokenizer_files`](super::tokenizer_files) lists them.
    ///
    /// # Errors
    /// As [`Tokenizer::open`].
    pub fn from_files(files: &BTreeMap<String, PathBuf>) -> Result<Self, TextError> {
        let config = Config::read(files)?;
        if let Some(path) = files.get("tokenizer.json") {
            let bytes = files::read(path)?;
            let saved = check::parsed(&bytes).map_err(not_a_tokenizer(path))?;
            let class = config.class();
            let rebuilt = match &class {
                Some(class) => compose::rebuilt(class, &saved, path, &config)?,
                None => None,
            };
            return match rebuilt {
                None => Self::build(&saved, &bytes, path, &config, class),
                Some(value) => {
                    let bytes = value.to_string();
                    let mut tokenizer =
                        Self::build(&value, bytes.as_bytes(), path, &config, class)?;
                    tokenizer.note_differences(&saved);
                    Ok(tokenizer)
                }
            };
        }
        let vocabulary = |(name, path): (&String, _)| Some((files::is_vocabulary(name)?, path));
        let Some((name, path)) = files.iter().find_map(vocabulary) else {
            let folder = files
                .values()
                .next()
                .and_then(|path| path.parent())
                .unwrap_or(Path::new(""))
                .to_owned();
            return Err(TextError::NoTokenizer {
                folder,
                found: files.keys().cloned().collect(),
            });
        };
        let class = config.class().unwrap_or(Class::of_vocabulary(name));
        let merges = files.get("merges.txt").map(PathBuf::as_path);
        let value = compose::from_vocabulary(&class, path, merges, &config)?;
        check::parts(&value).map_err(not_a_tokenizer(path))?;
        let bytes = value.to_string();
        Self::build(&value, bytes.as_bytes(), path, &config, Some(class))
    }

    /// BERT's tokenizer over a vocabulary in the order of its ids, with the usual special tokens among them.
    ///
    /// # Errors
    /// A special token is missing.
    pub fn from_vocabulary(tokens: &[String], lowercase: bool) -> Result<Self, TextError> {
        let config = Config::of_case(lowercase);
        let value = compose::from_words(tokens, &config);
        let path = Path::new("the learnt vocabulary");
        Self::build(&value, value.to_string().as_bytes(), path, &config, None)
    }

    /// The tokenizer of a class over a vocabulary that was learnt, with another normalizer where one is given.
    ///
    /// # Errors
    /// A special token is missing.
    pub(super) fn learnt(
        class: Class,
        vocabulary: compose::Vocabulary,
        normalizer: Option<Value>,
    ) -> Result<Self, TextError> {
        let config = Config::default();
        let mut value = compose::from_learnt(&class, vocabulary, &config);
        if let Some(normalizer) = normalizer {
            value["normalizer"] = normalizer;
        }
        let path = Path::new("the learnt vocabulary");
        let json = value.to_string();
        Self::build(&value, json.as_bytes(), path, &config, Some(class))
    }

    /// `saved` is what `json` says.
    fn build(
        saved: &Value,
        json: &[u8],
        path: &Path,
        config: &Config,
        class: Option<Class>,
    ) -> Result<Self, TextError> {
        let broken = not_a_tokenizer(path);
        let saved = Saved::deserialize(saved).map_err(|e| broken(e.to_string()))?;
        let read = || serde_json::from_slice(json).map_err(|e| e.to_string().into());
        let mut words: tokenizers::Tokenizer = caught(read).map_err(|e| broken(e.to_string()))?;
        let random = match words.get_model() {
            ModelWrapper::BPE(bpe) => bpe.dropout.is_some_and(|share| share > 0.0),
            ModelWrapper::Unigram(unigram) => unigram.alpha.is_some_and(|alpha| alpha != 0.0),
            _ => false,
        };
        if random {
            let message = "its model cuts words at random (`dropout` or `alpha`); set that to null";
            return Err(broken(message.to_owned()));
        }
        let vocab_size = check::ids(&words).map_err(&broken)?;
        for token in saved
            .added_tokens
            .iter()
            .filter(|token| !token.content.is_empty())
        {
            let actual = words.token_to_id(&token.content);
            if actual != Some(token.id) {
                let actual = actual.map_or("none".to_owned(), |id| id.to_string());
                return Err(broken(format!(
                    "the added token {:?} claims the id {}, but the vocabulary gives it {actual}",
                    token.content, token.id
                )));
            }
        }

        let pad_name = words.get_padding().map(|padding| padding.pad_token.clone());
        words.with_padding(None);
        words
            .with_truncation(None)
            .map_err(|e| broken(e.to_string()))?;

        let mut notes = Vec::new();
        let has_types = config
            .has_types()
            .unwrap_or(class.as_ref().is_none_or(Class::has_types));
        follow_config(&mut words, config, class.as_ref(), &mut notes).map_err(&broken)?;
        let known = |name: &str| words.token_to_id(name).is_some();
        let mut specials = config.specials(class.as_ref(), pad_name, &known);
        if let ModelWrapper::WordPiece(model) = words.get_model() {
            specials.unk = model.unk_token.clone();
            if model.token_to_id(&model.unk_token).is_none() {
                return Err(TextError::TokensMissing {
                    path: path.to_owned(),
                    tokens: vec![specials.unk],
                });
            }
        }
        let Some(pad_id) = words.token_to_id(&specials.pad) else {
            return Err(TextError::NoPadToken {
                path: path.to_owned(),
                name: specials.pad,
            });
        };
        let mut template = words.get_post_processor().cloned();
        if template.is_none() && matches!(words.get_model(), ModelWrapper::WordPiece(_)) {
            template = bert_template(&words, &specials);
        }
        if let Some(template) = &template {
            let value = serde_json::to_value(template).map_err(|e| broken(e.to_string()))?;
            check::template(&value).map_err(&broken)?;
        }
        if !has_types {
            template = untyped(template);
        }
        words.with_post_processor(None::<PostProcessorWrapper>);

        let unknown_id = words.token_to_id(&specials.unk);
        let mut tokenizer = Tokenizer {
            words,
            template,
            by_words: None,
            class,
            specials,
            pad_id,
            unknown_id,
            vocab_size,
            model_max_length: config.model_max_length(),
            notes,
            json: OnceLock::new(),
        };
        tokenizer.check_special_ids().map_err(&broken)?;
        tokenizer.by_words = Words::of(&tokenizer.words, tokenizer.template.as_ref());
        Ok(tokenizer)
    }

    /// Notes where a `tokenizer.json` is otherwise than its class builds it.
    fn note_differences(&mut self, saved: &Value) {
        let name = self.class.as_ref().map_or("", Class::name);
        let ours = serde_json::from_str::<Value>(self.to_json()).unwrap_or_default();
        let differs = |part: &&str| {
            let canonical = match *part {
                "normalizer" => canonical::<NormalizerWrapper>(&saved["normalizer"]),
                _ => canonical::<PreTokenizerWrapper>(&saved["pre_tokenizer"]),
            };
            canonical.is_some_and(|saved| saved != ours[*part])
        };
        let parts = ["normalizer", "pre_tokenizer"];
        let parts: Vec<&str> = parts.into_iter().filter(differs).collect();
        if !parts.is_empty() {
            self.notes.push(format!(
                "the {} of tokenizer.json is not what transformers' {name} builds; as in transformers, {name} is followed",
                parts.join(" and the ")
            ));
        }
    }

    /// The tokenizer for lists of words: one that takes a word without a space before it for the middle of another is told
    /// to put one there, as transformers asks of its users (`add_prefix_space=True`).
    pub fn for_words(self) -> Self {
        let Some(spaced) = self.words.get_pre_tokenizer().and_then(with_prefix_space) else {
            return self;
        };
        let mut words = self.words;
        words.with_pre_tokenizer(Some(spaced));
        let mut notes = self.notes;
        notes.push(
            "this tokenizer takes words for the middles of others unless a space stands before them; since the rows are lists \
             of words, it puts one there (`add_prefix_space`)"
                .to_owned(),
        );
        Tokenizer {
            words,
            template: self.template.map(trimming_prefix_space),
            notes,
            json: OnceLock::new(),
            ..self
        }
    }

    /// A template may name any id and any type; after this check, every id fits the vocabulary and every type a byte.
    fn check_special_ids(&self) -> Result<(), String> {
        let encoding = |pair: Option<&str>| {
            self.encoding("", pair, usize::MAX)
                .map_err(|e| e.to_string())
        };
        for encoding in [encoding(None)?.0, encoding(Some(""))?.0] {
            if let Some(id) = encoding
                .get_ids()
                .iter()
                .find(|id| **id as usize >= self.vocab_size)
            {
                return Err(format!(
                    "its post_processor adds the id {id}, but the vocabulary ends at {}",
                    self.vocab_size
                ));
            }
            if let Some(type_id) = encoding
                .get_type_ids()
                .iter()
                .find(|id| **id > u32::from(u8::MAX))
            {
                return Err(format!(
                    "its post_processor gives the type id {type_id}, which is above 255"
                ));
            }
        }
        Ok(())
    }

    /// The number of ids: one more than the largest, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id to fill shorter rows with.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// The largest id that a text can become, special tokens included: an encoder needs one more embedding than this.
    pub fn largest_id(&self) -> u32 {
        u32::try_from(self.vocab_size.saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The special tokens by their roles (`unk`, `sep`, `pad`, `cls`, `mask`), with their ids; without those that the
    /// vocabulary lacks.
    pub fn special_ids(&self) -> BTreeMap<&'static str, (&str, u32)> {
        let Specials {
            unk,
            sep,
            pad,
            cls,
            mask,
        } = &self.specials;
        [
            ("unk", unk),
            ("sep", sep),
            ("pad", pad),
            ("cls", cls),
            ("mask", mask),
        ]
        .into_iter()
        .filter_map(|(role, name)| Some((role, (name.as_str(), self.words.token_to_id(name)?))))
        .collect()
    }

    /// The token behind an id, as the vocabulary writes it.
    pub fn piece(&self, id: u32) -> Option<String> {
        self.words.id_to_token(id)
    }

    /// How many types of tokens a row has: 2 where the texts of a pair are told apart by it, otherwise 1.
    pub fn token_types(&self, pair: bool) -> usize {
        let Some(frame) = Frame::of(self.template.as_ref(), pair) else {
            return 2;
        };
        let parts = [&frame.before, &frame.between, &frame.after];
        let around = parts.into_iter().flatten().map(|(_, type_id)| *type_id);
        let texts = frame.types.into_iter().take(1 + usize::from(pair));
        around
            .chain(texts)
            .max()
            .map_or(1, |most| usize::from(most) + 1)
    }

    /// The longest input that the tokenizer's model was made for, where its files say so.
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// What its user should know: settings in its files that were overruled.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How many tokens are added to a row beside its text.
    pub fn added_tokens(&self, pair: bool) -> usize {
        self.template
            .as_ref()
            .map_or(0, |template| template.added_tokens(pair))
    }

    /// The blake3 hash of the tokenizer's content, truncation and padding left out, as 64 hex digits.
    pub fn digest(&self) -> String {
        blake3::hash(self.to_json().as_bytes()).to_hex().to_string()
    }

    /// Encodes texts and text pairs, each to at most `max_length` tokens.
    ///
    /// # Errors
    /// `max_length` leaves no room beside the special tokens; a text that the tokenizer refuses.
    pub fn encode(
        &self,
        texts: &[(String, Option<String>)],
        max_length: usize,
    ) -> Result<Encoded, TextError> {
        let row = |row: usize| (texts[row].0.as_str(), texts[row].1.as_deref());
        self.encode_rows(texts.len(), row, max_length, &mut |_| {
            ControlFlow::Continue(())
        })
    }

    /// [`Tokenizer::encode`] for texts that lie in columns; a `text_pair` is as long as `text`. After each piece of work
    /// `on_rows` is told how many rows were done, and may stop the rest.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`], and [`TextError::Interrupted`] when `on_rows` said so.
    pub fn encode_columns<T: AsRef<str> + Sync>(
        &self,
        text: &[T],
        text_pair: Option<&[T]>,
        max_length: usize,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Encoded, TextError> {
        let row = |row: usize| {
            (
                text[row].as_ref(),
                text_pair
                    .and_then(|pairs| pairs.get(row))
                    .map(AsRef::as_ref),
            )
        };
        self.encode_rows(text.len(), row, max_length, on_rows)
    }

    fn encode_rows<'t>(
        &self,
        rows: usize,
        text: impl Fn(usize) -> (&'t str, Option<&'t str>) + Sync,
        max_length: usize,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Encoded, TextError> {
        let bytes = |(text, pair): (&str, Option<&str>)| text.len() + pair.map_or(0, str::len);
        let bytes = (0..rows).map(|row| bytes(text(row))).sum();
        self.in_pieces(
            rows,
            bytes,
            &Encoded::default(),
            on_rows,
            |numbers, memo, encoded| {
                for row in numbers {
                    self.encode_row(row, text(row), max_length, memo, encoded)?;
                }
                Ok(())
            },
        )
    }

    /// Encodes so many rows, of so many bytes together, in parallel and in their order. `piece` appends a few of them to a
    /// copy of `empty`.
    pub(super) fn in_pieces(
        &self,
        rows: usize,
        bytes: usize,
        empty: &Encoded,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
        piece: impl Fn(Range<usize>, &mut Memo, &mut Encoded) -> Result<(), TextError> + Sync,
    ) -> Result<Encoded, TextError> {
        // One for each thread: they know different words, and give the same ids.
        let memos: Vec<Mutex<Option<Memo>>> = (0..rayon::current_num_threads())
            .map(|_| Mutex::default())
            .collect();
        let piece = |start: usize| {
            let memo = rayon::current_thread_index().and_then(|thread| memos.get(thread));
            let mut here = None;
            let mut there = memo.map(|memo| memo.lock().unwrap_or_else(PoisonError::into_inner));
            let memo = match &mut there {
                Some(there) => &mut **there,
                None => &mut here,
            };
            let memo = memo.get_or_insert_with(|| Memo::for_bytes(bytes));
            let mut encoded = empty.clone();
            piece(start..rows.min(start + ROWS_A_JOB), memo, &mut encoded)?;
            encoded.unknown = match self.unknown_id {
                Some(unknown) => encoded.ids.iter().filter(|id| **id == unknown).count(),
                None => 0,
            };
            Ok(encoded)
        };
        let mut encoded = Encoded {
            offsets: vec![0],
            ..empty.clone()
        };
        for start in (0..rows).step_by(ROWS_AT_A_TIME) {
            let end = rows.min(start + ROWS_AT_A_TIME);
            let jobs: Vec<usize> = (start..end).step_by(ROWS_A_JOB).collect();
            let pieces: Vec<Result<Encoded, TextError>> = jobs.into_par_iter().map(piece).collect();
            for piece in pieces {
                encoded.append(piece?);
            }
            if on_rows(end - start).is_break() {
                return Err(TextError::Interrupted);
            }
        }
        Ok(encoded)
    }

    fn encode_row(
        &self,
        row: usize,
        (text, pair): (&str, Option<&str>),
        max_length: usize,
        memo: &mut Memo,
        encoded: &mut Encoded,
    ) -> Result<(), TextError> {
        let added = self.added_tokens(pair.is_some());
        if max_length <= added {
            return Err(TextError::NoRoom { max_length, added });
        }
        let refused = |e: tokenizers::Error| TextError::Row {
            row,
            message: e.to_string(),
        };
        let start = encoded.ids.len();
        let full_length = match &self.by_words {
            Some(words) => words
                .encode(
                    &self.words,
                    (text, pair),
                    max_length,
                    memo,
                    &mut encoded.ids,
                    &mut encoded.type_ids,
                )
                .map_err(refused)?,
            None => {
                let (encoding, full_length) =
                    self.encoding(text, pair, max_length).map_err(refused)?;
                encoded.ids.extend_from_slice(encoding.get_ids());
                // `check_special_ids` has seen that every type id is a byte.
                let type_ids = encoding.get_type_ids().iter().map(|id| *id as u8);
                encoded.type_ids.extend(type_ids);
                full_length
            }
        };
        encoded.truncated += usize::from(full_length > encoded.ids.len() - start);
        encoded
            .full_lengths
            .push(u32::try_from(full_length).unwrap_or(u32::MAX));
        encoded.offsets.push(encoded.ids.len() as u64);
        Ok(())
    }

    /// The encoding, and its length before truncation.
    ///
    /// The template is applied after what was cut off is thrown away: tokenizers would carry every combination of the
    /// overflowing parts of a pair along, which is quadratic in their number.
    pub(super) fn encoding(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: usize,
    ) -> Result<(tokenizers::Encoding, usize), tokenizers::Error> {
        let text = self.encode_alone(text)?;
        let pair = pair.map(|pair| self.encode_alone(pair)).transpose()?;
        let added = self.added_tokens(pair.is_some());
        let full_length = added + text.len() + pair.as_ref().map_or(0, tokenizers::Encoding::len);
        let truncation = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: max_length.saturating_sub(added),
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        let (mut text, mut pair) = truncate_encodings(text, pair, &truncation)?;
        text.take_overflowing();
        if let Some(pair) = &mut pair {
            pair.take_overflowing();
        }
        let encoding = match (&self.template, pair) {
            (Some(template), pair) => template.process(text, pair, true)?,
            (None, None) => text,
            (None, Some(mut pair)) => {
                pair.set_type_ids(vec![1; pair.len()]);
                tokenizers::Encoding::merge([text, pair], false)
            }
        };
        Ok((encoding, full_length))
    }

    /// A text's tokens, with nothing around them.
    pub(super) fn encode_alone(
        &self,
        text: &str,
    ) -> Result<tokenizers::Encoding, tokenizers::Error> {
        caught(|| self.words.encode_fast(text, false))
    }
}

fn not_a_tokenizer(path: &Path) -> impl Fn(String) -> TextError {
    move |message| TextError::NotATokenizer {
        path: path.to_owned(),
        message,
    }
}

/// A part of a `tokenizer.json` as tokenizers would write it.
fn canonical<T: serde::de::DeserializeOwned + serde::Serialize>(part: &Value) -> Option<Value> {
    let part: Option<T> = serde_json::from_str(&part.to_string()).ok()?;
    serde_json::to_value(part).ok()
}

/// The same with a space before each word; none where there is one, or a word needs none.
fn with_prefix_space(pre_tokenizer: &PreTokenizerWrapper) -> Option<PreTokenizerWrapper> {
    let mut value = serde_json::to_value(pre_tokenizer).ok()?;
    let changed = set_in(&mut value, "pretokenizers", &|part| {
        part["type"] == "ByteLevel"
            && std::mem::replace(&mut part["add_prefix_space"], Value::Bool(true))
                == Value::Bool(false)
    });
    changed.then(|| serde_json::from_str(&value.to_string()).ok())?
}

/// The same for a tokenizer that puts a space before each word, which a place then does not hold.
fn trimming_prefix_space(template: PostProcessorWrapper) -> PostProcessorWrapper {
    let Ok(mut value) = serde_json::to_value(&template) else {
        return template;
    };
    let changed = set_in(&mut value, "processors", &|part| {
        let trims = part["type"] == "RobertaProcessing" || part["type"] == "ByteLevel";
        if trims {
            part["add_prefix_space"] = Value::Bool(true);
        }
        trims
    });
    match serde_json::from_str(&value.to_string()) {
        Ok(trimming) if changed => trimming,
        _ => template,
    }
}

/// The same with type 0 for everything.
fn untyped(template: Option<PostProcessorWrapper>) -> Option<PostProcessorWrapper> {
    let mut value = match &template {
        None => files::untyped_pair(),
        Some(PostProcessorWrapper::Bert(_)) => {
            let saved = serde_json::to_value(&template).ok()?;
            let token = |name: &str| {
                Some((
                    saved[name][0].as_str()?.to_owned(),
                    saved[name][1].as_u64()? as usize,
                ))
            };
            let ((cls, cls_id), (sep, sep_id)) = (token("cls")?, token("sep")?);
            files::bert_template(&cls, cls_id, &sep, sep_id)
        }
        Some(template) => serde_json::to_value(template).ok()?,
    };
    set_in(&mut value, "processors", &|part| {
        for pieces in ["single", "pair"] {
            let pieces = part.get_mut(pieces).and_then(Value::as_array_mut);
            for piece in pieces.into_iter().flatten() {
                for kind in ["SpecialToken", "Sequence"] {
                    if let Some(piece) = piece.get_mut(kind) {
                        piece["type_id"] = Value::from(0);
                    }
                }
            }
        }
        true
    });
    serde_json::from_str(&value.to_string()).ok()
}

/// Does something to a part, or to each of the parts that it lists. Returns whether it said so of any.
fn set_in(value: &mut Value, list: &str, set: &dyn Fn(&mut Value) -> bool) -> bool {
    match value.get_mut(list).and_then(Value::as_array_mut) {
        Some(parts) => {
            let changed: Vec<bool> = parts
                .iter_mut()
                .map(|part| set_in(part, list, set))
                .collect();
            changed.contains(&true)
        }
        None => set(value),
    }
}

/// transformers lets the normalization stated in `tokenizer_config.json` overrule that in `tokenizer.json`.
fn follow_config(
    words: &mut tokenizers::Tokenizer,
    config: &Config,
    class: Option<&Class>,
    notes: &mut Vec<String>,
) -> Result<(), String> {
    if config.truncation_side.as_deref() == Some("left") {
        notes.push("tokenizer_config.json asks to truncate on the left; the beginning is kept all the same".to_owned());
    }
    let Some(NormalizerWrapper::BertNormalizer(found)) = words.get_normalizer() else {
        return Ok(());
    };
    if !class.is_none_or(Class::is_bert) {
        return Ok(());
    }
    let (found, mut wanted) = (*found, *found);
    wanted.lowercase = config.do_lower_case.unwrap_or(found.lowercase);
    wanted.strip_accents = config.strip_accents.or(found.strip_accents);
    wanted.handle_chinese_chars = config
        .tokenize_chinese_chars
        .unwrap_or(found.handle_chinese_chars);
    let says = |n: &tokenizers::normalizers::BertNormalizer| {
        (n.lowercase, n.strip_accents, n.handle_chinese_chars)
    };
    if says(&found) != says(&wanted) {
        notes.push(format!(
            "tokenizer.json and tokenizer_config.json disagree on normalization; as in transformers, the latter is followed: \
             do_lower_case {}, strip_accents {}, tokenize_chinese_chars {}",
            wanted.lowercase,
            wanted.strip_accents.map_or("unset".to_owned(), |strip| strip.to_string()),
            wanted.handle_chinese_chars
        ));
        words
            .with_normalizer(Some(wanted))
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn bert_template(
    words: &tokenizers::Tokenizer,
    specials: &Specials,
) -> Option<PostProcessorWrapper> {
    let (cls, sep) = (
        words.token_to_id(&specials.cls)?,
        words.token_to_id(&specials.sep)?,
    );
    serde_json::from_value(files::bert_template(
        &specials.cls,
        cls as usize,
        &specials.sep,
        sep as usize,
    ))
    .ok()
}
