//! The model card: `README.md` of an exported folder, as the Hugging Face Hub reads it.
//!
//! Promise: no path, no secret and no clock time; equal facts give equal text. The card is written when a bundle is placed and
//! is not digested, so a new score or a renamed pipeline leaves the bundle as it is.
//!
//! Deliberately absent: a licence, which only the user can know, and prose about what the model is good for.

mod onnx;
mod pretrained;
mod usage;

use serde_json::Value;

use crate::stage::{CardFacts, is_place};
use crate::task::Task;

const LABELS_SHOWN: usize = 50;

/// The card's text.
pub(super) fn card(facts: &CardFacts) -> String {
    let config = read_json(facts, "config.json");
    if facts.artifact.join("pretraining.json").is_file() {
        return pretrained::card(facts, &config);
    }
    let task = task(&config);
    let files = onnx::files(&facts.artifact);
    let model = read_json(facts, "model.json");
    let sections = [
        Some(front_matter(facts, task)),
        Some(introduction(facts, &config, task)),
        (!is_onnx_alone(facts)).then(|| usage::usage(&config, &model, task, is_adapter(facts))),
        (!files.is_empty()).then(|| onnx::usage(&config, &files, task)),
        (task != Task::QuestionAnswering).then(|| labels(&config)),
        facts.scores.as_ref().map(|found| scores(found, task)),
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

/// Whether the bundle is an adapter alone.
fn is_adapter(facts: &CardFacts) -> bool {
    facts.artifact.join("adapter_config.json").exists()
}

/// Whether the bundle has ONNX files and nothing that transformers loads.
fn is_onnx_alone(facts: &CardFacts) -> bool {
    let weights = facts.artifact.join("model.safetensors");
    !onnx::files(&facts.artifact).is_empty() && !weights.exists()
}

/// As transformers' own classes and fields say it.
fn task(config: &Value) -> Task {
    let class = config
        .pointer("/architectures/0")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let problem = config
        .get("problem_type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match problem {
        _ if class.ends_with("ForTokenClassification") => Task::TokenClassification,
        _ if class.ends_with("ForQuestionAnswering") => Task::QuestionAnswering,
        "multi_label_classification" => Task::MultiLabel,
        "regression" => Task::Regression,
        _ => Task::Classification,
    }
}

/// The line of the licence: what the stage itself says.
fn license(facts: &CardFacts) -> String {
    let own = facts.steps.last();
    let said = own.and_then(|step| step.settings.get("license")?.as_str());
    format!("license: {}", said.unwrap_or("unknown"))
}

fn front_matter(facts: &CardFacts, task: Task) -> String {
    let tag = match task {
        Task::Classification | Task::MultiLabel | Task::Regression => "text-classification",
        Task::TokenClassification => "token-classification",
        Task::QuestionAnswering => "question-answering",
    };
    let metrics: &[&str] = match task {
        _ if facts.scores.is_none() => &[],
        Task::Classification => &[
            "accuracy",
            "f1",
            "precision",
            "recall",
            "matthews_correlation",
        ],
        Task::MultiLabel => &["f1", "precision", "recall"],
        Task::TokenClassification => &["seqeval"],
        Task::QuestionAnswering => &["squad_v2"],
        Task::Regression => &["mse", "mae", "pearsonr", "spearmanr"],
    };
    let library = match (is_adapter(facts), is_onnx_alone(facts)) {
        (true, _) => "peft",
        (_, true) => "onnx",
        _ => "transformers",
    };
    let mut lines = vec![
        "---".to_owned(),
        format!("library_name: {library}"),
        format!("pipeline_tag: {tag}"),
        license(facts),
        "tags:".to_owned(),
        "- refit".to_owned(),
        format!("- {tag}"),
    ];
    if !onnx::files(&facts.artifact).is_empty() {
        lines.push("- onnx".to_owned());
    }
    if !metrics.is_empty() {
        lines.push("metrics:".to_owned());
        lines.extend(metrics.iter().map(|metric| format!("- {metric}")));
    }
    lines.push("---".to_owned());
    lines.join("\n")
}

fn introduction(facts: &CardFacts, config: &Value, task: Task) -> String {
    let count = config
        .get("id2label")
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len);
    let length = read_json(facts, "tokenizer_config.json")
        .get("model_max_length")
        .and_then(Value::as_u64);
    let purpose = match task {
        Task::Classification => format!("classify text into {count} labels"),
        Task::MultiLabel => format!("give text any of {count} labels"),
        Task::TokenClassification => format!("tag words with {count} tags"),
        Task::QuestionAnswering => "answer questions by a stretch of a context".to_owned(),
        Task::Regression => format!("predict {count} number(s) for text"),
    };
    let mut text = format!(
        "# {}\n\nA BERT encoder, fine-tuned to {purpose} by the refit pipeline {} (stage {}).",
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

fn scores(scores: &Value, task: Task) -> String {
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
    for metric in task.metrics() {
        if let Some(value) = number(scores, metric.name()) {
            lines.push(format!("| {metric} | {value} |"));
        }
    }
    let classes = classes(scores);
    if !classes.is_empty() {
        let counted = match task {
            Task::TokenClassification => "support",
            _ => "rows",
        };
        lines.push(format!(
            "\n| label | precision | recall | f1 | {counted} |\n| --- | ---: | ---: | ---: | ---: |"
        ));
    }
    for (label, class) in classes.into_iter().take(LABELS_SHOWN) {
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

/// The scores of each label, or of each type of entity, by its name.
fn classes(scores: &Value) -> Vec<(&str, &Value)> {
    let lists = ["per_class", "per_label"].iter();
    let lists = lists.filter_map(|name| scores.get(*name)?.as_array());
    let named = lists.flatten().map(|class| {
        let label = class.get("label").and_then(Value::as_str);
        (label.unwrap_or_default(), class)
    });
    let types = scores.get("types").and_then(Value::as_object);
    let types = types.into_iter().flatten();
    named
        .chain(types.map(|(name, class)| (name.as_str(), class)))
        .collect()
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
    fn the_card_of_a_tagger_has_a_line_for_each_type() {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({ "architectures": ["BertForTokenClassification"] });
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let text = card(&CardFacts {
            artifact: folder.path().to_owned(),
            scores: Some(json!({
                "f1": 0.5, "rows": 10, "split": "test",
                "types": { "LOC": { "precision": 0.5, "recall": 0.25, "f1": 1.0, "support": 12 } },
            })),
            ..facts(&tempfile::tempdir().unwrap())
        });
        for part in [
            "| label | precision | recall | f1 | support |",
            "| LOC | 0.5000 | 0.2500 | 1.0000 | 12 |",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn the_card_of_a_reader_shows_how_long_its_answers_may_be() {
        let config = json!({ "architectures": ["BertForQuestionAnswering"] });
        let model = json!({ "max_answer_length": 12 });
        let text = usage::usage(&config, &model, Task::QuestionAnswering, false);
        assert!(text.contains("scores.triu().tril(11)."), "{text}");
    }

    #[test]
    fn the_card_names_the_licence_that_the_stage_says() {
        let folder = tempfile::tempdir().unwrap();
        let mut facts = facts(&folder);
        assert!(card(&facts).contains("\nlicense: unknown\n"));
        let own = facts.steps.last_mut().unwrap();
        own.settings = json!({ "license": "cc-by-sa-4.0" });
        assert!(card(&facts).contains("\nlicense: cc-by-sa-4.0\n"));
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
