//! The spec: TOML → [`Pipeline`], with every problem at its place.
//!
//! Reading goes document → what it extends → variables → schema → settings. Each step adds to one list of [`Problem`]s and the next works
//! with what is left, so that a file with seven faults gets seven messages. A `Pipeline` is the spec *as written*: names
//! are still names and paths still text; resolving them is the plan's work.
//!
//! Deliberately absent: what an edge leads to, whether a file exists, and any default that is not in a settings struct.

pub mod check;
pub mod document;
mod extends;
pub mod fill;
pub mod problem;
pub mod reference;
pub mod remote;
pub mod rewrite;
pub mod schema;
pub mod slurm;
pub mod sweep;
pub mod track;
pub mod variables;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use self::document::{NoTable, Node, Step};
pub use self::problem::{Place, Problem, Sources, did_you_mean, listed};
use self::schema::{Preamble, RunSettings};
use self::sweep::SweepSettings;
use crate::stage::{Fault, KINDS, KindOfStage, Stage};

/// A spec as written, with the stages that could be read.
#[derive(Debug)]
pub struct Pipeline {
    pub path: PathBuf,
    pub name: String,
    pub seed: u64,
    pub run: RunSettings,
    /// What `refit sweep` varies; none as well when that could not be read.
    pub sweep: Option<SweepSettings>,
    /// Stages whose settings are sound, in the order of the file.
    pub stages: Vec<Written>,
    /// Every stage the file names, sound or not: (kind, name, place).
    pub declared: Vec<Declared>,
    pub sources: Sources,
    /// The files that the spec extends, read or not.
    pub bases: Vec<PathBuf>,
    document: Node,
    /// The document as it was before variables were put in.
    written: Node,
    /// What `--set` laid over the file, path → value.
    overrides: Map<String, Value>,
}

/// A stage with sound settings.
#[derive(Debug, Clone)]
pub struct Written {
    pub name: String,
    pub kind: &'static str,
    pub stage: Arc<dyn Stage>,
}

/// A stage's table in the file.
#[derive(Debug, Clone)]
pub struct Declared {
    pub name: String,
    pub kind: &'static str,
    pub place: Place,
}

/// The spec could not be read at all.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SpecError {
    #[error("cannot read the spec {}", path.display())]
    #[diagnostic(help("give the path of a TOML file, for example pipelines/quickstart.toml"))]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write the spec {}", path.display())]
    #[diagnostic(help("check the free space and the permissions of its folder"))]
    Unwritable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}:{line}: the spec is not UTF-8 text (byte {byte})", path.display())]
    #[diagnostic(help("save the file as UTF-8"))]
    NotText {
        path: PathBuf,
        line: usize,
        byte: usize,
    },
}

/// The text of a spec.
fn text_of(path: &Path) -> Result<String, SpecError> {
    let bytes = std::fs::read(path).map_err(|source| SpecError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..byte).unwrap_or_default();
        SpecError::NotText {
            path: path.to_owned(),
            line: before.iter().filter(|b| **b == b'\n').count() + 1,
            byte,
        }
    })
}

/// Writes a spec, so that it is there whole or as it was.
///
/// # Errors
/// The file cannot be written.
pub fn write_whole(path: &Path, text: &str) -> Result<(), SpecError> {
    replace(path, text).map_err(|source| SpecError::Unwritable {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file of the project, so that it is there whole or as it was.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder_of(path))?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A temporary file is its owner's alone, and this one is as readable as any other of the project.
        let mode = std::fs::metadata(path).map_or(0o644, |before| before.permissions().mode());
        let mode = std::fs::Permissions::from_mode(mode);
        file.as_file().set_permissions(mode)?;
    }
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// The folder that the paths of a spec are relative to.
pub fn folder_of(spec: &Path) -> &Path {
    match spec.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

impl Pipeline {
    /// Reads the spec at `path` with `overrides` (`--set` arguments) laid over it.
    ///
    /// # Errors
    /// Only when there is no text to read. Everything else that is wrong is in the list of problems.
    pub fn read(path: &Path, overrides: &[String]) -> Result<(Pipeline, Vec<Problem>), SpecError> {
        let text = text_of(path)?;
        Ok(Self::parse(path, &text, overrides, &|name| {
            std::env::var(name).ok()
        }))
    }

    /// Reads a spec from text, and the files that it extends; `path` is where it stands, for messages and relative paths.
    pub fn parse(
        path: &Path,
        text: &str,
        overrides: &[String],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> (Pipeline, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut sources = Sources::default();
        let extends::Merged {
            mut document,
            bases,
        } = extends::read(path, text, &mut sources, &mut problems);
        let mut laid = Map::new();
        for argument in overrides {
            let set = document::set(&mut document, argument, &mut sources, &mut problems);
            laid.extend(set);
        }
        let (mut pipeline, problems) =
            Self::of_document(path, document, sources, problems, environment);
        pipeline.overrides = laid;
        pipeline.bases = bases;
        (pipeline, problems)
    }

    /// The spec's text, and below it those of the files that it extends.
    pub fn text(&self) -> String {
        let mut text = self.sources.text(0).to_owned();
        for (base, source) in self.bases.iter().zip(1..) {
            if self.sources.name(source) == base.display().to_string() {
                text.push_str(&format!("\n# {}\n", base.display()));
                text.push_str(self.sources.text(source));
            }
        }
        text
    }

    /// What `--set` laid over the file, path → value.
    pub fn overrides(&self) -> &Map<String, Value> {
        &self.overrides
    }

    /// The pipeline with other values in some of its fields, and without its sweep: path → value. A problem with such a value
    /// is placed where the sweep lists it.
    pub fn with(&self, assignment: &Map<String, Value>) -> (Pipeline, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut document = self.written.clone();
        if let document::Value::Table(entries) = &mut document.value {
            entries.retain(|entry| entry.key != "sweep");
        }
        for (path, value) in assignment {
            let (key_place, place) = sweep::places(&self.written, path, value);
            let keys: Vec<&str> = path.split('.').collect();
            let node = Node::of_json(value, &place);
            if let Err(NoTable { key, found }) =
                document::lay(&mut document, &keys, &key_place, node)
            {
                problems.push(
                    Problem::new(
                        &key_place,
                        format!("`{path}` leads into `{key}`, which is {found}"),
                        "no field of a table",
                    )
                    .help("a parameter is a field's path, like `train.classifier.epochs`"),
                );
            }
        }
        let sources = self.sources.clone();
        let (mut pipeline, problems) =
            Self::of_document(&self.path, document, sources, problems, &|name| {
                std::env::var(name).ok()
            });
        pipeline.bases.clone_from(&self.bases);
        (pipeline, problems)
    }

    /// Where the file's sweep stands; the file's beginning without one.
    pub fn sweep_place(&self) -> Place {
        let entry = self.written.get("sweep");
        entry.map_or(self.written.place.clone(), |entry| entry.key_place.clone())
    }

    /// Whether a place is in the file's sweep.
    pub fn is_in_sweep(&self, place: &Place) -> bool {
        let entry = self.written.get("sweep");
        entry.is_some_and(|entry| entry.key_place == *place || contains(&entry.node, place))
    }

    /// What two sweeps have in common that may share their trials: the file, with what was laid over it, but for its sweep and
    /// what cannot change a result.
    pub fn base(&self) -> Value {
        let mut base = self.written.to_json();
        if let Some(fields) = base.as_object_mut() {
            fields.shift_remove("sweep");
            fields.shift_remove("run");
        }
        base
    }

    fn of_document(
        path: &Path,
        written: Node,
        sources: Sources,
        mut problems: Vec<Problem>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> (Pipeline, Vec<Problem>) {
        let syntax_is_sound = problems.is_empty();
        let mut document = written.clone();
        variables::substitute(&mut document, environment, &mut problems);
        // Half a document breaks rules that the whole one keeps.
        if syntax_is_sound {
            problems.extend(check::against_schema(&document));
        }
        problems.extend(credentials(&mut document));
        problems.extend(track::written_out(&written));

        let declared = if syntax_is_sound {
            declared(&document)
        } else {
            Vec::new()
        };
        problems.extend(names(&declared));
        let mut stages = Vec::new();
        for one in &declared {
            let path = [Step::Key(one.kind.to_owned()), Step::Key(one.name.clone())];
            let Some(node) = document
                .get(one.kind)
                .and_then(|kind| kind.node.get(&one.name))
            else {
                continue;
            };
            let inside = |problem: &Problem| {
                problem.place == one.place || contains(&node.node, &problem.place)
            };
            if problems.iter().any(inside) {
                continue;
            }
            let Some(kind) = KINDS.iter().find(|kind| kind.name == one.kind) else {
                continue;
            };
            match read_stage(kind, node.node.to_json()) {
                Ok(stage) => {
                    problems.extend(
                        stage
                            .check()
                            .iter()
                            .map(|fault| fault_at(&document, &path, fault)),
                    );
                    stages.push(Written {
                        name: one.name.clone(),
                        kind: one.kind,
                        stage,
                    });
                }
                Err(fault) => problems.push(fault_at(&document, &path, &fault)),
            }
        }
        let sweep = match syntax_is_sound {
            true => sweep::read(&document, &stages, &declared, &mut problems),
            false => None,
        };
        let preamble = preamble(&document);
        let stem = path.file_stem().map_or("pipeline".to_owned(), |stem| {
            stem.to_string_lossy().into_owned()
        });
        if declared.is_empty() && problems.is_empty() {
            problems.push(
                Problem::new(
                    &document.place,
                    "the pipeline has no stage",
                    "expected a table such as [load.data]",
                )
                .help(format!(
                    "kinds of stage: {}",
                    listed(KINDS.iter().map(|kind| kind.name), "and")
                )),
            );
        }
        let pipeline = Pipeline {
            path: path.to_owned(),
            name: preamble.name.unwrap_or(stem),
            seed: preamble.seed,
            run: preamble.run,
            sweep,
            stages,
            declared,
            sources,
            bases: Vec::new(),
            document,
            written,
            overrides: Map::new(),
        };
        (pipeline, problems)
    }

    /// The folder that the spec's paths are relative to.
    pub fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    /// The file as a tree, before variables were put in.
    pub fn written(&self) -> &Node {
        &self.written
    }

    /// A stage's fault as a problem at its field.
    pub fn problem(&self, stage: &Written, fault: &Fault) -> Problem {
        let path = [
            Step::Key(stage.kind.to_owned()),
            Step::Key(stage.name.clone()),
        ];
        fault_at(&self.document, &path, fault)
    }
}

fn read_stage(kind: &KindOfStage, settings: Value) -> Result<Arc<dyn Stage>, Fault> {
    (kind.read)(settings).map(Arc::from).map_err(|error| {
        let help = format!("`refit schema` prints what `[{}.NAME]` may hold", kind.name);
        Fault::new(error.field, error.message, help)
    })
}

fn fault_at(document: &Node, stage: &[Step], fault: &Fault) -> Problem {
    let path: Vec<Step> = stage
        .iter()
        .cloned()
        .chain(document::steps(&fault.field))
        .collect();
    let label = if fault.field.is_empty() {
        "this stage".to_owned()
    } else {
        format!("`{}`", fault.field)
    };
    Problem::new(&document.locate(&path), fault.message.clone(), label)
        .help(fault.help.clone())
        .meant(fault.meant.clone())
}

fn contains(node: &Node, place: &Place) -> bool {
    if node.place == *place {
        return true;
    }
    match &node.value {
        document::Value::Array(items) => items.iter().any(|item| contains(item, place)),
        document::Value::Table(entries) => entries
            .iter()
            .any(|entry| entry.key_place == *place || contains(&entry.node, place)),
        _ => false,
    }
}

fn preamble(document: &Node) -> Preamble {
    let text = |key: &str| document.get(key).map(|entry| entry.node.to_json());
    let read = |key: &str| text(key).unwrap_or(Value::Null);
    Preamble {
        version: 1,
        extends: None,
        without: Vec::new(),
        name: read("name").as_str().map(str::to_owned),
        seed: read("seed").as_u64().unwrap_or_default(),
        vars: Default::default(),
        run: serde_json::from_value(read("run")).unwrap_or_default(),
        sweep: None,
    }
}

fn declared(document: &Node) -> Vec<Declared> {
    let mut found = Vec::new();
    for kind in &KINDS {
        let Some(entry) = document.get(kind.name) else {
            continue;
        };
        for stage in entry.node.entries() {
            found.push(Declared {
                name: stage.key.clone(),
                kind: kind.name,
                place: stage.key_place.clone(),
            });
        }
    }
    found.sort_by_key(|stage| (stage.place.source, stage.place.span.start));
    found
}

fn names(declared: &[Declared]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, stage) in declared.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if stage.name.is_empty() || !stage.name.chars().all(plain) {
            problems.push(
                Problem::new(
                    &stage.place,
                    format!("`{}` cannot be a stage's name", stage.name),
                    "letters, digits, `_` and `-` only",
                )
                .help("stage names become field values, command-line arguments and file names"),
            );
        }
        if let Some(first) = declared[..index]
            .iter()
            .find(|first| first.name == stage.name)
        {
            problems.push(
                Problem::new(
                    &stage.place,
                    format!("two stages are called `{}`", stage.name),
                    "used a second time",
                )
                .help(format!(
                    "a `{}` stage has the name already; names are unique across kinds",
                    first.kind
                )),
            );
        }
    }
    problems
}

/// A password in a URL would end up in version control.
fn credentials(document: &mut Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    document.for_each_string(&mut |place, text| {
        let authority = text
            .split_once("://")
            .map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if authority.is_some_and(|authority| authority.contains('@')) {
            problems.push(
                Problem::new(
                    place,
                    "a URL in a spec must not hold credentials",
                    "remove what stands before `@`",
                )
                .help("credentials come from the environment of the tool that reads the URL"),
            );
        }
    });
    problems
}
