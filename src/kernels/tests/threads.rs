//! Results do not depend on the number of threads: the same bits, forward and backward.

use super::*;

const THREADS: [usize; 4] = [1, 2, 3, 5];

fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(work)
}

fn same_for_any_number<R: Send + PartialEq>(what: &str, work: impl Fn() -> R + Sync) {
    let first = with_threads(THREADS[0], &work);
    for threads in &THREADS[1..] {
        let equal = with_threads(*threads, &work) == first;
        assert!(equal, "{what}: {threads} threads give other bits than one");
    }
}

fn bits(outcome: Outcome) -> Vec<Vec<u32>> {
    let gradients = outcome.gradients.into_iter().flatten();
    std::iter::once(outcome.output)
        .chain(gradients)
        .map(|values| values.into_iter().map(f32::to_bits).collect())
        .collect()
}

fn same(case: &Case) {
    same_for_any_number(&case.name, || bits(case.back(&case.fused, &Device::flex())));
}

#[test]
fn the_number_of_threads_does_not_change_linear() {
    let mut random = Random(31);
    for [rows, inputs, outputs] in [
        [700, 384, 1536],
        [700, 1536, 384],
        [701, 384, 384],
        [2048, 385, 3],
        [1, 768, 3072],
    ] {
        same(&linear_case(&mut random, rows, inputs, outputs));
    }
}

#[test]
fn the_number_of_threads_does_not_change_rowwise_operations() {
    let mut random = Random(32);
    let drop = Dropout::new(0.1, 1, 2, 3);
    same(&gelu_case(&mut random, 700, 384));
    same(&dropout_case(&mut random, 700, 384, drop));
    for drop in [Dropout::NONE, drop] {
        same(&layer_norm_case(&mut random, 700, 384, drop));
        same(&embedding_case(&mut random, 700, 384, drop));
    }
}

#[test]
fn the_number_of_threads_does_not_change_attention() {
    let mut random = Random(33);
    let lengths: Vec<usize> = (0..20).map(|_| 1 + random.below(130)).collect();
    for drop in [Dropout::NONE, Dropout::new(0.1, 1, 2, 3)] {
        let packed = Spans::packed(lengths.clone());
        same(&attention_case(&mut random, &packed, 12, 32, drop));
        let padded = Spans::padded(lengths.clone(), 130);
        same(&attention_case(&mut random, &padded, 3, 20, drop));
        for by in [By::Window(20), By::Bias, By::KeysAndQueries] {
            same(&distance_case(&mut random, &packed, 3, 20, by, drop));
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_an_optimizer_step() {
    let mut random = Random(34);
    let size = 700 * 384 + 3;
    let (weight, gradients) = (
        random.numbers(size),
        [random.numbers(size), random.numbers(size)],
    );
    let step = AdamWStep {
        learning_rate: 1e-3,
        weight_decay: 0.01,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    };
    let on_flex = |values: &[f32]| {
        Tensor::<1>::from_data(
            TensorData::new(values.to_vec(), [values.len()]),
            &Device::flex(),
        )
    };
    same_for_any_number("adamw", || {
        let mut moments = Moments::zero(&on_flex(&weight));
        let mut now = on_flex(&weight);
        for gradient in &gradients {
            let share = on_flex(&[0.7]);
            now = adamw(now, &mut moments, on_flex(gradient), Some(share), step);
        }
        let (_, mean, square) = moments.parts();
        [now, mean, square].map(values)
    });
    same_for_any_number("sum_of_squares", || {
        values(sum_of_squares(on_flex(&weight)))
    });
}
