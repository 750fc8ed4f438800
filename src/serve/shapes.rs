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

mod parts;
mod responses;
#[cfg(test)]
mod tests;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::model::Question;
use super::refusal::Refusal;
use crate::task::Task;

use parts::text_and_pair;
pub(super) use parts::{AboutContext, Item, Object, Text, TextOrPair, TopK, given, parsed};
pub(super) use responses::{name_of, ranked};
pub use responses::{response_schema, written};

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
