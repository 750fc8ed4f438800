//! `refit inspect SPEC`: what is in the data, and what is wrong with it, before a model learns from it.
//!
//! Rows are loaded as the spec says, except that broken ones are left out and become findings. Nothing is trained and nothing
//! of the spec is changed.
//!
//! Deliberately absent: the checks, which are [`inspect`](crate::inspect)'s.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::run::{Leave, Made, bring_up_to_date};
use super::{
    Answer, Exit, Failure, Resolved, SpecArguments, StoreArguments, print, print_json, resolve,
    tell,
};
use crate::inspect::{Code, Facts, Inspection, LeftOut, inspect, render};
use crate::plan::Plan;
use crate::stage::{StageError, TokenCounts};
use crate::table::{self, Table};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// The stages to look at: `load` or `augment`. Default: every `load` stage.
    stages: Vec<String>,
    /// End with exit code 1 when anything is found, for use in CI.
    #[arg(long)]
    strict: bool,
    /// Let stages start the programs, and send rows to the services, that the spec names (`back_translation`).
    #[arg(long)]
    allow_commands: bool,
    #[command(flatten)]
    store: StoreArguments,
    /// Print what was found as one JSON object; of several stages, one for each under its name.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum NotInspected {
    #[error("`{stage}` is a {kind} stage, which has no rows to look at")]
    #[diagnostic(help("name a load or an augment stage, or none to look at every load stage"))]
    NoTable { stage: String, kind: &'static str },
    #[error("the pipeline loads nothing")]
    #[diagnostic(help("add a load stage: `[load.data]` with `train = [\"data/train.csv\"]`"))]
    NoLoad,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let Resolved { plan, .. } = resolve(&arguments.spec, &arguments.store, arguments.json)?;
    let stages = stages(&plan, &arguments.stages)?;
    // A broken row is a finding here, not an end.
    let mut spec = SpecArguments {
        spec: arguments.spec.spec.clone(),
        set: arguments.spec.set.clone(),
    };
    let loads = plan.steps.iter().filter(|step| step.kind == "load");
    spec.set
        .extend(loads.map(|step| format!("load.{}.skip_invalid=true", step.name)));
    let mut found = Vec::new();
    for stage in stages {
        let made = bring_up_to_date(
            &spec,
            &arguments.store,
            &stage,
            // The spec is not quite the user's.
            Leave {
                allow_commands: arguments.allow_commands,
                recorded: false,
            },
            arguments.json,
        )?;
        let inspection = look(&stage, &made).map_err(Failure::failed)?;
        found.push((stage, inspection));
    }
    let any = found.iter().any(|(_, found)| !found.findings.is_empty());
    if arguments.json {
        print_json(&match found.as_slice() {
            [(_, one)] => json!(one),
            several => Value::Object(
                several
                    .iter()
                    .map(|(stage, found)| (stage.clone(), json!(found)))
                    .collect(),
            ),
        });
    } else {
        let several = found.len() > 1;
        for (stage, found) in &found {
            let head = if several {
                format!("{stage}\n\n")
            } else {
                String::new()
            };
            print(&format!("{head}{}\n", render(found)));
        }
    }
    Ok(match arguments.strict && any {
        true => {
            tell("findings: exit code 1 (--strict)\n");
            Exit::Failed
        }
        false => Exit::Done,
    })
}

fn stages(plan: &Plan, named: &[String]) -> Result<Vec<String>, Failure> {
    for index in plan.named(named).map_err(Failure::unusable)? {
        let step = &plan.steps[index];
        if !["load", "augment"].contains(&step.kind) {
            return Err(Failure::unusable(NotInspected::NoTable {
                stage: step.name.clone(),
                kind: step.kind,
            }));
        }
    }
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let loads = plan.steps.iter().filter(|step| step.kind == "load");
    let loads: Vec<String> = loads.map(|step| step.name.clone()).collect();
    match loads.is_empty() {
        true => Err(Failure::unusable(NotInspected::NoLoad)),
        false => Ok(loads),
    }
}

fn look(stage: &str, made: &Made) -> Result<Inspection, StageError> {
    let table = Table::open(&made.artifact)?;
    let mut splits = BTreeMap::new();
    for (name, frame) in &table.splits {
        splits.insert(name.clone(), table::borrowed(frame)?);
    }
    let counts = token_counts(&made.plan, made.step, &made.artifact)?;
    let (max_length, tokens) = counts.map_or((None, BTreeMap::new()), |counts| {
        (counts.max_length, counts.splits)
    });
    Ok(inspect(&Facts {
        load: &load_of(&made.plan, made.step).unwrap_or_else(|| stage.to_owned()),
        splits: &splits,
        label_names: table.label_names.as_deref(),
        target_names: table.target_names.as_deref(),
        tokens: &tokens,
        max_length,
        left_out: &left_out(&table),
    }))
}

/// The rows that loading left out, by what is wrong with them.
fn left_out(table: &Table) -> Vec<LeftOut> {
    let of = |left: &table::LeftOut| LeftOut {
        split: left.split.clone(),
        code: match left.reason.as_str() {
            reason if reason.contains("answer") => Code::AnswerMismatch,
            reason if reason.contains("tag") || reason.contains("token") => Code::TagMisalignment,
            _ => Code::InvalidRow,
        },
        reason: left.reason.clone(),
        count: left.rows,
        rows: left.first.clone(),
    };
    table.left_out.iter().map(of).collect()
}

/// The `load` stage that the rows come from: the step itself, or the first behind it.
fn load_of(plan: &Plan, step: usize) -> Option<String> {
    let mut pending = vec![step];
    while let Some(next) = pending.pop() {
        let step = &plan.steps[next];
        if step.kind == "load" {
            return Some(step.name.clone());
        }
        pending.extend(step.inputs.values().rev());
    }
    None
}

/// What the first stage that makes tokens of these rows would make of them.
fn token_counts(plan: &Plan, step: usize, table: &Path) -> Result<Option<TokenCounts>, StageError> {
    for tokens in &plan.steps {
        let mut pending: Vec<usize> = tokens.inputs.values().copied().collect();
        let mut behind = Vec::new();
        while let Some(next) = pending.pop() {
            behind.push(next);
            pending.extend(plan.steps[next].inputs.values());
        }
        if behind.contains(&step)
            && tokens.unfetched.is_empty()
            && let Some(counts) = tokens.stage.token_counts(table, &tokens.files)?
        {
            return Ok(Some(counts));
        }
    }
    Ok(None)
}
