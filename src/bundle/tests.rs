//! What an open bundle answers, and what cannot be opened.

use std::ops::ControlFlow::{self, Break, Continue};

use super::*;
use crate::device;
use crate::model::{Pooling, ScratchSettings, Vocabulary};

const WORDS: [&str; 12] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "in", "oslo", "?", ",",
];

fn on_cpu() -> Chosen {
    device::choose("flex").unwrap()
}

fn go_on(_: usize) -> ControlFlow<()> {
    Continue(())
}

/// What a model for `task` was made for, with texts of at most 8 tokens.
fn info(task: Task) -> ModelInfo {
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let labels = match task {
        Task::Classification | Task::MultiLabel => names(&["good", "bad", "other"]),
        Task::TokenClassification => names(&["O", "B-LOC", "I-LOC"]),
        _ => Vec::new(),
    };
    ModelInfo {
        task,
        pooling: task.pools().then_some(Pooling::Pooler),
        head_dropout: 0.1,
        stack: Default::default(),
        label_names: labels,
        target_names: (task == Task::Regression).then(|| names(&["x", "y"])),
        crf: false,
        scheme: (task == Task::TokenClassification).then(|| "bio".to_owned()),
        thresholds: (task == Task::QuestionAnswering).then(|| vec![0.0]),
        max_answer_length: None,
        n_best: None,
        max_length: 8,
        stride: None,
        tokenizer_digest: String::new(),
        best_epoch: 1,
        best_step: 1,
        steps: 1,
    }
}

/// A model of random weights, as an export leaves it.
fn written(info: &ModelInfo) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let words = WORDS.map(str::to_owned);
    let tokenizer = Tokenizer::from_vocabulary(&words, true).unwrap();
    tokenizer.save(folder.path(), info.max_length).unwrap();
    let settings: ScratchSettings =
        serde_json::from_str(r#"{"layers": 1, "hidden": 16, "heads": 2}"#).unwrap();
    let vocabulary = Vocabulary {
        size: tokenizer.vocab_size(),
        pad_id: tokenizer.pad_id(),
    };
    let device = on_cpu().device;
    let (classifier, config) =
        Classifier::scratch(&settings, vocabulary, &info.head(), 7, &device).unwrap();
    // New weights are so small that all texts are answered alike.
    let weights = model::named_parameters(&classifier).into_iter();
    let weights = weights
        .filter(|weight| weight.shape.len() == 2)
        .map(|weight| {
            let seed = weight.name.len() as f32;
            let value = |place: usize| ((place as f32 + seed) * 1.7).sin() * 0.7;
            let count = weight.shape.iter().product();
            (weight.name, (0..count).map(value).collect())
        });
    let classifier = model::set_tensors(classifier, weights.collect()).unwrap();
    let info = ModelInfo {
        tokenizer_digest: tokenizer.digest(),
        ..info.clone()
    };
    model::save(folder.path(), &classifier, &config, &info).unwrap();
    folder
}

fn opened(task: Task) -> Bundle {
    let folder = written(&info(task));
    Bundle::open(folder.path(), &on_cpu()).unwrap()
}

fn question(text: &str, pair: Option<&str>) -> Question {
    Question {
        text: text.to_owned(),
        pair: pair.map(str::to_owned),
    }
}

fn is_shared<T: Send + Sync>(_: &T) {}

#[test]
fn every_task_has_a_reply_of_its_own_in_the_order_of_the_questions() {
    let text = "the cat sat in oslo , the cat sat in oslo ?";
    for task in Task::ALL {
        let bundle = opened(task);
        is_shared(&bundle);
        assert_eq!(bundle.notes(), [] as [&str; 0]);
        let pair = (task == Task::QuestionAnswering).then_some(text);
        let questions = ["oslo", text, "", "the cat"].map(|text| question(text, pair));
        let together = bundle.answer(&questions, 1 << 20, &mut go_on).unwrap();
        assert_eq!(together.len(), questions.len());
        for (number, reply) in together.iter().enumerate() {
            let alone = bundle
                .answer(&questions[number..=number], 1, &mut go_on)
                .unwrap();
            assert!(
                close(&alone[0], reply),
                "{task} {number}: {alone:?} {reply:?}"
            );
        }
    }
}

/// Equal but for the rounding of another batch.
fn close(a: &Reply, b: &Reply) -> bool {
    let near = |a: &[f32], b: &[f32]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
    };
    match (a, b) {
        (
            Reply::Labels {
                probabilities: p,
                given: g,
            },
            Reply::Labels {
                probabilities: q,
                given: h,
            },
        ) => g == h && near(p, q),
        (Reply::Entities(a), Reply::Entities(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| {
                    (&a.label, a.start, a.end, &a.text) == (&b.label, b.start, b.end, &b.text)
                        && near(&[a.score], &[b.score])
                })
        }
        (Reply::Answers(a), Reply::Answers(b)) => {
            let scores = |all: &[SpanAnswer]| all.iter().map(|one| one.score).collect::<Vec<_>>();
            near(&scores(a), &scores(b)) && a.first().map(|a| a.start) == b.first().map(|b| b.start)
        }
        (Reply::Numbers(a), Reply::Numbers(b)) => near(a, b),
        _ => false,
    }
}

#[test]
fn labels_are_as_probable_together_as_they_must_be() {
    let reply = &opened(Task::Classification)
        .answer(&[question("the cat", None)], 64, &mut go_on)
        .unwrap()[0];
    let Reply::Labels {
        probabilities,
        given,
    } = reply
    else {
        panic!("{reply:?}");
    };
    assert_eq!(probabilities.len(), 3);
    assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    let largest = probabilities.iter().copied().fold(0.0, f32::max);
    assert_eq!(probabilities[given[0]], largest);
}

#[test]
fn a_pair_among_single_texts_is_answered_as_a_pair() {
    let bundle = opened(Task::Classification);
    let mixed = [
        question("oslo", None),
        question("oslo", Some("the cat sat")),
        question("the cat", None),
    ];
    assert_eq!(bundle.tokens(&mixed).unwrap(), [3, 7, 4]);
    let replies = bundle.answer(&mixed, 64, &mut go_on).unwrap();
    for (reply, one) in replies.iter().zip(&mixed) {
        let alone = bundle
            .answer(std::slice::from_ref(one), 64, &mut go_on)
            .unwrap();
        assert!(close(&alone[0], reply), "{one:?}");
    }
    assert!(!close(&replies[0], &replies[1]));
}

#[test]
fn a_long_sentence_is_read_in_windows_and_tagged_in_its_own_characters() {
    let mut plain = info(Task::TokenClassification);
    plain.scheme = None;
    let folder = written(&plain);
    let bundle = Bundle::open(folder.path(), &on_cpu()).unwrap();
    let text = "Oslo,  the cat sat in Oslo? Ünknown the cat sat";
    let replies = bundle
        .answer(&[question(text, None)], 64, &mut go_on)
        .unwrap();
    let Reply::Entities(words) = &replies[0] else {
        panic!("{replies:?}");
    };
    assert_eq!(words.len(), 12);
    for word in words {
        let there: String = text
            .chars()
            .skip(word.start as usize)
            .take((word.end - word.start) as usize)
            .collect();
        assert_eq!(there, word.text);
        assert!(plain.label_names.contains(&word.label));
    }
    assert_eq!(words[8].text, "Ünknown");
    assert!(bundle.tokens(&[question(text, None)]).unwrap()[0] > 12 + 2);
}

#[test]
fn a_question_may_have_no_answer_and_says_so_first_where_the_threshold_does() {
    let folder = written(&info(Task::QuestionAnswering));
    let mut bundle = Bundle::open(folder.path(), &on_cpu()).unwrap();
    let asked = [question("the cat ?", Some("the cat sat in oslo"))];
    let none = |answer: &SpanAnswer| answer.text.is_empty() && (answer.start, answer.end) == (0, 0);
    for (threshold, first_is_none) in [(-1e9, true), (1e9, false)] {
        bundle.set_threshold(threshold).unwrap();
        let replies = bundle.answer(&asked, 64, &mut go_on).unwrap();
        let Reply::Answers(answers) = &replies[0] else {
            panic!("{replies:?}");
        };
        assert_eq!(none(&answers[0]), first_is_none, "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| none(answer)).count(), 1);
        let rest = answers[1..].windows(2);
        assert!(rest.into_iter().all(|two| two[0].score >= two[1].score));
        let sum: f32 = answers.iter().map(|answer| answer.score).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
    }
}

#[test]
fn a_threshold_gives_more_labels_or_fewer() {
    let folder = written(&info(Task::MultiLabel));
    let mut bundle = Bundle::open(folder.path(), &on_cpu()).unwrap();
    for (threshold, count) in [(0.0, 3), (1.0, 0)] {
        bundle.set_threshold(threshold).unwrap();
        let replies = bundle
            .answer(&[question("oslo", None)], 64, &mut go_on)
            .unwrap();
        let Reply::Labels { given, .. } = &replies[0] else {
            panic!("{replies:?}");
        };
        assert_eq!(given.len(), count);
    }
    assert!(bundle.set_threshold(1.5).is_err());
    assert!(opened(Task::Classification).set_threshold(0.5).is_err());
}

#[test]
fn what_does_not_fit_the_task_is_an_error_that_names_it() {
    let cases = [
        (
            Task::QuestionAnswering,
            question("where ?", None),
            "no context",
        ),
        (
            Task::TokenClassification,
            question("a", Some("b")),
            "second text",
        ),
    ];
    for (task, wrong, told) in cases {
        let bundle = opened(task);
        let pair = (task == Task::QuestionAnswering).then_some("oslo");
        let questions = [question("oslo", pair), wrong];
        for error in [
            bundle.answer(&questions, 64, &mut go_on).unwrap_err(),
            bundle.tokens(&questions).unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(
                error.contains("question 1") && error.contains(told),
                "{error}"
            );
        }
    }
}

#[test]
fn told_to_stop_it_stops() {
    let bundle = opened(Task::Classification);
    let questions = vec![question("the cat", None); 3];
    for after in [0, 1] {
        let mut calls = 0;
        let stopped = bundle.answer(&questions, 1, &mut |_| {
            calls += 1;
            if calls > after {
                Break(())
            } else {
                Continue(())
            }
        });
        assert!(matches!(stopped, Err(BundleError::Interrupted)));
    }
}

#[test]
fn a_folder_of_transformers_answers_as_the_same_bundle_does() {
    for task in Task::ALL {
        let folder = written(&info(task));
        let questions = ["the cat sat", "oslo"].map(|text| {
            question(
                text,
                (task == Task::QuestionAnswering).then_some("in oslo , the cat"),
            )
        });
        let answered = |bundle: &Bundle| bundle.answer(&questions, 64, &mut go_on).unwrap();
        let mut own = Bundle::open(folder.path(), &on_cpu()).unwrap();
        std::fs::remove_file(folder.path().join("model.json")).unwrap();
        let mut foreign = Bundle::open(folder.path(), &on_cpu()).unwrap();
        if task == Task::QuestionAnswering {
            // A config.json does not say that there may be no answer.
            own.set_threshold(0.0).unwrap();
            foreign.set_threshold(0.0).unwrap();
        }
        let names = |bundle: &Bundle| bundle.info().names().len();
        assert_eq!(names(&foreign), names(&own));
        assert_eq!(answered(&foreign), answered(&own), "{task}");
    }
}

#[test]
fn what_is_no_bundle_is_refused_with_a_remedy() {
    let empty = tempfile::tempdir().unwrap();
    let at = |path: &Path| Bundle::open(path, &on_cpu()).err().unwrap().to_string();
    assert!(at(&empty.path().join("gone")).contains("does not exist"));
    assert!(at(empty.path()).contains("no config.json, but nothing"));
    let folder = written(&info(Task::Classification));
    let file = folder.path().join("config.json");
    assert!(at(&file).contains("is a file"));
    std::fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
    assert!(at(folder.path()).contains("an adapter alone"));
}

#[test]
fn damaged_files_are_refused_and_named() {
    for name in [
        "config.json",
        "model.json",
        "tokenizer.json",
        "model.safetensors",
    ] {
        for bytes in ["", "{\"a\":", "{}", "\u{0}\u{1}\u{2}"] {
            let folder = written(&info(Task::Classification));
            std::fs::write(folder.path().join(name), bytes).unwrap();
            let error = Bundle::open(folder.path(), &on_cpu()).err();
            let told = error
                .unwrap_or_else(|| panic!("{name} {bytes:?}"))
                .to_string();
            assert!(told.contains(name), "{name} {bytes:?}: {told}");
        }
    }
}

#[test]
fn another_tokenizer_is_told() {
    let folder = written(&info(Task::Classification));
    let mut words = WORDS.map(str::to_owned);
    words.swap(5, 6);
    let other = Tokenizer::from_vocabulary(&words, true).unwrap();
    other.save(folder.path(), 8).unwrap();
    let bundle = Bundle::open(folder.path(), &on_cpu()).unwrap();
    assert!(
        bundle.notes()[0].contains("other ids"),
        "{:?}",
        bundle.notes()
    );
}

#[test]
fn no_text_has_the_columns_that_one_has() {
    for task in Task::ALL {
        let bundle = opened(task);
        let asked = |rows: usize| Texts {
            id: (0..rows as u64).collect(),
            text: vec!["oslo"; rows],
            text_pair: (task == Task::QuestionAnswering).then(|| vec!["the cat"; rows]),
            ..Texts::default()
        };
        let names = |rows| {
            let answered = bundle.answer_texts(asked(rows), 64, &mut go_on).unwrap();
            let columns = answered.columns().into_iter();
            columns.map(|(name, _)| name).collect::<Vec<String>>()
        };
        assert_eq!(names(0), names(1), "{task}");
    }
}
