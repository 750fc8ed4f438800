//! What can be said of a training before it runs: how many steps it has, and the curve of its learning rate.

use super::Stated;
use crate::learn;

/// Columns of a drawn curve.
const WIDTH: u64 = 60;

/// From nothing to all.
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl Stated<'_> {
    /// A line for the length of a training on so many rows, and one with the curve.
    pub(in crate::stage) fn foreseen(&self, rows: usize) -> Vec<String> {
        let steps = self.length().steps(rows, self.batch.size);
        let peak = self.optimizer.learning_rate;
        let curve = learn::curve(self.schedule, peak, steps);
        let highest = curve
            .iter()
            .fold((0, 0.0), |highest: (u64, f64), &(step, rate)| {
                if rate > highest.1 {
                    (step, rate)
                } else {
                    highest
                }
            });
        let (last, end) = curve.last().copied().unwrap_or_default();
        vec![
            format!(
                "{steps} steps of {} rows each, of {rows} rows",
                self.batch.size
            ),
            format!(
                "learning rate ({}): highest {:e} in step {}, {:e} in step {}",
                self.schedule.name,
                highest.1,
                highest.0 + 1,
                rounded(end),
                last + 1
            ),
            drawn(&curve, peak),
        ]
    }
}

/// To three digits, which is what a reader wants of a rate.
fn rounded(rate: f64) -> f64 {
    format!("{rate:.2e}").parse().unwrap_or(rate)
}

/// The curve in one line: from the first step to the last, heights as shares of `peak`.
fn drawn(curve: &[(u64, f64)], peak: f64) -> String {
    let last = curve.last().map_or(0, |&(step, _)| step);
    let width = WIDTH.min(last + 1);
    let at = |column: u64| {
        let step = column * last / width.saturating_sub(1).max(1);
        let after = curve.partition_point(|&(known, _)| known < step);
        let (to, high) = curve.get(after).copied().unwrap_or_default();
        let (from, low) = curve
            .get(after.saturating_sub(1))
            .copied()
            .unwrap_or((to, high));
        let share = match to > from {
            true => (step.saturating_sub(from)) as f64 / (to - from) as f64,
            false => 1.0,
        };
        low + (high - low) * share
    };
    let height = |rate: f64| {
        let share = (rate / peak).clamp(0.0, 1.0) * (HEIGHTS.len() - 1) as f64;
        HEIGHTS[share.round() as usize]
    };
    (0..width).map(|column| height(at(column))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::{ScheduleName, ScheduleSettings, curve};

    #[test]
    fn a_curve_rises_in_the_warmup_and_falls_to_the_end() {
        let settings = ScheduleSettings {
            warmup: Some(0.25),
            ..ScheduleSettings::default()
        };
        let line = drawn(&curve(&settings, 1e-3, 400), 1e-3);
        let heights: Vec<usize> = line
            .chars()
            .map(|c| HEIGHTS.iter().position(|&height| height == c).unwrap())
            .collect();
        assert_eq!(heights.len(), WIDTH as usize);
        let top = heights.iter().position(|&height| height == 8).unwrap();
        assert!((10..20).contains(&top), "{line}");
        assert!(heights[..=top].is_sorted());
        assert!(heights[top..].iter().rev().is_sorted());
        assert_eq!((heights[0], heights[59]), (0, 0));
    }

    #[test]
    fn few_steps_have_a_column_each() {
        let constant = ScheduleSettings {
            name: ScheduleName::Constant,
            warmup: Some(0.0),
            ..ScheduleSettings::default()
        };
        for steps in [1, 2, 5] {
            let line = drawn(&curve(&constant, 1.0, steps), 1.0);
            assert_eq!(line.chars().count() as u64, steps);
            assert!(line.chars().all(|c| c == '█'), "{line}");
        }
        assert_eq!(drawn(&curve(&constant, 1.0, 0), 1.0).chars().count(), 1);
    }
}
