//! Claims about the tokenize stage: what it makes of a table, what it says about it, and what it refuses.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::artifact::{Digest, Manifest};
use crate::hub::Fetched;
use crate::stage::{Checkpoints, Input, Progress};
use crate::table::Table;
use crate::text::{NONE, Tokens};

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
        files: stage.files(table, &Fetched::default()).unwrap(),
        fetched: &Fetched::default(),
        draft: draft.path(),
        kept: std::path::PathBuf::new(),
        checkpoints: &Checkpoints::default(),
        folder: Path::new("."),
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
        heard
            .iter()
            .any(|line| line.starts_with("warning: ") && line.contains("cut to max_length = 9")),
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
            .files(base.path(), &Fetched::default())
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
        ("owner/name", "there is no folder"),
        ("bert-base-uncased@main", "there is no folder"),
        ("./models/bert", "there is no folder"),
        ("tokenizer.json", "is a file"),
        ("empty", "the folder is empty"),
    ] {
        let stage = tokenize(serde_json::json!({"input": "t", "tokenizer": tokenizer}));
        let faults = stage.files(base.path(), &Fetched::default()).unwrap_err();
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

fn saved(splits: &[(&str, Texts)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let frame = |(name, texts): &(&str, Texts)| ((*name).to_owned(), texts.to_frame().unwrap());
    let table = Table {
        label_names: Some(["O", "B-FISH", "I-FISH"].map(str::to_owned).to_vec()),
        splits: splits.iter().map(frame).collect(),
        ..Table::default()
    };
    table.save(folder.path()).unwrap();
    folder
}

/// Sentences with a tag for each word, which is its place modulo 3.
fn tagged(sentences: &[&str]) -> Texts {
    let words = sentences.iter().map(|text| text.split_whitespace());
    let words: Vec<Vec<String>> = words
        .map(|words| words.map(str::to_owned).collect())
        .collect();
    let tags = words
        .iter()
        .map(|words| (0..words.len() as u32).map(|place| place % 3).collect());
    Texts {
        id: (0..words.len() as u64).collect(),
        copy: vec![0; words.len()],
        text: words.iter().map(|words| words.join(" ")).collect(),
        tags: Some(tags.collect()),
        words: Some(words),
        ..Texts::default()
    }
}

#[test]
fn words_are_cut_into_windows_and_the_table_goes_along() {
    let long = "one fish two fish red fish blue fish old fish new fish";
    let table = saved(&[
        ("train", tagged(&[long, "a hook"])),
        ("validation", tagged(&["red line", ""])),
    ]);
    let (draft, done, heard) = run(trained(), table.path(), false);
    done.unwrap();
    let tokens = Tokens::open(draft.path()).unwrap();
    assert_eq!(tokens.stride(), Some(3));
    let train = tokens.split("train").unwrap();
    assert!(train.rows() > 2 && train.examples() == 2, "{train:?}");
    let mut seen = Vec::new();
    for row in 0..train.rows() {
        let (words, tags) = (train.words(row).unwrap(), train.tags(row).unwrap());
        for (word, tag) in words.iter().zip(tags).filter(|(word, _)| **word != NONE) {
            assert_eq!(*tag, word % 3);
            seen.push((train.example(row), *word));
        }
    }
    let wanted = (0..12)
        .map(|word| (0, word))
        .chain((0..2).map(|word| (1, word)));
    assert_eq!(seen, wanted.collect::<Vec<_>>());
    let examples = Table::open(tokens.examples_folder()).unwrap();
    assert_eq!(examples, Table::open(table.path()).unwrap());
    let says = format!(
        "train: 2 rows became {} windows of up to 9 tokens",
        train.rows()
    );
    assert!(
        heard.iter().any(|line| line.starts_with(&says)),
        "{heard:?}"
    );
    assert!(
        !heard.iter().any(|line| line.starts_with("warning")),
        "{heard:?}"
    );
}

/// Questions about one context, with the text of an answer that stands there, or none.
fn asked(context: &str, questions: &[(&str, Option<&str>)]) -> Texts {
    let answer = |text: &str| Answer {
        start: context.find(text).unwrap() as u32,
        text: text.to_owned(),
    };
    let answers = questions
        .iter()
        .map(|(_, text)| text.map(answer).into_iter().collect());
    Texts {
        id: (0..questions.len() as u64).collect(),
        copy: vec![0; questions.len()],
        text: questions
            .iter()
            .map(|(text, _)| (*text).to_owned())
            .collect(),
        text_pair: Some(vec![context.to_owned(); questions.len()]),
        answers: Some(answers.collect()),
        name: Some(
            questions
                .iter()
                .map(|(text, _)| format!("id of {text}"))
                .collect(),
        ),
        ..Texts::default()
    }
}

const CONTEXT: &str = "one fish two fish red fish blue fish old fish new fish";

#[test]
fn contexts_are_cut_into_windows_that_hold_the_answers() {
    let questions = [
        ("fish", Some("red fish")),
        ("hook", None),
        ("one", Some("new fish")),
    ];
    let table = saved(&[("train", asked(CONTEXT, &questions))]);
    let mut settings = trained();
    settings["max_length"] = 12.into();
    settings["stride"] = 4.into();
    let (draft, done, heard) = run(settings, table.path(), false);
    done.unwrap();
    let tokens = Tokens::open(draft.path()).unwrap();
    assert_eq!(tokens.stride(), Some(4));
    let train = tokens.split("train").unwrap();
    assert!(train.rows() > 3 && train.examples() == 3, "{train:?}");
    let mut found = vec![String::new(); 3];
    for row in 0..train.rows() {
        let (first, last) = train.answer(row).unwrap();
        if (first, last) != answers::NO_ANSWER {
            let (start, end) = train.characters(row).unwrap();
            let characters = start[first as usize] as usize..end[last as usize] as usize;
            found[train.example(row)] = CONTEXT[characters].to_owned();
        }
    }
    assert_eq!(found, ["red fish", "", "new fish"]);
    assert_eq!(
        Table::open(tokens.examples_folder()).unwrap(),
        Table::open(table.path()).unwrap()
    );
    assert!(
        !heard.iter().any(|line| line.starts_with("warning")),
        "{heard:?}"
    );
}

#[test]
fn an_answer_whole_in_no_window_and_a_question_that_was_cut_are_reported() {
    let long = "one fish two fish red fish blue fish old fish new fish one fish two fish";
    let questions = [
        ("fish", Some("two fish red fish blue fish old fish new")),
        (long, None),
    ];
    let table = saved(&[("train", asked(CONTEXT, &questions))]);
    let mut settings = trained();
    settings["max_length"] = 14.into();
    let (_, done, heard) = run(settings, table.path(), false);
    done.unwrap();
    let warned = |says: &str| {
        let mut lines = heard
            .iter()
            .filter(|line| line.starts_with("warning: train: "));
        lines.any(|line| line.contains(says))
    };
    assert!(warned("1 of 1 answers are whole in no window"), "{heard:?}");
    assert!(warned("50.0 % of the questions were cut"), "{heard:?}");
}

#[test]
fn a_vocabulary_is_learnt_from_words_and_from_questions_with_their_contexts() {
    for (table, known) in [
        (
            saved(&[("train", tagged(&["red hook", "red line"]))]),
            ["hook", "red"],
        ),
        (
            saved(&[("train", asked("fish fish", &[("what what", None)]))]),
            ["fish", "what"],
        ),
    ] {
        let (draft, done, _) = run(trained(), table.path(), false);
        done.unwrap();
        let vocabulary = std::fs::read_to_string(draft.path().join("tokenizer/vocab.txt")).unwrap();
        for word in known {
            assert!(vocabulary.lines().any(|line| line == word), "{vocabulary}");
        }
    }
}

#[test]
fn equal_windows_are_an_equal_artifact() {
    let questions = [("fish", Some("red fish")), ("hook", None)];
    let table = saved(&[("train", asked(CONTEXT, &questions))]);
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
fn sets_of_labels_and_numbers_to_predict_reach_the_tokens() {
    let texts = Texts {
        id: vec![0, 1],
        copy: vec![0, 0],
        text: vec!["red fish".to_owned(), "one hook".to_owned()],
        labels: Some(vec![vec![0, 2], vec![]]),
        target: Some(vec![vec![0.5], vec![-3.0]]),
        ..Texts::default()
    };
    let folder = saved(&[("train", texts)]);
    let table = Table {
        target_names: Some(vec!["weight".to_owned()]),
        ..Table::open(folder.path()).unwrap()
    };
    table.save(folder.path()).unwrap();
    let (draft, done, _) = run(trained(), folder.path(), false);
    done.unwrap();
    let tokens = Tokens::open(draft.path()).unwrap();
    let train = tokens.split("train").unwrap();
    assert_eq!(tokens.target_names(), Some(&["weight".to_owned()][..]));
    assert_eq!(train.labels(0), Some(&[0, 2][..]));
    assert_eq!(train.labels(1), Some(&[][..]));
    assert_eq!(train.targets(1), Some(&[-3.0][..]));
    assert!(!tokens.examples_folder().exists());
}

#[test]
fn a_stride_beyond_a_row_is_refused_and_one_for_ordinary_rows_is_reported() {
    let faults = |stride: usize| {
        let mut settings = trained();
        settings["stride"] = stride.into();
        tokenize(settings).check()
    };
    assert!(faults(8).is_empty());
    assert_eq!(faults(9)[0].field, "stride");
    let table = table(&FISH);
    let mut settings = trained();
    settings["stride"] = 2.into();
    let (_, done, heard) = run(settings, table.path(), false);
    done.unwrap();
    assert!(
        heard
            .iter()
            .any(|line| line.contains("`stride` does nothing here")),
        "{heard:?}"
    );
}

#[test]
fn a_stride_left_out_is_a_third_and_leaves_room() {
    let vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let tokenizer = Tokenizer::from_vocabulary(&vocabulary, true).unwrap();
    for (max_length, stride) in [(384, 128), (128, 42), (9, 3), (6, 1), (5, 1)] {
        let settings =
            serde_json::json!({"input": "t", "tokenizer": "x", "max_length": max_length});
        assert_eq!(
            tokenize(settings).stride(&tokenizer),
            stride,
            "{max_length}"
        );
    }
}
