//! What can be handed over next, and together: nodes of one stage that wait for the same.
//!
//! A submission waits for whole jobs (`all`), or, when it is as an array beside an array, index by index (`same_index`), so
//! that one failing trial costs its own evaluation and no other. What fits neither way is cut into submissions that do.
//!
//! Deliberately absent: how many jobs a submission may have.

use std::collections::{BTreeMap, BTreeSet};

use crate::executor::After;
use crate::executor::graph::Graph;

/// Where a node is.
pub(super) enum Place<'a> {
    Idle,
    UnderWay {
        job: &'a str,
        /// The submission, when it is one of several.
        array: Option<&'a str>,
        index: usize,
    },
    Done,
    /// Over, without a result.
    Lost,
}

/// Nodes that can be handed over together, each with the index that it has in `after.same_index`, where that is something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) after: After,
    pub(super) members: Vec<(usize, usize)>,
}

/// What a node waits for: an array that it alone of its kind reads at this index, and further jobs.
struct Waits {
    same: Option<(String, usize)>,
    jobs: Vec<String>,
    ended: Vec<String>,
}

/// The first column, by rank and stage, of which something can be handed over. `chains` says whether that may wait.
pub(super) fn columns<'a>(
    graph: &Graph,
    place: &dyn Fn(usize) -> Place<'a>,
    chains: bool,
) -> Option<Vec<Ready>> {
    let mut column: Option<(usize, &str)> = None;
    let mut members: Vec<(usize, Waits)> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let of = (node.rank, node.stage.as_str());
        if column.is_some_and(|first| of > first) || !matches!(place(index), Place::Idle) {
            continue;
        }
        let Some(waits) = waits(&node.behind, node.sums_up(), place, chains) else {
            continue;
        };
        if column != Some(of) {
            members.clear();
            column = Some(of);
        }
        members.push((index, waits));
    }
    (!members.is_empty()).then(|| grouped(members))
}

/// None when it cannot be handed over yet.
fn waits<'a>(
    behind: &[usize],
    sums_up: bool,
    place: &dyn Fn(usize) -> Place<'a>,
    chains: bool,
) -> Option<Waits> {
    let mut waits = Waits {
        same: None,
        jobs: Vec::new(),
        ended: Vec::new(),
    };
    let mut arrays = Vec::new();
    for &before in behind {
        match place(before) {
            Place::Done => {}
            Place::Lost if sums_up => {}
            Place::UnderWay { job, array, index } if chains => match (sums_up, array) {
                (true, array) => waits.ended.push(array.unwrap_or(job).to_owned()),
                (false, Some(array)) => arrays.push((array.to_owned(), index, job.to_owned())),
                (false, None) => waits.jobs.push(job.to_owned()),
            },
            Place::Idle | Place::UnderWay { .. } | Place::Lost => return None,
        }
    }
    match arrays.len() {
        1 => waits.same = arrays.pop().map(|(array, index, _)| (array, index)),
        _ => waits.jobs.extend(arrays.into_iter().map(|(_, _, job)| job)),
    }
    waits.jobs.sort();
    waits.ended.sort();
    waits.ended.dedup();
    Some(waits)
}

fn grouped(members: Vec<(usize, Waits)>) -> Vec<Ready> {
    type Group = (Option<String>, Vec<String>, Vec<String>);
    let mut groups: BTreeMap<Group, Vec<(usize, usize)>> = BTreeMap::new();
    for (node, waits) in members {
        let (array, index) = waits.same.unzip();
        let group = groups.entry((array, waits.jobs, waits.ended)).or_default();
        group.push((index.unwrap_or_default(), node));
    }
    let mut ready = Vec::new();
    for ((array, jobs, ended), members) in groups {
        let Some(array) = array else {
            let after = After {
                all: jobs,
                same_index: None,
                ended,
            };
            ready.push(Ready { after, members });
            continue;
        };
        let indexes: BTreeSet<usize> = members.iter().map(|(index, _)| *index).collect();
        if indexes.len() == members.len() && members.len() > 1 {
            let after = After {
                all: jobs,
                same_index: Some(array),
                ended,
            };
            ready.push(Ready { after, members });
            continue;
        }
        // Several read what one gives.
        for index in indexes {
            let mut all = jobs.clone();
            all.push(format!("{array}_{index}"));
            let after = After {
                all,
                same_index: None,
                ended: ended.clone(),
            };
            let members = members.iter().filter(|(at, _)| *at == index);
            ready.push(Ready {
                after,
                members: members.copied().collect(),
            });
        }
    }
    ready
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::graph::Node;
    use crate::executor::job::{StepWork, Work};

    fn node(stage: &str, rank: usize, behind: &[usize]) -> Node {
        Node {
            id: format!("{stage}{rank}"),
            stage: stage.to_owned(),
            kind: "train".to_owned(),
            rank,
            behind: behind.to_vec(),
            work: Work::Step(Box::new(StepWork {
                stage: stage.to_owned(),
                kind: "train".to_owned(),
                trial: None,
                forced: false,
                expected: BTreeMap::new(),
                key: None,
            })),
        }
    }

    fn graph(nodes: Vec<Node>) -> Graph {
        Graph {
            nodes,
            of: Vec::new(),
        }
    }

    /// Tokens, three trainings on them, an evaluation of each, the summary.
    fn trials() -> Graph {
        let mut graph = graph(vec![
            node("tokens", 0, &[]),
            node("train", 1, &[0]),
            node("train", 1, &[0]),
            node("train", 1, &[0]),
            node("scores", 2, &[1]),
            node("scores", 2, &[2]),
            node("scores", 2, &[3]),
        ]);
        graph.sum_up();
        graph
    }

    /// Node → the job and its array.
    type UnderWay<'a> = BTreeMap<usize, (&'a str, Option<&'a str>, usize)>;

    fn next(graph: &Graph, under_way: &UnderWay<'_>, done: &[usize], chains: bool) -> Vec<Ready> {
        let place = |node: usize| match under_way.get(&node) {
            _ if done.contains(&node) => Place::Done,
            Some(&(job, array, index)) => Place::UnderWay { job, array, index },
            None => Place::Idle,
        };
        columns(graph, &place, chains).unwrap_or_default()
    }

    fn all(jobs: &[&str]) -> After {
        After {
            all: jobs.iter().map(|job| (*job).to_owned()).collect(),
            ..After::default()
        }
    }

    #[test]
    fn trials_wait_for_what_they_share_and_evaluations_each_for_its_own() {
        let graph = trials();
        let mut under_way = UnderWay::new();
        let ready = next(&graph, &under_way, &[], true);
        assert_eq!(
            ready,
            [Ready {
                after: After::default(),
                members: vec![(0, 0)]
            }]
        );
        under_way.insert(0, ("10", None, 0));
        let ready = next(&graph, &under_way, &[], true);
        assert_eq!(
            ready,
            [Ready {
                after: all(&["10"]),
                members: vec![(0, 1), (0, 2), (0, 3)]
            }]
        );
        for (index, job) in ["11_0", "11_1", "11_2"].into_iter().enumerate() {
            under_way.insert(index + 1, (job, Some("11"), index));
        }
        let ready = next(&graph, &under_way, &[], true);
        let after = After {
            same_index: Some("11".to_owned()),
            ..After::default()
        };
        assert_eq!(
            ready,
            [Ready {
                after,
                members: vec![(0, 4), (1, 5), (2, 6)]
            }]
        );
        for (index, job) in ["12_0", "12_1", "12_2"].into_iter().enumerate() {
            under_way.insert(index + 4, (job, Some("12"), index));
        }
        let ready = next(&graph, &under_way, &[], true);
        let after = After {
            ended: vec!["12".to_owned()],
            ..After::default()
        };
        assert_eq!(
            ready,
            [Ready {
                after,
                members: vec![(0, 7)]
            }]
        );
    }

    #[test]
    fn one_that_is_handed_over_again_waits_for_its_own_job_alone() {
        let graph = trials();
        let under_way: UnderWay<'_> = [
            (2, ("20", None, 0)),
            (4, ("12_0", Some("12"), 0)),
            (6, ("12_2", Some("12"), 2)),
        ]
        .into();
        let ready = next(&graph, &under_way, &[0, 1, 3], true);
        assert_eq!(
            ready,
            [Ready {
                after: all(&["20"]),
                members: vec![(0, 5)]
            }]
        );
    }

    #[test]
    fn what_several_read_is_waited_for_by_each_group_of_them() {
        let graph = graph(vec![
            node("tokens", 0, &[]),
            node("tokens", 0, &[]),
            node("train", 1, &[0]),
            node("train", 1, &[1]),
            node("train", 1, &[0]),
        ]);
        let under_way: UnderWay<'_> =
            [(0, ("5_0", Some("5"), 0)), (1, ("5_1", Some("5"), 1))].into();
        let ready = next(&graph, &under_way, &[], true);
        assert_eq!(
            ready,
            [
                Ready {
                    after: all(&["5_0"]),
                    members: vec![(0, 2), (0, 4)]
                },
                Ready {
                    after: all(&["5_1"]),
                    members: vec![(1, 3)]
                },
            ]
        );
    }

    #[test]
    fn who_does_not_chain_is_given_what_can_start() {
        let graph = trials();
        let under_way: UnderWay<'_> = [(0, ("10", None, 0))].into();
        assert!(next(&graph, &under_way, &[], false).is_empty());
        let ready = next(&graph, &UnderWay::new(), &[0], false);
        assert_eq!(
            ready,
            [Ready {
                after: After::default(),
                members: vec![(0, 1), (0, 2), (0, 3)]
            }]
        );
        assert!(
            next(
                &graph,
                &[
                    (1, ("1", None, 0)),
                    (2, ("2", None, 0)),
                    (3, ("3", None, 0))
                ]
                .into(),
                &[0],
                false
            )
            .is_empty()
        );
    }
}
