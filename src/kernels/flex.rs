//! How a fused operation becomes one step of burn's autodiff on the flex backend.
//!
//! An operation is a [`Fused`]: a function of `N` float tensors on slices, and its backward pass. [`apply`] runs it, and
//! records it when gradients are wanted. What needs none is told so, and matrices are then not multiplied.
//!
//! Deliberately absent: any other backend; the compositions serve those.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Tensor, TensorData};

type Recording = Autodiff<Flex>;

/// Float numbers of a tensor in row-major order.
#[derive(Debug, Clone)]
pub(super) struct Numbers(FlexTensor);

impl Numbers {
    fn of(tensor: FlexTensor) -> Numbers {
        Numbers(tensor.to_contiguous())
    }

    pub(super) fn new(values: Vec<f32>, shape: &[usize]) -> Numbers {
        Numbers(FlexTensor::from_data(TensorData::new(
            values,
            shape.to_vec(),
        )))
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        self.0.layout().shape().iter().copied().collect()
    }

    /// `[rows, columns]` of a matrix.
    pub(super) fn dims(&self) -> [usize; 2] {
        let shape = self.0.layout().shape();
        [shape[0], shape[1]]
    }

    /// Copies when somebody else holds the same tensor, or when its memory was not made for numbers.
    pub(super) fn into_vec(self) -> Vec<f32> {
        if !self.0.is_unique() {
            return self.to_vec();
        }
        let data = self.0.into_data();
        data.try_into_vec::<f32>()
            .expect("the tensor holds 32-bit floats")
    }
}

impl std::ops::Deref for Numbers {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0
            .as_slice()
            .expect("the tensor is contiguous and holds 32-bit floats")
    }
}

/// An operation of `N` float tensors.
pub(super) trait Fused<const N: usize>: Debug + Clone + Send + 'static {
    /// What the backward pass needs.
    type Saved: Debug + Clone + Send + 'static;

    fn forward(&self, inputs: [Numbers; N]) -> (Numbers, Self::Saved);

    /// The gradients by the inputs, from that by the output. One that is not `wanted` need not be computed.
    fn backward(
        &self,
        saved: Self::Saved,
        gradient: Numbers,
        wanted: [bool; N],
    ) -> [Option<Numbers>; N];
}

/// A tensor that can take part in a fused operation, of any rank.
pub(super) enum Input {
    Plain(FlexTensor),
    Recorded(<Recording as burn::backend::BackendTypes>::FloatTensorPrimitive),
}

/// Whether tensors like this one take the fused form: 32-bit floats on flex, without gradient checkpointing.
pub(super) fn fits<const D: usize>(tensor: &Tensor<D>) -> bool {
    use burn::tensor::GradientCheckpointingStrategy;
    let device = tensor.device();
    let checkpointing = device
        .gradient_checkpointing_strategy()
        .is_some_and(|strategy| strategy != GradientCheckpointingStrategy::Disabled);
    tensor.dtype() == DType::F32 && !checkpointing && device.without_autodiff() == Device::flex()
}

/// The tensor as an input.
///
/// # Panics
/// When it does not [fit](fits).
pub(super) fn input<const D: usize>(tensor: Tensor<D>) -> Input {
    if tensor.device().is_autodiff() {
        Input::Recorded(
            tensor
                .try_into_primitive::<Recording>()
                .expect("the tensor is on flex with autodiff"),
        )
    } else {
        Input::Plain(
            tensor
                .try_into_primitive::<Flex>()
                .expect("the tensor is on flex"),
        )
    }
}

/// The numbers of a tensor without autodiff.
pub(super) fn numbers<const D: usize>(tensor: Tensor<D>) -> Numbers {
    let tensor = if tensor.device().is_autodiff() {
        tensor.inner()
    } else {
        tensor
    };
    Numbers::of(
        tensor
            .try_into_primitive::<Flex>()
            .expect("the tensor is on flex"),
    )
}

/// A tensor without autodiff.
pub(super) fn tensor<const D: usize>(numbers: Numbers) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(numbers.0)
}

/// Runs `operation`, and records it when an input is recorded.
pub(super) fn apply<const N: usize, const D: usize, F: Fused<N>>(
    operation: F,
    inputs: [Input; N],
) -> Tensor<D> {
    if inputs.iter().all(|input| matches!(input, Input::Plain(_))) {
        let inputs = inputs.map(|input| match input {
            Input::Plain(tensor) => Numbers::of(tensor),
            Input::Recorded(tensor) => Numbers::of(tensor.into_primitive()),
        });
        return tensor(operation.forward(inputs).0);
    }
    let parts = inputs.map(|input| match input {
        Input::Recorded(tensor) => tensor.into_parts(),
        Input::Plain(tensor) => {
            use burn::backend::AutodiffBackend;
            Recording::from_inner(tensor).into_parts()
        }
    });
    let mut guards: [Option<NodeGuard>; N] = [const { None }; N];
    let mut index = 0;
    let numbers = parts.map(|(tensor, guard)| {
        guards[index] = Some(guard);
        index += 1;
        Numbers::of(tensor)
    });
    let guards = guards.map(|guard| guard.expect("every input has one"));
    let (output, saved) = operation.forward(numbers);
    let prepared = Step(operation.clone())
        .prepare::<NoCheckpointing>(guards)
        .compute_bound()
        .stateful();
    let output = match prepared {
        OpsKind::Tracked(step) => step.finish(saved, output.0),
        OpsKind::UnTracked(step) => step.finish(output.0),
    };
    Tensor::from_primitive::<Recording>(output)
}

/// A fused operation as burn's autodiff records it.
#[derive(Debug)]
struct Step<F>(F);

impl<const N: usize, F: Fused<N>> Backward<Flex, N> for Step<F> {
    type State = F::Saved;

    fn backward(self, ops: Ops<F::Saved, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Numbers::of(gradients.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = self.0.backward(ops.state, gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient.0);
            }
        }
    }
}
