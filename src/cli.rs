//! The commands: arguments, one file per command, and what every command shares.
//!
//! People read stderr, programs read stdout: with `--json` a command prints one JSON value there and nothing else.
//!
//! Deliberately absent: work. A command reads a pipeline, asks the engine, and words the answer.

mod bundle;
mod cache;
#[cfg(test)]
mod catalogue;
mod check;
mod compare;
mod completions;
mod explain;
mod fetch;
mod fill;
mod graph;
mod init;
mod inspect;
mod jobs;
mod log;
mod lsp;
mod path;
mod plan;
mod predict;
mod preview;
mod progress;
mod remote;
mod report;
mod run;
mod schema;
mod serve;
mod step;
mod sweep;
mod watch;
mod worker;

use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use serde_json::{Value, json};

use crate::hub;
use crate::plan::Plan;
use crate::spec::{Pipeline, Problem, Sources};
use crate::store::{Store, VARIABLE};

/// Fine-tune BERT-family encoders from a TOML file; rerun only what changed.
#[derive(Debug, Parser)]
#[command(name = "refit", version, max_term_width = 110)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Log more (-v, -vv, -vvv). `REFIT_LOG` takes a tracing filter instead.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// How log lines are written to stderr.
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a spec to begin with: guessed from data, or a template for a task.
    Init(init::Arguments),
    /// Bring a pipeline up to date: run every stage whose result is not known.
    Run(run::Arguments),
    /// Run the trials of a `[sweep]`, each stage they share once, and keep the best.
    Sweep(sweep::Arguments),
    /// Bring a pipeline up to date again whenever its spec or a file that it reads changes.
    Watch(watch::Arguments),
    /// Say what would run, and why. Exits 3 when work is pending.
    Plan(plan::Arguments),
    /// Report every problem of a spec, with its place.
    Check(check::Arguments),
    /// Say which fields of a stage changed, old → new, since it last ran.
    Explain(explain::Arguments),
    /// Look at the data before training: how many rows of what, how long they are, and what is wrong with them.
    Inspect(inspect::Arguments),
    /// Show the first rows of a stage: as loaded, before and after augmentation, or as tokens.
    Preview(preview::Arguments),
    /// Say how two results differ: settings, data, and scores with confidence intervals.
    Compare(compare::Arguments),
    /// Write a page that shows how good the answers of a pipeline's model are and where they are wrong, for a browser.
    Report(report::Arguments),
    /// Answer texts, lines of stdin, or files of rows with an exported model.
    Predict(predict::Arguments),
    /// Say what is in an exported model and where it came from (`inspect`).
    Bundle(bundle::Arguments),
    /// Draw the stages and what flows between them.
    Graph(graph::Arguments),
    /// Print where a stage's artifact lies.
    Path(path::Arguments),
    /// List past runs, newest first.
    Log(log::Arguments),
    /// Print the JSON Schema of specs, for editors, or write it beside them (`--write`).
    Schema(schema::Arguments),
    /// Write a spec out with every default stated.
    Fill(fill::Arguments),
    /// Print a script that completes commands and options in a shell.
    Completions(completions::Arguments),
    /// Answer over HTTP with exported models: batches, Hugging Face's request shapes, metrics, a page to try them in.
    Serve(serve::Arguments),
    /// Serve editors: problems, names, columns and past results while one writes a spec (a language server on stdin and stdout).
    Lsp(lsp::Arguments),
    /// Lend this machine's devices to trainings that run elsewhere, to whoever knows the token in REFIT_WORKER_TOKEN.
    Worker(worker::Arguments),
    /// Look after the store: list, verify, gc; share results by push and pull.
    Cache(cache::Arguments),
    /// Do one job that was handed to another process or a cluster.
    #[command(hide = true)]
    Step(step::Arguments),
}

/// The spec and how to read it.
#[derive(Debug, Args)]
struct SpecArguments {
    /// The pipeline, a TOML file.
    spec: PathBuf,
    /// Lay a value over the spec: `--set train.classifier.epochs=1`. Relative paths are relative to the spec.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Default, Args)]
struct StoreArguments {
    /// The store's folder. Default: `REFIT_STORE`, else `.refit` in the nearest folder above that has one or a `.git`.
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// A stage failed, or the store could not be used.
    Failed,
    /// The spec or the command line is wrong.
    Unusable,
    /// `plan`: work is pending.
    Pending,
    /// `step`: it wrote down how far it is, and is to be submitted again.
    Again,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Unusable => 2,
            Exit::Pending => 3,
            Exit::Again => 75,
            Exit::Interrupted => 130,
        })
    }
}

/// An error with the exit code it stands for.
struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    fn new(exit: Exit, error: &dyn Diagnostic) -> Self {
        Failure {
            exit,
            text: drawn(error),
        }
    }

    fn unusable(error: impl Diagnostic) -> Self {
        Failure::new(Exit::Unusable, &error)
    }

    fn failed(error: impl Diagnostic) -> Self {
        Failure::new(Exit::Failed, &error)
    }
}

type Answer = Result<Exit, Failure>;

/// Does what the command line asks.
pub fn answer(arguments: Arguments) -> Exit {
    let verbose = arguments.verbose > 0;
    let answer = match arguments.command {
        Command::Init(arguments) => init::answer(&arguments),
        Command::Run(arguments) => run::answer(&arguments),
        Command::Sweep(arguments) => sweep::answer(&arguments),
        Command::Watch(arguments) => watch::answer(&arguments),
        Command::Plan(arguments) => plan::answer(&arguments, verbose),
        Command::Check(arguments) => check::answer(&arguments),
        Command::Explain(arguments) => explain::answer(&arguments),
        Command::Inspect(arguments) => inspect::answer(&arguments),
        Command::Preview(arguments) => preview::answer(&arguments),
        Command::Compare(arguments) => compare::answer(&arguments),
        Command::Report(arguments) => report::answer(&arguments),
        Command::Predict(arguments) => predict::answer(&arguments),
        Command::Bundle(arguments) => bundle::answer(&arguments),
        Command::Graph(arguments) => graph::answer(&arguments),
        Command::Path(arguments) => path::answer(&arguments),
        Command::Log(arguments) => log::answer(&arguments),
        Command::Schema(arguments) => schema::answer(&arguments),
        Command::Fill(arguments) => fill::answer(&arguments),
        Command::Completions(arguments) => completions::answer(&arguments),
        Command::Serve(arguments) => serve::answer(&arguments),
        Command::Lsp(arguments) => lsp::answer(&arguments),
        Command::Worker(arguments) => worker::answer(&arguments),
        Command::Cache(arguments) => cache::answer(&arguments),
        Command::Step(arguments) => step::answer(&arguments),
    };
    answer.unwrap_or_else(|failure| {
        tell(&failure.text);
        failure.exit
    })
}

/// A diagnostic as text for stderr: with colours on a terminal, without elsewhere.
fn drawn(error: &dyn Diagnostic) -> String {
    let stderr = console_colours();
    let theme = if stderr {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    // A file keeps its lines; whoever reads it wraps them.
    draw(error, theme, if stderr { 110 } else { 10_000 })
}

fn draw(error: &dyn Diagnostic, theme: GraphicalTheme, width: usize) -> String {
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_links(false);
    let mut text = String::new();
    match handler.render_report(&mut text, error) {
        Ok(()) => text,
        Err(_) => format!("{error}\n"),
    }
}

fn console_colours() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Prints a JSON value to stdout. A reader that has gone away is no error.
fn print_json(value: &Value) {
    print(&format!("{value:#}\n"));
}

/// Prints a result to stdout. A reader that has gone away is no error.
fn print(text: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Prints to stderr. A reader that has gone away is no error.
fn tell(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A spec, resolved with what is at hand of the things that it names elsewhere.
struct Resolved {
    pipeline: Pipeline,
    plan: Plan,
    /// Where what it names elsewhere is kept.
    places: hub::Places,
}

/// How the problems of a spec are printed to stdout, beside the text for people on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProblemFormat {
    /// For people, on stderr alone.
    Text,
    /// One JSON object.
    Json,
    /// Annotations of a GitHub workflow, by which each problem shows at its line of a change.
    Github,
}

impl From<bool> for ProblemFormat {
    /// Of `--json`.
    fn from(as_json: bool) -> Self {
        match as_json {
            true => ProblemFormat::Json,
            false => ProblemFormat::Text,
        }
    }
}

/// Reads and resolves a spec without any network, or reports everything that is wrong with it.
fn resolve(
    arguments: &SpecArguments,
    store: &StoreArguments,
    format: impl Into<ProblemFormat>,
) -> Result<Resolved, Failure> {
    let (pipeline, problems) =
        Pipeline::read(&arguments.spec, &arguments.set).map_err(Failure::unusable)?;
    let places = places(&pipeline, store);
    let at_hand = hub::find(
        &hub::Environment::of_process(),
        &remotes(&pipeline),
        &places,
    )
    .map_err(Failure::unusable)?;
    let plan = planned(&pipeline, problems, &at_hand, format)?;
    Ok(Resolved {
        pipeline,
        plan,
        places,
    })
}

/// Where a pipeline keeps what it names elsewhere.
fn places(pipeline: &Pipeline, store: &StoreArguments) -> hub::Places {
    hub::Places {
        lock: pipeline.folder().join(hub::LOCK),
        downloads: locate_store(store, pipeline.folder()).join("downloads"),
    }
}

/// What a pipeline names elsewhere.
fn remotes(pipeline: &Pipeline) -> Vec<hub::Remote> {
    let stages = pipeline.stages.iter();
    let named = stages.flat_map(|stage| stage.stage.remotes(pipeline.folder()));
    named.map(|(_, remote)| remote).collect()
}

/// The plan of a pipeline, or everything that is wrong with it.
fn planned(
    pipeline: &Pipeline,
    mut problems: Vec<Problem>,
    at_hand: &hub::Fetched,
    format: impl Into<ProblemFormat>,
) -> Result<Plan, Failure> {
    match Plan::resolve(pipeline, at_hand) {
        Ok(plan) if problems.is_empty() => return Ok(plan),
        Ok(_) => {}
        Err(more) => problems.extend(more),
    }
    Err(unusable(pipeline, problems, format))
}

/// Everything that is wrong with a spec, in its order.
fn unusable(
    pipeline: &Pipeline,
    mut problems: Vec<Problem>,
    format: impl Into<ProblemFormat>,
) -> Failure {
    problems.sort_by_key(|problem| (problem.place.source, problem.place.span.start));
    match format.into() {
        ProblemFormat::Text => {}
        ProblemFormat::Json => print_json(&problems_json(&problems, &pipeline.sources)),
        ProblemFormat::Github => {
            let annotations = problems.iter();
            let annotations = annotations.map(|problem| problem.annotation(&pipeline.sources));
            print(&annotations.collect::<String>());
        }
    }
    Failure {
        exit: Exit::Unusable,
        text: problems_text(&problems, pipeline),
    }
}

fn problems_json(problems: &[Problem], sources: &Sources) -> Value {
    json!({ "problems": problems.iter().map(|problem| problem.to_json(sources)).collect::<Vec<_>>() })
}

fn problems_text(problems: &[Problem], pipeline: &Pipeline) -> String {
    let mut text: String = problems
        .iter()
        .map(|problem| drawn(&problem.draw(&pipeline.sources)))
        .collect();
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        many => format!("{many} problems"),
    };
    text.push_str(&format!("{}: {count}\n", pipeline.path.display()));
    text
}

/// The store of a spec.
fn store_of_spec(arguments: &StoreArguments, pipeline: &Pipeline) -> Result<Store, Failure> {
    open_store(arguments, pipeline.folder())
}

/// The store of the current folder.
fn store_here(arguments: &StoreArguments) -> Result<Store, Failure> {
    open_store(arguments, Path::new("."))
}

fn open_store(arguments: &StoreArguments, folder: &Path) -> Result<Store, Failure> {
    Store::open(&locate_store(arguments, folder)).map_err(Failure::failed)
}

fn locate_store(arguments: &StoreArguments, folder: &Path) -> PathBuf {
    let environment = std::env::var_os(VARIABLE);
    Store::locate(arguments.store.as_deref(), environment.as_deref(), folder)
}

/// The commit that the spec's folder is at, when it is a git checkout.
fn git_commit(folder: &Path) -> Option<String> {
    let output = Process::new("git")
        .arg("-C")
        .arg(folder)
        .args(["rev-parse", "HEAD"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// `1.4 s`, `2 min 5 s`.
fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.1 => format!("{:.0} ms", s * 1000.0),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0} min {:.0} s", (s / 60.0).floor(), s % 60.0),
        s => format!(
            "{:.0} h {:.0} min",
            (s / 3600.0).floor(),
            (s % 3600.0) / 60.0
        ),
    }
}

/// A borderless table for the terminal.
fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_header(header.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}
