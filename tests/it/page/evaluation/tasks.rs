//! The page for each kind of task, and what holds for all: no part is too wide, and whatever acts has a name.

use refit::report::evaluation::{PageConfused, PageEvaluation, PageRows, ReportPage};
use serde_json::json;

use super::fixture::{evaluation, named, page, rows, thresholds};
use super::{act, open, silent};

fn bare(task: &str, rows: &PageRows, labels: &[&str]) -> PageEvaluation {
    PageEvaluation {
        task: task.to_owned(),
        labels: named(labels),
        explanations: vec![],
        doubtful: vec![],
        near: vec![],
        confusion: vec![],
        curves: vec![],
        calibration: vec![],
        confused: vec![],
        per_label: vec![],
        slices: vec![],
        packed: rows.packed(),
        rows: rows.wrong.len(),
        ..evaluation(rows)
    }
}

/// A row with two texts, if it has two.
fn texts(rows: &[(&str, Option<&str>)], wrong: &[bool]) -> PageRows {
    let mut strings = Vec::new();
    let mut place = |text: &str| {
        strings.push(text.to_owned());
        Some(strings.len() as u32 - 1)
    };
    let text = rows.iter().map(|&(text, _)| place(text)).collect();
    let pair: Vec<Option<u32>> = rows
        .iter()
        .map(|&(_, pair)| pair.and_then(&mut place))
        .collect();
    PageRows {
        id: (0..rows.len() as u64).collect(),
        text,
        pair: if pair.iter().any(Option::is_some) {
            pair
        } else {
            vec![]
        },
        strings,
        wrong: wrong.to_vec(),
        words: rows
            .iter()
            .map(|(text, _)| text.split_whitespace().count() as u32)
            .collect(),
        ..PageRows::default()
    }
}

fn entities() -> PageEvaluation {
    let mut rows = texts(
        &[
            ("😀 Ann met Bob in Rome", None),
            ("Paris and the Tate Modern", None),
            ("Nothing here", None),
        ],
        &[true, true, false],
    );
    // Counted in characters: the first is one, though it is two units of a browser's text.
    rows.right_entities = vec![
        vec![
            (2, 5, 0, "correct"),
            (10, 13, 0, "missed"),
            (17, 21, 1, "type"),
        ],
        vec![(10, 25, 1, "boundary")],
        vec![],
    ];
    rows.found_entities = vec![
        vec![(2, 5, 0, "correct"), (17, 21, 0, "type")],
        vec![(0, 5, 1, "spurious"), (14, 25, 1, "boundary")],
        vec![],
    ];
    let mut evaluation = bare("token_classification", &rows, &["person", "place"]);
    for (kind, count) in [
        ("correct", 1),
        ("type", 1),
        ("boundary", 1),
        ("both", 0),
        ("missed", 1),
        ("spurious", 1),
    ] {
        evaluation
            .entity_errors
            .insert(kind.to_owned(), json!(count));
    }
    evaluation
}

#[test]
fn a_text_that_is_not_there_has_nothing_marked_in_it() {
    let mut rows = texts(&[("Ada met Bob", None), ("In Rome", None)], &[true, true]);
    rows.text[1] = None;
    rows.right_entities = vec![vec![(0, 3, 0, "missed")], vec![(3, 7, 0, "missed")]];
    rows.found_entities = vec![vec![], vec![]];
    let evaluation = bare("token_classification", &rows, &["name"]);
    let Some(seen) = act(
        &page(vec![evaluation]),
        "return { marks: all('#rows mark').map((one) => one.textContent), text: one('li[data-row=\"1\"] .text').textContent };",
    ) else {
        return;
    };
    assert_eq!(seen["marks"], json!(["Ada"]));
    assert_eq!(seen["text"], "(The text is not on this page.)");
}

#[test]
fn of_an_evaluation_that_was_collected_no_rows_are_awaited() {
    let rows = texts(&[("A text", None)], &[true]);
    let mut evaluation = bare("", &rows, &[]);
    evaluation.packed.clear();
    let Some(seen) = act(
        &page(vec![evaluation]),
        "return { headline: one('#headline').textContent, lead: one('#lead').textContent, rows: one('#rows').hidden };",
    ) else {
        return;
    };
    assert!(
        !seen["headline"].as_str().unwrap().contains("Reading"),
        "{seen}"
    );
    assert!(
        seen["lead"]
            .as_str()
            .unwrap()
            .starts_with("1 row of test by classifier"),
        "{seen}"
    );
    assert_eq!(seen["rows"], true);
}

fn questions() -> PageEvaluation {
    let context = "Été was long. Rome fell in 476, and 476 was a year.";
    let mut rows = texts(
        &[
            ("When did Rome fall?", Some(context)),
            ("Who rose?", Some(context)),
            ("What fell?", Some(context)),
        ],
        &[true, true, false],
    );
    rows.answers = vec![named(&["476"]), vec![], named(&["Rome"])];
    rows.answer = named(&["in 476", "Rome", "Rome"]);
    rows.answer_span = vec![Some((24, 30)), Some((14, 18)), Some((14, 18))];
    rows.row_scores = vec![("f1".to_owned(), vec![0.67, 0.0, 1.0])];
    bare("question_answering", &rows, &[])
}

fn several_labels() -> PageEvaluation {
    let mut rows = texts(
        &[
            ("I am glad", None),
            ("I am cross and sad", None),
            ("So so", None),
        ],
        &[false, true, true],
    );
    rows.right_labels = vec![vec![0], vec![1, 2], vec![]];
    rows.answered_labels = vec![vec![0], vec![1], vec![2]];
    let mut evaluation = bare("multi_label", &rows, &["joy", "anger", "grief"]);
    evaluation.thresholds = vec![thresholds(0), thresholds(2)];
    evaluation.confused = vec![PageConfused {
        right: 1,
        answered: 2,
        count: 1,
        share: 0.5,
    }];
    evaluation
}

fn numbers() -> PageEvaluation {
    let mut rows = texts(
        &[("near", None), ("far", None), ("unknown", None)],
        &[false; 3],
    );
    rows.targets = vec![(
        "likeness".to_owned(),
        vec![Some(1.0), Some(2.0), None],
        vec![Some(1.25), Some(4.5), Some(3.0)],
    )];
    bare("regression", &rows, &[])
}

fn generated() -> PageEvaluation {
    let mut rows = texts(
        &[
            ("a cat sat", Some("the cat sat down")),
            ("dogs", Some("a dog ran")),
        ],
        &[false; 2],
    );
    rows.row_scores = vec![("rouge_l".to_owned(), vec![0.57, 0.0])];
    bare("generation", &rows, &[])
}

#[test]
fn entities_are_marked_with_their_kind_and_a_kind_shows_its_rows() {
    let Some(seen) = act(
        &page(vec![entities()]),
        "const row = (at) => one(`li[data-row=\"${at}\"] .text`);
        const marks = (at) => [...row(at).querySelectorAll('mark')].map((mark) => mark.textContent);
        const tags = (at) => [...row(at).querySelectorAll('.tag')].map((tag) => tag.textContent);
        const all_of = [marks(0), tags(0), marks(1), tags(1), row(2).textContent];
        const bars = texts('#entities .amount');
        called('spurious', '#entities').click();
        await frame();
        const spurious = [listed(), told()];
        await pick('Type', '0');
        const none = listed();
        return { all_of, bars, spurious, none, found: texts('.findings li') };",
    ) else {
        return;
    };
    let [marks, tags] = [&seen["all_of"][0], &seen["all_of"][1]];
    assert_eq!(*marks, json!(["Ann", "Bob", "Rome"]));
    assert_eq!(
        *tags,
        json!([
            "person",
            "missed person",
            "right: place",
            "found: person (wrong type)"
        ])
    );
    assert_eq!(seen["all_of"][2], json!(["Paris", "the ", "Tate Modern"]));
    assert_eq!(
        seen["all_of"][3],
        json!([
            "spurious place",
            "right: place",
            "found: place (wrong boundary)"
        ])
    );
    assert_eq!(seen["all_of"][4], "Nothing here");
    assert_eq!(seen["bars"], json!(["1", "1", "1", "0", "1", "1"]));
    assert_eq!(
        seen["spurious"],
        json!([[1], "1 of 3 rows, 1 wrong: spurious"])
    );
    assert_eq!(seen["none"], json!([]));
    let found = seen["found"].as_array().unwrap();
    assert!(
        found.iter().any(|one| one.as_str().unwrap().starts_with(
            "1 of 4 entities are found exactly, 1 are missed altogether, and 1 are spurious"
        )),
        "{seen}"
    );
}

#[test]
fn an_answer_and_what_is_right_are_marked_in_the_context() {
    let Some(seen) = act(
        &page(vec![questions()]),
        "for (const toggle of all('#rows .toggle')) toggle.click();
        const marks = (at) => [...all(`li[data-row=\"${at}\"] mark`)].map((mark) => [mark.textContent, mark.className]);
        const seen = [marks(0), marks(1), marks(2)];
        await pick('Questions', 'needless');
        return { seen, needless: listed(), answers: texts('li[data-row=\"1\"] .answers'), found: texts('.findings li') };",
    ) else {
        return;
    };
    // The right answer nearest to the given one, within it.
    assert_eq!(
        seen["seen"][0],
        json!([["in ", "a-given"], ["476", "a-right a-given"]])
    );
    assert_eq!(seen["seen"][1], json!([["Rome", "a-given"]]));
    assert_eq!(seen["seen"][2], json!([["Rome", "a-right a-given a-good"]]));
    assert_eq!(seen["needless"], json!([1]));
    assert_eq!(seen["answers"], json!(["✕ Romeright: no answer"]));
    let found = seen["found"].as_array().unwrap();
    assert!(
        found.iter().any(|one| one
            .as_str()
            .unwrap()
            .starts_with("1 of 1 questions without an answer got one")),
        "{seen}"
    );
}

#[test]
fn labels_too_many_and_too_few_are_told_apart() {
    let Some(seen) = act(
        &page(vec![several_labels()]),
        "const chips = (at) => [...all(`li[data-row=\"${at}\"] .chip`)].map((chip) => chip.textContent);
        const all_of = [chips(0), chips(1), chips(2)];
        await pick('Label', '2');
        const either = listed();
        await pick('It is', 'missed');
        const missed = listed();
        await pick('It is', 'spurious');
        return { all_of, either, missed, spurious: [listed(), told()], sliders: all('.slider').length };",
    ) else {
        return;
    };
    assert_eq!(
        seen["all_of"],
        json!([["joy"], ["anger", "missed grief"], ["spurious grief"]])
    );
    assert_eq!(seen["either"], json!([1, 2]));
    assert_eq!(seen["missed"], json!([1]));
    assert_eq!(
        seen["spurious"],
        json!([
            [2],
            "1 of 3 rows, 1 wrong: label grief, answered, not right"
        ])
    );
    assert_eq!(seen["sliders"], 1);
}

#[test]
fn numbers_stand_against_each_other_and_the_farthest_off_come_first() {
    let Some(seen) = act(
        &page(vec![numbers()]),
        "const begun = listed();
        const labels = all('#numbers svg').map((one) => one.getAttribute('aria-label'));
        const chart = one('#numbers svg');
        chart.focus();
        key(chart, 'End');
        const said = one('#said').textContent;
        key(chart, 'Enter');
        await frame();
        return { begun, labels, said, opened: listed(), found: texts('.findings li') };",
    ) else {
        return;
    };
    assert_eq!(seen["begun"], json!([1, 0, 2]));
    assert!(
        seen["labels"][0]
            .as_str()
            .unwrap()
            .starts_with("likeness: answered against right, 2 rows"),
        "{seen}"
    );
    assert_eq!(seen["said"], "row 1: right 2, answered 4.5. far");
    assert_eq!(seen["opened"], json!([1]));
    assert!(
        seen["found"][0]
            .as_str()
            .unwrap()
            .contains("the farthest by 2.5"),
        "{seen}"
    );
}

#[test]
fn a_generated_text_stands_beside_its_reference() {
    let Some(seen) = act(
        &page(vec![generated()]),
        "const begun = listed();
        one('li[data-row=\"1\"] .toggle').click();
        return { begun, beside: texts('.beside > div'), verdict: all('select').some((one) => nameOf(one) === 'Answers') };",
    ) else {
        return;
    };
    assert_eq!(seen["begun"], json!([1, 0]));
    assert_eq!(
        seen["beside"],
        json!(["Generateddogs", "Referencea dog ran"])
    );
    assert_eq!(seen["verdict"], false);
}

/// All kinds of pages, one with all sections.
fn kinds() -> Vec<(&'static str, ReportPage)> {
    let rows = rows(400);
    let mut whole = evaluation(&rows);
    whole.thresholds = vec![thresholds(1)];
    vec![
        ("classification", page(vec![whole.clone(), whole])),
        ("entities", page(vec![entities()])),
        ("questions", page(vec![questions()])),
        ("several labels", page(vec![several_labels()])),
        ("numbers", page(vec![numbers()])),
        ("generated", page(vec![generated()])),
    ]
}

#[test]
fn no_part_is_wider_than_the_window_on_a_screen_or_on_paper() {
    for (name, page) in kinds() {
        let Some(mut browser) = open(&page) else {
            return;
        };
        for (media, scheme, width) in [
            ("screen", "light", 360),
            ("screen", "dark", 800),
            ("screen", "dark", 1280),
            ("print", "light", 700),
        ] {
            browser.show_as(media, scheme);
            browser.resize(width, 900);
            let seen = browser.evaluate(
                "for (const toggle of all('#rows .toggle[aria-expanded=false]').slice(0, 2)) toggle.click();
                await frame();
                const controls = all('button, input, select').filter((one) => one.checkVisibility() && one.getBoundingClientRect().width > 0);
                return { wide: document.documentElement.scrollWidth - innerWidth, controls: controls.filter((one) => one.matches('select, input, .pages button, .toggle')).length };",
            );
            assert!(
                seen["wide"].as_i64().unwrap() <= 0,
                "{name}, {media} {width}: {seen}"
            );
            // Paper has nothing to press.
            assert_eq!(
                media == "print",
                seen["controls"] == 0,
                "{name}, {media}: {seen}"
            );
        }
        silent(&mut browser);
    }
}

#[test]
fn axe_finds_no_barrier_in_any_view() {
    for (name, page) in kinds() {
        let Some(mut browser) = open(&page) else {
            return;
        };
        for scheme in ["light", "dark"] {
            browser.show_as("screen", scheme);
            for view in ["head", "several", "model", "matrix"] {
                let there = browser.evaluate(&format!(
                    "for (const toggle of all('#rows .toggle[aria-expanded=false]').slice(0, 2)) toggle.click();
                    const to = one('#attention input[value={}]');
                    if (!to) return false;
                    to.click();
                    if ('{view}' === 'several') await pick('Head', '-2');
                    await frame();
                    return true;",
                    view.replace("several", "head")
                ));
                // Without attention the page has one view.
                if there == false && view != "head" {
                    continue;
                }
                let Some(found) = browser.barriers() else {
                    return;
                };
                assert_eq!(found, json!([]), "{name}, {scheme}, {view}");
            }
        }
        silent(&mut browser);
    }
}

#[test]
fn whatever_acts_has_a_name_and_whatever_draws_has_a_text() {
    for (name, page) in kinds() {
        let Some(seen) = act(
            &page,
            "for (const toggle of all('#rows .toggle').slice(0, 2)) toggle.click();
            one('#attention input[value=model]')?.click();
            await frame();
            const unnamed = all('input, select, button, [role=button], [role=application]').filter((one) => !nameOf(one)).map((one) => one.outerHTML.slice(0, 120));
            const charts = all('svg').filter((one) => !one.closest('[aria-hidden=true]') && !one.getAttribute('aria-label')).map((one) => one.outerHTML.slice(0, 120));
            const regions = all('[role=region]').filter((one) => !one.getAttribute('aria-label')).length;
            const headings = all('h1, h2, h3, h4').filter((one) => one.checkVisibility() && !one.textContent.trim()).length;
            const ids = all('[id]').map((one) => one.id);
            const columns = all('table').filter((one) => !one.caption).length;
            return { unnamed, charts, regions, headings, columns, twice: ids.filter((id, at) => ids.indexOf(id) !== at), bad: /NaN|undefined|\\[object/.test(one('main').textContent) };",
        ) else {
            return;
        };
        assert_eq!(
            seen,
            json!({ "unnamed": [], "charts": [], "regions": 0, "headings": 0, "columns": 0, "twice": [], "bad": false }),
            "{name}"
        );
    }
}
