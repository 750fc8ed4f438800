//! Tagged words: which entities are right, and what became of the others.
//!
//! The text of a row is its words with a space between, as everywhere. A row is wrong if one of its entities is missed,
//! spurious or not exact, and as sure as its least sure word. Where tags mark no chunks, it is wrong if one of its tags is, and
//! each word with a wrong tag is shown as an entity of its own.
//!
//! Deliberately absent: the rule by which entities are paired, which is that of the scores
//! ([`pairings`](crate::metrics::pairings)).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::evaluation::{PageLabel, PageRows};
use super::answered::{Answered, by_label, confused};
use crate::metrics::{Entity, Fate, Scheme, entities, pairings};
use crate::table::NamedColumns;

/// (start, end, label, kind)
type Marked = (u32, u32, u16, &'static str);

pub(super) fn token_classification(
    columns: &NamedColumns,
    scheme: Option<Scheme>,
) -> Option<Answered> {
    let (right, answered) = (columns.lists("tags")?, columns.lists("predicted")?);
    let words = columns.lists("words")?;
    let sureness = columns.float_lists("probability");
    let scores = entities(&right, &answered, scheme);
    let labels: Vec<String> = scores.types.keys().cloned().collect();
    let numbers: BTreeMap<&str, u16> = labels.iter().map(String::as_str).zip(0..).collect();
    let number = |kind: &str| numbers.get(kind).copied().unwrap_or(u16::MAX);

    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut pairs = vec![vec![0_u64; labels.len()]; labels.len()];
    let (mut right_entities, mut found_entities) = (Vec::new(), Vec::new());
    let mut wrong = Vec::new();
    for ((right, answered), words) in right.iter().zip(&answered).zip(&words) {
        let places = places_of(words);
        let mark = |entity: &Entity, fate: Fate| -> Option<Marked> {
            let (start, _) = *places.get(entity.start)?;
            let (_, end) = *places.get(entity.end.checked_sub(1)?)?;
            Some((start, end, number(entity.kind), fate.name()))
        };
        let (mut own, mut said): (Vec<Marked>, Vec<Marked>) = (Vec::new(), Vec::new());
        if scheme.is_some() {
            let (truth, found) = (Entity::find(right), Entity::find(answered));
            let pairings = pairings(&truth, &found);
            wrong.push(pairings.iter().any(|one| one.fate != Fate::Correct));
            for pairing in pairings {
                *counts.entry(pairing.fate.name()).or_default() += 1;
                let true_one = pairing.truth.and_then(|place| truth.get(place));
                let found_one = pairing.predicted.and_then(|place| found.get(place));
                own.extend(true_one.and_then(|entity| mark(entity, pairing.fate)));
                said.extend(found_one.and_then(|entity| mark(entity, pairing.fate)));
                if let (Some(a), Some(b)) = (true_one, found_one) {
                    count(&mut pairs, number(a.kind), number(b.kind));
                }
            }
        } else {
            wrong.push(right != answered);
            for (place, (right, answered)) in right.iter().zip(answered).enumerate() {
                count(&mut pairs, number(right), number(answered));
                if right != answered {
                    let word = |kind| Entity {
                        start: place,
                        end: place + 1,
                        kind,
                    };
                    own.extend(mark(&word(right), Fate::Type));
                    said.extend(mark(&word(answered), Fate::Type));
                }
            }
        }
        own.sort_unstable();
        said.sort_unstable();
        right_entities.push(own);
        found_entities.push(said);
    }
    let per_label: Vec<PageLabel> = (0..)
        .zip(scores.types.values())
        .map(|(label, one)| PageLabel {
            label,
            precision: one.precision,
            recall: one.recall,
            f1: one.f1,
            support: one.support,
        })
        .collect();
    let support: Vec<u64> = per_label.iter().map(|label| label.support).collect();
    let of_rows = |entities: &[Vec<Marked>]| -> Vec<Vec<u16>> {
        let of_row = |row: &Vec<Marked>| row.iter().map(|(_, _, label, _)| *label).collect();
        entities.iter().map(of_row).collect()
    };
    let fates = [
        Fate::Correct,
        Fate::Type,
        Fate::Boundary,
        Fate::Both,
        Fate::Missed,
        Fate::Spurious,
    ];
    let told = fates.map(|fate| {
        let count = counts.get(fate.name()).copied().unwrap_or_default();
        (fate.name().to_owned(), Value::from(count))
    });
    let slices = match scheme {
        Some(_) => by_label(&labels, of_rows(&right_entities).iter().map(Vec::as_slice)),
        None => {
            let tags = right
                .iter()
                .map(|tags| tags.iter().map(|tag| number(tag)).collect());
            let tags: Vec<Vec<u16>> = tags.collect();
            by_label(&labels, tags.iter().map(Vec::as_slice))
        }
    };
    let mut answer = Answered {
        task: "token_classification",
        texts: Some(words.iter().map(|words| words.join(" ")).collect()),
        slices,
        per_label,
        confused: confused(&pairs, &support),
        entity_errors: match scheme {
            Some(_) => told.into_iter().collect(),
            None => Map::new(),
        },
        rows: PageRows {
            wrong,
            right_entities,
            found_entities,
            ..PageRows::default()
        },
        labels,
        ..Answered::default()
    };
    if let Some(sureness) = sureness {
        let least = |row: &Vec<f32>| row.iter().copied().fold(1.0, f32::min);
        answer.sure = sureness.iter().map(|row| f64::from(least(row))).collect();
        let (mut is_right, mut sure) = (Vec::new(), Vec::new());
        for ((right, answered), sureness) in right.iter().zip(&answered).zip(sureness) {
            is_right.extend(right.iter().zip(answered).map(|(a, b)| a == b));
            sure.extend(sureness.iter().copied().map(f64::from));
        }
        answer.calibrate(&is_right, &sure);
        let what = match scheme {
            Some(_) => "one of its entities is missed, spurious or not exact",
            None => "one of its tags is",
        };
        answer.notes.push(format!(
            "a row is wrong if {what}, and as sure as its least sure word; calibration is that of words"
        ));
    }
    Some(answer)
}

fn count(pairs: &mut [Vec<u64>], right: u16, answered: u16) {
    let row = pairs.get_mut(usize::from(right));
    if let Some(cell) = row.and_then(|row| row.get_mut(usize::from(answered))) {
        *cell += 1;
    }
}

/// Where words stand in the text that has one space between them, in characters.
fn places_of(words: &[&str]) -> Vec<(u32, u32)> {
    let mut next = 0;
    let place = |word: &&str| {
        let start = next;
        let end = start + word.chars().count() as u32;
        next = end + 1;
        (start, end)
    };
    words.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Cells;

    fn tagged(right: &[&[&str]], predicted: &[&[&str]]) -> NamedColumns {
        let cells = |rows: &[&[&str]]| {
            let row = |tags: &&[&str]| Some(tags.iter().map(|tag| (*tag).to_owned()).collect());
            Cells::TextLists(rows.iter().map(row).collect())
        };
        NamedColumns(vec![
            ("words".to_owned(), cells(right)),
            ("tags".to_owned(), cells(right)),
            ("predicted".to_owned(), cells(predicted)),
        ])
    }

    #[test]
    fn a_row_whose_entities_are_all_exact_is_right_however_its_tags_are_spelled() {
        let right: [&[&str]; 3] = [&["B-PER", "I-PER", "O"], &["B-PER", "O", "O"], &["O", "O"]];
        let said: [&[&str]; 3] = [&["I-PER", "I-PER", "O"], &["B-LOC", "O", "O"], &["O", "O"]];
        let answered = token_classification(&tagged(&right, &said), Some(Scheme::Bio));
        assert_eq!(answered.unwrap().rows.wrong, [false, true, false]);
    }

    #[test]
    fn of_tags_without_a_scheme_pairs_of_words_are_told_and_no_matrix_of_rows() {
        let right: [&[&str]; 2] = [&["NOUN", "VERB", "NOUN"], &["VERB"]];
        let said: [&[&str]; 2] = [&["NOUN", "NOUN", "VERB"], &["VERB"]];
        let answered = token_classification(&tagged(&right, &said), None).unwrap();
        assert!(answered.confusion.is_empty());
        let pairs = answered.confused.iter();
        let pairs: Vec<_> = pairs.map(|p| (p.right, p.answered, p.count)).collect();
        assert_eq!(pairs, [(0, 1, 1), (1, 0, 1)]);
        assert_eq!(answered.rows.wrong, [true, false]);
    }
}
