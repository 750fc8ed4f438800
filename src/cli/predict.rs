//! `refit predict BUNDLE`: the answers of an exported model to a text, to the lines of stdin, or to the rows of files.
//!
//! Files are read twice: first to the end, so that a broken row is told before anything is computed, and what comes out has
//! the types of what went in; then some rows at a time. However many rows there are, only those that are being answered are in
//! memory.
//!
//! Deliberately absent: labels that the rows may have and scores of the answers, which `evaluate` stages are for.

mod show;
mod sink;

use std::io::{IsTerminal, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::progress::Bar;
use super::run::{INTERRUPTED, device, listen_for_interrupts};
use super::{Answer, Exit, Failure, print_json, seconds, tell};
use crate::bundle::{Bundle, BundleError};
use crate::device as devices;
use crate::model::Task;
use crate::table::read::Format;
use crate::table::records::{Lines, RecordReader, Source, Survey, ValueKind, Wanting, survey};
use crate::table::{Cell, TableError, Texts};

use sink::{Sink, Wished};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A folder with a model: where an export stage placed it, or what `refit path SPEC STAGE` prints of a train stage.
    bundle: PathBuf,
    /// The text to answer, or the question. Default: every line of stdin, a text each.
    #[arg(conflicts_with = "input")]
    question: Option<String>,
    /// Files of rows to answer: CSV, TSV, JSON, JSON Lines, Parquet, or a text a line. May be given several times.
    #[arg(short, long, value_name = "FILE", num_args = 1..)]
    input: Vec<PathBuf>,
    /// How the files are written: csv, tsv, json, jsonl, parquet or text. Default: by their endings.
    #[arg(long, value_parser = format, requires = "input")]
    format: Option<Format>,
    /// The files (csv, tsv) have no header; columns are called by their numbers from 0.
    #[arg(long, requires = "input")]
    no_header: bool,
    /// The column of the texts. Default: `text`, or the only one.
    #[arg(long, value_name = "COLUMN", requires = "input")]
    text: Option<String>,
    /// The second text of the pair; of files, the column of second texts. Default: the column `text_pair`, if there is one.
    #[arg(long, value_name = "TEXT|COLUMN", conflicts_with = "context")]
    pair: Option<String>,
    /// The column of questions. Default: `question`, or `text`.
    #[arg(
        long = "question",
        id = "question_column",
        value_name = "COLUMN",
        requires = "input"
    )]
    question_column: Option<String>,
    /// What the question is about; of files, the column of contexts. Default: the column `context`.
    #[arg(long, value_name = "TEXT|COLUMN")]
    context: Option<String>,
    /// The column of lists of words, in place of texts, for models that tag words. Default: `words` or `tokens`, where there is
    /// no `text`.
    #[arg(
        long,
        value_name = "COLUMN",
        requires = "input",
        conflicts_with = "text"
    )]
    words: Option<String>,
    /// The columns of the files to write beside the answers. Default: all.
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', requires = "input")]
    keep: Option<Vec<String>>,
    /// The file to write: csv, tsv, json, jsonl or parquet by its ending. It appears once all is answered. Default: JSON Lines on
    /// stdout, and on a terminal something to read.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Of labels and of answers to a question, only the N likeliest.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,
    /// Of multi_label: from which probability on a label is given. Of question_answering: by how much "no answer" must be ahead
    /// to be given. Default: what the model was saved with.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// Where tensors live: auto, flex, ndarray, cuda, cuda:N or ws://HOST:PORT (a worker).
    #[arg(long, value_parser = device, default_value = "auto")]
    device: String,
    /// The most tokens that are computed at once. Default: 64 texts of full length; a CPU takes less in any case.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_tokens: Option<u32>,
    /// Print the answers as one JSON value; with --output, what was done.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum PredictUse {
    #[error("there is nothing to answer")]
    #[diagnostic(help(
        "give a text after the model, files with `--input`, or lines on stdin: `refit predict BUNDLE < texts.txt`"
    ))]
    NothingAsked,
    #[error("a question needs a context to find its answer in")]
    #[diagnostic(help(
        "add `--context \"…\"`, about which every line of stdin is asked too, or give files with both columns: `--input FILE`"
    ))]
    NoContext,
    #[error("`{option}` means nothing to a model whose task is {task}")]
    #[diagnostic(help("{help}"))]
    Meaningless {
        option: &'static str,
        task: Task,
        help: &'static str,
    },
    #[error("how {} is written does not show in its ending", file.display())]
    #[diagnostic(help("give `--format`: csv, tsv, json, jsonl, parquet or text"))]
    UnknownFormat { file: PathBuf },
    #[error("{} has an ending that stands for nothing that can be written", file.display())]
    #[diagnostic(help("name a file that ends with .csv, .tsv, .json, .jsonl or .parquet"))]
    UnknownOutput { file: PathBuf },
    #[error("{} is no regular file, and rows are read twice", file.display())]
    #[diagnostic(help("write it to a file first, or give texts as lines on stdin"))]
    NotRegular { file: PathBuf },
    #[error("no input has a column `{column}` to keep")]
    #[diagnostic(help("there are {known}"))]
    NothingToKeep { column: String, known: String },
    #[error(
        "the column `{column}` cannot be kept: it holds values that have no place in a table of texts and numbers"
    )]
    #[diagnostic(help("name the columns to keep with `--keep`, without this one"))]
    CannotKeep { column: String },
}

fn format(name: &str) -> Result<Format, String> {
    let all = [
        Format::Csv,
        Format::Tsv,
        Format::Json,
        Format::Jsonl,
        Format::Parquet,
        Format::Text,
    ];
    let found = all.into_iter().find(|format| format.to_string() == name);
    found.ok_or_else(|| "expected csv, tsv, json, jsonl, parquet or text".to_owned())
}

/// Rows that are answered together, so that those of similar length meet.
const ROWS_AT_ONCE: usize = 1 << 13;
/// Rows of long texts are fewer.
const BYTES_AT_ONCE: usize = 8 << 20;
/// How often one who waits for lines looks whether to stop.
const A_WHILE: Duration = Duration::from_millis(100);

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let wished = Wished::of(arguments)?;
    let lines = arguments.question.is_none() && arguments.input.is_empty();
    if lines && std::io::stdin().is_terminal() {
        return Err(Failure::unusable(PredictUse::NothingAsked));
    }
    let chosen = devices::choose(&arguments.device).map_err(Failure::unusable)?;
    let mut bundle = Bundle::open(&arguments.bundle, &chosen).map_err(Failure::unusable)?;
    check(arguments, bundle.info().task)?;
    if let Some(threshold) = arguments.threshold {
        bundle.set_threshold(threshold).map_err(Failure::unusable)?;
    }
    for note in bundle.notes() {
        tell(&format!("warning: {note}\n"));
    }
    listen_for_interrupts();
    let asking = Asking {
        bundle: &bundle,
        wished: &wished,
        batch_tokens: match arguments.batch_tokens {
            Some(tokens) => tokens as usize,
            None => bundle.max_length().saturating_mul(64),
        },
    };
    let began = Instant::now();
    let done = match &arguments.question {
        Some(text) => asking.one(text, arguments),
        None if lines => asking.lines(arguments),
        None => asking.files(arguments),
    };
    let done = match done {
        Err(Stopped::Interrupted) => {
            let left = match &arguments.output {
                Some(output) => format!("interrupted: {} is as it was\n", output.display()),
                None => "interrupted\n".to_owned(),
            };
            tell(&left);
            return Ok(Exit::Interrupted);
        }
        Err(Stopped::Failed(failure)) => return Err(failure),
        Ok(done) => done,
    };
    let took = began.elapsed().as_secs_f64();
    if done.truncated > 0 {
        tell(&format!(
            "warning: {} of {} texts were longer than the {} tokens that the model reads, and were cut\n",
            done.truncated,
            done.rows,
            bundle.max_length()
        ));
    }
    if let Some(output) = &arguments.output {
        let rate = done.rows as f64 / took.max(1e-9);
        tell(&format!(
            "{} rows in {} on {} ({rate:.0} rows/s): {}\n",
            done.rows,
            seconds(took),
            bundle.device().name,
            output.display()
        ));
        if arguments.json {
            print_json(&json!({
                "model": bundle.name(),
                "rows": done.rows,
                "truncated": done.truncated,
                "seconds": took,
                "device": bundle.device().name,
                "output": output,
            }));
        }
    }
    Ok(Exit::Done)
}

/// Whether the options suit the task.
fn check(arguments: &Arguments, task: Task) -> Result<(), Failure> {
    let meaningless = |option, help| {
        Err(Failure::unusable(PredictUse::Meaningless {
            option,
            task,
            help,
        }))
    };
    let asks = task == Task::QuestionAnswering;
    if !asks && arguments.context.is_some() {
        return meaningless("--context", "the second text of a pair is `--pair`");
    }
    if !asks && arguments.question_column.is_some() {
        return meaningless("--question", "the column of the texts is `--text`");
    }
    if asks && arguments.pair.is_some() {
        return meaningless("--pair", "what a question is about is `--context`");
    }
    if asks && arguments.text.is_some() {
        return meaningless("--text", "the column of the questions is `--question`");
    }
    if task == Task::TokenClassification && arguments.pair.is_some() {
        return meaningless("--pair", "it tags the words of one text");
    }
    if task != Task::TokenClassification && arguments.words.is_some() {
        return meaningless("--words", "the column of the texts is `--text`");
    }
    if arguments.top_k.is_some() && matches!(task, Task::TokenClassification | Task::Regression) {
        return meaningless(
            "--top-k",
            "all that it answers is given; leave the option out",
        );
    }
    if asks && arguments.input.is_empty() && arguments.context.is_none() {
        return Err(Failure::unusable(PredictUse::NoContext));
    }
    Ok(())
}

/// Why it ended before all was answered.
enum Stopped {
    Interrupted,
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Stopped::Failed(failure)
    }
}

impl From<TableError> for Stopped {
    fn from(error: TableError) -> Self {
        Stopped::Failed(Failure::failed(error))
    }
}

impl From<BundleError> for Stopped {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Interrupted => Stopped::Interrupted,
            other => Stopped::Failed(Failure::failed(other)),
        }
    }
}

#[derive(Default)]
struct Done {
    rows: usize,
    truncated: usize,
}

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

fn going_on() -> Result<(), Stopped> {
    match interrupted() {
        true => Err(Stopped::Interrupted),
        false => Ok(()),
    }
}

/// A model that is asked, and how.
struct Asking<'a> {
    bundle: &'a Bundle,
    wished: &'a Wished,
    batch_tokens: usize,
}

/// Columns of texts, with the names that they are written under.
type Kept<'c> = Vec<(String, Vec<Cell<'c>>)>;

impl Asking<'_> {
    /// Answers some rows and writes them.
    fn answer(
        &self,
        sink: &mut Sink,
        texts: Texts<&str>,
        kept: Kept,
        bar: &Bar,
    ) -> Result<Done, Stopped> {
        let rows = texts.len();
        let answered = self
            .bundle
            .answer_texts(texts, self.batch_tokens, &mut |more| {
                bar.advance(more as u64);
                match interrupted() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            })?;
        bar.aside(|| sink.add(self.bundle, &answered, kept))?;
        Ok(Done {
            rows,
            truncated: answered.truncated(),
        })
    }

    /// Where answers go beside which these columns are kept.
    fn sink(&self, kept: Vec<(String, ValueKind)>) -> Result<Sink, Stopped> {
        let nothing = Texts {
            text_pair: (self.bundle.info().task == Task::QuestionAnswering).then(Vec::new),
            ..Texts::default()
        };
        let go_on = &mut |_| ControlFlow::Continue(());
        let none = self.bundle.answer_texts(nothing, 1, go_on)?;
        Ok(Sink::open(self.wished, kept, &none)?)
    }

    /// What a text, or a line, and what belongs to it are called.
    fn names(&self, paired: bool) -> Vec<String> {
        let names = match (self.bundle.info().task, paired) {
            (Task::QuestionAnswering, _) => &["question", "context"][..],
            (_, true) => &["text", "text_pair"],
            (_, false) => &["text"],
        };
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn one(&self, text: &str, arguments: &Arguments) -> Result<Done, Stopped> {
        let second = arguments.pair.as_deref().or(arguments.context.as_deref());
        self.texts(vec![text.to_owned()], second, None, &Bar::hidden())
    }

    /// Texts of which all have the same second one. They are written to `sink`, or to one of their own.
    fn texts(
        &self,
        texts: Vec<String>,
        second: Option<&str>,
        sink: Option<&mut Sink>,
        bar: &Bar,
    ) -> Result<Done, Stopped> {
        let asked = Texts {
            id: (0..texts.len() as u64).collect(),
            text: texts.iter().map(String::as_str).collect(),
            text_pair: second.map(|second| vec![second; texts.len()]),
            ..Texts::default()
        };
        let names = self.names(second.is_some());
        let cell = |text: &str| Cell::Text(text.to_owned().into());
        let seconds = second.map(|second| vec![cell(second); texts.len()]);
        let firsts = texts.iter().map(|text| cell(text)).collect();
        let columns = [Some(firsts), seconds].into_iter().flatten();
        let kept: Kept = names.into_iter().zip(columns).collect();
        match sink {
            Some(sink) => self.answer(sink, asked, kept, bar),
            None => {
                let kinds = kept.iter().map(|(name, _)| (name.clone(), ValueKind::Text));
                let mut sink = self.sink(kinds.collect())?;
                let done = self.answer(&mut sink, asked, kept, bar)?;
                sink.finish()?;
                Ok(done)
            }
        }
    }

    /// Every line of stdin. As many as are there are answered together, so that whoever waits for an answer gets it.
    fn lines(&self, arguments: &Arguments) -> Result<Done, Stopped> {
        let second = arguments.pair.as_deref().or(arguments.context.as_deref());
        let kinds = self.names(second.is_some()).into_iter();
        let mut sink = self.sink(kinds.map(|name| (name, ValueKind::Text)).collect())?;
        let mut lines = Waiting::on_stdin();
        let bar = Bar::rows("answering", None);
        let mut done = Done::default();
        loop {
            let (texts, more) = lines.some()?;
            // An empty stdin has columns too.
            if !texts.is_empty() || (!more && done.rows == 0) {
                let answered = self.texts(texts, second, Some(&mut sink), &bar)?;
                sink.flush()?;
                done.rows += answered.rows;
                done.truncated += answered.truncated;
            }
            if !more || sink.is_gone() {
                break;
            }
        }
        bar.end();
        sink.finish()?;
        Ok(done)
    }

    fn files(&self, arguments: &Arguments) -> Result<Done, Stopped> {
        let sources = sources(arguments)?;
        let wanting = match self.bundle.info().task {
            Task::QuestionAnswering => Wanting::Questions {
                question: arguments.question_column.clone(),
                context: arguments.context.clone(),
            },
            Task::TokenClassification => Wanting::Words {
                text: arguments.text.clone(),
                words: arguments.words.clone(),
            },
            _ => Wanting::Texts {
                text: arguments.text.clone(),
                pair: arguments.pair.clone(),
            },
        };
        let bar = Bar::rows("reading", None);
        let mut surveys = Vec::new();
        for source in &sources {
            let found = survey(source, &wanting, &mut || !interrupted())?;
            surveys.push(found.ok_or(Stopped::Interrupted)?);
        }
        bar.end();
        let kept = kept(arguments, &surveys)?;
        let names: Vec<String> = kept.iter().map(|(name, _)| name.clone()).collect();
        let mut sink = self.sink(kept)?;
        let names: Vec<String> = names.into_iter().filter(|name| !sink.hides(name)).collect();
        let all: usize = surveys.iter().map(|survey| survey.rows).sum();
        let bar = Bar::rows("answering", Some(all as u64));
        let mut done = Done::default();
        for (source, survey) in sources.iter().zip(&surveys) {
            let there: Vec<String> = survey
                .columns
                .iter()
                .map(|(name, _)| name.clone())
                .collect();
            let rows = wanting.among(source.file, &there)?;
            let mut reader = RecordReader::open(source, rows, names.clone())?;
            while let Some(mut records) = reader.next_records(ROWS_AT_ONCE)? {
                going_on()?;
                let kept = std::mem::take(&mut records.kept);
                let answered = self.answer(&mut sink, records.texts(), kept, &bar)?;
                done.rows += answered.rows;
                done.truncated += answered.truncated;
                if sink.is_gone() {
                    return Ok(done);
                }
            }
        }
        bar.end();
        sink.finish()?;
        Ok(done)
    }
}

/// The files to read, each with its format.
fn sources(arguments: &Arguments) -> Result<Vec<Source<'_>>, Failure> {
    let source = |file: &'_ PathBuf| -> Result<(), Failure> {
        let found = std::fs::metadata(file);
        match found {
            Ok(found) if !found.is_file() => Err(Failure::unusable(PredictUse::NotRegular {
                file: file.clone(),
            })),
            _ => Ok(()),
        }
    };
    let mut all = Vec::new();
    for file in &arguments.input {
        source(file)?;
        let format = arguments.format.or_else(|| Format::of_ending(file));
        let format = format
            .ok_or_else(|| Failure::unusable(PredictUse::UnknownFormat { file: file.clone() }))?;
        all.push(Source {
            file,
            format,
            header: !arguments.no_header,
        });
    }
    Ok(all)
}

/// The columns to keep, in the order in which the files have them, each with the kind of its values in all of them.
fn kept(arguments: &Arguments, surveys: &[Survey]) -> Result<Vec<(String, ValueKind)>, Failure> {
    let mut all: Vec<(String, ValueKind)> = Vec::new();
    for (name, kind) in surveys.iter().flat_map(|survey| &survey.columns) {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = known.with(*kind),
            None => all.push((name.clone(), *kind)),
        }
    }
    if let Some(wanted) = &arguments.keep {
        let names = || all.iter().map(|(name, _)| format!("`{name}`"));
        let unknown = wanted
            .iter()
            .find(|name| !all.iter().any(|(known, _)| known == *name));
        if let Some(column) = unknown {
            return Err(Failure::unusable(PredictUse::NothingToKeep {
                column: column.clone(),
                known: names().collect::<Vec<_>>().join(", "),
            }));
        }
        all.retain(|(name, _)| wanted.contains(name));
    }
    match all.iter().find(|(_, kind)| *kind == ValueKind::Opaque) {
        Some((column, _)) => Err(Failure::unusable(PredictUse::CannotKeep {
            column: column.clone(),
        })),
        None => Ok(all),
    }
}

/// Lines that somebody else reads while others are answered.
struct Waiting {
    lines: Receiver<Result<String, TableError>>,
    /// What is wrong with the line after those that were taken.
    broken: Option<TableError>,
}

impl Waiting {
    fn on_stdin() -> Waiting {
        // Enough for the next rows; whoever writes faster waits.
        let (send, lines) = sync_channel(ROWS_AT_ONCE);
        std::thread::spawn(move || {
            let stdin: Box<dyn Read + Send> = Box::new(std::io::stdin());
            let mut lines = Lines::of_stream(stdin, Path::new("stdin"));
            while let Some(line) = lines.next_line().transpose() {
                let ends = line.is_err();
                if send.send(line).is_err() || ends {
                    return;
                }
            }
        });
        Waiting {
            lines,
            broken: None,
        }
    }

    /// The lines that are there, at least one, and whether there may be more. What comes before a broken line is answered.
    fn some(&mut self) -> Result<(Vec<String>, bool), Stopped> {
        if let Some(error) = self.broken.take() {
            return Err(error.into());
        }
        let (mut texts, mut bytes) = (Vec::new(), 0);
        while texts.len() < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE {
            let line = match texts.is_empty() {
                true => match self.lines.recv_timeout(A_WHILE) {
                    Err(RecvTimeoutError::Timeout) => {
                        going_on()?;
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return Ok((texts, false)),
                    Ok(line) => line?,
                },
                false => match self.lines.try_recv() {
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok((texts, false)),
                    Ok(Err(error)) => {
                        self.broken = Some(error);
                        break;
                    }
                    Ok(Ok(line)) => line,
                },
            };
            bytes += line.len();
            texts.push(line);
        }
        Ok((texts, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_together_as_they_are_there_and_an_error_after_them() {
        let (send, lines) = sync_channel(10);
        let mut waiting = Waiting {
            lines,
            broken: None,
        };
        for line in ["a", "b"] {
            send.send(Ok(line.to_owned())).unwrap();
        }
        let (texts, more) = waiting.some().ok().unwrap();
        assert_eq!((texts.len(), more), (2, true));
        let empty = TableError::Empty {
            file: PathBuf::from("stdin"),
        };
        send.send(Ok("c".to_owned())).unwrap();
        send.send(Err(empty)).unwrap();
        drop(send);
        let (texts, more) = waiting.some().ok().unwrap();
        assert_eq!((texts.len(), more), (1, true));
        assert!(matches!(waiting.some(), Err(Stopped::Failed(_))));
        assert!(!waiting.some().ok().unwrap().1);
    }

    #[test]
    fn the_kind_of_a_column_is_that_of_all_files() {
        let survey = |columns: &[(&str, ValueKind)]| Survey {
            rows: 1,
            columns: columns
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), *kind))
                .collect(),
        };
        let surveys = [
            survey(&[("text", ValueKind::Text), ("n", ValueKind::Integer)]),
            survey(&[("late", ValueKind::Boolean), ("n", ValueKind::Float)]),
        ];
        use clap::Parser;
        #[derive(Debug, Parser)]
        struct Line {
            #[command(flatten)]
            arguments: Arguments,
        }
        let parsed = |more: &[&str]| {
            let line = ["refit", "model", "--input", "a.csv"];
            Line::try_parse_from(line.iter().chain(more))
                .unwrap()
                .arguments
        };
        let all = kept(&parsed(&[]), &surveys).ok().unwrap();
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["text", "n", "late"]);
        assert_eq!(all[1].1, ValueKind::Float);
        let some = kept(&parsed(&["--keep", "late,n"]), &surveys).ok().unwrap();
        assert_eq!(some.len(), 2);
        assert!(kept(&parsed(&["--keep", "gone"]), &surveys).is_err());
    }
}
