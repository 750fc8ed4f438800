//! How to use the ONNX files of an exported model, as the model card shows it.

use std::path::Path;

use serde_json::Value;

use super::super::Format;
use crate::task::Task;

/// The names of the bundle's ONNX files, below its folder, in the order in which formats are told.
pub(super) fn files(bundle: &Path) -> Vec<String> {
    let names = Format::ALL.into_iter().filter_map(|format| format.onnx());
    names
        .map(|(_, name)| format!("{}/{name}", Format::ONNX))
        .filter(|name| bundle.join(name).exists())
        .collect()
}

/// For a bundle with this `config.json` and these files, of which there is at least one.
pub(super) fn usage(config: &Value, files: &[String], task: Task) -> String {
    let Some(first) = files.first() else {
        return String::new();
    };
    let remote = config.get("auto_map").is_some();
    let trust = if remote {
        ", trust_remote_code=True"
    } else {
        ""
    };
    let (given, outputs, after) = match task {
        Task::QuestionAnswering => (
            "\"Some question?\", \"Some context.\", truncation=\"only_second\"",
            "start, end",
            "print(start, end)",
        ),
        Task::TokenClassification => (
            "[[\"Some\", \"words\", \".\"]], is_split_into_words=True, truncation=True",
            "logits,",
            "print(logits.argmax(-1))",
        ),
        Task::Classification => (
            "[\"Some text.\"], padding=True, truncation=True",
            "logits,",
            "print(logits.argmax(-1))",
        ),
        Task::MultiLabel | Task::Regression => (
            "[\"Some text.\"], padding=True, truncation=True",
            "logits,",
            "print(logits)",
        ),
    };
    let half = match files {
        [_, half, ..] => format!(" `{half}` is the same in 16 bits."),
        _ => String::new(),
    };
    let crf = match config.get("refit_allowed").is_some_and(Value::is_array) {
        true => {
            "\n\nThe logits are the emissions of a CRF, which is not in the graph: its parameters are in the file's metadata under \
             `crf`, and which tag may follow which in `refit_allowed` of `config.json`."
        }
        false => "",
    };
    let others = match remote {
        true => "",
        false => {
            "\n\nOptimum (`ORTModelFor…`) and transformers.js (`dtype: \"fp32\"` or `\"fp16\"`) load the folder as it is."
        }
    };
    format!(
        "## ONNX\n\n\
         `{first}` is the model for onnxruntime, without torch; batches and texts may have any size.{half}\n\n\
         ```python\n\
         import onnxruntime\n\
         from transformers import AutoTokenizer\n\
         \n\
         folder = \"PATH/TO/THIS/FOLDER\"\n\
         tokenizer = AutoTokenizer.from_pretrained(folder{trust})\n\
         session = onnxruntime.InferenceSession(f\"{{folder}}/{first}\")\n\
         \n\
         inputs = tokenizer({given}, return_tensors=\"np\")\n\
         names = [given.name for given in session.get_inputs()]\n\
         {outputs} = session.run(None, {{name: inputs[name] for name in names}})\n\
         {after}\n\
         ```{crf}{others}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_files_that_are_there_are_shown_and_no_other() {
        let bundle = tempfile::tempdir().unwrap();
        assert!(files(bundle.path()).is_empty());
        std::fs::create_dir(bundle.path().join("onnx")).unwrap();
        std::fs::write(bundle.path().join("onnx/model_fp16.onnx"), "").unwrap();
        assert_eq!(files(bundle.path()), ["onnx/model_fp16.onnx"]);
        std::fs::write(bundle.path().join("onnx/model.onnx"), "").unwrap();
        let files = files(bundle.path());
        assert_eq!(files, ["onnx/model.onnx", "onnx/model_fp16.onnx"]);
        let text = usage(&json!({}), &files, Task::Classification);
        for part in [
            "InferenceSession(f\"{folder}/onnx/model.onnx\")",
            "`onnx/model_fp16.onnx` is the same in 16 bits",
            "transformers.js",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_tagger_with_a_crf_says_that_its_logits_are_emissions() {
        let config = json!({ "refit_allowed": [[1]], "auto_map": {} });
        let files = ["onnx/model.onnx".to_owned()];
        let text = usage(&config, &files, Task::TokenClassification);
        assert!(text.contains("emissions of a CRF") && !text.contains("transformers.js"));
        assert!(text.contains("from_pretrained(folder, trust_remote_code=True)"));
    }
}
