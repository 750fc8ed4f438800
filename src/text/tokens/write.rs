//! Writing one split: what examples are labelled with is handed on to the rows that they became.
//!
//! Deliberately absent: checks of what the labels mean. Whoever opens the split checks all of it.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::{Lengths, SplitCard, split_path};
use crate::text::{Encoded, NONE, TextError, answers};

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
/// The file cannot be written, or what examples are labelled with does not fit them.
pub fn write_split(
    folder: &Path,
    name: &str,
    encoded: &Encoded,
    id: &[u64],
    labelled: &Labelled,
) -> Result<SplitCard, TextError> {
    let path = split_path(folder, name);
    let unwritten = |source: std::io::Error| TextError::Write {
        path: path.clone(),
        source,
    };
    let misfit = |column: &str, what: &str| {
        unwritten(std::io::Error::other(format!(
            "{column} does not have one entry for each {what}"
        )))
    };
    let rows = encoded.rows();
    let id = by_row(encoded, id).ok_or_else(|| misfit("id", "example"))?;
    let label = |label| by_row(encoded, label).ok_or_else(|| misfit("label", "example"));
    let label = labelled.label.map(label).transpose()?;
    let labels = |labels: &[_]| ragged(encoded, labels).ok_or_else(|| misfit("labels", "example"));
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

    let mut columns = Columns::default();
    columns.add("input_ids", Dtype::U32, &[encoded.ids.len()], &encoded.ids);
    columns.add(
        "type_ids",
        Dtype::U8,
        &[encoded.type_ids.len()],
        &encoded.type_ids,
    );
    columns.add("offsets", Dtype::U64, &[rows + 1], &encoded.offsets);
    columns.add("id", Dtype::U64, &[rows], &id);
    if let Some(label) = &label {
        columns.add("label", Dtype::U32, &[rows], label);
    }
    if let Some((labels, offsets)) = &labels {
        columns.add("labels", Dtype::U32, &[labels.len()], labels);
        columns.add("label_offsets", Dtype::U64, &[rows + 1], offsets);
    }
    if let Some((target, width)) = &target {
        columns.add("target", Dtype::F64, &[rows, *width], target);
    }
    if let Some(example) = &encoded.example {
        columns.add("example", Dtype::U32, &[rows], example);
    }
    if let Some(words) = &encoded.words {
        columns.add("word", Dtype::U32, &[words.len()], words);
    }
    if let Some(tags) = &tags {
        columns.add("tag", Dtype::U32, &[tags.len()], tags);
    }
    if let Some((start, end)) = &encoded.characters {
        columns.add("start", Dtype::U32, &[start.len()], start);
        columns.add("end", Dtype::U32, &[end.len()], end);
    }
    if let Some(answers) = &answers {
        columns.add("answer", Dtype::U32, &[rows, 2], answers);
    }
    columns.write(&path).map_err(unwritten)?;
    Ok(SplitCard {
        rows,
        examples: encoded.example.as_ref().map(|_| encoded.examples()),
        tokens: encoded.tokens(),
        truncated: encoded.truncated(),
        lengths: Lengths::of(encoded.full_lengths()),
    })
}

/// The columns of a file, which have to agree in their lengths.
#[derive(Default)]
struct Columns<'a>(Vec<(&'static str, Dtype, Vec<usize>, &'a [u8])>);

impl<'a> Columns<'a> {
    fn add<T: bytemuck::NoUninit>(
        &mut self,
        name: &'static str,
        dtype: Dtype,
        shape: &[usize],
        values: &'a [T],
    ) {
        let bytes = bytemuck::cast_slice(values);
        self.0.push((name, dtype, shape.to_vec(), bytes));
    }

    fn write(self, path: &Path) -> Result<(), std::io::Error> {
        let mut views = Vec::new();
        for (name, dtype, shape, bytes) in self.0 {
            let view = TensorView::new(dtype, shape, bytes).map_err(|e| {
                std::io::Error::other(format!("{name} does not have one entry for each row: {e}"))
            })?;
            views.push((name, view));
        }
        safetensors::serialize_to_file(views, None, path).map_err(|e| match e {
            safetensors::SafeTensorError::IoError(source) => source,
            other => std::io::Error::other(other.to_string()),
        })
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
