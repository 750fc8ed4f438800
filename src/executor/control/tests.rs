//! The controller against a scheduler that is played: it chains, forgets at once what is over, and drops what waits for a
//! failure, as Slurm does with `--kill-on-invalid-dep`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;

use super::*;
use crate::executor::graph::Node;
use crate::executor::job::{End, StepWork, Work};
use crate::executor::{After, Seen};

/// What a job of a stage does, the how-many-eth time: end in some way, or be killed.
type Plays = fn(&str, usize) -> Option<How>;

struct Played {
    plays: Plays,
    jobs: Mutex<Vec<PlayedJob>>,
    /// How many questions are not answered before one is.
    silent: Mutex<usize>,
    /// Stage → how many submissions are not answered, though they arrive.
    lost_answers: Mutex<HashMap<String, usize>>,
    asked: Mutex<usize>,
}

#[derive(Clone)]
struct PlayedJob {
    id: String,
    array: String,
    name: String,
    stage: String,
    folder: PathBuf,
    index: usize,
    after: After,
    /// None while it is under way; whether it succeeded.
    over: Option<bool>,
}

impl Played {
    fn new(plays: Plays) -> Self {
        Played {
            plays,
            jobs: Mutex::default(),
            silent: Mutex::default(),
            lost_answers: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    fn of(&self, stage: &str) -> usize {
        let jobs = self.jobs.lock().unwrap();
        jobs.iter().filter(|job| job.stage == stage).count()
    }
}

impl Executor for Played {
    fn name(&self) -> &'static str {
        "played"
    }

    fn chains(&self) -> bool {
        true
    }

    fn most_together(&self) -> usize {
        2
    }

    fn most_at_once(&self) -> Option<usize> {
        None
    }

    fn submit(&self, submission: &Submission<'_>) -> Result<String, ExecutorError> {
        let mut jobs = self.jobs.lock().unwrap();
        let id = format!("{}", 100 + jobs.len());
        for &index in submission.indexes {
            jobs.push(PlayedJob {
                id: self.job(&id, index, submission.indexes.len() > 1),
                array: id.clone(),
                name: submission.name.to_owned(),
                stage: submission.stage().to_owned(),
                folder: submission.folder.to_owned(),
                index,
                after: submission.after.clone(),
                over: None,
            });
        }
        let mut lost = self.lost_answers.lock().unwrap();
        match lost.get_mut(submission.stage()) {
            Some(count) if *count > 0 => {
                *count -= 1;
                Err(ExecutorError::Unanswered {
                    program: "sbatch",
                    said: "Socket timed out".to_owned(),
                })
            }
            _ => Ok(id),
        }
    }

    fn job(&self, submission: &str, index: usize, several: bool) -> String {
        match several {
            true => format!("{submission}_{index}"),
            false => submission.to_owned(),
        }
    }

    fn queue(&self, _: &[(PathBuf, usize, String)]) -> Result<Queue, ExecutorError> {
        *self.asked.lock().unwrap() += 1;
        let mut silent = self.silent.lock().unwrap();
        if *silent > 0 {
            *silent -= 1;
            return Err(ExecutorError::Unanswered {
                program: "squeue",
                said: "Connection refused".to_owned(),
            });
        }
        let mut jobs = self.jobs.lock().unwrap();
        let mut queue = Queue::default();
        // What a job waits for must have been over at the last question.
        let last = jobs.clone();
        for at in 0..jobs.len() {
            let job = jobs[at].clone();
            queue.names.insert(job.name.clone(), job.array.clone());
            if job.over.is_some() {
                continue;
            }
            let of = |id: &str| {
                let all = last
                    .iter()
                    .filter(|other| other.id == id || other.array == id);
                all.map(|other| other.over).collect::<Vec<_>>()
            };
            let mut needed: Vec<Option<bool>> =
                job.after.all.iter().flat_map(|id| of(id)).collect();
            if let Some(array) = &job.after.same_index {
                needed.extend(of(&format!("{array}_{}", job.index)));
            }
            let ended = job
                .after
                .ended
                .iter()
                .flat_map(|id| of(id))
                .all(|over| over.is_some());
            if needed.contains(&Some(false)) {
                jobs[at].over = Some(false);
            } else if ended && needed.iter().all(|over| *over == Some(true)) {
                let before = jobs
                    .iter()
                    .filter(|other| other.stage == job.stage && other.over.is_some());
                let how = (self.plays)(&job.stage, before.count());
                let folder = Folder::at(&job.folder);
                folder.begin(job.index).unwrap();
                if let Some(how) = how {
                    folder.finish(job.index, &End::of(how)).unwrap();
                }
                jobs[at].over = Some(how == Some(How::Done));
            } else {
                queue
                    .jobs
                    .insert(job.id.clone(), Seen::Waiting("Dependency".to_owned()));
            }
        }
        Ok(queue)
    }

    fn cancel(&self, cancelled: &[String]) -> Result<(), ExecutorError> {
        let mut jobs = self.jobs.lock().unwrap();
        for job in jobs.iter_mut().filter(|job| cancelled.contains(&job.id)) {
            job.over.get_or_insert(false);
        }
        Ok(())
    }

    fn farewell(&self, jobs: &[String]) -> Option<String> {
        Some(format!("stop {}", jobs.join(" ")))
    }
}

#[derive(Default)]
struct Heard(RefCell<Vec<String>>);

impl Heard {
    fn say(&self, text: String) {
        self.0.borrow_mut().push(text);
    }

    fn count(&self, beginning: &str) -> usize {
        self.0
            .borrow()
            .iter()
            .filter(|line| line.starts_with(beginning))
            .count()
    }
}

impl Observer for Heard {
    fn known(&self, _: &StepRecord) {}
    fn submitted(&self, stage: &str, jobs: usize, _: &str) {
        self.say(format!("submitted {stage} {jobs}"));
    }
    fn found(&self, jobs: usize) {
        self.say(format!("found {jobs}"));
    }
    fn counted(&self, _: &BTreeMap<String, usize>, _: usize, _: usize, _: usize) {}
    fn began(&self, _: &Node, _: &str) {}
    fn validated(&self, _: &Node, _: &Validation) {}
    fn ended(&self, node: &Node, record: &StepRecord, _: &str, _: Option<&Path>) {
        self.say(format!("{} {}", record.outcome, node.stage));
    }
    fn again(&self, node: &Node, _: &str) {
        self.say(format!("again {}", node.stage));
    }
    fn left(&self, jobs: usize, farewell: &str) {
        self.say(format!("left {jobs} {farewell}"));
    }
    fn warned(&self, text: &str) {
        self.say(format!("warned {text}"));
    }
}

/// Tokens, trainings on them, an evaluation of each, the summary.
fn trials(count: usize) -> Graph {
    let node = |stage: &str, rank: usize, number: usize, behind: Vec<usize>| Node {
        id: format!("{stage}-{number}"),
        stage: stage.to_owned(),
        kind: stage.to_owned(),
        rank,
        behind,
        work: Work::Step(Box::new(StepWork {
            stage: stage.to_owned(),
            kind: stage.to_owned(),
            trial: None,
            forced: false,
            expected: BTreeMap::new(),
            key: None,
        })),
    };
    let mut nodes = vec![node("tokens", 0, 0, Vec::new())];
    nodes.extend((0..count).map(|number| node("train", 1, number, vec![0])));
    nodes.extend((0..count).map(|number| node("scores", 2, number, vec![1 + number])));
    let mut graph = Graph {
        nodes,
        of: Vec::new(),
    };
    graph.sum_up();
    graph
}

struct Bench {
    _folder: tempfile::TempDir,
    store: Store,
    description: Description,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let description = Description {
        executor: "played".to_owned(),
        pipeline: "p".to_owned(),
        spec: "p.toml".into(),
        folder: folder.path().to_owned(),
        set: Vec::new(),
        targets: Vec::new(),
        store: store.root().to_owned(),
        remote: None,
        no_remote: false,
        device: "auto".to_owned(),
        checkpoint_every: None,
        allow_commands: false,
        tells_scores: false,
        arguments: Vec::new(),
    };
    Bench {
        _folder: folder,
        store,
        description,
    }
}

impl Bench {
    fn go(&self, graph: &Graph, executor: &Played, keep_going: bool) -> (Vec<Fate>, Heard) {
        let heard = Heard::default();
        let interrupted = AtomicBool::new(false);
        let options = Options {
            executor,
            store: &self.store,
            description: &self.description,
            keep_going,
            pause: Duration::ZERO,
            interrupted: &interrupted,
            cancelled: None,
        };
        let fates = control(graph, &options, &heard).unwrap();
        (fates, heard)
    }
}

#[test]
fn trials_are_handed_over_at_once_in_arrays_no_larger_than_the_scheduler_takes() {
    let (bench, graph) = (bench(), trials(5));
    let executor = Played::new(|_, _| Some(How::Done));
    let (fates, heard) = bench.go(&graph, &executor, true);
    assert!(fates.iter().all(Fate::is_done), "{fates:?}");
    // 1 of tokens, 2 + 2 + 1 of each other, 1 that sums up.
    assert_eq!(heard.count("submitted"), 8, "{:?}", heard.0);
    let jobs = executor.jobs.lock().unwrap();
    let aligned = jobs
        .iter()
        .filter(|job| job.after.same_index.is_some())
        .count();
    assert_eq!(aligned, 4, "the last has an array of one before it");
    assert!(
        Folder::all(&bench.store).is_empty(),
        "what is done leaves no folder"
    );
}

#[test]
fn what_is_killed_is_handed_over_again_with_what_waits_for_it() {
    let (bench, graph) = (bench(), trials(4));
    // The second training that begins is killed.
    let executor =
        Played::new(|stage, before| (stage != "train" || before != 1).then_some(How::Done));
    let (fates, heard) = bench.go(&graph, &executor, true);
    assert!(fates.iter().all(Fate::is_done), "{fates:?}");
    assert_eq!(heard.count("again train"), 1, "{:?}", heard.0);
    assert_eq!((executor.of("train"), executor.of("scores")), (5, 5));
}

#[test]
fn what_is_killed_again_and_again_is_given_up() {
    let (bench, graph) = (bench(), trials(1));
    let executor = Played::new(|stage, _| (stage != "train").then_some(How::Done));
    let (fates, heard) = bench.go(&graph, &executor, true);
    assert!(matches!(fates[1], Fate::Killed { .. }), "{fates:?}");
    assert_eq!(fates[2], Fate::Behind(1));
    assert_eq!(executor.of("train"), MOST_ATTEMPTS as usize);
    assert_eq!(heard.count("skipped scores"), 1);
    assert!(
        !Folder::all(&bench.store).is_empty(),
        "what failed keeps its folder"
    );
}

#[test]
fn one_failing_trial_costs_its_own_evaluation() {
    let (bench, graph) = (bench(), trials(4));
    let executor = Played::new(|stage, before| {
        Some(if stage == "train" && before == 2 {
            How::Failed
        } else {
            How::Done
        })
    });
    let (fates, _) = bench.go(&graph, &executor, true);
    let done = fates.iter().filter(|fate| fate.is_done()).count();
    assert_eq!(done, 1 + 3 + 3 + 1, "{fates:?}");
    assert_eq!(fates[7], Fate::Behind(3));
    assert_eq!(executor.of("train"), 4, "what failed is not tried again");
}

#[test]
fn after_a_failure_of_a_run_nothing_else_begins() {
    let bench = bench();
    let mut graph = trials(2);
    graph.nodes.pop();
    let executor = Played::new(|stage, before| {
        Some(if stage == "train" && before == 0 {
            How::Failed
        } else {
            How::Done
        })
    });
    let (fates, _) = bench.go(&graph, &executor, false);
    assert!(matches!(fates[1], Fate::Ended(_)) && !fates[1].is_done());
    assert_eq!(fates[3], Fate::Behind(1));
    assert!(!fates[4].is_done(), "{fates:?}");
}

#[test]
fn a_scheduler_that_does_not_answer_is_asked_again_and_has_no_job_twice() {
    let (bench, graph) = (bench(), trials(2));
    let executor = Played::new(|_, _| Some(How::Done));
    executor
        .lost_answers
        .lock()
        .unwrap()
        .insert("train".to_owned(), 1);
    *executor.silent.lock().unwrap() = 1;
    let (fates, heard) = bench.go(&graph, &executor, true);
    assert!(fates.iter().all(Fate::is_done), "{fates:?}");
    assert_eq!((executor.of("train"), executor.of("scores")), (2, 2));
    assert_eq!(heard.count("warned"), 1, "{:?}", heard.0);
}

#[test]
fn another_controller_goes_on_with_what_is_under_way() {
    let (bench, graph) = (bench(), trials(3));
    let executor = Played::new(|_, _| Some(How::Done));
    let heard = Heard::default();
    let interrupted = AtomicBool::new(false);
    let options = Options {
        executor: &executor,
        store: &bench.store,
        description: &bench.description,
        keep_going: true,
        pause: Duration::ZERO,
        interrupted: &interrupted,
        cancelled: None,
    };
    // One that dies as soon as it has handed everything over.
    let mut dying = Control::new(&graph, &options, &heard);
    dying.submit().unwrap();
    drop(dying);
    // Its answer to one submission never reached the disk.
    let folders = Folder::all(&bench.store);
    std::fs::remove_file(folders[0].path().join("submitted")).unwrap();
    let before = executor.jobs.lock().unwrap().len();
    let (fates, heard) = bench.go(&graph, &executor, true);
    assert!(fates.iter().all(Fate::is_done), "{fates:?}");
    // What had ended meanwhile would be known by the store.
    assert_eq!(
        executor.jobs.lock().unwrap().len(),
        before + 1,
        "{:?}",
        heard.0
    );
    assert_eq!(heard.count("found"), 1);
}

#[test]
fn who_is_interrupted_leaves_jobs_alone_and_says_how_to_stop_them() {
    let (bench, graph) = (bench(), trials(2));
    let executor = Played::new(|_, _| Some(How::Done));
    let heard = Heard::default();
    let interrupted = AtomicBool::new(false);
    let options = Options {
        executor: &executor,
        store: &bench.store,
        description: &bench.description,
        keep_going: true,
        pause: Duration::ZERO,
        interrupted: &interrupted,
        cancelled: None,
    };
    let mut control = Control::new(&graph, &options, &heard);
    control.submit().unwrap();
    interrupted.store(true, Ordering::Relaxed);
    control.leave().unwrap();
    assert!(control.into_fates().iter().all(|fate| *fate == Fate::Left));
    assert_eq!(
        heard.count("left 6 stop 100 101 103 105"),
        1,
        "{:?}",
        heard.0
    );
}
