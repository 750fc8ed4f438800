//! Where a placed artifact came from: `provenance.json`, which is laid beside it for `refit bundle inspect` and other programs.
//!
//! Promise: no path, no secret and no clock time. Like the card it is no part of the artifact, so a new commit changes no
//! result.
//!
//! Deliberately absent: what the artifact is, which its own files say.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::hub::card;
use crate::plan::Step;
use crate::stage::CardFacts;

/// The file's name.
pub const ORIGIN: &str = "provenance.json";

/// The file's text. `commit` is that of the spec's folder, `licences` what the cards of the encoders behind it say.
pub(super) fn text(facts: &CardFacts, commit: Option<&str>, licences: &[String]) -> String {
    let step = |step: &crate::stage::CardStep| {
        json!({
            "stage": step.stage,
            "kind": step.kind,
            "settings": without_places(&step.settings),
            "files": step.files,
        })
    };
    let mut fields = Map::from_iter([
        (
            "made_by".to_owned(),
            json!(concat!("refit ", env!("CARGO_PKG_VERSION"))),
        ),
        ("pipeline".to_owned(), json!(facts.pipeline)),
        ("stage".to_owned(), json!(facts.stage)),
        ("key".to_owned(), json!(facts.key)),
        ("digest".to_owned(), json!(facts.digest)),
        ("commit".to_owned(), json!(commit)),
        ("encoder_licences".to_owned(), json!(licences)),
        ("steps".to_owned(), facts.steps.iter().map(step).collect()),
        ("scores".to_owned(), json!(facts.scores)),
    ]);
    fields.retain(|_, value| !value.is_null());
    format!("{:#}\n", Value::Object(fields))
}

/// What the card beside the encoder that a step reads says of its licence.
pub(super) fn licence(step: &Step) -> Option<String> {
    let config = step.files.get("encoder/config.json")?;
    let card = card::of_folder(config.parent().unwrap_or(Path::new("."))).ok()?;
    let said = |field: &str| Some(card.get(field)?.as_str()?.to_owned());
    match said("license")? {
        // "other" has its name beside it.
        other if other == "other" => said("license_name").or(Some(other)),
        licence => Some(licence),
    }
}

/// Paths and addresses never enter a key; should one come here all the same, it stays out of what may be published.
fn without_places(value: &Value) -> Value {
    match value {
        Value::String(text) if crate::stage::is_place(text) => json!("(a place, not shown)"),
        Value::Array(items) => items.iter().map(without_places).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), without_places(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::CardStep;

    fn facts(settings: Value) -> CardFacts {
        CardFacts {
            pipeline: "p".to_owned(),
            stage: "s".to_owned(),
            key: "ab".repeat(32),
            digest: "cd".repeat(32),
            artifact: "/store/private".into(),
            steps: vec![CardStep {
                stage: "news".to_owned(),
                kind: "load".to_owned(),
                settings,
                files: [("train/0".to_owned(), "12".repeat(32))].into(),
            }],
            scores: None,
        }
    }

    #[test]
    fn it_names_the_data_by_its_digests_and_shows_no_place() {
        let settings = json!({ "train": ["/home/private/a.csv"], "by": { "url": "https://me:pw@x" }, "rows": 3 });
        let text = text(&facts(settings), Some("0a1b"), &["mit".to_owned()]);
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["steps"][0]["files"]["train/0"], "12".repeat(32));
        assert_eq!(read["steps"][0]["settings"]["rows"], 3);
        assert_eq!(
            (&read["commit"], &read["encoder_licences"][0]),
            (&json!("0a1b"), &json!("mit"))
        );
        assert!(!text.contains("private") && !text.contains("pw@"), "{text}");
        assert!(read.get("scores").is_none());
    }
}
