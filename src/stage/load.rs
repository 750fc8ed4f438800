//! `load`: files → a table with the splits `train`, `validation`, `test` and `more.NAME`.
//!
//! Reads each file through [`table::read`](crate::table::read), numbers the labels and tags by the training files (of chunk
//! tags, a type that these have is known with every prefix of their scheme, unless `label_names` lists the tags), cuts the
//! splits that have no files of their own from `train`, and warns of rows that stand on both sides. An `id` is a row's number
//! in the files of its split, in order; a row cut from `train` keeps the number it had there, and rows that are left out as
//! invalid keep theirs for themselves.
//!
//! Which rows are wanted is said by `where` ([`condition`](crate::table::condition)), [`deduplicate`] and [`sample`], in
//! this order; a row keeps its id, whatever becomes of the others.
//!
//! Large delimited files of texts are read twice and piece by piece, so that memory does not grow with their rows ([`stream`]);
//! there it says what is read as a whole.
//!
//! Deliberately absent: any change of a text, a download.

mod columns;
mod deduplicate;
mod places;
mod report;
mod sample;
mod settings;
mod splits;
mod stream;
mod tags;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

pub use columns::{Columns, Targets};
pub use deduplicate::{Deduplicate, Sameness};
pub use sample::Sample;
pub use settings::{Fold, Load, Paths, Split};

use crate::artifact::Kind;
use crate::hub::{Fetched, Local, Remote};
use crate::metrics::Scheme;
use crate::stage::{
    Context, Edge, Fault, Files, Preview, Stage, StageError, Wanted, preview_of_table,
};
use crate::table::condition::Condition;
use crate::table::labels::{Labels, withheld};
use crate::table::read::{Beside, Format, Layout, Raw, read};
use crate::table::stored::{RowText, texts_by_id};
use crate::table::{self, Table, TableError, Texts};

impl Stage for Load {
    fn kind(&self) -> &'static str {
        "load"
    }

    fn version(&self) -> u32 {
        4
    }

    fn produces(&self) -> Kind {
        Kind::Table
    }

    fn edges(&self) -> Vec<Edge> {
        Vec::new()
    }

    fn columns(&self, files: &Files) -> Option<Vec<String>> {
        let of_training = files.iter().filter(|(role, _)| role.starts_with("train/"));
        let first = of_training.map(|(_, file)| file).next()?;
        let format = self.format.or_else(|| Format::of_ending(first))?;
        let quote = self.quote.as_bytes().first().copied();
        table::header::columns(first, format, quote, self.header)
    }

    fn labels_of(artifact: &Path) -> Option<Vec<String>> {
        table::label_names_of(artifact)
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Which splits exist is seen by the files' roles; `format` enters by [`Stage::implied`], stated or not.
    fn not_in_key(&self) -> &'static [&'static str] {
        &[
            "dataset",
            "config",
            "splits",
            "train",
            "validation",
            "test",
            "more",
            "format",
        ]
    }

    fn seed(&self) -> Option<u64> {
        self.seed
    }

    fn draws_random_numbers(&self) -> bool {
        let cuts = self.split.validation > 0.0 || self.split.test > 0.0;
        let drawn = cuts && self.split.time.is_none();
        drawn || self.fold.is_some() || !self.sample.is_empty()
    }

    /// The format of each file; and the names of classes that a data set says, whose integers are indices into these.
    fn implied(&self, files: &Files, fetched: &Fetched) -> BTreeMap<String, Value> {
        let format = |path| self.format.or_else(|| Format::of_ending(path));
        let name =
            |format: Option<Format>| format.map_or(Value::Null, |format| format.to_string().into());
        files
            .iter()
            .map(|(role, path)| (format!("format of {role}"), name(format(path))))
            .chain(
                places::class_names(self, files, fetched)
                    .map(|names| ("classes of the data set".to_owned(), names.into())),
            )
            .collect()
    }

    fn check(&self) -> Vec<Fault> {
        let mut faults = self.faults();
        faults.extend(places::wrong_addresses(self));
        faults
    }

    fn remotes(&self, base: &Path) -> Vec<(String, Remote)> {
        places::remotes(self, base)
    }

    fn beside(&self, base: &Path) -> Result<Option<Local>, Vec<Fault>> {
        places::beside(self, base).map_err(|fault| vec![fault])
    }

    fn files(&self, base: &Path, fetched: &Fetched) -> Result<Files, Vec<Fault>> {
        places::files(self, base, fetched)
    }

    fn check_files(&self, files: &Files) -> Vec<Fault> {
        // Settings that exclude each other name columns that no file has.
        match self.faults().is_empty() {
            true => places::missing_columns(self, files),
            false => Vec::new(),
        }
    }

    fn preview(&self, artifact: &Path, wanted: &Wanted) -> Result<Option<Preview>, StageError> {
        preview_of_table(artifact, wanted)
    }

    fn rows_of(artifact: &Path) -> Result<BTreeMap<String, usize>, StageError> {
        Ok(crate::table::rows_of(artifact)?)
    }

    fn texts_of(
        artifact: &Path,
        split: &str,
        ids: &BTreeSet<u64>,
    ) -> Result<Option<BTreeMap<u64, RowText>>, StageError> {
        Ok(texts_by_id(artifact, split, ids)?)
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let sizes = stream::Sizes::default();
        if stream::suits(self, context, sizes) {
            return stream::run(self, context, sizes);
        }
        let mut raw = self.read_all(context)?;
        self.take_wanted(&mut raw, context)?;
        let told = places::class_names(self, &context.files, context.fetched);
        if told.is_some() {
            for (split, files) in &mut raw {
                withheld(files, split, self.skip_invalid)?;
            }
        }
        splits::none_empty(&raw)?;
        splits::one_task(&raw)?;
        let names = self.label_names.as_deref().or(told.as_deref());
        let of_training = |raw: &BTreeMap<String, Vec<Raw>>| {
            let train = raw.get("train").map_or(&[][..], Vec::as_slice);
            match &told {
                Some(classes) => Labels::of_classes(train, classes),
                None => Labels::of_training(train, names),
            }
        };
        let mut labels = of_training(&raw)?;
        let scheme = scheme(&raw, labels.as_ref());
        if let Some(scheme) = scheme
            && tags::check(&mut raw, labels.as_ref(), scheme, self.skip_invalid)?
        {
            splits::none_empty(&raw)?;
            labels = of_training(&raw)?;
        }
        let mut added = BTreeSet::new();
        if let (Some(labels), Some(scheme), None) = (&mut labels, scheme, names) {
            added = labels.add(scheme.complete(labels.names.iter().map(String::as_str)));
        }
        splits::ids_differ(&raw)?;
        report::skipped(context.progress, &raw);
        let left_out = splits::left_out(&raw);
        for (split, shared) in splits::shared_groups(&raw) {
            context.progress.warn(&format!(
                "{shared} rows of {split} belong to groups that train has too: scores on them are too good"
            ));
        }

        let train = raw.remove("train").unwrap_or_default();
        let mut splits = BTreeMap::new();
        for (name, files) in &raw {
            let texts = splits::number(files, labels.as_ref(), name, 0)?;
            splits.insert(name.clone(), texts);
        }
        let whole = splits::number(&train, labels.as_ref(), "train", 0)?;
        let labelled = |row| {
            let found = splits::labelled(&train, row);
            Ok(found.map(|(place, label)| (place, label.to_owned())))
        };
        let cut = self.cut(context.seed);
        cut.apply(&train, labels.as_ref(), whole, &mut splits, &labelled)?;
        self.sample(&mut splits, context)?;
        context.checkpoint()?;
        let target_names = self.columns.target_names();
        let save = || {
            let frames = splits
                .iter()
                .map(|(name, texts)| Ok((name.clone(), texts.to_frame()?)));
            let table = Table {
                label_names: labels.as_ref().map(|labels| labels.names.clone()),
                target_names: target_names.clone(),
                splits: frames.collect::<Result<_, TableError>>()?,
                left_out: left_out.clone(),
            };
            table.save(context.draft)
        };
        let mut report = report::Report::new(context.draft);
        let look = || {
            let mut each = splits.iter();
            each.try_for_each(|(name, texts)| report.add(name, texts))
        };
        let (looked, saved) = rayon::join(look, save);
        looked?;
        saved?;
        let facts = report::Facts {
            labels: labels.as_ref().map(|labels| labels.names.as_slice()),
            targets: target_names.as_deref(),
            added: &added,
            scheme,
        };
        report.tell(context.progress, &facts, context.draft)?;
        Ok(())
    }
}

impl Load {
    /// Renames labels, and leaves repeated rows out.
    fn take_wanted(
        &self,
        raw: &mut BTreeMap<String, Vec<Raw>>,
        context: &Context,
    ) -> Result<(), StageError> {
        let unwanted: usize = raw.values().flatten().map(|raw| raw.unwanted).sum();
        if unwanted > 0 {
            context
                .progress
                .say(&format!("`where` is not true of {unwanted} rows"));
        }
        let files = raw.values_mut().flatten();
        let met = files.flat_map(|raw| raw.rename_labels(&self.map));
        self.check_map(&met.collect::<BTreeSet<_>>())?;
        if let Some(deduplicate) = &self.deduplicate {
            for line in deduplicate.apply(raw) {
                context.progress.say(&line);
            }
        }
        if let Some((split, _)) = raw.iter().find(|(_, files)| {
            files.iter().all(Raw::is_empty) && files.iter().any(|raw| raw.unwanted > 0)
        }) {
            return Err(StageError::Mismatch {
                message: format!("no row of {split} is left"),
                help: "look at `where` and `deduplicate`: they leave rows out".to_owned(),
            });
        }
        Ok(())
    }

    /// Every label that is renamed must have been met.
    fn check_map(&self, met: &BTreeSet<&str>) -> Result<(), StageError> {
        match self.map.keys().find(|key| !met.contains(key.as_str())) {
            None => Ok(()),
            Some(written) => Err(StageError::Mismatch {
                message: format!("`map` names the label `{written}`, which no row has"),
                help: "write labels as the files do (integers in quotes), or remove it".to_owned(),
            }),
        }
    }

    /// What is cut from `train`.
    fn cut(&self, seed: u64) -> splits::Cut {
        let shares = [
            ("test", self.split.test),
            ("validation", self.split.validation),
        ];
        splits::Cut {
            shares: shares
                .into_iter()
                .filter(|(_, share)| *share > 0.0)
                .collect(),
            fold: self.fold,
            stratify: self.split.stratify,
            grouped: self.split.group.is_some(),
            timed: self.split.time.is_some(),
            seed,
        }
    }

    fn sample<T: AsRef<str> + Clone>(
        &self,
        splits: &mut BTreeMap<String, Texts<T>>,
        context: &Context,
    ) -> Result<(), StageError> {
        for (split, sample) in &self.sample {
            let Some(texts) = splits.get_mut(split) else {
                let there: Vec<&str> = splits.keys().map(String::as_str).collect();
                return Err(StageError::Mismatch {
                    message: format!(
                        "`sample` names the split {split:?}; there is {}",
                        there.join(", ")
                    ),
                    help: "name one of these, or give it files or a share".to_owned(),
                });
            };
            let Some(rows) = sample.rows(texts, self.split.stratify, context.seed) else {
                return Err(StageError::Mismatch {
                    message: format!("`sample.{split}.per_class` needs one label a row"),
                    help: "set `limit` or `fraction` instead".to_owned(),
                });
            };
            context.progress.say(&format!(
                "{split}: took {} of {} rows",
                rows.len(),
                texts.len()
            ));
            *texts = texts.take(&rows);
        }
        Ok(())
    }

    /// What else is read of the rows of a split.
    fn read_beside(&self, split: &str) -> Result<Beside, TableError> {
        let condition = self.condition.as_deref().map(Condition::parse).transpose();
        let condition = condition.map_err(|error| TableError::Condition(Box::new(error)))?;
        let train = split == "train";
        Ok(Beside {
            condition,
            group: self.split.group.clone(),
            time: self.split.time.clone().filter(|_| train),
            optional: !train,
        })
    }

    /// Reads every file, by split and in the order of the list.
    fn read_all(&self, context: &Context) -> Result<BTreeMap<String, Vec<Raw>>, StageError> {
        context
            .progress
            .start("reading", context.files.len() as u64, "files");
        let mut splits = BTreeMap::new();
        for (split, files) in files_of(context) {
            let mut raws = Vec::new();
            let beside = self.read_beside(&split)?;
            for file in files {
                context.checkpoint()?;
                raws.push(read(file, &self.layout(file, beside.clone()))?);
                context.progress.advance(1);
            }
            splits::alike(&raws)?;
            splits.insert(split, raws);
        }
        Ok(splits)
    }

    fn layout(&self, file: &Path, beside: Beside) -> Layout {
        let format = self.format.or_else(|| Format::of_ending(file));
        let format = format.unwrap_or(Format::Text);
        Layout {
            format,
            header: self.header,
            quote: self.quote.bytes().next(),
            rows: self.columns.rows(format, &self.label_separator),
            id: self.columns.id.clone(),
            keep: self.columns.keep.clone(),
            skip_invalid: self.skip_invalid,
            beside,
        }
    }
}

/// The files of each split, in the order of the list.
fn files_of<'a>(context: &'a Context) -> BTreeMap<String, Vec<&'a Path>> {
    let mut files = BTreeMap::<String, BTreeMap<usize, &Path>>::new();
    for (role, path) in &context.files {
        if let Some((split, number)) = role
            .rsplit_once('/')
            .and_then(|(split, n)| Some((split, n.parse().ok()?)))
        {
            let of_split = files.entry(split.to_owned()).or_default();
            of_split.insert(number, path);
        }
    }
    let listed = files.into_iter();
    listed
        .map(|(split, files)| (split, files.into_values().collect()))
        .collect()
}

/// The scheme of the training files' tags.
fn scheme(raw: &BTreeMap<String, Vec<Raw>>, labels: Option<&Labels>) -> Option<Scheme> {
    let train = raw.get("train").into_iter().flatten();
    Scheme::recognise(train.flat_map(|raw| tags::names(raw, labels)))
}

#[cfg(test)]
mod tests;
