//! What is wrong with a `[sweep]` that its schema cannot say.
//!
//! Deliberately absent: whether a value suits its field, which shows when it is laid over the file.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Domain, Parameter, Search, SweepSettings};
use crate::artifact::Kind;
use crate::spec::{Declared, Written, did_you_mean, listed};
use crate::stage::{Fault, Meant};

/// Where a fault of a sweep lies.
#[derive(Debug)]
pub(super) enum At {
    /// A field of `[sweep]`, by its path.
    Field(&'static str),
    /// A parameter, by its name.
    Parameter(String),
}

/// Top-level keys that no trial can differ in: a trial would be another pipeline, or no other result.
const FIXED: [&str; 4] = ["version", "name", "run", "sweep"];

/// Every fault, with its place. `stages` are those whose settings could be read.
pub(super) fn faults(
    settings: &SweepSettings,
    stages: &[Written],
    declared: &[Declared],
) -> Vec<(At, Fault)> {
    let mut faults = goal(settings, stages, declared);
    faults.extend(length(settings));
    faults.extend(cut(settings, stages, declared));
    for parameter in &settings.parameters.0 {
        let found = domain(parameter, settings.search).into_iter();
        let found = found.chain(condition(parameter, settings));
        faults.extend(found.map(|fault| (At::Parameter(parameter.name.clone()), fault)));
    }
    faults.extend(set_twice(settings));
    faults.extend(circles(settings));
    faults
}

fn fault(message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault::new("", message, help)
}

fn goal(settings: &SweepSettings, stages: &[Written], declared: &[Declared]) -> Vec<(At, Fault)> {
    let at = |found: Fault| vec![(At::Field("goal"), found)];
    let Some((stage, metric, _)) = settings.goal.parts() else {
        return at(fault(
            "a goal is one stage's metric, to be maximized or minimized",
            "write `goal = { maximize = \"classifier.f1_macro\" }` or `goal = { minimize = \"classifier.loss\" }`",
        ));
    };
    let Some(scored) = stages.iter().find(|other| other.name == stage) else {
        // A stage that is there but unsound was reported already.
        if declared.iter().any(|other| other.name == stage) {
            return Vec::new();
        }
        let scoring = stages
            .iter()
            .filter(|other| other.stage.scoring().is_some());
        let names = || scoring.clone().map(|other| other.name.as_str());
        let near = did_you_mean(stage, names());
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("stages with scores: {}", listed(names(), "and")),
        };
        let meant = near.map(|near| Meant::new(stage, near));
        return at(fault(format!("there is no stage `{stage}`"), help).meant(meant));
    };
    let Some(scoring) = scored.stage.scoring() else {
        let message = format!("`{stage}` is a {} stage and scores nothing", scored.kind);
        return at(fault(message, "name a train or an evaluate stage"));
    };
    let metrics = match scoring.metrics.is_empty() {
        true => metrics_of_model(scored, stages),
        false => scoring.metrics,
    };
    if !metrics.is_empty() && !metrics.contains(&metric) {
        let known = || metrics.iter().copied();
        let near = did_you_mean(metric, known());
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}", listed(known(), "and")),
        };
        let meant = near.map(|near| Meant::new(metric, near));
        return at(fault(format!("`{stage}` has no score `{metric}`"), help).meant(meant));
    }
    match &settings.prune {
        Some(_) if !matches!(scored.stage.produces(), Kind::Model | Kind::Encoder) => vec![(
            At::Field("prune"),
            fault(
                format!(
                    "`{stage}` has no score before its end, by which its training could be stopped"
                ),
                "let the goal be a score of the train stage, or drop `prune`",
            ),
        )],
        _ => Vec::new(),
    }
}

/// What a stage that scores another's model scores it by.
fn metrics_of_model(scored: &Written, stages: &[Written]) -> Vec<&'static str> {
    let edges = scored.stage.edges();
    let model = edges.iter().find(|edge| edge.accepts == Kind::Model);
    let trained = model.and_then(|edge| stages.iter().find(|other| other.name == edge.stage));
    let scoring = trained.and_then(|trained| trained.stage.scoring());
    scoring.map(|scoring| scoring.metrics).unwrap_or_default()
}

fn length(settings: &SweepSettings) -> Option<(At, Fault)> {
    let search = settings.search.name();
    match (settings.search, settings.trials) {
        (Search::Grid, Some(_)) => Some((
            At::Field("trials"),
            fault(
                "a grid has as many trials as its values have combinations",
                "drop `trials`, or let `search` be \"random\"",
            ),
        )),
        (Search::Random | Search::Tpe, None) => Some((
            At::Field("search"),
            fault(
                format!("a search by `{search}` has no end of its own"),
                "say how many trials it makes, such as `trials = 20`",
            ),
        )),
        _ => None,
    }
}

/// Cross-validation needs to know what is cut.
fn cut(settings: &SweepSettings, stages: &[Written], declared: &[Declared]) -> Option<(At, Fault)> {
    settings.fold?;
    let loads = declared.iter().filter(|stage| stage.kind == "load").count();
    let at_validation = settings.goal.parts().is_none_or(|(stage, _, _)| {
        let scored = stages.iter().find(|other| other.name == stage);
        let scoring = scored.and_then(|scored| scored.stage.scoring());
        scoring.is_none_or(|scoring| scoring.split == "validation")
    });
    match (loads, at_validation) {
        (1, true) => None,
        (1, false) => Some((
            At::Field("goal"),
            fault(
                "cross-validation scores the fold that is left out, which is the validation split, and the goal is on another",
                "let the goal be a score on the validation split",
            ),
        )),
        _ => Some((
            At::Field("fold"),
            fault(
                format!("the pipeline has {loads} load stages, and folds are cut from one"),
                "sweep the `fold.index` of the load stage that is meant, as a parameter",
            ),
        )),
    }
}

fn domain(parameter: &Parameter, search: Search) -> Vec<Fault> {
    let mut faults = Vec::new();
    let name = &parameter.name;
    let range = |low: f64, high: f64, positive: bool| {
        let shown = format!("[{low}, {high}]");
        let plain = low.is_finite() && high.is_finite();
        if !plain || low >= high {
            Some(fault(
                format!("`{name}`: {shown} is no range"),
                "write the smaller number first: [1e-5, 1e-4]",
            ))
        } else if positive && low <= 0.0 {
            Some(fault(
                format!("`{name}`: {shown} reaches below what has a logarithm"),
                "begin above 0, or use `uniform`",
            ))
        } else {
            None
        }
    };
    match &parameter.domain {
        Domain::Choice(values) => faults.extend(listed_twice(name, values)),
        Domain::Together(sets) => {
            let values: Vec<Value> = sets.iter().cloned().map(Value::Object).collect();
            faults.extend(listed_twice(name, &values));
            let paths: BTreeSet<&String> = sets.iter().flat_map(|set| set.keys()).collect();
            if sets.iter().any(|set| set.len() != paths.len()) {
                faults.push(fault(
                    format!("`{name}`: each of the sets in `together` must set the same fields"),
                    "write every field in every set",
                ));
            }
        }
        Domain::Uniform { low, high } => faults.extend(range(*low, *high, false)),
        Domain::LogUniform { low, high } => faults.extend(range(*low, *high, true)),
        Domain::Int { low, high } if low >= high => faults.push(fault(
            format!("`{name}`: [{low}, {high}] is no range"),
            "write the smaller number first: [1, 5]",
        )),
        Domain::Int { .. } => {}
    }
    if search == Search::Grid
        && !matches!(parameter.domain, Domain::Choice(_) | Domain::Together(_))
    {
        faults.push(fault(
            format!("`{name}`: a grid needs values, and a range has no end of them"),
            "list the values, or let `search` be \"random\" or \"tpe\"",
        ));
    }
    for path in parameter.paths() {
        let first = path.split('.').next().unwrap_or_default();
        let broken = path.split('.').any(str::is_empty) || !path.contains('.') && first != "seed";
        if broken || FIXED.contains(&first) {
            faults.push(fault(
                format!("`{path}` is no field that a trial can vary"),
                "write a field's path, like `train.classifier.epochs`, `vars.NAME` or `seed`",
            ));
        }
    }
    faults
}

fn listed_twice(name: &str, values: &[Value]) -> Option<Fault> {
    if values.is_empty() {
        return Some(fault(
            format!("`{name}` has no values"),
            "list at least one",
        ));
    }
    let twice = values
        .iter()
        .enumerate()
        .find(|(n, value)| values[..*n].contains(value));
    twice.map(|(_, value)| {
        fault(
            format!("`{name}` lists {value} twice"),
            "list each value once; `repeat` runs a trial with other seeds",
        )
    })
}

fn condition(parameter: &Parameter, settings: &SweepSettings) -> Vec<Fault> {
    let others = || {
        let others = settings.parameters.0.iter();
        let others = others.filter(|other| other.name != parameter.name);
        others.flat_map(Parameter::paths)
    };
    let name = &parameter.name;
    let mut faults = Vec::new();
    for (path, values) in &parameter.when {
        if !others().any(|other| other == path) {
            let near = did_you_mean(path, others());
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`when` names another parameter and the values at which this one applies"
                    .to_owned(),
            };
            let message = format!("`{name}` depends on `{path}`, which does not vary");
            let meant = near.map(|near| Meant::new(path, near));
            faults.push(fault(message, help).meant(meant));
            continue;
        }
        let never = values.iter().find(|value| {
            let setting = settings.parameters.0.iter();
            !setting
                .filter(|other| other.paths().contains(&path.as_str()))
                .any(|other| can_be(other, path, value))
        });
        if let Some(value) = never {
            faults.push(fault(
                format!("`{name}` applies where `{path}` is {value}, which it never is"),
                "let `when` list values that the other parameter takes",
            ));
        }
        if values.is_empty() {
            faults.push(fault(
                format!("`{name}` applies at no value of `{path}`"),
                "list the values at which it applies",
            ));
        }
    }
    faults
}

fn can_be(parameter: &Parameter, path: &str, value: &Value) -> bool {
    match &parameter.domain {
        Domain::Choice(values) => values.contains(value),
        Domain::Together(sets) => sets.iter().any(|set| set.get(path) == Some(value)),
        Domain::Int { low, high } => value
            .as_i64()
            .is_some_and(|value| (*low..=*high).contains(&value)),
        // A draw from a range of real numbers hits no value that was written down.
        Domain::Uniform { .. } | Domain::LogUniform { .. } => false,
    }
}

fn set_twice(settings: &SweepSettings) -> Vec<(At, Fault)> {
    let mut faults = Vec::new();
    let all: Vec<(&Parameter, &str)> = settings
        .parameters
        .0
        .iter()
        .flat_map(|parameter| {
            parameter
                .paths()
                .into_iter()
                .map(move |path| (parameter, path))
        })
        .collect();
    for (index, (parameter, path)) in all.iter().enumerate() {
        let overlaps = |one: &str, other: &str| {
            one == other
                || one
                    .strip_prefix(other)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        let first = all[..index]
            .iter()
            .find(|(_, other)| overlaps(path, other) || overlaps(other, path));
        if let Some((first, other)) = first {
            faults.push((
                At::Parameter(parameter.name.clone()),
                fault(
                    format!(
                        "`{}` sets `{path}`, and `{}` sets `{other}`",
                        parameter.name, first.name
                    ),
                    "let one parameter set a field; what goes together stands in one `together`",
                ),
            ));
        }
    }
    faults
}

/// Parameters whose conditions wait for each other would never apply.
fn circles(settings: &SweepSettings) -> Vec<(At, Fault)> {
    let parameters = &settings.parameters.0;
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    let mut waiting: Vec<&Parameter> = parameters.iter().collect();
    let varied: BTreeSet<&str> = parameters.iter().flat_map(Parameter::paths).collect();
    loop {
        let before = waiting.len();
        waiting.retain(|parameter| {
            let mut needs = parameter.when.iter().map(|(path, _)| path.as_str());
            let ready = needs.all(|path| settled.contains(path) || !varied.contains(path));
            if ready {
                settled.extend(parameter.paths());
            }
            !ready
        });
        if waiting.is_empty() {
            return Vec::new();
        }
        if waiting.len() == before {
            break;
        }
    }
    let names = listed(waiting.iter().map(|one| one.name.as_str()), "and");
    vec![(
        At::Parameter(waiting[0].name.clone()),
        fault(
            format!("the conditions of {names} wait for each other"),
            "drop one `when`",
        ),
    )]
}
