//! What a training draws over its steps: loss, learning rates, gradient norm, loss scale, scores, throughput, memory.
//!
//! Throughput and memory are told about once a second, and before each validation, whose own time is not counted.
//!
//! Promise: where nobody draws, no clock is read.
//!
//! Deliberately absent: what is in `metrics.jsonl`, which is part of the artifact and so knows no clock.

use std::time::{Duration, Instant};

use burn::tensor::Device;
use serde_json::Value;

use crate::device;
use crate::learn::{StepRecord, ValidationRecord};
use crate::stage::{Curves, Progress};

/// How long throughput is measured for one point.
const WINDOW: Duration = Duration::from_secs(1);

/// The numbers of a training, on their way to whoever draws them.
pub(super) struct Meter<'a> {
    curves: Option<&'a dyn Curves>,
    device: Device,
    window: Window,
}

/// What was done since throughput was told.
#[derive(Default)]
struct Window {
    since: Option<Instant>,
    /// The last step in it, and when that was told.
    step: u64,
    until: Option<Instant>,
    rows: usize,
    tokens: usize,
}

impl<'a> Meter<'a> {
    pub(super) fn new(progress: &'a dyn Progress, device: &Device) -> Self {
        Meter {
            curves: progress.curves(),
            device: device.clone(),
            window: Window::default(),
        }
    }

    /// The training begins after so many steps.
    pub(super) fn begin(&mut self, after: u64) {
        if let Some(curves) = self.curves {
            curves.begins(after);
            self.go_on();
        }
    }

    pub(super) fn step(&mut self, record: &StepRecord) {
        let Some(curves) = self.curves else { return };
        let mut numbers = vec![
            ("train/loss".to_owned(), f64::from(record.loss)),
            ("train/learning_rate".to_owned(), record.learning_rate),
            (
                "train/gradient_norm".to_owned(),
                f64::from(record.gradient_norm),
            ),
        ];
        let rates = record.groups.iter().map(|(group, factor)| {
            let rate = record.learning_rate * factor;
            (format!("train/learning_rate_{group}"), rate)
        });
        numbers.extend(rates);
        if let Some(scale) = record.loss_scale {
            numbers.push(("train/loss_scale".to_owned(), scale));
        }
        curves.drawn(record.step, numbers);
        let now = Instant::now();
        self.window.step = record.step;
        self.window.until = Some(now);
        self.window.rows += record.rows;
        self.window.tokens += record.tokens;
        if self.window.since.is_some_and(|since| now - since >= WINDOW) {
            self.tell();
            self.go_on();
        }
    }

    /// No step is taken for a while, or ever again.
    pub(super) fn pause(&mut self) {
        self.tell();
        self.window = Window::default();
    }

    pub(super) fn validation(&mut self, record: &ValidationRecord) {
        self.pause();
        let Some(curves) = self.curves else { return };
        let scores = record.validation.iter();
        let numbers = scores.filter_map(|(name, value): (&String, &Value)| {
            Some((format!("validation/{name}"), value.as_f64()?))
        });
        curves.drawn(record.step, numbers.collect());
        self.go_on();
    }

    fn go_on(&mut self) {
        self.window = Window {
            since: Some(Instant::now()),
            ..Window::default()
        };
    }

    fn tell(&self) {
        let Window {
            since: Some(since),
            until: Some(until),
            step,
            rows,
            tokens,
        } = self.window
        else {
            return;
        };
        let Some(curves) = self.curves else { return };
        #[expect(clippy::cast_precision_loss, reason = "counts, shown as rates")]
        let per_second = |count: usize| count as f64 / (until - since).as_secs_f64();
        let mut numbers = vec![
            ("train/examples_per_second".to_owned(), per_second(rows)),
            ("train/tokens_per_second".to_owned(), per_second(tokens)),
        ];
        let memory = [
            ("memory/process_mib", resident()),
            ("memory/device_mib", device::memory_held(&self.device)),
        ];
        #[expect(clippy::cast_precision_loss, reason = "shown in MiB")]
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let known = memory.into_iter();
        numbers.extend(known.filter_map(|(name, bytes)| Some((name.to_owned(), mib(bytes?)))));
        curves.drawn(step, numbers);
    }
}

/// The bytes of this process that are in memory, where the system tells.
#[cfg(target_os = "linux")]
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: it reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(not(target_os = "linux"))]
fn resident() -> Option<u64> {
    None
}
