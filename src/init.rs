//! Files of which nothing is known → what a pipeline for them would say, each part with its reason.
//!
//! [`files`] tells which file is for what, [`table::peek`](crate::table::peek) how they are written, [`columns`] which column
//! is what and so the task, [`lengths`] how long rows are, [`recipe`] how long to train. The result is a [`Guess`], data
//! for whoever writes the spec. Everything is looked up in the beginning of the files, so a guess takes a second whatever
//! their size, and is made to be read and corrected.
//!
//! Deliberately absent: specs, the hub, questions to the user, and a guess where the data say two things: that is an error
//! with what was seen.

mod columns;
pub mod files;
mod lengths;
mod names;
mod profile;
mod recipe;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

pub use files::Files;
pub use lengths::Lengths;
pub use recipe::Recipe;

use crate::table::peek::{Ask, Peek, peek};
use crate::table::read::{Column, Format, Gold, Rows};
use crate::table::{Cell, TableError, class_names};
use crate::task::Task;
use crate::text::{TextError, Tokenizer};

/// The rarest class below this share of the largest one is lost without weights.
const RARE: f64 = 0.1;
/// A share that is cut for a split without files; of fewer rows than [`FEW_ROWS`] a larger one.
const SHARE: f64 = 0.1;
const SHARE_OF_FEW: f64 = 0.2;
const FEW_ROWS: usize = 300;

/// What is known beforehand.
#[derive(Default)]
pub struct Known<'a> {
    pub task: Option<Task>,
    /// The columns of text and of what is learnt: by name, or by number from 0.
    pub text: Option<&'a str>,
    pub label: Option<&'a str>,
    /// Column → the names of its classes, as a data set's card says.
    pub class_names: BTreeMap<String, Vec<String>>,
    /// The tokenizer of the encoder, where it is at hand.
    pub tokenizer: Option<&'a Tokenizer>,
}

/// A pipeline's settings, and what they were guessed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    pub task: Task,
    pub files: Files,
    /// As the files are written; to be stated where their endings say another.
    pub format: Format,
    pub states_format: bool,
    pub header: bool,
    pub quote: Option<u8>,
    pub rows: Rows,
    /// In the order of their numbers, where they are to be stated, and who says so.
    pub label_names: Option<(Vec<String>, String)>,
    /// Label (or tag) → in how many of the rows looked at (or words) it stands, as written.
    pub labels: BTreeMap<String, usize>,
    /// Whether the rarest class is far below the largest one.
    pub imbalanced: bool,
    /// Of [`Guess::looked_at`] rows of train, how many repeat another one.
    pub repeated: usize,
    pub looked_at: usize,
    /// The rows of all splits that lack a value or are broken in themselves, and how many were looked at for that.
    pub broken: usize,
    pub judged: usize,
    /// How many rows train has, those that are cut from it included: an estimate where it was not read to the end.
    pub about: usize,
    pub whole: bool,
    /// The shares that are cut from train for validation and test; 0 where there are files.
    pub cut: [f64; 2],
    pub lengths: Lengths,
    pub recipe: Recipe,
    /// Files that are not used, and why.
    pub unused: Vec<(PathBuf, String)>,
}

/// What cannot be guessed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InitError {
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("check the path and the permissions"))]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there is nothing in {} that could be read", folder.display())]
    #[diagnostic(help(
        "data are files in csv, tsv, json, jsonl, parquet, txt or conll, also compressed (.gz, .zst, .bz2, .xz); name one: `--data FILE`"
    ))]
    NoFiles { folder: PathBuf },
    #[error("no file in {} is for training: there is {found}", folder.display())]
    #[diagnostic(help(
        "name it: `--data FILE`, and others with `--validation FILE` and `--test FILE`"
    ))]
    NoTraining { folder: PathBuf, found: String },
    #[error("of several files in {} none says that it is for training: {found}", folder.display())]
    #[diagnostic(help(
        "name one, `--data FILE`, and others with `--validation FILE` and `--test FILE`; files whose names hold `train`, `dev` or `test` are told apart"
    ))]
    SeveralFiles { folder: PathBuf, found: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Text(#[from] TextError),
    #[error("no column looks like text to learn from; there is {seen}")]
    #[diagnostic(help("name it: `--text COLUMN`; a column without a name has its number, from 0"))]
    NoText { seen: String },
    #[error("no column looks like labels or numbers to learn; there is {seen}")]
    #[diagnostic(help(
        "name it: `--label COLUMN`, and with `--task` what it is; a column without a name has its number, from 0"
    ))]
    NoLabel { seen: String },
    #[error("{candidates} could all be what is to be learnt; there is {seen}")]
    #[diagnostic(help(
        "name one: `--label COLUMN`; a column without a name has its number, from 0"
    ))]
    SeveralLabels { candidates: String, seen: String },
    #[error("`{option}` names the column `{called}`; there is {seen}")]
    #[diagnostic(help("name one of these; a column without a name has its number, from 0"))]
    NoColumn {
        called: String,
        option: &'static str,
        seen: String,
    },
    #[error("column {column} holds {example:?} and the like, and not {wanted}; there is {seen}")]
    #[diagnostic(help("name another, `--label COLUMN`, or another `--task`"))]
    UnfitLabel {
        column: String,
        example: String,
        wanted: &'static str,
        seen: String,
    },
    #[error("no column holds lists of words with a tag each; there is {seen}")]
    #[diagnostic(help(
        "write a word and its tag on each line and blank lines between sentences, or lists `tokens` and `tags`; another `--task` may fit"
    ))]
    NoTags { seen: String },
    #[error("there are no questions with contexts and answers; there is {seen}")]
    #[diagnostic(help(
        "write SQuAD's JSON, or the columns `question`, `context` and `answers` with {{\"text\": [\"…\"], \"answer_start\": [0]}}"
    ))]
    NoQuestions { seen: String },
    #[error("these are data for {found}, not for {asked}; there is {seen}")]
    #[diagnostic(help("leave `--task` out, or name other data"))]
    OtherTask {
        asked: &'static str,
        found: &'static str,
        seen: String,
    },
}

/// Looks at the files, and guesses everything that a pipeline needs.
///
/// # Errors
/// A file that cannot be read, or rows of which one cannot tell what is what.
pub fn guess(files: &Files, known: &Known) -> Result<Guess, InitError> {
    let Some(first) = files.train.first() else {
        return Err(InitError::NoFiles {
            folder: PathBuf::new(),
        });
    };
    let (train, others) = looked_at(first, files)?;
    let (task, rows) = columns::rows(&train, known)?;
    let mut unused = Vec::new();
    let mut usable = |paths: &[PathBuf]| -> Vec<PathBuf> {
        let fits = |path: &&PathBuf| {
            let other = others.iter().find(|(other, _)| other == *path);
            let why = other.and_then(|(_, peek)| misfit(peek, &rows));
            if let Some(why) = &why {
                unused.push(((*path).clone(), why.clone()));
            }
            why.is_none()
        };
        paths.iter().filter(fits).cloned().collect()
    };
    let files = Files {
        train: files.train.clone(),
        validation: usable(&files.validation),
        test: usable(&files.test),
    };
    let (labels, written) = labels(&train, &rows);
    let label_names = label_names(first, &rows, &written, known);
    let imbalanced = task == Task::Classification && is_imbalanced(&labels);
    let used = |path: &PathBuf| files.validation.contains(path) || files.test.contains(path);
    let used = others.iter().filter(|(path, _)| used(path));
    let judged: Vec<&Peek> = [&train]
        .into_iter()
        .chain(used.map(|(_, peek)| peek))
        .collect();
    let broken = judged
        .iter()
        .map(|peek| peek.broken + columns::incomplete(peek, &rows));
    let broken = broken.sum();
    let judged = judged.iter().map(|peek| peek.rows + peek.broken).sum();
    let others = files.train.iter().skip(1);
    let sizes = others.filter_map(|path| std::fs::metadata(path).ok());
    let size = |path: &Path| std::fs::metadata(path).map_or(1, |file| file.len().max(1));
    // The other training files by their sizes.
    let times = 1.0 + sizes.map(|file| file.len() as f64).sum::<f64>() / size(first) as f64;
    let about = (train.about as f64 * times).round() as usize;
    let share = match about {
        few if few < FEW_ROWS => SHARE_OF_FEW,
        _ => SHARE,
    };
    let cut = [&files.validation, &files.test].map(|there| match there.is_empty() {
        true => share,
        false => 0.0,
    });
    let lengths = Lengths::of(&train, &rows, known.tokenizer)?;
    let trained = about as f64 * (1.0 - cut.iter().sum::<f64>());
    Ok(Guess {
        task,
        states_format: Format::of_ending(first) != Some(train.format),
        format: train.format,
        header: train.header,
        quote: train.quote,
        repeated: repeated(&train, &rows),
        rows,
        label_names,
        labels,
        imbalanced,
        broken,
        judged,
        looked_at: train.rows + train.broken,
        about,
        whole: train.whole && files.train.len() == 1,
        cut,
        recipe: Recipe::of(task, trained as usize, lengths.max_length, imbalanced),
        lengths,
        files,
        unused,
    })
}

/// The first training file, and those of the other splits, all read in one way. A quote that is no quote in one of them is none
/// in any.
fn looked_at(first: &Path, files: &Files) -> Result<(Peek, Vec<(PathBuf, Peek)>), InitError> {
    let mut train = peek(first, &Ask::default())?;
    let paths = files.validation.iter().chain(&files.test);
    let all = |ask: &Ask| {
        let peeks = paths
            .clone()
            .map(|path| Ok((path.clone(), peek(path, ask)?)));
        peeks.collect::<Result<Vec<_>, TableError>>()
    };
    let delimited = |peek: &Peek| matches!(peek.format, Format::Csv | Format::Tsv);
    let mut ask = Ask {
        // What one file lacks, such as tags that tell it from a table, another shows.
        format: (Format::of_ending(first) != Some(train.format)).then_some(train.format),
        header: delimited(&train).then_some(train.header),
        quote: delimited(&train).then_some(train.quote),
    };
    if !delimited(&train) || train.quote.is_none() {
        let others = all(&ask)?;
        return Ok((train, others));
    }
    match all(&ask) {
        Ok(others) => Ok((train, others)),
        Err(error) => {
            ask.quote = Some(None);
            match (peek(first, &ask), all(&ask)) {
                (Ok(plain), Ok(others)) => {
                    train = plain;
                    Ok((train, others))
                }
                _ => Err(error.into()),
            }
        }
    }
}

/// Why a file has not what the rows of train have.
fn misfit(peek: &Peek, rows: &Rows) -> Option<String> {
    let there = |column: &Column| peek.columns.iter().find(|peeked| peeked.column == *column);
    for (field, column) in rows.columns() {
        let Some(peeked) = there(column) else {
            return Some(format!("it has no column {column}"));
        };
        // As the hub's data sets withhold the labels of their test sets.
        let withheld = |cell: &Cell| match cell {
            Cell::Integer(value) => *value == -1,
            Cell::Text(text) => text == "-1" || text.is_empty(),
            Cell::Null => true,
            _ => false,
        };
        if field == "label" && peeked.cells.iter().all(withheld) {
            return Some("its labels are withheld".to_owned());
        }
    }
    None
}

/// How often each label stands in the rows, and the labels as written, each once.
fn labels(peek: &Peek, rows: &Rows) -> (BTreeMap<String, usize>, Vec<String>) {
    let (column, separator) = match rows {
        Rows::Texts { gold, .. } => match gold {
            Some(Gold::Label(column)) => (Some(column), None),
            Some(Gold::Labels { column, separator }) => (Some(column), Some(separator.as_str())),
            Some(Gold::Target(_)) | None => (None, None),
        },
        Rows::Words { tags, .. } => (tags.as_ref(), None),
        Rows::Questions { .. } => (None, None),
    };
    let peeked = column.and_then(|column| peek.columns.iter().find(|one| one.column == *column));
    let mut counts = BTreeMap::new();
    if let Some(peeked) = peeked {
        for label in profile::Profile::of(peeked).labels(separator) {
            *counts.entry(label).or_default() += 1;
        }
    }
    let written = counts.keys().cloned().collect();
    (counts, written)
}

fn is_imbalanced(labels: &BTreeMap<String, usize>) -> bool {
    let (rarest, largest) = (labels.values().min(), labels.values().max());
    rarest.zip(largest).is_some_and(|(rarest, largest)| {
        labels.len() > 1 && (*rarest as f64) < RARE * *largest as f64
    })
}

/// The names of the labels, where something beside the rows says them and the file itself does not.
fn label_names(
    train: &Path,
    rows: &Rows,
    written: &[String],
    known: &Known,
) -> Option<(Vec<String>, String)> {
    let columns = rows.columns();
    let mut columns = columns.iter();
    let (_, column) = columns.find(|(field, _)| matches!(*field, "label" | "labels" | "tags"))?;
    let column = match column {
        Column::Name(name) => name.clone(),
        Column::Number(number) => number.to_string(),
    };
    if Format::of_ending(train) == Some(Format::Parquet) && class_names(train, &column).is_some() {
        return None;
    }
    let of_card = known.class_names.get(&column);
    let of_card = of_card.map(|names| (names.clone(), "the data set's card".to_owned()));
    let beside = || {
        let folder = train.parent()?;
        let above = folder.parent().filter(|_| !folder.as_os_str().is_empty());
        let found = files::label_names(match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        });
        let (path, names) = found.or_else(|| files::label_names(above?))?;
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some((names, name))
    };
    let fits = |(names, _): &(Vec<String>, String)| names_fit(names, written);
    of_card.filter(fits).or_else(|| beside().filter(fits))
}

/// Whether labels as written are among the names, or numbers of them.
fn names_fit(names: &[String], written: &[String]) -> bool {
    if written.is_empty() {
        return false;
    }
    let numbers: Option<Vec<usize>> = written.iter().map(|label| label.parse().ok()).collect();
    match numbers {
        Some(numbers) => {
            numbers.iter().all(|number| *number < names.len()) || numbers.len() == names.len()
        }
        None => written.iter().all(|label| names.contains(label)),
    }
}

/// How many rows say what a row before them says, whatever their labels.
fn repeated(peek: &Peek, rows: &Rows) -> usize {
    let columns = rows.columns();
    let said = columns.iter().filter(|(field, _)| {
        matches!(
            *field,
            "text" | "text_pair" | "tokens" | "question" | "context"
        )
    });
    let said: Vec<&[Cell]> = said
        .filter_map(|(_, column)| peek.columns.iter().find(|one| one.column == **column))
        .map(|peeked| peeked.cells.as_slice())
        .collect();
    let mut met = HashSet::new();
    let mut repeats = |row: &usize| {
        let cells: Vec<Option<String>> = said
            .iter()
            .map(|cells| cells.get(*row).map(|cell| format!("{cell:?}")))
            .collect();
        !met.insert(cells)
    };
    (0..peek.rows).filter(|row| repeats(row)).count()
}

#[cfg(test)]
mod tests;
