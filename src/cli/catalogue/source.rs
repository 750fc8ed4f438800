//! What the sources of this program say of its errors: which there are, and the messages of faults and problems.
//!
//! A reader of Rust's brackets and strings, and of no more: the layout of a file is its own, and whatever stands in a
//! string or a comment is not taken for code.

use std::path::{Path, PathBuf};

/// A type that derives `thiserror::Error`.
pub(super) struct Declared {
    /// With its module: `refit::store::error::StoreError`.
    name: String,
    /// Those of an enum that say something themselves; of a struct its own name.
    variants: Vec<String>,
}

impl Declared {
    /// The type's name and the variant's, of each that needs a sample.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (String, String)> {
        let variants = self.variants.iter();
        variants.map(|variant| (self.name.clone(), variant.clone()))
    }
}

/// A place where a message is written.
pub(super) struct Call {
    file: String,
    line: usize,
    callee: &'static str,
    /// The string literals among the arguments that are shown to the user.
    texts: Vec<String>,
    forwards: bool,
    helped: bool,
}

impl Call {
    pub(super) fn place(&self) -> String {
        format!("{}:{} {}", self.file, self.line, self.callee)
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(String::as_str)
    }

    /// Whether it makes a problem that is given no help; one made of another's words is helped where these are written.
    pub(super) fn lacks_help(&self) -> bool {
        PROBLEMS.contains(&self.callee) && !self.helped && !self.forwards
    }
}

/// What takes a field, a message and a help, or a message and a help.
const FAULTS: [&str; 3] = ["Fault::new(", "fault(", "Mismatch {"];
/// What takes a place, a message and a label, or a message and a label; the help follows.
const PROBLEMS: [&str; 2] = ["Problem::new(", "problem("];

pub(super) fn errors() -> Vec<Declared> {
    let files = sources();
    let all = files.iter();
    all.flat_map(|(path, text)| errors_in(&module(path), text))
        .collect()
}

pub(super) fn calls() -> Vec<Call> {
    let files = sources();
    let all = files.iter();
    all.flat_map(|(path, text)| calls_in(&path.display().to_string(), text))
        .collect()
}

/// Every file of the program but its tests, from `src`, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut pending = vec![root.clone()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            if stem == "tests" || stem == "catalogue" {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                let path = path.strip_prefix(&root).unwrap().to_owned();
                found.push((path, text.to_owned()));
            }
        }
    }
    found.sort();
    found
}

/// `store/error.rs` → `refit::store::error`.
fn module(path: &Path) -> String {
    let stems = path.with_extension("");
    let stems = stems.iter().map(|stem| stem.to_string_lossy().into_owned());
    let parts = std::iter::once("refit".to_owned()).chain(stems.filter(|stem| stem != "lib"));
    parts.collect::<Vec<_>>().join("::")
}

pub(super) fn errors_in(module: &str, text: &str) -> Vec<Declared> {
    let code = blanked(text);
    assert!(
        !code.contains("use thiserror"),
        "{module}: write `thiserror::Error` where it is derived, so that this test can read it"
    );
    let mut found = Vec::new();
    for (at, _) in code.match_indices("thiserror::Error") {
        let rest = &code[at..];
        let declaration = [" enum ", " struct ", "\nenum ", "\nstruct "].into_iter();
        let keyword = declaration.filter_map(|word| Some((rest.find(word)?, word)));
        let (start, word) = keyword.min().expect("a type follows a derive");
        let name = word_at(&rest[start + word.len()..]);
        let variants = if word.contains("struct") {
            vec![name.clone()]
        } else {
            let open = start + rest[start..].find('{').expect("an enum has a body");
            let body = &rest[open + 1..open + closing(&rest[open..])];
            let variants = items(body).into_iter();
            let own = variants.filter(|item| !body[item.clone()].contains("(transparent)"));
            own.map(|item| word_at(without_attributes(&body[item])))
                .filter(|variant| !variant.is_empty())
                .collect()
        };
        found.push(Declared {
            name: format!("{module}::{name}"),
            variants,
        });
    }
    found
}

pub(super) fn calls_in(file: &str, text: &str) -> Vec<Call> {
    let code = blanked(text);
    let mut found = Vec::new();
    for callee in FAULTS.into_iter().chain(PROBLEMS) {
        for (at, _) in code.match_indices(callee) {
            let before = code[..at].trim_end();
            let of_another_name = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let of_an_object = before.ends_with('.');
            if of_another_name || of_an_object || before.ends_with("fn") {
                continue;
            }
            let open = at + callee.len() - 1;
            let close = open + closing(&code[open..]);
            let whole = open + 1..close;
            let mut arguments = items(&code[whole.clone()]);
            arguments.retain(|argument| !code[whole.clone()][argument.clone()].trim().is_empty());
            // A pattern, or an enum's own definition.
            let is_text = |argument: &str| argument.contains(['"', '!', '(']);
            let forwards = arguments
                .iter()
                .skip(usize::from(arguments.len() > 2))
                .all(|argument| !is_text(&code[whole.clone()][argument.clone()]));
            // The first of three is a field or a place.
            let shown = arguments.iter().skip(usize::from(arguments.len() > 2));
            let texts = shown.filter_map(|argument| {
                let range = whole.start + argument.start..whole.start + argument.end;
                literal(&code[range.clone()], &text[range])
            });
            found.push(Call {
                file: file.to_owned(),
                line: code[..at].matches('\n').count() + 1,
                callee,
                texts: texts.collect(),
                forwards,
                helped: code[close + 1..].trim_start().starts_with(".help("),
            });
        }
    }
    found.sort_by_key(|call| call.line);
    found
}

/// The string that an argument is: by itself, of a field, in a `format!`, or made owned.
fn literal(code: &str, text: &str) -> Option<String> {
    let begun = code.trim_start();
    let begun = match begun.split_once(": ") {
        Some((field, rest)) if field.chars().all(|c| c.is_alphanumeric() || c == '_') => rest,
        _ => begun,
    };
    let begun = begun.trim_start().trim_start_matches('&');
    let begun = begun.strip_prefix("format!(").unwrap_or(begun).trim_start();
    let inner = begun.strip_prefix('"')?;
    let start = code.len() - inner.len();
    let end = start + inner.find('"')?;
    let text = text[start..end].replace("\\\"", "\"");
    // A string goes on behind a line's last backslash.
    let lines = text.split("\\\n").map(str::trim_start);
    Some(lines.collect::<Vec<_>>().concat())
}

/// What an error holds, of its `Debug`: every string, and every number of a field.
pub(super) fn data_of(held: &str) -> Vec<String> {
    let code = blanked(held);
    let mut data = Vec::new();
    let mut from = 0;
    while let Some(start) = code[from..].find('"').map(|at| from + at) {
        let end = start + 1 + code[start + 1..].find('"').expect("strings are closed");
        let datum: Result<String, _> = serde_json::from_str(&held[start..=end]);
        data.push(datum.expect("strings of samples are plain"));
        from = end + 1;
    }
    let numbers = code.split([' ', ',', '(', ')', '[', ']']);
    let plain = numbers.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    data.extend(plain.map(str::to_owned));
    data.retain(|datum| !datum.is_empty());
    data
}

fn word_at(text: &str) -> String {
    let word = text.trim_start().chars();
    word.take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

fn without_attributes(item: &str) -> &str {
    let mut item = item.trim_start();
    while let Some(rest) = item.strip_prefix('#') {
        item = rest[closing(rest) + 1..].trim_start();
    }
    item
}

/// Where the bracket closes that blanked code begins with.
fn closing(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    panic!("a bracket stays open: {code}")
}

/// What stands between the commas of blanked code that are in no bracket, those of types included.
fn items(code: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(start..code.len());
    found
}

/// The code, byte for byte, with blanks for what stands in strings, characters and comments.
fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (begin, end) = if rest.starts_with(b"//") {
            (0, find(rest, b"\n").unwrap_or(rest.len()))
        } else if rest.starts_with(b"/*") {
            (0, find(rest, b"*/").map_or(rest.len(), |end| end + 2))
        } else if let Some(hashes) = raw_string(rest, at.checked_sub(1).map(|at| bytes[at])) {
            let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
            let begin = hashes + 2;
            (
                begin,
                begin + find(&rest[begin..], &close).expect("raw strings are closed"),
            )
        } else if rest[0] == b'"' {
            (1, string(rest))
        } else if let Some(length) = character(rest) {
            (1, length - 1)
        } else {
            at += 1;
            continue;
        };
        for byte in &mut code[at + begin..at + end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += end + usize::from(begin > 0);
    }
    String::from_utf8(code).expect("whole characters were blanked")
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|found| found == wanted)
}

/// How many hashes a raw string begins with.
fn raw_string(bytes: &[u8], before: Option<u8>) -> Option<usize> {
    let rest = bytes.strip_prefix(b"r")?;
    if before.is_some_and(|c| (c.is_ascii_alphanumeric() && c != b'b') || c == b'_') {
        return None;
    }
    let hashes = rest.iter().take_while(|c| **c == b'#').count();
    (rest.get(hashes) == Some(&b'"')).then_some(hashes)
}

/// Where a string's closing quote is.
fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at
}

/// The length of a character's literal; none for a lifetime.
fn character(bytes: &[u8]) -> Option<usize> {
    let rest = std::str::from_utf8(bytes.get(..bytes.len().min(16))?);
    let rest = match rest {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?,
    };
    let inner = rest.strip_prefix('\'')?;
    if let Some(escaped) = inner.strip_prefix('\\') {
        let skipped = escaped.chars().next()?.len_utf8();
        let end = escaped[skipped..].find('\'')?;
        return Some(2 + skipped + end + 1);
    }
    let c = inner.chars().next()?;
    inner[c.len_utf8()..]
        .starts_with('\'')
        .then_some(c.len_utf8() + 2)
}
