//! What is known of a stage: what became of it when it last ran, and whether it would run now, and why.
//!
//! Answered from the store's records and from digests that it remembers. Where that would need a longer look at files, the
//! answer says so and leaves it to `refit plan`.
//!
//! Deliberately absent: settings and their descriptions, which the schema's servers show.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use lsp_types::{Hover, HoverContents, MarkupContent, MarkupKind};
use serde_json::Value;

use super::diagnostics::{Checked, store_root};
use super::document::Document;
use super::mentions::Of;
use super::scan::What;
use crate::plan::Plan;
use crate::run::judge::{Foreseen, History, assess};
use crate::stage::KINDS;
use crate::store::Store;

/// How much may be read of files whose digests are not known. Bytes.
const MOST_READ: u64 = 1 << 20;
/// How many scores are shown.
const MOST_SCORES: usize = 6;

pub(super) fn hover(document: &Document, offset: usize) -> Option<Hover> {
    let mention = document.mention(offset)?;
    let mut all = document.mentions().iter();
    let declared = all.find(|one| one.is_of(mention) && one.declares.is_some())?;
    let text = match mention.of {
        Of::Stage => {
            let kind = declared.declares.as_ref()?.first()?;
            of_stage(document, &mention.name, kind)
        }
        Of::Variable => of_variable(document, declared.declares.as_ref()?)?,
    };
    Some(Hover {
        contents: HoverContents::Markup(MarkupContent {
            kind: MarkupKind::Markdown,
            value: text,
        }),
        range: Some(document.range(&mention.span)),
    })
}

/// The value that is written for a variable.
fn of_variable(document: &Document, path: &[String]) -> Option<String> {
    let mut tokens = document.tokens().iter();
    let value = tokens.find(|token| token.what == What::Text && token.path == path)?;
    let text = document.text.get(value.span.clone())?;
    let text = crate::spec::problem::masked(text);
    Some(format!("`{}`", text.replace('`', "'")))
}

fn of_stage(document: &Document, name: &str, kind: &str) -> String {
    let mut text = format!("**{name}**, a stage of the kind `{kind}`");
    if let Some(known) = KINDS.iter().find(|known| known.name == kind) {
        let _ = write!(text, ", gives {}", known.produces);
    }
    let checked = document.checked();
    let store = match Store::open(&store_root(checked.pipeline.folder())) {
        Ok(store) => store,
        Err(error) => {
            let _ = write!(text, "\n\nThe store cannot be used: {error}");
            return text;
        }
    };
    let history = History::new(&store, &checked.pipeline.name);
    let _ = write!(text, "\n\n{}", last_run(&history, name));
    let _ = write!(text, "\n\n{}", now(checked, &store, name));
    text
}

fn last_run(history: &History<'_>, name: &str) -> String {
    let runs = history.runs().iter();
    let mut found = runs.filter_map(|run| {
        let step = run.steps.iter().find(|step| step.stage == name)?;
        Some((run, step))
    });
    let Some((run, step)) = found.next() else {
        return "Never run in this store.".to_owned();
    };
    let when = run
        .started
        .to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M");
    let mut text = format!("Last run {when}: {} ({})", step.outcome, step.reason);
    if step.seconds > 0.0 {
        let _ = write!(text, ", {:.1} s", step.seconds);
    }
    let scores = run.scores.get(name).and_then(Value::as_object);
    let numbers = scores.into_iter().flatten();
    let numbers = numbers.filter_map(|(metric, value)| Some((metric, value.as_f64()?)));
    let shown: Vec<String> = numbers
        .filter(|(metric, _)| *metric != "rows")
        .take(MOST_SCORES)
        .map(|(metric, value)| format!("{metric} {value:.4}"))
        .collect();
    if !shown.is_empty() {
        let _ = write!(text, "\n\nScores: {}", shown.join(", "));
    }
    text
}

/// What `refit plan` says of it.
fn now(checked: &Checked, store: &Store, name: &str) -> String {
    let Some(plan) = &checked.plan else {
        return match checked.problems.len() {
            1 => "The spec has a problem, so nothing would run.".to_owned(),
            many => format!("The spec has {many} problems, so nothing would run."),
        };
    };
    let (Ok(selected), Some(index)) = (plan.select(&[name.to_owned()]), plan.index(name)) else {
        return String::new();
    };
    if unread(plan, &selected, store) > MOST_READ {
        return "Its files were not read since they changed; `refit plan` reads them and says whether it would run."
            .to_owned();
    }
    let assessments = match assess(plan, &selected, &BTreeSet::new(), store) {
        Ok(assessments) => assessments,
        Err(error) => return format!("Now: {error}"),
    };
    let found = assessments.iter().find(|one| one.step == index);
    found.map_or(String::new(), |one| match one.state {
        Foreseen::Fresh => format!("Now fresh: {}", one.reason),
        Foreseen::Run => format!("Would run: {}", one.reason),
        Foreseen::Pending => format!("Pending: {}", one.reason),
    })
}

/// How much must be read to judge these steps. Bytes.
fn unread(plan: &Plan, selected: &BTreeSet<usize>, store: &Store) -> u64 {
    let steps = selected.iter().map(|&index| &plan.steps[index]);
    let mut sum = 0_u64;
    for step in steps {
        let files = step.files.values().map(|path| path.as_path());
        for path in files.chain(step.placement.as_deref()) {
            sum = sum.saturating_add(unread_below(path, store, 0));
        }
    }
    sum
}

fn unread_below(path: &Path, store: &Store, depth: usize) -> u64 {
    const DEEPEST: usize = 8;
    let Ok(metadata) = std::fs::metadata(path) else {
        return 0;
    };
    if metadata.is_file() {
        return match store.knows_file(path) {
            true => 0,
            false => metadata.len(),
        };
    }
    if depth > DEEPEST {
        return u64::MAX;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.fold(0, |sum, entry| {
        sum.saturating_add(unread_below(&entry.path(), store, depth + 1))
    })
}
