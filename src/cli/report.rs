//! `refit report SPEC`: a page that shows the pipeline's evaluations, for a browser.
//!
//! Deliberately absent: what is on the page, which is [`report`](crate::report)'s, and running anything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{
    Answer, Exit, Failure, Resolved, SpecArguments, StoreArguments, print, print_json, resolve,
    store_of_spec, tell,
};
use crate::artifact::Kind;
use crate::outcome::Outcome;
use crate::plan::{Plan, Step};
use crate::report::evaluation::ReportPage;
use crate::report::evaluation::{Previous, report_page};
use crate::report::gather::{Facts, StepFacts, difference, gather, pieces};
use crate::run::judge::{Assessment, Foreseen, History, assess};
use crate::run::scores_of;
use crate::spec::replace;
use crate::store::{ObjectState, Store};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Only this `evaluate` stage. May be given several times; by default all.
    #[arg(long, value_name = "NAME")]
    stage: Vec<String>,
    /// Where the page is written. By default `reports/PIPELINE.html` in the store.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also show it in a browser.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    store: StoreArguments,
    /// Print where the page is, and what it shows, as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum ReportUse {
    #[error("{} has no stage whose scores a page could show", spec.display())]
    #[diagnostic(help(
        "add one such as\n[evaluate.scores]\nmodel = \"STAGE\"\ninput = \"STAGE\"\nand run the pipeline"
    ))]
    NoEvaluation { spec: PathBuf },
    #[error("`{stage}` is a stage of the kind {kind}, and a page shows evaluations")]
    #[diagnostic(help("name a stage of the kind evaluate: {known}"))]
    NotAnEvaluation {
        stage: String,
        kind: String,
        known: String,
    },
    #[error("the evaluation `{stage}` has no result now: {reason}")]
    #[diagnostic(help("`refit run {} {stage}` makes it", spec.display()))]
    NotBuilt {
        spec: PathBuf,
        stage: String,
        reason: String,
    },
    #[error("cannot write the page {}", path.display())]
    #[diagnostic(help(
        "check that the folder is there, its permissions and the free space, or name another file"
    ))]
    Unwritten {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The page's contents; meanwhile a bar on a terminal, or a line.
fn gathered(facts: &Facts) -> Result<ReportPage, Failure> {
    let style = ProgressStyle::with_template("gathering {bar:24} {pos}/{len}  {elapsed}  {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(pieces(facts)).with_style(style);
    if bar.is_hidden() {
        tell("gathering what is stored\n");
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    let page = gather(facts, &mut |piece| {
        bar.inc(1);
        bar.set_message(piece.to_owned());
    });
    bar.finish_and_clear();
    page.map_err(Failure::failed)
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let Resolved { pipeline, plan, .. } =
        resolve(&arguments.spec, &arguments.store, arguments.json)?;
    let spec = &arguments.spec.spec;
    let evaluations = wanted(&plan, &arguments.stage, spec)?;
    let store = store_of_spec(&arguments.store, &pipeline)?;
    let all: BTreeSet<usize> = (0..plan.steps.len()).collect();
    let assessed = assess(&plan, &all, &BTreeSet::new(), &store).map_err(Failure::failed)?;
    for &place in &evaluations {
        let found = assessed.iter().find(|one| one.step == place);
        if let Some(unbuilt) = found.filter(|one| one.digest.is_none()) {
            let missing = ReportUse::NotBuilt {
                spec: spec.clone(),
                stage: plan.steps[place].name.clone(),
                reason: unbuilt.reason.to_string(),
            };
            return Err(Failure::new(Exit::Pending, &missing));
        }
    }
    let history = History::new(&store, &plan.pipeline);
    let steps = assessed
        .iter()
        .map(|one| facts_of(&plan, one, &history, &store));
    let text = pipeline.text();
    let facts = Facts {
        pipeline: plan.pipeline.clone(),
        spec: spec.display().to_string(),
        made_by: format!("refit {}", env!("CARGO_PKG_VERSION")),
        steps: steps.collect(),
        evaluations,
        previous: previous(&store, &plan.pipeline, &text),
        text,
    };
    store.save_memo();
    let page = gathered(&facts)?;
    let path = match &arguments.output {
        Some(path) => path.clone(),
        None => store.root().join("reports").join(file_name(&plan.pipeline)),
    };
    write(&path, &report_page(&page), arguments.output.is_none()).map_err(|source| {
        Failure::failed(ReportUse::Unwritten {
            path: path.clone(),
            source,
        })
    })?;
    match arguments.json {
        true => {
            let stages: Vec<&str> = page.evaluations.iter().map(|one| &*one.stage).collect();
            print_json(&json!({ "pipeline": page.pipeline, "report": path, "stages": stages }));
        }
        false => print(&format!("{}\n", path.display())),
    }
    if arguments.open && !open(&path) {
        tell("warning: no browser could be started; open the file in one\n");
    }
    Ok(Exit::Done)
}

/// The places of the evaluations that were asked for; of all where none was.
fn wanted(plan: &Plan, named: &[String], spec: &Path) -> Result<Vec<usize>, Failure> {
    let is_evaluation = |step: &Step| step.stage.produces() == Kind::Scores;
    let all = plan.steps.iter().enumerate();
    let all = all
        .filter(|(_, step)| is_evaluation(step))
        .map(|(place, _)| place);
    let all: Vec<usize> = all.collect();
    if all.is_empty() {
        return Err(Failure::unusable(ReportUse::NoEvaluation {
            spec: spec.to_owned(),
        }));
    }
    if named.is_empty() {
        return Ok(all);
    }
    let mut places = plan.named(named).map_err(Failure::unusable)?;
    if let Some(other) = places
        .iter()
        .map(|&place| &plan.steps[place])
        .find(|step| !is_evaluation(step))
    {
        let known: Vec<&str> = all.iter().map(|&place| &*plan.steps[place].name).collect();
        return Err(Failure::unusable(ReportUse::NotAnEvaluation {
            stage: other.name.clone(),
            kind: other.kind.to_owned(),
            known: known.join(", "),
        }));
    }
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

fn facts_of(plan: &Plan, assessed: &Assessment, history: &History<'_>, store: &Store) -> StepFacts {
    let step = &plan.steps[assessed.step];
    let of_step = history.runs().iter().flat_map(|run| &run.steps);
    let mut of_step = of_step.filter(|record| record.stage == step.name);
    // A later run may have been of another spec.
    let latest = of_step
        .clone()
        .find(|record| record.key.is_some() && record.key == assessed.key);
    let made = of_step.find(|record| {
        record.outcome == Outcome::Built
            && record.digest.is_some()
            && record.digest == assessed.digest
    });
    let foreseen = match assessed.state {
        Foreseen::Fresh => "fresh",
        Foreseen::Run => "would run",
        Foreseen::Pending => "pending",
    };
    let object = assessed.digest.map(|digest| store.object(&digest));
    let produces = step.stage.produces();
    let inputs = step.inputs.iter();
    StepFacts {
        stage: step.name.clone(),
        kind: step.kind.to_owned(),
        produces: Some(produces),
        key: assessed.key.map(|key| key.to_string()).unwrap_or_default(),
        outcome: latest.map_or(foreseen.to_owned(), |latest| latest.outcome.to_string()),
        reason: latest.map_or(assessed.reason.to_string(), |latest| {
            latest.reason.to_string()
        }),
        seconds: made.map(|made| made.seconds),
        resumed_from: made.and_then(|made| made.resumed_from_step),
        inputs: inputs
            .map(|(role, place)| ((*role).to_owned(), *place))
            .collect(),
        settings: step.stage.settings(),
        split: step.stage.scoring().map(|scoring| scoring.split),
        artifact: match object {
            Some(ObjectState::Present(path)) => Some(path),
            _ => None,
        },
        scores: match (produces, &assessed.digest) {
            (Kind::Scores, Some(digest)) => scores_of(store, &plan.pipeline, &step.name, digest),
            _ => None,
        },
    }
}

/// The newest run of the pipeline with another text.
fn previous(store: &Store, pipeline: &str, text: &str) -> Option<Previous> {
    let differs = |run: &crate::store::RunRecord| {
        run.pipeline == pipeline && !run.text.is_empty() && run.text != text
    };
    let (address, run) = store.runs_with_addresses().find(|(_, run)| differs(run))?;
    let when = run.started.to_zoned(jiff::tz::TimeZone::system());
    Some(Previous {
        run: format!("@{address}"),
        when: when.strftime("%Y-%m-%d %H:%M").to_string(),
        lines: difference(&run.text, text),
    })
}

/// A file's name for the page of a pipeline, whatever it is called.
fn file_name(pipeline: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = pipeline
        .chars()
        .map(|c| if kept(c) { c } else { '-' })
        .collect();
    format!("{}.html", name.trim_start_matches('.'))
}

/// Writes the page, so that it is there whole or as it was.
fn write(path: &Path, page: &str, make_folder: bool) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|_| make_folder) {
        std::fs::create_dir_all(folder)?;
    }
    replace(path, page)
}

/// Asks the system to show a file.
fn open(path: &Path) -> bool {
    let program = match std::env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ => "xdg-open",
    };
    let mut command = Command::new(program);
    command
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_pipeline_has_a_file_in_the_folder_of_reports() {
        for (pipeline, file) in [
            ("ag-news", "ag-news.html"),
            ("../a b/ü", "-a-b-ü.html"),
            ("", ".html"),
        ] {
            assert_eq!(file_name(pipeline), file);
        }
    }
}
