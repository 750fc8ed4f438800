//! How good the answers are: the headline, the labels, the matrix of confusion, the threshold.

use serde_json::json;

use super::fixture::{LABELS, confusion_of, evaluation, page, rows, thresholds};
use super::{act, first_page, open, ranked, silent};

#[test]
fn the_page_begins_with_the_score_its_interval_and_what_matters() {
    let rows = rows(400);
    let Some(seen) = act(
        &page(vec![evaluation(&rows)]),
        "return { score: one('#headline .score').textContent, all: one('#headline').textContent, found: texts('.findings li'),
            lead: one('#lead').textContent, bars: all('#headline .meter').length };",
    ) else {
        return;
    };
    assert_eq!(seen["score"], "0.9000 F1, mean of labels");
    let all = seen["all"].as_str().unwrap();
    assert!(
        all.contains("0.8800 to 0.9100: the interval of 95"),
        "{all}"
    );
    let found: Vec<&str> = seen["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap())
        .collect();
    assert!(
        found[0].starts_with("40 of 400 rows are wrong: 10.0"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("The worst label is Business: F1 0.750"),
        "{found:?}"
    );
    assert!(
        found[2].starts_with("Most often Business is taken for Sci/Tech: 10 times"),
        "{found:?}"
    );
    assert!(
        found[3].starts_with("Most fails where length: over 30 words: 50.0"),
        "{found:?}"
    );
    // What has no upper end has no bar.
    assert_eq!(seen["bars"], 2);
    assert!(
        seen["lead"]
            .as_str()
            .unwrap()
            .starts_with("400 rows of test"),
        "{seen}"
    );
}

#[test]
fn headers_sort_the_labels_and_a_label_shows_its_rows() {
    let rows = rows(400);
    let Some(seen) = act(
        &page(vec![evaluation(&rows)]),
        "const labels = () => texts('#classes tbody th');
        const begun = labels();
        called('precision', '#classes').click();
        const falling = [labels(), all('#classes [aria-sort]').map((one) => one.getAttribute('aria-sort'))];
        called('label', '#classes').click();
        const named = labels();
        called('Sports', '#classes').click();
        await frame();
        return { begun, falling, named, told: told() };",
    ) else {
        return;
    };
    assert_eq!(seen["begun"][0], "Business");
    assert_eq!(seen["falling"], json!([LABELS, ["descending"]]));
    assert_eq!(
        seen["named"],
        json!(["Business", "Sci/Tech", "Sports", "World"])
    );
    assert_eq!(seen["told"], "100 of 400 rows, 0 wrong: right Sports");
}

#[test]
fn a_cell_of_the_confusion_shows_its_rows_by_mouse_and_by_keyboard() {
    let rows = rows(400);
    let Some(mut browser) = open(&page(vec![evaluation(&rows)])) else {
        return;
    };
    let clicked = browser.evaluate(
        "const cell = one('[data-right=\"2\"][data-answered=\"3\"]');
        const name = nameOf(cell);
        cell.click();
        await frame();
        return { name, told: told(), rows: listed(), focus: document.activeElement.id, said: one('#said').textContent };",
    );
    let pair = |right: u16, answered: u16| {
        ranked(&rows, |row| {
            rows.right[row] == right && rows.answered[row] == answered
        })
    };
    assert_eq!(clicked["rows"], first_page(pair(2, 3)));
    let count = pair(2, 3).len();
    assert_eq!(
        clicked["told"],
        format!("{count} of 400 rows, {count} wrong: right Business, answered Sci/Tech")
    );
    assert_eq!(clicked["said"], clicked["told"]);
    assert_eq!(clicked["focus"], "rows");
    let name = clicked["name"].as_str().unwrap();
    assert!(
        name.starts_with(&format!(
            "right Business, answered Sci/Tech: {count} rows, "
        )),
        "{name}"
    );
    browser.evaluate("called('Back to where you were').click(); await frame()");
    let back = browser.evaluate(
        "return document.activeElement.dataset.right + document.activeElement.dataset.answered",
    );
    assert_eq!(back, "23");
    for key in ["ArrowUp", "ArrowUp", "ArrowLeft", "ArrowLeft", "Enter"] {
        browser.press(key);
    }
    let pressed = browser
        .evaluate("await frame(); return [told(), all('#confusion .cell[tabindex=\"0\"]').length]");
    assert_eq!(
        pressed[0],
        "20 of 400 rows, 20 wrong: right World, answered Sports"
    );
    assert_eq!(pressed[1], 1);
    silent(&mut browser);
}

#[test]
fn the_confusion_counts_rows_and_shares_of_lines_and_columns() {
    let rows = rows(400);
    let evaluation = evaluation(&rows);
    let [right, answered] = [2, 3];
    let cell = evaluation.confusion[right][answered] as f64;
    let line: u64 = evaluation.confusion[right].iter().sum();
    let column: u64 = evaluation.confusion.iter().map(|line| line[answered]).sum();
    let Some(seen) = act(
        &page(vec![evaluation]),
        "const cell = () => Number(one('[data-right=\"2\"][data-answered=\"3\"]').textContent);
        const seen = [cell()];
        for (const by of ['rows', 'columns']) {
            one(`#confusion input[value=${by}]`).click();
            await frame();
            seen.push(cell());
        }
        return seen;",
    ) else {
        return;
    };
    let shown = |share: f64| (1000.0 * share).round() / 10.0;
    let near = |place: usize, wanted: f64| {
        let found = seen[place].as_f64().unwrap();
        assert!((found - wanted).abs() <= 0.5, "{found} is not {wanted}");
    };
    near(0, cell);
    near(1, shown(cell / line as f64));
    near(2, shown(cell / column as f64));
    assert_ne!(seen[1], seen[2]);
}

#[test]
fn of_many_labels_the_most_confused_are_shown_and_more_when_asked_for() {
    let labels = 120;
    let mut rows = rows(1200);
    let mut many = evaluation(&rows);
    rows.right = (0..1200).map(|row| (row % labels) as u16).collect();
    rows.answered = rows.right.clone();
    // Label 7 is taken for 100 often, 50 for 51 once.
    for row in (0..1200).filter(|row| row % labels == 7) {
        rows.answered[row] = 100;
    }
    rows.answered[50] = 51;
    many.packed = rows.packed();
    many.labels = (0..labels).map(|label| format!("intent {label}")).collect();
    many.confusion = confusion_of(&rows, labels);
    many.slices.clear();
    let Some(seen) = act(
        &page(vec![many]),
        "const cells = () => all('#confusion .cell').length;
        const begun = [cells(), one('[data-right=\"7\"][data-answered=\"100\"]').textContent, one('[data-right=\"50\"][data-answered=\"51\"]').textContent];
        await pick('Labels', '48');
        const more = cells();
        await pick('Labels', '120');
        return { begun, more, all: cells(), wide: document.documentElement.scrollWidth > innerWidth };",
    ) else {
        return;
    };
    assert_eq!(seen["begun"], json!([144, "10", "1"]));
    assert_eq!(seen["more"], 48 * 48);
    assert_eq!(seen["all"], 120 * 120);
    assert_eq!(seen["wide"], false);
}

#[test]
fn the_slider_moves_precision_recall_and_counts() {
    let rows = rows(400);
    let mut evaluation = evaluation(&rows);
    let mut tuned = thresholds(3);
    (tuned.chosen, tuned.in_force) = (0.4037, [60, 119, 40, 81]);
    evaluation.thresholds = vec![thresholds(1), tuned];
    let Some(mut browser) = open(&page(vec![evaluation])) else {
        return;
    };
    let numbers = "return { at: one('#threshold output').textContent, values: texts('[data-measure]').map(Number), four: texts('#threshold td.number').map(Number), aloud: one('#threshold .slider').getAttribute('aria-valuetext') };";
    let begun = browser.evaluate(numbers);
    assert_eq!(begun["at"], "0.40");
    // 60 of 100 found, 120 others taken for it.
    assert_eq!(begun["four"], json!([60, 120, 40, 80]));
    assert_eq!(begun["values"], json!([0.333, 0.6, 0.429]));
    assert_eq!(
        begun["aloud"],
        "0.40: precision 0.333, recall 0.600, F1 0.429"
    );
    browser.evaluate("one('#threshold .slider').focus()");
    browser.press("ArrowRight");
    let moved = browser.evaluate(&format!("await frame(); {numbers}"));
    assert_eq!(moved["at"], "0.41");
    assert_eq!(moved["four"], json!([59, 118, 41, 82]));
    let best = browser.evaluate(&format!(
        "called('Best F1 here').click(); await frame(); {numbers}"
    ));
    assert_eq!(best["at"], "0.00");
    let other = browser.evaluate(&format!(
        "all('#threshold select')[0].value = '1'; await fill(all('#threshold select')[0], '1'); {numbers}"
    ));
    // What is in force need not be a hundredth.
    assert_eq!(other["at"], "0.404");
    assert_eq!(other["four"], json!([60, 119, 40, 81]));
    silent(&mut browser);
}
