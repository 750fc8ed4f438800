//! Samples of what is wrong with models, learning, devices and tasks.

use super::{Sample, absent, denied, sample};
use crate::bundle::BundleError;
use crate::cli::predict::PredictUse;
use crate::cli::serve::ServeUse;
use crate::cli::worker::Taken;
use crate::device::{DeviceError, ServeError};
use crate::learn::{LearnError, Precision};
use crate::model::{CheckpointError, Misfit, Misfits, ModelError, Task};
use crate::serve::ServingError;
use crate::stage::StageError;
use crate::task::TaskError;

pub(super) fn samples() -> Vec<Sample> {
    let mut samples = checkpoints();
    samples.extend(models());
    samples.extend(rows_to_learn_from());
    samples.extend(learning());
    samples.extend(tasks());
    samples.extend(devices());
    samples.extend(stages());
    samples.extend(bundles());
    samples.extend(servers());
    samples
}

fn checkpoints() -> Vec<Sample> {
    let weights = || "models/bert/model.safetensors".into();
    let pickled = || "models/bert/pytorch_model.bin".into();
    let index = || "models/bert/model.safetensors.index.json".into();
    [
        CheckpointError::Unreadable {
            path: weights(),
            source: absent(),
        },
        CheckpointError::NotSafetensors {
            path: weights(),
            bytes: 1024,
            reason: "its header is longer than the file".into(),
        },
        CheckpointError::NotPytorch {
            path: pickled(),
            bytes: 1024,
            reason: "it is no zip archive".into(),
        },
        CheckpointError::Code {
            path: pickled(),
            what: "os.system".into(),
        },
        CheckpointError::Index {
            path: index(),
            reason: "it has no `weight_map`".into(),
        },
        CheckpointError::NotInShard {
            index: index(),
            shard: "model-00002-of-00003.safetensors".into(),
            name: "bert.pooler.dense.bias".into(),
        },
        CheckpointError::NoWeights {
            path: weights(),
            name: "bert.pooler.dense.weight".into(),
            found: safetensors::Dtype::I8,
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn models() -> Vec<Sample> {
    let config = || "models/bert/config.json".into();
    let weights = || "models/bert/model.safetensors".into();
    let bias = || "bert.pooler.dense.bias".to_owned();
    let misfits = vec![
        Misfit::Missing {
            name: "bert.embeddings.word_embeddings.weight".into(),
            wanted: vec![30522, 768],
        },
        Misfit::Unexpected {
            name: "bert.encoder.layer.12.output.dense.bias".into(),
            found: vec![768],
        },
        Misfit::Shape {
            name: bias(),
            found: vec![512],
            wanted: vec![768],
        },
        Misfit::Type {
            name: "bert.encoder.layer.0.output.dense.bias".into(),
            found: "I8".into(),
        },
        Misfit::Twice {
            name: "pooler.dense.weight".into(),
            other: "bert.pooler.dense.weight".into(),
        },
        Misfit::NotFinite {
            name: "bert.encoder.layer.1.output.dense.bias".into(),
        },
    ];
    [
        ModelError::Unreadable {
            path: config(),
            source: denied(),
        },
        ModelError::Write {
            path: "/store/drafts/7f3a/model.safetensors".into(),
            source: denied(),
        },
        ModelError::Config {
            path: config(),
            reason: "expected `,` or `}` at line 4 column 3".into(),
        },
        ModelError::ModelType {
            path: config(),
            found: "gpt2".into(),
        },
        ModelError::ConfigValue {
            origin: "models/bert/config.json".into(),
            field: "num_attention_heads",
            found: "5".into(),
            wanted: "a divisor of hidden_size = 768".into(),
        },
        ModelError::NoHead {
            path: config(),
            class: "BertForMaskedLM".into(),
        },
        ModelError::NoInfo {
            path: "dist/tagger/model.json".into(),
        },
        ModelError::NoFile {
            path: weights(),
            help: "the folder holds `config.json` and `vocab.txt`; weights are `model.safetensors` or `pytorch_model.bin`".into(),
        },
        ModelError::WeightsDoNotFit {
            path: weights(),
            misfits: Misfits(misfits),
        },
        ModelError::NoMaskedHead {
            path: weights(),
            missing: vec!["cls.predictions.bias".into()],
        },
        ModelError::TooSmall {
            what: "positions",
            needed: 1024,
            there: 512,
        },
        ModelError::NoOutputs,
        ModelError::NoSuchModule {
            pattern: "q_proj".into(),
            known: vec!["query".into(), "key".into(), "value".into()],
        },
        ModelError::NoSuchTensor { name: bias() },
        ModelError::WrongLength {
            name: bias(),
            found: 12,
            wanted: vec![768],
        },
        ModelError::ReadBack {
            name: bias(),
            reason: "out of memory".into(),
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn rows_to_learn_from() -> Vec<Sample> {
    let split = || "validation".to_owned();
    [
        LearnError::NoSuchPosition {
            row: 7,
            position: 130,
            tokens: 128,
        },
        LearnError::ForeignState {
            name: "model/classifier.weight".into(),
        },
        LearnError::NoRows { split: split() },
        LearnError::NoLabel {
            split: split(),
            row: 7,
        },
        LearnError::LabelOutOfRange {
            split: split(),
            row: 7,
            label: 5,
            labels: 4,
        },
        LearnError::Unmarked {
            split: split(),
            row: 7,
            what: "tags",
            column: "tags",
        },
        LearnError::NoTags { split: split() },
        LearnError::NothingMasked { split: split() },
        LearnError::AnswerOutOfRange {
            split: split(),
            row: 7,
            start: 120,
            end: 130,
            tokens: 128,
        },
        LearnError::TargetCount {
            split: split(),
            row: 7,
            found: 1,
            wanted: 2,
        },
        LearnError::TargetNotFinite {
            split: split(),
            row: 7,
            value: 1e300,
        },
        LearnError::OneLabel {
            split: "train".into(),
            label: "World".into(),
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn learning() -> Vec<Sample> {
    [
        LearnError::Interrupted,
        LearnError::LabelWeights {
            found: 3,
            labels: 4,
        },
        LearnError::NoSuchParameter {
            field: "freeze.match",
            pattern: "bert.encoder.layers.*".into(),
            near: vec!["bert.encoder.layer.0.output.dense.bias".into()],
        },
        LearnError::FewerLayers {
            wanted: 24,
            there: 12,
        },
        LearnError::Write {
            path: "/store/drafts/7f3a/activations".into(),
            source: denied(),
        },
        LearnError::DamagedActivations {
            path: "/store/objects/7f3a/activations".into(),
            reason: "it is shorter than it says".into(),
        },
        LearnError::NoVectors,
        LearnError::AllFrozen,
        LearnError::OtherHead {
            found: "texts",
            wanted: "tokens",
        },
        LearnError::Unjudged {
            message: "the model answers 3 of 20 rows with numbers that are not finite".into(),
            help: "its training diverged: lower `optimizer.learning_rate`".into(),
        },
        LearnError::Diverged {
            step: 120,
            what: "loss",
            value: f32::NAN,
            learning_rate: 5e-4,
        },
        LearnError::Precision {
            device: "ndarray".into(),
            precision: Precision::Bf16,
        },
        LearnError::Overflow {
            step: 120,
            scale: 1e-3,
        },
        LearnError::Device {
            device: "cuda:1".into(),
            doing: "training",
            cause: "out of memory".into(),
        },
        LearnError::Worker {
            worker: "ws://10.0.0.7:4000".into(),
            doing: "training",
            cause: "it ended, or the connection to it broke".into(),
        },
        LearnError::Thread {
            source: std::io::ErrorKind::WouldBlock.into(),
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn tasks() -> Vec<Sample> {
    [
        TaskError::Unknown {
            what: "tags in the scheme BMEWO".into(),
        },
        TaskError::NotFinite {
            broken: 3,
            rows: 20,
        },
        TaskError::NothingToCompare {
            row: 7,
            column: "answers",
        },
        TaskError::UnknownLabel {
            label: "Sprots".into(),
            field: "loss.weights",
            known: vec!["World".into(), "Sports".into()],
        },
        TaskError::Misfit {
            what: "no table beside them",
        },
        TaskError::Explanations {
            path: ".refit/objects/3f7a9c20/explanations.json".into(),
            reason: "its format is 2, not 1".into(),
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn devices() -> Vec<Sample> {
    let available = || "flex, ndarray".to_owned();
    let worker = || "ws://10.0.0.7:4000".to_owned();
    let choosing = [
        DeviceError::Unknown {
            asked: "gpu".into(),
            available: available(),
        },
        DeviceError::NotBuiltIn {
            asked: "cuda".into(),
            feature: "cuda",
            available: available(),
        },
        DeviceError::NotThere {
            asked: "cuda:7".into(),
            available: available(),
        },
        DeviceError::Twice {
            asked: "cuda:0,1,0".into(),
            device: "cuda:0".into(),
        },
        DeviceError::NoToken { worker: worker() },
        DeviceError::Refused { worker: worker() },
        DeviceError::Unreachable {
            worker: worker(),
            reason: "connection refused".into(),
        },
        DeviceError::OtherVersion {
            worker: worker(),
            reason: "version 4 there, version 3 here".into(),
        },
    ];
    let serving = [
        ServeError::NoToken,
        ServeError::NotBuiltIn,
        ServeError::Failed {
            reason: "the socket was closed".into(),
        },
    ];
    let taken = Taken {
        address: ([127, 0, 0, 1], 4000).into(),
        source: std::io::Error::from_raw_os_error(98),
    };
    let samples = choosing.into_iter().map(sample);
    let samples = samples.chain(serving.into_iter().map(sample));
    samples.chain([sample(taken)]).collect()
}

fn stages() -> Vec<Sample> {
    [
        StageError::Interrupted,
        StageError::Write {
            path: "/store/drafts/7f3a/scores.json".into(),
            source: denied(),
        },
        StageError::Mismatch {
            message: "the split `validation` has no rows".into(),
            help: "set `split` to one that has, or give the load stage more data for it".into(),
        },
    ]
    .into_iter()
    .map(sample)
    .collect()
}

fn bundles() -> Vec<Sample> {
    let folder = || "dist/ag-news".into();
    let mut samples: Vec<Sample> = [
        BundleError::NoFolder {
            folder: folder(),
            is_file: false,
        },
        BundleError::NoModel {
            folder: folder(),
            found: vec!["report.html".into(), "train.csv".into()],
        },
        BundleError::Adapter { folder: folder() },
        BundleError::GraphsAlone {
            folder: folder(),
            graphs: vec!["onnx/model.onnx".into()],
        },
        BundleError::Question {
            index: 3,
            what: "has no context to find its answer in",
        },
        BundleError::Threshold {
            threshold: 1.5,
            task: Task::MultiLabel,
            message: "is no probability",
        },
        BundleError::Interrupted,
    ]
    .into_iter()
    .map(sample)
    .collect();
    let uses = [
        PredictUse::NothingAsked,
        PredictUse::NoContext,
        PredictUse::Meaningless {
            option: "--top-k",
            task: Task::Regression,
            help: "all that it answers is given; leave the option out",
        },
        PredictUse::UnknownFormat {
            file: "texts.dat".into(),
        },
        PredictUse::UnknownOutput {
            file: "answers.xlsx".into(),
        },
        PredictUse::NotRegular {
            file: "/dev/stdin".into(),
        },
        PredictUse::NothingToKeep {
            column: "ID".into(),
            known: "`id`, `text`".into(),
        },
        PredictUse::CannotKeep {
            column: "image".into(),
        },
    ];
    samples.extend(uses.into_iter().map(sample));
    samples
}

fn servers() -> Vec<Sample> {
    let servers = [
        ServingError::Taken {
            address: ([127, 0, 0, 1], 8000).into(),
            source: std::io::Error::from_raw_os_error(98),
        },
        ServingError::BadName {
            name: "ag news".into(),
        },
        ServingError::NamedTwice {
            name: "news".into(),
        },
        ServingError::BadOrigin {
            origin: "example.org".into(),
        },
        ServingError::NoThreads {
            source: std::io::Error::from_raw_os_error(11),
        },
        ServingError::Mute {
            name: "news".into(),
            reason: "outputs are not finite".into(),
        },
        ServingError::Undrained {
            open: 3,
            seconds: 30,
        },
    ];
    let uses = [
        ServeUse::NoToken {
            variable: "NEWS_TOKEN".into(),
        },
        ServeUse::NoName { given: "/".into() },
    ];
    let samples = servers.into_iter().map(sample);
    samples.chain(uses.into_iter().map(sample)).collect()
}
