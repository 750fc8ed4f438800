//! What the training loop tells: lines of `metrics.jsonl`, and progress.

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::curves::Meter;
use super::resume::Writer;
use crate::artifact::Unreadable;
use crate::learn::{EvaluateEvery, Event, LearnError, StepRecord, ValidationRecord};
use crate::metrics::Metric;
use crate::stage::{Context, StageError, Validation};

/// What the loop tells, as lines of `metrics.jsonl` and as progress.
pub(super) struct Log<'a> {
    context: &'a Context<'a>,
    metric: Metric,
    evaluate_every: EvaluateEvery,
    skipped: u64,
    pub(super) meter: Meter<'a>,
    pub(super) lines: Vec<u8>,
    /// Where states go.
    writer: Option<Writer>,
    /// Why a state could not be handed over.
    pub(super) failed: Option<LearnError>,
}

impl<'a> Log<'a> {
    pub(super) fn new(
        context: &'a Context<'a>,
        steps: u64,
        metric: Metric,
        evaluate_every: EvaluateEvery,
        device: &Device,
        writer: Option<Writer>,
    ) -> Self {
        context.progress.start("training", steps, "steps");
        Log {
            context,
            metric,
            evaluate_every,
            skipped: 0,
            meter: Meter::new(context.progress, device),
            lines: Vec::new(),
            writer,
            failed: None,
        }
    }

    /// Takes up the log of a training that goes on after so many steps. Whoever follows its scores hears them again.
    ///
    /// # Errors
    /// It has a line that the loop would not write.
    pub(super) fn take_up(&mut self, step: u64, log: String) -> Result<(), StageError> {
        let told = validations_in(&log)
            .map_err(|e| Unreadable::new(&self.context.checkpoints.folder, e))?;
        self.context.progress.advance(step);
        for validation in told {
            self.context.progress.validated(&validation);
        }
        self.lines = log.into_bytes();
        Ok(())
    }

    /// Waits until all states are written.
    pub(super) fn finish(&mut self) {
        self.meter.pause();
        if let Some(writer) = &mut self.writer {
            writer.finish();
        }
        self.warn_of_the_writer();
    }

    fn warn_of_the_writer(&self) {
        if let Some(fault) = self.writer.as_ref().and_then(Writer::fault) {
            self.context.progress.warn(&fault);
        }
    }

    pub(super) fn hear(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Step(record) => self.step(record),
            Event::Rows(_) => {}
            Event::Validation(record) => self.validation(record),
            Event::State(held) => {
                if let Some(writer) = &self.writer
                    && let Err(error) = writer.take(*held, &self.lines)
                {
                    self.failed = Some(error);
                    return ControlFlow::Break(());
                }
                self.warn_of_the_writer();
            }
            Event::ByTheHost(error) => self.context.progress.warn(&format!(
                "the GPUs cannot add up among themselves, so they do it by way of this machine's memory, which is slower: {error}; is NCCL installed (libnccl.so.2)?"
            )),
            Event::Halved(rows) => self.context.progress.warn(&format!(
                "the device ran out of memory: from now on {rows} rows of a batch go through it at once; `batch = {{ micro_size = {rows} }}` spares the tries"
            )),
        }
        if self.context.checkpoint().is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    fn step(&mut self, record: &StepRecord) {
        self.line(record);
        self.meter.step(record);
        self.context.progress.advance(1);
        let StepRecord {
            loss,
            learning_rate,
            loss_scale,
            skipped,
            ..
        } = record;
        self.skipped += u64::from(*skipped);
        let mut text = format!("loss {loss:.3}, learning rate {learning_rate:.1e}");
        if let Some(scale) = loss_scale
            && self.skipped > 0
        {
            text += &format!(", skipped {}, loss scale {scale}", self.skipped);
        }
        self.context.progress.state(&text);
    }

    fn validation(&mut self, record: &ValidationRecord) {
        self.line(record);
        self.meter.validation(record);
        let value = |metric: Metric| {
            record
                .validation
                .get(metric.name())
                .and_then(Value::as_f64)
                .unwrap_or(f64::NAN)
        };
        let when = match self.evaluate_every.steps {
            Some(_) => format!("step {}", record.step),
            None => format!("epoch {}", record.epoch),
        };
        let mut text = format!("{when}: validation loss {:.4}", value(Metric::Loss));
        if self.metric != Metric::Loss {
            text += &format!(", {} {:.4}", self.metric, value(self.metric));
        }
        self.context.progress.say(&text);
        self.context.progress.validated(&Validation {
            step: record.step,
            scores: record.validation.clone(),
        });
    }

    fn line(&mut self, record: &impl Serialize) {
        serde_json::to_writer(&mut self.lines, record)
            .expect("numbers and names are written to memory");
        self.lines.push(b'\n');
    }
}

/// The validations that the log at `path` tells of.
///
/// # Errors
/// It cannot be read, or has a line that the loop would not write.
pub(in crate::stage) fn validations(path: &Path) -> Result<Vec<Validation>, StageError> {
    let text = std::fs::read_to_string(path);
    let found = text.and_then(|text| validations_in(&text));
    Ok(found.map_err(|e| Unreadable::new(path, e))?)
}

fn validations_in(text: &str) -> std::io::Result<Vec<Validation>> {
    #[derive(Deserialize)]
    struct Line {
        step: u64,
        validation: Option<Map<String, Value>>,
    }
    let mut found = Vec::new();
    for line in text.lines() {
        let line: Line = serde_json::from_str(line)?;
        found.extend(line.validation.map(|scores| Validation {
            step: line.step,
            scores,
        }));
    }
    Ok(found)
}
