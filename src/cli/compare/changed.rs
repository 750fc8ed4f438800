//! The test of two evaluations and the rows that changed between them, as text for a terminal.
//!
//! Deliberately absent: colour, and the terminal's width; a line is at most as long as those of the help.

use serde_json::Value;

use super::super::preview::printable;
use super::super::table;
use crate::compare::{Changed, Scores};
use crate::metrics::grouped;
use crate::stage::{Given, McNemar, Method, RowChange, Turn};

/// Characters of a line.
const WIDTH: usize = 110;
/// Characters of a line that stand before such a table.
const INDENT: usize = 4;
/// The most characters of an answer.
const ANSWER: usize = 24;
/// The least room that a text is given.
const TEXT: usize = 24;

/// Where nothing is listed: answers may still differ that are both right.
const UNCHANGED: &str = "no row is right in one alone or wrong in another way";

/// Lines without indentation; of the rows that changed the first `shown`.
pub(super) fn worded(scores: &Scores, shown: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(why) = &scores.no_test {
        lines.push(format!("no test of which is right more often: {why}"));
    }
    if let Some(test) = &scores.mcnemar {
        lines.push(tested(test));
    }
    if let Some(changed) = &scores.changed {
        lines.extend(rows(changed, shown));
    }
    lines
}

fn tested(test: &McNemar) -> String {
    let by = match test.method {
        Method::ExactBinomial => "exact binomial",
        Method::ChiSquare => "chi-square with continuity correction",
    };
    let p = match test.p_value {
        small if small < 1e-4 => "p < 0.0001".to_owned(),
        p => format!("p = {p:.4}"),
    };
    format!(
        "McNemar's test: A alone is right on {}, B alone on {}, {p} ({by})",
        of_rows(test.only_a),
        grouped(test.only_b)
    )
}

fn of_rows(count: u64) -> String {
    match count {
        1 => "1 row".to_owned(),
        count => format!("{} rows", grouped(count)),
    }
}

fn rows(changed: &Changed, shown: usize) -> Vec<String> {
    let Changed {
        fixed,
        broken,
        changed: other,
        rows,
    } = changed;
    if rows.is_empty() {
        return vec![UNCHANGED.to_owned()];
    }
    let count = |rows: usize| grouped(rows as u64);
    let mut lines = vec![format!(
        "{} changed: {} broken, {} fixed, {} from one wrong answer to another",
        of_rows(rows.len() as u64),
        count(*broken),
        count(*fixed),
        count(*other),
    )];
    let cells: Vec<[String; 6]> = rows.iter().take(shown).map(cells).collect();
    if !cells.is_empty() {
        lines.extend(listed(cells));
    }
    if rows.len() > shown {
        let left = count(rows.len() - shown);
        lines.push(format!("and {left} more: --rows N shows N, --json all"));
    }
    lines
}

/// How it changed, which row, the right answer, both that were given, and the whole text.
fn cells(row: &RowChange) -> [String; 6] {
    let turn = match row.change {
        Turn::Broken => "broken",
        Turn::Fixed => "fixed",
        Turn::Changed => "changed",
    };
    let name = row.name.as_deref().map(|name| cut(name, ANSWER));
    let all = [&row.right, &row.a.answer, &row.b.answer];
    let [right, a, b] = match &row.words {
        Some(words) => tags(words, all),
        None => all.map(worded_answer),
    };
    let sure = |text: String, given: &Given| match given.confidence {
        Some(sure) => format!("{} {sure:.2}", cut(&text, ANSWER)),
        None => cut(&text, ANSWER),
    };
    let texts = [&row.text, &row.text_pair];
    let texts: Vec<&str> = texts.into_iter().flatten().map(String::as_str).collect();
    [
        turn.to_owned(),
        name.unwrap_or_else(|| row.id.to_string()),
        cut(&right, ANSWER),
        sure(a, &row.a),
        sure(b, &row.b),
        texts.join(" ¦ "),
    ]
}

/// A label, labels, an answer, or the first of several right ones.
fn worded_answer(answer: &Value) -> String {
    let nothing = || "(none)".to_owned();
    match answer {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Array(all) if !all.is_empty() => {
            let all: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            all.join(", ")
        }
        _ => nothing(),
    }
}

/// Of words that are not tagged alike, each with its tag.
fn tags(words: &Value, all: [&Value; 3]) -> [String; 3] {
    let at =
        |list: &Value, place: usize| list.get(place).and_then(Value::as_str).map(str::to_owned);
    let count = words.as_array().map_or(0, Vec::len);
    let differs = |&place: &usize| {
        let [right, a, b] = all.map(|tags| tags.get(place));
        right != a || right != b
    };
    let places: Vec<usize> = (0..count).filter(differs).collect();
    all.map(|tags| {
        let tagged = |&place: &usize| {
            let (word, tag) = (at(words, place)?, at(tags, place)?);
            Some(format!("{word}/{tag}"))
        };
        let tagged: Vec<String> = places.iter().filter_map(tagged).collect();
        tagged.join(" ")
    })
}

/// A table whose last column has what room is left on a line.
fn listed(rows: Vec<[String; 6]>) -> Vec<String> {
    const HEADER: [&str; 6] = ["", "row", "right", "A", "B", "text"];
    let has_text = rows.iter().any(|row| !row[5].is_empty());
    let columns = if has_text { 6 } else { 5 };
    let widest = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADER[column].len()]).max().unwrap_or(0) + 2
    };
    let taken: usize = INDENT + (0..5).map(widest).sum::<usize>();
    let room = WIDTH.saturating_sub(taken).max(TEXT);
    let mut shown = table(&HEADER[..columns]);
    for mut row in rows {
        row[5] = cut(&row[5], room);
        shown.add_row(row.into_iter().take(columns));
    }
    shown.trim_fmt().lines().map(str::to_owned).collect()
}

/// The beginning of a text, on one line.
fn cut(text: &str, characters: usize) -> String {
    // What stands behind is not looked at: a context may be long.
    let begin: String = text.chars().take(characters + 1).collect();
    let line = printable(&begin);
    match line.chars().count() <= characters {
        true => line,
        false => line.chars().take(characters - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::metrics::mcnemar::mcnemar;

    fn given(answer: Value, confidence: f32) -> Given {
        Given {
            answer,
            confidence: Some(confidence),
        }
    }

    fn row(text: Option<&str>) -> RowChange {
        RowChange {
            id: 7,
            name: None,
            change: Turn::Broken,
            right: json!("x"),
            a: given(json!("x"), 0.5),
            b: given(json!("y"), 0.75),
            words: None,
            text: text.map(str::to_owned),
            text_pair: None,
        }
    }

    fn changed(rows: Vec<RowChange>) -> Changed {
        Changed {
            fixed: 0,
            broken: rows.len(),
            changed: 0,
            rows,
        }
    }

    #[test]
    fn a_text_has_one_line_and_what_room_is_left_and_no_orders_for_the_terminal() {
        let long = format!("a\nb\u{1b}[31m {}", "word ".repeat(100));
        let lines = rows(&changed(vec![row(Some(&long)), row(None)]), 10);
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines[2].contains("a⏎b\\u{1b}[31m word"), "{lines:#?}");
        assert_eq!(lines[2].chars().count() + INDENT, WIDTH, "{lines:#?}");
        assert!(lines[2].ends_with('…'), "{lines:#?}");
    }

    #[test]
    fn without_texts_there_is_no_column_for_them() {
        let lines = rows(&changed(vec![row(None)]), 10);
        assert!(!lines[1].contains("text"), "{lines:#?}");
        assert_eq!(lines[2], "broken  7    x      x 0.50  y 0.75");
    }

    #[test]
    fn no_more_rows_are_listed_than_asked_for_and_how_many_are_left_is_told() {
        let all = changed((0..5).map(|_| row(None)).collect());
        assert_eq!(rows(&all, 5).len(), 7);
        let two = rows(&all, 2);
        assert_eq!(two.len(), 5, "{two:#?}");
        assert!(two[4].starts_with("and 3 more"), "{two:#?}");
        assert_eq!(rows(&all, 0).len(), 2);
        assert_eq!(rows(&changed(Vec::new()), 3), [UNCHANGED]);
    }

    #[test]
    fn of_a_sentence_only_words_that_are_tagged_otherwise_are_shown() {
        let shown = tags(
            &json!(["to", "New", "York"]),
            [
                &json!(["O", "B-LOC", "I-LOC"]),
                &json!(["O", "B-LOC", "O"]),
                &json!(["O", "B-PER", "I-PER"]),
            ],
        );
        assert_eq!(
            shown,
            [
                "New/B-LOC York/I-LOC",
                "New/B-LOC York/O",
                "New/B-PER York/I-PER"
            ]
        );
    }

    #[test]
    fn no_label_and_no_answer_are_words_too() {
        for nothing in [json!([]), json!(""), Value::Null] {
            assert_eq!(worded_answer(&nothing), "(none)");
        }
        assert_eq!(worded_answer(&json!(["joy", "fear"])), "joy, fear");
    }

    #[test]
    fn a_test_says_its_counts_and_by_what_it_was_done() {
        assert_eq!(
            tested(&mcnemar(9, 16)),
            "McNemar's test: A alone is right on 9 rows, B alone on 16, p = 0.2301 (chi-square with continuity correction)"
        );
        assert_eq!(
            tested(&mcnemar(1, 3)),
            "McNemar's test: A alone is right on 1 row, B alone on 3, p = 0.6250 (exact binomial)"
        );
        assert!(tested(&mcnemar(0, 1000)).contains("p < 0.0001"));
    }
}
