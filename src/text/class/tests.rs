//! Claims about tokenizers of every kind: ids, types and places are those of transformers, from either form of a folder.
//!
//! `tests/fixtures/tokenizers/KIND` are folders with small vocabularies, learnt from SST-2 and AG News: byte-level BPE
//! in RoBERTa's and ModernBERT's layout, SentencePiece's unigram in those of XLM-R, ALBERT and DeBERTa-v3, its BPE in a
//! plain one, WordPiece in those of MPNet, ELECTRA and DistilBERT. `expected.json` holds awkward texts and pairs, and of
//! what transformers 5.23 gives for each the first half of a SHA-256, over 32-bit numbers: the number of tokens, ids,
//! types (for one text also: the number of its tokens, where each begins and ends). Shared texts are taken fifty at a
//! time. `AutoTokenizer` was asked with `return_token_type_ids=True` where a class of version 5 no longer gives types.

use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::text::tests::{assets, copy, go_on, in_repository, json_at};
use crate::text::{Encoded, NONE, TextError, Tokenizer, tokenizer_files, tokenizer_names};

const KINDS: [(&str, &[&str]); 9] = [
    ("roberta", &["vocab.json", "merges.txt"]),
    ("modernbert", &[]),
    ("xlm_roberta", &["sentencepiece.bpe.model"]),
    ("albert", &["spiece.model"]),
    ("deberta_v3", &["spm.model", "added_tokens.json"]),
    ("sentencepiece_bpe", &["tokenizer.model"]),
    ("mpnet", &["vocab.txt"]),
    ("electra", &["vocab.txt"]),
    ("distilbert", &["vocab.txt"]),
];

fn folder_of(kind: &str) -> PathBuf {
    in_repository("tests/fixtures/tokenizers").join(kind)
}

/// A copy with these files and those that go with them.
fn form(kind: &str, files: &[&str]) -> tempfile::TempDir {
    let folder = folder_of(kind);
    let more = ["tokenizer_config.json", "config.json"];
    let more = more.into_iter().filter(|name| folder.join(name).is_file());
    copy(
        &folder,
        &files.iter().copied().chain(more).collect::<Vec<_>>(),
    )
}

/// The same tokenizer from `tokenizer.json`, from the older files, and from what `save` wrote of each.
fn routes(kind: &str, older: &[&str]) -> Vec<(String, Tokenizer)> {
    let mut routes = Vec::new();
    for files in [&["tokenizer.json"][..], older] {
        if files.is_empty() {
            continue;
        }
        let folder = form(kind, files);
        let tokenizer = Tokenizer::open(folder.path()).unwrap();
        let saved = tempfile::tempdir().unwrap();
        tokenizer.save(saved.path(), 64).unwrap();
        let again = Tokenizer::open(saved.path()).unwrap();
        assert_eq!(again.digest(), tokenizer.digest(), "{kind} {files:?}");
        routes.push((format!("{kind} from {}", files[0]), tokenizer));
        routes.push((format!("{kind} from {}, saved", files[0]), again));
    }
    routes
}

fn expected() -> Value {
    json_at(&in_repository("tests/fixtures/tokenizers/expected.json"))
}

/// What the reference has for each form; one entry where both are equal.
fn reference<'v>(expected: &'v Value, kind: &str) -> &'v Value {
    let forms = expected["kinds"][kind].as_array().unwrap();
    assert_eq!(forms.len(), 1, "{kind}: both forms are one tokenizer");
    &forms[0]
}

fn digest(numbers: &[u32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let hash = Sha256::digest(bytes);
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ids_and_types(encoded: &Encoded, row: usize) -> Vec<u32> {
    let ids = encoded.ids(row);
    let types = encoded.type_ids(row).iter().map(|t| u32::from(*t));
    let count = [ids.len() as u32];
    count
        .into_iter()
        .chain(ids.iter().copied())
        .chain(types)
        .collect()
}

/// Where the tokens of each text stand.
fn places(tokenizer: &Tokenizer, texts: &[String]) -> Vec<Vec<u32>> {
    let nothing = vec![String::new(); texts.len()];
    let rows = tokenizer.encode_questions(&nothing, texts, 1 << 20, 0, &mut go_on);
    let rows = rows.unwrap();
    let of_row = |row: usize| {
        let (start, end) = rows.characters(row).unwrap();
        let places = start.iter().zip(end).filter(|(start, _)| **start != NONE);
        let places: Vec<u32> = places.flat_map(|(start, end)| [*start, *end]).collect();
        let count = [places.len() as u32 / 2];
        count.into_iter().chain(places).collect()
    };
    (0..rows.rows()).map(of_row).collect()
}

/// Ids, types and places of each text.
fn whole(tokenizer: &Tokenizer, texts: &[String]) -> Vec<Vec<u32>> {
    let rows: Vec<_> = texts.iter().map(|text| (text.clone(), None)).collect();
    let encoded = tokenizer.encode(&rows, 1 << 20).unwrap();
    let places = places(tokenizer, texts);
    let whole = places.into_iter().enumerate().map(|(row, places)| {
        let mut numbers = ids_and_types(&encoded, row);
        numbers.extend(places);
        numbers
    });
    whole.collect()
}

fn texts(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn awkward_texts_are_encoded_as_by_transformers() {
    let expected = expected();
    let singles = texts(&expected["singles"]);
    assert!(singles.len() >= 200);
    for (kind, older) in KINDS {
        let wanted = reference(&expected, kind);
        let digests = wanted["singles"].as_str().unwrap();
        for (route, tokenizer) in routes(kind, older) {
            assert_eq!(
                tokenizer.vocab_size() as u64,
                wanted["vocab_size"],
                "{route}"
            );
            assert_eq!(u64::from(tokenizer.pad_id()), wanted["pad"], "{route}");
            let example = &wanted["example"];
            let text = [(example["text"].as_str().unwrap().to_owned(), None)];
            let encoded = tokenizer.encode(&text, 1 << 20).unwrap();
            let ids: Vec<u32> = serde_json::from_value(example["ids"].clone()).unwrap();
            assert_eq!(encoded.ids(0), ids, "{route}: {text:?}");
            for (number, numbers) in whole(&tokenizer, &singles).iter().enumerate() {
                let wanted = &digests[16 * number..16 * number + 16];
                assert_eq!(
                    digest(numbers),
                    wanted,
                    "{route}: {:?}: {numbers:?}",
                    singles[number]
                );
            }
        }
    }
}

#[test]
fn a_hundred_thousand_characters_are_encoded_as_by_transformers() {
    let expected = expected();
    let long = expected["long"].as_array().unwrap();
    let text = |case: &Value| {
        case[0]
            .as_str()
            .unwrap()
            .repeat(case[1].as_u64().unwrap() as usize)
    };
    let texts: Vec<String> = long.iter().map(text).collect();
    assert!(texts.iter().all(|text| text.chars().count() >= 100_000));
    for (kind, older) in KINDS {
        let wanted = reference(&expected, kind)["long"].as_array().unwrap();
        // Either form is one tokenizer, as the shorter texts show.
        let files = if older.is_empty() {
            &["tokenizer.json"]
        } else {
            older
        };
        let tokenizer = Tokenizer::open(form(kind, files).path()).unwrap();
        for (number, numbers) in whole(&tokenizer, &texts).iter().enumerate() {
            let what = &long[number];
            assert_eq!(u64::from(numbers[0]), wanted[number][0], "{kind}: {what}");
            assert_eq!(digest(numbers), wanted[number][1], "{kind}: {what}");
        }
    }
}

#[test]
fn pairs_are_encoded_and_cut_as_by_transformers() {
    let expected = expected();
    let pairs: Vec<(String, Option<String>)> =
        serde_json::from_value(expected["pairs"].clone()).unwrap();
    let max_length = expected["max_length"].as_u64().unwrap() as usize;
    for (kind, older) in KINDS {
        let digests = reference(&expected, kind)["pairs"].as_str().unwrap();
        for (route, tokenizer) in routes(kind, older) {
            let encoded = tokenizer.encode(&pairs, max_length).unwrap();
            for (row, pair) in pairs.iter().enumerate() {
                let numbers = ids_and_types(&encoded, row);
                let wanted = &digests[16 * row..16 * row + 16];
                assert_eq!(digest(&numbers), wanted, "{route}: {pair:?}: {numbers:?}");
            }
        }
    }
}

#[test]
fn a_thousand_shared_texts_are_encoded_as_by_transformers() {
    let Some(assets) = assets() else { return };
    let files = [
        "ag_news/test.csv",
        "sst2/train.tsv",
        "sms_spam/SMSSpamCollection.tsv",
        "go_emotions/train.tsv",
    ];
    let mut texts = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(assets.join("data").join(file)).unwrap();
        texts.extend(text.split('\n').take(250).map(str::to_owned));
    }
    assert_eq!(texts.len(), 1000);
    let expected = expected();
    for (kind, older) in KINDS {
        let wanted = reference(&expected, kind)["shared"].as_array().unwrap();
        for (route, tokenizer) in routes(kind, older) {
            let rows = whole(&tokenizer, &texts);
            for (number, fifty) in rows.chunks(50).enumerate() {
                assert_eq!(digest(&fifty.concat()), wanted[number], "{route}: {number}");
            }
        }
    }
}

/// What `windows.json` has: of each question with its context a digest of all windows (ids, and where the tokens of the
/// context stand), and of each list of words one of its ids, of the words that its tokens begin, and of the ids of its
/// windows. Both byte-level tokenizers were asked about words with `add_prefix_space=True`.
fn windows() -> Value {
    json_at(&in_repository("tests/fixtures/tokenizers/windows.json"))
}

fn setting(value: &Value, name: &str) -> usize {
    value[name].as_u64().unwrap() as usize
}

#[test]
fn questions_are_cut_into_windows_as_by_transformers() {
    let windows = windows();
    let questions: Vec<(String, String)> =
        serde_json::from_value(windows["questions"].clone()).unwrap();
    let (questions, contexts): (Vec<_>, Vec<_>) = questions.into_iter().unzip();
    let (max_length, stride) = (setting(&windows, "max_length"), setting(&windows, "stride"));
    for (kind, older) in KINDS {
        for (route, tokenizer) in routes(kind, older) {
            let spaced = (windows["kinds"][kind].get("spaced").is_some())
                .then(|| ("spaced", tokenizer.clone().for_words()));
            for (way, tokenizer) in [("questions", tokenizer)].into_iter().chain(spaced) {
                let wanted = &windows["kinds"][kind];
                let digests = wanted[way].as_str().unwrap();
                let rows = tokenizer
                    .encode_questions(&questions, &contexts, max_length, stride, &mut go_on);
                let rows = rows.unwrap();
                assert_eq!(
                    rows.rows() as u64,
                    wanted[format!("{way}_windows")],
                    "{route}"
                );
                let mut numbers = vec![Vec::new(); questions.len()];
                for row in 0..rows.rows() {
                    let ids = rows.ids(row);
                    let (start, end) = rows.characters(row).unwrap();
                    let places = start.iter().zip(end).filter(|(start, _)| **start != NONE);
                    let places: Vec<u32> = places.flat_map(|(start, end)| [*start, *end]).collect();
                    let numbers = &mut numbers[rows.example(row)];
                    numbers.push(ids.len() as u32);
                    numbers.extend_from_slice(ids);
                    numbers.push(places.len() as u32 / 2);
                    numbers.extend(places);
                }
                for (number, numbers) in numbers.iter().enumerate() {
                    let wanted = &digests[16 * number..16 * number + 16];
                    let what = (&questions[number], &contexts[number]);
                    assert_eq!(
                        digest(numbers),
                        wanted,
                        "{way} of {route}: {what:?}: {numbers:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn words_are_encoded_and_cut_as_by_transformers() {
    let windows = windows();
    let sentences: Vec<Vec<String>> = serde_json::from_value(windows["sentences"].clone()).unwrap();
    for (kind, older) in KINDS {
        let digests = windows["kinds"][kind]["sentences"].as_str().unwrap();
        for (route, tokenizer) in routes(kind, older) {
            let tokenizer = tokenizer.for_words();
            let whole = tokenizer
                .encode_words(&sentences, 1 << 20, 0, &mut go_on)
                .unwrap();
            let cut = tokenizer
                .encode_words(&sentences, 24, 6, &mut go_on)
                .unwrap();
            let mut numbers: Vec<Vec<u32>> = Vec::new();
            for row in 0..whole.rows() {
                let count = [whole.ids(row).len() as u32];
                let words = whole.words(row).unwrap();
                numbers.push([&count, whole.ids(row), words].concat());
            }
            for row in 0..cut.rows() {
                let numbers = &mut numbers[cut.example(row)];
                numbers.push(cut.ids(row).len() as u32);
                numbers.extend_from_slice(cut.ids(row));
            }
            for (number, numbers) in numbers.iter().enumerate() {
                let wanted = &digests[16 * number..16 * number + 16];
                let what = &sentences[number];
                assert_eq!(digest(numbers), wanted, "{route}: {what:?}: {numbers:?}");
            }
        }
    }
}

#[test]
fn words_of_a_byte_level_tokenizer_have_a_space_before_them_and_the_user_is_told() {
    for (kind, older) in KINDS {
        let byte_level = ["roberta", "modernbert"].contains(&kind);
        for (route, tokenizer) in routes(kind, older) {
            let notes = tokenizer.notes().len();
            let digest = tokenizer.digest();
            let for_words = tokenizer.for_words();
            assert_eq!(
                for_words.notes().len(),
                notes + usize::from(byte_level),
                "{route}"
            );
            assert_eq!(for_words.digest() != digest, byte_level, "{route}");
            // What was saved is a tokenizer for words already.
            let saved = tempfile::tempdir().unwrap();
            for_words.save(saved.path(), 64).unwrap();
            let again = Tokenizer::open(saved.path()).unwrap();
            assert_eq!(again.digest(), for_words.digest(), "{route}");
            assert!(again.for_words().notes().is_empty(), "{route}");
            let config = json_at(&saved.path().join("tokenizer_config.json"));
            assert_eq!(
                config.get("add_prefix_space").is_some(),
                byte_level,
                "{route}"
            );
        }
    }
}

#[test]
fn only_files_from_which_something_is_read_are_listed() {
    let names = |files: &[&str]| -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let (name, text) = file.split_once('=').unwrap_or((file, "{}"));
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        tokenizer_files(folder.path())
            .unwrap()
            .into_keys()
            .collect()
    };
    let bert = "config.json={\"model_type\": \"bert\"}";
    let roberta = "config.json={\"model_type\": \"roberta\"}";
    let stated = "tokenizer_config.json={\"tokenizer_class\": \"BertTokenizer\"}";
    let vocabulary = ["vocab.txt", "tokenizer_config.json"];
    // What a BERT folder is made of was so from the beginning, and is in keys.
    assert_eq!(
        names(&["tokenizer.json", "vocab.txt", bert]),
        ["tokenizer.json"]
    );
    assert_eq!(
        names(&["vocab.txt", "tokenizer_config.json", bert]),
        ["tokenizer_config.json", "vocab.txt"]
    );
    assert_eq!(
        names(&["tokenizer.json", "special_tokens_map.json", stated, roberta]),
        [
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    // Here the encoder says what the tokenizer is.
    assert_eq!(
        names(&["tokenizer.json", "merges.txt", "vocab.json", roberta]),
        ["config.json", "tokenizer.json"]
    );
    assert_eq!(
        names(&[
            "added_tokens.json",
            "merges.txt",
            "vocab.json",
            roberta,
            "unused.txt"
        ]),
        [
            "added_tokens.json",
            "config.json",
            "merges.txt",
            "vocab.json"
        ]
    );
    assert_eq!(names(&["spiece.model", "spm.model"]), ["spiece.model"]);
    let deberta = "config.json={\"model_type\": \"deberta-v2\"}";
    assert_eq!(
        names(&["spiece.model", "spm.model", deberta]),
        ["config.json", "spm.model"]
    );
    for (kind, older) in KINDS {
        let whole = tokenizer_files(&folder_of(kind)).unwrap();
        assert!(
            whole.contains_key("tokenizer.json")
                && !older.iter().any(|name| whole.contains_key(*name))
        );
        let files = tokenizer_files(
            form(kind, older.get(..1).map_or(&["tokenizer.json"], |_| older)).path(),
        )
        .unwrap();
        assert!(older.iter().all(|name| files.contains_key(*name)), "{kind}");
    }
    assert!(
        vocabulary
            .iter()
            .all(|name| crate::text::TOKENIZER_FILES.contains(name))
    );
}

#[test]
fn of_a_place_known_by_its_names_older_forms_are_left_out_beside_a_whole_one() {
    let names = |there: &[&str]| tokenizer_names(|name| there.contains(&name));
    assert_eq!(
        names(&[
            "vocab.json",
            "merges.txt",
            "tokenizer.json",
            "config.json",
            "model.safetensors"
        ]),
        ["tokenizer.json", "config.json"]
    );
    assert_eq!(
        names(&["spm.model", "tokenizer_config.json", "README.md"]),
        ["spm.model", "tokenizer_config.json"]
    );
    assert_eq!(names(&["README.md"]), [""; 0]);
}

#[test]
fn a_class_that_is_not_built_here_is_refused_by_name_unless_there_is_a_whole_file() {
    for class in [
        "FunnelTokenizer",
        "CamembertTokenizerFast",
        "PreTrainedTokenizerFast",
    ] {
        let folder = form("mpnet", &["vocab.txt"]);
        let config = folder.path().join("tokenizer_config.json");
        std::fs::write(&config, format!("{{\"tokenizer_class\": {class:?}}}")).unwrap();
        let error = Tokenizer::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains(class), "{error}");
        assert!(matches!(error, TextError::OtherClass { .. }), "{error}");
        std::fs::copy(
            folder_of("mpnet").join("tokenizer.json"),
            folder.path().join("tokenizer.json"),
        )
        .unwrap();
        assert!(Tokenizer::open(folder.path()).is_ok(), "{class}");
    }
}

#[test]
fn a_class_with_the_vocabulary_of_another_is_refused_by_name() {
    let folder = form("albert", &["spiece.model"]);
    let config = folder.path().join("tokenizer_config.json");
    std::fs::write(&config, r#"{"tokenizer_class": "XLMRobertaTokenizer"}"#).unwrap();
    let error = Tokenizer::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("XLMRobertaTokenizer") && error.contains("spiece.model"),
        "{error}"
    );
    let bpe = form("sentencepiece_bpe", &["tokenizer.model"]);
    std::fs::rename(
        bpe.path().join("tokenizer.model"),
        bpe.path().join("sentencepiece.bpe.model"),
    )
    .unwrap();
    std::fs::remove_file(bpe.path().join("tokenizer_config.json")).unwrap();
    let error = Tokenizer::open(bpe.path()).unwrap_err().to_string();
    assert!(error.contains("of the kind BPE"), "{error}");
}

#[test]
fn a_tokenizer_json_that_its_class_builds_otherwise_is_rebuilt_with_a_note() {
    let folder = form("albert", &["tokenizer.json"]);
    let path = folder.path().join("tokenizer.json");
    let mut json = json_at(&path);
    json["normalizer"] = Value::Null;
    std::fs::write(&path, json.to_string()).unwrap();
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    assert_eq!(tokenizer.notes().len(), 1);
    assert!(
        tokenizer.notes()[0].contains("AlbertTokenizer"),
        "{:?}",
        tokenizer.notes()
    );
    let text = [("ÉCOLE".to_owned(), None), ("ecole".to_owned(), None)];
    let encoded = tokenizer.encode(&text, 32).unwrap();
    assert_eq!(encoded.ids(0), encoded.ids(1));
    for (kind, older) in KINDS {
        for (route, tokenizer) in routes(kind, older) {
            assert!(
                tokenizer.notes().is_empty(),
                "{route}: {:?}",
                tokenizer.notes()
            );
        }
    }
}

#[test]
fn what_an_encoder_must_have_room_for_is_known() {
    for (kind, older) in KINDS {
        for (route, tokenizer) in routes(kind, older) {
            assert_eq!(
                tokenizer.largest_id() as usize + 1,
                tokenizer.vocab_size(),
                "{route}"
            );
            let specials = tokenizer.special_ids();
            assert_eq!(specials["pad"].1, tokenizer.pad_id(), "{route}");
            let within = |(_, id): &(&str, u32)| *id <= tokenizer.largest_id();
            assert!(specials.values().all(within), "{route}");
            let typed = ["albert", "deberta_v3", "electra", "sentencepiece_bpe"].contains(&kind);
            assert_eq!(
                tokenizer.token_types(true),
                1 + usize::from(typed),
                "{route}"
            );
            assert_eq!(tokenizer.token_types(false), 1, "{route}");
            // The encoder is asked for types where it has some.
            let saved = tempfile::tempdir().unwrap();
            tokenizer.save(saved.path(), 64).unwrap();
            let config =
                std::fs::read_to_string(saved.path().join("tokenizer_config.json")).unwrap();
            let asked = config.contains("token_type_ids") || config.contains("BertTokenizer");
            assert_eq!(asked, typed, "{route}: {config}");
        }
    }
}
