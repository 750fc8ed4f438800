//! Text → words, as sacrebleu's tokenisations of the same names give them.
//!
//! Deliberately absent: those that need a model or a dictionary (`spm`, `flores200`, `ja-mecab`, `ko-mecab`).

use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::answers::is_space;

/// How BLEU divides a text into words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Segmentation {
    /// Punctuation apart from words but not from numbers, as `mteval-v13a.pl` of the WMT campaigns does.
    #[default]
    #[serde(rename = "13a")]
    V13a,
    /// The same by the classes of Unicode, as `mteval-v14.pl`: for scripts other than Latin that put spaces between words.
    #[serde(rename = "intl")]
    International,
    /// Each Chinese character by itself, the rest as `13a`.
    #[serde(rename = "zh")]
    Chinese,
    /// Each character by itself.
    #[serde(rename = "char")]
    Characters,
    /// At white space only: for texts that are divided already.
    #[serde(rename = "none")]
    None,
}

impl Segmentation {
    pub const ALL: [Segmentation; 5] = [
        Segmentation::V13a,
        Segmentation::International,
        Segmentation::Chinese,
        Segmentation::Characters,
        Segmentation::None,
    ];

    /// The name in specs and in sacrebleu's signatures.
    pub fn name(self) -> &'static str {
        match self {
            Segmentation::V13a => "13a",
            Segmentation::International => "intl",
            Segmentation::Chinese => "zh",
            Segmentation::Characters => "char",
            Segmentation::None => "none",
        }
    }

    pub fn words(self, text: &str) -> Vec<String> {
        let text = text.trim_end_matches(is_space);
        match self {
            Segmentation::V13a => split(&western(&unescaped(text))),
            Segmentation::International => split(&international(text)),
            Segmentation::Chinese => split(&western(&apart(text.trim_matches(is_space)))),
            Segmentation::Characters => {
                let visible = text.chars().filter(|&c| !is_space(c));
                visible.map(String::from).collect()
            }
            Segmentation::None => split(text),
        }
    }
}

/// At white space.
pub(super) fn split(text: &str) -> Vec<String> {
    let words = text.split(is_space).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// One line of `text`, without what SGML put there.
fn unescaped(text: &str) -> String {
    let text = text.replace("<skipped>", "");
    let text = text.replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&");
    format!(" {} ", text.replace("&lt;", "<").replace("&gt;", ">"))
}

/// Replaces every match of each pattern in turn.
fn replaced(text: &str, rules: &[(Regex, &str)]) -> String {
    let mut text = text.to_owned();
    for (pattern, by) in rules {
        text = pattern.replace_all(&text, *by).into_owned();
    }
    text
}

fn rules(rules: &[(&str, &'static str)]) -> Vec<(Regex, &'static str)> {
    let rules = rules.iter();
    rules
        .map(|(pattern, by)| (Regex::new(pattern).expect("a pattern of ours"), *by))
        .collect()
}

fn western(text: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        rules(&[
            // All of ASCII that is no letter, digit, apostrophe, comma, point or dash.
            (
                r"([\x20-\x26\x28-\x2b/\x3a-\x40\x5b-\x60\x7b-\x7e])",
                " $1 ",
            ),
            (r"([^0-9])([.,])", "$1 $2 "),
            (r"([.,])([^0-9])", " $1 $2"),
            (r"([0-9])(-)", "$1 $2 "),
        ])
    });
    replaced(text, &RULES)
}

fn international(text: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        rules(&[
            (r"(\P{N})(\p{P})", "$1 $2 "),
            (r"(\p{P})(\P{N})", " $1 $2"),
            (r"(\p{S})", " $1 "),
        ])
    });
    replaced(text, &RULES)
}

/// Spaces around each Chinese character.
fn apart(text: &str) -> String {
    let mut apart = String::with_capacity(text.len());
    for c in text.chars() {
        match is_chinese(c) {
            true => apart.extend([' ', c, ' ']),
            false => apart.push(c),
        }
    }
    apart
}

/// What sacrebleu takes for Chinese. Its two ranges beyond the basic plane are written with four digits, so they lie elsewhere
/// than they should: `\u20000` to `\u2a6d6` is U+2001 to U+2A6D there, and so here.
fn is_chinese(c: char) -> bool {
    matches!(c,
        '\u{2001}'..='\u{2a6d}'
        | '\u{2e80}'..='\u{2eff}'
        | '\u{2f00}'..='\u{2fdf}'
        | '\u{2ff0}'..='\u{2fff}'
        | '\u{3000}'..='\u{303f}'
        | '\u{3100}'..='\u{312f}'
        | '\u{31a0}'..='\u{31bf}'
        | '\u{31c0}'..='\u{31ef}'
        | '\u{3200}'..='\u{33ff}'
        | '\u{3400}'..='\u{4db5}'
        | '\u{4e00}'..='\u{9fbb}'
        | '\u{f900}'..='\u{fa2d}'
        | '\u{fa30}'..='\u{fa6a}'
        | '\u{fa70}'..='\u{fad9}'
        | '\u{fe10}'..='\u{fe1f}'
        | '\u{fe30}'..='\u{fe4f}'
        | '\u{ff00}'..='\u{ffef}')
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixture;
    use super::*;

    #[test]
    fn words_are_sacrebleus() {
        let cases = fixture().tokenized;
        assert!(cases.len() >= 40);
        for case in cases {
            let ours = |segmentation: Segmentation| segmentation.words(&case.text).join(" ");
            let text = &case.text;
            assert_eq!(ours(Segmentation::V13a), case.v13a, "{text:?}");
            assert_eq!(ours(Segmentation::International), case.intl, "{text:?}");
            assert_eq!(ours(Segmentation::Chinese), case.zh, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_what_serde_writes() {
        for segmentation in Segmentation::ALL {
            let written = serde_json::to_value(segmentation).unwrap();
            assert_eq!(written, segmentation.name());
        }
    }
}
