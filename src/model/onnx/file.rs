//! A finished graph and its weights as a file, written tensor by tensor.
//!
//! A protocol buffer is a run of fields, each of which says how long it is. So lengths are counted first, from shapes alone, and
//! then no more than one tensor is in memory, twice. Where the weights are more than a reader can be trusted with in one file
//! (protocol buffers end at 2 GiB), they lie in a second one beside it, `NAME_data`, at places that can be mapped.
//!
//! Equal graphs and weights give equal bytes. Deliberately absent: what the graph computes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::f16;
use prost::Message;
use prost::bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::graph::{Built, OPSET, Weight};
use super::proto::{DataType, Entry, GRAPH, INITIALIZER, Model, OperatorSet, RAW_DATA, Tensor};
use crate::model::family::Family;
use crate::model::weights::{Misfit, Misfits, by_canonical_name, misfit, read};
use crate::model::{Checkpoint, ModelError, StoredTensor};

/// That of the operators, so that old readers take it.
const IR_VERSION: i64 = 8;

/// The most that weights may have in the file of the graph: those of all base models fit.
pub(super) const MOST_INLINE: u64 = 1536 << 20;

/// What is smaller stays in the file of the graph in any case. onnx's own tools draw the line here too.
const LEAST_OUTSIDE: u64 = 1024;

/// Weights outside begin at multiples of this, the size of a page.
const ALIGNMENT: u64 = 4096;

/// Values that are put into bytes at once.
const AT_ONCE: usize = 16 << 10;

/// A weight, where its values come from, and where they go.
struct Placed<'a> {
    weight: &'a Weight,
    from: &'a StoredTensor,
    bytes: u64,
    /// Where it begins in the second file, if it is there.
    outside: Option<u64>,
    /// All of the message but the values.
    head: Vec<u8>,
}

impl Placed<'_> {
    /// The values that are in the message.
    fn inside(&self) -> u64 {
        match self.outside {
            Some(_) => 0,
            None => (key_len(RAW_DATA) + encoded_len_varint(self.bytes)) as u64 + self.bytes,
        }
    }

    /// The length of the message.
    fn length(&self) -> u64 {
        self.head.len() as u64 + self.inside()
    }
}

/// Writes `built`, with the weights that `checkpoint` has for it, to `path`; weights of more than `most_inline` bytes
/// beside it.
///
/// # Errors
/// Every tensor that the checkpoint lacks or has in another shape, values that are not finite, and files that cannot be read
/// or written.
pub(super) fn write(
    built: &Built,
    metadata: Vec<Entry>,
    (checkpoint, family): (&Checkpoint, Family),
    path: &Path,
    most_inline: u64,
) -> Result<(), ModelError> {
    let outside = path.with_file_name(format!("{}_data", file_name(path)));
    let (placed, begins) = place(built, (checkpoint, family), &outside, most_inline)?;
    let mut misfits = Vec::new();
    let mut file = Output::create(path)?;
    file.all(&begins)?;
    for placed in &placed {
        let mut header = Vec::new();
        encode_key(INITIALIZER, WireType::LengthDelimited, &mut header);
        encode_varint(placed.length(), &mut header);
        header.put_slice(&placed.head);
        if placed.outside.is_none() {
            encode_key(RAW_DATA, WireType::LengthDelimited, &mut header);
            encode_varint(placed.bytes, &mut header);
        }
        file.all(&header)?;
        if placed.outside.is_none() {
            file.values(
                &values(checkpoint, placed, &mut misfits)?,
                placed.weight.data_type,
            )?;
        }
    }
    file.all(&built.graph.encode_to_vec())?;
    file.all(&model(metadata).encode_to_vec())?;
    file.end()?;
    if placed.iter().any(|placed| placed.outside.is_some()) {
        let mut file = Output::create(&outside)?;
        let mut written = 0;
        for placed in &placed {
            let Some(start) = placed.outside else {
                continue;
            };
            file.all(&vec![0; (start - written) as usize])?;
            file.values(
                &values(checkpoint, placed, &mut misfits)?,
                placed.weight.data_type,
            )?;
            written = start + placed.bytes;
        }
        file.end()?;
    }
    fitting(checkpoint, misfits)
}

fn model(metadata_props: Vec<Entry>) -> Model {
    Model {
        ir_version: Some(IR_VERSION),
        producer_name: "refit".to_owned(),
        opset_import: vec![OperatorSet {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
        metadata_props,
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

pub(super) fn fitting(checkpoint: &Checkpoint, misfits: Vec<Misfit>) -> Result<(), ModelError> {
    match misfits.is_empty() {
        true => Ok(()),
        false => Err(ModelError::WeightsDoNotFit {
            path: checkpoint.path().to_owned(),
            misfits: Misfits(misfits),
        }),
    }
}

/// Where each weight comes from and goes, and the bytes before the first of them: the field that holds the graph, and how long
/// it is.
fn place<'a>(
    built: &'a Built,
    (checkpoint, family): (&'a Checkpoint, Family),
    outside: &Path,
    most_inline: u64,
) -> Result<(Vec<Placed<'a>>, Vec<u8>), ModelError> {
    let mut misfits = Vec::new();
    let found = by_canonical_name(family, checkpoint, &mut misfits);
    let mut chosen = Vec::new();
    for weight in &built.weights {
        match found.get(&weight.name) {
            None => misfits.push(Misfit::Missing {
                name: weight.name.clone(),
                wanted: weight.shape.clone(),
            }),
            Some(stored) => match misfit(stored, &weight.shape) {
                Some(misfit) => misfits.push(misfit),
                None => chosen.push((weight, *stored)),
            },
        }
    }
    fitting(checkpoint, misfits)?;
    let all: u64 = built.weights.iter().map(Weight::bytes).sum();
    let mut end = 0_u64;
    let placed: Vec<Placed> = chosen
        .into_iter()
        .map(|(weight, from)| {
            let bytes = weight.bytes();
            let place = (all > most_inline && bytes >= LEAST_OUTSIDE).then(|| {
                let start = end.next_multiple_of(ALIGNMENT);
                end = start + bytes;
                start
            });
            let head = head(weight, place.map(|start| (outside, start, bytes)));
            Placed {
                weight,
                from,
                bytes,
                outside: place,
                head: head.encode_to_vec(),
            }
        })
        .collect();
    let tensors = placed.iter().map(|placed| {
        let length = placed.length();
        (key_len(INITIALIZER) + encoded_len_varint(length)) as u64 + length
    });
    let length = tensors.sum::<u64>() + built.graph.encoded_len() as u64;
    let mut begins = Vec::new();
    encode_key(GRAPH, WireType::LengthDelimited, &mut begins);
    encode_varint(length, &mut begins);
    Ok((placed, begins))
}

/// A weight's message without its values, which are in another file where `outside` says so.
fn head(weight: &Weight, outside: Option<(&Path, u64, u64)>) -> Tensor {
    let entry = |key: &str, value: String| Entry {
        key: key.to_owned(),
        value,
    };
    Tensor {
        dims: weight.dims(),
        data_type: Some(weight.data_type as i32),
        name: weight.name.clone(),
        raw_data: None,
        external_data: outside
            .map(|(path, start, bytes)| {
                vec![
                    entry("location", file_name(path)),
                    entry("offset", start.to_string()),
                    entry("length", bytes.to_string()),
                ]
            })
            .unwrap_or_default(),
        data_location: outside.map(|_| 1),
    }
}

/// A weight's values as they lie in the graph.
fn values(
    checkpoint: &Checkpoint,
    placed: &Placed,
    misfits: &mut Vec<Misfit>,
) -> Result<Vec<f32>, ModelError> {
    let values = read(checkpoint, placed.from, misfits)?;
    Ok(match placed.weight.shape[..] {
        [rows, columns] if placed.weight.transposed => {
            crate::model::parameters::transpose(&values, rows, columns)
        }
        _ => values,
    })
}

/// A file that is written from its beginning to its end.
struct Output<'a> {
    path: &'a Path,
    file: BufWriter<File>,
}

impl Output<'_> {
    fn create(path: &Path) -> Result<Output<'_>, ModelError> {
        match File::create(path) {
            Ok(file) => Ok(Output {
                path,
                file: BufWriter::new(file),
            }),
            Err(source) => Err(ModelError::Write {
                path: path.to_owned(),
                source,
            }),
        }
    }

    fn all(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| ModelError::Write {
            path: self.path.to_owned(),
            source,
        })
    }

    fn values(&mut self, values: &[f32], data_type: DataType) -> Result<(), ModelError> {
        let most = f16::MAX.to_f32();
        for some in values.chunks(AT_ONCE) {
            let some = some.iter();
            let bytes: Vec<u8> = match data_type {
                DataType::Float16 => some
                    .flat_map(|&value| f16::from_f32(value.clamp(-most, most)).to_le_bytes())
                    .collect(),
                _ => some.flat_map(|value| value.to_le_bytes()).collect(),
            };
            self.all(&bytes)?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), ModelError> {
        self.file.flush().map_err(|source| ModelError::Write {
            path: self.path.to_owned(),
            source,
        })
    }
}
