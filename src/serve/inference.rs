//! The requests and responses of Hugging Face's Inference API, so that `huggingface_hub.InferenceClient(model="http://…")`
//! and what else speaks it can ask a model here.
//!
//! A request has `inputs`, one or a list, and `parameters`. What is answered:
//!
//! - text classification, multi-label and regression: for each text a list of `{label, score}`, also for a single text. All
//!   labels unless `top_k` says how many, the highest score first. The scores of regression are its numbers as they are, and
//!   its labels the names of the targets, in their order: what transformers' pipeline makes of such a model.
//! - token classification: a list of `{entity_group, score, word, start, end}`, or a list of those for a list of texts. refit
//!   decides word by word, so every strategy but `none` is the same here, and `none` is refused.
//! - question answering: `{score, start, end, answer}`, or a list of those where `top_k` is above 1. `handle_impossible_answer`
//!   set to false leaves "no answer" out.
//!
//! A parameter that would not be followed is refused, never ignored; `options` belong to the service and mean nothing here.
//!
//! Deliberately absent: shapes that no task of refit has.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};

use super::model::{Question, Reply};
use super::refusal::Refusal;
use super::shapes::{AboutContext, Item, Object, Text, TextOrPair, TopK, name_of, parsed, ranked};
use crate::task::Task;

/// One text, or a list of them.
#[derive(Debug)]
enum Inputs<I> {
    One(I),
    Several(Vec<I>),
}

impl<'de, I: Item> Deserialize<'de> for Inputs<I> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor<I>(std::marker::PhantomData<I>);
        impl<'de, I: Item> serde::de::Visitor<'de> for Visitor<I> {
            type Value = Inputs<I>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("what the model is asked, or a list of it")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Inputs<I>, E> {
                self.visit_string(text.to_owned())
            }

            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Inputs<I>, E> {
                let text = serde::de::value::StringDeserializer::new(text);
                I::deserialize(text).map(Inputs::One)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<Inputs<I>, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                I::deserialize(map).map(Inputs::One)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                list: A,
            ) -> Result<Inputs<I>, A::Error> {
                let list = serde::de::value::SeqAccessDeserializer::new(list);
                Vec::deserialize(list).map(Inputs::Several)
            }
        }
        from.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

impl<I: Item> JsonSchema for Inputs<I> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Inputs", I::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<I>();
        json_schema!({
            "description": "One, or a list.",
            "anyOf": [item, { "type": "array", "items": item }],
        })
    }
}

/// A request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    bound(deserialize = "I: Item, P: DeserializeOwned")
)]
#[schemars(bound = "I: Item, P: JsonSchema", rename = "{P}Request")]
struct Request<I, P> {
    inputs: Inputs<I>,
    #[serde(default)]
    parameters: Option<Object<P>>,
    /// They mean nothing here.
    #[serde(default)]
    #[expect(dead_code, reason = "read so that it may be there")]
    options: Option<serde_json::Map<String, serde_json::Value>>,
}

/// How a classifier's outputs become scores.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Softmax {
    Softmax,
}

/// How the outputs of a model with several labels become scores.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Sigmoid {
    Sigmoid,
}

/// How outputs become numbers.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Unchanged {
    None,
}

/// Parameters of text classification.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "F: Deserialize<'de>"))]
#[schemars(bound = "F: JsonSchema", rename = "{F}Parameters")]
struct TextParameters<F> {
    /// How many labels are answered. Default: all.
    #[serde(default)]
    top_k: Option<TopK>,
    /// The one that the model was trained with.
    #[serde(default)]
    #[expect(dead_code, reason = "its type says the one value that it may have")]
    function_to_apply: Option<F>,
}

/// How tokens become entities: by whole words, whichever is said.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Aggregation {
    Simple,
    First,
    Average,
    Max,
}

/// Parameters of token classification.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TokenClassificationParameters {
    #[serde(default)]
    #[expect(dead_code, reason = "its type says which values mean what is done")]
    aggregation_strategy: Option<Aggregation>,
    /// Entities of these are left out.
    #[serde(default)]
    ignore_labels: Option<Vec<String>>,
}

/// Parameters of question answering.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct QuestionAnsweringParameters {
    /// How many answers are given; above 1 they are a list. Default: 1.
    #[serde(default)]
    top_k: Option<TopK>,
    /// Whether "no answer" may be one. Default: as the model was trained.
    #[serde(default)]
    handle_impossible_answer: Option<bool>,
}

type Classification = Request<TextOrPair, TextParameters<Softmax>>;
type MultiLabel = Request<TextOrPair, TextParameters<Sigmoid>>;
type Regression = Request<TextOrPair, TextParameters<Unchanged>>;
type TokenClassification = Request<Text, TokenClassificationParameters>;
type QuestionAnswering = Request<Object<AboutContext>, QuestionAnsweringParameters>;

/// What a request asks.
#[derive(Debug)]
pub struct Wanted {
    pub questions: Vec<Question>,
    pub shown: Shown,
}

/// How the answers are shown.
#[derive(Debug, Default)]
pub struct Shown {
    /// Whether a list was asked, so that a list is answered.
    several: bool,
    top_k: Option<usize>,
    ignored: Vec<String>,
    without_none: bool,
}

fn wanted<I: Item>(inputs: Inputs<I>, shown: Shown) -> Wanted {
    let (several, items) = match inputs {
        Inputs::One(one) => (false, vec![one]),
        Inputs::Several(items) => (true, items),
    };
    Wanted {
        questions: items.into_iter().map(Item::question).collect(),
        shown: Shown { several, ..shown },
    }
}

/// Reads a request to a model of this task.
///
/// # Errors
/// What is wrong with it.
pub fn read(task: Task, body: &[u8]) -> Result<Wanted, Refusal> {
    fn labels<F>(request: Request<TextOrPair, TextParameters<F>>) -> Wanted {
        let top_k = request.parameters.and_then(|Object(given)| given.top_k);
        let top_k = top_k.map(|TopK(most)| most);
        let shown = Shown {
            top_k,
            ..Shown::default()
        };
        wanted(request.inputs, shown)
    }
    Ok(match task {
        Task::Classification => labels(parsed::<Classification>(body)?),
        Task::MultiLabel => labels(parsed::<MultiLabel>(body)?),
        Task::Regression => labels(parsed::<Regression>(body)?),
        Task::TokenClassification => {
            let request: TokenClassification = parsed(body)?;
            let parameters = request
                .parameters
                .map_or_else(Default::default, |given| given.0);
            let shown = Shown {
                ignored: parameters.ignore_labels.unwrap_or_default(),
                ..Shown::default()
            };
            wanted(request.inputs, shown)
        }
        Task::QuestionAnswering => {
            let request: QuestionAnswering = parsed(body)?;
            let parameters = request
                .parameters
                .map_or_else(Default::default, |given| given.0);
            let shown = Shown {
                top_k: parameters.top_k.map(|TopK(most)| most),
                without_none: parameters.handle_impossible_answer == Some(false),
                ..Shown::default()
            };
            wanted(request.inputs, shown)
        }
    })
}

/// The schema of a request to a model of this task.
pub fn request_schema(task: Task, generator: &mut SchemaGenerator) -> Schema {
    match task {
        Task::Classification => generator.subschema_for::<Classification>(),
        Task::MultiLabel => generator.subschema_for::<MultiLabel>(),
        Task::Regression => generator.subschema_for::<Regression>(),
        Task::TokenClassification => generator.subschema_for::<TokenClassification>(),
        Task::QuestionAnswering => generator.subschema_for::<QuestionAnswering>(),
    }
}

/// A label, or a target, and its score.
#[derive(Debug, Serialize, JsonSchema)]
struct LabelScore<'a> {
    label: &'a str,
    score: f32,
}

/// An entity.
#[derive(Debug, Serialize, JsonSchema)]
struct EntityGroup<'a> {
    entity_group: &'a str,
    score: f32,
    word: &'a str,
    start: u32,
    end: u32,
}

/// An answer; an empty one from 0 to 0 is none.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct AnswerSpan<'a> {
    score: f32,
    start: u32,
    end: u32,
    answer: &'a str,
}

/// A list of one is its only element where one was asked.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum OneOrSeveral<T> {
    One(T),
    Several(Vec<T>),
}

/// The answer to one text.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answered<'a> {
    Labels(Vec<LabelScore<'a>>),
    Entities(Vec<EntityGroup<'a>>),
    Answers(OneOrSeveral<AnswerSpan<'a>>),
}

fn answered<'a>(names: &'a [String], reply: &'a Reply, shown: &Shown) -> Answered<'a> {
    let label = |place: usize, score: f32| LabelScore {
        label: name_of(names, place),
        score,
    };
    match reply {
        Reply::Labels { probabilities, .. } => {
            let places = ranked(probabilities, shown.top_k).into_iter();
            let scores = places.map(|place| label(place, probabilities[place]));
            Answered::Labels(scores.collect())
        }
        Reply::Numbers(numbers) => {
            let scores = numbers.iter().enumerate();
            let scores = scores.take(shown.top_k.unwrap_or(usize::MAX));
            Answered::Labels(scores.map(|(place, &score)| label(place, score)).collect())
        }
        Reply::Entities(entities) => {
            let kept = entities
                .iter()
                .filter(|entity| !shown.ignored.contains(&entity.label));
            let groups = kept.map(|entity| EntityGroup {
                entity_group: &entity.label,
                score: entity.score,
                word: &entity.text,
                start: entity.start,
                end: entity.end,
            });
            Answered::Entities(groups.collect())
        }
        Reply::Answers(answers) => {
            let kept = answers
                .iter()
                .filter(|answer| !(shown.without_none && answer.text.is_empty()));
            let most = shown.top_k.unwrap_or(1);
            let spans = kept.take(most).map(|answer| AnswerSpan {
                score: answer.score,
                start: answer.start,
                end: answer.end,
                answer: &answer.text,
            });
            let mut spans: Vec<AnswerSpan> = spans.collect();
            Answered::Answers(match most {
                1 => OneOrSeveral::One(spans.pop().unwrap_or_default()),
                _ => OneOrSeveral::Several(spans),
            })
        }
    }
}

/// The response to a request, as JSON.
pub fn written(names: &[String], replies: &[Reply], shown: &Shown) -> Vec<u8> {
    let answers = replies.iter().map(|reply| answered(names, reply, shown));
    let mut answers: Vec<Answered> = answers.collect();
    let as_list = shown.several || matches!(answers.first(), Some(Answered::Labels(_)));
    let written = match as_list {
        true => serde_json::to_vec(&answers),
        false => serde_json::to_vec(&answers.pop()),
    };
    // Texts and numbers are JSON; a number that is not finite becomes null.
    written.unwrap_or_default()
}

/// The schema of a response of a model of this task.
pub fn response_schema(task: Task, generator: &mut SchemaGenerator) -> Schema {
    match task {
        Task::Classification | Task::MultiLabel | Task::Regression => {
            generator.subschema_for::<Vec<Vec<LabelScore>>>()
        }
        Task::TokenClassification => {
            let group = generator.subschema_for::<EntityGroup>();
            json_schema!({ "type": "array", "items": {
                "anyOf": [group, { "type": "array", "items": group }] } })
        }
        Task::QuestionAnswering => {
            let span = generator.subschema_for::<AnswerSpan>();
            let spans = json_schema!({ "type": "array", "items": span });
            json_schema!({ "anyOf": [span, { "type": "array", "items": { "anyOf": [span, spans] } }] })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::model::{Entity, SpanAnswer};
    use axum::http::StatusCode;
    use serde_json::{Value, json};

    fn asked(task: Task, body: Value) -> Result<Wanted, Refusal> {
        read(task, body.to_string().as_bytes())
    }

    fn told(wanted: &Wanted, names: &[&str], replies: &[Reply]) -> Value {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        serde_json::from_slice(&written(&names, replies, &wanted.shown)).unwrap()
    }

    #[test]
    fn labels_come_in_a_list_of_lists_even_for_one_text() {
        let reply = || Reply::Labels {
            probabilities: vec![0.25, 0.75],
            given: vec![1],
        };
        let one = asked(Task::Classification, json!({ "inputs": "a" })).unwrap();
        let high = json!({ "label": "b", "score": 0.75 });
        let low = json!({ "label": "a", "score": 0.25 });
        assert_eq!(told(&one, &["a", "b"], &[reply()]), json!([[high, low]]));
        let two = json!({ "inputs": ["a", { "text": "b", "text_pair": "c" }], "parameters": { "top_k": 1, "function_to_apply": "softmax" }, "options": { "wait_for_model": true } });
        let two = asked(Task::Classification, two).unwrap();
        assert_eq!(two.questions[1].pair.as_deref(), Some("c"));
        let told = told(&two, &["a", "b"], &[reply(), reply()]);
        assert_eq!(told, json!([[high], [high]]));
    }

    #[test]
    fn numbers_are_scores_in_the_order_of_the_targets() {
        let one = asked(Task::Regression, json!({ "inputs": "a" })).unwrap();
        assert_eq!(
            told(&one, &["x", "y"], &[Reply::Numbers(vec![-1.5, 2.0])]),
            json!([[{ "label": "x", "score": -1.5 }, { "label": "y", "score": 2.0 }]])
        );
    }

    #[test]
    fn entities_of_one_text_are_a_list_and_of_several_a_list_of_lists() {
        let entity = |label: &str| Entity {
            label: label.to_owned(),
            start: 1,
            end: 4,
            text: "Ann".to_owned(),
            score: 0.5,
        };
        let group =
            json!({ "entity_group": "PER", "score": 0.5, "word": "Ann", "start": 1, "end": 4 });
        let reply = || Reply::Entities(vec![entity("PER"), entity("LOC")]);
        let parameters = json!({ "aggregation_strategy": "first", "ignore_labels": ["LOC"] });
        let one = json!({ "inputs": " Ann", "parameters": parameters });
        let one = asked(Task::TokenClassification, one).unwrap();
        assert_eq!(told(&one, &[], &[reply()]), json!([group]));
        let two = json!({ "inputs": [" Ann"], "parameters": parameters });
        let two = asked(Task::TokenClassification, two).unwrap();
        assert_eq!(told(&two, &[], &[reply()]), json!([[group]]));
    }

    #[test]
    fn an_answer_is_an_object_and_several_are_a_list() {
        let span = |text: &str, score| SpanAnswer {
            text: text.to_owned(),
            start: 0,
            end: text.len() as u32,
            score,
        };
        let reply = || Reply::Answers(vec![span("", 0.5), span("me", 0.25), span("you", 0.125)]);
        let inputs = json!({ "question": "who?", "context": "me you" });
        let ask = |parameters: Value| {
            let body = json!({ "inputs": inputs, "parameters": parameters });
            let wanted = asked(Task::QuestionAnswering, body).unwrap();
            told(&wanted, &[], &[reply()])
        };
        assert_eq!(ask(json!(null))["answer"], "");
        let never = ask(json!({ "handle_impossible_answer": false }));
        assert_eq!(
            never,
            json!({ "score": 0.25, "start": 0, "end": 2, "answer": "me" })
        );
        let two = ask(json!({ "handle_impossible_answer": false, "top_k": 2 }));
        assert_eq!(two[1]["answer"], "you");
    }

    #[test]
    fn what_would_not_be_followed_is_refused() {
        for (task, body) in [
            (
                Task::Classification,
                json!({ "inputs": "a", "parameters": { "function_to_apply": "sigmoid" } }),
            ),
            (
                Task::Classification,
                json!({ "inputs": "a", "parameters": { "top_k": 0 } }),
            ),
            (Task::Classification, json!({ "text": "a" })),
            (Task::Classification, json!({ "inputs": 7 })),
            (
                Task::Classification,
                json!({ "inputs": { "question": "a", "context": "b" } }),
            ),
            (
                Task::TokenClassification,
                json!({ "inputs": "a", "parameters": { "aggregation_strategy": "none" } }),
            ),
            (
                Task::TokenClassification,
                json!({ "inputs": "a", "parameters": { "stride": 3 } }),
            ),
            (Task::QuestionAnswering, json!({ "inputs": "a" })),
            (
                Task::QuestionAnswering,
                json!({ "inputs": { "question": "a" } }),
            ),
        ] {
            let refused = asked(task, body.clone()).unwrap_err();
            assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        }
    }
}
