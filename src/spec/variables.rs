//! `${name}`, `${env:NAME}` and `${env:NAME:-default}` in the strings of a spec.
//!
//! Variables come from `[vars]`, whose own strings may refer to the environment and to each other. `$${` stands for a
//! literal `${`. Substitution happens once, before anything else looks at a string.
//!
//! Deliberately absent: expressions, conditions, values that are not strings.

use std::collections::BTreeMap;

use super::document::{Node, Value};
use super::problem::{Place, Problem, did_you_mean, listed};
use crate::stage::Meant;

/// How deep variables may refer to variables.
const MAX_DEPTH: usize = 64;
/// How long a string may become. A spec may come from a stranger, and doublings grow fast.
const MAX_LENGTH: usize = 64 * 1024;

/// Replaces every reference below `root`, and reports those that lead nowhere.
pub fn substitute(
    root: &mut Node,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) {
    let written = written_variables(root);
    let mut known = BTreeMap::new();
    for name in written.keys() {
        let mut trail = Vec::new();
        resolve(
            name,
            &written,
            &mut known,
            &mut trail,
            environment,
            problems,
        );
    }
    let is_variable = |place: &Place| written.values().any(|(at, _)| at == place);
    root.for_each_string(&mut |place, text| {
        let mut variable = |name: &str, problems: &mut Vec<Problem>| {
            let value = known.get(name).cloned().flatten();
            if value.is_none() && !written.contains_key(name) {
                problems.push(unknown(name, place, &written));
            } else if value.is_none() && !is_variable(place) {
                problems.push(
                    Problem::new(place, format!("`${{{name}}}` has no value"), "unusable")
                        .help(format!("mend `{name}` under `[vars]` first")),
                );
            }
            value
        };
        let mut reference = |reference: &str, problems: &mut Vec<Problem>| {
            look_up(reference, place, environment, problems, &mut variable)
        };
        if let Some(replaced) = replace(text, place, problems, &mut reference) {
            *text = replaced;
        }
    });
    // A variable's own faults were met twice: while it was resolved, and as a string of the tree.
    let mut seen: Vec<Problem> = Vec::new();
    problems.retain(|problem| {
        let new = !seen.contains(problem);
        if new {
            seen.push(problem.clone());
        }
        new
    });
}

fn written_variables(root: &Node) -> BTreeMap<String, (Place, String)> {
    let Some(vars) = root.get("vars") else {
        return BTreeMap::new();
    };
    vars.node
        .entries()
        .iter()
        .filter_map(|entry| match &entry.node.value {
            Value::String(text) => {
                Some((entry.key.clone(), (entry.node.place.clone(), text.clone())))
            }
            _ => None,
        })
        .collect()
}

fn resolve(
    name: &str,
    written: &BTreeMap<String, (Place, String)>,
    known: &mut BTreeMap<String, Option<String>>,
    trail: &mut Vec<String>,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    // What has no value is remembered as well: two references to it must not be two searches.
    if let Some(value) = known.get(name) {
        return value.clone();
    }
    let (place, text) = written.get(name)?;
    if let Some(start) = trail.iter().position(|seen| seen == name) {
        let circle = trail[start..]
            .iter()
            .map(String::as_str)
            .chain([name])
            .collect::<Vec<_>>()
            .join(" → ");
        problems.push(
            Problem::new(
                place,
                format!("the variable `{name}` refers to itself: {circle}"),
                "a circle",
            )
            .help("give one of them a plain value"),
        );
        return None;
    }
    if trail.len() >= MAX_DEPTH {
        let message = format!("variables refer to each other more than {MAX_DEPTH} deep");
        problems.push(Problem::new(place, message, "too deep").help("write some of them out"));
        return None;
    }
    trail.push(name.to_owned());
    let value = replace(text, place, problems, &mut |reference, problems| {
        look_up(
            reference,
            place,
            environment,
            problems,
            &mut |other, problems| {
                if !written.contains_key(other) {
                    problems.push(unknown(other, place, written));
                    return None;
                }
                resolve(other, written, known, trail, environment, problems)
            },
        )
    });
    trail.pop();
    known.insert(name.to_owned(), value.clone());
    value
}

fn unknown(name: &str, place: &Place, written: &BTreeMap<String, (Place, String)>) -> Problem {
    let names = || written.keys().map(String::as_str);
    let near = did_you_mean(name, names());
    let help = match near {
        Some(near) => format!("did you mean `${{{near}}}`?"),
        None if written.is_empty() => format!(
            "write `{name} = \"…\"` under `[vars]`, or `${{env:{name}}}` for the environment"
        ),
        None => format!(
            "`[vars]` has {}; `${{env:NAME}}` reads the environment",
            listed(names(), "and")
        ),
    };
    Problem::new(
        place,
        format!("there is no variable `{name}`"),
        "unknown variable",
    )
    .help(help)
    .meant(near.map(|near| Meant::new(name, near)))
}

type Lookup<'a> = &'a mut dyn FnMut(&str, &mut Vec<Problem>) -> Option<String>;

fn look_up(
    reference: &str,
    place: &Place,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
    variable: Lookup<'_>,
) -> Option<String> {
    let Some(rest) = reference.strip_prefix("env:") else {
        return variable(reference.trim(), problems);
    };
    let (name, default) = rest
        .split_once(":-")
        .map_or((rest, None), |(name, default)| (name, Some(default)));
    // As in a shell, `:-` also covers a variable that is set to nothing.
    let found = environment(name).filter(|value| default.is_none() || !value.is_empty());
    if let Some(value) = found.or_else(|| default.map(str::to_owned)) {
        return Some(value);
    }
    problems.push(
        Problem::new(
            place,
            format!("the environment variable `{name}` is not set"),
            "needs it",
        )
        .help(format!("set it, or give a default: `${{env:{name}:-…}}`")),
    );
    None
}

/// The text with every reference replaced; nothing when one could not be.
fn replace(
    text: &str,
    place: &Place,
    problems: &mut Vec<Problem>,
    look_up: Lookup<'_>,
) -> Option<String> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    let mut whole = true;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            done.push_str(&rest[..at - 1]);
            done.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        done.push_str(&rest[..at]);
        let Some(end) = rest[at..].find('}') else {
            problems.push(
                Problem::new(place, "a `${` is never closed", "expected `}`")
                    .help("close it, or write `$${` for a literal `${`"),
            );
            return None;
        };
        match look_up(&rest[at + 2..at + end], problems) {
            Some(value) => done.push_str(&value),
            None => whole = false,
        }
        if done.len() > MAX_LENGTH {
            let message = format!("this becomes longer than {MAX_LENGTH} bytes");
            problems
                .push(Problem::new(place, message, "too long").help("refer to fewer variables"));
            return None;
        }
        rest = &rest[at + end + 1..];
    }
    done.push_str(rest);
    whole.then_some(done)
}

#[cfg(test)]
mod tests {
    use super::super::document::parse;
    use super::*;

    fn substituted(text: &str) -> (serde_json::Value, Vec<String>) {
        let mut problems = Vec::new();
        let mut root = parse(text, 0, &mut problems);
        let environment = |name: &str| (name == "HOME").then(|| "/home/someone".to_owned());
        substitute(&mut root, &environment, &mut problems);
        (
            root.to_json(),
            problems
                .into_iter()
                .map(|problem| problem.message)
                .collect(),
        )
    }

    #[test]
    fn variables_may_use_variables_and_the_environment() {
        let (json, problems) = substituted(
            "a = \"${x}/y\"\nb = \"${env:NONE:-d}\"\nc = \"$${x}\"\n[vars]\nx = \"${base}/m\"\nbase = \"${env:HOME}\"\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(json["a"], "/home/someone/m/y");
        assert_eq!(json["b"], "d");
        assert_eq!(json["c"], "${x}");
    }

    #[test]
    fn every_dead_reference_is_reported_once() {
        let (_, problems) = substituted(
            "a = \"${encodr}\"\nb = \"${\"\nc = \"${env:NONE}\"\n[vars]\nencoder = \"e\"\nx = \"${y}\"\ny = \"${x}\"\n",
        );
        assert_eq!(problems.len(), 4, "{problems:?}");
    }

    #[test]
    fn long_chains_and_doublings_are_refused() {
        let chain: String = (0..10_000)
            .map(|n| format!("v{n} = \"${{v{}}}\"\n", n + 1))
            .collect();
        let (_, problems) = substituted(&format!("[vars]\n{chain}v10000 = \"x\"\n"));
        assert!(problems.iter().any(|problem| problem.contains("deep")));
        let doubled: String = (0..40)
            .map(|n| format!("v{n} = \"${{v{0}}}${{v{0}}}\"\n", n + 1))
            .collect();
        let (_, problems) = substituted(&format!("[vars]\n{doubled}v40 = \"0123456789\"\n"));
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains("longer than"))
        );
    }
}
