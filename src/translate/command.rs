//! Asking a program: a batch of lines there, a line back for each, and what to do about one that fails.
//!
//! Deliberately absent: pipes, threads and killing ([`process`](super::process)).

use std::io;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::process::{Heard, Process};
use super::{Command, Fault, HEARTBEAT, TranslateError, Work, short};

/// How much of a line, or a text, a message shows, in characters.
const SHOWN: usize = 200;

pub(super) struct Program<'a> {
    settings: &'a Command,
    /// None before the first question, and after a fault.
    process: Option<Process>,
    /// How often in a row it failed without having answered anything.
    fruitless: u32,
}

/// Why an attempt ended early.
enum Stopped {
    Fault(Fault),
    ForGood(TranslateError),
}

impl From<TranslateError> for Stopped {
    fn from(error: TranslateError) -> Self {
        Stopped::ForGood(error)
    }
}

#[derive(Serialize)]
struct Line<'a> {
    id: usize,
    text: &'a str,
    copy: u32,
}

impl<'a> Program<'a> {
    pub(super) fn new(settings: &'a Command) -> Program<'a> {
        Program {
            settings,
            process: None,
            fruitless: 0,
        }
    }

    /// Asks the questions of these numbers, in ascending order, until all are answered.
    pub(super) fn ask(&mut self, batch: &[usize], work: &mut Work) -> Result<(), TranslateError> {
        loop {
            let missing = batch.iter().copied();
            let missing: Vec<_> = missing.filter(|n| !work.is_answered(*n)).collect();
            let Some(first) = missing.first().copied() else {
                return Ok(());
            };
            let mut process = match self.process.take() {
                Some(process) => process,
                None => Process::start(&self.settings.program, &self.settings.folder)?,
            };
            process.tell(lines(&missing, work));
            match self.listen(&mut process, &missing, work) {
                Ok(()) => self.process = Some(process),
                Err(Stopped::ForGood(error)) => return Err(error),
                Err(Stopped::Fault(fault)) => {
                    self.bear(fault, process, first, work)?;
                    work.heard()?;
                }
            }
        }
    }

    /// Takes answers until none of the questions is open.
    fn listen(
        &mut self,
        process: &mut Process,
        questions: &[usize],
        work: &mut Work,
    ) -> Result<(), Stopped> {
        let mut open = questions.len();
        let mut last = Instant::now();
        while open > 0 {
            let left = self.settings.timeout.saturating_sub(last.elapsed());
            let line = match process.hear(left.min(HEARTBEAT)) {
                Ok(Heard::Line(line)) => line,
                Ok(Heard::Unended(line)) if parse(&line).is_ok() => line,
                // Its writer died over it; what follows says so.
                Ok(Heard::Unended(_)) => continue,
                Ok(Heard::TooLong(line)) => {
                    return Err(garbage("it is too long".to_owned(), &line));
                }
                Err(RecvTimeoutError::Timeout) => {
                    work.heard()?;
                    if last.elapsed() >= self.settings.timeout {
                        let timeout = self.settings.timeout;
                        return Err(Stopped::Fault(Fault::Silent { timeout }));
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Stopped::Fault(match process.end_of_closed() {
                        Some(status) => Fault::Ended { status },
                        None => Fault::Closed,
                    }));
                }
            };
            let (id, text) = parse(&line).map_err(|reason| garbage(reason, &line))?;
            let number = usize::try_from(id).unwrap_or(usize::MAX);
            if work.is_answered(number) {
                return Err(garbage(format!("id {id} was answered before"), &line));
            }
            if questions.binary_search(&number).is_err() {
                return Err(garbage(format!("id {id} was not asked"), &line));
            }
            work.answer(number, text);
            open -= 1;
            self.fruitless = 0;
            last = Instant::now();
            work.heard()?;
        }
        Ok(())
    }

    /// Ends a process that failed. An error when that happened too often.
    fn bear(
        &mut self,
        fault: Fault,
        process: Process,
        first: usize,
        work: &Work,
    ) -> Result<(), TranslateError> {
        let stderr = process.last_words();
        let program = self.settings.program.join(" ");
        if self.fruitless < self.settings.restarts {
            self.fruitless += 1;
            tracing::warn!("{program} {fault}; it is started anew");
            return Ok(());
        }
        let text = work.questions.get(first).map(|question| question.text);
        Err(TranslateError::Program {
            program,
            fault: Box::new(fault),
            attempts: self.fruitless.saturating_add(1),
            done: work.done,
            total: work.total,
            text: short(text.unwrap_or_default(), SHOWN),
            stderr,
        })
    }

    /// Ends the program, which has nothing more to do.
    pub(super) fn close(self) {
        let Some(process) = self.process else {
            return;
        };
        let program = self.settings.program.join(" ");
        match process.close() {
            Some(status) if status.success() => {}
            Some(status) => tracing::warn!("{program} answered everything and ended with {status}"),
            None => tracing::warn!("{program} did not end with its standard input and was killed"),
        }
    }
}

fn lines(questions: &[usize], work: &Work) -> Vec<u8> {
    let mut lines = Vec::new();
    for number in questions {
        let Some(question) = work.questions.get(*number) else {
            continue;
        };
        let line = Line {
            id: *number,
            text: question.text,
            copy: question.copy,
        };
        // Nothing can fail that writes numbers and strings to memory.
        let _ = line.serialize(&mut Serializer::with_formatter(&mut lines, Ascii));
        lines.push(b'\n');
    }
    lines
}

/// JSON that means the same in every encoding, and has no character that some library takes for the end of a line.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|letter: char| !letter.is_ascii()) {
            let (plain, other) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut letters = other.chars();
            if let Some(letter) = letters.next() {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = letters.as_str();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

fn parse(line: &[u8]) -> Result<(u64, String), String> {
    let value: Value =
        serde_json::from_slice(line).map_err(|error| format!("it is not JSON ({error})"))?;
    let Value::Object(mut fields) = value else {
        return Err("it is not a JSON object".to_owned());
    };
    let id = match fields.get("id") {
        Some(id) => id.as_u64().ok_or("its id is not a whole number")?,
        None => return Err("it has no id".to_owned()),
    };
    match fields.remove("text") {
        Some(Value::String(text)) => Ok((id, text)),
        Some(_) => Err("its text is not a string".to_owned()),
        None => Err("it has no text".to_owned()),
    }
}

fn garbage(reason: String, line: &[u8]) -> Stopped {
    // Enough for what is shown, whatever the characters are.
    let line = line.get(..SHOWN * 8).unwrap_or(line);
    let line = short(&String::from_utf8_lossy(line), SHOWN);
    Stopped::Fault(Fault::Garbage { reason, line })
}
