//! The words of a TOML text, also of one that is being typed: every key and every string with its path.
//!
//! The spec's own reader says what is wrong with a text; this says what stands where in it although something is wrong, and
//! what is expected at its end. A string or a bracket that is never closed ends where the next line is plainly a table or a
//! field.
//!
//! Deliberately absent: values, escapes, and whether the text is valid.

use std::ops::Range;

/// A word of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) what: What,
    /// The keys that lead to it; of a key, itself the last.
    pub(super) path: Vec<String>,
    /// Bytes, without quotes.
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A part of `[a.b]`.
    Header,
    Key,
    /// A string.
    Text,
    /// Another value: a number, say.
    Bare,
}

/// What is expected at the end of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// Nothing to tell of: a comment, a header, the end of a line.
    Nothing,
    /// A key of the table at `path`, of which a part from `start` on is there.
    Key {
        path: Vec<String>,
        start: usize,
        quoted: bool,
    },
    /// A value of the field at `path`, of which a part from `start` on may be there.
    Value { path: Vec<String>, start: usize },
    /// The rest of a string of the field at `path`, which began at `start`.
    Text { path: Vec<String>, start: usize },
}

/// How deep values may lie in each other: more than in any spec, and few enough for the stack.
const MAX_DEPTH: usize = 64;

/// Every word of `text`.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut scan = Scan::new(text);
    scan.document();
    scan.tokens
}

/// What is expected where `text` ends.
pub(super) fn expected(text: &str) -> Expected {
    let mut scan = Scan::new(text);
    scan.document();
    scan.expected.unwrap_or(Expected::Nothing)
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token>,
    /// Set once, by whoever sees the end first.
    expected: Option<Expected>,
    /// A bracket was never closed, and a new line begins something else.
    lost: bool,
}

impl<'t> Scan<'t> {
    fn new(text: &'t str) -> Self {
        Scan {
            text,
            at: 0,
            tokens: Vec::new(),
            expected: None,
            lost: false,
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn ends(&mut self, expected: Expected) {
        self.expected.get_or_insert(expected);
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
    }

    fn blanks(&mut self) {
        self.skip(|c| matches!(c, ' ' | '\t'));
    }

    /// To the end of the line.
    fn rest_of_line(&mut self) {
        self.skip(|c| c != '\n');
        if self.next().is_none() {
            self.ends(Expected::Nothing);
        }
    }

    /// Over white space, line breaks, comments and commas inside brackets. Sees where the brackets were forgotten.
    fn between(&mut self) {
        loop {
            self.skip(|c| c.is_whitespace() && c != '\n' || c == ',');
            match self.next() {
                Some('#') => self.rest_of_line(),
                Some('\n') => {
                    self.at += 1;
                    if begins_table(self.rest()) {
                        self.lost = true;
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    fn document(&mut self) {
        let mut table = Vec::new();
        loop {
            self.lost = false;
            self.skip(char::is_whitespace);
            match self.next() {
                None => {
                    let start = self.at;
                    let quoted = false;
                    let path = table;
                    return self.ends(Expected::Key {
                        path,
                        start,
                        quoted,
                    });
                }
                Some('#') => self.rest_of_line(),
                Some('[') => {
                    self.skip(|c| c == '[');
                    table = self.keys(&[], What::Header);
                    self.rest_of_line();
                }
                Some(_) => {
                    self.entry(&table, 0);
                    if !self.lost {
                        self.rest_of_line();
                    }
                }
            }
        }
    }

    /// `a."b".c`; the path to it.
    fn keys(&mut self, base: &[String], what: What) -> Vec<String> {
        let mut path = base.to_vec();
        loop {
            self.blanks();
            let quote = self.next().filter(|c| matches!(c, '"' | '\''));
            let start = self.at + quote.map_or(0, char::len_utf8);
            self.at = start;
            let closed = match quote {
                Some(quote) => self.string_until(quote),
                None => {
                    let ends = |c: char| c.is_whitespace() || "=.[]{},#\"'".contains(c);
                    self.skip(|c| !ends(c));
                    self.next().is_some()
                }
            };
            let end = self.at;
            if !closed && end == self.text.len() {
                self.ends(match what {
                    What::Header => Expected::Nothing,
                    _ => Expected::Key {
                        path: path.clone(),
                        start,
                        quoted: quote.is_some(),
                    },
                });
            }
            if closed && quote.is_some() {
                self.at += 1;
            }
            if end > start {
                path.push(self.text[start..end].to_owned());
                self.tokens.push(Token {
                    what,
                    path: path.clone(),
                    span: start..end,
                });
            }
            self.blanks();
            if self.next() != Some('.') {
                return path;
            }
            self.at += 1;
        }
    }

    /// Inside a string of one line, to its quote; whether it has one.
    fn string_until(&mut self, quote: char) -> bool {
        while let Some(c) = self.next() {
            match c {
                '\n' => return false,
                c if c == quote => return true,
                '\\' if quote == '"' => {
                    self.at += 1;
                    let escaped = self.next().filter(|c| *c != '\n');
                    self.at += escaped.map_or(0, char::len_utf8);
                }
                c => self.at += c.len_utf8(),
            }
        }
        false
    }

    /// `key = value` below `base`.
    fn entry(&mut self, base: &[String], depth: usize) {
        let before = self.at;
        let path = self.keys(base, What::Key);
        self.blanks();
        match self.next() {
            Some('=') => {
                self.at += 1;
                self.value(&path, depth);
            }
            None => self.ends(Expected::Nothing),
            // No key: whatever it is, one goes on behind it.
            Some(c) if self.at == before => self.at += c.len_utf8(),
            Some(_) => {}
        }
    }

    fn value(&mut self, path: &[String], depth: usize) {
        self.blanks();
        let start = self.at;
        let path_of = || path.to_vec();
        match self.next() {
            None => self.ends(Expected::Value {
                path: path_of(),
                start,
            }),
            Some(quote @ ('"' | '\'')) => self.text_value(quote, path),
            Some('[') if depth < MAX_DEPTH => {
                self.at += 1;
                self.items(']', path, depth);
            }
            Some('{') if depth < MAX_DEPTH => {
                self.at += 1;
                self.items('}', path, depth);
            }
            Some(_) => {
                let ends = |c: char| c.is_whitespace() || ",]}#".contains(c);
                self.skip(|c| !ends(c));
                if self.next().is_none() {
                    self.ends(Expected::Value {
                        path: path_of(),
                        start,
                    });
                }
                if self.at > start {
                    self.tokens.push(Token {
                        what: What::Bare,
                        path: path_of(),
                        span: start..self.at,
                    });
                }
            }
        }
    }

    /// What lies in brackets that `close` closes.
    fn items(&mut self, close: char, path: &[String], depth: usize) {
        loop {
            self.between();
            if self.lost {
                return;
            }
            let before = self.at;
            match (self.next(), close) {
                (None, ']') => {
                    let (path, start) = (path.to_vec(), self.at);
                    return self.ends(Expected::Value { path, start });
                }
                (None, _) => {
                    let (path, start) = (path.to_vec(), self.at);
                    let quoted = false;
                    return self.ends(Expected::Key {
                        path,
                        start,
                        quoted,
                    });
                }
                (Some(c), _) if c == close => {
                    self.at += 1;
                    return;
                }
                (Some(_), ']') => self.value(path, depth + 1),
                (Some(_), _) => self.entry(path, depth + 1),
            }
            if self.lost {
                return;
            }
            if self.next().is_none() {
                self.ends(Expected::Nothing);
            }
            if let Some(c) = self.next().filter(|_| self.at == before) {
                self.at += c.len_utf8();
            }
        }
    }

    fn text_value(&mut self, quote: char, path: &[String]) {
        let three = [quote; 3].iter().collect::<String>();
        let long = self.rest().starts_with(&three);
        self.at += if long { 3 } else { 1 };
        let start = self.at;
        let closed = if long {
            let rest = self.rest();
            let end = rest.find(&three);
            self.at += end.unwrap_or(rest.len());
            end.is_some()
        } else {
            self.string_until(quote)
        };
        let end = self.at;
        if !closed && self.next().is_none() {
            let path = path.to_vec();
            self.ends(Expected::Text { path, start });
        }
        if closed {
            self.at += if long { 3 } else { 1 };
        }
        let content = &self.text[start..end];
        self.tokens.push(Token {
            what: What::Text,
            path: path.to_vec(),
            // The break of a line that nobody closed is no part of it.
            span: start..start + content.trim_end_matches('\r').len(),
        });
    }
}

/// Whether a line is plainly the head of a table: `[train.` and so on, which no list of a spec begins with.
fn begins_table(line: &str) -> bool {
    let Some(inside) = line.strip_prefix('[') else {
        return false;
    };
    let inside = inside.strip_prefix('[').unwrap_or(inside);
    let end = inside.find(']').unwrap_or(0);
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"');
    let head = &inside[..end];
    head.starts_with(|c: char| c.is_ascii_alphabetic()) && head.chars().all(name)
}

#[cfg(test)]
mod tests;
