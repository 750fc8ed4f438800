//! `tokenize`: texts become token ids, by an existing tokenizer or by one learnt from the training split.
//!
//! Every split is encoded with the same tokenizer and cut to `max_length`; rows are stored without padding, which is the
//! business of whoever makes batches. A learnt vocabulary has seen the training split only.
//!
//! Deliberately absent: random numbers (nothing here draws any), and downloads: this version reads folders.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use miette::Diagnostic;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::Kind;
use crate::stage::{Context, Edge, Fault, Files, Stage, StageError, is_hub_id};
use crate::table::{self, Table};
use crate::text::tokens::{self, SplitCard, TokensCard};
use crate::text::{self, Encoded, TextError, Tokenizer};

const TRAINING: &str = "train";
const VALIDATION: &str = "validation";

/// A share of truncated training rows that deserves a warning.
const MANY_TRUNCATED: f64 = 0.1;

/// Turns text into token ids. Needs one of `tokenizer` and `train_tokenizer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tokenize {
    /// The `load` or `augment` stage whose rows are tokenized.
    pub input: String,
    /// A folder with a tokenizer in the Hugging Face layout: `tokenizer.json`, or `vocab.txt` with
    /// `tokenizer_config.json`. Usually the folder of the encoder that is to be fine-tuned, since an encoder only
    /// understands the ids of its own tokenizer. A hub id (`owner/name`) may stand here where a folder of that name
    /// lies beside the spec.
    #[serde(default)]
    pub tokenizer: Option<String>,
    /// Learns a vocabulary from the training split instead: for encoders that are trained from scratch.
    #[serde(default)]
    pub train_tokenizer: Option<TrainTokenizer>,
    /// The most tokens that a row may have, special tokens included. Longer rows lose their end; of a text pair, the
    /// longer text is shortened first. Time and memory of training grow faster than this number; the run reports how
    /// long the rows are and how many were cut. Most BERT encoders have 512 positions at most.
    #[serde(default = "default_max_length")]
    #[schemars(range(min = 5, max = 8192))]
    pub max_length: usize,
}

/// How to learn a vocabulary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainTokenizer {
    /// The kind of vocabulary.
    #[serde(default)]
    pub model: VocabularyModel,
    /// The most tokens that the vocabulary may have, special tokens included. Small data needs no more than a few
    /// thousand.
    #[serde(default = "default_vocab_size")]
    #[schemars(range(min = 16, max = 1_000_000))]
    pub vocab_size: usize,
    /// Characters and pieces of words that the training texts have less often than this are left out.
    #[serde(default = "default_min_frequency")]
    #[schemars(range(min = 1))]
    pub min_frequency: u64,
    /// Whether to lowercase text and strip accents before anything else.
    #[serde(default = "default_lowercase")]
    pub lowercase: bool,
}

/// Kinds of vocabulary that can be learnt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VocabularyModel {
    /// BERT's: words are cut into the longest known pieces, inner pieces marked with `##`.
    #[default]
    Wordpiece,
}

fn default_max_length() -> usize {
    128
}

fn default_vocab_size() -> usize {
    8000
}

fn default_min_frequency() -> u64 {
    2
}

fn default_lowercase() -> bool {
    true
}

impl Stage for Tokenize {
    fn kind(&self) -> &'static str {
        "tokenize"
    }

    fn version(&self) -> u32 {
        1
    }

    fn produces(&self) -> Kind {
        Kind::Tokens
    }

    fn edges(&self) -> Vec<Edge> {
        vec![Edge {
            field: "input",
            stage: self.input.clone(),
            accepts: Kind::Table,
        }]
    }

    fn settings(&self) -> Value {
        serde_json::to_value(self).expect("plain settings are JSON")
    }

    fn not_in_key(&self) -> &'static [&'static str] {
        &["input", "tokenizer"]
    }

    fn check(&self) -> Vec<Fault> {
        match (&self.tokenizer, &self.train_tokenizer) {
            (Some(_), None) | (None, Some(_)) => Vec::new(),
            (Some(_), Some(_)) => vec![Fault::new(
                "train_tokenizer",
                "`tokenizer` and `train_tokenizer` exclude each other",
                "remove `train_tokenizer` to use the existing tokenizer, or `tokenizer` to learn a new one",
            )],
            (None, None) => vec![Fault::new(
                "",
                "neither `tokenizer` nor `train_tokenizer` is given",
                "name the encoder's folder, `tokenizer = \"models/bert-base-uncased\"`, or learn a vocabulary, \
                 `train_tokenizer = { vocab_size = 8000 }`",
            )],
        }
    }

    fn files(&self, base: &Path) -> Result<Files, Vec<Fault>> {
        match &self.tokenizer {
            Some(tokenizer) => find_tokenizer(tokenizer, base).map_err(|fault| vec![fault]),
            None => Ok(Files::new()),
        }
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let open_table = || Table::open(context.input("input"));
        let (table, tokenizer) = match &self.train_tokenizer {
            Some(settings) => {
                let table = open_table()?;
                let tokenizer = learn(settings, &table, context)?;
                (table, tokenizer)
            }
            None => {
                let files = context.files.iter().filter_map(|(role, path)| {
                    Some((role.strip_prefix("tokenizer/")?.to_owned(), path.clone()))
                });
                let files = files.collect();
                let (table, tokenizer) = rayon::join(open_table, || Tokenizer::from_files(&files));
                (table?, tokenizer?)
            }
        };
        for note in tokenizer.notes() {
            context.progress.warn(note);
        }
        if let Some(limit) = tokenizer
            .model_max_length()
            .filter(|limit| self.max_length > *limit)
        {
            context.progress.warn(&format!(
                "max_length = {} is more than the {limit} tokens that this tokenizer's model was made for",
                self.max_length
            ));
        }

        let encode = || self.encode(&table, &tokenizer, context);
        let new_card = || TokensCard::new(&tokenizer, self.max_length, table.label_names.clone());
        let (splits, card) = rayon::join(encode, new_card);
        let card = TokensCard {
            splits: splits?,
            ..card
        };
        tokens::write_card(context.draft, &card, &tokenizer)?;
        Ok(())
    }
}

impl Tokenize {
    fn encode(
        &self,
        table: &Table,
        tokenizer: &Tokenizer,
        context: &Context,
    ) -> Result<BTreeMap<String, SplitCard>, StageError> {
        let mut splits = BTreeMap::new();
        for (name, rows) in in_reading_order(table) {
            let texts = table::borrowed(rows)?;
            context.progress.start(
                &format!("tokenizing {name}"),
                texts.text.len() as u64,
                "rows",
            );
            let encoded = tokenizer
                .encode_columns(
                    &texts.text,
                    texts.text_pair.as_deref(),
                    self.max_length,
                    &mut advance(context),
                )
                .map_err(stopped)?;
            let label = texts.label.as_deref();
            let split = tokens::write_split(context.draft, name, &encoded, &texts.id, label)?;
            self.tell(name, &split, &encoded, context);
            splits.insert(name.to_owned(), split);
        }
        Ok(splits)
    }

    fn tell(&self, name: &str, split: &SplitCard, encoded: &Encoded, context: &Context) {
        let lengths = &split.lengths;
        context.progress.say(&format!(
            "{name}: {} rows, {} tokens, {} of the rows cut to {}; lengths before: half up to {}, 90 % {}, 95 % {}, \
             99 % {}, longest {}",
            split.rows,
            split.tokens,
            percent(split.truncated, split.rows),
            self.max_length,
            lengths.p50,
            lengths.p90,
            lengths.p95,
            lengths.p99,
            lengths.max
        ));
        if name == VALIDATION && encoded.unknown() > 0 {
            context.progress.say(&format!(
                "{name}: {} of the tokens are unknown",
                percent(encoded.unknown(), split.tokens)
            ));
        }
        if name == TRAINING && split.truncated as f64 > MANY_TRUNCATED * split.rows as f64 {
            context.progress.warn(&format!(
                "{} of the training rows were cut to max_length = {}; 95 % of them have up to {} tokens",
                percent(split.truncated, split.rows),
                self.max_length,
                lengths.p95
            ));
        }
    }
}

fn learn(
    settings: &TrainTokenizer,
    table: &Table,
    context: &Context,
) -> Result<Tokenizer, StageError> {
    let VocabularyModel::Wordpiece = settings.model;
    let rows = table
        .splits
        .get(TRAINING)
        .ok_or(TextError::NothingToLearnFrom)?;
    let texts = table::borrowed(rows)?;
    let pairs = texts.text_pair.as_deref().unwrap_or_default();
    let all = [texts.text.as_slice(), pairs].concat();
    context
        .progress
        .start("counting words", all.len() as u64, "texts");
    let counts =
        text::count_words(&all, settings.lowercase, &mut advance(context)).map_err(stopped)?;
    context.progress.start(
        "learning a vocabulary",
        settings.vocab_size as u64,
        "tokens",
    );
    let vocabulary = text::learn_wordpiece(
        &counts,
        settings.vocab_size,
        settings.min_frequency,
        &mut advance(context),
    )
    .map_err(stopped)?;
    context.progress.say(&format!(
        "learnt a vocabulary of {} tokens from {} training texts",
        vocabulary.len(),
        all.len()
    ));
    Ok(Tokenizer::from_vocabulary(&vocabulary, settings.lowercase)?)
}

fn advance<'a>(context: &'a Context<'a>) -> impl FnMut(usize) -> ControlFlow<()> + 'a {
    |units| {
        context.progress.advance(units as u64);
        if context.checkpoint().is_err() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

fn stopped(error: TextError) -> StageError {
    match error {
        TextError::Interrupted => StageError::Interrupted,
        other => other.into(),
    }
}

/// Training, validation, test, then the further test sets.
fn in_reading_order(table: &Table) -> impl Iterator<Item = (&str, &polars::prelude::DataFrame)> {
    let mut names: Vec<&String> = table.splits.keys().collect();
    let place = |name: &str| {
        [TRAINING, VALIDATION, "test"]
            .iter()
            .position(|usual| *usual == name)
            .unwrap_or(3)
    };
    names.sort_by_key(|name| (place(name), *name));
    names
        .into_iter()
        .filter_map(|name| Some((name.as_str(), table.splits.get(name)?)))
}

fn percent(part: usize, whole: usize) -> String {
    format!(
        "{:.1} %",
        if whole == 0 {
            0.0
        } else {
            100.0 * part as f64 / whole as f64
        }
    )
}

fn find_tokenizer(tokenizer: &str, base: &Path) -> Result<Files, Fault> {
    let given = base.join(tokenizer);
    let folder = std::path::absolute(&given).unwrap_or(given);
    if folder.is_dir() {
        let files = text::tokenizer_files(&folder).map_err(|error| {
            let help = error
                .help()
                .map(|help| help.to_string())
                .unwrap_or_default();
            Fault::new("tokenizer", error.to_string(), help)
        })?;
        return Ok(files
            .into_iter()
            .map(|(name, path)| (format!("tokenizer/{name}"), path))
            .collect());
    }
    let looked = folder.display();
    Err(if folder.exists() {
        Fault::new(
            "tokenizer",
            format!("{looked} is a file"),
            "name the folder that holds the tokenizer's files",
        )
    } else if is_hub_id(tokenizer) {
        Fault::new(
            "tokenizer",
            format!(
                "{tokenizer:?} is not a folder ({looked} does not exist), and this version does not fetch from the hub"
            ),
            "download the tokenizer and name its folder, relative to the spec",
        )
    } else {
        Fault::new(
            "tokenizer",
            format!("there is no folder {looked}"),
            "name a folder that holds tokenizer.json or vocab.txt, relative to the spec",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::artifact::{Digest, Manifest};
    use crate::stage::{Input, Progress};
    use crate::table::Texts;
    use crate::text::Tokens;

    /// Keeps what is said to it.
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Progress for Heard {
        fn start(&self, _: &str, _: u64, _: &str) {}
        fn advance(&self, _: u64) {}
        fn state(&self, _: &str) {}
        fn say(&self, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
        fn warn(&self, line: &str) {
            self.0.lock().unwrap().push(format!("warning: {line}"));
        }
    }

    fn texts(text: &[&str], text_pair: Option<&[&str]>) -> polars::prelude::DataFrame {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let rows = text.len();
        let texts = Texts {
            id: (0..rows as u64).collect(),
            copy: vec![0; rows],
            text: owned(text),
            text_pair: text_pair.map(owned),
            label: Some((0..rows as u32).map(|row| row % 2).collect()),
            ..Texts::default()
        };
        texts.to_frame().unwrap()
    }

    fn table(train: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let splits = [
            (
                "train",
                texts(train, Some(&vec!["hook and line"; train.len()])),
            ),
            ("validation", texts(&["fish w"], Some(&["q"]))),
            ("more.other", texts(&["a fish"], Some(&["line"]))),
        ];
        let splits = splits
            .into_iter()
            .map(|(name, rows)| (name.to_owned(), rows))
            .collect();
        let label_names = Some(vec!["no".to_owned(), "yes".to_owned()]);
        Table {
            label_names,
            splits,
            ..Table::default()
        }
        .save(folder.path())
        .unwrap();
        folder
    }

    fn run(
        settings: Value,
        table: &Path,
        interrupted: bool,
    ) -> (tempfile::TempDir, Result<(), StageError>, Vec<String>) {
        let stage = tokenize(settings);
        let draft = tempfile::tempdir().unwrap();
        let heard = Heard::default();
        let context = Context {
            stage: "tokens",
            seed: 0,
            inputs: BTreeMap::from([(
                "input",
                Input {
                    path: table.to_owned(),
                    digest: Digest::of(b"table"),
                },
            )]),
            files: stage.files(table).unwrap(),
            draft: draft.path(),
            device: "auto",
            progress: &heard,
            interrupted: &AtomicBool::new(interrupted),
        };
        let done = stage.run(&context);
        (draft, done, heard.0.into_inner().unwrap())
    }

    fn trained() -> Value {
        serde_json::json!({"input": "t", "train_tokenizer": {"vocab_size": 60, "min_frequency": 1}, "max_length": 9})
    }

    const FISH: [&str; 3] = ["one fish two fish", "red fish blue fish", "a fish"];

    #[test]
    fn every_split_is_tokenized_and_reported() {
        let table = table(&FISH);
        let (draft, done, heard) = run(trained(), table.path(), false);
        done.unwrap();
        let tokens = Tokens::open(draft.path()).unwrap();
        assert_eq!(
            tokens.split_names().collect::<Vec<_>>(),
            ["more.other", "train", "validation"]
        );
        assert_eq!(tokens.split("train").unwrap().label(1), Some(1));
        assert_eq!(tokens.max_length(), 9);
        assert!(heard[1].starts_with("train: 3 rows"), "{heard:?}");
        assert!(
            heard.iter().any(|line| line.starts_with("warning: ") && line.contains("cut to max_length = 9")),
            "{heard:?}"
        );
    }

    #[test]
    fn a_learnt_vocabulary_knows_the_pairs_of_the_training_split_and_nothing_of_other_splits() {
        let table = table(&FISH);
        let (draft, done, heard) = run(trained(), table.path(), false);
        done.unwrap();
        let vocabulary = std::fs::read_to_string(draft.path().join("tokenizer/vocab.txt")).unwrap();
        let knows = |token: &str| vocabulary.lines().any(|line| line == token);
        assert!(knows("hook") && knows("fish") && !knows("q"));
        assert!(
            heard.contains(&"validation: 16.7 % of the tokens are unknown".to_owned()),
            "{heard:?}"
        );
    }

    #[test]
    fn equal_input_gives_an_equal_artifact() {
        let table = table(&FISH);
        let digest = || {
            let (draft, done, _) = run(trained(), table.path(), false);
            done.unwrap();
            Manifest::of_folder(Kind::Tokens, draft.path(), &[])
                .unwrap()
                .digest()
        };
        assert_eq!(digest(), digest());
    }

    #[test]
    fn a_saved_tokenizer_can_be_the_next_ones_tokenizer() {
        let table = table(&FISH);
        let (first, done, _) = run(trained(), table.path(), false);
        done.unwrap();
        let settings = serde_json::json!({"input": "t", "tokenizer": first.path().join("tokenizer"), "max_length": 64});
        let (second, done, heard) = run(settings, table.path(), false);
        done.unwrap();
        let digest = |folder: &Path| Tokens::open(folder).unwrap().tokenizer_digest().to_owned();
        assert_eq!(digest(first.path()), digest(second.path()));
        assert!(
            heard[0].contains("max_length = 64 is more than the 9 tokens"),
            "{heard:?}"
        );
    }

    #[test]
    fn an_empty_training_split_teaches_no_vocabulary() {
        let table = table(&[]);
        let (_, done, _) = run(trained(), table.path(), false);
        assert!(matches!(
            done,
            Err(StageError::Text(TextError::NothingToLearnFrom))
        ));
    }

    #[test]
    fn an_interrupted_run_says_so() {
        let table = table(&FISH);
        let (_, done, _) = run(trained(), table.path(), true);
        assert!(matches!(done, Err(StageError::Interrupted)));
    }

    fn tokenize(settings: Value) -> Tokenize {
        serde_json::from_value(settings).unwrap()
    }

    #[test]
    fn exactly_one_of_tokenizer_and_train_tokenizer_is_needed() {
        let faults = |settings| tokenize(settings).check().len();
        assert_eq!(faults(serde_json::json!({"input": "t"})), 1);
        assert_eq!(
            faults(serde_json::json!({"input": "t", "tokenizer": "x", "train_tokenizer": {}})),
            1
        );
        assert_eq!(
            faults(serde_json::json!({"input": "t", "tokenizer": "x"})),
            0
        );
        assert_eq!(
            faults(serde_json::json!({"input": "t", "train_tokenizer": {}})),
            0
        );
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        assert!(
            serde_json::from_value::<Tokenize>(serde_json::json!({"input": "t", "max_len": 3}))
                .is_err()
        );
    }

    #[test]
    fn only_files_that_matter_are_in_the_key() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("owner/name");
        std::fs::create_dir_all(&folder).unwrap();
        for name in [
            "tokenizer.json",
            "vocab.txt",
            "config.json",
            "tokenizer_config.json",
        ] {
            std::fs::write(folder.join(name), "{}").unwrap();
        }
        let stage = tokenize(serde_json::json!({"input": "t", "tokenizer": "owner/name"}));
        let roles = |stage: &Tokenize| {
            stage
                .files(base.path())
                .unwrap()
                .into_keys()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            roles(&stage),
            [
                "tokenizer/tokenizer.json",
                "tokenizer/tokenizer_config.json"
            ]
        );
        std::fs::remove_file(folder.join("tokenizer.json")).unwrap();
        assert_eq!(
            roles(&stage),
            ["tokenizer/tokenizer_config.json", "tokenizer/vocab.txt"]
        );
    }

    #[test]
    fn a_tokenizer_that_is_not_there_is_a_fault_that_says_where_it_was_looked_for() {
        let base = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("empty")).unwrap();
        std::fs::write(base.path().join("tokenizer.json"), "{}").unwrap();
        for (tokenizer, says) in [
            ("owner/name", "does not fetch from the hub"),
            ("bert-base-uncased@main", "does not fetch from the hub"),
            ("./models/bert", "there is no folder"),
            ("tokenizer.json", "is a file"),
            (
                "empty",
                "neither tokenizer.json nor vocab.txt; the folder is empty",
            ),
        ] {
            let stage = tokenize(serde_json::json!({"input": "t", "tokenizer": tokenizer}));
            let faults = stage.files(base.path()).unwrap_err();
            let [fault] = &faults[..] else {
                panic!("{faults:?}")
            };
            assert_eq!(fault.field, "tokenizer");
            assert!(
                fault.message.contains(says),
                "{} does not say {says}",
                fault.message
            );
            assert!(
                fault.message.contains(&base.path().display().to_string()),
                "{}",
                fault.message
            );
        }
    }
}
