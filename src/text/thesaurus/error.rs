//! What can be wrong with a thesaurus: each variant says which file, which line, what was expected, and what to do.

use std::path::{Path, PathBuf};

/// A thesaurus that cannot be read. Lines count from 1.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ThesaurusError {
    #[error("cannot read {}", file.display())]
    #[diagnostic(help(
        "a WordNet folder holds index.*, data.* and *.exc for noun, verb, adj and adv (Debian: package wordnet-base); a list of synonyms is one file"
    ))]
    Unreadable {
        file: PathBuf,
        source: std::io::Error,
    },

    #[error("{}, line {line}: {found}; expected {expected}", file.display())]
    #[diagnostic(help(
        "the file is damaged, cut short, or of another database: copy the folder again from WordNet 3.0 or 3.1, all twelve files from one release"
    ))]
    Database {
        file: PathBuf,
        line: usize,
        found: String,
        expected: &'static str,
    },

    #[error("{}, line {line}: {found}; expected {expected}", file.display())]
    #[diagnostic(help(
        "write one word a line, then its synonyms, with a tab between: `glad<TAB>happy<TAB>pleased`; lines that begin with # are skipped"
    ))]
    List {
        file: PathBuf,
        line: usize,
        found: String,
        expected: &'static str,
    },
}

/// The most of a line that a message shows, in characters.
const MOST_SHOWN: usize = 40;

/// A piece of a file as a message shows it: quoted, escaped, and cut.
pub(super) fn shown(text: &str) -> String {
    if text.chars().nth(MOST_SHOWN).is_none() {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MOST_SHOWN).collect();
    format!("{start:?}…")
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>, ThesaurusError> {
    std::fs::read(file).map_err(|source| ThesaurusError::Unreadable {
        file: file.to_owned(),
        source,
    })
}
