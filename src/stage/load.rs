//! `load`: files → a table with the splits `train`, `validation`, `test` and `more.NAME`.
//!
//! Reads each file through [`table::read`](crate::table::read), numbers the labels and tags by the training files (of chunk
//! tags, a type that these have is known with every prefix of their scheme, unless `label_names` lists the tags), cuts the
//! splits that have no files of their own from `train`, and warns of rows that stand on both sides. An `id` is a row's number
//! in the files of its split, in order; a row cut from `train` keeps the number it had there, and rows that are left out as
//! invalid keep theirs for themselves.
//!
//! Deliberately absent: any change of a text, a filter, a download.

mod columns;
mod places;
mod report;
mod settings;
mod splits;
mod tags;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

pub use columns::{Columns, Targets};
pub use settings::{Fold, Load, Paths, Split};

use crate::artifact::Kind;
use crate::hub::{Fetched, Local, Remote};
use crate::metrics::Scheme;
use crate::stage::{
    Context, Edge, Fault, Files, Preview, Stage, StageError, Wanted, preview_of_table,
};
use crate::table::labels::{Labels, withheld};
use crate::table::read::{Format, Layout, Raw, read};
use crate::table::{Table, TableError};

impl Stage for Load {
    fn kind(&self) -> &'static str {
        "load"
    }

    fn version(&self) -> u32 {
        1
    }

    fn produces(&self) -> Kind {
        Kind::Table
    }

    fn edges(&self) -> Vec<Edge> {
        Vec::new()
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
        self.split.validation > 0.0 || self.split.test > 0.0 || self.fold.is_some()
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

    fn preview(&self, artifact: &Path, wanted: &Wanted) -> Result<Option<Preview>, StageError> {
        preview_of_table(artifact, wanted)
    }

    fn rows_of(artifact: &Path) -> Result<BTreeMap<String, usize>, StageError> {
        Ok(crate::table::rows_of(artifact)?)
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let mut raw = self.read_all(context)?;
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

        let train = raw.remove("train").unwrap_or_default();
        let mut splits = BTreeMap::new();
        for (name, files) in &raw {
            splits.insert(name.clone(), splits::number(files, labels.as_ref(), name)?);
        }
        let whole = splits::number(&train, labels.as_ref(), "train")?;
        let shares = [
            ("test", self.split.test),
            ("validation", self.split.validation),
        ];
        let cut = splits::Cut {
            shares: shares
                .into_iter()
                .filter(|(_, share)| *share > 0.0)
                .collect(),
            fold: self.fold,
            stratify: self.split.stratify,
            seed: context.seed,
        };
        cut.apply(&train, labels.as_ref(), whole, &mut splits)?;
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
            };
            table.save(context.draft)
        };
        let report = || {
            let facts = report::Facts {
                labels: labels.as_ref().map(|labels| labels.names.as_slice()),
                targets: target_names.as_deref(),
                added: &added,
                scheme,
            };
            report::loaded(context.progress, &facts, &splits);
        };
        let ((), saved) = rayon::join(report, save);
        Ok(saved?)
    }
}

impl Load {
    /// Reads every file, by split and in the order of the list.
    fn read_all(&self, context: &Context) -> Result<BTreeMap<String, Vec<Raw>>, StageError> {
        context
            .progress
            .start("reading", context.files.len() as u64, "files");
        let mut files = BTreeMap::<String, BTreeMap<usize, &Path>>::new();
        for (role, path) in &context.files {
            if let Some((split, number)) = role
                .rsplit_once('/')
                .and_then(|(split, n)| Some((split, n.parse().ok()?)))
            {
                files
                    .entry(split.to_owned())
                    .or_default()
                    .insert(number, path);
            }
        }
        let mut splits = BTreeMap::new();
        for (split, files) in files {
            let mut raws = Vec::new();
            for file in files.values() {
                context.checkpoint()?;
                raws.push(read(file, &self.layout(file))?);
                context.progress.advance(1);
            }
            splits::alike(&raws)?;
            splits.insert(split, raws);
        }
        Ok(splits)
    }

    fn layout(&self, file: &Path) -> Layout {
        let format = self.format.or_else(|| Format::of_ending(file));
        let format = format.unwrap_or(Format::Text);
        Layout {
            format,
            header: self.header,
            quote: self.quote.bytes().next(),
            rows: self.columns.rows(format, &self.label_separator),
            id: self.columns.id.clone(),
            skip_invalid: self.skip_invalid,
        }
    }
}

/// The scheme of the training files' tags.
fn scheme(raw: &BTreeMap<String, Vec<Raw>>, labels: Option<&Labels>) -> Option<Scheme> {
    let train = raw.get("train").into_iter().flatten();
    Scheme::recognise(train.flat_map(|raw| tags::names(raw, labels)))
}

#[cfg(test)]
mod tests;
