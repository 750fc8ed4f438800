//! An inspection as text for a terminal.
//!
//! Promise: texts and labels come from data, so control characters in them are shown escaped and never reach the terminal.
//!
//! Deliberately absent: colour and the terminal's width.

use std::collections::BTreeMap;

use super::{Finding, Inspection, Summary, TRAIN, order, percent};
use crate::metrics::{grouped, table};

/// Up to so many labels each has its line; of more, the most frequent are shown.
const LABELS_SHOWN: usize = 30;
const EXAMPLES_SHOWN: usize = 3;
const LABEL_CHARACTERS: usize = 32;

/// Numbers of the splits, rows of each label, and the findings.
pub fn render(inspection: &Inspection) -> String {
    let mut splits: Vec<(&str, &Summary)> = inspection
        .splits
        .iter()
        .map(|(name, split)| (name.as_str(), split))
        .collect();
    splits.sort_by_key(|(name, _)| order(name));
    let parts = [
        lengths(&splits),
        labels(&splits),
        Some(findings(&inspection.findings)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

fn lengths(splits: &[(&str, &Summary)]) -> Option<String> {
    if splits.is_empty() {
        return None;
    }
    let tokens = splits.iter().any(|(_, split)| split.tokens.is_some());
    let header = [
        "split",
        "rows",
        "words: p5",
        "p50",
        "p95",
        "p99",
        "max",
        "mean",
    ];
    let more = ["tokens: p50", "p95", "p99", "max", "cut"];
    let mut table = table(
        header
            .into_iter()
            .chain(more.into_iter().filter(|_| tokens)),
    );
    for (name, split) in splits {
        let words = split.words;
        let mut row = vec![shortened(name), grouped(split.rows as u64)];
        row.extend(
            [words.p5, words.p50, words.p95, words.p99, words.max]
                .map(|words| grouped(u64::from(words))),
        );
        row.push(format!("{:.1}", words.mean));
        if let Some(tokens) = &split.tokens {
            let lengths = tokens.lengths;
            row.extend(
                [lengths.p50, lengths.p95, lengths.p99, lengths.max]
                    .map(|tokens| grouped(u64::from(tokens))),
            );
            row.push(
                tokens
                    .truncated_share
                    .map_or_else(|| "–".to_owned(), percent),
            );
        }
        table.add_row(row);
    }
    Some(table.trim_fmt())
}

fn labels(splits: &[(&str, &Summary)]) -> Option<String> {
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, split) in splits {
        for (label, rows) in &split.classes {
            *all.entry(label).or_insert(0) += if *name == TRAIN { *rows } else { 0 };
        }
    }
    if all.is_empty() {
        return None;
    }
    let known = all.len();
    let mut shown: Vec<(&str, usize)> = all.into_iter().collect();
    shown.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    shown.truncate(LABELS_SHOWN);
    let title = match known > LABELS_SHOWN {
        true => format!("the {LABELS_SHOWN} most frequent of {known} labels\n"),
        false => String::new(),
    };
    let names: Vec<String> = splits.iter().map(|(name, _)| shortened(name)).collect();
    let mut table = table(std::iter::once("label").chain(names.iter().map(String::as_str)));
    for (label, _) in shown {
        let rows = splits
            .iter()
            .map(|(_, split)| grouped(split.classes.get(label).copied().unwrap_or(0) as u64));
        table.add_row(std::iter::once(shortened(label)).chain(rows));
    }
    Some(title + &table.trim_fmt())
}

fn findings(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "no findings".to_owned();
    }
    let width = findings
        .iter()
        .map(|finding| finding.code.name().len())
        .max()
        .unwrap_or(0);
    let splits = findings
        .iter()
        .map(|finding| printable(&finding.split).chars().count())
        .max()
        .unwrap_or(0);
    let margin = " ".repeat(width + splits + 4);
    let mut lines = Vec::new();
    for finding in findings {
        let (code, split) = (finding.code.name(), printable(&finding.split));
        lines.push(format!(
            "{code:width$}  {split:splits$}  {}",
            printable(&finding.message)
        ));
        for example in finding.examples.iter().take(EXAMPLES_SHOWN) {
            lines.push(format!("{margin}· {}", printable(example)));
        }
        if !finding.rows.is_empty() && finding.examples.is_empty() {
            let rows = finding.rows.iter().take(EXAMPLES_SHOWN).map(u64::to_string);
            let more = if finding.count > EXAMPLES_SHOWN {
                ", …"
            } else {
                ""
            };
            lines.push(format!(
                "{margin}· rows {}{more}",
                rows.collect::<Vec<_>>().join(", ")
            ));
        }
        lines.push(format!("{margin}→ {}", printable(&finding.advice)));
    }
    lines.join("\n")
}

fn shortened(name: &str) -> String {
    let whole = printable(name);
    match whole.chars().count() <= LABEL_CHARACTERS {
        true => whole,
        false => whole
            .chars()
            .take(LABEL_CHARACTERS - 1)
            .chain(['…'])
            .collect(),
    }
}

fn printable(text: &str) -> String {
    let shown = |c: char| match c.is_control()
        || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    {
        true => c.escape_default().collect::<String>(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}
