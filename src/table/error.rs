//! What can be wrong with data: every variant says which file, which row or line, which column, and what to do.
//!
//! Deliberately absent: faults of the settings, which the spec's check finds before any file is opened.

use std::fmt;
use std::path::{Path, PathBuf};

use super::condition::ConditionError;
pub use super::place::{Place, Spot, Way};

/// Data that cannot be read, or does not fit together.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TableError {
    #[error("cannot read {}", file.display())]
    #[diagnostic(help("check that it exists and that you may read it"))]
    Unreadable {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}: {message}", file.display())]
    #[diagnostic(help("check the free space, and that its folder is there and may be written to"))]
    Unwritable { file: PathBuf, message: String },
    /// Something in the store that `save` did not leave like this.
    #[error("{} is damaged: {message}", file.display())]
    #[diagnostic(help("`refit cache verify` finds what is damaged; the next run builds it again"))]
    Damaged { file: PathBuf, message: String },
    #[error("{} is empty", file.display())]
    #[diagnostic(help("remove it from the list, or put rows into it"))]
    Empty { file: PathBuf },
    #[error("{} has a header and no rows", file.display())]
    #[diagnostic(help(
        "if its only line is a row, set `header = false` and give `columns` as numbers from 0"
    ))]
    HeaderOnly { file: PathBuf },
    #[error("{place}: not UTF-8 (byte 0x{byte:02x})")]
    NotUtf8 {
        place: Place,
        byte: u8,
        #[help]
        help: String,
    },
    #[error("{place}: {found} instead of {wanted}")]
    Ragged {
        place: Place,
        found: Fields,
        wanted: Fields,
        #[help]
        help: String,
    },
    #[error("{place}: blank line")]
    #[diagnostic(help("remove it; a text that is meant to be empty is written `\"\"`"))]
    BlankLine { place: Place },
    #[error("{place}: the quote that opens here is never closed")]
    #[diagnostic(help(
        "close it (a quote inside a quoted field is doubled), or set `quote = \"\"` if the file does not quote its fields"
    ))]
    UnclosedQuote { place: Place },
    #[error("{place}, field {field}: a quote inside a field")]
    #[diagnostic(help(
        "set `quote = \"\"` if the file does not quote its fields; else enclose the whole field in quotes and double the inner ones"
    ))]
    StrayQuote { place: Place, field: usize },
    #[error("{place}: {message}")]
    NotJson {
        place: Place,
        message: String,
        #[help]
        help: String,
    },
    #[error("{} is not a Parquet file: {message}", file.display())]
    #[diagnostic(help(
        "it may be cut off: copy or download it again; if it is of another kind, state its `format`"
    ))]
    NotParquet { file: PathBuf, message: String },
    #[error("{} cannot be unpacked as {compression}: {message}", file.display())]
    #[diagnostic(help(
        "it may be cut off or damaged: copy or download it again; if it is not compressed so, give it the ending of what it is"
    ))]
    NotUnpacked {
        file: PathBuf,
        compression: String,
        message: String,
    },
    #[error("{} has {packed} bytes and unpacks to more than {limit} bytes", file.display())]
    #[diagnostic(help(
        "a compressed file may become as large as 1 GiB, or as 250 times its own size; if it is right, unpack it and name what comes out"
    ))]
    TooLarge {
        file: PathBuf,
        packed: u64,
        limit: u64,
    },
    /// What polars said about a file in which nothing more exact was found.
    #[error("{} cannot be decoded as {format}: {message}", file.display())]
    #[diagnostic(help(
        "state the right `format`, or write the file anew with the columns that are needed, as text and integers"
    ))]
    Undecodable {
        file: PathBuf,
        format: String,
        message: String,
    },
    #[error("{}: no column {column}", file.display())]
    MissingColumn {
        file: PathBuf,
        column: String,
        #[help]
        help: String,
    },
    #[error("{}: two columns are named `{column}`", file.display())]
    #[diagnostic(help("give the column as a number from 0"))]
    AmbiguousColumn { file: PathBuf, column: String },
    #[error("{place}, column {column}: no value")]
    #[diagnostic(help(
        "remove the row, or give it a value; an empty text is allowed, an absent one or an empty label is not; `skip_invalid = true` leaves such rows out"
    ))]
    Null { place: Place, column: String },
    #[error("{}, column {column}: {found} instead of {wanted}", file.display())]
    WrongType {
        file: PathBuf,
        column: String,
        found: String,
        wanted: &'static str,
        #[help]
        help: String,
    },
    /// A single value of another type, where a column may hold several types.
    #[error("{place}, column {column}: {found} instead of {wanted}")]
    WrongValue {
        place: Place,
        column: Box<str>,
        found: Box<str>,
        wanted: &'static str,
        #[help]
        help: &'static str,
    },
    #[error("{place}, column {column}: the label {value} is not a whole number")]
    #[diagnostic(help(
        "write class labels as integers or names; for numbers to predict set `columns.target` instead"
    ))]
    FloatLabel {
        place: Place,
        column: String,
        value: String,
    },
    #[error("{} has {found}, but {} has {wanted}", file.display(), first.display())]
    #[diagnostic(help(
        "files of one split must have the same columns; list them under different splits or bring them into one form"
    ))]
    MixedFiles {
        file: PathBuf,
        found: String,
        first: PathBuf,
        wanted: String,
    },
    #[error("{place}: the label `{label}` is not in `label_names`")]
    UnnamedLabel {
        place: Place,
        label: String,
        #[help]
        help: String,
    },
    #[error("{place}: the label `{label}` is none of the classes that the data set names")]
    NoClass {
        place: Place,
        label: String,
        #[help]
        help: String,
    },
    #[error("{place}: the label -1 says that there is none, but other rows of {split} have one")]
    #[diagnostic(help(
        "leave such rows out with `skip_invalid = true`; a split in which every label is -1 is loaded without labels"
    ))]
    Withheld { place: Place, split: String },
    #[error("`label_names` has {names} names, but {} has {} different integer labels ({labels})", file.display(), count)]
    #[diagnostic(help(
        "name each integer from 0 on, or exactly the integers that occur, in ascending order"
    ))]
    MiscountedNames {
        file: PathBuf,
        names: usize,
        count: usize,
        labels: String,
    },
    #[error("{place}: the label `{label}` is in {split} but never in train")]
    UnseenLabel {
        place: Place,
        label: String,
        split: String,
        #[help]
        help: String,
    },
    #[error("{split} has {what}, train has none")]
    UnlabelledTraining {
        split: String,
        what: &'static str,
        #[help]
        help: &'static str,
    },
    #[error("no row of train has a label")]
    #[diagnostic(help(
        "check that `columns.labels` names the right column, or name the labels in `label_names`"
    ))]
    NoLabels,
    #[error("{place}, column {column}: an empty label beside a separator")]
    #[diagnostic(help(
        "remove the separator that is too many, or state another `label_separator`; a row without labels has nothing in the field"
    ))]
    EmptyLabel { place: Place, column: String },
    #[error("{place}, column {column}: `{value}` is not a number")]
    #[diagnostic(help(
        "write numbers with a point and without anything around them, as in 3.5 or 1e-3, or name another column"
    ))]
    NotANumber {
        place: Place,
        column: String,
        value: String,
    },
    #[error("{place}, column {column}: {value} is not finite")]
    #[diagnostic(help(
        "nothing can be learnt from it: correct or remove the row, or leave such rows out with `skip_invalid = true`"
    ))]
    NotFinite {
        place: Place,
        column: String,
        value: String,
    },
    #[error("{place}: {}, but {}", count(*tokens, "token"), count(*tags, "tag"))]
    #[diagnostic(help(
        "every token needs one tag: correct the row, or leave such rows out with `skip_invalid = true`"
    ))]
    Uneven {
        place: Place,
        tokens: usize,
        tags: usize,
    },
    #[error("{place}: a sentence without tokens")]
    #[diagnostic(help("remove the row, or leave such rows out with `skip_invalid = true`"))]
    NoTokens { place: Place },
    #[error("{place}: {found}")]
    #[diagnostic(help(
        "a line holds a token and, in its last column, the token's tag; a blank line ends the sentence; `skip_invalid = true` leaves such sentences out"
    ))]
    HalfALine { place: Place, found: String },
    #[error("{place}: {found} is impossible in {scheme}")]
    ImpossibleTag {
        place: Place,
        found: String,
        scheme: String,
        #[help]
        help: String,
    },
    #[error("{place}: {} of answers, but {}", count(*texts, "text"), count(*starts, "start"))]
    #[diagnostic(help(
        "every answer needs its text and its start: correct the row, or leave such rows out with `skip_invalid = true`"
    ))]
    UnevenAnswers {
        place: Place,
        texts: usize,
        starts: usize,
    },
    #[error("{place}: an answer without text")]
    #[diagnostic(help(
        "a question that its context does not answer has an empty list of answers, not an empty answer"
    ))]
    EmptyAnswer { place: Place },
    #[error(
        "{place}: the answer {answer:?} should start at character {start}, where {found:?} stands"
    )]
    AnswerNotThere {
        place: Place,
        answer: Box<str>,
        start: u32,
        found: Box<str>,
        #[help]
        help: String,
    },
    #[error(
        "{place}: the answer {answer:?} should start at character {start} of a context of {length} characters"
    )]
    AnswerOutside {
        place: Place,
        answer: Box<str>,
        start: i64,
        length: usize,
        #[help]
        help: String,
    },
    #[error("{place}: {message}")]
    #[diagnostic(help(
        "a WordNet database file has a synset on each line: `00001740 03 n 01 entity 0 000 | that which is …`; name `data.noun`, `data.verb`, `data.adj` and `data.adv`, not the index beside them"
    ))]
    NotWordnet { place: Place, message: String },

    /// JSON that is well formed, but not as SQuAD's.
    #[error("{place}: {message}")]
    NotSquad {
        place: Place,
        message: String,
        #[help]
        help: String,
    },
    #[error("{place}: the id `{id}` is also that of {first}")]
    #[diagnostic(help(
        "answers are kept by the id of their question: give each its own, or list each file once"
    ))]
    RepeatedId {
        place: Place,
        id: String,
        first: Place,
    },
    #[error("{split} holds {found}, but train holds {wanted}")]
    #[diagnostic(help(
        "all splits of a `load` are for one task: load the others in a stage of their own"
    ))]
    MixedSplits {
        split: String,
        found: &'static str,
        wanted: &'static str,
    },
    #[error("`{}` files hold no {wanted}: {}", format, file.display())]
    #[diagnostic(help(
        "take the columns out of `columns`, or state the `format` that the file is written in"
    ))]
    WrongFormat {
        file: PathBuf,
        format: String,
        wanted: &'static str,
    },
    #[error(
        "{split} has no row left: all {skipped} are invalid, among them rows {reason} ({first})"
    )]
    #[diagnostic(help(
        "a wrong column may be named; set `skip_invalid = false` to see what is wrong with the first row"
    ))]
    NothingLeft {
        split: String,
        skipped: usize,
        reason: &'static str,
        first: Place,
    },
    #[error("{split} would be empty: {share} of {rows} rows")]
    #[diagnostic(help(
        "cut a larger share, or load more rows; rows of one group, context or time are never divided"
    ))]
    EmptySplit {
        split: String,
        share: f64,
        rows: usize,
    },
    #[error("{folds} folds cannot be cut of {found} {what}: each has at least one")]
    #[diagnostic(help("set `fold.of` to {found} at most, or load more rows"))]
    TooManyFolds {
        folds: u32,
        found: usize,
        what: &'static str,
    },
    #[error("`{setting}` names a column, and `{}` files have none: {}", format, file.display())]
    #[diagnostic(help("load it in a stage of its own, without `{setting}`"))]
    NoColumns {
        file: PathBuf,
        format: String,
        setting: &'static str,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Condition(Box<ConditionError>),
    #[error("{place}: {found}, but {first} has {wanted}")]
    #[diagnostic(help(
        "times are compared with each other, so all of `split.time` must be of one kind: write them alike, with an offset from UTC everywhere or nowhere"
    ))]
    MixedTimes {
        place: Place,
        found: &'static str,
        first: Place,
        wanted: &'static str,
    },
    #[error("`{operation}` needs one label a row, and the rows of train have {found}")]
    #[diagnostic(help("load the data with `columns.label`, or remove `{operation}`"))]
    NothingToBalance {
        operation: &'static str,
        found: &'static str,
    },
}

/// A number of fields, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields(pub usize);

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 1 {
            f.write_str("1 field")
        } else {
            write!(f, "{} fields", self.0)
        }
    }
}

/// A number of things, for people.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

impl TableError {
    /// What is wrong with a row that is broken in itself, after "rows …": such a row can be left out, and the file still
    /// means what it says. `None` for all that makes the file as a whole doubtful.
    pub fn of_one_row(&self) -> Option<&'static str> {
        Some(match self {
            TableError::Null { .. } => "without a value",
            TableError::Withheld { .. } => "with the label -1, which is none",
            TableError::EmptyLabel { .. } => "with an empty label",
            TableError::NotANumber { .. } | TableError::NotFinite { .. } => {
                "without a finite number"
            }
            TableError::Uneven { .. } => "with more tokens than tags or fewer",
            TableError::NoTokens { .. } => "without tokens",
            TableError::HalfALine { .. } => "with a token or a tag alone",
            TableError::ImpossibleTag { .. } => "with an impossible order of tags",
            TableError::UnevenAnswers { .. } => "with more texts of answers than starts or fewer",
            TableError::EmptyAnswer { .. } => "with an empty answer",
            TableError::AnswerNotThere { .. } | TableError::AnswerOutside { .. } => {
                "with an answer that does not stand at its start"
            }
            _ => return None,
        })
    }

    /// Where the row is, of an error about a single one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            TableError::Null { place, .. }
            | TableError::Withheld { place, .. }
            | TableError::EmptyLabel { place, .. }
            | TableError::NotANumber { place, .. }
            | TableError::NotFinite { place, .. }
            | TableError::Uneven { place, .. }
            | TableError::NoTokens { place }
            | TableError::HalfALine { place, .. }
            | TableError::ImpossibleTag { place, .. }
            | TableError::UnevenAnswers { place, .. }
            | TableError::EmptyAnswer { place }
            | TableError::AnswerNotThere { place, .. }
            | TableError::AnswerOutside { place, .. } => Some(place),
            _ => None,
        }
    }

    pub(crate) fn unreadable(file: &Path, source: std::io::Error) -> Self {
        TableError::Unreadable {
            file: file.to_owned(),
            source,
        }
    }

    pub(crate) fn unwritable(file: &Path, message: impl fmt::Display) -> Self {
        TableError::Unwritable {
            file: file.to_owned(),
            message: message.to_string(),
        }
    }

    pub(crate) fn damaged(file: &Path, message: impl fmt::Display) -> Self {
        TableError::Damaged {
            file: file.to_owned(),
            message: message.to_string(),
        }
    }
}

/// The name most like `wanted`, where a slip of the fingers is likely.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance =
        |name: &str| strsim::damerau_levenshtein(&wanted.to_lowercase(), &name.to_lowercase());
    let (far, name) = names.map(|name| (distance(name), name)).min()?;
    // One letter is like any other.
    (far <= wanted.chars().count() / 3 + 1 && far < wanted.chars().count()).then_some(name)
}

/// The name most like `wanted`, as a question to append to a help text; else nothing.
pub(crate) fn did_you_mean<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let name = nearest(wanted, names);
    name.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// At most `most` names in backquotes, and how many more there are.
pub(crate) fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>, most: usize) -> String {
    let total = names.len();
    let mut text = names
        .take(most)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if total > most {
        text.push_str(&format!(" and {} more", total - most));
    }
    text
}
