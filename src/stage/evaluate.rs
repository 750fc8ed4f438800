//! `evaluate`: how well a trained model answers one split.
//!
//! Leaves `scores.json` (flat metrics first, then tables by label, counts of errors and the like) and `predictions.parquet`
//! (what each row says, what was answered, and how surely). The model is scored only on tokens of its own tokenizer and with
//! its own labels; anything else is an error, since the numbers would mean nothing.
//!
//! With `task = "generation"` it scores texts that somebody else wrote against references, both columns of a table
//! (`generated`); no model is needed, and the predictions keep the scores of each row.
//!
//! Texts with one label each are answered a piece of the split at a time, and of the answers that are written only the labels
//! stay in memory; the answers of other tasks are all there before the first is written.
//!
//! With `explain` it also keeps why some of the answers were given, as `explanations.json`; to choose which, 16 bytes a row stay
//! in memory.
//!
//! Deliberately absent: rendering. The terminal and the report make their tables from `scores.json`.

mod compare;
mod explain;
mod generated;

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::artifact::Kind;
use crate::device;
use crate::hub::Fetched;
use crate::learn::{self, Mean, Predictions, Rows, Window};
use crate::metrics;
use crate::metrics::generated::GeneratedSettings;
use crate::model::{self, Crf, ModelInfo};
use crate::table::{self, Cells, ColumnsWriter};
use crate::task::{Answers, Asked, Rule, Scored, Task};
use crate::text::{TokenSplit, Tokens};

pub use explain::ExplainSettings;

use explain::Evaluated;

use super::{
    ACTIVATIONS, Before, Certainty, Context, Edge, Fault, Files, Scoring, Stage, StageError,
    activations_in, advance, check_split, examples_of, find_split,
};

/// Scores a trained model on one split, by the usual metrics of its task, and keeps every single prediction. Or scores
/// generated texts against their references, with `task = "generation"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// The `train` stage whose model is scored. Generated texts need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The `tokenize` stage whose rows are answered; the one that the model was trained on, or another with the same
    /// tokenizer and labels. Of generated texts the `load` stage: its `text` is what was generated, its `text_pair` what
    /// should have been, `columns = { text = "prediction", text_pair = "reference", label = "" }`.
    pub input: String,
    /// Which rows: `test`, `validation`, `train`, or `more.NAME` for one of the further test sets of `load`. Default `test`.
    #[serde(default = "super::test_split")]
    pub split: String,
    /// Rows of full length per forward pass; of shorter rows as many as have the same number of tokens. It changes speed and
    /// memory, and scores in the last digits at most. Default 64.
    #[serde(default = "super::sixty_four")]
    #[schemars(range(min = 1, max = 65536))]
    pub batch_size: usize,
    /// Set to `"generation"` to score texts that stand in a table (summaries, translations) by ROUGE, BLEU, chrF, METEOR,
    /// exact match and the F1 of their words. Otherwise the task is the model's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<WithoutModel>,
    /// Keeps for some rows why they were answered as they were: the attention of every head, and what each word adds to the
    /// answer by integrated gradients and by gradient x input. Set it, as in `explain = {}`, to look into a model's mistakes.
    /// By default nothing is explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explain: Option<ExplainSettings>,
    /// How generated texts are scored.
    #[serde(default)]
    pub generation: GeneratedSettings,
    /// The folder of a WordNet 3.x database, whose synonyms METEOR matches (of Debian's package `wordnet-base`:
    /// `/usr/share/wordnet`). By default METEOR matches words and their stems alone, and its score is lower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wordnet: Option<String>,
}

/// What can be scored without a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WithoutModel {
    /// Generated texts.
    Generation,
}

impl Stage for Evaluate {
    fn kind(&self) -> &'static str {
        "evaluate"
    }

    fn version(&self) -> u32 {
        3
    }

    fn produces(&self) -> Kind {
        Kind::Scores
    }

    fn edges(&self) -> Vec<Edge> {
        let model = self.model.iter();
        let model = model.map(|model| Edge::new("model", model.clone(), Kind::Model));
        let reads = match self.task {
            Some(WithoutModel::Generation) => Kind::Table,
            None => Kind::Tokens,
        };
        let input = Edge::new("input", self.input.clone(), reads);
        model.chain([input]).collect()
    }

    fn edge_fields() -> &'static [(&'static str, Kind)] {
        &[
            ("model", Kind::Model),
            ("input", Kind::Tokens),
            ("input", Kind::Table),
        ]
    }

    fn settings(&self) -> Value {
        let mut own = self.clone();
        if let Some(explain) = &mut own.explain {
            // The order of ids changes nothing, nor does one that is named twice.
            explain.ids.sort_unstable();
            explain.ids.dedup();
        }
        serde_json::to_value(own).expect("strings and numbers are JSON")
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["model", "input", "wordnet"]
    }

    fn check(&self) -> Vec<Fault> {
        let split = check_split(&self.split).into_iter();
        let explained = explain::faults(self);
        split
            .chain(generated::faults(self))
            .chain(explained)
            .collect()
    }

    fn files(&self, base: &Path, _fetched: &Fetched) -> Result<Files, Vec<Fault>> {
        generated::files(self, base).map_err(|fault| vec![fault])
    }

    fn scoring(&self) -> Option<Scoring> {
        let metrics = match self.task {
            Some(WithoutModel::Generation) => metrics::generated::OF_ROWS.to_vec(),
            None => Vec::new(),
        };
        Some(Scoring {
            split: self.split.clone(),
            metrics,
        })
    }

    fn before(&self, named: &dyn Fn(&str) -> Option<Arc<dyn Stage>>) -> Option<Before> {
        let model = named(self.model.as_ref()?)?;
        let stage = model.activations_of(&self.input, &self.split)?;
        Some(Before {
            field: ACTIVATIONS,
            stage,
        })
    }

    fn compare(a: &Path, b: &Path) -> Result<Option<Certainty>, StageError> {
        compare::compare(a, b)
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        if self.task == Some(WithoutModel::Generation) {
            return generated::run(self, context);
        }
        let tokens = Tokens::open(context.input("input"))?;
        let folder = context.input("model");
        let info = ModelInfo::read(folder)?;
        let rule = Rule::of_model(&info)?;
        check_that_they_fit(&info, &tokens)?;
        let there: Vec<&str> = tokens.split_names().collect();
        let found = tokens.split(&self.split);
        let split = find_split(&self.split, found, TokenSplit::rows, "tokens", &there)?;
        let examples = examples_of(&tokens)?;
        let examples = examples
            .as_ref()
            .and_then(|table| table.splits.get(&self.split));
        let examples = examples.map(table::borrowed).transpose()?;
        let asked = Asked {
            rows: split,
            examples: examples.as_ref(),
            places: None,
        };
        if let Some(settings) = &self.explain {
            explain::check_ids(settings, &asked.ids(), &self.split)?;
        }
        let objective = rule
            .task
            .objective(&Default::default(), split, &rule.names)?;
        if split.rows() > 0 && (0..split.rows()).all(|row| !has_gold(split, rule.task, row)) {
            return Err(StageError::Mismatch {
                message: format!(
                    "the split {:?} has nothing to compare answers with: none of its rows says the right one",
                    self.split
                ),
                help: "set `split` to one that does. Many public test sets keep theirs secret; `predict` answers such rows"
                    .to_owned(),
            });
        }
        objective.check(split, &self.split, rule.names.len())?;

        let chosen = device::choose(context.device)?;
        let (classifier, config, _) = model::open(folder, &chosen.device)?;
        model::check_fits(
            &config,
            tokens.vocab_size(),
            split.longest(),
            split.token_types(),
        )?;
        context
            .progress
            .start("evaluating", split.rows() as u64, "rows");
        let stored = activations_in(context)?;
        let known = stored
            .as_ref()
            .and_then(|stored| stored.of(&self.split, split, classifier.head.summary()));
        let rows = known.as_ref().map_or(split as &dyn Rows, |rows| rows);
        let crf = classifier.head.crf().map(Crf::values).transpose()?;
        let tokens_at_once = self.batch_size.saturating_mul(tokens.max_length());
        let ask = |rows: &dyn Rows| {
            let (pad_id, device) = (tokens.pad_id(), &chosen.device);
            let on_rows = &mut advance(context);
            let outputs =
                learn::predict(&classifier, rows, pad_id, tokens_at_once, device, on_rows);
            // Whatever an interrupted forward pass returns, the user asked to stop.
            context.checkpoint()?;
            Ok::<_, StageError>(outputs?)
        };
        let mut writer = ColumnsWriter::new(&context.draft.join("predictions.parquet"));
        let mut outcomes = Vec::new();
        let mut take_up = |answers: &dyn Answers, asked: &Asked| {
            if self.explain.is_some() {
                outcomes.extend(answers.outcomes(asked)?);
            }
            Ok::<_, StageError>(())
        };
        let (answers, outputs, loss) = match rule.tally() {
            Some(mut tally) => {
                let mut loss = Mean::default();
                // An empty split has a piece too, so that there are columns.
                for start in (0..split.rows().max(1)).step_by(ROWS_AT_ONCE) {
                    let window = Window::new(rows, start..start + ROWS_AT_ONCE);
                    let outputs = ask(&window)?;
                    let asked = Asked {
                        rows: &window,
                        ..asked
                    };
                    let answers = rule.decide(&classifier, &outputs, &asked)?;
                    writer.add(columns(&asked, &*answers))?;
                    objective.add_losses(&mut loss, &outputs, &window, crf.as_ref());
                    take_up(&*answers, &asked)?;
                    tally.add(&outputs)?;
                }
                let nothing = Predictions { logits: Vec::new() };
                (tally.answers(), nothing, loss.value())
            }
            None => {
                let outputs = ask(rows)?;
                let answers = rule.decide(&classifier, &outputs, &asked)?;
                let loss = objective.loss_of(&outputs, split, crf.as_ref());
                writer.add(columns(&asked, &*answers))?;
                take_up(&*answers, &asked)?;
                (answers, outputs, loss)
            }
        };
        writer.finish()?;
        let scored = answers.scores(&asked, loss)?;
        if let Some(settings) = &self.explain {
            let evaluated = Evaluated {
                task: rule.task,
                model: &classifier,
                heads: config.num_attention_heads,
                tokens: &tokens,
                asked: &asked,
                answers: &*answers,
                outputs: &outputs,
                outcomes: &outcomes,
                tokens_at_once,
                device: &chosen.device,
            };
            explain::write(settings, &evaluated, context)?;
        }

        write_scores(context, scored, split.examples(), &self.split)?;
        Ok(())
    }
}

/// How many rows are answered before the answers are written: enough that rows of similar length meet.
const ROWS_AT_ONCE: usize = 1 << 14;

/// What is written about rows: their ids, what the file calls them, the right answers and those given.
fn columns(asked: &Asked, answers: &dyn Answers) -> Vec<(String, Cells)> {
    let mut columns = vec![("id".to_owned(), Cells::Ids(asked.ids()))];
    if let Some(names) = asked.examples.and_then(|examples| examples.name.as_ref()) {
        let names = names.iter().map(|&name| Some(name.to_owned())).collect();
        columns.push(("name".to_owned(), Cells::Texts(names)));
    }
    columns.extend(answers.columns(asked));
    columns
}

/// Whether a row says what the right answer is.
fn has_gold(split: &TokenSplit, task: Task, row: usize) -> bool {
    match task {
        Task::Classification => split.label(row).is_some(),
        Task::MultiLabel => split.labels(row).is_some(),
        Task::Regression => split.targets(row).is_some(),
        Task::TokenClassification => split.tags(row).is_some(),
        Task::QuestionAnswering => split.answer(row).is_some(),
    }
}

fn check_that_they_fit(model: &ModelInfo, tokens: &Tokens) -> Result<(), StageError> {
    if model.tokenizer_digest != tokens.tokenizer_digest() {
        return Err(StageError::Mismatch {
            message: "the model and the tokens come from different tokenizers, so the ids mean different words"
                .to_owned(),
            help: format!(
                "let `input` name the tokenize stage that the model was trained on, or one with the same tokenizer \
                 (the model's tokenizer has digest {}, that of the tokens {})",
                short(&model.tokenizer_digest),
                short(tokens.tokenizer_digest()),
            ),
        });
    }
    let (names, what, fixes) = match &model.target_names {
        Some(_) => (tokens.target_names(), "targets", "columns.target"),
        None => (tokens.label_names(), "labels", "label_names"),
    };
    let names = names.unwrap_or_default();
    if model.names() != names {
        return Err(StageError::Mismatch {
            message: format!(
                "the model is for {} and answers with the {what} {}, the tokens have {}",
                model.task,
                listed(model.names()),
                listed(names)
            ),
            help: format!(
                "evaluate on rows for the same task, with the same {what} in the same order; `{fixes}` of the load stage fixes them"
            ),
        });
    }
    Ok(())
}

/// Writes `scores.json`.
fn write_scores(
    context: &Context,
    scored: Scored,
    rows: usize,
    split: &str,
) -> Result<(), StageError> {
    let path = context.draft.join("scores.json");
    let scores = scores(scored, rows, split);
    let mut json = serde_json::to_vec_pretty(&scores).expect("maps with string keys are JSON");
    json.push(b'\n');
    std::fs::write(&path, json).map_err(|source| StageError::Write { path, source })
}

/// `scores.json`: the flat metrics, `rows` and `split`, then what is no number.
fn scores(scored: Scored, rows: usize, split: &str) -> Map<String, Value> {
    let mut scores = scored.flat;
    scores.insert("rows".to_owned(), rows.into());
    scores.insert("split".to_owned(), split.into());
    scores.extend(scored.details);
    scores
}

fn short(digest: &str) -> &str {
    digest.get(..10).unwrap_or(digest)
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("{name:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests;
