//! The numbers of transformers, for a tiny random model of every family: `tests/fixtures/families/NAME`.
//!
//! Each folder holds a model for classification as `save_pretrained` wrote it, and in `numbers.json` what transformers 5.23
//! computes with it for three texts of unequal length: hidden states, logits, loss and gradients; logits of heads over
//! tokens, whose weights stand beside them, on the same encoder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::{Module, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Gradients, Int, Tensor};
use serde::Deserialize;

use crate::device::{self, Chosen};
use crate::kernels::Spans;
use crate::model::names::transposed;
use crate::model::{
    Batch, Classifier, EncoderFiles, HeadKind, Mode, Pooling, VisitParameters, named_parameters,
    set_tensors, visit_parameters,
};

/// Every folder of numbers.
const MODELS: [&str; 13] = [
    "bert",
    "roberta",
    "xlm-roberta",
    "electra",
    "distilbert",
    "albert",
    "albert-groups",
    "mpnet",
    "deberta-v2",
    "deberta-v2-conv",
    "deberta-v3",
    "modernbert",
    "modernbert-biased",
];
const LABELS: usize = 3;
const HIDDEN: f64 = 1e-4;
/// Of a gradient's norm; where there is none but rounding (a key's bias), the absolute bound holds.
const GRADIENT: f64 = 1e-3;
const NO_GRADIENT: f64 = 1e-6;

#[derive(Deserialize)]
struct Numbers {
    ids: Vec<Vec<i32>>,
    type_ids: Vec<Vec<i32>>,
    labels: Vec<i32>,
    /// `[texts][tokens][hidden]`, without padding, as those below.
    hidden: Vec<Vec<Vec<f64>>>,
    logits: Vec<Vec<f64>>,
    loss: f64,
    gradients: BTreeMap<String, Gradient>,
    heads: Heads,
    token_logits: Vec<Vec<Vec<f64>>>,
    answer_logits: Vec<Vec<Vec<f64>>>,
}

#[derive(Deserialize)]
struct Gradient {
    norm: f64,
    at: Vec<usize>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct Heads {
    token: BTreeMap<String, Vec<f32>>,
    answer: BTreeMap<String, Vec<f32>>,
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/families")
        .join(name)
}

fn reference(name: &str) -> Numbers {
    let text = std::fs::read_to_string(folder(name).join("numbers.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn loaded(name: &str, head: &HeadKind, device: &Device) -> Classifier {
    let files = EncoderFiles::in_folder(&folder(name));
    let (classifier, _, report) = Classifier::pretrained(&files, head, 1, device).unwrap();
    let encoder = named_parameters(&classifier).len() - report.initialised.len();
    assert_eq!(report.loaded, encoder, "{name}");
    classifier
}

/// The model for classification, with the head that the file has.
fn whole(name: &str, device: &Device) -> Classifier {
    let head = HeadKind::Texts {
        outputs: LABELS,
        pooling: Pooling::Pooler,
        dropout: None,
    };
    let classifier = loaded(name, &head, device);
    let bytes = std::fs::read(folder(name).join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = file.iter().map(|(name, view)| {
        let values = view.data().as_chunks::<4>().0;
        let values = values.iter().map(|&value| f32::from_le_bytes(value));
        (name.to_owned(), values.collect())
    });
    let values: BTreeMap<String, Vec<f32>> = values.collect();
    assert_eq!(values.len(), named_parameters(&classifier).len(), "{name}");
    set_tensors(classifier, values).unwrap()
}

fn batch(numbers: &Numbers, padded: bool, device: &Device) -> Batch {
    let lengths = numbers.ids.iter().map(Vec::len);
    let spans = match padded {
        true => Spans::padded(lengths.clone(), lengths.max().unwrap() + 2),
        false => Spans::packed(lengths),
    };
    let (mut ids, mut types) = (vec![0; spans.rows()], vec![0; spans.rows()]);
    for (text, rows) in spans.texts().iter().enumerate() {
        ids[rows.clone()].copy_from_slice(&numbers.ids[text]);
        types[rows.clone()].copy_from_slice(&numbers.type_ids[text]);
    }
    Batch::new(ids, types, spans, device)
}

/// The rows of `tensor` that belong to texts, in order.
fn real(tensor: Tensor<2>, spans: &Spans) -> Vec<f64> {
    let [_, width] = tensor.dims();
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    spans
        .texts()
        .iter()
        .flat_map(|rows| &values[rows.start * width..rows.end * width])
        .map(|&value| f64::from(value))
        .collect()
}

fn numbers_of<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    values.into_iter().map(f64::from).collect()
}

fn flat(texts: &[Vec<Vec<f64>>]) -> Vec<f64> {
    texts.iter().flatten().flatten().copied().collect()
}

#[track_caller]
fn assert_close(found: &[f64], wanted: &[f64], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let worst = found
        .iter()
        .zip(wanted)
        .map(|(found, wanted)| (found - wanted).abs())
        .fold(0.0, f64::max);
    assert!(worst < HIDDEN, "{what}: {worst}");
}

/// Does something on every CPU device of this build, with texts packed and padded.
fn everywhere(each: impl Fn(&str, &Device, bool)) {
    for name in ["flex", "ndarray"] {
        let Ok(Chosen { device, .. }) = device::choose(name) else {
            eprintln!("this build has no {name}: skipped");
            continue;
        };
        for padded in [false, true] {
            each(name, &device, padded);
        }
    }
}

const MODES: [Mode; 2] = [Mode::Evaluate, Mode::Train { seed: 1, step: 1 }];

#[test]
fn hidden_states_and_logits_are_those_of_transformers() {
    for name in MODELS {
        let numbers = reference(name);
        let logits: Vec<f64> = numbers.logits.iter().flatten().copied().collect();
        everywhere(|backend, device, padded| {
            let model = whole(name, device);
            let batch = batch(&numbers, padded, device);
            for mode in MODES {
                let what = format!("{name}, {backend}, padded: {padded}, {mode:?}");
                let hidden = model.hidden(&batch, &mode);
                assert_close(&real(hidden, &batch.spans), &flat(&numbers.hidden), &what);
                assert_close(&numbers_of(model.forward(&batch, &mode)), &logits, &what);
            }
        });
    }
}

#[test]
fn heads_over_tokens_are_those_of_transformers() {
    for name in MODELS {
        let numbers = reference(name);
        let tokens = HeadKind::Tokens {
            outputs: LABELS,
            crf: false,
            dropout: None,
        };
        let heads = [
            (tokens, &numbers.heads.token, &numbers.token_logits),
            (
                HeadKind::Spans,
                &numbers.heads.answer,
                &numbers.answer_logits,
            ),
        ];
        for (head, weights, wanted) in heads {
            everywhere(|backend, device, padded| {
                let model = loaded(name, &head, device);
                let model = set_tensors(model, weights.clone()).unwrap();
                let batch = batch(&numbers, padded, device);
                for mode in MODES {
                    let found = real(model.forward(&batch, &mode), &batch.spans);
                    let what = format!("{name}, {backend}, padded: {padded}, {head:?}");
                    assert_close(&found, &flat(wanted), &what);
                }
            });
        }
    }
}

/// What was found of a model's gradients: name → values in a checkpoint's layout.
struct Found<'a> {
    gradients: &'a Gradients,
    shapes: BTreeMap<String, Vec<usize>>,
    values: BTreeMap<String, Vec<f64>>,
}

impl VisitParameters for Found<'_> {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
        let Some(gradient) = parameter.val().grad(self.gradients) else {
            return;
        };
        let here: Vec<usize> = gradient.dims().to_vec();
        let values = numbers_of(gradient);
        let turned = transposed(name);
        assert_eq!(
            self.shapes[name].iter().product::<usize>(),
            values.len(),
            "{name}"
        );
        let values = match here[..] {
            [rows, columns] if turned => (0..columns)
                .flat_map(|column| (0..rows).map(move |row| row * columns + column))
                .map(|at| values[at])
                .collect(),
            _ => values,
        };
        self.values.insert(name.to_owned(), values);
    }
}

#[test]
fn loss_and_gradients_are_those_of_transformers() {
    for name in MODELS {
        let numbers = reference(name);
        everywhere(|backend, device, padded| {
            let model = whole(name, device).train();
            let batch = batch(&numbers, padded, device);
            for mode in MODES {
                let what = format!("{name}, {backend}, padded: {padded}, {mode:?}");
                let logits = model.forward(&batch, &mode); // [texts, labels]
                let labels = Tensor::<1, Int>::from_data(numbers.labels.as_slice(), device);
                let labels = labels.unsqueeze_dim::<2>(1); // [texts, 1]
                let loss = log_softmax(logits, 1).gather(1, labels).mean().neg();
                let found = numbers_of(loss.clone())[0];
                assert!((found - numbers.loss).abs() < HIDDEN, "{what}: {found}");
                let parameters = named_parameters(&model).into_iter();
                let mut gradients = Found {
                    gradients: &loss.backward(),
                    shapes: parameters.map(|p| (p.name, p.shape)).collect(),
                    values: BTreeMap::new(),
                };
                visit_parameters(&model, &mut gradients);
                for (tensor, wanted) in &numbers.gradients {
                    let values = &gradients.values[tensor];
                    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
                    let bound = GRADIENT * wanted.norm + NO_GRADIENT;
                    assert!(
                        (norm - wanted.norm).abs() < bound,
                        "{what}: {tensor} has norm {norm}, wanted {}",
                        wanted.norm
                    );
                    for (&at, &value) in wanted.at.iter().zip(&wanted.values) {
                        assert!(
                            (values[at] - value).abs() < bound,
                            "{what}: {tensor}[{at}] is {}, wanted {value}",
                            values[at]
                        );
                    }
                }
            }
        });
    }
}

#[test]
fn a_first_token_comes_out_the_same_where_only_it_is_computed() {
    let device = Device::flex();
    for name in MODELS {
        let numbers = reference(name);
        let model = whole(name, &device);
        let batch = batch(&numbers, false, &device);
        let hidden = model.hidden(&batch, &Mode::Evaluate);
        let [_, width] = hidden.dims();
        let firsts = batch.spans.texts().iter().map(|rows| rows.start as i32);
        let firsts: Vec<i32> = firsts.collect();
        let all = hidden.select(0, Tensor::<1, Int>::from_data(firsts.as_slice(), &device));
        let first = model.encoder.first(&batch, &Mode::Evaluate);
        assert_eq!(first.dims(), [firsts.len(), width]);
        assert_close(&numbers_of(first), &numbers_of(all), name);
    }
}
