//! A column's first values → what could be in it.
//!
//! Fields of delimited text are all text; what they look like counts. A value that is missing or empty says nothing.
//!
//! Deliberately absent: what the column is for, which the other columns have a say in.

use std::collections::{BTreeMap, BTreeSet};

use crate::table::Cell;
use crate::table::peek::Peeked;
use crate::table::read::Column;

use super::names;

/// What all values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    Nothing,
    Text,
    Integers,
    /// Numbers, some with a fraction.
    Fractions,
    Booleans,
    /// Lists of texts.
    Words,
    /// Lists of integers.
    Numbers,
    /// Answers with their starts.
    Answers,
    /// Something else, or now this and now that.
    Other,
}

/// A column, looked at.
#[derive(Debug)]
pub(super) struct Profile<'p> {
    pub(super) peeked: &'p Peeked,
    pub(super) looks: Looks,
    /// In lower case; empty where the file names no columns.
    pub(super) name: String,
    /// How many rows have a value.
    pub(super) filled: usize,
    /// How many different values there are.
    pub(super) distinct: usize,
    /// Mean number of words of a text.
    pub(super) words: f64,
    /// Mean number of bytes of a text.
    pub(super) length: f64,
}

/// A column repeats its values when each stands in so many rows on average.
const REPEATED: usize = 2;
/// More classes than a model should tell apart without being told so.
const MANY_CLASSES: usize = 1000;
/// A label is no longer, in words.
const WORDS_OF_LABEL: f64 = 6.0;
/// Different integers from which on they are taken for numbers on a scale: with names that say so, and without.
const SCALE: usize = 10;
const LONG_SCALE: usize = 50;
/// What may stand between the labels of a row.
const SEPARATORS: [&str; 3] = [",", "|", ";"];
const LONGEST_LABEL: usize = 60;

impl<'p> Profile<'p> {
    pub(super) fn of(peeked: &'p Peeked) -> Profile<'p> {
        let filled: Vec<&Cell> = peeked
            .cells
            .iter()
            .filter(|cell| !is_missing(cell))
            .collect();
        let texts: Vec<&str> = filled.iter().filter_map(|cell| as_text(cell)).collect();
        let distinct: BTreeSet<String> = filled.iter().filter_map(|cell| written(cell)).collect();
        let mean = |of: &dyn Fn(&str) -> usize| {
            let sum: usize = texts.iter().map(|text| of(text)).sum();
            sum as f64 / texts.len().max(1) as f64
        };
        let name = match &peeked.column {
            Column::Name(name) => name.trim().to_lowercase(),
            Column::Number(_) => String::new(),
        };
        Profile {
            peeked,
            looks: looks(&filled),
            name,
            filled: filled.len(),
            distinct: distinct.len(),
            words: mean(&|text| text.split_whitespace().count()),
            length: mean(&str::len),
        }
    }

    pub(super) fn column(&self) -> Column {
        self.peeked.column.clone()
    }

    pub(super) fn is_named(&self) -> bool {
        matches!(self.peeked.column, Column::Name(_))
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.is_named() && self.name == name
    }

    pub(super) fn is_called_one_of(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is_called(name))
    }

    /// Whether it only tells rows apart.
    pub(super) fn is_id(&self) -> bool {
        let by_name = self.is_called_one_of(names::IDS) || self.name.ends_with("_id");
        let all_differ = self.distinct == self.filled && self.filled > 1;
        match self.looks {
            Looks::Integers => by_name || (all_differ && self.counts_up()),
            Looks::Text => by_name || (all_differ && self.words <= 1.0 && self.filled >= 10),
            _ => false,
        }
    }

    /// Whether each integer is larger than the one before.
    fn counts_up(&self) -> bool {
        let numbers: Vec<i64> = self.peeked.cells.iter().filter_map(as_integer).collect();
        numbers.is_sorted_by(|a, b| a < b)
    }

    /// Whether it could be a class: few values, each again and again.
    pub(super) fn is_repeated(&self) -> bool {
        let kind = matches!(self.looks, Looks::Text | Looks::Integers | Looks::Booleans);
        let few = self.distinct <= MANY_CLASSES && self.distinct * REPEATED <= self.filled;
        kind && few && self.distinct >= 2 && self.is_short()
    }

    /// Whether its values are no longer than labels are.
    pub(super) fn is_short(&self) -> bool {
        self.looks != Looks::Text || self.words <= WORDS_OF_LABEL
    }

    /// Whether its numbers are to be predicted as numbers.
    pub(super) fn is_scale(&self) -> bool {
        let named = self.is_called_one_of(names::SCALES);
        match self.looks {
            Looks::Fractions => true,
            Looks::Integers if named => self.distinct > SCALE,
            Looks::Integers if self.is_called_one_of(names::LABELS) => false,
            Looks::Integers => self.distinct > LONG_SCALE && !self.is_id(),
            _ => false,
        }
    }

    /// What stands between the labels of a row, if some rows have several.
    pub(super) fn separator(&self) -> Option<&'static str> {
        if self.looks != Looks::Text {
            return None;
        }
        let values = self.peeked.cells.iter().filter_map(as_text);
        let values: Vec<&str> = values.filter(|value| !value.trim().is_empty()).collect();
        SEPARATORS.into_iter().find(|separator| {
            let several = values.iter().filter(|value| value.contains(separator));
            if several.count() == 0 {
                return false;
            }
            let mut labels = BTreeMap::<&str, usize>::new();
            for label in values.iter().flat_map(|value| value.split(separator)) {
                *labels.entry(label.trim()).or_default() += 1;
            }
            let sound = |label: &&str| !label.is_empty() && label.len() <= LONGEST_LABEL;
            let all: usize = labels.values().sum();
            labels.keys().all(sound)
                && labels.len() <= MANY_CLASSES
                // Else what looks like several is the name of one.
                && labels.len() < self.distinct
                && labels.len() * REPEATED <= all
        })
    }

    /// The labels of all rows, end to end, as they are written.
    pub(super) fn labels(&self, separator: Option<&str>) -> Vec<String> {
        let cells = self.peeked.cells.iter();
        let labels = cells.flat_map(|cell| match (cell, separator) {
            (Cell::List(items), _) => items.iter().filter_map(written).collect(),
            (Cell::Text(text), Some(separator)) => {
                let labels = text.split(separator).map(str::trim);
                labels.map(str::to_owned).collect::<Vec<_>>()
            }
            _ => written(cell).into_iter().collect(),
        });
        labels.filter(|label| !label.is_empty()).collect()
    }

    /// A value, cut short, for messages.
    pub(super) fn example(&self) -> Option<String> {
        const SHOWN: usize = 40;
        let value = self.peeked.cells.iter().find(|cell| !is_missing(cell))?;
        let shown = match value {
            Cell::List(items) => {
                let items = items.iter().take(3).filter_map(written);
                format!("[{}, …]", items.collect::<Vec<_>>().join(", "))
            }
            Cell::Object(fields) => {
                let names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
                format!("{{{}}}", names.join(", "))
            }
            _ => written(value)?,
        };
        let shown: String = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(match shown.chars().count() > SHOWN {
            true => shown.chars().take(SHOWN).chain(['…']).collect(),
            false => shown,
        })
    }
}

/// Whether a cell has no value.
pub(super) fn is_missing(cell: &Cell) -> bool {
    match cell {
        Cell::Null => true,
        Cell::Text(text) => text.trim().is_empty(),
        _ => false,
    }
}

pub(super) fn as_text<'c>(cell: &'c Cell) -> Option<&'c str> {
    match cell {
        Cell::Text(text) => Some(text),
        _ => None,
    }
}

fn as_integer(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Integer(value) => Some(*value),
        Cell::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// A single value as labels are written; nothing for lists and objects.
fn written(cell: &Cell) -> Option<String> {
    Some(match cell {
        Cell::Boolean(value) => value.to_string(),
        Cell::Integer(value) => value.to_string(),
        Cell::Float(value) => format!("{value:?}"),
        Cell::Text(text) => text.clone().into_owned(),
        Cell::Null | Cell::Time(_) | Cell::List(_) | Cell::Object(_) | Cell::Other(_) => {
            return None;
        }
    })
}

fn looks(filled: &[&Cell]) -> Looks {
    let all = |is: &dyn Fn(&Cell) -> bool| filled.iter().all(|cell| is(cell));
    let items = |is: fn(&Cell) -> bool| {
        all(&|cell| matches!(cell, Cell::List(items) if items.iter().all(is)))
    };
    let number = |cell: &Cell| match cell {
        Cell::Integer(_) => true,
        Cell::Float(value) => value.is_finite(),
        Cell::Text(text) => text.parse::<f64>().is_ok_and(f64::is_finite),
        _ => false,
    };
    match () {
        () if filled.is_empty() => Looks::Nothing,
        () if all(&|cell| as_integer(cell).is_some()) => Looks::Integers,
        () if all(&number) => Looks::Fractions,
        () if all(&|cell| matches!(cell, Cell::Boolean(_))) => Looks::Booleans,
        () if all(&|cell| matches!(cell, Cell::Text(_))) => Looks::Text,
        () if items(|item| matches!(item, Cell::Text(_))) => Looks::Words,
        () if items(|item| matches!(item, Cell::Integer(_))) => Looks::Numbers,
        () if all(&is_answers) => Looks::Answers,
        () => Looks::Other,
    }
}

/// `{"text": […], "answer_start": […]}`, or a list of `{"text": …, "answer_start": …}`.
fn is_answers(cell: &Cell) -> bool {
    let has_both = |cell: &Cell| match cell {
        Cell::Object(fields) => ["text", "answer_start"]
            .iter()
            .all(|wanted| fields.iter().any(|(name, _)| name == wanted)),
        _ => false,
    };
    match cell {
        Cell::List(items) => items.iter().all(has_both),
        other => has_both(other),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn column(cells: Vec<Cell<'static>>) -> Peeked {
        Peeked {
            column: Column::Name("x".to_owned()),
            cells,
        }
    }

    fn texts(texts: &[&'static str]) -> Peeked {
        column(
            texts
                .iter()
                .map(|text| Cell::Text(Cow::Borrowed(*text)))
                .collect(),
        )
    }

    #[test]
    fn values_are_what_all_of_them_look_like() {
        let looks = |peeked: &Peeked| Profile::of(peeked).looks;
        assert_eq!(looks(&texts(&["1", "", "22"])), Looks::Integers);
        assert_eq!(looks(&texts(&["1", "2.5"])), Looks::Fractions);
        assert_eq!(looks(&texts(&["1", "nan"])), Looks::Text);
        assert_eq!(looks(&texts(&["", " "])), Looks::Nothing);
        let list = |items| column(vec![Cell::List(items), Cell::List(Vec::new())]);
        assert_eq!(looks(&list(vec![Cell::Integer(1)])), Looks::Numbers);
        assert_eq!(looks(&list(vec![Cell::Text("a".into())])), Looks::Words);
        let mixed = column(vec![Cell::Integer(1), Cell::Text("a".into())]);
        assert_eq!(looks(&mixed), Looks::Other);
        let field = |name: &'static str| (Cow::Borrowed(name), Cell::List(Vec::new()));
        let answers = Cell::Object(vec![field("text"), field("answer_start")]);
        assert_eq!(looks(&column(vec![answers])), Looks::Answers);
    }

    #[test]
    fn several_labels_are_told_from_one_with_a_comma_in_its_name() {
        let several = texts(&["1", "2", "1,2", "3", "3,1", "2", "1"]);
        assert_eq!(Profile::of(&several).separator(), Some(","));
        let piped = texts(&["a|b", "a", "b", "b|a", "a", "b"]);
        assert_eq!(Profile::of(&piped).separator(), Some("|"));
        let one = texts(&[
            "tools, hand",
            "tools, power",
            "garden",
            "garden",
            "tools, hand",
        ]);
        assert_eq!(Profile::of(&one).separator(), None);
        let prose = texts(&["so, it is", "well, no", "it rains, again", "never"]);
        assert_eq!(Profile::of(&prose).separator(), None);
        assert_eq!(
            Profile::of(&several).labels(Some(",")),
            ["1", "2", "1", "2", "3", "3", "1", "2", "1"]
        );
    }

    #[test]
    fn ids_tell_rows_apart_and_labels_do_not() {
        let counted = column((0..30).map(Cell::Integer).collect());
        assert!(Profile::of(&counted).is_id());
        assert!(!Profile::of(&counted).is_repeated());
        let classes = column((0..30).map(|n| Cell::Integer(n % 5)).collect());
        assert!(Profile::of(&classes).is_repeated());
        assert!(!Profile::of(&classes).is_id() && !Profile::of(&classes).is_scale());
        let scale = column((0..300).map(|n| Cell::Integer(n * 7 % 101)).collect());
        assert!(Profile::of(&scale).is_scale());
    }
}
