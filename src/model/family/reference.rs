//! The numbers of transformers, for a tiny random model of every family: `tests/fixtures/families/NAME`.
//!
//! Each folder holds a model for classification as `save_pretrained` wrote it, and in `numbers.json` what transformers 5.23
//! computes with it for three texts of unequal length: hidden states, logits, loss and gradients; logits of heads over
//! tokens, whose weights stand beside them, on the same encoder; the attention weights of the second text; the encoder's
//! gradients by all hidden states (see `gradients`); and of families whose positions begin after the padding token's id, the
//! hidden states of texts that hold this token.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::{Device, Int, Tensor};
use serde::Deserialize;
use serde_json::Value;

use crate::device::{self, Chosen};
use crate::kernels::Spans;
use crate::model::{
    Batch, Classifier, EncoderConfig, EncoderFiles, Family, HeadKind, Mode, Pooling, Stack,
    named_parameters, set_tensors,
};

mod gradients;

/// Every folder of numbers.
pub(crate) const MODELS: [&str; 13] = [
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
const ATTENTION: f64 = 1e-5;

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
    /// `[layers][heads][tokens][tokens]` of the second text.
    attention: Vec<Vec<Vec<Vec<f64>>>>,
    encoder_gradients: BTreeMap<String, Gradient>,
    padding_inside: Option<Texts>,
}

#[derive(Deserialize)]
struct Texts {
    ids: Vec<Vec<i32>>,
    hidden: Vec<Vec<Vec<f64>>>,
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

/// The configuration of some model of the family.
pub(crate) fn config_of(family: Family) -> EncoderConfig {
    let read = |name: &str| EncoderConfig::read(&folder(name).join("config.json")).unwrap();
    let mut configs = MODELS.into_iter().map(read);
    configs.find(|config| config.family == family).unwrap()
}

fn reference(name: &str) -> Numbers {
    let text = std::fs::read_to_string(folder(name).join("numbers.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn loaded(name: &str, head: &HeadKind, device: &Device) -> Classifier {
    opened(name, &EncoderFiles::in_folder(&folder(name)), head, device)
}

fn opened(name: &str, files: &EncoderFiles, head: &HeadKind, device: &Device) -> Classifier {
    let (classifier, _, report) = Classifier::pretrained(files, head, 1, device).unwrap();
    let encoder = named_parameters(&classifier).len() - report.initialised.len();
    assert_eq!(report.loaded, encoder, "{name}");
    classifier
}

/// The model for classification, with the head that the file has.
pub(crate) fn whole(name: &str, device: &Device) -> Classifier {
    let head = HeadKind::Texts {
        outputs: LABELS,
        pooling: Pooling::Pooler,
        dropout: None,
        stack: Stack::default(),
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
    laid_out(&numbers.ids, &numbers.type_ids, padded, device)
}

fn laid_out(texts: &[Vec<i32>], types: &[Vec<i32>], padded: bool, device: &Device) -> Batch {
    let lengths = texts.iter().map(Vec::len);
    let spans = match padded {
        true => Spans::padded(lengths.clone(), lengths.max().unwrap() + 2),
        false => Spans::packed(lengths),
    };
    let (mut ids, mut type_ids) = (vec![0; spans.rows()], vec![0; spans.rows()]);
    for (text, rows) in spans.texts().iter().enumerate() {
        ids[rows.clone()].copy_from_slice(&texts[text]);
        type_ids[rows.clone()].copy_from_slice(&types[text]);
    }
    Batch::new(ids, type_ids, spans, device)
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
    assert_within(HIDDEN, found, wanted, what);
}

#[track_caller]
fn assert_within(bound: f64, found: &[f64], wanted: &[f64], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let worst = found
        .iter()
        .zip(wanted)
        .map(|(found, wanted)| (found - wanted).abs())
        .fold(0.0, f64::max);
    assert!(worst < bound, "{what}: {worst}");
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

const MODES: [Mode; 2] = [Mode::EVALUATE, Mode::train(1, 1)];

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
            stack: Stack::default(),
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

#[test]
fn attention_weights_are_those_of_transformers_and_a_layer_too_many_has_none() {
    for name in MODELS {
        let numbers = reference(name);
        let tokens = numbers.ids[1].len();
        everywhere(|backend, device, padded| {
            let model = whole(name, device);
            let batch = batch(&numbers, padded, device);
            for (layer, wanted) in numbers.attention.iter().enumerate() {
                let weights = model.attention(&batch, layer).unwrap(); // [texts, heads, length, length]
                let [_, heads, _, _] = weights.dims();
                let second = weights.slice([1..2, 0..heads, 0..tokens, 0..tokens]);
                let what = format!("{name}, {backend}, padded: {padded}, layer {layer}");
                assert_within(ATTENTION, &numbers_of(second), &flat(wanted), &what);
            }
            let layers = numbers.attention.len();
            assert!(model.attention(&batch, layers).is_none(), "{name}");
        });
    }
}

#[test]
fn a_padding_token_within_a_text_has_paddings_place_as_in_transformers() {
    let mut tried = Vec::new();
    for name in MODELS {
        let Some(texts) = reference(name).padding_inside else {
            continue;
        };
        tried.push(name);
        let types: Vec<Vec<i32>> = texts.ids.iter().map(|ids| vec![0; ids.len()]).collect();
        everywhere(|backend, device, padded| {
            let model = whole(name, device);
            let batch = laid_out(&texts.ids, &types, padded, device);
            let hidden = model.hidden(&batch, &Mode::EVALUATE);
            let what = format!("{name}, {backend}, padded: {padded}");
            assert_close(&real(hidden, &batch.spans), &flat(&texts.hidden), &what);
        });
    }
    assert_eq!(tried, ["roberta", "xlm-roberta", "mpnet"]);
}

#[test]
fn a_first_token_comes_out_the_same_where_only_it_is_computed() {
    let device = Device::flex();
    for name in MODELS {
        let numbers = reference(name);
        let model = whole(name, &device);
        let batch = batch(&numbers, false, &device);
        let hidden = model.hidden(&batch, &Mode::EVALUATE);
        let [_, width] = hidden.dims();
        let firsts = batch.spans.texts().iter().map(|rows| rows.start as i32);
        let firsts: Vec<i32> = firsts.collect();
        let all = hidden.select(0, Tensor::<1, Int>::from_data(firsts.as_slice(), &device));
        let first = model.encoder.first(&batch, None, &Mode::EVALUATE);
        assert_eq!(first.dims(), [firsts.len(), width]);
        assert_close(&numbers_of(first), &numbers_of(all), name);
    }
}

/// Heads that read several layers or have dense layers of their own, as transformers' encoders and torch compute them:
/// `stacked_heads_transformers.json`. Every tensor of a head has the values `sin(0.9 i + length of its name) / 2`.
#[derive(Deserialize)]
struct Stacked {
    cases: Vec<Case>,
    /// By model, one list for each case: `[texts or tokens][labels]`.
    logits: BTreeMap<String, Vec<Vec<Vec<f64>>>>,
}

#[derive(Deserialize)]
struct Case {
    /// `None` for a head over tokens.
    pooling: Option<Pooling>,
    stack: Stack,
}

#[test]
fn heads_on_a_stack_are_what_transformers_hidden_states_give() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/stacked_heads_transformers.json");
    let stacked: Stacked = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for name in MODELS {
        let numbers = reference(name);
        for (case, wanted) in stacked.cases.iter().zip(&stacked.logits[name]) {
            let (stack, dropout) = (case.stack.clone(), None);
            let head = match case.pooling {
                Some(pooling) => HeadKind::Texts {
                    outputs: LABELS,
                    pooling,
                    dropout,
                    stack,
                },
                None => HeadKind::Tokens {
                    outputs: LABELS,
                    crf: false,
                    dropout,
                    stack,
                },
            };
            let wanted: Vec<f64> = wanted.iter().flatten().copied().collect();
            everywhere(|backend, device, padded| {
                let model = loaded(name, &head, device);
                let ours = named_parameters(&model).into_iter().filter(|parameter| {
                    parameter.name.starts_with("mlp") || parameter.name.starts_with("classifier")
                });
                let values = ours.map(|parameter| {
                    let shift = parameter.name.len() as f64;
                    let value = |i: usize| ((0.9 * i as f64 + shift).sin() * 0.5) as f32;
                    let length = parameter.shape.iter().product();
                    (parameter.name, (0..length).map(value).collect())
                });
                let values = values.collect();
                let model = set_tensors(model, values).unwrap();
                let batch = batch(&numbers, padded, device);
                let found = model.forward(&batch, &Mode::EVALUATE);
                let found = match case.pooling {
                    Some(_) => numbers_of(found),
                    None => real(found, &batch.spans),
                };
                let what = format!("{name}, {backend}, padded: {padded}, {head:?}");
                assert_close(&found, &wanted, &what);
            });
        }
    }
}

/// The model with one field of its `config.json` set to another value.
fn with_field(name: &str, field: &str, value: Value, device: &Device) -> Classifier {
    let files = EncoderFiles::in_folder(&folder(name));
    let mut config: Value = serde_json::from_slice(&std::fs::read(&files.config).unwrap()).unwrap();
    assert!(config.get(field).is_some(), "{name} has no {field}");
    config[field] = value;
    let changed = tempfile::tempdir().unwrap();
    let path = changed.path().join("config.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let files = EncoderFiles {
        config: path,
        ..files
    };
    let tokens = HeadKind::Tokens {
        outputs: LABELS,
        crf: false,
        dropout: None,
        stack: Stack::default(),
    };
    opened(name, &files, &tokens, device)
}

#[test]
fn every_dropout_drops_in_training_alone_and_by_seed_and_step() {
    let cases = [
        ("bert", "hidden_dropout_prob"),
        ("bert", "attention_probs_dropout_prob"),
        ("roberta", "hidden_dropout_prob"),
        ("electra", "attention_probs_dropout_prob"),
        ("distilbert", "dropout"),
        ("distilbert", "attention_dropout"),
        ("albert", "hidden_dropout_prob"),
        ("albert", "attention_probs_dropout_prob"),
        ("mpnet", "hidden_dropout_prob"),
        ("mpnet", "attention_probs_dropout_prob"),
        ("deberta-v3", "hidden_dropout_prob"),
        ("deberta-v3", "attention_probs_dropout_prob"),
        ("deberta-v2-conv", "hidden_dropout_prob"),
        ("modernbert", "attention_dropout"),
        ("modernbert", "embedding_dropout"),
        ("modernbert", "mlp_dropout"),
    ];
    for (name, field) in cases {
        let numbers = reference(name);
        let mut by_device: Vec<Vec<f64>> = Vec::new();
        for backend in ["flex", "ndarray"] {
            let Ok(Chosen { device, .. }) = device::choose(backend) else {
                continue;
            };
            let model = with_field(name, field, 0.3.into(), &device);
            let batch = batch(&numbers, false, &device);
            let hidden = |mode| numbers_of(model.hidden(&batch, &mode));
            let train = |seed, step| hidden(Mode::train(seed, step));
            let what = format!("{name}, {field}, {backend}");
            let plain = hidden(Mode::EVALUATE);
            assert_close(&plain, &flat(&numbers.hidden), &what);
            let once = train(1, 1);
            assert_eq!(once, train(1, 1), "{what}");
            for other in [plain, train(1, 2), train(2, 1)] {
                assert_ne!(once, other, "{what}");
            }
            by_device.push(once);
        }
        for other in &by_device[1..] {
            assert_close(other, &by_device[0], &format!("{name}, {field}"));
        }
    }
}

#[test]
fn one_token_and_the_longest_text_have_hidden_states() {
    for name in MODELS {
        let config = EncoderConfig::read(&folder(name).join("config.json")).unwrap();
        everywhere(|_, device, _| {
            let model = whole(name, device);
            let spans = Spans::packed([1, config.longest(), 1]);
            let vocabulary = config.vocab_size as i32 - 5;
            let ids = (0..spans.rows()).map(|row| 5 + row as i32 % vocabulary);
            let batch = Batch::new(ids.collect(), vec![0; spans.rows()], spans, device);
            for mode in MODES {
                let hidden = numbers_of(model.hidden(&batch, &mode));
                assert!(hidden.iter().all(|x| x.is_finite()), "{name}");
            }
        });
    }
}
