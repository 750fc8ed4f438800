//! Places of a text as editors count them: lines and columns from 0, columns in UTF-16 units or, where the client offers that,
//! in bytes.
//!
//! A line ends with `\n`, `\r\n` or `\r`. Whatever a client asks for is answered with the nearest place that exists.
//!
//! Deliberately absent: edits; a document comes whole.

use std::ops::Range;

use lsp_types::{Position, PositionEncodingKind};

/// What columns are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Encoding {
    Utf8,
    #[default]
    Utf16,
}

impl Encoding {
    /// The better of those that a client offers.
    pub(super) fn of(offered: Option<&[PositionEncodingKind]>) -> Encoding {
        match offered.is_some_and(|all| all.contains(&PositionEncodingKind::UTF8)) {
            true => Encoding::Utf8,
            false => Encoding::Utf16,
        }
    }

    pub(super) fn kind(self) -> PositionEncodingKind {
        match self {
            Encoding::Utf8 => PositionEncodingKind::UTF8,
            Encoding::Utf16 => PositionEncodingKind::UTF16,
        }
    }

    fn units(self, c: char) -> usize {
        match self {
            Encoding::Utf8 => c.len_utf8(),
            Encoding::Utf16 => c.len_utf16(),
        }
    }
}

/// A text's lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// Of each line the bytes of its content, without what ends it.
    contents: Vec<Range<usize>>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Lines {
        let bytes = text.as_bytes();
        let mut contents = Vec::new();
        let (mut start, mut at) = (0, 0);
        while at < bytes.len() {
            let length = match bytes[at] {
                b'\r' if bytes.get(at + 1) == Some(&b'\n') => 2,
                b'\r' | b'\n' => 1,
                _ => {
                    at += 1;
                    continue;
                }
            };
            contents.push(start..at);
            at += length;
            start = at;
        }
        contents.push(start..bytes.len());
        Lines { contents }
    }

    /// The bytes of the line that holds a byte.
    pub(super) fn around(&self, offset: usize) -> Range<usize> {
        self.contents[self.number(offset)].clone()
    }

    fn number(&self, offset: usize) -> usize {
        let after = self.contents.partition_point(|line| line.start <= offset);
        after.saturating_sub(1)
    }

    pub(super) fn position(&self, text: &str, offset: usize, encoding: Encoding) -> Position {
        let number = self.number(offset);
        let line = self.contents[number].clone();
        let within = &text[line.clone()];
        let before = within
            .char_indices()
            .take_while(|(at, c)| line.start + at + c.len_utf8() <= offset);
        let column: usize = before.map(|(_, c)| encoding.units(c)).sum();
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Position::new(small(number), small(column))
    }

    pub(super) fn offset(&self, text: &str, position: Position, encoding: Encoding) -> usize {
        let Some(line) = self.contents.get(position.line as usize) else {
            return text.len();
        };
        let mut left = position.character as usize;
        let mut at = line.start;
        for c in text[line.clone()].chars() {
            let Some(rest) = left.checked_sub(encoding.units(c)) else {
                break;
            };
            left = rest;
            at += c.len_utf8();
        }
        at
    }

    pub(super) fn range(
        &self,
        text: &str,
        span: &Range<usize>,
        encoding: Encoding,
    ) -> lsp_types::Range {
        let end = span.end.max(span.start);
        lsp_types::Range::new(
            self.position(text, span.start, encoding),
            self.position(text, end, encoding),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Encoding; 2] = [Encoding::Utf8, Encoding::Utf16];

    #[test]
    fn columns_are_counted_in_the_agreed_units() {
        let text = "a = 1\r\nb = \"é😀x\"\n";
        let lines = Lines::of(text);
        let at = text.find('x').unwrap();
        assert_eq!(
            lines.position(text, at, Encoding::Utf16),
            Position::new(1, 8)
        );
        assert_eq!(
            lines.position(text, at, Encoding::Utf8),
            Position::new(1, 11)
        );
        // Between the halves of a surrogate pair there is no place.
        let emoji = text.find('😀').unwrap();
        assert_eq!(
            lines.offset(text, Position::new(1, 7), Encoding::Utf16),
            emoji
        );
    }

    #[test]
    fn what_does_not_exist_is_the_nearest_place_that_does() {
        let text = "ab\r\ncd";
        let lines = Lines::of(text);
        assert_eq!(lines.offset(text, Position::new(0, 99), Encoding::Utf16), 2);
        assert_eq!(lines.offset(text, Position::new(9, 0), Encoding::Utf16), 6);
        assert_eq!(
            lines.position(text, 3, Encoding::Utf16),
            Position::new(0, 2)
        );
        assert_eq!(
            lines.position(text, 99, Encoding::Utf16),
            Position::new(1, 2)
        );
    }

    proptest! {
        #[test]
        fn every_place_comes_back(text in "(\\PC|[\r\n\té😀=\"]|\r\n){0,60}") {
            let lines = Lines::of(&text);
            let inside_a_break = |at: usize| text[..at].ends_with('\r') && text[at..].starts_with('\n');
            for encoding in BOTH {
                for (at, _) in text.char_indices().chain([(text.len(), ' ')]) {
                    if inside_a_break(at) {
                        continue;
                    }
                    let position = lines.position(&text, at, encoding);
                    prop_assert_eq!(lines.offset(&text, position, encoding), at);
                }
            }
        }

        #[test]
        fn any_position_is_a_place(text in "\\PC{0,20}[\r\n]\\PC{0,20}", line in 0_u32..5, column in 0_u32..60) {
            let lines = Lines::of(&text);
            for encoding in BOTH {
                let at = lines.offset(&text, Position::new(line, column), encoding);
                prop_assert!(text.is_char_boundary(at));
            }
        }
    }
}
