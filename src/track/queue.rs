//! A thread that takes what is told, and the queue before it.
//!
//! Whoever tells waits for nobody: a full queue takes no more numbers, and that is counted. When a sink is in trouble for
//! now, the thread tries again, less and less often, and a last time when the program ends.
//!
//! Promise: the end of a program waits until a given moment and no longer, whatever the sink does.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Entry, Sink, Trouble};

/// How many entries wait at most: at ten steps a second, those of half an hour.
const CAPACITY: usize = 20_000;
/// How many a sink gets at once.
const HELPING: usize = 1_000;
/// The wait after the first failed attempt; each further one waits twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A sink at work.
pub(super) struct Worker {
    /// What it is to the user.
    name: String,
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    /// How many numbers were told, and how many of them arrived.
    told: usize,
    arrived: usize,
    /// The last trouble, and whether the first one is still to be spoken of.
    trouble: Option<String>,
    news: bool,
    /// No more will be told.
    closed: bool,
    /// Nobody waits any more.
    abandoned: bool,
    /// The thread has come to its end.
    ended: bool,
}

impl Worker {
    pub(super) fn start(name: String, sink: impl Sink + Send + 'static) -> Worker {
        let queue = Arc::new(Queue::default());
        let thread = std::thread::Builder::new().name("tracking".to_owned());
        let started = thread.spawn({
            let queue = Arc::clone(&queue);
            move || {
                let _ends = Ends(&queue);
                work(&queue, sink);
            }
        });
        if let Err(error) = started {
            queue.trouble(format!("no thread could be started: {error}"));
            queue.state().ended = true;
        }
        Worker { name, queue }
    }

    pub(super) fn put(&self, entry: Entry) {
        let mut state = self.queue.state();
        state.told += entry.weight();
        // What weighs nothing is rare, and says what the rest belongs to.
        if state.entries.len() < CAPACITY || entry.weight() == 0 {
            state.entries.push_back(entry);
            self.queue.changed.notify_all();
        }
    }

    /// The first trouble, to be spoken of once.
    pub(super) fn news(&self) -> Option<String> {
        let mut state = self.queue.state();
        if !std::mem::take(&mut state.news) {
            return None;
        }
        let reason = state.trouble.as_deref().unwrap_or_default();
        Some(format!(
            "{} does not take the numbers of this run: {reason}; the training goes on without, and it is tried again",
            self.name
        ))
    }

    /// Nothing more will be told.
    pub(super) fn close(&self) {
        self.queue.state().closed = true;
        self.queue.changed.notify_all();
    }

    /// Waits for the thread, until then. What did not arrive, as a warning.
    pub(super) fn end(&self, until: Instant) -> Option<String> {
        let left = until.saturating_duration_since(Instant::now());
        let waited = self
            .queue
            .changed
            .wait_timeout_while(self.queue.state(), left, |state| !state.ended);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.abandoned = true;
        let lost = state.told.saturating_sub(state.arrived);
        if lost == 0 && state.trouble.is_none() {
            return None;
        }
        let reason = match &state.trouble {
            Some(reason) => reason.clone(),
            None if state.ended => "there were too many at once".to_owned(),
            None => "it is too slow".to_owned(),
        };
        // What arrived late is no loss.
        (lost > 0 || state.entries.iter().any(|entry| entry.weight() == 0)).then(|| {
            format!(
                "{} did not take {lost} of the {} numbers of this run: {reason}",
                self.name, state.told
            )
        })
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as `goes_on` says so, or until `most` is over.
    fn wait(&self, most: Duration, goes_on: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self
            .changed
            .wait_timeout_while(self.state(), most, |state| goes_on(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn trouble(&self, reason: String) {
        let mut state = self.state();
        state.news |= state.trouble.is_none();
        state.trouble = Some(reason);
    }

    /// What to take next, sorted by training; none at the end.
    fn next(&self, pause: Duration) -> Option<Vec<Entry>> {
        drop(self.wait(pause, |state| !state.closed));
        let mut state = self.wait(Duration::MAX, |state| {
            state.entries.is_empty() && !state.closed
        });
        if state.entries.is_empty() || state.abandoned {
            return None;
        }
        let count = state.entries.len().min(HELPING);
        let mut helping: Vec<Entry> = state.entries.drain(..count).collect();
        helping.sort_by_key(|entry| Arc::as_ptr(&entry.training));
        Some(helping)
    }
}

fn work(queue: &Queue, mut sink: impl Sink) {
    let mut wait = FIRST_WAIT;
    while let Some(helping) = queue.next(sink.pause()) {
        for entries in helping.chunk_by(|a, b| Arc::ptr_eq(&a.training, &b.training)) {
            loop {
                match sink.take(&entries[0].training, entries) {
                    Ok(()) => {
                        queue.state().arrived += entries.iter().map(Entry::weight).sum::<usize>();
                        wait = FIRST_WAIT;
                        break;
                    }
                    Err(Trouble::ForGood(reason)) => {
                        queue.trouble(reason);
                        break;
                    }
                    Err(Trouble::ForNow(reason)) => {
                        queue.trouble(reason);
                        if queue.state().closed {
                            return;
                        }
                        drop(queue.wait(wait, |state| !state.closed));
                        wait = (wait * 2).min(LONGEST_WAIT);
                    }
                }
            }
        }
    }
}

/// Says that the thread has ended, however it did.
struct Ends<'a>(&'a Queue);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.changed.notify_all();
    }
}
