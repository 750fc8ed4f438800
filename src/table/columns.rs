//! Which columns a row is made of, and where they are in a file.
//!
//! Deliberately absent: values.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use super::condition::Condition;
use super::error::{TableError, did_you_mean, list};
use super::raw::Kind;
use super::read::{Format, Layout};

/// A column of a file: its name, or its number from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    Name(String),
    Number(usize),
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Column::Name(name) => write!(f, "`{name}`"),
            Column::Number(number) => write!(f, "{number}"),
        }
    }
}

/// What rows are made of, by column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows<C = Column> {
    Texts {
        text: C,
        text_pair: Option<C>,
        gold: Option<Gold<C>>,
    },
    Words {
        tokens: C,
        tags: Option<C>,
    },
    Questions {
        question: C,
        context: C,
        answers: Option<C>,
    },
}

/// What is to be learnt about a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gold<C = Column> {
    /// One class.
    Label(C),
    /// Any number of classes: a list, or text with a separator between them.
    Labels { column: C, separator: String },
    /// Numbers.
    Target(Vec<C>),
}

impl<C> Rows<C> {
    pub fn kind(&self) -> Kind {
        match self {
            Rows::Texts { .. } => Kind::Texts,
            Rows::Words { .. } => Kind::Words,
            Rows::Questions { .. } => Kind::Questions,
        }
    }

    /// The columns, each with the field of `columns` that names it.
    pub fn columns(&self) -> Vec<(&'static str, &C)> {
        let mut all = Vec::new();
        let _ = self.try_map(|column, field| {
            all.push((field, column));
            Ok::<_, TableError>(())
        });
        all
    }

    /// The same with other columns. `change` is given each with the field of `columns` that names it.
    ///
    /// # Errors
    /// The first error of `change`.
    pub fn try_map<'c, D, E>(
        &'c self,
        mut change: impl FnMut(&'c C, &'static str) -> Result<D, E>,
    ) -> Result<Rows<D>, E> {
        Ok(match self {
            Rows::Texts {
                text,
                text_pair,
                gold,
            } => Rows::Texts {
                text: change(text, "text")?,
                text_pair: match text_pair {
                    Some(column) => Some(change(column, "text_pair")?),
                    None => None,
                },
                gold: match gold {
                    Some(Gold::Label(column)) => Some(Gold::Label(change(column, "label")?)),
                    Some(Gold::Labels { column, separator }) => Some(Gold::Labels {
                        column: change(column, "labels")?,
                        separator: separator.clone(),
                    }),
                    Some(Gold::Target(columns)) => {
                        let columns = columns.iter().map(|column| change(column, "target"));
                        Some(Gold::Target(columns.collect::<Result<_, E>>()?))
                    }
                    None => None,
                },
            },
            Rows::Words { tokens, tags } => Rows::Words {
                tokens: change(tokens, "tokens")?,
                tags: match tags {
                    Some(column) => Some(change(column, "tags")?),
                    None => None,
                },
            },
            Rows::Questions {
                question,
                context,
                answers,
            } => Rows::Questions {
                question: change(question, "question")?,
                context: change(context, "context")?,
                answers: match answers {
                    Some(column) => Some(change(column, "answers")?),
                    None => None,
                },
            },
        })
    }
}

/// Where a column is: its number, and what to call it in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) number: usize,
    pub(super) shown: String,
}

/// Columns of a file beside those that its rows are made of.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// What must be true of a row that is wanted.
    pub condition: Option<Condition>,
    /// What a row belongs to.
    pub group: Option<Column>,
    /// When a row was made.
    pub time: Option<Column>,
    /// Whether a file may lack `group` and `time`.
    pub optional: bool,
}

impl Beside {
    pub(super) fn is_empty(&self) -> bool {
        self.condition.is_none() && self.group.is_none() && self.time.is_none()
    }

    /// Whether a file without columns will not do.
    pub(super) fn needs_columns(&self) -> bool {
        !self.is_empty() && (self.condition.is_some() || !self.optional)
    }

    /// The setting that names one of them, for messages.
    pub(super) fn setting(&self) -> &'static str {
        match (&self.condition, &self.group) {
            (Some(_), _) => "where",
            (None, Some(_)) => "split.group",
            (None, None) => "split.time",
        }
    }
}

/// Where the wanted columns are.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) rows: Rows<Found>,
    pub(super) id: Option<Found>,
    /// With the columns that it names, in its order.
    pub(super) condition: Option<(Condition, Vec<Found>)>,
    pub(super) group: Option<Found>,
    pub(super) time: Option<Found>,
    /// Whether a row may lack its group.
    pub(super) optional: bool,
    /// Whether the file holds text alone, which may stand for other values.
    pub(super) of_text: bool,
}

/// Columns of texts with at most one label, which are read a whole column at a time.
pub(super) struct Plain<'w> {
    pub(super) text: &'w Found,
    pub(super) text_pair: Option<&'w Found>,
    pub(super) label: Option<&'w Found>,
}

impl Wanted {
    /// Of rows alone.
    pub(super) fn of_rows(rows: Rows<Found>) -> Wanted {
        Wanted {
            rows,
            id: None,
            condition: None,
            group: None,
            time: None,
            optional: true,
            of_text: false,
        }
    }

    /// Each once, ascending.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.all().into_iter().collect::<BTreeSet<_>>().into_iter()
    }

    /// The columns that are wanted more than once.
    pub(super) fn shared(&self) -> BTreeSet<usize> {
        let (mut met, mut shared) = (BTreeSet::new(), BTreeSet::new());
        for number in self.all() {
            if !met.insert(number) {
                shared.insert(number);
            }
        }
        shared
    }

    fn all(&self) -> Vec<usize> {
        let columns = self.rows.columns().into_iter().map(|(_, found)| found);
        let condition = self.condition.iter().flat_map(|(_, columns)| columns);
        let beside = self.id.iter().chain(&self.group).chain(&self.time);
        let all = columns.chain(condition).chain(beside);
        all.map(|found| found.number).collect()
    }

    /// The column of labels or tags as messages name it.
    pub(super) fn label_column(&self) -> String {
        let columns = self.rows.columns().into_iter();
        let mut labels = columns.filter(|(field, _)| matches!(*field, "label" | "labels" | "tags"));
        let shown = labels.next().map(|(_, found)| found.shown.clone());
        shown.unwrap_or_default()
    }

    /// Nothing where the rows hold more than texts and one label each.
    pub(super) fn plain(&self) -> Option<Plain<'_>> {
        let Rows::Texts {
            text,
            text_pair,
            gold,
        } = &self.rows
        else {
            return None;
        };
        let label = match gold {
            None => None,
            Some(Gold::Label(found)) => Some(found),
            Some(_) => return None,
        };
        let beside = self.id.is_some() || self.condition.is_some();
        let beside = beside || self.group.is_some() || self.time.is_some();
        (!beside).then_some(Plain {
            text,
            text_pair: text_pair.as_ref(),
            label,
        })
    }
}

/// The columns that a file has.
pub(super) struct Present<'a> {
    file: &'a Path,
    names: Option<Vec<String>>,
    width: usize,
}

impl<'a> Present<'a> {
    pub(super) fn new(file: &'a Path, names: Option<Vec<String>>, width: usize) -> Self {
        Present { file, names, width }
    }

    /// The wanted columns that are not there, each with the setting that names it.
    pub(super) fn missing(&self, layout: &Layout) -> Vec<(String, TableError)> {
        let Beside {
            condition,
            group,
            time,
            optional,
        } = &layout.beside;
        let of_rows = layout.rows.columns().into_iter();
        let of_rows = of_rows.map(|(field, column)| (format!("columns.{field}"), column));
        let beside = [("split.group", group), ("split.time", time)];
        let beside = beside.into_iter().filter(|_| !optional);
        let beside = [("columns.id", &layout.id)].into_iter().chain(beside);
        let beside =
            beside.filter_map(|(field, column)| Some((field.to_owned(), column.as_ref()?)));
        let found = of_rows.chain(beside).map(|(field, column)| {
            let found = self.find(column, &field);
            (field, found)
        });
        let named = condition.iter().flat_map(Condition::columns);
        let named = named.map(|name| ("where".to_owned(), self.find_named(name)));
        found
            .chain(named)
            .filter_map(|(field, found)| Some((field, found.err()?)))
            .collect()
    }

    pub(super) fn find_all(&self, layout: &Layout) -> Result<Wanted, TableError> {
        let of_rows = |column, field| self.find(column, &format!("columns.{field}"));
        self.find_beside(layout.rows.try_map(of_rows)?, layout)
    }

    /// The same for rows whose own columns are found already.
    pub(super) fn find_beside(
        &self,
        rows: Rows<Found>,
        layout: &Layout,
    ) -> Result<Wanted, TableError> {
        let Beside {
            condition,
            group,
            time,
            optional,
        } = &layout.beside;
        let condition = condition.as_ref().map(|condition| {
            let columns = condition.columns().iter().map(|name| self.find_named(name));
            let columns = columns.collect::<Result<_, TableError>>()?;
            Ok((condition.clone(), columns))
        });
        let beside = |column: &Option<Column>, field| match column {
            Some(column) => match self.find(column, field) {
                Err(TableError::MissingColumn { .. }) if *optional => Ok(None),
                found => found.map(Some),
            },
            None => Ok(None),
        };
        let id = layout.id.as_ref();
        Ok(Wanted {
            rows,
            id: id.map(|id| self.find(id, "columns.id")).transpose()?,
            condition: condition.transpose()?,
            group: beside(group, "split.group")?,
            time: beside(time, "split.time")?,
            optional: *optional,
            of_text: matches!(layout.format, Format::Csv | Format::Tsv),
        })
    }

    /// A column as a condition names it: without a header, column 0 is `column_0`.
    fn find_named(&self, name: &str) -> Result<Found, TableError> {
        if self.names.is_some() {
            return self.find(&Column::Name(name.to_owned()), "where");
        }
        let number = name.strip_prefix("column_");
        let number = number.and_then(|number| number.parse().ok());
        match number.filter(|number| *number < self.width) {
            Some(number) => self.find(&Column::Number(number), "where"),
            None => Err(TableError::MissingColumn {
                file: self.file.to_owned(),
                column: format!("`{name}`"),
                help: format!(
                    "without a header `where` calls columns by their numbers: `column_0` to `column_{}`",
                    self.width.saturating_sub(1)
                ),
            }),
        }
    }

    fn find(&self, column: &Column, field: &str) -> Result<Found, TableError> {
        let to_one = match field {
            "where" => "name one of them in `where`".to_owned(),
            field => format!("set `{field}` to one of them"),
        };
        let missing = |help: String| TableError::MissingColumn {
            file: self.file.to_owned(),
            column: column.to_string(),
            help,
        };
        match (column, &self.names) {
            (Column::Number(number), names) if *number < self.width => {
                let name = names.as_ref().and_then(|names| names.get(*number));
                Ok(Found {
                    number: *number,
                    shown: name.map_or_else(|| number.to_string(), |name| format!("`{name}`")),
                })
            }
            (Column::Number(_), _) => Err(missing(format!(
                "it has {} columns, numbered from 0: {to_one}",
                self.width
            ))),
            (Column::Name(_), None) => Err(missing(format!(
                "without a header columns have numbers: set `{field}` to one from 0 to {}",
                self.width.saturating_sub(1)
            ))),
            (Column::Name(name), Some(names)) => {
                let mut found = names
                    .iter()
                    .enumerate()
                    .filter(|(_, present)| *present == name);
                match (found.next(), found.next()) {
                    (Some((number, _)), None) => Ok(Found {
                        number,
                        shown: column.to_string(),
                    }),
                    (Some(_), Some(_)) => Err(TableError::AmbiguousColumn {
                        file: self.file.to_owned(),
                        column: name.clone(),
                    }),
                    (None, _) => {
                        let present = list(names.iter().map(String::as_str), 20);
                        let meant = did_you_mean(name, names.iter().map(String::as_str));
                        Err(missing(format!("it has {present}: {to_one}{meant}")))
                    }
                }
            }
        }
    }
}
