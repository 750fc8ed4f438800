//! Explanations of single answers: attention and attributions, as `explanations.json` of an evaluation holds them.
//!
//! What is explained is one number that the model computes: the logit of a label or tag, a target, or the two logits of a
//! stretch of text. Attention says from where each head of each layer takes what it passes on; attributions say how much each
//! token moves the number, and of the two they alone speak of the answer.
//!
//! Promise: what is read has one entry per token wherever it should, and as much attention as it says.
//!
//! Deliberately absent: how any of it is computed (`learn::attribution`), which answers are explained (the stage), and how it
//! is drawn (`report`).

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Task, TaskError};

/// Name of the file in the artifact of an evaluation.
pub const EXPLANATIONS: &str = "explanations.json";

/// Raised when an older reader would misread the file.
pub const FORMAT: u32 = 1;

/// Where attention has more numbers than this, only that between the first tokens is kept: a row then takes 1.5 MB at most.
/// Of more than eight rows each has a share of what eight may have, so that all of them take 12 MB at most.
pub const MOST_ATTENTION: usize = 1_100_000;

/// The most numbers that the attention of one layer may have while it is computed, of all tokens: 256 MB.
const MOST_COMPUTED: usize = 64 << 20;

/// `explanations.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanations {
    /// [`FORMAT`].
    pub format: u32,
    /// Which number is explained, in one sentence.
    pub attributed_to: String,
    /// Ascending by row.
    pub examples: Vec<Explanation>,
}

/// Why a row is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// The spec names its id.
    Named,
    /// It is answered wrong: one of those that the model was surest of. Of numbers: one of those furthest off, and further off
    /// than the median.
    Wrong,
    /// It is answered right. Of numbers: it is no further off than the median.
    Right,
}

/// What led to one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The place of the example in its split, from 0 on.
    pub row: usize,
    pub id: u64,
    pub chosen: Chosen,
    /// As the tokenizer writes them; bytes as the characters that they make. `[tokens]`, as all lists here.
    pub tokens: Vec<String>,
    /// Where each token stands in the text that it is of, in Unicode characters, the end exclusive; none for a token that
    /// stands for no text, and where that is not known.
    pub places: Vec<Option<[u32; 2]>>,
    /// 0 in the text, 1 in the second text of a pair.
    pub segment: Vec<u8>,
    /// The label, tag or target, or the text of the answer.
    pub output: String,
    /// The tokens whose output that is; none where it is that of the whole text.
    #[serde(default)]
    pub about: Vec<usize>,
    /// What is explained, for this text.
    pub value: f64,
    /// The same, were the words of the text nothing.
    pub baseline: f64,
    /// By how much the sum of `integrated_gradients` misses the difference of the two.
    pub delta: f64,
    /// Of each token the derivative by what the first layer is given for it, times that.
    pub gradient_x_input: Vec<f64>,
    /// Of each token what its word adds on the way from `baseline` to `value`; 0 where it stands for no text.
    pub integrated_gradients: Vec<f64>,
    /// Of the encoder.
    pub layers: usize,
    /// Of each layer.
    pub heads: usize,
    /// Between how many of the first tokens `attention` is kept.
    pub attended: usize,
    /// Bytes in base64: `[layers, heads, attended, attended]`, what each token (third) takes from each other (fourth); 255 is
    /// all of it.
    pub attention: Option<String>,
    pub why_no_attention: Option<String>,
}

impl Explanations {
    /// Reads the file in the artifact of an evaluation; none where that was not asked to explain anything.
    ///
    /// # Errors
    /// The file cannot be read, is no such file, or contradicts itself.
    pub fn read(artifact: &Path) -> Result<Option<Explanations>, TaskError> {
        let path = artifact.join(EXPLANATIONS);
        let broken = |reason: String| TaskError::Explanations {
            path: path.clone(),
            reason,
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(broken(error.to_string())),
        };
        let read: Explanations =
            serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        if read.format != FORMAT {
            return Err(broken(format!(
                "its format is {}, not {FORMAT}",
                read.format
            )));
        }
        let fault = read.examples.iter().find_map(Explanation::fault);
        match fault {
            Some(fault) => Err(broken(fault)),
            None => Ok(Some(read)),
        }
    }
}

impl Explanation {
    /// The attention, `[layers, heads, attended, attended]`, 255 for all of it; none where there is none.
    pub fn attention(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.attention.as_ref()?).ok()
    }

    fn fault(&self) -> Option<String> {
        let tokens = self.tokens.len();
        let lists = [
            ("places", self.places.len()),
            ("segment", self.segment.len()),
            ("gradient_x_input", self.gradient_x_input.len()),
            ("integrated_gradients", self.integrated_gradients.len()),
        ];
        let row = self.row;
        if let Some((name, found)) = lists.into_iter().find(|&(_, found)| found != tokens) {
            return Some(format!("row {row} has {tokens} tokens and {found} {name}"));
        }
        if let Some(token) = self.about.iter().find(|&&token| token >= tokens) {
            return Some(format!(
                "row {row} has {tokens} tokens and is about the one numbered {token}"
            ));
        }
        let square = self.attended.checked_mul(self.attended);
        let wanted = square
            .and_then(|square| square.checked_mul(self.heads))
            .and_then(|of_layer| of_layer.checked_mul(self.layers));
        let misfit = self.attention.is_some()
            && (self.attended > tokens || self.attention().map(|bytes| bytes.len()) != wanted);
        misfit.then(|| format!("the attention of row {row} is not between its tokens"))
    }
}

/// Which number of its answers a model is explained by, in one sentence.
pub fn attributed_to(task: Task) -> &'static str {
    match task {
        Task::Classification => "the logit of the label that was given",
        Task::MultiLabel => "the logit of the likeliest label, whether it was given or not",
        Task::Regression => "the number that was given for the first target",
        Task::TokenClassification => {
            "the logit of the tag that was given to the least sure word of an entity, or, where no entity was found, to the least sure word"
        }
        Task::QuestionAnswering => {
            "the sum of the start and end logits of the best stretch of the context, whether it was given as the answer or not"
        }
    }
}

/// Between how many of the first tokens of `tokens` attention is kept, so that it is no more than [`MOST_ATTENTION`].
///
/// `heads` are those of all layers together; the file has so many `rows`.
pub fn attended(tokens: usize, heads: usize, rows: usize) -> usize {
    let of_row = MOST_ATTENTION.min(8 * MOST_ATTENTION / rows.max(1));
    tokens.min((of_row / heads.max(1)).isqrt())
}

/// Why the attention of a row of so many tokens is not computed, given the heads of one layer; none where it can be.
pub fn why_no_attention(tokens: usize, heads: usize) -> Option<String> {
    if tokens == 0 {
        return Some("the row has no tokens".to_owned());
    }
    let whole = tokens.saturating_mul(tokens).saturating_mul(heads);
    (whole > MOST_COMPUTED).then(|| {
        format!("the row has {tokens} tokens, and the attention between them takes too much memory")
    })
}

/// Attention weights as they are stored: bytes of which 255 is 1, in base64.
pub fn packed(weights: impl IntoIterator<Item = f32>) -> String {
    let byte = |weight: f32| (weight.clamp(0.0, 1.0) * 255.0).round() as u8;
    STANDARD.encode(weights.into_iter().map(byte).collect::<Vec<u8>>())
}

/// With five significant digits: more would be noise, and take room.
pub fn rounded(number: f64) -> f64 {
    format!("{number:.4e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn explained() -> Explanations {
        let explanation = Explanation {
            row: 3,
            id: 7,
            chosen: Chosen::Wrong,
            tokens: ["[CLS]", "good", "[SEP]"].map(str::to_owned).to_vec(),
            places: vec![None, Some([0, 4]), None],
            segment: vec![0; 3],
            output: "yes".to_owned(),
            about: Vec::new(),
            value: 1.5,
            baseline: -0.25,
            delta: 0.001,
            gradient_x_input: vec![0.0, 1.25, 0.5],
            integrated_gradients: vec![0.0, 1.751, 0.0],
            layers: 1,
            heads: 2,
            attended: 2,
            attention: Some(packed([0.25, 0.75, 1.0, 0.0, 0.5, 0.5, 0.1, 0.9])),
            why_no_attention: None,
        };
        Explanations {
            format: FORMAT,
            attributed_to: "the logit of the label that is given".to_owned(),
            examples: vec![explanation],
        }
    }

    fn written(explanations: &Explanations) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let json = serde_json::to_vec(explanations).unwrap();
        std::fs::write(folder.path().join(EXPLANATIONS), json).unwrap();
        folder
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = written(&explained());
        let read = Explanations::read(folder.path()).unwrap().unwrap();
        assert_eq!(read, explained());
        assert_eq!(
            read.examples[0].attention().unwrap(),
            [64, 191, 255, 0, 128, 128, 26, 230]
        );
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(Explanations::read(nothing.path()).unwrap(), None);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        type Fault = (&'static str, fn(&mut Explanations));
        let faults: [Fault; 6] = [
            ("its format is 2", |all| all.format = 2),
            ("3 tokens and 2 places", |all| {
                all.examples[0].places.pop();
            }),
            ("3 tokens and 4 integrated_gradients", |all| {
                all.examples[0].integrated_gradients.push(0.0);
            }),
            ("about the one numbered 3", |all| {
                all.examples[0].about = vec![2, 3];
            }),
            ("not between its tokens", |all| all.examples[0].attended = 3),
            ("not between its tokens", |all| {
                all.examples[0].attention = Some("never base64".to_owned());
            }),
        ];
        for (wanted, breaks) in faults {
            let mut explanations = explained();
            breaks(&mut explanations);
            let folder = written(&explanations);
            let told = Explanations::read(folder.path()).unwrap_err().to_string();
            assert!(told.contains(wanted), "{told}");
        }
    }

    #[test]
    fn attention_of_long_texts_is_cut_to_what_fits() {
        assert_eq!(attended(100, 72, 8), 100);
        let kept = attended(512, 144, 1);
        assert!(kept * kept * 144 <= MOST_ATTENTION && (kept + 1).pow(2) * 144 > MOST_ATTENTION);
    }

    #[test]
    fn many_rows_share_what_eight_may_have() {
        let numbers = |rows: usize| rows * attended(512, 144, rows).pow(2) * 144;
        assert_eq!(attended(512, 144, 8), attended(512, 144, 1));
        for rows in [8, 9, 100, 400] {
            assert!(numbers(rows) <= 8 * MOST_ATTENTION, "{rows}");
        }
        assert!(attended(512, 144, 400) > 0);
    }

    #[test]
    fn attention_that_memory_does_not_hold_is_not_computed_and_the_reason_has_the_length() {
        assert_eq!(why_no_attention(2048, 16), None);
        let why = why_no_attention(8192, 12).unwrap();
        assert!(why.contains("8192 tokens"), "{why}");
        assert!(why_no_attention(0, 12).unwrap().contains("no tokens"));
    }

    proptest! {
        #[test]
        fn rounding_moves_a_number_by_less_than_five_digits_show(number in -1e6_f64..1e6) {
            let found = rounded(number);
            prop_assert!((found - number).abs() <= 5e-5 * number.abs());
            prop_assert!(found.to_string().trim_start_matches(['-', '0', '.']).len() <= 12);
        }
    }
}
