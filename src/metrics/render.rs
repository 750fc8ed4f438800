//! Scores as text for a terminal, from the parsed `scores.json`.
//!
//! Promise: any JSON is rendered without fault; what is missing is left out. Labels come from data, so control characters in
//! them are shown escaped and never reach the terminal.
//!
//! Deliberately absent: colour and the terminal's width; the text is the same wherever it is printed.

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};
use serde_json::Value;

/// The numbers of the headline, by a field that only scores of this kind have; those of plain classification come last.
const HEADLINES: [(&str, &[&str]); 7] = [
    (
        "per_label",
        &[
            "subset_accuracy",
            "f1_micro",
            "f1_macro",
            "label_ranking_average_precision",
            "hamming_loss",
            "loss",
        ],
    ),
    (
        "errors",
        &["f1", "precision", "recall", "strict_f1", "accuracy", "loss"],
    ),
    ("types", &["accuracy", "f1_macro", "f1_weighted", "loss"]),
    ("has_answer", &["exact_match", "f1", "loss"]),
    ("targets", &REGRESSION),
    (
        "bleu_signature",
        &[
            "rouge1",
            "rouge2",
            "rougeL",
            "bleu",
            "chrf",
            "meteor",
            "exact_match",
            "f1",
        ],
    ),
    ("", &["accuracy", "f1_macro", "matthews", "loss"]),
];
const REGRESSION: [&str; 7] = ["mse", "rmse", "mae", "r2", "pearson", "spearman", "loss"];
const ERRORS: [&str; 6] = [
    "correct",
    "wrong_type",
    "wrong_bounds",
    "wrong_type_and_bounds",
    "missed",
    "spurious",
];
/// Up to so many classes, each has its line; of more, the weakest are shown.
const CLASSES_SHOWN: usize = 30;
const WEAKEST_SHOWN: usize = 15;
/// Up to so many classes, the confusion matrix is legible; of more, the most confused pairs are listed.
const MATRIX_CLASSES: usize = 12;
const PAIRS_SHOWN: usize = 10;
const LABEL_CHARACTERS: usize = 32;

/// The scores of one `evaluate` stage: a headline; the labels, types, targets or kinds of question; and what was taken for
/// what.
pub fn render(scores: &Value) -> String {
    let parts = [
        headline(scores),
        classes(scores),
        errors(scores),
        targets(scores),
        questions(scores),
        confusion(scores),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("\n\n")
}

fn headline(scores: &Value) -> Option<String> {
    let (field, names) = HEADLINES
        .into_iter()
        .find(|(field, _)| field.is_empty() || scores.get(field).is_some())?;
    let show = if field == "targets" { measure } else { number };
    let numbers: Vec<String> = names
        .iter()
        .filter_map(|name| Some(format!("{name} {}", show(scores.get(*name)?))))
        .collect();
    let split = scores.get("split").and_then(Value::as_str).map(printable);
    let rows = scores
        .get("rows")
        .and_then(Value::as_u64)
        .map(|rows| format!("{} rows", grouped(rows)));
    let of = [split, rows]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
    let line = match (numbers.is_empty(), of.is_empty()) {
        (true, true) => return None,
        (false, true) => numbers.join("   "),
        (true, false) => of,
        (false, false) => format!("{}   ({of})", numbers.join("   ")),
    };
    Some(line)
}

/// Precision, recall and F1 of every label, type or tag, and their means.
fn classes(scores: &Value) -> Option<String> {
    let listed = |field: &str| {
        let classes = scores.get(field)?.as_array()?;
        let named = classes
            .iter()
            .map(|class| (label(class.get("label")), class));
        Some(named.collect::<Vec<_>>())
    };
    let (header, counted, means, mut shown) = if let Some(types) = scores.get("types") {
        let named = types.as_object()?.iter();
        let named = named.map(|(name, class)| (shortened(name), class));
        let (header, counted) = match scores.get("errors") {
            Some(_) => ("type", "entities"),
            None => ("tag", "words"),
        };
        let means: &[(&str, &str)] = &[("all", ""), ("macro", "_macro"), ("weighted", "_weighted")];
        (header, counted, means, named.collect())
    } else if let Some(labels) = listed("per_label") {
        let means: &[(&str, &str)] = &[
            ("micro", "_micro"),
            ("macro", "_macro"),
            ("weighted", "_weighted"),
            ("samples", "_samples"),
        ];
        ("label", "rows", means, labels)
    } else {
        let means: &[(&str, &str)] = &[("macro", "_macro"), ("weighted", "_weighted")];
        ("label", "rows", means, listed("per_class")?)
    };
    let score = |of: &Value, name: &str| of.get(name).map(number).unwrap_or_default();
    let title = weakest(&mut shown, header, "f1");
    let thresholds = shown
        .iter()
        .any(|(_, class)| class.get("threshold").is_some());
    let columns = [header, "precision", "recall", "f1", counted];
    let mut table = table(columns.into_iter().chain(thresholds.then_some("threshold")));
    for (name, class) in shown {
        let mut row = vec![
            name,
            score(class, "precision"),
            score(class, "recall"),
            score(class, "f1"),
            count(class.get("support")),
        ];
        row.extend(thresholds.then(|| score(class, "threshold")));
        table.add_row(row);
    }
    for (name, suffix) in means {
        let mean = |score_name: &str| score(scores, &format!("{score_name}{suffix}"));
        table.add_row([
            format!("({name})"),
            mean("precision"),
            mean("recall"),
            mean("f1"),
            String::new(),
        ]);
    }
    Some(title + &table.trim_fmt())
}

/// Of too many classes keeps the weakest, and says so.
fn weakest(shown: &mut Vec<(String, &Value)>, header: &str, by: &str) -> String {
    let all = shown.len();
    if all <= CLASSES_SHOWN {
        return String::new();
    }
    let score = |class: &Value| class.get(by).and_then(Value::as_f64).unwrap_or(0.0);
    shown.sort_by(|(_, a), (_, b)| score(a).total_cmp(&score(b)));
    shown.truncate(WEAKEST_SHOWN);
    format!(
        "the {WEAKEST_SHOWN} of {all} {header}s with the lowest {}\n",
        by.to_uppercase()
    )
}

/// What became of the entities.
fn errors(scores: &Value) -> Option<String> {
    let errors = scores.get("errors")?.as_object()?;
    let mut table = table(["entities", "number"]);
    for name in ERRORS {
        if let Some(number) = errors.get(name) {
            table.add_row([name.replace('_', " "), count(Some(number))]);
        }
    }
    Some(table.trim_fmt())
}

/// Every target of several; of one, the headline says all.
fn targets(scores: &Value) -> Option<String> {
    let targets = scores.get("targets")?.as_array()?;
    if targets.len() < 2 {
        return None;
    }
    let named = targets
        .iter()
        .map(|target| (label(target.get("target")), target));
    let mut shown: Vec<(String, &Value)> = named.collect();
    let title = weakest(&mut shown, "target", "r2");
    let columns = &REGRESSION[..REGRESSION.len() - 1];
    let mut table = table(std::iter::once("target").chain(columns.iter().copied()));
    for (name, target) in shown.into_iter().chain([("(mean)".to_owned(), scores)]) {
        let values = columns.iter().map(|column| target.get(column).map(measure));
        table.add_row(std::iter::once(name).chain(values.map(Option::unwrap_or_default)));
    }
    Some(title + &table.trim_fmt())
}

/// Questions with and without an answer, and what other thresholds would give.
fn questions(scores: &Value) -> Option<String> {
    scores.get("has_answer")?;
    let mut table = table(["questions", "exact_match", "f1", "number"]);
    for (name, kind) in [("with an answer", "has_answer"), ("without", "no_answer")] {
        let asked = scores.get(kind).and_then(Value::as_u64);
        if asked.is_some_and(|asked| asked > 0) {
            let score = |score: &str| scores.get(format!("{kind}_{score}")).map(number);
            table.add_row([
                name.to_owned(),
                score("exact_match").unwrap_or_default(),
                score("f1").unwrap_or_default(),
                count(scores.get(kind)),
            ]);
        }
    }
    let best = ["exact_match", "f1"].iter().filter_map(|score| {
        let best = number(scores.get(format!("best_{score}"))?);
        let threshold = number(scores.get(format!("best_{score}_threshold"))?);
        Some(format!(
            "best {score} {best}, at a no-answer threshold of {threshold}"
        ))
    });
    let best: Vec<String> = best.collect();
    let parts = [table.trim_fmt(), best.join("\n")];
    Some(parts.join("\n\n").trim_end().to_owned())
}

fn confusion(scores: &Value) -> Option<String> {
    let labels: Vec<String> = scores
        .get("labels")?
        .as_array()?
        .iter()
        .map(|name| label(Some(name)))
        .collect();
    let matrix: Vec<Vec<u64>> = scores
        .get("confusion_matrix")?
        .as_array()?
        .iter()
        .map(|row| {
            row.as_array()
                .into_iter()
                .flatten()
                .map(|cell| cell.as_u64().unwrap_or(0))
                .collect()
        })
        .collect();
    if labels.len() <= MATRIX_CLASSES {
        Some(whole_matrix(&labels, &matrix))
    } else {
        confused_pairs(&labels, &matrix)
    }
}

fn whole_matrix(labels: &[String], matrix: &[Vec<u64>]) -> String {
    let mut table =
        table(std::iter::once("true \\ predicted").chain(labels.iter().map(String::as_str)));
    for (label, row) in labels.iter().zip(matrix) {
        table.add_row(std::iter::once(label.clone()).chain(row.iter().copied().map(grouped)));
    }
    table.trim_fmt()
}

fn confused_pairs(labels: &[String], matrix: &[Vec<u64>]) -> Option<String> {
    let mut pairs: Vec<(u64, &String, &String)> = Vec::new();
    for (truth, row) in labels.iter().zip(matrix) {
        for (answer, &rows) in labels.iter().zip(row) {
            if rows > 0 && !std::ptr::eq(truth, answer) {
                pairs.push((rows, truth, answer));
            }
        }
    }
    if pairs.is_empty() {
        return None;
    }
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.0));
    let mut table = table(["most confused: true", "predicted", "rows"]);
    table
        .column_mut(1)
        .into_iter()
        .for_each(|column| column.set_cell_alignment(CellAlignment::Left));
    for (rows, truth, answer) in pairs.into_iter().take(PAIRS_SHOWN) {
        table.add_row([truth.clone(), answer.clone(), grouped(rows)]);
    }
    Some(table.trim_fmt())
}

/// A table of which the first column holds names and the others numbers.
pub fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_header(header.into_iter().map(Cell::new).collect::<Vec<_>>());
    table
        .column_iter_mut()
        .skip(1)
        .for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

fn number(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
}

/// As [`number`], but for errors that may be of any size, with four digits that say something.
fn measure(value: &Value) -> String {
    match value.as_f64() {
        Some(size) if size != 0.0 && !(1e-3..1e6).contains(&size.abs()) => format!("{size:.3e}"),
        _ => number(value),
    }
}

fn count(value: Option<&Value>) -> String {
    value
        .and_then(Value::as_u64)
        .map(grouped)
        .unwrap_or_default()
}

/// 9977 → `9,977`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn label(value: Option<&Value>) -> String {
    value
        .and_then(Value::as_str)
        .map(shortened)
        .unwrap_or_default()
}

fn shortened(name: &str) -> String {
    let whole = printable(name);
    if whole.chars().count() <= LABEL_CHARACTERS {
        return whole;
    }
    whole
        .chars()
        .take(LABEL_CHARACTERS - 1)
        .chain(['…'])
        .collect()
}

fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
