//! What a recipe says about evaluations, averages and rates, and that the loop does it.

use super::*;
use crate::learn::{OptimizerName, ParameterGroup, ScheduleName};

/// The evaluations of a training of 4 epochs of 12 steps: after which steps, and the scores.
fn evaluated(recipe: &Recipe) -> (Vec<u64>, Fitted) {
    let (train, validation, names) = (toy(96, false), toy(40, true), names());
    let mut steps = Vec::new();
    let fitted = fit(
        classifier(recipe.seed, 0.1),
        &material(&train, Some(&validation), &judge(Some(&validation)), &names),
        recipe,
        &Device::flex(),
        Course::default(),
        &mut |event| {
            if let Event::Validation(record) = event {
                steps.push(record.step);
            }
            ControlFlow::Continue(())
        },
    );
    (steps, fitted.unwrap())
}

#[test]
fn rows_are_validated_as_often_as_said_and_after_the_last_step() {
    let every = |steps, epochs| {
        let recipe = Recipe {
            evaluate_every: EvaluateEvery { steps, epochs },
            ..recipe()
        };
        evaluated(&recipe).0
    };
    assert_eq!(every(None, None), [12, 24, 36, 48]);
    assert_eq!(every(None, Some(3)), [36, 48]);
    assert_eq!(every(Some(20), None), [20, 40, 48]);
}

#[test]
fn patience_counts_evaluations() {
    let recipe = Recipe {
        length: Length::Epochs(20),
        evaluate_every: EvaluateEvery {
            steps: Some(5),
            epochs: None,
        },
        // Nothing gains as much.
        early_stopping: Some(EarlyStopping {
            metric: Some(Metric::Loss),
            patience: 3,
            minimum_gain: 1e3,
        }),
        ..recipe()
    };
    let (steps, fitted) = evaluated(&recipe);
    assert_eq!(steps, [5, 10, 15, 20]);
    assert!(fitted.stopped_early);
}

#[test]
fn the_last_weights_are_kept_where_asked_for() {
    let watching = Recipe {
        early_stopping: watching_the_loss(100),
        ..recipe()
    };
    assert_eq!(
        evaluated(&watching).1.best_step,
        12,
        "the labels are turned round"
    );
    let last = Recipe {
        keep: Keep::Last,
        ..watching.clone()
    };
    let (_, fitted) = evaluated(&last);
    assert_eq!((fitted.best_step, fitted.best_epoch), (48, 4));
    // Early stopping still goes by the best.
    let stopping = Recipe {
        early_stopping: watching_the_loss(2),
        ..last
    };
    let (steps, fitted) = evaluated(&stopping);
    assert_eq!((steps.last(), fitted.best_step), (Some(&36), 36));
}

#[test]
fn a_plateau_of_the_score_lowers_the_rate_of_the_steps_after_it() {
    let (train, validation, names) = (toy(96, false), toy(40, true), names());
    let recipe = Recipe {
        schedule: ScheduleSettings {
            name: ScheduleName::ReduceOnPlateau,
            warmup: Some(0.0),
            factor: Some(0.5),
            patience: Some(0),
            ..ScheduleSettings::default()
        },
        early_stopping: watching_the_loss(100),
        ..recipe()
    };
    let mut rates = Vec::new();
    fit(
        classifier(1, 0.0),
        &material(&train, Some(&validation), &judge(Some(&validation)), &names),
        &recipe,
        &Device::flex(),
        Course::default(),
        &mut |event| {
            if let Event::Step(record) = event {
                rates.push(record.learning_rate);
            }
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert_eq!(
        rates[..24],
        [5e-3; 24],
        "the first epoch is the best so far"
    );
    assert_eq!(rates[24..36], [2.5e-3; 12]);
    assert_eq!(rates[36..], [1.25e-3; 12]);
}

/// Of single weights, by the formula.
#[test]
fn an_average_of_weights_is_that_of_torch_and_takes_their_place() {
    let train = toy(24, false);
    let after = |steps: u64, ema: Option<EmaSettings>| {
        let recipe = Recipe {
            length: Length::Steps(steps),
            schedule: ScheduleSettings {
                name: ScheduleName::Constant,
                warmup: Some(0.0),
                ..ScheduleSettings::default()
            },
            ema,
            ..recipe()
        };
        weights(&run(&train, None, &recipe).unwrap().model)
    };
    let decay = 0.75_f32;
    let ema = Some(EmaSettings {
        decay: f64::from(decay),
    });
    let found = after(5, ema);
    let mut wanted = after(1, None);
    assert_eq!(
        after(1, ema),
        wanted,
        "the first weights are taken as they are"
    );
    for steps in 2..=5 {
        for (name, weights) in after(steps, None) {
            let average = wanted.get_mut(&name).unwrap();
            for (average, weight) in average.iter_mut().zip(weights) {
                *average = *average * decay + weight * (1.0 - decay);
            }
        }
    }
    for (name, found) in &found {
        for (found, wanted) in found.iter().zip(&wanted[name]) {
            assert!(
                (found - wanted).abs() <= 1e-6,
                "{name}: {found} is not {wanted}"
            );
        }
    }
    assert_ne!(found, after(5, None));
}

#[test]
fn what_is_scored_and_kept_is_the_average() {
    let recipe = Recipe {
        ema: Some(EmaSettings { decay: 0.9 }),
        ..recipe()
    };
    let (train, validation) = (toy(96, false), toy(40, false));
    let fitted = run(&train, Some(&validation), &recipe).unwrap();
    let go_on = &mut |_| ControlFlow::Continue(());
    let answers = predict(&fitted.model, &validation, 0, 64, &Device::flex(), go_on).unwrap();
    let loss = answers.loss(&labels(&validation));
    assert_eq!(fitted.scores.unwrap()["loss"], loss);
    let plain = run(&train, Some(&validation), &self::recipe()).unwrap();
    assert_ne!(plain.scores.unwrap()["loss"], loss);
}

#[test]
fn a_group_that_names_no_parameter_ends_a_training_before_it_begins() {
    let mut recipe = recipe();
    recipe.optimizer.groups = vec![ParameterGroup {
        patterns: vec!["bert.encoder.layers.*".to_owned()],
        learning_rate: Some(1e-3),
        weight_decay: None,
    }];
    match run(&toy(24, false), None, &recipe) {
        Err(LearnError::NoSuchParameter { pattern, near, .. }) => {
            assert_eq!(pattern, "bert.encoder.layers.*");
            assert!(near[0].starts_with("bert.encoder.layer."), "{near:?}");
        }
        other => panic!("expected an error, got {other:?}"),
    }
}

/// By how much each parameter moves in one step of plain SGD, over its gradient: its rate.
#[test]
fn each_parameter_moves_by_its_own_rate() {
    let train = toy(8, false);
    let one = |change: &dyn Fn(&mut OptimizerSettings)| {
        let mut recipe = Recipe {
            length: Length::Steps(1),
            schedule: ScheduleSettings {
                name: ScheduleName::Constant,
                warmup: Some(0.0),
                ..ScheduleSettings::default()
            },
            ..recipe()
        };
        recipe.optimizer = OptimizerSettings {
            name: OptimizerName::Sgd,
            learning_rate: 0.5,
            ..OptimizerSettings::default()
        };
        change(&mut recipe.optimizer);
        weights(&run(&train, None, &recipe).unwrap().model)
    };
    let before = weights(&classifier(13, 0.1));
    let plain = one(&|_| {});
    let changed = one(&|settings| {
        settings.layer_decay = 0.5;
        settings.head_learning_rate = Some(1.0);
        settings.groups = vec![ParameterGroup {
            patterns: vec!["bert.pooler.*".to_owned()],
            learning_rate: Some(0.0),
            weight_decay: None,
        }];
    });
    for (name, factor) in [
        ("bert.embeddings.word_embeddings.weight", 0.25),
        ("bert.encoder.layer.0.output.dense.weight", 0.5),
        ("bert.encoder.layer.0.attention.self.value.bias", 0.5),
        ("bert.pooler.dense.weight", 0.0),
        ("classifier.weight", 2.0),
        ("classifier.bias", 2.0),
    ] {
        let moved = |after: &BTreeMap<String, Vec<f32>>| -> Vec<f32> {
            let pairs = after[name].iter().zip(&before[name]);
            pairs.map(|(after, before)| after - before).collect()
        };
        let (plain, changed) = (moved(&plain), moved(&changed));
        let largest = plain.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        assert!(largest > 0.0, "{name} does not move");
        for (plain, changed) in plain.iter().zip(&changed) {
            assert!(
                (plain * factor - changed).abs() <= 1e-3 * largest,
                "{name}: {changed} is not {factor} times {plain}"
            );
        }
    }
}

#[test]
fn the_weights_of_the_last_evaluations_are_handed_out() {
    let rows = toy(20, false);
    let recipe = Recipe {
        keep_last: 3,
        evaluate_every: EvaluateEvery {
            steps: Some(2),
            epochs: None,
        },
        ..recipe()
    };
    for validation in [None, Some(&rows)] {
        let fitted = run(&rows, validation, &recipe).unwrap();
        let steps: Vec<u64> = fitted.last.iter().map(|one| one.step).collect();
        assert_eq!(steps, [8, 10, 12]);
        let [first, second, third] = [0, 1, 2].map(|at| weights(&fitted.last[at].model));
        assert!(first != second && second != third);
        let last = Recipe {
            keep: Keep::Last,
            keep_last: 0,
            ..recipe.clone()
        };
        let fitted = run(&rows, validation, &last).unwrap();
        assert_eq!(third, weights(&fitted.model));
        assert!(fitted.last.is_empty());
    }
}
