//! What can be wrong with data: every variant says which file, which row or line, which column, and what to do.
//!
//! Deliberately absent: faults of the settings, which the spec's check finds before any file is opened.

use std::fmt;
use std::path::{Path, PathBuf};

/// A row of a file: by its line where the file has lines, else by its number. Both count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: PathBuf,
    pub spot: Spot,
}

/// Where in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    Line(usize),
    Row(usize),
}

impl Place {
    pub fn line(file: &Path, line: usize) -> Self {
        Place {
            file: file.to_owned(),
            spot: Spot::Line(line),
        }
    }

    pub fn row(file: &Path, row: usize) -> Self {
        Place {
            file: file.to_owned(),
            spot: Spot::Row(row),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.spot {
            Spot::Line(line) => write!(f, "{}, line {line}", self.file.display()),
            Spot::Row(row) => write!(f, "{}, row {row}", self.file.display()),
        }
    }
}

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
    #[diagnostic(help("check the free space and the permissions of the store"))]
    Unwritable { file: PathBuf, message: String },
    /// Something in the store that `save` did not leave like this.
    #[error("{} is damaged: {message}", file.display())]
    #[diagnostic(help(
        "`refit cache verify` finds damaged artifacts; the next run builds them again"
    ))]
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
        "remove the row, or give it a value; an empty text is allowed, an absent one or an empty label is not"
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
    #[error("{place}, column {column}: the label {value} is not a whole number")]
    #[diagnostic(help(
        "write class labels as integers or names; numbers with a fraction are no classes"
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
    #[error("{split} has labels, train has none")]
    #[diagnostic(help("load labelled training data, or set `columns.label = \"\"` to read none"))]
    UnlabelledTraining { split: String },
    #[error("{split} would be empty: {share} of {rows} rows")]
    #[diagnostic(help("cut a larger share, or load more rows"))]
    EmptySplit {
        split: String,
        share: f64,
        rows: usize,
    },
    #[error("oversampling needs labels, and the training split has none")]
    #[diagnostic(help("load the data with a label column, or remove `oversample`"))]
    NothingToBalance,
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

impl TableError {
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

/// The name most like `wanted`, as a question to append to a help text; else nothing.
pub(crate) fn did_you_mean<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let distance =
        |name: &str| strsim::damerau_levenshtein(&wanted.to_lowercase(), &name.to_lowercase());
    match names.map(|name| (distance(name), name)).min() {
        Some((far, name)) if far <= 1 + wanted.chars().count() / 3 => {
            format!("; did you mean `{name}`?")
        }
        _ => String::new(),
    }
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
