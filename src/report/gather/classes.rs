//! Texts with one label, and with any number of them.
//!
//! A row with several labels is right if its set is; it is as sure as the product of its decisions, as if labels had nothing
//! to do with each other.
//!
//! Deliberately absent: tags of words.

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde_json::{Map, Value};

use super::super::evaluation::{PageCurves, PageDoubt, PageLabel, PageRows, PageThresholds};
use super::answered::{Answered, by_label, confused, short};
use crate::metrics::curves::{curves, thinned, threshold_counts};
use crate::metrics::doubt::doubtful;
use crate::metrics::{ClassScores, classification as scored, multi_label as scored_sets};
use crate::table::NamedColumns;
use crate::task::predictions::numbering;

/// Where a label is given when nothing else is said.
const USUAL: f64 = 0.5;
/// How many doubtful rows are shown.
const DOUBTS: usize = 2_000;

/// The columns `probability_NAME`: `[labels][rows]`.
fn probabilities(columns: &NamedColumns, names: &[String]) -> Option<Vec<Vec<f64>>> {
    let column = |name: &String| {
        let floats = columns.floats(&format!("probability_{name}"))?;
        Some(floats.iter().copied().map(f64::from).collect())
    };
    names.iter().map(column).collect()
}

pub(super) fn classification(columns: &NamedColumns) -> Option<Answered> {
    let names = columns.after("probability_");
    let number = numbering(&names);
    let of = |column: &str| -> Option<Vec<u32>> {
        Some(columns.texts(column)?.into_iter().map(&number).collect())
    };
    let (right, answered) = (of("label")?, of("predicted")?);
    let probabilities = probabilities(columns, &names)?;
    let scores = scored(&right, &answered, &names);
    let wrong: Vec<bool> = right.iter().zip(&answered).map(|(a, b)| a != b).collect();
    let sure = answered.iter().enumerate().map(|(row, &label)| {
        let of_label = probabilities.get(label as usize);
        let of_row = of_label.and_then(|column| column.get(row).copied());
        of_row.unwrap_or_default()
    });
    let sure: Vec<f64> = sure.collect();
    let by_row: Vec<Vec<f64>> = (0..right.len())
        .map(|row| {
            let columns = probabilities.iter();
            columns
                .map(|column| column.get(row).copied().unwrap_or_default())
                .collect()
        })
        .collect();
    let doubts = doubtful(&right, &by_row)
        .into_iter()
        .take(DOUBTS)
        .map(|doubt| PageDoubt {
            row: doubt.row as u32,
            given: doubt.given,
            suggested: doubt.suggested,
            given_probability: doubt.given_probability,
            suggested_probability: doubt.suggested_probability,
        });
    let truth = |label: usize| -> Vec<bool> {
        right.iter().map(|&right| right as usize == label).collect()
    };
    // Of two labels one threshold decides both.
    let thresholds = match probabilities.as_slice() {
        [_, second] => vec![PageThresholds {
            label: 1,
            chosen: USUAL,
            in_force: counts_of(&truth(1), answered.iter().map(|&label| label == 1)),
            counts: threshold_counts(&truth(1), second),
        }],
        _ => Vec::new(),
    };
    let support: Vec<u64> = scores.per_class.iter().map(|class| class.support).collect();
    let right: Vec<u16> = right.iter().copied().map(short).collect();
    let mut found = Answered {
        task: "classification",
        slices: by_label(&names, right.chunks(1)),
        per_label: per_label(&scores.per_class),
        confused: confused(&scores.confusion_matrix, &support),
        confusion: scores.confusion_matrix,
        curves: all_curves(&names, &truth, &probabilities),
        thresholds,
        doubtful: doubts.collect(),
        rows: PageRows {
            right,
            answered: answered.iter().copied().map(short).collect(),
            ..PageRows::default()
        },
        labels: names,
        ..Answered::default()
    };
    let is_right: Vec<bool> = wrong.iter().map(|wrong| !wrong).collect();
    found.calibrate(&is_right, &sure);
    found.rows.wrong = wrong;
    found.sure = sure;
    Some(found)
}

pub(super) fn multi_label(
    columns: &NamedColumns,
    written: &Map<String, Value>,
) -> Option<Answered> {
    let names = columns.after("probability_");
    let number = numbering(&names);
    let of = |column: &str| -> Option<Vec<Vec<u32>>> {
        let rows = columns.lists(column)?.into_iter();
        let numbers = |row: Vec<&str>| row.into_iter().map(&number).collect();
        Some(rows.map(numbers).collect())
    };
    let (right, answered) = (of("labels")?, of("predicted")?);
    let probabilities = probabilities(columns, &names)?;
    // How well labels are ranked is no matter of one label.
    let unranked = vec![Vec::new(); right.len()];
    let scores = scored_sets(&right, &answered, &unranked, &names);
    let has = |sets: &[Vec<u32>], label: usize| -> Vec<bool> {
        sets.iter()
            .map(|set| set.iter().any(|&one| one as usize == label))
            .collect()
    };
    let mut sure = vec![1.0; right.len()];
    let (mut decisions, mut truths) = (Vec::new(), Vec::new());
    for (label, column) in probabilities.iter().enumerate() {
        let given = has(&answered, label);
        for ((sure, &probability), given) in sure.iter_mut().zip(column).zip(given) {
            *sure *= if given {
                probability
            } else {
                1.0 - probability
            };
        }
        decisions.extend_from_slice(column);
        truths.extend(has(&right, label));
    }
    let chosen = |label: usize| {
        let labels = written.get("per_label")?.as_array()?;
        labels.get(label)?.get("threshold")?.as_f64()
    };
    let truth = |label: usize| has(&right, label);
    let thresholds = probabilities
        .iter()
        .enumerate()
        .map(|(label, column)| PageThresholds {
            label,
            chosen: chosen(label).unwrap_or(USUAL),
            in_force: counts_of(&truth(label), has(&answered, label).into_iter()),
            counts: threshold_counts(&truth(label), column),
        });
    let sets = |sets: &[Vec<u32>]| -> Vec<Vec<u16>> {
        let set = |set: &Vec<u32>| {
            let mut set: Vec<u16> = set.iter().copied().map(short).collect();
            set.sort_unstable();
            set
        };
        sets.iter().map(set).collect()
    };
    let (right_labels, answered_labels) = (sets(&right), sets(&answered));
    let mut pairs = vec![vec![0; names.len()]; names.len()];
    for (right, answered) in right_labels.iter().zip(&answered_labels) {
        let missed = right.iter().filter(|label| !answered.contains(label));
        for &missed in missed {
            for &spurious in answered.iter().filter(|label| !right.contains(label)) {
                let row = pairs.get_mut(usize::from(missed));
                if let Some(cell) = row.and_then(|row| row.get_mut(usize::from(spurious))) {
                    *cell += 1;
                }
            }
        }
    }
    let support: Vec<u64> = scores.per_label.iter().map(|label| label.support).collect();
    let wrong = right_labels
        .iter()
        .zip(&answered_labels)
        .map(|(a, b)| a != b);
    let mut found = Answered {
        task: "multi_label",
        slices: by_label(&names, right_labels.iter().map(Vec::as_slice)),
        per_label: per_label(&scores.per_label),
        confused: confused(&pairs, &support),
        curves: all_curves(&names, &truth, &probabilities),
        thresholds: thresholds.collect(),
        sure,
        rows: PageRows {
            wrong: wrong.collect(),
            right_labels,
            answered_labels,
            ..PageRows::default()
        },
        labels: names,
        ..Answered::default()
    };
    found.calibrate(&truths, &decisions);
    found.notes.push(
        "a row is wrong unless its set of labels is exactly right; calibration is that of single labels".to_owned(),
    );
    Some(found)
}

/// True positives, false positives, false negatives, true negatives of answers as they were given.
fn counts_of(truth: &[bool], given: impl Iterator<Item = bool>) -> [u64; 4] {
    let mut counts = [0; 4];
    for (&is, given) in truth.iter().zip(given) {
        let place = match (is, given) {
            (true, true) => 0,
            (false, true) => 1,
            (true, false) => 2,
            (false, false) => 3,
        };
        counts[place] += 1;
    }
    counts
}

pub(super) fn per_label(classes: &[ClassScores]) -> Vec<PageLabel> {
    let of_class = |(label, class): (usize, &ClassScores)| PageLabel {
        label,
        precision: class.precision,
        recall: class.recall,
        f1: class.f1,
        support: class.support,
    };
    classes.iter().enumerate().map(of_class).collect()
}

/// The curves of every label, as far apart as a few hundred points of the screen show; of very many labels, a hundred.
fn all_curves(
    names: &[String],
    truth: &(dyn Fn(usize) -> Vec<bool> + Sync),
    probabilities: &[Vec<f64>],
) -> Vec<PageCurves> {
    let distance = if names.len() > 32 { 0.01 } else { 0.004 };
    let shown = |curve: Vec<(f64, f64)>| {
        let round = |value: f64| (value * 1e5).round() / 1e5;
        let points = thinned(&curve, distance).into_iter();
        points.map(|(x, y)| (round(x), round(y))).collect()
    };
    let of_label = |label: usize| {
        let scores = probabilities.get(label).map_or(&[][..], Vec::as_slice);
        let found = curves(&truth(label), scores);
        PageCurves {
            label,
            roc: shown(found.roc),
            roc_auc: found.roc_auc,
            precision_recall: shown(found.precision_recall),
            average_precision: found.average_precision,
        }
    };
    (0..names.len()).into_par_iter().map(of_label).collect()
}
