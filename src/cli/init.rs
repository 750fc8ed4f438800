//! `refit init`: a spec to begin with, guessed from data or as a template for a task.
//!
//! Nothing is asked: what was guessed is said on stderr and stands in the spec's comments with its reason, to be corrected
//! there. Paths in the spec are relative to it, wherever the command was given.
//!
//! Deliberately absent: the guessing, which is [`init`]'s, and any download: a tokenizer counts where it lies here already.

mod template;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use miette::Diagnostic;

use super::{Answer, Exit, Failure, StoreArguments, locate_store, print, schema, tell};
use crate::hub::{self, Remote, Repository, RepositoryKind};
use crate::init::{self, Files, InitError, Known};
use crate::spec::{folder_of, write_whole};
use crate::task::Task;
use crate::text::Tokenizer;

/// What the README begins with too.
const ENCODER: &str = "sentence-transformers/all-MiniLM-L6-v2";
/// The folders in which a project has the JSON Schema of specs.
const OF_SCHEMA: [&str; 2] = ["", "schemas"];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where to write the spec; `-` prints it.
    #[arg(default_value = "pipeline.toml")]
    spec: PathBuf,
    /// The data to train on: a file, or a folder whose files say in their names which split they are.
    #[arg(long, value_name = "FILE_OR_FOLDER")]
    data: Option<PathBuf>,
    /// The file to choose the best weights by. By default it is looked for in the folder, or cut from the training rows.
    #[arg(long, value_name = "FILE", requires = "data")]
    validation: Option<PathBuf>,
    /// The file to score the finished model on. By default as with --validation.
    #[arg(long, value_name = "FILE", requires = "data")]
    test: Option<PathBuf>,
    /// What is to be learnt. With --data it is guessed where it is not given; without, a template for it is written.
    #[arg(long, value_parser = tasks())]
    task: Option<Task>,
    /// The column of text: its name, or its number from 0.
    #[arg(long, value_name = "COLUMN", requires = "data")]
    text: Option<String>,
    /// The column of what is to be learnt (labels, tags, numbers): its name, or its number from 0.
    #[arg(long, value_name = "COLUMN", requires = "data")]
    label: Option<String>,
    /// The encoder to fine-tune: a folder, or a model of the hub.
    #[arg(long, value_name = "NAME_OR_FOLDER", default_value = ENCODER)]
    encoder: String,
    /// Replace the spec if it is there already.
    #[arg(long)]
    force: bool,
}

/// The names of tasks in specs.
fn tasks() -> impl TypedValueParser<Value = Task> {
    let named = |name: String| Task::ALL.into_iter().find(|task| task.name() == name);
    PossibleValuesParser::new(Task::ALL.map(Task::name))
        .map(move |name| named(name).unwrap_or_default())
}

#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum Refused {
    #[error("there is nothing to begin with")]
    #[diagnostic(help(
        "name your data, `refit init --data FILE_OR_FOLDER`, or what is to be learnt, `refit init --task classification`"
    ))]
    Nothing,
    #[error("{} is there already", path.display())]
    #[diagnostic(help(
        "name another file, `refit init … OTHER.toml`, or replace it with `--force`"
    ))]
    Exists { path: PathBuf },
    #[error("there is no {}", path.display())]
    #[diagnostic(help(
        "name a file or a folder of this machine; a data set of the hub is named in the spec, `dataset = \"owner/name\"`: \
         begin with `refit init --task …`"
    ))]
    NoData { path: PathBuf },
    #[error("{} is no UTF-8, as a spec is", path.display())]
    #[diagnostic(help("rename it"))]
    NotUtf8 { path: PathBuf },
    #[error("{encoder:?} is no folder, and no name on the hub either")]
    #[diagnostic(help(
        "give the folder that holds config.json and the weights, or a model of the hub: `owner/name`"
    ))]
    NoEncoder { encoder: String },
}

/// Where the spec will lie.
struct Place {
    /// None where it is printed.
    file: Option<PathBuf>,
    /// What its paths are relative to, without links followed.
    folder: PathBuf,
}

impl Place {
    fn of(spec: &Path) -> Place {
        let file = (spec != Path::new("-")).then(|| spec.to_owned());
        let folder = file.as_deref().map_or(Path::new("."), folder_of);
        Place {
            folder: plain(folder),
            file,
        }
    }

    /// A path as the spec says it.
    fn relative(&self, path: &Path) -> Result<String, Failure> {
        let whole = plain(path);
        let (mut to, mut from) = (
            whole.components().peekable(),
            self.folder.components().peekable(),
        );
        while to.peek().is_some() && to.peek() == from.peek() {
            to.next();
            from.next();
        }
        let up = from.map(|_| Component::ParentDir);
        let mut relative: PathBuf = up.chain(to).collect();
        if relative.as_os_str().is_empty() {
            relative.push(".");
        }
        // Where a link lies between, `..` leads elsewhere.
        let reached = self.folder.join(&relative).canonicalize().ok();
        let shown = match reached.is_some() && reached == path.canonicalize().ok() {
            true => &relative,
            false => &whole,
        };
        match shown.to_str() {
            Some(shown) => Ok(shown.replace('\\', "/")),
            None => Err(Failure::unusable(Refused::NotUtf8 {
                path: path.to_owned(),
            })),
        }
    }

    /// How the JSON Schema that is there is named: beside the spec, or in a folder above it up to a repository's root.
    fn schema_there(&self) -> Option<String> {
        for folder in self.folder.ancestors() {
            let mut found = OF_SCHEMA
                .iter()
                .map(|of| folder.join(of).join(schema::NAME));
            if let Some(found) = found.find(|path| path.is_file()) {
                return self.relative(&found).ok();
            }
            if folder.join(".git").exists() {
                break;
            }
        }
        None
    }

    /// The same, or how it will be named once it is written beside the spec. A spec that is printed may go anywhere.
    fn schema(&self) -> Option<String> {
        let there = self.schema_there();
        there.or_else(|| self.file.as_ref().map(|_| schema::NAME.to_owned()))
    }
}

/// An absolute path without `.` and, as far as names go, without `..`.
fn plain(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

pub(super) fn answer(arguments: &Arguments) -> Answer {
    let place = Place::of(&arguments.spec);
    if let Some(file) = &place.file
        && file.exists()
        && !arguments.force
    {
        return Err(Failure::unusable(Refused::Exists { path: file.clone() }));
    }
    let encoder = encoder(&arguments.encoder, &place)?;
    let (text, told) = match &arguments.data {
        Some(data) => guessed(arguments, data, &place, &encoder)?,
        None => {
            let task = arguments.task;
            let task = task.ok_or_else(|| Failure::unusable(Refused::Nothing))?;
            let text = template::text(task, &encoder.named, place.schema().as_deref());
            (text, Vec::new())
        }
    };
    let Some(file) = &place.file else {
        print(&text);
        told.iter().for_each(|line| tell(&format!("{line}\n")));
        return Ok(Exit::Done);
    };
    write_whole(file, &text).map_err(Failure::unusable)?;
    if place.schema_there().is_none() {
        schema::write_beside(folder_of(file))?;
    }
    let shown = file.display();
    tell(&format!("{shown}: written\n"));
    told.iter().for_each(|line| tell(&format!("  {line}\n")));
    tell(&match arguments.data {
        Some(_) => format!(
            "next: refit check {shown}, refit inspect {shown} (the data before training), refit run {shown}\n"
        ),
        None => format!("next: name your files and columns in it, then refit check {shown}\n"),
    });
    Ok(Exit::Done)
}

/// The encoder as the spec names it, and its tokenizer where that is at hand.
struct Encoder {
    named: String,
    tokenizer: Option<Tokenizer>,
}

fn encoder(given: &str, place: &Place) -> Result<Encoder, Failure> {
    let folder = Path::new(given);
    if folder.is_dir() {
        return Ok(Encoder {
            named: place.relative(folder)?,
            tokenizer: Some(Tokenizer::open(folder).map_err(Failure::unusable)?),
        });
    }
    let repository = Repository::parse(RepositoryKind::Model, given);
    let repository = repository.ok_or_else(|| {
        Failure::unusable(Refused::NoEncoder {
            encoder: given.to_owned(),
        })
    })?;
    // A folder of that name beside the spec comes first, for the spec too.
    let beside = place.folder.join(given);
    let tokenizer = match beside.is_dir() {
        true => Tokenizer::open(&beside).ok(),
        false => at_hand(repository, place),
    };
    Ok(Encoder {
        named: given.to_owned(),
        tokenizer,
    })
}

/// The tokenizer of a model, where the hub's cache has it.
fn at_hand(repository: Repository, place: &Place) -> Option<Tokenizer> {
    let places = hub::Places {
        lock: place.folder.join(hub::LOCK),
        downloads: locate_store(&StoreArguments::default(), &place.folder).join("downloads"),
    };
    let remote = Remote::Tokenizer(repository);
    let environment = hub::Environment::of_process();
    let found = hub::find(&environment, std::slice::from_ref(&remote), &places).ok()?;
    Tokenizer::from_files(&found.get(&remote)?.files).ok()
}

fn guessed(
    arguments: &Arguments,
    data: &Path,
    place: &Place,
    encoder: &Encoder,
) -> Result<(String, Vec<String>), Failure> {
    let given = [
        Some(data),
        arguments.validation.as_deref(),
        arguments.test.as_deref(),
    ];
    if let Some(missing) = given.into_iter().flatten().find(|path| !path.exists()) {
        return Err(Failure::unusable(Refused::NoData {
            path: missing.to_owned(),
        }));
    }
    let mut files = match data.is_dir() {
        true => init::files::of_folder(data).map_err(unusable)?,
        false => Files {
            train: vec![data.to_owned()],
            ..Files::default()
        },
    };
    if let Some(file) = &arguments.validation {
        files.validation = vec![file.clone()];
    }
    if let Some(file) = &arguments.test {
        files.test = vec![file.clone()];
    }
    let known = Known {
        task: arguments.task,
        text: arguments.text.as_deref(),
        label: arguments.label.as_deref(),
        class_names: class_names(data, &files),
        tokenizer: encoder.tokenizer.as_ref(),
    };
    let guess = init::guess(&files, &known).map_err(unusable)?;
    let relative = |paths: &[PathBuf]| {
        let paths = paths.iter().map(|path| place.relative(path));
        paths.collect::<Result<Vec<_>, _>>()
    };
    let told = write::Told {
        guess: &guess,
        data: data.display().to_string(),
        name: name_of(data),
        encoder: &encoder.named,
        schema: place.schema(),
        train: relative(&guess.files.train)?,
        validation: relative(&guess.files.validation)?,
        test: relative(&guess.files.test)?,
    };
    Ok((told.spec(), told.summary()))
}

fn unusable(error: InitError) -> Failure {
    Failure::unusable(error)
}

/// Column → the names of its classes, by the card of the data's folder. A card that says nothing of use is none.
fn class_names(data: &Path, files: &Files) -> BTreeMap<String, Vec<String>> {
    let folder = match data.is_dir() {
        true => data,
        false => folder_of(data),
    };
    let all = files
        .train
        .iter()
        .chain(&files.validation)
        .chain(&files.test);
    let names = all.filter_map(|path| path.strip_prefix(folder).ok()?.to_str());
    let names: BTreeSet<&str> = names.collect();
    let card = hub::card::of_folder(folder).ok();
    let told = card.and_then(|card| hub::dataset::choose(&names, &card, None, false).ok());
    told.map(|told| told.class_names).unwrap_or_default()
}

/// What to call a pipeline for some data: as their folder, or their file if its name says more than its split.
fn name_of(data: &Path) -> String {
    let whole = plain(data);
    let stem = whole.file_stem().unwrap_or_default().to_string_lossy();
    let of_split = ["train", "training", "data"].contains(&stem.to_lowercase().as_str());
    let named = match whole.parent().and_then(Path::file_name) {
        Some(folder) if of_split && !data.is_dir() => folder.to_string_lossy(),
        _ => stem,
    };
    let letter = |c: char| match c.is_alphanumeric() || c == '_' || c == '-' {
        true => c.to_ascii_lowercase(),
        false => '-',
    };
    let name: String = named.chars().map(letter).collect();
    let name = name.trim_matches('-');
    match name.is_empty() {
        true => "pipeline".to_owned(),
        false => name.to_owned(),
    }
}
