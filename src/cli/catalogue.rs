//! The catalogue of errors: one sample of every variant of every error of this program, drawn as a user sees it.
//!
//! The snapshots under `tests/snapshots/errors` are what to read when a message changes. Beside them stand the rules: each
//! error has a remedy, tells all that it holds (so the path, line or field it was made with), says a cause once, and keeps
//! to the house's style: no capital at the beginning, no full stop at the end, nothing that only Rust prints. Which errors
//! there are is read from the sources, so a new variant without a sample fails here. The same reading looks at the
//! messages of faults, problems and mismatches, which are written where they are found.
//!
//! Deliberately absent: whether an error is the right one in its place, which is for the tests of its module.

mod data;
mod engine;
mod models;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Debug;
use std::io;

use miette::{Diagnostic, GraphicalTheme};

use self::source::{Call, Declared};

/// One error, as made by nobody.
struct Sample {
    /// The whole name of the error's type, as the compiler writes it.
    of: &'static str,
    variant: String,
    /// All that the error holds, as Rust prints it.
    held: String,
    /// The error as it reaches the user: itself, or the one that says it.
    error: Box<dyn Diagnostic>,
}

fn sample<E: Diagnostic + Debug + 'static>(error: E) -> Sample {
    let held = format!("{error:?}");
    Sample {
        of: std::any::type_name::<E>(),
        variant: first_word(&held),
        held,
        error: Box::new(error),
    }
}

/// A sample of an error that reaches the user within another.
fn within<E: Debug, O: Diagnostic + 'static>(inner: E, outer: impl FnOnce(E) -> O) -> Sample {
    let held = format!("{inner:?}");
    Sample {
        of: std::any::type_name::<E>(),
        variant: first_word(&held),
        held,
        error: Box::new(outer(inner)),
    }
}

fn first_word(text: &str) -> String {
    let word = text.chars().take_while(|c| c.is_alphanumeric());
    word.collect()
}

/// The system's answer to who may not.
fn denied() -> io::Error {
    io::Error::from_raw_os_error(13)
}

/// The system's answer on what is not there.
fn absent() -> io::Error {
    io::Error::from_raw_os_error(2)
}

fn samples() -> Vec<Sample> {
    let mut samples = data::samples();
    samples.extend(models::samples());
    samples.extend(engine::samples());
    samples
}

impl Sample {
    fn name(&self) -> String {
        format!("{}::{}", short(self.of), self.variant)
    }

    /// As on a terminal of 110 columns, without its colours.
    fn drawn(&self) -> String {
        super::draw(&*self.error, GraphicalTheme::unicode_nocolor(), 110)
    }

    /// As in a file, where nothing is wrapped.
    fn in_one_line(&self) -> String {
        super::draw(&*self.error, GraphicalTheme::unicode_nocolor(), 10_000)
    }

    fn help(&self) -> String {
        let help = self.error.help();
        help.map(|help| help.to_string()).unwrap_or_default()
    }

    /// The messages of what led to the error, the nearest first.
    fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut next: Option<&dyn Error> = self.error.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        causes
    }
}

fn short(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

fn by_type(samples: &[Sample]) -> BTreeMap<&'static str, Vec<&Sample>> {
    let mut types = BTreeMap::<_, Vec<_>>::new();
    for sample in samples {
        types.entry(sample.of).or_default().push(sample);
    }
    types
}

#[test]
fn every_error_is_drawn_as_it_was() {
    let samples = samples();
    let types = by_type(&samples);
    let names: BTreeSet<&str> = types.keys().map(|of| short(of)).collect();
    assert_eq!(
        names.len(),
        types.len(),
        "two types have one name: {types:?}",
        types = types.keys()
    );
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../tests/snapshots/errors");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (of, samples) in &types {
            let drawn = samples.iter().map(|sample| {
                let lines = sample.drawn();
                let lines = lines.lines().map(|line| format!("{}\n", line.trim_end()));
                format!("{}\n{}", sample.variant, lines.collect::<String>())
            });
            insta::assert_snapshot!(short(of), drawn.collect::<Vec<_>>().join("\n"));
        }
    });
}

#[test]
fn every_variant_of_every_error_has_a_sample() {
    let samples = samples();
    let found: BTreeSet<(String, String)> = samples
        .iter()
        .map(|sample| (sample.of.to_owned(), sample.variant.clone()))
        .collect();
    assert_eq!(found.len(), samples.len(), "a variant has two samples");
    let declared = source::errors();
    assert!(declared.len() >= 30, "{} errors were found", declared.len());
    let wanted = declared.iter().flat_map(Declared::wanted);
    let wanted: BTreeSet<(String, String)> = wanted.collect();
    let lacking: Vec<_> = wanted.difference(&found).collect();
    assert!(
        lacking.is_empty(),
        "no sample in src/cli/catalogue/{{data,models,engine}}.rs: {lacking:#?}; add one, then look at its text under tests/snapshots/errors"
    );
    let unknown: Vec<_> = found.difference(&wanted).collect();
    assert!(unknown.is_empty(), "not found in the sources: {unknown:#?}");
}

/// Errors without a remedy of their own, and why.
const NO_HELP: &[(&str, &str)] = &[(
    "NotADigest::NotADigest",
    "it is the reason in a warning that a record is ignored, and then what it stood for is built again",
)];

#[test]
fn every_error_says_what_to_do() {
    for sample in samples() {
        let name = sample.name();
        let excused = NO_HELP.iter().any(|(excused, _)| *excused == name);
        let help = sample.help();
        assert_eq!(help.trim().is_empty(), excused, "{name}: help {help:?}");
        assert_ne!(
            help,
            sample.error.to_string(),
            "{name}: the help repeats the message"
        );
    }
}

/// What is told in other words than it is held.
const TOLD_OTHERWISE: &[(&str, &str)] = &[
    // As 0xe9.
    ("TableError::NotUtf8", "233"),
    // As 60 s.
    ("Fault::Silent", "60s"),
    // As 5e-4 and 1e-3.
    ("LearnError::Diverged", "0.0005"),
    ("LearnError::Overflow", "0.001"),
];

#[test]
fn every_error_tells_all_that_it_holds() {
    let mut untold = BTreeSet::new();
    for sample in samples() {
        // What is drawn of a file are the lines around the place.
        if short(sample.of) == "Drawn" {
            continue;
        }
        let told = sample.in_one_line();
        let data = source::data_of(&sample.held).into_iter();
        let own = data.filter(|datum| !told.contains(datum));
        untold.extend(own.map(|datum| (sample.name(), datum)));
    }
    let otherwise = TOLD_OTHERWISE.iter();
    let otherwise = otherwise.map(|&(name, datum)| (name.to_owned(), datum.to_owned()));
    assert_eq!(
        untold,
        otherwise.collect(),
        "left: what an error holds and does not tell, be it a place or what was found"
    );
}

#[test]
fn a_problem_is_drawn_at_its_line() {
    let samples = samples();
    let drawn = samples.iter().find(|sample| short(sample.of) == "Drawn");
    let drawn = drawn.unwrap().in_one_line();
    assert!(drawn.contains("pipelines/news.toml:5:1"), "{drawn}");
}

#[test]
fn a_cause_is_told_once() {
    for sample in samples() {
        let message = sample.error.to_string();
        for cause in sample.causes() {
            assert!(
                !message.contains(&cause),
                "{}: {message:?} repeats its cause",
                sample.name()
            );
        }
    }
}

#[test]
fn every_error_keeps_to_the_style_of_the_house() {
    for sample in samples() {
        for text in [sample.error.to_string(), sample.help()] {
            if let Some(broken) = style(&text) {
                panic!("{} {broken}: {text:?}", sample.name());
            }
        }
        let told = sample.in_one_line();
        for leak in [
            "Some(", "None)", "Err(", "Ok(", "PathBuf", "Os {", "Kind::", "std::", "refit::",
        ] {
            assert!(
                !told.contains(leak),
                "{} prints {leak}: {told}",
                sample.name()
            );
        }
    }
}

/// How a text breaks the style: a sentence without its capital and its full stop, in which only a name begins with a
/// capital (`SMOTE`, `LoRA`, `AWS_REGION`).
fn style(text: &str) -> Option<&'static str> {
    let first: String = text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    let mut letters = first.chars();
    let capital = letters.next().is_some_and(char::is_uppercase);
    if capital && !letters.any(char::is_uppercase) {
        return Some("begins with a capital");
    }
    if text.ends_with(['.', '!', ':', ',', ';', ' ']) {
        return Some("ends with a stop");
    }
    None
}

#[test]
fn the_style_is_told_apart() {
    assert_eq!(style("SMOTE makes rows"), None);
    assert_eq!(style("did you mean `x`?"), None);
    assert_eq!(style("Cannot read x"), Some("begins with a capital"));
    assert_eq!(style("cannot read x."), Some("ends with a stop"));
}

#[test]
fn every_fault_and_problem_says_what_to_do_in_the_style_of_the_house() {
    let calls = source::calls();
    assert!(calls.len() > 150, "{} calls were found", calls.len());
    let mut broken = Vec::new();
    for call in &calls {
        if call.lacks_help() {
            broken.push(format!("{}: no help", call.place()));
        }
        for text in call.texts() {
            if text.trim().is_empty() {
                broken.push(format!("{}: an empty text", call.place()));
            }
            if let Some(style) = style(text) {
                broken.push(format!("{}: {text:?} {style}", call.place()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_reading_of_sources_sees_what_is_wrong() {
    let text = r#"
        fn x() { faults.push(Fault::new("to", format!("`{a}` (is it?)"), "")); }
        fn y() { Problem::new(&place, "a message", "label"); }
        fn z() { Problem::new(&place, "a message", "label").help("do, this"); }
        fn w() { StageError::Mismatch { message: "m".to_owned(), help: "".to_owned() } }
        // Fault::new("to", "m", "")
        #[derive(Debug, thiserror::Error, miette::Diagnostic)]
        pub enum Wrong {
            #[error("{a}, {b}")]
            One { a: Vec<(u8, u8)>, b: u8 },
            /// A doc, with a comma.
            #[error(transparent)]
            Two(#[from] Other),
            #[error("}")]
            Three,
        }
    "#;
    let calls = source::calls_in("x.rs", text);
    let empty = |call: &Call| call.texts().any(str::is_empty);
    assert_eq!(
        calls.iter().map(empty).collect::<Vec<_>>(),
        [true, false, false, true]
    );
    let lacking: Vec<bool> = calls.iter().map(Call::lacks_help).collect();
    assert_eq!(lacking, [false, true, false, false]);
    let errors = source::errors_in("refit::x", text);
    let wanted: Vec<_> = errors.iter().flat_map(Declared::wanted).collect();
    let of = |variant: &str| ("refit::x::Wrong".to_owned(), variant.to_owned());
    assert_eq!(wanted, [of("One"), of("Three")]);
}
