//! `refit preview SPEC STAGE`: the first rows of a stage's result, as it gives them on.
//!
//! Brings the stage up to date first, as `run` would.
//!
//! Deliberately absent: what a row of a stage looks like, which the stage says itself.

use clap::Args;
use serde_json::{Map, Value, json};

use super::run::{Leave, bring_up_to_date};
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
    /// Let stages start the programs, and send rows to the services, that the spec names (`back_translation`).
    #[arg(long)]
    allow_commands: bool,
    #[command(flatten)]
    store: StoreArguments,
    /// Print the rows as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Nothing {
    #[error("`{stage}` is a {kind} stage, which has no rows to show")]
    #[diagnostic(help("name a stage that gives rows or tokens: load, augment or tokenize"))]
    NoRows { stage: String, kind: &'static str },
    #[error("`{stage}` has no split `{split}`; there is {there}")]
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
        Leave {
            allow_commands: arguments.allow_commands,
            recorded: true,
        },
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

/// Names padded to the widest, a blank line between rows; what differs in a copy below its row, behind an arrow.
fn worded(found: &Preview) -> String {
    let all = found.rows.iter().flat_map(|row| &row.fields);
    let width = all.map(|(name, _)| name.chars().count()).max();
    let width = width.unwrap_or_default() + 2;
    let mut text = format!(
        "{}: {} of {} rows\n",
        found.split,
        found.rows.len(),
        found.of
    );
    for row in &found.rows {
        text.push_str(&format!("\nrow {}\n", row.id));
        let mut line = |name: &str, value: &str| {
            text.push_str(&format!("  {name:<width$}  {}\n", printable(value)));
        };
        for (name, value) in &row.fields {
            line(name, value);
        }
        for copy in &row.copies {
            for (name, value) in copy {
                line(&format!("→ {name}"), value);
            }
            if copy.is_empty() {
                line("→", "the same again");
            }
        }
    }
    text
}

/// On one line, and without anything that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => "⏎".to_owned(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

fn as_json(stage: &str, found: &Preview) -> Value {
    let object = |fields: &[(String, String)]| {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| (name.clone(), value.as_str().into()));
        fields.collect::<Map<String, Value>>()
    };
    let rows = found.rows.iter().map(|row| {
        let mut fields = Map::new();
        fields.insert("id".to_owned(), row.id.into());
        fields.append(&mut object(&row.fields));
        if !row.copies.is_empty() {
            let copies = row.copies.iter().map(|copy| Value::Object(object(copy)));
            fields.insert("copies".to_owned(), copies.collect());
        }
        Value::Object(fields)
    });
    json!({ "stage": stage, "split": found.split, "of": found.of, "rows": rows.collect::<Vec<_>>() })
}
