//! Claims about tokenizers as a whole: equal to transformers, deterministic, and clear about broken folders.
//!
//! `tests/fixtures/tokenizer_transformers.json` holds what transformers 5.23 gives for all-MiniLM-L6-v2 on lists of texts
//! and pairs. (Called with two bare strings it drops an empty pair; on lists, as in training, it keeps it; so do we.)

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CHILD_WRITES_TO: &str = "REFIT_TEST_LEARNT_DIGEST";

pub(super) fn go_on(_: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(super) fn assets() -> Option<PathBuf> {
    let assets = std::env::var_os("REFIT_TEST_ASSETS")
        .map(PathBuf::from)
        .filter(|folder| folder.is_dir());
    if assets.is_none() {
        // The test harness captures `eprintln!` of tests that pass; this gets through.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: set REFIT_TEST_ASSETS to the folder with `models` and `golden` to run this test"
        );
    }
    assets
}

pub(super) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(super) fn json_at(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(super) fn copy(from: &Path, names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(
            folder.path().join(name),
            std::fs::read(from.join(name)).unwrap(),
        )
        .unwrap();
    }
    folder
}

/// The same tokenizer from `tokenizer.json`, from `vocab.txt`, and from what `save` wrote.
fn three_routes(model: &Path) -> [(&'static str, Tokenizer); 3] {
    let vocab = copy(model, &["vocab.txt", "tokenizer_config.json"]);
    let saved = tempfile::tempdir().unwrap();
    let json = Tokenizer::open(model).unwrap();
    json.save(saved.path(), 64).unwrap();
    let again = Tokenizer::open(saved.path()).unwrap();
    [
        ("tokenizer.json", json),
        ("vocab.txt", Tokenizer::open(vocab.path()).unwrap()),
        ("saved", again),
    ]
}

fn minilm() -> Option<PathBuf> {
    assets().map(|assets| assets.join("models/all-MiniLM-L6-v2"))
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn ids_are_those_of_the_golden_reference() {
    let Some(assets) = assets() else { return };
    let reference = json_at(&assets.join("golden/minilm-l6-ag-news/reference.json"));
    let texts: Vec<(String, Option<String>)> = reference["texts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t.as_str().unwrap().to_owned(), None))
        .collect();
    for (route, tokenizer) in three_routes(&assets.join("models/all-MiniLM-L6-v2")) {
        let encoded = tokenizer.encode(&texts, 64).unwrap();
        for (row, wanted) in reference["input_ids"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let mut wanted = ids(wanted);
            while wanted.last() == Some(&tokenizer.pad_id()) {
                wanted.pop();
            }
            assert_eq!(encoded.ids(row), wanted, "row {row} by {route}");
        }
    }
}

#[test]
fn awkward_strings_and_pairs_are_encoded_as_transformers_does() {
    let Some(model) = minilm() else { return };
    let expected = json_at(&in_repository("tests/fixtures/tokenizer_transformers.json"));
    for (route, tokenizer) in three_routes(&model) {
        for case in ["single", "pairs"]
            .iter()
            .flat_map(|kind| expected[kind].as_array().unwrap())
        {
            let row = (
                case["text"].as_str().unwrap().to_owned(),
                case["pair"].as_str().map(str::to_owned),
            );
            let encoded = tokenizer
                .encode(&[row], case["max_length"].as_u64().unwrap() as usize)
                .unwrap();
            assert_eq!(encoded.ids(0), ids(&case["ids"]), "{case} by {route}");
            let type_ids: Vec<u32> = encoded
                .type_ids(0)
                .iter()
                .map(|id| u32::from(*id))
                .collect();
            assert_eq!(type_ids, ids(&case["type_ids"]), "{case} by {route}");
        }
    }
}

#[test]
fn saved_truncation_and_padding_are_ignored() {
    let Some(model) = minilm() else { return };
    let saved = json_at(&model.join("tokenizer.json"));
    assert!(
        saved["truncation"].is_object() && saved["padding"].is_object(),
        "the fixture lost its trap"
    );
    let tokenizer = Tokenizer::open(&model).unwrap();
    let encoded = tokenizer
        .encode(
            &[("word ".repeat(200), None), ("word".to_owned(), None)],
            256,
        )
        .unwrap();
    assert_eq!((encoded.ids(0).len(), encoded.ids(1).len()), (202, 3));
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save(folder.path(), 256).unwrap();
    let written = json_at(&folder.path().join("tokenizer.json"));
    assert!(written["truncation"].is_null() && written["padding"].is_null());
}

#[test]
fn both_routes_and_the_saved_folder_have_one_digest() {
    let Some(model) = minilm() else { return };
    let digests = three_routes(&model).map(|(_, tokenizer)| tokenizer.digest());
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
}

#[test]
fn equal_tokenizers_are_saved_as_equal_bytes() {
    let Some(model) = minilm() else { return };
    let files = |tokenizer: &Tokenizer| {
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save(folder.path(), 64).unwrap();
        [
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "vocab.txt",
        ]
        .map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap())
    };
    let [(_, json), (_, vocab), (_, saved)] = three_routes(&model);
    assert_eq!(files(&json), files(&vocab));
    assert_eq!(files(&json), files(&saved));
    assert_eq!(
        files(&json)[3],
        std::fs::read_to_string(model.join("vocab.txt")).unwrap()
    );
    assert!(files(&json)[1].contains(r#""model_max_length": 512"#));
}

#[test]
fn a_hundred_thousand_characters_are_no_trouble() {
    let Some(model) = minilm() else { return };
    let long = [
        "a".repeat(100_000),
        "a ".repeat(50_000),
        "漢".repeat(100_000),
        "\u{301}".repeat(100_000),
        "🤷".repeat(100_000),
    ];
    let rows: Vec<(String, Option<String>)> = long
        .iter()
        .flat_map(|text| [(text.clone(), None), (text.clone(), Some(text.clone()))])
        .collect();
    let [json, vocab, _] =
        three_routes(&model).map(|(_, tokenizer)| tokenizer.encode(&rows, 32).unwrap());
    assert_eq!(json, vocab);
    assert!((0..json.rows()).all(|row| json.ids(row).len() <= 32));
    assert_eq!(json.full_lengths()[2], 50_002);
    assert_eq!(json.truncated(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_panics_and_no_row_is_too_long(text in any::<String>(), pair in any::<Option<String>>(), max_length in 4usize..24) {
        let tokenizer = train::tests::small_tokenizer();
        let encoded = tokenizer.encode(&[(text, pair)], max_length).unwrap();
        prop_assert!(encoded.ids(0).len() <= max_length);
        prop_assert_eq!(encoded.ids(0).len(), encoded.type_ids(0).len());
    }
}

/// The long way, a row at a time: ids, types, and the length before truncation.
fn in_one_go(
    tokenizer: &Tokenizer,
    (text, pair): &(String, Option<String>),
    max_length: usize,
) -> (Vec<u32>, Vec<u8>, u32) {
    let (encoding, length) = tokenizer
        .encoding(text, pair.as_deref(), max_length)
        .unwrap();
    let types = encoding.get_type_ids().iter().map(|id| *id as u8);
    (encoding.get_ids().to_vec(), types.collect(), length as u32)
}

fn assert_short_way(tokenizer: &Tokenizer, rows: &[(String, Option<String>)], max_length: usize) {
    assert!(tokenizer.by_words.is_some());
    let encoded = tokenizer.encode(rows, max_length).unwrap();
    for (row, texts) in rows.iter().enumerate() {
        let short = (
            encoded.ids(row).to_vec(),
            encoded.type_ids(row).to_vec(),
            encoded.full_lengths()[row],
        );
        assert_eq!(short, in_one_go(tokenizer, texts, max_length), "{texts:?}");
    }
}

/// Words, marks, spaces, controls, accents, other scripts, added tokens whole and in parts.
const AWKWARD: &str = r"([a-zA-Z0-9]{1,8}|[ \t\n\r\x0b\x0c\u{a0}\u{2028}\u{3000}]|[!-/:-@\[-`{-~]|red|fish|Fishes|unaffable|a{98,104}|[\x00-\x1f\x7f\u{ad}\u{200b}\u{fffd}]|[\u{300}-\u{303}]|[\u{c0}-\u{17f}\u{37e}\u{1fef}\u{130}\u{3a3}]|[\u{4e00}-\u{4e10}\u{3042}-\u{3046}\u{ac00}-\u{ac04}]|\[CLS\]|\[SEP\]|\[MASK\]|\[unk|CLS\]|\.\.\.|\u{201c}|\u{2019}|\u{1f41f}){0,12}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn word_by_word_is_as_in_one_go(
        rows in prop::collection::vec((AWKWARD, prop::option::of(AWKWARD)), 1..6),
        max_length in 4usize..40,
        lowercase in any::<bool>(),
    ) {
        let small = train::tests::small_tokenizer();
        assert_short_way(&small, &rows, max_length);
        let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[", "]", "!", "a", "##a", "Fish", "fish", "##es"];
        let cased = Tokenizer::from_vocabulary(&tokens.map(str::to_owned), lowercase).unwrap();
        assert_short_way(&cased, &rows, max_length);
    }
}

#[test]
fn word_by_word_is_as_in_one_go_with_a_whole_vocabulary() {
    let Some(model) = minilm() else { return };
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for (route, tokenizer) in three_routes(&model) {
        let row = (AWKWARD, prop::option::of(AWKWARD));
        runner
            .run(&prop::collection::vec(row, 1..40), |rows| {
                assert_short_way(&tokenizer, &rows, 24);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{route}: {error}"));
    }
}

/// Every text of the data sets that are there.
#[test]
fn word_by_word_is_as_in_one_go_on_real_texts() {
    let Some(assets) = assets() else { return };
    let tokenizer = Tokenizer::open(&assets.join("models/all-MiniLM-L6-v2")).unwrap();
    for file in [
        "sst2/dev.tsv",
        "sms_spam/SMSSpamCollection.tsv",
        "ag_news/test.csv",
        "go_emotions/dev.tsv",
        "squad_v2/dev.json",
    ] {
        let Ok(text) = std::fs::read_to_string(assets.join("data").join(file)) else {
            continue;
        };
        let rows: Vec<_> = text
            .lines()
            .take(2000)
            .map(|line| (line.chars().take(2000).collect(), None))
            .collect();
        assert_short_way(&tokenizer, &rows, 64);
    }
}

#[test]
fn an_added_token_that_could_hide_in_words_takes_the_long_way() {
    let Some(model) = minilm() else { return };
    for (content, short) in [
        ("fishx", false),
        ("red [fishx]", false),
        ("<é>", false),
        ("<fishx>", true),
    ] {
        let mut json = json_at(&model.join("tokenizer.json"));
        json["added_tokens"].as_array_mut().unwrap().push(json!({
            "id": 30522, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": true, "special": false
        }));
        let folder = copy(&model, &["tokenizer_config.json"]);
        std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
        let tokenizer = Tokenizer::open(folder.path()).unwrap();
        assert_eq!(tokenizer.by_words.is_some(), short, "{content}");
        let rows = [("a red [fishx]ing <Fishx>, <fishx>s, <é>".to_owned(), None)];
        let encoded = tokenizer.encode(&rows, 64).unwrap();
        assert_eq!(
            encoded.ids(0),
            in_one_go(&tokenizer, &rows[0], 64).0,
            "{content}"
        );
    }
}

#[test]
fn a_max_length_without_room_for_text_is_an_error() {
    let tokenizer = train::tests::small_tokenizer();
    let pair = ("a".to_owned(), Some("b".to_owned()));
    assert!(matches!(
        tokenizer.encode(&[pair], 3),
        Err(TextError::NoRoom {
            max_length: 3,
            added: 3
        })
    ));
}

#[test]
fn encoding_stops_when_told_to() {
    let tokenizer = train::tests::small_tokenizer();
    let texts = vec!["fish".to_owned(); 3 * tokenizer::ROWS_AT_A_TIME];
    let mut calls = 0;
    let stopped = tokenizer.encode_columns(&texts, None, 8, &mut |_| {
        calls += 1;
        if calls == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(stopped, Err(TextError::Interrupted)));
    assert_eq!(calls, 2);
}

#[test]
fn the_number_of_threads_does_not_change_what_is_encoded() {
    let tokenizer = train::tests::small_tokenizer();
    let rows: Vec<_> = (0..2000)
        .map(|row| ("red fish ".repeat(row % 9), None))
        .collect();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| tokenizer.encode(&rows, 12).unwrap())
    };
    assert_eq!(with(1), with(4));
}

/// Sentences with many ties between pairs of characters.
fn learnt_digest() -> String {
    let readme: String = (0..400u32)
        .map(|n| format!("{} {:x} {} ", n * 7919 % 1000, n * 104_729, n % 13))
        .collect();
    let texts: Vec<String> = readme
        .split(' ')
        .map(|word| format!("{word} und {word}s über ähnliche Wörter, ßo"))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let counts = count_words(&texts, true, &mut go_on).unwrap();
    let vocabulary = learn_wordpiece(&counts, 600, 2, &mut go_on).unwrap();
    Tokenizer::from_vocabulary(&vocabulary, true)
        .unwrap()
        .digest()
}

#[test]
fn a_learnt_vocabulary_is_the_same_in_every_process_and_with_any_number_of_threads() {
    if let Some(path) = std::env::var_os(CHILD_WRITES_TO) {
        std::fs::write(path, learnt_digest()).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let here = learnt_digest();
    for threads in ["1", "3"] {
        let path = folder.path().join(threads);
        let name =
            "a_learnt_vocabulary_is_the_same_in_every_process_and_with_any_number_of_threads";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .arg(name)
            .env(CHILD_WRITES_TO, &path)
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(
            child.status.success(),
            "{}",
            String::from_utf8_lossy(&child.stdout)
        );
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            here,
            "with {threads} threads"
        );
    }
}

#[test]
fn the_stated_normalization_overrules_the_saved_one_as_in_transformers() {
    let Some(model) = minilm() else { return };
    let folder = copy(&model, &["tokenizer.json"]);
    let config = json!({"tokenizer_class": "BertTokenizer", "do_lower_case": false});
    std::fs::write(
        folder.path().join("tokenizer_config.json"),
        config.to_string(),
    )
    .unwrap();
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    let encoded = tokenizer.encode(&[("Fish".to_owned(), None)], 8).unwrap();
    assert_eq!(
        encoded.ids(0),
        [101, 100, 102],
        "an uncased vocabulary does not know a capital"
    );
    assert_eq!(tokenizer.notes().len(), 1, "{:?}", tokenizer.notes());
    assert_eq!(tokenizer.model_max_length(), None);
}

#[test]
fn special_tokens_may_have_other_names() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("vocab.txt"),
        "<s>\r\n<pad>\r\n</s>\r\n<unk>\r\nfish\r\n",
    )
    .unwrap();
    let names = json!({"cls_token": "<s>", "sep_token": {"content": "</s>"}, "unk_token": "<unk>"});
    std::fs::write(
        folder.path().join("tokenizer_config.json"),
        names.to_string(),
    )
    .unwrap();
    std::fs::write(
        folder.path().join("special_tokens_map.json"),
        r#"{"pad_token": "<pad>"}"#,
    )
    .unwrap();
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    assert_eq!(
        tokenizer
            .encode(&[("fish bird".to_owned(), None)], 8)
            .unwrap()
            .ids(0),
        [0, 4, 3, 2]
    );
    assert_eq!((tokenizer.pad_id(), tokenizer.vocab_size()), (1, 5));
    let saved = tempfile::tempdir().unwrap();
    tokenizer.save(saved.path(), 32).unwrap();
    let config = json_at(&saved.path().join("tokenizer_config.json"));
    assert_eq!(
        (&config["cls_token"], &config["mask_token"]),
        (&json!("<s>"), &Value::Null)
    );
    assert_eq!(config["model_max_length"], 32);
    assert_eq!(
        Tokenizer::open(saved.path()).unwrap().digest(),
        tokenizer.digest()
    );
}

#[test]
fn a_broken_tokenizer_folder_is_an_error_that_says_what_to_do() {
    for (folder, says) in [
        (
            "tokenizer_missing",
            "neither tokenizer.json nor vocab.txt, vocab.json or a SentencePiece model; there is config.json",
        ),
        ("tokenizer_cut_off", "EOF while parsing"),
        ("tokenizer_other_format", "is no tokenizer"),
        (
            "tokenizer_template",
            "uses \"[SEP]\", which its special_tokens do not define",
        ),
        (
            "tokenizer_wrong_id",
            "claims the id 9, but the vocabulary gives it 4",
        ),
        (
            "tokenizer_no_pad",
            "has no padding token: \"[PAD]\" is not in its vocabulary",
        ),
        ("tokenizer_vocab_no_unk", "lacks [UNK], [SEP]"),
        (
            "tokenizer_vocab_twice",
            "line 7: the token \"fish\" is already on line 5",
        ),
        ("tokenizer_vocab_latin1", "line 6: not UTF-8"),
        (
            "tokenizer_config_broken",
            "is not valid JSON of the kind expected there",
        ),
        ("tokenizer_other_class", "FunnelTokenizer"),
    ] {
        let error =
            Tokenizer::open(&in_repository("tests/broken_models").join(folder)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(says),
            "{folder}: {text:?} does not say {says:?}"
        );
        assert!(
            text.contains(folder),
            "{folder}: {text:?} does not name the folder"
        );
        assert!(error.help().is_some());
    }
}
