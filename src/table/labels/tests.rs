//! Which number a label gets, and what is said of those that get none.

use std::path::Path;

use super::super::raw::{Kind, Lists, append};
use super::*;
use crate::table::shape::Places;

fn bare() -> Raw {
    Raw {
        label_column: "`label`".to_owned(),
        ..Raw::empty(
            Path::new("data.csv"),
            Kind::Texts,
            Places::Lines { first: 2 },
        )
    }
}

fn raw(labels: &[&str]) -> Raw {
    let mut contents = String::new();
    let place = |label: &&str| append(&mut contents, label);
    let label = Some(labels.iter().map(place).collect());
    Raw {
        text: vec![0..0; labels.len()],
        label,
        contents,
        ..bare()
    }
}

fn raw_lists(rows: &[&[&str]], tags: bool) -> Raw {
    let (mut contents, mut lists) = (String::new(), Lists::default());
    for labels in rows {
        lists.push(labels.iter().map(|label| append(&mut contents, label)));
    }
    Raw {
        text: vec![0..0; rows.len()],
        labels: (!tags).then(|| lists.clone()),
        tags: tags.then_some(lists),
        word_lines: tags,
        contents,
        ..bare()
    }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn of(labels: &[&str], names: Option<&[&str]>) -> Result<(Vec<String>, Vec<u32>), TableError> {
    let names = names.map(strings);
    let raw = raw(labels);
    let labels = Labels::of_training(std::slice::from_ref(&raw), names.as_deref())?.unwrap();
    Ok((labels.names.clone(), labels.encode(&raw, "train")?.unwrap()))
}

#[test]
fn integers_go_by_value_and_names_by_bytes() {
    assert_eq!(
        of(&["10", "9", "-1"], None).unwrap(),
        (strings(&["-1", "9", "10"]), vec![2, 1, 0])
    );
    assert_eq!(
        of(&["b", "a", "B"], None).unwrap(),
        (strings(&["B", "a", "b"]), vec![2, 1, 0])
    );
    assert_eq!(
        of(&["01", "1"], None).unwrap(),
        (strings(&["01", "1"]), vec![0, 1])
    );
}

#[test]
fn label_names_give_order_to_names_and_names_to_integers() {
    assert_eq!(
        of(&["b", "a"], Some(&["b", "a", "c"])).unwrap(),
        (strings(&["b", "a", "c"]), vec![0, 1])
    );
    assert_eq!(
        of(&["2", "0"], Some(&["x", "y", "z"])).unwrap(),
        (strings(&["x", "y", "z"]), vec![2, 0])
    );
    assert_eq!(
        of(&["3", "1", "2"], Some(&["x", "y", "z"])).unwrap(),
        (strings(&["x", "y", "z"]), vec![2, 0, 1])
    );
    assert_eq!(
        of(&["1", "0"], Some(&["1", "0"])).unwrap(),
        (strings(&["1", "0"]), vec![0, 1])
    );
}

#[test]
fn names_that_do_not_fit_are_refused() {
    assert!(matches!(
        of(&["1", "2", "5"], Some(&["x", "y"])),
        Err(TableError::MiscountedNames { count: 3, .. })
    ));
    let error = of(&["pos", "neq"], Some(&["pos", "neg"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "data.csv, line 3: the label `neq` is not in `label_names`"
    );
}

#[test]
fn fractions_are_no_classes() {
    assert!(matches!(
        of(&["1", "2.5"], None),
        Err(TableError::FloatLabel { .. })
    ));
    assert!(of(&["1.x", "2.5"], None).is_ok());
}

#[test]
fn files_of_integers_and_files_of_names_do_not_mix() {
    assert!(matches!(
        Labels::of_training(&[raw(&["0", "1"]), raw(&["yes", "no"])], None),
        Err(TableError::MixedFiles { .. })
    ));
    assert!(Labels::of_training(&[raw(&["0", "x"]), raw(&["yes", "no"])], None).is_ok());
}

#[test]
fn several_labels_a_row_come_out_ascending_and_once() {
    let raw = raw_lists(&[&["b", "a", "b"], &[], &["c"]], false);
    let labels = Labels::of_training(std::slice::from_ref(&raw), None);
    let labels = labels.unwrap().unwrap();
    assert_eq!(labels.names, ["a", "b", "c"]);
    let numbers = labels.encode_lists(&raw, "train").unwrap().unwrap();
    assert_eq!(numbers, [vec![0, 1], vec![], vec![2]]);
    let error = labels.encode_lists(&raw_lists(&[&[], &["a", "d"]], false), "test");
    assert_eq!(
        error.unwrap_err().to_string(),
        "data.csv, line 3: the label `d` is in test but never in train"
    );
}

#[test]
fn tags_keep_their_order_and_may_be_numbers_with_names() {
    let raw = raw_lists(&[&["2", "0", "2"], &["1"]], true);
    let names = strings(&["O", "B-X", "I-X"]);
    let labels = Labels::of_training(std::slice::from_ref(&raw), Some(&names));
    let labels = labels.unwrap().unwrap();
    assert_eq!(labels.name("2"), Some("I-X"));
    let numbers = labels.encode_tags(&raw, "train").unwrap().unwrap();
    assert_eq!(numbers, [vec![2, 0, 2], vec![1]]);
    // A tag has a line of its own here.
    let error = labels.encode_tags(&raw_lists(&[&["0", "1", "7"]], true), "test");
    assert_eq!(
        error.unwrap_err().to_string(),
        "data.csv, line 4: the label `7` is in test but never in train"
    );
}

#[test]
fn names_that_are_added_take_their_place_by_bytes() {
    let raw = raw_lists(&[&["O", "B-Y", "B-X"]], true);
    let labels = Labels::of_training(std::slice::from_ref(&raw), None);
    let mut labels = labels.unwrap().unwrap();
    let added = labels.add(strings(&["O", "I-Y", "B-Z", "B-X"]));
    assert!(added.iter().eq(["B-Z", "I-Y"]));
    assert_eq!(labels.names, ["B-X", "B-Y", "B-Z", "I-Y", "O"]);
    let numbers = labels.encode_tags(&raw, "train").unwrap().unwrap();
    assert_eq!(numbers, [vec![4, 1, 0]]);
    let before = labels.clone();
    assert!(labels.add(strings(&["O"])).is_empty());
    assert_eq!(labels, before);
}

#[test]
fn a_column_of_labels_without_any_is_an_error_unless_they_are_named() {
    let raw = raw_lists(&[&[], &[]], false);
    let of = |names| Labels::of_training(std::slice::from_ref(&raw), names);
    assert!(matches!(of(None), Err(TableError::NoLabels)));
    let names = strings(&["a"]);
    assert_eq!(of(Some(&names)).unwrap().unwrap().names, ["a"]);
    assert_eq!(Labels::of_training(&[bare()], None).unwrap(), None);
}

#[test]
fn a_label_that_training_lacks_is_named_with_its_row() {
    let labels = Labels::of_training(&[raw(&["ham", "spam"])], None)
        .unwrap()
        .unwrap();
    let error = labels.encode(&raw(&["ham", "spams"]), "test").unwrap_err();
    assert_eq!(
        error.to_string(),
        "data.csv, line 3: the label `spams` is in test but never in train"
    );
}
