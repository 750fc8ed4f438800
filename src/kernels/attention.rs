//! Scaled dot-product attention (Vaswani et al., 2017, <https://arxiv.org/abs/1706.03762>) within each text.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

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

/// What [`attention`] gives for the first row of each text, `[texts, heads * size]`, from the queries of these rows alone,
/// `[texts, heads * size]`, and all keys and values, `[rows, heads * size]`.
///
/// One query for each head is little work, so this is a composition on every device.
pub fn attention_of_first(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    spans: &Spans,
    heads: usize,
    dropout: Dropout,
) -> Tensor<2> {
    let [texts, width] = query.dims();
    let query = query.reshape([texts, heads, 1, width / heads]); // [texts, heads, 1, size]
    let [key, value] = [key, value].map(|rows| by_head(rows, spans, heads));
    let weights = weights(query, key, spans); // [texts, heads, 1, length]
    let shape = weights.dims();
    let weights = weights.reshape([texts * heads, shape[3]]); // [texts * heads, length]
    let weights = dropout::dropout(weights, dropout).reshape(shape); // [texts, heads, 1, length]
    let context = weights.matmul(value); // [texts, heads, 1, size]
    context.reshape([texts, width]) // [texts, heads * size]
}

/// The weights that attention would give each token's values, `[texts, heads, length, length]` with the length of [`Spans::length`]: query by key, 0 at
/// padding keys, and of no meaning for padding queries. Without dropout.
pub fn attention_weights(
    query: Tensor<2>,
    key: Tensor<2>,
    spans: &Spans,
    heads: usize,
) -> Tensor<4> {
    let [query, key] = [query, key].map(|rows| by_head(rows, spans, heads));
    weights(query, key, spans)
}

pub(super) fn composed(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    spans: &Spans,
    heads: usize,
    dropout: Dropout,
) -> Tensor<2> {
    let [query, key, value] = [query, key, value].map(|rows| by_head(rows, spans, heads));
    let weights = dropped(weights(query, key, spans), spans, dropout);
    let context = weights.matmul(value); // [texts, heads, length, size]
    let [texts, heads, length, size] = context.dims();
    let context = context
        .swap_dims(1, 2) // [texts, length, heads, size]
        .reshape([texts, length, heads * size]); // [texts, length, heads * size]
    spans.gather(context)
}

/// `[rows, heads * size]` → `[texts, heads, length, size]`.
fn by_head(rows: Tensor<2>, spans: &Spans, heads: usize) -> Tensor<4> {
    let spread = spans.spread(rows); // [texts, length, heads * size]
    let [texts, length, width] = spread.dims();
    spread
        .reshape([texts, length, heads, width / heads]) // [texts, length, heads, size]
        .swap_dims(1, 2) // [texts, heads, length, size]
}

/// softmax(q kᵀ / √size) over the keys that are no padding, `[texts, heads, queries, length]`.
fn weights(query: Tensor<4>, key: Tensor<4>, spans: &Spans) -> Tensor<4> {
    let [_, _, _, size] = query.dims();
    let query = query / (size as f64).sqrt();
    let scores = query.matmul(key.swap_dims(2, 3)); // [texts, heads, length, length]
    if !spans.pads() {
        return softmax(scores, 3);
    }
    let shape = scores.dims();
    let padding = spans
        .padding(&scores.device())
        .reshape([shape[0], 1, 1, shape[3]]) // [texts, 1, 1, length]
        .expand(shape);
    softmax(scores.mask_fill(padding, f32::MIN), 3)
}

/// The mask's row of a query is its row times heads plus the head, the column is the key's place in its text.
fn dropped(weights: Tensor<4>, spans: &Spans, dropout: Dropout) -> Tensor<4> {
    if dropout.is_none() {
        return weights;
    }
    let [_, heads, length, _] = weights.dims();
    let places = spans.places();
    let rows: Vec<usize> = places
        .chunks(length.max(1))
        .flat_map(|text| {
            (0..heads).flat_map(move |head| text.iter().map(move |row| row * heads + head))
        })
        .collect();
    let factors = dropout::factors(dropout, &rows, length, &weights.device()); // [texts * heads * length, length]
    let factors = factors.cast(weights.dtype()).reshape(weights.dims()); // [texts, heads, length, length]
    weights * factors
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
