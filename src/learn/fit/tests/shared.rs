//! Batches shared among devices: that nothing changes but the rounding of sums.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::super::reduce::{self, Flat};
use super::*;
use crate::learn::batch::tests::Vectors;
use crate::learn::objective::tests as marked;
use crate::learn::{FreezeSettings, Frozen, Gradients, MicroSize, OptimizerName};
use crate::model::LoraSettings;
use crate::text::NONE;

/// The step records and the weights of a training on so many devices, all of them this processor.
fn on(devices: usize, recipe: &Recipe, dropout: f64) -> Trained {
    on_in(AT_ONCE, devices, recipe, dropout)
}

type Weights = BTreeMap<String, Vec<f32>>;

type Trained = (Vec<StepRecord>, Weights);

fn on_in(pace: Pace, devices: usize, recipe: &Recipe, dropout: f64) -> Trained {
    let train = toy(29, false);
    let mut records = Vec::new();
    let case: Case = (classifier(3, dropout), &LABEL, &train);
    let weights = train_on(pace, devices, recipe, case, &mut records, &|_| {});
    (records, weights.unwrap())
}

/// What is trained: a model, by which objective, on which rows.
type Case<'a> = (Classifier, &'a Objective, &'a dyn Rows);

fn train_on(
    pace: Pace,
    devices: usize,
    recipe: &Recipe,
    (model, objective, train): Case,
    records: &mut Vec<StepRecord>,
    heard: &dyn Fn(&Event),
) -> Result<Weights, LearnError> {
    let (nothing, names) = (judge(None), names());
    let material = Material {
        train,
        validation: None,
        objective,
        judge: &nothing,
        metric: Metric::Accuracy,
        label_names: &names,
        pad_id: 0,
        max_length: 16,
    };
    let course = Course {
        beside: vec![Device::flex(); devices - 1],
        ..Course::default()
    };
    let fitted = fit_at(
        pace,
        model,
        &material,
        recipe,
        &Device::flex(),
        course,
        &mut |event| {
            heard(&event);
            if let Event::Step(record) = event {
                records.push(record.clone());
            }
            ControlFlow::Continue(())
        },
    );
    fitted.map(|fitted| weights(&fitted.model))
}

#[track_caller]
fn same(found: &Trained, wanted: &Trained, what: &str) {
    same_from(&weights(&classifier(3, 0.0)), found, wanted, what);
}

/// That of two trainings of a model with the weights `begin`.
#[track_caller]
fn same_from(begin: &Weights, found: &Trained, wanted: &Trained, what: &str) {
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
    let moved = largest(&wanted.1, begin);
    let apart = largest(&found.1, &wanted.1);
    assert!(
        moved > 0.0 && apart < 0.02 * moved,
        "{what}: {apart} apart after {moved}"
    );
}

/// Adds up what so many threads call it with, in the order in which they come, as a communicator does: it knows no training. A
/// caller that stays alone panics after a while.
fn rendezvous(devices: usize) -> AllReduce {
    #[derive(Default)]
    struct Meeting {
        sum: Vec<f32>,
        came: usize,
        /// How many meetings are over, and what came of the last.
        over: usize,
        result: Vec<f32>,
    }
    let meeting = Arc::new((Mutex::new(Meeting::default()), Condvar::new()));
    Arc::new(move |flat, _| {
        let device = flat.device();
        let own: Vec<f32> = flat.try_into_vec_as().unwrap();
        let (meeting, all_came) = &*meeting;
        let mut now = meeting.lock().unwrap();
        match now.came {
            0 => now.sum = own,
            _ => {
                assert_eq!(now.sum.len(), own.len(), "another training's numbers");
                now.sum
                    .iter_mut()
                    .zip(own)
                    .for_each(|(sum, own)| *sum += own);
            }
        }
        now.came += 1;
        let this = now.over;
        if now.came == devices {
            now.came = 0;
            now.over += 1;
            now.result = std::mem::take(&mut now.sum);
            all_came.notify_all();
        }
        while now.over == this {
            let (waited, late) = all_came.wait_timeout(now, Duration::from_secs(60)).unwrap();
            assert!(!late.timed_out(), "the others never came");
            now = waited;
        }
        Tensor::from_data(now.result.as_slice(), &device)
    })
}

/// Devices that add up among themselves.
fn among(all: &AllReduce) -> Pace<'_> {
    Pace {
        all: Some(all),
        ..AT_ONCE
    }
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
        let all = rendezvous(devices);
        let shared = on_in(among(&all), devices, &recipe, 0.1);
        same(&shared, &alone, &format!("{devices} among themselves"));
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

/// Rows of which every third has no word with a tag.
struct Untagged {
    rows: marked::Marked,
    none: Vec<u32>,
}

impl Rows for Untagged {
    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn ids(&self, row: usize) -> &[u32] {
        self.rows.ids(row)
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        self.rows.type_ids(row)
    }

    fn label(&self, row: usize) -> Option<u32> {
        self.rows.label(row)
    }

    fn id(&self, row: usize) -> u64 {
        self.rows.id(row)
    }

    fn words(&self, row: usize) -> Option<&[u32]> {
        self.rows.words(row)
    }

    fn tags(&self, row: usize) -> Option<&[u32]> {
        let tags = self.rows.tags(row)?;
        Some(match row % 3 {
            0 => &self.none[..tags.len()],
            _ => tags,
        })
    }
}

/// Labels, sets of labels, tags with and without a CRF, answers and targets; with weights of classes, smoothed labels and the
/// focal loss. Gradients of two and of eight devices, of which each then has one row.
#[test]
fn every_objective_can_be_shared() {
    let recipe = Recipe {
        length: Length::Epochs(2),
        // Adam makes a whole step of a gradient that is nothing but rounding.
        optimizer: OptimizerSettings {
            learning_rate: 0.05,
            name: OptimizerName::Sgd,
            ..OptimizerSettings::default()
        },
        ..recipe()
    };
    let rows = marked::toy(29);
    let untagged = Untagged {
        rows: marked::toy(29),
        none: vec![NONE; 16],
    };
    for (objective, head) in &marked::cases() {
        let rows: &dyn Rows = match objective {
            Objective::Tags(_) => &untagged,
            _ => &rows,
        };
        let model = marked::dropping(0.1, head, &Device::flex());
        let train = |pace: Pace, devices| {
            let mut records = Vec::new();
            let case = (model.clone(), objective, rows);
            let weights = train_on(pace, devices, &recipe, case, &mut records, &|_| {});
            (records, weights.unwrap())
        };
        let alone = train(AT_ONCE, 1);
        let begin = weights(&model);
        for devices in [2, 8] {
            let what = format!("{objective:?} on {devices}");
            same_from(&begin, &train(AT_ONCE, devices), &alone, &what);
            let all = rendezvous(devices);
            same_from(&begin, &train(among(&all), devices), &alone, &what);
        }
    }
}

#[test]
fn factors_of_lora_can_be_shared() {
    let model = super::lora::for_toys(&LoraSettings::default());
    let rows = toy(29, false);
    let train = |pace: Pace, devices| {
        let mut records = Vec::new();
        let case = (model.clone(), &LABEL, &rows as &dyn Rows);
        let weights = train_on(pace, devices, &recipe(), case, &mut records, &|_| {});
        (records, weights.unwrap())
    };
    let alone = train(AT_ONCE, 1);
    let begin = weights(&model);
    same_from(&begin, &train(AT_ONCE, 2), &alone, "by the host");
    let all = rendezvous(2);
    same_from(&begin, &train(among(&all), 2), &alone, "among themselves");
}

/// No gradient leads into the encoder, and decay of weights, which comes with a gradient, leaves it as it was.
#[test]
fn stored_vectors_can_be_shared_and_what_is_below_them_stays_as_it_was() {
    let recipe = Recipe {
        optimizer: OptimizerSettings {
            weight_decay: Some(0.5),
            ..recipe().optimizer
        },
        ..recipe()
    };
    let listed = toy(29, false);
    let vector = |row: usize| {
        let label = listed.label(row).unwrap() as usize;
        let place = |place: usize| ((row * 5 + place * 3) % 11) as f32 / 11.0;
        (0..16)
            .map(|at| place(at) + ((at % 2) == label) as u8 as f32)
            .collect()
    };
    let vectors = (0..29).map(vector).collect();
    let rows = Vectors(listed, vectors);
    let model = classifier(3, 0.1);
    let train = |pace: Pace, devices| {
        let mut records = Vec::new();
        let case = (model.clone(), &LABEL, &rows as &dyn Rows);
        let weights = train_on(pace, devices, &recipe, case, &mut records, &|_| {});
        (records, weights.unwrap())
    };
    let begin = weights(&model);
    let alone = train(AT_ONCE, 1);
    let all = rendezvous(2);
    for (shared, what) in [
        (train(AT_ONCE, 2), "by the host"),
        (train(among(&all), 2), "among themselves"),
    ] {
        same_from(&begin, &shared, &alone, what);
        let moved: Vec<&String> = shared
            .1
            .keys()
            .filter(|&name| shared.1[name] != begin[name])
            .collect();
        assert!(
            !moved.is_empty()
                && moved
                    .iter()
                    .all(|name| !name.contains("embeddings") && !name.contains("layer.")),
            "{what}: {moved:?}"
        );
    }
}

#[test]
fn a_parameter_that_no_share_used_has_no_gradient_in_the_sum() {
    let (device, model) = (Device::flex(), classifier(3, 0.0).train());
    let sizes: Vec<(String, usize)> = weights(&model.valid())
        .into_iter()
        .map(|(name, values)| (name, values.len()))
        .collect();
    let summand = |left_out: &[usize], value: f32| {
        let mut gradients = Gradients::default();
        for (number, (name, elements)) in sizes.iter().enumerate() {
            if !left_out.contains(&number) {
                gradients.insert(name, Tensor::<1>::full([*elements], value, &device));
            }
        }
        Some((Tensor::<1>::full([1], value, &device), gradients))
    };
    let one = Flat::of(summand(&[0, 1], 2.0), &model, &device).unwrap();
    let other = Flat::of(summand(&[0, 2], 3.0), &model, &device).unwrap();
    let used = one.used.union(&other.used).cloned().collect();
    let all = rendezvous(2);
    let (loss, mut gradients) = std::thread::scope(|scope| {
        let second = scope.spawn(|| other.sum(&all, &[], &Default::default()));
        let first = one.sum(&all, &[], &used);
        second.join().unwrap();
        first
    });
    assert_eq!(loss.into_scalar::<f32>(), 5.0);
    for (number, wanted) in [None, Some(3.0), Some(2.0), Some(5.0)]
        .into_iter()
        .enumerate()
    {
        let (name, elements) = &sizes[number];
        let found = gradients.remove(name);
        let found = found.map(|found| found.try_into_vec_as::<f32>().unwrap());
        assert_eq!(found, wanted.map(|value| vec![value; *elements]), "{name}");
    }
}

/// What does not fit on the first device is done again on all.
#[test]
fn parts_are_halved_on_all_devices_until_they_fit() {
    let recipe = Recipe {
        batch: BatchSettings {
            micro_size: Some(MicroSize::Auto),
            ..recipe().batch
        },
        ..recipe()
    };
    let alone = on(1, &recipe, 0.1);
    let all = rendezvous(2);
    for pace in [AT_ONCE, among(&all)] {
        let pace = Pace {
            fits: Some(&|rows| rows <= 1),
            ..pace
        };
        same(&on_in(pace, 2, &recipe, 0.1), &alone, "parts of one row");
    }
}

#[test]
fn two_trainings_side_by_side_keep_their_gradients_apart() {
    let all = rendezvous(2);
    let of = |seed| Recipe { seed, ..recipe() };
    let alone = [13, 14].map(|seed| on_in(among(&all), 2, &of(seed), 0.1));
    assert!(alone[0] != alone[1]);
    let beside = std::thread::scope(|scope| {
        let all = &all;
        let begin = |seed| scope.spawn(move || on_in(among(all), 2, &of(seed), 0.1));
        [13, 14].map(begin).map(|training| training.join().unwrap())
    });
    assert!(beside == alone);
}

/// Without NCCL's library.
#[test]
fn devices_whose_collectives_fail_go_by_way_of_the_host_and_say_so_once() {
    let recipe = recipe();
    let there_are_none = reduce::of_devices();
    let told = std::cell::Cell::new(0);
    let rows = toy(29, false);
    let mut records = Vec::new();
    let case = (classifier(3, 0.1), &LABEL, &rows as &dyn Rows);
    let heard = |event: &Event| {
        if let Event::ByTheHost(_) = event {
            told.set(told.get() + 1);
        }
    };
    let pace = among(&there_are_none);
    let weights = train_on(pace, 2, &recipe, case, &mut records, &heard).unwrap();
    assert_eq!(told.get(), 1);
    assert!((records, weights) == on(2, &recipe, 0.1));
}

/// Rows of which one cannot be read by a replica, once it is so.
struct Breaks<'a>(Listed, &'a AtomicBool);

fn is_replica() -> bool {
    std::thread::current().name() == Some("replica")
}

impl Rows for Breaks<'_> {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn ids(&self, row: usize) -> &[u32] {
        self.0.ids(row)
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        self.0.type_ids(row)
    }

    fn label(&self, row: usize) -> Option<u32> {
        assert!(
            row != 5 || !is_replica() || !self.1.load(Ordering::Relaxed),
            "row {row} is broken"
        );
        self.0.label(row)
    }

    fn id(&self, row: usize) -> u64 {
        self.0.id(row)
    }
}

/// Several times, because the row may fall to the first device, too.
#[test]
fn a_device_that_fails_ends_the_training_with_an_error_that_names_it() {
    let all = rendezvous(3);
    for pace in [AT_ONCE, among(&all)] {
        let broken = AtomicBool::new(false);
        let rows = Breaks(toy(29, false), &broken);
        let mut records = Vec::new();
        let case = (classifier(3, 0.1), &LABEL, &rows as &dyn Rows);
        let recipe = Recipe {
            length: Length::Epochs(30),
            ..recipe()
        };
        let heard = |event: &Event| {
            if let Event::Step(_) = event {
                broken.store(true, Ordering::Relaxed);
            }
        };
        match train_on(pace, 3, &recipe, case, &mut records, &heard) {
            Err(LearnError::Device { device, cause, .. }) => {
                assert_eq!(
                    (device.as_str(), cause.as_str()),
                    ("flex", "row 5 is broken")
                );
            }
            other => panic!("expected an error, got {other:?}"),
        }
        assert!(!records.is_empty());
    }
}

/// On the first device as on another, when all had their numbers already.
#[test]
fn a_device_that_fails_while_they_add_up_is_an_error_too() {
    for on_replica in [false, true] {
        let broken = Arc::new(AtomicBool::new(false));
        let rendezvous = rendezvous(2);
        let all: AllReduce = {
            let broken = Arc::clone(&broken);
            Arc::new(move |flat, devices| match broken.load(Ordering::Relaxed) {
                true if is_replica() == on_replica => panic!("the link is broken"),
                true => flat,
                false => rendezvous(flat, devices),
            })
        };
        let rows = toy(29, false);
        let mut records = Vec::new();
        let case = (classifier(3, 0.1), &LABEL, &rows as &dyn Rows);
        let heard = |event: &Event| {
            if let Event::Step(_) = event {
                broken.store(true, Ordering::Relaxed);
            }
        };
        match train_on(among(&all), 2, &recipe(), case, &mut records, &heard) {
            Err(LearnError::Device { cause, .. }) => assert_eq!(cause, "the link is broken"),
            other => panic!("expected an error, got {other:?}"),
        }
        assert_eq!(records.len(), 1);
    }
}

/// Scaled so high at first that gradients overflow.
#[test]
fn steps_whose_gradients_overflow_are_left_out_as_on_one_device() {
    let recipe = Recipe {
        precision: Precision::Fp16,
        length: Length::Steps(40),
        ..recipe()
    };
    let first = |records: &[StepRecord]| records.iter().take_while(|record| record.skipped).count();
    let all_of = |records: &[StepRecord]| records.iter().filter(|record| record.skipped).count();
    let scale = LossScale::of(2.0_f64.powi(30));
    let (alone, _) = on_in(Pace { scale, ..AT_ONCE }, 1, &recipe, 0.0);
    let all = rendezvous(2);
    for pace in [AT_ONCE, among(&all)] {
        let (shared, _) = on_in(Pace { scale, ..pace }, 2, &recipe, 0.0);
        assert!(first(&shared) > 0 && first(&shared) < 40);
        assert_eq!(first(&shared), first(&alone));
        // Later a gradient may be at the very limit, and sums in another order fall on its other side. From there on they
        // are not the same training.
        assert!(all_of(&shared).abs_diff(all_of(&alone)) <= 1);
        let pairs = shared.iter().zip(&alone);
        let same = pairs.take_while(|(shared, alone)| shared.skipped == alone.skipped);
        let mut compared = 0;
        for (shared, alone) in same {
            assert!((shared.loss - alone.loss).abs() < 5e-3 * alone.loss);
            compared += 1;
        }
        assert!(compared > first(&alone) + 2);
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
