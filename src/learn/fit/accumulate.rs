//! The gradients of a batch, in as many parts as the device's memory asks for.
//!
//! A loss is a mean over the whole batch: over its rows, its words, or the weights of its labels. Each part's loss is its own
//! sum over what the *whole* batch weighs ([`Objective::weight`](crate::learn::Objective::weight)), so that losses and
//! gradients of the parts add up to those of the whole however unequal the parts are. What dropout drops follows a row's
//! place in the whole batch. So the size of the parts changes nothing but the rounding of floats.
//!
//! `micro_size = "auto"` begins with the whole batch. When the device runs out of memory, what was computed of the batch is
//! dropped, the parts are halved, and the same step is done again; no weight has changed until then. A device that computes
//! beside the host tells of it when it is asked for a number, which is why every step is waited for then.

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor};

use super::{Event, Material, Pace, Recipe, tell};
use crate::device;
use crate::learn::batch::{Cut, MicroSize, Part, Prepared};
use crate::learn::gradients::read;
use crate::learn::{Gradients, LearnError};
use crate::model::{Classifier, Mode};

/// Batch after batch, cut as small as it has been found to be needed.
pub(super) struct Accumulation<'a> {
    cut: Cut,
    pace: Pace<'a>,
    material: &'a Material<'a>,
    device: &'a Device,
    seed: u64,
    /// Rows in a part.
    at_once: usize,
    /// Whether a lack of memory makes parts smaller.
    halves: bool,
}

impl<'a> Accumulation<'a> {
    pub(super) fn new(
        cut: Cut,
        pace: Pace<'a>,
        material: &'a Material<'a>,
        recipe: &Recipe,
        device: &'a Device,
    ) -> Self {
        Accumulation {
            cut,
            pace,
            material,
            device,
            seed: recipe.seed,
            at_once: recipe.batch.at_once(),
            halves: recipe.batch.micro_size == Some(MicroSize::Auto),
        }
    }

    /// Steps whose losses may be read at once.
    pub(super) fn together(&self) -> usize {
        self.pace.together
    }

    /// The loss of the batch, `[1]`, without autodiff, and its gradients; `step` is counted from 0.
    ///
    /// # Errors
    /// A device that fails; with parts that halve, one whose memory does not hold a single row.
    pub(super) fn gradients(
        &mut self,
        model: &Classifier,
        batch: Prepared,
        step: u64,
        on: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<(Tensor<1>, Gradients), LearnError> {
        let Prepared {
            rows, mut parts, ..
        } = batch;
        // Prepared ahead, when parts were larger.
        if parts
            .first()
            .is_some_and(|part| part.rows.len() > self.at_once)
        {
            parts = self.cut.parts(self.material.train, &rows, self.at_once);
        }
        loop {
            let largest = parts.iter().map(|part| part.rows.len()).max().unwrap_or(0);
            let done = self.sum(model, &rows, parts, step);
            match done {
                Err(error) if self.halves && largest > 1 && error.is_out_of_memory() => {
                    self.at_once = largest.div_ceil(2);
                    tell(on, Event::Halved(self.at_once))?;
                    parts = self.cut.parts(self.material.train, &rows, self.at_once);
                }
                done => return done,
            }
        }
    }

    fn sum(
        &self,
        model: &Classifier,
        rows: &[usize],
        parts: Vec<Part>,
        step: u64,
    ) -> Result<(Tensor<1>, Gradients), LearnError> {
        let Material {
            train, objective, ..
        } = *self.material;
        let weight = objective.weight(train, rows, model.outputs());
        let cut = parts.len() > 1;
        let mut sum: Option<(Tensor<1>, Gradients)> = None;
        for part in parts {
            self.check_memory(part.rows.len())?;
            let chosen = &rows[part.rows.clone()];
            let seed = self.seed;
            let mode = match cut {
                false => Mode::Train { seed, step },
                true => Mode::TrainPart {
                    seed,
                    step,
                    tokens: part.tokens_before,
                    texts: part.rows.start,
                },
            };
            let laid = part.laid.on(self.device);
            let answers = model.forward(&laid, &mode); // [texts, outputs] or [tokens, outputs]
            let loss = objective.share(model, answers, train, chosen, &laid.spans, weight); // [1]
            let gradients = Gradients::of(&loss, model);
            sum = Some(match sum {
                None => (loss.inner(), gradients),
                Some((losses, mut all)) => {
                    all.add(gradients);
                    (losses + loss.inner(), all)
                }
            });
        }
        // No batch is without rows; were one, it would teach nothing.
        let (loss, gradients) = sum.unwrap_or_else(|| {
            let zero = Tensor::zeros([1], self.device);
            (zero, Gradients::default())
        });
        if self.halves && !device::is_cpu(self.device) {
            let norm = gradients.clip(0.0).map(|clip| clip.norm);
            let waited_for = std::iter::once(loss.clone()).chain(norm).collect();
            read(Tensor::cat(waited_for, 0), "training")?; // [2]
        }
        Ok((loss, gradients))
    }

    /// As if the device had no more memory than was said.
    fn check_memory(&self, rows: usize) -> Result<(), LearnError> {
        match self.pace.fits {
            Some(fits) if !fits(rows) => Err(LearnError::Device {
                doing: "training",
                cause: format!("out of device memory for {rows} rows"),
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::module::Module;

    use super::*;
    use crate::learn::batch::Layout;
    use crate::learn::fit::{EvaluateEvery, Judgement, Keep, Length};
    use crate::learn::objective::tests::{cases, devices, dropping, toy};
    use crate::learn::{
        BatchSettings, Objective, OptimizerSettings, Predictions, Rows, ScheduleSettings,
    };
    use crate::metrics::Metric;
    use crate::model;

    const WHOLE: usize = 32;

    fn nothing(_: &Classifier, _: &Predictions) -> Result<Judgement, LearnError> {
        Err(LearnError::Interrupted)
    }

    /// The loss and the gradients of `rows` as one batch of which `at_once` go through at a time.
    fn of_batch(
        model: &Classifier,
        objective: &Objective,
        rows: &dyn Rows,
        layout: Layout,
        at_once: u32,
    ) -> (f32, BTreeMap<String, Vec<f32>>) {
        let device = model::device_of(model).without_autodiff();
        let material = Material {
            train: rows,
            validation: None,
            objective,
            judge: &nothing,
            metric: Metric::Loss,
            label_names: &[],
            pad_id: 0,
            max_length: 16,
        };
        let recipe = Recipe {
            length: Length::Steps(1),
            batch: BatchSettings {
                size: WHOLE as u32,
                micro_size: Some(MicroSize::Rows(at_once)),
                ..BatchSettings::default()
            },
            optimizer: OptimizerSettings::default(),
            schedule: ScheduleSettings::default(),
            evaluate_every: EvaluateEvery::default(),
            early_stopping: None,
            keep: Keep::default(),
            ema: None,
            seed: 7,
        };
        let cut = Cut {
            layout,
            pad_id: 0,
            max_length: 16,
        };
        let pace = Pace {
            layout,
            together: 1,
            fits: None,
        };
        let mut accumulation = Accumulation::new(cut, pace, &material, &recipe, &device);
        let chosen: Vec<usize> = (0..rows.rows()).rev().collect();
        let batch = Prepared {
            epoch: 1,
            parts: cut.parts(rows, &chosen, accumulation.at_once),
            rows: chosen,
            ends_epoch: true,
        };
        let go_on = &mut |_: Event| ControlFlow::Continue(());
        let (loss, mut gradients) = accumulation.gradients(model, batch, 3, go_on).unwrap();
        let names = model::named_parameters(model).into_iter();
        let gradients = names.filter_map(|parameter| {
            let gradient = gradients.remove(&parameter.name)?;
            Some((parameter.name, gradient.try_into_vec_as().unwrap()))
        });
        (loss.into_scalar(), gradients.collect())
    }

    #[track_caller]
    fn same(
        (found_loss, found): (f32, BTreeMap<String, Vec<f32>>),
        (wanted_loss, wanted): (f32, BTreeMap<String, Vec<f32>>),
        what: &str,
    ) {
        assert!(
            (found_loss - wanted_loss).abs() <= 1e-5 * wanted_loss,
            "{what}: {found_loss} is not {wanted_loss}"
        );
        let largest = |values: &[f32]| values.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        let all = wanted.values().map(|values| largest(values));
        let all = all.fold(0.0, f32::max);
        assert!(all > 0.0 && found.keys().eq(wanted.keys()));
        for (name, found) in &found {
            let wanted = &wanted[name];
            // The gradient of a key's bias is nothing but rounding.
            let size = largest(wanted).max(0.01 * all);
            for (found, wanted) in found.iter().zip(wanted) {
                assert!(
                    (found - wanted).abs() <= 1e-5 * size,
                    "{what}, {name}: {found} is not {wanted}"
                );
            }
        }
    }

    /// Rows have 4 to 8 tokens, words and weights of labels differ from part to part, and dropout is on; of 29 rows the last
    /// part has 5.
    #[test]
    fn the_gradient_of_four_parts_is_that_of_the_whole_batch() {
        let layouts = [Layout::Packed, Layout::Padded { to: None }];
        for ((objective, head), device) in cases()
            .iter()
            .flat_map(|case| devices().into_iter().map(move |device| (case, device)))
        {
            let model = dropping(0.1, head, &device).train();
            for rows in [WHOLE, 29].map(toy) {
                for layout in layouts {
                    let of = |at_once| of_batch(&model, objective, &rows, layout, at_once);
                    let what = format!("{objective:?}, {layout:?} on {device:?}");
                    same(of(8), of(WHOLE as u32), &what);
                }
            }
        }
    }
}
