//! `refit check SPEC`: every problem of a spec, with its place.

use clap::Args;
use serde_json::json;

use super::{Answer, Exit, Resolved, SpecArguments, StoreArguments, print_json, resolve, tell};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Print the problems as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let Resolved { pipeline, plan, .. } =
        resolve(&arguments.spec, &StoreArguments::default(), arguments.json)?;
    super::sweep::check(&pipeline, &StoreArguments::default(), arguments.json)?;
    if arguments.json {
        print_json(&json!({ "problems": [] }));
    } else {
        let stages = if plan.steps.len() == 1 {
            "1 stage".to_owned()
        } else {
            format!("{} stages", plan.steps.len())
        };
        let unfetched = plan.remotes(&(0..plan.steps.len()).collect(), false);
        let unfetched = match unfetched.is_empty() {
            true => String::new(),
            false => {
                let names: Vec<String> = unfetched.iter().map(ToString::to_string).collect();
                format!("; to be fetched: {}", names.join(", "))
            }
        };
        tell(&format!(
            "{}: {stages}, no problem{unfetched}\n",
            pipeline.path.display()
        ));
    }
    Ok(Exit::Done)
}
