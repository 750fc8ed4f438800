//! An open document: its text as the editor has it, saved or not, and what was found out about that text, each once.
//!
//! Deliberately absent: what lies on the disk under the same name.

use std::cell::OnceCell;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::diagnostics::{Checked, checked};
use super::mentions::{Mention, mentions};
use super::positions::{Encoding, Lines};
use super::scan::{Token, What, tokens};
use crate::stage::KINDS;

#[derive(Debug)]
pub(super) struct Document {
    /// As the client calls it.
    pub(super) uri: String,
    pub(super) version: i32,
    pub(super) text: String,
    /// Where its paths lead from: its file, or a file that might be.
    pub(super) path: PathBuf,
    encoding: Encoding,
    lines: Lines,
    tokens: OnceCell<Vec<Token>>,
    mentions: OnceCell<Vec<Mention>>,
    checked: OnceCell<Checked>,
}

impl Document {
    pub(super) fn new(
        uri: String,
        version: i32,
        text: String,
        root: &Path,
        encoding: Encoding,
    ) -> Document {
        Document {
            path: path_of(&uri).unwrap_or_else(|| root.join("untitled.toml")),
            lines: Lines::of(&text),
            uri,
            version,
            text,
            encoding,
            tokens: OnceCell::new(),
            mentions: OnceCell::new(),
            checked: OnceCell::new(),
        }
    }

    pub(super) fn tokens(&self) -> &[Token] {
        self.tokens.get_or_init(|| tokens(&self.text))
    }

    pub(super) fn mentions(&self) -> &[Mention] {
        self.mentions
            .get_or_init(|| mentions(&self.text, self.tokens()))
    }

    /// The name at a byte; also at the byte just behind it, where a cursor stands that wrote it.
    pub(super) fn mention(&self, offset: usize) -> Option<&Mention> {
        let mut all = self.mentions().iter();
        all.find(|one| (one.span.start..=one.span.end).contains(&offset))
    }

    /// What is wrong with the spec itself; the values of a sweep are not looked at.
    pub(super) fn checked(&self) -> &Checked {
        self.checked.get_or_init(|| checked(&self.path, &self.text))
    }

    /// What lies on the disk may have changed.
    pub(super) fn forget(&mut self) {
        self.checked = OnceCell::new();
    }

    /// Whether it is a spec of refit, sound or not: it says a `version` and lists nothing as `[[…]]`, or has a table of a
    /// stage, or names the schema.
    pub(super) fn is_spec(&self) -> bool {
        let named = |line: &str| {
            let schema = line.trim().strip_prefix("#:schema");
            schema.is_some_and(|schema| schema.trim_end().ends_with("pipeline.schema.json"))
        };
        let of_stage = |token: &Token| {
            token.path.len() == 2 && KINDS.iter().any(|kind| kind.name == token.path[0])
        };
        let version =
            |token: &Token| token.what == What::Bare && token.path.as_slice() == ["version"];
        let mut lines = self.text.lines();
        let listed = || lines.clone().any(|line| line.starts_with("[["));
        self.tokens().iter().any(of_stage)
            || self.tokens().iter().any(version) && !listed()
            || lines.any(named)
    }

    pub(super) fn offset(&self, position: lsp_types::Position) -> usize {
        self.lines.offset(&self.text, position, self.encoding)
    }

    pub(super) fn range(&self, span: &Range<usize>) -> lsp_types::Range {
        self.lines.range(&self.text, span, self.encoding)
    }

    /// The bytes of the line around a byte.
    pub(super) fn line(&self, offset: usize) -> Range<usize> {
        self.lines.around(offset)
    }
}

/// The file that a `file:` address names.
pub(super) fn path_of(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    if !rest.starts_with('/') {
        return None;
    }
    let path = decoded(rest)?;
    // `/C:/folder` is a path of Windows.
    let bytes = path.as_bytes();
    let drive = bytes.len() > 2 && bytes[1].is_ascii_alphabetic() && bytes[2] == b':';
    let path = match drive && cfg!(windows) {
        true => path.trim_start_matches('/'),
        false => &path,
    };
    Some(PathBuf::from(path))
}

/// The text that percent signs and digits stand for.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match (first, after) {
            (b'%', [high, low, ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok()?;
                u8::from_str_radix(digits, 16).ok()
            }
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = match code {
            Some(_) => &after[2..],
            None => after,
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_spec(text: &str) -> bool {
        let root = Path::new("/");
        Document::new(
            "untitled:a".to_owned(),
            1,
            text.to_owned(),
            root,
            Encoding::Utf16,
        )
        .is_spec()
    }

    #[test]
    fn only_specs_of_refit_are_looked_at() {
        assert!(is_spec("version = 1\n[lod.x]\n"));
        assert!(is_spec("[train.x]\ninput = \""));
        assert!(is_spec("#:schema ../schemas/pipeline.schema.json\n"));
        assert!(!is_spec(""));
        assert!(!is_spec("[package]\nname = \"x\"\nversion = \"1\"\n"));
        assert!(!is_spec("version = 4\n\n[[package]]\nname = \"x\"\n"));
        assert!(!is_spec("[tool.black]\nline-length = 80\n"));
    }

    #[test]
    fn an_address_is_a_path_or_none() {
        let path = |uri| path_of(uri).map(|path| path.to_string_lossy().into_owned());
        assert_eq!(path("file:///a%20b/%C3%A9.toml").unwrap(), "/a b/é.toml");
        assert_eq!(path("file:///a%zz%").unwrap(), "/a%zz%");
        assert_eq!(path("file:///%ff"), None);
        assert_eq!(path("untitled:Untitled-1"), None);
        assert_eq!(path("vscode-remote://host/a"), None);
    }
}
