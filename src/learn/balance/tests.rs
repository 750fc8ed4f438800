//! Balanced rows against imbalanced-learn 0.14.

use super::*;
use crate::learn::batch::tests::{Listed, Vectors};

#[derive(Deserialize)]
struct Reference {
    vectors: Vec<Vec<f32>>,
    labels: Vec<u32>,
    cases: Vec<Case>,
}

/// What was drawn for each rare class, and what was made of it.
#[derive(Deserialize)]
struct Case {
    neighbors: usize,
    pairs: Vec<Vec<usize>>,
    steps: Vec<Vec<f32>>,
    made: Vec<Vec<f32>>,
    labels: Vec<u32>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("../../../tests/fixtures/smote_imblearn.json")).unwrap()
}

fn rows(labels: &[u32]) -> Listed {
    let row = |(row, &label): (usize, &u32)| (vec![row as u32; 3], Some(label));
    Listed(labels.iter().enumerate().map(row).collect())
}

fn settings(method: BalanceMethod, neighbors: u32) -> BalanceSettings {
    BalanceSettings { method, neighbors }
}

fn count(rows: &dyn Rows, label: u32) -> usize {
    let all = 0..rows.rows();
    all.filter(|&row| rows.label(row) == Some(label)).count()
}

#[test]
fn made_rows_are_those_of_imbalanced_learn_for_equal_draws() {
    let reference = reference();
    for case in &reference.cases {
        let mut made = Vec::new();
        for (class, (pairs, steps)) in (1..).zip(case.pairs.iter().zip(&case.steps)) {
            let members = reference.vectors.iter().zip(&reference.labels);
            let members = members.filter(|&(_, &label)| label == class);
            let members: Vec<&[f32]> = members.map(|(vector, _)| vector.as_slice()).collect();
            let near = nearest(&members, case.neighbors);
            for (&pair, &step) in pairs.iter().zip(steps) {
                let (row, neighbor) = (pair / case.neighbors, pair % case.neighbors);
                made.push(between(members[row], members[near[row][neighbor]], step));
            }
        }
        assert_eq!(made.len(), case.made.len());
        let numbers = made.iter().flatten().zip(case.made.iter().flatten());
        for (found, wanted) in numbers {
            assert!((found - wanted).abs() < 1e-5, "{found} is not {wanted}");
        }
        assert_eq!(made.len(), case.labels.len());
    }
}

#[test]
fn every_class_gets_as_many_rows_as_the_largest_has() {
    let reference = reference();
    let rows = Vectors(rows(&reference.labels), reference.vectors);
    for method in [BalanceMethod::Oversample, BalanceMethod::Smote] {
        let balanced = Balanced::new(&rows, &settings(method, 3), 1).unwrap();
        assert_eq!([0, 1, 2].map(|label| count(&balanced, label)), [18; 3]);
        assert_eq!(balanced.added(), 24);
        assert_eq!(balanced_rows(&rows), balanced.rows());
        for row in 0..30 {
            assert_eq!(balanced.known(row), rows.known(row));
            assert_eq!(balanced.ids(row), rows.ids(row));
        }
        let old = (0..30).map(|row| rows.known(row));
        let old: Vec<_> = old.collect();
        let is_old = |row: usize| old.contains(&balanced.known(row));
        let repeated = (30..54).filter(|&row| is_old(row)).count();
        let expected = if method == BalanceMethod::Smote {
            0
        } else {
            24
        };
        assert_eq!(repeated, expected, "{method}");
    }
}

#[test]
fn the_seed_alone_decides_and_neighbours_count() {
    let reference = reference();
    let rows = Vectors(rows(&reference.labels), reference.vectors);
    let made = |neighbors: u32, seed: u64| -> Vec<Vec<f32>> {
        let settings = settings(BalanceMethod::Smote, neighbors);
        let balanced = Balanced::new(&rows, &settings, seed).unwrap();
        let made = (30..54).map(|row| match balanced.known(row) {
            Some(Known::Pooled(vector)) => vector.to_vec(),
            _ => panic!("row {row} has no vector"),
        });
        made.collect()
    };
    assert_eq!(made(3, 1), made(3, 1));
    assert_ne!(made(3, 1), made(3, 2));
    assert_ne!(made(3, 1), made(1, 1));
    // No more neighbours than there are others: the smallest class has four rows.
    assert_eq!(made(7, 1).len(), 24);
}

#[test]
fn a_class_of_one_row_is_repeated_and_rows_without_vectors_are_an_error() {
    let labels = [0, 0, 0, 1];
    let vectors = (0..4).map(|row| vec![row as f32]).collect();
    let with = Vectors(rows(&labels), vectors);
    let smote = settings(BalanceMethod::Smote, 5);
    let balanced = Balanced::new(&with, &smote, 1).unwrap();
    assert_eq!(balanced.rows(), 6);
    assert_eq!(balanced.known(5), with.known(3));
    let without = rows(&[0, 0, 0, 1, 1]);
    assert!(matches!(
        Balanced::new(&without, &smote, 1),
        Err(LearnError::NoVectors)
    ));
    let oversample = settings(BalanceMethod::Oversample, 5);
    let balanced = Balanced::new(&without, &oversample, 1).unwrap();
    assert_eq!(count(&balanced, 1), 3);
}
