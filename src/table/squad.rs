//! SQuAD's JSON: articles of paragraphs, each with its questions (Rajpurkar et al. 2016 and 2018, versions 1.1 and 2.0).
//!
//! A row is a question. Such files mostly are one long line, so an error says the way to the question beside its line. An
//! `is_impossible` that contradicts the answers is an error, because scores would count it on the wrong side.
//!
//! Deliberately absent: titles, `plausible_answers`, and every other key that the form does not need.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use super::Answer;
use super::answer::Context;
use super::cell::Cell;
use super::error::{Place, TableError, Way};
use super::json::short;
use super::raw::{Kind, Raw, Row};
use super::shape::{Places, too_deep};

const FORM: &str = "SQuAD's form is {\"data\": [{\"paragraphs\": [{\"context\": \"…\", \"qas\": [{\"id\": \"…\", \"question\": \"…\", \"answers\": [{\"text\": \"…\", \"answer_start\": 0}]}]}]}]}; flat rows are read with `columns.question`, `context` and `answers`";

/// The lists that lead to a question.
const WAY: [&str; 3] = ["data", "paragraphs", "qas"];

/// Reads the questions of a file. With `skip`, questions whose answers do not stand at their starts are left out.
///
/// # Errors
/// Text that is no JSON or has another form, answers that do not stand at their starts, and questions of which some have
/// answers (or ids) and some have none.
pub(super) fn read(file: &Path, text: &str, skip: bool) -> Result<Raw, TableError> {
    let mut root = root(file, text)?;
    let [mut articles, mut paragraphs, mut questions] = lines(text).map(Vec::into_iter);
    let mut raw = Raw::empty(file, Kind::Questions, Places::Rows);
    let (mut places, mut first) = (Vec::new(), First::default());
    for mut article in root.objects(WAY[0], &mut articles)? {
        for mut paragraph in article.objects(WAY[1], &mut paragraphs)? {
            let text = paragraph.text("context")?;
            let context = Context::of(&text);
            for mut question in paragraph.objects(WAY[2], &mut questions)? {
                let row = question.row(&context, &mut first).map(|row| Row {
                    text_pair: Some(Cow::Borrowed(&text)),
                    ..row
                });
                raw.add(places.len(), row, skip)?;
                places.push(question.way);
            }
        }
    }
    if places.is_empty() {
        return Err(empty(file));
    }
    raw.places = Places::Nested(places);
    Ok(raw)
}

/// Reads the contexts of a file as texts, each once.
///
/// # Errors
/// Text that is no JSON or has another form.
pub(super) fn contexts(file: &Path, text: &str) -> Result<Raw, TableError> {
    let mut root = root(file, text)?;
    let [mut articles, mut paragraphs, _] = lines(text).map(Vec::into_iter);
    let mut raw = Raw::empty(file, Kind::Texts, Places::Rows);
    let (mut places, mut seen) = (Vec::new(), HashSet::new());
    for mut article in root.objects(WAY[0], &mut articles)? {
        for mut paragraph in article.objects(WAY[1], &mut paragraphs)? {
            let text = paragraph.text("context")?;
            if seen.insert(text.clone()) {
                let row = Row {
                    text,
                    ..Row::default()
                };
                raw.add(places.len(), Ok(row), false)?;
                places.push(paragraph.way);
            }
        }
    }
    if places.is_empty() {
        return Err(empty(file));
    }
    raw.places = Places::Nested(places);
    Ok(raw)
}

fn empty(file: &Path) -> TableError {
    TableError::Empty {
        file: file.to_owned(),
    }
}

/// The whole of a file.
fn root<'c>(file: &'c Path, text: &'c str) -> Result<Node<'c>, TableError> {
    if text.trim().is_empty() {
        return Err(empty(file));
    }
    if let Some(line) = too_deep(text) {
        return Err(TableError::NotJson {
            place: Place::line(file, line),
            message: "nested deeper than questions are".to_owned(),
            help: FORM.to_owned(),
        });
    }
    let cell = serde_json::from_str::<Cell>(text).map_err(|error| TableError::NotJson {
        place: Place::line(file, error.line().max(1)),
        message: format!("not JSON: {}", short(&error)),
        help: "mend the file; `python -m json.tool` shows the place too".to_owned(),
    })?;
    Ok(Node {
        file,
        way: Way {
            line: 1,
            path: String::new(),
        },
        cell,
    })
}

/// What the first question has, and so every other must.
#[derive(Default)]
struct First {
    answers: Option<bool>,
    id: Option<bool>,
}

/// A value of the file, and where it stands.
struct Node<'c> {
    file: &'c Path,
    way: Way,
    cell: Cell<'c>,
}

impl<'c> Node<'c> {
    fn place(&self) -> Place {
        Place::within(self.file, &self.way)
    }

    fn wrong(&self, message: String) -> TableError {
        self.wrong_with(message, FORM)
    }

    fn wrong_with(&self, message: impl Into<String>, help: &str) -> TableError {
        TableError::NotSquad {
            place: self.place(),
            message: message.into(),
            help: help.to_owned(),
        }
    }

    fn take(&mut self, key: &str) -> Result<Cell<'c>, TableError> {
        if !matches!(self.cell, Cell::Object(_)) {
            let found = self.cell.describe();
            return Err(self.wrong(format!("{found} instead of an object")));
        }
        if !self.cell.has(key) {
            return Err(self.wrong(format!("no `{key}`")));
        }
        Ok(self.cell.take(key))
    }

    fn text(&mut self, key: &str) -> Result<Cow<'c, str>, TableError> {
        match self.take(key)? {
            Cell::Text(text) => Ok(text),
            other => Err(self.instead(key, &other, "text")),
        }
    }

    fn instead(&self, key: &str, found: &Cell, wanted: &str) -> TableError {
        let found = found.describe();
        self.wrong(format!("`{key}` is {found} instead of {wanted}"))
    }

    /// The items under `key`. `lines` goes on to the line of each.
    fn objects(
        &mut self,
        key: &str,
        lines: &mut impl Iterator<Item = usize>,
    ) -> Result<Vec<Node<'c>>, TableError> {
        let items = match self.take(key)? {
            Cell::List(items) => items,
            other => return Err(self.instead(key, &other, "a list")),
        };
        let Way { line, path } = &self.way;
        let dot = if path.is_empty() { "" } else { "." };
        let node = |(number, cell)| Node {
            file: self.file,
            way: Way {
                line: lines.next().unwrap_or(*line),
                path: format!("{path}{dot}{key}[{number}]"),
            },
            cell,
        };
        Ok(items.into_iter().enumerate().map(node).collect())
    }

    /// This question, without its context.
    fn row(&mut self, context: &Context, first: &mut First) -> Result<Row<'c>, TableError> {
        let text = self.text("question")?;
        let impossible = match self.cell.take("is_impossible") {
            Cell::Boolean(impossible) => Some(impossible),
            Cell::Null => None,
            other => return Err(self.instead("is_impossible", &other, "true or false")),
        };
        let name = match self.as_the_first("id", self.cell.has("id"), &mut first.id)? {
            false => None,
            true => match self.take("id")? {
                Cell::Text(name) if !name.is_empty() => Some(name),
                Cell::Integer(name) => Some(Cow::Owned(name.to_string())),
                other => return Err(self.instead("id", &other, "a text that is not empty")),
            },
        };
        let stated = self.cell.has("answers");
        let answered = stated || impossible == Some(true);
        let answered = self.as_the_first("answers", answered, &mut first.answers)?;
        let answers = if stated {
            self.answers(context)?
        } else {
            Vec::new()
        };
        match (impossible, answers.is_empty()) {
            (Some(true), false) => {
                let message = "`is_impossible`, and still there are answers";
                let help = "empty its `answers` (those that only seem right are `plausible_answers`), or set `is_impossible` to false";
                return Err(self.wrong_with(message, help));
            }
            (Some(false), true) if stated => {
                let message = "no answers, and still not `is_impossible`";
                let help = "set `is_impossible` to true, or leave out `answers` of all questions if they are to be found";
                return Err(self.wrong_with(message, help));
            }
            _ => {}
        }
        Ok(Row {
            text,
            answers: answered.then_some(answers),
            name,
            ..Row::default()
        })
    }

    /// Whether there is a key, which must be as in the first question.
    fn as_the_first(
        &self,
        key: &str,
        has: bool,
        first: &mut Option<bool>,
    ) -> Result<bool, TableError> {
        if *first.get_or_insert(has) == has {
            return Ok(has);
        }
        let there = if has { "" } else { "no " };
        let help = format!("give `{key}` to every question of the file, or to none");
        let message = format!("{there}`{key}`, unlike the first question");
        Err(self.wrong_with(message, &help))
    }

    fn answers(&mut self, context: &Context) -> Result<Vec<Answer<Cow<'c, str>>>, TableError> {
        let mut lines = std::iter::repeat(self.way.line);
        let items = self.objects("answers", &mut lines)?;
        let answer = |mut item: Node<'c>| {
            let text = item.text("text")?;
            let start = match item.take("answer_start")? {
                Cell::Integer(start) => start,
                other => return Err(item.instead("answer_start", &other, "an integer")),
            };
            context.answer(text, start, &|| self.place())
        };
        items.into_iter().map(answer).collect()
    }
}

/// The line of each article, of each paragraph, and of each question's text, in a text that is JSON.
fn lines(text: &str) -> [Vec<usize>; 3] {
    enum Open<'t> {
        List,
        /// The key met last, and whether the next string is a key.
        Object(&'t str, bool),
    }
    /// The number of lists that lead from the root to here, if it is they that do.
    fn lists(open: &[Open]) -> Option<usize> {
        let (pairs, rest) = open.as_chunks::<2>();
        let leads = |(pair, wanted): (&[Open; 2], &str)| matches!(pair, [Open::Object(key, _), Open::List] if *key == wanted);
        let fits = rest.is_empty() && pairs.len() <= WAY.len();
        let fits = fits && pairs.iter().zip(WAY).all(leads);
        pairs.len().checked_sub(1).filter(|_| fits)
    }
    let mut found = [const { Vec::new() }; 3];
    let (mut open, mut line) = (Vec::new(), 1);
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\n' => line += 1,
            b'"' => {
                let mut end = at;
                while let Some((next, byte)) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => {
                            end = next;
                            break;
                        }
                        _ => {}
                    }
                }
                if let Some(Open::Object(key, next @ true)) = open.last_mut() {
                    (*key, *next) = (text.get(at + 1..end).unwrap_or_default(), false);
                    let (key, outer) = (*key, open.len() - 1);
                    let question = lists(open.get(..outer).unwrap_or_default());
                    if key == "question" && question == Some(2) {
                        let [.., questions] = &mut found;
                        questions.pop();
                        questions.push(line);
                    }
                }
            }
            b'[' => open.push(Open::List),
            b'{' => {
                if let Some(found) = lists(&open).and_then(|level| found.get_mut(level)) {
                    found.push(line);
                }
                open.push(Open::Object("", true));
            }
            b']' | b'}' => drop(open.pop()),
            b',' => {
                if let Some(Open::Object(_, next)) = open.last_mut() {
                    *next = true;
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests;
