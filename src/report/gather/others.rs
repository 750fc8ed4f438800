//! Questions about a context, numbers, and generated texts.
//!
//! What is wrong is plain of a question only: its answer is not one of those that would be right, word for word. A number
//! counts as wrong here when it is farther off than the root mean squared error of its target, a generated text when the F1 of
//! its words against the reference is below a half; notes say so.
//!
//! Deliberately absent: labels.

use super::super::evaluation::PageRows;
use super::answered::{Answered, by_value};
use crate::metrics::answers;
use crate::metrics::slices::{answer_kind, question_word};
use crate::table::NamedColumns;

pub(super) fn question_answering(columns: &NamedColumns) -> Option<Answered> {
    let (golds, answered) = (columns.lists("answers")?, columns.texts("predicted")?);
    let score = |(golds, answer): (&Vec<&str>, &&str)| {
        let scored = answers(std::slice::from_ref(golds), &[*answer], None);
        (scored.exact_match, scored.f1)
    };
    let (exact, f1): (Vec<f64>, Vec<f64>) = golds.iter().zip(&answered).map(score).unzip();
    let right: Vec<bool> = exact.iter().map(|&exact| exact == 1.0).collect();
    let (starts, ends) = (columns.places("start"), columns.places("end"));
    let span = |row: usize| {
        let place = |places: Option<&[Option<u32>]>| *places?.get(row)?;
        place(starts).zip(place(ends))
    };
    let kind = |golds: &Vec<&str>| answer_kind(golds.first().copied()).to_owned();
    let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let mut found = Answered {
        task: "question_answering",
        slices: by_value("answer kind", golds.iter().map(kind)),
        rows: PageRows {
            wrong: right.iter().map(|right| !right).collect(),
            answers: golds.iter().map(|golds| distinct(golds)).collect(),
            answer_span: (0..answered.len()).map(span).collect(),
            answer: own(&answered),
            row_scores: vec![("exact_match".to_owned(), exact), ("f1".to_owned(), f1)],
            ..PageRows::default()
        },
        ..Answered::default()
    };
    if let Some(sure) = columns.floats("probability") {
        found.sure = sure.iter().copied().map(f64::from).collect();
        let sure = found.sure.clone();
        found.calibrate(&right, &sure);
    }
    Some(found)
}

/// Texts in their order, each once.
fn distinct(texts: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for &text in texts {
        if !all.iter().any(|one| one == text) {
            all.push(text.to_owned());
        }
    }
    all
}

/// The slices of questions by what they ask for.
pub(super) fn of_questions(texts: &[&str]) -> Vec<crate::metrics::slices::Slice> {
    by_value(
        "question word",
        texts.iter().map(|text| question_word(text).to_owned()),
    )
}

pub(super) fn regression(columns: &NamedColumns) -> Option<Answered> {
    let names = columns.after("target_");
    if names.is_empty() {
        return None;
    }
    let column = |prefix: &str, name: &String| -> Option<Vec<Option<f64>>> {
        columns
            .numbers(&format!("{prefix}{name}"))
            .map(<[_]>::to_vec)
    };
    let target = |name: &String| {
        let (right, answered) = (column("target_", name)?, column("predicted_", name)?);
        Some((name.clone(), right, answered))
    };
    let targets = names.iter().map(target).collect::<Option<Vec<_>>>()?;
    let rows = targets.first().map_or(0, |(_, right, _)| right.len());
    let mut wrong = vec![false; rows];
    let mut row_scores = Vec::new();
    for (name, right, answered) in &targets {
        let off = right.iter().zip(answered);
        let off: Vec<f64> = off
            .map(|(right, answered)| {
                right
                    .zip(*answered)
                    .map_or(f64::NAN, |(a, b)| (a - b).abs())
            })
            .collect();
        let known: Vec<f64> = off.iter().copied().filter(|off| off.is_finite()).collect();
        let squares: f64 = known.iter().map(|off| off * off).sum();
        let usual = (squares / known.len().max(1) as f64).sqrt();
        for (wrong, off) in wrong.iter_mut().zip(&off) {
            *wrong |= *off > usual;
        }
        row_scores.push((format!("error of {name}"), off));
    }
    Some(Answered {
        task: "regression",
        rows: PageRows {
            wrong,
            targets,
            row_scores,
            ..PageRows::default()
        },
        notes: vec![
            "a row counts as wrong where its answer is farther off than the root mean squared error of the target".to_owned(),
        ],
        ..Answered::default()
    })
}

/// From which F1 of its words on a generated text is not called wrong.
const ALIKE: f64 = 0.5;

pub(super) fn generation(columns: &NamedColumns) -> Option<Answered> {
    let (texts, references) = (columns.texts("generated")?, columns.texts("reference")?);
    let f1 = columns.numbers("f1")?;
    let scores = columns.all_numbers().map(|(name, numbers)| {
        let numbers = numbers.iter().map(|number| number.unwrap_or(f64::NAN));
        (name.to_owned(), numbers.collect())
    });
    let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    Some(Answered {
        task: "generation",
        texts: Some(own(&texts)),
        pairs: Some(own(&references)),
        rows: PageRows {
            wrong: f1.iter().map(|f1| f1.is_none_or(|f1| f1 < ALIKE)).collect(),
            row_scores: scores.collect(),
            ..PageRows::default()
        },
        notes: vec![
            "a row counts as wrong where the F1 of its words against the reference is below 0.5"
                .to_owned(),
        ],
        ..Answered::default()
    })
}
