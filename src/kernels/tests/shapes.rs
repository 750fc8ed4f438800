//! Forward and gradients of every operation, fused and composed, over random shapes.

use super::*;

const ROWS: [usize; 9] = [1, 2, 3, 15, 16, 17, 63, 65, 80];
const WIDTHS: [usize; 6] = [1, 5, 16, 33, 64, 384];
const LENGTHS: [usize; 10] = [1, 2, 15, 16, 17, 63, 64, 65, 130, 200];
const SIZES: [usize; 7] = [1, 4, 5, 16, 32, 40, 64];

fn dropouts(seed: u64) -> [Dropout; 3] {
    [
        Dropout::NONE,
        Dropout::new(0.1, seed, 3, 4),
        Dropout::new(0.9, seed, 5, 6),
    ]
}

#[test]
fn linear_equals_its_composition() {
    let mut random = Random(1);
    for rows in ROWS {
        for inputs in WIDTHS {
            let outputs = random.one_of(&WIDTHS);
            linear_case(&mut random, rows, inputs, outputs).agrees();
        }
    }
    linear_case(&mut random, 80, 384, 1536).agrees();
    linear_case(&mut random, 80, 1536, 384).agrees();
}

#[test]
fn gelu_equals_its_composition() {
    let mut random = Random(2);
    for rows in ROWS {
        for columns in WIDTHS {
            gelu_case(&mut random, rows, columns).agrees();
        }
    }
}

#[test]
fn dropout_equals_its_composition() {
    let mut random = Random(3);
    for rows in ROWS {
        for columns in WIDTHS {
            for drop in dropouts(random.bits()) {
                dropout_case(&mut random, rows, columns, drop).agrees();
            }
        }
    }
}

#[test]
fn dropout_add_layer_norm_equals_its_composition() {
    let mut random = Random(4);
    for rows in ROWS {
        for columns in WIDTHS {
            for drop in dropouts(random.bits()) {
                layer_norm_case(&mut random, rows, columns, drop).agrees();
            }
        }
    }
}

#[test]
fn embedding_layer_norm_dropout_equals_its_composition() {
    let mut random = Random(5);
    for rows in ROWS {
        for columns in WIDTHS {
            for drop in dropouts(random.bits()) {
                embedding_case(&mut random, rows, columns, drop).agrees();
            }
        }
    }
}

fn attend(random: &mut Random, spans: &Spans) {
    let heads = random.one_of(&[1, 2, 3, 12]);
    let size = random.one_of(&SIZES);
    for drop in dropouts(random.bits()) {
        attention_case(random, spans, heads, size, drop).agrees();
    }
}

#[test]
fn attention_of_one_text_equals_its_composition() {
    let mut random = Random(6);
    for length in LENGTHS {
        attend(&mut random, &Spans::packed([length]));
    }
    for size in SIZES {
        for drop in dropouts(random.bits()) {
            attention_case(&mut random, &Spans::packed([65]), 2, size, drop).agrees();
        }
    }
}

#[test]
fn attention_of_packed_texts_equals_its_composition() {
    let mut random = Random(7);
    for _ in 0..30 {
        let texts = 1 + random.below(6);
        let lengths: Vec<usize> = (0..texts).map(|_| random.one_of(&LENGTHS)).collect();
        attend(&mut random, &Spans::packed(lengths));
    }
    let many: Vec<usize> = (0..60).map(|_| 1 + random.below(12)).collect();
    attend(&mut random, &Spans::packed(many));
}

#[test]
fn attention_of_padded_texts_equals_its_composition() {
    let mut random = Random(8);
    for _ in 0..20 {
        let texts = 1 + random.below(6);
        let lengths: Vec<usize> = (0..texts).map(|_| random.one_of(&LENGTHS)).collect();
        let to = lengths.iter().max().unwrap() + random.one_of(&[0, 1, 15]);
        attend(&mut random, &Spans::padded(lengths, to));
    }
}

fn attend_by(random: &mut Random, spans: &Spans, by: By) {
    let heads = random.one_of(&[1, 2, 3, 12]);
    let size = random.one_of(&SIZES);
    for drop in dropouts(random.bits()) {
        distance_case(random, spans, heads, size, by, drop).agrees();
    }
}

/// Texts of several lengths, one after the other or padded.
fn some_spans(random: &mut Random) -> Spans {
    let texts = 1 + random.below(5);
    let lengths: Vec<usize> = (0..texts).map(|_| random.one_of(&LENGTHS)).collect();
    match random.below(2) {
        0 => Spans::packed(lengths),
        _ => {
            let to = lengths.iter().max().unwrap() + random.one_of(&[0, 1, 15]);
            Spans::padded(lengths, to)
        }
    }
}

#[test]
fn attention_in_a_window_equals_its_composition() {
    let mut random = Random(72);
    for window in [1, 2, 15, 16, 17, 63, 64, 100, 199, 1000, usize::MAX - 1] {
        for length in LENGTHS {
            attend_by(&mut random, &Spans::packed([length]), By::Window(window));
        }
        for _ in 0..3 {
            let spans = some_spans(&mut random);
            attend_by(&mut random, &spans, By::Window(window));
        }
    }
}

#[test]
fn attention_in_a_window_of_one_key_gives_its_value_and_no_gradient_by_its_score() {
    let mut random = Random(78);
    for size in SIZES {
        let spans = some_spans(&mut random);
        let case = distance_case(&mut random, &spans, 2, size, By::Window(0), Dropout::NONE);
        case.agrees();
        let done = case.back(&case.fused, &Device::flex());
        let rows: Vec<usize> = spans.texts().iter().cloned().flatten().collect();
        for at in rows
            .into_iter()
            .flat_map(|row| row * 2 * size..(row + 1) * 2 * size)
        {
            assert!((done.output[at] - case.inputs[2].values[at]).abs() < 1e-6);
        }
    }
}

#[test]
fn attention_in_a_window_that_holds_every_key_gives_the_same_bits_as_without() {
    let mut random = Random(73);
    let spans = Spans::packed([130, 7, 64]);
    let drop = Dropout::new(0.1, 1, 2, 3);
    let case = distance_case(&mut random, &spans, 3, 20, By::Window(129), drop);
    let mut plain = attention_case(&mut random, &spans, 3, 20, drop);
    (plain.inputs, plain.flow) = (case.inputs.clone(), case.flow.clone());
    let flex = Device::flex();
    assert_eq!(
        case.back(&case.fused, &flex),
        plain.back(&plain.fused, &flex)
    );
}

#[test]
fn attention_with_a_bias_by_distance_equals_its_composition() {
    let mut random = Random(74);
    for length in LENGTHS {
        attend_by(&mut random, &Spans::packed([length]), By::Bias);
    }
    for _ in 0..20 {
        let spans = some_spans(&mut random);
        attend_by(&mut random, &spans, By::Bias);
    }
}

#[test]
fn attention_with_vectors_by_distance_is_near_to_itself_plain_and_recorded_for_any_shape() {
    let mut random = Random(75);
    for by in [By::Keys, By::Queries, By::KeysAndQueries] {
        for length in LENGTHS {
            let spans = Spans::packed([length]);
            let others = [some_spans(&mut random), some_spans(&mut random)];
            for spans in [spans].into_iter().chain(others) {
                let size = random.one_of(&SIZES);
                let drop = Dropout::new(0.1, random.bits(), 3, 4);
                let case = distance_case(&mut random, &spans, 3, size, by, drop);
                let found = case.back(&case.fused, &Device::flex());
                let plain = case.forward(&case.fused, &Device::flex());
                close(&case.name, &found.output, &plain);
                for gradient in found.gradients.into_iter().flatten() {
                    assert!(gradient.iter().all(|x| x.is_finite()), "{}", case.name);
                }
            }
        }
    }
}

#[test]
fn rotation_equals_its_composition_and_keeps_lengths() {
    let mut random = Random(76);
    for half in [1, 4, 5, 8, 16, 32] {
        let (spans, heads) = (some_spans(&mut random), random.one_of(&[1, 3]));
        let case = rotary_case(&mut random, &spans, heads, half);
        case.agrees();
        let output = case.forward(&case.fused, &Device::flex());
        let lengths = |values: &[f32]| -> Vec<f32> {
            let heads = values.chunks(2 * half);
            heads.map(|head| head.iter().map(|x| x * x).sum()).collect()
        };
        close(
            &case.name,
            &lengths(&output),
            &lengths(&case.inputs[0].values),
        );
    }
}

#[test]
fn layer_norm_equals_its_composition() {
    let mut random = Random(77);
    for rows in ROWS {
        for columns in WIDTHS {
            layer_norm_alone_case(&mut random, rows, columns).agrees();
        }
    }
}

#[test]
fn attention_of_first_rows_equals_the_first_rows_of_attention() {
    let mut random = Random(71);
    for spans in [
        Spans::packed([7, 1, 20, 70]),
        Spans::padded([3, 9, 1], 9),
        Spans::packed([5]),
    ] {
        let (rows, heads, size, plain) = (spans.rows(), 3, 16, Precision::Fp32);
        let texts = spans.texts().len();
        let first = {
            let spans = spans.clone();
            move |x: &Tensor<2>| {
                let starts: Vec<i32> = spans.texts().iter().map(|text| text.start as i32).collect();
                let device = x.device().without_autodiff();
                x.clone()
                    .select(0, Tensor::<1, Int>::from_data(starts.as_slice(), &device))
            }
        };
        let (all, one) = (spans.clone(), spans.clone());
        let of_all = first.clone();
        Case {
            name: format!("attention of first rows, {:?}", spans.texts()),
            inputs: (0..3).map(|_| random.matrix(rows, heads * size)).collect(),
            flow: random.matrix(texts, heads * size),
            fused: Box::new(move |x| {
                let inputs = [0, 1, 2].map(|which| x[which].clone());
                of_all(&attention(inputs, &all, heads, Dropout::NONE, plain))
            }),
            composed: Box::new(move |x| {
                let inputs = [first(&x[0]), x[1].clone(), x[2].clone()];
                attention_of_first(inputs, &one, heads, Dropout::NONE, plain)
            }),
        }
        .agrees();
    }
}

#[test]
fn attention_where_all_but_one_token_is_padding_equals_its_composition() {
    let mut random = Random(9);
    for to in LENGTHS {
        attend(&mut random, &Spans::padded([1], to));
        attend(&mut random, &Spans::padded([1, 1, 1], to));
    }
    attend(&mut random, &Spans::padded([1, 130, 1], 130));
}

#[test]
fn packed_texts_attend_as_the_same_texts_padded() {
    let mut random = Random(10);
    let lengths = [3, 65, 1, 16, 40];
    let (heads, size, to) = (3, 20, 70);
    let packed = attention_case(
        &mut random,
        &Spans::packed(lengths),
        heads,
        size,
        Dropout::NONE,
    );
    let spans = Spans::padded(lengths, to);
    let mut padded = attention_case(&mut random, &spans, heads, size, Dropout::NONE);
    let width = heads * size;
    let rows: Vec<usize> = spans.texts().iter().cloned().flatten().collect();
    let copy = |from: &Matrix, to: &mut Matrix| {
        for (from, row) in from.values.chunks(width).zip(&rows) {
            to.values[row * width..][..width].copy_from_slice(from);
        }
    };
    for (from, to) in packed.inputs.iter().zip(&mut padded.inputs) {
        copy(from, to);
    }
    copy(&packed.flow, &mut padded.flow);
    let covered = |values: &[f32]| -> Vec<f32> {
        rows.iter()
            .flat_map(|row| values[row * width..][..width].iter().copied())
            .collect()
    };
    let (found, wanted) = (
        padded.back(&padded.fused, &Device::flex()),
        packed.back(&packed.fused, &Device::flex()),
    );
    assert_eq!(covered(&found.output), wanted.output);
    for (found, wanted) in found.gradients.iter().zip(&wanted.gradients) {
        let found = found.as_ref().unwrap();
        assert_eq!(&covered(found), wanted.as_ref().unwrap());
        let padding = found.chunks(width).enumerate();
        let mut padding = padding.filter(|(row, _)| !rows.contains(row));
        assert!(padding.all(|(_, gradient)| gradient.iter().all(|x| *x == 0.0)));
    }
}

#[test]
fn large_scores_leave_attention_finite() {
    let mut random = Random(11);
    for size in [4, 16, 33] {
        let spans = Spans::packed([1, 40, 65]);
        let mut case = attention_case(&mut random, &spans, 2, size, Dropout::NONE);
        // Scores up to ±1e4 after scaling.
        let factor = (1e4 / (size as f32).sqrt()).sqrt() / 2.0;
        for input in &mut case.inputs[..2] {
            let sign = |x: &mut f32| *x = 2.0 * factor * x.signum();
            input.values.iter_mut().for_each(sign);
        }
        let done = case.back(&case.fused, &Device::flex());
        assert!(done.output.iter().all(|x| x.abs() <= 2.001));
        for gradient in done.gradients.into_iter().flatten() {
            assert!(gradient.iter().all(|x| x.is_finite()), "{}", case.name);
        }
    }
}

#[test]
fn a_number_that_is_none_reaches_the_output() {
    let mut random = Random(12);
    for mut case in one_of_each(&mut random, Dropout::NONE) {
        case.inputs[0].values.fill(f32::NAN);
        let output = case.forward(&case.fused, &Device::flex());
        assert!(output.iter().any(|x| x.is_nan()), "{}", case.name);
    }
}

#[test]
fn no_rows_give_no_rows() {
    let mut random = Random(13);
    let cases = [
        linear_case(&mut random, 0, 5, 3),
        gelu_case(&mut random, 0, 5),
        dropout_case(&mut random, 0, 5, Dropout::new(0.5, 1, 2, 3)),
        layer_norm_case(&mut random, 0, 5, Dropout::new(0.5, 1, 2, 3)),
        attention_case(&mut random, &Spans::packed([]), 1, 5, Dropout::NONE),
        attention_case(&mut random, &Spans::packed([0]), 1, 5, Dropout::NONE),
        layer_norm_alone_case(&mut random, 0, 5),
        rotary_case(&mut random, &Spans::packed([]), 1, 2),
        distance_case(
            &mut random,
            &Spans::packed([0]),
            1,
            5,
            By::Window(2),
            Dropout::NONE,
        ),
        distance_case(
            &mut random,
            &Spans::packed([0]),
            1,
            5,
            By::Bias,
            Dropout::NONE,
        ),
        distance_case(
            &mut random,
            &Spans::packed([]),
            1,
            5,
            By::Bias,
            Dropout::NONE,
        ),
    ];
    for case in cases {
        assert!(case.forward(&case.fused, &Device::flex()).is_empty());
    }
}

#[test]
fn numbers_of_64_bits_take_the_composition() {
    use burn::tensor::DType;
    let mut random = Random(14);
    for case in one_of_each(&mut random, Dropout::new(0.1, 1, 2, 3)) {
        let inputs: Vec<_> = case
            .inputs
            .iter()
            .map(|input| input.on(&Device::flex()).cast(DType::F64))
            .collect();
        let output = (case.fused)(&inputs);
        assert_eq!(output.dtype(), DType::F64, "{}", case.name);
        let found = values(output);
        close(
            &case.name,
            &found,
            &case.forward(&case.fused, &Device::flex()),
        );
    }
}

#[test]
fn a_device_that_checkpoints_takes_the_composition() {
    let mut random = Random(15);
    let checkpointing = Device::flex().autodiff().gradient_checkpointing();
    for case in one_of_each(&mut random, Dropout::new(0.1, 1, 2, 3)) {
        let found = case.back(&case.fused, &checkpointing);
        case.compare(&found, &case.back(&case.fused, &Device::flex()));
    }
}
