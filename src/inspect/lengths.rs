//! How long the rows are, what is cut off, and whether splits differ.
//!
//! Lengths of two splits are compared by the two-sample Kolmogorov–Smirnov test (Smirnov 1948), with the limiting distribution
//! of its statistic. The statistic D itself, the widest gap between the two cumulative shares, is the size of the effect: large
//! splits differ significantly by trifles, so both must speak. Lengths are whole numbers; ties only make the test more careful.
//!
//! Deliberately absent: the tokenizer. Counts of tokens come from the caller.

use serde::Serialize;

use super::{Code, Facts, Finding, TRAIN, Tokens, counted, percent, share};
use crate::table::Texts;

/// From this share of rows on, cutting is a finding.
const TRUNCATED: f64 = 0.01;
/// The least gap between cumulative shares that matters: a fifth of all rows are longer (or shorter) than they were. Two normal
/// distributions half a standard deviation apart, a medium effect by Cohen (1988), give D = 0.2.
const SHIFT: f64 = 0.2;
/// Greatest p-value of a shift that is not chance. Low, because several splits are compared.
const SHIFT_P: f64 = 0.001;

/// Lengths of rows; percentiles by nearest rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Lengths {
    pub p5: u32,
    pub p50: u32,
    pub p95: u32,
    pub p99: u32,
    pub max: u32,
    pub mean: f64,
}

impl Lengths {
    pub fn of(lengths: &[u32]) -> Lengths {
        let mut sorted = lengths.to_vec();
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().unwrap_or(0)
        };
        let sum: u64 = sorted.iter().copied().map(u64::from).sum();
        Lengths {
            p5: rank(5),
            p50: rank(50),
            p95: rank(95),
            p99: rank(99),
            max: rank(100),
            mean: sum as f64 / sorted.len().max(1) as f64,
        }
    }
}

/// Words of each row, its text and its pair together.
pub(super) fn words(texts: &Texts<&str>) -> Vec<u32> {
    let count = |text: &str| text.split_whitespace().count();
    let row = |row: usize| {
        let cut = texts
            .words
            .as_ref()
            .and_then(|words| words.get(row))
            .map(Vec::len);
        let text = cut.or_else(|| texts.text.get(row).map(|text| count(text)));
        let pair = texts
            .text_pair
            .as_ref()
            .and_then(|pairs| pairs.get(row))
            .map(|pair| count(pair));
        u32::try_from(text.unwrap_or(0) + pair.unwrap_or(0)).unwrap_or(u32::MAX)
    };
    (0..texts.len()).map(row).collect()
}

pub(super) fn tokens(tokens: &[u32], max_length: Option<usize>) -> Tokens {
    let truncated = max_length.map(|most| {
        share(
            tokens.iter().filter(|&&row| row as usize > most).count(),
            tokens.len(),
        )
    });
    Tokens {
        lengths: Lengths::of(tokens),
        truncated_share: truncated,
    }
}

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let trained = facts.splits.get(TRAIN).map(words);
    for (name, texts) in facts.splits {
        findings.extend(truncation(facts, name, texts));
        if let Some(trained) = trained.as_ref().filter(|_| name != TRAIN) {
            findings.extend(shift(facts, name, texts, trained));
        }
    }
    findings
}

fn truncation(facts: &Facts, name: &str, texts: &Texts<&str>) -> Option<Finding> {
    let most = facts.max_length?;
    let tokens = facts.tokens.get(name)?;
    let rows: Vec<usize> = (0..texts.len())
        .filter(|&row| {
            tokens
                .get(row)
                .is_some_and(|&tokens| tokens as usize > most)
        })
        .collect();
    let cut = share(rows.len(), texts.len());
    if cut < TRUNCATED || rows.is_empty() {
        return None;
    }
    let lost = rows
        .iter()
        .filter(|&&row| answer_is_cut(texts, row, tokens.get(row).copied(), most))
        .count();
    let lengths = Lengths::of(tokens);
    let mut message = format!(
        "{} ({}) of more than {most} tokens; 95 % fit in {}, 99 % in {}",
        counted(rows.len(), "row", "rows"),
        percent(cut),
        lengths.p95,
        lengths.p99
    );
    if lost > 0 {
        message.push_str(&format!(
            "; about {} beyond the cut",
            counted(lost, "answer lies", "answers lie")
        ));
    }
    let advice = match texts.answers.is_some() {
        true => format!(
            "raise the tokenize stage's `max_length` to {}, or let long contexts be read in windows",
            lengths.p99
        ),
        false => format!(
            "raise the tokenize stage's `max_length` to {}, if the model can read so much",
            lengths.p99
        ),
    };
    let finding = Finding::about(Code::Truncation, name, texts, &rows).saying(message, advice);
    let finding = finding
        .with("truncated_share", cut)
        .with("max_length", most as f64);
    Some(if texts.answers.is_some() {
        finding.with("answers_cut", lost as f64)
    } else {
        finding
    })
}

/// Whether the first answer ends beyond the cut, by its share of the characters: tokens are not at hand.
fn answer_is_cut(texts: &Texts<&str>, row: usize, tokens: Option<u32>, most: usize) -> bool {
    let answer = texts
        .answers
        .as_ref()
        .and_then(|answers| answers.get(row))
        .and_then(|answers| answers.first());
    let (Some(answer), Some(tokens), Some((question, context))) = (answer, tokens, texts.row(row))
    else {
        return false;
    };
    let characters = |text: &str| text.chars().count() as f64;
    let before = characters(question) + f64::from(answer.start) + characters(answer.text);
    let all = characters(question) + characters(context.unwrap_or_default());
    f64::from(tokens) * before / all.max(1.0) > most as f64
}

fn shift(facts: &Facts, name: &str, texts: &Texts<&str>, trained: &[u32]) -> Option<Finding> {
    let here = words(texts);
    let gap = smirnov(trained, &here);
    if !(gap.d >= SHIFT && gap.p <= SHIFT_P) {
        return None;
    }
    let (before, after) = (Lengths::of(trained), Lengths::of(&here));
    let message = format!(
        "rows are {} than in train: median {} words instead of {}, mean {:.1} instead of {:.1} (Kolmogorov–Smirnov D {:.2})",
        if after.mean >= before.mean {
            "longer"
        } else {
            "shorter"
        },
        after.p50,
        before.p50,
        after.mean,
        before.mean,
        gap.d
    );
    let advice = format!(
        "make sure that both come from one source; where they should, cut `{name}` from the training rows with `load.{}.split`",
        facts.load
    );
    let mut finding = Finding::about(Code::LengthShift, name, texts, &[])
        .saying(message, advice)
        .against(TRAIN);
    finding.count = texts.len();
    Some(finding.with("d", gap.d).with("p", gap.p))
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Gap {
    /// The widest gap between the shares of rows up to a length, 0 to 1.
    d: f64,
    /// How probable so wide a gap is when both samples are of one distribution.
    p: f64,
}

fn smirnov(a: &[u32], b: &[u32]) -> Gap {
    if a.is_empty() || b.is_empty() {
        return Gap { d: 0.0, p: 1.0 };
    }
    let (mut x, mut y) = (a.to_vec(), b.to_vec());
    x.sort_unstable();
    y.sort_unstable();
    let gap = |length: &u32| {
        let up_to = |sorted: &[u32]| {
            share(
                sorted.partition_point(|other| other <= length),
                sorted.len(),
            )
        };
        (up_to(&x) - up_to(&y)).abs()
    };
    let d = x.iter().chain(&y).map(gap).fold(0.0, f64::max);
    let (n, m) = (x.len() as f64, y.len() as f64);
    Gap {
        d,
        p: kolmogorov((n * m / (n + m)).sqrt() * d),
    }
}

/// The probability that the limiting statistic exceeds `x`: 2 Σ (−1)^(k−1) exp(−2 k² x²).
fn kolmogorov(x: f64) -> f64 {
    // The series converges slowly where the probability is one to four digits.
    if x < 0.3 {
        return 1.0;
    }
    let term = |k: i32| {
        let k = f64::from(k);
        (-2.0 * k * k * x * x).exp()
    };
    let sum: f64 = (1..=50)
        .map(|k| if k % 2 == 1 { term(k) } else { -term(k) })
        .sum();
    (2.0 * sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests;
