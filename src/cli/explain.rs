//! `refit explain SPEC STAGE`: what differs, old → new, from the last time the stage was looked at.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::{Value, json};

use super::remote::{RemoteArguments, tell_news};
use super::{
    Answer, Exit, Failure, Resolved, SpecArguments, StoreArguments, print, print_json, resolve,
    store_of_spec,
};
use crate::fingerprint::{Change, Fingerprint, differences};
use crate::outcome::Reason;
use crate::plan::Step;
use crate::run::judge::{Assessment, Foreseen, History, assess};
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// The stage to explain.
    stage: String,
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(flatten)]
    store: StoreArguments,
    /// Print the explanation as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let Resolved { pipeline, plan, .. } =
        resolve(&arguments.spec, &arguments.store, arguments.json)?;
    let targets = [arguments.stage.clone()];
    let selected = plan.select(&targets).map_err(Failure::unusable)?;
    let index = plan.named(&targets).map_err(Failure::unusable)?[0];
    let store = store_of_spec(&arguments.store, &pipeline)?;
    let (store, _) = arguments.remote.attach(store, Some(&pipeline))?;
    let assessments =
        assess(&plan, &selected, &BTreeSet::new(), &store).map_err(Failure::failed)?;
    let Some(assessment) = assessments.iter().find(|one| one.step == index) else {
        return Ok(Exit::Done);
    };
    let step = &plan.steps[index];
    let history = History::new(&store, &plan.pipeline);
    let old = history.fingerprint(&step.name);
    let changes = match (old, current(step, assessment, old, &store)?) {
        (Some(old), Some(new)) => differences(old, &new),
        _ => Vec::new(),
    };
    store.save_memo();
    tell_news(&store);
    if arguments.json {
        print_json(&as_json(step, assessment, &changes));
        return Ok(Exit::Done);
    }
    let mut text = match assessment.state {
        Foreseen::Fresh => format!("{}: fresh\n", step.name),
        Foreseen::Run => format!("{}: would run\n", step.name),
        Foreseen::Pending => format!("{}: pending, {}\n", step.name, assessment.reason),
    };
    match (&assessment.reason, old) {
        (Reason::Changed { .. }, _) | (_, Some(_)) if !changes.is_empty() => {}
        (_, None) => text.push_str("  it was never run in this store under this name\n"),
        (Reason::Behind { .. }, _) => {
            text.push_str("  its own settings and files are as they were in the last run\n")
        }
        (reason, _) => text.push_str(&format!("  {reason}\n")),
    }
    for change in &changes {
        text.push_str(&format!("  {change}\n"));
    }
    print(&text);
    Ok(Exit::Done)
}

/// The step's fingerprint now; where an input's content is not known yet, the old one stands in, so that only the step's
/// own changes show.
fn current(
    step: &Step,
    assessment: &Assessment,
    old: Option<&Fingerprint>,
    store: &Store,
) -> Result<Option<Fingerprint>, Failure> {
    if let Some(fingerprint) = &assessment.fingerprint {
        return Ok(Some(fingerprint.clone()));
    }
    let Some(old) = old.filter(|_| step.unfetched.is_empty()) else {
        return Ok(None);
    };
    let mut files = BTreeMap::new();
    for (role, path) in &step.files {
        files.insert(
            role.clone(),
            store.digest_file(path).map_err(Failure::failed)?,
        );
    }
    Ok(Some(step.fingerprint(files, old.inputs.clone())))
}

fn as_json(step: &Step, assessment: &Assessment, changes: &[Change]) -> Value {
    let changes: Vec<Value> = changes
        .iter()
        .map(|change| {
            let mut value = serde_json::to_value(change).unwrap_or_default();
            if let Some(fields) = value.as_object_mut() {
                fields.insert("text".to_owned(), change.to_string().into());
            }
            value
        })
        .collect();
    json!({ "stage": step.name, "kind": step.kind, "reason": assessment.reason.to_string(), "changes": changes })
}
