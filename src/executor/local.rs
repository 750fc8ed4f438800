//! Processes of this machine, one for each step.
//!
//! A step that takes its process along, by running out of memory or by a fault of a driver, leaves the others alone. A
//! process outlives a controller that is killed, and the next one finds it by the lock that it holds in its folder.
//!
//! Deliberately absent: a queue. The controller hands over what can start, as much as may run at once.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::job::Folder;
use super::{Executor, ExecutorError, Queue, Seen, Submission};

pub struct Processes {
    /// This program.
    program: PathBuf,
    most: usize,
    children: Mutex<Vec<Child>>,
}

impl Processes {
    /// `most` processes at once.
    pub fn new(program: PathBuf, most: usize) -> Self {
        Processes {
            program,
            most: most.max(1),
            children: Mutex::default(),
        }
    }

    /// The ids of those that were started here and run.
    fn running(&self) -> Vec<String> {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        children
            .iter()
            .map(|child| child.id().to_string())
            .collect()
    }
}

impl Executor for Processes {
    fn name(&self) -> &'static str {
        "process"
    }

    fn chains(&self) -> bool {
        false
    }

    fn most_together(&self) -> usize {
        1
    }

    fn most_at_once(&self) -> Option<usize> {
        Some(self.most)
    }

    fn submit(&self, submission: &Submission<'_>) -> Result<String, ExecutorError> {
        let index = submission.indexes.first().copied().unwrap_or_default();
        let path = Folder::at(submission.folder).log(index);
        let unwritable = |source| ExecutorError::Unwritable {
            path: path.clone(),
            source,
        };
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(unwritable)?;
        let beside = log.try_clone().map_err(unwritable)?;
        let mut command = Command::new(&self.program);
        command
            .arg("step")
            .arg(submission.folder)
            .arg(index.to_string())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(beside);
        #[cfg(unix)]
        {
            // Ctrl-C is the controller's, which tells its processes once.
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        let child = command.spawn().map_err(|source| ExecutorError::Start {
            stage: submission.stage().to_owned(),
            source,
        })?;
        let id = child.id().to_string();
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.push(child);
        Ok(id)
    }

    fn job(&self, submission: &str, _index: usize, _several: bool) -> String {
        submission.to_owned()
    }

    fn queue(&self, known: &[(PathBuf, usize, String)]) -> Result<Queue, ExecutorError> {
        let running = self.running();
        let under_way = known.iter().filter(|(folder, index, id)| {
            running.contains(id) || Folder::at(folder).is_held(*index)
        });
        Ok(Queue {
            jobs: under_way
                .map(|(_, _, id)| (id.clone(), Seen::Running))
                .collect(),
            ..Queue::default()
        })
    }

    fn cancel(&self, jobs: &[String]) -> Result<(), ExecutorError> {
        for pid in jobs.iter().filter_map(|job| job.parse().ok()) {
            stop(pid);
        }
        Ok(())
    }

    fn farewell(&self, _jobs: &[String]) -> Option<String> {
        None
    }
}

#[cfg(unix)]
fn stop(pid: i32) {
    // SAFETY: `kill` takes two numbers and touches no memory; a process that is gone is an error that changes nothing.
    unsafe { libc::kill(pid, libc::SIGTERM) };
}

/// Where no signal can be sent, a process is waited for.
#[cfg(not(unix))]
fn stop(_: i32) {}
