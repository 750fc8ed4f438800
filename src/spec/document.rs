//! TOML text → a tree in which every key and value knows its place.
//!
//! `--set path=value` arguments are texts of their own, laid over the file's tree, so that a fault in one is shown there.
//! All syntax errors are reported, not the first.
//!
//! Deliberately absent: any knowledge of which keys exist.

use serde_json::{Map, Number};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem, Sources};

/// More than any field of a spec needs, and few enough for every recursive walk of the tree.
const MAX_KEYS: usize = 64;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// Dates have no meaning in a spec; kept as text so that the type error can show it.
    Datetime(String),
    Array(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key with its value, in the order of the text.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub key_place: Place,
    pub node: Node,
}

impl Node {
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// What TOML calls the value's type, for messages.
    pub fn type_name(&self) -> &'static str {
        match self.value {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }

    /// The value as JSON. TOML's infinities and NaN become strings, which no numeric field accepts.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::String(text) | Value::Datetime(text) => text.clone().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => match Number::from_f64(*number) {
                Some(number) => number.into(),
                None => number.to_string().into(),
            },
            Value::Boolean(value) => (*value).into(),
            Value::Array(items) => items.iter().map(Node::to_json).collect(),
            Value::Table(entries) => {
                let entries = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_json()));
                serde_json::Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// A value that stands in no text as such: all of it at `place`.
    pub fn of_json(value: &serde_json::Value, place: &Place) -> Node {
        let inside = |value: &serde_json::Value| Node::of_json(value, place);
        let value = match value {
            serde_json::Value::Null => Value::Table(Vec::new()),
            serde_json::Value::Bool(value) => Value::Boolean(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => Value::Integer(number),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Value::String(text.clone()),
            serde_json::Value::Array(items) => Value::Array(items.iter().map(inside).collect()),
            serde_json::Value::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| Entry {
                    key: key.clone(),
                    key_place: place.clone(),
                    node: inside(value),
                });
                Value::Table(entries.collect())
            }
        };
        Node {
            place: place.clone(),
            value,
        }
    }

    /// The place of the longest prefix of `path` that exists: of the value for a whole match, of the last key otherwise.
    pub fn locate(&self, path: &[Step]) -> Place {
        let Some((step, rest)) = path.split_first() else {
            return self.place.clone();
        };
        match (step, &self.value) {
            (Step::Key(key), Value::Table(_)) => match self.get(key) {
                Some(entry) if rest.is_empty() && matches!(entry.node.value, Value::Table(_)) => {
                    entry.key_place.clone()
                }
                Some(entry) => match entry.node.locate(rest) {
                    place
                        if place == entry.node.place
                            && matches!(entry.node.value, Value::Table(_)) =>
                    {
                        entry.key_place.clone()
                    }
                    place => place,
                },
                None => self.place.clone(),
            },
            (Step::Index(index), Value::Array(items)) => items
                .get(*index)
                .map_or(self.place.clone(), |item| item.locate(rest)),
            _ => self.place.clone(),
        }
    }

    /// Calls `visit` for every string in the tree.
    pub fn for_each_string(&mut self, visit: &mut dyn FnMut(&Place, &mut String)) {
        match &mut self.value {
            Value::String(text) => visit(&self.place, text),
            Value::Array(items) => items
                .iter_mut()
                .for_each(|item| item.for_each_string(visit)),
            Value::Table(entries) => entries
                .iter_mut()
                .for_each(|entry| entry.node.for_each_string(visit)),
            _ => {}
        }
    }
}

/// One step of a path into the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// `optimizer.betas[0]` → its steps.
pub fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (key, indexes) = part
            .split_once('[')
            .map_or((part, ""), |(key, rest)| (key, rest));
        if !key.is_empty() {
            steps.push(Step::Key(key.to_owned()));
        }
        steps.extend(
            indexes
                .split(['[', ']'])
                .filter_map(|index| index.parse().ok())
                .map(Step::Index),
        );
    }
    steps
}

/// Parses `text`, which is `sources[source]`. How deep it may nest is the parser's to limit.
pub fn parse(text: &str, source: usize, problems: &mut Vec<Problem>) -> Node {
    let whole = Place {
        source,
        span: 0..text.chars().next().map_or(0, char::len_utf8),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = error
            .span()
            .map_or(whole.clone(), |span| Place { source, span });
        problems.push(
            Problem::new(
                &place,
                format!(
                    "not valid TOML: {}",
                    error.message().trim().replace('\n', ", ")
                ),
                "here",
            )
            .help(syntax_help(error.message())),
        );
    }
    Node {
        place: whole,
        value: from_table(table.get_ref(), source, problems),
    }
}

/// What to do about a syntax error, by the parser's word for it.
fn syntax_help(message: &str) -> &'static str {
    if message.contains("duplicate") {
        "each key and each table may stand once; remove or rename one"
    } else if message.contains("recurs") {
        "no field of a spec nests this deep; close a bracket"
    } else if message.contains("escape") {
        "a backslash begins an escape between double quotes; write paths with / or between single quotes"
    } else if message.contains("unclosed") || message.contains("comma") {
        "close every bracket, and separate items with commas"
    } else if message.contains("key") {
        "a line is `key = value`, `[kind.name]` or a `# comment`"
    } else {
        "strings stand in quotes; true, false and numbers do not"
    }
}

fn from_table(table: &DeTable<'_>, source: usize, problems: &mut Vec<Problem>) -> Value {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_place: Place {
                source,
                span: key.span(),
            },
            node: from_value(value, source, problems),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_place.span.start);
    Value::Table(entries)
}

fn from_value(value: &Spanned<DeValue<'_>>, source: usize, problems: &mut Vec<Problem>) -> Node {
    let place = Place {
        source,
        span: value.span(),
    };
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            match i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    problems.push(
                        Problem::new(
                            &place,
                            format!("the integer {} is out of range", number.as_str()),
                            "at most 9223372036854775807",
                        )
                        .help("write a smaller number"),
                    );
                    Value::Integer(0)
                }
            }
        }
        DeValue::Float(number) => {
            Value::Float(number.as_str().replace('_', "").parse().unwrap_or(f64::NAN))
        }
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(date) => Value::Datetime(date.to_string()),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| from_value(item, source, problems))
                .collect(),
        ),
        DeValue::Table(table) => from_table(table, source, problems),
    };
    Node { place, value }
}

/// Lays one `--set path=value` over the tree. A value that is not TOML is taken as a string, so that quotes may be left out.
/// Returns the path with its value.
pub fn set(
    root: &mut Node,
    argument: &str,
    sources: &mut Sources,
    problems: &mut Vec<Problem>,
) -> Option<(String, serde_json::Value)> {
    let source = sources.add(format!("--set {argument}"), argument);
    let whole = Place {
        source,
        span: 0..argument.len(),
    };
    let wrong = |message: String| {
        Problem::new(&whole, message, "expected path=value")
            .help("for example --set train.classifier.epochs=1")
    };
    let Some((path, text)) = argument.split_once('=') else {
        problems.push(wrong(format!("--set {argument} has no `=`")));
        return None;
    };
    let keys: Vec<&str> = path.trim().split('.').map(str::trim).collect();
    if keys.iter().any(|key| key.is_empty()) {
        problems.push(wrong(format!(
            "--set {argument} has an empty key in its path"
        )));
        return None;
    }
    let offset = path.len() + 1;
    let place = Place {
        source,
        span: offset..argument.len(),
    };
    if keys.len() > MAX_KEYS {
        problems.push(wrong(format!("the path of --set has {} keys", keys.len())));
        return None;
    }
    // A line as long as the argument, so that spans count from the argument's start.
    let line = format!("{:width$}={text}", "v", width = path.len());
    let parsed = DeTable::parse(&line).ok();
    let value = match parsed
        .as_ref()
        .map(|table| table.get_ref().iter().collect::<Vec<_>>())
    {
        Some(entries) if entries.len() == 1 => from_value(entries[0].1, source, problems).value,
        _ => Value::String(text.to_owned()),
    };
    let key_place = Place {
        source,
        span: 0..path.len(),
    };
    let node = Node { place, value };
    let laid = (keys.join("."), node.to_json());
    if let Err(NoTable { key, found }) = lay(root, &keys, &key_place, node) {
        problems.push(wrong(format!(
            "--set {path} leads into `{key}`, which is {found}"
        )));
        return None;
    }
    Some(laid)
}

/// A key on the way to a field holds no table.
#[derive(Debug, PartialEq, Eq)]
pub struct NoTable {
    pub key: String,
    /// What TOML calls that which stands there.
    pub found: &'static str,
}

/// Puts `node` where the path `keys` leads, and makes the tables on the way that are not there.
///
/// # Errors
/// Something on the way is no table. Nothing was laid then.
pub fn lay(root: &mut Node, keys: &[&str], key_place: &Place, node: Node) -> Result<(), NoTable> {
    let mut at = root;
    let mut owner = "";
    for (index, key) in keys.iter().enumerate() {
        let found = at.type_name();
        let Value::Table(entries) = &mut at.value else {
            let key = owner.to_owned();
            return Err(NoTable { key, found });
        };
        let position = entries
            .iter()
            .position(|entry| entry.key == **key)
            .unwrap_or_else(|| {
                let empty = Node {
                    place: key_place.clone(),
                    value: Value::Table(Vec::new()),
                };
                entries.push(Entry {
                    key: (*key).to_owned(),
                    key_place: key_place.clone(),
                    node: empty,
                });
                entries.len() - 1
            });
        let entry = &mut entries[position];
        if index + 1 == keys.len() {
            entry.key_place = key_place.clone();
            entry.node = node;
            return Ok(());
        }
        owner = key;
        at = &mut entry.node;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (Node, Vec<Problem>) {
        let mut problems = Vec::new();
        (parse(text, 0, &mut problems), problems)
    }

    #[test]
    fn a_value_knows_its_place() {
        let text = "seed = 3\n[train.a]\nepochs = 2\nbatch = { size = 8 }\n";
        let (root, problems) = read(text);
        assert!(problems.is_empty());
        let place = root.locate(&steps("train.a.batch.size"));
        assert_eq!(&text[place.span], "8");
        let place = root.locate(&steps("train.a"));
        assert_eq!(&text[place.span], "a");
    }

    #[test]
    fn every_syntax_error_is_reported() {
        let (_, problems) = read("a = \n[b\nc = \"x\nd = 1\n");
        assert!(problems.len() >= 2, "{problems:?}");
    }

    #[test]
    fn a_set_argument_replaces_and_creates() {
        let (mut root, mut problems) = read("[train.a]\nepochs = 2\n");
        let mut sources = Sources::default();
        sources.add("a.toml", "");
        set(&mut root, "train.a.epochs=5", &mut sources, &mut problems);
        set(
            &mut root,
            "vars.encoder=bert-base-uncased",
            &mut sources,
            &mut problems,
        );
        assert!(problems.is_empty());
        assert_eq!(
            root.to_json(),
            serde_json::json!({"train": {"a": {"epochs": 5}}, "vars": {"encoder": "bert-base-uncased"}})
        );
    }

    #[test]
    fn deep_texts_do_not_exhaust_the_stack() {
        let deep = [
            format!("a = {}", "[".repeat(10_000)),
            format!("a = {}", "[\n".repeat(10_000)),
            format!("{}a = 1", "a.".repeat(10_000)),
            format!("[{}a]", "a.".repeat(10_000)),
        ];
        for text in deep {
            assert!(!read(&text).1.is_empty());
        }
    }

    #[test]
    fn brackets_in_comments_and_strings_do_not_count() {
        let (_, problems) = read(&format!("# {0}\na = \"{0}\"\n", "[".repeat(500)));
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn a_span_in_a_set_argument_counts_from_its_start() {
        let (mut root, mut problems) = read("");
        let mut sources = Sources::default();
        sources.add("a.toml", "");
        let argument = "é={ a = 1, b = 99999999999999999999 }";
        set(&mut root, argument, &mut sources, &mut problems);
        assert_eq!(
            &argument[problems[0].place.span.clone()],
            "99999999999999999999"
        );
        let long = format!("{}a=1", "a.".repeat(60_000));
        set(&mut root, &long, &mut sources, &mut problems);
        assert_eq!(problems.len(), 2);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            read(&text);
        }

        #[test]
        fn no_set_argument_panics(text in "[a-z.=\\[\\]{}\"0-9 ]{0,40}") {
            let (mut root, mut problems) = read("[train.a]\nepochs = 2\n");
            set(&mut root, &text, &mut Sources::default(), &mut problems);
        }
    }
}
