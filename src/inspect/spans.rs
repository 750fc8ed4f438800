//! Tags that cannot follow one another, and answers that do not stand where they should.
//!
//! Schemes are told by the prefixes of the names. In BIO an `I-` follows a `B-` or `I-` of its type; where most entities begin
//! with `I-` the scheme is IOB1, in which that is right. With `E-` or `L-` (IOBES, BILOU) an entity that was begun is also
//! ended. Names without prefixes follow no scheme.
//!
//! Deliberately absent: repair. Rows that loading left out are passed on as it found them.

use super::{Code, Facts, Finding, LeftOut, counted, excerpt};
use crate::table::Texts;

/// From this share of entities on that begin with `I-`, the scheme is IOB1 and no mistake.
const IOB1: f64 = 0.5;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts
        .left_out
        .iter()
        .map(|left| left_out(facts, left))
        .collect();
    for (name, texts) in facts.splits {
        findings.extend(tags(facts, name, texts));
        findings.extend(answers(facts, name, texts));
    }
    findings
}

fn left_out(facts: &Facts, left: &LeftOut) -> Finding {
    let mut finding = Finding::about(left.code, &left.split, &Texts::default(), &[]);
    finding.count = left.count;
    finding.rows = left.rows.iter().copied().take(super::ROWS_NAMED).collect();
    let message = format!(
        "{} left out by loading: {}",
        counted(left.count, "row", "rows"),
        left.reason
    );
    let advice = format!(
        "mend the rows in the file behind `load.{}`; `skip_invalid` leaves them out of what is learnt and scored",
        facts.load
    );
    finding.saying(message, advice)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Outside,
    Begin,
    Inside,
    End,
    Single,
}

/// `B-PER` → the beginning of a `PER`.
fn part(tag: &str) -> Option<(Part, &str)> {
    if tag == "O" {
        return Some((Part::Outside, ""));
    }
    let (prefix, kind) = tag.split_once('-')?;
    let part = match prefix {
        "B" => Part::Begin,
        "I" | "M" => Part::Inside,
        "E" | "L" => Part::End,
        "S" | "U" => Part::Single,
        _ => return None,
    };
    Some((part, kind))
}

fn tags(facts: &Facts, name: &str, texts: &Texts<&str>) -> Option<Finding> {
    let (words, tags) = (texts.words.as_ref()?, texts.tags.as_ref()?);
    let names = facts.label_names.unwrap_or_default();
    let parts: Option<Vec<(Part, &str)>> = names.iter().map(|name| part(name)).collect();
    let parts = parts.unwrap_or_default();
    let ends = parts.iter().any(|(part, _)| *part == Part::End);
    let of = |tags: &[u32]| -> Vec<(Part, &str)> {
        tags.iter()
            .map(|&tag| {
                parts
                    .get(tag as usize)
                    .copied()
                    .unwrap_or((Part::Outside, ""))
            })
            .collect()
    };
    let (mut begun, mut inside) = (0, 0);
    let mut misfits = Vec::new();
    let mut disorders = Vec::new();
    for (row, (words, tags)) in words.iter().zip(tags).enumerate() {
        if words.len() != tags.len() {
            misfits.push(row);
            continue;
        }
        let mut before = (Part::Outside, "");
        let mut disorder = None;
        for (place, now) in of(tags)
            .into_iter()
            .chain([(Part::Outside, "")])
            .enumerate()
        {
            let open = matches!(before.0, Part::Begin | Part::Inside);
            let goes_on = matches!(now.0, Part::Inside | Part::End);
            let fits = open && before.1 == now.1;
            let broken_off = ends && open && !(goes_on && fits);
            let unbegun = goes_on && !fits;
            begun += usize::from(now.0 == Part::Begin);
            inside += usize::from(unbegun && now.0 == Part::Inside);
            if disorder.is_none() && (unbegun || broken_off) {
                disorder = Some(place);
            }
            before = now;
        }
        if let Some(place) = disorder {
            disorders.push((row, place));
        }
    }
    if !ends && inside as f64 >= IOB1 * (begun + inside).max(1) as f64 {
        disorders.clear();
    }
    let mut rows: Vec<usize> = misfits
        .iter()
        .copied()
        .chain(disorders.iter().map(|(row, _)| *row))
        .collect();
    rows.sort_unstable();
    if rows.is_empty() {
        return None;
    }
    let examples = disorders.iter().take(super::EXAMPLES).map(|(row, place)| {
        let named = |place: usize| {
            let tag = tags.get(*row)?.get(place)?;
            let word = words.get(*row)?.get(place)?;
            Some(format!("{word}/{}", names.get(*tag as usize)?))
        };
        let around = (place.saturating_sub(1)..=place + 1).filter_map(named);
        excerpt(&around.collect::<Vec<_>>().join(" "))
    });
    let message = format!(
        "{} with tags that cannot follow one another, or that are not one a word",
        counted(rows.len(), "row", "rows")
    );
    let advice = format!(
        "correct the tags in the file behind `load.{}`: an `I-` goes on an entity of its own type",
        facts.load
    );
    Some(
        Finding::about(Code::TagMisalignment, name, texts, &rows)
            .saying(message, advice)
            .showing(examples),
    )
}

fn answers(facts: &Facts, name: &str, texts: &Texts<&str>) -> Option<Finding> {
    let (contexts, answers) = (texts.text_pair.as_ref()?, texts.answers.as_ref()?);
    let stands = |context: &str, start: u32, text: &str| {
        let begin = usize::try_from(start)
            .ok()
            .and_then(|start| context.char_indices().map(|(place, _)| place).nth(start));
        let rest = begin.and_then(|begin| context.get(begin..));
        !text.is_empty() && rest.is_some_and(|rest| rest.starts_with(text))
    };
    let mut rows = Vec::new();
    let mut examples = Vec::new();
    for (row, (context, answers)) in contexts.iter().zip(answers).enumerate() {
        if let Some(answer) = answers
            .iter()
            .find(|answer| !stands(context, answer.start, answer.text))
        {
            rows.push(row);
            let there: String = context
                .chars()
                .skip(answer.start as usize)
                .take(answer.text.chars().count())
                .collect();
            examples.push(format!(
                "{}: `{}` instead of `{}`",
                answer.start,
                excerpt(&there),
                excerpt(answer.text)
            ));
        }
    }
    if rows.is_empty() {
        return None;
    }
    let message = format!(
        "{} with an answer that does not stand at its start in the context",
        counted(rows.len(), "row", "rows")
    );
    let advice = format!(
        "starts count Unicode characters from 0, not bytes: correct them in the file behind `load.{}`",
        facts.load
    );
    Some(
        Finding::about(Code::AnswerMismatch, name, texts, &rows)
            .saying(message, advice)
            .showing(examples),
    )
}
