//! Tables: rows of text with their labels, in named splits, and the only place that reads and writes them.
//!
//! A [`Table`] is the artifact of `load` and `augment`: `table.json` (label names, rows per split) beside one Parquet
//! file per split. Equal tables give equal bytes, whatever the number of threads. [`stored`] reads such a table piece by
//! piece, [`pieces`] a user's file, and [`twins`] finds rows that say the same without holding them. Everything that reads a user's file
//! lies below: [`read`] decodes one file with a reader for each format, [`compressed`] unpacks it before, [`shape`] finds the fields of delimited text (polars
//! fills short rows silently and does not say where a file is broken), [`rows`] makes rows of single values, [`raw`] holds
//! them, [`answer`] finds answers in their contexts, [`condition`] says which rows are wanted, [`moment`] orders times, [`labels`] turns labels into numbers, and [`split`] cuts splits.
//! [`peek`] looks at the beginning of a file of which nothing is known yet.
//! [`TableError`] says file, row and column.
//!
//! Deliberately absent: pipelines, settings, and any idea of what the text is for.

mod answer;
pub mod answered;
mod cell;
mod columns;
mod compressed;
pub mod condition;
mod conll;
pub mod error;
mod frame;
pub mod header;
mod json;
pub mod labels;
pub mod moment;
mod named;
pub mod near;
mod parquet;
pub mod peek;
pub mod pieces;
mod place;
pub mod preview;
mod raw;
pub mod read;
pub mod records;
mod results;
mod rows;
mod shape;
pub mod split;
mod squad;
pub mod stored;
pub mod twins;
mod wordnet;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use polars::prelude::{
    Column, DataFrame, DataType, Float64Type, IntoColumn, ListChunked, NamedFrom, ParquetReader,
    PolarsDataType, SerReader, Series, StringType, UInt32Type,
};
use serde::{Deserialize, Serialize};

pub use cell::Cell;
pub use error::{Place, TableError};
pub use named::NamedColumns;
pub use parquet::class_names;
pub use pieces::{Pieces, Summary};
pub use results::{Cells, ColumnsWriter, Span, read_columns, write_columns, write_csv};
pub use write::SplitWriter;

/// How many bits of an `id` number the row; the bits above count its copies.
pub const ROW_BITS: u32 = 40;

/// Before the name of a further column, which may be called as one of [`Texts`].
const FURTHER: &str = "keep.";

/// Labelled text in named splits (`train`, `validation`, `test`, `more.NAME`).
///
/// The columns of a frame are the fields of [`Texts`], further ones with `keep.` before their names; all but `id`, `copy` and `text` may be absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// The names behind the numbers in `label`, `labels` and `tags`.
    pub label_names: Option<Vec<String>>,
    /// The names of the numbers in `target`.
    pub target_names: Option<Vec<String>>,
    pub splits: BTreeMap<String, DataFrame>,
    /// The broken rows that were left out when it was loaded.
    pub left_out: Vec<LeftOut>,
}

/// Rows of a split that were left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    pub split: String,
    /// In words that follow "rows".
    pub reason: String,
    pub rows: usize,
    /// The ids that the first of them would have.
    pub first: Vec<u64>,
}

/// `table.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// The names behind the numbers in `label`, `labels` and `tags`.
    pub label_names: Option<Vec<String>>,
    /// The names of the numbers in `target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_names: Option<Vec<String>>,
    /// The rows of each split.
    pub splits: BTreeMap<String, usize>,
    /// The broken rows that were left out when it was loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

impl Contents {
    fn read(folder: &Path) -> Result<Contents, TableError> {
        let path = folder.join("table.json");
        let json = std::fs::read(&path).map_err(|e| TableError::unreadable(&path, e))?;
        serde_json::from_slice(&json).map_err(|e| TableError::damaged(&path, e))
    }

    /// Writes `table.json` beside the splits that a [`SplitWriter`] wrote.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), TableError> {
        let path = folder.join("table.json");
        let mut json =
            serde_json::to_vec_pretty(self).map_err(|e| TableError::unwritable(&path, e))?;
        json.push(b'\n');
        std::fs::write(&path, json).map_err(|e| TableError::unwritable(&path, e))
    }
}

impl Table {
    /// Writes the table into `folder`. Equal tables give equal bytes.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), TableError> {
        let contents = Contents {
            label_names: self.label_names.clone(),
            target_names: self.target_names.clone(),
            splits: self
                .splits
                .iter()
                .map(|(name, frame)| (name.clone(), frame.height()))
                .collect(),
            left_out: self.left_out.clone(),
        };
        contents.write(folder)?;
        for (name, frame) in &self.splits {
            let mut writer = SplitWriter::new(folder, name);
            writer.add(frame.clone())?;
            writer.finish()?;
        }
        Ok(())
    }

    /// Reads what [`Table::save`] wrote.
    ///
    /// # Errors
    /// A file that is missing, or is not as `save` leaves it.
    pub fn open(folder: &Path) -> Result<Table, TableError> {
        let contents = Contents::read(folder)?;
        let mut splits = BTreeMap::new();
        for (name, rows) in contents.splits {
            let path = folder.join(format!("{name}.parquet"));
            let file = File::open(&path).map_err(|e| TableError::unreadable(&path, e))?;
            let frame = read::guarded(|| ParquetReader::new(file).set_rechunk(true).finish())
                .map_err(|message| TableError::damaged(&path, message))?;
            if frame.height() != rows {
                return Err(TableError::damaged(
                    &path,
                    format!("{} rows instead of {rows}", frame.height()),
                ));
            }
            splits.insert(name, frame);
        }
        Ok(Table {
            label_names: contents.label_names,
            target_names: contents.target_names,
            splits,
            left_out: contents.left_out,
        })
    }
}

/// How many rows each split of the table in `folder` has.
///
/// # Errors
/// A `table.json` that is missing, or is not as [`Table::save`] leaves it.
pub fn rows_of(folder: &Path) -> Result<BTreeMap<String, usize>, TableError> {
    Contents::read(folder).map(|contents| contents.splits)
}

/// What the labels of the table in `folder` are called, where it says so.
pub fn label_names_of(folder: &Path) -> Option<Vec<String>> {
    Contents::read(folder).ok()?.label_names
}

/// The rows of one split as plain vectors of equal length, with texts of their own or (`&str`) borrowed ones.
///
/// What a row asks for shows in what it has: `words` are to be tagged one by one, `answers` stand in the text pair, which
/// then is the context of the question in `text`.
#[derive(Debug, Clone, PartialEq)]
pub struct Texts<T = String> {
    /// Unique within the split, and the same for the same row in every run.
    pub id: Vec<u64>,
    /// 0 = as loaded, n = nth augmented copy.
    pub copy: Vec<u32>,
    /// Of rows with `words`, these with a space between; of rows with `context`s, the question.
    pub text: Vec<T>,
    pub text_pair: Option<Vec<T>>,
    /// Indices into the table's label names.
    pub label: Option<Vec<u32>>,
    /// For rows with any number of labels: indices into the table's label names, ascending, each once.
    pub labels: Option<Vec<Vec<u32>>>,
    /// For rows with numbers to predict: one for each of the table's target names, all finite.
    pub target: Option<Vec<Vec<f64>>>,
    /// Texts that come cut into words.
    pub words: Option<Vec<Vec<T>>>,
    /// A tag for each of `words`: indices into the table's label names.
    pub tags: Option<Vec<Vec<u32>>>,
    /// Where the text pair answers the text. A row without an answer is a question that the context does not answer.
    pub answers: Option<Vec<Vec<Answer<T>>>>,
    /// What the file calls the row.
    pub name: Option<Vec<T>>,
    /// Further columns of the file, by their names: what stands there, empty where nothing does.
    pub further: BTreeMap<String, Vec<T>>,
}

/// An answer in a context: `text` stands there from character `start` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T = String> {
    /// In Unicode characters from the beginning of the context.
    pub start: u32,
    pub text: T,
}

impl<T> Default for Texts<T> {
    fn default() -> Self {
        Texts {
            id: Vec::new(),
            copy: Vec::new(),
            text: Vec::new(),
            text_pair: None,
            label: None,
            labels: None,
            target: None,
            words: None,
            tags: None,
            answers: None,
            name: None,
            further: BTreeMap::new(),
        }
    }
}

impl<T: AsRef<str> + Clone> Texts<T> {
    pub fn len(&self) -> usize {
        self.id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// The text and, where there is one, the text pair of a row.
    pub fn row(&self, row: usize) -> Option<(&str, Option<&str>)> {
        let pair = self
            .text_pair
            .as_ref()
            .and_then(|pairs| pairs.get(row))
            .map(AsRef::as_ref);
        self.text.get(row).map(|text| (text.as_ref(), pair))
    }

    /// The rows numbered in `rows`, in that order. Numbers beyond the end are passed over.
    pub fn take(&self, rows: &[usize]) -> Self {
        fn pick<T: Clone>(from: &[T], rows: &[usize]) -> Vec<T> {
            rows.iter()
                .filter_map(|&row| from.get(row).cloned())
                .collect()
        }
        fn pick_if<T: Clone>(from: &Option<Vec<T>>, rows: &[usize]) -> Option<Vec<T>> {
            from.as_ref().map(|from| pick(from, rows))
        }
        Texts {
            id: pick(&self.id, rows),
            copy: pick(&self.copy, rows),
            text: pick(&self.text, rows),
            text_pair: pick_if(&self.text_pair, rows),
            label: pick_if(&self.label, rows),
            labels: pick_if(&self.labels, rows),
            target: pick_if(&self.target, rows),
            words: pick_if(&self.words, rows),
            tags: pick_if(&self.tags, rows),
            answers: pick_if(&self.answers, rows),
            name: pick_if(&self.name, rows),
            further: self
                .further
                .iter()
                .map(|(name, values)| (name.clone(), pick(values, rows)))
                .collect(),
        }
    }

    /// As a frame of a [`Table`]. An answer becomes an item of `answer_start` and one of `answer_text`.
    ///
    /// # Errors
    /// Columns of unequal length.
    pub fn to_frame(&self) -> Result<DataFrame, TableError> {
        fn series<'a, T: AsRef<str> + 'a>(texts: impl IntoIterator<Item = &'a T>) -> Series {
            let texts: Vec<&str> = texts.into_iter().map(AsRef::as_ref).collect();
            Series::new(Default::default(), texts.as_slice())
        }
        let strings = |name: &str, texts: &[T]| series(texts).with_name(name.into()).into_column();
        let lists = |name: &str, lists: Vec<Series>, inner: &DataType| {
            let empty = || Series::new_empty(name.into(), &DataType::List(Box::new(inner.clone())));
            let lists = match lists.is_empty() {
                true => empty(),
                false => Series::new(name.into(), lists),
            };
            lists.into_column()
        };
        let mut columns = vec![
            Series::new("id".into(), self.id.as_slice()).into_column(),
            Series::new("copy".into(), self.copy.as_slice()).into_column(),
            strings("text", &self.text),
        ];
        if let Some(pairs) = &self.text_pair {
            columns.push(strings("text_pair", pairs));
        }
        if let Some(labels) = &self.label {
            columns.push(Series::new("label".into(), labels.as_slice()).into_column());
        }
        for (name, numbers) in [("labels", &self.labels), ("tags", &self.tags)] {
            if let Some(numbers) = numbers {
                let numbers = numbers.iter();
                let numbers = numbers.map(|list| Series::new(Default::default(), list.as_slice()));
                columns.push(lists(name, numbers.collect(), &DataType::UInt32));
            }
        }
        if let Some(target) = &self.target {
            let target = target.iter();
            let target = target.map(|list| Series::new(Default::default(), list.as_slice()));
            columns.push(lists("target", target.collect(), &DataType::Float64));
        }
        if let Some(words) = &self.words {
            let words = words.iter().map(series).collect();
            columns.push(lists("words", words, &DataType::String));
        }
        if let Some(answers) = &self.answers {
            let starts = answers.iter().map(|answers| {
                let starts = answers.iter().map(|answer| answer.start);
                Series::new(Default::default(), starts.collect::<Vec<_>>())
            });
            let texts = answers
                .iter()
                .map(|answers| series(answers.iter().map(|answer| &answer.text)));
            columns.push(lists("answer_start", starts.collect(), &DataType::UInt32));
            columns.push(lists("answer_text", texts.collect(), &DataType::String));
        }
        if let Some(names) = &self.name {
            columns.push(strings("name", names));
        }
        for (name, values) in &self.further {
            columns.push(strings(&format!("{FURTHER}{name}"), values));
        }
        frame(columns)
    }
}

/// The id of the `copy`th copy of the row with this id: stable, and unique as long as a split has fewer than 2^40 rows.
pub fn copy_id(id: u64, copy: u32) -> u64 {
    origin(id) | (u64::from(copy) << ROW_BITS)
}

/// The id of the row that a copy was made from; a loaded row's own id.
pub fn origin(id: u64) -> u64 {
    id & ((1 << ROW_BITS) - 1)
}

/// The rows of one frame of a [`Table`].
///
/// # Errors
/// A column that is missing, of another type, or has nulls.
pub fn texts(frame: &DataFrame) -> Result<Texts, TableError> {
    let own = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let own_answer = |answer: Answer<&str>| Answer {
        start: answer.start,
        text: answer.text.to_owned(),
    };
    let own_answers = |answers: Vec<_>| answers.into_iter().map(own_answer).collect();
    let rows = borrowed(frame)?;
    Ok(Texts {
        id: rows.id,
        copy: rows.copy,
        text: own(rows.text),
        text_pair: rows.text_pair.map(own),
        label: rows.label,
        labels: rows.labels,
        target: rows.target,
        words: rows.words.map(|rows| rows.into_iter().map(own).collect()),
        tags: rows.tags,
        answers: rows
            .answers
            .map(|rows| rows.into_iter().map(own_answers).collect()),
        name: rows.name.map(own),
        further: rows
            .further
            .into_iter()
            .map(|(name, values)| (name, own(values)))
            .collect(),
    })
}

/// [`texts`], with the texts left where they are.
///
/// # Errors
/// As [`texts`].
pub fn borrowed(frame: &DataFrame) -> Result<Texts<&str>, TableError> {
    let wrong = |e| TableError::damaged(Path::new("table"), e);
    let column = |name: &str| {
        let column = frame.column(name).map_err(wrong)?;
        if column.null_count() > 0 {
            return Err(TableError::damaged(
                Path::new("table"),
                format!("nulls in column `{name}`"),
            ));
        }
        Ok(column)
    };
    let has = |name: &str| {
        frame
            .get_column_names()
            .iter()
            .any(|found| found.as_str() == name)
    };
    let numbers = |name: &str| {
        let numbers = column(name)?.u32().map_err(wrong)?;
        Ok(numbers.iter().flatten().collect::<Vec<u32>>())
    };
    let strings = |name: &str| {
        let strings = column(name)?.str().map_err(wrong)?;
        Ok(strings.iter().flatten().collect::<Vec<&str>>())
    };
    let lists = |name: &str| column(name)?.list().map_err(wrong);
    let misfit = |name: &str| {
        let message = format!("column `{name}` holds lists of another type, or with nulls");
        TableError::damaged(Path::new("table"), message)
    };
    let number_lists = |name: &str| {
        let value = |array: &ArrayOf<UInt32Type>, place| array.value(place);
        items(lists(name)?, value).ok_or_else(|| misfit(name))
    };
    fn text_at(array: &ArrayOf<StringType>, place: usize) -> &str {
        array.value(place)
    }
    let string_lists = |name: &str| items(lists(name)?, text_at).ok_or_else(|| misfit(name));
    let answers = || {
        let (starts, texts) = (number_lists("answer_start")?, string_lists("answer_text")?);
        if !starts.iter().map(Vec::len).eq(texts.iter().map(Vec::len)) {
            return Err(misfit("answer_start"));
        }
        let pair = |(starts, texts): (Vec<u32>, Vec<_>)| {
            let both = starts.into_iter().zip(texts);
            both.map(|(start, text)| Answer { start, text }).collect()
        };
        Ok(starts.into_iter().zip(texts).map(pair).collect::<Vec<_>>())
    };
    let target = || {
        let value = |array: &ArrayOf<Float64Type>, place| array.value(place);
        items(lists("target")?, value).ok_or_else(|| misfit("target"))
    };
    let further = frame.get_column_names().into_iter();
    let further = further.filter_map(|name| name.strip_prefix(FURTHER));
    let further = further.map(|name| Ok((name.to_owned(), strings(&format!("{FURTHER}{name}"))?)));
    Ok(Texts {
        id: column("id")?
            .u64()
            .map_err(wrong)?
            .iter()
            .flatten()
            .collect(),
        copy: numbers("copy")?,
        text: strings("text")?,
        text_pair: has("text_pair").then(|| strings("text_pair")).transpose()?,
        label: has("label").then(|| numbers("label")).transpose()?,
        labels: has("labels").then(|| number_lists("labels")).transpose()?,
        target: has("target").then(target).transpose()?,
        words: has("words").then(|| string_lists("words")).transpose()?,
        tags: has("tags").then(|| number_lists("tags")).transpose()?,
        answers: has("answer_start").then(answers).transpose()?,
        name: has("name").then(|| strings("name")).transpose()?,
        further: further.collect::<Result<_, TableError>>()?,
    })
}

type ArrayOf<T> = <T as PolarsDataType>::Array;

/// The items of each list, as `value` reads them; none where they are of another type or not all there.
fn items<'a, A: 'static, V>(
    lists: &'a ListChunked,
    value: impl Fn(&'a A, usize) -> V,
) -> Option<Vec<Vec<V>>> {
    let mut all = Vec::with_capacity(lists.len());
    for chunk in lists.downcast_iter() {
        let values = chunk.values();
        let array = values.as_any().downcast_ref::<A>()?;
        for bounds in chunk.offsets().windows(2) {
            let places = bounds[0] as usize..bounds[1] as usize;
            if values.null_count() > 0 && places.clone().any(|place| values.is_null(place)) {
                return None;
            }
            all.push(places.map(|place| value(array, place)).collect());
        }
    }
    Some(all)
}

fn frame(columns: Vec<Column>) -> Result<DataFrame, TableError> {
    DataFrame::new_infer_height(columns).map_err(|e| TableError::damaged(Path::new("table"), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Texts {
        Texts {
            id: vec![0, 1, 7],
            copy: vec![0, 0, 1],
            text: vec!["ein Satz".into(), String::new(), "línea\n\"dos\"".into()],
            text_pair: Some(vec!["a".into(), "b".into(), "c".into()]),
            label: Some(vec![1, 0, 1]),
            ..Texts::default()
        }
    }

    fn table(texts: &Texts) -> Table {
        Table {
            label_names: Some(vec!["no".into(), "yes".into()]),
            splits: [
                ("train".to_owned(), texts.to_frame().unwrap()),
                ("more.odd".to_owned(), sample().to_frame().unwrap()),
            ]
            .into(),
            ..Table::default()
        }
    }

    #[test]
    fn a_table_survives_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let saved = table(&sample());
        saved.save(folder.path()).unwrap();
        let opened = Table::open(folder.path()).unwrap();
        assert_eq!(opened, saved);
        assert_eq!(texts(&opened.splits["train"]).unwrap(), sample());
    }

    #[test]
    fn texts_without_labels_or_pairs_survive_a_frame() {
        let bare = Texts {
            text_pair: None,
            label: None,
            ..sample()
        };
        assert_eq!(texts(&bare.to_frame().unwrap()).unwrap(), bare);
    }

    #[test]
    fn lists_survive_a_frame_also_empty_ones() {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let answer = |start, text: &str| Answer {
            start,
            text: text.to_owned(),
        };
        let full = Texts {
            labels: Some(vec![vec![0, 2], vec![], vec![1]]),
            target: Some(vec![vec![0.5, -1.0], vec![1e-300, 3.0], vec![0.0, 0.0]]),
            words: Some(vec![own(&["ein", "Satz"]), vec![], own(&["línea"])]),
            tags: Some(vec![vec![1, 0], vec![], vec![3]]),
            answers: Some(vec![
                vec![],
                vec![answer(2, "é"), answer(7, "")],
                vec![answer(0, "c")],
            ]),
            name: Some(own(&["x", "", "y"])),
            further: BTreeMap::from([
                ("id".to_owned(), own(&["a", "", "ä"])),
                ("source".to_owned(), own(&["web", "book", "web"])),
            ]),
            ..sample()
        };
        for rows in [vec![0, 1, 2], vec![1], vec![]] {
            let some = full.take(&rows);
            assert_eq!(texts(&some.to_frame().unwrap()).unwrap(), some, "{rows:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let saved = Table {
            splits: [("train".to_owned(), full.to_frame().unwrap())].into(),
            ..table(&full)
        };
        saved.save(folder.path()).unwrap();
        let opened = Table::open(folder.path()).unwrap();
        assert_eq!(texts(&opened.splits["train"]).unwrap(), full);
    }

    fn many() -> Texts {
        Texts {
            id: (0..300_000).collect(),
            copy: vec![0; 300_000],
            text: (0..300_000).map(|n| format!("row {}", n % 1_000)).collect(),
            label: Some((0..300_000).map(|n| n % 2).collect()),
            ..Texts::default()
        }
    }

    fn digest(table: &Table) -> String {
        let folder = tempfile::tempdir().unwrap();
        table.save(folder.path()).unwrap();
        let mut hasher = blake3::Hasher::new();
        for name in ["table.json", "train.parquet", "more.odd.parquet"] {
            hasher.update(&std::fs::read(folder.path().join(name)).unwrap());
        }
        hasher.finalize().to_string()
    }

    #[test]
    fn the_chunks_in_memory_are_not_in_the_bytes() {
        let whole = table(&many());
        let mut chunked = whole.clone();
        let frame = &whole.splits["train"];
        let (mut head, tail) = (frame.head(Some(1_234)), frame.tail(Some(300_000 - 1_234)));
        head.vstack_mut(&tail).unwrap();
        chunked.splits.insert("train".into(), head);
        assert_eq!(digest(&whole), digest(&chunked));
    }

    #[test]
    #[ignore = "run by `the_number_of_threads_is_not_in_the_bytes`, in a process of its own"]
    fn print_the_digest_of_a_table() {
        println!("digest {}", digest(&table(&many())));
    }

    #[test]
    fn the_number_of_threads_is_not_in_the_bytes() {
        let digest = |threads: &str| {
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "table::tests::print_the_digest_of_a_table",
                    "--ignored",
                    "--nocapture",
                ])
                .env("POLARS_MAX_THREADS", threads)
                .env("RAYON_NUM_THREADS", threads)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines()
                .find_map(|line| line.split_once("digest "))
                .unwrap()
                .1
                .to_owned()
        };
        assert_eq!(digest("1"), digest("4"));
    }

    #[test]
    fn a_truncated_artifact_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        table(&sample()).save(folder.path()).unwrap();
        let path = folder.path().join("train.parquet");
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 4, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(
                matches!(Table::open(folder.path()), Err(TableError::Damaged { .. })),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn copies_have_ids_of_their_own_and_know_their_origin() {
        assert_eq!(copy_id(5, 0), 5);
        assert_ne!(copy_id(5, 1), copy_id(5, 2));
        assert_eq!(origin(copy_id(copy_id(5, 1), 2)), 5);
    }
}
