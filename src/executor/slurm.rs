//! Slurm, through its own programs: `sbatch`, `squeue`, `scancel`, `scontrol`.
//!
//! The script that a job runs is always the same and holds no word of the spec: what is to be done lies in the folder whose
//! path it is given. Nothing is asked of the accounting, which many clusters do not have; what `squeue` has forgotten is
//! told by the folder.
//!
//! Deliberately absent: Slurm's REST interface and its library, which are tied to versions; the programs' output in the
//! formats asked for here is the same since version 20.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{Executor, ExecutorError, Queue, Seen, Submission};
use crate::spec::replace;
use crate::spec::slurm::SlurmSettings;

/// `exec`, so that the signal before the time is up reaches the program itself. Threads are as many as cores were asked for:
/// not every cluster binds a job to its own.
const SCRIPT: &str = "#!/bin/sh
if [ -n \"$SLURM_CPUS_PER_TASK\" ]; then export RAYON_NUM_THREADS=\"$SLURM_CPUS_PER_TASK\"; fi
exec \"$1\" step \"$2\" \"${SLURM_ARRAY_TASK_ID:-0}\"
";

/// Where nothing else is known: Slurm's own default.
const MOST_TOGETHER: usize = 1001;

/// A command line takes no more ids than this without trouble.
const MOST_NAMED: usize = 500;

pub struct Slurm<'a> {
    settings: &'a SlurmSettings,
    /// This program.
    program: PathBuf,
    /// The folder in which jobs begin.
    folder: PathBuf,
    most_together: OnceLock<usize>,
}

impl<'a> Slurm<'a> {
    pub fn new(settings: &'a SlurmSettings, program: PathBuf, folder: PathBuf) -> Self {
        Slurm {
            settings,
            program,
            folder,
            most_together: OnceLock::new(),
        }
    }
}

impl Executor for Slurm<'_> {
    fn name(&self) -> &'static str {
        "slurm"
    }

    fn chains(&self) -> bool {
        true
    }

    fn most_together(&self) -> usize {
        *self.most_together.get_or_init(|| {
            let told = output("scontrol", &["show".into(), "config".into()]);
            told.ok()
                .and_then(|text| largest_array(&text))
                .unwrap_or(MOST_TOGETHER)
        })
    }

    fn most_at_once(&self) -> Option<usize> {
        None
    }

    fn submit(&self, submission: &Submission<'_>) -> Result<String, ExecutorError> {
        let script = submission.folder.join("job.sh");
        replace(&script, SCRIPT).map_err(|source| ExecutorError::Unwritable {
            path: script.clone(),
            source,
        })?;
        let mut arguments = options(self.settings, &self.folder, submission);
        arguments.extend([
            script.into_os_string(),
            self.program.clone().into_os_string(),
            submission.folder.into(),
        ]);
        match output("sbatch", &arguments) {
            Ok(told) => identity(&told).ok_or_else(|| ExecutorError::Unanswered {
                program: "sbatch",
                said: told.trim().to_owned(),
            }),
            Err(Failed::Start(error)) => Err(error),
            Err(Failed::Said(said)) if passes(&said) => Err(ExecutorError::Unanswered {
                program: "sbatch",
                said,
            }),
            Err(Failed::Said(said)) => Err(ExecutorError::Refused {
                stage: submission.stage().to_owned(),
                said,
            }),
        }
    }

    fn job(&self, submission: &str, index: usize, several: bool) -> String {
        match several {
            true => format!("{submission}_{index}"),
            false => submission.to_owned(),
        }
    }

    fn queue(&self, _known: &[(PathBuf, usize, String)]) -> Result<Queue, ExecutorError> {
        let arguments = [
            "--noheader",
            "--array",
            "--states=all",
            "--me",
            "--format=%i|%T|%r|%j",
        ];
        match output("squeue", &arguments.map(OsString::from)) {
            Ok(text) => Ok(read_queue(&text)),
            Err(Failed::Start(error)) => Err(error),
            Err(Failed::Said(said)) => Err(ExecutorError::Unanswered {
                program: "squeue",
                said,
            }),
        }
    }

    fn cancel(&self, jobs: &[String]) -> Result<(), ExecutorError> {
        for some in jobs.chunks(MOST_NAMED) {
            let arguments: Vec<OsString> = some.iter().map(OsString::from).collect();
            match output("scancel", &arguments) {
                Ok(_) => {}
                // Over already.
                Err(Failed::Said(said)) if said.contains("Invalid job id") => {}
                Err(Failed::Said(said)) => {
                    return Err(ExecutorError::Unanswered {
                        program: "scancel",
                        said,
                    });
                }
                Err(Failed::Start(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn farewell(&self, jobs: &[String]) -> Option<String> {
        Some(format!("scancel {}", jobs.join(" ")))
    }
}

/// Asks for a new job in place of the one that this process is. Once it has begun again it goes on from the checkpoint.
///
/// # Errors
/// What Slurm said, or that this is no job.
pub fn requeue() -> Result<(), String> {
    let job = std::env::var_os("SLURM_JOB_ID").ok_or("this is no job of Slurm")?;
    match output("scontrol", &["requeue".into(), job]) {
        Ok(_) => Ok(()),
        Err(Failed::Said(said)) => Err(said),
        Err(Failed::Start(error)) => Err(error.to_string()),
    }
}

/// How a program of Slurm did not do what it was asked.
enum Failed {
    Start(ExecutorError),
    Said(String),
}

fn output(program: &'static str, arguments: &[OsString]) -> Result<String, Failed> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|source| Failed::Start(ExecutorError::Missing { program, source }))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(Failed::Said(last_word(&text(&output.stderr)))),
    }
}

/// The last line of what a program complained of, without its name.
fn last_word(stderr: &str) -> String {
    let line = stderr.lines().rev().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or("no word");
    let line = line.split_once("error: ").map_or(line, |(_, rest)| rest);
    let line = line
        .strip_prefix("Batch job submission failed: ")
        .unwrap_or(line);
    line.trim().to_owned()
}

/// Whether a submission failed in a way that passes.
fn passes(said: &str) -> bool {
    [
        "Unable to contact slurm controller",
        "Socket timed out",
        "Connection refused",
        "Zero Bytes",
        "temporarily",
        "standby",
        "Transport endpoint",
        "Communication connection failure",
        "Unexpected message received",
        "backing off",
        // What was waited for ended, and is forgotten: seen at the next look.
        "Job dependency problem",
    ]
    .iter()
    .any(|word| said.contains(word))
}

/// What `sbatch --parsable` printed: the id, and behind a semicolon the cluster.
fn identity(told: &str) -> Option<String> {
    let line = told.lines().rev().find(|line| !line.trim().is_empty())?;
    let id = line.split(';').next()?.trim();
    let digits = !id.is_empty() && id.chars().all(|c| c.is_ascii_digit());
    digits.then(|| id.to_owned())
}

fn largest_array(config: &str) -> Option<usize> {
    let line = config
        .lines()
        .find(|line| line.starts_with("MaxArraySize"))?;
    let size = line.split_once('=')?.1.trim().parse().ok()?;
    // Zero is a cluster without arrays.
    Some(std::cmp::max(1, size))
}

/// The options of `sbatch`.
fn options(settings: &SlurmSettings, folder: &Path, submission: &Submission<'_>) -> Vec<OsString> {
    let mut options: Vec<OsString> = vec![
        "--parsable".into(),
        "--requeue".into(),
        "--open-mode=append".into(),
        "--kill-on-invalid-dep=yes".into(),
        "--nodes=1".into(),
        "--ntasks=1".into(),
        format!("--job-name={}", submission.name).into(),
        format!("--signal=B:USR1@{}", settings.notice).into(),
        joined("--chdir=", folder),
    ];
    let several = submission.indexes.len() > 1;
    let log = match several {
        true => "%a.log".to_owned(),
        false => format!("{}.log", submission.indexes.first().unwrap_or(&0)),
    };
    // A `%` in the path would be a pattern.
    let path = submission.folder.to_string_lossy().replace('%', "%%");
    options.push(format!("--output={path}/{log}").into());
    if several {
        let most = settings
            .max_running
            .filter(|_| matches!(submission.kind, "train" | "pretrain"));
        let most = most.map(|most| format!("%{most}")).unwrap_or_default();
        options.push(format!("--array={}{most}", ranges(submission.indexes)).into());
    }
    let dependency = dependency(submission);
    if !dependency.is_empty() {
        options.push(format!("--dependency={dependency}").into());
    }
    let asked = settings.of_kind(submission.kind);
    let named = [
        ("partition", asked.partition),
        ("account", settings.account.clone()),
        ("qos", settings.qos.clone()),
        ("time", asked.time),
        ("mem", asked.memory),
        ("cpus-per-task", asked.cpus.map(|count| count.to_string())),
        (
            "gres",
            asked
                .gpus
                .filter(|count| *count > 0)
                .map(|count| format!("gpu:{count}")),
        ),
    ];
    for (name, value) in named {
        options.extend(value.map(|value| OsString::from(format!("--{name}={value}"))));
    }
    options.extend(settings.options.iter().map(OsString::from));
    options
}

fn joined(option: &str, path: &Path) -> OsString {
    let mut text = OsString::from(option);
    text.push(path);
    text
}

/// `0-3,5`.
fn ranges(indexes: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => ranges.push((index, index)),
        }
    }
    let words = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(",")
}

fn dependency(submission: &Submission<'_>) -> String {
    let after = submission.after;
    let mut words = Vec::new();
    if !after.all.is_empty() {
        words.push(format!("afterok:{}", after.all.join(":")));
    }
    if let Some(array) = &after.same_index {
        words.push(format!("aftercorr:{array}"));
    }
    if !after.ended.is_empty() {
        words.push(format!("afterany:{}", after.ended.join(":")));
    }
    words.join(",")
}

/// The lines of `squeue`, one for each job: id, state, reason, name.
fn read_queue(text: &str) -> Queue {
    let mut queue = Queue {
        jobs: HashMap::new(),
        names: HashMap::new(),
    };
    for line in text.lines() {
        let mut fields = line.trim().splitn(4, '|');
        let (Some(id), Some(state), Some(reason), Some(name)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if !name.starts_with("refit-") {
            continue;
        }
        let submission = id.split('_').next().unwrap_or(id);
        queue.names.insert(name.to_owned(), submission.to_owned());
        queue.jobs.insert(id.to_owned(), seen(state, reason));
    }
    queue
}

fn seen(state: &str, reason: &str) -> Seen {
    let reason = match reason {
        "" | "None" | "(null)" => state.to_lowercase(),
        reason => reason.to_owned(),
    };
    match state {
        "RUNNING" | "COMPLETING" => Seen::Running,
        "PENDING" if reason == "DependencyNeverSatisfied" => Seen::Over(reason),
        "COMPLETED" => Seen::Over("it ended without a word".to_owned()),
        "FAILED" | "CANCELLED" | "TIMEOUT" | "OUT_OF_MEMORY" | "NODE_FAIL" | "BOOT_FAIL"
        | "DEADLINE" | "PREEMPTED" | "REVOKED" => {
            Seen::Over(match reason == state.to_lowercase() {
                true => state.to_owned(),
                false => format!("{state}, {reason}"),
            })
        }
        "PENDING" => Seen::Waiting(reason),
        _ => Seen::Waiting(state.to_lowercase()),
    }
}

#[cfg(test)]
mod tests;
