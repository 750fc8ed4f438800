//! Devices beside the first, each with a replica of the model and a thread, that compute their share of every batch.
//!
//! A device is given the weights and its share, and computes while the first device computes its own. When it fails, panics
//! included, the step fails as a whole: no weight has changed until then. Where devices add up by collectives, all of them say
//! that they have their numbers before the first of them is asked to, because a collective waits for all, and without end.
//!
//! Promise: N devices compute what one does of the same batch, what dropout drops included, to the rounding of sums.
//!
//! Deliberately absent: validation, which the first device does alone.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use burn::tensor::Device;

use super::accumulate::{Share, Work};
use super::reduce::{self, AllReduce, Flat, Settled, Summand, Weights, guarded};
use super::training::learning;
use crate::learn::{Frozen, LearnError};
use crate::model::Classifier;

/// While it is held, no other training uses collectives. Communicators of a set of devices are those of the process, and calls
/// are matched by their order: two trainings would add up each other's gradients.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The devices beside the first.
pub(super) struct Replicas {
    /// The first, and the others in their order.
    devices: Vec<Device>,
    others: Vec<Replica>,
    /// How they add up where they do so among themselves; they then copy from each other, too.
    all: Option<AllReduce>,
    /// Whether they were given weights.
    begun: bool,
}

struct Replica {
    device: Device,
    orders: Sender<Order>,
    answers: Receiver<Result<Answer, LearnError>>,
}

enum Order {
    Compute {
        weights: Option<Weights>,
        epoch: u64,
        share: Share,
    },
    /// All devices have their numbers: add them up.
    Reduce,
}

enum Answer {
    /// `None` for an empty share.
    Summand(Option<Settled>),
    /// To be added up once all are; of which parameters there is a gradient.
    Ready(BTreeSet<String>),
    Reduced,
}

impl Replicas {
    /// None beside the first.
    #[cfg(test)]
    pub(super) fn none(first: &Device) -> Replicas {
        Replicas {
            devices: vec![first.clone()],
            others: Vec::new(),
            all: None,
            begun: false,
        }
    }

    /// A thread for each of `others`, which ends when this is dropped. `model` lends its form alone. `all` is how the devices
    /// add up among themselves; without it they do so by way of the host.
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
        all: Option<AllReduce>,
    ) -> Result<Replicas, LearnError> {
        let devices: Vec<Device> = std::iter::once(first.clone())
            .chain(others.iter().cloned())
            .collect();
        let begin = |own: Device| {
            let (orders, received) = channel();
            let (answer, answers) = channel();
            let replica = Following {
                work,
                frozen,
                plain: model.clone(),
                device: own.clone(),
                among: all.clone().map(|all| (all, devices.clone())),
                waiting: None,
            };
            std::thread::Builder::new()
                .name("replica".to_owned())
                .spawn_scoped(scope, move || replica.follow(&received, &answer))
                .map_err(|cause| {
                    LearnError::failed(&own, "starting its thread", cause.to_string())
                })?;
            Ok(Replica {
                device: own,
                orders,
                answers,
            })
        };
        let others = others.into_iter().map(begin);
        Ok(Replicas {
            others: others.collect::<Result<_, LearnError>>()?,
            devices,
            all,
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
        let weights = reduce::weights(model, !self.begun, self.all.is_some())?;
        self.begun = true;
        Ok(Some(weights))
    }

    /// The sum of what the first device computes by `own` with `model` and what the others did. Waits for all of them, so that
    /// none is at work on a step that failed.
    ///
    /// # Errors
    /// That of the first device that failed.
    pub(super) fn sum(
        &self,
        own: impl FnOnce() -> Result<Option<Summand>, LearnError>,
        model: &Classifier,
    ) -> Result<Option<Summand>, LearnError> {
        if self.others.is_empty() {
            return own();
        }
        match &self.all {
            Some(all) => self.among_themselves(all, own, model),
            None => self.by_the_host(own),
        }
    }

    fn by_the_host(
        &self,
        own: impl FnOnce() -> Result<Option<Summand>, LearnError>,
    ) -> Result<Option<Summand>, LearnError> {
        let first = &self.devices[0];
        let own = guarded(first, own);
        let answers = self.answers();
        let mut sum = own?;
        for answer in answers? {
            if let Answer::Summand(Some(summand)) = answer {
                guarded(first, || {
                    summand.add_to(&mut sum, first);
                    Ok(())
                })?;
            }
        }
        Ok(sum)
    }

    fn among_themselves(
        &self,
        all: &AllReduce,
        own: impl FnOnce() -> Result<Option<Summand>, LearnError>,
        model: &Classifier,
    ) -> Result<Option<Summand>, LearnError> {
        let first = &self.devices[0];
        let own = guarded(first, || Flat::of(own()?, model, first));
        let answers = self.answers();
        let own = own?;
        let mut used = own.used.clone();
        for answer in answers? {
            if let Answer::Ready(names) = answer {
                used.extend(names);
            }
        }
        for other in &self.others {
            let _ = other.orders.send(Order::Reduce);
        }
        let sum = guarded(first, || Ok(own.sum(all, &self.devices, &used)));
        let answers = self.answers();
        let sum = sum?;
        answers?;
        Ok(Some(sum))
    }

    /// What all the others answer, once all have.
    fn answers(&self) -> Result<Vec<Answer>, LearnError> {
        let answers: Vec<_> = self.others.iter().map(Replica::answer).collect();
        answers.into_iter().collect()
    }
}

impl Replica {
    fn answer(&self) -> Result<Answer, LearnError> {
        let ended = || LearnError::failed(&self.device, "training", "its thread ended".into());
        self.answers.recv().unwrap_or_else(|_| Err(ended()))
    }
}

/// What the thread of a device has.
struct Following<'a> {
    work: Work<'a>,
    frozen: Option<&'a Frozen>,
    /// Without autodiff. Until it is given weights, those of whoever lent it.
    plain: Classifier,
    device: Device,
    /// How it adds up with which devices, itself included, where they do so among themselves.
    among: Option<(AllReduce, Vec<Device>)>,
    /// What was computed, until it is added up.
    waiting: Option<Flat>,
}

impl Following<'_> {
    fn follow(mut self, orders: &Receiver<Order>, answers: &Sender<Result<Answer, LearnError>>) {
        while let Ok(order) = orders.recv() {
            let answer = {
                let device = self.device.clone();
                guarded(&device, || self.obey(order))
            };
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
                if self.among.is_some() {
                    let flat = Flat::of(summand, &model, &self.device)?;
                    let used = flat.used.clone();
                    self.waiting = Some(flat);
                    return Ok(Answer::Ready(used));
                }
                Ok(Answer::Summand(summand.map(Settled::of).transpose()?))
            }
            Order::Reduce => {
                if let (Some((all, devices)), Some(flat)) = (&self.among, self.waiting.take()) {
                    // The first device alone makes something of it.
                    flat.sum(all, devices, &BTreeSet::new());
                }
                Ok(Answer::Reduced)
            }
        }
    }
}
