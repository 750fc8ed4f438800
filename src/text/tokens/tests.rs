//! Claims about the tokens artifact: what was written is read back, and what is damaged is an error that says so.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::*;
use crate::text::train::tests::small_tokenizer;
use crate::text::{Encoded, NONE};

fn class(label: Option<&[u32]>) -> Labelled<'_> {
    Labelled {
        label,
        ..Labelled::default()
    }
}

fn written(label: Option<&[u32]>) -> (tempfile::TempDir, Encoded) {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = small_tokenizer();
    let texts = [
        ("red fish", Some("blue fish")),
        ("", None),
        ("one fish two fish", None),
    ]
    .map(|(text, pair)| (text.to_owned(), pair.map(str::to_owned)));
    let encoded = tokenizer.encode(&texts, 5).unwrap();
    let names = vec!["no".to_owned(), "yes".to_owned()];
    let mut card = TokensCard::new(&tokenizer, 5, Some(names));
    card.splits.insert(
        "train".to_owned(),
        write_split(folder.path(), "train", &encoded, &[7, 8, 9], &class(label)).unwrap(),
    );
    write_card(folder.path(), &card, &tokenizer).unwrap();
    (folder, encoded)
}

#[test]
fn what_was_written_is_read_back() {
    let (folder, encoded) = written(Some(&[0, 1, 0]));
    let tokens = Tokens::open(folder.path()).unwrap();
    let train = tokens.split("train").unwrap();
    assert_eq!(tokens.split_names().collect::<Vec<_>>(), ["train"]);
    assert_eq!(train.rows(), 3);
    for row in 0..3 {
        assert_eq!(train.ids(row), encoded.ids(row));
        assert_eq!(train.type_ids(row), encoded.type_ids(row));
        assert_eq!(train.length(row), encoded.ids(row).len());
        assert_eq!(train.id(row), 7 + row as u64);
    }
    assert_eq!(train.label(1), Some(1));
    assert_eq!(train.type_ids(0), [0, 0, 0, 1, 1]);
    assert_eq!(tokens.card().splits["train"].truncated, 2);
    let tokenizer = Tokenizer::open(tokens.tokenizer_folder()).unwrap();
    assert_eq!(tokenizer.digest(), tokens.tokenizer_digest());
}

#[test]
fn rows_without_labels_have_none() {
    let (folder, _) = written(None);
    assert_eq!(
        Tokens::open(folder.path())
            .unwrap()
            .split("train")
            .unwrap()
            .label(0),
        None
    );
}

#[test]
fn an_empty_split_can_be_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = small_tokenizer();
    let encoded = tokenizer.encode(&[], 8).unwrap();
    let mut card = TokensCard::new(&tokenizer, 8, None);
    card.splits.insert(
        "test".to_owned(),
        write_split(folder.path(), "test", &encoded, &[], &Labelled::default()).unwrap(),
    );
    write_card(folder.path(), &card, &tokenizer).unwrap();
    assert_eq!(
        Tokens::open(folder.path())
            .unwrap()
            .split("test")
            .unwrap()
            .rows(),
        0
    );
}

#[test]
fn damage_is_an_error_that_names_it() {
    type Harm = fn(&mut Encoded, &mut Vec<u64>, &mut Vec<u32>);
    let harms: [(&str, Harm); 6] = [
        ("offsets run backwards at row 1", |e, _, _| e.offsets[2] = 0),
        ("offsets do not run from 0", |e, _, _| e.offsets[0] = 1),
        ("offsets do not run from 0", |e, _, _| e.offsets[3] += 1),
        ("outside the vocabulary", |e, _, _| e.ids[2] = 1 << 30),
        ("the label 2 has no name", |_, _, labels| labels[0] = 2),
        ("more than max_length = 5", |e, _, _| {
            e.offsets[1..3].copy_from_slice(&[5, 6])
        }),
    ];
    for (problem, harm) in harms {
        let (folder, mut encoded) = written(Some(&[0, 1, 0]));
        let (mut id, mut label) = (vec![7, 8, 9], vec![0, 1, 0]);
        harm(&mut encoded, &mut id, &mut label);
        write_split(folder.path(), "train", &encoded, &id, &class(Some(&label))).unwrap();
        let error = Tokens::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error} does not say {problem}");
    }
    // A column that is too short is not even written.
    let (folder, mut encoded) = written(None);
    encoded.type_ids.truncate(11);
    let short = write_split(folder.path(), "train", &encoded, &[7, 8, 9], &class(None));
    let error = miette::Report::new(short.unwrap_err());
    let error = format!("{error:?}");
    let problem = "type_ids does not have one entry for each row";
    assert!(error.contains(problem), "{error} does not say {problem}");
}

#[test]
fn a_cut_or_emptied_or_missing_file_is_an_error() {
    for keep in [Some(0), Some(7), Some(40), Some(300), None] {
        let (folder, _) = written(None);
        let path = folder.path().join("train.safetensors");
        match keep {
            Some(keep) => std::fs::write(&path, &std::fs::read(&path).unwrap()[..keep]).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        Tokens::open(folder.path()).unwrap_err();
    }
}

#[test]
fn a_misaligned_column_is_an_error() {
    let (folder, _) = written(None);
    let path = folder.path().join("train.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let mut moved = (header + 1).to_le_bytes().to_vec();
    moved.extend_from_slice(&bytes[8..8 + header as usize]);
    moved.push(b' ');
    moved.extend_from_slice(&bytes[8 + header as usize..]);
    std::fs::write(&path, moved).unwrap();
    let error = Tokens::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("is not aligned"), "{error}");
}

#[test]
fn percentiles_are_nearest_ranks() {
    let lengths: Vec<u32> = (1..=200).rev().collect();
    assert_eq!(
        Lengths::of(&lengths),
        Lengths {
            p50: 100,
            p90: 180,
            p95: 190,
            p99: 198,
            max: 200
        }
    );
    assert_eq!(Lengths::of(&[]), Lengths::default());
    assert_eq!(
        Lengths::of(&[3]),
        Lengths {
            p50: 3,
            p90: 3,
            p95: 3,
            p99: 3,
            max: 3
        }
    );
}

fn go_on(_: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Three lists of words, the first in several windows, as `words`; three questions, the second in several, as
/// `questions`; and texts with labels and numbers as `numbers`.
fn windowed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let vocabulary = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "red", "blue", "fish",
    ];
    let tokenizer = Tokenizer::from_vocabulary(&vocabulary.map(str::to_owned), true).unwrap();
    let names = ["O", "B", "I"].map(str::to_owned).to_vec();
    let mut card = TokensCard::new(&tokenizer, 7, Some(names));
    card.target_names = Some(vec!["height".to_owned(), "depth".to_owned()]);
    card.stride = Some(2);
    let mut add = |name: &str, encoded: &Encoded, labelled: Labelled| {
        let split = write_split(folder.path(), name, encoded, &[7, 8, 9], &labelled).unwrap();
        card.splits.insert(name.to_owned(), split);
    };
    let words: [Vec<&str>; 3] = [
        "one fish two fish red fish blue fish".split(' ').collect(),
        vec![],
        vec!["fish"],
    ];
    let tags = [vec![0, 1, 2, 1, 0, 0, 1, 2], vec![], vec![1]];
    let labelled = Labelled {
        tags: Some(&tags),
        ..Labelled::default()
    };
    add(
        "words",
        &tokenizer.encode_words(&words, 7, 2, &mut go_on).unwrap(),
        labelled,
    );
    let contexts = ["red", "one fish two fish red fish", ""];
    let answers = [None, Some(9..17), None];
    let labelled = Labelled {
        answers: Some(&answers),
        ..Labelled::default()
    };
    let questions = ["two", "one", "red"];
    let encoded = tokenizer.encode_questions(&questions, &contexts, 7, 1, &mut go_on);
    add("questions", &encoded.unwrap(), labelled);
    let (labels, target) = (
        [vec![0, 2], vec![], vec![1]],
        [vec![1.5, 0.0], vec![-2.0, 1e9], vec![0.0, 3.0]],
    );
    let labelled = Labelled {
        labels: Some(&labels),
        target: Some(&target),
        ..Labelled::default()
    };
    let texts = ["red", "one fish", ""].map(|text| (text.to_owned(), None));
    add("numbers", &tokenizer.encode(&texts, 7).unwrap(), labelled);
    write_card(folder.path(), &card, &tokenizer).unwrap();
    folder
}

#[test]
fn windows_know_their_example_and_what_it_is_labelled_with() {
    let folder = windowed();
    let tokens = Tokens::open(folder.path()).unwrap();
    assert_eq!(tokens.stride(), Some(2));
    let words = tokens.split("words").unwrap();
    let examples = |split: &TokenSplit| {
        let rows = 0..split.rows();
        rows.map(|row| split.example(row)).collect::<Vec<_>>()
    };
    assert_eq!((words.rows(), words.examples()), (4, 3));
    assert_eq!(examples(words), [0, 0, 1, 2]);
    assert_eq!((words.id(1), words.id(3)), (7, 9));
    assert_eq!(words.words(0).unwrap(), [NONE, 0, 1, 2, 3, NONE, NONE]);
    assert_eq!(words.words(1).unwrap(), [NONE, NONE, 4, 5, 6, 7, NONE]);
    assert_eq!(words.tags(0).unwrap(), [NONE, 0, 1, 2, 1, NONE, NONE]);
    assert_eq!(words.tags(1).unwrap(), [NONE, NONE, 0, 0, 1, 2, NONE]);
    assert_eq!(words.tags(2).unwrap(), [NONE, NONE]);
    assert_eq!((words.characters(0), words.answer(0)), (None, None));
    let lengths = &tokens.card().splits["words"].lengths;
    assert_eq!((lengths.max, lengths.p50), (10, 3));

    let questions = tokens.split("questions").unwrap();
    assert_eq!(examples(questions), [0, 1, 1, 1, 2]);
    let (start, end) = questions.characters(2).unwrap();
    assert_eq!(start, [NONE, NONE, NONE, 9, 13, 18, NONE]);
    assert_eq!(end, [NONE, NONE, NONE, 12, 17, 21, NONE]);
    let answers = (0..5).map(|row| questions.answer(row).unwrap());
    assert_eq!(
        answers.collect::<Vec<_>>(),
        [(0, 0), (0, 0), (3, 4), (0, 0), (0, 0)]
    );

    let numbers = tokens.split("numbers").unwrap();
    assert_eq!(examples(numbers), [0, 1, 2]);
    assert_eq!(numbers.labels(0), Some(&[0, 2][..]));
    assert_eq!(numbers.labels(1), Some(&[][..]));
    assert_eq!(numbers.targets(1), Some(&[-2.0, 1e9][..]));
    assert_eq!((numbers.words(0), numbers.label(0)), (None, None));
}

#[test]
fn labels_that_do_not_fit_the_examples_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = small_tokenizer();
    let words = [vec!["red", "fish"]];
    let encoded = tokenizer.encode_words(&words, 7, 2, &mut go_on).unwrap();
    for labelled in [
        Labelled {
            label: Some(&[]),
            ..Labelled::default()
        },
        Labelled {
            labels: Some(&[vec![], vec![]]),
            ..Labelled::default()
        },
        Labelled {
            target: Some(&[]),
            ..Labelled::default()
        },
        Labelled {
            tags: Some(&[vec![0]]),
            ..Labelled::default()
        },
        Labelled {
            tags: Some(&[vec![0, 1, 0]]),
            ..Labelled::default()
        },
        Labelled {
            answers: Some(&[None]),
            ..Labelled::default()
        },
    ] {
        let written = write_split(folder.path(), "train", &encoded, &[1], &labelled);
        assert!(
            matches!(written, Err(TextError::Write { .. })),
            "{labelled:?}"
        );
    }
}

#[test]
fn the_pieces_in_which_examples_come_are_not_in_the_bytes() {
    let vocabulary = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "red", "blue", "fish",
    ];
    let tokenizer = Tokenizer::from_vocabulary(&vocabulary.map(str::to_owned), true).unwrap();
    // Some columns of the texts are too large to stay in memory.
    for (rows, kinds) in [(60_000, 0..1), (50, 0..3)] {
        let text = |row: usize| ["one fish two fish red fish", "", "blue fish"][row % 3];
        let texts: Vec<&str> = (0..rows).map(text).collect();
        let words: Vec<Vec<&str>> = texts
            .iter()
            .map(|t| t.split_whitespace().collect())
            .collect();
        let tags: Vec<Vec<u32>> = words.iter().map(|words| vec![1; words.len()]).collect();
        let answers: Vec<_> = (0..rows)
            .map(|row| (row % 3 == 0).then_some(9..17))
            .collect();
        let label: Vec<u32> = (0..rows as u32).map(|row| row % 2).collect();
        let labels: Vec<Vec<u32>> = (0..rows).map(|row| (0..row as u32 % 3).collect()).collect();
        let target: Vec<Vec<f64>> = (0..rows).map(|row| vec![row as f64, 0.5]).collect();
        let ids: Vec<u64> = (5..5 + rows as u64).collect();
        for kind in kinds {
            let bytes = |by: usize| {
                let folder = tempfile::tempdir().unwrap();
                let mut writer = SplitWriter::new(folder.path(), "train");
                for start in (0..rows).step_by(by) {
                    let of = start..rows.min(start + by);
                    let (encoded, labelled) = match kind {
                        0 => {
                            let texts = &texts[of.clone()];
                            let encoded = tokenizer.encode_columns(texts, None, 7, &mut go_on);
                            let labelled = Labelled {
                                label: Some(&label[of.clone()]),
                                labels: Some(&labels[of.clone()]),
                                target: Some(&target[of.clone()]),
                                ..Labelled::default()
                            };
                            (encoded, labelled)
                        }
                        1 => {
                            let words = &words[of.clone()];
                            let encoded = tokenizer.encode_words(words, 6, 2, &mut go_on);
                            let labelled = Labelled {
                                tags: Some(&tags[of.clone()]),
                                ..Labelled::default()
                            };
                            (encoded, labelled)
                        }
                        _ => {
                            let contexts = &texts[of.clone()];
                            let questions = vec!["two"; of.len()];
                            let encoded =
                                tokenizer.encode_questions(&questions, contexts, 7, 1, &mut go_on);
                            let labelled = Labelled {
                                answers: Some(&answers[of.clone()]),
                                ..Labelled::default()
                            };
                            (encoded, labelled)
                        }
                    };
                    let encoded = encoded.unwrap();
                    writer.add(&encoded, &ids[of], &labelled).unwrap();
                }
                let card = writer.finish().unwrap();
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
                (
                    card,
                    std::fs::read(split_path(folder.path(), "train")).unwrap(),
                )
            };
            let whole = bytes(rows);
            let by = rows / 7;
            assert!(bytes(by) == whole, "kind {kind}, by {by}");
        }
    }
}

/// Name → type, shape and bytes of each column of a file.
type Columns = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn columns(path: &Path) -> Columns {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let column = |(name, view): (String, TensorView)| {
        let parts = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        (name, parts)
    };
    tensors.tensors().into_iter().map(column).collect()
}

fn write_columns(path: &Path, columns: &Columns) {
    let mut views = Vec::new();
    for (name, (dtype, shape, bytes)) in columns {
        views.push((name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    }
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// Puts a number into a column, at this place of its bytes.
fn put(column: &mut [u8], place: usize, number: &[u8]) {
    column[place..place + number.len()].copy_from_slice(number);
}

#[test]
fn a_damaged_window_or_label_is_an_error_that_names_it() {
    // Split, column, place in 32-bit or 64-bit numbers, what is put there, and what is said of it.
    let u32s = |number: u32| number.to_le_bytes().to_vec();
    let u64s = |number: u64| number.to_le_bytes().to_vec();
    let f64s = |number: f64| number.to_le_bytes().to_vec();
    for (split, column, place, number, says) in [
        ("words", "example", 0, u32s(1), "row 0 is of example 1, out"),
        ("words", "example", 2, u32s(2), "row 2 is of example 2, out"),
        ("words", "example", 3, u32s(1), "of 2 examples, not of 3"),
        (
            "words",
            "word",
            2,
            u32s(2),
            "row 0 has word 2, out of order",
        ),
        (
            "words",
            "word",
            8,
            u32s(4),
            "row 1 has word 4, out of order",
        ),
        ("words", "tag", 2, u32s(3), "the tag 3 has no name among 3"),
        ("words", "tag", 2, u32s(NONE), "a word without a tag"),
        ("words", "tag", 0, u32s(1), "or a tag without a word"),
        (
            "questions",
            "start",
            3,
            u32s(4),
            "token of row 0 ends before",
        ),
        (
            "questions",
            "start",
            3,
            u32s(NONE),
            "token of row 0 ends before",
        ),
        ("questions", "end", 0, u32s(5), "token of row 0 ends before"),
        (
            "questions",
            "answer",
            1,
            u32s(3),
            "tokens 0 to 3, is not in",
        ),
        (
            "questions",
            "answer",
            2,
            u32s(9),
            "tokens 9 to 0, is not in",
        ),
        (
            "questions",
            "answer",
            9,
            u32s(99),
            "tokens 0 to 99, is not in",
        ),
        (
            "numbers",
            "labels",
            0,
            u32s(2),
            "labels of row 0 do not ascend",
        ),
        ("numbers", "labels", 2, u32s(3), "the label 3 has no name"),
        (
            "numbers",
            "labels",
            2,
            u32s(NONE),
            "the label 4294967295 has no",
        ),
        (
            "numbers",
            "label_offsets",
            0,
            u64s(1),
            "label_offsets do not run",
        ),
        (
            "numbers",
            "label_offsets",
            3,
            u64s(2),
            "label_offsets do not run",
        ),
        (
            "numbers",
            "label_offsets",
            1,
            u64s(3),
            "label_offsets run backwards at row 1",
        ),
        (
            "numbers",
            "target",
            3,
            f64s(f64::NAN),
            "a target of row 1 is NaN",
        ),
        (
            "numbers",
            "target",
            0,
            f64s(f64::INFINITY),
            "of row 0 is inf",
        ),
    ] {
        let folder = windowed();
        let path = folder.path().join(format!("{split}.safetensors"));
        let mut columns = columns(&path);
        let bytes = &mut columns.get_mut(column).unwrap().2;
        put(bytes, place * number.len(), &number);
        write_columns(&path, &columns);
        let error = Tokens::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(says), "{error} does not say {says}");
        assert!(error.contains(split), "{error} does not name {split}");
    }
}

#[test]
fn a_missing_column_is_an_error_unless_the_split_is_whole_without_it() {
    for (split, column, says) in [
        ("words", "example", "not in both"),
        ("words", "word", "tags but no words"),
        ("questions", "end", "end"),
        ("numbers", "label_offsets", "label_offsets"),
    ] {
        let folder = windowed();
        let path = folder.path().join(format!("{split}.safetensors"));
        let mut columns = columns(&path);
        columns.remove(column).unwrap();
        write_columns(&path, &columns);
        let error = Tokens::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(says), "{error} does not say {says}");
    }
    let folder = windowed();
    let path = folder.path().join("numbers.safetensors");
    let mut columns = columns(&path);
    columns.remove("target").unwrap();
    write_columns(&path, &columns);
    let tokens = Tokens::open(folder.path()).unwrap();
    assert_eq!(tokens.split("numbers").unwrap().targets(0), None);
}

#[test]
fn targets_are_as_many_as_their_names() {
    let folder = windowed();
    let path = folder.path().join("tokens.json");
    let card = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, card.replace(",\n    \"depth\"", "")).unwrap();
    let error = Tokens::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("rows have 2 targets, but 1 have a name"),
        "{error}"
    );
}

/// Everything that a reader may ask of a split.
fn read_all(split: &TokenSplit) {
    for row in 0..split.rows() {
        assert!(split.example(row) < split.examples());
        let length = split.length(row);
        assert_eq!(
            (split.ids(row).len(), split.type_ids(row).len()),
            (length, length)
        );
        let _ = (split.label(row), split.id(row));
        for list in [split.words(row), split.tags(row)] {
            assert!(list.is_none_or(|list| list.len() == length));
        }
        let characters = split.characters(row);
        assert!(characters.is_none_or(|(start, end)| start.len() == length && end.len() == length));
        let answer = split.answer(row);
        assert!(answer.is_none_or(|(first, last)| first <= last && (last as usize) < length));
        let targets = split.targets(row);
        assert!(targets.is_none_or(|targets| targets.iter().all(|target| target.is_finite())));
        let labels = split.labels(row);
        assert!(labels.is_none_or(|labels| labels.iter().all(|label| *label < 3)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_opens_can_be_read_whatever_was_damaged(
        split in 0..3_usize,
        column in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        number in prop_oneof![0..12_u32, any::<u32>(), Just(NONE)],
    ) {
        let folder = windowed();
        let path = folder.path().join(["words", "questions", "numbers"][split]).with_extension("safetensors");
        let mut columns = columns(&path);
        let column = column.index(columns.len());
        let bytes = &mut columns.values_mut().nth(column).unwrap().2;
        if let Some(last) = bytes.len().checked_sub(4) {
            put(bytes, place.index(last / 4 + 1) * 4, &number.to_le_bytes());
        }
        write_columns(&path, &columns);
        if let Ok(tokens) = Tokens::open(folder.path()) {
            for name in tokens.split_names() {
                read_all(tokens.split(name).unwrap());
            }
        }
    }
}
