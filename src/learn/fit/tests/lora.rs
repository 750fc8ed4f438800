//! LoRA in a training: PEFT's numbers, and what of a model learns.

use std::collections::BTreeSet;
use std::path::PathBuf;

use burn::tensor::Int;
use burn::tensor::activation::log_softmax;
use serde::Deserialize;

use super::*;
use crate::kernels::Spans;
use crate::learn::{Gradients, OptimizerSettings};
use crate::model::{Batch, EncoderFiles, LoraSettings, Mode};

/// What PEFT and torch compute with the models of `tests/fixtures/families`, adapted: `lora_peft.json`. Before it, all that
/// learns has the values `0.3 sin(0.7 i + length of its name)`, laid out as in a checkpoint.
#[derive(Deserialize)]
struct Reference {
    rank: usize,
    alpha: f64,
    learning_rate: f64,
    weight_decay: f64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    model: String,
    target: Vec<String>,
    logits: Vec<Vec<f32>>,
    loss: f32,
    gradients: BTreeMap<String, Gradient>,
    /// The first values of what learned, after one step of AdamW.
    after: BTreeMap<String, Vec<f32>>,
    logits_after: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Gradient {
    norm: f32,
    /// The first of them.
    values: Vec<f32>,
}

/// The texts of a model's fixture, and their labels.
#[derive(Deserialize)]
struct Texts {
    ids: Vec<Vec<i32>>,
    type_ids: Vec<Vec<i32>>,
    labels: Vec<i32>,
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn reference() -> Reference {
    serde_json::from_slice(&std::fs::read(folder("lora_peft.json")).unwrap()).unwrap()
}

fn texts(name: &str) -> (Batch, Vec<i32>) {
    let path = folder("families").join(name).join("numbers.json");
    let texts: Texts = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let spans = Spans::packed(texts.ids.iter().map(Vec::len));
    let (ids, types) = (texts.ids.concat(), texts.type_ids.concat());
    (Batch::new(ids, types, spans, &Device::flex()), texts.labels)
}

/// The model of a fixture with a new head, adapted.
fn adapted(name: &str, settings: &LoraSettings) -> Classifier {
    let files = EncoderFiles::in_folder(&folder("families").join(name));
    let head = HeadSettings::default().over_texts(3);
    let (model, config, report) =
        Classifier::pretrained(&files, &head, 1, &Device::flex()).unwrap();
    // The fixtures of families are whole models, of which PEFT keeps what is not the head's.
    model::adapt(model, &config, settings, &report.initialised, 1).unwrap()
}

/// From the layout of a checkpoint to that of the model.
fn turned(shape: &[usize], values: &[f32]) -> Vec<f32> {
    match *shape {
        [rows, columns] => (0..columns)
            .flat_map(|column| (0..rows).map(move |row| values[row * columns + column]))
            .collect(),
        _ => values.to_vec(),
    }
}

/// From the layout of the model to that of a checkpoint.
fn turned_back(shape: &[usize], values: &[f32]) -> Vec<f32> {
    match *shape {
        [rows, columns] => turned(&[columns, rows], values),
        _ => values.to_vec(),
    }
}

#[track_caller]
fn near(found: &[f32], wanted: &[f32], bound: f32, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < bound, "{what}: {found}, {wanted}");
    }
}

fn shapes(model: &Classifier) -> BTreeMap<String, Vec<usize>> {
    let parameters = model::named_parameters(model).into_iter();
    parameters
        .map(|parameter| (parameter.name, parameter.shape))
        .collect()
}

#[test]
fn gradients_and_a_step_are_those_of_peft_and_torch() {
    let reference = reference();
    for case in &reference.cases {
        let what = &case.model;
        let settings = LoraSettings {
            rank: reference.rank,
            alpha: reference.alpha,
            target: case.target.clone(),
            ..LoraSettings::default()
        };
        let model = adapted(&case.model, &settings);
        let shapes = shapes(&model);
        let values = case.gradients.keys().map(|name| {
            let value = |i: usize| (0.3 * (0.7 * i as f64 + name.len() as f64).sin()) as f32;
            let length = shapes[name].iter().product();
            (name.clone(), (0..length).map(value).collect())
        });
        let model = model::set_tensors(model, values.collect()).unwrap().train();
        let (batch, labels) = texts(&case.model);
        let logits = |model: &Classifier| model.forward(&batch, &Mode::EVALUATE); // [texts, labels]
        let flat = |logits: Tensor<2>| logits.try_into_vec_as::<f32>().unwrap();
        near(&flat(logits(&model)), &case.logits.concat(), 1e-4, what);

        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &Device::flex());
        let labels = labels.unsqueeze_dim::<2>(1); // [texts, 1]
        let loss = |model: &Classifier| {
            let chosen = log_softmax(logits(model), 1).gather(1, labels.clone());
            chosen.mean().neg() // [1]
        };
        near(
            &loss(&model).try_into_vec_as::<f32>().unwrap(),
            &[case.loss],
            1e-4,
            what,
        );
        let mut gradients = Gradients::of(&loss(&model), &model);
        let norms = gradients.norms().unwrap();
        assert!(
            norms.keys().eq(case.gradients.keys()),
            "{what}: {:?}",
            norms.keys()
        );
        for (name, wanted) in &case.gradients {
            let bound = 1e-3 * wanted.norm + 1e-6;
            near(&[norms[name]], &[wanted.norm], bound, name);
            let found = gradients.remove(name).unwrap();
            let found = found.try_into_vec_as::<f32>().unwrap();
            let found = turned_back(&shapes[name], &found);
            near(&found[..wanted.values.len()], &wanted.values, bound, name);
        }

        let settings = OptimizerSettings {
            learning_rate: reference.learning_rate,
            weight_decay: Some(reference.weight_decay),
            ..OptimizerSettings::default()
        };
        let mut optimizer = Optimizer::new(&settings, &model).unwrap();
        let gradients = Gradients::of(&loss(&model), &model);
        let model = optimizer.step(model, gradients, None, reference.learning_rate);
        let after = weights(&model.valid());
        for (name, wanted) in &case.after {
            let found = turned_back(&shapes[name], &after[name]);
            // A first step is as long as the rate whatever the gradient, which may be rounding alone.
            let certain = case.gradients[name].values.iter().map(|g| g.abs() > 1e-5);
            for ((found, wanted), certain) in found.iter().zip(wanted).zip(certain) {
                assert!(
                    !certain || (found - wanted).abs() < 2e-5,
                    "{what}, {name}: {found}, {wanted}"
                );
            }
        }
        let model = model.valid();
        let wanted = case.logits_after.concat();
        near(&flat(logits(&model)), &wanted, 2e-3, what);
        let merged = model::merged(model);
        near(&flat(logits(&merged)), &wanted, 2e-3, what);
        assert!(
            self::shapes(&merged)
                .keys()
                .all(|name| !name.contains("lora"))
        );
    }
}

fn fitted(model: &Classifier) -> Classifier {
    let train = toy(20, false);
    let (names, nothing) = (names(), judge(None));
    let material = Material {
        label_names: &names,
        ..material(&train, None, &nothing, &names)
    };
    let go_on = &mut |_: Event| ControlFlow::Continue(());
    fit(
        model.clone(),
        &material,
        &recipe(),
        &Device::flex(),
        Course::default(),
        go_on,
    )
    .unwrap()
    .model
}

/// A model for two labels, as [`toy`] rows have.
pub(super) fn for_toys(settings: &LoraSettings) -> Classifier {
    let files = EncoderFiles::in_folder(&folder("families/bert"));
    let head = HeadSettings {
        dropout: Some(0.0),
        ..HeadSettings::default()
    };
    let head = head.over_texts(2);
    let (model, config, report) =
        Classifier::pretrained(&files, &head, 1, &Device::flex()).unwrap();
    model::adapt(model, &config, settings, &report.initialised, 1).unwrap()
}

#[test]
fn only_the_factors_and_the_head_move() {
    let model = for_toys(&LoraSettings {
        target: vec!["layer.1.attention.self.value".to_owned(), "key".to_owned()],
        ..LoraSettings::default()
    });
    let (before, after) = (weights(&model), weights(&fitted(&model)));
    let moved = before
        .iter()
        .filter(|(name, values)| after[*name] != **values);
    let moved: BTreeSet<&str> = moved.map(|(name, _)| name.as_str()).collect();
    let mut wanted = BTreeSet::from(["classifier.weight", "classifier.bias"].map(str::to_owned));
    for module in [
        "0.attention.self.key",
        "1.attention.self.key",
        "1.attention.self.value",
    ] {
        for factor in ["A", "B"] {
            wanted.insert(format!("bert.encoder.layer.{module}.lora_{factor}.weight"));
        }
    }
    assert!(moved.iter().eq(wanted.iter()), "{moved:?}");
}

#[test]
fn dropped_inputs_of_factors_learn_otherwise() {
    let learned = |dropout: f64| {
        weights(&fitted(&for_toys(&LoraSettings {
            dropout,
            ..LoraSettings::default()
        })))
    };
    assert_eq!(learned(0.0), learned(0.0));
    assert_ne!(learned(0.0), learned(0.5));
}
