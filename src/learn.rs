//! Learning: from a model and rows of tokens to a better model, and from a model and rows to answers.
//!
//! In reading order: [`Layout`] and [`Laid`] put rows together, an [`Objective`] says what their answers are compared with
//! and a loss, such as [`cross_entropy`], how wrong they are, [`Gradients`] hold what follows from that, [`Schedule`] sets
//! the pace, [`Optimizer`] takes the step, [`fit`] is the loop around them, and [`predict`] asks a finished model, [`attribution`] why it answers so. Each follows
//! PyTorch or transformers to the letter, so that a recipe moves between the two, and each can be used in a loop of one's
//! own.
//!
//! Promise: equal weights, rows, recipe and seed give equal weights on one kind of device, whatever the number of threads.
//! The order of rows comes from a generator seeded with blake3 of its purpose, the seed and the epoch; what dropout drops
//! is a function of seed, step and place (see `kernels::Dropout`).
//!
//! Deliberately absent: pipelines, progress bars and files. The loop tells its caller what happened through a callback,
//! which is also where the caller says stop.

pub mod activations;
pub mod attribution;
mod balance;
mod batch;
pub mod cooccurrence;
mod fit;
mod freeze;
mod gradients;
mod loss;
mod masked;
mod masking;
mod objective;
mod optimizer;
mod predict;
mod schedule;

pub use balance::{BalanceMethod, BalanceSettings, Balanced, balanced_rows};
pub use batch::{
    BatchSettings, Laid, Layout, MaskedTokens, MicroSize, Padding, Rows, Window, length_grouped,
    shuffled,
};
pub use cooccurrence::CooccurrenceSettings;
pub use fit::{
    Course, EarlyStopping, EmaSettings, EvaluateEvery, Event, Fitted, Held, Judgement, Keep, Kept,
    Length, LossScale, Material, Numbers, Recipe, Snapshot, State, StepRecord, ValidationRecord,
    fit,
};
pub use freeze::{Beginning, FreezeSettings, Frozen};
pub use gradients::{Clip, Gradients};
pub use loss::{
    BinaryCrossEntropy, CrossEntropy, Focal, binary_cross_entropy, crf_loss, cross_entropy,
    span_cross_entropy, squared_error,
};
pub use masked::{Likely, predict_masked};
pub use masking::{MaskedRows, MaskingSettings};
pub use objective::{Mean, Objective};
pub use optimizer::{
    Memory, Optimizer, OptimizerName, OptimizerSettings, ParameterGroup, Place, places,
};
pub use predict::{Predictions, predict};
pub use schedule::{Plateau, Schedule, ScheduleName, ScheduleSettings, curve};

pub use crate::kernels::Precision;

use std::path::PathBuf;

use burn::tensor::Device;

use crate::device;
use crate::model::ModelError;

/// Why learning or predicting could not go on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LearnError {
    /// The caller said stop.
    #[error("interrupted")]
    #[diagnostic(help("run the same command again to go on"))]
    Interrupted,

    #[error(
        "row {row} has {tokens} tokens, and the word at place {position}, counted from 0, is to be predicted"
    )]
    #[diagnostic(help("predict only at places within the row as it was cut"))]
    NoSuchPosition {
        row: usize,
        position: usize,
        tokens: usize,
    },

    #[error("the checkpoint is of another training: `{name}` is missing, or has another size")]
    #[diagnostic(help("remove the checkpoint, and the training begins anew"))]
    ForeignState { name: String },

    #[error("the split `{split}` has no rows")]
    #[diagnostic(help("check the files behind it, and what `split` in the load stage cuts off"))]
    NoRows { split: String },

    #[error("row {row} of the split `{split}` has no label")]
    #[diagnostic(help(
        "to learn and to validate, every row needs a label: map the column with `columns.label` in the load stage"
    ))]
    NoLabel { split: String, row: u64 },

    #[error(
        "row {row} of the split `{split}` has label number {label}, but there are {labels} labels, numbered from 0"
    )]
    #[diagnostic(help(
        "the tokens and their label names do not belong together: build the tokens again from their table"
    ))]
    LabelOutOfRange {
        split: String,
        row: u64,
        label: u32,
        labels: usize,
    },

    #[error("row {row} of the split `{split}` has no {what}")]
    #[diagnostic(help(
        "to learn and to validate, every row needs its {what}: map the column with `columns.{column}` in the load stage"
    ))]
    Unmarked {
        split: String,
        row: u64,
        what: &'static str,
        column: &'static str,
    },

    #[error("no word of the split `{split}` has a tag")]
    #[diagnostic(help("check the column of tags, and that its rows are not all empty"))]
    NoTags { split: String },

    #[error("no token of the split `{split}` is masked, so there is nothing to predict")]
    #[diagnostic(help(
        "give more text, or raise `masking.rate`: of a few words none may be chosen"
    ))]
    NothingMasked { split: String },

    #[error(
        "the answer of row {row} of the split `{split}` goes from token {start} to token {end}, but the row has {tokens}, numbered from 0"
    )]
    #[diagnostic(help(
        "the tokens and their answers do not belong together: build the tokens again from their table"
    ))]
    AnswerOutOfRange {
        split: String,
        row: u64,
        start: u32,
        end: u32,
        tokens: usize,
    },

    #[error("row {row} of the split `{split}` has {found} targets, wanted {wanted}")]
    #[diagnostic(help(
        "every row needs a number for each target; check `columns.target` in the load stage"
    ))]
    TargetCount {
        split: String,
        row: u64,
        found: usize,
        wanted: usize,
    },

    /// Nor is a number that single precision, in which models compute, does not reach.
    #[error(
        "row {row} of the split `{split}` has the target {value:?}, which is no finite number in single precision"
    )]
    #[diagnostic(help(
        "correct the row or drop it, or scale the column: nothing can be learned from it"
    ))]
    TargetNotFinite { split: String, row: u64, value: f64 },

    #[error("the loss has {found} weights for {labels} labels")]
    #[diagnostic(help("give one weight for each label, in the order of the labels"))]
    LabelWeights { found: usize, labels: usize },

    #[error("`{field}` names `{pattern}`, and the model has no such parameter")]
    #[diagnostic(help(
        "names are those of the checkpoint, and a pattern must fit the whole of one: `*` stands for any characters; near are {}",
        near.join(", ")
    ))]
    NoSuchParameter {
        field: &'static str,
        pattern: String,
        near: Vec<String>,
    },

    #[error("`freeze.layers` is {wanted}, and the encoder has {there} layers")]
    #[diagnostic(help(
        "freeze fewer of them, or the whole encoder: `freeze = {{ encoder = true }}`"
    ))]
    FewerLayers { wanted: usize, there: usize },

    #[error("cannot write {}", path.display())]
    #[diagnostic(help("check the free space and the permissions of the store"))]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    #[error("{} is damaged: {reason}", path.display())]
    #[diagnostic(help("`refit cache verify` finds what is damaged; the next run builds it again"))]
    DamagedActivations { path: PathBuf, reason: String },

    #[error("SMOTE makes rows of what a frozen encoder gives, and nothing of that is stored")]
    #[diagnostic(help(
        "raise `freeze.store_limit`, or use `balance = {{ method = \"oversample\" }}`"
    ))]
    NoVectors,

    #[error("everything is frozen, so there is nothing to learn")]
    #[diagnostic(help("let `freeze` leave the head, or some layers, as they are"))]
    AllFrozen,

    #[error("the model answers for {found}, and what is to be learned is about {wanted}")]
    #[diagnostic(help("build the model with the head that the objective needs"))]
    OtherHead {
        found: &'static str,
        wanted: &'static str,
    },

    /// Answers that have no score.
    #[error("{message}")]
    Unjudged {
        message: String,
        #[help]
        help: String,
    },

    /// The head's own part of an answer failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] ModelError),

    #[error(
        "every row of the split `{split}` has the label `{label}`: there is nothing to tell apart"
    )]
    #[diagnostic(help(
        "a file sorted by label and then cut short gives this; take rows of at least two labels"
    ))]
    OneLabel { split: String, label: String },

    /// Not a number, or infinite.
    #[error(
        "training diverged at step {step}: the {what} is {value} (learning rate {learning_rate:e})"
    )]
    #[diagnostic(help(
        "lower `optimizer.learning_rate` (2e-5 to 5e-5 suits most encoders), lengthen `schedule.warmup`, or set `optimizer.max_grad_norm = 1.0`; \
         if it happens at step 1, the encoder's weights themselves may hold a value that is not a number"
    ))]
    Diverged {
        step: u64,
        what: &'static str,
        value: f32,
        learning_rate: f64,
    },

    #[error("the device {device} does not compute in {precision}")]
    #[diagnostic(help(
        "drop `precision`, or choose another device: `flex` and `cuda` have half precision, on GPUs since Ampere (2020) also `bf16`; `ndarray` has none"
    ))]
    Precision {
        device: String,
        precision: Precision,
    },

    #[error(
        "training in fp16 came to a halt at step {step}: gradients overflow even with the loss multiplied by no more than {scale:e}"
    )]
    #[diagnostic(help(
        "the model itself goes beyond what 16 bits hold (65504): take `precision = \"bf16\"`, which has the range of 32 bits, or drop `precision`; \
         if it began well, lower `optimizer.learning_rate`"
    ))]
    Overflow { step: u64, scale: f64 },

    /// A kernel failed, or the device ran out of memory.
    #[error("the device {device} failed while {doing}: {cause}")]
    #[diagnostic(help(
        "if it ran out of memory, set `batch.micro_size` below `batch.size`, and lower `batch.evaluation_size`, or `max_length` in the tokenize stage"
    ))]
    Device {
        device: String,
        doing: &'static str,
        cause: String,
    },

    /// A worker ended, cannot be reached any more, or could not compute something.
    #[error("the worker {worker} failed while {doing}: {cause}")]
    #[diagnostic(help(
        "its own messages tell why; start it again (`refit worker`) and run the same command, and a training goes on from its last checkpoint"
    ))]
    Worker {
        worker: String,
        doing: &'static str,
        cause: String,
    },

    /// The machine gave no thread.
    #[error("cannot start a thread that prepares batches")]
    #[diagnostic(help(
        "let fewer programs run beside it, or raise the limit of threads (`ulimit -u`)"
    ))]
    Thread {
        #[source]
        source: std::io::Error,
    },
}

impl LearnError {
    fn failed(device: &Device, doing: &'static str, cause: String) -> LearnError {
        match device::worker(device) {
            Some(worker) if !device::is_out_of_memory(&cause) => LearnError::Worker {
                worker,
                doing,
                cause: device::in_words(cause),
            },
            _ => LearnError::Device {
                device: device::name(device),
                doing,
                cause,
            },
        }
    }

    /// Whether smaller parts of a batch may help.
    fn is_out_of_memory(&self) -> bool {
        match self {
            LearnError::Device { cause, .. } => device::is_out_of_memory(cause),
            _ => false,
        }
    }
}
