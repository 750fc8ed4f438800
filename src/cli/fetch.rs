//! Fetching what a pipeline names elsewhere, before any of its stages runs.
//!
//! A fault is shown at the field that names what could not be fetched; all of them at once, and nothing has run then.
//!
//! Deliberately absent: how anything is fetched, and where it is kept. That is the hub's.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use miette::Diagnostic;

use super::{
    Exit, Failure, Resolved, planned, print_json, problems_json, problems_text, seconds, tell,
};
use crate::hub::{self, HubError, Remote};
use crate::spec::{Pipeline, Problem};
use crate::stage::Fault;

/// How often a line is printed where no bar can be drawn.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The same pipeline with everything at hand that the selected steps name elsewhere. With `update`, what revisions and
/// addresses mean is asked anew.
///
/// # Errors
/// Everything that could not be fetched; and a plan that what was fetched does not fit.
pub(super) fn everything(
    resolved: Resolved,
    selected: &BTreeSet<usize>,
    update: bool,
    interrupted: &AtomicBool,
    as_json: bool,
) -> Result<Resolved, Failure> {
    let wanted = resolved.plan.remotes(selected, update);
    if wanted.is_empty() {
        return Ok(resolved);
    }
    let wanted: Vec<Remote> = wanted.into_iter().collect();
    let mut at_hand = all(
        &resolved.pipeline,
        &wanted,
        &resolved.places,
        update,
        interrupted,
        as_json,
    )?;
    for step in &resolved.plan.steps {
        for remote in step.fetched.remotes() {
            if let (None, Some(local)) = (at_hand.get(remote), step.fetched.get(remote)) {
                at_hand.insert(remote.clone(), local.clone());
            }
        }
    }
    let plan = planned(&resolved.pipeline, Vec::new(), &at_hand, as_json)?;
    Ok(Resolved { plan, ..resolved })
}

/// All of these, fetched.
///
/// # Errors
/// Everything that could not be fetched, at the fields of the pipeline that name it.
pub(super) fn all(
    pipeline: &Pipeline,
    wanted: &[Remote],
    places: &hub::Places,
    update: bool,
    interrupted: &AtomicBool,
    as_json: bool,
) -> Result<hub::Fetched, Failure> {
    let environment = hub::Environment::of_process();
    let voice = Transfers::new(interrupted);
    let fetched = hub::fetch(&environment, wanted, places, update, &voice);
    drop(voice);
    match fetched {
        Ok(fetched) => Ok(fetched),
        Err(_) if interrupted.load(Ordering::Relaxed) => Err(Failure {
            exit: Exit::Interrupted,
            text: "interrupted; run the same command to go on\n".to_owned(),
        }),
        Err(errors) => Err(failure(pipeline, &errors, as_json)),
    }
}

/// Each error at the fields that name what it is about.
fn failure(pipeline: &Pipeline, errors: &[(Remote, HubError)], as_json: bool) -> Failure {
    let mut problems: Vec<Problem> = Vec::new();
    for stage in &pipeline.stages {
        for (field, remote) in stage.stage.remotes(pipeline.folder()) {
            for (_, error) in errors.iter().filter(|(about, _)| *about == remote) {
                let help = error
                    .help()
                    .map(|help| help.to_string())
                    .unwrap_or_default();
                let fault = Fault::new(field.clone(), with_causes(error), help);
                problems.push(pipeline.problem(stage, &fault));
            }
        }
    }
    // What only the value of a sweep names stands in no field.
    for (remote, error) in errors {
        let named = pipeline.stages.iter().any(|stage| {
            let mut remotes = stage.stage.remotes(pipeline.folder()).into_iter();
            remotes.any(|(_, other)| other == *remote)
        });
        if !named {
            let place = pipeline.sweep_place();
            let help = error.help().map(|help| help.to_string());
            problems.push(
                Problem::new(&place, with_causes(error), "a value of this sweep")
                    .help(help.unwrap_or_default()),
            );
        }
    }
    if as_json {
        print_json(&problems_json(&problems, &pipeline.sources));
    }
    Failure {
        exit: Exit::Failed,
        text: problems_text(&problems, pipeline),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A bar of bytes on a terminal, lines elsewhere.
pub(super) struct Transfers<'a> {
    verb: &'static str,
    interrupted: &'a AtomicBool,
    drawn: bool,
    transfer: Mutex<Option<Transfer>>,
}

struct Transfer {
    what: String,
    total: u64,
    done: u64,
    began: Instant,
    printed: Instant,
    bar: Option<ProgressBar>,
}

impl<'a> Transfers<'a> {
    pub(super) fn new(interrupted: &'a AtomicBool) -> Self {
        use std::io::IsTerminal;
        Transfers {
            verb: "fetch",
            interrupted,
            drawn: std::io::stderr().is_terminal(),
            transfer: Mutex::default(),
        }
    }

    /// Of what goes out.
    pub(super) fn sending(interrupted: &'a AtomicBool) -> Self {
        let mut transfers = Transfers::new(interrupted);
        transfers.verb = "send";
        transfers
    }

    fn with(&self, change: impl FnOnce(&mut Option<Transfer>)) {
        if let Ok(mut transfer) = self.transfer.lock() {
            change(&mut transfer);
        }
    }
}

impl hub::Progress for Transfers<'_> {
    fn start(&self, what: &str, bytes: u64) {
        self.with(|transfer| {
            finish(transfer.take());
            let bar = self.drawn.then(|| {
                let template = format!(
                    "{:>8}  {{prefix}}  {{wide_bar}} {{bytes}}/{{total_bytes}}, {{bytes_per_sec}}, {{eta}} left",
                    self.verb
                );
                let style = ProgressStyle::with_template(&template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = ProgressBar::new(bytes).with_style(style);
                bar.set_prefix(what.to_owned());
                bar.enable_steady_tick(Duration::from_millis(250));
                bar
            });
            if bar.is_none() {
                tell(&format!("{:>8}  {what}  {}\n", self.verb, HumanBytes(bytes)));
            }
            let now = Instant::now();
            *transfer = Some(Transfer {
                what: what.to_owned(),
                total: bytes,
                done: 0,
                began: now,
                printed: now,
                bar,
            });
        });
    }

    fn advance(&self, bytes: u64) {
        self.with(|transfer| {
            let Some(transfer) = transfer else { return };
            transfer.done += bytes;
            match &transfer.bar {
                Some(bar) => bar.inc(bytes),
                None if transfer.printed.elapsed() >= PLAIN_INTERVAL => {
                    transfer.printed = Instant::now();
                    tell(&transfer.line());
                }
                None => {}
            }
        });
    }

    fn say(&self, line: &str) {
        self.with(|transfer| {
            let line = format!("          {line}\n");
            match transfer.as_ref().and_then(|transfer| transfer.bar.as_ref()) {
                Some(bar) => bar.suspend(|| tell(&line)),
                None => tell(&line),
            }
        });
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

impl Transfer {
    fn line(&self) -> String {
        let elapsed = self.began.elapsed().as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of bytes, shown with two digits"
        )]
        let (done, total) = (self.done as f64, self.total as f64);
        let rate = if elapsed > 0.0 { done / elapsed } else { 0.0 };
        let left = match rate > 0.0 {
            true => seconds((total - done).max(0.0) / rate),
            false => "?".to_owned(),
        };
        format!(
            "          {} {}/{}, {}/s, {left} left\n",
            self.what,
            HumanBytes(self.done),
            HumanBytes(self.total),
            HumanBytes(rate as u64)
        )
    }
}

impl Drop for Transfers<'_> {
    fn drop(&mut self) {
        self.with(|transfer| finish(transfer.take()));
    }
}

fn finish(transfer: Option<Transfer>) {
    if let Some(bar) = transfer.and_then(|transfer| transfer.bar) {
        bar.finish_and_clear();
    }
}
