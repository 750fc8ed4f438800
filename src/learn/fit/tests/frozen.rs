//! What frozen parts do in a training: they stay, drop nothing, and may be read from a file.

use std::collections::BTreeSet;

use super::*;
use crate::learn::activations::{Activations, Form, Wanted};
use crate::learn::{FreezeSettings, Frozen};
use crate::model::{HeadKind, Pooling};

const LAYERS: usize = 3;
const HIDDEN: usize = 16;

fn deep(head: &HeadKind) -> Classifier {
    let scratch = ScratchSettings {
        layers: LAYERS,
        hidden: HIDDEN,
        heads: 2,
        intermediate: None,
        dropout: 0.1,
        max_positions: 16,
    };
    Classifier::scratch(&scratch, VOCABULARY, head, 3, &Device::flex())
        .unwrap()
        .0
}

fn texts(pooling: Pooling) -> HeadKind {
    HeadKind::Texts {
        outputs: 2,
        pooling,
        dropout: None,
        stack: model::Stack::default(),
    }
}

fn fitted(model: &Classifier, train: &dyn Rows, settings: Option<&FreezeSettings>) -> Classifier {
    let frozen = settings.map(|settings| Frozen::of(settings, model, &[]).unwrap());
    let recipe = Recipe { frozen, ..recipe() };
    let names = names();
    let (nothing, none) = (judge(None), Listed(Vec::new()));
    let material = Material {
        train,
        ..material(&none, None, &nothing, &names)
    };
    let go_on = &mut |_: Event| ControlFlow::Continue(());
    let fitted = fit(
        model.clone(),
        &material,
        &recipe,
        &Device::flex(),
        Course::default(),
        go_on,
    );
    fitted.unwrap().model
}

fn moved(model: &Classifier, settings: Option<&FreezeSettings>) -> BTreeSet<String> {
    let train = toy(20, false);
    let after = weights(&fitted(model, &train, settings));
    let before = weights(model);
    let moved = before
        .iter()
        .filter(|(name, values)| after[*name] != **values);
    moved.map(|(name, _)| name.clone()).collect()
}

fn with(change: impl FnOnce(&mut FreezeSettings)) -> FreezeSettings {
    let mut settings = FreezeSettings::default();
    change(&mut settings);
    settings
}

#[test]
fn what_is_frozen_stays_to_the_bit_and_all_else_moves() {
    let model = deep(&texts(Pooling::Pooler));
    let all: BTreeSet<String> = weights(&model).into_keys().collect();
    assert_eq!(moved(&model, None), all);
    let cases = [
        with(|freeze| freeze.embeddings = true),
        with(|freeze| freeze.layers = Some(1)),
        with(|freeze| freeze.layers = Some(LAYERS as u32)),
        with(|freeze| freeze.encoder = true),
        with(|freeze| freeze.patterns = vec!["*.bias".to_owned()]),
        with(|freeze| {
            freeze.layers = Some(1);
            freeze.patterns = vec!["bert.pooler.*".to_owned()];
        }),
    ];
    for settings in cases {
        let frozen = Frozen::of(&settings, &model, &[]).unwrap();
        let expected = all.difference(&frozen.names(&model, 1)).cloned().collect();
        assert_eq!(moved(&model, Some(&settings)), expected, "{settings:?}");
    }
}

#[test]
fn gradual_unfreezing_lets_the_head_learn_first_and_the_embeddings_last() {
    let model = deep(&texts(Pooling::Pooler));
    // Four epochs: the head; the top layer; the one below; the lowest. The embeddings would follow.
    let settings = with(|freeze| {
        freeze.encoder = true;
        freeze.unfreeze_every = Some(1);
    });
    let moved = moved(&model, Some(&settings));
    assert!(moved.contains("bert.encoder.layer.0.output.dense.weight"));
    assert!(!moved.iter().any(|name| name.contains("embeddings")));
    let slower = with(|freeze| {
        freeze.encoder = true;
        freeze.unfreeze_every = Some(3);
    });
    let moved = self::moved(&model, Some(&slower));
    assert!(moved.contains("bert.encoder.layer.2.output.dense.weight"));
    assert!(!moved.contains("bert.encoder.layer.1.output.dense.weight"));
}

/// Activations of the first `layers` layers for `rows`, in a folder.
fn stored(model: &Classifier, rows: &dyn Rows, layers: usize, form: Form) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let wanted = Wanted {
        layers,
        form,
        hidden: HIDDEN,
        pad_id: 0,
        tokens: 64,
        precision: Precision::Fp32,
        splits: BTreeMap::from([("train".to_owned(), rows)]),
    };
    let go_on = &mut |_| ControlFlow::Continue(());
    wanted
        .write(folder.path(), true, model, &Device::flex(), go_on)
        .unwrap();
    folder
}

fn distance(one: &Classifier, other: &Classifier) -> f32 {
    let (one, other) = (weights(one), weights(other));
    let pairs = one
        .iter()
        .flat_map(|(name, values)| values.iter().zip(&other[name]));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn a_training_from_stored_activations_is_the_training_that_computes_them() {
    let rows = toy(20, false);
    let cases = [
        (Pooling::Pooler, 1, Form::Hidden),
        (Pooling::Cls, 2, Form::Hidden),
        (Pooling::Mean, LAYERS, Form::Hidden),
        (Pooling::Pooler, LAYERS, Form::Pooled),
        (Pooling::Cls, LAYERS, Form::Pooled),
        (Pooling::Mean, LAYERS, Form::Pooled),
        (Pooling::Max, LAYERS, Form::Pooled),
    ];
    for (pooling, layers, form) in cases {
        let model = deep(&texts(pooling));
        let settings = with(|freeze| match form {
            Form::Pooled => freeze.encoder = true,
            Form::Hidden => freeze.layers = Some(layers as u32),
        });
        let computed = fitted(&model, &rows, Some(&settings));
        let folder = stored(&model, &rows, layers, form);
        let stored = Activations::open(folder.path()).unwrap();
        let known = stored.of("train", &rows, model.head.summary()).unwrap();
        let read = fitted(&model, &known, Some(&settings));
        let distance = distance(&computed, &read);
        assert!(distance < 2e-5, "{pooling:?}, {layers}: {distance}");
        assert!(self::distance(&computed, &model) > 1e-3);
    }
}

/// The file holds the truth: were the ids read instead, other numbers in it would change nothing.
#[test]
fn a_training_from_stored_activations_reads_them() {
    let rows = toy(20, false);
    let model = deep(&texts(Pooling::Mean));
    let settings = with(|freeze| freeze.encoder = true);
    let other =
        |(ids, label): &(Vec<u32>, Option<u32>)| (ids.iter().map(|id| 33 - id).collect(), *label);
    let others = Listed(rows.0.iter().map(other).collect());
    let of_others = stored(&model, &others, LAYERS, Form::Pooled);
    let stored = Activations::open(of_others.path()).unwrap();
    let known = stored.of("train", &rows, model.head.summary()).unwrap();
    let read = fitted(&model, &known, Some(&settings));
    assert!(distance(&fitted(&model, &rows, Some(&settings)), &read) > 1e-3);
}

#[test]
fn activations_of_other_rows_or_for_another_head_are_not_taken() {
    let rows = toy(20, false);
    let model = deep(&texts(Pooling::Mean));
    let hidden = stored(&model, &rows, 1, Form::Hidden);
    let hidden = Activations::open(hidden.path()).unwrap();
    assert!(hidden.of("train", &toy(19, false), None).is_none());
    assert!(hidden.of("validation", &rows, None).is_none());
    assert!(hidden.of("train", &rows, None).is_some());
    let pooled = stored(&model, &rows, LAYERS, Form::Pooled);
    let pooled = Activations::open(pooled.path()).unwrap();
    assert!(pooled.of("train", &rows, None).is_none());
}

#[test]
fn activations_that_are_not_kept_say_so_and_how_large_they_would_be() {
    let folder = tempfile::tempdir().unwrap();
    let rows = toy(20, false);
    let tokens: usize = (0..20).map(|row| rows.length(row)).sum();
    let model = deep(&texts(Pooling::Mean));
    let wanted = Wanted {
        layers: 1,
        form: Form::Hidden,
        hidden: HIDDEN,
        pad_id: 0,
        tokens: 64,
        precision: Precision::Fp32,
        splits: BTreeMap::from([("train".to_owned(), &rows as &dyn Rows)]),
    };
    let go_on = &mut |_| ControlFlow::Continue(());
    wanted
        .write(folder.path(), false, &model, &Device::flex(), go_on)
        .unwrap();
    let read = Activations::open(folder.path()).unwrap();
    assert!(!read.kept());
    assert_eq!(read.bytes(), (tokens * HIDDEN * 4) as u64);
    assert!(read.of("train", &rows, None).is_none());
}

#[test]
fn damaged_activations_are_an_error_that_names_the_file() {
    let rows = toy(20, false);
    let model = deep(&texts(Pooling::Mean));
    let folder = stored(&model, &rows, 1, Form::Hidden);
    let path = folder.path().join("train.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for bytes in [&whole[..whole.len() / 2], &whole[..4], &[][..]] {
        std::fs::write(&path, bytes).unwrap();
        let error = Activations::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("train.safetensors"), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(Activations::open(folder.path()).is_err());
}
