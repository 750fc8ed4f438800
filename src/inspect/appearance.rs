//! What is in the texts that should not be: nothing at all, wrongly decoded bytes, markup.
//!
//! Promise: text as people write it, in any language, is let pass. Mojibake is UTF-8 that was read as Windows-1252 or Latin-1,
//! and is told by undoing that: the characters must be the bytes of a UTF-8 sequence that European texts, emoji and
//! typographic marks give. A sequence that real text holds by chance, such as the `ß“` at the end of a German quotation,
//! is not taken.
//!
//! Deliberately absent: repair, and languages that do not fit.

use rayon::prelude::*;

use super::{Code, Facts, Finding, counted, excerpt, share};
use crate::table::Texts;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let splits = facts.splits.iter();
    splits
        .flat_map(|(name, texts)| of_split(facts, name, texts))
        .collect()
}

fn of_split(facts: &Facts, name: &str, texts: &Texts<&str>) -> Vec<Finding> {
    let load = facts.load;
    let mut findings = Vec::new();
    let empty = rows_with(texts, |text| is_blank(text).then_some(""));
    if !empty.is_empty() {
        let rows: Vec<usize> = empty.iter().map(|(row, _)| *row).collect();
        let message = format!(
            "{} with nothing to read",
            counted(rows.len(), "row", "rows")
        );
        let advice = format!("leave them out with `load.{load}.where`, or mend the file");
        findings.push(Finding::about(Code::EmptyText, name, texts, &rows).saying(message, advice));
    }
    let strange = rows_with(texts, strange);
    if !strange.is_empty() {
        let rows: Vec<usize> = strange.iter().map(|(row, _)| *row).collect();
        let message = format!(
            "{} with wrongly decoded or control characters ({})",
            counted(rows.len(), "row", "rows"),
            kinds(&strange)
        );
        let advice = format!(
            "write the file behind `load.{load}` again as UTF-8, from its source; where that cannot be had, leave the rows out with `load.{load}.where`"
        );
        let finding = Finding::about(Code::SuspiciousEncoding, name, texts, &rows)
            .saying(message, advice)
            .showing(around(texts, &strange))
            .with("share", share(rows.len(), texts.len()));
        findings.push(finding);
    }
    let marked = rows_with(texts, markup);
    if !marked.is_empty() {
        let rows: Vec<usize> = marked.iter().map(|(row, _)| *row).collect();
        let message = format!(
            "{} with markup ({})",
            counted(rows.len(), "row", "rows"),
            kinds(&marked)
        );
        let advice = format!(
            "strip tags and decode entities in the file behind `load.{load}`, unless the texts to be predicted have them too"
        );
        let finding = Finding::about(Code::Markup, name, texts, &rows)
            .saying(message, advice)
            .showing(around(texts, &marked))
            .with("share", share(rows.len(), texts.len()));
        findings.push(finding);
    }
    findings
}

/// The rows whose text or pair the check says something of, and what it says.
fn rows_with<'a>(
    texts: &Texts<&'a str>,
    check: impl Fn(&'a str) -> Option<&'a str> + Sync,
) -> Vec<(usize, &'a str)> {
    let pairs = texts.text_pair.as_deref().unwrap_or_default();
    let found = texts.text.par_iter().enumerate().filter_map(|(row, text)| {
        let said = check(text).or_else(|| pairs.get(row).and_then(|pair| check(pair)));
        said.map(|said| (row, said))
    });
    found.collect()
}

/// The five most frequent things found, with the number of rows that have each first.
fn kinds(found: &[(usize, &str)]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for (_, kind) in found {
        *counts.entry(*kind).or_insert(0) += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    let shown = counts
        .iter()
        .take(5)
        .map(|(kind, rows)| format!("{} {rows}", shown(kind)));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if counts.len() > 5 {
        text.push_str(", …");
    }
    text
}

/// Invisible characters by number.
fn shown(kind: &str) -> String {
    let one = |c: char| match c {
        c if c.is_control() || c == '\u{FEFF}' || c == '\u{FFFD}' => {
            format!("U+{:04X}", u32::from(c))
        }
        c => c.to_string(),
    };
    kind.chars().map(one).collect()
}

/// What was found, in its surroundings.
fn around(texts: &Texts<&str>, found: &[(usize, &str)]) -> Vec<String> {
    let surroundings = found.iter().take(super::EXAMPLES).map(|&(row, kind)| {
        let place = |text: &str| text.find(kind);
        let pair = texts.text_pair.as_ref().and_then(|pairs| pairs.get(row));
        let text = texts
            .text
            .get(row)
            .filter(|text| place(text).is_some())
            .or(pair);
        let text = text.copied().unwrap_or_default();
        let before = text.get(..place(text).unwrap_or(0)).unwrap_or_default();
        let skipped = before.chars().count().saturating_sub(20);
        let from: String = text.chars().skip(skipped).collect();
        excerpt(&from)
    });
    surroundings.collect()
}

/// Nothing but white space, and characters that show nothing.
pub(super) fn is_blank(text: &str) -> bool {
    let shows_nothing = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(
                c,
                '\u{00AD}'
                    | '\u{034F}'
                    | '\u{061C}'
                    | '\u{115F}'
                    | '\u{1160}'
                    | '\u{17B4}'
                    | '\u{17B5}'
                    | '\u{180E}'
            )
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}')
            || matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{E0000}'..='\u{E0FFF}')
    };
    text.chars().all(shows_nothing)
}

/// The first wrongly decoded sequence, replacement character, byte order mark, or control character.
fn strange(text: &str) -> Option<&str> {
    if text
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r'))
    {
        return None;
    }
    let mut before = None;
    for (place, c) in text.char_indices() {
        let rest = text.get(place..)?;
        // U+0085 is a line break in some files.
        let broken = match c {
            '\t' | '\n' | '\r' | '\u{0085}' => false,
            '\u{FFFD}' | '\u{FEFF}' => true,
            c => c.is_control(),
        };
        let length = if broken {
            Some(c.len_utf8())
        } else {
            mojibake(before, rest)
        };
        if let Some(length) = length {
            return rest.get(..length);
        }
        before = Some(c);
    }
    None
}

/// How many bytes of text at its beginning are one character in UTF-8 that was read as Windows-1252 or Latin-1.
fn mojibake(before: Option<char>, text: &str) -> Option<usize> {
    let mut characters = text.chars();
    let lead = characters.next()?;
    let length = match lead {
        // U+0080 to U+00FF, Greek and Cyrillic, marks and signs, the byte order mark, emoji.
        'Â' | 'Ã' | 'Î' | 'Ï' | 'Ð' | 'Ñ' => 2,
        'â' | 'ï' => 3,
        'ð' => 4,
        _ => return None,
    };
    let bytes: Vec<u8> = text.chars().take(length).map(byte).collect::<Option<_>>()?;
    let decoded = std::str::from_utf8(&bytes).ok()?.chars().next()?;
    let tail: Vec<char> = characters.by_ref().take(length - 1).collect();
    let after = characters.next();
    let likely = match lead {
        'Â' | 'Ã' => {
            // `AMANHÃ”`: a capital at the end of a quotation.
            let closing = tail.iter().all(|&c| {
                matches!(
                    c,
                    '‘' | '’' | '“' | '”' | '»' | '…' | '–' | '—' | '\u{00A0}'
                )
            });
            let capitals = before.is_some_and(char::is_uppercase);
            let word_goes_on = after.is_some_and(char::is_alphabetic);
            !closing || !capitals || word_goes_on
        }
        // One such pair may be real (`Ñ”`); of Greek and Cyrillic words there are several letters.
        'Î' | 'Ï' | 'Ð' | 'Ñ' => {
            let next: Vec<u8> = text
                .chars()
                .skip(2)
                .take(2)
                .map(byte)
                .collect::<Option<_>>()?;
            let next = std::str::from_utf8(&next)
                .ok()
                .and_then(|next| next.chars().next());
            next.is_some_and(|next| matches!(next, '\u{0370}'..='\u{052F}'))
        }
        'â' => matches!(decoded, '\u{2010}'..='\u{2BFF}'),
        'ï' => matches!(decoded, '\u{FEFF}' | '\u{FFFD}' | '\u{FE0F}'),
        _ => matches!(decoded, '\u{1F000}'..='\u{1FAFF}'),
    };
    likely.then(|| text.chars().take(length).map(char::len_utf8).sum())
}

/// The byte that Windows-1252, or else Latin-1, reads as this character; of those that are not ASCII.
fn byte(c: char) -> Option<u8> {
    /// What Windows-1252 has from 0x80 to 0x9F; a space where it has nothing.
    const WINDOWS: &str = "€ ‚ƒ„…†‡ˆ‰Š‹Œ Ž  ‘’“”•–—˜™š›œ žŸ";
    if let '\u{0080}'..='\u{00FF}' = c {
        return u8::try_from(u32::from(c)).ok();
    }
    let place = WINDOWS
        .chars()
        .position(|known| known == c && known != ' ')?;
    u8::try_from(0x80 + place).ok()
}

/// Elements of HTML that turn up in texts. Placeholders such as `<name>` are not among them.
const ELEMENTS: [&str; 47] = [
    "a",
    "abbr",
    "article",
    "b",
    "blockquote",
    "body",
    "br",
    "button",
    "center",
    "code",
    "dd",
    "div",
    "dl",
    "dt",
    "em",
    "font",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "head",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "input",
    "li",
    "meta",
    "nav",
    "ol",
    "p",
    "pre",
    "script",
    "section",
    "small",
    "span",
    "strong",
    "style",
    "sub",
    "sup",
    "table",
    "td",
    "tr",
    "ul",
];
const ENTITIES: [&str; 26] = [
    "amp", "apos", "bull", "cent", "copy", "deg", "eacute", "euro", "gt", "hellip", "ldquo",
    "lsquo", "lt", "mdash", "middot", "nbsp", "ndash", "ouml", "pound", "quot", "rdquo", "reg",
    "rsquo", "shy", "trade", "uuml",
];

/// The first HTML tag or entity, also an entity that lost its `&` (`#39;`, `quot;`).
fn markup(text: &str) -> Option<&str> {
    let mut before = None;
    for (place, c) in text.char_indices() {
        let parts = !before.is_some_and(char::is_alphanumeric);
        let rest = text.get(place..)?;
        let length = match c {
            '<' => tag(rest),
            '&' => entity(rest.get(1..)?).map(|length| length + 1),
            '#' if before != Some('&') => numbered(rest),
            'q' | 'l' | 'g' | 'a' | 'n' if parts && before != Some('&') => cut_entity(rest),
            _ => None,
        };
        if let Some(length) = length {
            return rest.get(..length);
        }
        before = Some(c);
    }
    None
}

/// `<b>`, `</p>`, `<br />`, `<a href="…">`: its length.
fn tag(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('<')?;
    let inside = inside.strip_prefix('/').unwrap_or(inside);
    let name = inside.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    if !ELEMENTS
        .iter()
        .any(|element| element.eq_ignore_ascii_case(name))
    {
        return None;
    }
    let attributes = inside.get(name.len()..)?;
    // Some distance off, a `>` belongs to something else.
    let end = attributes
        .char_indices()
        .take(2000)
        .find(|(_, c)| matches!(c, '<' | '>'));
    let (end, _) = end.filter(|(_, c)| *c == '>')?;
    let attributes = attributes.get(..end)?;
    let plain = attributes.trim_end_matches('/').trim().is_empty();
    let spaced = attributes.starts_with(char::is_whitespace) && attributes.contains('=');
    let length = text.len() - inside.len() + name.len() + end + 1;
    (plain || spaced).then_some(length)
}

/// What stands behind `&`, with its `;`.
fn entity(text: &str) -> Option<usize> {
    if text.starts_with('#') {
        return numbered(text);
    }
    let name = text.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    let ends = text.get(name.len()..)?.starts_with(';');
    (ends && ENTITIES.contains(&name)).then_some(name.len() + 1)
}

/// `#39;`, `#x2019;`.
fn numbered(text: &str) -> Option<usize> {
    let number = text.strip_prefix('#')?;
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    let length = digits.chars().take_while(|c| c.is_digit(radix)).count();
    let ends = digits.get(length..)?.starts_with(';');
    // `#1;` may number an item of a list.
    (ends && (2..=6).contains(&length)).then_some(text.len() - digits.len() + length + 1)
}

/// `quot;`, `lt;`, `gt;`, `amp;`, `nbsp;`: entities that lost their `&`.
fn cut_entity(text: &str) -> Option<usize> {
    let name = ["quot;", "lt;", "gt;", "amp;", "nbsp;"]
        .into_iter()
        .find(|name| text.starts_with(name))?;
    Some(name.len())
}

#[cfg(test)]
mod tests;
