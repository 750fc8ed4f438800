//! The card of a data set in a folder: the YAML between the two `---` at the beginning of its README, as JSON.
//!
//! On the hub a card comes as JSON; here it is a stranger's file, read event by event within bounds: so many bytes, so many
//! values (those that an alias repeats count each time), so deep. Plain `true`, `null` and numbers are what they look like;
//! everything else is text.
//!
//! Deliberately absent: merge keys (`<<`), which no card was seen to use, and what a card means
//! ([`dataset`](super::dataset)).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use super::dataset::DatasetError;

/// Bytes of YAML. The longest cards of the hub have a tenth of that.
const MOST_BYTES: usize = 4 << 20;
const MOST_VALUES: usize = 1_000_000;
const DEEPEST: usize = 64;

/// What the card of a data set's folder tells programs: of `README.md`, and over it `.huggingface.yaml`. Null where neither
/// says anything.
///
/// # Errors
/// A card that is no YAML, or too long, too deep or too large.
pub fn of_folder(folder: &Path) -> Result<Value, DatasetError> {
    let wrong = |name: &str, reason: String| DatasetError::WrongCard {
        reason: format!("{name}: {reason}"),
    };
    let read = |name: &str, read: fn(&str) -> Result<Value, String>| {
        let text = beginning(&folder.join(name)).map_err(|error| wrong(name, error.to_string()))?;
        text.map_or(Ok(Value::Null), |text| read(&text))
            .map_err(|reason| wrong(name, reason))
    };
    let card = read("README.md", front_matter)?;
    let further = read(".huggingface.yaml", |text| within(text).and_then(yaml))?;
    Ok(match (card, further) {
        (Value::Object(mut card), Value::Object(further)) => {
            card.extend(further);
            Value::Object(card)
        }
        (card, Value::Null) => card,
        (_, further) => further,
    })
}

/// The beginning of a file, a little more than may be read of it; none where there is no file.
fn beginning(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MOST_BYTES as u64 + 64).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn within(text: &str) -> Result<&str, String> {
    match text.len() > MOST_BYTES {
        true => Err(format!("it is longer than {} MiB", MOST_BYTES >> 20)),
        false => Ok(text),
    }
}

/// What stands between the first line, `---`, and the next such line.
fn front_matter(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.split_inclusive('\n');
    let is_rule = |line: &str| line.trim_end_matches(['\r', '\n']) == "---";
    let Some(first) = lines.next().filter(|line| is_rule(line)) else {
        return Ok(Value::Null);
    };
    let mut end = first.len();
    for line in lines {
        if is_rule(line) {
            return text.get(first.len()..end).map_or(Ok(Value::Null), yaml);
        }
        end += line.len();
    }
    // Without an end there is none, if there may not be one further on.
    within(text).map(|_| Value::Null)
}

/// An open sequence or mapping, with the anchor that names it.
enum Open {
    List(Vec<Value>, usize),
    Table(Map<String, Value>, Option<String>, usize),
}

/// The first document of a YAML text.
fn yaml(text: &str) -> Result<Value, String> {
    let mut anchored: BTreeMap<usize, (Value, usize)> = BTreeMap::new();
    let (mut open, mut values): (Vec<Open>, usize) = (Vec::new(), 0);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let line = error.marker().line();
            format!("line {}: {}", line + 1, error.info())
        })?;
        let line = span.start.line() + 1;
        let (value, anchor) = match event {
            Event::SequenceStart(anchor, _) => {
                open.push(Open::List(Vec::new(), anchor));
                (None, 0)
            }
            Event::MappingStart(anchor, _) => {
                open.push(Open::Table(Map::new(), None, anchor));
                (None, 0)
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(items, anchor)) => (Some(Value::Array(items)), anchor),
                Some(Open::Table(fields, _, anchor)) => (Some(Value::Object(fields)), anchor),
                None => (None, 0),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let is_key = matches!(open.last(), Some(Open::Table(_, None, _)));
                let value = match plain && !is_key {
                    true => plain_value(&text),
                    false => Value::String(text.into_owned()),
                };
                (Some(value), anchor)
            }
            Event::Alias(anchor) => match anchored.get(&anchor) {
                Some((value, size)) => {
                    values += size;
                    bounded(values, line)?;
                    (Some(value.clone()), 0)
                }
                None => return Err(format!("line {line}: an alias of what is not there yet")),
            },
            Event::DocumentEnd => break,
            _ => (None, 0),
        };
        if open.len() > DEEPEST {
            return Err(format!(
                "line {line}: it is nested deeper than {DEEPEST} levels"
            ));
        }
        let Some(value) = value else { continue };
        values += 1;
        bounded(values, line)?;
        if anchor > 0 {
            let size = size_of(&value);
            values += size;
            bounded(values, line)?;
            anchored.insert(anchor, (value.clone(), size));
        }
        match open.last_mut() {
            None => return Ok(value),
            Some(Open::List(items, _)) => items.push(value),
            Some(Open::Table(fields, key, _)) => match (key.take(), value) {
                (Some(key), value) => {
                    fields.insert(key, value);
                }
                (None, Value::String(name)) => *key = Some(name),
                (None, _) => return Err(format!("line {line}: a key that is no text")),
            },
        }
    }
    Ok(Value::Null)
}

fn bounded(values: usize, line: usize) -> Result<(), String> {
    match values > MOST_VALUES {
        true => Err(format!(
            "line {line}: it has more than {MOST_VALUES} values"
        )),
        false => Ok(()),
    }
}

fn size_of(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size_of).sum(),
        Value::Object(fields) => fields.values().map(size_of).sum(),
        _ => 0,
    }
}

fn plain_value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let integer = text.parse::<i64>().ok();
    if let Some(integer) = integer.filter(|integer| integer.to_string() == text) {
        return integer.into();
    }
    let is_numeric = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let is_fraction = is_numeric && text.contains('.');
    let number = is_fraction.then(|| text.parse::<f64>().ok()).flatten();
    match number.and_then(Number::from_f64) {
        Some(number) => Value::Number(number),
        None => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_card_is_read_as_the_hub_gives_it() {
        let text = "---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n\
                    dataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': no\n          \
                    1: \"yes\"\n  splits:\n  - name: train\n    num_bytes: 12.5\n    num_examples: 3\n  gone: ~\n---\n# A data set\n---\n";
        let card = json!({
            "license": "mit",
            "configs": [{ "config_name": "default", "data_files": [{ "split": "train", "path": "data/train-*" }] }],
            "dataset_info": {
                "features": [{ "name": "label", "dtype": { "class_label": { "names": { "0": "no", "1": "yes" } } } }],
                "splits": [{ "name": "train", "num_bytes": 12.5, "num_examples": 3 }],
                "gone": null,
            },
        });
        assert_eq!(front_matter(text), Ok(card.clone()));
        assert_eq!(front_matter(&text.replace('\n', "\r\n")), Ok(card));
    }

    #[test]
    fn a_readme_without_a_card_has_none() {
        for text in [
            "",
            "# A data set\n",
            "text\n---\na: 1\n---\n",
            "---\na: 1\n",
            " ---\na: 1\n---\n",
        ] {
            assert_eq!(front_matter(text), Ok(Value::Null), "{text}");
        }
    }

    #[test]
    fn an_alias_repeats_what_its_anchor_names() {
        let read = yaml("a: &x [1, b]\nc: *x\nd: {e: &y f, g: *y}\n");
        assert_eq!(
            read,
            Ok(json!({ "a": [1, "b"], "c": [1, "b"], "d": { "e": "f", "g": "f" } }))
        );
    }

    #[test]
    fn hostile_cards_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..40 {
            let all = vec![format!("*a{}", n - 1); 9].join(", ");
            bomb.push_str(&format!("a{n}: &a{n} [{all}]\n"));
        }
        let refused = |text: &str| front_matter(&format!("---\n{text}\n---\n")).unwrap_err();
        assert!(refused(&bomb).contains("more than 1000000 values"));
        let deep = (0..2000)
            .map(|n| format!("{}a:\n", " ".repeat(n)))
            .collect::<String>();
        assert!(
            refused(&deep).contains("deeper than 64"),
            "{}",
            refused(&deep)
        );
        refused(&"[".repeat(100_000));
        refused(&"{a: ".repeat(100_000));
        refused("a: *nothing");
        refused("a: [1, 2");
        refused("? [a, b]\n: c");
        let long = format!("---\n{}", "a: b\n".repeat(2_000_000));
        let long = front_matter(&long[..MOST_BYTES + 60]).unwrap_err();
        assert!(long.contains("longer than 4 MiB"), "{long}");
        let many = "- a\n".repeat(1_000_001);
        assert!(yaml(&many).is_err());
    }

    #[test]
    fn a_further_file_adds_to_the_readme() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(of_folder(folder.path()), Ok(Value::Null));
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("README.md", "---\na: 1\nb: 2\n---\n");
        write(".huggingface.yaml", "b: 3\n");
        assert_eq!(of_folder(folder.path()), Ok(json!({ "a": 1, "b": 3 })));
        write(".huggingface.yaml", "b: [");
        let error = of_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains(".huggingface.yaml: line"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[-a-c0-2:?{}\\[\\]&*!|>'\"# \n,~<]{0,60}") {
            let _ = front_matter(&format!("---\n{text}\n---\n"));
        }
    }
}
