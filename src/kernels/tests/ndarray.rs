//! Another backend takes the compositions, and gives what flex gives.

use super::*;

#[cfg(feature = "ndarray")]
#[expect(
    deprecated,
    reason = "upstream deprecated the backend in 0.22; it stays for those who asked for it"
)]
fn ndarray() -> Device {
    Device::ndarray()
}

#[test]
#[cfg(feature = "ndarray")]
fn every_operation_gives_on_ndarray_what_it_gives_on_flex() {
    let mut random = Random(41);
    for drop in [Dropout::NONE, Dropout::new(0.2, 1, 2, 3)] {
        let mut cases = one_of_each(&mut random, drop);
        let padded = Spans::padded([3, 1, 17], 20);
        cases.push(attention_case(&mut random, &padded, 3, 11, drop));
        for by in [By::Window(3), By::Bias, By::KeysAndQueries] {
            cases.push(distance_case(&mut random, &padded, 3, 11, by, drop));
        }
        for case in cases {
            let found = case.back(&case.fused, &ndarray());
            case.compare(&found, &case.back(&case.fused, &Device::flex()));
        }
    }
}

fn same_mask(device: &Device) {
    for (probability, columns) in [(0.1, 1), (0.5, 33), (0.9, 384)] {
        let drop = Dropout::new(probability, 7, 8, 9);
        let rows = [0, 1, 2, 17, 65_536, 4_000_000_000];
        let found = values(super::super::dropout::factors(drop, &rows, columns, device));
        let wanted: Vec<f32> = rows
            .iter()
            .flat_map(|row| (0..columns).map(|column| drop.row(*row).factor(column)))
            .collect();
        assert_eq!(
            found, wanted,
            "{probability}, {columns} columns, {device:?}"
        );
    }
}

#[test]
fn masks_of_tensors_are_those_of_slices() {
    same_mask(&Device::flex());
    same_mask(&Device::flex().autodiff());
    #[cfg(feature = "ndarray")]
    same_mask(&ndarray());
}

#[test]
#[cfg(feature = "ndarray")]
fn the_optimizer_gives_on_ndarray_what_it_gives_on_flex() {
    let mut random = Random(42);
    let (weight, gradient) = (random.numbers(300), random.numbers(300));
    let step = AdamWStep {
        learning_rate: 1e-3,
        weight_decay: 0.01,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    };
    let done = |device: &Device| {
        let on = |values: &[f32]| {
            Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
        };
        let mut moments = Moments::zero(&on(&weight));
        let mut now = on(&weight);
        for _ in 0..3 {
            now = adamw(now, &mut moments, on(&gradient), Some(on(&[0.5])), step);
        }
        (values(now), values(sum_of_squares(on(&gradient))))
    };
    let (found, wanted) = (done(&ndarray()), done(&Device::flex()));
    close("weights", &found.0, &wanted.0);
    close("sum of squares", &found.1, &wanted.1);
}
