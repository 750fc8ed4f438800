//! How the distance of a key from its query enters the scores of attention.
//!
//! A distance is the key's place minus the query's. Tensors by distance have an entry for each from `1 - length` to
//! `length - 1`, in this order, with the length of [`Spans::length`].

use burn::tensor::{Bool, Device, Tensor, TensorData};

use super::precision::Precision;
use super::spans::Spans;

/// What the scores of attention depend on beside queries and keys. Without it they are q kᵀ / √size.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one in a layer, beside tensors of many thousands of numbers"
)]
pub enum Distance {
    /// Nothing.
    Ignored,
    /// Keys that are more than so many places away are not looked at (Beltagy et al., 2020,
    /// <https://arxiv.org/abs/2004.05150>).
    Window(usize),
    /// A number for each head and distance is added, `[heads, 2 * length - 1]` (Raffel et al., 2019,
    /// <https://arxiv.org/abs/1910.10683>).
    Bias(Tensor<2>),
    /// Each distance has vectors of its own: the query's product with its key and the key's with its query are added to
    /// q kᵀ, and the sum is divided by √(size * terms) (He et al., 2020, <https://arxiv.org/abs/2006.03654>).
    Disentangled(Vectors),
}

/// Vectors by distance, `[2 * length - 1, heads * size]` each; a term of the scores is absent with its vectors.
#[derive(Debug, Clone)]
pub struct Vectors {
    /// What queries are multiplied with.
    pub keys: Option<Tensor<2>>,
    /// What keys are multiplied with.
    pub queries: Option<Tensor<2>>,
}

impl Vectors {
    fn both(&self) -> impl Iterator<Item = &Tensor<2>> {
        [&self.keys, &self.queries].into_iter().flatten()
    }
}

impl Distance {
    /// How many distances there are within texts of the given length.
    pub fn count(length: usize) -> usize {
        (2 * length).saturating_sub(1)
    }

    pub(super) fn window(&self) -> Option<usize> {
        match self {
            Distance::Window(window) => Some(*window),
            _ => None,
        }
    }

    /// # Panics
    /// When a tensor has another shape than this says.
    pub(super) fn check(&self, spans: &Spans, heads: usize) {
        let distances = Distance::count(spans.length());
        match self {
            Distance::Ignored | Distance::Window(_) => {}
            Distance::Bias(bias) => assert_eq!(bias.dims(), [heads, distances]),
            Distance::Disentangled(vectors) => {
                let mut shapes = vectors.both().map(|vectors| vectors.dims()[0]);
                assert!(shapes.all(|found| found == distances));
            }
        }
    }

    /// The scores of `query` `[texts, heads, queries, size]` for `key` `[texts, heads, length, size]`:
    /// `[texts, heads, queries, length]`. Where they depend on distances, all queries are there.
    ///
    /// In half precision the products are divided, not their operands: these would be rounded once more.
    pub(super) fn scores(
        &self,
        query: Tensor<4>,
        key: Tensor<4>,
        precision: Precision,
    ) -> Tensor<4> {
        let [_, heads, length, size] = query.dims();
        let root = |terms: usize| ((size * terms) as f64).sqrt();
        let before = |operand: &Tensor<4>, terms: usize| match precision.is_half() {
            true => operand.clone(),
            false => operand.clone() / root(terms),
        };
        let after = |product: Tensor<4>, terms: usize| match precision.is_half() {
            true => product / root(terms),
            false => product,
        };
        let scaled = |terms: usize| before(&query, terms);
        let with = |query: Tensor<4>, terms: usize| {
            after(precision.product(query, key.clone().swap_dims(2, 3)), terms) // [texts, heads, queries, length]
        };
        match self {
            Distance::Ignored | Distance::Window(_) => with(scaled(1), 1),
            Distance::Bias(bias) => {
                let distances = Distance::count(length);
                let bias = bias
                    .clone()
                    .reshape([1, heads, 1, distances]) // [1, heads, 1, distances]
                    .expand([1, heads, length, distances]);
                with(scaled(1), 1) + by_key(bias)
            }
            Distance::Disentangled(vectors) => {
                let terms = 1 + vectors.both().count();
                let query = scaled(terms);
                let by_head = |vectors: Tensor<2>| {
                    let [distances, width] = vectors.dims();
                    vectors
                        .reshape([1, distances, heads, width / heads]) // [1, distances, heads, size]
                        .permute([0, 2, 3, 1]) // [1, heads, size, distances]
                };
                let mut scores = with(query.clone(), terms);
                if let Some(keys) = &vectors.keys {
                    let product = precision.product(query, by_head(keys.clone()));
                    scores = scores + by_key(after(product, terms));
                }
                if let Some(queries) = &vectors.queries {
                    // Here the rows are keys, so that the distances run the other way.
                    let key = before(&key, terms);
                    let product = precision.product(key, by_head(queries.clone().flip([0])));
                    scores = scores + by_key(after(product, terms)).swap_dims(2, 3);
                }
                scores
            }
        }
    }

    /// Where a key is beyond the window of a query: `[length, length]`, true there; `None` when it never is.
    pub(super) fn beyond(&self, length: usize, device: &Device) -> Option<Tensor<2, Bool>> {
        let window = self.window().filter(|window| *window + 1 < length)?;
        let beyond: Vec<bool> = (0..length)
            .flat_map(|query| (0..length).map(move |key| query.abs_diff(key) > window))
            .collect();
        let beyond = TensorData::new(beyond, [length, length]);
        Some(Tensor::from_data(
            beyond,
            &device.clone().without_autodiff(),
        ))
    }
}

/// From numbers by query and distance to numbers by query and key:
/// `[texts, heads, length, 2 * length - 1]` → `[texts, heads, length, length]`.
///
/// Row by row the wanted numbers begin one place earlier. Cut from one long row and laid out in rows that are one number
/// shorter, they stand one below the other.
fn by_key(by_distance: Tensor<4>) -> Tensor<4> {
    let [texts, heads, length, distances] = by_distance.dims();
    if length < 2 {
        return by_distance;
    }
    by_distance
        .reshape([texts, heads, length * distances]) // [texts, heads, length * distances]
        .narrow(2, length - 1, length * (distances - 1)) // [texts, heads, length * (distances - 1)]
        .reshape([texts, heads, length, distances - 1]) // [texts, heads, length, distances - 1]
        .narrow(3, 0, length) // [texts, heads, length, length]
}
