//! How sure the scores of two evaluations are, and which rows they answer differently, from the predictions that they keep.
//!
//! Promise: a score has an interval only if the predictions give the very score that was written, and rows are paired only
//! where both evaluations name the same split, and have the same ids and right answers in the same order.
//!
//! Deliberately absent: metrics that need more than the answers, the loss among them.

use std::path::Path;

use serde_json::{Map, Value};

use crate::metrics::bootstrap::{Drawing, intervals};
use crate::metrics::{Sample, Scheme};
use crate::stage::{Certainty, StageError};
use crate::task::predictions::Predictions;

/// By how much a score may differ from the one written, for the order of sums.
const ROUNDING: f64 = 1e-9;

/// The intervals of two evaluations' scores and of their differences; none where there is nothing right to compare with.
pub(super) fn compare(a: &Path, b: &Path) -> Result<Option<Certainty>, StageError> {
    let (scores_a, scores_b) = (written(a), written(b));
    let (a, b) = (predictions(a, &scores_a)?, predictions(b, &scores_b)?);
    let (Some(a), Some(b)) = (a, b) else {
        return Ok(None);
    };
    // Ids begin anew in every split.
    let same_split = scores_a.get("split") == scores_b.get("split");
    let paired = same_split && a.same_rows(&b);
    let drawing = Drawing::default();
    let mut intervals = intervals(&a.sample, &b.sample, paired, &drawing);
    let (in_a, in_b) = (
        reproduced(&a.sample, &scores_a),
        reproduced(&b.sample, &scores_b),
    );
    intervals.retain(|metric, _| in_a(metric) && in_b(metric));
    Ok(Some(Certainty {
        paired,
        level: drawing.level,
        resamples: drawing.resamples,
        intervals,
        changes: match same_split {
            true => a.changes(&b),
            false => Err("A and B answered other splits".to_owned()),
        },
    }))
}

/// `scores.json`.
fn written(artifact: &Path) -> Map<String, Value> {
    let text = std::fs::read(artifact.join("scores.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn predictions(
    artifact: &Path,
    scores: &Map<String, Value>,
) -> Result<Option<Predictions>, StageError> {
    let file = artifact.join("predictions.parquet");
    if let Some(settings) = scores.get("generation") {
        let settings = serde_json::from_value(settings.clone()).unwrap_or_default();
        return Ok(Predictions::of_generated(&file, &settings)?);
    }
    let scheme = scores.get("scheme").and_then(Value::as_str);
    Ok(Predictions::read(&file, scheme.and_then(Scheme::of_name))?)
}

/// Whether a metric of the predictions is the one that was written.
fn reproduced(sample: &Sample, scores: &Map<String, Value>) -> impl Fn(&str) -> bool {
    let (whole, scores) = (sample.whole(), scores.clone());
    move |metric| {
        let number = |scores: &Map<String, Value>| scores.get(metric)?.as_f64();
        match (number(&whole), number(&scores)) {
            (Some(ours), Some(written)) => {
                (ours - written).abs() <= ROUNDING * written.abs().max(1.0)
            }
            _ => false,
        }
    }
}
