//! Writing one split, piece by piece: what examples are labelled with is handed on to the rows that they became.
//!
//! In the file columns follow each other, so each is spooled until the last piece is there: in memory while it is small, then
//! in a file of its own that has no name and is gone with the process. Memory does not grow with the number of rows, and the
//! bytes do not tell in which pieces the rows came.
//!
//! Deliberately absent: checks of what the labels mean. Whoever opens the split checks all of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, Write};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::{SpooledData, SpooledTempFile};

use super::{Lengths, SplitCard, split_path};
use crate::text::{Encoded, NONE, TextError, answers};

/// Bytes of a column that stay in memory.
const SPOOLED: usize = 1 << 20;

/// What the examples of a split are labelled with, one entry for each in their order. What is `None` the split lacks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Labelled<'a> {
    /// The number of a class.
    pub label: Option<&'a [u32]>,
    /// The numbers of any number of classes, ascending, each once.
    pub labels: Option<&'a [Vec<u32>]>,
    /// Numbers to predict, finite, the same count for each example.
    pub target: Option<&'a [Vec<f64>]>,
    /// The number of a tag for each word.
    pub tags: Option<&'a [Vec<u32>]>,
    /// Where the first answer stands in the context, in Unicode characters, the end exclusive; `None` for a question that
    /// the context does not answer.
    pub answers: Option<&'a [Option<Range<u32>>]>,
}

/// Writes one split into `folder` and returns its summary. `id` has one entry for each example.
///
/// # Errors
/// As [`SplitWriter::add`] and [`SplitWriter::finish`].
pub fn write_split(
    folder: &Path,
    name: &str,
    encoded: &Encoded,
    id: &[u64],
    labelled: &Labelled,
) -> Result<SplitCard, TextError> {
    let mut writer = SplitWriter::new(folder, name);
    writer.add(encoded, id, labelled)?;
    writer.finish()
}

/// A split on its way into its file. Every piece has the same columns.
#[derive(Debug)]
pub struct SplitWriter {
    folder: PathBuf,
    path: PathBuf,
    columns: BTreeMap<&'static str, Column>,
    rows: usize,
    examples: usize,
    tokens: usize,
    truncated: usize,
    /// Whether rows are windows of examples.
    windows: bool,
    /// How many examples have so many tokens before they are cut.
    lengths: BTreeMap<u32, usize>,
}

impl SplitWriter {
    /// The file comes into being in `folder` when the split is [finished](SplitWriter::finish).
    pub fn new(folder: &Path, name: &str) -> Self {
        SplitWriter {
            folder: folder.to_owned(),
            path: split_path(folder, name),
            columns: BTreeMap::new(),
            rows: 0,
            examples: 0,
            tokens: 0,
            truncated: 0,
            windows: false,
            lengths: BTreeMap::new(),
        }
    }

    /// Adds the next examples. `id` has one entry for each of them.
    ///
    /// # Errors
    /// What they are labelled with does not fit them, or what is spooled cannot be written.
    pub fn add(
        &mut self,
        encoded: &Encoded,
        id: &[u64],
        labelled: &Labelled,
    ) -> Result<(), TextError> {
        let path = self.path.clone();
        let unwritten = |source: Error| TextError::Write {
            path: path.clone(),
            source,
        };
        let misfit = |column: &str, what: &str| {
            unwritten(Error::other(format!(
                "{column} does not have one entry for each {what}"
            )))
        };
        let id = by_row(encoded, id).ok_or_else(|| misfit("id", "example"))?;
        let label = |label| by_row(encoded, label).ok_or_else(|| misfit("label", "example"));
        let label = labelled.label.map(label).transpose()?;
        let labels =
            |labels: &[_]| ragged(encoded, labels).ok_or_else(|| misfit("labels", "example"));
        let labels = labelled.labels.map(labels).transpose()?;
        let target = |target: &[_]| {
            matrix(encoded, target).ok_or_else(|| misfit("target", "example and target"))
        };
        let target = labelled.target.map(target).transpose()?;
        let tags = |tags: &[_]| by_token(encoded, tags).ok_or_else(|| misfit("tags", "word"));
        let tags = labelled.tags.map(tags).transpose()?;
        let answers = |answers: &[_]| {
            answers::in_rows(encoded, answers).ok_or_else(|| misfit("answers", "question"))
        };
        let answers = labelled.answers.map(answers).transpose()?;

        self.numbers("input_ids", Dtype::U32, &encoded.ids)
            .and_then(|()| self.numbers("type_ids", Dtype::U8, &encoded.type_ids))
            .and_then(|()| self.bounds("offsets", self.tokens, &encoded.offsets))
            .and_then(|()| self.numbers("id", Dtype::U64, &id))
            .map_err(unwritten)?;
        if let Some(label) = &label {
            self.numbers("label", Dtype::U32, label)
                .map_err(unwritten)?;
        }
        if let Some((labels, offsets)) = &labels {
            let before = self.items("labels");
            self.numbers("labels", Dtype::U32, labels)
                .and_then(|()| self.bounds("label_offsets", before, offsets))
                .map_err(unwritten)?;
        }
        if let Some((target, width)) = &target {
            let before = self.columns.get("target").map(|column| column.width);
            if before.is_some_and(|before| before != *width) {
                return Err(misfit("target", "example and target"));
            }
            self.numbers("target", Dtype::F64, target)
                .map_err(unwritten)?;
            self.widen("target", *width);
        }
        if let Some(example) = &encoded.example {
            let before = self.examples as u32;
            let example: Vec<u32> = example.iter().map(|number| before + number).collect();
            self.numbers("example", Dtype::U32, &example)
                .map_err(unwritten)?;
        }
        if let Some(words) = &encoded.words {
            self.numbers("word", Dtype::U32, words).map_err(unwritten)?;
        }
        if let Some(tags) = &tags {
            self.numbers("tag", Dtype::U32, tags).map_err(unwritten)?;
        }
        if let Some((start, end)) = &encoded.characters {
            self.numbers("start", Dtype::U32, start)
                .and_then(|()| self.numbers("end", Dtype::U32, end))
                .map_err(unwritten)?;
        }
        if let Some(answers) = &answers {
            self.numbers("answer", Dtype::U32, answers)
                .map_err(unwritten)?;
            self.widen("answer", 2);
        }
        self.rows += encoded.rows();
        self.examples += encoded.examples();
        self.tokens += encoded.tokens();
        self.truncated += encoded.truncated();
        self.windows |= encoded.example.is_some();
        for &length in encoded.full_lengths() {
            *self.lengths.entry(length).or_default() += 1;
        }
        Ok(())
    }

    /// Writes the file, and returns a summary of the split.
    ///
    /// # Errors
    /// The file cannot be written, or the columns do not have one entry for each row.
    pub fn finish(mut self) -> Result<SplitCard, TextError> {
        self.write().map_err(|source| TextError::Write {
            path: self.path.clone(),
            source,
        })?;
        Ok(SplitCard {
            rows: self.rows,
            examples: self.windows.then_some(self.examples),
            tokens: self.tokens,
            truncated: self.truncated,
            lengths: Lengths::of_counts(&self.lengths),
        })
    }

    fn write(&mut self) -> Result<(), Error> {
        let (rows, tokens) = (self.rows, self.tokens);
        let labels = self.items("labels");
        let mut columns = Vec::new();
        for (name, column) in std::mem::take(&mut self.columns) {
            let shape = match name {
                "labels" => vec![labels],
                "offsets" | "label_offsets" => vec![rows + 1],
                "id" | "label" | "example" => vec![rows],
                "target" | "answer" => vec![rows, column.width],
                _ => vec![tokens],
            };
            columns.push((name, column.dtype, shape, column.bytes()?));
        }
        let mut views = Vec::new();
        for (name, dtype, shape, bytes) in &columns {
            let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| {
                Error::other(format!("{name} does not have one entry for each row: {e}"))
            })?;
            views.push((*name, view));
        }
        safetensors::serialize_to_file(views, None, &self.path).map_err(|e| match e {
            safetensors::SafeTensorError::IoError(source) => source,
            other => Error::other(other.to_string()),
        })
    }

    /// How many numbers of four bytes a column has.
    fn items(&self, name: &str) -> usize {
        let column = self.columns.get(name);
        column.map_or(0, |column| column.length / size_of::<u32>())
    }

    fn widen(&mut self, name: &str, width: usize) {
        if let Some(column) = self.columns.get_mut(name) {
            column.width = width;
        }
    }

    fn numbers<T: bytemuck::NoUninit>(
        &mut self,
        name: &'static str,
        dtype: Dtype,
        values: &[T],
    ) -> Result<(), Error> {
        let folder = &self.folder;
        let column = self.columns.entry(name);
        let column = column.or_insert_with(|| Column::new(dtype, folder));
        let bytes = bytemuck::cast_slice(values);
        column.length += bytes.len();
        column.spool.write_all(bytes)
    }

    /// Where rows begin, after so many items `before`, and where the last of them ends. What `offsets` begins with is where
    /// the rows before end.
    fn bounds(&mut self, name: &'static str, before: usize, offsets: &[u64]) -> Result<(), Error> {
        let known = usize::from(self.columns.contains_key(name));
        let offsets = offsets.iter().skip(known);
        let offsets: Vec<u64> = offsets.map(|offset| before as u64 + offset).collect();
        self.numbers(name, Dtype::U64, &offsets)
    }
}

/// A column on its way into the file.
#[derive(Debug)]
struct Column {
    dtype: Dtype,
    /// Numbers of a row, where these are as many for each.
    width: usize,
    /// In bytes.
    length: usize,
    spool: SpooledTempFile,
}

impl Column {
    fn new(dtype: Dtype, folder: &Path) -> Self {
        Column {
            dtype,
            width: 1,
            length: 0,
            spool: tempfile::spooled_tempfile_in(SPOOLED, folder),
        }
    }

    fn bytes(self) -> Result<Bytes, Error> {
        match self.spool.into_inner() {
            SpooledData::InMemory(bytes) => Ok(Bytes::InMemory(bytes.into_inner())),
            SpooledData::OnDisk(file) => Bytes::of_file(&file),
        }
    }
}

enum Bytes {
    InMemory(Vec<u8>),
    Mapped(Mmap),
}

impl Bytes {
    fn of_file(file: &File) -> Result<Self, Error> {
        // SAFETY: the file has no name, so that no other process can change it, and is written no more.
        unsafe { Mmap::map(file) }.map(Bytes::Mapped)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::InMemory(bytes) => bytes,
            Bytes::Mapped(map) => map,
        }
    }
}

/// What the examples have, for each row. Nothing where they are not as many.
fn by_row<'a, T: Copy>(encoded: &Encoded, of_example: &'a [T]) -> Option<Cow<'a, [T]>> {
    if of_example.len() != encoded.examples() {
        return None;
    }
    if encoded.example.is_none() {
        return Some(Cow::Borrowed(of_example));
    }
    let of_row = (0..encoded.rows()).map(|row| of_example[encoded.example(row)]);
    Some(Cow::Owned(of_row.collect()))
}

/// The lists of all rows, one after the other, and where each begins: `rows + 1` numbers.
fn ragged(encoded: &Encoded, of_example: &[Vec<u32>]) -> Option<(Vec<u32>, Vec<u64>)> {
    if of_example.len() != encoded.examples() {
        return None;
    }
    let (mut all, mut offsets) = (Vec::new(), vec![0]);
    for row in 0..encoded.rows() {
        all.extend_from_slice(&of_example[encoded.example(row)]);
        offsets.push(all.len() as u64);
    }
    Some((all, offsets))
}

/// The numbers of all rows, one row after the other, and how many each has.
fn matrix(encoded: &Encoded, of_example: &[Vec<f64>]) -> Option<(Vec<f64>, usize)> {
    let width = of_example.first().map_or(0, Vec::len);
    let fits = of_example.iter().all(|numbers| numbers.len() == width);
    if of_example.len() != encoded.examples() || !fits {
        return None;
    }
    let of_row = (0..encoded.rows()).flat_map(|row| &of_example[encoded.example(row)]);
    Some((of_row.copied().collect(), width))
}

/// For each token the tag of the word that it begins.
fn by_token(encoded: &Encoded, of_example: &[Vec<u32>]) -> Option<Vec<u32>> {
    if of_example.len() != encoded.examples() {
        return None;
    }
    let mut all = Vec::with_capacity(encoded.tokens());
    let mut tagged = 0;
    for row in 0..encoded.rows() {
        let tags = &of_example[encoded.example(row)];
        for &word in encoded.words(row)? {
            all.push(match word {
                NONE => NONE,
                word => *tags.get(word as usize)?,
            });
            tagged += usize::from(word != NONE);
        }
    }
    let words: usize = of_example.iter().map(Vec::len).sum();
    (tagged == words).then_some(all)
}
