//! A graph under construction: values whose type says what they hold and how many dimensions they have, and the operators
//! between them.
//!
//! A graph that compiles has no operator on values of another type or rank than it takes. What the types do not say are sizes;
//! those are in the comments of the code that builds, and `onnx.checker` infers them in the tests. Names are made from the
//! operator and the order of building alone, so that equal models give equal graphs.
//!
//! The operators are in `operators`.
//!
//! Deliberately absent: what the weights are (see `file`) and any knowledge of a model.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use half::f16;

use super::OnnxPrecision;
use super::proto::{
    self, Attribute, DataType, Dimension, Node, Shape, Tensor, TensorType, Type, ValueInfo,
};

mod operators;

/// The first with everything that is used here but `Gelu`, which came with 20. onnxruntime reads it from 1.12 (2022) on.
pub(super) const OPSET: i64 = 17;

/// What values hold.
pub(super) trait Element {
    fn data_type(precision: OnnxPrecision) -> DataType;
}

/// Numbers in the precision of the graph.
#[derive(Debug, Clone, Copy)]
pub(super) enum Float {}
/// Numbers in 32 bits, whatever that precision is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Single {}
/// Whole numbers of 64 bits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Int {}
#[derive(Debug, Clone, Copy)]
pub(super) enum Bool {}

impl Element for Float {
    fn data_type(precision: OnnxPrecision) -> DataType {
        match precision {
            OnnxPrecision::Fp32 => DataType::Float,
            OnnxPrecision::Fp16 => DataType::Float16,
        }
    }
}

impl Element for Single {
    fn data_type(_: OnnxPrecision) -> DataType {
        DataType::Float
    }
}

impl Element for Int {
    fn data_type(_: OnnxPrecision) -> DataType {
        DataType::Int64
    }
}

impl Element for Bool {
    fn data_type(_: OnnxPrecision) -> DataType {
        DataType::Bool
    }
}

/// What numbers are.
pub(super) trait Number: Element {}
impl Number for Float {}
impl Number for Single {}
impl Number for Int {}

/// Numbers with a fraction.
pub(super) trait Real: Number {}
impl Real for Float {}
impl Real for Single {}

/// A value of `D` dimensions: an input, a weight, or what an operator gives.
#[derive(Debug)]
pub(super) struct Value<T, const D: usize> {
    name: Rc<str>,
    holds: PhantomData<T>,
}

impl<T, const D: usize> Clone for Value<T, D> {
    fn clone(&self) -> Self {
        Value::named(Rc::clone(&self.name))
    }
}

impl<T, const D: usize> Value<T, D> {
    fn named(name: Rc<str>) -> Self {
        Value {
            name,
            holds: PhantomData,
        }
    }
}

/// A size of an input or an output.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {
    Fixed(usize),
    /// One that differs from call to call.
    Named(&'static str),
}

/// A tensor of the checkpoint that the graph computes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weight {
    /// As in a checkpoint of transformers.
    pub(super) name: String,
    /// As in a checkpoint.
    pub(super) shape: Vec<usize>,
    /// Whether it lies the other way round in the graph.
    pub(super) transposed: bool,
    /// How the graph keeps it.
    pub(super) data_type: DataType,
}

impl Weight {
    /// Its shape in the graph.
    pub(super) fn dims(&self) -> Vec<i64> {
        let dims = self.shape.iter().map(|&size| size as i64);
        match self.transposed {
            true => dims.rev().collect(),
            false => dims.collect(),
        }
    }

    /// Those of its values in the graph.
    pub(super) fn bytes(&self) -> u64 {
        let values: u64 = self.shape.iter().map(|&size| size as u64).product();
        match self.data_type {
            DataType::Float16 => 2 * values,
            _ => 4 * values,
        }
    }
}

/// What has been built so far.
#[derive(Debug)]
pub(super) struct Graph {
    precision: OnnxPrecision,
    /// What the names of the next nodes begin with.
    place: String,
    nodes: Vec<Node>,
    inputs: Vec<ValueInfo>,
    outputs: Vec<ValueInfo>,
    weights: Vec<Weight>,
    constants: BTreeMap<(i32, Vec<i64>, Vec<u8>), Rc<str>>,
}

/// A finished graph, and the weights that are to be put beside it.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) graph: proto::Graph,
    pub(super) weights: Vec<Weight>,
}

impl Graph {
    pub(super) fn new(precision: OnnxPrecision) -> Graph {
        Graph {
            precision,
            place: String::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            weights: Vec::new(),
            constants: BTreeMap::new(),
        }
    }

    pub(super) fn precision(&self) -> OnnxPrecision {
        self.precision
    }

    /// From here on nodes belong to this part of the model.
    pub(super) fn enter(&mut self, place: impl Into<String>) {
        self.place = place.into();
    }

    /// The whole graph.
    pub(super) fn finish(self, name: &str) -> Built {
        let mut constants: Vec<Tensor> = self
            .constants
            .into_iter()
            .map(|((data_type, dims, bytes), name)| Tensor {
                dims,
                data_type: Some(data_type),
                name: name.to_string(),
                raw_data: Some(bytes),
                ..Tensor::default()
            })
            .collect();
        constants.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
        Built {
            graph: proto::Graph {
                node: self.nodes,
                name: name.to_owned(),
                initializer: constants,
                input: self.inputs,
                output: self.outputs,
            },
            weights: self.weights,
        }
    }

    fn described<T: Element>(&self, name: &str, sizes: &[Size], text: &str) -> ValueInfo {
        let dim = sizes.iter().map(|size| match size {
            Size::Fixed(size) => Dimension {
                value: Some(*size as i64),
                name: None,
            },
            Size::Named(name) => Dimension {
                value: None,
                name: Some((*name).to_owned()),
            },
        });
        ValueInfo {
            name: name.to_owned(),
            kind: Some(Type {
                tensor: Some(TensorType {
                    elem_type: Some(T::data_type(self.precision) as i32),
                    shape: Some(Shape { dim: dim.collect() }),
                }),
            }),
            doc_string: text.to_owned(),
        }
    }

    /// What is handed over with each call.
    pub(super) fn input<T: Element, const D: usize>(
        &mut self,
        name: &str,
        sizes: [Size; D],
        text: &str,
    ) -> Value<T, D> {
        self.inputs.push(self.described::<T>(name, &sizes, text));
        Value::named(name.into())
    }

    /// Gives a value, which a node made, to the caller under a name of its own.
    pub(super) fn output<T: Element, const D: usize>(
        &mut self,
        name: &str,
        value: Value<T, D>,
        sizes: [Size; D],
        text: &str,
    ) {
        self.outputs.push(self.described::<T>(name, &sizes, text));
        let uses = self
            .nodes
            .iter_mut()
            .flat_map(|node| node.input.iter_mut().chain(&mut node.output));
        for used in uses.filter(|used| **used == *value.name) {
            name.clone_into(used);
        }
    }

    fn weight<T: Real, const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        transposed: bool,
    ) -> Value<T, D> {
        let weight = Weight {
            name: name.to_owned(),
            shape: shape.to_vec(),
            transposed,
            data_type: T::data_type(self.precision),
        };
        if !self.weights.contains(&weight) {
            self.weights.push(weight);
        }
        Value::named(name.into())
    }

    /// A tensor as the checkpoint has it.
    pub(super) fn stored<T: Real, const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Value<T, D> {
        self.weight(name, shape, false)
    }

    /// The matrix of a linear layer, `[inputs, outputs]`; in the checkpoint it is `[outputs, inputs]`.
    pub(super) fn matrix<T: Real>(
        &mut self,
        name: &str,
        [inputs, outputs]: [usize; 2],
    ) -> Value<T, 2> {
        self.weight(name, [outputs, inputs], true)
    }

    fn constant<T: Element, const D: usize>(
        &mut self,
        dims: [usize; D],
        bytes: Vec<u8>,
    ) -> Value<T, D> {
        let data_type = T::data_type(self.precision) as i32;
        let dims = dims.map(|size| size as i64).to_vec();
        let next = format!("constant.{}", self.constants.len());
        let name = self
            .constants
            .entry((data_type, dims, bytes))
            .or_insert_with(|| next.into());
        Value::named(Rc::clone(name))
    }

    /// Numbers that do not depend on the input, `[values]`.
    pub(super) fn ints(&mut self, values: &[i64]) -> Value<Int, 1> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant([values.len()], bytes.collect())
    }

    pub(super) fn int(&mut self, value: i64) -> Value<Int, 0> {
        self.constant([], value.to_le_bytes().to_vec())
    }

    pub(super) fn singles(&mut self, values: &[f32]) -> Value<Single, 1> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant([values.len()], bytes.collect())
    }

    /// A number, rounded to what `T` holds.
    pub(super) fn number<T: Real>(&mut self, value: f64) -> Value<T, 0> {
        let bytes = match T::data_type(self.precision) {
            DataType::Float16 => f16::from_f64(value).to_le_bytes().to_vec(),
            _ => (value as f32).to_le_bytes().to_vec(),
        };
        self.constant([], bytes)
    }

    fn node<T, const D: usize>(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attribute: Vec<Attribute>,
    ) -> Value<T, D> {
        let place = match self.place.is_empty() {
            true => String::new(),
            false => format!("{}/", self.place),
        };
        let name = format!("{place}{operator}_{}", self.nodes.len());
        self.nodes.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: operator.to_owned(),
            attribute,
        });
        Value::named(name.into())
    }
}
