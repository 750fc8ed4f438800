//! `refit check SPEC`: every problem of a spec, with its place.

use clap::Args;
use serde_json::json;

use super::{
    Answer, Exit, ProblemFormat, Resolved, SpecArguments, StoreArguments, print_json, resolve, tell,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// How the problems are printed.
    #[arg(
        long,
        value_enum,
        default_value = "text",
        conflicts_with = "json",
        value_name = "FORMAT"
    )]
    format: ProblemFormat,
    /// The same as `--format json`.
    #[arg(long)]
    json: bool,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let format = match arguments.json {
        true => ProblemFormat::Json,
        false => arguments.format,
    };
    let store = StoreArguments::default();
    let Resolved { pipeline, plan, .. } = resolve(&arguments.spec, &store, format)?;
    super::sweep::check(&pipeline, &store, format)?;
    if format == ProblemFormat::Json {
        print_json(&json!({ "problems": [] }));
        return Ok(Exit::Done);
    }
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
    Ok(Exit::Done)
}
