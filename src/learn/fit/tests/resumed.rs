//! A training that goes on where another was stopped: the same steps, scores and weights, to the last bit.

use super::*;
use crate::learn::{FreezeSettings, Frozen, OptimizerName, ScheduleName};

/// All that a training tells and leaves.
#[derive(Debug, PartialEq)]
struct Whole {
    lines: Vec<String>,
    /// Of the kept model, and of the last ones.
    weights: Vec<BTreeMap<String, Vec<f32>>>,
    about: String,
}

fn about(fitted: &Fitted) -> Whole {
    let last = fitted.last.iter().map(|snapshot| weights(&snapshot.model));
    Whole {
        lines: Vec::new(),
        weights: std::iter::once(weights(&fitted.model))
            .chain(last)
            .collect(),
        about: format!(
            "{} {} {:?} {} {} {} {:?}",
            fitted.best_epoch,
            fitted.best_step,
            fitted.scores,
            fitted.steps,
            fitted.skipped,
            fitted.stopped_early,
            fitted
                .last
                .iter()
                .map(|last| (last.step, last.epoch))
                .collect::<Vec<_>>(),
        ),
    }
}

/// Trains from `from` on, until `stop` says so of what is told; what was told, the last state, and what came out.
fn go(
    recipe: &Recipe,
    from: Option<State>,
    every: u64,
    stop: &dyn Fn(&Event) -> bool,
) -> (Vec<String>, Option<State>, Option<Fitted>) {
    let (train, validation, names) = (toy(40, false), toy(24, false), names());
    let judged = judge(Some(&validation));
    let material = material(&train, Some(&validation), &judged, &names);
    let (mut lines, mut state) = (Vec::new(), None);
    let pace = Pace {
        scale: LossScale::of(2.0_f64.powi(30)),
        ..AT_ONCE
    };
    let course = Course {
        from,
        every: Some(every),
        ..Course::default()
    };
    let fitted = fit_at(
        pace,
        classifier(3, 0.1),
        &material,
        recipe,
        &Device::flex(),
        course,
        &mut |event| {
            let stops = stop(&event);
            match event {
                Event::Step(record) => lines.push(serde_json::to_string(record).unwrap()),
                Event::Validation(record) => lines.push(serde_json::to_string(record).unwrap()),
                Event::State(held) => {
                    let State { numbers, tensors } = held.read().unwrap();
                    let text = serde_json::to_string(&numbers).unwrap();
                    let numbers = serde_json::from_str(&text).unwrap();
                    state = Some((lines.len(), State { numbers, tensors }));
                }
                Event::Rows(_) | Event::Halved(_) | Event::ByTheHost(_) => {}
            }
            match stops {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        },
    );
    let fitted = match fitted {
        Err(LearnError::Interrupted) => None,
        other => Some(other.unwrap()),
    };
    let state = state.map(|(told, state)| {
        // What was told after the state is told again.
        if fitted.is_none() {
            lines.truncate(told);
        }
        state
    });
    (lines, state, fitted)
}

fn whole(recipe: &Recipe) -> Whole {
    let (lines, _, fitted) = go(recipe, None, 1000, &|_| false);
    Whole {
        lines,
        ..about(&fitted.unwrap())
    }
}

/// Stopped by `stop`, and gone on from the last state.
fn in_two(recipe: &Recipe, every: u64, stop: &dyn Fn(&Event) -> bool) -> Whole {
    let (mut lines, state, fitted) = go(recipe, None, every, stop);
    assert!(fitted.is_none(), "it was not stopped");
    let (rest, _, fitted) = go(recipe, state, every, &|_| false);
    lines.extend(rest);
    Whole {
        lines,
        ..about(&fitted.unwrap())
    }
}

fn at_step(wanted: u64) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Step(record) if record.step == wanted)
}

fn named(name: OptimizerName) -> Recipe {
    let mut recipe = recipe();
    recipe.optimizer.name = name;
    recipe
}

#[test]
fn a_training_stopped_at_any_step_ends_as_one_that_was_not() {
    let recipe = recipe();
    let undisturbed = whole(&recipe);
    // Five steps an epoch, four epochs: also right before and after a validation.
    for step in 1..20 {
        let found = in_two(&recipe, 1000, &at_step(step));
        assert_eq!(found, undisturbed, "stopped at step {step}");
    }
}

#[test]
fn each_optimizer_goes_on_with_what_it_remembers() {
    let momentum = |nesterov: bool| {
        let mut recipe = named(OptimizerName::Sgd);
        recipe.optimizer.momentum = Some(0.9);
        recipe.optimizer.nesterov = nesterov;
        recipe
    };
    for recipe in [
        named(OptimizerName::Adam),
        named(OptimizerName::Lamb),
        named(OptimizerName::Sgd),
        momentum(false),
        momentum(true),
    ] {
        let found = in_two(&recipe, 1000, &at_step(7));
        assert_eq!(found, whole(&recipe), "{:?}", recipe.optimizer);
    }
}

#[test]
fn averages_plateaus_patience_parts_and_half_precision_go_on() {
    let with = |change: &dyn Fn(&mut Recipe)| {
        let mut recipe = recipe();
        change(&mut recipe);
        recipe
    };
    let recipes = [
        with(&|recipe| recipe.ema = Some(EmaSettings { decay: 0.8 })),
        with(&|recipe| recipe.keep_last = 2),
        with(&|recipe| recipe.keep = Keep::Last),
        with(&|recipe| recipe.batch.micro_size = Some(crate::learn::batch::MicroSize::Rows(3))),
        with(&|recipe| recipe.precision = Precision::Fp16),
        with(&|recipe| recipe.precision = Precision::Bf16),
        with(&|recipe| recipe.gradient_checkpointing = true),
        with(&|recipe| {
            recipe.schedule.name = ScheduleName::ReduceOnPlateau;
            recipe.schedule.patience = Some(0);
            recipe.evaluate_every = EvaluateEvery {
                steps: Some(3),
                epochs: None,
            };
        }),
        with(&|recipe| {
            recipe.length = Length::Epochs(8);
            recipe.early_stopping = Some(EarlyStopping {
                metric: Some(Metric::Loss),
                patience: 2,
                minimum_gain: 0.05,
            });
        }),
    ];
    for recipe in recipes {
        let undisturbed = whole(&recipe);
        for step in [4, 11] {
            let found = in_two(&recipe, 1000, &at_step(step));
            assert_eq!(found, undisturbed, "stopped at step {step}: {recipe:?}");
        }
    }
}

#[test]
fn what_is_frozen_thaws_when_it_would_have() {
    let settings = FreezeSettings {
        layers: Some(1),
        unfreeze_every: Some(1),
        ..FreezeSettings::default()
    };
    let recipe = Recipe {
        frozen: Some(Frozen::of(&settings, &classifier(3, 0.1), &[]).unwrap()),
        ..recipe()
    };
    let undisturbed = whole(&recipe);
    for step in [3, 5, 6, 12] {
        let found = in_two(&recipe, 1000, &at_step(step));
        assert_eq!(found, undisturbed, "stopped at step {step}");
    }
}

#[test]
fn a_stop_within_a_validation_asks_its_rows_again() {
    let recipe = recipe();
    let undisturbed = whole(&recipe);
    let rows = |event: &Event| matches!(event, Event::Rows(_));
    assert_eq!(in_two(&recipe, 1000, &rows), undisturbed);
    let scored = |event: &Event| matches!(event, Event::Validation(record) if record.epoch == 2);
    assert_eq!(in_two(&recipe, 1000, &scored), undisturbed);
}

#[test]
fn a_state_is_told_after_every_so_many_steps_and_the_last_of_them_will_do() {
    let recipe = recipe();
    let (train, names) = (toy(40, false), names());
    let mut told = Vec::new();
    let course = Course {
        from: None,
        every: Some(6),
        ..Course::default()
    };
    fit(
        classifier(3, 0.1),
        &material(&train, None, &judge(None), &names),
        &recipe,
        &Device::flex(),
        course,
        &mut |event| {
            if let Event::State(held) = event {
                told.push(held.numbers.step);
            }
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert_eq!(told, [6, 12, 18]);
    // A power cut tells nothing at the end.
    let (_, state, _) = go(
        &recipe,
        None,
        6,
        &|event| matches!(event, Event::State(held) if held.numbers.step == 12),
    );
    let (lines, _, fitted) = go(&recipe, state, 6, &|_| false);
    let undisturbed = whole(&recipe);
    assert_eq!(about(&fitted.unwrap()).weights, undisturbed.weights);
    assert!(undisturbed.lines.ends_with(&lines), "{lines:#?}");
}

#[test]
fn a_state_of_another_model_is_refused() {
    let recipe = recipe();
    let (_, state, _) = go(&recipe, None, 4, &at_step(4));
    let mut state = state.unwrap();
    let name = "model/classifier.weight";
    assert!(
        state.tensors.contains_key(name),
        "{:?}",
        state.tensors.keys()
    );
    state.tensors.get_mut(name).unwrap().pop();
    let (train, names) = (toy(40, false), names());
    let course = Course {
        from: Some(state),
        every: None,
        ..Course::default()
    };
    let refused = fit(
        classifier(3, 0.1),
        &material(&train, None, &judge(None), &names),
        &recipe,
        &Device::flex(),
        course,
        &mut |_| ControlFlow::Continue(()),
    );
    assert!(matches!(refused, Err(LearnError::ForeignState { name: found }) if found == name));
}
