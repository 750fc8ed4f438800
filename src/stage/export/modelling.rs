//! The Python file with the class of a head that transformers does not have.
//!
//! BERT with a plain head has a file of its own, which stays as it was for the sake of what was exported with it; every other
//! model has the same one. What the two have in common is in `modelling/parts.py`, put together when a model is exported: a folder that
//! loads with `trust_remote_code` should hold one file that can be read from top to bottom.

/// By the name that `auto_map` refers to.
pub(super) const FILE: &str = "modeling_refit.py";

const BERT: &str = include_str!("modelling/bert.py");
const ANY: &str = include_str!("modelling/any.py");
const PARTS: &str = include_str!("modelling/parts.py");

/// How the line before a part begins, and the line in a file where the part stands.
const PART: &str = "# part: ";

/// The file for a model whose encoder and head are those of BERT's own file, or any others.
pub(super) fn source(is_bert: bool) -> String {
    let file = match is_bert {
        true => BERT,
        false => ANY,
    };
    let lines = file.lines();
    lines
        .flat_map(|line| [part(line).unwrap_or(line), "\n"])
        .collect()
}

/// What stands in the place of a line that names a part.
fn part(line: &str) -> Option<&'static str> {
    let named = line.strip_prefix(PART)?;
    PARTS.split(PART).find_map(|part| {
        let (name, text) = part.split_once('\n')?;
        (name == named).then(|| text.trim_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_in_both_files_once_and_none_is_missing() {
        let names: Vec<&str> = PARTS.lines().filter_map(|l| l.strip_prefix(PART)).collect();
        assert!(!names.is_empty());
        for (file, is_bert) in [(BERT, true), (ANY, false)] {
            let named: Vec<&str> = file.lines().filter_map(|l| l.strip_prefix(PART)).collect();
            assert_eq!(named, names);
            let source = source(is_bert);
            assert!(!source.contains(PART));
            assert_eq!(source.matches("class Crf(").count(), 1);
        }
    }
}
