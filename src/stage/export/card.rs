//! The model card: `README.md` of an exported folder, as the Hugging Face Hub reads it.
//!
//! Promise: no path, no secret and no clock time; equal facts give equal text. The card is written when a bundle is placed and
//! is not digested, so a new score or a renamed pipeline leaves the bundle as it is.
//!
//! Deliberately absent: a licence, which only the user can know, and prose about what the model is good for.

use serde_json::Value;

use crate::metrics::Metric;
use crate::stage::CardFacts;

const LABELS_SHOWN: usize = 50;

/// The card's text.
pub(super) fn card(facts: &CardFacts) -> String {
    let config = read_json(facts, "config.json");
    let remote = config.get("auto_map").is_some();
    let sections = [
        Some(front_matter(facts)),
        Some(introduction(facts, &config)),
        Some(usage(remote)),
        Some(labels(&config)),
        facts.scores.as_ref().map(scores),
        Some(data(facts)),
        Some(settings(facts)),
        Some(provenance(facts)),
    ];
    let mut text = sections
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n\n");
    text.push('\n');
    text
}

/// A file of the bundle. A card is worth having without it, so whatever is wrong with it leaves it empty.
fn read_json(facts: &CardFacts, name: &str) -> Value {
    let read = std::fs::read(facts.artifact.join(name)).ok();
    read.and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn front_matter(facts: &CardFacts) -> String {
    let mut lines = vec![
        "---",
        "library_name: transformers",
        "pipeline_tag: text-classification",
        "license: unknown",
        "tags:",
        "- refit",
        "- text-classification",
    ];
    if facts.scores.is_some() {
        lines.extend([
            "metrics:",
            "- accuracy",
            "- f1",
            "- precision",
            "- recall",
            "- matthews_correlation",
        ]);
    }
    lines.push("---");
    lines.join("\n")
}

fn introduction(facts: &CardFacts, config: &Value) -> String {
    let count = config
        .get("id2label")
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len);
    let length = read_json(facts, "tokenizer_config.json")
        .get("model_max_length")
        .and_then(Value::as_u64);
    let mut text = format!(
        "# {}\n\nA BERT encoder, fine-tuned to classify text into {count} labels by the refit pipeline {} (stage {}).",
        markdown(&facts.pipeline),
        markdown(&facts.pipeline),
        markdown(&facts.stage)
    );
    if let Some(length) = length {
        text.push_str(&format!(
            " It was trained on texts of up to {length} tokens, to which its tokenizer truncates when called with `truncation=True`."
        ));
    }
    text
}

fn usage(remote: bool) -> String {
    let (trust, why) = if remote {
        (
            ", trust_remote_code=True",
            "\n\nThe model pools its hidden states in a way that transformers' own class cannot, so it comes with a small \
             modelling file of its own, `modeling_refit.py`; hence `trust_remote_code=True`.",
        )
    } else {
        ("", "")
    };
    format!(
        "## Use\n\n\
         ```python\n\
         import torch\n\
         from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\
         \n\
         folder = \"PATH/TO/THIS/FOLDER\"\n\
         tokenizer = AutoTokenizer.from_pretrained(folder{trust})\n\
         model = AutoModelForSequenceClassification.from_pretrained(folder{trust}).eval()\n\
         \n\
         inputs = tokenizer([\"Some text.\"], padding=True, truncation=True, return_tensors=\"pt\")\n\
         with torch.no_grad():\n\
         \x20   probabilities = model(**inputs).logits.softmax(dim=-1)\n\
         print(model.config.id2label[probabilities[0].argmax().item()])\n\
         ```\n\n\
         For pairs of texts: `tokenizer([\"first\"], [\"second\"], …)`.{why}"
    )
}

fn labels(config: &Value) -> String {
    let names: Vec<&str> = match config.get("id2label").and_then(Value::as_object) {
        Some(names) => names.values().filter_map(Value::as_str).collect(),
        None => Vec::new(),
    };
    let mut lines: Vec<String> = names
        .iter()
        .enumerate()
        .take(LABELS_SHOWN)
        .map(|(number, name)| format!("| {number} | {} |", markdown(name)))
        .collect();
    if names.len() > LABELS_SHOWN {
        lines.push(format!(
            "| … | {} more in `config.json` |",
            names.len() - LABELS_SHOWN
        ));
    }
    format!(
        "## Labels\n\n| id | label |\n| ---: | --- |\n{}",
        lines.join("\n")
    )
}

fn scores(scores: &Value) -> String {
    let split = scores
        .get("split")
        .and_then(Value::as_str)
        .unwrap_or("unnamed");
    let rows = scores.get("rows").and_then(Value::as_u64).unwrap_or(0);
    let mut lines = vec![
        format!(
            "## Scores\n\nOn the {rows} rows of the split {}:\n",
            markdown(split)
        ),
        "| metric | value |\n| --- | ---: |".to_owned(),
    ];
    for metric in Metric::ALL {
        if let Some(value) = number(scores, metric.name()) {
            lines.push(format!("| {metric} | {value} |"));
        }
    }
    let classes = scores
        .get("per_class")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    if !classes.is_empty() {
        lines.push(
            "\n| label | precision | recall | f1 | rows |\n| --- | ---: | ---: | ---: | ---: |"
                .into(),
        );
    }
    for class in classes.iter().take(LABELS_SHOWN) {
        let label = class
            .get("label")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let [precision, recall, f1] =
            ["precision", "recall", "f1"].map(|name| number(class, name).unwrap_or_default());
        let rows = class.get("support").and_then(Value::as_u64).unwrap_or(0);
        lines.push(format!(
            "| {} | {precision} | {recall} | {f1} | {rows} |",
            markdown(label)
        ));
    }
    lines.join("\n")
}

fn data(facts: &CardFacts) -> String {
    let mut lines =
        vec!["## Data\n\nThe files that this model was made from, by the blake3 digest of their content:\n".to_owned()];
    lines.push("| stage | file | digest |\n| --- | --- | --- |".to_owned());
    for step in &facts.steps {
        for (role, digest) in &step.files {
            let stage = markdown(&step.stage);
            lines.push(format!(
                "| {} {stage} | {} | `{digest}` |",
                markdown(&step.kind),
                markdown(role)
            ));
        }
    }
    lines.join("\n")
}

fn settings(facts: &CardFacts) -> String {
    let mut lines =
        vec!["## Settings\n\nWhat differs from refit's defaults:\n\n```toml".to_owned()];
    for (number, step) in facts.steps.iter().enumerate() {
        if number > 0 {
            lines.push(String::new());
        }
        lines.push(format!("[{}.{}]", key(&step.kind), key(&step.stage)));
        assignments("", &step.settings, &mut lines);
    }
    lines.push("```".to_owned());
    lines.join("\n")
}

fn provenance(facts: &CardFacts) -> String {
    format!(
        "## Provenance\n\n- key: `{}`\n- digest of all files but this one: `{}`",
        facts.key, facts.digest
    )
}

/// The leaves of `value` as TOML with dotted keys.
fn assignments(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if path.is_empty() {
                    key(name)
                } else {
                    format!("{path}.{}", key(name))
                };
                assignments(&path, field, lines);
            }
        }
        leaf => lines.push(format!("{path} = {}", toml(leaf))),
    }
}

fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(toml).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, field)| !field.is_null());
            let inner: Vec<String> = fields
                .map(|(name, field)| format!("{} = {}", key(name), toml(field)))
                .collect();
            format!("{{ {} }}", inner.join(", "))
        }
        Value::String(text) if is_place(text) => "\"(a place, not shown)\"".to_owned(),
        leaf => leaf.to_string(),
    }
}

fn key(name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}

/// Paths and addresses never enter a key; should one come here all the same, it stays out of a card that may be published.
fn is_place(text: &str) -> bool {
    let drive = text
        .as_bytes()
        .get(1..3)
        .is_some_and(|rest| rest == b":\\" || rest == b":/");
    let begins = ["/", "~/", "./", "../", "\\\\"]
        .iter()
        .any(|start| text.len() > start.len() && text.starts_with(start));
    drive || begins || text.contains("://") || text.contains("${")
}

fn number(of: &Value, name: &str) -> Option<String> {
    Some(format!("{:.4}", of.get(name)?.as_f64()?))
}

/// `text` as it stands, in one line, whatever Markdown or HTML it holds.
fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '#' | '&' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stage::CardStep;

    fn facts(folder: &tempfile::TempDir) -> CardFacts {
        let config = json!({"id2label": {"0": "World", "1": "Sci|Tech"}});
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        std::fs::write(
            folder.path().join("tokenizer_config.json"),
            r#"{"model_max_length": 64}"#,
        )
        .unwrap();
        CardFacts {
            pipeline: "ag-news".into(),
            stage: "bundle".into(),
            key: "ab".repeat(32),
            digest: "cd".repeat(32),
            artifact: folder.path().to_owned(),
            steps: vec![
                CardStep {
                    stage: "news".into(),
                    kind: "load".into(),
                    settings: json!({"columns": {"text": "Text body"}}),
                    files: [("train/0".to_owned(), "12".repeat(32))].into(),
                },
                CardStep {
                    stage: "classifier".into(),
                    kind: "train".into(),
                    settings: json!({"epochs": 1, "optimizer": {"learning_rate": 0.001}, "loss": {"weights": {"Sci|Tech": 2.0}}}),
                    files: [("encoder/config.json".to_owned(), "34".repeat(32))].into(),
                },
            ],
            scores: Some(json!({
                "accuracy": 0.912, "f1_macro": 0.9, "rows": 1000, "split": "test",
                "per_class": [{"label": "Sci|Tech", "precision": 0.5, "recall": 0.25, "f1": 1.0, "support": 12}],
            })),
        }
    }

    #[test]
    fn the_card_says_data_settings_scores_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let text = card(&facts(&folder));
        assert!(
            text.starts_with(
                "---\nlibrary_name: transformers\npipeline_tag: text-classification\n"
            ),
            "{text}"
        );
        for part in [
            "up to 64 tokens",
            "| 0 | World |",
            "| accuracy | 0.9120 |",
            "| Sci\\|Tech | 0.5000 | 0.2500 | 1.0000 | 12 |",
            &format!("| load news | train/0 | `{}` |", "12".repeat(32)),
            "[train.classifier]\nepochs = 1\noptimizer.learning_rate = 0.001\nloss.weights.\"Sci|Tech\" = 2.0",
            &"ab".repeat(32),
            &"cd".repeat(32),
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn the_card_holds_no_path_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let mut facts = facts(&folder);
        facts.steps[0].settings = json!({
            "train": ["/home/someone/private/data.csv", "../private/x.csv", "C:\\private\\x.csv"],
            "source": "https://someone:password@example.org/private",
            "token": "${env:PASSWORD}",
        });
        let text = card(&facts);
        for secret in [
            "private",
            "someone",
            "password",
            "PASSWORD",
            &folder.path().display().to_string(),
        ] {
            assert!(!text.contains(secret), "{secret} is in\n{text}");
        }
    }

    #[test]
    fn a_separator_is_not_taken_for_a_path() {
        assert!(!is_place("/") && !is_place("\\") && !is_place("Sci/Tech") && !is_place("text"));
    }

    #[test]
    fn without_scores_the_card_claims_none() {
        let folder = tempfile::tempdir().unwrap();
        let text = card(&CardFacts {
            scores: None,
            ..facts(&folder)
        });
        assert!(
            !text.contains("metrics:") && !text.contains("## Scores"),
            "{text}"
        );
    }

    #[test]
    fn only_a_bundle_with_its_own_code_asks_for_trust() {
        let folder = tempfile::tempdir().unwrap();
        let facts = facts(&folder);
        assert!(!card(&facts).contains("trust_remote_code"));
        std::fs::write(folder.path().join("config.json"), r#"{"auto_map": {}}"#).unwrap();
        assert!(card(&facts).contains("from_pretrained(folder, trust_remote_code=True)"));
    }

    #[test]
    fn a_label_cannot_break_out_of_its_cell() {
        assert_eq!(markdown("a|b\n<script>"), "a\\|b \\<script\\>");
    }
}
