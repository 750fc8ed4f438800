//! The answer to a question as a stretch of its context.
//!
//! A window gives each of its tokens two numbers: how well an answer starts and ends there. The answer is the stretch of at
//! most [`AnswerSettings::max_length`] tokens within the context whose two numbers have the largest sum, over all windows
//! of the question. A model that learned from questions without answers may also give none: its score is the sum at the
//! first token, the smallest over the windows, and none is given when it is ahead of the best stretch by more than the
//! threshold. This is the procedure of the BERT paper (Devlin et al., arXiv:1810.04805, section 4.3) and of transformers'
//! `run_qa.py`, which looks at the 20 best starts and ends alone, where this looks at all.
//!
//! Promise: an answer is a substring of its context.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::changes::Judged;
use super::predictions::Recalled;
use super::{
    Answers, Asked, Decisive, Outcome, Reply, Rule, Scored, SpanAnswer, TaskError, characters,
};
use crate::learn::Predictions;
use crate::metrics;
use crate::table::{Cells, NamedColumns, Span, Texts};
use crate::text::NONE;

/// Which stretches of a context may answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerSettings {
    /// The most tokens that an answer may have.
    #[schemars(range(min = 1, max = 8192))]
    pub max_length: usize,
    /// How many of the best answers are kept for each question, with their probabilities among each other.
    #[schemars(range(min = 1, max = 1000))]
    pub n_best: usize,
}

impl Default for AnswerSettings {
    fn default() -> Self {
        AnswerSettings {
            max_length: 30,
            n_best: 20,
        }
    }
}

/// A stretch of a context.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    /// In characters of the context; the end is the first character after it.
    start: u32,
    end: u32,
    /// The sum of its two outputs.
    score: f64,
}

struct Answered {
    /// The best first. `[examples][n_best]`.
    stretches: Vec<Vec<Stretch>>,
    /// The score of "no answer" less that of the best stretch.
    no_answer: Vec<f64>,
    threshold: Option<f64>,
}

pub(super) fn decide(
    rule: &Rule,
    outputs: &Predictions,
    asked: &Asked,
) -> Result<impl Answers + use<>, TaskError> {
    answered(rule, outputs, asked)
}

fn answered(rule: &Rule, outputs: &Predictions, asked: &Asked) -> Result<Answered, TaskError> {
    let rows = asked.rows;
    let mut stretches = vec![Vec::new(); rows.examples()];
    let mut nothing = vec![f64::INFINITY; rows.examples()];
    for (row, outputs) in outputs.logits.iter().enumerate() {
        let example = rows.example(row);
        let places = rows.characters(row);
        let (Some((from, to)), Some(best)) = (places, stretches.get_mut(example)) else {
            return Err(TaskError::misfit("no places in the context"));
        };
        let (pairs, _) = outputs.as_chunks::<2>();
        let Some([start, end]) = pairs.first() else {
            return Err(TaskError::misfit("no outputs for a row"));
        };
        if pairs.len() != from.len() {
            return Err(TaskError::misfit("another number of tokens"));
        }
        nothing[example] = nothing[example].min(f64::from(*start) + f64::from(*end));
        for (first, [start, _]) in pairs.iter().enumerate() {
            if from[first] == NONE {
                continue;
            }
            let within = pairs
                .iter()
                .enumerate()
                .skip(first)
                .take(rule.answers.max_length);
            for (last, [_, end]) in within {
                if to[last] == NONE {
                    break;
                }
                // Tokens of no width would be an answer of no character, which says that there is none.
                if to[last] <= from[first] {
                    continue;
                }
                best.push(Stretch {
                    start: from[first],
                    end: to[last],
                    score: f64::from(*start) + f64::from(*end),
                });
            }
        }
        keep_best(best, rule.answers.n_best);
    }
    let difference = |(stretches, nothing): (&Vec<Stretch>, f64)| {
        stretches.first().map_or(0.0, |best| nothing - best.score)
    };
    let no_answer = stretches.iter().zip(nothing).map(difference).collect();
    Ok(Answered {
        stretches,
        no_answer,
        threshold: rule
            .thresholds
            .as_ref()
            .and_then(|one| one.first().copied()),
    })
}

/// The best `n`, the best first; of equals the earlier and shorter. A stretch that two windows see counts once.
fn keep_best(stretches: &mut Vec<Stretch>, n: usize) {
    let order = |a: &Stretch, b: &Stretch| {
        let by_place = (a.start, a.end).cmp(&(b.start, b.end));
        b.score.total_cmp(&a.score).then(by_place)
    };
    // Twice as many, since each may be there twice: from this window and from one before it.
    if stretches.len() > 2 * n {
        stretches.select_nth_unstable_by(2 * n, order);
        stretches.truncate(2 * n);
    }
    stretches.sort_by(order);
    let mut kept: Vec<Stretch> = Vec::with_capacity(n);
    for stretch in stretches.drain(..) {
        let is_there = |one: &Stretch| (one.start, one.end) == (stretch.start, stretch.end);
        if kept.len() < n && !kept.iter().any(is_there) {
            kept.push(stretch);
        }
    }
    *stretches = kept;
}

/// By how much "no answer" must be ahead to score best (F1) on these rows.
pub(super) fn tuned_threshold(
    rule: &Rule,
    outputs: &Predictions,
    asked: &Asked,
) -> Result<f64, TaskError> {
    let answered = answered(rule, outputs, asked)?.without_threshold();
    let examples = examples_of(asked)?;
    let golds = golds(asked)?;
    let predicted: Vec<&str> = answered.texts(examples);
    Ok(metrics::best_threshold(
        &golds,
        &predicted,
        &answered.no_answer,
    ))
}

impl Answered {
    /// The best stretch for every question.
    fn without_threshold(&self) -> Answered {
        Answered {
            stretches: self.stretches.clone(),
            no_answer: self.no_answer.clone(),
            threshold: None,
        }
    }

    /// The answer to each question; empty for none.
    fn texts<'e>(&self, examples: &'e Texts<&str>) -> Vec<&'e str> {
        let contexts = examples.text_pair.iter().flatten();
        let of_example = |(example, context): (usize, &&'e str)| match self.best(example) {
            Some(best) => characters(context, best.start, best.end),
            None => "",
        };
        contexts.enumerate().map(of_example).collect()
    }

    /// The stretch that is given as the answer, unless none is.
    fn best(&self, example: usize) -> Option<Stretch> {
        let abstains = self.threshold.is_some_and(|threshold| {
            self.no_answer
                .get(example)
                .is_some_and(|score| *score > threshold)
        });
        let best = self.stretches.get(example)?.first().copied();
        best.filter(|_| !abstains)
    }

    /// The probability of what is answered, be it nothing.
    fn sureness(&self, example: usize) -> f32 {
        let (probabilities, nothing) = self.probabilities(example);
        let given = match self.best(example) {
            Some(_) => probabilities.first().copied(),
            None => nothing,
        };
        given.unwrap_or_default()
    }

    /// The softmax over the kept stretches, and "no answer" where that may be given.
    fn probabilities(&self, example: usize) -> (Vec<f32>, Option<f32>) {
        let stretches = self.stretches.get(example).map_or(&[][..], Vec::as_slice);
        let best = stretches.first().map_or(0.0, |best| best.score);
        let nothing = self.threshold.and(self.no_answer.get(example)).copied();
        let largest = nothing.unwrap_or(0.0).max(0.0);
        let weights = stretches
            .iter()
            .map(|one| (one.score - best - largest).exp());
        let weights: Vec<f64> = weights.collect();
        let nothing = nothing.map(|score| (score - largest).exp());
        let sum = weights.iter().sum::<f64>() + nothing.unwrap_or(0.0);
        let share = |weight: f64| (weight / sum) as f32;
        (weights.into_iter().map(share).collect(), nothing.map(share))
    }
}

impl Answers for Answered {
    fn scores(&self, asked: &Asked, loss: f64) -> Result<Scored, TaskError> {
        let examples = examples_of(asked)?;
        let golds = golds(asked)?;
        let mut scored = metrics::answers(&golds, &self.texts(examples), None);
        if self.threshold.is_some() {
            // What another threshold would make of it is a question to the answers before this one was applied.
            let considered = self.without_threshold().texts(examples);
            scored.best = Some(metrics::thresholds(&golds, &considered, &self.no_answer));
        }
        Ok(Scored {
            flat: scored.flat(loss),
            details: scored.details(),
        })
    }

    fn columns(&self, asked: &Asked) -> Vec<(String, Cells)> {
        let count = self.stretches.len();
        let mut columns = Vec::new();
        let Some(examples) = asked.examples else {
            return columns;
        };
        if let Ok(golds) = golds(asked) {
            let own = |golds: &Vec<&str>| Some(golds.iter().map(|&gold| gold.to_owned()).collect());
            let golds = golds.iter().map(own).collect();
            columns.push(("answers".to_owned(), Cells::TextLists(golds)));
        }
        let texts = self.texts(examples).into_iter();
        let texts = texts.map(|text| Some(text.to_owned())).collect();
        columns.push(("predicted".to_owned(), Cells::Texts(texts)));
        let place = |of: fn(&Stretch) -> u32| {
            let places = (0..count).map(|example| self.best(example));
            Cells::Places(places.map(|best| best.map(|best| of(&best))).collect())
        };
        columns.push(("start".to_owned(), place(|best| best.start)));
        columns.push(("end".to_owned(), place(|best| best.end)));
        let (mut sure, mut n_best) = (Vec::new(), Vec::new());
        let contexts = examples.text_pair.iter().flatten();
        for (example, context) in contexts.enumerate() {
            let (probabilities, _) = self.probabilities(example);
            sure.push(self.sureness(example));
            let span = |(stretch, &score): (&Stretch, &f32)| Span {
                label: None,
                start: stretch.start,
                end: stretch.end,
                text: characters(context, stretch.start, stretch.end).to_owned(),
                score,
            };
            let stretches = self.stretches.get(example).into_iter().flatten();
            n_best.push(stretches.zip(&probabilities).map(span).collect());
        }
        columns.push(("probability".to_owned(), Cells::Floats(sure)));
        if self.threshold.is_some() {
            let scores = self.no_answer.iter().map(|&score| Some(score)).collect();
            columns.push(("no_answer_score".to_owned(), Cells::Numbers(scores)));
        }
        columns.push(("n_best".to_owned(), Cells::Spans(n_best)));
        columns
    }

    fn replies(&self, asked: &Asked) -> Vec<Reply> {
        let contexts = asked
            .examples
            .and_then(|examples| examples.text_pair.as_ref());
        let contexts = contexts.into_iter().flatten().enumerate();
        let reply = |(example, context): (usize, &&str)| {
            let (probabilities, nothing) = self.probabilities(example);
            let stretches = self.stretches.get(example).into_iter().flatten();
            let stretches = stretches.zip(probabilities);
            let mut answers: Vec<SpanAnswer> = stretches
                .map(|(stretch, score)| SpanAnswer {
                    text: characters(context, stretch.start, stretch.end).to_owned(),
                    start: stretch.start,
                    end: stretch.end,
                    score,
                })
                .collect();
            // A context without a token has no answer, whatever the model may give.
            let nothing = nothing.or(answers.is_empty().then_some(0.0));
            if let Some(score) = nothing {
                let given = self.best(example);
                // What is given comes first, also where a threshold chose the less likely one.
                let place = match given {
                    None => 0,
                    Some(_) => answers.partition_point(|one| one.score >= score).max(1),
                };
                let none = SpanAnswer {
                    text: String::new(),
                    start: 0,
                    end: 0,
                    score,
                };
                answers.insert(place, none);
            }
            Reply::Answers(answers)
        };
        contexts.map(reply).collect()
    }

    fn outcomes(&self, asked: &Asked) -> Result<Vec<Option<Outcome>>, TaskError> {
        let examples = examples_of(asked)?;
        let right = golds(asked)?
            .iter()
            .zip(self.texts(examples))
            .map(|(golds, text)| metrics::exact_match(golds, text))
            .collect::<Vec<bool>>();
        let outcome = |(example, right): (usize, bool)| {
            self.stretches.get(example)?.first()?;
            Some(Outcome {
                right,
                sure: self.sureness(example),
            })
        };
        Ok(right.into_iter().enumerate().map(outcome).collect())
    }

    /// Of the best stretch, whether it was given or not, in the window that has it.
    fn decisive(&self, asked: &Asked, outputs: &Predictions, example: usize) -> Option<Decisive> {
        let best = self.stretches.get(example)?.first()?;
        let rows = asked.rows;
        let mut windows = (0..rows.rows()).filter(|&row| rows.example(row) == example);
        let (row, start, end) = windows.find_map(|row| {
            let (from, to) = rows.characters(row)?;
            let (pairs, _) = outputs.logits.get(row)?.as_chunks::<2>();
            let starts = (0..from.len()).filter(|&token| from[token] == best.start);
            let ends = |&token: &usize| to[token] == best.end;
            let mut stretches = starts
                .flat_map(|start| (start..to.len()).filter(ends).map(move |end| (start, end)));
            let score = |(start, end): (usize, usize)| {
                Some(f64::from(pairs.get(start)?[0]) + f64::from(pairs.get(end)?[1]))
            };
            let found = stretches.find(|&stretch| score(stretch) == Some(best.score));
            found.map(|(start, end)| (row, start, end))
        })?;
        let context = *asked.examples?.text_pair.as_ref()?.get(example)?;
        Some(Decisive {
            row,
            output: vec![(start, 0), (end, 1)],
            name: characters(context, best.start, best.end).to_owned(),
        })
    }
}

/// Questions of predictions, to be scored again. An answer is right if it matches exactly.
pub(super) fn recall(columns: &NamedColumns) -> Option<Recalled> {
    let (answers, predicted) = (columns.lists("answers")?, columns.texts("predicted")?);
    let sure = columns.floats("probability");
    let judge = |(row, (golds, predicted)): (usize, (&Vec<&str>, &&str))| Judged {
        right: metrics::exact_match(golds, predicted),
        confidence: sure.and_then(|sure| sure.get(row).copied()),
    };
    let judged = answers.iter().zip(&predicted).enumerate().map(judge);
    Some(Recalled {
        gold: vec!["answers".to_owned()],
        judged: Some(judged.collect()),
        sample: metrics::sample_of_answers(&answers, &predicted),
    })
}

fn examples_of<'a>(asked: &Asked<'a>) -> Result<&'a Texts<&'a str>, TaskError> {
    asked
        .examples
        .ok_or_else(|| TaskError::misfit("no contexts"))
}

/// The right answers to each question; none where it has none.
fn golds<'a>(asked: &Asked<'a>) -> Result<Vec<Vec<&'a str>>, TaskError> {
    let examples = examples_of(asked)?;
    let nothing = || TaskError::NothingToCompare {
        row: examples.id.first().copied().unwrap_or_default(),
        column: "answers",
    };
    let answers = examples.answers.as_ref().ok_or_else(nothing)?;
    let texts = answers
        .iter()
        .map(|answers| answers.iter().map(|answer| answer.text).collect());
    Ok(texts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Rows;
    use crate::table::Answer;

    /// Two windows of a question about `a b c d`: [CLS] and question, then three words each, of which they share two.
    struct Windows;

    const FROM: [[u32; 4]; 2] = [[NONE, 0, 2, 4], [NONE, 2, 4, 6]];
    const TO: [[u32; 4]; 2] = [[NONE, 1, 3, 5], [NONE, 3, 5, 7]];

    impl Rows for Windows {
        fn rows(&self) -> usize {
            2
        }
        fn ids(&self, _: usize) -> &[u32] {
            &[1, 2, 3, 4]
        }
        fn type_ids(&self, _: usize) -> &[u8] {
            &[0, 1, 1, 1]
        }
        fn label(&self, _: usize) -> Option<u32> {
            None
        }
        fn characters(&self, row: usize) -> Option<(&[u32], &[u32])> {
            Some((&FROM[row], &TO[row]))
        }
        fn example(&self, _: usize) -> usize {
            0
        }
        fn examples(&self) -> usize {
            1
        }
        fn id(&self, _: usize) -> u64 {
            7
        }
    }

    fn example() -> Texts<&'static str> {
        Texts {
            id: vec![7],
            copy: vec![0],
            text: vec!["?"],
            text_pair: Some(vec!["a b c d"]),
            answers: Some(vec![vec![Answer {
                start: 2,
                text: "b c",
            }]]),
            ..Texts::default()
        }
    }

    /// Starts and ends of both windows' tokens.
    fn outputs() -> Predictions {
        let window = |pairs: [[f32; 2]; 4]| pairs.concat();
        Predictions {
            logits: vec![
                window([[2.0, 2.0], [0.0, 0.0], [3.0, 0.0], [0.0, 1.0]]),
                window([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [0.0, 3.5]]),
            ],
        }
    }

    fn rule(thresholds: Option<Vec<f64>>, max_length: usize) -> Rule {
        Rule {
            task: super::super::Task::QuestionAnswering,
            names: Vec::new(),
            thresholds,
            scheme: None,
            answers: AnswerSettings {
                max_length,
                n_best: 3,
            },
        }
    }

    fn asked_of(rule: &Rule) -> (Answered, Vec<String>) {
        let examples = example();
        let asked = Asked {
            rows: &Windows,
            examples: Some(&examples),
            places: None,
        };
        let answered = answered(rule, &outputs(), &asked).unwrap();
        let texts = answered.texts(&examples);
        let texts = texts.into_iter().map(str::to_owned).collect();
        (answered, texts)
    }

    #[test]
    fn the_best_stretch_of_all_windows_answers_and_no_longer_one() {
        assert_eq!(asked_of(&rule(None, 30)).1, ["b c d"]);
        assert_eq!(asked_of(&rule(None, 2)).1, ["b c"]);
        assert_eq!(asked_of(&rule(None, 1)).1, ["d"], "3.5, not 3");
    }

    #[test]
    fn a_stretch_that_two_windows_see_is_kept_once() {
        let (answered, _) = asked_of(&rule(None, 2));
        let kept: Vec<(u32, u32, f64)> = answered.stretches[0]
            .iter()
            .map(|one| (one.start, one.end, one.score))
            .collect();
        assert_eq!(kept, [(2, 5, 4.0), (4, 7, 3.5), (6, 7, 3.5)]);
    }

    #[test]
    fn no_answer_is_given_when_it_is_further_ahead_than_the_threshold() {
        // The least of both windows' first tokens, 3, less the best stretch, 6.5.
        assert_eq!(asked_of(&rule(Some(vec![0.0]), 30)).0.no_answer, [-3.5]);
        assert_eq!(asked_of(&rule(Some(vec![-3.5]), 30)).1, ["b c d"]);
        assert_eq!(asked_of(&rule(Some(vec![-3.6]), 30)).1, [""]);
    }

    #[test]
    fn probabilities_are_shares_of_what_may_be_answered() {
        let (answered, _) = asked_of(&rule(Some(vec![0.0]), 2));
        let (stretches, nothing) = answered.probabilities(0);
        let sum: f32 = stretches.iter().sum::<f32>() + nothing.unwrap();
        assert!((sum - 1.0).abs() < 1e-6);
        assert!((stretches[0] / nothing.unwrap() - 1_f32.exp()).abs() < 1e-5);
        let (answered, _) = asked_of(&rule(None, 2));
        assert_eq!(answered.probabilities(0).1, None);
    }

    #[test]
    fn a_threshold_is_tuned_only_where_there_may_be_no_answer() {
        let examples = example();
        let asked = Asked {
            rows: &Windows,
            examples: Some(&examples),
            places: None,
        };
        let tuned = |thresholds| rule(thresholds, 2).tuned(&outputs(), &asked).unwrap();
        assert_eq!(tuned(None).thresholds, None);
        let threshold = tuned(Some(vec![-100.0])).thresholds.unwrap()[0];
        assert!(threshold >= -1.0, "the right answer is given: {threshold}");
    }
}
