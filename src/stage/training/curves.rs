//! What a training draws over its steps: loss, learning rates, gradient norm, loss scale, scores, throughput, memory.
//!
//! Throughput and memory are told about once a second, and before each validation, whose own time is not counted.
//!
//! Promise: where nobody draws, no clock is read. What is counted was done in the time it is divided by: steps that were read
//! from the device together count together.
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
    /// The last step in it, and when that and all before it were told.
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
            self.go_on(Instant::now());
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
        self.count(record, Instant::now());
    }

    fn count(&mut self, record: &StepRecord, now: Instant) {
        self.window.step = record.step;
        self.window.rows += record.rows;
        self.window.tokens += record.tokens;
        if record.more {
            return;
        }
        self.window.until = Some(now);
        if self.window.since.is_some_and(|since| now - since >= WINDOW) {
            self.tell();
            self.go_on(now);
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
        self.go_on(Instant::now());
    }

    fn go_on(&mut self, now: Instant) {
        self.window = Window {
            since: Some(now),
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    type Drawn = (u64, Vec<(String, f64)>);

    #[derive(Default)]
    struct Drawing(Mutex<Vec<Drawn>>);

    impl Curves for Drawing {
        fn begins(&self, _after: u64) {}

        fn drawn(&self, step: u64, numbers: Vec<(String, f64)>) {
            self.0.lock().unwrap().push((step, numbers));
        }
    }

    impl Drawing {
        /// Step → examples and tokens a second.
        fn rates(&self) -> Vec<(u64, f64, f64)> {
            let told = self.0.lock().unwrap();
            let rate = |numbers: &[(String, f64)], name: &str| {
                let found = numbers.iter().find(|(called, _)| called == name);
                found.map(|(_, value)| *value)
            };
            let both = |(step, numbers): &Drawn| {
                let examples = rate(numbers, "train/examples_per_second")?;
                Some((*step, examples, rate(numbers, "train/tokens_per_second")?))
            };
            told.iter().filter_map(both).collect()
        }
    }

    fn meter(curves: &Drawing) -> Meter<'_> {
        Meter {
            curves: Some(curves),
            device: Device::default(),
            window: Window::default(),
        }
    }

    /// Sixteen rows of 1,000 tokens in all.
    fn record(step: u64, more: bool) -> StepRecord {
        StepRecord {
            step,
            epoch: 1,
            loss: 1.0,
            learning_rate: 1e-3,
            gradient_norm: 1.0,
            loss_scale: None,
            skipped: false,
            rows: 16,
            tokens: 1000,
            more,
            groups: Vec::new().into(),
        }
    }

    #[test]
    fn steps_that_are_read_together_count_in_the_time_they_took_together() {
        let drawing = Drawing::default();
        let mut meter = meter(&drawing);
        let mut now = Instant::now();
        meter.go_on(now);
        // Ten at a time: each step takes 80 ms, and they are told within microseconds.
        for step in 1..=40 {
            if step % 10 == 1 {
                now += Duration::from_millis(800);
            }
            now += Duration::from_micros(1);
            meter.count(&record(step, step % 10 != 0), now);
        }
        // As before a validation, right after steps that were told of.
        meter.pause();
        let rates = drawing.rates();
        let steps: Vec<u64> = rates.iter().map(|(step, ..)| *step).collect();
        assert_eq!(steps, [20, 40]);
        for (step, examples, tokens) in rates {
            assert!((examples - 200.0).abs() < 0.1, "{step}: {examples}");
            assert!((tokens - 12_500.0).abs() < 5.0, "{step}: {tokens}");
        }
    }

    #[test]
    fn steps_that_are_read_one_by_one_are_told_about_once_a_second_and_before_a_pause() {
        let drawing = Drawing::default();
        let mut meter = meter(&drawing);
        let begin = Instant::now();
        meter.go_on(begin);
        for step in 1..=11 {
            let taken = u32::try_from(step).unwrap() * Duration::from_millis(250);
            meter.count(&record(step, false), begin + taken);
        }
        meter.pause();
        assert_eq!(
            drawing.rates(),
            [(4, 64.0, 4000.0), (8, 64.0, 4000.0), (11, 64.0, 4000.0)]
        );
    }
}
