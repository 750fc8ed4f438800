//! AdamW in place against its composition, step by step.

use super::*;

const STEP: AdamWStep = AdamWStep {
    learning_rate: 1e-2,
    weight_decay: 0.1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
};

fn row(values: &[f32]) -> Tensor<1> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), [values.len()]),
        &Device::flex(),
    )
}

/// Gradients of one step: in each third of the weights they are zero for ever, zero until step 3, never zero; and
/// everywhere some are zero, of either sign.
fn gradient(random: &mut Random, size: usize, step: usize) -> Vec<f32> {
    (0..size)
        .map(|at| {
            let x = random.number();
            match at * 3 / size {
                _ if random.below(5) == 0 => 0.0f32.copysign(x),
                0 => 0.0f32.copysign(x),
                1 if step < 3 => 0.0,
                _ => x,
            }
        })
        .collect()
}

/// `composed` counts no steps itself.
fn composed(
    weight: Tensor<1>,
    moments: &mut Moments,
    gradient: Tensor<1>,
    share: Option<Tensor<1>>,
    step: AdamWStep,
) -> Tensor<1> {
    let (steps, mean, square) = moments.parts();
    *moments = Moments::from_parts(steps + 1, mean, square);
    super::super::adamw::composed(weight, moments, gradient, share, step)
}

#[test]
fn steps_in_place_equal_the_composition() {
    let mut random = Random(51);
    for size in [1, 127, 128, 129, 1000, 16_384, 40_001] {
        for weight_decay in [0.0, 0.1] {
            for share in [None, Some(0.3)] {
                let step = AdamWStep {
                    weight_decay,
                    ..STEP
                };
                let weight = random.numbers(size);
                let (mut found, mut wanted) = (row(&weight), row(&weight));
                let mut moments = Moments::zero(&found);
                let mut oracle = Moments::zero(&wanted);
                for number in 0..6 {
                    let gradient = gradient(&mut random, size, number);
                    let share = share.map(|share| row(&[share]));
                    found = adamw(found, &mut moments, row(&gradient), share.clone(), step);
                    wanted = composed(wanted, &mut oracle, row(&gradient), share, step);
                    let (steps, mean, square) = moments.parts();
                    let (wanted_steps, wanted_mean, wanted_square) = oracle.parts();
                    assert_eq!(steps, wanted_steps);
                    for (what, found, wanted) in [
                        ("weight", found.clone(), wanted.clone()),
                        ("mean", mean, wanted_mean),
                        ("square", square, wanted_square),
                    ] {
                        let what = format!("{what} of {size} after step {steps}");
                        close_to(&what, &values(found), &values(wanted), 1e-6);
                    }
                }
            }
        }
    }
}

#[test]
fn weights_that_never_had_a_gradient_only_decay() {
    let mut random = Random(52);
    let weight = random.numbers(500);
    let zero = row(&[0.0; 500]);
    for (weight_decay, factor) in [(0.0, 1.0f32), (0.1, (1.0 - 1e-2 * 0.1) as f32)] {
        let step = AdamWStep {
            weight_decay,
            ..STEP
        };
        let mut moments = Moments::zero(&zero);
        let found = values(adamw(row(&weight), &mut moments, zero.clone(), None, step));
        let wanted: Vec<f32> = weight.iter().map(|x| x * factor).collect();
        assert_eq!(found, wanted);
    }
}

#[test]
fn whoever_holds_weights_or_moments_keeps_the_old_ones() {
    let mut random = Random(53);
    let size = 700;
    let held = row(&random.numbers(size));
    let before = values(held.clone());
    let incoming = row(&random.numbers(size));
    let incoming_before = values(incoming.clone());
    let mut moments = Moments::zero(&held);
    let once = adamw(held.clone(), &mut moments, incoming.clone(), None, STEP);
    let (_, mean, square) = moments.parts();
    let copy = moments.clone();
    let [once_before, mean_before, square_before] =
        [once.clone(), mean.clone(), square.clone()].map(values);
    let twice = adamw(once.clone(), &mut moments, incoming.clone(), None, STEP);

    assert_ne!(values(twice), once_before);
    assert_eq!(values(held), before);
    assert_eq!(values(incoming), incoming_before);
    assert_eq!(values(once), once_before);
    assert_eq!(values(mean), mean_before);
    assert_eq!(values(square), square_before);
    let (steps, mean, square) = copy.parts();
    assert_eq!(steps, 1);
    assert_eq!([mean, square].map(values), [mean_before, square_before]);
    assert_eq!(moments.parts().0, 2);
}

#[test]
fn restored_moments_go_on_with_the_same_bits() {
    let mut random = Random(54);
    let size = 1000;
    let weight = random.numbers(size);
    let gradients: Vec<Vec<f32>> = (0..8)
        .map(|number| gradient(&mut random, size, number))
        .collect();
    for stop in 1..gradients.len() {
        let mut kept = (row(&weight), Moments::zero(&row(&weight)));
        for gradient in &gradients[..stop] {
            kept.0 = adamw(kept.0, &mut kept.1, row(gradient), None, STEP);
        }
        let (steps, mean, square) = kept.1.parts();
        let [mean, square] = [mean, square].map(|moment| row(&values(moment)));
        let mut restored = (
            row(&values(kept.0.clone())),
            Moments::from_parts(steps, mean, square),
        );
        for gradient in &gradients[stop..] {
            for (weight, moments) in [&mut kept, &mut restored] {
                *weight = adamw(weight.clone(), moments, row(gradient), None, STEP);
            }
        }
        let bits = |(weight, moments): (Tensor<1>, Moments)| {
            let (steps, mean, square) = moments.parts();
            let numbers =
                [weight, mean, square].map(|x| values(x).into_iter().map(f32::to_bits).collect());
            (steps, numbers)
        };
        let (kept, restored): ((i32, [Vec<u32>; 3]), _) = (bits(kept), bits(restored));
        assert!(kept == restored, "stopped after {stop}");
    }
}

#[test]
fn gradients_and_weights_may_lie_anywhere() {
    let mut random = Random(55);
    let pairs = random.matrix(300, 2);
    let column = |which: usize| -> Tensor<1> {
        let columns = pairs.on(&Device::flex()).narrow(1, which, 1); // [300, 1]
        columns.squeeze_dim(1) // [300]
    };
    let take = |weight: Tensor<1>, gradient: Tensor<1>| {
        let mut moments = Moments::zero(&gradient);
        let weight = adamw(weight, &mut moments, gradient, None, STEP);
        let (_, mean, square) = moments.parts();
        [weight, mean, square].map(values)
    };
    let found = take(column(0), column(1));
    let wanted = take(row(&values(column(0))), row(&values(column(1))));
    assert_eq!(found, wanted);
    let sums = [column(1), row(&values(column(1)))].map(|x| values(sum_of_squares(x)));
    assert_eq!(sums[0], sums[1]);
}

#[test]
fn the_sum_of_squares_is_exact_to_rounding() {
    let mut random = Random(56);
    for size in [1, 2, 15, 16, 17, 1000, 32_768, 32_769, 300_000] {
        let numbers = random.numbers(size);
        let wanted: f64 = numbers.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let found = f64::from(values(sum_of_squares(row(&numbers)))[0]);
        let error = (found - wanted).abs() / wanted;
        assert!(error < 1e-5, "{size}: {found}, not {wanted}");
    }
    assert_eq!(values(sum_of_squares(row(&[]))), [0.0]);
}
