//! What may be written at the cursor, of what no schema knows: stages that fit a field, columns of the data, labels, metrics,
//! variables, and repositories that the hub's cache has.
//!
//! Where the cursor is is read from the text before it, however broken that is. What is known of the other stages is read from
//! the text without the cursor's line, which is the one that is being typed. Of data no more is read than
//! [`columns`](crate::stage::Stage::columns) of a stage does, and that once for each state of a file.
//!
//! Deliberately absent: keys, and values of enums, which the schema's servers offer.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::time::SystemTime;

use lsp_types::{CompletionItem, CompletionItemKind, CompletionTextEdit, TextEdit};

use super::diagnostics::{at_hand, store_root};
use super::document::Document;
use super::mentions::{Of, accepts, accepts_as_key};
use super::scan::{Expected, expected};
use crate::artifact::Kind;
use crate::hub::{self, Environment, RepositoryKind};
use crate::run::judge::History;
use crate::spec::{Pipeline, Written};
use crate::stage::{KINDS, Stage};
use crate::store::Store;

/// The columns of files that were asked for before.
#[derive(Debug, Default)]
pub(super) struct Headers(BTreeMap<HeaderOf, Option<Vec<String>>>);

/// A file as it was when its columns were read, and the settings by which they were.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HeaderOf {
    file: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
    settings: String,
}

/// How many headers are kept.
const MOST_HEADERS: usize = 256;

/// Something to write, and a few words about it.
struct Offer {
    word: String,
    about: String,
    kind: CompletionItemKind,
}

impl Offer {
    fn new(word: impl Into<String>, about: impl Into<String>, kind: CompletionItemKind) -> Offer {
        Offer {
            word: word.into(),
            about: about.into(),
            kind,
        }
    }
}

/// How an offer is put into the text.
enum Form {
    /// As it is.
    Plain,
    /// As a string, of which nothing stands there yet.
    Quoted,
    /// As a key, in quotes where it needs them.
    Key,
    /// As the name of a variable whose bracket is not closed yet.
    Closing,
}

/// What may be written at a byte.
pub(super) fn complete(
    document: &Document,
    offset: usize,
    headers: &mut Headers,
) -> Vec<CompletionItem> {
    let text = &document.text;
    let Some(before) = text.get(..offset) else {
        return Vec::new();
    };
    let after = text.get(offset..).unwrap_or_default();
    let word_end = |part_of: fn(char) -> bool| {
        let rest = after.find(|c| !part_of(c));
        offset + rest.unwrap_or(after.len())
    };
    let mut at = At {
        document,
        offset,
        headers,
        facts: None,
    };
    let name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let (offers, span, form) = match expected(before) {
        Expected::Nothing => return Vec::new(),
        Expected::Text { path, start } => {
            let part = &before[start..];
            if let Some(open) = open_variable(part) {
                let end = word_end(name);
                let closed = text[end..].starts_with('}');
                let form = if closed { Form::Plain } else { Form::Closing };
                (variables(document), start + open..end, form)
            } else if path.last().is_some_and(|key| key == "where") && path.len() == 3 {
                let word = part.rfind(|c| !name(c)).map_or(0, |at| {
                    at + part[at..].chars().next().map_or(1, char::len_utf8)
                });
                (at.columns(&path), start + word..word_end(name), Form::Plain)
            } else {
                let whole = |c: char| c.is_alphanumeric() || "_-./@ ".contains(c);
                // A string that is closed on its line is replaced as a whole, one that is not up to the cursor.
                let quote = before[..start].chars().next_back().unwrap_or('"');
                let end = word_end(whole);
                let closed = text[end..].starts_with(quote);
                let end = if closed { end } else { offset };
                (at.values(&path, part), start..end, Form::Plain)
            }
        }
        Expected::Value { path, start } => {
            let mut offers = at.values(&path, "");
            // A number, a table or a list stands here as often.
            if before[start..].starts_with(|c: char| !c.is_alphabetic()) {
                offers.clear();
            }
            (offers, start..word_end(name), Form::Quoted)
        }
        Expected::Key {
            path,
            start,
            quoted,
        } => {
            let form = if quoted { Form::Plain } else { Form::Key };
            let dotted = |c: char| c.is_alphanumeric() || "_-.".contains(c);
            let end = if quoted {
                word_end(dotted)
            } else {
                word_end(name)
            };
            (at.keys(&path, quoted), start..end, form)
        }
    };
    let range = document.range(&span);
    let items = offers.into_iter().map(|offer| {
        let word = match form {
            Form::Plain => offer.word.clone(),
            Form::Quoted => quoted(&offer.word),
            Form::Key if !offer.word.is_empty() && offer.word.chars().all(is_bare) => {
                offer.word.clone()
            }
            Form::Key => quoted(&offer.word),
            Form::Closing => format!("{}}}", offer.word),
        };
        CompletionItem {
            label: offer.word,
            detail: Some(offer.about),
            kind: Some(offer.kind),
            filter_text: Some(word.clone()),
            text_edit: Some(CompletionTextEdit::Edit(TextEdit::new(range, word))),
            ..CompletionItem::default()
        }
    });
    items.collect()
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// As a string of TOML.
fn quoted(word: &str) -> String {
    let escaped: String = word.chars().fold(String::new(), |mut text, c| {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => text.push(c),
        }
        text
    });
    format!("\"{escaped}\"")
}

/// Where the name begins in a `${` that is not closed.
fn open_variable(part: &str) -> Option<usize> {
    let at = part.rfind("${")?;
    let inside = &part[at + 2..];
    (!inside.contains('}') && !part[..at].ends_with('$')).then_some(at + 2)
}

fn variables(document: &Document) -> Vec<Offer> {
    let all = document.mentions().iter();
    let declared = all.filter(|one| one.of == Of::Variable && one.declares.is_some());
    let names: BTreeSet<&str> = declared.map(|one| one.name.as_str()).collect();
    let offer = |name| Offer::new(name, "a variable of `[vars]`", CompletionItemKind::VARIABLE);
    names.into_iter().map(offer).collect()
}

/// A place in a document.
struct At<'d> {
    document: &'d Document,
    offset: usize,
    headers: &'d mut Headers,
    /// The spec without the cursor's line, once it was asked for.
    facts: Option<Pipeline>,
}

impl At<'_> {
    fn facts(&mut self) -> &Pipeline {
        let document = self.document;
        let Range { start, end } = document.line(self.offset);
        self.facts.get_or_insert_with(|| {
            let mut text = document.text.clone();
            text.replace_range(start..end, &" ".repeat(end - start));
            let environment = |name: &str| std::env::var(name).ok();
            Pipeline::parse(&document.path, &text, &[], &environment).0
        })
    }

    /// What may be the value of the field at `path`, of which `part` is there.
    fn values(&mut self, path: &[String], part: &str) -> Vec<Offer> {
        let kinds = accepts(path);
        if !kinds.is_empty() {
            return self.stages(&kinds, path.get(1));
        }
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        match keys.as_slice() {
            ["load", _, "columns", _] | ["load", _, "split", "group" | "time"] => {
                self.columns(path)
            }
            ["load", _, "dataset"] => repositories(RepositoryKind::Dataset),
            ["load", _, "label_names"] => self.labels(path),
            [_, _, "encoder" | "tokenizer"] | [_, _, "synonyms", "model"] => {
                repositories(RepositoryKind::Model)
            }
            ["sweep", "goal", "maximize" | "minimize"] => match part.split_once('.') {
                Some((stage, _)) => {
                    let named = |metric| format!("{stage}.{metric}");
                    let metrics = self.metrics(stage).into_iter().map(named);
                    let offer = |name| Offer::new(name, "a score", CompletionItemKind::VALUE);
                    metrics.map(offer).collect()
                }
                None => self.stages_with_scores(),
            },
            [_, stage, .., "metric" | "metrics"] => {
                let metrics = self.metrics(stage).into_iter();
                let offer = |name| Offer::new(name, "a score", CompletionItemKind::VALUE);
                metrics.map(offer).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What may be a key of the table at `path`.
    fn keys(&mut self, path: &[String], quoted: bool) -> Vec<Offer> {
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        match keys.as_slice() {
            ["sweep", "parameters", ..] if quoted => self.parameters(),
            ["train", _, "loss", "weights" | "positive_weights"]
            | ["augment", _, "classes"]
            | ["load", _, "map"] => self.labels(path),
            [kind, stage, _] => {
                let below: Vec<String> = path.iter().cloned().chain(["*".to_owned()]).collect();
                let accepted = accepts_as_key(&below);
                if accepted.is_empty() {
                    return Vec::new();
                }
                let stage = (*stage).to_owned();
                let mut offers = self.stages(&accepted, Some(&stage));
                let taken = self.keys_below(kind, &stage, path);
                offers.retain(|offer| !taken.contains(&offer.word));
                offers
            }
            _ => Vec::new(),
        }
    }

    /// The keys that a table has already, but for the one at the cursor.
    fn keys_below(&self, kind: &str, stage: &str, path: &[String]) -> BTreeSet<String> {
        let tokens = self.document.tokens().iter();
        let below = tokens.filter(|token| {
            token.path.len() == path.len() + 1
                && token.path.starts_with(path)
                && token.path[0] == kind
                && token.path[1] == stage
                && !(token.span.start..=token.span.end).contains(&self.offset)
        });
        below
            .filter_map(|token| token.path.last().cloned())
            .collect()
    }

    /// The stages that give an artifact of one of these kinds, or whatever they give where there are none; but for the one that asks.
    fn stages(&self, gives: &[Kind], asking: Option<&String>) -> Vec<Offer> {
        let mut seen = BTreeSet::new();
        let mut offers = Vec::new();
        for mention in self.document.mentions() {
            let Some(path) = mention
                .declares
                .as_ref()
                .filter(|_| mention.of == Of::Stage)
            else {
                continue;
            };
            let kind = KINDS
                .iter()
                .find(|kind| path.first().is_some_and(|key| key == kind.name));
            let fits = |kind: Kind| gives.is_empty() || gives.contains(&kind);
            let Some(kind) = kind.filter(|kind| fits(kind.produces)) else {
                continue;
            };
            if Some(&mention.name) != asking && seen.insert(&mention.name) {
                let about = format!("{} stage, gives {}", kind.name, kind.produces);
                offers.push(Offer::new(
                    &mention.name,
                    about,
                    CompletionItemKind::REFERENCE,
                ));
            }
        }
        offers
    }

    fn stages_with_scores(&mut self) -> Vec<Offer> {
        let facts = self.facts();
        let scored = facts.stages.iter();
        let scored = scored.filter(|stage| stage.stage.scoring().is_some());
        let about = |kind| format!("{kind} stage; a dot and one of its scores follow");
        scored
            .map(|one| {
                let kind = CompletionItemKind::REFERENCE;
                Offer::new(format!("{}.", one.name), about(one.kind), kind)
            })
            .collect()
    }

    /// What a stage's scores are called; of one that scores a model, those of the model.
    fn metrics(&mut self, stage: &str) -> Vec<&'static str> {
        let facts = self.facts();
        let find = |name: &str| facts.stages.iter().find(|stage| stage.name == name);
        let Some(found) = find(stage) else {
            return Vec::new();
        };
        let own = found.stage.scoring().map(|scoring| scoring.metrics);
        let own = own.filter(|metrics| !metrics.is_empty());
        let of_model = || {
            let edges = found.stage.edges();
            let model = edges.iter().find(|edge| edge.accepts == Kind::Model)?;
            Some(find(&model.stage)?.stage.scoring()?.metrics)
        };
        own.or_else(of_model).unwrap_or_default()
    }

    /// The beginnings of the paths that a sweep can vary.
    fn parameters(&self) -> Vec<Offer> {
        let mut seen = BTreeSet::new();
        let mut offers = Vec::new();
        for mention in self.document.mentions() {
            let Some(path) = &mention.declares else {
                continue;
            };
            let path = path.join(".");
            if !seen.insert(path.clone()) {
                continue;
            }
            offers.push(match mention.of {
                Of::Variable => Offer::new(path, "a variable", CompletionItemKind::VARIABLE),
                Of::Stage => {
                    let about = "a stage; a dot and one of its fields follow";
                    Offer::new(format!("{path}."), about, CompletionItemKind::REFERENCE)
                }
            });
        }
        offers
    }

    /// The columns of the files that the load stage of `path` reads.
    fn columns(&mut self, path: &[String]) -> Vec<Offer> {
        let Some(name) = path.get(1) else {
            return Vec::new();
        };
        let facts = self.facts();
        let found = facts.stages.iter().find(|stage| stage.name == *name);
        let Some(stage) = found.map(|found| found.stage.clone()) else {
            return Vec::new();
        };
        let Some(files) = files(facts, stage.as_ref()) else {
            return Vec::new();
        };
        let about = "a column of the training file";
        let offer = |name| Offer::new(name, about, CompletionItemKind::FIELD);
        let found = self.headers.of(stage.as_ref(), &files).unwrap_or_default();
        found.into_iter().map(offer).collect()
    }

    /// What labels are called in what flows into the stage of `path`: as its load stage lists them, else as the store has them.
    fn labels(&mut self, path: &[String]) -> Vec<Offer> {
        let Some(name) = path.get(1).cloned() else {
            return Vec::new();
        };
        let facts = self.facts();
        let found = upstream(facts, &name).into_iter().find_map(|stage| {
            let settings = stage.stage.settings();
            let listed = settings.get("label_names")?.as_array()?.clone();
            let listed = listed.into_iter();
            Some(
                listed
                    .filter_map(|name| Some(name.as_str()?.to_owned()))
                    .collect(),
            )
        });
        let found: Vec<String> = found
            .or_else(|| kept_labels(facts, &name))
            .unwrap_or_default();
        let offer = |name| Offer::new(name, "a label", CompletionItemKind::VALUE);
        found.into_iter().map(offer).collect()
    }
}

/// A stage and what flows into it, the nearest first.
fn upstream<'p>(pipeline: &'p Pipeline, name: &str) -> Vec<&'p Written> {
    let mut found: Vec<&Written> = Vec::new();
    let mut pending = vec![name.to_owned()];
    while let Some(next) = pending.pop() {
        let stage = pipeline.stages.iter().find(|stage| stage.name == next);
        let Some(stage) = stage.filter(|stage| !found.iter().any(|seen| seen.name == stage.name))
        else {
            continue;
        };
        found.push(stage);
        pending.extend(stage.stage.edges().into_iter().map(|edge| edge.stage));
    }
    found
}

fn kept_labels(pipeline: &Pipeline, name: &str) -> Option<Vec<String>> {
    let store = Store::open(&store_root(pipeline.folder())).ok()?;
    let history = History::new(&store, &pipeline.name);
    upstream(pipeline, name).into_iter().find_map(|stage| {
        let kind = KINDS.iter().find(|kind| kind.name == stage.kind)?;
        let digest = history.digest(&stage.name)?;
        (kind.labels_of)(&store.object_path(&digest))
    })
}

/// The files of a stage, of those at hand.
fn files(pipeline: &Pipeline, stage: &dyn Stage) -> Option<crate::stage::Files> {
    let folder = pipeline.folder();
    let named = stage.remotes(folder).into_iter().map(|(_, remote)| remote);
    let named: Vec<_> = named.collect();
    let mut fetched = at_hand(pipeline, named.clone()).ok()?;
    if named.iter().any(|remote| fetched.get(remote).is_none()) {
        return None;
    }
    if let Some(beside) = stage.beside(folder).ok()? {
        fetched.keep_beside(beside);
    }
    stage.files(folder, &fetched).ok()
}

fn repositories(kind: RepositoryKind) -> Vec<Offer> {
    let found = hub::cached(&Environment::of_process(), kind).into_iter();
    let about = "in the hub's cache on this machine";
    let offer = |name| Offer::new(name, about, CompletionItemKind::MODULE);
    found.map(offer).collect()
}

impl Headers {
    /// The columns of a stage's files; read anew when the first file of training is another than before.
    fn of(&mut self, stage: &dyn Stage, files: &crate::stage::Files) -> Option<Vec<String>> {
        let of_training = files.iter().filter(|(role, _)| role.starts_with("train/"));
        let file = of_training.map(|(_, file)| file).next()?;
        let metadata = std::fs::metadata(file).ok()?;
        let key = HeaderOf {
            file: file.clone(),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            settings: stage.settings().to_string(),
        };
        if self.0.len() > MOST_HEADERS {
            self.0.clear();
        }
        let found = self.0.entry(key).or_insert_with(|| stage.columns(files));
        found.clone()
    }
}
