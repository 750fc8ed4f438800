//! As many rows of one class as of another: what to repeat, and what to leave out.
//!
//! Which rows these are is drawn for each row by its id, so that more rows of one class move few choices of another.
//!
//! Deliberately absent: rows with other than one label each.

use std::collections::BTreeMap;

use rand::RngExt;

use super::Draw;
use crate::table::{TableError, Texts};

/// The rows of each class.
///
/// # Errors
/// The rows have not one label each.
pub(super) fn classes(
    rows: &Texts,
    operation: &'static str,
) -> Result<BTreeMap<u32, Vec<usize>>, TableError> {
    let labels = rows.label.as_ref();
    let labels = labels.ok_or(TableError::NothingToBalance {
        operation,
        found: match (&rows.labels, &rows.target, &rows.words, &rows.answers) {
            (Some(_), ..) => "any number of them",
            (_, Some(_), ..) => "numbers instead",
            (_, _, Some(_), _) => "tags instead",
            (.., Some(_)) => "answers instead",
            _ => "none",
        },
    })?;
    let mut classes = BTreeMap::<u32, Vec<usize>>::new();
    for (row, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(row);
    }
    Ok(classes)
}

/// The rows to repeat so that each class reaches `ratio` of the largest one, ascending. Whole rounds first; what is left
/// over goes to rows in a drawn order.
///
/// # Errors
/// The rows have not one label each.
pub(super) fn repeats(rows: &Texts, ratio: f64, seed: u64) -> Result<Vec<usize>, TableError> {
    let classes = classes(rows, "oversample")?;
    let largest = classes.values().map(Vec::len).max().unwrap_or(0);
    let wanted = (largest as f64 * ratio).round() as usize;
    let mut repeats = Vec::new();
    for members in classes.values() {
        let missing = wanted.saturating_sub(members.len());
        for _ in 0..missing / members.len() {
            repeats.extend(members);
        }
        let drawn = drawn(rows, members, "oversample", seed);
        repeats.extend(drawn.iter().take(missing % members.len()));
    }
    repeats.sort_unstable();
    Ok(repeats)
}

/// The rows that stay, ascending, so that no class has more than the smallest one divided by `ratio`, rounded.
///
/// # Errors
/// The rows have not one label each.
pub(super) fn kept(rows: &Texts, ratio: f64, seed: u64) -> Result<Vec<usize>, TableError> {
    let classes = classes(rows, "undersample")?;
    let smallest = classes.values().map(Vec::len).min().unwrap_or(0);
    let most = (smallest as f64 / ratio).round() as usize;
    let mut kept = Vec::new();
    for members in classes.values() {
        match members.len() <= most {
            true => kept.extend(members),
            false => kept.extend(drawn(rows, members, "undersample", seed).iter().take(most)),
        }
    }
    kept.sort_unstable();
    Ok(kept)
}

/// Which classes have fewer rows than the average class.
///
/// # Errors
/// The rows have not one label each.
pub(super) fn minorities(rows: &Texts) -> Result<Vec<u32>, TableError> {
    let classes = classes(rows, "minority_only")?;
    let (total, count) = (rows.len(), classes.len());
    let rare = classes
        .iter()
        .filter(|(_, members)| members.len() * count < total);
    Ok(rare.map(|(&class, _)| class).collect())
}

/// Rows in an order drawn for each of them by its id.
pub(super) fn drawn(rows: &Texts, members: &[usize], operation: &str, seed: u64) -> Vec<usize> {
    let mut drawn = members.to_vec();
    drawn.sort_by_cached_key(|&row| {
        let id = rows.id.get(row).copied().unwrap_or_default();
        Draw::of_row(seed, id).generator(operation).random::<u64>()
    });
    drawn
}
