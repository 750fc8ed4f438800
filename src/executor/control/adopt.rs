//! Jobs that an earlier controller submitted: those that are under way are gone on with.

use std::collections::HashMap;
use std::time::Duration;

use super::{Alive, Control, State};
use crate::executor::job::Folder;
use crate::executor::{ExecutorError, Seen};

/// How long a submission of which nothing is under way is kept, for whoever wants to read what its jobs printed.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

impl Control<'_> {
    /// Goes on with what an earlier controller submitted.
    pub(super) fn adopt(&mut self) -> Result<(), ExecutorError> {
        let executor = self.options.executor;
        let nodes: HashMap<&str, usize> = self
            .graph
            .nodes
            .iter()
            .enumerate()
            .map(|(n, node)| (node.id.as_str(), n))
            .collect();
        let mut found = Vec::new();
        for folder in Folder::all(self.options.store) {
            let ours = folder
                .description()
                .is_ok_and(|one| one.executor == executor.name());
            match folder.tasks() {
                Ok(tasks) if ours => found.push((folder, tasks)),
                _ => {}
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let known = found.iter().flat_map(|(folder, tasks)| {
            let id = folder.submitted().unwrap_or_default();
            let several = tasks.len() > 1;
            tasks.iter().map(move |task| {
                (
                    folder.path().to_owned(),
                    task.index,
                    executor.job(&id, task.index, several),
                )
            })
        });
        let known: Vec<_> = known.collect();
        let queue = loop {
            match executor.queue(&known) {
                Ok(queue) => break queue,
                Err(ExecutorError::Unanswered { said, .. }) => {
                    self.unanswered(&said);
                    self.rest(self.silence);
                    if self.told_to_stop() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        };
        self.silence = Duration::ZERO;
        let mut adopted = 0;
        for (folder, tasks) in found {
            let Some(id) = folder
                .submitted()
                .or_else(|| queue.names.get(&folder.name()).cloned())
            else {
                continue;
            };
            let several = tasks.len() > 1;
            let place = self.folders.len();
            let mut under_way = false;
            for task in &tasks {
                let job = executor.job(&id, task.index, several);
                if !matches!(queue.jobs.get(&job), Some(Seen::Waiting(_) | Seen::Running)) {
                    continue;
                }
                under_way = true;
                let Some(&node) = nodes.get(task.node.as_str()) else {
                    continue;
                };
                if matches!(self.states[node], State::Idle) {
                    adopted += 1;
                    self.own.insert(place);
                    self.states[node] = State::Alive(Alive {
                        folder: place,
                        index: task.index,
                        job,
                        array: several.then(|| id.clone()),
                        began: false,
                        missed: 0,
                        scores: 0,
                    });
                }
            }
            if !under_way && is_old(&folder) {
                folder.forget();
            }
            self.folders.push(folder);
        }
        if adopted > 0 {
            self.observer.found(adopted);
        }
        Ok(())
    }
}

fn is_old(folder: &Folder) -> bool {
    let modified = std::fs::metadata(folder.path()).and_then(|found| found.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > KEPT))
}
