//! Scaled dot-product attention (Vaswani et al., 2017, <https://arxiv.org/abs/1706.03762>) within each text.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Int, Tensor, TensorData};

use super::cpu;
use super::cpu::attention::Shape;
use super::cpu::random::Dropout;
use super::dropout;
use super::flex::{self, Fused, Numbers};
use super::spans::Spans;

/// dropout(softmax(q kᵀ / √size)) v for each text and head: `query`, `key`, `value` and the result are
/// `[rows, heads * size]`. In rows that belong to no text the result is of no meaning, but finite.
pub fn attention(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    spans: &Spans,
    heads: usize,
    dropout: Dropout,
) -> Tensor<2> {
    if flex::fits(&query) {
        let operation = Attention {
            spans: spans.clone(),
            heads,
            dropout,
        };
        flex::apply(
            operation,
            [flex::input(query), flex::input(key), flex::input(value)],
        )
    } else {
        composed(query, key, value, spans, heads, dropout)
    }
}

/// The weights that attention would give each token's values, `[texts, heads, longest, longest]`: query by key, 0 at
/// padding keys, and of no meaning for padding queries. Without dropout.
pub fn attention_weights(
    query: Tensor<2>,
    key: Tensor<2>,
    spans: &Spans,
    heads: usize,
) -> Tensor<4> {
    let grid = Grid::new(spans, heads);
    let [query, key] = [query, key].map(|rows| grid.spread(rows));
    grid.weights(query, key)
}

pub(super) fn composed(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    spans: &Spans,
    heads: usize,
    dropout: Dropout,
) -> Tensor<2> {
    let grid = Grid::new(spans, heads);
    let [query, key, value] = [query, key, value].map(|rows| grid.spread(rows));
    let weights = grid.dropped(grid.weights(query, key), dropout);
    grid.gather(weights.matmul(value)) // [texts, heads, length, size]
}

/// Texts padded to one length, as operations on whole tensors need them.
struct Grid<'a> {
    spans: &'a Spans,
    heads: usize,
    texts: usize,
    /// To which every text is padded.
    length: usize,
    /// Whether the rows lie padded already.
    regular: bool,
}

impl<'a> Grid<'a> {
    fn new(spans: &'a Spans, heads: usize) -> Grid<'a> {
        let stride = spans.stride();
        Grid {
            spans,
            heads,
            texts: spans.texts().len(),
            length: stride.unwrap_or(spans.longest()),
            regular: stride.is_some(),
        }
    }

    /// The row of each text's each place; at padding, some row.
    fn rows(&self) -> Vec<usize> {
        let last = self.spans.rows().saturating_sub(1);
        let places = |start: usize| (start..start + self.length).map(|row| row.min(last));
        self.spans
            .texts()
            .iter()
            .flat_map(|text| places(text.start))
            .collect()
    }

    /// `[rows, heads * size]` → `[texts, heads, length, size]`.
    fn spread(&self, rows: Tensor<2>) -> Tensor<4> {
        let [_, width] = rows.dims();
        let rows = if self.regular {
            rows
        } else {
            let index: Vec<i32> = self.rows().into_iter().map(|row| row as i32).collect();
            let index =
                Tensor::<1, Int>::from_data(index.as_slice(), &rows.device().without_autodiff());
            rows.select(0, index) // [texts * length, width]
        };
        rows.reshape([self.texts, self.length, self.heads, width / self.heads]) // [texts, length, heads, size]
            .swap_dims(1, 2) // [texts, heads, length, size]
    }

    /// `[texts, heads, length, size]` → `[rows, heads * size]`.
    fn gather(&self, spread: Tensor<4>) -> Tensor<2> {
        let [_, _, _, size] = spread.dims();
        let rows = spread
            .swap_dims(1, 2) // [texts, length, heads, size]
            .reshape([self.texts * self.length, self.heads * size]); // [texts * length, width]
        if self.regular {
            return rows;
        }
        let mut index = vec![0i32; self.spans.rows()];
        for (text, range) in self.spans.texts().iter().enumerate() {
            for (place, row) in range.clone().enumerate() {
                index[row] = (text * self.length + place) as i32;
            }
        }
        let index =
            Tensor::<1, Int>::from_data(index.as_slice(), &rows.device().without_autodiff());
        rows.select(0, index)
    }

    fn weights(&self, query: Tensor<4>, key: Tensor<4>) -> Tensor<4> {
        let [_, _, _, size] = query.dims();
        let query = query / (size as f64).sqrt();
        let scores = query.matmul(key.swap_dims(2, 3)); // [texts, heads, length, length]
        let padding: Vec<bool> = self
            .spans
            .texts()
            .iter()
            .flat_map(|text| (0..self.length).map(|place| place >= text.len()))
            .collect();
        if !padding.contains(&true) {
            return softmax(scores, 3);
        }
        let padding = TensorData::new(padding, [self.texts, 1, 1, self.length]);
        let padding = Tensor::<4, Bool>::from_data(padding, &scores.device().without_autodiff()); // [texts, 1, 1, length]
        let shape = scores.dims();
        softmax(scores.mask_fill(padding.expand(shape), f32::MIN), 3)
    }

    fn dropped(&self, weights: Tensor<4>, dropout: Dropout) -> Tensor<4> {
        if dropout.is_none() {
            return weights;
        }
        let rows = self.rows();
        let rows: Vec<usize> = rows
            .chunks(self.length.max(1))
            .flat_map(|text| {
                (0..self.heads)
                    .flat_map(move |head| text.iter().map(move |row| row * self.heads + head))
            })
            .collect();
        let factors =
            dropout::factors(dropout, &rows, self.length, &weights.device()).cast(weights.dtype()); // [texts * heads * length, length]
        let factors = factors.reshape(weights.dims()); // [texts, heads, length, length]
        weights * factors
    }
}

#[derive(Debug, Clone)]
struct Attention {
    spans: Spans,
    heads: usize,
    dropout: Dropout,
}

impl Attention {
    fn shape(&self, query: &Numbers) -> Shape<'_> {
        let [rows, width] = query.dims();
        Shape {
            texts: self.spans.texts(),
            rows,
            heads: self.heads,
            size: width / self.heads,
        }
    }
}

impl Fused<3> for Attention {
    /// Query, key, value, output, and the logarithms of the rows' sums.
    type Saved = [Numbers; 5];

    fn forward(&self, inputs: [Numbers; 3]) -> (Numbers, [Numbers; 5]) {
        let [query, key, value] = inputs;
        let shape = self.shape(&query);
        let done = cpu::attention::forward([&query, &key, &value], shape, self.dropout);
        let log_sums = Numbers::new(done.log_sums, &[shape.rows, shape.heads]);
        let output = Numbers::new(done.output, &query.dims());
        (output.clone(), [query, key, value, output, log_sums])
    }

    fn backward(
        &self,
        saved: [Numbers; 5],
        gradient: Numbers,
        _wanted: [bool; 3],
    ) -> [Option<Numbers>; 3] {
        let [query, key, value, output, log_sums] = saved;
        let shape = self.shape(&query);
        cpu::attention::back(
            [&query, &key, &value],
            (&output, &log_sums),
            &gradient,
            shape,
            self.dropout,
        )
        .map(|gradient| Some(Numbers::new(gradient, &query.dims())))
    }
}
