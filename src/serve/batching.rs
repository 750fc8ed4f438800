//! Batches: texts of all connections, answered together by one worker thread for each model.
//!
//! A request's texts wait in a queue that is bounded by texts and by tokens ([`NoRoom`] beyond). Whenever the model is idle,
//! its worker takes texts up to a number of tokens, one of each request in turn, so that a request of a thousand texts
//! delays one of a single text by a batch and no more; what it leaves is first in the next batch. While the model computes,
//! the next batch gathers.
//!
//! A batch that is not full waits for company, though never longer than `batch_delay` after its first text came, and only
//! while company is likely: until as many requests wait as were there when the last batch was done, in it or behind it. So a
//! lone client never waits, and sixty-four that ask again as soon as they are answered meet in one batch. Without a delay
//! the worker takes whatever is there.
//!
//! Whoever stops waiting ([`Answer`] dropped) gives up its place at once, and a batch for which nobody waits any more is not
//! computed to its end. A batch that fails or panics is asked again request by request, so that one request's text spoils
//! nobody else's answer.
//!
//! Promise: no lock is held while the model computes or counts tokens. Deliberately absent: any reordering by length across
//! requests, which would let short texts starve long ones; within a batch the longest come first.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Limits;
use super::metrics::ModelMetrics;
use super::model::{Model, ModelFault, Question, Reply};

/// The queue of one model.
pub struct Queue {
    state: Mutex<State>,
    /// Told when something came, or when the queue is closed.
    changed: Condvar,
    most_texts: usize,
    most_tokens: usize,
    batch_tokens: usize,
    delay: Duration,
    metrics: ModelMetrics,
}

#[derive(Default)]
struct State {
    /// Those that wait longest for their next text to be taken are in front.
    waiting: VecDeque<Waiting>,
    texts: usize,
    tokens: usize,
    next: u64,
    closed: bool,
    /// Tokens per second of the batches so far, the later ones counting more.
    rate: Option<f64>,
}

/// A request with texts that no batch has taken yet.
struct Waiting {
    number: u64,
    since: Instant,
    texts: VecDeque<Text>,
    call: Arc<Call>,
}

struct Text {
    place: usize,
    question: Question,
    tokens: usize,
}

/// A request as its texts are answered.
struct Call {
    gone: AtomicBool,
    replies: Mutex<Replies>,
}

struct Replies {
    found: Vec<Option<Reply>>,
    left: usize,
    to: Option<oneshot::Sender<Result<Vec<Reply>, ModelFault>>>,
}

/// Why texts may not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// More texts or tokens would wait than may; in so many seconds there is likely to be room.
    Full { seconds: u64 },
    /// The queue takes nothing any more.
    Closed,
}

/// Why a text that waited was not answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Unanswered {
    Fault(ModelFault),
    /// The worker ended.
    Closed,
}

/// The answers that a request waits for. Dropped, it gives up its place.
pub struct Answer {
    queue: Arc<Queue>,
    number: u64,
    call: Arc<Call>,
    from: oneshot::Receiver<Result<Vec<Reply>, ModelFault>>,
    done: bool,
}

impl Future for Answer {
    type Output = Result<Vec<Reply>, Unanswered>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.from).poll(context);
        polled.map(|received| {
            self.done = true;
            match received {
                Ok(answered) => answered.map_err(Unanswered::Fault),
                Err(_) => Err(Unanswered::Closed),
            }
        })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.done {
            self.call.gone.store(true, Ordering::Relaxed);
            self.queue.withdraw(self.number);
        }
    }
}

/// Texts that one pass of the model answers.
struct Batch {
    questions: Vec<Question>,
    /// Whose each is, and the how many-th of its texts; in the order of the questions.
    of: Vec<(Arc<Call>, usize)>,
    tokens: usize,
    requests: usize,
}

impl Queue {
    pub fn new(limits: &Limits, metrics: ModelMetrics) -> Queue {
        Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
            most_texts: limits.queue_texts,
            most_tokens: limits.queue_tokens,
            batch_tokens: limits.batch_tokens,
            delay: limits.batch_delay,
            metrics,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that panics is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many texts could wait now. Cheap; [`submit`](Self::submit) asks again.
    ///
    /// # Errors
    /// They could not.
    pub fn check_room(&self, texts: usize) -> Result<(), NoRoom> {
        let state = self.lock();
        self.room(&state, texts, 0)
    }

    fn room(&self, state: &State, texts: usize, tokens: usize) -> Result<(), NoRoom> {
        if state.closed {
            return Err(NoRoom::Closed);
        }
        // One request alone may always wait, however long its texts are.
        let alone = state.waiting.is_empty();
        let fits = state.texts + texts <= self.most_texts
            && state.tokens.saturating_add(tokens) <= self.most_tokens;
        match alone || fits {
            true => Ok(()),
            false => Err(NoRoom::Full {
                seconds: state.seconds(),
            }),
        }
    }

    /// Lets questions wait for the model, each with its number of tokens.
    ///
    /// # Errors
    /// As much as may is waiting already.
    pub fn submit(
        self: &Arc<Self>,
        questions: Vec<Question>,
        tokens: &[usize],
    ) -> Result<Answer, NoRoom> {
        let (to, from) = oneshot::channel();
        let (count, all) = (questions.len(), tokens.iter().sum());
        let call = Arc::new(Call {
            gone: AtomicBool::new(false),
            replies: Mutex::new(Replies {
                found: vec![None; count],
                left: count,
                to: Some(to),
            }),
        });
        if count == 0 {
            call.finish();
        }
        let texts = questions.into_iter().zip(tokens).enumerate();
        let texts = texts.map(|(place, (question, &tokens))| Text {
            place,
            question,
            tokens,
        });
        let texts: VecDeque<Text> = texts.collect();
        let mut state = self.lock();
        self.room(&state, count, all)?;
        let number = state.next;
        state.next += 1;
        if count > 0 {
            state.texts += count;
            state.tokens += all;
            state.waiting.push_back(Waiting {
                number,
                since: Instant::now(),
                texts,
                call: call.clone(),
            });
            self.metrics.waiting(state.texts, state.tokens);
        }
        drop(state);
        self.changed.notify_one();
        Ok(Answer {
            queue: self.clone(),
            number,
            call,
            from,
            done: false,
        })
    }

    fn withdraw(&self, number: u64) {
        let mut state = self.lock();
        let found = state.waiting.iter().position(|one| one.number == number);
        let Some(one) = found.and_then(|place| state.waiting.remove(place)) else {
            return;
        };
        state.texts -= one.texts.len();
        state.tokens -= one.texts.iter().map(|text| text.tokens).sum::<usize>();
        self.metrics.waiting(state.texts, state.tokens);
    }

    /// Nothing more will come: the worker ends once what waits is answered.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How many texts wait.
    pub fn texts(&self) -> usize {
        self.lock().texts
    }

    /// Answers what waits until the queue is closed and empty. For a thread of its own.
    pub fn work(&self, model: &dyn Model) {
        let mut expected = 0;
        while let Some(batch) = self.next_batch(expected) {
            let requests = batch.requests;
            self.metrics.batch(batch.questions.len(), batch.tokens);
            let tokens = batch.tokens as f64;
            let began = Instant::now();
            answer(model, batch, self.batch_tokens);
            let seconds = began.elapsed().as_secs_f64();
            self.metrics.computed(seconds);
            let mut state = self.lock();
            state.measure(tokens / seconds.max(1e-6));
            expected = requests + state.waiting.len();
        }
    }

    fn next_batch(&self, expected: usize) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            let Some(first) = state.waiting.iter().map(|one| one.since).min() else {
                if state.closed {
                    return None;
                }
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = self.delay.saturating_sub(first.elapsed());
            let gathered = state.waiting.len() >= expected || state.tokens >= self.batch_tokens;
            if state.closed || gathered || left.is_zero() {
                let batch = state.take(self.batch_tokens);
                self.metrics.waiting(state.texts, state.tokens);
                return Some(batch);
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// Texts up to so many tokens, at least one, one of each request in turn.
    fn take(&mut self, most: usize) -> Batch {
        let mut taken: Vec<(Text, Arc<Call>)> = Vec::new();
        let (mut tokens, mut requests) = (0, 0);
        // Those before this place in the queue have had their turn and are behind it again.
        let mut turn = self.waiting.len();
        while let Some(mut one) = self.waiting.pop_front() {
            let fits = |text: &Text| taken.is_empty() || tokens + text.tokens <= most;
            if !one.texts.front().is_some_and(fits) {
                self.waiting.push_front(one);
                break;
            }
            if turn > 0 {
                (turn, requests) = (turn - 1, requests + 1);
            }
            if let Some(text) = one.texts.pop_front() {
                tokens += text.tokens;
                taken.push((text, one.call.clone()));
            }
            if !one.texts.is_empty() {
                self.waiting.push_back(one);
            }
        }
        self.texts -= taken.len();
        self.tokens -= tokens;
        taken.sort_by_key(|(text, _)| std::cmp::Reverse(text.tokens));
        let (questions, of) = taken
            .into_iter()
            .map(|(text, call)| (text.question, (call, text.place)))
            .unzip();
        Batch {
            questions,
            of,
            tokens,
            requests,
        }
    }

    fn measure(&mut self, rate: f64) {
        self.rate = Some(self.rate.map_or(rate, |before| 0.8 * before + 0.2 * rate));
    }

    /// How long what waits is likely to take.
    fn seconds(&self) -> u64 {
        let rate = self.rate.unwrap_or(f64::INFINITY).max(1.0);
        (self.tokens as f64 / rate).ceil() as u64
    }
}

impl Call {
    fn lock(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn answer(&self, place: usize, reply: Reply) {
        let mut replies = self.lock();
        if let Some(slot @ None) = replies.found.get_mut(place) {
            *slot = Some(reply);
            replies.left -= 1;
        }
        let done = replies.left == 0;
        drop(replies);
        if done {
            self.finish();
        }
    }

    fn finish(&self) {
        let mut replies = self.lock();
        let found = std::mem::take(&mut replies.found);
        if let Some(to) = replies.to.take() {
            // Whoever has gone away wants nothing.
            let _ = to.send(Ok(found.into_iter().flatten().collect()));
        }
    }

    fn fail(&self, fault: ModelFault) {
        self.gone.store(true, Ordering::Relaxed);
        if let Some(to) = self.lock().to.take() {
            let _ = to.send(Err(fault));
        }
    }
}

/// Answers a batch, or lets each of its requests fail for itself.
fn answer(model: &dyn Model, batch: Batch, most: usize) {
    let Batch { questions, of, .. } = batch;
    let wanted = || of.iter().any(|(call, _)| !call.is_gone());
    if !wanted() {
        return;
    }
    match asked(model, &questions, most, &wanted) {
        Ok(replies) => {
            for ((call, place), reply) in of.iter().zip(replies) {
                call.answer(*place, reply);
            }
        }
        Err(fault) if questions.len() == 1 => {
            of.iter().for_each(|(call, _)| call.fail(fault.clone()))
        }
        Err(fault) => {
            tracing::debug!("a batch failed and is asked again text by text: {fault:?}");
            for (question, (call, place)) in questions.iter().zip(&of) {
                if call.is_gone() {
                    continue;
                }
                let one = std::slice::from_ref(question);
                match asked(model, one, most, &|| !call.is_gone()).map(|mut one| one.pop()) {
                    Ok(Some(reply)) => call.answer(*place, reply),
                    Ok(None) => {}
                    Err(fault) => call.fail(fault),
                }
            }
        }
    }
}

/// As many answers as questions.
fn asked(
    model: &dyn Model,
    questions: &[Question],
    most: usize,
    wanted: &dyn Fn() -> bool,
) -> Result<Vec<Reply>, ModelFault> {
    let mut on_rows = |_| match wanted() {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let computed = catch_unwind(AssertUnwindSafe(|| {
        model.answer(questions, most, &mut on_rows)
    }));
    let failed = |message: String| Err(ModelFault::Failed { message });
    match computed {
        Ok(Ok(replies)) if replies.len() == questions.len() => Ok(replies),
        Ok(Ok(replies)) => failed(format!(
            "the model gave {} answers to {} texts",
            replies.len(),
            questions.len()
        )),
        Ok(Err(fault)) => Err(fault),
        // The program's hook has said where.
        Err(_) => failed("the model failed in a way that it should not".to_owned()),
    }
}

#[cfg(test)]
mod tests;
