//! Against transformers, against differences, and that the parts make the whole.
//!
//! `tests/fixtures/attributions_transformers.json` holds what transformers 5.23 and PyTorch's autograd give for the tiny
//! models of `tests/fixtures/families`: both attributions of a logit to the tokens of the second text, with special tokens
//! first and last.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::model::{
    EncoderFiles, HeadKind, HeadSettings, REFERENCE_MODELS, reference_model, set_tensors,
};
use crate::text::{Encoded, Tokenizer};

#[derive(Deserialize)]
struct Reference {
    text: usize,
    label: usize,
    steps: usize,
    models: BTreeMap<String, Numbers>,
}

#[derive(Deserialize)]
struct Numbers {
    pad_id: u32,
    value: f64,
    baseline: f64,
    gradient_x_input: Vec<f64>,
    integrated_gradients: Vec<f64>,
}

fn json_at(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(path);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

struct Row {
    ids: Vec<u32>,
    type_ids: Vec<u8>,
}

impl Row {
    fn of(name: &str, text: usize) -> Row {
        let numbers = json_at(&format!("families/{name}/numbers.json"));
        Row {
            ids: serde_json::from_value(numbers["ids"][text].clone()).unwrap(),
            type_ids: serde_json::from_value(numbers["type_ids"][text].clone()).unwrap(),
        }
    }

    /// All tokens but the first and the last.
    fn is_text(&self) -> Vec<bool> {
        let last = self.ids.len() - 1;
        (0..=last).map(|token| 0 < token && token < last).collect()
    }
}

impl Rows for Row {
    fn rows(&self) -> usize {
        1
    }
    fn ids(&self, _: usize) -> &[u32] {
        &self.ids
    }
    fn type_ids(&self, _: usize) -> &[u8] {
        &self.type_ids
    }
    fn label(&self, _: usize) -> Option<u32> {
        None
    }
    fn id(&self, _: usize) -> u64 {
        0
    }
}

fn go_on(_: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[track_caller]
fn assert_close(found: &[f64], wanted: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(
            (found - wanted).abs() < bound,
            "{what}: {found} is not {wanted}"
        );
    }
}

#[test]
fn attributions_in_every_family_are_those_of_transformers() {
    let reference: Reference =
        serde_json::from_value(json_at("attributions_transformers.json")).unwrap();
    let device = Device::flex();
    for name in REFERENCE_MODELS {
        let wanted = &reference.models[name];
        let model = reference_model(name, &device);
        let row = Row::of(name, reference.text);
        // Not as many at once as there are steps, so that they come in several batches.
        let explainer = Explainer::new(&model, wanted.pad_id, 3 * row.ids.len(), &device);
        let output = [(0, reference.label)];
        let (is_text, steps) = (row.is_text(), reference.steps);
        let found = explainer.attribute(&row, 0, &output, &is_text, steps, &mut go_on);
        let found = found.unwrap();
        let ends = [found.value, found.baseline];
        assert_close(&ends, &[wanted.value, wanted.baseline], 1e-5, name);
        assert_close(
            &found.gradient_x_input,
            &wanted.gradient_x_input,
            1e-5,
            &format!("gradient x input of {name}"),
        );
        assert_close(
            &found.integrated_gradients,
            &wanted.integrated_gradients,
            1e-5,
            &format!("integrated gradients of {name}"),
        );
        let last = row.ids.len() - 1;
        let special = [0, last].map(|token| found.integrated_gradients[token]);
        assert_eq!(
            special,
            [0.0, 0.0],
            "{name}: special tokens stay as they are"
        );
    }
    assert_eq!(reference.models.len(), REFERENCE_MODELS.len());
}

#[test]
fn attention_has_every_layer_and_head_and_each_token_shares_out_all_of_its_own() {
    let device = Device::flex();
    for name in REFERENCE_MODELS {
        let model = reference_model(name, &device);
        let row = Row::of(name, 1);
        let explainer = Explainer::new(&model, 0, 64, &device);
        let tokens = row.ids.len();
        let whole = explainer.attention(&row, 0, |_| tokens).unwrap().unwrap();
        assert_eq!(
            whole.weights.len(),
            whole.layers * whole.heads * tokens * tokens,
            "{name}"
        );
        for of_token in whole.weights.chunks(tokens) {
            assert!((of_token.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{name}");
        }
        let numbers = json_at(&format!("families/{name}/numbers.json"));
        let wanted: Vec<Vec<Vec<Vec<f32>>>> =
            serde_json::from_value(numbers["attention"].clone()).unwrap();
        let wanted: Vec<f32> = wanted.into_iter().flatten().flatten().flatten().collect();
        for (found, wanted) in whole.weights.iter().zip(&wanted) {
            assert!(
                (found - wanted).abs() < 1e-5,
                "{name}: {found} is not {wanted}"
            );
        }
        assert_eq!(whole.weights.len(), wanted.len(), "{name}");
        let part = explainer.attention(&row, 0, |_| 2).unwrap().unwrap();
        assert_eq!(part.weights[..2], whole.weights[..2], "{name}");
        assert_eq!(
            part.weights[2..4],
            whole.weights[tokens..tokens + 2],
            "{name}"
        );
    }
}

#[test]
fn a_stop_between_steps_is_obeyed() {
    let device = Device::flex();
    let model = reference_model("bert", &device);
    let row = Row::of("bert", 1);
    let explainer = Explainer::new(&model, 0, 1, &device);
    let mut done = 0;
    let on_steps = &mut |steps: usize| {
        done += steps;
        match done {
            2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    let stopped = explainer.attribute(&row, 0, &[(0, 1)], &row.is_text(), 9, on_steps);
    assert!(matches!(stopped, Err(LearnError::Interrupted)));
    assert_eq!(done, 2);
}

/// MiniLM with a new head, and the tokens of a text and of a pair.
fn pretrained(head: &HeadKind, device: &Device) -> Option<(Classifier, Encoded)> {
    let Some(assets) = std::env::var_os("REFIT_TEST_ASSETS") else {
        eprintln!("REFIT_TEST_ASSETS is not set: skipped");
        return None;
    };
    let folder = Path::new(&assets).join("models/all-MiniLM-L6-v2");
    let files = EncoderFiles::in_folder(&folder);
    let (model, _, _) = Classifier::pretrained(&files, head, 5, device).unwrap();
    // A new head's weights are small, and so would be all that is explained.
    let (outputs, width) = (head.outputs().unwrap(), 384);
    let weight = (0..outputs * width).map(|i| ((i * 7919 % 1009) as f32 / 1009.0 - 0.5) * 0.6);
    let name = match head {
        HeadKind::Spans => "qa_outputs.weight",
        _ => "classifier.weight",
    };
    let weights = [(name.to_owned(), weight.collect())];
    let model = set_tensors(model, weights.into_iter().collect()).unwrap();
    let tokenizer = Tokenizer::open(&folder).unwrap();
    let texts = [
        ("Stocks rallied on Wall Street as oil prices fell.", None),
        (
            "Who won the cup?",
            Some("The cup was won by Uruguay in 1930."),
        ),
    ];
    let texts = texts.map(|(text, pair)| (text.to_owned(), pair.map(str::to_owned)));
    Some((model, tokenizer.encode(&texts, 64).unwrap()))
}

fn is_text(rows: &Encoded, row: usize) -> Vec<bool> {
    // [CLS] and [SEP] of MiniLM.
    rows.ids(row)
        .iter()
        .map(|id| ![101, 102].contains(id))
        .collect()
}

#[test]
fn integrated_gradients_of_a_pretrained_model_sum_to_the_difference_of_outputs() {
    let device = Device::flex();
    let texts = HeadSettings::default().over_texts(3);
    let tokens = HeadSettings::default().over_tokens(3, false);
    let heads: [(HeadKind, &Output); 3] = [
        (texts, &[(0, 1)]),
        (tokens, &[(4, 2)]),
        (HeadKind::Spans, &[(3, 0), (5, 1)]),
    ];
    for (head, output) in heads {
        let Some((model, rows)) = pretrained(&head, &device) else {
            return;
        };
        let explainer = Explainer::new(&model, 0, 1024, &device);
        for row in 0..rows.rows() {
            let is_text = is_text(&rows, row);
            let found = explainer.attribute(&rows, row, output, &is_text, 48, &mut go_on);
            let found = found.unwrap();
            let whole = (found.value - found.baseline).abs();
            assert!(whole > 0.01, "{head:?}, {row}: nothing to explain");
            let delta = found.delta();
            assert!(
                delta < 0.02_f64.max(0.05 * whole),
                "{head:?}, row {row}: {delta} of {whole}"
            );
        }
    }
}

#[test]
fn gradients_by_words_are_what_differences_are() {
    let device = Device::flex();
    let Some((model, rows)) = pretrained(&HeadSettings::default().over_texts(3), &device) else {
        return;
    };
    let explainer = Explainer::new(&model, 0, 1024, &device);
    let (row, output, step) = (1, [(0, 0)], 1e-2);
    let is_text = is_text(&rows, row);
    let token = 3;
    // On the way of one word alone the derivative of the output is that word's product.
    let one: Vec<bool> = (0..is_text.len()).map(|at| at == token).collect();
    for share in [0.3, 0.9] {
        let shares = [share - step, share, share + step];
        let found = explainer.on_the_way(&rows, row, &output, &one, &shares);
        let (values, products) = found.unwrap();
        let difference = (values[2] - values[0]) / f64::from(2.0 * step);
        let product = f64::from(products[1][token]);
        assert!(
            (difference - product).abs() < 0.02 * product.abs().max(0.05),
            "at {share}: {difference} is not {product}"
        );
    }
}

#[test]
fn a_row_without_tokens_has_a_number_and_nothing_that_adds_to_it() {
    let device = Device::flex();
    let model = reference_model(REFERENCE_MODELS[0], &device);
    let row = Row {
        ids: Vec::new(),
        type_ids: Vec::new(),
    };
    let explainer = Explainer::new(&model, 0, 8, &device);
    let found = explainer.attribute(&row, 0, &[(0, 0)], &[], 2, &mut go_on);
    let found = found.unwrap();
    assert!(found.delta() < 1e-5, "{found:?}");
    assert!(found.gradient_x_input.is_empty() && found.integrated_gradients.is_empty());
}
