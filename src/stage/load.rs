//! `load`: files → a table with the splits `train`, `validation`, `test` and `more.NAME`.
//!
//! Reads each file through [`table::read`](crate::table::read), numbers the labels by the training files, cuts the splits that have no
//! files of their own from `train`, and warns of rows that stand on both sides. An `id` is a row's number in the files
//! of its split, in order; a row cut from `train` keeps the number it had there.
//!
//! Deliberately absent: any change of a text, a filter, a download.

mod places;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

pub use settings::{Columns, Load, Paths, Split};

use crate::artifact::Kind;
use crate::stage::{Context, Edge, Fault, Files, Stage, StageError};
use crate::table::labels::Labels;
use crate::table::read::{Column, Format, Layout, Raw, read};
use crate::table::{self, Table, TableError, Texts};

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
        &["train", "validation", "test", "more", "format"]
    }

    fn seed(&self) -> Option<u64> {
        self.seed
    }

    fn draws_random_numbers(&self) -> bool {
        self.split.validation > 0.0 || self.split.test > 0.0
    }

    fn implied(&self, files: &Files) -> BTreeMap<String, Value> {
        let format = |path| self.format.or_else(|| Format::of_ending(path));
        let name =
            |format: Option<Format>| format.map_or(Value::Null, |format| format.to_string().into());
        files
            .iter()
            .map(|(role, path)| (format!("format of {role}"), name(format(path))))
            .collect()
    }

    fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault =
            |field: &str, message: &str, help: &str| faults.push(Fault::new(field, message, help));
        let shares = [
            (
                "split.validation",
                self.split.validation,
                self.validation.is_some(),
                "validation",
            ),
            ("split.test", self.split.test, self.test.is_some(), "test"),
        ];
        for (field, share, given, split) in shares {
            if !(0.0..1.0).contains(&share) {
                fault(
                    field,
                    "a share is at least 0 and less than 1",
                    "0.1 cuts a tenth of the training rows",
                );
            } else if given && share > 0.0 {
                let help = format!("remove `{field}`, or the files under `{split}`");
                fault(
                    field,
                    &format!("`{split}` has files of its own, so nothing is cut for it"),
                    &help,
                );
            }
        }
        if self.split.validation + self.split.test >= 1.0 {
            fault(
                "split",
                "the shares leave nothing to train on",
                "let them sum to less than 1",
            );
        }
        if self.quote.len() > 1
            || !self.quote.is_ascii()
            || matches!(self.quote.as_str(), "\n" | "\r" | "\t" | ",")
        {
            fault(
                "quote",
                "a quote is one ASCII character",
                "use \"\\\"\", \"'\", or \"\" for files that do not quote",
            );
        }
        if self.columns.text == Column::Name(String::new()) {
            fault(
                "columns.text",
                "a column's name is empty",
                "name the column that holds the text",
            );
        }
        let columns = [
            (
                "columns.text_pair",
                self.columns.text_pair.as_ref(),
                Some(&self.columns.text),
                "text",
            ),
            (
                "columns.label",
                self.columns.label(),
                Some(&self.columns.text),
                "text",
            ),
            (
                "columns.label",
                self.columns.label(),
                self.columns.text_pair.as_ref(),
                "text_pair",
            ),
        ];
        for (field, column, other, of) in columns {
            if let (Some(column), true) = (column, column == other) {
                let message = format!("column {column} is already `columns.{of}`");
                fault(field, &message, "give each its own column");
            }
        }
        if let Some(names) = &self.label_names {
            if names.is_empty() {
                fault(
                    "label_names",
                    "no names",
                    "list the labels, or remove the field",
                );
            }
            if names.iter().any(String::is_empty) {
                fault("label_names", "a label's name is empty", "name every label");
            }
            if let Some(name) = names
                .iter()
                .enumerate()
                .find_map(|(n, name)| names[..n].contains(name).then_some(name))
            {
                fault(
                    "label_names",
                    &format!("`{name}` is listed twice"),
                    "list each label once",
                );
            }
        }
        for name in self.more.keys() {
            if name.is_empty()
                || !name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
            {
                fault(
                    &format!("more.{name}"),
                    "not a name for a split",
                    "use letters, digits, `_` and `-`",
                );
            }
        }
        faults
    }

    fn files(&self, base: &Path) -> Result<Files, Vec<Fault>> {
        places::files(self, base)
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let mut raw = self.read_all(context)?;
        let train = raw.remove("train").unwrap_or_default();
        let labels = Labels::of_training(&train, self.label_names.as_deref())?;
        let mut splits = BTreeMap::new();
        for (name, files) in &raw {
            splits.insert(name.clone(), number(files, labels.as_ref(), name)?);
        }
        let whole = number(&train, labels.as_ref(), "train")?;
        self.cut(context, &train, labels.as_ref(), whole, &mut splits)?;
        context.checkpoint()?;
        let save = || {
            let frames = splits
                .iter()
                .map(|(name, texts)| Ok((name.clone(), texts.to_frame()?)));
            let table = Table {
                label_names: labels.as_ref().map(|labels| labels.names.clone()),
                splits: frames.collect::<Result<_, TableError>>()?,
                ..Table::default()
            };
            table.save(context.draft)
        };
        let ((), saved) = rayon::join(|| report(context, labels.as_ref(), &splits), save);
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
            alike(&raws)?;
            splits.insert(split, raws);
        }
        Ok(splits)
    }

    fn layout(&self, file: &Path) -> Layout {
        Layout {
            format: self
                .format
                .or_else(|| Format::of_ending(file))
                .unwrap_or(Format::Text),
            header: self.header,
            quote: self.quote.bytes().next(),
            text: self.columns.text.clone(),
            text_pair: self.columns.text_pair.clone(),
            label: self.columns.label().cloned(),
        }
    }

    /// Divides the training rows among `train` and the splits that are cut from it, and adds them to `splits`.
    fn cut<'r>(
        &self,
        context: &Context,
        files: &[Raw],
        labels: Option<&Labels>,
        whole: Texts<&'r str>,
        splits: &mut BTreeMap<String, Texts<&'r str>>,
    ) -> Result<(), TableError> {
        let shares = [
            ("test", self.split.test),
            ("validation", self.split.validation),
        ];
        let shares = shares
            .into_iter()
            .filter(|(_, share)| *share > 0.0)
            .collect::<Vec<_>>();
        if shares.is_empty() {
            splits.insert("train".to_owned(), whole);
            return Ok(());
        }
        let class = match &whole.label {
            Some(labels) if self.split.stratify => labels.clone(),
            _ => vec![0; whole.len()],
        };
        let to = table::split::cut(
            &class,
            &shares.iter().map(|(_, share)| *share).collect::<Vec<_>>(),
            context.seed,
        );
        let rows_of = |split: usize| {
            to.iter()
                .enumerate()
                .filter(|&(_, &t)| t == split)
                .map(|(row, _)| row)
                .collect::<Vec<_>>()
        };
        let train = whole.take(&rows_of(0));
        let learnt = train.label.iter().flatten().collect::<BTreeSet<_>>();
        for (number, &(split, share)) in shares.iter().enumerate() {
            let rows = rows_of(number + 1);
            if rows.is_empty() {
                return Err(TableError::EmptySplit {
                    split: split.to_owned(),
                    share,
                    rows: whole.len(),
                });
            }
            let cut = whole.take(&rows);
            let stranger = cut
                .label
                .iter()
                .flatten()
                .zip(&rows)
                .find(|(label, _)| !learnt.contains(label));
            if let (Some((_, &row)), Some(labels)) = (stranger, labels) {
                return Err(unseen(files, row, labels, split));
            }
            splits.insert(split.to_owned(), cut);
        }
        splits.insert("train".to_owned(), train);
        Ok(())
    }
}

/// The error for a row of the training files that was cut away with the only label of its kind.
fn unseen(files: &[Raw], mut row: usize, labels: &Labels, split: &str) -> TableError {
    for raw in files {
        let rows = raw.texts().len();
        let label = raw.labels().and_then(|mut labels| labels.nth(row));
        if let Some(label) = label {
            return match labels.unseen(raw, row, label, split) {
                TableError::UnseenLabel {
                    place,
                    label,
                    split,
                    ..
                } => TableError::UnseenLabel {
                    place,
                    label,
                    split,
                    help: "set `split.stratify = true`, or cut a smaller share".to_owned(),
                },
                other => other,
            };
        }
        row = row.saturating_sub(rows);
    }
    TableError::UnlabelledTraining {
        split: split.to_owned(),
    }
}

/// Files of one split must have the same columns.
fn alike(files: &[Raw]) -> Result<(), TableError> {
    let Some((first, rest)) = files.split_first() else {
        return Ok(());
    };
    for raw in rest {
        let mixed = |found: String, wanted: String| {
            Err(TableError::MixedFiles {
                file: raw.file.clone(),
                found,
                first: first.file.clone(),
                wanted,
            })
        };
        let there = |there: bool, what: &str| {
            format!("{} {what}", if there { "a column of" } else { "no" })
        };
        if let (Some(width), Some(wanted)) = (raw.unnamed_width, first.unnamed_width)
            && width != wanted
        {
            return mixed(format!("{width} columns"), wanted.to_string());
        }
        let labels = [raw, first].map(|raw| raw.labels().is_some());
        if labels[0] != labels[1] {
            let [found, wanted] = labels.map(|labels| there(labels, "labels"));
            return mixed(found, wanted);
        }
        let pairs = [raw, first].map(|raw| raw.text_pairs().is_some());
        if pairs[0] != pairs[1] {
            let [found, wanted] = pairs.map(|pairs| there(pairs, "text pairs"));
            return mixed(found, wanted);
        }
    }
    Ok(())
}

/// The rows of a split's files one after the other, with their numbers as ids.
fn number<'r>(
    files: &'r [Raw],
    labels: Option<&Labels>,
    split: &str,
) -> Result<Texts<&'r str>, TableError> {
    let mut texts = Texts::default();
    for raw in files {
        texts.text.extend(raw.texts());
        if let Some(pairs) = raw.text_pairs() {
            texts.text_pair.get_or_insert_default().extend(pairs);
        }
        match labels {
            Some(labels) => {
                if let Some(numbers) = labels.encode(raw, split)? {
                    texts.label.get_or_insert_default().extend(numbers);
                }
            }
            None if raw.labels().is_some() => {
                return Err(TableError::UnlabelledTraining {
                    split: split.to_owned(),
                });
            }
            None => {}
        }
    }
    texts.id = (0..texts.text.len() as u64).collect();
    texts.copy = vec![0; texts.text.len()];
    Ok(texts)
}

/// Says what was loaded, and warns of what would make scores lie.
fn report(context: &Context, labels: Option<&Labels>, splits: &BTreeMap<String, Texts<&str>>) {
    let sizes = splits
        .iter()
        .map(|(name, texts)| format!("{name} {}", texts.len()))
        .collect::<Vec<_>>()
        .join(", ");
    let classes = labels.map_or("no labels".to_owned(), |labels| {
        format!("{} labels", labels.names.len())
    });
    context.progress.say(&format!("rows: {sizes}; {classes}"));

    let Some(train) = splits.get("train") else {
        return;
    };
    for (name, texts) in splits {
        let blank = |row: &usize| {
            texts.row(*row).is_some_and(|(text, pair)| {
                text.trim().is_empty() || pair.is_some_and(|pair| pair.trim().is_empty())
            })
        };
        let empty = (0..texts.len()).filter(blank).collect::<Vec<_>>();
        if !empty.is_empty() {
            context.progress.warn(&format!(
                "{} of {name} ha{} an empty text: {}",
                rows(empty.len()),
                ve(empty.len()),
                first(texts, &empty)
            ));
        }
        let repeated = table::repeated(texts);
        if repeated > 0 {
            context.progress.say(&format!(
                "{} of {name} repeat{} an earlier text",
                rows(repeated),
                s(repeated)
            ));
        }
        if name != "train" {
            let twins = table::overlap(train, texts);
            if !twins.is_empty() {
                let found = twins.iter().map(|(row, _)| *row).collect::<Vec<_>>();
                let count = found.len();
                context.progress.warn(&format!(
                    "{} of {name} occur{} in train too, so scores on it are too good: {}",
                    rows(count),
                    s(count),
                    first(texts, &found)
                ));
            }
        }
    }
    if let (Some(labels), Some(numbers)) = (labels, &train.label) {
        let seen = numbers.iter().collect::<BTreeSet<_>>();
        let absent = labels
            .names
            .iter()
            .zip(0_u32..)
            .filter(|(_, number)| !seen.contains(number))
            .map(|(name, _)| name.as_str());
        let absent = absent.collect::<Vec<_>>();
        if !absent.is_empty() {
            context.progress.warn(&format!(
                "no row of train has the label {}",
                absent.join(", ")
            ));
        }
        if seen.len() == 1 {
            context
                .progress
                .warn("every row of train has the same label");
        }
    }
}

fn rows(count: usize) -> String {
    if count == 1 {
        "1 row".to_owned()
    } else {
        format!("{count} rows")
    }
}

fn ve(count: usize) -> &'static str {
    if count == 1 { "s" } else { "ve" }
}

fn s(count: usize) -> &'static str {
    if count == 1 { "s" } else { "" }
}

/// The first three rows by id, with the beginning of their text.
fn first(texts: &Texts<&str>, found: &[usize]) -> String {
    let show = |&row: &usize| {
        let id = texts.id.get(row)?;
        let text = texts.text.get(row)?;
        let start = text.chars().take(40).collect::<String>();
        Some(if start.len() < text.len() {
            format!("row {id} {start:?}…")
        } else {
            format!("row {id} {start:?}")
        })
    };
    let shown = found
        .iter()
        .take(3)
        .filter_map(show)
        .collect::<Vec<_>>()
        .join(", ");
    if found.len() > 3 {
        format!("{shown}, …")
    } else {
        shown
    }
}

#[cfg(test)]
mod tests;
