//! Tests of [`changes`](super).

use serde_json::json;

use super::*;
use crate::table::write_columns;

fn read(columns: &[(&str, Cells)]) -> Predictions {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("predictions.parquet");
    let own = columns
        .iter()
        .map(|(name, cells)| ((*name).to_owned(), cells.clone()));
    write_columns(&file, own.collect()).unwrap();
    Predictions::read(&file, None).unwrap().unwrap()
}

fn ids(rows: usize) -> (&'static str, Cells) {
    ("id", Cells::Ids((100..100 + rows as u64).collect()))
}

fn texts(texts: &[&str]) -> Cells {
    Cells::Texts(texts.iter().map(|text| Some((*text).to_owned())).collect())
}

fn lists(lists: &[&[&str]]) -> Cells {
    let own = |list: &&[&str]| Some(list.iter().map(|text| (*text).to_owned()).collect());
    Cells::TextLists(lists.iter().map(own).collect())
}

/// Labels `x` and `y`; `sure` is the probability of what is predicted.
fn labelled(gold: &[&str], predicted: &[&str], sure: &[f32]) -> Predictions {
    let of = |label: &str| {
        let rows = predicted.iter().zip(sure);
        let of_row =
            |(given, sure): (&&str, &f32)| if *given == label { *sure } else { 1.0 - sure };
        Cells::Floats(rows.map(of_row).collect())
    };
    read(&[
        ids(gold.len()),
        ("label", texts(gold)),
        ("predicted", texts(predicted)),
        ("probability_x", of("x")),
        ("probability_y", of("y")),
        ("probability_z", Cells::Floats(vec![0.0; gold.len()])),
    ])
}

/// The share of rows that are right, by the judgement of each, is the score of all.
fn agree(predictions: &Predictions, metric: &str) {
    let judged = predictions.judged.as_ref().unwrap();
    let right = judged.iter().filter(|judged| judged.right).count();
    let share = right as f64 / judged.len() as f64;
    assert_eq!(
        predictions.sample.whole()[metric].as_f64().unwrap(),
        share,
        "{metric}"
    );
}

#[test]
fn rows_are_broken_fixed_or_wrong_in_another_way_and_the_surest_come_first() {
    let gold = ["x", "x", "x", "y", "y", "x", "x"];
    let a = labelled(
        &gold,
        &["x", "x", "y", "x", "x", "z", "x"],
        &[0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.75],
    );
    let b = labelled(
        &gold,
        &["y", "x", "x", "x", "z", "x", "y"],
        &[0.625, 0.8, 0.7, 0.9, 0.5, 0.75, 0.875],
    );
    agree(&a, "accuracy");
    agree(&b, "accuracy");
    let found = a.changes(&b).unwrap();
    assert_eq!(found.test, mcnemar(2, 2));
    let shown: Vec<(u64, Turn)> = found.rows.iter().map(|row| (row.id, row.change)).collect();
    assert_eq!(
        shown,
        [
            (106, Turn::Broken),
            (100, Turn::Broken),
            (105, Turn::Fixed),
            (102, Turn::Fixed),
            (104, Turn::Changed),
        ]
    );
    assert_eq!(
        json!(found.rows[0]),
        json!({
            "id": 106,
            "change": "broken",
            "right": "x",
            "a": { "answer": "x", "confidence": 0.75 },
            "b": { "answer": "y", "confidence": 0.875 },
        })
    );
    let back = b.changes(&a).unwrap();
    let of = |turn| back.rows.iter().filter(|row| row.change == turn).count();
    assert_eq!(
        (of(Turn::Broken), of(Turn::Fixed), of(Turn::Changed)),
        (2, 2, 1)
    );
    assert!(a.changes(&a).unwrap().rows.is_empty());
}

#[test]
fn a_set_of_labels_is_right_as_a_whole_and_as_sure_as_its_least_sure_label() {
    let gold: [&[&str]; 3] = [&["x", "y"], &[], &["x"]];
    let sets = |predicted: &[&[&str]], x: [f32; 3], y: [f32; 3]| {
        read(&[
            ids(3),
            ("labels", lists(&gold)),
            ("predicted", lists(predicted)),
            ("probability_x", Cells::Floats(x.to_vec())),
            ("probability_y", Cells::Floats(y.to_vec())),
        ])
    };
    let a = sets(
        &[&["x"], &[], &["x"]],
        [0.9, 0.25, 0.75],
        [0.375, 0.125, 0.0],
    );
    let b = sets(
        &[&["x", "y"], &[], &["y"]],
        [0.75, 0.25, 0.125],
        [0.625, 0.0, 0.75],
    );
    agree(&a, "subset_accuracy");
    agree(&b, "subset_accuracy");
    let found = a.changes(&b).unwrap();
    assert_eq!(found.test, mcnemar(1, 1));
    assert_eq!(found.rows.len(), 2);
    assert_eq!(
        json!(found.rows[1]),
        json!({
            "id": 100,
            "change": "fixed",
            "right": ["x", "y"],
            "a": { "answer": ["x"], "confidence": 0.625 },
            "b": { "answer": ["x", "y"], "confidence": 0.625 },
        })
    );
    assert_eq!(found.rows[0].b.confidence, Some(0.75));
}

#[test]
fn a_set_of_labels_is_the_same_in_any_order() {
    let sets = |gold: &[&str], predicted: &[&str], order: [&str; 3]| {
        let probability = |label: &str| {
            let given = if predicted.contains(&label) {
                0.75
            } else {
                0.25
            };
            Cells::Floats(vec![given])
        };
        let names = order.map(|label| format!("probability_{label}"));
        read(&[
            ids(1),
            ("labels", lists(&[gold])),
            ("predicted", lists(&[predicted])),
            (&names[0], probability(order[0])),
            (&names[1], probability(order[1])),
            (&names[2], probability(order[2])),
        ])
    };
    let a = sets(&["x", "y"], &["x", "z"], ["x", "y", "z"]);
    let b = sets(&["y", "x"], &["z", "x"], ["z", "y", "x"]);
    assert!(a.same_rows(&b));
    assert_eq!(a.changes(&b).unwrap().rows, []);
    let other = sets(&["y", "x"], &["z", "y"], ["z", "y", "x"]);
    assert_eq!(a.changes(&other).unwrap().rows.len(), 1);
}

#[test]
fn an_answer_that_matches_as_well_is_no_change() {
    let gold: [&[&str]; 4] = [&["the Eiffel tower", "a tower"], &[], &["Paris"], &["1889"]];
    let answered = |predicted: &[&str]| {
        read(&[
            ids(4),
            ("name", texts(&["q1", "q2", "q3", "q4"])),
            ("answers", lists(&gold)),
            ("predicted", texts(predicted)),
            ("probability", Cells::Floats(vec![0.5; 4])),
        ])
    };
    let a = answered(&["Eiffel Tower", "", "London", "in 1889"]);
    let b = answered(&["tower", "no", "Paris.", "in 1889"]);
    agree(&a, "exact_match");
    agree(&b, "exact_match");
    let found = a.changes(&b).unwrap();
    let shown: Vec<_> = found
        .rows
        .iter()
        .map(|row| (row.name.as_deref(), row.change))
        .collect();
    assert_eq!(
        shown,
        [(Some("q2"), Turn::Broken), (Some("q3"), Turn::Fixed)]
    );
    assert_eq!(found.rows[1].right, json!(["Paris"]));
}

#[test]
fn a_sentence_is_right_as_a_whole_and_as_sure_as_its_least_sure_word() {
    let gold: [&[&str]; 2] = [&["O", "B-LOC"], &["O", "O"]];
    let tagged = |predicted: &[&[&str]], sure: [f32; 4]| {
        read(&[
            ids(2),
            ("words", lists(&[&["in", "Rome"], &["so", "what"]])),
            ("tags", lists(&gold)),
            ("predicted", lists(predicted)),
            (
                "probability",
                Cells::FloatLists(sure.chunks(2).map(<[f32]>::to_vec).collect()),
            ),
        ])
    };
    let a = tagged(&[&["O", "O"], &["O", "O"]], [0.5, 0.25, 1.0, 1.0]);
    let b = tagged(&[&["O", "B-LOC"], &["O", "O"]], [0.875, 0.75, 0.5, 1.0]);
    let found = a.changes(&b).unwrap();
    assert_eq!(found.test, mcnemar(0, 1));
    assert_eq!(
        json!(found.rows),
        json!([{
            "id": 100,
            "change": "fixed",
            "right": ["O", "B-LOC"],
            "a": { "answer": ["O", "O"], "confidence": 0.25 },
            "b": { "answer": ["O", "B-LOC"], "confidence": 0.75 },
            "words": ["in", "Rome"],
        }])
    );
}

#[test]
fn other_rows_are_not_paired_and_the_reason_is_told() {
    let a = labelled(&["x", "y", "x"], &["x", "x", "x"], &[0.5; 3]);
    let why = |b: &Predictions| a.changes(b).unwrap_err();
    let fewer = labelled(&["x", "y"], &["x", "x"], &[0.5; 2]);
    assert_eq!(why(&fewer), "A answered 3 rows and B 2");
    let relabelled = labelled(&["x", "x", "x"], &["x", "x", "x"], &[0.5; 3]);
    assert!(why(&relabelled).starts_with("1 of the 3 rows have another right answer"));
    let mut moved = labelled(&["x", "y", "x"], &["x", "x", "x"], &[0.5; 3]);
    moved.gold.0[0].1 = Cells::Ids(vec![100, 102, 101]);
    assert!(why(&moved).starts_with("2 of the 3 rows have another id"));
    let answers = read(&[
        ids(3),
        ("answers", lists(&[&["x"], &[], &["x"]])),
        ("predicted", texts(&["x", "", "x"])),
    ]);
    assert_eq!(why(&answers), "A and B were asked for other things");
}

#[test]
fn numbers_are_neither_right_nor_wrong() {
    let numbers = |name, values: &[f64]| {
        (
            name,
            Cells::Numbers(values.iter().copied().map(Some).collect()),
        )
    };
    let a = read(&[
        ids(2),
        numbers("target_t", &[1.0, 2.0]),
        numbers("predicted_t", &[1.0, 3.0]),
    ]);
    assert!(a.changes(&a).unwrap_err().contains("right or wrong"));
    let labels = labelled(&["x", "y"], &["x", "x"], &[0.5; 2]);
    for why in [a.changes(&labels), labels.changes(&a)] {
        assert_eq!(why.unwrap_err(), "A and B were asked for other things");
    }
}
