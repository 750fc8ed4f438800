//! The fused forms against the compositions: what the tests share.
//!
//! A [`Case`] is one operation with inputs and a gradient by its output, in both forms. The compositions are the oracle;
//! `exact` checks them in turn against 64-bit arithmetic written out by hand.
//!
//! Two results agree when no element differs by more than 1e-5 times the largest absolute value of the tensor. A gradient
//! that is zero but for rounding, such as that by the query of a text of one token, is held to 1e-5 itself.

mod adamw;
mod exact;
mod layouts;
mod ndarray;
mod precision;
mod shapes;
mod threads;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::*;

const TOLERANCE: f32 = 1e-5;

/// Numbers that follow from the seed alone (Steele et al., 2014, <https://doi.org/10.1145/2660193.2660195>).
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = self.0;
        let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// From -2 to 2.
    fn number(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 22) as f32 - 2.0
    }

    fn numbers(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.number()).collect()
    }

    fn matrix(&mut self, rows: usize, columns: usize) -> Matrix {
        Matrix {
            values: self.numbers(rows * columns),
            shape: [rows, columns],
        }
    }
}

/// Numbers in row-major order.
#[derive(Debug, Clone, PartialEq)]
struct Matrix {
    values: Vec<f32>,
    shape: [usize; 2],
}

impl Matrix {
    fn on(&self, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(self.values.clone(), self.shape), device)
    }
}

/// One of an operation's two forms. Vectors enter as matrices of one row.
type Form = Box<dyn Fn(&[Tensor<2>]) -> Tensor<2> + Send + Sync>;

struct Case {
    name: String,
    inputs: Vec<Matrix>,
    /// The gradient by the output. Rows where it is 0 throughout are not compared: they are padding.
    flow: Matrix,
    fused: Form,
    composed: Form,
}

/// What a form gives: the output, and the gradient by each input that is recorded.
#[derive(Debug, PartialEq)]
struct Outcome {
    output: Vec<f32>,
    gradients: Vec<Option<Vec<f32>>>,
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

fn vector(row: &Tensor<2>) -> Tensor<1> {
    row.clone().squeeze_dim(0)
}

/// Where an input of a case lies, and whether a gradient is wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    Trained,
    /// On the recording device, without a gradient.
    Frozen,
    /// On the plain device.
    Constant,
}

impl Case {
    fn forward(&self, form: &Form, device: &Device) -> Vec<f32> {
        let inputs: Vec<_> = self.inputs.iter().map(|input| input.on(device)).collect();
        values(form(&inputs))
    }

    fn back(&self, form: &Form, device: &Device) -> Outcome {
        self.back_to(form, device, &vec![Role::Trained; self.inputs.len()])
    }

    fn back_to(&self, form: &Form, device: &Device, roles: &[Role]) -> Outcome {
        let recording = device.clone().autodiff();
        let inputs: Vec<_> = self
            .inputs
            .iter()
            .zip(roles)
            .map(|(input, role)| match role {
                Role::Trained => input.on(&recording).require_grad(),
                Role::Frozen => input.on(&recording),
                Role::Constant => input.on(device),
            })
            .collect();
        let output = form(&inputs);
        let tape = (output.clone() * self.flow.on(&recording)).sum().backward();
        let gradients = inputs
            .iter()
            .zip(roles)
            .map(|(input, role)| match role {
                Role::Constant => None,
                _ => input.grad(&tape).map(values),
            })
            .collect();
        Outcome {
            output: values(output.inner()),
            gradients,
        }
    }

    /// Both forms on flex, forward and backward, agree; with and without autodiff the fused one gives the same bits.
    fn agrees(&self) {
        self.agrees_to(TOLERANCE);
    }

    fn agrees_to(&self, tolerance: f32) {
        let flex = Device::flex();
        let found = self.back(&self.fused, &flex);
        assert_eq!(
            found.output,
            self.forward(&self.fused, &flex),
            "{}: plain and recorded",
            self.name
        );
        self.compare_to(&found, &self.back(&self.composed, &flex), tolerance);
    }

    fn compare(&self, found: &Outcome, wanted: &Outcome) {
        self.compare_to(found, wanted, TOLERANCE);
    }

    fn compare_to(&self, found: &Outcome, wanted: &Outcome, tolerance: f32) {
        let compared = |output: &[f32]| -> Vec<f32> {
            let columns = self.flow.shape[1];
            output
                .chunks(columns)
                .zip(self.flow.values.chunks(columns))
                .filter(|(_, flow)| flow.iter().any(|x| *x != 0.0))
                .flat_map(|(row, _)| row.iter().copied())
                .collect()
        };
        let name = &self.name;
        close_to(
            &format!("{name}: output"),
            &compared(&found.output),
            &compared(&wanted.output),
            tolerance,
        );
        let gradients = found.gradients.iter().zip(&wanted.gradients);
        for (input, (found, wanted)) in gradients.enumerate() {
            let what = format!("{name}: gradient by input {input}");
            match (found, wanted) {
                (Some(found), Some(wanted)) => close_to(&what, found, wanted, tolerance),
                (found, wanted) => assert_eq!(found, wanted, "{what}"),
            }
        }
    }

    /// The same operation, with every input first taken through `change`, and its output through `after`.
    fn through(
        self,
        inputs: Vec<Matrix>,
        flow: Matrix,
        change: impl Fn(usize, Tensor<2>) -> Tensor<2> + Clone + Send + Sync + 'static,
        after: impl Fn(Tensor<2>) -> Tensor<2> + Clone + Send + Sync + 'static,
    ) -> Case {
        let [fused, composed] = [self.fused, self.composed].map(|form| {
            let (change, after) = (change.clone(), after.clone());
            let form: Form = Box::new(move |inputs| {
                let inputs: Vec<_> = inputs
                    .iter()
                    .enumerate()
                    .map(|(index, input)| change(index, input.clone()))
                    .collect();
                after(form(&inputs))
            });
            form
        });
        Case {
            name: self.name,
            inputs,
            flow,
            fused,
            composed,
        }
    }
}

fn close(what: &str, found: &[f32], wanted: &[f32]) {
    close_to(what, found, wanted, TOLERANCE);
}

fn close_to(what: &str, found: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(found.len(), wanted.len(), "{what}: size");
    let largest = wanted
        .iter()
        .fold(0.0f32, |largest, x| largest.max(x.abs()));
    let scale = if largest < 1e-4 { 1.0 } else { largest };
    for (at, (x, y)) in found.iter().zip(wanted).enumerate() {
        assert!(
            (x - y).abs() <= tolerance * scale,
            "{what}, element {at}: {x}, not {y}; the largest is {largest}"
        );
    }
}

fn linear_case(random: &mut Random, rows: usize, inputs: usize, outputs: usize) -> Case {
    linear_case_in(Precision::Fp32, random, [rows, inputs, outputs])
}

fn linear_case_in(
    precision: Precision,
    random: &mut Random,
    [rows, inputs, outputs]: [usize; 3],
) -> Case {
    Case {
        name: format!("linear {rows} × {inputs} → {outputs} in {precision}"),
        inputs: vec![
            random.matrix(rows, inputs),
            random.matrix(inputs, outputs),
            random.matrix(1, outputs),
        ],
        flow: random.matrix(rows, outputs),
        fused: Box::new(move |x| linear(x[0].clone(), x[1].clone(), vector(&x[2]), precision)),
        composed: Box::new(move |x| {
            super::linear::composed(x[0].clone(), x[1].clone(), vector(&x[2]), precision)
        }),
    }
}

fn gelu_case(random: &mut Random, rows: usize, columns: usize) -> Case {
    let mut input = random.matrix(rows, columns);
    input.values.iter_mut().for_each(|x| *x *= 3.0);
    Case {
        name: format!("gelu {rows} × {columns}"),
        inputs: vec![input],
        flow: random.matrix(rows, columns),
        fused: Box::new(|x| gelu(x[0].clone())),
        composed: Box::new(|x| super::gelu::composed(x[0].clone())),
    }
}

fn dropout_case(random: &mut Random, rows: usize, columns: usize, drop: Dropout) -> Case {
    Case {
        name: format!("dropout {rows} × {columns}, {drop:?}"),
        inputs: vec![random.matrix(rows, columns)],
        flow: random.matrix(rows, columns),
        fused: Box::new(move |x| dropout(x[0].clone(), drop)),
        composed: Box::new(move |x| super::dropout::composed(x[0].clone(), drop)),
    }
}

fn norm_of(gamma: &Tensor<2>, beta: &Tensor<2>) -> Norm {
    Norm {
        gamma: vector(gamma),
        beta: vector(beta),
        epsilon: 1e-12,
    }
}

fn layer_norm_case(random: &mut Random, rows: usize, columns: usize, drop: Dropout) -> Case {
    Case {
        name: format!("dropout_add_layer_norm {rows} × {columns}, {drop:?}"),
        inputs: vec![
            random.matrix(rows, columns),
            random.matrix(rows, columns),
            random.matrix(1, columns),
            random.matrix(1, columns),
        ],
        flow: random.matrix(rows, columns),
        fused: Box::new(move |x| {
            dropout_add_layer_norm(x[0].clone(), x[1].clone(), norm_of(&x[2], &x[3]), drop)
        }),
        composed: Box::new(move |x| {
            super::layer_norm::composed(x[0].clone(), x[1].clone(), norm_of(&x[2], &x[3]), drop)
        }),
    }
}

fn embedding_case(random: &mut Random, rows: usize, columns: usize, drop: Dropout) -> Case {
    let sizes = [random.one_of(&[1, 7, 100]), rows, 2];
    let entries: [Vec<i32>; 3] =
        sizes.map(|size| (0..rows).map(|_| random.below(size) as i32).collect());
    let form = |compose: bool| -> Form {
        let entries = entries.clone();
        Box::new(move |x| {
            let lookup = |which: usize| {
                let table: &Tensor<2> = &x[which];
                let device = table.device().without_autodiff();
                Lookup {
                    table: table.clone(),
                    entries: Tensor::<1, Int>::from_data(entries[which].as_slice(), &device),
                }
            };
            let norm = norm_of(&x[3], &x[4]);
            let operation = if compose {
                super::embedding::composed
            } else {
                embedding_layer_norm_dropout
            };
            operation(lookup(0), lookup(1), lookup(2), norm, drop)
        })
    };
    let (fused, composed) = (form(false), form(true));
    Case {
        name: format!("embedding_layer_norm_dropout {rows} × {columns} of {sizes:?}, {drop:?}"),
        inputs: vec![
            random.matrix(sizes[0], columns),
            random.matrix(sizes[1], columns),
            random.matrix(sizes[2], columns),
            random.matrix(1, columns),
            random.matrix(1, columns),
        ],
        flow: random.matrix(rows, columns),
        fused,
        composed,
    }
}

fn attention_case(
    random: &mut Random,
    spans: &Spans,
    heads: usize,
    size: usize,
    drop: Dropout,
) -> Case {
    let (rows, width) = (spans.rows(), heads * size);
    let mut flow = random.matrix(rows, width);
    for (row, flow) in flow.values.chunks_mut(width).enumerate() {
        if !spans.texts().iter().any(|text| text.contains(&row)) {
            flow.fill(0.0);
        }
    }
    let lengths: Vec<usize> = spans.texts().iter().map(ExactSizeIterator::len).collect();
    let (fused_spans, composed_spans) = (spans.clone(), spans.clone());
    Case {
        name: format!("attention {lengths:?} in {rows} rows, {heads} × {size}, {drop:?}"),
        inputs: (0..3).map(|_| random.matrix(rows, width)).collect(),
        flow,
        fused: Box::new(move |x| {
            let inputs = [0, 1, 2].map(|which| x[which].clone());
            attention(inputs, &fused_spans, heads, drop, Precision::Fp32)
        }),
        composed: Box::new(move |x| {
            let inputs = [0, 1, 2].map(|which| x[which].clone());
            let (spans, precision) = (&composed_spans, Precision::Fp32);
            super::attention::composed(inputs, &Distance::Ignored, spans, heads, drop, precision)
        }),
    }
}

fn layer_norm_alone_case(random: &mut Random, rows: usize, columns: usize) -> Case {
    Case {
        name: format!("layer_norm {rows} × {columns}"),
        inputs: vec![
            random.matrix(rows, columns),
            random.matrix(1, columns),
            random.matrix(1, columns),
        ],
        flow: random.matrix(rows, columns),
        fused: Box::new(|x| layer_norm(x[0].clone(), norm_of(&x[1], &x[2]))),
        composed: Box::new(|x| super::layer_norm::normalized(x[0].clone(), norm_of(&x[1], &x[2]))),
    }
}

/// Heads of twice `half` numbers.
fn rotary_case(random: &mut Random, spans: &Spans, heads: usize, half: usize) -> Case {
    let (rows, width) = (spans.rows(), heads * 2 * half);
    let rotary = Rotary::new(spans, 2 * half, 100.0);
    let other = rotary.clone();
    Case {
        name: format!("rotated {rows} rows, {heads} × {}", 2 * half),
        inputs: vec![random.matrix(rows, width)],
        flow: random.matrix(rows, width),
        fused: Box::new(move |x| rotated(x[0].clone(), &rotary)),
        composed: Box::new(move |x| super::rotary::composed(x[0].clone(), &other)),
    }
}

/// What the scores of a case depend on; the tensors are further inputs.
#[derive(Debug, Clone, Copy)]
enum By {
    Window(usize),
    Bias,
    Keys,
    Queries,
    KeysAndQueries,
}

impl By {
    /// The shapes of its tensors.
    fn shapes(self, spans: &Spans, heads: usize, size: usize) -> Vec<[usize; 2]> {
        let distances = Distance::count(spans.length());
        match self {
            By::Window(_) => vec![],
            By::Bias => vec![[heads, distances]],
            By::Keys | By::Queries => vec![[distances, heads * size]],
            By::KeysAndQueries => vec![[distances, heads * size]; 2],
        }
    }

    fn distance(self, tensors: &[Tensor<2>]) -> Distance {
        let vectors = |keys: Option<usize>, queries: Option<usize>| {
            let [keys, queries] = [keys, queries].map(|which| which.map(|at| tensors[at].clone()));
            Distance::Disentangled(Vectors { keys, queries })
        };
        match self {
            By::Window(window) => Distance::Window(window),
            By::Bias => Distance::Bias(tensors[0].clone()),
            By::Keys => vectors(Some(0), None),
            By::Queries => vectors(None, Some(0)),
            By::KeysAndQueries => vectors(Some(0), Some(1)),
        }
    }
}

fn distance_case(
    random: &mut Random,
    spans: &Spans,
    heads: usize,
    size: usize,
    by: By,
    drop: Dropout,
) -> Case {
    distance_case_in(Precision::Fp32, random, spans, [heads, size], by, drop)
}

fn distance_case_in(
    precision: Precision,
    random: &mut Random,
    spans: &Spans,
    [heads, size]: [usize; 2],
    by: By,
    drop: Dropout,
) -> Case {
    let case = attention_case(random, spans, heads, size, drop);
    let further = by.shapes(spans, heads, size);
    let further = further
        .into_iter()
        .map(|[rows, columns]| random.matrix(rows, columns));
    let inputs = case.inputs.into_iter().chain(further).collect();
    let form = |compose: bool| -> Form {
        let spans = spans.clone();
        Box::new(move |x| {
            let inputs = [0, 1, 2].map(|which| x[which].clone());
            let distance = by.distance(&x[3..]);
            let attend = if compose {
                super::attention::composed
            } else {
                attention_by_distance
            };
            attend(inputs, &distance, &spans, heads, drop, precision)
        })
    };
    Case {
        name: format!("{} by {by:?} in {precision}", case.name),
        inputs,
        flow: case.flow,
        fused: form(false),
        composed: form(true),
    }
}

/// Each operation once, in a shape of no special size.
fn one_of_each(random: &mut Random, drop: Dropout) -> Vec<Case> {
    let spans = Spans::packed([3, 1, 17, 8]);
    vec![
        linear_case(random, 29, 33, 16),
        gelu_case(random, 29, 33),
        dropout_case(random, 29, 33, drop),
        layer_norm_case(random, 29, 33, drop),
        embedding_case(random, 29, 33, drop),
        attention_case(random, &spans, 3, 11, drop),
        layer_norm_alone_case(random, 29, 33),
        rotary_case(random, &spans, 3, 5),
        distance_case(random, &spans, 3, 11, By::Window(4), drop),
        distance_case(random, &spans, 3, 11, By::Bias, drop),
    ]
}
