//! Trials: assignments, and the pipelines that they make of a spec.
//!
//! Deliberately absent: which assignments there are, and what running them gives.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Sweep;
use crate::artifact::{Digest, Kind};
use crate::fingerprint::canonical;
use crate::plan::Plan;
use crate::spec::Pipeline;
use crate::spec::problem::Problem;
use crate::spec::sweep::{Domain, Parameter, SweepSettings};

/// Path → value, of the parameters that apply.
pub type Assignment = Map<String, Value>;

/// One of the runs whose scores make a trial's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Replicate {
    /// What is added to the seed of everything that trains.
    pub repeat: u32,
    /// The fold that is validated on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<u32>,
}

impl Replicate {
    /// The run that a spec without a sweep would make.
    pub const PLAIN: Replicate = Replicate {
        repeat: 0,
        fold: None,
    };
}

impl std::fmt::Display for Replicate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.fold {
            Some(fold) => write!(f, "repeat {}, fold {fold}", self.repeat),
            None => write!(f, "repeat {}", self.repeat),
        }
    }
}

/// The runs of every trial, in their order.
pub fn replicates(settings: &SweepSettings) -> Vec<Replicate> {
    let folds: Vec<Option<u32>> = match settings.fold {
        Some(folds) => (0..folds).map(Some).collect(),
        None => vec![None],
    };
    let runs = (0..settings.repeat.max(1))
        .flat_map(|repeat| folds.iter().map(move |&fold| Replicate { repeat, fold }));
    runs.collect()
}

/// A name for an assignment: the same for the same values, in whatever order.
pub fn id(assignment: &Assignment) -> String {
    let text = canonical(&Value::Object(assignment.clone()));
    let digest = Digest::of(text.as_bytes());
    digest.to_string().chars().take(16).collect()
}

/// Whether a parameter applies, given the values of the others.
pub fn applies(parameter: &Parameter, assignment: &Assignment) -> bool {
    let holds = |(path, values): &(String, Vec<Value>)| {
        let value = assignment.get(path);
        value.is_some_and(|value| values.iter().any(|listed| same(listed, value)))
    };
    parameter.when.iter().all(holds)
}

/// Equal values, 1 and 1.0 among them.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// Whether the parameters could have made this assignment: each that applies has one of its values, and nothing else is set.
pub fn fits(parameters: &[Parameter], assignment: &Assignment) -> bool {
    let mut set = 0;
    for parameter in parameters {
        let paths = parameter.paths();
        if !applies(parameter, assignment) {
            continue;
        }
        set += paths.len();
        let value = assignment.get(&parameter.name);
        let number = value.and_then(Value::as_f64);
        let fits = match &parameter.domain {
            Domain::Choice(values) => value.is_some_and(|value| values.contains(value)),
            Domain::Together(sets) => sets.iter().any(|one| {
                one.iter()
                    .all(|(path, value)| assignment.get(path) == Some(value))
            }),
            Domain::Uniform { low, high } | Domain::LogUniform { low, high } => {
                number.is_some_and(|number| (*low..=*high).contains(&number))
            }
            Domain::Int { low, high } => value
                .and_then(Value::as_i64)
                .is_some_and(|number| (*low..=*high).contains(&number)),
        };
        if !fits {
            return false;
        }
    }
    set == assignment.len()
}

/// One run of one trial, resolved.
pub struct Prepared {
    pub plan: Plan,
    /// The steps that the goal and the targets need.
    pub selected: BTreeSet<usize>,
}

/// The pipeline of one run of a trial.
///
/// # Errors
/// Every problem of the spec with these values.
pub fn pipeline(
    sweep: &Sweep<'_>,
    assignment: &Assignment,
    replicate: Replicate,
) -> Result<Pipeline, Vec<Problem>> {
    let varied = |assignment: &Assignment| match sweep.pipeline.with(assignment) {
        (pipeline, problems) if problems.is_empty() => Ok(pipeline),
        (_, problems) => Err(problems),
    };
    let plain = varied(assignment)?;
    if replicate == Replicate::PLAIN {
        return Ok(plain);
    }
    let mut laid = assignment.clone();
    for stage in &plain.stages {
        let path = |field: &str| format!("{}.{}.{field}", stage.kind, stage.name);
        let trains = matches!(stage.stage.produces(), Kind::Model | Kind::Encoder)
            && stage.stage.draws_random_numbers();
        if trains && replicate.repeat > 0 {
            let seed = stage.stage.seed().unwrap_or(plain.seed);
            let seed = seed.wrapping_add(u64::from(replicate.repeat));
            // TOML's integers end there.
            laid.insert(path("seed"), (seed & (i64::MAX as u64)).into());
        }
        if let (true, Some(index)) = (stage.kind == "load", replicate.fold) {
            let of = sweep.settings.fold;
            laid.insert(path("fold"), json!({ "of": of, "index": index }));
        }
    }
    varied(&laid)
}

/// One run of a trial, resolved. `number` names it in the records of runs.
///
/// # Errors
/// Every problem of the spec with these values.
pub fn prepare(
    sweep: &Sweep<'_>,
    number: usize,
    assignment: &Assignment,
    replicate: Replicate,
) -> Result<Prepared, Vec<Problem>> {
    let pipeline = pipeline(sweep, assignment, replicate)?;
    let mut plan = Plan::resolve(&pipeline, sweep.at_hand)?;
    plan.pipeline = format!("{}/trial-{number}", plan.pipeline);
    let mut targets = vec![sweep.goal.stage.to_owned()];
    targets.extend_from_slice(sweep.targets);
    // The goal and the targets were looked up in the spec itself, and a trial has the same stages.
    let selected = plan.select(&targets).unwrap_or_default();
    Ok(Prepared { plan, selected })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(name: &str, domain: Domain, when: &[(&str, Value)]) -> Parameter {
        let when = when
            .iter()
            .map(|(path, value)| ((*path).to_owned(), vec![value.clone()]));
        Parameter {
            name: name.to_owned(),
            domain,
            when: when.collect(),
        }
    }

    fn assignment(value: Value) -> Assignment {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn an_assignment_fits_when_the_parameters_could_have_made_it() {
        let parameters = [
            parameter("a.b", Domain::Choice(vec![1.into(), 2.into()]), &[]),
            parameter(
                "a.c",
                Domain::LogUniform {
                    low: 0.1,
                    high: 1.0,
                },
                &[("a.b", 2.into())],
            ),
            parameter(
                "pair",
                Domain::Together(vec![
                    assignment(json!({ "a.d": 1, "a.e": 1 })),
                    assignment(json!({ "a.d": 2, "a.e": 2 })),
                ]),
                &[],
            ),
        ];
        let fits = |value: Value| fits(&parameters, &assignment(value));
        assert!(fits(json!({ "a.b": 1, "a.d": 1, "a.e": 1 })));
        assert!(fits(json!({ "a.b": 2, "a.c": 0.5, "a.d": 2, "a.e": 2 })));
        assert!(!fits(json!({ "a.b": 3, "a.d": 1, "a.e": 1 })));
        assert!(!fits(json!({ "a.b": 2, "a.d": 1, "a.e": 1 })));
        assert!(!fits(json!({ "a.b": 1, "a.c": 0.5, "a.d": 1, "a.e": 1 })));
        assert!(!fits(json!({ "a.b": 2, "a.c": 2.0, "a.d": 1, "a.e": 1 })));
        assert!(!fits(json!({ "a.b": 1, "a.d": 1, "a.e": 2 })));
        assert!(!fits(json!({ "a.b": 1, "a.d": 1, "a.e": 1, "x": 1 })));
    }

    #[test]
    fn an_assignments_name_does_not_depend_on_the_order() {
        let one = assignment(json!({ "a": 1, "b": "x" }));
        let other = assignment(json!({ "b": "x", "a": 1 }));
        assert_eq!(id(&one), id(&other));
        assert_ne!(id(&one), id(&assignment(json!({ "a": 1, "b": "y" }))));
    }
}
