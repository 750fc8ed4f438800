//! What can be put right with one key: a word for which a problem knows the one that was meant.
//!
//! Deliberately absent: any reading of messages. A problem carries the word as data.

use std::collections::HashMap;
use std::str::FromStr;

use lsp_types::{
    CodeAction, CodeActionKind, CodeActionOrCommand, Diagnostic, Range, TextEdit, Uri,
    WorkspaceEdit,
};

use super::diagnostics::diagnostic;
use super::document::Document;
use crate::spec::Problem;

/// The fixes of the problems that a range touches; `of_sweep` are those of a sweep's values.
pub(super) fn actions(
    document: &Document,
    of_sweep: &[Problem],
    asked: Range,
    shown: &[Diagnostic],
) -> Vec<CodeActionOrCommand> {
    let checked = document.checked();
    let touches = |range: &Range| range.start <= asked.end && asked.start <= range.end;
    let mut found = Vec::new();
    for problem in checked.problems.iter().chain(of_sweep) {
        let told = diagnostic(document, &checked.pipeline, problem);
        let Some((place, word)) = problem.replacement(&checked.pipeline.sources) else {
            continue;
        };
        let place = document.range(&place.span);
        let Ok(uri) = Uri::from_str(&document.uri) else {
            continue;
        };
        if !touches(&told.range) && !touches(&place) {
            continue;
        }
        #[expect(
            clippy::mutable_key_type,
            reason = "the protocol's own type; a Uri's hash is that of its text"
        )]
        let changes = HashMap::from([(uri, vec![TextEdit::new(place, word.clone())])]);
        let known = shown
            .iter()
            .find(|one| one.range == told.range && one.message == told.message);
        found.push(CodeActionOrCommand::CodeAction(CodeAction {
            title: format!("Write `{word}`"),
            kind: Some(CodeActionKind::QUICKFIX),
            diagnostics: Some(vec![known.cloned().unwrap_or(told)]),
            edit: Some(WorkspaceEdit::new(changes)),
            is_preferred: Some(true),
            ..CodeAction::default()
        }));
    }
    found
}
