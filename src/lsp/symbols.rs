//! The outline of a spec: its variables, and its stages in the order of the file, each with its kind.
//!
//! Deliberately absent: fields, which the editor's own TOML outline has.

use lsp_types::{DocumentSymbol, SymbolKind};

use super::document::Document;
use super::mentions::Of;
use super::scan::What;

pub(super) fn symbols(document: &Document) -> Vec<DocumentSymbol> {
    let mut found: Vec<DocumentSymbol> = Vec::new();
    let mut seen = Vec::new();
    for mention in document.mentions() {
        let Some(path) = &mention.declares else {
            continue;
        };
        // `[train.a.batch]` goes on with `[train.a]`.
        if seen.contains(&path) {
            continue;
        }
        seen.push(path);
        let line = document.line(mention.span.start);
        let heads = document.tokens().iter();
        let heads = heads.filter(|token| token.what == What::Header && token.path.len() < 3);
        let is_head = heads
            .clone()
            .any(|token| token.span.start == mention.span.start);
        // A table goes to the next one; a key to the end of its line.
        let next = heads
            .map(|token| document.line(token.span.start).start)
            .find(|start| *start > line.start);
        let end = match is_head {
            true => next.unwrap_or(document.text.len()),
            false => line.end,
        };
        let text = document.text.get(line.start..end).unwrap_or_default();
        let whole = line.start..line.start + text.trim_end().len().max(line.len());
        let (kind, detail) = match mention.of {
            Of::Stage => (SymbolKind::CLASS, path.first().cloned()),
            Of::Variable => (SymbolKind::VARIABLE, None),
        };
        #[expect(deprecated, reason = "the field has no default")]
        found.push(DocumentSymbol {
            name: mention.name.clone(),
            detail,
            kind,
            tags: None,
            deprecated: None,
            range: document.range(&whole),
            selection_range: document.range(&mention.span),
            children: None,
        });
    }
    found
}
