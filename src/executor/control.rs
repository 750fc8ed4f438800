//! The controller: hands nodes over, watches them, and says what became of each.
//!
//! It goes round in three beats. *Submit*: what can be handed over is, in columns: all nodes of one stage that wait for the
//! same are one submission, and a column behind a column of equal length waits index by index. *Look*: one question to the
//! scheduler for all jobs, and for those that it does not have under way any more, the file in which each wrote how it ended.
//! *Draw the consequences*: what was killed is handed over again, a bounded number of times; what builds on a failure is
//! given up.
//!
//! It holds nothing that is not in the store's folder of jobs or in the queue, so that whoever starts it again after it died
//! goes on with the jobs that there are.
//!
//! Deliberately absent: any output; the [`Observer`] has the only voice.

mod adopt;
mod columns;
mod fate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::columns::{Ready, columns};
pub use self::fate::{Fate, record};
use super::graph::{Graph, Node};
use super::job::{Description, Folder, How, Task};
use super::{Executor, ExecutorError, Queue, Seen, Submission};
use crate::artifact::Digest;
use crate::stage::Validation;
use crate::store::{StepRecord, Store};

/// How to control.
pub struct Options<'a> {
    pub executor: &'a dyn Executor,
    pub store: &'a Store,
    pub description: &'a Description,
    /// After a failure, go on with what does not depend on it.
    pub keep_going: bool,
    /// How long between two looks.
    pub pause: Duration,
    /// Set when the user asked to stop. Jobs that can be left alone are.
    pub interrupted: &'a AtomicBool,
    /// Set when what is under way is to be stopped.
    pub cancelled: Option<&'a AtomicBool>,
}

/// Who is told what happens.
pub trait Observer {
    /// A step needs no job.
    fn known(&self, record: &StepRecord);
    /// So many jobs of a stage were handed over, under this id.
    fn submitted(&self, stage: &str, jobs: usize, id: &str);
    /// Jobs that an earlier controller submitted are still under way.
    fn found(&self, jobs: usize);
    /// Reason → how many jobs wait for it; how many run, have ended, and are there.
    fn counted(&self, waiting: &BTreeMap<String, usize>, running: usize, ended: usize, all: usize);
    fn began(&self, node: &Node, job: &str);
    fn validated(&self, node: &Node, validation: &Validation);
    /// `told` is what a person would have read of a failure, and `log` what the job printed.
    fn ended(&self, node: &Node, record: &StepRecord, told: &str, log: Option<&Path>);
    /// A job was killed, and is submitted again.
    fn again(&self, node: &Node, how: &str);
    /// The user stopped the controller; so the jobs that go on can be stopped.
    fn left(&self, jobs: usize, farewell: &str);
    fn warned(&self, text: &str);
}

/// How often a job that gets killed is submitted.
pub const MOST_ATTEMPTS: u32 = 3;
/// How often a job must be missing from the queue, and its end from the folder, before it is taken for killed: a shared
/// file system may show a file late.
const MISSED: u32 = 2;
const LONGEST_SILENCE: Duration = Duration::from_secs(300);
enum State {
    Idle,
    Alive(Alive),
    Over(Fate),
}

/// A node that was handed over.
struct Alive {
    folder: usize,
    index: usize,
    /// The job's id, and that of the submission when it is one of several.
    job: String,
    array: Option<String>,
    began: bool,
    missed: u32,
    scores: usize,
}

struct Control<'a> {
    graph: &'a Graph,
    options: &'a Options<'a>,
    observer: &'a dyn Observer,
    states: Vec<State>,
    attempts: Vec<u32>,
    folders: Vec<Folder>,
    /// The folders in which something of ours was handed over.
    own: BTreeSet<usize>,
    /// Submissions of which it is not known whether the scheduler has them.
    unsure: Vec<(Folder, Vec<(usize, usize)>)>,
    stopped_by: Option<usize>,
    /// How long to wait for a scheduler that does not answer.
    silence: Duration,
}

/// Brings every node to its end, or to where the user stopped waiting.
///
/// # Errors
/// The scheduler refuses jobs, or the store's folder cannot be written. A scheduler that does not answer is waited for.
pub fn control(
    graph: &Graph,
    options: &Options<'_>,
    observer: &dyn Observer,
) -> Result<Vec<Fate>, ExecutorError> {
    let mut control = Control::new(graph, options, observer);
    control.adopt()?;
    loop {
        if control.told_to_stop() {
            control.leave()?;
            break;
        }
        match control.submit() {
            Err(ExecutorError::Unanswered { said, .. }) => control.unanswered(&said),
            other => other?,
        }
        if control
            .states
            .iter()
            .all(|state| matches!(state, State::Over(_)))
        {
            break;
        }
        control.rest(options.pause.max(control.silence));
        control.look()?;
    }
    Ok(control.into_fates())
}

impl<'a> Control<'a> {
    fn new(graph: &'a Graph, options: &'a Options<'a>, observer: &'a dyn Observer) -> Self {
        Control {
            graph,
            options,
            observer,
            states: graph.nodes.iter().map(|_| State::Idle).collect(),
            attempts: vec![0; graph.nodes.len()],
            folders: Vec::new(),
            own: BTreeSet::new(),
            unsure: Vec::new(),
            stopped_by: None,
            silence: Duration::ZERO,
        }
    }
}

impl Control<'_> {
    fn told_to_stop(&self) -> bool {
        let set = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        set(self.options.interrupted) || self.options.cancelled.is_some_and(set)
    }

    fn rest(&self, long: Duration) {
        const SLICE: Duration = Duration::from_millis(50);
        let began = Instant::now();
        while began.elapsed() < long && !self.told_to_stop() {
            std::thread::sleep(SLICE.min(long));
        }
    }

    fn unanswered(&mut self, said: &str) {
        if self.silence.is_zero() {
            self.observer.warned(&format!(
                "the cluster cannot be asked now ({said}); jobs that were submitted go on, and it is asked again"
            ));
        }
        let next = (self.silence * 2)
            .max(self.options.pause)
            .max(Duration::from_secs(1));
        self.silence = next.min(LONGEST_SILENCE);
    }

    fn alive(&self) -> impl Iterator<Item = (usize, &Alive)> {
        let states = self.states.iter().enumerate();
        states.filter_map(|(node, state)| match state {
            State::Alive(alive) => Some((node, alive)),
            _ => None,
        })
    }

    fn known_jobs(&self) -> Vec<(std::path::PathBuf, usize, String)> {
        let alive = self.alive();
        alive
            .map(|(_, one)| {
                let folder = self.folders[one.folder].path().to_owned();
                (folder, one.index, one.job.clone())
            })
            .collect()
    }

    /// Hands over all that can be.
    fn submit(&mut self) -> Result<(), ExecutorError> {
        if self.stopped_by.is_some() || !self.unsure.is_empty() {
            return Ok(());
        }
        let executor = self.options.executor;
        loop {
            let room = executor
                .most_at_once()
                .map(|most| most.saturating_sub(self.alive().count()));
            if room == Some(0) {
                return Ok(());
            }
            let Some(ready) = columns(self.graph, &|node| self.place(node), executor.chains())
            else {
                return Ok(());
            };
            for one in ready {
                let mut members = one.members.clone();
                if let Some(most) = executor.most_at_once() {
                    members.truncate(most.saturating_sub(self.alive().count()));
                }
                for some in members.chunks(executor.most_together().max(1)) {
                    self.hand_over(&one, some)?;
                }
            }
        }
    }

    /// Where a node is, as far as those that build on it are concerned.
    fn place(&self, node: usize) -> columns::Place<'_> {
        match &self.states[node] {
            State::Idle => columns::Place::Idle,
            State::Alive(alive) => columns::Place::UnderWay {
                job: &alive.job,
                array: alive.array.as_deref(),
                index: alive.index,
            },
            State::Over(fate) if fate.is_done() => columns::Place::Done,
            State::Over(_) => columns::Place::Lost,
        }
    }

    fn hand_over(
        &mut self,
        ready: &Ready,
        members: &[(usize, usize)],
    ) -> Result<(), ExecutorError> {
        if members.is_empty() {
            return Ok(());
        }
        let first = &self.graph.nodes[members[0].1];
        // The indexes are the array's before it, or count from zero.
        let aligned = ready.after.same_index.is_some();
        let members: Vec<(usize, usize)> = members
            .iter()
            .enumerate()
            .map(|(count, &(index, node))| (if aligned { index } else { count }, node))
            .collect();
        let name = format!("refit-{}-{}", first.stage.replace('/', "."), unique());
        let tasks: Vec<Task> = members
            .iter()
            .map(|&(index, node)| Task {
                index,
                node: self.graph.nodes[node].id.clone(),
                work: self.graph.nodes[node].work.clone(),
            })
            .collect();
        let folder = Folder::describe(self.options.store, &name, self.options.description, &tasks)?;
        let indexes: Vec<usize> = members.iter().map(|(index, _)| *index).collect();
        let submitted = self.options.executor.submit(&Submission {
            folder: folder.path(),
            name: &name,
            kind: &first.kind,
            indexes: &indexes,
            after: &ready.after,
        });
        match submitted {
            Ok(id) => {
                folder.keep_id(&id)?;
                self.observer.submitted(&first.stage, members.len(), &id);
                self.take_for_alive(folder, &members, &id);
                Ok(())
            }
            Err(error @ ExecutorError::Unanswered { .. }) => {
                self.unsure.push((folder, members));
                Err(error)
            }
            Err(error) => {
                folder.forget();
                match error {
                    // So many jobs, and no more, may one user have.
                    ExecutorError::Refused { said, .. }
                        if said.contains("limit") && self.alive().next().is_some() =>
                    {
                        Err(ExecutorError::Unanswered {
                            program: "sbatch",
                            said,
                        })
                    }
                    error => Err(error),
                }
            }
        }
    }

    fn take_for_alive(&mut self, folder: Folder, members: &[(usize, usize)], id: &str) {
        let several = members.len() > 1;
        let place = self.folders.len();
        self.folders.push(folder);
        self.own.insert(place);
        for &(index, node) in members {
            self.states[node] = State::Alive(Alive {
                folder: place,
                index,
                job: self.options.executor.job(id, index, several),
                array: several.then(|| id.to_owned()),
                began: false,
                missed: 0,
                scores: 0,
            });
        }
    }

    /// Sees what became of what was handed over.
    fn look(&mut self) -> Result<(), ExecutorError> {
        let queue = match self.options.executor.queue(&self.known_jobs()) {
            Ok(queue) => {
                self.silence = Duration::ZERO;
                Some(queue)
            }
            Err(ExecutorError::Unanswered { said, .. }) => {
                self.unanswered(&said);
                None
            }
            Err(error) => return Err(error),
        };
        if let Some(queue) = &queue {
            for (folder, members) in std::mem::take(&mut self.unsure) {
                match queue.names.get(&folder.name()).cloned() {
                    Some(id) => {
                        folder.keep_id(&id)?;
                        self.take_for_alive(folder, &members, &id);
                    }
                    None => folder.forget(),
                }
            }
        }
        let mut waiting: BTreeMap<String, usize> = BTreeMap::new();
        let mut running = 0;
        for node in 0..self.states.len() {
            match self.look_at(node, queue.as_ref()) {
                Some(Seen::Waiting(why)) => *waiting.entry(why).or_default() += 1,
                Some(Seen::Running) => running += 1,
                _ => {}
            }
        }
        self.give_up(queue.as_ref());
        if queue.is_some() {
            let ended = self
                .states
                .iter()
                .filter(|state| matches!(state, State::Over(_)));
            let ended = ended.count();
            self.observer
                .counted(&waiting, running, ended, self.states.len());
        }
        Ok(())
    }

    fn look_at(&mut self, node: usize, queue: Option<&Queue>) -> Option<Seen> {
        let State::Alive(alive) = &mut self.states[node] else {
            return None;
        };
        let folder = &self.folders[alive.folder];
        let known = &self.graph.nodes[node];
        let seen = queue.map(|queue| queue.jobs.get(&alive.job));
        match seen {
            Some(Some(seen @ Seen::Waiting(_))) => {
                alive.missed = 0;
                return Some(seen.clone());
            }
            Some(Some(Seen::Running)) => {
                alive.missed = 0;
                if !std::mem::replace(&mut alive.began, true) {
                    self.observer.began(known, &alive.job);
                }
                if self.options.description.tells_scores {
                    alive.tell_scores(folder, known, self.observer);
                }
                return Some(Seen::Running);
            }
            _ => {}
        }
        if let Some(end) = folder.end(alive.index) {
            if self.options.description.tells_scores {
                alive.tell_scores(folder, known, self.observer);
            }
            if end.how != How::Stopped {
                self.over(node, Fate::Ended(Box::new(end)));
            } else if seen.is_some() {
                self.submit_again(node, "it was told to stop");
            }
            return None;
        }
        let seen = seen?;
        alive.missed += 1;
        if alive.missed < MISSED {
            return None;
        }
        let how = match seen {
            Some(Seen::Over(how)) => how.clone(),
            _ => "its end is unknown".to_owned(),
        };
        let began = alive.began || folder.began(alive.index);
        let before = &known.behind;
        let comes = |one: &usize| matches!(&self.states[*one], State::Over(fate) if fate.is_done());
        if !began && !known.sums_up() && !before.iter().all(comes) {
            // What it waited for did not come; it is handed over again, or given up, with that.
            self.states[node] = State::Idle;
            return None;
        }
        self.submit_again(node, &how);
        None
    }

    fn submit_again(&mut self, node: usize, how: &str) {
        self.attempts[node] += 1;
        let known = &self.graph.nodes[node];
        if self.attempts[node] < MOST_ATTEMPTS {
            self.observer.again(known, how);
            self.states[node] = State::Idle;
        } else {
            self.over(
                node,
                Fate::Killed {
                    how: how.to_owned(),
                },
            );
        }
    }

    fn over(&mut self, node: usize, fate: Fate) {
        let failed = !fate.is_done() && !self.graph.nodes[node].sums_up();
        let told = match &fate {
            Fate::Ended(end) => end.told.clone(),
            _ => String::new(),
        };
        let record = self.record(node, &fate);
        let log = match &self.states[node] {
            State::Alive(alive) => Some(self.folders[alive.folder].log(alive.index)),
            _ => None,
        };
        self.observer
            .ended(&self.graph.nodes[node], &record, &told, log.as_deref());
        let by_itself = matches!(fate, Fate::Ended(_) | Fate::Killed { .. });
        self.states[node] = State::Over(fate);
        if failed && by_itself && !self.options.keep_going {
            self.stopped_by.get_or_insert(node);
        }
    }

    /// Gives up what builds on what is not there, and, after a failure, what has not begun.
    fn give_up(&mut self, queue: Option<&Queue>) {
        let mut cancelled = Vec::new();
        for node in 0..self.states.len() {
            let known = &self.graph.nodes[node];
            let begun = match &self.states[node] {
                State::Idle => false,
                State::Alive(alive) => alive.began,
                State::Over(_) => continue,
            };
            let lost =
                |one: &usize| matches!(&self.states[*one], State::Over(fate) if !fate.is_done());
            let behind = known
                .behind
                .iter()
                .copied()
                .find(lost)
                .filter(|_| !known.sums_up());
            let fate = match (behind, self.stopped_by) {
                (Some(before), _) if !begun => Fate::Behind(before),
                (None, Some(by)) if !begun => Fate::Stopped(by),
                _ => continue,
            };
            if let State::Alive(alive) = &self.states[node]
                && queue.is_some_and(|queue| {
                    matches!(queue.jobs.get(&alive.job), Some(Seen::Waiting(_)))
                })
            {
                cancelled.push(alive.job.clone());
            }
            self.over(node, fate);
        }
        if !cancelled.is_empty()
            && let Err(error) = self.options.executor.cancel(&cancelled)
        {
            self.observer.warned(&error.to_string());
        }
    }

    /// The user does not wait any longer.
    fn leave(&mut self) -> Result<(), ExecutorError> {
        let jobs: BTreeSet<String> = self
            .alive()
            .map(|(_, one)| one.array.clone().unwrap_or_else(|| one.job.clone()))
            .collect();
        let jobs: Vec<String> = jobs.into_iter().collect();
        let cancelled = self
            .options
            .cancelled
            .is_some_and(|flag| flag.load(Ordering::Relaxed));
        let farewell = self.options.executor.farewell(&jobs).filter(|_| !cancelled);
        if let Some(farewell) = farewell {
            if !jobs.is_empty() {
                self.observer.left(self.alive().count(), &farewell);
            }
            return Ok(());
        }
        self.options.executor.cancel(&jobs)?;
        // What was told to stop writes down how far it is, which may take a while.
        while self.alive().next().is_some() {
            let queue = match self.options.executor.queue(&self.known_jobs()) {
                Err(ExecutorError::Unanswered { .. }) => break,
                other => other?,
            };
            for node in 0..self.states.len() {
                let State::Alive(alive) = &self.states[node] else {
                    continue;
                };
                if matches!(
                    queue.jobs.get(&alive.job),
                    Some(Seen::Waiting(_) | Seen::Running)
                ) {
                    continue;
                }
                let end = self.folders[alive.folder].end(alive.index);
                match end.filter(|end| end.how != How::Stopped) {
                    Some(end) => self.over(node, Fate::Ended(Box::new(end))),
                    None => self.over(node, Fate::Left),
                }
            }
            std::thread::sleep(self.options.pause);
        }
        Ok(())
    }

    /// What a run's record says of a node.
    fn record(&self, node: usize, fate: &Fate) -> StepRecord {
        record(self.graph, node, fate)
    }

    fn into_fates(self) -> Vec<Fate> {
        let whole = self
            .states
            .iter()
            .all(|state| matches!(state, State::Over(_)));
        for &place in self.own.iter().filter(|_| whole) {
            let folder = &self.folders[place];
            let done = |task: &Task| {
                folder
                    .end(task.index)
                    .is_some_and(|end| end.how == How::Done)
            };
            if folder.tasks().is_ok_and(|tasks| tasks.iter().all(done)) {
                folder.forget();
            }
        }
        let fates = self.states.into_iter().map(|state| match state {
            State::Over(fate) => fate,
            _ => Fate::Left,
        });
        fates.collect()
    }
}

impl Alive {
    fn tell_scores(&mut self, folder: &Folder, node: &Node, observer: &dyn Observer) {
        for validation in folder.validations(self.index, self.scores) {
            self.scores += 1;
            observer.validated(node, &validation);
        }
    }
}

/// Eight hex digits that no other submission has.
fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = jiff::Timestamp::now().as_nanosecond();
    let digest = Digest::of(format!("{} {now} {count}", std::process::id()).as_bytes());
    digest.to_string().chars().take(8).collect()
}

#[cfg(test)]
mod tests;
