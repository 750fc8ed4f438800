//! Words that a masked language model thinks likely in the place of another (Kobayashi 2018,
//! <https://aclanthology.org/N18-2072>; as augmentation by BERT also Jiao et al. 2020, <https://arxiv.org/abs/1909.10351>,
//! algorithm 1).
//!
//! A whole word is masked, whatever pieces it has, and pieces that are whole words may take its place. Rows are changed in
//! parallel, and whoever needs a word that was not asked for yet goes without; once all that were missed are answered, in
//! large batches, the rows are changed again. What is drawn is the same each time, so the last round is the one that counts.
//!
//! Deliberately absent: the label. What is likely may say the opposite: `protected` keeps what must stay.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;

use super::settings::Synonyms;
use crate::device;
use crate::hub::{Fetched, Remote};
use crate::learn::{self, LearnError, Likely, Rows};
use crate::model::{self, EncoderFiles, Masked, MaskedHead};
use crate::stage::pretrained;
use crate::stage::{Context, Fault, Files, StageError, model_elsewhere};
use crate::text::thesaurus::Hole;
use crate::text::{MaskedRow, Tokenizer};

/// The field that names the model.
const FIELD: &str = "synonyms.model";
const ENCODER: &str = "masked/encoder/";
const TOKENIZER: &str = "masked/tokenizer/";

/// The most tokens that the model sees of a text: those around the word.
const SEEN: usize = 128;
/// Tokens in a batch.
const BATCH: usize = 64 * SEEN;
/// A word of more pieces is left alone. Languages that are written without spaces have sentences where others have words.
const MOST_PIECES: usize = 4;
/// So many answers are remembered, about 300 bytes each.
const REMEMBERED: usize = 200_000;

/// How many words may take a word's place, where `top` is not stated.
pub(super) const TOP: u32 = 10;

pub(super) fn remotes(stated: Option<&Synonyms>, base: &Path) -> Vec<(String, Remote)> {
    let named = stated.and_then(|synonyms| synonyms.model.as_ref());
    let Some(repository) = model_elsewhere(named, base) else {
        return Vec::new();
    };
    let remotes = [
        Remote::Encoder(repository.clone()),
        Remote::Tokenizer(repository),
    ];
    remotes.map(|remote| (FIELD.to_owned(), remote)).into()
}

/// The files of the model, which has the head that it needs, and of its tokenizer.
pub(super) fn files(named: &str, base: &Path, fetched: &Fetched) -> Result<Files, Vec<Fault>> {
    let local = |of_encoder: bool| {
        let is_it = |remote: &&Remote| matches!(remote, Remote::Encoder(_)) == of_encoder;
        fetched
            .remotes()
            .filter(is_it)
            .find_map(|remote| fetched.get(remote))
    };
    let encoder = pretrained::encoder(FIELD, named, base, local(true))?;
    MaskedHead::check(&encoder).map_err(|error| vec![pretrained::fault(FIELD, &error)])?;
    let tokenizer = pretrained::tokenizer(FIELD, named, base, local(false));
    let tokenizer = tokenizer.map_err(|fault| vec![fault])?;
    let encoder = encoder.named().into_iter();
    let encoder = encoder.map(|(name, path)| (format!("{ENCODER}{name}"), path));
    let tokenizer = tokenizer.into_iter();
    let tokenizer = tokenizer.map(|(name, path)| (format!("{TOKENIZER}{name}"), path));
    Ok(encoder.chain(tokenizer).collect())
}

/// A masked language model, with what it was asked.
pub(super) struct Predicted {
    tokenizer: Tokenizer,
    model: Masked,
    device: Device,
    /// How many tokens it may see.
    room: usize,
    top: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Row → the likeliest pieces in the place of its mask.
    answers: HashMap<MaskedRow, Vec<u32>>,
    asked: BTreeSet<MaskedRow>,
    /// What a piece is after these letters.
    words: HashMap<(String, u32), Option<String>>,
}

impl Predicted {
    pub(super) fn open(context: &Context, top: u32) -> Result<Predicted, StageError> {
        let named = |role: &str| -> BTreeMap<String, PathBuf> {
            let files = context.files.iter().filter_map(|(file, path)| {
                Some((file.strip_prefix(role)?.to_owned(), path.clone()))
            });
            files.collect()
        };
        let tokenizer = Tokenizer::from_files(&named(TOKENIZER))?;
        let files = EncoderFiles::among(&named(ENCODER));
        let files = files.map_err(|mut errors| errors.remove(0))?;
        let device = device::choose(context.device)?.device;
        let (model, config) = Masked::pretrained(&files, &device)?;
        let room = SEEN.min(config.longest());
        model::check_fits(
            &config,
            tokenizer.vocab_size(),
            room,
            tokenizer.token_types(false),
        )?;
        // A tokenizer without a mask says so before any row is read.
        tokenizer.encode_masked("", "", room)?;
        Ok(Predicted {
            tokenizer,
            model,
            device,
            room,
            top: top as usize,
            known: Mutex::default(),
        })
    }

    /// What may stand for `words[place]`, the likeliest first; nothing as long as that was not asked.
    pub(super) fn synonyms(&self, words: &[&str], place: usize) -> Vec<String> {
        let Some(hole) = Hole::of(words, place) else {
            return Vec::new();
        };
        let pieces = self.tokenizer.pieces_of(hole.word());
        if !pieces.is_ok_and(|pieces| pieces <= MOST_PIECES) {
            return Vec::new();
        }
        let row = self
            .tokenizer
            .encode_masked(&hole.before(), &hole.after(), self.room);
        // A text that the tokenizer refuses is left as it is here, and told of where it is tokenized.
        let Ok(Some(row)) = row else {
            return Vec::new();
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known {
            answers,
            asked,
            words,
        } = &mut *known;
        let Some(ids) = answers.get(&row) else {
            asked.insert(row);
            return Vec::new();
        };
        let lead = hole.lead();
        let told = ids.iter().filter_map(|&id| {
            let word = words.entry((lead.clone(), id));
            word.or_insert_with(|| self.tokenizer.whole_word(id, &lead))
                .clone()
        });
        hole.filled(told, self.top)
    }

    /// To be called between two lots of rows: what was answered stays known as long as there is room.
    pub(super) fn forget(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.answers.len() > REMEMBERED {
            known.answers.clear();
        }
    }

    /// Asks for all that was missed; whether there was any.
    pub(super) fn answer(&self, context: &Context) -> Result<bool, StageError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let asked: Vec<MaskedRow> = std::mem::take(&mut known.asked).into_iter().collect();
        if asked.is_empty() {
            return Ok(false);
        }
        let places: Vec<Vec<usize>> = asked.iter().map(|row| vec![row.place]).collect();
        // Some of the likeliest are no words, or the word itself.
        let enough = 4 * self.top + 16;
        let mut on_rows = |_| match context.checkpoint() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        let likely = learn::predict_masked(
            &self.model,
            &Asked(&asked),
            &places,
            enough,
            self.tokenizer.pad_id(),
            BATCH,
            &self.device,
            &mut on_rows,
        );
        let likely = match likely {
            Err(LearnError::Interrupted) => return Err(StageError::Interrupted),
            other => other?,
        };
        for (row, likely) in asked.into_iter().zip(likely) {
            let ids = likely
                .iter()
                .flatten()
                .map(|Likely { id, .. }| *id)
                .collect();
            known.answers.insert(row, ids);
        }
        Ok(true)
    }
}

struct Asked<'a>(&'a [MaskedRow]);

impl Rows for Asked<'_> {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn ids(&self, row: usize) -> &[u32] {
        self.0.get(row).map_or(&[], |row| &row.ids)
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        self.0.get(row).map_or(&[], |row| &row.type_ids)
    }

    fn label(&self, _row: usize) -> Option<u32> {
        None
    }

    fn id(&self, row: usize) -> u64 {
        row as u64
    }
}
