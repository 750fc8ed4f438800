//! Half precision: the fused forms against the compositions, and both against torch.
//!
//! `tests/fixtures/autocast_torch.json` holds what PyTorch 2.15 computes on a CPU under `torch.autocast("cpu", …)`: a linear
//! layer, and attention as transformers' eager BERT has it (scores, a softmax in 32 bits, context), forward and backward.

use serde::Deserialize;

use super::*;

const HALVES: [Precision; 2] = [Precision::Bf16, Precision::Fp16];

/// Half a unit in the last place of the largest number. A sum in another order may round to the neighbour, and what is
/// computed from it follows.
fn unit(precision: Precision) -> f32 {
    match precision {
        Precision::Fp32 => f32::EPSILON / 2.0,
        Precision::Bf16 => 1.0 / 256.0,
        Precision::Fp16 => 1.0 / 2048.0,
    }
}

#[test]
fn linear_in_half_precision_equals_its_composition() {
    let mut random = Random(81);
    for precision in HALVES {
        for shape in [[1, 1, 1], [29, 33, 16], [70, 64, 130]] {
            linear_case_in(precision, &mut random, shape).agrees_to(2.0 * unit(precision));
        }
    }
}

#[test]
fn attention_in_half_precision_equals_its_composition() {
    let mut random = Random(82);
    let spans = [Spans::packed([3, 1, 17, 80]), Spans::padded([9, 2, 16], 16)];
    let bys = [By::Window(1000), By::Window(4), By::Bias];
    for precision in HALVES {
        for (spans, by) in spans.iter().flat_map(|spans| bys.map(|by| (spans, by))) {
            for drop in [Dropout::NONE, Dropout::new(0.3, 1, 2, 3)] {
                for size in [8, 11, 64] {
                    distance_case_in(precision, &mut random, spans, [2, size], by, drop)
                        .agrees_to(8.0 * unit(precision));
                }
            }
        }
    }
}

/// Such scores are computed as a composition everywhere.
#[test]
fn attention_with_vectors_by_distance_in_half_precision_is_near_to_that_in_32_bits() {
    let (spans, drop) = (Spans::packed([3, 1, 17, 40]), Dropout::new(0.3, 1, 2, 3));
    let flex = Device::flex();
    for by in [By::Keys, By::Queries, By::KeysAndQueries] {
        let of = |precision| {
            let case = distance_case_in(precision, &mut Random(84), &spans, [2, 16], by, drop);
            let outcome = case.back(&case.composed, &flex);
            (case, outcome)
        };
        let (_, exact) = of(Precision::Fp32);
        for precision in HALVES {
            let (case, found) = of(precision);
            assert_ne!(found, exact);
            case.compare_to(&found, &exact, 8.0 * unit(precision));
        }
    }
}

#[test]
fn attention_of_first_rows_in_half_precision_equals_the_first_rows_of_attention() {
    let mut random = Random(83);
    let (heads, size) = (3, 16);
    for precision in HALVES {
        let spans = Spans::packed([7, 1, 20, 70]);
        let texts = spans.texts().len();
        let first = {
            let starts: Vec<i32> = spans.texts().iter().map(|text| text.start as i32).collect();
            move |x: &Tensor<2>| {
                let device = x.device().without_autodiff();
                let starts = Tensor::<1, Int>::from_data(starts.as_slice(), &device);
                x.clone().select(0, starts)
            }
        };
        let (all, one, of_all) = (spans.clone(), spans.clone(), first.clone());
        Case {
            name: format!("attention of first rows in {precision}"),
            inputs: (0..3)
                .map(|_| random.matrix(spans.rows(), heads * size))
                .collect(),
            flow: random.matrix(texts, heads * size),
            fused: Box::new(move |x| {
                let inputs = [0, 1, 2].map(|which| x[which].clone());
                of_all(&attention(inputs, &all, heads, Dropout::NONE, precision))
            }),
            composed: Box::new(move |x| {
                let inputs = [first(&x[0]), x[1].clone(), x[2].clone()];
                attention_of_first(inputs, &one, heads, Dropout::NONE, precision)
            }),
        }
        .agrees_to(8.0 * unit(precision));
    }
}

#[test]
fn what_is_beyond_the_range_of_fp16_becomes_infinite_and_bf16_holds_it() {
    let device = Device::flex();
    let of = |precision: Precision| {
        let input = Tensor::<2>::from_data([[6e4, 6e4]], &device);
        let weight = Tensor::<2>::from_data([[1.0], [1.0]], &device);
        let bias = Tensor::<1>::zeros([1], &device);
        values(linear(input, weight, bias, precision))[0]
    };
    assert_eq!(of(Precision::Fp16), f32::INFINITY);
    assert_eq!(of(Precision::Bf16), 119_808.0);
    assert_eq!(of(Precision::Fp32), 120_000.0);
}

#[derive(Deserialize)]
struct Recorded {
    linear: LinearInputs,
    attention: AttentionInputs,
    #[serde(rename = "in")]
    by_precision: std::collections::BTreeMap<String, Results>,
}

#[derive(Deserialize)]
struct LinearInputs {
    rows: usize,
    inputs: usize,
    outputs: usize,
    input: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    flow: Vec<f32>,
}

#[derive(Deserialize)]
struct AttentionInputs {
    texts: usize,
    length: usize,
    heads: usize,
    size: usize,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    flow: Vec<f32>,
}

/// The output, and the gradients by the inputs.
#[derive(Deserialize)]
struct Results {
    linear: Vec<Vec<f32>>,
    attention: Vec<Vec<f32>>,
}

fn recorded() -> Recorded {
    let text = include_str!("../../../tests/fixtures/autocast_torch.json");
    serde_json::from_str(text).unwrap()
}

/// Holds both forms of a case to what torch computed, which has its own rounding errors: each is as far from the
/// other as half precision is exact, and far farther from what 32 bits give.
#[track_caller]
fn holds(case: &Case, plain: &Case, wanted: &[Vec<f32>], precision: Precision, equal: f32) {
    let flex = Device::flex();
    let all = |outcome: Outcome| -> Vec<Vec<f32>> {
        let gradients = outcome.gradients.into_iter().flatten();
        std::iter::once(outcome.output).chain(gradients).collect()
    };
    let exact = all(plain.back(&plain.fused, &flex));
    for form in [&case.fused, &case.composed] {
        let found = all(case.back(form, &flex));
        let numbers: usize = wanted.iter().map(Vec::len).sum();
        let mut same = 0;
        for (number, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            let what = format!("{}, {number}", case.name);
            close_to(&what, found, wanted, 2.0 * unit(precision));
            same += found.iter().zip(wanted).filter(|(x, y)| x == y).count();
        }
        let share = same as f32 / numbers as f32;
        assert!(
            share >= equal,
            "{}: {share} are equal to the bit",
            case.name
        );
        assert!(
            found
                .iter()
                .zip(&exact)
                .all(|(found, exact)| found != exact)
        );
    }
}

/// Most numbers are equal to the bit.
#[test]
fn linear_in_half_precision_is_torchs_autocast() {
    let Recorded {
        linear: of,
        by_precision,
        ..
    } = recorded();
    let matrix = |values: &[f32], rows, columns| Matrix {
        values: values.to_vec(),
        shape: [rows, columns],
    };
    let case = |precision| Case {
        inputs: vec![
            matrix(&of.input, of.rows, of.inputs),
            matrix(&of.weight, of.inputs, of.outputs),
            matrix(&of.bias, 1, of.outputs),
        ],
        flow: matrix(&of.flow, of.rows, of.outputs),
        ..linear_case_in(precision, &mut Random(1), [1, 1, 1])
    };
    let plain = case(Precision::Fp32);
    for precision in HALVES {
        let wanted = &by_precision[precision.name()].linear;
        holds(&case(precision), &plain, wanted, precision, 0.9);
    }
}

#[test]
fn attention_in_half_precision_is_torchs_autocast() {
    let Recorded {
        attention: of,
        by_precision,
        ..
    } = recorded();
    let spans = Spans::packed(vec![of.length; of.texts]);
    let shape = [of.texts * of.length, of.heads * of.size];
    let matrix = |values: &Vec<f32>| Matrix {
        values: values.clone(),
        shape,
    };
    let case = |precision| {
        let (sizes, by) = ([of.heads, of.size], By::Window(of.length));
        let mut random = Random(1);
        Case {
            inputs: [&of.query, &of.key, &of.value].map(matrix).to_vec(),
            flow: matrix(&of.flow),
            ..distance_case_in(precision, &mut random, &spans, sizes, by, Dropout::NONE)
        }
    };
    let plain = case(Precision::Fp32);
    for precision in HALVES {
        let wanted = &by_precision[precision.name()].attention;
        holds(&case(precision), &plain, wanted, precision, 0.4);
    }
}
