//! Tables: rows of text with their labels, in named splits, and the only place that reads and writes them.
//!
//! A [`Table`] is the artifact of `load` and `augment`: `table.json` (label names, rows per split) beside one Parquet
//! file per split. Equal tables give equal bytes, whatever the number of threads. Everything that reads a user's file
//! lies below: [`read`] decodes one file, [`shape`] finds the fields of delimited text (polars fills short rows silently
//! and does not say where a file is broken), [`labels`] turns labels into numbers, and [`split`] cuts splits.
//! [`TableError`] says file, row and column.
//!
//! Deliberately absent: pipelines, settings, and any idea of what the text is for.

pub mod error;
pub mod labels;
pub mod read;
mod shape;
pub mod split;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use polars::prelude::{
    Column, DataFrame, InitHashMaps, IntoColumn, NamedFrom, ParquetReader, ParquetWriter,
    PlHashMap, PlHashSet, SerReader, Series,
};
use serde::{Deserialize, Serialize};

pub use error::{Place, TableError};

/// How many bits of an `id` number the row; the bits above count its copies.
const ROW_BITS: u32 = 40;

/// Labelled text in named splits (`train`, `validation`, `test`, `more.NAME`).
///
/// Columns of each frame: `id` u64 (unique within the split), `copy` u32 (0 = as loaded, n = nth augmented copy), `text`
/// str, optionally `text_pair` str, optionally `label` u32 (an index into `label_names`).
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub label_names: Option<Vec<String>>,
    pub splits: BTreeMap<String, DataFrame>,
}

/// `table.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    label_names: Option<Vec<String>>,
    splits: BTreeMap<String, usize>,
}

impl Table {
    /// Writes the table into `folder`. Equal tables give equal bytes.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), TableError> {
        let contents = Contents {
            label_names: self.label_names.clone(),
            splits: self
                .splits
                .iter()
                .map(|(name, frame)| (name.clone(), frame.height()))
                .collect(),
        };
        let path = folder.join("table.json");
        let mut json =
            serde_json::to_vec_pretty(&contents).map_err(|e| TableError::unwritable(&path, e))?;
        json.push(b'\n');
        std::fs::write(&path, json).map_err(|e| TableError::unwritable(&path, e))?;
        for (name, frame) in &self.splits {
            write_parquet(&folder.join(format!("{name}.parquet")), frame.clone())?;
        }
        Ok(())
    }

    /// Reads what [`Table::save`] wrote.
    ///
    /// # Errors
    /// A file that is missing, or is not as `save` leaves it.
    pub fn open(folder: &Path) -> Result<Table, TableError> {
        let path = folder.join("table.json");
        let json = std::fs::read(&path).map_err(|e| TableError::unreadable(&path, e))?;
        let contents: Contents =
            serde_json::from_slice(&json).map_err(|e| TableError::damaged(&path, e))?;
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
            splits,
        })
    }
}

/// The rows of one split as plain vectors of equal length, with texts of their own or (`&str`) borrowed ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts<T = String> {
    /// Unique within the split, and the same for the same row in every run.
    pub id: Vec<u64>,
    /// 0 = as loaded, n = nth augmented copy.
    pub copy: Vec<u32>,
    pub text: Vec<T>,
    pub text_pair: Option<Vec<T>>,
    /// Indices into the table's label names.
    pub label: Option<Vec<u32>>,
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
        Texts {
            id: pick(&self.id, rows),
            copy: pick(&self.copy, rows),
            text: pick(&self.text, rows),
            text_pair: self.text_pair.as_ref().map(|pairs| pick(pairs, rows)),
            label: self.label.as_ref().map(|labels| pick(labels, rows)),
        }
    }

    /// As a frame of a [`Table`].
    ///
    /// # Errors
    /// Columns of unequal length.
    pub fn to_frame(&self) -> Result<DataFrame, TableError> {
        let texts = |name: &str, texts: &[T]| {
            let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
            Series::new(name.into(), texts.as_slice()).into_column()
        };
        let mut columns = vec![
            Series::new("id".into(), self.id.as_slice()).into_column(),
            Series::new("copy".into(), self.copy.as_slice()).into_column(),
            texts("text", &self.text),
        ];
        if let Some(pairs) = &self.text_pair {
            columns.push(texts("text_pair", pairs));
        }
        if let Some(labels) = &self.label {
            columns.push(Series::new("label".into(), labels.as_slice()).into_column());
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
    let own = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
    let rows = borrowed(frame)?;
    Ok(Texts {
        id: rows.id,
        copy: rows.copy,
        text: own(rows.text),
        text_pair: rows.text_pair.map(own),
        label: rows.label,
    })
}

/// [`texts`], with the texts left where they are.
///
/// # Errors
/// As [`texts`].
pub fn borrowed(frame: &DataFrame) -> Result<Texts<&str>, TableError> {
    let column = |name: &str| {
        let column = frame
            .column(name)
            .map_err(|e| TableError::damaged(Path::new("table"), e))?;
        if column.null_count() > 0 {
            return Err(TableError::damaged(
                Path::new("table"),
                format!("nulls in column `{name}`"),
            ));
        }
        Ok(column)
    };
    let wrong = |e| TableError::damaged(Path::new("table"), e);
    let numbers = |name: &str| {
        Ok(column(name)?
            .u32()
            .map_err(wrong)?
            .iter()
            .flatten()
            .collect::<Vec<u32>>())
    };
    let strings = |name: &str| {
        Ok(column(name)?
            .str()
            .map_err(wrong)?
            .iter()
            .flatten()
            .collect::<Vec<&str>>())
    };
    let has = |name: &str| {
        frame
            .get_column_names()
            .iter()
            .any(|found| found.as_str() == name)
    };
    Ok(Texts {
        id: column("id")?
            .u64()
            .map_err(wrong)?
            .iter()
            .flatten()
            .collect(),
        copy: numbers("copy")?,
        text: strings("text")?,
        text_pair: if has("text_pair") {
            Some(strings("text_pair")?)
        } else {
            None
        },
        label: if has("label") {
            Some(numbers("label")?)
        } else {
            None
        },
    })
}

/// Rows of `other` whose text (and text pair) occurs in `train` too, each with the first such row of `train`.
pub fn overlap<T: AsRef<str> + Clone>(train: &Texts<T>, other: &Texts<T>) -> Vec<(usize, usize)> {
    let mut first = PlHashMap::with_capacity(train.len());
    for row in 0..train.len() {
        first.entry(train.row(row)).or_insert(row);
    }
    (0..other.len())
        .filter_map(|row| first.get(&other.row(row)).map(|&twin| (row, twin)))
        .collect()
}

/// How many rows repeat the text (and text pair) of an earlier one.
pub fn repeated<T: AsRef<str> + Clone>(texts: &Texts<T>) -> usize {
    let mut seen = PlHashSet::with_capacity(texts.len());
    (0..texts.len())
        .filter(|&row| !seen.insert(texts.row(row)))
        .count()
}

/// Writes predictions as Parquet: `id`, `label` (name or null), `predicted` (name), and `probability_NAME` (f32) per label.
///
/// # Errors
/// Slices of unequal length, a label beyond `names`, or a file that cannot be written.
pub fn write_predictions(
    path: &Path,
    id: &[u64],
    label: Option<&[u32]>,
    predicted: &[u32],
    probabilities: &[Vec<f32>],
    names: &[String],
) -> Result<(), TableError> {
    let misfit = |what: &str| {
        TableError::unwritable(path, format!("{what} do not fit the {} ids", id.len()))
    };
    let name = |&label: &u32| {
        names
            .get(label as usize)
            .cloned()
            .ok_or_else(|| misfit("labels"))
    };
    let label = match label {
        Some(labels) => labels
            .iter()
            .map(|label| name(label).map(Some))
            .collect::<Result<Vec<_>, _>>()?,
        None => vec![None; id.len()],
    };
    let predicted = predicted.iter().map(name).collect::<Result<Vec<_>, _>>()?;
    if label.len() != id.len() || predicted.len() != id.len() || probabilities.len() != id.len() {
        return Err(misfit("predictions"));
    }
    let mut columns = vec![
        Series::new("id".into(), id).into_column(),
        Series::new("label".into(), label).into_column(),
        Series::new("predicted".into(), predicted).into_column(),
    ];
    for (index, name) in names.iter().enumerate() {
        let values = probabilities
            .iter()
            .map(|row| row.get(index).copied())
            .collect::<Option<Vec<f32>>>();
        let values = values.ok_or_else(|| misfit("probabilities"))?;
        columns.push(Series::new(format!("probability_{name}").into(), values).into_column());
    }
    write_parquet(path, frame(columns)?)
}

fn frame(columns: Vec<Column>) -> Result<DataFrame, TableError> {
    DataFrame::new_infer_height(columns).map_err(|e| TableError::damaged(Path::new("table"), e))
}

/// Row groups of a fixed size from one chunk, columns one after the other: the bytes depend on the rows alone.
fn write_parquet(path: &Path, mut frame: DataFrame) -> Result<(), TableError> {
    let file = File::create(path).map_err(|e| TableError::unwritable(path, e))?;
    let written = read::guarded(|| {
        frame.rechunk_mut();
        ParquetWriter::new(file)
            .with_row_group_size(Some(1 << 18))
            .set_parallel(false)
            .finish(&mut frame)
    });
    written
        .map(drop)
        .map_err(|message| TableError::unwritable(path, message))
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

    fn many() -> Texts {
        Texts {
            id: (0..300_000).collect(),
            copy: vec![0; 300_000],
            text: (0..300_000).map(|n| format!("row {}", n % 1_000)).collect(),
            text_pair: None,
            label: Some((0..300_000).map(|n| n % 2).collect()),
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

    #[test]
    fn predictions_name_labels_and_probabilities() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.parquet");
        let names = ["no".to_owned(), "yes".to_owned()];
        let probabilities = [vec![0.25, 0.75], vec![0.5, 0.5]];
        write_predictions(
            &path,
            &[3, 4],
            Some(&[1, 0]),
            &[1, 1],
            &probabilities,
            &names,
        )
        .unwrap();
        let frame = ParquetReader::new(File::open(&path).unwrap())
            .finish()
            .unwrap();
        assert_eq!(
            frame.get_column_names(),
            [
                "id",
                "label",
                "predicted",
                "probability_no",
                "probability_yes"
            ]
        );
        assert_eq!(
            frame.column("label").unwrap().str().unwrap().get(1),
            Some("no")
        );
        assert_eq!(
            frame
                .column("probability_yes")
                .unwrap()
                .f32()
                .unwrap()
                .get(0),
            Some(0.75)
        );

        write_predictions(&path, &[3], None, &[0], &probabilities[..1], &names).unwrap();
        let frame = ParquetReader::new(File::open(&path).unwrap())
            .finish()
            .unwrap();
        assert_eq!(frame.column("label").unwrap().null_count(), 1);
        assert!(write_predictions(&path, &[3], None, &[2], &probabilities[..1], &names).is_err());
        assert!(
            write_predictions(&path, &[3, 4], None, &[0, 0], &[vec![1.0], vec![]], &names).is_err()
        );
    }

    #[test]
    fn overlap_compares_text_and_pair() {
        let train = sample();
        let mut test = sample();
        test.text_pair = Some(vec!["a".into(), "other".into(), "c".into()]);
        assert_eq!(overlap(&train, &test), [(0, 0), (2, 2)]);
        assert_eq!(repeated(&train), 0);
        assert_eq!(repeated(&train.take(&[0, 0, 1])), 1);
    }
}
