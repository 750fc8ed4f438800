//! The other heads of the reference: several labels, a label for each word, and answers.
//!
//! `fixtures/golden-heads/reference.json` holds what transformers computes for a handful of rows with MiniLM under each head:
//! ids, marks, logits, loss and the norm of every parameter's gradient. The head's weights are a formula of their place,
//! which both sides compute ([`number`]). Windows of a question were computed alone and their losses averaged, because
//! transformers counts padding among the tokens that an answer may start at.

use refit::learn::{BinaryCrossEntropy, CrossEntropy, Laid, Layout, Objective, Rows};
use refit::text::NONE;

use super::*;
use crate::project::repository;

#[derive(Deserialize)]
struct Heads {
    model: String,
    multi_label: HeadReference,
    token_classification: HeadReference,
    question_answering: HeadReference,
}

#[derive(Deserialize)]
struct HeadReference {
    outputs: usize,
    rows: Vec<Row>,
    loss: f64,
    gradient_norms: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Row {
    ids: Vec<u32>,
    /// None for rows without a second text.
    #[serde(default)]
    types: Vec<u8>,
    labels: Option<Vec<u32>>,
    #[serde(default)]
    words: Vec<Option<u32>>,
    #[serde(default)]
    tags: Vec<Option<u32>>,
    answer: Option<(u32, u32)>,
    logits: Vec<f64>,
}

/// The rows as the library reads them.
struct Marked {
    rows: Vec<Row>,
    types: Vec<Vec<u8>>,
    words: Vec<Vec<u32>>,
    tags: Vec<Vec<u32>>,
}

impl Marked {
    fn new(rows: Vec<Row>) -> Marked {
        let column = |of: fn(&Row) -> &[Option<u32>]| -> Vec<Vec<u32>> {
            let numbers = |row| of(row).iter().map(|number| number.unwrap_or(NONE));
            rows.iter().map(|row| numbers(row).collect()).collect()
        };
        let types = |row: &Row| {
            let mut types = row.types.clone();
            types.resize(row.ids.len(), 0);
            types
        };
        Marked {
            types: rows.iter().map(types).collect(),
            words: column(|row| &row.words),
            tags: column(|row| &row.tags),
            rows,
        }
    }
}

impl Rows for Marked {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn ids(&self, row: usize) -> &[u32] {
        &self.rows[row].ids
    }

    fn type_ids(&self, row: usize) -> &[u8] {
        &self.types[row]
    }

    fn label(&self, _row: usize) -> Option<u32> {
        None
    }

    fn id(&self, row: usize) -> u64 {
        row as u64
    }

    fn labels(&self, row: usize) -> Option<&[u32]> {
        self.rows[row].labels.as_deref()
    }

    fn words(&self, row: usize) -> Option<&[u32]> {
        Some(&self.words[row])
    }

    fn tags(&self, row: usize) -> Option<&[u32]> {
        Some(&self.tags[row])
    }

    fn answer(&self, row: usize) -> Option<(u32, u32)> {
        self.rows[row].answer
    }
}

/// The weight or bias at a place of the head, row by row.
fn number(place: usize) -> f32 {
    let residue = (place * 7919 + 13) % 2003;
    ((residue as f64 - 1001.0) / 1001.0 * 0.05) as f32
}

/// The reference, and the encoder's files; `None` when they are not on this machine.
fn find() -> Option<(Heads, EncoderFiles)> {
    let Some(assets) = env::var_os("REFIT_TEST_ASSETS").map(PathBuf::from) else {
        return skipped("the heads' reference needs REFIT_TEST_ASSETS, the folder of models");
    };
    let path = repository().join("tests/fixtures/golden-heads/reference.json");
    let heads: Heads = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let files = EncoderFiles::in_folder(&assets.join("models").join(&heads.model));
    Some((heads, files))
}

fn matches(
    name: &str,
    of: fn(Heads) -> HeadReference,
    head: fn(usize) -> HeadKind,
    objective: &Objective,
) {
    let (Some((heads, files)), Some(device)) = (find(), on(name)) else {
        return;
    };
    let HeadReference {
        outputs,
        rows,
        loss: wanted_loss,
        gradient_norms,
    } = of(heads);
    let rows = Marked::new(rows);
    let (classifier, _, _) = Classifier::pretrained(&files, &head(outputs), 0, &device).unwrap();
    let start = model::named_parameters(&classifier)
        .into_iter()
        .filter(|parameter| !parameter.name.starts_with("bert."))
        .map(|parameter| {
            let places = 0..parameter.shape.iter().product();
            (parameter.name, places.map(number).collect())
        })
        .collect();
    let classifier = model::set_tensors(classifier, start).unwrap().train();
    objective.check(&rows, "train", outputs).unwrap();

    let chosen: Vec<usize> = (0..rows.rows()).collect();
    for layout in [Layout::Packed, Layout::Padded { to: None }] {
        let batch = Laid::out(&rows, &chosen, layout, 0, 512).on(&device);
        let answers = classifier.forward(&batch, &Mode::EVALUATE);
        let found = numbers(answers.clone());
        let found = match objective {
            Objective::Labels(_) => found,
            _ => real(&found, &batch.spans),
        };
        let wanted = rows.rows.iter().flat_map(|row| row.logits.iter().copied());
        near("logits", worst(&found, wanted), HIDDEN);
        let loss = objective.loss(&classifier, answers, &rows, &chosen, &batch.spans);
        let found = Gradients::of(&loss, &classifier).norms().unwrap();
        near("loss", worst(&numbers(loss), [wanted_loss]), HIDDEN);
        same_norms(&found, &gradient_norms);
    }
}

fn several_labels(name: &str) {
    let head = |outputs| HeadKind::Texts {
        outputs,
        pooling: Pooling::Pooler,
        dropout: Some(0.0),
        stack: Stack::default(),
    };
    let objective = Objective::Labels(BinaryCrossEntropy::default());
    matches(name, |heads| heads.multi_label, head, &objective);
}

fn a_label_for_each_word(name: &str) {
    let head = |outputs| HeadKind::Tokens {
        outputs,
        crf: false,
        dropout: Some(0.0),
        stack: Stack::default(),
    };
    matches(
        name,
        |heads| heads.token_classification,
        head,
        &Objective::Tags(CrossEntropy::default()),
    );
}

fn answers(name: &str) {
    let head = |_| HeadKind::Spans;
    matches(
        name,
        |heads| heads.question_answering,
        head,
        &Objective::Answer,
    );
}

#[test]
fn flex_gives_the_numbers_of_the_reference_for_several_labels() {
    several_labels("flex");
}

#[test]
fn flex_gives_the_numbers_of_the_reference_for_words() {
    a_label_for_each_word("flex");
}

#[test]
fn flex_gives_the_numbers_of_the_reference_for_answers() {
    answers("flex");
}

#[test]
fn ndarray_gives_the_numbers_of_the_reference_for_several_labels() {
    several_labels("ndarray");
}

#[test]
fn ndarray_gives_the_numbers_of_the_reference_for_words() {
    a_label_for_each_word("ndarray");
}

#[test]
fn ndarray_gives_the_numbers_of_the_reference_for_answers() {
    answers("ndarray");
}
