//! The OpenAPI document (3.1) of a server, made of its routes and of the types that are read and written.
//!
//! It describes this very server: each model has its paths, with the requests of its task and the limits that hold.
//!
//! Deliberately absent: prose that the types do not say themselves.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Limits;
use super::refusal::Failed;
use super::routes::{ModelCard, Purpose, Route, Status};
use super::{inference, metrics, shapes};

/// What a status means, wherever it is answered.
const MEANINGS: &[(&str, &str)] = &[
    ("400", "The body is no JSON in UTF-8, or broke off."),
    ("401", "The token is missing or wrong."),
    ("408", "The body did not arrive in time."),
    ("413", "The body is too large."),
    ("415", "The body is not said to be JSON."),
    (
        "422",
        "The request is not one that this model takes, a text is too long, or there are too many.",
    ),
    (
        "429",
        "As many texts as may are waiting. `Retry-After` says when to ask again.",
    ),
    ("500", "The model or the server failed."),
    (
        "503",
        "The models are being read, or the server is about to end.",
    ),
    ("504", "The model had no answer in time."),
];

/// The document.
pub fn document(
    models: &[ModelCard],
    routes: &[Route],
    limits: &Limits,
    with_token: bool,
) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = operation(route, models, with_token, &mut generator);
        let path = paths.entry(route.path.clone()).or_insert_with(|| json!({}));
        path[method] = operation;
    }
    let mut schemas = generator.take_definitions(true);
    for schema in schemas.values_mut() {
        limit(schema, limits);
        tidy(schema);
    }
    if let Some(text) = schemas.get_mut("Text") {
        text["maxLength"] = json!(limits.characters);
    }
    let mut components = json!({ "schemas": schemas });
    if with_token {
        components["securitySchemes"] = json!({ "token": { "type": "http", "scheme": "bearer" } });
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "refit serve",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Answers of fine-tuned encoders. Characters are counted in Unicode scalar values from 0; an end is the first character behind what it ends.",
        },
        "paths": paths,
        "components": components,
    })
}

fn operation(
    route: &Route,
    models: &[ModelCard],
    with_token: bool,
    generator: &mut SchemaGenerator,
) -> Value {
    let model = route.purpose.model().and_then(|place| models.get(place));
    let name = model.map_or("", |model| model.name);
    let (summary, kind, good) = match (route.purpose, model.map(|model| model.task)) {
        (Purpose::Page, _) => (
            "A page to try the models in".to_owned(),
            "text/html",
            json!({ "type": "string" }),
        ),
        (Purpose::Health, _) => (
            "Whether the server is alive".to_owned(),
            JSON,
            schema::<Status>(generator),
        ),
        (Purpose::Ready, _) => (
            "Whether the server takes requests".to_owned(),
            JSON,
            schema::<Status>(generator),
        ),
        (Purpose::Metrics, _) => (
            "Counts, in the text format of Prometheus".to_owned(),
            metrics::CONTENT_TYPE,
            json!({ "type": "string" }),
        ),
        (Purpose::Document, _) => (
            "This document".to_owned(),
            JSON,
            json!({ "type": "object" }),
        ),
        (Purpose::Models, _) => {
            let cards = json!({ "type": "array", "items": schema::<ModelCard>(generator) });
            let list = json!({ "type": "object", "properties": { "models": cards }, "required": ["models"] });
            ("The models".to_owned(), JSON, list)
        }
        (Purpose::Predict(_), Some(task)) => (
            format!("Ask {name} ({task})"),
            JSON,
            shapes::response_schema(task, generator).to_value(),
        ),
        (Purpose::Inference(_), Some(task)) => (
            format!("Ask {name} ({task}) in the shape of Hugging Face's Inference API"),
            JSON,
            inference::response_schema(task, generator).to_value(),
        ),
        (_, _) => (
            format!("What {name} is"),
            JSON,
            schema::<ModelCard>(generator),
        ),
    };
    let mut responses = Map::new();
    let answered = json!({ "description": "The answer.", "content": { kind: { "schema": good } } });
    responses.insert("200".to_owned(), answered);
    for (status, meaning) in MEANINGS {
        let answered = match *status {
            "401" => with_token && !route.purpose.is_open(),
            "500" => true,
            "503" => !matches!(route.purpose, Purpose::Health),
            _ => route.purpose.asks(),
        };
        if answered {
            let mut response = json!({ "description": meaning, "content": { JSON: { "schema": schema::<Failed>(generator) } } });
            if let "429" | "503" = *status {
                let seconds = json!({ "type": "integer", "minimum": 1 });
                response["headers"] =
                    json!({ "Retry-After": { "description": "Seconds.", "schema": seconds } });
            }
            responses.insert((*status).to_owned(), response);
        }
    }
    let mut operation = json!({
        "operationId": identifier(route),
        "summary": summary,
        "responses": responses,
    });
    let task = model.map(|model| model.task);
    let asked = match (route.purpose, task) {
        (Purpose::Predict(_), Some(task)) => Some(shapes::request_schema(task, generator)),
        (Purpose::Inference(_), Some(task)) => Some(inference::request_schema(task, generator)),
        _ => None,
    };
    if let Some(asked) = asked {
        operation["requestBody"] =
            json!({ "required": true, "content": { JSON: { "schema": asked } } });
    }
    if with_token && !route.purpose.is_open() {
        operation["security"] = json!([{ "token": [] }]);
    }
    operation
}

const JSON: &str = "application/json";

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// A name for programs, of which there is one for each route.
fn identifier(route: &Route) -> String {
    let path: String = route
        .path
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '_'
            }
        })
        .collect();
    format!(
        "{}_{}_{}",
        route.method,
        route.purpose.name(),
        path.trim_matches('_')
    )
    .to_ascii_lowercase()
    .trim_end_matches('_')
    .to_owned()
}

/// Writes into a schema of a request how many texts may be asked for.
fn limit(schema: &mut Value, limits: &Limits) {
    let most = json!(limits.texts);
    if let Some(texts) = schema.pointer_mut("/properties/texts") {
        texts["maxItems"] = most.clone();
    }
    if let Some(list) = schema.pointer_mut("/anyOf/1")
        && list["type"] == "array"
    {
        list["maxItems"] = most;
    }
}

/// What is left out has no value, so `null` is no default of it.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            if entries.get("default") == Some(&Value::Null) {
                entries.remove("default");
            }
            entries.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::routes::routes;
    use crate::task::Task;
    use std::collections::BTreeSet;

    fn of_all_tasks(with_token: bool) -> (Vec<Route>, Value) {
        let cards = Task::ALL.map(|task| ModelCard {
            name: task.name(),
            default: task == Task::Classification,
            task,
            labels: &[],
            max_length: 8,
        });
        let routes = routes(Task::ALL.map(Task::name));
        let document = document(&cards, &routes, &Limits::default(), with_token);
        (routes, document)
    }

    #[test]
    fn every_route_is_in_the_document_and_nothing_else() {
        let (routes, document) = of_all_tasks(false);
        let described = document["paths"].as_object().unwrap().iter();
        let described = described.flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone()))
        });
        let there = routes.iter();
        let there = there.map(|route| (route.method.to_string(), route.path.clone()));
        assert_eq!(
            described.collect::<BTreeSet<_>>(),
            there.collect::<BTreeSet<_>>()
        );
    }

    #[test]
    fn every_name_in_it_is_one_name_and_every_reference_leads_somewhere() {
        fn walk<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
            match value {
                Value::Object(entries) => {
                    if let Some(Value::String(reference)) = entries.get("$ref") {
                        found.push(reference);
                    }
                    entries.values().for_each(|value| walk(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
                _ => {}
            }
        }
        let (routes, document) = of_all_tasks(true);
        let mut references = Vec::new();
        walk(&document, &mut references);
        assert!(references.len() > 50);
        for reference in references {
            let found = document.pointer(reference.trim_start_matches('#'));
            assert!(found.is_some(), "{reference}");
        }
        let names: BTreeSet<String> = routes.iter().map(identifier).collect();
        assert_eq!(names.len(), routes.len());
        let token = &document["paths"]["/predict"]["post"]["security"];
        assert_eq!(token, &json!([{ "token": [] }]));
        assert_eq!(document["paths"]["/health"]["get"]["security"], Value::Null);
    }

    #[test]
    fn the_limits_are_in_it() {
        let (_, document) = of_all_tasks(false);
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["Text"]["maxLength"], 100_000);
        let texts = &schemas["ClassificationRequest"]["properties"]["texts"];
        assert_eq!(texts["maxItems"], 1024);
        assert_eq!(schemas["TextInputs"]["anyOf"][1]["maxItems"], 1024);
    }

    #[test]
    fn what_is_read_is_what_the_schema_allows() {
        let (_, document) = of_all_tasks(false);
        let allows = |path: &str, body: &Value| {
            let mut schema =
                document["paths"][path]["post"]["requestBody"]["content"][JSON]["schema"].clone();
            schema["components"] = document["components"].clone();
            jsonschema::is_valid(&schema, body)
        };
        let bodies = [
            json!({ "text": "a" }),
            json!({ "text": "a", "pair": "b", "top_k": 1 }),
            json!({ "text": "a", "pair": null }),
            json!({ "texts": ["a", { "text": "b", "pair": "c" }] }),
            json!({ "texts": [], "pair": "b" }),
            json!({ "text": "a", "texts": [] }),
            json!({ "text": "a", "threshold": 0.5 }),
            json!({ "text": "a", "top_k": 0 }),
            json!({ "question": "a", "context": "b" }),
            json!({ "question": "a" }),
            json!({ "texts": [{ "question": "a", "context": "b" }], "top_k": 2 }),
            json!({ "inputs": "a" }),
            json!({ "inputs": ["a", "b"], "parameters": { "top_k": 2 }, "options": {} }),
            json!({ "inputs": "a", "parameters": { "top_k": 0 } }),
            json!({ "inputs": "a", "parameters": { "function_to_apply": "sigmoid" } }),
            json!({ "inputs": "a", "parameters": { "aggregation_strategy": "max", "ignore_labels": [] } }),
            json!({ "inputs": { "question": "a", "context": "b" }, "parameters": { "handle_impossible_answer": true } }),
            json!({ "inputs": { "text": "a", "pair": "b" } }),
            json!({ "other": 1 }),
            json!([]),
        ];
        for task in Task::ALL {
            for body in &bodies {
                let bytes = body.to_string().into_bytes();
                let path = format!("/models/{task}");
                let (own, theirs) = (shapes::read(task, &bytes), inference::read(task, &bytes));
                assert_eq!(
                    allows(&format!("{path}/predict"), body),
                    own.is_ok(),
                    "{task}: {body}"
                );
                assert_eq!(allows(&path, body), theirs.is_ok(), "{task}: {body}");
            }
        }
    }
}
