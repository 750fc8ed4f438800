//! `refit compare A B`: how two results differ in settings, data, scores and answers, and how sure that is.
//!
//! Deliberately absent: the comparison itself, which is [`compare`](crate::compare)'s.

mod changed;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    Answer, Exit, Failure, Resolved, SpecArguments, StoreArguments, open_store, print, print_json,
    resolve, store_of_spec, table,
};
use crate::compare::{Both, Comparison, Metric, Named, Scores, Settings, Subject, compare};
use crate::fingerprint::Change;
use crate::stage::Interval;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A spec, for what is known of it as it stands; a trial of its sweep, `SPEC#NUMBER`; or a past run by its address in
    /// `refit log`: `@1` is the newest.
    a: String,
    /// What to set beside it: a spec, a trial or a run.
    b: String,
    /// Only this score. May be given several times.
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// How many of the rows that are answered differently are listed: those that B answers wrongly and A did not come first,
    /// the surest at the head. `--json` has all of them.
    #[arg(long, value_name = "N", default_value_t = 10)]
    rows: usize,
    #[command(flatten)]
    store: StoreArguments,
    /// Print the comparison as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let texts = [&arguments.a, &arguments.b];
    // Runs are looked for where the spec beside them keeps its results.
    let spec = texts.iter().find(|text| !text.starts_with('@'));
    let folder = spec.and_then(|spec| Path::new(spec.as_str()).parent());
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let [a, b] = texts.map(|text| subject(text, &arguments.store, folder, arguments.json));
    let found = compare(&a?, &b?, &arguments.metric).map_err(Failure::unusable)?;
    if arguments.json {
        print_json(&json!(found));
    } else {
        print(&worded(&found, arguments.rows));
    }
    Ok(Exit::Done)
}

/// Reads what a user names as one side of a comparison: a run by its address, or a spec. Runs are those of the store of
/// `folder`.
fn subject(
    text: &str,
    store: &StoreArguments,
    folder: &Path,
    as_json: bool,
) -> Result<Subject, Failure> {
    if let Some(address) = text.strip_prefix('@') {
        let store = open_store(store, folder)?;
        let (address, run) = store.run_at(address).map_err(Failure::unusable)?;
        let started = run.started.to_zoned(jiff::tz::TimeZone::system());
        let started = started.strftime("%Y-%m-%d %H:%M:%S");
        let label = format!("@{address} ({}, {started})", run.pipeline);
        let subject = Subject::of_run(label, run, &store);
        store.save_memo();
        return Ok(subject);
    }
    // A file of that whole name comes first.
    let trial = text
        .rsplit_once('#')
        .filter(|_| !Path::new(text).exists())
        .and_then(|(spec, number)| Some((spec, number.parse().ok()?)));
    let spec = SpecArguments {
        spec: PathBuf::from(trial.map_or(text, |(spec, _)| spec)),
        set: Vec::new(),
    };
    if let Some((_, number)) = trial {
        let (plan, store) = super::sweep::trial(&spec, store, number, as_json)?;
        let subject = Subject::of_plan(text.to_owned(), &plan, &store).map_err(Failure::failed)?;
        store.save_memo();
        return Ok(subject);
    }
    let Resolved { pipeline, plan, .. } = resolve(&spec, store, as_json)?;
    let store = store_of_spec(store, &pipeline)?;
    let subject = Subject::of_plan(text.to_owned(), &plan, &store).map_err(Failure::failed)?;
    store.save_memo();
    Ok(subject)
}

fn worded(found: &Comparison, rows: usize) -> String {
    let mut text = format!("A  {}\nB  {}\n", found.a, found.b);
    if !found.not_built.is_empty() {
        text.push_str("\nnot built\n");
        for one in &found.not_built {
            let of = one.of.to_uppercase();
            text.push_str(&format!("  {of}: {}: {}\n", one.stage, one.reason));
        }
    }
    text.push_str("\nsettings\n");
    let only = [("A", &found.only_in_a), ("B", &found.only_in_b)];
    for (of, stages) in only {
        for Named { stage, kind } in stages {
            text.push_str(&format!("  {stage} ({kind}): only in {of}\n"));
        }
    }
    for Settings {
        stage,
        kind,
        changes,
        known,
    } in &found.settings
    {
        text.push_str(&format!("  {} ({kind})\n", named(stage)));
        if !known {
            text.push_str("    not known for both\n");
        }
        for change in changes {
            text.push_str(&format!("    {}\n", told(change)));
        }
    }
    if found.settings.is_empty() && only.iter().all(|(_, stages)| stages.is_empty()) {
        text.push_str("  the same\n");
    }
    text.push_str("\ndata\n");
    for one in &found.data {
        text.push_str(&format!("  {} ({})\n", named(&one.stage), one.kind));
        for change in &one.files {
            text.push_str(&format!("    {change}\n"));
        }
        if let (Some(a), Some(b)) = (one.digest.a, one.digest.b)
            && a != b
            && !one.rows.is_empty()
        {
            text.push_str(&format!("    content: {} → {}\n", a.short(), b.short()));
        }
        let count = |rows: Option<usize>| rows.map_or("–".to_owned(), |rows| rows.to_string());
        let rows = one.rows.iter().map(|(split, Both { a, b })| match a == b {
            true => format!("{split} {}", count(*a)),
            false => format!("{split} {} → {}", count(*a), count(*b)),
        });
        let rows = rows.collect::<Vec<_>>().join(", ");
        if !rows.is_empty() {
            text.push_str(&format!("    rows: {rows}\n"));
        }
    }
    if found.data.is_empty() {
        text.push_str("  nothing differs that the store still tells\n");
    }
    text.push_str("\nscores\n");
    for scores in &found.scores {
        text.push_str(&scores_worded(scores, rows));
    }
    if found.scores.is_empty() {
        text.push_str("  none\n");
    }
    text
}

fn scores_worded(scores: &Scores, shown: usize) -> String {
    let mut heading = format!("  {} ({})", named(&scores.stage), scores.kind);
    match (&scores.split.a, &scores.split.b) {
        (Some(a), Some(b)) if a != b => heading.push_str(&format!(", {a} → {b}")),
        (Some(split), _) | (None, Some(split)) => heading.push_str(&format!(", {split}")),
        (None, None) => {}
    }
    match (scores.rows.a, scores.rows.b) {
        (Some(a), Some(b)) if a == b => heading.push_str(&format!(", {a} rows")),
        (Some(a), Some(b)) => heading.push_str(&format!(", {a} → {b} rows")),
        (Some(rows), None) | (None, Some(rows)) => heading.push_str(&format!(", {rows} rows")),
        (None, None) => {}
    }
    let level = scores.resampled.map(|drawn| (drawn.level * 100.0).round());
    let mut rows = match level {
        Some(level) => table(&["metric", "A", "B", "B − A", &format!("{level} % interval")]),
        None => table(&["metric", "A", "B", "B − A"]),
    };
    for metric in &scores.metrics {
        let Metric {
            metric: name,
            a,
            b,
            difference,
            interval,
            ..
        } = metric;
        let plain = |value: &Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.4}"));
        let signed = |value: &Option<f64>| value.map_or(String::new(), |v| format!("{v:+.4}"));
        let between = |Interval { low, high }: &Interval| format!("{low:+.4} to {high:+.4}");
        let mut cells = vec![name.clone(), plain(a), plain(b), signed(difference)];
        if level.is_some() {
            cells.push(interval.as_ref().map_or(String::new(), between));
        }
        rows.add_row(cells);
    }
    let mut text = format!("{heading}\n");
    for line in rows.trim_fmt().lines() {
        text.push_str(&format!("    {line}\n"));
    }
    let note = match (&scores.resampled, scores.collected) {
        (Some(drawn), _) if drawn.paired => Some(format!(
            "intervals of {} resamples of the rows, the same for A and B",
            drawn.resamples
        )),
        (Some(drawn), _) => Some(format!(
            "A and B answered different rows: intervals of {} resamples of each",
            drawn.resamples
        )),
        (None, Both { a: true, b: true }) => Some(no_longer("A and B")),
        (None, Both { a: true, .. }) => Some(no_longer("A")),
        (None, Both { b: true, .. }) => Some(no_longer("B")),
        _ => None,
    };
    for line in note.into_iter().chain(changed::worded(scores, shown)) {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

fn no_longer(of: &str) -> String {
    format!("no intervals: the predictions of {of} are no longer in the store")
}

/// A name, or both where they differ.
fn named(both: &Both<String>) -> String {
    match both.a == both.b {
        true => both.a.clone(),
        false => format!("{} → {}", both.a, both.b),
    }
}

fn told(change: &Change) -> String {
    match change {
        Change::Input { field, .. } => {
            format!("{change}: what flows into `{field}` differs, though nothing before it does")
        }
        _ => change.to_string(),
    }
}
