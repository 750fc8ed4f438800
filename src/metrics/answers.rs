//! Scores of answers to questions, as texts.
//!
//! Promise: the numbers of the official SQuAD 2.0 evaluation (`evaluate-v2.0.py`; Rajpurkar, Jia and Liang 2018) divided by
//! 100. They are those of SQuAD 1.1 too, but for a gold answer of which normalising leaves nothing (`"The"`). Texts are
//! compared without case, ASCII punctuation, the articles `a`, `an` and `the`, and differences of white space.
//!
//! One corner differs: an article is a whole word, and where Python ends a word at any character that is neither letter nor
//! number, here vowel signs and circled letters, which Unicode counts as alphabetic, belong to the word as well. It shows
//! only where one stands right beside a Latin `a`, `an` or `the`.
//!
//! Deliberately absent: where answers stand, and how they are chosen.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Metric;
use super::bootstrap::{Sample, without_loss};

/// Scores of one split, as fractions. A question *has an answer* if there is a gold answer; else the right answer is none.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerScores {
    /// Share of questions whose answer has the words of a gold answer, in order.
    pub exact_match: f64,
    /// Mean over questions of the best F1 of the answer's words against those of a gold answer.
    pub f1: f64,
    /// Over questions that have an answer; none if there are none.
    pub has_answer_exact_match: Option<f64>,
    pub has_answer_f1: Option<f64>,
    /// Over questions that have no answer, where both are the share that is left unanswered; none if there are none.
    pub no_answer_exact_match: Option<f64>,
    pub no_answer_f1: Option<f64>,
    /// None without scores for having no answer.
    pub best: Option<Thresholds>,
    /// How many questions have an answer, and how many have none.
    pub has_answer: u64,
    pub no_answer: u64,
}

/// The best scores that some threshold reaches, and where: a question stays unanswered if its no-answer score is *above* the
/// threshold.
///
/// As the official script has it: a threshold lies at some question's score, at 0 if leaving all unanswered is best, and may
/// part questions of equal scores, in the order of the questions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    pub exact_match: f64,
    pub exact_match_threshold: f64,
    pub f1: f64,
    pub f1_threshold: f64,
}

/// Scores `predicted`, the answers, against `golds`, all acceptable answers of each question. Empty text is no answer, and
/// no golds mean that there is none. `no_answer_score` is higher for questions that rather have none, and asks for
/// [`thresholds`].
///
/// Questions that one side lacks are not looked at; shares of no questions are 0.
pub fn answers(
    golds: &[Vec<&str>],
    predicted: &[&str],
    no_answer_score: Option<&[f64]>,
) -> AnswerScores {
    let questions = questions(golds, predicted);
    AnswerScores {
        best: no_answer_score.map(|scores| thresholds_of(&questions, scores)),
        ..scored(&questions)
    }
}

/// Of each question whether its answer has the words of a gold answer, in order.
pub fn exact_matches(golds: &[Vec<&str>], predicted: &[&str]) -> Vec<bool> {
    let questions = questions(golds, predicted).into_iter();
    questions.map(|question| question.exact == 1.0).collect()
}

/// The questions as [`answers`] takes them, to be scored in any selection.
pub fn sample_of_answers(golds: &[Vec<&str>], predicted: &[&str]) -> Sample {
    let questions = questions(golds, predicted);
    Sample::new(questions.len(), move |rows| {
        let drawn: Vec<Question> = rows.iter().map(|&row| questions[row]).collect();
        without_loss(scored(&drawn).flat(0.0))
    })
}

fn scored(questions: &[Question]) -> AnswerScores {
    let all = mean(questions, |_| true);
    let has = mean(questions, |question| question.has_answer);
    let none = mean(questions, |question| !question.has_answer);
    let has_answer = questions.iter().filter(|question| question.has_answer);
    let has_answer = has_answer.count();
    AnswerScores {
        exact_match: all.map_or(0.0, |(exact, _)| exact),
        f1: all.map_or(0.0, |(_, f1)| f1),
        has_answer_exact_match: has.map(|(exact, _)| exact),
        has_answer_f1: has.map(|(_, f1)| f1),
        no_answer_exact_match: none.map(|(exact, _)| exact),
        no_answer_f1: none.map(|(_, f1)| f1),
        best: None,
        has_answer: has_answer as u64,
        no_answer: (questions.len() - has_answer) as u64,
    }
}

/// The best scores over all thresholds of `no_answer_score`, as the official script finds them (`find_all_best_thresh`).
///
/// `predicted` should be the best answers before any threshold, since a question that is left unanswered there can not be
/// answered here.
pub fn thresholds(golds: &[Vec<&str>], predicted: &[&str], no_answer_score: &[f64]) -> Thresholds {
    thresholds_of(&questions(golds, predicted), no_answer_score)
}

/// The threshold to answer by that gives the best F1 on these questions: the lowest of the best. `predicted` are the best
/// answers before any threshold; an answer is kept if its no-answer score is at most the threshold.
///
/// Unlike [`thresholds`] it never parts equal scores, so that the F1 is truly reached; and where leaving all unanswered is
/// best, it lies just below the lowest score. Questions whose score is not finite are not looked at; without any it is 0.
pub fn best_threshold(golds: &[Vec<&str>], predicted: &[&str], no_answer_score: &[f64]) -> f64 {
    let mut order = ascending(&questions(golds, predicted), no_answer_score);
    order.retain(|(score, _)| score.is_finite());
    let (mut gained, mut best) = (0.0, 0.0);
    let mut threshold = order.first().map_or(0.0, |(lowest, _)| lowest.next_down());
    for equal in order.chunk_by(|(a, _), (b, _)| a == b) {
        for (_, question) in equal {
            gained += question.f1 - f64::from(!question.has_answer);
        }
        if gained > best {
            best = gained;
            threshold = equal.first().map_or(threshold, |(score, _)| *score);
        }
    }
    threshold
}

impl AnswerScores {
    /// The value of `metric`; none for the loss, and for what answers are not scored by.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::ExactMatch => Some(self.exact_match),
            Metric::F1 => Some(self.f1),
            _ => None,
        }
    }

    /// Every number by its name, without those that are none, `loss` last. The best scores begin with `best_`.
    pub fn flat(&self, loss: f64) -> Map<String, Value> {
        let best = self.best.as_ref();
        [
            ("exact_match", Some(self.exact_match)),
            ("f1", Some(self.f1)),
            ("has_answer_exact_match", self.has_answer_exact_match),
            ("has_answer_f1", self.has_answer_f1),
            ("no_answer_exact_match", self.no_answer_exact_match),
            ("no_answer_f1", self.no_answer_f1),
            ("best_exact_match", best.map(|best| best.exact_match)),
            (
                "best_exact_match_threshold",
                best.map(|best| best.exact_match_threshold),
            ),
            ("best_f1", best.map(|best| best.f1)),
            ("best_f1_threshold", best.map(|best| best.f1_threshold)),
            ("loss", Some(loss)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
        .collect()
    }

    /// What stands behind the flat metrics: `has_answer` and `no_answer`, how many questions are of which kind.
    pub fn details(&self) -> Map<String, Value> {
        [
            ("has_answer", self.has_answer),
            ("no_answer", self.no_answer),
        ]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into_iter()
        .collect()
    }
}

/// One question, scored.
#[derive(Clone, Copy)]
struct Question {
    has_answer: bool,
    /// Whether the prediction is any text at all, be it one of which normalising leaves nothing.
    answered: bool,
    exact: f64,
    f1: f64,
}

fn questions(golds: &[Vec<&str>], predicted: &[&str]) -> Vec<Question> {
    let pairs = golds.iter().zip(predicted);
    pairs
        .map(|(golds, predicted)| question(golds, predicted))
        .collect()
}

fn question(golds: &[&str], predicted: &str) -> Question {
    let mut wanted: Vec<Vec<String>> = golds.iter().map(|gold| words(gold)).collect();
    wanted.retain(|gold| !gold.is_empty());
    if wanted.is_empty() {
        wanted.push(Vec::new());
    }
    let found = words(predicted);
    Question {
        has_answer: !golds.is_empty(),
        answered: !predicted.is_empty(),
        exact: f64::from(wanted.contains(&found)),
        f1: wanted
            .iter()
            .map(|gold| word_f1(gold, &found))
            .fold(0.0, f64::max),
    }
}

/// Exact match and F1 over the questions of one kind.
fn mean(questions: &[Question], kind: impl Fn(&Question) -> bool) -> Option<(f64, f64)> {
    let (mut exact, mut f1, mut number) = (0.0, 0.0, 0.0);
    for question in questions.iter().filter(|question| kind(question)) {
        exact += question.exact;
        f1 += question.f1;
        number += 1.0;
    }
    (number > 0.0).then(|| (exact / number, f1 / number))
}

fn thresholds_of(questions: &[Question], no_answer_score: &[f64]) -> Thresholds {
    let order = ascending(questions, no_answer_score);
    let unanswerable = questions.iter().filter(|question| !question.has_answer);
    let unanswerable = unanswerable.count() as f64;
    let best = |value: fn(&Question) -> f64| {
        let (mut current, mut best, mut threshold) = (unanswerable, unanswerable, 0.0);
        for (score, question) in &order {
            current += if question.has_answer {
                value(question)
            } else {
                -f64::from(question.answered)
            };
            if current > best {
                (best, threshold) = (current, *score);
            }
        }
        (best / (questions.len().max(1) as f64), threshold)
    };
    let (exact_match, exact_match_threshold) = best(|question| question.exact);
    let (f1, f1_threshold) = best(|question| question.f1);
    Thresholds {
        exact_match,
        exact_match_threshold,
        f1,
        f1_threshold,
    }
}

/// Questions with their scores, lowest first, those of equal scores in order.
fn ascending(questions: &[Question], no_answer_score: &[f64]) -> Vec<(f64, Question)> {
    let scores = no_answer_score.iter().copied();
    let mut order: Vec<(f64, Question)> = scores.zip(questions.iter().copied()).collect();
    // Adding 0 makes one zero of the two.
    order.sort_by(|(a, _), (b, _)| (a + 0.0).total_cmp(&(b + 0.0)));
    order
}

/// F1 of two bags of words. Of two empty ones it is 1.
fn word_f1(gold: &[String], predicted: &[String]) -> f64 {
    if gold.is_empty() || predicted.is_empty() {
        return f64::from(gold.is_empty() && predicted.is_empty());
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in gold {
        *left.entry(word).or_default() += 1;
    }
    let mut common = 0.0;
    for word in predicted {
        if let Some(number) = left.get_mut(word.as_str()).filter(|number| **number > 0) {
            *number -= 1;
            common += 1.0;
        }
    }
    if common == 0.0 {
        return 0.0;
    }
    // In the steps of the official script: ties between thresholds hang on the last bit.
    let (precision, recall) = (common / predicted.len() as f64, common / gold.len() as f64);
    (2.0 * precision * recall) / (precision + recall)
}

/// The words of `text` that count (`normalize_answer`).
fn words(text: &str) -> Vec<String> {
    let plain = text.to_lowercase();
    let plain = plain.chars().filter(|c| !c.is_ascii_punctuation());
    let mut spaced = String::with_capacity(text.len());
    let mut word = String::new();
    for c in plain.chain([' ']) {
        if c.is_alphanumeric() {
            word.push(c);
            continue;
        }
        spaced.push_str(match word.as_str() {
            "a" | "an" | "the" => " ",
            word => word,
        });
        word.clear();
        spaced.push(c);
    }
    spaced
        .split(is_space)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// White space as Python's `str.split` has it: with the four separators of ASCII.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        normalised: Vec<(String, String)>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        about: String,
        golds: Vec<Vec<String>>,
        predicted: Vec<String>,
        no_answer_score: Option<Vec<f64>>,
        has_answer: u64,
        no_answer: u64,
        expected: BTreeMap<String, f64>,
    }

    fn fixture() -> Fixture {
        let text = include_str!("../../tests/fixtures/answer_metrics.json");
        serde_json::from_str(text).unwrap()
    }

    fn borrowed(texts: &[String]) -> Vec<&str> {
        texts.iter().map(String::as_str).collect()
    }

    #[test]
    fn every_number_is_the_official_scripts() {
        let cases = fixture().cases;
        assert!(cases.len() >= 50);
        for (number, case) in cases.iter().enumerate() {
            let golds: Vec<Vec<&str>> = case.golds.iter().map(|gold| borrowed(gold)).collect();
            let predicted = borrowed(&case.predicted);
            let ours = answers(&golds, &predicted, case.no_answer_score.as_deref());
            assert_eq!(
                (ours.has_answer, ours.no_answer),
                (case.has_answer, case.no_answer)
            );
            let flat = ours.flat(0.5);
            assert_eq!(flat.len(), case.expected.len() + 1, "case {number}");
            for (name, theirs) in &case.expected {
                let ours = flat[name].as_f64().unwrap();
                assert!(
                    (ours - theirs).abs() < 1e-6,
                    "case {number} ({}): {name} is {ours}, not {theirs}",
                    case.about
                );
            }
        }
    }

    #[test]
    fn texts_are_normalised_as_the_official_script_does() {
        let pairs = fixture().normalised;
        assert!(pairs.len() >= 150);
        for (text, theirs) in pairs {
            assert_eq!(words(&text).join(" "), theirs, "{text:?}");
        }
    }

    #[test]
    fn the_flat_metrics_hold_what_the_task_is_scored_by() {
        let scores = answers(&[vec!["cat"], vec![]], &["the cat", "dog"], None);
        let flat = scores.flat(0.25);
        for &metric in Metric::ANSWERS {
            let value = scores.value(metric).unwrap_or(0.25);
            assert_eq!(flat[metric.name()], value, "{metric}");
        }
        assert!(!flat.contains_key("best_f1"));
        assert_eq!(scores.details()["no_answer"], 1);
    }

    #[test]
    fn a_selection_of_questions_scores_as_these_alone() {
        let golds = [vec!["cat"], vec![], vec!["new cat", "dog"]];
        let predicted = ["the cat", "dog", "old cat"];
        let sample = sample_of_answers(&golds, &predicted);
        for rows in [vec![0, 1, 2], vec![2, 2, 1], vec![0]] {
            let of_golds: Vec<Vec<&str>> = rows.iter().map(|&row| golds[row].clone()).collect();
            let of_predicted: Vec<&str> = rows.iter().map(|&row| predicted[row]).collect();
            let mut wanted = answers(&of_golds, &of_predicted, None).flat(0.0);
            wanted.remove("loss");
            assert_eq!((sample.score)(&rows), wanted, "{rows:?}");
        }
    }

    #[test]
    fn no_questions_score_zero_and_not_nan() {
        let scores = answers(&[], &[], Some(&[]));
        assert_eq!((scores.f1, scores.has_answer_f1), (0.0, None));
        assert_eq!(scores.best.unwrap().f1, 0.0);
        assert_eq!(best_threshold(&[], &[], &[]), 0.0);
    }

    #[test]
    fn leaving_all_unanswered_has_a_threshold_below_all_scores() {
        let threshold = best_threshold(&[vec![], vec!["cat"]], &["dog", "dog"], &[-3.0, -2.0]);
        assert!(threshold < -3.0);
        // The official script says 0 there.
        let official = thresholds(&[vec![], vec!["cat"]], &["dog", "dog"], &[-3.0, -2.0]);
        assert_eq!((official.f1, official.f1_threshold), (0.5, 0.0));
    }

    #[test]
    fn scores_that_are_no_numbers_are_never_a_threshold() {
        let golds = [vec!["cat"], vec!["cat"]];
        assert_eq!(
            best_threshold(&golds, &["cat", "cat"], &[f64::NAN, 0.5]),
            0.5
        );
        assert_eq!(best_threshold(&golds, &["cat", "cat"], &[f64::NAN; 2]), 0.0);
    }

    proptest! {
        /// What is reached by answering by the threshold is what no other threshold exceeds.
        #[test]
        fn no_threshold_beats_the_best(
            rows in prop::collection::vec((0..3usize, 0..3usize, -3i8..3), 1..12)
        ) {
            let texts = ["", "cat", "new cat"];
            let golds: Vec<Vec<&str>> = rows
                .iter()
                .map(|(gold, ..)| if *gold == 0 { vec![] } else { vec![texts[*gold]] })
                .collect();
            let predicted: Vec<&str> = rows.iter().map(|(_, answer, _)| texts[*answer]).collect();
            let scores: Vec<f64> = rows.iter().map(|(.., score)| f64::from(*score)).collect();
            let reached = |threshold: f64| {
                let kept: Vec<&str> = predicted
                    .iter()
                    .zip(&scores)
                    .map(|(answer, score)| if *score > threshold { "" } else { *answer })
                    .collect();
                answers(&golds, &kept, None).f1
            };
            let best = reached(best_threshold(&golds, &predicted, &scores));
            for threshold in -4..=3 {
                prop_assert!(best >= reached(f64::from(threshold)) - 1e-9);
            }
            prop_assert!(thresholds(&golds, &predicted, &scores).f1 >= best - 1e-9);
        }

        #[test]
        fn any_texts_are_scored_between_zero_and_one(gold in ".*", answer in ".*") {
            let (gold, answer) = (gold.as_str(), answer.as_str());
            let scores = answers(&[vec![gold]], &[answer], None);
            prop_assert!((0.0..=1.0).contains(&scores.f1) && scores.exact_match <= scores.f1);
            prop_assert_eq!(answers(&[vec![gold]], &[gold], None).f1, 1.0);
        }
    }
}
