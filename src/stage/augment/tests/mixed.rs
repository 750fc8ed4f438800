//! Several inputs by weight.

use super::*;

/// Rows with these texts, labels by name.
fn saved(rows: &[(&str, u32)], names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows = texts(rows);
    let splits = [
        ("train".to_owned(), rows.to_frame().unwrap()),
        ("test".to_owned(), rows.take(&[0]).to_frame().unwrap()),
    ];
    Table {
        label_names: Some(names.iter().map(|name| name.to_string()).collect()),
        splits: splits.into(),
        ..Table::default()
    }
    .save(folder.path())
    .unwrap();
    folder
}

fn mixed(weights: Value, folders: &[&tempfile::TempDir]) -> Table {
    let draft = tempfile::tempdir().unwrap();
    let inputs: Vec<_> = mix::ROLES
        .into_iter()
        .zip(folders.iter().map(|folder| folder.path()))
        .collect();
    let settings = json!({ "inputs": weights });
    run_with(settings, &inputs, Files::new(), draft.path()).unwrap();
    Table::open(draft.path()).unwrap()
}

fn train(table: &Table) -> Texts {
    table::texts(&table.splits["train"]).unwrap()
}

#[test]
fn inputs_are_taken_by_weight_and_classes_matched_by_name() {
    let numbered: Vec<String> = (0..10).map(|n| format!("b{n}")).collect();
    let of_b: Vec<(&str, u32)> = numbered.iter().map(|text| (text.as_str(), 0)).collect();
    let a = saved(&[("a0", 0), ("a1", 1)], &["ham", "spam"]);
    let b = saved(&of_b, &["spam", "other"]);
    let table = mixed(json!({ "a": 1.0, "b": 0.5 }), &[&a, &b]);
    assert_eq!(
        table.label_names.as_ref().unwrap(),
        &["ham", "spam", "other"]
    );
    let rows = train(&table);
    assert_eq!(rows.text[..2], ["a0", "a1"]);
    assert_eq!(rows.len(), 7);
    assert_eq!(rows.label.as_ref().unwrap()[2..], [1; 5]);
    let half: Vec<String> = rows.text[2..].to_vec();
    assert!(half.is_sorted());
    let ids: std::collections::BTreeSet<_> = rows.id.iter().collect();
    assert_eq!(ids.len(), 7);
    let test = table::texts(&table.splits["test"]).unwrap();
    assert_eq!(test.text, ["a0", "b0"]);
    assert_eq!(test.label.unwrap(), [0, 1]);

    let more = train(&mixed(json!({ "a": 1.0, "b": 2.3 }), &[&a, &b]));
    assert_eq!(more.len(), 2 + 23);
    let ids: std::collections::BTreeSet<_> = more.id.iter().collect();
    assert_eq!(ids.len(), 25);
    assert_eq!(more.copy.iter().filter(|&&copy| copy == 2).count(), 3);
    let of_b = more
        .copy
        .iter()
        .zip(&more.text)
        .filter(|(copy, _)| **copy == 2);
    assert!(of_b.into_iter().all(|(_, text)| text.starts_with('b')));
}

#[test]
fn another_input_changes_no_id_and_no_choice() {
    let numbered: Vec<String> = (0..20).map(|n| format!("b{n}")).collect();
    let of_b: Vec<(&str, u32)> = numbered.iter().map(|text| (text.as_str(), 0)).collect();
    let b = saved(&of_b, &["x"]);
    let (short, long) = (
        saved(&[("a0", 0)], &["x"]),
        saved(&[("a0", 0), ("a1", 0)], &["x"]),
    );
    let of = |a: &tempfile::TempDir| {
        let rows = train(&mixed(json!({ "a": 1.0, "b": 0.25 }), &[a, &b]));
        let rows = rows.id.into_iter().zip(rows.text);
        rows.filter(|(_, text)| text.starts_with('b'))
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&short), of(&long));
    assert_eq!(of(&short).len(), 5);
}

#[test]
fn a_mixture_can_be_mixed_again() {
    let (a, b) = (saved(&[("a", 0)], &["x"]), saved(&[("b", 0)], &["x"]));
    let once = mixed(json!({ "a": 1.0, "b": 1.0 }), &[&a, &b]);
    let folder = tempfile::tempdir().unwrap();
    once.save(folder.path()).unwrap();
    let twice = train(&mixed(json!({ "ab": 1.0, "a": 2.0 }), &[&folder, &a]));
    assert_eq!(twice.text, ["a", "b", "a", "a"]);
    let ids: std::collections::BTreeSet<_> = twice.id.iter().collect();
    assert_eq!(ids.len(), 4);
}

#[test]
fn tables_of_different_kinds_do_not_mix() {
    let a = saved(&[("a", 0)], &["x"]);
    let plain = tempfile::tempdir().unwrap();
    let rows = Texts {
        label: None,
        ..texts(&[("b", 0)])
    };
    Table {
        splits: [("train".to_owned(), rows.to_frame().unwrap())].into(),
        ..Table::default()
    }
    .save(plain.path())
    .unwrap();
    let draft = tempfile::tempdir().unwrap();
    let inputs = [("inputs/0", a.path()), ("inputs/1", plain.path())];
    let settings = json!({ "inputs": { "a": 1.0, "plain": 1.0 } });
    let error = run_with(settings, &inputs, Files::new(), draft.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the rows of `plain` are not of the same kind as those of `a`"
    );
}

#[test]
fn names_of_inputs_are_in_no_key_and_weights_are() {
    let of = |settings: Value| {
        let stage: Augment = serde_json::from_value(settings).unwrap();
        let roles: Vec<_> = stage.edges().into_iter().map(|edge| edge.role).collect();
        (stage.implied(&Files::new(), &Fetched::default()), roles)
    };
    let first = of(json!({ "inputs": { "b": 1.0, "a": 0.5 } }));
    assert_eq!(first, of(json!({ "inputs": { "x": 1.0, "y": 0.5 } })));
    assert_ne!(first.0, of(json!({ "inputs": { "b": 0.5, "a": 1.0 } })).0);
    let edges = stage_of(json!({ "inputs": { "b": 1.0, "a": 0.5 } })).edges();
    assert_eq!(edges[0].field, "inputs.b");
}

fn stage_of(settings: Value) -> Augment {
    serde_json::from_value(settings).unwrap()
}
