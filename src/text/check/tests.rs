//! Claims about hostile tokenizer files: each is an error, or does no harm, in little time and memory.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::text::tests::{copy, in_repository, json_at};
use crate::text::{TextError, Tokenizer};

const SOON: Duration = Duration::from_secs(20);

fn kind(kind: &str, name: &str) -> Value {
    json_at(
        &in_repository("tests/fixtures/tokenizers")
            .join(kind)
            .join(name),
    )
}

/// Opens a folder with this file, beside the configuration of `kind`.
fn open_with(of: &str, name: &str, content: &[u8]) -> Result<Tokenizer, TextError> {
    let source = in_repository("tests/fixtures/tokenizers").join(of);
    let folder = copy(&source, &["tokenizer_config.json"]);
    std::fs::write(folder.path().join(name), content).unwrap();
    let began = Instant::now();
    let opened = Tokenizer::open(folder.path());
    assert!(
        began.elapsed() < SOON,
        "{name} of {of} took {:?}",
        began.elapsed()
    );
    opened
}

/// A `tokenizer.json` that is used as it stands, changed.
fn changed(of: &str, change: impl FnOnce(&mut Value)) -> Result<Tokenizer, TextError> {
    let mut json = kind(of, "tokenizer.json");
    change(&mut json);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    let config = r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#;
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    Tokenizer::open(folder.path())
}

fn refused(opened: Result<Tokenizer, TextError>, says: &str) {
    let error = opened.unwrap_err();
    assert!(miette::Diagnostic::help(&error).is_some());
    let text = error.to_string();
    assert!(text.contains(says), "{text:?} does not say {says:?}");
}

#[test]
fn json_of_any_depth_is_refused() {
    for (open, close) in [("[", "]"), ("{\"normalizer\":", "}"), ("{\"a\":", "}")] {
        let deep = open.repeat(200_000) + "1" + &close.repeat(200_000);
        for of in ["roberta", "albert", "modernbert"] {
            refused(
                open_with(of, "tokenizer.json", deep.as_bytes()),
                "recursion limit",
            );
        }
    }
    let mut normalizer = json!({"type": "NFC"});
    for _ in 0..200 {
        normalizer = json!({"type": "Sequence", "normalizers": [normalizer]});
    }
    refused(
        changed("roberta", |json| json["normalizer"] = normalizer),
        "recursion limit",
    );
    let folder = copy(
        &in_repository("tests/fixtures/tokenizers/roberta"),
        &["tokenizer.json"],
    );
    let deep = "[".repeat(200_000);
    std::fs::write(folder.path().join("tokenizer_config.json"), deep).unwrap();
    refused(
        Tokenizer::open(folder.path()),
        "tokenizer_config.json is not valid JSON",
    );
}

#[test]
fn huge_ids_are_refused() {
    let huge = |id: u64| changed("roberta", |json| json["model"]["vocab"]["zz"] = json!(id));
    refused(huge(4_294_967_295), "its largest id is 4294967295");
    refused(huge(4_294_967_296), "is no tokenizer");
    refused(huge(7), "two tokens have the id 7");
    let added = |id: u64| {
        changed("roberta", |json| {
            let mut token = json["added_tokens"][0].clone();
            token["content"] = json!("zz");
            token["id"] = json!(id);
            json["added_tokens"].as_array_mut().unwrap().push(token);
        })
    };
    refused(added(4_294_967_295), "claims the id 4294967295");
    let vocab = format!(
        "{{\"<s>\": 0, \"<pad>\": 1, \"</s>\": 2, \"<unk>\": {}}}",
        u64::MAX
    );
    let source = in_repository("tests/fixtures/tokenizers/roberta");
    let folder = copy(&source, &["merges.txt", "tokenizer_config.json"]);
    std::fs::write(folder.path().join("vocab.json"), vocab).unwrap();
    refused(Tokenizer::open(folder.path()), "which is no id");
}

#[test]
fn merges_of_unknown_pieces_and_lines_that_are_no_merges_are_refused() {
    let merges = |merges: Value| changed("roberta", |json| json["model"]["merges"] = merges);
    refused(merges(json!([["zz", "a"]])), "zz");
    refused(merges(json!(["zz a"])), "zz");
    refused(merges(json!([["a", "z\u{1f41f}"]])), "out of vocabulary");
    // Cut off where there is no character.
    let prefixed = |second: &str| {
        changed("roberta", |json| {
            json["model"]["continuing_subword_prefix"] = json!("##");
            json["model"]["merges"] = json!([["a", second]]);
        })
    };
    refused(prefixed("\u{120}"), "does not go on with");
    refused(prefixed("b"), "does not go on with");
    let source = in_repository("tests/fixtures/tokenizers/roberta");
    for (text, says) in [
        ("#version: 0.2\na b c\n", "line 2: not two pieces"),
        ("a\n", "line 1: not two pieces"),
        ("zz yy\n", "zz"),
    ] {
        let folder = copy(&source, &["vocab.json", "tokenizer_config.json"]);
        std::fs::write(folder.path().join("merges.txt"), text).unwrap();
        refused(Tokenizer::open(folder.path()), says);
    }
    let alone = copy(&source, &["vocab.json", "tokenizer_config.json"]);
    refused(
        Tokenizer::open(alone.path()),
        "lacks its other half, merges.txt",
    );
}

#[test]
fn a_post_processor_with_unknown_tokens_or_ids_is_refused() {
    let template = |of: &str, change: &dyn Fn(&mut Value)| {
        changed(of, |json| change(&mut json["post_processor"]))
    };
    refused(
        template("modernbert", &|p| p["special_tokens"] = json!({})),
        "which its special_tokens do not define",
    );
    refused(
        template("modernbert", &|p| {
            p["special_tokens"]["[CLS]"]["ids"] = json!([99_999])
        }),
        "adds the id 99999",
    );
    refused(
        template("roberta", &|p| {
            p["sep"] = json!(["</s>", 4_000_000_000_u32])
        }),
        "adds the id 4000000000",
    );
    refused(
        template("modernbert", &|p| {
            p["pair"][3]["Sequence"]["type_id"] = json!(256)
        }),
        "type id 256",
    );
}

/// A normalization table of this tree and these replacements.
fn charsmap(units: &[u32], replacements: &[u8]) -> Vec<u8> {
    let length = (units.len() as u32 * 4).to_le_bytes();
    let units = units.iter().flat_map(|unit| unit.to_le_bytes());
    length
        .into_iter()
        .chain(units)
        .chain(replacements.iter().copied())
        .collect()
}

#[test]
fn a_garbage_normalization_table_is_refused() {
    let good = kind("xlm_roberta", "tokenizer.json")["normalizer"]["precompiled_charsmap"].clone();
    let good = STANDARD.decode(good.as_str().unwrap()).unwrap();
    assert!(super::check_charsmap(&good).is_ok());
    let mut leaf = vec![0; 256];
    // The byte `a` leads to the unit at 97, whose first child, the unit at 96, is the place of a replacement.
    leaf[97] = 97 | 1 << 8 | 1 << 10;
    leaf[96] = 1000;
    let mut within = leaf.clone();
    within[96] = 1;
    let tables = [
        vec![],
        vec![1, 2, 3],
        u32::MAX.to_le_bytes().to_vec(),
        charsmap(&[], b"a\0"),
        charsmap(&[0], b"a\0"),
        charsmap(&[u32::MAX; 256], b"a\0"),
        charsmap(&leaf, b"a\0"),
        charsmap(&within, "é\0".as_bytes()),
        charsmap(&[0; 256], &[0xff, 0xfe]),
        vec![0; 5 << 20],
        (0..4000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect(),
    ];
    for table in tables {
        let normalizer =
            json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(&table)});
        for normalizer in [
            normalizer.clone(),
            json!({"type": "Sequence", "normalizers": [normalizer]}),
        ] {
            let opened = changed("roberta", |json| json["normalizer"] = normalizer);
            refused(opened, "its normalization table is damaged");
        }
    }
    let opened = changed("roberta", |json| {
        json["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "!!"});
    });
    refused(opened, "is not base64");
    let sound = charsmap(&within, b"xyz\0");
    let sound = json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(sound)});
    let sound = changed("roberta", |json| json["normalizer"] = sound).unwrap();
    let texts = [("aa".to_owned(), None), ("yzyz".to_owned(), None)];
    let encoded = sound.encode(&texts, 16).unwrap();
    assert_eq!(encoded.ids(0), encoded.ids(1));
}

#[test]
fn a_normalization_table_with_any_byte_changed_is_refused_or_does_no_harm() {
    let good = kind("xlm_roberta", "tokenizer.json")["normalizer"]["precompiled_charsmap"].clone();
    let good = STANDARD.decode(good.as_str().unwrap()).unwrap();
    let texts = [
        "Ｆｕｌｌ ｗｉｄｔｈ ﬁne ① ㌀ e\u{301} \u{200b}\u{a0}½",
        "ab\u{ad}c\u{1100}\u{1161} …",
    ];
    let mut sound = 0;
    for at in (0..good.len()).step_by(11) {
        let mut table = good.clone();
        table[at] ^= 0x5a;
        if super::check_charsmap(&table).is_err() {
            continue;
        }
        sound += 1;
        let value = json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(table)});
        use tokenizers::Normalizer;
        let normalizer: tokenizers::normalizers::NormalizerWrapper =
            serde_json::from_value(value).unwrap();
        for text in texts {
            let mut text = tokenizers::NormalizedString::from(text);
            normalizer.normalize(&mut text).unwrap();
        }
    }
    assert!(sound > 0);
}

#[test]
fn a_model_file_of_other_bytes_is_refused() {
    let source = in_repository("tests/fixtures/tokenizers/albert/spiece.model");
    let good = std::fs::read(source).unwrap();
    let with = |bytes: &[u8]| open_with("albert", "spiece.model", bytes);
    assert!(with(&good).is_ok());
    refused(with(b""), "it has no pieces");
    refused(
        with(b"hello world, this is text\n"),
        "is no SentencePiece model",
    );
    let noise: Vec<u8> = (0..100_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    refused(with(&noise), "is no SentencePiece model");
    // A piece of 2³² − 1 bytes, and one inside of another that ends before it.
    refused(
        with(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        "is no SentencePiece model",
    );
    refused(
        with(&[0x0a, 0x04, 0x0a, 0xff, 0x7f, 0x61]),
        "is no SentencePiece model",
    );
    refused(
        with(&[0x0a, 0x03, 0x0a, 0x01, 0xff]),
        "is no SentencePiece model",
    );
    let long = {
        let piece = vec![b'a'; 2000];
        let mut bytes = vec![0x0a, 0xd3, 0x0f, 0x0a, 0xd0, 0x0f];
        bytes.extend(piece);
        bytes
    };
    refused(with(&long), "has 2000 bytes, more than 1000");
    let nan = [0x0a, 0x08, 0x0a, 0x01, b'a', 0x15, 0, 0, 0xc0, 0x7f];
    refused(with(&nan), "NaN");
    let zeros = vec![0; 40 << 20];
    refused(with(&zeros), "no vocabulary needs more");
    for cut in (1..good.len()).step_by(97) {
        // Cut between two messages it may be a smaller model.
        let _ = with(&good[..cut]);
    }
}

#[test]
fn a_piece_too_long_for_a_stack_is_refused() {
    let opened = changed("xlm_roberta", |json| {
        let piece = json!(["a".repeat(1_000_000), -1.0]);
        json["model"]["vocab"].as_array_mut().unwrap().push(piece);
    });
    refused(opened, "a piece of 1000000 bytes");
}

#[test]
fn a_regular_expression_that_explodes_is_an_error_of_the_row() {
    let opened = changed("modernbert", |json| {
        json["pre_tokenizer"] = json!({
            "type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": false
        });
    });
    let tokenizer = opened.unwrap();
    let began = Instant::now();
    let rows = [("fish".to_owned(), None), ("x".repeat(200), None)];
    let error = tokenizer.encode(&rows, 64).unwrap_err();
    assert!(
        matches!(&error, TextError::Row { row: 1, message } if message.contains("retry-limit")),
        "{error}"
    );
    assert!(began.elapsed() < SOON);
    let opened = changed("modernbert", |json| {
        json["pre_tokenizer"] = json!({
            "type": "Split", "pattern": {"Regex": "(x"}, "behavior": "Isolated", "invert": false
        });
    });
    refused(opened, "is no tokenizer");
}
