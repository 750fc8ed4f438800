//! Batches shared among devices: that nothing changes but the rounding of sums.

use super::*;
use crate::learn::{FreezeSettings, Frozen, MicroSize, OptimizerName};

/// The step records and the weights of a training on so many devices, all of them this processor.
fn on(devices: usize, recipe: &Recipe, dropout: f64) -> (Vec<StepRecord>, Weights) {
    on_in(AT_ONCE, devices, recipe, dropout)
}

type Weights = BTreeMap<String, Vec<f32>>;

fn on_in(pace: Pace, devices: usize, recipe: &Recipe, dropout: f64) -> (Vec<StepRecord>, Weights) {
    let (train, names) = (toy(29, false), names());
    let course = Course {
        beside: vec![Device::flex(); devices - 1],
        ..Course::default()
    };
    let mut records = Vec::new();
    let fitted = fit_at(
        pace,
        classifier(3, dropout),
        &material(&train, None, &judge(None), &names),
        recipe,
        &Device::flex(),
        course,
        &mut |event| {
            if let Event::Step(record) = event {
                records.push(record.clone());
            }
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    (records, weights(&fitted.model))
}

#[track_caller]
fn same(found: &(Vec<StepRecord>, Weights), wanted: &(Vec<StepRecord>, Weights), what: &str) {
    assert_eq!(found.0.len(), wanted.0.len(), "{what}");
    for (found, wanted) in found.0.iter().zip(&wanted.0) {
        assert_eq!(
            (found.step, found.epoch, found.skipped, found.loss_scale),
            (wanted.step, wanted.epoch, wanted.skipped, wanted.loss_scale)
        );
        for (found, wanted) in [
            (found.loss, wanted.loss),
            (found.gradient_norm, wanted.gradient_norm),
        ] {
            assert!(
                (found - wanted).abs() <= 1e-4 * wanted.abs().max(0.01),
                "{what}: {found} is not {wanted}"
            );
        }
    }
    let largest = |weights: &Weights, other: &Weights| {
        let pairs = weights
            .iter()
            .flat_map(|(name, values)| values.iter().zip(&other[name]));
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let begin = weights(&classifier(3, 0.0));
    let moved = largest(&wanted.1, &begin);
    let apart = largest(&found.1, &wanted.1);
    assert!(
        moved > 0.0 && apart < 0.02 * moved,
        "{what}: {apart} apart after {moved}"
    );
}

/// 29 rows in batches of 8: the last of an epoch has 5. With dropout, because what is dropped follows a row's place in the
/// whole batch.
#[test]
fn two_three_and_nine_devices_train_as_one_does() {
    let recipe = recipe();
    let alone = on(1, &recipe, 0.1);
    for devices in [2, 3, 9] {
        let shared = on(devices, &recipe, 0.1);
        same(&shared, &alone, &format!("{devices} devices"));
    }
}

#[test]
fn thirty_steps_of_two_devices_have_the_losses_of_one() {
    let recipe = Recipe {
        length: Length::Steps(30),
        ..recipe()
    };
    let (alone, _) = on(1, &recipe, 0.0);
    let (shared, _) = on(2, &recipe, 0.0);
    assert_eq!(alone.len(), 30);
    let off = |(a, b): (&StepRecord, &StepRecord)| (a.loss - b.loss).abs() / b.loss;
    let largest = shared.iter().zip(&alone).map(off).fold(0.0, f32::max);
    assert!(largest < 1e-5, "a loss is off by {largest:e} of itself");
    assert!(alone[29].loss < alone[0].loss / 2.0);
}

#[test]
fn a_shared_training_repeats_itself_to_the_bit() {
    let recipe = recipe();
    assert!(on(3, &recipe, 0.1) == on(3, &recipe, 0.1));
}

#[test]
fn every_recipe_can_be_shared() {
    let plain = recipe();
    let model = classifier(3, 0.0);
    let freeze = |settings: FreezeSettings| Some(Frozen::of(&settings, &model, &[]).unwrap());
    let recipes = [
        (
            "parts of two rows",
            Recipe {
                batch: BatchSettings {
                    micro_size: Some(MicroSize::Rows(2)),
                    ..plain.batch.clone()
                },
                ..plain.clone()
            },
        ),
        (
            "an average of weights",
            Recipe {
                ema: Some(EmaSettings { decay: 0.9 }),
                ..plain.clone()
            },
        ),
        (
            "frozen embeddings",
            Recipe {
                frozen: freeze(FreezeSettings {
                    embeddings: true,
                    ..FreezeSettings::default()
                }),
                ..plain.clone()
            },
        ),
        (
            "layers that thaw",
            Recipe {
                frozen: freeze(FreezeSettings {
                    layers: Some(1),
                    unfreeze_every: Some(1),
                    ..FreezeSettings::default()
                }),
                ..plain.clone()
            },
        ),
        (
            "layers that run twice",
            Recipe {
                gradient_checkpointing: true,
                ..plain.clone()
            },
        ),
        (
            "gradients cut to a norm",
            Recipe {
                optimizer: OptimizerSettings {
                    max_grad_norm: 0.1,
                    name: OptimizerName::Lamb,
                    ..plain.optimizer.clone()
                },
                ..plain.clone()
            },
        ),
    ];
    for (what, recipe) in &recipes {
        same(&on(2, recipe, 0.1), &on(1, recipe, 0.1), what);
    }
    let padded = Pace {
        layout: Layout::Padded { to: None },
        ..AT_ONCE
    };
    same(
        &on_in(padded, 3, &plain, 0.1),
        &on_in(padded, 1, &plain, 0.1),
        "padded rows",
    );
}

/// Scaled so high at first that gradients overflow on whichever device: all of them leave the step out.
#[test]
fn an_overflow_on_one_device_skips_the_step_on_all() {
    let recipe = Recipe {
        precision: Precision::Fp16,
        length: Length::Steps(40),
        ..recipe()
    };
    let pace = Pace {
        scale: LossScale::of(2.0_f64.powi(30)),
        ..AT_ONCE
    };
    let (shared, _) = on_in(pace, 2, &recipe, 0.0);
    let (alone, _) = on_in(pace, 1, &recipe, 0.0);
    let skipped = |records: &[StepRecord]| -> Vec<bool> {
        records.iter().map(|record| record.skipped).collect()
    };
    assert!(skipped(&shared)[0] && !skipped(&shared)[39]);
    assert_eq!(skipped(&shared), skipped(&alone));
    for (shared, alone) in shared.iter().zip(&alone) {
        assert!((shared.loss - alone.loss).abs() < 5e-3 * alone.loss);
    }
}

#[test]
fn a_shared_training_goes_on_to_the_same_bits() {
    let recipe = recipe();
    let (train, names) = (toy(29, false), names());
    let go = |from: Option<State>, until: u64| {
        let mut state = None;
        let course = Course {
            from,
            every: Some(3),
            beside: vec![Device::flex()],
        };
        let fitted = fit(
            classifier(3, 0.1),
            &material(&train, None, &judge(None), &names),
            &recipe,
            &Device::flex(),
            course,
            &mut |event| match event {
                Event::State(held) => {
                    state = Some(held.read().unwrap());
                    ControlFlow::Continue(())
                }
                Event::Step(record) if record.step == until => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            },
        );
        (state, fitted.map(|fitted| weights(&fitted.model)))
    };
    let (_, whole) = go(None, 1000);
    let (state, stopped) = go(None, 7);
    assert!(matches!(stopped, Err(LearnError::Interrupted)));
    let (_, resumed) = go(state, 1000);
    assert!(resumed.unwrap() == whole.unwrap());
}
