//! What a fine-tuned model was made for, where no `model.json` says it: read from its `config.json`, as transformers wrote it.
//!
//! Promise: labels, pooling and task are those with which transformers' own class would answer.
//!
//! Deliberately absent: what transformers has no place for (thresholds, how long an answer may be), and a CRF, whose tags
//! must not follow each other in ways that only `model.json` tells.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{EncoderConfig, ModelError, ModelInfo, Pooling, Stack, Task};

/// The number of labels of a configuration that names none, and what they are then called.
const UNNAMED: usize = 2;

impl ModelInfo {
    /// The same from the `config.json` at `path` of any fine-tuned model, for texts of at most `max_length` tokens.
    ///
    /// One output without a `problem_type` is a regression, as in transformers; several are one label for each text.
    ///
    /// # Errors
    /// A configuration that cannot be read, or that says of no class that answers.
    pub fn of_config(path: &Path, max_length: usize) -> Result<ModelInfo, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let config = EncoderConfig::parse(path, &bytes)?;
        let broken = |reason: String| ModelError::Config {
            path: path.to_owned(),
            reason,
        };
        let fields: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        let class = fields
            .get("architectures")
            .and_then(|classes| classes.get(0)?.as_str())
            .unwrap_or_default();
        let names = names(&fields).map_err(broken)?;
        let task =
            task(&config, class, &fields, names.len()).ok_or_else(|| ModelError::NoHead {
                path: path.to_owned(),
                class: class.to_owned(),
            })?;
        if fields.get("refit_allowed").is_some_and(Value::is_array) {
            return Err(ModelError::NoInfo {
                path: path.with_file_name("model.json"),
            });
        }
        let of_texts = !matches!(task, Task::TokenClassification | Task::QuestionAnswering);
        let own = |field: &str| fields.get(field).cloned().unwrap_or_default();
        let pooling = match own("refit_pooling") {
            Value::Null => Pooling::Pooler,
            pooling => serde_json::from_value(pooling).map_err(|e| broken(e.to_string()))?,
        };
        let stack = match own("refit_layers") {
            Value::Null => Stack::default(),
            layers => serde_json::from_value(json!({
                "layers": layers,
                "combine": own("refit_combine"),
                "hidden_layers": own("refit_hidden_layers"),
                "activation": own("refit_activation"),
            }))
            .map_err(|e| broken(e.to_string()))?,
        };
        let (label_names, target_names) = match task {
            Task::Regression => (Vec::new(), Some(names)),
            Task::QuestionAnswering => (Vec::new(), None),
            _ => (names, None),
        };
        Ok(ModelInfo {
            task,
            pooling: of_texts.then_some(pooling),
            head_dropout: config.text_dropout(),
            stack,
            label_names,
            target_names,
            crf: false,
            scheme: None,
            thresholds: None,
            max_answer_length: None,
            n_best: None,
            max_length: max_length.min(config.longest()),
            stride: None,
            tokenizer_digest: String::new(),
            best_epoch: 0,
            best_step: 0,
            steps: 0,
        })
    }
}

/// What transformers' class of that name does; none of a class that is no family's, or that answers nothing.
fn task(
    config: &EncoderConfig,
    class: &str,
    fields: &Map<String, Value>,
    outputs: usize,
) -> Option<Task> {
    let own = |task: Task| {
        [
            format!("RefitBertFor{}", task.class()),
            format!("RefitFor{}", task.class()),
        ]
    };
    let is = |task: Task| {
        class == config.family.architecture(task) || own(task).iter().any(|own| own == class)
    };
    if is(Task::TokenClassification) {
        return Some(Task::TokenClassification);
    }
    if is(Task::QuestionAnswering) {
        return Some(Task::QuestionAnswering);
    }
    let problem = fields.get("problem_type").and_then(Value::as_str);
    let whole = [Task::Classification, Task::MultiLabel, Task::Regression];
    let said = whole
        .into_iter()
        .find(|task| task.problem_type() == problem);
    if !is(Task::Classification) {
        return None;
    }
    Some(match (said, outputs) {
        (Some(task), _) => task,
        (None, 1) => Task::Regression,
        (None, _) => Task::Classification,
    })
}

/// What the head's numbers are called, in their order.
fn names(fields: &Map<String, Value>) -> Result<Vec<String>, String> {
    let unnamed = |number: usize| format!("LABEL_{number}");
    let Some(named) = fields.get("id2label").and_then(Value::as_object) else {
        let count = fields.get("num_labels").and_then(Value::as_u64);
        let count = count.map_or(UNNAMED, |count| count as usize);
        const MOST: usize = 1 << 20;
        return match count {
            1..=MOST => Ok((0..count).map(unnamed).collect()),
            _ => Err(format!("num_labels is {count}")),
        };
    };
    let name = |number: usize| {
        let name = named.get(&number.to_string()).and_then(Value::as_str);
        let count = named.len();
        name.map(str::to_owned)
            .ok_or_else(|| format!("id2label has {count} entries, and none for {number}"))
    };
    (0..named.len()).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: Value) -> Result<ModelInfo, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let mut config = json!({
            "model_type": "bert", "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 12,
        });
        let all = config.as_object_mut().unwrap();
        all.extend(fields.as_object().unwrap().clone());
        std::fs::write(&path, config.to_string()).unwrap();
        ModelInfo::of_config(&path, 64)
    }

    #[test]
    fn the_task_is_that_of_transformers_class() {
        let cases = [
            (
                json!({"architectures": ["BertForSequenceClassification"]}),
                Task::Classification,
            ),
            (
                json!({"architectures": ["BertForSequenceClassification"], "id2label": {"0": "x"}}),
                Task::Regression,
            ),
            (
                json!({"architectures": ["BertForSequenceClassification"], "problem_type": "multi_label_classification"}),
                Task::MultiLabel,
            ),
            (
                json!({"architectures": ["BertForSequenceClassification"], "problem_type": "regression"}),
                Task::Regression,
            ),
            (
                json!({"architectures": ["BertForTokenClassification"]}),
                Task::TokenClassification,
            ),
            (
                json!({"architectures": ["BertForQuestionAnswering"]}),
                Task::QuestionAnswering,
            ),
        ];
        for (fields, task) in cases {
            assert_eq!(read(fields.clone()).unwrap().task, task, "{fields}");
        }
    }

    #[test]
    fn labels_come_in_the_order_of_their_numbers() {
        let ids: Map<String, Value> = (0..12)
            .rev()
            .map(|id| (id.to_string(), json!(format!("l{id}"))))
            .collect();
        let class = json!(["BertForSequenceClassification"]);
        let info = read(json!({"architectures": class, "id2label": ids})).unwrap();
        let wanted: Vec<String> = (0..12).map(|id| format!("l{id}")).collect();
        assert_eq!(info.label_names, wanted);
        assert_eq!(info.max_length, 12, "no more than there are positions");
        let info = read(json!({"architectures": class, "num_labels": 3})).unwrap();
        assert_eq!(info.label_names, ["LABEL_0", "LABEL_1", "LABEL_2"]);
        let gap = read(json!({"architectures": class, "id2label": {"0": "a", "2": "c"}}));
        assert!(gap.unwrap_err().to_string().contains("none for 1"));
    }

    #[test]
    fn an_encoder_without_a_head_is_no_model_that_answers() {
        for class in [
            json!(null),
            json!(["BertModel"]),
            json!(["BertForMaskedLM"]),
            json!(["RobertaForSequenceClassification"]),
        ] {
            let error = read(json!({"architectures": class})).unwrap_err();
            assert!(
                matches!(error, ModelError::NoHead { .. }),
                "{class}: {error}"
            );
        }
    }

    #[test]
    fn a_head_of_ours_is_read_and_a_crf_asks_for_its_rules() {
        let info = read(json!({
            "model_type": "refit_bert", "architectures": ["RefitBertForSequenceClassification"], "refit_pooling": "mean",
        }));
        assert_eq!(info.unwrap().pooling, Some(Pooling::Mean));
        let error = read(json!({
            "model_type": "refit_bert", "architectures": ["RefitBertForTokenClassification"], "refit_allowed": [[1]],
        }));
        assert!(matches!(error.unwrap_err(), ModelError::NoInfo { .. }));
    }
}
