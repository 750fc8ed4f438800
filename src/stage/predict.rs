//! `predict`: a trained model's answers to the rows of any table.
//!
//! The rows need no labels: a table is what `load` made of a file of texts. They go through the model's own tokenizer, as
//! the model's training rows did, and the answers are those that an evaluation would score. Leaves `predictions.parquet`:
//! for each row its id, its text, and what was answered, with probabilities; for words their tags and the entities in
//! them, placed in characters of the text; for questions the answer with its place in the context.
//!
//! Deliberately absent: scores, which are `evaluate`'s, and what the rows themselves say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::Kind;
use crate::device;
use crate::learn;
use crate::model::{self, ModelInfo};
use crate::table::{self, Cells, Table, Texts};
use crate::task::{self, Prepared, Rule, Task};
use crate::text::Tokenizer;

use super::{Context, Edge, Fault, Stage, StageError, advance, check_split, find_split, stopped};

/// Lets a trained model answer the rows of a table, which need no labels. The result is one Parquet file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Predict {
    /// The `train` stage whose model answers.
    pub model: String,
    /// The `load` or `augment` stage whose rows are answered. Where the model tags words, rows of plain text are cut into
    /// words at white space and around punctuation.
    pub input: String,
    /// Which rows: `test`, `validation`, `train`, or `more.NAME` for one of the further test sets of `load`. By default the
    /// only split that there is, else `test`. (The files of a load stage for prediction alone stand under `train`.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Rows of full length per forward pass; of shorter rows as many as have the same number of tokens. It changes speed and
    /// memory, and answers in the last digits at most. Default 64.
    #[serde(default = "super::sixty_four")]
    #[schemars(range(min = 1, max = 65536))]
    pub batch_size: usize,
}

impl Stage for Predict {
    fn kind(&self) -> &'static str {
        "predict"
    }

    fn version(&self) -> u32 {
        2
    }

    fn produces(&self) -> Kind {
        Kind::Predictions
    }

    fn edges(&self) -> Vec<Edge> {
        vec![
            Edge::new("model", self.model.clone(), Kind::Model),
            Edge::new("input", self.input.clone(), Kind::Table),
        ]
    }

    fn edge_fields() -> &'static [(&'static str, Kind)] {
        &[("model", Kind::Model), ("input", Kind::Table)]
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self).expect("strings and numbers are JSON")
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["model", "input"]
    }

    fn check(&self) -> Vec<Fault> {
        self.split
            .as_deref()
            .and_then(check_split)
            .into_iter()
            .collect()
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let folder = context.input("model");
        let info = ModelInfo::read(folder)?;
        let rule = Rule::of_model(&info)?;
        let tokenizer = Tokenizer::open(&folder.join("tokenizer"))?;
        let table = Table::open(context.input("input"))?;
        let there: Vec<&str> = table.splits.keys().map(String::as_str).collect();
        let split = match (&self.split, there.as_slice()) {
            (Some(split), _) => split.as_str(),
            (None, [only]) => only,
            (None, _) => "test",
        };
        let found = table.splits.get(split);
        let frame = find_split(split, found, |frame| frame.height(), "table", &there)?;
        let texts = table::borrowed(frame)?;
        if rule.task == Task::QuestionAnswering && texts.text_pair.is_none() {
            return Err(StageError::Mismatch {
                message: format!(
                    "the model answers questions, and the rows of {split:?} have no context"
                ),
                help:
                    "map both in the load stage: `columns = { question = \"…\", context = \"…\" }`"
                        .to_owned(),
            });
        }
        let rows = Prepared::new(rule.task, texts.clone());

        let chosen = device::choose(context.device)?;
        let (classifier, config, info) = model::open(folder, &chosen.device)?;
        context
            .progress
            .start("tokenizing", texts.len() as u64, "rows");
        let (length, stride) = (info.max_length, task::stride_of(&info));
        let encoded = rows
            .encode(&tokenizer, length, stride, &mut advance(context))
            .map_err(stopped)?;
        model::check_fits(
            &config,
            tokenizer.vocab_size(),
            encoded.longest(),
            encoded.token_types(),
        )?;
        context
            .progress
            .start("predicting", encoded.rows() as u64, "rows");
        let outputs = learn::predict(
            &classifier,
            &encoded,
            tokenizer.pad_id(),
            self.batch_size.saturating_mul(info.max_length),
            &chosen.device,
            &mut advance(context),
        );
        // Whatever an interrupted forward pass returns, the user asked to stop.
        context.checkpoint()?;
        let asked = rows.asked(&encoded);
        let answers = rule.decide(&classifier, &outputs?, &asked)?;
        let columns = [texts_of(&texts), answers.columns(&asked)].concat();
        table::write_columns(&context.draft.join("predictions.parquet"), columns)?;
        Ok(())
    }
}

/// What identifies a row to a reader: its id, what the file calls it, its text.
fn texts_of(texts: &Texts<&str>) -> Vec<(String, Cells)> {
    let cells =
        |texts: &Vec<&str>| Cells::Texts(texts.iter().map(|&text| Some(text.to_owned())).collect());
    let id = Some(Cells::Ids(texts.id.clone()));
    let columns = [
        ("id", id),
        ("name", texts.name.as_ref().map(cells)),
        ("text", Some(cells(&texts.text))),
        ("text_pair", texts.text_pair.as_ref().map(cells)),
    ];
    let there = columns
        .into_iter()
        .filter_map(|(name, cells)| Some((name.to_owned(), cells?)));
    there.collect()
}
