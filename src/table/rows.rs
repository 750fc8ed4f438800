//! Cells → rows: what each column of a row must hold, and how it may be written.
//!
//! Deliberately absent: files and formats; texts with at most one label, which are read a whole column at a time.

use std::borrow::Cow;

use super::Answer;
use super::answer::Context;
use super::cell::Cell;
use super::columns::{Found, Gold, Rows, Wanted};
use super::error::{Place, TableError};
use super::moment::Moment;
use super::raw::{Raw, Row};

/// Reads `rows` rows into `raw`. `cell` gives the value of a row (by its number in the file) in a column.
///
/// # Errors
/// The first thing that is wrong; with `skip` the first that makes the file doubtful.
pub(super) fn gather<'c>(
    mut raw: Raw,
    rows: usize,
    wanted: &Wanted,
    skip: bool,
    mut cell: impl FnMut(usize, &Found) -> Result<Cell<'c>, TableError>,
) -> Result<Raw, TableError> {
    raw.label_column = wanted.label_column();
    let further = wanted.keep.iter().map(|(name, _)| name.clone());
    raw.further = further.map(|name| (name, Vec::new())).collect();
    let passes = match &wanted.condition {
        None => None,
        Some((condition, columns)) => {
            let all = columns.iter().map(|found| {
                let cells = (0..rows).map(|number| cell(number, found));
                cells.collect::<Result<Vec<_>, TableError>>()
            });
            let all = all.collect::<Result<Vec<_>, TableError>>()?;
            let place = |number| raw.places.of(&raw.file, number);
            Some(condition.holds(&raw.file, rows, all, wanted.of_text, &place)?)
        }
    };
    for number in 0..rows {
        let passes = passes.as_ref();
        if passes.is_some_and(|passes| passes.get(number) != Some(&true)) {
            raw.add_unwanted();
            continue;
        }
        let place = || raw.places.of(&raw.file, number);
        let row = row(wanted, &place, |found| cell(number, found));
        raw.add(number, row, skip)?;
    }
    Ok(raw)
}

fn row<'c>(
    wanted: &Wanted,
    place: &dyn Fn() -> Place,
    mut cell: impl FnMut(&Found) -> Result<Cell<'c>, TableError>,
) -> Result<Row<'c>, TableError> {
    let mut row = Row::default();
    match &wanted.rows {
        Rows::Texts {
            text,
            text_pair,
            gold,
        } => {
            row.text = At { place, found: text }.text(cell(text)?)?;
            if let Some(found) = text_pair {
                row.text_pair = Some(At { place, found }.text(cell(found)?)?);
            }
            match gold {
                None => {}
                Some(Gold::Label(found)) => {
                    let at = At { place, found };
                    row.label = Some(at.label(cell(found)?, &found.shown)?);
                }
                Some(Gold::Labels { column, separator }) => {
                    let at = At {
                        place,
                        found: column,
                    };
                    row.labels = Some(at.labels(cell(column)?, separator)?);
                }
                Some(Gold::Target(columns)) => {
                    let value = |found| At { place, found }.number(cell(found)?);
                    let values = columns.iter().map(value);
                    row.target = Some(values.collect::<Result<_, TableError>>()?);
                }
            }
        }
        Rows::Words { tokens, tags } => {
            let at = At {
                place,
                found: tokens,
            };
            let words = at.words(cell(tokens)?)?;
            if let Some(found) = tags {
                let tags = At { place, found }.tags(cell(found)?)?;
                if tags.len() != words.len() {
                    return Err(TableError::Uneven {
                        place: place(),
                        tokens: words.len(),
                        tags: tags.len(),
                    });
                }
                row.tags = Some(tags);
            }
            if words.is_empty() {
                return Err(TableError::NoTokens { place: place() });
            }
            row.words = Some(words);
        }
        Rows::Questions {
            question,
            context,
            answers,
        } => {
            let at = |found| At { place, found };
            row.text = at(question).text(cell(question)?)?;
            let text = at(context).text(cell(context)?)?;
            if let Some(found) = answers {
                row.answers = Some(at(found).answers(cell(found)?, &text)?);
            }
            row.text_pair = Some(text);
        }
    }
    if let Some(found) = &wanted.id {
        row.name = Some(At { place, found }.name(cell(found)?)?);
    }
    for (_, found) in &wanted.keep {
        row.further.push(At { place, found }.written(cell(found)?)?);
    }
    if let Some(found) = &wanted.group {
        let cell = cell(found)?;
        let none =
            matches!(&cell, Cell::Null) || matches!(&cell, Cell::Text(text) if text.is_empty());
        row.group = Some(match none && wanted.optional {
            true => Cow::Borrowed(""),
            false => At { place, found }.group(cell)?,
        });
    }
    if let Some(found) = &wanted.time {
        row.time = Some(At { place, found }.time(cell(found)?)?);
    }
    Ok(row)
}

/// A value's place, for what may be wrong with it.
struct At<'a> {
    place: &'a dyn Fn() -> Place,
    found: &'a Found,
}

impl At<'_> {
    /// The column, for messages.
    fn column(&self) -> &str {
        &self.found.shown
    }

    fn item(&self, number: usize) -> String {
        format!("{}, item {}", self.column(), number + 1)
    }

    fn null(&self, column: &str) -> TableError {
        TableError::Null {
            place: (self.place)(),
            column: column.to_owned(),
        }
    }

    fn wrong(
        &self,
        column: &str,
        cell: &Cell,
        wanted: &'static str,
        help: &'static str,
    ) -> TableError {
        TableError::WrongValue {
            place: (self.place)(),
            column: column.into(),
            found: cell.describe().into(),
            wanted,
            help,
        }
    }

    fn text<'c>(&self, cell: Cell<'c>) -> Result<Cow<'c, str>, TableError> {
        match cell {
            Cell::Text(text) => Ok(text),
            Cell::Null => Err(self.null(self.column())),
            other => {
                let help = "name the column that holds the text, or write its values as text";
                Err(self.wrong(self.column(), &other, "text", help))
            }
        }
    }

    fn name<'c>(&self, cell: Cell<'c>) -> Result<Cow<'c, str>, TableError> {
        match cell {
            Cell::Text(text) if !text.is_empty() => Ok(text),
            Cell::Integer(value) => Ok(Cow::Owned(value.to_string())),
            Cell::Null | Cell::Text(_) => Err(self.null(self.column())),
            other => {
                let help = "an id is a text or an integer; without `columns.id` none is read";
                Err(self.wrong(self.column(), &other, "an id", help))
            }
        }
    }

    /// Nothing is an empty text.
    fn written<'c>(&self, cell: Cell<'c>) -> Result<Cow<'c, str>, TableError> {
        match cell {
            Cell::Null => Ok(Cow::Borrowed("")),
            Cell::Text(text) => Ok(text),
            Cell::Integer(value) => Ok(Cow::Owned(value.to_string())),
            Cell::Float(value) => Ok(Cow::Owned(value.to_string())),
            Cell::Boolean(value) => Ok(Cow::Owned(value.to_string())),
            other => {
                let help =
                    "`columns.keep` takes columns of single values: texts, numbers, true or false";
                Err(self.wrong(self.column(), &other, "a single value", help))
            }
        }
    }

    fn group<'c>(&self, cell: Cell<'c>) -> Result<Cow<'c, str>, TableError> {
        match cell {
            Cell::Text(text) if !text.is_empty() => Ok(text),
            Cell::Integer(value) => Ok(Cow::Owned(value.to_string())),
            Cell::Boolean(value) => Ok(Cow::Owned(value.to_string())),
            Cell::Null | Cell::Text(_) => Err(self.null(self.column())),
            other => {
                let help = "`split.group` names a column of texts or integers, like the number of a customer or the name of a document";
                Err(self.wrong(self.column(), &other, "a group", help))
            }
        }
    }

    fn time(&self, cell: Cell) -> Result<Moment, TableError> {
        let (moment, found) = match cell {
            Cell::Time(moment) => return Ok(moment),
            Cell::Null => return Err(self.null(self.column())),
            Cell::Text(text) if text.is_empty() => return Err(self.null(self.column())),
            Cell::Integer(value) => return Ok(Moment::Integer(value)),
            Cell::Float(value) => (Moment::of_number(value), format!("the number {value:?}")),
            Cell::Text(text) => (
                Moment::parse(&text),
                format!("{:?}", text.chars().take(40).collect::<String>()),
            ),
            other => (None, other.describe()),
        };
        moment.ok_or_else(|| TableError::WrongValue {
            place: (self.place)(),
            column: self.column().into(),
            found: found.into(),
            wanted: "a time",
            help: "a time is a date or a date with its time, in ISO 8601 where it is text (2024-05-01, 2024-05-01T12:30:00Z), or a number: seconds, years, whatever grows",
        })
    }

    fn label<'c>(&self, cell: Cell<'c>, column: &str) -> Result<Cow<'c, str>, TableError> {
        match cell {
            Cell::Text(text) if !text.is_empty() => Ok(text),
            Cell::Integer(value) => Ok(Cow::Owned(value.to_string())),
            Cell::Boolean(value) => Ok(Cow::Owned(value.to_string())),
            Cell::Null | Cell::Text(_) => Err(self.null(column)),
            Cell::Float(value) => Err(TableError::FloatLabel {
                place: (self.place)(),
                column: column.to_owned(),
                value: format!("{value:?}"),
            }),
            other => {
                let help = "a label is a name or an integer; for lists of labels set `columns.labels`, for tags of words `columns.tokens` and `columns.tags`";
                Err(self.wrong(column, &other, "a label", help))
            }
        }
    }

    fn labels<'c>(&self, cell: Cell<'c>, separator: &str) -> Result<Vec<Cow<'c, str>>, TableError> {
        match cell {
            Cell::List(items) => self.each_label(items),
            Cell::Text(text) if text.trim().is_empty() => Ok(Vec::new()),
            Cell::Text(Cow::Borrowed(text)) => {
                let items = text.split(separator).map(|item| Cow::Borrowed(item.trim()));
                self.none_empty(items.collect())
            }
            Cell::Text(Cow::Owned(text)) => {
                let items = text.split(separator);
                let items = items.map(|item| Cow::Owned(item.trim().to_owned()));
                self.none_empty(items.collect())
            }
            Cell::Integer(_) => Ok(vec![self.label(cell, self.column())?]),
            Cell::Null => Err(self.null(self.column())),
            other => {
                let help = "write the labels of a row as a list of names or integers, or as text with `label_separator` between them";
                Err(self.wrong(self.column(), &other, "labels", help))
            }
        }
    }

    fn each_label<'c>(&self, items: Vec<Cell<'c>>) -> Result<Vec<Cow<'c, str>>, TableError> {
        let label = |(number, item)| self.label(item, &self.item(number));
        items.into_iter().enumerate().map(label).collect()
    }

    fn none_empty<'c>(&self, items: Vec<Cow<'c, str>>) -> Result<Vec<Cow<'c, str>>, TableError> {
        if items.iter().any(|item| item.is_empty()) {
            return Err(TableError::EmptyLabel {
                place: (self.place)(),
                column: self.column().to_owned(),
            });
        }
        Ok(items)
    }

    fn number(&self, cell: Cell) -> Result<f64, TableError> {
        let (place, column) = (self.place, self.column().to_owned());
        let value = match cell {
            Cell::Integer(value) => value as f64,
            Cell::Float(value) => value,
            Cell::Text(text) if text.is_empty() => return Err(self.null(&column)),
            Cell::Text(text) => match text.parse() {
                Ok(value) => value,
                Err(_) => {
                    return Err(TableError::NotANumber {
                        place: place(),
                        column,
                        value: text.chars().take(40).collect(),
                    });
                }
            },
            Cell::Null => return Err(self.null(&column)),
            other => {
                let help = "a target is an integer or a number with a fraction; for several of them name a column for each, as in `target = [\"a\", \"b\"]`";
                return Err(self.wrong(&column, &other, "a number", help));
            }
        };
        if !value.is_finite() {
            return Err(TableError::NotFinite {
                place: place(),
                column,
                value: value.to_string(),
            });
        }
        Ok(value)
    }

    fn words<'c>(&self, cell: Cell<'c>) -> Result<Vec<Cow<'c, str>>, TableError> {
        let word = |(number, item)| match item {
            Cell::Text(word) => Ok(word),
            Cell::Null => Err(self.null(&self.item(number))),
            other => {
                let help = "a token is a text: write numbers in quotes";
                Err(self.wrong(&self.item(number), &other, "a token", help))
            }
        };
        let help = "write the tokens of a sentence as a list of texts (JSON, JSON Lines, Parquet), or one a line (`format = \"conll\"`)";
        self.list(cell, "a list of tokens", help)?
            .into_iter()
            .enumerate()
            .map(word)
            .collect()
    }

    fn tags<'c>(&self, cell: Cell<'c>) -> Result<Vec<Cow<'c, str>>, TableError> {
        let help = "write the tags of a sentence as a list of names or integers (JSON, JSON Lines, Parquet), or one a line (`format = \"conll\"`)";
        self.each_label(self.list(cell, "a list of tags", help)?)
    }

    fn list<'c>(
        &self,
        cell: Cell<'c>,
        wanted: &'static str,
        help: &'static str,
    ) -> Result<Vec<Cell<'c>>, TableError> {
        match cell {
            Cell::List(items) => Ok(items),
            Cell::Null => Err(self.null(self.column())),
            other => Err(self.wrong(self.column(), &other, wanted, help)),
        }
    }

    /// `{"text": […], "answer_start": […]}`, or a list of `{"text": …, "answer_start": …}`.
    fn answers<'c>(
        &self,
        mut cell: Cell<'c>,
        context: &str,
    ) -> Result<Vec<Answer<Cow<'c, str>>>, TableError> {
        let help = "write answers as {\"text\": [\"…\"], \"answer_start\": [0]} or as [{\"text\": \"…\", \"answer_start\": 0}]; a question that its context does not answer has empty lists";
        let wrong = |column: &str, cell: &Cell, wanted| self.wrong(column, cell, wanted, help);
        let field = |name: &str| format!("{}, field `{name}`", self.column());
        let missing = |name: &str| TableError::WrongValue {
            place: (self.place)(),
            column: self.column().into(),
            found: format!("an object without `{name}`").into(),
            wanted: "answers",
            help,
        };
        let pairs = match &mut cell {
            Cell::Object(_) => {
                let mut lists = Vec::new();
                for name in ["text", "answer_start"] {
                    if !cell.has(name) {
                        return Err(missing(name));
                    }
                    lists.push(match cell.take(name) {
                        Cell::List(items) => items,
                        Cell::Null => return Err(self.null(&field(name))),
                        other => return Err(wrong(&field(name), &other, "a list")),
                    });
                }
                let (starts, texts) = (lists.pop(), lists.pop());
                let (starts, texts) = (starts.unwrap_or_default(), texts.unwrap_or_default());
                if texts.len() != starts.len() {
                    return Err(TableError::UnevenAnswers {
                        place: (self.place)(),
                        texts: texts.len(),
                        starts: starts.len(),
                    });
                }
                texts.into_iter().zip(starts).collect::<Vec<_>>()
            }
            Cell::List(items) => {
                let mut pairs = Vec::with_capacity(items.len());
                for (number, item) in items.iter_mut().enumerate() {
                    if !matches!(item, Cell::Object(_)) {
                        return Err(wrong(&self.item(number), item, "an answer"));
                    }
                    for name in ["text", "answer_start"] {
                        if !item.has(name) {
                            return Err(missing(name));
                        }
                    }
                    pairs.push((item.take("text"), item.take("answer_start")));
                }
                pairs
            }
            Cell::Null => return Err(self.null(self.column())),
            other => return Err(wrong(self.column(), other, "answers")),
        };
        let context = Context::of(context);
        let answer = |(text, start)| {
            let text = match text {
                Cell::Text(text) => text,
                Cell::Null => return Err(self.null(&field("text"))),
                other => return Err(wrong(&field("text"), &other, "text")),
            };
            let start = match start {
                Cell::Integer(start) => start,
                Cell::Null => return Err(self.null(&field("answer_start"))),
                other => return Err(wrong(&field("answer_start"), &other, "an integer")),
            };
            context.answer(text, start, self.place)
        };
        pairs.into_iter().map(answer).collect()
    }
}

#[cfg(test)]
mod tests;
