//! Half precision: near to 32 bits and not the same, and what `fp16` does with gradients that overflow.

use super::*;
use crate::device;
use crate::model::MapParameters;

fn in_precision(precision: Precision) -> Recipe {
    Recipe {
        precision,
        ..recipe()
    }
}

/// The steps told, and what came out, of a training without dropout whose losses are first multiplied by `factor`.
fn scaled(
    factor: f64,
    model: Classifier,
    recipe: &Recipe,
) -> (Vec<StepRecord>, Result<Fitted, LearnError>) {
    let (train, names) = (toy(24, false), names());
    let mut records = Vec::new();
    let pace = Pace {
        scale: LossScale::of(factor),
        ..AT_ONCE
    };
    let fitted = fit_at(
        pace,
        model,
        &material(&train, None, &judge(None), &names),
        recipe,
        &Device::flex(),
        Course::default(),
        &mut |event| {
            if let Event::Step(record) = event {
                records.push(record.clone());
            }
            ControlFlow::Continue(())
        },
    );
    (records, fitted)
}

/// Steps on all rows at one rate, so that what a step does follows from those before it alone.
fn steady(steps: u64) -> Recipe {
    Recipe {
        length: Length::Steps(steps),
        batch: BatchSettings {
            size: 24,
            ..BatchSettings::default()
        },
        schedule: ScheduleSettings {
            name: crate::learn::ScheduleName::Constant,
            warmup: Some(0.0),
            ..ScheduleSettings::default()
        },
        ..in_precision(Precision::Fp16)
    }
}

#[test]
fn losses_in_half_precision_are_near_those_in_32_bits_and_not_the_same() {
    let losses = |precision| -> Vec<f32> {
        let (records, end) = told(AT_ONCE, 0.1, &in_precision(precision));
        end.unwrap();
        records.iter().map(|record| record.loss).collect()
    };
    let exact = losses(Precision::Fp32);
    for (precision, near) in [(Precision::Bf16, 2e-2), (Precision::Fp16, 4e-3)] {
        let found = losses(precision);
        assert_eq!(found, losses(precision), "{precision} repeats itself");
        assert_ne!(found, exact, "{precision}");
        for (found, exact) in found.iter().zip(&exact) {
            assert!(
                (found - exact).abs() < near,
                "{precision}: {found}, not {exact}"
            );
        }
    }
}

#[test]
fn a_toy_set_is_learned_in_half_precision_and_scored_in_it() {
    let (train, validation) = (toy(96, false), toy(40, false));
    for precision in [Precision::Bf16, Precision::Fp16] {
        let fitted = run(&train, Some(&validation), &in_precision(precision)).unwrap();
        let scores = fitted.scores.unwrap();
        assert_eq!(
            (scores["accuracy"].as_f64(), fitted.skipped),
            (Some(1.0), 0)
        );
        let go_on = &mut |_| ControlFlow::Continue(());
        let exact = predict(&fitted.model, &validation, 0, 64, &Device::flex(), go_on).unwrap();
        let (found, exact) = (
            scores["loss"].as_f64().unwrap(),
            exact.loss(&labels(&validation)),
        );
        assert!(found != exact && (found - exact).abs() < 1e-2 * exact.max(0.1));
    }
}

#[test]
fn only_fp16_scales_its_losses_and_shows_them_unscaled() {
    for precision in [Precision::Fp32, Precision::Bf16, Precision::Fp16] {
        let (records, end) = told(AT_ONCE, 0.1, &in_precision(precision));
        end.unwrap();
        let scale = (precision == Precision::Fp16).then_some(65_536.0);
        for record in records {
            assert_eq!((record.loss_scale, record.skipped), (scale, false));
            assert!(record.loss < 2.0 && record.gradient_norm < 100.0);
            let json = serde_json::to_value(&record).unwrap();
            assert_eq!(json.get("loss_scale").is_some(), scale.is_some());
            assert_eq!(json.get("skipped"), None);
        }
    }
}

#[test]
fn too_large_a_scale_is_halved_until_gradients_are_finite_and_the_training_goes_on() {
    let (records, fitted) = scaled(2.0_f64.powi(40), classifier(1, 0.0), &steady(40));
    let skipped = records.iter().filter(|record| record.skipped).count();
    assert!(skipped > 10 && skipped < 30, "{skipped}");
    assert!(records[..10].iter().all(|record| record.skipped));
    let mut scale = 2.0_f64.powi(40);
    for record in &records {
        assert_eq!(record.loss_scale, Some(scale), "{record:?}");
        assert_eq!(record.gradient_norm.is_finite(), !record.skipped);
        assert!(record.loss.is_finite());
        scale /= if record.skipped { 2.0 } else { 1.0 };
    }
    let fitted = fitted.unwrap();
    assert_eq!((fitted.skipped, fitted.steps), (skipped as u64, 40));
    let json = serde_json::to_value(&records[0]).unwrap();
    assert_eq!(
        (&json["skipped"], &json["gradient_norm"]),
        (&true.into(), &Value::Null)
    );

    // What was skipped left no trace: neither in the weights nor in the optimizer.
    let (others, _) = scaled(65_536.0, classifier(1, 0.0), &steady(40 - skipped as u64));
    let taken: Vec<_> = records.iter().filter(|record| !record.skipped).collect();
    assert_eq!(taken.len(), others.len());
    for (found, wanted) in taken.into_iter().zip(&others) {
        assert!(!wanted.skipped);
        assert!(
            (found.loss - wanted.loss).abs() < 2e-2 * wanted.loss.max(0.1),
            "{found:?} is not {wanted:?}"
        );
    }
}

#[test]
fn a_skipped_step_changes_no_weight_and_no_average() {
    for ema in [None, Some(EmaSettings { decay: 0.5 })] {
        let recipe = Recipe { ema, ..steady(5) };
        let (records, fitted) = scaled(2.0_f64.powi(60), classifier(1, 0.0), &recipe);
        assert_eq!(records.iter().filter(|record| record.skipped).count(), 5);
        let fitted = fitted.unwrap();
        assert_eq!(fitted.skipped, 5);
        assert!(weights(&fitted.model) == weights(&classifier(1, 0.0)));
    }
}

#[test]
fn the_schedule_stands_still_while_steps_are_skipped() {
    let recipe = Recipe {
        schedule: ScheduleSettings::default(),
        ..steady(40)
    };
    let (records, fitted) = scaled(2.0_f64.powi(40), classifier(1, 0.0), &recipe);
    assert!(fitted.unwrap().skipped > 0);
    let schedule = Schedule::new(&recipe.schedule, recipe.optimizer.learning_rate, 40);
    let mut taken = 0;
    for record in records {
        assert_eq!(record.learning_rate, schedule.rate(taken), "{record:?}");
        taken += u64::from(!record.skipped);
    }
}

/// A model whose forward pass leaves the range of 16 bits.
fn beyond(mut model: Classifier) -> Classifier {
    struct Enlarge;
    impl MapParameters for Enlarge {
        fn map<const D: usize>(
            &mut self,
            name: &str,
            parameter: Param<Tensor<D>>,
        ) -> Param<Tensor<D>> {
            match name.ends_with("intermediate.dense.weight") {
                true => parameter.map(|weight| weight * 1e7),
                false => parameter,
            }
        }
    }
    model = model::map_parameters(model, &mut Enlarge);
    model
}

#[test]
fn a_model_beyond_fp16_ends_in_an_error_after_all_scales_were_tried_and_learns_in_bf16() {
    let model = || beyond(classifier(1, 0.0));
    let (records, fitted) = scaled(65_536.0, model(), &steady(100));
    match fitted {
        Err(LearnError::Overflow { step, scale }) => {
            assert_eq!((step, scale), (31, 2.0_f64.powi(-15)));
        }
        other => panic!("expected an overflow, got {other:?}"),
    }
    assert_eq!(records.iter().filter(|record| record.skipped).count(), 31);
    let json = serde_json::to_value(&records[0]).unwrap();
    assert_eq!(json["loss"], Value::Null);
    let recipe = Recipe {
        precision: Precision::Bf16,
        ..steady(5)
    };
    let (records, fitted) = scaled(1.0, model(), &recipe);
    assert!(fitted.is_ok() && records.len() == 5);
}

#[test]
fn smaller_parts_of_a_batch_make_the_same_training_in_fp16() {
    let losses = |micro| {
        let recipe = Recipe {
            batch: BatchSettings {
                size: 8,
                micro_size: Some(crate::learn::MicroSize::Rows(micro)),
                ..BatchSettings::default()
            },
            ..in_precision(Precision::Fp16)
        };
        let (records, end) = told(AT_ONCE, 0.1, &recipe);
        end.unwrap();
        records
    };
    for (found, wanted) in losses(3).iter().zip(losses(8)) {
        assert_eq!(
            (found.loss_scale, found.skipped),
            (wanted.loss_scale, wanted.skipped)
        );
        assert!(
            (found.loss - wanted.loss).abs() < 4e-3,
            "{found:?}, not {wanted:?}"
        );
    }
}

#[test]
fn a_device_without_half_precision_is_an_error_before_anything_is_computed() {
    let Ok(chosen) = device::choose("ndarray") else {
        return;
    };
    let (train, names) = (toy(24, false), names());
    for precision in [Precision::Bf16, Precision::Fp16] {
        let fitted = fit(
            classifier(1, 0.1),
            &material(&train, None, &judge(None), &names),
            &in_precision(precision),
            &chosen.device,
            Course::default(),
            &mut |_| ControlFlow::Continue(()),
        );
        assert!(
            matches!(fitted, Err(LearnError::Precision { device, precision: told }) if told == precision && device == "ndarray")
        );
    }
}
