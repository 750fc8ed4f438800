//! MPNet, DeBERTa and ModernBERT against transformers, on tiny random weights.
//!
//! Each folder of `tests/fixtures/families` named here holds a model as `save_pretrained` of transformers 5.23 wrote it, and
//! in `numbers.json` what its encoder gives for three texts: hidden states, attention weights of the second text, and the
//! gradients of the sum of all hidden states times [`flow`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use safetensors::SafeTensors;
use serde_json::Value;

use super::bert::Batch;
use super::dropout::Mode;
use super::{Deberta, DebertaConfig, ModernBert, ModernBertConfig, MpNet, MpNetConfig};
use crate::kernels::Spans;

const NAMES: [&str; 6] = [
    "mpnet",
    "deberta-v2",
    "deberta-v2-conv",
    "deberta-v3",
    "modernbert",
    "modernbert-biased",
];

const TRAIN: Mode = Mode::Train { seed: 1, step: 2 };

#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Encoder {
    MpNet(MpNet),
    Deberta(Deberta),
    ModernBert(ModernBert),
}

impl Encoder {
    /// Without its weights, of the `config.json` in `bytes`.
    fn unset(name: &str, bytes: &[u8], device: &Device) -> Encoder {
        let path = Path::new("config.json");
        match prefix(name) {
            "mpnet" => {
                let config = MpNetConfig::parse(path, bytes).unwrap();
                Encoder::MpNet(MpNet::unset(&config, device))
            }
            "deberta" => {
                let config = DebertaConfig::parse(path, bytes).unwrap();
                Encoder::Deberta(Deberta::unset(&config, device))
            }
            _ => {
                let config = ModernBertConfig::parse(path, bytes).unwrap();
                Encoder::ModernBert(ModernBert::unset(&config, device))
            }
        }
    }

    fn device(&self) -> Device {
        match self {
            Encoder::MpNet(encoder) => encoder.device(),
            Encoder::Deberta(encoder) => encoder.device(),
            Encoder::ModernBert(encoder) => encoder.device(),
        }
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        match self {
            Encoder::MpNet(encoder) => encoder.forward(batch, mode),
            Encoder::Deberta(encoder) => encoder.forward(batch, mode),
            Encoder::ModernBert(encoder) => encoder.forward(batch, mode),
        }
    }

    fn first(&self, batch: &Batch, mode: &Mode) -> Tensor<2> {
        match self {
            Encoder::MpNet(encoder) => encoder.first(batch, mode),
            Encoder::Deberta(encoder) => encoder.first(batch, mode),
            Encoder::ModernBert(encoder) => encoder.first(batch, mode),
        }
    }

    fn attention(&self, batch: &Batch, layer: usize) -> Option<Tensor<4>> {
        match self {
            Encoder::MpNet(encoder) => encoder.attention(batch, layer),
            Encoder::Deberta(encoder) => encoder.attention(batch, layer),
            Encoder::ModernBert(encoder) => encoder.attention(batch, layer),
        }
    }
}

/// What the names of an encoder's tensors begin with.
fn prefix(name: &str) -> &'static str {
    match name.split('-').next() {
        Some("mpnet") => "mpnet",
        Some("deberta") => "deberta",
        _ => "model",
    }
}

/// The name in a checkpoint of the parameter at a burn module path of an [`Encoder`].
fn name_of(prefix: &str, path: &[String]) -> String {
    let words = path.iter().skip(1).map(|word| match word.as_str() {
        "self_attention" => "self",
        "layer_norm" => "LayerNorm",
        "gamma" => "weight",
        "beta" => "bias",
        "wqkv" => "Wqkv",
        "wi" => "Wi",
        "wo" => "Wo",
        other => other,
    });
    let words: Vec<&str> = std::iter::once(prefix).chain(words).collect();
    words.join(".")
}

fn transposed(name: &str) -> bool {
    name.ends_with(".weight")
        && !name.contains("_embeddings.")
        && !name.ends_with("relative_attention_bias.weight")
}

/// The values of a parameter in burn's layout from those in a checkpoint's, or the other way round; `shape` is that of the
/// result.
fn turned(name: &str, values: &[f32], shape: &[usize]) -> Vec<f32> {
    match *shape {
        [rows, columns] if transposed(name) => (0..rows * columns)
            .map(|at| values[at % columns * rows + at / columns])
            .collect(),
        _ => values.to_owned(),
    }
}

/// A walk through an encoder's modules.
struct Walk<'a, V> {
    prefix: &'a str,
    path: Vec<String>,
    each: V,
}

/// Takes the values of each parameter from a checkpoint, by name.
struct Set(BTreeMap<String, Vec<f32>>);

impl ModuleMapper for Walk<'_, Set> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = name_of(self.prefix, &self.path);
        let values = self.each.0.remove(&name);
        let values = values.unwrap_or_else(|| panic!("{name} is not in the checkpoint"));
        let shape: Vec<usize> = parameter.lazy_shape().iter().copied().collect();
        let values = turned(&name, &values, &shape);
        let tensor = Tensor::from_data(TensorData::new(values, shape), &parameter.lazy_device());
        let id = parameter.id;
        parameter.transform_for_load(tensor, id)
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

/// Collects the gradient of each parameter in a checkpoint's layout.
struct Collect<'a> {
    gradients: &'a Gradients,
    found: BTreeMap<String, Option<Vec<f32>>>,
}

impl ModuleVisitor for Walk<'_, Collect<'_>> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let name = name_of(self.prefix, &self.path);
        let gradient = parameter.val().grad(self.each.gradients).map(|gradient| {
            let mut shape = gradient.dims().to_vec();
            if D == 2 && transposed(&name) {
                shape.reverse();
            }
            turned(&name, &numbers(gradient), &shape)
        });
        self.each.found.insert(name, gradient);
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}

fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures/families").join(name)
}

/// A model's encoder, its `config.json` changed by `change`. Every tensor of the encoder has a place and every place a
/// tensor.
fn opened(name: &str, device: &Device, change: impl FnOnce(&mut Value)) -> Encoder {
    let bytes = std::fs::read(folder(name).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&bytes).unwrap();
    change(&mut config);
    let encoder = Encoder::unset(name, config.to_string().as_bytes(), device);
    let bytes = std::fs::read(folder(name).join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = file
        .iter()
        .filter(|(tensor, _)| tensor.split('.').next() == Some(prefix(name)))
        .filter(|(tensor, _)| !tensor.contains(".pooler."))
        .map(|(tensor, view)| {
            let values = view.data().as_chunks::<4>().0.iter();
            let values = values.map(|bytes| f32::from_le_bytes(*bytes));
            (tensor.to_owned(), values.collect())
        })
        .collect();
    let mut walk = Walk {
        prefix: prefix(name),
        path: Vec::new(),
        each: Set(values),
    };
    let encoder = encoder.map(&mut walk);
    assert!(walk.each.0.is_empty(), "{name}: {:?}", walk.each.0.keys());
    encoder
}

fn wanted(name: &str) -> Value {
    let text = std::fs::read_to_string(folder(name).join("numbers.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

/// All numbers in a nested list.
fn flat(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(flat).collect(),
        value => vec![value.as_f64().unwrap() as f32],
    }
}

/// The texts one after the other, padded to the longest, and padded further.
fn layouts(wanted: &Value) -> [Spans; 3] {
    let texts = wanted["ids"].as_array().unwrap().iter();
    let lengths: Vec<usize> = texts.map(|text| text.as_array().unwrap().len()).collect();
    let longest = lengths.iter().copied().max().unwrap();
    [
        Spans::packed(lengths.clone()),
        Spans::padded(lengths.clone(), longest),
        Spans::padded(lengths, longest + 3),
    ]
}

fn batch(wanted: &Value, spans: Spans, device: &Device) -> Batch {
    let laid = |field: &str| {
        let mut values = vec![0; spans.rows()];
        let texts = wanted[field].as_array().unwrap();
        for (rows, text) in spans.texts().iter().zip(texts) {
            for (value, wanted) in values[rows.clone()].iter_mut().zip(flat(text)) {
                *value = wanted as i32;
            }
        }
        values
    };
    let (ids, types) = (laid("ids"), laid("type_ids"));
    Batch::new(ids, types, spans, device)
}

/// The rows that belong to texts.
fn real(values: &[f32], spans: &Spans) -> Vec<f32> {
    let width = values.len() / spans.rows();
    let rows = spans.texts().iter().cloned().flatten();
    rows.flat_map(|row| values[row * width..][..width].iter().copied())
        .collect()
}

/// What each hidden state is multiplied with before all are summed, `[tokens, hidden]`; 0 at padding. It counts in texts
/// padded to the longest, as the reference's are.
fn flow(spans: &Spans, width: usize, device: &Device) -> Tensor<2> {
    let mut values = vec![0.0; spans.rows() * width];
    for (text, rows) in spans.texts().iter().enumerate() {
        for (place, row) in rows.clone().enumerate() {
            for column in 0..width {
                let at = (text * spans.longest() + place) * width + column;
                values[row * width + column] = (at * 7919 % 1009) as f32 / 1009.0 - 0.5;
            }
        }
    }
    Tensor::from_data(TensorData::new(values, [spans.rows(), width]), device)
}

fn near(what: &str, found: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (at, (x, y)) in found.iter().zip(wanted).enumerate() {
        assert!(
            (x - y).abs() <= tolerance,
            "{what}, number {at}: {x}, not {y}"
        );
    }
}

/// Every backend of a CPU that this program was built with.
fn devices() -> Vec<Device> {
    let named = ["flex", "ndarray"].map(crate::device::choose);
    named
        .into_iter()
        .flatten()
        .map(|chosen| chosen.device)
        .collect()
}

#[test]
fn hidden_states_are_those_of_transformers() {
    for name in NAMES {
        let wanted = wanted(name);
        let hidden = flat(&wanted["hidden"]);
        for device in devices() {
            let encoder = opened(name, &device, |_| ());
            for spans in layouts(&wanted) {
                let batch = batch(&wanted, spans.clone(), &device);
                for mode in [Mode::Evaluate, TRAIN] {
                    let found = numbers(encoder.forward(&batch, &mode));
                    let what = format!("{name}, {device:?}, {spans:?}, {mode:?}");
                    near(&what, &real(&found, &spans), &hidden, 1e-4);
                    let width = found.len() / spans.rows();
                    let starts = spans.texts().iter().map(|rows| rows.start * width);
                    let starts: Vec<f32> = starts
                        .flat_map(|at| found[at..at + width].iter().copied())
                        .collect();
                    let firsts = numbers(encoder.first(&batch, &mode));
                    near(&what, &firsts, &starts, 1e-5);
                }
            }
        }
    }
}

/// The gradient by each parameter of the sum of all hidden states times [`flow`].
fn gradients(
    encoder: &Encoder,
    batch: &Batch,
    mode: Mode,
    prefix: &str,
) -> BTreeMap<String, Option<Vec<f32>>> {
    let hidden = encoder.forward(batch, &mode);
    let [_, width] = hidden.dims();
    let flow = flow(&batch.spans, width, &encoder.device());
    let tape = (hidden * flow).sum().backward();
    let mut walk = Walk {
        prefix,
        path: Vec::new(),
        each: Collect {
            gradients: &tape,
            found: BTreeMap::new(),
        },
    };
    encoder.visit(&mut walk);
    walk.each.found
}

#[test]
fn gradients_are_those_of_transformers() {
    for name in NAMES {
        let reference = wanted(name);
        let wanted = reference["encoder_gradients"].as_object().unwrap();
        for device in devices() {
            let encoder = opened(name, &device, |_| ()).train();
            let modes = [TRAIN, Mode::Evaluate, TRAIN];
            for (spans, mode) in layouts(&reference).into_iter().zip(modes) {
                let batch = batch(&reference, spans.clone(), &encoder.device());
                let found = gradients(&encoder, &batch, mode, prefix(name));
                assert!(
                    found.keys().eq(wanted.keys().collect::<BTreeSet<_>>()),
                    "{name}"
                );
                for (tensor, wanted) in wanted {
                    let what = format!("{name}, {device:?}, {tensor}, {spans:?}");
                    let found = found[tensor].as_ref();
                    let found = found.unwrap_or_else(|| panic!("{what}: none"));
                    let squares = found.iter().map(|x| f64::from(*x).powi(2));
                    let norm = wanted["norm"].as_f64().unwrap();
                    let off = (squares.sum::<f64>().sqrt() - norm).abs();
                    assert!(
                        off <= 1e-3 * norm + 2e-5,
                        "{what}: the norm is off by {off} of {norm}"
                    );
                    let places = wanted["at"].as_array().unwrap();
                    for (at, value) in places.iter().zip(flat(&wanted["values"])) {
                        let x = found[at.as_u64().unwrap() as usize];
                        let tolerance = 1e-3 * value.abs() + 2e-5 * (norm as f32).max(1.0);
                        assert!(
                            (x - value).abs() <= tolerance,
                            "{what} at {at}: {x}, not {value}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn attention_weights_are_those_of_transformers_and_a_layer_too_many_has_none() {
    for name in NAMES {
        let wanted = wanted(name);
        let layers = wanted["attention"].as_array().unwrap();
        let encoder = opened(name, &Device::flex(), |_| ());
        for spans in layouts(&wanted) {
            let batch = batch(&wanted, spans, &Device::flex());
            for (layer, wanted) in layers.iter().enumerate() {
                let weights = encoder.attention(&batch, layer).unwrap();
                let [_, heads, _, _] = weights.dims();
                let second = weights.slice([1..2, 0..heads, 0..5, 0..5]);
                let what = format!("{name}, layer {layer}");
                near(&what, &numbers(second), &flat(wanted), 1e-5);
            }
            assert!(encoder.attention(&batch, layers.len()).is_none());
        }
    }
}

#[test]
fn every_dropout_drops_in_training_alone_and_by_seed_and_step() {
    let cases = [
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
        let wanted = wanted(name);
        let [spans, ..] = layouts(&wanted);
        let mut by_device = Vec::new();
        for device in devices() {
            let encoder = opened(name, &device, |config| config[field] = 0.3.into());
            let batch = batch(&wanted, spans.clone(), &device);
            let hidden = |mode| numbers(encoder.forward(&batch, &mode));
            let train = |seed, step| hidden(Mode::Train { seed, step });
            let what = format!("{name}, {field}");
            let plain = hidden(Mode::Evaluate);
            near(&what, &plain, &flat(&wanted["hidden"]), 1e-4);
            let once = train(1, 1);
            assert_eq!(once, train(1, 1), "{what}");
            for other in [plain, train(1, 2), train(2, 1)] {
                assert_ne!(once, other, "{what}");
            }
            by_device.push(once);
        }
        for other in &by_device[1..] {
            near(&format!("{name}, {field}"), other, &by_device[0], 1e-4);
        }
    }
}

#[test]
fn one_token_and_the_longest_text_have_hidden_states() {
    for name in NAMES {
        for device in devices() {
            let encoder = opened(name, &device, |_| ());
            let longest = if name == "mpnet" { 58 } else { 64 };
            let spans = Spans::packed([1, longest, 1]);
            let ids = (0..spans.rows()).map(|row| 5 + row as i32 % 70).collect();
            let types = vec![0; spans.rows()];
            let batch = Batch::new(ids, types, spans, &device);
            let hidden = numbers(encoder.forward(&batch, &TRAIN));
            assert!(hidden.iter().all(|x| x.is_finite()), "{name}");
        }
    }
}
