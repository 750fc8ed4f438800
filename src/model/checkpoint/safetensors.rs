//! The header of a safetensors file: eight bytes of length, then JSON of names, types, shapes and offsets.
//!
//! The crate checks that the tensors lie one after another without gap or overlap and that each has as many bytes as type
//! and shape say; here it is checked that they end where the file ends. Format: <https://github.com/huggingface/safetensors>.
//!
//! Deliberately absent: the values.

use std::fs::File;

use ::safetensors::tensor::Metadata;
use serde_json::error::Category;

use super::{Flaw, MOST_HEADER_BYTES, Place, StoredTensor, broken, bytes_at};

const LENGTH_BYTES: u64 = 8;

/// The tensors of a file of `bytes` bytes.
pub(super) fn list(file: &mut File, bytes: u64) -> Result<Vec<StoredTensor>, Flaw> {
    if bytes < LENGTH_BYTES {
        return broken("header too small");
    }
    let length = bytes_at(file, 0, LENGTH_BYTES as usize)?;
    let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
    if length > MOST_HEADER_BYTES {
        return broken("header too large");
    }
    let data = LENGTH_BYTES + length;
    if data > bytes {
        return broken("invalid header length");
    }
    let header = bytes_at(file, LENGTH_BYTES, length as usize)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|e| {
        Flaw::Broken(match e.classify() {
            Category::Data => format!("invalid header: {e}"),
            _ => format!("invalid JSON in header: {e}"),
        })
    })?;
    if (header.data_len() as u64).checked_add(data) != Some(bytes) {
        return broken("incomplete metadata, file not fully covered");
    }
    let tensors = header.tensors().into_iter();
    Ok(tensors
        .map(|(name, info)| StoredTensor {
            name,
            dtype: info.dtype,
            shape: info.shape.clone(),
            file: 0,
            place: Place {
                start: data + info.data_offsets.0 as u64,
                strides: None,
            },
        })
        .collect())
}
