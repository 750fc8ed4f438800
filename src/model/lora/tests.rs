//! What is adapted, what is written, and that merging changes nothing.

use std::path::PathBuf;

use serde::Deserialize;

use super::*;
use crate::kernels::Spans;
use crate::model::{Batch, EncoderFiles, HeadSettings};

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

/// What PEFT wrote of one model: `lora_peft.json`.
#[derive(Deserialize)]
struct Case {
    model: String,
    target: Vec<String>,
    config: serde_json::Map<String, Value>,
    tensors: BTreeMap<String, Vec<usize>>,
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn adapted(name: &str, settings: &LoraSettings) -> Result<Classifier, ModelError> {
    let files = EncoderFiles::in_folder(&fixture("families").join(name));
    let head = HeadSettings::default().over_texts(3);
    let (model, config, report) = Classifier::pretrained(&files, &head, 1, &Device::flex())?;
    adapt(model, &config, settings, &report.initialised, 1)
}

fn with_target(target: &[&str]) -> LoraSettings {
    LoraSettings {
        rank: 2,
        alpha: 6.0,
        target: target.iter().map(|&word| word.to_owned()).collect(),
        ..LoraSettings::default()
    }
}

#[test]
fn a_written_adapter_has_the_names_shapes_and_fields_of_pefts() {
    let reference = std::fs::read(fixture("lora_peft.json")).unwrap();
    let reference: Reference = serde_json::from_slice(&reference).unwrap();
    for case in reference.cases {
        let target: Vec<&str> = case.target.iter().map(String::as_str).collect();
        let model = adapted(&case.model, &with_target(&target)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        write(&model, Task::Classification, folder.path()).unwrap();
        let bytes = std::fs::read(folder.path().join("adapter_model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let found = file
            .iter()
            .map(|(name, view)| (name.to_owned(), view.shape().to_vec()));
        assert_eq!(
            found.collect::<BTreeMap<_, _>>(),
            case.tensors,
            "{}",
            case.model
        );

        let config = std::fs::read(folder.path().join("adapter_config.json")).unwrap();
        let config: serde_json::Map<String, Value> = serde_json::from_slice(&config).unwrap();
        let sorted = |value: &Value| {
            let mut words: Vec<String> = serde_json::from_value(value.clone()).unwrap();
            // PEFT names a head that no class here has.
            words.retain(|word| word != "score");
            words.sort();
            words.dedup();
            words
        };
        for (field, found) in &config {
            let wanted = &case.config[field];
            match field.as_str() {
                "modules_to_save" | "target_modules" => {
                    assert_eq!(sorted(found), sorted(wanted), "{}, {field}", case.model)
                }
                "lora_alpha" => assert_eq!(found.as_f64(), wanted.as_f64()),
                _ => assert_eq!(found, wanted, "{}, {field}", case.model),
            }
        }
    }
}

#[test]
fn patterns_with_wildcards_or_for_the_head_as_well_are_spelled_out_for_peft() {
    let model = adapted("bert", &with_target(&["*.1.*.query"])).unwrap();
    let written = model.adapted.as_ref().unwrap();
    assert_eq!(
        written.targets,
        ["bert.encoder.layer.1.attention.self.query"]
    );
    assert_eq!(adapted_modules(&model), written.targets);
    // RoBERTa's head has a `dense` too, which learns as a whole.
    let model = adapted("roberta", &with_target(&["dense"])).unwrap();
    let written = model.adapted.as_ref().unwrap();
    assert_eq!(written.targets, written.modules);
    assert!(
        written
            .modules
            .iter()
            .all(|name| name.starts_with("roberta."))
    );
}

#[test]
fn a_pattern_that_fits_no_linear_layer_is_explained() {
    use miette::Diagnostic;
    let error = adapted("modernbert", &with_target(&["Wqkv", "query"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no linear layer of the encoder is called query"
    );
    let help = error.help().unwrap().to_string();
    for name in ["model.layers.*.attn.Wqkv", "model.layers.*.mlp.Wi"] {
        assert!(help.contains(name), "{help}");
    }
}

#[test]
fn every_linear_layer_of_every_family_can_be_adapted() {
    for (name, layers, each) in [
        ("bert", 2, 6),
        ("distilbert", 2, 6),
        ("mpnet", 2, 6),
        ("deberta-v3", 2, 6),
        ("modernbert", 5, 4),
    ] {
        let model = adapted(name, &with_target(&["*"])).unwrap();
        let inside = adapted_modules(&model)
            .iter()
            .filter(|name| name.contains("layer"));
        assert_eq!(inside.count(), layers * each, "{name}");
    }
}

fn logits(model: &Classifier, mode: &Mode) -> Vec<f32> {
    let device = Device::flex();
    let batch = Batch::new(
        (1..11).collect(),
        vec![0; 10],
        Spans::packed([6, 4]),
        &device,
    );
    model.forward(&batch, mode).try_into_vec_as().unwrap()
}

/// With a B that is not 0.
fn moved(model: Classifier) -> Classifier {
    weights::set_each(model, |name, shape| {
        let length: usize = shape.iter().product();
        let value = |at: usize| (at as f32 * 0.7).sin() * 0.3;
        Ok(name
            .ends_with("lora_B.weight")
            .then(|| (0..length).map(value).collect()))
    })
    .unwrap()
}

#[test]
fn factors_change_nothing_at_first_and_something_once_they_moved() {
    for name in ["bert", "albert", "deberta-v3", "modernbert"] {
        let model = adapted(name, &with_target(&["*"])).unwrap();
        let plain = logits(&merged(model.clone()), &Mode::EVALUATE);
        assert_eq!(logits(&model, &Mode::EVALUATE), plain, "{name}");
        let model = moved(model);
        let found = logits(&model, &Mode::EVALUATE);
        let far = |one: &[f32], other: &[f32]| {
            let distances = one
                .iter()
                .zip(other)
                .map(|(one, other)| (one - other).abs());
            distances.fold(0.0, f32::max)
        };
        assert!(far(&found, &plain) > 1e-3, "{name}");
        let merged = merged(model);
        assert!(
            far(&found, &logits(&merged, &Mode::EVALUATE)) < 1e-5,
            "{name}"
        );
        assert!(merged.adapted.is_none());
        assert!(
            named_parameters(&merged)
                .iter()
                .all(|parameter| !is_factor(&parameter.name))
        );
    }
}

#[test]
fn the_input_of_factors_is_dropped_in_training_alone() {
    let of = |dropout: f64| {
        let settings = LoraSettings {
            dropout,
            ..with_target(&["*"])
        };
        moved(adapted("bert", &settings).unwrap())
    };
    let train = Mode::train(1, 1);
    let whole = logits(&of(0.0), &Mode::EVALUATE);
    assert_eq!(logits(&of(0.0), &train), whole);
    assert_eq!(logits(&of(0.5), &Mode::EVALUATE), whole);
    assert_ne!(logits(&of(0.5), &train), whole);
}

#[test]
fn rank_and_alpha_are_how_wide_and_how_strong() {
    let model = adapted("bert", &with_target(&["query"])).unwrap();
    let rank = named_parameters(&model)
        .into_iter()
        .find(|parameter| parameter.name.ends_with("query.lora_A.weight"));
    assert_eq!(rank.unwrap().shape, [2, 16]);
    let of = |alpha: f64| {
        let settings = LoraSettings {
            alpha,
            ..with_target(&["query"])
        };
        logits(&moved(adapted("bert", &settings).unwrap()), &Mode::EVALUATE)
    };
    assert_ne!(of(6.0), of(3.0));
}

#[test]
fn a_begins_as_torch_draws_a_linear_layer_and_b_at_nothing() {
    let model = adapted("bert", &with_target(&["query", "value"])).unwrap();
    struct Read(BTreeMap<String, Vec<f32>>);
    impl super::super::VisitParameters for Read {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
            let values = parameter.val().try_into_vec_as().unwrap();
            self.0.insert(name.to_owned(), values);
        }
    }
    let mut read = Read(BTreeMap::new());
    super::super::visit_parameters(&model, &mut read);
    let of = |ending: &str| -> Vec<f32> {
        let found = read.0.iter().filter(|(name, _)| name.ends_with(ending));
        found.flat_map(|(_, values)| values.clone()).collect()
    };
    assert!(of("lora_B.weight").iter().all(|&value| value == 0.0));
    let a = of("lora_A.weight");
    let bound = 1.0 / 16_f32.sqrt();
    let squares = a.iter().map(|a| a * a).sum::<f32>() / a.len() as f32;
    assert!(a.iter().all(|a| a.abs() <= bound));
    assert!(
        (squares / (bound * bound / 3.0) - 1.0).abs() < 0.3,
        "{squares}"
    );
    let (learn, all) = learning(&model);
    let factors = 2 * 2 * 2 * 2 * 16;
    assert_eq!(learn, factors + 3 * 16 + 3);
    assert!(all > 10 * factors);
}
