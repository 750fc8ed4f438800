//! The page as a whole: what is told beside the answers, tabs, hostile text, what is damaged or missing.

use refit::report::evaluation::{PageEvaluation, PageLabel, PageRows, PageScore, ReportPage};
use serde_json::{Value, json};

use super::fixture::{evaluation, named, page, rows};
use super::{HOSTILE, act, drawn, open, silent};

#[test]
fn training_data_steps_and_the_change_of_the_spec_are_told() {
    let rows = rows(40);
    let Some(seen) = act(
        &page(vec![evaluation(&rows)]),
        "return {
            charts: texts('#training figcaption'), facts: one('#training .figures').textContent,
            loss: one('#training svg').getAttribute('aria-label'),
            data: one('#data-set').textContent, graph: one('.graph').getAttribute('aria-label'), boxes: all('.graph .step').length,
            steps: texts('#steps tbody th'), times: texts('#steps tbody td.number'),
            gone: texts('.diff .gone'), added: texts('.diff .added'), spec: one('.spec').textContent,
        };",
    ) else {
        return;
    };
    assert_eq!(
        seen["charts"],
        json!([
            "Loss",
            "Validation scores",
            "Learning rate",
            "Gradient norm"
        ])
    );
    assert_eq!(
        seen["facts"],
        "steps200parameters22,000,000time2 min 00 sthroughput80 rows a second"
    );
    assert!(
        seen["loss"]
            .as_str()
            .unwrap()
            .contains("validation from 0.4 to 0.4"),
        "{seen}"
    );
    assert!(
        seen["data"]
            .as_str()
            .unwrap()
            .contains("rows are cut at 64 tokens"),
        "{seen}"
    );
    assert_eq!(
        seen["graph"],
        "The steps: rows; tokens reads rows; classifier reads tokens; scores reads classifier and tokens"
    );
    assert_eq!(seen["boxes"], 4);
    assert_eq!(
        seen["steps"],
        json!(["rows", "tokens", "classifier", "scores"])
    );
    assert_eq!(seen["times"][0], "1 min 23 s");
    assert_eq!(seen["gone"], json!(["earlier: − name = \"old\"\n"]));
    assert_eq!(seen["added"], json!(["now: + name = \"news\"\n"]));
    assert_eq!(seen["spec"], "version = 1\nname = \"news\"\n");
}

#[test]
fn each_of_several_evaluations_has_a_tab_and_its_own_rows() {
    let [first, second] = [rows(400), rows(30)];
    let mut other = evaluation(&second);
    other.stage = "others".to_owned();
    (other.explanations, other.doubtful, other.near) = (vec![], vec![], vec![]);
    let Some(mut browser) = open(&page(vec![evaluation(&first), other])) else {
        return;
    };
    browser.evaluate("await search('business'); one('[role=tab]').focus()");
    browser.press("ArrowRight");
    let seen = browser.evaluate(
        "await ready();
        const tabs = all('[role=tab]').map((tab) => [tab.getAttribute('aria-selected'), tab.tabIndex]);
        const second = [told(), one('#attention').hidden, texts('#contents a').includes('Attention')];
        all('[role=tab]')[0].click();
        await ready();
        return { tabs, second, first: told() };",
    );
    assert_eq!(seen["tabs"], json!([["false", -1], ["true", 0]]));
    assert_eq!(seen["second"], json!(["All 30 rows, 3 wrong", true, false]));
    assert_eq!(seen["first"], "All 400 rows, 40 wrong");
    silent(&mut browser);
}

#[test]
fn text_of_rows_labels_and_names_is_shown_and_never_run() {
    let mut rows = rows(40);
    rows.strings[10] = HOSTILE.to_owned();
    rows.name = (0..40).map(|row| format!("{HOSTILE} {row}")).collect();
    let mut hostile = evaluation(&rows);
    hostile.labels = vec![HOSTILE.to_owned(); 4];
    hostile.near[0].text = HOSTILE.to_owned();
    hostile.near[0].label = HOSTILE.to_owned();
    hostile.slices[0].value = HOSTILE.to_owned();
    hostile.explanations[0]["tokens"][1] = json!(HOSTILE);
    hostile.explanations[0]["output"] = json!(HOSTILE);
    hostile.attributed_to = Some(HOSTILE.to_owned());
    hostile.notes = vec![HOSTILE.to_owned()];
    let mut whole = page(vec![hostile]);
    let step = &mut whole.steps[0];
    for text in [
        &mut whole.pipeline,
        &mut whole.spec,
        &mut whole.text,
        &mut step.reason,
        &mut step.stage,
    ] {
        HOSTILE.clone_into(text);
    }
    whole.data[0].splits[0].labels[0].0 = HOSTILE.to_owned();
    let Some(seen) = act(
        &whole,
        "await search('window.broken');
        const found = listed().length;
        one('li[data-row=\"10\"] .toggle').click();
        for (const view of ['model', 'matrix', 'head']) one(`#attention input[value=${view}]`).click();
        all('#attention .left .token')[1].focus();
        one('#curves svg').focus();
        key(one('#curves svg'), 'End');
        await frame();
        return {
            broken: window.broken ?? null, scripts: all('script').length, images: all('img').length, found,
            title: document.title, heading: one('h1').textContent, text: one('li[data-row=\"10\"] .whole').textContent,
            answer: one('li[data-row=\"10\"] .answer').textContent, told: one('#attention .told').textContent,
        };",
    ) else {
        return;
    };
    assert_eq!(seen["broken"], Value::Null);
    // The data and the page's own.
    assert_eq!(seen["scripts"], 2);
    assert_eq!(seen["images"], 0);
    assert_eq!(seen["found"], 20);
    assert_eq!(seen["title"], format!("Report of {HOSTILE}"));
    assert_eq!(seen["heading"], HOSTILE);
    assert_eq!(seen["text"], HOSTILE);
    assert_eq!(seen["answer"], format!("✕ {HOSTILE}"));
    assert!(
        seen["told"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{HOSTILE} reads")),
        "{seen}"
    );
}

#[test]
fn rows_that_cannot_be_read_are_said_so_and_all_else_stands() {
    let rows = rows(40);
    let mut damaged = evaluation(&rows);
    damaged.packed = damaged.packed[..damaged.packed.len() / 2]
        .trim_end_matches('=')
        .to_owned();
    damaged.packed.truncate(damaged.packed.len() / 4 * 4);
    let Some(seen) = act(
        &page(vec![damaged]),
        "return { alert: one('[role=alert]').textContent, score: one('#headline .score').textContent, cells: all('.cell').length };",
    ) else {
        return;
    };
    assert!(
        seen["alert"]
            .as_str()
            .unwrap()
            .starts_with("The rows of this page cannot be read"),
        "{seen}"
    );
    assert_eq!(seen["score"], "0.9000 F1, mean of labels");
    assert_eq!(seen["cells"], 16);
}

#[test]
fn what_is_not_there_is_left_out() {
    let bare = PageEvaluation {
        stage: "scores".to_owned(),
        task: "classification".to_owned(),
        scores: vec![PageScore {
            value: f64::NAN,
            ..PageScore::default()
        }],
        per_label: vec![PageLabel {
            f1: f64::NAN,
            precision: f64::NAN,
            recall: f64::NAN,
            ..PageLabel::default()
        }],
        labels: named(&["only"]),
        packed: PageRows::default().packed(),
        ..PageEvaluation::default()
    };
    for whole in [ReportPage::default(), page(vec![]), page(vec![bare])] {
        let Some(mut browser) = open(&whole) else {
            return;
        };
        let dom = browser.evaluate("return document.documentElement.outerHTML");
        for word in ["NaN", "undefined", "null"] {
            assert!(!drawn(dom.as_str().unwrap()).contains(word), "{word}");
        }
        let empty = browser.evaluate("return all('main section').filter((one) => !one.hidden && !one.querySelector('.place').childNodes.length).map((one) => one.id)");
        assert_eq!(empty, json!([]));
        silent(&mut browser);
    }
}
