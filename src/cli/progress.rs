//! How a run shows itself: bars with rate and time left on a terminal, plain lines elsewhere. All of it on stderr.
//!
//! Deliberately absent: results, which go to stdout.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::fetch::Transfers;
use super::{drawn, seconds, tell};
use crate::fingerprint::Key;
use crate::hub;
use crate::outcome::{Outcome, Reason};
use crate::plan::{Plan, Step};
use crate::run::{Observer, RunError};
use crate::stage::Progress;
use crate::store::StepRecord;
use crate::track::Tracker;

/// How often a line is printed where no bar can be drawn.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The terminal, or a file that stands in for one.
pub(super) struct Terminal<'i> {
    interrupted: &'i AtomicBool,
    bars: MultiProgress,
    drawn: bool,
    width: usize,
    warned: Arc<Mutex<BTreeSet<String>>>,
    /// What it speaks for, when it speaks for one of several runs side by side: only long work and what went wrong.
    of: Option<String>,
}

impl<'i> Terminal<'i> {
    pub(super) fn new(plan: &Plan, interrupted: &'i AtomicBool) -> Self {
        use std::io::IsTerminal;
        Terminal {
            interrupted,
            bars: MultiProgress::new(),
            drawn: std::io::stderr().is_terminal(),
            width: plan
                .steps
                .iter()
                .map(|step| step.name.len())
                .max()
                .unwrap_or_default(),
            warned: Arc::default(),
            of: None,
        }
    }

    /// The voice of one of several runs side by side.
    pub(super) fn of(&self, name: String) -> Terminal<'i> {
        Terminal {
            interrupted: self.interrupted,
            bars: self.bars.clone(),
            drawn: self.drawn,
            width: self.width,
            warned: Arc::clone(&self.warned),
            of: Some(name),
        }
    }

    /// A bar below those of the stages, where bars can be drawn.
    pub(super) fn bar(&self, template: &str, total: u64) -> Option<ProgressBar> {
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total).with_style(style);
        self.drawn.then(|| self.bars.add(bar))
    }

    pub(super) fn line(&self, text: &str) {
        self.bars.suspend(|| tell(&format!("{text}\n")));
    }

    /// Waits for those who follow, and says what did not reach them.
    pub(super) fn warn_of(&self, tracker: Tracker) {
        for lost in tracker.finish() {
            self.warned(&lost);
        }
    }

    fn stage_line(&self, word: &str, stage: &str, text: &str) {
        if let Some(of) = &self.of {
            self.line(format!("{word:>8}  {of}  {stage}  {text}").trim_end());
            return;
        }
        self.line(format!("{word:>8}  {stage:width$}  {text}", width = self.width).trim_end());
    }

    /// The same warning from two stages is one warning.
    fn warn_once(&self, text: &str, line: &dyn Fn()) {
        let new = self
            .warned
            .lock()
            .map_or(true, |mut warned| warned.insert(text.to_owned()));
        if new {
            line();
        }
    }
}

impl Observer for Terminal<'_> {
    fn started<'a>(&'a self, step: &Step, _: Key, reason: &Reason) -> Box<dyn Progress + 'a> {
        if self.of.is_none() {
            self.stage_line("run", &step.name, &reason.to_string());
        }
        Box::new(Voice {
            terminal: self,
            stage: step.name.clone(),
            phase: Mutex::default(),
        })
    }

    fn waiting(&self, step: &Step) {
        // Runs side by side wait for each other all the time.
        if self.of.is_some() {
            return;
        }
        self.stage_line(
            "waiting",
            &step.name,
            "another refit is building the same key",
        );
    }

    fn waiting_for(&self, step: &Step, who: &str) {
        let text = format!("{who} is building the same key");
        self.stage_line("waiting", &step.name, &text);
    }

    fn fetching<'a>(&'a self, step: &Step, place: &str) -> Box<dyn hub::Progress + Send + 'a> {
        if self.of.is_none() {
            self.stage_line("fetch", &step.name, place);
        }
        Box::new(Transfers::new(self.interrupted))
    }

    fn finished(&self, step: &Step, record: &StepRecord) {
        if self.of.is_some() {
            return;
        }
        let text = match record.outcome {
            Outcome::Built => seconds(record.seconds),
            Outcome::Fresh if record.reason == Reason::UpToDate => String::new(),
            _ => record.reason.to_string(),
        };
        self.stage_line(&record.outcome.to_string(), &step.name, &text);
    }

    fn failed(&self, step: &Step, error: &RunError) {
        let of = self
            .of
            .as_ref()
            .map(|of| format!(" of {of}"))
            .unwrap_or_default();
        self.line(&format!(
            "\n`{}`{of} failed:\n{}",
            step.name,
            drawn(error).trim_end_matches('\n')
        ));
    }

    fn placed(&self, step: &Step, to: &Path) {
        self.stage_line("placed", &step.name, &to.display().to_string());
    }

    fn uploading<'a>(&'a self, step: &Step) -> Box<dyn hub::Progress + 'a> {
        self.stage_line("upload", &step.name, "");
        Box::new(Transfers::new(self.interrupted))
    }

    fn published(&self, step: &Step, address: Option<&str>) {
        let text = address.unwrap_or("the hub had all of it");
        self.stage_line("uploaded", &step.name, text);
    }

    fn warned(&self, text: &str) {
        self.warn_once(text, &|| self.line(&format!(" warning  {text}")));
    }
}

/// One stage's voice.
struct Voice<'a> {
    terminal: &'a Terminal<'a>,
    stage: String,
    phase: Mutex<Phase>,
}

#[derive(Default)]
struct Phase {
    what: String,
    unit: String,
    done: u64,
    total: u64,
    state: String,
    began: Option<Instant>,
    printed: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Voice<'_> {
    fn with(&self, change: impl FnOnce(&mut Phase)) {
        if let Ok(mut phase) = self.phase.lock() {
            change(&mut phase);
        }
    }
}

impl Progress for Voice<'_> {
    fn start(&self, what: &str, total: u64, unit: &str) {
        self.with(|phase| {
            if let Some(bar) = phase.bar.take() {
                bar.finish_and_clear();
            }
            *phase = Phase { what: what.to_owned(), unit: unit.to_owned(), total, began: Some(Instant::now()), ..Phase::default() };
            if self.terminal.drawn {
                let template = format!("          {{prefix}}  {{wide_bar}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left  {{msg}}");
                let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = self.terminal.bars.add(ProgressBar::new(total).with_style(style));
                let of = self.terminal.of.as_ref().map(|of| format!("{of} ")).unwrap_or_default();
                bar.set_prefix(format!("{of}{} {what}", self.stage));
                bar.enable_steady_tick(Duration::from_millis(250));
                phase.bar = Some(bar);
            }
        });
    }

    fn advance(&self, units: u64) {
        self.with(|phase| {
            phase.done += units;
            if let Some(bar) = &phase.bar {
                bar.inc(units);
                return;
            }
            let now = Instant::now();
            let since = phase
                .printed
                .or(phase.began)
                .map_or(PLAIN_INTERVAL, |then| now - then);
            if since >= PLAIN_INTERVAL && phase.done < phase.total {
                phase.printed = Some(now);
                let line = plain_line(phase, now);
                self.terminal.stage_line("", &self.stage, &line);
            }
        });
    }

    fn state(&self, text: &str) {
        self.with(|phase| {
            text.clone_into(&mut phase.state);
            if let Some(bar) = &phase.bar {
                bar.set_message(text.to_owned());
            }
        });
    }

    fn say(&self, line: &str) {
        if self.terminal.of.is_some() {
            return;
        }
        self.terminal.stage_line("", &self.stage, line);
    }

    fn warn(&self, line: &str) {
        self.terminal.warn_once(line, &|| {
            self.terminal.stage_line("warning", &self.stage, line)
        });
    }
}

impl Drop for Voice<'_> {
    fn drop(&mut self) {
        self.with(|phase| {
            if let Some(bar) = phase.bar.take() {
                bar.finish_and_clear();
            }
        });
    }
}

fn plain_line(phase: &Phase, now: Instant) -> String {
    let elapsed = phase.began.map_or(0.0, |began| (now - began).as_secs_f64());
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of steps, shown with one digit"
    )]
    let (done, total) = (phase.done as f64, phase.total as f64);
    let rate = if elapsed > 0.0 { done / elapsed } else { 0.0 };
    if phase.total == 0 {
        return format!("{} {} {}, {rate:.1}/s", phase.what, phase.done, phase.unit);
    }
    let left = if rate > 0.0 {
        seconds((total - done) / rate)
    } else {
        "?".to_owned()
    };
    let state = if phase.state.is_empty() {
        String::new()
    } else {
        format!(", {}", phase.state)
    };
    format!(
        "{} {}/{} {}, {rate:.1}/s, {left} left{state}",
        phase.what, phase.done, phase.total, phase.unit
    )
}

/// The progress of one thing that is done, where no pipeline runs: a bar on a terminal, now and then a line elsewhere.
pub(super) struct Bar {
    phase: Mutex<Phase>,
    plain: bool,
}

impl Bar {
    /// Shows nothing.
    pub(super) fn hidden() -> Bar {
        Bar {
            phase: Mutex::default(),
            plain: false,
        }
    }

    /// Of rows, whose number may be unknown.
    pub(super) fn rows(what: &str, total: Option<u64>) -> Bar {
        use std::io::IsTerminal;
        let mut phase = Phase {
            what: what.to_owned(),
            unit: "rows".to_owned(),
            total: total.unwrap_or_default(),
            began: Some(Instant::now()),
            ..Phase::default()
        };
        let drawn = std::io::stderr().is_terminal();
        if drawn {
            let (bar, template) = match total {
                Some(total) => (
                    ProgressBar::new(total),
                    "{prefix}  {wide_bar} {pos}/{len} rows, {per_sec}, {eta} left",
                ),
                None => (
                    ProgressBar::new_spinner(),
                    "{spinner} {prefix}  {pos} rows, {per_sec}",
                ),
            };
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = bar.with_style(style).with_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(250));
            phase.bar = Some(bar);
        }
        Bar {
            phase: Mutex::new(phase),
            plain: !drawn,
        }
    }

    pub(super) fn advance(&self, units: u64) {
        let Ok(mut phase) = self.phase.lock() else {
            return;
        };
        phase.done += units;
        if let Some(bar) = &phase.bar {
            bar.inc(units);
        }
        let now = Instant::now();
        let shown = phase.printed.or(phase.began);
        let due = shown.is_some_and(|then| now - then >= PLAIN_INTERVAL);
        if self.plain && due && (phase.total == 0 || phase.done < phase.total) {
            phase.printed = Some(now);
            tell(&format!("{}\n", plain_line(&phase, now)));
        }
    }

    /// Does something that prints, with the bar out of its way.
    pub(super) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        let bar = self.phase.lock().ok().and_then(|phase| phase.bar.clone());
        match bar {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Ok(mut phase) = self.phase.lock()
            && let Some(bar) = phase.bar.take()
        {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}
