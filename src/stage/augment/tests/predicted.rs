//! Words that a model predicts, against transformers 5.23 and tokenizers: `tests/fixtures/families/masked_words.json`. The
//! encoders are those of the folders beside it, their tokenizers those of `tests/fixtures/tokenizers`; every tensor that the
//! fixture names has the values `sin(0.9 i + length of its name) / 2`. For each word it has the whole words among the 56
//! likeliest pieces, the likeliest first.

use std::path::PathBuf;

use safetensors::tensor::{SafeTensors, TensorView};
use serde::Deserialize;

use super::super::predicted::Predicted;
use super::*;
use crate::text::thesaurus::Hole;

#[derive(Deserialize)]
struct Case {
    family: String,
    tokenizer: String,
    vocab_size: usize,
    tensors: BTreeMap<String, Vec<usize>>,
    answers: Vec<Answered>,
}

#[derive(Deserialize)]
struct Answered {
    words: Vec<String>,
    place: usize,
    told: Vec<String>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn cases() -> Vec<Case> {
    let path = fixtures().join("families/masked_words.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The model of a case, without the tensors for which `left_out` holds, and its tokenizer in one folder.
fn written(case: &Case, left_out: impl Fn(&str) -> bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = fixtures().join("families").join(&case.family);
    let config = std::fs::read(from.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["vocab_size"] = case.vocab_size.into();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let old = SafeTensors::deserialize(&bytes).unwrap();
    let made = case.tensors.iter().filter(|(name, _)| !left_out(name));
    let made: Vec<(&String, &Vec<usize>, Vec<u8>)> = made
        .map(|(name, shape)| {
            let value = |i: usize| ((0.9 * i as f64 + name.len() as f64).sin() * 0.5) as f32;
            let values = (0..shape.iter().product()).flat_map(|i| value(i).to_le_bytes());
            (name, shape, values.collect())
        })
        .collect();
    let mut tensors: BTreeMap<&str, TensorView> = old.iter().collect();
    for (name, shape, values) in &made {
        let view = TensorView::new(safetensors::Dtype::F32, (*shape).clone(), values).unwrap();
        tensors.insert(name, view);
    }
    let path = folder.path().join("model.safetensors");
    safetensors::serialize_to_file(&tensors, None, &path).unwrap();
    let tokenizer = fixtures().join("tokenizers").join(&case.tokenizer);
    for file in std::fs::read_dir(tokenizer).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "config.json" {
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
    }
    folder
}

fn grown(settings: Value, model: &Path, train: &Texts) -> Texts {
    let (input, draft) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Table {
        splits: [("train".to_owned(), train.to_frame().unwrap())].into(),
        ..Table::default()
    }
    .save(input.path())
    .unwrap();
    let files = stage(settings.clone());
    let files = files.files(model, &Fetched::default()).unwrap();
    run_with(settings, &[("input", input.path())], files, draft.path()).unwrap();
    table::texts(&Table::open(draft.path()).unwrap().splits["train"]).unwrap()
}

#[test]
fn the_words_are_those_that_transformers_finds_likely() {
    for case in cases() {
        let model = written(&case, |_| false);
        let settings = json!({ "synonym_replacement": {}, "synonyms": { "model": "." } });
        let files = stage(settings).files(model.path(), &Fetched::default());
        in_context(0, &[], files.unwrap(), Path::new("."), |context| {
            let predicted = Predicted::open(context, 10).unwrap();
            let find = |answered: &Answered| {
                let words: Vec<&str> = answered.words.iter().map(String::as_str).collect();
                predicted.synonyms(&words, answered.place)
            };
            let nothing = case
                .answers
                .iter()
                .all(|answered| find(answered).is_empty());
            assert!(nothing && predicted.answer(context).unwrap());
            assert!(!predicted.answer(context).unwrap());
            let mut most = 0;
            for answered in &case.answers {
                let words: Vec<&str> = answered.words.iter().map(String::as_str).collect();
                let Some(hole) = Hole::of(&words, answered.place) else {
                    assert!(find(answered).is_empty(), "{words:?}");
                    continue;
                };
                let wanted = hole.filled(answered.told.clone(), 10);
                most = most.max(wanted.len());
                assert_eq!(find(answered), wanted, "{} {words:?}", case.family);
            }
            assert!(most >= 5, "{}: {most}", case.family);
        });
    }
}

#[test]
fn a_predicted_word_takes_a_words_place_and_a_protected_one_stays() {
    let case = &cases()[0];
    let model = written(case, |_| false);
    let train = texts(&[("the good film", 0), ("of the", 1)]);
    let settings = json!({
        "copies": 3, "synonym_replacement": { "rate": 1.0 }, "synonyms": { "model": ".", "top": 4 }, "protected": ["film"],
    });
    let grown = grown(settings.clone(), model.path(), &train);
    assert_eq!(grown.take(&[0, 1]), train);
    assert_eq!(grown.len(), 5, "{:?}", grown.text);
    let mut met = HashSet::new();
    for copy in &grown.text[2..] {
        let [the, good, film] = words_of(copy);
        assert_eq!((the, film), ("the", "film"));
        assert_ne!(good, "good");
        met.insert(good.to_owned());
    }
    assert!(met.len() > 1, "{met:?}");
    assert_eq!(self::grown(settings, model.path(), &train), grown);
}

fn words_of(text: &str) -> [&str; 3] {
    let words: Vec<&str> = text.split(' ').collect();
    words.try_into().unwrap()
}

#[test]
fn insertion_asks_the_model_about_what_replacement_left() {
    let case = &cases()[0];
    let model = written(case, |_| false);
    let train = texts(&[("a good film", 0)]);
    let settings = json!({
        "synonym_replacement": { "rate": 1.0 }, "random_insertion": { "rate": 1.0 }, "synonyms": { "model": ".", "top": 1 },
    });
    let both = grown(settings, model.path(), &train);
    let alone =
        json!({ "synonym_replacement": { "rate": 1.0 }, "synonyms": { "model": ".", "top": 1 } });
    let replaced = grown(alone, model.path(), &train);
    let insertion =
        json!({ "random_insertion": { "rate": 1.0 }, "synonyms": { "model": ".", "top": 1 } });
    let inserted = grown(insertion, model.path(), &texts(&[(&replaced.text[1], 0)]));
    assert_eq!(words(&both.text[1]), words(&inserted.text[1]));
}

#[test]
fn a_model_that_predicts_no_masked_words_is_a_fault_before_anything_runs() {
    let case = &cases()[0];
    let faults = |model: &Path| {
        let settings = json!({ "synonym_replacement": {}, "synonyms": { "model": "." } });
        let found = stage(settings).files(model, &Fetched::default());
        found.unwrap_err()
    };
    let headless = written(case, |name| name.ends_with("dense.weight"));
    let [fault] = &faults(headless.path())[..] else {
        panic!("one fault");
    };
    assert_eq!(fault.field, "synonyms.model");
    let missing = "it has no cls.predictions.transform.dense.weight";
    assert!(fault.message.ends_with(missing), "{}", fault.message);
    assert_eq!(faults(Path::new("/nowhere"))[0].field, "synonyms.model");
}

#[test]
fn one_source_of_synonyms_is_named_and_only_a_model_has_likeliest_words() {
    let fields = |synonyms: Value| {
        let faults = stage(json!({ "synonym_replacement": {}, "synonyms": synonyms })).check();
        let fields = faults.into_iter().map(|fault| fault.field);
        fields.collect::<Vec<_>>()
    };
    assert_eq!(fields(json!({})), ["synonyms"]);
    assert_eq!(fields(json!({ "model": "a", "file": "b" })), ["synonyms"]);
    assert_eq!(fields(json!({ "file": "b", "top": 3 })), ["synonyms.top"]);
    assert_eq!(fields(json!({ "model": "a", "top": 0 })), ["synonyms.top"]);
    assert_eq!(fields(json!({ "model": "a" })), Vec::<String>::new());
}

#[test]
fn how_many_words_are_drawn_from_enters_the_key_and_the_models_name_does_not() {
    let implied = |synonyms: Value| {
        let stage = stage(json!({ "synonym_replacement": {}, "synonyms": synonyms }));
        stage.implied(&Files::new(), &Fetched::default())
    };
    let usual = implied(json!({ "model": "a" }));
    assert_eq!(usual, implied(json!({ "model": "b", "top": 10 })));
    assert_ne!(usual, implied(json!({ "model": "a", "top": 9 })));
    assert!(implied(json!({ "file": "a" })).is_empty());
}
