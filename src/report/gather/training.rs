//! How a training went: its log, its length, its speed, its size.
//!
//! Deliberately absent: scores of the test split, which are an evaluation's.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::evaluation::PageTraining;
use super::{Facts, ReportError, StepFacts, damaged};
use crate::artifact::Unreadable;
use crate::text::tokens::TokensCard;

/// How many steps of the log are shown at most.
const STEPS: usize = 1_000;

/// None where the model has no log: it was made by an earlier program.
pub(super) fn of(
    facts: &Facts,
    step: &StepFacts,
    folder: &Path,
) -> Result<Option<PageTraining>, ReportError> {
    let path = folder.join("metrics.jsonl");
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(|e| Unreadable::new(&path, e))?;
    let lines = text.lines().map(serde_json::from_str::<Map<String, Value>>);
    let lines = lines
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| damaged(&path, e))?;
    let number = |line: &Map<String, Value>, name: &str| line.get(name).and_then(Value::as_u64);
    let last = |name: &str| lines.iter().filter_map(|line| number(line, name)).max();
    let (steps, epochs) = (
        last("step").unwrap_or_default(),
        last("epoch").unwrap_or_default(),
    );
    let rows_per_second = rows(facts, step, steps, epochs).zip(step.seconds);
    Ok(Some(PageTraining {
        stage: step.stage.clone(),
        log: thinned(lines),
        seconds: step.seconds,
        rows_per_second: rows_per_second
            .filter(|(_, seconds)| *seconds > 0.0)
            .map(|(rows, seconds)| rows / seconds),
        steps,
        parameters: parameters(&folder.join("model.safetensors")),
    }))
}

/// Validations are all kept, and of steps every n-th and the last.
fn thinned(lines: Vec<Map<String, Value>>) -> Vec<Value> {
    let is_step = |line: &Map<String, Value>| !line.contains_key("validation");
    let steps = lines.iter().filter(|line| is_step(line)).count();
    let (every, mut met) = (steps.div_ceil(STEPS - 1).max(1), 0);
    let kept = lines.into_iter().filter(|line| {
        if !is_step(line) {
            return true;
        }
        met += 1;
        (met - 1) % every == 0 || met == steps
    });
    kept.map(Value::Object).collect()
}

/// How many rows went through the model in the time that the training took, which is that since it was resumed.
fn rows(facts: &Facts, step: &StepFacts, steps: u64, epochs: u64) -> Option<f64> {
    let size = step.settings.get("batch")?.get("size")?.as_u64()?;
    let tokens = facts.input(step, "input")?.artifact.as_ref()?;
    let card = TokensCard::read(tokens).ok()?;
    let rows = card.splits.get("train")?.rows as u64;
    let all = steps.saturating_mul(size).min(epochs.saturating_mul(rows));
    Some(all as f64 * share_since(step.resumed_from, steps))
}

/// The share of the steps that came after the one from which the training went on.
fn share_since(resumed_from: Option<u64>, steps: u64) -> f64 {
    let before = resumed_from.unwrap_or_default().min(steps);
    (steps - before) as f64 / steps.max(1) as f64
}

/// The numbers in a file of tensors, from its header alone.
fn parameters(path: &Path) -> Option<u64> {
    use std::io::Read;
    /// safetensors' own limit.
    const LONGEST_HEADER: u64 = 100_000_000;
    let mut file = std::fs::File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = Some(u64::from_le_bytes(length)).filter(|length| *length <= LONGEST_HEADER)?;
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).ok()?;
    let tensors: Map<String, Value> = serde_json::from_slice(&header).ok()?;
    let size = |tensor: &Value| {
        let shape = tensor.get("shape")?.as_array()?;
        shape
            .iter()
            .map(Value::as_u64)
            .try_fold(1_u64, |all, one| all.checked_mul(one?))
    };
    let named = tensors.iter().filter(|(name, _)| *name != "__metadata__");
    named.map(|(_, tensor)| size(tensor)).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_log_keeps_its_validations_its_first_and_its_last_step() {
        let line = |step: u64| json!({ "step": step, "loss": 0.5 });
        let mut lines: Vec<Value> = (1..=2500).map(line).collect();
        lines.insert(1201, json!({ "step": 1201, "validation": { "loss": 0.4 } }));
        let lines = lines
            .into_iter()
            .map(|line| line.as_object().unwrap().clone());
        let kept = thinned(lines.collect());
        assert!(kept.len() <= STEPS + 1, "{}", kept.len());
        assert_eq!(
            (&kept[0]["step"], &kept[kept.len() - 1]["step"]),
            (&json!(1), &json!(2500))
        );
        assert_eq!(
            kept.iter()
                .filter(|line| line.get("validation").is_some())
                .count(),
            1
        );
    }

    #[test]
    fn a_resumed_training_is_as_fast_as_the_steps_that_it_still_took() {
        assert_eq!(share_since(None, 80), 1.0);
        assert_eq!(share_since(Some(60), 80), 0.25);
        assert_eq!(share_since(Some(90), 80), 0.0);
        assert_eq!(share_since(None, 0), 0.0);
    }

    #[test]
    fn the_size_of_a_model_is_that_of_its_tensors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"F32","shape":[],"data_offsets":[24,28]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(parameters(&path), Some(7));
        std::fs::write(&path, [255; 20]).unwrap();
        assert_eq!(parameters(&path), None);
    }
}
