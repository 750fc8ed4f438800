//! The plan: names → a graph of [`Step`]s in the order in which they can run.
//!
//! Resolving finds *every* problem at once: edges to stages that are not there or give the wrong kind of artifact,
//! circles, files that are missing, two stages that would be placed in one folder. Nothing half-resolved leaves here: a
//! [`Plan`] exists only for a spec without problems.
//!
//! Deliberately absent: the store. A plan says what a step is and what it needs; whether its result is known is `run`'s
//! question.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::artifact::{Digest, Kind};
use crate::fingerprint::{self, Fingerprint};
use crate::hub::{Fetched, Remote};
use crate::spec::{Pipeline, Problem, Written, did_you_mean, folder_of, listed, schema};
use crate::stage::{Edge, Fault, Files, KINDS, Meant, Publication, Stage};

/// A pipeline resolved: every name is a step, every path a file.
#[derive(Debug)]
pub struct Plan {
    /// The pipeline's name, under which runs are recorded.
    pub pipeline: String,
    /// The spec's path, as given.
    pub spec: PathBuf,
    /// In an order in which every step comes after its inputs; otherwise as in the file.
    pub steps: Vec<Step>,
}

/// One stage in a plan.
#[derive(Debug)]
pub struct Step {
    pub name: String,
    pub kind: &'static str,
    pub stage: Arc<dyn Stage>,
    /// Edge role → index of the step that feeds it.
    pub inputs: BTreeMap<&'static str, usize>,
    /// Role → file; none while something is unfetched.
    pub files: Files,
    /// What it names that lies elsewhere and is at hand.
    pub fetched: Fetched,
    /// What it names that lies elsewhere and is not: until it was fetched, the step has no key.
    pub unfetched: Vec<Remote>,
    /// The seed it draws from.
    pub seed: u64,
    /// The settings that are in the key.
    pub settings: Value,
    /// Where its artifact is to be placed, resolved.
    pub placement: Option<PathBuf>,
    /// Where what was placed is to be published.
    pub publication: Option<Publication>,
}

impl Step {
    /// Everything the step's result depends on, once the content of its files and inputs is known.
    pub fn fingerprint(
        &self,
        files: BTreeMap<String, Digest>,
        inputs: BTreeMap<String, Digest>,
    ) -> Fingerprint {
        Fingerprint {
            format: fingerprint::FORMAT,
            kind: self.kind.to_owned(),
            version: self.stage.version(),
            settings: self.settings.clone(),
            files,
            inputs,
        }
    }
}

impl Plan {
    /// Resolves a pipeline, with what is at hand of the things that it names elsewhere.
    ///
    /// # Errors
    /// Every problem of every stage that could be read.
    pub fn resolve(pipeline: &Pipeline, at_hand: &Fetched) -> Result<Plan, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut edges: Vec<BTreeMap<&'static str, usize>> = Vec::new();
        for stage in &pipeline.stages {
            edges.push(resolve_edges(pipeline, stage, &mut problems));
        }
        let written = pipeline.stages.len();
        let stages = with_hidden(pipeline, &mut edges);
        let order = order(&edges).unwrap_or_else(|mut circle| {
            circle.retain(|&index| index < written);
            problems.push(circular(pipeline, &edges, &circle));
            Vec::new()
        });
        let mut files = Vec::new();
        let mut elsewhere = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            let (mut fetched, unfetched) =
                of_stage(stage.stage.as_ref(), pipeline.folder(), at_hand);
            let beside = stage.stage.beside(pipeline.folder()).map(|beside| {
                if let Some(local) = beside {
                    fetched.keep_beside(local);
                }
            });
            let found = beside.and_then(|()| {
                if !unfetched.is_empty() {
                    return Ok(Files::new());
                }
                let files = stage.stage.files(pipeline.folder(), &fetched)?;
                match stage.stage.check_files(&files) {
                    faults if faults.is_empty() => Ok(files),
                    faults => Err(faults),
                }
            });
            files.push(found.unwrap_or_else(|faults| {
                // What is wrong with the files of a hidden step is wrong with its stage's too.
                if index < written {
                    problems.extend(faults.iter().map(|fault| pipeline.problem(stage, fault)));
                }
                Files::new()
            }));
            elsewhere.push((fetched, unfetched));
        }
        problems.extend(placed_twice(pipeline));
        problems.extend(placed_over_files(pipeline, &files));
        if !problems.is_empty() {
            problems.sort_by_key(|problem| (problem.place.source, problem.place.span.start));
            return Err(problems);
        }
        let position: BTreeMap<usize, usize> = order
            .iter()
            .enumerate()
            .map(|(new, old)| (*old, new))
            .collect();
        static SCHEMAS: OnceLock<BTreeMap<&str, Value>> = OnceLock::new();
        let schemas = SCHEMAS.get_or_init(|| {
            let of_kinds = KINDS
                .iter()
                .map(|kind| (kind.name, schema::of_kind(kind.name)));
            of_kinds.collect()
        });
        let steps = order.iter().map(|&index| {
            let Written { name, kind, stage } = &stages[index];
            let schema = schemas.get(kind).unwrap_or(&Value::Null);
            let files = std::mem::take(&mut files[index]);
            let (fetched, unfetched) = std::mem::take(&mut elsewhere[index]);
            let seed = stage.seed().unwrap_or(pipeline.seed);
            Step {
                name: name.clone(),
                kind,
                inputs: edges[index]
                    .iter()
                    .map(|(field, to)| (*field, position[to]))
                    .collect(),
                settings: settings_in_key(stage.as_ref(), schema, (&files, &fetched), seed),
                placement: stage.placement().map(|to| placed_at(pipeline.folder(), to)),
                publication: stage.publication(),
                stage: Arc::clone(stage),
                files,
                fetched,
                unfetched,
                seed,
            }
        });
        Ok(Plan {
            pipeline: pipeline.name.clone(),
            spec: pipeline.path.clone(),
            steps: steps.collect(),
        })
    }

    /// What the selected steps name elsewhere, each once: all of it, or what is not at hand.
    pub fn remotes(&self, selected: &BTreeSet<usize>, at_hand_too: bool) -> BTreeSet<Remote> {
        let steps = selected.iter().map(|&index| &self.steps[index]);
        steps
            .flat_map(|step| {
                let at_hand = step.fetched.remotes().filter(|_| at_hand_too);
                step.unfetched.iter().chain(at_hand)
            })
            .cloned()
            .collect()
    }

    /// The spec's folder.
    pub fn folder(&self) -> &Path {
        folder_of(&self.spec)
    }

    /// The index of a step.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }

    /// The steps named, and all they depend on; every step when none is named.
    ///
    /// # Errors
    /// The names that are no steps, with a suggestion each.
    pub fn select(&self, targets: &[String]) -> Result<BTreeSet<usize>, UnknownStages> {
        if targets.is_empty() {
            return Ok((0..self.steps.len()).collect());
        }
        let mut pending = self.named(targets)?;
        let mut selected = BTreeSet::new();
        while let Some(next) = pending.pop() {
            if selected.insert(next) {
                pending.extend(self.steps[next].inputs.values());
            }
        }
        Ok(selected)
    }

    /// What a command line asks for: the steps to look at (the targets, those forced, and all they depend on), and the
    /// forced ones among them.
    ///
    /// # Errors
    /// The names that are no steps, with a suggestion each.
    pub fn selection(
        &self,
        targets: &[String],
        force: &[String],
    ) -> Result<(BTreeSet<usize>, BTreeSet<usize>), UnknownStages> {
        let mut selected = self.select(targets)?;
        if !force.is_empty() {
            selected.extend(self.select(force)?);
        }
        Ok((selected, self.named(force)?.into_iter().collect()))
    }

    /// The indexes of the named steps.
    ///
    /// # Errors
    /// The names that are no steps, with a suggestion each.
    pub fn named(&self, names: &[String]) -> Result<Vec<usize>, UnknownStages> {
        let known = || self.steps.iter().map(|step| step.name.as_str());
        let unknown: Vec<&String> = names
            .iter()
            .filter(|name| self.index(name).is_none())
            .collect();
        if unknown.is_empty() {
            return Ok(names.iter().filter_map(|name| self.index(name)).collect());
        }
        let help = match did_you_mean(unknown[0], known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the pipeline has {}", listed(known(), "and")),
        };
        let names = listed(unknown.into_iter().map(String::as_str), "and");
        Err(UnknownStages {
            names,
            pipeline: self.spec.clone(),
            help,
        })
    }
}

/// A name on the command line that is no stage.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{} has no stage {names}", pipeline.display())]
pub struct UnknownStages {
    names: String,
    pipeline: PathBuf,
    #[help]
    help: String,
}

/// What is at hand of the things elsewhere that a stage names, and what is not.
fn of_stage(stage: &dyn Stage, folder: &Path, at_hand: &Fetched) -> (Fetched, Vec<Remote>) {
    let (mut fetched, mut unfetched) = (Fetched::default(), Vec::new());
    for (_, remote) in stage.remotes(folder) {
        match at_hand.get(&remote) {
            Some(local) => fetched.insert(remote, local.clone()),
            None => unfetched.push(remote),
        }
    }
    (fetched, unfetched)
}

/// The stages of the pipeline, and after them the steps that are put before some of them, with their edges.
fn with_hidden(
    pipeline: &Pipeline,
    edges: &mut Vec<BTreeMap<&'static str, usize>>,
) -> Vec<Written> {
    let mut stages = pipeline.stages.clone();
    for (index, written) in pipeline.stages.iter().enumerate() {
        let named = |name: &str| {
            let mut all = pipeline.stages.iter();
            let found = all.find(|other| other.name == name);
            found.map(|other| Arc::clone(&other.stage))
        };
        let Some(before) = written.stage.before(&named) else {
            continue;
        };
        let own = before.stage.edges().into_iter();
        let own = own.filter_map(|edge| Some((edge.role, *edges[index].get(edge.role)?)));
        edges.push(own.collect());
        edges[index].insert(before.field, stages.len());
        stages.push(Written {
            name: format!("{}/{}", written.name, before.field),
            kind: before.stage.kind(),
            stage: before.stage,
        });
    }
    stages
}

fn resolve_edges(
    pipeline: &Pipeline,
    stage: &Written,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'static str, usize> {
    let mut resolved = BTreeMap::new();
    for edge in stage.stage.edges() {
        let fault = |message: String, help: String| {
            pipeline.problem(stage, &Fault::new(edge.field.clone(), message, help))
        };
        match pipeline
            .stages
            .iter()
            .position(|other| other.name == edge.stage)
        {
            Some(index) if edge.takes(pipeline.stages[index].stage.produces()) => {
                resolved.insert(edge.role, index);
            }
            Some(index) => {
                let other = &pipeline.stages[index];
                let message = format!(
                    "`{}` is a {} stage and gives {}, but `{}` of a {} stage takes {}",
                    other.name,
                    other.kind,
                    article(other.stage.produces()),
                    edge.field,
                    stage.kind,
                    accepted(&edge)
                );
                problems.push(fault(message, suggestions(pipeline, &edge)));
            }
            // A stage that is there but unsound was reported already.
            None if pipeline
                .declared
                .iter()
                .any(|other| other.name == edge.stage) => {}
            None => {
                let known = pipeline.declared.iter().map(|other| other.name.as_str());
                let near = did_you_mean(&edge.stage, known);
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => suggestions(pipeline, &edge),
                };
                let problem = fault(format!("there is no stage `{}`", edge.stage), help);
                problems.push(problem.meant(near.map(|near| Meant::new(&edge.stage, near))));
            }
        }
    }
    resolved
}

/// What a field takes, in words.
fn accepted(edge: &Edge) -> String {
    let kinds: Vec<String> = edge.kinds().map(article).collect();
    kinds.join(" or ")
}

fn article(kind: Kind) -> String {
    match kind {
        Kind::Encoder => format!("an {kind}"),
        Kind::Tokens | Kind::Scores | Kind::Predictions => kind.to_string(),
        _ => format!("a {kind}"),
    }
}

fn suggestions(pipeline: &Pipeline, edge: &Edge) -> String {
    let fitting: Vec<&str> = pipeline
        .stages
        .iter()
        .filter(|other| edge.takes(other.stage.produces()))
        .map(|other| other.name.as_str())
        .collect();
    if fitting.is_empty() {
        format!(
            "`{}` takes {}; no stage of this file gives that",
            edge.field,
            accepted(edge)
        )
    } else {
        format!(
            "`{}` takes {}, which {} can give",
            edge.field,
            accepted(edge),
            listed(fitting, "or")
        )
    }
}

/// Kahn's algorithm, taking the first in file order among those that are ready.
fn order(edges: &[BTreeMap<&'static str, usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut waits_for: Vec<usize> = edges
        .iter()
        .map(|inputs| inputs.values().collect::<BTreeSet<_>>().len())
        .collect();
    let mut feeds: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); edges.len()];
    for (index, inputs) in edges.iter().enumerate() {
        for &input in inputs.values() {
            feeds[input].insert(index);
        }
    }
    let mut ready: BTreeSet<usize> = (0..edges.len())
        .filter(|&index| waits_for[index] == 0)
        .collect();
    let mut order = Vec::with_capacity(edges.len());
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for &fed in &feeds[next] {
            waits_for[fed] -= 1;
            if waits_for[fed] == 0 {
                ready.insert(fed);
            }
        }
    }
    if order.len() == edges.len() {
        return Ok(order);
    }
    // Whoever still waits is in a circle or behind one; following inputs from there leads into the circle.
    let stuck = |index: usize| waits_for[index] > 0;
    let mut trail = vec![
        (0..edges.len())
            .find(|&index| stuck(index))
            .unwrap_or_default(),
    ];
    loop {
        let last = trail[trail.len() - 1];
        let Some(next) = edges[last].values().copied().find(|&input| stuck(input)) else {
            return Err(trail);
        };
        if let Some(start) = trail.iter().position(|&seen| seen == next) {
            return Err(trail.split_off(start));
        }
        trail.push(next);
    }
}

fn circular(
    pipeline: &Pipeline,
    edges: &[BTreeMap<&'static str, usize>],
    circle: &[usize],
) -> Problem {
    let first = *circle.iter().min().unwrap_or(&0);
    let start = circle
        .iter()
        .position(|&index| index == first)
        .unwrap_or_default();
    let turned: Vec<usize> = circle[start..]
        .iter()
        .chain(&circle[..start])
        .chain([&first])
        .copied()
        .collect();
    let names: Vec<&str> = turned
        .iter()
        .map(|&index| pipeline.stages[index].name.as_str())
        .collect();
    let next = turned.get(1).copied().unwrap_or(first);
    let role = edges[first].iter().find(|(_, to)| **to == next);
    let own = pipeline.stages[first].stage.edges();
    let field = own
        .into_iter()
        .find(|edge| role.is_some_and(|(role, _)| *role == edge.role))
        .map_or(Cow::Borrowed(""), |edge| edge.field);
    let message = match names.as_slice() {
        [name, _] => format!("`{name}` takes its own result as its input"),
        _ => format!("these stages wait for each other: {}", names.join(" → ")),
    };
    pipeline.problem(
        &pipeline.stages[first],
        &Fault::new(
            field,
            message,
            "let one of them take its input from elsewhere",
        ),
    )
}

/// Where a stage is to be placed; an empty name is a fault that the stage itself reports.
fn named_placement(stage: &Written) -> Option<&str> {
    stage.stage.placement().filter(|to| !to.trim().is_empty())
}

fn placed_twice(pipeline: &Pipeline) -> Vec<Problem> {
    let mut taken: BTreeMap<PathBuf, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for stage in &pipeline.stages {
        let Some(to) = named_placement(stage) else {
            continue;
        };
        let place = placed_at(pipeline.folder(), to);
        if placed_at(pipeline.folder(), ".").starts_with(&place) {
            let message = "`to` names the spec's own folder, or one above it";
            let fault = Fault::new(
                "to",
                message,
                "give a folder of its own, such as \"dist/model\"",
            );
            problems.push(pipeline.problem(stage, &fault));
            continue;
        }
        let clash = taken
            .iter()
            .find(|(other, _)| other.starts_with(&place) || place.starts_with(other));
        if let Some((other, first)) = clash {
            let name = &stage.name;
            let message = if *other == place {
                format!("`{name}` and `{first}` would be placed in the same folder")
            } else {
                format!("one of `{name}` and `{first}` would be placed inside the other")
            };
            problems.push(pipeline.problem(
                stage,
                &Fault::new("to", message, "give each a folder of its own"),
            ));
        } else {
            taken.insert(place, &stage.name);
        }
    }
    problems
}

/// A placed folder is replaced as a whole, so nothing that the pipeline reads may lie in one.
fn placed_over_files(pipeline: &Pipeline, files: &[Files]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for stage in &pipeline.stages {
        let Some(to) = named_placement(stage) else {
            continue;
        };
        let place = placed_at(pipeline.folder(), to);
        let read = files.iter().flat_map(Files::values);
        let inside = read
            .map(|file| placed_at(file, "."))
            .find(|file| file.starts_with(&place));
        if let Some(file) = inside {
            let message = format!(
                "`to` holds a file that the pipeline reads: {}",
                file.display()
            );
            let fault = Fault::new(
                "to",
                message,
                "give a folder of its own, such as \"dist/model\"",
            );
            problems.push(pipeline.problem(stage, &fault));
        }
    }
    problems
}

/// `folder/to` without `.` and `..`, so that two spellings of one place are equal.
fn placed_at(folder: &Path, to: &str) -> PathBuf {
    let absolute = std::path::absolute(folder.join(to)).unwrap_or_else(|_| folder.join(to));
    absolute
        .components()
        .fold(PathBuf::new(), |mut path, part| {
            match part {
                Component::ParentDir => {
                    path.pop();
                }
                Component::CurDir => {}
                part => path.push(part),
            }
            path
        })
}

/// The settings that decide the result: no names, no paths, no defaults; the seed only where it is drawn from.
fn settings_in_key(
    stage: &dyn Stage,
    schema: &Value,
    (files, fetched): (&Files, &Fetched),
    seed: u64,
) -> Value {
    let mut settings = fingerprint::without_defaults(&stage.settings(), schema);
    if let Some(fields) = settings.as_object_mut() {
        for name in stage.not_in_key() {
            fields.shift_remove(*name);
        }
        fields.shift_remove("seed");
        if stage.draws_random_numbers() {
            fields.insert("seed".to_owned(), seed.into());
        }
        for (name, fact) in stage.implied(files, fetched) {
            fields.insert(name, fact);
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_order_puts_inputs_first_and_otherwise_keeps_the_file() {
        let edges = vec![
            BTreeMap::from([("input", 2)]),
            BTreeMap::new(),
            BTreeMap::new(),
            BTreeMap::from([("input", 0)]),
        ];
        assert_eq!(order(&edges), Ok(vec![1, 2, 0, 3]));
    }

    #[test]
    fn a_circle_is_found_behind_a_tail() {
        let edges = vec![
            BTreeMap::from([("input", 1)]),
            BTreeMap::from([("input", 2)]),
            BTreeMap::from([("input", 1)]),
        ];
        let mut circle = order(&edges).unwrap_err();
        circle.sort_unstable();
        assert_eq!(circle, [1, 2]);
    }

    #[test]
    fn two_spellings_of_a_place_are_one() {
        assert_eq!(
            placed_at(Path::new("/a/b"), "../c/./d"),
            Path::new("/a/c/d")
        );
    }

    proptest! {
        #[test]
        fn an_order_respects_every_edge(inputs in proptest::collection::vec(proptest::option::of(0_usize..20), 1..20)) {
            let edges: Vec<_> = inputs
                .iter()
                .map(|input| input.filter(|to| *to < inputs.len()).map(|to| ("input", to)).into_iter().collect::<BTreeMap<_, _>>())
                .collect();
            if let Ok(order) = order(&edges) {
                for (index, inputs) in edges.iter().enumerate() {
                    for to in inputs.values() {
                        let at = |wanted: usize| order.iter().position(|&i| i == wanted).unwrap();
                        prop_assert!(at(*to) < at(index));
                    }
                }
            }
        }
    }
}
