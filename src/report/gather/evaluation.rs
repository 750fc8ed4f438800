//! One evaluation for the page: its scores, its rows, and what goes wrong in them.
//!
//! Deliberately absent: what is particular to a task, which is in the files beside.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::evaluation::{PageEvaluation, PageNear, PageScore, PageSlice};
use super::answered::Answered;
use super::texts::{Said, beginning, each_piece, pack, said, table_of};
use super::{Begun, Facts, ReportError, StepFacts, damaged, json, others};
use crate::metrics::bootstrap::{Drawing, intervals_of};
use crate::metrics::slices::{Ranked, Rare, Slice, of_column, ranked, traits, word_count};
use crate::metrics::{Metric, Scheme};
use crate::table::{NamedColumns, near};
use crate::task::explanations::{Chosen, EXPLANATIONS, Explanation, Explanations, rounded};
use crate::task::predictions::Predictions;

/// By how much a score may differ from the one written, for the order of sums.
const ROUNDING: f64 = 1e-9;
/// How many slices, and rows of one, are shown.
const SLICES: usize = 100;
const ROWS_OF_SLICE: usize = 1_000;
/// How many wrong rows are looked up in the training, the surest first, and how alike a row must be to be shown.
const LOOKED_UP: usize = 2_000;
const ALIKE: f64 = 0.6;
/// How many characters of that row are shown.
const NEAR_TEXT: usize = 300;

/// Of how many pieces it hears who waits.
pub(super) const PIECES: usize = 6;

pub(super) fn of(
    facts: &Facts,
    step: &StepFacts,
    room: usize,
    attention_room: usize,
    begun: &mut Begun,
) -> Result<PageEvaluation, ReportError> {
    let stage = &step.stage;
    begun(&format!("{stage}: answers"));
    let written = match &step.artifact {
        Some(artifact) => json(&artifact.join("scores.json"))?,
        None => step.scores.clone(),
    };
    let Some(Value::Object(written)) = written else {
        let path = step.artifact.as_deref().unwrap_or(Path::new("scores.json"));
        return Err(damaged(path, "it has no scores"));
    };
    let rows_scored = written.get("rows").and_then(Value::as_u64);
    let rows_scored = rows_scored.unwrap_or_default() as usize;
    let drawing = drawing(rows_scored);
    let mut page = PageEvaluation {
        stage: step.stage.clone(),
        model: facts.input(step, "model").map(|model| model.stage.clone()),
        split: step.split.clone().unwrap_or_default(),
        rows: rows_scored,
        scores: scores(&written),
        level: drawing.level,
        resamples: drawing.resamples,
        ..PageEvaluation::default()
    };
    let Some(artifact) = &step.artifact else {
        page.notes.push(format!(
            "only the scores are known: the predictions are no longer in the store; `refit run --force {}` makes them again",
            step.stage
        ));
        return Ok(page);
    };
    let file = artifact.join("predictions.parquet");
    let columns = NamedColumns::read(&file, |_| true)?;
    let Some(mut answered) = Answered::of(&columns, &written) else {
        page.notes.push(
            "the rows do not say what is right, so nothing is known of single ones".to_owned(),
        );
        return Ok(page);
    };
    begun(&format!("{stage}: intervals of the scores"));
    add_intervals(&mut page.scores, &file, &written, &drawing)?;
    page.notes.append(&mut answered.notes);
    begun(&format!("{stage}: texts"));
    let said = match texts(facts, step, &columns, &mut answered)? {
        Ok(said) => Some(said),
        Err(note) => {
            page.notes
                .push(format!("the texts of the rows are not shown: {note}"));
            None
        }
    };
    rows(&mut page, &mut answered, &columns, said.as_ref(), room);
    let training = match training(facts, step) {
        Ok(training) => training,
        Err(note) => {
            page.notes.push(format!(
                "the rows of the training are not looked at: {note}"
            ));
            None
        }
    };
    begun(&format!("{stage}: parts that fail"));
    let mut slices = std::mem::take(&mut answered.slices);
    if let Some(said) = &said {
        slices.extend(by_looks(said, training.as_deref(), answered.task)?);
        for (name, values) in &said.further {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            slices.extend(of_column(name, &values));
        }
        begun(&format!("{stage}: neighbours in the training"));
        if let Some(folder) = &training {
            page.near = near_rows(&answered, said, folder)?;
        }
    }
    let shown = ranked(&answered.rows.wrong, slices, drawing.level).into_iter();
    page.slices = shown
        .take(SLICES)
        .map(|one| slice(one, &answered.rows.wrong))
        .collect();
    begun(&format!("{stage}: explanations"));
    explanations(&mut page, artifact, attention_room)?;
    page.task = answered.task.to_owned();
    page.labels = answered.labels;
    page.per_label = answered.per_label;
    page.confusion = answered.confusion;
    page.curves = answered.curves;
    page.calibration = answered.calibration;
    page.calibration_error = answered.calibration_error;
    page.thresholds = answered.thresholds;
    page.confused = answered.confused;
    page.doubtful = answered.doubtful;
    page.entity_errors = answered.entity_errors;
    page.packed = answered.rows.packed();
    Ok(page)
}

/// Of many rows fewer resamples are drawn, for time: that of 2000 of twenty thousand rows.
fn drawing(rows: usize) -> Drawing {
    const DRAWN: usize = 40_000_000;
    let usual = Drawing::default();
    Drawing {
        resamples: usual.resamples.min(DRAWN / rows.max(1)).max(200),
        ..usual
    }
}

/// The numbers that `scores.json` begins with, those that the task is judged by first.
fn scores(written: &Map<String, Value>) -> Vec<PageScore> {
    let flat = written.iter().take_while(|(name, _)| *name != "rows");
    let score = |(name, value): (&String, &Value)| {
        let known = Metric::ALL.into_iter().find(|metric| metric.name() == name);
        Some(PageScore {
            metric: name.clone(),
            value: value.as_f64()?,
            low: None,
            high: None,
            higher_is_better: known.is_none_or(Metric::higher_is_better),
        })
    };
    let is_score = |score: &PageScore| !score.metric.ends_with("_threshold");
    let mut scores: Vec<PageScore> = flat.filter_map(score).filter(is_score).collect();
    const FIRST: [&str; 8] = [
        "accuracy",
        "f1_macro",
        "f1_micro",
        "f1",
        "exact_match",
        "subset_accuracy",
        "rmse",
        "rougeL",
    ];
    let is_tagged = written.contains_key("types") || written.contains_key("scheme");
    let rank = |name: &str| match name {
        // Most words are outside of entities, so accuracy says little of them.
        "accuracy" if is_tagged => FIRST.len() + 1,
        _ => FIRST
            .iter()
            .position(|first| *first == name)
            .unwrap_or(FIRST.len() + 1),
    };
    scores.sort_by_key(|score| rank(&score.metric));
    scores
}

/// A score has an interval only if the predictions give the very score that was written.
fn add_intervals(
    scores: &mut [PageScore],
    file: &Path,
    written: &Map<String, Value>,
    drawing: &Drawing,
) -> Result<(), ReportError> {
    let predictions = match written.get("generation") {
        Some(settings) => {
            let settings = serde_json::from_value(settings.clone()).unwrap_or_default();
            Predictions::of_generated(file, &settings)?
        }
        None => {
            let scheme = written.get("scheme").and_then(Value::as_str);
            Predictions::read(file, scheme.and_then(Scheme::of_name))?
        }
    };
    let Some(predictions) = predictions else {
        return Ok(());
    };
    let whole = predictions.sample.whole();
    let intervals = intervals_of(&predictions.sample, drawing);
    for score in scores {
        let ours = whole.get(&score.metric).and_then(Value::as_f64);
        let same = |ours: f64| (ours - score.value).abs() <= ROUNDING * score.value.abs().max(1.0);
        if let Some(interval) = intervals.get(&score.metric)
            && ours.is_some_and(same)
        {
            (score.low, score.high) = (Some(interval.low), Some(interval.high));
        }
    }
    Ok(())
}

/// What the rows say: as the predictions tell it, or the table that the tokens were made of.
fn texts(
    facts: &Facts,
    step: &StepFacts,
    columns: &NamedColumns,
    answered: &mut Answered,
) -> Result<Result<Said, String>, ReportError> {
    let split = step.split.as_deref().unwrap_or_default();
    let found = match table_of(facts, step) {
        Ok(folder) => Ok(said(&folder, split, columns.ids())?),
        Err(note) => Err(note),
    };
    // As the answers tell it, where they do.
    let Some(text) = answered.texts.take() else {
        return Ok(found);
    };
    Ok(Ok(Said {
        text,
        pair: answered.pairs.take(),
        further: found.map(|said| said.further).unwrap_or_default(),
    }))
}

/// Fills in what the rows of all tasks have.
fn rows(
    page: &mut PageEvaluation,
    answered: &mut Answered,
    columns: &NamedColumns,
    said: Option<&Said>,
    room: usize,
) {
    let rows = &mut answered.rows;
    rows.id = columns.ids().to_vec();
    let names = columns.texts("name").unwrap_or_default();
    rows.name = names.into_iter().map(str::to_owned).collect();
    let thousandths = |sure: &f64| (sure.clamp(0.0, 1.0) * 1000.0).round() as u16;
    rows.confidence = answered.sure.iter().map(thousandths).collect();
    for score in rows.row_scores.iter_mut().flat_map(|(_, scores)| scores) {
        *score = rounded(*score);
    }
    let Some(said) = said else { return };
    rows.words = said.text.iter().map(|text| word_count(text)).collect();
    match pack(rows, said, &answered.sure, room) {
        0 => {}
        without => page.notes.push(format!(
            "the texts of {without} rows are left out to keep the page small; they are in the table, by their ids"
        )),
    }
}

/// The table with the rows that the model learned from; none where there is no model, or where it is these rows that it
/// learned from.
fn training(facts: &Facts, step: &StepFacts) -> Result<Option<std::path::PathBuf>, String> {
    match facts.input(step, "model") {
        Some(_) if step.split.as_deref() == Some("train") => Ok(None),
        Some(model) => table_of(facts, model).map(Some),
        None => Ok(None),
    }
}

fn by_looks(said: &Said, training: Option<&Path>, task: &str) -> Result<Vec<Slice>, ReportError> {
    let texts = said.texts();
    let mut seen = Rare::default();
    match training {
        Some(folder) => each_piece(folder, "train", |_, rows| {
            rows.text.iter().for_each(|text| seen.see(text));
        })?,
        None => texts.iter().for_each(|text| seen.see(text)),
    }
    let mut slices = traits(&texts, &seen, training.is_none());
    if task == "question_answering" {
        slices.extend(others::of_questions(&texts));
    }
    Ok(slices)
}

/// Of wrong rows the most similar row of the training, where one is similar.
fn near_rows(
    answered: &Answered,
    said: &Said,
    folder: &Path,
) -> Result<Vec<PageNear>, ReportError> {
    let sure = |row: usize| answered.sure.get(row).copied().unwrap_or_default();
    let wrong = answered
        .rows
        .wrong
        .iter()
        .enumerate()
        .filter(|(_, wrong)| **wrong);
    let mut wrong: Vec<usize> = wrong.map(|(row, _)| row).collect();
    wrong.sort_by(|&a, &b| sure(b).total_cmp(&sure(a)));
    wrong.truncate(LOOKED_UP);
    let (mut ids, mut texts, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    each_piece(folder, "train", |table, rows| {
        let names = table.label_names.as_deref().unwrap_or_default();
        let name = |label: &u32| names.get(*label as usize).cloned().unwrap_or_default();
        for (row, text) in rows.text.iter().enumerate() {
            // A copy says what its original says.
            if rows.copy.get(row).is_none_or(|copy| *copy > 0) {
                continue;
            }
            let label = rows
                .label
                .as_ref()
                .and_then(|labels| labels.get(row))
                .map(name);
            let several = rows.labels.as_ref().and_then(|labels| labels.get(row));
            let several = several.map(|all| all.iter().map(name).collect::<Vec<_>>().join(", "));
            ids.push(rows.id.get(row).copied().unwrap_or_default());
            texts.push((*text).to_owned());
            labels.push(label.or(several).unwrap_or_default());
        }
    })?;
    let asked: Vec<&str> = wrong
        .iter()
        .map(|&row| said.text.get(row).map_or("", String::as_str))
        .collect();
    let train: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = near::nearest(&train, &asked, ALIKE);
    let page = |(row, found): (usize, Option<(usize, f64)>)| {
        let (place, similarity) = found?;
        Some(PageNear {
            row: row as u32,
            id: *ids.get(place)?,
            text: beginning(texts.get(place)?, NEAR_TEXT).to_owned(),
            label: labels.get(place)?.clone(),
            similarity,
        })
    };
    let mut near: Vec<PageNear> = wrong.into_iter().zip(found).filter_map(page).collect();
    near.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    Ok(near)
}

fn slice(ranked: Ranked, wrong: &[bool]) -> PageSlice {
    let Ranked {
        slice,
        error,
        low,
        high,
        elsewhere,
        p_value,
    } = ranked;
    let support = slice.rows.len();
    let is_wrong = |row: &u32| wrong.get(*row as usize).copied().unwrap_or_default();
    let (mut rows, right): (Vec<u32>, Vec<u32>) = slice.rows.into_iter().partition(is_wrong);
    rows.extend(right);
    rows.truncate(ROWS_OF_SLICE);
    PageSlice {
        by: slice.by,
        value: slice.value,
        support,
        error,
        low,
        high,
        elsewhere,
        p_value,
        rows,
    }
}

/// Attention and attributions, where the evaluation was asked for them. Attention does not compress, and what has no `room` is
/// left out, that of rows which the spec names last.
fn explanations(
    page: &mut PageEvaluation,
    artifact: &Path,
    room: usize,
) -> Result<(), ReportError> {
    match Explanations::read(artifact)? {
        Some(mut found) => {
            bound(&mut found.examples, room);
            page.attributed_to = Some(found.attributed_to);
            let examples = found.examples.iter().map(serde_json::to_value);
            page.explanations = examples
                .collect::<Result<_, _>>()
                .map_err(|e| damaged(&artifact.join(EXPLANATIONS), e))?;
        }
        None if page.model.is_some() => page.notes.push(format!(
            "what the model looks at is not shown: set `explain = {{ examples = 8 }}` on the stage `{}` and run it again",
            page.stage
        )),
        None => {}
    }
    Ok(())
}

fn bound(examples: &mut [Explanation], room: usize) {
    let mut by_weight: Vec<&mut Explanation> = examples.iter_mut().collect();
    by_weight.sort_by_key(|example| example.chosen != Chosen::Named);
    let mut left = room;
    for example in by_weight {
        let size = example.attention.as_ref().map_or(0, String::len);
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None => {
                example.attention = None;
                example.why_no_attention =
                    Some("It was left out to keep the page small.".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rows_are_drawn_anew_less_often() {
        let resamples = [0, 20_000, 100_000, 10_000_000].map(|rows| drawing(rows).resamples);
        assert_eq!(resamples, [2000, 2000, 400, 200]);
    }

    #[test]
    fn attention_that_has_no_room_is_left_out_and_that_of_named_rows_last() {
        let example = |chosen: &str| -> Explanation {
            serde_json::from_value(serde_json::json!({
                "row": 0, "id": 0, "chosen": chosen, "tokens": [], "places": [], "segment": [], "output": "", "value": 0.0,
                "baseline": 0.0, "delta": 0.0, "gradient_x_input": [], "integrated_gradients": [], "layers": 1, "heads": 1,
                "attended": 0, "attention": "AAAA", "why_no_attention": null,
            }))
            .unwrap()
        };
        let mut examples = ["wrong", "right", "named"].map(example);
        bound(&mut examples, 9);
        let kept = examples.each_ref().map(|one| one.attention.is_some());
        assert_eq!(kept, [true, false, true]);
        assert!(examples[1].why_no_attention.is_some() && examples[0].why_no_attention.is_none());
    }
}
