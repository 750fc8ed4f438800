//! `refit plan SPEC [STAGE…]`: what a run would do, and why.

use clap::Args;
use serde_json::{Value, json};

use super::remote::{RemoteArguments, tell_news};
use super::{
    Answer, Exit, Failure, Resolved, SpecArguments, StoreArguments, print, print_json, resolve,
    store_of_spec, table,
};
use crate::plan::Plan;
use crate::run::judge::{Assessment, Foreseen, assess};
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Only these stages, and what they depend on.
    stages: Vec<String>,
    /// As if the result of this stage were not known.
    #[arg(long, value_name = "STAGE")]
    force: Vec<String>,
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(flatten)]
    store: StoreArguments,
    /// Print the plan as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn answer(arguments: &Arguments, verbose: bool) -> Answer {
    let Resolved { pipeline, plan, .. } =
        resolve(&arguments.spec, &arguments.store, arguments.json)?;
    let (selected, forced) = plan
        .selection(&arguments.stages, &arguments.force)
        .map_err(Failure::unusable)?;
    let store = store_of_spec(&arguments.store, &pipeline)?;
    let (store, _) = arguments.remote.attach(store, Some(&pipeline))?;
    let assessments = assess(&plan, &selected, &forced, &store).map_err(Failure::failed)?;
    store.save_memo();
    tell_news(&store);

    let word = |state: Foreseen| match state {
        Foreseen::Fresh => "fresh",
        Foreseen::Run => "run",
        Foreseen::Pending => "pending",
    };
    let outlook = |one: &Assessment| outlook(&plan, &assessments, one, &store, verbose);
    if arguments.json {
        let steps: Vec<Value> = assessments
            .iter()
            .map(|one| {
                json!({
                    "stage": plan.steps[one.step].name,
                    "kind": plan.steps[one.step].kind,
                    "state": word(one.state),
                    "reason": one.reason.to_string(),
                    "key": one.key,
                    "digest": one.digest,
                    "outlook": outlook(one),
                })
            })
            .collect();
        print_json(&json!({ "pipeline": plan.pipeline, "steps": steps }));
    } else {
        let mut rows = table(&["stage", "kind", "", "because"]);
        for one in &assessments {
            let step = &plan.steps[one.step];
            rows.add_row([
                step.name.as_str(),
                step.kind,
                word(one.state),
                &one.reason.to_string(),
            ]);
        }
        let mut text = format!("{}\n", rows.trim_fmt());
        for one in &assessments {
            for line in outlook(one) {
                text.push_str(&format!("{}: {line}\n", plan.steps[one.step].name));
            }
        }
        print(&text);
    }
    let all_fresh = assessments.iter().all(|one| one.state == Foreseen::Fresh);
    Ok(if all_fresh { Exit::Done } else { Exit::Pending })
}

/// What a step says of the run that is to come, where the artifacts that it reads are at hand.
fn outlook(
    plan: &Plan,
    assessments: &[Assessment],
    one: &Assessment,
    store: &Store,
    verbose: bool,
) -> Vec<String> {
    let step = &plan.steps[one.step];
    if one.state == Foreseen::Fresh || !step.unfetched.is_empty() {
        return Vec::new();
    }
    let digest = |input: usize| {
        let of_input = assessments.iter().find(|other| other.step == input);
        of_input.and_then(|other| other.digest)
    };
    let inputs = step.inputs.iter().filter_map(|(field, input)| {
        let path = store.object_path(&digest(*input)?);
        path.is_dir().then_some((*field, path))
    });
    step.stage.outlook(&inputs.collect(), &step.files, verbose)
}
