//! What the page of a pipeline's evaluations shows, gathered from the artifacts of its steps.
//!
//! [`Facts`] are what the engine knows: the steps, where their artifacts lie, and what became of them. All else is read from
//! the artifacts: scores, predictions and explanations of an evaluation, the rows it was asked of, those the model learned
//! from, the log of its training, tables and tokens. The promise: a page says what the artifacts say, and equal facts and
//! artifacts give an equal page. What was collected is no error: the page does without; an evaluation says so in a note.
//!
//! Deliberately absent: the store, clocks, and any statistics, which are those of [`metrics`](crate::metrics).

mod answered;
mod classes;
mod data;
mod entities;
mod evaluation;
mod lines;
mod others;
mod texts;
mod training;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::evaluation::{PageStep, Previous, ReportPage};
use crate::artifact::{Kind, Unreadable};
use crate::table::TableError;
use crate::task::TaskError;
use crate::text::TextError;

pub use lines::difference;

/// What the engine knows of a pipeline whose evaluations have results.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub pipeline: String,
    /// The spec's path, as given.
    pub spec: String,
    /// The program and its version.
    pub made_by: String,
    /// In the order of the plan.
    pub steps: Vec<StepFacts>,
    /// The places among `steps` of the evaluations to show.
    pub evaluations: Vec<usize>,
    /// The spec's text.
    pub text: String,
    pub previous: Option<Previous>,
}

/// One step of it.
#[derive(Debug, Clone, Default)]
pub struct StepFacts {
    pub stage: String,
    pub kind: String,
    /// What its artifact is.
    pub produces: Option<Kind>,
    pub key: String,
    pub outcome: String,
    pub reason: String,
    /// How long it took when its result was made.
    pub seconds: Option<f64>,
    /// The step from which that training went on, which had been stopped before.
    pub resumed_from: Option<u64>,
    /// Role → the place among the steps.
    pub inputs: Vec<(String, usize)>,
    /// Every setting, as JSON.
    pub settings: Value,
    /// The split that an evaluation scores.
    pub split: Option<String>,
    /// None where it was collected.
    pub artifact: Option<PathBuf>,
    /// `scores.json`, where it has one, even if the artifact was collected.
    pub scores: Option<Value>,
}

impl Facts {
    fn step(&self, place: usize) -> Option<&StepFacts> {
        self.steps.get(place)
    }

    /// The step that feeds another.
    fn input<'f>(&'f self, step: &StepFacts, role: &str) -> Option<&'f StepFacts> {
        let (_, place) = step.inputs.iter().find(|(found, _)| found == role)?;
        self.step(*place)
    }
}

/// Why there is no page.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ReportError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Task(#[from] TaskError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("{} is damaged: {problem}", path.display())]
    #[diagnostic(help("`refit run --force` for the stage whose artifact it is makes it anew"))]
    Damaged { path: PathBuf, problem: String },
}

/// Hears what is gathered next, `pieces` times in all.
pub type Begun<'b> = dyn FnMut(&str) + 'b;

/// How many pieces a page of these facts has.
pub fn pieces(facts: &Facts) -> u64 {
    (facts.evaluations.len() * evaluation::PIECES + facts.steps.len()) as u64
}

/// The page of these facts.
///
/// # Errors
/// An artifact is damaged.
pub fn gather(facts: &Facts, begun: &mut Begun) -> Result<ReportPage, ReportError> {
    // What all evaluations together may add to the page.
    let several = facts.evaluations.len().max(1);
    let (room, attention_room) = (texts::ROOM / several, texts::ATTENTION_ROOM / several);
    let chosen = facts
        .evaluations
        .iter()
        .filter_map(|&place| facts.step(place));
    let evaluations = chosen.map(|step| evaluation::of(facts, step, room, attention_room, begun));
    let mut evaluations = evaluations.collect::<Result<Vec<_>, _>>()?;
    let mut collected = Vec::new();
    let (mut trainings, mut tables, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for step in &facts.steps {
        begun(&step.stage);
        let Some(artifact) = &step.artifact else {
            if matches!(
                step.produces,
                Some(Kind::Model | Kind::Table | Kind::Tokens)
            ) {
                collected.push(step.stage.as_str());
            }
            continue;
        };
        match step.produces {
            Some(Kind::Model) if step.kind == "train" => {
                trainings.extend(training::of(facts, step, artifact)?);
            }
            Some(Kind::Table) => tables.push(data::of_table(&step.stage, artifact)?),
            Some(Kind::Tokens) => tokens.push(data::of_tokens(&step.stage, artifact)?),
            _ => {}
        }
    }
    if let (Some(first), [_, ..]) = (evaluations.first_mut(), collected.as_slice()) {
        first.notes.push(format!(
            "what {} gave is no longer in the store, so its part of the page is missing; `refit run --force STAGE` makes it again",
            collected.join(", ")
        ));
    }
    Ok(ReportPage {
        pipeline: facts.pipeline.clone(),
        spec: facts.spec.clone(),
        made_by: facts.made_by.clone(),
        evaluations,
        trainings,
        data: tables,
        tokens,
        steps: facts.steps.iter().map(|step| shown(facts, step)).collect(),
        text: facts.text.clone(),
        previous: facts.previous.clone(),
    })
}

fn shown(facts: &Facts, step: &StepFacts) -> PageStep {
    let mut reads: Vec<String> = Vec::new();
    for (_, place) in &step.inputs {
        let stage = facts.step(*place).map(|input| input.stage.clone());
        reads.extend(stage.filter(|stage| !reads.contains(stage)));
    }
    PageStep {
        stage: step.stage.clone(),
        kind: step.kind.clone(),
        key: step.key.clone(),
        outcome: step.outcome.clone(),
        reason: step.reason.clone(),
        seconds: step.seconds,
        reads,
    }
}

/// A file of JSON; none where it is not there.
fn json(path: &Path) -> Result<Option<Value>, ReportError> {
    let bytes = match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|e| Unreadable::new(path, e))?,
    };
    let value = serde_json::from_slice(&bytes).map_err(|e| damaged(path, e))?;
    Ok(Some(value))
}

fn damaged(path: &Path, problem: impl std::fmt::Display) -> ReportError {
    ReportError::Damaged {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

/// How often whole numbers occur: (from, below, how often), in bins of one width, about 24 of them; what is far beyond the rest
/// is in the last.
fn histogram(numbers: &[u32]) -> Vec<(u32, u32, u64)> {
    const BINS: u32 = 24;
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let (Some(&longest), Some(&usual)) = (
        sorted.last(),
        sorted.get(sorted.len().saturating_sub(1) * 99 / 100),
    ) else {
        return Vec::new();
    };
    let width = (usual + 1).div_ceil(BINS).max(1);
    let bins = (usual / width + 1) as usize;
    let mut counts = vec![0; bins];
    for &number in numbers {
        let bin = ((number / width) as usize).min(bins - 1);
        counts[bin] += 1;
    }
    let bin = |(place, count): (u32, u64)| {
        let last = place as usize + 1 == bins;
        let below = if last {
            (longest + 1).max((place + 1) * width)
        } else {
            (place + 1) * width
        };
        (place * width, below, count)
    };
    (0..).zip(counts).map(bin).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_is_in_one_bin(numbers in prop::collection::vec(0_u32..100_000, 0..200)) {
            let bins = histogram(&numbers);
            prop_assert_eq!(bins.iter().map(|bin| bin.2).sum::<u64>(), numbers.len() as u64);
            prop_assert!(bins.len() <= 25);
            for (from, below, count) in bins {
                let inside = numbers.iter().filter(|n| (from..below).contains(*n)).count();
                prop_assert_eq!(inside as u64, count);
            }
        }
    }
}
