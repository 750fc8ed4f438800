//! `tokenize`: texts become token ids, by an existing tokenizer or by one learnt from the training split.
//!
//! Every split is encoded with the same tokenizer and cut to `max_length`; rows are stored without padding, which is the
//! business of whoever makes batches. A learnt vocabulary has seen the training split only.
//!
//! What a table asks for shows in its columns. Words to be tagged, and contexts in which answers are to be found, lose no
//! token: they are cut into windows, and the table itself goes along in `examples/`, since whoever scores needs its words
//! and texts. A pair without a column of answers is an ordinary pair.
//!
//! Rows are read, encoded and written piece by piece ([`stored`], [`SplitWriter`](tokens::SplitWriter)), so memory does not
//! grow with their number; what is learnt for a vocabulary grows with the different words alone.
//!
//! Deliberately absent: random numbers (nothing here draws any), and downloads: those are `hub`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::Kind;
use crate::hub::{Fetched, Remote};
use crate::stage::{
    Context, Edge, Fault, Files, Preview, PreviewRow, Stage, StageError, TokenCounts, Wanted,
    advance, model_elsewhere, pretrained, stopped,
};
use crate::table::stored::{self, Piece, RowText, StoredSplit, StoredTable};
use crate::table::{self, Answer, Texts};
use crate::text::answers;
use crate::text::tokens::{self, Labelled, SplitCard, SplitWriter, TokensCard};
use crate::text::{
    self, Encoded, Learned, Packer, TextError, Tokenizer, Tokens, VocabularyKind, WordCounts,
};

/// The field that names a stage, and what has a tokenizer.
const STAGE: &str = "tokenizer_stage";
const WITH_TOKENIZER: &[Kind] = &[Kind::Encoder, Kind::Model, Kind::Tokens];

const TRAINING: &str = "train";
const VALIDATION: &str = "validation";

/// A share of truncated training rows that deserves a warning.
const MANY_TRUNCATED: f64 = 0.1;

/// Turns text into token ids. Needs one of `tokenizer`, `tokenizer_stage` and `train_tokenizer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tokenize {
    /// The `load` or `augment` stage whose rows are tokenized.
    pub input: String,
    /// A folder with a tokenizer in the Hugging Face layout: `tokenizer.json`, or older files such as `vocab.txt`. Or a model
    /// of the hub, `owner/name` or `owner/name@revision`, whose tokenizer is fetched; a folder of that name beside the spec
    /// comes first. Usually the encoder that is to be fine-tuned, since an encoder only understands the ids of its own
    /// tokenizer.
    #[serde(default)]
    pub tokenizer: Option<String>,
    /// A `pretrain` or `train` stage whose encoder is to be fine-tuned, or a `tokenize` stage that learns a vocabulary: its tokenizer
    /// is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer_stage: Option<String>,
    /// Learns a vocabulary from the training split instead: for encoders that are trained from scratch.
    #[serde(default)]
    pub train_tokenizer: Option<TrainTokenizer>,
    /// The most tokens that a row may have, special tokens included. Longer rows lose their end; of a text pair, the
    /// longer text is shortened first. Lists of words, and questions with a context, lose nothing: they become several
    /// rows (see `stride`). Time and memory of training grow faster than this number; the run reports how
    /// long the rows are and how many were cut. Most BERT encoders have 512 positions at most.
    #[serde(default = "default_max_length")]
    #[schemars(range(min = 5, max = 8192))]
    pub max_length: usize,
    /// How many tokens neighbouring windows share, where a list of words or the context of a question is longer than
    /// `max_length` and is cut into windows. An answer with at most so many tokens is whole in one of them; more of them
    /// make more rows. It does nothing to other rows. Default: a third of `max_length`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 8191))]
    pub stride: Option<usize>,
    /// Puts texts one after the other into rows of `max_length` tokens, a separator between two, for a `pretrain` stage: no row is
    /// short, and of a long text nothing is lost. Of a pair both texts come, of labels none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = false))]
    pub pack: bool,
}

/// How to learn a vocabulary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainTokenizer {
    /// The kind of vocabulary.
    #[serde(default)]
    pub model: VocabularyModel,
    /// The most tokens that the vocabulary may have, special tokens included. Small data needs no more than a few
    /// thousand.
    #[serde(default = "default_vocab_size")]
    #[schemars(range(min = 16, max = 1_000_000))]
    pub vocab_size: usize,
    /// Characters and pieces of words that the training texts have less often than this are left out. `unigram` knows of
    /// characters alone, and scores pieces by how much they help.
    #[serde(default = "default_min_frequency")]
    #[schemars(range(min = 1))]
    pub min_frequency: u64,
    /// Whether to lowercase text and strip accents before anything else. `bpe` keeps text as it is by default, as RoBERTa's does, and
    /// knows no accents: each byte is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub lowercase: Option<bool>,
}

impl TrainTokenizer {
    fn lowercase(&self) -> bool {
        self.lowercase.unwrap_or(self.model != VocabularyModel::Bpe)
    }
}

/// Kinds of vocabulary that can be learnt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VocabularyModel {
    /// BERT's: words are cut into the longest known pieces, inner pieces marked with `##`.
    #[default]
    Wordpiece,
    /// RoBERTa's and ModernBERT's: bytes that often stand together are merged, so that no text is unknown.
    Bpe,
    /// ALBERT's and DeBERTa's, as SentencePiece learns it: of all ways to cut a text the likeliest.
    Unigram,
}

fn default_max_length() -> usize {
    128
}

fn default_vocab_size() -> usize {
    8000
}

fn default_min_frequency() -> u64 {
    2
}

impl Stage for Tokenize {
    fn kind(&self) -> &'static str {
        "tokenize"
    }

    fn version(&self) -> u32 {
        1
    }

    fn produces(&self) -> Kind {
        Kind::Tokens
    }

    fn edges(&self) -> Vec<Edge> {
        let input = Edge::new("input", self.input.clone(), Kind::Table);
        let tokenizer = self.tokenizer_stage.iter();
        let tokenizer = tokenizer.map(|stage| Edge::any(STAGE, stage.clone(), WITH_TOKENIZER));
        std::iter::once(input).chain(tokenizer).collect()
    }

    fn edge_fields() -> &'static [(&'static str, Kind)] {
        &[
            ("input", Kind::Table),
            (STAGE, Kind::Encoder),
            (STAGE, Kind::Model),
            (STAGE, Kind::Tokens),
        ]
    }

    fn settings(&self) -> Value {
        let mut stated = self.clone();
        if let Some(train) = &mut stated.train_tokenizer {
            // As it was written before the default depended on the model.
            train.lowercase = Some(train.lowercase());
        }
        serde_json::to_value(stated).expect("plain settings are JSON")
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["input", "tokenizer", STAGE]
    }

    fn check(&self) -> Vec<Fault> {
        let given = [
            ("tokenizer", self.tokenizer.is_some()),
            (STAGE, self.tokenizer_stage.is_some()),
            ("train_tokenizer", self.train_tokenizer.is_some()),
        ];
        let mut given = given.into_iter().filter(|&(_, given)| given);
        let mut faults = match (given.next(), given.next()) {
            (Some(_), None) => Vec::new(),
            (Some((first, _)), Some((second, _))) => vec![Fault::new(
                second,
                format!("`{first}` and `{second}` exclude each other"),
                format!("remove `{first}` or `{second}`: there is one tokenizer"),
            )],
            (None, _) => vec![Fault::new(
                "",
                "neither `tokenizer` nor `train_tokenizer` is given",
                "name the encoder's folder, `tokenizer = \"models/bert-base-uncased\"`, or learn a vocabulary, \
                 `train_tokenizer = { vocab_size = 8000 }`",
            )],
        };
        if self.pack && self.stride.is_some() {
            faults.push(Fault::new(
                "stride",
                "packed rows have nothing in common",
                "remove `stride`, or `pack`",
            ));
        }
        if let Some(stride) = self.stride.filter(|stride| *stride >= self.max_length) {
            faults.push(Fault::new(
                "stride",
                format!(
                    "stride = {stride} is not below max_length = {}: a window would hold nothing new",
                    self.max_length
                ),
                "leave it out, or set it to a third of `max_length`; it must be below what is left beside special tokens",
            ));
        }
        faults
    }

    fn remotes(&self, base: &Path) -> Vec<(String, Remote)> {
        let repository = model_elsewhere(self.tokenizer.as_ref(), base);
        let remote = |repository| ("tokenizer".to_owned(), Remote::Tokenizer(repository));
        repository.map(remote).into_iter().collect()
    }

    fn files(&self, base: &Path, fetched: &Fetched) -> Result<Files, Vec<Fault>> {
        let Some(named) = &self.tokenizer else {
            return Ok(Files::new());
        };
        let elsewhere = fetched.remotes().find_map(|remote| fetched.get(remote));
        let files = pretrained::tokenizer("tokenizer", named, base, elsewhere);
        let files = files.map_err(|fault| vec![fault])?.into_iter();
        let role = |(name, path)| (format!("tokenizer/{name}"), path);
        Ok(files.map(role).collect())
    }

    fn preview(&self, artifact: &Path, wanted: &Wanted) -> Result<Option<Preview>, StageError> {
        pieces(artifact, wanted)
    }

    fn token_counts(&self, table: &Path, files: &Files) -> Result<Option<TokenCounts>, StageError> {
        // Nothing of packed rows is cut.
        if self.train_tokenizer.is_some() || files.is_empty() || self.pack {
            return Ok(None);
        }
        let table = StoredTable::open(table)?;
        let tokenizer = open(files, &table)?;
        let mut whole = true;
        let mut splits = BTreeMap::new();
        for (name, rows) in in_reading_order(&table) {
            let mut lengths = Vec::with_capacity(rows.rows());
            for piece in rows.pieces() {
                let piece = piece?;
                let texts = table::borrowed(&piece)?;
                whole &= texts.words.is_none() && texts.answers.is_none();
                let on_rows = &mut |_| ControlFlow::Continue(());
                let pairs = texts.text_pair.as_deref();
                let encoded = match &texts.words {
                    Some(words) => tokenizer.encode_words(words, LONGEST, 0, on_rows),
                    None => tokenizer.encode_columns(&texts.text, pairs, LONGEST, on_rows),
                };
                lengths.extend_from_slice(encoded?.full_lengths());
            }
            splits.insert(name.to_owned(), lengths);
        }
        // Windows lose nothing.
        Ok(Some(TokenCounts {
            max_length: whole.then_some(self.max_length),
            splits,
        }))
    }

    /// Only where the table goes along.
    fn texts_of(
        artifact: &Path,
        split: &str,
        ids: &BTreeSet<u64>,
    ) -> Result<Option<BTreeMap<u64, RowText>>, StageError> {
        let folder = artifact.join(tokens::EXAMPLES);
        match folder.is_dir() {
            true => Ok(stored::texts_by_id(&folder, split, ids)?),
            false => Ok(None),
        }
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let table = StoredTable::open(context.input("input"))?;
        let rows = in_reading_order(&table).map(|(_, rows)| rows.clone());
        let pieces = stored::ahead(rows.collect())?;
        let tokenizer = match &self.train_tokenizer {
            Some(settings) => learn(settings, &table, context)?,
            None => match context.inputs.get(STAGE) {
                Some(stage) => fitting(Tokenizer::open(&stage.path.join("tokenizer"))?, &table),
                None => open(&context.files, &table)?,
            },
        };
        if self.pack && table.has("words") {
            return Err(StageError::Mismatch {
                message: "`pack` puts texts one after the other, and these rows are lists of words"
                    .to_owned(),
                help: "load the texts themselves, or remove `pack`".to_owned(),
            });
        }
        for note in tokenizer.notes() {
            context.progress.warn(note);
        }
        if let Some(limit) = tokenizer
            .model_max_length()
            .filter(|limit| self.max_length > *limit)
        {
            context.progress.warn(&format!(
                "max_length = {} is more than the {limit} tokens that this tokenizer's model was made for: set it to {limit} at most",
                self.max_length
            ));
        }

        let encode = || self.encode(&table, pieces, &tokenizer, context);
        let label_names = table.label_names.clone().filter(|_| !self.pack);
        let new_card = || TokensCard::new(&tokenizer, self.max_length, label_names);
        let (splits, card) = rayon::join(encode, new_card);
        let splits = splits?;
        let windowed = splits.values().any(|split| split.examples.is_some());
        let card = TokensCard {
            stride: windowed.then(|| self.stride(&tokenizer)),
            target_names: table.target_names.clone().filter(|_| !self.pack),
            splits,
            ..card
        };
        if windowed {
            copy_examples(&table, &context.draft.join(tokens::EXAMPLES))?;
        } else if self.stride.is_some() {
            context.progress.say(
                "`stride` does nothing here: only words with tags and questions with answers are cut into windows",
            );
        }
        tokens::write_card(context.draft, &card, &tokenizer)?;
        Ok(())
    }
}

/// No row is longer, so that its whole length shows.
const LONGEST: usize = 1 << 20;

fn tokenizer_files_of(files: &Files) -> BTreeMap<String, PathBuf> {
    let named = files.iter().filter_map(|(role, path)| {
        Some((role.strip_prefix("tokenizer/")?.to_owned(), path.clone()))
    });
    named.collect()
}

fn open(files: &Files, table: &StoredTable) -> Result<Tokenizer, TextError> {
    let tokenizer = Tokenizer::from_files(&tokenizer_files_of(files))?;
    Ok(fitting(tokenizer, table))
}

/// Rows that come as words want a tokenizer that takes them so.
fn fitting(tokenizer: Tokenizer, table: &StoredTable) -> Tokenizer {
    match table.has("words") {
        true => tokenizer.for_words(),
        false => tokenizer,
    }
}

/// The first rows as the tokens that a model sees, with what is known about them.
fn pieces(artifact: &Path, wanted: &Wanted) -> Result<Option<Preview>, StageError> {
    let tokens = Tokens::open(artifact)?;
    let Some(split) = tokens.split(&wanted.split) else {
        return Ok(None);
    };
    let tokenizer = Tokenizer::open(tokens.tokenizer_folder())?;
    let names = tokens.label_names().unwrap_or_default();
    let name = |label: u32| {
        let name = names.get(label as usize).cloned();
        name.unwrap_or_else(|| label.to_string())
    };
    let row = |row: usize| {
        let ids = split.ids(row);
        let piece = |id: u32| tokenizer.piece(id).unwrap_or_else(|| format!("[{id}]"));
        let tags = split.tags(row);
        let tagged = ids.iter().enumerate().map(|(place, &id)| {
            let tag = tags.and_then(|tags| tags.get(place));
            match tag.filter(|tag| **tag != text::NONE) {
                Some(&tag) => format!("{}/{}", piece(id), name(tag)),
                None => piece(id),
            }
        });
        let numbers =
            |numbers: &mut dyn Iterator<Item = String>| numbers.collect::<Vec<_>>().join(" ");
        let mut fields = vec![
            ("tokens", numbers(&mut tagged.into_iter())),
            ("ids", numbers(&mut ids.iter().map(u32::to_string))),
        ];
        let types = split.type_ids(row);
        if types.iter().any(|&type_id| type_id > 0) {
            fields.push(("types", numbers(&mut types.iter().map(u8::to_string))));
        }
        if let Some(label) = split.label(row) {
            fields.push(("label", name(label)));
        }
        if let Some(labels) = split.labels(row) {
            let labels: Vec<_> = labels.iter().map(|&label| name(label)).collect();
            fields.push(("labels", labels.join(", ")));
        }
        if let Some(targets) = split.targets(row) {
            fields.push(("target", numbers(&mut targets.iter().map(f64::to_string))));
        }
        if let Some((start, end)) = split.answer(row) {
            let (from, to) = (start as usize, end as usize + 1);
            let answer = ids.get(from..to).unwrap_or_default();
            let shown = match from {
                0 => "not in this window".to_owned(),
                _ => numbers(&mut answer.iter().map(|&id| piece(id))),
            };
            fields.push(("answer", shown));
        }
        let named = fields.into_iter();
        PreviewRow {
            id: split.id(split.example(row)),
            fields: named
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            copies: Vec::new(),
        }
    };
    Ok(Some(Preview {
        split: wanted.split.clone(),
        of: split.rows(),
        rows: (0..split.rows().min(wanted.rows)).map(row).collect(),
    }))
}

impl Tokenize {
    /// By default a third of `max_length`, 128 of 384 as in transformers' examples, but no more than half of what is left
    /// beside special tokens.
    fn stride(&self, tokenizer: &Tokenizer) -> usize {
        let room = self.max_length.saturating_sub(tokenizer.added_tokens(true));
        self.stride
            .unwrap_or_else(|| (self.max_length / 3).min(room / 2))
    }

    fn encode(
        &self,
        table: &StoredTable,
        pieces: impl Iterator<Item = (usize, Piece)>,
        tokenizer: &Tokenizer,
        context: &Context,
    ) -> Result<BTreeMap<String, SplitCard>, StageError> {
        let mut pieces = pieces.peekable();
        let mut splits = BTreeMap::new();
        for (number, (name, rows)) in in_reading_order(table).enumerate() {
            context
                .progress
                .start(&format!("tokenizing {name}"), rows.rows() as u64, "rows");
            let mut writer = SplitWriter::new(context.draft, name);
            let mut met = Met::default();
            let mut packer = match self.pack {
                true => Some(Packer::new(tokenizer, self.max_length)?),
                false => None,
            };
            while let Some((_, piece)) = pieces.next_if(|(of, _)| *of == number) {
                match &mut packer {
                    Some(packer) => pack(piece, packer, &mut writer, &mut met, context)?,
                    None => self.encode_piece(piece, tokenizer, &mut writer, &mut met, context)?,
                }
            }
            if let Some(packer) = packer {
                add_packed(&packer.finish(), &mut writer, &mut met)?;
            }
            let split = writer.finish()?;
            self.tell(name, &split, &met, context);
            splits.insert(name.to_owned(), split);
        }
        Ok(splits)
    }

    fn encode_piece(
        &self,
        piece: Piece,
        tokenizer: &Tokenizer,
        writer: &mut SplitWriter,
        met: &mut Met,
        context: &Context,
    ) -> Result<(), StageError> {
        let piece = piece?;
        let texts = table::borrowed(&piece)?;
        let answers = first_answers(&texts);
        let on_rows = &mut advance(context);
        let (max_length, stride) = (self.max_length, self.stride(tokenizer));
        let pairs = texts.text_pair.as_deref();
        let encoded = match (&texts.words, &answers, pairs) {
            (Some(words), _, _) => tokenizer.encode_words(words, max_length, stride, on_rows),
            (None, Some(_), Some(contexts)) => {
                tokenizer.encode_questions(&texts.text, contexts, max_length, stride, on_rows)
            }
            _ => tokenizer.encode_columns(&texts.text, pairs, max_length, on_rows),
        };
        let encoded = encoded.map_err(|error| stopped(error.further(met.examples)))?;
        let labelled = Labelled {
            label: texts.label.as_deref(),
            labels: texts.labels.as_deref(),
            target: texts.target.as_deref(),
            tags: texts.tags.as_deref(),
            answers: answers.as_deref(),
        };
        writer.add(&encoded, &texts.id, &labelled)?;
        met.add(&encoded, answers.as_deref());
        Ok(())
    }

    fn tell(&self, name: &str, split: &SplitCard, met: &Met, context: &Context) {
        let lengths = &split.lengths;
        let what = match split.examples {
            _ if self.pack => {
                context.progress.say(&format!(
                    "{name}: {} texts became {} rows of {} tokens, {} in all",
                    met.texts, split.rows, self.max_length, split.tokens
                ));
                return;
            }
            None => format!(
                "{} rows, {} tokens, {} of the rows cut to {}",
                split.rows,
                split.tokens,
                percent(split.truncated, split.rows),
                self.max_length
            ),
            Some(examples) => format!(
                "{examples} rows became {} windows of up to {} tokens, {} tokens in all",
                split.rows, self.max_length, split.tokens
            ),
        };
        context.progress.say(&format!(
            "{name}: {what}; lengths before: half up to {}, 90 % {}, 95 % {}, 99 % {}, longest {}",
            lengths.p50, lengths.p90, lengths.p95, lengths.p99, lengths.max
        ));
        if name == VALIDATION && met.unknown > 0 {
            context.progress.say(&format!(
                "{name}: {} of the tokens are unknown",
                percent(met.unknown, split.tokens)
            ));
        }
        if split.examples.is_some() {
            if split.truncated > 0 {
                context.progress.warn(&format!(
                    "{name}: {} of the questions were cut, to leave room for their contexts within max_length = {}",
                    percent(split.truncated, met.examples),
                    self.max_length
                ));
            }
        } else if name == TRAINING && split.truncated as f64 > MANY_TRUNCATED * split.rows as f64 {
            context.progress.warn(&format!(
                "{} of the training rows were cut to max_length = {}; 95 % of them have up to {} tokens",
                percent(split.truncated, split.rows),
                self.max_length,
                lengths.p95
            ));
        }
        if met.torn > 0 {
            context.progress.warn(&format!(
                "{name}: {} of {} answers are whole in no window, as if there were none: they have more tokens than \
                 windows share (`stride`), or stand outside of their context",
                met.torn, met.answered
            ));
        }
    }
}

/// What was met in the rows of a split so far.
#[derive(Default)]
struct Met {
    examples: usize,
    /// Those that were packed.
    texts: usize,
    /// Tokens.
    unknown: usize,
    /// Questions with an answer, and those of them whose answer is whole in no window.
    answered: usize,
    torn: usize,
}

impl Met {
    fn add(&mut self, encoded: &Encoded, answers: Option<&[Option<Range<u32>>]>) {
        self.examples += encoded.examples();
        self.unknown += encoded.unknown();
        if let Some(answers) = answers {
            self.answered += answers.iter().flatten().count();
            self.torn += answers::torn(encoded, answers);
        }
    }
}

/// Packs the texts of a piece.
fn pack(
    piece: Piece,
    packer: &mut Packer,
    writer: &mut SplitWriter,
    met: &mut Met,
    context: &Context,
) -> Result<(), StageError> {
    let piece = piece?;
    let texts = table::borrowed(&piece)?;
    let mut all = Vec::with_capacity(texts.text.len());
    for (row, text) in texts.text.iter().enumerate() {
        let pair = texts.text_pair.as_ref().and_then(|pairs| pairs.get(row));
        all.extend([Some(text), pair].into_iter().flatten().copied());
    }
    let rows = texts.len();
    let mut on_texts = advance(context);
    let mut told = 0;
    let on_texts = &mut |done: usize| {
        // Bars count rows.
        let before = told;
        told = (before + done).min(rows);
        on_texts(told - before)
    };
    let packed = packer.add(&all, on_texts);
    let packed = packed.map_err(|error| stopped(error.further(met.texts)))?;
    met.texts += all.len();
    add_packed(&packed, writer, met)
}

/// Writes packed rows, which are called by their numbers.
fn add_packed(packed: &Encoded, writer: &mut SplitWriter, met: &mut Met) -> Result<(), StageError> {
    let from = met.examples as u64;
    let ids: Vec<u64> = (from..from + packed.rows() as u64).collect();
    writer.add(packed, &ids, &Labelled::default())?;
    met.add(packed, None);
    Ok(())
}

fn copy_examples(table: &StoredTable, folder: &Path) -> Result<(), StageError> {
    std::fs::create_dir(folder).map_err(|source| StageError::Write {
        path: folder.to_owned(),
        source,
    })?;
    Ok(table.copy_to(folder)?)
}

/// Where the first answer of each question stands; none where the texts are not questions.
fn first_answers(texts: &Texts<&str>) -> Option<Vec<Option<Range<u32>>>> {
    if texts.words.is_some() || texts.text_pair.is_none() {
        return None;
    }
    let first = |answers: &Vec<Answer<&str>>| {
        let Answer { start, text } = answers.first()?;
        let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        Some(*start..start.saturating_add(length))
    };
    Some(texts.answers.as_ref()?.iter().map(first).collect())
}

fn learn(
    settings: &TrainTokenizer,
    table: &StoredTable,
    context: &Context,
) -> Result<Tokenizer, StageError> {
    let kind = match settings.model {
        VocabularyModel::Wordpiece => VocabularyKind::WordPiece,
        VocabularyModel::Bpe => VocabularyKind::ByteLevelBpe,
        VocabularyModel::Unigram => VocabularyKind::Unigram,
    };
    let lowercase = settings.lowercase();
    let rows = table.split(TRAINING).ok_or(TextError::NothingToLearnFrom)?;
    let pairs = usize::from(rows.has("text_pair"));
    let all = rows.rows() * (1 + pairs);
    context
        .progress
        .start("counting words", all as u64, "texts");
    let mut counts = WordCounts::default();
    let mut before = 0;
    for (_, piece) in stored::ahead(vec![rows.clone()])? {
        let piece = piece?;
        let texts = table::borrowed(&piece)?;
        for texts in [Some(&texts.text), texts.text_pair.as_ref()] {
            let texts = texts.map_or(&[][..], Vec::as_slice);
            let more = kind.count_words(texts, lowercase, &mut advance(context));
            counts.add(more.map_err(|error| stopped(error.further(before)))?);
        }
        before += texts.len();
    }
    context.progress.start(
        "learning a vocabulary",
        settings.vocab_size as u64,
        "tokens",
    );
    let learned = kind.learn(
        &counts,
        lowercase,
        settings.vocab_size,
        settings.min_frequency,
        &mut advance(context),
    );
    let Learned { tokenizer, tokens } = learned.map_err(stopped)?;
    context.progress.say(&format!(
        "learnt a vocabulary of {tokens} tokens from {all} training texts"
    ));
    Ok(tokenizer)
}

/// Training, validation, test, then the further test sets.
fn in_reading_order(table: &StoredTable) -> impl Iterator<Item = (&str, &StoredSplit)> {
    let mut names: Vec<&str> = table.names().collect();
    let place = |name: &str| {
        [TRAINING, VALIDATION, "test"]
            .iter()
            .position(|usual| *usual == name)
            .unwrap_or(3)
    };
    names.sort_by_key(|name| (place(name), *name));
    let split = |name| Some((name, table.split(name)?));
    names.into_iter().filter_map(split)
}

fn percent(part: usize, whole: usize) -> String {
    format!(
        "{:.1} %",
        if whole == 0 {
            0.0
        } else {
            100.0 * part as f64 / whole as f64
        }
    )
}

#[cfg(test)]
mod tests;
