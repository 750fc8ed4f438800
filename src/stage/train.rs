//! `train`: tokens → a model, fine-tuned from an encoder or learned from scratch.
//!
//! The work is done by `model` (the network and its weights), `learn` (the loop) and `task` (what is asked and how it is
//! scored); this file brings them together, checks that tokens and encoder fit each other, and writes the artifact:
//! `model.safetensors`, `config.json`, `model.json`, `tokenizer/`, `metrics.jsonl` (one line per step and per validation)
//! and, where there was a validation split, `scores.json` (of the weights that were kept).
//!
//! Deliberately absent: downloads. An encoder is a folder here.

mod encoder;
mod log;
mod settings;

use std::fs;
use std::path::Path;

use miette::Diagnostic;
use serde_json::{Map, Value};

pub use settings::Train;

use self::log::Log;
use self::settings::EPOCHS;
use super::{Context, Edge, Fault, Files, Stage, StageError, examples_of, model_elsewhere};
use crate::artifact::{Kind, Unreadable, files_under};
use crate::device;
use crate::hub::{Fetched, Remote};
use crate::learn::{
    self, Fitted, Judgement, LearnError, Length, Material, Objective, Predictions, Recipe, Rows,
    ScheduleName,
};
use crate::metrics::Metric;
use crate::model::{self, Classifier, Crf, EncoderConfig, HeadKind, ModelInfo};
use crate::table::{self, Table, Texts};
use crate::task::{self, Asked, LossName, Rule, Task, TaskError, Threshold};
use crate::text::{TokenSplit, Tokens};

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
        vec![Edge {
            field: "input",
            stage: self.input.clone(),
            accepts: Kind::Tokens,
        }]
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self.without_defaults()).unwrap_or_default()
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["input", "encoder"]
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
        let repository = model_elsewhere(self.encoder.as_ref(), base);
        let remote = |repository| ("encoder".to_owned(), Remote::Encoder(repository));
        repository.map(remote).into_iter().collect()
    }

    fn files(&self, base: &Path, fetched: &Fetched) -> Result<Files, Vec<Fault>> {
        self.encoder_files(base, fetched)
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
        let (classifier, config) = self.classifier(context, &tokens, &head, &chosen.device)?;
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
        let material = Material {
            train,
            validation: validation.map(|split| split as &dyn Rows),
            objective: &objective,
            judge: &judge,
            metric: self.metric(),
            label_names: &rule.names,
            pad_id: tokens.pad_id(),
            max_length: tokens.max_length(),
        };
        let recipe = self.recipe(context.seed);
        let mut log = Log::new(
            context,
            recipe.length.steps(train.rows(), recipe.batch.size),
            self.metric(),
            recipe.evaluate_every,
        );
        context.checkpoint()?;
        let fitted = learn::fit(
            classifier,
            &material,
            &recipe,
            &chosen.device,
            &mut |event| log.hear(&event),
        );
        let fitted = match fitted {
            Err(LearnError::Interrupted) => return Err(StageError::Interrupted),
            other => other?,
        };
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
    fn recipe(&self, seed: u64) -> Recipe {
        Recipe {
            length: match self.max_steps {
                Some(steps) => Length::Steps(u64::from(steps)),
                None => Length::Epochs(u64::from(self.epochs.unwrap_or(EPOCHS))),
            },
            batch: self.batch.clone(),
            optimizer: self.optimizer.clone(),
            schedule: self.schedule.clone(),
            evaluate_every: self.evaluate_every.unwrap_or_default(),
            early_stopping: self.early_stopping.clone(),
            keep: self.keep,
            ema: self.ema,
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
                let scored = rule.decide(model, outputs, &asked)?.scores(&asked, loss)?;
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
        model::save(context.draft, &fitted.model, config, &info)?;
        copy_folder(tokens.tokenizer_folder(), &context.draft.join("tokenizer"))?;
        write(&context.draft.join("metrics.jsonl"), log)?;
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
                message: format!(
                    "the input has only the label(s) {names:?}, and a classifier needs two"
                ),
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
