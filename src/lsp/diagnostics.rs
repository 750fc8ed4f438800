//! What is wrong with a spec, as `refit check` says it, at once and without a network.
//!
//! Deliberately absent: the checks. They are the spec's, the plan's and the sweep's.

use std::path::Path;

use lsp_types::{Diagnostic, DiagnosticSeverity};

use super::document::Document;
use crate::hub::{self, Environment, Fetched, HubError, Remote};
use crate::plan::Plan;
use crate::spec::problem::masked;
use crate::spec::{Pipeline, Problem};
use crate::store::{Store, VARIABLE};
use crate::sweep;

/// A spec that was read and resolved.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) pipeline: Pipeline,
    /// In the order of the text.
    pub(super) problems: Vec<Problem>,
    /// Only without problems.
    pub(super) plan: Option<Plan>,
}

/// Reads and resolves the spec whose text is this, with what is at hand of the things that it names elsewhere.
pub(super) fn checked(path: &Path, text: &str) -> Checked {
    let (pipeline, mut problems) =
        Pipeline::parse(path, text, &[], &|name| std::env::var(name).ok());
    let plan = match at_hand(&pipeline, remotes(&pipeline)) {
        Ok(at_hand) => match Plan::resolve(&pipeline, &at_hand) {
            Ok(plan) => Some(plan),
            Err(more) => {
                problems.extend(more);
                None
            }
        },
        Err(error) => {
            problems.push(elsewhere(&pipeline, &error));
            None
        }
    };
    problems.sort_by_key(|problem| (problem.place.source, problem.place.span.start));
    Checked {
        plan: plan.filter(|_| problems.is_empty()),
        pipeline,
        problems,
    }
}

/// What is wrong with the values of a sound spec's sweep; nothing where `stopped` says that nobody waits any more.
pub(super) fn of_sweep(checked: &Checked, stopped: &dyn Fn() -> bool) -> Option<Vec<Problem>> {
    let mut found: Vec<Problem> = Vec::new();
    let settings = checked.pipeline.sweep.as_ref();
    let settings = settings.filter(|_| checked.problems.is_empty());
    for sample in settings.map(|settings| settings.samples()).iter().flatten() {
        if stopped() {
            return None;
        }
        let varied = checked.pipeline.with(sample);
        let mut named = remotes(&checked.pipeline);
        named.extend(remotes(&varied.0));
        let problems = match at_hand(&checked.pipeline, named) {
            Ok(at_hand) => sweep::problems(&checked.pipeline, &[varied], &at_hand),
            Err(error) => vec![elsewhere(&checked.pipeline, &error)],
        };
        let new = problems.into_iter().filter(|one| !found.contains(one));
        let new: Vec<Problem> = new.collect();
        found.extend(new);
    }
    found.sort_by_key(|problem| (problem.place.source, problem.place.span.start));
    Some(found)
}

/// What a pipeline names elsewhere.
fn remotes(pipeline: &Pipeline) -> Vec<Remote> {
    let stages = pipeline.stages.iter();
    let named = stages.flat_map(|stage| stage.stage.remotes(pipeline.folder()));
    named.map(|(_, remote)| remote).collect()
}

/// What is at hand of things elsewhere.
pub(super) fn at_hand(pipeline: &Pipeline, mut named: Vec<Remote>) -> Result<Fetched, HubError> {
    if named.is_empty() {
        return Ok(Fetched::default());
    }
    named.sort();
    named.dedup();
    let places = hub::Places {
        lock: pipeline.folder().join(hub::LOCK),
        downloads: store_root(pipeline.folder()).join("downloads"),
    };
    hub::find(&Environment::of_process(), &named, &places)
}

/// Where the store of a spec's folder is.
pub(super) fn store_root(folder: &Path) -> std::path::PathBuf {
    let environment = std::env::var_os(VARIABLE);
    Store::locate(None, environment.as_deref(), folder)
}

/// A fault of something beside the spec, shown at the spec's beginning.
fn elsewhere(pipeline: &Pipeline, error: &HubError) -> Problem {
    let help = miette::Diagnostic::help(error).map(|help| help.to_string());
    let place = pipeline.written().place.clone();
    Problem::new(&place, error.to_string(), "needed by this spec").help(help.unwrap_or_default())
}

/// The problems of a document as its client is told them; none of what is no spec.
pub(super) fn shown(document: &Document, more: &[Problem]) -> Vec<Diagnostic> {
    if !document.is_spec() {
        return Vec::new();
    }
    let checked = document.checked();
    let problems = checked.problems.iter().chain(more);
    problems
        .map(|problem| diagnostic(document, &checked.pipeline, problem))
        .collect()
}

/// A problem as editors show it.
pub(super) fn diagnostic(
    document: &Document,
    pipeline: &Pipeline,
    problem: &Problem,
) -> Diagnostic {
    // What stands in another text is told at the beginning of this one.
    let span = match problem.place.source {
        0 => problem.shown(&pipeline.sources),
        _ => document.line(0),
    };
    let message = match &problem.help {
        Some(help) => format!("{}\n{help}", masked(&problem.message)),
        None => masked(&problem.message),
    };
    Diagnostic {
        range: document.range(&span),
        severity: Some(DiagnosticSeverity::ERROR),
        source: Some("refit".to_owned()),
        message,
        ..Diagnostic::default()
    }
}
