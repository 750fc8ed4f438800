//! How a sweep shows itself while it runs: a bar over all trials and a line for each that ended.
//!
//! Deliberately absent: the table at the end, which is a result.

use std::sync::Mutex;

use indicatif::ProgressBar;

use super::show::{Names, score};
use super::{Terminal, seconds_of};
use crate::plan::Plan;
use crate::run;
use crate::sweep::Sweep;
use crate::sweep::drive::Observer;
use crate::sweep::ledger::Ledger;
use crate::sweep::results::{State, rows};
use crate::sweep::trial::Replicate;
use crate::track::Tracker;

pub(super) struct Voice<'a, 'i> {
    terminal: &'a Terminal<'i>,
    sweep: &'a Sweep<'a>,
    names: &'a Names,
    tracker: &'a Tracker,
    state: Mutex<Shown>,
    bar: Option<ProgressBar>,
}

#[derive(Default)]
struct Shown {
    ended: usize,
    all: usize,
    known: usize,
    best: Option<(usize, f64)>,
}

impl<'a, 'i> Voice<'a, 'i> {
    pub(super) fn new(
        terminal: &'a Terminal<'i>,
        sweep: &'a Sweep<'a>,
        names: &'a Names,
        tracker: &'a Tracker,
    ) -> Self {
        let bar = terminal.bar(
            "          {wide_bar} {pos}/{len} trials, {eta} left  {msg}",
            0,
        );
        Voice {
            terminal,
            sweep,
            names,
            tracker,
            state: Mutex::default(),
            bar,
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Shown) -> T) -> Option<T> {
        self.state.lock().ok().map(|mut state| change(&mut state))
    }
}

/// What those who follow call a run of a trial.
pub(super) fn trial(number: usize, replicate: Option<Replicate>) -> String {
    match replicate {
        None => format!("trial-{number}"),
        Some(Replicate { repeat, fold: None }) => format!("trial-{number}-repeat-{repeat}"),
        Some(Replicate {
            repeat,
            fold: Some(fold),
        }) => format!("trial-{number}-repeat-{repeat}-fold-{fold}"),
    }
}

impl Drop for Voice<'_, '_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let known = self.with(|shown| shown.known).unwrap_or_default();
        if known > 0 {
            let trials = if known == 1 {
                "trial was"
            } else {
                "trials were"
            };
            self.terminal
                .line(&format!("   known  {known} {trials} up to date"));
        }
    }
}

impl Observer for Voice<'_, '_> {
    fn counted(&self, ended: usize, all: usize, best: Option<(usize, f64)>) {
        self.with(|shown| {
            shown.ended = ended;
            shown.all = all;
            shown.best = best;
        });
        if let Some(bar) = &self.bar {
            bar.set_length(all as u64);
            bar.set_position(ended as u64);
            if let Some((trial, score)) = best {
                bar.set_message(format!("best {score:.4} (trial {trial})"));
            }
        }
    }

    fn began<'o>(
        &'o self,
        plan: &Plan,
        trial: usize,
        replicate: Option<Replicate>,
    ) -> Box<dyn run::Observer + 'o> {
        let name = match replicate {
            Some(replicate) => format!("trial {trial} ({replicate})"),
            None => format!("trial {trial}"),
        };
        let terminal = Box::new(self.terminal.of(name));
        let trial = Some(self::trial(trial, replicate));
        Box::new((self.tracker).observe(terminal, plan, self.sweep.store, trial))
    }

    fn ended(&self, ledger: &Ledger, trial: usize, known: bool) {
        let shown = rows(self.sweep, ledger, &[trial]);
        let Some(row) = shown.first() else { return };
        if known && row.state == State::Done {
            self.with(|shown| shown.known += 1);
            return;
        }
        let told = match row.state {
            State::Failed => row.message.clone().unwrap_or_default(),
            State::Pruned => {
                let validations: usize = row.runs.iter().map(|(_, run)| run.curve.len()).sum();
                format!("after {validations} validations")
            }
            _ => score(row),
        };
        // One that the user stopped is no news.
        if !matches!(row.state, State::Done | State::Pruned | State::Failed) {
            return;
        }
        let count = self.with(|shown| (shown.ended + 1, shown.all));
        let count = count
            .map(|(ended, all)| format!("{ended}/{all}"))
            .unwrap_or_default();
        self.terminal.line(&format!(
            "{:>8}  {count}  trial {trial}  {}  {told}  {}",
            row.state.name(),
            self.names.told(row.assignment),
            seconds_of(row.seconds)
        ));
    }

    fn elsewhere(&self, trial: usize) {
        self.terminal
            .line(&format!("    left  trial {trial} to another process"));
    }

    fn warned(&self, text: &str) {
        run::Observer::warned(self.terminal, text);
    }
}
