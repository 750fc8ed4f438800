//! Tests of entities: seqeval's numbers, the schemes, and where errors are counted.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    about: String,
    scheme: Scheme,
    truth: Vec<String>,
    predicted: Vec<String>,
    expected: BTreeMap<String, f64>,
    /// Precision, recall, F1, support.
    types: BTreeMap<String, (f64, f64, f64, u64)>,
    /// Type, text, start, end.
    found: BTreeSet<(String, usize, usize, usize)>,
    strictly: BTreeSet<(String, usize, usize, usize)>,
}

fn cut(texts: &[String]) -> Vec<Vec<&str>> {
    texts
        .iter()
        .map(|text| text.split_whitespace().collect())
        .collect()
}

fn cases() -> Vec<Case> {
    let text = include_str!("../../../tests/fixtures/entity_metrics.json");
    serde_json::from_str::<Fixture>(text).unwrap().cases
}

#[test]
fn every_number_is_seqevals() {
    let cases = cases();
    for scheme in [Scheme::Iob1, Scheme::Bio, Scheme::Bioes] {
        assert!(cases.iter().filter(|case| case.scheme == scheme).count() >= 30);
    }
    for (number, case) in cases.iter().enumerate() {
        let ours = entities(&cut(&case.truth), &cut(&case.predicted), Some(case.scheme));
        let near = |what: &str, ours: f64, theirs: f64| {
            assert!(
                (ours - theirs).abs() < 1e-6,
                "case {number} ({}, {}): {what} is {ours}, not {theirs}",
                case.about,
                case.scheme
            );
        };
        let flat = ours.flat(0.5);
        assert_eq!(flat.len(), case.expected.len() + 1);
        for (name, value) in &case.expected {
            near(name, flat[name].as_f64().unwrap(), *value);
        }
        assert!(
            ours.types.keys().eq(case.types.keys()),
            "case {number}: {:?}",
            ours.types
        );
        for (kind, (precision, recall, f1, support)) in &case.types {
            let ours = ours.types[kind];
            near("precision", ours.precision, *precision);
            near("recall", ours.recall, *recall);
            near("f1", ours.f1, *f1);
            assert_eq!(ours.support, *support);
        }
    }
}

#[test]
fn every_entity_is_where_seqeval_finds_it() {
    for (number, case) in cases().iter().enumerate() {
        let listed = |strictly: bool| {
            let mut listed = BTreeSet::new();
            for (text, tags) in cut(&case.predicted).iter().enumerate() {
                let found = if strictly {
                    Entity::find_strictly(tags, case.scheme)
                } else {
                    Entity::find(tags)
                };
                for entity in found {
                    listed.insert((entity.kind.to_owned(), text, entity.start, entity.end));
                }
            }
            listed
        };
        assert_eq!(listed(false), case.found, "case {number}");
        assert_eq!(listed(true), case.strictly, "case {number}");
    }
}

fn recognised(texts: &[&str]) -> Option<Scheme> {
    Scheme::recognise(texts.iter().map(|text| text.split_whitespace()))
}

#[test]
fn a_scheme_is_recognised_by_how_entities_begin_and_end() {
    let cases: [(&[&str], Option<Scheme>); 21] = [
        (&["O B-A I-A O", "B-B"], Some(Scheme::Bio)),
        (&["B-A B-A I-A"], Some(Scheme::Bio)),
        (&["O I-A I-A O", "I-B B-B"], Some(Scheme::Iob1)),
        (&["I-A I-B B-B"], Some(Scheme::Iob1)),
        (&["I-A", "O B-A"], Some(Scheme::Bio)),
        (&["B-A O", "B-A", "I-A"], Some(Scheme::Bio)),
        (&["I-A O", "I-A", "B-A"], Some(Scheme::Iob1)),
        (&["I-A", "O I-A B-B"], Some(Scheme::Iob1)),
        (&["I-A", "O"], Some(Scheme::Iob1)),
        (&["I-A E-A O"], None),
        (&["B-X U-Y L-X"], None),
        (&["O S-A", "B-B E-B"], Some(Scheme::Bioes)),
        (&["B-B I-B E-B O"], Some(Scheme::Bioes)),
        (&["B I O O"], Some(Scheme::Bio)),
        (&["O O", ""], Some(Scheme::Bio)),
        (&["DT NN VBZ"], None),
        (&["O B-A U-A L-A"], None),
        (&["B-A IN"], None),
        (&["PER-B O"], None),
        (&["", ""], None),
        (&[], None),
    ];
    for (texts, scheme) in cases {
        assert_eq!(recognised(texts), scheme, "{texts:?}");
    }
}

#[test]
fn only_what_a_scheme_can_write_is_allowed() {
    let (a, other, inside_a) = (Some("B-A"), Some("I-B"), Some("I-A"));
    let out = Some("O");
    for (scheme, from, to, allowed) in [
        (Scheme::Bio, a, inside_a, true),
        (Scheme::Bio, inside_a, inside_a, true),
        (Scheme::Bio, a, other, false),
        (Scheme::Bio, out, inside_a, false),
        (Scheme::Bio, None, inside_a, false),
        (Scheme::Bio, None, a, true),
        (Scheme::Bio, inside_a, None, true),
        (Scheme::Bio, a, a, true),
        (Scheme::Bio, Some("E-A"), inside_a, false),
        (Scheme::Iob1, None, inside_a, true),
        (Scheme::Iob1, out, inside_a, true),
        (Scheme::Iob1, inside_a, other, true),
        (Scheme::Iob1, inside_a, a, true),
        (Scheme::Iob1, a, a, true),
        (Scheme::Iob1, None, a, false),
        (Scheme::Iob1, out, a, false),
        (Scheme::Iob1, other, a, false),
        (Scheme::Bioes, None, a, true),
        (Scheme::Bioes, None, Some("S-A"), true),
        (Scheme::Bioes, None, Some("E-A"), false),
        (Scheme::Bioes, a, Some("E-A"), true),
        (Scheme::Bioes, a, Some("E-B"), false),
        (Scheme::Bioes, a, out, false),
        (Scheme::Bioes, a, None, false),
        (Scheme::Bioes, inside_a, None, false),
        (Scheme::Bioes, Some("E-A"), None, true),
        (Scheme::Bioes, Some("S-A"), inside_a, false),
        (Scheme::Bioes, Some("E-A"), Some("S-A"), true),
        (Scheme::Bioes, inside_a, Some("S-A"), false),
        (Scheme::Bioes, out, out, true),
    ] {
        assert_eq!(
            scheme.allows(from, to),
            allowed,
            "{scheme}: {from:?}, {to:?}"
        );
    }
}

#[test]
fn a_type_gets_every_prefix_of_its_scheme() {
    for (scheme, tags, complete) in [
        (Scheme::Bio, "B-A O I-B", "B-A B-B I-A I-B O"),
        (Scheme::Iob1, "I-A", "B-A I-A O"),
        (Scheme::Bioes, "S-A-B O", "B-A-B E-A-B I-A-B O S-A-B"),
        (Scheme::Bio, "B O", "B I O"),
        (Scheme::Bio, "O DT Bank", "O"),
        (Scheme::Bio, "", "O"),
    ] {
        let found = scheme.complete(tags.split_whitespace());
        assert!(found.iter().eq(complete.split(' ')), "{scheme}: {tags}");
    }
}

#[test]
fn tags_of_no_scheme_are_scored_one_by_one() {
    let truth = [vec!["DT", "NN", "VBZ"], vec!["NN"]];
    let predicted = [vec!["DT", "NN", "NN"], vec!["NN"]];
    let scores = entities(&truth, &predicted, None);
    assert_eq!((scores.accuracy, scores.means.f1), (0.75, 0.75));
    assert_eq!(scores.types["NN"].precision, 2.0 / 3.0);
    assert_eq!(scores.types["VBZ"].recall, 0.0);
    let (flat, details) = (scores.flat(0.1), scores.details());
    assert!(!flat.contains_key("strict_f1") && !details.contains_key("errors"));
    assert_eq!(details["labels"], serde_json::json!(["DT", "NN", "VBZ"]));
    assert_eq!(details["confusion_matrix"][2][1], 1);
}

#[test]
fn every_kind_of_error_is_told_apart() {
    let truth = "B-A I-A O B-A O B-A I-A O B-A I-A O B-A O";
    let predicted = "B-A I-A O B-B O B-A O O B-B O O O B-B";
    let scores = entities(
        &[truth.split(' ').collect()],
        &[predicted.split(' ').collect()],
        Some(Scheme::Bio),
    );
    let each = EntityErrors {
        correct: 1,
        wrong_type: 1,
        wrong_bounds: 1,
        wrong_type_and_bounds: 1,
        missed: 1,
        spurious: 1,
    };
    assert_eq!(scores.errors, Some(each));
}

#[test]
fn the_same_type_is_paired_before_another_that_overlaps() {
    // The first true entity overlaps both; the second of these is of its own type.
    let scores = entities(
        &[vec!["B-A", "I-A", "I-A"]],
        &[vec!["B-B", "B-A", "O"]],
        Some(Scheme::Bio),
    );
    let errors = scores.errors.unwrap();
    assert_eq!((errors.wrong_bounds, errors.spurious), (1, 1));
}

#[test]
fn the_flat_metrics_hold_what_the_task_is_scored_by() {
    let scores = entities(&[vec!["B-A"]], &[vec!["B-A"]], Some(Scheme::Bio));
    let flat = scores.flat(0.25);
    assert_eq!(flat.keys().next().unwrap(), "f1");
    for &metric in Metric::TAGS {
        let value = scores.value(metric).unwrap_or(0.25);
        assert_eq!(flat[metric.name()], value, "{metric}");
    }
    assert_eq!(scores.details()["scheme"], "bio");
}

#[test]
fn a_text_that_is_longer_on_one_side_is_cut() {
    let scores = entities(
        &[vec!["B-A", "I-A"], vec!["O"]],
        &[vec!["B-A"]],
        Some(Scheme::Bio),
    );
    assert_eq!((scores.accuracy, scores.means.f1), (1.0, 1.0));
    assert_eq!(entities(&[], &[], Some(Scheme::Bio)).means.f1_macro, 0.0);
    assert_eq!(entities(&[], &[], None).accuracy, 0.0);
}

const TAGS: [&str; 14] = [
    "O", "O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "E-B", "S-B", "I", "U-A", "", "é-A",
];

fn tagged() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(TAGS.to_vec()), 0..14)
}

/// A walk along transitions that `scheme` allows; each of `steps` chooses one of those that are open.
fn walk(scheme: Scheme, steps: &[usize]) -> Vec<&'static str> {
    let own = match scheme {
        Scheme::Bioes => &TAGS[1..10],
        Scheme::Bio | Scheme::Iob1 => &["O", "B-A", "I-A", "B-B", "I-B"],
    };
    let mut tags: Vec<&str> = Vec::new();
    for step in steps {
        let last = tags.last().copied();
        let open = own
            .iter()
            .filter(|tag| scheme.allows(last, Some(tag)))
            .collect::<Vec<_>>();
        tags.push(open[step % open.len()]);
    }
    while !scheme.allows(tags.last().copied(), None) {
        tags.pop();
    }
    tags
}

proptest! {
    #[test]
    fn every_entity_is_counted_once(truth in tagged(), predicted in tagged()) {
        let words = truth.len().min(predicted.len());
        let scores = entities(
            std::slice::from_ref(&truth),
            std::slice::from_ref(&predicted),
            Some(Scheme::Bioes),
        );
        let errors = scores.errors.unwrap();
        let paired = errors.correct
            + errors.wrong_type
            + errors.wrong_bounds
            + errors.wrong_type_and_bounds;
        let found = |tags: &[&'static str]| Entity::find(&tags[..words]).len() as u64;
        prop_assert_eq!(paired + errors.missed, found(&truth));
        prop_assert_eq!(paired + errors.spurious, found(&predicted));
    }

    #[test]
    fn exchanged_sides_exchange_precision_and_recall(truth in tagged(), predicted in tagged()) {
        let score = |left: &Vec<&'static str>, right: &Vec<&'static str>| {
            entities(std::slice::from_ref(left), std::slice::from_ref(right), Some(Scheme::Bio))
        };
        let (there, back) = (score(&truth, &predicted), score(&predicted, &truth));
        prop_assert_eq!(there.errors.unwrap().correct, back.errors.unwrap().correct);
        prop_assert_eq!(there.means.precision, back.means.recall);
    }

    #[test]
    fn entities_lie_within_the_words(tags in tagged()) {
        for scheme in [Scheme::Iob1, Scheme::Bio, Scheme::Bioes] {
            for entity in Entity::find(&tags).into_iter().chain(Entity::find_strictly(&tags, scheme)) {
                prop_assert!(entity.start < entity.end && entity.end <= tags.len());
            }
        }
    }

    #[test]
    fn where_all_is_allowed_both_modes_find_the_same(steps in prop::collection::vec(0..60usize, 0..16)) {
        for scheme in [Scheme::Iob1, Scheme::Bio, Scheme::Bioes] {
            let tags = walk(scheme, &steps);
            prop_assert_eq!(Entity::find(&tags), Entity::find_strictly(&tags, scheme));
        }
    }

    #[test]
    fn what_a_scheme_writes_is_never_taken_for_one_that_forbids_it(
        steps in prop::collection::vec(prop::collection::vec(0..60usize, 0..16), 0..4),
    ) {
        for scheme in [Scheme::Iob1, Scheme::Bio, Scheme::Bioes] {
            let texts: Vec<Vec<&str>> = steps.iter().map(|steps| walk(scheme, steps)).collect();
            let Some(found) = Scheme::recognise(&texts) else {
                prop_assert!(texts.iter().all(Vec::is_empty));
                continue;
            };
            for tags in &texts {
                let last = [None].into_iter().chain(tags.iter().copied().map(Some));
                let next = tags.iter().copied().map(Some).chain([None]);
                prop_assert!(last.zip(next).all(|(from, to)| found.allows(from, to)));
            }
            let all = texts.iter().flatten().copied();
            prop_assert!(all.clone().all(|tag| found.complete(all.clone()).contains(tag)));
        }
    }
}

#[test]
fn a_selection_of_texts_scores_as_these_alone() {
    let truth = [
        vec!["B-A", "I-A", "O"],
        vec!["B-B", "O"],
        vec!["O"],
        vec!["I-A", "B-B"],
    ];
    let predicted = [
        vec!["B-A", "O", "O"],
        vec!["B-B", "B-C"],
        vec!["O"],
        vec!["B-A", "B-B"],
    ];
    for scheme in [Some(Scheme::Bio), None] {
        let sample = sample_of_tags(&truth, &predicted, scheme);
        for rows in [vec![0, 1, 2, 3], vec![3, 3, 0, 1], vec![2, 2], vec![0]] {
            let of = |all: &[Vec<&'static str>]| -> Vec<Vec<&'static str>> {
                rows.iter().map(|&row| all[row].clone()).collect()
            };
            let mut wanted = entities(&of(&truth), &of(&predicted), scheme).flat(0.0);
            wanted.remove("loss");
            let found = (sample.score)(&rows);
            assert!(found.keys().eq(wanted.keys()), "{found:?}");
            for (name, wanted) in &wanted {
                let (found, wanted) = (found[name].as_f64().unwrap(), wanted.as_f64().unwrap());
                assert!(
                    (found - wanted).abs() < 1e-12,
                    "{name} of {rows:?} {scheme:?}"
                );
            }
        }
    }
}
