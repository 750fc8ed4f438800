//! A part of a split's rows: for a first try, or to see what more rows are worth.
//!
//! Which rows these are is drawn for each row by its id. So with one seed a smaller sample is part of a larger one, and one
//! row more in a file changes few others. Rows keep their order and their ids.
//!
//! Deliberately absent: sampling by weight or with replacement.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stage::Fault;
use crate::table::Texts;

/// How many rows of a split to take: one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("maxProperties" = 1))]
pub struct Sample {
    /// So many rows at most. Each class gives its share, and one row at least, unless `split.stratify` is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<usize>,
    /// This share of the rows. Each class gives its share, and one row at least, unless `split.stratify` is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fraction: Option<f64>,
    /// So many rows of each class at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub per_class: Option<usize>,
}

impl Sample {
    pub(super) fn faults(&self, split: &str) -> Vec<Fault> {
        let field = format!("sample.{split}");
        let fault = |message: &str, help: &str| vec![Fault::new(field.as_str(), message, help)];
        let stated = [
            self.limit.is_some(),
            self.fraction.is_some(),
            self.per_class.is_some(),
        ];
        match stated.into_iter().filter(|stated| *stated).count() {
            0 => fault(
                "no number of rows is stated",
                "set `limit = 500`, `fraction = 0.1`, or `per_class = 100`",
            ),
            1 if self.limit == Some(0) || self.per_class == Some(0) => {
                fault("no row would be left", "take one row at least")
            }
            1 if self
                .fraction
                .is_some_and(|share| !(share > 0.0 && share <= 1.0)) =>
            {
                fault(
                    "a share is above 0 and at most 1",
                    "write 0.1 to take a tenth of the rows",
                )
            }
            1 => Vec::new(),
            _ => fault(
                "`limit`, `fraction` and `per_class` exclude each other",
                "keep one of them",
            ),
        }
    }

    /// The rows that are taken, ascending; none where `per_class` has no classes to go by.
    pub(super) fn rows<T: AsRef<str> + Clone>(
        &self,
        texts: &Texts<T>,
        stratify: bool,
        seed: u64,
    ) -> Option<Vec<usize>> {
        let class = |row: usize| {
            texts
                .label
                .as_ref()
                .and_then(|labels| labels.get(row).copied())
        };
        if self.per_class.is_some() && texts.label.is_none() {
            return None;
        }
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_cached_key(|&row| draw(seed, texts.id.get(row).copied().unwrap_or_default()));
        // Where each row stands in its class, from 0.
        let mut members = HashMap::<u32, usize>::new();
        let mut placed = Vec::with_capacity(order.len());
        for &row in &order {
            let stratum = class(row).filter(|_| stratify || self.per_class.is_some());
            let stratum = stratum.unwrap_or_default();
            let rank = members.entry(stratum).or_default();
            placed.push((row, stratum, *rank));
            *rank += 1;
        }
        if let Some(most) = self.per_class {
            placed.retain(|(_, _, rank)| *rank < most);
        } else {
            let wanted = match (self.limit, self.fraction) {
                (Some(limit), _) => limit,
                (None, share) => {
                    let share = share.unwrap_or(1.0);
                    ((texts.len() as f64 * share).round() as usize).max(1)
                }
            };
            // First a row of every class, the large ones first; then rows in the middle of equal steps through each class.
            // Any beginning of this order has the classes' shares, but for what the rarest take above theirs.
            let step = |&(_, stratum, rank): &(usize, u32, usize)| {
                let size = members.get(&stratum).copied().unwrap_or(1).max(1);
                (rank > 0, (rank as f64 + 0.5) / size as f64)
            };
            placed.sort_by(|a, b| {
                let (a, b) = (step(a), step(b));
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            });
            placed.truncate(wanted);
        }
        let mut rows: Vec<usize> = placed.into_iter().map(|(row, ..)| row).collect();
        rows.sort_unstable();
        Some(rows)
    }
}

fn draw(seed: u64, id: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(b"refit sample 1\0")
        .update(&seed.to_le_bytes())
        .update(&id.to_le_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(labels: &[u32]) -> Texts<&'static str> {
        Texts {
            id: (0..labels.len() as u64).map(|id| id * 3).collect(),
            copy: vec![0; labels.len()],
            text: vec!["a"; labels.len()],
            label: Some(labels.to_vec()),
            ..Texts::default()
        }
    }

    fn limit(rows: usize) -> Sample {
        Sample {
            limit: Some(rows),
            fraction: None,
            per_class: None,
        }
    }

    #[test]
    fn a_class_gives_so_many_rows() {
        let of_class = Sample {
            limit: None,
            fraction: None,
            per_class: Some(2),
        };
        let labels = [0, 0, 0, 0, 1, 2, 2, 2];
        let rows = of_class.rows(&texts(&labels), true, 1).unwrap();
        let taken = rows.iter().map(|&row| labels[row]).collect::<Vec<_>>();
        assert_eq!(taken, [0, 0, 1, 2, 2]);
        let bare = Texts {
            label: None,
            ..texts(&labels)
        };
        assert_eq!(of_class.rows(&bare, true, 1), None);
    }

    #[test]
    fn a_seed_takes_other_rows() {
        let rows = texts(&[0; 100]);
        assert_ne!(
            limit(20).rows(&rows, true, 1),
            limit(20).rows(&rows, true, 2)
        );
    }

    proptest! {
        #[test]
        fn samples_are_nested_and_stratified(
            labels in prop::collection::vec(0_u32..4, 1..120),
            small in 1_usize..60,
            more in 0_usize..60,
            seed in any::<u64>(),
        ) {
            let texts = texts(&labels);
            let of = |rows: usize| limit(rows).rows(&texts, true, seed).unwrap();
            let (few, many) = (of(small), of(small + more));
            prop_assert_eq!(few.len(), small.min(labels.len()));
            prop_assert!(few.is_sorted());
            prop_assert!(few.iter().all(|row| many.contains(row)));
            let classes = labels.iter().collect::<std::collections::BTreeSet<_>>().len();
            for class in 0..4 {
                let all = labels.iter().filter(|&&label| label == class).count() as f64;
                let taken = few.iter().filter(|&&row| labels[row] == class).count() as f64;
                let share = few.len() as f64 / labels.len() as f64;
                let above = taken - all * share;
                prop_assert!(above <= 1.5 && above >= -1.5 - classes as f64, "{taken} of {all} at {share}");
                prop_assert!(taken >= 1.0 || all == 0.0 || few.len() < classes);
            }
        }
    }
}
