//! The settings of `train` as a user writes them, and what a schema cannot say about them.
//!
//! Deliberately absent: the settings of one thing alone (batches, optimizer, schedule, head, loss), which stand where that
//! thing is.

mod balance;
mod loss;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::learn::{
    BalanceSettings, BatchSettings, EarlyStopping, EmaSettings, EvaluateEvery, FreezeSettings,
    Keep, MicroSize, OptimizerSettings, Precision, ScheduleSettings,
};
use crate::metrics::Metric;
use crate::model::{Activation, Combine, HeadSettings, LoraSettings, Pooling, ScratchSettings};
use crate::stage::Fault;
use crate::stage::training::Stated;
use crate::task::{AnswerSettings, LossSettings, Task, Threshold};

/// Where neither `epochs` nor `max_steps` is stated.
pub(super) const EPOCHS: u32 = 3;

/// Trains a model on tokens: fine-tunes a pretrained BERT encoder, or learns a small one from scratch.
///
/// After each epoch, or as often as `evaluate_every` says, the `validation` split is scored, and the best weights are kept.
/// Without such a split, the last are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// The `tokenize` stage whose rows are learned from.
    pub input: String,
    /// The pretrained encoder: a folder in the Hugging Face layout (`config.json`, `model.safetensors`), relative to the
    /// spec, or a model of the hub, `owner/name` or `owner/name@revision`, which is fetched; a folder of that name beside the
    /// spec comes first. Either this, `encoder_stage` or `scratch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// A `pretrain` stage, or another `train` stage, whose encoder is fine-tuned; its head is left behind. The tokens must be of
    /// its tokenizer: `tokenizer_stage` in the tokenize stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder_stage: Option<String>,
    /// The sizes of an encoder that begins with random weights. Either this, `encoder` or `encoder_stage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<ScratchSettings>,
    /// Probability with which the encoder's hidden states and attention weights are dropped during this training. Left out: what its
    /// `config.json` says. For an encoder that was pretrained without dropout, as small ones are, 0.1 helps where rows are few. One
    /// from `scratch` has its own among its sizes. Frozen layers drop nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.99))]
    pub dropout: Option<f64>,
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
    /// In which numbers matrices are multiplied, in training and for the validation scores; weights, softmax, LayerNorm, loss
    /// and optimizer stay in 32 bits (`torch.autocast`'s way), and later stages compute in them. Half precision is for GPUs,
    /// where it is faster and takes less memory: `bf16` on those that have it (NVIDIA since Ampere, 2020), `fp16` on older
    /// ones, with a loss scaling that finds its own factor. On a CPU it gives the same numbers and is no faster.
    #[serde(default, skip_serializing_if = "is_fp32")]
    #[schemars(extend("default" = "fp32"))]
    pub precision: Precision,
    /// How many rows go through the model at once, and how they are put together.
    #[serde(default)]
    pub batch: BatchSettings,
    /// What stands on top of the encoder.
    #[serde(default)]
    pub head: HeadSettings,
    /// What is minimised. By default the task's usual loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossSettings>,
    /// From where on an answer is given. `multi_label`: the probability from which on a label is (0.5 by default).
    /// `question_answering`: by how much the score of "no answer" must be ahead of the best answer's (0 by default; no effect
    /// where every training question has an answer). `"tuned"` takes what scores best (F1) on the validation rows, for each
    /// label by itself: use it where labels are rare, or false answers are as bad as missing ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// `question_answering`: which stretches of a context may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<AnswerSettings>,
    /// Gives rare classes as many training rows as the largest has: `{ method = "oversample" }` or `{ method = "smote" }`.
    /// `loss.class_weights` is the other way to make them count, and needs no more time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<BalanceSettings>,
    /// What stays as it was: `{ encoder = true }`, `{ layers = 6 }`, `{ embeddings = true }`, or by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<FreezeSettings>,
    /// Low-rank adaptation (LoRA): the encoder's weights stay, and small matrices beside some of them learn, with the head:
    /// `{ rank = 8, alpha = 16 }`. Needs less memory for the optimizer, and forgets less of what the encoder knows; wants
    /// ten times the learning rate (2e-4 to 1e-3). `export` gives either the whole model or the adapter alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraSettings>,
    /// How weights are updated.
    #[serde(default)]
    pub optimizer: OptimizerSettings,
    /// How the learning rate changes over the training.
    #[serde(default)]
    pub schedule: ScheduleSettings,
    /// How often the validation rows are scored: `{ steps = 200 }` or `{ epochs = 2 }`. Left out: after each epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate_every: Option<EvaluateEvery>,
    /// Which weights become the model.
    #[serde(default, skip_serializing_if = "is_best")]
    #[schemars(extend("default" = "best"))]
    pub keep: Keep,
    /// Also keeps the weights of the last so many evaluations (see `evaluate_every`), as `kept/step-N/` in the folder that
    /// `refit path` prints: to go on from one of them (`encoder = "…/kept/step-200"`), or to look at what changed. Each takes the
    /// memory and the space of a model.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 1000))]
    pub keep_last: u32,
    /// Takes the average of the weights over the last steps in place of the last ones, for evaluations and for the model:
    /// `{ decay = 0.99 }`. It often scores better and varies less, and costs the memory of a second model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaSettings>,
    /// Remembers of each layer only what it was given, and computes the rest a second time on the way back: a third more
    /// time, far less memory. For long texts or large encoders where even a small `batch.micro_size` does not fit. It
    /// changes no result, so turning it on or off retrains nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gradient_checkpointing: bool,
    /// Stops before the end when the validation score no longer improves, and chooses that score. Without it, training
    /// runs to the end, and the best weights are kept: by accuracy; for several labels by F1 (micro), or, where thresholds
    /// are tuned, by label ranking average precision; for tags and answers by F1; for numbers by the loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// The seed for initial weights, the order of rows and dropout. By default the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn is_fp32(precision: &Precision) -> bool {
    *precision == Precision::Fp32
}

fn is_best(keep: &Keep) -> bool {
    *keep == Keep::Best
}

impl Train {
    /// What is stated as the task has it anyway is left out, as if it were not stated.
    pub(super) fn without_defaults(&self) -> Train {
        let mut stated = self.clone();
        if let Some(stopping) = &mut stated.early_stopping {
            stopping.metric = stopping
                .metric
                .filter(|metric| *metric != self.usual_metric());
        }
        if let Some(loss) = &mut stated.loss {
            loss.name = loss
                .name
                .filter(|name| self.task.losses().first() != Some(name));
        }
        let size = stated.batch.size;
        stated.batch.micro_size = stated
            .batch
            .micro_size
            .filter(|&micro_size| micro_size != MicroSize::Rows(size));
        let optimizer = &mut stated.optimizer;
        let usual = optimizer.name.weight_decay();
        optimizer.weight_decay = optimizer.weight_decay.filter(|&decay| decay != usual);
        stated.evaluate_every = stated
            .evaluate_every
            .filter(|every| every.steps.is_some() || every.epochs != Some(1));
        if let Some(freeze) = &mut stated.freeze {
            freeze.store_limit = FreezeSettings::default().store_limit;
            // What lies below frozen layers is frozen with them.
            freeze.embeddings &= !freeze.encoder && freeze.layers.is_none();
        }
        let frozen = |freeze: &FreezeSettings| *freeze != FreezeSettings::default();
        stated.freeze = stated.freeze.filter(frozen);
        stated.loss = stated.loss.filter(|loss| *loss != LossSettings::default());
        stated.threshold = stated
            .threshold
            .filter(|threshold| *threshold != self.task.threshold());
        stated.answers = stated
            .answers
            .filter(|answers| *answers != AnswerSettings::default());
        stated
    }

    /// By which validation score the best weights are chosen where nothing else is said. Thresholds that are tuned anew after
    /// each epoch, each for its own label's F1, leave the micro F1 without a direction.
    pub(super) fn usual_metric(&self) -> Metric {
        match (self.task, self.threshold) {
            (Task::MultiLabel, Some(Threshold::Tuned)) => Metric::LabelRankingAveragePrecision,
            (task, _) => task.metric(),
        }
    }

    /// What it states as every training does.
    pub(super) fn stated(&self) -> Stated<'_> {
        Stated {
            kind: "train",
            encoder: self.encoder.as_ref(),
            encoder_stage: self.encoder_stage.as_ref(),
            scratch: self.scratch.as_ref(),
            epochs: self.epochs,
            usual_epochs: EPOCHS,
            max_steps: self.max_steps,
            batch: &self.batch,
            optimizer: &self.optimizer,
            schedule: &self.schedule,
            evaluate_every: self.evaluate_every,
            freeze: self.freeze.as_ref(),
        }
    }

    /// What a schema cannot say: fields that exclude or need each other, or belong to other tasks.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = self.stated().faults();
        if self.lora.is_some() && self.encoder.is_none() && self.encoder_stage.is_none() {
            faults.push(Fault::new(
                "lora",
                "LoRA adapts what an encoder has learned, and one from scratch has learned nothing",
                "remove `lora`, or fine-tune a pretrained `encoder`",
            ));
        }
        if self.dropout.is_some() && self.scratch.is_some() {
            faults.push(Fault::new(
                "dropout",
                "an encoder from scratch has its dropout among its sizes",
                "write it as `scratch.dropout`",
            ));
        }
        if self.lora.is_some() && self.freeze.is_some() {
            faults.push(Fault::new(
                "freeze",
                "with `lora` all of the encoder is frozen but what is added to it",
                "keep one of the two; `lora.target` says where something is added",
            ));
        }
        faults.extend(self.faults_of_the_balance());
        faults.extend(self.faults_of_the_loss());
        faults.extend(self.misfits());
        faults
    }

    /// Other settings that belong to other tasks.
    fn misfits(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let task = self.task;
        let watched = self
            .early_stopping
            .as_ref()
            .and_then(|stopping| stopping.metric);
        if let Some(metric) = watched.filter(|metric| !task.metrics().contains(metric)) {
            let known: Vec<&str> = task.metrics().iter().map(|metric| metric.name()).collect();
            faults.push(Fault::new(
                "early_stopping.metric",
                format!("a model for {task} has no {metric}"),
                format!("watch one of {}", known.join(", ")),
            ));
        }
        let decides = matches!(task, Task::MultiLabel | Task::QuestionAnswering);
        match self.threshold {
            Some(_) if !decides => faults.push(Fault::new(
                "threshold",
                format!("{task} gives the likeliest answer, so nothing is decided by a threshold"),
                "remove it",
            )),
            Some(Threshold::Fixed(threshold))
                if task == Task::MultiLabel && !(0.0..=1.0).contains(&threshold) =>
            {
                faults.push(Fault::new(
                    "threshold",
                    format!("{threshold} is no probability"),
                    "give a number from 0 to 1, or \"tuned\"",
                ));
            }
            Some(Threshold::Fixed(threshold)) if !threshold.is_finite() => {
                faults.push(Fault::new(
                    "threshold",
                    format!("{threshold} is not a finite number"),
                    "write a number; 0 is usual",
                ));
            }
            _ => {}
        }
        if self.answers.is_some() && task != Task::QuestionAnswering {
            faults.push(Fault::new(
                "answers",
                format!("{task} looks for no answers in a context"),
                "remove it, or set `task = \"question_answering\"`",
            ));
        }
        if self.head.dropout.is_some() && task == Task::QuestionAnswering {
            faults.push(Fault::new(
                "head.dropout",
                "the head for answers drops nothing, as in transformers",
                "remove it",
            ));
        }
        if self.head.pooling != Pooling::default() && !task.pools() {
            faults.push(Fault::new(
                "head.pooling",
                format!("{task} looks at every token, so nothing is pooled"),
                "remove it",
            ));
        }
        faults.extend(self.misfits_of_the_head());
        faults
    }

    /// What is said of a head that cannot have it, or that says nothing.
    fn misfits_of_the_head(&self) -> Vec<Fault> {
        let (head, task) = (&self.head, self.task);
        let several = head.layers > 1;
        let mut faults = Vec::new();
        if task == Task::QuestionAnswering {
            for (field, stated) in [
                ("layers", several),
                ("hidden_layers", !head.hidden_layers.is_empty()),
            ] {
                if stated {
                    faults.push(Fault::new(
                        format!("head.{field}"),
                        "the head for answers is one layer over the encoder's last, as in transformers",
                        "remove it",
                    ));
                }
            }
        } else if several && task.pools() && head.pooling == Pooling::Pooler {
            faults.push(Fault::new(
                "head.layers",
                "the pooler reads the last layer alone",
                "give another `pooling` as well: \"mean\", \"cls\" or \"max\"",
            ));
        }
        if let Some(scratch) = self
            .scratch
            .as_ref()
            .filter(|scratch| scratch.layers < head.layers)
        {
            faults.push(Fault::new(
                "head.layers",
                format!(
                    "an encoder of {} layers has no last {}",
                    scratch.layers, head.layers
                ),
                "read fewer of them, or give the encoder more",
            ));
        }
        if head.combine != Combine::default() && !several {
            faults.push(Fault::new(
                "head.combine",
                "one layer is read, so nothing is combined",
                "give `layers = 4`, or remove it",
            ));
        }
        if head.activation != Activation::default() && head.hidden_layers.is_empty() {
            faults.push(Fault::new(
                "head.activation",
                "without `hidden_layers` nothing is activated",
                "give `hidden_layers = [256]`, or remove it",
            ));
        }
        faults
    }
}
