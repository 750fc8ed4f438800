//! Which rows are wanted: an expression in SQL over the columns of a file, as polars reads it.
//!
//! A row for which it is not true, unknown included, is not wanted. Of delimited text a column whose every value reads as an
//! integer, a number, or `true` and `false` is compared as such, an empty value being null; any other column is text.
//!
//! Deliberately absent: other tables, queries inside it (SQL's may read any file), and what the columns mean.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use polars::prelude::{DataFrame, DataType, IntoColumn, NamedFrom, Series, TimeUnit, TimeZone};
use polars_lazy::prelude::{Expr, IntoLazy};
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::cell::Cell;
use super::error::{Place, TableError};
use super::moment::Moment;
use super::read::guarded;

/// So many names and operators an expression may have: polars goes into it once for each, and a stack has an end.
const LONGEST: usize = 600;

/// An expression that was understood, with the columns that it names.
#[derive(Debug, Clone)]
pub struct Condition {
    text: String,
    expression: Expr,
    columns: Vec<String>,
}

/// What is wrong with a condition, alone or on a file.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ConditionError {
    #[error("`{text}` is no SQL expression: {message}")]
    #[diagnostic(help(
        "write what must be true of a row: length > 10 AND source <> 'bot'; texts stand in single quotes, names with spaces in double ones"
    ))]
    Unparsable { text: String, message: String },
    #[error("the condition has {found} names and operators; at most {LONGEST} can be evaluated")]
    #[diagnostic(help(
        "compare with many values at once, which may be any number: source IN ('a', 'b', 'c'); or mark the rows in the file"
    ))]
    TooLong { found: usize },
    #[error("`{text}` asks for rows of another table")]
    #[diagnostic(help(
        "a condition sees one row at a time: list the values, as in source IN ('a', 'b'), or mark the rows in the file"
    ))]
    Query { text: String },
    #[error("`{text}` names no column")]
    #[diagnostic(help("compare columns of the file, such as length > 10"))]
    NoColumn { text: String },
    #[error("`{text}` cannot be answered for {}: {message}", file.display())]
    #[diagnostic(help(
        "compare texts with texts in single quotes and numbers with numbers; a column of a csv or tsv file is a number where each of its values reads as one"
    ))]
    Failed {
        text: String,
        file: PathBuf,
        message: String,
    },
    #[error("`{text}` is not true or false for a row of {}, but {found}", file.display())]
    #[diagnostic(help("compare the value with something: length > 10"))]
    NotBoolean {
        text: String,
        file: PathBuf,
        found: String,
    },
    #[error("{place}: `{column}` is {found}, which a condition cannot compare")]
    #[diagnostic(help(
        "let the condition name columns of texts, numbers, booleans or times, each of one kind"
    ))]
    Value {
        place: Place,
        column: String,
        found: String,
    },
}

impl Condition {
    /// # Errors
    /// It is no expression, or one that has nothing to do with a row.
    pub fn parse(text: &str) -> Result<Condition, ConditionError> {
        let unparsable = |message| ConditionError::Unparsable {
            text: text.to_owned(),
            message,
        };
        let tokens = Tokenizer::new(&GenericDialect, text).tokenize();
        let tokens = tokens.map_err(|e| unparsable(e.to_string()))?;
        let found = tokens.iter().filter(|token| nests(token)).count();
        if found > LONGEST {
            return Err(ConditionError::TooLong { found });
        }
        if asks(&tokens) {
            let text = text.to_owned();
            return Err(ConditionError::Query { text });
        }
        let expression = guarded(|| polars::sql::sql_expr(text)).map_err(unparsable)?;
        let mut columns = Vec::<String>::new();
        for name in expression.clone().meta().root_names() {
            if !columns.iter().any(|known| *known == name.as_str()) {
                columns.push(name.to_string());
            }
        }
        if columns.is_empty() {
            let text = text.to_owned();
            return Err(ConditionError::NoColumn { text });
        }
        Ok(Condition {
            text: text.to_owned(),
            expression,
            columns,
        })
    }

    /// The columns that it names, each once.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether it is true of each row. `cells` has a list for each of its columns; `of_text` says that all cells are texts
    /// that may stand for other values.
    ///
    /// # Errors
    /// It compares what cannot be compared, is not true or false, or a column holds lists or values of several kinds.
    pub(super) fn holds(
        &self,
        file: &Path,
        rows: usize,
        cells: Vec<Vec<Cell>>,
        of_text: bool,
        place: &dyn Fn(usize) -> Place,
    ) -> Result<Vec<bool>, TableError> {
        let failed = |message| {
            refused(ConditionError::Failed {
                text: self.text.clone(),
                file: file.to_owned(),
                message,
            })
        };
        let mut columns = Vec::with_capacity(cells.len());
        for (name, cells) in self.columns.iter().zip(&cells) {
            let series = match of_text {
                true => of_texts(name, cells),
                false => of_values(name, cells, place)?,
            };
            columns.push(series.into_column());
        }
        let answered = guarded(|| {
            let frame = DataFrame::new(rows, columns)?;
            let answer = self.expression.clone().alias("wanted");
            frame.lazy().select([answer]).collect()
        });
        let answered = answered.map_err(failed)?;
        let column = answered
            .column("wanted")
            .map_err(|e| failed(e.to_string()))?;
        let Ok(wanted) = column.bool() else {
            return Err(refused(ConditionError::NotBoolean {
                text: self.text.clone(),
                file: file.to_owned(),
                found: column.dtype().to_string(),
            }));
        };
        let mut wanted: Vec<bool> = wanted.iter().map(|wanted| wanted == Some(true)).collect();
        // Where all rows have one answer polars may give it once.
        if let [one] = wanted[..] {
            wanted.resize(rows, one);
        }
        if wanted.len() != rows {
            let message = format!("it has {} answers for {rows} rows", wanted.len());
            return Err(failed(message));
        }
        Ok(wanted)
    }
}

/// Whether a token may take an expression one level deeper: values and what parts them do not.
fn nests(token: &Token) -> bool {
    !matches!(
        token,
        Token::Whitespace(_) | Token::Comma | Token::SingleQuotedString(_) | Token::Number(..)
    )
}

/// Whether there is a query in it: `SELECT`, or a `FROM` that begins one. Others, as in `EXTRACT(year FROM day)`, are harmless.
fn asks(tokens: &[Token]) -> bool {
    let is = |token: &Token, keyword| matches!(token, Token::Word(word) if word.keyword == keyword);
    let mut before = None;
    for token in tokens {
        let begins = is(token, Keyword::FROM) && before == Some(&Token::LParen);
        if begins || is(token, Keyword::SELECT) {
            return true;
        }
        if !matches!(token, Token::Whitespace(_)) {
            before = Some(token);
        }
    }
    false
}

fn refused(error: ConditionError) -> TableError {
    TableError::Condition(Box::new(error))
}

fn of_texts(name: &str, cells: &[Cell]) -> Series {
    let texts = cells.iter().map(|cell| match cell {
        Cell::Text(text) => text.as_ref(),
        _ => "",
    });
    let texts: Vec<&str> = texts.collect();
    fn all<'t, T>(
        texts: &[&'t str],
        read: impl Fn(&'t str) -> Option<T>,
    ) -> Option<Vec<Option<T>>> {
        let value = |&text: &&'t str| match text.is_empty() {
            true => Some(None),
            false => read(text).map(Some),
        };
        let some = texts.iter().any(|text| !text.is_empty());
        some.then(|| texts.iter().map(value).collect()).flatten()
    }
    let name = || name.into();
    if let Some(values) = all(&texts, |text| text.parse::<i64>().ok()) {
        return Series::new(name(), values);
    }
    // `nan` and `inf` are words.
    let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
    if let Some(values) = all(&texts, number) {
        return Series::new(name(), values);
    }
    let boolean = |text: &str| match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    };
    match all(&texts, boolean) {
        Some(values) => Series::new(name(), values),
        None => Series::new(name(), texts),
    }
}

fn of_values(
    name: &str,
    cells: &[Cell],
    place: &dyn Fn(usize) -> Place,
) -> Result<Series, TableError> {
    let strange = |row: usize, cell: &Cell| {
        refused(ConditionError::Value {
            place: place(row),
            column: name.to_owned(),
            found: cell.describe(),
        })
    };
    fn each<T>(
        cells: &[Cell],
        strange: impl Fn(usize, &Cell) -> TableError,
        read: impl Fn(&Cell) -> Option<T>,
    ) -> Result<Vec<Option<T>>, TableError> {
        let value = |(row, cell): (usize, &Cell)| match cell {
            Cell::Null => Ok(None),
            cell => read(cell).map(Some).ok_or_else(|| strange(row, cell)),
        };
        cells.iter().enumerate().map(value).collect()
    }
    let first = cells.iter().find(|cell| !matches!(cell, Cell::Null));
    let floats = || cells.iter().any(|cell| matches!(cell, Cell::Float(_)));
    let title = || name.into();
    Ok(match first {
        None => Series::new_null(title(), cells.len()),
        Some(Cell::Boolean(_)) => {
            let read = |cell: &Cell| match cell {
                Cell::Boolean(value) => Some(*value),
                _ => None,
            };
            Series::new(title(), each(cells, strange, read)?)
        }
        Some(Cell::Integer(_) | Cell::Float(_)) if floats() => {
            let read = |cell: &Cell| match cell {
                Cell::Integer(value) => Some(*value as f64),
                Cell::Float(value) => Some(*value),
                _ => None,
            };
            Series::new(title(), each(cells, strange, read)?)
        }
        Some(Cell::Integer(_)) => {
            let read = |cell: &Cell| match cell {
                Cell::Integer(value) => Some(*value),
                _ => None,
            };
            Series::new(title(), each(cells, strange, read)?)
        }
        Some(Cell::Text(_)) => {
            let read = |cell: &Cell| match cell {
                Cell::Text(text) => Some(Cow::clone(text).into_owned()),
                _ => None,
            };
            Series::new(title(), each(cells, strange, read)?)
        }
        Some(Cell::Time(Moment::Date(_))) => {
            let read = |cell: &Cell| match cell {
                Cell::Time(Moment::Date(days)) => i32::try_from(*days).ok(),
                _ => None,
            };
            let days = Series::new(title(), each(cells, strange, read)?);
            days.cast(&DataType::Date).unwrap_or(days)
        }
        Some(Cell::Time(first)) => {
            let read = |cell: &Cell| match (cell, first) {
                (Cell::Time(Moment::DateTime(value)), Moment::DateTime(_))
                | (Cell::Time(Moment::Instant(value)), Moment::Instant(_)) => {
                    i64::try_from(*value).ok()
                }
                _ => None,
            };
            let since = Series::new(title(), each(cells, strange, read)?);
            let zone = matches!(first, Moment::Instant(_)).then_some(TimeZone::UTC);
            let moments = DataType::Datetime(TimeUnit::Nanoseconds, zone);
            since.cast(&moments).unwrap_or(since)
        }
        Some(_) => {
            let row = cells.iter().position(|cell| !matches!(cell, Cell::Null));
            let row = row.unwrap_or_default();
            return Err(strange(row, &cells[row]));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[&'static str]) -> Vec<Cell<'static>> {
        let cell = |text: &&'static str| Cell::Text(Cow::Borrowed(*text));
        values.iter().map(cell).collect()
    }

    fn holds(text: &str, columns: Vec<Vec<Cell>>, of_text: bool) -> Result<Vec<bool>, String> {
        let condition = Condition::parse(text).map_err(|e| e.to_string())?;
        let file = Path::new("data");
        let rows = columns[0].len();
        let place = |row| Place::line(file, row + 1);
        let found = condition.holds(file, rows, columns, of_text, &place);
        found.map_err(|e| e.to_string())
    }

    #[test]
    fn text_that_reads_as_numbers_is_compared_as_numbers() {
        let numbers = texts(&["9", "10", "", "-3"]);
        assert_eq!(
            holds("n > 5", vec![numbers.clone()], true).unwrap(),
            [true, true, false, false]
        );
        assert_eq!(
            holds("n IS NULL", vec![numbers], true).unwrap(),
            [false, false, true, false]
        );
        let words = texts(&["9", "x"]);
        assert_eq!(holds("n = '9'", vec![words], true).unwrap(), [true, false]);
        let truths = texts(&["true", "false"]);
        assert_eq!(holds("NOT b", vec![truths], true).unwrap(), [false, true]);
    }

    #[test]
    fn columns_functions_and_connectives_work() {
        let text = texts(&["short", "a longer text", "another"]);
        let source = texts(&["bot", "human", "bot"]);
        let found = holds(
            "LENGTH(text) > 5 AND source <> 'bot' OR text LIKE 'ano%'",
            vec![text, source],
            true,
        );
        assert_eq!(found.unwrap(), [false, true, true]);
    }

    #[test]
    fn values_keep_their_types() {
        let cells = vec![Cell::Integer(2), Cell::Null, Cell::Float(2.5)];
        assert_eq!(
            holds("x > 2", vec![cells], false).unwrap(),
            [false, false, true]
        );
        let days = vec![
            Cell::Time(Moment::Date(19_000)),
            Cell::Time(Moment::Date(20_000)),
        ];
        assert_eq!(
            holds("day >= DATE '2024-01-01'", vec![days], false).unwrap(),
            [false, true]
        );
        let mixed = vec![Cell::Integer(1), Cell::Text("a".into())];
        let error = holds("x > 0", vec![mixed], false).unwrap_err();
        assert_eq!(
            error,
            "data, line 2: `x` is text, which a condition cannot compare"
        );
    }

    #[test]
    fn what_is_no_condition_says_so() {
        let message = |text: &str| Condition::parse(text).unwrap_err().to_string();
        assert!(message("a >").starts_with("`a >` is no SQL expression"));
        assert!(message("a = 1; DROP TABLE b").contains("is no SQL expression"));
        assert_eq!(message("1 < 2"), "`1 < 2` names no column");
        let error = holds("a + 1", vec![texts(&["1", "2"])], true).unwrap_err();
        assert_eq!(
            error,
            "`a + 1` is not true or false for a row of data, but i64"
        );
        let error = holds("a > 1", vec![texts(&["x", "y"])], true).unwrap_err();
        assert!(
            error.starts_with("`a > 1` cannot be answered for data"),
            "{error}"
        );
    }

    #[test]
    fn a_condition_reads_no_other_table() {
        for text in [
            "a IN (SELECT b FROM read_csv('/etc/passwd'))",
            "EXISTS (select 1 FROM t WHERE a = 1)",
            "a = (FROM t)",
            "a > ( /* all */ FROM t)",
        ] {
            let error = Condition::parse(text).unwrap_err();
            assert!(matches!(error, ConditionError::Query { .. }), "{error}");
        }
        let column = vec![texts(&["x", "y"])];
        let quoted = holds("\"select\" = 'x'", column.clone(), true);
        assert_eq!(quoted.unwrap(), [true, false]);
        let value = holds("a <> 'SELECT b FROM c'", column, true);
        assert_eq!(value.unwrap(), [true, true]);
        let days = vec![Cell::Time(Moment::Date(19_000))];
        let year = holds("EXTRACT(year FROM day) = 2022", vec![days], false);
        assert_eq!(year.unwrap(), [true]);
    }

    #[test]
    fn the_longest_condition_is_evaluated_and_a_longer_one_refused() {
        let sum = |terms: usize| format!("a = {}", vec!["a"; terms].join(" + "));
        let columns = || vec![texts(&["0", "1"])];
        assert_eq!(
            holds(&sum(LONGEST / 2 - 1), columns(), true).unwrap(),
            [true, false]
        );
        let any = vec!["a = 1"; LONGEST / 3].join(" OR ");
        assert_eq!(holds(&any, columns(), true).unwrap(), [false, true]);
        for longer in [
            sum(LONGEST),
            vec!["a = 1"; 5000].join(" OR "),
            format!("{}a", "NOT ".repeat(100_000)),
            format!("{}a", "(".repeat(100_000)),
            format!("{}1", "a - -".repeat(100_000)),
        ] {
            let error = Condition::parse(&longer).unwrap_err();
            assert!(matches!(error, ConditionError::TooLong { .. }), "{error}");
        }
        let values: Vec<String> = (0..20_000).map(|value| value.to_string()).collect();
        let many = format!("a IN ({})", values.join(", "));
        assert_eq!(holds(&many, columns(), true).unwrap(), [true, true]);
    }

    #[test]
    fn an_answer_for_other_rows_is_refused() {
        let cells = texts(&["a,b", "c"]);
        let error = holds("UNNEST(STRING_TO_ARRAY(t, ',')) = 'c'", vec![cells], true).unwrap_err();
        assert!(error.contains("it has 3 answers for 2 rows"), "{error}");
    }

    #[test]
    fn one_answer_for_all_is_every_rows_answer() {
        let cells = texts(&["1", "2", "3"]);
        assert_eq!(holds("MAX(a) > 2", vec![cells], true).unwrap(), [true; 3]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-c0-9 '\"()=<>*,;A-Z]{0,30}") {
            let _ = holds(&text, vec![texts(&["1", "2"]), texts(&["x", ""]), texts(&["", ""])], true);
        }
    }
}
