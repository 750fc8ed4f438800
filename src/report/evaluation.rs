//! The page of a pipeline's evaluations: how good the answers are, where they are wrong, and what was done to get them.
//!
//! It shows the scores with their intervals; the classes, and which are taken for which; curves and thresholds; every row,
//! to be filtered; the slices that fail most, rows whose label is doubtful, and rows of the training that resemble a wrong
//! one; what the model looks at; how training went; the data; and the steps, the spec and what changed in it. The promise:
//! it says nothing that is not in [`ReportPage`], takes any text for text, and stays quick with a hundred thousand rows:
//! what is counted is counted before ([`PageEvaluation`]), and rows lie compressed in the page until they are needed
//! ([`PageRows`]).
//!
//! Deliberately absent: statistics of its own, and a server.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::{Compression, GzBuilder};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Parts, document};

const BODY: &str = include_str!("evaluation/page.html");
const STYLE: &str = include_str!("evaluation/style.css");
pub(super) const SCRIPTS: [&str; 11] = [
    include_str!("evaluation/plots.js"),
    include_str!("evaluation/rows.js"),
    include_str!("evaluation/marks.js"),
    include_str!("evaluation/list.js"),
    include_str!("evaluation/scores.js"),
    include_str!("evaluation/errors.js"),
    include_str!("evaluation/attributions.js"),
    include_str!("evaluation/attention.js"),
    include_str!("evaluation/training.js"),
    include_str!("evaluation/steps.js"),
    include_str!("evaluation/page.js"),
];

/// What the page of a pipeline shows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReportPage {
    pub pipeline: String,
    /// The spec's path, as given.
    pub spec: String,
    /// The program and its version.
    pub made_by: String,
    pub evaluations: Vec<PageEvaluation>,
    pub trainings: Vec<PageTraining>,
    pub data: Vec<PageData>,
    pub tokens: Vec<PageTokens>,
    /// In the order of the plan.
    pub steps: Vec<PageStep>,
    /// The spec, with its comments.
    pub text: String,
    /// The latest run whose spec differs; `None` where there is none.
    pub previous: Option<Previous>,
}

/// One evaluation.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageEvaluation {
    pub stage: String,
    /// The `train` stage that it is of; none for generated texts.
    pub model: Option<String>,
    pub split: String,
    /// `classification`, `multi_label`, `regression`, `token_classification`, `question_answering` or `generation`
    pub task: String,
    pub rows: usize,
    /// The most important first.
    pub scores: Vec<PageScore>,
    /// The level of all intervals, 0.95, and how often rows were drawn anew for those of the scores.
    pub level: f64,
    pub resamples: usize,
    /// The labels in the order of their numbers: of texts, or of entities. Rows name a label by its place here.
    pub labels: Vec<String>,
    pub per_label: Vec<PageLabel>,
    /// `[right][answered]`: counts of rows. Only for one label a row; empty otherwise.
    pub confusion: Vec<Vec<u64>>,
    /// Of each label, against all others. Only where probabilities are known.
    pub curves: Vec<PageCurves>,
    /// The answers by how sure they were, in bins of equal width that have rows.
    pub calibration: Vec<PageBin>,
    pub calibration_error: Option<f64>,
    /// For two labels (of the second alone), and for several labels a row (of each): what a threshold would do.
    pub thresholds: Vec<PageThresholds>,
    /// The parts of the rows that fail most, worst first.
    pub slices: Vec<PageSlice>,
    /// The pairs of labels that are confused most, most frequent first.
    pub confused: Vec<PageConfused>,
    /// Rows whose label is doubtful, most doubtful first, 2000 at most (confident learning; Northcutt, Jiang and Chuang 2021).
    pub doubtful: Vec<PageDoubt>,
    /// Of wrong rows, the most similar row of the training.
    pub near: Vec<PageNear>,
    /// How entities were missed: `correct`, `type`, `boundary`, `both`, `missed`, `spurious` → count. Only for entities.
    pub entity_errors: Map<String, Value>,
    /// Chosen examples with attention and attributions: the examples of `explanations.json`, as they are there, but for
    /// attention that would make the page too large.
    pub explanations: Vec<Value>,
    /// What the attributions are of, in a sentence.
    pub attributed_to: Option<String>,
    /// What could not be shown, and what to do about it: `explain` is not set, the training rows were collected, and so on.
    pub notes: Vec<String>,
    /// The rows, as [`PageRows::packed`] gives them.
    pub packed: String,
}

/// One score, and the interval that it lies in when rows are drawn anew.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageScore {
    pub metric: String,
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub higher_is_better: bool,
}

/// The scores of one label.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageLabel {
    /// Its place among [`PageEvaluation::labels`].
    pub label: usize,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub support: u64,
}

/// The curves of one label, thinned to what the eye can tell apart.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageCurves {
    pub label: usize,
    /// (share of the others taken for it, share of its own found), from (0, 0) to (1, 1).
    pub roc: Vec<(f64, f64)>,
    /// The area under it.
    pub roc_auc: Option<f64>,
    /// (recall, precision), by falling recall.
    pub precision_recall: Vec<(f64, f64)>,
    pub average_precision: Option<f64>,
}

/// Rows that were answered about equally surely.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageBin {
    pub low: f64,
    pub high: f64,
    /// Means over the rows.
    pub confidence: f64,
    pub accuracy: f64,
    pub rows: u64,
}

/// What each threshold would do to one label.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageThresholds {
    pub label: usize,
    /// The threshold in force: 0.5, or the one that was found on validation.
    pub chosen: f64,
    /// The counts of the answers that were given, as below.
    pub in_force: [u64; 4],
    /// For the thresholds 0, 0.01, … 1: true positives, false positives, false negatives, true negatives, where a row is
    /// positive from its threshold on.
    pub counts: Vec<[u64; 4]>,
}

/// Rows that have something in common.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageSlice {
    /// `label`, `length`, `rare words`, `negation`, `numerals`, `capitals`, `question word`, `answer kind`.
    pub by: String,
    /// `Sports`, `41 to 60 words`, `has none`
    pub value: String,
    /// How many rows there are.
    pub support: usize,
    /// The share of them that is wrong, and the interval it lies in (Wilson).
    pub error: f64,
    pub low: f64,
    pub high: f64,
    /// The share of the other rows that is wrong.
    pub elsewhere: f64,
    /// How probable a difference as large is where there is none (Fisher's exact test; Holm over all slices).
    pub p_value: f64,
    /// Their places among the rows; at most a thousand, the wrong ones first.
    pub rows: Vec<u32>,
}

/// Rows of one label that were taken for another.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageConfused {
    pub right: usize,
    pub answered: usize,
    pub count: u64,
    /// Of the rows with the right label.
    pub share: f64,
}

/// A row whose label is doubtful.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageDoubt {
    /// Its place among the rows.
    pub row: u32,
    pub given: usize,
    pub suggested: usize,
    /// The probabilities of both labels.
    pub given_probability: f64,
    pub suggested_probability: f64,
}

/// A row of the training that almost says what a wrong row says.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageNear {
    pub row: u32,
    /// Of the row in training.
    pub id: u64,
    pub text: String,
    /// What is right there; empty where it is no label.
    pub label: String,
    /// Shared ÷ all character 5-grams.
    pub similarity: f64,
}

/// The rows of an evaluation by column. All lists that are not empty have an entry for each row.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageRows {
    pub id: Vec<u64>,
    /// What the file calls the rows.
    pub name: Vec<String>,
    /// Texts as often as they occur once: contexts of questions, and whatever occurs twice.
    pub strings: Vec<String>,
    /// Places among `strings`; `None` where the text was left out to keep the page small.
    pub text: Vec<Option<u32>>,
    /// The second text: the context of a question, the reference of a generated text.
    pub pair: Vec<Option<u32>>,
    /// Whether the answer is wrong.
    pub wrong: Vec<bool>,
    /// How sure the answer is, in thousandths. Empty where it is not known.
    pub confidence: Vec<u16>,
    /// How many words the text has.
    pub words: Vec<u32>,
    /// One label a row: what is right and what was answered.
    pub right: Vec<u16>,
    pub answered: Vec<u16>,
    /// Several labels a row.
    pub right_labels: Vec<Vec<u16>>,
    pub answered_labels: Vec<Vec<u16>>,
    /// Numbers a row, one entry for each target.
    pub targets: Vec<PageTarget>,
    /// Entities: (start, end, label, kind), in characters of the text, where kind is `correct`, `type`, `boundary`, `both`,
    /// `missed` (right alone) or `spurious` (found alone).
    pub right_entities: Vec<Vec<(u32, u32, u16, &'static str)>>,
    pub found_entities: Vec<Vec<(u32, u32, u16, &'static str)>>,
    /// Questions: what would be right (none where nothing is), what was answered, and where in the context it stands.
    pub answers: Vec<Vec<String>>,
    pub answer: Vec<String>,
    pub answer_span: Vec<Option<(u32, u32)>>,
    /// Scores of each row: exact match and F1 of answers, scores of generated texts.
    pub row_scores: Vec<(String, Vec<f64>)>,
}

/// The numbers of one target: (name, right, answered).
pub type PageTarget = (String, Vec<Option<f64>>, Vec<Option<f64>>);

/// One training.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageTraining {
    pub stage: String,
    /// The lines of its log (`step`, `loss`, `learning_rate`, `gradient_norm`, `epoch` and scores of validation), thinned to
    /// at most a thousand steps; validations are all there.
    pub log: Vec<Value>,
    /// The run that built it, when it is known.
    pub seconds: Option<f64>,
    pub rows_per_second: Option<f64>,
    pub steps: u64,
    pub parameters: Option<u64>,
}

/// What a stage that gives rows gave.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageData {
    pub stage: String,
    pub splits: Vec<PageSplit>,
}

/// A split of a table.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageSplit {
    pub name: String,
    pub rows: usize,
    /// Label → rows, in the order of labels.
    pub labels: Vec<(String, u64)>,
    /// Words of the texts: (from, below, rows).
    pub words: Vec<(u32, u32, u64)>,
}

/// What a tokenizer gave.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageTokens {
    pub stage: String,
    pub max_length: usize,
    pub vocab_size: usize,
    pub splits: Vec<PageLengths>,
}

/// The lengths of a split's rows, in tokens.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageLengths {
    pub name: String,
    pub rows: usize,
    /// (from, below, rows)
    pub lengths: Vec<(u32, u32, u64)>,
    pub mean: f64,
    pub longest: u32,
    /// Rows that were cut.
    pub cut: u64,
    /// The share of tokens that the tokenizer does not know.
    pub unknown: f64,
}

/// One step of the pipeline.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PageStep {
    pub stage: String,
    pub kind: String,
    pub key: String,
    /// Of the latest run: `fresh`, `built` and so on, and why.
    pub outcome: String,
    pub reason: String,
    /// How long it took when it was built; none when no run recorded it.
    pub seconds: Option<f64>,
    /// The stages that it reads.
    pub reads: Vec<String>,
}

/// An earlier run of the same pipeline with another spec.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Previous {
    /// By what it is addressed: `refit log`, `refit compare`.
    pub run: String,
    pub when: String,
    /// The lines of both texts: `=` both, `-` earlier alone, `+` now alone.
    pub lines: Vec<(char, String)>,
}

/// The page, whole: write it to a file that ends in `.html`.
pub fn report_page(page: &ReportPage) -> String {
    let parts = Parts {
        title: &format!("Report of {}", page.pipeline),
        body: BODY,
        style: STYLE,
        scripts: &SCRIPTS,
        asks: false,
    };
    document(&parts, page).html
}

impl PageRows {
    /// The rows as JSON, compressed with gzip, in base64: a tenth of the text, which a browser's `DecompressionStream`
    /// reads. Equal rows give equal text.
    pub fn packed(&self) -> String {
        // Numbers, texts and lists are always JSON, and memory takes any bytes.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut packed = GzBuilder::new()
            .mtime(0)
            .write(Vec::new(), Compression::new(9));
        let written = packed.write_all(&json).and_then(|()| packed.finish());
        BASE64_STANDARD.encode(written.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn page(text: &str) -> ReportPage {
        let rows = PageRows {
            id: vec![u64::MAX >> 11],
            strings: vec![text.to_owned()],
            text: vec![Some(0)],
            wrong: vec![true],
            right_entities: vec![vec![(0, 2, 1, "missed")]],
            ..PageRows::default()
        };
        ReportPage {
            pipeline: "a & b".to_owned(),
            evaluations: vec![PageEvaluation {
                stage: "scores".to_owned(),
                scores: vec![PageScore {
                    value: f64::NAN,
                    ..PageScore::default()
                }],
                packed: rows.packed(),
                ..PageEvaluation::default()
            }],
            text: text.to_owned(),
            ..ReportPage::default()
        }
    }

    #[test]
    fn the_data_and_the_rows_of_a_page_read_back_and_end_no_script() {
        let text = "</script><script>alert(1)</script><!-- \u{2028} 'quoted' \"too\"";
        let html = report_page(&page(text));
        let (_, rest) = html.split_once("id=\"data\">").unwrap();
        let (data, _) = rest.split_once("</script>").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["text"], text);
        assert_eq!(data["evaluations"][0]["scores"][0]["value"], Value::Null);
        let packed = data["evaluations"][0]["packed"].as_str().unwrap();
        let packed = BASE64_STANDARD.decode(packed).unwrap();
        let mut rows = String::new();
        GzDecoder::new(&packed[..])
            .read_to_string(&mut rows)
            .unwrap();
        let rows: Value = serde_json::from_str(&rows).unwrap();
        assert_eq!(rows["strings"][0], text);
        assert_eq!(
            rows["right_entities"][0][0],
            serde_json::json!([0, 2, 1, "missed"])
        );
        assert_eq!(html.matches("<script").count(), 2);
    }

    #[test]
    fn equal_data_gives_an_equal_page() {
        assert_eq!(report_page(&page("x")), report_page(&page("x")));
    }
}
