//! A program that runs beside this one: lines go to its standard input, lines come from its standard output.
//!
//! Each of its pipes has a thread, so it may answer before it has read everything, write as much as it likes and complain at
//! length, without anybody waiting for anybody. It leads a process group of its own, and ends with everything in it when the
//! [`Process`] is dropped. When this program is killed, it sees its input end.
//!
//! Deliberately absent: what the lines mean. A process that leaves the group (a daemon) is not followed, and where there are
//! no process groups, as on Windows, only the program itself is killed.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{TranslateError, short};

/// The longest line that is read from standard output, in bytes.
const LONGEST_LINE: usize = 16 << 20;
/// Lines that wait to be taken; a program that writes faster than that waits.
const WAITING_LINES: usize = 16;
/// How many of its last lines on standard error are kept, and the most characters of each.
const LAST_LINES: usize = 20;
const LAST_LINE: usize = 400;
/// How long one that has closed its standard output may take to be gone.
const TO_BE_GONE: Duration = Duration::from_secs(1);
/// How long one may take to end by itself when there is nothing more to ask.
const TO_END: Duration = Duration::from_secs(3);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Process {
    /// Without it, standard input ends.
    input: Option<Sender<Vec<u8>>>,
    output: Receiver<Heard>,
    stderr: Arc<Mutex<VecDeque<String>>>,
    /// Disconnected when standard error has ended.
    stderr_ended: Receiver<()>,
    group: Group,
}

/// What came from standard output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Line(Vec<u8>),
    /// The last line, which had no end.
    Unended(Vec<u8>),
    /// The beginning of a line that is too long.
    TooLong(Vec<u8>),
}

impl Process {
    /// Starts a program with arguments in a folder.
    pub(super) fn start(program: &[String], folder: &Path) -> Result<Process, TranslateError> {
        let mut words = program.iter();
        let name = words.next().map(String::as_str).unwrap_or_default();
        if !folder.is_dir() {
            return Err(TranslateError::NoFolder {
                folder: folder.to_owned(),
            });
        }
        let place = place(name, folder);
        let failed = |source: io::Error| match source.kind() {
            // One that is there may lack what its first line names.
            ErrorKind::NotFound if !place.is_file() => TranslateError::NoProgram {
                program: name.to_owned(),
                folder: folder.to_owned(),
            },
            ErrorKind::PermissionDenied => TranslateError::NotExecutable {
                program: name.to_owned(),
            },
            _ => TranslateError::CannotStart {
                program: name.to_owned(),
                folder: folder.to_owned(),
                source,
            },
        };
        let mut command = Command::new(&place);
        command
            .args(words)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut group = Group {
            leader: command.spawn().map_err(failed)?,
            gone: false,
        };
        let no_pipe = || failed(io::Error::other("it has no pipes"));
        let stdin = group.leader.stdin.take().ok_or_else(no_pipe)?;
        let stdout = group.leader.stdout.take().ok_or_else(no_pipe)?;
        let stderr = group.leader.stderr.take().ok_or_else(no_pipe)?;

        let (input, requests) = mpsc::channel();
        spawn(move || write(stdin, &requests)).map_err(failed)?;
        let (answers, output) = mpsc::sync_channel(WAITING_LINES);
        spawn(move || {
            each_line(stdout, b"\n", LONGEST_LINE, |heard| {
                let Heard::TooLong(_) = &heard else {
                    return proceed_if(answers.send(heard).is_ok());
                };
                // Nothing that follows can be made sense of.
                let _ = answers.send(heard);
                ControlFlow::Break(())
            });
        })
        .map_err(failed)?;
        let last = Arc::new(Mutex::new(VecDeque::new()));
        let (ended, stderr_ended) = mpsc::channel::<()>();
        let (lines, name) = (Arc::clone(&last), name.to_owned());
        spawn(move || {
            let _ended = ended;
            note(stderr, &name, &lines);
        })
        .map_err(failed)?;
        Ok(Process {
            input: Some(input),
            output,
            stderr: last,
            stderr_ended,
            group,
        })
    }

    /// Writes to standard input, soon, and without waiting for it. One that does not read any more says nothing either, and is
    /// noticed by that.
    pub(super) fn tell(&self, lines: Vec<u8>) {
        if let Some(input) = &self.input {
            let _ = input.send(lines);
        }
    }

    /// The next line of standard output, waited for until `Timeout`. `Disconnected`: there is no further one.
    pub(super) fn hear(&self, wait: Duration) -> Result<Heard, RecvTimeoutError> {
        self.output.recv_timeout(wait)
    }

    /// How it ended, of one that has closed its standard output. `None`: it runs on.
    pub(super) fn end_of_closed(&mut self) -> Option<Option<ExitStatus>> {
        self.ends_within(TO_BE_GONE).then(|| self.group.end())
    }

    /// The last lines of standard error, once it is killed.
    pub(super) fn last_words(mut self) -> Vec<String> {
        self.group.end();
        // One that has left the group may hold the pipe open for ever.
        let _ = self.stderr_ended.recv_timeout(TO_BE_GONE);
        let mut lines = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        lines.drain(..).collect()
    }

    /// Ends its standard input and waits a moment for it to go; then, it is killed.
    pub(super) fn close(mut self) -> Option<ExitStatus> {
        self.input = None;
        self.ends_within(TO_END).then(|| self.group.end()).flatten()
    }

    fn ends_within(&mut self, most: Duration) -> bool {
        let until = Instant::now() + most;
        let mut pause = Duration::from_millis(1);
        while !self.group.has_ended() {
            if Instant::now() >= until {
                return false;
            }
            // It may write to the last; who does not listen keeps it from ending.
            match self.output.recv_timeout(pause) {
                Ok(_) => continue,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => thread::sleep(pause),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        true
    }
}

/// A process and its descendants; killed on drop.
struct Group {
    leader: Child,
    gone: bool,
}

impl Group {
    /// Kills what still runs. How the leader ended, if the system tells.
    fn end(&mut self) -> Option<ExitStatus> {
        if !self.gone {
            #[cfg(unix)]
            if let Ok(id) = libc::pid_t::try_from(self.leader.id()) {
                // SAFETY: a plain system call. The leader was not waited for yet, so the id is still that of its group.
                unsafe { libc::killpg(id, libc::SIGKILL) };
            }
            // It may have ended by itself.
            let _ = self.leader.kill();
        }
        self.gone = true;
        self.leader.wait().ok()
    }

    /// Whether the leader has ended, without releasing its id: its group may live on and has the same.
    #[cfg(unix)]
    fn has_ended(&mut self) -> bool {
        if self.gone {
            return true;
        }
        // SAFETY: a structure of numbers, for which zero is a value; the call fills it, and it lives as long as the call.
        let (failed, ended) = unsafe {
            let mut told: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            let result = libc::waitid(libc::P_PID, self.leader.id(), &mut told, options);
            (result != 0, told.si_pid() != 0)
        };
        // Where children are not to be waited for, one that has ended is unknown.
        ended || (failed && io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD))
    }

    #[cfg(not(unix))]
    fn has_ended(&mut self) -> bool {
        self.gone || matches!(self.leader.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where the program lies: systems differ on what a relative path starts at.
fn place(name: &str, folder: &Path) -> PathBuf {
    let path = Path::new(name);
    if path.components().count() > 1 {
        let folder = std::path::absolute(folder);
        return folder.map_or_else(|_| path.to_owned(), |folder| folder.join(path));
    }
    path.to_owned()
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // Nobody joins: each ends with its pipe.
    thread::Builder::new()
        .name("translate".to_owned())
        .spawn(work)
        .map(drop)
}

fn write(mut stdin: impl Write, requests: &Receiver<Vec<u8>>) {
    for lines in requests {
        let written = stdin.write_all(&lines).and_then(|()| stdin.flush());
        if written.is_err() {
            return;
        }
    }
}

fn note(stderr: impl Read, program: &str, last: &Mutex<VecDeque<String>>) {
    // A progress bar ends its lines with a carriage return.
    each_line(stderr, b"\n\r", 4 * LAST_LINE, |heard| {
        let (Heard::Line(line) | Heard::Unended(line) | Heard::TooLong(line)) = heard;
        let line = String::from_utf8_lossy(&line);
        let line = short(line.trim_end(), LAST_LINE);
        if !line.is_empty() {
            tracing::debug!(program, "{line}");
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.len() >= LAST_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
        ControlFlow::Continue(())
    });
}

fn proceed_if(yes: bool) -> ControlFlow<()> {
    if yes {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

/// Calls `take` with each line, without its end, until the input ends or fails. Of a line longer than `longest` it gets the
/// beginning.
fn each_line(
    input: impl Read,
    ends: &[u8],
    longest: usize,
    mut take: impl FnMut(Heard) -> ControlFlow<()>,
) {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let read = match input.fill_buf() {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => &[],
        };
        if read.is_empty() {
            if !line.is_empty() {
                let _ = take(Heard::Unended(line));
            }
            return;
        }
        let end = read.iter().position(|byte| ends.contains(byte));
        let part = end.map_or(read, |end| read.get(..end).unwrap_or_default());
        if !too_long {
            let room = longest - line.len();
            line.extend_from_slice(part.get(..room).unwrap_or(part));
            too_long = part.len() > room;
            if too_long && take(Heard::TooLong(std::mem::take(&mut line))).is_break() {
                return;
            }
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            let line = std::mem::take(&mut line);
            if !std::mem::take(&mut too_long) && take(Heard::Line(line)).is_break() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines_of(bytes: &[u8], longest: usize, piece: usize) -> Vec<Heard> {
        /// Gives a few bytes at a time.
        struct Drip<'a>(&'a [u8], usize);
        impl Read for Drip<'_> {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                let most = to.len().min(self.1);
                self.0.read(&mut to[..most])
            }
        }
        let mut lines = Vec::new();
        each_line(Drip(bytes, piece), b"\n\r", longest, |line| {
            lines.push(line);
            ControlFlow::Continue(())
        });
        lines
    }

    proptest! {
        #[test]
        fn lines_are_what_lies_between_their_ends(
            text in "[ab\n\r]{0,60}",
            longest in 1_usize..12,
            piece in 1_usize..9,
        ) {
            let mut expected: Vec<_> = text
                .split(['\n', '\r'])
                .map(|line| match line.as_bytes() {
                    line if line.len() > longest => Heard::TooLong(line[..longest].to_vec()),
                    line => Heard::Line(line.to_vec()),
                })
                .collect();
            match expected.pop() {
                Some(Heard::Line(line)) if !line.is_empty() => expected.push(Heard::Unended(line)),
                Some(too_long @ Heard::TooLong(_)) => expected.push(too_long),
                _ => {}
            }
            prop_assert_eq!(lines_of(text.as_bytes(), longest, piece), expected);
        }
    }
}
