//! Rotary position embeddings (Su et al., 2021, <https://arxiv.org/abs/2104.09864>).
//!
//! In the layout of transformers: an element of the first half of a head turns with the one in the same place of the
//! second half, not with its neighbour.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

use super::cpu;
use super::cpu::rotary::Turns;
use super::flex::{self, Fused, Numbers};
use super::spans::Spans;

/// By which angles the rows of a batch are turned. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rotary(Arc<Angles>);

#[derive(Debug)]
struct Angles {
    /// `[places, half]` each.
    cosines: Vec<f32>,
    sines: Vec<f32>,
    /// Half the size of a head.
    half: usize,
    /// The place of each row in its text, `[rows]`; at padding, some place.
    places: Vec<usize>,
}

impl Rotary {
    /// By how much each pair of numbers turns from one place to the next, `[size / 2]`: the pair of number i by
    /// theta^(-2i / size), in 32-bit numbers as in the reference (`ModernBertRotaryEmbedding`). `size`, that of a head, is even.
    pub fn frequencies(size: usize, theta: f64) -> Vec<f32> {
        (0..size / 2)
            .map(|pair| {
                let exponent = (2 * pair) as f32 / size as f32;
                1.0 / theta.powf(f64::from(exponent)) as f32
            })
            .collect()
    }

    /// Each pair turns by its place times its [frequency](Self::frequencies).
    pub fn new(spans: &Spans, size: usize, theta: f64) -> Rotary {
        let half = size / 2;
        let frequencies = Rotary::frequencies(size, theta);
        let angles: Vec<f32> = (0..spans.longest().max(1))
            .flat_map(|place| frequencies.iter().map(move |by| place as f32 * by))
            .collect();
        let mut places = vec![0; spans.rows()];
        for text in spans.texts() {
            for (place, row) in text.clone().enumerate() {
                places[row] = place;
            }
        }
        Rotary(Arc::new(Angles {
            cosines: angles.iter().map(|angle| angle.cos()).collect(),
            sines: angles.iter().map(|angle| angle.sin()).collect(),
            half,
            places,
        }))
    }

    fn turns(&self) -> Turns<'_> {
        Turns {
            cosines: &self.0.cosines,
            sines: &self.0.sines,
            half: self.0.half,
            places: &self.0.places,
        }
    }
}

/// The vectors of each head, turned by the place of their row: `input` and the result are `[rows, heads * size]`.
///
/// # Panics
/// When `rotary` was made for other rows, or for a size that does not divide theirs.
pub fn rotated(input: Tensor<2>, rotary: &Rotary) -> Tensor<2> {
    let [rows, width] = input.dims();
    assert_eq!(rows, rotary.0.places.len());
    assert!(width.is_multiple_of((2 * rotary.0.half).max(1)));
    if flex::fits(&input) {
        flex::apply(Turned(rotary.clone()), [flex::input(input)])
    } else {
        composed(input, rotary)
    }
}

pub(super) fn composed(input: Tensor<2>, rotary: &Rotary) -> Tensor<2> {
    let Angles {
        cosines,
        sines,
        half,
        places,
    } = &*rotary.0;
    let [rows, width] = input.dims();
    let heads = width / (2 * half).max(1);
    let device = input.device().without_autodiff();
    let by_row = |table: &[f32]| {
        let values: Vec<f32> = places
            .iter()
            .flat_map(|place| &table[place * half..][..*half])
            .copied()
            .collect();
        Tensor::<3>::from_data(TensorData::new(values, [rows, 1, *half]), &device)
            .cast(input.dtype()) // [rows, 1, half]
    };
    let (cosines, sines) = (by_row(cosines), by_row(sines));
    let pairs = input.reshape([rows, heads, 2 * half]); // [rows, heads, size]
    let [one, other] = [0, *half].map(|from| pairs.clone().narrow(2, from, *half)); // [rows, heads, half]
    let first = one.clone() * cosines.clone() - other.clone() * sines.clone();
    let second = other * cosines + one * sines;
    Tensor::cat(vec![first, second], 2) // [rows, heads, size]
        .reshape([rows, width]) // [rows, heads * size]
}

#[derive(Debug, Clone)]
struct Turned(Rotary);

impl Fused<1> for Turned {
    type Saved = ();

    fn forward(&self, [input]: [Numbers; 1]) -> (Numbers, ()) {
        (self.turned(input, 1.0), ())
    }

    /// What a turn does to the output, the turn back does to the gradient.
    fn backward(&self, (): (), gradient: Numbers, _wanted: [bool; 1]) -> [Option<Numbers>; 1] {
        [Some(self.turned(gradient, -1.0))]
    }
}

impl Turned {
    fn turned(&self, numbers: Numbers, way: f32) -> Numbers {
        let shape = numbers.dims();
        let mut values = numbers.into_vec();
        cpu::rotary::turn(&mut values, shape[1], self.0.turns(), way);
        Numbers::new(values, &shape)
    }
}
