//! What can go wrong with a program or a service that rewrites texts.
//!
//! Deliberately absent: faults of the settings, which are checked before anything is asked.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Texts that could not be rewritten. Whatever was answered before is kept.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TranslateError {
    #[error("there is no program {program}")]
    #[diagnostic(help(
        "a name without a slash is looked for in PATH, a relative path starts at {}; install it, or write the whole path",
        folder.display()
    ))]
    NoProgram { program: String, folder: PathBuf },
    #[error("{program} may not be run")]
    #[diagnostic(help(
        "make the file executable (chmod +x), or name the program that runs it first: [\"python3\", \"FILE\"]"
    ))]
    NotExecutable { program: String },
    #[error("there is no folder {}, in which the command is to run", folder.display())]
    #[diagnostic(help("make the folder, or correct the path"))]
    NoFolder { folder: PathBuf },
    #[error("{program} cannot be started")]
    #[diagnostic(help("try to start it by hand in {}", folder.display()))]
    CannotStart {
        program: String,
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{program} {fault}{}; {done} of {total} texts are done and kept, the next one begins {text:?}{}",
        times(*.attempts),
        last_words(.stderr)
    )]
    #[diagnostic(help(
        "it gets lines such as {{\"id\": 0, \"text\": \"…\", \"copy\": 1}} and must answer each with one line {{\"id\": 0, \"text\": \"…\"}}, \
         flushed and with nothing else on standard output; when it works by hand, run again: only what is missing is asked"
    ))]
    Program {
        program: String,
        fault: Box<Fault>,
        /// How often it was started in a row without having answered anything.
        attempts: u32,
        done: usize,
        total: usize,
        /// The beginning of the first text that it did not answer.
        text: String,
        /// Its last lines on standard error.
        stderr: Vec<String>,
    },
    #[error("{url:?} is no address that can be asked: {reason}")]
    #[diagnostic(help("write the address before /translate, such as http://localhost:5000"))]
    Address { url: String, reason: String },
    #[error("{url} refused: {reason}; {done} of {total} texts are done and kept")]
    #[diagnostic(help(
        "the words after the status are the server's; check the languages, the key and the size of a batch, then run again: only what is missing is asked"
    ))]
    Refused {
        url: String,
        reason: String,
        done: usize,
        total: usize,
    },
    #[error("{url} cannot be asked: {reason}{}; {done} of {total} texts are done and kept", times(*.attempts))]
    #[diagnostic(help(
        "see that the server runs and is not overloaded, or raise the retries and the timeout, then run again: only what is missing is asked"
    ))]
    Unreachable {
        url: String,
        reason: String,
        attempts: u32,
        done: usize,
        total: usize,
    },
    #[error(
        "{url} does not answer as LibreTranslate does: {reason}; {done} of {total} texts are done and kept"
    )]
    #[diagnostic(help(
        "asked with {{\"q\": [\"…\"], \"source\": …, \"target\": …}}, the server must answer {{\"translatedText\": [\"…\"]}} with one text for each"
    ))]
    Answer {
        url: String,
        reason: String,
        done: usize,
        total: usize,
    },
    #[error("interrupted")]
    #[diagnostic(help("what was answered is kept; run again for the rest"))]
    Interrupted,
    #[error("cannot read {}, where results are kept", file.display())]
    #[diagnostic(help("check that you may read it; without it everything is asked again"))]
    Read {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}, where results are kept", file.display())]
    #[diagnostic(help("check that you may write there, and that the disk is not full"))]
    Write {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot lock {}", file.display())]
    #[diagnostic(help(
        "the file system may know no locks; put the store on one that does, such as a local disk"
    ))]
    Lock {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Why a running program was of no more use.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Also said of a program that was killed by others; without a status where the system does not tell.
    #[error("ended before it had answered everything ({})", status.map_or_else(|| "exit status unknown".to_owned(), |status| status.to_string()))]
    Ended { status: Option<ExitStatus> },
    #[error("closed its standard output before it had answered everything")]
    Closed,
    #[error("wrote no answer for {} s", timeout.as_secs_f64())]
    Silent { timeout: Duration },
    /// `line` is the beginning of what it wrote.
    #[error("wrote a line that is no answer, for {reason}: {line:?}")]
    Garbage { reason: String, line: String },
}

fn times(attempts: u32) -> String {
    match attempts {
        0 | 1 => String::new(),
        more => format!(" ({more} attempts in a row brought nothing)"),
    }
}

fn last_words(stderr: &[String]) -> String {
    if stderr.is_empty() {
        return "; it wrote nothing to standard error".to_owned();
    }
    let mut text = "; it last wrote to standard error:".to_owned();
    for line in stderr {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}
