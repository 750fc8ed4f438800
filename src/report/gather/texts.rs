//! What rows say: found by their ids in the table that tokens were made of, and packed as far as there is room.
//!
//! Deliberately absent: what follows from texts.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::super::evaluation::PageRows;
use super::{Facts, ReportError, StepFacts};
use crate::artifact::Kind;
use crate::table::stored::StoredTable;
use crate::table::{self, Texts};
use crate::text::tokens::EXAMPLES;

/// How many bytes of text a page may hold: a third of it compressed, and a file of less than 20 MB.
pub(super) const ROOM: usize = 24_000_000;
/// How many bytes of attention, which lies in the page as it is.
pub(super) const ATTENTION_ROOM: usize = 6_000_000;

/// More characters of one text are not shown.
const LONGEST: usize = 5_000;

/// What rows say, in their order.
#[derive(Default)]
pub(super) struct Said {
    pub(super) text: Vec<String>,
    pub(super) pair: Option<Vec<String>>,
    /// The further columns that `load` kept, by their names.
    pub(super) further: BTreeMap<String, Vec<String>>,
}

impl Said {
    pub(super) fn texts(&self) -> Vec<&str> {
        self.text.iter().map(String::as_str).collect()
    }
}

/// A table, or what to say where there is none any more.
pub(super) type Found = Result<PathBuf, String>;

/// The table that the rows of a step come from, by way of tokens or itself.
pub(super) fn table_of(facts: &Facts, step: &StepFacts) -> Found {
    let missing = |what: &str| {
        format!("{what} is no longer in the store; `refit run --force {what}` makes it again")
    };
    let tokens = facts
        .input(step, "input")
        .ok_or_else(|| "the rows are not known".to_owned())?;
    if tokens.produces == Some(Kind::Table) {
        let artifact = tokens.artifact.clone();
        return artifact.ok_or_else(|| missing(&tokens.stage));
    }
    let examples = tokens.artifact.as_ref().map(|folder| folder.join(EXAMPLES));
    if let Some(examples) = examples.filter(|folder| folder.is_dir()) {
        return Ok(examples);
    }
    let table = facts
        .input(tokens, "input")
        .ok_or_else(|| missing(&tokens.stage))?;
    table.artifact.clone().ok_or_else(|| missing(&table.stage))
}

/// Looks at all rows of a split, piece by piece. Does nothing where there is no such split.
pub(super) fn each_piece(
    folder: &std::path::Path,
    split: &str,
    mut look: impl FnMut(&StoredTable, Texts<&str>),
) -> Result<(), ReportError> {
    let stored = StoredTable::open(folder)?;
    let Some(rows) = stored.split(split) else {
        return Ok(());
    };
    for piece in rows.pieces() {
        let piece = piece?;
        look(&stored, table::borrowed(&piece)?);
    }
    Ok(())
}

/// What the rows with these ids say; empty for one that the table lacks.
pub(super) fn said(
    folder: &std::path::Path,
    split: &str,
    ids: &[u64],
) -> Result<Said, ReportError> {
    let places: HashMap<u64, usize> = ids.iter().copied().zip(0..).collect();
    let mut said = Said {
        text: vec![String::new(); ids.len()],
        ..Said::default()
    };
    each_piece(folder, split, |_, rows| {
        for (row, id) in rows.id.iter().enumerate() {
            let Some((&place, (text, pair))) = places.get(id).zip(rows.row(row)) else {
                continue;
            };
            if let Some(own) = said.text.get_mut(place) {
                text.clone_into(own);
            }
            if let Some(pair) = pair {
                let pairs = said
                    .pair
                    .get_or_insert_with(|| vec![String::new(); ids.len()]);
                if let Some(own) = pairs.get_mut(place) {
                    pair.clone_into(own);
                }
            }
            for (name, values) in &rows.further {
                let column = said.further.entry(name.clone());
                let column = column.or_insert_with(|| vec![String::new(); ids.len()]);
                if let (Some(own), Some(value)) = (column.get_mut(place), values.get(row)) {
                    (*value).clone_into(own);
                }
            }
        }
    })?;
    Ok(said)
}

/// Puts texts into the rows until there is no room left: those of wrong rows first, the surest of them before the others.
/// Returns how many rows have none.
pub(super) fn pack(rows: &mut PageRows, said: &Said, sure: &[f64], room: usize) -> usize {
    let count = said.text.len();
    let is_wrong = |row: usize| rows.wrong.get(row).copied().unwrap_or_default();
    let sure = |row: usize| sure.get(row).copied().unwrap_or_default();
    let (mut order, right): (Vec<usize>, Vec<usize>) = (0..count).partition(|&row| is_wrong(row));
    order.sort_by(|&a, &b| sure(b).total_cmp(&sure(a)));
    order.extend(right);
    rows.text = vec![None; count];
    rows.pair = vec![None; if said.pair.is_some() { count } else { 0 }];
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let (mut left, mut without) = (room, 0);
    for row in order {
        let texts = [Some(&said.text), said.pair.as_ref()];
        let texts = texts.map(|texts| texts?.get(row).map(|text| shortened(text)));
        let new = texts
            .iter()
            .flatten()
            .filter(|text| !numbers.contains_key(*text));
        let needed: usize = new.map(|text| text.len()).sum();
        if needed > left {
            without += 1;
            continue;
        }
        left -= needed;
        let [text, pair] = texts;
        if let (Some(text), Some(place)) = (text, rows.text.get_mut(row)) {
            *place = Some(numbered(text, &mut numbers, &mut rows.strings));
        }
        if let (Some(pair), Some(place)) = (pair, rows.pair.get_mut(row)) {
            *place = Some(numbered(pair, &mut numbers, &mut rows.strings));
        }
    }
    cut_marks(rows);
    without
}

/// The place of a text among those that are there once, where it comes if it is new.
fn numbered<'t>(
    text: &'t str,
    numbers: &mut HashMap<&'t str, u32>,
    strings: &mut Vec<String>,
) -> u32 {
    *numbers.entry(text).or_insert_with(|| {
        strings.push(text.to_owned());
        (strings.len() - 1) as u32
    })
}

/// The beginning of a text, as long as one is shown.
fn shortened(text: &str) -> &str {
    beginning(text, LONGEST)
}

/// The first so many characters of a text.
pub(super) fn beginning(text: &str, most: usize) -> &str {
    match text.char_indices().nth(most) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Lets go of marks beyond the end of what is shown.
fn cut_marks(rows: &mut PageRows) {
    let longest = LONGEST as u32;
    for entities in rows
        .right_entities
        .iter_mut()
        .chain(&mut rows.found_entities)
    {
        entities.retain(|(_, end, _, _)| *end <= longest);
    }
    for span in &mut rows.answer_span {
        *span = span.filter(|(_, end)| *end <= longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(texts: &[&str]) -> Said {
        Said {
            text: texts.iter().map(|text| (*text).to_owned()).collect(),
            ..Said::default()
        }
    }

    #[test]
    fn where_room_is_short_wrong_rows_keep_their_texts_and_of_these_the_surest() {
        let mut rows = PageRows {
            wrong: vec![false, true, true, false],
            ..PageRows::default()
        };
        let all = said(&["aaaa", "bbbb", "cccc", "dddd"]);
        assert_eq!(pack(&mut rows, &all, &[0.9, 0.2, 0.8, 0.9], 8), 2);
        assert_eq!(rows.strings, ["cccc", "bbbb"]);
        assert_eq!(rows.text, [None, Some(1), Some(0), None]);
        assert!(rows.pair.is_empty());
    }

    #[test]
    fn a_context_is_there_once_and_marks_beyond_its_end_are_not() {
        let long = "ä".repeat(LONGEST + 1);
        let mut rows = PageRows {
            wrong: vec![true, false],
            answer_span: vec![Some((0, 3)), Some((4_999, 5_001))],
            right_entities: vec![vec![(4_990, 5_001, 0, "missed"), (0, 1, 0, "correct")]],
            ..PageRows::default()
        };
        let all = Said {
            pair: Some(vec![long.clone(), long]),
            ..said(&["which?", "what?"])
        };
        assert_eq!(pack(&mut rows, &all, &[], ROOM), 0);
        assert_eq!(rows.pair, [Some(1), Some(1)]);
        assert_eq!(rows.strings.len(), 3);
        assert_eq!(rows.strings[1].chars().count(), LONGEST);
        assert_eq!(rows.answer_span, [Some((0, 3)), None]);
        assert_eq!(rows.right_entities, [[(0, 1, 0, "correct")]]);
    }
}
