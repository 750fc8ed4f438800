//! The steps that must run, as a graph: each once, whatever number of trials need it.
//!
//! Keys are known only when the inputs are, and jobs are submitted before. So a step is known by its *outline*: what it is, what
//! it reads, and the outlines of what it builds on. Two trials share a step when its outline is the same in both, and a job
//! that finds another outline than it was submitted with knows that the spec or the data changed.
//!
//! Deliberately absent: what became of a node, and how it is handed over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::job::{StepWork, TrialWork, Work};
use crate::artifact::{Digest, Unreadable};
use crate::plan::Plan;
use crate::run::judge::{Foreseen, assess};
use crate::store::Store;

/// Steps of one plan that are to be brought up to date.
pub struct Asked<'a> {
    pub plan: &'a Plan,
    /// With all they depend on.
    pub selected: &'a BTreeSet<usize>,
    pub forced: &'a BTreeSet<usize>,
    /// The trial that the plan is of.
    pub trial: Option<TrialWork>,
}

/// A step that must run.
#[derive(Debug, Clone)]
pub struct Node {
    /// The same whenever the step is the same: digits of its outline.
    pub id: String,
    pub stage: String,
    pub kind: String,
    /// Nodes of a lower rank never build on those of a higher one.
    pub rank: usize,
    /// What it builds on, of what must run; what another of them builds on as well is left out.
    pub behind: Vec<usize>,
    pub work: Work,
}

impl Node {
    /// Whether it waits for the end of what is before it, whatever that is.
    pub fn sums_up(&self) -> bool {
        self.work == Work::Summary
    }

    /// The trial that it is run for.
    pub fn trial(&self) -> Option<&TrialWork> {
        match &self.work {
            Work::Step(step) => step.trial.as_ref(),
            Work::Summary => None,
        }
    }
}

/// Nodes, each after those that it builds on.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub nodes: Vec<Node>,
    /// Of each plan that was asked for: step → node.
    pub of: Vec<BTreeMap<usize, usize>>,
}

/// Digits of a node's name.
const DIGITS: usize = 16;

/// The outlines of the selected steps, among which are all that they build on.
///
/// # Errors
/// A file that cannot be read.
pub fn outlines(
    plan: &Plan,
    selected: &BTreeSet<usize>,
    store: &Store,
) -> Result<BTreeMap<usize, Digest>, Unreadable> {
    let mut found: BTreeMap<usize, Digest> = BTreeMap::new();
    for &index in selected {
        let step = &plan.steps[index];
        let mut files = BTreeMap::new();
        for (role, path) in &step.files {
            files.insert(role.clone(), store.digest_file(path)?);
        }
        let inputs = step.inputs.iter();
        let inputs =
            inputs.filter_map(|(role, input)| Some(((*role).to_owned(), *found.get(input)?)));
        let mut text = step.fingerprint(files, inputs.collect()).key().to_string();
        // Equal artifacts that are placed in two folders are two pieces of work.
        if let Some(to) = &step.placement {
            text.push_str(&format!(" {} {}", step.name, to.display()));
        }
        found.insert(index, Digest::of(text.as_bytes()));
    }
    Ok(found)
}

impl Graph {
    /// What must run of what is asked for.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(asked: &[Asked<'_>], store: &Store) -> Result<Graph, Unreadable> {
        let mut graph = Graph::default();
        let mut known: HashMap<String, usize> = HashMap::new();
        for one in asked {
            let nodes = graph.add(one, store, &mut known)?;
            graph.of.push(nodes);
        }
        Ok(graph)
    }

    fn add(
        &mut self,
        asked: &Asked<'_>,
        store: &Store,
        known: &mut HashMap<String, usize>,
    ) -> Result<BTreeMap<usize, usize>, Unreadable> {
        let Asked {
            plan,
            selected,
            forced,
            trial,
        } = asked;
        let assessed = assess(plan, selected, forced, store)?;
        let outlines = outlines(plan, selected, store)?;
        let mut all_behind: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let mut nodes = BTreeMap::new();
        for one in &assessed {
            let (index, step) = (one.step, &plan.steps[one.step]);
            let inputs: BTreeSet<usize> = step.inputs.values().copied().collect();
            let mut behind = inputs.clone();
            behind.extend(inputs.iter().flat_map(|input| &all_behind[input]));
            all_behind.insert(index, behind);
            if one.state == Foreseen::Fresh {
                continue;
            }
            let forced = forced.contains(&index);
            let digits: String = outlines[&index].to_string().chars().take(DIGITS).collect();
            let id = match forced {
                true => format!("{digits}-forced"),
                false => digits,
            };
            let node = match known.get(&id) {
                Some(&node) => node,
                None => {
                    let direct = |input: &&usize| {
                        let others = inputs.iter().filter(|other| *other != *input);
                        !others
                            .into_iter()
                            .any(|other| all_behind[other].contains(*input))
                    };
                    let direct = inputs.iter().filter(direct);
                    let expected = all_behind[&index].iter().chain([&index]);
                    let expected =
                        expected.map(|one| (plan.steps[*one].name.clone(), outlines[one]));
                    self.nodes.push(Node {
                        id: id.clone(),
                        stage: step.name.clone(),
                        kind: step.kind.to_owned(),
                        rank: index,
                        behind: direct
                            .filter_map(|input| nodes.get(input).copied())
                            .collect(),
                        work: Work::Step(Box::new(StepWork {
                            stage: step.name.clone(),
                            kind: step.kind.to_owned(),
                            trial: trial.clone(),
                            forced,
                            expected: expected.collect(),
                            key: one.key,
                        })),
                    });
                    known.insert(id, self.nodes.len() - 1);
                    self.nodes.len() - 1
                }
            };
            nodes.insert(index, node);
        }
        Ok(nodes)
    }

    /// Puts a node behind all others that writes down what became of them.
    pub fn sum_up(&mut self) {
        let built_on: BTreeSet<usize> = self
            .nodes
            .iter()
            .flat_map(|node| node.behind.clone())
            .collect();
        let leaves = (0..self.nodes.len()).filter(|node| !built_on.contains(node));
        let text: String = self.nodes.iter().map(|node| node.id.as_str()).collect();
        let id = Digest::of(text.as_bytes())
            .to_string()
            .chars()
            .take(DIGITS)
            .collect();
        self.nodes.push(Node {
            id,
            stage: "summary".to_owned(),
            kind: "summary".to_owned(),
            rank: usize::MAX,
            behind: leaves.collect(),
            work: Work::Summary,
        });
    }
}
