//! The loop on toy rows: what it learns, keeps, stops at, and that it repeats itself.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::*;
use crate::learn::batch::tests::Listed;
use crate::learn::{
    BatchSettings, CrossEntropy, Optimizer, OptimizerSettings, Schedule, ScheduleSettings, predict,
};
use crate::metrics;
use crate::model::{self, HeadSettings, ScratchSettings, VisitParameters, Vocabulary};

const LABEL: Objective = Objective::Label(CrossEntropy {
    class_weights: None,
    label_smoothing: 0.0,
    focal: None,
});

const VOCABULARY: Vocabulary = Vocabulary {
    size: 32,
    pad_id: 0,
};

/// Rows of three to seven tokens; those of label 1 have their tokens from the upper half of the vocabulary.
fn toy(rows: usize, flipped: bool) -> Listed {
    let row = |row: usize| {
        let label = (row % 2) as u32;
        let ids = (0..3 + row % 5)
            .map(|place| 2 + label * 15 + (row * 7 + place * 3) as u32 % 15)
            .collect();
        (ids, Some(if flipped { 1 - label } else { label }))
    };
    Listed((0..rows).map(row).collect())
}

fn classifier(seed: u64, dropout: f64) -> Classifier {
    let scratch = ScratchSettings {
        layers: 1,
        hidden: 16,
        heads: 2,
        intermediate: None,
        dropout,
        max_positions: 16,
    };
    let head = HeadSettings::default().over_texts(2);
    Classifier::scratch(&scratch, VOCABULARY, &head, seed, &Device::flex())
        .unwrap()
        .0
}

fn recipe() -> Recipe {
    Recipe {
        length: Length::Epochs(4),
        batch: BatchSettings {
            size: 8,
            ..BatchSettings::default()
        },
        optimizer: OptimizerSettings {
            learning_rate: 5e-3,
            ..OptimizerSettings::default()
        },
        schedule: ScheduleSettings::default(),
        evaluate_every: EvaluateEvery::default(),
        early_stopping: None,
        keep: Keep::default(),
        keep_last: 0,
        ema: None,
        frozen: None,
        gradient_checkpointing: false,
        precision: Precision::Fp32,
        seed: 13,
    }
}

fn names() -> [String; 2] {
    ["low".to_owned(), "high".to_owned()]
}

type Judge<'a> = dyn Fn(&Classifier, &Predictions) -> Result<Judgement, LearnError> + 'a;

/// The scores of a classification of these rows.
fn judge(
    validation: Option<&Listed>,
) -> impl Fn(&Classifier, &Predictions) -> Result<Judgement, LearnError> {
    let labels = validation.map(labels).unwrap_or_default();
    move |_, answers| {
        let scores = metrics::classification(&labels, &answers.labels(), &names());
        Ok(Judgement {
            scores: scores.flat(answers.loss(&labels)),
            thresholds: None,
        })
    }
}

fn labels(rows: &Listed) -> Vec<u32> {
    (0..rows.rows())
        .map(|row| rows.label(row).unwrap())
        .collect()
}

fn material<'a>(
    train: &'a Listed,
    validation: Option<&'a Listed>,
    judge: &'a Judge,
    label_names: &'a [String],
) -> Material<'a> {
    Material {
        train,
        validation: validation.map(|rows| rows as &dyn Rows),
        objective: &LABEL,
        judge,
        metric: Metric::Accuracy,
        label_names,
        pad_id: 0,
        max_length: 16,
    }
}

fn run(train: &Listed, validation: Option<&Listed>, recipe: &Recipe) -> Result<Fitted, LearnError> {
    let names = names();
    let model = classifier(recipe.seed, 0.1);
    fit(
        model,
        &material(train, validation, &judge(validation), &names),
        recipe,
        &Device::flex(),
        Course::default(),
        &mut |_| ControlFlow::Continue(()),
    )
}

fn weights(model: &Classifier) -> BTreeMap<String, Vec<f32>> {
    struct Read(BTreeMap<String, Vec<f32>>);
    impl VisitParameters for Read {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
            self.0
                .insert(name.to_owned(), parameter.val().try_into_vec_as().unwrap());
        }
    }
    let mut read = Read(BTreeMap::new());
    model::visit_parameters(model, &mut read);
    read.0
}

fn watching_the_loss(patience: u32) -> Option<EarlyStopping> {
    Some(EarlyStopping {
        metric: Some(Metric::Loss),
        patience,
        minimum_gain: 0.0,
    })
}

#[test]
fn a_separable_toy_set_is_learned() {
    let (train, validation) = (toy(96, false), toy(40, false));
    let fitted = run(&train, Some(&validation), &recipe()).unwrap();
    assert_eq!(fitted.scores.unwrap()["accuracy"], 1.0);
    assert_eq!(fitted.steps, 48);
}

#[test]
fn the_best_weights_are_kept_and_not_the_last() {
    // The validation labels are turned round, so that every epoch makes the validation loss worse.
    let (train, validation) = (toy(96, false), toy(40, true));
    let recipe = Recipe {
        early_stopping: watching_the_loss(100),
        ..recipe()
    };
    let fitted = run(&train, Some(&validation), &recipe).unwrap();
    assert_eq!(
        (fitted.best_epoch, fitted.best_step, fitted.steps),
        (1, 12, 48)
    );
    let labels = labels(&validation);
    let go_on = &mut |_| ControlFlow::Continue(());
    let answers = predict(&fitted.model, &validation, 0, 64, &Device::flex(), go_on).unwrap();
    assert_eq!(fitted.scores.unwrap()["loss"], answers.loss(&labels));
}

#[test]
fn early_stopping_stops_after_its_patience() {
    let (train, validation) = (toy(96, false), toy(40, true));
    let recipe = Recipe {
        length: Length::Epochs(20),
        early_stopping: watching_the_loss(2),
        ..recipe()
    };
    let fitted = run(&train, Some(&validation), &recipe).unwrap();
    assert!(fitted.stopped_early);
    assert_eq!((fitted.best_epoch, fitted.steps), (1, 3 * 12));
}

#[test]
fn a_gain_below_the_minimum_does_not_prolong_the_training_but_is_kept() {
    let (train, validation) = (toy(96, false), toy(40, false));
    let stopping = EarlyStopping {
        metric: Some(Metric::Loss),
        patience: 1,
        minimum_gain: 1e3,
    };
    let recipe = Recipe {
        length: Length::Epochs(9),
        early_stopping: Some(stopping),
        ..recipe()
    };
    let fitted = run(&train, Some(&validation), &recipe).unwrap();
    assert_eq!((fitted.best_epoch, fitted.steps), (2, 2 * 12));
}

#[test]
fn without_validation_the_last_weights_are_kept_and_max_steps_ends_within_an_epoch() {
    let train = toy(96, false);
    let fitted = run(
        &train,
        None,
        &Recipe {
            length: Length::Steps(14),
            ..recipe()
        },
    )
    .unwrap();
    assert_eq!(
        (
            fitted.steps,
            fitted.best_step,
            fitted.best_epoch,
            fitted.scores
        ),
        (14, 14, 2, None)
    );
}

#[test]
fn equal_seeds_give_equal_weights_and_another_seed_gives_others() {
    let (train, validation) = (toy(48, false), toy(16, false));
    let trained = |seed| {
        weights(
            &run(&train, Some(&validation), &Recipe { seed, ..recipe() })
                .unwrap()
                .model,
        )
    };
    let first = trained(1);
    assert_eq!(first, trained(1));
    assert_ne!(first, trained(2));
}

/// Rows and sizes that are large enough for every operation to be cut into pieces.
#[test]
fn any_number_of_threads_gives_equal_weights() {
    let row = |row: usize| {
        let ids = (0..20 + row % 30).map(|place| 2 + (row * 7 + place * 3) as u32 % 30);
        (ids.collect(), Some((row % 2) as u32))
    };
    let (train, names) = (Listed((0..128).map(row).collect()), names());
    let scratch = ScratchSettings {
        layers: 1,
        hidden: 128,
        heads: 4,
        intermediate: None,
        dropout: 0.1,
        max_positions: 64,
    };
    let trained = |precision, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let recipe = Recipe {
            length: Length::Steps(2),
            batch: BatchSettings {
                size: 64,
                ..BatchSettings::default()
            },
            precision,
            ..recipe()
        };
        let head = HeadSettings {
            pooling: model::Pooling::Mean,
            ..HeadSettings::default()
        };
        let head = head.over_texts(2);
        let (model, _) =
            Classifier::scratch(&scratch, VOCABULARY, &head, 1, &Device::flex()).unwrap();
        pool.install(|| {
            let judge = judge(Some(&train));
            let material = Material {
                max_length: 64,
                ..material(&train, Some(&train), &judge, &names)
            };
            let go_on = &mut |_: Event| ControlFlow::Continue(());
            weights(
                &fit(
                    model,
                    &material,
                    &recipe,
                    &Device::flex(),
                    Course::default(),
                    go_on,
                )
                .unwrap()
                .model,
            )
        })
    };
    for precision in [Precision::Fp32, Precision::Bf16] {
        let one = trained(precision, 1);
        for threads in [2, 3] {
            let same = one == trained(precision, threads);
            assert!(same, "{threads} threads in {precision}");
        }
    }
}

#[test]
fn an_interruption_ends_the_loop_between_steps() {
    let (train, names) = (toy(96, false), names());
    let mut steps = 0;
    let stopped = fit(
        classifier(1, 0.1),
        &material(&train, None, &judge(None), &names),
        &recipe(),
        &Device::flex(),
        Course::default(),
        &mut |_| {
            steps += 1;
            if steps == 3 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    );
    assert!(matches!(stopped, Err(LearnError::Interrupted)));
    assert_eq!(steps, 3);
}

#[test]
fn every_step_is_told_with_the_schedules_rate() {
    let (train, names) = (toy(20, false), names());
    let recipe = Recipe {
        length: Length::Steps(5),
        ..recipe()
    };
    let mut told = Vec::new();
    fit(
        classifier(1, 0.1),
        &material(&train, None, &judge(None), &names),
        &recipe,
        &Device::flex(),
        Course::default(),
        &mut |event| {
            if let Event::Step(record) = event {
                told.push(record.clone());
            }
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    let schedule = Schedule::new(&recipe.schedule, 5e-3, 5);
    let found: Vec<_> = told
        .iter()
        .map(|record| (record.step, record.epoch, record.learning_rate))
        .collect();
    let expected: Vec<_> = (0..5)
        .map(|step| (step + 1, step / 3 + 1, schedule.rate(step)))
        .collect();
    assert_eq!(found, expected);
}

/// The steps that a training at this pace tells.
fn told(pace: Pace, dropout: f64, recipe: &Recipe) -> (Vec<StepRecord>, Result<(), LearnError>) {
    let (train, names) = (toy(24, false), names());
    let mut records = Vec::new();
    let fitted = fit_at(
        pace,
        classifier(1, dropout),
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
    (records, fitted.map(|_| ()))
}

const AT_ONCE: Pace = Pace {
    layout: Layout::Packed,
    together: 1,
    fits: None,
    scale: LossScale::BEGIN,
    all: None,
};

#[test]
fn padding_changes_nothing_but_rounding() {
    let losses = |layout| {
        let (records, _) = told(Pace { layout, ..AT_ONCE }, 0.0, &recipe());
        records
            .into_iter()
            .map(|record| record.loss)
            .collect::<Vec<_>>()
    };
    let packed = losses(Layout::Packed);
    assert_eq!(packed.len(), 12);
    for layout in [Layout::Padded { to: None }, Layout::Padded { to: Some(9) }] {
        for (packed, padded) in packed.iter().zip(losses(layout)) {
            assert!((packed - padded).abs() < 1e-3, "{padded} is not {packed}");
        }
    }
}

/// Records as they are where each is read alone.
fn alone(records: Vec<StepRecord>) -> Vec<StepRecord> {
    let alone = |record| StepRecord {
        more: false,
        ..record
    };
    records.into_iter().map(alone).collect()
}

#[test]
fn losses_that_are_read_together_are_those_read_at_once() {
    let (at_once, _) = told(AT_ONCE, 0.1, &recipe());
    for together in [5, 12, 100] {
        let (later, _) = told(
            Pace {
                together,
                ..AT_ONCE
            },
            0.1,
            &recipe(),
        );
        assert!(later.iter().any(|record| record.more));
        assert_eq!(at_once, alone(later));
    }
}

#[test]
fn steps_before_a_divergence_are_told_even_when_read_together() {
    let recipe = Recipe {
        optimizer: OptimizerSettings {
            learning_rate: 1e30,
            ..OptimizerSettings::default()
        },
        ..recipe()
    };
    let (at_once, end) = told(AT_ONCE, 0.1, &recipe);
    let (later, end_later) = told(
        Pace {
            together: 10,
            ..AT_ONCE
        },
        0.1,
        &recipe,
    );
    assert!(!at_once.is_empty());
    assert_eq!(at_once, alone(later));
    for end in [end, end_later] {
        let first = at_once.len() as u64 + 1;
        assert!(matches!(end, Err(LearnError::Diverged { step, .. }) if step == first));
    }
}

#[test]
fn a_diverging_training_is_an_error_that_names_step_and_rate() {
    let optimizer = OptimizerSettings {
        learning_rate: 1e30,
        ..OptimizerSettings::default()
    };
    let recipe = Recipe {
        optimizer,
        length: Length::Epochs(9),
        ..recipe()
    };
    match run(&toy(48, false), None, &recipe) {
        Err(LearnError::Diverged {
            step,
            learning_rate,
            ..
        }) => assert!(step > 1 && learning_rate > 1e28),
        other => panic!("expected a divergence, got {other:?}"),
    }
}

#[test]
fn rows_that_cannot_be_learned_from_are_errors() {
    assert!(matches!(
        run(&Listed(vec![]), None, &recipe()),
        Err(LearnError::NoRows { split }) if split == "train"
    ));
    let one_label = Listed((0..6).map(|_| (vec![2, 3], Some(1))).collect());
    assert!(
        matches!(run(&one_label, None, &recipe()), Err(LearnError::OneLabel { label, .. }) if label == "high")
    );
    let train = toy(8, false);
    assert!(matches!(
        run(&train, Some(&Listed(vec![])), &recipe()),
        Err(LearnError::NoRows { split }) if split == "validation"
    ));
}

mod frozen;
mod lora;
mod parts;
mod precision;
mod recipe;
mod resumed;
mod shared;
