//! `refit plan SPEC [STAGE…]`: what a run would do, and why.

use clap::Args;
use serde_json::{Value, json};

use super::{
    Answer, Exit, Failure, Resolved, SpecArguments, StoreArguments, print, print_json, resolve,
    store_of_spec, table,
};
use crate::run::judge::{Foreseen, assess};

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
    store: StoreArguments,
    /// Print the plan as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let Resolved { pipeline, plan, .. } =
        resolve(&arguments.spec, &arguments.store, arguments.json)?;
    let (selected, forced) = plan
        .selection(&arguments.stages, &arguments.force)
        .map_err(Failure::unusable)?;
    let store = store_of_spec(&arguments.store, &pipeline)?;
    let assessments = assess(&plan, &selected, &forced, &store).map_err(Failure::failed)?;
    store.save_memo();

    let word = |state: Foreseen| match state {
        Foreseen::Fresh => "fresh",
        Foreseen::Run => "run",
        Foreseen::Pending => "pending",
    };
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
        print(&format!("{}\n", rows.trim_fmt()));
    }
    let all_fresh = assessments.iter().all(|one| one.state == Foreseen::Fresh);
    Ok(if all_fresh { Exit::Done } else { Exit::Pending })
}
