//! Gradients: of a loss by every parameter, and of all hidden states times [`flow`] by every parameter of the encoder.

use burn::module::{Module, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Gradients, TensorData};

use super::*;
use crate::model::names::transposed;
use crate::model::{VisitParameters, visit_parameters};

/// Of a gradient's norm; where there is none but rounding (a key's bias), the absolute bound holds.
const GRADIENT: f64 = 1e-3;
const NO_GRADIENT: f64 = 1e-6;
/// The same where every hidden state has a part in the sum.
const NO_GRADIENT_OF_ALL: f64 = 2e-5;

/// What was found of a model's gradients: name → values in a checkpoint's layout.
struct Found<'a> {
    gradients: &'a Gradients,
    shapes: BTreeMap<String, Vec<usize>>,
    values: BTreeMap<String, Vec<f64>>,
}

impl VisitParameters for Found<'_> {
    fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
        let Some(gradient) = parameter.val().grad(self.gradients) else {
            return;
        };
        let here: Vec<usize> = gradient.dims().to_vec();
        let values = numbers_of(gradient);
        let turned = transposed(name);
        assert_eq!(
            self.shapes[name].iter().product::<usize>(),
            values.len(),
            "{name}"
        );
        let values = match here[..] {
            [rows, columns] if turned => (0..columns)
                .flat_map(|column| (0..rows).map(move |row| row * columns + column))
                .map(|at| values[at])
                .collect(),
            _ => values,
        };
        self.values.insert(name.to_owned(), values);
    }
}

/// The gradients of all parameters that have some.
fn gradients(model: &Classifier, of: Tensor<1>) -> BTreeMap<String, Vec<f64>> {
    let parameters = named_parameters(model).into_iter();
    let mut found = Found {
        gradients: &of.backward(),
        shapes: parameters.map(|p| (p.name, p.shape)).collect(),
        values: BTreeMap::new(),
    };
    visit_parameters(model, &mut found);
    found.values
}

#[track_caller]
fn assert_gradients(
    found: &BTreeMap<String, Vec<f64>>,
    wanted: &BTreeMap<String, Gradient>,
    rounding: f64,
    what: &str,
) {
    assert!(found.keys().eq(wanted.keys()), "{what}");
    for (tensor, wanted) in wanted {
        let values = &found[tensor];
        let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let bound = GRADIENT * wanted.norm + rounding;
        assert!(
            (norm - wanted.norm).abs() < bound,
            "{what}: {tensor} has norm {norm}, wanted {}",
            wanted.norm
        );
        for (&at, &value) in wanted.at.iter().zip(&wanted.values) {
            let bound = GRADIENT * value.abs() + rounding * wanted.norm.max(1.0);
            assert!(
                (values[at] - value).abs() < bound,
                "{what}: {tensor}[{at}] is {}, wanted {value}",
                values[at]
            );
        }
    }
}

#[test]
fn loss_and_gradients_are_those_of_transformers() {
    for name in MODELS {
        let numbers = reference(name);
        everywhere(|backend, device, padded| {
            let model = whole(name, device).train();
            let batch = batch(&numbers, padded, device);
            for mode in MODES {
                let what = format!("{name}, {backend}, padded: {padded}, {mode:?}");
                let logits = model.forward(&batch, &mode); // [texts, labels]
                let labels = Tensor::<1, Int>::from_data(numbers.labels.as_slice(), device);
                let labels = labels.unsqueeze_dim::<2>(1); // [texts, 1]
                let loss = log_softmax(logits, 1).gather(1, labels).mean().neg();
                let found = numbers_of(loss.clone())[0];
                assert!((found - numbers.loss).abs() < HIDDEN, "{what}: {found}");
                let found = gradients(&model, loss);
                assert_gradients(&found, &numbers.gradients, NO_GRADIENT, &what);
            }
        });
    }
}

/// What each hidden state is multiplied with before all are summed, `[tokens, hidden]`; 0 at padding. It counts in texts
/// padded to the longest, as the reference's are.
fn flow(spans: &Spans, width: usize, device: &Device) -> Tensor<2> {
    let longest = spans.texts().iter().map(ExactSizeIterator::len).max();
    let longest = longest.unwrap_or(0);
    let mut values = vec![0_f32; spans.rows() * width];
    for (text, rows) in spans.texts().iter().enumerate() {
        for (place, row) in rows.clone().enumerate() {
            for column in 0..width {
                let at = (text * longest + place) * width + column;
                values[row * width + column] = (at * 7919 % 1009) as f32 / 1009.0 - 0.5;
            }
        }
    }
    Tensor::from_data(TensorData::new(values, [spans.rows(), width]), device)
}

#[test]
fn gradients_by_every_hidden_state_are_those_of_transformers() {
    for name in MODELS {
        let numbers = reference(name);
        everywhere(|backend, device, padded| {
            let model = whole(name, device).train();
            let batch = batch(&numbers, padded, device);
            for mode in MODES {
                let hidden = model.hidden(&batch, &mode); // [tokens, hidden]
                let [_, width] = hidden.dims();
                let flow = flow(&batch.spans, width, &hidden.device());
                let found = gradients(&model, (hidden * flow).sum());
                let what = format!("{name}, {backend}, padded: {padded}, {mode:?}");
                assert_gradients(
                    &found,
                    &numbers.encoder_gradients,
                    NO_GRADIENT_OF_ALL,
                    &what,
                );
            }
        });
    }
}
