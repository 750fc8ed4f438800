//! More rows of rare classes: repeated, or made between their neighbours (SMOTE).
//!
//! SMOTE is that of Chawla et al. (2002, <https://arxiv.org/abs/1106.1813>), as `imblearn.over_sampling.SMOTE` does it: every
//! class gets as many rows as the largest has; a new row lies at a random place between a row of its class and one of that
//! row's nearest neighbours within the class. It works on the vectors that a frozen encoder gives, never on token ids, between
//! which nothing lies. A class of a single row has no neighbours, and is repeated.
//!
//! Promise: equal rows and seed give equal rows, whatever the number of threads.
//!
//! Deliberately absent: fewer rows of the common classes.

use std::collections::BTreeMap;
use std::fmt;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LearnError;
use super::activations::Known;
use super::batch::Rows;

/// How rare classes get more rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BalanceSettings {
    /// How new rows are made.
    pub method: BalanceMethod,
    /// `smote`: among how many nearest rows of its class a row's partner is chosen. More make the new rows more varied, and
    /// less typical.
    #[serde(default = "five", skip_serializing_if = "is_five")]
    #[schemars(range(min = 1, max = 100))]
    pub neighbors: u32,
}

/// How new rows are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BalanceMethod {
    /// Rows of rare classes are repeated at random: simple, and it works with any encoder.
    Oversample,
    /// Rows are made between neighbours of one class: less is learned by heart than from repeated rows. For a frozen encoder
    /// alone (`freeze = { encoder = true }`), whose vectors it works on.
    Smote,
}

impl fmt::Display for BalanceMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BalanceMethod::Oversample => "oversample",
            BalanceMethod::Smote => "smote",
        })
    }
}

fn five() -> u32 {
    5
}

fn is_five(neighbors: &u32) -> bool {
    *neighbors == five()
}

/// Rows, and after them further ones of the rare classes.
pub struct Balanced<'a> {
    rows: &'a dyn Rows,
    further: Vec<Further>,
}

/// A row that was added.
struct Further {
    /// The row that it is a copy of but for its vector.
    base: usize,
    /// `[hidden]`, where it is not the base's.
    vector: Option<Vec<f32>>,
}

impl<'a> Balanced<'a> {
    /// `rows` with as many of each class as the largest has.
    ///
    /// # Errors
    /// For SMOTE, rows of which no vectors are known.
    pub fn new(
        rows: &'a dyn Rows,
        settings: &BalanceSettings,
        seed: u64,
    ) -> Result<Balanced<'a>, LearnError> {
        let classes = classes(rows);
        let largest = largest(&classes);
        let mut further = Vec::new();
        for (&class, members) in &classes {
            let missing = largest - members.len();
            let mut random = generator(seed, class);
            match settings.method {
                BalanceMethod::Smote if members.len() > 1 && missing > 0 => {
                    let vectors = vectors(rows, members)?;
                    let neighbors = (settings.neighbors as usize).min(members.len() - 1);
                    let near = nearest(&vectors, neighbors);
                    further.extend((0..missing).map(|_| {
                        let pair = random.random_range(0..members.len() * neighbors);
                        let step = random.random_range(0.0..1.0_f32);
                        let (row, neighbor) = (pair / neighbors, pair % neighbors);
                        Further {
                            base: members[row],
                            vector: Some(between(vectors[row], vectors[near[row][neighbor]], step)),
                        }
                    }));
                }
                _ => further.extend((0..missing).map(|_| Further {
                    base: members[random.random_range(0..members.len())],
                    vector: None,
                })),
            }
        }
        Ok(Balanced { rows, further })
    }

    /// How many rows were added.
    pub fn added(&self) -> usize {
        self.further.len()
    }

    fn base(&self, row: usize) -> usize {
        match row.checked_sub(self.rows.rows()) {
            Some(further) => self.further[further].base,
            None => row,
        }
    }
}

/// How many rows there are once every class of `rows` has as many as the largest.
pub fn balanced_rows(rows: &dyn Rows) -> usize {
    let classes = classes(rows);
    let missing = classes.len() * largest(&classes) - classes.values().map(Vec::len).sum::<usize>();
    rows.rows() + missing
}

/// Label → the rows that have it.
fn classes(rows: &dyn Rows) -> BTreeMap<u32, Vec<usize>> {
    let mut classes = BTreeMap::<u32, Vec<usize>>::new();
    for row in 0..rows.rows() {
        if let Some(label) = rows.label(row) {
            classes.entry(label).or_default().push(row);
        }
    }
    classes
}

fn largest(classes: &BTreeMap<u32, Vec<usize>>) -> usize {
    classes.values().map(Vec::len).max().unwrap_or(0)
}

fn generator(seed: u64, class: u32) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"refit balance 1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&class.to_le_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

fn vectors<'a>(rows: &'a dyn Rows, members: &[usize]) -> Result<Vec<&'a [f32]>, LearnError> {
    let vector = |&row: &usize| match rows.known(row) {
        Some(Known::Pooled(vector)) => Ok(vector),
        _ => Err(LearnError::NoVectors),
    };
    members.iter().map(vector).collect()
}

/// Of each vector the `count` nearest others, the nearest first; of equals, the first.
fn nearest(vectors: &[&[f32]], count: usize) -> Vec<Vec<usize>> {
    let distance =
        |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum() };
    let of = |(own, vector): (usize, &&[f32])| {
        let others = vectors
            .iter()
            .enumerate()
            .filter(|&(other, _)| other != own);
        let mut others: Vec<(f32, usize)> = others
            .map(|(other, there)| (distance(vector, there), other))
            .collect();
        let by_distance =
            |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if count < others.len() {
            others.select_nth_unstable_by(count, by_distance);
            others.truncate(count);
        }
        others.sort_by(by_distance);
        others.into_iter().map(|(_, other)| other).collect()
    };
    vectors.par_iter().enumerate().map(of).collect()
}

/// The place that a share of the way from one vector to another leads to.
fn between(from: &[f32], to: &[f32], share: f32) -> Vec<f32> {
    let pairs = from.iter().zip(to);
    pairs.map(|(from, to)| from + share * (to - from)).collect()
}

impl Rows for Balanced<'_> {
    fn rows(&self) -> usize {
        self.rows.rows() + self.further.len()
    }

    fn ids(&self, row: usize) -> &[u32] {
        self.rows.ids(self.base(row))
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        self.rows.type_ids(self.base(row))
    }

    fn label(&self, row: usize) -> Option<u32> {
        self.rows.label(self.base(row))
    }

    fn id(&self, row: usize) -> u64 {
        self.rows.id(self.base(row))
    }

    fn length(&self, row: usize) -> usize {
        self.rows.length(self.base(row))
    }

    fn known(&self, row: usize) -> Option<Known<'_>> {
        let further = row.checked_sub(self.rows.rows());
        let made = further.and_then(|further| self.further[further].vector.as_deref());
        match made {
            Some(vector) => Some(Known::Pooled(vector)),
            None => self.rows.known(self.base(row)),
        }
    }
}

#[cfg(test)]
mod tests;
