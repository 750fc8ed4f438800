//! What a trial's run is heard to say: passed on to its observer, and, where it tells scores, into the journal and to the rule
//! that stops trainings.
//!
//! Deliberately absent: the rule.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::{Drive, Stop, number};
use crate::fingerprint::Key;
use crate::hub;
use crate::outcome::Reason;
use crate::plan::{Plan, Step};
use crate::run::{Observer, RunError};
use crate::spec::sweep::{Prune, PruneSettings};
use crate::stage::{Curves, Progress, Validation};
use crate::store::StepRecord;
use crate::sweep::ledger::Event;
use crate::sweep::prune::{asha, median};
use crate::sweep::trial::Replicate;

pub(super) struct Listener<'a> {
    drive: &'a Drive<'a>,
    trial: usize,
    replicate: Replicate,
    stop: &'a Stop,
    inner: Box<dyn Observer + 'a>,
}

impl<'a> Listener<'a> {
    pub(super) fn new(
        drive: &'a Drive<'a>,
        trial: usize,
        replicate: Replicate,
        stop: &'a Stop,
        plan: &Plan,
        shown: Option<Replicate>,
    ) -> Self {
        Listener {
            drive,
            trial,
            replicate,
            stop,
            inner: drive.observer.began(plan, trial, shown),
        }
    }

    fn scored(&self, validation: &Validation) {
        let (trial, run) = (self.trial, self.replicate);
        let value = number(&validation.scores, self.drive.sweep.goal.metric);
        let event = Event::Validated {
            trial,
            run,
            step: validation.step,
            value,
        };
        if let Err(error) = self.drive.record(event) {
            self.drive
                .observer
                .warned(&format!("a score was not written down: {error}"));
        }
        let goes_on = match &self.drive.sweep.settings.prune {
            Some(prune) => self.goes_on(prune),
            None => true,
        };
        if !goes_on {
            self.stop.pruned.store(true, Ordering::Relaxed);
            self.stop.now.store(true, Ordering::Relaxed);
        }
    }

    fn goes_on(&self, prune: &PruneSettings) -> bool {
        let direction = self.drive.sweep.goal.direction;
        let worst = match direction {
            crate::spec::sweep::Direction::Maximize => f64::NEG_INFINITY,
            crate::spec::sweep::Direction::Minimize => f64::INFINITY,
        };
        let ledger = self.drive.ledger();
        let curve = |trial: usize| -> Vec<f64> {
            let run = ledger.trials()[trial].runs.get(&self.replicate);
            let values = run.into_iter().flat_map(|run| &run.curve);
            values.map(|(_, value)| value.unwrap_or(worst)).collect()
        };
        let own = curve(self.trial);
        let others: Vec<Vec<f64>> = (0..ledger.trials().len())
            .filter(|&trial| trial != self.trial)
            .map(curve)
            .collect();
        drop(ledger);
        let others: Vec<&[f64]> = others
            .iter()
            .map(Vec::as_slice)
            .filter(|curve| !curve.is_empty())
            .collect();
        match prune.name {
            Prune::Asha => asha(&others, &own, prune.reduction, prune.first, direction),
            Prune::Median => median(&others, &own, prune.min_trials, prune.first, direction),
        }
    }
}

impl Observer for Listener<'_> {
    fn started<'a>(&'a self, step: &Step, key: Key, reason: &Reason) -> Box<dyn Progress + 'a> {
        let inner = self.inner.started(step, key, reason);
        match step.name == self.drive.sweep.goal.stage {
            true => Box::new(Heard {
                listener: self,
                inner,
            }),
            false => inner,
        }
    }

    fn waiting(&self, step: &Step) {
        self.inner.waiting(step);
    }

    fn waiting_for(&self, step: &Step, who: &str) {
        self.inner.waiting_for(step, who);
    }

    fn fetching<'a>(&'a self, step: &Step, place: &str) -> Box<dyn hub::Progress + Send + 'a> {
        self.inner.fetching(step, place)
    }

    fn finished(&self, step: &Step, record: &StepRecord) {
        self.inner.finished(step, record);
    }

    fn failed(&self, step: &Step, error: &RunError) {
        self.inner.failed(step, error);
    }

    fn placed(&self, step: &Step, to: &Path) {
        self.inner.placed(step, to);
    }

    fn uploading<'a>(&'a self, step: &Step) -> Box<dyn hub::Progress + 'a> {
        self.inner.uploading(step)
    }

    fn published(&self, step: &Step, address: Option<&str>) {
        self.inner.published(step, address);
    }

    fn warned(&self, text: &str) {
        self.inner.warned(text);
    }
}

/// The voice of the stage whose scores are the goal.
struct Heard<'a> {
    listener: &'a Listener<'a>,
    inner: Box<dyn Progress + 'a>,
}

impl Progress for Heard<'_> {
    fn start(&self, what: &str, total: u64, unit: &str) {
        self.inner.start(what, total, unit);
    }

    fn advance(&self, units: u64) {
        self.inner.advance(units);
    }

    fn state(&self, text: &str) {
        self.inner.state(text);
    }

    fn validated(&self, validation: &Validation) {
        self.inner.validated(validation);
        self.listener.scored(validation);
    }

    fn curves(&self) -> Option<&dyn Curves> {
        self.inner.curves()
    }

    fn say(&self, line: &str) {
        self.inner.say(line);
    }

    fn warn(&self, line: &str) {
        self.inner.warn(line);
    }
}
