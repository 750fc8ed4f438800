//! `augment`: a table → the same table with other rows in its training split.
//!
//! The input's rows come first, unchanged and in their order (without those that `undersample` takes away); then every first
//! copy in the order of the rows, every second copy, and so on; then the rows that `oversample` repeats, in the order of the
//! rows they repeat. A copy goes through all operations that are stated, in the order of the settings, and is dropped when
//! its words come out as they were. Each copy draws from a generator seeded by (seed, operation, text or pair, row id, copy),
//! so adding a row changes no other row; text and text pair change independently. All other splits pass through byte for byte.
//!
//! The operations follow EDA (Wei and Zou 2019, <https://aclanthology.org/D19-1670>) and the local shuffle of Lample et al.
//! (2018, <https://arxiv.org/abs/1711.00043>, section 2.3). Words are what white space separates; copies join them with one
//! space. What is known about a row stays true: see [`passage`].
//!
//! One file each for the settings, for a row and its copies ([`making`]), for what words are part of ([`passage`]), for where
//! synonyms are found ([`synonyms`]) or predicted ([`predicted`]), for the operations ([`words`], [`noise`], [`back_translation`]), and for what needs no
//! copies ([`balance`], [`mix`]).
//!
//! Deliberately absent: operations on token ids or embeddings (mixup and its kin belong to training).

mod back_translation;
mod balance;
mod making;
mod mix;
mod noise;
mod passage;
mod predicted;
mod settings;
mod synonyms;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::Value;

pub use settings::{
    Augment, BackTranslation, CharacterNoise, OfClass, Oversample, RandomDeletion, RandomInsertion,
    RandomSwap, SynonymReplacement, Synonyms, Undersample, Weights, WordShuffle,
};

use self::making::{Changed, Copies, Making};
use crate::artifact::Kind;
use crate::hub::{Fetched, Remote};
use crate::stage::{
    Context, Edge, Fault, Files, Preview, PreviewRow, Stage, StageError, Wanted, fields_of_row,
    preview_of_table,
};
use crate::table::stored::{RowText, texts_by_id};
use crate::table::{self, Table, Texts};

impl Stage for Augment {
    fn kind(&self) -> &'static str {
        "augment"
    }

    fn version(&self) -> u32 {
        2
    }

    fn produces(&self) -> Kind {
        Kind::Table
    }

    fn edges(&self) -> Vec<Edge> {
        let input = self
            .input
            .iter()
            .map(|stage| Edge::new("input", stage, Kind::Table));
        let inputs = self.inputs.0.iter().zip(mix::ROLES);
        let inputs = inputs.map(|((stage, _), role)| Edge {
            or: &[],
            role,
            field: format!("inputs.{stage}").into(),
            stage: stage.clone(),
            accepts: Kind::Table,
        });
        input.chain(inputs).collect()
    }

    fn edge_fields() -> &'static [(&'static str, Kind)] {
        &[("input", Kind::Table), ("inputs.*", Kind::Table)]
    }

    fn labels_of(artifact: &Path) -> Option<Vec<String>> {
        crate::table::label_names_of(artifact)
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["input", "inputs", "synonyms"]
    }

    fn seed(&self) -> Option<u64> {
        self.seed
    }

    fn draws_random_numbers(&self) -> bool {
        true
    }

    /// How much is taken of each input, whatever the inputs are called, and among how many words a model's are drawn.
    fn implied(&self, _: &Files, _: &Fetched) -> BTreeMap<String, Value> {
        let weights = self.inputs.0.iter().map(|(_, weight)| *weight);
        let weights: Vec<f64> = weights.collect();
        let mut implied = BTreeMap::new();
        if !weights.is_empty() {
            implied.insert("weights of the inputs".to_owned(), weights.into());
        }
        if let Some(top) = self.top() {
            implied.insert("synonyms.top".to_owned(), top.into());
        }
        implied
    }

    fn check(&self) -> Vec<Fault> {
        self.faults()
    }

    fn needs_leave(&self) -> Option<String> {
        let settings = self.back_translation.as_ref()?;
        match (&settings.command, &settings.url) {
            (Some(command), _) => {
                // Quoted, so that it shows where an argument ends.
                let quoted = command.iter().map(|part| format!("{part:?}"));
                let quoted = quoted.collect::<Vec<_>>().join(" ");
                Some(format!("start a program: {quoted}"))
            }
            (None, Some(url)) if !is_of_this_machine(url) => {
                Some(format!("send its texts to {url:?}"))
            }
            _ => None,
        }
    }

    fn remotes(&self, base: &Path) -> Vec<(String, Remote)> {
        predicted::remotes(self.synonyms.as_ref(), base)
    }

    fn files(&self, base: &Path, fetched: &Fetched) -> Result<Files, Vec<Fault>> {
        let stated = self.synonyms.as_ref();
        match stated.and_then(|synonyms| synonyms.model.as_ref()) {
            _ if !self.needs_synonyms() => Ok(Files::new()),
            Some(model) => predicted::files(model, base, fetched),
            None => synonyms::files(stated, base).map_err(|fault| vec![fault]),
        }
    }

    fn preview(&self, artifact: &Path, wanted: &Wanted) -> Result<Option<Preview>, StageError> {
        match wanted.split.as_str() {
            "train" => copies_beside_rows(artifact, wanted),
            _ => preview_of_table(artifact, wanted),
        }
    }

    fn rows_of(artifact: &Path) -> Result<BTreeMap<String, usize>, StageError> {
        Ok(crate::table::rows_of(artifact)?)
    }

    fn texts_of(
        artifact: &Path,
        split: &str,
        ids: &BTreeSet<u64>,
    ) -> Result<Option<BTreeMap<u64, RowText>>, StageError> {
        Ok(texts_by_id(artifact, split, ids)?)
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let mut table = self.read(context)?;
        let Some(train) = table.splits.get("train") else {
            return Ok(table.save(context.draft)?);
        };
        let mut rows = table::texts(train)?;
        let of_input = rows.len();
        if let Some(undersample) = &self.undersample {
            rows = rows.take(&balance::kept(&rows, undersample.ratio, context.seed)?);
        }
        let taken_away = of_input - rows.len();
        let names = table.label_names.clone().unwrap_or_default();
        let grown = self.grow(context, &rows, &names)?;
        let mut told = format!("training rows: {of_input} of the input");
        if taken_away > 0 {
            told.push_str(&format!(" without {taken_away} of larger classes"));
        }
        context
            .progress
            .say(&format!("{told} and {} copies", grown.len() - rows.len()));
        table.splits.insert("train".to_owned(), grown.to_frame()?);
        Ok(table.save(context.draft)?)
    }
}

/// The first training rows of which there are copies, with what differs in these below it; without copies, the first rows.
fn copies_beside_rows(artifact: &Path, wanted: &Wanted) -> Result<Option<Preview>, StageError> {
    let table = Table::open(artifact)?;
    let Some(frame) = table.splits.get("train") else {
        return Ok(None);
    };
    let rows = table::borrowed(frame)?;
    let mut copies = BTreeMap::<u64, Vec<usize>>::new();
    for (row, (&id, &copy)) in rows.id.iter().zip(&rows.copy).enumerate() {
        if copy > 0 {
            copies.entry(table::origin(id)).or_default().push(row);
        }
    }
    let originals = (0..rows.len()).filter(|&row| {
        rows.copy.get(row) == Some(&0) && rows.id.get(row).is_some_and(|id| copies.contains_key(id))
    });
    let shown = originals.take(wanted.rows).map(|row| {
        let id = rows.id.get(row).copied().unwrap_or_default();
        let fields = fields_of_row(&table, &rows, row);
        let copies = copies.get(&id).into_iter().flatten();
        let changed = copies.map(|&copy| {
            let of_copy = fields_of_row(&table, &rows, copy).into_iter();
            of_copy.filter(|field| !fields.contains(field)).collect()
        });
        let copies = changed.collect();
        PreviewRow { id, fields, copies }
    });
    let shown: Vec<PreviewRow> = shown.collect();
    if shown.is_empty() {
        return preview_of_table(artifact, wanted);
    }
    Ok(Some(Preview {
        split: "train".to_owned(),
        of: rows.len(),
        rows: shown,
    }))
}

impl Augment {
    /// The table that flows in, or those that do as one.
    fn read(&self, context: &Context) -> Result<Table, StageError> {
        if self.inputs.is_empty() {
            return Ok(Table::open(context.input("input"))?);
        }
        let parts = self.inputs.0.iter().zip(mix::ROLES);
        let part = |((stage, weight), role): (&(String, f64), &'static str)| {
            Ok(mix::Part {
                name: stage.clone(),
                weight: *weight,
                table: Table::open(context.input(role))?,
            })
        };
        let parts = parts.map(part).collect::<Result<_, StageError>>()?;
        mix::mix(parts, context.seed)
    }

    /// The input's rows, their changed copies, and the repeated rows.
    fn grow(
        &self,
        context: &Context,
        input: &Texts,
        names: &[String],
    ) -> Result<Texts, StageError> {
        let mut made = Copies::after(input);
        let before = made.clone();
        let mut rows = input.clone();
        if self.makes_copies() {
            let making = Making::new(self, context, input, names)?;
            let copies = (0..input.len()).map(|row| making.copies(input, row));
            let most = copies.max().unwrap_or(0);
            let (mut unchanged, mut met) = (0, HashSet::new());
            for copy in 1..=most {
                let due: Vec<usize> = (0..input.len())
                    .filter(|&row| making.copies(input, row) >= copy)
                    .collect();
                let number = |row| before.of(input, row) + copy;
                let reworded = self.back_translation.as_ref().map(|settings| {
                    back_translation::reworded(settings, context, input, &due, &number)
                });
                let reworded = reworded.transpose()?;
                let what = format!("augmenting, copy {copy} of {most}");
                context.progress.start(&what, due.len() as u64, "rows");
                let reworded_of = |place| reworded.as_ref().and_then(|of| of.get(place));
                let at_once = making.rows_at_once();
                for (chunk, due) in due.chunks(at_once).enumerate() {
                    context.checkpoint()?;
                    let change = |(n, &row): (usize, &usize)| {
                        making.change(input, row, number(row), reworded_of(chunk * at_once + n))
                    };
                    let changed = making.settled(context, || {
                        due.par_iter().enumerate().map(change).collect::<Vec<_>>()
                    })?;
                    for (&row, changed) in due.iter().zip(changed) {
                        // A service words a text the same way each time.
                        let again = reworded.is_some()
                            && changed.as_ref().is_some_and(|changed| {
                                !met.insert((row, changed.text.clone(), changed.text_pair.clone()))
                            });
                        match changed.filter(|_| !again) {
                            Some(changed) => made.push(&mut rows, row, changed),
                            None => unchanged += 1,
                        }
                    }
                    context.progress.advance(due.len() as u64);
                }
            }
            if unchanged > 0 {
                context.progress.say(&format!(
                    "dropped copies that came out unchanged: {unchanged}"
                ));
            }
        }
        if let Some(oversample) = &self.oversample {
            context.checkpoint()?;
            for row in balance::repeats(&rows, oversample.ratio, context.seed)? {
                if let Some(same) = Changed::nothing(&rows, row) {
                    made.push(&mut rows, row, same);
                }
            }
        }
        Ok(rows)
    }
}

/// Whether an address leads to this machine.
fn is_of_this_machine(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = name.parse::<std::net::IpAddr>();
    !host.contains('@')
        && (name == "localhost" || address.is_ok_and(|address| address.is_loopback()))
}

/// What an operation on one text of one copy draws from.
struct Draw {
    seed: u64,
    part: &'static str,
    id: u64,
    copy: u32,
}

impl Draw {
    /// For what is drawn for a row as a whole.
    fn of_row(seed: u64, id: u64) -> Draw {
        Draw {
            seed,
            part: "row",
            id,
            copy: 0,
        }
    }

    fn generator(&self, operation: &str) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("refit augment 1\0{operation}\0{}\0", self.part).as_bytes());
        hasher
            .update(&self.seed.to_le_bytes())
            .update(&self.id.to_le_bytes())
            .update(&self.copy.to_le_bytes());
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests;
