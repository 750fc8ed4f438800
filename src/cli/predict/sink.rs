//! Where answers go: a file, JSON or JSON Lines on stdout, or a terminal.
//!
//! Deliberately absent: how answers look to people, which is [`show`](super::show)'s.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::show::{Shown, colours};
use super::{Arguments, Kept, PredictUse};
use crate::bundle::{Answered, Bundle, Reply};
use crate::cli::{Failure, print_json, tell};
use crate::table::answered::AnsweredWriter;
use crate::table::read::Format;
use crate::table::records::ValueKind;
use crate::table::{Cells, TableError};

/// Where answers are to go, and how much of them.
pub(super) struct Wished {
    to: To,
    top_k: Option<usize>,
}

enum To {
    File(PathBuf, Format),
    /// One object.
    Object,
    /// One array.
    Array,
    Lines,
    /// For people; of one text with all that there is to know.
    People {
        one: bool,
    },
}

impl Wished {
    pub(super) fn of(arguments: &Arguments) -> Result<Wished, Failure> {
        let one = arguments.question.is_some();
        let to = match &arguments.output {
            Some(file) => {
                let unknown = PredictUse::UnknownOutput { file: file.clone() };
                match Format::of_ending(file) {
                    // A compressed file has the ending of what is in it.
                    Some(
                        format @ (Format::Csv
                        | Format::Tsv
                        | Format::Json
                        | Format::Jsonl
                        | Format::Parquet),
                    ) if file
                        .extension()
                        .and_then(|end| end.to_str())
                        .is_some_and(|end| {
                            let own = Format::of_ending(Path::new(&format!("a.{end}")));
                            own == Some(format)
                        }) =>
                    {
                        To::File(file.clone(), format)
                    }
                    _ => return Err(Failure::unusable(unknown)),
                }
            }
            None if arguments.json && one => To::Object,
            None if arguments.json => To::Array,
            None if io::IsTerminal::is_terminal(&io::stdout()) => To::People { one },
            None => To::Lines,
        };
        Ok(Wished {
            to,
            top_k: arguments.top_k.map(|most| most as usize),
        })
    }
}

/// Takes answers as they come.
pub(super) struct Sink {
    top_k: Option<usize>,
    /// The columns that are not kept, since an answer has their name.
    hidden: BTreeSet<String>,
    target: Target,
    /// Whether nobody reads what is printed any more.
    gone: Arc<AtomicBool>,
}

enum Target {
    Rows(Box<AnsweredWriter<'static>>),
    /// One row, which is printed as a whole.
    Object(Vec<u8>, Vec<(String, ValueKind)>),
    People(Shown),
}

impl Sink {
    /// For rows of which these columns are kept; `answers` are those to no rows at all.
    ///
    /// # Errors
    /// There can be no file where one was wished.
    pub(super) fn open(
        wished: &Wished,
        mut kept: Vec<(String, ValueKind)>,
        answers: &Answered,
    ) -> Result<Sink, TableError> {
        let columns = picked(answers, wished.top_k);
        let names: BTreeSet<String> = columns.into_iter().map(|(name, _)| name).collect();
        let given = kept.iter().map(|(name, _)| name);
        let hidden: BTreeSet<String> = given
            .filter(|name| names.contains(*name))
            .cloned()
            .collect();
        kept.retain(|(name, _)| !hidden.contains(name));
        let gone = Arc::new(AtomicBool::new(false));
        let stream = |format, kept| {
            let stdout = Stdout(Arc::clone(&gone));
            let writer = AnsweredWriter::to_stream(stdout, Path::new("stdout"), format, kept);
            Target::Rows(Box::new(writer))
        };
        let people = matches!(wished.to, To::People { .. });
        if !people && !hidden.is_empty() {
            let all: Vec<String> = hidden.iter().map(|name| format!("`{name}`")).collect();
            tell(&format!(
                "warning: not kept, since an answer has that name: {}\n",
                all.join(", ")
            ));
        }
        let target = match &wished.to {
            To::File(path, format) => {
                Target::Rows(Box::new(AnsweredWriter::to_file(path, *format, kept)?))
            }
            To::Array => stream(Format::Json, kept),
            To::Lines => stream(Format::Jsonl, kept),
            To::Object => Target::Object(Vec::new(), kept),
            To::People { one } => Target::People(Shown {
                one: *one,
                top_k: wished.top_k,
                colours: colours(),
            }),
        };
        Ok(Sink {
            top_k: wished.top_k,
            hidden,
            target,
            gone,
        })
    }

    /// Whether a column is not kept, since an answer has its name.
    pub(super) fn hides(&self, name: &str) -> bool {
        self.hidden.contains(name)
    }

    /// Whether what is printed reaches nobody any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// # Errors
    /// What cannot be written.
    pub(super) fn add(
        &mut self,
        bundle: &Bundle,
        answered: &Answered,
        mut kept: Kept,
    ) -> Result<(), TableError> {
        kept.retain(|(name, _)| !self.hidden.contains(name));
        match &mut self.target {
            Target::Rows(writer) => writer.add(kept, picked(answered, self.top_k)),
            Target::Object(bytes, kinds) => {
                let (format, name) = (Format::Jsonl, Path::new("stdout"));
                let mut writer = AnsweredWriter::to_stream(bytes, name, format, kinds.clone());
                writer.add(kept, picked(answered, self.top_k))?;
                writer.finish()
            }
            Target::People(shown) => {
                let mut stdout = Stdout(Arc::clone(&self.gone));
                let texts = answered.texts();
                for (row, reply) in answered.replies().iter().enumerate() {
                    let (text, pair) = texts.row(row).unwrap_or_default();
                    let text = shown.text(reply, bundle.info(), text, pair);
                    stdout
                        .write_all(text.as_bytes())
                        .map_err(|e| TableError::unwritable(Path::new("stdout"), e))?;
                }
                Ok(())
            }
        }
    }

    /// # Errors
    /// What cannot be written.
    pub(super) fn flush(&mut self) -> Result<(), TableError> {
        match &mut self.target {
            Target::Rows(writer) => writer.flush(),
            Target::Object(..) | Target::People(_) => Ok(()),
        }
    }

    /// # Errors
    /// What cannot be written.
    pub(super) fn finish(self) -> Result<(), TableError> {
        match self.target {
            Target::Rows(writer) => writer.finish(),
            Target::Object(bytes, _) => {
                let value = serde_json::from_slice(&bytes);
                print_json(&value.map_err(|e| TableError::unwritable(Path::new("stdout"), e))?);
                Ok(())
            }
            Target::People(_) => Ok(()),
        }
    }
}

/// The columns of the answers; with `top_k` the likeliest of them alone.
fn picked(answered: &Answered, top_k: Option<usize>) -> Vec<(String, Cells)> {
    let mut columns = answered.columns();
    let Some(most) = top_k else {
        return columns;
    };
    if let Some((_, Cells::Spans(spans))) = columns.iter_mut().find(|(name, _)| name == "n_best") {
        spans.iter_mut().for_each(|spans| spans.truncate(most));
        return columns;
    }
    let mut names = Vec::new();
    columns.retain(|(column, _)| match column.strip_prefix("probability_") {
        Some(name) => {
            names.push(name.to_owned());
            false
        }
        None => true,
    });
    let (mut labels, mut sure) = (Vec::new(), Vec::new());
    for reply in answered.replies() {
        let Reply::Labels { probabilities, .. } = reply else {
            continue;
        };
        let likeliest = likeliest(&probabilities, most);
        let name = |&(label, _): &(usize, f32)| names.get(label).cloned().unwrap_or_default();
        labels.push(Some(likeliest.iter().map(name).collect()));
        sure.push(likeliest.into_iter().map(|(_, sure)| sure).collect());
    }
    columns.push(("top_labels".to_owned(), Cells::TextLists(labels)));
    columns.push(("top_probabilities".to_owned(), Cells::FloatLists(sure)));
    columns
}

/// The numbers of the likeliest labels with their probabilities, the likeliest first; of equals the first.
pub(super) fn likeliest(probabilities: &[f32], most: usize) -> Vec<(usize, f32)> {
    let mut all: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(most);
    all
}

/// Stdout, of which a reader that has gone away is no error.
struct Stdout(Arc<AtomicBool>);

impl Stdout {
    fn heard(&self, outcome: io::Result<()>) -> io::Result<()> {
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.0.store(true, Ordering::Relaxed);
                Ok(())
            }
            other => other,
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard(io::stdout().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.heard(io::stdout().lock().flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equally_likely_labels_the_first_comes_first() {
        assert_eq!(likeliest(&[0.2, 0.4, 0.4], 2), [(1, 0.4), (2, 0.4)]);
        assert_eq!(likeliest(&[0.5], 3), [(0, 0.5)]);
    }
}
