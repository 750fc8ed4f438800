//! What tokenizers takes on trust, checked: it reads much of a `tokenizer.json` as it comes, and panics, or worse, when it is
//! used.
//!
//! Deliberately absent: a bound on the time of a regular expression. The library behind it gives up on a match after ten
//! million steps; tokenizers makes a panic of that, and [`caught`] an error.

use std::panic::AssertUnwindSafe;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::sentencepiece::{LONGEST_PIECE, check_charsmap};

/// Does something with tokenizers, and makes an error of its panics.
pub(super) fn caught<T>(
    work: impl FnOnce() -> Result<T, tokenizers::Error>,
) -> Result<T, tokenizers::Error> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!(
            "tokenizers gave up: {}",
            said.unwrap_or("it did not say why")
        )
        .into())
    })
}

/// The content of a `tokenizer.json`, as far as tokenizers may be trusted with it.
///
/// # Errors
/// What is wrong with it, to be told after its path.
pub(super) fn parsed(json: &[u8]) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    if !value.is_object() {
        return Err("it is not a JSON object".to_owned());
    }
    parts(&value)?;
    Ok(value)
}

/// The parts of a `tokenizer.json` that would be followed out of memory, or deeper than a stack is.
///
/// # Errors
/// As [`parsed`].
pub(super) fn parts(value: &Value) -> Result<(), String> {
    normalizer(&value["normalizer"])?;
    let model = &value["model"];
    for piece in model["vocab"].as_array().into_iter().flatten() {
        let length = piece[0].as_str().map_or(0, str::len);
        if length > LONGEST_PIECE {
            return Err(format!(
                "its vocabulary has a piece of {length} bytes, more than {LONGEST_PIECE}"
            ));
        }
    }
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or("");
    let merges = model["merges"].as_array().into_iter().flatten();
    for merge in merges.filter(|_| !prefix.is_empty()) {
        let second = match merge {
            Value::String(pair) => pair.split_once(' ').map(|(_, second)| second),
            pair => pair[1].as_str(),
        };
        if second.is_some_and(|second| !second.starts_with(prefix)) {
            return Err(format!(
                "its merge {merge} does not go on with {prefix:?}, its continuing_subword_prefix"
            ));
        }
    }
    Ok(())
}

fn normalizer(value: &Value) -> Result<(), String> {
    let mut parts = value["normalizers"].as_array().into_iter().flatten();
    parts.try_for_each(normalizer)?;
    let Some(charsmap) = value["precompiled_charsmap"].as_str() else {
        return Ok(());
    };
    match STANDARD.decode(charsmap) {
        Ok(charsmap) => check_charsmap(&charsmap),
        Err(error) => Err(format!("its precompiled_charsmap is not base64: {error}")),
    }
}

/// The largest vocabulary that any encoder here can have embeddings for.
const MOST_IDS: u32 = 1 << 24;

/// Each id belongs to one token, and none is so large that a table up to it would not fit. Returns one more than the
/// largest.
pub(super) fn ids(words: &tokenizers::Tokenizer) -> Result<usize, String> {
    let size = words.get_vocab_size(true);
    // As many ids as tokens leave none for two.
    if size <= MOST_IDS as usize && (0..size as u32).all(|id| words.id_to_token(id).is_some()) {
        return Ok(size);
    }
    let mut ids: Vec<u32> = words.get_vocab(true).into_values().collect();
    ids.sort_unstable();
    if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two tokens have the id {}", twice[0]));
    }
    match ids.last() {
        Some(&largest) if largest >= MOST_IDS => Err(format!(
            "its largest id is {largest}, and an encoder has at most {MOST_IDS} embeddings"
        )),
        largest => Ok(largest.map_or(0, |&largest| largest as usize + 1)),
    }
}

/// tokenizers takes a template from JSON unchecked and panics when it is used.
pub(super) fn template(processor: &Value) -> Result<(), String> {
    let parts = processor
        .get("processors")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    parts.iter().try_for_each(template)?;
    if parts
        .iter()
        .filter(|part| part.get("single").is_some())
        .count()
        > 1
    {
        return Err("its post_processor applies more than one template".to_owned());
    }
    for (name, texts) in [("single", &["A"][..]), ("pair", &["A", "B"])] {
        let Some(pieces) = processor.get(name).and_then(Value::as_array) else {
            continue;
        };
        let mut used = Vec::new();
        for piece in pieces {
            if let Some(id) = piece.pointer("/SpecialToken/id").and_then(Value::as_str)
                && processor
                    .get("special_tokens")
                    .is_none_or(|tokens| tokens.get(id).is_none())
            {
                return Err(format!(
                    "its post_processor uses {id:?}, which its special_tokens do not define"
                ));
            }
            used.extend(piece.pointer("/Sequence/id").and_then(Value::as_str));
            // Of special tokens too, but of these what comes out is checked.
            if let Some(type_id) = piece.pointer("/Sequence/type_id").and_then(Value::as_u64)
                && type_id > u64::from(u8::MAX)
            {
                return Err(format!(
                    "its post_processor gives the type id {type_id}, which is above 255"
                ));
            }
        }
        used.sort_unstable();
        if used != texts {
            return Err(format!(
                "its post_processor's {name} template uses the texts {}, not {}",
                used.join(", "),
                texts.join(" and ")
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
