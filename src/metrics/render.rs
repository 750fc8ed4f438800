//! Scores as text for a terminal, from the parsed `scores.json`.
//!
//! Promise: any JSON is rendered without fault; what is missing is left out. Labels come from data, so control characters in
//! them are shown escaped and never reach the terminal.
//!
//! Deliberately absent: colour and the terminal's width; the text is the same wherever it is printed.

use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};
use serde_json::Value;

const HEADLINE: [&str; 4] = ["accuracy", "f1_macro", "matthews", "loss"];
const MEANS: [&str; 2] = ["macro", "weighted"];
/// Up to so many classes, each has its line; of more, the weakest are shown.
const CLASSES_SHOWN: usize = 30;
const WEAKEST_SHOWN: usize = 15;
/// Up to so many classes, the confusion matrix is legible; of more, the most confused pairs are listed.
const MATRIX_CLASSES: usize = 12;
const PAIRS_SHOWN: usize = 10;
const LABEL_CHARACTERS: usize = 32;

/// The scores of one `evaluate` stage: a headline, the classes, and what was taken for what.
pub fn render(scores: &Value) -> String {
    [headline(scores), classes(scores), confusion(scores)]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn headline(scores: &Value) -> Option<String> {
    let numbers: Vec<String> = HEADLINE
        .iter()
        .filter_map(|name| Some(format!("{name} {}", number(scores.get(*name)?))))
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

fn classes(scores: &Value) -> Option<String> {
    let classes = scores.get("per_class")?.as_array()?;
    let mut shown: Vec<&Value> = classes.iter().collect();
    let title = if classes.len() > CLASSES_SHOWN {
        let f1 = |class: &Value| class.get("f1").and_then(Value::as_f64).unwrap_or(0.0);
        shown.sort_by(|a, b| f1(a).total_cmp(&f1(b)));
        shown.truncate(WEAKEST_SHOWN);
        format!(
            "the {WEAKEST_SHOWN} of {} labels with the lowest F1\n",
            classes.len()
        )
    } else {
        String::new()
    };
    let mut table = table(["label", "precision", "recall", "f1", "rows"]);
    for class in shown {
        let score = |name| class.get(name).map(number).unwrap_or_default();
        let support = class
            .get("support")
            .and_then(Value::as_u64)
            .map(grouped)
            .unwrap_or_default();
        table.add_row([
            label(class.get("label")),
            score("precision"),
            score("recall"),
            score("f1"),
            support,
        ]);
    }
    for mean in MEANS {
        let score = |name: &str| {
            scores
                .get(format!("{name}_{mean}"))
                .map(number)
                .unwrap_or_default()
        };
        table.add_row([
            format!("({mean})"),
            score("precision"),
            score("recall"),
            score("f1"),
            String::new(),
        ]);
    }
    Some(title + &table.trim_fmt())
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

/// The first column holds labels and the others numbers.
fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
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

/// 9977 → `9,977`.
fn grouped(number: u64) -> String {
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
    let whole = value
        .and_then(Value::as_str)
        .map(printable)
        .unwrap_or_default();
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
mod tests {
    use serde_json::json;

    use super::super::classification;
    use super::*;

    fn scores(classes: u32) -> Value {
        let names: Vec<String> = (0..classes).map(|class| format!("label {class}")).collect();
        let labels: Vec<u32> = (0..1200).map(|row| row % classes).collect();
        let predicted: Vec<u32> = labels
            .iter()
            .enumerate()
            .map(|(row, label)| if row % 7 == 0 { 1 } else { *label })
            .collect();
        let scored = classification(&labels, &predicted, &names);
        let mut scores = scored.flat(0.25);
        scores.extend(
            serde_json::to_value(&scored)
                .unwrap()
                .as_object()
                .unwrap()
                .clone(),
        );
        scores.insert("rows".to_owned(), 1200.into());
        scores.insert("split".to_owned(), "test".into());
        Value::Object(scores)
    }

    #[test]
    fn few_classes_show_the_whole_matrix() {
        let text = render(&scores(3));
        assert!(text.starts_with("accuracy 0.90"), "{text}");
        assert!(text.contains("(test, 1,200 rows)"), "{text}");
        assert!(text.contains("true \\ predicted"), "{text}");
        assert!(!text.contains("most confused"), "{text}");
    }

    #[test]
    fn many_classes_show_the_weakest_and_the_most_confused() {
        let text = render(&scores(40));
        assert!(
            text.contains("the 15 of 40 labels with the lowest F1"),
            "{text}"
        );
        assert!(text.contains("most confused"), "{text}");
        assert!(text.lines().count() < 45, "{text}");
    }

    #[test]
    fn a_label_cannot_steer_the_terminal() {
        let text = render(&json!({
            "split": "\u{1b}[2J",
            "per_class": [{"label": "\u{1b}[31mred\nline", "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}],
        }));
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.contains("\\nline"), "{text}");
    }

    #[test]
    fn any_json_is_rendered() {
        for odd in [
            json!(null),
            json!([1]),
            json!({"per_class": 3}),
            json!({"labels": ["a"], "confusion_matrix": [[1, 2], "x"]}),
            json!({"loss": null}),
        ] {
            render(&odd);
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            [grouped(7), grouped(999), grouped(1000), grouped(1_234_567)],
            ["7", "999", "1,000", "1,234,567"]
        );
    }
}
