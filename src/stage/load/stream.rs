//! `load` without holding the rows: files are read twice, piece by piece.
//!
//! First every file is read to the end, which says what labels there are and whether anything is broken; then once more, and
//! each piece is numbered and written. A table that comes out is what comes out of reading files as a whole, to the last byte,
//! and so is what is said of it. Where several things are wrong at once, another of them may be the one that is named.
//!
//! Where splits are cut or sampled, an id and a class of each row are held meanwhile, about a hundred bytes; else nothing of a
//! row is.
//!
//! Small inputs are read as a whole, which is faster, and so are those that ask for more than one row at a time: `where`,
//! which may compare rows, `deduplicate`, `split.group` and `split.time`, classes that a data set names itself; and all
//! that is not CSV or TSV of texts, or is compressed.
//!
//! Deliberately absent: other results than those of [`Load::run`](super::Load), which alone says what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::sync_channel;

use super::{Load, files_of, places, report, splits};
use crate::stage::{Context, StageError};
use crate::table::labels::Labels;
use crate::table::read::{Layout, Raw};
use crate::table::{Contents, LeftOut, Pieces, Place, SplitWriter, Summary, TableError, Texts};

/// From which size on, and in pieces of what size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// The most bytes of all files together that are read as a whole.
    pub(super) whole: u64,
    /// Bytes of a piece.
    pub(super) piece: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes {
            whole: 16 << 20,
            piece: 4 << 20,
        }
    }
}

/// Whether these files can be read piece by piece, and are so large that it is worth it.
pub(super) fn suits(load: &Load, context: &Context, sizes: Sizes) -> bool {
    let size = |path: &Path| path.metadata().map_or(0, |found| found.len());
    let all: u64 = context.files.values().map(|path| size(path)).sum();
    let one_by_one = load.condition.is_none()
        && load.deduplicate.is_none()
        && load.split.group.is_none()
        && load.split.time.is_none();
    if all <= sizes.whole
        || !one_by_one
        || places::class_names(load, &context.files, context.fetched).is_some()
    {
        return false;
    }
    let files = files_of(context);
    files.into_iter().all(|(split, files)| {
        let beside = load.read_beside(&split);
        beside.is_ok_and(|beside| {
            let fits = |file: &&Path| Pieces::can_read(file, &load.layout(file, beside.clone()));
            files.iter().all(fits)
        })
    })
}

/// The files of a split, each with how it is read.
type Files<'a> = Vec<(&'a Path, Layout)>;

/// What is known of the rows of a split without their texts.
#[derive(Default)]
struct Rows {
    ids: Vec<u64>,
    /// For each row the number of its label in the order in which labels were met.
    met: Vec<u32>,
}

/// What stands for a text that is not held.
#[derive(Debug, Clone, Copy)]
struct Unread;

impl AsRef<str> for Unread {
    fn as_ref(&self) -> &str {
        ""
    }
}

/// The first reading.
struct Scan {
    /// For each split a summary of each file.
    raw: BTreeMap<String, Vec<Raw>>,
    /// Where they are needed.
    rows: BTreeMap<String, Rows>,
}

/// Loads what [`suits`].
pub(super) fn run(load: &Load, context: &Context, sizes: Sizes) -> Result<(), StageError> {
    let mut files = BTreeMap::<String, Files>::new();
    for (split, paths) in files_of(context) {
        let beside = load.read_beside(&split)?;
        let layout = |path| (path, load.layout(path, beside.clone()));
        files.insert(split, paths.into_iter().map(layout).collect());
    }
    let cut = load.cut(context.seed);
    let chooses = !cut.cuts_nothing() || !load.sample.is_empty();
    let Scan { raw, rows } = scan(load, context, &files, chooses, sizes)?;
    splits::none_empty(&raw)?;
    splits::one_task(&raw)?;
    let train = raw.get("train").map_or(&[][..], Vec::as_slice);
    let labels = Labels::of_training(train, load.label_names.as_deref())?;
    report::skipped(context.progress, &raw);

    let chosen = match chooses {
        false => None,
        true => {
            let mut splits = BTreeMap::new();
            let mut train = Texts::default();
            for (name, rows) in rows {
                let files = raw.get(&name).map_or(&[][..], Vec::as_slice);
                let texts = rows.unread(files, labels.as_ref(), &name)?;
                match name.as_str() {
                    "train" => train = texts,
                    _ => drop(splits.insert(name, texts)),
                }
            }
            let of_training = files.get("train").map_or(&[][..], Vec::as_slice);
            let labelled = |row| find(load, of_training, row, sizes);
            let summaries = raw.get("train").map_or(&[][..], Vec::as_slice);
            cut.apply(summaries, labels.as_ref(), train, &mut splits, &labelled)?;
            load.sample(&mut splits, context)?;
            let ids = splits.into_iter();
            let ids: BTreeMap<String, Vec<u64>> =
                ids.map(|(name, texts)| (name, texts.id)).collect();
            Some(ids)
        }
    };
    let all = raw.values().flatten().map(Raw::rows_of_file).sum::<usize>();
    context.progress.start("writing", all as u64, "rows");
    let mut writing = Writing {
        context,
        labels: labels.as_ref(),
        own: files.keys().cloned().collect(),
        chosen,
        passed: BTreeMap::new(),
        writers: BTreeMap::new(),
        report: report::Report::new(context.draft),
    };
    // In the order in which files are read as a whole, so that the first error is the same.
    let (training, others): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| *name == "train");
    for (name, files) in others.into_iter().chain(training) {
        writing.split(load, name, files, sizes)?;
    }
    writing.finish(load, splits::left_out(&raw))
}

/// Reads every file to its end.
fn scan(
    load: &Load,
    context: &Context,
    files: &BTreeMap<String, Files>,
    keep_rows: bool,
    sizes: Sizes,
) -> Result<Scan, StageError> {
    let all = context.files.len() as u64;
    context.progress.start("reading", all, "files");
    let (mut raw, mut rows) = (BTreeMap::new(), BTreeMap::new());
    let mut renamed = BTreeSet::new();
    for (split, files) in files {
        let mut summaries = Vec::new();
        let mut kept = Rows::default();
        let (mut before, mut labels) = (0, 0);
        for (path, layout) in files {
            let mut pieces = Pieces::open(path, layout, sizes.piece)?;
            let mut summary = Summary::default();
            while let Some(mut piece) = pieces.next_piece()? {
                context.checkpoint()?;
                renamed.extend(piece.rename_labels(&load.map));
                if keep_rows {
                    let ids = piece.numbers().map(|number| (before + number) as u64);
                    kept.ids.extend(ids);
                    before += piece.rows_of_file();
                }
                let met = summary.add(piece);
                if keep_rows {
                    kept.met
                        .extend(met.into_iter().map(|number| labels + number));
                }
            }
            let summary = summary.into_raw();
            labels += summary.as_ref().map_or(0, Raw::len) as u32;
            summaries.extend(summary);
            context.progress.advance(1);
        }
        splits::alike(&summaries)?;
        raw.insert(split.clone(), summaries);
        if keep_rows {
            rows.insert(split.clone(), kept);
        }
    }
    load.check_map(&renamed)?;
    Ok(Scan { raw, rows })
}

impl Rows {
    /// As texts, none of which is there. `files` are summaries of those that the rows are of.
    ///
    /// # Errors
    /// A label that the training files do not have.
    fn unread(
        self,
        files: &[Raw],
        labels: Option<&Labels>,
        split: &str,
    ) -> Result<Texts<Unread>, TableError> {
        let mut numbers = Vec::new();
        for raw in files {
            let of_file = labels.map(|labels| labels.encode(raw, split)).transpose()?;
            numbers.extend(of_file.flatten().unwrap_or_default());
        }
        let number = |met: u32| numbers.get(met as usize).copied().unwrap_or_default();
        let label = self.met.into_iter().map(number).collect();
        Ok(Texts {
            copy: vec![0; self.ids.len()],
            text: vec![Unread; self.ids.len()],
            label: (!numbers.is_empty()).then_some(label),
            id: self.ids,
            ..Texts::default()
        })
    }
}

/// The place and the label of one of the rows of a split.
fn find(
    load: &Load,
    files: &[(&Path, Layout)],
    mut row: usize,
    sizes: Sizes,
) -> Result<Option<(Place, String)>, TableError> {
    for (path, layout) in files {
        let mut pieces = Pieces::open(path, layout, sizes.piece)?;
        while let Some(mut piece) = pieces.next_piece()? {
            if row < piece.len() {
                piece.rename_labels(&load.map);
                let found = splits::labelled(std::slice::from_ref(&piece), row);
                return Ok(found.map(|(place, label)| (place, label.to_owned())));
            }
            row -= piece.len();
        }
    }
    Ok(None)
}

/// The second reading: the table comes into being.
struct Writing<'a> {
    context: &'a Context<'a>,
    labels: Option<&'a Labels>,
    /// The splits that have files of their own.
    own: BTreeSet<String>,
    /// The ids of each split's rows, ascending, where not all rows of its files go to it.
    chosen: Option<BTreeMap<String, Vec<u64>>>,
    /// How many of these were met.
    passed: BTreeMap<String, usize>,
    writers: BTreeMap<String, SplitWriter>,
    report: report::Report,
}

impl Writing<'_> {
    /// Reads the files of a split again, and writes their rows. The next piece is read while the last is written.
    fn split(
        &mut self,
        load: &Load,
        name: &str,
        files: &[(&Path, Layout)],
        sizes: Sizes,
    ) -> Result<(), StageError> {
        let (sender, receiver) = sync_channel(0);
        let read = move || {
            let each = || -> Result<(), TableError> {
                for (path, layout) in files {
                    let mut pieces = Pieces::open(path, layout, sizes.piece)?;
                    while let Some(mut piece) = pieces.next_piece()? {
                        piece.rename_labels(&load.map);
                        if sender.send(Ok(piece)).is_err() {
                            return Ok(());
                        }
                    }
                }
                Ok(())
            };
            if let Err(error) = each() {
                // Whoever listens no more needs no error.
                let _ = sender.send(Err(error));
            }
        };
        let first = files.first().map_or(Path::new(""), |(path, _)| *path);
        std::thread::scope(|scope| {
            let reading = std::thread::Builder::new().name("reading".to_owned());
            let started = reading.spawn_scoped(scope, read);
            started.map_err(|e| TableError::unreadable(first, e))?;
            let mut before = 0;
            for piece in receiver {
                self.context.checkpoint()?;
                let piece: Raw = piece?;
                let texts =
                    splits::number(std::slice::from_ref(&piece), self.labels, name, before)?;
                self.rows(name, &texts)?;
                before += piece.rows_of_file();
                self.context.progress.advance(piece.rows_of_file() as u64);
            }
            Ok(())
        })
    }

    /// Writes rows of one split's files to the splits that they belong to.
    fn rows(&mut self, from: &str, texts: &Texts<&str>) -> Result<(), TableError> {
        let Some(chosen) = &self.chosen else {
            return write(
                &mut self.writers,
                &mut self.report,
                self.context,
                from,
                texts,
            );
        };
        for (to, ids) in chosen {
            let is_cut = from == "train" && !self.own.contains(to);
            if to != from && !is_cut {
                continue;
            }
            let passed = self.passed.entry(to.clone()).or_default();
            let mut rows = Vec::new();
            for (row, id) in texts.id.iter().enumerate() {
                if ids.get(*passed) == Some(id) {
                    *passed += 1;
                    rows.push(row);
                }
            }
            let texts = texts.take(&rows);
            write(
                &mut self.writers,
                &mut self.report,
                self.context,
                to,
                &texts,
            )?;
        }
        Ok(())
    }

    fn finish(self, load: &Load, left_out: Vec<LeftOut>) -> Result<(), StageError> {
        let mut rows = BTreeMap::new();
        for (name, writer) in self.writers {
            rows.insert(name, writer.finish()?);
        }
        let target_names = load.columns.target_names();
        let contents = Contents {
            label_names: self.labels.map(|labels| labels.names.clone()),
            target_names: target_names.clone(),
            splits: rows,
            left_out,
        };
        contents.write(self.context.draft)?;
        let facts = report::Facts {
            labels: self.labels.map(|labels| labels.names.as_slice()),
            targets: target_names.as_deref(),
            added: &BTreeSet::new(),
            scheme: None,
        };
        let folder = self.context.draft;
        Ok(self.report.tell(self.context.progress, &facts, folder)?)
    }
}

fn write(
    writers: &mut BTreeMap<String, SplitWriter>,
    report: &mut report::Report,
    context: &Context,
    split: &str,
    texts: &Texts<&str>,
) -> Result<(), TableError> {
    // Where there is no row, it is not known which columns there are.
    if texts.is_empty() {
        return Ok(());
    }
    let writer = writers.entry(split.to_owned());
    let writer = writer.or_insert_with(|| SplitWriter::new(context.draft, split));
    let look = || report.add(split, texts);
    let (looked, written) = rayon::join(look, || writer.add(texts.to_frame()?));
    looked.and(written)
}

#[cfg(test)]
mod tests;
