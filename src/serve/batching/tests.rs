//! A played model behind a real queue and worker.

use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use super::*;
use crate::serve::metrics::Metrics;
use crate::task::Task;

/// Counts words as tokens, notes the batches, and computes only when it is let.
struct Played {
    let_go: Mutex<mpsc::Receiver<()>>,
    batches: Mutex<Vec<Vec<String>>>,
    /// How many texts were computed.
    computed: AtomicUsize,
    free: bool,
}

impl Played {
    fn texts(questions: &[Question]) -> Vec<String> {
        questions.iter().map(|one| one.text.clone()).collect()
    }
}

impl Model for Played {
    fn task(&self) -> Task {
        Task::Regression
    }

    fn names(&self) -> &[String] {
        &[]
    }

    fn max_length(&self) -> usize {
        512
    }

    fn tokens(&self, questions: &[Question]) -> Result<Vec<usize>, ModelFault> {
        Ok(questions.iter().map(words).collect())
    }

    fn answer(
        &self,
        questions: &[Question],
        _batch_tokens: usize,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Reply>, ModelFault> {
        self.batches.lock().unwrap().push(Played::texts(questions));
        if !self.free {
            self.let_go.lock().unwrap().recv().unwrap();
        }
        let stopped = || ModelFault::Failed {
            message: "stopped".to_owned(),
        };
        let reply = |question: &Question| {
            if on_rows(1).is_break() {
                return Err(stopped());
            }
            self.computed.fetch_add(1, Ordering::Relaxed);
            match question.text.as_str() {
                "panic" => panic!("as asked"),
                "bad" => Err(ModelFault::Unanswerable {
                    message: "a bad text".to_owned(),
                    help: None,
                }),
                text => Ok(Reply::Numbers(vec![text.len() as f32])),
            }
        };
        questions.iter().map(reply).collect()
    }
}

fn words(question: &Question) -> usize {
    question.text.split(' ').count()
}

fn questions(texts: &[&str]) -> Vec<Question> {
    let question = |text: &&str| Question {
        text: (*text).to_owned(),
        pair: None,
    };
    texts.iter().map(question).collect()
}

struct Stand {
    queue: Arc<Queue>,
    model: Arc<Played>,
    go: mpsc::Sender<()>,
    worker: Option<std::thread::JoinHandle<()>>,
    metrics: Metrics,
}

impl Stand {
    fn new(limits: Limits, free: bool) -> Stand {
        let metrics = Metrics::default();
        let (go, let_go) = mpsc::channel();
        let model = Arc::new(Played {
            let_go: Mutex::new(let_go),
            batches: Mutex::default(),
            computed: AtomicUsize::new(0),
            free,
        });
        Stand {
            queue: Arc::new(Queue::new(&limits, metrics.model("played"))),
            model,
            go,
            worker: None,
            metrics,
        }
    }

    fn start(mut self) -> Stand {
        let (queue, model) = (self.queue.clone(), self.model.clone());
        self.worker = Some(std::thread::spawn(move || queue.work(&*model)));
        self
    }

    fn ask(&self, texts: &[&str]) -> Result<Answer, NoRoom> {
        let asked = questions(texts);
        let tokens: Vec<usize> = asked.iter().map(words).collect();
        self.queue.submit(asked, &tokens)
    }

    /// Until the model has begun so many batches.
    fn begun(&self, count: usize) {
        while self.model.batches.lock().unwrap().len() < count {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn batches(&self) -> Vec<Vec<String>> {
        self.model.batches.lock().unwrap().clone()
    }

    fn end(mut self) -> Vec<Vec<String>> {
        self.queue.close();
        if let Some(worker) = self.worker.take() {
            worker.join().unwrap();
        }
        self.batches()
    }
}

fn limits() -> Limits {
    Limits {
        batch_tokens: 4,
        batch_delay: Duration::ZERO,
        queue_texts: 6,
        queue_tokens: 100,
        ..Limits::default()
    }
}

fn wait(answer: Answer) -> Result<Vec<Reply>, Unanswered> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(answer)
}

fn lengths(answer: Answer) -> Vec<f32> {
    let replies = wait(answer).unwrap().into_iter();
    let number = |reply| match reply {
        Reply::Numbers(numbers) => numbers[0],
        other => panic!("{other:?}"),
    };
    replies.map(number).collect()
}

#[test]
fn texts_of_several_requests_share_a_batch_up_to_its_tokens() {
    let stand = Stand::new(limits(), true);
    let asked = [["a"], ["b b"], ["c c c"], ["d"]].map(|texts| stand.ask(&texts).unwrap());
    let stand = stand.start();
    let found: Vec<f32> = asked.into_iter().flat_map(lengths).collect();
    assert_eq!(found, [1.0, 3.0, 5.0, 1.0]);
    // The longest of a batch is first; the third would have been too much for the first one.
    assert_eq!(
        stand.end(),
        [vec!["b b", "a"], vec!["c c c", "d"]].map(|batch| batch
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>())
    );
}

#[test]
fn a_text_longer_than_a_batch_is_one_of_its_own() {
    let stand = Stand::new(limits(), true);
    let asked = stand.ask(&["a a a a a a a", "b"]).unwrap();
    let stand = stand.start();
    assert_eq!(lengths(asked), [13.0, 1.0]);
    assert_eq!(stand.end().len(), 2);
}

#[test]
fn many_texts_of_one_request_leave_room_for_one_of_another() {
    let stand = Stand::new(limits(), true);
    let many = stand.ask(&["a", "a", "a", "a", "a"]).unwrap();
    let one = stand.ask(&["b"]).unwrap();
    let stand = stand.start();
    assert_eq!(lengths(one).len(), 1);
    assert_eq!(lengths(many).len(), 5);
    let batches = stand.end();
    assert_eq!(batches[0].iter().filter(|text| *text == "b").count(), 1);
    assert_eq!(batches.concat().len(), 6);
}

#[test]
fn while_the_model_computes_the_next_batch_gathers() {
    let stand = Stand::new(limits(), false).start();
    let first = stand.ask(&["a"]).unwrap();
    stand.begun(1);
    let others = [["b"], ["c"]].map(|texts| stand.ask(&texts).unwrap());
    for _ in 0..2 {
        stand.go.send(()).unwrap();
    }
    assert_eq!(lengths(first), [1.0]);
    for other in others {
        assert_eq!(lengths(other), [1.0]);
    }
    assert_eq!(stand.end().len(), 2);
}

#[test]
fn a_batch_waits_for_as_many_as_were_there_before() {
    let limits = Limits {
        batch_delay: Duration::from_secs(3600),
        ..limits()
    };
    let stand = Stand::new(limits, false).start();
    // Nobody is expected yet.
    let first = stand.ask(&["a"]).unwrap();
    stand.begun(1);
    let second = stand.ask(&["b"]).unwrap();
    stand.go.send(()).unwrap();
    assert_eq!(lengths(first), [1.0]);
    // Two were there, so the second waits for another, and that ends the waiting long before the delay does.
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(stand.batches().len(), 1);
    let third = stand.ask(&["c"]).unwrap();
    stand.go.send(()).unwrap();
    assert_eq!([lengths(second), lengths(third)], [[1.0], [1.0]]);
    assert_eq!(stand.end()[1], ["b", "c"]);
}

#[test]
fn the_delay_ends_the_waiting_for_others() {
    let limits = Limits {
        batch_delay: Duration::from_millis(20),
        ..limits()
    };
    let stand = Stand::new(limits, true);
    let both = [["a"], ["b"]].map(|texts| stand.ask(&texts).unwrap());
    let stand = stand.start();
    for one in both {
        lengths(one);
    }
    // Two were there, and no second one comes.
    assert_eq!(lengths(stand.ask(&["c"]).unwrap()), [1.0]);
    assert_eq!(stand.end().len(), 2);
}

#[test]
fn beyond_the_bounds_nothing_may_wait() {
    let stand = Stand::new(limits(), false).start();
    let computing = stand.ask(&["x"]).unwrap();
    stand.begun(1);
    let waiting = stand.ask(&["a", "b", "c", "d"]).unwrap();
    assert!(stand.queue.check_room(2).is_ok());
    assert!(stand.queue.check_room(3).is_err());
    assert!(stand.ask(&["a", "b", "c"]).is_err());
    // By tokens, too.
    assert!(stand.ask(&[&"a ".repeat(100)]).is_err());
    for _ in 0..2 {
        stand.go.send(()).unwrap();
    }
    assert_eq!(lengths(computing).len() + lengths(waiting).len(), 5);
    assert!(stand.queue.check_room(6).is_ok());
    stand.end();
}

#[test]
fn a_request_alone_may_wait_however_long_it_is() {
    let stand = Stand::new(limits(), true);
    let long = stand.ask(&[&"a ".repeat(500)]);
    assert!(long.is_ok());
}

#[test]
fn whoever_goes_away_gives_up_its_place() {
    let stand = Stand::new(limits(), false).start();
    let computing = stand.ask(&["x"]).unwrap();
    stand.begun(1);
    let waiting = stand.ask(&["a", "b", "c", "d", "e", "f"]).unwrap();
    assert!(stand.ask(&["g"]).is_err());
    drop(waiting);
    assert_eq!(stand.queue.texts(), 0);
    let after = stand.ask(&["g"]).unwrap();
    for _ in 0..2 {
        stand.go.send(()).unwrap();
    }
    assert_eq!(lengths(computing), [1.0]);
    assert_eq!(lengths(after), [1.0]);
    let batches = stand.end();
    assert_eq!(batches.concat(), ["x", "g"]);
}

#[test]
fn a_batch_for_nobody_is_not_computed() {
    let stand = Stand::new(limits(), false).start();
    let computing = stand.ask(&["x", "y"]).unwrap();
    stand.begun(1);
    drop(computing);
    stand.go.send(()).unwrap();
    let later = stand.ask(&["z"]).unwrap();
    stand.go.send(()).unwrap();
    assert_eq!(lengths(later), [1.0]);
    assert_eq!(stand.model.computed.load(Ordering::Relaxed), 1);
    stand.end();
}

#[test]
fn a_text_that_fails_or_panics_spoils_no_other() {
    let stand = Stand::new(limits(), true);
    let good = stand.ask(&["good"]).unwrap();
    let bad = stand.ask(&["bad"]).unwrap();
    let worse = stand.ask(&["panic"]).unwrap();
    let stand = stand.start();
    assert_eq!(lengths(good), [4.0]);
    assert!(matches!(
        wait(bad),
        Err(Unanswered::Fault(ModelFault::Unanswerable { .. }))
    ));
    assert!(matches!(
        wait(worse),
        Err(Unanswered::Fault(ModelFault::Failed { .. }))
    ));
    assert_eq!(lengths(stand.ask(&["after"]).unwrap()), [5.0]);
    stand.end();
}

#[test]
fn what_waits_when_the_queue_is_closed_is_still_answered() {
    let limits = Limits {
        batch_delay: Duration::from_secs(3600),
        ..limits()
    };
    let stand = Stand::new(limits, true);
    let asked = [["a"], ["b b b b"], ["c"]].map(|texts| stand.ask(&texts).unwrap());
    stand.queue.close();
    let stand = stand.start();
    for one in asked {
        assert_eq!(lengths(one).len(), 1);
    }
    stand.end();
}

#[test]
fn a_request_of_no_texts_has_no_answers() {
    let stand = Stand::new(limits(), true);
    assert_eq!(wait(stand.ask(&[]).unwrap()), Ok(vec![]));
}

#[test]
fn what_waits_and_what_was_computed_is_counted() {
    let stand = Stand::new(limits(), true);
    let asked = stand.ask(&["a", "b b"]).unwrap();
    let text = stand.metrics.text();
    assert!(
        text.contains("refit_queue_texts{model=\"played\"} 2"),
        "{text}"
    );
    assert!(
        text.contains("refit_queue_tokens{model=\"played\"} 3"),
        "{text}"
    );
    let metrics = stand.metrics.clone();
    let stand = stand.start();
    lengths(asked);
    stand.end();
    let text = metrics.text();
    for line in [
        "refit_queue_texts{model=\"played\"} 0",
        "refit_texts_total{model=\"played\"} 2",
        "refit_tokens_total{model=\"played\"} 3",
        "refit_batch_texts_count{model=\"played\"} 1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
