//! Batches in parts: that nothing changes, and what happens when memory runs out.

use super::*;
use crate::learn::MicroSize;

type Weights = BTreeMap<String, Vec<f32>>;

/// The steps, the sizes told when a part did not fit, and the weights of a training in which a part of more than `most` rows
/// does not.
fn in_parts(
    micro_size: Option<MicroSize>,
    most: usize,
) -> Result<(Vec<StepRecord>, Vec<usize>, Weights), LearnError> {
    let (train, names) = (toy(29, false), names());
    let recipe = Recipe {
        length: Length::Epochs(2),
        batch: BatchSettings {
            size: 8,
            micro_size,
            ..BatchSettings::default()
        },
        ..recipe()
    };
    let pace = Pace {
        fits: Some(&|rows| rows <= most),
        ..AT_ONCE
    };
    let (mut records, mut halved) = (Vec::new(), Vec::new());
    let fitted = fit_at(
        pace,
        classifier(3, 0.1),
        &material(&train, None, &judge(None), &names),
        &recipe,
        &Device::flex(),
        Course::default(),
        &mut |event| {
            match event {
                Event::Step(record) => records.push(record.clone()),
                Event::Halved(rows) => halved.push(rows),
                _ => {}
            }
            ControlFlow::Continue(())
        },
    )?;
    Ok((records, halved, weights(&fitted.model)))
}

#[track_caller]
fn same_training(
    (found, found_weights): (&[StepRecord], &Weights),
    (wanted, wanted_weights): (&[StepRecord], &Weights),
) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!((found.step, found.epoch), (wanted.step, wanted.epoch));
        assert!(
            (found.loss - wanted.loss).abs() < 1e-4 * wanted.loss,
            "{found:?} is not {wanted:?}"
        );
    }
    // Adam makes a step of the sign of a gradient that is nothing but rounding.
    for name in [
        "bert.embeddings.word_embeddings.weight",
        "classifier.weight",
    ] {
        for (found, wanted) in found_weights[name].iter().zip(&wanted_weights[name]) {
            assert!(
                (found - wanted).abs() < 1e-3,
                "{name}: {found} is not {wanted}"
            );
        }
    }
}

#[test]
fn smaller_parts_of_a_batch_make_the_same_training() {
    let (wanted, _, wanted_weights) = in_parts(None, 8).unwrap();
    assert_eq!(wanted.len(), 8, "of 29 rows, the last batch has 5");
    for micro in [1, 3, 7] {
        let (found, halved, weights) = in_parts(Some(MicroSize::Rows(micro)), 8).unwrap();
        assert!(halved.is_empty());
        same_training((&found, &weights), (&wanted, &wanted_weights));
    }
    let (found, _, weights) = in_parts(Some(MicroSize::Rows(8)), 8).unwrap();
    assert!(
        found == wanted && weights == wanted_weights,
        "the whole batch as its only part is the whole batch to the last bit"
    );
}

#[test]
fn parts_are_halved_until_they_fit_and_the_training_is_the_same() {
    let (wanted, _, wanted_weights) = in_parts(None, 8).unwrap();
    let (found, halved, weights) = in_parts(Some(MicroSize::Auto), 3).unwrap();
    assert_eq!(
        halved,
        [4, 2],
        "told once, and remembered for the batches after it"
    );
    same_training((&found, &weights), (&wanted, &wanted_weights));
    let (found, halved, weights) = in_parts(Some(MicroSize::Auto), 8).unwrap();
    assert!(halved.is_empty() && found == wanted && weights == wanted_weights);
}

#[test]
fn memory_too_small_for_one_row_or_for_the_parts_asked_for_is_an_error() {
    for (micro, most) in [
        (Some(MicroSize::Auto), 0),
        (Some(MicroSize::Rows(4)), 3),
        (None, 7),
    ] {
        match in_parts(micro, most) {
            Err(LearnError::Device { cause, .. }) => assert!(cause.contains("memory")),
            other => panic!("expected an error, got {other:?}"),
        }
    }
}
