//! Which rows are chosen, and the file that comes of it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::super::tests::{WORDS, evaluate, run, run_told, scores_in, tokens, told, trained_on};
use super::*;
use crate::stage::{Progress, Stage};

fn settings(examples: usize, ids: &[u64]) -> ExplainSettings {
    ExplainSettings {
        examples,
        ids: ids.to_vec(),
        steps: 64,
    }
}

/// Right where the number is above 0, and as sure as it is large.
fn outcomes(sure: &[f32]) -> Vec<Option<Outcome>> {
    let outcome = |&sure: &f32| Outcome {
        right: sure > 0.0,
        sure: sure.abs(),
    };
    sure.iter().map(outcome).map(Some).collect()
}

/// The examples chosen of those with ids from 100 on, with the first letter of why.
fn chosen(settings: &ExplainSettings, outcomes: &[Option<Outcome>]) -> Vec<(usize, char)> {
    let ids: Vec<u64> = (100..100 + outcomes.len() as u64).collect();
    let letter = |(example, chosen)| match chosen {
        Chosen::Named => (example, 'n'),
        Chosen::Wrong => (example, 'w'),
        Chosen::Right => (example, 'r'),
    };
    choose(settings, outcomes, &ids)
        .into_iter()
        .map(letter)
        .collect()
}

#[test]
fn half_are_the_surest_of_the_wrong_and_half_right_ones_of_all_degrees() {
    let outcomes = outcomes(&[0.9, -0.6, 0.5, -0.9, 0.7, -0.8, 0.6, 0.8]);
    let found = chosen(&settings(5, &[]), &outcomes);
    // Of the right ones 0.9 and 0.5; of the wrong ones all three.
    assert_eq!(found, [(0, 'r'), (1, 'w'), (2, 'r'), (3, 'w'), (5, 'w')]);
    let found = chosen(&settings(2, &[]), &outcomes);
    assert_eq!(found, [(0, 'r'), (3, 'w')]);
    assert_eq!(chosen(&settings(8, &[]), &outcomes).len(), 8);
    assert_eq!(chosen(&settings(100, &[]), &outcomes).len(), 8);
}

#[test]
fn where_too_few_are_wrong_more_are_right() {
    let few_wrong = outcomes(&[0.9, -0.6, 0.5, 0.7]);
    let found = chosen(&settings(4, &[]), &few_wrong);
    assert_eq!(found, [(0, 'r'), (1, 'w'), (2, 'r'), (3, 'r')]);
    let few_right = outcomes(&[-0.9, -0.6, 0.5, -0.7]);
    let found = chosen(&settings(4, &[]), &few_right);
    assert_eq!(found, [(0, 'w'), (1, 'w'), (2, 'r'), (3, 'w')]);
}

#[test]
fn named_rows_come_beside_the_chosen_ones_and_equally_sure_ones_by_their_ids() {
    let outcomes = outcomes(&[-0.5, -0.5, -0.5, 0.5, 0.5]);
    let found = chosen(&settings(2, &[104, 100, 104]), &outcomes);
    assert_eq!(found, [(0, 'n'), (1, 'w'), (3, 'r'), (4, 'n')]);
    let found = chosen(&settings(0, &[102]), &outcomes);
    assert_eq!(found, [(2, 'n')]);
    // Ids decide, wherever the rows stand.
    let found = choose(&settings(1, &[]), &outcomes, &[5, 4, 3, 2, 1]);
    assert_eq!(found, [(2, Chosen::Wrong)]);
}

#[test]
fn a_row_in_which_nothing_was_answered_takes_no_share() {
    let mut outcomes = outcomes(&[0.9, -0.9, 0.5, -0.6, 0.7]);
    (outcomes[0], outcomes[1]) = (None, None);
    let found = chosen(&settings(4, &[]), &outcomes);
    assert_eq!(found, [(2, 'r'), (3, 'w'), (4, 'r')]);
    let found = chosen(&settings(1, &[101]), &outcomes);
    assert_eq!(found, [(1, 'n'), (3, 'w')]);
}

struct Row(Vec<u32>, Vec<u8>);

impl Rows for Row {
    fn rows(&self) -> usize {
        1
    }
    fn ids(&self, _: usize) -> &[u32] {
        &self.0
    }
    fn type_ids(&self, _: usize) -> &[u8] {
        &self.1
    }
    fn label(&self, _: usize) -> Option<u32> {
        None
    }
    fn id(&self, _: usize) -> u64 {
        0
    }
}

#[test]
fn a_separator_in_a_text_begins_no_second_one_where_types_tell_texts_apart() {
    let of = |tokenizer: &Tokenizer, ids: &[u32], types: &[u8]| {
        let special = special(tokenizer);
        let is_text: Vec<bool> = ids.iter().map(|id| !special.contains(id)).collect();
        segments(tokenizer, &Row(ids.to_vec(), types.to_vec()), 0, &is_text)
    };
    let bert = Tokenizer::from_vocabulary(&WORDS.map(str::to_owned), true).unwrap();
    assert_eq!(of(&bert, &[2, 5, 3, 6, 3], &[0; 5]), [0; 5]);
    assert_eq!(
        of(&bert, &[2, 5, 3, 6, 3], &[0, 0, 0, 1, 1]),
        [0, 0, 0, 1, 1]
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers/roberta");
    let roberta = Tokenizer::open(&folder).unwrap();
    let special = roberta.special_ids();
    let [cls, sep] = ["cls", "sep"].map(|role| special[role].1);
    let ids = [cls, 10, sep, sep, 11, sep];
    assert_eq!(of(&roberta, &ids, &[0; 6]), [0, 0, 0, 1, 1, 1]);
    assert_eq!(of(&roberta, &ids[..3], &[0; 3]), [0; 3]);
}

fn explained(explain: Value, model: &Path, tokens: &Path) -> Explanations {
    let (draft, _) = run(json!({ "explain": explain }), model, tokens, false).unwrap();
    Explanations::read(draft.path()).unwrap().unwrap()
}

#[test]
fn explanations_show_tokens_attention_and_attributions_that_add_up() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let model = trained_on(tokens.path());
    let settings = json!({ "examples": 4, "ids": [103], "steps": 32 });
    let found = explained(settings, model.path(), tokens.path());
    assert_eq!(found.attributed_to, "the logit of the label that was given");
    assert_eq!(found.examples.len(), 5);
    let named = found.examples.iter().find(|one| one.id == 103).unwrap();
    assert_eq!((named.row, named.chosen), (3, Chosen::Named));
    assert_eq!(
        named.tokens,
        ["[CLS]", "bad", "film", "film", "film", "[SEP]"]
    );
    assert!(named.about.is_empty());
    for one in &found.examples {
        let length = one.tokens.len();
        assert!(["yes", "no"].contains(&one.output.as_str()));
        assert_eq!((one.layers, one.heads, one.attended), (1, 2, length));
        for of_token in one.attention().unwrap().chunks(length) {
            let sum: i64 = of_token.iter().map(|&share| i64::from(share)).sum();
            assert!((sum - 255).unsigned_abs() as usize <= length, "{sum}");
        }
        let sum: f64 = one.integrated_gradients.iter().sum();
        let whole = one.value - one.baseline;
        assert!(whole != 0.0);
        assert!((sum - whole).abs() <= one.delta + 1e-4, "{sum}, {whole}");
        assert!(
            one.delta < 1e-3 + 0.02 * whole.abs(),
            "{} of {whole}",
            one.delta
        );
        assert!(one.gradient_x_input.iter().any(|&by| by != 0.0));
    }
}

#[test]
fn every_setting_does_something_and_none_changes_a_score() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let model = trained_on(tokens.path());
    let of = |explain| explained(explain, model.path(), tokens.path());
    let many = of(json!({}));
    assert_eq!(many.examples.len(), 8);
    assert_eq!(of(json!({ "examples": 3 })).examples.len(), 3);
    let named = of(json!({ "examples": 0, "ids": [105] }));
    assert_eq!(
        named.examples.iter().map(|one| one.id).collect::<Vec<_>>(),
        [105]
    );
    let delta = |steps: usize| {
        let explained = of(json!({ "examples": 0, "ids": [109], "steps": steps }));
        explained.examples[0].delta
    };
    let (one, more) = (delta(1), delta(16));
    assert!(more < one / 2.0, "{one} with one step, {more} with sixteen");

    let (plain, _) = run(json!({}), model.path(), tokens.path(), false).unwrap();
    let (with, _) = run(json!({ "explain": {} }), model.path(), tokens.path(), false).unwrap();
    assert_eq!(scores_in(&plain), scores_in(&with));
    assert_eq!(Explanations::read(plain.path()).unwrap(), None);
    let predictions = |draft: &tempfile::TempDir| {
        std::fs::read(draft.path().join("predictions.parquet")).unwrap()
    };
    assert_eq!(predictions(&plain), predictions(&with));
}

/// Somebody who stops a stage as soon as it explains.
struct Stops<'a>(&'a AtomicBool);

impl Progress for Stops<'_> {
    fn start(&self, what: &str, _: u64, _: &str) {
        self.0.store(what == "explaining", Ordering::SeqCst);
    }
    fn advance(&self, _: u64) {}
    fn state(&self, _: &str) {}
    fn say(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

#[test]
fn a_stop_while_explaining_is_no_failure() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let model = trained_on(tokens.path());
    let settings = json!({ "model": "m", "input": "t", "explain": {} });
    let interrupted = AtomicBool::new(false);
    let stops = Stops(&interrupted);
    let inputs = [model.path(), tokens.path()];
    let error = run_told(settings, inputs, &stops, &interrupted).unwrap_err();
    assert!(matches!(error, StageError::Interrupted), "{error}");
}

#[test]
fn two_evaluations_explain_the_same_to_the_byte() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let model = trained_on(tokens.path());
    let bytes = || {
        let explain = json!({ "explain": { "steps": 5 } });
        let (draft, _) = run(explain, model.path(), tokens.path(), false).unwrap();
        std::fs::read(draft.path().join(EXPLANATIONS)).unwrap()
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn rows_that_are_not_there_are_named_with_those_that_are() {
    let tokens = tokens(&WORDS, &["yes", "no"]);
    let model = trained_on(tokens.path());
    let explain = json!({ "explain": { "ids": [103, 99, 110] } });
    let error = run(explain, model.path(), tokens.path(), false).unwrap_err();
    let told = told(&error);
    for part in ["does not have: 99, 110", "10 rows with ids from 100 to 109"] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn what_explains_nothing_is_a_fault_and_what_is_not_there_is_no_setting() {
    let faults = |more: Value| {
        let mut all = json!({ "model": "m", "input": "t" });
        for (field, value) in more.as_object().unwrap() {
            all[field] = value.clone();
        }
        let faults = evaluate(all).unwrap().check().into_iter();
        faults.map(|fault| fault.field).collect::<Vec<_>>()
    };
    assert_eq!(faults(json!({ "explain": { "examples": 0 } })), ["explain"]);
    assert!(faults(json!({ "explain": { "examples": 0, "ids": [1] } })).is_empty());
    let generated = faults(json!({ "task": "generation", "explain": {} }));
    assert!(generated.contains(&"explain".to_owned()), "{generated:?}");
    let silent = evaluate(json!({ "model": "m", "input": "t" })).unwrap();
    assert_eq!(silent.settings().get("explain"), None);
    let key = |ids: Value| {
        let explain = json!({ "ids": ids });
        evaluate(json!({ "model": "m", "input": "t", "explain": explain }))
            .unwrap()
            .settings()
    };
    assert_eq!(key(json!([17, 3, 17])), key(json!([3, 17])));
}
