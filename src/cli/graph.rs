//! `refit graph SPEC`: the stages and what flows between them, as text, mermaid or dot.

use std::fmt::Write;

use clap::{Args, ValueEnum};

use super::{Answer, Exit, Resolved, SpecArguments, StoreArguments, print, resolve};
use crate::plan::Plan;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// What to print.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One line per stage: its name, kind, and where its inputs come from.
    Text,
    /// A mermaid flowchart, which code hosts draw in Markdown.
    Mermaid,
    /// Graphviz.
    Dot,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let Resolved { plan, .. } = resolve(&arguments.spec, &StoreArguments::default(), false)?;
    print(&match arguments.format {
        Format::Text => text(&plan),
        Format::Mermaid => mermaid(&plan),
        Format::Dot => dot(&plan),
    });
    Ok(Exit::Done)
}

/// Every edge: (from, to, field, kind of artifact).
fn edges(plan: &Plan) -> impl Iterator<Item = (&str, &str, &str, String)> {
    plan.steps.iter().flat_map(|step| {
        step.inputs.iter().map(|(field, from)| {
            let from = &plan.steps[*from];
            (
                from.name.as_str(),
                step.name.as_str(),
                *field,
                from.stage.produces().to_string(),
            )
        })
    })
}

fn text(plan: &Plan) -> String {
    let width = plan
        .steps
        .iter()
        .map(|step| step.name.len())
        .max()
        .unwrap_or_default();
    let kinds = plan
        .steps
        .iter()
        .map(|step| step.kind.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for step in &plan.steps {
        let inputs: Vec<String> = step
            .inputs
            .iter()
            .map(|(field, from)| format!("{field} = {}", plan.steps[*from].name))
            .collect();
        let inputs = if inputs.is_empty() {
            String::new()
        } else {
            format!(" ← {}", inputs.join(", "))
        };
        let placed = step
            .stage
            .placement()
            .map(|to| format!(" → {to}"))
            .unwrap_or_default();
        let line = format!(
            "{:width$}  {:kinds$} {inputs}{placed}",
            step.name, step.kind
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn mermaid(plan: &Plan) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for step in &plan.steps {
        let _ = writeln!(
            text,
            "    {0}[\"{0}<br/><small>{1}</small>\"]",
            step.name, step.kind
        );
    }
    for (from, to, _, kind) in edges(plan) {
        let _ = writeln!(text, "    {from} -- {kind} --> {to}");
    }
    text
}

fn dot(plan: &Plan) -> String {
    let mut text = "digraph pipeline {\n    rankdir = LR;\n    node [shape = box];\n".to_owned();
    for step in &plan.steps {
        let _ = writeln!(
            text,
            "    \"{0}\" [label = \"{0}\\n{1}\"];",
            step.name, step.kind
        );
    }
    for (from, to, field, kind) in edges(plan) {
        let _ = writeln!(
            text,
            "    \"{from}\" -> \"{to}\" [label = \"{field}: {kind}\"];"
        );
    }
    text.push_str("}\n");
    text
}
