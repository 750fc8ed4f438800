//! Two results beside each other: which settings, data and scores differ, how sure the difference of scores is, and which
//! rows are answered differently.
//!
//! A [`Subject`] is what is known of one result, wherever it was found: the steps with what each depended on, and the
//! scores. [`compare`] pairs the steps of two subjects by name, and what is left over by kind, so that a renamed stage is
//! still set beside itself. A difference is told once, at the stage where it arises: that the content which flows on from
//! there differs too is not repeated.
//!
//! Deliberately absent: wording, and how predictions are read, which is the stages' knowledge ([`KindOfStage::compare`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::artifact::{Digest, Unreadable};
use crate::fingerprint::{Change, Fingerprint, differences};
use crate::plan::{Plan, Step};
use crate::run::judge::assess;
use crate::run::scores_of;
use crate::stage::{Interval, KINDS, KindOfStage, McNemar, RowChange, StageError, Turn};
use crate::store::{ObjectState, RunRecord, Store};

/// What is known of one result.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What a user calls it.
    pub label: String,
    /// In the order of the plan.
    pub steps: Vec<SubjectStep>,
    /// Stage → metric → value.
    pub scores: Map<String, Value>,
}

/// One step of a result.
#[derive(Debug, Clone)]
pub struct SubjectStep {
    pub stage: String,
    pub kind: String,
    /// None where it was never known; then its settings cannot be compared.
    pub fingerprint: Option<Fingerprint>,
    /// None where there is no result.
    pub digest: Option<Digest>,
    /// Where its content lies; none where it was collected.
    pub artifact: Option<PathBuf>,
    /// Why there is no result, where that is known.
    pub missing: Option<String>,
}

impl Subject {
    /// A result of these steps: stage, kind, what it depended on, and the digest of what it came to.
    pub fn new(
        label: String,
        steps: impl IntoIterator<Item = (String, String, Option<Fingerprint>, Option<Digest>)>,
        scores: Map<String, Value>,
        store: &Store,
    ) -> Subject {
        let step = |(stage, kind, fingerprint, digest): (String, String, _, Option<Digest>)| {
            let object = digest.map(|digest| store.object(&digest));
            SubjectStep {
                stage,
                kind,
                fingerprint,
                digest,
                artifact: match object {
                    Some(ObjectState::Present(path)) => Some(path),
                    _ => None,
                },
                missing: None,
            }
        };
        Subject {
            label,
            steps: steps.into_iter().map(step).collect(),
            scores,
        }
    }

    /// What a run did.
    pub fn of_run(label: String, run: RunRecord, store: &Store) -> Subject {
        let why: Vec<Option<String>> = run
            .steps
            .iter()
            .map(|step| {
                step.digest
                    .is_none()
                    .then(|| format!("{}: {}", step.outcome, step.reason))
            })
            .collect();
        let steps = run
            .steps
            .into_iter()
            .map(|step| (step.stage, step.kind, step.fingerprint, step.digest));
        let mut subject = Subject::new(label, steps, run.scores, store);
        for (step, why) in subject.steps.iter_mut().zip(why) {
            step.missing = why;
        }
        subject
    }

    /// What the store holds of a plan as it is now.
    ///
    /// # Errors
    /// A file of the plan that cannot be read.
    pub fn of_plan(label: String, plan: &Plan, store: &Store) -> Result<Subject, Unreadable> {
        let all: BTreeSet<usize> = (0..plan.steps.len()).collect();
        let (mut steps, mut why, mut scores) = (Vec::new(), Vec::new(), Map::new());
        for one in assess(plan, &all, &BTreeSet::new(), store)? {
            let step = &plan.steps[one.step];
            let fingerprint = match one.fingerprint {
                Some(known) => Some(known),
                None => without_inputs(step, store)?,
            };
            if let Some(digest) = &one.digest
                && let Some(found) = scores_of(store, &plan.pipeline, &step.name, digest)
            {
                scores.insert(step.name.clone(), found);
            }
            why.push(one.digest.is_none().then(|| one.reason.to_string()));
            let (stage, kind) = (step.name.clone(), step.kind.to_owned());
            steps.push((stage, kind, fingerprint, one.digest));
        }
        let mut subject = Subject::new(label, steps, scores, store);
        for (step, why) in subject.steps.iter_mut().zip(why) {
            step.missing = why;
        }
        Ok(subject)
    }
}

/// What can be said of a step before its inputs are known: its settings and files.
fn without_inputs(step: &Step, store: &Store) -> Result<Option<Fingerprint>, Unreadable> {
    if !step.unfetched.is_empty() {
        return Ok(None);
    }
    let mut files = BTreeMap::new();
    for (role, path) in &step.files {
        files.insert(role.clone(), store.digest_file(path)?);
    }
    Ok(Some(step.fingerprint(files, BTreeMap::new())))
}

/// How two results differ.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub a: String,
    pub b: String,
    /// Steps that only one of them has.
    pub only_in_a: Vec<Named>,
    pub only_in_b: Vec<Named>,
    /// Steps without a result.
    pub not_built: Vec<NotBuilt>,
    /// Steps whose settings differ, or cannot be compared.
    pub settings: Vec<Settings>,
    /// Steps that tell their rows, and those whose files differ.
    pub data: Vec<Data>,
    /// Steps that either has scores of.
    pub scores: Vec<Scores>,
}

/// A step by name.
#[derive(Debug, Clone, Serialize)]
pub struct Named {
    pub stage: String,
    pub kind: String,
}

/// A step that has no result.
#[derive(Debug, Clone, Serialize)]
pub struct NotBuilt {
    /// `a` or `b`.
    pub of: &'static str,
    pub stage: String,
    pub reason: String,
}

/// What two results have of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Both<T> {
    pub a: T,
    pub b: T,
}

/// How the settings of one step differ.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    pub stage: Both<String>,
    pub kind: String,
    pub changes: Vec<Change>,
    /// Whether both fingerprints are known. If not, `changes` says nothing.
    pub known: bool,
}

/// How the data of one step differ.
#[derive(Debug, Clone, Serialize)]
pub struct Data {
    pub stage: Both<String>,
    pub kind: String,
    /// The files that differ.
    pub files: Vec<Change>,
    /// The digest of what the step made.
    pub digest: Both<Option<Digest>>,
    /// Split → rows; none where the content is not at hand, or has no such split.
    pub rows: BTreeMap<String, Both<Option<usize>>>,
}

/// How the scores of one step differ.
#[derive(Debug, Clone, Serialize)]
pub struct Scores {
    pub stage: Both<String>,
    pub kind: String,
    /// Which split was scored, where the scores say it.
    pub split: Both<Option<String>>,
    pub rows: Both<Option<u64>>,
    pub metrics: Vec<Metric>,
    /// Where the intervals come from; none without.
    pub resampled: Option<Resampled>,
    /// Whose predictions are no longer in the store, so that there are no intervals.
    pub collected: Both<bool>,
    /// Whether one of two evaluations of the same rows is right more often.
    pub mcnemar: Option<McNemar>,
    /// Why there is no such test, where the predictions of both are at hand.
    pub no_test: Option<String>,
    /// The rows that two evaluations answer differently, of the same ones.
    pub changed: Option<Changed>,
}

/// Rows that are answered differently, and of which only one answer is right, or none.
#[derive(Debug, Clone, Serialize)]
pub struct Changed {
    /// How many were wrong in A, and are right in B.
    pub fixed: usize,
    /// How many were right in A, and are wrong in B.
    pub broken: usize,
    /// How many are wrong in both, in different ways.
    pub changed: usize,
    /// All of them: the broken first, then the fixed, then the changed; of each, those first of which B is surer. What a row
    /// says stands here only where the store still has it.
    pub rows: Vec<RowChange>,
}

/// How intervals were found.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Resampled {
    /// Both answered the same rows, and these were drawn for both at once.
    pub paired: bool,
    pub level: f64,
    pub resamples: usize,
}

/// One score.
#[derive(Debug, Clone, Serialize)]
pub struct Metric {
    pub metric: String,
    pub a: Option<f64>,
    pub b: Option<f64>,
    /// `b` less `a`.
    pub difference: Option<f64>,
    pub interval: Option<Interval>,
    pub interval_of_a: Option<Interval>,
    pub interval_of_b: Option<Interval>,
}

/// Why two results cannot be compared.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CompareError {
    #[error("{a} and {b} have nothing in common: no stage of the same name or kind")]
    #[diagnostic(help("compare pipelines for the same task, or two runs of one pipeline"))]
    NothingInCommon { a: String, b: String },
    #[error("neither {a} nor {b} has a score called `{metric}`")]
    #[diagnostic(help("{}", match known.as_slice() {
        [] => "neither has any scores: run them first".to_owned(),
        known => format!("name one of {}", known.join(", ")),
    }))]
    NoSuchMetric {
        metric: String,
        a: String,
        b: String,
        known: Vec<String>,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Stage(#[from] StageError),
}

/// How `b` differs from `a`; of the scores only those called as in `metrics`, unless that is empty.
///
/// # Errors
/// Two results without a common kind of stage, an unknown metric, and artifacts that are damaged.
pub fn compare(a: &Subject, b: &Subject, metrics: &[String]) -> Result<Comparison, CompareError> {
    let pairs = pairs(&a.steps, &b.steps);
    if pairs.is_empty() {
        return Err(CompareError::NothingInCommon {
            a: a.label.clone(),
            b: b.label.clone(),
        });
    }
    let unpaired = |steps: &[SubjectStep], taken: &dyn Fn(&SubjectStep) -> bool| {
        let left = steps.iter().filter(|step| !taken(step));
        let named = left.map(|step| Named {
            stage: step.stage.clone(),
            kind: step.kind.clone(),
        });
        named.collect::<Vec<_>>()
    };
    let only_in_a = unpaired(&a.steps, &|step| {
        pairs.iter().any(|(a, _)| a.stage == step.stage)
    });
    let only_in_b = unpaired(&b.steps, &|step| {
        pairs.iter().any(|(_, b)| b.stage == step.stage)
    });
    let mut changes: Vec<Option<Vec<Change>>> = pairs
        .iter()
        .map(|(a, b)| {
            Some(differences(
                a.fingerprint.as_ref()?,
                b.fingerprint.as_ref()?,
            ))
        })
        .collect();
    let flows_in = |change: &Change| matches!(change, Change::Input { .. });
    let mut all = changes.iter().flatten().flatten();
    let arises_elsewhere =
        !only_in_a.is_empty() || !only_in_b.is_empty() || all.any(|change| !flows_in(change));
    for changes in changes.iter_mut().flatten() {
        // Content that differs with nothing before it that does is a finding; an input that is not built yet is none.
        changes.retain(|change| match change {
            Change::Input { old, new, .. } => !arises_elsewhere && old.is_some() && new.is_some(),
            _ => true,
        });
    }
    let (mut settings, mut data, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for ((a_step, b_step), changes) in pairs.iter().zip(changes) {
        let known = changes.is_some();
        let is_file = |change: &Change| matches!(change, Change::File { .. });
        let (files, changes): (Vec<_>, Vec<_>) =
            changes.unwrap_or_default().into_iter().partition(is_file);
        if !changes.is_empty() || !known {
            settings.push(Settings {
                stage: both(a_step, b_step, |step| step.stage.clone()),
                kind: b_step.kind.clone(),
                changes,
                known,
            });
        }
        data.extend(data_of(a_step, b_step, files)?);
        scores.extend(scores_between(a, b, a_step, b_step)?);
    }
    narrow(&mut scores, metrics, (&a.label, &b.label))?;
    let missing = |of: &'static str, subject: &Subject| {
        let steps = subject.steps.iter().filter(|step| step.digest.is_none());
        let named = steps.map(|step| NotBuilt {
            of,
            stage: step.stage.clone(),
            reason: step
                .missing
                .clone()
                .unwrap_or_else(|| "no result".to_owned()),
        });
        named.collect::<Vec<_>>()
    };
    let not_built = [missing("a", a), missing("b", b)].concat();
    Ok(Comparison {
        a: a.label.clone(),
        b: b.label.clone(),
        only_in_a,
        only_in_b,
        not_built,
        settings,
        data,
        scores,
    })
}

fn both<T>(a: &SubjectStep, b: &SubjectStep, of: impl Fn(&SubjectStep) -> T) -> Both<T> {
    Both { a: of(a), b: of(b) }
}

/// Steps of one kind by name, then those left over by their order; as they stand in `b`.
fn pairs<'s>(
    a: &'s [SubjectStep],
    b: &'s [SubjectStep],
) -> Vec<(&'s SubjectStep, &'s SubjectStep)> {
    let mut found: BTreeMap<usize, &SubjectStep> = BTreeMap::new();
    let mut left: Vec<&SubjectStep> = a.iter().collect();
    let fits: [fn(&SubjectStep, &SubjectStep) -> bool; 2] = [
        |a, b| a.kind == b.kind && a.stage == b.stage,
        |a, b| a.kind == b.kind,
    ];
    for fits in fits {
        for (place, step) in b.iter().enumerate() {
            if !found.contains_key(&place)
                && let Some(other) = left.iter().position(|other| fits(other, step))
            {
                found.insert(place, left.remove(other));
            }
        }
    }
    found
        .into_iter()
        .map(|(place, step)| (step, &b[place]))
        .collect()
}

fn kind_of(step: &SubjectStep) -> Option<&'static KindOfStage> {
    KINDS.iter().find(|kind| kind.name == step.kind)
}

fn data_of(
    a: &SubjectStep,
    b: &SubjectStep,
    files: Vec<Change>,
) -> Result<Option<Data>, StageError> {
    let rows_of = |step: &SubjectStep| match (kind_of(step), &step.artifact) {
        (Some(kind), Some(path)) => (kind.rows_of)(path),
        _ => Ok(BTreeMap::new()),
    };
    let (in_a, in_b) = (rows_of(a)?, rows_of(b)?);
    let splits: BTreeSet<&String> = in_a.keys().chain(in_b.keys()).collect();
    if splits.is_empty() && files.is_empty() {
        return Ok(None);
    }
    let rows = |split: &String| Both {
        a: in_a.get(split).copied(),
        b: in_b.get(split).copied(),
    };
    Ok(Some(Data {
        stage: both(a, b, |step| step.stage.clone()),
        kind: b.kind.clone(),
        files,
        digest: both(a, b, |step| step.digest),
        rows: splits
            .into_iter()
            .map(|split| (split.clone(), rows(split)))
            .collect(),
    }))
}

fn scores_between(
    of_a: &Subject,
    of_b: &Subject,
    a: &SubjectStep,
    b: &SubjectStep,
) -> Result<Option<Scores>, StageError> {
    let in_a = of_a.scores.get(&a.stage).and_then(Value::as_object);
    let in_b = of_b.scores.get(&b.stage).and_then(Value::as_object);
    if in_a.is_none() && in_b.is_none() {
        return Ok(None);
    }
    let field = |scores: Option<&Map<String, Value>>, name: &str| scores?.get(name).cloned();
    let of = |name: &str| Both {
        a: field(in_a, name),
        b: field(in_b, name),
    };
    let split = of("split");
    let is_evaluation = split.a.is_some() || split.b.is_some();
    let gone =
        |step: &SubjectStep| is_evaluation && step.digest.is_some() && step.artifact.is_none();
    let certainty = match (&a.artifact, &b.artifact, kind_of(b)) {
        (Some(a), Some(b), Some(kind)) if in_a.is_some() && in_b.is_some() => (kind.compare)(a, b)?,
        _ => None,
    };
    let (intervals, resampled, changes) = match certainty {
        Some(found) => {
            let resampled = Resampled {
                paired: found.paired,
                level: found.level,
                resamples: found.resamples,
            };
            let drawn = !found.intervals.is_empty();
            let resampled = drawn.then_some(resampled);
            (found.intervals, resampled, Some(found.changes))
        }
        None => (BTreeMap::new(), None, None),
    };
    let text = |value: Option<Value>| value?.as_str().map(str::to_owned);
    let split = Both {
        a: text(split.a),
        b: text(split.b),
    };
    let (mut mcnemar, mut no_test, mut changed) = (None, None, None);
    match changes {
        Some(Ok(mut found)) => {
            mcnemar = Some(found.test);
            // The newer wording of a row, where both have one.
            for (subject, step, split) in [(of_b, b, &split.b), (of_a, a, &split.a)] {
                fill_in_texts(&mut found.rows, subject, step, split.as_deref())?;
            }
            changed = Some(counted(found.rows));
        }
        Some(Err(why)) => no_test = Some(why),
        None => {}
    }
    // Counts are whole numbers, and no scores.
    let scores = in_a.into_iter().chain(in_b).flatten();
    let named = scores
        .filter(|(_, value)| value.is_f64())
        .map(|(name, _)| name);
    let mut names: Vec<&String> = Vec::new();
    for name in named {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let metric = |name: &String| {
        let values = of(name);
        let (in_a, in_b) = (
            values.a.and_then(|value| value.as_f64()),
            values.b.and_then(|value| value.as_f64()),
        );
        let intervals = intervals.get(name);
        Metric {
            metric: name.clone(),
            a: in_a,
            b: in_b,
            difference: in_a.zip(in_b).map(|(a, b)| b - a),
            interval: intervals.and_then(|all| all.difference),
            interval_of_a: intervals.and_then(|all| all.a),
            interval_of_b: intervals.and_then(|all| all.b),
        }
    };
    let rows = of("rows");
    let number = |value: Option<Value>| value?.as_u64();
    Ok(Some(Scores {
        stage: both(a, b, |step| step.stage.clone()),
        kind: b.kind.clone(),
        split,
        rows: Both {
            a: number(rows.a),
            b: number(rows.b),
        },
        metrics: names.into_iter().map(metric).collect(),
        resampled,
        collected: both(a, b, gone),
        mcnemar,
        no_test,
        changed,
    }))
}

fn counted(rows: Vec<RowChange>) -> Changed {
    let of = |turn| rows.iter().filter(|row| row.change == turn).count();
    Changed {
        fixed: of(Turn::Fixed),
        broken: of(Turn::Broken),
        changed: of(Turn::Changed),
        rows,
    }
}

/// Adds what rows say, where that is not known yet, from the nearest artifact behind `step` that keeps texts.
fn fill_in_texts(
    rows: &mut [RowChange],
    subject: &Subject,
    step: &SubjectStep,
    split: Option<&str>,
) -> Result<(), StageError> {
    let unknown = rows.iter().filter(|row| row.text.is_none());
    let ids: BTreeSet<u64> = unknown.map(|row| row.id).collect();
    let Some(split) = split.filter(|_| !ids.is_empty()) else {
        return Ok(());
    };
    let mut behind = step;
    // No way back is longer than all steps.
    for _ in &subject.steps {
        let fingerprint = behind.fingerprint.as_ref();
        let input = fingerprint.and_then(|known| known.inputs.get("input"));
        let source = input.and_then(|input| {
            let mut steps = subject.steps.iter();
            steps.find(|step| step.digest.as_ref() == Some(input))
        });
        let Some(source) = source else {
            return Ok(());
        };
        behind = source;
        let (Some(kind), Some(path)) = (kind_of(behind), &behind.artifact) else {
            continue;
        };
        let Some(mut texts) = (kind.texts_of)(path, split, &ids)? else {
            continue;
        };
        for row in rows.iter_mut().filter(|row| row.text.is_none()) {
            if let Some(said) = texts.remove(&row.id) {
                (row.text, row.text_pair) = (Some(said.text), said.text_pair);
            }
        }
        return Ok(());
    }
    Ok(())
}

/// Leaves the scores that were asked for.
fn narrow(
    scores: &mut Vec<Scores>,
    wanted: &[String],
    (a, b): (&str, &str),
) -> Result<(), CompareError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let all = scores.iter().flat_map(|scores| &scores.metrics);
    let known: BTreeSet<&str> = all.map(|metric| metric.metric.as_str()).collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|metric| !known.contains(metric.as_str()))
    {
        return Err(CompareError::NoSuchMetric {
            metric: unknown.clone(),
            a: a.to_owned(),
            b: b.to_owned(),
            known: known.into_iter().map(str::to_owned).collect(),
        });
    }
    for scores in scores.iter_mut() {
        scores
            .metrics
            .retain(|metric| wanted.contains(&metric.metric));
    }
    scores.retain(|scores| !scores.metrics.is_empty());
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn step(stage: &str, kind: &str, settings: Value, input: Option<u8>) -> SubjectStep {
        let inputs = input.map(|input| ("input".to_owned(), Digest::of(&[input])));
        SubjectStep {
            stage: stage.to_owned(),
            kind: kind.to_owned(),
            fingerprint: Some(Fingerprint {
                format: 1,
                kind: kind.to_owned(),
                version: 1,
                settings,
                files: BTreeMap::new(),
                inputs: inputs.into_iter().collect(),
            }),
            digest: Some(Digest::of(stage.as_bytes())),
            artifact: None,
            missing: None,
        }
    }

    fn subject(label: &str, steps: Vec<SubjectStep>) -> Subject {
        Subject {
            label: label.to_owned(),
            steps,
            scores: Map::new(),
        }
    }

    #[test]
    fn a_renamed_stage_is_set_beside_itself_and_a_new_one_is_named() {
        let a = subject(
            "a",
            vec![
                step("x", "load", json!({}), None),
                step("t", "train", json!({ "epochs": 2 }), Some(1)),
            ],
        );
        let b = subject(
            "b",
            vec![
                step("y", "load", json!({}), None),
                step("more", "augment", json!({}), Some(1)),
                step("t", "train", json!({ "epochs": 3 }), Some(2)),
            ],
        );
        let found = compare(&a, &b, &[]).unwrap();
        assert_eq!(found.only_in_b.len(), 1);
        assert_eq!(found.only_in_b[0].stage, "more");
        assert!(found.only_in_a.is_empty());
        let told: Vec<String> = found.settings[0]
            .changes
            .iter()
            .map(Change::to_string)
            .collect();
        assert_eq!(
            (found.settings.len(), told),
            (1, vec!["epochs: 2 → 3".to_owned()])
        );
    }

    #[test]
    fn an_input_is_told_only_where_nothing_before_it_differs() {
        let load = |skip: bool| step("data", "load", json!({ "skip_invalid": skip }), None);
        let train = |input| step("t", "train", json!({}), Some(input));
        let a = subject("a", vec![load(false), train(1)]);
        let told = |b: &Subject| {
            let found = compare(&a, b, &[]).unwrap();
            let changes = found.settings.iter().flat_map(|one| one.changes.clone());
            changes.collect::<Vec<_>>()
        };
        let changed = told(&subject("b", vec![load(true), train(2)]));
        assert!(
            matches!(changed.as_slice(), [Change::Setting { .. }]),
            "{changed:?}"
        );
        let strange = told(&subject("b", vec![load(false), train(2)]));
        assert!(
            matches!(strange.as_slice(), [Change::Input { .. }]),
            "{strange:?}"
        );
        assert_eq!(told(&a), []);
    }

    #[test]
    fn results_without_a_common_kind_of_stage_are_an_error() {
        let a = subject("a", vec![step("x", "load", json!({}), None)]);
        let b = subject("b", vec![step("x", "train", json!({}), None)]);
        let error = compare(&a, &b, &[]).unwrap_err().to_string();
        assert!(error.contains("nothing in common"), "{error}");
    }

    #[test]
    fn a_metric_that_neither_has_is_an_error_that_names_those_they_have() {
        let mut a = subject("a", vec![step("s", "evaluate", json!({}), None)]);
        a.scores = json!({ "s": { "f1": 0.5, "rows": 7, "split": "test" } })
            .as_object()
            .cloned()
            .unwrap();
        let found = compare(&a, &a, &["f1".to_owned()]).unwrap();
        assert_eq!(found.scores[0].metrics.len(), 1);
        assert_eq!(found.scores[0].rows.a, Some(7));
        assert_eq!(found.scores[0].metrics[0].difference, Some(0.0));
        let error = compare(&a, &a, &["rows".to_owned()]).unwrap_err();
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.contains("name one of f1"), "{help}");
    }
}
