//! `refit preview SPEC STAGE`: the first rows of a stage's result, as it gives them on.
//!
//! Brings the stage up to date first, as `run` would.
//!
//! Deliberately absent: what a row of a stage looks like, which the stage says itself.

use clap::Args;
use serde_json::{Map, Value, json};

use super::run::bring_up_to_date;
use super::{Answer, Exit, Failure, SpecArguments, StoreArguments, print, print_json};
use crate::stage::{Preview, Wanted};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// The stage: `load` shows rows, `augment` rows with their copies, `tokenize` the tokens that a model sees.
    stage: String,
    /// Which split: train, validation, test, or more.NAME.
    #[arg(long, default_value = "train")]
    split: String,
    /// How many rows.
    #[arg(long, short = 'n', default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rows: u32,
    /// Let stages start the programs that the spec names (`back_translation.command`).
    #[arg(long)]
    allow_commands: bool,
    #[command(flatten)]
    store: StoreArguments,
    /// Print the rows as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum Nothing {
    #[error("{stage} is a {kind} stage, which has no rows to show")]
    #[diagnostic(help("name a stage that gives rows or tokens: load, augment or tokenize"))]
    NoRows { stage: String, kind: &'static str },
    #[error("{stage} has no split {split:?}; there is {there}")]
    #[diagnostic(help("name one of these with --split"))]
    NoSplit {
        stage: String,
        split: String,
        there: String,
    },
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let made = bring_up_to_date(
        &arguments.spec,
        &arguments.store,
        &arguments.stage,
        arguments.allow_commands,
        arguments.json,
    )?;
    let step = &made.plan.steps[made.step];
    let preview = |split: &str, rows: usize| {
        let split = split.to_owned();
        let found = step.stage.preview(&made.artifact, &Wanted { split, rows });
        found.map_err(Failure::failed)
    };
    let rows = usize::try_from(arguments.rows).unwrap_or(usize::MAX);
    let Some(found) = preview(&arguments.split, rows)? else {
        let mut there = Vec::new();
        let splits = made.rows_of().map_err(Failure::failed)?;
        for split in splits.into_keys().chain(["train".to_owned()]) {
            if !there.contains(&split) && preview(&split, 1)?.is_some() {
                there.push(split);
            }
        }
        let stage = format!("`{}`", arguments.stage);
        return Err(Failure::unusable(match there.is_empty() {
            true => Nothing::NoRows {
                stage,
                kind: step.kind,
            },
            false => Nothing::NoSplit {
                stage,
                split: arguments.split.clone(),
                there: there.join(", "),
            },
        }));
    };
    match arguments.json {
        true => print_json(&as_json(&arguments.stage, &found)),
        false => print(&worded(&found)),
    }
    Ok(Exit::Done)
}

/// Names padded to the widest, a blank line between rows.
fn worded(found: &Preview) -> String {
    let names = found.rows.iter().flat_map(|row| &row.fields);
    let width = names.map(|(name, _)| name.chars().count()).max();
    let width = width.unwrap_or_default();
    let mut text = format!(
        "{}: {} of {} rows\n",
        found.split,
        found.rows.len(),
        found.of
    );
    for row in &found.rows {
        text.push_str(&format!("\nrow {}\n", row.id));
        for (name, value) in &row.fields {
            // A line break within a value would look like another field.
            let value = value.replace('\n', "⏎").replace('\r', "");
            text.push_str(&format!("  {name:<width$}  {value}\n"));
        }
    }
    text
}

/// A field that comes again becomes a list.
fn as_json(stage: &str, found: &Preview) -> Value {
    let rows = found.rows.iter().map(|row| {
        let mut fields = Map::new();
        fields.insert("id".to_owned(), row.id.into());
        let mut copies = Map::new();
        for (name, value) in &row.fields {
            match name.strip_prefix("→ ") {
                None => {
                    fields.insert(name.clone(), value.as_str().into());
                }
                Some(name) => {
                    let all = copies.entry(name).or_insert_with(|| json!([]));
                    if let Some(all) = all.as_array_mut() {
                        all.push(value.as_str().into());
                    }
                }
            }
        }
        if !copies.is_empty() {
            fields.insert("copies".to_owned(), copies.into());
        }
        Value::Object(fields)
    });
    json!({ "stage": stage, "split": found.split, "of": found.of, "rows": rows.collect::<Vec<_>>() })
}
