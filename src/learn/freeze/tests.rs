//! What is frozen, by name, of every family.

use std::path::PathBuf;

use burn::tensor::Device;

use super::*;
use crate::model::{EncoderFiles, HeadSettings, REFERENCE_MODELS};

/// A tiny model of a family, and which of its parameters its checkpoint lacks.
fn family(name: &str) -> (Classifier, Vec<String>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/families")
        .join(name);
    let files = EncoderFiles::in_folder(&folder);
    let head = HeadSettings::default().over_texts(3);
    let (model, _, report) = Classifier::pretrained(&files, &head, 1, &Device::flex()).unwrap();
    (model, report.initialised)
}

fn layers(layers: u32) -> FreezeSettings {
    FreezeSettings {
        layers: Some(layers),
        ..FreezeSettings::default()
    }
}

fn encoder() -> FreezeSettings {
    FreezeSettings {
        encoder: true,
        ..FreezeSettings::default()
    }
}

fn frozen(model: &Classifier, settings: &FreezeSettings, epoch: u64) -> BTreeSet<String> {
    let frozen = Frozen::of(settings, model, &[]).unwrap();
    frozen.names(model, epoch)
}

#[test]
fn a_frozen_encoder_leaves_the_head_of_every_family_and_what_the_checkpoint_lacks() {
    for family in REFERENCE_MODELS.map(self::family) {
        let (model, fresh) = family;
        let names: Vec<String> = model::named_parameters(&model)
            .into_iter()
            .map(|parameter| parameter.name)
            .collect();
        let all = Frozen::of(&encoder(), &model, &fresh).unwrap();
        let all = all.names(&model, 1);
        let places = places(&names);
        for name in &names {
            let expected = places[name.as_str()] != Place::Head && !fresh.contains(name);
            assert_eq!(all.contains(name), expected, "{name}");
        }
        assert!(all.len() > 10 && all.len() < names.len());
    }
}

#[test]
fn freezing_more_layers_freezes_more_and_contains_the_less() {
    for name in REFERENCE_MODELS {
        let (model, _) = family(name);
        let embeddings = FreezeSettings {
            embeddings: true,
            ..FreezeSettings::default()
        };
        let mut before = frozen(&model, &embeddings, 1);
        assert!(!before.is_empty(), "{name}");
        let depth = model.encoder.depth();
        assert!(depth > 1, "{name}");
        for count in 1..=depth {
            let now = frozen(&model, &layers(count as u32), 1);
            assert!(now.is_superset(&before), "{name}");
            // Only where layers share their weights, a further one adds none.
            let block = model.encoder.block(count - 1);
            let shares = (0..count - 1).any(|layer| model.encoder.block(layer) == block);
            assert_eq!(now.len() == before.len(), shares, "{name}, {count}");
            before = now;
        }
        assert!(frozen(&model, &encoder(), 1).is_superset(&before), "{name}");
    }
}

#[test]
fn what_layers_share_is_frozen_with_the_first_of_them() {
    let shared = [
        ("mpnet", "mpnet.encoder.relative_attention_bias.weight"),
        ("deberta-v3", "deberta.encoder.rel_embeddings.weight"),
        ("deberta-v3", "deberta.encoder.LayerNorm.weight"),
        ("deberta-v2-conv", "deberta.encoder.conv.conv.weight"),
    ];
    for (family, name) in shared {
        let (model, _) = self::family(family);
        let names = frozen(&model, &layers(1), 1);
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
}

#[test]
fn layers_begin_to_learn_one_after_the_other_from_the_top() {
    let (model, _) = family("bert");
    let depth = model.encoder.depth();
    let gradual = FreezeSettings {
        unfreeze_every: Some(2),
        ..encoder()
    };
    let resolved = Frozen::of(&gradual, &model, &[]).unwrap();
    let all = frozen(&model, &encoder(), 1);
    assert_eq!(resolved.names(&model, 1), all);
    assert_eq!(resolved.names(&model, 2), all);
    for thawed in 1..=depth {
        let epoch = 1 + 2 * thawed as u64;
        assert!(resolved.changes_in(epoch) && !resolved.changes_in(epoch + 1));
        let left = match depth - thawed {
            0 => frozen(
                &model,
                &FreezeSettings {
                    embeddings: true,
                    ..FreezeSettings::default()
                },
                1,
            ),
            left => frozen(&model, &layers(left as u32), 1),
        };
        assert_eq!(resolved.names(&model, epoch), left, "{epoch}");
    }
    let end = 1 + 2 * (depth as u64 + 1);
    assert!(resolved.changes_in(end));
    assert!(resolved.names(&model, end).is_empty());
    assert!(!resolved.changes_in(end + 2));
}

#[test]
fn patterns_freeze_by_name_and_one_that_fits_nothing_is_an_error() {
    let (model, _) = family("bert");
    let named = |pattern: &str| FreezeSettings {
        patterns: vec![pattern.to_owned()],
        ..FreezeSettings::default()
    };
    let biases = frozen(&model, &named("*.bias"), 1);
    assert!(biases.iter().all(|name| name.ends_with(".bias")));
    assert!(biases.contains("classifier.bias"));
    let error = Frozen::of(&named("bert.layer.*"), &model, &[]).unwrap_err();
    assert!(error.to_string().contains("`freeze.match`"), "{error}");
    assert!(matches!(
        Frozen::of(&named("*"), &model, &[]),
        Err(LearnError::AllFrozen)
    ));
    assert!(matches!(
        Frozen::of(&layers(99), &model, &[]),
        Err(LearnError::FewerLayers { wanted: 99, .. })
    ));
}
