//! Scaled dot-product attention (Vaswani et al., 2017, <https://arxiv.org/abs/1706.03762>) within each text.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use super::cpu;
use super::cpu::attention::{Bias, Shape};
use super::cpu::random::Dropout;
use super::distance::Distance;
use super::dropout;
use super::flex::{self, Fused, Numbers};
use super::precision::Precision;
use super::spans::Spans;

/// dropout(softmax(q kᵀ / √size)) v for each text and head: `inputs` are queries, keys and values, and they and the result are
/// `[rows, heads * size]`. In rows that belong to no text the result is of no meaning, but finite. The two products are
/// computed in `precision`, the softmax in 32 bits.
pub fn attention(
    inputs: [Tensor<2>; 3],
    spans: &Spans,
    heads: usize,
    dropout: Dropout,
    precision: Precision,
) -> Tensor<2> {
    attention_by_distance(inputs, &Distance::Ignored, spans, heads, dropout, precision)
}

/// dropout(softmax(scores)) v for each text and head, with the scores of `distance`; otherwise as [`attention`].
///
/// # Panics
/// When a tensor in `distance` has another shape than it says.
pub fn attention_by_distance(
    inputs: [Tensor<2>; 3],
    distance: &Distance,
    spans: &Spans,
    heads: usize,
    dropout: Dropout,
    precision: Precision,
) -> Tensor<2> {
    distance.check(spans, heads);
    let dropout = dropout.in_pieces(heads);
    let operation = |window| Attention {
        spans: spans.clone(),
        heads,
        window,
        dropout,
        precision,
    };
    let fused = flex::fits(&inputs[0]);
    let rounded = |input| flex::input(precision.rounded(input));
    match distance {
        Distance::Ignored | Distance::Window(_) if fused => {
            let context = flex::apply(operation(distance.window()), inputs.map(rounded));
            precision.rounded(context)
        }
        Distance::Bias(bias) if fused => {
            let [query, key, value] = inputs.map(rounded);
            let inputs = [query, key, value, flex::input(bias.clone())];
            precision.rounded(flex::apply(Biased(operation(None)), inputs))
        }
        _ => composed(inputs, distance, spans, heads, dropout, precision),
    }
}

/// What [`attention`] gives for the first row of each text, `[texts, heads * size]`, from the queries of these rows alone,
/// `[texts, heads * size]`, and all keys and values, `[rows, heads * size]`.
///
/// One query for each head is little work, so this is a composition on every device.
pub fn attention_of_first(
    [query, key, value]: [Tensor<2>; 3],
    spans: &Spans,
    heads: usize,
    dropout: Dropout,
    precision: Precision,
) -> Tensor<2> {
    let dropout = dropout.in_pieces(heads);
    let [texts, width] = query.dims();
    let query = query.reshape([texts, heads, 1, width / heads]); // [texts, heads, 1, size]
    let [key, value] = [key, value].map(|rows| by_head(rows, spans, heads));
    let weights = weights(query, key, &Distance::Ignored, spans, precision); // [texts, heads, 1, length]
    let shape = weights.dims();
    let weights = weights.reshape([texts * heads, shape[3]]); // [texts * heads, length]
    let weights = dropout::dropout(weights, dropout).reshape(shape); // [texts, heads, 1, length]
    let context = precision.product(weights, value); // [texts, heads, 1, size]
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
    attention_weights_by_distance(query, key, &Distance::Ignored, spans, heads)
}

/// As [`attention_weights`], of [`attention_by_distance`].
///
/// # Panics
/// As there.
pub fn attention_weights_by_distance(
    query: Tensor<2>,
    key: Tensor<2>,
    distance: &Distance,
    spans: &Spans,
    heads: usize,
) -> Tensor<4> {
    distance.check(spans, heads);
    let [query, key] = [query, key].map(|rows| by_head(rows, spans, heads));
    weights(query, key, distance, spans, Precision::Fp32)
}

pub(super) fn composed(
    inputs: [Tensor<2>; 3],
    distance: &Distance,
    spans: &Spans,
    heads: usize,
    dropout: Dropout,
    precision: Precision,
) -> Tensor<2> {
    let [query, key, value] = inputs.map(|rows| by_head(rows, spans, heads));
    let weights = weights(query, key, distance, spans, precision);
    let context = precision.product(dropped(weights, spans, dropout), value); // [texts, heads, length, size]
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

/// softmax of the scores over the keys that are seen and no padding, `[texts, heads, queries, length]`.
fn weights(
    query: Tensor<4>,
    key: Tensor<4>,
    distance: &Distance,
    spans: &Spans,
    precision: Precision,
) -> Tensor<4> {
    let mut scores = distance.scores(query, key, precision); // [texts, heads, queries, length]
    let shape = scores.dims();
    if spans.pads() {
        let padding = spans
            .padding(&scores.device())
            .reshape([shape[0], 1, 1, shape[3]]) // [texts, 1, 1, length]
            .expand(shape);
        scores = scores.mask_fill(padding, f32::MIN);
    }
    if let Some(beyond) = distance.beyond(shape[3], &scores.device()) {
        let beyond = beyond.reshape([1, 1, shape[3], shape[3]]).expand(shape); // [texts, heads, length, length]
        scores = scores.mask_fill(beyond, f32::MIN);
    }
    softmax(scores, 3)
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
    window: Option<usize>,
    dropout: Dropout,
    precision: Precision,
}

impl Attention {
    fn shape(&self, query: &Numbers) -> Shape<'_> {
        let [rows, width] = query.dims();
        Shape {
            texts: self.spans.texts(),
            rows,
            heads: self.heads,
            size: width / self.heads,
            window: self.window,
            precision: self.precision,
        }
    }
}

impl Fused<3> for Attention {
    /// Query, key, value, output, and the logarithms of the rows' sums.
    type Saved = [Numbers; 5];

    fn forward(&self, inputs: [Numbers; 3]) -> (Numbers, [Numbers; 5]) {
        let [query, key, value] = inputs;
        let shape = self.shape(&query);
        let done = cpu::attention::forward([&query, &key, &value], None, shape, self.dropout);
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
            None,
            (&output, &log_sums),
            &gradient,
            shape,
            self.dropout,
        )
        .by_inputs
        .map(|gradient| Some(Numbers::new(gradient, &query.dims())))
    }
}

/// [`Attention`] with a bias by distance as the fourth input, `[heads, 2 * length - 1]`.
#[derive(Debug, Clone)]
struct Biased(Attention);

impl Biased {
    fn bias<'a>(&self, values: &'a Numbers) -> Option<Bias<'a>> {
        Some(Bias {
            values,
            length: self.0.spans.length(),
        })
    }
}

impl Fused<4> for Biased {
    /// The inputs, output, and the logarithms of the rows' sums.
    type Saved = [Numbers; 6];

    fn forward(&self, inputs: [Numbers; 4]) -> (Numbers, [Numbers; 6]) {
        let [query, key, value, bias] = inputs;
        let shape = self.0.shape(&query);
        let inputs = [&query[..], &key, &value];
        let done = cpu::attention::forward(inputs, self.bias(&bias), shape, self.0.dropout);
        let log_sums = Numbers::new(done.log_sums, &[shape.rows, shape.heads]);
        let output = Numbers::new(done.output, &query.dims());
        (output.clone(), [query, key, value, bias, output, log_sums])
    }

    fn backward(
        &self,
        saved: [Numbers; 6],
        gradient: Numbers,
        _wanted: [bool; 4],
    ) -> [Option<Numbers>; 4] {
        let [query, key, value, bias, output, log_sums] = saved;
        let back = cpu::attention::back(
            [&query, &key, &value],
            self.bias(&bias),
            (&output, &log_sums),
            &gradient,
            self.0.shape(&query),
            self.0.dropout,
        );
        let [by_query, by_key, by_value] = back.by_inputs;
        [
            Some(Numbers::new(by_query, &query.dims())),
            Some(Numbers::new(by_key, &query.dims())),
            Some(Numbers::new(by_value, &query.dims())),
            Some(Numbers::new(back.by_bias, &bias.dims())),
        ]
    }
}
