//! Wildcards over the names of files, as fsspec's `glob` reads them, with what `datasets` leaves out of its matches.
//!
//! `*` and `?` stop at a folder's end, `[…]` and `[!…]` are sets, and `**` as a whole part is any number of folders. Hidden
//! names (`.x`) and folders of programs (`__x__`) are matched only where the pattern says as many.
//!
//! Deliberately absent: the disk. What is matched are names of a listing.

use std::ops::RangeInclusive;

/// One pattern, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    hidden: usize,
    special: usize,
    /// Whether it has wildcards.
    pub(super) has_wildcards: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`
    Folders,
    Name(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    Any,
    Star,
    Set {
        negated: bool,
        ranges: Vec<RangeInclusive<char>>,
    },
}

impl Pattern {
    /// None where `**` is a part of a name, which fsspec refuses.
    pub(super) fn new(text: &str) -> Option<Pattern> {
        let parts = text.split('/').filter(|part| !matches!(*part, "" | "."));
        let parts = parts.map(|part| match part {
            "**" => Some(Part::Folders),
            part if part.contains("**") => None,
            part => Some(Part::Name(tokens(part))),
        });
        let (hidden, special) = kept_back(text);
        Some(Pattern {
            parts: parts.collect::<Option<_>>()?,
            hidden,
            special,
            has_wildcards: has_wildcards(text),
        })
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let parts: Vec<&str> = name.split('/').collect();
        kept_back(name) == (self.hidden, self.special) && all_match(&self.parts, &parts)
    }
}

/// As Python's `glob.has_magic`.
pub(super) fn has_wildcards(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// How many parts of a name are hidden, and how many of its folders are those of programs.
fn kept_back(name: &str) -> (usize, usize) {
    let parts: Vec<&str> = name.split('/').collect();
    let folders = &parts[..parts.len() - 1];
    let is_hidden = |part: &&&str| part.starts_with('.') && part.chars().any(|c| c != '.');
    (
        parts.iter().filter(is_hidden).count(),
        folders.iter().filter(|part| part.starts_with("__")).count(),
    )
}

/// Row by row over the parts of the pattern: which beginnings of the name it can match so far.
fn all_match(pattern: &[Part], name: &[&str]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for (number, part) in pattern.iter().enumerate() {
        let is_last = number + 1 == pattern.len();
        let mut next = vec![false; name.len() + 1];
        match part {
            Part::Folders => {
                let mut open = false;
                for (place, from) in reached.iter().enumerate() {
                    // At the end it stands for something, before it may stand for nothing.
                    next[place] = open || (*from && !is_last);
                    open |= from;
                }
            }
            Part::Name(tokens) => {
                for (place, part) in name.iter().enumerate() {
                    next[place + 1] = reached[place] && name_matches(tokens, part);
                }
            }
        }
        reached = next;
    }
    !pattern.is_empty() && reached[name.len()]
}

/// The same over the characters of one part, so that no pattern takes long.
fn name_matches(pattern: &[Token], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for token in pattern {
        let mut next = vec![false; name.len() + 1];
        if *token == Token::Star {
            let mut open = false;
            for (place, from) in reached.iter().enumerate() {
                open |= from;
                next[place] = open;
            }
        } else {
            for (place, &c) in name.iter().enumerate() {
                next[place + 1] = reached[place] && token.takes(c);
            }
        }
        reached = next;
    }
    reached[name.len()]
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Literal(wanted) => *wanted == c,
            Token::Any | Token::Star => true,
            Token::Set { negated, ranges } => {
                ranges.iter().any(|range| range.contains(&c)) != *negated
            }
        }
    }
}

fn tokens(part: &str) -> Vec<Token> {
    let text: Vec<char> = part.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let c = text[at];
        at += 1;
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '[' => match set(&text, at) {
                Some((token, end)) => {
                    at = end;
                    token
                }
                None => Token::Literal('['),
            },
            other => Token::Literal(other),
        });
    }
    tokens
}

/// The set whose inside begins at `start`, and where the pattern goes on behind it; none where it is never closed.
fn set(text: &[char], start: usize) -> Option<(Token, usize)> {
    let negated = text.get(start) == Some(&'!');
    let first = start + usize::from(negated);
    // A bracket at the very beginning is a member.
    let end = (first + 1..text.len()).find(|&at| text[at] == ']')?;
    let (mut ranges, mut at) = (Vec::new(), first);
    while at < end {
        if at + 2 < end && text[at + 1] == '-' {
            ranges.push(text[at]..=text[at + 2]);
            at += 3;
        } else {
            ranges.push(text[at]..=text[at]);
            at += 1;
        }
    }
    Some((Token::Set { negated, ranges }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).is_some_and(|pattern| pattern.matches(name))
    }

    #[test]
    fn stars_stop_at_folders_and_double_stars_do_not() {
        assert!(matches("data/*.csv", "data/a.csv"));
        assert!(!matches("data/*.csv", "data/x/a.csv"));
        assert!(matches("data/**", "data/x/a.csv"));
        assert!(!matches("data/**", "data"));
        assert!(matches("**/a.csv", "a.csv") && matches("**/a.csv", "x/y/a.csv"));
        assert!(matches("./data/?.csv", "data/a.csv"));
        assert!(!matches("", "a") && !matches("a**b", "aXb"));
    }

    #[test]
    fn sets_have_ranges_and_may_be_negated() {
        for (name, fits) in [("train-1.x", true), ("train.x", true), ("trainer.x", false)] {
            assert_eq!(matches("train[-._ 0-9]*", name), fits, "{name}");
        }
        assert!(matches("[!a]b", "xb") && !matches("[!a]b", "ab"));
        assert!(matches("[]]", "]") && matches("a[", "a["));
    }

    #[test]
    fn what_is_hidden_must_be_asked_for() {
        assert!(!matches("**", ".a.csv") && !matches("**", ".git/a.csv"));
        assert!(matches(".*/*", ".git/a.csv") && !matches(".*/*", ".git/.a.csv"));
        assert!(!matches("**", "__pycache__/a.csv") && matches("__*/*", "__pycache__/a.csv"));
        assert!(matches("**", "__a.csv"));
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = "*a".repeat(200);
        assert!(!matches(&pattern, &"a".repeat(150)));
        let pattern = "**/a/".repeat(100);
        assert!(!matches(&format!("{pattern}b"), &"a/".repeat(300)));
    }
}
