//! refit's own responses: what a model answers, by its task, and which of it a request wants to see.
//!
//! Deliberately absent: anything that is read.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use super::Shown;
use crate::serve::model::Reply;
use crate::task::Task;

/// What a model answers to a request.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Response<'a, P> {
    /// The name of the model.
    model: &'a str,
    task: Task,
    /// One for each text, in order.
    predictions: Vec<P>,
}

/// A label and how probable it is.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Probability<'a> {
    label: &'a str,
    probability: f32,
}

/// The likeliest label.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Classified<'a> {
    label: &'a str,
    probability: f32,
    /// The likeliest first.
    probabilities: Vec<Probability<'a>>,
}

/// The labels that are given.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Labelled<'a> {
    labels: Vec<&'a str>,
    /// The likeliest first; they do not add up to 1.
    probabilities: Vec<Probability<'a>>,
}

/// A number and what it is of.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Value<'a> {
    target: &'a str,
    value: f32,
}

/// The numbers, in the order of the targets.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Measured<'a> {
    values: Vec<Value<'a>>,
}

/// A part of the text.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct FoundEntity<'a> {
    label: &'a str,
    /// The first character.
    start: u32,
    /// The first character behind it.
    end: u32,
    text: &'a str,
    score: f32,
}

/// The entities, in the order of the text.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Tagged<'a> {
    entities: Vec<FoundEntity<'a>>,
}

/// A part of the context; an empty text from 0 to 0 is no answer.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct FoundAnswer<'a> {
    text: &'a str,
    /// The first character.
    start: u32,
    /// The first character behind it.
    end: u32,
    score: f32,
}

/// The answers to a question.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Answered<'a> {
    /// The best answer; none where the context has none.
    answer: Option<&'a str>,
    /// The best first.
    answers: Vec<FoundAnswer<'a>>,
}

/// One of the five, by the task.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Prediction<'a> {
    Classified(Classified<'a>),
    Labelled(Labelled<'a>),
    Measured(Measured<'a>),
    Tagged(Tagged<'a>),
    Answered(Answered<'a>),
}

/// Places of the numbers, the greatest first; of equals the first first.
pub(in crate::serve) fn ranked(numbers: &[f32], most: Option<usize>) -> Vec<usize> {
    let mut places: Vec<usize> = (0..numbers.len()).collect();
    places.sort_by(|&a, &b| numbers[b].total_cmp(&numbers[a]));
    places.truncate(most.unwrap_or(usize::MAX));
    places
}

/// The name of a label by its place.
pub(in crate::serve) fn name_of(names: &[String], place: usize) -> &str {
    names.get(place).map_or("", String::as_str)
}

fn prediction<'a>(
    task: Task,
    names: &'a [String],
    reply: &'a Reply,
    shown: Shown,
) -> Prediction<'a> {
    match reply {
        Reply::Labels {
            probabilities,
            given,
        } => {
            let probability = |place: usize| Probability {
                label: name_of(names, place),
                probability: probabilities.get(place).copied().unwrap_or_default(),
            };
            let listed = ranked(probabilities, shown.top_k).into_iter();
            let listed = listed.map(probability).collect();
            if task == Task::MultiLabel {
                let over = |threshold: f32| {
                    let places = 0..probabilities.len();
                    let over = places.filter(|&place| probabilities[place] >= threshold);
                    over.collect()
                };
                let given: Vec<usize> = shown.threshold.map_or_else(|| given.clone(), over);
                return Prediction::Labelled(Labelled {
                    labels: given.iter().map(|&place| name_of(names, place)).collect(),
                    probabilities: listed,
                });
            }
            let best = probability(given.first().copied().unwrap_or_default());
            Prediction::Classified(Classified {
                label: best.label,
                probability: best.probability,
                probabilities: listed,
            })
        }
        Reply::Numbers(numbers) => {
            let value = |(place, &value)| Value {
                target: name_of(names, place),
                value,
            };
            Prediction::Measured(Measured {
                values: numbers.iter().enumerate().map(value).collect(),
            })
        }
        Reply::Entities(entities) => {
            let least = shown.threshold.unwrap_or(f32::NEG_INFINITY);
            let shown = entities.iter().filter(|entity| entity.score >= least);
            let entities = shown.map(|entity| FoundEntity {
                label: &entity.label,
                start: entity.start,
                end: entity.end,
                text: &entity.text,
                score: entity.score,
            });
            Prediction::Tagged(Tagged {
                entities: entities.collect(),
            })
        }
        Reply::Answers(answers) => {
            let best = answers.first().map(|best| best.text.as_str());
            let answers = answers.iter().take(shown.top_k.unwrap_or(usize::MAX));
            let answers = answers.map(|answer| FoundAnswer {
                text: &answer.text,
                start: answer.start,
                end: answer.end,
                score: answer.score,
            });
            Prediction::Answered(Answered {
                answer: best.filter(|text| !text.is_empty()),
                answers: answers.collect(),
            })
        }
    }
}

/// The response to a request, as JSON.
pub fn written(
    model: &str,
    task: Task,
    names: &[String],
    replies: &[Reply],
    shown: Shown,
) -> Vec<u8> {
    let predictions = replies.iter();
    let response = Response {
        model,
        task,
        predictions: predictions
            .map(|reply| prediction(task, names, reply, shown))
            .collect(),
    };
    // Texts and numbers are JSON; a number that is not finite becomes null.
    serde_json::to_vec(&response).unwrap_or_default()
}

/// The schema of a response of a model of this task.
pub fn response_schema(task: Task, generator: &mut SchemaGenerator) -> Schema {
    match task {
        Task::Classification => generator.subschema_for::<Response<Classified>>(),
        Task::MultiLabel => generator.subschema_for::<Response<Labelled>>(),
        Task::Regression => generator.subschema_for::<Response<Measured>>(),
        Task::TokenClassification => generator.subschema_for::<Response<Tagged>>(),
        Task::QuestionAnswering => generator.subschema_for::<Response<Answered>>(),
    }
}
