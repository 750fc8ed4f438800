//! `refit log`: past runs, newest first, each with the address that `refit compare` takes.

use clap::Args;
use serde_json::{Value, json};

use super::{Answer, Exit, StoreArguments, print, print_json, seconds, store_here, table, tell};
use crate::outcome::Outcome;
use crate::store::RunRecord;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only runs of the pipeline of this name.
    #[arg(long)]
    pipeline: Option<String>,
    /// How many.
    #[arg(short, long, default_value_t = 20)]
    number: usize,
    #[command(flatten)]
    store: StoreArguments,
    /// Print the runs as one JSON array, with every step.
    #[arg(long)]
    json: bool,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let store = store_here(&arguments.store)?;
    let wanted = |(_, run): &(String, RunRecord)| {
        arguments
            .pipeline
            .as_ref()
            .is_none_or(|name| *name == run.pipeline)
    };
    let runs = store.runs_with_addresses().filter(wanted);
    let runs: Vec<(String, RunRecord)> = runs.take(arguments.number).collect();
    if arguments.json {
        let with_address = |(address, run): &(String, RunRecord)| {
            let mut value = json!(run);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("run".to_owned(), format!("@{address}").into());
            }
            value
        };
        print_json(&runs.iter().map(with_address).collect());
        return Ok(Exit::Done);
    }
    if runs.is_empty() {
        tell(&format!("no runs in {}\n", store.root().display()));
        return Ok(Exit::Done);
    }
    let mut rows = table(&[
        "run", "started", "pipeline", "commit", "took", "outcomes", "scores",
    ]);
    for (address, run) in &runs {
        let started = run
            .started
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string();
        let commit = run
            .commit
            .as_deref()
            .map_or("", |commit| &commit[..commit.len().min(8)]);
        rows.add_row([
            &format!("@{address}"),
            started.as_str(),
            &run.pipeline,
            commit,
            &seconds(run.seconds),
            &outcomes(run),
            &headline(run),
        ]);
    }
    print(&format!("{}\n", rows.trim_fmt()));
    Ok(Exit::Done)
}

fn outcomes(run: &RunRecord) -> String {
    let counted = [
        Outcome::Fresh,
        Outcome::Built,
        Outcome::Failed,
        Outcome::Skipped,
    ]
    .into_iter()
    .filter_map(|outcome| {
        let count = run
            .steps
            .iter()
            .filter(|step| step.outcome == outcome)
            .count();
        (count > 0).then(|| format!("{count} {outcome}"))
    });
    counted.collect::<Vec<_>>().join(", ")
}

/// Of each task the two numbers that say most come first.
const HEADLINE: [&str; 8] = [
    "exact_match",
    "accuracy",
    "f1",
    "f1_macro",
    "f1_micro",
    "pearson",
    "r2",
    "mse",
];

fn headline(run: &RunRecord) -> String {
    let score = |scores: &Value, name: &str| {
        scores
            .get(name)
            .and_then(Value::as_f64)
            .map(|value| format!("{name} {value:.4}"))
    };
    let stages = run
        .scores
        .iter()
        .filter(|(_, scores)| scores.get("split").is_some());
    let lines = stages.map(|(stage, scores)| {
        let numbers: Vec<String> = HEADLINE
            .iter()
            .filter_map(|name| score(scores, name))
            .take(2)
            .collect();
        format!("{stage}: {}", numbers.join(", "))
    });
    lines.collect::<Vec<_>>().join("; ")
}
