//! Claims about windows: those of transformers, nothing lost, nothing owned twice, every answer whole somewhere.
//!
//! `tests/fixtures/windows_transformers.json` holds what transformers 5.23 gives with the tokenizer of all-MiniLM-L6-v2:
//! for lists of words (those that yield no token written as `[UNK]`, as here) and for questions with contexts the ids of
//! every window, the words and offsets of their tokens, and where `run_qa.py` puts an answer (kept from running past the
//! context). Of two whole data sets it holds the number of windows and a checksum over all numbers.

use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::text::answers::{self, NO_ANSWER};
use crate::text::tests::{assets, go_on, in_repository, json_at};
use crate::text::train::tests::small_tokenizer;

fn minilm() -> Option<Tokenizer> {
    let folder = assets()?.join("models/all-MiniLM-L6-v2");
    Some(Tokenizer::open(&folder).unwrap())
}

fn reference() -> Value {
    json_at(&in_repository("tests/fixtures/windows_transformers.json"))
}

fn numbers(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn setting(case: &Value, name: &str) -> usize {
    case[name].as_u64().unwrap() as usize
}

/// A tokenizer that knows letters and words made of `ab`, so that one word becomes up to ten tokens.
fn letters() -> Tokenizer {
    let vocabulary = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##a", "##b", "ab", ".",
    ];
    Tokenizer::from_vocabulary(&vocabulary.map(str::to_owned), true).unwrap()
}

#[test]
fn words_are_encoded_and_cut_as_by_transformers() {
    let Some(tokenizer) = minilm() else { return };
    let reference = reference();
    let cases = reference["words"].as_array().unwrap();
    assert!(cases.len() >= 40);
    for case in cases {
        let words: Vec<String> = serde_json::from_value(case["words"].clone()).unwrap();
        let (max_length, stride) = (setting(case, "max_length"), setting(case, "stride"));
        let rows = [words];
        let encoded = tokenizer.encode_words(&rows, max_length, stride, &mut go_on);
        let encoded = encoded.unwrap();
        let windows = case["windows"].as_array().unwrap();
        assert_eq!(encoded.rows(), windows.len(), "{case}");
        for (row, window) in windows.iter().enumerate() {
            assert_eq!(encoded.ids(row), numbers(&window["ids"]), "{case}");
            assert!(encoded.type_ids(row).iter().all(|type_id| *type_id == 0));
            for (token, &word) in encoded.words(row).unwrap().iter().enumerate() {
                let word_of = |token: usize| window["word_ids"][token].as_u64();
                if word != NONE {
                    assert_eq!(word_of(token), Some(u64::from(word)), "{case}");
                    // The token before is the end of another word, or special.
                    assert_ne!(word_of(token - 1), Some(u64::from(word)), "{case}");
                }
            }
        }
    }
}

#[test]
fn questions_are_encoded_and_cut_as_by_transformers() {
    let Some(tokenizer) = minilm() else { return };
    let reference = reference();
    let cases = reference["questions"].as_array().unwrap();
    assert!(cases.len() >= 40);
    for case in cases {
        let text = |name: &str| [case[name].as_str().unwrap()];
        let (max_length, stride) = (setting(case, "max_length"), setting(case, "stride"));
        let (question, context) = (text("question"), text("context"));
        let encoded =
            tokenizer.encode_questions(&question, &context, max_length, stride, &mut go_on);
        let encoded = encoded.unwrap();
        let windows = case["windows"].as_array().unwrap();
        assert_eq!(encoded.rows(), windows.len(), "{case}");
        assert_eq!(encoded.truncated(), 0);
        let answer: Option<[u32; 2]> = serde_json::from_value(case["answer"].clone()).unwrap();
        let answer = answer.map(|[start, end]| start..end);
        let answers = answers::in_rows(&encoded, std::slice::from_ref(&answer)).unwrap();
        for (row, window) in windows.iter().enumerate() {
            assert_eq!(encoded.ids(row), numbers(&window["ids"]), "{case}");
            let type_ids = encoded.type_ids(row).iter().map(|id| u32::from(*id));
            assert_eq!(
                type_ids.collect::<Vec<_>>(),
                numbers(&window["type_ids"]),
                "{case}"
            );
            let (start, end) = encoded.characters(row).unwrap();
            for (token, place) in window["offsets"].as_array().unwrap().iter().enumerate() {
                let wanted = match place {
                    Value::Null => vec![NONE, NONE],
                    place => numbers(place),
                };
                assert_eq!([start[token], end[token]], wanted[..], "{token}: {case}");
            }
            if answer.is_some() {
                assert_eq!(answers[row], numbers(&window["answer"])[..], "{case}");
            }
        }
    }
}

/// FNV-1a over 32-bit numbers.
struct Checksum(u64);

impl Checksum {
    fn add(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x0100_0000_01b3);
    }
}

const EMPTY: Checksum = Checksum(0xcbf2_9ce4_8422_2325);

#[test]
fn a_whole_set_of_tagged_sentences_is_cut_as_by_transformers() {
    let (Some(assets), Some(tokenizer)) = (assets(), minilm()) else {
        return;
    };
    let wanted = &reference()["wnut17_test"];
    let text = std::fs::read_to_string(assets.join("data/wnut17/test.conll")).unwrap();
    let mut sentences: Vec<Vec<&str>> = vec![Vec::new()];
    for line in text.lines() {
        match line.split('\t').next() {
            Some(word) if !line.trim().is_empty() => sentences.last_mut().unwrap().push(word),
            _ => sentences.push(Vec::new()),
        }
    }
    sentences.retain(|words| !words.is_empty());
    let (max_length, stride) = (setting(wanted, "max_length"), setting(wanted, "stride"));
    let encoded = tokenizer.encode_words(&sentences, max_length, stride, &mut go_on);
    let encoded = encoded.unwrap();
    assert_eq!(encoded.examples(), setting(wanted, "rows"));
    assert_eq!(encoded.rows(), setting(wanted, "windows"));
    let owned = (0..encoded.rows()).flat_map(|row| encoded.words(row).unwrap());
    let owned = owned.filter(|word| **word != NONE).count();
    assert_eq!(owned, setting(wanted, "words"));
    let mut checksum = EMPTY;
    for row in 0..encoded.rows() {
        encoded.ids(row).iter().for_each(|id| checksum.add(*id));
    }
    assert_eq!(checksum.0.to_string(), wanted["fnv"].as_str().unwrap());
}

/// A file in the format of SQuAD.
struct Squad {
    questions: Vec<String>,
    contexts: Vec<String>,
    /// The characters and the text of the first answer.
    answers: Vec<Option<(Range<u32>, String)>>,
}

fn squad(path: &Path) -> Squad {
    let mut all = Squad {
        questions: Vec::new(),
        contexts: Vec::new(),
        answers: Vec::new(),
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for article in json_at(path)["data"].as_array().unwrap() {
        for paragraph in article["paragraphs"].as_array().unwrap() {
            for question in paragraph["qas"].as_array().unwrap() {
                all.questions.push(text(&question["question"]));
                all.contexts.push(text(&paragraph["context"]));
                let answer = question["answers"].get(0).map(|answer| {
                    let start = answer["answer_start"].as_u64().unwrap() as u32;
                    let text = text(&answer["text"]);
                    (start..start + text.chars().count() as u32, text)
                });
                all.answers.push(answer);
            }
        }
    }
    all
}

impl Squad {
    fn characters(&self) -> Vec<Option<Range<u32>>> {
        let characters = |answer: &Option<(Range<u32>, String)>| Some(answer.as_ref()?.0.clone());
        self.answers.iter().map(characters).collect()
    }
}

#[test]
fn a_whole_set_of_questions_is_cut_as_by_transformers() {
    let (Some(assets), Some(tokenizer)) = (assets(), minilm()) else {
        return;
    };
    let wanted = &reference()["squad_v2_dev"];
    let squad = squad(&assets.join("data/squad_v2/dev.json"));
    let (max_length, stride) = (setting(wanted, "max_length"), setting(wanted, "stride"));
    let (questions, contexts) = (&squad.questions, &squad.contexts);
    let encoded = tokenizer.encode_questions(questions, contexts, max_length, stride, &mut go_on);
    let encoded = encoded.unwrap();
    assert_eq!(encoded.examples(), setting(wanted, "questions"));
    assert_eq!(encoded.rows(), setting(wanted, "windows"));
    let answers = answers::in_rows(&encoded, &squad.characters()).unwrap();
    let found = answers.iter().filter(|answer| **answer != [0, 0]).count();
    assert_eq!(found, setting(wanted, "with_answer"));
    let mut checksum = EMPTY;
    for (row, answer) in answers.iter().enumerate() {
        let (start, end) = encoded.characters(row).unwrap();
        for token in 0..start.len() {
            checksum.add(encoded.ids(row)[token]);
            checksum.add(u32::from(encoded.type_ids(row)[token]));
            if start[token] != NONE {
                checksum.add(start[token]);
                checksum.add(end[token]);
            }
        }
        answer.iter().for_each(|token| checksum.add(*token));
    }
    assert_eq!(checksum.0.to_string(), wanted["fnv"].as_str().unwrap());
}

/// The characters of a text from one to another, the end exclusive.
fn slice(text: &str, characters: Range<u32>) -> String {
    let characters = characters.start as usize..characters.end as usize;
    let length = characters.len();
    text.chars().skip(characters.start).take(length).collect()
}

#[test]
fn answers_in_paragraphs_beyond_ascii_are_whole_in_a_window_and_read_back() {
    let Some(tokenizer) = minilm() else { return };
    let data = assets().unwrap().join("data/squad_v2");
    let mut seen = 0;
    for file in ["train.json", "dev.json"] {
        let squad = squad(&data.join(file));
        let (questions, contexts) = (&squad.questions, &squad.contexts);
        let stride = 24;
        let encode = |max_length| {
            let encoded =
                tokenizer.encode_questions(questions, contexts, max_length, stride, &mut go_on);
            encoded.unwrap()
        };
        let (whole, cut) = (encode(4096), encode(96));
        assert_eq!(whole.rows(), whole.examples());
        let tokens = answers::in_rows(&whole, &squad.characters()).unwrap();
        let found = answers::in_rows(&cut, &squad.characters()).unwrap();
        let mut held = vec![false; cut.examples()];
        for (row, &[first, last]) in found.iter().enumerate() {
            let example = cut.example(row);
            let Some((characters, text)) = &squad.answers[example] else {
                assert_eq!((first, last), NO_ANSWER);
                continue;
            };
            if (first, last) == NO_ANSWER {
                continue;
            }
            let (start, end) = cut.characters(row).unwrap();
            let from_to = start[first as usize]..end[last as usize];
            let context = &contexts[example];
            assert_eq!(&slice(context, characters.clone()), text);
            let read = slice(context, from_to.clone());
            assert!(read.contains(text.as_str()), "{read:?} lacks {text:?}");
            // Where the answer begins and ends with tokens, nothing else is read.
            let exact = start.contains(&characters.start) && end.contains(&characters.end);
            assert!(!exact || &read == text, "{read:?} is not {text:?}");
            held[example] = true;
        }
        for (example, held) in held.into_iter().enumerate() {
            let [first, last] = tokens[example];
            if contexts[example].is_ascii() || squad.answers[example].is_none() {
                continue;
            }
            seen += 1;
            assert_ne!((first, last), NO_ANSWER, "{:?}", squad.answers[example]);
            let fits = ((last - first) as usize) < stride;
            assert!(held || !fits, "{:?}", squad.answers[example]);
        }
        assert!(answers::torn(&cut, &squad.characters()) < squad.answers.len() / 20);
    }
    assert!(seen > 100, "{seen} answers in paragraphs beyond ASCII");
}

/// Words that become no token, one, or many.
const WORD: &str =
    r"(|a|b|ab|\.|[ab]{1,10}|a b|x|\u{fe0f}|\u{0}|é|a\u{301}|漢字|\[SEP\]|\u{1f41f})";
/// Texts of such words, with white space of all kinds around them.
const TEXT: &str = r"[ \n\u{a0}\u{3000}]{0,2}((a|b|ab|\.|[ab]{1,10}|x|\u{fe0f}|\u{0}|é|a\u{301}|漢字|İ|ﬁ|\[SEP\]|\u{1f41f})[ \n\u{a0}]{0,2}){0,30}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_word_is_owned_once_and_no_token_is_lost(
        rows in prop::collection::vec(prop::collection::vec(WORD, 0..30), 1..5),
        max_length in 4_usize..20,
        stride in any::<prop::sample::Index>(),
    ) {
        let tokenizer = letters();
        let room = max_length - 2;
        let stride = stride.index(room);
        let encoded = tokenizer.encode_words(&rows, max_length, stride, &mut go_on).unwrap();
        let whole = tokenizer.encode_words(&rows, 4096, 0, &mut go_on).unwrap();
        prop_assert_eq!(whole.rows(), rows.len());
        prop_assert_eq!(encoded.full_lengths(), whole.full_lengths());
        prop_assert_eq!(encoded.truncated(), 0);
        let mut row = 0;
        for (example, words) in rows.iter().enumerate() {
            let firsts = whole.words(example).unwrap();
            let text = &whole.ids(example)[1..whole.ids(example).len() - 1];
            let mut owned = Vec::new();
            let mut covered = 0;
            let windows: Vec<_> = windows(text.len(), room, stride).collect();
            for window in &windows {
                prop_assert_eq!(encoded.example(row), example);
                prop_assert!(window.start <= covered && window.end >= covered);
                covered = window.end;
                let ids = encoded.ids(row);
                prop_assert!(ids.len() <= max_length);
                prop_assert_eq!(&ids[1..ids.len() - 1], &text[window.clone()]);
                for (token, &word) in encoded.words(row).unwrap().iter().enumerate() {
                    if word == NONE {
                        continue;
                    }
                    let place = window.start + token - 1;
                    prop_assert_eq!(firsts[place + 1], word, "a first token");
                    owned.push(word);
                    let poorer = |window: &Range<usize>| {
                        let holds = window.contains(&place);
                        holds.then(|| (place - window.start).min(window.end - 1 - place))
                    };
                    let best = windows.iter().map(poorer).max().unwrap();
                    prop_assert_eq!(poorer(window), best);
                    let earlier = windows.iter().take_while(|other| *other != window);
                    prop_assert!(earlier.map(poorer).all(|other| other < best), "a tie is the earlier's");
                }
                row += 1;
            }
            prop_assert_eq!(covered, text.len());
            prop_assert_eq!(owned, (0..words.len() as u32).collect::<Vec<_>>());
        }
        prop_assert_eq!(row, encoded.rows());
    }

    #[test]
    fn an_answer_no_longer_than_the_stride_is_whole_in_a_window(
        question in TEXT,
        context in TEXT,
        max_length in 6_usize..40,
        stride in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
        length in any::<prop::sample::Index>(),
    ) {
        let tokenizer = letters();
        let stride = stride.index(max_length - 3);
        let (questions, contexts) = ([question], [context.as_str()]);
        let questions = questions.each_ref().map(String::as_str);
        let encoded = tokenizer.encode_questions(&questions, &contexts, max_length, stride, &mut go_on).unwrap();
        let whole = tokenizer.encode_questions(&questions, &contexts, 4096, 0, &mut go_on).unwrap();
        prop_assert_eq!(whole.rows(), 1);
        for row in 0..encoded.rows() {
            prop_assert!(encoded.ids(row).len() <= max_length);
            let (start, end) = encoded.characters(row).unwrap();
            for (&start, &end) in start.iter().zip(end) {
                prop_assert!(start == NONE && end == NONE || end as usize <= context.chars().count());
            }
        }
        let (start, end) = whole.characters(0).unwrap();
        let tokens: Vec<usize> = (0..start.len()).filter(|token| start[*token] != NONE).collect();
        let sizes = tokenizer.encode(&[(questions[0].to_owned(), None)], 4096).unwrap();
        let (_, _, stride) = shares(sizes.tokens() - 2, tokens.len(), max_length - 3, stride);
        if tokens.is_empty() || stride == 0 {
            return Ok(());
        }
        let from = from.index(tokens.len());
        let to = (from + length.index(stride)).min(tokens.len() - 1);
        let answer = start[tokens[from]]..end[tokens[to]];
        prop_assume!(!answer.is_empty());
        prop_assert_eq!(answers::torn(&encoded, &[Some(answer.clone())]), 0);
        for (row, &[first, last]) in answers::in_rows(&encoded, &[Some(answer.clone())]).unwrap().iter().enumerate() {
            if (first, last) == NO_ANSWER {
                continue;
            }
            let (start, end) = encoded.characters(row).unwrap();
            let read = start[first as usize]..end[last as usize];
            prop_assert_eq!(slice(&context, read), slice(&context, answer.clone()));
        }
    }
}

#[test]
fn windows_share_their_stride_and_end_with_the_text() {
    let all = |length, room, stride| {
        let bounds = windows(length, room, stride).map(|window| (window.start, window.end));
        bounds.collect::<Vec<_>>()
    };
    assert_eq!(all(0, 4, 1), [(0, 0)]);
    assert_eq!(all(4, 4, 1), [(0, 4)]);
    assert_eq!(all(5, 4, 1), [(0, 4), (3, 5)]);
    assert_eq!(all(7, 4, 1), [(0, 4), (3, 7)]);
    assert_eq!(all(8, 4, 1), [(0, 4), (3, 7), (6, 8)]);
    assert_eq!(all(6, 4, 0), [(0, 4), (4, 6)]);
    assert_eq!(all(6, 4, 3), [(0, 4), (1, 5), (2, 6)]);
}

#[test]
fn a_question_is_cut_only_where_transformers_would_refuse_it() {
    assert_eq!(shares(4, 100, 20, 8), (4, 16, 8), "as it is");
    assert_eq!(shares(11, 100, 20, 8), (11, 9, 8), "more than half");
    assert_eq!(shares(12, 100, 20, 8), (10, 10, 8), "no room for a stride");
    assert_eq!(shares(30, 100, 20, 12), (10, 10, 5), "nor for half");
    assert_eq!(shares(18, 2, 20, 8), (18, 2, 1), "both fit");
    assert_eq!(shares(30, 2, 20, 8), (18, 2, 1), "to what is left");
    assert_eq!(shares(30, 0, 20, 8), (20, 0, 0));
    assert_eq!(shares(0, 9, 1, 0), (0, 1, 0));
    assert_eq!(shares(9, 9, 1, 0), (0, 1, 0));
}

#[test]
fn a_question_that_was_cut_is_counted() {
    let tokenizer = letters();
    let questions = ["a ".repeat(30), "a".to_owned()];
    let contexts = ["b ".repeat(30), "b ".repeat(30)];
    let encoded = tokenizer.encode_questions(&questions, &contexts, 13, 2, &mut go_on);
    let encoded = encoded.unwrap();
    assert_eq!(encoded.truncated(), 1);
    assert_eq!(encoded.full_lengths(), [63, 34]);
    let a = tokenizer
        .encode(&[("a".to_owned(), None)], 8)
        .unwrap()
        .ids(0)[1];
    let kept = |row| encoded.ids(row).iter().filter(|id| **id == a).count();
    assert_eq!(kept(0), 5);
    assert_eq!(kept(encoded.rows() - 1), 1);
}

#[test]
fn a_word_without_a_token_is_the_unknown_token() {
    let tokenizer = letters();
    let rows = [vec!["a", "\u{fe0f}", "", "b"]];
    let encoded = tokenizer.encode_words(&rows, 16, 2, &mut go_on).unwrap();
    assert_eq!(encoded.ids(0), [2, 5, 1, 1, 6, 3]);
    assert_eq!(encoded.words(0).unwrap(), [NONE, 0, 1, 2, 3, NONE]);
    assert_eq!(encoded.unknown(), 2);
}

#[test]
fn a_split_without_rows_still_says_what_its_rows_are() {
    let tokenizer = letters();
    let none: [Vec<&str>; 0] = [];
    let words = tokenizer.encode_words(&none, 16, 2, &mut go_on).unwrap();
    assert_eq!((words.rows(), words.examples()), (0, 0));
    assert_eq!(words.words.as_deref(), Some(&[][..]));
    let none: [&str; 0] = [];
    let questions = tokenizer.encode_questions(&none, &none, 16, 2, &mut go_on);
    assert!(questions.unwrap().characters.is_some());
}

#[test]
fn a_stride_that_leaves_nothing_new_or_a_row_without_room_is_an_error() {
    let tokenizer = letters();
    let words = [vec!["a"]];
    let encode =
        |max_length, stride| tokenizer.encode_words(&words, max_length, stride, &mut go_on);
    assert!(encode(6, 3).is_ok());
    assert!(matches!(
        encode(6, 4),
        Err(TextError::StrideTooLong {
            stride: 4,
            max_length: 6,
            added: 2
        })
    ));
    assert!(matches!(encode(2, 0), Err(TextError::NoRoom { .. })));
    let ask = |max_length, stride| {
        tokenizer.encode_questions(&["a"], &["b"], max_length, stride, &mut go_on)
    };
    assert!(ask(6, 2).is_ok());
    assert!(matches!(ask(6, 3), Err(TextError::StrideTooLong { .. })));
    assert!(matches!(ask(3, 0), Err(TextError::NoRoom { .. })));
}

#[test]
fn a_tokenizer_that_turns_a_pair_round_cuts_no_windows() {
    let Some(folder) = assets().map(|assets| assets.join("models/all-MiniLM-L6-v2")) else {
        return;
    };
    let mut json = json_at(&folder.join("tokenizer.json"));
    json["post_processor"]["pair"]
        .as_array_mut()
        .unwrap()
        .swap(1, 3);
    let turned = tempfile::tempdir().unwrap();
    std::fs::write(turned.path().join("tokenizer.json"), json.to_string()).unwrap();
    let tokenizer = Tokenizer::open(turned.path()).unwrap();
    let asked = tokenizer.encode_questions(&["a"], &["b"], 16, 2, &mut go_on);
    assert!(matches!(asked, Err(TextError::NoWindows)));
    let words = tokenizer.encode_words(&[vec!["a"]], 16, 2, &mut go_on);
    assert_eq!(words.unwrap().rows(), 1);
}

/// The long way round, for a tokenizer that is not BERT's: white space goes with the word behind it and is trimmed off.
#[test]
fn another_kind_of_tokenizer_is_cut_into_windows_too() {
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
        "added_tokens": [],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
                           "trim_offsets": true, "add_prefix_space": false},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "vocab": {"<s>": 0, "<pad>": 1, "</s>": 2, "a": 3, "b": 4, "Ġ": 5, "Ġa": 6, "Ã": 7, "©": 8},
                  "merges": ["Ġ a"]}
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    let config = r#"{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}"#;
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    let encoded = tokenizer.encode_questions(&["b"], &["a a a ab a"], 8, 1, &mut go_on);
    let encoded = encoded.unwrap();
    assert_eq!(encoded.ids(0), [0, 4, 2, 2, 3, 6, 6, 2]);
    assert_eq!(encoded.ids(1), [0, 4, 2, 2, 6, 6, 4, 2]);
    assert_eq!(encoded.ids(2), [0, 4, 2, 2, 4, 6, 2]);
    assert_eq!(encoded.type_ids(1), [0; 8]);
    let (start, end) = encoded.characters(1).unwrap();
    assert_eq!(start, [NONE, NONE, NONE, NONE, 4, 6, 7, NONE]);
    assert_eq!(end, [NONE, NONE, NONE, NONE, 5, 7, 8, NONE]);
    // An empty word has no token, and there is no unknown one.
    let words = [vec!["é", "", "b"]];
    let encoded = tokenizer.encode_words(&words, 8, 1, &mut go_on).unwrap();
    assert_eq!(encoded.ids(0), [0, 7, 8, 1, 4, 2]);
    assert_eq!(encoded.words(0).unwrap(), [NONE, 0, NONE, 1, 2, NONE]);
}

#[test]
fn the_number_of_threads_does_not_change_the_windows() {
    let tokenizer = small_tokenizer();
    let words: Vec<Vec<&str>> = (0..1000)
        .map(|row| ["red", "fish", "blue"].repeat(row % 7))
        .collect();
    let texts: Vec<String> = words.iter().map(|words| words.join(" ")).collect();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let words = tokenizer.encode_words(&words, 12, 3, &mut go_on).unwrap();
            let questions = tokenizer.encode_questions(&texts, &texts, 16, 3, &mut go_on);
            (words, questions.unwrap())
        })
    };
    let (words, questions) = with(1);
    assert_eq!((words.examples(), questions.examples()), (1000, 1000));
    assert!(words.rows() > 1000 && questions.rows() > 1000);
    assert_eq!((words, questions), with(4));
}

#[test]
fn cutting_windows_stops_when_told_to() {
    let tokenizer = letters();
    let stop = &mut |_: usize| ControlFlow::Break(());
    assert!(matches!(
        tokenizer.encode_words(&[vec!["a"]], 8, 1, stop),
        Err(TextError::Interrupted)
    ));
    assert!(matches!(
        tokenizer.encode_questions(&["a"], &["a"], 8, 1, stop),
        Err(TextError::Interrupted)
    ));
}

#[test]
fn a_hundred_thousand_characters_become_windows() {
    let Some(tokenizer) = minilm() else { return };
    for text in [
        "a ".repeat(50_000),
        "é".repeat(100_000),
        "漢".repeat(100_000),
        "🤷 ".repeat(50_000),
    ] {
        let encoded = tokenizer.encode_questions(&["a"], &[text.as_str()], 384, 128, &mut go_on);
        let encoded = encoded.unwrap();
        let (_, end) = encoded.characters(encoded.rows() - 1).unwrap();
        let last = end.iter().filter(|end| **end != NONE).max();
        assert_eq!(last, Some(&(text.trim_end().chars().count() as u32)));
        let words: Vec<&str> = text.split(' ').collect();
        let count = words.len();
        let encoded = tokenizer.encode_words(&[words], 384, 128, &mut go_on);
        let encoded = encoded.unwrap();
        let owned = (0..encoded.rows()).flat_map(|row| encoded.words(row).unwrap());
        assert_eq!(owned.filter(|word| **word != NONE).count(), count);
    }
}
