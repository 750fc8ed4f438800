//! Where synonyms are found: in WordNet, in a table of the user's, or by a model that predicts them.
//!
//! Deliberately absent: how they are found, which is [`thesaurus`](crate::text::thesaurus)'s and [`predicted`](super::predicted)'s.

use std::path::{Path, PathBuf};

use super::predicted::Predicted;
use super::settings::{Augment, Synonyms};
use crate::stage::{Context, Fault, Files, StageError};
use crate::text::thesaurus::Thesaurus;

const WORDNET: &str = "wordnet/";
/// The role of a user's table.
pub(super) const TABLE: &str = "synonyms";

/// The files that synonyms are found in.
pub(super) fn files(stated: Option<&Synonyms>, base: &Path) -> Result<Files, Fault> {
    if let Some(file) = stated.and_then(|synonyms| synonyms.file.as_ref()) {
        let path = base.join(file);
        return match path.is_file() {
            true => Ok([(TABLE.to_owned(), path)].into()),
            false => Err(Fault::new(
                "synonyms.file",
                format!("there is no file {file}"),
                "name a file with a word and its synonyms in each line, separated by tabs",
            )),
        };
    }
    let (folder, field) = match stated.and_then(|synonyms| synonyms.wordnet.as_ref()) {
        Some(folder) => (base.join(folder), "synonyms.wordnet"),
        None => (usual_wordnet(), "synonyms"),
    };
    match Thesaurus::wordnet_files(&folder) {
        Ok(files) => Ok(files
            .into_iter()
            .map(|(name, path)| (format!("{WORDNET}{name}"), path))
            .collect()),
        Err(name) if stated.is_some() => Err(Fault::new(
            field,
            format!(
                "{} is no WordNet database: {name} is missing",
                folder.display()
            ),
            "name the folder that holds index.noun, data.noun and their like, such as Debian's /usr/share/wordnet",
        )),
        Err(_) => Err(Fault::new(
            field,
            format!(
                "no synonyms are named, and there is no WordNet in {}",
                folder.display()
            ),
            "install WordNet 3 (Debian: `apt install wordnet-base`), or name its folder, `synonyms = { wordnet = \"…\" }`, or a \
             table of your own, `synonyms = { file = \"synonyms.tsv\" }`",
        )),
    }
}

/// Where WordNet's own programs look, else where Debian puts it.
fn usual_wordnet() -> PathBuf {
    let stated = std::env::var_os("WNSEARCHDIR").filter(|folder| !folder.is_empty());
    stated.map_or_else(|| PathBuf::from("/usr/share/wordnet"), PathBuf::from)
}

/// What synonyms are found in.
pub(super) enum Source {
    /// No operation needs any.
    Nothing,
    Thesaurus(Thesaurus),
    Predicted(Box<Predicted>),
}

impl Source {
    pub(super) fn open(settings: &Augment, context: &Context) -> Result<Source, StageError> {
        if !settings.needs_synonyms() {
            return Ok(Source::Nothing);
        }
        if let Some(top) = settings.top() {
            return Ok(Source::Predicted(Box::new(Predicted::open(context, top)?)));
        }
        if let Some(table) = context.files.get(TABLE) {
            return Ok(Source::Thesaurus(Thesaurus::tsv(table)?));
        }
        let folder = context
            .files
            .iter()
            .find_map(|(role, path)| role.starts_with(WORDNET).then(|| path.parent()).flatten());
        let folder = folder.map_or_else(usual_wordnet, Path::to_owned);
        context.progress.say(&format!(
            "synonyms are those of WordNet in {}",
            folder.display()
        ));
        Ok(Source::Thesaurus(Thesaurus::wordnet(&folder)?))
    }

    /// What may stand for `words[place]`.
    pub(super) fn of(&self, words: &[&str], place: usize) -> Vec<String> {
        match self {
            Source::Nothing => Vec::new(),
            Source::Thesaurus(thesaurus) => thesaurus.synonyms(words, place),
            Source::Predicted(predicted) => predicted.synonyms(words, place),
        }
    }
}
