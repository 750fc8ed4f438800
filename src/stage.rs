//! The seam between engine and work: what every kind of stage promises.
//!
//! A stage kind is one file under `stage/`: its settings (a struct whose doc comments become the JSON Schema and the
//! reference), its behaviour (an implementation of [`Stage`]) and its tests. The engine sees stages only through this
//! trait, and stages see the engine only as a [`Context`]. Stage files never import each other; what two of them share
//! lives in a work module.
//!
//! To add a kind: write the file, add it to [`KINDS`].

pub mod augment;
pub mod evaluate;
pub mod export;
pub mod load;
pub mod predict;
pub mod pretrain;
mod pretrained;
pub mod tokenize;
pub mod train;
mod training;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::artifact::{Digest, Kind, Unreadable};
use crate::hub::{Fetched, Local, Remote, Repository, RepositoryKind};
use crate::learn::activations::Activations;
pub use crate::metrics::bootstrap::{Interval, Intervals};
pub use crate::metrics::mcnemar::{McNemar, Method};
pub use crate::table::stored::RowText;
use crate::table::{Table, Texts};
pub use crate::task::changes::{Changes, Given, RowChange, Turn};

/// One kind of work with its settings, as written in the spec.
pub trait Stage: Debug + Send + Sync {
    /// The kind's name in the spec: `load`, `train`, ….
    fn kind(&self) -> &'static str;

    /// Raised by hand when equal settings and inputs would give other results than before.
    fn version(&self) -> u32;

    /// The kind of artifact it leaves in its draft.
    fn produces(&self) -> Kind;

    /// The fields that name another stage.
    fn edges(&self) -> Vec<Edge>;

    /// The fields of such a stage that may name another, whatever is in them, each with the kind of artifact that it accepts.
    /// A last part `*` is any key. Editors ask for it where a stage is half written.
    fn edge_fields() -> &'static [(&'static str, Kind)]
    where
        Self: Sized,
    {
        &[]
    }

    /// The columns that its files have, from their beginnings alone; none where that cannot be told so.
    fn columns(&self, _files: &Files) -> Option<Vec<String>> {
        None
    }

    /// What labels are called in such an artifact, where it says so without being read whole.
    fn labels_of(_artifact: &Path) -> Option<Vec<String>>
    where
        Self: Sized,
    {
        None
    }

    /// The settings as JSON, just as serde writes them (defaults included).
    fn settings(&self) -> Value;

    /// Top-level fields that never enter the key: edges, paths, hub ids, places. What they point at enters by content.
    fn not_in_key(&self) -> &'static [&'static str];

    /// The stage's own `seed`, when it states one.
    fn seed(&self) -> Option<u64> {
        None
    }

    /// Whether these settings draw random numbers, so that the seed belongs into the key.
    fn draws_random_numbers(&self) -> bool {
        false
    }

    /// What else a result depends on that neither settings nor file contents say (the format a file's ending implies).
    fn implied(&self, _files: &Files, _fetched: &Fetched) -> BTreeMap<String, Value> {
        BTreeMap::new()
    }

    /// Faults that a schema cannot express: fields that exclude or need each other.
    fn check(&self) -> Vec<Fault> {
        Vec::new()
    }

    /// What it names that lies elsewhere and must be fetched, each with the field that names it. What lies beside the spec
    /// is never looked for elsewhere.
    fn remotes(&self, _base: &Path) -> Vec<(String, Remote)> {
        Vec::new()
    }

    /// A data set that lies beside the spec, with what it says of itself. The plan keeps it with what was fetched.
    ///
    /// # Errors
    /// Why it cannot be read, as faults at their fields.
    fn beside(&self, _base: &Path) -> Result<Option<Local>, Vec<Fault>> {
        Ok(None)
    }

    /// The files it reads, by role: paths relative to `base` (the spec's folder) resolved, and what was `fetched`, in which
    /// all its [`remotes`](Self::remotes) are.
    ///
    /// # Errors
    /// Every path that leads nowhere, as faults at their fields.
    fn files(&self, _base: &Path, _fetched: &Fetched) -> Result<Files, Vec<Fault>> {
        Ok(Files::new())
    }

    /// What the beginnings of these files show to be wrong with the settings: a column that a header lacks.
    fn check_files(&self, _files: &Files) -> Vec<Fault> {
        Vec::new()
    }

    /// What a run of it would do beyond reading and computing, for which the user must have given leave: start a program, send
    /// rows away.
    fn needs_leave(&self) -> Option<String> {
        None
    }

    /// Where the finished artifact is to be placed outside the store, as written in the spec.
    fn placement(&self) -> Option<&str> {
        None
    }

    /// Where what was placed is to be published.
    fn publication(&self) -> Option<Publication> {
        None
    }

    /// The text of the card that is laid beside a placed artifact. It is not part of the artifact.
    fn card(&self, _facts: &CardFacts) -> Option<String> {
        None
    }

    /// A step that the spec does not name and whose result is one more input of this one. `named` finds the other stages of
    /// the spec.
    fn before(&self, _named: &dyn Fn(&str) -> Option<Arc<dyn Stage>>) -> Option<Before> {
        None
    }

    /// Of a stage whose model has the very encoder that it began with: the step that gives what this encoder makes of a split
    /// of the tokens of the stage `input`.
    fn activations_of(&self, _input: &str, _split: &str) -> Option<Arc<dyn Stage>> {
        None
    }

    /// What can be said of a run of it beforehand, a line each, from the artifacts that flow in; more where `verbose`.
    fn outlook(
        &self,
        _inputs: &BTreeMap<&'static str, PathBuf>,
        _files: &Files,
        _verbose: bool,
    ) -> Vec<String> {
        Vec::new()
    }

    /// What it scores, where it does.
    fn scoring(&self) -> Option<Scoring> {
        None
    }

    /// The scores on the validation split while the artifact was made, where that was so.
    ///
    /// # Errors
    /// The artifact is damaged.
    fn validations(&self, _artifact: &Path) -> Result<Vec<Validation>, StageError> {
        Ok(Vec::new())
    }

    /// Rows of such an artifact as people look at them; none where it has none to show, or not that split.
    ///
    /// # Errors
    /// It is damaged.
    fn preview(&self, _artifact: &Path, _wanted: &Wanted) -> Result<Option<Preview>, StageError> {
        Ok(None)
    }

    /// How many tokens it would make of each row of a table, before anything is cut; none where that cannot be told
    /// beforehand.
    ///
    /// # Errors
    /// The table or a file is damaged.
    fn token_counts(
        &self,
        _table: &Path,
        _files: &Files,
    ) -> Result<Option<TokenCounts>, StageError> {
        Ok(None)
    }

    /// How many rows each split of such an artifact has, where it tells.
    ///
    /// # Errors
    /// It is damaged.
    fn rows_of(_artifact: &Path) -> Result<BTreeMap<String, usize>, StageError>
    where
        Self: Sized,
    {
        Ok(BTreeMap::new())
    }

    /// What the rows with these ids say, in a split of such an artifact; none where it keeps no texts, or not of that split.
    ///
    /// # Errors
    /// It is damaged.
    fn texts_of(
        _artifact: &Path,
        _split: &str,
        _ids: &BTreeSet<u64>,
    ) -> Result<Option<BTreeMap<u64, RowText>>, StageError>
    where
        Self: Sized,
    {
        Ok(None)
    }

    /// How sure the scores of two such artifacts are, and their differences; none where they keep nothing to tell it by.
    ///
    /// # Errors
    /// One of them is damaged.
    fn compare(_a: &Path, _b: &Path) -> Result<Option<Certainty>, StageError>
    where
        Self: Sized,
    {
        Ok(None)
    }

    /// Does the work: reads `context.inputs` and `context.files`, writes everything into `context.draft`.
    ///
    /// # Errors
    /// Whatever the data, the weights or the device would not allow. What lies in the draft is then discarded.
    fn run(&self, context: &Context) -> Result<(), StageError>;
}

/// Role (`train/0`, `encoder/config.json`) → the file that plays it.
pub type Files = BTreeMap<String, PathBuf>;

/// How sure the scores of two evaluations are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Certainty {
    /// Whether both answered a split of the same name with the same ids and right answers, so that differences are those of
    /// pairs.
    pub paired: bool,
    /// The share of intervals that hold the true value.
    pub level: f64,
    pub resamples: usize,
    /// By metric.
    pub intervals: BTreeMap<String, Intervals>,
    /// Where answers of the one are right and of the other wrong; or why that cannot be told.
    pub changes: Result<Changes, String>,
}

/// Which rows are to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub split: String,
    /// How many, from the first on.
    pub rows: usize,
}

/// Rows of a split, or what became of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    pub split: String,
    /// How many rows the split has.
    pub of: usize,
    pub rows: Vec<PreviewRow>,
}

/// A row's fields and their values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreviewRow {
    pub id: u64,
    pub fields: Vec<(String, String)>,
    /// Of each copy of the row the fields in which it differs.
    pub copies: Vec<Vec<(String, String)>>,
}

/// The tokens in each row of each split.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenCounts {
    /// What more tokens than this are cut to; none where nothing is cut.
    pub max_length: Option<usize>,
    pub splits: BTreeMap<String, Vec<u32>>,
}

/// A repository of the hub that a placed artifact is uploaded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub repository: Repository,
    /// Whether a repository that must be made is private.
    pub private: bool,
}

/// A field that holds another stage's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// What the input is called in the context and in the key.
    pub role: &'static str,
    /// The field's path within the stage, which mostly is the role.
    pub field: Cow<'static, str>,
    /// The stage named there.
    pub stage: String,
    /// The kind of artifact that this field accepts, and which others.
    pub accepts: Kind,
    pub or: &'static [Kind],
}

impl Edge {
    pub fn new(field: &'static str, stage: impl Into<String>, accepts: Kind) -> Self {
        Edge {
            role: field,
            field: field.into(),
            stage: stage.into(),
            accepts,
            or: &[],
        }
    }

    /// One whose field accepts several kinds.
    pub fn any(field: &'static str, stage: impl Into<String>, kinds: &'static [Kind]) -> Self {
        let (accepts, or) = match kinds {
            [first, rest @ ..] => (*first, rest),
            [] => (Kind::Table, kinds),
        };
        Edge {
            or,
            ..Edge::new(field, stage, accepts)
        }
    }

    /// The kinds of artifact that this field accepts.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        std::iter::once(self.accepts).chain(self.or.iter().copied())
    }

    /// Whether it accepts such an artifact.
    pub fn takes(&self, kind: Kind) -> bool {
        self.kinds().any(|accepted| accepted == kind)
    }
}

/// What a stage scores, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scoring {
    /// The split whose rows it scores.
    pub split: String,
    /// What each of its metrics is called; none where that depends on the model that is scored.
    pub metrics: Vec<&'static str>,
}

/// Scores on the validation split at one moment of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// How many steps were done.
    pub step: u64,
    /// Metric → value.
    pub scores: Map<String, Value>,
}

/// A step that the plan puts before a stage.
#[derive(Debug, Clone)]
pub struct Before {
    /// The input's name in the context; the step is called `STAGE/FIELD`. Its edges are among those of the stage.
    pub field: &'static str,
    pub stage: Arc<dyn Stage>,
}

/// Something wrong with a stage's settings, at a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field's path within the stage (`optimizer.learning_rate`, `train[0]`); empty for the stage itself.
    pub field: String,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do.
    pub help: String,
    /// What was meant, where a slip of the fingers is likely.
    pub meant: Option<Meant>,
}

/// A word of a spec, and the one that was probably meant by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    pub found: String,
    pub meant: String,
}

impl Meant {
    pub fn new(found: impl Into<String>, meant: impl Into<String>) -> Self {
        Meant {
            found: found.into(),
            meant: meant.into(),
        }
    }
}

impl Fault {
    pub fn new(
        field: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Fault {
            field: field.into(),
            message: message.into(),
            help: help.into(),
            meant: None,
        }
    }

    #[must_use]
    pub fn meant(mut self, meant: Option<Meant>) -> Self {
        self.meant = meant;
        self
    }
}

/// What a running stage is given.
pub struct Context<'a> {
    /// The stage's name, for messages.
    pub stage: &'a str,
    /// The seed to draw from: the stage's own, else the pipeline's.
    pub seed: u64,
    /// Edge role → the artifact that flows in.
    pub inputs: BTreeMap<&'static str, Input>,
    /// Role → file, as [`Stage::files`] found them.
    pub files: Files,
    /// What the stage named that lies elsewhere.
    pub fetched: &'a Fetched,
    /// The spec's folder.
    pub folder: &'a Path,
    /// The empty folder to fill.
    pub draft: &'a Path,
    /// A folder of the store for what was costly to ask of others and stays true whatever becomes of this run. Need not
    /// exist.
    pub kept: PathBuf,
    /// Where long work writes down how far it came.
    pub checkpoints: &'a Checkpoints,
    /// The devices as asked for: `auto`, `flex`, `ndarray`, `cuda`, `cuda:0`, `cuda:0,1`, `ws://HOST:PORT`.
    pub device: &'a str,
    pub progress: &'a dyn Progress,
    /// Set when the user asked to stop.
    pub interrupted: &'a AtomicBool,
}

/// Where long work writes down how far it came, and how often.
#[derive(Debug, Default)]
pub struct Checkpoints {
    /// A folder for this key alone, which only one process works on at a time, and which is gone once there is a result. Need
    /// not exist.
    pub folder: PathBuf,
    /// After so many steps; never without.
    pub every: Option<u64>,
    /// How many stay.
    pub keep: usize,
    /// The step from which the work went on; 0 where it began at the beginning.
    pub resumed_from: AtomicU64,
}

impl Checkpoints {
    /// The step from which the work went on, where it did.
    pub fn resumed(&self) -> Option<u64> {
        let step = self.resumed_from.load(Ordering::Relaxed);
        (step > 0).then_some(step)
    }
}

impl Context<'_> {
    /// The folder of the artifact behind an edge field.
    ///
    /// # Panics
    /// Never for a field that [`Stage::edges`] returned: the plan does not run a stage with an open edge.
    pub fn input(&self, field: &str) -> &Path {
        &self.inputs[field].path
    }

    /// To be called between pieces of work.
    ///
    /// # Errors
    /// [`StageError::Interrupted`] once the user asked to stop.
    pub fn checkpoint(&self) -> Result<(), StageError> {
        if self.interrupted.load(Ordering::Relaxed) {
            Err(StageError::Interrupted)
        } else {
            Ok(())
        }
    }
}

/// What a card may tell about the artifact it lies beside. Plain data: the engine fills it in, a stage words it.
#[derive(Debug, Clone)]
pub struct CardFacts {
    /// The pipeline's name in the spec.
    pub pipeline: String,
    /// The stage's name in the spec.
    pub stage: String,
    pub key: String,
    /// The artifact's digest, which does not cover the card.
    pub digest: String,
    /// The artifact's content, to be read; its path is not to be written.
    pub artifact: PathBuf,
    /// Every stage whose result flowed in, in the plan's order, the stage itself last.
    pub steps: Vec<CardStep>,
    /// `scores.json` of the stage behind the `scores` edge.
    pub scores: Option<Value>,
}

/// One stage that an artifact comes from.
#[derive(Debug, Clone)]
pub struct CardStep {
    pub stage: String,
    pub kind: String,
    /// The settings as they enter the key: no paths, no edges, no defaults.
    pub settings: Value,
    /// Role → digest of the files that it read.
    pub files: BTreeMap<String, String>,
}

/// Paths and addresses never enter a key; should one come into what may be published all the same, it is known here.
pub(crate) fn is_place(text: &str) -> bool {
    let drive = text
        .as_bytes()
        .get(1..3)
        .is_some_and(|rest| rest == b":\\" || rest == b":/");
    let begins = ["/", "~/", "./", "../", "\\\\"]
        .iter()
        .any(|start| text.len() > start.len() && text.starts_with(start));
    drive || begins || text.contains("://") || text.contains("${")
}

/// An artifact that flows into a stage.
#[derive(Debug, Clone)]
pub struct Input {
    pub path: PathBuf,
    pub digest: Digest,
}

/// How long work shows itself. One bar at a time for each stage.
pub trait Progress: Sync {
    /// A new phase of `total` units begins (`"training"`, 125, `"steps"`).
    fn start(&self, what: &str, total: u64, unit: &str);
    /// So many units were done.
    fn advance(&self, units: u64);
    /// A short text beside the bar (`loss 0.412, learning rate 4.9e-5`).
    fn state(&self, text: &str);
    /// A model that is being trained was scored on the validation split.
    fn validated(&self, _validation: &Validation) {}
    /// Who draws the numbers of a training, where anybody does.
    fn curves(&self) -> Option<&dyn Curves> {
        None
    }
    /// A line worth reading later.
    fn say(&self, line: &str);
    /// A line that deserves attention.
    fn warn(&self, line: &str);
}

/// Who draws the numbers of a training over its steps.
pub trait Curves: Sync {
    /// A training begins; or goes on after so many steps, and what was drawn behind them is drawn anew.
    fn begins(&self, after: u64);
    /// Numbers after so many steps, by their names (`train/loss`).
    fn drawn(&self, step: u64, numbers: Vec<(String, f64)>);
}

/// Why a stage could not finish.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StageError {
    #[error("interrupted")]
    #[diagnostic(help("run the same command again to go on"))]
    Interrupted,
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("check the free space and the permissions of the store"))]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Table(#[from] crate::table::TableError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Text(#[from] crate::text::TextError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] crate::model::ModelError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Learn(#[from] crate::learn::LearnError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Task(#[from] crate::task::TaskError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Device(#[from] crate::device::DeviceError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Thesaurus(#[from] crate::text::thesaurus::ThesaurusError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Translate(crate::translate::TranslateError),
    /// Inputs that are each valid but do not fit together.
    #[error("{message}")]
    Mismatch {
        message: String,
        #[help]
        help: String,
    },
}

/// Tells the progress of units that were done, and whether to go on.
fn advance<'a>(context: &'a Context<'a>) -> impl FnMut(usize) -> ControlFlow<()> + 'a {
    |units| {
        context.progress.advance(units as u64);
        if context.checkpoint().is_err() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Work on texts that was told to stop is no fault of theirs.
fn stopped(error: crate::text::TextError) -> StageError {
    match error {
        crate::text::TextError::Interrupted => StageError::Interrupted,
        other => other.into(),
    }
}

/// The table that tokens were made of, where they keep it.
///
/// # Errors
/// It is damaged.
fn examples_of(tokens: &crate::text::Tokens) -> Result<Option<Table>, StageError> {
    let folder = tokens.examples_folder();
    let table = folder.is_dir().then(|| Table::open(folder));
    Ok(table.transpose()?)
}

/// The first rows of a table's split.
///
/// # Errors
/// It is damaged.
fn preview_of_table(artifact: &Path, wanted: &Wanted) -> Result<Option<Preview>, StageError> {
    let table = Table::open(artifact)?;
    let Some(frame) = table.splits.get(&wanted.split) else {
        return Ok(None);
    };
    let rows = crate::table::borrowed(frame)?;
    let shown = 0..rows.len().min(wanted.rows);
    let row = |row| PreviewRow {
        id: rows.id.get(row).copied().unwrap_or_default(),
        fields: fields_of_row(&table, &rows, row),
        copies: Vec::new(),
    };
    Ok(Some(Preview {
        split: wanted.split.clone(),
        of: rows.len(),
        rows: shown.map(row).collect(),
    }))
}

fn fields_of_row(table: &Table, rows: &Texts<&str>, row: usize) -> Vec<(String, String)> {
    let (labels, targets) = (table.label_names.as_deref(), table.target_names.as_deref());
    let fields = crate::table::preview::fields(rows, row, labels, targets);
    let own = fields.into_iter();
    own.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The input that holds what a frozen encoder gives.
const ACTIVATIONS: &str = "activations";

/// The folder in a model that holds what LoRA learned, as PEFT reads it.
const ADAPTER: &str = "adapter";

/// The activations that flow in, where the plan put a step before this one.
///
/// # Errors
/// They are damaged.
fn activations_in(context: &Context) -> Result<Option<Activations>, StageError> {
    let input = context.inputs.get(ACTIVATIONS);
    let opened = input.map(|input| Activations::open(&input.path));
    Ok(opened.transpose()?)
}

/// Copies the files of a tokenizer.
///
/// # Errors
/// One of them cannot be read or written.
fn copy_tokenizer_folder(from: &Path, to: &Path) -> Result<(), StageError> {
    for path in crate::artifact::files_under(from)? {
        let target = to.join(path.strip_prefix(from).unwrap_or(&path));
        let bytes = std::fs::read(&path).map_err(|e| Unreadable::new(&path, e))?;
        write_file(&target, &bytes)?;
    }
    Ok(())
}

/// Writes a file, and the folders above it.
///
/// # Errors
/// It cannot be written.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StageError> {
    let failed = |source| StageError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, bytes).map_err(failed)
}

fn test_split() -> String {
    "test".to_owned()
}

fn sixty_four() -> usize {
    64
}

/// A fault where no table can have a split of that name.
fn check_split(split: &str) -> Option<Fault> {
    let further = split
        .strip_prefix("more.")
        .is_some_and(|name| !name.is_empty());
    if further || ["train", "validation", "test"].contains(&split) {
        return None;
    }
    Some(Fault::new(
        "split",
        format!("no table has a split called {split:?}"),
        "write test, validation, train, or more.NAME for a further test set of the load stage",
    ))
}

/// The split that was asked for, unless it is not there or has no rows.
///
/// # Errors
/// Either, with what there is in `whole`.
fn find_split<'a, S>(
    name: &str,
    found: Option<&'a S>,
    rows: impl Fn(&S) -> usize,
    whole: &str,
    there: &[&str],
) -> Result<&'a S, StageError> {
    let Some(split) = found else {
        return Err(StageError::Mismatch {
            message: format!(
                "there is no split {name:?} in the {whole}; there is {}",
                there.join(", ")
            ),
            help: "set `split` to one of these, or give the load stage files or a share for it"
                .to_owned(),
        });
    };
    if rows(split) == 0 {
        return Err(StageError::Mismatch {
            message: format!("the split {name:?} has no rows"),
            help: "set `split` to one that has, or give the load stage more data for it".to_owned(),
        });
    }
    Ok(split)
}

/// The model that a field names, unless something of that name lies beside the spec.
fn model_elsewhere(named: Option<&String>, base: &Path) -> Option<Repository> {
    let named = named.filter(|named| !base.join(named).exists())?;
    Repository::parse(RepositoryKind::Model, named)
}

/// One kind of stage, as the spec's reader needs it.
pub struct KindOfStage {
    pub name: &'static str,
    /// What every stage of the kind gives.
    pub produces: Kind,
    /// The JSON Schema of its settings.
    pub schema: fn(&mut schemars::SchemaGenerator) -> Schema,
    /// Settings, already checked against the schema → stage.
    pub read: fn(Value) -> Result<Box<dyn Stage>, Misread>,
    /// [`Stage::edge_fields`].
    pub edge_fields: fn() -> &'static [(&'static str, Kind)],
    /// [`Stage::labels_of`].
    pub labels_of: fn(&Path) -> Option<Vec<String>>,
    /// [`Stage::rows_of`].
    pub rows_of: fn(&Path) -> Result<BTreeMap<String, usize>, StageError>,
    /// [`Stage::texts_of`].
    pub texts_of: TextsOf,
    /// [`Stage::compare`].
    pub compare: fn(&Path, &Path) -> Result<Option<Certainty>, StageError>,
}

/// Artifact, split, ids → what these rows say.
pub type TextsOf =
    fn(&Path, &str, &BTreeSet<u64>) -> Result<Option<BTreeMap<u64, RowText>>, StageError>;

/// Settings that pass the schema and still cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// The field within the stage.
    pub field: String,
    pub message: String,
}

const fn kind<S: Stage + DeserializeOwned + JsonSchema + 'static>(
    name: &'static str,
    produces: Kind,
) -> KindOfStage {
    KindOfStage {
        name,
        produces,
        schema: |generator| generator.subschema_for::<S>(),
        read: |settings| match serde_path_to_error::deserialize::<_, S>(settings) {
            Ok(stage) => Ok(Box::new(stage)),
            Err(error) => Err(Misread {
                field: error.path().to_string().replace('?', ""),
                message: error.inner().to_string(),
            }),
        },
        edge_fields: S::edge_fields,
        labels_of: S::labels_of,
        rows_of: S::rows_of,
        texts_of: S::texts_of,
        compare: S::compare,
    }
}

/// Every kind of stage, in the order in which they follow each other.
pub const KINDS: [KindOfStage; 8] = [
    kind::<load::Load>("load", Kind::Table),
    kind::<augment::Augment>("augment", Kind::Table),
    kind::<tokenize::Tokenize>("tokenize", Kind::Tokens),
    kind::<pretrain::Pretrain>("pretrain", Kind::Encoder),
    kind::<train::Train>("train", Kind::Model),
    kind::<evaluate::Evaluate>("evaluate", Kind::Scores),
    kind::<predict::Predict>("predict", Kind::Predictions),
    kind::<export::Export>("export", Kind::Bundle),
];
