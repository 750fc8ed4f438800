//! Fewer rows of large classes, and copies of some classes only.

use super::*;

fn skewed() -> Texts {
    let rows = (0..12).map(|n| (LONG, if n < 8 { 0 } else { 1 + (n % 2) }));
    texts(&rows.collect::<Vec<_>>())
}

fn count(rows: &Texts, label: u32) -> usize {
    let labels = rows.label.iter().flatten();
    labels.filter(|&&other| other == label).count()
}

fn grow_named(settings: Value, train: &Texts, names: &[&str]) -> Texts {
    let (input, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Table {
        label_names: Some(names.iter().map(|name| name.to_string()).collect()),
        splits: [("train".to_owned(), train.to_frame().unwrap())].into(),
        ..Table::default()
    }
    .save(input.path())
    .unwrap();
    run(settings, input.path(), draft.path()).unwrap();
    table::texts(&Table::open(draft.path()).unwrap().splits["train"]).unwrap()
}

#[test]
fn undersampling_takes_rows_of_larger_classes_away() {
    let rows = skewed();
    let balanced = grow(json!({ "undersample": {} }), &rows);
    assert_eq!([0, 1, 2].map(|label| count(&balanced, label)), [2, 2, 2]);
    assert!(balanced.id.is_sorted());
    let half = grow(json!({ "undersample": { "ratio": 0.5 } }), &rows);
    assert_eq!([0, 1, 2].map(|label| count(&half, label)), [4, 2, 2]);
    assert!(
        balanced.id.iter().all(|id| half.id.contains(id)),
        "not nested"
    );
    let other = grow(json!({ "undersample": {}, "seed": 2 }), &rows);
    assert_eq!(count(&other, 0), 2);
}

#[test]
fn copies_can_be_made_of_rare_classes_only() {
    let settings = json!({ "minority_only": true, "copies": 2, "word_shuffle": { "window": 4 } });
    let grown = grow_named(settings, &skewed(), &["a", "b", "c"]);
    assert_eq!([0, 1, 2].map(|label| count(&grown, label)), [8, 6, 6]);
}

#[test]
fn classes_have_copies_and_rates_of_their_own() {
    let settings = json!({
        "random_deletion": { "rate": 0.4 },
        "classes": { "a": { "copies": 0 }, "b": { "copies": 3 }, "c": { "rate": 1.0 } },
    });
    let grown = grow_named(settings, &skewed(), &["a", "b", "c"]);
    assert_eq!([0, 1, 2].map(|label| count(&grown, label)), [8, 8, 4]);
    let copies = (0..grown.len()).filter(|&row| grown.copy[row] > 0);
    let words = |row: usize| grown.text[row].split(' ').count();
    for row in copies {
        match grown.label.as_ref().unwrap()[row] {
            1 => assert!(words(row) > 1),
            _ => assert_eq!(words(row), 1),
        }
    }
}

#[test]
fn a_class_that_is_not_there_is_an_error() {
    let (input, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Table {
        label_names: Some(vec!["ham".to_owned(), "spam".to_owned()]),
        splits: [("train".to_owned(), skewed().take(&[0]).to_frame().unwrap())].into(),
        ..Table::default()
    }
    .save(input.path())
    .unwrap();
    let settings = json!({ "random_swap": {}, "classes": { "Spam": { "copies": 2 } } });
    let error = run(settings, input.path(), draft.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`classes` names `Spam`, which is no class of the data"
    );
}
