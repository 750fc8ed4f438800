//! `train`: tokens → a model, fine-tuned from an encoder or learned from scratch.
//!
//! The work is done by `model` (the network and its weights) and `learn` (the loop); this file holds the settings, checks
//! that tokens and encoder fit together, shows progress and writes the artifact:
//! `model.safetensors`, `config.json`, `model.json`, `tokenizer/`, `metrics.jsonl` (one line per step and per validation)
//! and, where there was a validation split, `scores.json` (of the weights that were kept).
//!
//! Deliberately absent: downloads. An encoder is a folder here.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Context, Edge, Fault, Files, Stage, StageError, is_hub_id};
use crate::artifact::{Kind, Unreadable, files_under};
use crate::device;
use crate::learn::{
    self, BatchSettings, EarlyStopping, Event, Fitted, LearnError, Length, Material,
    OptimizerSettings, Recipe, Rows, ScheduleSettings, StepRecord, ValidationRecord,
};
use crate::metrics::Metric;
use crate::model::{
    self, Classifier, EncoderConfig, EncoderFiles, HeadSettings, ModelInfo, ScratchSettings,
    Vocabulary,
};
use crate::text::{TokenSplit, Tokens};

const CONFIG: &str = "encoder/config.json";
const WEIGHTS: &str = "encoder/model.safetensors";
const EPOCHS: u32 = 3;

/// Trains a classifier on tokens: fine-tunes a pretrained BERT encoder, or learns a small one from scratch.
///
/// After each epoch the `validation` split is scored, and the best weights are kept. Without such a split, the last are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// The `tokenize` stage whose rows are learned from.
    pub input: String,
    /// The pretrained encoder: a folder in the Hugging Face layout (`config.json`, `model.safetensors`), relative to the
    /// spec. Either this or `scratch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// The sizes of an encoder that begins with random weights. Either this or `encoder`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<ScratchSettings>,
    /// What the model learns to do.
    #[serde(default)]
    pub task: Task,
    /// Passes over the training rows (3 where `max_steps` is not given either).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("default" = EPOCHS))]
    pub epochs: Option<u32>,
    /// Optimizer steps, in place of `epochs`: for a quick try, or a length that does not grow with the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_steps: Option<u32>,
    /// How many rows go through the model at once, and how they are put together.
    #[serde(default)]
    pub batch: BatchSettings,
    /// What stands on top of the encoder.
    #[serde(default)]
    pub head: HeadSettings,
    /// How weights are updated.
    #[serde(default)]
    pub optimizer: OptimizerSettings,
    /// How the learning rate changes over the training.
    #[serde(default)]
    pub schedule: ScheduleSettings,
    /// Stops before the end when the validation score no longer improves, and chooses that score. Without it, training
    /// runs to the end and the epoch with the best accuracy is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// The seed for initial weights, the order of rows and dropout. By default the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// What a model learns to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One label for each text or pair of texts.
    #[default]
    Classification,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Task::Classification => "classification",
        }
    }
}

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
        serde_json::to_value(self).unwrap_or_default()
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
        let mut faults = Vec::new();
        match (&self.encoder, &self.scratch) {
            (None, None) => faults.push(Fault::new(
                "",
                "a train stage needs an encoder",
                "give `encoder = \"FOLDER\"` (config.json and model.safetensors), or `scratch = { layers = 2, hidden = 128, heads = 2 }`",
            )),
            (Some(_), Some(_)) => faults.push(Fault::new(
                "scratch",
                "`encoder` and `scratch` exclude each other",
                "keep `encoder` to fine-tune, or `scratch` to begin with random weights",
            )),
            _ => {}
        }
        if self.epochs.is_some() && self.max_steps.is_some() {
            faults.push(Fault::new(
                "max_steps",
                "`epochs` and `max_steps` exclude each other",
                "keep the one that should decide how long to train",
            ));
        }
        if let Some(scratch) = &self.scratch
            && scratch.heads > 0
            && scratch.hidden % scratch.heads != 0
        {
            faults.push(Fault::new(
                "scratch.heads",
                format!(
                    "a hidden size of {} does not divide into {} heads",
                    scratch.hidden, scratch.heads
                ),
                "make `hidden` a multiple of `heads`",
            ));
        }
        faults
    }

    fn files(&self, base: &Path) -> Result<Files, Vec<Fault>> {
        let Some(encoder) = &self.encoder else {
            return Ok(Files::new());
        };
        let folder = base.join(encoder);
        if !folder.is_dir() {
            return Err(vec![no_folder(encoder, &folder)]);
        }
        let roles = [(CONFIG, "config.json"), (WEIGHTS, "model.safetensors")];
        let (found, missing): (Vec<_>, Vec<_>) = roles
            .map(|(role, name)| (role, folder.join(name)))
            .into_iter()
            .partition(|(_, path)| path.is_file());
        if missing.is_empty() {
            return Ok(found
                .into_iter()
                .map(|(role, path)| (role.to_owned(), path))
                .collect());
        }
        Err(missing.iter().map(|(_, path)| no_file(path)).collect())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let tokens = Tokens::open(context.input("input"))?;
        let label_names = label_names(&tokens)?;
        let train = tokens
            .split("train")
            .ok_or(LearnError::NoRows { split: "train" })?;
        let validation = tokens.split("validation");
        if validation.is_none() && self.early_stopping.is_some() {
            return Err(StageError::Mismatch {
                message: "`early_stopping` watches the validation split, and the input has none".to_owned(),
                help: "give `validation = [\"FILE\"]` or `split = { validation = 0.1 }` in the load stage, or drop `early_stopping`"
                    .to_owned(),
            });
        }
        if validation.is_none() {
            context.progress.warn(
                "there is no validation split: the weights of the last step are kept, unscored",
            );
        }

        let chosen = device::choose(context.device)?;
        context
            .progress
            .say(&format!("training on {}", chosen.name));
        if chosen.automatic && chosen.cpu {
            context.progress.warn(
                "no GPU was found, so training runs on the CPU; `--device cuda` needs a build with the feature `cuda`",
            );
        }
        let (classifier, config) =
            self.classifier(context, &tokens, label_names.len(), &chosen.device)?;
        let token_types = train
            .token_types()
            .max(validation.map_or(1, TokenSplit::token_types));
        model::check_fits(
            &config,
            tokens.vocab_size(),
            tokens.max_length(),
            token_types,
        )?;

        let material = Material {
            train,
            validation: validation.map(|split| split as &dyn Rows),
            label_names: &label_names,
            pad_id: tokens.pad_id(),
            max_length: tokens.max_length(),
        };
        let recipe = self.recipe(context.seed);
        let mut log = Log::new(
            context,
            recipe.length.steps(train.rows(), recipe.batch.size),
            self.metric(),
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
        if fitted.stopped_early {
            context.progress.say(&format!(
                "stopped after {} steps: no better {} since epoch {}",
                fitted.steps,
                self.metric(),
                fitted.best_epoch
            ));
        }
        self.write(context, &tokens, label_names, &config, &fitted, &log.lines)
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
            early_stopping: self.early_stopping.clone(),
            seed,
        }
    }

    fn metric(&self) -> Metric {
        self.early_stopping
            .as_ref()
            .map_or(Metric::Accuracy, |stopping| stopping.metric)
    }

    fn classifier(
        &self,
        context: &Context,
        tokens: &Tokens,
        labels: usize,
        device: &burn::tensor::Device,
    ) -> Result<(Classifier, EncoderConfig), StageError> {
        if let Some(scratch) = &self.scratch {
            let vocabulary = Vocabulary {
                size: tokens.vocab_size(),
                pad_id: tokens.pad_id(),
            };
            return Ok(Classifier::scratch(
                scratch,
                vocabulary,
                &self.head,
                labels,
                context.seed,
                device,
            )?);
        }
        let (Some(config), Some(weights)) = (context.files.get(CONFIG), context.files.get(WEIGHTS))
        else {
            return Err(StageError::Mismatch {
                message: "the encoder's files are not among those that the plan found".to_owned(),
                help: "give `encoder` or `scratch`".to_owned(),
            });
        };
        let files = EncoderFiles {
            config: config.clone(),
            weights: weights.clone(),
        };
        let (classifier, config, report) =
            Classifier::pretrained(&files, &self.head, labels, context.seed, device)?;
        for warning in report.warnings() {
            context.progress.warn(&warning);
        }
        Ok((classifier, config))
    }

    fn write(
        &self,
        context: &Context,
        tokens: &Tokens,
        label_names: Vec<String>,
        config: &EncoderConfig,
        fitted: &Fitted,
        log: &[u8],
    ) -> Result<(), StageError> {
        let info = ModelInfo {
            task: self.task.name().to_owned(),
            pooling: fitted.model.head.pooling(),
            head_dropout: fitted.model.head.dropout(),
            label_names,
            max_length: tokens.max_length(),
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

/// What the loop tells, as lines of `metrics.jsonl` and as progress.
struct Log<'a> {
    context: &'a Context<'a>,
    metric: Metric,
    lines: Vec<u8>,
}

impl<'a> Log<'a> {
    fn new(context: &'a Context<'a>, steps: u64, metric: Metric) -> Self {
        context.progress.start("training", steps, "steps");
        Log {
            context,
            metric,
            lines: Vec::new(),
        }
    }

    fn hear(&mut self, event: &Event) -> ControlFlow<()> {
        match event {
            Event::Step(record) => self.step(record),
            Event::Rows(_) => {}
            Event::Validation(record) => self.validation(record),
        }
        if self.context.checkpoint().is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    fn step(&mut self, record: &StepRecord) {
        self.line(record);
        self.context.progress.advance(1);
        let StepRecord {
            loss,
            learning_rate,
            ..
        } = record;
        self.context.progress.state(&format!(
            "loss {loss:.3}, learning rate {learning_rate:.1e}"
        ));
    }

    fn validation(&mut self, record: &ValidationRecord) {
        self.line(record);
        let value = |metric: Metric| {
            record
                .validation
                .get(metric.name())
                .and_then(Value::as_f64)
                .unwrap_or(f64::NAN)
        };
        let mut text = format!(
            "epoch {}: validation loss {:.4}",
            record.epoch,
            value(Metric::Loss)
        );
        if self.metric != Metric::Loss {
            text += &format!(", {} {:.4}", self.metric, value(self.metric));
        }
        self.context.progress.say(&text);
    }

    fn line(&mut self, record: &impl Serialize) {
        serde_json::to_writer(&mut self.lines, record)
            .expect("numbers and names are written to memory");
        self.lines.push(b'\n');
    }
}

fn label_names(tokens: &Tokens) -> Result<Vec<String>, StageError> {
    match tokens.label_names() {
        None => Err(StageError::Mismatch {
            message: "the input has no labels to learn from".to_owned(),
            help: "map the label column in the load stage: `columns = { text = \"…\", label = \"…\" }`".to_owned(),
        }),
        Some(names) if names.len() < 2 => Err(StageError::Mismatch {
            message: format!("the input has only the label(s) {names:?}, and a classifier needs two"),
            help: "check the label column and `label_names` in the load stage".to_owned(),
        }),
        Some(names) => Ok(names.to_vec()),
    }
}

/// How many token types the rows use: 2 where there are pairs of texts.
fn no_folder(encoder: &str, folder: &Path) -> Fault {
    let looked = format!("there is no folder `{}`", folder.display());
    if is_hub_id(encoder) {
        Fault::new(
            "encoder",
            format!("{looked}, and this version of refit reads encoders from folders only"),
            format!(
                "if `{encoder}` is meant as a hub id, fetch it first (`hf download {encoder} --local-dir FOLDER`) and give `encoder = \"FOLDER\"`, relative to the spec"
            ),
        )
    } else {
        Fault::new(
            "encoder",
            looked,
            "give the folder that holds config.json and model.safetensors, relative to the spec",
        )
    }
}

fn no_file(path: &Path) -> Fault {
    let folder = path.parent().unwrap_or(path);
    let has_old_weights = folder.join("pytorch_model.bin").is_file();
    let help = if path.ends_with("model.safetensors") && has_old_weights {
        "it has pytorch_model.bin, which refit does not read: load it in transformers and `save_pretrained` it, which writes model.safetensors"
    } else {
        "an encoder's folder holds config.json and model.safetensors, as `save_pretrained` of transformers writes them"
    };
    Fault::new(
        "encoder",
        format!("there is no file `{}`", path.display()),
        help,
    )
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
