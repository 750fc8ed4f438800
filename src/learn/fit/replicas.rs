//! Devices beside the first, each with a replica of the model and a thread, that compute their share of every batch.
//!
//! A device is given the weights and its share, and computes while the first device computes its own. When it fails, panics
//! included, the step fails as a whole: no weight has changed until then.
//!
//! Promise: N devices compute what one does of the same batch, what dropout drops included, to the rounding of sums.
//!
//! Deliberately absent: validation, which the first device does alone.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;

use burn::tensor::Device;

use super::accumulate::{Share, Work};
use super::reduce::{self, Settled, Summand, Weights};
use super::training::learning;
use crate::device;
use crate::learn::{Frozen, LearnError};
use crate::model::Classifier;

/// The devices beside the first.
pub(super) struct Replicas {
    /// The first, and the others in their order.
    devices: Vec<Device>,
    others: Vec<Replica>,
    /// Whether they copy from each other and have collectives.
    straight: bool,
    /// Whether they were given weights.
    begun: bool,
}

struct Replica {
    orders: Sender<Order>,
    answers: Receiver<Result<Answer, LearnError>>,
}

enum Order {
    Compute {
        weights: Option<Weights>,
        epoch: u64,
        share: Share,
    },
    /// All devices computed theirs: add up what they did.
    Reduce,
}

enum Answer {
    /// `None` for an empty share.
    Summand(Option<Settled>),
    /// To be added up once all are.
    Ready,
    Reduced,
}

impl Replicas {
    /// None beside the first.
    #[cfg(test)]
    pub(super) fn none(first: &Device) -> Replicas {
        Replicas {
            devices: vec![first.clone()],
            others: Vec::new(),
            straight: false,
            begun: false,
        }
    }

    /// A thread for each of `others`, which ends when this is dropped. `model` lends its form alone.
    ///
    /// # Errors
    /// [`LearnError::Device`] when no thread can be had.
    pub(super) fn begin<'scope, 'work: 'scope>(
        scope: &'scope Scope<'scope, '_>,
        work: Work<'work>,
        frozen: Option<&'work Frozen>,
        model: &Classifier,
        first: &Device,
        others: Vec<Device>,
    ) -> Result<Replicas, LearnError> {
        let devices: Vec<Device> = std::iter::once(first.clone())
            .chain(others.iter().cloned())
            .collect();
        let straight = device::have_collectives(&devices);
        let begin = |own: Device| {
            let (orders, received) = channel();
            let (answer, answers) = channel();
            let replica = Following {
                work,
                frozen,
                plain: model.clone(),
                device: own,
                devices: straight.then(|| devices.clone()),
                waiting: None,
            };
            std::thread::Builder::new()
                .name("replica".to_owned())
                .spawn_scoped(scope, move || replica.follow(&received, &answer))
                .map_err(|cause| failed("starting a thread for a device", cause.to_string()))?;
            Ok(Replica { orders, answers })
        };
        let others = others.into_iter().map(begin);
        Ok(Replicas {
            others: others.collect::<Result<_, LearnError>>()?,
            devices,
            straight,
            begun: false,
        })
    }

    /// How many devices there are with the first.
    pub(super) fn devices(&self) -> usize {
        self.devices.len()
    }

    /// Lets each other device begin with its share of what `share_of` gives for its number. `weights` are those of the first
    /// where they may have changed.
    pub(super) fn compute(
        &self,
        weights: Option<&Weights>,
        epoch: u64,
        share_of: &mut dyn FnMut(usize) -> Share,
    ) {
        for (number, other) in self.others.iter().enumerate() {
            let order = Order::Compute {
                weights: weights.cloned(),
                epoch,
                share: share_of(number + 1),
            };
            // One whose thread has ended says so when it is asked.
            let _ = other.orders.send(order);
        }
    }

    /// The weights of `model` for the other devices; `None` where there are none.
    ///
    /// # Errors
    /// The first device fails.
    pub(super) fn weights(&mut self, model: &Classifier) -> Result<Option<Weights>, LearnError> {
        if self.others.is_empty() {
            return Ok(None);
        }
        let weights = reduce::weights(model, !self.begun, self.straight)?;
        self.begun = true;
        Ok(Some(weights))
    }

    /// The sum of what the first device computed and the others did. Waits for all of them, so that none is at work on a step
    /// that failed.
    ///
    /// # Errors
    /// That of the first device that failed.
    pub(super) fn sum(
        &self,
        own: Result<Option<Summand>, LearnError>,
        model: &Classifier,
    ) -> Result<Option<Summand>, LearnError> {
        let answers: Vec<_> = self.others.iter().map(Replica::answer).collect();
        let mut sum = own?;
        let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
        let first = &self.devices[0];
        if self.straight {
            for other in &self.others {
                let _ = other.orders.send(Order::Reduce);
            }
            let sum = reduce::collective(sum, model, first, &self.devices);
            for other in &self.others {
                other.answer()?;
            }
            return Ok(Some(sum));
        }
        for answer in answers {
            if let Answer::Summand(Some(summand)) = answer {
                summand.add_to(&mut sum, first);
            }
        }
        Ok(sum)
    }
}

impl Replica {
    fn answer(&self) -> Result<Answer, LearnError> {
        let answer = self.answers.recv();
        answer.unwrap_or_else(|_| Err(failed("training", "its thread ended".into())))
    }
}

/// Does what computes on a device; what panics is an error of the device.
fn guarded<T>(work: impl FnOnce() -> Result<T, LearnError>) -> Result<T, LearnError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(failed("training", told(panic.as_ref()))))
}

fn failed(doing: &'static str, cause: String) -> LearnError {
    LearnError::Device { doing, cause }
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked without a message").to_owned()
}

/// What the thread of a device has.
struct Following<'a> {
    work: Work<'a>,
    frozen: Option<&'a Frozen>,
    /// Without autodiff. Until it is given weights, those of whoever lent it.
    plain: Classifier,
    device: Device,
    /// All devices, where they add up by collectives.
    devices: Option<Vec<Device>>,
    /// What was computed, until it is added up, and with which model.
    waiting: Option<(Option<Summand>, Classifier)>,
}

impl Following<'_> {
    fn follow(mut self, orders: &Receiver<Order>, answers: &Sender<Result<Answer, LearnError>>) {
        while let Ok(order) = orders.recv() {
            let answer = guarded(|| self.obey(order));
            if answers.send(answer).is_err() {
                return;
            }
        }
    }

    fn obey(&mut self, order: Order) -> Result<Answer, LearnError> {
        match order {
            Order::Compute {
                weights,
                epoch,
                share,
            } => {
                self.waiting = None;
                if let Some(weights) = weights {
                    self.plain = reduce::put(self.plain.clone(), &weights, &self.device);
                }
                let model = learning(self.plain.clone(), self.frozen, epoch);
                let summand = self.work.sum(&model, &self.device, share, &|_| Ok(()))?;
                if self.devices.is_some() {
                    self.waiting = Some((summand, model));
                    return Ok(Answer::Ready);
                }
                Ok(Answer::Summand(summand.map(Settled::of).transpose()?))
            }
            Order::Reduce => {
                if let (Some(devices), Some((summand, model))) =
                    (&self.devices, self.waiting.take())
                {
                    reduce::collective(summand, &model, &self.device, devices);
                }
                Ok(Answer::Reduced)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_on_a_device_is_an_error_of_it() {
        let panicked = guarded::<()>(|| panic!("{} kernels are missing", 2));
        let Err(LearnError::Device { cause, .. }) = panicked else {
            panic!("{panicked:?}");
        };
        assert_eq!(cause, "2 kernels are missing");
        assert!(guarded(|| Ok(1)).is_ok());
    }
}
