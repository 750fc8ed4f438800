//! Reading a `config.json`, and refusing values that no encoder can have, so that nothing below has to expect them.

use std::ops::RangeInclusive;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::ModelError;

/// Far above any encoder, and low enough that no product of two sizes overflows.
pub(super) const MOST: usize = 1 << 24;

/// More layers than any encoder has.
pub(super) const MOST_LAYERS: usize = 1024;

/// The default of most dropouts.
pub(super) fn tenth() -> f64 {
    0.1
}

/// The default of the standard deviation of new weights.
pub(super) fn fiftieth() -> f64 {
    0.02
}

pub(super) fn yes() -> bool {
    true
}

/// The bytes of the `config.json` at `path`.
///
/// # Errors
/// No JSON, a missing field, or one of another type.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, ModelError> {
    serde_json::from_slice(bytes).map_err(|e| ModelError::Config {
        path: path.to_owned(),
        reason: e.to_string(),
    })
}

pub(super) fn wrong(
    origin: &str,
    field: &'static str,
    found: impl ToString,
    wanted: impl Into<String>,
) -> ModelError {
    ModelError::ConfigValue {
        origin: origin.to_owned(),
        field,
        found: found.to_string(),
        wanted: wanted.into(),
    }
}

/// # Errors
/// The first size that is not in its range.
pub(super) fn sizes(
    origin: &str,
    sizes: impl IntoIterator<Item = (&'static str, usize, RangeInclusive<usize>)>,
) -> Result<(), ModelError> {
    for (field, found, range) in sizes {
        if !range.contains(&found) {
            let (least, most) = range.into_inner();
            let wanted = format!("a whole number from {least} to {most}");
            return Err(wrong(origin, field, found, wanted));
        }
    }
    Ok(())
}

/// # Errors
/// Heads that do not divide the hidden size.
pub(super) fn heads(origin: &str, hidden: usize, heads: usize) -> Result<(), ModelError> {
    if hidden.is_multiple_of(heads) {
        return Ok(());
    }
    let wanted = format!("a number that divides the hidden size, {hidden}");
    Err(wrong(origin, "num_attention_heads", heads, wanted))
}

/// # Errors
/// The first that is not at least 0 and below 1.
pub(super) fn probabilities(
    origin: &str,
    probabilities: impl IntoIterator<Item = (&'static str, f64)>,
) -> Result<(), ModelError> {
    for (field, found) in probabilities {
        if !(0.0..1.0).contains(&found) {
            let wanted = "a probability of at least 0 and below 1";
            return Err(wrong(origin, field, found, wanted));
        }
    }
    Ok(())
}

/// # Errors
/// The first that is no finite number of at least 0.
pub(super) fn not_negative(
    origin: &str,
    numbers: impl IntoIterator<Item = (&'static str, f64)>,
) -> Result<(), ModelError> {
    for (field, found) in numbers {
        if !(found.is_finite() && found >= 0.0) {
            return Err(wrong(origin, field, found, "a number of at least 0"));
        }
    }
    Ok(())
}
