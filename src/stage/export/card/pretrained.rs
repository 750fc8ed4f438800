//! The card of a pretrained encoder.

use serde_json::Value;

use super::{CardFacts, data, license, markdown, provenance, read_json, settings};

/// The card's text.
pub(super) fn card(facts: &CardFacts, config: &Value) -> String {
    let mut text = [
        front_matter(facts),
        introduction(facts, config),
        usage(facts),
        data(facts),
        settings(facts),
        provenance(facts),
    ]
    .join("\n\n");
    text.push('\n');
    text
}

fn front_matter(facts: &CardFacts) -> String {
    [
        "---",
        "library_name: transformers",
        "pipeline_tag: fill-mask",
        &license(facts),
        "tags:",
        "- refit",
        "- fill-mask",
        "---",
    ]
    .join("\n")
}

fn introduction(facts: &CardFacts, config: &Value) -> String {
    let number = |names: &[&str]| {
        let found = names.iter().find_map(|name| config.get(*name)?.as_u64());
        found.map_or("?".to_owned(), |number| number.to_string())
    };
    let length = read_json(facts, "pretraining.json");
    let length = length.get("max_length").and_then(Value::as_u64);
    let pipeline = markdown(&facts.pipeline);
    format!(
        "# {pipeline}\n\nAn encoder ({}, {} layers of width {}, a vocabulary of {}) that has learned to predict masked words, by the refit pipeline \
         {pipeline} (stage {}), on rows of up to {} tokens. It answers no question yet: fine-tune it for a task.",
        config
            .get("model_type")
            .and_then(Value::as_str)
            .unwrap_or("?"),
        number(&["num_hidden_layers", "n_layers"]),
        number(&["hidden_size", "dim"]),
        number(&["vocab_size"]),
        markdown(&facts.stage),
        length.unwrap_or_default(),
    )
}

fn usage(facts: &CardFacts) -> String {
    let mask = read_json(facts, "tokenizer_config.json");
    let mask = mask.get("mask_token").and_then(Value::as_str);
    let text = format!("The weather is {} today.", mask.unwrap_or("[MASK]"));
    format!(
        "## Usage\n\n```python\nfrom transformers import pipeline\n\nfill = pipeline(\"fill-mask\", model=\"FOLDER\")\nprint(fill({}))\n```\n\nIn a \
         pipeline of refit it is an encoder like any other: `encoder = \"FOLDER\"` in a train stage, `tokenizer = \"FOLDER\"` in its tokenize stage.",
        Value::from(text)
    )
}
