//! Text to tokens: opening, training and saving tokenizers, and the tokens artifact.
//!
//! ```text
//! tokenizer.json ─┐                 ┌─ Tokenizer ── encode ── Encoded ── tokens::write_split ─┐
//! older files ────┴─ open ──────────┤                                                         ├─ Tokens (memory-mapped)
//! training texts ── count_words ── learn (VocabularyKind)                                     │
//!                                   └─ save ── tokenizer/ ─────────────────────────────────────┘
//! ```
//!
//! Texts and pairs are cut to `max_length`. Lists of words and the contexts of questions are not: they go into as many
//! rows as they need: *windows* of one *example*. Texts to learn from as such are [packed](Packer).
//!
//! Ids are those of Hugging Face transformers for the same folder. Nothing here depends on the number of threads, the
//! order of a hash map or the truncation and padding that somebody left in a `tokenizer.json`.
//!
//! [`thesaurus`] stands beside this: it finds synonyms of words, and has nothing to do with tokens.
//!
//! Deliberately absent: padding (a batch knows its own length), downloads, and any knowledge of tables or pipelines.

pub mod answers;
mod check;
mod class;
mod compose;
mod encoded;
mod files;
mod masking;
mod packing;
mod pieces;
mod places;
mod save;
mod sentencepiece;
pub mod thesaurus;
mod tokenizer;
pub mod tokens;
mod train;
mod windows;
mod words;

impl TextError {
    /// The same with the number of its row counted from so many rows before.
    pub fn further(self, rows: usize) -> TextError {
        match self {
            TextError::Row { row, message } => TextError::Row {
                row: rows + row,
                message,
            },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use encoded::Encoded;
pub use files::{TOKENIZER_FILES, tokenizer_files, tokenizer_names};
pub use masking::MaskedRow;
pub use packing::Packer;
pub use pieces::Pieces;
pub use tokenizer::Tokenizer;
pub use tokens::{TokenSplit, Tokens, TokensCard};
pub use train::{Learned, VocabularyKind, WordCounts, count_words, learn_wordpiece};

/// Marks "nothing" where each token has a number: no word begins here, no tag, no place in the context.
pub const NONE: u32 = u32::MAX;

/// What can go wrong between text and tokens.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TextError {
    #[error(
        "no tokenizer in {}: neither tokenizer.json nor vocab.txt, vocab.json or a SentencePiece model; {}",
        folder.display(),
        there_is(found)
    )]
    #[diagnostic(help("give a folder in the Hugging Face layout, as `save_pretrained` writes it"))]
    NoTokenizer { folder: PathBuf, found: Vec<String> },

    #[error("cannot read {}", path.display())]
    #[diagnostic(help("check that it exists and that you may read it"))]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    #[error("cannot write {}", path.display())]
    #[diagnostic(help("check the free space and the permissions of the folder"))]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    #[error("{} is not valid JSON of the kind expected there: {message}", path.display())]
    #[diagnostic(help("fetch the file again, or write it again with `save_pretrained`"))]
    NotJson { path: PathBuf, message: String },

    #[error("{} is no tokenizer: {message}", path.display())]
    #[diagnostic(help(
        "it must be a `tokenizer.json` of the Hugging Face tokenizers library; fetch it again, or write it again with `save_pretrained`"
    ))]
    NotATokenizer { path: PathBuf, message: String },

    #[error("{}, line {line}: not UTF-8", path.display())]
    #[diagnostic(help(
        "a vocabulary is UTF-8 text with one token a line; convert the file or fetch it again"
    ))]
    VocabularyNotUtf8 { path: PathBuf, line: usize },

    #[error("{}, line {again}: the token {token:?} is already on line {first}", path.display())]
    #[diagnostic(help(
        "a token's id is its line number, so each must stand there once; fetch the file again or remove one of the lines"
    ))]
    TokenTwice {
        path: PathBuf,
        token: String,
        first: usize,
        again: usize,
    },

    #[error("{} lacks {}", path.display(), tokens.join(", "))]
    #[diagnostic(help(
        "a vocabulary needs these tokens; if they have other names there, say so in tokenizer_config.json (`unk_token`, `cls_token`, `sep_token`, `pad_token`)"
    ))]
    TokensMissing { path: PathBuf, tokens: Vec<String> },

    #[error("{} lacks its other half, merges.txt", path.display())]
    #[diagnostic(help(
        "a byte-level BPE vocabulary is two files; fetch merges.txt too, or give a folder that has a tokenizer.json"
    ))]
    NoMerges { path: PathBuf },

    #[error("{}, line {line}: not two pieces with a space between them", path.display())]
    #[diagnostic(help("each line of merges.txt is a merge; fetch the file again"))]
    NotAMerge { path: PathBuf, line: usize },

    #[error("{} is no SentencePiece model: {problem}", path.display())]
    #[diagnostic(help(
        "fetch the file again, or give a folder that has a tokenizer.json: in Python, `AutoTokenizer.from_pretrained(…).save_pretrained(…)` writes one"
    ))]
    NotSentencePiece { path: PathBuf, problem: String },

    #[error("{} belongs to a {class}, which is not one that this program builds from such a file", path.display())]
    #[diagnostic(help(
        "give a folder that has a tokenizer.json: in Python, `AutoTokenizer.from_pretrained(…).save_pretrained(…)` writes one"
    ))]
    OtherClass { path: PathBuf, class: String },

    #[error("the tokenizer of {} has no padding token: {name:?} is not in its vocabulary", path.display())]
    #[diagnostic(help("name an existing token as `pad_token` in tokenizer_config.json"))]
    NoPadToken { path: PathBuf, name: String },

    #[error(
        "max_length = {max_length} leaves no room for text: this tokenizer adds {added} tokens to each row"
    )]
    #[diagnostic(help("raise max_length to {} at least", added + 1))]
    NoRoom { max_length: usize, added: usize },

    #[error(
        "stride = {stride} leaves a window nothing new: of max_length = {max_length} tokens this tokenizer adds {added} to each row"
    )]
    #[diagnostic(help(
        "lower stride below {}, the tokens of text that a row has room for, or raise max_length",
        max_length.saturating_sub(*added)
    ))]
    StrideTooLong {
        stride: usize,
        max_length: usize,
        added: usize,
    },

    #[error(
        "this tokenizer's post_processor does more than put tokens around the texts in their order, so that long rows cannot be cut into windows"
    )]
    #[diagnostic(help(
        "use a tokenizer whose `post_processor` in tokenizer.json is a template with A before B, as BERT's is"
    ))]
    NoWindows,

    #[error("the tokenizer has no mask token")]
    #[diagnostic(help(
        "to predict masked words takes the tokenizer that its model was pretrained with, whose files name a `mask_token`"
    ))]
    NoMask,

    #[error("row {row}, counted from 0, cannot be tokenized: {message}")]
    #[diagnostic(help(
        "the tokenizer refuses this text; look at the row, or use another tokenizer"
    ))]
    Row { row: usize, message: String },

    #[error("there is no text to learn a vocabulary from: the training split has no words")]
    #[diagnostic(help("give a training split with text, or name an existing `tokenizer`"))]
    NothingToLearnFrom,

    #[error(
        "vocab_size = {vocab_size} is too small: the special tokens and the {characters} characters of the training texts need {needed}"
    )]
    #[diagnostic(help(
        "raise vocab_size to well above {needed}, or raise min_frequency so that rare characters are left out"
    ))]
    VocabularyTooSmall {
        vocab_size: usize,
        needed: usize,
        characters: usize,
    },

    #[error("no vocabulary can be learned from these texts: {message}")]
    #[diagnostic(help(
        "raise vocab_size, or take another `model`: `wordpiece` and `bpe` are learned from any text"
    ))]
    NotLearnt { message: String },

    #[error("{} is damaged: {problem}", path.display())]
    #[diagnostic(help("`refit cache verify` finds what is damaged; the next run builds it again"))]
    Damaged { path: PathBuf, problem: String },

    /// A callback said to stop.
    #[error("interrupted")]
    #[diagnostic(help("run the same command again to go on"))]
    Interrupted,
}

fn there_is(found: &[String]) -> String {
    if found.is_empty() {
        "the folder is empty".to_owned()
    } else {
        format!("there is {}", found.join(", "))
    }
}
