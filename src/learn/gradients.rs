//! Gradients by the parameter's Hugging Face name, their norm, and its clipping.
//!
//! Promise: only what says so waits for the device. The norm stays a tensor until somebody reads it.
//!
//! Deliberately absent: means over several batches. Losses that are shares of one whole have gradients that simply
//! [add up](Gradients::add).

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::{Gradients as Tape, Tensor};

use super::LearnError;
use crate::kernels;
use crate::model::{self, Classifier, VisitParameters};

/// The derivative of a loss by each parameter that it depends on, free of autodiff: row-major, in the shape's order of the
/// parameter, `[elements]`.
#[derive(Debug)]
pub struct Gradients {
    by_name: BTreeMap<String, Tensor<1>>,
    /// By what they are too large.
    scale: f64,
}

impl Default for Gradients {
    fn default() -> Self {
        Gradients {
            by_name: BTreeMap::new(),
            scale: 1.0,
        }
    }
}

impl Gradients {
    /// Goes back from `loss` (`[1]`) through everything that led to it. `model` is the one that computed the loss, with
    /// autodiff; a parameter that the loss does not depend on has no gradient.
    pub fn of(loss: &Tensor<1>, model: &Classifier) -> Self {
        Gradients::with_tape(loss, model).0
    }

    /// The same with the derivative by `input`, `[tokens, hidden]`, free of autodiff; `None` when the loss does not depend on
    /// it.
    pub(super) fn with_input(
        loss: &Tensor<1>,
        model: &Classifier,
        input: &Tensor<2>,
    ) -> (Self, Option<Tensor<2>>) {
        let (gradients, tape) = Gradients::with_tape(loss, model);
        (gradients, input.grad(&tape))
    }

    fn with_tape(loss: &Tensor<1>, model: &Classifier) -> (Self, Tape) {
        struct Collect {
            tape: Tape,
            found: Gradients,
        }
        impl VisitParameters for Collect {
            fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
                if let Some(gradient) = parameter.val().grad_remove(&mut self.tape) {
                    self.found.insert(name, gradient);
                }
            }
        }
        let mut collect = Collect {
            tape: loss.backward(),
            found: Gradients::default(),
        };
        model::visit_parameters(model, &mut collect);
        (collect.found, collect.tape)
    }

    /// The same, of a loss that had been multiplied by `scale`, so that small gradients do not vanish in 16 bits. They stay as
    /// large as they are; their [norms and share](Self::clip) become those of the loss itself.
    pub fn of_scaled_loss(self, scale: f64) -> Self {
        Gradients { scale, ..self }
    }

    pub(super) fn insert<const D: usize>(&mut self, name: &str, gradient: Tensor<D>) {
        let elements = gradient.shape().num_elements();
        let flat = gradient.reshape([elements]); // [elements]
        self.by_name.insert(name.to_owned(), flat);
    }

    /// Adds the gradients of another loss by the same parameters.
    pub fn add(&mut self, others: Gradients) {
        for (name, gradient) in others.by_name {
            let sum = match self.by_name.remove(&name) {
                Some(own) => own + gradient,
                None => gradient,
            };
            self.by_name.insert(name, sum);
        }
    }

    /// The sum of each parameter's squares, `[1]` each.
    fn squares(&self) -> Vec<Tensor<1>> {
        self.by_name
            .values()
            .map(|gradient| kernels::sum_of_squares(gradient.clone()))
            .collect()
    }

    /// All of them with their names, `[elements]` each, as large as they are.
    pub(super) fn into_parts(self) -> impl Iterator<Item = (String, Tensor<1>)> {
        self.by_name.into_iter()
    }

    /// Takes out the gradient of one parameter, as `[elements]`.
    pub(super) fn remove(&mut self, name: &str) -> Option<Tensor<1>> {
        self.by_name.remove(name)
    }

    /// The L2 norm of all of them together, `[1]`; `None` when there are none.
    fn norm(&self) -> Option<Tensor<1>> {
        let squares = self.squares();
        (!squares.is_empty()).then(|| self.unscaled(Tensor::cat(squares, 0).sum().sqrt())) // [parameters] → [1]
    }

    fn unscaled(&self, norms: Tensor<1>) -> Tensor<1> {
        match self.scale {
            1.0 => norms,
            scale => norms / scale,
        }
    }

    /// Each parameter's L2 norm, by Hugging Face name.
    ///
    /// # Errors
    /// [`LearnError::Device`] when the device fails.
    pub fn norms(&self) -> Result<BTreeMap<String, f32>, LearnError> {
        let squares = self.squares();
        if squares.is_empty() {
            return Ok(BTreeMap::new());
        }
        let norms = read(
            self.unscaled(Tensor::cat(squares, 0).sqrt()),
            "computing gradients",
        )?;
        Ok(self.by_name.keys().cloned().zip(norms).collect())
    }

    /// The L2 norm of all gradients together, and the share of them that makes it at most `max_norm` (0: no limit); `None`
    /// when there are no gradients. Of scaled gradients the share also takes back the scale.
    ///
    /// Source: `torch.nn.utils.clip_grad_norm_`, whose divisor is the norm plus 1e-6. Nothing is scaled here: the optimizer
    /// does it in passing.
    pub fn clip(&self, max_norm: f64) -> Option<Clip> {
        let norm = self.norm()?;
        let clipped = (max_norm > 0.0).then(|| {
            (norm.clone() + 1e-6)
                .recip()
                .mul_scalar(max_norm)
                .clamp_max(1.0)
        });
        let share = match (self.scale, clipped) {
            (1.0, clipped) => clipped,
            (scale, Some(clipped)) => Some(clipped / scale),
            (scale, None) => Some(norm.zeros_like() + 1.0 / scale),
        };
        Some(Clip { norm, share })
    }
}

/// How long all gradients together are, and what is to be done about it. Both tensors are `[1]`.
#[derive(Debug, Clone)]
pub struct Clip {
    pub norm: Tensor<1>,
    /// By what every gradient is to be multiplied; at most 1. `None` for nothing: without a limit and a scale.
    pub share: Option<Tensor<1>>,
}

impl Clip {
    /// Whether every gradient is finite; waits for the device.
    pub(super) fn is_finite(&self) -> Result<bool, LearnError> {
        let norm = read(self.norm.clone(), "training")?;
        Ok(norm.iter().all(|norm| norm.is_finite()))
    }
}

/// Brings a tensor's numbers to the host.
pub(super) fn read<const D: usize>(
    tensor: Tensor<D>,
    doing: &'static str,
) -> Result<Vec<f32>, LearnError> {
    let device = tensor.device();
    tensor
        .try_into_vec_as::<f32>()
        .map_err(|cause| LearnError::failed(&device, doing, cause.to_string()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn clipped(weight: [[f32; 3]; 2], bias: [f32; 3], max_norm: f64) -> (f32, Vec<f32>, Vec<f32>) {
        let device = Device::flex();
        let mut gradients = Gradients::default();
        gradients.insert("weight", Tensor::<2>::from_data(weight, &device));
        gradients.insert("bias", Tensor::<1>::from_data(bias, &device));
        let Clip { norm, share } = gradients.clip(max_norm).unwrap();
        let share = share.unwrap_or(Tensor::ones([1], &device));
        let mut take = |name| {
            let gradient = gradients.remove(name).unwrap() * share.clone();
            gradient.try_into_vec_as().unwrap()
        };
        (norm.into_scalar(), take("weight"), take("bias"))
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() <= 2e-7 * expected.abs().max(0.1),
                "{found} is not {expected}"
            );
        }
    }

    // The numbers are those of `torch.nn.utils.clip_grad_norm_` in PyTorch 2.15.

    #[test]
    fn a_norm_above_the_limit_is_scaled_down_as_in_torch() {
        let (norm, weight, bias) =
            clipped([[0.1, -0.2, 0.3], [0.0, 1.0, -4.0]], [0.5, 0.25, -0.5], 1.0);
        assert_close(&[norm], &[4.207_433_7]);
        let expected = [
            0.023_767_453,
            -0.047_534_905,
            0.071_302_36,
            0.0,
            0.237_674_52,
            -0.950_698_1,
        ];
        assert_close(&weight, &expected);
        assert_close(&bias, &[0.118_837_26, 0.059_418_63, -0.118_837_26]);
    }

    #[test]
    fn a_norm_below_the_limit_changes_nothing() {
        let (norm, weight, bias) = clipped([[0.1, -0.2, 0.3], [0.0; 3]], [0.5, 0.25, -0.5], 1.0);
        assert_close(&[norm], &[0.838_152_77]);
        assert_eq!(weight, [0.1, -0.2, 0.3, 0.0, 0.0, 0.0]);
        assert_eq!(bias, [0.5, 0.25, -0.5]);
    }

    #[test]
    fn a_limit_of_zero_turns_clipping_off() {
        let (norm, weight, _) = clipped([[3.0, 0.0, 0.0], [4.0, 0.0, 0.0]], [0.0; 3], 0.0);
        assert_eq!(norm, 5.0);
        assert_eq!(weight, [3.0, 0.0, 0.0, 4.0, 0.0, 0.0]);
    }

    #[test]
    fn gradients_add_up_by_name() {
        let device = Device::flex();
        let of = |pairs: &[(&str, f32)]| {
            let mut gradients = Gradients::default();
            for &(name, value) in pairs {
                gradients.insert(name, Tensor::<1>::from_data([value, 0.0], &device));
            }
            gradients
        };
        let mut sum = of(&[("a", 1.0), ("b", 2.0)]);
        sum.add(of(&[("b", 3.0), ("c", -4.0)]));
        let norms = sum.norms().unwrap();
        let wanted = [("a", 1.0), ("b", 5.0), ("c", 4.0)];
        assert_eq!(
            norms,
            wanted.map(|(name, norm)| (name.to_owned(), norm)).into()
        );
    }

    #[test]
    fn each_parameter_has_its_norm() {
        let device = Device::flex();
        let mut gradients = Gradients::default();
        gradients.insert(
            "a",
            Tensor::<2>::from_data([[3.0, 0.0], [0.0, 4.0]], &device),
        );
        gradients.insert("b", Tensor::<1>::from_data([-2.0, 0.0], &device));
        assert_eq!(
            gradients.norms().unwrap(),
            BTreeMap::from([("a".to_owned(), 5.0), ("b".to_owned(), 2.0)])
        );
    }

    /// burn-flex sums 4 Mi elements and more with rayon, in pieces that depend on its threads.
    #[test]
    fn the_norm_of_a_large_gradient_is_the_same_for_every_number_of_threads() {
        let norm = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let rows = 9_000;
                let values: Vec<f32> = (0..rows * 512).map(|i| (i % 8_191) as f32 * 1e-3).collect();
                let flat = Tensor::<1>::from_data(values.as_slice(), &Device::flex());
                let mut gradients = Gradients::default();
                gradients.insert("embeddings", flat.reshape([rows, 512]));
                gradients.norm().unwrap().into_scalar::<f32>()
            })
        };
        let one = norm(1);
        assert!((0..5).all(|_| norm(2) == one && norm(5) == one));
    }
}
