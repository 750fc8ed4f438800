//! The gradients of a batch, in as many parts as the device's memory asks for.
//!
//! A loss is a mean over the whole batch: over its rows, its words, or the weights of its labels. Each part's loss is its own
//! sum over what the *whole* batch weighs ([`Objective::weight`](crate::learn::Objective::weight)), so that losses and
//! gradients of the parts add up to those of the whole however unequal the parts are. What dropout drops follows a row's
//! place in the whole batch. So the size of the parts changes nothing but the rounding of floats, and neither does the number of
//! devices among which they are shared out (see `replicas`).
//!
//! `micro_size = "auto"` begins with the whole batch. When the device runs out of memory, what was computed of the batch is
//! dropped, the parts are halved, and the same step is done again; no weight has changed until then. A device that computes
//! beside the host tells of it when it is asked for a number, which is why every step is waited for then.

use std::ops::ControlFlow;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::reduce::{self, Summand, Weights};
use super::replicas::Replicas;
use super::training::tell;
use super::{Event, Material, Pace, Recipe, checkpointing};
use crate::device;
use crate::kernels::Precision;
use crate::learn::batch::{Cut, MicroSize, Part, Prepared};
use crate::learn::gradients::read;
use crate::learn::objective::masked_share;
use crate::learn::{Gradients, LearnError, Objective, Rows};
use crate::model::{Classifier, Given, Mode};

/// Batch after batch, cut as small as it has been found to be needed.
pub(super) struct Accumulation<'a> {
    cut: Cut,
    pace: Pace<'a>,
    material: &'a Material<'a>,
    device: &'a Device,
    work: Work<'a>,
    replicas: Replicas,
    /// Rows in a part.
    pub(super) at_once: usize,
    /// Whether a lack of memory makes parts smaller.
    halves: bool,
}

/// What every device needs to know to compute its share of a batch.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    train: &'a dyn Rows,
    objective: &'a Objective,
    seed: u64,
    precision: Precision,
    /// Whether layers run a second time in place of being remembered.
    checkpoints: bool,
    /// Whether a lack of memory is to show at once.
    waits: bool,
}

/// What falls to one device of a batch.
pub(super) struct Share {
    /// All rows of the batch.
    rows: Arc<Vec<usize>>,
    parts: Vec<Part>,
    /// What the whole batch weighs.
    weight: f64,
    /// Counted from 0.
    step: u64,
    /// By what the loss is multiplied before it goes back.
    scale: f64,
}

impl<'a> Accumulation<'a> {
    pub(super) fn new(
        cut: Cut,
        pace: Pace<'a>,
        material: &'a Material<'a>,
        recipe: &Recipe,
        device: &'a Device,
        replicas: Replicas,
    ) -> Self {
        Accumulation {
            cut,
            pace,
            material,
            device,
            work: Work::new(material, recipe),
            replicas,
            at_once: recipe.batch.at_once(),
            halves: halves(recipe),
        }
    }

    /// Steps whose losses may be read at once.
    pub(super) fn together(&self) -> usize {
        self.pace.together
    }

    /// The loss of the batch, `[1]`, without autodiff, and its gradients, all parts' times `scale`; `step` is counted from 0.
    ///
    /// # Errors
    /// A device that fails; with parts that halve, one whose memory does not hold a single row.
    pub(super) fn gradients(
        &mut self,
        model: &Classifier,
        batch: Prepared,
        step: u64,
        scale: f64,
        on: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<(Tensor<1>, Gradients), LearnError> {
        let Prepared {
            rows,
            mut parts,
            epoch,
            ..
        } = batch;
        // Prepared ahead, when parts were larger.
        if parts
            .first()
            .is_some_and(|part| part.rows.len() > self.at_once)
        {
            parts = self
                .cut
                .parts(self.material.train, epoch, &rows, self.at_once);
        }
        let rows = Arc::new(rows);
        let weights = self.replicas.weights(model)?;
        loop {
            let largest = parts.iter().map(|part| part.rows.len()).max().unwrap_or(0);
            let done = self.sum(model, &rows, parts, (epoch, step, scale), weights.as_ref());
            match done {
                Err(error) if self.halves && largest > 1 && error.is_out_of_memory() => {
                    self.at_once = largest.div_ceil(2);
                    tell(on, Event::Halved(self.at_once))?;
                    parts = self
                        .cut
                        .parts(self.material.train, epoch, &rows, self.at_once);
                }
                done => return done,
            }
        }
    }

    fn sum(
        &self,
        model: &Classifier,
        rows: &Arc<Vec<usize>>,
        parts: Vec<Part>,
        (epoch, step, scale): (u64, u64, f64),
        weights: Option<&Weights>,
    ) -> Result<(Tensor<1>, Gradients), LearnError> {
        let Material {
            train, objective, ..
        } = *self.material;
        let weight = match objective {
            Objective::Masked => parts
                .iter()
                .map(|part| part.laid.wanted.len())
                .sum::<usize>() as f64,
            _ => objective.weight(train, rows, model.outputs()),
        };
        let mut of_devices: Vec<Vec<Part>> = Vec::new();
        of_devices.resize_with(self.replicas.devices(), Vec::new);
        for part in parts {
            of_devices[part.device].push(part);
        }
        let mut share_of = |number: usize| Share {
            rows: Arc::clone(rows),
            parts: std::mem::take(&mut of_devices[number]),
            weight,
            step,
            scale,
        };
        self.replicas.compute(weights, epoch, &mut share_of);
        let check = |rows| self.check_memory(rows);
        let share = share_of(0);
        let own = || self.work.sum(model, self.device, share, &check);
        let sum = self.replicas.sum(own, model)?;
        // No batch is without rows; were one, it would teach nothing.
        let (loss, gradients) = sum.unwrap_or_else(|| {
            let zero = Tensor::zeros([1], self.device);
            (zero, Gradients::default())
        });
        Ok((loss, gradients.of_scaled_loss(scale)))
    }

    /// As if the device had no more memory than was said.
    fn check_memory(&self, rows: usize) -> Result<(), LearnError> {
        match self.pace.fits {
            Some(fits) if !fits(rows) => {
                let cause = format!("out of device memory for {rows} rows");
                Err(LearnError::failed(self.device, "training", cause))
            }
            _ => Ok(()),
        }
    }
}

fn halves(recipe: &Recipe) -> bool {
    recipe.batch.micro_size == Some(MicroSize::Auto)
}

impl<'a> Work<'a> {
    pub(super) fn new(material: &'a Material<'a>, recipe: &Recipe) -> Self {
        Work {
            train: material.train,
            objective: material.objective,
            seed: recipe.seed,
            precision: recipe.precision,
            checkpoints: recipe.gradient_checkpointing,
            waits: halves(recipe),
        }
    }

    /// The loss of a share and its gradients, all times its scale, on `device`; `None` for an empty one. `check` is told how many
    /// rows a part has before it is computed.
    ///
    /// # Errors
    /// That of `check`; a device that fails, as far as it is waited for.
    pub(super) fn sum(
        &self,
        model: &Classifier,
        device: &Device,
        share: Share,
        check: &dyn Fn(usize) -> Result<(), LearnError>,
    ) -> Result<Option<Summand>, LearnError> {
        let Work {
            train, objective, ..
        } = *self;
        let mut sum = None;
        for part in share.parts {
            check(part.rows.len())?;
            let chosen = &share.rows[part.rows.clone()];
            let mode = Mode::train(self.seed, share.step)
                .after(part.tokens_before, part.rows.start)
                .in_precision(self.precision);
            let wanted = part.laid.wanted.clone();
            let laid = part.laid.on(device);
            let spans = laid.spans.clone();
            // [texts, outputs], [tokens, outputs] or [asked, outputs] → [1]
            let loss_of = |answers| match objective {
                Objective::Masked => masked_share(answers, &wanted, share.weight),
                _ => objective.share(model, answers, train, chosen, &spans, share.weight),
            };
            // Above a pooled vector no layer of the encoder is left.
            let in_layers = !matches!(laid.given, Given::Pooled(_));
            let summand = match self.checkpoints && in_layers {
                true => checkpointing::gradients(model, laid, &mode, share.scale, &loss_of),
                false => {
                    let loss = loss_of(model.forward(&laid, &mode));
                    let gradients = Gradients::of(&scaled(&loss, share.scale), model);
                    (loss.inner(), gradients)
                }
            };
            reduce::add(&mut sum, summand);
        }
        if let Some((loss, gradients)) = &sum
            && self.waits
            && !device::is_cpu(device)
        {
            let norm = gradients.clip(0.0).map(|clip| clip.norm);
            let waited_for = std::iter::once(loss.clone()).chain(norm).collect();
            read(Tensor::cat(waited_for, 0), "training")?; // [2]
        }
        Ok(sum)
    }
}

/// What has `scale` times the gradients of a loss (`[1]`).
pub(super) fn scaled(loss: &Tensor<1>, scale: f64) -> Tensor<1> {
    match scale {
        1.0 => loss.clone(),
        _ => loss.clone() * scale,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::module::Module;

    use super::*;
    use crate::learn::batch::Layout;
    use crate::learn::fit::{EvaluateEvery, Judgement, Keep, Length, LossScale};
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
        precision: Precision,
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
            keep_last: 0,
            ema: None,
            frozen: None,
            gradient_checkpointing: false,
            precision,
            seed: 7,
        };
        let cut = Cut {
            layout,
            pad_id: 0,
            max_length: 16,
            devices: 1,
        };
        let pace = Pace {
            layout,
            together: 1,
            fits: None,
            scale: LossScale::BEGIN,
            all: None,
        };
        let alone = Replicas::none(&device);
        let mut accumulation = Accumulation::new(cut, pace, &material, &recipe, &device, alone);
        let chosen: Vec<usize> = (0..rows.rows()).rev().collect();
        let batch = Prepared {
            epoch: 1,
            parts: cut.parts(rows, 1, &chosen, accumulation.at_once),
            rows: chosen,
            ends_epoch: true,
        };
        let go_on = &mut |_: Event| ControlFlow::Continue(());
        let scale = match precision {
            Precision::Fp16 => 1024.0,
            _ => 1.0,
        };
        let (loss, mut gradients) = accumulation
            .gradients(model, batch, 3, scale, go_on)
            .unwrap();
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
        tolerance: f32,
    ) {
        assert!(
            (found_loss - wanted_loss).abs() <= tolerance * wanted_loss,
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
                    (found - wanted).abs() <= tolerance * size,
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
                    let of = |at_once| {
                        of_batch(&model, objective, &rows, layout, at_once, Precision::Fp32)
                    };
                    let what = format!("{objective:?}, {layout:?} on {device:?}");
                    same(of(8), of(WHOLE as u32), &what, 1e-5);
                }
            }
        }
    }

    /// Gradients of weights are rounded part by part: to 11 bits, of which sums of four lose some.
    #[test]
    fn in_fp16_too_four_parts_have_the_gradient_of_the_whole_batch() {
        let device = Device::flex();
        for (objective, head) in &cases() {
            let model = dropping(0.1, head, &device).train();
            let rows = toy(29);
            let of = |at_once, precision| {
                of_batch(&model, objective, &rows, Layout::Packed, at_once, precision)
            };
            let whole = of(WHOLE as u32, Precision::Fp16);
            same(
                of(8, Precision::Fp16),
                whole,
                &format!("{objective:?}"),
                2e-3,
            );
        }
    }

    /// Of every task: a loss and gradients to few bits, and none of them those of 32 bits.
    #[test]
    fn a_batch_in_half_precision_has_nearly_the_loss_and_the_gradients() {
        for (objective, head) in &cases() {
            let model = dropping(0.1, head, &Device::flex()).train();
            let rows = toy(29);
            let of = |precision| {
                of_batch(
                    &model,
                    objective,
                    &rows,
                    Layout::Packed,
                    WHOLE as u32,
                    precision,
                )
            };
            let exact = of(Precision::Fp32);
            for (precision, scale, near) in [
                (Precision::Bf16, 1.0, 8e-2),
                (Precision::Fp16, 1024.0, 1e-2),
            ] {
                let (loss, mut gradients) = of(precision);
                let what = format!("{objective:?} in {precision}");
                assert_ne!(loss, exact.0, "{what}");
                for (name, gradient) in &mut gradients {
                    gradient.iter_mut().for_each(|x| *x /= scale);
                    assert!(*gradient != exact.1[name], "{what}, {name}");
                }
                same((loss, gradients), exact.clone(), &what, near);
            }
        }
    }
}
