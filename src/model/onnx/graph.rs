//! A graph under construction: values whose type says what they hold and how many dimensions they have, and the operators
//! between them.
//!
//! A graph that compiles has no operator on values of another type or rank than it takes. What the types do not say are sizes;
//! those are in the comments of the code that builds, and `onnx.checker` infers them in the tests. Names are made from the
//! operator and the order of building alone, so that equal models give equal graphs.
//!
//! Operators are those of the standard set, [`OPSET`]; <https://onnx.ai/onnx/operators/> says what each computes.
//!
//! Deliberately absent: what the weights are (see `file`) and any knowledge of a model.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use half::f16;

use super::OnnxPrecision;
use super::proto::{
    self, Attribute, DataType, Dimension, Node, Shape, Tensor, TensorType, Type, ValueInfo, kind,
};

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

    fn weight<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        transposed: bool,
    ) -> Value<Float, D> {
        let weight = Weight {
            name: name.to_owned(),
            shape: shape.to_vec(),
            transposed,
        };
        if !self.weights.contains(&weight) {
            self.weights.push(weight);
        }
        Value::named(name.into())
    }

    /// A tensor as the checkpoint has it.
    pub(super) fn stored<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Value<Float, D> {
        self.weight(name, shape, false)
    }

    /// The matrix of a linear layer, `[inputs, outputs]`; in the checkpoint it is `[outputs, inputs]`.
    pub(super) fn matrix(&mut self, name: &str, [inputs, outputs]: [usize; 2]) -> Value<Float, 2> {
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

    /// The least number of the graph's precision.
    pub(super) fn least(&mut self) -> Value<Float, 0> {
        self.number(match self.precision {
            OnnxPrecision::Fp32 => f64::from(f32::MIN),
            OnnxPrecision::Fp16 => f64::from(f16::MIN.to_f32()),
        })
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

    fn unary<T, const D: usize>(&mut self, operator: &str, input: &Value<T, D>) -> Value<T, D> {
        self.node(operator, &[&input.name], Vec::new())
    }

    fn binary<T, const D: usize>(&mut self, operator: &str, inputs: [&str; 2]) -> Value<T, D> {
        self.node(operator, &inputs, Vec::new())
    }

    /// The sum; sizes of 1 are stretched.
    pub(super) fn add<T: Number, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: &Value<T, D>,
    ) -> Value<T, D> {
        self.binary("Add", [&a.name, &b.name])
    }

    pub(super) fn sub<T: Number, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: &Value<T, D>,
    ) -> Value<T, D> {
        self.binary("Sub", [&a.name, &b.name])
    }

    pub(super) fn mul<T: Number, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: &Value<T, D>,
    ) -> Value<T, D> {
        self.binary("Mul", [&a.name, &b.name])
    }

    pub(super) fn div<T: Number, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: &Value<T, D>,
    ) -> Value<T, D> {
        self.binary("Div", [&a.name, &b.name])
    }

    pub(super) fn add_number<T: Real, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: f64,
    ) -> Value<T, D> {
        let b = self.number::<T>(b);
        self.binary("Add", [&a.name, &b.name])
    }

    /// `a - b`.
    pub(super) fn number_sub<T: Real, const D: usize>(
        &mut self,
        a: f64,
        b: &Value<T, D>,
    ) -> Value<T, D> {
        let a = self.number::<T>(a);
        self.binary("Sub", [&a.name, &b.name])
    }

    pub(super) fn mul_number<T: Real, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: f64,
    ) -> Value<T, D> {
        let b = self.number::<T>(b);
        self.binary("Mul", [&a.name, &b.name])
    }

    pub(super) fn div_number<T: Real, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: f64,
    ) -> Value<T, D> {
        let b = self.number::<T>(b);
        self.binary("Div", [&a.name, &b.name])
    }

    /// Each number, or `least` where it is less.
    pub(super) fn at_least<T: Real, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        least: f64,
    ) -> Value<T, D> {
        let least = self.number::<T>(least);
        self.binary("Max", [&a.name, &least.name])
    }

    pub(super) fn add_int<const D: usize>(&mut self, a: &Value<Int, D>, b: i64) -> Value<Int, D> {
        let b = self.int(b);
        self.binary("Add", [&a.name, &b.name])
    }

    /// `a - b`.
    pub(super) fn int_sub<const D: usize>(&mut self, a: i64, b: &Value<Int, D>) -> Value<Int, D> {
        let a = self.int(a);
        self.binary("Sub", [&a.name, &b.name])
    }

    pub(super) fn mul_int<const D: usize>(&mut self, a: &Value<Int, D>, b: i64) -> Value<Int, D> {
        let b = self.int(b);
        self.binary("Mul", [&a.name, &b.name])
    }

    /// Adds a vector, `[width]`, to each row of `[…, width]`.
    pub(super) fn shift<const D: usize>(
        &mut self,
        rows: &Value<Float, D>,
        by: &Value<Float, 1>,
    ) -> Value<Float, D> {
        self.binary("Add", [&rows.name, &by.name])
    }

    pub(super) fn equals<const D: usize>(&mut self, a: &Value<Int, D>, b: i64) -> Value<Bool, D> {
        let b = self.int(b);
        self.binary("Equal", [&a.name, &b.name])
    }

    pub(super) fn exceeds<const D: usize>(&mut self, a: &Value<Int, D>, b: i64) -> Value<Bool, D> {
        let b = self.int(b);
        self.binary("Greater", [&a.name, &b.name])
    }

    pub(super) fn not<const D: usize>(&mut self, input: &Value<Bool, D>) -> Value<Bool, D> {
        self.unary("Not", input)
    }

    pub(super) fn abs<const D: usize>(&mut self, input: &Value<Int, D>) -> Value<Int, D> {
        self.unary("Abs", input)
    }

    pub(super) fn erf<T: Real, const D: usize>(&mut self, input: &Value<T, D>) -> Value<T, D> {
        self.unary("Erf", input)
    }

    pub(super) fn tanh<T: Real, const D: usize>(&mut self, input: &Value<T, D>) -> Value<T, D> {
        self.unary("Tanh", input)
    }

    pub(super) fn relu<T: Real, const D: usize>(&mut self, input: &Value<T, D>) -> Value<T, D> {
        self.unary("Relu", input)
    }

    pub(super) fn cos<T: Real, const D: usize>(&mut self, input: &Value<T, D>) -> Value<T, D> {
        self.unary("Cos", input)
    }

    pub(super) fn sin<T: Real, const D: usize>(&mut self, input: &Value<T, D>) -> Value<T, D> {
        self.unary("Sin", input)
    }

    /// The value as another type of element; a node only where the two differ in this precision.
    pub(super) fn cast<T: Element, U: Element, const D: usize>(
        &mut self,
        input: &Value<T, D>,
    ) -> Value<U, D> {
        let to = U::data_type(self.precision);
        match T::data_type(self.precision) == to {
            true => Value::named(Rc::clone(&input.name)),
            false => self.node("Cast", &[&input.name], vec![int("to", to as i64)]),
        }
    }

    /// `then` where `condition`, else `otherwise`; sizes of 1 are stretched.
    pub(super) fn choose<T: Number, const D: usize>(
        &mut self,
        condition: &Value<Bool, D>,
        then: &Value<T, 0>,
        otherwise: &Value<T, D>,
    ) -> Value<T, D> {
        let inputs = [&*condition.name, &then.name, &otherwise.name];
        self.node("Where", &inputs, Vec::new())
    }

    /// `[…, m, k]` and `[…, k, n]` → `[…, m, n]`; sizes of 1 before these are stretched.
    pub(super) fn matmul<const D: usize>(
        &mut self,
        a: &Value<Float, D>,
        b: &Value<Float, D>,
    ) -> Value<Float, D> {
        self.binary("MatMul", [&a.name, &b.name])
    }

    /// `[…, k]` and `[k, n]` → `[…, n]`.
    pub(super) fn times_matrix<const D: usize>(
        &mut self,
        rows: &Value<Float, D>,
        matrix: &Value<Float, 2>,
    ) -> Value<Float, D> {
        self.binary("MatMul", [&rows.name, &matrix.name])
    }

    /// Over the last dimension.
    pub(super) fn softmax<const D: usize>(&mut self, input: &Value<Float, D>) -> Value<Float, D> {
        self.node("Softmax", &[&input.name], vec![int("axis", -1)])
    }

    /// Over the last dimension, mean and variance in 32 bits whatever the precision.
    pub(super) fn layer_norm<const D: usize>(
        &mut self,
        input: &Value<Float, D>,
        scale: &Value<Float, 1>,
        shift: Option<&Value<Float, 1>>,
        epsilon: f64,
    ) -> Value<Float, D> {
        let attributes = vec![int("axis", -1), float("epsilon", epsilon)];
        let inputs = [&*input.name, &*scale.name];
        match shift {
            Some(shift) => {
                let inputs = [inputs[0], inputs[1], &*shift.name];
                self.node("LayerNormalization", &inputs, attributes)
            }
            None => self.node("LayerNormalization", &inputs, attributes),
        }
    }

    /// Convolution along the last dimension with zeros beyond its ends: `[texts, inputs, length]` with kernels
    /// `[outputs, inputs, neighbours]`, an odd number of them, and a shift `[outputs]` → `[texts, outputs, length]`.
    pub(super) fn convolution(
        &mut self,
        input: &Value<Float, 3>,
        kernels: &Value<Float, 3>,
        shift: &Value<Float, 1>,
        neighbours: usize,
    ) -> Value<Float, 3> {
        let beside = (neighbours / 2) as i64;
        let attributes = vec![
            ints("kernel_shape", &[neighbours as i64]),
            ints("pads", &[beside, beside]),
        ];
        let inputs = [&*input.name, &kernels.name, &shift.name];
        self.node("Conv", &inputs, attributes)
    }

    /// The rows of a table `[rows, width]` with these numbers: `[a, b]` → `[a, b, width]`.
    pub(super) fn lookup(
        &mut self,
        table: &Value<Float, 2>,
        rows: &Value<Int, 2>,
    ) -> Value<Float, 3> {
        self.node("Gather", &[&table.name, &rows.name], Vec::new())
    }

    /// The entries of a list `[entries]` with these numbers.
    pub(super) fn entries<const D: usize>(
        &mut self,
        list: &Value<Int, 1>,
        numbers: &Value<Int, D>,
    ) -> Value<Int, D> {
        self.node("Gather", &[&list.name, &numbers.name], Vec::new())
    }

    /// What lies at these numbers along the last dimension.
    pub(super) fn along_last<T: Element, const D: usize>(
        &mut self,
        input: &Value<T, D>,
        numbers: &Value<Int, 1>,
    ) -> Value<T, D> {
        let inputs = [&*input.name, &numbers.name];
        self.node("Gather", &inputs, vec![int("axis", -1)])
    }

    /// What lies from `start` to `end` (not included) along a dimension; negative ends count from the last.
    pub(super) fn slice<T: Element, const D: usize>(
        &mut self,
        input: &Value<T, D>,
        axis: usize,
        start: &Value<Int, 1>,
        end: &Value<Int, 1>,
    ) -> Value<T, D> {
        let axes = self.ints(&[axis as i64]);
        let inputs = [&*input.name, &start.name, &end.name, &axes.name];
        self.node("Slice", &inputs, Vec::new())
    }

    /// The same between ends that are known.
    pub(super) fn part<T: Element, const D: usize>(
        &mut self,
        input: &Value<T, D>,
        axis: usize,
        part: std::ops::Range<usize>,
    ) -> Value<T, D> {
        let (start, end) = (
            self.ints(&[part.start as i64]),
            self.ints(&[part.end as i64]),
        );
        self.slice(input, axis, &start, &end)
    }

    /// `[a, b, c]` → `[a, c]`: what lies first along the second dimension.
    pub(super) fn first(&mut self, input: &Value<Float, 3>) -> Value<Float, 2> {
        let zero = self.int(0);
        let inputs = [&*input.name, &zero.name];
        self.node("Gather", &inputs, vec![int("axis", 1)])
    }

    /// The same numbers in another shape: 0 keeps a size, one -1 takes what is left.
    pub(super) fn reshape<T: Element, const D: usize, const E: usize>(
        &mut self,
        input: &Value<T, D>,
        shape: [i64; E],
    ) -> Value<T, E> {
        let shape = self.ints(&shape);
        self.node("Reshape", &[&input.name, &shape.name], Vec::new())
    }

    /// The same with a last size that is computed.
    pub(super) fn reshape_to<T: Element, const D: usize, const E: usize>(
        &mut self,
        input: &Value<T, D>,
        shape: &[i64],
        last: &Value<Int, 1>,
    ) -> Value<T, E> {
        debug_assert_eq!(shape.len() + 1, E);
        let before = self.ints(shape);
        let shape = self.concat(&[&before, last], 0);
        self.node("Reshape", &[&input.name, &shape.name], Vec::new())
    }

    pub(super) fn transpose<T: Element, const D: usize>(
        &mut self,
        input: &Value<T, D>,
        order: [usize; D],
    ) -> Value<T, D> {
        let order = order.map(|axis| axis as i64);
        self.node("Transpose", &[&input.name], vec![ints("perm", &order)])
    }

    /// With a new size of 1 at this place.
    pub(super) fn unsqueeze<T: Element, const D: usize, const E: usize>(
        &mut self,
        input: &Value<T, D>,
        axes: &[i64],
    ) -> Value<T, E> {
        debug_assert_eq!(D + axes.len(), E);
        let axes = self.ints(axes);
        self.node("Unsqueeze", &[&input.name, &axes.name], Vec::new())
    }

    /// Without the size of 1 at this place.
    pub(super) fn squeeze<T: Element, const D: usize, const E: usize>(
        &mut self,
        input: &Value<T, D>,
        axis: usize,
    ) -> Value<T, E> {
        debug_assert_eq!(D, E + 1);
        let axes = self.ints(&[axis as i64]);
        self.node("Squeeze", &[&input.name, &axes.name], Vec::new())
    }

    pub(super) fn concat<T: Element, const D: usize>(
        &mut self,
        parts: &[&Value<T, D>],
        axis: usize,
    ) -> Value<T, D> {
        let inputs: Vec<&str> = parts.iter().map(|part| &*part.name).collect();
        self.node("Concat", &inputs, vec![int("axis", axis as i64)])
    }

    /// The sum along a dimension, whose size becomes 1.
    pub(super) fn sum<T: Real, const D: usize>(
        &mut self,
        input: &Value<T, D>,
        axis: usize,
    ) -> Value<T, D> {
        let axes = self.ints(&[axis as i64]);
        self.node("ReduceSum", &[&input.name, &axes.name], Vec::new())
    }

    /// The largest along a dimension, which goes: `[a, b, c]` → `[a, c]`.
    pub(super) fn largest(&mut self, input: &Value<Float, 3>) -> Value<Float, 2> {
        let attributes = vec![ints("axes", &[1]), int("keepdims", 0)];
        self.node("ReduceMax", &[&input.name], attributes)
    }

    /// Each number and all before it along a dimension, summed.
    pub(super) fn running_sum<const D: usize>(
        &mut self,
        input: &Value<Int, D>,
        axis: usize,
    ) -> Value<Int, D> {
        let axis = self.int(axis as i64);
        self.binary("CumSum", [&input.name, &axis.name])
    }

    /// The size of a dimension, `[1]`.
    pub(super) fn size<T: Element, const D: usize>(
        &mut self,
        input: &Value<T, D>,
        axis: usize,
    ) -> Value<Int, 1> {
        let axis = axis as i64;
        let attributes = vec![int("start", axis), int("end", axis + 1)];
        self.node("Shape", &[&input.name], attributes)
    }

    /// 0, 1, … up to `count` (`[1]`, not included): `[count]`.
    pub(super) fn counted(&mut self, count: &Value<Int, 1>) -> Value<Int, 1> {
        let count: Value<Int, 0> = self.squeeze(count, 0);
        let (zero, one) = (self.int(0), self.int(1));
        let inputs = [&*zero.name, &count.name, &one.name];
        self.node("Range", &inputs, Vec::new())
    }
}

fn int(name: &str, value: i64) -> Attribute {
    Attribute {
        name: name.to_owned(),
        i: Some(value),
        kind: Some(kind::INT),
        ..Attribute::default()
    }
}

fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute {
        name: name.to_owned(),
        ints: values.to_vec(),
        kind: Some(kind::INTS),
        ..Attribute::default()
    }
}

fn float(name: &str, value: f64) -> Attribute {
    Attribute {
        name: name.to_owned(),
        f: Some(value as f32),
        kind: Some(kind::FLOAT),
        ..Attribute::default()
    }
}
