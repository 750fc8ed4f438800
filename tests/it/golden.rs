//! The reference: what PyTorch and transformers compute, reproduced on every CPU backend.
//!
//! Reads any folder that `make_golden.py` wrote: `REFIT_GOLDEN`, and its rows in the Parquet file `REFIT_GOLDEN_ROWS`; by
//! default `golden/minilm-l6-ag-news` and `data/ag_news/train.parquet` under `REFIT_TEST_ASSETS`. The model is
//! `models/NAME` there. The tolerances are those of that folder's README.
//!
//! `heads` has numbers of its own for the other heads.
//!
//! Absent assets and backends skip these tests, loudly; where tests must not skip (`REFIT_TEST_ALL`) they fail them, and so
//! does a folder that was named and is not there.

mod heads;

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::ops::Range;
use std::path::PathBuf;

use crate::project::skipped;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use polars::prelude::{DataType, ParquetReader, SerReader};
use refit::device;
use refit::kernels::Spans;
use refit::learn::{self, Gradients, Optimizer, OptimizerSettings, Schedule, ScheduleSettings};
use refit::model::{self, Batch, Classifier, EncoderFiles, HeadKind, Mode, Pooling, Stack};
use refit::text::Tokenizer;
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::Value;

const HIDDEN: f64 = 1e-4;
const LOSS: f64 = 1e-3;
/// Of a gradient's norm; where there is no gradient but rounding (a key's bias), the absolute bound holds.
const NORM: f64 = 1e-3;
const NO_GRADIENT: f64 = 1e-6;
/// Texts in a step of `make_golden.py`.
const BATCH: usize = 16;

#[derive(Deserialize)]
struct Reference {
    model: String,
    max_length: usize,
    texts: Vec<String>,
    labels: Vec<Value>,
    targets: Vec<i32>,
    input_ids: Vec<Vec<i32>>,
    logits: Vec<Vec<f64>>,
    loss: f64,
    gradient_norms: BTreeMap<String, f64>,
    trajectory: Vec<StepReference>,
    eval_logits: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct StepReference {
    loss: f64,
    learning_rate: f64,
    gradient_norm: f64,
}

/// A folder of reference numbers with all that it refers to.
struct Golden {
    folder: PathBuf,
    rows: PathBuf,
    model: PathBuf,
    reference: Reference,
    tokenizer: Tokenizer,
}

impl Golden {
    /// `None` when the assets are not on this machine.
    fn find() -> Option<Golden> {
        let assets = env::var_os("REFIT_TEST_ASSETS").map(PathBuf::from);
        let named = env::var_os("REFIT_GOLDEN").map(PathBuf::from);
        let Some(assets) = assets else {
            assert!(
                named.is_none(),
                "REFIT_GOLDEN needs its model from REFIT_TEST_ASSETS/models"
            );
            return skipped(
                "golden needs REFIT_TEST_ASSETS, the folder of models, data and reference numbers",
            );
        };
        let folder = named.unwrap_or_else(|| assets.join("golden/minilm-l6-ag-news"));
        let rows = env::var_os("REFIT_GOLDEN_ROWS").map(PathBuf::from);
        let rows = rows.unwrap_or_else(|| assets.join("data/ag_news/train.parquet"));
        let text = fs::read_to_string(folder.join("reference.json"))
            .unwrap_or_else(|e| panic!("{}: {e}", folder.join("reference.json").display()));
        let reference: Reference = serde_json::from_str(&text).unwrap();
        let model = assets.join("models").join(&reference.model);
        let tokenizer = Tokenizer::open(&model).unwrap();
        Some(Golden {
            folder,
            rows,
            model,
            reference,
            tokenizer,
        })
    }

    /// The classifier with the head and the pooler that the reference began with.
    fn classifier(&self, device: &Device) -> Classifier {
        let head = HeadKind::Texts {
            outputs: self.reference.labels.len(),
            pooling: Pooling::Pooler,
            dropout: Some(0.0),
            stack: Stack::default(),
        };
        let files = EncoderFiles::in_folder(&self.model);
        let (classifier, _, _) = Classifier::pretrained(&files, &head, 0, device).unwrap();
        let start = [
            ("classifier.weight", "classifier.weight"),
            ("classifier.bias", "classifier.bias"),
            ("pooler.weight", "bert.pooler.dense.weight"),
            ("pooler.bias", "bert.pooler.dense.bias"),
        ];
        let start = start.map(|(there, here)| (here.to_owned(), self.tensor(there).1));
        model::set_tensors(classifier, BTreeMap::from(start)).unwrap()
    }

    /// A tensor of `reference.safetensors`: shape and values.
    fn tensor(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let bytes = fs::read(self.folder.join("reference.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let view = file.tensor(name).unwrap();
        let values = view
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&value| f32::from_le_bytes(value))
            .collect();
        (view.shape().to_owned(), values)
    }

    /// Token ids of each text, cut but not padded.
    fn ids(&self, texts: &[String]) -> Vec<Vec<i32>> {
        let texts: Vec<(String, Option<String>)> =
            texts.iter().map(|text| (text.clone(), None)).collect();
        let encoded = self
            .tokenizer
            .encode(&texts, self.reference.max_length)
            .unwrap();
        (0..texts.len())
            .map(|row| encoded.ids(row).iter().map(|&id| id as i32).collect())
            .collect()
    }

    /// Texts one after the other, or padded to the longest of them.
    fn batch(&self, texts: &[String], padded: bool, device: &Device) -> Batch {
        let rows = self.ids(texts);
        let lengths = rows.iter().map(Vec::len);
        let spans = if padded {
            Spans::padded(lengths.clone(), lengths.max().unwrap())
        } else {
            Spans::packed(lengths)
        };
        let mut ids = vec![self.tokenizer.pad_id() as i32; spans.rows()];
        for (row, text) in rows.iter().zip(spans.texts()) {
            ids[text.clone()].copy_from_slice(row);
        }
        Batch::new(ids, vec![0; spans.rows()], spans, device)
    }

    /// The first `count` texts and targets of the rows, numbered as `make_golden.py` numbers them.
    fn rows(&self, count: usize) -> (Vec<String>, Vec<i32>) {
        let frame = ParquetReader::new(File::open(&self.rows).unwrap())
            .with_columns(Some(vec!["text".to_owned(), "label".to_owned()]))
            .finish()
            .unwrap();
        let texts = frame
            .column("text")
            .unwrap()
            .cast(&DataType::String)
            .unwrap();
        let labels = frame
            .column("label")
            .unwrap()
            .cast(&DataType::String)
            .unwrap();
        let names: Vec<String> = self.reference.labels.iter().map(plain).collect();
        let number = |label: &str| names.iter().position(|name| name == label).unwrap() as i32;
        let texts = texts
            .str()
            .unwrap()
            .iter()
            .take(count)
            .map(|text| text.unwrap().to_owned())
            .collect();
        let targets = labels
            .str()
            .unwrap()
            .iter()
            .take(count)
            .map(|label| number(label.unwrap()))
            .collect();
        (texts, targets)
    }
}

/// A label as text: names as they are, numbers in digits.
fn plain(label: &Value) -> String {
    label
        .as_str()
        .map_or_else(|| label.to_string(), str::to_owned)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The largest difference between two lists of equal length.
fn worst(found: &[f32], wanted: impl IntoIterator<Item = f64>) -> f64 {
    let wanted: Vec<f64> = wanted.into_iter().collect();
    assert_eq!(found.len(), wanted.len());
    let differences = found
        .iter()
        .zip(wanted)
        .map(|(&found, wanted)| (f64::from(found) - wanted).abs());
    // `max` would pass over a NaN.
    differences.fold(0.0, |worst, difference| {
        if difference <= worst {
            worst
        } else {
            difference
        }
    })
}

/// Fails unless `found` is within `tolerance`, and says how near it is.
fn near(what: &str, found: f64, tolerance: f64) {
    eprintln!("{what}: off by {found:.2e} of {tolerance:.0e}");
    assert!(
        found <= tolerance,
        "{what}: off by {found:e}, at most {tolerance:e} is right"
    );
}

/// The device, or `None` when this build has none of that name.
fn on(name: &str) -> Option<Device> {
    match device::choose(name) {
        Ok(chosen) => Some(chosen.device),
        Err(error) => skipped(&error.to_string()),
    }
}

/// The rows of `[rows, width]` that belong to a text.
fn real<T: Copy>(rows: &[T], spans: &Spans) -> Vec<T> {
    let width = rows.len() / spans.rows();
    let of_text = |text: &Range<usize>| rows[text.start * width..text.end * width].to_vec();
    spans.texts().iter().flat_map(of_text).collect()
}

fn encoder_outputs(name: &str) {
    let (Some(golden), Some(device)) = (Golden::find(), on(name)) else {
        return;
    };
    for padded in [true, false] {
        let classifier = golden.classifier(&device);
        let reference = &golden.reference;
        let batch = golden.batch(&reference.texts, padded, &device);
        let as_padded = golden.batch(&reference.texts, true, &device).spans;

        let hidden = classifier.hidden(&batch, &Mode::EVALUATE);
        let pooled = classifier.pooled(hidden.clone(), &batch.spans);
        let logits = classifier.forward(&batch, &Mode::EVALUATE);
        let (shape, wanted) = golden.tensor("last_hidden_state");
        assert_eq!(shape[..2].iter().product::<usize>(), as_padded.rows());
        near(
            "last hidden state",
            worst(
                &real(&numbers(hidden), &batch.spans),
                real(&wanted, &as_padded).into_iter().map(f64::from),
            ),
            HIDDEN,
        );
        let wanted = golden.tensor("pooled").1.into_iter().map(f64::from);
        near("pooled", worst(&numbers(pooled), wanted), HIDDEN);
        near(
            "logits",
            worst(&numbers(logits), reference.logits.concat()),
            HIDDEN,
        );

        let (shape, attention) = golden.tensor("attention_first"); // [texts, heads, length, length]
        let found = classifier
            .attention(&batch, 0)
            .unwrap()
            .narrow(0, 0, shape[0]);
        assert_eq!(found.dims().to_vec(), shape);
        let queries = as_padded.texts()[..shape[0]]
            .iter()
            .flat_map(|text| (0..shape[1] * shape[2]).map(|row| row % shape[2] < text.len()));
        let queries: Vec<bool> = queries.collect();
        let of_queries = |weights: &[f32]| -> Vec<f32> {
            let rows = weights.chunks(shape[3]).zip(&queries);
            rows.filter(|(_, real)| **real)
                .flat_map(|(row, _)| row.to_vec())
                .collect()
        };
        near(
            "attention",
            worst(
                &of_queries(&numbers(found)),
                of_queries(&attention).into_iter().map(f64::from),
            ),
            HIDDEN,
        );
    }
}

fn loss_and_gradients(name: &str) {
    let (Some(golden), Some(device)) = (Golden::find(), on(name)) else {
        return;
    };
    let classifier = golden.classifier(&device).train();
    let device = model::device_of(&classifier);
    let reference = &golden.reference;
    let batch = golden.batch(&reference.texts, false, &device);
    let targets = Tensor::<1, Int>::from_data(&reference.targets[..], &device);
    let loss = learn::cross_entropy(classifier.forward(&batch, &Mode::EVALUATE), targets);
    let found = Gradients::of(&loss, &classifier).norms().unwrap();
    near("loss", worst(&numbers(loss), [reference.loss]), HIDDEN);

    same_norms(&found, &reference.gradient_norms);
}

/// Fails unless every parameter's gradient is as long as in the reference.
fn same_norms(found: &BTreeMap<String, f32>, wanted: &BTreeMap<String, f64>) {
    assert!(
        found.keys().eq(wanted.keys()),
        "other parameters than in transformers"
    );
    let off = |name: &str, found: f32| {
        let wanted = wanted[name];
        let difference = (f64::from(found) - wanted).abs();
        if difference <= NO_GRADIENT {
            0.0
        } else {
            difference / wanted
        }
    };
    let (name, share) = found
        .iter()
        .map(|(name, &norm)| (name, off(name, norm)))
        .reduce(|worst, other| if other.1 <= worst.1 { worst } else { other })
        .unwrap();
    near(
        &format!("gradient norms, the worst that of {name}"),
        share,
        NORM,
    );
}

fn thirty_steps(name: &str) {
    let (Some(golden), Some(device)) = (Golden::find(), on(name)) else {
        return;
    };
    let mut classifier = golden.classifier(&device).train();
    let autodiff = model::device_of(&classifier);
    let reference = &golden.reference;
    let steps = reference.trajectory.len();
    let (texts, targets) = golden.rows(BATCH * steps);
    assert_eq!(
        texts[..BATCH],
        reference.texts,
        "REFIT_GOLDEN_ROWS is not the file that REFIT_GOLDEN was made from"
    );

    let settings = OptimizerSettings::default();
    let schedule = Schedule::new(
        &ScheduleSettings::default(),
        settings.learning_rate,
        steps as u64,
    );
    let mut optimizer = Optimizer::new(&settings, &classifier).unwrap();
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for (step, (texts, targets)) in texts.chunks(BATCH).zip(targets.chunks(BATCH)).enumerate() {
        let batch = golden.batch(texts, false, &autodiff);
        let targets = Tensor::<1, Int>::from_data(targets, &autodiff);
        let loss = learn::cross_entropy(classifier.forward(&batch, &Mode::EVALUATE), targets);
        let gradients = Gradients::of(&loss, &classifier);
        let clip = gradients.clip(settings.max_grad_norm).unwrap();
        let rate = schedule.rate(step as u64);
        let wanted = &reference.trajectory[step];
        assert!(
            (rate - wanted.learning_rate).abs() < 1e-12,
            "step {step}: rate {rate}, {}",
            wanted.learning_rate
        );
        losses.extend(numbers(loss));
        norms.extend(numbers(clip.norm));
        classifier = optimizer.step(classifier, gradients, clip.share, rate);
    }
    near(
        "losses of all steps",
        worst(&losses, reference.trajectory.iter().map(|step| step.loss)),
        LOSS,
    );
    let shares: Vec<f32> = norms
        .iter()
        .zip(&reference.trajectory)
        .map(|(n, r)| n / r.gradient_norm as f32)
        .collect();
    near(
        "gradient norms of all steps",
        worst(&shares, vec![1.0; steps]),
        NORM,
    );
    let batch = golden.batch(&reference.texts, false, &device);
    let logits = numbers(classifier.valid().forward(&batch, &Mode::EVALUATE));
    near(
        "logits afterwards",
        worst(&logits, reference.eval_logits.concat()),
        LOSS,
    );
}

#[test]
fn the_tokenizer_gives_the_ids_of_the_reference() {
    let Some(golden) = Golden::find() else { return };
    let reference = &golden.reference;
    let length = reference.input_ids.iter().map(Vec::len).max().unwrap();
    let mut found = golden.ids(&reference.texts);
    found
        .iter_mut()
        .for_each(|row| row.resize(length, golden.tokenizer.pad_id() as i32));
    assert_eq!(found, reference.input_ids);
}

#[test]
fn flex_gives_the_encoder_outputs_of_the_reference() {
    encoder_outputs("flex");
}

#[test]
fn flex_gives_the_loss_and_every_gradient_of_the_reference() {
    loss_and_gradients("flex");
}

#[test]
fn flex_follows_the_reference_for_thirty_steps() {
    thirty_steps("flex");
}

#[test]
fn ndarray_gives_the_encoder_outputs_of_the_reference() {
    encoder_outputs("ndarray");
}

#[test]
fn ndarray_gives_the_loss_and_every_gradient_of_the_reference() {
    loss_and_gradients("ndarray");
}

#[test]
fn ndarray_follows_the_reference_for_thirty_steps() {
    thirty_steps("ndarray");
}
