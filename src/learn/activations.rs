//! What the frozen beginning of an encoder gives for every row: computed once, stored, and read in every epoch.
//!
//! ```text
//! activations.json       which layers, in which form, whether anything is kept, and how many bytes that are or would be
//! SPLIT.safetensors      of all layers, for heads over texts:
//!                          first, mean, max F32 [rows, hidden]      one vector per text, whatever the pooling
//!                        otherwise:
//!                          hidden F32 [tokens, hidden], offsets U64 [rows + 1]
//! ```
//!
//! Files are mapped into memory, so that they may be larger than it. Nothing is dropped and nothing is drawn; another batch
//! size changes nothing but the rounding of floats.
//!
//! Deliberately absent: what to do when they are not kept. Whoever asks for the activations of a row and gets none computes
//! them.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use memmap2::{Mmap, MmapMut};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::LearnError;
use super::batch::{self, Laid, Rows};
use super::gradients::read;
use crate::kernels::{Precision, Spans};
use crate::model::{Batch, Classifier, Mode, Summary, summarise};

/// What is known of a row before the model has read it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known<'a> {
    /// What so many layers give: `[tokens, hidden]`, row-major.
    Hidden { layers: usize, values: &'a [f32] },
    /// The vector that the head makes of the last hidden states, `[hidden]`.
    Pooled(&'a [f32]),
}

/// How activations are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Three vectors per row: the last hidden state of the first token, and mean and maximum over all tokens.
    Pooled,
    /// A hidden state per token.
    Hidden,
}

/// The vectors of a row in [`Form::Pooled`], in this order.
const SUMMARIES: [(&str, Summary); 3] = [
    ("first", Summary::First),
    ("mean", Summary::Mean),
    ("max", Summary::Max),
];

/// `activations.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    kept: bool,
    form: Form,
    layers: usize,
    hidden: usize,
    /// Of all splits together.
    bytes: u64,
    /// Rows of each split.
    splits: BTreeMap<String, usize>,
}

/// How many bytes the activations of these rows take: `hidden` numbers for each token, or three times as many for each row.
pub fn bytes(form: Form, hidden: usize, rows: usize, tokens: usize) -> u64 {
    let vectors = match form {
        Form::Pooled => rows as u64 * SUMMARIES.len() as u64,
        Form::Hidden => tokens as u64,
    };
    vectors.saturating_mul(hidden as u64 * size_of::<f32>() as u64)
}

/// What to compute.
pub struct Wanted<'a> {
    /// The first layers, so many.
    pub layers: usize,
    pub form: Form,
    /// The width of a hidden state.
    pub hidden: usize,
    pub pad_id: u32,
    /// Tokens in a batch, padding among them.
    pub tokens: usize,
    pub precision: Precision,
    pub splits: BTreeMap<String, &'a dyn Rows>,
}

impl Wanted<'_> {
    fn mode(&self) -> Mode {
        Mode::EVALUATE.in_precision(self.precision)
    }

    /// How many bytes all of it takes.
    pub fn bytes(&self) -> u64 {
        let of = |rows: &&dyn Rows| {
            let tokens = (0..rows.rows()).map(|row| length(*rows, row)).sum();
            bytes(self.form, self.hidden, rows.rows(), tokens)
        };
        self.splits.values().map(of).sum()
    }

    /// Computes all of it with `model` (on `device`, without autodiff) and writes it into `folder`; where it is not to be `kept`,
    /// notes that alone. `on_rows` is told how many rows were just done, and may say stop.
    ///
    /// # Errors
    /// [`LearnError::Interrupted`] when told to stop, [`LearnError::Device`] when the device fails, a file that cannot be
    /// written.
    pub fn write(
        &self,
        folder: &Path,
        kept: bool,
        model: &Classifier,
        device: &Device,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<(), LearnError> {
        if kept {
            for (name, rows) in &self.splits {
                let path = folder.join(format!("{name}.safetensors"));
                self.write_split(&path, *rows, model, device, on_rows)?;
            }
        }
        let rows = self.splits.iter();
        let card = Card {
            kept,
            form: self.form,
            layers: self.layers,
            hidden: self.hidden,
            bytes: self.bytes(),
            splits: rows
                .map(|(name, rows)| (name.clone(), rows.rows()))
                .collect(),
        };
        let path = folder.join(CARD);
        let text = serde_json::to_string_pretty(&card).map_err(std::io::Error::other);
        text.and_then(|text| std::fs::write(&path, text + "\n"))
            .map_err(|source| LearnError::Write { path, source })
    }

    fn write_split(
        &self,
        path: &Path,
        rows: &dyn Rows,
        model: &Classifier,
        device: &Device,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<(), LearnError> {
        let offsets = offsets(rows);
        let mut file =
            Mapped::create(path, &self.tensors(&offsets)).map_err(|source| LearnError::Write {
                path: path.to_owned(),
                source,
            })?;
        if self.form == Form::Hidden {
            file.put("offsets", 0, bytemuck::cast_slice(&offsets));
        }
        let (batches, layout, longest) = batch::by_length(rows, self.tokens, device);
        for chosen in &batches {
            let batch = Laid::out(rows, chosen, layout, self.pad_id, longest).on(device);
            self.write_batch(&mut file, &batch, chosen, &offsets, model)?;
            if on_rows(chosen.len()).is_break() {
                return Err(LearnError::Interrupted);
            }
        }
        file.finish().map_err(|source| LearnError::Write {
            path: path.to_owned(),
            source,
        })
    }

    fn write_batch(
        &self,
        file: &mut Mapped,
        batch: &Batch,
        chosen: &[usize],
        offsets: &[u64],
        model: &Classifier,
    ) -> Result<(), LearnError> {
        let width = self.hidden * size_of::<f32>();
        match self.form {
            Form::Hidden => {
                let hidden = model.encoder.below(self.layers, batch, &self.mode()); // [tokens, hidden]
                let values = read(hidden, "running the encoder")?;
                for (&row, tokens) in chosen.iter().zip(batch.spans.texts()) {
                    let of_row = &values[tokens.start * self.hidden..tokens.end * self.hidden];
                    file.put(
                        "hidden",
                        offsets[row] as usize * width,
                        bytemuck::cast_slice(of_row),
                    );
                }
            }
            Form::Pooled => {
                let hidden = model.hidden(batch, &self.mode()); // [tokens, hidden]
                let pooled = SUMMARIES.map(|(_, summary)| {
                    summarise(hidden.clone(), Some(summary), &batch.spans) // [texts, hidden]
                });
                let values = read(Tensor::cat(pooled.to_vec(), 0), "running the encoder")?; // [3 * texts, hidden]
                let blocks = values.chunks(chosen.len() * self.hidden);
                for ((name, _), block) in SUMMARIES.iter().zip(blocks) {
                    for (&row, vector) in chosen.iter().zip(block.chunks(self.hidden)) {
                        file.put(name, row * width, bytemuck::cast_slice(vector));
                    }
                }
            }
        }
        Ok(())
    }

    /// Name → type, shape and size of the tensors of a split.
    fn tensors(&self, offsets: &[u64]) -> Vec<(&'static str, &'static str, Vec<usize>, usize)> {
        let rows = offsets.len() - 1;
        let floats = |rows: usize| rows * self.hidden * size_of::<f32>();
        match self.form {
            Form::Pooled => SUMMARIES
                .iter()
                .map(|(name, _)| (*name, "F32", vec![rows, self.hidden], floats(rows)))
                .collect(),
            Form::Hidden => {
                let tokens = offsets[rows] as usize;
                vec![
                    (
                        "offsets",
                        "U64",
                        vec![rows + 1],
                        (rows + 1) * size_of::<u64>(),
                    ),
                    ("hidden", "F32", vec![tokens, self.hidden], floats(tokens)),
                ]
            }
        }
    }
}

/// A row without a token is laid out as one of padding.
fn length(rows: &dyn Rows, row: usize) -> usize {
    rows.length(row).max(1)
}

fn offsets(rows: &dyn Rows) -> Vec<u64> {
    let ends = (0..rows.rows()).scan(0, |end, row| {
        *end += length(rows, row) as u64;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

const CARD: &str = "activations.json";

/// A safetensors file that is filled piece by piece.
struct Mapped {
    map: MmapMut,
    /// Tensor → where its bytes begin.
    begins: BTreeMap<&'static str, usize>,
}

impl Mapped {
    fn create(
        path: &Path,
        tensors: &[(&'static str, &'static str, Vec<usize>, usize)],
    ) -> std::io::Result<Mapped> {
        let (mut header, mut end) = (Map::new(), 0);
        for (name, kind, shape, bytes) in tensors {
            let offsets = [end, end + bytes];
            let entry = json!({ "dtype": kind, "shape": shape, "data_offsets": offsets });
            header.insert((*name).to_owned(), entry);
            end += bytes;
        }
        let mut header = Value::Object(header).to_string();
        let padded = header.len().next_multiple_of(size_of::<u64>());
        header.extend(std::iter::repeat_n(' ', padded - header.len()));
        let data = size_of::<u64>() + header.len();
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        file.set_len((data + end) as u64)?;
        // SAFETY: the file lies in a draft, which nobody else writes to.
        let mut map = unsafe { MmapMut::map_mut(&file) }?;
        map[..size_of::<u64>()].copy_from_slice(&(header.len() as u64).to_le_bytes());
        map[size_of::<u64>()..data].copy_from_slice(header.as_bytes());
        let mut begin = data;
        let begins = tensors.iter().map(|(name, .., bytes)| {
            let at = begin;
            begin += bytes;
            (*name, at)
        });
        let begins = begins.collect();
        Ok(Mapped { map, begins })
    }

    fn put(&mut self, tensor: &str, at: usize, bytes: &[u8]) {
        let begin = self.begins[tensor] + at;
        self.map[begin..begin + bytes.len()].copy_from_slice(bytes);
    }

    fn finish(self) -> std::io::Result<()> {
        self.map.flush()
    }
}

/// Stored activations.
#[derive(Debug)]
pub struct Activations {
    card: Card,
    splits: BTreeMap<String, Stored>,
}

/// Those of one split.
#[derive(Debug)]
struct Stored {
    map: Mmap,
    /// Tensor → the bytes of its values.
    tensors: BTreeMap<String, Range<usize>>,
    rows: usize,
}

impl Activations {
    /// Reads what [`Wanted::write`] wrote.
    ///
    /// # Errors
    /// A file that is missing, or is not as it was written.
    pub fn open(folder: &Path) -> Result<Activations, LearnError> {
        let path = folder.join(CARD);
        let bytes = std::fs::read(&path).map_err(|e| damaged(&path, e))?;
        let card: Card = serde_json::from_slice(&bytes).map_err(|e| damaged(&path, e))?;
        let mut splits = BTreeMap::new();
        for (name, &rows) in card.splits.iter().filter(|_| card.kept) {
            let path = folder.join(format!("{name}.safetensors"));
            let stored =
                Stored::open(&path, &card, rows).map_err(|reason| damaged(&path, reason))?;
            splits.insert(name.clone(), stored);
        }
        Ok(Activations { card, splits })
    }

    /// Whether they were stored.
    pub fn kept(&self) -> bool {
        self.card.kept
    }

    /// How many bytes they take, or would.
    pub fn bytes(&self) -> u64 {
        self.card.bytes
    }

    /// The rows of a split with what is known of each, for a head that makes one vector of a text as `summary` says; `None` when
    /// nothing is stored of the split, or not for such rows or such a head.
    pub fn of<'a>(
        &'a self,
        split: &str,
        rows: &'a dyn Rows,
        summary: Option<Summary>,
    ) -> Option<Activated<'a>> {
        let stored = self.splits.get(split)?;
        let tensor = match (self.card.form, summary) {
            (Form::Hidden, _) => "hidden",
            (Form::Pooled, Some(summary)) => SUMMARIES.iter().find(|(_, one)| *one == summary)?.0,
            (Form::Pooled, None) => return None,
        };
        let fits = stored.rows == rows.rows()
            && (self.card.form == Form::Pooled || stored.offsets() == offsets(rows));
        fits.then_some(Activated {
            rows,
            stored,
            values: stored.floats(tensor),
            card: &self.card,
        })
    }
}

impl Stored {
    fn open(path: &PathBuf, card: &Card, rows: usize) -> Result<Stored, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        // SAFETY: objects of the store are never changed.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| e.to_string())?;
        let mut tensors = BTreeMap::new();
        let of_file = safetensors::SafeTensors::deserialize(&map).map_err(|e| e.to_string())?;
        let begin = map.as_ptr() as usize;
        for (name, view) in of_file.iter() {
            let start = view.data().as_ptr() as usize - begin;
            tensors.insert(name.to_owned(), start..start + view.data().len());
        }
        let shape = |name: &str| of_file.tensor(name).map(|view| view.shape().to_vec());
        let sound = match card.form {
            Form::Pooled => SUMMARIES
                .iter()
                .all(|(name, _)| shape(name).ok() == Some(vec![rows, card.hidden])),
            Form::Hidden => {
                let tokens = shape("hidden")
                    .ok()
                    .filter(|shape| shape.get(1) == Some(&card.hidden));
                tokens.is_some() && shape("offsets").ok() == Some(vec![rows + 1])
            }
        };
        let whole = tensors
            .values()
            .all(|range| bytemuck::try_cast_slice::<u8, f32>(&map[range.clone()]).is_ok());
        match sound && whole {
            true => Ok(Stored { map, tensors, rows }),
            false => Err("its tensors are not those of activations.json".to_owned()),
        }
    }

    fn floats(&self, name: &str) -> &[f32] {
        self.slice(name)
    }

    fn offsets(&self) -> &[u64] {
        self.slice("offsets")
    }

    fn slice<T: bytemuck::Pod>(&self, name: &str) -> &[T] {
        let range = self.tensors.get(name).cloned().unwrap_or_default();
        bytemuck::try_cast_slice(&self.map[range]).unwrap_or_default()
    }
}

fn damaged(path: &Path, reason: impl ToString) -> LearnError {
    LearnError::DamagedActivations {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Rows with what is known of each.
pub struct Activated<'a> {
    rows: &'a dyn Rows,
    stored: &'a Stored,
    values: &'a [f32],
    card: &'a Card,
}

impl Rows for Activated<'_> {
    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn ids(&self, row: usize) -> &[u32] {
        self.rows.ids(row)
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        self.rows.type_ids(row)
    }

    fn label(&self, row: usize) -> Option<u32> {
        self.rows.label(row)
    }

    fn id(&self, row: usize) -> u64 {
        self.rows.id(row)
    }

    fn labels(&self, row: usize) -> Option<&[u32]> {
        self.rows.labels(row)
    }

    fn targets(&self, row: usize) -> Option<&[f64]> {
        self.rows.targets(row)
    }

    fn words(&self, row: usize) -> Option<&[u32]> {
        self.rows.words(row)
    }

    fn tags(&self, row: usize) -> Option<&[u32]> {
        self.rows.tags(row)
    }

    fn characters(&self, row: usize) -> Option<(&[u32], &[u32])> {
        self.rows.characters(row)
    }

    fn answer(&self, row: usize) -> Option<(u32, u32)> {
        self.rows.answer(row)
    }

    fn example(&self, row: usize) -> usize {
        self.rows.example(row)
    }

    fn examples(&self) -> usize {
        self.rows.examples()
    }

    fn length(&self, row: usize) -> usize {
        self.rows.length(row)
    }

    fn known(&self, row: usize) -> Option<Known<'_>> {
        let hidden = self.card.hidden;
        let values =
            |range: Range<usize>| self.values.get(range.start * hidden..range.end * hidden);
        match self.card.form {
            Form::Pooled => values(row..row + 1).map(Known::Pooled),
            Form::Hidden => {
                let offsets = self.stored.offsets();
                let (start, end) = (*offsets.get(row)? as usize, *offsets.get(row + 1)? as usize);
                let values = values(start..end)?;
                Some(Known::Hidden {
                    layers: self.card.layers,
                    values,
                })
            }
        }
    }
}

/// What is known of the rows of a batch, laid out as they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Given {
    #[default]
    Nothing,
    /// `[tokens, hidden]` after so many layers, zero at padding.
    Hidden { layers: usize, values: Vec<f32> },
    /// `[texts, hidden]`.
    Pooled(Vec<f32>),
}

impl Given {
    /// Of the rows `chosen`, whose tokens lie as `spans` say: something only where it is known of each.
    pub(super) fn of(rows: &dyn Rows, chosen: &[usize], spans: &Spans) -> Given {
        match chosen.first().and_then(|&row| rows.known(row)) {
            None => Given::Nothing,
            Some(Known::Pooled(first)) => {
                let mut all = Vec::with_capacity(first.len() * chosen.len());
                for &row in chosen {
                    let Some(Known::Pooled(vector)) = rows.known(row) else {
                        return Given::Nothing;
                    };
                    all.extend_from_slice(vector);
                }
                Given::Pooled(all)
            }
            Some(Known::Hidden { layers, values }) => {
                let tokens = spans
                    .texts()
                    .first()
                    .map_or(1, ExactSizeIterator::len)
                    .max(1);
                let width = values.len() / tokens;
                let mut all = vec![0.0; spans.rows() * width];
                for (&row, text) in chosen.iter().zip(spans.texts()) {
                    let Some(Known::Hidden { values, .. }) = rows.known(row) else {
                        return Given::Nothing;
                    };
                    all[text.start * width..text.end * width].copy_from_slice(values);
                }
                Given::Hidden {
                    layers,
                    values: all,
                }
            }
        }
    }
}
