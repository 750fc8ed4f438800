//! `pretrain`: tokens of text without labels → an encoder that has learned to predict masked words, and the head that it did so
//! with.
//!
//! The work is done by `model` (the encoder and the head of its family's `…ForMaskedLM`) and `learn` (the masks and the loop);
//! what it has in common with `train` is in `stage::training`. This file brings them together, scores the held-out text, and
//! writes the artifact: `model.safetensors`, `config.json`, `pretraining.json`, `tokenizer/`, `metrics.jsonl` and, where there
//! was a validation split, `scores.json`; with `keep_last`, the weights of the last evaluations in `kept/step-N/`.
//!
//! The masks of the training rows are drawn anew in every epoch. Those of the validation rows never change, and not with the
//! seed either, so that scores of different trainings on the same tokens compare. Beside the accuracy stands what comes by
//! chance: that of guessing, and that of always saying what is most frequent in the training text.
//!
//! With `cooccurrence` an encoder from nothing begins with word embeddings that were counted, see `learn::cooccurrence`.
//!
//! Deliberately absent: other objectives (next sentences, replaced tokens), and packing, which is `tokenize`'s.

mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::{Map, Value, json};

pub use settings::Pretrain;

use super::training::{self, METRICS};
use super::{
    Context, Edge, Fault, Files, Scoring, Stage, StageError, Validation, copy_tokenizer_folder,
    write_file,
};
use crate::artifact::Kind;
use crate::device;
use crate::hub::{Fetched, Remote};
use crate::learn::{
    Fitted, Frozen, Judgement, LearnError, MaskedRows, Material, Objective, Predictions, Recipe,
    Rows, cooccurrence,
};
use crate::metrics::Metric;
use crate::model::{self, Classifier, EncoderConfig, PretrainingInfo, Vocabulary};
use crate::text::{Pieces, TokenSplit, Tokenizer, Tokens, TokensCard};

/// Below it lie the weights of the last evaluations, a folder each.
const KEPT: &str = "kept";

/// The masks of the validation rows are those of this seed.
const FIXED: u64 = 0;

/// What a masked word is by chance: the share of the one piece that is most frequent in the training text, of those that
/// were masked.
const BY_FREQUENCY: &str = "accuracy_by_frequency";
/// The same for guessing among all pieces.
const BY_CHANCE: &str = "accuracy_by_chance";

impl Stage for Pretrain {
    fn kind(&self) -> &'static str {
        "pretrain"
    }

    fn version(&self) -> u32 {
        2
    }

    fn produces(&self) -> Kind {
        Kind::Encoder
    }

    fn edges(&self) -> Vec<Edge> {
        let input = Edge::new("input", self.input.clone(), Kind::Tokens);
        let encoder = training::encoder_edge(self.encoder_stage.as_ref());
        std::iter::once(input).chain(encoder).collect()
    }

    fn edge_fields() -> &'static [(&'static str, Kind)] {
        const FIELDS: [(&str, Kind); 3] = {
            let [first, second] = training::encoder_edge_fields();
            [("input", Kind::Tokens), first, second]
        };
        &FIELDS
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self.without_defaults()).unwrap_or_default()
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &[
            "input",
            "encoder",
            "encoder_stage",
            "gradient_checkpointing",
        ]
    }

    fn seed(&self) -> Option<u64> {
        self.seed
    }

    fn draws_random_numbers(&self) -> bool {
        true
    }

    fn check(&self) -> Vec<Fault> {
        self.faults()
    }

    fn remotes(&self, base: &Path) -> Vec<(String, Remote)> {
        training::remotes(self.encoder.as_ref(), base)
    }

    fn files(&self, base: &Path, fetched: &Fetched) -> Result<Files, Vec<Fault>> {
        training::files(self.encoder.as_ref(), base, fetched)
    }

    fn outlook(
        &self,
        inputs: &BTreeMap<&'static str, PathBuf>,
        _files: &Files,
        verbose: bool,
    ) -> Vec<String> {
        let card = inputs
            .get("input")
            .and_then(|folder| TokensCard::read(folder).ok());
        let rows = card.and_then(|card| Some(card.splits.get("train")?.rows));
        match rows.filter(|_| verbose) {
            Some(rows) => self.stated().foreseen(rows),
            None => Vec::new(),
        }
    }

    fn scoring(&self) -> Option<Scoring> {
        Some(Scoring {
            split: "validation".to_owned(),
            metrics: Metric::MASKED.iter().map(|metric| metric.name()).collect(),
        })
    }

    fn validations(&self, artifact: &Path) -> Result<Vec<Validation>, StageError> {
        training::validations(&artifact.join(METRICS))
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let tokens = Tokens::open(context.input("input"))?;
        let train = tokens.split("train").ok_or_else(|| LearnError::NoRows {
            split: "train".to_owned(),
        })?;
        let validation = tokens.split("validation");
        let recipe = self.recipe(context.seed);
        if validation.is_none() {
            let evaluates = self.evaluate_every.is_some();
            training::check_validation(context, &recipe, evaluates, &[])?;
        }
        training::check_tokenizer(context, &tokens);
        let pieces = Tokenizer::open(tokens.tokenizer_folder())?.pieces()?;
        let chosen = device::choose(context.device)?;
        training::say_device(context, &chosen);
        let (classifier, config, frozen) =
            self.classifier(context, &tokens, train, &pieces, &chosen.device)?;
        let token_types = train
            .token_types()
            .max(validation.map_or(1, TokenSplit::token_types));
        model::check_fits(
            &config,
            tokens.vocab_size(),
            tokens.max_length(),
            token_types,
        )?;

        let train_rows = MaskedRows::new(train, &pieces, self.masking, context.seed);
        let held_out = validation.map(|rows| MaskedRows::new(rows, &pieces, self.masking, FIXED));
        let chance = held_out
            .as_ref()
            .map(|rows| Chance::of(rows, train, &pieces));
        let objective = Objective::Masked;
        let judge = |_: &Classifier, outputs: &Predictions| -> Result<Judgement, LearnError> {
            let scores = match (&held_out, chance) {
                (Some(rows), Some(chance)) => scores(outputs, &objective, rows, chance),
                _ => Map::new(),
            };
            Ok(Judgement {
                scores,
                thresholds: None,
            })
        };
        let material = Material {
            train: &train_rows,
            validation: held_out.as_ref().map(|rows| rows as &dyn Rows),
            objective: &objective,
            judge: &judge,
            metric: Metric::Loss,
            label_names: &[],
            pad_id: tokens.pad_id(),
            max_length: tokens.max_length(),
        };
        let recipe = Recipe { frozen, ..recipe };
        let (fitted, log) = training::fit(context, &chosen, classifier, &material, &recipe)?;
        if let Some(scores) = &fitted.scores {
            context.progress.say(&in_words(scores));
        }
        write(context, &tokens, &config, &fitted, &log)
    }
}

impl Pretrain {
    fn recipe(&self, seed: u64) -> Recipe {
        Recipe {
            length: self.stated().length(),
            batch: self.batch.clone(),
            optimizer: self.optimizer.clone(),
            schedule: self.schedule.clone(),
            evaluate_every: self.evaluate_every.unwrap_or_default(),
            early_stopping: self.early_stopping.clone(),
            keep: self.keep,
            keep_last: self.keep_last as usize,
            ema: self.ema,
            frozen: None,
            gradient_checkpointing: self.gradient_checkpointing,
            precision: self.precision,
            seed,
        }
    }

    /// The encoder with the head for masked words, and what of it does not learn.
    fn classifier(
        &self,
        context: &Context,
        tokens: &Tokens,
        train: &TokenSplit,
        pieces: &Pieces,
        device: &Device,
    ) -> Result<(Classifier, EncoderConfig, Option<Frozen>), StageError> {
        if let Some(scratch) = &self.scratch {
            let vocabulary = Vocabulary {
                size: tokens.vocab_size(),
                pad_id: tokens.pad_id(),
            };
            let words = self.counted(context, scratch.hidden, vocabulary.size, train, pieces)?;
            let made =
                Classifier::masked_scratch(scratch, vocabulary, &words, context.seed, device);
            let (classifier, config) = made?;
            return Ok((classifier, config, None));
        }
        let files = training::named(context)?;
        let (classifier, config, report) = Classifier::masked(&files, context.seed, device)?;
        if !report.initialised.is_empty() {
            context.progress.warn(
                "the encoder comes without a head for masked words, so one with random weights learns with it: its first loss is that \
                 of guessing, and a part of the training goes into the head alone",
            );
        }
        let frozen = self.freeze.as_ref();
        let frozen = frozen.map(|freeze| Frozen::of(freeze, &classifier, &report.initialised));
        Ok((classifier, config, frozen.transpose()?))
    }
}

impl Pretrain {
    /// The word embeddings to begin with, by id; none where they are to be drawn.
    fn counted(
        &self,
        context: &Context,
        width: usize,
        vocabulary: usize,
        train: &TokenSplit,
        pieces: &Pieces,
    ) -> Result<Vec<(u32, Vec<f32>)>, StageError> {
        let Some(settings) = self.cooccurrence else {
            return Ok(Vec::new());
        };
        context
            .progress
            .say("counting which pieces stand near which others");
        let go_on = || context.checkpoint().is_ok();
        let counted = cooccurrence::embeddings(
            train,
            pieces,
            vocabulary,
            width,
            settings,
            context.seed,
            &go_on,
        );
        counted.map_err(|error| match error {
            LearnError::Interrupted => StageError::Interrupted,
            error => error.into(),
        })
    }
}

/// What comes without a model.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Chance {
    by_guessing: f64,
    by_frequency: f64,
}

impl Chance {
    /// For the masks of `held_out`, by the pieces of the training text.
    fn of(held_out: &MaskedRows, train: &TokenSplit, pieces: &Pieces) -> Chance {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for row in 0..train.rows() {
            for &id in train.ids(row).iter().filter(|&&id| pieces.is_text(id)) {
                *counts.entry(id).or_default() += 1;
            }
        }
        // Of equals, the first.
        let most = counts.iter().rev().max_by_key(|(_, count)| **count);
        let most = most.map(|(&id, _)| id);
        let (mut all, mut right) = (0_usize, 0_usize);
        for row in 0..held_out.rows() {
            let wanted = held_out.masked(row, 0).unwrap_or_default().wanted;
            all += wanted.len();
            right += wanted.iter().filter(|&&id| Some(id) == most).count();
        }
        Chance {
            by_guessing: 1.0 / pieces.ordinary().len().max(1) as f64,
            by_frequency: right as f64 / all.max(1) as f64,
        }
    }
}

/// How good the answers to the masked places of `rows` are.
fn scores(
    outputs: &Predictions,
    objective: &Objective,
    rows: &dyn Rows,
    chance: Chance,
) -> Map<String, Value> {
    let loss = objective.loss_of(outputs, rows, None);
    let all: usize = outputs.logits.iter().map(|row| row.len() / 2).sum();
    let right = |row: &Vec<f32>| -> f64 {
        let right = row.iter().skip(1).step_by(2);
        right.map(|&right| f64::from(right)).sum()
    };
    let right: f64 = outputs.logits.iter().map(right).sum();
    Map::from_iter([
        (
            Metric::Accuracy.name().to_owned(),
            json!(right / all.max(1) as f64),
        ),
        (BY_FREQUENCY.to_owned(), json!(chance.by_frequency)),
        (BY_CHANCE.to_owned(), json!(chance.by_guessing)),
        (Metric::Perplexity.name().to_owned(), json!(loss.exp())),
        (Metric::Loss.name().to_owned(), json!(loss)),
    ])
}

/// The scores of the weights that were kept, in a line.
fn in_words(scores: &Map<String, Value>) -> String {
    let of = |name: &str| scores.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
    format!(
        "held-out text: perplexity {:.2}, {:.2} % of the masked words right (always the most frequent: {:.2} %, guessing: {:.2} %)",
        of(Metric::Perplexity.name()),
        100.0 * of(Metric::Accuracy.name()),
        100.0 * of(BY_FREQUENCY),
        100.0 * of(BY_CHANCE)
    )
}

fn write(
    context: &Context,
    tokens: &Tokens,
    config: &EncoderConfig,
    fitted: &Fitted,
    log: &[u8],
) -> Result<(), StageError> {
    let info = PretrainingInfo {
        max_length: tokens.max_length(),
        tokenizer_digest: tokens.tokenizer_digest().to_owned(),
        best_epoch: fitted.best_epoch,
        best_step: fitted.best_step,
        steps: fitted.steps,
    };
    model::save_masked(context.draft, &fitted.model, config, &info)?;
    for snapshot in &fitted.last {
        let folder = context.draft.join(format!("{KEPT}/step-{}", snapshot.step));
        std::fs::create_dir_all(&folder).map_err(|source| StageError::Write {
            path: folder.clone(),
            source,
        })?;
        let info = PretrainingInfo {
            best_epoch: snapshot.epoch,
            best_step: snapshot.step,
            ..info.clone()
        };
        model::save_masked(&folder, &snapshot.model, config, &info)?;
    }
    copy_tokenizer_folder(tokens.tokenizer_folder(), &context.draft.join("tokenizer"))?;
    write_file(&context.draft.join(METRICS), log)?;
    if let Some(scores) = &fitted.scores {
        let text = format!("{:#}\n", Value::Object(scores.clone()));
        write_file(&context.draft.join("scores.json"), text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
