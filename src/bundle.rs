//! An exported model in use: a folder with weights, tokenizer and labels, opened once and asked many times.
//!
//! A bundle is what an `export` stage placed, the artifact of a `train` stage, or a fine-tuned model of a known family as
//! transformers saves it. Texts become tokens and outputs become answers by the code that `predict` and `evaluate` stages go
//! through, so that the answers are the same.
//!
//! Promise: an open bundle does not change, and may be asked from any thread.
//!
//! Deliberately absent: files of rows and their formats (`table`), queues and batches over several callers (`serve`), and
//! ONNX, which others compute.

mod contents;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::artifact::Unreadable;
use crate::device::Chosen;
use crate::learn::{self, LearnError};
use crate::metrics::Scheme;
use crate::model::{self, Classifier, EncoderConfig, EncoderFiles, ModelError, ModelInfo};
use crate::table::{Cells, Texts};
use crate::task::{self, Answers, Prepared, Rule, Task, TaskError};
use crate::text::{Encoded, TextError, Tokenizer};

pub use contents::{Contents, EncoderSizes, FileSize, TokenizerFacts, Weights};

pub use crate::task::{Entity, Reply, SpanAnswer};

/// The longest text in tokens where neither tokenizer nor encoder says less. Encoders with more positions exist, but few
/// were fine-tuned on as many, and the work grows with the square.
const USUAL_LENGTH: usize = 512;

/// What is asked of a model: a text, and the second text of a pair. Of a question the pair is its context.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Question {
    pub text: String,
    pub pair: Option<String>,
}

/// A model with its tokenizer, on a device.
pub struct Bundle {
    name: String,
    info: ModelInfo,
    rule: Rule,
    tokenizer: Tokenizer,
    classifier: Classifier,
    config: EncoderConfig,
    device: Chosen,
    /// In tokens, of a text or of a window.
    max_length: usize,
    stride: usize,
    notes: Vec<String>,
}

impl Bundle {
    /// Opens the model in `folder` on a device.
    ///
    /// # Errors
    /// A folder that is missing, holds no model, or an adapter alone; files that are damaged or do not fit each other.
    pub fn open(folder: &Path, device: &Chosen) -> Result<Bundle, BundleError> {
        let found = Found::in_folder(folder)?;
        if found.adapter {
            return Err(BundleError::Adapter {
                folder: folder.to_owned(),
            });
        }
        if !found.graphs.is_empty() {
            return Err(BundleError::GraphsAlone {
                folder: folder.to_owned(),
                graphs: found.graphs,
            });
        }
        let (info, tokenizer) = found.info()?;
        let rule = Rule::of_model(&info)?;
        let (classifier, config) = model::open_as(&info, folder, &device.device)?;
        model::check_fits(&config, tokenizer.vocab_size(), 0, 1)?;
        let mut notes = tokenizer.notes().to_vec();
        if found.own && tokenizer.digest() != info.tokenizer_digest {
            notes.push(format!(
                "the tokenizer in {} is not the one that the model learned from, so words may have other ids",
                folder.display()
            ));
        }
        // A model may have been trained with a longer limit than it has positions for, on texts that are all short.
        let max_length = info.max_length.min(config.longest());
        let stride = match max_length < info.max_length {
            true => task::stride_of(&info).min(max_length / 3),
            false => task::stride_of(&info),
        };
        Ok(Bundle {
            name: name_of(folder),
            info,
            rule,
            tokenizer,
            classifier,
            config,
            device: device.clone(),
            max_length,
            stride,
            notes,
        })
    }

    /// What its folder is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Task, labels, thresholds and the like.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The sizes of its encoder.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// What computes.
    pub fn device(&self) -> &Chosen {
        &self.device
    }

    /// The most tokens of a text that the model sees at once. Longer texts are cut; sentences whose words are tagged, and
    /// contexts, are read in windows.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// What its user should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// From now on gives each label from this probability on; of questions, gives no answer where "no answer" is ahead by
    /// more than this.
    ///
    /// # Errors
    /// A task without thresholds; of labels, what is no probability.
    pub fn set_threshold(&mut self, threshold: f64) -> Result<(), BundleError> {
        let wrong = |message: &'static str| BundleError::Threshold {
            threshold,
            task: self.info.task,
            message,
        };
        self.rule.thresholds = Some(match self.info.task {
            Task::MultiLabel if !(0.0..=1.0).contains(&threshold) => {
                return Err(wrong("is no probability"));
            }
            Task::MultiLabel => vec![threshold; self.rule.names.len()],
            Task::QuestionAnswering if !threshold.is_finite() => {
                return Err(wrong("is no finite number"));
            }
            Task::QuestionAnswering => vec![threshold],
            _ => return Err(wrong("decides nothing")),
        });
        Ok(())
    }

    /// The number of tokens of each question as the model reads it, those of all its windows together.
    ///
    /// # Errors
    /// A question that does not fit the task, or that the tokenizer refuses.
    pub fn tokens(&self, questions: &[Question]) -> Result<Vec<usize>, BundleError> {
        let mut tokens = vec![0; questions.len()];
        for part in parts(self.info.task, questions)? {
            let prepared = Prepared::new(self.info.task, part.texts());
            let encoded = self
                .encode(&prepared, &mut |_| ControlFlow::Continue(()))
                .map_err(|error| part.place(error))?;
            for row in 0..encoded.rows() {
                if let Some(&place) = part.numbers.get(encoded.example(row)) {
                    tokens[place] += encoded.ids(row).len();
                }
            }
        }
        Ok(tokens)
    }

    /// The answer to each question, in their order. At most `batch_tokens` tokens are computed at once (on a CPU at most
    /// about a thousand by each thread, and anywhere at least one text). `on_rows` is told how many questions were just done, and
    /// may say stop.
    ///
    /// # Errors
    /// A question that does not fit the task, or that the tokenizer refuses; outputs that are not finite; a device that
    /// fails; [`BundleError::Interrupted`] when told to stop.
    pub fn answer(
        &self,
        questions: &[Question],
        batch_tokens: usize,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Reply>, BundleError> {
        let mut replies: Vec<Option<Reply>> = vec![None; questions.len()];
        for part in parts(self.info.task, questions)? {
            let answered = self
                .answer_texts(part.texts(), batch_tokens, on_rows)
                .map_err(|error| part.place(error))?;
            for (&place, reply) in part.numbers.iter().zip(answered.replies()) {
                replies[place] = Some(reply);
            }
        }
        Ok(replies.into_iter().flatten().collect())
    }

    /// The answers to all these texts, of which nothing but the texts is looked at. Contexts of questions are in
    /// `text_pair`, and sentences may come cut into `words`.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn answer_texts<'t>(
        &self,
        texts: Texts<&'t str>,
        batch_tokens: usize,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Answered<'t>, BundleError> {
        let prepared = Prepared::new(self.info.task, texts);
        let mut stopped = false;
        let encoded = self.encode(&prepared, &mut |_| {
            // Nothing is answered yet; but it may take a while, and who wants to stop is heard.
            let go_on = on_rows(0);
            stopped |= go_on.is_break();
            go_on
        })?;
        // A text may be several rows, of which the longest come first wherever they are.
        let (rows, examples) = (encoded.rows().max(1), encoded.examples());
        let (mut done, mut told) = (0, 0);
        let outputs = learn::predict(
            &self.classifier,
            &encoded,
            self.tokenizer.pad_id(),
            batch_tokens,
            &self.device.device,
            &mut |more| {
                done += more;
                let by_now = done * examples / rows;
                let go_on = on_rows(by_now - told);
                told = by_now;
                stopped |= go_on.is_break();
                go_on
            },
        );
        // Whatever an interrupted pass returns, the caller asked to stop.
        if stopped {
            return Err(BundleError::Interrupted);
        }
        let asked = prepared.asked(&encoded);
        let answers = self.rule.decide(&self.classifier, &outputs?, &asked)?;
        Ok(Answered {
            prepared,
            encoded,
            answers,
        })
    }

    fn encode(
        &self,
        prepared: &Prepared,
        on_rows: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Encoded, BundleError> {
        let encoded = prepared
            .encode(&self.tokenizer, self.max_length, self.stride, on_rows)
            .map_err(|error| match error {
                TextError::Interrupted => BundleError::Interrupted,
                other => BundleError::Text(other),
            })?;
        model::check_fits(
            &self.config,
            self.tokenizer.vocab_size(),
            encoded.longest(),
            encoded.token_types(),
        )?;
        Ok(encoded)
    }
}

/// Texts with the answers to them.
pub struct Answered<'t> {
    prepared: Prepared<'t>,
    encoded: Encoded,
    answers: Box<dyn Answers>,
}

impl<'t> Answered<'t> {
    /// What was asked.
    pub fn texts(&self) -> &Texts<&'t str> {
        self.prepared.texts()
    }

    /// One by one.
    pub fn replies(&self) -> Vec<Reply> {
        self.answers.replies(&self.prepared.asked(&self.encoded))
    }

    /// What was answered and how surely, as the columns of `predictions.parquet`.
    pub fn columns(&self) -> Vec<(String, Cells)> {
        let mut columns = self.answers.columns(&self.prepared.asked(&self.encoded));
        if self.encoded.examples() == 0 {
            // Of no rows at all, every one says what is right.
            columns.retain(|(name, _)| !is_gold(name));
        }
        columns
    }

    /// How many texts were longer than the model reads, and lost their ends.
    pub fn truncated(&self) -> usize {
        self.encoded.truncated()
    }
}

/// Whether a column says what is right.
fn is_gold(column: &str) -> bool {
    ["label", "labels", "tags", "answers"].contains(&column) || column.starts_with("target_")
}

/// Questions that can be asked together: all of them with a second text, or none.
struct Part<'q> {
    /// Of each among those that were asked.
    numbers: Vec<usize>,
    questions: Vec<&'q Question>,
    paired: bool,
}

/// Questions as the task can be asked them.
///
/// # Errors
/// The first question that does not fit.
fn parts(task: Task, questions: &[Question]) -> Result<Vec<Part<'_>>, BundleError> {
    let mut parts = [false, true].map(|paired| Part {
        numbers: Vec::new(),
        questions: Vec::new(),
        paired,
    });
    for (index, question) in questions.iter().enumerate() {
        let paired = question.pair.is_some();
        let wrong = match (task, paired) {
            (Task::QuestionAnswering, false) => Some("has no context to find its answer in"),
            (Task::TokenClassification, true) => {
                Some("has a second text, and the model tags the words of one")
            }
            _ => None,
        };
        if let Some(what) = wrong {
            return Err(BundleError::Question { index, what });
        }
        let part = &mut parts[usize::from(paired)];
        part.numbers.push(index);
        part.questions.push(question);
    }
    Ok(parts
        .into_iter()
        .filter(|part| !part.numbers.is_empty())
        .collect())
}

impl<'q> Part<'q> {
    fn texts(&self) -> Texts<&'q str> {
        let text = self.questions.iter().map(|question| question.text.as_str());
        let pairs = self.questions.iter();
        let pairs = pairs.map(|question| question.pair.as_deref().unwrap_or_default());
        Texts {
            id: self.numbers.iter().map(|&number| number as u64).collect(),
            text: text.collect(),
            text_pair: self.paired.then(|| pairs.collect()),
            ..Texts::default()
        }
    }

    /// An error about a question of this part, as one about those that were asked.
    fn place(&self, error: BundleError) -> BundleError {
        match error {
            BundleError::Text(TextError::Row { row, message }) => {
                BundleError::Text(TextError::Row {
                    row: self.numbers.get(row).copied().unwrap_or(row),
                    message,
                })
            }
            other => other,
        }
    }
}

/// Where the parts of a model are in its folder.
struct Found<'f> {
    folder: &'f Path,
    tokenizer: PathBuf,
    /// Whether there is a `model.json`.
    own: bool,
    /// Whether there is an adapter in place of weights.
    adapter: bool,
    /// The files of ONNX that are there in place of weights, by their names in the folder.
    graphs: Vec<String>,
}

impl<'f> Found<'f> {
    fn in_folder(folder: &'f Path) -> Result<Self, BundleError> {
        if !folder.is_dir() {
            return Err(BundleError::NoFolder {
                folder: folder.to_owned(),
                is_file: folder.exists(),
            });
        }
        let has = |name: &str| folder.join(name).is_file();
        if !has("config.json") {
            let mut found: Vec<String> = std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            found.sort();
            return Err(BundleError::NoModel {
                folder: folder.to_owned(),
                found,
            });
        }
        // A model artifact keeps its tokenizer apart.
        let apart = folder.join("tokenizer");
        Ok(Found {
            folder,
            tokenizer: match apart.is_dir() {
                true => apart,
                false => folder.to_owned(),
            },
            own: has("model.json"),
            adapter: has("adapter_config.json"),
            graphs: match EncoderFiles::in_folder(folder).weights.is_file() {
                true => Vec::new(),
                false => graphs_in(folder),
            },
        })
    }

    /// What the model was made for, and its tokenizer.
    fn info(&self) -> Result<(ModelInfo, Tokenizer), BundleError> {
        let tokenizer = Tokenizer::open(&self.tokenizer)?;
        if self.own {
            return Ok((ModelInfo::read(self.folder)?, tokenizer));
        }
        let length = tokenizer.model_max_length().unwrap_or(USUAL_LENGTH);
        let info = ModelInfo::of_config(&self.folder.join("config.json"), length)?;
        let tokenizer = match info.task {
            Task::TokenClassification => tokenizer.for_words(),
            _ => tokenizer,
        };
        // Each tag as a sentence of its own: whether it may begin one tells the schemes apart.
        let alone = info.label_names.iter().map(|name| [name.as_str()]);
        let scheme = match info.task {
            Task::TokenClassification => Scheme::recognise(alone),
            _ => None,
        };
        let info = ModelInfo {
            scheme: scheme.map(|scheme| scheme.name().to_owned()),
            tokenizer_digest: tokenizer.digest(),
            ..info
        };
        Ok((info, tokenizer))
    }
}

/// The files of ONNX in a folder, where `export` lays them and where others do.
fn graphs_in(folder: &Path) -> Vec<String> {
    let names = |part: &'static str| {
        let entries = std::fs::read_dir(folder.join(part));
        let names = entries.into_iter().flatten().flatten();
        names.map(move |entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            format!("{part}{name}")
        })
    };
    let mut graphs: Vec<String> = names("").chain(names("onnx/")).collect();
    graphs.retain(|name| name.ends_with(".onnx"));
    graphs.sort();
    graphs
}

/// The name of a folder, also of `.` and of what ends with `..`.
fn name_of(folder: &Path) -> String {
    let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let name = whole.file_name().unwrap_or(whole.as_os_str());
    name.to_string_lossy().into_owned()
}

/// A bundle that cannot be opened, or a question that it cannot answer.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BundleError {
    #[error("{} {}", folder.display(), if *is_file { "is a file" } else { "does not exist" })]
    #[diagnostic(help(
        "name a folder with a model: where an export stage placed it (`to`), or what `refit path SPEC STAGE` prints of a train stage"
    ))]
    NoFolder { folder: PathBuf, is_file: bool },

    #[error("{} holds no model: there is no config.json, but {}", folder.display(), listed(found))]
    #[diagnostic(help(
        "name a folder with a model: where an export stage placed it (`to`), or what `refit path SPEC STAGE` prints of a train stage"
    ))]
    NoModel { folder: PathBuf, found: Vec<String> },

    #[error("{} holds an adapter alone, which answers nothing without its encoder", folder.display())]
    #[diagnostic(help(
        "export the whole model: drop `adapter = true` from the export stage, or add another export stage without it"
    ))]
    Adapter { folder: PathBuf },

    #[error("{} holds the model for programs that run ONNX alone ({})", folder.display(), listed(graphs))]
    #[diagnostic(help(
        "let the export stage write the weights, too: `formats = [\"safetensors\", \"onnx\"]`; or ask the graph with onnxruntime, as its README shows"
    ))]
    GraphsAlone {
        folder: PathBuf,
        graphs: Vec<String>,
    },

    #[error("question {index}, counted from 0, {what}")]
    #[diagnostic(help(
        "questions need a context (`--context`, or a column of that name); pairs of texts (`--pair`) are for models that answer whole texts"
    ))]
    Question { index: usize, what: &'static str },

    #[error("the threshold {threshold} {message} (the model's task is {task})")]
    #[diagnostic(help(
        "of multi_label give a probability from 0 to 1, of question_answering by how much \"no answer\" must be ahead; other tasks have no threshold"
    ))]
    Threshold {
        threshold: f64,
        task: Task,
        message: &'static str,
    },

    /// A callback said to stop.
    #[error("interrupted")]
    #[diagnostic(help("run the same command again"))]
    Interrupted,

    #[error(transparent)]
    #[diagnostic(transparent)]
    Unreadable(#[from] Unreadable),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] ModelError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Text(#[from] TextError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Task(#[from] TaskError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Learn(#[from] LearnError),
}

/// The first of some names.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.split_at_checked(SHOWN) {
        _ if names.is_empty() => "nothing".to_owned(),
        Some((first, rest)) if !rest.is_empty() => {
            format!("{} and {} more", first.join(", "), rest.len())
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests;
