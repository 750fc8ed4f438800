//! The start of an encoder: rows of three tables, summed, normalised and dropped out.

use burn::tensor::{Device, Int, Tensor};

use super::cpu;
use super::cpu::random::Dropout;
use super::dropout;
use super::flex::{self, Fused, Numbers};
use super::layer_norm::{Norm, Saved, normalized};

/// A table `[entries, hidden]`, and the entry that each row takes, `[rows]`.
#[derive(Debug, Clone)]
pub struct Lookup {
    pub table: Tensor<2>,
    pub entries: Tensor<1, Int>,
}

impl Lookup {
    /// Zeros `[rows, hidden]`, for encoders that have fewer tables. Only one row of them lies in memory.
    pub fn zeros(rows: usize, hidden: usize, device: &Device) -> Lookup {
        let device = device.clone().without_autodiff();
        Lookup {
            table: Tensor::zeros([1, hidden], &device),
            entries: Tensor::zeros([rows], &device),
        }
    }
}

/// dropout(LayerNorm(word + segment + position)), `[rows, hidden]`.
///
/// # Panics
/// When an entry is not in its table.
pub fn embedding_layer_norm_dropout(
    words: Lookup,
    positions: Lookup,
    segments: Lookup,
    norm: Norm,
    dropout: Dropout,
) -> Tensor<2> {
    if !flex::fits(&words.table) {
        return composed(words, positions, segments, norm, dropout);
    }
    let operation = Embed {
        entries: [&words, &positions, &segments].map(|lookup| host(&lookup.entries)),
        epsilon: norm.epsilon as f32,
        dropout,
    };
    let inputs = [
        flex::input(words.table),
        flex::input(positions.table),
        flex::input(segments.table),
        flex::input(norm.gamma),
        flex::input(norm.beta),
    ];
    flex::apply(operation, inputs)
}

pub(super) fn composed(
    words: Lookup,
    positions: Lookup,
    segments: Lookup,
    norm: Norm,
    dropout: Dropout,
) -> Tensor<2> {
    let [words, positions, segments] =
        [words, positions, segments].map(|lookup| lookup.table.select(0, lookup.entries)); // [rows, hidden]
    dropout::composed(normalized(words + segments + positions, norm), dropout)
}

/// On the CPU's backend this copies a few kilobytes and waits for nothing.
fn host(entries: &Tensor<1, Int>) -> Vec<u32> {
    entries.to_data().iter::<u32>().collect()
}

#[derive(Debug, Clone)]
struct Embed {
    entries: [Vec<u32>; 3],
    epsilon: f32,
    dropout: Dropout,
}

impl Fused<5> for Embed {
    /// The numbers of entries in the three tables, and what the norm needs.
    type Saved = ([usize; 3], Saved);

    fn forward(
        &self,
        [words, positions, segments, gamma, beta]: [Numbers; 5],
    ) -> (Numbers, Self::Saved) {
        let tables = [&words, &positions, &segments];
        let shape = [self.entries[0].len(), gamma.len()];
        let norm = cpu::layer_norm::Norm {
            gamma: &gamma,
            beta: &beta,
            epsilon: self.epsilon,
        };
        let lookups = std::array::from_fn(|i| cpu::embedding::Lookup {
            table: tables[i],
            indices: &self.entries[i],
        });
        let done = cpu::embedding::forward(lookups, norm, self.dropout);
        let saved = Saved {
            normal: Numbers::new(done.normal, &shape),
            inverse_deviation: Numbers::new(done.inverse_deviation, &shape[..1]),
            gamma,
        };
        let sizes = tables.map(|table| table.dims()[0]);
        (Numbers::new(done.output, &shape), (sizes, saved))
    }

    fn backward(
        &self,
        (sizes, saved): Self::Saved,
        gradient: Numbers,
        wanted: [bool; 5],
    ) -> [Option<Numbers>; 5] {
        let [_, columns] = gradient.dims();
        let Saved {
            normal,
            inverse_deviation,
            gamma,
        } = saved;
        let (gradient, by_gamma, by_beta) = cpu::embedding::back(
            gradient.into_vec(),
            &normal,
            &inverse_deviation,
            &gamma,
            self.dropout,
        );
        let table = |which: usize| {
            wanted[which].then(|| {
                let rows = sizes[which];
                let sums = cpu::embedding::scatter(&gradient, &self.entries[which], rows, columns);
                Numbers::new(sums, &[rows, columns])
            })
        };
        [
            table(0),
            table(1),
            table(2),
            Some(Numbers::new(by_gamma, &[columns])),
            Some(Numbers::new(by_beta, &[columns])),
        ]
    }
}
