//! The tensors of a `pytorch_model.bin`, in either form that `torch.save` has written.
//!
//! - Since torch 1.6 a zip file: `NAME/data.pkl` is the pickle of a dict of tensors, `NAME/data/KEY` the bytes of the storage
//!   that it calls KEY.
//! - Before, a sequence: pickles of a magic number, a version, the writer's number sizes, and the dict; a pickle of the
//!   storages' keys; then, in that order, each storage's number of values and its bytes.
//!
//! Several tensors may lie in one storage, and each anywhere in it: tied weights, views, transposed matrices.
//! Reference: `torch/serialization.py`.
//!
//! Promise: a listed tensor lies within its storage, and its storage within the file. Deliberately absent: the tar files of
//! torch before 0.2, quantised and sparse tensors, files written on big-endian machines.

use std::collections::BTreeMap;
use std::fs::File;

use super::archive::{self, Member};
use super::pickle::{self, Pickled, Storage, Tensor, Value};
use super::{Flaw, MOST_HEADER_BYTES, Place, StoredTensor, broken, bytes_at, furthest, shown};

/// 0x1950a86a20f9469cfc6c, which a sequence of pickles begins with.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The version of the sequence's form: torch never had another.
const SEQUENCE_VERSION: i64 = 1001;

/// The tensors of a file of `bytes` bytes.
pub(super) fn list(file: &mut File, bytes: u64) -> Result<Vec<StoredTensor>, Flaw> {
    if bytes == 0 {
        return broken("it is empty");
    }
    let start = bytes_at(file, 0, bytes.min(4) as usize)?;
    match archive::LOCAL.starts_with(&start) {
        true => list_archive(file, bytes),
        false => list_sequence(file, bytes),
    }
}

fn list_archive(file: &mut File, bytes: u64) -> Result<Vec<StoredTensor>, Flaw> {
    let members = archive::members(file, bytes)?;
    let roots = members
        .iter()
        .filter_map(|(name, &member)| match name.split_once('/') {
            Some((root, "data.pkl")) => Some((root, member)),
            _ => None,
        });
    let [(root, member)] = roots.collect::<Vec<_>>()[..] else {
        return broken("it has no `data.pkl`, or several");
    };
    if let Some(order) = members.get(&format!("{root}/byteorder"))
        && !read_member(file, *order)?.starts_with(b"little")
    {
        return broken("it was written on a big-endian machine");
    }
    let pickle = read_member(file, member)?;
    let pickled = pickle::run(&pickle)?;
    let place = |storage: &Storage| {
        let key = shown(storage.key);
        let Some(member) = members.get(&format!("{root}/data/{}", storage.key)) else {
            return broken(format!("its storage {key} is missing"));
        };
        match storage_bytes(storage) == Some(member.size) {
            true => Ok(member.start),
            false => broken(format!(
                "its storage {key} has {} bytes, for {} values of type {}",
                member.size, storage.count, storage.dtype
            )),
        }
    };
    let starts = pickled.storages.iter().map(place);
    let starts = starts.collect::<Result<Vec<u64>, _>>()?;
    named_tensors(&pickled, &starts)
}

fn read_member(file: &mut File, member: Member) -> Result<Vec<u8>, Flaw> {
    match member.size <= MOST_HEADER_BYTES {
        true => Ok(bytes_at(file, member.start, member.size as usize)?),
        false => broken("its pickle is too large"),
    }
}

fn list_sequence(file: &mut File, bytes: u64) -> Result<Vec<StoredTensor>, Flaw> {
    let head = bytes_at(file, 0, bytes.min(MOST_HEADER_BYTES) as usize)?;
    let mut read = 0;
    let mut next = || -> Result<Pickled, Flaw> {
        let pickled = pickle::run(head.get(read..).unwrap_or_default())?;
        read += pickled.length;
        Ok(pickled)
    };
    match next() {
        Ok(first) if first.value == Value::Big(&MAGIC) => {}
        // Another pickle than torch's; not just a text whose first letter happens to be an operation.
        Err(asks @ Flaw::Asks(_)) if head.first() == Some(&pickle::PROTOCOL) => return Err(asks),
        _ => return broken("it is neither a zip file nor what torch wrote before 1.6"),
    }
    if next()?.value != Value::Int(SEQUENCE_VERSION) {
        return broken("it is of another version than torch ever wrote");
    }
    let system = next()?;
    let little = (Value::Text("little_endian"), Value::Bool(true));
    if !system
        .entries(system.value)
        .is_some_and(|entries| entries.contains(&little))
    {
        return broken("it was written on a big-endian machine");
    }
    let pickled = next()?;
    let keys = next()?;

    let storages: BTreeMap<&str, &Storage> = pickled
        .storages
        .iter()
        .map(|storage| (storage.key, storage))
        .collect();
    let mut place = read as u64;
    let mut starts = BTreeMap::new();
    for key in keys.elements(keys.value).unwrap_or_default() {
        let storage = match key {
            Value::Text(key) => storages.get(key),
            _ => None,
        };
        let Some(storage) = storage else {
            return broken("it has a storage that no tensor lies in");
        };
        let cut_off = || Flaw::Broken(format!("it is cut off in storage {}", shown(storage.key)));
        let start = place.checked_add(8).filter(|&start| start <= bytes);
        let start = start.ok_or_else(cut_off)?;
        let count = bytes_at(file, place, 8)?;
        if count != storage.count.to_le_bytes() {
            return broken(format!(
                "its storage {} has another number of values than its tensors say",
                shown(storage.key)
            ));
        }
        let end = storage_bytes(storage).and_then(|size| start.checked_add(size));
        place = end.filter(|&end| end <= bytes).ok_or_else(cut_off)?;
        starts.insert(storage.key, start);
    }
    let start = |storage: &Storage| match starts.get(storage.key) {
        Some(&start) => Ok(start),
        None => broken(format!("its storage {} is missing", shown(storage.key))),
    };
    let starts = pickled.storages.iter().map(start);
    let starts = starts.collect::<Result<Vec<u64>, _>>()?;
    named_tensors(&pickled, &starts)
}

fn storage_bytes(storage: &Storage) -> Option<u64> {
    storage
        .count
        .checked_mul(storage.dtype.bitsize() as u64 / 8)
}

/// The tensors of the dict that was pickled; `starts` has where each storage begins. What else the dict holds is no weight.
fn named_tensors(pickled: &Pickled, starts: &[u64]) -> Result<Vec<StoredTensor>, Flaw> {
    let Some(entries) = pickled.entries(pickled.value) else {
        return broken("it is no dict of tensors");
    };
    // As in Python, of entries with one key the last one counts.
    let mut named: BTreeMap<&str, StoredTensor> = BTreeMap::new();
    for entry in entries {
        let (Value::Text(name), Value::Tensor(tensor)) = *entry else {
            continue;
        };
        let found = pickled.tensors.get(tensor).and_then(|tensor| {
            let storage = pickled.storages.get(tensor.storage)?;
            let start = starts.get(tensor.storage)?;
            placed(name, tensor, storage, *start)
        });
        let Some(found) = found else {
            return broken(format!(
                "its tensor {} does not lie within its storage",
                shown(name)
            ));
        };
        named.insert(name, found);
    }
    match named.is_empty() {
        true => broken("it is no dict of tensors"),
        false => Ok(named.into_values().collect()),
    }
}

/// The tensor, if every value of it lies in its storage, which begins at `start`, and the storage has as many values.
fn placed(name: &str, tensor: &Tensor, storage: &Storage, start: u64) -> Option<StoredTensor> {
    let sizes = |numbers: &[i64]| -> Option<Vec<usize>> {
        numbers
            .iter()
            .map(|&number| usize::try_from(number).ok())
            .collect()
    };
    let (shape, mut strides) = (sizes(&tensor.shape)?, sizes(&tensor.strides)?);
    if shape.len() != strides.len() {
        return None;
    }
    let offset = u64::try_from(tensor.offset).ok()?;
    let count = shape
        .iter()
        .try_fold(1usize, |count, &size| count.checked_mul(size))?;
    if count > 0 {
        for (stride, _) in strides
            .iter_mut()
            .zip(&shape)
            .filter(|(_, size)| **size == 1)
        {
            *stride = 0;
        }
        let last = offset.checked_add(furthest(&shape, &strides)? as u64)?;
        // A tensor that repeats its storage could be larger than the file.
        if last >= storage.count || count as u64 > storage.count {
            return None;
        }
    } else if offset > storage.count {
        return None;
    }
    let size = storage.dtype.bitsize() as u64 / 8;
    let by_row = count == 0 || strides == row_strides(&shape);
    Some(StoredTensor {
        name: name.to_owned(),
        dtype: storage.dtype,
        shape,
        file: 0,
        place: Place {
            start: start.checked_add(offset.checked_mul(size)?)?,
            strides: (!by_row).then_some(strides),
        },
    })
}

/// The strides of a tensor that lies row by row, 0 where there is but one value. The product of `shape` was checked.
fn row_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut below = 1;
    for (stride, &size) in strides.iter_mut().zip(shape).rev() {
        if size != 1 {
            *stride = below;
        }
        below *= size;
    }
    strides
}
