//! The rows of one file, values as written: places in one text, so that a file is in memory once.
//!
//! Readers either fill a [`Raw`] by whole columns or add it [`Row`] by [`Row`]; then a row that is broken in itself can be
//! left out, and what was left out is counted. A row keeps the number that it has in its file.
//!
//! Deliberately absent: files, formats, and what the values mean.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Answer;
use super::error::{Place, Spot, TableError};
use super::moment::Moment;
use super::shape::Places;

/// What the rows of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Texts or pairs of texts.
    Texts,
    /// Sentences cut into words.
    Words,
    /// Questions, each with the context that may answer it.
    Questions,
}

impl Kind {
    /// For messages.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Texts => "texts",
            Kind::Words => "sentences of tokens",
            Kind::Questions => "questions with contexts",
        }
    }
}

/// Of how many rows that were left out for one reason the numbers are kept.
pub(super) const NUMBERS_KEPT: usize = 20;

/// Rows that were left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub rows: usize,
    /// Where the first of them is.
    pub first: Place,
    /// The numbers in the file of the first ones.
    pub numbers: Vec<usize>,
}

/// The rows of one file, labels and tags as written.
#[derive(Debug, Clone)]
pub struct Raw {
    pub file: PathBuf,
    pub kind: Kind,
    /// How many columns the file has, where they have no names.
    pub unnamed_width: Option<usize>,
    /// The column of labels or tags as messages name it.
    pub label_column: String,
    /// The broken rows that were left out, by what is wrong with them.
    pub skipped: BTreeMap<&'static str, Skipped>,
    /// How many rows were left out because they are not wanted, whatever is in them.
    pub unwanted: usize,
    /// How many rows are counted and no more.
    pub(super) passed: usize,
    pub(super) places: Places,
    /// The number in the file of each row, once a row was left out.
    pub(super) kept: Option<Vec<usize>>,
    /// Whether a row's words stand on lines of their own, one after the other.
    pub(super) word_lines: bool,
    /// What the places below are in.
    pub(super) contents: String,
    pub(super) text: Vec<Range<usize>>,
    pub(super) text_pair: Option<Vec<Range<usize>>>,
    pub(super) label: Option<Vec<Range<usize>>>,
    pub(super) labels: Option<Lists>,
    pub(super) target: Option<Vec<Vec<f64>>>,
    pub(super) words: Option<Lists>,
    pub(super) tags: Option<Lists>,
    pub(super) answers: Option<Vec<Vec<Answer<Range<usize>>>>>,
    pub(super) name: Option<Vec<Range<usize>>>,
    /// Further columns, by what they are called.
    pub(super) further: Vec<(String, Vec<Range<usize>>)>,
    pub(super) group: Option<Vec<Range<usize>>>,
    pub(super) time: Option<Vec<Moment>>,
}

/// Lists of places, a list for each row, end to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lists {
    items: Vec<Range<usize>>,
    ends: Vec<usize>,
}

impl Lists {
    pub(super) fn push(&mut self, items: impl IntoIterator<Item = Range<usize>>) {
        self.items.extend(items);
        self.ends.push(self.items.len());
    }

    fn rows(&self) -> impl ExactSizeIterator<Item = &[Range<usize>]> {
        self.ends.iter().enumerate().map(|(row, &end)| {
            let start = row.checked_sub(1).and_then(|row| self.ends.get(row));
            self.items
                .get(start.copied().unwrap_or(0)..end)
                .unwrap_or_default()
        })
    }

    fn keep(&mut self, stays: &[bool]) {
        let mut kept = Lists::default();
        for (items, _) in self.rows().zip(stays).filter(|(_, stays)| **stays) {
            kept.push(items.iter().cloned());
        }
        *self = kept;
    }
}

/// One row on its way into a [`Raw`]. The rows of a file all have the same fields.
#[derive(Debug, Default)]
pub(super) struct Row<'c> {
    /// Ignored where there are `words`.
    pub(super) text: Cow<'c, str>,
    pub(super) text_pair: Option<Cow<'c, str>>,
    pub(super) label: Option<Cow<'c, str>>,
    pub(super) labels: Option<Vec<Cow<'c, str>>>,
    pub(super) target: Option<Vec<f64>>,
    pub(super) words: Option<Vec<Cow<'c, str>>>,
    pub(super) tags: Option<Vec<Cow<'c, str>>>,
    pub(super) answers: Option<Vec<Answer<Cow<'c, str>>>>,
    pub(super) name: Option<Cow<'c, str>>,
    /// A value for each further column, in their order.
    pub(super) further: Vec<Cow<'c, str>>,
    pub(super) group: Option<Cow<'c, str>>,
    pub(super) time: Option<Moment>,
}

impl Raw {
    pub(super) fn empty(file: &Path, kind: Kind, places: Places) -> Self {
        Raw {
            file: file.to_owned(),
            kind,
            unnamed_width: None,
            label_column: String::new(),
            skipped: BTreeMap::new(),
            unwanted: 0,
            passed: 0,
            places,
            kept: None,
            word_lines: false,
            contents: String::new(),
            text: Vec::new(),
            text_pair: None,
            label: None,
            labels: None,
            target: None,
            words: None,
            tags: None,
            answers: None,
            name: None,
            further: Vec::new(),
            group: None,
            time: None,
        }
    }

    pub fn len(&self) -> usize {
        self.text.len()
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// How many rows were left out as broken.
    pub fn left_out(&self) -> usize {
        self.skipped.values().map(|skipped| skipped.rows).sum()
    }

    /// How many rows the file has, those that were left out among them.
    pub fn rows_of_file(&self) -> usize {
        self.len() + self.left_out() + self.unwanted + self.passed
    }

    /// The number of each row in its file, from 0.
    pub fn numbers(&self) -> impl ExactSizeIterator<Item = usize> {
        (0..self.len()).map(|row| self.number(row))
    }

    fn number(&self, row: usize) -> usize {
        let number = self.kept.as_ref().and_then(|kept| kept.get(row));
        number.copied().unwrap_or(row)
    }

    /// Where a row stands.
    pub fn place(&self, row: usize) -> Place {
        self.places.of(&self.file, self.number(row))
    }

    /// Where one of a row's words, tags or labels stands: on a line of its own, or with its row.
    pub fn place_of(&self, row: usize, item: usize) -> Place {
        let place = self.place(row);
        match place.spot {
            Spot::Line(line) if self.word_lines => Place::line(&self.file, line + item),
            _ => place,
        }
    }

    /// Whether [`place_of`](Raw::place_of) tells the items of a row apart.
    pub fn has_word_lines(&self) -> bool {
        self.word_lines
    }

    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.at(&self.text)
    }

    pub fn text_pairs(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        self.text_pair.as_ref().map(|places| self.at(places))
    }

    /// The one label of each row. Integers in decimal, `true` and `false` for booleans.
    pub fn labels(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        self.label.as_ref().map(|places| self.at(places))
    }

    /// The labels of each row that may have several, as written.
    pub fn label_lists(&self) -> Option<impl ExactSizeIterator<Item = Vec<&str>>> {
        self.labels.as_ref().map(|lists| self.lists(lists))
    }

    pub fn targets(&self) -> Option<&[Vec<f64>]> {
        self.target.as_deref()
    }

    pub fn words(&self) -> Option<impl ExactSizeIterator<Item = Vec<&str>>> {
        self.words.as_ref().map(|lists| self.lists(lists))
    }

    pub fn tags(&self) -> Option<impl ExactSizeIterator<Item = Vec<&str>>> {
        self.tags.as_ref().map(|lists| self.lists(lists))
    }

    pub fn answers(&self) -> Option<impl ExactSizeIterator<Item = Vec<Answer<&str>>>> {
        let answer = |answer: &Answer<Range<usize>>| Answer {
            start: answer.start,
            text: self.contents.get(answer.text.clone()).unwrap_or_default(),
        };
        let row = move |answers: &Vec<_>| answers.iter().map(answer).collect();
        self.answers.as_ref().map(|rows| rows.iter().map(row))
    }

    /// What the file calls each row.
    pub fn names(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        self.name.as_ref().map(|places| self.at(places))
    }

    /// The further columns, by what they are called.
    pub fn further(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        let columns = self.further.iter();
        columns.map(|(name, places)| (name.as_str(), self.at(places).collect()))
    }

    /// What each row belongs to, as it is written.
    pub fn groups(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        self.group.as_ref().map(|places| self.at(places))
    }

    pub fn times(&self) -> Option<&[Moment]> {
        self.time.as_deref()
    }

    /// Whether the rows have each of the fields that may be absent, with its name for messages.
    pub fn has(&self) -> [(&'static str, bool); 7] {
        [
            ("labels", self.label.is_some()),
            ("text pairs", self.text_pair.is_some()),
            ("lists of labels", self.labels.is_some()),
            ("numbers to predict", self.target.is_some()),
            ("tags", self.tags.is_some()),
            ("answers", self.answers.is_some()),
            ("ids", self.name.is_some()),
        ]
    }

    fn at<'a>(&'a self, places: &'a [Range<usize>]) -> impl ExactSizeIterator<Item = &'a str> {
        let text = |place: &Range<usize>| self.contents.get(place.clone()).unwrap_or_default();
        places.iter().map(text)
    }

    fn lists<'a>(&'a self, lists: &'a Lists) -> impl ExactSizeIterator<Item = Vec<&'a str>> {
        lists.rows().map(|places| self.at(places).collect())
    }

    /// Takes in the row that has this number in the file. A row that is broken in itself is left out, if that is allowed.
    ///
    /// # Errors
    /// What is wrong with the row, where it cannot be left out.
    pub(super) fn add(
        &mut self,
        number: usize,
        row: Result<Row<'_>, TableError>,
        skip: bool,
    ) -> Result<(), TableError> {
        match row {
            Ok(row) => {
                if let Some(kept) = &mut self.kept {
                    kept.push(number);
                }
                self.push(row);
                Ok(())
            }
            Err(error) if skip => {
                self.count(number, error)?;
                self.pass_over();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The next row of the file is not wanted.
    pub(super) fn add_unwanted(&mut self) {
        self.unwanted += 1;
        self.pass_over();
    }

    /// From here on, rows have not the numbers of their order.
    fn pass_over(&mut self) {
        let rows = self.text.len();
        self.kept.get_or_insert_with(|| (0..rows).collect());
    }

    /// Leaves out the rows with these numbers, each for the error beside it.
    ///
    /// # Errors
    /// An error that is not about one row.
    pub fn leave_out(
        &mut self,
        broken: impl IntoIterator<Item = (usize, TableError)>,
    ) -> Result<(), TableError> {
        let mut stays = vec![true; self.len()];
        let mut broken_ones = Vec::new();
        for (row, error) in broken {
            if let Some(stays) = stays.get_mut(row).filter(|stays| **stays) {
                *stays = false;
                broken_ones.push((row, error));
            }
        }
        for (row, error) in broken_ones {
            self.count(self.number(row), error)?;
        }
        self.retain(&stays);
        Ok(())
    }

    /// Leaves out, as unwanted, the rows that do not stay.
    pub fn keep(&mut self, stays: &[bool]) {
        let before = self.len();
        self.retain(stays);
        self.unwanted += before - self.len();
    }

    pub(super) fn retain(&mut self, stays: &[bool]) {
        fn keep<T>(from: &mut Vec<T>, stays: &[bool]) {
            let mut stays = stays.iter();
            from.retain(|_| stays.next().copied().unwrap_or(true));
        }
        let mut numbers = self.numbers().collect();
        keep(&mut numbers, stays);
        self.kept = Some(numbers);
        keep(&mut self.text, stays);
        for places in [
            &mut self.text_pair,
            &mut self.label,
            &mut self.name,
            &mut self.group,
        ] {
            places.iter_mut().for_each(|places| keep(places, stays));
        }
        for (_, places) in &mut self.further {
            keep(places, stays);
        }
        for lists in [&mut self.labels, &mut self.words, &mut self.tags] {
            lists.iter_mut().for_each(|lists| lists.keep(stays));
        }
        let targets = self.target.iter_mut();
        targets.for_each(|targets| keep(targets, stays));
        let answers = self.answers.iter_mut();
        answers.for_each(|answers| keep(answers, stays));
        let times = self.time.iter_mut();
        times.for_each(|times| keep(times, stays));
    }

    /// Adds rows of labels alone, whose lines are listed. Rows of other columns keep what they have.
    pub(super) fn join(&mut self, more: Raw) {
        fn add<T>(to: &mut Option<Vec<T>>, more: Option<Vec<T>>) {
            if let (Some(to), Some(more)) = (to, more) {
                to.extend(more);
            }
        }
        let shift = self.contents.len();
        let moved = |place: Range<usize>| shift + place.start..shift + place.end;
        let all = |places: Option<Vec<_>>| -> Option<Vec<_>> {
            Some(places?.into_iter().map(moved).collect())
        };
        self.contents.push_str(&more.contents);
        if let (Places::Listed(lines), Places::Listed(more)) = (&mut self.places, more.places) {
            lines.extend(more);
        }
        self.text.extend(more.text.into_iter().map(moved));
        add(&mut self.text_pair, all(more.text_pair));
        add(&mut self.label, all(more.label));
        add(&mut self.name, all(more.name));
        for ((_, to), (_, more)) in self.further.iter_mut().zip(more.further) {
            to.extend(more.into_iter().map(moved));
        }
        add(&mut self.target, more.target);
        if let (Some(lists), Some(more)) = (&mut self.labels, more.labels) {
            for list in more.rows() {
                lists.push(list.iter().cloned().map(moved));
            }
        }
    }

    /// Puts another label or tag in the place of each that `others` has. Returns those of its keys that were met.
    pub fn rename_labels<'o>(&mut self, others: &'o BTreeMap<String, String>) -> BTreeSet<&'o str> {
        if others.is_empty() {
            return BTreeSet::new();
        }
        let Raw {
            contents,
            label,
            labels,
            tags,
            ..
        } = self;
        let mut new = HashMap::<&str, Range<usize>>::new();
        let lists = [labels, tags].into_iter().flatten();
        let items = lists.flat_map(|lists| &mut lists.items);
        for place in label.iter_mut().flatten().chain(items) {
            let written = contents.get(place.clone()).unwrap_or_default();
            if let Some((written, other)) = others.get_key_value(written) {
                let other = new
                    .entry(written)
                    .or_insert_with(|| append(contents, other));
                *place = other.clone();
            }
        }
        new.into_keys().collect()
    }

    fn count(&mut self, number: usize, error: TableError) -> Result<(), TableError> {
        let (Some(reason), Some(place)) = (error.of_one_row(), error.place()) else {
            return Err(error);
        };
        let first = || Skipped {
            rows: 0,
            first: place.clone(),
            numbers: Vec::new(),
        };
        let skipped = self.skipped.entry(reason).or_insert_with(first);
        skipped.rows += 1;
        if skipped.numbers.len() < NUMBERS_KEPT {
            skipped.numbers.push(number);
        }
        Ok(())
    }

    fn push(&mut self, row: Row<'_>) {
        let contents = &mut self.contents;
        match row.words {
            Some(words) => {
                let start = contents.len();
                let mut places = Vec::with_capacity(words.len());
                for (number, word) in words.iter().enumerate() {
                    if number > 0 {
                        contents.push(' ');
                    }
                    places.push(append(contents, word));
                }
                self.text.push(start..contents.len());
                self.words.get_or_insert_default().push(places);
            }
            None => self.text.push(append(contents, &row.text)),
        }
        if let Some(pair) = row.text_pair {
            let pairs = self.text_pair.get_or_insert_default();
            // The questions about one context mostly follow each other.
            let last = pairs.last().filter(|&place| {
                let last = contents.get(place.clone());
                last.is_some_and(|last| last == pair)
            });
            let place = last.cloned();
            pairs.push(place.unwrap_or_else(|| append(contents, &pair)));
        }
        let mut one = |text: Option<Cow<str>>, to: &mut Option<Vec<_>>| {
            if let Some(text) = text {
                to.get_or_insert_default().push(append(contents, &text));
            }
        };
        one(row.label, &mut self.label);
        one(row.name, &mut self.name);
        one(row.group, &mut self.group);
        for ((_, places), value) in self.further.iter_mut().zip(&row.further) {
            places.push(append(contents, value));
        }
        for (items, to) in [(row.labels, &mut self.labels), (row.tags, &mut self.tags)] {
            if let Some(items) = items {
                let items = items.iter().map(|item| append(contents, item));
                to.get_or_insert_default().push(items);
            }
        }
        if let Some(time) = row.time {
            self.time.get_or_insert_default().push(time);
        }
        if let Some(target) = row.target {
            self.target.get_or_insert_default().push(target);
        }
        if let Some(answers) = row.answers {
            let place = |answer: Answer<Cow<str>>| Answer {
                start: answer.start,
                text: append(contents, &answer.text),
            };
            let answers = answers.into_iter().map(place).collect();
            self.answers.get_or_insert_default().push(answers);
        }
    }
}

/// Puts a text behind the others, and says where it is.
pub(super) fn append(contents: &mut String, text: &str) -> Range<usize> {
    let start = contents.len();
    contents.push_str(text);
    start..contents.len()
}

#[cfg(test)]
mod tests;
