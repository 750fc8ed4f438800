//! refit's own requests and responses.
//!
//! A request asks for one text (`text`, with `pair`) or several (`texts`); a model that answers questions takes `question`
//! and `context`. A response has `predictions`, one for each, in order. Characters are counted in Unicode scalar values from
//! 0, and an end is the first that is not part any more.
//!
//! The types are at once what is read, what is written, and what the OpenAPI document shows. A field that a model's task
//! does not know is an error that names those it knows.
//!
//! Deliberately absent: the shapes of others (`inference`), and any decision but which of the answers are shown.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};

use super::model::{Question, Reply};
use super::refusal::Refusal;
use crate::task::Task;

/// A text as a request holds it.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Text(String);

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Its greatest length is the server's to say.
        json_schema!({ "type": "string", "description": "A text in any language." })
    }
}

/// A field that is there has a value: `null` is none.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// How many are shown, at least one. As in JSON Schema, 3.0 is a whole number, too.
#[derive(Debug, Clone, Copy)]
pub struct TopK(pub(super) usize);

impl<'de> Deserialize<'de> for TopK {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = TopK;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a whole number of at least 1")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<TopK, E> {
                match number {
                    0 => Err(E::invalid_value(serde::de::Unexpected::Unsigned(0), &self)),
                    // There are never as many as that.
                    _ => Ok(TopK(usize::try_from(number).unwrap_or(usize::MAX))),
                }
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<TopK, E> {
                match number >= 1.0 && number.fract() == 0.0 {
                    true => Ok(TopK(number as usize)),
                    false => Err(E::invalid_value(
                        serde::de::Unexpected::Float(number),
                        &self,
                    )),
                }
            }
        }
        from.deserialize_any(Visitor)
    }
}

impl JsonSchema for TopK {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TopK".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1 })
    }
}

/// An object and nothing else, where serde would take a list for one, too.
#[derive(Debug)]
pub struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<Object<T>, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                T::deserialize(map).map(Object)
            }
        }
        from.deserialize_any(Visitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Two texts that belong together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    text: Text,
    /// The second text, for a model that was trained on pairs.
    #[serde(default, alias = "text_pair", deserialize_with = "given")]
    #[schemars(with = "Text")]
    pair: Option<Text>,
}

/// A text, or a pair of texts.
#[derive(Debug)]
pub enum TextOrPair {
    Text(Text),
    Pair(Pair),
}

impl<'de> Deserialize<'de> for TextOrPair {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = TextOrPair;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a text, or an object with `text` and `pair`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TextOrPair, E> {
                self.visit_string(text.to_owned())
            }

            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<TextOrPair, E> {
                Ok(TextOrPair::Text(Text(text)))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<TextOrPair, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                Pair::deserialize(map).map(TextOrPair::Pair)
            }
        }
        from.deserialize_any(Visitor)
    }
}

impl JsonSchema for TextOrPair {
    fn schema_name() -> Cow<'static, str> {
        "TextOrPair".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (text, pair) = (
            generator.subschema_for::<Text>(),
            generator.subschema_for::<Pair>(),
        );
        json_schema!({ "description": "A text, or a pair of texts.", "anyOf": [text, pair] })
    }
}

/// A question about a context.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AboutContext {
    question: Text,
    /// The text in which the answer is looked for.
    context: Text,
}

/// What is asked of a model, in any shape.
pub trait Item: DeserializeOwned + JsonSchema {
    fn question(self) -> Question;
}

impl Item for Text {
    fn question(self) -> Question {
        Question {
            text: self.0,
            pair: None,
        }
    }
}

impl Item for TextOrPair {
    fn question(self) -> Question {
        match self {
            TextOrPair::Text(text) => text.question(),
            TextOrPair::Pair(pair) => Question {
                text: pair.text.0,
                pair: pair.pair.map(|text| text.0),
            },
        }
    }
}

impl Item for Object<AboutContext> {
    fn question(self) -> Question {
        Question {
            text: self.0.question.0,
            pair: Some(self.0.context.0),
        }
    }
}

/// Which of the answers a request wants to see.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shown {
    pub top_k: Option<usize>,
    pub threshold: Option<f32>,
}

/// What a request asks.
#[derive(Debug)]
pub struct Wanted {
    pub questions: Vec<Question>,
    pub shown: Shown,
}

/// The request of a task.
trait Requested: DeserializeOwned + JsonSchema {
    fn wanted(self) -> Result<Wanted, Refusal>;
}

/// Asks for the label of a text or of several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["text"] }, { "required": ["texts"] }], "dependentRequired" = { "pair": ["text"] }))]
pub struct ClassificationRequest {
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Text")]
    text: Option<Text>,
    /// The second text, for a model that was trained on pairs.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Text")]
    pair: Option<Text>,
    /// Several texts or pairs.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<TextOrPair>")]
    texts: Option<Vec<TextOrPair>>,
    /// How many labels are shown with their probabilities, the likeliest first. Default: all.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "TopK")]
    top_k: Option<TopK>,
}

/// Asks for the labels of a text or of several, any number for each.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["text"] }, { "required": ["texts"] }], "dependentRequired" = { "pair": ["text"] }))]
pub struct MultiLabelRequest {
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Text")]
    text: Option<Text>,
    /// The second text, for a model that was trained on pairs.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Text")]
    pair: Option<Text>,
    /// Several texts or pairs.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<TextOrPair>")]
    texts: Option<Vec<TextOrPair>>,
    /// How many labels are shown with their probabilities, the likeliest first. Default: all.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "TopK")]
    top_k: Option<TopK>,
    /// From which probability on a label is given. Default: the thresholds that the model was saved with.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "f32", range(min = 0.0, max = 1.0))]
    threshold: Option<f32>,
}

/// Asks for the numbers of a text or of several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["text"] }, { "required": ["texts"] }], "dependentRequired" = { "pair": ["text"] }))]
pub struct RegressionRequest {
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Text")]
    text: Option<Text>,
    /// The second text, for a model that was trained on pairs.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Text")]
    pair: Option<Text>,
    /// Several texts or pairs.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<TextOrPair>")]
    texts: Option<Vec<TextOrPair>>,
}

/// Asks for the entities in a text or in several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["text"] }, { "required": ["texts"] }]))]
pub struct TokenClassificationRequest {
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Text")]
    text: Option<Text>,
    /// Several texts.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<Text>")]
    texts: Option<Vec<Text>>,
    /// From which score on an entity is shown. Default: all.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "f32", range(min = 0.0, max = 1.0))]
    threshold: Option<f32>,
}

/// Asks a question about a context, or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["question", "context"] }, { "required": ["texts"] }], "dependentRequired" = { "question": ["context"], "context": ["question"] }))]
pub struct QuestionAnsweringRequest {
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Text")]
    question: Option<Text>,
    /// The text in which the answer is looked for.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Text")]
    context: Option<Text>,
    /// Several questions, each with its context.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<AboutContext>")]
    texts: Option<Vec<Object<AboutContext>>>,
    /// How many answers are shown, the likeliest first. Default: as many as the model keeps.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "TopK")]
    top_k: Option<TopK>,
}

/// The one or the many that a request asks for.
fn either<I: Item>(
    one: Option<I>,
    several: Option<Vec<I>>,
    names: &str,
) -> Result<Vec<Question>, Refusal> {
    match (one, several) {
        (Some(one), None) => Ok(vec![one.question()]),
        (None, Some(several)) => Ok(several.into_iter().map(Item::question).collect()),
        (Some(_), Some(_)) => Err(Refusal::invalid(format!(
            "a request has {names} or `texts`, and this one has both"
        ))),
        (None, None) => Err(Refusal::invalid(format!(
            "a request has {names} or `texts`, and this one has neither"
        ))),
    }
}

fn text_and_pair(text: Option<Text>, pair: Option<Text>) -> Result<Option<TextOrPair>, Refusal> {
    match (text, pair) {
        (None, Some(_)) => Err(Refusal::invalid(
            "`pair` belongs to `text`; in `texts` each pair is an object with `text` and `pair`",
        )),
        (text, pair) => Ok(text.map(|text| TextOrPair::Pair(Pair { text, pair }))),
    }
}

fn share(threshold: Option<f32>) -> Result<Option<f32>, Refusal> {
    match threshold {
        Some(threshold) if !(0.0..=1.0).contains(&threshold) => Err(Refusal::invalid(format!(
            "`threshold` is {threshold}, wanted a probability from 0 to 1"
        ))),
        other => Ok(other),
    }
}

impl Requested for ClassificationRequest {
    fn wanted(self) -> Result<Wanted, Refusal> {
        Ok(Wanted {
            questions: either(text_and_pair(self.text, self.pair)?, self.texts, "`text`")?,
            shown: Shown {
                top_k: self.top_k.map(|TopK(most)| most),
                threshold: None,
            },
        })
    }
}

impl Requested for MultiLabelRequest {
    fn wanted(self) -> Result<Wanted, Refusal> {
        Ok(Wanted {
            questions: either(text_and_pair(self.text, self.pair)?, self.texts, "`text`")?,
            shown: Shown {
                top_k: self.top_k.map(|TopK(most)| most),
                threshold: share(self.threshold)?,
            },
        })
    }
}

impl Requested for RegressionRequest {
    fn wanted(self) -> Result<Wanted, Refusal> {
        Ok(Wanted {
            questions: either(text_and_pair(self.text, self.pair)?, self.texts, "`text`")?,
            shown: Shown::default(),
        })
    }
}

impl Requested for TokenClassificationRequest {
    fn wanted(self) -> Result<Wanted, Refusal> {
        Ok(Wanted {
            questions: either(self.text, self.texts, "`text`")?,
            shown: Shown {
                top_k: None,
                threshold: share(self.threshold)?,
            },
        })
    }
}

impl Requested for QuestionAnsweringRequest {
    fn wanted(self) -> Result<Wanted, Refusal> {
        let one = match (self.question, self.context) {
            (Some(question), Some(context)) => Some(Object(AboutContext { question, context })),
            (None, None) => None,
            _ => {
                return Err(Refusal::invalid(
                    "`question` and `context` belong together, and one of them is missing",
                ));
            }
        };
        Ok(Wanted {
            questions: either(one, self.texts, "`question` and `context`")?,
            shown: Shown {
                top_k: self.top_k.map(|TopK(most)| most),
                threshold: None,
            },
        })
    }
}

/// A body as a type.
///
/// # Errors
/// 400 where it is no JSON in UTF-8, 422 at the place of what does not fit.
pub(super) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| Refusal::not_utf8(error.valid_up_to()))?;
    let mut from = serde_json::Deserializer::from_str(text);
    let Object(parsed): Object<T> =
        serde_path_to_error::deserialize(&mut from).map_err(|error| {
            let (path, error) = (error.path().to_string(), error.into_inner());
            match error.classify() {
                serde_json::error::Category::Data if path == "." => {
                    Refusal::invalid(error.to_string())
                }
                serde_json::error::Category::Data => Refusal::invalid(format!("{path}: {error}")),
                _ => Refusal::not_json(error),
            }
        })?;
    from.end().map_err(Refusal::not_json)?;
    Ok(parsed)
}

/// Reads a request to a model of this task.
///
/// # Errors
/// What is wrong with it.
pub fn read(task: Task, body: &[u8]) -> Result<Wanted, Refusal> {
    fn of<R: Requested>(body: &[u8]) -> Result<Wanted, Refusal> {
        parsed::<R>(body)?.wanted()
    }
    match task {
        Task::Classification => of::<ClassificationRequest>(body),
        Task::MultiLabel => of::<MultiLabelRequest>(body),
        Task::Regression => of::<RegressionRequest>(body),
        Task::TokenClassification => of::<TokenClassificationRequest>(body),
        Task::QuestionAnswering => of::<QuestionAnsweringRequest>(body),
    }
}

/// The schema of a request to a model of this task.
pub fn request_schema(task: Task, generator: &mut SchemaGenerator) -> Schema {
    match task {
        Task::Classification => generator.subschema_for::<ClassificationRequest>(),
        Task::MultiLabel => generator.subschema_for::<MultiLabelRequest>(),
        Task::Regression => generator.subschema_for::<RegressionRequest>(),
        Task::TokenClassification => generator.subschema_for::<TokenClassificationRequest>(),
        Task::QuestionAnswering => generator.subschema_for::<QuestionAnsweringRequest>(),
    }
}

/// What a model answers to a request.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Response<'a, P> {
    /// The name of the model.
    model: &'a str,
    task: Task,
    /// One for each text, in order.
    predictions: Vec<P>,
}

/// A label and how probable it is.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Probability<'a> {
    label: &'a str,
    probability: f32,
}

/// The likeliest label.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Classified<'a> {
    label: &'a str,
    probability: f32,
    /// The likeliest first.
    probabilities: Vec<Probability<'a>>,
}

/// The labels that are given.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Labelled<'a> {
    labels: Vec<&'a str>,
    /// The likeliest first; they do not add up to 1.
    probabilities: Vec<Probability<'a>>,
}

/// A number and what it is of.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Value<'a> {
    target: &'a str,
    value: f32,
}

/// The numbers, in the order of the targets.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Measured<'a> {
    values: Vec<Value<'a>>,
}

/// A part of the text.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct FoundEntity<'a> {
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
pub struct Tagged<'a> {
    entities: Vec<FoundEntity<'a>>,
}

/// A part of the context; an empty text from 0 to 0 is no answer.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct FoundAnswer<'a> {
    text: &'a str,
    /// The first character.
    start: u32,
    /// The first character behind it.
    end: u32,
    score: f32,
}

/// The answers to a question.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Answered<'a> {
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
pub(super) fn ranked(numbers: &[f32], most: Option<usize>) -> Vec<usize> {
    let mut places: Vec<usize> = (0..numbers.len()).collect();
    places.sort_by(|&a, &b| numbers[b].total_cmp(&numbers[a]));
    places.truncate(most.unwrap_or(usize::MAX));
    places
}

/// The name of a label by its place.
pub(super) fn name_of(names: &[String], place: usize) -> &str {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::model::{Entity, SpanAnswer};
    use axum::http::StatusCode;
    use serde_json::json;

    fn asked(task: Task, body: serde_json::Value) -> Result<Wanted, Refusal> {
        read(task, body.to_string().as_bytes())
    }

    fn shown(task: Task, names: &[&str], reply: Reply, shown: Shown) -> serde_json::Value {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let written = written("m", task, &names, &[reply], shown);
        let response: serde_json::Value = serde_json::from_slice(&written).unwrap();
        response["predictions"][0].clone()
    }

    #[test]
    fn one_text_a_pair_and_several_are_read() {
        let task = Task::Classification;
        let wanted = asked(task, json!({ "text": "a", "pair": "b", "top_k": 2.0 })).unwrap();
        assert_eq!(wanted.questions[0].pair.as_deref(), Some("b"));
        assert_eq!(wanted.shown.top_k, Some(2));
        let several = json!({ "texts": ["a", { "text": "b", "pair": "c" }, { "text": "d" }] });
        let wanted = asked(task, several).unwrap();
        let texts: Vec<&str> = wanted.questions.iter().map(|one| &*one.text).collect();
        assert_eq!(texts, ["a", "b", "d"]);
        let question = json!({ "question": "who?", "context": "me" });
        let wanted = asked(Task::QuestionAnswering, question).unwrap();
        assert_eq!(wanted.questions[0].pair.as_deref(), Some("me"));
    }

    #[test]
    fn what_does_not_fit_is_refused_at_its_place() {
        let invalid = [
            (Task::Classification, json!({}), "neither"),
            (
                Task::Classification,
                json!({ "text": "a", "texts": [] }),
                "both",
            ),
            (Task::Classification, json!({ "text": null }), "text: "),
            (Task::Classification, json!({ "text": 7 }), "text: "),
            (
                Task::Classification,
                json!({ "texts": ["a", 7] }),
                "texts[1]: ",
            ),
            (
                Task::Classification,
                json!({ "texts": ["a"], "pair": "b" }),
                "`pair`",
            ),
            (
                Task::Classification,
                json!({ "text": "a", "top_k": 0 }),
                "top_k: ",
            ),
            (
                Task::Classification,
                json!({ "text": "a", "top_k": 1.5 }),
                "top_k: ",
            ),
            (
                Task::Classification,
                json!({ "text": "a", "top_k": -1 }),
                "top_k: ",
            ),
            (
                Task::Classification,
                json!({ "text": "a", "threshold": 0.5 }),
                "threshold",
            ),
            (Task::Classification, json!({ "question": "a" }), "question"),
            (Task::Classification, json!(["a"]), "expected"),
            (
                Task::MultiLabel,
                json!({ "text": "a", "threshold": 1.5 }),
                "`threshold`",
            ),
            (
                Task::TokenClassification,
                json!({ "text": "a", "pair": "b" }),
                "pair",
            ),
            (
                Task::QuestionAnswering,
                json!({ "question": "a" }),
                "`context`",
            ),
            (
                Task::QuestionAnswering,
                json!({ "texts": ["a"] }),
                "texts[0]",
            ),
        ];
        for (task, body, part) in invalid {
            let refused = asked(task, body.clone()).unwrap_err();
            assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
            assert!(format!("{refused:?}").contains(part), "{body}: {refused:?}");
        }
    }

    #[test]
    fn what_is_no_json_is_another_fault_than_what_does_not_fit() {
        let deep = "[".repeat(100_000);
        for body in [
            "",
            "{",
            "{\"text\": \"a\"} x",
            "{\"text\": \"\\ud800\"}",
            &deep,
        ] {
            let refused = read(Task::Classification, body.as_bytes()).unwrap_err();
            assert!(
                [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY]
                    .contains(&refused.status()),
                "{refused:?}"
            );
        }
        let refused = read(Task::Classification, b"{\"text\": \"\xff\"}").unwrap_err();
        assert_eq!(refused.code(), "invalid_utf8");
    }

    #[test]
    fn labels_are_shown_by_probability_and_given_by_threshold() {
        let reply = || Reply::Labels {
            probabilities: vec![0.25, 0.5, 0.25],
            given: vec![1],
        };
        let names = ["a", "b", "c"];
        let top = Shown {
            top_k: Some(2),
            threshold: None,
        };
        assert_eq!(
            shown(Task::Classification, &names, reply(), top),
            json!({ "label": "b", "probability": 0.5, "probabilities": [
                { "label": "b", "probability": 0.5 }, { "label": "a", "probability": 0.25 }] })
        );
        let low = Shown {
            top_k: Some(1),
            threshold: Some(0.25),
        };
        assert_eq!(
            shown(Task::MultiLabel, &names, reply(), low),
            json!({ "labels": ["a", "b", "c"], "probabilities": [{ "label": "b", "probability": 0.5 }] })
        );
        let own = shown(Task::MultiLabel, &names, reply(), Shown::default());
        assert_eq!(own["labels"], json!(["b"]));
    }

    #[test]
    fn no_answer_is_null_and_stays_among_the_answers() {
        let span = |text: &str, end, score| SpanAnswer {
            text: text.to_owned(),
            start: 0,
            end,
            score,
        };
        let answers = Reply::Answers(vec![span("", 0, 0.75), span("me", 2, 0.25)]);
        let found = shown(Task::QuestionAnswering, &[], answers, Shown::default());
        assert_eq!(found["answer"], json!(null));
        assert_eq!(found["answers"][1]["text"], "me");
    }

    #[test]
    fn unsure_entities_can_be_left_out() {
        let entity = |label: &str, score| Entity {
            label: label.to_owned(),
            start: 0,
            end: 3,
            text: "Ann".to_owned(),
            score,
        };
        let reply = Reply::Entities(vec![entity("PER", 0.75), entity("LOC", 0.25)]);
        let sure = Shown {
            top_k: None,
            threshold: Some(0.5),
        };
        assert_eq!(
            shown(Task::TokenClassification, &[], reply, sure),
            json!({ "entities": [{ "label": "PER", "start": 0, "end": 3, "text": "Ann", "score": 0.75 }] })
        );
    }
}
