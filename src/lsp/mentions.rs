//! Where a spec names its stages and variables: at their tables, in the fields that take them, in a sweep, in `${…}`.
//!
//! The one list behind definitions, references, renaming, hovers and symbols. It is made of the text alone, so that it is there
//! while the spec is broken.
//!
//! Deliberately absent: whether what is named exists.

use std::ops::Range;

use super::scan::{Token, What};
use crate::artifact::Kind;
use crate::stage::KINDS;

/// A name at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) of: Of,
    pub(super) name: String,
    /// Bytes of the name alone.
    pub(super) span: Range<usize>,
    /// Of what a table or a key declares, the keys that lead to it; nothing where it is used.
    pub(super) declares: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Stage,
    Variable,
}

impl Mention {
    /// Whether both name the same thing.
    pub(super) fn is_of(&self, other: &Mention) -> bool {
        self.of == other.of && self.name == other.name
    }
}

/// What the field at `path` (`train.NAME.input`) takes, where its value is a stage; nothing where it is none.
pub(super) fn accepts(path: &[String]) -> Vec<Kind> {
    edge_field(path, false)
}

/// What the table around `path` (`augment.NAME.inputs.KEY`) takes, where its keys are stages.
pub(super) fn accepts_as_key(path: &[String]) -> Vec<Kind> {
    edge_field(path, true)
}

fn edge_field(path: &[String], by_key: bool) -> Vec<Kind> {
    let [kind, _, field @ ..] = path else {
        return Vec::new();
    };
    let Some(kind) = KINDS.iter().find(|known| known.name == kind) else {
        return Vec::new();
    };
    let fits = |pattern: &str| {
        let mut parts = pattern.split('.');
        let same = field
            .iter()
            .all(|key| parts.next().is_some_and(|part| part == "*" || part == key));
        same && parts.next().is_none() && pattern.ends_with('*') == by_key
    };
    let fields = (kind.edge_fields)().iter();
    let fitting = fields.filter(|(pattern, _)| fits(pattern));
    fitting.map(|(_, kind)| *kind).collect()
}

/// Every mention, in the order of the text.
pub(super) fn mentions(text: &str, tokens: &[Token]) -> Vec<Mention> {
    let mut found = Vec::new();
    for token in tokens {
        let word = &text[token.span.clone()];
        let start = token.span.start;
        let mut add = |of, range: Range<usize>, declares| {
            let name = word[range.clone()].to_owned();
            let span = start + range.start..start + range.end;
            found.push(Mention {
                of,
                name,
                span,
                declares,
            });
        };
        let path: Vec<&str> = token.path.iter().map(String::as_str).collect();
        match (token.what, path.as_slice()) {
            (What::Header | What::Key, ["vars", _]) => {
                add(Of::Variable, 0..word.len(), Some(token.path.clone()));
            }
            (What::Header | What::Key, [kind, _])
                if KINDS.iter().any(|known| known.name == *kind) =>
            {
                add(Of::Stage, 0..word.len(), Some(token.path.clone()));
            }
            (What::Header | What::Key, ["sweep", "parameters", .., parameter]) => {
                if let Some((of, range)) = of_parameter(parameter) {
                    add(of, range, None);
                }
            }
            (What::Key, _) if !accepts_as_key(&token.path).is_empty() => {
                add(Of::Stage, 0..word.len(), None);
            }
            (What::Text, _) if word.contains("${") => {
                for range in variables(word) {
                    add(Of::Variable, range, None);
                }
            }
            (What::Text, ["sweep", "goal", "maximize" | "minimize"]) => {
                let end = word.find('.').unwrap_or(word.len());
                add(Of::Stage, 0..end, None);
            }
            (What::Text, _) if !accepts(&token.path).is_empty() => {
                add(Of::Stage, 0..word.len(), None);
            }
            _ => {}
        }
    }
    found
}

/// The stage or variable in the path of a parameter: `train.NAME.epochs`, `vars.NAME`.
fn of_parameter(parameter: &str) -> Option<(Of, Range<usize>)> {
    let (first, rest) = parameter.split_once('.')?;
    let of = match first {
        "vars" => Of::Variable,
        _ if KINDS.iter().any(|kind| kind.name == first) => Of::Stage,
        _ => return None,
    };
    let start = first.len() + 1;
    let end = start + rest.find('.').unwrap_or(rest.len());
    Some((of, start..end))
}

/// The names in `${name}`, but not in `$${`, which stands for itself, nor in `${env:NAME}`.
fn variables(word: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = word[from..].find("${").map(|at| from + at) {
        let start = at + 2;
        from = start;
        if word[..at].ends_with('$') {
            continue;
        }
        let Some(end) = word[start..].find('}').map(|end| start + end) else {
            break;
        };
        let inside = &word[start..end];
        let name = inside.trim();
        if !name.is_empty() && !name.starts_with("env:") {
            let start = start + (inside.len() - inside.trim_start().len());
            found.push(start..start + name.len());
        }
        from = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::scan::tokens;
    use super::*;

    const SPEC: &str = r#"
[vars]
encoder = "x"
[load.data]
train = "${encoder}/$${no}/${env:HOME}.csv"
[augment.both]
inputs = { data = 1.0, "more" = 0.5 }
[tokenize.tokens]
input = "both"
tokenizer = "${ encoder }"
[train.c]
input = "tokens"
[train.c.batch]
size = 1
[sweep]
goal = { maximize = "c.accuracy" }
[sweep.parameters]
"train.c.epochs" = [1, 2]
"vars.encoder" = ["a", "b"]
set = { together = [{ "train.c.seed" = 1 }], when = { "vars.encoder" = "a" } }
"#;

    #[test]
    fn every_name_is_found_wherever_it_stands() {
        let found = mentions(SPEC, &tokens(SPEC));
        let spans = |of: Of, name: &str| {
            let of_it = found.iter().filter(|one| one.of == of && one.name == name);
            for one in of_it.clone() {
                assert_eq!(&SPEC[one.span.clone()], name);
            }
            let declared = of_it.clone().filter(|one| one.declares.is_some()).count();
            (declared, of_it.count() - declared)
        };
        assert_eq!(spans(Of::Stage, "data"), (1, 1));
        assert_eq!(spans(Of::Stage, "more"), (0, 1));
        assert_eq!(spans(Of::Stage, "both"), (1, 1));
        assert_eq!(spans(Of::Stage, "tokens"), (1, 1));
        assert_eq!(spans(Of::Stage, "c"), (2, 3));
        assert_eq!(spans(Of::Variable, "encoder"), (1, 4));
        assert_eq!(found.len(), 17);
    }

    /// What a kind says of its fields without a stage is what its stages say of theirs.
    #[test]
    fn the_fields_that_name_stages_are_those_of_the_stages() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/good_specs");
        let mut seen = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|ending| ending != "toml") {
                continue;
            }
            let (pipeline, _) = crate::spec::Pipeline::read(&path, &[]).unwrap();
            for stage in &pipeline.stages {
                let kind = KINDS.iter().find(|kind| kind.name == stage.kind).unwrap();
                assert_eq!(kind.produces, stage.stage.produces(), "{}", stage.kind);
                for edge in stage.stage.edges() {
                    let field = edge.field.split('.');
                    let path = [stage.kind, &stage.name].into_iter().chain(field);
                    let path: Vec<String> = path.map(str::to_owned).collect();
                    let accepted = [accepts(&path), accepts_as_key(&path)].concat();
                    assert!(
                        edge.kinds().all(|kind| accepted.contains(&kind)),
                        "{path:?}"
                    );
                    seen.insert(stage.kind);
                }
            }
        }
        assert!(seen.len() >= 5, "{seen:?}");
    }
}
