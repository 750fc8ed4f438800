//! The rows: filters, pages, what opens, and a hundred thousand of them.

use refit::report::evaluation::report_page;
use serde_json::json;

use super::fixture::{evaluation, page, rows};
use super::{Browser, act, first_page, ranked, silent};

#[test]
fn search_labels_length_and_confidence_filter_together_until_all_is_shown_again() {
    let rows = rows(400);
    let Some(seen) = act(
        &page(vec![evaluation(&rows)]),
        "const begun = listed();
        await search('of business.');
        const found = [listed(), told()];
        await search('\"text 33 of\"');
        const phrase = listed();
        await search('\"text 3\" sports');
        const several = listed();
        await search('');
        await pick('Right', '2');
        await fill(one('[aria-label=\"Words from\"]'), '10');
        await fill(one('[aria-label=\"Words to\"]'), '20');
        await fill(one('[aria-label=\"Sure from\"]'), '50');
        const both = [listed(), told()];
        await pick('Answers', 'wrong');
        const wrong = listed();
        called('Show all rows').click();
        await frame();
        const again = [listed(), told(), one('[aria-label=\"Words from\"]').value, called('Show all rows').hidden];
        await pick('Order', 'file');
        return { begun, found, phrase, several, both, wrong, again, file: listed() };",
    ) else {
        return;
    };
    assert_eq!(seen["begun"], first_page(ranked(&rows, |_| true)));
    let business = ranked(&rows, |row| row % 4 == 2);
    assert_eq!(seen["found"][0], first_page(business.clone()));
    let wrong = business.iter().filter(|row| rows.wrong[**row]).count();
    assert_eq!(
        seen["found"][1],
        format!("100 of 400 rows, {wrong} wrong: with “of business.”")
    );
    assert_eq!(seen["phrase"], json!([33]));
    assert_eq!(
        seen["several"],
        first_page(ranked(&rows, |row| row.to_string().starts_with('3')
            && row % 4 == 1))
    );
    let both = |row: usize| row % 4 == 2 && (10..=20).contains(&(4 + row % 30)) && row >= 200;
    assert_eq!(seen["both"][0], first_page(ranked(&rows, both)));
    let told = seen["both"][1].as_str().unwrap();
    assert!(
        told.contains("right Business, 10 to 20 words, 50 to any % sure"),
        "{told}"
    );
    assert_eq!(
        seen["wrong"],
        first_page(ranked(&rows, |row| both(row) && rows.wrong[row]))
    );
    assert_eq!(seen["again"][0], seen["begun"]);
    assert_eq!(seen["again"][1], "All 400 rows, 40 wrong");
    assert_eq!(seen["again"][2], "");
    assert_eq!(seen["again"][3], true);
    assert_eq!(seen["file"], first_page((0..400).collect()));
}

#[test]
fn pages_of_rows_follow_each_other_and_meet_no_row_twice() {
    let rows = rows(400);
    let Some(seen) = act(
        &page(vec![evaluation(&rows)]),
        "const seen = [];
        for (;;) {
            seen.push(...listed());
            const next = one('[aria-label=\"Next page\"]');
            if (next.disabled) break;
            next.click();
            await frame();
        }
        return seen;",
    ) else {
        return;
    };
    assert_eq!(seen, json!(ranked(&rows, |_| true)));
}

#[test]
fn a_slice_shows_its_rows_and_says_when_not_all_are_listed() {
    let rows = rows(400);
    let Some(seen) = act(
        &page(vec![evaluation(&rows)]),
        "one('[data-slice=\"length: over 30 words\"] button').click();
        await frame();
        const held = [listed(), one('#rows .held').textContent];
        one('#rows .held button').click();
        await frame();
        await pick('By', 'label');
        return { held, free: told(), by: texts('#slices tbody th') };",
    ) else {
        return;
    };
    assert_eq!(seen["held"][0], json!([29, 59, 89]));
    let held = seen["held"][1].as_str().unwrap();
    assert!(
        held.contains("3 of 9 rows are listed, the wrong ones first"),
        "{held}"
    );
    assert_eq!(seen["free"], "All 400 rows, 40 wrong");
    assert_eq!(seen["by"], json!(["label Business"]));
}

#[test]
fn a_row_opens_to_its_text_its_neighbour_in_training_and_its_doubt() {
    let rows = rows(400);
    let Some(seen) = act(
        &page(vec![evaluation(&rows)]),
        "one('[data-doubt=\"10\"] button').click();
        await frame();
        const open = one('li[data-row=\"10\"] .inner');
        const text = open.textContent;
        called('What the model looks at', '#rows').click();
        return { text, whole: open.querySelector('.whole').textContent, focus: document.activeElement.id, near: one('#near').textContent };",
    ) else {
        return;
    };
    assert_eq!(seen["whole"], rows.strings[10]);
    let text = seen["text"].as_str().unwrap();
    for part in [
        "given Business",
        "suggested Sci/Tech",
        "almost.",
        "there Sci/Tech, here Business",
        "1010",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(seen["focus"], "attention");
    assert!(
        seen["near"]
            .as_str()
            .unwrap()
            .contains("row 77 of the training"),
        "{seen}"
    );
}

#[test]
fn a_hundred_thousand_rows_fit_in_a_file_and_filter_at_once() {
    const ROWS: usize = 100_000;
    let mut many = rows(ROWS);
    // Words as frequent as in a language, of which a text has forty.
    let mut state = 1u64;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let vocabulary: Vec<String> = (0..20_000)
        .map(|word: u32| {
            let mut rest = word * 7919 + 26;
            let mut letters = String::new();
            while rest > 0 {
                letters.push(char::from(b'a' + (rest % 26) as u8));
                rest /= 26;
            }
            letters
        })
        .collect();
    for (row, text) in many.strings.iter_mut().enumerate() {
        let words: Vec<&str> = (0..40)
            .map(|_| vocabulary[(20_000f64.powf(draw()) - 1.0) as usize].as_str())
            .collect();
        *text = format!("{} {row}", words.join(" "));
    }
    let evaluation = evaluation(&many);
    let html = report_page(&page(vec![evaluation]));
    let megabytes = html.len() as f64 / 1e6;
    assert!(html.len() < 20_000_000, "{megabytes:.1} MB");
    let Some(mut browser) = Browser::open(&html, "light") else {
        return;
    };
    let seen = browser.evaluate(
        "await ready();
        const readAt = performance.now();
        const paint = performance.getEntriesByName('first-contentful-paint')[0]?.startTime;
        const times = {};
        const timed = async (name, act) => {
            const begun = performance.now();
            await act();
            times[name] = Math.round(performance.now() - begun);
            return Number(one('#rows .rows').dataset.rows);
        };
        const found = {
            wrong: await timed('wrong rows', () => pick('Answers', 'wrong')),
            right: await timed('a label', () => pick('Right', '2')),
        };
        called('Show all rows').click();
        found.number = await timed('first search, with its wait of 150 ms', () => search('99999'));
        found.word = await timed('next search, with its wait of 150 ms', () => search('4242'));
        const filtering = Number(one('#rows .rows').dataset.milliseconds);
        called('Show all rows').click();
        found.all = await timed('a slice', () => one('[data-slice=\"label: Business\"] button').click());
        return { paint, readAt, times, filtering, found, items: all('#rows li[data-row]').length };",
    );
    silent(&mut browser);
    eprintln!("{ROWS} rows: {megabytes:.1} MB, {seen}");
    assert_eq!(seen["found"]["wrong"], ROWS / 10);
    let business_wrong = (0..ROWS)
        .filter(|row| row % 4 == 2 && row % 10 == 0)
        .count();
    assert_eq!(seen["found"]["right"], business_wrong);
    assert_eq!(seen["found"]["number"], 1);
    let with = (0..ROWS)
        .filter(|row| row.to_string().contains("4242"))
        .count();
    assert_eq!(seen["found"]["word"], with);
    assert_eq!(seen["found"]["all"], ROWS / 4);
    // However many pass, a page of them is drawn.
    assert_eq!(seen["items"], 20);
}
