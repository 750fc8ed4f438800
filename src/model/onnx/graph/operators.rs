//! The operators that a graph may have, each between values of the types that it takes.
//!
//! They are those of ONNX's standard set, [`OPSET`](super::OPSET); <https://onnx.ai/onnx/operators/> says what each computes.
//! An attribute at its default is left out.

use std::rc::Rc;

use super::super::proto::{Attribute, kind};
use super::{Bool, Element, Float, Graph, Int, Number, Real, Value};

impl Graph {
    fn unary<T, const D: usize>(&mut self, operator: &str, input: &Value<T, D>) -> Value<T, D> {
        self.node(operator, &[&input.name], Vec::new())
    }

    fn binary<T, const D: usize>(&mut self, operator: &str, inputs: [&str; 2]) -> Value<T, D> {
        self.node(operator, &inputs, Vec::new())
    }

    /// The sum; sizes of 1 are stretched.
    pub(in crate::model::onnx) fn add<T: Number, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: &Value<T, D>,
    ) -> Value<T, D> {
        self.binary("Add", [&a.name, &b.name])
    }

    pub(in crate::model::onnx) fn sub<T: Number, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: &Value<T, D>,
    ) -> Value<T, D> {
        self.binary("Sub", [&a.name, &b.name])
    }

    pub(in crate::model::onnx) fn mul<T: Number, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: &Value<T, D>,
    ) -> Value<T, D> {
        self.binary("Mul", [&a.name, &b.name])
    }

    pub(in crate::model::onnx) fn div<T: Number, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: &Value<T, D>,
    ) -> Value<T, D> {
        self.binary("Div", [&a.name, &b.name])
    }

    pub(in crate::model::onnx) fn add_number<T: Real, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: f64,
    ) -> Value<T, D> {
        let b = self.number::<T>(b);
        self.binary("Add", [&a.name, &b.name])
    }

    /// `a - b`.
    pub(in crate::model::onnx) fn number_sub<T: Real, const D: usize>(
        &mut self,
        a: f64,
        b: &Value<T, D>,
    ) -> Value<T, D> {
        let a = self.number::<T>(a);
        self.binary("Sub", [&a.name, &b.name])
    }

    pub(in crate::model::onnx) fn mul_number<T: Real, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: f64,
    ) -> Value<T, D> {
        let b = self.number::<T>(b);
        self.binary("Mul", [&a.name, &b.name])
    }

    pub(in crate::model::onnx) fn div_number<T: Real, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        b: f64,
    ) -> Value<T, D> {
        let b = self.number::<T>(b);
        self.binary("Div", [&a.name, &b.name])
    }

    /// Each number, or `least` where it is less.
    pub(in crate::model::onnx) fn at_least<T: Real, const D: usize>(
        &mut self,
        a: &Value<T, D>,
        least: f64,
    ) -> Value<T, D> {
        let least = self.number::<T>(least);
        self.binary("Max", [&a.name, &least.name])
    }

    pub(in crate::model::onnx) fn add_int<const D: usize>(
        &mut self,
        a: &Value<Int, D>,
        b: i64,
    ) -> Value<Int, D> {
        let b = self.int(b);
        self.binary("Add", [&a.name, &b.name])
    }

    /// `a - b`.
    pub(in crate::model::onnx) fn int_sub<const D: usize>(
        &mut self,
        a: i64,
        b: &Value<Int, D>,
    ) -> Value<Int, D> {
        let a = self.int(a);
        self.binary("Sub", [&a.name, &b.name])
    }

    pub(in crate::model::onnx) fn mul_int<const D: usize>(
        &mut self,
        a: &Value<Int, D>,
        b: i64,
    ) -> Value<Int, D> {
        let b = self.int(b);
        self.binary("Mul", [&a.name, &b.name])
    }

    /// Adds a vector, `[width]`, to each row of `[…, width]`.
    pub(in crate::model::onnx) fn shift<T: Real, const D: usize>(
        &mut self,
        rows: &Value<T, D>,
        by: &Value<T, 1>,
    ) -> Value<T, D> {
        self.binary("Add", [&rows.name, &by.name])
    }

    pub(in crate::model::onnx) fn equals<const D: usize>(
        &mut self,
        a: &Value<Int, D>,
        b: i64,
    ) -> Value<Bool, D> {
        let b = self.int(b);
        self.binary("Equal", [&a.name, &b.name])
    }

    pub(in crate::model::onnx) fn exceeds<const D: usize>(
        &mut self,
        a: &Value<Int, D>,
        b: i64,
    ) -> Value<Bool, D> {
        let b = self.int(b);
        self.binary("Greater", [&a.name, &b.name])
    }

    pub(in crate::model::onnx) fn not<const D: usize>(
        &mut self,
        input: &Value<Bool, D>,
    ) -> Value<Bool, D> {
        self.unary("Not", input)
    }

    pub(in crate::model::onnx) fn abs<const D: usize>(
        &mut self,
        input: &Value<Int, D>,
    ) -> Value<Int, D> {
        self.unary("Abs", input)
    }

    pub(in crate::model::onnx) fn erf<T: Real, const D: usize>(
        &mut self,
        input: &Value<T, D>,
    ) -> Value<T, D> {
        self.unary("Erf", input)
    }

    pub(in crate::model::onnx) fn tanh<T: Real, const D: usize>(
        &mut self,
        input: &Value<T, D>,
    ) -> Value<T, D> {
        self.unary("Tanh", input)
    }

    pub(in crate::model::onnx) fn relu<T: Real, const D: usize>(
        &mut self,
        input: &Value<T, D>,
    ) -> Value<T, D> {
        self.unary("Relu", input)
    }

    pub(in crate::model::onnx) fn cos<T: Real, const D: usize>(
        &mut self,
        input: &Value<T, D>,
    ) -> Value<T, D> {
        self.unary("Cos", input)
    }

    pub(in crate::model::onnx) fn sin<T: Real, const D: usize>(
        &mut self,
        input: &Value<T, D>,
    ) -> Value<T, D> {
        self.unary("Sin", input)
    }

    /// The value as another type of element; a node only where the two differ in this precision.
    pub(in crate::model::onnx) fn cast<T: Element, U: Element, const D: usize>(
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
    pub(in crate::model::onnx) fn choose<T: Number, const D: usize>(
        &mut self,
        condition: &Value<Bool, D>,
        then: &Value<T, 0>,
        otherwise: &Value<T, D>,
    ) -> Value<T, D> {
        let inputs = [&*condition.name, &then.name, &otherwise.name];
        self.node("Where", &inputs, Vec::new())
    }

    /// `[…, m, k]` and `[…, k, n]` → `[…, m, n]`; sizes of 1 before these are stretched.
    pub(in crate::model::onnx) fn matmul<const D: usize>(
        &mut self,
        a: &Value<Float, D>,
        b: &Value<Float, D>,
    ) -> Value<Float, D> {
        self.binary("MatMul", [&a.name, &b.name])
    }

    /// `[…, k]` and `[k, n]` → `[…, n]`.
    pub(in crate::model::onnx) fn times_matrix<T: Real, const D: usize>(
        &mut self,
        rows: &Value<T, D>,
        matrix: &Value<T, 2>,
    ) -> Value<T, D> {
        self.binary("MatMul", [&rows.name, &matrix.name])
    }

    /// Over the last dimension.
    pub(in crate::model::onnx) fn softmax<const D: usize>(
        &mut self,
        input: &Value<Float, D>,
    ) -> Value<Float, D> {
        self.node("Softmax", &[&input.name], vec![int("axis", -1)])
    }

    /// Over the last dimension, mean and variance in 32 bits whatever the precision.
    pub(in crate::model::onnx) fn layer_norm<T: Real, const D: usize>(
        &mut self,
        input: &Value<T, D>,
        scale: &Value<T, 1>,
        shift: Option<&Value<T, 1>>,
        epsilon: f64,
    ) -> Value<T, D> {
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
    pub(in crate::model::onnx) fn convolution(
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
    pub(in crate::model::onnx) fn lookup(
        &mut self,
        table: &Value<Float, 2>,
        rows: &Value<Int, 2>,
    ) -> Value<Float, 3> {
        self.node("Gather", &[&table.name, &rows.name], Vec::new())
    }

    /// The entries of a list `[entries]` with these numbers.
    pub(in crate::model::onnx) fn entries<const D: usize>(
        &mut self,
        list: &Value<Int, 1>,
        numbers: &Value<Int, D>,
    ) -> Value<Int, D> {
        self.node("Gather", &[&list.name, &numbers.name], Vec::new())
    }

    /// What lies at these numbers along the last dimension.
    pub(in crate::model::onnx) fn along_last<T: Element, const D: usize>(
        &mut self,
        input: &Value<T, D>,
        numbers: &Value<Int, 1>,
    ) -> Value<T, D> {
        let inputs = [&*input.name, &numbers.name];
        self.node("Gather", &inputs, vec![int("axis", -1)])
    }

    /// What lies from `start` to `end` (not included) along a dimension; negative ends count from the last.
    pub(in crate::model::onnx) fn slice<T: Element, const D: usize>(
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
    pub(in crate::model::onnx) fn part<T: Element, const D: usize>(
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
    pub(in crate::model::onnx) fn first<T: Real>(&mut self, input: &Value<T, 3>) -> Value<T, 2> {
        let zero = self.int(0);
        let inputs = [&*input.name, &zero.name];
        self.node("Gather", &inputs, vec![int("axis", 1)])
    }

    /// The same numbers in another shape: 0 keeps a size, one -1 takes what is left.
    pub(in crate::model::onnx) fn reshape<T: Element, const D: usize, const E: usize>(
        &mut self,
        input: &Value<T, D>,
        shape: [i64; E],
    ) -> Value<T, E> {
        let shape = self.ints(&shape);
        self.node("Reshape", &[&input.name, &shape.name], Vec::new())
    }

    /// The same with a last size that is computed.
    pub(in crate::model::onnx) fn reshape_to<T: Element, const D: usize, const E: usize>(
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

    pub(in crate::model::onnx) fn transpose<T: Element, const D: usize>(
        &mut self,
        input: &Value<T, D>,
        order: [usize; D],
    ) -> Value<T, D> {
        let order = order.map(|axis| axis as i64);
        self.node("Transpose", &[&input.name], vec![ints("perm", &order)])
    }

    /// With a new size of 1 at this place.
    pub(in crate::model::onnx) fn unsqueeze<T: Element, const D: usize, const E: usize>(
        &mut self,
        input: &Value<T, D>,
        axes: &[i64],
    ) -> Value<T, E> {
        debug_assert_eq!(D + axes.len(), E);
        let axes = self.ints(axes);
        self.node("Unsqueeze", &[&input.name, &axes.name], Vec::new())
    }

    /// Without the size of 1 at this place.
    pub(in crate::model::onnx) fn squeeze<T: Element, const D: usize, const E: usize>(
        &mut self,
        input: &Value<T, D>,
        axis: usize,
    ) -> Value<T, E> {
        debug_assert_eq!(D, E + 1);
        let axes = self.ints(&[axis as i64]);
        self.node("Squeeze", &[&input.name, &axes.name], Vec::new())
    }

    pub(in crate::model::onnx) fn concat<T: Element, const D: usize>(
        &mut self,
        parts: &[&Value<T, D>],
        axis: usize,
    ) -> Value<T, D> {
        let inputs: Vec<&str> = parts.iter().map(|part| &*part.name).collect();
        self.node("Concat", &inputs, vec![int("axis", axis as i64)])
    }

    /// The sum along a dimension, whose size becomes 1.
    pub(in crate::model::onnx) fn sum<T: Real, const D: usize>(
        &mut self,
        input: &Value<T, D>,
        axis: usize,
    ) -> Value<T, D> {
        let axes = self.ints(&[axis as i64]);
        self.node("ReduceSum", &[&input.name, &axes.name], Vec::new())
    }

    /// The largest along a dimension, which goes: `[a, b, c]` → `[a, c]`.
    pub(in crate::model::onnx) fn largest<T: Real>(&mut self, input: &Value<T, 3>) -> Value<T, 2> {
        let attributes = vec![ints("axes", &[1]), int("keepdims", 0)];
        self.node("ReduceMax", &[&input.name], attributes)
    }

    /// Each number and all before it along a dimension, summed.
    pub(in crate::model::onnx) fn running_sum<const D: usize>(
        &mut self,
        input: &Value<Int, D>,
        axis: usize,
    ) -> Value<Int, D> {
        let axis = self.int(axis as i64);
        self.binary("CumSum", [&input.name, &axis.name])
    }

    /// The size of a dimension, `[1]`.
    pub(in crate::model::onnx) fn size<T: Element, const D: usize>(
        &mut self,
        input: &Value<T, D>,
        axis: usize,
    ) -> Value<Int, 1> {
        let axis = axis as i64;
        let attributes = vec![int("start", axis), int("end", axis + 1)];
        self.node("Shape", &[&input.name], attributes)
    }

    /// 0, 1, … up to `count` (`[1]`, not included): `[count]`.
    pub(in crate::model::onnx) fn counted(&mut self, count: &Value<Int, 1>) -> Value<Int, 1> {
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
