//! `train`: tokens → a model, fine-tuned from an encoder or learned from scratch.
//!
//! The work is done by `model` (the network and its weights), `learn` (the loop) and `task` (what is asked and how it is
//! scored); this file brings them together, checks that tokens and encoder fit each other, and writes the artifact:
//! `model.safetensors`, `config.json`, `model.json`, `tokenizer/`, `metrics.jsonl` (one line per step and per validation)
//! and, where there was a validation split, `scores.json` (of the weights that were kept); with `keep_last`, the weights of
//! the last evaluations in `kept/step-N/`; with `lora`, what was learned alone in `adapter/`, as PEFT reads it (the weights beside
//! it are whole, so that whoever reads the model need not know).
//!
//! Deliberately absent: downloads. An encoder is a folder here.

mod activations;
mod encoder;
mod settings;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::Diagnostic;
use serde_json::{Map, Value};

pub use settings::Train;

use super::training::{self, METRICS};
use super::{
    ACTIVATIONS, ADAPTER, Before, Context, Edge, Fault, Files, Scoring, Stage, StageError,
    Validation, activations_in, copy_tokenizer_folder, examples_of, write_file,
};
use crate::artifact::Kind;
use crate::device;
use crate::hub::{Fetched, Remote};
use crate::learn::{
    self, Balanced, Fitted, Frozen, Judgement, LearnError, Material, Objective, Predictions,
    Recipe, Rows,
};
use crate::metrics::Metric;
use crate::model::{self, Classifier, Crf, EncoderConfig, HeadKind, ModelInfo};
use crate::table::{self, Table, Texts};
use crate::task::{self, Asked, LossName, Rule, Task, TaskError, Threshold};
use crate::text::{TokenSplit, Tokens, TokensCard};

/// Below it lie the weights of the last evaluations, a folder each.
const KEPT: &str = "kept";

impl Stage for Train {
    fn kind(&self) -> &'static str {
        "train"
    }

    fn version(&self) -> u32 {
        3
    }

    fn produces(&self) -> Kind {
        Kind::Model
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

    fn before(&self, _named: &dyn Fn(&str) -> Option<Arc<dyn Stage>>) -> Option<Before> {
        self.activations().map(|stage| Before {
            field: ACTIVATIONS,
            stage: Arc::new(stage),
        })
    }

    fn outlook(
        &self,
        inputs: &BTreeMap<&'static str, PathBuf>,
        _files: &Files,
        verbose: bool,
    ) -> Vec<String> {
        match verbose {
            true => self
                .rows_of(inputs)
                .map_or_else(Vec::new, |rows| self.stated().foreseen(rows)),
            false => Vec::new(),
        }
    }

    fn scoring(&self) -> Option<Scoring> {
        let metrics = self.task.metrics().iter().map(|metric| metric.name());
        Some(Scoring {
            split: "validation".to_owned(),
            metrics: metrics.collect(),
        })
    }

    fn validations(&self, artifact: &Path) -> Result<Vec<Validation>, StageError> {
        training::validations(&artifact.join(METRICS))
    }

    fn activations_of(&self, input: &str, split: &str) -> Option<Arc<dyn Stage>> {
        // A step before another stage has the inputs of that one alone.
        if self.encoder_stage.is_some() {
            return None;
        }
        let of_training = self.activations()?;
        let activations = of_training.of_split(input, split)?;
        Some(Arc::new(activations))
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let tokens = Tokens::open(context.input("input"))?;
        let train = tokens.split("train").ok_or_else(|| LearnError::NoRows {
            split: "train".to_owned(),
        })?;
        let validation = tokens.split("validation");
        let recipe = self.recipe(context.seed, None);
        if validation.is_none() {
            let tuned = self.threshold == Some(Threshold::Tuned);
            let evaluates = self.evaluate_every.is_some();
            let further = [("threshold = \"tuned\"", tuned)];
            training::check_validation(context, &recipe, evaluates, &further)?;
        }
        training::check_tokenizer(context, &tokens);
        let examples = examples_of(&tokens)?;
        let loss = self.loss.clone().unwrap_or_default();
        let rule = self.rule(&tokens, train, examples.as_ref())?;
        self.check_watched(&rule)?;
        let objective = self.task.objective(&loss, train, &rule.names)?;
        let examples = examples
            .as_ref()
            .and_then(|table| table.splits.get("validation"));
        let examples = examples.map(table::borrowed).transpose()?;

        let chosen = device::choose(context.device)?;
        training::say_device(context, &chosen);
        let head = self.head(&rule);
        let (classifier, config, frozen) =
            self.classifier(context, &tokens, &head, &chosen.device)?;
        let token_types = train
            .token_types()
            .max(validation.map_or(1, TokenSplit::token_types));
        model::check_fits(
            &config,
            tokens.vocab_size(),
            tokens.max_length(),
            token_types,
        )?;

        let judge = self.judge(&rule, &objective, validation, examples.as_ref());
        let stored = activations_in(context)?;
        let summary = classifier.head.summary();
        let known_train = stored
            .as_ref()
            .and_then(|stored| stored.of("train", train, summary));
        let known_validation = stored
            .as_ref()
            .zip(validation)
            .and_then(|(stored, split)| stored.of("validation", split, summary));
        let plain = validation.map(|split| split as &dyn Rows);
        let train_rows = known_train.as_ref().map_or(train as &dyn Rows, |rows| rows);
        let balanced = match &self.balance {
            Some(balance) => Some(Balanced::new(train_rows, balance, context.seed)?),
            None => None,
        };
        if let (Some(balanced), Some(balance)) = (&balanced, &self.balance) {
            context.progress.say(&format!(
                "{} rows of rare classes were added to {} ({})",
                balanced.added(),
                train_rows.rows(),
                balance.method
            ));
        }
        let train_rows = balanced.as_ref().map_or(train_rows, |rows| rows);
        let material = Material {
            train: train_rows,
            validation: known_validation
                .as_ref()
                .map(|rows| rows as &dyn Rows)
                .or(plain),
            objective: &objective,
            judge: &judge,
            metric: self.metric(),
            label_names: &rule.names,
            pad_id: tokens.pad_id(),
            max_length: tokens.max_length(),
        };
        let recipe = Recipe { frozen, ..recipe };
        let (fitted, log) = training::fit(context, &chosen, classifier, &material, &recipe)?;
        let thresholds = fitted.thresholds.clone().or(rule.thresholds.clone());
        let rule = Rule {
            thresholds,
            ..rule.clone()
        };
        self.write(context, &tokens, rule, &config, &fitted, &log)
    }
}

impl Train {
    /// How many rows there are to learn from, with those that `balance` adds; nothing where the tokens are not at hand, or have no
    /// training split.
    fn rows_of(&self, inputs: &BTreeMap<&'static str, PathBuf>) -> Option<usize> {
        let tokens = inputs.get("input")?;
        if self.balance.is_none() {
            let card = TokensCard::read(tokens).ok()?;
            return card.splits.get("train").map(|train| train.rows);
        }
        let tokens = Tokens::open(tokens).ok()?;
        tokens
            .split("train")
            .map(|train| learn::balanced_rows(train))
    }

    fn recipe(&self, seed: u64, frozen: Option<Frozen>) -> Recipe {
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
            frozen,
            gradient_checkpointing: self.gradient_checkpointing,
            precision: self.precision,
            seed,
        }
    }

    fn metric(&self) -> Metric {
        training::watched(self.early_stopping.as_ref(), self.usual_metric())
    }

    /// A score that never comes would keep the first epoch's weights, whatever the others are worth.
    fn check_watched(&self, rule: &Rule) -> Result<(), StageError> {
        if self.metric() != Metric::StrictF1 || rule.scheme.is_some() {
            return Ok(());
        }
        let instead = self.task.metric();
        Err(StageError::Mismatch {
            message: format!(
                "`early_stopping` watches {}, and tags that mark no chunks have none",
                Metric::StrictF1
            ),
            help: format!(
                "watch {instead}, which counts every word, or write the tags as IOB1, BIO or BIOES"
            ),
        })
    }

    /// How the model's outputs will be decided.
    fn rule(
        &self,
        tokens: &Tokens,
        train: &TokenSplit,
        examples: Option<&Table>,
    ) -> Result<Rule, StageError> {
        let names = names(self.task, tokens)?;
        let scheme = match self.task {
            Task::TokenClassification => task::scheme_of(train, &names)?,
            _ => None,
        };
        let fixed = match self.threshold {
            Some(Threshold::Fixed(threshold)) => Some(threshold),
            _ => None,
        };
        let thresholds = match self.task {
            Task::MultiLabel => fixed.map(|threshold| vec![threshold; names.len()]),
            Task::QuestionAnswering if leaves_questions_open(examples)? => {
                Some(vec![fixed.unwrap_or(0.0)])
            }
            _ => None,
        };
        Ok(Rule {
            task: self.task,
            names,
            thresholds,
            scheme,
            answers: self.answers.clone().unwrap_or_default(),
        })
    }

    /// What stands on the encoder.
    fn head(&self, rule: &Rule) -> HeadKind {
        let outputs = rule.names.len();
        match self.task {
            Task::TokenClassification => self.head.over_tokens(outputs, self.learns_a_crf()),
            Task::QuestionAnswering => HeadKind::Spans,
            _ => self.head.over_texts(outputs),
        }
    }

    fn learns_a_crf(&self) -> bool {
        self.loss.as_ref().and_then(|loss| loss.name) == Some(LossName::Crf)
    }

    /// Scores the answers to the validation rows.
    fn judge<'a>(
        &self,
        rule: &'a Rule,
        objective: &'a Objective,
        validation: Option<&'a TokenSplit>,
        examples: Option<&'a Texts<&'a str>>,
    ) -> impl Fn(&Classifier, &Predictions) -> Result<Judgement, LearnError> + 'a {
        let tunes = self.threshold == Some(Threshold::Tuned);
        move |model, outputs| {
            let Some(rows) = validation else {
                return Ok(Judgement {
                    scores: Map::new(),
                    thresholds: None,
                });
            };
            let asked = Asked {
                rows,
                examples,
                places: None,
            };
            let crf = model.head.crf().map(Crf::values).transpose()?;
            let loss = objective.loss_of(outputs, rows, crf.as_ref());
            let judged = || -> Result<Judgement, TaskError> {
                let rule = match tunes {
                    true => rule.tuned(outputs, &asked)?,
                    false => rule.clone(),
                };
                let scored = rule.scores(model, outputs, &asked, loss)?;
                Ok(Judgement {
                    scores: scored.flat,
                    thresholds: rule.thresholds,
                })
            };
            judged().map_err(unjudged)
        }
    }

    fn write(
        &self,
        context: &Context,
        tokens: &Tokens,
        rule: Rule,
        config: &EncoderConfig,
        fitted: &Fitted,
        log: &[u8],
    ) -> Result<(), StageError> {
        let regression = rule.task == Task::Regression;
        let answers = (rule.task == Task::QuestionAnswering).then_some(&rule.answers);
        let info = ModelInfo {
            task: rule.task,
            pooling: fitted.model.head.pooling(),
            head_dropout: fitted.model.head.dropout(),
            stack: fitted.model.head.stack().clone(),
            label_names: if regression {
                Vec::new()
            } else {
                rule.names.clone()
            },
            target_names: regression.then_some(rule.names),
            crf: fitted.model.head.crf().is_some(),
            scheme: rule.scheme.map(|scheme| scheme.name().to_owned()),
            thresholds: rule.thresholds,
            max_answer_length: answers.map(|answers| answers.max_length),
            n_best: answers.map(|answers| answers.n_best),
            max_length: tokens.max_length(),
            stride: tokens.stride(),
            tokenizer_digest: tokens.tokenizer_digest().to_owned(),
            best_epoch: fitted.best_epoch,
            best_step: fitted.best_step,
            steps: fitted.steps,
        };
        let adapter = |folder: &Path, model: &Classifier| -> Result<(), StageError> {
            Ok(model::write_adapter(
                model,
                self.task,
                &folder.join(ADAPTER),
            )?)
        };
        let whole = |model: &Classifier| model::merged(model.clone());
        adapter(context.draft, &fitted.model)?;
        model::save(context.draft, &whole(&fitted.model), config, &info)?;
        for snapshot in &fitted.last {
            let folder = context.draft.join(format!("{KEPT}/step-{}", snapshot.step));
            fs::create_dir_all(&folder).map_err(|source| StageError::Write {
                path: folder.clone(),
                source,
            })?;
            let info = ModelInfo {
                best_epoch: snapshot.epoch,
                best_step: snapshot.step,
                ..info.clone()
            };
            adapter(&folder, &snapshot.model)?;
            model::save(&folder, &whole(&snapshot.model), config, &info)?;
        }
        copy_tokenizer_folder(tokens.tokenizer_folder(), &context.draft.join("tokenizer"))?;
        write_file(&context.draft.join(METRICS), log)?;
        if let Some(scores) = &fitted.scores {
            let text = format!("{:#}\n", Value::Object(scores.clone()));
            write_file(&context.draft.join("scores.json"), text.as_bytes())?;
        }
        Ok(())
    }
}

/// Whether some training question has no answer.
fn leaves_questions_open(examples: Option<&Table>) -> Result<bool, StageError> {
    let train = examples.and_then(|table| table.splits.get("train"));
    let train = train.map(table::borrowed).transpose()?;
    let answers = train.and_then(|train| train.answers);
    Ok(answers.is_some_and(|rows| rows.iter().any(Vec::is_empty)))
}

fn unjudged(error: TaskError) -> LearnError {
    match error {
        TaskError::Learn(error) => error,
        other => LearnError::Unjudged {
            message: other.to_string(),
            help: other
                .help()
                .map(|help| help.to_string())
                .unwrap_or_default(),
        },
    }
}

/// The names of the outputs; none where they have none.
fn names(task: Task, tokens: &Tokens) -> Result<Vec<String>, StageError> {
    let (names, column) = match task {
        Task::QuestionAnswering => return Ok(Vec::new()),
        Task::Regression => (tokens.target_names(), "target"),
        Task::Classification => (tokens.label_names(), "label"),
        Task::MultiLabel => (tokens.label_names(), "labels"),
        Task::TokenClassification => (tokens.label_names(), "tags"),
    };
    match names {
        None => Err(StageError::Mismatch {
            message: "the input has no labels to learn from".to_owned(),
            help: format!(
                "map the label column in the load stage: `columns = {{ text = \"…\", {column} = \"…\" }}`"
            ),
        }),
        Some(names) if names.len() < 2 && task == Task::Classification => {
            Err(StageError::Mismatch {
                message: match names.first() {
                    Some(only) => {
                        format!("the input has only the label `{only}`, and a classifier needs two")
                    }
                    None => "the input has no labels, and a classifier needs two".to_owned(),
                },
                help: "check the label column and `label_names` in the load stage".to_owned(),
            })
        }
        Some(names) => Ok(names.to_vec()),
    }
}

#[cfg(test)]
mod tests;
