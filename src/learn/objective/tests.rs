//! Every objective on toy rows: what it refuses, that its two losses are one, and that it is learned.

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::Device;
use serde_json::{Map, Value};

use super::*;
use crate::device;
use crate::kernels::Precision;
use crate::learn::{
    BatchSettings, Course, EvaluateEvery, Focal, Gradients, Judgement, Keep, Laid, Layout, Length,
    Material, OptimizerSettings, Recipe, ScheduleSettings, fit, predict,
};
use crate::metrics::Metric;
use crate::model::{HeadKind, HeadSettings, Mode, ScratchSettings, Vocabulary};

/// A row with every kind of mark.
#[derive(Debug, Clone, Default)]
pub(in crate::learn) struct Row {
    ids: Vec<u32>,
    label: Option<u32>,
    labels: Option<Vec<u32>>,
    targets: Option<Vec<f64>>,
    words: Option<Vec<u32>>,
    tags: Option<Vec<u32>>,
    answer: Option<(u32, u32)>,
}

pub(in crate::learn) struct Marked(Vec<Row>);

impl Rows for Marked {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn ids(&self, row: usize) -> &[u32] {
        &self.0[row].ids
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        static ZEROS: [u8; 64] = [0; 64];
        &ZEROS[..self.0[row].ids.len()]
    }

    fn label(&self, row: usize) -> Option<u32> {
        self.0[row].label
    }

    fn id(&self, row: usize) -> u64 {
        100 + row as u64
    }

    fn labels(&self, row: usize) -> Option<&[u32]> {
        self.0[row].labels.as_deref()
    }

    fn targets(&self, row: usize) -> Option<&[f64]> {
        self.0[row].targets.as_deref()
    }

    fn words(&self, row: usize) -> Option<&[u32]> {
        self.0[row].words.as_deref()
    }

    fn tags(&self, row: usize) -> Option<&[u32]> {
        self.0[row].tags.as_deref()
    }

    fn answer(&self, row: usize) -> Option<(u32, u32)> {
        self.0[row].answer
    }
}

/// The first token, as [CLS] is, and then low ids (from 3 on) and high ones (from 18 on). A high word has the tag 1, after
/// another high one 2, and a low one 0; every third token goes on a word. The answer is the one token 2; the targets are the
/// shares of low and of high tokens.
pub(in crate::learn) fn toy(rows: usize) -> Marked {
    let row = |row: usize| {
        let length = 4 + row % 5;
        let mut ids = vec![1];
        let mut generated = 7 * row as u32 + 3;
        for _ in 1..length {
            generated = generated.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            ids.push(3 + generated / 65_536 % 29);
        }
        let place = 1 + row * 5 % (length - 1);
        ids[place] = 2;
        let high = |id: u32| id >= 18;
        let share = |of: bool| {
            let some = ids[1..].iter().filter(|&&id| high(id) == of).count();
            some as f64 / (length - 1) as f64
        };
        let targets = vec![share(false), share(true)];
        let words: Vec<u32> = (0..length)
            .map(|token| match token {
                0 => NONE,
                _ if token % 3 == 0 => NONE,
                _ => (token - token / 3 - 1) as u32,
            })
            .collect();
        let mut before = false;
        let tags = words.iter().zip(&ids).map(|(&word, &id)| {
            if word == NONE {
                return NONE;
            }
            let tag = match (before, high(id)) {
                (_, false) => 0,
                (false, true) => 1,
                (true, true) => 2,
            };
            before = high(id);
            tag
        });
        let tags = tags.collect();
        Row {
            label: Some(u32::from(high(ids[1]))),
            labels: Some(
                (0..2)
                    .filter(|&label| ids[1..].iter().any(|&id| high(id) == (label == 1)))
                    .collect(),
            ),
            targets: Some(targets),
            words: Some(words),
            tags: Some(tags),
            answer: Some((place as u32, place as u32)),
            ids,
        }
    };
    Marked((0..rows).map(row).collect())
}

fn label() -> Objective {
    Objective::Label(CrossEntropy::default())
}

fn labels() -> Objective {
    Objective::Labels(BinaryCrossEntropy::default())
}

fn tags() -> Objective {
    Objective::Tags(CrossEntropy::default())
}

pub(in crate::learn) fn cases() -> Vec<(Objective, HeadKind)> {
    let settings = HeadSettings::default();
    let weighted = Objective::Labels(BinaryCrossEntropy {
        positive_weights: Some(vec![2.5, 0.5]),
        focal: None,
    });
    let focal_labels = Objective::Labels(BinaryCrossEntropy {
        positive_weights: None,
        focal: Some(Focal {
            gamma: 2.0,
            alpha: Some(0.25),
        }),
    });
    let weights = |labels: usize| Some([2.0, 0.5, 1.5][..labels].to_vec());
    let smoothed = |labels: usize| CrossEntropy {
        class_weights: weights(labels),
        label_smoothing: 0.05,
        focal: None,
    };
    let focal = |labels: usize| CrossEntropy {
        class_weights: weights(labels),
        label_smoothing: 0.0,
        focal: Some(2.0),
    };
    vec![
        (label(), settings.over_texts(2)),
        (Objective::Label(smoothed(2)), settings.over_texts(2)),
        (Objective::Label(focal(2)), settings.over_texts(2)),
        (labels(), settings.over_texts(2)),
        (weighted, settings.over_texts(2)),
        (focal_labels, settings.over_texts(2)),
        (tags(), settings.over_tokens(3, false)),
        (Objective::Tags(smoothed(3)), settings.over_tokens(3, false)),
        (Objective::Tags(focal(3)), settings.over_tokens(3, false)),
        (tags(), settings.over_tokens(3, true)),
        (Objective::Answer, HeadKind::Spans),
        (Objective::Targets, settings.over_texts(2)),
    ]
}

fn model(head: &HeadKind, device: &Device) -> Classifier {
    dropping(0.0, head, device)
}

/// A model whose dropout has this probability.
pub(in crate::learn) fn dropping(dropout: f64, head: &HeadKind, device: &Device) -> Classifier {
    let sizes = ScratchSettings {
        layers: 1,
        hidden: 32,
        heads: 2,
        intermediate: None,
        dropout,
        max_positions: 16,
    };
    let vocabulary = Vocabulary {
        size: 32,
        pad_id: 0,
    };
    Classifier::scratch(&sizes, vocabulary, head, 5, device)
        .unwrap()
        .0
}

fn loss(
    model: &Classifier,
    objective: &Objective,
    rows: &dyn Rows,
    chosen: &[usize],
    layout: Layout,
) -> Tensor<1> {
    let device = crate::model::device_of(model).without_autodiff();
    let batch = Laid::out(rows, chosen, layout, 0, 16).on(&device);
    let answers = model.forward(&batch, &Mode::EVALUATE);
    objective.loss(model, answers, rows, chosen, &batch.spans)
}

fn number(loss: Tensor<1>) -> f64 {
    f64::from(loss.into_scalar::<f32>())
}

fn answers(model: &Classifier, rows: &dyn Rows, device: &Device) -> Predictions {
    predict(model, rows, 0, 64, device, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap()
}

pub(in crate::learn) fn devices() -> Vec<Device> {
    let named = |name| match device::choose(name) {
        Ok(chosen) => Some(chosen.device),
        Err(_) => {
            eprintln!("this build has no {name}: skipped");
            None
        }
    };
    ["flex", "ndarray"].into_iter().filter_map(named).collect()
}

const PADDED: [Layout; 2] = [Layout::Padded { to: None }, Layout::Padded { to: Some(11) }];

#[test]
fn a_batch_has_one_loss_in_every_layout_and_on_the_host() {
    let rows = toy(7);
    let chosen = [3, 0, 6, 1, 2, 5, 4];
    for (objective, head) in cases() {
        for device in devices() {
            let model = model(&head, &device);
            let packed = number(loss(&model, &objective, &rows, &chosen, Layout::Packed));
            for layout in PADDED {
                let padded = number(loss(&model, &objective, &rows, &chosen, layout));
                assert!(
                    (packed - padded).abs() < 1e-5,
                    "{objective:?}: {packed} is not {padded}"
                );
            }
            let crf = model.head.crf().map(|crf| crf.values().unwrap());
            let predicted = answers(&model, &rows, &device);
            let on_host = objective.loss_of(&predicted, &rows, crf.as_ref());
            assert!(
                (packed - on_host).abs() < 1e-5,
                "{objective:?}: {packed} is not {on_host}"
            );
        }
    }
}

#[test]
fn a_batch_has_one_gradient_in_every_layout() {
    let rows = toy(7);
    let chosen = [3, 0, 6, 1];
    for (objective, head) in cases() {
        let norms = |layout| {
            let model = model(&head, &Device::flex()).train();
            let loss = loss(&model, &objective, &rows, &chosen, layout);
            Gradients::of(&loss, &model).norms().unwrap()
        };
        let packed = norms(Layout::Packed);
        for layout in PADDED {
            for ((name, packed), padded) in packed.iter().zip(norms(layout).values()) {
                assert!(
                    (packed - padded).abs() < 1e-5,
                    "{objective:?}, {name}: {packed} is not {padded}"
                );
            }
        }
        assert!(
            packed.contains_key("crf.transitions")
                || model(&head, &Device::flex()).head.crf().is_none()
        );
    }
}

#[test]
fn every_objective_is_learned() {
    let (train, validation) = (toy(64), toy(80));
    for (objective, head) in cases() {
        let device = Device::flex();
        let judge = |model: &Classifier, predicted: &Predictions| {
            let crf = model.head.crf().map(|crf| crf.values()).transpose()?;
            let loss = objective.loss_of(predicted, &validation, crf.as_ref());
            Ok(Judgement {
                scores: Map::from_iter([("loss".to_owned(), Value::from(loss))]),
                thresholds: Some(vec![loss]),
            })
        };
        let material = Material {
            train: &train,
            validation: Some(&validation),
            objective: &objective,
            judge: &judge,
            metric: Metric::Loss,
            label_names: &[],
            pad_id: 0,
            max_length: 16,
        };
        let recipe = Recipe {
            length: Length::Epochs(12),
            batch: BatchSettings {
                size: 8,
                ..BatchSettings::default()
            },
            optimizer: OptimizerSettings {
                learning_rate: 1e-2,
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
        };
        let untrained = model(&head, &device);
        let before = judge(&untrained, &answers(&untrained, &validation, &device)).unwrap();
        let go_on = &mut |_: crate::learn::Event| ControlFlow::Continue(());
        let fitted = fit(
            untrained,
            &material,
            &recipe,
            &device,
            Course::default(),
            go_on,
        )
        .unwrap();
        let scores = fitted.scores.unwrap();
        let (before, after) = (&before.scores["loss"], &scores["loss"]);
        let (before, after) = (before.as_f64().unwrap(), after.as_f64().unwrap());
        assert!(after < before / 2.0, "{objective:?}: {before} to {after}");
        assert_eq!(fitted.thresholds, Some(vec![after]));
        let again = judge(&fitted.model, &answers(&fitted.model, &validation, &device)).unwrap();
        assert_eq!(again.scores["loss"], scores["loss"]);
    }
}

/// A window of another window's words.
fn without_words(rows: &mut Marked) {
    for row in &mut rows.0 {
        for numbers in [&mut row.words, &mut row.tags] {
            numbers.as_mut().unwrap().fill(NONE);
        }
    }
}

#[test]
fn a_batch_without_words_has_no_loss_and_no_gradient() {
    let mut rows = toy(3);
    without_words(&mut rows);
    for crf in [false, true] {
        let head = HeadSettings::default().over_tokens(3, crf);
        let model = model(&head, &Device::flex()).train();
        let loss = loss(&model, &tags(), &rows, &[0, 1, 2], Layout::Packed);
        let norms = Gradients::of(&loss, &model).norms().unwrap();
        assert!(norms.values().all(|&norm| norm == 0.0), "{norms:?}");
        assert_eq!(number(loss), 0.0);
        let predicted = answers(&model.valid(), &rows, &Device::flex());
        assert_eq!(tags().loss_of(&predicted, &rows, None), 0.0);
    }
}

#[test]
fn a_window_without_words_counts_for_nothing() {
    let mut rows = toy(3);
    let mut windows = Marked(vec![rows.0[1].clone()]);
    without_words(&mut windows);
    rows.0.push(windows.0.remove(0));
    for crf in [false, true] {
        let head = HeadSettings::default().over_tokens(3, crf);
        let model = model(&head, &Device::flex());
        let of = |chosen: &[usize]| number(loss(&model, &tags(), &rows, chosen, Layout::Packed));
        assert!((of(&[0, 3, 1, 2]) - of(&[0, 1, 2])).abs() < 1e-6);
    }
}

#[test]
fn a_crfs_loss_is_that_of_a_word() {
    let rows = toy(4);
    let head = HeadSettings::default().over_tokens(3, true);
    let device = Device::flex();
    let model = model(&head, &device);
    let crf = model.head.crf().unwrap().values().unwrap();
    let predicted = answers(&model, &rows, &device);
    let (mut sum, mut words) = (0.0, 0);
    for (row, logits) in predicted.logits.iter().enumerate() {
        let tags = rows.tags(row).unwrap().iter().copied();
        let tags: Vec<u32> = tags.filter(|&tag| tag != NONE).collect();
        assert_eq!(logits.len(), 3 * tags.len());
        sum -= crf.log_likelihood(logits, &tags);
        words += tags.len();
    }
    let found = number(loss(&model, &tags(), &rows, &[0, 1, 2, 3], Layout::Packed));
    assert!((found - sum / words as f64).abs() < 1e-5);
}

#[test]
fn answers_come_for_owned_words_and_for_all_tokens_of_a_span() {
    let rows = toy(5);
    let device = Device::flex();
    let tokens = model(&HeadSettings::default().over_tokens(3, false), &device);
    let spans = model(&HeadKind::Spans, &device);
    let of_words = answers(&tokens, &rows, &device).logits;
    let of_tokens = answers(&spans, &rows, &device).logits;
    for row in 0..5 {
        let batch = Laid::out(&rows, &[row], Layout::Packed, 0, 16).on(&device);
        let all = tokens.forward(&batch, &Mode::EVALUATE);
        let all: Vec<f32> = all.try_into_vec_as().unwrap();
        let words = rows.words(row).unwrap();
        let owned = all.chunks(3).zip(words).filter(|(_, word)| **word != NONE);
        let owned: Vec<f32> = owned.flat_map(|(numbers, _)| numbers.to_vec()).collect();
        close(&of_words[row], &owned);
        let all = spans.forward(&batch, &Mode::EVALUATE);
        close(&of_tokens[row], &all.try_into_vec_as::<f32>().unwrap());
    }
}

#[track_caller]
fn close(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    let near = |(found, wanted): (&f32, &f32)| (found - wanted).abs() < 1e-5;
    assert!(
        found.iter().zip(wanted).all(near),
        "{found:?} is not {wanted:?}"
    );
}

#[test]
fn a_tagged_word_among_untagged_ones_is_alone_in_the_loss() {
    let mut rows = toy(2);
    let own = rows.0[1].tags.as_mut().unwrap();
    let first = own.iter().position(|&tag| tag != NONE).unwrap();
    own[first] = NONE;
    let device = Device::flex();
    let model = model(&HeadSettings::default().over_tokens(3, false), &device);
    let found = number(loss(&model, &tags(), &rows, &[0, 1], Layout::Packed));
    let predicted = answers(&model, &rows, &device);
    assert!((found - tags().loss_of(&predicted, &rows, None)).abs() < 1e-5);
}

#[test]
fn rows_that_do_not_fit_are_named() {
    let refused = |objective: &Objective, outputs: usize, change: &dyn Fn(&mut Row)| {
        let mut rows = toy(4);
        assert!(objective.check(&rows, "train", 3).is_ok() || *objective == Objective::Targets);
        change(&mut rows.0[2]);
        let error = objective.check(&rows, "train", outputs).unwrap_err();
        error.to_string()
    };
    let several = labels();
    type Change<'a> = &'a dyn Fn(&mut Row);
    let cases: [(&Objective, usize, Change, &str); 13] = [
        (
            &label(),
            2,
            &|row| row.label = None,
            "row 102 of the split `train` has no label",
        ),
        (
            &label(),
            2,
            &|row| row.label = Some(2),
            "row 102 of the split `train` has label number 2, but there are 2",
        ),
        (
            &several,
            2,
            &|row| row.labels = None,
            "row 102 of the split `train` has no labels",
        ),
        (
            &several,
            2,
            &|row| row.labels = Some(vec![0, 7]),
            "label number 7",
        ),
        (
            &tags(),
            3,
            &|row| row.tags = None,
            "row 102 of the split `train` has no tags",
        ),
        (
            &tags(),
            3,
            &|row| row.tags = Some(vec![NONE, 3]),
            "label number 3",
        ),
        (
            &Objective::Answer,
            2,
            &|row| row.answer = None,
            "row 102 of the split `train` has no answer",
        ),
        (
            &Objective::Answer,
            2,
            &|row| row.answer = Some((2, 1)),
            "from token 2 to token 1",
        ),
        (
            &Objective::Answer,
            2,
            &|row| row.answer = Some((1, 60)),
            "from token 1 to token 60, but the row has 6",
        ),
        (
            &Objective::Targets,
            2,
            &|row| row.targets = None,
            "row 102 of the split `train` has no target",
        ),
        (
            &Objective::Targets,
            2,
            &|row| row.targets = Some(vec![1.0]),
            "has 1 targets, wanted 2",
        ),
        (
            &Objective::Targets,
            2,
            &|row| row.targets = Some(vec![1.0, f64::NAN]),
            "the target NaN",
        ),
        (
            &Objective::Targets,
            2,
            &|row| row.targets = Some(vec![1e300, 1.0]),
            "the target 1e300",
        ),
    ];
    for (objective, outputs, change, reason) in cases {
        let error = refused(objective, outputs, change);
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_split_without_a_tag_and_weights_for_other_labels_are_refused() {
    let mut rows = toy(3);
    without_words(&mut rows);
    let error = tags().check(&rows, "validation", 3).unwrap_err();
    assert!(matches!(
        error,
        LearnError::NoTags { split } if split == "validation"
    ));
    let one = Some(vec![1.0]);
    let classes = CrossEntropy {
        class_weights: one.clone(),
        ..CrossEntropy::default()
    };
    for weights in [
        Objective::Labels(BinaryCrossEntropy {
            positive_weights: one,
            focal: None,
        }),
        Objective::Label(classes.clone()),
    ] {
        let error = weights.check(&toy(3), "train", 2).unwrap_err();
        assert!(matches!(
            error,
            LearnError::LabelWeights {
                found: 1,
                labels: 2
            }
        ));
    }
    let error = Objective::Tags(classes).check(&toy(3), "train", 3);
    assert!(matches!(error, Err(LearnError::LabelWeights { .. })));
}

#[test]
fn no_label_at_all_is_a_set_of_labels_like_any_other() {
    let mut rows = toy(2);
    rows.0[0].labels = Some(Vec::new());
    let several = labels();
    assert!(several.check(&rows, "train", 2).is_ok());
}

#[test]
fn a_head_for_something_else_is_refused() {
    for (objective, head) in cases() {
        for (other, other_head) in cases() {
            let model = model(&other_head, &Device::flex());
            let same = std::mem::discriminant(&head) == std::mem::discriminant(&other_head);
            assert_eq!(
                objective.check_head(&model.head).is_ok(),
                same,
                "{objective:?}, {other:?}"
            );
        }
    }
}
