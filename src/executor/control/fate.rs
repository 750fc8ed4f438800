//! What became of nodes, and what a run's record says of that.

use super::MOST_ATTEMPTS;
use crate::executor::graph::Graph;
use crate::executor::job::{End, How};
use crate::outcome::{Outcome, Reason};
use crate::store::StepRecord;

/// What became of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    Ended(Box<End>),
    /// It was killed too often, the last time in this way.
    Killed {
        how: String,
    },
    /// What this node gives was needed, and is not there.
    Behind(usize),
    /// Another node failed.
    Stopped(usize),
    /// The user did not wait for it.
    Left,
}

impl Fate {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Fate::Ended(end) if end.how == How::Done)
    }
}

/// What a run's record says of a node.
pub fn record(graph: &Graph, node: usize, fate: &Fate) -> StepRecord {
    let stage = |node: usize| graph.nodes[node].stage.clone();
    let (outcome, reason) = match fate {
        Fate::Ended(end) => match &end.record {
            Some(record) => return record.clone(),
            None if end.how == How::Done => (Outcome::Built, Reason::NeverBuilt),
            None => {
                let message = end.message.clone();
                (Outcome::Failed, Reason::Error { message })
            }
        },
        Fate::Killed { how } => {
            let message = format!("its job was killed {MOST_ATTEMPTS} times, at last: {how}");
            (Outcome::Failed, Reason::Error { message })
        }
        Fate::Behind(before) => {
            let stage = stage(*before);
            (Outcome::Skipped, Reason::UpstreamFailed { stage })
        }
        Fate::Stopped(by) => {
            let stage = stage(*by);
            (Outcome::Skipped, Reason::Stopped { stage })
        }
        Fate::Left => (Outcome::Skipped, Reason::Interrupted),
    };
    StepRecord {
        stage: stage(node),
        kind: graph.nodes[node].kind.clone(),
        outcome,
        reason,
        key: None,
        digest: None,
        seconds: 0.0,
        resumed_from_step: None,
        fingerprint: None,
    }
}
