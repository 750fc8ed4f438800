//! `evaluate`: how well a trained model answers one split.
//!
//! Leaves `scores.json` (flat metrics first, then each class and the confusion matrix) and `predictions.parquet` (every
//! row's label, answer and probabilities). The model is scored only on tokens of its own tokenizer and with its own labels;
//! anything else is an error, since the numbers would mean nothing.
//!
//! Deliberately absent: rendering. The terminal and the report make their tables from `scores.json`.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::artifact::Kind;
use crate::device;
use crate::learn;
use crate::metrics::{self, Classification};
use crate::model;
use crate::model::ModelInfo;
use crate::table;
use crate::text::{TokenSplit, Tokens};

use super::{Context, Edge, Fault, Stage, StageError};

/// Scores a trained model on one split: accuracy, precision, recall, F1, Matthews correlation, the confusion matrix, and
/// every single prediction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// The `train` stage whose model is scored.
    pub model: String,
    /// The `tokenize` stage whose rows are answered; the one that the model was trained on, or another with the same
    /// tokenizer and labels.
    pub input: String,
    /// Which rows: `test`, `validation`, `train`, or `more.NAME` for one of the further test sets of `load`. Default `test`.
    #[serde(default = "test_split")]
    pub split: String,
    /// Rows of full length per forward pass; of shorter rows as many as have the same number of tokens. It changes speed and
    /// memory, and scores in the last digits at most. Default 64.
    #[serde(default = "sixty_four")]
    #[schemars(range(min = 1, max = 65536))]
    pub batch_size: usize,
}

fn test_split() -> String {
    "test".to_owned()
}

fn sixty_four() -> usize {
    64
}

impl Stage for Evaluate {
    fn kind(&self) -> &'static str {
        "evaluate"
    }

    fn version(&self) -> u32 {
        2
    }

    fn produces(&self) -> Kind {
        Kind::Scores
    }

    fn edges(&self) -> Vec<Edge> {
        vec![
            Edge {
                field: "model",
                stage: self.model.clone(),
                accepts: Kind::Model,
            },
            Edge {
                field: "input",
                stage: self.input.clone(),
                accepts: Kind::Tokens,
            },
        ]
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self).expect("strings and numbers are JSON")
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["model", "input"]
    }

    fn check(&self) -> Vec<Fault> {
        let further = self
            .split
            .strip_prefix("more.")
            .is_some_and(|name| !name.is_empty());
        if further || ["train", "validation", "test"].contains(&self.split.as_str()) {
            return Vec::new();
        }
        let message = format!("no table has a split called {:?}", self.split);
        vec![Fault::new(
            "split",
            message,
            "write test, validation, train, or more.NAME for a further test set of the load stage",
        )]
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let tokens = Tokens::open(context.input("input"))?;
        let folder = context.input("model");
        check_that_they_fit(&ModelInfo::read(folder)?, &tokens)?;
        let split = find_split(&tokens, &self.split)?;
        let labels = labels_of(split, &self.split)?;

        let chosen = device::choose(context.device)?;
        let (classifier, config, info) = model::open(folder, &chosen.device)?;
        model::check_fits(
            &config,
            tokens.vocab_size(),
            split.longest(),
            split.token_types(),
        )?;
        context
            .progress
            .start("evaluating", split.rows() as u64, "rows");
        let mut on_rows = |rows: usize| {
            context.progress.advance(rows as u64);
            if context.interrupted.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let answered = learn::predict(
            &classifier,
            split,
            tokens.pad_id(),
            self.batch_size.saturating_mul(tokens.max_length()),
            &chosen.device,
            &mut on_rows,
        );
        // Whatever an interrupted forward pass returns, the user asked to stop.
        context.checkpoint()?;
        let answers = answered?;
        check_that_they_can_be_scored(&answers.logits, &labels)?;

        let predicted = answers.labels();
        let names = &info.label_names;
        let scored = metrics::classification(&labels, &predicted, names);
        let path = context.draft.join("scores.json");
        let mut json = serde_json::to_vec_pretty(&scores(
            &scored,
            answers.loss(&labels),
            labels.len(),
            &self.split,
        ))
        .expect("maps with string keys are JSON");
        json.push(b'\n');
        std::fs::write(&path, json).map_err(|source| StageError::Write { path, source })?;
        let ids: Vec<u64> = (0..split.rows()).map(|row| split.id(row)).collect();
        let path = context.draft.join("predictions.parquet");
        table::write_predictions(
            &path,
            &ids,
            Some(&labels),
            &predicted,
            &answers.probabilities(),
            names,
        )?;
        Ok(())
    }
}

fn check_that_they_fit(model: &ModelInfo, tokens: &Tokens) -> Result<(), StageError> {
    if model.tokenizer_digest != tokens.tokenizer_digest() {
        return Err(StageError::Mismatch {
            message: "the model and the tokens come from different tokenizers, so the ids mean different words"
                .to_owned(),
            help: format!(
                "let `input` name the tokenize stage that the model was trained on, or one with the same tokenizer \
                 (the model's tokenizer has digest {}, that of the tokens {})",
                short(&model.tokenizer_digest),
                short(tokens.tokenizer_digest()),
            ),
        });
    }
    let names = tokens.label_names().unwrap_or_default();
    if model.label_names != names {
        return Err(StageError::Mismatch {
            message: format!(
                "the model answers with the labels {}, the tokens have {}",
                listed(&model.label_names),
                listed(names)
            ),
            help:
                "evaluate on a table with the same labels in the same order; `label_names` of the load stage fixes them"
                    .to_owned(),
        });
    }
    Ok(())
}

fn find_split<'a>(tokens: &'a Tokens, name: &str) -> Result<&'a TokenSplit, StageError> {
    let Some(split) = tokens.split(name) else {
        let there: Vec<&str> = tokens.split_names().collect();
        return Err(StageError::Mismatch {
            message: format!(
                "there is no split {name:?} in the tokens; there is {}",
                there.join(", ")
            ),
            help: "set `split` to one of these, or give the load stage files or a share for it"
                .to_owned(),
        });
    };
    if split.rows() == 0 {
        return Err(StageError::Mismatch {
            message: format!("the split {name:?} has no rows"),
            help: "set `split` to one that has, or give the load stage more data for it".to_owned(),
        });
    }
    Ok(split)
}

fn labels_of(split: &TokenSplit, name: &str) -> Result<Vec<u32>, StageError> {
    let mut labels = Vec::with_capacity(split.rows());
    for row in 0..split.rows() {
        labels.push(split.label(row).ok_or_else(|| {
            StageError::Mismatch {
                message: format!("row {} of the split {name:?} has no label to score against", split.id(row)),
                help: "name the column with the labels in `columns` of the load stage, or evaluate on a labelled split"
                    .to_owned(),
            }
        })?);
    }
    Ok(labels)
}

/// Scores of a diverged model, or of labels that it does not know, would be numbers without meaning.
fn check_that_they_can_be_scored(logits: &[Vec<f32>], labels: &[u32]) -> Result<(), StageError> {
    let broken = logits
        .iter()
        .filter(|row| !row.iter().all(|logit| logit.is_finite()))
        .count();
    if broken > 0 {
        return Err(StageError::Mismatch {
            message: format!(
                "the model answers {broken} of {} rows with numbers that are not finite",
                logits.len()
            ),
            help: "its training diverged: lower the learning rate, or raise the warm-up".to_owned(),
        });
    }
    if let Some((row, label)) = logits
        .iter()
        .zip(labels)
        .find(|(row, label)| row.len() <= **label as usize)
    {
        return Err(StageError::Mismatch {
            message: format!(
                "a row has label number {label}, counted from 0, but the model knows {} labels",
                row.len()
            ),
            help: "the tokens are not those of this model: run again with --force for the tokenize stage".to_owned(),
        });
    }
    Ok(())
}

/// `scores.json`: the flat metrics and `rows`, then `split`, `per_class`, `labels`, `confusion_matrix`.
fn scores(scored: &Classification, loss: f64, rows: usize, split: &str) -> Map<String, Value> {
    let mut scores = scored.flat(loss);
    scores.insert("rows".to_owned(), rows.into());
    scores.insert("split".to_owned(), split.into());
    let whole = serde_json::to_value(scored).expect("maps with string keys are JSON");
    for field in ["per_class", "labels", "confusion_matrix"] {
        scores.insert(
            field.to_owned(),
            whole.get(field).cloned().unwrap_or_default(),
        );
    }
    scores
}

fn short(digest: &str) -> &str {
    digest.get(..10).unwrap_or(digest)
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("{name:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests;
