//! Several tables → one: so much of the training rows of each, and all rows of their other splits.
//!
//! A row's id is its own with the number of its input above it, so what another input has changes no id. Which rows a
//! fraction takes is drawn for each row by its id: a smaller weight takes a part of what a larger one takes.
//!
//! Deliberately absent: rows of different tasks.

use std::collections::{BTreeMap, HashSet};

use super::balance;
use super::making::Copies;
use crate::stage::StageError;
use crate::table::{self, LeftOut, Table, Texts};

/// The most inputs of one stage.
pub(super) const MOST: usize = 32;

/// What each input is called in the key: by its place, since a stage's name is in no key.
pub(super) const ROLES: [&str; MOST] = [
    "inputs/0",
    "inputs/1",
    "inputs/2",
    "inputs/3",
    "inputs/4",
    "inputs/5",
    "inputs/6",
    "inputs/7",
    "inputs/8",
    "inputs/9",
    "inputs/10",
    "inputs/11",
    "inputs/12",
    "inputs/13",
    "inputs/14",
    "inputs/15",
    "inputs/16",
    "inputs/17",
    "inputs/18",
    "inputs/19",
    "inputs/20",
    "inputs/21",
    "inputs/22",
    "inputs/23",
    "inputs/24",
    "inputs/25",
    "inputs/26",
    "inputs/27",
    "inputs/28",
    "inputs/29",
    "inputs/30",
    "inputs/31",
];

/// Of the bits of an id that number a row, these number it within its input.
const ROW_BITS: u32 = 34;

/// One table to be mixed.
pub(super) struct Part {
    /// The stage, for messages.
    pub(super) name: String,
    pub(super) weight: f64,
    pub(super) table: Table,
}

/// Mixes tables; the classes of the first come first.
///
/// # Errors
/// Tables for different tasks, with different targets, or so many or so large that ids run out.
pub(super) fn mix(parts: Vec<Part>, seed: u64) -> Result<Table, StageError> {
    let Some(first) = parts.first() else {
        return Ok(Table::default());
    };
    let mut mixed = Table {
        target_names: first.table.target_names.clone(),
        ..Table::default()
    };
    let mut names = Vec::<String>::new();
    let mut splits = BTreeMap::<String, Texts>::new();
    let (first_name, mut taken) = (first.name.clone(), 0);
    for part in &parts {
        if part.table.target_names != mixed.target_names
            || part.table.label_names.is_some() != first.table.label_names.is_some()
        {
            return Err(unlike(&part.name, &first_name));
        }
        let renumbered: Vec<u32> = (part.table.label_names.iter().flatten())
            .map(|name| {
                let known = names.iter().position(|other| other == name);
                let place = known.unwrap_or_else(|| {
                    names.push(name.clone());
                    names.len() - 1
                });
                u32::try_from(place).unwrap_or(u32::MAX)
            })
            .collect();
        let spaces = spaces(&part.table, taken).ok_or_else(|| too_large(&part.name))?;
        taken += spaces.len() as u64;
        mixed
            .left_out
            .extend(part.table.left_out.iter().map(|left| LeftOut {
                first: left.first.iter().map(|id| in_space(*id, &spaces)).collect(),
                ..left.clone()
            }));
        for (split, frame) in &part.table.splits {
            let mut rows = table::texts(frame)?;
            if split == "train" {
                rows = rows.take(&by_weight(&rows, part.weight, seed));
                number_copies(&mut rows);
            }
            renumber(&mut rows, &renumbered);
            for id in &mut rows.id {
                *id = in_space(*id, &spaces);
            }
            match splits.get_mut(split) {
                Some(others) => {
                    if !append(others, &rows) {
                        return Err(unlike(&part.name, &first_name));
                    }
                }
                None => {
                    splits.insert(split.clone(), rows);
                }
            }
        }
    }
    if first.table.label_names.is_some() {
        mixed.label_names = Some(names);
    }
    for (split, rows) in splits {
        mixed.splits.insert(split, rows.to_frame()?);
    }
    Ok(mixed)
}

fn unlike(part: &str, first: &str) -> StageError {
    StageError::Mismatch {
        message: format!("the rows of `{part}` are not of the same kind as those of `{first}`"),
        help: "mix tables with the same columns: texts with labels, say, or tagged words"
            .to_owned(),
    }
}

fn too_large(part: &str) -> StageError {
    StageError::Mismatch {
        message: format!("`{part}` cannot be mixed: its rows or its own mixtures are too many"),
        help: "list all tables in one `inputs`, instead of mixtures of mixtures".to_owned(),
    }
}

/// The upper part of a row's number: a mixture's inputs have one each.
fn space(id: u64) -> u64 {
    table::origin(id) >> ROW_BITS
}

/// Old → new spaces of one table, from `first` on.
fn spaces(table: &Table, first: u64) -> Option<BTreeMap<u64, u64>> {
    let mut spaces = BTreeMap::new();
    for frame in table.splits.values() {
        let ids = table::borrowed(frame).ok()?.id;
        spaces.extend(ids.into_iter().map(|id| (space(id), 0)));
    }
    for (new, (_, space)) in (first..).zip(spaces.iter_mut()) {
        *space = new;
    }
    let room = 1 << (table::ROW_BITS - ROW_BITS);
    (first + spaces.len() as u64 <= room).then_some(spaces)
}

fn in_space(id: u64, spaces: &BTreeMap<u64, u64>) -> u64 {
    let old = space(id);
    let new = spaces.get(&old).copied().unwrap_or(old);
    (id & !(((1 << table::ROW_BITS) - 1) ^ ((1 << ROW_BITS) - 1))) | (new << ROW_BITS)
}

/// The rows that a weight takes, in their order: the whole ones first, then those of a fraction, by rounds.
fn by_weight(rows: &Texts, weight: f64, seed: u64) -> Vec<usize> {
    let all: Vec<usize> = (0..rows.len()).collect();
    let mut taken = Vec::new();
    for _ in 0..weight.floor() as usize {
        taken.extend(&all);
    }
    let part = (rows.len() as f64 * weight.fract()).round() as usize;
    let mut order = balance::drawn(rows, &all, "mix", seed);
    order.truncate(part);
    order.sort_unstable();
    taken.extend(order);
    taken
}

/// A row that is taken again is a copy.
fn number_copies(rows: &mut Texts) {
    let mut copies = Copies::after(rows);
    let mut met = HashSet::new();
    for (id, copy) in rows.id.iter_mut().zip(&mut rows.copy) {
        if !met.insert(*id) {
            (*id, *copy) = copies.next(*id);
        }
    }
}

fn renumber(rows: &mut Texts, to: &[u32]) {
    let new = |label: &u32| to.get(*label as usize).copied().unwrap_or(*label);
    for label in rows.label.iter_mut().flatten() {
        *label = new(label);
    }
    for labels in rows.labels.iter_mut().flatten() {
        *labels = labels.iter().map(new).collect();
        labels.sort_unstable();
    }
    for tag in rows.tags.iter_mut().flatten().flatten() {
        *tag = new(tag);
    }
}

/// Whether both have the same columns; then the rows of the second follow those of the first.
fn append(to: &mut Texts, from: &Texts) -> bool {
    fn add<T: Clone>(to: &mut Option<Vec<T>>, from: &Option<Vec<T>>) -> bool {
        match (to, from) {
            (Some(to), Some(from)) => {
                to.extend_from_slice(from);
                true
            }
            (None, None) => true,
            _ => false,
        }
    }
    // What the file calls its rows is dropped where only one of them does.
    if to.name.is_some() != from.name.is_some() {
        to.name = None;
    } else {
        add(&mut to.name, &from.name);
    }
    // A further column of one of them is empty in the rows of the other.
    for name in from.further.keys() {
        let empty = || vec![String::new(); to.id.len()];
        to.further.entry(name.clone()).or_insert_with(empty);
    }
    for (name, values) in &mut to.further {
        match from.further.get(name) {
            Some(more) => values.extend_from_slice(more),
            None => values.resize(values.len() + from.id.len(), String::new()),
        }
    }
    to.id.extend_from_slice(&from.id);
    to.copy.extend_from_slice(&from.copy);
    to.text.extend_from_slice(&from.text);
    add(&mut to.text_pair, &from.text_pair)
        && add(&mut to.label, &from.label)
        && add(&mut to.labels, &from.labels)
        && add(&mut to.target, &from.target)
        && add(&mut to.words, &from.words)
        && add(&mut to.tags, &from.tags)
        && add(&mut to.answers, &from.answers)
}
