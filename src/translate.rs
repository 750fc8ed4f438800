//! Texts rewritten by somebody else: a program that the user names, or a translation server, there and back through another
//! language.
//!
//! [`rewrite`] takes texts and gives as many. Asking is slow, may cost money and may fail in the middle, so every result is
//! written down as soon as its batch is there ([`Kept`]) and is never asked for again: not after an interruption, not after a
//! crash, not by another process that asks the same service. Who asks holds a lock while a batch is under way, so of two that
//! want the same texts each asks a part of them.
//!
//! What is not asked: a text of nothing but white space is its own result, and equal questions are one question. A server
//! translates a text the same way each time, so all copies of a text are one question to it; a program is told the number of
//! the copy, and may answer differently. An answer is taken as it is, empty or unchanged too: what that is worth the caller
//! decides.
//!
//! Deliberately absent: models of translation, the choice of rows, and any judgement of an answer. A program is started only
//! by a caller that was allowed to; nothing here asks for that.

mod command;
mod error;
mod http;
mod kept;
mod process;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

pub use error::{Fault, TranslateError};
pub use kept::Kept;
use kept::Key;

/// How often it is asked whether to stop.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// A text to be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    pub text: &'a str,
    /// 1 for the first copy of a row, 2 for the second.
    pub copy: u32,
}

/// Who rewrites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    Command(Command),
    Http(Http),
}

/// A program that reads JSON Lines and writes JSON Lines; see [`rewrite`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments. A name without a slash is looked for in `PATH`; a relative path starts at `folder`.
    pub program: Vec<String>,
    /// The folder it runs in.
    pub folder: PathBuf,
    /// How many texts are written before all their answers are awaited; at least 1.
    pub batch: usize,
    /// The longest wait for the next answer; the first one includes the program's start.
    pub timeout: Duration,
    /// How often in a row it is started anew without having answered anything.
    pub restarts: u32,
}

/// A server that speaks LibreTranslate's protocol.
#[derive(Clone, PartialEq, Eq)]
pub struct Http {
    /// The address before `/translate`, without a name or a password.
    pub url: String,
    /// The language of the texts, as the server names it.
    pub source: String,
    /// The language in between.
    pub pivot: String,
    /// What the server asks for as `api_key`. No error and no message shows it.
    pub key: Option<String>,
    /// How many texts one request holds; at least 1.
    pub batch: usize,
    /// The longest time that one request may take.
    pub timeout: Duration,
    /// How often a request is put again after a busy server or a broken line.
    pub retries: u32,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("url", &self.url)
            .field("source", &self.source)
            .field("pivot", &self.pivot)
            .field("key", &self.key.as_ref().map(|_| "hidden"))
            .field("batch", &self.batch)
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .finish()
    }
}

impl Service {
    /// What the answers depend on, for [`Kept::open`]: the command or the address and the languages, and the version that the
    /// user states. The folder, the key, sizes and times are no part of it.
    pub fn identity(&self, version: &str) -> String {
        let parts = match self {
            Service::Command(command) => serde_json::json!(["command", command.program, version]),
            Service::Http(http) => {
                let url = http.url.trim_end_matches('/');
                serde_json::json!(["http", url, http.source, http.pivot, version])
            }
        };
        parts.to_string()
    }

    fn batch(&self) -> usize {
        match self {
            Service::Command(command) => command.batch.max(1),
            Service::Http(http) => http.batch.max(1),
        }
    }

    fn key_of(&self, asked: &Asked) -> Key {
        match self {
            Service::Command(_) => Key::of(asked.text, asked.copy),
            Service::Http(_) => Key::of(asked.text, 1),
        }
    }
}

/// Rewrites texts: the result of each, in the order asked.
///
/// What `kept` knows is not asked again, and what is asked is kept. `seen` is told how many of `asked` have their result,
/// after each answer and about ten times a second while there is none; its `Break` ends the work, with what was answered
/// so far kept.
///
/// A program gets a line `{"id": 0, "text": "…", "copy": 1}` for each text on its standard input, in ASCII (other
/// characters are escaped), and answers each with a line `{"id": 0, "text": "…"}` on its standard output, in UTF-8 and in any
/// order. It gets a batch of lines at once, and the next batch when all answers are there, so it must flush. Its input ends
/// when there is nothing more to ask. One that dies, falls silent or answers with something else is killed with every
/// process of its group, started anew and asked for what is missing. Its standard error is logged at the level `debug`.
///
/// A server is asked as `POST URL/translate` with `{"q": ["…"], "source": "en", "target": "de", "format": "text"}`, and once
/// more for the way back; it answers `{"translatedText": ["…"]}`. Only what came back is kept: a request that fails on the
/// way back costs the way there of that one batch. Must not be called from within an asynchronous runtime.
///
/// # Errors
/// The service cannot be started or reached, failed too often, refused, or answered something else than it was asked; what
/// is kept cannot be read or written; `seen` said to stop.
pub fn rewrite(
    service: &Service,
    kept: &Kept,
    asked: &[Asked],
    seen: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Vec<String>, TranslateError> {
    kept.refresh()?;
    let mut work = Work::new(asked.len(), seen);
    let mut places = Vec::with_capacity(asked.len());
    let mut numbers: HashMap<Key, usize> = HashMap::new();
    for asked in asked {
        if is_blank(asked.text) {
            places.push(Place::Done(asked.text.to_owned()));
            continue;
        }
        let key = service.key_of(asked);
        if let Some(known) = kept.get(&key) {
            places.push(Place::Done(known));
            continue;
        }
        let number = match numbers.entry(key) {
            Entry::Occupied(number) => *number.get(),
            Entry::Vacant(vacant) => *vacant.insert(work.add(asked, key)),
        };
        work.repeat(number);
        places.push(Place::Waits(number));
    }
    drop(numbers);
    work.done = places
        .iter()
        .filter(|place| matches!(place, Place::Done(_)))
        .count();
    work.heard()?;
    if !work.questions.is_empty() {
        ask_all(service, kept, &mut work)?;
    }
    let result = |place| match place {
        Place::Done(text) => text,
        // All are answered: `ask_all` ends well in no other way.
        Place::Waits(number) => work.answer_of(number).unwrap_or_default().to_owned(),
    };
    Ok(places.into_iter().map(result).collect())
}

enum Place {
    Done(String),
    /// For the answer to the question of this number.
    Waits(usize),
}

fn ask_all(service: &Service, kept: &Kept, work: &mut Work) -> Result<(), TranslateError> {
    let mut one = match service {
        Service::Command(settings) => One::Program(command::Program::new(settings)),
        Service::Http(settings) => One::Server(http::Server::new(settings)?),
    };
    loop {
        let claim = kept.claim(&mut || work.heard())?;
        kept.refresh()?;
        let batch = work.next(service.batch(), kept);
        if batch.is_empty() {
            drop(claim);
            break;
        }
        let outcome = match &mut one {
            One::Program(program) => program.ask(&batch, work),
            One::Server(server) => server.ask(&batch, work),
        };
        // Whatever happened, what was answered is kept.
        let answered = batch.iter().filter_map(|number| {
            let question = work.questions.get(*number)?;
            Some((&question.key, work.answer_of(*number)?))
        });
        claim.append(answered)?;
        outcome?;
        drop(claim);
        work.heard()?;
    }
    if let One::Program(program) = one {
        program.close();
    }
    Ok(())
}

enum One<'a> {
    Program(command::Program<'a>),
    Server(http::Server<'a>),
}

/// Questions, each different from the others, and what was answered.
struct Work<'a> {
    questions: Vec<Question<'a>>,
    /// As many as there are questions.
    answers: Vec<Option<String>>,
    /// All questions before this one are answered.
    at: usize,
    /// How many of the texts asked for have their result.
    done: usize,
    total: usize,
    seen: &'a mut dyn FnMut(usize) -> ControlFlow<()>,
}

struct Question<'a> {
    text: &'a str,
    copy: u32,
    key: Key,
    /// How many of the texts asked for it stands for.
    times: usize,
}

impl<'a> Work<'a> {
    fn new(total: usize, seen: &'a mut dyn FnMut(usize) -> ControlFlow<()>) -> Work<'a> {
        Work {
            questions: Vec::new(),
            answers: Vec::new(),
            at: 0,
            done: 0,
            total,
            seen,
        }
    }

    fn add(&mut self, asked: &Asked<'a>, key: Key) -> usize {
        self.questions.push(Question {
            text: asked.text,
            copy: asked.copy,
            key,
            times: 0,
        });
        self.answers.push(None);
        self.questions.len() - 1
    }

    fn repeat(&mut self, number: usize) {
        if let Some(question) = self.questions.get_mut(number) {
            question.times += 1;
        }
    }

    /// The next questions that nobody has answered, in ascending order. None: all are answered.
    fn next(&mut self, most: usize, kept: &Kept) -> Vec<usize> {
        let mut batch = Vec::new();
        let mut number = self.at;
        while batch.len() < most
            && let Some(question) = self.questions.get(number)
        {
            if !self.is_answered(number) {
                match kept.get(&question.key) {
                    Some(known) => self.answer(number, known),
                    None => batch.push(number),
                }
            }
            number += 1;
        }
        self.at = batch.first().copied().unwrap_or(number);
        batch
    }

    fn is_answered(&self, number: usize) -> bool {
        self.answer_of(number).is_some()
    }

    fn answer_of(&self, number: usize) -> Option<&str> {
        self.answers.get(number)?.as_deref()
    }

    fn answer(&mut self, number: usize, text: String) {
        let places = (self.questions.get(number), self.answers.get_mut(number));
        if let (Some(question), Some(answer)) = places {
            self.done += question.times;
            *answer = Some(text);
        }
    }

    /// Says how far the work is, and hears whether to stop.
    fn heard(&mut self) -> Result<(), TranslateError> {
        match (self.seen)(self.done) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(TranslateError::Interrupted),
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// The beginning of a text, for a message.
fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
