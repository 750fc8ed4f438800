//! The page of a sweep in a real browser: what a reader does, and what the page then shows.
//!
//! The browser is `REFIT_TEST_BROWSER`, else `chromium`, `chromium-browser` or `google-chrome` of the path. Where there is
//! none these tests skip, loudly; where tests must not skip (`REFIT_TEST_ALL`) they fail, unless `REFIT_TEST_NO_BROWSER`
//! says that none can be had.

use refit::report::sweep::{Executions, PageParameter, PageTrial, Scale, SweepPage, sweep_page};
use serde_json::{Map, Value, json};

pub(crate) mod browser;
mod evaluation;

use browser::Browser;

const HOSTILE: &str =
    "<script>window.broken = 1</script><img src=x onerror=\"window.broken = 1\">&amp;";

/// Opens the page and acts on it: `script` is the body of an asynchronous function whose result comes back. The console
/// must stay silent meanwhile, and nothing but the page be asked for.
fn act(page: &SweepPage, script: &str) -> Option<Value> {
    let mut browser = Browser::open(&sweep_page(page), "light")?;
    let value = browser.evaluate(script);
    silent(&mut browser);
    Some(value)
}

#[test]
fn axe_finds_no_barrier_in_a_sweep() {
    for scheme in ["light", "dark"] {
        let Some(mut browser) = Browser::open(&sweep_page(&sweep(60)), scheme) else {
            return;
        };
        let Some(found) = browser.barriers() else {
            return;
        };
        assert_eq!(found, json!([]), "{scheme}");
        silent(&mut browser);
    }
}

#[track_caller]
fn silent(browser: &mut Browser) {
    browser.settle();
    assert_eq!(browser.console, Vec::<Value>::new());
    let own = browser.address();
    let foreign = |address: &&String| **address != own && !address.starts_with("data:");
    assert_eq!(
        browser.asked.iter().find(foreign),
        None,
        "an address is asked for"
    );
}

fn parameter(name: &str, scale: Scale) -> PageParameter {
    PageParameter {
        name: name.to_owned(),
        scale,
    }
}

const RATE: &str = "train.classifier.optimizer.learning_rate";
const RANK: &str = "train.classifier.lora.rank";
const ENCODER: &str = "vars.encoder";

/// A sweep of so many trials: every tenth fails, every tenth is pruned; every second has a rank; scores rise with the rate.
fn sweep(count: usize) -> SweepPage {
    let trials: Vec<PageTrial> = (0..count)
        .map(|number| {
            let state = match number % 10 {
                3 => "failed",
                7 => "pruned",
                _ => "done",
            };
            // A walk over 0 to 1 that meets every trial at another place.
            let share = ((number * 37) % count.max(1)) as f64 / count as f64;
            let mut parameters = Map::new();
            parameters.insert(RATE.to_owned(), json!(1e-5 * 100f64.powf(share)));
            let encoder = [
                "bert-base-uncased",
                "distilbert-base-uncased",
                "roberta-base",
            ];
            parameters.insert(ENCODER.to_owned(), json!(encoder[number % 3]));
            if number % 2 == 0 {
                parameters.insert(RANK.to_owned(), json!(2 << (number % 4)));
            }
            let score = 0.5 + 0.4 * share;
            let steps = if state == "pruned" { 2 } else { 6 };
            let curve = |lift: f64| {
                (1..=steps)
                    .map(|step| (100 * step, score - 0.3 / step as f64 + lift))
                    .collect()
            };
            let failed = state == "failed";
            PageTrial {
                number,
                state: state.to_owned(),
                parameters,
                score: (!failed).then_some(score),
                spread: (state == "done").then_some(0.01),
                seconds: 10.0 + (number % 7) as f64,
                curves: if failed {
                    vec![]
                } else {
                    vec![curve(0.0), curve(0.01)]
                },
                built: 2,
                fresh: 3,
                message: failed.then(|| format!("the loss is not a number at step {number}")),
            }
        })
        .collect();
    let best = trials
        .iter()
        .filter(|trial| trial.state == "done")
        .max_by(|a, b| a.score.unwrap_or(0.0).total_cmp(&b.score.unwrap_or(0.0)))
        .map(|trial| trial.number);
    SweepPage {
        pipeline: "ag-news".to_owned(),
        goal: "classifier.f1_macro".to_owned(),
        direction: "maximize".to_owned(),
        search: "random".to_owned(),
        parameters: vec![
            parameter(RATE, Scale::Log),
            parameter(RANK, Scale::Integer),
            parameter(ENCODER, Scale::Choice),
        ],
        trials,
        best,
        executions: Executions {
            needed: 5 * count as u64,
            ran: 2 * count as u64,
            saved: 3 * count as u64,
        },
        importance: vec![(RATE.to_owned(), 0.8), (ENCODER.to_owned(), 0.1)],
        command: "refit sweep ag-news.toml".to_owned(),
    }
}

/// Numbers of the trials that pass, the best first, those without a score last: the order in which the table begins.
fn ranked(page: &SweepPage, keep: impl Fn(&PageTrial) -> bool) -> Value {
    let mut kept: Vec<&PageTrial> = page.trials.iter().filter(|trial| keep(trial)).collect();
    let key = |trial: &PageTrial| trial.score.unwrap_or(f64::NEG_INFINITY);
    kept.sort_by(|a, b| key(b).total_cmp(&key(a)).then(a.number.cmp(&b.number)));
    kept.iter().map(|trial| trial.number).collect()
}

/// What the browser shows of a page: all but the scripts.
fn drawn(dom: &str) -> &str {
    dom.split("<script").next().unwrap_or_default()
}

#[test]
fn a_page_of_any_size_draws_itself_and_asks_for_nothing() {
    for count in [0, 1, 3, 30, 300, 1000] {
        let html = sweep_page(&sweep(count));
        let own = html.replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "src=", "url(", "@import"] {
            assert!(!own.contains(word), "{word} with {count} trials");
        }
        let scheme = if count == 30 { "dark" } else { "light" };
        let Some(mut browser) = Browser::open(&html, scheme) else {
            return;
        };
        let dom = browser.evaluate("return document.documentElement.outerHTML");
        let dom = dom.as_str().unwrap();
        silent(&mut browser);
        let charts = dom.matches("<svg").count();
        // Parallel axes, one for each parameter, history, curves, time, score against time.
        let wanted = match count {
            0 => 0,
            _ => 1 + 3 + 1 + 1 + 2,
        };
        assert_eq!(charts, wanted, "{count} trials");
        assert_eq!(
            dom.matches("data-trial=").count(),
            count.min(100),
            "{count} trials"
        );
        assert!(!drawn(dom).contains("NaN"), "{count} trials");
    }
}

#[test]
fn sweeps_without_scores_curves_or_differences_have_a_page() {
    let mut nothing_done = sweep(5);
    for trial in &mut nothing_done.trials {
        (trial.score, trial.spread, trial.curves) = (None, None, vec![]);
        (trial.state, trial.seconds) = ("pending".to_owned(), 0.0);
    }
    (nothing_done.best, nothing_done.importance) = (None, vec![]);
    let mut equal = sweep(12);
    for trial in &mut equal.trials {
        trial.score = Some(0.5);
        trial.curves = vec![vec![(10, f64::NAN)], vec![], vec![(10, 0.5)]];
        trial.parameters = [(RATE.to_owned(), json!(1e-4))].into_iter().collect();
    }
    let mut bare = sweep(4);
    bare.parameters = vec![];
    bare.trials
        .iter_mut()
        .for_each(|trial| trial.parameters = Map::new());
    let mut odd = sweep(6);
    for (index, trial) in odd.trials.iter_mut().enumerate() {
        let value = [
            json!(-1.0),
            json!("x"),
            json!(null),
            json!([1, "a"]),
            json!({"a": {"b": 1}}),
            json!(true),
        ];
        trial.parameters = [(RATE.to_owned(), value[index].clone())]
            .into_iter()
            .collect();
        trial.state = "something new".to_owned();
    }
    for (name, page) in [
        ("nothing done", nothing_done),
        ("equal", equal),
        ("bare", bare),
        ("odd", odd),
    ] {
        let Some(mut browser) = Browser::open(&sweep_page(&page), "dark") else {
            return;
        };
        let dom = browser.evaluate("return document.documentElement.outerHTML");
        let dom = dom.as_str().unwrap();
        silent(&mut browser);
        for word in ["NaN", "undefined"] {
            assert!(!drawn(dom).contains(word), "{word}: {name}");
        }
        assert_eq!(
            dom.matches("data-trial=").count(),
            page.trials.len(),
            "{name}"
        );
    }
}

#[test]
fn a_header_sorts_and_what_is_missing_stays_last() {
    let page = sweep(30);
    let Some(seen) = act(
        &page,
        "const begun = rows();
        header('learning_rate').click();
        const up = [rows(), sorting()];
        header('learning_rate').click();
        const down = [rows(), sorting()];
        header('lora.rank').click();
        const rank = rows();
        header('f1_macro').click();
        return { begun, up, down, rank, first: rows()[0] };",
    ) else {
        return;
    };
    assert_eq!(seen["begun"], ranked(&page, |_| true));
    let rate = |number: &usize| page.trials[*number].parameters[RATE].as_f64().unwrap();
    let mut rising: Vec<usize> = (0..30).collect();
    rising.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
    assert_eq!(
        seen["up"],
        json!([rising, [["learning_rate", "ascending"]]])
    );
    rising.reverse();
    assert_eq!(
        seen["down"],
        json!([rising, [["learning_rate", "descending"]]])
    );
    let rank: Vec<usize> = seen["rank"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap() as usize)
        .collect();
    assert!(rank[15..].iter().all(|number| number % 2 == 1), "{rank:?}");
    assert_eq!(seen["first"], seen["begun"][0]);
}

#[test]
fn search_and_states_filter_every_chart_and_the_table() {
    for count in [3, 30, 300] {
        let page = sweep(count);
        let Some(seen) = act(
            &page,
            "await type('encoder=bert-base');
            const found = [rows(), counts()];
            await type('not a number');
            const failed = rows();
            await type('');
            await tick(one('#states input[value=done]'));
            const others = rows();
            one('#clear').click();
            await frame();
            return { found, failed, others, all: shown() };",
        ) else {
            return;
        };
        let bert = |trial: &PageTrial| trial.parameters[ENCODER] == "bert-base-uncased";
        let some = |keep: &dyn Fn(&PageTrial) -> bool| {
            let all = ranked(&page, keep);
            Value::Array(all.as_array().unwrap().iter().take(100).cloned().collect())
        };
        assert_eq!(seen["found"][0], some(&bert));
        let lines = page.trials.iter().filter(|trial| bert(trial)).count();
        let points = page
            .trials
            .iter()
            .filter(|trial| bert(trial) && trial.score.is_some())
            .count();
        // Parallel axes and the time of trials show failed ones too.
        let wanted = [lines, points, points, points, points, points, lines, points];
        assert_eq!(seen["found"][1], json!(wanted), "{count} trials");
        assert_eq!(seen["failed"], some(&|trial| trial.state == "failed"));
        assert_eq!(seen["others"], some(&|trial| trial.state != "done"));
        assert_eq!(seen["all"], format!("All {count} trials shown"));
    }
}

#[test]
fn a_drag_along_an_axis_limits_everything_until_it_is_let_go() {
    let page = sweep(30);
    let Some(seen) = act(
        &page,
        "const rate = 'train.classifier.optimizer.learning_rate', rank = 'train.classifier.lora.rank';
        await drag(rate, tick_of(rate, '0.001') - 5, tick_of(rate, '1e-4') + 2);
        const upper = [rows(), limits(), counts()];
        one('#limits button').click();
        await frame();
        const free = [rows().length, limits()];
        await press('vars.encoder', tick_of('vars.encoder', 'roberta-base'));
        const roberta = rows();
        await press('vars.encoder', tick_of('vars.encoder', 'distilbert-base-uncased'));
        const two = rows();
        await press('vars.encoder', tick_of('vars.encoder', 'roberta-base'));
        await press('vars.encoder', tick_of('vars.encoder', 'distilbert-base-uncased'));
        const none = limits();
        await drag(rank, tick_of(rank, 'not set') - 8, tick_of(rank, 'not set') + 8);
        const unset = rows();
        await press(rank, tick_of(rank, 'not set'));
        await fill(one('#limit [aria-label=\"learning_rate to\"]'), '1e-4');
        const typed = rows();
        await fill(one('#limit [aria-label=\"learning_rate to\"]'), 'much');
        const wrong = [rows().length, one('#limit [aria-invalid]').value];
        return { upper, free, roberta, two, none, unset, typed, wrong };",
    ) else {
        return;
    };
    let rate = |trial: &PageTrial| trial.parameters[RATE].as_f64().unwrap();
    let is = |trial: &PageTrial, name: &str| trial.parameters[ENCODER] == name;
    let upper = ranked(&page, |trial| rate(trial) >= 1e-4);
    assert_eq!(seen["upper"][0], upper);
    assert!(
        seen["upper"][1][0]
            .as_str()
            .unwrap()
            .starts_with("learning_rate: "),
        "{seen}"
    );
    assert_eq!(seen["upper"][2][0], upper.as_array().unwrap().len());
    assert_eq!(seen["free"], json!([30, []]));
    assert_eq!(
        seen["roberta"],
        ranked(&page, |trial| is(trial, "roberta-base"))
    );
    assert_eq!(
        seen["two"],
        ranked(&page, |trial| !is(trial, "bert-base-uncased"))
    );
    assert_eq!(seen["none"], json!([]));
    assert_eq!(seen["unset"], ranked(&page, |trial| trial.number % 2 == 1));
    assert_eq!(seen["typed"], ranked(&page, |trial| rate(trial) <= 1e-4));
    assert_eq!(seen["wrong"], json!([30, "much"]));
}

#[test]
fn pointer_and_focus_lift_a_trial_out_of_every_chart() {
    let page = sweep(30);
    let Some(seen) = act(
        &page,
        "const lifted = () => all('svg.chart').map((chart) => chart.querySelectorAll('.hovered > *').length > 0);
        one('[data-trial=\"4\"] th button').focus();
        const focused = lifted();
        key(document.activeElement, 'ArrowDown');
        const next = Number(document.activeElement.closest('tr').dataset.trial);
        document.activeElement.blur();
        const left = lifted();
        const chart = one('#scores svg.chart');
        chart.focus();
        key(chart, 'End');
        const walked = [lifted(), one('#said').textContent, one('.tip').hidden];
        key(chart, 'Escape');
        const away = one('.tip').hidden;
        const box = one('#scores svg.chart path.dot').getBoundingClientRect();
        const at = dot(one('#scores svg.chart'));
        point(chart, at.x, at.y);
        return { focused, next, left, walked, away, pointed: [lifted(), one('.tip').textContent] };",
    ) else {
        return;
    };
    let ranks = ranked(&page, |_| true);
    let ranks: Vec<u64> = ranks
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .collect();
    let place = ranks.iter().position(|number| *number == 4).unwrap();
    assert_eq!(seen["focused"], json!(vec![true; 8]));
    assert_eq!(seen["next"], ranks[place + 1]);
    assert_eq!(seen["left"], json!(vec![false; 8]));
    assert_eq!(seen["walked"][0], json!(vec![true; 8]));
    // The rightmost point has the highest rate of those with a score.
    let said = seen["walked"][1].as_str().unwrap();
    assert!(said.starts_with(&format!("Trial {}, ", ranks[0])), "{said}");
    assert_eq!(seen["walked"][2], false);
    assert_eq!(seen["away"], true);
    assert_eq!(seen["pointed"][0], json!(vec![true; 8]));
    assert!(
        seen["pointed"][1].as_str().unwrap().contains("f1_macro"),
        "{seen}"
    );
}

#[test]
fn a_row_opens_settings_message_and_the_command_that_repeats_it() {
    let mut page = sweep(30);
    page.command = "refit sweep 'my specs/a.toml' --device cpu".to_owned();
    let odd = &mut page.trials[3].parameters;
    odd.insert(RATE.to_owned(), json!(0.00002));
    odd.insert("vars.note".to_owned(), json!("it's 1 word"));
    odd.insert("vars.digits".to_owned(), json!("12"));
    odd.insert(
        "train.classifier.freeze".to_owned(),
        json!({"layers": 2, "embeddings": true}),
    );
    odd.insert("seed".to_owned(), json!(9_007_199_254_740_993_u64));
    let Some(seen) = act(
        &page,
        "const button = one('[data-trial=\"3\"] th button');
        const closed = button.getAttribute('aria-expanded');
        button.click();
        const detail = one('tr.detail');
        const text = { settings: detail.querySelector('.settings').textContent, message: detail.querySelector('pre').textContent, command: detail.querySelector('code').textContent };
        const opened = button.getAttribute('aria-expanded');
        header('time').click();
        const follows = one('[data-trial=\"3\"]').nextElementSibling.className;
        button.click();
        return { ...text, closed, opened, follows, gone: all('tr.detail').length };",
    ) else {
        return;
    };
    assert_eq!(seen["message"], "the loss is not a number at step 3");
    assert!(seen["settings"].as_str().unwrap().contains(RATE), "{seen}");
    assert_eq!(
        seen["command"],
        [
            "refit run 'my specs/a.toml' --device cpu",
            "--set train.classifier.optimizer.learning_rate=2e-5",
            "--set vars.encoder=bert-base-uncased",
            r#"--set 'vars.note="it'\''s 1 word"'"#,
            r#"--set 'vars.digits="12"'"#,
            r#"--set 'train.classifier.freeze={ "layers" = 2, "embeddings" = true }'"#,
            "--set seed=9007199254740993",
        ]
        .join(" \\\n  ")
    );
    assert_eq!(seen["closed"], "false");
    assert_eq!(seen["opened"], "true");
    assert_eq!(seen["follows"], "detail");
    assert_eq!(seen["gone"], 0);
}

#[test]
fn chosen_trials_stand_side_by_side_and_what_differs_is_marked() {
    let page = sweep(30);
    let Some(seen) = act(
        &page,
        "const heads = () => all('#difference thead th').map((head) => head.textContent.replace(/ ×$/, ''));
        const begun = heads();
        for (const button of all('#difference thead button')) one('#difference thead button')?.click();
        all('[data-trial] input').filter((box) => box.checked).forEach((box) => box.click());
        const none = [heads(), one('#difference').textContent.includes('Choose two')];
        one('[data-trial=\"0\"] input').click();
        one('[data-trial=\"6\"] input').click();
        const differs = all('#difference .differs th').map((head) => head.title);
        const marked = all('#parallel svg .lit [class^=chosen]').length;
        for (const number of [1, 2, 4]) one(`[data-trial=\"${number}\"] input`).click();
        return { begun, none, differs, marked, most: heads(), checked: all('[data-trial] input').filter((box) => box.checked).length };",
    ) else {
        return;
    };
    let ranks = ranked(&page, |trial| trial.state == "done");
    assert_eq!(
        seen["begun"],
        json!([format!("Trial {}", ranks[0]), format!("Trial {}", ranks[1])])
    );
    assert_eq!(seen["none"], json!([[], true]));
    // Trials 0 and 6 have one encoder.
    assert_eq!(seen["differs"], json!([RATE, RANK]));
    assert_eq!(seen["marked"], 2);
    assert_eq!(
        seen["most"],
        json!(["Trial 6", "Trial 1", "Trial 2", "Trial 4"])
    );
    assert_eq!(seen["checked"], 4);
}

#[test]
fn more_rows_than_a_screen_holds_come_when_asked_for() {
    let page = sweep(300);
    let Some(seen) = act(
        &page,
        "const few = rows().length;
        one('.more').click();
        return { few, all: rows(), more: one('.more').hidden };",
    ) else {
        return;
    };
    assert_eq!(seen["few"], 100);
    assert_eq!(seen["all"], ranked(&page, |_| true));
    assert_eq!(seen["more"], true);
}

#[test]
fn text_of_the_data_is_shown_and_never_run() {
    let mut page = sweep(30);
    let path = format!("vars.{HOSTILE}");
    page.pipeline = HOSTILE.to_owned();
    page.goal = format!("classifier.{HOSTILE}");
    page.command = format!("refit sweep {HOSTILE}");
    page.parameters.push(parameter(&path, Scale::Choice));
    page.importance.push((path.clone(), 0.01));
    for trial in &mut page.trials {
        trial.parameters.insert(
            path.clone(),
            json!(format!("{HOSTILE}{}", trial.number % 2)),
        );
        trial.message = Some(HOSTILE.to_owned());
    }
    let Some(seen) = act(
        &page,
        "all('[data-trial] th button').forEach((button) => button.click());
        key(one('#parallel svg'), 'End');
        await type('onerror');
        return {
            broken: window.broken ?? null, scripts: all('script').length, images: all('img').length, found: rows().length,
            title: document.title, heading: one('h1').textContent, message: one('pre').textContent,
            value: one('#best dd:last-child').textContent, axis: all('#parallel .title title').map((one) => one.textContent).join(' '),
        };",
    ) else {
        return;
    };
    assert_eq!(seen["broken"], Value::Null);
    // The data and the page's own.
    assert_eq!(seen["scripts"], 2);
    assert_eq!(seen["images"], 0);
    assert_eq!(seen["found"], 30);
    assert_eq!(seen["title"], format!("Sweep of {HOSTILE}"));
    assert_eq!(seen["heading"], HOSTILE);
    assert_eq!(seen["message"], HOSTILE);
    assert!(
        seen["value"].as_str().unwrap().starts_with(HOSTILE),
        "{seen}"
    );
    assert!(seen["axis"].as_str().unwrap().contains("onerror"), "{seen}");
}

#[test]
fn every_chart_has_a_role_a_name_and_a_place_in_the_order_of_tabs() {
    let page = sweep(30);
    let Some(seen) = act(
        &page,
        "const names = all('svg.chart').map((chart) => [chart.getAttribute('role'), chart.tabIndex, chart.getAttribute('aria-label').split(';')[0]]);
        const unnamed = all('input, button').filter((one) => !(one.textContent || one.getAttribute('aria-label') || one.labels?.[0]?.textContent.trim())).length;
        const wide = document.documentElement.scrollWidth > innerWidth;
        return { names, unnamed, wide, headings: all('h1, h2').map((one) => one.textContent).filter((text) => !text).length };",
    ) else {
        return;
    };
    let names = seen["names"].as_array().unwrap();
    assert_eq!(names.len(), 8);
    assert!(
        names
            .iter()
            .all(|name| name[0] == "application" && name[1] == 0),
        "{seen}"
    );
    assert_eq!(names[1][2], "f1_macro against learning_rate (logarithmic)");
    assert_eq!(seen["unnamed"], 0);
    assert_eq!(seen["wide"], false);
    assert_eq!(seen["headings"], 0);
}

#[test]
fn a_real_mouse_drags_and_a_real_keyboard_sorts() {
    let page = sweep(30);
    let Some(mut browser) = Browser::open(&sweep_page(&page), "light") else {
        return;
    };
    let found = browser.evaluate(
        "const rate = 'train.classifier.optimizer.learning_rate';
        one('#parallel').scrollIntoView();
        await frame();
        const box = band(rate).getBoundingClientRect();
        return [box.left + box.width / 2, tick_of(rate, '0.001') - 5, tick_of(rate, '1e-4') + 2];",
    );
    let [x, from, to] = [0, 1, 2].map(|index| found[index].as_f64().unwrap());
    browser.drag(&[(x, from), (x, (from + to) / 2.0), (x, to)]);
    let rate = |trial: &PageTrial| trial.parameters[RATE].as_f64().unwrap();
    let upper = ranked(&page, |trial| rate(trial) >= 1e-4);
    assert_eq!(browser.evaluate("await frame(); return rows()"), upper);
    browser.evaluate("header('state').focus()");
    browser.press("Tab");
    browser.press("Enter");
    let sorted = browser.evaluate("await frame(); return sorting()");
    assert_eq!(sorted, json!([["f1_macro", "ascending"]]));
    silent(&mut browser);
}
