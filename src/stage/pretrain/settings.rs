//! The settings of `pretrain` as a user writes them, and what a schema cannot say about them.
//!
//! Deliberately absent: what every training states and how it is judged; see `stage::training`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::learn::{
    BatchSettings, CooccurrenceSettings, EarlyStopping, EmaSettings, EvaluateEvery, FreezeSettings,
    Keep, MaskingSettings, MicroSize, OptimizerSettings, Precision, ScheduleSettings,
};
use crate::metrics::Metric;
use crate::model::ScratchSettings;
use crate::stage::Fault;
use crate::stage::training::Stated;

/// Where neither `epochs` nor `max_steps` is stated.
const EPOCHS: u32 = 1;

/// Teaches an encoder language itself, from text without labels: it predicts words that are masked. For a field whose words
/// a pretrained encoder does not know (go on with `encoder`), or for an encoder of your own (`scratch`).
///
/// A `train` stage begins with what it learned by `encoder_stage`, and a `tokenize` stage has its tokenizer by
/// `tokenizer_stage`. The `validation` split is scored after each epoch, or as often as `evaluate_every` says: perplexity, and
/// the share of masked words that are predicted rightly, beside that of chance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pretrain {
    /// The `tokenize` stage whose rows are learned from, usually with `pack = true`. Labels are not looked at.
    pub input: String,
    /// The pretrained encoder to go on with: a folder in the Hugging Face layout, relative to the spec, or a model of the hub,
    /// `owner/name` or `owner/name@revision`; a folder of that name beside the spec comes first. Its head for masked words is
    /// taken where it has one (the models of the hub that were not fine-tuned mostly do), else a new one learns. Either this,
    /// `encoder_stage` or `scratch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Another `pretrain` stage, or a `train` stage, whose encoder to go on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder_stage: Option<String>,
    /// The sizes of an encoder that begins with random weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<ScratchSettings>,
    /// Begins an encoder from `scratch` with word embeddings that tell which pieces stand near which others in the training text, in
    /// place of random ones: `{}` or `{ window = 20 }`. They are counted in some seconds; predicting masked words finds the same
    /// out in many passes, so with little text or little time most of what pretraining is worth comes from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooccurrence: Option<CooccurrenceSettings>,
    /// Which tokens are to be predicted, and what stands in their places meanwhile. Drawn anew in every epoch.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub masking: MaskingSettings,
    /// Passes over the training rows (1 where `max_steps` is not given either).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("default" = EPOCHS))]
    pub epochs: Option<u32>,
    /// Optimizer steps, in place of `epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_steps: Option<u32>,
    /// In which numbers matrices are multiplied; as for `train`.
    #[serde(default, skip_serializing_if = "is_fp32")]
    #[schemars(extend("default" = "fp32"))]
    pub precision: Precision,
    /// How many rows go through the model at once, and how they are put together.
    #[serde(default)]
    pub batch: BatchSettings,
    /// What stays as it was: `{ layers = 6 }`, `{ embeddings = true }`, or by name. What frozen layers give is not stored here, since
    /// it changes with the masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<FreezeSettings>,
    /// How weights are updated. An encoder from scratch wants a rate ten times that of fine-tuning: 5e-4 to 1e-3.
    #[serde(default)]
    pub optimizer: OptimizerSettings,
    /// How the learning rate changes over the training.
    #[serde(default)]
    pub schedule: ScheduleSettings,
    /// How often the validation rows are scored: `{ steps = 200 }` or `{ epochs = 2 }`. Left out: after each epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate_every: Option<EvaluateEvery>,
    /// Which weights become the result.
    #[serde(default, skip_serializing_if = "is_best")]
    #[schemars(extend("default" = "best"))]
    pub keep: Keep,
    /// Also keeps the weights of the last so many evaluations, as `kept/step-N/` in the folder that `refit path` prints.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 1000))]
    pub keep_last: u32,
    /// Takes the average of the weights over the last steps in place of the last ones: `{ decay = 0.999 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaSettings>,
    /// Remembers of each layer only what it was given, and computes the rest a second time on the way back: a third more
    /// time, far less memory. It changes no result.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gradient_checkpointing: bool,
    /// Stops before the end when the validation loss, or another score, no longer improves. The weights with the best are kept in
    /// any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// The seed for initial weights, masks, the order of rows and dropout. By default the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

fn is_usual(masking: &MaskingSettings) -> bool {
    *masking == MaskingSettings::default()
}

fn is_fp32(precision: &Precision) -> bool {
    *precision == Precision::Fp32
}

fn is_best(keep: &Keep) -> bool {
    *keep == Keep::Best
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Pretrain {
    /// What is stated as it is anyway is left out, as if it were not stated.
    pub(super) fn without_defaults(&self) -> Pretrain {
        let mut stated = self.clone();
        if let Some(stopping) = &mut stated.early_stopping {
            stopping.metric = stopping.metric.filter(|metric| *metric != Metric::Loss);
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
            freeze.embeddings &= !freeze.encoder && freeze.layers.is_none();
        }
        stated
    }

    /// What it states as every training does.
    pub(super) fn stated(&self) -> Stated<'_> {
        Stated {
            kind: "pretrain",
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

    /// What a schema cannot say.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = self.stated().faults();
        if self.cooccurrence.is_some() && self.scratch.is_none() {
            faults.push(Fault::new(
                "cooccurrence",
                "a pretrained encoder has word embeddings of its own",
                "remove it, or give `scratch` in place of the encoder",
            ));
        }
        let MaskingSettings { mask, random, .. } = self.masking;
        if mask + random > 1.0 {
            faults.push(Fault::new(
                "masking",
                format!(
                    "{mask} of the chosen tokens masked and {random} replaced are more than all"
                ),
                "make the two at most 1 together; what is left of 1 stays as it is",
            ));
        }
        if self.freeze.as_ref().is_some_and(|freeze| freeze.encoder) {
            faults.push(Fault::new(
                "freeze.encoder",
                "with a frozen encoder nothing is pretrained",
                "freeze some of its layers, `{ layers = 6 }`, or remove it",
            ));
        }
        let watched = self
            .early_stopping
            .as_ref()
            .and_then(|stopping| stopping.metric);
        if let Some(metric) = watched.filter(|metric| !Metric::MASKED.contains(metric)) {
            let known: Vec<&str> = Metric::MASKED.iter().map(|metric| metric.name()).collect();
            faults.push(Fault::new(
                "early_stopping.metric",
                format!("masked words are not scored by {metric}"),
                format!("watch one of {}", known.join(", ")),
            ));
        }
        faults
    }
}
