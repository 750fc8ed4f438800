//! From what several devices computed to one sum, and from one device's weights to all.
//!
//! Losses and gradients of the shares of a batch are summands (see `accumulate`). Where the devices have collectives, which are
//! CUDA's (NCCL, through burn's [`all_reduce`]), one such call adds them up without the host. Everywhere else, since burn's CPU
//! backends have none and those of remote devices end at one server, each device hands its numbers to the host, and the first
//! adds them to its own, in the order of the devices.
//!
//! The first device takes the step, and the others are given its weights. Of two ways to the same weights this one moves
//! `2 (n - 1)` times what learns through the host, where a step on each device would move `2 n` times as much, keeps one memory
//! of the optimizer, and cannot let devices that round differently drift apart.
//!
//! Promise: for equal devices the sum is the same to the bit in every run; with collectives, as far as NCCL says so.
//!
//! Deliberately absent: threads, which are `replicas`'.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn::module::Param;
use burn::tensor::distributed::{ReduceOperation, all_reduce};
use burn::tensor::{Device, Tensor};

use crate::kernels;
use crate::learn::gradients::read;
use crate::learn::{Gradients, LearnError};
use crate::model::{self, Classifier, MapParameters, VisitParameters};

/// Elements that go to the host at once; a tensor that has more goes alone. A message of a remote device may have 1 GiB.
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

/// Adds up what every device calls it with, `[elements]` each; each has the sum. Every device of the list calls it, each from a
/// thread of its own, and equally often.
pub(super) type AllReduce = Arc<dyn Fn(Tensor<1>, &[Device]) -> Tensor<1> + Send + Sync>;

/// The devices' own.
pub(super) fn of_devices() -> AllReduce {
    Arc::new(|flat, devices| all_reduce(flat, ReduceOperation::Sum, devices.to_vec()).resolve())
}

/// Whether these devices really add up by `all`: they are asked for the sum of as many ones. Without NCCL's library burn's call
/// panics or leaves the numbers as they were, depending on where it fails.
///
/// # Errors
/// What went wrong.
pub(super) fn try_out(all: &AllReduce, devices: &[Device]) -> Result<(), LearnError> {
    let wanted = devices.len() as f32;
    let on = |device: &Device| {
        guarded(device, || {
            let sum = all(Tensor::ones([1], device), devices); // [1]
            let found = read(sum, "adding up with the other devices")?;
            match found == [wanted] {
                true => Ok(()),
                false => Err(LearnError::failed(
                    device,
                    "adding up with the other devices",
                    format!("the sum of {wanted} ones is {found:?}"),
                )),
            }
        })
    };
    std::thread::scope(|scope| {
        let tries: Vec<_> = devices
            .iter()
            .map(|device| scope.spawn(move || on(device)))
            .collect();
        let tries = tries.into_iter().zip(devices);
        let tried: Vec<_> = tries
            .map(|(tried, device)| {
                tried.join().unwrap_or_else(|panic| {
                    let cause = told(panic.as_ref());
                    Err(LearnError::failed(device, "adding up", cause))
                })
            })
            .collect();
        tried.into_iter().collect()
    })
}

/// A summand as one tensor, in the same order on every device.
pub(super) struct Flat {
    /// The loss, and for each parameter that learns its gradient, or zeros where it has none: `[1 + elements]`.
    values: Tensor<1>,
    /// What learns, and how many elements it has.
    learns: Vec<(String, usize)>,
    /// Of which parameters there is a gradient.
    pub(super) used: BTreeSet<String>,
}

impl Flat {
    /// That of `summand`; of an empty share nothing but zeros. `model` is the device's replica, with autodiff: it says what
    /// learns. Waits until all of it is there, so that a device that fails does so before another waits for its numbers.
    ///
    /// # Errors
    /// The device fails.
    pub(super) fn of(
        summand: Option<Summand>,
        model: &Classifier,
        device: &Device,
    ) -> Result<Flat, LearnError> {
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
        let mut parts = vec![loss];
        let mut used = BTreeSet::new();
        for (name, elements) in &sizes.0 {
            parts.push(match gradients.remove(name) {
                Some(own) => {
                    used.insert(name.clone());
                    own
                }
                None => zeros(*elements),
            });
        }
        let values = Tensor::cat(parts, 0); // [1 + elements]
        let norm = kernels::sum_of_squares(values.clone());
        // Not finite is no failure: the loop says what it is.
        read(norm, "training")?;
        Ok(Flat {
            values,
            learns: sizes.0,
            used,
        })
    }

    /// The sum over all devices; every one calls this with its own. Of the parameters in `used` alone, which are those that any
    /// device had a gradient of: one of zeros is not the same as none, since weight decay and memory of an optimizer follow
    /// from it.
    pub(super) fn sum(
        self,
        all: &AllReduce,
        devices: &[Device],
        used: &BTreeSet<String>,
    ) -> Summand {
        let sum = all(self.values, devices);
        let mut gradients = Gradients::default();
        let mut first = 1;
        for (name, elements) in self.learns {
            if used.contains(&name) {
                gradients.insert(&name, sum.clone().narrow(0, first, elements)); // [elements]
            }
            first += elements;
        }
        (sum.narrow(0, 0, 1), gradients)
    }
}

/// Does what computes on `device`; what panics is an error of it.
pub(super) fn guarded<T>(
    device: &Device,
    work: impl FnOnce() -> Result<T, LearnError>,
) -> Result<T, LearnError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(LearnError::failed(device, "training", told(panic.as_ref()))))
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_on_a_device_is_an_error_that_names_it() {
        let panicked = guarded::<()>(&Device::flex(), || panic!("{} kernels are missing", 2));
        let Err(LearnError::Device { device, cause, .. }) = panicked else {
            panic!("{panicked:?}");
        };
        assert_eq!(
            (device.as_str(), cause.as_str()),
            ("flex", "2 kernels are missing")
        );
        assert!(guarded(&Device::flex(), || Ok(1)).is_ok());
    }

    #[test]
    fn collectives_that_are_not_there_or_do_not_add_up_are_an_error_and_no_panic() {
        let devices = [Device::flex(), Device::flex()];
        assert!(try_out(&of_devices(), &devices).is_err());
        let nothing: AllReduce = Arc::new(|flat, _| flat);
        let Err(LearnError::Device { cause, .. }) = try_out(&nothing, &devices) else {
            panic!("it was taken for a sum");
        };
        assert_eq!(cause, "the sum of 2 ones is [1.0]");
    }
}
