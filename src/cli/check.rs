//! `refit check SPEC`: every problem of a spec, with its place.

use clap::Args;
use serde_json::json;

use super::{Answer, Exit, SpecArguments, print_json, resolve, tell};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Print the problems as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let (pipeline, plan) = resolve(&arguments.spec, arguments.json)?;
    if arguments.json {
        print_json(&json!({ "problems": [] }));
    } else {
        let stages = if plan.steps.len() == 1 {
            "1 stage".to_owned()
        } else {
            format!("{} stages", plan.steps.len())
        };
        tell(&format!(
            "{}: {stages}, no problem\n",
            pipeline.path.display()
        ));
    }
    Ok(Exit::Done)
}
