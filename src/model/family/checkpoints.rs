//! What becomes of the checkpoints that models are pretrained into, and of those of an encoder alone.
//!
//! `tests/fixtures/families/pretraining.json` has for each class of transformers which tensors its `pytorch_model.bin` has
//! beside the encoder's (those tied to the embeddings among them), and what transformers 5.23 says when it loads that file
//! for texts and for tokens: which tensors it draws, and which it does not use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::Family;
use crate::model::names::is_of_pretraining;
use crate::model::{
    Classifier, EncoderConfig, EncoderFiles, HeadKind, LoadReport, Pooling, Stack, named_parameters,
};

#[derive(Deserialize)]
struct Case {
    /// The folder whose encoder it is.
    model: String,
    class: String,
    /// Tensor → shape.
    others: BTreeMap<String, Vec<usize>>,
    tasks: Tasks,
}

#[derive(Deserialize)]
struct Tasks {
    sequence: Said,
    token: Said,
}

/// What transformers says of loading it.
#[derive(Deserialize)]
struct Said {
    drawn: Vec<String>,
    ignored: Vec<String>,
}

fn cases() -> Vec<Case> {
    let text = include_str!("../../../tests/fixtures/families/pretraining.json");
    serde_json::from_str(text).unwrap()
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/families")
        .join(name)
}

fn family(name: &str) -> Family {
    let config = EncoderConfig::read(&folder(name).join("config.json"));
    config.unwrap().family
}

fn head(over_texts: bool) -> HeadKind {
    match over_texts {
        true => HeadKind::Texts {
            outputs: 2,
            pooling: Pooling::Pooler,
            dropout: None,
            stack: Stack::default(),
        },
        false => HeadKind::Tokens {
            outputs: 2,
            crf: false,
            dropout: None,
            stack: Stack::default(),
        },
    }
}

/// The encoder of the tiny model `name` in a folder of its own, its tensors called as `named` says, with others beside it.
fn written(
    name: &str,
    named: impl Fn(&str) -> String,
    others: &BTreeMap<String, Vec<usize>>,
    to: &Path,
) -> EncoderFiles {
    let bytes = std::fs::read(folder(name).join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let family = family(name);
    let of_encoder = |tensor: &str| {
        let prefix = format!("{}.", family.prefix());
        tensor.starts_with(&prefix) && !family.is_pooler(tensor)
    };
    let most = others.values().map(|shape| shape.iter().product::<usize>());
    let zeros = vec![0; size_of::<f32>() * most.max().unwrap_or(0)];
    let other = |(name, shape): (&String, &Vec<usize>)| {
        let bytes = &zeros[..size_of::<f32>() * shape.iter().product::<usize>()];
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    };
    let encoder = file.iter().filter(|(tensor, _)| of_encoder(tensor));
    let tensors = encoder
        .map(|(tensor, view)| (named(tensor), view))
        .chain(others.iter().map(other));
    std::fs::write(
        to.join("model.safetensors"),
        safetensors::serialize(tensors, None).unwrap(),
    )
    .unwrap();
    std::fs::copy(folder(name).join("config.json"), to.join("config.json")).unwrap();
    EncoderFiles::in_folder(to)
}

fn loaded(files: &EncoderFiles, over_texts: bool) -> (Classifier, LoadReport) {
    let device = Device::flex();
    let (model, _, report) = Classifier::pretrained(files, &head(over_texts), 1, &device).unwrap();
    (model, report)
}

#[test]
fn a_pretrained_models_tensors_are_used_drawn_and_ignored_as_transformers_does() {
    let mut families = Vec::new();
    for case in cases() {
        let family = family(&case.model);
        families.push(family);
        let to = tempfile::tempdir().unwrap();
        let alone = case.class.ends_with("Model");
        let named = |tensor: &str| match (alone, tensor.split_once('.')) {
            (true, Some((_, rest))) => rest.to_owned(),
            _ => tensor.to_owned(),
        };
        let files = written(&case.model, named, &case.others, to.path());
        for (over_texts, said) in [(true, &case.tasks.sequence), (false, &case.tasks.token)] {
            let (model, report) = loaded(&files, over_texts);
            let what = format!("{} of {}, over texts: {over_texts}", case.class, case.model);
            let mut drawn = report.initialised.clone();
            drawn.sort();
            assert_eq!(drawn, said.drawn, "{what}");
            let mut ignored = report.ignored.clone();
            ignored.sort();
            assert_eq!(ignored, said.ignored, "{what}");
            let all = named_parameters(&model).len();
            assert_eq!(report.loaded, all - drawn.len(), "{what}");

            let warnings = report.warnings();
            let pooler = drawn.iter().any(|name| family.is_pooler(name));
            let other = |name: &String| !name.contains("pooler") && !is_of_pretraining(name);
            let head = ignored.iter().any(other);
            assert_eq!(
                warnings.len(),
                usize::from(pooler) + usize::from(head),
                "{what}"
            );
            assert_eq!(
                pooler,
                warnings.iter().any(|line| line.contains("no pooler")),
                "{what}"
            );
            assert_eq!(
                head,
                warnings.iter().any(|line| line.contains("another head")),
                "{what}"
            );
        }
    }
    assert!(Family::ALL.iter().all(|family| families.contains(family)));
}

/// transformers drops both without a word (`_keys_to_ignore_on_load_unexpected`, and buffers that are no longer kept).
#[test]
fn positions_that_a_model_has_no_use_for_are_ignored_unsaid() {
    let shapes = [
        ("deberta.embeddings.position_ids", vec![1, 64]),
        (
            "deberta.embeddings.position_embeddings.weight",
            vec![64, 24],
        ),
    ];
    let shapes = shapes.map(|(name, shape)| (name.to_owned(), shape));
    let to = tempfile::tempdir().unwrap();
    let same = |tensor: &str| tensor.to_owned();
    let files = written("deberta-v3", same, &BTreeMap::from(shapes), to.path());
    let (_, report) = loaded(&files, false);
    assert_eq!(report.ignored.len(), 2);
    assert_eq!(report.warnings(), [""; 0]);
}
