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
mod curves;
mod encoder;
mod log;
mod outlook;
mod resume;
mod settings;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::Diagnostic;
use serde_json::{Map, Value};

pub use settings::Train;

use self::log::Log;
use self::resume::{Resumed, Writer};
use self::settings::EPOCHS;
use super::{
    ACTIVATIONS, ADAPTER, Before, Context, Edge, Fault, Files, Scoring, Stage, StageError,
    Validation, activations_in, examples_of,
};
use crate::artifact::{Kind, Unreadable, files_under};
use crate::device;
use crate::hub::{Fetched, Remote};
use crate::learn::{
    self, Balanced, Course, Fitted, Frozen, Judgement, LearnError, Length, Material, Objective,
    Predictions, Recipe, Rows, ScheduleName,
};
use crate::metrics::Metric;
use crate::model::{self, Classifier, Crf, EncoderConfig, HeadKind, ModelInfo};
use crate::table::{self, Table, Texts};
use crate::task::{self, Asked, LossName, Rule, Task, TaskError, Threshold};
use crate::text::{TokenSplit, Tokens};

/// What happened at each step and validation.
const METRICS: &str = "metrics.jsonl";
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
        vec![Edge::new("input", self.input.clone(), Kind::Tokens)]
    }

    fn edge_fields() -> &'static [(&'static str, Kind)] {
        &[("input", Kind::Tokens)]
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self.without_defaults()).unwrap_or_default()
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["input", "encoder", "gradient_checkpointing"]
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
        encoder::remotes(self.encoder.as_ref(), base)
    }

    fn files(&self, base: &Path, fetched: &Fetched) -> Result<Files, Vec<Fault>> {
        encoder::files(self.encoder.as_ref(), base, fetched)
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
            true => self.foreseen(inputs),
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
        log::validations(&artifact.join(METRICS))
    }

    fn activations_of(&self, input: &str, split: &str) -> Option<Arc<dyn Stage>> {
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
        self.check_validation(context, validation)?;
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
        context
            .progress
            .say(&format!("training on {}", chosen.name));
        if chosen.automatic && chosen.cpu {
            context.progress.warn(
                "no GPU was found, so training runs on the CPU; `--device cuda` needs a build with the feature `cuda`",
            );
        }
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
        let recipe = self.recipe(context.seed, frozen);
        let kind = chosen.kind.as_str();
        let checkpoints = context.checkpoints;
        let resumed = checkpoints
            .every
            .and_then(|_| resume::newest(context, kind));
        let writer = checkpoints.every;
        let writer = writer.map(|_| Writer::start(checkpoints, kind, chosen.cpu));
        let mut log = Log::new(
            context,
            recipe.length.steps(train_rows.rows(), recipe.batch.size),
            self.metric(),
            recipe.evaluate_every,
            &chosen.device,
            writer,
        );
        let from = match resumed {
            Some(Resumed { state, log: before }) => {
                log.take_up(state.numbers.step, before)?;
                Some(state)
            }
            None => None,
        };
        context.checkpoint()?;
        log.meter
            .begin(from.as_ref().map_or(0, |state| state.numbers.step));
        let course = Course {
            from,
            every: checkpoints.every,
            beside: chosen.beside.clone(),
        };
        let device = &chosen.device;
        let fitted = learn::fit(
            classifier,
            &material,
            &recipe,
            device,
            course,
            &mut |event| log.hear(event),
        );
        log.finish();
        if let Some(error) = log.failed {
            return Err(error.into());
        }
        let fitted = match fitted {
            Err(LearnError::Interrupted) => return Err(StageError::Interrupted),
            other => other?,
        };
        if fitted.skipped > 0 {
            context.progress.say(&format!(
                "{} of {} steps were skipped, since their gradients overflowed in {}",
                fitted.skipped, fitted.steps, self.precision
            ));
        }
        if fitted.stopped_early
            && let Some(stopping) = &self.early_stopping
        {
            context.progress.say(&format!(
                "stopped after {} steps: no better {} for {} evaluations",
                fitted.steps,
                self.metric(),
                stopping.patience
            ));
        }
        let thresholds = fitted.thresholds.clone().or(rule.thresholds.clone());
        let rule = Rule {
            thresholds,
            ..rule.clone()
        };
        self.write(context, &tokens, rule, &config, &fitted, &log.lines)
    }
}

impl Train {
    fn length(&self) -> Length {
        match self.max_steps {
            Some(steps) => Length::Steps(u64::from(steps)),
            None => Length::Epochs(u64::from(self.epochs.unwrap_or(EPOCHS))),
        }
    }

    fn recipe(&self, seed: u64, frozen: Option<Frozen>) -> Recipe {
        Recipe {
            length: self.length(),
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
        let watched = self
            .early_stopping
            .as_ref()
            .and_then(|stopping| stopping.metric);
        watched.unwrap_or(self.usual_metric())
    }

    fn check_validation(
        &self,
        context: &Context,
        validation: Option<&TokenSplit>,
    ) -> Result<(), StageError> {
        if validation.is_some() {
            return Ok(());
        }
        let watching = [
            ("early_stopping", self.early_stopping.is_some()),
            (
                "threshold = \"tuned\"",
                self.threshold == Some(Threshold::Tuned),
            ),
            ("evaluate_every", self.evaluate_every.is_some()),
            (
                "schedule.name = \"reduce_on_plateau\"",
                self.schedule.name == ScheduleName::ReduceOnPlateau,
            ),
        ];
        if let Some((needs, _)) = watching.into_iter().find(|&(_, stated)| stated) {
            return Err(StageError::Mismatch {
                message: format!("`{needs}` watches the validation split, and the input has none"),
                help: format!(
                    "give `validation = [\"FILE\"]` or `split = {{ validation = 0.1 }}` in the load stage, or drop `{needs}`"
                ),
            });
        }
        context
            .progress
            .warn("there is no validation split: the weights of the last step are kept, unscored");
        Ok(())
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
        copy_folder(tokens.tokenizer_folder(), &context.draft.join("tokenizer"))?;
        write(&context.draft.join(METRICS), log)?;
        if let Some(scores) = &fitted.scores {
            let text = format!("{:#}\n", Value::Object(scores.clone()));
            write(&context.draft.join("scores.json"), text.as_bytes())?;
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

fn copy_folder(from: &Path, to: &Path) -> Result<(), StageError> {
    for path in files_under(from)? {
        let target = to.join(path.strip_prefix(from).unwrap_or(&path));
        let bytes = fs::read(&path).map_err(|e| Unreadable::new(&path, e))?;
        write(&target, &bytes)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StageError> {
    let failed = |source| StageError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, bytes).map_err(failed)
}

#[cfg(test)]
mod tests;
