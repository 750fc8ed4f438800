//! What the graphs of several encoders are built of: linear layers, LayerNorms, the dense parts of a block, and attention over
//! padded texts. See `model::layers` and `kernels::attention` for the same over texts without padding.
//!
//! Hidden states are `[texts, length, width]` throughout; a layer over one vector per text takes `[texts, width]`. Weights are
//! named by the paths of the fields that hold them in the model.

use super::OnnxPrecision;
use super::graph::{Float, Graph, Int, Real, Value};
use crate::model::config::Activation;
use crate::model::names::Names;

/// Texts as they are handed over, padded to one length.
pub(super) struct Inputs {
    /// `[texts, length]`.
    pub(super) ids: Value<Int, 2>,
    /// `[texts, length]`: 1 at a text's own tokens, 0 at padding.
    pub(super) mask: Value<Int, 2>,
    /// `[texts, length]`; absent where there is no more than one segment.
    pub(super) types: Option<Value<Int, 2>>,
    /// `[1]`.
    pub(super) length: Value<Int, 1>,
}

/// A graph, and how the model's fields are called in a checkpoint.
pub(super) struct Builder {
    pub(super) graph: Graph,
    pub(super) names: Names,
}

impl Builder {
    /// A tensor as the checkpoint has it.
    pub(super) fn stored<T: Real, const D: usize>(
        &mut self,
        path: &str,
        shape: [usize; D],
    ) -> Value<T, D> {
        let name = self.names.of_path(path);
        self.graph.stored(&name, shape)
    }

    /// A table of embeddings, `[rows, width]`.
    pub(super) fn table(&mut self, path: &str, shape: [usize; 2]) -> Value<Float, 2> {
        self.stored(&format!("{path}.weight"), shape)
    }

    /// `[…, inputs]` → `[…, outputs]`.
    pub(super) fn linear<T: Real, const D: usize>(
        &mut self,
        path: &str,
        input: &Value<T, D>,
        [inputs, outputs]: [usize; 2],
        shifts: bool,
    ) -> Value<T, D> {
        let name = self.names.of_path(&format!("{path}.weight"));
        let matrix = self.graph.matrix(&name, [inputs, outputs]);
        let product = self.graph.times_matrix(input, &matrix); // […, outputs]
        match shifts {
            true => {
                let bias = self.stored(&format!("{path}.bias"), [outputs]);
                self.graph.shift(&product, &bias)
            }
            false => product,
        }
    }

    /// `[…, width]` → `[…, width]`.
    pub(super) fn layer_norm<T: Real, const D: usize>(
        &mut self,
        path: &str,
        input: &Value<T, D>,
        width: usize,
        epsilon: f64,
        shifts: bool,
    ) -> Value<T, D> {
        let gamma = self.stored(&format!("{path}.gamma"), [width]);
        let beta = shifts.then(|| self.stored(&format!("{path}.beta"), [width]));
        self.graph.layer_norm(input, &gamma, beta.as_ref(), epsilon)
    }

    /// Dense, residual, LayerNorm: `BertOutput` and its equals. `[…, inputs]` and the residual `[…, width]` → `[…, width]`.
    pub(super) fn output<const D: usize>(
        &mut self,
        path: &str,
        input: &Value<Float, D>,
        residual: &Value<Float, D>,
        sizes: [usize; 2],
        epsilon: f64,
    ) -> Value<Float, D> {
        let dense = self.linear(&format!("{path}.dense"), input, sizes, true); // […, width]
        let sum = self.graph.add(&dense, residual);
        self.layer_norm(&format!("{path}.layer_norm"), &sum, sizes[1], epsilon, true)
    }

    /// The two dense layers after attention, with what stands between and after them: `[…, width]` → `[…, width]`.
    pub(super) fn dense_part<const D: usize>(
        &mut self,
        layer: &str,
        hidden: &Value<Float, D>,
        [width, wide]: [usize; 2],
        activation: Activation,
        epsilon: f64,
    ) -> Value<Float, D> {
        let path = format!("{layer}.intermediate.dense");
        let between = self.linear(&path, hidden, [width, wide], true); // […, wide]
        let between = activated(&mut self.graph, &between, activation);
        let path = format!("{layer}.output");
        self.output(&path, &between, hidden, [wide, width], epsilon)
    }

    /// The embeddings of the texts' words, `[texts, length, width]`.
    pub(super) fn words(
        &mut self,
        path: &str,
        inputs: &Inputs,
        shape: [usize; 2],
    ) -> Value<Float, 3> {
        let table = self.table(path, shape);
        self.graph.lookup(&table, &inputs.ids)
    }

    /// The embeddings of the texts' places, `[texts or 1, length, width]`. Places are counted from `first`, and where that is
    /// not 0, the row before it is that of the token with this id, padding. See `Batch::positions`.
    pub(super) fn positions(
        &mut self,
        path: &str,
        inputs: &Inputs,
        shape: [usize; 2],
        first: usize,
    ) -> Value<Float, 3> {
        let table = self.table(path, shape);
        let graph = &mut self.graph;
        let Some(padding) = first.checked_sub(1) else {
            let zero = graph.ints(&[0]);
            let rows = graph.slice(&table, 0, &zero, &inputs.length); // [length, width]
            return graph.unsqueeze(&rows, &[0]); // [1, length, width]
        };
        let padding = padding as i64;
        let is_padding = graph.equals(&inputs.ids, padding);
        let counts = graph.not(&is_padding);
        let counts = graph.cast(&counts); // [texts, length], 1 at what has a place
        let places = graph.running_sum(&counts, 1);
        let places = graph.mul(&places, &counts);
        let places = graph.add_int(&places, padding); // [texts, length]
        graph.lookup(&table, &places) // [texts, length, width]
    }

    /// The embeddings of the texts' segments, `[texts or 1, length or 1, width]`; none where there are none. Where there is only
    /// one, all tokens are in it.
    pub(super) fn segments(
        &mut self,
        path: &str,
        inputs: &Inputs,
        [segments, width]: [usize; 2],
    ) -> Option<Value<Float, 3>> {
        if segments == 0 {
            return None;
        }
        let table = self.table(path, [segments, width]);
        Some(match &inputs.types {
            Some(types) => self.graph.lookup(&table, types), // [texts, length, width]
            None => {
                let only = self.graph.part(&table, 0, 0..1); // [1, width]
                self.graph.unsqueeze(&only, &[0]) // [1, 1, width]
            }
        })
    }
}

/// The activation of each number.
pub(super) fn activated<T: Real, const D: usize>(
    graph: &mut Graph,
    input: &Value<T, D>,
    activation: Activation,
) -> Value<T, D> {
    match activation {
        // The form in which onnxruntime knows it again and computes it at once.
        Activation::Gelu => {
            let scaled = graph.div_number(input, std::f64::consts::SQRT_2);
            let erf = graph.erf(&scaled);
            let twice = graph.add_number(&erf, 1.0);
            let product = graph.mul(input, &twice);
            graph.mul_number(&product, 0.5)
        }
        Activation::GeluNew => {
            let square = graph.mul(input, input);
            let cube = graph.mul(&square, input);
            let cube = graph.mul_number(&cube, 0.044715);
            let sum = graph.add(input, &cube);
            let inner = graph.mul_number(&sum, (2.0 / std::f64::consts::PI).sqrt());
            let tanh = graph.tanh(&inner);
            let twice = graph.add_number(&tanh, 1.0);
            let half = graph.mul_number(input, 0.5);
            graph.mul(&half, &twice)
        }
        Activation::Relu => graph.relu(input),
        Activation::Tanh => graph.tanh(input),
    }
}

/// The number that stands for "never" among scores: far below any, and far enough from the end of the range that what is added
/// to it does not reach infinity. In rows in which it stands everywhere, a softmax stays finite.
fn never(precision: OnnxPrecision) -> f64 {
    match precision {
        OnnxPrecision::Fp32 => f64::from(f32::MIN),
        OnnxPrecision::Fp16 => -30_000.0,
    }
}

/// What is added to scores so that no token looks at padding: `[texts, 1, 1, length]`.
pub(super) fn hidden_padding(graph: &mut Graph, inputs: &Inputs) -> Value<Float, 4> {
    let mask: Value<Int, 3> = graph.unsqueeze(&inputs.mask, &[1]); // [texts, 1, length]
    let mask: Value<Int, 4> = graph.unsqueeze(&mask, &[2]); // [texts, 1, 1, length]
    let real: Value<Float, 4> = graph.cast(&mask);
    let padding = graph.number_sub(1.0, &real);
    graph.mul_number(&padding, never(graph.precision()))
}

/// The same so that no token looks farther than `window` places either: `[texts, 1, length, length]`.
pub(super) fn hidden_beyond(
    graph: &mut Graph,
    padding: &Value<Float, 4>,
    inputs: &Inputs,
    window: usize,
) -> Value<Float, 4> {
    let distances = distances(graph, &inputs.length); // [length, length]
    let far = graph.abs(&distances);
    let beyond = graph.exceeds(&far, window as i64);
    let beyond = graph.unsqueeze(&beyond, &[0, 1]); // [1, 1, length, length]
    let never = graph.number(never(graph.precision()));
    graph.choose(&beyond, &never, padding) // [texts, 1, length, length]
}

/// The key's place minus the query's, `[length, length]`.
pub(super) fn distances(graph: &mut Graph, length: &Value<Int, 1>) -> Value<Int, 2> {
    let places = graph.counted(length); // [length]
    let keys: Value<Int, 2> = graph.unsqueeze(&places, &[0]); // [1, length]
    let queries: Value<Int, 2> = graph.unsqueeze(&places, &[1]); // [length, 1]
    graph.sub(&keys, &queries)
}

/// `[texts, length, heads * size]` → `[texts, heads, length, size]`.
pub(super) fn by_head(
    graph: &mut Graph,
    rows: &Value<Float, 3>,
    [heads, size]: [usize; 2],
) -> Value<Float, 4> {
    let split: Value<Float, 4> = graph.reshape(rows, [0, 0, heads as i64, size as i64]); // [texts, length, heads, size]
    graph.transpose(&split, [0, 2, 1, 3])
}

/// What keys are multiplied as: `[texts, length, heads * size]` → `[texts, heads, size, length]`.
pub(super) fn keys_by_head(
    graph: &mut Graph,
    rows: &Value<Float, 3>,
    [heads, size]: [usize; 2],
) -> Value<Float, 4> {
    let split: Value<Float, 4> = graph.reshape(rows, [0, 0, heads as i64, size as i64]); // [texts, length, heads, size]
    graph.transpose(&split, [0, 2, 3, 1])
}

/// q kᵀ / √divisor of `[texts, heads, length, size]` and `[texts, heads, size, length]`: `[texts, heads, length, length]`.
pub(super) fn scores(
    graph: &mut Graph,
    query: &Value<Float, 4>,
    key: &Value<Float, 4>,
    divisor: usize,
) -> Value<Float, 4> {
    let root = (divisor as f64).sqrt();
    match graph.precision() {
        OnnxPrecision::Fp32 => {
            let product = graph.matmul(query, key);
            graph.div_number(&product, root)
        }
        // Here the product itself may be beyond the range.
        OnnxPrecision::Fp16 => {
            let query = graph.div_number(query, root);
            graph.matmul(&query, key)
        }
    }
}

/// softmax(scores + hidden) v, with `scores` `[texts, heads, length, length]`, `hidden` as [`hidden_padding`] gives it and values
/// `[texts, heads, length, size]`: `[texts, length, heads * size]`.
pub(super) fn attend(
    graph: &mut Graph,
    scores: &Value<Float, 4>,
    hidden: &Value<Float, 4>,
    value: &Value<Float, 4>,
    width: usize,
) -> Value<Float, 3> {
    let scores = graph.add(scores, hidden);
    let weights = graph.softmax(&scores); // [texts, heads, length, length]
    let context = graph.matmul(&weights, value); // [texts, heads, length, size]
    let context = graph.transpose(&context, [0, 2, 1, 3]); // [texts, length, heads, size]
    graph.reshape(&context, [0, 0, width as i64]) // [texts, length, heads * size]
}
