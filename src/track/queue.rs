//! A thread that takes what is told, and the queue before it.
//!
//! Whoever tells waits for nobody: a full queue takes no more numbers, and that is counted. When a sink is in trouble for
//! now, the thread tries again, less and less often, and a last time when the program ends.
//!
//! Promise: the end of a program waits as long as something arrives every few seconds, and a minute at most, whatever the sink
//! does.

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
/// How long the end of a program waits for something to arrive, and for all of it.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

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
    told: Count,
    arrived: Count,
    /// When something arrived last.
    heard: Option<Instant>,
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

#[derive(Default, Clone, Copy, PartialEq)]
struct Count {
    entries: usize,
    numbers: usize,
}

impl Count {
    fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        self.numbers += entry.weight();
    }
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
        state.told.add(&entry);
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

    /// Waits for the thread, after it was closed at that time. What did not arrive, as a warning.
    pub(super) fn end(&self, closed: Instant) -> Option<String> {
        let mut state = self.queue.state();
        while !state.ended {
            let heard = state.heard.map_or(closed, |heard| heard.max(closed));
            let until = (heard + PATIENCE).min(closed + LONGEST_PATIENCE);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.queue.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.abandoned = true;
        if state.arrived == state.told {
            return None;
        }
        let reason = match &state.trouble {
            Some(reason) => reason.as_str(),
            None if state.ended => "there were too many at once",
            None => "it is too slow",
        };
        let (name, all) = (&self.name, state.told.numbers);
        Some(match all - state.arrived.numbers {
            0 => format!("{name} was not told how this run ended: {reason}"),
            lost => {
                format!("{name} did not take {lost} of the {all} numbers of this run: {reason}")
            }
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
                        let mut state = queue.state();
                        entries.iter().for_each(|entry| state.arrived.add(entry));
                        state.heard = Some(Instant::now());
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::SystemTime;

    use serde_json::Value;

    use super::*;
    use crate::fingerprint::{FORMAT, Fingerprint};
    use crate::track::{End, Spec, Told, Training};

    fn training(stage: &str) -> Arc<Training> {
        let spec = Spec {
            pipeline: "p".to_owned(),
            text: String::new(),
            commit: None,
        };
        let fingerprint = Fingerprint {
            format: FORMAT,
            kind: "train".to_owned(),
            version: 1,
            settings: Value::Null,
            files: Default::default(),
            inputs: Default::default(),
        };
        Arc::new(Training {
            spec: Arc::new(spec),
            stage: stage.to_owned(),
            key: fingerprint.key(),
            trial: None,
            settings: Value::Null,
        })
    }

    fn entry(training: &Arc<Training>, told: Told) -> Entry {
        Entry {
            training: Arc::clone(training),
            time: SystemTime::now(),
            told,
        }
    }

    fn drawn(training: &Arc<Training>, step: u64) -> Entry {
        let numbers = vec![("a".to_owned(), 0.0), ("b".to_owned(), 0.0)];
        entry(training, Told::Drawn { step, numbers })
    }

    /// Takes nothing before it is told what to answer, and tells what it took.
    struct Played {
        answers: Receiver<Result<(), Trouble>>,
        took: Sender<(String, Vec<u64>)>,
    }

    impl Sink for Played {
        fn take(&mut self, training: &Training, entries: &[Entry]) -> Result<(), Trouble> {
            let step = |entry: &Entry| match entry.told {
                Told::Drawn { step, .. } => step,
                _ => 0,
            };
            let steps = entries.iter().map(step).collect();
            let _ = self.took.send((training.stage.clone(), steps));
            self.answers.recv().unwrap_or(Ok(()))
        }

        fn pause(&self) -> Duration {
            Duration::ZERO
        }
    }

    type Said = (Sender<Result<(), Trouble>>, Receiver<(String, Vec<u64>)>);

    fn worker() -> (Worker, Said) {
        let (answer, answers) = channel();
        let (took, taken) = channel();
        let worker = Worker::start("It".to_owned(), Played { answers, took });
        (worker, (answer, taken))
    }

    #[test]
    fn what_waits_is_bounded_and_what_finds_no_place_is_counted() {
        let (worker, (answer, taken)) = worker();
        let one = training("one");
        worker.put(drawn(&one, 0));
        // The first one keeps the sink busy.
        taken.recv().unwrap();
        for step in 0..CAPACITY + 500 {
            worker.put(drawn(&one, step as u64));
        }
        worker.put(entry(&one, Told::Ended(End::Finished)));
        assert_eq!(worker.queue.state().entries.len(), CAPACITY + 1);
        drop(answer);
        worker.close();
        let all = 2 * (CAPACITY + 501);
        let wanted = format!(
            "It did not take 1000 of the {all} numbers of this run: there were too many at once"
        );
        assert_eq!(worker.end(Instant::now()), Some(wanted));
        assert_eq!(worker.news(), None);
    }

    #[test]
    fn a_sink_in_trouble_is_asked_again_in_order_and_loses_nothing() {
        let (worker, (answer, taken)) = worker();
        let (one, two) = (training("one"), training("two"));
        worker.put(drawn(&one, 1));
        let first = taken.recv().unwrap();
        for step in 2..5 {
            worker.put(drawn(&one, step));
            worker.put(drawn(&two, step));
        }
        let trouble = Trouble::ForNow("it is away".to_owned());
        answer.send(Err(trouble)).unwrap();
        assert_eq!(taken.recv().unwrap(), first, "the same once more");
        let news = worker.news().unwrap();
        assert!(news.contains("it is away"), "{news}");
        assert_eq!(worker.news(), None, "it is spoken of once");
        drop(answer);
        let mut rest: Vec<_> = [taken.recv().unwrap(), taken.recv().unwrap()].into();
        rest.sort();
        let steps = vec![2, 3, 4];
        assert_eq!(
            rest,
            [("one".to_owned(), steps.clone()), ("two".to_owned(), steps)]
        );
        worker.close();
        assert_eq!(worker.end(Instant::now()), None);
    }

    #[test]
    fn the_end_waits_no_longer_than_it_should() {
        let (worker, (_answer, taken)) = worker();
        let one = training("one");
        worker.put(drawn(&one, 1));
        taken.recv().unwrap();
        worker.put(drawn(&one, 2));
        worker.close();
        let warning = worker.end(Instant::now() - LONGEST_PATIENCE).unwrap();
        assert_eq!(
            warning,
            "It did not take 4 of the 4 numbers of this run: it is too slow"
        );
    }

    #[test]
    fn an_end_that_nobody_heard_is_told_of() {
        let (worker, (answer, taken)) = worker();
        let one = training("one");
        worker.put(drawn(&one, 1));
        taken.recv().unwrap();
        answer.send(Ok(())).unwrap();
        worker.put(entry(&one, Told::Ended(End::Finished)));
        taken.recv().unwrap();
        worker.close();
        answer
            .send(Err(Trouble::ForNow("away".to_owned())))
            .unwrap();
        let wanted = "It was not told how this run ended: away";
        assert_eq!(worker.end(Instant::now()).as_deref(), Some(wanted));
    }
}
