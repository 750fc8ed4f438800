//! What requests of any shape are made of: texts, pairs, questions, counts; and how a body is read as one of them.
//!
//! Where serde would be lenient (a list for an object, `null` for nothing) these are as strict as the schema that is shown.
//!
//! Deliberately absent: what a task takes, and answers.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};

use crate::serve::model::Question;
use crate::serve::refusal::Refusal;

/// A text as a request holds it.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(in crate::serve) struct Text(String);

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
pub(in crate::serve) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// How many are shown, at least one. As in JSON Schema, 3.0 is a whole number, too.
#[derive(Debug, Clone, Copy)]
pub(in crate::serve) struct TopK(pub(in crate::serve) usize);

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
pub(in crate::serve) struct Object<T>(pub(in crate::serve) T);

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
pub(in crate::serve) struct Pair {
    text: Text,
    /// The second text, for a model that was trained on pairs.
    #[serde(default, alias = "text_pair", deserialize_with = "given")]
    #[schemars(with = "Text")]
    pair: Option<Text>,
}

/// A text, or a pair of texts.
#[derive(Debug)]
pub(in crate::serve) enum TextOrPair {
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
pub(in crate::serve) struct AboutContext {
    pub(in crate::serve) question: Text,
    /// The text in which the answer is looked for.
    pub(in crate::serve) context: Text,
}

/// What is asked of a model, in any shape.
pub(in crate::serve) trait Item: DeserializeOwned + JsonSchema {
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

/// A body as a type.
///
/// # Errors
/// 400 where it is no JSON in UTF-8, 422 at the place of what does not fit.
pub(in crate::serve) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
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

pub(super) fn text_and_pair(
    text: Option<Text>,
    pair: Option<Text>,
) -> Result<Option<TextOrPair>, Refusal> {
    match (text, pair) {
        (None, Some(_)) => Err(Refusal::invalid(
            "`pair` belongs to `text`; in `texts` each pair is an object with `text` and `pair`",
        )),
        (text, pair) => Ok(text.map(|text| TextOrPair::Pair(Pair { text, pair }))),
    }
}
