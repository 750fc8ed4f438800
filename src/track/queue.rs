//! A thread that takes what is told, and the queue before it.
//!
//! Whoever tells waits for nobody: a full queue takes no more numbers of steps, and that is counted. When a sink is in trouble,
//! the thread asks less and less often; what is worth another attempt is tried again, and a last time when the program ends. Where
//! it is the same trouble time and again, others wait, and the sink is well but for that, it is given up.
//!
//! Promise: the end of a program waits as long as something arrives every few seconds, and a minute at most, whatever the sink
//! does.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Entry, Sink, Told, Trouble};

/// How many entries wait at most: at ten steps a second, those of half an hour.
const CAPACITY: usize = 20_000;
/// How many a sink gets at once.
const HELPING: usize = 1_000;
/// The wait after the first failed attempt; each further one waits twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// After how many attempts that end alike something is given up, if there is reason to think that it will never be taken.
const ATTEMPTS: usize = 5;
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
    /// Why the last attempt did not succeed.
    trouble: Option<String>,
    /// Why something will never arrive: the first such reason.
    lost: Option<String>,
    /// What is still to be said, and whether it was spoken of once.
    news: Option<String>,
    spoken: bool,
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
            let mut state = queue.state();
            state.give_up(format!("no thread could be started: {error}"));
            state.ended = true;
        }
        Worker { name, queue }
    }

    pub(super) fn put(&self, entry: Entry) {
        let mut state = self.queue.state();
        state.told.add(&entry);
        // The others are few, and say how it began, ended and what came of it.
        let is_one_of_many = matches!(entry.told, Told::Drawn { .. });
        if state.entries.len() < CAPACITY || !is_one_of_many {
            state.entries.push_back(entry);
            self.queue.changed.notify_all();
        }
    }

    /// The first trouble, to be spoken of once.
    pub(super) fn news(&self) -> Option<String> {
        let news = self.queue.state().news.take()?;
        Some(format!("{} {news}", self.name))
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
        let reason = match state.lost.as_ref().or(state.trouble.as_ref()) {
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

    /// Waits, and longer the next time; not at the end.
    fn rest(&self, wait: &mut Duration) {
        drop(self.wait(*wait, |state| !state.closed));
        *wait = (*wait * 2).min(LONGEST_WAIT);
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

impl State {
    /// An attempt that is repeated did not succeed.
    fn fail(&mut self, reason: String) {
        self.speak(|| {
            format!(
                "does not take the numbers of this run: {reason}; the training goes on without, and it is tried again"
            )
        });
        self.trouble = Some(reason);
    }

    /// Something will never arrive.
    fn give_up(&mut self, reason: String) {
        self.speak(|| {
            format!("refuses numbers of this run: {reason}; the training goes on without")
        });
        self.lost.get_or_insert(reason);
    }

    fn speak(&mut self, news: impl Fn() -> String) {
        if !std::mem::replace(&mut self.spoken, true) {
            self.news = Some(news());
        }
    }

    /// All of these have arrived but so many numbers.
    fn arrive(&mut self, entries: &[Entry], lost: Option<usize>) {
        let numbers: usize = entries.iter().map(Entry::weight).sum();
        self.arrived.numbers += numbers.saturating_sub(lost.unwrap_or(0));
        self.arrived.entries += entries.len().saturating_sub(usize::from(lost.is_some()));
        self.heard = Some(Instant::now());
        self.trouble = None;
    }
}

fn work(queue: &Queue, mut sink: impl Sink) {
    let mut wait = FIRST_WAIT;
    while let Some(helping) = queue.next(sink.pause()) {
        let mut groups = helping
            .chunk_by(|a, b| Arc::ptr_eq(&a.training, &b.training))
            .peekable();
        while let Some(entries) = groups.next() {
            let others = groups.peek().is_some();
            if !bring(queue, &mut sink, entries, others, &mut wait) {
                return;
            }
        }
    }
}

/// Brings what was told of one training to the sink, or gives it up. Whether anybody still waits for that.
fn bring(
    queue: &Queue,
    sink: &mut impl Sink,
    entries: &[Entry],
    others: bool,
    wait: &mut Duration,
) -> bool {
    let mut alike = (String::new(), 0);
    loop {
        let goes_on = || !queue.state().abandoned;
        if !goes_on() {
            return false;
        }
        match sink.take(&entries[0].training, entries, &goes_on) {
            Ok(()) => {
                queue.state().arrive(entries, None);
                *wait = FIRST_WAIT;
                return true;
            }
            Err(Trouble::ForGood { reason, lost }) => {
                let mut state = queue.state();
                state.give_up(reason);
                state.arrive(entries, Some(lost));
                drop(state);
                queue.rest(wait);
                return true;
            }
            Err(Trouble::ForNow(reason)) => {
                let mut state = queue.state();
                state.fail(reason.clone());
                let others = others || !state.entries.is_empty();
                if state.closed {
                    // That was the last one.
                    state.lost.get_or_insert(reason);
                    return true;
                }
                drop(state);
                alike = match alike {
                    (before, count) if before == reason => (before, count + 1),
                    _ => (reason, 1),
                };
                if alike.1 >= ATTEMPTS && others && sink.is_well() {
                    queue.state().give_up(alike.0);
                    *wait = FIRST_WAIT;
                    return true;
                }
                queue.rest(wait);
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

    use super::*;
    use crate::track::Training;
    use crate::track::sample::{drawn, evaluated, finished, training};

    /// Takes nothing before it is told what to answer, and tells what it took.
    struct Played {
        answers: Receiver<Result<(), Trouble>>,
        took: Sender<(String, Vec<u64>)>,
        well: bool,
    }

    fn nothing() -> Duration {
        Duration::ZERO
    }

    fn for_now(reason: &str) -> Result<(), Trouble> {
        Err(Trouble::ForNow(reason.to_owned()))
    }

    fn for_good(reason: &str, lost: usize) -> Result<(), Trouble> {
        let reason = reason.to_owned();
        Err(Trouble::ForGood { reason, lost })
    }

    impl Sink for Played {
        fn take(
            &mut self,
            training: &Training,
            entries: &[Entry],
            _goes_on: &dyn Fn() -> bool,
        ) -> Result<(), Trouble> {
            let step = |entry: &Entry| match entry.told {
                Told::Drawn { step, .. } => step,
                _ => 0,
            };
            let steps = entries.iter().map(step).collect();
            let _ = self.took.send((training.stage.clone(), steps));
            self.answers.recv().unwrap_or(Ok(()))
        }

        fn is_well(&mut self) -> bool {
            self.well
        }

        fn pause(&self) -> Duration {
            Duration::ZERO
        }
    }

    type Said = (Sender<Result<(), Trouble>>, Receiver<(String, Vec<u64>)>);

    fn worker() -> (Worker, Said) {
        let (sink, said) = played(true);
        (Worker::start("It".to_owned(), sink), said)
    }

    fn played(well: bool) -> (Played, Said) {
        let (answer, answers) = channel();
        let (took, taken) = channel();
        let sink = Played {
            answers,
            took,
            well,
        };
        (sink, (answer, taken))
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
        worker.put(finished(&one));
        // The scores of a whole training are worth more than those of one step.
        worker.put(evaluated(&one));
        assert_eq!(worker.queue.state().entries.len(), CAPACITY + 2);
        drop(answer);
        worker.close();
        let all = 2 * (CAPACITY + 501) + 1;
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
        worker.put(finished(&one));
        taken.recv().unwrap();
        worker.close();
        answer
            .send(Err(Trouble::ForNow("away".to_owned())))
            .unwrap();
        let wanted = "It was not told how this run ended: away";
        assert_eq!(worker.end(Instant::now()).as_deref(), Some(wanted));
    }

    #[test]
    fn what_is_refused_is_counted_and_the_rest_arrives() {
        let (worker, (answer, taken)) = worker();
        let one = training("one");
        worker.put(drawn(&one, 1));
        taken.recv().unwrap();
        worker.put(drawn(&one, 2));
        worker.put(drawn(&one, 3));
        worker.close();
        answer.send(for_good("not this", 2)).unwrap();
        taken.recv().unwrap();
        answer.send(for_good("nor that", 1)).unwrap();
        assert_eq!(
            worker.end(Instant::now()).as_deref(),
            Some("It did not take 3 of the 6 numbers of this run: not this")
        );
        assert_eq!(
            worker.news().as_deref(),
            Some("It refuses numbers of this run: not this; the training goes on without")
        );
    }

    #[test]
    fn a_trouble_that_is_over_is_no_reason_for_anything() {
        let (worker, (answer, taken)) = worker();
        let one = training("one");
        worker.put(drawn(&one, 0));
        taken.recv().unwrap();
        answer.send(for_now("it is away")).unwrap();
        taken.recv().unwrap();
        answer.send(Ok(())).unwrap();
        worker.put(drawn(&one, 1));
        taken.recv().unwrap();
        for step in 0..=CAPACITY {
            worker.put(drawn(&one, step as u64));
        }
        drop(answer);
        worker.close();
        let warning = worker.end(Instant::now()).unwrap();
        assert!(warning.contains("did not take 2 of"), "{warning}");
        assert!(warning.contains("too many at once"), "{warning}");
    }

    #[test]
    fn what_a_sink_that_is_well_never_takes_is_given_up_where_others_wait() {
        let (one, two) = (training("one"), training("two"));
        let entries = |training: &Arc<Training>| vec![drawn(training, 1)];
        // Others wait, it is well → given up.
        for (others, well, given_up) in [
            (true, true, true),
            (true, false, false),
            (false, true, false),
        ] {
            let (mut sink, (answer, taken)) = played(well);
            let queue = Queue::default();
            for _ in 0..ATTEMPTS {
                answer.send(for_now("it answers 500")).unwrap();
            }
            if others {
                queue.state().entries.push_back(drawn(&two, 1));
            }
            drop(answer);
            let mut wait = Duration::ZERO;
            assert!(bring(&queue, &mut sink, &entries(&one), false, &mut wait));
            let attempts = taken.try_iter().count();
            let expected = ATTEMPTS + usize::from(!given_up);
            assert_eq!(attempts, expected, "others: {others}, well: {well}");
            assert_eq!(queue.state().lost.is_some(), given_up);
            assert_eq!(queue.state().arrived.numbers, if given_up { 0 } else { 2 });
        }
        // Troubles that differ are another matter.
        let (mut sink, (answer, taken)) = played(true);
        let queue = Queue::default();
        queue.state().entries.push_back(drawn(&two, 1));
        for attempt in 0..2 * ATTEMPTS {
            answer.send(for_now(&format!("{}", attempt % 2))).unwrap();
        }
        drop(answer);
        assert!(bring(
            &queue,
            &mut sink,
            &entries(&one),
            false,
            &mut nothing()
        ));
        assert_eq!(taken.try_iter().count(), 2 * ATTEMPTS + 1);
    }

    #[test]
    fn at_the_end_one_trouble_keeps_no_other_training_from_its_last_attempt() {
        let (worker, (answer, taken)) = worker();
        let (one, two, three) = (training("one"), training("two"), training("three"));
        worker.put(drawn(&one, 1));
        taken.recv().unwrap();
        worker.put(drawn(&two, 1));
        worker.put(drawn(&three, 1));
        worker.close();
        answer.send(Ok(())).unwrap();
        answer.send(for_now("it is away")).unwrap();
        answer.send(Ok(())).unwrap();
        assert_eq!(taken.iter().take(2).count(), 2);
        assert_eq!(
            worker.end(Instant::now()).as_deref(),
            Some("It did not take 2 of the 6 numbers of this run: it is away")
        );
    }

    #[test]
    fn a_thread_that_nobody_waits_for_takes_no_more() {
        let (mut sink, (answer, taken)) = played(true);
        let queue = Queue::default();
        let one = training("one");
        queue.state().abandoned = true;
        drop(answer);
        let entries = [drawn(&one, 1)];
        assert!(!bring(&queue, &mut sink, &entries, false, &mut nothing()));
        assert_eq!(taken.try_iter().count(), 0);
    }
}
