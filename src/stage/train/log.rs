//! What the training loop tells: lines of `metrics.jsonl`, and progress.

use std::ops::ControlFlow;

use serde::Serialize;
use serde_json::Value;

use crate::learn::{EvaluateEvery, Event, StepRecord, ValidationRecord};
use crate::metrics::Metric;
use crate::stage::Context;

/// What the loop tells, as lines of `metrics.jsonl` and as progress.
pub(super) struct Log<'a> {
    context: &'a Context<'a>,
    metric: Metric,
    evaluate_every: EvaluateEvery,
    skipped: u64,
    pub(super) lines: Vec<u8>,
}

impl<'a> Log<'a> {
    pub(super) fn new(
        context: &'a Context<'a>,
        steps: u64,
        metric: Metric,
        evaluate_every: EvaluateEvery,
    ) -> Self {
        context.progress.start("training", steps, "steps");
        Log {
            context,
            metric,
            evaluate_every,
            skipped: 0,
            lines: Vec::new(),
        }
    }

    pub(super) fn hear(&mut self, event: &Event) -> ControlFlow<()> {
        match event {
            Event::Step(record) => self.step(record),
            Event::Rows(_) => {}
            Event::Validation(record) => self.validation(record),
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
    }

    fn line(&mut self, record: &impl Serialize) {
        serde_json::to_writer(&mut self.lines, record)
            .expect("numbers and names are written to memory");
        self.lines.push(b'\n');
    }
}
