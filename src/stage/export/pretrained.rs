//! The export of an encoder with the head that predicts masked words: what transformers' `AutoModelForMaskedLM` loads, and what
//! a `train` stage takes as its `encoder`.
//!
//! Deliberately absent: ONNX and adapters, which are made of models for a task.

use super::{
    Context, Export, Format, PretrainingInfo, StageError, copy, copy_tokenizer, write_weights,
};
use super::{read_object, write_json};
use serde_json::{Value, json};

impl Export {
    /// Exports what a `pretrain` stage left.
    ///
    /// # Errors
    /// Formats that there are none of.
    pub(super) fn run_pretrained(&self, context: &Context) -> Result<(), StageError> {
        let model = context.input("model");
        let onnx = self.formats.iter().any(|format| format.onnx().is_some());
        if onnx || self.adapter {
            let what = if onnx { "ONNX files" } else { "adapters" };
            return Err(StageError::Mismatch {
                message: format!(
                    "a pretrain stage gives an encoder that predicts masked words, and {what} are made of models for a task alone"
                ),
                help: "set `formats = [\"safetensors\"]` without `adapter`, or export the train stage that fine-tunes it"
                    .to_owned(),
            });
        }
        let info = PretrainingInfo::read(model)?;
        let half = self.formats.contains(&Format::SafetensorsFp16);
        let name = "model.safetensors";
        write_weights(&model.join(name), &context.draft.join(name), None, half)?;
        context.checkpoint()?;
        let mut config = read_object(&model.join("config.json"))?;
        if half {
            config.insert("dtype".to_owned(), json!("float16"));
        }
        write_json(&context.draft.join("config.json"), &Value::Object(config))?;
        let file = PretrainingInfo::FILE;
        copy(&model.join(file), &context.draft.join(file))?;
        copy_tokenizer(&model.join("tokenizer"), context.draft, info.max_length)
    }
}
