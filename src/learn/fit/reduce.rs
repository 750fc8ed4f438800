//! From what several devices computed to one sum, and from one device's weights to all.
//!
//! Losses and gradients of the shares of a batch are summands (see `accumulate`). Where the devices have collectives, which are
//! CUDA's (NCCL, through burn's [`all_reduce`]), one such call adds them up without the host. Everywhere else, since burn's CPU
//! backends have none, each device hands its numbers to the host, and the first adds them to its own, in the order of the
//! devices.
//!
//! The first device takes the step, and the others are given its weights. Of two ways to the same weights this one moves
//! `2 (n - 1)` times what learns through the host, where a step on each device would move `2 n` times as much, keeps one memory
//! of the optimizer, and cannot let devices that round differently drift apart.
//!
//! Promise: for equal devices the sum is the same to the bit in every run; with collectives, as far as NCCL says so.
//!
//! Deliberately absent: threads, which are `replicas`'.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Param;
use burn::tensor::distributed::{ReduceOperation, all_reduce};
use burn::tensor::{Device, Tensor};

use crate::learn::gradients::read;
use crate::learn::{Gradients, LearnError};
use crate::model::{self, Classifier, MapParameters, VisitParameters};

/// Elements that go to the host at once; a tensor that has more goes alone.
const MESSAGE: usize = 1 << 24;

/// What a device computed of a batch: its share of the loss, `[1]`, and the gradients of that.
pub(super) type Summand = (Tensor<1>, Gradients);

/// A summand on the host.
pub(super) struct Settled {
    loss: f32,
    gradients: Vec<(String, Vec<f32>)>,
}

impl Settled {
    /// # Errors
    /// The device fails.
    pub(super) fn of((loss, gradients): Summand) -> Result<Settled, LearnError> {
        let mut parts = vec![(String::new(), loss)];
        parts.extend(gradients.into_parts());
        let mut parts = to_host(parts)?;
        let (_, loss) = parts.remove(0);
        Ok(Settled {
            loss: loss.first().copied().unwrap_or_default(),
            gradients: parts,
        })
    }

    /// Adds it to `sum`, which is on `device`.
    pub(super) fn add_to(self, sum: &mut Option<Summand>, device: &Device) {
        let put = |values: &[f32]| Tensor::<1>::from_data(values, device);
        let mut gradients = Gradients::default();
        for (name, values) in self.gradients {
            gradients.insert(&name, put(&values));
        }
        add(sum, (put(&[self.loss]), gradients));
    }
}

/// Adds a summand of the same device.
pub(super) fn add(sum: &mut Option<Summand>, (loss, gradients): Summand) {
    *sum = Some(match sum.take() {
        None => (loss, gradients),
        Some((losses, mut all)) => {
            all.add(gradients);
            (losses + loss, all)
        }
    });
}

/// Brings tensors to the host, small ones together.
fn to_host(tensors: Vec<(String, Tensor<1>)>) -> Result<Vec<(String, Vec<f32>)>, LearnError> {
    let mut found = Vec::with_capacity(tensors.len());
    let mut rest = tensors.into_iter().peekable();
    while rest.peek().is_some() {
        let (mut names, mut group, mut elements) = (Vec::new(), Vec::new(), 0);
        while let Some((_, next)) = rest.peek()
            && (group.is_empty() || elements + next.dims()[0] <= MESSAGE)
        {
            let Some((name, tensor)) = rest.next() else {
                break;
            };
            elements += tensor.dims()[0];
            names.push((name, tensor.dims()[0]));
            group.push(tensor);
        }
        let values = read(Tensor::cat(group, 0), "training")?; // [elements]
        let mut values = values.as_slice();
        for (name, length) in names {
            let (own, later) = values.split_at(length);
            found.push((name, own.to_vec()));
            values = later;
        }
    }
    Ok(found)
}

/// The weights of a model on their way to other devices, by the parameter's Hugging Face name: `[elements]` each, on the host or
/// where other devices copy them from.
pub(super) type Weights = Arc<BTreeMap<String, Tensor<1>>>;

/// The weights of `model`, with autodiff; of a model that was sent before only what learns. `straight` says whether devices
/// copy from each other.
///
/// # Errors
/// The device fails.
pub(super) fn weights(
    model: &Classifier,
    all: bool,
    straight: bool,
) -> Result<Weights, LearnError> {
    struct Collect {
        all: bool,
        found: Vec<(String, Tensor<1>)>,
    }
    impl VisitParameters for Collect {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
            let weight = parameter.val();
            if self.all || weight.is_require_grad() {
                let elements = weight.shape().num_elements();
                let flat = weight.inner().reshape([elements]); // [elements]
                self.found.push((name.to_owned(), flat));
            }
        }
    }
    let mut collect = Collect {
        all,
        found: Vec::new(),
    };
    model::visit_parameters(model, &mut collect);
    if straight {
        return Ok(Arc::new(collect.found.into_iter().collect()));
    }
    let host = Device::flex();
    let here = to_host(collect.found)?.into_iter();
    let here = here.map(|(name, values)| (name, Tensor::from_data(values.as_slice(), &host)));
    Ok(Arc::new(here.collect()))
}

/// `model`, without autodiff, with these weights, on `device`.
pub(super) fn put(model: Classifier, weights: &Weights, device: &Device) -> Classifier {
    struct Put<'a>(&'a Weights, &'a Device);
    impl MapParameters for Put<'_> {
        fn map<const D: usize>(
            &mut self,
            name: &str,
            parameter: Param<Tensor<D>>,
        ) -> Param<Tensor<D>> {
            let Some(flat) = self.0.get(name) else {
                return parameter;
            };
            let flat = flat.clone().to_device(self.1);
            parameter.map(|old| flat.reshape(old.shape())) // as it was
        }
    }
    model::map_parameters(model, &mut Put(weights, device))
}

/// Adds the summands of all devices up by collectives; every device calls this with its own, and each has the sum. `model` is
/// its replica, with autodiff: it says what learns, so that the devices agree where a summand has no gradient of something.
pub(super) fn collective(
    summand: Option<Summand>,
    model: &Classifier,
    device: &Device,
    devices: &[Device],
) -> Summand {
    struct Sizes(Vec<(String, usize)>);
    impl VisitParameters for Sizes {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
            let weight = parameter.val();
            if weight.is_require_grad() {
                let elements = weight.shape().num_elements();
                self.0.push((name.to_owned(), elements));
            }
        }
    }
    let mut sizes = Sizes(Vec::new());
    model::visit_parameters(model, &mut sizes);
    let zeros = |elements: usize| Tensor::<1>::zeros([elements], device);
    let (loss, mut gradients) = summand.unwrap_or_else(|| (zeros(1), Gradients::default()));
    let mut flat = vec![loss];
    flat.extend(sizes.0.iter().map(|(name, elements)| {
        let own = gradients.remove(name);
        own.unwrap_or_else(|| zeros(*elements))
    }));
    let flat = Tensor::cat(flat, 0); // [1 + elements]
    let sum = all_reduce(flat, ReduceOperation::Sum, devices.to_vec()).resolve();
    let mut gradients = Gradients::default();
    let mut first = 1;
    for (name, elements) in sizes.0 {
        gradients.insert(&name, sum.clone().narrow(0, first, elements)); // [elements]
        first += elements;
    }
    (sum.narrow(0, 0, 1), gradients)
}
