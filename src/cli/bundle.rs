//! `refit bundle inspect BUNDLE`: what is in an exported model, and where it came from.
//!
//! Deliberately absent: reading it, which is [`bundle`](crate::bundle)'s.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::{Answer, Exit, Failure, print, print_json};
use crate::bundle::Contents;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is in an exported model, and which pipeline, data and scores it came from.
    Inspect {
        /// A folder with a model: where an export stage placed it, or what `refit path SPEC STAGE` prints of a train stage.
        bundle: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let Command::Inspect { bundle, json } = &arguments.command;
    let contents = Contents::read(bundle).map_err(Failure::unusable)?;
    match json {
        true => print_json(&json!(contents)),
        false => print(&shown(&contents)),
    }
    Ok(Exit::Done)
}

/// How many labels are shown.
const LABELS: usize = 30;

fn shown(contents: &Contents) -> String {
    let (model, encoder) = (&contents.model, &contents.encoder);
    let tokenizer = &contents.tokenizer;
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, text: String| lines.push((name.to_owned(), text));
    let mut task = model.task.to_string();
    if let Some(scheme) = &model.scheme {
        task.push_str(&format!(", {scheme}"));
    }
    if model.crf {
        task.push_str(", decided together (CRF)");
    }
    add("task", task);
    if !model.names().is_empty() {
        let thresholds = contents.thresholds();
        let name = |name: &String| match thresholds.get(name.as_str()) {
            Some(threshold) => format!("{name} (from {threshold:.3})"),
            None => name.clone(),
        };
        let mut names: Vec<String> = model.names().iter().take(LABELS).map(name).collect();
        if model.names().len() > LABELS {
            names.push(format!("and {} more", model.names().len() - LABELS));
        }
        let count = model.names().len();
        let what = if model.target_names.is_some() {
            "targets"
        } else {
            "labels"
        };
        add(what, format!("{count}: {}", names.join(", ")));
    } else if let Some(margin) = model.thresholds.iter().flatten().next() {
        add(
            "no answer",
            format!("where it is ahead by more than {margin:.3}"),
        );
    }
    add("reads", format!("{} tokens at once", model.max_length));
    add(
        "encoder",
        format!(
            "{}, {} layers of {}, {} heads, {} inside, {} positions",
            encoder.family,
            encoder.layers,
            encoder.hidden,
            encoder.heads,
            encoder.intermediate,
            encoder.positions
        ),
    );
    let weights = contents.weights.as_ref().map(|weights| {
        format!(
            "{}{} parameters in {} tensors, {}",
            if weights.adapter {
                "an adapter alone: "
            } else {
                ""
            },
            indicatif::HumanCount(weights.parameters),
            weights.tensors,
            weights.dtypes.join(", ")
        )
    });
    let graphs = || format!("in ONNX alone: {}", contents.graphs.join(", "));
    add("weights", weights.unwrap_or_else(graphs));
    let kind = tokenizer.kind.as_deref().unwrap_or("of another form");
    let other = match tokenizer.as_trained {
        Some(false) => ", NOT the one that the model learned from",
        _ => "",
    };
    add(
        "tokenizer",
        format!("{kind}, {} ids{other}", tokenizer.vocabulary),
    );
    if let Some(origin) = &contents.origin {
        lines.extend(came_from(origin));
    } else {
        lines.push((
            "from".to_owned(),
            "unknown: no provenance.json lies beside it".to_owned(),
        ));
    }
    if let Some(page) = &contents.published {
        lines.push(("uploaded to".to_owned(), page.clone()));
    }
    let width = lines
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or_default();
    let mut text = format!("{}\n\n", contents.name);
    for (name, line) in &lines {
        text.push_str(&format!("{name:width$}  {line}\n"));
    }
    text.push_str(&format!(
        "\n{} in {} files\n",
        HumanBytes(contents.bytes),
        contents.files.len()
    ));
    let width = contents
        .files
        .iter()
        .map(|file| file.name.chars().count())
        .max();
    let width = width.unwrap_or_default();
    for file in &contents.files {
        text.push_str(&format!(
            "  {:width$}  {}\n",
            file.name,
            HumanBytes(file.bytes)
        ));
    }
    text
}

/// The lines of `provenance.json`, as far as it holds what it should.
fn came_from(origin: &Value) -> Vec<(String, String)> {
    let said = |field: &str| origin.get(field).and_then(Value::as_str);
    let mut lines = Vec::new();
    let mut add = |name: &str, text: String| lines.push((name.to_owned(), text));
    if let (Some(pipeline), Some(stage)) = (said("pipeline"), said("stage")) {
        add(
            "from",
            format!(
                "pipeline {pipeline}, stage {stage}, by {}",
                said("made_by").unwrap_or("refit")
            ),
        );
    }
    for name in ["commit", "key", "digest"] {
        if let Some(text) = said(name) {
            add(name, text.to_owned());
        }
    }
    let steps = origin.get("steps").and_then(Value::as_array);
    for step in steps.into_iter().flatten() {
        let stage = step
            .get("stage")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if step.get("kind").and_then(Value::as_str) != Some("load") {
            continue;
        }
        let files = step.get("files").and_then(Value::as_object);
        for (role, digest) in files.into_iter().flatten() {
            let digest = digest.as_str().unwrap_or_default();
            add("data", format!("{stage} {role} {digest}"));
        }
    }
    let licences = origin.get("encoder_licences").and_then(Value::as_array);
    let licences: Vec<&str> = licences
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    add(
        "encoder's licence",
        match licences.is_empty() {
            true => "not said by a card beside it".to_owned(),
            false => licences.join(", "),
        },
    );
    let scores = origin.get("scores").and_then(Value::as_object);
    let numbers = scores.into_iter().flatten();
    let numbers = numbers.filter_map(|(name, value)| Some((name, value.as_f64()?)));
    let numbers: Vec<String> = numbers
        .map(|(name, value)| match value.fract() == 0.0 && value >= 2.0 {
            true => format!("{name} {value:.0}"),
            false => format!("{name} {value:.4}"),
        })
        .collect();
    if !numbers.is_empty() {
        let split = scores.and_then(|scores| scores.get("split")?.as_str());
        add(
            "scores",
            format!("{} on {}", numbers.join(", "), split.unwrap_or("a split")),
        );
    }
    lines
}
