//! All that a training is between two steps: enough to go on from there to the same bits.
//!
//! What is not here follows from the settings: the order of rows and the dropout masks are functions of the seed and of the epoch
//! or step.
//!
//! Deliberately absent: files.

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{LossScale, Snapshot};
use crate::learn::gradients::read;
use crate::learn::schedule::Plateau;
use crate::learn::{LearnError, Memory, OptimizerName};
use crate::model::{self, Classifier, MapParameters, VisitParameters};

/// The numbers of a state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Steps taken.
    pub step: u64,
    /// How many of them were left out.
    pub skipped: u64,
    /// That of the last step.
    pub epoch: u64,
    /// Whether the validation rows are to be asked before the next step.
    pub evaluates: bool,
    pub stopped_early: bool,
    /// Evaluations since the score last rose enough.
    pub without_gain: u32,
    /// The best score so far, as bits: it need not be a number.
    pub best: Option<u64>,
    pub plateau: Plateau,
    pub scale: Option<LossScale>,
    /// Rows of a batch that go through the device at once.
    pub at_once: usize,
    /// Parameter → the steps that its optimizer's memory counts.
    pub memory_steps: BTreeMap<String, i32>,
    pub kept: Option<Kept>,
    /// Step and epoch of the weights that are handed out beside, the oldest first.
    pub last: Vec<(u64, u64)>,
}

/// Where the kept weights come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub epoch: u64,
    pub step: u64,
    pub scores: Option<Map<String, Value>>,
    pub thresholds: Option<Vec<f64>>,
}

/// A state whose tensors are still on the device.
#[derive(Debug)]
pub struct Held {
    pub numbers: Numbers,
    /// Name → values, `[elements]`, without autodiff.
    pub(super) tensors: BTreeMap<String, Tensor<1>>,
}

/// A state on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub numbers: Numbers,
    /// Name → values.
    pub tensors: BTreeMap<String, Vec<f32>>,
}

impl Held {
    /// Brings it to the host, and leaves it there as tensors of the CPU: for a device that hands its numbers only to the thread that
    /// computes.
    ///
    /// # Errors
    /// [`LearnError::Device`] when the device fails.
    pub fn settled(self) -> Result<Held, LearnError> {
        let State { numbers, tensors } = self.read()?;
        let host = Device::flex();
        let tensors = tensors.into_iter();
        let tensors =
            tensors.map(|(name, values)| (name, Tensor::from_data(values.as_slice(), &host)));
        Ok(Held {
            numbers,
            tensors: tensors.collect(),
        })
    }

    /// Brings it to the host.
    ///
    /// # Errors
    /// [`LearnError::Device`] when the device fails.
    pub fn read(self) -> Result<State, LearnError> {
        let tensors = self.tensors.into_iter();
        let tensors =
            tensors.map(|(name, tensor)| Ok((name, read(tensor, "reading a checkpoint")?)));
        Ok(State {
            numbers: self.numbers,
            tensors: tensors.collect::<Result<_, LearnError>>()?,
        })
    }
}

/// What a name begins with.
pub(super) const MODEL: &str = "model/";
pub(super) const AVERAGE: &str = "average/";
pub(super) const KEPT: &str = "kept/";

pub(super) fn last(number: usize) -> String {
    format!("last/{number}/")
}

/// Adds the weights of `model` (without autodiff).
pub(super) fn hold(to: &mut BTreeMap<String, Tensor<1>>, prefix: &str, model: &Classifier) {
    struct Hold<'a>(&'a mut BTreeMap<String, Tensor<1>>, &'a str);
    impl VisitParameters for Hold<'_> {
        fn visit<const D: usize>(&mut self, name: &str, parameter: &Param<Tensor<D>>) {
            let weight = parameter.val();
            let elements = weight.shape().num_elements();
            self.0
                .insert(format!("{}{name}", self.1), weight.reshape([elements])); // [elements]
        }
    }
    model::visit_parameters(model, &mut Hold(to, prefix));
}

pub(super) fn hold_memory(
    to: &mut BTreeMap<String, Tensor<1>>,
    steps: &mut BTreeMap<String, i32>,
    memory: &BTreeMap<String, Memory>,
) {
    for (name, memory) in memory {
        let (taken, parts) = memory.parts();
        steps.insert(name.clone(), taken);
        for (number, part) in parts.into_iter().enumerate() {
            to.insert(format!("memory/{number}/{name}"), part);
        }
    }
}

impl State {
    fn tensor(&self, name: &str, device: &Device) -> Option<Tensor<1>> {
        let values = self.tensors.get(name)?;
        Some(Tensor::from_data(values.as_slice(), device))
    }

    /// `model` (without autodiff) with the weights that were held under this prefix.
    ///
    /// # Errors
    /// [`LearnError::ForeignState`] where a parameter has none, or of another size.
    pub(super) fn put(
        &self,
        prefix: &str,
        model: Classifier,
        device: &Device,
    ) -> Result<Classifier, LearnError> {
        struct Put<'a> {
            state: &'a State,
            prefix: &'a str,
            device: &'a Device,
            foreign: Option<String>,
        }
        impl MapParameters for Put<'_> {
            fn map<const D: usize>(
                &mut self,
                name: &str,
                parameter: Param<Tensor<D>>,
            ) -> Param<Tensor<D>> {
                let shape = parameter.val().shape();
                let full = format!("{}{name}", self.prefix);
                let found = self.state.tensors.get(&full);
                if found.is_none_or(|values| values.len() != shape.num_elements()) {
                    self.foreign.get_or_insert(full);
                    return parameter;
                }
                match self.state.tensor(&full, self.device) {
                    Some(weight) => parameter.map(|_| weight.reshape(shape)), // as it was
                    None => parameter,
                }
            }
        }
        let mut put = Put {
            state: self,
            prefix,
            device,
            foreign: None,
        };
        let model = model::map_parameters(model, &mut put);
        match put.foreign {
            None => Ok(model),
            Some(name) => Err(LearnError::ForeignState { name }),
        }
    }

    pub(super) fn memory(
        &self,
        method: OptimizerName,
        device: &Device,
    ) -> Result<BTreeMap<String, Memory>, LearnError> {
        let mut all = BTreeMap::new();
        for (name, &steps) in &self.numbers.memory_steps {
            let part = |number: usize| self.tensor(&format!("memory/{number}/{name}"), device);
            let parts: Vec<Tensor<1>> = (0..).map_while(part).collect();
            let memory = Memory::from_parts(method, steps, parts);
            let name = name.clone();
            let memory = memory.ok_or_else(|| LearnError::ForeignState { name: name.clone() })?;
            all.insert(name, memory);
        }
        Ok(all)
    }

    pub(super) fn average(&self, device: &Device) -> BTreeMap<String, Tensor<1>> {
        let names = self.tensors.keys();
        let average = names.filter_map(|full| {
            let name = full.strip_prefix(AVERAGE)?;
            Some((name.to_owned(), self.tensor(full, device)?))
        });
        average.collect()
    }

    pub(super) fn snapshots(
        &self,
        model: &Classifier,
        device: &Device,
    ) -> Result<Vec<Snapshot>, LearnError> {
        let numbered = self.numbers.last.iter().enumerate();
        let snapshot = |(number, &(step, epoch)): (usize, &(u64, u64))| {
            let model = self.put(&last(number), model.clone(), device)?;
            Ok(Snapshot { model, step, epoch })
        };
        numbered.map(snapshot).collect()
    }
}
