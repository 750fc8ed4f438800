//! The page of an evaluation in a real browser: what a reader asks of it, and what it then shows.

use refit::report::evaluation::{PageRows, ReportPage, report_page};
use serde_json::{Value, json};

use super::browser::Browser;
use super::{HOSTILE, drawn, silent};

mod attention;
mod fixture;
mod rows;
mod scores;
mod tasks;
mod whole;

/// Opens the page, waits until its rows are read and acts on it, as `act` does for a sweep.
fn act(page: &ReportPage, script: &str) -> Option<Value> {
    let mut browser = open(page)?;
    let value = browser.evaluate(script);
    silent(&mut browser);
    Some(value)
}

fn open(page: &ReportPage) -> Option<Browser> {
    let mut browser = Browser::open(&report_page(page), "light")?;
    browser.evaluate("await ready()");
    Some(browser)
}

/// Places of the rows that pass, in the order in which the list begins: wrong ones first and the surest before, then the
/// others and the least sure before. Confidence rises with the place, here.
fn ranked(rows: &PageRows, keep: impl Fn(usize) -> bool) -> Vec<usize> {
    let count = rows.wrong.len();
    let wrong = (0..count).rev().filter(|row| rows.wrong[*row]);
    let others = (0..count).filter(|row| !rows.wrong[*row]);
    wrong.chain(others).filter(|row| keep(*row)).collect()
}

fn first_page(rows: Vec<usize>) -> Value {
    json!(rows[..rows.len().min(20)])
}
