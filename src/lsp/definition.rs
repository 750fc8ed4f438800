//! From a name to where it is declared, to where it is used, and to another name.
//!
//! Deliberately absent: other files. A spec names nothing of another.

use std::collections::HashMap;
use std::str::FromStr;

use lsp_types::{Location, TextEdit, Uri, WorkspaceEdit};

use super::document::Document;
use super::mentions::{Mention, Of};

fn location(document: &Document, mention: &Mention) -> Option<Location> {
    let uri = Uri::from_str(&document.uri).ok()?;
    Some(Location::new(uri, document.range(&mention.span)))
}

/// Where the name at a byte is declared: the first of its tables.
pub(super) fn definition(document: &Document, offset: usize) -> Option<Location> {
    let wanted = document.mention(offset)?;
    let mut all = document.mentions().iter();
    let declared = all.find(|one| one.is_of(wanted) && one.declares.is_some())?;
    location(document, declared)
}

/// Where the name at a byte is used, and where it is declared if that is asked for too.
pub(super) fn references(document: &Document, offset: usize, declared_too: bool) -> Vec<Location> {
    let Some(wanted) = document.mention(offset) else {
        return Vec::new();
    };
    let all = document.mentions().iter();
    let all = all.filter(|one| one.is_of(wanted) && (declared_too || one.declares.is_none()));
    all.filter_map(|one| location(document, one)).collect()
}

/// The name at a byte, where it can have another.
pub(super) fn renamable(document: &Document, offset: usize) -> Option<lsp_types::Range> {
    let wanted = document.mention(offset)?;
    let mut all = document.mentions().iter();
    all.any(|one| one.is_of(wanted) && one.declares.is_some())
        .then(|| document.range(&wanted.span))
}

/// The edits that give the name at a byte another one everywhere.
///
/// # Errors
/// There is nothing to rename, or the name cannot be had; in words.
pub(super) fn rename(
    document: &Document,
    offset: usize,
    name: &str,
) -> Result<WorkspaceEdit, String> {
    let Some(wanted) = document
        .mention(offset)
        .filter(|_| renamable(document, offset).is_some())
    else {
        return Err("there is no stage and no variable of this file here".to_owned());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!(
            "`{name}` cannot be a name: letters, digits, `_` and `-` only"
        ));
    }
    let what = match wanted.of {
        Of::Stage => "stage",
        Of::Variable => "variable",
    };
    let taken = |one: &Mention| one.of == wanted.of && one.name == name && one.declares.is_some();
    if name != wanted.name && document.mentions().iter().any(taken) {
        return Err(format!("there is a {what} `{name}` already"));
    }
    let uri = Uri::from_str(&document.uri).map_err(|error| error.to_string())?;
    let all = document.mentions().iter();
    let edits = all
        .filter(|one| one.is_of(wanted))
        .map(|one| TextEdit::new(document.range(&one.span), name.to_owned()));
    #[expect(
        clippy::mutable_key_type,
        reason = "the protocol's own type; a Uri's hash is that of its text"
    )]
    let changes = HashMap::from([(uri, edits.collect())]);
    Ok(WorkspaceEdit::new(changes))
}
